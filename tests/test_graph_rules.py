"""Rules of the graph: how far a walk goes, writes through views, inference tensors, hooks, saved values."""

import contextlib
import gc
import importlib
import weakref

import numpy as np
import pytest

import numgrad as ng
from numgrad import autograd
from numgrad.autograd.gradcheck import GradcheckError
from numgrad.autograd.graph import GradientEdge, get_gradient_edge
from numgrad.utils.checkpoint import checkpoint, set_checkpoint_early_stop


def leaf(*shape):
    return ng.arange(1.0, 1 + int(np.prod(shape)), dtype=ng.float64).reshape(*shape).requires_grad_()


# --- how far a walk goes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [lambda x: x.tanh(), lambda x: x[1:].exp(), lambda x: (x * x).sum(0), lambda x: x.chunk(2)[0].exp()])
def test_a_backward_pass_in_two_halves(hidden):
    x = leaf(4)
    (whole,) = autograd.grad(hidden(x).pow(2).sum(), x)
    inner = hidden(x)
    (g,) = autograd.grad(inner.pow(2).sum(), inner)
    inner.backward(g)
    np.testing.assert_allclose(x.grad.numpy(), whole.numpy())
    edge = get_gradient_edge(inner := hidden(x))
    assert edge.node is inner.grad_fn
    (g,) = autograd.grad(inner.pow(2).sum(), edge)
    np.testing.assert_allclose(autograd.grad(edge, x, g)[0].numpy(), whole.numpy())


def test_only_what_ran_is_freed():
    x, y = leaf(3), leaf(3)
    left, right = x.exp(), y.exp()
    total = (left * right).sum()
    autograd.grad(total, left)
    left.sum().backward()  # not on the way
    right.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        total.backward()


class Two(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, g, h):
        return 2 * g + 3 * h


def test_an_edge_names_one_of_several_outputs():
    x = leaf(2)
    a, b = Two.apply(x)
    edge = GradientEdge(a.grad_fn, b.output_nr)
    (g,) = autograd.grad((a * 5 + b * 7).sum(), edge, retain_graph=True)
    np.testing.assert_array_equal(g.numpy(), 7.0)
    np.testing.assert_array_equal(autograd.grad(edge, x, g)[0].numpy(), 21.0)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x, y: autograd.grad(y, []), ValueError, "non-empty"),
        (lambda x, y: autograd.grad(get_gradient_edge(x * 2), x), RuntimeError, "only for scalar outputs"),
        (lambda x, y: autograd.grad(get_gradient_edge(y), x, ng.ones(2)), RuntimeError, "Mismatch in shape"),
        (lambda x, y: autograd.grad(y, x, ng.ones((), dtype=ng.complex64)), RuntimeError, "required to have the same dtype"),
        (lambda x, y: autograd.grad(y, x, ng.ones(2), is_grads_batched=True) and autograd.grad(x * 2, x, ng.ones(3), is_grads_batched=True),
         RuntimeError, "we interpret the first dimension"),
        (lambda x, y: y.grad_fn(), TypeError, "expected 1 arguments, got 0 instead"),
    ],
)  # fmt: skip
def test_messages(call, error, words):
    x = leaf(3)
    with pytest.raises(error, match=words):
        call(x, x.sum())


# --- views that the recorder does not follow ------------------------------------------------------------------------------

VIEWS = {
    "slice": lambda y: y[:2], "number": lambda y: y[1], "view": lambda y: y.view(2, 2), "transpose": lambda y: y.view(2, 2).t(),
    "as_strided": lambda y: y.as_strided((2,), (2,)), "narrow": lambda y: y.narrow(0, 1, 2), "expand": lambda y: y[None],
    "real": lambda y: y.view(ng.float64) if False else y.diagonal() if y.ndim > 1 else y[::2],
}  # fmt: skip
WRITES = {
    "mul_": lambda v: v.mul_(5), "add_": lambda v: v.add_(v.detach().clone()), "copy_": lambda v: v.copy_(ng.zeros(())), "fill_": lambda v: v.fill_(1),
    "setitem": lambda v: v.__setitem__(..., 3), "index": lambda v: v.index_fill_(0, ng.tensor([0]), 1.0) if v.ndim else v.zero_(),
    "where": lambda v: v.masked_fill_(v.detach() > 0, 1.0), "relu_": lambda v: ng.nn.functional.relu_(v),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["no_grad", "inference_mode"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_made_in_a_mode_is_not_written_outside(view, kind):
    for write in WRITES.values():
        y = leaf(4) * 1
        with getattr(ng, kind)():
            v = VIEWS[view](y)
        before = y.detach().clone()
        with pytest.raises(RuntimeError, match="A view was created in"):
            write(v)
        assert ng.equal(y, before)
        with ng.no_grad():  # on the same side it is what was asked for
            write(v)
        w = ng.zeros(4)
        with getattr(ng, kind)():
            v = VIEWS[view](w)
        write(v)  # nothing is recorded here


SEVERAL = {
    "unbind": lambda y: y.unbind(), "split": lambda y: y.split(2), "chunk": lambda y: y.chunk(2), "sections": lambda y: y.split([1, 3]),
    "iteration": lambda y: tuple(y),
}  # fmt: skip
SLICES = {
    "tensor_split": lambda T, y: y.tensor_split(2), "at places": lambda T, y: y.tensor_split((1, 3)), "hsplit": lambda T, y: T.hsplit(y, 2),
    "vsplit": lambda T, y: T.vsplit(y, (1,)), "dsplit": lambda T, y: T.dsplit(y, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", SLICES)
def test_slices_made_at_once_may_be_written(name):
    """Functions that slice several times return views of their own."""
    torch = pytest.importorskip("torch")
    found = []
    for T in (ng, torch):
        x = T.arange(64.0).reshape(4, 4, 4).requires_grad_()
        y = x * 1
        parts = SLICES[name](T, y)
        parts[0].mul_(3)
        (y * y).sum().backward()
        found.append(([tuple(part.shape) for part in parts], x.grad.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", SEVERAL)
def test_one_of_several_views_is_not_written(name):
    for write in WRITES.values():
        for deeper in (lambda v: v, lambda v: v.view_as(v)):
            parts = SEVERAL[name](leaf(4) * 1)
            with pytest.raises(RuntimeError, match="a function that returns multiple views"):
                write(deeper(parts[-1]))
    with pytest.raises(RuntimeError, match="Output 1 of .*Backward0 is a view"):
        SEVERAL[name](leaf(4) * 1)[1].zero_()
    write(SEVERAL[name](ng.zeros(4))[0])
    x = leaf(4)
    y = x * 1
    part = SEVERAL[name](y)[0]
    y.mul_(3)  # the base is written to: the views follow
    part.sum().backward()
    assert set(x.grad.tolist()) <= {0.0, 3.0} and x.grad.sum() > 0


def test_a_view_from_elsewhere_does_not_follow_its_base():
    y = leaf(4) * 1
    with ng.no_grad():
        v = y[:2]
    y.mul_(2)
    with pytest.raises(RuntimeError, match="its base or another view of its base has been modified"):
        v.grad_fn  # noqa: B018
    for use in (lambda: v * 2, lambda: ng.cat([v, v]), lambda: v.sum(), lambda: v.mul_(2), lambda: v[0], lambda: v.detach() + v):
        with pytest.raises(RuntimeError, match="its base or another view"):
            use()
    assert v.requires_grad and v.detach().tolist() == y[:2].tolist()
    with ng.no_grad():
        assert (v * 2).tolist() == (y[:2] * 2).tolist()
    y.mul_(2)  # once more, and the error still says whose view it is
    assert "Invalid" in repr(v)


@pytest.mark.parametrize("write", [w for name, w in WRITES.items() if name in ("mul_", "add_", "relu_")])
def test_windows_that_overlap_are_not_written(write):
    y = leaf(4) * 1
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        write(y.unfold(0, 2, 1))
    y.unfold(0, 2, 2).mul_(3)  # these do not overlap
    y.unfold(0, 3, 1).zero_()  # one value for all: there is nothing to mix up
    y.sum().backward()


# --- Function -------------------------------------------------------------------------------------------------------------


class Double(autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.mark_dirty(x)
        return x.mul_(2).add_(y.detach())

    @staticmethod
    def backward(ctx, g):
        return 2 * g, g


@pytest.mark.parametrize("view", [lambda b: b[:2], lambda b: b.view(2, 2)[0], lambda b: b[::2], lambda b: b[1:3][None][0]])
def test_mark_dirty_on_a_view(view):
    x, y = leaf(4), leaf(2)
    base = x * 1
    part = view(base)
    assert Double.apply(part, y) is part
    base.sum().backward()
    expected = leaf(4)
    plain = expected * 1
    v = view(plain)
    v.mul_(2).add_(leaf(2))
    plain.sum().backward()
    assert x.grad.tolist() == expected.grad.tolist() and y.grad.tolist() == [1, 1]


def test_mark_dirty_is_refused_where_it_cannot_be_right():
    class Both(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2), x.detach().clone()

    class Neither(Both):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2).clone()

    for function, x, words in (
        (Double, leaf(2), "a leaf Variable"), (Double, leaf(2)[:], "a view of a leaf"), (Both, (leaf(2) * 1)[:], "more than one Tensor"),
        (Neither, leaf(2) * 1, "were not returned as output"), (Double, (leaf(2) * 1).chunk(1)[0], "multiple views"),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=words):
            function.apply(x, *[leaf(2)][: function is Double])


def test_a_view_from_a_function_is_not_written():
    class View(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return g * 7

    class Same(View):
        @staticmethod
        def forward(ctx, x):
            return x

    for function in (View, Same):
        x = leaf(2)
        with pytest.raises(RuntimeError, match="created inside a custom Function"):
            function.apply(x * 1).mul_(2)
        y = x * 1
        v = function.apply(y)
        y.mul_(2)
        with pytest.raises(RuntimeError, match="its base or another view"):
            v.sum().backward()
    w = View.apply(ng.zeros(2))  # a view of what needs no gradient, to which something recorded is written
    with pytest.raises(RuntimeError, match="custom Function|created in no_grad mode|modified inplace"):
        w.add_(leaf(2))


def test_the_context_of_a_function():
    class Keep(autograd.Function):
        @staticmethod
        def forward(x, factor=3.0):
            return x * factor

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.factor = inputs
            ctx.save_for_backward(x, None)

        @staticmethod
        def backward(ctx, g):
            assert isinstance(ctx, autograd.graph.Node) and ctx.name() == "KeepBackward"
            assert ctx.metadata == {"mine": 1}
            return g * ctx.factor, None

    x = leaf(2)
    y = Keep.apply(x)
    node = y.grad_fn
    assert isinstance(node, Keep._backward_cls) and node.factor == 3.0 and node.saved_tensors[0] is x
    assert node.saved_tensors[1] is None and node.needs_input_grad == (True, False)
    node.metadata["mine"] = 1
    with pytest.raises(RuntimeError, match="None is forbidden"):
        node._raw_saved_tensors[1].register_hooks(lambda t: t, lambda t: t)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        node.saved_tensors  # noqa: B018


# --- inference tensors -------------------------------------------------------------------------------------------------------


def test_inference_tensors_are_made_of_everything_and_stay_apart():
    x = ng.ones(2, 2)
    with ng.inference_mode():
        made = [ng.ones(2), ng.rand(2), x + 1, x.sum(), x @ x, x.softmax(0), x[ng.tensor([0])], ng.cat([x, x]), x.clone(), x.t().contiguous(),
                ng.from_numpy(np.ones(2)), (x + 1)[0], x.double(), x.reshape(4) + 1]  # fmt: skip
        normal = [x, x[0], x.t(), x.add_(0), x.view(4)]
    assert all(t.is_inference() for t in made) and not any(t.is_inference() for t in normal)
    assert not (made[2] + 1).is_inference() and not made[2].clone().is_inference() and made[2][0].is_inference()
    with pytest.raises(RuntimeError, match="do not track version counter"):
        made[0]._version  # noqa: B018
    with pytest.raises(RuntimeError, match="requires_grad=True on inference tensor"):
        made[0].requires_grad_()
    for write in (lambda t: t.add_(1), lambda t: t.zero_(), lambda t: t.__setitem__(0, 1), lambda t: t.relu_(), lambda t: t[0].mul_(x[0]),
                  lambda t: t.detach().mul_(2), lambda t: t.data.mul_(2), lambda t: t.uniform_()):  # fmt: skip
        before = made[2].tolist()
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
            write(made[2])
        assert made[2].tolist() == before
        with ng.inference_mode():
            write(made[2])


def test_inference_tensors_are_read_but_not_saved():
    w = leaf(2)
    with ng.inference_mode():
        x = ng.ones(2, dtype=ng.float64)
        with ng.inference_mode(False):
            assert not ng.ones(2).is_inference() and ng.is_grad_enabled()
    (w + x).sum().backward()
    for use in (lambda: w * x, lambda: (w[None] @ x[:, None]), lambda: ng.nn.functional.mse_loss(w, x), lambda: w.clone().mul_(x)):
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
            use()
    (w * x.clone()).sum().backward()
    assert (w.detach() * x).sum() == 3


def test_what_an_inference_block_costs_ends_with_its_tensors():
    gc.collect()
    before = autograd.switch.anywhere
    with ng.inference_mode():
        x = ng.ones(2)
    y = x[0]
    assert autograd.switch.anywhere == before + 1
    del x
    assert autograd.switch.anywhere == before + 1
    del y
    assert autograd.switch.anywhere == before


# --- hooks and saved values ------------------------------------------------------------------------------------------------------


def test_the_order_of_hooks():
    x = leaf(2)
    seen = []
    y = x * 2
    accumulate = y.grad_fn.next_functions[0][0]
    y.grad_fn.register_prehook(lambda outputs: seen.append("node's before"))
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append(("node's after", len(inputs), len(outputs))))
    y.register_hook(lambda g: seen.append("tensor's"))
    x.register_hook(lambda g: g * 2)
    accumulate.register_prehook(lambda outputs: (outputs[0] * 3,))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(("accumulated", t.grad.tolist())))
    accumulate.register_hook(lambda inputs, outputs: seen.append(("leaf's after", inputs, outputs[0].tolist())))
    y.sum().backward(retain_graph=True)
    assert seen == [
        "tensor's", "node's before", ("node's after", 2, 1), ("accumulated", [12.0, 12.0]), ("leaf's after", (), [12.0, 12.0]),
    ]  # fmt: skip
    seen.clear()
    assert autograd.grad(y.sum(), x)[0].tolist() == [4.0, 4.0]  # nothing is accumulated
    assert seen == ["tensor's", "node's before", ("node's after", 2, 1)]
    seen.clear()
    y = x * 2
    y.grad_fn.register_prehook(lambda outputs: seen.append("no"))
    autograd.grad(y.sum(), y)
    assert not seen


@pytest.mark.parametrize(
    "hook, error, words",
    [
        (lambda g: g[:1], RuntimeError, "has changed the size of value"),
        (lambda g: g.float(), RuntimeError, "has changed the type of value"),
        (lambda g: 3, TypeError, "expected Variable, but hook '<lambda>' returned 'int'"),
    ],
)
def test_what_a_hook_may_return(hook, error, words):
    x = leaf(2)
    for tensor in (x, x * 1):
        handle = tensor.register_hook(hook)
        with pytest.raises(error, match=words):
            (tensor * 2).sum().backward()
        handle.remove()


def test_a_hook_after_accumulation_returns_nothing():
    x = leaf(2)
    x.register_post_accumulate_grad_hook(lambda t: t.grad)
    with pytest.raises(RuntimeError, match="should return None"):
        x.sum().backward()


def test_saved_values_have_names_and_hooks():
    x, y = leaf(2), leaf(2)
    node = (x * y).grad_fn
    assert node._saved_self is x and node._saved_other is y
    node = x.exp().grad_fn
    assert node._saved_result.grad_fn is node
    assert ng.cumsum(x, 0).grad_fn._saved_dim == 0 and x.mean().grad_fn._saved_self_sym_sizes == (2,)
    with pytest.raises(AttributeError, match="_saved_nothing"):
        node._saved_nothing  # noqa: B018
    for op, name, expected in ((lambda x: x * x, "self", 3 * x), (lambda x: x.exp(), "result", 2 * x.exp())):
        out = op(x)
        held = getattr(out.grad_fn, f"_raw_saved_{name}")
        with pytest.raises(RuntimeError, match="modifying its input in place"):
            held.register_hooks(lambda t: t.add_(0), lambda t: t)
        held = getattr((out := op(x)).grad_fn, f"_raw_saved_{name}")
        held.register_hooks(lambda t: t * 2, lambda t: t)
        with pytest.raises(RuntimeError, match="already been set"):
            held.register_hooks(lambda t: t, lambda t: t)
        (g,) = autograd.grad(out.sum(), x)
        np.testing.assert_allclose(g.numpy(), expected.detach().numpy())
        with pytest.raises(RuntimeError, match="after it has been freed"):
            held.register_hooks(lambda t: t, lambda t: t)
    with pytest.raises(RuntimeError, match="forbidden"):
        type(held)()


def test_only_what_a_gradient_needs_is_packed():
    packed = []
    with autograd.graph.saved_tensors_hooks(lambda t: packed.append(t.tolist()) or t, lambda t: t):
        y = leaf(2) * ng.tensor([5.0, 6.0], dtype=ng.float64)
    assert packed == [[5.0, 6.0]]
    y.sum().backward()


def test_a_function_is_freed_with_its_results():
    gc.disable()
    try:
        base = leaf(4) * 1
        part = base[:2]
        Double.apply(part, leaf(2))
        watched = [weakref.ref(t) for t in (base, part, part.grad_fn)]
        del base, part
        assert [w() for w in watched] == [None] * 3
    finally:
        gc.enable()


# --- checkpoints ------------------------------------------------------------------------------------------------------------------


def alternating(first, second):
    """A function that does another thing when it runs again."""
    calls = []
    return lambda a: [calls.append(1), (first if len(calls) == 1 else second)(a)][1]


@pytest.mark.parametrize(
    "second, words",
    [
        (lambda a: a.sin(), "A different number of tensors was saved.*: 2 before, 1 now"),
        (lambda a: a.sin().exp().cos(), "trying to save more tensors during recomputation"),
        (lambda a: a.expand(3, 2).sin().exp(), "different metadata"),
    ],
)
def test_a_checkpoint_sees_that_it_is_not_repeated(second, words):
    with set_checkpoint_early_stop(False):
        for debug in (False, True):
            x = leaf(2)
            y = checkpoint(alternating(lambda a: a.sin().exp(), second), x, use_reentrant=False, debug=debug)
            with pytest.raises(RuntimeError, match=words) as raised:
                y.sum().backward()
            assert ("because you passed `debug=True`" in str(raised.value)) is debug and x.grad is None
            assert (__file__ in str(raised.value)) is debug


def test_determinism_check():
    again = alternating(lambda a: a.sin().exp(), lambda a: a.expand(3, 2).sin().exp())
    y = checkpoint(again, leaf(2), use_reentrant=False, determinism_check="none")
    with pytest.raises(RuntimeError, match="saved_tensors_hooks: the unpack hook must return"):
        y.sum().backward()
    with pytest.raises(ValueError, match="determinism_check should be one of"):
        checkpoint(ng.exp, leaf(2), use_reentrant=False, determinism_check="some")


def test_a_checkpoint_stops_early():
    for early, expected in ((True, 1), (False, 2)):
        calls = []
        with set_checkpoint_early_stop(early):
            y = checkpoint(lambda a: after(a.sin().cos(), calls), leaf(2), use_reentrant=False)
        y.sum().backward()
        assert len(calls) == expected


def after(a, calls):
    calls.append(1)
    return a.clone()


def test_contexts_of_a_checkpoint():
    seen = []

    @contextlib.contextmanager
    def context(name):
        seen.append(name)
        yield
        seen.append("end")

    y = checkpoint(lambda a: [seen.append("run"), a.exp()][1], leaf(2), use_reentrant=False, context_fn=lambda: (context("first"), context("again")))
    y.sum().backward()
    assert seen == ["first", "run", "end", "again", "run"] or seen == ["first", "run", "end", "again", "run", "end"]
    with pytest.raises(ValueError, match="only supported when use_reentrant=False"):
        checkpoint(ng.exp, leaf(2), use_reentrant=True, context_fn=lambda: (context(""), context("")))
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        checkpoint(ng.exp, leaf(2))
    x = leaf(2)
    with pytest.raises(RuntimeError, match="incompatible with .grad"):
        autograd.grad(checkpoint(ng.exp, x, use_reentrant=True).sum(), x)


def test_checkpoints_in_checkpoints_keep_only_what_they_must():
    def inner(a):
        return a.sin().exp().sin()

    def outer(a):
        a = a * 1.0
        return checkpoint(inner, checkpoint(inner, a, use_reentrant=False), use_reentrant=False)

    x = leaf(3)
    for f in (lambda a: checkpoint(outer, a, use_reentrant=False), lambda a: checkpoint(lambda b: checkpoint(outer, b, use_reentrant=False), a, use_reentrant=False)):
        for early in (True, False):
            with set_checkpoint_early_stop(early):
                (g,) = autograd.grad(f(x).sum(), x, create_graph=True)
            (expected,) = autograd.grad(inner(inner(x)).sum(), x, create_graph=True)
            np.testing.assert_allclose(g.detach().numpy(), expected.detach().numpy())
            np.testing.assert_allclose(autograd.grad(g.sum(), x)[0].numpy(), autograd.grad(expected.sum(), x)[0].numpy())


def test_an_input_written_to_after_a_checkpoint_is_noticed():
    x = leaf(2)
    h = x * 1
    y = checkpoint(lambda a: a.sin().exp(), h, use_reentrant=False)
    h.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# --- gradcheck -----------------------------------------------------------------------------------------------------------------------


def hooked(hook):
    def fn(x):
        y = x.clone()
        y.register_hook(hook)
        return y

    return fn


@pytest.mark.parametrize(
    "fn, options, words",
    [
        (hooked(lambda g: g * 1.1), {}, "Jacobian mismatch for output 0 with respect to input 0"),
        (hooked(lambda g: g + 1e-2), {"atol": 1e-1}, "backward not multiplied by grad_output"),
        (hooked(lambda g: g * (1 + 1e-6 * ng.rand(2, dtype=ng.float64))), {}, "Backward is not reentrant"),
        (lambda x: x.detach() * 2, {}, "expected to be zero"),
        (
            lambda x: (x, x.detach() * 2 + x * 0),
            {"check_forward_ad": True, "check_backward_ad": False},
            "forward mode mismatch for output 1",
        ),
        (
            lambda x: ng.complex(hooked(lambda g: g * 1.1)(x), x),
            {},
            "considering the real part of complex outputs only, Jacobian mismatch",
        ),
    ],
)
def test_gradcheck_finds(fn, options, words):
    with pytest.raises(GradcheckError, match=words):
        autograd.gradcheck(fn, leaf(2), **options)
    x = leaf(2)
    assert autograd.gradcheck(fn, x, raise_exception=False, **options) is False and x.tolist() == [1, 2]


def test_gradcheck_passes():
    x, y = leaf(2), leaf(2)
    assert autograd.gradcheck(lambda x, y: ((x * y).sin(), x.exp()), (x, y), check_forward_ad=True, check_batched_grad=True)
    assert autograd.gradgradcheck(lambda x, y: (x * y).sin(), (x, y)) and autograd.gradcheck(lambda x: (), x)
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
        assert autograd.gradcheck(lambda x: x, ng.ones(1, requires_grad=True), atol=1e-1)
    with pytest.raises(RuntimeError, match="0th input has a dimension with stride 0"):
        autograd.gradcheck(lambda x: x, leaf(1).expand(2, 2))
    with pytest.raises(AssertionError, match="same shape when inputs are perturbed"):
        autograd.gradcheck(lambda x: ng.cat([x, x]) if (x >= 1).all() else x, leaf(1))
    with pytest.raises(AssertionError, match="at least one of check_forward_ad"):
        autograd.gradcheck(lambda x: x, leaf(1), check_backward_ad=False)


def test_callbacks_at_the_end_of_a_pass():
    seen = []
    x = leaf(2)
    queue = autograd.Variable._execution_engine.queue_callback
    x.register_hook(lambda g: queue(lambda: seen.append(x.grad.tolist()) or queue(lambda: seen.append("after"))))
    x.sum().backward()
    assert seen == [[1.0, 1.0], "after"]
    with pytest.raises(RuntimeError, match="only be installed during backward"):
        queue(lambda: None)


def test_a_saved_tensor_that_lost_its_history():
    x = leaf(2)
    h, out = x * 1, (x * 1).exp()
    y = h.sin()
    h.detach_()
    out.detach_()
    with pytest.raises(RuntimeError, match="has been detached in-place"):
        y.sum().backward()
    h = x * 1
    y = h.exp()  # saved as a result: nothing is lost
    h.detach_()
    y.sum().backward()


@pytest.mark.parametrize("change", [lambda t: t.set_(), lambda t: t.set_(ng.ones(1, dtype=ng.float64)), lambda t: t.resize_(1), lambda t: t.resize_(9)])
def test_a_saved_tensor_that_shows_other_memory_is_not_read(change):
    x, w = ng.ones(4, dtype=ng.float64), leaf(4)
    y = (x * w).sum()
    change(x)
    assert x._version == 1
    with pytest.raises(RuntimeError, match="changed afterwards by '(set_|resize_)'"):
        y.backward()
    with ng.inference_mode():
        z = ng.ones(4, dtype=ng.float64)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        change(z)


# --- gradients by dtype and by place -------------------------------------------------------------------------------


def test_weights_of_another_dtype_are_converted():
    x = ng.ones(3, dtype=ng.float64, requires_grad=True)
    (found,) = autograd.grad(x * 2, x, ng.full((3,), 0.5))
    assert found.dtype is ng.float64 and found.tolist() == [1.0] * 3


@pytest.mark.parametrize("join", [ng.cat, ng.stack])
def test_real_parts_of_joined_complex_tensors_have_real_gradients(join):
    real = ng.ones(2, dtype=ng.float64, requires_grad=True)
    complex_ = ng.tensor([1j, 2j], requires_grad=True)
    (join([real, complex_]) * (2 + 3j)).sum().abs().backward()
    assert real.grad.dtype is ng.float64 and complex_.grad.is_complex()


def test_complex_powers_of_negative_numbers():
    exponent = ng.tensor([0.3 + 0.2j, -1.1 + 0.4j], dtype=ng.complex128, requires_grad=True)
    assert autograd.gradcheck(lambda e: ng.pow(-ng.ones(2, dtype=ng.float64), e), exponent)


@pytest.mark.parametrize("name", ["amax", "amin", "max", "min"])
def test_extremes_that_are_nan_share_their_gradient(name):
    x = ng.tensor([1.0, float("nan"), float("nan")], requires_grad=True)
    getattr(x, name)().backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]


def test_a_leaf_that_shows_other_memory_is_another_leaf():
    x = leaf(2)
    edge, out = autograd.graph.get_gradient_edge(x), x * 3
    with ng.no_grad():
        x.set_(ng.zeros(2, dtype=x.dtype))
    with pytest.raises(RuntimeError, match="not have been used"):
        autograd.grad(out.sum(), x, retain_graph=True)
    assert autograd.grad(out.sum(), edge)[0].tolist() == [3.0, 3.0]


def test_decorated_classes_warn():
    with pytest.warns(FutureWarning, match="Decorating classes is deprecated"):
        made = ng.no_grad()(type("Made", (), {"__init__": lambda self: setattr(self, "mode", ng.is_grad_enabled())}))
    assert made().mode is False


def test_writes_that_gradients_do_not_notice():
    x = leaf(2).clone()
    out = x * x
    with autograd._unsafe_preserve_version_counter(x):
        x.add_(1)
    assert x._version == 0
    out.sum().backward()
    x.add_(1)
    internals = importlib.import_module("numgrad._C._autograd")
    internals._unsafe_set_version_counter(x, 0)
    assert x._version == 0
    with pytest.raises(RuntimeError, match="Cannot set"):
        internals._unsafe_set_version_counter(x, -1)


@pytest.mark.parametrize("materialize", (True, False))
@pytest.mark.parametrize("create_graph", (False, True))
@pytest.mark.parametrize("outputs", (1, 2))
def test_a_function_is_told_that_no_gradient_has_come(outputs, create_graph, materialize):
    """Its user hands none on: it runs with zeros, or with None where it asked for that; and with what comes from elsewhere."""
    torch = pytest.importorskip("torch")
    found = []
    for T in (ng, torch):
        seen = []

        class Given(T.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.set_materialize_grads(materialize)
                return tuple(x * 1 for _ in range(outputs)) if outputs > 1 else x * 1

            @staticmethod
            def backward(ctx, *gradients):
                seen.append([None if g is None else g.tolist() for g in gradients])
                return gradients[0]

        class Silent(T.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, gradient):
                return None

        for elsewhere in (False, True):
            x = T.ones(2, requires_grad=True)
            y = Given.apply(x)
            first = y if outputs == 1 else y[0]
            loss = Silent.apply(first).sum()
            if elsewhere:
                loss = loss + (first * 3).sum() + Silent.apply(first).sum()
            (slope,) = T.autograd.grad(loss, x, create_graph=create_graph, allow_unused=True)
            seen.append(None if slope is None else slope.tolist())
        found.append(seen)
    assert found[0] == found[1]


def test_a_history_may_hand_nothing_on():
    from numgrad.autograd.internals import UndefinedGrad

    x = leaf(3)
    y = UndefinedGrad()(x * 2)
    assert y.grad_fn.name() == "UndefinedGradBackward"
    y.sum().backward()
    assert x.grad is None


# --- views made where nothing is recorded, of a base without a history ----------------------------------------------------

WAYS = {"slice": lambda a: a[:], "view": lambda a: a.view(3), "row": lambda a: a.unsqueeze(0)[0], "unbind": lambda a: a.view(1, 3).unbind(0)[0]}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_view_made_in_no_grad_is_not_written_to_outside(way):
    w, base = ng.ones(3, requires_grad=True), ng.zeros(3)
    with ng.no_grad():
        view = way(base)
    assert view._is_view()
    with pytest.raises(RuntimeError, match="created in no_grad mode and is being modified inplace with grad mode enabled"):
        view.add_(w)
    assert base.tolist() == [0, 0, 0] and not base.requires_grad
    with ng.no_grad():
        view.add_(w)  # both inside
    assert base.tolist() == [1, 1, 1]


@pytest.mark.parametrize("way", [WAYS["slice"], WAYS["view"], WAYS["row"]])
def test_a_view_made_in_no_grad_is_not_used_when_its_base_has_a_history(way):
    w, base = ng.ones(3, requires_grad=True), ng.zeros(3)
    with ng.no_grad():
        view = way(base)
    base.add_(w)
    with pytest.raises(RuntimeError, match="its base or another view of its base has been modified inplace"):
        view * 2


def test_a_result_that_is_a_view_of_nothing_else_is_a_tensor_of_its_own():
    w = ng.ones(3, requires_grad=True)
    with ng.no_grad():
        found = ng.ones(1, 3).reshape(3)
    found.mul_(w)
    found.sum().backward()
    assert w.grad.tolist() == [1, 1, 1] and not found._is_view()
