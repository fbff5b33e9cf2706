"""The continuous Bernoulli distribution (arXiv:1907.06845)."""

import math

import numgrad as ng
from numgrad.nn.functional import binary_cross_entropy_with_logits

from . import constraints
from .discrete import _Odds
from .distribution import broadcast_all


class ContinuousBernoulli(_Odds):
    """The density on [0, 1] proportional to ``probs ** x * (1 - probs) ** (1 - x)``.

    Near ``probs`` = 1/2, between ``lims``, where its formulas divide 0 by 0, their Taylor series are used.
    """

    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, probs=None, logits=None, lims=(0.499, 0.501), validate_args=None):
        super().__init__(probs, logits, validate_args)
        self._lims = lims
        if probs is not None:
            eps = ng.finfo(self.probs.dtype).eps
            self.probs = self.probs.clamp(eps, 1 - eps)

    def _expand_more(self, new, batch_shape):
        new._lims = self._lims

    def _parts(self):
        """(where the formulas hold, probabilities moved to where they hold, distances from 1/2)."""
        probs = self.probs
        outside = (probs <= self._lims[0]) | (probs > self._lims[1])
        return outside, ng.where(outside, probs, self._lims[0]), probs - 0.5

    def _cont_bern_log_norm(self):
        """The logarithm of what the density is multiplied with to integrate to 1."""
        outside, cut, x = self._parts()
        below, above = cut.clamp(max=0.5), cut.clamp(min=0.5)
        log_span = ng.where(cut <= 0.5, ng.log1p(-2.0 * below), (2.0 * above - 1.0).log())
        found = (ng.log1p(-cut) - cut.log()).abs().log() - log_span
        return ng.where(outside, found, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x.square()) * x.square())

    @property
    def mean(self):
        outside, cut, x = self._parts()
        found = cut / (2.0 * cut - 1.0) + 1.0 / (ng.log1p(-cut) - cut.log())
        return ng.where(outside, found, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.square()) * x)

    @property
    def variance(self):
        outside, cut, x = self._parts()
        found = cut * (cut - 1.0) / (1.0 - 2.0 * cut).square() + 1.0 / (ng.log1p(-cut) - cut.log()).square()
        square = x.square()
        return ng.where(outside, found, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * square) * square)

    @property
    def stddev(self):
        return self.variance.sqrt()

    def sample(self, sample_shape=()):
        with ng.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        return self.icdf(ng.rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none") + self._cont_bern_log_norm()

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        outside, cut, _ = self._parts()
        found = (cut**value * (1.0 - cut) ** (1.0 - value) + cut - 1.0) / (2.0 * cut - 1.0)
        return ng.where(value <= 0.0, 0.0, ng.where(value >= 1.0, 1.0, ng.where(outside, found, value)))

    def icdf(self, value):
        outside, cut, _ = self._parts()
        found = (ng.log1p(-cut + value * (2.0 * cut - 1.0)) - ng.log1p(-cut)) / (cut.log() - ng.log1p(-cut))
        return ng.where(outside, found, value)

    def entropy(self):
        failure, success = ng.log1p(-self.probs), self.probs.log()
        return self.mean * (failure - success) - self._cont_bern_log_norm() - failure
