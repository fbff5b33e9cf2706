"""Error functions and the logarithm of the gamma function with its derivative."""

import math

import numpy as np
from numba import types

from .jit import scalar
from .vmath_exp import exp, exp_bounded, exp_parts, log
from .vmath_llvm import by_type, by_width, implements, like, polynomial, select, word
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
SCALED_ERFC_F32 = (
    1.2530080080032349, -0.13562104105949402, -0.04756231978535652, 0.12964263558387756, -0.11927355080842972,
    0.06833798438310623, -0.023764431476593018, 0.002390374895185232, 0.0018375278450548649, -0.0005265725776553154,
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


@scalar
def _erf_near_f32(x):
    return x * polynomial(x * x, ERF_F32)


@scalar
def _erf_near_f64(x):
    return x * polynomial(x * x, ERF_F64)


_erf_near = by_type(_erf_near_f32, _erf_near_f64)  # an odd polynomial, for |x| below 0.92 and 0.5


@word
def erf(x):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return _special("erf")(x)


@implements(erf, types.float32)
def _erf_f32(x):
    # Beyond the odd polynomial 1 - exp(log erfc |x|), the logarithm being nearly a parabola.
    a = fabs(x)
    a = select(a > np.float32(3.95), np.float32(3.95), a)  # from there on erf rounds to 1
    far = copysign(np.float32(1) - exp_bounded(polynomial(a, LOG_ERFC_F32)), x)
    return select(a > np.float32(0.921875), far, _erf_near(x))


@implements(erf, types.float64)
def _erf_f64(x):
    a = fabs(x)
    return select(a > 0.5, copysign(1.0 - _erfc_far(a), x), _erf_near(x))


# --- erfc ------------------------------------------------------------------------------------------------------


@scalar
def _scaled_erfc_f32(t):
    return polynomial(t, SCALED_ERFC_F32)


@scalar
def _scaled_erfc_f64(t):
    return polynomial(t, SCALED_ERFC_F64)


_scaled_erfc = by_type(_scaled_erfc_f32, _scaled_erfc_f64)  # exp(a**2) erfc(a) (1 + 2 a) of t = (a - 3) / (a + 3)


@scalar
def _erfc_far(a):
    """erfc(a) for a >= 1/2."""
    three, limit = like(a, 3.0), by_width(a, 10.1, 27.5)  # beyond the limit erfc rounds to 0
    a = select(a > limit, limit, a)
    square = a * a
    lost = fma(a, a, -square)  # the exponential would magnify what rounding took from the square
    p, s, t = exp_parts(-square)
    v = like(a, 1.0) + p
    v = fma(-lost, v, v)
    return v * _scaled_erfc((a - three) / (a + three)) / (like(a, 1.0) + a + a) * s * t


@word
def erfc(x):
    """1 - erf(x), accurate for large x."""
    return _special("erfc")(x)


@implements(erfc)
def _erfc(x):
    a = fabs(x)
    far = _erfc_far(a)
    far = select(x < like(x, 0.0), like(x, 2.0) - far, far)
    return select(a > like(x, 0.5), far, like(x, 1.0) - _erf_near(x))


# --- the normal distribution --------------------------------------------------------------------------------------

# exp(a**2 / 2) times the distribution function of -a, for a from 0 to 14: a quotient of polynomials.
NORMAL_TAIL_F32 = (
    (0.5, 0.4372483193874359, 0.18245983123779297, 0.040371861308813095, 0.00407750066369772),
    (1.0, 1.6723816394805908, 1.1992826461791992, 0.46742382645606995, 0.101204052567482, 0.010220649652183056),
)  # fmt: skip
SQRT_HALF = 0.7071067811865476


@word
def normal_cdf(x):
    """The standard normal distribution function, accurate in its lower tail too."""
    return _special("ndtr")(x)


@implements(normal_cdf, types.float32)
def _normal_cdf_f32(x):
    above, below = NORMAL_TAIL_F32
    a = fabs(x)
    a = select(a > np.float32(14.5), np.float32(14.5), a)  # from there on it rounds to 0
    tail = exp(np.float32(-0.5) * x * x) * (polynomial(a, above) / polynomial(a, below))
    return select(x > np.float32(0), np.float32(1) - tail, tail)


@implements(normal_cdf, types.float64)
def _normal_cdf_f64(x):
    return 0.5 * erfc(-x * SQRT_HALF)


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


@scalar
def _erfinv_start(a):
    """erfinv(a) to 4e-6, from polynomials in w = -log(1 - a**2).

    M. Giles, "Approximating the erfinv function", 2010.
    """
    w = -log((1.0 - a) * (1.0 + a))
    return a * select(w < 6.25, polynomial(w - 3.125, ERFINV_NEAR), polynomial(sqrt(w) - 4.3, ERFINV_FAR))


@scalar
def _erfinv_refined(y, a):
    """One step of Halley's method, which cubes the error."""
    error = select(a < 0.5, erf(y) - a, (1.0 - a) - erfc(y))
    step = HALF_SQRT_PI * error * exp(y * y)
    return y - step / (1.0 + y * step)


@scalar
def _erfinv_edges(y, x):
    a = fabs(x)
    return copysign(select(a < 1.0, y, select(a == 1.0, math.inf, math.nan)), x)


@implements(erfinv, types.float64)
def _erfinv_f64(x):
    a = fabs(x)
    once = _erfinv_refined(_erfinv_start(a), a)
    return _erfinv_edges(_erfinv_refined(once, a), x)  # one step alone leaves 100 ulps close to 1


@implements(erfinv, types.float32)
def _erfinv_f32(x):
    a = np.float64(fabs(x))
    return np.float32(_erfinv_edges(_erfinv_refined(_erfinv_start(a), a), np.float64(x)))


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
