"""Error functions and the logarithm of the gamma function with its derivative."""

import math

import numpy as np
from numba import types

from .jit import scalar
from .vmath_exp import exp, exp_bounded, exp_parts, log
from .vmath_llvm import implements, polynomial, select, word
from .vmath_plain import copysign, fabs, fma, round, sqrt

ERF_F32 = (
    1.1283791065216064, -0.37612494826316833, 0.1128181591629982, -0.026766616851091385, 0.004993180278688669,
    -0.0005990853533148766,
)  # fmt: skip
LOG_ERFC_F32 = (
    -0.00019855558639392257, -1.1276637315750122, -0.637202262878418, -0.10391402244567871, 0.022218449041247368,
    -0.003041092539206147, 0.00019572062592487782,
)  # fmt: skip
ERF_F64 = (
    1.1283791670955126, -0.37612638903183465, 0.11283791670924813, -0.026866170632715774, 0.005223977370326186,
    -0.0008548297524384977, 0.00012053324313378176, -1.4845583736067827e-05, 1.4723215365780344e-06,
)  # fmt: skip
SCALED_ERFC_F64 = (
    1.2530080582697296, -0.13562110612458209, -0.047562294353421485, 0.12964515870286686, -0.1192736634170981,
    0.06830802734045013, -0.023770514875879067, 0.0025293918671811595, 0.0018886898350676032,
    -0.0007798326482725357, -0.0001051560678673319, 0.00012510078087793418, 4.933083438321531e-06,
    -2.0102731569315738e-05, -6.860685837857814e-07, 3.46965933445466e-06, 2.7846273631499995e-07,
    -6.005403742656322e-07, -6.197059747790091e-08, 7.790011363709929e-08,
)  # fmt: skip


def _special(name):
    # SciPy takes 100 ms to import, and only plain Python needs it.
    import scipy.special

    return getattr(scipy.special, name)


# --- erf -------------------------------------------------------------------------------------------------------


@word
def erf(x):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return _special("erf")(x)


@implements(erf, types.float32)
def _erf_f32(x):
    # An odd polynomial near 0; else 1 - exp(log erfc |x|), the logarithm being nearly a parabola.
    a = fabs(x)
    a = select(a > np.float32(3.95), np.float32(3.95), a)  # from there on erf rounds to 1
    near = x * polynomial(x * x, ERF_F32)
    far = copysign(np.float32(1) - exp_bounded(polynomial(a, LOG_ERFC_F32)), x)
    return select(a > np.float32(0.921875), far, near)


@scalar
def _erfc_far_f64(a):
    """erfc(a) for a >= 1/2: exp(-a**2) / (1 + 2 a) times a polynomial in (a - 3) / (a + 3)."""
    a = select(a > 27.5, 27.5, a)
    square = a * a
    lost = fma(a, a, -square)  # up to 2**-44, and exp would multiply its absence by 745
    p, s, t = exp_parts(-square)
    v = 1.0 + p
    v = fma(-lost, v, v)
    return v * polynomial((a - 3.0) / (a + 3.0), SCALED_ERFC_F64) / (1.0 + 2.0 * a) * s * t


@implements(erf, types.float64)
def _erf_f64(x):
    a = fabs(x)
    return select(a > 0.5, copysign(1.0 - _erfc_far_f64(a), x), x * polynomial(x * x, ERF_F64))


@word
def erfc(x):
    """1 - erf(x), accurate for large x."""
    return _special("erfc")(x)


@implements(erfc, types.float64)
def _erfc_f64(x):
    a = fabs(x)
    far = _erfc_far_f64(a)
    far = select(x < 0.0, 2.0 - far, far)
    return select(a > 0.5, far, 1.0 - x * polynomial(x * x, ERF_F64))


@implements(erfc, types.float32)
def _erfc_f32(x):
    return np.float32(erfc(np.float64(x)))


# --- erfinv ----------------------------------------------------------------------------------------------------

ERFINV_NEAR = (
    1.6536546749203374, 0.24015803793562784, -0.006034274260018815, -0.0007405022786063499, 0.0001872526062576856,
    -1.3959597668757568e-05, -1.5232207365734772e-06, 4.355882645064764e-07, -8.727998615803471e-09,
    -5.0599167609231485e-09,
)  # fmt: skip
ERFINV_FAR = (
    4.142715567293594, 1.0100955290615241, 0.0007167484810416248, -0.000718587583724449, 5.377148781608173e-05,
    6.7218629818139e-05, 8.203278967538104e-05, -4.566910112067091e-05,
)  # fmt: skip
HALF_SQRT_PI = 0.886226925452758


@word
def erfinv(x):
    """The y with erf(y) = x; infinite at -1 and 1, NaN beyond."""
    return np.copysign(_special("erfinv")(x), x)


@implements(erfinv, types.float64)
def _erfinv_f64(x):
    # A start good to 4e-6 from polynomials in w = -log(1 - x**2) (M. Giles, "Approximating the erfinv function",
    # 2010), then Halley's method, whose steps cube the error; one alone leaves 100 ulps close to 1.
    a = fabs(x)
    w = -log((1.0 - a) * (1.0 + a))
    near = polynomial(w - 3.125, ERFINV_NEAR)
    far = polynomial(sqrt(w) - 4.3, ERFINV_FAR)
    y = a * select(w < 6.25, near, far)
    for _ in range(2):
        error = select(a < 0.5, erf(y) - a, (1.0 - a) - erfc(y))
        step = HALF_SQRT_PI * error * exp(y * y)
        y = y - step / (1.0 + y * step)
    return copysign(select(a < 1.0, y, select(a == 1.0, math.inf, math.nan)), x)


@implements(erfinv, types.float32)
def _erfinv_f32(x):
    return np.float32(erfinv(np.float64(x)))


# --- gamma -----------------------------------------------------------------------------------------------------


@word
def lgamma(x):
    """The logarithm of the gamma function's magnitude."""
    return _special("gammaln")(x) if np.isfinite(x) else np.fabs(x)


@implements(lgamma, types.float64)
def _lgamma_f64(x):
    return math.lgamma(x)


@implements(lgamma, types.float32)
def _lgamma_f32(x):
    return np.float32(lgamma(np.float64(x)))


DIGAMMA_ROOT, DIGAMMA_ROOT_REST = 1.4616321449683622, 9.549995429965697e-17
DIGAMMA_NEAR_ROOT = (
    0.9510558760318328, -0.4236274212814572, 0.24054248424077768, -0.14840492305487385, 0.09498872445448373,
    -0.06192213318961157, 0.040760833835903024, -0.02697580006507992, 0.017907251827604775, -0.011908145891064524,
    0.007926953800143422, -0.00528090942535823, 0.0035189230523594737, -0.002337513422627577, 0.0015571013602475995,
    -0.0010778301371365269, 0.0007217279584271741, -0.0003544755244506354, 0.00023024576084845508,
    -0.00037863369968127463, 0.00025727235131964174,
)  # fmt: skip
# B(2k) / 2k with B the Bernoulli numbers.
DIGAMMA_ASYMPTOTIC = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


@word
def digamma(x):
    """The derivative of lgamma; NaN at negative whole numbers, -inf at 0 and inf at -0."""
    return _special("digamma")(x)


@implements(digamma, types.float64)
def _digamma_f64(x):
    if x == 0.0:
        return copysign(math.inf, -x)
    result = 0.0
    if x < 0.0:
        # psi(x) = psi(1 - x) - pi / tan(pi x), with the tangent of the fraction only.
        fraction = x - round(x)
        if fraction == 0.0 or x == -math.inf:
            return math.nan
        result = -math.pi / math.tan(math.pi * fraction)
        x = 1.0 - x
    if x < 10.0:
        # psi(x + 1) = psi(x) + 1 / x, into [1, 2], where psi is (x - root) times a polynomial.
        while x > 2.0:
            x -= 1.0
            result += 1.0 / x
        while x < 1.0:
            result -= 1.0 / x
            x += 1.0
        return result + ((x - DIGAMMA_ROOT) - DIGAMMA_ROOT_REST) * polynomial(x - 1.5, DIGAMMA_NEAR_ROOT)
    z = 1.0 / (x * x)
    return result + (math.log(x) - 0.5 / x - z * polynomial(z, DIGAMMA_ASYMPTOTIC))


@implements(digamma, types.float32)
def _digamma_f32(x):
    return np.float32(digamma(np.float64(x)))
