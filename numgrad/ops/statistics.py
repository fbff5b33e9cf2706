"""Variance, norms and distances, and sums that leave NaN out."""

import warnings
from math import inf, prod

from .. import dtypes
from ..kernels.vocab import lanes, leader, pow, row_sum, sqrt, where
from ..layout import normalize_axes
from ..op import as_tensor_operand, cast, function, method, write_out
from ..pointwise import pointwise
from ..reduction import reduction
from ..rowwise import rowwise
from ..tensor import Tensor
from .decompose import SVD
from .places import rewritten
from .reduce import amax, amin
from .reduce import mean as arithmetic_mean
from .reduce import sum as total_sum
from .view import permute, reshape

# --- variance ------------------------------------------------------------------------------------------------------


@rowwise("x(r,n) -> y(r,1), mean(r,1)", install=(), name="var")
def _var_rows(x, y, mean, *, n, freedom=1.0):
    """``sum((x - mean(x))^2) / freedom`` of every row, in two passes."""
    total = 0.0
    for j in lanes(n):
        total += x[j]
    m = row_sum(total) / float(n)
    squares, rest = 0.0, 0.0
    for j in lanes(n):
        d = x[j] - m
        squares += d * d
        rest += d
    squares = row_sum(squares)
    rest = row_sum(rest)
    if leader():
        mean[0] = m
        # The sum of the differences is the rounding error of the mean.
        y[0] = (squares - rest * rest / float(n)) / freedom


@_var_rows.backward
def _(g, x, mean, dx, *, n, freedom):
    scale = 2.0 * g[0] / freedom
    m = mean[0]
    for j in lanes(n):
        dx[j] = scale * (x[j] - m)


@_var_rows.backward_as_ops
def _(g, x, mean, freedom):
    return (2.0 / freedom if freedom else inf) * g.unsqueeze(-1) * (x - arithmetic_mean(x, -1, True))


@pointwise(install=(), name="std", domain=(0.1, 3.0))
def _root(input):
    return sqrt(input)


@_root.backward
def _(g, out):
    return where(out == 0.0, 0.0, g / (2.0 * out))


def _as_rows(name, input, dim):
    """(the tensor with the dimensions to reduce as its last one, those dimensions, their number of elements)."""
    input = as_tensor_operand(name, input, "input")
    m = input._m
    if not m.dtype.is_floating_point:
        raise RuntimeError(
            f"{name} only support floating point and complex dtypes, got {m.dtype!r}; convert with .float()"
        )
    if isinstance(dim, (tuple, list)) and not dim:
        dim = None
    axes = sorted(normalize_axes(name, dim, m.ndim)) if m.ndim else []
    if not m.ndim and dim is not None:
        normalize_axes(name, dim, 0)
    rest = [axis for axis in range(m.ndim) if axis not in axes]
    count = prod(m.shape[axis] for axis in axes)
    if axes != list(range(m.ndim - len(axes), m.ndim)):
        input = permute(input, (*rest, *axes))
    return reshape(input, (*[m.shape[axis] for axis in rest], count)), axes, count


def _correction(name, dim, unbiased, correction):
    """(dim, correction) of the several spellings: ``var(x, unbiased)``, ``var(x, dim, unbiased)``, ``correction=``."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError(f"{name}(): only one of 'unbiased' and 'correction' may be given")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim, correction


def _variance(name, input, dim, unbiased, correction, keepdim):
    """(variance, input, axes): the variance with the wanted shape."""
    dim, correction = _correction(name, dim, unbiased, correction)
    rows, axes, count = _as_rows(name, input, dim)
    freedom = max(0.0, float(count - correction))
    if freedom <= 0 and rows._m.numel:
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor "
            "(input numel "
            "divided by output numel).", stacklevel=4,
        )  # fmt: skip
    if rows._m.numel:
        found = _var_rows(rows, freedom)
    else:
        found = total_sum(rows, -1) * float("nan")
    if keepdim and input._m.ndim:
        found = reshape(found, tuple(1 if axis in axes else size for axis, size in enumerate(input._m.shape)))
    return found, tuple(axes)


@function
def var(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None) -> Tensor:
    """Variance over ``dim`` (all by default): ``sum((x - mean)^2) / (n - correction)``, the correction being 1."""
    found, _ = _variance("var", input, dim, unbiased, correction, keepdim)
    return found if out is None else write_out("var", found, out)


@function
def std(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None) -> Tensor:
    """Standard deviation, the root of `var`."""
    found = _root(_variance("std", input, dim, unbiased, correction, keepdim)[0])
    return found if out is None else write_out("std", found, out)


@function
def var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None) -> tuple[Tensor, Tensor]:
    """(variance, mean) over ``dim`` (all by default)."""
    found, axes = _variance("var_mean", input, dim, unbiased, correction, keepdim)
    return found, arithmetic_mean(input, axes or None, keepdim)


@function
def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None) -> tuple[Tensor, Tensor]:
    """(standard deviation, mean) over ``dim`` (all by default)."""
    found, axes = _variance("std_mean", input, dim, unbiased, correction, keepdim)
    return _root(found), arithmetic_mean(input, axes or None, keepdim)


# --- norms ---------------------------------------------------------------------------------------------------------


def _add(a, b):
    return a + b


def _sign(x):
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, x))  # of 0 and NaN, themselves


def _finish_root(total, count):
    return sqrt(total)


@reduction(identity=0, combine=_add, finish=_finish_root, result="float", install=(), name="norm2",
           grad_name="LinalgVectorNormBackward0")  # fmt: skip
def _norm2(total, x):
    return total + x * x


@_norm2.backward
def _(g, input, out):
    return where(out == 0.0, 0.0, g * input / out)


@reduction(identity=0, combine=_add, result="float", install=(), name="norm1", grad_name="LinalgVectorNormBackward0")
def _norm1(total, x):
    return total + abs(x)


@_norm1.backward
def _(g, input):
    return g * _sign(input)


@reduction(identity=0, combine=_add, result="float", install=(), name="norm0", grad_name="LinalgVectorNormBackward0")
def _norm0(total, x):
    return total + where(x == 0.0, 0.0, 1.0)


@_norm0.backward
def _(g, input):
    return g * input * 0.0


def _finish_power(total, count, p):
    return pow(total, 1.0 / p)


@reduction(identity=0, combine=_add, finish=_finish_power, result="float", install=(), name="norm_p",
           grad_name="LinalgVectorNormBackward0")  # fmt: skip
def _norm_p(total, x, *, p=3.0):
    return total + pow(abs(x), p)


@_norm_p.backward
def _(g, input, out, p):
    scaled = g * _sign(input) * pow(abs(input), p - 1.0) * pow(out, 1.0 - p)
    return where((input == 0.0) | (out == 0.0), 0.0, scaled)


def vector_norm(name, input, p, dim, keepdim) -> Tensor:
    """``sum(|x|^p)^(1/p)`` over ``dim``; the largest or smallest ``|x|`` for infinite ``p``, the number of non-zeros
    for 0."""
    p = float(p)
    if input._m.ndim == 0:
        dim = None
    if p in (inf, -inf):
        if not input._m.numel:
            axes = normalize_axes(name, dim, input._m.ndim)
            if p < 0 or any(input._m.shape[axis] == 0 for axis in axes):
                raise IndexError(
                    f"{name}: cannot compute the {p} norm over an empty dimension, it has no identity; got shape "
                    f"{list(input._m.shape)}"
                )
        return (amax if p > 0 else amin)(input.abs(), () if dim is None else dim, keepdim)
    if p == 2.0:
        return _norm2(input, dim, keepdim)
    if p == 1.0:
        return _norm1(input, dim, keepdim)
    if p == 0.0:
        return _norm0(input, dim, keepdim)
    return _norm_p(input, p, dim, keepdim)


@function
def norm(input, p="fro", dim=None, keepdim=False, out=None, dtype=None) -> Tensor:
    """The ``p`` norm of the elements over ``dim`` (all by default): a number, infinity, "fro" (2) or "nuc" (the sum of
    the singular values of matrices)."""
    input = as_tensor_operand("norm", input, "input")
    if dtype is not None:
        input = cast(input, dtypes.as_dtype(dtype))
    if not input._m.dtype.is_floating_point:
        raise RuntimeError(
            f"norm(): input dtype should be either floating point or complex. Got {input._m.dtype!r} instead."
        )
    if p == "nuc":
        axes = normalize_axes("norm", dim, input._m.ndim)
        if len(axes) != 2:
            raise RuntimeError(f"norm: the nuclear norm needs two dimensions, got {list(axes)}")
        found = total_sum(SVD.apply(input.movedim(axes, (-2, -1)))[1], -1)
        if keepdim:
            for axis in sorted(axes):
                found = found.unsqueeze(axis)
    else:
        if isinstance(p, str) and p != "fro":
            raise RuntimeError(f"norm: only p='fro' and p='nuc' are named, got {p!r}")
        found = vector_norm("norm", input, 2.0 if p in (None, "fro") else p, dim, keepdim)
    return found if out is None else write_out("norm", found, out)


@function
def dist(input, other, p=2) -> Tensor:
    """The ``p`` norm of ``input - other``."""
    return norm(input - other, p)


@function(install=())
def normalize(input, p=2.0, dim=1, eps=1e-12, out=None) -> Tensor:
    """``input / max(norm(input, p, dim), eps)``."""
    found = input / norm(input, p, dim, True).clamp_min(eps).expand_as(input)
    return found if out is None else write_out("normalize", found, out)


@function(install=("ng",))
def cosine_similarity(x1, x2, dim=1, eps=1e-8) -> Tensor:
    """``x1 . x2 / (max(|x1|, eps) max(|x2|, eps))`` along ``dim``, the two broadcast."""
    d = dtypes.promote(x1._m.dtype, x2._m.dtype)
    if not d.is_floating_point:
        raise RuntimeError(f"cosine_similarity: expected common dtype to be floating point, yet common dtype is {d!r}")
    x1, x2 = cast(x1, d), cast(x2, d)
    shape = (x1 + x2)._m.shape if x1._m.shape != x2._m.shape else x1._m.shape
    x1, x2 = (x if x._m.shape == shape else x.expand(tuple(shape)) for x in (x1, x2))
    lengths = [norm(x, 2, dim, True).clamp_min(eps) for x in (x1, x2)]
    return total_sum((x1 / lengths[0]) * (x2 / lengths[1]), dim)


@function(install=("ng",))
def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False) -> Tensor:
    """The ``p`` norm of ``x1 - x2 + eps`` along the last dimension."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


# --- without NaN ---------------------------------------------------------------------------------------------------


@function
def nansum(input, dim=None, keepdim=False, *, dtype=None, out=None) -> Tensor:
    """The sum over ``dim`` (all by default), NaN counted as 0."""
    input = as_tensor_operand("nansum", input, "input")
    if input._m.dtype.is_floating_point:
        input = input.masked_fill(input.isnan(), 0.0)
    return total_sum(input, dim, keepdim, dtype=dtype, out=out)


@function
def nanmean(input, dim=None, keepdim=False, *, dtype=None, out=None) -> Tensor:
    """The mean over ``dim`` (all by default) of the values that are not NaN."""
    input = as_tensor_operand("nanmean", input, "input")
    if not input._m.dtype.is_floating_point:
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {input._m.dtype!r}"
        )
    counts = total_sum(~input.isnan(), dim, keepdim)
    found = nansum(input, dim, keepdim, dtype=dtype) / counts
    return found if out is None else write_out("nanmean", found, out)




@function(install=("ng",))
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The ``p`` norms of all differences of rows: (..., n, d), (..., m, d) -> (..., n, m)."""
    x1, x2 = as_tensor_operand("cdist", x1, "x1"), as_tensor_operand("cdist", x2, "x2")
    for name, x in (("X1", x1), ("X2", x2)):
        if not x._m.dtype.is_floating_point:
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {x._m.dtype!r}")
        if x._m.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x._m.ndim}D")
    if x1._m.shape[-1] != x2._m.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1._m.shape[-1]} X2: {x2._m.shape[-1]}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    if not difference._m.shape[-1]:
        return total_sum(difference, -1)
    return vector_norm("cdist", difference, p, -1, False)


@function
def renorm(input, p, dim, maxnorm, *, out=None) -> Tensor:
    """``input`` with the sub-tensors along ``dim`` that have a larger ``p`` norm than ``maxnorm`` scaled down to it."""
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input._m.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input._m.ndim} dimensions")
    (axis,) = normalize_axes("renorm", dim, input._m.ndim)
    norms = norm(input, p, tuple(k for k in range(input._m.ndim) if k != axis), True)
    found = input * (maxnorm / (norms + 1e-7)).masked_fill(norms <= maxnorm, 1.0)
    return found if out is None else write_out("renorm", found, out)


@method
def renorm_(self, p, dim, maxnorm) -> Tensor:
    """In-place version of `renorm`."""
    return rewritten("renorm_", self, lambda old: renorm(old, p, dim, maxnorm))
