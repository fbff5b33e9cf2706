"""Normalisation of every image by itself: groups of its channels, single channels, or neighbouring channels."""

from math import prod

import numpy as np

from .. import dtypes
from ..autograd import no_grad
from ..kernels import group_norm as kernels
from ..layout import integer
from ..op import as_tensor_operand, cast, dense, function, same_device
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor
from .batch_norm import batch_norm
from .formats import arranged, conform_in, empty_in
from .launch import launch
from .pad import pad
from .pool import avg_pool2d, avg_pool3d
from .statistics import var_mean
from .view import reshape


def _scratch(m):
    """What the channels-last kernels keep for every image: two numbers of A and three of T a channel."""
    return np.empty(2 * m.shape[0] * m.shape[1]), np.empty(3 * m.shape[0] * m.shape[1], m.np)


@structured(install=(), name="native_group_norm", raw=True, cases="none")
def _normalized(input, weight=None, bias=None, *, groups, eps):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` with mean and var of each group of channels of an image."""
    m = input._m
    n, channels, *size = m.shape
    each, size = channels // groups, prod(size)
    out = empty_in(m.dtype, m.shape, m.device, m.last)
    mean, rstd = (empty_tensor(meta(dtypes.float64, (n * groups,), m.device)) for _ in range(2))
    x = arranged(input, m.last)
    scale, shift = (x if t is None else dense(cast(t, m.dtype)) for t in (weight, bias))
    slots = x._d, scale._d, shift._d, out._d, mean._d, rstd._d, groups, each, size, eps
    parameters = {"T": m.np.type, "A": dtypes.float64.type, "WEIGHT": weight is not None, "BIAS": bias is not None}
    if m.last:
        slots = *slots, *_scratch(m)
        launch(kernels.normalize_last, parameters, slots, n, channels * size, m.device)
    else:
        launch(kernels.normalize, parameters, slots, n * groups, each * size, m.device)
    return out, (mean, rstd)


@_normalized.backward
def _(g, input, weight, bias_meta, groups, eps, context):
    m = input._m
    n, channels, *size = m.shape
    mean, rstd = context
    x, g = arranged(input, m.last), conform_in(g, m, m.last)
    out = empty_in(m.dtype, m.shape, m.device, m.last)
    d_weight, d_bias = (empty_tensor(meta(dtypes.float64, (n, channels), m.device)) for _ in range(2))
    scale = x if weight is None else dense(cast(weight, m.dtype))
    arrays = g._d, x._d, scale._d, mean._d, rstd._d, out._d, d_weight._d, d_bias._d
    each, size = channels // groups, prod(size)
    parameters = {"T": m.np.type, "A": dtypes.float64.type, "WEIGHT": weight is not None}
    if m.last:
        slots = *arrays, groups, each, size, *_scratch(m)
        launch(kernels.backward_last, parameters, slots, n, channels * size, m.device)
    else:
        launch(kernels.backward, parameters, (*arrays, groups, each, size), n * groups, each * size, m.device)
    return (
        out,
        None if weight is None else cast(d_weight.sum(0), weight._m.dtype),
        None if bias_meta is None else cast(d_bias.sum(0), bias_meta.dtype),
    )


@_normalized.backward_as_ops
def _(g, input, weight, bias_meta, groups, eps, context):
    # Recomputed from the input, so that the statistics' own dependence on it is recorded too.
    m = input._m
    shape, rows = tuple(m.shape), (m.shape[0], groups, -1)
    dims = (0, *range(2, m.ndim))
    x = reshape(input, rows)
    centred = x - x.mean(-1, True)
    rstd = ((centred * centred).mean(-1, True) + eps).rsqrt()
    xhat = centred * rstd
    value = g if weight is None else g * weight.to(m.dtype).reshape(-1, *(1,) * (m.ndim - 2))
    value = reshape(value, rows)
    d_input = (value - value.mean(-1, True) - xhat * (value * xhat).mean(-1, True)) * rstd
    d_weight = None if weight is None else (g * reshape(xhat, shape)).sum(dims)
    d_bias = None if bias_meta is None else g.sum(dims)
    return reshape(d_input, shape), d_weight, d_bias


def _checked(name, input, least, given):
    """Refuse inputs of too few dimensions or no floats, and vectors ``given`` that do not have a value a channel."""
    input = as_tensor_operand(name, input, "input")
    m = input._m
    if m.ndim < least:
        raise RuntimeError(
            f"{name}: Expected at least {least} dimensions for input tensor but received {m.ndim}: (N, C, *)"
        )
    if not m.dtype.is_floating_point:
        raise RuntimeError(f'"{name}" not implemented for {m.dtype!r}: it takes floating point; use .float()')
    for what, tensor in given.items():
        if tensor is not None and tuple(tensor._m.shape) != (m.shape[1],):
            raise RuntimeError(
                f"{name}: Expected {what} to be a vector of size equal to the number of channels in input, but got "
                f"{what} of shape {list(tensor._m.shape)} and input of shape {list(m.shape)}"
            )
    same_device(name, [input, *[tensor for tensor in given.values() if tensor is not None]])
    return input


def _in_groups(input, groups, weight, bias, eps):
    m = input._m
    if m.numel:
        return _normalized(input, int(groups), float(eps), weight, bias)
    shape = (-1, *(1,) * (m.ndim - 2))
    out = input.clone() if weight is None else input * reshape(weight, shape)
    return out if bias is None else out + reshape(bias, shape)


@function(install=("ng",))
def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias``: (N, C, *), weight and bias (C,) -> (N, C, *).

    Mean and biased variance are those of each of ``num_groups`` groups of neighbouring channels of an image
    (arXiv:1803.08494). Raises ValueError for a single value a group, RuntimeError where sizes do not fit.
    """
    input = _checked("group_norm", input, 2, {"weight": weight, "bias": bias})
    n, channels, *size = input._m.shape
    num_groups = integer("group_norm", "num_groups", num_groups)
    if num_groups <= 0:
        raise RuntimeError(f"group_norm: Expected num groups to be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise RuntimeError(
            "group_norm: Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input._m.shape)} and num_groups={num_groups}"
        )
    if n * (channels // num_groups) * prod(size) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input._m.shape}")
    return _in_groups(input, num_groups, weight, bias, eps)


@function(install=("ng",))
def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5,
    cudnn_enabled=True,
) -> Tensor:  # fmt: skip
    """``(x - mean) / sqrt(var + eps) * weight + bias``: (N, C, *size), the others (C,) -> (N, C, *size).

    With ``use_input_stats``, mean and biased variance are those of each channel of an image (arXiv:1607.08022), and
    ``running_mean`` and ``running_var`` move by ``momentum`` towards their means over the batch (of the unbiased
    variance); otherwise they are the running ones. Raises ValueError for a single value a channel, RuntimeError where
    sizes do not fit.
    """
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    input = _checked("instance_norm", input, 2, given)
    m = input._m
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "instance_norm: Expected running_mean and running_var to be defined when use_input_stats is false"
            )
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    size = prod(m.shape[2:])
    if size == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {m.shape}")
    if m.numel and (running_mean is not None or running_var is not None):
        with no_grad():
            var, mean = var_mean(reshape(input.detach(), (*m.shape[:2], size)), -1)
            for running, batch in ((running_mean, mean), (running_var, var)):
                if running is not None:
                    running.copy_((1 - momentum) * running + momentum * batch.mean(0))
    return _in_groups(dense(input), m.shape[1], weight, bias, eps)  # row-major, as PyTorch's result is


@function(install=())
def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0) -> Tensor:
    """``x / (k + alpha * mean of x^2 over size neighbouring channels) ** beta``, zeros beyond the first and last
    channel: (N, C, *) -> (N, C, *). Raises ValueError without a channel dimension."""
    input = as_tensor_operand("local_response_norm", input, "input")
    m = input._m
    if m.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {m.ndim} dimensions)")
    if not m.numel:
        return input.clone()
    squares, size = input * input, integer("local_response_norm", "size", size)
    before, after = size // 2, (size - 1) // 2
    if m.ndim == 3:
        mean = avg_pool2d(pad(squares.unsqueeze(1), (0, 0, before, after)), (size, 1), 1).squeeze(1)
    else:
        n, channels, first, *rest = m.shape
        planes = reshape(squares, (n, 1, channels, first, prod(rest)))
        planes = pad(planes, (0, 0, 0, 0, before, after))
        mean = reshape(avg_pool3d(planes, (size, 1, 1), 1).squeeze(1), tuple(m.shape))
    return input / (mean * alpha + k) ** beta
