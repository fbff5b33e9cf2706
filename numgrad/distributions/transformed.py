"""Distributions of transformed values, and those that are best said so."""

import math

import numgrad as ng
from numgrad.ops.divergence import continuous_bernoulli_norm, exponential_excess, log_logistic_slope, log_ratio

from . import constraints
from .distribution import Distribution
from .joint import Independent
from .location_scale import Exponential, Uniform
from .transforms import AffineTransform, ComposeTransform, ExpTransform, PowerTransform, Transform
from .utils import broadcast_all, euler_constant, sum_rightmost


class TransformedDistribution(Distribution):
    """Values of ``base_distribution`` after one transform or a list of them.

    ``log p(y) = log p_base(x) - log |det dy/dx|``.
    """

    arg_constraints = {}

    def __init__(self, base_distribution, transforms, validate_args=None):
        self.transforms = list(transforms) if isinstance(transforms, (list, tuple)) else [transforms]
        for transform in self.transforms:
            if not isinstance(transform, Transform):
                raise ValueError(f"transforms must be a Transform or a list of Transforms, but got {transform!r}")
        whole = ComposeTransform(self.transforms)
        shape = base_distribution.batch_shape + base_distribution.event_shape
        domain, codomain = whole.domain.event_dim, whole.codomain.event_dim
        if len(shape) < domain:
            raise ValueError(
                f"base_distribution needs to have shape with size at least {domain}, but got {tuple(shape)}."
            )
        out = tuple(whole.forward_shape(shape))
        needed = tuple(whole.inverse_shape(out))
        base = base_distribution
        if tuple(shape) != needed:
            base = base.expand(needed[: len(needed) - len(base.event_shape)])
        more = domain - len(base.event_shape)
        if more > 0:
            base = Independent(base, more)
        self.base_dist = base
        cut = len(out) - max(codomain, len(base_distribution.event_shape) + codomain - domain)
        super().__init__(out[:cut], out[cut:], validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        shape = tuple(batch_shape) + tuple(self._event_shape)
        for transform in reversed(self.transforms):
            shape = tuple(transform.inverse_shape(shape))
        new.base_dist = self.base_dist.expand(shape[: len(shape) - len(self.base_dist.event_shape)])
        new.transforms = self.transforms

    @constraints.dependent_property(is_discrete=False)
    def support(self):
        if not self.transforms:
            return self.base_dist.support
        found = self.transforms[-1].codomain
        more = len(self._event_shape) - found.event_dim
        return constraints.independent(found, more) if more > 0 else found

    @property
    def has_rsample(self):  # type: ignore[override]
        return self.base_dist.has_rsample

    def _forward(self, x):
        for transform in self.transforms:
            x = transform(x)
        return x

    def sample(self, sample_shape=()):
        with ng.no_grad():
            return self._forward(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape=()):
        return self._forward(self.base_dist.rsample(sample_shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        event_dim, total = len(self._event_shape), 0.0
        for transform in reversed(self.transforms):
            x = transform.inv(value)
            event_dim += transform.domain.event_dim - transform.codomain.event_dim
            jacobian = transform.log_abs_det_jacobian(x, value)
            total = total - sum_rightmost(jacobian, event_dim - transform.domain.event_dim)
            value = x
        base = self.base_dist
        return total + sum_rightmost(base.log_prob(value), event_dim - len(base.event_shape))

    def _rising(self, probability):
        """The probability, or 1 minus it where the transforms together turn the order round."""
        sign = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        return probability if isinstance(sign, int) and sign == 1 else sign * (probability - 0.5) + 0.5

    def cdf(self, value):
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        if self._validate_args:
            self.base_dist._validate_sample(value)
        return self._rising(self.base_dist.cdf(value))

    def icdf(self, value):
        return self._forward(self.base_dist.icdf(self._rising(value)))


class Pareto(TransformedDistribution):
    """Pareto's power law: ``scale`` times the exponential of an exponential number of rate ``alpha``."""

    arg_constraints = {"alpha": constraints.positive, "scale": constraints.positive}
    _parameters = ("scale", "alpha")

    def __init__(self, scale, alpha, validate_args=None):
        self.scale, self.alpha = broadcast_all(scale, alpha)
        base = Exponential(self.alpha, validate_args=validate_args)
        super().__init__(base, [ExpTransform(), AffineTransform(0, self.scale)], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        return constraints.greater_than_eq(self.scale)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return self.alpha.log() - self.alpha * log_ratio(value, self.scale) - value.log()

    @property
    def mean(self):
        a = self.alpha.clamp(min=1)
        return a * self.scale / (a - 1)

    @property
    def mode(self):
        return self.scale

    @property
    def variance(self):
        a = self.alpha.clamp(min=2)
        return self.scale.square() * a / ((a - 1).square() * (a - 2))

    def entropy(self):
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())


class Weibull(TransformedDistribution):
    """``scale`` times an exponential number to the power ``1 / concentration``."""

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive  # type: ignore[assignment]
    _parameters = ("scale", "concentration", "concentration_reciprocal")

    def __init__(self, scale, concentration, validate_args=None):
        self.scale, self.concentration = broadcast_all(scale, concentration)
        self.concentration_reciprocal = self.concentration.reciprocal()
        base = Exponential(ng.ones_like(self.scale), validate_args=validate_args)
        transforms = [PowerTransform(self.concentration_reciprocal), AffineTransform(0, self.scale)]
        super().__init__(base, transforms, validate_args=validate_args)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        shape, none = self.concentration, value == 0
        kept = ng.where(none, self.scale, value)
        found = shape.log() - kept.log() - exponential_excess(shape * log_ratio(kept, self.scale)) - 1
        return ng.where(none, (shape / self.scale).log() + ng.xlogy(shape - 1, value), found)

    @property
    def mean(self):
        return self.scale * (1 + self.concentration_reciprocal).lgamma().exp()

    @property
    def mode(self):
        below = (self.concentration - 1) / self.concentration
        return self.scale * below**self.concentration_reciprocal

    @property
    def variance(self):
        first = (1 + self.concentration_reciprocal).lgamma()
        second = (1 + 2 * self.concentration_reciprocal).lgamma()
        return self.scale.square() * (second.exp() - (2 * first).exp())

    def entropy(self):
        share = self.concentration_reciprocal
        return euler_constant * (1 - share) + (self.scale * share).log() + 1


class Kumaraswamy(TransformedDistribution):
    """Kumaraswamy's distribution on (0, 1): ``(1 - u ** (1 / concentration0)) ** (1 / concentration1)``."""

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval  # type: ignore[assignment]
    _parameters = ("concentration1", "concentration0")

    def __init__(self, concentration1, concentration0, validate_args=None):
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        zeros = ng.zeros_like(self.concentration0)
        base = Uniform(zeros, ng.ones_like(zeros), validate_args=validate_args)
        transforms = [
            PowerTransform(self.concentration0.reciprocal()), AffineTransform(1.0, -1.0),
            PowerTransform(self.concentration1.reciprocal()),
        ]  # fmt: skip
        super().__init__(base, transforms, validate_args=validate_args)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        log = value.log()
        power = a * log
        near = power > -math.log(2)
        # log(1 - exp(power)): far from 0 as it stands, near 0 by log(-power) and what is left, an analytic function.
        x = ng.where(near, power, 0.0)
        close = a.log() + (-log).log() + x / 2 - log_logistic_slope(x) / 2 - continuous_bernoulli_norm(x)
        rest = ng.where(near, close, ng.log1p(-ng.where(near, -1.0, power).exp()))
        return a.log() + b.log() + (a - 1) * log + (b - 1) * rest

    def _moment(self, n):
        a, b = 1 + n / self.concentration1, self.concentration0
        return b * (a.lgamma() + b.lgamma() - (a + b).lgamma()).exp()

    @property
    def mean(self):
        return self._moment(1)

    @property
    def mode(self):
        """Where the density is largest; NaN where it is at an end (a parameter below 1)."""
        a, b = self.concentration1, self.concentration0
        return ng.where((a < 1) | (b < 1), math.nan, ((a - 1) / (a * b - 1)) ** a.reciprocal())

    @property
    def variance(self):
        return self._moment(2) - self.mean.square()

    def entropy(self):
        a, b = self.concentration1, self.concentration0
        return (1 - b.reciprocal()) + (1 - a.reciprocal()) * ((b + 1).digamma() + euler_constant) - a.log() - b.log()


class GeneralizedPareto(Distribution):
    """The tail above ``loc``: of Pareto's kind for positive ``concentration``, exponential for 0, bounded for negative."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True
    _parameters = ("loc", "scale", "concentration")

    def __init__(self, loc, scale, concentration, validate_args=None):
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        bounded = self.concentration < 0
        over = ng.where(bounded, self.concentration, -1.0)
        return constraints.interval(self.loc, ng.where(bounded, self.loc - self.scale / over, math.inf))

    def _split(self):
        """(where the concentration is 0, the concentration or else 1)."""
        none = ng.isclose(self.concentration, ng.zeros_like(self.concentration))
        return none, ng.where(none, 1.0, self.concentration)

    @property
    def mean(self):
        valid = self.concentration < 1
        return ng.where(valid, self.loc + self.scale / (1 - ng.where(valid, self.concentration, 0.5)), math.nan)

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        valid = self.concentration < 0.5
        c = ng.where(valid, self.concentration, 0.25)
        return ng.where(valid, self.scale.square() / ((1 - c).square() * (1 - 2 * c)), math.nan)

    def rsample(self, sample_shape=()):
        return self.icdf(ng.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        z, (none, c) = (value - self.loc) / self.scale, self._split()
        power = 1 / c + 1  # 0 for uniform values, whose upper end is then no exception
        return -self.scale.log() - ng.where(none, z, ng.where(power == 0, 0.0, power * ng.log1p(c * z)))

    def log_survival_function(self, value):
        """The logarithm of the probability of values above ``value``."""
        if self._validate_args:
            self._validate_sample(value)
        z, (none, c) = (value - self.loc) / self.scale, self._split()
        return ng.where(none, -z, -ng.log1p(c * z) / c)

    def log_cdf(self, value):
        """The logarithm of `cdf`."""
        return ng.log1p(-self.log_survival_function(value).exp())

    def cdf(self, value):
        return self.log_cdf(value).exp()

    def icdf(self, value):
        log_above, (none, c) = ng.log1p(-value), self._split()
        return self.loc + self.scale * ng.where(none, -log_above, ng.expm1(-c * log_above) / c)

    def entropy(self):
        return self.scale.log() + self.concentration + 1
