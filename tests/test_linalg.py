"""numgrad.linalg and sums of products: against NumPy and PyTorch, with first and second derivatives."""

import numpy as np
import pytest

import numgrad as ng
from numgrad import linalg
from numgrad.autograd import gradcheck, gradgradcheck


def matrix(*shape, seed=0):
    return ng.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def symmetric(n):
    a = matrix(n, n)
    return a @ a.T + ng.eye(n, dtype=ng.float64)


SQUARE, BATCH, TALL, WIDE = matrix(3, 3), matrix(2, 3, 3), matrix(4, 3), matrix(2, 4)
CASES = {
    "det": (linalg.det, SQUARE),
    "det_batch": (linalg.det, BATCH),
    "slogdet": (lambda a: linalg.slogdet(a)[1], SQUARE),
    "logdet": (linalg.logdet, symmetric(3)),
    "inv": (linalg.inv, BATCH),
    "solve": (lambda a: linalg.solve(a, a * a + 1.0), BATCH),
    "solve_vector": (lambda a: linalg.solve(a, a[0]), SQUARE),
    "solve_right": (lambda a: linalg.solve(a, a[:2] * 2.0, left=False), SQUARE),
    "solve_triangular": (lambda a: linalg.solve_triangular(a, a * a, upper=True), SQUARE),
    "pinv": (linalg.pinv, TALL),
    "svdvals": (linalg.svdvals, TALL),
    "svd": (lambda a: (lambda u, s, vh: (u * s) @ vh.abs() + u[..., :1] ** 2)(*linalg.svd(a, False)), SQUARE),
    "eigvalsh": (lambda a: linalg.eigvalsh(a + a.T), SQUARE),
    "eigh": (lambda a: linalg.eigh(a + a.T)[1] ** 2, SQUARE),
    "cholesky": (lambda a: linalg.cholesky(a @ a.T + ng.eye(3, dtype=ng.float64)), SQUARE),
    "qr": (lambda a: (lambda q, r: q.abs().sum() + r.abs().sum())(*linalg.qr(a)), TALL),
    "qr_wide": (lambda a: (lambda q, r: q.abs().sum() + r.abs().sum())(*linalg.qr(a)), WIDE),
    "matrix_power": (lambda a: linalg.matrix_power(a, 3), SQUARE),
    "matrix_power_negative": (lambda a: linalg.matrix_power(a, -2), SQUARE),
    "nuclear_norm": (lambda a: linalg.matrix_norm(a, "nuc"), TALL),
    "spectral_norm": (lambda a: linalg.matrix_norm(a, 2), TALL),
    "inf_norm": (lambda a: linalg.norm(a, float("inf")), TALL),
    "vector_norm": (lambda a: linalg.vector_norm(a, 3.0, 0), TALL),
    "multi_dot": (lambda a: linalg.multi_dot([a.T, a, a.T, a[:, 0]]), TALL),
    "einsum": (lambda a: ng.einsum("bij,bjk,ki->bi", a, a, a[0]), BATCH),
    "einsum_dots": (lambda a: ng.einsum("...ij,...jk", a, a * 2.0), BATCH),
    "einsum_diagonal": (lambda a: ng.einsum("bii->b", a), BATCH),
    "tensordot": (lambda a: ng.tensordot(a, a * 0.5, ([0, 2], [0, 1])), BATCH),
    "trace": (ng.trace, SQUARE),
    "cross": (lambda a: ng.cross(a, a.flip(0), 1), SQUARE),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    f, a = CASES[name]
    a = a.clone().requires_grad_()
    assert gradcheck(f, (a,), atol=1e-5, rtol=1e-3)
    assert gradgradcheck(f, (a,), atol=1e-4, rtol=1e-3)


def test_a_singular_matrix_has_a_determinant_with_a_gradient():
    a = ng.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=ng.float64, requires_grad=True)
    linalg.det(a).backward()
    ng.testing.assert_close(a.grad, ng.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=ng.float64))


def test_decompositions_compose():
    for a in (TALL, WIDE, BATCH):
        u, s, vh = linalg.svd(a)
        q, r = linalg.qr(a)
        k = s.shape[-1]
        ng.testing.assert_close(u[..., :k] @ s.diag_embed() @ vh[..., :k, :], a)
        ng.testing.assert_close(q @ r, a)
        ng.testing.assert_close(u.mT @ u, ng.eye(u.shape[-1], dtype=ng.float64).expand_as(u))
    a = symmetric(4)
    values, vectors = linalg.eigh(a)
    ng.testing.assert_close(vectors * values @ vectors.T, a)
    lower = linalg.cholesky(a)
    ng.testing.assert_close(lower @ lower.T, a)
    assert linalg.matrix_rank(TALL @ TALL.T).item() == 3


def test_bad_matrices_are_refused():
    singular = ng.stack((ng.eye(2), ng.ones(2, 2)))
    with pytest.raises(linalg.LinAlgError, match=r"linalg.inv: \(Batch element 1\).*singular"):
        linalg.inv(singular)
    with pytest.raises(RuntimeError, match="singular"):
        linalg.solve(ng.zeros(2, 2), ng.ones(2))
    with pytest.raises(linalg.LinAlgError, match="positive-definite"):
        linalg.cholesky(-ng.eye(2))
    with pytest.raises(RuntimeError, match="square matrices, but they are 3 by 2"):
        linalg.det(ng.ones(3, 2))
    with pytest.raises(RuntimeError, match="floating point"):
        linalg.inv(ng.ones(2, 2, dtype=ng.int64))
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        linalg.inv(ng.ones(2))
    with pytest.raises(RuntimeError, match="does not broadcast"):
        ng.einsum("ij,jk", ng.ones(2, 3), ng.ones(2, 3))
    with pytest.raises(RuntimeError, match="more operands"):
        ng.einsum("ij", ng.ones(2, 3), ng.ones(2, 3))
    with pytest.raises(RuntimeError, match="does not appear"):
        ng.einsum("ij->k", ng.ones(2, 3))
    with pytest.raises(RuntimeError, match="contracted dimensions"):
        ng.tensordot(ng.ones(2, 3), ng.ones(2, 3), 1)


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,kj", [(2, 3), (4, 3)]), ("i,j->ij", [(2,), (3,)]), ("ij->", [(2, 3)]),
        ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]), ("...i,i...->...", [(2, 3), (3, 2)]), ("ii", [(3, 3)]),
        ("ij,ij->ij", [(2, 3), (2, 3)]), ("i,ij,j", [(2,), (2, 3), (3,)]), ("ij->ji", [(2, 3)]), ("bi,bj->b", [(2, 3), (2, 4)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]), ("a...b,b...->a...", [(2, 5, 3), (3, 5)]), ("ij,jk->ik", [(2, 1), (3, 4)]),
    ],
)  # fmt: skip
def test_einsum_agrees_with_numpy(equation, shapes):
    operands = [matrix(*shape, seed=k) for k, shape in enumerate(shapes)]
    arrays = [x.numpy() for x in operands]
    if shapes == [(2, 1), (3, 4)]:  # NumPy does not broadcast labels
        arrays[0] = np.broadcast_to(arrays[0], (2, 3))
    np.testing.assert_allclose(ng.einsum(equation, *operands).numpy(), np.einsum(equation, *arrays), rtol=1e-10, atol=1e-12)


def test_einsum_takes_lists_of_labels():
    a, b = matrix(2, 3), matrix(3, 4)
    ng.testing.assert_close(ng.einsum(a, [0, 1], b, [1, 2], [0, 2]), a @ b)
    ng.testing.assert_close(ng.einsum(a, [..., 1], b, [1, 2], [..., 2]), a @ b)
