"""Gamma, Dirichlet and binomial numbers, and the derivatives of samples by their parameters.

A sample x of a distribution function F(x; a) moves with the parameter as F stays where it is: ``dx/da = -F_a / F_x``
(arXiv:1805.08498, arXiv:1806.01851). F_a is found by differentiating the continued fraction, or the series, of F.
"""

import math

import numpy as np

from .. import generator as streams
from ..kernels.vocab import fabs
from ..op import as_tensor_operand, function
from ..pointwise import pointwise
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor
from .gamma import CORRECTIONS, EPSILON
from .random import _draw, _floating

_NORMAL_FROM = 1e5  # shapes from here on: a normal number's cube, up to 1e-7
_MOST = 20000


def _log_minus_digamma(x):
    """``log(x) - digamma(x)`` for x > 0, without the loss of their difference."""
    found = 0.0
    while x < 12.0:
        found += 1.0 / x + math.log(x / (x + 1.0))
        x += 1.0
    square = 1.0 / (x * x)
    power = square
    found += 0.5 / x
    factor = 1.0  # (2k - 1)!: CORRECTIONS holds B(2k) / (2k)!
    for k in range(8):
        found += CORRECTIONS[k] * factor * power
        power *= square
        factor *= (2.0 * k + 2.0) * (2.0 * k + 3.0)
    return found


# --- gamma ---------------------------------------------------------------------------------------------------------


def _gamma_slope(a, x):
    """dx/da of a gamma number x of shape a and rate 1."""
    if not (a > 0.0 and x > 0.0):
        return np.nan
    if math.isinf(x):
        return np.nan
    if a > _NORMAL_FROM:  # x = a (1 - 1 / 9a + z / 3 sqrt(a))^3 with a normal z (Wilson and Hilferty, 1931)
        y = math.exp(math.log(x / a) / 3.0)
        return y * y * (1.5 - 0.5 * y + 1.0 / (6.0 * a))
    tilt = math.log(x / a) + _log_minus_digamma(a)  # log x - digamma(a)
    if x < a + 1.0:  # P = x^a exp(-x) / Gamma(a + 1) * sum of x^n / ((a + 1) ... (a + n))
        tilt -= 1.0 / a
        term, harmonic = 1.0, 0.0
        total, slope = 1.0, 0.0
        for n in range(1, _MOST):
            harmonic += 1.0 / (a + n)
            term *= x / (a + n)
            total += term
            slope += term * harmonic
            if term < EPSILON * total:
                break
        return x / a * (slope - tilt * total)
    # Q = x^a exp(-x) / Gamma(a) * h, h a continued fraction (Lentz's method), each number with its derivative by a
    b = x + 1.0 - a
    d = 1.0 / b
    dd = d * d
    h, dh = d, dd
    c, dc = 1e36, 0.0
    for k in range(1, _MOST):
        factor = -k * (k - a)
        b += 2.0
        dc = (k - factor * dc / c) / c - 1.0
        c = b + factor / c
        below = b + factor * d
        dd = (1.0 - k * d - factor * dd) / (below * below)
        d = 1.0 / below
        step, moved = c * d, h * (dc * d + c * dd)
        dh = dh * step + moved
        h *= step
        if fabs(step - 1.0) < 4.0 * EPSILON and fabs(moved) <= 4.0 * EPSILON * fabs(dh):
            break
    return x * (dh + tilt * h)


@pointwise(install=(), name="gamma_slope", refuse="bi", inplace=False, no_gradient=("input", "sample"), domain=(0.5, 3.0))
def _standard_gamma_grad(input, sample):
    return _gamma_slope(np.float64(input), np.float64(sample))


@structured(install=("ng",), cases="none")
def _standard_gamma(input, *, generator=None):
    """Gamma numbers of rate 1, each of the shape (parameter) at its place in ``input``, with a gradient."""
    _floating("gamma_cpu", input)
    found = empty_tensor(meta(input._m.dtype, input._m.shape, input._m.device))
    return _draw(found, lambda flat: streams.fill_gamma(flat, np.ascontiguousarray(input._host()).ravel(), generator))


@_standard_gamma.backward
def _(g, input, out):
    return g * _standard_gamma_grad(input, out)


# --- Dirichlet -----------------------------------------------------------------------------------------------------


def _beta_slope(x, a, b):
    """dx/da of a beta number x of parameters a and b, over 1 - x."""
    if not (a > 0.0 and b > 0.0):
        return np.nan
    x = min(max(x, 1e-36), 1.0 - EPSILON)
    y = 1.0 - x
    # log x - digamma(a) + digamma(a + b)
    tilt = math.log(x * (a + b) / a) + _log_minus_digamma(a) - _log_minus_digamma(a + b)
    if x * (a + b + 2.0) < a + 1.0:  # F = x^a y^b / (a B(a, b)) * h
        h, dh = _beta_fraction(a, b, x, True)
        return -x / a * ((tilt - 1.0 / a) * h + dh)
    h, dh = _beta_fraction(b, a, y, False)  # 1 - F, with the parameters' roles exchanged
    return x / b * (tilt * h + dh)


def _beta_fraction(a, b, x, by_first):
    """The continued fraction of the incomplete beta function, and its derivative by ``a`` or else by ``b``."""
    da = 1.0 if by_first else 0.0
    db = 1.0 - da
    c, dc = 1.0, 0.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    dd = -(x / (a + 1.0) - da * (a + b) * x / ((a + 1.0) * (a + 1.0)))
    d, dd = 1.0 / d, -dd / (d * d)
    h, dh = d, dd
    for m in range(1, _MOST):
        two = a + 2.0 * m
        settled = True
        for odd in range(2):
            if odd == 0:
                under = (two - 1.0) * two
                factor = m * (b - m) * x / under
                by = (m * db * x - factor * da * (2.0 * two - 1.0)) / under
            else:
                under = two * (two + 1.0)
                factor = -(a + m) * (a + b + m) * x / under
                by = (-(da * (a + b + m) + (a + m)) * x - factor * da * (2.0 * two + 1.0)) / under
            dc = (by - factor * dc / c) / c
            c = 1.0 + factor / c
            below = 1.0 + factor * d
            dd = -(by * d + factor * dd) / (below * below)
            d = 1.0 / below
            step, moved = c * d, h * (dc * d + c * dd)
            dh = dh * step + moved
            h *= step
            settled = settled and fabs(step - 1.0) < 4.0 * EPSILON and fabs(moved) <= 4.0 * EPSILON * fabs(dh)
        if settled:
            break
    return h, dh


@pointwise(install=(), name="dirichlet_slope", refuse="bi", inplace=False, no_gradient=("x", "alpha", "total"), domain=(0.2, 0.8))
def _dirichlet_grad(x, alpha, total):
    return _beta_slope(np.float64(x), np.float64(alpha), np.float64(total) - np.float64(alpha))


@structured(install=("ng",), cases="none")
def _sample_dirichlet(input, *, generator=None):
    """Vectors along the last dimension that sum to 1, of the concentrations ``input``, with a gradient."""
    _floating("dirichlet", input)
    m = input._m

    def fill(flat):
        gammas = np.empty(m.numel)
        streams.fill_gamma(gammas, np.ascontiguousarray(input._host(), np.float64).ravel(), generator)
        gammas = gammas.reshape(m.shape)
        T = m.dtype.compute
        shares = gammas / gammas.sum(-1, keepdims=True) if m.ndim else gammas / gammas
        limits = np.finfo(T)
        np.copyto(flat, np.clip(shares.astype(T), limits.tiny, np.nextafter(T(1), T(0))).ravel())

    return _draw(empty_tensor(meta(m.dtype, m.shape, m.device)), fill)


@_sample_dirichlet.backward
def _(g, input, out):
    total = input.sum(-1, True).expand(input._m.shape)
    return _dirichlet_grad(out, input, total) * (g - (out * g).sum(-1, True))


# --- binomial ------------------------------------------------------------------------------------------------------


@structured(install=(), cases="none", name="binomial_counts", no_gradient=("count",), grad_name="BinomialBackward0")
def _counts(count, prob, *, generator=None):
    """Counts of the broadcast shape of trials and probabilities."""
    shape = np.broadcast_shapes(tuple(count._m.shape), tuple(prob._m.shape))

    def fill(flat):
        trials, chances = (np.ascontiguousarray(np.broadcast_to(t._host(), shape)).ravel() for t in (count, prob))
        streams.fill_binomial(flat, trials, chances, generator)

    return _draw(empty_tensor(meta(count._m.dtype, shape, count._m.device)), fill)


@function(install=("ng",))
def binomial(count, prob, generator=None) -> Tensor:
    """How many of ``count`` trials succeed, each with probability ``prob``: two tensors of one floating dtype, broadcast.

    Raises ValueError for dtypes that are not floating-point, RuntimeError where the two differ.
    """
    count, prob = as_tensor_operand("binomial", count, "count"), as_tensor_operand("binomial", prob, "prob")
    for name, value in (("count", count), ("prob", prob)):
        if not value._m.dtype.is_floating_point:
            raise ValueError(f"binomial only supports floating-point dtypes for {name}, got: {value._m.dtype!r}")
    if count._m.dtype is not prob._m.dtype:
        raise RuntimeError(f"binomial: expected one dtype, got {count._m.dtype!r} for count and {prob._m.dtype!r} for prob")
    return _counts(count, prob, generator=generator)
