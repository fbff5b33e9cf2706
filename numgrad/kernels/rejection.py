"""Samplers that propose numbers until one is accepted: gamma and binomial, in the draws of PyTorch's CPU generator.

As in random.py slot 0 of every kernel is the generator's block, and the kernels are serial. Parameters are read in the
dtype that they are stored in, and what PyTorch rounds to that dtype is rounded here too; all else is double precision.
"""

import math

import numpy as np

from .jit import kernel_template, pointer, routine
from .mt19937 import next_unit
from .random import next_normal

_ONE, _THIRD, _SQUEEZE = np.float32(1.0), np.float32(1.0) / np.float32(3.0), np.float64(np.float32(0.0331))


@routine
def _next_gamma(state, shape):
    """A gamma number of ``shape`` and rate 1: Marsaglia and Tsang, ACM Transactions on Mathematical Software 26 (2000)."""
    scale = 1.0
    if shape < _ONE:
        if shape == 0.0:
            return 0.0
        scale = (1.0 - next_unit(state)) ** np.float64(_ONE / shape)
        shape = shape + _ONE
    d = np.float64(shape - _THIRD)
    c = 1.0 / np.sqrt(9.0 * d)
    while True:
        x = next_normal(state)
        y = 1.0 + c * x
        while y <= 0.0:
            x = next_normal(state)
            y = 1.0 + c * x
        v = y * y * y
        u = 1.0 - next_unit(state)
        square = x * x
        if u < 1.0 - _SQUEEZE * square * square:
            return scale * d * v
        if math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
            return scale * d * v
        if v != v:  # of a NaN shape
            return v


@kernel_template
def gamma(operands, begin, end, *, T, tiny):
    """Gamma numbers of rate 1 with a shape each, at least ``tiny``. Slots: state, out (T), shapes (T)."""
    state, out, shapes = pointer(operands, 0, np.uint32), pointer(operands, 1, T), pointer(operands, 2, T)
    for k in range(begin, end):
        drawn = T(_next_gamma(state, shapes[k]))
        out[k] = T(tiny) if drawn < T(tiny) else drawn


# --- binomial ------------------------------------------------------------------------------------------------------

# ln(k!) minus Stirling's formula for it, for k from 0 to 9.
_TAIL = tuple(
    math.lgamma(k + 1.0) - (k + 0.5) * math.log(k + 1.0) + (k + 1.0) - 0.5 * math.log(2.0 * math.pi) for k in range(10)
)


@routine
def _stirling_tail(k):
    if k <= 9.0:
        return _TAIL[int(k)]
    square = (k + 1.0) * (k + 1.0)
    return (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / (k + 1.0)


@routine
def _by_waiting(state, count, p):
    """Successes by the waiting times between them, which are geometric: of few of them."""
    log_failure = np.float64(math.log1p(-p))
    trials, successes = 0.0, 0.0
    while True:
        u = next_unit(state)
        trials += np.ceil(math.log(u) / log_failure) if u > 0.0 else np.inf
        if trials > count:
            return successes
        successes += 1.0


@routine
def _by_transformed_rejection(state, count, p):
    """Successes by Hoermann's algorithm BTRS, Journal of Statistical Computation and Simulation 46 (1993)."""
    failure = _ONE - p
    deviation = np.float64(np.sqrt(count * p * failure))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * np.float64(p)
    centre = np.float64(count * p) + 0.5
    squeeze = 0.92 - 4.2 / b
    odds = np.float64(p / failure)
    alpha = (2.83 + 5.1 / b) * deviation
    mode = np.float64(np.floor((count + _ONE) * p))
    n = np.float64(count)
    at_mode = (mode + 0.5) * math.log((mode + 1.0) / (odds * (n - mode + 1.0))) + _stirling_tail(mode)
    at_mode += _stirling_tail(n - mode)
    while True:
        u = next_unit(state) - 0.5
        v = next_unit(state)
        distance = 0.5 - abs(u)
        if distance == 0.0:
            continue
        k = math.floor((2.0 * a / distance + b) * u + centre)
        if k < 0.0 or k > n:
            continue
        if distance >= 0.07 and v <= squeeze:
            return np.float64(k)
        k = np.float64(k)
        ratio = v * alpha / (a / (distance * distance) + b)
        bound = at_mode + (n + 1.0) * math.log((n - mode + 1.0) / (n - k + 1.0))
        bound += (k + 0.5) * math.log(odds * (n - k + 1.0) / (k + 1.0)) - _stirling_tail(k) - _stirling_tail(n - k)
        if ratio <= 0.0 or math.log(ratio) <= bound:
            return k


@routine
def _next_binomial(state, count, p):
    if count <= 0.0 or p <= 0.0:
        return 0.0
    if p >= 1.0:
        return np.float64(count)
    if p != p:
        return np.nan
    flipped = p > 0.5
    rarer = _ONE - p if flipped else p + np.float32(0.0)
    if count * rarer >= 10.0:
        found = _by_transformed_rejection(state, count, rarer)
    else:
        found = _by_waiting(state, count, rarer)
    return np.float64(count) - found if flipped else found


@kernel_template
def binomial(operands, begin, end, *, T):
    """Successes in as many trials, of a probability each. Slots: state, out, trials, probabilities (all T)."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, T)
    counts, probabilities = pointer(operands, 2, T), pointer(operands, 3, T)
    for k in range(begin, end):
        out[k] = T(_next_binomial(state, counts[k], probabilities[k]))
