"""The elementary functions of kernel bodies for complex64 and complex128, by the type of their arguments.

Plain functions on NumPy scalars, as in `vmath`; the compiler has complex arithmetic and its elementary functions. Its
quotient stops at a divisor of 0, so that bodies divide by `quotient` instead.
"""

import math

import numpy as np


def quotient(a, b):
    """``a / b``; NaN or infinite parts where ``b`` is 0. Smith's formula, which does not overflow early."""
    c, d = b.real, b.imag
    if abs(c) >= abs(d):
        if c == 0 and d == 0:
            return complex(_ratio(a.real, abs(c)), _ratio(a.imag, abs(c)))
        ratio = d / c
        scale = c + d * ratio
        return complex((a.real + a.imag * ratio) / scale, (a.imag - a.real * ratio) / scale)
    ratio = c / d
    scale = c * ratio + d
    return complex((a.real * ratio + a.imag) / scale, (a.imag * ratio - a.real) / scale)


def _ratio(x, zero):
    return x * math.inf if x != 0 else x * math.nan


def reciprocal(z):
    """``1 / z``."""
    return quotient(complex(1.0, 0.0), z)


def conj(z):
    """The conjugate."""
    return complex(z.real, -z.imag)


def real(z):
    """The real part."""
    return z.real


def imag(z):
    """The imaginary part."""
    return z.imag


def fabs(z):
    """``|z|``."""
    return np.hypot(z.real, z.imag)


def angle(z):
    """The angle to the positive real axis, in [-pi, pi]."""
    return np.arctan2(z.imag, z.real)


def sgn(z):
    """``z / |z|``, 0 at 0."""
    size = np.hypot(z.real, z.imag)
    if size == 0:
        return complex(size, size)
    return complex(z.real / size, z.imag / size)


def sigmoid(z):
    """``1 / (1 + exp(-z))``."""
    return quotient(complex(1.0, 0.0), 1 + np.exp(-z))


def sqrt(z):
    """The root with a non-negative real part."""
    return np.sqrt(z)


def rsqrt(z):
    """``1 / sqrt(z)``."""
    return quotient(complex(1.0, 0.0), np.sqrt(z))


def pow(z, w):
    """``z ** w``: small whole exponents by products, 0 to the power of 0 is 1."""
    if w.imag == 0:
        if w.real == 0:
            return z * 0 + 1 if z == z and abs(z.real) < math.inf and abs(z.imag) < math.inf else complex(1.0, 0.0)
        if w.real == 1:
            return z * 1
        if w.real == 2:
            return z * z
        if w.real == 3:
            return z * z * z
        if w.real == -1:
            return quotient(complex(1.0, 0.0), z)
        if w.real == -2:
            return quotient(complex(1.0, 0.0), z * z)
        if w.real == 0.5:
            return np.sqrt(z)
    if z == 0:
        return complex(0.0, 0.0) if w.real > 0 else complex(math.nan, math.nan)
    return np.exp(w * np.log(z))


def exp(z):
    return np.exp(z)


def exp2(z):
    return np.exp(z * math.log(2.0))


def expm1(z):
    """``exp(z) - 1``, precise near 0."""
    half = math.sin(z.imag / 2)
    small = math.expm1(z.real)
    return complex(small * math.cos(z.imag) - 2 * half * half, math.exp(z.real) * math.sin(z.imag))


def log(z):
    return np.log(z)


def log2(z):
    return np.log(z) / math.log(2.0)


def log10(z):
    return np.log(z) / math.log(10.0)


def log1p(z):
    return np.log1p(z)


def sin(z):
    return np.sin(z)


def cos(z):
    return np.cos(z)


def tan(z):
    return np.tan(z)


def sinh(z):
    return np.sinh(z)


def cosh(z):
    return np.cosh(z)


def tanh(z):
    """``sinh(z) / cosh(z)``, without overflow on the way."""
    if abs(z.real) > 20.0:
        return complex(math.copysign(1.0, z.real), 0.0 * z.imag if math.isfinite(z.imag) else 0.0)
    return np.tanh(z)


def asin(z):
    return np.arcsin(z)


def acos(z):
    return np.arccos(z)


def atan(z):
    return np.arctan(z)


def asinh(z):
    return np.arcsinh(z)


def acosh(z):
    return np.arccosh(z)


def atanh(z):
    return np.arctanh(z)


def isnan(z):
    return math.isnan(z.real) or math.isnan(z.imag)


def isinf(z):
    return math.isinf(z.real) or math.isinf(z.imag)


def isfinite(z):
    return math.isfinite(z.real) and math.isfinite(z.imag)


def where(condition, a, b):
    return a if condition else b


WORDS = {
    fn.__name__: fn
    for fn in (
        *(exp, exp2, expm1, log, log2, log10, log1p, pow, sigmoid, sqrt, rsqrt, fabs),
        *(sin, cos, tan, asin, acos, atan, sinh, cosh, tanh, asinh, acosh, atanh, isnan, isinf, isfinite, where),
    )
}
