"""Reductions, scans and normalisations of the elements that a mask keeps.

Each function takes ``mask``, a bool tensor that broadcasts to ``input``: elements take part where it is True, all of them
without one. What a reduction gives where nothing takes part is its identity: 0 for a sum, the least number of the dtype
for a maximum, NaN for a mean. ``dim`` is a dimension, a sequence of them, or all (None or empty); ``dtype`` is that in
which the function computes and that of the result.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from . import dtypes, linalg, nn
from .layout import normalize_axes
from .ops.compare import where_function as _where
from .ops.create import ones_like, tensor
from .ops.math import logaddexp as _logaddexp
from .tensor import Tensor

_Dims = int | Sequence[int] | None


# --- identities ------------------------------------------------------------------------------------------------------


def _reduction_identity(op_name: str, input: Tensor, *args: Any) -> Tensor | None:
    """What leaves the result of an op of this module as it is, as a 0-d tensor; None where that depends on the values.
    ``args`` are those after the input."""
    name, d, identity = op_name.rsplit(".", 1)[-1], input.dtype, None
    if name in _UNKNOWN:
        return None
    if name == "norm":
        identity = math.inf if args and args[0] == -math.inf else 0
    elif name in _IDENTITIES:
        identity = _IDENTITIES[name]
    elif name == "median":
        d, identity = d if d.is_floating_point else dtypes.float32, math.nan
    elif name == "logsumexp" and d.is_complex:
        identity = complex(-math.inf, 0)
    elif name in _LEAST or name in _LARGEST:
        sign = -1 if name in _LEAST else 1
        if d.is_floating_point:
            identity = sign * math.inf
        elif d.kind == "i":
            identity = dtypes.iinfo(d).min if sign < 0 else dtypes.iinfo(d).max
    if identity is None:
        raise NotImplementedError(f"identity of {name} on {d!r} input; convert it to a number first")
    return tensor(identity, dtype=d, device=input.device)


_IDENTITIES = {"sum": 0, "cumsum": 0, "prod": 1, "cumprod": 1}
_UNKNOWN = ("mean", "var", "std")
_LEAST, _LARGEST = ("amax", "argmax", "logaddexp", "logsumexp", "softmax", "log_softmax"), ("amin", "argmin", "softmin")
_REDUCTIONS = ("sum", "prod", "amax", "amin", "argmax", "argmin", "mean", "median", "norm", "var", "std", "logsumexp")
_NORMALIZATIONS = ("softmax", "log_softmax", "softmin", "normalize", "cumsum", "cumprod")


def _input_mask(input: Tensor, *args: Any, mask: Tensor | None = None, **kwargs: Any) -> Tensor:
    """``mask`` as a bool tensor of the shape of ``input``."""
    if mask is None:
        raise ValueError("_input_mask requires explicit mask")
    if mask.ndim > input.ndim:
        raise IndexError("_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)")
    return mask.expand(input.shape).to(dtypes.bool_)


def _output_mask(op: Callable, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Where the result of an op of this module is one of elements that take part."""
    name = getattr(op, "__name__", None)
    kept = _input_mask(input, *args, **kwargs)
    if name in _NORMALIZATIONS:
        return kept
    if name not in _REDUCTIONS:
        raise ValueError(f"_output_mask expected masked operation (got {op!r})")
    if name == "norm":
        args = args[1:]
    dims = _canonical_dim(args[0] if args else kwargs.get("dim"), input.ndim)
    return _reduced(kept, dims, kwargs.get("keepdim", False), lambda x, d: x.any(d, keepdim=True) if x.ndim else x)


def _canonical_dim(dim: _Dims, ndim: int) -> tuple[int, ...]:
    """``dim`` as a sorted tuple."""
    return tuple(sorted(_dims("masked", ndim, dim)))


def _kept(input: Tensor, mask: Tensor | None, identity: Any) -> Tensor:
    """``input`` with a number, or the identity of the op that is named, where the mask is False."""
    if mask is None:
        return input
    if isinstance(identity, str):
        identity = _reduction_identity(identity, input)
    else:
        identity = tensor(identity, dtype=input.dtype, device=input.device)
    return _where(_input_mask(input, mask=mask), input, identity)


def _dims(op: str, ndim: int, dim: _Dims) -> tuple[int, ...]:
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return tuple(range(ndim))
    if not isinstance(dim, int) and len({d % max(ndim, 1) for d in dim}) < len(dim):
        raise RuntimeError(f"{op}: dim={tuple(dim)} appear multiple times in the list of dims: one names a dimension twice")
    return normalize_axes(op, dim, ndim)


def _sum_dtype(input: Tensor, dtype: Any) -> Any:
    if dtype is not None:
        return dtypes.as_dtype(dtype)
    return dtypes.int64 if input.dtype.kind in "ib" else input.dtype


def _count(input: Tensor, dims: tuple[int, ...], mask: Tensor | None) -> Tensor:
    """How many elements take part, with the reduced dimensions kept."""
    ones = ones_like(input, dtype=dtypes.int64) if mask is None else _input_mask(input, mask=mask).to(dtypes.int64)
    return ones.sum(dims, keepdim=True) if input.ndim else ones


# --- reductions ------------------------------------------------------------------------------------------------------


def sum(input: Tensor, dim: _Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The sum of the elements that take part; of integers in int64."""
    dims = _dims("sum", input.ndim, dim)
    return _reduced(_kept(input, mask, 0), dims, keepdim, lambda x, d: x.sum(d, keepdim=True), _sum_dtype(input, dtype))


def prod(input: Tensor, dim: _Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The product of the elements that take part; of integers in int64."""
    dims = _dims("prod", input.ndim, dim)

    def product(x, dims):
        for d in dims:
            x = x.prod(d, keepdim=True)
        return x

    return _reduced(_kept(input, mask, 1), dims, keepdim, product, _sum_dtype(input, dtype))


def amax(input: Tensor, dim: _Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The largest element that takes part."""
    input = _as(input, dtype)
    dims = _dims("amax", input.ndim, dim)
    return _reduced(_kept(input, mask, "amax"), dims, keepdim, lambda x, d: x.amax(d, keepdim=True))


def amin(input: Tensor, dim: _Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The smallest element that takes part."""
    input = _as(input, dtype)
    dims = _dims("amin", input.ndim, dim)
    return _reduced(_kept(input, mask, "amin"), dims, keepdim, lambda x, d: x.amin(d, keepdim=True))


def argmax(input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Where the largest element that takes part is, as a number of the input's dtype."""
    input = _as(input, dtype)
    return _kept(input, mask, "amax").argmax(dim, bool(keepdim)).to(input.dtype)


def argmin(input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Where the smallest element that takes part is, as a number of the input's dtype."""
    input = _as(input, dtype)
    return _kept(input, mask, "amin").argmin(dim, bool(keepdim)).to(input.dtype)


def mean(input: Tensor, dim: _Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The mean of the elements that take part; NaN of none. ValueError for integers without a ``dtype``."""
    if dtype is None and input.dtype.kind in "ib":
        raise ValueError(
            "mean(): Could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: "
            f"{input.dtype!r}"
        )
    input = _as(input, dtype)
    dims = _dims("mean", input.ndim, dim)
    return _reduced(_kept(input, mask, 0), dims, keepdim, lambda x, d: x.sum(d, keepdim=True) / _count(x, d, mask), input.dtype)


def median(input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The lower median of the elements that take part; NaN of none. ValueError for integers with a mask."""
    input = _as(input, dtype)
    if not input.dtype.is_floating_point and mask is not None:
        raise ValueError(f"masked median expects a floating point input with a mask, got {input.dtype!r}; convert it first")
    if mask is None:
        return input.median(dim, keepdim).values
    return _kept(input, mask, math.nan).nanmedian(dim, keepdim).values


def logsumexp(input: Tensor, dim: _Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of the sum of exponentials of the elements that take part; -inf of none."""
    input = _as(input, dtype)
    kept, dims = _kept(input, mask, "logsumexp"), _dims("logsumexp", input.ndim, dim)
    return kept.logsumexp(dims, keepdim=bool(keepdim)).to(input.dtype) if input.ndim else kept


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: Any = None, input_mask: Tensor | None = None, other_mask: Tensor | None = None
) -> Tensor:
    """``log(exp(input) + exp(other))``, each with a mask of its own; -inf where neither takes part."""
    input, other = _as(input, dtype), _as(other, dtype)
    return _logaddexp(_kept(input, input_mask, "amax"), _kept(other, other_mask, "amax"))


def norm(
    input: Tensor, ord: float | None = 2.0, dim: _Dims = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The vector norm of order ``ord`` of the elements that take part."""
    input = _as(input, dtype)
    identity = math.inf if ord == -math.inf else 0
    dims = _dims("norm", input.ndim, dim)
    order: Any = 2 if ord is None else ord
    return linalg.vector_norm(_kept(input, mask, identity), order, dims, bool(keepdim))


def var(
    input: Tensor, dim: _Dims = None, unbiased: bool | None = None, *, correction: float | None = None, keepdim: bool = False,
    dtype: Any = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The variance of the elements that take part, with ``correction`` (1) subtracted from their number."""
    if unbiased is not None and correction is not None:
        raise ValueError("var: expected unbiased or correction, got both; pass one of them")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    if input.dtype is dtypes.bool_:
        raise RuntimeError("var: Subtraction with a bool tensor is not supported; convert it to a number first")
    input = _as(input, dtype)
    if input.dtype.kind == "i":
        input = input.to(dtypes.get_default_dtype())
    found = input.dtype  # also of complex numbers, whose variance is real
    dims = _dims("var", input.ndim, dim)
    count = _count(input, dims, mask)
    center = _kept(input, mask, 0).sum(dims, keepdim=True) / count if input.ndim else _kept(input, mask, 0)
    apart = _kept(input - center, mask, 0)
    squares = (apart * apart.conj()).real if input.dtype.is_complex else apart * apart
    total = squares.sum(dims, keepdim=True) if input.ndim else squares
    out = (total / (count - correction).clamp(min=0)).to(found)
    return out if keepdim or not dims else out.squeeze(dims)


def std(
    input: Tensor, dim: _Dims = None, unbiased: bool | None = None, *, correction: float | None = None, keepdim: bool = False,
    dtype: Any = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The square root of `var`."""
    return var(input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask).sqrt()


def _as(input: Tensor, dtype: Any) -> Tensor:
    return input if dtype is None else input.to(dtypes.as_dtype(dtype))


def _reduced(input: Tensor, dims: tuple[int, ...], keepdim: Any, fold: Callable, dtype: Any = None) -> Tensor:
    """``fold(input, dims)``, which keeps the dimensions, without them unless they are wanted."""
    out = fold(input if dtype is None else input.to(dtype), dims)
    out = out if dtype is None else out.to(dtype)
    return out if keepdim or not dims else out.squeeze(dims)


# --- scans and normalisations ----------------------------------------------------------------------------------------


def cumsum(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running sums of the elements that take part."""
    return _kept(input, mask, 0).cumsum(dim, dtype=_sum_dtype(input, dtype))


def cumprod(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running products of the elements that take part."""
    return _kept(input, mask, 1).cumprod(dim, dtype=_sum_dtype(input, dtype))


def softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """`nn.functional.softmax` over the elements that take part; 0 for the others, NaN where none does."""
    input = _as(input, dtype)
    return nn.functional.softmax(_kept(input, mask, -math.inf), dim)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of `softmax`."""
    input = _as(input, dtype)
    return nn.functional.log_softmax(_kept(input, mask, -math.inf), dim)


def softmin(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """`softmax` of ``-input``."""
    input = _as(input, dtype)
    return nn.functional.softmin(_kept(input, mask, math.inf), dim)


def normalize(input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """``input / max(norm, eps)``, with the `norm` of the elements that take part; 0 for the others."""
    input = _as(input, dtype)
    length = norm(input, ord, dim, keepdim=True, mask=mask).clamp(min=eps)
    return _kept(input, mask, 0) / length
