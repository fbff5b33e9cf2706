"""Dual tensors: tangents agree with PyTorch's forward mode."""

import weakref

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
        assert fwAD.unpack_dual(dual).primal is not x and fwAD.unpack_dual(dual).tangent is t
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


class Tripled(ng.autograd.Function):
    """``2 x + y`` with a jvp that is not the derivative, so that it is seen whom one asked."""

    @staticmethod
    def forward(ctx, scale, x, y):
        ctx.scale = scale
        ctx.save_for_backward(x)
        ctx.save_for_forward(y)
        return scale * x + y, x.argmax()

    @staticmethod
    def backward(ctx, g, _):
        return None, ctx.scale * g, g

    @staticmethod
    def jvp(ctx, scale, tx, ty):
        (y,) = ctx.saved_tensors
        assert scale is None
        return 10 * ctx.scale * tx + y * ty, None


def test_a_function_is_asked_for_its_jvp():
    x, y, t = ng.tensor([1.0, 2.0]), ng.tensor([3.0, 4.0], requires_grad=True), ng.tensor([0.5, 1.0])

    def through(x):
        return Tripled.apply(2, x.sin(), y)[0] ** 2

    out = (2 * x.sin() + y).detach()
    expected = 2 * out * 20 * x.cos() * t
    with fwAD.dual_level():
        primal, tangent = fwAD.unpack_dual(through(fwAD.make_dual(x, t)))
    assert ng.allclose(tangent, expected) and ng.allclose(primal, out**2)
    assert ng.allclose(ng.func.jvp(through, (x,), (t,))[1], expected)
    assert ng.allclose(ng.func.vjp(through, x)[1](t)[0], 2 * out * 2 * x.cos() * t)  # backward asks for backward
    (gradient,) = ng.autograd.grad(tangent.sum(), y)
    assert ng.allclose(gradient, 2 * 20 * x.cos() * t)
    assert ng.allclose(ng.func.grad(lambda a: through(a).sum())(x), 2 * out * 2 * x.cos())


def test_a_jvp_alone_is_enough_for_tangents():
    class Cubed(ng.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x)
            return x**3

        @staticmethod
        def jvp(ctx, t):
            return 3 * ctx.saved_tensors[0] ** 2 * t

    x = ng.tensor([1.0, 2.0])
    value, tangent = ng.func.jvp(lambda x: Cubed.apply(Cubed.apply(x)), (x,), (ng.ones(2),))
    assert ng.allclose(value, x**9) and ng.allclose(tangent, 9 * x**8)


def _function(forward, jvp):
    body = {"forward": staticmethod(forward), "jvp": staticmethod(jvp), "backward": staticmethod(lambda ctx, *g: g[0])}
    return type("Given", (ng.autograd.Function,), body)


def _written(ctx, x):
    ctx.mark_dirty(x)
    return x.mul_(2)


def _constant(ctx, x):
    out = x * 1
    ctx.mark_non_differentiable(out)
    return x * 2, out


REFUSED = {
    "number of tangents": (lambda ctx, x: x * 2, lambda ctx, t: (t, t), "incorrect number of forward gradients"),
    "shape": (lambda ctx, x: x * 2, lambda ctx, t: t.sum(), "invalid gradient at index 0"),
    "not written to": (_written, lambda ctx, t: t * 2, "must modify the corresponding gradient inplace"),
    "returned as it was": (_written, lambda ctx, t: t, "must modify the corresponding gradient inplace"),
    "not differentiable": (_constant, lambda ctx, t: (t, t), "return None at that position"),
    "no view": (lambda ctx, x: x[:1], lambda ctx, t: t[:1].clone(), "not returning a view"),
    "as it is": (lambda ctx, x: x, lambda ctx, t: t, r"an input as-is\) but the jvp is not returning a view"),
    "view of another": (lambda ctx, x: x[:1], lambda ctx, t: t[:1].clone()[:], "view of the given"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_tangents(case):
    forward, jvp, text = REFUSED[case]
    with fwAD.dual_level(), pytest.raises(RuntimeError, match=text):
        _function(forward, jvp).apply(fwAD.make_dual(ng.ones(2), ng.ones(2)).clone())


def test_written_inputs_and_views_take_the_tangents_of_a_jvp():
    t = ng.tensor([0.5, 1.0])
    with fwAD.dual_level():
        x = fwAD.make_dual(ng.ones(2), t)
        view = _function(lambda ctx, x: x[:1], lambda ctx, t: t[:1]).apply(x)
        assert fwAD.unpack_dual(view).tangent._base is t
        y = x.clone()
        part = y[1:]
        assert _function(_written, lambda ctx, t: t.mul_(5)).apply(part) is part
        assert fwAD.unpack_dual(y).tangent.tolist() == [0.5, 5.0] and y.tolist() == [1.0, 2.0]


def test_complex_tangents():
    g = np.random.default_rng(3)
    x, t = (g.standard_normal(3) + 1j * g.standard_normal(3) for _ in range(2))
    found = []
    for lib in (ng, torch):
        ad = lib.autograd.forward_ad
        with ad.dual_level():
            out = ad.make_dual(lib.tensor(x), lib.tensor(t)).exp().conj() * 1j
            found.append(ad.unpack_dual(out).tangent.numpy())
    np.testing.assert_allclose(*found, rtol=1e-10)


def test_a_level_keeps_no_tangent_alive():
    with fwAD.dual_level():
        tangent = ng.ones(2)
        alive = weakref.ref(tangent)
        dual = fwAD.make_dual(ng.ones(2), tangent)
        del tangent
        assert alive() is not None
        del dual
        assert alive() is None


def test_tangents_are_laid_out_as_their_primals():
    with fwAD.dual_level():
        part, tangent = ng.ones(5)[:4], ng.ones(4)
        fwAD.unpack_dual(fwAD.make_dual(part, tangent)).tangent.mul_(2)
        assert tangent.tolist() == [1.0] * 4
        turned = fwAD.unpack_dual(fwAD.make_dual(ng.ones(2, 3).t(), ng.ones(3, 2))).tangent
        assert turned.stride() == (1, 3)
        with pytest.raises(RuntimeError, match="forward gradient at the same level"):
            fwAD.make_dual(ng.ones(2), fwAD.make_dual(ng.ones(2), ng.ones(2)) * 2)
        with pytest.raises(RuntimeError, match="out= function"):
            ng.add(ng.ones(2), 1, out=fwAD.make_dual(ng.ones(2), ng.ones(2)))
    assert "tangent" not in str(ng.ones(2))


SAMPLES = {
    "bernoulli": lambda x: x.bernoulli(),
    "poisson": ng.poisson,
    "normal": lambda x: ng.normal(x, x),
    "normal of numbers": lambda x: ng.normal(2.0, x),
    **{f"{name}_": lambda x, name=name: getattr(x.clone(), f"{name}_")() for name in ("uniform", "normal", "exponential", "cauchy", "log_normal")},
    "geometric_": lambda x: x.clone().geometric_(0.5),
    "fill_": lambda x: x.clone().fill_(3.0),
}


@pytest.mark.parametrize("draw", SAMPLES.values(), ids=SAMPLES)
def test_what_is_drawn_or_overwritten_has_zeros_as_derivatives(draw):
    x = ng.full((3,), 0.5, requires_grad=True)
    draw(x).sum().backward()
    assert x.grad.tolist() == [0.0] * 3
    with fwAD.dual_level():
        assert fwAD.unpack_dual(draw(fwAD.make_dual(x.detach(), ng.ones(3)))).tangent.tolist() == [0.0] * 3
