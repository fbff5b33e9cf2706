"""Batch normalisation: every channel over the batch and all spatial dimensions."""

from math import prod

import numpy as np

from ..autograd import is_grad_enabled, local, no_grad
from ..device import META
from ..kernels import batch_norm as kernels
from ..layout import channels_last, channels_last_3d, in_format
from ..op import as_tensor_operand, cast, dense, function, same_device
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, from_array
from .formats import arranged, conform_in, empty_in
from .launch import launch
from .statistics import var_mean
from .values import to_host


def _format(m):
    """The format of a result: row-major (None) for inputs that are so, also where they are in other formats too."""
    if m.contiguous:
        return None
    return next((f for f in (channels_last_3d, channels_last) if in_format(f, m.shape, m.strides)), m.last)


def _extent(m, format):
    """(n, channels, size) of (N, C, *size); channels-last pixels are (N * size, C, 1)."""
    size = prod(m.shape[2:])
    return (m.shape[0], m.shape[1], size) if format is None else (m.shape[0] * size, m.shape[1], 1)


@structured(install=(), name="native_batch_norm", raw=True, cases="none")
def _normalized(input, weight=None, bias=None, *, running_mean, running_var, training, momentum, eps):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` in each channel; with ``training`` mean and var are the batch's,
    and the running ones move towards them by ``momentum``."""
    m = input._m
    format = _format(m)
    extent = n, channels, size = _extent(m, format)
    x = arranged(input, format)
    T = m.np.type
    if training:
        mean, variance = np.zeros(channels), np.zeros(channels)
        if n * size:
            slots = x._d, mean, variance, *extent
            launch(kernels.statistics, {"T": T, "A": np.float64}, slots, channels, n * size, m.device)
            _move(running_mean, mean, momentum)
            _move(running_var, variance * (n * size / max(n * size - 1, 1)), momentum)
    else:
        mean, variance = (to_host(t.detach()).astype(np.float64) for t in (running_mean, running_var))
    out = empty_in(m.dtype, m.shape, m.device, format)
    scale, shift = (x if t is None else dense(cast(t, m.dtype)) for t in (weight, bias))
    slots = x._d, mean, variance, scale._d, shift._d, out._d, np.empty(2 * channels), np.empty(3 * channels, m.np), *extent, float(eps)
    parameters = {"T": T, "A": np.float64, "WEIGHT": weight is not None, "BIAS": bias is not None}
    launch(kernels.normalize, parameters, slots, channels, n * size, m.device)
    return out, (mean, variance)


def _move(running, batch, momentum):
    """``running = (1 - momentum) * running + momentum * batch``, in place."""
    if running is not None and running._m.numel and running._m.device is not META:
        with no_grad():
            m = running._m
            found = (1 - momentum) * running.detach()._host().astype(np.float64) + momentum * batch
            running.copy_(from_array(m.dtype.encode(found)))


@_normalized.backward
def _(g, input, weight, bias_meta, training, eps, context):
    m = input._m
    mean, variance = context
    format = _format(m)
    extent = n, channels, size = _extent(m, format)
    x, g = arranged(input, format), conform_in(g, m, format)
    out = empty_in(m.dtype, m.shape, m.device, format)
    d_weight, d_bias = (empty_tensor(meta(m.dtype, (channels,), m.device)) for _ in range(2))
    scale = x if weight is None else dense(cast(weight, m.dtype))
    arrays = g._d, x._d, mean, variance, scale._d, out._d, d_weight._d, d_bias._d, np.empty(2 * channels), np.empty(3 * channels, m.np)
    parameters = {"T": m.np.type, "A": np.float64, "WEIGHT": weight is not None, "TRAINING": training}
    launch(kernels.backward, parameters, (*arrays, *extent, float(eps)), channels, n * size, m.device)
    return (
        out,
        None if weight is None else cast(d_weight, weight._m.dtype),
        None if bias_meta is None else cast(d_bias, bias_meta.dtype),
    )


@_normalized.backward_as_ops
def _(g, input, weight, bias_meta, training, eps, context):
    # Recomputed from the input, so that the statistics' own dependence on it is recorded too.
    ndim = input._m.ndim
    dims = (0, *range(2, ndim))
    shape = (1, -1, *(1,) * (ndim - 2))
    if training:
        centred = input - input.mean(dims, True)
        variance = (centred * centred).mean(dims, True)
    else:
        mean, variance = (cast(from_array(values), input._m.dtype).reshape(shape) for values in context)
        centred = input - mean
    rstd = (variance + eps).rsqrt()
    xhat = centred * rstd
    value = g if weight is None else g * weight.to(input._m.dtype).reshape(shape)
    if training:
        d_input = (value - value.mean(dims, True) - xhat * (value * xhat).mean(dims, True)) * rstd
    else:
        d_input = value * rstd
    d_weight = None if weight is None else (g * xhat).sum(dims)
    d_bias = None if bias_meta is None else g.sum(dims)
    return d_input, d_weight, d_bias


@function(install=())
def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` in each channel of (N, C, *size) (arXiv:1502.03167).

    With ``training``, mean and biased variance are those of the batch, and ``running_mean`` and ``running_var`` (of the
    unbiased variance; either may be None) move towards them by ``momentum``; otherwise they are the running ones.
    Raises ValueError for a single value a channel in training, RuntimeError where sizes do not fit.
    """
    input = as_tensor_operand("batch_norm", input, "input")
    m = input._m
    if m.ndim == 1 and not m.numel:
        return input.clone()
    if m.ndim < 2:
        raise IndexError(
            f"batch_norm: Dimension out of range: expected input of shape (N, C, ...), got {list(m.shape)}; add a "
            "batch dimension with unsqueeze(0)"
        )
    if not m.dtype.is_floating_point:
        raise RuntimeError(f'"batch_norm" not implemented for {m.dtype!r}: it takes floating point; use .float()')
    if training and m.numel // max(m.shape[1], 1) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {m.shape}")
    if training and not eps > 0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for what, tensor in given.items():
        if tensor is None:
            if not training and what.startswith("running"):
                raise RuntimeError(f"batch_norm: {what} must be defined in evaluation mode")
        elif tensor._m.numel != m.shape[1]:
            raise RuntimeError(f"batch_norm: {what} should contain {m.shape[1]} elements not {tensor._m.numel}")
    if (running_mean is not None and running_mean._n is not None) or (running_var is not None and running_var._n is not None):
        if is_grad_enabled() and (local.level is None or input._n is not None):  # in a dual level: with a tangent of its own
            raise RuntimeError(
                "batch_norm is not differentiable wrt running_mean and running_var, they cannot require a gradient or have a "
                "forward grad defined; detach() them"
            )
    same_device("batch_norm", [input, *[tensor for tensor in given.values() if tensor is not None]])
    momentum = 0.0 if momentum is None else float(momentum)
    return _normalized(input, running_mean, running_var, bool(training), momentum, float(eps), weight, bias)


def batch_norm_root(
    input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=True
) -> Tensor:
    """`nn.functional.batch_norm` with PyTorch's order of arguments for ``torch.batch_norm``."""
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@function(install=("ng",))
def batch_norm_update_stats(input, running_mean, running_var, momentum: float) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of (N, C, *size); the running ones move towards them as in `batch_norm`.

    Raises RuntimeError for inputs without elements and for sizes that do not fit.
    """
    input = as_tensor_operand("batch_norm_update_stats", input, "input")
    m = input._m
    if not m.numel or m.ndim < 2:
        raise RuntimeError(
            "batch_norm_update_stats: input tensor must have at least one element, but got input_sizes = "
            f"{list(m.shape)}; expected (N, C, ...)"
        )
    for what, tensor in (("running_mean", running_mean), ("running_var", running_var)):
        if tensor is not None and tensor._m.numel != m.shape[1]:
            raise RuntimeError(f"batch_norm_update_stats: {what} should contain {m.shape[1]} elements not {tensor._m.numel}")
    variance, mean = var_mean(input.detach(), (0, *range(2, m.ndim)), correction=0)
    count = m.numel // m.shape[1]
    _move(running_mean, to_host(mean).astype(np.float64), momentum)
    _move(running_var, to_host(variance).astype(np.float64) * (count / max(count - 1, 1)), momentum)
    return mean, variance
