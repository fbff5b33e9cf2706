"""uint16, uint32 and uint64: stored, copied, converted, compared; what PyTorch has no kernels for is refused."""

import copy
import io
import pickle

import numpy as np
import pytest

import numgrad as ng

NAMES = ["uint16", "uint32", "uint64"]


@pytest.fixture(params=NAMES)
def d(request):
    return getattr(ng, request.param)


def test_what_the_dtypes_are(d):
    bits = 8 * d.itemsize
    assert repr(d) == f"torch.uint{bits}" and not d.is_signed and not d.is_floating_point
    info = ng.iinfo(d)
    assert (info.min, info.max, info.bits) == (0, 2**bits - 1, bits)
    assert pickle.loads(pickle.dumps(d)) is d and copy.deepcopy(d) is d


def test_creation_and_conversion(d):
    largest = ng.iinfo(d).max
    x = ng.tensor([1, largest], dtype=d)
    assert x.tolist() == [1, largest] and x[1].item() == largest
    assert repr(x) == f"tensor([{1:>{len(str(largest))}}, {largest}], dtype={d!r})"
    for made in (ng.zeros(2, dtype=d), ng.ones(2, dtype=d), ng.full((2,), 7, dtype=d), ng.empty(2, dtype=d), ng.ones_like(x), x.clone()):
        assert made.dtype is d and made.shape == (2,)
    assert ng.tensor([1, 2]).to(d).dtype is d and ng.tensor([1.7]).to(d).tolist() == [1]
    assert ng.tensor([3], dtype=d).to(ng.float32).item() == 3.0 and x.view(getattr(ng, f"int{8 * d.itemsize}")).tolist() == [1, -1]
    with pytest.raises(RuntimeError, match="overflow|convert"):
        ng.tensor([1 << 20], dtype=ng.uint16)


def test_numpy_and_files(d):
    array = np.array([[1, 2], [3, np.iinfo(d.name).max]], d.name)
    x = ng.from_numpy(array)
    assert x.dtype is d and x.numpy().dtype == array.dtype and np.shares_memory(x.numpy(), array)
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        file = io.BytesIO()
        ng.save({"x": x}, file, **options)
        file.seek(0)
        assert ng.load(file)["x"].equal(x)
    assert pickle.loads(pickle.dumps(x)).equal(x)


def test_a_safetensors_file(d, tmp_path):
    x = ng.tensor([1, ng.iinfo(d).max], dtype=d)
    ng.save({"x": x}, tmp_path / "x.safetensors")
    found = ng.load(tmp_path / "x.safetensors")["x"]
    assert found.dtype is d and found.equal(x)


def test_promotion_is_refused_but_for_floats(d):
    for other in (ng.bool, ng.uint8, ng.int32, ng.complex64, *(getattr(ng, name) for name in NAMES if name != d.name)):
        for pair in ((d, other), (other, d)):
            with pytest.raises(RuntimeError, match="Promotion for uint16, uint32, uint64"):
                ng.promote_types(*pair)
    assert ng.promote_types(d, ng.float16) is ng.float16 and ng.promote_types(d, d) is d
    x = ng.tensor([1, 2], dtype=d)
    assert (x + 1.5).tolist() == [2.5, 3.5] and (x / x).dtype is ng.float32
    with pytest.raises(RuntimeError, match="Promotion"):
        x * ng.tensor([1, 2])


TAKEN = {
    "mul": lambda x: x * x, "mul number": lambda x: x * 2, "and": lambda x: x & x, "or": lambda x: x | 1, "xor": lambda x: x ^ x,
    "eq": lambda x: x == x, "ne": lambda x: x != 2, "sum": lambda x: x.sum(), "prod": lambda x: x.prod(), "any": lambda x: x.any(),
    "all": lambda x: x.all(), "where": lambda x: ng.where(x == 2, x, x), "sort": lambda x: x.sort().values, "cat": lambda x: ng.cat([x, x]),
    "stack": lambda x: ng.stack([x, x]), "index": lambda x: x[[0, 2]], "mask": lambda x: x[x == 3], "slice": lambda x: x[1:],
    "roll": lambda x: x.roll(1), "repeat": lambda x: x.repeat(2), "fill_": lambda x: x.clone().fill_(9), "sqrt": lambda x: x.sqrt(),
    "pad": lambda x: ng.nn.functional.pad(x, (1, 1)), "copy_": lambda x: x.clone().copy_(ng.tensor([4, 5, 6])), "reshape": lambda x: x.reshape(3, 1),
    "cumsum": lambda x: x.cumsum(0), "unique": lambda x: x.unique(), "mean": lambda x: x.float().mean(),
}  # fmt: skip


@pytest.mark.parametrize("call", list(TAKEN.values()), ids=list(TAKEN))
def test_what_is_computed(call, d):
    result, right = call(ng.tensor([1, 3, 2], dtype=d)), call(ng.tensor([1, 3, 2]))
    assert result.tolist() == right.tolist()
    assert result.dtype is (d if right.dtype is ng.int64 and result.dtype is not ng.int64 else right.dtype)


REFUSED = {
    "add": lambda x: x + x, "sub": lambda x: x - 1, "neg": lambda x: -x, "abs": lambda x: x.abs(), "lt": lambda x: x < x, "pow": lambda x: x**2,
    "floor_divide": lambda x: x // x, "remainder": lambda x: x % x, "not": lambda x: ~x, "shift": lambda x: x << 1, "max": lambda x: x.max(),
    "amax": lambda x: x.amax(), "argmax": lambda x: x.argmax(), "minimum": lambda x: ng.minimum(x, x), "clamp": lambda x: x.clamp(0, 2),
    "matmul": lambda x: x.reshape(1, 3) @ x.reshape(3, 1), "gather": lambda x: x.gather(0, ng.tensor([0])), "flip": lambda x: x.flip(0),
    "nonzero": lambda x: x.nonzero(), "topk": lambda x: x.topk(1), "median": lambda x: x.median(), "masked_fill": lambda x: x.masked_fill(x == x, 1),
    "logical_and": lambda x: ng.logical_and(x, x), "random_": lambda x: x.random_(),
}  # fmt: skip


@pytest.mark.parametrize("call", list(REFUSED.values()), ids=list(REFUSED))
def test_what_is_refused(call, d):
    x = ng.tensor([1, 3, 2], dtype=d)
    with pytest.raises(NotImplementedError, match="not implemented for"):
        call(x)
    assert x.tolist() == [1, 3, 2]


def test_they_are_no_indices(d):
    with pytest.raises(IndexError, match="long, int, byte or bool"):
        ng.ones(5)[ng.tensor([1], dtype=d)]
    with pytest.raises(RuntimeError, match="indices"):
        ng.nn.functional.embedding(ng.tensor([1], dtype=d), ng.ones(3, 2))


@pytest.mark.parametrize("again", (False, True))
def test_integers_of_more_than_63_bits(again):
    """As PyTorch: by their bits for integers, as real numbers for real ones; with 65 bits they are refused."""
    large = 2**64 - 1
    for _ in range(1 + again):  # the second time by the plan of the first
        x = ng.tensor([1, large, 2**63], dtype=ng.uint64)
        assert (x == large).tolist() == [False, True, False]
        assert x.eq(2**63).tolist() == [False, False, True]
        assert (ng.tensor([-1.0, 2.0**64]) == large).tolist() == [False, True]
        assert (ng.tensor([1]) + 2**63).tolist() == [1 - 2**63]
        assert ng.tensor([1]).add_(2**63).tolist() == [1 - 2**63]
        assert ng.full((2,), large, dtype=ng.uint64).tolist() == [large, large]
        assert x.fill_(large - 1).tolist() == [large - 1] * 3
        with pytest.raises(RuntimeError, match="add.*without overflow"):
            ng.tensor([1]) + 2**70
    for data in (-1, [-1], [3, 2**64]):
        with pytest.raises(OverflowError, match="tensor"):
            ng.tensor(data, dtype=ng.uint64)
    with pytest.raises(ValueError, match="Overflow"):
        ng.tensor([1, 2**70])
    assert ng.tensor([float("inf"), 2**70]).tolist() == [float("inf"), 2.0**70]
