"""Functions that stand in PyTorch's root namespace beside others of their kind: copies of views, layers' functions with
the arguments of the root, cells, and numbers under the names that tracing programs use."""

import functools
import math

from .. import dtypes
from ..config import warn_always as set_warn_always, warnings_always as is_warn_always_enabled
from ..inplace import write_out
from ..layout import inner_to_outer
from ..names import door, meanings
from ..op import as_tensor_operand, function, method
from ..tensor import Tensor
from . import loss, random, similarity
from .distance import norm
from .index import embedding as _embedding
from .join import cat
from .mask import nonzero
from .matmul import linear
from .parts import chunk, diagonal, select, slice_along, split, split_with_sizes, unbind, unfold as _windows
from .strided import as_strided
from .view import detach, expand, permute, squeeze, t, transpose, unsqueeze, view

# --- copies of views -------------------------------------------------------------------------------------------------


def _copy_of(name, show):
    """The function ``name``: a copy of the view, or of each of the views, that ``show`` gives."""

    shown = door(show, name)  # takes the other names of its parameters

    @functools.wraps(show)
    def copied(*args, out=None, **named):
        found = shown(*args, **named)
        if not isinstance(found, tuple):
            found = found.clone()
            return found if out is None else write_out(name, found, out)
        found = tuple([part.clone() for part in found])
        if out is None:
            return found
        for part, target in zip(found, out, strict=True):
            write_out(name, part, target)
        return None

    copied.__name__ = copied.__qualname__ = name
    copied.__module__, copied.__doc__ = __name__, f"A copy of `{name.removesuffix('_copy')}`'s view, with memory of its own."
    return function(copied, install=("ng",))


def _all(input) -> Tensor:
    return as_tensor_operand("alias_copy", input, "input")


def _slice(input, dim=0, start=None, end=None, step=1) -> Tensor:
    return slice_along(input, dim % max(input.ndim, 1), start, end, step)


def _expanded(input, size, *, implicit=False) -> Tensor:
    return expand(input, size, implicit=implicit)


def _viewed(input, size=None, *, dtype=None) -> Tensor:
    return view(input, dtype=dtype) if size is None else view(input, size)


alias_copy, as_strided_copy = _copy_of("alias_copy", _all), _copy_of("as_strided_copy", as_strided)
detach_copy, diagonal_copy = _copy_of("detach_copy", detach), _copy_of("diagonal_copy", diagonal)
expand_copy, permute_copy = _copy_of("expand_copy", _expanded), _copy_of("permute_copy", permute)
select_copy, slice_copy = _copy_of("select_copy", select), _copy_of("slice_copy", _slice)
split_copy, split_with_sizes_copy = _copy_of("split_copy", split), _copy_of("split_with_sizes_copy", split_with_sizes)
squeeze_copy, t_copy = _copy_of("squeeze_copy", squeeze), _copy_of("t_copy", t)
transpose_copy, unbind_copy = _copy_of("transpose_copy", transpose), _copy_of("unbind_copy", unbind)
unfold_copy, unsqueeze_copy = _copy_of("unfold_copy", _windows), _copy_of("unsqueeze_copy", unsqueeze)
view_copy = _copy_of("view_copy", _viewed)

# --- layers' functions -----------------------------------------------------------------------------------------------

_REDUCTIONS = ("none", "mean", "sum")


def _with_number(name, fn, *names):
    """A loss with the reduction as a number: 0 none, which is the default as in PyTorch's root, 1 the mean, 2 the sum."""

    means = meanings(name, names)

    def root(*args, reduction=0, **named):
        values = {**dict(zip(names, args)), **{means.get(other, other): value for other, value in named.items()}}
        if "reduction" in values:
            reduction = values.pop("reduction")
        if reduction not in (0, 1, 2):
            raise ValueError(f"{name}: {reduction} is not a valid value for reduction: 0 (none), 1 (mean) or 2 (sum)")
        return fn(**values, reduction=_REDUCTIONS[reduction])

    root.__name__ = root.__qualname__ = name
    root.__doc__ = f"`nn.functional.{name}` with ``reduction`` as a number: 0 none, 1 mean, 2 sum."
    return root


cosine_embedding_loss = _with_number(
    "cosine_embedding_loss", similarity.cosine_embedding_loss, "input1", "input2", "target", "margin", "reduction"
)
hinge_embedding_loss = _with_number(
    "hinge_embedding_loss", similarity.hinge_embedding_loss, "input", "target", "margin", "reduction"
)
margin_ranking_loss = _with_number(
    "margin_ranking_loss", similarity.margin_ranking_loss, "input1", "input2", "target", "margin", "reduction"
)
triplet_margin_loss = _with_number(
    "triplet_margin_loss", similarity.triplet_margin_loss, "anchor", "positive", "negative", "margin", "p", "eps", "swap",
    "reduction",
)  # fmt: skip
kl_div = _with_number("kl_div", loss.kl_div, "input", "target", "reduction")


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False) -> Tensor:
    """`nn.functional.embedding` with the table first; ``padding_idx`` -1: no padding."""
    return _embedding(indices, weight, None if padding_idx == -1 else padding_idx, None, 2.0, scale_grad_by_freq, sparse)


def alpha_dropout(input, p, train) -> Tensor:
    """`nn.functional.alpha_dropout` with PyTorch's arguments for the root."""
    return random.alpha_dropout(input, p, train)


def feature_alpha_dropout(input, p, train) -> Tensor:
    """`nn.functional.feature_alpha_dropout` with PyTorch's arguments for the root."""
    return random.feature_alpha_dropout(input, p, train)


def dropout_(input, p, train) -> Tensor:
    """In-place version of `dropout`."""
    return random.dropout(input, p, train, True)


def alpha_dropout_(input, p, train) -> Tensor:
    """In-place version of `alpha_dropout`."""
    return random.alpha_dropout(input, p, train, True)


def frobenius_norm(input, dim=None, keepdim=False, *, out=None) -> Tensor:
    """The square root of the sum of squares over ``dim``."""
    return norm(input, "fro", dim or None, keepdim, out=out)


def nuclear_norm(input, dim=None, keepdim=False, *, out=None) -> Tensor:
    """The sum of the singular values of the matrices in ``dim``."""
    return norm(input, "nuc", dim, keepdim, out=out)


# --- cells -----------------------------------------------------------------------------------------------------------


def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: ``(N, in), ((N, H), (N, H)), (4H, in), (4H, H), (4H), (4H) -> (N, H), (N, H)``."""
    h, c = hx
    i, f, g, o = chunk(linear(input, w_ih, b_ih) + linear(h, w_hh, b_hh), 4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None) -> Tensor:
    """One step of a GRU: ``(N, in), (N, H), (3H, in), (3H, H), (3H), (3H) -> (N, H)``."""
    r, z, n = chunk(linear(input, w_ih, b_ih), 3, -1)
    own_r, own_z, own_n = chunk(linear(hx, w_hh, b_hh), 3, -1)
    new = (n + (r + own_r).sigmoid() * own_n).tanh()
    return new + (z + own_z).sigmoid() * (hx - new)


def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None) -> Tensor:
    """One step of an Elman network with tanh: ``(N, in), (N, H), (H, in), (H, H), (H), (H) -> (N, H)``."""
    return (linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh)).tanh()


def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None) -> Tensor:
    """`rnn_tanh_cell` with relu."""
    return (linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh)).relu()


# --- what a tensor is ------------------------------------------------------------------------------------------------


@function(install=("ng",))
def is_same_size(input, other) -> bool:
    """Whether both have one shape."""
    return input._m.shape == other._m.shape


@function(install=("ng",))
def is_signed(input) -> bool:
    """Whether the dtype has negative numbers."""
    return input.is_signed()


@function(install=("ng",))
def get_device(input) -> int:
    """The CUDA device's number, -1 on the CPU."""
    return input.get_device()


def typename(obj) -> str:
    """The name of an object's type with its module; of a tensor ``torch.FloatTensor`` and the like."""
    if isinstance(obj, Tensor):
        return obj.type()
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(named, "__module__", None)
    return named.__qualname__ if module in (None, "builtins", "__builtin__") else f"{module}.{named.__qualname__}"


@method
def dim_order(self, *, ambiguity_check: bool = False) -> tuple[int, ...]:
    """The dimensions from the outermost in memory to the innermost. With ``ambiguity_check``, RuntimeError where other
    orders are as right."""
    m = self._m
    if ambiguity_check and (1 in m.shape or len(set(m.strides)) < m.ndim):
        raise RuntimeError("The tensor does not have unique dim order, or cannot map to exact one of the given memory formats.")
    return tuple(int(axis) for axis in inner_to_outer(m.shape, m.strides))


@method
def to_dense(self, dtype=None, *, masked_grad=None) -> Tensor:
    """This tensor, which is dense, in ``dtype``."""
    return self if dtype is None else self.to(dtype)


@method
def dense_dim(self) -> int:
    """The number of dimensions that are dense: all."""
    return self._m.ndim


@method
def sparse_dim(self) -> int:
    """The number of dimensions that are sparse: none."""
    return 0


@method
def is_distributed(self) -> bool:
    """Whether the tensor lies on several machines: no."""
    return False


@function
def nonzero_static(input, *, size, fill_value=-1, out=None) -> Tensor:
    """`nonzero` with exactly ``size`` rows: cut off, or filled up with ``fill_value``."""
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    if input.is_meta:
        found = input.new_empty((size, input.ndim), dtype=dtypes.int64)
    else:
        found = nonzero(input)
    if found.shape[0] >= size:
        found = found[:size].clone()
    else:
        found = cat([found, found.new_full((size - found.shape[0], found.shape[1]), fill_value)])
    return found if out is None else write_out("nonzero_static", found, out)


# --- numbers in programs that may be traced --------------------------------------------------------------------------


def sym_int(a) -> int:
    """A number without its fraction."""
    return math.trunc(a)


def sym_float(a) -> float:
    """A number as a float."""
    return float(a)


def sym_not(a) -> bool:
    """Whether ``a`` does not hold."""
    return not a


def sym_max(a, b):
    """The larger number; a float if one of the two is."""
    found = max(a, b)
    return float(found) if isinstance(a, float) or isinstance(b, float) else found


def sym_min(a, b):
    """The smaller number; a float if one of the two is."""
    found = min(a, b)
    return float(found) if isinstance(a, float) or isinstance(b, float) else found


def sym_sum(args):
    """The sum of numbers."""
    return sum(args)


def sym_sqrt(a) -> float:
    """The square root of a number."""
    return math.sqrt(a)


def sym_ite(b, t, f):
    """``t`` if ``b`` holds, else ``f``."""
    return t if b else f


def set_flush_denormal(mode: bool) -> bool:
    """Whether the CPU can be told to take denormal numbers for 0: it stays as it is, so no."""
    return False


__all__ = ["is_warn_always_enabled", "set_warn_always"]
