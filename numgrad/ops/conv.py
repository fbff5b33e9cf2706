"""Convolutions in one to three spatial dimensions and their two gradients, each of which is an op of its own, so that
derivatives of any order are made of the three."""

from math import prod

from ..device import CPU
from ..kernels import conv, conv_last
from ..layout import integer, integers
from ..op import as_tensor_operand, dense, function, same_device
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor
from . import unfolded
from .copy import zero
from .formats import arranged, conform_in, empty_in, restored
from .view import reshape

_LIMIT = 1 << 14
_plans: dict = {}  # shapes and settings -> kernels.conv.Plan
_settings: dict = {}  # metas and arguments of a call -> checked attributes


def _plan(m, x_shape, w_shape, out_size, stride, padding, dilation, groups, last):
    """The plan for an input of ``x_shape`` and a weight of ``w_shape``, in ``m``'s dtype and on its device."""
    key = m.dtype, m.device, x_shape, w_shape, out_size, stride, padding, dilation, groups, last
    found = _plans.get(key)
    if found is None:
        if m.dtype.kind == "b":
            raise RuntimeError("convolution: not implemented for 'Bool'; convert with .float() or .long()")
        if len(_plans) > _LIMIT:
            _plans.clear()
        lead = 3 - len(stride)
        triples = [(fill,) * lead + tuple(values) for fill, values in (
            (1, x_shape[2:]), (1, out_size), (1, w_shape[2:]), (1, stride), (0, padding), (1, dilation),
        )]  # fmt: skip
        kind = conv_last.Plan if last else conv.Plan
        found = _plans[key] = kind(m.np, x_shape[0], groups, w_shape[1], w_shape[0] // groups, *triples)
    return found


def _shape(m):
    return tuple(m.shape)


class _Planned:
    """The three products on the CPU, by the kernels' own plans; `unfolded` has them for other devices. ``format`` is the
    channels-last one that operands are read and results written in, None for row-major."""

    @staticmethod
    def forward(input, weight, bias, out_size, stride, padding, dilation, groups, format=None):
        m, w = input._m, weight._m
        plan = _plan(m, _shape(m), _shape(w), out_size, stride, padding, dilation, groups, format is not None)
        out = empty_in(m.dtype, (m.shape[0], w.shape[0], *out_size), m.device, format)
        x, factors = arranged(input, format), arranged(weight, format)
        plan.forward(x._d, factors._d, None if bias is None else dense(bias)._d, out._d)
        return out

    @staticmethod
    def input_gradient(g, weight, size, stride, padding, dilation, groups, format=None):
        m, w = g._m, weight._m
        x_shape = m.shape[0], w.shape[1] * groups, *size
        plan = _plan(m, x_shape, _shape(w), _shape(m)[2:], stride, padding, dilation, groups, format is not None)
        out = empty_in(m.dtype, x_shape, m.device, format)
        plan.input_gradient(arranged(g, format)._d, arranged(weight, format)._d, out._d)
        return out

    @staticmethod
    def weight_gradient(g, input, taps, stride, padding, dilation, groups, format=None):
        m, x = g._m, input._m
        w_shape = m.shape[1], x.shape[1] // groups, *taps
        plan = _plan(m, _shape(x), w_shape, _shape(m)[2:], stride, padding, dilation, groups, format is not None)
        out = empty_in(m.dtype, w_shape, m.device, format)
        plan.weight_gradient(arranged(g, format)._d, arranged(input, format)._d, out._d)
        return out


def _product(which, tensor, *arguments, format):
    """One of the three products, its result in ``format``."""
    m = tensor._m
    if m.device is not CPU:
        return restored(getattr(unfolded, which)(tensor, *arguments), format)
    if format is not None and m.dtype.is_floating_point:
        return getattr(_Planned, which)(tensor, *arguments, format)
    return restored(getattr(_Planned, which)(tensor, *arguments), format)


def _common_format(input, weight):
    """The format of a convolution's result and gradients: channels-last if that of input or weight is."""
    return input._m.last or weight._m.last


@structured(install=(), name="convolution", raw=True, cases="none")
def convolution(input, weight, bias=None, *, stride, padding, dilation, groups, out_size, format):
    """``out[n, k, o] = bias[k] + sum over c, t of input[n, c, o * stride - padding + t * dilation] * weight[k, c, t]``:
    (N, C, *size), (K, C / groups, *taps), (K,) -> (N, K, *out_size). ``padding`` is what comes before, ``format`` the
    channels-last format of the result, if any."""
    return _product("forward", input, weight, bias, out_size, stride, padding, dilation, groups, format=format)


@convolution.backward
def _(g, input, weight, bias_meta, stride, padding, dilation, groups, format):
    d_input = d_weight = d_bias = None
    g = conform_in(g, input._m, format)
    if input._n is not None:
        d_input = conv_input_grad(g, weight, _shape(input._m)[2:], stride, padding, dilation, groups, format)
    if weight._n is not None:
        d_weight = conv_weight_grad(g, input, _shape(weight._m)[2:], stride, padding, dilation, groups, format)
    if bias_meta is not None:
        d_bias = _sum_channels(g)
    return d_input, d_weight, d_bias


def _sum_channels(g):
    """The sum over all dimensions but the second."""
    m = g._m
    if m.packed:
        pixels = g.movedim(1, -1)
        return reshape(pixels, (m.numel // max(m.shape[1], 1), m.shape[1])).sum(0)
    if m.ndim > 3:
        g = reshape(g, (m.shape[0], m.shape[1], prod(m.shape[2:])))
    return g.sum((0, 2))


@structured(install=(), name="conv_input_grad", raw=True, cases="none", grad_name="ConvolutionBackward0")
def conv_input_grad(g, weight, *, size, stride, padding, dilation, groups, format):
    """The gradient of `convolution` for its input of spatial ``size``: what transposed convolutions compute."""
    return _product("input_gradient", g, weight, size, stride, padding, dilation, groups, format=format)


@conv_input_grad.backward
def _(gg, g, weight, stride, padding, dilation, groups, format):
    d_g = d_weight = None
    gg = conform_in(gg, g._m, format)
    if g._n is not None:
        d_g = convolution(gg, weight, stride, padding, dilation, groups, _shape(g._m)[2:], format)
    if weight._n is not None:
        d_weight = conv_weight_grad(g, gg, _shape(weight._m)[2:], stride, padding, dilation, groups, format)
    return d_g, d_weight


@structured(install=(), name="conv_weight_grad", raw=True, cases="none")
def conv_weight_grad(g, input, *, taps, stride, padding, dilation, groups, format):
    """The gradient of `convolution` for its weight, whose kernel has the size ``taps``."""
    m = g._m
    if not m.numel:
        return zero(empty_in(m.dtype, (m.shape[1], input._m.shape[1] // groups, *taps), m.device, format))
    return _product("weight_gradient", g, input, taps, stride, padding, dilation, groups, format=format)


@conv_weight_grad.backward
def _(gg, g, input, stride, padding, dilation, groups, format):
    d_g = d_input = None
    gg = conform_in(gg, g._m, format)
    if g._n is not None:
        d_g = convolution(input, gg, stride, padding, dilation, groups, _shape(g._m)[2:], format)
    if input._n is not None:
        d_input = conv_input_grad(g, gg, _shape(input._m)[2:], stride, padding, dilation, groups, format)
    return d_g, d_input


# --- arguments -------------------------------------------------------------------------------------------------------


def _several(name, what, value, n):
    """``value`` as a tuple of ``n`` ints, of 32 bits: kernels multiply and add them."""
    value = integers(name, what, value)
    if any(not -(1 << 31) <= v < 1 << 31 for v in value):
        raise RuntimeError(f"{name}: integer out of range: {what}={list(value)}")
    if len(value) == 1:
        return tuple(value) * n
    if len(value) != n:
        raise RuntimeError(
            f"{name}: expected {what} to be a single integer value or a list of {n} values to match the convolution "
            f"dimensions, but got {what}={list(value)}"
        )
    return tuple(value)


def _paddings(name, padding, taps, stride, dilation):
    """(before, after) as tuples."""
    n = len(taps)
    if not isinstance(padding, str):
        before = _several(name, "padding", padding, n)
        if any(p < 0 for p in before):
            raise RuntimeError(f"{name}: negative padding is not supported, got {list(before)}; cut off with indexing")
        return before, before
    if padding == "valid":
        return (0,) * n, (0,) * n
    if padding != "same":
        raise RuntimeError(f"{name}: Invalid padding string: '{padding}'; it may be 'same' or 'valid'")
    if any(s != 1 for s in stride):
        raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions, got {list(stride)}")
    totals = [d * (t - 1) for d, t in zip(dilation, taps)]
    return tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)


def _check(name, n, x, w, bias, stride, padding, dilation, groups):
    """The attributes of `convolution` for metas ``x`` (batched or not), ``w`` and ``bias``."""
    stride, dilation = _several(name, "stride", stride, n), _several(name, "dilation", dilation, n)
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}: Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: "
            f"{list(x.shape)}"
        )
    if w.ndim != n + 2:
        if w.ndim < 3:
            raise RuntimeError(f"{name}: weight should have at least three dimensions, got {list(w.shape)}")
        raise RuntimeError(
            f"{name}: Expected {w.ndim}-dimensional input for {w.ndim}-dimensional weight {list(w.shape)}, but got {x.ndim}-dimensional "
            f"input of size {list(x.shape)} instead: Expected {n + 2}-dimensional weight (out_channels, in_channels / groups, *kernel_size), but got "
            f"weight of size {list(w.shape)}"
        )
    groups = integer(name, "groups", groups)
    if groups <= 0:
        raise RuntimeError(f"{name}: non-positive groups is not supported, got groups={groups}")
    if any(s <= 0 for s in stride):
        raise RuntimeError(f"{name}: non-positive stride is not supported, got stride={list(stride)}")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(f"{name}: dilation should be greater than zero, got dilation={list(dilation)}")
    outs, channels, *taps = w.shape
    before, after = _paddings(name, padding, taps, stride, dilation)
    if outs < groups:
        raise RuntimeError(
            f"{name}: Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of "
            f"size {list(w.shape)} instead"
        )
    if outs % groups:
        raise RuntimeError(
            f"{name}: Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got "
            f"weight of size {list(w.shape)} instead"
        )
    if x.shape[-n - 1] != channels * groups:
        raise RuntimeError(
            f"{name}: Given groups={groups}, weight of size {list(w.shape)}, expected input{list(x.shape)} to have "
            f"{channels * groups} channels, but got {x.shape[-n - 1]} channels instead"
        )
    if bias is not None and tuple(bias.shape) != (outs,):
        raise RuntimeError(
            f"{name}: Given weight of size {list(w.shape)}, expected bias to be 1-dimensional with {outs} elements, "
            f"but got bias of size {list(bias.shape)} instead"
        )
    if x.dtype is not w.dtype or (bias is not None and bias.dtype is not x.dtype):
        raise RuntimeError(
            f"{name}: Input type ({x.dtype.scalar_type}), weight type ({w.dtype.scalar_type})"
            + ("" if bias is None else f" and bias type ({bias.dtype.scalar_type})")
            + " should be the same; convert with .to(...)"
        )
    padded = [size + p + q for size, p, q in zip(x.shape[-n:], before, after)]
    reach = [d * (t - 1) + 1 for d, t in zip(dilation, taps)]
    if any(size < r for size, r in zip(padded, reach)) or 0 in taps:
        raise RuntimeError(
            f"{name}: Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
            f"({' x '.join(map(str, reach))}). Kernel size can't be greater than actual input size"
        )
    out_size = tuple((size - r) // s + 1 for size, r, s in zip(padded, reach, stride))
    return stride, before, dilation, groups, out_size


_unknown = None, (None, None, None, None)


def _whole(found, arguments):
    """Whether settings were ``found``, and by ints: 1.0 and True are equal to some, and are no settings."""
    return found is not None and all(
        type(value) in (int, str) or type(value) is tuple and all(type(n) is int for n in value) for value in arguments
    )


def _convolved(name, n, input, weight, bias, stride, padding, dilation, groups):
    input, weight = as_tensor_operand(name, input, "input"), as_tensor_operand(name, weight, "weight")
    if bias is not None:
        bias = as_tensor_operand(name, bias, "bias")
    arguments = [tuple(value) if isinstance(value, list) else value for value in (stride, padding, dilation, groups)]
    key = (name, input._m, weight._m, None if bias is None else bias._m, *arguments)
    found, asked = _settings.get(key, _unknown)
    if not (asked[0] is stride and asked[1] is padding and asked[2] is dilation and asked[3] is groups or _whole(found, arguments)):
        same_device(name, [tensor for tensor in (input, weight, bias) if tensor is not None])
        if len(_settings) > _LIMIT:
            _settings.clear()
        settings = _check(name, n, input._m, weight._m, key[3], *arguments)
        found = list(settings) if weight._m.shape[1] == 0 else (*settings, _common_format(input, weight))
        _settings[key] = found, (stride, padding, dilation, groups)
    if found.__class__ is list:
        return _of_no_channels(n, input, weight, bias, found[-1])
    if input._m.ndim == n + 2:
        return convolution(input, weight, *found, bias)
    input = input.unsqueeze(0)
    return convolution(input, weight, *found[:-1], _common_format(input, weight), bias).squeeze(0)


def _of_no_channels(n, input, weight, bias, out_size):
    """What PyTorch returns for inputs without channels: a result without channels, and gradients of 0."""
    total = input.sum() + weight.sum()
    total = total if bias is None else total + bias.sum()
    return total * empty_in(input._m.dtype, (*input._m.shape[: -n - 1], 0, *out_size), input._m.device, None)


def _transposed(name, n, input, weight, bias, stride, padding, output_padding, groups, dilation):
    """The gradient of a convolution for its input, as an op of its own."""
    input, weight = as_tensor_operand(name, input, "input"), as_tensor_operand(name, weight, "weight")
    if bias is not None:
        bias = as_tensor_operand(name, bias, "bias")
    same_device(name, [tensor for tensor in (input, weight, bias) if tensor is not None])
    x, w = input._m, weight._m
    groups = integer(name, "groups", groups)
    stride, dilation, padding, extra = (
        _several(name, what, value, n)
        for what, value in (("stride", stride), ("dilation", dilation), ("padding", padding), ("output_padding", output_padding))
    )
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}: Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: {list(x.shape)}"
        )
    if w.ndim != n + 2:
        raise RuntimeError(
            f"{name}: Expected {n + 2}-dimensional weight (in_channels, out_channels / groups, *kernel_size), but got weight "
            f"of size {list(w.shape)}"
        )
    if groups <= 0 or any(s <= 0 for s in stride) or any(d <= 0 for d in dilation) or any(p < 0 for p in (*padding, *extra)):
        raise RuntimeError(
            f"{name}: groups, stride and dilation must be positive, padding and output_padding not negative, got {groups}, "
            f"{list(stride)}, {list(dilation)}, {list(padding)}, {list(extra)}"
        )
    if x.shape[-n - 1] != w.shape[0] or w.shape[0] % groups:
        raise RuntimeError(
            f"{name}: Given transposed=1, weight of size {list(w.shape)}, expected input{list(x.shape)} to have {w.shape[0]} "
            f"channels, divisible by groups={groups}, but got {x.shape[-n - 1]} channels instead"
        )
    outs = w.shape[1] * groups
    if bias is not None and tuple(bias._m.shape) != (outs,):
        raise RuntimeError(
            f"{name}: Given transposed=1, weight of size {list(w.shape)}, expected bias to be 1-dimensional with {outs} "
            f"elements, but got bias of size {list(bias._m.shape)} instead"
        )
    if x.dtype is not w.dtype or (bias is not None and bias._m.dtype is not x.dtype):
        raise RuntimeError(
            f"{name}: Input type ({x.dtype.scalar_type}) and weight type ({w.dtype.scalar_type})"
            + ("" if bias is None else f" and bias type ({bias._m.dtype.scalar_type})") + " should be the same; convert with .to(...)"
        )
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise RuntimeError(
            f"{name}: output padding must be smaller than either stride or dilation, but got output_padding={list(extra)}, "
            f"stride={list(stride)}, dilation={list(dilation)}"
        )
    taps = w.shape[2:]
    size = tuple(
        (o - 1) * s - 2 * p + d * (t - 1) + e + 1
        for o, s, p, d, t, e in zip(x.shape[-n:], stride, padding, dilation, taps, extra)
    )
    if 0 in taps:
        raise RuntimeError(f"{name}: kernel size should be greater than zero, but got {list(taps)}")
    if any(length <= 0 for length in size):
        raise RuntimeError(
            f"{name}: Given input size per channel: {list(x.shape[-n:])}. Calculated output size per channel: {list(size)}. "
            "Output size is too small"
        )
    if w.shape[0] == 0:
        return _of_no_channels(n, input, weight, bias, size)
    batched = x.ndim == n + 2
    x = input if batched else input.unsqueeze(0)
    format = _common_format(x, weight)
    out = conv_input_grad(x, weight, size, stride, padding, dilation, groups, format)
    if bias is not None:
        out = out + reshape(bias, (1, outs, *(1,) * n))
    return out if batched else out.squeeze(0)


@function(install=("ng",))
def conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> Tensor:
    """The transpose of `conv1d`: (N, C, L), weight (C, K / groups, taps), bias (K,) -> (N, K, L') with
    ``L' = (L - 1) * stride - 2 * padding + dilation * (taps - 1) + output_padding + 1``."""
    return _transposed("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@function(install=("ng",))
def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> Tensor:
    """The transpose of `conv2d`: (N, C, H, W), weight (C, K / groups, kh, kw), bias (K,) -> (N, K, H', W')."""
    return _transposed("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@function(install=("ng",))
def conv_transpose3d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> Tensor:
    """The transpose of `conv3d`: (N, C, D, H, W), weight (C, K / groups, kd, kh, kw), bias (K,) -> (N, K, D', H', W')."""
    return _transposed("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)


@function(install=("ng",))
def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation: (N, C, L) or (C, L), weight (K, C / groups, taps), bias (K,) -> (N, K, L') or (K, L').

    ``L' = floor((L + 2 * padding - dilation * (taps - 1) - 1) / stride) + 1``; ``padding`` may be "same" or "valid".
    Raises RuntimeError where shapes, dtypes or settings do not fit.
    """
    return _convolved("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@function(install=("ng",))
def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation: (N, C, H, W) or (C, H, W), weight (K, C / groups, kh, kw), bias (K,) -> (N, K, H', W').

    ``H' = floor((H + 2 * padding - dilation * (kh - 1) - 1) / stride) + 1``; ``padding`` may be "same" or "valid".
    Raises RuntimeError where shapes, dtypes or settings do not fit.
    """
    return _convolved("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@function(install=("ng",))
def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation: (N, C, D, H, W) or (C, D, H, W), weight (K, C / groups, kd, kh, kw) -> (N, K, D', H', W').

    ``D' = floor((D + 2 * padding - dilation * (kd - 1) - 1) / stride) + 1``; ``padding`` may be "same" or "valid".
    Raises RuntimeError where shapes, dtypes or settings do not fit.
    """
    return _convolved("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@function(install=("ng",))
def conv_tbc(input, weight, bias, pad: int = 0):
    """`conv1d` of sequences whose dimensions are (time, batch, channels): (T, N, C), weight (taps, C, K), bias (K,) ->
    (T + 2 * pad - taps + 1, N, K). Raises RuntimeError where shapes or dtypes do not fit."""
    input, weight = as_tensor_operand("conv_tbc", input, "input"), as_tensor_operand("conv_tbc", weight, "weight")
    if input._m.ndim != 3 or weight._m.ndim != 3 or as_tensor_operand("conv_tbc", bias, "bias")._m.ndim != 1:
        raise RuntimeError(
            "conv_tbc: Input must have 3 dims: time, batch, in_channel; weight 3: kernel_width, in_channel, out_channel; bias 1, "
            f"but got {list(input._m.shape)}, {list(weight._m.shape)} and {list(bias._m.shape)}"
        )
    found = _convolved("conv_tbc", 1, input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, pad, 1, 1)
    return found.permute(2, 0, 1).contiguous()


def gradient(name, n, of_input, given, size, grad_output, stride, padding, dilation, groups) -> Tensor:
    """The gradient of a convolution in n dimensions for its input, of ``size``, or for its weight; ``given`` is the other."""
    g, given = as_tensor_operand(name, grad_output, "grad_output"), as_tensor_operand(name, given, "weight" if of_input else "input")
    same_device(name, [g, given])
    m, other = given._m, meta(given._m.dtype, integers(name, "input_size" if of_input else "weight_size", size), given._m.device)
    x, w = (other, m) if of_input else (m, other)
    if x.ndim != n + 2:
        raise RuntimeError(f"{name}: expected an input of {n + 2} dimensions, (N, C, *size), but got {list(x.shape)}")
    stride, padding, dilation, groups, out_size = _check(name, n, x, w, None, stride, padding, dilation, groups)
    expected = x.shape[0], w.shape[0], *out_size
    if tuple(g._m.shape) != expected or g._m.dtype is not m.dtype:
        raise RuntimeError(
            f"{name}: expected grad_output to be {m.dtype!r} of shape {list(expected)}, but got {g._m.dtype!r} of shape "
            f"{list(g._m.shape)}"
        )
    product, lengths = (conv_input_grad, x.shape[2:]) if of_input else (conv_weight_grad, w.shape[2:])
    return product(g, given, tuple(lengths), stride, padding, dilation, groups, g._m.last or m.last)
