"""What training scripts use beside modules and optimizers: data loading, checkpointing."""

from ..exchange import swap_tensors as swap_tensors
from ..paths import submodules
from . import (
    checkpoint as checkpoint,
    data as data,
    deterministic as deterministic,
    dlpack as dlpack,
    module_tracker as module_tracker,
    weak as weak,
)

__getattr__ = submodules(__name__)
