"""Transforms from all real numbers to the values that a constraint allows: `biject_to`, `transform_to`."""

from . import constraints, transforms
from .constraints import Constraint


class ConstraintRegistry:
    """Functions from a constraint to a transform, by the constraint's class, or its name where it has one of its own."""

    def __init__(self):
        self._factories = {}

    @staticmethod
    def _key(constraint):
        if isinstance(constraint, constraints._Named):
            return constraint.name
        return constraint if isinstance(constraint, type) else type(constraint)

    def register(self, constraint, factory=None):
        """Let ``factory(constraint)`` make the transform for a constraint, or for a class of them; also a decorator."""
        if factory is None:
            return lambda given: self.register(constraint, given)
        if not (isinstance(constraint, Constraint) or isinstance(constraint, type) and issubclass(constraint, Constraint)):
            raise TypeError(f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}")
        self._factories[self._key(constraint)] = factory
        return factory

    def __call__(self, constraint):
        """The transform to what ``constraint`` allows; NotImplementedError where none is known."""
        factory = self._factories.get(self._key(constraint))
        if factory is None:
            raise NotImplementedError(
                f"Cannot transform {constraint!r} constraints; tell how with register(constraint, factory)"
            )
        return factory(constraint)


biject_to, transform_to = ConstraintRegistry(), ConstraintRegistry()


def _both(*regions):
    """A decorator: the function for these constraints, in both registries."""

    def register(factory):
        for region in regions:
            biject_to.register(region, factory)
            transform_to.register(region, factory)
        return factory

    return register


@_both(constraints.real)
def _(region):
    return transforms.identity_transform


@_both(constraints.greater_than, constraints.greater_than_eq)
def _(region):
    return transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(region.lower_bound, 1)])


@_both(constraints.less_than)
def _(region):
    return transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(region.upper_bound, -1)])


@_both(constraints.interval, constraints.half_open_interval)
def _(region):
    low, high = region.lower_bound, region.upper_bound
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and (low, high) == (0, 1):
        return transforms.SigmoidTransform()
    return transforms.ComposeTransform([transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)])


@_both(constraints.corr_cholesky)
def _(region):
    return transforms.CorrCholeskyTransform()


@biject_to.register(constraints.simplex)
def _(region):
    return transforms.StickBreakingTransform()


@transform_to.register(constraints.simplex)
def _(region):
    return transforms.SoftmaxTransform()


@transform_to.register(constraints.lower_cholesky)
def _(region):
    return transforms.LowerCholeskyTransform()


@transform_to.register(constraints.positive_semidefinite)
@transform_to.register(constraints.positive_definite)
def _(region):
    return transforms.PositiveDefiniteTransform()


def _made_of_others(registry):
    """The constraints that are made of others take their transforms from the same registry."""

    @registry.register(constraints.independent)
    def _(region):
        return transforms.IndependentTransform(registry(region.base_constraint), region.reinterpreted_batch_ndims)

    @registry.register(constraints.cat)
    def _(region):
        return transforms.CatTransform([registry(c) for c in region.cseq], region.dim, region.lengths)

    @registry.register(constraints.stack)
    def _(region):
        return transforms.StackTransform([registry(c) for c in region.cseq], region.dim)


_made_of_others(biject_to)
_made_of_others(transform_to)
