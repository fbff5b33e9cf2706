"""``autograd.functional``: agreement with PyTorch in values, forms, what is recorded, and what is refused."""

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")


def same(ours, theirs):
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple) and len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            same(a, b)
        return
    assert tuple(ours.shape) == tuple(theirs.shape) and ours.requires_grad == theirs.requires_grad
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-11)


def energy(x, y):
    return (x.sin() * y * y).sum() + (x * x).sum()


def several(x, y):
    return x * y.sum(), (x * x * y).sum()


CASES = {
    "vjp": lambda F, x, y, **o: F.vjp(lambda a: a.sin() * a, x, y, **o),
    "vjp of several": lambda F, x, y, **o: F.vjp(several, (x, y), (y, y.sum()), **o),
    "vjp without v": lambda F, x, y, **o: F.vjp(energy, (x, y), **o),
    "jvp": lambda F, x, y, **o: F.jvp(lambda a: a.sin() * a, x, y, **o),
    "jvp of several": lambda F, x, y, **o: F.jvp(several, (x, y), (y, x), **o),
    "jacobian": lambda F, x, y, **o: F.jacobian(lambda a: a.sin() * a.sum(), x, **o),
    "jacobian of several": lambda F, x, y, **o: F.jacobian(several, (x, y), **o),
    "hessian": lambda F, x, y, **o: F.hessian(lambda a: (a.sin() * a).sum(), x, **o),
    "hessian of several": lambda F, x, y, **o: F.hessian(energy, (x, y), **o),
    "vhp": lambda F, x, y, **o: F.vhp(lambda a: (a.sin() * a).sum(), x, y, **o),
    "vhp of several": lambda F, x, y, **o: F.vhp(energy, (x, y), (y, x), **o),
    "hvp": lambda F, x, y, **o: F.hvp(lambda a: (a.sin() * a).sum(), x, y, **o),
    "hvp of several": lambda F, x, y, **o: F.hvp(energy, (x, y), (y, x), **o),
}


def run(lib, case, requires_grad, **options):
    g = np.random.default_rng(2)
    x, y = (lib.tensor(g.standard_normal((2, 2)), requires_grad=requires_grad) for _ in range(2))
    return (x, y), CASES[case](lib.autograd.functional, x, y, **options)


@pytest.mark.parametrize("options", [{}, {"create_graph": True}, {"strict": True}], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_pytorch(case, options):
    ours, theirs = run(ng, case, False, **options)[1], run(torch, case, False, **options)[1]
    same(ours, theirs)


def flat(result):
    return [leaf for part in result for leaf in flat(part)] if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("case", CASES)
def test_recorded_results_can_be_differentiated(case):
    found = []
    for lib in (ng, torch):
        leaves, result = run(lib, case, True, create_graph=True)
        sum((part**2).sum() for part in flat(result)).backward()
        found.append([leaf.grad for leaf in leaves])
    for a, b in zip(*found):
        assert (a is None) == (b is None)
        if b is not None:
            same(a, b)


def test_strategies():
    F = ng.autograd.functional
    x = ng.tensor([[0.5, 1.0], [2.0, -1.0]], dtype=ng.float64)
    reverse = F.jacobian(lambda a: a.sin() * a.sum(), x)
    forward = F.jacobian(lambda a: a.sin() * a.sum(), x, vectorize=True, strategy="forward-mode")
    assert ng.allclose(reverse, forward) and not forward.requires_grad
    outer = F.hessian(lambda a: (a**3).sum(), x, vectorize=True, outer_jacobian_strategy="forward-mode")
    assert ng.allclose(outer, F.hessian(lambda a: (a**3).sum(), x))


@pytest.mark.parametrize("name", ["vjp", "jvp", "jacobian", "hessian", "vhp", "hvp"])
def test_zeros_where_independent_unless_strict(name):
    def constant(x):
        return x.detach().sum()

    found = []
    for lib in (ng, torch):
        F, x = lib.autograd.functional, lib.ones(2)
        v = () if name in ("jacobian", "hessian") else (lib.ones(()) if name == "vjp" else x,)
        result = getattr(F, name)(constant, x, *v)
        found.append(result[1] if v else result)
        with pytest.raises(RuntimeError, match="does not require gradients"):
            getattr(F, name)(constant, x, *v, strict=True)
    assert found[0].tolist() == found[1].tolist()


STRICT = {
    "detached": lambda x: x.detach().sum(),
    "apart": lambda x: x.long().float().requires_grad_().clone().sum(),
    "linear": lambda x: (3 * x).sum(),
    "quadratic": lambda x: (x * x).sum(),
    "cubic": lambda x: (x * x * x).sum(),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("case", STRICT)
@pytest.mark.parametrize("name", ["vjp", "jvp", "hessian", "vhp", "hvp"])
def test_strict_refuses_what_pytorch_refuses(name, case, create_graph):
    found = []
    for lib in (ng, torch):
        x = lib.full((2,), 0.5, requires_grad=True)
        v = () if name == "hessian" else (lib.ones(()) if name == "vjp" else lib.ones(2),)
        try:
            result = getattr(lib.autograd.functional, name)(STRICT[case], x, *v, create_graph=create_graph, strict=True)
            found.append([value.tolist() for value in result])
        except RuntimeError as error:
            found.append(str(error).partition(" This is ")[0])
    ours, theirs = found
    if isinstance(theirs, str) and theirs.startswith(("The gradient with", "The hessian")):  # of the double backward trick
        assert isinstance(ours, list) or "independent" in ours
    else:
        assert ours == theirs


F, ones = ng.autograd.functional, ng.ones(2)
ERRORS = {
    "no tensor": (lambda: F.jacobian(lambda x: x, 3.0), "inputs given to jacobian"),
    "no tensor within": (lambda: F.jacobian(lambda x: x, (ones, 3.0)), "index 1 has type float"),
    "output": (lambda: F.vjp(lambda x: 3.0, ones), "outputs of the user-provided function given to vjp"),
    "no v": (lambda: F.vjp(lambda x: x, ones), "v can only be None if the user-provided function returns"),
    "no v in jvp": (lambda: F.jvp(lambda x: x, ones), "v can only be None if the input"),
    "size of v": (lambda: F.vjp(lambda x: x, ones, ng.ones(3)), "v has invalid size"),
    "length of v": (lambda: F.jvp(lambda x: x, ones, (ones, ones)), "v should contain a single"),
    "length of several v": (lambda: F.jvp(lambda x, y: x, (ones, ones), (ones,)), "invalid length"),
    "output beside a tensor": (lambda: F.vhp(lambda x: (x.sum(), 3.0), ones, ones), "index 1 has type float"),
    "hessian of a vector": (lambda: F.hessian(lambda x: x, ones), "contain a single element"),
    "hessian of a tuple": (lambda: F.hessian(lambda x: (x.sum(), x.sum()), ones), "return a single Tensor"),
    "strategy": (lambda: F.jacobian(lambda x: x, ones, strategy="sideways"), "Expected strategy"),
    "strict and vectorize": (lambda: F.jacobian(lambda x: x, ones, strict=True, vectorize=True), "not supported together"),
    "strict": (lambda: F.jacobian(lambda x, y: x, (ones, ones), strict=True), "independent of input 1"),
    "strict, second order": (lambda: F.hessian(lambda x: x.sum(), ones, strict=True), "with respect to input 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    call, text = ERRORS[case]
    with pytest.raises((RuntimeError, TypeError, ValueError), match=text):
        call()
