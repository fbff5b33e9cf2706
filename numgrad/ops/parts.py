"""Views of some of the elements: slices, single places, pieces, diagonals, windows."""

from .. import dtypes
from ..autograd import engine
from ..inplace import write_out
from ..layout import integer, integers, normalize_axis
from ..op import called, function, method
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, view as make_view
from .copy import clone, write, zero
from .part_gradients import PartNode
from .strided import as_strided
from .view import movedim, unsqueeze


@structured(kind="view", install=(), name="slice", node=PartNode)
def _slice(input, *, dim, start, step, length):
    """``input[start : start + step * length : step]`` along ``dim``."""
    m = input._m
    shape = list(m.shape)
    shape[dim] = length
    strides = list(m.strides)
    strides[dim] *= step
    return (start * m.strides[dim] if length else 0), tuple(shape), tuple(strides)


_slice.op.reach = lambda m, dim, start, step, length: (dim, start, start + length) if step == 1 else None


@_slice.backward
def _(g, input_meta, dim, start, step, length):
    return _slice_gradient(g, input_meta, dim, start, step, length)


@structured(install=(), name="slice_gradient")
def _slice_gradient(g, *, input_meta, dim, start, step, length):
    """Zeros of the input's shape with ``g`` where the slice was taken."""
    out = zero(empty_tensor(meta(g._m.dtype, input_meta.shape, g._m.device)))
    m = out._m
    shape = list(m.shape)
    shape[dim] = length
    strides = list(m.strides)
    strides[dim] *= step
    if length:
        write(g, make_view(out, start * m.strides[dim], tuple(shape), tuple(strides), False))
    return out


@_slice_gradient.backward
def _(g, dim, start, step, length):
    return _slice(g, dim, start, step, length)


def slice_along(input, dim, start, stop, step=1):
    """``input[start:stop:step]`` along ``dim`` with Python's rules for bounds; ``step`` must be positive."""
    step = integer("slice", "step", step)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, step = slice(start, stop, step).indices(input._m.shape[dim])
    return _slice(input, dim, start, step, max(0, -(-(stop - start) // step)))


def _selecting(name):
    """The view of one place along a dimension, under the name of the function that it is recorded for."""

    @structured(kind="view", install=(), name=name, node=PartNode)
    def selected(input, *, dim, index):
        m = input._m
        return index * m.strides[dim], m.shape[:dim] + m.shape[dim + 1 :], m.strides[:dim] + m.strides[dim + 1 :]

    selected.op.reach = lambda m, dim, index: (dim, index, index + 1)

    @selected.backward
    def _(g, input_meta, dim, index):
        return _slice_gradient(unsqueeze(g, dim), input_meta, dim, index, 1, 1)

    return selected


_select, _unbound = _selecting("select"), _selecting("unbind")


@function
def select(input, dim, index) -> Tensor:
    """The sub-tensor at ``index`` of dimension ``dim``, without that dimension."""
    if not input._m.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = normalize_axis("select", dim, input._m.ndim)
    index = integer("select", "index", index)
    size = input._m.shape[dim]
    if not -size <= index < size:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input._m.shape)} at dimension {dim}"
        )
    return _select(input, dim, index + size if index < 0 else index)


@function
def narrow(input, dim, start, length) -> Tensor:
    """``length`` elements from ``start`` on along ``dim``."""
    if not input._m.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    dim = normalize_axis("narrow", dim, input._m.ndim)
    size = input._m.shape[dim]
    if isinstance(start, Tensor):
        if start._m.ndim or start._m.dtype.is_floating_point or start._m.dtype.name == "bool":
            raise RuntimeError("narrow: start must be an 0-dim integral Tensor.")
        start = start.item()
    start, length = integer("narrow", "start", start), integer("narrow", "length", length)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -size <= start <= size:
        raise IndexError(f"narrow: start out of range (expected to be in range of [{-size}, {size}], but got {start})")
    start = start + size if start < 0 else start
    if start + length > size:
        raise RuntimeError(f"narrow: start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return _slice(input, dim, start, 1, length)


@function
def narrow_copy(input, dim, start, length, *, out=None) -> Tensor:
    """`narrow` with memory of its own."""
    found = clone(narrow(input, dim, start, length))
    return found if out is None else write_out("narrow_copy", found, out)


@function
def unbind(input, dim=0) -> tuple[Tensor, ...]:
    """The sub-tensors along ``dim``, without that dimension, as a tuple."""
    if not input._m.ndim:
        raise IndexError("unbind: Dimension specified as 0 but tensor has no dimensions")
    dim = normalize_axis("unbind", dim, input._m.ndim)
    return _several([_unbound(input, dim, k) for k in range(input._m.shape[dim])])


def _several(views):
    """The results of a function that returns several views at once: none of them may be written to where gradients are
    recorded, as in PyTorch."""
    for k, view in enumerate(views):
        if view._creation is None and view._base is not None:
            view._creation = ("multiple", k)
    return tuple(views)


@function
def split(tensor, split_size_or_sections, dim=0) -> tuple[Tensor, ...]:
    """Views of ``split_size`` elements along ``dim`` (the last may be smaller), or of the sizes given."""
    return _several(_split(tensor, split_size_or_sections, dim))


def _split(tensor, split_size_or_sections, dim):
    if not tensor._m.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    dim = normalize_axis("split", dim, tensor._m.ndim)
    size = tensor._m.shape[dim]
    if hasattr(split_size_or_sections, "__index__") and getattr(split_size_or_sections, "ndim", 0) == 0:
        step = integer("split", "split_size_or_sections", split_size_or_sections)
        if step < 0 or (step == 0 and size):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={step}")
        sections = [min(step, size - at) for at in range(0, size, step)] if size else [0]
        name = "SplitBackward0"
    else:
        name = "SplitWithSizesBackward0"
        sections = list(integers("split_with_sizes", "split_sizes", split_size_or_sections))
        if any(n < 0 for n in sections) or sum(sections) != size:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's size at dimension {dim}), "
                f"but got split_sizes={sections}"
            )
    found, at = [], 0
    for n in sections:
        found.append(called(_slice(tensor, dim, at, 1, n), name))
        at += n
    return found


@function
def unsafe_split(tensor, split_size, dim=0) -> tuple[Tensor, ...]:
    """`split` whose results may be written to in place where gradients are recorded."""
    return tuple(_split(tensor, split_size, dim))


@function
def unsafe_split_with_sizes(input, split_sizes, dim=0) -> tuple[Tensor, ...]:
    """`unsafe_split` into the sizes given."""
    return tuple(_split(input, list(split_sizes), dim))


@function(install=("ng",))
def split_with_sizes(input, split_sizes, dim=0) -> tuple[Tensor, ...]:
    """`split` into the sizes given."""
    return split(input, list(split_sizes), dim)


method(split_with_sizes)


@function
def chunk(input, chunks, dim=0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views of equal size along ``dim``; the last may be smaller."""
    if not input._m.ndim:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    chunks = integer("chunk", "chunks", chunks)
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    dim = normalize_axis("chunk", dim, input._m.ndim)
    size = input._m.shape[dim]
    step = -(-size // chunks)
    return split(input, [0] * chunks, dim) if step == 0 else split(input, step, dim)


@function
def unsafe_chunk(input, chunks, dim=0) -> tuple[Tensor, ...]:
    """`chunk` whose results may be written to in place where gradients are recorded."""
    parts = chunk(input, chunks, dim)
    for part in parts:
        part._creation = input._creation
    return parts


@function(install=("ng",))
def is_inference(input) -> bool:
    """`Tensor.is_inference` as a function."""
    return input.is_inference()


@function
def tensor_split(input, indices_or_sections, dim=0) -> tuple[Tensor, ...]:
    """Views along ``dim``: a number of nearly equal ones, or those between the indices given."""
    if not input._m.ndim:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    dim = normalize_axis("tensor_split", dim, input._m.ndim)
    size = input._m.shape[dim]
    if isinstance(indices_or_sections, Tensor):
        m = indices_or_sections._m
        if m.dtype is not dtypes.int64:
            raise RuntimeError(
                f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got "
                f"{m.dtype.name.rstrip('0123456789').capitalize()} ({m.dtype!r}); convert it with .long()"
            )
        if m.ndim > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, but "
                f"got a tensor with {m.ndim} dims"
            )
    sections = getattr(indices_or_sections, "ndim", 0) == 0 and hasattr(indices_or_sections, "__index__")
    if not sections:
        if isinstance(indices_or_sections, (str, float)):
            raise TypeError(
                f"tensor_split() received an invalid combination of arguments - got (Tensor, {type(indices_or_sections).__name__}): "
                "expected an int, a sequence of ints or a Tensor as indices_or_sections"
            )
        indices_or_sections = integers("tensor_split", "indices", indices_or_sections)
    else:
        indices_or_sections = integer("tensor_split", "sections", indices_or_sections)
        if indices_or_sections <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {indices_or_sections}")
        small, more = divmod(size, indices_or_sections)
        indices_or_sections = [k * small + min(k, more) for k in range(1, indices_or_sections)]
    bounds = [0, *indices_or_sections, size]
    return tuple(slice_along(input, dim, a, b) for a, b in zip(bounds, bounds[1:]))  # each a view of its own: may be written to


@function
def diagonal(input, offset=0, dim1=0, dim2=1) -> Tensor:
    """A view of the diagonals of the matrices in ``dim1`` and ``dim2``, as the last dimension."""
    ndim, offset = input._m.ndim, integer("diagonal", "offset", offset)
    dim1, dim2 = normalize_axis("diagonal", dim1, ndim), normalize_axis("diagonal", dim2, ndim)
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return _diagonal(input, offset, dim1, dim2)


@structured(kind="view", install=(), name="diagonal_view", grad_name="DiagonalBackward0")
def _diagonal(input, *, offset, dim1, dim2):
    m = input._m
    rows, columns = m.shape[dim1], m.shape[dim2]
    length = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    start = 0
    if length:
        start = offset * m.strides[dim2] if offset >= 0 else -offset * m.strides[dim1]
    rest = [axis for axis in range(m.ndim) if axis not in (dim1, dim2)]
    shape = (*[m.shape[axis] for axis in rest], length)
    return start, shape, (*[m.strides[axis] for axis in rest], m.strides[dim1] + m.strides[dim2])


@_diagonal.backward
def _(g, input_meta, offset, dim1, dim2):
    return _diagonal_gradient(g, input_meta, offset, dim1, dim2)


@structured(install=(), name="diagonal_gradient")
def _diagonal_gradient(g, *, input_meta, offset, dim1, dim2):
    out = zero(empty_tensor(meta(g._m.dtype, input_meta.shape, g._m.device)))
    write(g, make_view(out, *_diagonal.op.fn(out, offset=offset, dim1=dim1, dim2=dim2), False))
    return out


@_diagonal_gradient.backward
def _(g, offset, dim1, dim2):
    return _diagonal(g, offset, dim1, dim2)


@structured(kind="view", install=(), name="slices_along", grad_name="UnfoldBackward0")
def _unfold(input, *, dimension, size, step):
    m = input._m
    shape, strides = list(m.shape), list(m.strides)
    shape[dimension] = (shape[dimension] - size) // step + 1
    strides[dimension] *= step
    return 0, (*shape, size), (*strides, m.strides[dimension])


@_unfold.backward
def _(g, input_meta, dimension, size, step):
    return _unfold_gradient(g, input_meta, dimension, size, step)


@structured(install=(), name="slices_along_gradient")
def _unfold_gradient(g, *, input_meta, dimension, size, step):
    """Zeros of the input's shape, to which every element of every slice is added where it was taken."""
    out = zero(empty_tensor(meta(g._m.dtype, input_meta.shape, g._m.device)))
    shape, strides = list(out._m.shape), list(out._m.strides)
    count, apart = g._m.shape[dimension], out._m.strides[dimension]
    if size <= count:  # one element of all slices at a time
        shape[dimension], strides[dimension] = count, apart * step
        for k in range(size):
            engine.add_(make_view(out, k * apart, tuple(shape), tuple(strides), False), select(g, -1, k))
    else:  # one slice at a time
        shape[dimension] = size
        for k in range(count):
            part = movedim(select(g, dimension, k), -1, dimension)
            engine.add_(make_view(out, k * step * apart, tuple(shape), tuple(strides), False), part)
    return out


@_unfold_gradient.backward
def _(g, dimension, size, step):
    return _unfold(g, dimension, size, step)


@method
def unfold(self, dimension, size, step) -> Tensor:
    """A view of all slices of ``size`` elements, ``step`` apart, along ``dimension``; they are the last dimension."""
    m = self._m
    dimension = normalize_axis("unfold", dimension, m.ndim)
    length = m.shape[dimension] if m.ndim else 1
    size, step = integer("unfold", "size", size), integer("unfold", "step", step)
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > length:
        raise RuntimeError(f"maximum size for tensor at dimension {dimension} is {length} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if not m.ndim:
        return as_strided(self, (size,), (1,))
    return _unfold(self, dimension, size, step)


__all__ = ["slice_along"]
