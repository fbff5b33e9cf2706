"""Channels-last tensors inside ops: which format a result has, and operands laid out for the kernels that read it.

In memory such a tensor is a row-major ``(N, *size, C)``; the kernels see it as that.
"""

from ..dtypes import dtype as DType
from ..layout import in_format, memory_format
from ..op import cast_gradient, dense
from ..storage import Meta, meta, strided_meta
from ..tensor import Tensor, empty_tensor
from .copy import clone, contiguous_copy


def arranged(tensor: Tensor, format: memory_format | None) -> Tensor:
    """The tensor, without gaps in ``format``: None is row-major."""
    m = tensor._m
    if format is None:
        return tensor if m.contiguous else contiguous_copy(tensor)
    return tensor if m.packed or in_format(format, m.shape, m.strides) else clone(tensor, format)


def conform_in(gradient: Tensor, m: Meta, format: memory_format | None) -> Tensor:
    """A gradient in ``format`` and of the dtype that a kernel for meta ``m`` expects."""
    if gradient._m.dtype is not m.dtype:
        gradient = cast_gradient(gradient, m.dtype)
    return arranged(gradient, format)


def meta_in(d: DType, shape, device, format: memory_format | None) -> Meta:
    """The meta of a tensor without gaps in ``format``."""
    return meta(d, shape, device) if format is None else strided_meta(d, shape, format.strides("empty", shape), device)


def empty_in(d: DType, shape, device, format: memory_format | None) -> Tensor:
    """A new, uninitialised tensor in ``format``."""
    return empty_tensor(meta_in(d, shape, device, format))


def restored(tensor: Tensor, format: memory_format | None) -> Tensor:
    """The result of kernels that know the row-major order only, in the format that it has to have."""
    return tensor if format is None or tensor._m.packed else clone(dense(tensor), format)
