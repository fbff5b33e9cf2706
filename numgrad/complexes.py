"""What the ops do with complex tensors: which take them, with which scalar function, and how their gradient is found.

Nothing of this stands in the ops themselves, and real tensors do not pay for it: the first complex tensor puts it
there. Gradients follow PyTorch: for a real loss L of z = x + iy the gradient is dL/dx + i dL/dy. For a holomorphic
function it is ``g * conj(f'(z))``, which the gradient for reals gives between two conjugations.
"""

import functools
import itertools
import math
import types

from . import dtypes
from .detours import divert
from .errors import no_complex_form
from .kernels.vmath_complex import fabs, quotient, reciprocal, sgn
from .kernels.vocab import cos, exp, log1p, sin, tanh, where
from .names import behind
from .op import ENTRIES, FOLLOWERS, OPS
from .rowwise import Rowwise
from .structured import Structured
from .tensor import Tensor

# Pointwise ops whose scalar function is the same one for complex numbers.
_SAME = (
    "add", "sub", "rsub", "mul", "addcmul", "minor", "lerp", "neg", "square", "cube", "pow", "square_root", "eq", "ne", "where",
    "isnan", "isinf", "isfinite", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sigmoid", "sin", "hyperbolic_tangent",
    "masked_fill", "logical_and", "logical_or", "logical_xor", "logical_not", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
)  # fmt: skip
_LN_2, _PI = math.log(2.0), math.pi
_SUMS = ("sum", "mean", "product")
# Ops with kernels of their own that only move or add elements, and views' gradients.
_MOVES = {
    "contiguous_copy", "clone", "to_dtype", "_copy_into", "strided_scatter", "as_strided_gradient", "slice_gradient",
    "slices_along_gradient", "diagonal_gradient", "spread", "read_back", "cleared", "gather", "index_select", "take",
    "index_add", "index_copy", "index_fill", "put", "embedding", "_embedding_gradient", "flip", "roll", "triangle", "cumsum", "cumprod", "prod",
    "apply_mask", "constant_pad_nd", "bordered", "border_folded", "masked_select", "masked_scatter", "scatter", "scatter_add", "scatter_read",
    "windows", "overlapped", "index", "index_put", "_sliced_gradient", "scatter_reduce", "pixels_dealt", "channels_dealt",
}  # fmt: skip
_PRODUCTS = {"matrix_product", "linear"}
_CONVOLUTIONS = {"convolution", "conv_input_grad", "conv_weight_grad"}
# Composites that order numbers or read memory themselves.
_COMPOSITE = (
    "sort", "argsort", "topk", "kthvalue", "median", "nanmedian", "mode", "unique", "unique_consecutive", "bincount",
    "histc", "histogram", "searchsorted", "bucketize", "argmax", "argmin", "max", "min", "aminmax", "amax", "amin",
    "cummax", "cummin", "quantile", "nanquantile", "clamp", "multinomial", "bernoulli_", "index_reduce_",
    "max_pool1d", "max_pool2d", "max_pool3d", "floor_divide", "remainder",
)  # fmt: skip


# --- scalar functions ------------------------------------------------------------------------------------------------


def _divided(input, other):
    return quotient(input, other)


def _dividing(input, other):
    return quotient(other, input)


def _reciprocal(input):
    return reciprocal(input)


def _reciprocal_square(input):
    return reciprocal(input * input)


def _added_quotient(input, tensor1, tensor2, value):
    return input + value * quotient(tensor1, tensor2)


def _absolute(input):
    return fabs(input)


def _sign(input):
    return sgn(input)


def _error(input, target):
    return fabs(input - target)


def _log_of_sum(input, other):
    # From the one with the larger real part, so that nothing overflows.
    larger, smaller = where(input.real < other.real, other, input), where(input.real < other.real, input, other)
    return where(input == other, input + _LN_2, larger + log1p(exp(smaller - larger)))


def _cardinal_sine(input):
    angle = _PI * input
    return where(input == 0.0, 1.0, quotient(sin(angle), angle))


def _cardinal_slope(input):
    angle = _PI * input
    near = fabs(input) < 0.25
    z = where(near, angle * angle, 0.0)
    series = 1.0 / 45360.0 - z * (1.0 / 3991680.0 - z * (1.0 / 518918400.0 - z / 93405312000.0))
    series = 1.0 / 3.0 - z * (1.0 / 30.0 - z * (1.0 / 840.0 - z * series))
    return where(near, -_PI * angle * series, quotient(angle * cos(angle) - sin(angle), angle * input))


def _shrunk(input):
    return input - tanh(input)


def _signed_share(input):
    return quotient(input, 1.0 + fabs(input))


def _average(total, count):
    return complex(total.real / count, total.imag / count)


# --- gradients -------------------------------------------------------------------------------------------------------


def _holomorphic(gradient, g, *saved):
    conj = ENTRIES["conj"]
    found = gradient(conj(g), *saved)
    found = found if isinstance(found, tuple) else (found,)
    return tuple(conj(value) if isinstance(value, Tensor) else value for value in found)


def _of_power(gradient, g, input, exponent, out):
    def parts(g, input, exponent, out):
        by_base = g * (exponent * ENTRIES["pow"](input, exponent - 1.0))
        if isinstance(exponent, Tensor):
            by_base = where(exponent == 0.0, 0.0, by_base)
            real = ENTRIES["real"](exponent)
        else:
            by_base = by_base if exponent else by_base * 0.0
            real = exponent
        if not isinstance(input, Tensor):  # a number as the base
            input = ENTRIES["full_like"](out, input)
        elif not input._m.dtype.is_complex:
            input = ENTRIES["to_dtype"](input, out._m.dtype)  # the logarithm of a negative number is complex
        return by_base, g * where((input == 0.0) & (real >= 0.0), 0.0, out * input.log())

    return _holomorphic(parts, g, input, exponent, out)


def _of_magnitude(gradient, g, input):
    return g * ENTRIES["sgn"](input)


def _of_acosh(gradient, g, input):
    # Two roots: the root of the product is on another branch where the real part is negative.
    rsqrt = ENTRIES["rsqrt"]
    return g * ENTRIES["conj"](rsqrt(input - 1.0) * rsqrt(input + 1.0))


def _of_sign(gradient, g, input):
    # The part of g along z is lost: |sgn(z)| is 1.
    size = input.abs()
    unit = ENTRIES["sgn"](input)
    along = ENTRIES["real"](unit.conj() * g)
    return where(size == 0.0, 0.0, (g - unit * along) / where(size == 0.0, 1.0, size))


def _of_error(gradient, g, input, target):
    slope = g * ENTRIES["sgn"](input - target)
    return slope, -slope


def _of_log_of_sum(gradient, g, input, other):
    def parts(g, input, other):
        return g * ENTRIES["sigmoid"](input - other), g * ENTRIES["sigmoid"](other - input)

    return _holomorphic(parts, g, input, other)


def _of_signed_share(gradient, g, input):
    # z / (1 + |z|): the size changes along z only.
    share = 1.0 / (1.0 + input.abs())
    return g * share - ENTRIES["sgn"](input) * ENTRIES["real"](ENTRIES["conj"](g) * input) * (share * share)


# --- ops with kernels of their own -----------------------------------------------------------------------------------


def has_complex(values) -> bool:
    """Whether a Tensor among the values, also in lists and tuples, is complex."""
    for value in values:
        if isinstance(value, Tensor):
            if value._m.dtype.is_complex:
                return True
        elif type(value) in (list, tuple) and has_complex(value):
            return True
    return False


def _refused(original, args, kwargs, name=None):
    if has_complex(args) or has_complex(kwargs.values()):
        raise no_complex_form(name or original.__name__)
    return original(*args, **kwargs)


def _product(original, args, kwargs):
    if not has_complex(args) and not has_complex(kwargs.values()):
        return original(*args, **kwargs)
    return ENTRIES[f"complex_{original.__name__}"](*args, **kwargs)


def _convolved(original, first, second, *settings, bias=None, **named):
    """A convolution or one of its gradients, which are linear in two operands: real ones of the parts."""
    if not has_complex((first, second)):
        return original(first, second, *settings, **named, **({} if bias is None else {"bias": bias}))
    if original.__name__ == "convolution" and len(settings) > 6:
        *settings, bias = settings
    a, b, c, d = (ENTRIES[part](tensor) for tensor in (first, second) for part in ("real", "imag"))
    real = original(a, c, *settings, **named) - original(b, d, *settings, **named)
    found = ENTRIES["complex"](real, original(a, d, *settings, **named) + original(b, c, *settings, **named))
    return found if bias is None else found + bias.reshape(-1, *(1,) * (found._m.ndim - 2))


def _convolution(original, args, kwargs):
    by_name = [kwargs.pop(name) for name in original.op.inputs[len(args) : 2]]
    return _convolved(original, *args, *by_name, **kwargs)


def _of_both_parts(original, args, kwargs):
    """A variance: the sum of those of the parts."""
    input, *rest = args
    if not input._m.dtype.is_complex:
        return original(*args, **kwargs)
    real, imag = (original(ENTRIES[part](input), *rest, **kwargs) for part in ("real", "imag"))
    if original.__name__.endswith("_mean"):
        (real, real_mean), (imag, imag_mean) = real, imag
        mean = ENTRIES["complex"](real_mean, imag_mean)
        return (real + imag if original.__name__ == "var_mean" else (real * real + imag * imag).sqrt()), mean
    return real + imag if original.__name__ == "var" else (real * real + imag * imag).sqrt()


def _as_pairs(original, args, kwargs):
    """Functions that take every part as a number of its own."""
    input, *rest = args
    if not isinstance(input, Tensor) or not input._m.dtype.is_complex:
        return original(*args, **kwargs)
    out = kwargs.pop("out", None)
    found = original(ENTRIES["view_as_real"](input), *rest, **kwargs)
    if original.__name__.endswith("_"):
        return input
    found = ENTRIES["view_as_complex"](found)
    return found if out is None else ENTRIES["write_out"](original.__name__, found, out)


def _log_of_sums(original, args, kwargs):
    """`logsumexp`, from the largest real part."""

    def complex_or_real(input, dim, keepdim=False, *, out=None):
        if not input._m.dtype.is_complex:
            return original(input, dim, keepdim, out=out)
        top = ENTRIES["amax"](ENTRIES["real"](input).detach(), dim, True)
        top = top.masked_fill(top.isinf(), 0.0)
        found = (input - top).exp().sum(dim, keepdim).log() + (top if keepdim else top.sum(dim))
        return found if out is None else ENTRIES["write_out"]("logsumexp", found, out)

    return complex_or_real(*args, **kwargs)


def _logs_of_sums(original, args, kwargs):
    """`logcumsumexp`, slice after slice."""

    def complex_or_real(input, dim, *, out=None):
        if not input._m.dtype.is_complex:
            return original(input, dim, out=out)
        slices = ENTRIES["unbind"](input, dim) if input._m.ndim else ()
        sums = list(itertools.accumulate(slices, ENTRIES["logaddexp"]))
        found = ENTRIES["stack"](sums, dim) if sums else input.clone()
        return found if out is None else ENTRIES["write_out"]("logcumsumexp", found, out)

    return complex_or_real(*args, **kwargs)


def _parts_filled(original, args, kwargs):
    """Random numbers: of the parts, which share the variance."""
    target, *rest = args
    if not target._m.dtype.is_complex:
        return original(*args, **kwargs)
    if original.__name__ == "uniform_":
        original(ENTRIES["view_as_real"](target), *rest, **kwargs)
        return target
    names = dict(zip(("mean", "std"), rest)) | kwargs
    mean, std = names.pop("mean", 0.0), names.pop("std", 1.0)
    original(ENTRIES["view_as_real"](target), 0.0, std * math.sqrt(0.5), **names)
    return target.add_(mean)


def _between_conjugations(gradient):
    def complex_or_real(g, *saved):
        return _holomorphic(gradient, g, *saved) if g._m.dtype.is_complex else gradient(g, *saved)

    return complex_or_real


def _divert_op(op):
    if isinstance(op, Structured) and (op.kind == "view" or op.takes_complex or op.name in _KNOWN):
        return
    if isinstance(op, (Rowwise, Structured)):
        around = _product if op.name in _PRODUCTS else _convolution if op.name in _CONVOLUTIONS else _refused
        divert(op.entry, around)


def prepare() -> None:
    """Let the ops know of complex tensors; done once, for good."""
    for name in _SAME:
        OPS[name].complex_fn, OPS[name].complex_gradient = OPS[name].fn, _holomorphic
    for name, fn in {
        "div": _divided, "rdiv": _dividing, "reciprocal": _reciprocal, "inverse_power": _reciprocal,
        "reciprocal_square": _reciprocal_square, "addcdiv": _added_quotient, "sinc": _cardinal_sine,
        "sinc_slope": _cardinal_slope, "tanhshrink": _shrunk,
    }.items():  # fmt: skip
        OPS[name].complex_fn, OPS[name].complex_gradient = fn, _holomorphic
    OPS["pow"].complex_gradient, OPS["acosh"].complex_gradient = _of_power, _of_acosh
    OPS["abs"].complex_fn, OPS["abs"].complex_gradient, OPS["abs"].complex_to_real = _absolute, _of_magnitude, True
    OPS["sgn"].complex_fn, OPS["sgn"].complex_gradient = _sign, _of_sign
    for name, fn, gradient in (
        ("absolute_error", _error, _of_error), ("logaddexp", _log_of_sum, _of_log_of_sum),
        ("softsign", _signed_share, _of_signed_share),
    ):  # fmt: skip
        OPS[name].complex_fn, OPS[name].complex_gradient = fn, gradient
    OPS["absolute_error"].complex_to_real = True
    for name in _SUMS:
        OPS[name].takes_complex = True
    OPS["mean"].complex_finish = _average
    for name in ("prod", "cumprod", "scatter_reduce"):
        OPS[name].gradient = _between_conjugations(OPS[name].gradient)
    for op in list(OPS.values()):
        _divert_op(op)
    FOLLOWERS.append(_divert_op)  # ops that are defined from now on
    for name in _COMPOSITE:
        for entry in {ENTRIES.get(name), behind(getattr(Tensor, name, None))}:
            if isinstance(entry, types.FunctionType) and not hasattr(entry, "op"):
                divert(entry, functools.partial(_refused, name=name))
    for names, around in (
        (("var", "std", "var_mean", "std_mean"), _of_both_parts), (("normal_", "uniform_"), _parts_filled),
        (("nan_to_num", "nan_to_num_"), _as_pairs), (("logsumexp",), _log_of_sums), (("logcumsumexp",), _logs_of_sums),
    ):  # fmt: skip
        for name in names:
            divert(ENTRIES[name], around)


_KNOWN = _MOVES | {"view_as_real", "view_as_complex", "complex_matrix_product", "fft_c2c", "fft_r2c", "fft_c2r"}
dtypes.complex64.unprepared.append(prepare)
