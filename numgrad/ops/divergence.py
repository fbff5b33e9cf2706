"""Divergences between near and far parameters: what is left of a convex function beyond its tangent.

Each is a difference that is small where its arguments are near each other and is computed from that distance, never from
the two values; so a divergence of nearly equal distributions has as many digits as their parameters' distance.
"""

import numpy as np

from ..kernels.vocab import cosh, digamma, exp, expm1, fabs, lgamma, log, log1p, sinh, where
from ..pointwise import pointwise
from .activation import log_sigmoid
from .gamma import _polygamma, polygamma_value
from .math import hyperbolic_tangent, logistic, logistic_slope

EPSILON = 2.0**-53
# B(2k) / 2k with B the Bernoulli numbers; of NumPy's type, which stays float64 in a float32 kernel.
STIRLING = tuple(map(np.float64, (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)))
INF = float("inf")
LOG_TWO_PI = np.float64(1.8378770664093453)
_INNER = {"install": (), "inplace": False, "refuse": "bi"}
_POSITIVE = 0.1, 3.0


def _log1p_rest(u):
    """``log1p(u) - u``, for float64."""
    if fabs(u) > 0.5:
        return log1p(u) - u
    s = u / (2.0 + u)  # log1p(u) = 2 atanh(s) = 2 s + 2 s**3 / 3 + ..., and 2 s - u = -u s
    z = s * s
    power = 2.0 * s * z
    total = 0.0
    k = 3.0
    while True:
        term = power / k
        total += term
        if fabs(term) <= EPSILON * fabs(total):
            return total - u * s
        power *= z
        k += 2.0


def _expm1_rest(x):
    """``expm1(x) - x``, for float64."""
    if fabs(x) > 0.5:
        return expm1(x) - x
    term = 0.5 * x * x
    total = term
    k = 3.0
    while fabs(term) > EPSILON * total:
        term *= x / k
        total += term
        k += 1.0
    return total


@pointwise(name="exponential_excess", **_INNER)
def exponential_excess(input):
    """``exp(input) - 1 - input``."""
    return _expm1_rest(np.float64(input))


@exponential_excess.backward
def _(g, input):
    return g * expm1(input)


def _excess(p, q):
    if p == 0.0 or not (q > 0.0 and q < INF and p < INF):
        return q if p == 0.0 else INF if q == 0.0 and p > 0.0 else p * log(p / q) - p + q
    u = (q - p) / p
    if fabs(u) < 0.5:
        return -p * _log1p_rest(u)
    return p * (log(p) - log(q)) - p + q


@pointwise(name="relative_entropy", domain=_POSITIVE, **_INNER)
def relative_entropy(input, other):
    """``input * log(input / other) - input + other``, of non-negative numbers; 0 where they are equal."""
    return _excess(np.float64(input), np.float64(other))


@relative_entropy.backward
def _(g, input, other):
    # Where the input is 0 the slope is infinite. Its log(0) is left out, as in `factorial_rest`, of which it is the other half.
    none = input == 0.0
    by_input = log_ratio(where(none, 1.0, input), where(none & (other == 0.0), 1.0, other))
    return g * by_input, g * _relative_step(input, where(none, 1.0, other))


@pointwise(name="relative_step", domain=_POSITIVE, **_INNER)
def _relative_step(input, other):
    """``(other - input) / other``."""
    return (other - input) / other


@_relative_step.backward
def _(g, input, other):
    return -g / other, g * (input / other / other)


@pointwise(name="log_ratio", domain=_POSITIVE, **_INNER)
def log_ratio(input, other):
    """``log(input / other)``, whose derivative by the one does not depend on the other."""
    return log(input / other)


@log_ratio.backward
def _(g, input, other):
    return g / input, -g / other


@pointwise(name="gamma_excess", domain=_POSITIVE, **_INNER)
def gamma_excess(shape, rate, value):
    """``relative_entropy(shape, rate * value)``: what the logarithm of a gamma density lacks of its largest."""
    return _excess(np.float64(shape), np.float64(rate) * np.float64(value))


@gamma_excess.backward
def _(g, shape, rate, value):
    return g * log_ratio(shape, rate * value), g * (value - shape / rate), g * (rate - shape / value)


def ratio_excess(input, other):
    """``r - 1 - log(r)`` of ``r = input / other``, of positive numbers; 0 where they are equal."""
    return gamma_excess(1.0, input, 1.0 / other)


# --- Bernoulli numbers by their log-odds -----------------------------------------------------------------------------


def _logit_divergence(a, b):
    if a > 0.0:  # the same from the other side, where the probability is the smaller
        a, b = -a, -b
    p = exp(a) / (1.0 + exp(a))
    d = b - a
    if fabs(d) < 1.0:
        # log(1 - p + p exp(d)) - p d
        return _log1p_rest(p * expm1(d)) + p * _expm1_rest(d)
    over = b if b > 0.0 else 0.0
    return over + log1p(exp(-fabs(b))) - log1p(exp(a)) - p * d


@pointwise(name="logit_divergence", **_INNER)
def logit_divergence(input, other):
    """The divergence of the Bernoulli distribution of log-odds ``other`` from that of log-odds ``input``."""
    return _logit_divergence(np.float64(input), np.float64(other))


@logit_divergence.backward
def _(g, input, other):
    return g * (logistic_slope(input) * (input - other)), g * _logistic_step(input, other)


@pointwise(name="log_logistic_slope", **_INNER)
def log_logistic_slope(input):
    """The logarithm of the logistic density, ``log_sigmoid(input) + log_sigmoid(-input)``."""
    size = fabs(input)
    return -size - 2.0 * log1p(exp(-size))


@log_logistic_slope.backward
def _(g, input):
    return -g * hyperbolic_tangent(0.5 * input)


@pointwise(name="logistic_step", **_INNER)
def _logistic_step(input, other):
    """``logistic(other) - logistic(input)``."""
    size = logistic(where(input < other, other, input)) * logistic(-where(input < other, input, other))
    size = size * expm1(-fabs(input - other))
    return where(input < other, -size, size)


@_logistic_step.backward
def _(g, input, other):
    return -g * logistic_slope(input), g * logistic_slope(other)


@pointwise(name="logit_entropy", **_INNER)
def logit_entropy(input):
    """The entropy of the Bernoulli distribution of log-odds ``input``."""
    a = fabs(np.float64(input))
    decay = exp(-a)
    return log1p(decay) + where(a < INF, a, 0.0) * (decay / (1.0 + decay))


@logit_entropy.backward
def _(g, input):
    return -g * (input * logistic_slope(input))


@pointwise(name="geometric_entropy", **_INNER)
def geometric_entropy(input):
    """`logit_entropy` over the probability: the entropy of the number of trials to the first success."""
    x = np.float64(input)
    if x > 0.0:
        decay = exp(-x)
        return (x * decay if x < INF else 0.0) + log1p(decay) * (1.0 + decay)
    odds = exp(x)
    return (log1p(odds) / odds if odds > 0.0 else 1.0) * (1.0 + odds) - x


@pointwise(name="geometric_decay", **_INNER)
def _geometric_decay(input):
    """``softplus(input) * exp(-input)``."""
    x = np.float64(input)
    if x > 0.0:
        return (x + log1p(exp(-x))) * exp(-x)
    odds = exp(x)
    return log1p(odds) / odds if odds > 0.0 else 1.0


@pointwise(name="geometric_decay_slope", **_INNER)
def _geometric_decay_slope(input):
    x = np.float64(input)
    if x > 0.0:
        decay = exp(-x)
        return decay * (1.0 / (1.0 + decay) - x - log1p(decay))
    odds = exp(x)
    return -(_log1p_rest(odds) / odds + odds / (1.0 + odds)) if odds > 0.0 else 0.0


@geometric_entropy.backward
def _(g, input):
    return -g * _geometric_decay(input)


@_geometric_decay.backward
def _(g, input):
    return g * _geometric_decay_slope(input)


@_geometric_decay_slope.backward
def _(g, input, out):
    return -g * (out + logistic_slope(input))


# --- the gamma function ----------------------------------------------------------------------------------------------


def _lgamma_divergence(a, b):
    if not (a > 0.0 and b > 0.0 and a < INF and b < INF):
        return lgamma(b) - lgamma(a) - digamma(a) * (b - a)
    step = b - a
    if fabs(step) > 0.5 * a and a < 20.0:
        return lgamma(b) - lgamma(a) - digamma(a) * step
    total = 0.0
    while a < 12.0 or b < 12.0:  # lgamma(x) = lgamma(x + 1) - log(x)
        total -= _log1p_rest(step / a)
        a += 1.0
        b += 1.0
    # By Stirling's series: x log x - x, -log(x) / 2, and B(2k) / (2k (2k - 1)) x**(1 - 2k).
    total += _excess(b, a) - 0.5 * _log1p_rest(step / a)
    for k in range(1, 8):
        m = 2.0 * k - 1.0
        # b**-m - a**-m + m (b - a) a**(-m - 1) is (b - a)**2 times the sum of j b**(j - 1) a**(m - j), over a**(m + 1) b**m.
        weights = 0.0
        for j in range(1, 2 * k):
            weights += j * (a / b) ** (m - j + 1.0)
        total += STIRLING[k - 1] / m * weights * (step / a) ** 2 * a**-m
    return total


def _digamma_step(a, b):
    step = b - a
    if not (a > 0.0 and b > 0.0 and a < INF and b < INF) or (fabs(step) > 0.5 * a and a < 20.0):
        return digamma(b) - digamma(a)
    total = 0.0
    while a < 12.0 or b < 12.0:  # digamma(x) = digamma(x + 1) - 1 / x
        total += step / a / b
        a += 1.0
        b += 1.0
    total += log1p(step / a) + 0.5 * step / a / b
    for k in range(1, 8):
        m = 2.0 * k
        weights = 0.0
        for j in range(2 * k):
            weights += (a / b) ** (m - j)
        total += STIRLING[k - 1] * weights * (step / a) * a**-m
    return total


@pointwise(name="lgamma_divergence", domain=_POSITIVE, **_INNER)
def lgamma_divergence(input, other):
    """``lgamma(other) - lgamma(input) - digamma(input) * (other - input)``, of positive numbers."""
    return _lgamma_divergence(np.float64(input), np.float64(other))


@pointwise(name="digamma_step", domain=_POSITIVE, **_INNER)
def digamma_step(input, other):
    """``digamma(other) - digamma(input)``, of positive numbers."""
    return _digamma_step(np.float64(input), np.float64(other))


@digamma_step.backward
def _(g, input, other):
    return -g * _polygamma(input, n=1), g * _polygamma(other, n=1)


# The parts of the logarithm of a factorial that do not cancel in ratios of factorials.


def log_factorial_rest(x):
    """``lgamma(x + 1) - x log(x) + x``, which is about ``log(2 pi x) / 2``, of ``x`` that is not negative."""
    if x < 12.0:
        return lgamma(x + 1.0) - (x * log(x) - x) if x > 0.0 else 0.0
    return 0.5 * (log(x) + LOG_TWO_PI) + _stirling(x, 0) if x < INF else x


def _stirling(x, n):
    """The ``n``-th derivative of Stirling's series."""
    total = 0.0
    power = 1.0 / x  # x**-m
    for k in range(1, 8):
        m = 2.0 * k - 1.0
        term = STIRLING[k - 1] / m * power
        for j in range(n):
            term *= -(m + j) / x
        total += term
        power /= x * x
    return total


def _rest(x, n):
    """The ``n``-th derivative of `log_factorial_rest`."""
    if not (x >= 0.0 and x < INF):
        return np.nan if x != x or x < 0.0 else INF if n == 0 else 0.0
    if n == 0:
        return log_factorial_rest(x)
    if x < 12.0:
        if n == 1:
            return digamma(x + 1.0) - (log(x) if x > 0.0 else 0.0)
        derivative = polygamma_value(x + 1.0, n - 1)
        if x == 0.0:
            return derivative
        power = 1.0  # of log: (-1)**n (n - 2)! x**(1 - n)
        for k in range(1, n - 1):
            power *= -k / x
        return derivative - power / x
    total = 0.5 / x
    for k in range(1, n):
        total *= -k / x
    return total + _stirling(x, n)


@pointwise(name="factorial_rest", domain=_POSITIVE, **_INNER)
def _factorial_rest(input, *, n):
    return _rest(np.float64(input), int(n))


@_factorial_rest.backward
def _(g, input, n):
    return g * _factorial_rest(input, n=n + 1)


@pointwise(name="trigamma_step", domain=_POSITIVE, **_INNER)
def _trigamma_step(input, other):
    """``trigamma(input) * (input - other)``."""
    return polygamma_value(np.float64(input), 1) * (np.float64(input) - np.float64(other))


@_trigamma_step.backward
def _(g, input, other):
    # The derivative of trigamma(x) x has large terms that cancel; by the rest of the factorial it has none.
    own = _factorial_rest(input, n=2) + input * _factorial_rest(input, n=3) - 1.0 / (input * input)
    return g * (own - other * _polygamma(input, n=2)), -g * _polygamma(input, n=1)


@lgamma_divergence.backward
def _(g, input, other):
    return g * _trigamma_step(input, other), g * digamma_step(input, other)


def factorial_rest(input, n=0):
    """``lgamma(input + 1) - input log(input) + input``, of non-negative numbers, or its ``n``-th derivative."""
    return _factorial_rest(input, n)


def _trials_divergence(k, left, a):
    n = k + left
    # The two terms by the log-odds, since far out one of the probabilities is 0 in float64 too.
    p, q = exp(a) / (1.0 + exp(a)) if a < 0.0 else 1.0 / (1.0 + exp(-a)), 1.0 / (1.0 + exp(a)) if a < 0.0 else exp(-a) / (1.0 + exp(-a))
    if fabs(a) < 600.0:
        return _excess(k, n * p) + _excess(left, n * q)
    if a < 0.0:
        return (k * (log(k / n) - a) if k > 0.0 else 0.0) - k + _excess(left, n)
    return (left * (log(left / n) + a) if left > 0.0 else 0.0) - left + _excess(k, n)


@pointwise(name="trials_divergence", domain=_POSITIVE, **_INNER)
def trials_divergence(count, left, logits):
    """``count + left`` times the divergence of Bernoulli trials of log-odds ``logits`` from those of odds ``count : left``."""
    return _trials_divergence(np.float64(count), np.float64(left), np.float64(logits))


@trials_divergence.backward
def _(g, count, left, logits):
    total = count + left
    by_count = log_ratio(where(count > 0.0, count, 1.0), total) - log_sigmoid(logits)
    by_left = log_ratio(where(left > 0.0, left, 1.0), total) - log_sigmoid(-logits)
    return g * by_count, g * by_left, g * (left * logistic(logits) - count * logistic(-logits))


# --- continuous Bernoulli numbers -------------------------------------------------------------------------------------

# Of log(x / tanh(x / 2)) - log(2), by powers of x**2.
LOG_NORM = tuple(map(np.float64, (
    0.083333333333333333333, -0.0048611111111111111111, 0.00034171075837742504409, -0.000026248346560846560847,
    2.1336045641601197157e-6, -1.8027895356488830916e-7, 1.5659479531834029189e-8, -1.38837067837002591e-9,
    1.2504263775315481832e-10, -1.1402553853609105852e-11, 1.0502918900453166989e-12, -9.7548766787216444986e-14,
    9.1234679589585562958e-15, -8.5837196979419134423e-16, 8.1173179946081065615e-17, -7.7105275105257791775e-18,
)))  # fmt: skip
LOG_TERMS = len(LOG_NORM)
NEAR_ODDS = 0.8  # up to where these do better than the formulas
LOG_TWO = np.float64(0.6931471805599453)


def _log_norm(x, n):
    size = fabs(x)
    if size < NEAR_ODDS:
        total = LOG_TWO if n == 0 else 0.0
        for k in range(1, LOG_TERMS + 1):
            m = 2.0 * k
            term = LOG_NORM[k - 1]
            for j in range(n):
                term *= m - j
            if m >= n:
                total += term * (x ** (m - n) if m > n else 1.0)
        return total
    decay = exp(-size)
    if n == 0:
        return log(size) + log1p(decay) - log1p(-decay)
    below = -expm1(-2.0 * size)
    csch, coth = 2.0 * decay / below, (1.0 + decay * decay) / below
    if n == 2:
        return csch * coth - 1.0 / (size * size)
    if n == 4:
        return csch * coth * (1.0 + 6.0 * csch * csch) - 6.0 / (size * size * size * size)
    odd = 1.0 / size - csch if n == 1 else 2.0 / (size * size * size) - csch * (coth * coth + csch * csch)
    return odd if x > 0.0 else -odd


@pointwise(name="continuous_bernoulli_norm", **_INNER)
def _continuous_bernoulli_norm(input, *, n):
    return _log_norm(np.float64(input), int(n))


@_continuous_bernoulli_norm.backward
def _(g, input, n):
    return g * _continuous_bernoulli_norm(input, n=n + 1)


@_continuous_bernoulli_norm.backward_as_ops
def _(g, input, n):
    if n < 3:
        return g * _continuous_bernoulli_norm(input, n + 1)
    # Of higher derivatives there is no more than the formula far from 0, and the series near it.
    near = fabs(input) < NEAR_ODDS
    x, z = where(near, 1.0, input), where(near, input, 0.0) ** 2
    csch = 1.0 / sinh(x)
    square = csch * csch
    far = csch * cosh(x) * csch * (1.0 + 6.0 * square) - 6.0 / (x * x) ** 2
    series = 0.0
    for k in range(LOG_TERMS, 1, -1):
        m = 2 * k
        series = series * z + float(LOG_NORM[k - 1]) * (m * (m - 1) * (m - 2) * (m - 3))
    return g * where(near, series, far)


def continuous_bernoulli_norm(input, n=0):
    """``log(input / tanh(input / 2))``, or its ``n``-th derivative, up to 4: what the density of log-odds ``input`` is
    multiplied with."""
    return _continuous_bernoulli_norm(input, n)
