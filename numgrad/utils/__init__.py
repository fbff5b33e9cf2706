"""What training scripts use beside modules and optimizers: data loading, checkpointing."""

from . import checkpoint as checkpoint, data as data, dlpack as dlpack
