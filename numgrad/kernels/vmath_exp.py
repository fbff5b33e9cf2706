"""Exponentials, logarithms and powers, and what is one step from them: sigmoid and the hyperbolic functions.

exp: x = n ln 2 + r with n whole, |r| <= ln(2) / 2; a polynomial gives e**r - 1, the exponent field 2**n.
log: x = 2**e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); a series gives log(1 + f) - f.
The polynomials are minimax fits (Remez exchange) weighted for the relative error of the result.
"""

import math

import numpy as np
from numba import types

from .jit import scalar
from .vmath_llvm import (
    bits,
    by_type,
    by_width,
    exponent_field,
    from_bits,
    halved,
    implements,
    like,
    minus,
    plus,
    polynomial,
    power_of_two,
    select,
    without_mantissa,
    word,
)
from .vmath_plain import copysign, fabs, fma, isnan, sqrt, trunc

LN2, LOG2_E, LOG10_E, SQRT_HALF = 0.6931471805599453, 1.4426950408889634, 0.4342944819032518, 0.7071067811865476
# What the rounding of a constant to each type left out.
LOG2_E_REST_F32, LOG2_E_REST_F64 = 1.925963033500011e-08, 2.0355273740931033e-17
LOG10_E_REST_F32, LOG10_E_REST_F64 = -1.0103049952192578e-08, 1.098319650216765e-17

# ln 2 and log10(2) in two parts: the first is short, so that its products with a whole n are exact.
LN2_HIGH_F32, LN2_LOW_F32 = 0.693145751953125, 1.428606765330187e-06
LN2_HIGH_F64, LN2_LOW_F64 = 0.6931471805598903, 5.497923018708371e-14
LOG10_2_HIGH_F32, LOG10_2_LOW_F32 = 0.301025390625, 4.605039066518657e-06
LOG10_2_HIGH_F64, LOG10_2_LOW_F64 = 0.30102999566395283, 2.8363394551044964e-14

# Adding 1.5 * 2**23 (2**52) rounds to a whole number and leaves it in the low bits of the sum. The bias of the
# exponent rides along: once for results that one factor 2**n reaches, twice for those that need two factors.
ROUND_F32, ROUND_F64 = 1.5 * 2.0**23, 1.5 * 2.0**52
BIAS_F32, BIAS_F64 = 127.0, 1023.0

EXP_F32 = (0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.008368716575205326, 0.001381459878757596)
EXP_F64 = (
    0.5000000000000011, 0.16666666666666413, 0.041666666666530155, 0.008333333333494465, 0.0013888888943630186,
    0.00019841269506569594, 2.4801493098826804e-05, 2.7557586382438507e-06, 2.7630248408046195e-07,
    2.5000058756927423e-08,
)  # fmt: skip
LOG_F32 = (
    0.3333331346511841, -0.25000008940696716, 0.2000211924314499, -0.1666799634695053, 0.14219553768634796,
    -0.1240558922290802, 0.11888156086206436, -0.11675646901130676, 0.06746647506952286,
)  # fmt: skip
LOG_F64 = (
    0.6666666666666734, 0.3999999999941468, 0.28571428742387517, 0.2222219857319445, 0.18183564325634,
    0.15314050563943554, 0.14795949586981375,
)  # fmt: skip
LOG_F64_SHORT = (0.6666666564545604, 0.4000033519092634, 0.28537308540345324, 0.23582151323731568)


# --- exp -------------------------------------------------------------------------------------------------------


@scalar
def _exp_series_f32(r):
    return fma(r * r, polynomial(r, EXP_F32), r)


@scalar
def _exp_series_f64(r):
    return fma(r * r, polynomial(r, EXP_F64), r)


_exp_series = by_type(_exp_series_f32, _exp_series_f64)  # e**r - 1 for |r| <= ln(2) / 2


@scalar
def exp_reduced(x, biases):
    """``(p, u)`` with e**x = (1 + p) 2**(n) and u an integer whose low bits are n plus ``biases`` biases."""
    shift = by_width(x, ROUND_F32, ROUND_F64) + by_width(x, BIAS_F32, BIAS_F64) * like(x, biases)
    t = fma(x, like(x, LOG2_E), shift)
    n = t - shift
    r = fma(n, by_width(x, -LN2_HIGH_F32, -LN2_HIGH_F64), x)
    r = fma(n, by_width(x, -LN2_LOW_F32, -LN2_LOW_F64), r)
    return _exp_series(r), bits(t)


@scalar
def two_powers(u):
    """Two factors whose product is 2**n, for ``u`` that carries two biases: n may leave the exponent's range."""
    half = halved(u)
    return power_of_two(half), power_of_two(minus(u, half))


@scalar
def _clamped(x, low, high):
    # In this order a NaN goes through.
    x = select(x > high, high, x)
    return select(x < low, low, x)


@scalar
def exp_parts(x):
    """``(p, s, t)`` with e**x = (1 + p) s t; x beyond the range of exp gives inf or 0."""
    x = _clamped(x, by_width(x, -104.5, -746.0), by_width(x, 90.0, 712.0))
    p, u = exp_reduced(x, 2.0)
    s, t = two_powers(u)
    return p, s, t


@scalar
def exp_bounded(x):
    """e**x where neither x nor -x leaves the normal range; above it inf, below the smallest normal number."""
    x = _clamped(x, by_width(x, -87.0, -708.0), by_width(x, 88.8, 709.9))
    p, u = exp_reduced(x, 1.0)
    return (like(x, 1.0) + p) * power_of_two(u)


@word
def exp(x):
    """e**x."""
    return np.exp(x)


@implements(exp)
def _exp(x):
    p, s, t = exp_parts(x)
    return fma(p, s, s) * t


@word
def exp2(x):
    """2**x."""
    return np.exp2(x)


@implements(exp2)
def _exp2(x):
    x = _clamped(x, by_width(x, -151.0, -1076.0), by_width(x, 129.0, 1025.0))
    shift = by_width(x, ROUND_F32, ROUND_F64) + by_width(x, 2.0 * BIAS_F32, 2.0 * BIAS_F64)
    t = x + shift
    p = _exp_series((x - (t - shift)) * like(x, LN2))
    s, t = two_powers(bits(t))
    return fma(p, s, s) * t


@scalar
def _expm1_parts(x):
    """``(h, t)`` with e**x - 1 = h t. The product is the caller's: it may overflow where h t / 2 does not."""
    p, s, t = exp_parts(select(x < like(x, -40.0), like(x, -40.0), x))
    # 1 / t by mirroring the exponent of the power of two.
    inverse = from_bits(minus(bits(by_width(x, 2.0**127, 2.0**1023)), bits(t)))
    return fma(p, s, s - inverse), t


@word
def expm1(x):
    """e**x - 1, accurate near 0."""
    return np.expm1(x)


@implements(expm1)
def _expm1(x):
    h, t = _expm1_parts(x)
    return copysign(h * t, x)  # the sum inside turns -0 into +0


@word
def sigmoid(x):
    """1 / (1 + e**-x)."""
    return type(x)(1) / (type(x)(1) + np.exp(-x))


@implements(sigmoid)
def _sigmoid(x):
    return like(x, 1.0) / (like(x, 1.0) + exp_bounded(-x))


# --- hyperbolic functions --------------------------------------------------------------------------------------


@word
def tanh(x):
    """The hyperbolic tangent."""
    return np.tanh(x)


@implements(tanh)
def _tanh(x):
    # With e = e**2|x| - 1: tanh |x| = e / (e + 2). Beyond 20 the quotient is 1 in either type.
    a = fabs(x)
    a = select(a > like(x, 20.0), like(x, 20.0), a)
    p, u = exp_reduced(a + a, 1.0)
    s = power_of_two(u)
    e = fma(p, s, s - like(x, 1.0))
    return copysign(e / (e + like(x, 2.0)), x)


@word
def sinh(x):
    """The hyperbolic sine."""
    return np.sinh(x)


@implements(sinh)
def _sinh(x):
    # With w = (e**|x| - 1) / 2, which overflows only where sinh does: sinh |x| = w + w / (2 w + 1).
    a = fabs(x)
    h, t = _expm1_parts(a)
    w = h * (t * like(x, 0.5))
    result = select(w > like(x, 2.0**60), w, w + w / (w + w + like(x, 1.0)))
    return copysign(select(a < by_width(x, 2.0**-12, 2.0**-27), a, result), x)  # half a subnormal would round


@word
def cosh(x):
    """The hyperbolic cosine."""
    return np.cosh(x)


@implements(cosh)
def _cosh(x):
    p, s, t = exp_parts(fabs(x))
    w = fma(p, s, s) * (t * like(x, 0.5))
    return w + like(x, 0.25) / w


# --- log -------------------------------------------------------------------------------------------------------


@scalar
def _split(x):
    """``(e, f)`` with x = 2**e (1 + f), for positive normal x."""
    one = bits(like(x, 1.0))
    i = bits(x)
    # Counting from sqrt(1/2) puts the step of e there; the bias keeps the field positive, whole shifts unsigned.
    j = plus(minus(i, bits(like(x, SQRT_HALF))), one)
    shift = by_width(x, ROUND_F32, ROUND_F64)
    e = from_bits(plus(bits(shift), exponent_field(j))) - (shift + by_width(x, BIAS_F32, BIAS_F64))
    return e, from_bits(plus(minus(i, without_mantissa(j)), one)) - like(x, 1.0)


@scalar
def _split_any(x):
    """`_split` that also takes subnormal x."""
    scale = by_width(x, 2.0**23, 2.0**54)
    tiny = x < by_width(x, 2.0**-126, 2.0**-1022)
    e, f = _split(select(tiny, x * scale, x))
    return select(tiny, e - by_width(x, 23.0, 54.0), e), f


@scalar
def _log_series_f32(f):
    z = f * f
    return f * z * polynomial(f, LOG_F32), np.float32(-0.5) * z


@scalar
def _log_series_f64(f):
    s = f / (2.0 + f)
    z = s * s
    h = 0.5 * f * f
    return s * fma(z, polynomial(z, LOG_F64), h), -h


_log_series = by_type(_log_series_f32, _log_series_f64)  # (c, h) with log(1 + f) = f + h + c, |h| > |c|


@scalar
def _log_edges(x, result):
    """``result`` corrected where x is 0, negative, inf or NaN."""
    result = select(x < like(x, math.inf), result, x)
    result = select(x == like(x, 0.0), like(x, -math.inf), result)
    return select(x < like(x, 0.0), like(x, math.nan), result)


@scalar
def _log_sum(e, f):
    """e ln 2 + log(1 + f), added from the smallest term up."""
    c, h = _log_series(f)
    low = fma(e, by_width(e, LN2_LOW_F32, LN2_LOW_F64), c) + h
    return fma(e, by_width(e, LN2_HIGH_F32, LN2_HIGH_F64), low + f)


@word
def log(x):
    """The natural logarithm."""
    return np.log(x)


@implements(log)
def _log(x):
    e, f = _split_any(x)
    return _log_edges(x, _log_sum(e, f))


@word
def log2(x):
    """The logarithm to base 2."""
    return np.log2(x)


@implements(log2)
def _log2(x):
    e, f = _split_any(x)
    c, h = _log_series(f)
    high, low = like(x, LOG2_E), by_width(x, LOG2_E_REST_F32, LOG2_E_REST_F64)
    return _log_edges(x, e + fma(f, high, fma(c + h, high, f * low)))


@word
def log10(x):
    """The logarithm to base 10."""
    return np.log10(x)


@implements(log10)
def _log10(x):
    e, f = _split_any(x)
    c, h = _log_series(f)
    high, low = like(x, LOG10_E), by_width(x, LOG10_E_REST_F32, LOG10_E_REST_F64)
    fraction = fma(f, high, fma(c + h, high, f * low))
    fraction = fma(e, by_width(x, LOG10_2_LOW_F32, LOG10_2_LOW_F64), fraction)
    return _log_edges(x, fma(e, by_width(x, LOG10_2_HIGH_F32, LOG10_2_HIGH_F64), fraction))


@word
def log1p(x):
    """log(1 + x), accurate near 0."""
    return np.log1p(x)


@implements(log1p)
def _log1p(x):
    # u = 1 + x rounds; what it lost goes into f, where the scale is 2**-e. For e = 0 that makes f = x exactly.
    one = like(x, 1.0)
    u = one + x
    lost = x - (u - one)
    e, f = _split(u)
    e_bounded = select(e > like(x, 100.0), like(x, 100.0), e)
    shift = by_width(x, ROUND_F32, ROUND_F64) + by_width(x, BIAS_F32, BIAS_F64)
    f = fma(lost, power_of_two(bits(shift - e_bounded)), f)
    return select(x == like(x, 0.0), x, _log_edges(u, _log_sum(e, f)))


# --- inverse hyperbolic functions ------------------------------------------------------------------------------


@word
def asinh(x):
    """The inverse hyperbolic sine."""
    return np.arcsinh(x)


@implements(asinh)
def _asinh(x):
    # |x| + sqrt(1 + x**2) - 1 = |x| + x**2 / (1 + sqrt(1 + x**2)); for large |x|, log(2 |x|).
    one = like(x, 1.0)
    a = fabs(x)
    large = a > by_width(x, 2.0**28, 2.0**56)
    b = select(large, one, a)
    t = select(large, a, b + b * b / (one + sqrt(fma(b, b, one))))
    return copysign(log1p(t) + select(large, like(x, LN2), like(x, 0.0)), x)


@word
def acosh(x):
    """The inverse hyperbolic cosine; NaN below 1."""
    return np.arccosh(x)


@implements(acosh)
def _acosh(x):
    large = x > by_width(x, 2.0**28, 2.0**56)
    t = x - like(x, 1.0)
    t = select(large, x, t + sqrt(t * (t + like(x, 2.0))))
    result = log1p(t) + select(large, like(x, LN2), like(x, 0.0))
    return select(x < like(x, 1.0), like(x, math.nan), result)


@word
def atanh(x):
    """The inverse hyperbolic tangent; infinite at -1 and 1, NaN beyond."""
    return np.arctanh(x)


@implements(atanh)
def _atanh(x):
    a = fabs(x)
    twice = a + a
    result = like(x, 0.5) * log1p(twice + twice * a / (like(x, 1.0) - a))
    return copysign(select(a > like(x, 1.0), like(x, math.nan), result), x)


# --- pow -------------------------------------------------------------------------------------------------------


@word
def pow(x, y):
    """x**y; NaN for negative x and fractional y."""
    return np.power(x, y)


@implements(pow, types.float32)
def _pow_f32(x, y):
    # exp2(y log2 |x|) in float64, where nothing has to be carried in two parts.
    base, power = np.float64(fabs(x)), np.float64(y)
    e, f = _split(base)
    s = f / (2.0 + f)
    z = s * s
    h = 0.5 * f * f
    exponent = fma(f - (h - s * fma(z, polynomial(z, LOG_F64_SHORT), h)), LOG2_E, e)
    exponent = select(base == 0.0, -math.inf, select(base < math.inf, exponent, base))
    exponent = select(base == 1.0, select(isnan(power), power, 0.0), power * exponent)
    n = _clamped(exponent, -200.0, 200.0) + (ROUND_F64 + BIAS_F64)
    r = (_clamped(exponent, -200.0, 200.0) - (n - (ROUND_F64 + BIAS_F64))) * LN2
    factor = power_of_two(bits(n))
    magnitude = np.float32(fma(fma(r * r, polynomial(r, EXP_F32), r), factor, factor))
    whole = trunc(y) == y
    half = y * np.float32(0.5)
    odd = whole & (trunc(half) != half)
    result = select(odd, copysign(magnitude, x), magnitude)
    result = select((x < np.float32(0)) & (x > np.float32(-math.inf)) & ~whole, np.float32(math.nan), result)
    return select((y == np.float32(0)) | (x == np.float32(1)), np.float32(1), result)


@implements(pow, types.float64)
def _pow_f64(x, y):
    return math.pow(x, y)  # half an ulp needs the logarithm in two parts: the C library's is fast enough
