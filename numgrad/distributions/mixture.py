"""Mixtures."""

import numgrad as ng

from . import constraints
from .discrete import Categorical
from .distribution import Distribution


class MixtureSameFamily(Distribution):
    """Values of one of the components: the last batch dimension of ``component_distribution``, chosen by
    ``mixture_distribution``, a `Categorical`."""

    arg_constraints = {}

    def __init__(self, mixture_distribution, component_distribution, validate_args=None):
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                "The Mixture distribution needs to be an instance of distributions.Categorical, got "
                f"{type(mixture_distribution).__name__}"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution needs to be an instance of distributions.Distribution, got "
                f"{type(component_distribution).__name__}"
            )
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        mixed, components = mixture_distribution.batch_shape, component_distribution.batch_shape
        for a, b in zip(reversed(mixed), reversed(components[:-1])):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({mixed}) is not compatible with "
                    f"`component_distribution.batch_shape` ({components[:-1]})"
                )
        count = mixture_distribution.param_shape[-1]
        if not components or count != components[-1]:
            raise ValueError(
                f"`mixture_distribution component` ({count}) does not equal `component_distribution.batch_shape[-1]` "
                f"({components[-1] if components else None})"
            )
        self._num_component = count
        super().__init__(components[:-1], component_distribution.event_shape, validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        new._component_distribution = self._component_distribution.expand((*batch_shape, self._num_component))
        new._mixture_distribution = self._mixture_distribution.expand(batch_shape)
        new._num_component = self._num_component

    @constraints.dependent_property
    def support(self):
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self):
        """What chooses the component."""
        return self._mixture_distribution

    @property
    def component_distribution(self):
        """The components."""
        return self._component_distribution

    @property
    def _axis(self):
        """The dimension of the components, counted from the end."""
        return -1 - len(self._event_shape)

    def _weights(self):
        """The probabilities of the components, with a dimension of 1 for each one of the event."""
        probs = self._mixture_distribution.probs
        return probs.reshape(*probs.shape, *(1,) * len(self._event_shape))

    @property
    def mean(self):
        return (self._weights() * self._component_distribution.mean).sum(self._axis)

    @property
    def variance(self):
        """The mean of the components' variances and the variance of their means."""
        means = self._component_distribution.mean
        away = (means - self.mean.unsqueeze(self._axis)).square()
        return (self._weights() * (self._component_distribution.variance + away)).sum(self._axis)

    def sample(self, sample_shape=()):
        with ng.no_grad():
            chosen = self._mixture_distribution.expand(self._batch_shape).sample(sample_shape)
            values = self._component_distribution.sample(sample_shape)
            index = chosen.reshape(*chosen.shape, *(1,) * -self._axis)
            shape = list(values.shape)
            shape[self._axis] = 1
            return values.gather(self._axis, index.expand(shape)).squeeze(self._axis)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        found = self._component_distribution.log_prob(value.unsqueeze(self._axis))
        return (found + ng.log_softmax(self._mixture_distribution.logits, -1)).logsumexp(-1)

    def cdf(self, value):
        return (self._component_distribution.cdf(value.unsqueeze(self._axis)) * self._mixture_distribution.probs).sum(-1)

    def __repr__(self):
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"
