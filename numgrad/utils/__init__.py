"""What training scripts use beside modules and optimizers: data loading, checkpointing."""

<<<<<<< HEAD
from ..paths import submodules
=======
from ..exchange import swap_tensors as swap_tensors
>>>>>>> main
from . import checkpoint as checkpoint, data as data, dlpack as dlpack

__getattr__ = submodules(__name__)
