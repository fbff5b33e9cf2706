"""Repeated, shifted, reversed, padded and triangular copies, and views of parts that are replaced."""

import numpy as np

from .. import dtypes
from ..device import CPU, META, resolve
from ..function import Function
from ..inplace import write_out
from ..kernels import rearrange as kernels
from ..layout import contiguous_strides, dense_strides, geometry, integer, integers, normalize_axes, normalize_axis
from ..op import as_tensor_operand, called, cast, dense, function, method
from ..storage import check_memory, meta, strided_meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, from_array
from .copy import clone, contiguous_copy, laid_out
from .create import zeros_like
from .formats import meta_in
from .index import index_select
from .launch import launch
from .parts import diagonal, select, slice_along, tensor_split
from .values import need_values
from .view import as_own, reshape, sizes, unsqueeze

# --- repetition ----------------------------------------------------------------------------------------------------


@method
def repeat(self, *counts, repeats=None) -> Tensor:
    """The tensor laid out ``repeats[k]`` times along every dimension; more repeats than dimensions add some in
    front."""
    repeats = sizes("repeat", counts if repeats is None else (repeats,))
    m = self._m
    lead = len(repeats) - m.ndim
    if lead < 0:
        raise RuntimeError(
            "repeat: Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor, got "
            f"{len(repeats)} and {m.ndim}"
        )
    if any(count < 0 for count in repeats):
        raise RuntimeError(f"repeat: Trying to create tensor with negative dimension: repeats {list(repeats)}")
    shape = (1,) * lead + tuple(m.shape)
    # (a, b) -> (1, a, 1, b) -> (r, a, s, b) -> (r a, s b)
    paired = [part for size in shape for part in (1, size)]
    wide = [part for count, size in zip(repeats, shape) for part in (count, size)]
    found = reshape(self, tuple(paired)).expand(tuple(wide))
    found = contiguous_copy(found)
    return called(as_own(reshape(found, tuple([count * size for count, size in zip(repeats, shape)]))), "RepeatBackward0")


@function
def tile(input, *counts, dims=None) -> Tensor:
    """`repeat` with missing repeats in front taken as 1."""
    dims = sizes("tile", counts if dims is None else (dims,))
    return repeat(input, (1,) * (input._m.ndim - len(dims)) + tuple(dims))


@function
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None) -> Tensor:
    """Every sub-tensor along ``dim`` (of the flat tensor by default) repeated, ``repeats`` a number or one for each.

    With one tensor of integers, the positions repeated that often.
    """
    if repeats is None:
        counts = as_tensor_operand("repeat_interleave", input, "repeats")
        return _interleaved(counts, None)
    input = as_tensor_operand("repeat_interleave", input, "input")
    if dim is None:
        input, dim = reshape(input, (-1,)) if input._m.numel else reshape(input, (0,)), 0
    dim = normalize_axis("repeat_interleave", dim, input._m.ndim)
    if not input._m.ndim:
        input = reshape(input, (1,))
    size = input._m.shape[dim]
    if isinstance(repeats, (list, tuple)):
        repeats = from_array(np.array(integers("repeat_interleave", "repeats", repeats), np.int64))
    if isinstance(repeats, Tensor):
        if repeats._m.device is META and output_size is not None:
            return empty_tensor(meta(input._m.dtype, (*input._m.shape[:dim], output_size, *input._m.shape[dim + 1 :]), META))
        if repeats._m.ndim > 1:
            raise RuntimeError("repeat_interleave: repeats must be 0-dim or 1-dim tensor")
        if repeats._m.numel == 1:
            repeats = int(repeats.item())
    if not isinstance(repeats, Tensor):
        repeats = integer("repeat_interleave", "repeats", repeats)
        if repeats < 0:
            raise RuntimeError("repeat_interleave: repeats has to be non-negative")
        shape = tuple(input._m.shape)
        wide = unsqueeze(input, dim + 1).expand((*shape[: dim + 1], repeats, *shape[dim + 1 :]))
        return reshape(contiguous_copy(wide), (*shape[:dim], size * repeats, *shape[dim + 1 :]))
    if repeats._m.numel != size:
        raise RuntimeError(
            f"repeat_interleave: repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{repeats._m.numel} and input.size({dim}) = {size}"
        )
    positions = _interleaved(repeats, size)
    if output_size is not None and output_size != positions._m.numel:
        raise RuntimeError(
            f"repeat_interleave: allocated size {output_size} does not match required size {positions._m.numel}"
        )
    return index_select(input, dim, positions)


def _interleaved(counts, size):
    if counts._m.ndim != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if counts._m.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"repeat_interleave: repeats has to be Long or Int tensor, got {counts._m.dtype!r}")
    need_values("repeat_interleave", counts)
    host = counts._host()
    if (host < 0).any():
        raise RuntimeError("repeat_interleave: repeats can not be negative")
    ends = np.cumsum(host, dtype=np.int64)
    if (ends[1:] < ends[:-1]).any():  # beyond what 64 bits hold
        raise RuntimeError(f"repeat_interleave: Storage size calculation overflowed: {sum(host.tolist())} elements in all")
    out = empty_tensor(meta(dtypes.int64, (int(ends[-1]) if len(ends) else 0,), CPU))
    launch(kernels.fill_runs, {}, (ends, out._d), len(ends), max(1, out._m.numel // max(len(ends), 1)), CPU)
    return cast(out, counts._m.dtype).to(counts._m.device) if size is None else out.to(counts._m.device)


# --- order ---------------------------------------------------------------------------------------------------------


@structured(install=(), name="flip", cases="none")
def _flip(input, *, dims):
    return mapped(input, tuple(input._m.shape), {axis: (-1, input._m.shape[axis] - 1) for axis in dims}, 0, dense_strides(input._m.shape, input._m.strides))


@_flip.backward
def _(g, dims):
    return _flip(g, dims)


def mapped(input, shape, maps, mode, strides):
    """A copy of ``shape`` whose coordinate ``k`` along axis reads the input's ``step * k + start``, for those in
    ``maps`` (axis -> (step, start)); beyond the ends, with step 1, as ``mode`` of `kernels.rearrange` says. ``strides``: those of the result, without gaps."""
    axes = sorted(range(len(shape)), key=lambda axis: -strides[axis])  # from the outermost in memory to the innermost
    if mode != kernels.DIRECT and input._m.strides[axes[-1]] != 1:  # whose kernels read runs of elements
        input = laid_out(input, dense_strides(input._m.shape, strides))
    m = input._m
    out = empty_tensor(strided_meta(m.dtype, shape, strides, m.device))
    geometry = [m.ndim]
    for axis in axes:
        step, start = maps.get(axis, (1, 0))
        geometry += [shape[axis], m.shape[axis], m.strides[axis], step, start]
    inner = shape[axes[-1]]
    rows = out._m.numel // inner if out._m.numel else 0
    parameters = {"T": kernels.WIDTHS[m.dtype.itemsize], "MODE": mode}
    launch(kernels.copy_mapped, parameters, (input._d, out._d, np.array(geometry, np.int64)), rows, inner, m.device)
    return out


def _listed(dims):
    """Dimensions given one by one or as one sequence."""
    return tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims


@function
def flip(input, *axes, dims=None) -> Tensor:
    """A copy with the dimensions ``dims`` (one sequence, or given one by one) in reverse order."""
    if not axes and dims is None:
        raise TypeError("flip() missing 1 required positional argument: 'dims'")
    axes = normalize_axes("flip", _listed(axes) if dims is None else dims, input._m.ndim)
    if not axes or input._m.ndim == 0 or not input._m.numel:
        return clone(input)
    return _flip(input, axes)


@function
def fliplr(input) -> Tensor:
    """Columns in reverse order (dimension 1)."""
    if input._m.ndim < 2:
        raise RuntimeError(f"Input must be >= 2-d. Got {input._m.ndim}-d for fliplr")
    return flip(input, 1)


@function
def flipud(input) -> Tensor:
    """Rows in reverse order (dimension 0)."""
    if input._m.ndim < 1:
        raise RuntimeError("Input must be >= 1-d, got a 0-d tensor for flipud")
    return flip(input, 0)


@function
def rot90(input, k=1, dims=(0, 1)) -> Tensor:
    """The plane of two dimensions rotated by ``k`` quarter turns, from the first towards the second."""
    dims = integers("rot90", "dims", dims)
    if len(dims) != 2:
        raise RuntimeError(f"rot90: expected total rotation dims == 2, but got dims = {len(dims)}")
    ndim = input._m.ndim
    if ndim < 2:
        raise RuntimeError(f"rot90: expected total dims >= 2, but got total dims = {ndim}")
    if dims[0] == dims[1] or abs(dims[0] - dims[1]) == ndim:
        raise RuntimeError(
            f"rot90: expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    for place, dim in enumerate(dims):
        if not -ndim <= dim < ndim:
            raise RuntimeError(f"Rotation dim{place} out of range, dim{place} = {dim}; it runs from {-ndim} to {ndim - 1}")
    a, b = normalize_axis("rot90", dims[0], ndim), normalize_axis("rot90", dims[1], ndim)
    k = integer("rot90", "k", k) % 4
    if k == 1:
        return flip(input, b).transpose(a, b)
    if k == 2:
        return flip(input, a, b)
    if k == 3:
        return flip(input, a).transpose(a, b)
    return clone(input)


@function
def roll(input, shifts, dims=None) -> Tensor:
    """Elements moved ``shifts`` places along ``dims`` (of the flat tensor by default); what leaves an end comes in at
    the
    other."""
    input = as_tensor_operand("roll", input, "input")
    shifts = integers("roll", "shifts", shifts)
    if not shifts:
        raise RuntimeError("`shifts` required")
    if dims is None or (isinstance(dims, (tuple, list)) and not dims):
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        if not input._m.numel:
            return clone(input)
        return as_own(reshape(roll(reshape(input, (-1,)), shifts, 0), tuple(input._m.shape)))
    dims = integers("roll", "dims", dims)
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    if not input._m.ndim:
        raise IndexError(f"roll: Dimension specified as {dims[0]} but tensor has no dimensions")
    moved = {}
    for shift, dim in zip(shifts, dims):
        axis = normalize_axis("roll", dim, input._m.ndim)
        moved[axis] = moved.get(axis, 0) + shift
    return _rolled(input, tuple(moved.items())) if input._m.numel else clone(input)


@structured(install=(), name="roll", cases="none")
def _rolled(input, *, shifts):
    shape = tuple(input._m.shape)
    maps = {axis: (1, -(shift % shape[axis])) for axis, shift in shifts}
    return mapped(input, shape, maps, kernels.CIRCULAR, meta_in(input._m.dtype, shape, CPU, input._m.last).strides)


@_rolled.backward
def _(g, shifts):
    return _rolled(g, tuple((axis, -shift) for axis, shift in shifts))


# --- triangles and diagonals ---------------------------------------------------------------------------------------


@structured(install=(), name="triangle", cases="none")
def _triangle(input, *, diagonal, lower):
    m = input._m
    out = empty_tensor(meta(m.dtype, m.shape, m.device))
    rows, columns = m.shape[-2:]
    slots = dense(input)._d, out._d, rows, columns, diagonal, int(lower)
    launch(kernels.copy_triangle, {"T": kernels.WIDTHS[m.dtype.itemsize]}, slots, m.numel // columns if columns else 0,
           columns, m.device)  # fmt: skip
    return out


@_triangle.backward
def _(g, diagonal, lower):
    return _triangle(g, diagonal, lower)


def _triangular(name, lower, doc):
    def triangle(input, diagonal=0, *, out=None) -> Tensor:
        input = as_tensor_operand(name, input, "input")
        if input._m.ndim < 2:
            raise RuntimeError(
                f"{name}: input tensor must have at least 2 dimensions, got shape {list(input._m.shape)}"
            )
        # beyond the corners nothing changes any more, and kernels count in 64 bits
        edge = max(-input._m.shape[-2] - 1, min(integer(name, "diagonal", diagonal), input._m.shape[-1] + 1))
        found = called(_triangle(input, edge, lower), f"{name.capitalize()}Backward0")
        return found if out is None else write_out(name, found, out)

    def inplace(self, diagonal=0):
        return self.copy_(triangle(self, diagonal))

    triangle.__name__ = triangle.__qualname__ = name
    triangle.__doc__ = doc
    inplace.__name__ = inplace.__qualname__ = f"{name}_"
    inplace.__doc__ = f"In-place version of `{name}`."
    method(inplace)
    return function(triangle)


tril = _triangular("tril", True, "The matrices in the last two dimensions on and below ``diagonal``, else 0.")
triu = _triangular("triu", False, "The matrices in the last two dimensions on and above ``diagonal``, else 0.")


def _triangle_indices(name, row, col, offset, dtype, device, lower):
    row, col, offset = integer(name, "row", row), integer(name, "col", col), integer(name, "offset", offset)
    if row < 0 or col < 0:
        raise RuntimeError(f"{name}: row and col must be non-negative, got {row} and {col}")
    geometry(name, (row, col), contiguous_strides((row, col)))
    check_memory(17 * row * col)  # of the mask and the two rows of indices
    found = (np.tril_indices if lower else np.triu_indices)(row, offset, col)
    d = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    return from_array(np.ascontiguousarray(d.encode(np.stack(found)))).to(resolve(device))


@function(install=("ng",))
def tril_indices(row, col, offset=0, *, dtype=None, device=None, layout=None, requires_grad=False, pin_memory=False) -> Tensor:
    """Row and column indices (2, n) of the lower triangle of a (row, col) matrix, row by row."""
    found = _triangle_indices("tril_indices", row, col, offset, dtype, device, True)
    return found.requires_grad_() if requires_grad else found


@function(install=("ng",))
def triu_indices(row, col, offset=0, *, dtype=None, device=None, layout=None, requires_grad=False, pin_memory=False) -> Tensor:
    """Row and column indices (2, n) of the upper triangle of a (row, col) matrix, row by row."""
    found = _triangle_indices("triu_indices", row, col, offset, dtype, device, False)
    return found.requires_grad_() if requires_grad else found


@function
def diag_embed(input, offset=0, dim1=-2, dim2=-1) -> Tensor:
    """Matrices, in dimensions ``dim1`` and ``dim2``, with the last dimension of ``input`` on a diagonal, else 0."""
    ndim, offset = input._m.ndim + 1, integer("diag_embed", "offset", offset)
    dim1, dim2 = normalize_axis("diag_embed", dim1, ndim), normalize_axis("diag_embed", dim2, ndim)
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    input = as_tensor_operand("diag_embed", input, "input")
    size = (input._m.shape[-1] if input._m.ndim else 1) + abs(offset)
    shape = list(input._m.shape[:-1])
    for axis in sorted((dim1, dim2)):
        shape.insert(axis, size)
    return diagonal_scatter(input.new_zeros(tuple(shape)), input, offset, dim1, dim2)


@function
def diag(input, diagonal=0, *, out=None) -> Tensor:
    """A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector."""
    input = as_tensor_operand("diag", input, "input")
    if input._m.ndim not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input._m.ndim}D")
    if input._m.ndim == 1:
        found = diag_embed(input, diagonal)
    else:
        found = contiguous_copy(_diagonal_view(input, diagonal))
    return found if out is None else write_out("diag", found, out)


_diagonal_view = diagonal


@method
def fill_diagonal_(self, fill_value, wrap=False) -> Tensor:
    """Set the elements with equal coordinates to a number; ``wrap``: start again below the square of a tall matrix."""
    m = self._m
    if m.ndim < 2:
        raise RuntimeError(f"fill_diagonal_: dimensions must larger than 1, got shape {list(m.shape)}")
    if m.ndim > 2 and any(size != m.shape[0] for size in m.shape):
        raise RuntimeError(
            f"fill_diagonal_: all dimensions of input must be of equal length, got shape {list(m.shape)}"
        )
    length = min(m.shape)
    self.as_strided((length,), (sum(m.strides),), self.storage_offset()).fill_(fill_value)
    rows, columns = m.shape[0], m.shape[1]
    if wrap and m.ndim == 2:
        for start in range(columns + 1, rows, columns + 1):
            part = self.narrow(0, start, rows - start)
            part.as_strided((min(rows - start, columns),), (sum(m.strides),), part.storage_offset()).fill_(fill_value)
    return self


@function
def diagflat(input, offset=0) -> Tensor:
    """The flat tensor as the diagonal of a matrix."""
    return diag_embed(reshape(input, (-1,)) if input._m.numel else reshape(input, (0,)), offset)


# --- parts replaced ------------------------------------------------------------------------------------------------


def _replaced(name, input, src, part):
    """``input`` with the view ``part(copy)`` of it overwritten by ``src``."""
    input, src = as_tensor_operand(name, input, "input"), as_tensor_operand(name, src, "src")
    out = clone(input)
    target = part(out)
    if target._m.shape != src._m.shape:
        raise RuntimeError(
            f"{name}: expected src to have a size equal to the slice of self. src size = {list(src._m.shape)}, slice "
            "size = "
            f"{list(target._m.shape)}"
        )
    target.copy_(src)
    return out


@function
def select_scatter(input, src, dim, index) -> Tensor:
    """``input`` with the sub-tensor at ``index`` of ``dim`` replaced by ``src``."""
    return _replaced("select_scatter", input, src, lambda out: select(out, dim, index))


@function
def slice_scatter(input, src, dim=0, start=None, end=None, step=1, *, out=None) -> Tensor:
    """``input`` with ``start:end:step`` of ``dim`` replaced by ``src``."""
    axis = normalize_axis("slice_scatter", dim, input._m.ndim)
    found = _replaced("slice_scatter", input, src, lambda copy: slice_along(copy, axis, start, end, step))
    return found if out is None else write_out("slice_scatter", found, out)


@function
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1) -> Tensor:
    """``input`` with the diagonal of two dimensions replaced by ``src``."""
    return _replaced("diagonal_scatter", input, src, lambda out: _diagonal_view(out, offset, dim1, dim2))


class AsStridedScatter(Function):
    """`as_strided_scatter`, for its gradients."""

    @staticmethod
    def forward(ctx, input, src, size, stride, offset):
        ctx.view = size, stride, offset
        return _replaced("as_strided_scatter", input, src, lambda out: out.as_strided(size, stride, offset))

    @staticmethod
    def backward(ctx, g):
        g = g.contiguous()
        inside = g.as_strided(*ctx.view[:2], g.storage_offset() + ctx.view[2])
        return AsStridedScatter.apply(zeros_like(g), inside, *ctx.view), clone(inside), None, None, None


@function
def as_strided_scatter(input, src, size, stride, storage_offset=None) -> Tensor:
    """``input`` with the elements of the view ``as_strided(size, stride, storage_offset)`` replaced by ``src``.

    The gradient for ``input`` is the one that PyTorch defines: it has the replaced elements' gradient in their places
    and 0 elsewhere, where that of the function is the other way round. Write to a view of a clone for the latter.
    """
    input = as_tensor_operand("as_strided_scatter", input, "input")
    src = as_tensor_operand("as_strided_scatter", src, "src")
    name = "as_strided_scatter"
    offset = 0 if storage_offset is None else integer(name, "storage_offset", storage_offset) - input.storage_offset()
    return AsStridedScatter.apply(input, src, integers(name, "size", size), integers(name, "stride", stride), offset)


# --- several parts -------------------------------------------------------------------------------------------------


def _several(name, least, dim_of):
    def parts(input, indices_or_sections):
        ndim = input._m.ndim
        if ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a "
                "tensor "
                f"with {ndim} dimensions!"
            )
        dim = dim_of(ndim)
        if getattr(indices_or_sections, "ndim", 0) == 0 and hasattr(indices_or_sections, "__index__"):
            indices_or_sections = integer(name, "sections", indices_or_sections)
            size = input._m.shape[dim]
            if indices_or_sections <= 0 or size % indices_or_sections:
                raise RuntimeError(
                    f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension {size} is "
                    "not "
                    f"divisible by the split_size {indices_or_sections}!"
                )
        return tensor_split(input, indices_or_sections, dim)

    def given(input, *parameters, indices_or_sections=None) -> tuple[Tensor, ...]:
        if indices_or_sections is None:
            indices_or_sections = parameters[0] if len(parameters) == 1 else parameters
        return parts(input, indices_or_sections)

    given.__name__ = given.__qualname__ = name
    given.__doc__ = f"Views along a dimension ({name}): equal ones in a number, or those between the indices given."
    return function(given)


hsplit = _several("hsplit", 1, lambda ndim: 0 if ndim == 1 else 1)
vsplit = _several("vsplit", 2, lambda ndim: 0)
dsplit = _several("dsplit", 3, lambda ndim: 2)
