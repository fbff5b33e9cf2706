"""Variance and covariance, and sums that leave NaN out."""

import warnings
from math import inf, prod

from .. import dtypes
from ..inplace import write_out
from ..kernels.vocab import lanes, leader, row_moments, row_sum, sqrt, where
from ..layout import normalize_axes
from ..op import ENTRIES, as_tensor_operand, cast, function
from ..pointwise import pointwise
from ..rowwise import rowwise
from ..tensor import Tensor
from .columns import by_columns, variance_columns
from .matmul import matmul
from .parts import diagonal
from .reduce import mean as arithmetic_mean, sum as total_sum
from .values import any_true
from .view import permute, reshape, transpose

LONG = 1 << 14  # elements

# --- variance ------------------------------------------------------------------------------------------------------


@rowwise("x(r,n) -> y(r,1), mean(r,1)", install=(), name="var")
def _var_rows(x, y, mean, *, n, freedom=1.0):
    """``sum((x - mean(x))^2) / freedom`` of every row, in two passes.

    The mean is summed up of halved differences from the first element, each divided by n: none of the sums overflows,
    and equal elements have exactly the variance 0. Long rows take the moments of pieces, joined in pairs, since a plain
    sum loses a digit for every hundredfold length.
    """
    if n > LONG:
        long_mean, square = row_moments(x, n, 1.0)
        if leader():
            mean[0] = long_mean
            y[0] = square * (float(n) / freedom)
    else:
        half, share, total = 0.5 * x[0], 1.0 / float(n), 0.0
        for j in lanes(n):
            total += (0.5 * x[j] - half) * share
        total = row_sum(total)
        m = x[0] + total + total
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
            y[0] = (squares if squares == inf else squares - rest * rest / float(n)) / freedom


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
    # Both factors masked: at 0 neither the derivative by g nor the one by out is NaN.
    return where(out == 0.0, 0.0, g) * where(out == 0.0, 0.0, 0.5 / out)


def _reduced(name, m, dim):
    """The dimensions to reduce, in order."""
    if not m.dtype.is_floating_point:
        raise RuntimeError(
            f"{name} only support floating point and complex dtypes, got {m.dtype!r}; convert with .float()"
        )
    if isinstance(dim, (tuple, list)) and not dim:
        dim = None
    axes = sorted(normalize_axes(name, dim, m.ndim)) if m.ndim else []
    if not m.ndim and dim is not None:
        normalize_axes(name, dim, 0)
    return axes


def _as_rows(input, axes):
    """The tensor with the dimensions to reduce as its last one."""
    m = input._m
    rest = [axis for axis in range(m.ndim) if axis not in axes]
    count = prod(m.shape[axis] for axis in axes)
    if axes != list(range(m.ndim - len(axes), m.ndim)):
        input = permute(input, (*rest, *axes))
    return reshape(input, (*[m.shape[axis] for axis in rest], count))


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
    """(variance, axes): the variance with the wanted shape."""
    dim, correction = _correction(name, dim, unbiased, correction)
    input = as_tensor_operand(name, input, "input")
    m = input._m
    axes = _reduced(name, m, dim)
    freedom = max(0.0, float(prod(m.shape[axis] for axis in axes) - correction))
    if freedom <= 0 and m.numel:
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor "
            "(input numel "
            "divided by output numel).", stacklevel=4,
        )  # fmt: skip
    if axes and by_columns(m, axes):
        found = variance_columns(input, tuple(axes), freedom)
    elif m.numel:
        found = _var_rows(_as_rows(input, axes), freedom)
    else:
        found = total_sum(_as_rows(input, axes), -1) * float("nan")
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


# --- without NaN ---------------------------------------------------------------------------------------------------


@function
def nansum(input, dim=None, keepdim=False, *, dtype=None, out=None) -> Tensor:
    """The sum over ``dim`` (all by default), NaN counted as 0."""
    input = as_tensor_operand("nansum", input, "input")
    if input._m.dtype.is_complex:
        raise RuntimeError("nansum does not support complex inputs; apply it to .real and .imag")
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


# --- covariance ----------------------------------------------------------------------------------------------------


def _weights(name, weights, label, count):
    """Weights of observations, checked."""
    if weights is None:
        return None
    if weights._m.ndim > 1:
        raise RuntimeError(f"{name}: expected {label} to have one or fewer dimensions but got weights with {weights._m.ndim} dimensions")
    floating = weights._m.dtype.is_floating_point
    if floating != (label == "aweights"):
        wanted = "floating point" if label == "aweights" else "integral"
        raise RuntimeError(f"{name}: expected {label} to have {wanted} dtype but got {weights._m.dtype!r}")
    if weights._m.numel != count:
        raise RuntimeError(
            f"{name}: expected {label} to have one weight an observation, {count}, but got shape {list(weights._m.shape)}"
        )
    if any_true(weights < 0):
        raise RuntimeError(f"{name}: {label} cannot be negative")
    return weights


@function
def cov(input, *, correction=1, fweights=None, aweights=None) -> Tensor:
    """Covariances of variables (rows) over observations (columns): ``(x - mean) (x - mean)^T / (n - correction)``.

    ``fweights`` says how often each observation counts, ``aweights`` how much.
    """
    input = as_tensor_operand("cov", input, "input")
    if input._m.ndim > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got {input._m.ndim} dimensions")
    if input._m.dtype.kind == "b":
        raise RuntimeError("cov(): bool dtype is not supported for input; convert it with .float()")
    rows = input if input._m.ndim == 2 else reshape(input, (1, -1))
    count = rows._m.shape[1]
    if not rows._m.dtype.differentiable:
        rows = cast(rows, dtypes.get_default_dtype())
    repeats, importance = (
        _weights("cov()", weights, label, count) for weights, label in ((fweights, "fweights"), (aweights, "aweights"))
    )
    weights = repeats if importance is None else importance if repeats is None else repeats * importance
    if weights is None:
        total, average = float(count), total_sum(rows, 1, True) / float(count) if count else rows
        freedom = total - correction
        weighted = rows - average if count else rows
        centered = weighted
    else:
        weights = reshape(weights, (-1,))
        total = total_sum(weights)
        if count and any_true(total == 0):
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        centered = rows - total_sum(rows * weights, 1, True) / total
        weighted = centered * weights
        freedom = total - (1.0 if importance is None else total_sum(weights * importance) / total) * correction
    low = any_true(freedom <= 0) if isinstance(freedom, Tensor) else freedom <= 0
    if low:
        warnings.warn("cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.", stacklevel=2)
        freedom = 0.0
    if rows._m.dtype.is_complex:
        centered = ENTRIES["conj"](centered)
    found = matmul(weighted, transpose(centered, 0, 1)) / freedom
    return found if found._m.numel != 1 else reshape(found, ())


@function
def corrcoef(input) -> Tensor:
    """Pearson's correlation coefficients of variables (rows) over observations (columns), in [-1, 1]."""
    input = as_tensor_operand("corrcoef", input, "input")
    if input._m.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got {input._m.ndim} dimensions"
        )
    found = cov(input)
    if not found._m.ndim:
        return found / found
    of_complex = found._m.dtype.is_complex
    variances = diagonal(found)
    deviation = _root(ENTRIES["real"](variances) if of_complex else variances)
    found = found / deviation.unsqueeze(-1) / deviation.unsqueeze(-2)
    if of_complex:
        return ENTRIES["complex"](*[ENTRIES[part](found).clamp(-1.0, 1.0) for part in ("real", "imag")])
    return found.clamp(-1.0, 1.0)
