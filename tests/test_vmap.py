"""`vmap` computes whole batches: the same as slice by slice, for each kind of op, for gradients and for Jacobians."""

import numpy as np
import pytest

import numgrad as ng
from numgrad import func, nn
from numgrad.func import batching, composites
from numgrad.nn import functional as F

INDEX = np.array([[2, 0, 1], [0, 1, 1]])


def tensors(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [ng.tensor(rng.uniform(0.2, 1.5, shape).astype(np.float32)) for shape in shapes]


def at(index):
    return ng.tensor(index)


# name -> (function of tensors, shapes of one sample)
CALLS = {
    "broadcast": (lambda x, y: x * y * 2.0 - y, [(2, 3), (3,)]),
    "number and comparison": (lambda x, y: ng.where(x > y, x * y, 3 - y), [(2, 3), (2, 1)]),
    "no dimensions": (lambda x, y: x * y.sum() - x.sum(0), [(), ()]),
    "vector and number": (lambda x, y: x * y, [(3,), ()]),
    "in place": (lambda x, y: (x * 1.0).mul_(y).mul_(2.0), [(2, 3), (3,)]),
    "views in place": (lambda x: (x * 1.0).unsqueeze_(0).transpose_(0, 1).squeeze_(1), [(2, 3)]),
    "sum": (lambda x: (x.sum(), x.sum(0), x.mean(-1, True), x.sum((0, 1))), [(2, 3)]),
    "extremes": (lambda x: (x.amax(0), x.max(1)[0], x.argmax(-1), x.argmax()), [(2, 3)]),
    "norms": (lambda x: (x.norm(), x.logsumexp(1), x.prod(1), x.prod()), [(2, 3)]),
    "order": (lambda x: (x.sort(-1)[0], x.topk(2)[0], x.cumsum(1)), [(2, 3)]),
    "views": (lambda x: x.reshape(3, 2).t().unsqueeze(0).transpose(1, 2).squeeze(0).flatten(), [(2, 3)]),
    "more views": (lambda x: (x.permute(1, 0), x[0].expand(4, 3), x.diagonal(), x.movedim(0, -1), x.unfold(1, 2, 1)), [(2, 3)]),
    "parts": (lambda x: (x[1], x[:, 1:], x[..., None, 0], x.narrow(1, 0, 2), x.split(2, 1)[1], x.unbind()[0]), [(2, 3)]),
    "index tensors": (lambda x: (x[:, at([0, 2])], x[at([1, 0]), at([2, 2])], x[None, at([[1]])], x[[1, 0]]), [(2, 3)]),
    "gather": (lambda x: (x.gather(1, at(INDEX)), x.index_select(1, at([2, 0]))), [(2, 3)]),
    "scatter": (lambda x, y: (x.scatter_add(1, at(INDEX), y), x.index_add(0, at([1, 1]), y)), [(2, 3), (2, 3)]),
    "assignment": (lambda x, y: _assigned(x.clone(), y), [(2, 3), (3,)]),
    "join": (lambda x, y: (ng.cat([x, y], 1), ng.stack([x, x * y], -1), ng.hstack([x, y])), [(2, 3), (2, 3)]),
    "turned": (lambda x: (x.roll(1, 1), x.repeat(2, 1), F.pad(x, (1, 2)), ng.diag_embed(x)), [(2, 3)]),
    "matrix by matrix": (lambda x, y: (x @ y, y.t() @ x.t(), ng.einsum("ij,jk->ik", x, y)), [(2, 3), (3, 2)]),
    "matrix by vector": (lambda x, y: (x @ y, y @ x.t(), y @ y, ng.outer(y, x[0])), [(2, 3), (3,)]),
    "linear": (lambda x, w, b: F.linear(x, w, b), [(4, 3), (2, 3), (2,)]),
    "linear of a vector": (lambda x, w, b: F.linear(x, w, b), [(3,), (2, 3), (2,)]),
    "convolution": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(2, 2, 4, 4), (4, 2, 3, 3), (4,)]),
    "convolution in groups": (lambda x, w, b: F.conv1d(x, w, b, stride=2, groups=2), [(4, 7), (4, 2, 3), (4,)]),
    "pools": (lambda x: (F.max_pool2d(x, 2), F.avg_pool2d(x, 2)), [(2, 2, 4, 4)]),
    "embedding": (lambda w: F.embedding(at([2, 0, 2]), w, padding_idx=0), [(3, 2)]),
    "softmax": (lambda x: (x.softmax(-1), x.log_softmax(0)), [(2, 3)]),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (3,), w, b), [(2, 3), (3,), (3,)]),
    "group norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
    "batch norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [(3, 2, 4), (2,), (2,)]),
    "cross entropy": (lambda x: F.cross_entropy(x, at([2, 0])), [(2, 3)]),
    "attention": (lambda q, k: F.scaled_dot_product_attention(q, k, k), [(2, 3, 4), (2, 3, 4)]),
    "solve": (lambda a, b: (ng.linalg.solve(a + 4 * ng.eye(3), b), ng.linalg.det(a)), [(3, 3), (3, 2)]),
}  # fmt: skip
FIRST = {"in place": (0,), "assignment": (0,)}  # a tensor that is written to must be batched


def _assigned(x, y):
    x[1] = y
    x[:, 0] += 2.0
    x[at([0]), at([1])] = y[:1]
    return x


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def assert_same(ours, expected, accuracy=1e-4):
    ours, expected = as_tuple(ours), as_tuple(expected)
    assert len(ours) == len(expected)
    for a, b in zip(ours, expected):
        assert a.dtype is b.dtype and tuple(a.shape) == tuple(b.shape)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=accuracy, atol=accuracy)


def by_slices(fn, args, dims):
    size = next(x.shape[0] for x, dim in zip(args, dims) if dim == 0)
    results = [as_tuple(fn(*[x if dim is None else x[k] for x, dim in zip(args, dims)])) for k in range(size)]
    return tuple(ng.stack(parts) for parts in zip(*results))


def scalar(fn):
    """The sum of all floating-point results, each element with a weight of its own."""

    def total(*args):
        parts = [t for t in as_tuple(fn(*args)) if t.is_floating_point()]
        return sum((t * ng.arange(1.0, t.numel() + 1).reshape(t.shape)).sum() for t in parts)

    return total


@pytest.mark.parametrize("name", CALLS)
def test_equals_slices(name):
    fn, shapes = CALLS[name]
    batches, samples = tensors([(3, *shape) for shape in shapes]), tensors(shapes, 1)
    for places in {(*range(len(shapes)),), (0,), (len(shapes) - 1,)} if name not in FIRST else {FIRST[name]}:
        args = [batches[k] if k in places else samples[k] for k in range(len(shapes))]
        dims = tuple(0 if k in places else None for k in range(len(shapes)))
        assert_same(func.vmap(fn, dims)(*args), by_slices(fn, args, dims))


@pytest.mark.parametrize("name", ["broadcast", "in place", "order", "parts", "index tensors", "scatter", "assignment", "join", "matrix by vector",
                                  "linear", "convolution", "pools", "embedding", "softmax", "layer norm", "batch norm", "cross entropy"])  # fmt: skip
def test_gradients_of_samples(name):
    fn, shapes = CALLS[name]
    first, *others = tensors([(3, *shapes[0]), *shapes[1:]])
    places = tuple(range(len(shapes)))
    dims = (0, *[None] * len(others))
    gradient = func.grad(scalar(fn), places)
    assert_same(func.vmap(gradient, dims)(first, *others), by_slices(gradient, [first, *others], dims), 2e-4)


@pytest.mark.parametrize("name", ["broadcast", "sum", "views", "index tensors", "assignment", "matrix by vector", "linear",
                                  "convolution", "pools", "softmax", "cross entropy"])  # fmt: skip
def test_jacobians_by_batches_equal_those_by_rows(name):
    fn, shapes = CALLS[name]
    args, places = tensors(shapes), tuple(range(len(shapes)))

    def floats(*values):
        return tuple(t for t in as_tuple(fn(*values)) if t.is_floating_point())

    rows = func.jacrev(floats, places, chunk_size=1)(*args)
    for found in (func.jacrev(floats, places)(*args), func.jacrev(floats, places, chunk_size=4)(*args)):
        for ours, expected in zip(found, rows):
            assert_same(ours, expected)
    if name not in ("broadcast", "linear", "softmax"):
        return
    forward = func.jacfwd(lambda x: floats(x, *args[1:]))(args[0])
    for ours, expected in zip(forward, rows):
        assert_same(ours, expected[0], 1e-3)


def count_slices(monkeypatch):
    calls = []

    def counted(fn, *rest):
        calls.append(fn)
        return original(fn, *rest)

    original = batching.slices
    monkeypatch.setattr(batching, "slices", counted)
    monkeypatch.setattr(composites, "slices", counted)
    return calls


def test_models_are_computed_at_once(monkeypatch):
    calls = count_slices(monkeypatch)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    (x,) = tensors([(5, 1, 6, 6)])
    y = at([0, 1, 2, 1, 0])

    def loss(p, a, b):
        return F.cross_entropy(func.functional_call(model, p, (a.unsqueeze(0),)), b.unsqueeze(0))

    found = func.vmap(func.grad(loss), (None, 0, 0))(parameters, x, y)
    func.vmap(func.jacrev(lambda a: model(a.unsqueeze(0))))(x)
    func.hessian(lambda a: (model[4](a) ** 2).sum())(x[0, 0, :2, :4].reshape(8))
    assert not calls
    for k in range(5):
        for name, expected in func.grad(loss)(parameters, x[k], y[k]).items():
            assert_same(found[name][k], expected)
    func.vmap(lambda a: a.histc(3))(x[:, 0, 0])
    assert len(calls) == 1


def test_nested():
    x, y = tensors([(2, 3), (4, 3)])
    pairs = func.vmap(func.vmap(lambda a, b: (a * b).sum() + a[0], (None, 0)), (0, None))(x, y)
    assert_same(pairs, x @ y.t() + x[:, :1])
    inner = func.vmap(lambda a: func.grad(lambda v: func.vmap(lambda b: (v * b).sum().sin())(y).sum())(a))(x)
    assert_same(inner, (x @ y.t()).cos() @ y)
    twice = func.vmap(lambda a: func.jacrev(lambda v: func.vmap(lambda b: v * b, out_dims=1)(y))(a))(x)
    assert twice.shape == (2, 3, 4, 3)
    assert_same(twice[1, 2, 3], ng.tensor([0.0, 0.0, y[3, 2].item()]))
    assert_same(func.vmap(lambda a, b: a.outer(b), (1, 0), 2)(x[:, :2], y[:2]), ng.stack([x[:, k].outer(y[k]) for k in range(2)], 2))


def test_outer_gradients_pass_through():
    w, x = tensors([(3,), (4, 3)])
    w.requires_grad_()
    func.vmap(lambda a: func.grad(lambda v: (v * w).sum().sin())(a))(x).sum().backward()
    expected = w.detach().clone().requires_grad_()
    sum((ng.cos((row * expected).sum()) * expected).sum() for row in x).backward()
    assert_same(w.grad, expected.grad)


def test_chunks(monkeypatch):
    sizes = []
    (x,) = tensors([(3, 5)])

    def fn(a):
        sizes.append(a.value.shape[0])
        return a * 2, a.sum()

    found = func.vmap(fn, 1, (1, 0), chunk_size=2)(x)
    assert sizes == [2, 2, 1]
    assert_same(found, (x * 2, x.sum(0)))


def test_weights_in_batches():
    (x,) = tensors([(3,)])
    x.requires_grad_()
    y = x.sin() * x.sum()
    expected = func.jacrev(lambda a: a.sin() * a.sum())(x.detach())
    (found,) = ng.autograd.grad(y, x, ng.eye(3), is_grads_batched=True, retain_graph=True)
    assert_same(found, expected)
    assert_same(func.vmap(lambda v: ng.autograd.grad(y, x, v, retain_graph=True)[0])(ng.eye(3)), expected)
    with pytest.raises(RuntimeError, match="would mix them"):
        func.vmap(lambda a: ng.autograd.grad((a * x).sum(), x)[0])(ng.eye(3))
    assert_same(ng.autograd.functional.jacobian(lambda a: a.sin() * a.sum(), x, vectorize=True), expected)


def test_random_numbers():
    x = ng.ones(4, 50)
    with pytest.raises(RuntimeError, match="randomness"):
        func.vmap(lambda a: F.dropout(a))(x)
    different = func.vmap(lambda a: F.dropout(a), randomness="different")(x)
    same = func.vmap(lambda a: F.dropout(a), randomness="same")(x)
    assert not (different[0] == different[1]).all() and (same[0] == same[1]).all()
    noise = func.vmap(lambda a: ng.randn_like(a) + ng.zeros_like(a).uniform_(2.0, 3.0), randomness="different")(x)
    assert len(set(noise[:, 0].tolist())) == 4
    shared = func.vmap(lambda a: ng.bernoulli(a * 0.5), randomness="same")(x)
    assert (shared == shared[0]).all()
    with pytest.raises(RuntimeError, match="inplace randomness"):
        func.vmap(lambda a: ng.empty(2).normal_(), randomness="different")(x)


def test_distributions():
    (x,) = tensors([(3, 2)])
    normal = ng.distributions.Normal
    assert_same(func.vmap(lambda a: normal(a, 1.0).log_prob(a + 1))(x), normal(x, 1.0).log_prob(x + 1))
    assert func.vmap(lambda a: normal(a, 1.0).sample(), randomness="different")(x).shape == (3, 2)
    with pytest.raises(ValueError, match="invalid values"):
        func.vmap(lambda a: normal(0.0, a))(x - 1.0)


class Doubled(ng.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2

    @staticmethod
    def vmap(info, in_dims, x):
        Doubled.seen.append((info.batch_size, info.randomness, in_dims))
        return Doubled.apply(x), in_dims[0]


def test_function_with_a_rule_of_its_own():
    Doubled.seen = []
    (x,) = tensors([(2, 3)])
    assert_same(func.vmap(func.grad(lambda a: Doubled.apply(a).sum()))(x), ng.full((2, 3), 2.0))
    assert_same(func.vmap(func.vmap(Doubled.apply))(x), x * 2)
    assert Doubled.seen == [(2, "error", (0,)), (3, "error", (0,)), (2, "error", (0,))]


m = ng.ones(2, 2)
REFUSED = {
    "item": (lambda a: a.sum().item(), r"calling \.item\(\)"),
    "float": (lambda a: float(a.sum()), r"calling \.item\(\)"),
    "condition": (lambda a: a if a.sum() > 0 else -a, "data-dependent control flow"),
    "numpy": (lambda a: a.numpy(), r"calling \.numpy\(\)"),
    "mask": (lambda a: a[a > 0], "index with a mask"),
    "nonzero": (lambda a: a.nonzero(), "nonzero"),
    "write": (lambda a: ng.zeros(2).add_(a), "add_.* is not possible"),
    "copy": (lambda a: ng.zeros(2).copy_(a), "copy_.* is not possible"),
    "scatter": (lambda a: ng.zeros(2).index_add_(0, at([0, 1]), a), "index_add_.* is not possible"),
    "requires_grad_": (lambda a: a.requires_grad_(), "inside of a function"),
    "backward": (lambda a: (a * 1.0).sum().backward(), "not supported"),
    "running statistics": (lambda a: F.batch_norm(a.reshape(1, 1, 2), ng.zeros(1), ng.ones(1), training=True), "running_mean"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    fn, text = REFUSED[name]
    with pytest.raises(RuntimeError, match=text):
        func.vmap(fn)(m)


def test_batched_output_without_out_dim():
    with pytest.raises(ValueError, match="out_dim is None"):
        func.vmap(lambda a: a, out_dims=None)(m)
