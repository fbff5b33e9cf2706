"""What all distributions share: shapes, the checks of arguments and values, and what follows from other methods."""

import warnings
from typing import Any

import numgrad as ng

from . import constraints
from .utils import lazy_property


def _holds(condition: Any) -> bool:
    """Whether a condition holds for all elements; within `func.vmap`, for those of all samples."""
    found = condition.all()
    return bool(found.value.all() if found._m.batched else found)


class _Undefined:
    """What each distribution defines for itself; an error where one does not."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None) -> Any:
        if instance is None:
            return self
        raise NotImplementedError(f"{type(instance).__name__} defines no {self.name}")


class Distribution:
    """A probability distribution over values of ``event_shape``, ``batch_shape`` of them side by side."""

    arg_constraints: Any = _Undefined()  # by the names of the arguments
    support: Any = _Undefined()  # the constraint that values satisfy
    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether arguments and values are checked where a distribution is not told."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args: expected True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape=(), event_shape=(), validate_args=None):
        self._batch_shape, self._event_shape = ng.Size(batch_shape), ng.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_arguments()

    def _constraint(self, name):
        """``arg_constraints`` or ``support``; None, with a warning, where the class has none."""
        try:
            return getattr(self, name)
        except NotImplementedError:
            example = "{}" if name == "arg_constraints" else "constraints.real"
            warnings.warn(
                f"{type(self)} does not define `{name}`, so that nothing is checked by it. Please set `{name} = {example}` or "
                "initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
        return None

    def _check_arguments(self):
        for name, constraint in (self._constraint("arg_constraints") or {}).items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                continue  # derived from an argument that was checked
            value = getattr(self, name)
            if not _holds(constraint.check(value)):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    # --- shapes ---

    @property
    def batch_shape(self):
        """The shape of independent, differently parametrised values."""
        return self._batch_shape

    @property
    def event_shape(self):
        """The shape of one value."""
        return self._event_shape

    def _extended_shape(self, sample_shape=()):
        return ng.Size(tuple(sample_shape) + tuple(self._batch_shape) + tuple(self._event_shape))

    def _missing(self, method):
        return NotImplementedError(f"{type(self).__name__} has no {method} in closed form")

    _parameters: tuple = ()  # the names of tensors of shape batch_shape that `expand` has to expand

    def expand(self, batch_shape, _instance=None):
        """The distribution with its parameters expanded to ``batch_shape``."""
        batch_shape = ng.Size(batch_shape)
        new = self._get_checked_instance(Distribution, _instance)
        for name in self._parameters:
            if name in self.__dict__:
                value = self.__dict__[name]
                inner = tuple(value.shape[len(self._batch_shape):])  # fmt: skip
                new.__dict__[name] = value.expand(tuple(batch_shape) + inner)
        self._expand_more(new, batch_shape)
        Distribution.__init__(new, batch_shape, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _expand_more(self, new, batch_shape):
        """Set on ``new`` what `expand` cannot copy from ``_parameters``."""

    def _get_checked_instance(self, cls, _instance=None):
        return type(self).__new__(type(self)) if _instance is None else _instance

    # --- sampling ---

    def sample(self, sample_shape=()):
        """Values of shape ``sample_shape + batch_shape + event_shape``, without gradients."""
        with ng.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        """Values as `sample`, with gradients with respect to the parameters."""
        raise self._missing("rsample")

    def sample_n(self, n):
        """``n`` values."""
        return self.sample((n,))

    # --- densities ---

    def log_prob(self, value):
        """The logarithm of the density or probability at ``value``, summed over the event."""
        raise self._missing("log_prob")

    def cdf(self, value):
        """The probability of values up to ``value``."""
        raise self._missing("cdf")

    def icdf(self, value):
        """The value up to which the probability is ``value``."""
        raise self._missing("icdf")

    def enumerate_support(self, expand=True):
        """All values, along a new first dimension; expanded over the batch unless told otherwise."""
        raise self._missing("enumerate_support")

    def entropy(self):
        """The expectation of ``-log_prob``."""
        raise self._missing("entropy")

    def perplexity(self):
        """``exp(entropy)``."""
        return self.entropy().exp()

    # --- moments ---

    @property
    def mean(self):
        """The expectation."""
        raise self._missing("mean")

    @property
    def mode(self):
        """The likeliest value."""
        raise self._missing("mode")

    @property
    def variance(self):
        """The expectation of the squared distance from the mean."""
        raise self._missing("variance")

    @property
    def stddev(self):
        """The root of the variance."""
        return self.variance.sqrt()

    # --- checks ---

    def _validate_sample(self, value):
        if not isinstance(value, ng.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        split = value.dim() - len(self._event_shape)
        if tuple(value.shape[max(split, 0):]) != tuple(self._event_shape):  # fmt: skip
            raise ValueError(
                "The right-most size of value must match event_shape: "
                f"{value.shape} vs {self._event_shape}."
            )
        expected = self._batch_shape + self._event_shape
        for i, j in zip(reversed(value.shape), reversed(expected)):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {expected}."
                )
        support = self._constraint("support")
        if support is not None and not constraints.is_dependent(support) and not _holds(support.check(value)):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self):
        shown = []
        try:
            names = self.arg_constraints
        except NotImplementedError:
            names = ()
        for name in names:
            if name in self.__dict__:
                value = self.__dict__[name]
                shown.append(f"{name}: {value if value.numel() == 1 else value.size()}")
        return f"{type(self).__name__}({', '.join(shown)})"


class ExponentialFamily(Distribution):
    """Distributions whose density is ``exp(t(x) . natural - F(natural) + k(x))``."""

    _mean_carrier_measure: float | None = None  # E[k], where the class knows it

    @property
    def _natural_params(self) -> tuple:
        raise self._missing("natural parameters")

    def _log_normalizer(self, *natural_params):
        raise self._missing("log normalizer")

    def entropy(self):
        """``F(natural) - natural . dF - E[k]``: the gradient of the log normalizer is the mean of t(x)."""
        if self._mean_carrier_measure is None:
            raise self._missing("mean carrier measure")
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        with ng.enable_grad():
            normalizer = self._log_normalizer(*natural)
            means = ng.autograd.grad(normalizer.sum(), natural, create_graph=True)
        found = normalizer - self._mean_carrier_measure
        for parameter, mean in zip(natural, means):
            found = found - (parameter * mean).reshape(*self._batch_shape, -1).sum(-1)
        return found
