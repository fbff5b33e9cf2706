"""Softmax, log-sum-exp and variance along dimensions that are not the last: column by column, without a transpose."""

from math import inf, prod

from .. import dtypes
from ..kernels import columns as kernels
from ..kernels.vocab import exp, where
from ..op import cast, dense, plain
from ..pointwise import pointwise
from ..storage import meta
from ..structured import structured
from ..tensor import empty_tensor
from .create import arange
from .launch import launch
from .reduce import mean as arithmetic_mean
from .view import reshape, unsqueeze

_CACHED = 1 << 15  # elements of a block of columns that stay in the cache


def by_columns(m, axes):
    """Whether the ops below take a tensor of meta ``m`` along these neighbouring dimensions, the last not among them."""
    return (
        m.dtype in (dtypes.float32, dtypes.float64) and m.device.type != "cuda" and m.numel > 0 and axes[-1] < m.ndim - 1
        and len(axes) == axes[-1] - axes[0] + 1 and prod(m.shape[axes[-1] + 1 :]) > 1
    )  # fmt: skip


def _run(template, parameters, m, axes, arrays, *numbers):
    """Run a kernel over blocks of columns of a tensor of meta ``m``."""
    n, inner = prod(m.shape[axis] for axis in axes), prod(m.shape[axes[-1] + 1 :])
    width = min(kernels.WIDTH, inner, max(32, _CACHED // n // 16 * 16))
    units = prod(m.shape[: axes[0]]) * -(-inner // width)
    slots = *[array._d for array in arrays], n, inner, width, *numbers
    launch(template, {"T": m.np.type, **parameters}, slots, units, n * width, m.device)


def _without(m, axes):
    """The meta of what is left of a tensor of meta ``m`` when ``axes`` are reduced."""
    return meta(m.dtype, m.shape[: axes[0]] + m.shape[axes[-1] + 1 :], m.device)


def kept_dims(tensor, axes):
    """A reduced tensor with ``axes`` back as dimensions of size 1."""
    for axis in axes:
        tensor = unsqueeze(tensor, axis)
    return tensor


def _softmax(name, mode, grad_name, recorded):
    @structured(install=(), cases="none", name=name, grad_name=grad_name)
    def along(input, *, axes):
        m = input._m
        out = empty_tensor(meta(m.dtype, m.shape, m.device))
        _run(kernels.softmax_columns, {"MODE": mode}, m, axes, (dense(input), out, out, out))
        return out

    @along.backward
    def _(g, out, axes):
        m = out._m
        found = empty_tensor(m)
        arrays = dense(plain(cast(g, m.dtype))), plain(out), found
        _run(kernels.softmax_columns_backward, {"MODE": mode}, m, axes, arrays)
        return found

    along.backward_as_ops(recorded)
    along.op.fn.__doc__ = along.__doc__ = f"`{name}` along neighbouring dimensions that are not the last."
    return along


def softmax_gradient(g, y, axes):
    """``y (g - sum(g y))``, with digits where one ``y`` is nearly 1."""
    if not y._m.numel:
        return y * g
    top = y.detach().amax(axes, True)
    largest = (y.detach() == top) & (top > kernels.LARGE)
    g = g - where(largest, g, 0.0).sum(axes, True)
    return y * (g - (g * y).sum(axes, True))


def log_softmax_gradient(g, y, axes):
    """``g - exp(y) sum(g)``, with digits where one ``y`` is nearly 0."""
    return -(g * y.expm1()) - y.exp() * (g.sum(axes, True) - g)


softmax_columns = _softmax(
    "softmax_columns", kernels.SOFTMAX, "SoftmaxBackward0", lambda g, out, axes: softmax_gradient(g, out, axes)
)
log_softmax_columns = _softmax(
    "log_softmax_columns", kernels.LOG_SOFTMAX, "LogSoftmaxBackward0", lambda g, out, axes: log_softmax_gradient(g, out, axes)
)


@structured(install=(), cases="none", grad_name="LogsumexpBackward0")
def logsumexp_columns(input, *, axes):
    """``log(sum(exp(x)))`` along neighbouring dimensions that are not the last."""
    return _log_sums(dense(input), axes)


def _log_sums(input, axes):
    """The logarithms of the sums, and what they are the sums of: the maxima and the logarithms of the rest."""
    out, peak, rest = (empty_tensor(_without(input._m, axes)) for _ in range(3))
    _run(kernels.softmax_columns, {"MODE": kernels.LOGSUMEXP}, input._m, axes, (input, out, peak, rest))
    return out, (peak, rest)


@logsumexp_columns.backward
def _(g, input, context, axes):
    return _share_of_sum(kept_dims(g, axes), input, *[kept_dims(part, axes) for part in context])


@logsumexp_columns.backward_as_ops
def _(g, input, context, axes):
    # Where there is only -inf the shares are 0; where there is inf they are equal.
    full = cast(input == inf, input._m.dtype)
    count = full.sum(axes, True)
    odd = (count > 0.0) | ((input != -inf).sum(axes, True) == 0)
    shares = softmax_columns(input.masked_fill(odd, 0.0), axes).masked_fill(odd, 0.0)
    return kept_dims(g, axes) * (shares + full / count.clamp_min(1.0))


@pointwise(install=(), inplace=False)
def _share_of_sum(grad, input, peak, rest):
    return grad * exp(where(input == peak, 0.0, input - peak) - rest)


@structured(install=(), cases="none", no_gradient=("target",), grad_name="NllLossBackward0")
def cross_entropy_columns(input, target, *, ignore_index):
    """``logsumexp(x) - x[target]`` along dimension 1: (N, C, ...) with classes (N, ...) -> (N, ...)."""
    m = input._m
    input, target = dense(input), dense(target)
    sums, parts = _log_sums(input, (1,))
    loss = empty_tensor(sums._m)
    slots = input._d, target._d, *[part._d for part in parts], loss._d, m.shape[1], prod(m.shape[2:]), ignore_index
    launch(kernels.pick_columns, {"T": m.np.type}, slots, loss._m.numel, 1, m.device)
    return loss, parts


@cross_entropy_columns.backward
def _(g, input, target, context, ignore_index):
    m = input._m
    found = empty_tensor(meta(m.dtype, m.shape, m.device))
    arrays = dense(plain(cast(g, m.dtype))), dense(plain(input)), dense(target), *context, found
    _run(kernels.pick_columns_backward, {}, m, (1,), arrays, ignore_index)
    return found, None


@cross_entropy_columns.backward_as_ops
def _(g, input, target, context, ignore_index):
    classes = reshape(arange(input._m.shape[1]), (-1,) + (1,) * (input._m.ndim - 2))
    kept = cast(target != ignore_index, input._m.dtype)
    logs = log_softmax_columns(input, (1,))
    return unsqueeze(g * kept, 1) * where(unsqueeze(target, 1) == classes, logs.expm1(), logs.exp()), None


@structured(install=(), cases="none", grad_name="VarBackward0")
def variance_columns(input, *, axes, freedom):
    """``sum((x - mean)^2) / freedom`` along neighbouring dimensions that are not the last."""
    m = input._m
    out = empty_tensor(_without(m, axes))
    mean = empty_tensor(out._m)
    _run(kernels.variance_columns, {}, m, axes, (dense(input), out, mean), float(freedom))
    return out, mean


@variance_columns.backward
def _(g, input, context, axes, freedom):
    scale = 2.0 / freedom if freedom else inf
    return _spread(kept_dims(g, axes), input, kept_dims(context, axes), scale)


@variance_columns.backward_as_ops
def _(g, input, context, axes, freedom):
    scale = 2.0 / freedom if freedom else inf
    return scale * kept_dims(g, axes) * (input - arithmetic_mean(input, axes, True))


@pointwise(install=(), inplace=False)
def _spread(grad, input, mean, *, scale=1.0):
    return grad * scale * (input - mean)


