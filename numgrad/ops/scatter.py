"""Writing along one dimension: scatter, scatter_add, scatter_reduce, index_reduce."""

from ..autograd import is_grad_enabled
from ..errors import no_complex_form
from ..inplace import check_inplace, write_out
from ..kernels.index import ADD, MAX, MIN, MUL, SET
from ..layout import normalize_axis
from ..op import as_tensor_operand, function, method
from ..structured import structured
from ..tensor import Tensor
from .copy import contiguous_copy
from .index import along, at_least_1d, index_source, one_value, same_dtype
from .places import Writing, places_shape, put, reading, rewritten
from .reduce import highest, lowest
from .view import as_own, reshape

_scattering = Writing("scatter")
_adding = Writing("scatter_add")
_MODES = {"sum": ADD, "mean": ADD, "prod": MUL, "amax": MAX, "amin": MIN}
_SCATTER_MODES = {"add": "sum", "multiply": "prod"}


def _arguments(op, input, dim, index, src):
    """Checked (target, places or None if there is nothing to write, source)."""
    input = as_tensor_operand(op, input, "input")
    index = as_tensor_operand(op, index, "index")
    dim = normalize_axis(op, dim, input._m.ndim)
    target = at_least_1d(input)
    if isinstance(src, Tensor):
        same_dtype(op, input, src, "src")
        if src._m.ndim == 0 and index._m.numel == 1 and input._m.ndim:
            src = reshape(src, (1,) * input._m.ndim)
        src = at_least_1d(src)
    at = along(op, target, dim, at_least_1d(index), src if isinstance(src, Tensor) else None)
    if at is None or not index._m.numel:
        return target, None, src
    if isinstance(src, Tensor):
        for axis, size in enumerate(at.shape):
            if src._m.shape[axis] != size:
                src = src.narrow(axis, 0, size)
    else:
        src = one_value(op, src, input)
    return target, at, src


def _source(op, src, value):
    if value is not None:
        src = value
    if src is None:
        raise TypeError(f"{op}(): missing argument 'src' or 'value'")
    return src


@function
def scatter(input, dim, index, src=None, *, value=None, reduce=None, out=None) -> Tensor:
    """``input`` with ``out[..., index[i, j, ...], ...] = src[i, j, ...]`` along ``dim``; ``src`` may be a number.

    ``reduce``: "add" or "multiply" instead of overwriting.
    """
    src = _source("scatter", src, value)
    target, at, src = _arguments("scatter", input, dim, index, src)
    if at is None:
        found = input.clone()
    elif reduce is None:
        found = as_own(reshape(_scattering(target, src, at), tuple(input._m.shape)))
    else:
        found = _reduced(target, _full(src, at, target), at, _mode("scatter", reduce), True)
        found = reshape(found, tuple(input._m.shape))
    return found if out is None else write_out("scatter", found, out)


@method
def scatter_(self, dim, index, src=None, *, value=None, reduce=None):
    """In-place version of `scatter`."""
    given = _source("scatter_", src, value)
    target, at, src = _arguments("scatter_", self, dim, index, given)
    if at is None:
        check_inplace("scatter_", self)
    elif reduce is None:
        _scattering.inplace("scatter_", target, src, at)
    else:
        rewritten("scatter_", self, lambda old: scatter(old, dim, index, given, reduce=reduce))
    return self


def _mode(op, reduce):
    if reduce not in _SCATTER_MODES:
        raise RuntimeError(f"{op}(): reduce argument must be either add or multiply, got {reduce!r}")
    return _SCATTER_MODES[reduce]


def _full(src, at, target):
    return src if src._m.ndim else src.expand(places_shape(at, target._m))


@function
def scatter_add(input, dim, index, src, *, out=None) -> Tensor:
    """``input`` with ``src[i, j, ...]`` added at ``[..., index[i, j, ...], ...]`` along ``dim``."""
    src = as_tensor_operand("scatter_add", src, "src")
    target, at, src = _arguments("scatter_add", input, dim, index, src)
    found = input.clone() if at is None else as_own(reshape(_adding(target, src, at, ADD), tuple(input._m.shape)))
    return found if out is None else write_out("scatter_add", found, out)


@method
def scatter_add_(self, dim, index, src):
    """In-place version of `scatter_add`."""
    src = as_tensor_operand("scatter_add_", src, "src")
    target, at, src = _arguments("scatter_add_", self, dim, index, src)
    if at is None:
        check_inplace("scatter_add_", self)
    else:
        _adding.inplace("scatter_add_", target, src, at, ADD)
    return self


# --- reductions ----------------------------------------------------------------------------------------------------


@structured(install=(), name="scatter_reduce", cases="none")
def _reduced(input, src, *, at, reduce, include_self):
    if input._m.dtype.is_complex and reduce in ("amax", "amin"):
        raise no_complex_form(f"scatter_reduce with reduce={reduce!r}")
    out = contiguous_copy(input)
    _reduce_into(out, src, at, reduce, include_self)
    return out


def _identity(reduce, d):
    if reduce == "amax":
        return lowest(d)
    if reduce == "amin":
        return highest(d)
    return 1 if reduce == "prod" else 0


def _reduce_into(out, src, at, reduce, include_self):
    """Fold ``src`` into ``out`` at the places; without ``include_self`` what was there does not count."""
    if not include_self:
        put(out, one_value("scatter_reduce", _identity(reduce, out._m.dtype), out), at, SET)
    put(out, src, at, _MODES[reduce])
    if reduce == "mean":
        counts = _counts(out, at, include_self)
        if out._m.dtype.differentiable:
            quotient = out / counts
        else:
            quotient = out.div(counts, rounding_mode="floor")
        out.copy_(quotient)


def _counts(like, at, include_self):
    """How many values meet at each element; 1 where none do."""
    one = one_value("scatter_reduce", 1, like)
    counts = like * 0 + 1 if include_self else like * 0
    if like._m.dtype.differentiable:
        counts = like.new_full(tuple(like._m.shape), float(include_self))
    put(counts, one, at, ADD)
    return counts if include_self else counts.masked_fill(counts == 0, 1)


_read = reading("scatter_read")


@_reduced.backward
def _(g, input, src, out, at, reduce, include_self):
    if reduce == "sum":
        d_input, d_src = g, _read(g, at)
    elif reduce == "mean":
        d_input = g / _counts(input.detach(), at, include_self)
        d_src = _read(d_input, at)
    elif reduce == "prod":
        d_input, d_src = _prod_gradients(g, input, src, at, include_self)
    else:
        hit_input = (input == out).to(g._m.dtype)
        hit_src = (src == _read(out, at)).to(g._m.dtype)
        hits = hit_input if include_self else _scattering(hit_input, one_value("scatter_reduce", 0, g), at)
        shared = g / _adding(hits, hit_src, at, ADD)
        d_input, d_src = shared * hit_input, hit_src * _read(shared, at)
    if not include_self:
        d_input = _scattering(d_input, one_value("scatter_reduce", 0, g), at)
    return d_input, d_src


def _prod_gradients(g, input, src, at, include_self):
    """Products of all other factors: a factor of 0, or NaN, is left out of the product instead of divided out of it."""
    nonzero_input = input.masked_fill(input == 0, 1)
    d_input = g * _reduced(nonzero_input, src, at, "prod", include_self) / nonzero_input
    is_zero = (src == 0) | (src != src)
    zeros = one_value("scatter_reduce", 0, g).expand(tuple(input._m.shape))
    meeting = _read(_adding(contiguous_copy(zeros), is_zero.to(g._m.dtype), at, ADD), at)
    only_zero = is_zero & (meeting == 1)
    others = _reduced(input, src.masked_fill(only_zero, 1), at, "prod", include_self)
    product = _reduced(input, src, at, "prod", include_self)
    d_src = (_read(g * product, at) / src.masked_fill(is_zero, 1)).masked_fill(only_zero, 0)
    d_src = d_src + _read(g * others, at) * only_zero.to(g._m.dtype)
    if is_grad_enabled():
        # Of two zeros that meet each is a factor of the other's gradient: that is 0, its derivative is not.
        pair = ((src == 0) & (meeting == 2)).to(g._m.dtype)
        at_zero = src.masked_fill(src != 0, 0)
        partner = _read(_adding(contiguous_copy(zeros), at_zero, at, ADD), at) - at_zero
        rest = _reduced(input, src.masked_fill(is_zero, 1), at, "prod", include_self)
        d_src = d_src + _read(g * rest, at) * partner * pair
    return d_input, d_src


def _check_reduce(op, reduce, allowed):
    if reduce not in allowed:
        raise RuntimeError(f"{op}(): reduce argument must be one of {', '.join(allowed)}, got {reduce!r}")


@function
def scatter_reduce(input, dim, index, src, reduce, *, include_self=True, out=None) -> Tensor:
    """``input`` with the values of ``src`` that meet at ``[..., index[i, j, ...], ...]`` folded into it by ``reduce``:
    "sum", "prod", "mean", "amax" or "amin"; without ``include_self`` the old values there do not count."""
    _check_reduce("scatter_reduce", reduce, tuple(_MODES))
    src = as_tensor_operand("scatter_reduce", src, "src")
    target, at, src = _arguments("scatter_reduce", input, dim, index, src)
    if at is None:
        found = input.clone()
    else:
        found = as_own(reshape(_reduced(target, src, at, reduce, bool(include_self)), tuple(input._m.shape)))
    return found if out is None else write_out("scatter_reduce", found, out)


@method
def scatter_reduce_(self, dim, index, src, reduce, *, include_self=True):
    """In-place version of `scatter_reduce`."""
    return rewritten(
        "scatter_reduce_", self, lambda old: scatter_reduce(old, dim, index, src, reduce, include_self=include_self)
    )


@function
def index_reduce(input, dim, index, source, reduce, *, include_self=True, out=None) -> Tensor:
    """``input`` with the sub-tensors of ``source`` folded into those at the positions ``index`` (a vector) of ``dim``
    by
    ``reduce``: "prod", "mean", "amax" or "amin"."""
    _check_reduce("index_reduce", reduce, ("prod", "mean", "amax", "amin"))
    target, dim, at, source = index_source("index_reduce", input, dim, index, source)
    found = as_own(reshape(_reduced(target, source, at, reduce, bool(include_self)), tuple(input._m.shape)))
    return found if out is None else write_out("index_reduce", found, out)


@method
def index_reduce_(self, dim, index, source, reduce, *, include_self=True):
    """In-place version of `index_reduce`."""
    return rewritten(
        "index_reduce_", self, lambda old: index_reduce(old, dim, index, source, reduce, include_self=include_self)
    )
