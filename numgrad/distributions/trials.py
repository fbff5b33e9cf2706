"""Counts of successes in independent trials, and of failures before as many successes."""

import numgrad as ng
from numgrad.ops.divergence import factorial_rest, relative_entropy, trials_divergence

from . import constraints
from .discrete import _Odds
from .gamma import Gamma
from .utils import broadcast_all, lazy_property


class _Trials(_Odds):
    """``total_count`` and exactly one of ``probs`` and ``logits``, broadcast against each other: the batch."""

    _parameters = ("total_count", "probs", "logits")

    def __init__(self, total_count, probs=None, logits=None, validate_args=None):
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        count, given = broadcast_all(total_count, logits if probs is None else probs)
        self.total_count = count.to(given.dtype)
        super().__init__(given if probs is not None else None, given if probs is None else None, validate_args)


class Binomial(_Trials):
    """How many of ``total_count`` trials succeed, each with probability ``probs``."""

    arg_constraints = {
        "total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip
    has_enumerate_support = True

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        super().__init__(total_count, probs, logits, validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self):
        return self.total_count * self.probs

    @property
    def mode(self):
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self):
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        with ng.no_grad():
            return ng.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        n = self.total_count
        ways = factorial_rest(n) - factorial_rest(value) - factorial_rest(n - value)
        if not self.by_logits:
            return ways - relative_entropy(value, n * self.probs) - relative_entropy(n - value, n * (1 - self.probs))
        return ways - trials_divergence(value, n - value, self.logits)

    def _one_count(self, what):
        most = int(self.total_count.max())
        if int(self.total_count.min()) != most:
            raise NotImplementedError(f"Inhomogeneous total count not supported by `{what}`.")
        return most

    def entropy(self):
        self._one_count("entropy")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand=True):
        most = self._one_count("enumerate_support")
        values = ng.arange(1 + most, dtype=self._param.dtype, device=self._param.device)
        values = values.view(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values


class NegativeBinomial(_Trials):
    """How many successes, of probability ``probs``, come before ``total_count`` failures."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0), "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }  # fmt: skip
    support = constraints.nonnegative_integer

    @property
    def mean(self):
        return self.total_count * self.logits.exp()

    @property
    def mode(self):
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self):
        return self.mean / ng.sigmoid(-self.logits)

    @lazy_property
    def _gamma(self):
        return Gamma(self.total_count, (-self.logits).exp(), validate_args=False)

    def sample(self, sample_shape=()):
        with ng.no_grad():
            return ng.poisson(self._gamma.sample(sample_shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        n, trials = self.total_count, self.total_count + value
        none = trials == 0.0
        n, trials = n.masked_fill(none, 1.0), trials.masked_fill(none, 1.0)
        found = (n / trials).log() + factorial_rest(trials) - factorial_rest(value) - factorial_rest(n)
        if self.by_logits:
            found = found - trials_divergence(value, n, self.logits)
        else:
            found = found - relative_entropy(value, trials * self.probs) - relative_entropy(n, trials * (1 - self.probs))
        return found.masked_fill(none, 0.0)
