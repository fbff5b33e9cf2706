"""autocast and GradScaler, against PyTorch's on the CPU."""

import copy
import inspect
import pickle
import threading

import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad.amp import GradScaler, autocast, custom_bwd, custom_fwd


def test_products_are_lowered_and_losses_are_not():
    x, w = ng.randn(3, 4), ng.randn(5, 4, requires_grad=True)
    for d in (ng.bfloat16, ng.float16):
        with autocast("cpu", dtype=d):
            assert ng.is_autocast_enabled("cpu") and ng.get_autocast_dtype("cpu") is d
            y = F.linear(x, w)
            assert y.dtype is (x @ w.t()).dtype is ng.mm(x, x.t()).dtype is d
            assert F.conv1d(x, ng.randn(3, 3, 2)).dtype is d
            assert F.mse_loss(y, y.detach()).dtype is ng.float32
            assert ng.cat((x, x.to(d))).dtype is ng.float32
            assert (x + x).dtype is ng.float32 and x.double().matmul(x.double().t()).dtype is ng.float64
            with autocast("cpu", enabled=False):
                assert F.linear(x, w).dtype is ng.float32
        w.grad = None
        y.sum().backward()
        assert w.grad.dtype is ng.float32
        assert ng.allclose(w.grad, x.sum(0).expand(5, 4), rtol=2e-2, atol=2e-2)
    assert F.linear(x, w).dtype is ng.float32 and not ng.is_autocast_enabled("cpu")


def test_functions_stay_what_they_are_to_python():
    with autocast("cpu"):
        F.linear(ng.ones(1, 1), ng.ones(1, 1))
    for fn in (F.linear, ng.matmul, F.cross_entropy, ng.cat):
        assert pickle.loads(pickle.dumps(fn)) is fn and copy.deepcopy(fn) is fn
    assert list(inspect.signature(F.linear).parameters) == ["input", "weight", "bias"]
    assert "reduction" in inspect.signature(F.cross_entropy).parameters
    with pytest.raises(RuntimeError, match="linear"):
        F.linear(ng.ones(2, 3), ng.ones(2, 4))
    assert F.linear(ng.ones(1, 1), weight=ng.ones(1, 1)).dtype is ng.float32


def test_blocks_of_one_thread_do_not_reach_another():
    w = ng.ones(3, 3)
    found, inside, done = [], threading.Event(), threading.Event()

    def other():
        inside.wait(10)
        found.extend(F.linear(w, w).dtype for _ in range(50))
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with autocast("cpu"):
        inside.set()
        done.wait(10)
        assert F.linear(w, w).dtype is ng.bfloat16
    thread.join()
    assert found == [ng.float32] * 50


def test_decorator_and_custom_functions():
    @autocast("cpu", dtype=ng.bfloat16)
    def product(a):
        return a @ a

    assert product(ng.eye(2)).dtype is ng.bfloat16

    class Square(ng.autograd.Function):
        @staticmethod
        @custom_fwd(device_type="cpu", cast_inputs=ng.float32)
        def forward(ctx, x):
            assert x.dtype is ng.float32 and not ng.is_autocast_enabled("cpu")
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @custom_bwd(device_type="cpu")
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    x = ng.tensor([3.0], requires_grad=True)
    with autocast("cpu"):
        Square.apply(x).backward()
    assert x.grad.item() == 6.0


def test_errors():
    with pytest.raises(RuntimeError, match="unsupported autocast device_type"):
        autocast("abacus")
    with pytest.raises(ValueError, match="device_type"):
        autocast(1)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="Disabling autocast"):
        assert not autocast("cpu", dtype=ng.float64)._enabled


def test_training_with_a_scaler_follows_pytorch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    x, y = ng.randn(32, 4), ng.randn(32, 1)
    weight = ng.randn(1, 4)
    histories = []
    for lib, cast_to in ((ng, ng.bfloat16), (torch, torch.bfloat16)):
        model = lib.nn.Linear(4, 1)
        a, b, w = (lib.tensor(t.numpy()) for t in (x, y, weight))
        with lib.no_grad():
            model.weight.copy_(w)
            model.bias.fill_(0.1)
        optimizer = lib.optim.SGD(model.parameters(), lr=0.1)
        scaler = lib.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
        losses, scales = [], []
        for step in range(8):
            optimizer.zero_grad()
            with lib.autocast("cpu", dtype=cast_to):
                loss = lib.nn.functional.mse_loss(model(a), b)
            scaler.scale(loss).backward()
            if step == 4:
                model.weight.grad[0, 0] = float("inf")
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            scales.append(scaler.get_scale())
        histories.append((losses, scales, scaler.state_dict()))
    (ours, scales, state), (theirs, expected, expected_state) = histories
    assert scales == expected and state == expected_state
    assert ours == pytest.approx(theirs, rel=2e-2)
    assert ours[-1] < ours[0] and ours[4] == pytest.approx(ours[5])  # the step with an infinite gradient is left out
    other = GradScaler("cpu")
    other.load_state_dict(state)
    assert other.state_dict() == state


def test_scaler_refuses_wrong_orders():
    p = ng.ones(2, requires_grad=True)
    optimizer = ng.optim.SGD([p], lr=0.1)
    scaler = ng.cpu.amp.GradScaler()
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    assert p.grad.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="step"):
        scaler.step(optimizer)
    assert ng.cuda.amp.GradScaler(enabled=False).get_scale() == 1.0
