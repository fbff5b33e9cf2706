"""The continuous Bernoulli distribution (arXiv:1907.06845)."""

import numgrad as ng
from numgrad.nn.functional import binary_cross_entropy_with_logits, logsigmoid
from numgrad.ops.divergence import continuous_bernoulli_norm

from . import constraints
from .discrete import _Odds
from .utils import broadcast_all


class ContinuousBernoulli(_Odds):
    """The density on [0, 1] proportional to ``probs ** x * (1 - probs) ** (1 - x)``.

    Near ``probs`` = 1/2, between ``lims``, where the formulas of ``cdf`` and ``icdf`` divide 0 by 0, they are those of a
    uniform distribution.
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
        """(where the formulas of `cdf` and `icdf` hold, probabilities moved to where they hold)."""
        probs = self.probs
        outside = (probs <= self._lims[0]) | (probs > self._lims[1])
        return outside, ng.where(outside, probs, self._lims[0])

    def _cont_bern_log_norm(self):
        """The logarithm of what the density is multiplied with to integrate to 1."""
        return continuous_bernoulli_norm(self.logits)

    # The logarithm of the integral of exp(logits * x) is log1p(exp(logits)) less the one above; its derivatives are the moments.

    @property
    def mean(self):
        return ng.sigmoid(self.logits) - continuous_bernoulli_norm(self.logits, 1)

    @property
    def variance(self):
        spread = ng.sigmoid(self.logits) * ng.sigmoid(-self.logits)
        return spread - continuous_bernoulli_norm(self.logits, 2)

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
        outside, cut = self._parts()
        found = (cut**value * (1.0 - cut) ** (1.0 - value) + cut - 1.0) / (2.0 * cut - 1.0)
        return ng.where(value <= 0.0, 0.0, ng.where(value >= 1.0, 1.0, ng.where(outside, found, value)))

    def icdf(self, value):
        outside, cut = self._parts()
        found = (ng.log1p(-cut + value * (2.0 * cut - 1.0)) - ng.log1p(-cut)) / (cut.log() - ng.log1p(-cut))
        return ng.where(outside, found, value)

    def entropy(self):
        # The same at both sides of 0; on this one no large terms cancel.
        low = ng.where(self.logits > 0, -self.logits, self.logits)
        mean = ng.sigmoid(low) - continuous_bernoulli_norm(low, 1)
        return -mean * low - continuous_bernoulli_norm(low) - logsigmoid(-low)
