"""Gamma, Dirichlet and binomial numbers: PyTorch's for a seed, with the derivatives of their distribution functions."""

import numpy as np
import pytest
from scipy import special

import numgrad as ng
from numgrad.ops.rejection import _dirichlet_grad, _standard_gamma_grad

torch = pytest.importorskip("torch")


def _arguments(name, size, dtype):
    rng = np.random.default_rng(size)
    values = {
        "_standard_gamma": lambda: [rng.choice([0.05, 0.7, 1.0, 3.0, 50.0], size)],
        "_sample_dirichlet": lambda: [rng.gamma(1.0, 2.0, (size, 3))],
        "poisson": lambda: [rng.choice([0.0, 0.3, 5.0, 60.0], size)],
        "binomial": lambda: [rng.choice([0.0, 1.0, 7.0, 300.0, 5000.0], size), rng.choice([0.0, 0.01, 0.4, 0.9, 1.0], size)],
    }[name]()
    return [v.astype(dtype) for v in values]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["_standard_gamma", "_sample_dirichlet", "poisson", "binomial"])
def test_numbers_and_stream_are_pytorchs(name, dtype):
    for size in (1, 10, 100, 1000):
        arguments = _arguments(name, size, dtype)
        ng.manual_seed(size), torch.manual_seed(size)
        ours = getattr(ng, name)(*map(ng.tensor, arguments)).numpy()
        theirs = getattr(torch, name)(*map(torch.tensor, arguments)).numpy()
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=5e-15 if dtype == "float64" else 1.2e-7)
        np.testing.assert_array_equal(ng.get_rng_state().numpy(), torch.get_rng_state().numpy())


@pytest.mark.parametrize("name, options", [("log_normal_", (0.3, 1.2)), ("geometric_", (0.3,)), ("cauchy_", (0.1, 2.0)),
                                           ("exponential_", (2.0,))])  # fmt: skip
def test_fillers_are_pytorchs(name, options):
    for dtype in ("float32", "float64"):
        for size in (1, 10, 100):
            ng.manual_seed(size), torch.manual_seed(size)
            ours = getattr(ng.empty(size, dtype=getattr(ng, dtype)), name)(*options)
            theirs = getattr(torch.empty(size, dtype=getattr(torch, dtype)), name)(*options)
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-15 if dtype == "float64" else 1.2e-7)


@pytest.mark.parametrize(
    "draw",
    [
        lambda T: T.nn.functional.dropout(T.ones(6, 4).t(), 0.5),
        lambda T: T.nn.functional.dropout(T.ones(3, 4, 5).permute(1, 2, 0), 0.5),
        lambda T: T.nn.functional.alpha_dropout(T.ones(6, 4).t(), 0.5, True),
        lambda T: T.multinomial(T.arange(1.0, 25.0).reshape(6, 4).t(), 3),
        lambda T: T.nn.functional.gumbel_softmax(T.zeros(6, 4).t()), lambda T: T.bernoulli(T.full((6, 4), 0.4).t()),
    ],
)  # fmt: skip
def test_transposed_tensors_draw_as_pytorch_does(draw):
    """Masks are drawn in the order in which their elements lie in memory, which is that of the input."""
    ng.manual_seed(5), torch.manual_seed(5)
    np.testing.assert_allclose(draw(ng).numpy(), draw(torch).numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_uniform_16_bit_numbers_stay_below_the_end(dtype):
    for draw in (lambda T, d: T.empty(4000, dtype=d).uniform_(5, 6), lambda T, d: T.rand(4000, dtype=d)):
        ng.manual_seed(0), torch.manual_seed(0)
        ours, theirs = draw(ng, getattr(ng, dtype)).float().numpy(), draw(torch, getattr(torch, dtype)).float().numpy()
        np.testing.assert_array_equal(ours, theirs)
        assert ours.max() < np.ceil(ours.min() + 1e-6)


def test_shapes_generators_and_edges():
    generator = ng.Generator().manual_seed(4)
    counts = ng.binomial(ng.full((2, 1), 9.0), ng.rand(3), generator=generator)
    assert counts.shape == (2, 3) and ((counts >= 0) & (counts <= 9) & (counts % 1 == 0)).all()
    assert ng.binomial(ng.zeros(0), ng.zeros(0)).shape == (0,)
    assert ng.binomial(ng.tensor([4.0, 4.0, -1.0]), ng.tensor([1.5, float("nan"), 0.5])).isnan().tolist() == [False, True, False]
    assert ng._standard_gamma(ng.tensor([float("nan"), -1.0])).isnan().all()
    assert ng._standard_gamma(ng.tensor(0.0)).item() == ng.finfo(ng.float32).tiny
    assert ng._sample_dirichlet(ng.full((4, 3), 1e-4)).sum(-1).sub(1).abs().max() < 1e-6
    rate = ng.tensor([3.0], requires_grad=True)
    ng.poisson(rate).sum().backward()
    assert rate.grad.tolist() == [0.0]
    with pytest.raises(ValueError, match="floating-point dtypes for count"):
        ng.binomial(ng.tensor([3]), ng.tensor([0.5]))
    with pytest.raises(RuntimeError, match="binomial: expected one dtype"):
        ng.binomial(ng.tensor([3.0]), ng.tensor([0.5], dtype=ng.float64))
    with pytest.raises(RuntimeError, match="not implemented for"):
        ng._standard_gamma(ng.tensor([3]))


def _slope(quantile, parameter):
    step = 2e-5 * parameter
    return (quantile(parameter + step) - quantile(parameter - step)) / (2 * step)


@pytest.mark.parametrize("a", [0.05, 0.5, 1.0, 2.0, 3.7, 100.0, 5e4, 1e6])
def test_gamma_samples_move_as_quantiles_do(a):
    for u in (0.01, 0.5, 0.9, 0.9999):
        x = special.gammaincinv(a, u)
        found = _standard_gamma_grad(ng.tensor(a, dtype=ng.float64), ng.tensor(x, dtype=ng.float64)).item()
        np.testing.assert_allclose(found, _slope(lambda t: special.gammaincinv(t, u), a), rtol=2e-6)


@pytest.mark.parametrize("a, b", [(0.05, 0.5), (1.0, 1.0), (2.0, 3.0), (80.0, 0.5), (5.0, 3000.0), (2000.0, 40.0)])
def test_beta_samples_move_as_quantiles_do(a, b):
    for u in (0.05, 0.5, 0.9):
        x = special.betaincinv(a, b, u)
        if 1e-30 < x < 1 - 1e-7:
            found = _dirichlet_grad(*[ng.tensor(v, dtype=ng.float64) for v in (x, a, a + b)]).item()
            slope = _slope(lambda t: special.betaincinv(t, b, u), a) / (1 - x)
            np.testing.assert_allclose(found, slope, rtol=2e-6)


@pytest.mark.parametrize("name", ["_standard_gamma", "_sample_dirichlet"])
def test_gradients_are_pytorchs(name):
    shapes = np.array([[0.3, 1.0, 2.0], [4.0, 20.0, 0.6]])
    grads = []
    for library in (ng, torch):
        library.manual_seed(1)
        leaf = library.tensor(shapes, requires_grad=True)
        if library is torch and name == "_sample_dirichlet":  # there the distribution defines the gradient
            drawn = torch.distributions.Dirichlet(leaf).rsample()
        else:
            drawn = getattr(library, name)(leaf)
        (drawn * library.tensor([0.5, -1.0, 2.0])).sum().backward()
        grads.append(leaf.grad.numpy())
    np.testing.assert_allclose(*grads, rtol=2e-3, atol=1e-4)  # PyTorch's are approximations
    again = getattr(ng, name)(leaf := ng.tensor(shapes, requires_grad=True))
    (first,) = ng.autograd.grad(again.square().sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="derivative for '.*' is not implemented"):
        first.sum().backward()
