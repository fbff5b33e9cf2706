"""The recorder: modes, versions, views and in-place ops, hooks, graphs, threads."""

import gc
import os
import threading
import weakref

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad import autograd
from numgrad.op import OPS


def leaf(*shape, seed=0):
    return ng.from_numpy(np.random.default_rng(seed).standard_normal(shape)).requires_grad_()


# --- modes ---------------------------------------------------------------------------------------------------------


def test_no_grad_as_context_decorator_and_bare_decorator():
    x = leaf(3)
    with ng.no_grad():
        assert not (x * 2).requires_grad
        with ng.enable_grad():
            assert (x * 2).requires_grad

    @ng.no_grad()
    def called(x):
        return x * 2

    @ng.no_grad
    def bare(x):
        return x * 2

    assert not called(x).requires_grad and not bare(x).requires_grad
    assert (x * 2).requires_grad


def test_set_grad_enabled_is_immediate_and_restores():
    x = leaf(3)
    ng.set_grad_enabled(False)
    try:
        assert not (x * 2).requires_grad
    finally:
        ng.set_grad_enabled(True)
    with ng.set_grad_enabled(False):
        assert not ng.is_grad_enabled()
    assert ng.is_grad_enabled()


def test_modes_belong_to_a_thread():
    x = leaf(3)
    seen = []
    with ng.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
        assert not (x * 2).requires_grad
    assert seen == [True]


def test_generator_function_under_no_grad_does_not_leak():
    x = leaf(3)

    @ng.no_grad()
    def values():
        yield x * 2
        yield x * 3

    flags = []
    for value in values():
        flags.append((value.requires_grad, (x * 2).requires_grad))
    assert flags == [(False, True), (False, True)]


def test_inference_mode():
    with ng.inference_mode():
        assert ng.is_inference_mode_enabled() and not ng.is_grad_enabled()
        assert not (leaf(2) * 2).requires_grad
    assert not ng.is_inference_mode_enabled() and ng.is_grad_enabled()


# --- accumulation --------------------------------------------------------------------------------------------------


def test_gradients_accumulate_in_the_same_tensor():
    x = leaf(4)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first
    np.testing.assert_allclose(x.grad.numpy(), 5.0)


def test_gradient_given_by_the_user_is_not_aliased():
    x = leaf(3)
    g = ng.ones(3, dtype=ng.float64)
    x.view(3).backward(g)
    (x * 2).sum().backward()
    np.testing.assert_array_equal(g.numpy(), 1.0)
    np.testing.assert_array_equal(x.grad.numpy(), 3.0)


def test_diamond_and_shared_gradients():
    x = leaf(3)
    y = x * 2
    z = y + y
    (z * y + z).sum().backward()
    v = x.detach().numpy()
    np.testing.assert_allclose(x.grad.numpy(), 16 * v + 4)


def test_backward_twice_names_the_op():
    x = leaf(3)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="MulBackward0.*retain_graph=True"):
        y.backward()


def test_retain_graph():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.detach().numpy())


def test_backward_of_many_elements_needs_a_gradient():
    with pytest.raises(RuntimeError, match="scalar outputs"):
        (leaf(3) * 2).backward()


def test_backward_says_why_nothing_requires_grad():
    with pytest.raises(RuntimeError, match="does not require grad"):
        ng.ones(()).backward()


def test_backward_inputs_accumulates_only_there():
    x, y = leaf(3), leaf(3, seed=1)
    (x * y).sum().backward(inputs=[x])
    assert x.grad is not None and y.grad is None


def test_autograd_grad_leaves_grad_alone():
    x, y = leaf(3), leaf(3, seed=1)
    gx, gy = autograd.grad((x * y).sum(), (x, y))
    np.testing.assert_allclose(gx.numpy(), y.detach().numpy())
    np.testing.assert_allclose(gy.numpy(), x.detach().numpy())
    assert x.grad is None and y.grad is None


def test_autograd_grad_of_unused_inputs():
    x, y = leaf(3), leaf(3)
    with pytest.raises(RuntimeError, match="allow_unused=True"):
        autograd.grad((x * 2).sum(), (x, y))
    assert autograd.grad((x * 2).sum(), (x, y), allow_unused=True)[1] is None
    zeros = autograd.grad((x * 2).sum(), (x, y), materialize_grads=True)[1]
    np.testing.assert_array_equal(zeros.numpy(), 0.0)


def test_grad_with_respect_to_an_intermediate():
    x = leaf(3)
    y = x * 2
    (found,) = autograd.grad((y * y).sum(), y)
    np.testing.assert_allclose(found.numpy(), 2 * y.detach().numpy())


def test_create_graph_gives_second_derivatives():
    x = leaf(4)
    (g,) = autograd.grad((x * x * x).sum(), x, create_graph=True)
    (h,) = autograd.grad(g.sum(), x)
    np.testing.assert_allclose(h.numpy(), 6 * x.detach().numpy())


# --- versions, views and in-place ops ---------------------------------------------------------------------------------


def test_modified_saved_value_names_the_writer():
    x = leaf(3)
    y = x * 2
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation.*add_"):
        z.sum().backward()


def test_modified_saved_result():
    y = leaf(3).exp()
    y.mul_(2)
    z = y.sum()
    with pytest.raises(RuntimeError, match="ExpBackward0.*mul_"):
        z.backward()


def test_writes_through_data_are_noticed_in_detect_anomaly_only():
    x, w = leaf(3), leaf(3, seed=1)
    y = x * w
    w.data.mul_(3)
    assert w._version == 0
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), w.detach().numpy())
    with pytest.warns(UserWarning, match="Anomaly Detection"), autograd.detect_anomaly():
        y = x * w
        w.data.mul_(3)
        with pytest.raises(RuntimeError, match=r"\.data"), pytest.warns(UserWarning, match="Error detected in MulBackward0"):
            y.sum().backward()


def test_data_is_a_record_of_its_own_for_the_same_memory():
    w = leaf(3)
    scratch = w.data
    y = (scratch * leaf(3, seed=1)).sum()
    scratch.add_(1)
    with pytest.raises(RuntimeError, match="modified"):  # of what was saved under that name
        y.backward()
    square = ng.arange(9.0).reshape(3, 3)
    square.data.add_(square.data.T)  # read and written at once
    np.testing.assert_array_equal(square.numpy(), [[0, 4, 8], [4, 8, 12], [8, 12, 16]])
    square[0] = 1.0
    square.copy_(square.data.T)
    np.testing.assert_array_equal(square.numpy(), [[1, 4, 8], [1, 8, 12], [1, 12, 16]])


def test_data_that_is_exchanged():
    x, w = leaf(3), leaf(3, seed=1)
    y = (x * w).sum()
    held = w.data
    w.data = ng.zeros(0, dtype=ng.float64)  # as programs do that keep parameters elsewhere
    with pytest.raises(RuntimeError, match="modified"):
        y.backward(retain_graph=True)
    w.data = held
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), held.numpy())


def test_writes_through_detach_and_views_are_counted():
    for write in (lambda t: t.detach().zero_(), lambda t: t[0].zero_()):
        x = leaf(3)
        y = x * 2
        z = y * y
        with ng.no_grad():
            write(y)
        with pytest.raises(RuntimeError, match="modified"):
            z.sum().backward()


def test_write_to_what_was_not_saved_is_fine():
    x = leaf(3)
    y = x * 2
    z = y + 1
    y.add_(5)
    z.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2.0)


def test_in_place_on_a_leaf_shows_no_grad():
    x = leaf(3)
    with pytest.raises(RuntimeError, match=r"leaf Variable that requires grad[\s\S]*ng\.no_grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf"):
        x[0].add_(1)
    with ng.no_grad():
        x.add_(1)


def test_in_place_ops_are_recorded():
    x = leaf(3)
    y = x.clone()
    y.mul_(3).add_(1)
    y.exp_()
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * np.exp(3 * x.detach().numpy() + 1))


def test_write_through_a_view_reaches_the_base():
    x = leaf(4)
    base = x.clone()
    base[1:3].mul_(10)
    base.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 10, 10, 1])


def test_write_to_the_base_reaches_its_views():
    x = leaf(4)
    base = x.clone()
    part = base[1:3]
    base.mul_(5)
    part.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 5, 5, 0])


def test_write_of_a_recorded_value_into_a_plain_tensor():
    x = leaf(2)
    out = ng.zeros(4, dtype=ng.float64)
    out[:2] = x * 3
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 3.0)


def test_view_of_transposed_base():
    x = leaf(2, 3)
    base = x.clone().t()
    base[1].mul_(7)
    base.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1, 7, 1], [1, 7, 1]])


def test_expanded_targets_are_refused():
    with pytest.raises(RuntimeError, match="single memory location"):
        ng.zeros(1).expand(3).add_(1)


# --- hooks -----------------------------------------------------------------------------------------------------------


def test_tensor_hook_sees_and_replaces_the_gradient():
    x = leaf(3)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.numpy().copy()))
    handle = y.register_hook(lambda g: g * 10)
    y.sum().backward(retain_graph=True)
    np.testing.assert_array_equal(seen[0], 1.0)
    np.testing.assert_array_equal(x.grad.numpy(), 20.0)
    handle.remove()
    x.grad = None
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2.0)


def test_leaf_hook_runs_once_on_the_sum():
    x = leaf(2)
    calls = []
    x.register_hook(lambda g: calls.append(g.numpy().copy()))
    (x * 2 + x * 3).sum().backward()
    assert len(calls) == 1
    np.testing.assert_array_equal(calls[0], 5.0)


def test_post_accumulate_hook_gets_the_tensor():
    x = leaf(2)
    seen = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.numpy().copy())))
    (x * 2).sum().backward()
    assert seen[0][0]
    np.testing.assert_array_equal(seen[0][1], 2.0)


def test_node_hooks():
    x = leaf(2)
    y = (x * 2).sum()
    order = []
    y.grad_fn.register_prehook(lambda grads: order.append("pre"))
    y.grad_fn.register_hook(lambda inputs, outputs: order.append("post"))
    y.backward()
    assert order == ["pre", "post"]


def test_retain_grad():
    x = leaf(3)
    y = x * 2
    y.retain_grad()
    (y * 3).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), 3.0)
    assert y.retains_grad


# --- Function, anomaly, memory ----------------------------------------------------------------------------------------


class Scale(autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        ctx.save_for_backward(x)
        return x * factor

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        assert x.shape == g.shape
        return g * ctx.factor, None


def test_function():
    x = leaf(3)
    Scale.apply(x, 4.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 4.0)
    assert autograd.gradcheck(lambda x: Scale.apply(x, 2.0), (leaf(3),))
    assert autograd.gradgradcheck(lambda x: Scale.apply(x * x, 2.0), (leaf(3),))


def test_function_with_two_outputs_and_one_unused():
    class Both(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            return a * 2 + b * 3

    x = leaf(3)
    first, second = Both.apply(x)
    second.sum().backward(retain_graph=True)
    np.testing.assert_array_equal(x.grad.numpy(), 3.0)
    x.grad = None
    (first.sum() + second.sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), 5.0)


def test_function_wrong_number_of_gradients():
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g, g

    with pytest.raises(RuntimeError, match="incorrect number of gradients"):
        Wrong.apply(leaf(2)).sum().backward()


def test_saved_output_of_a_function_is_no_cycle():
    class Exp(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    gc.disable()
    try:
        x = leaf(3)
        y = Exp.apply(x)
        watch = weakref.ref(y)
        y.sum().backward()
        del y
        assert watch() is None
    finally:
        gc.enable()


def test_detect_anomaly_names_the_op_and_the_call():
    x = ng.tensor([0.0], requires_grad=True)
    with pytest.warns(UserWarning) as noted, autograd.detect_anomaly():
        ng.tensor([-1.0], requires_grad=True).sqrt()  # a NaN in the forward pass may be meant
        y = x.sqrt()  # the call
        with pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"):
            (y * 0.0).sum().backward()
    assert "Anomaly Detection" in str(noted[0].message)
    assert "Error detected in SqrtBackward0" in str(noted[1].message) and "# the call" in str(noted[1].message)
    (y * 0.0).sum().backward()


def test_an_anomaly_shows_the_callers_frames_alone():
    """Also where the library calls itself more than ten deep before the op runs."""
    blocks = Root()
    for _ in range(12):
        blocks = ng.nn.Sequential(blocks)
    x = ng.tensor([0.0], requires_grad=True)
    with pytest.warns(UserWarning) as noted, autograd.detect_anomaly():
        y = blocks(x)  # the call
        with pytest.raises(RuntimeError, match="returned nan values"):
            (y * 0.0).sum().backward()
    text = str(noted[-1].message)
    assert "# the call" in text and "<entry of" not in text and f"{os.sep}numgrad{os.sep}op.py" not in text


class Root(ng.nn.Module):
    def forward(self, x):
        return x.sqrt()


def test_graph_is_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        x = leaf(3)
        y = (x * 2).exp()
        z = (y[1:] * y[:-1]).tanh().sum()
        watched = [weakref.ref(y), weakref.ref(z), weakref.ref(z.grad_fn)]
        z.backward()
        del y, z
        assert [w() for w in watched] == [None, None, None]
    finally:
        gc.enable()


def test_a_long_chain_needs_no_deep_stack():
    x = leaf(1)
    y = x
    for _ in range(20_000):
        y = y * 1.0
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 1.0)
    del y


def test_an_exception_in_a_hook_leaves_nothing_half_done():
    x = leaf(3)
    y = x * 2

    def fail(g):
        raise ValueError("no")

    handle = y.register_hook(fail)
    z = (y * 3).sum()
    with pytest.raises(ValueError):
        z.backward(retain_graph=True)
    assert x.grad is None and ng.is_grad_enabled()
    handle.remove()
    z.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 6.0)


def test_two_threads_walk_one_graph():
    x = leaf(50)
    y = (x * 2).exp()
    results = []

    def run():
        results.append(autograd.grad(y.sum(), x, retain_graph=True)[0].numpy())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_allclose(result, 2 * np.exp(2 * x.detach().numpy()))


def test_requires_grad_needs_floating_point():
    with pytest.raises(RuntimeError, match="floating point"):
        ng.ones(3, dtype=ng.int64).requires_grad_()


def test_requires_grad_of_a_result_cannot_be_taken_away():
    with pytest.raises(RuntimeError, match="detach"):
        (leaf(3) * 2).requires_grad_(False)


def test_assigned_grad_is_checked():
    x = leaf(3)
    with pytest.raises(RuntimeError, match="different size"):
        x.grad = ng.ones(4, dtype=ng.float64)
    with pytest.raises(RuntimeError, match="different type"):
        x.grad = ng.ones(3)
    with pytest.raises(TypeError):
        x.grad = 3.0


def test_gradients_nobody_asks_for_are_left_out(monkeypatch):
    x, w = ng.randn(2, 3).requires_grad_(), ng.randn(4, 3).requires_grad_()
    linear, asked = OPS["linear"], []
    gradient = linear.gradient

    def spy(g, input, weight, bias_meta):
        asked.append((input._n is not None, weight._n is not None))
        return gradient(g, input, weight, bias_meta)

    monkeypatch.setattr(linear, "gradient", spy)
    out = F.linear(x, w).sum()
    (d_x,) = ng.autograd.grad(out, x, retain_graph=True)
    (d_w,) = ng.autograd.grad(out, w, retain_graph=True)
    out.backward()
    assert asked == [(True, False), (False, True), (True, True)]
    assert d_x.equal(x.grad) and d_w.equal(w.grad)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x + 1, lambda x: x.t().unsqueeze(0), lambda x: x.expand(2, 2, 3), lambda x: ng.cat([x, x]),
        lambda x: ng.stack([x, x]), lambda x: x.mean(0), lambda x: x.flip(0), lambda x: x.double(), lambda x: x.cumsum(1),
    ],
)  # fmt: skip
def test_what_saves_no_values_may_run_again(f):
    """Two losses over a shared sum or view need no retain_graph: each pass goes through it."""
    x = ng.ones(2, 3, requires_grad=True)
    shared = f(x)
    one, two = shared.sum(), shared.sum()
    one.backward()
    assert x.grad is not None
    first = x.grad.clone()
    two.backward()
    assert ng.equal(x.grad, 2 * first)


@pytest.mark.parametrize(
    "view, expected",
    [
        (lambda w: w.expand(2, 3), [4.0, 4.0, 4.0]), (lambda w: w.unfold(0, 2, 1), [2.0, 4.0, 2.0]),
        (lambda w: w.expand(2, 3)[:, 1:], [0.0, 4.0, 4.0]),
    ],
)  # fmt: skip
def test_a_view_that_repeats_elements_follows_its_base(view, expected):
    """After a write to the base, each element gets the gradients of all places that show it."""
    x = ng.ones(3, requires_grad=True)
    base = x * 1
    shown = view(base)
    base.mul_(2)
    (gradient,) = ng.autograd.grad(shown.sum(), x, create_graph=True)
    assert gradient.tolist() == expected


def test_requires_grad_off_and_on_again():
    """Graphs recorded before still lead to the tensor; what comes while it is off is dropped."""
    x = ng.ones(2, requires_grad=True)
    (x * x).sum().backward()
    y = (x * x).sum()
    x.requires_grad_(False)
    y.backward(retain_graph=True)
    x.requires_grad_(True)
    assert x.grad.tolist() == [2.0, 2.0]
    y.backward()
    assert x.grad.tolist() == [4.0, 4.0]


@pytest.mark.parametrize("exponent", [0.5, -1])
def test_results_of_powers_may_be_written_to(exponent):
    """As with other powers, the gradient asks for the base alone: ``inverse[isinf(inverse)] = 0`` may follow."""
    x = ng.tensor([4.0, 1.0, 0.25], dtype=ng.float64, requires_grad=True)
    y = x**exponent
    y[1:] = 0.0
    y.sum().backward()
    assert x.grad.tolist() == [exponent * 4.0 ** (exponent - 1), 0.0, 0.0]


def test_retained_gradients_follow_hooks_and_writes():
    """The gradient that is kept is that of what the tensor is at last, after all its hooks."""
    x = ng.ones(3, requires_grad=True)
    y = x * 1
    y.retain_grad()
    y.mul_(2)
    y.register_hook(lambda g: 3 * g)
    part = y[:2]
    part.retain_grad()
    y.mul_(5)
    (y.sum() + part.sum()).backward()
    assert y.grad.tolist() == [2.0, 2.0, 1.0] and part.grad.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [60.0, 60.0, 30.0]


def test_checkpoints_have_all_derivatives():
    from numgrad.utils.checkpoint import checkpoint

    x, w = leaf(4, seed=1), leaf(4, seed=2)
    runs = []

    def f(a):
        runs.append(1)
        return ((a * w).sin() * a).exp().sum()

    def derivatives(y):
        first = autograd.grad(y, [x, w], create_graph=True)
        return [*first, *autograd.grad(sum((g * g).sum() for g in first), [x, w])]

    expected = derivatives(f(x))
    for found, known in zip(derivatives(checkpoint(f, x, use_reentrant=False)), expected):
        assert ng.allclose(found, known)
    assert len(runs) >= 3
    nested = checkpoint(lambda a: checkpoint(f, a * 1, use_reentrant=False) * 1, x, use_reentrant=False)
    assert ng.allclose(autograd.grad(nested, w)[0], expected[1])
    assert not checkpoint(lambda a: a * 2, x.detach(), use_reentrant=False).requires_grad
    with pytest.raises(RuntimeError, match="no second derivative"):
        autograd.grad(checkpoint(f, x, use_reentrant=True), x, create_graph=True)
    with pytest.raises(RuntimeError, match="none of output has requires_grad=True"):
        checkpoint(lambda a: a.detach(), x, use_reentrant=True).sum().backward()
