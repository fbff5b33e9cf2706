"""Normalisation over the last dimensions: row kernels."""

from math import prod

from ..dtypes import finfo, of
from ..kernels.vocab import fma, lanes, leader, row_moments, row_products, row_sum, rsqrt, sqrt
from ..layout import integers
from ..op import as_tensor_operand, function
from ..rowwise import rowwise
from .view import reshape


@rowwise("x(r,n), weight?(n), bias?(n) -> y(r,n), mean(r,1), rstd(r,1)", exact=True, install=(),
         name="layer_norm_rows", grad_name="NativeLayerNormBackward0")  # fmt: skip
def layer_norm_rows(x, weight, bias, y, mean, rstd, *, n, eps=1e-5):
    """Every row shifted and scaled to mean 0 and variance 1, times ``weight``, plus ``bias`` (arXiv:1607.06450)."""
    m, variance = row_moments(x, n, 1.0)
    r = 1.0 / sqrt(variance + eps)
    for j in lanes(n):
        centred = x[j] - m
        if weight is None:
            y[j] = centred * r if bias is None else fma(centred, r, bias[j])
        else:
            y[j] = centred * r * weight[j] if bias is None else fma(centred * r, weight[j], bias[j])
    if leader():
        mean[0] = m
        rstd[0] = r


@layer_norm_rows.backward
def _(g, x, weight, mean, rstd, dx, dweight, dbias, *, n):
    m = mean[0]
    r = rstd[0]
    along, total = row_products(g, weight, x, n, 0.0)
    # dx = r * (g * weight - mean(g * weight) - xhat * mean(g * weight * xhat)) as a line in g * weight and x
    slope = fma(total, m, -along) * r * r * r * (1.0 / float(n))
    shift = fma(-slope, m, -(total * r * (1.0 / float(n))))
    below = -r * m
    for j in lanes(n):
        value = r * g[j]
        if weight is not None:
            value = value * weight[j]
        dx[j] = fma(slope, x[j], value) + shift
        if dweight is not None:
            dweight[j] = fma(g[j], fma(r, x[j], below), dweight[j])
        if dbias is not None:
            dbias[j] += g[j]


@layer_norm_rows.backward_as_ops
def _(g, x, weight, mean, rstd):
    # Recomputed from x, so that the statistics' own dependence on x is recorded too.
    m = x.mean(-1, True)
    centred = x - m
    variance = (centred * centred).mean(-1, True)
    r = (variance + _eps_of(variance, rstd)).rsqrt()
    xhat = centred * r
    value = g if weight is None else g * weight
    dx = (value - value.mean(-1, True) - xhat * (value * xhat).mean(-1, True)) * r
    rows = tuple(range(g._m.ndim - 1))
    d_weight = (g * xhat).sum(rows) if rows else g * xhat
    d_bias = g.sum(rows) if rows else g
    return dx, d_weight, d_bias


def _eps_of(variance, rstd):
    """The eps that the forward pass used, from its result."""
    return (rstd.detach().unsqueeze(-1) ** -2.0 - variance.detach()).detach()


@rowwise("x(r,n), weight?(n) -> y(r,n), rstd(r,1)", install=(), name="rms_norm_rows")
def rms_norm_rows(x, weight, y, rstd, *, n, eps=1e-6):
    """Every row divided by its root mean square, times ``weight`` (arXiv:1910.07467)."""
    total = 0.0
    for j in lanes(n):
        total += x[j] * x[j]
    r = rsqrt(row_sum(total) / float(n) + eps)
    for j in lanes(n):
        value = x[j] * r
        if weight is not None:
            value = value * weight[j]
        y[j] = value
    if leader():
        rstd[0] = r


@rms_norm_rows.backward
def _(g, x, weight, rstd, dx, dweight, *, n):
    r = rstd[0]
    across = 0.0
    for j in lanes(n):
        value = g[j]
        if weight is not None:
            value = value * weight[j]
        across += value * x[j] * r
    across = row_sum(across) / float(n)
    for j in lanes(n):
        xhat = x[j] * r
        value = g[j]
        if weight is not None:
            value = value * weight[j]
        dx[j] = (value - xhat * across) * r
        if dweight is not None:
            dweight[j] += g[j] * xhat


@rms_norm_rows.backward_as_ops
def _(g, x, weight, rstd):
    square = (x * x).mean(-1, True)
    r = (square + _eps_of(square, rstd)).rsqrt()
    xhat = x * r
    value = g if weight is None else g * weight
    dx = (value - xhat * (value * xhat).mean(-1, True)) * r
    rows = tuple(range(g._m.ndim - 1))
    return dx, (g * xhat).sum(rows) if rows else g * xhat


_INTS = {int}


def _as_rows(name, input, normalized_shape, *shared):
    input = as_tensor_operand(name, input, "input")
    if not isinstance(normalized_shape, (tuple, list)):
        raise TypeError(f"{name}(): argument 'normalized_shape' must be tuple of ints, not {type(normalized_shape).__name__}")
    shape = tuple(normalized_shape)
    if set(map(type, shape)) != _INTS:
        shape = integers(name, "normalized_shape", shape)
    if not shape:
        raise RuntimeError(f"{name}: Expected normalized_shape to be at least 1-dimensional, got {list(shape)}")
    for what, tensor in shared:
        if tensor is not None and tuple(tensor._m.shape) != shape:
            raise RuntimeError(
                f"{name}: Expected {what} to be of same shape as normalized_shape, but got {what} of shape "
                f"{list(tensor._m.shape)} and normalized_shape = {list(shape)}"
            )
    if tuple(input._m.shape[-len(shape) :]) != shape or input._m.ndim < len(shape):
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(shape)}, expected input with shape [*, "
            f"{', '.join(map(str, shape))}], but got input of size {list(input._m.shape)}"
        )
    n = prod(shape)
    if len(shape) == 1:
        return input, [tensor for _, tensor in shared]
    lead = tuple(input._m.shape[: -len(shape)])
    return reshape(input, (*lead, n)), [None if t is None else reshape(t, (n,)) for _, t in shared]


@function(install=("ng",))
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dimensions, those of ``normalized_shape``."""
    rows, (w, b) = _as_rows("layer_norm", input, normalized_shape, ("weight", weight), ("bias", bias))
    if input._m.numel == 0:
        found = input.clone() if weight is None else input * weight
        return found if bias is None else found + bias
    found = layer_norm_rows(rows, w, b, float(eps))
    return found if rows is input else reshape(found, tuple(input._m.shape))


@function(install=("ng",))
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last dimensions; ``eps`` defaults to that of the dtype which is computed in."""
    rows, (w,) = _as_rows("rms_norm", input, normalized_shape, ("weight", weight))
    if input._m.numel == 0:
        return input.clone() if weight is None else input * weight
    found = rms_norm_rows(rows, w, float(finfo(of(input._m.dtype.compute)).eps if eps is None else eps))
    return found if rows is input else reshape(found, tuple(input._m.shape))
