"""What training scripts use beside modules and optimizers: data loading, checkpointing."""

from . import data as data
