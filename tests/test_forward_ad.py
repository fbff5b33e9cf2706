"""Dual tensors: tangents agree with PyTorch's forward mode."""

import numpy as np
import pytest

import numgrad as ng
from numgrad.autograd import forward_ad as fwAD
from numgrad.nn import functional as F

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # PyTorch's own

FUNCTIONS = {
    "pointwise": lambda L, x, y: (x * y).sin() / (1 + y.exp()),
    "reduction": lambda L, x, y: x.logsumexp(1) + y.std(1) + (x * y).mean(1),
    "matmul": lambda L, x, y: L.linalg.inv(x @ y.t() + 5 * L.eye(3, dtype=x.dtype)),
    "rows": lambda L, x, y: L.nn.functional.layer_norm(x, (3,)) * L.softmax(y, 0),
    "views": lambda L, x, y: L.cat([x[1:].t(), y.t()[:, :2]], 1).cumsum(0),
    "written to": lambda L, x, y: x.clone().mul_(y).index_fill(0, L.tensor([1]), 2.0),
    "one tangent only": lambda L, x, y: (x.detach() * y) ** 3,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_agrees_with_pytorch(name):
    g = np.random.default_rng(7)
    values = [g.standard_normal((3, 3)) for _ in range(4)]

    def run(lib):
        x, y, tx, ty = (lib.tensor(v) for v in values)
        ad = lib.autograd.forward_ad
        with ad.dual_level():
            out = FUNCTIONS[name](lib, ad.make_dual(x, tx), ad.make_dual(y, ty))
            return ad.unpack_dual(out)

    ours, theirs = run(ng), run(torch)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-8, atol=1e-10)


def test_what_is_not_dual_has_no_tangent():
    x, t = ng.ones(2), ng.tensor([1.0, 2.0])
    with fwAD.dual_level():
        dual = fwAD.make_dual(x, t)
        assert fwAD.unpack_dual(dual).primal is x and fwAD.unpack_dual(dual).tangent is t
        assert fwAD.unpack_dual(x) == (x, None)
        assert fwAD.unpack_dual(ng.ones(2, requires_grad=True) * 2).tangent is None
        out = dual * 3
    assert fwAD.unpack_dual(out).tangent is None


def test_within_no_grad():
    x = ng.ones(2, requires_grad=True)
    with ng.no_grad():
        with fwAD.dual_level():
            primal, tangent = fwAD.unpack_dual((fwAD.make_dual(x, ng.ones(2)) * x).exp())
        assert not ng.is_grad_enabled()
    assert ng.is_grad_enabled()
    assert not primal.requires_grad and not tangent.requires_grad
    assert ng.allclose(tangent, primal)


def test_backward_through_a_tangent():
    x = ng.tensor([0.5, 2.0], requires_grad=True)
    with fwAD.dual_level():
        tangent = fwAD.unpack_dual(fwAD.make_dual(x, ng.ones(2)) ** 3).tangent
    tangent.sum().backward()
    assert ng.allclose(x.grad, 6 * x.detach())


def test_parameters_of_a_model():
    ng.manual_seed(0)
    model = ng.nn.Linear(3, 2)
    x, directions = ng.randn(4, 3), {name: ng.randn(*p.shape) for name, p in model.named_parameters()}
    parameters = dict(model.named_parameters())
    expected = ng.func.jvp(lambda p: F.gelu(ng.func.functional_call(model, p, x)), (parameters,), (directions,))[1]
    with fwAD.dual_level():
        for name, p in parameters.items():
            delattr(model, name)
            setattr(model, name, fwAD.make_dual(p, directions[name]))
        tangent = fwAD.unpack_dual(F.gelu(model(x))).tangent
    assert ng.allclose(tangent, expected, atol=1e-6)


def test_errors():
    x = ng.ones(2)
    with pytest.raises(RuntimeError, match="no level exists"):
        fwAD.make_dual(x, x)
    with pytest.raises(RuntimeError, match="no dual level"):
        fwAD.exit_dual_level()
    with fwAD.dual_level():
        with pytest.raises(RuntimeError, match="Nested"):
            fwAD.enter_dual_level()
        with pytest.raises(ValueError, match="floating point"):
            fwAD.make_dual(ng.arange(2), x)
        with pytest.raises(RuntimeError, match="shape of primal"):
            fwAD.make_dual(x, ng.ones(3))
        with pytest.raises(RuntimeError, match="dtype and device"):
            fwAD.make_dual(x, x.double())
        with pytest.raises(TypeError, match="got float"):
            fwAD.make_dual(x, 1.0)
    with pytest.raises(RuntimeError, match="no level exists"):
        fwAD.make_dual(x, x)
