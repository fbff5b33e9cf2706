"""Where a mask holds: nonzero, and reading, filling and writing there."""

from math import prod

import numpy as np

from .. import dtypes
from ..device import META
from ..inplace import check_inplace, write_out
from ..kernels import index as kernels
from ..kernels.index import SET
from ..kernels.vocab import where
from ..layout import broadcast_shapes
from ..op import as_tensor_operand, cast, dense, function, method, plain
from ..pointwise import pointwise
from ..storage import meta
from ..tensor import Tensor, empty_tensor
from .copy import contiguous_copy
from .launch import element, launch
from .places import Places, Writing, reading
from .values import need_values
from .view import as_own, reshape

_BLOCK = kernels.BLOCK


def true_positions(mask):
    """The row-major positions of the elements that are not 0: a vector of int64."""
    mask = dense(plain(mask))
    need_values("nonzero", mask)
    m = mask._m
    blocks = -(-m.numel // _BLOCK)
    counts = np.zeros(blocks, np.int64)
    T = element(m.dtype)
    launch(kernels.count_true, {"T": T}, (mask._d, counts, m.numel), blocks, _BLOCK, m.device)
    ends = np.cumsum(counts)
    out = empty_tensor(meta(dtypes.int64, (int(ends[-1]) if blocks else 0,), m.device))
    launch(kernels.list_true, {"T": T}, (mask._d, ends - counts, out._d, m.numel), blocks, _BLOCK, m.device)
    return out


def coordinates(mask):
    """The indices of the elements that are not 0, one row each: (count, ndim) of int64."""
    shape = mask._m.shape
    positions = true_positions(mask)
    if len(shape) == 1:
        return reshape(positions, (-1, 1))
    count = positions._m.numel
    out = empty_tensor(meta(dtypes.int64, (count, len(shape)), positions._m.device))
    if not shape:
        return out
    sizes = np.array(shape, np.int64)
    launch(kernels.unravel, {}, (positions._d, sizes, out._d, len(shape)), count, 4 * len(shape), positions._m.device)
    return out


@function
def nonzero(input, *, out=None, as_tuple=False):
    """The indices of the elements that are not 0: a tensor (count, ndim), or with ``as_tuple`` one vector a
    dimension."""
    input = as_tensor_operand("nonzero", input, "input")
    if not as_tuple:
        if out is not None and out._m.dtype is not dtypes.int64:
            raise RuntimeError(f"nonzero: Expected object of scalar type Long as out, but got {out._m.dtype!r}")
        found = coordinates(input)
        return found if out is None else write_out("nonzero", found, out)
    if out is not None:
        raise RuntimeError("nonzero does not support the out argument when as_tuple is True")
    rows = coordinates(input if input._m.ndim else reshape(input, (1,)))
    return tuple([contiguous_copy(column) for column in rows.unbind(1)])


@function
def argwhere(input) -> Tensor:
    """The indices of the elements that are not 0, one row each."""
    return nonzero(input)


# --- filling -------------------------------------------------------------------------------------------------------


@pointwise(install=(), name="masked_fill")
def _masked_fill(input, mask, value):
    return where(mask != 0.0, value, input)


@_masked_fill.backward
def _(g, mask):
    held = mask != 0.0
    return where(held, 0.0, g), 0.0, where(held, g, 0.0)


def _bool_mask(op, mask):
    mask = as_tensor_operand(op, mask, "mask")
    if mask._m.dtype is not dtypes.bool_:
        raise RuntimeError(
            f"{op} only supports boolean masks, but got mask with dtype {mask._m.dtype!r}; compare it first"
        )
    return mask


def _fill_value(op, value, d):
    """A number or 0-d tensor that does not change the dtype ``d``."""
    if isinstance(value, Tensor):
        if value._m.ndim:
            raise RuntimeError(
                f"{op} only supports a 0-dimensional value tensor, but got tensor with {value._m.ndim} dimension(s)."
            )
        return cast(value, d)
    value = dtypes.python_number(value)
    if not isinstance(value, (bool, int, float, complex)):
        raise TypeError(f"{op}(): argument 'value' must be a number or a 0-d Tensor, not {type(value).__name__}")
    if d.kind == "b":
        return bool(value)
    if isinstance(value, complex) and not d.is_complex:
        raise RuntimeError(f"{op}(): value cannot be converted to type {d.name} without overflow: {value}")
    if d.differentiable:
        return value
    low, high = (0, 255) if d is dtypes.uint8 else (-(1 << 8 * d.itemsize - 1), (1 << 8 * d.itemsize - 1) - 1)
    if not low <= value <= high:
        raise RuntimeError(f"{op}(): value cannot be converted to type {d.name} without overflow: {value}")
    return int(value)


@function
def masked_fill(input, mask, value) -> Tensor:
    """``input`` with ``value`` (a number or 0-d tensor) where the bool tensor ``mask``, broadcast, holds."""
    if type(value) is float and input._m.dtype.is_floating_point and mask._m.dtype is dtypes.bool_:
        return _masked_fill(input, mask, value)
    input, mask = as_tensor_operand("masked_fill", input, "input"), _bool_mask("masked_fill", mask)
    return _masked_fill(input, mask, _fill_value("masked_fill", value, input._m.dtype))


@method
def masked_fill_(self, mask, value) -> Tensor:
    """In-place version of `masked_fill`."""
    return _masked_fill.op.inplace_entry(
        self, _bool_mask("masked_fill_", mask), _fill_value("masked_fill_", value, self._m.dtype)
    )


# --- reading and writing -------------------------------------------------------------------------------------------

_selected = reading("masked_select")
_scattered = Writing("masked_scatter")


def masked_places(mask):
    """The places in the flat tensor where the mask holds."""
    return Places("masked_select", (true_positions(mask),), (0,))


@function
def masked_select(input, mask, *, out=None) -> Tensor:
    """The elements of ``input`` where the bool tensor ``mask`` holds, as a vector; the two broadcast."""
    input, mask = as_tensor_operand("masked_select", input, "input"), as_tensor_operand("masked_select", mask, "mask")
    if mask._m.dtype is not dtypes.bool_:
        raise RuntimeError(
            f"masked_select: expected BoolTensor for mask, got {mask._m.dtype!r}; compare it, e.g. with != 0"
        )
    shape = broadcast_shapes("masked_select", input._m.shape, mask._m.shape)
    input = input if input._m.shape == shape else input.expand(shape)
    mask = mask if mask._m.shape == shape else mask.expand(shape)
    found = _selected(reshape(input, (-1,)), masked_places(mask))
    return found if out is None else write_out("masked_select", found, out, input, mask)


def _masked_source(op, shape, d, mask, source):
    """(places in the flat tensor, what to write there)."""
    mask, source = _bool_mask(op, mask), as_tensor_operand(op, source, "source")
    if source._m.dtype is not d:
        raise RuntimeError(f"{op}: expected self and source to have same dtypes but got {d!r} and {source._m.dtype!r}")
    if mask._m.device is META:  # as if it held as often as it may
        at = Places("masked_select", (empty_tensor(meta(dtypes.int64, (min(prod(shape), source._m.numel),), META)),), (0,))
    else:
        at = masked_places(mask if mask._m.shape == shape else mask.expand(shape))
    count = at.indices[0]._m.numel
    if source._m.numel < count:
        raise RuntimeError(f"{op}: Number of elements of source < number of ones in mask: {source._m.numel} < {count}")
    return at, reshape(source, (-1,)).narrow(0, 0, count)


@function
def masked_scatter(input, mask, source) -> Tensor:
    """``input`` with the elements where ``mask`` holds replaced, in order, by the first ones of ``source``."""
    input = as_tensor_operand("masked_scatter", input, "input")
    shape = broadcast_shapes("masked_scatter", input._m.shape, _bool_mask("masked_scatter_", mask)._m.shape)
    at, source = _masked_source("masked_scatter_", shape, input._m.dtype, mask, source)
    full = input if input._m.shape == shape else input.expand(shape)
    return as_own(reshape(_scattered(reshape(full, (-1,)), source, at, SET), shape))


@method
def masked_scatter_(self, mask, source) -> Tensor:
    """In-place version of `masked_scatter`."""
    at, source = _masked_source("masked_scatter_", self._m.shape, self._m.dtype, mask, source)
    check_inplace("masked_scatter_", self, source)
    if self._m.contiguous:
        _scattered.inplace("masked_scatter_", self.view(-1), source, at, SET)
        return self
    return self.copy_(masked_scatter(self, mask, source))




@function(install=("ng",))
def unravel_index(indices, shape):
    """The coordinates of row-major positions ``indices`` in a tensor of ``shape``, one tensor a dimension."""
    indices = as_tensor_operand("unravel_index", indices, "indices")
    if indices._m.dtype.kind != "i":
        raise TypeError(f"unravel_index: expected 'indices' to be integer dtype, but got {indices._m.dtype!r}")
    if not isinstance(shape, (int, list, tuple)):
        raise TypeError(f"unravel_index: expected 'shape' to be int or sequence of ints, but got {type(shape).__name__}")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(not isinstance(size, int) for size in shape):
        raise TypeError(f"unravel_index: expected 'shape' sequence to only contain ints, but got {shape}")
    if any(size < 0 for size in shape):
        raise ValueError(f"unravel_index: 'shape' cannot have negative values, but got {shape}")
    found, step = [], 1
    for size in reversed(shape):
        found.append(indices.div(step, rounding_mode="floor") % size)
        step *= size
    return tuple(reversed(found))
