"""Activation functions, under the names of ``nn.functional``; with ``inplace=True`` they overwrite ``input``."""

import numpy as np

from ..device import META
from ..dtypes import check_number
from ..inplace import write_out
from ..kernels.vocab import (
    cosh,
    exp,
    expm1,
    fabs,
    log1p,
    maximum,
    normal_cdf,
    where,
)
from ..layout import normalize_axis
from ..op import as_tensor_operand, function, method
from ..pointwise import pointwise, pointwise_word
from ..tensor import Tensor, from_array
from .arithmetic import add
from .math import hyperbolic_tangent, logistic, logistic_slope, sigmoid as sigmoid, squared_secant, tanh as tanh

NORMAL_DENSITY = 0.3989422804014327
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
SQRT_2_OVER_PI, CUBIC = 0.7978845608028654, 0.044715


def _apply(entry, input, inplace, *attributes):
    return (entry.op.inplace_entry if inplace else entry)(input, *attributes)


# --- piecewise linear ----------------------------------------------------------------------------------------------


@pointwise(name="relu", install=(), refuse="b")
def _relu(input):
    return maximum(input, 0.0)


@_relu.backward
def _(g, out):
    return where(out <= 0.0, 0.0, g)


@function(install=("F",))
def relu(input, inplace: bool = False) -> Tensor:
    """``max(input, 0)``."""
    return _relu.op.inplace_entry(input) if inplace else _relu(input)


def add_relu(input, other, *, alpha=1, out=None) -> Tensor:
    """``max(input + alpha * other, 0)``."""
    found = _relu(add(input, other, alpha=alpha))
    return found if out is None else write_out("add_relu", found, out)


function(_relu, name="relu")
method(_relu.op.inplace_entry, name="relu_")


@pointwise(name="leaky_relu", install=(), refuse="bi")
def _leaky_relu(input, *, negative_slope):
    return where(input > 0.0, input, input * negative_slope)


@_leaky_relu.backward
def _(g, input, negative_slope):
    return where(input > 0.0, g, g * negative_slope)


@function(install=("F",))
def leaky_relu(input, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``input`` where it is positive, else ``negative_slope * input``."""
    return _apply(_leaky_relu, input, inplace, negative_slope)


@pointwise(name="hardtanh", install=(), refuse="b")
def _hardtanh(input, *, min_val, max_val):
    return where(input < min_val, min_val, where(input > max_val, max_val, input))


@_hardtanh.backward
def _(g, input, min_val, max_val):
    return where((input <= min_val) | (input >= max_val), 0.0, g)


@function(install=("F",))
def hardtanh(input, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``input`` brought into [``min_val``, ``max_val``]."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")
    if isinstance(input, Tensor) and not input._m.dtype.is_floating_point:
        min_val, max_val = int(min_val), int(max_val)
    return _apply(_hardtanh, input, inplace, min_val, max_val)


@function(install=("F",))
def relu6(input, inplace: bool = False) -> Tensor:
    """``min(max(input, 0), 6)``."""
    return hardtanh(input, 0.0, 6.0, inplace)


@pointwise(name="threshold", install=(), refuse="b")
def _threshold(input, *, threshold, value):
    return where(input <= threshold, value, input)


@_threshold.backward
def _(g, input, threshold):
    return where(input <= threshold, 0.0, g)


@function(install=("ng",))
def threshold(input, threshold: float, value: float, inplace: bool = False, *, out=None) -> Tensor:
    """``input`` where it is above ``threshold``, else ``value``."""
    if isinstance(input, Tensor) and not input._m.dtype.is_floating_point:
        check_number("threshold", threshold, input._m.dtype)
        check_number("threshold", value, input._m.dtype)
        threshold, value = int(threshold), int(value)
    found = _apply(_threshold, input, inplace, threshold, value)
    return found if out is None else write_out("threshold", found, out)


@pointwise(name="prelu", install=(), refuse="bi", inplace=False)
def _prelu(input, weight):
    return where(input > 0.0, input, input * weight)


@_prelu.backward
def _(g, input, weight):
    return where(input > 0.0, g, g * weight), where(input > 0.0, 0.0, g * input)


@_prelu.backward_as_ops
def _(g, input, weight):
    # At 0 the slope is the weight, but what is derived of it is the slope above 0.
    at_zero = (g * weight).detach() + (g - g.detach())
    slope = where(input > 0.0, g, where(input < 0.0, g * weight, at_zero))
    return slope, where(input < 0.0, g * input, 0.0)


@function
def prelu(input, weight) -> Tensor:
    """``input`` where it is positive, else ``weight * input``; ``weight`` has one element or one a channel."""
    input, weight = as_tensor_operand("prelu", input, "input"), as_tensor_operand("prelu", weight, "weight")
    m = input._m
    if weight._m.numel != 1:
        if m.ndim == 0:
            raise RuntimeError("prelu: Not allow zero-dim input tensor with more than one weight.")
        channels = m.shape[1] if m.ndim > 1 else 1
        if weight._m.numel != channels:
            raise RuntimeError(
                "prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight._m.numel} and channel size = {channels}."
            )
    if weight._m.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight._m.ndim}")
    if weight._m.dtype is not m.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {m.dtype!r} and {weight._m.dtype!r}; convert one with .to()"
        )
    shape = [1] * m.ndim
    if m.ndim > 1:
        shape[1] = weight._m.numel
    return _prelu(input, weight.reshape(shape) if m.ndim else weight.reshape(()))


@pointwise(name="hardsigmoid", install=(), refuse="bi")
def _hardsigmoid(input):
    return where(input <= -3.0, 0.0, where(input >= 3.0, 1.0, (input + 3.0) / 6.0))


@_hardsigmoid.backward
def _(g, input):
    return where((input > -3.0) & (input < 3.0), g / 6.0, 0.0)


@function(install=("F",))
def hardsigmoid(input, inplace: bool = False) -> Tensor:
    """``relu6(input + 3) / 6``."""
    return _apply(_hardsigmoid, input, inplace)


@pointwise(name="hardswish", install=(), refuse="bi")
def _hardswish(input):
    return where(input <= -3.0, input * 0.0, where(input >= 3.0, input, input * (input + 3.0) / 6.0))


@_hardswish.backward
def _(g, input):
    return where(input <= -3.0, 0.0, where(input < 3.0, g * (input / 3.0 + 0.5), g))


@function(install=("F",))
def hardswish(input, inplace: bool = False) -> Tensor:
    """``input * relu6(input + 3) / 6``."""
    return _apply(_hardswish, input, inplace)


@pointwise(name="hardshrink", install=(), refuse="bi", inplace=False)
def _hardshrink(input, *, lambd):
    return where((input >= -lambd) & (input <= lambd), 0.0, input)


@_hardshrink.backward
def _(g, input, lambd):
    return where((input >= -lambd) & (input <= lambd), 0.0, g)


@function
def hardshrink(input, lambd: float = 0.5, *, out=None) -> Tensor:
    """``input`` where its magnitude is above ``lambd``, else 0."""
    return _hardshrink(input, lambd, out=out)


@pointwise(name="softshrink", install=(), refuse="bi", inplace=False)
def _softshrink(input, *, lambd):
    return where(input > lambd, input - lambd, where(input < -lambd, input + lambd, input * 0.0))


@_softshrink.backward
def _(g, input, lambd):
    return where((input >= -lambd) & (input <= lambd), 0.0, g)


@function(install=("F",))
def softshrink(input, lambd: float = 0.5, *, out=None) -> Tensor:
    """``input`` brought nearer to 0 by ``lambd``."""
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}.")
    return _softshrink(input, lambd, out=out)


# --- exponential ---------------------------------------------------------------------------------------------------


@pointwise(name="elu", install=(), refuse="bi")
def _elu(input, *, alpha):
    return where(input <= 0.0, alpha * expm1(input), input)


@_elu.backward
def _(g, input, alpha):
    return where(input <= 0.0, g * alpha * exp(where(input < 0.0, input, 0.0)), g)  # no second derivative at 0


@function(install=("F",))
def elu(input, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input`` where it is positive, else ``alpha * (exp(input) - 1)``."""
    return _apply(_elu, input, inplace, alpha)


@pointwise(name="selu", install=(), refuse="bi", grad_name="EluBackward0")
def _selu(input):
    return where(input <= 0.0, SELU_SCALE * SELU_ALPHA * expm1(input), SELU_SCALE * input)


@_selu.backward
def _(g, input):
    return where(input <= 0.0, g * (SELU_SCALE * SELU_ALPHA) * exp(where(input < 0.0, input, 0.0)), g * SELU_SCALE)


@function(install=("ng",))
def selu(input, inplace: bool = False) -> Tensor:
    """`elu`, scaled so that activations keep mean 0 and variance 1 (arXiv:1706.02515)."""
    return _apply(_selu, input, inplace)


method(_selu.op.inplace_entry, name="selu_")


@pointwise(name="celu", install=(), refuse="bi")
def _celu(input, *, alpha):
    return where(input <= 0.0, alpha * expm1(input / alpha), input)


@_celu.backward
def _(g, input, alpha):
    return where(input <= 0.0, g * exp(where(input < 0.0, input, 0.0) / alpha), g)


@function(install=("ng",))
def celu(input, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input`` where it is positive, else ``alpha * (exp(input / alpha) - 1)`` (arXiv:1704.07483)."""
    if alpha == 0:
        raise RuntimeError("celu: ZeroDivisionError: alpha cannot be 0 for CELU")
    return _apply(_celu, input, inplace, alpha)


@pointwise(name="silu", install=(), refuse="bi")
def _silu(input):
    return input * logistic(input)


@_silu.backward
def _(g, input):
    return g * (logistic(input) * (1.0 + input * logistic(-input)))


@function(install=("F",))
def silu(input, inplace: bool = False) -> Tensor:
    """``input * sigmoid(input)`` (arXiv:1702.03118)."""
    return _apply(_silu, input, inplace)


def _smooth_maximum(x):
    """``log(1 + exp(x))``, without overflow."""
    return maximum(x, 0.0) + log1p(exp(-fabs(x)))


@pointwise(name="mish", install=(), refuse="bi")
def _mish(input):
    return input * hyperbolic_tangent(_smooth_maximum(input))


@_mish.backward
def _(g, input):
    t = hyperbolic_tangent(_smooth_maximum(input))
    return g * (t + input * logistic(input) * (1.0 - t * t))


@_mish.backward_as_ops
def _(g, input):
    log = -log_sigmoid(-input)  # smooth at 0, which the maximum above is not
    return g * (hyperbolic_tangent(log) + input * logistic(input) * squared_secant(log))


@function(install=("F",))
def mish(input, inplace: bool = False) -> Tensor:
    """``input * tanh(softplus(input))`` (arXiv:1908.08681)."""
    return _apply(_mish, input, inplace)


@pointwise(name="softplus", install=(), refuse="bi", inplace=False)
def _softplus(input, *, beta, threshold):
    scaled = input * beta
    return where(scaled > threshold, input, log1p(exp(scaled)) / beta)


@_softplus.backward
def _(g, input, beta, threshold):
    scaled = input * beta
    # No second derivative from the threshold on.
    return where(scaled > threshold, g, g * logistic(where(scaled < threshold, scaled, threshold)))


@function(install=("F",))
def softplus(input, beta: float = 1.0, threshold: float = 20.0, *, out=None) -> Tensor:
    """``log(1 + exp(beta * input)) / beta``; ``input`` itself where ``beta * input > threshold``."""
    return _softplus(input, beta, threshold, out=out)


@pointwise(name="log_sigmoid", install=(), refuse="bi", inplace=False)
def log_sigmoid(input):
    return -_smooth_maximum(-input)


@log_sigmoid.backward
def _(g, input):
    return g * logistic(-input)


@function(install=("F",))
def logsigmoid(input, *, out=None) -> Tensor:
    """``log(sigmoid(input))``, without overflow."""
    return log_sigmoid(input, out=out)


@pointwise(name="softsign", install=(), refuse="b", result="float", inplace=False)
def _softsign(input):
    return input / (1.0 + fabs(input))


@_softsign.backward
def _(g, input):
    size = 1.0 + fabs(input)
    return g / (size * size)


@function(install=("F",))
def softsign(input) -> Tensor:
    """``input / (1 + |input|)``."""
    return _softsign(input)


@pointwise(name="tanhshrink", install=(), refuse="b", result="float", inplace=False)
def _tanhshrink(input):
    # Near 0, where the difference cancels, by the series of x cosh(x) - sinh(x): 2k x**(2k + 1) / (2k + 1)! from k = 1.
    s = where(fabs(input) < 0.75, input, 0.0)
    z = s * s
    series = 1.0 / 3991680.0 + z * (1.0 / 518918400.0 + z * (1.0 / 93405312000.0 + z / 22230464256000.0))
    series = 1.0 / 3.0 + z * (1.0 / 30.0 + z * (1.0 / 840.0 + z * (1.0 / 45360.0 + z * series)))
    return where(fabs(input) < 0.75, s * z * series / cosh(s), input - hyperbolic_tangent(input))


@_tanhshrink.backward
def _(g, input):
    t = hyperbolic_tangent(input)
    return g * (t * t)


@function(install=("F",))
def tanhshrink(input) -> Tensor:
    """``input - tanh(input)``."""
    return _tanhshrink(input)


# --- gelu ----------------------------------------------------------------------------------------------------------


_normal_cdf = pointwise_word("normal_cdf", install=(), inplace=False)


@_normal_cdf.backward
def _(g, input):
    return g * (NORMAL_DENSITY * exp(-0.5 * input * input))


@pointwise(name="gelu", install=(), refuse="bi", inplace=False)
def _gelu(input):
    return input * normal_cdf(input)


@_gelu.backward
def _(g, input):
    return g * (normal_cdf(input) + input * (NORMAL_DENSITY * exp(-0.5 * input * input)))


@pointwise(name="gelu_tanh", install=(), refuse="bi", inplace=False, grad_name="GeluBackward0")
def _gelu_tanh(input):
    # By the logistic function: 1 plus a tangent near -1 keeps no digits.
    return input * logistic(2.0 * SQRT_2_OVER_PI * (input + CUBIC * input * input * input))


@_gelu_tanh.backward
def _(g, input):
    inner = 2.0 * SQRT_2_OVER_PI * (input + CUBIC * input * input * input)
    slope = 2.0 * SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * input * input)
    return g * (logistic(inner) * (1.0 + input * logistic(-inner) * slope))


@function(install=("F",))
def gelu(input, *, approximate: str = "none", out=None) -> Tensor:
    """``input`` times the standard normal distribution function of it (arXiv:1606.08415); ``approximate="tanh"`` uses
    the tangent form."""
    if approximate == "none":
        return _gelu(input, out=out)
    if approximate == "tanh":
        return _gelu_tanh(input, out=out)
    raise RuntimeError(f"gelu: approximate argument must be either none or tanh, got {approximate!r}")


# --- gates and noise -----------------------------------------------------------------------------------------------


@pointwise(name="gate", install=(), refuse="bi", inplace=False, grad_name="GluBackward0")
def _gate(input, gate):
    return input * logistic(gate)


@_gate.backward
def _(g, input, gate):
    return g * logistic(gate), g * (input * logistic_slope(gate))


@function(install=("F",))
def glu(input, dim: int = -1) -> Tensor:
    """The first half of ``input`` along ``dim`` times the sigmoid of the second (arXiv:1612.08083)."""
    input = as_tensor_operand("glu", input, "input")
    if input._m.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    dim = normalize_axis("glu", dim, input._m.ndim)
    size = input._m.shape[dim]
    if size % 2:
        raise RuntimeError(f"glu: Halving dimension must be even, but dimension {dim} is size {size}")
    return _gate(input.narrow(dim, 0, size // 2), input.narrow(dim, size // 2, size // 2))


@function(install=("ng",))
def rrelu(
    input, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """``input`` where it is positive, else ``a * input`` with ``a`` uniform in [``lower``, ``upper``] in training and
    their mean otherwise (arXiv:1505.00853)."""
    input = as_tensor_operand("rrelu", input, "input")
    for name, value in (("lower", lower), ("upper", upper)):
        if value != value or value in (float("inf"), -float("inf")):
            raise RuntimeError(f"rrelu: {name} bound must be finite, got {value}")
    if lower > upper:
        raise RuntimeError(f"rrelu: Lower bound should be less than or equal to the upper bound, got {lower}, {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = _random_slopes(input.detach(), lower, upper)
    return input.mul_(slopes) if inplace else input * slopes


def _random_slopes(input, lower, upper):
    """1 where ``input`` is positive, else a number drawn for each element in order."""
    if input._m.device is META:
        return input
    falling = input._host() <= 0
    slopes = np.ones(falling.shape, input._m.dtype.compute)
    slopes[falling] = from_array(np.empty(int(falling.sum()))).uniform_(lower, upper).numpy()
    return from_array(input._m.dtype.encode(slopes)).to(input.device)
