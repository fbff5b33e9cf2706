"""Memory and who may write to it: storages from bytes, memory that is not initialised, operands that overlap."""

import numpy as np
import pytest
from agreement import assert_agree, torch

import numgrad as ng

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
KINDS = ("bool", "uint8", "int16", "int64", "float16", "bfloat16", "float32", "complex64", "uint64")


def test_dimensions_in_the_order_of_memory():
    assert_agree(lambda T: T.empty_permuted((2, 3, 5), (1, 0, 2)).stride())
    assert_agree(lambda T: T.empty_permuted((2, 0, 5), (2, 0, 1)).stride())
    assert_agree(lambda T: T.empty_permuted((2, 3), (1, 1)))


# --- storages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["little", "big", "native"])
@pytest.mark.parametrize("name", ["ByteStorage", "ShortStorage", "IntStorage", "FloatStorage", "ComplexFloatStorage", "BoolStorage"])
def test_storages_from_bytes(name, order):
    data = bytes(range(1, 17))
    found, right = (getattr(T, name).from_buffer(data, order).tolist() for T in (ng, torch))
    assert found == right


def test_parts_of_buffers():
    data = bytes(range(16))
    assert ng.ShortStorage.from_buffer(data, "big", 2, 3).tolist() == [0x0304, 0x0506]
    for named, message in (({"offset": 17}, "offset"), ({"count": 9}, "are needed"), ({"byte_order": "up"}, "byte_order")):
        with pytest.raises(ValueError, match=message):
            ng.ShortStorage.from_buffer(data, **named)
    with pytest.raises(ValueError, match="multiple of element size"):
        ng.ShortStorage.from_buffer(b"123")


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "float64", "complex64"])
def test_bytes_in_the_other_order(kind):
    found, right = (T.UntypedStorage(list(range(16))) for T in (ng, torch))
    found.byteswap(getattr(ng, kind))
    right.byteswap(getattr(torch, kind))
    assert found.tolist() == right.tolist()


def test_tensors_of_storages():
    x = ng.arange(6).reshape(2, 3)
    for storage in (x.storage(), x.untyped_storage()):
        found = ng.tensor(storage, dtype=ng.int64)
        assert found.tolist() == [0, 1, 2, 3, 4, 5] and found.data_ptr() != x.data_ptr()
    assert_agree(lambda T: T.tensor(T.arange(3).storage(), dtype=T.float32))
    assert_agree(lambda T: T.arange(3).set_(T.arange(3.0).storage()))


def test_size_and_class_of_storages():
    empty, ten = ng.zeros(0).storage(), ng.zeros(10).storage()
    assert ten.__sizeof__() - empty.__sizeof__() == 40
    assert ng.Storage is ng.FloatStorage
    ng.set_default_dtype(ng.float64)
    try:
        assert ng.Storage is ng.DoubleStorage
    finally:
        ng.set_default_dtype(ng.float32)


# --- memory that is not initialised --------------------------------------------------------------------------------


@pytest.fixture
def deterministic():
    ng.use_deterministic_algorithms(True)
    yield
    ng.use_deterministic_algorithms(False)
    ng.utils.deterministic.fill_uninitialized_memory = True


def is_filled(tensor):
    d = tensor.dtype
    if d.is_floating_point or d.is_complex:
        return bool(tensor.isnan().all())
    return set(tensor.flatten().tolist()) == {True if d is ng.bool else ng.iinfo(d).max}


@pytest.mark.parametrize("kind", KINDS)
def test_new_memory_is_filled(kind, deterministic):
    d = getattr(ng, kind)
    zeros = ng.zeros(2, 3, dtype=d)
    made = [
        ng.empty(2, 3, dtype=d), ng.empty(6, out=ng.zeros(6, dtype=d)), ng.empty_like(zeros), zeros.new_empty(2),
        ng.empty_strided((2, 3), (1, 2), dtype=d), ng.empty_permuted((2, 3), (1, 0), dtype=d),
    ]  # fmt: skip
    assert all(map(is_filled, made))
    zeros.resize_(4, 3)
    assert not zeros[:2].any() if kind != "uint64" else zeros[:2].sum() == 0
    assert is_filled(zeros[2:])


def test_new_memory_is_left_alone(deterministic):
    filled = []
    ng.utils.deterministic.fill_uninitialized_memory = False
    assert ng.utils.deterministic.fill_uninitialized_memory is False
    filled.append(is_filled(ng.empty(3, out=ng.zeros(3))))
    ng.utils.deterministic.fill_uninitialized_memory = True
    ng.use_deterministic_algorithms(False)
    filled.append(is_filled(ng.empty(3, out=ng.zeros(3))))
    assert filled == [False, False]
    with pytest.raises(RuntimeError, match="must be a bool"):
        ng.utils.deterministic.fill_uninitialized_memory = 1


# --- operands that overlap -----------------------------------------------------------------------------------------

ONE = [1]
OVERLAPS = {
    "scatter_": lambda T, x: x.scatter_(0, T.tensor(ONE), x),
    "scatter_add_": lambda T, x: x.scatter_add_(0, T.tensor(ONE), x),
    "index_add_": lambda T, x: x.index_add_(0, T.tensor(ONE), x[:1]),
    "index_copy_": lambda T, x: x.index_copy_(0, T.tensor(ONE), x[:1]),
    "put_": lambda T, x: x.put_(T.tensor(ONE), x[:1]),
    "index_put_": lambda T, x: x.index_put_((T.tensor(ONE),), x[:1]),
    "index": lambda T, x: (i := T.tensor([1, 0])).scatter_(0, i, i.clone()),
    "one element": lambda T, x: x.index_fill_(0, T.tensor(ONE), x[0]),
    "beside": lambda T, x: x[:2].index_add_(0, T.tensor(ONE), x[2:3]),
    "between": lambda T, x: x[::2].index_copy_(0, T.tensor([0, 1]), x[1::2][:2]),
    "out": lambda T, x: T.gather(x, 0, T.tensor([0, 1, 2, 3, 4]), out=x),
    "cat beside": lambda T, x: T.cat([x[:1], x[1:2]], out=x[2:4]),
    "cat": lambda T, x: T.cat([x[:1], x[1:2]], out=x[1:3]),
    "fill_": lambda T, x: x[:1].expand(3).fill_(7),
    "zero_": lambda T, x: x[:1].expand(3).zero_(),
    "normal_": lambda T, x: x[:1].expand(3).normal_(),
}


@pytest.mark.parametrize("call", OVERLAPS.values(), ids=OVERLAPS)
def test_what_is_read_is_not_written(call):
    assert_agree(lambda T: call(T, T.arange(5.0)))


def test_a_number_is_scattered_into_all_places():
    for reduce, right in (("add", [0, 1, 2]), ("multiply", [0, 0, 0])):
        x = ng.zeros(3, 2)
        x.scatter_(0, ng.tensor([[1, 2], [2, 2]]), 1, reduce=reduce)
        np.testing.assert_array_equal(x.numpy()[:, 1], [0, 0, 2] if reduce == "add" else right)


@pytest.mark.parametrize("name", ["neg", "floor", "ceil", "round", "trunc", "frac", "sign", "sgn", "abs", "exp", "square"])
def test_out_of_another_dtype(name):
    for source, target in (("float32", "float64"), ("float64", "float32"), ("int32", "int64"), ("float32", "float32")):
        assert_agree(lambda T: getattr(T, name)(T.ones(2, dtype=getattr(T, source)), out=T.zeros(2, dtype=getattr(T, target))))
