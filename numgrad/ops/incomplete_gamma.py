"""The incomplete gamma functions: power series, continued fraction, and their common factor without cancellation."""

import math

import numpy as np

from ..kernels.vocab import digamma, exp, expm1, fabs, lgamma, log
from ..pointwise import pointwise
from .divergence import _excess, log_factorial_rest

EPSILON = 2.0**-53


def _scipy(name):
    """A SciPy reference, imported when a test calls it."""

    def reference(*arguments):
        import scipy.special

        return getattr(scipy.special, name)(*arguments)

    return reference


def _factor(a, x):
    """``x**a exp(-x) / gamma(a + 1)``; the three large exponents are taken together."""
    if a < 20.0:
        return exp(a * log(x) - x - lgamma(a + 1.0))
    return exp(-_excess(a, x) - log_factorial_rest(a))


def _lower_series(a, x):
    """P(a, x) / `_factor(a, x)` by its power series, for x < a + 1."""
    term = 1.0
    total = term
    k = a
    while term > EPSILON * total:
        k += 1.0
        term *= x / k
        total += term
    return total


def _upper_fraction(a, x):
    """Q(a, x) / `_factor(a, x)` by its continued fraction (Lentz's method), for x >= a + 1."""
    tiny = 1e-36
    b = x + 1.0 - a
    c = 1.0 / tiny
    d = 1.0 / b
    h = d
    for k in range(1, 10000):
        factor = -k * (k - a)
        b += 2.0
        d = factor * d + b
        c = b + factor / c
        d = 1.0 / (tiny if d == 0.0 else d)
        c = tiny if c == 0.0 else c
        change = d * c
        h *= change
        if fabs(change - 1.0) < 4.0 * EPSILON:
            break
    return h * a


def _upper_of_small(a, x):
    """Q(a, x) for a below 1 and x below 2, where P may be so near to 1 that nothing is left of 1 - P."""
    total, term, k = 0.0, 1.0, 1.0
    while True:
        term *= -x / k
        change = term / (a + k)
        total += change
        if fabs(change) <= EPSILON * fabs(total):
            break
        k += 1.0
    power = a * log(x) - lgamma(a + 1.0)
    return -expm1(power) - a * exp(power) * total


def _incomplete(a, x, upper):
    """P(a, x), or Q(a, x) with ``upper``."""
    if not (a >= 0.0 and x >= 0.0):
        return np.nan
    if a == 0.0 or math.isinf(a) or x == 0.0 or math.isinf(x):
        if (a == 0.0 and x == 0.0) or (math.isinf(a) and math.isinf(x)):
            return np.nan
        low = 1.0 if a == 0.0 or math.isinf(x) else 0.0
        return 1.0 - low if upper else low
    if upper and a < 1.0 and x < 2.0:
        return _upper_of_small(a, x)
    lower = x < a + 1.0
    found = _factor(a, x) * (_lower_series(a, x) if lower else _upper_fraction(a, x))
    return 1.0 - found if lower == upper else found


@pointwise(refuse="bi", reference=_scipy("gammainc"), differs=True, domain=(0.5, 3.0), no_gradient=("input",), numbers_from=2)
def igamma(input, other):
    """The regularized lower incomplete gamma function P(``input``, ``other``)."""
    return _incomplete(np.float64(input), np.float64(other), False)


@pointwise(refuse="bi", reference=_scipy("gammaincc"), differs=True, domain=(0.5, 3.0), no_gradient=("input",), numbers_from=2)
def igammac(input, other):
    """The regularized upper incomplete gamma function Q(``input``, ``other``)."""
    return _incomplete(np.float64(input), np.float64(other), True)


@pointwise(refuse="bi", install=(), name="gamma_density", inplace=False, domain=(0.1, 3.0))
def _density(input, other):
    """``other**(input - 1) * exp(-other) / gamma(input)``."""
    a, x = np.float64(input), np.float64(other)
    return a / x * _factor(a, x) if x > 0.0 else exp((a - 1.0) * log(x) - x - lgamma(a))


@_density.backward
def _(g, input, other, out):
    return g * (out * (log(other) - digamma(input))), g * (out * ((input - 1.0 - other) / other))


@igamma.backward
def _(g, input, other):
    return 0.0, g * _density(input, other)


@igammac.backward
def _(g, input, other):
    return 0.0, -g * _density(input, other)
