"""Sums, inner products and layer norms of float32 have PyTorch's bits: they add in the same order."""

import numpy as np
import pytest

import numgrad as ng
from numgrad.kernels.jit import PYTHON_MODE
from numgrad.kernels.vectors import VECTOR_BYTES

torch = pytest.importorskip("torch")
COUNTS = [1, 3, 5, 7, 8, 9, 15, 16, 31, 32, 33, 63, 100, 511, 513, 4096, 8192 + 17]
if not PYTHON_MODE:
    COUNTS += [66000, 300003]


@pytest.fixture(autouse=True)
def one_thread():
    threads, own = torch.get_num_threads(), ng.get_num_threads()
    torch.set_num_threads(1)
    ng.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    ng.set_num_threads(own)


@pytest.fixture(scope="module", autouse=True)
def same_vectors():
    wide = torch.backends.cpu.get_cpu_capability()
    if {"AVX2": 32, "AVX512": 64}.get(wide) != VECTOR_BYTES:
        pytest.skip(f"PyTorch's kernels here are of {wide}, which has no order of additions that is known")


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("count", COUNTS)
def test_sum_and_mean_of_a_vector(count):
    rows = numbers(20, count)
    for row in rows:
        ours, theirs = ng.tensor(row), torch.tensor(row)
        assert ours.sum().item() == theirs.sum().item()
        assert ours.mean().item() == theirs.mean().item()


@pytest.mark.parametrize("count", [1, 3, 4, 7, 8, 12, 15, 16, 27, 31, 100, 511])
def test_inner_product_adds_in_four_vectors_of_four(count):
    a, b = numbers(count), numbers(count + 1)[1:]
    sums = np.zeros(16, np.float32)
    whole, products = count - count % 16, a * b
    for first in range(0, whole, 16):
        sums += products[first : first + 16]
    for size in (8, 4):
        if count - whole >= size:
            sums[:size] += products[whole : whole + size]
            whole += size
    for product in products[whole:]:
        sums[0] += product
    lanes = sums[:4] + sums[4:8] + sums[8:12] + sums[12:]
    assert ng.tensor(a).dot(ng.tensor(b)).item() == (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


def test_sum_of_rows():
    for count in (3, 8, 50, 1000):
        rows = numbers(40, count)
        np.testing.assert_array_equal(ng.tensor(rows).sum(1).numpy(), torch.tensor(rows).sum(1).numpy())


def test_not_finite_numbers_stay_what_they_are():
    for value in (float("nan"), float("inf"), -float("inf")):
        for at in (0, 20, 39):
            x = ng.zeros(40)
            x[at] = value
            np.testing.assert_equal(x.sum().item(), value)
    assert ng.zeros(0).sum().item() == 0
    assert ng.zeros(3, 0).sum(1).tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape, affine", [
    ((20, 1), True), ((20, 5), True), ((20, 8), False), ((20, 13), False), ((20, 13), True), ((20, 131), True),
    ((9, 384), True), ((9, 1003), False), ((5, 4096), True),
])  # fmt: skip
def test_layer_norm_and_its_gradient(shape, affine):
    x, g = numbers(*shape) + np.float32(0.5), numbers(*shape)[::-1].copy()
    found = []
    for T in (ng, torch):
        inputs = [T.tensor(x)]
        if affine:
            inputs += [T.tensor(numbers(shape[1])), T.tensor(numbers(1, shape[1])[0] * 2)]
        for tensor in inputs:
            tensor.requires_grad_()
        y = T.nn.functional.layer_norm(inputs[0], shape[1:], *inputs[1:])
        y.backward(T.tensor(g))
        found.append([y.detach().numpy(), *(tensor.grad.numpy() for tensor in inputs)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_large_offsets_do_not_spoil_the_variance():
    x = ng.tensor(numbers(3, 700) + np.float32(1e4))
    y = ng.nn.functional.layer_norm(x, (700,))
    exact = x.numpy().astype(np.float64)
    exact = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y.numpy(), exact, atol=2e-3)


def test_layer_norm_in_float64():
    x = np.random.default_rng(0).standard_normal((4, 77))
    ours = ng.nn.functional.layer_norm(ng.tensor(x), (77,))
    np.testing.assert_allclose(ours.numpy(), torch.nn.functional.layer_norm(torch.tensor(x), (77,)).numpy(), rtol=1e-12, atol=1e-12)
