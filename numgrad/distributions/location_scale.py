"""Distributions with a location and a scale, on the line and on the half-line: one inverse or one draw each."""

import math

import numgrad as ng
from numgrad.ops.divergence import exponential_excess

from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, euler_constant


class _TwoParameters(Distribution):
    """``loc`` and ``scale``, broadcast against each other: the batch."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _parameters = ("loc", "scale")

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def _checked(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return (value - self.loc) / self.scale

    def _shaped(self, sample_shape):
        return ng.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)


class _Symmetric(_TwoParameters):
    """Symmetric about ``loc``, which is therefore the mean (where there is one) and the mode."""

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc


class Normal(_Symmetric):
    """The normal distribution of mean ``loc`` and standard deviation ``scale``."""

    @property
    def variance(self):
        return self.scale.square()

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        with ng.no_grad():
            return ng.normal(self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape=()):
        return self.loc + self._shaped(sample_shape).normal_() * self.scale

    def log_prob(self, value):
        return -0.5 * self._checked(value).square() - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def cdf(self, value):
        return ng.special.ndtr(self._checked(value))

    def icdf(self, value):
        return self.loc + self.scale * ng.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self):
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


class Laplace(_Symmetric):
    """The Laplace distribution: exponential to both sides of ``loc``."""

    @property
    def variance(self):
        return 2 * self.scale.square()

    def rsample(self, sample_shape=()):
        tiny = ng.finfo(self.loc.dtype).eps
        u = self._shaped(sample_shape).uniform_(tiny - 1, 1)
        return self.loc - self.scale * u.sign() * ng.log1p(-u.abs().clamp(min=ng.finfo(self.loc.dtype).tiny))

    def log_prob(self, value):
        return -(2 * self.scale).log() - self._checked(value).abs()

    def cdf(self, value):
        z = self._checked(value)
        return 0.5 - 0.5 * z.sign() * ng.expm1(-z.abs())

    def icdf(self, value):
        centred = value - 0.5
        return self.loc - self.scale * centred.sign() * ng.log1p(-2 * centred.abs())

    def entropy(self):
        return 1 + (2 * self.scale).log()


class Cauchy(_Symmetric):
    """The Cauchy distribution of median ``loc`` and half-width ``scale``; it has no mean."""

    @property
    def mean(self):
        return ng.full_like(self.loc, math.nan)

    @property
    def variance(self):
        return ng.full_like(self.loc, math.inf)

    def rsample(self, sample_shape=()):
        return self.loc + self._shaped(sample_shape).cauchy_() * self.scale

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return self.scale.log() - 2 * ng.hypot(value - self.loc, self.scale).log() - math.log(math.pi)

    def cdf(self, value):
        return ng.atan(self._checked(value)) / math.pi + 0.5

    def icdf(self, value):
        return ng.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self):
        return math.log(4 * math.pi) + self.scale.log()


class Gumbel(_TwoParameters):
    """The Gumbel distribution, of the largest of many values."""

    @property
    def mean(self):
        return self.loc + self.scale * euler_constant

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        return (math.pi**2 / 6) * self.scale.square()

    def rsample(self, sample_shape=()):
        limits = ng.finfo(self.loc.dtype)
        u = self._shaped(sample_shape).uniform_(limits.tiny, 1 - limits.eps)
        return self.loc - self.scale * (-u.log()).log()

    def log_prob(self, value):
        y = -self._checked(value)
        return -exponential_excess(y) - self.scale.log() - 1  # y - exp(y), whose slope is 0 at the mode

    def cdf(self, value):
        return (-(-self._checked(value)).exp()).exp()

    def icdf(self, value):
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self):
        return self.scale.log() + (1 + euler_constant)


class LogNormal(_TwoParameters):
    """The exponential of a normal value of mean ``loc`` and standard deviation ``scale``."""

    support = constraints.positive

    def _base(self):
        return Normal(self.loc, self.scale, validate_args=False)

    @property
    def mean(self):
        return (self.loc + self.scale.square() / 2).exp()

    @property
    def mode(self):
        return (self.loc - self.scale.square()).exp()

    @property
    def variance(self):
        square = self.scale.square()
        return ng.expm1(square) * (2 * self.loc + square).exp()

    def sample(self, sample_shape=()):
        return self._base().sample(sample_shape).exp()

    def rsample(self, sample_shape=()):
        return self._base().rsample(sample_shape).exp()

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        log = value.log()
        return self._base().log_prob(log) - log

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return self._base().cdf(value.log())

    def icdf(self, value):
        return self._base().icdf(value).exp()

    def entropy(self):
        return self._base().entropy() + self.loc


class Uniform(Distribution):
    """Uniform in [low, high)."""

    arg_constraints = {"low": constraints.dependent, "high": constraints.dependent}
    has_rsample = True
    _parameters = ("low", "high")

    def __init__(self, low, high, validate_args=None):
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)
        if self._validate_args and not (self.low < self.high).all():
            raise ValueError("Uniform is not defined when low>= high")

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        return constraints.interval(self.low, self.high)

    @property
    def mean(self):
        return (self.high + self.low) / 2

    @property
    def mode(self):
        return math.nan * self.high

    @property
    def variance(self):
        return (self.high - self.low).square() / 12

    def rsample(self, sample_shape=()):
        u = ng.rand(self._extended_shape(sample_shape), dtype=self.low.dtype, device=self.low.device)
        return self.low + u * (self.high - self.low)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        inside = ((self.low <= value) & (self.high > value)).to(self.low.dtype)
        return inside.log() - (self.high - self.low).log()

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value):
        return value * (self.high - self.low) + self.low

    def entropy(self):
        return (self.high - self.low).log()


class Exponential(Distribution):
    """Exponential of rate ``rate``."""

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _parameters = ("rate",)

    def __init__(self, rate, validate_args=None):
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self):
        return self.rate.reciprocal()

    @property
    def mode(self):
        return ng.zeros_like(self.rate)

    @property
    def stddev(self):
        return self.rate.reciprocal()

    @property
    def variance(self):
        return self.rate.pow(-2)

    def rsample(self, sample_shape=()):
        drawn = ng.empty(self._extended_shape(sample_shape), dtype=self.rate.dtype, device=self.rate.device)
        return drawn.exponential_() / self.rate

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return -ng.expm1(-self.rate * value)

    def icdf(self, value):
        return -ng.log1p(-value) / self.rate

    def entropy(self):
        return 1 - self.rate.log()


class _Half(Distribution):
    """The absolute value of a symmetric distribution about 0."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _parameters = ("scale",)
    _whole: type

    def __init__(self, scale, validate_args=None):
        (self.scale,) = broadcast_all(scale)
        super().__init__(self.scale.shape, validate_args=validate_args)

    def _base(self):
        return self._whole(ng.zeros_like(self.scale), self.scale, validate_args=False)

    @property
    def mode(self):
        return ng.zeros_like(self.scale)

    def sample(self, sample_shape=()):
        return self._base().sample(sample_shape).abs()

    def rsample(self, sample_shape=()):
        return self._base().rsample(sample_shape).abs()

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        found = self._base().log_prob(value) + math.log(2)
        return ng.where(value >= 0, found, -math.inf)

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return 2 * self._base().cdf(value) - 1

    def icdf(self, value):
        return self._base().icdf((value + 1) / 2)

    def entropy(self):
        return self._base().entropy() - math.log(2)


class HalfNormal(_Half):
    """The absolute value of a normal value of mean 0."""

    _whole = Normal

    @property
    def mean(self):
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self):
        return self.scale.square() * (1 - 2 / math.pi)


class HalfCauchy(_Half):
    """The absolute value of a Cauchy value of median 0."""

    _whole = Cauchy

    @property
    def mean(self):
        return ng.full_like(self.scale, math.inf)

    @property
    def variance(self):
        return ng.full_like(self.scale, math.inf)
