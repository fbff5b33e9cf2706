"""Continuous relaxations of categories, with gradients of samples (arXiv:1611.01144, arXiv:1611.00712)."""

import math

import numgrad as ng
from numgrad.ops.divergence import log_logistic_slope

from . import constraints
from .discrete import Categorical, _Odds
from .distribution import Distribution
from .location_scale import Normal
from .transformed import TransformedDistribution
from .transforms import ExpTransform, SigmoidTransform, StickBreakingTransform
from .utils import broadcast_all


def _inside(probs):
    eps = ng.finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


class LogitRelaxedBernoulli(_Odds):
    """The log-odds of `RelaxedBernoulli`: ``(logits + logistic noise) / temperature``."""

    support = constraints.real
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        self.temperature = ng.as_tensor(temperature)
        super().__init__(probs, logits, validate_args)

    def _expand_more(self, new, batch_shape):
        new.temperature = self.temperature

    def sample(self, sample_shape=()):
        with ng.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        probs = _inside(self.probs.expand(shape))
        u = _inside(ng.rand(shape, dtype=probs.dtype, device=probs.device))
        return (u.log() - ng.log1p(-u) + probs.log() - ng.log1p(-probs)) / self.temperature

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        away = logits - value * self.temperature
        return self.temperature.log() + log_logistic_slope(away)


class _Relaxed(TransformedDistribution):
    """A relaxed distribution, whose parameters are those of the one that it transforms."""

    @property
    def temperature(self):
        """How far values lie from those of the distribution that is relaxed."""
        return self.base_dist.temperature

    @property
    def logits(self):
        """The logarithms of the odds, or of the categories' probabilities."""
        return self.base_dist.logits

    @property
    def probs(self):
        """The probabilities that values have as the temperature falls to 0."""
        return self.base_dist.probs


class RelaxedBernoulli(_Relaxed):
    """Numbers in (0, 1) that gather at 0 and 1 as ``temperature`` falls to 0, where they are Bernoulli's."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval  # type: ignore[assignment]

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)


class ExpRelaxedCategorical(Distribution):
    """The logarithms of `RelaxedOneHotCategorical`: log-softmax of ``(logits + Gumbel noise) / temperature``."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        self._categorical, self.temperature = Categorical(probs, logits), ng.as_tensor(temperature)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        new._categorical, new.temperature = self._categorical.expand(batch_shape), self.temperature

    @property
    def logits(self):
        """The logarithms of the probabilities."""
        return self._categorical.logits

    @property
    def probs(self):
        """The probabilities of the categories."""
        return self._categorical.probs

    @property
    def param_shape(self):
        """The shape of the parameter that was given."""
        return self._categorical.param_shape

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        u = _inside(ng.rand(shape, dtype=self.logits.dtype, device=self.logits.device))
        return ng.log_softmax((self.logits - (-u.log()).log()) / self.temperature, -1)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        n = self._event_shape[0]
        logits, value = broadcast_all(self.logits, value)
        score = ng.log_softmax(logits - value * self.temperature, -1).sum(-1)
        return score + math.lgamma(n) + (n - 1) * self.temperature.log()


class RelaxedOneHotCategorical(_Relaxed):
    """Shares that gather in one category as ``temperature`` falls to 0, where they are one-hot."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex  # type: ignore[assignment]

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)


class LogisticNormal(TransformedDistribution):
    """Shares from normal numbers by `StickBreakingTransform`: (*, n) -> (*, n + 1)."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex  # type: ignore[assignment]

    def __init__(self, loc, scale, validate_args=None):
        base = Normal(loc, scale, validate_args=validate_args)
        if not base.batch_shape:
            base = base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)

    @property
    def loc(self):
        """The mean of the normal numbers."""
        return self.base_dist.base_dist.loc

    @property
    def scale(self):
        """The standard deviation of the normal numbers."""
        return self.base_dist.base_dist.scale
