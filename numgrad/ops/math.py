"""Elementary functions: exponentials, trigonometry, rounding, error and gamma functions."""

import numpy as np

from ..kernels.vocab import fabs, isfinite, where
from ..op import function, method
from ..pointwise import pointwise, pointwise_word
from ..tensor import Tensor


def _scipy(name):
    """A SciPy reference, imported when a test calls it."""

    def reference(*arguments):
        import scipy.special

        return getattr(scipy.special, name)(*arguments)

    return reference


def _word(word, doc, reference=None, domain=(-3.0, 3.0), **options):
    return pointwise_word(
        word, doc=doc, module=__name__, result="float", domain=domain, reference=reference or getattr(np, word),
        **options,
    )  # fmt: skip


LN_2, LN_10, PI = 0.6931471805599453, 2.302585092994046, 3.141592653589793
TWO_OVER_SQRT_PI, HALF_SQRT_PI = 1.1283791670955126, 0.886226925452758
SQRT_HALF, NORMAL_DENSITY = 0.7071067811865476, 0.3989422804014327
INF, NAN = float("inf"), float("nan")
_INNER = {"install": (), "inplace": False}

# --- exponentials and logarithms -----------------------------------------------------------------------------------

exp = _word("exp", "e to the power of ``input``.")
exp2 = _word("exp2", "2 to the power of ``input``.")
expm1 = _word("expm1", "``exp(input) - 1``, accurate near 0.")
log = _word("log", "The natural logarithm.", domain=(0.1, 3.0))
log2 = _word("log2", "The logarithm to base 2.", domain=(0.1, 3.0))
log10 = _word("log10", "The logarithm to base 10.", domain=(0.1, 3.0))
log1p = _word("log1p", "``log(1 + input)``, accurate near 0.", domain=(-0.9, 3.0))
sqrt = _word("sqrt", "The square root.", domain=(0.1, 3.0))
rsqrt = _word("rsqrt", "``1 / sqrt(input)``.", lambda x: 1 / np.sqrt(x), domain=(0.1, 3.0))


@exp.backward
def _(g, out):
    return g * out


@exp2.backward
def _(g, out):
    return g * (out * LN_2)


@expm1.backward
def _(g, input):
    return g * exp(input)  # of the result -1 + 1 would be left far below 0


@log.backward
def _(g, input):
    return g / input


@log2.backward
def _(g, input):
    return g / (input * LN_2)


@log10.backward
def _(g, input):
    return g / (input * LN_10)


@log1p.backward
def _(g, input):
    return g / (input + 1.0)


@sqrt.backward
def _(g, out):
    return g / (out * 2.0)


@rsqrt.backward
def _(g, out):
    return g * (-0.5 * (out * out * out))


@pointwise(reference=np.logaddexp, refuse="bi", numbers_from=2)
def logaddexp(input, other):
    """``log(exp(input) + exp(other))``, without overflow on the way."""
    gap = where(input == other, 0.0, fabs(input - other))
    return where(input < other, other, input) + log1p(exp(-gap))


def _gap(input, other):
    """``input - other``, 0 for equal infinities."""
    alike = (input == other) & (fabs(input) == INF)
    return where(alike, 0.0, where(alike, 0.0, input) - where(alike, 0.0, other))


@logaddexp.backward
def _(g, input, other):
    gap = _gap(input, other)
    return g * logistic(gap), g * logistic(-gap)


@pointwise(reference=np.logaddexp2, refuse="bi", numbers_from=2)
def logaddexp2(input, other):
    """``log2(2**input + 2**other)``, without overflow on the way."""
    gap = where(input == other, 0.0, fabs(input - other))
    return where(input < other, other, input) + log1p(exp2(-gap)) / LN_2


@logaddexp2.backward
def _(g, input, other):
    gap = _gap(input, other) * LN_2
    return g * logistic(gap), g * logistic(-gap)


@pointwise(reference=_scipy("xlogy"), domain=(0.1, 3.0), result="float")
def xlogy(input, other):
    """``input * log(other)``; 0 where ``input`` is 0, unless ``other`` is NaN."""
    return where((input == 0.0) & (other == other), 0.0, input * log(other))


@xlogy.backward
def _(g, input, other):
    return g * where((input == 0.0) & (other <= 0.0), 0.0, log(other)), g * (input / other)


@pointwise(reference=_scipy("xlog1py"), domain=(0.1, 3.0), result="float", install=("special",), inplace=False,
           grad_name="SpecialXlog1PyBackward0")  # fmt: skip
def xlog1py(input, other):
    """``input * log(1 + other)``; 0 where ``input`` is 0, unless ``other`` is NaN."""
    return where((input == 0.0) & (other == other), 0.0, input * log1p(other))


@xlog1py.backward
def _(g, input, other):
    return g * where((input == 0.0) & (other <= -1.0), 0.0, log1p(other)), g * (input / (other + 1.0))


@pointwise(reference=_scipy("entr"), domain=(0.1, 3.0), result="float", install=("special",), inplace=False,
           grad_name="SpecialEntrBackward0")  # fmt: skip
def entr(input):
    """``-input * log(input)``; 0 at 0, -inf below."""
    return where(input > 0.0, -input * log(input), where(input == 0.0, 0.0, where(input < 0.0, -INF, input)))



@entr.backward
def _(g, input):
    return g * (-log(input) - 1.0)


# --- trigonometric and hyperbolic functions ------------------------------------------------------------------------

sin = _word("sin", "The sine.")
cos = _word("cos", "The cosine.")
tan = _word("tan", "The tangent.", domain=(-1.3, 1.3))
asin = _word("asin", "The inverse sine.", np.arcsin, domain=(-0.95, 0.95))
acos = _word("acos", "The inverse cosine.", np.arccos, domain=(-0.95, 0.95))
atan = _word("atan", "The inverse tangent.", np.arctan)
sinh = _word("sinh", "The hyperbolic sine.")
cosh = _word("cosh", "The hyperbolic cosine.")
tanh = _word("tanh", "The hyperbolic tangent.")
asinh = _word("asinh", "The inverse hyperbolic sine.", np.arcsinh)
acosh = _word("acosh", "The inverse hyperbolic cosine.", np.arccosh, domain=(1.1, 3.0))
atanh = _word("atanh", "The inverse hyperbolic tangent.", np.arctanh, domain=(-0.9, 0.9))
atan2 = _word("atan2", "The angle of the point (``other``, ``input``).", np.arctan2, domain=(0.1, 3.0), numbers_from=2)


@sin.backward
def _(g, input):
    return g * cos(input)


@cos.backward
def _(g, input):
    return g * -sin(input)


@tan.backward
def _(g, out):
    return g * (1.0 + out * out)


@asin.backward
def _(g, input):
    return g * rsqrt(1.0 - input * input)


@acos.backward
def _(g, input):
    return g * -rsqrt(1.0 - input * input)


@atan.backward
def _(g, input):
    return g / (input * input + 1.0)


@sinh.backward
def _(g, input):
    return g * cosh(input)


@cosh.backward
def _(g, input):
    return g * sinh(input)


@tanh.backward
def _(g, out):
    return g * (1.0 - out * out)


@asinh.backward
def _(g, input):
    return g * rsqrt(input * input + 1.0)


@acosh.backward
def _(g, input):
    return g * rsqrt(input * input - 1.0)


@atanh.backward
def _(g, input):
    return g / (1.0 - input * input)


@atan2.backward
def _(g, input, other):
    square = input * input + other * other
    scale = g * where(square == 0.0, 0.0, 1.0 / square)
    return scale * other, scale * -input


@pointwise(reference=np.sinc, result="float", differs=True)  # NaN at infinities
def sinc(input):
    """``sin(pi * input) / (pi * input)``, 1 at 0."""
    angle = PI * input
    return where(input == 0.0, 1.0, sin(angle) / angle)


@pointwise(install=(), name="sinc_slope", result="float", inplace=False)
def _sinc_slope(input):
    """The derivative of `sinc`; near 0, where its two terms cancel, by its series."""
    angle = PI * input
    near = fabs(input) < 0.25
    s = where(near, angle, 0.0)
    z = s * s
    series = 1.0 / 3991680.0 - z * (1.0 / 518918400.0 - z * (1.0 / 93405312000.0 - z / 22230464256000.0))
    series = 1.0 / 3.0 - z * (1.0 / 30.0 - z * (1.0 / 840.0 - z * (1.0 / 45360.0 - z * series)))
    far = where(near, 1.0, input)
    return where(near, -PI * s * series, (angle * cos(angle) - sin(angle)) / (angle * far))


@sinc.backward
def _(g, input):
    return g * _sinc_slope(input)


@_sinc_slope.backward
def _(g, input, out):
    over = out / where(input == 0.0, 1.0, input)
    return g * (-PI * PI * sinc(input) - 2.0 * where(input == 0.0, -PI * PI / 3.0, over))


DEGREES, RADIANS = 180.0 / PI, PI / 180.0


@pointwise(reference=np.deg2rad, result="float")
def deg2rad(input):
    """Degrees as radians."""
    return input * RADIANS


@deg2rad.backward
def _(g):
    return g * RADIANS


@pointwise(reference=np.rad2deg, result="float")
def rad2deg(input):
    """Radians as degrees."""
    return input * DEGREES


@rad2deg.backward
def _(g):
    return g * DEGREES


# --- rounding ------------------------------------------------------------------------------------------------------


def _rounding(word, doc, reference, **options):
    entry = pointwise_word(word, doc=doc, module=__name__, reference=reference, refuse="b", exact_out=True, **options)
    entry.for_integers(_unchanged)
    entry.backward(_no_slope)
    return entry


def _unchanged(input):
    return input


def _no_slope(g):
    return g * 0.0


floor = _rounding("floor", "The largest whole number not above ``input``.", np.floor)
ceil = _rounding("ceil", "The smallest whole number not below ``input``.", np.ceil)
trunc = _rounding("trunc", "``input`` without its fraction.", np.trunc)
_round = _rounding("round", "The nearest whole number, halves to the even one.", np.round, install=())


@pointwise(install=(), name="round_decimals", refuse="bi", grad_name="RoundBackward1")
def _round_decimals(input, *, scale):
    """``input`` rounded to multiples of ``1 / scale``."""
    return _round(input * scale) / scale


@_round_decimals.backward
def _(g):
    return g * 0.0


@pointwise(install=(), name="round_tens", refuse="bi")
def _round_tens(input, *, scale):
    """``input`` rounded to multiples of ``scale``."""
    return _round(input / scale) * scale


@_round_tens.backward
def _(g):
    return g * 0.0


def _rounded(decimals):
    """The op that rounds, and its attributes."""
    if decimals == 0:
        return _round, ()
    return (_round_decimals if decimals > 0 else _round_tens), (10.0 ** abs(decimals),)


@function(name="round")
def round_(input, *, decimals: int = 0, out=None) -> Tensor:
    """The nearest number with so many ``decimals``, halves to the even one."""
    entry, attributes = _rounded(decimals)
    return entry(input, *attributes) if out is None else entry(input, *attributes, out=out)


@method(name="round_")
def _round_in_place(self, *, decimals: int = 0) -> Tensor:
    """In-place version of `round`."""
    entry, attributes = _rounded(decimals)
    return entry.op.inplace_entry(self, *attributes)


@pointwise(reference=lambda x: x - np.trunc(x), refuse="bi", exact_out=True)
def frac(input):
    """The fraction, of the sign of ``input``."""
    return input - trunc(input)


@frac.backward
def _(g):
    return g


# --- logistic, error and gamma functions -----------------------------------------------------------------------------

sigmoid = _word("sigmoid", "``1 / (1 + exp(-input))``.", _scipy("expit"))
erf = _word("erf", "The error function.", _scipy("erf"))
erfc = _word("erfc", "``1 - erf(input)``, accurate for large ``input``.", _scipy("erfc"))
erfinv = _word("erfinv", "The inverse of the error function.", _scipy("erfinv"), domain=(-0.95, 0.95))
lgamma = _word(
    "lgamma", "The logarithm of the gamma function's magnitude.", _scipy("gammaln"), domain=(0.1, 3.0), differs=True
)
digamma = _word("digamma", "The derivative of `lgamma`.", _scipy("digamma"), domain=(0.1, 3.0))


@sigmoid.backward
def _(g, out):
    return g * (1.0 - out) * out


# What gradients are made of. The derivatives of `sigmoid` and `tanh` are taken from their results, 1 minus which has no
# digits left where they are near 1; those of the same functions here are taken from the input and keep theirs.

logistic = _word("sigmoid", "`sigmoid`, with a derivative from the input.", _scipy("expit"), name="logistic", **_INNER)
hyperbolic_tangent = _word("tanh", "`tanh`, with a derivative from the input.", name="hyperbolic_tangent", **_INNER)


@pointwise(result="float", name="logistic_slope", **_INNER)
def logistic_slope(input):
    """The derivative of the logistic function."""
    decay = exp(-fabs(input))
    return decay / ((1.0 + decay) * (1.0 + decay))


@logistic.backward
def _(g, input):
    return g * logistic_slope(input)


@pointwise(result="float", name="squared_secant", **_INNER)
def squared_secant(input):
    """The derivative of the hyperbolic tangent, ``1 / cosh(input)**2``."""
    decay = exp(-2.0 * fabs(input))
    return 4.0 * decay / ((1.0 + decay) * (1.0 + decay))


@hyperbolic_tangent.backward
def _(g, input):
    return g * squared_secant(input)


@logistic_slope.backward
def _(g, input, out):
    return g * (-out * hyperbolic_tangent(0.5 * input))


@squared_secant.backward
def _(g, input, out):
    return g * (-2.0 * out * hyperbolic_tangent(input))


@erf.backward
def _(g, input):
    return g * (TWO_OVER_SQRT_PI * exp(-(input * input)))


@erfc.backward
def _(g, input):
    return g * (-TWO_OVER_SQRT_PI * exp(-(input * input)))


@erfinv.backward
def _(g, out):
    return g * (HALF_SQRT_PI * exp(out * out))


@lgamma.backward
def _(g, input):
    return g * digamma(input)


@pointwise(result="float", install=(), name="logit", domain=(0.1, 0.9))
def _logit(input, *, low, high):
    """``log(input / (1 - input))`` of ``input`` brought into [``low``, ``high``]."""
    p = where(input < low, low, where(input > high, high, input))
    return log(p / (1.0 - p))


@_logit.backward
def _(g, input, low, high):
    # Without bounds (low is -inf) NaN outside [0, 1]; with bounds no slope beyond them.
    slope = 1.0 / (input * (1.0 - input))
    inside = (input >= where(low < 0.0, 0.0, low)) & (input <= where(low < 0.0, 1.0, high))
    outside = isfinite(input) & ((input < 0.0) | (input > 1.0))
    return where((low < 0.0) & outside, NAN, g * where(inside, slope, 0.0))



def _limits(eps):
    return (-INF, INF) if eps is None else (float(eps), 1.0 - float(eps))


@function
def logit(input, eps: float | None = None, *, out=None) -> Tensor:
    """``log(input / (1 - input))``; with ``eps``, of ``input`` brought into [``eps``, ``1 - eps``]."""
    return _logit(input, *_limits(eps), out=out)


@method
def logit_(self, eps: float | None = None) -> Tensor:
    """In-place version of `logit`."""
    return _logit.op.inplace_entry(self, *_limits(eps))


@pointwise(reference=_scipy("ndtr"), result="float", install=("special",), inplace=False)
def ndtr(input):
    """The distribution function of the standard normal distribution."""
    return erfc(-input * SQRT_HALF) * 0.5



@ndtr.backward
def _(g, input):
    return g * (NORMAL_DENSITY * exp(-0.5 * input * input))


# --- other names ---------------------------------------------------------------------------------------------------

for _name, _entry in {
    "arcsin": asin, "arccos": acos, "arctan": atan, "arcsinh": asinh, "arccosh": acosh, "arctanh": atanh,
    "arctan2": atan2, "fix": trunc,
}.items():  # fmt: skip
    function(_entry, name=_name)
    method(_entry.op.inplace_entry, name=f"{_name}_")
