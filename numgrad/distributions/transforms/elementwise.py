"""Transforms of single numbers."""

import math

import numgrad as ng
from numgrad.nn.functional import logsigmoid, softplus

from .. import constraints
from ..utils import broadcast_all, sum_rightmost
from .base import Transform


class _Rising(Transform):
    """One to one, and larger for larger numbers."""

    bijective = True

    @property
    def sign(self):
        return 1


class ExpTransform(_Rising):
    """``y = exp(x)``."""

    codomain = constraints.positive

    def _call(self, x):
        return x.exp()

    def _inverse(self, y):
        return y.log()

    def log_abs_det_jacobian(self, x, y):
        return x


class PowerTransform(Transform):
    """``y = x ** exponent`` for positive x."""

    domain = constraints.positive
    codomain = constraints.positive
    bijective = True

    def __init__(self, exponent, cache_size=0):
        super().__init__(cache_size)
        (self.exponent,) = broadcast_all(exponent)

    def _arguments(self):
        return (self.exponent,)

    @property
    def sign(self):
        return self.exponent.sign()

    def _call(self, x):
        return x.pow(self.exponent)

    def _inverse(self, y):
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x, y):
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape):
        return ng.broadcast_shapes(tuple(shape), tuple(self.exponent.shape))

    inverse_shape = forward_shape


class SigmoidTransform(_Rising):
    """``y = 1 / (1 + exp(-x))``, kept off 0 and 1."""

    codomain = constraints.unit_interval

    def _call(self, x):
        return clipped_sigmoid(x)

    def _inverse(self, y):
        limits = ng.finfo(y.dtype)
        y = y.clamp(limits.tiny, 1.0 - limits.eps)
        return y.log() - ng.log1p(-y)

    def log_abs_det_jacobian(self, x, y):
        return logsigmoid(x) + logsigmoid(-x)


def clipped_sigmoid(x):
    """The sigmoid, kept off 0 and 1."""
    limits = ng.finfo(x.dtype)
    return ng.sigmoid(x).clamp(limits.tiny, 1.0 - limits.eps)


class SoftplusTransform(_Rising):
    """``y = log(1 + exp(x))``; x itself above 20."""

    codomain = constraints.positive

    def _call(self, x):
        return softplus(x)

    def _inverse(self, y):
        return (-ng.expm1(-y)).log() + y

    def log_abs_det_jacobian(self, x, y):
        return logsigmoid(x)


class TanhTransform(_Rising):
    """``y = tanh(x)``; with ``cache_size=1`` its inverse is safe near -1 and 1."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x):
        return x.tanh()

    def _inverse(self, y):
        return y.atanh()

    def log_abs_det_jacobian(self, x, y):
        return 2.0 * (math.log(2.0) - x + logsigmoid(2.0 * x))


class AbsTransform(Transform):
    """``y = |x|``, with the positive x as the inverse."""

    codomain = constraints.positive

    def _call(self, x):
        return x.abs()

    def _inverse(self, y):
        return y


class AffineTransform(Transform):
    """``y = loc + scale * x``, each a number or a tensor; the last ``event_dim`` dimensions make one value."""

    bijective = True

    def __init__(self, loc, scale, event_dim=0, cache_size=0):
        super().__init__(cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    def _arguments(self):
        return self.loc, self.scale, self._event_dim

    @property
    def event_dim(self):
        return self._event_dim

    def _region(self):
        return constraints.independent(constraints.real, self._event_dim) if self._event_dim else constraints.real

    @constraints.dependent_property
    def domain(self):
        return self._region()

    @constraints.dependent_property
    def codomain(self):
        return self._region()

    @property
    def sign(self):
        if isinstance(self.scale, ng.Tensor):
            return self.scale.sign()
        return (self.scale > 0) - (self.scale < 0)

    def _call(self, x):
        return self.loc + self.scale * x

    def _inverse(self, y):
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x, y):
        if isinstance(self.scale, ng.Tensor):
            found = self.scale.abs().log().expand(ng.broadcast_shapes(tuple(self.scale.shape), tuple(x.shape)))
        else:
            found = ng.full_like(x, math.log(abs(self.scale)))
        return sum_rightmost(found, self._event_dim)

    def forward_shape(self, shape):
        shapes = [tuple(v.shape) for v in (self.loc, self.scale) if isinstance(v, ng.Tensor)]
        return ng.broadcast_shapes(tuple(shape), *shapes)

    inverse_shape = forward_shape


class CumulativeDistributionTransform(_Rising):
    """``y = distribution.cdf(x)``: values of ``distribution`` become uniform."""

    codomain = constraints.unit_interval

    def __init__(self, distribution, cache_size=0):
        super().__init__(cache_size)
        self.distribution = distribution

    def _arguments(self):
        return (self.distribution,)

    @constraints.dependent_property
    def domain(self):
        return self.distribution.support

    def _call(self, x):
        return self.distribution.cdf(x)

    def _inverse(self, y):
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x, y):
        return self.distribution.log_prob(x)
