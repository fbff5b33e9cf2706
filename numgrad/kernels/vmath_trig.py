"""Trigonometric functions and their inverses.

x = n pi/2 + r with n whole, |r| <= pi/4; two polynomials give sin r and cos r, the quadrant n mod 4 chooses.
"""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import scalar
from .vmath_llvm import bits, implements, masked, negated_if, plus, polynomial, select, word
from .vmath_plain import copysign, fabs, fma, isnan, sqrt

# Adding 1.5 * 2**52 rounds to a whole number and leaves it in the low bits of the sum.
ROUND = 1.5 * 2.0**52
TWO_OVER_PI = 0.6366197723675814
HALF_PI = 1.5707963267948966
HALF_PI_MIDDLE, HALF_PI_LOW = 6.123233995736766e-17, -1.4973849048591698e-33

SIN_F32 = (-0.1666666716337204, 0.008333329111337662, -0.0001983933470910415, 2.718307996474323e-06)
COS_F32 = (0.04166664555668831, -0.001388736767694354, 2.4438415493932553e-05)
SIN_F64 = (
    -0.16666666666666666, 0.008333333333333323, -0.00019841269841255129, 2.755731921422317e-06,
    -2.5052104920295224e-08, 1.6058367758556333e-10, -7.578754971479168e-13,
)  # fmt: skip
COS_F64 = (
    0.0416666666666666, -0.0013888888888874131, 2.480158728948701e-05, -2.755731435378738e-07,
    2.087572347879972e-09, -1.1359658832318982e-11,
)  # fmt: skip

# --- float32: reduction in float64, exact for every argument ---------------------------------------------------

# 2/pi in two parts for |x| below 2**50, 2**77, 2**104 and 2**128, without the bits that only add multiples of 4.
HIGH_1, LOW_1 = 0.6366197723675814, -3.935735335036497e-17
HIGH_2, LOW_2 = -4.119769120791653e-09, 2.8376220177865265e-25
HIGH_3, LOW_3 = 7.166494911215068e-17, -2.1442872565786008e-33
HIGH_4, LOW_4 = -5.434184107743751e-25, 3.8858987075186823e-41


@scalar
def _reduced_f32(x):
    """``(r, k)`` with x = n pi/2 + r and k equal to n modulo 4.

    A float32 of at least 2**50 is a whole multiple of 2**27, one of at least 2**77 of 2**54, and so on. So such an
    x is y 2**(27 j) with y a whole number below 2**50, and 2**(27 j) 2/pi may be taken modulo 4 beforehand: for each
    j the constant 2/pi loses its leading bits and gains as many at the end.
    """
    y = np.float64(x)
    a = fabs(y)
    second, third, fourth = a >= 2.0**50, a >= 2.0**77, a >= 2.0**104
    high, low = select(second, HIGH_2, HIGH_1), select(second, LOW_2, LOW_1)
    high, low = select(third, HIGH_3, high), select(third, LOW_3, low)
    high, low = select(fourth, HIGH_4, high), select(fourth, LOW_4, low)
    t = fma(y, high, ROUND)
    quarters = fma(y, low, fma(y, high, -(t - ROUND)))
    return np.float32(quarters * HALF_PI), np.int32(bits(t))


@scalar
def _sin_series_f32(r, z):
    return fma(r * z, polynomial(z, SIN_F32), r)


@scalar
def _cos_series_f32(r, z):
    return fma(z * z, polynomial(z, COS_F32), fma(z, np.float32(-0.5), np.float32(1)))


@scalar
def _sin_shifted_f32(x, quadrants):
    r, k = _reduced_f32(x)
    z = r * r
    k = plus(k, quadrants)
    value = select(masked(k, 1) != 0, _cos_series_f32(r, z), _sin_series_f32(r, z))
    return negated_if(value, k)


@word
def sin(x):
    """The sine of x radians."""
    return np.sin(x)


@implements(sin, types.float32)
def _sin_f32(x):
    return select(x == np.float32(0), x, _sin_shifted_f32(x, 0))  # the reduction turns -0 into +0


@word
def cos(x):
    """The cosine of x radians."""
    return np.cos(x)


@implements(cos, types.float32)
def _cos_f32(x):
    return _sin_shifted_f32(x, 1)


@word
def tan(x):
    """The tangent of x radians."""
    return np.tan(x)


@implements(tan, types.float32)
def _tan_f32(x):
    r, k = _reduced_f32(x)
    z = r * r
    s, c = _sin_series_f32(r, z), _cos_series_f32(r, z)
    odd = masked(k, 1) != 0
    return select(x == np.float32(0), x, select(odd, -c, s) / select(odd, s, c))


# --- float64: three-part reduction, the C library beyond --------------------------------------------------------

# Up to here n pi/2 cancels x without loss. The rare call beyond keeps the loop from becoming vector code (there is
# no conditional call in vector code), but exact reduction of every float64 without one would cost more.
FAST_LIMIT = 2.0**50


@scalar
def _reduced_f64(x):
    """``(r, rest, k)`` with x = n pi/2 + r + rest and k equal to n modulo 4, for |x| below FAST_LIMIT."""
    t = fma(x, TWO_OVER_PI, ROUND)
    n = t - ROUND
    first = fma(n, -HALF_PI, x)
    r = fma(n, -HALF_PI_MIDDLE, first)
    # What the second step rounded away, found by repeating it on the difference.
    rest = fma(n, -HALF_PI_LOW, fma(n, -HALF_PI_MIDDLE, first - r))
    return r, rest, bits(t)


@scalar
def _sin_series_f64(r, rest, z):
    return fma(r * z, polynomial(z, SIN_F64), rest) + r


@scalar
def _cos_series_f64(r, rest, z):
    h = 0.5 * z
    w = 1.0 - h
    return w + (((1.0 - w) - h) + fma(z * z, polynomial(z, COS_F64), -r * rest))


@scalar
def _sin_shifted_f64(x, quadrants):
    r, rest, k = _reduced_f64(x)
    z = r * r
    k = plus(k, quadrants)
    value = select(masked(k, 1) != 0, _cos_series_f64(r, rest, z), _sin_series_f64(r, rest, z))
    return negated_if(value, k)


def _library(symbol):
    @intrinsic
    def function(typingctx, x):
        # "nobuiltin" keeps LLVM from seeing the sine in the call, which it would move out of the branch and
        # evaluate for every element.
        def codegen(context, builder, signature, values):
            kind = ir.DoubleType()
            callee = builder.module.globals.get(symbol) or ir.Function(
                builder.module, ir.FunctionType(kind, [kind]), symbol
            )
            call = builder.call(callee, values)
            set.add(call.attributes, "nobuiltin")
            return call

        return types.float64(types.float64), codegen

    return function


_library_sin, _library_cos = _library("sin"), _library("cos")


@implements(sin, types.float64)
def _sin_f64(x):
    result = _sin_shifted_f64(x, 0)
    if fabs(x) > FAST_LIMIT:
        result = _library_sin(x)
    return select(x == 0.0, x, result)


@implements(cos, types.float64)
def _cos_f64(x):
    result = _sin_shifted_f64(x, 1)
    if fabs(x) > FAST_LIMIT:
        result = _library_cos(x)
    return result


@implements(tan, types.float64)
def _tan_f64(x):
    return math.tan(x)


# --- inverse functions -----------------------------------------------------------------------------------------

ATAN_F32 = (
    -0.33333298563957214, 0.19998548924922943, -0.14264242351055145, 0.10952185839414597, -0.0840345099568367,
    0.05795760452747345, -0.031177856028079987, 0.010914611630141735, -0.0017936229705810547,
)  # fmt: skip
ASIN_F32 = (0.16666752099990845, 0.07495297491550446, 0.04547037556767464, 0.02417951449751854, 0.04216630756855011)
HALF_PI_F32, PI_F32 = np.float32(math.pi / 2), np.float32(math.pi)
HALF_PI_REST_F32 = np.float32(math.pi / 2 - float(np.float32(math.pi / 2)))
PI_REST_F32 = np.float32(math.pi - float(np.float32(math.pi)))


@scalar
def _atan_series_f32(a):
    """atan(a) for 0 <= a <= 1."""
    z = a * a
    return fma(a * z, polynomial(z, ATAN_F32), a)


@word
def atan(x):
    """The inverse tangent."""
    return np.arctan(x)


@implements(atan, types.float32)
def _atan_f32(x):
    a = fabs(x)
    large = a > np.float32(1)
    p = _atan_series_f32(select(large, np.float32(1) / a, a))
    return copysign(select(large, HALF_PI_F32 - (p - HALF_PI_REST_F32), p), x)


@word
def atan2(y, x):
    """The angle of the point (x, y), from -pi to pi."""
    return np.arctan2(y, x)


@implements(atan2, types.float32)
def _atan2_f32(y, x):
    a, b = fabs(x), fabs(y)
    steep = b > a
    small, large = select(steep, a, b), select(steep, b, a)
    ratio = small / large
    ratio = select(large == np.float32(0), np.float32(0), ratio)
    ratio = select(small == np.float32(math.inf), np.float32(1), ratio)
    angle = _atan_series_f32(ratio)
    angle = select(steep, HALF_PI_F32 - (angle - HALF_PI_REST_F32), angle)
    angle = select(bits(x) < 0, PI_F32 - (angle - PI_REST_F32), angle)
    return select(isnan(x) | isnan(y), x + y, copysign(angle, y))


@scalar
def _asin_parts_f32(a):
    """``(s, q, near)``: asin(a) = s + q where ``near`` 0, else pi/2 - 2 (s + q)."""
    near = a <= np.float32(0.5)
    z = select(near, a * a, np.float32(0.5) * (np.float32(1) - a))
    s = select(near, a, sqrt(z))
    return s, s * z * polynomial(z, ASIN_F32), near


@word
def asin(x):
    """The inverse sine; NaN beyond -1 and 1."""
    return np.arcsin(x)


@implements(asin, types.float32)
def _asin_f32(x):
    s, q, near = _asin_parts_f32(fabs(x))
    far = HALF_PI_F32 - (np.float32(2) * (s + q) - HALF_PI_REST_F32)
    return copysign(select(near, s + q, far), x)


@word
def acos(x):
    """The inverse cosine; NaN beyond -1 and 1."""
    return np.arccos(x)


@implements(acos, types.float32)
def _acos_f32(x):
    s, q, near = _asin_parts_f32(fabs(x))
    middle = HALF_PI_F32 - (copysign(s, x) + (copysign(q, x) - HALF_PI_REST_F32))
    twice = np.float32(2) * (s + q)
    edge = select(x < np.float32(0), PI_F32 - (twice - PI_REST_F32), twice)
    return select(near, middle, edge)


@implements(asin, types.float64)
def _asin_f64(x):
    return math.asin(x)


@implements(acos, types.float64)
def _acos_f64(x):
    return math.acos(x)


@implements(atan, types.float64)
def _atan_f64(x):
    return math.atan(x)


@implements(atan2, types.float64)
def _atan2_f64(y, x):
    return math.atan2(y, x)
