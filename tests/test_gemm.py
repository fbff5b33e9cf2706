"""Matrix products on flat arrays against NumPy in float64 (floats) and in wrapping int64 (integers)."""

import numpy as np
import pytest

from numgrad import config
from numgrad.kernels import blas, gemm

TOLERANCE = {"float32": 2e-5, "float64": 1e-13}  # times the sum of the products' magnitudes
SHAPES = [(1, 4, 32), (2, 3, 4), (8, 16, 32), (33, 7, 1), (1, 100, 90), (90, 100, 1), (1, 700, 1)]
SHAPES += [(40, 1, 50), (70, 90, 65)]
EMPTY = [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 0, 1), (0, 0, 0)]


def values(rng, shape, dtype):
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 100, shape).astype(dtype)


def matrix(rng, shape, dtype, transposed=False):
    """An array of ``shape`` whose last two dimensions are stored exchanged if ``transposed``."""
    if not transposed:
        return values(rng, shape, dtype)
    return np.swapaxes(values(rng, (*shape[:-2], shape[-1], shape[-2]), dtype), -1, -2)


def strides(array):
    return tuple(stride // array.itemsize for stride in array.strides)


def flat(array):
    """The memory from the first element of a view on, as a flat array."""
    root = array
    while root.base is not None:
        root = root.base
    start = (array.__array_interface__["data"][0] - root.__array_interface__["data"][0]) // array.itemsize
    return np.ravel(root, order="K")[start:]


def multiply(a, b, out, bias=None, alpha=1.0, beta=0.0):
    m, n, k = a.shape[-2], b.shape[-1], a.shape[-1]
    shape = (*out.shape[:-2], m, k, n)
    gemm.gemm(flat(a), flat(b), flat(out), shape, strides(a), strides(b), strides(out), bias, alpha, beta)


def check(a, b, bias=None, alpha=1.0, beta=0.0, out=None):
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
    shape = (*batch, a.shape[-2], b.shape[-1])
    floating = a.dtype.kind == "f"
    wide = np.float64 if floating else np.int64
    if out is None:
        out = np.full(shape, np.nan if floating and beta == 0 else 3, a.dtype)
    expected = wide(alpha) * (a.astype(wide) @ b.astype(wide))
    magnitude = np.abs(a.astype(wide)) @ np.abs(b.astype(wide)) + 1
    if beta != 0:
        expected = expected + wide(beta) * out.astype(wide)
    if bias is not None:
        expected = expected + bias.astype(wide)
    multiply(a, b, out, bias, alpha, beta)
    if floating:
        assert np.all(np.abs(out - expected) <= TOLERANCE[a.dtype.name] * 4 * magnitude)
    else:
        np.testing.assert_array_equal(out, expected.astype(a.dtype))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int16", "int8", "uint8"])
def test_shapes_and_transposes(rng, dtype, layout):
    for m, k, n in SHAPES + EMPTY:
        a = matrix(rng, (m, k), dtype, layout[0] == "T")
        b = matrix(rng, (k, n), dtype, layout[1] == "T")
        bias = values(rng, n, dtype)
        check(a, b)
        check(a, b, bias)
        check(a, b, beta=1.0)
        check(a, b, bias, alpha=2.0, beta=3.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scales(rng, dtype):
    for m, k, n in SHAPES:
        a, b, bias = matrix(rng, (m, k), dtype), matrix(rng, (k, n), dtype, True), values(rng, n, dtype)
        check(a, b, alpha=-0.25, beta=0.5)
        check(a, b, bias, alpha=0.0)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_empty_sum_is_zero_or_the_bias(dtype):
    a, b, out = np.ones((3, 0), dtype), np.ones((0, 2), dtype), np.full((3, 2), 7, dtype)
    multiply(a, b, out, beta=2.0)
    assert (out == 14).all()
    multiply(a, b, out, bias=np.array([1, 2], dtype))
    assert (out == [1, 2]).all()
    multiply(a, b, out)
    assert (out == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_rows_with_gaps(rng, dtype):
    for m, k, n in [(6, 5, 4), (30, 40, 50), (1, 60, 30), (30, 60, 1), (1, 900, 1)]:
        a = values(rng, (m, k + 3), dtype)[:, 2 : k + 2]
        b = values(rng, (n, k + 7), dtype)[:, 1 : k + 1].T
        out = np.zeros((m, n + 5), dtype)
        check(a, b, out=out[:, 3 : n + 3], beta=1.0)
        assert not out[:, :3].any()
        assert not out[:, n + 3 :].any()


def test_vectors_may_have_any_stride(rng):
    check(values(rng, (50, 70), "float32"), values(rng, (70, 3), "float32")[:, 1:2])
    check(values(rng, (1, 140), "float32")[:, ::2], values(rng, (70, 60), "float32"))
    check(values(rng, (1, 1400), "float64")[:, ::2], values(rng, (700, 4), "float64")[:, 2:3])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("m, k, n", [(3, 4, 5), (20, 30, 10), (1, 30, 40), (40, 30, 1)])
def test_batches(rng, dtype, m, k, n):
    a, b = values(rng, (2, 3, m, k), dtype), values(rng, (2, 3, k, n), dtype)
    check(a, b)
    check(a, b[0, 0], bias=values(rng, n, dtype))  # one b for all: rows of one product
    check(a[1, 2], b)
    check(a[:, :1], b[:1])  # broadcast against each other
    check(np.swapaxes(values(rng, (2, m, 3, k), dtype), 1, 2), b, beta=1.0)  # heads beside the features
    check(a, np.swapaxes(values(rng, (3, 2, k, n), dtype), 0, 1))
    check(matrix(rng, (2, 3, m, k), dtype, True), matrix(rng, (k, n), dtype, True))
    check(a[:0], b[:0])


def test_nan_and_inf_survive():
    for m, k, n in [(2, 3, 4), (30, 30, 30), (1, 60, 30), (30, 60, 1)]:
        a, b = np.zeros((m, k), np.float32), np.ones((k, n), np.float32)
        b[k // 2, 0] = np.inf
        out = np.ones((m, n), np.float32)
        multiply(a, b, out)
        assert np.isnan(out[:, 0]).all()
        assert (out[:, 1:] == 0).all()


@pytest.mark.parametrize("shape", [(256, 256, 256), (32, 784, 256), (1, 3000, 2000), (3000, 2000, 1), (3000, 40, 50)])
def test_results_do_not_depend_on_threads(rng, monkeypatch, shape):
    m, k, n = shape
    a, b = values(rng, (m, k), "float32"), matrix(rng, (k, n), "float32", True)
    results = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(config, "threads", threads)
        results.append(np.full((m, n), np.nan, np.float32))
        multiply(a, b, results[-1])
    assert gemm.plan(np.float32, shape, strides(a), strides(b), (n, 1)).units > 1
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    check(a, b)


def test_threads_split_batches(rng, monkeypatch):
    monkeypatch.setattr(config, "threads", 2)
    check(values(rng, (5, 70, 80), "float64"), matrix(rng, (5, 80, 90), "float64", True))


def test_panels_are_worth_a_call():
    shapes = [(1, 1024, 1024, 1024), (1, 60000, 784, 10), (1, 10, 784, 60000), (3, 300, 500, 700), (1, 1, 1, 1)]
    for count, m, k, n in shapes:
        rows, columns = gemm._panels(count, m, n, k)
        assert 1 <= rows <= m
        assert 1 <= columns <= n
        assert rows * columns * k >= gemm.UNIT_WORK // 2 or (rows, columns) == (m, n)


def test_a_matrix_with_gaps_both_ways_is_refused():
    a = np.zeros((40, 80), np.float32)[:, ::2]
    assert not gemm.readable(40, 40, *strides(a))
    assert gemm.readable(40, 1, 80, 2)
    with pytest.raises(ValueError, match=r"expected a of shape \(40, 40\) to be contiguous.*\(80, 2\); make it"):
        multiply(a, np.zeros((40, 40), np.float32), np.zeros((40, 40), np.float32))
    with pytest.raises(ValueError, match="rows of out to be contiguous"):
        multiply(a[:, ::2], a[:20, :5], np.zeros((5, 40), np.float32).T)


def test_info_names_the_library():
    info = blas.info()
    assert info["library"]
    assert info["integer_bits"] == blas.load()
    assert info["integer_bits"] in (32, 64)


def test_an_unknown_library_is_refused():
    with pytest.raises(ValueError, match="NUMGRAD_BLAS: expected one of .*'mkl'.*got 'atlas'"):
        blas._find("atlas")
