"""The normal distribution's tails: scaled complementary error function, logarithm and inverse of the distribution function."""

import math

import numpy as np

from ..kernels.vocab import erf, erfc, exp, fabs, isnan, log, log1p
from ..pointwise import pointwise

EPSILON = 2.0**-53
INF, NAN = float("inf"), float("nan")
# Of NumPy's type, which stays float64 in a float32 kernel.
SQRT_HALF, SQRT_PI, TWO_OVER_SQRT_PI, ROOT_TWO_OVER_PI = map(
    np.float64, (0.7071067811865476, 1.772453850905516, 1.1283791670955126, 0.7978845608028654)
)


def _scipy(name):
    """A SciPy reference, imported when a test calls it."""

    def reference(*arguments):
        import scipy.special

        return getattr(scipy.special, name)(*arguments)

    return reference


def _scaled_erfc(x):
    """``exp(x**2) * erfc(x)`` in float64."""
    if x > 6.5:
        # The asymptotic series, to its smallest term.
        z = 0.5 / (x * x)
        term, total = 1.0, 1.0
        for k in range(1, 40):
            term *= -(2.0 * k - 1.0) * z
            total += term
            if fabs(term) < EPSILON:
                break
        return total / (x * SQRT_PI)
    return exp(x * x) * erfc(x)


def _scaled_erfc_slope(x, n):
    """The ``n``-th derivative of the same, n up to 3; for large x by the series, since its terms cancel."""
    if x > 6.5:
        term, total = 1.0, 0.0
        for k in range(40):
            if k > 0:
                term *= -(2.0 * k - 1.0) * 0.5 / (x * x)
            change = term
            for j in range(n):
                change *= -(2.0 * k + 1.0 + j) / x
            total += change
            if fabs(change) < EPSILON * fabs(total):
                break
        return total / (x * SQRT_PI)
    value = _scaled_erfc(x)
    before = 0.0
    for k in range(n):  # y' = 2 x y - 2 / sqrt(pi), and so on
        above = 2.0 * x * value + (2.0 * k * before if k > 0 else -TWO_OVER_SQRT_PI)
        before, value = value, above
    return value


@pointwise(result="float", install=(), name="erfcx_slope", inplace=False)
def _erfcx_slope(input, *, n):
    return _scaled_erfc_slope(np.float64(input), int(n))


@_erfcx_slope.backward
def _(g, input, n):
    return g * _erfcx_slope(input, n=n + 1)


@pointwise(result="float", reference=_scipy("erfcx"), install=("special",), inplace=False, grad_name="SpecialErfcxBackward0")
def erfcx(input):
    """``exp(input**2) * erfc(input)``."""
    return _scaled_erfc(np.float64(input))


@erfcx.backward
def _(g, input):
    return g * _erfcx_slope(input, n=1)


# --- the logarithm of the distribution function ----------------------------------------------------------------------


def _log_normal_cdf(x):
    if x < -1.0:
        return log(0.5 * _scaled_erfc(-x * SQRT_HALF)) - 0.5 * x * x
    return log1p(-0.5 * erfc(x * SQRT_HALF))


def _hazard(x):
    """The density over the distribution function."""
    if x > 38.6:
        return 0.0
    if x < 5.0:
        return ROOT_TWO_OVER_PI / _scaled_erfc(-x * SQRT_HALF)
    return 0.5 * ROOT_TWO_OVER_PI * exp(-0.5 * x * x) / (1.0 - 0.5 * erfc(x * SQRT_HALF))


def _hazard_excess(x):
    """``hazard(x) + x``; far below 0, where the two cancel, from the series of their quotient."""
    if x > -12.0:
        return _hazard(x) + x
    if x == -INF:
        return 0.0
    z = 1.0 / (x * x)
    term, rest = 1.0, 0.0
    for k in range(1, 60):
        last = fabs(term)
        term *= -(2.0 * k - 1.0) * z
        if fabs(term) > last or fabs(term) < EPSILON * EPSILON:
            break
        rest -= term
        if fabs(term) < EPSILON * rest:
            break
    return -x * rest / (1.0 - rest)


@pointwise(result="float", reference=_scipy("log_ndtr"), install=("special",), inplace=False,
           grad_name="SpecialLogNdtrBackward0")  # fmt: skip
def log_ndtr(input):
    """The logarithm of `ndtr`, without underflow."""
    return _log_normal_cdf(np.float64(input))


@pointwise(result="float", install=(), name="normal_hazard", inplace=False)
def _normal_hazard(input):
    return _hazard(np.float64(input))


@pointwise(result="float", install=(), name="normal_hazard_excess", inplace=False)
def _normal_hazard_excess(input):
    return _hazard_excess(np.float64(input))


@log_ndtr.backward
def _(g, input):
    return g * _normal_hazard(input)


@_normal_hazard.backward
def _(g, input, out):
    return -g * (out * _normal_hazard_excess(input))


@_normal_hazard_excess.backward
def _(g, input, out):
    return g * (1.0 - _normal_hazard(input) * out)


# --- the inverse of the distribution function ------------------------------------------------------------------------


def _lower_quantile(p):
    """The x below 0 with ``ndtr(x) = p``, for p from 0 to 1/2: Newton's method on logarithms, which are nearly parabolas."""
    goal = log(p)
    x = -math.sqrt(-2.0 * goal) + 0.3 if p < 0.1 else (p - 0.5) * 2.5
    for _ in range(40):
        hazard = _hazard(x)
        error = (_log_normal_cdf(x) - goal) / hazard
        if p > 0.3:  # by the difference, which is exact near 1/2
            error = (0.5 * erf(x * SQRT_HALF) - (p - 0.5)) / (0.5 * ROOT_TWO_OVER_PI * exp(-0.5 * x * x))
        x -= error
        if fabs(error) <= 4.0 * EPSILON * fabs(x):
            break
    return x


def _quantile(p):
    if isnan(p) or p < 0.0 or p > 1.0:
        return NAN
    if p == 0.0 or p == 1.0:
        return INF if p else -INF
    return _lower_quantile(p) if p <= 0.5 else -_lower_quantile(1.0 - p)


@pointwise(result="float", reference=_scipy("ndtri"), domain=(0.05, 0.95), install=("special",), inplace=False,
           grad_name="SpecialNdtriBackward0")  # fmt: skip
def ndtri(input):
    """The inverse of `ndtr`; infinite at 0 and 1, NaN beyond."""
    return _quantile(np.float64(input))


@ndtri.backward
def _(g, out):
    return g * (exp(0.5 * out * out) / (0.5 * ROOT_TWO_OVER_PI))
