"""Kernels on NVIDIA GPUs: the counterpart of this folder's CPU files, imported only when a CUDA device is used.

``pointwise``, ``reduction``, ``rowwise`` and ``template`` make kernels, ``caller`` launches them, ``product`` multiplies
matrices, ``allocator`` and the copies own the memory. The driver is touched when a device is first asked for.
"""

from .emit import pointwise as pointwise, reduction as reduction, rowwise as rowwise
from .launch import caller as caller
from .matmul import product as product, set_precision as set_precision
from .memory import (
    Buffer as Buffer,
    allocator as allocator,
    copy_to_device as copy_to_device,
    copy_to_host as copy_to_host,
)
from .random import fill as fill_random
from .template import template as template

__all__ = [
    "Buffer", "allocator", "caller", "copy_to_device", "copy_to_host", "fill_random", "pointwise", "product",
    "reduction", "rowwise", "set_precision", "template",
]  # fmt: skip
