"""Kernels on NVIDIA GPUs: the counterpart of this folder's CPU files, imported only when a CUDA device is used.

``pointwise``, ``reduction``, ``rowwise`` and ``template`` make kernels, ``caller`` launches them, ``product``
multiplies matrices, ``allocator`` and the copies own the memory. The driver is touched when a device is first asked
for.
"""

from .emit import pointwise, reduction, rowwise
from .handwritten import template
from .launch import call_table, caller
from .matmul import product, set_precision
from .memory import Buffer, PinnedMemory, adopt, adopt_capsule, allocator, copy_to_device, copy_to_host
from .random import fill

inner_loops = False  # a thread has one element

__all__ = [
    "Buffer", "PinnedMemory", "adopt", "adopt_capsule", "allocator", "call_table", "caller", "copy_to_device", "copy_to_host", "fill", "inner_loops", "pointwise",
    "product", "reduction", "rowwise", "set_precision", "template",
]  # fmt: skip
