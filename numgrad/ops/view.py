"""Views: other shapes and strides over the same memory. No kernels; gradients are views or scattered copies."""

from ..device import CPU
from ..layout import infer_size, normalize_axes, normalize_axis, view_strides
from ..op import as_tensor_operand, check_inplace, function, method, structured, sum_to, write_out
from ..storage import meta
from ..tensor import Tensor, address, empty_tensor, view as make_view
from .copy import clone, contiguous, contiguous_copy, write, zero
from .parts import PartNode


def sizes(op, args):
    """Sizes given one by one or as one sequence, as a tuple of ints."""
    if len(args) == 1 and not hasattr(args[0], "__index__"):
        args = args[0]
    if isinstance(args, Tensor):
        args = args.tolist()
    try:
        return tuple([size if type(size) is int else size.__index__() for size in args])
    except (TypeError, AttributeError):
        raise TypeError(f"{op}(): sizes must be integers, got {args!r}") from None


@structured(kind="view", install=(), name="view")
def _view(input, *, shape):
    m = input._m
    strides = view_strides(m.shape, m.strides, shape)
    if strides is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            f"contiguous subspaces): {list(m.shape)} with strides {list(m.strides)} to {list(shape)}. Use .reshape(...) "
            "instead."
        )
    return 0, shape, strides


@_view.backward
def _(g, input_meta):
    return reshape(g, tuple(input_meta.shape))


@method
def view(self, *shape, dtype=None) -> Tensor:
    """The same elements under another shape, sharing memory; one size may be -1. With a dtype, the same bytes."""
    if len(shape) == 1 and hasattr(shape[0], "np"):
        dtype, shape = shape[0], ()
    if dtype is not None:
        return _view_dtype(self, dtype)
    shape = infer_size("view", sizes("view", shape), self._m.numel)
    return _view(self, shape)


def _view_dtype(self, dtype):
    m = self._m
    if dtype is m.dtype:
        return _view(self, tuple(m.shape))
    if self._n is not None and not dtype.is_floating_point:
        return _view_dtype(self.detach(), dtype)
    if not m.contiguous or not m.ndim:
        if dtype.itemsize != m.dtype.itemsize:
            raise RuntimeError(
                f"view: self.stride(-1) must be 1 to view {m.dtype!r} as {dtype!r} (different element sizes), but got "
                f"{m.strides[-1] if m.ndim else 'a 0-d tensor'}"
            )
    from ..storage import strided_meta
    from ..tensor import alias

    if dtype.itemsize == m.dtype.itemsize:
        return alias(self, self._d.view(dtype.np), strided_meta(dtype, tuple(m.shape), m.strides, m.device))
    last = m.shape[-1] * m.dtype.itemsize
    if last % dtype.itemsize:
        raise RuntimeError(
            f"view: self.size(-1) must be divisible by {dtype.itemsize // m.dtype.itemsize} to view {m.dtype!r} as "
            f"{dtype!r}, but got {m.shape[-1]}"
        )
    return alias(self, self._d.view(dtype.np), meta(dtype, (*m.shape[:-1], last // dtype.itemsize), m.device))


@function
def reshape(input, *shape) -> Tensor:
    """The same elements under another shape: a view where possible, else a copy. One size may be -1."""
    input = as_tensor_operand("reshape", input, "input")
    key = input._m, shape
    try:
        plan = _reshapes.get(key)
    except TypeError:  # sizes in a list
        plan = key = None
    if plan is None:
        full = infer_size("reshape", sizes("reshape", shape), input._m.numel)
        plan = full, view_strides(input._m.shape, input._m.strides, full) is None
        if key is not None:
            if len(_reshapes) > 1 << 14:
                _reshapes.clear()
            _reshapes[key] = plan
    full, needs_copy = plan
    return _view(contiguous_copy(input) if needs_copy else input, full)


_reshapes: dict = {}  # (meta, sizes) -> (shape, whether a copy is needed)



@method
def view_as(self, other) -> Tensor:
    """`view` with the shape of ``other``."""
    return view(self, tuple(other._m.shape))


@method
def reshape_as(self, other) -> Tensor:
    """`reshape` to the shape of ``other``."""
    return reshape(self, tuple(other._m.shape))


@structured(kind="view", install=(), name="permute")
def _permute(input, *, dims):
    m = input._m
    return 0, tuple(m.shape[d] for d in dims), tuple(m.strides[d] for d in dims)


@_permute.backward
def _(g, dims):
    inverse = [0] * len(dims)
    for k, d in enumerate(dims):
        inverse[d] = k
    return _permute(g, tuple(inverse))


@function
def permute(input, *dims) -> Tensor:
    """The dimensions in another order; ``dims`` names all of them."""
    wanted = sizes("permute", dims)
    m = input._m
    if len(wanted) != m.ndim:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {m.ndim} is not equal to len(dims) = {len(wanted)}"
        )
    order = normalize_axes("permute", wanted, m.ndim) if m.ndim else ()
    return _permute(input, order)


@function
def transpose(input, dim0, dim1) -> Tensor:
    """Two dimensions exchanged."""
    input = as_tensor_operand("transpose", input, "input")
    ndim = input._m.ndim
    return _transpose(input, normalize_axis("transpose", dim0, ndim), normalize_axis("transpose", dim1, ndim))


def _exchanged(m, dim0, dim1):
    """(offset, shape, strides) of a view with two dimensions exchanged."""
    shape, strides = list(m.shape), list(m.strides)
    if m.ndim:
        shape[dim0], shape[dim1] = shape[dim1], shape[dim0]
        strides[dim0], strides[dim1] = strides[dim1], strides[dim0]
    return 0, tuple(shape), tuple(strides)


@structured(kind="view", install=(), name="transpose")
def _transpose(input, *, dim0, dim1):
    return _exchanged(input._m, dim0, dim1)


@_transpose.backward
def _(g, dim0, dim1):
    return _transpose(g, dim0, dim1)


@structured(kind="view", install=(), name="t")
def _t(input):
    return _exchanged(input._m, 0, -1)


@_t.backward
def _(g):
    return _t(g)


@function
def swapaxes(input, axis0, axis1) -> Tensor:
    """`transpose` under NumPy's name."""
    return transpose(input, axis0, axis1)


@function
def swapdims(input, dim0, dim1) -> Tensor:
    """`transpose` under another name."""
    return transpose(input, dim0, dim1)


@function
def t(input) -> Tensor:
    """The transpose of a matrix; vectors and 0-d tensors as they are."""
    input = as_tensor_operand("t", input, "input")
    if input._m.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input._m.ndim}D; use transpose")
    return _t(input)


def _reversed(self) -> Tensor:
    """All dimensions reversed."""
    return _permute(self, tuple(reversed(range(self._m.ndim))))


def _matrix_transpose(self) -> Tensor:
    """The last two dimensions exchanged."""
    if self._m.ndim < 2:
        raise RuntimeError(f"tensor.mT is only supported on matrices or batches of matrices. Got {self._m.ndim}-D tensor.")
    return transpose(self, -2, -1)


Tensor.T = property(_reversed)
Tensor.mT = property(_matrix_transpose)
Tensor.H = property(lambda self: t(self), doc="The conjugate transpose of a matrix.")
Tensor.mH = property(_matrix_transpose)


@function
def adjoint(input) -> Tensor:
    """The conjugate transpose of the last two dimensions."""
    return transpose(input, -2, -1)


@function
def movedim(input, source, destination) -> Tensor:
    """Dimensions ``source`` moved to the positions ``destination``, the others in their order."""
    ndim = input._m.ndim
    source = normalize_axes("movedim", source, ndim)
    destination = normalize_axes("movedim", destination, ndim)
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({list(source)} dims) should contain the same number "
            f"of dims as destination ({list(destination)} dims)"
        )
    rest = iter(axis for axis in range(ndim) if axis not in source)
    order = [source[destination.index(place)] if place in destination else next(rest) for place in range(ndim)]
    return _permute(input, tuple(order))


@function
def moveaxis(input, source, destination) -> Tensor:
    """`movedim` under NumPy's name."""
    return movedim(input, source, destination)


@structured(kind="view", install=(), name="expand")
def _expand(input, *, shape):
    m = input._m
    lead = len(shape) - m.ndim
    strides = [0] * lead
    for k, size in enumerate(m.shape):
        wanted = shape[lead + k]
        if size != wanted and size != 1:
            raise RuntimeError(
                f"expand: The expanded size of the tensor ({wanted}) must match the existing size ({size}) at "
                f"non-singleton dimension {lead + k}. Target sizes: {list(shape)}. Tensor sizes: {list(m.shape)}"
            )
        strides.append(m.strides[k] if size == wanted else 0)
    return 0, shape, tuple(strides)


@_expand.backward
def _(g, input_meta):
    return sum_to(g, input_meta)


@method
def expand(self, *shape, implicit=False) -> Tensor:
    """A view in which dimensions of size 1, and new ones in front, repeat; -1 keeps a size."""
    wanted = sizes("expand", shape)
    m = self._m
    lead = len(wanted) - m.ndim
    if lead < 0:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(wanted)}) must be greater or equal to the number of dimensions "
            f"in the tensor ({m.ndim})"
        )
    if any(size < -1 or (size == -1 and k < lead) for k, size in enumerate(wanted)):
        raise RuntimeError(f"expand: The expanded size of the tensor ({list(wanted)}) isn't allowed in a leading, "
                           "non-existing dimension")  # fmt: skip
    return _expand(self, tuple(m.shape[k - lead] if size == -1 else size for k, size in enumerate(wanted)))


@method
def expand_as(self, other) -> Tensor:
    """`expand` to the shape of ``other``."""
    return _expand(self, tuple(other._m.shape))


@method
def is_same_size(self, other) -> bool:
    """Whether ``other`` has this tensor's shape."""
    return self._m.shape == other._m.shape


@function(install=("ng",))
def broadcast_to(input, size) -> Tensor:
    """`expand` under NumPy's name."""
    return expand(input, *sizes("broadcast_to", (size,)))


Tensor.broadcast_to = lambda self, *size: expand(self, *sizes("broadcast_to", size))


def as_strided_view(input, size, stride, offset):
    """(offset, size, stride) relative to ``input``'s first element, checked against its storage."""
    storage = input._s
    root = input._d if storage is None or storage.root is None else storage.root
    here = 0 if root is input._d or not len(input._d) else (address(input._d) - address(root)) // input._m.dtype.itemsize
    offset = here if offset is None else offset
    if len(size) != len(stride):
        raise RuntimeError(
            f"as_strided: mismatch in length of strides and shape: {len(size)} sizes and {len(stride)} strides"
        )
    if any(step < 0 for step in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if 0 not in size else offset
    if offset < 0 or (0 not in size and last >= len(root)):
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset} are out of bounds for "
            f"storage of size {len(root)}"
        )
    return root, offset


@structured(install=(), name="strided_scatter", grad_name="AsStridedScatterBackward0")
def _as_strided_scatter(input, src, *, size, stride, offset):
    out = clone(input) if input._m.contiguous else contiguous_copy(input)
    target = make_view(out, offset, size, stride, False)
    write(src, target)
    return out


@_as_strided_scatter.backward
def _(g, size, stride, offset):
    g = g.contiguous()
    inside = as_strided(g, size, stride, g.storage_offset() + offset)
    outside = _as_strided_scatter(g, zero(empty_tensor(meta(g._m.dtype, size, g._m.device))), size, stride, offset)
    return outside, contiguous_copy(inside)


@structured(install=(), name="as_strided_gradient")
def _as_strided_gradient(g, *, input_meta, size, stride, offset):
    """Zeros of the input's shape, to which every element of ``g`` is added where the view took it from."""
    import numpy as np

    m = meta(g._m.dtype, input_meta.shape, g._m.device)
    flat = np.zeros(max(input_meta.span, 1), g._m.np)
    index = np.zeros(tuple(size), np.int64) + offset
    for axis, (n, step) in enumerate(zip(size, stride)):
        index += (np.arange(n) * step).reshape((-1,) + (1,) * (len(size) - axis - 1))
    np.add.at(flat, index.ravel(), g.contiguous()._d)
    if input_meta.contiguous:
        return _host_tensor(flat[: m.numel].reshape(m.shape), m)
    strides = tuple(step * flat.itemsize for step in input_meta.strides)
    return _host_tensor(np.lib.stride_tricks.as_strided(flat, m.shape, strides), m)


def _host_tensor(array, m):
    from ..tensor import from_array

    found = from_array(array)
    return found if m.device is CPU else found.to(m.device)


@_as_strided_gradient.backward
def _(g, input_meta, size, stride, offset):
    g = g.contiguous()
    if not input_meta.contiguous:  # into the layout that offset and stride are meant for
        memory = zero(empty_tensor(meta(g._m.dtype, (input_meta.span,), g._m.device)))
        g = _as_strided_scatter(memory, g, tuple(input_meta.shape), input_meta.strides, 0)
    return as_strided(g, size, stride, g.storage_offset() + offset)


@structured(kind="view", install=(), name="as_strided")
def _as_strided(input, *, size, stride, offset, place):
    return place, size, stride


@_as_strided.backward
def _(g, input_meta, size, stride, place):
    return _as_strided_gradient(g, input_meta, size, stride, place)


@function
def as_strided(input, size, stride, storage_offset=None) -> Tensor:
    """A view with any sizes and strides over the tensor's storage; ``storage_offset`` counts from its start."""
    size, stride = sizes("as_strided", (size,)), sizes("as_strided", (stride,))
    root, offset = as_strided_view(input, size, stride, storage_offset)
    here = 0
    if root is not input._d and len(input._d):
        here = (address(input._d) - address(root)) // input._m.dtype.itemsize
    place = offset - here
    length = 1 + sum((n - 1) * step for n, step in zip(size, stride)) if 0 not in size else 0
    if place < 0 or place + length > len(input._d):
        whole = _whole_storage(input, root)
        return _as_strided(whole, size, stride, offset, offset)
    return _as_strided(input, size, stride, offset, place)


def _whole_storage(input, root):
    from ..tensor import alias

    found = alias(input, root, meta(input._m.dtype, (len(root),), input._m.device))
    base = input if input._base is None else input._base
    found.__dict__["_base"] = base
    if base._n is not None and base._m.contiguous and base._d is root:
        return reshape(base, -1)
    return found



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
    index = int(index)
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


@structured(kind="view", install=(), name="unsqueeze")
def _unsqueeze(input, *, dim):
    m = input._m
    step = m.shape[dim] * m.strides[dim] if dim < m.ndim else 1
    return 0, m.shape[:dim] + (1,) + m.shape[dim:], m.strides[:dim] + (step,) + m.strides[dim:]


@_unsqueeze.backward
def _(g, dim):
    return _squeeze(g, (dim,))


@function
def unsqueeze(input, dim) -> Tensor:
    """A new dimension of size 1 at ``dim``."""
    return _unsqueeze(input, normalize_axis("unsqueeze", dim, input._m.ndim, extra=1))


@structured(kind="view", install=(), name="squeeze")
def _squeeze(input, *, dims):
    m = input._m
    keep = [axis for axis in range(m.ndim) if axis not in dims or m.shape[axis] != 1]
    return 0, tuple(m.shape[axis] for axis in keep), tuple(m.strides[axis] for axis in keep)


@_squeeze.backward
def _(g, input_meta):
    return reshape(g, tuple(input_meta.shape))


@function
def squeeze(input, dim=None) -> Tensor:
    """Without the dimensions of size 1: all of them, or those of ``dim`` that have it."""
    return _squeeze(input, normalize_axes("squeeze", dim, input._m.ndim))


def _restride(name, change):
    def inplace(self, *args, **named):
        """In-place version: this tensor takes the other shape."""
        check_inplace(name, self)
        out = change(self, *args, **named)
        self._d, self._m = out._d, out._m
        if out._n is not None:
            self._n = out._n
        return self

    inplace.__name__ = inplace.__qualname__ = name
    setattr(Tensor, name, inplace)


for _name, _change in (("unsqueeze_", unsqueeze), ("squeeze_", squeeze), ("t_", t), ("transpose_", transpose),
                       ("swapaxes_", swapaxes), ("swapdims_", swapdims), ("as_strided_", as_strided)):  # fmt: skip
    _restride(_name, _change)


@function
def flatten(input, start_dim=0, end_dim=-1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` as one."""
    ndim = input._m.ndim
    start, end = normalize_axis("flatten", start_dim, ndim), normalize_axis("flatten", end_dim, ndim)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if ndim == 0:
        return reshape(input, (1,))
    if start == end:
        return input
    shape = tuple(input._m.shape)
    size = 1
    for n in shape[start : end + 1]:
        size *= n
    return reshape(input, shape[:start] + (size,) + shape[end + 1 :])


@function
def ravel(input) -> Tensor:
    """All elements in one dimension."""
    return _view(contiguous(as_tensor_operand("ravel", input, "input")), (input._m.numel,))


@function
def unflatten(input, dim, sizes) -> Tensor:
    """Dimension ``dim`` as several of the given sizes, one of which may be -1."""
    dim = normalize_axis("unflatten", dim, input._m.ndim)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if isinstance(sizes, int):
        sizes = (sizes,)
    shape = tuple(input._m.shape)
    inner = infer_size("unflatten", tuple(sizes), shape[dim])
    return view(input, shape[:dim] + inner + shape[dim + 1 :])


@function
def unbind(input, dim=0) -> tuple[Tensor, ...]:
    """The sub-tensors along ``dim``, without that dimension, as a tuple."""
    if not input._m.ndim:
        raise IndexError("unbind: Dimension specified as 0 but tensor has no dimensions")
    dim = normalize_axis("unbind", dim, input._m.ndim)
    return tuple([_unbound(input, dim, k) for k in range(input._m.shape[dim])])


@function
def split(tensor, split_size_or_sections, dim=0) -> tuple[Tensor, ...]:
    """Views of ``split_size`` elements along ``dim`` (the last may be smaller), or of the sizes given."""
    if not tensor._m.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    dim = normalize_axis("split", dim, tensor._m.ndim)
    size = tensor._m.shape[dim]
    if hasattr(split_size_or_sections, "__index__"):
        step = split_size_or_sections.__index__()
        if step < 0 or (step == 0 and size):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={step}")
        sections = [min(step, size - at) for at in range(0, size, step)] if size else [0]
    else:
        sections = list(split_size_or_sections)
        if any(n < 0 for n in sections) or sum(sections) != size:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's size at dimension {dim}), "
                f"but got split_sizes={sections}"
            )
    found, at = [], 0
    for n in sections:
        found.append(_slice(tensor, dim, at, 1, n))
        at += n
    return tuple(found)


@function(install=("ng",))
def split_with_sizes(input, split_sizes, dim=0) -> tuple[Tensor, ...]:
    """`split` into the sizes given."""
    return split(input, list(split_sizes), dim)


Tensor.split_with_sizes = split_with_sizes


@function
def chunk(input, chunks, dim=0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views of equal size along ``dim``; the last may be smaller."""
    if not input._m.ndim:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    dim = normalize_axis("chunk", dim, input._m.ndim)
    size = input._m.shape[dim]
    step = -(-size // chunks)
    return split(input, [0] * chunks, dim) if step == 0 else split(input, step, dim)


@function
def tensor_split(input, indices_or_sections, dim=0) -> tuple[Tensor, ...]:
    """Views along ``dim``: a number of nearly equal ones, or those between the indices given."""
    if not input._m.ndim:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    dim = normalize_axis("tensor_split", dim, input._m.ndim)
    size = input._m.shape[dim]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        if indices_or_sections <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {indices_or_sections}")
        small, more = divmod(size, indices_or_sections)
        return split(input, [small + 1] * more + [small] * (indices_or_sections - more), dim)
    bounds = [0, *indices_or_sections, size]
    return tuple([slice_along(input, dim, a, b) for a, b in zip(bounds, bounds[1:])])


@function
def diagonal(input, offset=0, dim1=0, dim2=1) -> Tensor:
    """A view of the diagonals of the matrices in ``dim1`` and ``dim2``, as the last dimension."""
    ndim = input._m.ndim
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


@method
def unfold(self, dimension, size, step) -> Tensor:
    """A view of all slices of ``size`` elements, ``step`` apart, along ``dimension``; they are the last dimension."""
    m = self._m
    dimension = normalize_axis("unfold", dimension, m.ndim)
    length = m.shape[dimension] if m.ndim else 1
    if size < 0 or size > length:
        raise RuntimeError(f"maximum size for tensor at dimension {dimension} is {length} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if not m.ndim:
        return as_strided(self, (size,), (1,))
    shape = list(m.shape)
    shape[dimension] = (length - size) // step + 1
    strides = list(m.strides)
    strides[dimension] *= step
    return _as_strided(self, (*shape, size), (*strides, m.strides[dimension]), None, 0)


@function(install=("ng",))
def view_as_real(input):
    """Complex tensors as pairs of reals: there are no complex dtypes here."""
    raise RuntimeError("view_as_real is only supported for complex tensors; numgrad has no complex dtypes")


@function(install=("Tensor",))
def is_set_to(self, tensor) -> bool:
    """Whether both tensors are the same view of the same memory."""
    return self._m is tensor._m and self.data_ptr() == tensor.data_ptr()


@function
def detach(input) -> Tensor:
    """The data without its history; shares memory."""
    return input.detach()


__all__ = ["slice_along"]
