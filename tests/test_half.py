"""float16 and bfloat16: storage, rounding, promotion, ops and gradients."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad.utils.data.transport import pack, unpack

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
NAMES = ("float16", "bfloat16")
BITS = np.arange(65536).astype(np.uint16)


def _pair(name, array):
    return ng.from_numpy(array).to(getattr(ng, name)), torch.from_numpy(array).to(getattr(torch, name))


@pytest.mark.parametrize("name", NAMES)
def test_all_bit_patterns_survive_a_round_trip(name):
    d = getattr(ng, name)
    x = ng.from_numpy(BITS.view(np.int16)).view(d)
    wide = x.float()
    expected = torch.from_numpy(BITS.view(np.int16)).view(getattr(torch, name)).float().numpy()
    np.testing.assert_array_equal(wide.numpy(), expected)
    again = wide.to(d).view(ng.int16).numpy().view(np.uint16)
    number = ~np.isnan(expected)
    assert (again[number] == BITS[number]).all()
    assert np.isnan(wide.to(d).float().numpy()[~number]).all()


@pytest.mark.parametrize("name", NAMES)
def test_rounding_is_to_nearest_even(name):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 1 << 32, 50000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate([x, (rng.standard_normal(50000) * 10.0 ** rng.integers(-9, 6, 50000)).astype(np.float32)])
    ours, theirs = _pair(name, x)
    np.testing.assert_array_equal(ours.float().numpy(), theirs.float().numpy())
    made = ng.tensor(x.tolist(), dtype=getattr(ng, name))
    np.testing.assert_array_equal(made.float().numpy(), ours.float().numpy())


def test_processors_without_float16_round_alike():
    import numba

    from numgrad.kernels import half

    from_float16_bits, to_float16_bits = (
        numba.njit(lambda value, convert=convert: convert(value)) for convert in (half.from_float16_bits, half.to_float16_bits)
    )
    values = np.random.default_rng(0).integers(0, 1 << 32, 500, dtype=np.uint64).astype(np.uint32).view(np.float32)
    small = (np.random.default_rng(1).standard_normal(500) * 10.0 ** np.arange(-10, 6).repeat(32)[:500]).astype(np.float32)
    with np.errstate(over="ignore"):
        for x in (*values[values == values], *small):
            assert to_float16_bits(x) == np.float16(x).view(np.uint16)
    for b in BITS[::97]:
        np.testing.assert_array_equal(from_float16_bits(b), np.float32(b.view(np.float16)))


def test_promotion_is_pytorchs():
    for a in ng.dtypes.ALL:
        for b in ng.dtypes.ALL:
            try:
                expected = torch.promote_types(getattr(torch, a.name), getattr(torch, b.name))
            except RuntimeError:  # unsigned integers of more than 8 bits
                with pytest.raises(RuntimeError, match="Promotion"):
                    ng.promote_types(a, b)
                continue
            assert repr(ng.promote_types(a, b)) == repr(expected), (a, b)
    h = ng.ones(2, dtype=ng.half)
    assert (h * 2.5).dtype is (h + ng.tensor(2.5)).dtype is (h + ng.ones(2, dtype=ng.int64)).dtype is ng.float16
    for name in NAMES:
        ours, theirs = ng.finfo(getattr(ng, name)), torch.finfo(getattr(torch, name))
        for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
            assert getattr(ours, field) == getattr(theirs, field), (name, field)


X = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
CALLS = {
    "exp": lambda t, f, a: a.exp(),
    "mul": lambda t, f, a: a * a.flip(1) + 0.3,
    "matmul": lambda t, f, a: a @ a.t(),
    "linear": lambda t, f, a: f.linear(a, a, a[:, 0]),
    "conv": lambda t, f, a: f.conv1d(a[None], a[:, :4].t()[:, :, None]),
    "softmax": lambda t, f, a: f.softmax(a, 1),
    "layer_norm": lambda t, f, a: f.layer_norm(a, (6,)),
    "max_pool": lambda t, f, a: f.max_pool1d(a[None], 2),
    "sum": lambda t, f, a: a.sum(1),
    "mean": lambda t, f, a: a.mean(),
    "amax": lambda t, f, a: a.amax(1),
    "index": lambda t, f, a: a[[0, 2]],
    "view": lambda t, f, a: a.t()[1:, ::2],
    "cat": lambda t, f, a: t.cat((a, a)),
    "where": lambda t, f, a: t.where(a > 0, a, 0.0),
    "sort": lambda t, f, a: a.sort(1).values,
    "compare": lambda t, f, a: a > a.flip(0),
    "cast": lambda t, f, a: a.double(),
    "cross_entropy": lambda t, f, a: f.cross_entropy(a, t.tensor([0, 1, 2, 3])),
    "full": lambda t, f, a: t.full((2,), 0.3, dtype=a.dtype) + t.arange(2, dtype=a.dtype),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("call", CALLS)
def test_values_and_gradients_are_close_to_pytorchs(call, name):
    ours, theirs = _pair(name, X)
    ours.requires_grad_()
    theirs.requires_grad_()
    found, expected = CALLS[call](ng, F, ours), CALLS[call](torch, torch.nn.functional, theirs)
    assert repr(found.dtype) == repr(expected.dtype)
    bound = {"rtol": 4e-3, "atol": 4e-3} if name == "float16" else {"rtol": 3e-2, "atol": 3e-2}
    np.testing.assert_allclose(found.detach().double().numpy(), expected.detach().double().numpy(), **bound)
    if expected.requires_grad:
        found.sum().backward()
        expected.sum().backward()
        assert ours.grad.dtype is ours.dtype
        np.testing.assert_allclose(ours.grad.double().numpy(), theirs.grad.double().numpy(), **bound)


@pytest.mark.parametrize("name", NAMES)
def test_writes_printing_and_copies(name):
    d = getattr(ng, name)
    ours, theirs = _pair(name, X)
    for a in (ours, theirs):
        a[0] = 1.5
        a[1, 2] = a[2, 2]
        a[a > 1] = 0
        a.add_(1).mul_(a)
        a.masked_fill_(a == 1, 0.5)
    assert ours.tolist() == theirs.tolist() and repr(ours) == repr(theirs)
    assert pickle.loads(pickle.dumps(ours)).dtype is copy.deepcopy(ours).dtype is d
    assert ours[0, 0].item() == theirs[0, 0].item()


def test_numpy():
    assert ng.ones(2, dtype=ng.half).numpy().dtype == np.float16
    assert ng.from_numpy(np.ones(2, np.float16)).dtype is ng.float16
    with pytest.raises(TypeError, match="BFloat16"):
        ng.ones(2, dtype=ng.bfloat16).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_operands_of_products_must_have_one_dtype(name):
    with pytest.raises(RuntimeError, match="dtype"):
        ng.ones(2, 2).to(getattr(ng, name)) @ ng.ones(2, 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_module_trains(name):
    d = getattr(ng, name)
    model = ng.nn.Sequential(ng.nn.Linear(4, 8), ng.nn.ReLU(), ng.nn.Linear(8, 1)).to(d)
    optimizer = ng.optim.SGD(model.parameters(), lr=0.1)
    x = ng.randn(16, 4).to(d)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = (model(x) - 1).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and next(model.parameters()).dtype is d


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ("safetensors", "pt"))
def test_files_keep_the_dtype(name, suffix, tmp_path):
    ours, theirs = _pair(name, X)
    path = str(tmp_path / f"x.{suffix}")
    ng.save({"x": ours}, path)
    again = ng.load(path)["x"]
    assert again.dtype is ours.dtype and (again == ours).all()
    if suffix == "pt":
        torch.save({"x": theirs}, path)
    else:
        import safetensors.torch

        assert (safetensors.torch.load_file(path)["x"] == theirs).all()
        safetensors.torch.save_file({"x": theirs}, path)
    assert (ng.load(path)["x"] == ours).all() and ng.load(path)["x"].dtype is ours.dtype


@pytest.mark.parametrize("name", NAMES)
def test_random_numbers_are_those_of_float32_rounded(name):
    d = getattr(ng, name)
    ng.manual_seed(1)
    expected = ng.rand(5), ng.randn(20)
    ng.manual_seed(1)
    found = ng.rand(5, dtype=d), ng.zeros(20, dtype=d).normal_()
    assert all((a == b.to(d)).all() for a, b in zip(found, expected))


@pytest.mark.parametrize("name", NAMES)
def test_functions_that_write_to_an_argument(name):
    d = getattr(ng, name)
    ours, theirs = _pair(name, X)
    a, b = ng.nn.BatchNorm1d(6).to(d), torch.nn.BatchNorm1d(6).to(getattr(torch, name))
    a(ours)
    b(theirs)
    np.testing.assert_allclose(a.running_var.float().numpy(), b.running_var.float().numpy(), rtol=1e-2)
    np.testing.assert_allclose(a.running_mean.float().numpy(), b.running_mean.float().numpy(), rtol=1e-2, atol=1e-3)
    places = [0, 2]
    F.embedding(ng.tensor(places), ours, max_norm=1.0)
    torch.nn.functional.embedding(torch.tensor(places), theirs, max_norm=1.0)
    np.testing.assert_allclose(ours.float().numpy(), theirs.float().numpy(), rtol=1e-2)
    base = ng.zeros(4, 6, dtype=d)
    assert base[1:].index_add_(0, ng.tensor([0, 0]), ours[:2])._base is base and base[1].any() and not base[0].any()
    with pytest.raises(RuntimeError, match="same scalar type"):
        base.index_add_(0, ng.tensor([0]), ng.ones(1, 6))
    leaf = ng.zeros(4, 6, dtype=d, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf.scatter_(1, ng.zeros(4, 1, dtype=ng.int64), ours)


def test_ops_defined_later_take_16_bits_too():
    ng.zeros(1, dtype=ng.half)

    @ng.structured(install=())
    def doubled_last(x):
        assert x.dtype is ng.float32
        return x * 2

    @doubled_last.backward
    def _(g):
        return g * 2

    x = ng.ones(2, dtype=ng.half, requires_grad=True)
    y = doubled_last(x)
    y.sum().backward()
    assert y.dtype is x.grad.dtype is ng.half and x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("name", NAMES)
def test_initialisers_and_constructors(name):
    d = getattr(ng, name)
    for fill in ("kaiming_uniform_", "xavier_normal_", "orthogonal_", "eye_", "trunc_normal_"):
        w = ng.empty(4, 6, dtype=d)
        assert getattr(ng.nn.init, fill)(w) is w and w.isfinite().all() and 0.01 < w.float().abs().max().item() < 5, fill
    kind = {"float16": "HalfTensor", "bfloat16": "BFloat16Tensor"}[name]
    assert getattr(ng, kind)([1.5, 2.5]).tolist() == [1.5, 2.5] and ng.ones(1, dtype=d).type() == f"torch.{kind}"
    assert ng.cat((ng.ones(1, dtype=d), ng.ones(1))).dtype is ng.float32
    with pytest.warns(UserWarning, match="copy construct"):
        assert ng.tensor(ng.ones(2, dtype=d)).dtype is d
    spread = ng.arange(4000.0).to(d).view(4, 1000)[:, ::500]
    assert (unpack(pack([spread]))[0] == spread).all()
    assert ng.tensor([[ng.tensor(1.5, dtype=d)], [ng.tensor(2.5, dtype=d)]]).dtype is d
    assert ng.isin(ng.ones(2, dtype=d), ng.ones(1, dtype=d)).all()
    with pytest.raises(RuntimeError, match="Low precision"):
        ng.linalg.inv(ng.eye(2, dtype=d))
    ng.set_default_dtype(d)
    try:
        assert ng.tensor(1.5).dtype is ng.nn.Linear(2, 2).weight.dtype is (ng.ones(2, dtype=ng.int64) / 2).dtype is d
        assert repr(ng.ones(1)) == "tensor([1.])"
    finally:
        ng.set_default_dtype(ng.float32)


@pytest.mark.parametrize("name", NAMES)
def test_nodes_keep_16_bits_of_their_inputs(name):
    x, w = (ng.from_numpy(X).to(getattr(ng, name)).requires_grad_() for _ in range(2))
    y = F.linear(x * 1, w * 1).sin()
    node, kept = y.grad_fn, []
    while node is not None:
        kept += [item for item in node.saved or () if isinstance(item, ng.Tensor)]
        node = node.next_functions[0][0] if node.next_functions else None
    assert kept and all(tensor.dtype is not ng.float32 for tensor in kept)
    y.sum().backward(retain_graph=True)
    first = x.grad.clone()
    y.sum().backward()
    assert ng.allclose(x.grad, 2 * first)
    wide = [ng.from_numpy(X).to(x.dtype).float().requires_grad_() for _ in range(2)]
    found, expected = [], []
    for (a, b), results in (((x, w), found), (wide, expected)):
        g = ng.autograd.grad(F.linear(a, b).sin().sum(), a, create_graph=True)[0]
        results += ng.autograd.grad(g.sin().sum(), (a, b))
    for a, b in zip(found, expected):
        bound = 2e-2 if name == "float16" else 0.15
        np.testing.assert_allclose(a.float().numpy(), b.numpy(), atol=bound * abs(b.numpy()).max())
    z = x * 1
    y = F.linear(z, w)
    with ng.no_grad():
        z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()


# The first 16-bit tensors and the first autocast while other threads compute in float32; in a process of its own.
THREADS = """
import sys, threading
import numgrad as ng, numgrad.nn.functional as F

sys.setswitchinterval(1e-6)
errors, stop = [], threading.Event()
x, w = ng.randn(3, 4), ng.randn(4, 4, requires_grad=True)

def watched(work):
    def run():
        try:
            work()
        except BaseException as error:
            errors.append(repr(error))
            stop.set()
    return threading.Thread(target=run)

@watched
def wide():
    while not stop.is_set():
        y = F.linear(x, w)
        F.mse_loss(ng.cat((y, y)), ng.cat((y, y)).detach()).backward()
        assert y.dtype is ng.float32 and ng.cumsum(x, 1).dtype is ng.float32

@watched
def narrow():
    for _ in range(20):
        assert (x.bfloat16() @ w.bfloat16()).dtype is ng.bfloat16
        with ng.autocast("cpu"):
            assert F.linear(x, w).dtype is ng.bfloat16
        assert F.linear(x, w).dtype is ng.float32
    stop.set()

wide.start()
narrow.start()
narrow.join(60)
stop.set()
wide.join(60)
assert not errors, errors
"""


def test_threads():
    kept = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", THREADS], env=kept, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
