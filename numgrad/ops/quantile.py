"""Quantiles, by sorting and interpolation."""

from ..inplace import write_out
from ..layout import normalize_axis
from ..op import as_tensor_operand, cast, function
from ..tensor import Tensor
from .create import tensor as tensor_of
from .index import gather
from .search import sort
from .values import any_true
from .view import movedim, reshape

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name, input, q, dim, keepdim, interpolation, skip_nan, out):
    input = as_tensor_operand(name, input, "input")
    m = input._m
    if not m.dtype.is_floating_point:
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype, got {m.dtype!r}")
    if isinstance(q, Tensor):
        if q._m.dtype is not m.dtype:
            raise RuntimeError(
                f"{name}() q tensor must be same dtype as the input tensor: {m.dtype!r}, got {q._m.dtype!r}"
            )
    else:
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = tensor_of(float(q), dtype=m.dtype, device=m.device)
    if q._m.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor, got shape {list(q._m.shape)}")
    if any_true(~((q >= 0) & (q <= 1))):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of {', '.join(_INTERPOLATIONS)}, but got {interpolation}"
        )
    if not m.numel:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if dim is None:
        rows, kept = reshape(input, (-1,)), (1,) * m.ndim
    else:
        axis = normalize_axis(name, dim, m.ndim)
        rows = movedim(input, axis, -1) if m.ndim else reshape(input, (1,))
        kept = (*m.shape[:axis], 1, *m.shape[axis + 1 :]) if m.ndim else ()
    # (lead..., n) -> (lead..., quantiles)
    ordered = sort(rows, -1).values
    n = ordered._m.shape[-1]
    nan = ordered.detach().isnan()
    count = (n - nan.sum(-1, True)).to(m.dtype)
    wanted = reshape(q, (-1,))
    if skip_nan:
        rank = wanted * (count - 1).clamp(min=0)
    else:
        # Of a row with NaN, its last element: a NaN.
        rank = (wanted * (n - 1)).expand((*ordered._m.shape[:-1], wanted._m.numel)).masked_fill(count < n, n - 1)
    found = _interpolated(ordered, rank, interpolation)
    lead = tuple(found._m.shape[:-1])
    if q._m.ndim:
        found = movedim(found, -1, 0)
        shape = (wanted._m.numel, *(kept if keepdim else lead))
    else:
        shape = kept if keepdim else lead
    found = reshape(found, tuple(shape))
    return found if out is None else write_out(name, found, out)


def _interpolated(ordered, rank, interpolation):
    if interpolation == "nearest":
        return gather(ordered, -1, rank.round().long())
    below = rank.floor()
    if interpolation == "lower":
        return gather(ordered, -1, below.long())
    above = rank.ceil()
    if interpolation == "higher":
        return gather(ordered, -1, above.long())
    weight = (rank - below) if interpolation == "linear" else (above != below).to(rank._m.dtype) * 0.5
    return gather(ordered, -1, below.long()).lerp(gather(ordered, -1, above.long()), cast(weight, ordered._m.dtype))


@function
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear", out=None) -> Tensor:
    """The ``q``-th quantiles over ``dim`` (of all elements by default); a vector ``q`` becomes the first dimension.
    NaN if
    there is one."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False, out)


@function
def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear", out=None) -> Tensor:
    """`quantile` of the values that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True, out)
