"""The gamma distribution and those made of gamma numbers: their shares, sums, ratios and reciprocals."""

import math

import numgrad as ng
from numgrad.ops.divergence import digamma_step, factorial_rest, gamma_excess, relative_entropy

from . import constraints
from .distribution import Distribution, ExponentialFamily
from .transformed import TransformedDistribution
from .transforms import PowerTransform
from .utils import broadcast_all


def unit_entropy(shape):
    """The entropy of a gamma number of rate 1, ``shape + lgamma(shape) + (1 - shape) digamma(shape)``, whose large terms
    are taken together."""
    return factorial_rest(shape) + (1 - shape) * (factorial_rest(shape, 1) - 1 / shape)


class Gamma(ExponentialFamily):
    """The gamma distribution of shape ``concentration`` and rate ``rate``."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0.0
    _parameters = ("concentration", "rate")

    def __init__(self, concentration, rate, validate_args=None):
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self):
        return self.concentration / self.rate

    @property
    def mode(self):
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self):
        return self.concentration / self.rate.square()

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        value = ng._standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.detach().clamp_(min=ng.finfo(value.dtype).tiny)  # past the recorder: the gradient is that of the quotient
        return value

    def log_prob(self, value):
        value = ng.as_tensor(value, dtype=self.rate.dtype, device=self.rate.device)
        if self._validate_args:
            self._validate_sample(value)
        shape = self.concentration
        # The density of shape + 1 is Poisson's, whose large terms are taken together; the rest is a factor shape / value.
        found = shape.log() - gamma_excess(shape, self.rate, value) - factorial_rest(shape)
        at_zero = ng.xlogy(shape, self.rate) + ng.xlogy(shape - 1, value) - shape.lgamma()
        none = value == 0
        return ng.where(none, at_zero, found - value.masked_fill(none, 1.0).log())

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return ng.special.gammainc(self.concentration, self.rate * value)

    def entropy(self):
        return unit_entropy(self.concentration) - self.rate.log()

    @property
    def _natural_params(self):
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x, y):
        return (x + 1).lgamma() + (x + 1) * (-y.reciprocal()).log()


class Chi2(Gamma):
    """The sum of the squares of ``df`` standard normal numbers."""

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df, validate_args=None):
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    @property
    def df(self):
        """The degrees of freedom."""
        return self.concentration * 2


class InverseGamma(TransformedDistribution):
    """One over a gamma number of shape ``concentration`` and rate ``rate``."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive  # type: ignore[assignment]

    def __init__(self, concentration, rate, validate_args=None):
        base = Gamma(concentration, rate, validate_args=validate_args)
        super().__init__(base, PowerTransform(-base.rate.new_ones(())), validate_args=validate_args)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return self.base_dist.log_prob(1 / value) - 2 * value.log()

    @property
    def concentration(self):
        """The shape of the gamma number."""
        return self.base_dist.concentration

    @property
    def rate(self):
        """The rate of the gamma number."""
        return self.base_dist.rate

    @property
    def mean(self):
        return ng.where(self.concentration > 1, self.rate / (self.concentration - 1), math.inf)

    @property
    def mode(self):
        return self.rate / (self.concentration + 1)

    @property
    def variance(self):
        shape = self.concentration
        return ng.where(shape > 2, self.rate.square() / ((shape - 1).square() * (shape - 2)), math.inf)

    def entropy(self):
        return unit_entropy(self.concentration) + self.rate.log() - 2 * self.concentration.digamma()


class Dirichlet(ExponentialFamily):
    """Vectors of shares that sum to 1: gamma numbers of the shapes ``concentration`` (*, n) over their sum."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True
    _parameters = ("concentration",)

    def __init__(self, concentration, validate_args=None):
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    @property
    def mean(self):
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self):
        above = (self.concentration - 1).clamp(min=0.0)
        found = above / above.sum(-1, True)
        corner = ng.nn.functional.one_hot(found.argmax(-1), found.shape[-1]).to(found.dtype)
        return ng.where((self.concentration < 1).all(-1, True), corner, found)

    @property
    def variance(self):
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.square() * (total + 1))

    def rsample(self, sample_shape=()):
        return ng._sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        shape, total = self.concentration, self.concentration.sum(-1, True)
        shape, value = ng.broadcast_tensors(shape, value)
        # As in `Gamma`; where a share is 0 its terms are as they stand in the density.
        none = value == 0
        kept = value.masked_fill(none, 1.0)
        terms = shape.log() - kept.log() - gamma_excess(shape, total, kept) - factorial_rest(shape)
        at_zero = ng.xlogy(shape - 1.0, value) - shape.lgamma() + shape * total.log() - total * value
        return ng.where(none, at_zero, terms).sum(-1) + (factorial_rest(total) - total.log()).squeeze(-1)

    def entropy(self):
        shape, total, n = self.concentration, self.concentration.sum(-1), self.concentration.size(-1)
        return unit_entropy(shape).sum(-1) - unit_entropy(total) - (n - 1) * total.digamma()

    @property
    def _natural_params(self):
        return (self.concentration,)

    def _log_normalizer(self, x):
        return x.lgamma().sum(-1) - x.sum(-1).lgamma()


class Beta(ExponentialFamily):
    """The first of two Dirichlet shares, of concentrations ``concentration1`` and ``concentration0``."""

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1, concentration0, validate_args=None):
        both = ng.stack(broadcast_all(concentration1, concentration0), -1)
        if not both.is_floating_point():
            both = both.to(ng.get_default_dtype())
        self._dirichlet = Dirichlet(both, validate_args=validate_args)
        super().__init__(self._dirichlet.batch_shape, validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        new._dirichlet = self._dirichlet.expand(batch_shape)

    @property
    def concentration1(self):
        """The concentration of the value."""
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self):
        """The concentration of 1 minus the value."""
        return self._dirichlet.concentration[..., 1]

    @property
    def mean(self):
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self):
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self):
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.square() * (total + 1))

    def rsample(self, sample_shape=()):
        return self._dirichlet.rsample(sample_shape).select(-1, 0)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return self._dirichlet.log_prob(ng.stack([value, 1.0 - value], -1))

    def entropy(self):
        return self._dirichlet.entropy()

    @property
    def _natural_params(self):
        return self.concentration1, self.concentration0

    def _log_normalizer(self, x, y):
        return x.lgamma() + y.lgamma() - (x + y).lgamma()


class StudentT(Distribution):
    """``loc + scale * x / sqrt(z / df)`` with a standard normal x and z of `Chi2` with ``df`` degrees of freedom."""

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _parameters = ("df", "loc", "scale")

    def __init__(self, df, loc=0.0, scale=1.0, validate_args=None):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.shape, validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        new._chi2 = self._chi2.expand(batch_shape)

    @property
    def mean(self):
        return ng.where(self.df <= 1, math.nan, self.loc)

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        finite = self.df > 2
        over = ng.where(finite, self.df - 2, 1.0)
        found = self.scale.square() * self.df / over
        return ng.where(finite, found, ng.where(self.df > 1, math.inf, math.nan))

    def rsample(self, sample_shape=()):
        x = ng.empty(self._extended_shape(sample_shape), dtype=self.df.dtype, device=self.df.device).normal_()
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * (z / self.df).rsqrt())

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        return -0.5 * (self.df + 1.0) * ng.log1p(y.square() / self.df) - self._log_norm()

    def _log_norm(self):
        """``log(scale sqrt(df) B(df / 2, 1 / 2))``."""
        low, high = 0.5 * self.df, 0.5 * (self.df + 1.0)
        # lgamma(high) - lgamma(low), of which large terms cancel.
        step = factorial_rest(high) - factorial_rest(low) + (low - 1.0) * ng.log1p(0.5 / low) + 0.5 * high.log() - 0.5
        return self.scale.log() + 0.5 * self.df.log() + 0.5 * math.log(math.pi) - step

    def entropy(self):
        low, high = 0.5 * self.df, 0.5 * (self.df + 1)
        return high * digamma_step(low, high) + self._log_norm()


class FisherSnedecor(Distribution):
    """The ratio of two sums of squares of standard normal numbers, each over its degrees of freedom."""

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True
    _parameters = ("df1", "df2")

    def __init__(self, df1, df2, validate_args=None):
        self.df1, self.df2 = broadcast_all(df1, df2)
        self._gamma1, self._gamma2 = Gamma(self.df1 * 0.5, self.df1), Gamma(self.df2 * 0.5, self.df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        new._gamma1, new._gamma2 = self._gamma1.expand(batch_shape), self._gamma2.expand(batch_shape)

    @property
    def mean(self):
        df2 = ng.where(self.df2 <= 2, math.nan, self.df2)
        return df2 / (df2 - 2)

    @property
    def mode(self):
        found = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return ng.where(self.df1 <= 2, math.nan, found)

    @property
    def variance(self):
        df2 = ng.where(self.df2 <= 4, math.nan, self.df2)
        return 2 * df2.square() * (self.df1 + df2 - 2) / (self.df1 * (df2 - 2).square() * (df2 - 4))

    def rsample(self, sample_shape=()):
        above, below = self._gamma1.rsample(sample_shape), self._gamma2.rsample(sample_shape)
        tiny = ng.finfo(below.dtype).tiny
        return (above / below.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        a, b, odds = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2 * value
        n = a + b
        # The beta density of odds / (1 + odds), as in `Dirichlet`.
        found = (a / n * b).log() + factorial_rest(n) - factorial_rest(a) - factorial_rest(b) - value.log()
        return found - relative_entropy(a, n * (odds / (1 + odds))) - relative_entropy(b, n / (1 + odds))
