"""Distributions over 0 and 1, counts and categories."""

import math

import numgrad as ng
from numgrad.nn.functional import binary_cross_entropy_with_logits, logsigmoid
from numgrad.ops.divergence import factorial_rest, geometric_entropy, logit_divergence, logit_entropy, relative_entropy

from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits


class _Odds(Distribution):
    """Given by exactly one of ``probs`` and ``logits``, of the batch's shape; the other one follows."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    _parameters = ("probs", "logits")

    def __init__(self, probs=None, logits=None, validate_args=None):
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        self.by_logits = probs is None
        if probs is not None:
            (self.probs,) = broadcast_all(probs)
        else:
            (self.logits,) = broadcast_all(logits)
        super().__init__(self._param.shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = super().expand(batch_shape, _instance)
        new.by_logits = self.by_logits
        return new

    @property
    def _param(self):
        return self.__dict__["logits" if self.by_logits else "probs"]

    @lazy_property
    def logits(self):
        """The logarithm of the odds."""
        return probs_to_logits(self.probs, True)

    @lazy_property
    def probs(self):
        """The probability of success."""
        return logits_to_probs(self.logits, True)

    @property
    def param_shape(self):
        """The shape of the parameter that was given."""
        return self._param.size()


    def _odds_entropy(self):
        """The entropy of one trial."""
        if self.by_logits:
            return logit_entropy(self.logits)
        certain = (self.probs == 0) | (self.probs == 1)
        p = self.probs.masked_fill(certain, 0.5)
        return -(p * p.log() + (1 - p) * ng.log1p(-p)).masked_fill(certain, 0.0)


def odds_divergence(p, q):
    """The divergence of one trial of q from one of p. Probabilities that were given as log-odds are compared as such: near
    0 and 1 there are no others."""
    if p.by_logits and q.by_logits:
        return logit_divergence(p.logits, q.logits)
    if not p.by_logits and not q.by_logits:
        return relative_entropy(p.probs, q.probs) + relative_entropy(1 - p.probs, 1 - q.probs)
    if q.by_logits:
        return -p._odds_entropy() - p.probs * logsigmoid(q.logits) - (1 - p.probs) * logsigmoid(-q.logits)
    no = ng.sigmoid(-p.logits)
    return -p._odds_entropy() - ng.xlogy(p.probs, q.probs) - ng.special.xlog1py(no, -q.probs)


class Bernoulli(_Odds):
    """1 with probability ``probs``, else 0."""

    support = constraints.boolean
    has_enumerate_support = True

    @property
    def mean(self):
        return self.probs

    @property
    def mode(self):
        return ng.where(self.probs == 0.5, math.nan, (self.probs >= 0.5).to(self.probs.dtype))

    @property
    def variance(self):
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape=()):
        with ng.no_grad():
            return ng.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self):
        return self._odds_entropy()

    def enumerate_support(self, expand=True):
        values = ng.arange(2, dtype=self._param.dtype, device=self._param.device)
        values = values.view(2, *(1,) * len(self._batch_shape))
        return values.expand(2, *self._batch_shape) if expand else values


class Geometric(_Odds):
    """The number of failures before the first success of probability ``probs``."""

    support = constraints.nonnegative_integer

    def __init__(self, probs=None, logits=None, validate_args=None):
        super().__init__(probs, logits, validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all():
            raise ValueError(
                f"Expected parameter probs (Tensor of shape {tuple(self.probs.shape)}) of distribution {self!r} to be "
                f"positive but found invalid values:\n{self.probs}"
            )

    @property
    def mean(self):
        return 1 / self.probs - 1

    @property
    def mode(self):
        return ng.zeros_like(self.probs)

    @property
    def variance(self):
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape=()):
        with ng.no_grad():
            u = ng.empty(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device)
            u.uniform_(ng.finfo(u.dtype).tiny, 1)
            return (u.log() / ng.log1p(-self.probs)).floor()

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        if self.by_logits:
            return value * logsigmoid(-self.logits) + logsigmoid(self.logits)
        value, probs = ng.broadcast_tensors(value, self.probs)
        failure = ng.where((probs == 1) & (value == 0), 0.0, -probs)
        return value * ng.log1p(failure) + probs.log()

    def entropy(self):
        return geometric_entropy(self.logits) if self.by_logits else self._odds_entropy() / self.probs


class Poisson(Distribution):
    """Counts of mean ``rate``."""

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    _parameters = ("rate",)

    def __init__(self, rate, validate_args=None):
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self):
        return self.rate

    @property
    def mode(self):
        return self.rate.floor()

    @property
    def variance(self):
        return self.rate

    def sample(self, sample_shape=()):
        with ng.no_grad():
            return ng.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return -relative_entropy(value, rate) - factorial_rest(value)


class Categorical(Distribution):
    """An index into the last dimension of ``probs`` (normalised here) or ``logits``."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True
    _parameters = ("probs", "logits")

    def __init__(self, probs=None, logits=None, validate_args=None):
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        self.by_logits = probs is None
        given = logits if probs is None else probs
        if given.dim() < 1:
            raise ValueError(f"`{'logits' if probs is None else 'probs'}` parameter must be at least one-dimensional.")
        if probs is not None:
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = logits.log_softmax(-1)
        self._num_events = given.size(-1)
        super().__init__(given.shape[:-1], validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        new._num_events, new.by_logits = self._num_events, self.by_logits

    @property
    def _param(self):
        return self.__dict__["logits" if self.by_logits else "probs"]

    @lazy_property
    def logits(self):
        """The logarithms of the probabilities."""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self):
        """The probabilities."""
        return logits_to_probs(self.logits)

    @property
    def param_shape(self):
        """The shape of the parameter that was given."""
        return self._param.size()

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self):
        return ng.full(self._batch_shape, math.nan, dtype=self.probs.dtype, device=self.probs.device)

    @property
    def mode(self):
        return self.probs.argmax(dim=-1)

    @property
    def variance(self):
        return self.mean

    def sample(self, sample_shape=()):
        count = math.prod(sample_shape)
        rows = self.probs.detach().reshape(-1, self._num_events)
        return ng.multinomial(rows, count, True).mT.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        value = value.long().unsqueeze(-1)
        value, logits = ng.broadcast_tensors(value, self.logits)
        return logits.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self):
        return -(self.logits.clamp(min=ng.finfo(self.logits.dtype).min) * self.probs).sum(-1)

    def enumerate_support(self, expand=True):
        values = ng.arange(self._num_events, device=self._param.device)
        values = values.view(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values


class _OfCategories(Distribution):
    """Built on a `Categorical`: the events are vectors over its categories."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._categorical = Categorical(probs, logits)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        new._categorical = self._categorical.expand(batch_shape)

    @property
    def probs(self):
        """The probabilities of the categories."""
        return self._categorical.probs

    @property
    def logits(self):
        """The logarithms of the probabilities."""
        return self._categorical.logits

    @property
    def param_shape(self):
        """The shape of the parameter that was given."""
        return self._categorical.param_shape


class OneHotCategorical(_OfCategories):
    """A category as a vector of zeros and one 1."""

    support = constraints.one_hot
    has_enumerate_support = True

    @property
    def mean(self):
        return self.probs

    @property
    def mode(self):
        return self._one_hot(self.probs.argmax(-1))

    @property
    def variance(self):
        return self.probs * (1 - self.probs)

    def _one_hot(self, index):
        zeros = ng.zeros((*index.shape, *self._event_shape), dtype=self.probs.dtype, device=self.probs.device)
        return zeros.scatter_(-1, index.unsqueeze(-1), 1.0)

    def sample(self, sample_shape=()):
        return self._one_hot(self._categorical.sample(sample_shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self):
        return self._categorical.entropy()

    def enumerate_support(self, expand=True):
        n = self._event_shape[0]
        values = ng.eye(n, dtype=self.probs.dtype, device=self.probs.device)
        values = values.view(n, *(1,) * len(self._batch_shape), n)
        return values.expand(n, *self._batch_shape, n) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """`OneHotCategorical` whose samples carry the gradient of the probabilities (arXiv:1308.3432)."""

    has_rsample = True

    def rsample(self, sample_shape=()):
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


class Multinomial(_OfCategories):
    """How often each category comes up in ``total_count`` draws."""

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    def _expand_more(self, new, batch_shape):
        super()._expand_more(new, batch_shape)
        new.total_count = self.total_count

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self):
        return constraints.multinomial(self.total_count)

    @property
    def mean(self):
        return self.probs * self.total_count

    @property
    def variance(self):
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape=()):
        drawn = self._categorical.sample((self.total_count, *sample_shape))
        drawn = drawn.movedim(0, -1)
        counts = ng.zeros(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device)
        return counts.scatter_add_(-1, drawn, ng.ones_like(drawn).to(counts.dtype))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        n = value.sum(-1, True)
        # Against the expected counts, so that large terms do not cancel; by the logarithm where there are none expected.
        logits, probs, value = ng.broadcast_tensors(self.logits, self.probs, value)
        rare = probs == 0
        seen = value > 0
        share = (value / n.clamp_min(1)).masked_fill(~seen, 1.0)
        by_log = (value * (share.log() - logits.masked_fill(~seen, 0.0)) - value).masked_fill(~rare, 0.0)
        terms = relative_entropy(value, n * probs.masked_fill(rare, 1.0)).masked_fill(rare, 0.0) + by_log
        return factorial_rest(n).squeeze(-1) - (factorial_rest(value) + terms).sum(-1)

    def entropy(self):
        """``n H(probs) - log n! + the expectation of the sum of log x_k!``; each x_k is binomial."""
        n, log_probs, log_failure = self.total_count, self.probs.log(), ng.log1p(-self.probs)
        x = ng.arange(1 + n, dtype=self.probs.dtype, device=self.probs.device)
        x = x.view(-1, *(1,) * self.probs.dim())
        log_factorial = (x + 1).lgamma()
        log_ways = math.lgamma(n + 1) - log_factorial - (n - x + 1).lgamma()
        weights = (log_ways + x * log_probs + (n - x) * log_failure).exp()
        return n * self._categorical.entropy() - math.lgamma(n + 1) + (weights * log_factorial).sum((0, -1))
