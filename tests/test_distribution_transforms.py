"""Transforms against PyTorch's: values, inverses, Jacobians, shapes, regions, and distributions made with them."""

import copy

import numpy as np
import pytest

import numgrad as ng
from numgrad import distributions as ours
from numgrad.testing import gradgradcheck

torch = pytest.importorskip("torch")
theirs = torch.distributions

ROW = [[-1.5, 0.25, 2.0], [0.3, -0.7, 1.1]]
MATRIX = [[0.5, 0.1], [-0.3, 0.8]]
# name, how to make it from (module, library), inputs
CASES = [
    ("exp", lambda D, L: D.ExpTransform(), ROW),
    ("power", lambda D, L: D.PowerTransform(L.tensor([2.0, -0.5, 1.5])), [[0.5, 2.0, 1.0]]),
    ("sigmoid", lambda D, L: D.SigmoidTransform(), ROW),
    ("softplus", lambda D, L: D.SoftplusTransform(), ROW),
    ("tanh", lambda D, L: D.TanhTransform(), ROW),
    ("affine", lambda D, L: D.AffineTransform(1.0, -2.0), ROW),
    ("affine_vector", lambda D, L: D.AffineTransform(L.tensor([1.0, 0.0, 2.0]), L.tensor([3.0, -1.0, 0.5]), event_dim=1), ROW),
    ("cdf", lambda D, L: D.CumulativeDistributionTransform(D.Normal(0.5, 2.0)), ROW),
    ("softmax", lambda D, L: D.SoftmaxTransform(), ROW),
    ("stick_breaking", lambda D, L: D.StickBreakingTransform(), ROW),
    ("corr_cholesky", lambda D, L: D.CorrCholeskyTransform(), ROW),
    ("lower_cholesky", lambda D, L: D.LowerCholeskyTransform(), MATRIX),
    ("positive_definite", lambda D, L: D.PositiveDefiniteTransform(), MATRIX),
    ("reshape", lambda D, L: D.ReshapeTransform((3,), (3, 1)), ROW),
    ("independent", lambda D, L: D.IndependentTransform(D.ExpTransform(), 1), ROW),
    ("compose", lambda D, L: D.ComposeTransform([D.AffineTransform(0.5, 2.0), D.StickBreakingTransform()]), ROW),
    ("identity", lambda D, L: D.identity_transform, ROW),
    ("cat", lambda D, L: D.CatTransform([D.ExpTransform(), D.identity_transform], 1, [2, 1]), ROW),
    ("stack", lambda D, L: D.StackTransform([D.ExpTransform(), D.TanhTransform(), D.AffineTransform(0, 3)], -1), ROW),
    ("inverse", lambda D, L: D.TanhTransform().inv, [[-0.5, 0.2]]),
]
each = pytest.mark.parametrize("make, value", [case[1:] for case in CASES], ids=[case[0] for case in CASES])


def _both(ask, *values):
    """What ``ask(module, library)`` gives of either library: numbers, or the exception's type."""
    found = []
    for module, library in ((ours, ng), (theirs, torch)):
        try:
            found.append(ask(module, library))
        except NotImplementedError:
            found.append(None)
    return found


def _same(ask):
    mine, other = _both(ask)
    if other is None:
        assert mine is None
        return
    np.testing.assert_allclose(np.asarray(mine.detach()), np.asarray(other.detach()), rtol=2e-5, atol=3e-6)


@each
def test_values_inverses_and_jacobians(make, value):
    _same(lambda D, L: make(D, L)(L.tensor(value)))
    _same(lambda D, L: make(D, L).inv(make(D, L)(L.tensor(value))))
    _same(lambda D, L: make(D, L).log_abs_det_jacobian(L.tensor(value), make(D, L)(L.tensor(value))))
    _same(lambda D, L: -make(D, L).inv.log_abs_det_jacobian(make(D, L)(L.tensor(value)), L.tensor(value)))


@each
def test_regions_and_shapes(make, value):
    def facts(D, L):
        t = make(D, L)
        shape = np.shape(value)
        out = tuple(t.forward_shape(L.Size(shape)))
        found = [out, tuple(t.inverse_shape(L.Size(out))), t.bijective, t.domain.event_dim, t.codomain.event_dim]
        return [*found, bool(t.domain.check(L.tensor(value)).all()), bool(t.codomain.check(t(L.tensor(value))).all())]

    mine, other = _both(facts)
    assert mine == other
    _same(lambda D, L: L.as_tensor(make(D, L).sign))
    transform = make(ours, ng)
    assert transform.inv.inv is transform and transform == copy.copy(transform)
    if transform is not ours.identity_transform:
        assert transform != ours.AbsTransform()


def test_a_cache_returns_the_input_itself():
    for transform in (ours.TanhTransform(cache_size=1), ours.AffineTransform(1.0, 2.0).with_cache(),
                      ours.CatTransform([ours.ExpTransform()], lengths=[3], cache_size=1)):  # fmt: skip
        x = ng.tensor([9.0, -9.0, 0.5])
        y = transform(x)
        assert transform(x) is y and transform.inv(y) is x
    assert ours.TanhTransform(cache_size=1).with_cache(1)._cache_size == 1
    with pytest.raises(ValueError, match="cache_size must be 0 or 1"):
        ours.ExpTransform(cache_size=2)


def test_errors():
    with pytest.raises(NotImplementedError, match="AbsTransform has no sign"):
        ours.AbsTransform().sign  # noqa: B018
    with pytest.raises(ValueError, match="Too few dimensions"):
        ours.IndependentTransform(ours.ExpTransform(), 1)(ng.tensor(1.0))
    with pytest.raises(ValueError, match="not a flattened lower-diagonal"):
        ours.CorrCholeskyTransform()(ng.zeros(4))
    with pytest.raises(ValueError, match="Shape mismatch"):
        ours.ReshapeTransform((3,), (3, 1))(ng.zeros(2, 2))
    with pytest.raises(ValueError, match="different numbers of elements"):
        ours.ReshapeTransform((3,), (2,))
    with pytest.raises(ValueError, match="expected 2 along dimension 0"):
        ours.StackTransform([ours.ExpTransform()] * 2)(ng.zeros(3))
    with pytest.raises(ValueError, match="size at least 1"):
        ours.TransformedDistribution(ours.Normal(0.0, 1.0), ours.StickBreakingTransform())
    with pytest.raises(ValueError, match="must be a Transform"):
        ours.TransformedDistribution(ours.Normal(0.0, 1.0), [1])


def test_jacobians_are_differentiable_twice():
    x = ng.tensor([0.3, -0.4, 0.9], dtype=ng.float64, requires_grad=True)
    for transform in (ours.StickBreakingTransform(), ours.CorrCholeskyTransform(), ours.SigmoidTransform()):
        assert gradgradcheck(lambda v, t=transform: t.log_abs_det_jacobian(v, t(v)), [x])


DISTRIBUTIONS = [
    ("logistic", lambda D, L: D.TransformedDistribution(
        D.Uniform(L.zeros(2), L.ones(2)), [D.SigmoidTransform().inv, D.AffineTransform(L.tensor([1.0, -1.0]), -2.0)]), [0.3, 1.7]),
    ("simplex", lambda D, L: D.TransformedDistribution(D.Normal(L.zeros(4, 2), 1.0), D.StickBreakingTransform()), [0.2, 0.5, 0.3]),
    ("vector", lambda D, L: D.TransformedDistribution(
        D.MultivariateNormal(L.zeros(2), L.eye(2)), [D.ExpTransform()]), [[0.2, 0.5], [1.0, 2.0]]),
    ("widened", lambda D, L: D.TransformedDistribution(D.Normal(0.0, 1.0), D.AffineTransform(L.zeros(3), 2.0)), [0.1, 0.2, 0.3]),
    ("reshaped", lambda D, L: D.TransformedDistribution(D.Normal(L.zeros(4), 1.0), D.ReshapeTransform((4,), (2, 2))), [MATRIX]),
]  # fmt: skip


@pytest.mark.parametrize("make, value", [case[1:] for case in DISTRIBUTIONS], ids=[case[0] for case in DISTRIBUTIONS])
def test_transformed_distributions(make, value):
    def facts(D, L):
        d = make(D, L)
        wide = d.expand((5, *d.batch_shape))
        return [tuple(d.batch_shape), tuple(d.event_shape), tuple(wide.batch_shape), tuple(wide.sample((2,)).shape),
                d.has_rsample, d.support.event_dim]  # fmt: skip

    mine, other = _both(facts)
    assert mine == other

    def drawn(D, L):
        L.manual_seed(0)
        return make(D, L).rsample((3,))

    _same(drawn)
    _same(lambda D, L: make(D, L).log_prob(L.tensor(value)))
    _same(lambda D, L: make(D, L).cdf(L.tensor(value)))
    _same(lambda D, L: make(D, L).icdf(L.full(tuple(make(D, L).batch_shape), 0.3)))


REGIONS = [
    ("real", lambda C, L: C.real, [0.3, -2.0]),
    ("positive", lambda C, L: C.positive, [0.3, -2.0]),
    ("from", lambda C, L: C.greater_than_eq(2.0), [0.3, -2.0]),
    ("below", lambda C, L: C.less_than(L.tensor(2.0)), [0.3, -2.0]),
    ("unit", lambda C, L: C.unit_interval, [0.3, -2.0]),
    ("between", lambda C, L: C.half_open_interval(-1.0, 4.0), [0.3, -2.0]),
    ("simplex", lambda C, L: C.simplex, ROW),
    ("vector", lambda C, L: C.independent(C.positive, 1), ROW),
    ("cholesky", lambda C, L: C.lower_cholesky, MATRIX),
    ("definite", lambda C, L: C.positive_definite, MATRIX),
    ("correlations", lambda C, L: C.corr_cholesky, ROW),
    ("cat", lambda C, L: C.cat([C.positive, C.real], 1, [2, 1]), ROW),
    ("stack", lambda C, L: C.stack([C.positive, C.unit_interval, C.real], -1), ROW),
    ("boolean", lambda C, L: C.boolean, [0.0]),
]


@pytest.mark.parametrize("make, value", [case[1:] for case in REGIONS], ids=[case[0] for case in REGIONS])
@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_transforms_to_regions(registry, make, value):
    _same(lambda D, L: getattr(D, registry)(make(D.constraints, L))(L.tensor(value)))


def test_a_region_of_ones_own():
    class Even(ours.constraints.Constraint):
        """Twice anything."""

    with pytest.raises(NotImplementedError, match="Cannot transform"):
        ours.biject_to(Even())
    ours.biject_to.register(Even, lambda region: ours.AffineTransform(0, 2))
    assert ours.biject_to(Even())(3) == 6
    with pytest.raises(TypeError, match="Expected constraint"):
        ours.biject_to.register(3, None)(len)
