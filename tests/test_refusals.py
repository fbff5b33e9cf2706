"""What PyTorch refuses is refused here, with an error of the same type that has the same words in it."""

import re
import types

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")


def shown_twice(T):
    return T.ones(1).expand(4)


def shared(T):
    x = T.ones(5)
    x.numpy()
    return x.resize_(9)


# name: the call, and what both messages match
REFUSED = {
    "a product added to another dtype": (lambda T: T.addmm(T.ones(2, 2, dtype=T.int64), T.ones(2, 2), T.ones(2, 2)), "same dtype|type"),
    "a factor that float32 does not hold": (lambda T: T.addbmm(T.ones(2, 2), T.ones(1, 2, 2), T.ones(1, 2, 2), alpha=1e300), "without overflow"),
    "an outer product added to more dimensions": (lambda T: T.addr(T.ones(1, 1, 1), T.ones(1), T.ones(1), beta=0), "(?i)expand|dimensions|size"),
    "a batch of products added to another batch": (lambda T: T.baddbmm(T.ones(0, 2, 2), T.ones(3, 2, 2), T.ones(3, 2, 2), beta=0), "must match"),
    "distances of no order": (lambda T: T.cdist(T.ones(2, 2), T.ones(2, 2), float("nan")), "only supports non-negative p"),
    "closeness without a tolerance": (lambda T: T.allclose(T.ones(2), T.ones(2), rtol=float("nan")), "must be greater than or equal to zero"),
    "a range from a vector": (lambda T: T.linspace(T.ones(1), 2, 3), "only supports 0-dimensional start and end tensors"),
    "gamma functions of all dimensions": (lambda T: T.mvlgamma(T.ones(1000), 1 << 40), "can't allocate memory|overflow"),
    **{
        f"{name} of a tensor and a number": (lambda T, name=name: getattr(T, name)(T.ones(2), 2.0), "must be Tensor|invalid combination")
        for name in ("logaddexp", "logaddexp2", "nextafter", "igamma", "igammac", "hypot", "maximum", "atan2", "gcd")
    },
    "a number times a product": (lambda T: T.addcmul(T.ones(2), 2.0, T.ones(2)), "must be Tensor"),
    "a number over a tensor": (lambda T: T.addcdiv(1.0, T.ones(2), T.ones(2)), "must be Tensor"),
    "convolution of two dtypes": (lambda T: T.nn.functional.conv2d(T.ones(1, 1, 3, 3), T.ones(1, 1, 2, 2, dtype=T.float64)), "(?=.*(Float|float))(?=.*(Double|double))"),
    "diff before another shape": (lambda T: T.diff(T.ones(2, 3), prepend=T.ones(3, 2)), "expects the shape of tensor to prepend or append to match"),
    "legacy constructor elsewhere": (lambda T: T.FloatTensor(2, device="cuda"), "legacy constructor expects device type: cpu"),
    "lists of several lengths": (lambda T: T.tensor([[1], [2, 3]]), "expected sequence of length"),
    "lists of several arrays": (lambda T: T.tensor([np.ones((3, 3)), np.ones((3, 0))]), "expected sequence of length"),
    "put into an expanded tensor": (lambda T: shown_twice(T).put_(T.tensor([0]), T.ones(1)), "unsupported operation"),
    "put from itself": (lambda T: (x := T.ones(3)).put_(T.tensor([0]), x[:1]), "unsupported operation"),
    "real part of a complex result": (lambda T: T.abs(T.ones(2), out=T.ones(2, dtype=T.float64)), "Found dtype Double but expected Float"),
    "resizing what NumPy sees": (shared, "resize storage that is not resizable"),
    "normal numbers of two shapes": (lambda T: T.normal(T.ones(120), T.ones(2, 3, 4, 5)), r"size of tensor a \(120\) must match"),
    "Cauchy numbers without width": (lambda T: T.ones(2).cauchy_(0, 0), "cauchy_ expects sigma > 0.0, but found sigma=0"),
    "exponential numbers without rate": (lambda T: T.ones(2).exponential_(0), "exponential_ expects lambda > 0.0, but found lambda=0"),
    "sure trials": (lambda T: T.ones(2).geometric_(2), r"geometric_ expects p to be in \(0, 1\), but got p=2"),
    "identity of negative size": (lambda T: T.eye(2, -1), "m must be greater or equal to 0, got -1"),
    "order of other dimensions": (lambda T: T.empty_permuted((2,), (0, 1)), "Number of dimensions in size does not match the length"),
    "sum to a larger size": (lambda T: T.ones(2).sum_to_size(3), "is not expandable to size"),
    "cross products along a longer dimension": (lambda T: T.linalg.cross(T.ones(2, 4), T.ones(2, 4), dim=-1), "inputs dimension -1 must have length 3"),
    "several dimensions to one place": (lambda T: T.ones(2, 3).movedim((0, -1), (0,)), r"\[0, -1\] dims"),
    "a dimension moved twice": (lambda T: T.ones(2, 3).movedim((0, -2), (0, 1)), r"repeated dim in `source` \(\[0, -2\]\)"),
    "joining other numbers of dimensions": (lambda T: T.cat([T.ones(2), T.ones(2, 2)]), "Tensors must have same number of dimensions"),
    "stacking nothing": (lambda T: T.vstack([]), "expects a non-empty TensorList"),
    "adding rows of another number of dimensions": (lambda T: T.ones(3, 2).index_add(0, T.tensor([0, 1]), T.ones(2)), "source tensor shape must match self tensor shape"),
    "gathering beside a dimension": (lambda T: T.ones(1, 1).gather(1, T.zeros(2, 2, dtype=T.int64)), "Size does not match at dimension 0"),
    "mean of integers": (lambda T: T.ones(2, dtype=T.int64).mean(), "must be either a floating point or complex dtype. Got: Long"),
    "half a step": (lambda T: T.linspace(0, 3, 1.5), r"received an invalid combination of arguments - got \(int, int, float"),
    "negative border of a pool": (lambda T: T.nn.functional.max_pool1d(T.ones(1, 1, 4), 2, padding=-1), "pad(ding)? must be non-negative"),
    "negative border of a convolution": (lambda T: T.nn.functional.conv1d(T.ones(1, 1, 4), T.ones(1, 2, 2), padding=-1), "negative padding is not supported"),
    "weights without channels": (lambda T: T.nn.functional.conv1d(T.ones(1, 1, 4), T.ones(1, 2)), "weight should have at least three dimensions"),
    "views beyond the memory": (lambda T: T.ones(4, 4).as_strided((2, 2), (200, 200)), "itemsize 4 requiring a storage size of 1604 are out of bounds for storage of size 64"),
    "weights in two dimensions": (lambda T: T.cov(T.ones(2, 5), fweights=T.ones(5, 5, dtype=T.int64)), "expected fweights to have one or fewer dimensions"),
    "integers as chances": (lambda T: T.multinomial(T.ones(2, dtype=T.int64), 1), "multinomial only supports floating-point dtypes for input, got: Long"),
    "complex numbers of integers": (lambda T: T.complex(T.ones(2), T.ones(2, dtype=T.int32)), "Half, Float or Double tensors but got Float and Int"),
    "a class of one dtype's tensors": (lambda T: types.new_class("Mine", (T.FloatTensor,)), "type 'torch.FloatTensor' is not an acceptable base type"),
    "samples of other batches": (lambda T: T.grid_sampler(T.ones(2, 1, 2, 2), T.ones(1, 2, 2, 2), 0, 0, True), "expected grid and input to have same batch size"),
    "sizes with a point": (lambda T: T.nn.functional.layer_norm(T.ones(2, 4), (4.0,)), "argument 'normalized_shape'.* must be tuple of ints"),
    "a size that is no sequence": (lambda T: T.nn.functional.layer_norm(T.ones(2, 4), 4), "argument 'normalized_shape'.* must be tuple of ints"),
    "a claim that does not hold": (lambda T: T._assert_async(T.tensor([0])), "Expected Tensor with single nonzero value, but got zero"),
    "a claim of several numbers": (lambda T: T._assert_async(T.tensor([1, 1])), "Boolean value of Tensor with more than one value is ambiguous"),
    "elements that become text": (lambda T: T.ones(1, dtype=T.int64).apply_(lambda k: "2"), "str|apply_"),
    "mapping with a recorded tensor": (lambda T: T.ones(2).map2_(T.ones(2), T.ones(2, requires_grad=True), lambda a, b, c: a), "requires grad"),
    "adding more dimensions than there are": (lambda T: T.ones(()).index_add(0, T.tensor([0]), T.ones(1, 1, 1)), "source tensor shape must match self tensor shape"),
    "a mask of numbers": (lambda T: T.ones(2).masked_scatter(T.ones(2), T.ones(2)), "masked_scatter_ only supports boolean masks"),
}  # fmt: skip


@pytest.mark.parametrize("call, words", REFUSED.values(), ids=REFUSED)
def test_refused(call, words):
    ng.nn.functional.layer_norm(ng.ones(2, 4), (4,))  # what is like a refused call has been made
    with pytest.raises(Exception, match=words) as theirs:
        call(torch)
    with pytest.raises(theirs.type) as ours:
        call(ng)
    assert re.search(words, str(ours.value))


def test_absolute_values_fit_complex_results():
    z, out = ng.tensor([3 + 4j, -1j]), ng.zeros(2, dtype=ng.complex64)
    assert ng.abs(z, out=out) is out and out.tolist() == [5, 1]


def test_ranges_warn_of_the_size_they_computed():
    for T in (ng, torch):
        out = T.zeros(1, 49)
        with pytest.warns(UserWarning, match="The out tensor will be resized"):
            T.arange(-1, 1, 2.0 / 49, out=out)
        assert out.shape == (50,)


def test_limits_are_equal_where_their_numbers_are():
    assert ng.finfo() == ng.finfo(ng.float32) != ng.finfo(ng.float64)
    assert len({ng.iinfo(ng.int8), ng.iinfo(ng.int8), ng.iinfo(ng.uint8)}) == 2


@pytest.mark.filterwarnings("ignore:__array_wrap__")
def test_comparisons_of_numpy_are_bytes():
    for T in (ng, torch):
        found = np.greater(T.tensor([1.0, 3.0]), 2)
        assert found.dtype is T.uint8 and found.tolist() == [0, 1]


def test_modes_of_sampling_by_number():
    def found(T):
        image, grid = T.arange(8.0).reshape(1, 1, 2, 4), T.linspace(-1.2, 1.2, 12).reshape(1, 2, 3, 2)
        return [T.grid_sampler_2d(image, grid, mode, padding, False).flatten().tolist() for mode in range(3) for padding in range(3)]

    np.testing.assert_allclose(found(ng), found(torch), 1e-5, 1e-5)
    with pytest.raises(RuntimeError, match="grid_sampler_3d.*expected 5D input"):
        ng.grid_sampler_3d(ng.ones(1, 1, 2, 2), ng.ones(1, 2, 2, 2), 0, 0, True)


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_classes_of_tensors_and_storages():
    for kind in ng._tensor_classes:
        assert kind.is_cuda == ("cuda" in kind.__module__) and not kind.is_sparse and not kind.is_xpu
    assert ng.FloatTensor in ng._tensor_classes and ng.LongStorage in ng._storage_classes
    for d in (ng.bool, ng.int16, ng.bfloat16, ng.complex128):
        assert ng.zeros(2, dtype=d).storage_type().__name__ == torch.zeros(2, dtype=getattr(torch, str(d)[6:])).storage_type().__name__
        assert ng._utils._element_size(d) == d.itemsize


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_conversions_by_class_and_by_size():
    for T in (ng, torch):
        assert T.ones(2, dtype=T.int32).type(T.Tensor).dtype is T.float32
        assert T.ones(2).new(size=(3, 4)).shape == (3, 4)
        assert T.FloatStorage([1.0, 2.0]).complex_double().tolist() == [1, 2]
        T._assert_async(T.tensor(0.1))


@pytest.mark.parametrize("dtype", [ng.float32, ng.float16, ng.int64])
def test_conjugate_transposes_are_of_matrices(dtype):
    for shape, ask in (
        ((2,), lambda t: t.H), ((2, 3, 4), lambda t: t.H), ((2,), lambda t: t.mT), ((2,), lambda t: t.mH), ((2,), lambda t: t.adjoint()),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="only supported on matrices"):
            ask(ng.zeros(shape, dtype=dtype))


@pytest.mark.parametrize("dtype", [ng.float32, ng.float16])
def test_places_are_written_as_int64(dtype):
    out = ng.full((1,), 7.0)
    with pytest.raises(RuntimeError, match="scalar type Long"):
        ng.nonzero(ng.ones(2, dtype=dtype), out=out)
    assert out.tolist() == [7.0]


def test_neighbours_beyond_the_floats_are_not_close():
    big = ng.tensor(2**53)
    assert not ng.isclose(big, big + 1, rtol=0, atol=0) and ng.isclose(big, big, rtol=0, atol=0) and ng.isclose(big, big + 1)


def test_metadata_that_a_program_expects():
    t = ng.ones(2, 3)
    ng._assert_tensor_metadata(t, [2, 3], (3, 1), ng.float32, device="cpu", layout=ng.strided)
    ng._assert_tensor_metadata(t)
    for name, wrong in {"size": [3], "stride": [1, 3], "dtype": ng.int32, "device": "meta"}.items():
        with pytest.raises(RuntimeError, match=f"Tensor {name}.* mismatch! Expected"):
            ng._assert_tensor_metadata(t, **{name: wrong})
