"""The 8-bit floating-point formats: stored, copied and compared as PyTorch does, with the same bits; computed with by none."""

import io

import numpy as np
import pytest

import numgrad as ng

from agreement import assert_same, outcome, torch  # isort: skip

FORMATS = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]


def awkward_numbers():
    """Every code's number, the places between two of them, their neighbours, what is too large, and random bits."""
    codes = torch.arange(256, dtype=torch.uint8)
    known = np.concatenate([codes.view(getattr(torch, name)).float().numpy() for name in FORMATS])
    known = np.unique(known[np.isfinite(known)])
    between = ((known[1:].astype(np.float64) + known[:-1]) / 2).astype(np.float32)
    around = [np.nextafter(between, np.float32(end)) for end in (-np.inf, np.inf)]
    beyond = np.array([449, 464, 480, 1e9, np.inf, -np.inf, np.nan, 240.5, 248, 61440, 65536, 1e-30], np.float32)
    bits = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
    return np.concatenate([known, between, *around, beyond, -beyond, bits])


@pytest.mark.parametrize("name", FORMATS)
def test_bits_are_pytorchs(name):
    ours, theirs = getattr(ng, name), getattr(torch, name)
    values = awkward_numbers()
    expected = torch.from_numpy(values).to(theirs).view(torch.uint8).numpy()
    assert np.array_equal(ng.from_numpy(values).to(ours).view(ng.uint8).numpy(), expected)  # by a kernel
    assert np.array_equal(ours.encode(values).view(np.uint8), expected)  # by NumPy
    codes = np.arange(256, dtype=np.uint8)
    numbers = torch.from_numpy(codes).view(theirs).float().numpy()
    assert np.array_equal(ng.from_numpy(codes).view(ours).float().numpy(), numbers, equal_nan=True)
    assert np.array_equal(ours.decode(codes.view(ours.np)), numbers, equal_nan=True)


CALLS = {
    "text": lambda T, x: str(x),
    "numbers": lambda T, x: (x[:4].tolist(), x[1].item()),
    "other formats": lambda T, x: (x.to(T.float8_e5m2).float(), x.half(), x.double(), x[:2].to(T.int64), T.tensor([3, 1]).to(x.dtype).float()),
    "made": lambda T, x: str((T.tensor([1.0, 2.0], dtype=x.dtype), T.zeros(2, dtype=x.dtype), T.full((2,), 3.0, dtype=x.dtype))),
    "moved": lambda T, x: (T.cat([x, x[:2]]).float(), x[T.tensor([0, 2])].float(), x.view(2, 3).t().contiguous().float(), x.roll(1).float()),
    "compared": lambda T, x: (x == x, x != x, x.isnan(), x == 1.0, T.isclose(x, x, rtol=0, atol=0)),
    "written": lambda T, x: (T.empty_like(x).copy_(x).float(), x.clone().fill_(2).float()),
    "size": lambda T, x: (x.itemsize, x.untyped_storage().nbytes(), x.type()),
    "add": lambda T, x: x + x, "mul": lambda T, x: x * 2, "sum": lambda T, x: x.sum(), "sort": lambda T, x: x.sort(),
    "softmax": lambda T, x: x.softmax(0), "cumsum": lambda T, x: x.cumsum(0), "flip": lambda T, x: x.flip(0),
    "random": lambda T, x: T.rand(2, dtype=x.dtype), "promoted": lambda T, x: T.promote_types(x.dtype, T.float32),
    "complex": lambda T, x: x.dtype.to_complex(), "array": lambda T, x: x.numpy(), "mixed": lambda T, x: x == x.float(),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_can_be_done(call):
    values = [1.0, 2.0, 300.0, -0.0, 1e-3, float("nan")]
    ours, theirs = (outcome(lambda T: call(T, T.tensor(values).to(T.float8_e4m3fn)), T) for T in (ng, torch))
    ours, theirs = (found if isinstance(found, tuple) else (found,) for found in (ours, theirs))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        if isinstance(other, torch.Tensor):
            assert_same(one, other)
        elif isinstance(other, type):
            assert issubclass(one, other)
        else:
            assert one == other


def test_limits():
    for name in FORMATS:
        ours, theirs = ng.finfo(getattr(ng, name)), torch.finfo(getattr(torch, name))
        assert (ours.max, ours.min, ours.tiny, ours.bits, ours.dtype) == (theirs.max, theirs.min, theirs.tiny, theirs.bits, theirs.dtype)


@pytest.mark.parametrize("name", FORMATS[:2])
def test_files(name, tmp_path):
    d = getattr(ng, name)
    x = ng.arange(6.0).to(d)
    for path in ("x.pt", "x.safetensors"):
        ng.save({"x": x, "odd": x[1::2]}, tmp_path / path)
        found = ng.load(tmp_path / path)
        assert found["x"].dtype is d and found["x"].tolist() == x.tolist() and found["odd"].tolist() == [1, 3, 5]
    assert torch.load(tmp_path / "x.pt")["x"].float().tolist() == x.tolist()
    stream = io.BytesIO()
    torch.save(torch.arange(6.0).to(getattr(torch, name)), stream)
    stream.seek(0)
    assert ng.load(stream).tolist() == x.tolist()
