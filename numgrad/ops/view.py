"""Views of all elements, in another shape or order. No kernels; gradients are views."""

from math import prod

from ..config import warn_once
from ..inplace import check_inplace
from ..layout import infer_size, integers, normalize_axes, normalize_axis, view_strides
from ..names import door
from ..op import ENTRIES, as_tensor_operand, function, method, put_on_tensor, sum_to
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, follow, wrap_as
from .copy import contiguous, contiguous_copy


def sizes(op, args, name="size"):
    """Sizes given one by one or as one sequence, as a tuple of ints."""
    return integers(op, name, args[0] if len(args) == 1 else args)


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
def view(self, *shape, size=None, dtype=None) -> Tensor:
    """The same elements under another shape, sharing memory; one size may be -1. With a dtype, the same bytes."""
    if size is not None:
        shape = (size,)
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
    if self._n is not None and not dtype.differentiable:
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
def reshape(input, *size, shape=None) -> Tensor:
    """The same elements under another shape: a view where possible, else a copy. One size may be -1."""
    shape = size if shape is None else (shape,)
    if type(input) is not Tensor:
        input = as_tensor_operand("reshape", input, "input")
    # The product of ints is an int; 2.0 is equal to one of them, and is no size.
    sizes_given = shape[0] if len(shape) == 1 and type(shape[0]) is not int else shape
    plan = None
    try:
        if type(prod(sizes_given)) is int:
            plan = _reshapes.get((input._m, shape))
    except TypeError:  # sizes in a list, or no sizes
        pass
    if plan is None:
        wanted = sizes("reshape", shape)
        full = infer_size("reshape", wanted, input._m.numel)
        plan = full, view_strides(input._m.shape, input._m.strides, full) is None
        if len(_reshapes) > 1 << 14:
            _reshapes.clear()
        # A size may have been a tensor, whose number may change: the plan is kept for the numbers.
        _reshapes[input._m, wanted if len(shape) > 1 else (wanted,)] = plan
    full, needs_copy = plan
    return as_own(_view(contiguous_copy(input), full)) if needs_copy else _view(input, full)


def as_own(view):
    """A view of memory that no other tensor will show, as no view: it may be detached in place."""
    view._base = None
    return view


_reshapes: dict = {}  # (meta, sizes) -> (shape, whether a copy is needed)



@method
def view_as(self, other) -> Tensor:
    """`view` with the shape of ``other``."""
    return view(self, tuple(as_tensor_operand("view_as", other, "other")._m.shape))


@structured(kind="view", install=(), name="alias")
def _alias(input):
    m = input._m
    return 0, tuple(m.shape), m.strides


@_alias.backward
def _(g):
    return g


@method
def as_subclass(self, cls):
    """This tensor as an instance of ``cls``, a subclass of Tensor: a view of all of it. Raises TypeError for other classes."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise RuntimeError(f"Creating a Tensor subclass from a class that does not inherit from Tensor is not possible: {cls!r}")
    shown = _alias(self)
    found = wrap_as(cls, shown)
    if shown._base is not None:
        follow(found, shown, found._s)
    return found


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
def permute(input, *axes, dims=None) -> Tensor:
    """The dimensions in another order; ``dims`` names all of them."""
    dims = axes if dims is None else (dims,)
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
    if self._m.ndim != 2:
        warn_once(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated and it will throw an "
            "error in a future release. Consider `x.mT` to transpose batches of matrices or "
            "`x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor."
        )
    return _permute(self, tuple(reversed(range(self._m.ndim))))


def _matrix_transpose(self) -> Tensor:
    """The last two dimensions exchanged."""
    if self._m.ndim < 2:
        raise RuntimeError(f"tensor.mT is only supported on matrices or batches of matrices. Got {self._m.ndim}-D tensor.")
    return transpose(self, -2, -1)


def _conjugate_of_matrix(self) -> Tensor:
    """The conjugate transpose of a matrix. Raises RuntimeError for other shapes than a matrix and a single number."""
    if self._m.ndim not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self._m.ndim}-D tensor.")
    return t(ENTRIES["conj"](self))


Tensor.T = property(_reversed)
Tensor.mT = property(_matrix_transpose)
Tensor.H = property(_conjugate_of_matrix)
Tensor.mH = property(
    lambda self: _matrix_transpose(ENTRIES["conj"](self)), doc="The conjugate transpose of the last two dimensions."
)


@function
def adjoint(input) -> Tensor:
    """The conjugate transpose of the last two dimensions. Raises RuntimeError for a vector."""
    input = as_tensor_operand("adjoint", input, "input")
    if input._m.ndim == 1:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor.")
    return transpose(ENTRIES["conj"](input), -2, -1)


@function
def movedim(input, source, destination) -> Tensor:
    """Dimensions ``source`` moved to the positions ``destination``, the others in their order."""
    ndim, given = input._m.ndim, [list(dims) if isinstance(dims, (list, tuple)) else [dims] for dims in (source, destination)]
    source, destination = _moved("source", source, ndim), _moved("destination", destination, ndim)
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({given[0]} dims) should contain the same number "
            f"of dims as destination ({given[1]} dims)"
        )
    rest = iter(axis for axis in range(ndim) if axis not in source)
    order = [source[destination.index(place)] if place in destination else next(rest) for place in range(ndim)]
    return _permute(input, tuple(order))


def _moved(name, dims, ndim):
    given = list(dims) if isinstance(dims, (tuple, list)) else [dims]
    dims = [normalize_axis("movedim", dim, ndim) for dim in given]
    if len(set(dims)) < len(dims):
        raise RuntimeError(f"movedim: repeated dim in `{name}` ({given})")
    return dims


@function
def moveaxis(input, source, destination) -> Tensor:
    """`movedim` under NumPy's name."""
    return movedim(input, source, destination)


@structured(kind="view", install=(), name="expand")
def _expand(input, *, shape):
    m = input._m
    lead = len(shape) - m.ndim
    strides = []
    for k, size in enumerate(m.shape):
        wanted = shape[lead + k]
        if size != wanted and size != 1:
            raise RuntimeError(
                f"expand: The expanded size of the tensor ({wanted}) must match the existing size ({size}) at "
                f"non-singleton dimension {lead + k}. Target sizes: {list(shape)}. Tensor sizes: {list(m.shape)}"
            )
        strides.append(m.strides[k] if size == wanted else 0)
    for wanted in reversed(shape[:lead]):  # new ones repeat, or lie around the others
        strides.insert(0, 0 if wanted != 1 else strides[0] * shape[len(shape) - len(strides)] if strides else 1)
    return 0, shape, tuple(strides)


@_expand.backward
def _(g, input_meta):
    return sum_to(g, input_meta)


@method
def expand(self, *shape, size=None, implicit=False) -> Tensor:
    """A view in which dimensions of size 1, and new ones in front, repeat; -1 keeps a size."""
    shape = shape if size is None else (size,)
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
    return expand(self, tuple(as_tensor_operand("expand_as", other, "other")._m.shape))


@method
def is_same_size(self, other) -> bool:
    """Whether ``other`` has this tensor's shape."""
    return self._m.shape == other._m.shape


@function(install=("ng",))
def broadcast_to(input, size) -> Tensor:
    """`expand` under NumPy's name."""
    return expand(input, *sizes("broadcast_to", (size,)))


@method(name="broadcast_to")
def _broadcast_to(self, *shape, size=None) -> Tensor:
    """`expand` under NumPy's name."""
    return expand(self, *sizes("broadcast_to", shape if size is None else (size,)))


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
    ndim = input._m.ndim
    return _unsqueeze(input, dim if type(dim) is int and 0 <= dim <= ndim else normalize_axis("unsqueeze", dim, ndim, extra=1))


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


def install_inplace(name, change):
    """Give Tensor the in-place form ``name`` of a view: the tensor itself becomes the view that ``change`` returns."""

    change = door(change, name, method=True)

    def inplace(self, *args, **named):
        """In-place version: this tensor takes the other shape."""
        check_inplace(name, self)
        out = change(self, *args, **named)
        self._d, self._m = out._d, out._m
        if out._n is not None:
            self._n = out._n
        return self

    inplace.__name__ = inplace.__qualname__ = name
    put_on_tensor(name, inplace)


for _name, _change in (("unsqueeze_", unsqueeze), ("squeeze_", squeeze), ("t_", t), ("transpose_", transpose),
                       ("swapaxes_", swapaxes), ("swapdims_", swapdims)):  # fmt: skip
    install_inplace(_name, _change)


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
    sizes = integers("unflatten", "sizes", sizes)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    shape = tuple(input._m.shape)
    inner = infer_size("unflatten", sizes, shape[dim])
    return view(input, shape[:dim] + inner + shape[dim + 1 :])



@function
def detach(input) -> Tensor:
    """The data without its history; shares memory."""
    return input.detach()
