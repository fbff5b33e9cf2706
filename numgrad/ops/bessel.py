"""Bessel functions of the orders 0 and 1, modified and not, and Airy's: series, recurrences and integrals in float64."""

import math

import numpy as np

from ..kernels.vocab import cos, fabs, isnan, sin, where
from ..pointwise import pointwise

EPSILON = 2.0**-53
EULER, PI, AIRY_AT_0, AIRY_SLOPE_AT_0 = map(
    np.float64, (0.5772156649015329, 3.141592653589793, 0.3550280538878172, -0.2588194037928068)
)  # of NumPy's type, which stays float64 in a float32 kernel
SMALL, LARGE = np.float64(1e-250), np.float64(1e200)  # a recurrence begins with the one and is scaled at the other
INF, NAN = float("inf"), float("nan")


def _scipy(name):
    """A SciPy reference, imported when a test calls it."""

    def reference(*arguments):
        import scipy.special

        return getattr(scipy.special, name)(*arguments)

    return reference


# --- modified, of the first kind -------------------------------------------------------------------------------------


def _decaying_i(x, order):
    """``exp(-x)`` times the modified Bessel function of the first kind of a whole order, of x from 0 to 30."""
    term = 1.0
    for k in range(1, order + 1):
        term *= 0.5 * x / k
    total = term
    square = 0.25 * x * x
    k = 1.0
    while term > EPSILON * total:
        term *= square / (k * (k + order))
        total += term
        k += 1.0
    return total * math.exp(-x)


def _decaying_slope(x, order, n):
    """The ``n``-th derivative of ``exp(-x) I(x)`` for x >= 0, without the cancellation of its terms for large x."""
    if x <= 30.0:
        # Of I: 2**-n times the sum of binomial(n, j) I of order - n + 2j; of the product by Leibniz's rule.
        total = 0.0
        outer = 1.0  # binomial(n, m)
        for m in range(n + 1):
            part = 0.0
            inner = 0.5**m
            for j in range(m + 1):
                k = order - m + 2 * j
                part += inner * _decaying_i(x, k if k >= 0 else -k)
                inner *= (m - j) / (j + 1.0)
            total += outer * part * (1.0 if (n - m) % 2 == 0 else -1.0)
            outer *= (n - m) / (m + 1.0)
        return total
    if math.isinf(x):
        return 0.0
    # Hankel's series in 1 / x, each power differentiated.
    term = 1.0
    total = 0.0
    for k in range(40):
        if k > 0:
            odd = 2.0 * k - 1.0
            term *= -(4.0 * order * order - odd * odd) / (8.0 * k * x)
        change = term
        for j in range(n):
            change *= -(k + 0.5 + j) / x
        total += change
        if fabs(change) < EPSILON * fabs(total):
            break
    return total / math.sqrt(2.0 * math.pi * x)


def _slope(x, order, n):
    """The ``n``-th derivative of I itself."""
    total = 0.0
    weight = 0.5**n
    size = fabs(x)
    for j in range(n + 1):
        k = order - n + 2 * j
        total += weight * _decaying_slope(size, k if k >= 0 else -k, 0)
        weight *= (n - j) / (j + 1.0)
    half = math.exp(0.5 * size)  # twice, since the power may overflow where the product does not
    return total * half * half


def _sided(value, x, order, n):
    """The value for a negative x, from the one for its magnitude."""
    return -value if x < 0.0 and (order + n) % 2 == 1 else value


@pointwise(result="float", install=(), name="bessel_i_slope", inplace=False)
def _bessel_i_slope(input, *, order, n):
    x = np.float64(input)
    return _sided(_slope(x, int(order), int(n)), x, int(order), int(n))


@_bessel_i_slope.backward
def _(g, input, order, n):
    return g * _bessel_i_slope(input, order=order, n=n + 1)


@pointwise(result="float", install=(), name="bessel_ie_slope", inplace=False)
def _bessel_ie_slope(input, *, order, n):
    x = np.float64(input)
    # At 0, where exp(-|x|) has a kink, the mean of both sides.
    if x == 0.0 and (order + n) % 2 == 1:
        return 0.0
    return _sided(_decaying_slope(fabs(x), int(order), int(n)), x, int(order), int(n))


@_bessel_ie_slope.backward
def _(g, input, order, n):
    return g * _bessel_ie_slope(input, order=order, n=n + 1)


@pointwise(result="float", reference=_scipy("i0"), differs=True)
def i0(input):
    """The modified Bessel function of the first kind of order 0."""
    return _slope(np.float64(input), 0, 0)


@pointwise(result="float", reference=_scipy("i1"), differs=True, install=("special",), inplace=False,
           grad_name="SpecialI1Backward0")  # fmt: skip
def i1(input):
    """The modified Bessel function of the first kind of order 1."""
    x = np.float64(input)
    return _sided(_slope(x, 1, 0), x, 1, 0)


@pointwise(result="float", reference=_scipy("i0e"), differs=True, install=("special",), inplace=False,
           grad_name="SpecialI0EBackward0")  # fmt: skip
def i0e(input):
    """``exp(-|input|) * i0(input)``."""
    return _decaying_slope(fabs(np.float64(input)), 0, 0)


@pointwise(result="float", reference=_scipy("i1e"), differs=True, install=("special",), inplace=False,
           grad_name="SpecialI1EBackward0")  # fmt: skip
def i1e(input):
    """``exp(-|input|) * i1(input)``."""
    x = np.float64(input)
    return _sided(_decaying_slope(fabs(x), 1, 0), x, 1, 0)


@i0.backward
def _(g, input):
    return g * _bessel_i_slope(input, order=0, n=1)


@i1.backward
def _(g, input):
    return g * _bessel_i_slope(input, order=1, n=1)


@i0e.backward
def _(g, input):
    return g * _bessel_ie_slope(input, order=0, n=1)


@i1e.backward
def _(g, input):
    return g * _bessel_ie_slope(input, order=1, n=1)


@pointwise(result="float", reference=_scipy("i0"), differs=True, install=("special",), inplace=False)
def modified_bessel_i0(input):
    """The modified Bessel function of the first kind of order 0."""
    return _slope(np.float64(input), 0, 0)


@pointwise(result="float", reference=_scipy("i1"), differs=True, install=("special",), inplace=False)
def modified_bessel_i1(input):
    """The modified Bessel function of the first kind of order 1."""
    x = np.float64(input)
    return _sided(_slope(x, 1, 0), x, 1, 0)


@modified_bessel_i0.backward
def _(g, input):
    return g * _bessel_i_slope(input, order=0, n=1)


@modified_bessel_i1.backward
def _(g, input):
    return g * _bessel_i_slope(input, order=1, n=1)


# --- modified, of the second kind ------------------------------------------------------------------------------------


def _growing_k(x, order):
    """``exp(x)`` times the modified Bessel function of the second kind of any real order, for x > 0: the integral of
    ``exp(-x (cosh(t) - 1)) cosh(order t)`` by the trapezoidal rule, which converges exponentially fast here."""
    if x < 1.0:
        step = 0.03125
    else:
        step = 0.125 / math.sqrt(math.sqrt(x)) if x < 100.0 else 0.4 / math.sqrt(x)
    total = 0.5
    t = step
    while True:
        s = math.sinh(0.5 * t)
        power = 2.0 * x * s * s
        term = math.exp(-power) * math.cosh(order * t)
        total += term
        if power > 1.0 and term < EPSILON * 0.01 * total:
            return total * step
        t += step


def _k(x, order, scaled):
    if not x > 0.0:
        return INF if x == 0.0 else NAN
    if x == INF:
        return 0.0
    if x < 0.5:
        # The series about 0 of both orders; the trapezoidal rule would need many steps.
        square = 0.25 * x * x
        logarithm = math.log(0.5 * x)
        term, harmonic, k = 1.0, -EULER, 0.0
        total = 0.0
        while True:
            if order == 0:
                change = term * (harmonic - logarithm)
            else:
                change = term * (logarithm - harmonic - 0.5 / (k + 1.0))
            total += change
            k += 1.0
            term *= square / (k * (k + order))
            harmonic += 1.0 / k
            if term < EPSILON * 0.01:
                break
        value = total if order == 0 else 1.0 / x + 0.5 * x * total
        return value * math.exp(x) if scaled else value
    value = _growing_k(x, float(order))
    return value if scaled else value * math.exp(-x)


@pointwise(result="float", reference=_scipy("k0"), differs=True, domain=(0.1, 3.0), install=("special",), inplace=False)
def modified_bessel_k0(input):
    """The modified Bessel function of the second kind of order 0; inf at 0, NaN below."""
    return _k(np.float64(input), 0, False)


@pointwise(result="float", reference=_scipy("k1"), differs=True, domain=(0.1, 3.0), install=("special",), inplace=False)
def modified_bessel_k1(input):
    """The modified Bessel function of the second kind of order 1; inf at 0, NaN below."""
    return _k(np.float64(input), 1, False)


@pointwise(result="float", reference=_scipy("k0e"), differs=True, domain=(0.1, 3.0), install=("special",), inplace=False)
def scaled_modified_bessel_k0(input):
    """The modified Bessel function of the second kind of order 0, times ``exp(input)``."""
    return _k(np.float64(input), 0, True)


@pointwise(result="float", reference=_scipy("k1e"), differs=True, domain=(0.1, 3.0), install=("special",), inplace=False)
def scaled_modified_bessel_k1(input):
    """The modified Bessel function of the second kind of order 1, times ``exp(input)``."""
    return _k(np.float64(input), 1, True)


@modified_bessel_k0.backward
def _(g, input):
    return -g * modified_bessel_k1(input)


@modified_bessel_k1.backward
def _(g, input, out):
    return -g * (modified_bessel_k0(input) + out / input)


@scaled_modified_bessel_k0.backward
def _(g, input, out):
    return g * (out - scaled_modified_bessel_k1(input))


@scaled_modified_bessel_k1.backward
def _(g, input, out):
    return g * (out - scaled_modified_bessel_k0(input) - out / input)


# --- of the first and second kind ------------------------------------------------------------------------------------


def _hankel(x, order):
    """(P, Q) with ``J = sqrt(2 / (pi x)) (P cos(w) - Q sin(w))`` for large x, w = x - (order / 2 + 1 / 4) pi; Y swaps."""
    even, odd = 1.0, 0.0
    term = 1.0
    for k in range(1, 60):
        last = fabs(term)
        term *= (4.0 * order * order - (2.0 * k - 1.0) ** 2) / (8.0 * k * x)
        if fabs(term) < EPSILON * 0.1 or fabs(term) > last:
            break
        signed = term if k % 4 < 2 else -term
        if k % 2 == 0:
            even += signed
        else:
            odd += signed
    return even, odd


def _first_by_recurrence(x):
    """(J0, J1, Neumann's sum for Y0) for x from 0 to 30: Miller's recurrence downwards, scaled by J0 + 2 J2 + 2 J4 + ... = 1."""
    n = 2 * int(0.5 * (x + 25.0 + 3.0 * math.sqrt(x)))
    above, here = 0.0, SMALL
    total, neumann, one = 0.0, 0.0, 0.0
    for k in range(n, 0, -1):
        if k % 2 == 0:
            half = k // 2
            total += 2.0 * here
            neumann += (here if half % 2 == 1 else -here) / half
        if k == 1:
            one = here
        above, here = here, 2.0 * k / x * here - above
        if fabs(here) > LARGE:
            above, here, total, neumann = above / LARGE, here / LARGE, total / LARGE, neumann / LARGE
    total += here
    return here / total, one / total, neumann / total


def _first(x, order):
    size = fabs(x)
    if isnan(x):
        return x
    if size == INF:
        return 0.0
    if size < 1e-4:
        found = 0.5 * size if order else 1.0 - 0.25 * size * size
    elif size < 30.0:
        zero, one, _ = _first_by_recurrence(size)
        found = one if order else zero
    else:
        p, q = _hankel(size, float(order))
        c, s = math.cos(size), math.sin(size)
        # cos(x - pi / 4) and sin(x - pi / 4), or of x - 3 pi / 4, times the root of 2.
        a, b = (s - c, -(s + c)) if order else (c + s, s - c)
        found = (p * a - q * b) / math.sqrt(PI * size)
    return -found if order and x < 0.0 else found


def _second(x, order):
    if not x > 0.0:
        return -INF if x == 0.0 else NAN
    if x == INF:
        return 0.0
    if x < 30.0:
        if x < 1e-6:
            zero, one, neumann = 1.0, 0.5 * x, 0.0
        else:
            zero, one, neumann = _first_by_recurrence(x)
        y0 = 2.0 / PI * ((math.log(0.5 * x) + EULER) * zero + 2.0 * neumann)
        if order == 0:
            return y0
        # J1 Y0 - J0 Y1 = 2 / (pi x), divided by J0 where that is not small; else by the sum for Y1.
        if fabs(zero) > 0.1:
            return (one * y0 - 2.0 / (PI * x)) / zero
        return _second_order_1(x)
    p, q = _hankel(x, float(order))
    c, s = math.cos(x), math.sin(x)
    a, b = (s - c, -(s + c)) if order else (c + s, s - c)
    return (p * b + q * a) / math.sqrt(PI * x)


def _second_order_1(x):
    """Y1 = -Y0', from Neumann's sum differentiated: J_2k' = (J_(2k-1) - J_(2k+1)) / 2."""
    n = 2 * int(0.5 * (x + 25.0 + 3.0 * math.sqrt(x)))
    above, here = 0.0, SMALL
    total, sums, one, zero = 0.0, 0.0, 0.0, 0.0
    for k in range(n, 0, -1):
        below = 2.0 * k / x * here - above
        if k % 2 == 0:
            half = k // 2
            total += 2.0 * here
            change = 0.5 * (below - above) / half
            sums += change if half % 2 == 1 else -change
        if k == 1:
            one, zero = here, below
        above, here = here, below
        if fabs(here) > LARGE:
            above, here, total, sums = above / LARGE, here / LARGE, total / LARGE, sums / LARGE
    total += here
    slope = zero / x - (math.log(0.5 * x) + EULER) * one + 2.0 * sums
    return -2.0 / PI * slope / total


@pointwise(result="float", reference=_scipy("j0"), differs=True, install=("special",), inplace=False)
def bessel_j0(input):
    """The Bessel function of the first kind of order 0."""
    return _first(np.float64(input), 0)


@pointwise(result="float", reference=_scipy("j1"), differs=True, install=("special",), inplace=False)
def bessel_j1(input):
    """The Bessel function of the first kind of order 1."""
    return _first(np.float64(input), 1)


@pointwise(result="float", reference=_scipy("y0"), differs=True, domain=(0.1, 3.0), install=("special",), inplace=False)
def bessel_y0(input):
    """The Bessel function of the second kind of order 0; NaN below 0."""
    return _second(np.float64(input), 0)


@pointwise(result="float", reference=_scipy("y1"), differs=True, domain=(0.1, 3.0), install=("special",), inplace=False)
def bessel_y1(input):
    """The Bessel function of the second kind of order 1; NaN below 0."""
    return _second(np.float64(input), 1)


@bessel_j0.backward
def _(g, input):
    return -g * bessel_j1(input)


@bessel_j1.backward
def _(g, input, out):
    return g * (bessel_j0(input) - where(input == 0.0, 0.5, out / where(input == 0.0, 1.0, input)))


@bessel_y0.backward
def _(g, input):
    return -g * bessel_y1(input)


@bessel_y1.backward
def _(g, input, out):
    return g * (bessel_y0(input) - out / input)


@pointwise(result="float", differs=True, install=("special",), inplace=False,
           reference=lambda x: np.sinc(x / np.pi))  # fmt: skip
def spherical_bessel_j0(input):
    """``sin(input) / input``, 1 at 0."""
    return where(input == 0.0, 1.0, where(fabs(input) == INF, 0.0, sin(input) / where(input == 0.0, 1.0, input)))


@spherical_bessel_j0.backward
def _(g, input, out):
    near = fabs(input) < 0.01
    x = where(near, 1.0, input)
    z = input * input
    return g * where(near, input * (-1.0 / 3.0 + z * (1.0 / 30.0 - z / 840.0)), (cos(input) - out) / x)


# --- Airy's function -------------------------------------------------------------------------------------------------


def _airy_series(x):
    cube = x * x * x
    f, g, a, b = 1.0, x, 1.0, x
    for k in range(1, 80):
        m = 3.0 * k
        a *= cube / (m * (m - 1.0))
        b *= cube / (m * (m + 1.0))
        f += a
        g += b
        if fabs(a) + fabs(b) < EPSILON * 0.01 * (fabs(f) + fabs(g)):
            break
    return AIRY_AT_0 * f + AIRY_SLOPE_AT_0 * g


def _fractional_first(x, order):
    """J of an order between -1 and 1, for x from 1 to 30: Miller's recurrence, scaled by the sum of
    ``(order + 2k) gamma(order + k) / k! J(order + 2k) = (x / 2)**order``."""
    n = 2 * int(0.5 * (x + 25.0 + 3.0 * math.sqrt(x)))
    above, here, total = 0.0, SMALL, 0.0
    weight = math.exp(math.lgamma(order + n // 2) - math.lgamma(n // 2 + 1.0))  # gamma(order + k) / k! for k = n / 2
    for j in range(n, 0, -1):
        if j % 2 == 0:
            k = j // 2
            total += (order + j) * weight * here
            weight *= k / (order + k - 1.0)
        above, here = here, 2.0 * (order + j) / x * here - above
        if fabs(here) > LARGE:
            above, here, total = above / LARGE, here / LARGE, total / LARGE
    total += order * weight * here
    return here / total * (0.5 * x) ** order


def _airy(x):
    if isnan(x):
        return x
    if fabs(x) == INF:
        return 0.0
    size = fabs(x)
    root = math.sqrt(size)
    z = 2.0 / 3.0 * size * root
    third = 1.0 / 3.0
    if x > 1.0:
        return math.sqrt(x / 3.0) / PI * _growing_k(z, third) * math.exp(-z)
    if x > -2.5:
        return _airy_series(x)
    if z < 30.0:
        return root / 3.0 * (_fractional_first(z, third) + _fractional_first(z, -third))
    # Both orders have the same P and Q; cos(z - pi / 4 - pi / 6) + cos(z - pi / 4 + pi / 6) = sqrt(3) cos(z - pi / 4).
    p, q = _hankel(z, third)
    c, s = math.cos(z), math.sin(z)
    return (p * (c + s) - q * (s - c)) / math.sqrt(2.0 * PI * root)


@pointwise(result="float", differs=True, install=("special",), inplace=False, reference=lambda x: _scipy("airy")(x)[0])
def airy_ai(input):
    """Airy's function Ai."""
    return _airy(np.float64(input))
