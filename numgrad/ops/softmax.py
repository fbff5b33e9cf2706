"""Softmax and what is built on it: row kernels over the last dimension; other dimensions are moved there."""

import warnings

from .. import dtypes
from ..inplace import write_out
from ..kernels.columns import LARGE, LOG_LARGE
from ..kernels.vocab import difference, exp, expm1, lanes, log, log1p, maxnum, row_max, row_sum, where
from ..layout import normalize_axes, normalize_axis
from ..op import as_tensor_operand, cast, converted, function
from ..rowwise import rowwise
from ..tensor import Tensor
from .columns import (
    by_columns,
    kept_dims,
    log_softmax_columns,
    log_softmax_gradient,
    logsumexp_columns,
    softmax_columns,
    softmax_gradient,
)
from .view import transpose

INF = float("inf")
NEG_INF = float("-inf")
# The largest exponential of a row is 1. Where the others add less than 1/50 to it, they are added without it, for log1p.
ALMOST_ONE = 1.02


@rowwise("x(r,n) -> y(r,n)", install=(), name="softmax_rows", grad_name="SoftmaxBackward0")
def softmax_rows(x, y, *, n):
    """``exp(x - max(x)) / sum(exp(x - max(x)))`` of every row."""
    top = NEG_INF
    for j in lanes(n):
        top = maxnum(top, x[j])
    top = row_max(top)
    total = 0.0
    for j in lanes(n):
        value = exp(x[j] - top)
        y[j] = value
        total += value
    scale = 1.0 / row_sum(total)
    for j in lanes(n):
        y[j] *= scale


@softmax_rows.backward
def _(g, y, dx, *, n):
    dot, top = 0.0, 0.0
    for j in lanes(n):
        dot += g[j] * y[j]
        top = maxnum(top, y[j])
    dot = row_sum(dot)
    top = row_max(top)
    if top > LARGE:  # the gradient of the largest is taken off all first
        level, dot = 0.0, 0.0
        for j in lanes(n):
            level += where(y[j] == top, g[j], 0.0)
        level = row_sum(level)
        for j in lanes(n):
            dot += (g[j] - level) * y[j]
        dot = row_sum(dot)
        for j in lanes(n):
            dx[j] = y[j] * difference(g[j] - level, dot)
    else:
        for j in lanes(n):
            dx[j] = y[j] * (g[j] - dot)


@softmax_rows.backward_as_ops
def _(g, y):
    return softmax_gradient(g, y, -1)


@rowwise("x(r,n) -> y(r,n)", install=(), name="log_softmax_rows", grad_name="LogSoftmaxBackward0")
def log_softmax_rows(x, y, *, n):
    """``x - max(x) - log(sum(exp(x - max(x))))`` of every row."""
    top = NEG_INF
    for j in lanes(n):
        top = maxnum(top, x[j])
    top = row_max(top)
    total = 0.0
    for j in lanes(n):
        total += exp(x[j] - top)
    total = row_sum(total)
    log_total = log(total)
    if total < ALMOST_ONE:
        others = 0.0
        for j in lanes(n):
            others += where(x[j] == top, 0.0, exp(x[j] - top))
        log_total = log1p(row_sum(others))
    for j in lanes(n):
        y[j] = difference(x[j] - top, log_total)


@log_softmax_rows.backward
def _(g, y, dx, *, n):
    total, top = 0.0, NEG_INF
    for j in lanes(n):
        total += g[j]
        top = maxnum(top, y[j])
    total = row_sum(total)
    top = row_max(top)
    if top > LOG_LARGE:
        short = expm1(top)  # what the largest result lacks of 1
        for j in lanes(n):
            p = exp(y[j])
            dx[j] = where(y[j] == top, -g[j] * short - p * (total - g[j]), g[j] - p * total)
    else:
        for j in lanes(n):
            dx[j] = g[j] - exp(y[j]) * total


@log_softmax_rows.backward_as_ops
def _(g, y):
    return log_softmax_gradient(g, y, -1)


@rowwise("x(r,n) -> y(r,1), peak(r,1), rest(r,1)", install=(), name="logsumexp_rows", grad_name="LogsumexpBackward0")
def logsumexp_rows(x, y, peak, rest, *, n):
    """``log(sum(exp(x)))`` of every row, without overflow."""
    top = NEG_INF
    for j in lanes(n):
        top = maxnum(top, x[j])
    top = row_max(top)
    shift = top if top > NEG_INF else 0.0
    total = 0.0
    for j in lanes(n):
        total += exp(where(x[j] == shift, 0.0, x[j] - shift))  # inf - inf would be NaN
    total = row_sum(total)
    log_total = log(total)
    if total < ALMOST_ONE:
        others = 0.0
        for j in lanes(n):
            others += where(x[j] == shift, 0.0, exp(x[j] - shift))
        log_total = log1p(row_sum(others)) if total > 0.5 else NEG_INF
    y[0] = shift + log_total
    # The gradient needs the two apart: their sum has lost digits of the smaller.
    peak[0] = shift
    rest[0] = log_total if log_total > NEG_INF else 0.0


@logsumexp_rows.backward
def _(g, x, peak, rest, dx, *, n):
    shift, log_total = peak[0], rest[0]
    for j in lanes(n):
        dx[j] = g[0] * exp(difference(where(x[j] == shift, 0.0, x[j] - shift), log_total))


@logsumexp_rows.backward_as_ops
def _(g, x, peak, rest):
    return g.unsqueeze(-1) * shares(x)


def shares(x):
    """The softmax of every row, with a value where all elements are -inf (0) or some are inf (equal parts)."""
    top = x.detach().amax(-1, True)
    odd = top.abs() == INF
    found = softmax_rows(x.masked_fill(odd, 0.0))
    if not bool(odd.any()):
        return found
    full = ((x == INF) & odd).to(x._m.dtype)
    return found.masked_fill(odd, 0.0) + full / full.sum(-1, True).clamp_min(1.0)


def _along(name, rows, input, dim, dtype):
    input = as_tensor_operand(name, input, "input")
    if dtype is not None:
        input = converted(input, dtype)
    elif not input._m.dtype.is_floating_point:
        raise RuntimeError(f'"{name}" not implemented for {input._m.dtype!r}: convert with .float() or pass dtype=')
    ndim = input._m.ndim
    dim = normalize_axis(name, dim, ndim)
    if ndim == 0:
        return rows(input.reshape(1)).reshape(())
    if dim == ndim - 1:
        return rows(input)
    if by_columns(input._m, (dim,)):
        return (softmax_columns if rows is softmax_rows else log_softmax_columns)(input, (dim,))
    return transpose(rows(transpose(input, dim, -1)), dim, -1)


def _implicit_dim(name, ndim):
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=4,
    )
    return 0 if ndim in (0, 1, 3) else 1


def _with_out(name, found, out):
    return found if out is None else write_out(name, found, out)


def softmax_root(input, dim, dtype=None, *, out=None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``dim``."""
    found = _along("softmax", softmax_rows, input, dim, dtype)
    return found if out is None else write_out("softmax", found, out)


def log_softmax_root(input, dim, dtype=None, *, out=None) -> Tensor:
    """``log(softmax(x))`` along ``dim``, without underflow."""
    found = _along("log_softmax", log_softmax_rows, input, dim, dtype)
    return found if out is None else write_out("log_softmax", found, out)


function(softmax_root, name="softmax")
function(log_softmax_root, name="log_softmax")


def softmax(input, dim=None, _stacklevel=3, dtype=None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``dim``."""
    dim = _implicit_dim("softmax", input._m.ndim) if dim is None else dim
    return _along("softmax", softmax_rows, input, dim, dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None) -> Tensor:
    """``log(softmax(x))`` along ``dim``, without underflow."""
    dim = _implicit_dim("log_softmax", input._m.ndim) if dim is None else dim
    return _along("log_softmax", log_softmax_rows, input, dim, dtype)


def softmin(input, dim=None, _stacklevel=3, dtype=None) -> Tensor:
    """``softmax(-x)`` along ``dim``."""
    dim = _implicit_dim("softmin", input._m.ndim) if dim is None else dim
    return _along("softmin", softmax_rows, -input, dim, dtype)


@function
def logsumexp(input, dim, keepdim=False, *, out=None) -> Tensor:
    """``log(sum(exp(x)))`` over ``dim``, without overflow."""
    input = as_tensor_operand("logsumexp", input, "input")
    if not input._m.dtype.is_floating_point:
        input = cast(input, dtypes.get_default_dtype())
    ndim = input._m.ndim
    axes = sorted(normalize_axes("logsumexp", dim, ndim))
    if ndim == 0:
        return input.clone()
    rest = [axis for axis in range(ndim) if axis not in axes]
    shape = tuple(input._m.shape)
    if by_columns(input._m, axes):
        found = logsumexp_columns(input, tuple(axes))
        return _with_out("logsumexp", kept_dims(found, axes) if keepdim else found, out)
    moved = input if axes == [ndim - 1] else input.permute(*rest, *axes)
    size = 1
    for axis in axes:
        size *= shape[axis]
    kept = tuple(shape[axis] for axis in rest)
    if size == 0:
        found = input.sum(tuple(axes)).log()
    else:
        found = logsumexp_rows(moved.reshape((*kept, size)))
    if keepdim:
        found = found.reshape(tuple(1 if axis in axes else n for axis, n in enumerate(shape)))
    return _with_out("logsumexp", found, out)
