"""Eigenvalues of general matrices, and the ops on complex tensors that are made of real ones."""

import numpy as np
import pytest

import numgrad as ng

SQUARES = [(1, 1), (3, 3), (2, 4, 4), (0, 0)]


def numbers(*shape, kind="complex128", seed=0):
    random = np.random.RandomState(seed)
    values = random.randn(*shape)
    return (values + 1j * random.randn(*shape) if kind.startswith("complex") else values).astype(kind)


@pytest.mark.parametrize("kind", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", SQUARES, ids=str)
def test_eigenvectors_are_only_scaled(shape, kind):
    A = ng.tensor(numbers(*shape, kind=kind))
    values, vectors = ng.linalg.eig(A)
    assert values.dtype is vectors.dtype is (ng.complex64 if kind.endswith(("t32", "x64")) else ng.complex128)
    found = A.to(vectors.dtype) @ vectors
    np.testing.assert_allclose(found.numpy(), (vectors * values.unsqueeze(-2)).numpy(), atol=1e-4 if kind in ("float32", "complex64") else 1e-12)
    again = ng.linalg.eigvals(A)
    np.testing.assert_allclose(np.sort_complex(again.numpy()), np.sort_complex(values.numpy()), atol=1e-4)


def test_eig_refuses_what_has_no_eigenvalues():
    for bad in (ng.ones(2, 3), ng.ones(3), ng.full((2, 2), float("nan")), ng.ones(2, 2, dtype=ng.int64)):
        with pytest.raises(RuntimeError):
            ng.linalg.eig(bad)


@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_gradients_of_eigenvalues_and_vectors(kind):
    A = ng.tensor(numbers(3, 3, kind=kind)).requires_grad_()
    assert ng.autograd.gradcheck(lambda A: ng.linalg.eigvals(A).abs(), (A,))
    assert ng.autograd.gradcheck(lambda A: ng.linalg.eig(A).eigenvectors.abs(), (A,))
    assert ng.autograd.gradgradcheck(lambda A: ng.linalg.eigvals(A).abs(), (A,))


def test_a_loss_that_depends_on_a_phase_has_no_gradient():
    A = ng.tensor(numbers(3, 3)).requires_grad_()
    with pytest.raises(RuntimeError, match="phi"):
        (ng.linalg.eig(A).eigenvectors * ng.tensor(numbers(3, 3, seed=1))).real.sum().backward()


CALLS = {
    "logical_and": lambda T, x, y: T.logical_and(x, y),
    "logical_or": lambda T, x, y: T.logical_or(x, y),
    "logical_xor": lambda T, x, y: T.logical_xor(x, y),
    "logical_not": lambda T, x, y: T.logical_not(x),
    "cov": lambda T, x, y: T.cov(x),
    "cov weighted": lambda T, x, y: T.cov(x, fweights=T.tensor([1, 2, 3])),
    "cov of a row": lambda T, x, y: T.cov(x[0]),
    "corrcoef": lambda T, x, y: T.corrcoef(x),
    "index_fill": lambda T, x, y: x.index_fill(1, T.tensor([0, 2]), 1 + 2j),
    "index_fill_": lambda T, x, y: (x * 1).index_fill_(0, T.tensor([1]), 2j),
    "logaddexp": lambda T, x, y: T.logaddexp(3 * x, y),
    "logsumexp": lambda T, x, y: T.logsumexp(x, (0, 1), True) + T.logsumexp(x, 1),
    "logcumsumexp": lambda T, x, y: T.logcumsumexp(x, 1),
    "sinc": lambda T, x, y: T.sinc(x) + T.sinc(y * 0.1),
    "nan_to_num": lambda T, x, y: T.nan_to_num(T.log(x.detach()), posinf=2.0, neginf=5.0),
    "renorm": lambda T, x, y: T.renorm(x, 1, 1, 0.5),
    "cross": lambda T, x, y: T.linalg.cross(x, y),
    "cumprod": lambda T, x, y: T.cumprod(x, 1),
    "prod": lambda T, x, y: T.prod(x, 0),
    "var_mean": lambda T, x, y: sum(T.var_mean(x, 1, correction=0)),
    "std_mean": lambda T, x, y: T.std_mean(x)[0],
    "tanhshrink": lambda T, x, y: T.nn.functional.tanhshrink(x),
    "softsign": lambda T, x, y: T.nn.functional.softsign(x),
    "l1_loss": lambda T, x, y: T.nn.functional.l1_loss(x, y),
    "add by alpha": lambda T, x, y: T.add(x, y, alpha=1 + 2j) + T.add(x.real, y, alpha=2j) + x.clone().add_(y, alpha=1j),
    "sub by alpha": lambda T, x, y: T.sub(x, y, alpha=1j) - T.sub(x, 2, alpha=1j) + T.rsub(x, y, alpha=T.tensor(2j)),
    "addcmul by value": lambda T, x, y: T.addcmul(x, y, x, value=1j) + x.clone().addcmul_(x, y, value=1 - 1j),
    "addcdiv by value": lambda T, x, y: T.addcdiv(x, x, y + 3, value=1j),
    "addmm by both": lambda T, x, y: T.addmm(x, y, x, alpha=1j, beta=2 - 1j) + T.addr(x, y[0], x[1], alpha=1j, beta=2),
    "baddbmm by both": lambda T, x, y: T.baddbmm(x[None], y[None], x[None], alpha=1j, beta=2 - 1j)[0],
    "lerp": lambda T, x, y: T.lerp(x, y, 0.5 + 1j) + T.lerp(x, y, y),
    "conv1d": lambda T, x, y: T.conv1d(x.reshape(1, 3, 3), y.reshape(3, 3, 1), y[0], padding=1),
    "conv2d": lambda T, x, y: T.conv2d(x.reshape(1, 1, 3, 3), y.reshape(1, 1, 3, 3)[..., :2, :2], stride=2, padding=1),
    "conv2d groups": lambda T, x, y: T.conv2d(x.reshape(1, 3, 1, 3), y.reshape(3, 1, 1, 3), groups=3),
    "conv3d": lambda T, x, y: T.conv3d(x.reshape(1, 1, 1, 3, 3), y.reshape(1, 1, 1, 3, 3)),
    "conv_transpose1d": lambda T, x, y: T.conv_transpose1d(x.reshape(1, 3, 3), y.reshape(3, 1, 3), y[0, :1], stride=2),
}


@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
def test_values_and_gradients_are_pytorchs(call):
    torch = pytest.importorskip("torch")
    results = []
    for T in (ng, torch):
        x, y = T.tensor(numbers(3, 3)), T.tensor(numbers(3, 3, seed=1))
        x[0, 0] = 0
        x, y = x.requires_grad_(), y.requires_grad_()
        out = call(T, x, y)
        found = [out]
        if out.requires_grad:
            found += T.autograd.grad((out * out.detach()).abs().sum(), [x, y], allow_unused=True)
        results.append([None if value is None else value.detach().resolve_conj().numpy() for value in found])
    for ours, theirs in zip(*results):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, 1e-9, 1e-9)


REAL = {
    "add": lambda x: ng.add(x, x, alpha=1j),
    "add of a complex number without an imaginary part": lambda x: ng.add(x, x, alpha=1 + 0j),
    "add_": lambda x: x.add_(x, alpha=1j),
    "sub of integers": lambda x: ng.sub(x.long(), x.long(), alpha=1j),
    "addcmul": lambda x: ng.addcmul(x, x, x, value=1j),
    "addcdiv_": lambda x: x.addcdiv_(x, x, value=ng.tensor(1j)),
    "addmm": lambda x: ng.addmm(x, x, x, alpha=1j),
    "addmm_": lambda x: x.addmm_(x, x, beta=1j),
    "baddbmm": lambda x: ng.baddbmm(x[None], x[None], x[None], beta=1j),
    "addr": lambda x: ng.addr(x, x[0], x[0], alpha=1j),
    "lerp": lambda x: ng.lerp(x, x, 1j),
    "index_add": lambda x: ng.index_add(x, 0, ng.tensor([0]), x[:1], alpha=1j),
    "elu": lambda x: ng.nn.functional.elu(x, 1j),
}


@pytest.mark.parametrize("call", list(REAL.values()), ids=list(REAL))
def test_a_complex_factor_of_real_numbers_is_refused(call):
    x = ng.ones(2, 2)
    with pytest.raises(RuntimeError, match="must not be a (complex|floating point) number|cannot be converted to type float.* without overflow"):
        call(x)
    assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert ng.addmm(x, x, x, alpha=2 + 0j).dtype is ng.float32


def test_extremes_of_logaddexp():
    top = ng.tensor([1e300 + 0j, complex("-inf"), complex("inf"), 1000.0], dtype=ng.complex128)
    found = ng.logaddexp(top, ng.tensor([0j, complex("-inf"), complex("inf"), 1000.0 + 1j], dtype=ng.complex128))
    expected = [1e300, -np.inf, np.inf, 1000 + np.log(1 + np.exp(1j))]
    np.testing.assert_allclose(found.numpy().real, np.real(expected))
    assert ng.logsumexp(top[3:] * 2, 0).item() == 2000


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv2d groups", "conv_transpose1d", "cov", "index_fill", "index_add", "sinc", "logaddexp"])
def test_gradients(name):
    x, y = (ng.tensor(numbers(3, 3, seed=seed)).requires_grad_() for seed in (0, 1))
    # PyTorch's gradient of this one lacks a conjugate.
    calls = CALLS | {"index_add": lambda T, x, y: x.index_add(0, T.tensor([2, 0]), y[:2], alpha=2j)}
    ng.autograd.gradcheck(lambda x, y: calls[name](ng, x, y), (x, y))
    if name in ("sinc", "logaddexp"):
        ng.autograd.gradgradcheck(lambda x, y: calls[name](ng, x, y), (x, y))


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean"])
def test_scatter_reduce(reduce, include_self):
    x, y = (ng.tensor(numbers(3, 3, seed=seed)).requires_grad_() for seed in (0, 1))
    index = ng.tensor([[0, 0, 1], [0, 2, 1], [1, 2, 0]])

    def call(x, y):
        return x.scatter_reduce(0, index, y, reduce, include_self=include_self)

    right = [[[x[i, j].item()] if include_self else [] for j in range(3)] for i in range(3)]
    for i in range(3):
        for j in range(3):
            right[int(index[i, j])][j].append(y[i, j].item())
    fold = {"sum": np.sum, "prod": np.prod, "mean": np.mean}[reduce]
    expected = [[fold(values) if values else x[i, j].item() for j, values in enumerate(row)] for i, row in enumerate(right)]
    np.testing.assert_allclose(call(x, y).detach().numpy(), expected)
    ng.autograd.gradcheck(call, (x, y))
    for refused in ("amax", "amin"):
        with pytest.raises(TypeError, match="complex"):
            x.scatter_reduce(0, index, y, refused)
