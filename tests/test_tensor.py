"""The surface of Tensor itself, compared with PyTorch: making one, Python's protocols, NumPy and DLPack, memory.

What is compared is written once, as a function of the library ``T``, and run with both.
"""

import copy
import gc
import io
import itertools
import pickle

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")
from agreement import assert_agree, grid, outcome, strided, table  # noqa: E402
from test_torch_parity import KINDS, assert_same, both  # noqa: E402


def layout(x):
    return tuple(x.shape), x.stride(), x.storage_offset(), x.is_contiguous()


# --- making tensors ------------------------------------------------------------------------------------------------

CONSTRUCTION = {
    "int": lambda T: T.tensor(3),
    "float": lambda T: T.tensor(3.5),
    "bool": lambda T: T.tensor(True),
    "nested": lambda T: T.tensor([[1, 2], [3, 4]]),
    "mixed": lambda T: T.tensor([1, 2.5, True]),
    "mixed_bool": lambda T: T.tensor([True, 2]),
    "bools": lambda T: T.tensor([True, False]),
    "tuple": lambda T: T.tensor(((1.0, 2.0), [3, 4])),
    "empty": lambda T: T.tensor([]),
    "empty_rows": lambda T: T.tensor([[], []]),
    "range": lambda T: T.tensor(range(4)),
    "numpy_float64": lambda T: T.tensor(np.array([1.0, 2.0])),
    "numpy_int32": lambda T: T.tensor(np.array([1, 2], np.int32)),
    "numpy_scalar": lambda T: T.tensor(np.float64(2)),
    "numpy_scalar32": lambda T: T.tensor(np.float32(2)),
    "numpy_scalars": lambda T: T.tensor([np.float64(1), np.float64(2)]),
    "numpy_rows": lambda T: T.tensor([np.float64(1), 2]),
    "numpy_mixed": lambda T: [T.tensor([np.float32(1), 2.5]), T.tensor([np.float16(1), 2]), T.tensor([[np.int32(1)], [2.5]])],
    "scalars_mixed": lambda T: [T.tensor([T.tensor(1.5), 2]), T.tensor([1.5, T.tensor(2, dtype=T.float64)]), T.tensor([T.tensor(1), 0.5])],
    "scalars_small": lambda T: [T.tensor([T.tensor(1, dtype=T.int32)]), T.tensor([T.tensor(1.0, dtype=T.float16), 2])],
    "scalars": lambda T: T.tensor([T.tensor(1.0), T.tensor(2.0)]),
    "scalars_int": lambda T: T.tensor([T.tensor(1), T.tensor(2)]),
    "dtype": lambda T: T.tensor([1.7, -1.7], dtype=T.int64),
    "dtype_bool": lambda T: T.tensor([0.0, 0.5], dtype=T.bool),
    "uint8": lambda T: T.tensor([255], dtype=T.uint8),
    "large": lambda T: T.tensor(2**40),
    "too_large": lambda T: T.tensor(2**70),
    "infinite": lambda T: T.tensor([float("inf"), -float("inf"), float("nan")]),
    "ragged": lambda T: T.tensor([[1, 2], [3]]),
    "text": lambda T: T.tensor("1"),
    "none": lambda T: T.tensor(None),
    "nones": lambda T: T.tensor([None]),
    "dict": lambda T: T.tensor({1: 2}),
    "object_array": lambda T: T.tensor(np.array([None])),
    "integer_requires_grad": lambda T: T.tensor([1], requires_grad=True),
    "requires_grad": lambda T: T.tensor([1.0], requires_grad=True).requires_grad,
    "Tensor_sizes": lambda T: tuple(T.Tensor(2, 3).shape),
    "Tensor_list": lambda T: T.Tensor([1, 2]),
    "Tensor_nothing": lambda T: T.Tensor(),
    "Tensor_array": lambda T: T.Tensor(np.array([1.0, 2.0], np.float32)),
    "Tensor_size": lambda T: tuple(T.Tensor(T.Size((2, 0))).shape),
    "as_tensor_list": lambda T: T.as_tensor([1, 2], dtype=T.float32),
    "tensors_of_one_element": lambda T: T.tensor([T.tensor([[2.0]]), T.tensor(3.0)]),
    "as_tensor_tensors_of_one_element": lambda T: T.as_tensor(((T.tensor([2]), 4), [5, T.tensor([[6]])])),
    "as_tensor_number": lambda T: T.as_tensor(2.5),
    "as_tensor_nothing": lambda T: T.as_tensor(None),
    "from_numpy_list": lambda T: T.from_numpy([1, 2]),
    "from_numpy_negative_steps": lambda T: T.from_numpy(np.arange(4)[::-1]),
    "from_numpy_text": lambda T: T.from_numpy(np.array(["a"])),
    "from_numpy_foreign": lambda T: T.from_numpy(np.arange(4, dtype=">f4")),
    "from_numpy_zero_d": lambda T: T.from_numpy(np.array(2.0)),
    "from_numpy_empty": lambda T: T.from_numpy(np.zeros((0, 3), np.int16)),
    "frombuffer": lambda T: T.frombuffer(bytearray(range(8)), dtype=T.int16, offset=2, count=2),
    "asarray_list": lambda T: T.asarray([1.0, 2.0]),
    "zeros_negative": lambda T: T.zeros(-1),
    "zeros_float_size": lambda T: T.zeros(1.5),
    "zeros_list": lambda T: T.zeros([2, 3], dtype=T.int8),
    "zeros_size": lambda T: T.zeros(T.Size([2, 0])),
    "zeros_0d": lambda T: T.zeros(()),
    "ones_requires": lambda T: T.ones(2, requires_grad=True).requires_grad,
    "full_int": lambda T: T.full((2,), 3),
    "full_bool": lambda T: T.full((2,), True),
    "full_dtype": lambda T: T.full((2, 1), 3, dtype=T.float64),
    "full_like": lambda T: T.full_like(T.zeros(2, dtype=T.int32), 3),
    "zeros_like_strided": lambda T: layout(T.zeros_like(T.zeros(2, 3, 4).permute(2, 0, 1))),
    "empty_strided": lambda T: layout(T.empty_strided((2, 3), (1, 2))),
    "new_empty_strided": lambda T: layout(T.zeros(1, dtype=T.int16).new_empty_strided((2, 3), (1, 2))),
    "arange": lambda T: (T.arange(4), T.arange(1, 4), T.arange(1, 2, 0.25), T.arange(4, 0, -2), T.arange(0.0, 3)),
    "arange_backwards": lambda T: T.arange(4, 0),
    "arange_no_step": lambda T: T.arange(0, 4, 0),
    "linspace": lambda T: (T.linspace(0, 1, 5), T.linspace(3, -3, 4), T.linspace(1, 2, 1), T.linspace(1, 2, 0)),
    "linspace_int": lambda T: T.linspace(0, 10, 4, dtype=T.int64),
    "logspace": lambda T: (T.logspace(0, 2, 3), T.logspace(0.3, 2.9, 9, 3.0, dtype=T.int64)),
    "eye": lambda T: (T.eye(3), T.eye(2, 3, dtype=T.int64), T.eye(0)),
    "eye_negative": lambda T: T.eye(-1),
    "new": lambda T: (T.zeros(2, dtype=T.float64).new_zeros(3), T.zeros(2).new_ones(2, 2, dtype=T.int64),
                      T.zeros(2, dtype=T.int16).new_full((2,), 7), T.zeros(2, dtype=T.float64).new_tensor([1, 2])),
    "scalar_tensor": lambda T: (T.scalar_tensor(2), T.scalar_tensor(2, dtype=T.int64)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@table(CONSTRUCTION)
def test_construction(call):
    assert_agree(call)


@pytest.mark.parametrize("source", ["float64", "int64", "bool"])
@pytest.mark.parametrize("kind", KINDS)
def test_construction_with_dtype(kind, source):
    values = np.array([[0, 1, 2], [3, 4, 100]], source)

    def call(T):
        d = getattr(T, kind)
        return (
            T.tensor(values, dtype=d), T.tensor(values.tolist(), dtype=d), T.as_tensor(values, dtype=d),
            T.from_numpy(values.copy()).to(d), T.from_numpy(values.copy()).type(d), T.ones(2, dtype=d), T.eye(2, dtype=d),
            T.zeros(2, dtype=d) + 1, T.empty(2, 0, dtype=d), T.full((2,), 1, dtype=d),
        )  # fmt: skip

    assert_agree(call)


def test_default_dtype():
    def call(T):
        T.set_default_dtype(T.float64)
        try:
            return T.tensor(1.5), T.zeros(2), T.tensor([1, 2.5]), T.tensor(1) * 1.5, T.arange(0, 1, 0.5), T.tensor(1).float()
        finally:
            T.set_default_dtype(T.float32)

    assert_agree(call)
    assert_agree(lambda T: T.set_default_dtype(T.int64))
    assert_agree(lambda T: T.tensor([1.5]).dtype is T.get_default_dtype())


def test_tensor_of_tensor_copies_and_warns():
    x = ng.tensor([1.0, 2.0], requires_grad=True)
    with pytest.warns(UserWarning, match="clone"):
        y = ng.tensor(x)
    y[0] = 9
    assert x[0].item() == 1 and not y.requires_grad and y.is_leaf


# --- conversions ---------------------------------------------------------------------------------------------------

CONVERSIONS = {
    "methods": lambda T: [getattr(grid(T, 2, 3), name)() for name in (
        "float", "double", "int", "long", "short", "char", "byte", "bool", "cpu")],
    "to_dtype": lambda T: (grid(T, 3).to(T.int64), grid(T, 3).to(dtype=T.float64), grid(T, 3).to("cpu", T.int8),
                           grid(T, 3).to(T.device("cpu")), grid(T, 3).to(T.zeros(1, dtype=T.bool))),
    "to_same": lambda T: (lambda x: (x.to(T.float32) is x, x.to("cpu") is x, x.float() is x, x.cpu() is x,
                                     x.to(T.float32, copy=True) is x, x.to(x) is x))(grid(T, 3)),
    "to_nothing": lambda T: grid(T, 3).to(),
    "to_text": lambda T: grid(T, 3).to("nowhere"),
    "to_keeps_strides": lambda T: layout(grid(T, 2, 3).t().double()),
    "type_name": lambda T: (grid(T, 3).type().rsplit(".")[-1], T.tensor([True]).type().rsplit(".")[-1]),
    "type_dtype": lambda T: grid(T, 3).type(T.int32),
    "type_as": lambda T: grid(T, 3).type_as(T.zeros(1, dtype=T.float64)),
    "truncation": lambda T: T.tensor([1.9, -1.9, 2.5]).long(),
    "wrap": lambda T: T.tensor([255, 256, -1, 300]).to(T.uint8),
    "wrap_float": lambda T: [T.tensor([300.7, -129.5, 70000.0] * 6).to(d) for d in (T.uint8, T.int8, T.int16)],
    "to_bool": lambda T: T.tensor([0.0, 0.1, float("nan"), -0.0]).bool(),
    "gradient_through_to": lambda T: (lambda x: (x.double().sum().backward(), x.grad))(grid(T, 3, requires_grad=True))[1],
    "integer_cuts_gradient": lambda T: grid(T, 3, requires_grad=True).long().requires_grad,
    "item": lambda T: (T.tensor(2).item(), T.tensor([[2.5]]).item(), T.tensor(True).item()),
    "item_many": lambda T: grid(T, 2).item(),
    "item_empty": lambda T: T.zeros(0).item(),
    "tolist": lambda T: (grid(T, 2, 3).t().tolist(), T.tensor(2).tolist(), T.zeros(0, 2).tolist(), T.zeros(2, 0).tolist()),
    "tolist_types": lambda T: [type(v).__name__ for v in (T.tensor(1).tolist(), T.tensor(1.0).tolist(), T.tensor(True).tolist())],
    "python_numbers": lambda T: (float(T.tensor(2)), int(T.tensor(2.7)), bool(T.tensor(0.0)), complex(T.tensor(2.0))),
    "float_many": lambda T: float(grid(T, 2)),
    "int_one_element": lambda T: int(T.tensor([[3]])),
    "bool_many": lambda T: bool(grid(T, 2)),
    "bool_empty": lambda T: bool(T.zeros(0)),
    "index": lambda T: ([10, 20, 30][T.tensor(1)], "ab" * T.tensor(2), list(range(T.tensor(3)))),
    "index_float": lambda T: [1, 2][T.tensor(1.0)],
    "index_bool": lambda T: [1, 2][T.tensor(True)],
    "index_many": lambda T: [1, 2][T.tensor([1, 2])],
    "len": lambda T: (len(grid(T, 2, 3)), len(T.zeros(0))),
    "len_0d": lambda T: len(T.tensor(1)),
    "iter": lambda T: list(grid(T, 2, 3)),
    "iter_0d": lambda T: list(T.tensor(1)),
    "iter_empty": lambda T: list(T.zeros(0, 2)),
    "unpack": lambda T: (lambda a, b: a + b)(*grid(T, 2, 3)),
    "reversed": lambda T: list(reversed(grid(T, 3))),
    "contains": lambda T: (2.0 in grid(T, 3), 7 in grid(T, 3), T.tensor(1.0) in grid(T, 3), True in T.tensor([False])),
    "contains_text": lambda T: "a" in grid(T, 3),
    "contains_none": lambda T: None in grid(T, 3),
    "format": lambda T: (f"{T.tensor(2.5):.3f}", f"{T.tensor(7):4d}", f"{T.tensor(3)}", f"{grid(T, 2)}"),
    "format_many": lambda T: f"{grid(T, 2):.2f}",
    "repr": lambda T: (repr(grid(T, 2, 2)), repr(T.tensor(2)), repr(grid(T, 1, requires_grad=True)), str(T.zeros(0))),
    "hash": lambda T: (lambda x: (hash(x) == hash(x), len({x, x}), {x: 1}[x]))(grid(T, 2)),
    "round_trip": lambda T: (round(T.tensor(2.6)), abs(T.tensor(-2)), -T.tensor([1.0]), +T.tensor([1.0]), ~T.tensor([True, False])),
    "negative_bool": lambda T: -T.tensor([True]),
    "invert_float": lambda T: ~T.tensor([1.0]),
    "divmod": lambda T: divmod(T.tensor(7), 2),
    "in_list": lambda T: T.tensor(2) in [T.tensor(1), T.tensor(2)],
    "sum_builtin": lambda T: (sum(grid(T, 3)), max(grid(T, 3)), sorted(T.tensor([3, 1, 2]))),
    "comparison_chain": lambda T: (T.tensor(1) < 2 < 3, T.tensor([1, 2]) == None, T.tensor([1, 2]) != "a"),  # noqa: E711
    "order_with_text": lambda T: T.tensor([1]) < "a",
    "add_none": lambda T: T.tensor([1]) + None,
    "add_text": lambda T: T.tensor([1]) + "a",
    "add_list": lambda T: T.tensor([1]) + [1],
    "matmul_number": lambda T: T.tensor([1.0]) @ 2,
    "call": lambda T: T.tensor([1.0])(),
    "unknown": lambda T: T.tensor([1.0]).no_such_attribute,
    "properties": lambda T: (lambda x: (x.ndim, x.dim(), x.numel(), x.nelement(), x.element_size(), x.itemsize, x.nbytes,
                                        x.is_cuda, x.is_floating_point(), x.is_complex(), x.is_signed(), x.get_device(),
                                        x.is_leaf, x.output_nr, x.layout == T.strided, str(x.device), len(x.shape),
                                        x.size(), x.size(1), x.size(-2), x.stride(0), x.is_sparse,
                                        x.is_inference(), x.is_pinned()))(grid(T, 2, 3)),
    "size_outside": lambda T: grid(T, 2, 3).size(2),
    "size_0d": lambda T: T.tensor(1).size(0),
    "stride_outside": lambda T: grid(T, 2, 3).stride(2),
    "shape_is_tuple": lambda T: (grid(T, 2, 3).shape == (2, 3), grid(T, 2, 3).shape.numel(), grid(T, 2, 3).shape[1:] == (3,),
                                 repr(grid(T, 2, 3).shape), grid(T, 2, 3).size() == T.Size([2, 3])),
}  # fmt: skip


@table(CONVERSIONS)
def test_conversion(call):
    assert_agree(call)


def test_attributes_of_ones_own():
    x = ng.zeros(2)
    x.note = "kept"
    assert x.note == "kept" and copy.deepcopy(x).note == "kept" and pickle.loads(pickle.dumps(x)).note == "kept"


# --- NumPy ---------------------------------------------------------------------------------------------------------

A = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
NUMPY = {
    "asarray": lambda T: (lambda a: (type(a).__name__, str(a.dtype), a.tolist()))(np.asarray(grid(T, 2, 2))),
    "asarray_dtype": lambda T: (lambda a: (str(a.dtype), a.tolist()))(np.asarray(grid(T, 2, 2), dtype=np.int32)),
    "array": lambda T: (lambda x: (np.array(x).tolist(), np.shares_memory(np.array(x), x.numpy())))(grid(T, 2)),
    "array_requires_grad": lambda T: np.asarray(grid(T, 2, requires_grad=True)),
    "numpy_requires_grad": lambda T: grid(T, 2, requires_grad=True).numpy(),
    "numpy_forced": lambda T: grid(T, 2, requires_grad=True).numpy(force=True).tolist(),
    "numpy_of_view": lambda T: (lambda a: (a.strides, a.tolist()))(grid(T, 2, 3).t()[1:].numpy()),
    "array_list": lambda T: np.array([T.tensor(1.0), T.tensor(2.0)]).tolist(),
    "functions": lambda T: (np.sum(grid(T, 2, 2).numpy()).item(), np.shape(grid(T, 2, 3)), np.ndim(grid(T, 2, 3))),
    "testing": lambda T: np.testing.assert_allclose(grid(T, 2, 3), np.arange(6).reshape(2, 3)),
    "tensor_plus_array": lambda T: grid(T, 2, 3) + A,
    "tensor_times_array64": lambda T: grid(T, 2, 3) * A.astype(np.float64),
    "array_over_tensor": lambda T: A / (grid(T, 2, 3) + 1),
    "scalar_plus_tensor": lambda T: np.float64(2) + T.tensor([1.0, 2.0]),
    "scalar_times_tensor": lambda T: np.float32(2) * T.tensor([1.0, 2.0]),
    "tensor_times_scalar": lambda T: T.tensor([1.0, 2.0]) * np.float64(2),
    "tensor_times_int_scalar": lambda T: T.tensor([1.0, 2.0]) * np.int64(2),
    "integer_times_scalar": lambda T: T.tensor([1, 2]) * np.float64(2.5),
    "scalar_over_tensor": lambda T: np.float64(2) / T.tensor([1.0, 2.0]),
    "scalar_power_tensor": lambda T: np.float64(2) ** T.tensor([1.0, 2.0]),
    "subscript_with_array": lambda T: grid(T, 2, 3)[np.array([1, 0])],
    "subscript_with_numpy_int": lambda T: grid(T, 2, 3)[np.int64(1)],
    "subscript_with_mask": lambda T: grid(T, 2, 3)[A > 2],
    "array_subscripted_by_tensor": lambda T: A[T.tensor([1, 0]).numpy()].tolist(),
    "sizes_from_numpy": lambda T: (T.zeros(np.int64(2)).shape[0], T.zeros((np.int32(2), 3)).shape[0], grid(T, 6).view(np.int64(2), 3)),
    "dim_from_numpy": lambda T: (grid(T, 2, 3).sum(np.int64(1)), T.cat([grid(T, 2)], int(np.int64(0)))),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@table(NUMPY)
def test_numpy(call):
    assert_agree(call)


REFLECTED = {
    "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b, "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b, "floor_divide": lambda a, b: a // b, "remainder": lambda a, b: a % b,
    "greater": lambda a, b: a > b, "equal": lambda a, b: a == b, "less_equal": lambda a, b: a <= b, "matmul": lambda a, b: a @ b.T,
}  # fmt: skip


@table(REFLECTED)
def test_arrays_beside_tensors(call):
    """An ndarray to the right of an operator is a tensor of its dtype; to the left it is where PyTorch's is, else refused."""
    for array in (A, A.astype(np.float64), A.astype(np.int64)):
        x, y = ng.from_numpy(array), grid(ng, 2, 3) + 1
        if call is REFLECTED["matmul"]:
            x = x.to(y.dtype)
            array = array.astype(np.float32)
        expected = call(*(torch.from_numpy(t.numpy()) for t in (x, y)))
        assert_same(call(x, y.numpy()), expected)
        if call in [REFLECTED[name] for name in ("divide", "greater", "equal", "less_equal")]:
            assert_same(call(array, y), expected)
        else:
            with pytest.raises(TypeError):
                call(array, y)
    y = grid(ng, 2, 3)
    y[0] = A[1]
    assert y[0].tolist() == A[1].tolist()


@table({
    "exp": lambda t, a: ng.exp(a), "sum": lambda t, a: ng.sum(a), "add": lambda t, a: ng.add(t, a), "where": lambda t, a: ng.where(t > 0, t, a),
    "mul_": lambda t, a: t.mul_(a), "copy_": lambda t, a: t.copy_(a), "maximum": lambda t, a: t.maximum(a), "matmul": lambda t, a: t.matmul(a.T),
    "relu": lambda t, a: ng.relu(a), "equal": lambda t, a: ng.equal(t, a), "clamp": lambda t, a: t.clamp(a), "view_as": lambda t, a: t.view_as(a),
    "type_as": lambda t, a: t.type_as(a), "outer": lambda t, a: ng.outer(t[0], a[0]), "number": lambda t, a: ng.add(t, np.array(2.0)),
})  # fmt: skip
def test_functions_refuse_arrays(call):
    t = grid(ng, 2, 3)
    with pytest.raises(TypeError, match=r"must be Tensor|must be .*not (numpy.)?ndarray"):
        call(t, A)
    assert t.tolist() == grid(ng, 2, 3).tolist()


def test_assignment_with_an_array_makes_a_new_tensor():
    t = before = grid(ng, 2, 3)
    t += A.astype(np.float64)
    assert t is not before and t.dtype == ng.float64 and before.tolist() == grid(ng, 2, 3).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_shares_memory_both_ways(kind):
    array = np.arange(6).reshape(2, 3).astype(kind)
    for source in (array, array.T, array[:, ::2], array[1:], np.asfortranarray(array), array[:0], array[0, 0:1].reshape(())):
        for make in (ng.from_numpy, ng.as_tensor, ng.asarray):
            x = make(source)
            back = x.numpy()
            assert back.shape == source.shape and back.dtype == source.dtype
            if source.size:
                assert np.shares_memory(back, source) and back.ctypes.data == source.ctypes.data
                assert all(a == b or n == 1 for a, b, n in zip(back.strides, source.strides, source.shape))
                before = source.copy()
                x.fill_(1)
                assert (source == 1).all()
                source[...] = before
                np.testing.assert_array_equal(back, source)
            assert_same(x, torch.from_numpy(source))


def test_as_tensor_keeps_what_it_can():
    x = ng.ones(2)
    array = np.ones(2)
    assert ng.as_tensor(x) is x and ng.as_tensor(x, dtype=ng.float32) is x
    assert ng.as_tensor(x, dtype=ng.float64) is not x
    assert not np.shares_memory(ng.as_tensor(array, dtype=ng.float32).numpy(), array)
    assert not np.shares_memory(ng.tensor(array).numpy(), array)
    assert not np.shares_memory(ng.asarray(array, copy=True).numpy(), array)
    with pytest.raises(ValueError):
        ng.asarray(array, dtype=ng.float32, copy=False)


def test_numpy_keeps_memory_alive():
    array = ng.arange(1000.0).numpy()
    gc.collect()
    ng.zeros(1000)
    assert array[999] == 999
    view = ng.from_numpy(np.arange(1000.0))[500:]
    gc.collect()
    np.zeros(1000)
    assert view[0].item() == 500


def test_read_only_arrays_warn():
    array = np.ones(2)
    array.flags.writeable = False
    with pytest.warns(UserWarning, match="not writ"):
        ng.from_numpy(array)


# --- DLPack --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_dlpack_both_ways(kind):
    values = np.arange(12).reshape(3, 4).astype(kind)
    ours, theirs = ng.tensor(values), torch.tensor(values)
    for view in (lambda x: x, lambda x: x.t(), lambda x: x[1:, ::2], lambda x: x[2, 1], lambda x: x[:0]):
        x, y = view(ours), view(theirs)
        assert x.__dlpack_device__() == tuple(map(int, y.__dlpack_device__()))
        to_torch, to_numpy, from_torch = torch.from_dlpack(x), np.from_dlpack(x), ng.from_dlpack(y)
        assert_same(x, to_torch)
        assert_same(from_torch, y)
        np.testing.assert_array_equal(to_numpy, x.numpy())
        if x.numel() > 1:
            assert to_torch.data_ptr() == x.data_ptr() and from_torch.data_ptr() == y.data_ptr()
            assert to_torch.stride() == x.stride() and from_torch.stride() == y.stride()
    torch.from_dlpack(ours)[0, 0] = 1
    assert ours[0, 0].item() == 1
    ng.from_dlpack(theirs)[0, 1] = 0
    assert theirs[0, 1].item() == 0


def test_dlpack_capsules():
    x = ng.arange(6).reshape(2, 3).t()
    capsule = ng.utils.dlpack.to_dlpack(x)
    y = ng.utils.dlpack.from_dlpack(capsule)
    assert y.data_ptr() == x.data_ptr() and y.stride() == x.stride()
    assert ng.from_dlpack(torch.utils.dlpack.to_dlpack(torch.arange(3))).tolist() == [0, 1, 2]
    for wrong in (capsule, 3):
        with pytest.raises(ValueError, match="expected an unused DLPack capsule"):
            ng.from_dlpack(wrong)
    assert not hasattr(x, "__cuda_array_interface__")


def test_dlpack_of_sixteen_bits_and_strides_of_single_elements():
    x = ng.tensor([[1.0, -2.5], [3.0, 4.0]], dtype=ng.bfloat16)
    theirs = torch.from_dlpack(x.t())
    assert theirs.dtype is torch.bfloat16 and theirs.tolist() == x.t().tolist()
    ours = ng.from_dlpack(torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)[::2])
    assert ours.dtype is ng.bfloat16 and ours.tolist() == [1, 3] and ours.stride() == (2,)
    assert torch.from_dlpack(ng.arange(16)[::3][:1]).stride() == (1,)


def test_dlpack_arguments():
    x = ng.arange(3)
    with pytest.raises(TypeError, match="stream must be int or none"):
        x.__dlpack__(stream=object())
    with pytest.raises(BufferError, match="no streams"):
        x.__dlpack__(stream=1)
    with pytest.raises(BufferError, match="not on DLPack's device"):
        x.__dlpack__(dl_device=(2, 0))
    copied = ng.from_dlpack(x.__dlpack__(copy=True))
    assert copied.tolist() == [0, 1, 2] and copied.data_ptr() != x.data_ptr()


class Exporter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


def test_tensors_are_copied_from_any_exporter():
    x = ng.arange(3)
    found = ng.tensor(Exporter(x), dtype=ng.float32)
    assert found.dtype is ng.float32 and found.tolist() == [0, 1, 2]


def test_dlpack_of_recorded_tensors():
    assert_agree(lambda T: T.zeros(2, requires_grad=True).__dlpack__())
    x = ng.zeros(2)
    assert ng.from_dlpack(x).data_ptr() == x.data_ptr()


# --- memory, views, versions ---------------------------------------------------------------------------------------


def written_through(T, view):
    """A tensor after its view was written to, and the view."""
    x = grid(T, 2, 3, 4)
    v = view(x)
    v.mul_(2)
    v.add_(100)
    return x, v, layout(v), x._version, v._version, v._base is x


VIEWS = {
    "view": lambda x: x.view(6, 4), "view_infer": lambda x: x.view(-1, 2), "reshape": lambda x: x.reshape(4, 6),
    "t": lambda x: x[0].t(), "T": lambda x: x[1].T, "mT": lambda x: x.mT, "transpose": lambda x: x.transpose(0, 2),
    "permute": lambda x: x.permute(1, 2, 0), "movedim": lambda x: x.movedim(0, 2), "swapaxes": lambda x: x.swapaxes(0, 1),
    "select": lambda x: x.select(1, -1), "narrow": lambda x: x.narrow(2, 1, 2), "slice": lambda x: x[:, 1:],
    "steps": lambda x: x[..., ::3], "item_view": lambda x: x[1, 2, 3], "none": lambda x: x[:, None, 1],
    "ellipsis": lambda x: x[..., 2], "unsqueeze": lambda x: x.unsqueeze(-1), "squeeze": lambda x: x[:1].squeeze(0),
    "flatten": lambda x: x.flatten(1), "ravel": lambda x: x.ravel(), "unflatten": lambda x: x.unflatten(2, (2, 2)),
    "diagonal": lambda x: x.diagonal(0, 1, 2), "diagonal_off": lambda x: x.diagonal(-1, 0, 2),
    "as_strided": lambda x: x.as_strided((2, 2), (7, 2), 3), "unbind": lambda x: x.unbind(1)[2],
    "chunk": lambda x: x.chunk(2, 2)[1], "split": lambda x: x.split([1, 2], 1)[1], "tensor_split": lambda x: x.tensor_split(3, 2)[1],
    "expand_one": lambda x: x[:1].expand(1, 3, 4), "view_as": lambda x: x.view_as(x.new_zeros(24)),
    "view_of_view": lambda x: x.t().t() if x.dim() == 2 else x.transpose(0, 1)[1:].permute(2, 1, 0)[::2],
    "unfold": lambda x: x.unfold(2, 2, 2), "swapdims": lambda x: x.swapdims(0, 2), "detach": lambda x: x.detach()[1],
    "data": lambda x: x.data[1], "alias": lambda x: x[:], "hsplit": lambda x: x.hsplit(3)[1], "H": lambda x: x[0].H,
    "squeeze_many": lambda x: x[:, :1, :1].squeeze((1, 2)), "unsafe": lambda x: x.view(2, 12)[:, 3:9].view(2, 2, 3),
}  # fmt: skip


@table(VIEWS)
def test_views_share_memory(call):
    if call is VIEWS["detach"] or call is VIEWS["data"]:  # no views to the recorder
        ours, theirs = both(lambda T: written_through(T, call)[:2])
        assert_same(ours, theirs)
    else:
        assert_same(*both(lambda T: written_through(T, call)))


NOT_VIEWS = {
    "impossible": lambda T: grid(T, 2, 3).t().view(6),
    "impossible_flat": lambda T: grid(T, 2, 3, 4).transpose(1, 2).view(2, 12),
    "wrong_count": lambda T: grid(T, 2, 3).view(4),
    "two_unknown": lambda T: grid(T, 2, 3).view(-1, -1),
    "unknown_of_empty": lambda T: T.zeros(0, 2).view(-1, 0),
    "reshape_copies": lambda T: (lambda x: (x.reshape(6).data_ptr() == x.data_ptr()))(grid(T, 2, 3).t()),
    "contiguous_same": lambda T: (lambda x: (x.contiguous() is x, x.t().contiguous() is x))(grid(T, 2, 3)),
    "contiguous_layout": lambda T: layout(grid(T, 2, 3).t().contiguous()),
    "clone_layout": lambda T: (layout(grid(T, 2, 3).t().clone()), layout(grid(T, 2, 3)[:, ::2].clone())),
    "expand_write": lambda T: T.zeros(1, 3).expand(2, 3).add_(1),
    "expand_wrong": lambda T: T.zeros(2, 3).expand(3, 3),
    "expand_fewer": lambda T: T.zeros(2, 3).expand(3),
    "as_strided_outside": lambda T: T.zeros(4).as_strided((3,), (2,), 1),
    "as_strided_negative_size": lambda T: T.zeros(4).as_strided((2, -1), (1, 1)),
    "as_strided_negative": lambda T: T.zeros(4).as_strided((2,), (-1,), 1),
    "permute_twice": lambda T: T.zeros(2, 3).permute(0, 0),
    "permute_few": lambda T: T.zeros(2, 3).permute(0),
    "t_of_3d": lambda T: T.zeros(2, 3, 4).t(),
    "transpose_outside": lambda T: T.zeros(2, 3).transpose(0, 2),
    "narrow_outside": lambda T: T.zeros(3).narrow(0, 2, 2),
    "narrow_negative": lambda T: T.zeros(3).narrow(0, 0, -1),
    "select_outside": lambda T: T.zeros(3).select(0, 3),
    "unsqueeze_outside": lambda T: T.zeros(3).unsqueeze(2),
    "squeeze_large": lambda T: T.zeros(3, 1).squeeze(0).shape,
    "squeeze_outside": lambda T: T.zeros(3, 1).squeeze(2),
    "flatten_backwards": lambda T: T.zeros(2, 3, 4).flatten(2, 1),
    "unflatten_wrong": lambda T: T.zeros(6).unflatten(0, (4, 2)),
    "split_wrong": lambda T: T.zeros(6).split([2, 3]),
    "split_negative": lambda T: T.zeros(6).split(-1),
    "chunk_none": lambda T: T.zeros(6).chunk(0),
    "unfold_large": lambda T: T.zeros(3).unfold(0, 4, 1),
    "diagonal_same": lambda T: T.zeros(2, 3).diagonal(0, 1, 1),
    "unbind_0d": lambda T: T.tensor(1).unbind(0),
    "movedim_repeated": lambda T: T.zeros(2, 3, 4).movedim((0, 0), (1, 2)),
    "view_bytes": lambda T: (grid(T, 2).view(T.int32), grid(T, 2).view(T.uint8).shape, T.zeros(4, dtype=T.uint8).view(T.float32)),
    "view_bytes_odd": lambda T: T.zeros(3, dtype=T.uint8).view(T.float32),
    "resize": lambda T: (grid(T, 2, 3).resize_(3, 2), grid(T, 2, 3).resize_(2)),
}  # fmt: skip


@table(NOT_VIEWS)
def test_views_that_cannot_be(call):
    assert_agree(call)


SIZES = [(), (1,), (0,), (3,), (2, 3), (1, 4), (3, 0, 2), (2, 1, 3), (2, 3, 4)]


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_layouts_of_random_views(shape):
    """Shapes, strides, offsets and values of views and copies of tensors with gaps between their elements."""

    def call(T):
        found = []
        for seed in range(4):
            x = strided(T, shape, seed)[0]
            results = [x, x.clone(), x.contiguous(), x.reshape(-1), x.unsqueeze(0), x.flatten(), x.squeeze(), x.double(),
                       T.zeros_like(x), T.ones_like(x, dtype=T.int64)]  # fmt: skip
            if x.dim() >= 2:
                results += [x.transpose(0, 1), x.mT, x.flatten(0, 1), x.movedim(0, -1), *x.unbind(1), *x.split(2, 0)]
            for r in results:
                found.append((r, tuple(r.shape), r.is_contiguous()))
                if r is not results[3] and r.numel() > 1:  # strides of tensors without gaps differ in dimensions of 1
                    found.append([s for n, s in zip(r.shape, r.stride()) if n > 1])
        return found

    assert_agree(call)


def test_equality_of_storages():
    x = ng.arange(6.0)
    assert x.untyped_storage().data_ptr() == x[2:].untyped_storage().data_ptr() != x.clone().untyped_storage().data_ptr()
    assert x[2:].storage_offset() == 2 and x[2:].data_ptr() == x.data_ptr() + 8
    assert x.untyped_storage().nbytes() == 24


def test_tensors_move_with_their_storage():
    """Also those that the recorder does not follow: detached ones, ``.data``, Parameters."""
    x = ng.arange(6.0)
    parameter, part = ng.nn.Parameter(x), x[2:4]
    over = [x, part, x.detach(), parameter, x.data, x.view(2, 3).t(), x.view(ng.int32)]
    before = [tensor.tolist() for tensor in over]
    storage = x.untyped_storage()
    storage.resize_(40)
    for smaller in (0, 20, 8):
        storage.resize_(smaller)
        for tensor in over:
            if tensor is not part or smaller < 16:
                with pytest.raises(RuntimeError, match="its data is not allocated yet"):
                    tensor + 1
        assert x.shape == (6,) and isinstance(parameter, ng.nn.Parameter) and part.is_contiguous()
        storage.resize_(24)
        with ng.no_grad():
            parameter.copy_(ng.arange(6.0))
        assert [tensor.tolist() for tensor in over] == before
        assert [type(tensor) for tensor in over[:4]] == [ng.Tensor] * 3 + [ng.nn.Parameter]
    storage.share_memory_()
    part[0] = 7
    assert x.is_shared() and part.storage_offset() == 2 and all(7 in tensor.flatten().tolist() for tensor in over[:6])
    with pytest.raises(RuntimeError, match="not resizable"):
        ng.from_numpy(np.ones(2)).untyped_storage().resize_(4)


def test_the_gradient_as_underscore_grad():
    x = ng.ones(2, requires_grad=True)
    x._grad = ng.full((2,), 3.0)
    (x * x).sum().backward()
    assert x.grad is x._grad and x.grad.tolist() == [5, 5]
    y = x * 2
    y.retain_grad()
    assert y._grad is None
    y.sum().backward()
    assert y._grad is y.grad and y.grad.tolist() == [1, 1]


VERSIONS = {
    "fresh": lambda T: grid(T, 3)._version,
    "written": lambda T: (lambda x: (x.add_(1), x.mul_(2), x.zero_(), x._version))(grid(T, 3))[-1],
    "set": lambda T: (lambda x: (x.__setitem__(0, 1.0), x._version))(grid(T, 3))[-1],
    "through_view": lambda T: (lambda x: (x[0:2].add_(1), x._version))(grid(T, 3))[-1],
    "of_view": lambda T: (lambda x: (x.add_(1), x[1:]._version))(grid(T, 3))[-1],
    "through_detach": lambda T: (lambda x: (x.detach().add_(1), x._version))(grid(T, 3))[-1],
    "clone": lambda T: (lambda x: (x.add_(1), x.clone()._version))(grid(T, 3))[-1],
    "out": lambda T: (lambda x: (T.add(x, 1, out=x), x._version))(grid(T, 3))[-1],
    "copy": lambda T: (lambda x: (x.copy_(T.zeros(3)), x._version))(grid(T, 3))[-1],
    "read": lambda T: (lambda x: (x + 1, x.sum(), x.view(3), x._version))(grid(T, 3))[-1],
}  # fmt: skip


@table(VERSIONS)
def test_version_counters(call):
    assert_agree(call)


def test_data():
    """`.data` shares memory and is not recorded; writes through it pass the version check, but not under anomaly detection."""

    def call(T):
        x = grid(T, 3, requires_grad=True)
        x.data[0] = 5
        x.data.mul_(2)
        y = x.data
        return x.detach(), y.requires_grad, y.is_leaf, y.data_ptr() == x.data_ptr(), (x * 2).data.requires_grad

    assert_agree(call)

    def written(T):
        x = T.ones(3, requires_grad=True)
        y = x * x
        x.data.add_(1)
        y.sum().backward()
        return x.grad

    assert_agree(written)

    def replaced(T):
        x = grid(T, 3, requires_grad=True)
        x.data = T.ones(2, 2)
        (x * 2).sum().backward()
        return x.detach(), x.grad, x.is_leaf

    assert_agree(replaced)
    assert_agree(lambda T: setattr(grid(T, 3), "data", [1, 2]))


# --- copies --------------------------------------------------------------------------------------------------------


def test_deepcopy():
    def call(T):
        x = grid(T, 2, 3, requires_grad=True)
        (x * 2).sum().backward()
        y = copy.deepcopy(x)
        with T.no_grad():
            y.add_(1)
        y.grad.add_(1)
        base = grid(T, 6)
        a, b = copy.deepcopy([base, base[2:4]])
        a.add_(10)
        shallow = copy.copy(base)
        shallow.add_(1)
        kept = copy.copy(x)
        return (x.detach(), x.grad, y.detach(), y.grad, y.requires_grad, y.is_leaf, a, b, layout(copy.deepcopy(grid(T, 2, 3).t())),
                base, kept.requires_grad, kept.is_leaf, kept.grad, kept.data_ptr() == x.data_ptr(), copy.deepcopy(T.tensor(2)), copy.deepcopy(T.zeros(0)))  # fmt: skip

    assert_agree(call)
    assert_agree(lambda T: copy.deepcopy(grid(T, 2, requires_grad=True) * 2))
    assert_agree(lambda T: (lambda x: [v is x for v in copy.deepcopy([x, x])])(grid(T, 2)))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol):
    def call(T):
        tensors = [grid(T, 2, 3, requires_grad=True), grid(T, 2, 3).t(), T.tensor(2), T.tensor([True]), T.zeros(0, 2),
                   grid(T, 2, requires_grad=True) * 2]  # fmt: skip
        found = pickle.loads(pickle.dumps(tensors, protocol))
        return [(t.detach(), t.requires_grad, t.is_leaf, type(t) is T.Tensor) for t in found]

    assert_agree(call)


def test_saved_and_loaded():
    file = io.BytesIO()
    x = ng.arange(6.0).view(2, 3)
    ng.save({"x": x, "row": x[1], "t": x.t()}, file)
    file.seek(0)
    found = ng.load(file)
    for name, expected in (("x", x), ("row", x[1]), ("t", x.t())):
        assert found[name].tolist() == expected.tolist()


# --- the recorder's side -------------------------------------------------------------------------------------------

RECORDED = {
    "set_on_result": lambda T: setattr(grid(T, 2, requires_grad=True) * 2, "requires_grad", False),
    "set_on_integer": lambda T: grid(T, 2).long().requires_grad_(),
    "grad_of_wrong_shape": lambda T: setattr(grid(T, 2, requires_grad=True), "grad", T.zeros(3)),
    "grad_of_wrong_dtype": lambda T: setattr(grid(T, 2, requires_grad=True), "grad", T.zeros(2, dtype=T.float64)),
    "grad_of_wrong_type": lambda T: setattr(grid(T, 2, requires_grad=True), "grad", [0, 0]),
    "grad_assigned": lambda T: (lambda x: (setattr(x, "grad", T.ones(2)), x.grad))(grid(T, 2))[1],
    "grad_deleted": lambda T: (lambda x: (x.sum().backward(), x.__delattr__("grad"), x.grad))(grid(T, 2, requires_grad=True))[-1],
    "backward_of_many": lambda T: (grid(T, 2, requires_grad=True) * 2).backward(),
    "backward_of_constant": lambda T: grid(T, 2).sum().backward(),
    "retain_grad_of_constant": lambda T: grid(T, 2).retain_grad(),
    "retain_grad": lambda T: (lambda x, y: (y.retain_grad(), y.sum().backward(), y.grad, y.retains_grad))(
        grid(T, 2), grid(T, 2, requires_grad=True) * 2)[2:],
    "hook_of_constant": lambda T: grid(T, 2).register_hook(print),
    "in_place_on_leaf": lambda T: grid(T, 2, requires_grad=True).add_(1),
    "in_place_on_view_of_leaf": lambda T: grid(T, 2, requires_grad=True)[0].add_(1),
    "set_item_of_leaf": lambda T: grid(T, 2, requires_grad=True).__setitem__(0, 1.0),
    "detach_view_in_place": lambda T: grid(T, 2)[:1].detach_(),
    "detach_in_place": lambda T: (lambda x: (x.requires_grad, x.is_leaf))((grid(T, 2, requires_grad=True) * 2).detach_()),
    "views_of_recorded": lambda T: (lambda x, y: (y[0].requires_grad, y[0].is_leaf, x.detach().is_leaf, y.view(2)._base is y))(
        grid(T, 2, requires_grad=True), grid(T, 2, requires_grad=True) * 2),
    "no_grad_view": lambda T: viewed_without_recording(T),
}  # fmt: skip


def viewed_without_recording(T):
    x = grid(T, 3, requires_grad=True)
    with T.no_grad():
        y = x[1:]
        y.add_(1)
    (x * x).sum().backward()
    return x.grad, x.detach()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@table(RECORDED)
def test_recorded(call):
    assert_agree(call)


# --- every combination of a shape and a layout through the protocols -------------------------------------------------


@pytest.mark.parametrize("shape,kind", list(itertools.product(SIZES, KINDS)), ids=str)
def test_protocols_of_every_shape_and_dtype(shape, kind):
    def call(T):
        x = grid(T, *shape).to(getattr(T, kind))
        return (x.tolist(), x.numpy().tolist(), repr(x), pickle.loads(pickle.dumps(x)), copy.deepcopy(x), x.clone(),
                x.t() if x.dim() < 3 else x.mT, x.nbytes, x == x, [tuple(r.shape) for r in x] if x.dim() else 0,
                x.numpy().dtype.name, outcome(lambda T: x.item(), T), outcome(lambda T: bool(x), T))  # fmt: skip

    assert_agree(call)


def test_what_is_no_number_is_refused():
    for data in ("1", ["a"], [1, "a"], np.array(["a"]), [object()]):
        with pytest.raises(ValueError if type(data) is list and "a" in data else TypeError):
            ng.tensor(data)


def test_a_wider_dtype_keeps_the_digits_of_python_numbers():
    for data in (1.01, [1.01], [[1.01, 2.0]], (1e30,)):
        wide = ng.tensor(data, dtype=ng.float64)
        assert wide.tolist() == np.array(data).tolist() and ng.as_tensor(data, dtype=ng.float64).tolist() == wide.tolist()
        assert ng.tensor(data).dtype is ng.float32
    assert ng.tensor([16777217.0], dtype=ng.int64).tolist() == [16777217]
    assert ng.tensor([]).dtype is ng.float32 and ng.tensor([], dtype=ng.int64).dtype is ng.int64


# --- asarray ---------------------------------------------------------------------------------------------------------

SOURCES = {
    "tensor": lambda x: x,
    "ndarray": lambda x: x.numpy(),
    "capsule": lambda x: ng.utils.dlpack.to_dlpack(x),
    "buffer": lambda x: memoryview(x.numpy()),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("dtype", ["float32", "int16", "complex64"])
def test_asarray_shares_memory_where_it_can(source, dtype):
    dtype = getattr(ng, dtype)
    x = ng.arange(5).to(dtype)
    for forced in (None, False):
        assert ng.asarray(source(x), dtype=dtype, copy=forced).data_ptr() == x.data_ptr()
    copied = ng.asarray(source(x), dtype=dtype, copy=True)
    assert copied.data_ptr() != x.data_ptr() and copied.tolist() == x.tolist()


def test_asarray_has_history_on_request_only():
    x = ng.ones(3, requires_grad=True) * 2
    assert ng.asarray(x).grad_fn is None and ng.asarray(x, copy=True).grad_fn is None
    assert ng.asarray(x, requires_grad=True) is x and ng.asarray(x, requires_grad=True, copy=True).grad_fn is not None
    with pytest.raises(ValueError, match="can't alias arbitrary sequence"):
        ng.asarray([1.0], copy=False)
    with pytest.raises(ValueError, match="with dtype 'torch.float32' into dtype 'torch.float64'"):
        ng.asarray(x, dtype=ng.float64, copy=False)
    with pytest.raises(ValueError, match="does not implement Python buffer protocol"):
        ng.frombuffer([1, 2], dtype=ng.int32)


# --- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [
    lambda T, out: T.linspace(0, 10, 6, out=out), lambda T, out: T.logspace(0, 2, 3, out=out),
    lambda T, out: T.arange(4, out=out), lambda T, out: T.arange(0.0, 3.0, out=out),
], ids=["linspace", "logspace", "arange", "arange_float"])  # fmt: skip
@pytest.mark.parametrize("dtype", ["int16", "float64", "complex64"])
def test_ranges_take_the_dtype_of_out(call, dtype):
    out = ng.empty(0, dtype=getattr(ng, dtype))
    assert call(ng, out) is out and out.dtype is getattr(ng, dtype)
    assert out.to(ng.complex64).tolist() == ng.asarray(call(ng, None)).to(ng.complex64).tolist()


def test_complex_ranges():
    assert ng.linspace(0, 1 + 2j, 3).tolist() == [0, 0.5 + 1j, 1 + 2j]
    assert ng.linspace(1j, 0, 1, dtype=ng.complex128).tolist() == [1j]
    with pytest.raises(RuntimeError, match="inferred dtype"):
        ng.linspace(0, 1j, 3, dtype=ng.float32)


def test_range_warns_each_time():
    for _ in range(2):
        with pytest.warns(UserWarning, match="torch.range is deprecated"):
            assert ng.range(1, 3).tolist() == [1, 2, 3]
