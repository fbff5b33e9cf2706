"""autocast and GradScaler, against PyTorch's on the CPU."""

import copy
import inspect
import pickle
import threading

import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad.amp import GradScaler, autocast, autocast_mode, custom_bwd, custom_fwd
from numgrad.utils.checkpoint import checkpoint


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
    assert list(inspect.signature(F.linear).parameters) == ["input", "weight", "bias", "out"]
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
        autocast("mps")
    with pytest.raises(RuntimeError, match="Invalid device string: 'abacus'"):
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
    with pytest.warns(FutureWarning, match=r"use `torch.amp.GradScaler\('cpu', args...\)` instead"):
        scaler = ng.cpu.amp.GradScaler()
    with pytest.warns(FutureWarning, match=r"use `torch.amp.autocast\('cpu', args...\)` instead"):
        ng.cpu.amp.autocast(enabled=False)
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    assert p.grad.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="step"):
        scaler.step(optimizer)
    with pytest.warns(FutureWarning, match=r"use `torch.amp.GradScaler\('cuda', args...\)` instead"):
        assert ng.cuda.amp.GradScaler(enabled=False).get_scale() == 1.0


def test_losses_of_16_bits_are_scaled_in_32():
    scaler = GradScaler("cpu")
    assert scaler.scale(ng.ones((), dtype=ng.half)).item() == 65536.0
    assert [t.tolist() for t in scaler.scale([ng.ones(1), ng.ones(2)])] == [[65536.0], [65536.0, 65536.0]]
    with pytest.raises(AssertionError, match="scale"):
        GradScaler("cpu").update()
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.step(ng.optim.SGD([ng.ones(1, requires_grad=True)], lr=0.1))
    with pytest.raises(AssertionError, match="pickled"):
        pickle.dumps(scaler)
    fresh = GradScaler("cpu", init_scale=4.0)
    assert pickle.loads(pickle.dumps(fresh)).state_dict() == fresh.state_dict()


def test_nested_blocks_and_exceptions():
    a = ng.ones(2, 2)

    def dtype():
        return (a @ a).dtype

    with autocast("cpu"):
        with autocast("cpu", dtype=ng.float16):
            assert dtype() is ng.float16
            with autocast("cpu", enabled=False):
                assert dtype() is ng.float32
            assert dtype() is ng.float16
        assert dtype() is ng.bfloat16
    with pytest.raises(KeyError), autocast("cpu"):
        raise KeyError
    assert dtype() is ng.float32
    ng.set_autocast_enabled("cpu", True)
    try:
        assert dtype() is ng.bfloat16
    finally:
        ng.set_autocast_enabled("cpu", False)
    with pytest.warns(UserWarning, match="CUDA is not available"), autocast("cuda"):
        assert dtype() is ng.float32


def test_a_weight_is_cast_once_in_a_block(monkeypatch):
    w = ng.ones(2, 2, requires_grad=True)
    casts = []
    cast = autocast_mode.cast
    monkeypatch.setattr(autocast_mode, "cast", lambda tensor, d: casts.append(tensor) or cast(tensor, d))
    x = ng.ones(3, 2)
    for times, options in ((1, {}), (3, {"cache_enabled": False})):
        casts.clear()
        with autocast("cpu", **options):
            with ng.no_grad():
                x @ w
            casts.clear()
            loss = sum((x @ w).sum() for _ in range(3))
        assert sum(tensor is w for tensor in casts) == times
        loss.backward()
        assert w.grad.dtype is ng.float32 and w.grad.tolist() == [[9.0, 9.0], [9.0, 9.0]]
        w.grad = None
    with autocast("cpu"):
        first = x @ w
        with ng.no_grad():
            w.mul_(2)
        assert ((x @ w) == 2 * first).all()


def test_checkpoint_computes_again_in_the_same_precision():
    seen = []
    w = ng.randn(2, 2, requires_grad=True)

    def through(x):
        y = x @ w
        seen.append(y.dtype)
        return y.sin().sum()

    with autocast("cpu"):
        loss = checkpoint(through, ng.ones(1, 2, requires_grad=True), use_reentrant=False)
    loss.backward()
    assert seen == [ng.bfloat16, ng.bfloat16] and w.grad.dtype is ng.float32


def layers(lib):
    nn = lib.nn
    yield nn.RNN(6, 4), lambda m, x: m(x)
    yield nn.GRU(6, 4), lambda m, x: m(x)
    yield nn.LSTMCell(6, 4), lambda m, x: m(x[0])
    yield nn.MultiheadAttention(6, 2), lambda m, x: m(x, x, x, attn_mask=nn.Transformer.generate_square_subsequent_mask(5))
    yield nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0), lambda m, x: m(x)
    yield nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2)), lambda m, x: m(x)
    yield nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.PReLU()), lambda m, x: m(x)
    yield nn.Linear(6, 4), lambda m, x: nn.functional.cross_entropy(m(x[0]), lib.tensor([0, 1]))
    yield nn.Linear(6, 6), lambda m, x: lib.cat((m(x), x)) + lib.stack((x, m(x))).sum(0).prod(0)
    yield nn.Linear(6, 6), lambda m, x: (m(x) @ x.transpose(1, 2), lib.mv(x[0], x[0, 0]), lib.inner(x[0, 0], x[0, 1]))


@pytest.mark.parametrize("k", range(10))
def test_layers_give_pytorchs_dtypes_and_values(k):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    ng.manual_seed(k)
    ours, theirs = list(layers(ng))[k], list(layers(torch))[k]
    with torch.no_grad():
        for p, q in zip(ours[0].parameters(), theirs[0].parameters(), strict=True):
            q.copy_(torch.from_numpy(p.detach().numpy()))
    x = ng.randn(5, 2, 6)
    found = []
    for lib, (model, call) in ((ng, ours), (torch, theirs)):
        with lib.autocast("cpu", dtype=lib.bfloat16):
            out = call(model, lib.from_numpy(x.numpy()))
        outs = [t for item in (out if isinstance(out, tuple) else (out,)) for t in (item if isinstance(item, tuple) else (item,))]
        if any(p.requires_grad for p in model.parameters()):
            sum(t.float().sum() for t in outs if t.requires_grad).backward()
        found.append(outs + [p.grad for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert repr(a.dtype) == repr(b.dtype)
            a, b = a.detach().double().numpy(), b.detach().double().numpy()
            assert abs(a - b).max() <= 0.04 * abs(b).max() + 0.01


def test_a_network_trains_as_pytorchs():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    def network(nn):
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5))

    ng.manual_seed(0)
    x, y, first = ng.randn(8, 1, 8, 8), ng.randint(0, 5, (8,)), network(ng.nn)
    histories = []
    for lib in (ng, torch):
        model = network(lib.nn)
        with lib.no_grad():
            for p, q in zip(model.parameters(), first.parameters(), strict=True):
                p.copy_(lib.from_numpy(q.detach().numpy()))
        optimizer = lib.optim.Adam(model.parameters(), lr=1e-2)
        scaler, losses = lib.amp.GradScaler("cpu", growth_interval=5), []
        for _ in range(20):
            optimizer.zero_grad()
            with lib.autocast("cpu", dtype=lib.float16):
                loss = lib.nn.functional.cross_entropy(model(lib.from_numpy(x.numpy())), lib.from_numpy(y.numpy()))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
        histories.append((losses, scaler.get_scale()))
    (ours, scale), (theirs, expected) = histories
    assert scale == expected and ours == pytest.approx(theirs, rel=2e-2) and ours[-1] < 0.5 * ours[0]
