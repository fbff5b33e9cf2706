"""Function transforms: agreement with PyTorch, also nested in each other."""

import numpy as np
import pytest

import numgrad as ng
from numgrad import func, nn

torch = pytest.importorskip("torch")
pytestmark = [  # PyTorch's own, on its first jvp and in linearize
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),
]


def arrays(*shapes, seed=0):
    g = np.random.default_rng(seed)
    return [g.standard_normal(shape) for shape in shapes]


def same(ours, theirs):
    if isinstance(theirs, torch.Tensor):
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-11)
        assert ours.requires_grad == theirs.requires_grad
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, (tuple, list)):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            same(a, b)
    else:
        assert ours == theirs


def vec(lib, x):
    return lib.stack([x.sin().sum(), (x * x).sum(), x[0] * x[1]])


def scalar(lib, x):
    return (x.sin() * x * x).sum()


CASES = {
    "grad": lambda L, F, x, y: F.grad(lambda a: scalar(L, a))(x),
    "grad of unused": lambda L, F, x, y: F.grad(lambda a: y.sum() * 2)(x),
    "grad argnums": lambda L, F, x, y: F.grad(lambda a, b: (a * b.exp()).sum(), argnums=(0, 1))(x, y),
    "grad negative argnum": lambda L, F, x, y: F.grad(lambda a, b: (a * b.exp()).sum(), argnums=-1)(x, y),
    "grad has_aux": lambda L, F, x, y: F.grad(lambda a: (scalar(L, a), {"a": a * 2, "n": [a]}), has_aux=True)(x),
    "grad_and_value": lambda L, F, x, y: F.grad_and_value(lambda a: (scalar(L, a), [a]), has_aux=True)(x),
    "grad of a dict": lambda L, F, x, y: F.grad(lambda p, s: (p["a"] * p["b"][0] * s).sum())({"a": x, "b": [y]}, 2.0),
    "third derivative": lambda L, F, x, y: F.grad(F.grad(F.grad(lambda a: a.sin() * a**3)))(x[0]),
    "vjp": lambda L, F, x, y: F.vjp(lambda a, b: {"p": a * b, "s": a.sum()}, x, y)[0],
    "vjp function": lambda L, F, x, y: F.vjp(lambda a, b: (a * b, a.sin()), x, y)[1]((y, x)),
    "vjp has_aux": lambda L, F, x, y: F.vjp(lambda a: (a * a, a), x, has_aux=True)[2],
    "jvp": lambda L, F, x, y: F.jvp(lambda a: vec(L, a), (x,), (y,)),
    "jvp of a structure": lambda L, F, x, y: F.jvp(lambda p: [p["a"] * p["b"], p["a"]], ({"a": x, "b": y},), ({"a": y, "b": x},)),
    "jvp of what does not depend": lambda L, F, x, y: F.jvp(lambda a: (y * 1, a), (x,), (y,)),
    "linearize": lambda L, F, x, y: F.linearize(lambda a: vec(L, a), x)[1](y),
    "jacrev": lambda L, F, x, y: F.jacrev(lambda a: vec(L, a))(x),
    "jacfwd": lambda L, F, x, y: F.jacfwd(lambda a: vec(L, a))(x),
    "jacrev of structures": lambda L, F, x, y: F.jacrev(lambda a, b: {"p": a * b, "q": (a.sum(),)}, argnums=(0, 1))(x, y),
    "jacfwd of structures": lambda L, F, x, y: F.jacfwd(lambda a, b: {"p": a * b, "q": (a.sum(),)}, argnums=(1,))(x, y),
    "jacrev of a dict": lambda L, F, x, y: F.jacrev(lambda p: p["a"] * p["b"].sum())({"a": x, "b": y}),
    "jacrev has_aux": lambda L, F, x, y: F.jacrev(lambda a: (vec(L, a), a.sum()), has_aux=True)(x),
    "hessian": lambda L, F, x, y: F.hessian(lambda a: scalar(L, a))(x),
    "hessian argnums": lambda L, F, x, y: F.hessian(lambda a, b: (a * b.sin()).sum() ** 2, argnums=(0, 1))(x, y),
    "jacfwd of jacfwd": lambda L, F, x, y: F.jacfwd(F.jacfwd(lambda a: scalar(L, a)))(x),
    "jacrev of jacrev": lambda L, F, x, y: F.jacrev(F.jacrev(lambda a: vec(L, a)))(x),
    "jacrev of jacfwd": lambda L, F, x, y: F.jacrev(F.jacfwd(lambda a: vec(L, a)))(x),
    "jvp of grad": lambda L, F, x, y: F.jvp(F.grad(lambda a: scalar(L, a)), (x,), (y,)),
    "grad of jvp": lambda L, F, x, y: F.grad(lambda a: F.jvp(lambda b: scalar(L, b), (a,), (y,))[1])(x),
    "jvp of jvp": lambda L, F, x, y: F.jvp(lambda a: F.jvp(lambda b: scalar(L, b), (a,), (y,))[1], (x,), (y,)),
    "vmap": lambda L, F, x, y: F.vmap(lambda a: a * 2 + 1)(x),
    "vmap in_dims": lambda L, F, x, y: F.vmap(lambda a, b: a @ b, in_dims=(1, None))(L.stack([x, y, x + y]), y[:3]),
    "vmap out_dims": lambda L, F, x, y: F.vmap(lambda a, b: (a * b, a + b), out_dims=(1, -1))(x.reshape(2, 2), y.reshape(2, 2)),
    "vmap out_dims of a list": lambda L, F, x, y: F.vmap(lambda a: [a, (a * 2,)], out_dims=[1, (0,)])(x.reshape(2, 2)),
    "jvp with integers": lambda L, F, x, y: F.jvp(lambda a: (a * 2, a.argmax()), (x,), (y,)),
    "vmap out None": lambda L, F, x, y: F.vmap(lambda a: (a, 3.5), out_dims=(0, None))(x),
    "vmap of a dict": lambda L, F, x, y: F.vmap(lambda p, s: {"r": p["a"] * p["b"] + s}, in_dims=({"a": 0, "b": None}, None))({"a": x, "b": y}, 2.0),
    "vmap kwargs": lambda L, F, x, y: F.vmap(lambda a, b: a * b)(x, b=y),
    "vmap of vmap": lambda L, F, x, y: F.vmap(F.vmap(lambda a, b: a * b, in_dims=(0, None)), in_dims=(None, 0))(x, y),
    "vmap of grad": lambda L, F, x, y: F.vmap(F.grad(lambda a, b: a.sin() * b), in_dims=(0, None))(x, y[0]),
    "vmap of jacrev": lambda L, F, x, y: F.vmap(F.jacrev(lambda a: vec(L, a)))(L.stack([x, y])),
    "vmap of hessian": lambda L, F, x, y: F.vmap(F.hessian(lambda a: scalar(L, a)))(L.stack([x, y])),
    "vmap of vjp": lambda L, F, x, y: F.vmap(F.vjp(lambda a: vec(L, a), x)[1])(L.eye(3, dtype=x.dtype)),
    "vmap of jvp": lambda L, F, x, y: F.vmap(lambda t: F.jvp(lambda a: vec(L, a), (x,), (t,))[1])(L.eye(4, dtype=x.dtype)),
    "grad of vmap": lambda L, F, x, y: F.grad(lambda a: F.vmap(lambda b, c: b.sin() * c)(a, y).sum())(x),
    "jacfwd of vmap": lambda L, F, x, y: F.jacfwd(F.vmap(lambda b: b**3))(x),
    "chunks": lambda L, F, x, y: (F.vmap(lambda a: a * 2, chunk_size=2)(x), F.jacrev(lambda a: vec(L, a), chunk_size=2)(x)),
    "empty": lambda L, F, x, y: F.jacrev(lambda a: a * 2)(x[:0]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_pytorch(case):
    values = arrays((4,), (4,))
    ours = CASES[case](ng, func, *[ng.tensor(v) for v in values])
    same(ours, CASES[case](torch, torch.func, *[torch.tensor(v) for v in values]))


@pytest.mark.parametrize("case", ["grad", "grad_and_value", "vjp", "vjp function", "jvp", "jacrev", "jacfwd", "hessian", "vmap of grad"])
def test_results_are_recorded_for_inputs_that_require_grad(case):
    values = arrays((4,), (4,), seed=1)

    def second(lib, functions, array):
        x, y = (lib.tensor(v, requires_grad=True) for v in values)
        result = CASES[case](lib, functions, x, y)
        leaves = torch.utils._pytree.tree_leaves(result)
        sum((leaf * leaf).sum() for leaf in leaves if hasattr(leaf, "grad_fn")).backward()
        return [x.grad, y.grad]

    ours, theirs = second(ng, func, ng.tensor), second(torch, torch.func, torch.tensor)
    for a, b in zip(ours, theirs):
        assert (a is None) == (b is None)
        if b is not None:
            same(a, b)


def test_only_what_depends_on_something_outside_is_recorded():
    def run(lib, functions):
        w = lib.tensor(2.0, requires_grad=True)
        x = lib.tensor([1.0, 3.0])
        free = functions.grad(lambda a: (a * a).sum() + w)(x)
        bound, value = functions.grad_and_value(lambda a: (a * a).sum() * w)(x)
        return free, bound, value, functions.vjp(lambda a: (a, a * w), x)[0], functions.jacfwd(lambda a: a * a + w)(x)

    same(run(ng, func), run(torch, torch.func))


def test_no_grad_outside_and_inside():
    x = ng.tensor([1.0, 2.0], requires_grad=True)
    with ng.no_grad():
        outer = func.grad(lambda a: (a * a).sum())(x)
    assert not outer.requires_grad and outer.tolist() == [2.0, 4.0]

    def partly(a):
        with ng.no_grad():
            b = a * a
        return (a * b).sum()

    assert func.grad(partly)(x).tolist() == [1.0, 4.0]


def mlp(lib, p, x):
    return lib.tanh(x @ p["w1"] + p["b1"]) @ p["w2"]


def loss(lib, p, x, y):
    return ((mlp(lib, p, x) - y) ** 2).mean()


def setup(lib):
    w1, b1, w2, x, y = [lib.tensor(a) for a in arrays((3, 4), (4,), (4, 1), (5, 3), (5, 1), seed=3)]
    return {"w1": w1, "b1": b1, "w2": w2}, x, y


def test_maml():
    def run(lib, functions):
        p, x, y = setup(lib)

        def meta(p):
            inner = functions.grad(lambda q: loss(lib, q, x[:3], y[:3]))(p)
            return loss(lib, {k: p[k] - 0.1 * inner[k] for k in p}, x[3:], y[3:])

        return functions.grad_and_value(meta)(p)

    same(run(ng, func), run(torch, torch.func))


def test_hessian_of_a_loss():
    def run(lib, functions):
        p, x, y = setup(lib)
        return functions.hessian(lambda b: loss(lib, {**p, "b1": b}, x, y))(p["b1"])

    same(run(ng, func), run(torch, torch.func))


def test_gradients_by_sample():
    values = arrays((5, 3), seed=4)

    def run(lib, functions, model):
        x = lib.tensor(values[0])
        y = lib.tensor([0, 1, 1, 0, 1])
        model.load_state_dict({k: lib.tensor(v) for k, v in weights.items()})
        parameters = {k: v.detach() for k, v in model.named_parameters()}

        def one(p, sample, target):
            logits = functions.functional_call(model, p, (sample.unsqueeze(0),))
            return lib.nn.functional.cross_entropy(logits, target.unsqueeze(0))

        return functions.vmap(functions.grad(one), in_dims=(None, 0, 0))(parameters, x, y)

    def model(lib):
        return lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.Tanh(), lib.nn.Linear(4, 2)).double()

    ours = model(ng)
    weights = {k: v.numpy() for k, v in ours.state_dict().items()}
    same(run(ng, func, ours), run(torch, torch.func, model(torch)))


def test_ensemble():
    ng.manual_seed(0)
    models = [nn.Linear(3, 2) for _ in range(3)]
    parameters, buffers = func.stack_module_state(models)
    assert buffers == {} and parameters["weight"].shape == (3, 2, 3)
    assert parameters["weight"].is_leaf and parameters["weight"].requires_grad
    x = ng.randn(4, 3)
    found = func.vmap(lambda p: func.functional_call(models[0], p, x))(parameters)
    for k, model in enumerate(models):
        assert ng.allclose(found[k], model(x))
    found.sum().backward()
    assert ng.allclose(parameters["bias"].grad, ng.full((3, 2), 4.0))
    with pytest.raises(RuntimeError, match="training/eval"):
        func.stack_module_state([nn.Linear(1, 1), nn.Linear(1, 1).eval()])
    with pytest.raises(RuntimeError, match="same class"):
        func.stack_module_state([nn.Linear(1, 1), nn.Identity()])


def test_batch_norm_without_a_memory():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert func.replace_all_batch_norm_modules_(model) is model
    x = ng.randn(4, 3)
    expected = model.eval()(x)
    assert ng.allclose(model.train()(x), expected)
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    per_group = ng.vmap(lambda v: func.functional_call(model, dict(model.named_parameters()), v))(ng.stack([x, 2 * x]))
    assert per_group.shape == (2, 4, 2) and ng.allclose(per_group[0], expected, atol=1e-6)


def test_randomness():
    x = ng.zeros(4)
    with pytest.raises(RuntimeError, match="randomness"):
        ng.vmap(lambda a: a + ng.rand(()))(x)
    ng.manual_seed(1)
    different = ng.vmap(lambda a: a + ng.rand(()), randomness="different")(x)
    equal = ng.vmap(lambda a: a + ng.rand(()), randomness="same")(x)
    assert len(set(different.tolist())) == 4 and len(set(equal.tolist())) == 1
    ng.manual_seed(1)
    assert different.tolist() == ng.rand(4).tolist()


def test_slices_that_are_written_to():
    x = ng.zeros(3)
    ng.vmap(lambda a, b: a.add_(b))(x, ng.arange(3.0))
    assert x.tolist() == [0.0, 1.0, 2.0]


def test_batch_of_nothing():
    found = ng.vmap(lambda a: a * 2, out_dims=1)(ng.ones(0, 3))
    assert found.shape == (3, 0)


x2 = ng.ones(2)
ERRORS = {
    "a vector": (lambda: func.grad(lambda a: a)(x2), "scalar tensor, got tensor with 1 dims"),
    "no tensor": (lambda: func.grad(lambda a: 3)(x2), "return a Tensor, got int"),
    "a tuple": (lambda: func.grad(lambda a: (a.sum(), a))(x2), "return a Tensor, got tuple"),
    "no aux": (lambda: func.grad(lambda a: a.sum(), has_aux=True)(x2), r"\(output, aux\)"),
    "argnums": (lambda: func.grad(lambda a: a.sum(), argnums=1)(x2), "only 1 positional"),
    "argnums twice": (lambda: func.grad(lambda a: a.sum(), argnums=(0, -1))(x2), "unique"),
    "integers": (lambda: func.grad(lambda a: a.sum())(ng.arange(3)), "floating point"),
    "cotangents": (lambda: func.vjp(lambda a: a, x2)[1]((x2,)), "pytree structure of cotangents"),
    "cotangent shape": (lambda: func.vjp(lambda a: a, x2)[1](ng.ones(3)), "shapes"),
    "integer outputs": (lambda: func.jacrev(lambda a: (a, a.argmax()))(x2), "must be floating-point"),
    "primals": (lambda: func.jvp(lambda a: a, x2, x2), "primals to be a tuple"),
    "tangents": (lambda: func.jvp(lambda a: a, (x2,), (x2, x2)), "pytree structure of tangents"),
    "strict": (lambda: func.jvp(lambda a: ng.ones(1), (x2,), (x2,), strict=True), "independent"),
    "sizes": (lambda: ng.vmap(lambda a, b: a)(x2, ng.ones(3)), "same size in the mapped"),
    "in_dims": (lambda: ng.vmap(lambda a, b: a, in_dims=(0,))(x2, x2), "not compatible with the structure"),
    "in_dim": (lambda: ng.vmap(lambda a: a, in_dims=1)(x2), "dimensionality 1"),
    "in_dim of a number": (lambda: ng.vmap(lambda a, b: a)(x2, 3), "non-Tensor"),
    "no input mapped": (lambda: ng.vmap(lambda a: a, in_dims=(None,))(x2), "at least one"),
    "no inputs": (lambda: ng.vmap(lambda: 3)(), "no inputs"),
    "out_dims": (lambda: ng.vmap(lambda a: a, out_dims=(0, 0))(x2), "not compatible with the structure"),
    "numbers": (lambda: ng.vmap(lambda a: 3.0)(x2), "only return Tensors"),
    "randomness": (lambda: ng.vmap(lambda a: a, randomness="some"), "randomness"),
    "chunks": (lambda: ng.vmap(lambda a: a, chunk_size=0), "chunk_size"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    call, text = ERRORS[case]
    with pytest.raises((RuntimeError, ValueError), match=text):
        call()


def test_functional_call_with_several_dicts():
    module = nn.BatchNorm1d(2)
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    x = ng.arange(6.0).view(3, 2)
    expected = module(x)
    for given in ((parameters, buffers), [parameters, buffers], ({**parameters, **buffers},)):
        ng.testing.assert_close(ng.func.functional_call(module, given, (x,)), expected)
    with pytest.raises(ValueError, match=r"\['bias', 'weight'\] appeared in multiple dictionaries"):
        ng.func.functional_call(module, (parameters, parameters), (x,))
    with pytest.raises(ValueError, match="a dict, or a list or tuple of dicts, got tuple"):
        ng.func.functional_call(module, ("weight",), (x,))


def test_trees_of_other_classes_and_of_some_types():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    tree = func.tree
    tree.register_pytree_node(Pair, lambda pair: ([pair.a, pair.b], "rest"), lambda parts, rest: Pair(*parts))
    with pytest.raises(ValueError, match="already registered"):
        tree.register_pytree_node(Pair, None, None)
    found = tree.tree_map(lambda leaf: leaf * 2, [Pair(1, (2,)), 3])
    assert tree.tree_leaves(found) == [2, 4, 6] and type(found[0]) is Pair
    assert tree.tree_map(lambda a, b: (a, b), [1, {"x": 2}], [(3,), {"x": [4]}]) == [(1, (3,)), {"x": (2, [4])}]
    with pytest.raises(ValueError, match="structures after the first"):
        tree.tree_map(max, [1, 2], [1])
    assert tree.tree_map_only(int, str, [1, (2.0, "x")]) == ["1", (2.0, "x")]
    assert tree.tree_leaves([(1, 2), 3], is_leaf=lambda part: isinstance(part, tuple)) == [(1, 2), 3]
    assert tree.tree_any_only(str, len, [0, ["x"]]) and not tree.tree_all(bool, [0, ["x"]]) and tree.arg_tree_leaves(1, a=[2]) == [1, 2]
