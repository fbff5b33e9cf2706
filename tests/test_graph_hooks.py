"""``autograd.graph``: hooks on what is saved and on gradients, edges of the graph; and what goes with `Function`."""

import importlib
import threading

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn
from numgrad.autograd import Function, Variable, graph
from numgrad.autograd.function import once_differentiable
from numgrad.nn import functional as F


def network(x, w):
    """Ops of all forms, whose gradients need inputs, results, both or neither."""
    h = (x @ w).tanh() * x.sigmoid() + x.exp().relu()
    h = F.softmax(F.layer_norm(h, (3,)), -1) + ng.cat([h[:, :1], h[:, 1:]], 1).t().t()
    return (h * h.sum(0, keepdim=True).expand(4, 3)).norm() + h.amax(1).sum() + (h.logsumexp(1) / h.std()).mean()


def inputs():
    g = np.random.default_rng(5)
    return [ng.tensor(g.standard_normal(shape), requires_grad=True) for shape in ((4, 3), (3, 3))]


class Counts:
    def __init__(self, pack=lambda t: t.numpy().copy(), unpack=ng.tensor):
        self.packed = self.unpacked = 0
        self.hooks = graph.saved_tensors_hooks(self.count(pack, "packed"), self.count(unpack, "unpacked"))

    def count(self, fn, name):
        def counted(value):
            setattr(self, name, getattr(self, name) + 1)
            return fn(value)

        return counted


def test_saved_tensors_come_back():
    x, w = inputs()
    expected = ng.autograd.grad(network(x, w), (x, w), create_graph=True)
    counts = Counts()
    with counts.hooks:
        out = network(x, w)
    assert counts.packed > 10 and counts.unpacked == 0
    found = ng.autograd.grad(out, (x, w), create_graph=True)
    assert counts.unpacked > 10
    for a, b in zip(found, expected):
        assert ng.allclose(a, b)
    again = ng.autograd.grad((found[0] ** 2).sum() + found[1].sum(), (x, w))
    second = ng.autograd.grad((expected[0] ** 2).sum() + expected[1].sum(), (x, w))
    for a, b in zip(again, second):
        assert ng.allclose(a, b)


def test_saved_values_may_be_changed_by_the_hooks():
    x = ng.tensor([1.0, 2.0], requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t * 10, lambda t: t):
        (x * x).sum().backward()
    assert x.grad.tolist() == [20.0, 40.0]


def test_layouts_are_restored():
    x = ng.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    y = ng.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
    for a, b in ((x.t(), y.expand(3, 2)), (x, y.t().expand(2, 3))):
        expected = ng.autograd.grad((a * b).exp().sum(), (x, y), retain_graph=True)
        with Counts().hooks:
            out = (a * b).exp().sum()
        for found, right in zip(ng.autograd.grad(out, (x, y)), expected):
            assert ng.allclose(found, right)


def test_the_innermost_hooks_count_and_only_inside():
    x = ng.tensor([1.0], requires_grad=True)
    outer, inner = Counts(), Counts()
    with outer.hooks:
        x.exp()
        with inner.hooks:
            x.exp()
            x.sin()
    x.cos()
    assert (outer.packed, inner.packed) == (1, 2)


def test_custom_functions_pass_the_hooks():
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return gradient * 3 * x * x

    x = ng.tensor([2.0], requires_grad=True)
    counts = Counts()
    with counts.hooks:
        y = Cube.apply(x)
    y.backward()
    assert x.grad.tolist() == [12.0] and (counts.packed, counts.unpacked) == (1, 1)


def test_a_model_saved_on_the_cpu():
    ng.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    x = ng.randn(2, 1, 6, 6)
    model(x).square().sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with graph.save_on_cpu():
        loss = model(x).square().sum()
    loss.backward()
    for p, right in zip(model.parameters(), expected):
        assert ng.allclose(p.grad, right, atol=1e-5)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_what_unpacking_may_return():
    x = ng.tensor([1.0, 2.0], requires_grad=True)
    for returned, error, text in ((3, TypeError, "got result of type int"), (ng.ones(3), RuntimeError, r"shape \[2\]")):
        with graph.saved_tensors_hooks(lambda t: t, lambda t: returned):
            out = x.exp().sum()
        with pytest.raises(error, match=text):
            out.backward()


def test_hooks_can_be_forbidden():
    with graph.disable_saved_tensors_hooks("not here"):
        with pytest.raises(RuntimeError, match="not here"):
            with Counts().hooks:
                pass
    with Counts().hooks, pytest.raises(RuntimeError, match="not here"):
        with graph.disable_saved_tensors_hooks("not here"):
            pass


def test_saved_tensors_may_be_written_to():
    x, w = ng.tensor([1.0, 2.0], requires_grad=True), ng.tensor([3.0, 4.0])
    with graph.allow_mutation_on_saved_tensors():
        out = (x * w).sum()
        w.zero_()
        out.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="cannot be nested"), graph.allow_mutation_on_saved_tensors():
            pass
    assert x.grad.tolist() == [3.0, 4.0]
    with pytest.raises(AssertionError, match="outside of the 'allow_mutation_on_saved_tensors' context"):
        out.backward()


WRITES = {
    "pointwise": lambda w: w.mul_(5),
    "pointwise twice": lambda w: (w.mul_(5), w.add_(1)),
    "out=": lambda w: ng.sin(ng.ones(2), out=w),
    "out= of a sum": lambda w: ng.sum(ng.ones(2, 2), 0, out=w),
    "copy_": lambda w: w.copy_(ng.ones(2)),
    "fill_": lambda w: w.fill_(7),
    "subscript": lambda w: w.__setitem__(0, 7.0),
    "index_add_": lambda w: w.index_add_(0, ng.tensor([0]), ng.ones(1)),
    "masked_fill_": lambda w: w.masked_fill_(w > 3, 0),
    "scatter_": lambda w: w.scatter_(0, ng.tensor([0]), ng.ones(1)),
    "normal_": lambda w: w.normal_(),
    "of a view": lambda w: w[:1].zero_(),
    "optimizer": lambda w: _step(w),
}


def _step(w):
    w = w.detach().requires_grad_()
    w.grad = ng.ones(2)
    ng.optim.Adam([w]).step()


@pytest.mark.parametrize("how", WRITES)
def test_saved_tensors_are_copied_before_they_are_written_to(how):
    x, w = ng.tensor([1.0, 2.0], requires_grad=True), ng.tensor([3.0, 4.0])
    with graph.allow_mutation_on_saved_tensors() as copies:
        out, again = (x * w).sum(), (x * w).sum()
        assert len(copies.original) == 1 and not copies.cloned
        WRITES[how](w)
        assert len(copies.cloned) == 1 and not copies.original
        (out + again).backward()
        assert x.grad.tolist() == [6.0, 8.0] and w.tolist() != [3.0, 4.0]
        del out, again
        assert not copies.cloned
        x.grad = None
        (x * w).sum().backward()
        WRITES[how](w)
        assert not copies.cloned


def test_multi_grad_hook_where_no_gradient_comes():
    class Nothing(Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return None

    a, b = (ng.tensor(float(k), requires_grad=True) for k in (1, 2))
    seen = []
    graph.register_multi_grad_hook((a, b), lambda gradients: seen.append([g and g.item() for g in gradients]))
    (Nothing.apply(a) * b).backward()
    assert seen == [[None, 1.0]]


def test_multi_grad_hook():
    a, b, c, d = (ng.tensor(float(k), requires_grad=True) for k in (1, 2, 3, 4))
    seen, first = [], []
    handle = graph.register_multi_grad_hook((a, b, c, d), lambda gradients: seen.append([g and g.item() for g in gradients]))
    graph.register_multi_grad_hook((b, c), lambda g: first.append(g.item()), mode="any")
    (a * b * c).backward()
    assert seen == [[6.0, 3.0, 2.0, None]] and len(first) == 1
    (c * d).backward()
    assert seen[1] == [None, None, 4.0, 3.0] and len(first) == 2
    ng.autograd.grad(a * b, a)
    assert seen[2:] == [[2.0, None, None, None]] and len(first) == 2
    handle.remove()
    (a * b).backward()
    assert len(seen) == 3 and len(first) == 3
    with pytest.raises(ValueError, match="'all', 'any'"):
        graph.register_multi_grad_hook((a,), print, mode="some")


def test_node_hooks():
    x = ng.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    seen = []
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs[0].tolist(), outputs[0].tolist())))
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 6.0] and seen == [([6.0, 6.0], [2.0, 2.0])]
    assert isinstance(y.grad_fn, graph.Node)
    y.grad_fn.metadata["key"] = 1
    assert y.grad_fn.metadata == {"key": 1} and (x + 1).grad_fn.metadata == {}


def test_names_of_nodes():
    class Own(Function):
        forward = staticmethod(lambda ctx, x: x * 2)
        backward = staticmethod(lambda ctx, gradient: gradient * 2)

    x = ng.ones(2, 2, requires_grad=True)
    for out, name in ((x * 2, "MulBackward0"), (x.sum(), "SumBackward0"), (x.t(), "TBackward0"), (Own.apply(x), "OwnBackward")):
        assert out.grad_fn.name() == name and out.grad_fn.name == name and type(out.grad_fn.name()) is str
    assert (x * 2).grad_fn.next_functions[0][0].name() == "torch::autograd::AccumulateGrad"


def test_gradient_edges():
    x = ng.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    edge = graph.get_gradient_edge(y)
    assert edge.node is y.grad_fn and edge.output_nr == 0
    out = (y * y).sum()
    assert ng.autograd.grad(out, edge, retain_graph=True)[0].tolist() == [4.0, 8.0]
    assert ng.autograd.grad(out, [graph.get_gradient_edge(x)], retain_graph=True)[0].tolist() == [8.0, 16.0]
    assert ng.autograd.grad(edge, x, ng.ones(2), retain_graph=True)[0].tolist() == [2.0, 2.0]
    ng.autograd.backward(edge, ng.ones(2), inputs=graph.get_gradient_edge(x))
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="does not require gradients"):
        graph.get_gradient_edge(ng.ones(1))
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        ng.autograd.grad(edge, x)


def test_increment_version():
    x = ng.tensor([1.0], requires_grad=True)
    w = ng.tensor([2.0])
    out = x * w
    before = w._version
    graph.increment_version(w)
    assert w._version == before + 1
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        out.backward()


def test_batched_gradients():
    x = ng.tensor([1.0, 2.0, 3.0], requires_grad=True)
    z = ng.tensor(1.0, requires_grad=True)
    weights = ng.eye(3)
    found = ng.autograd.grad(x * x, (x, z), weights, is_grads_batched=True, allow_unused=True, retain_graph=False)
    assert found[0].tolist() == [[2.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 6.0]] and found[1] is None
    with pytest.raises(RuntimeError, match="first dimension"):
        ng.autograd.grad(x.sum(), x, is_grads_batched=True)


def test_once_differentiable():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, gradient):
            return 2 * gradient * ctx.saved_tensors[0]

    x = ng.tensor([3.0], requires_grad=True)
    (first,) = ng.autograd.grad((Square.apply(x) ** 2).sum(), x, create_graph=True)
    assert first.tolist() == [108.0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.backward()


def test_vjp_stands_for_backward():
    class Twice(Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return 2 * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.set_materialize_grads(False)

        @staticmethod
        def vjp(ctx, gradient):
            return 2 * gradient

    x = ng.ones(3)
    assert ng.vmap(ng.func.grad(lambda a: Twice.apply(a)))(x).tolist() == [2.0] * 3
    assert ng.func.jvp(Twice.apply, (x,), (x,))[1].tolist() == [2.0] * 3


def test_variable():
    x = Variable(ng.ones(2), requires_grad=True)
    assert type(x) is ng.Tensor and x.requires_grad and isinstance(ng.ones(1), Variable)
    with pytest.raises(TypeError, match="got list"):
        Variable([1.0])


class _TwoMultiples(Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x, 3 * x

    @staticmethod
    def backward(ctx, g, h):
        return 2 * g + 3 * h


def test_results_of_one_function_share_their_node():
    """Its hooks see the gradients of all its outputs, None for those that were not used."""
    x = ng.ones(2, requires_grad=True)
    a, b = _TwoMultiples.apply(x)
    assert a.grad_fn is b.grad_fn and (a.output_nr, b.output_nr) == (0, 1)
    assert (b * 1).grad_fn.next_functions[0] == (a.grad_fn, 1)
    seen = []
    a.grad_fn.register_prehook(lambda gradients: tuple(None if g is None else 5 * g for g in gradients))
    a.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs, outputs)))
    b.sum().backward()
    ((inputs, outputs),) = seen
    assert outputs[0] is None and outputs[1].tolist() == [5.0, 5.0] and inputs[0].tolist() == [15.0, 15.0]
    assert x.grad.tolist() == [15.0, 15.0]


def test_post_accumulate_hooks_of_a_tensor_that_is_gone():
    x = ng.ones(2, requires_grad=True)
    seen = []
    x.register_post_accumulate_grad_hook(lambda tensor: seen.append(tensor.grad))
    y = (x * x).sum()
    del x
    y.backward()
    assert not seen


def test_leaves_are_done_as_soon_as_their_gradients_are_there():
    first, second = ng.ones(2, requires_grad=True), ng.ones(2, requires_grad=True)
    order = []
    first.register_post_accumulate_grad_hook(lambda leaf: order.append(("first", leaf.grad.tolist())))
    second.register_post_accumulate_grad_hook(lambda leaf: order.append(("second", leaf.grad.tolist())))
    inner = first * 3
    inner.register_hook(lambda g: order.append("inner"))
    (inner * second + second).sum().backward()
    assert order == [("second", [4.0, 4.0]), "inner", ("first", [3.0, 3.0])]


@pytest.mark.parametrize("mode", ["all", "any"])
def test_multi_grad_hooks_of_passes_in_several_threads(mode):
    a, b = ng.ones(2, requires_grad=True), ng.ones(2, requires_grad=True)
    meet, calls = threading.Barrier(2), []
    inner = a * b
    inner.register_hook(lambda g: (meet.wait(10), None)[1])
    graph.register_multi_grad_hook((inner, a), lambda g: calls.append(g), mode=mode)
    loss = inner.sum()
    threads = [threading.Thread(target=lambda: loss.backward(retain_graph=True)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 2


def test_walks_within_walks_are_not_bound_by_the_stack():
    class Deep(ng.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x.detach() - 1
            return x.detach()

        @staticmethod
        def backward(ctx, g):
            if ctx.x > 0:
                with ng.enable_grad():
                    Deep.apply(ctx.x.requires_grad_()).backward()
                    assert not ng.is_inference_mode_enabled() and ng.is_grad_enabled()
            return g

    x = ng.tensor(400.0, requires_grad=True)
    Deep.apply(x).backward()
    assert x.grad == 1


def test_the_pass_under_way():
    core = importlib.import_module("numgrad._C")
    a, b, c = (ng.ones(2, requires_grad=True) for _ in range(3))
    out = a * b
    other = (out * c).sin()
    seen = []

    def look(gradient):
        seen.append((core._current_graph_task_id(), core._current_autograd_node().name()))
        seen.append([core._will_engine_execute_node(node) for node in (a.grad_fn or a._n, c._n, out.grad_fn, loss.grad_fn)])

    out.register_hook(look)
    loss = out.sum()
    loss.backward(retain_graph=True)
    loss.backward(inputs=[a], retain_graph=True)
    other.sum().backward()
    assert [entry[1] for entry in seen[::2]] == ["MulBackward0"] * 3
    assert seen[2][0] == seen[0][0] + 1
    assert seen[1::2] == [[True, False, True, True], [True, False, True, True], [True, True, True, False]]
    assert core._current_graph_task_id() == -1 and core._current_autograd_node() is None
    with pytest.raises(RuntimeError, match="only be called during the backward pass"):
        core._will_engine_execute_node(out.grad_fn)
    with pytest.raises(RuntimeError, match="expects an grad_fn"):
        core._will_engine_execute_node(out)


def test_the_order_of_what_is_still_to_run():
    core = importlib.import_module("numgrad._C")
    x, y = ng.ones(2, requires_grad=True), ng.ones(2, requires_grad=True)
    out = (x * y).sin().sum()
    names = []
    out.register_hook(lambda g: names.extend(node.name() for node in core._current_graph_task_execution_order()))
    with ng.autograd.set_multithreading_enabled(False):
        out.backward(retain_graph=True)
    leaf = "torch::autograd::AccumulateGrad"
    assert names == ["SumBackward0", "SinBackward0", "MulBackward0", leaf, leaf]
    with pytest.raises(RuntimeError, match="multithreading disabled"):
        out.backward()


def test_a_function_has_saved_tensors_unpacked_when_it_reads_them():
    class Product(ng.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, g):
            assert len(ctx.saved_tensors) == 2
            x, y = ctx.saved_tensors
            return g * y, g * x

    unpacked, plain = [], ng.full((2,), 3.0)
    with graph.saved_tensors_hooks(lambda t: t, lambda t: unpacked.append(t) or t):
        out = Product.apply(ng.ones(2, requires_grad=True), plain)
    out.sum().backward()
    assert len(unpacked) == 4 and unpacked[1] is plain


def test_full_backward_hooks_stay_out_of_second_derivatives():
    loss, calls = ng.nn.MSELoss(), []
    loss.register_full_backward_hook(lambda module, inputs, outputs: calls.append(1))
    x = ng.ones(3, requires_grad=True)
    (first,) = ng.autograd.grad(loss(x, ng.zeros(3)), x, create_graph=True)
    ng.autograd.grad(first.sum(), x)
    assert calls == [1]


def test_indices_are_freed_by_a_pass():
    x = ng.ones(3, requires_grad=True)
    taken = x[[0, 0]]
    taken.sum().backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        taken.sum().backward()


@pytest.mark.parametrize("join", [ng.cat, ng.stack])
@pytest.mark.parametrize("dim", [0, 1])
def test_joins_tell_their_dimension(join, dim):
    x = ng.ones(2, 3, requires_grad=True)
    node = join([x, x], dim).grad_fn
    assert type(node._saved_dim) is int and node._saved_dim == dim
    with pytest.raises(AttributeError, match="_saved_other"):
        assert node._saved_other is None


@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_dir_names_can_be_read(requires_grad):
    x = ng.ones(2, 3, dtype=ng.complex64, requires_grad=requires_grad)
    names = dir(x)
    assert {"shape", "grad_fn", "add_"} <= {*names} and names == sorted(names)
    assert all(hasattr(x, name) for name in names)


def test_the_history_under_the_recorders_names():
    x = ng.ones(2, requires_grad=True)
    y = x * 2
    assert y._grad_fn is y.grad_fn and y._backward_hooks is None
    y.register_hook(print)
    assert [*y._backward_hooks.values()] == [print]
    for name in ("_grad_fn", "_backward_hooks"):
        with pytest.raises(RuntimeError, match=f"cannot delete {name}"):
            delattr(y, name)
    with pytest.raises(TypeError, match="only set to None"):
        y._grad_fn = 1
    y._grad_fn = None
    assert not y.requires_grad
