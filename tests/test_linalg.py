"""Linear algebra: values as PyTorch's, what factors multiply to, first and second derivatives, refusals."""

import math

import numpy as np
import pytest

import numgrad as ng
from numgrad import linalg
from numgrad.autograd import gradcheck, gradgradcheck


def matrix(*shape, seed=0):
    return ng.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def positive(a):
    """Hermitian positive-definite matrices made of any."""
    return a @ a.mH + ng.eye(a.shape[-1], dtype=a.dtype)


def symmetric(a):
    return (a + a.mH) / 2.0


def signless(*factors):
    """Without the signs that factorizations are free to choose."""
    return [factor.abs() for factor in factors]


def matmul_first(u, s, vh):
    """Singular vectors without the phase that they share."""
    return u @ vh


SQUARE, BATCH, TALL, WIDE, VECTOR = matrix(3, 3), matrix(2, 3, 3), matrix(4, 2), matrix(2, 4), matrix(3)

DERIVATIVES = {
    "det": (linalg.det, BATCH),
    "slogdet": (lambda a: linalg.slogdet(a)[1], BATCH),
    "slogdet sign": (lambda a: linalg.slogdet(a)[0], BATCH),
    "logdet": (lambda a: ng.logdet(positive(a)), SQUARE),
    "inv": (linalg.inv, BATCH),
    "solve": (linalg.solve, SQUARE, matrix(2, 3, 2)),
    "solve vectors": (linalg.solve, BATCH, matrix(2, 3)),
    "solve right": (lambda a, b: linalg.solve(a, b, left=False), SQUARE, matrix(2, 4, 3)),
    "solve_triangular": (lambda a, b: linalg.solve_triangular(a, b, upper=False), BATCH, matrix(3, 2)),
    "solve_triangular unit": (
        lambda a, b: linalg.solve_triangular(a, b, upper=True, left=False, unitriangular=True), SQUARE, WIDE[:, :3],
    ),
    "cholesky": (lambda a: linalg.cholesky(positive(a)), BATCH),
    "cholesky upper": (lambda a: linalg.cholesky(positive(a), upper=True), SQUARE),
    "cholesky_solve": (lambda a, b: ng.cholesky_solve(b, linalg.cholesky(positive(a))), SQUARE, matrix(3, 2)),
    "cholesky_inverse": (lambda a: ng.cholesky_inverse(linalg.cholesky(positive(a), upper=True), True), SQUARE),
    "lu": (lambda a: linalg.lu(a)[1:], SQUARE),
    "lu wide": (lambda a: linalg.lu(a)[1:], WIDE),
    "lu tall": (lambda a: linalg.lu(a)[1:], TALL),
    "lu_solve": (lambda a, b: linalg.lu_solve(*linalg.lu_factor(a), b), SQUARE, matrix(3, 2)),
    "lu_solve adjoint": (lambda a, b: linalg.lu_solve(*linalg.lu_factor(a), b, left=False, adjoint=True), SQUARE, BATCH[0]),
    "qr": (lambda a: signless(*linalg.qr(a)), TALL),
    "qr wide": (lambda a: signless(*linalg.qr(a, "complete")), WIDE),
    "qr wide Q": (lambda a: linalg.qr(a)[0], WIDE),
    "eigh": (lambda a: signless(*linalg.eigh(symmetric(a))), BATCH),
    "eigvalsh": (lambda a: linalg.eigvalsh(symmetric(a)), SQUARE),
    "svd": (lambda a: signless(*linalg.svd(a, False)), SQUARE),
    "svd tall": (lambda a: signless(*linalg.svd(a, False)), TALL),
    "svd wide": (lambda a: signless(*linalg.svd(a, False)), WIDE),
    "svd phases": (lambda a: matmul_first(*linalg.svd(a, False)), TALL),
    "svdvals": (linalg.svdvals, TALL),
    "pinv tall": (linalg.pinv, TALL),
    "pinv wide": (linalg.pinv, WIDE),
    "pinv hermitian": (lambda a: linalg.pinv(symmetric(a), hermitian=True), SQUARE),
    "lstsq": (lambda a, b: linalg.lstsq(a, b)[0], TALL, matrix(4, 3)),
    "matrix_exp": (linalg.matrix_exp, BATCH),
    "matrix_power": (lambda a: linalg.matrix_power(a, -3), SQUARE),
    "householder_product": (linalg.householder_product, TALL, matrix(2)),
    "tensorsolve": (linalg.tensorsolve, matrix(2, 2, 4), matrix(2, 2)),
    "multi_dot": (lambda a, v: linalg.multi_dot([v, a, a.mH, v]), SQUARE, VECTOR),
    "vecdot": (lambda a, v: linalg.vecdot(a, v), BATCH, VECTOR),
    "cross": (linalg.cross, BATCH[0], VECTOR.unsqueeze(0)),
    "kron": (ng.kron, TALL, VECTOR),
    "trace": (ng.trace, WIDE),
    "vander": (linalg.vander, VECTOR),
    "cov": (lambda a: ng.cov(a, aweights=ng.tensor([0.5, 1.0, 2.0], dtype=ng.float64)), SQUARE),
    "corrcoef": (ng.corrcoef, SQUARE),
    "cdist": (lambda a, b: ng.cdist(a, b, compute_mode="use_mm_for_euclid_dist"), BATCH, matrix(4, 3, seed=1)),
    "cdist 3": (lambda a, b: ng.cdist(a, b, 3.0), BATCH, matrix(4, 3, seed=1)),
    "pdist": (ng.pdist, TALL),
    "gradient": (lambda a: ng.gradient(a, spacing=[VECTOR, 0.5], edge_order=2), SQUARE),
    "trapezoid": (lambda a, x: ng.cumulative_trapezoid(a, x), BATCH, VECTOR),
    **{f"norm {p}": (lambda a, p=p: linalg.matrix_norm(a, p), BATCH) for p in ("fro", "nuc", 2, -2, 1, -math.inf)},
    **{f"cond {p}": (lambda a, p=p: linalg.cond(a, p), SQUARE) for p in (None, "nuc", 1)},
}  # fmt: skip


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name, kind):
    fn, *given = DERIVATIVES[name]
    if kind == "complex":
        if "dist" in name:
            with pytest.raises(RuntimeError, match="floating-point"):
                fn(*[a.to(ng.complex128) for a in given])
            return
        given = [of_kind(a, kind, 7 + k) for k, a in enumerate(given)]
    leaves = tuple([a.detach().clone().requires_grad_() for a in given])
    assert gradcheck(fn, leaves)
    assert gradgradcheck(fn, leaves)


def test_a_singular_matrix_has_a_determinant_with_a_gradient():
    a = ng.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=ng.float64, requires_grad=True)
    linalg.det(a).backward()
    ng.testing.assert_close(a.grad, ng.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=ng.float64))


def of_kind(a, kind, seed=7):
    return a if kind == "real" else ng.complex(a, matrix(*a.shape, seed=seed))


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("a", [SQUARE, BATCH, TALL, WIDE], ids=["square", "batch", "tall", "wide"])
def test_factors_multiply_to_the_matrix(a, kind):
    a = of_kind(a, kind)
    u, s, vh = linalg.svd(a)
    k = s.shape[-1]
    P, L, U = linalg.lu(a)
    for product in ((u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :], P @ L @ U, linalg.qr(a).Q @ linalg.qr(a).R):
        ng.testing.assert_close(product, a)
    ng.testing.assert_close(u.mH @ u, ng.eye(u.shape[-1], dtype=a.dtype).expand_as(u))
    ng.testing.assert_close(ng.lu_unpack(*linalg.lu_factor(a)), (P, L, U))
    assert linalg.matrix_rank(a).tolist() == (linalg.svdvals(a) > 1e-9).sum(-1).tolist()
    if a.shape[-1] == a.shape[-2]:
        values, vectors = linalg.eigh(positive(a))
        lower = linalg.cholesky(positive(a))
        for product in (vectors * values.unsqueeze(-2) @ vectors.mH, lower @ lower.mH):
            ng.testing.assert_close(product, positive(a))


SAME = {
    "norms": lambda T, a: [
        T.linalg.norm(a), T.linalg.norm(a, dim=(0, 2)), T.linalg.norm(a, 1, dim=(1, 2)), T.norm(a, "nuc", (0, 2), True),
        T.linalg.vector_norm(a, 0), T.linalg.vector_norm(a, -math.inf, (0, 1)), T.norm(a, 3, 1), T.norm(a),
        T.linalg.matrix_norm(a, 2, keepdim=True), T.linalg.matrix_norm(a, math.inf, (2, 0)),
    ],
    "ranks": lambda T, a: [
        T.linalg.matrix_rank(a), T.linalg.matrix_rank(a, atol=1.0), T.linalg.cond(a), T.linalg.cond(a, "fro"),
    ],
    "inverses": lambda T, a: [
        T.linalg.pinv(a[..., :2]), T.linalg.pinv(a @ a.mH, hermitian=True), T.linalg.inv_ex(a).info, T.linalg.solve_ex(a, a[..., 0]), T.linalg.tensorinv(a[0], 1),
        T.linalg.matrix_power(a, 0), T.linalg.matrix_power(a, 5), T.linalg.matrix_exp(a),
    ],
    "least squares": lambda T, a: [
        *T.linalg.lstsq(a[..., :2], a, driver="gelsd"), *T.linalg.lstsq(a[..., :2], a, driver="gels")[:2],
        *T.linalg.lstsq(a[..., :2], a)[1:3],
    ],
    "factors": lambda T, a: [
        *T.linalg.lu_factor(a), *T.linalg.qr(a, "r"), *T.linalg.cholesky_ex(a @ a.mH), *T.geqrf(a),
        *T.linalg.cholesky_ex(a @ a.mH, upper=True), *T.linalg.ldl_factor_ex(a), *T.linalg.ldl_factor_ex(a, hermitian=True),
        *T.lu(a[0])[:2], *T.lu(a, get_infos=True), T.svd(a, compute_uv=False)[1], T.linalg.eigvalsh(a), T.linalg.eigvalsh(a, "U"),
    ],
    "solutions": lambda T, a: [
        T.triangular_solve(a[0], a[1], transpose=True).solution, T.linalg.solve(a, a.mT, left=False),
        T.cholesky_solve(a[..., :2], T.linalg.cholesky(a @ a.mH, upper=True), upper=True),
        T.linalg.ldl_solve(*T.linalg.ldl_factor(a), a.mT), T.linalg.ldl_solve(*T.linalg.ldl_factor(a, hermitian=True), a.mT, hermitian=True),
        *[T.linalg.lu_solve(*T.linalg.lu_factor(a), a.mT, left=left, adjoint=turned) for left in (True, False) for turned in (True, False)],
        *[T.ormqr(*T.geqrf(a[..., :2]), a, left, turned) for left in (True, False) for turned in (True, False)],
    ],
    "products": lambda T, a: [
        T.cross(a, a.flip(0), dim=1), T.kron(a[0], a[0, 0]), T.linalg.multi_dot([a[0, 0], a[0], a[1]]),
        T.vander(a[0, 0], 4), T.vander(a[0, 0], increasing=True), T.linalg.vander(a[0], N=2), T.linalg.vecdot(a, a, dim=0),
    ],
    "statistics": lambda T, a: [
        T.cov(a[0]), T.cov(a[0, 0]), T.cov(a[0], correction=0, fweights=T.tensor([1, 2, 3])), T.corrcoef(a[0]),
        T.trapezoid(a), T.trapezoid(a, a[0, 0].abs()), T.trapz(a, dx=0.5, dim=0), T.cumulative_trapezoid(a, dim=1),
        *T.gradient(a), *T.gradient(a[0], spacing=2.0, dim=1, edge_order=2),
    ],
    "distances": lambda T, a: [
        T.cdist(a, a[0] + 1.0), T.cdist(a, a, 1.0), T.pdist(a[0]), T.pdist(a[0], 1), T.cdist(a[:, :0], a), T.dist(a, a * 2.0),
        T.cdist(a.reshape(1, 18).expand(30, 18) * T.arange(30, dtype=a.dtype)[:, None], a.reshape(1, 18) + 1.0),
    ],
    "empty": lambda T, a: [
        T.linalg.det(a[:, :0, :0]), T.linalg.inv(a[:0]), T.linalg.matrix_norm(a[0, :0], 2), T.linalg.svdvals(a[0, :0]),
        T.linalg.pinv(a[0, :0]), T.linalg.solve(a[:0], a[:0, :, 0]), *T.linalg.qr(a[:, :0]), *T.linalg.eigh(a[:0]),
        T.linalg.matrix_rank(a[0, :0]), T.linalg.cond(a[:, :0, :0]), T.linalg.matrix_exp(a[:0]),
    ],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:torch.(lu|triangular_solve) is deprecated")
@pytest.mark.parametrize("name, kind", [(name, kind) for name in SAME for kind in ("real", "complex") if (name, kind) != ("distances", "complex")])
def test_values_are_those_of_pytorch(name, kind):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    a = of_kind(BATCH, kind)
    ours, theirs = SAME[name](ng, a), SAME[name](torch, torch.from_numpy(a.numpy()))

    def flat(values):
        return [leaf for value in values for leaf in (flat(value) if isinstance(value, tuple) else [value])]

    for k, (one, other) in enumerate(zip(flat(ours), flat(theirs), strict=True)):
        assert one.shape == other.shape and repr(one.dtype) == repr(other.dtype), f"{name} {k}"
        np.testing.assert_allclose(one.numpy(), other.resolve_conj().numpy(), rtol=1e-7, atol=1e-9, err_msg=f"{name} {k}")


def test_matrices_that_have_no_inverse_or_root():
    broken = ng.stack((ng.eye(2), ng.ones(2, 2)))
    with pytest.raises(linalg.LinAlgError, match=r"linalg.inv: \(Batch element 1\).*singular"):
        linalg.inv(broken)
    with pytest.raises(linalg.LinAlgError, match="singular"):
        linalg.solve(ng.zeros(2, 2), ng.ones(2))
    with pytest.raises(linalg.LinAlgError, match=r"\(Batch element 0\).*minor of order 1 is not positive-definite"):
        linalg.cholesky(-broken)
    with pytest.raises(linalg.LinAlgError, match=r"U\[2,2\] is zero"):
        linalg.lu_factor(broken[1])
    assert linalg.inv_ex(broken).info.tolist() == [0, 2]
    ng.testing.assert_close(linalg.inv_ex(broken).inverse[0], ng.eye(2))
    assert linalg.cholesky_ex(-broken).info.tolist() == [1, 1]
    assert linalg.cond(broken, 1).tolist() == [1.0, math.inf]
    assert linalg.solve_triangular(ng.zeros(1, 1), ng.ones(1, 1), upper=True).item() == math.inf


def phases(factors):
    """A backward pass of a loss that depends on phases."""
    a = of_kind(SQUARE, "complex").requires_grad_()
    (factors(a)[-1 if factors is linalg.eigh else 0] * of_kind(BATCH[0], "complex")).real.sum().backward()


REFUSED = [
    (lambda: linalg.det(ng.ones(3, 2)), "square matrices, but they are 3 by 2"),
    (lambda: linalg.inv(ng.ones(2, 2, dtype=ng.int64)), "linalg.inv: Expected a floating point.*int64"),
    (lambda: linalg.svd(ng.ones(2)), "at least 2 dimensions"),
    (lambda: linalg.solve(ng.ones(2, 2), ng.ones(3, 1)), "Incompatible shapes"),
    (lambda: linalg.solve(ng.ones(2, 2), ng.ones(2, 1, dtype=ng.float64)), "same dtype"),
    (lambda: linalg.matrix_norm(ng.ones(2, 2), 3), "Order 3 not supported"),
    (lambda: linalg.norm(ng.ones(2, 2, 2), 2), "must be 1D or 2D"),
    (lambda: linalg.qr(ng.ones(2, 2), "full"), "unrecognized mode 'full'"),
    (lambda: linalg.eigh(ng.ones(2, 2), "X"), "UPLO"),
    (lambda: linalg.lstsq(ng.ones(2, 2), ng.ones(2, 2), driver="x"), "parameter `driver`"),
    (lambda: linalg.multi_dot([ng.ones(2, 2)]), "at least 2 tensors"),
    (lambda: linalg.cross(ng.ones(2), ng.ones(2)), "must have length 3"),
    (lambda: linalg.ldl_factor(ng.zeros(2, 2)), r"D\[1,1\] is zero"),
    (lambda: linalg.ldl_solve(ng.eye(2), ng.tensor([1, 3]), ng.ones(2, 1)), "pivot"),
    (lambda: linalg.ldl_solve(ng.eye(3), ng.tensor([-1, 2, -3]), ng.ones(3, 1)), "pairs of neighbours"),
    (lambda: linalg.ldl_factor(ng.eye(2).requires_grad_()).LD.sum().backward(), "derivative for linalg.ldl_factor_ex is not implemented"),
    (lambda: linalg.inv(ng.eye(2), out=ng.empty(2, 2, dtype=ng.float64)), "linalg.inv: Expected out tensor to have dtype float, but got double"),
    (lambda: linalg.pinv(ng.eye(2), out=ng.empty(2, 2, dtype=ng.int32)), "safely castable from Float dtype, but got result with dtype Int"),
    (lambda: linalg.eig(ng.eye(2), out=(ng.empty(2), ng.empty(2, 2))), "Expected eigenvalues to be safely castable from ComplexFloat"),
    (lambda: linalg.multi_dot([ng.ones(()), ng.ones(2)]), "the first tensor must be 1D or 2D"),
    (lambda: linalg.multi_dot([ng.ones(2, 2), ng.ones(2, 2).double()]), "same dtype"),
    (lambda: linalg.cond(ng.eye(2), "x"), "invalid norm type: x"),
    (lambda: linalg.vector_norm(ng.ones(2), 1j), "non-complex scalar"),
    (lambda: linalg.vector_norm(ng.ones(0), -2), "does not have an identity"),
    (lambda: ng.dot(ng.ones(2), ng.ones(2).double()), "dot : expected both vectors to have same dtype"),
    (lambda: ng.vdot(ng.ones(2, 1), ng.ones(2)), "1D tensors expected"),
    (lambda: ng.addr(ng.ones(2, 2), ng.ones(2), ng.ones(2), beta=True), "Boolean beta only supported for Boolean results"),
    (lambda: ng.addr(*[ng.ones(*s).long() for s in ((2, 2), (2,), (2,))], alpha=2.0), "argument alpha must not be a floating point number"),
    (lambda: ng.baddbmm(ng.ones(1, 2, 2).double(), ng.ones(1, 2, 2), ng.ones(1, 2, 2)), "Input dtypes must be the same"),
    (lambda: ng.cholesky_inverse(ng.zeros(2, 2)), "cholesky_inverse: The diagonal element 1 is zero"),
    (lambda: linalg.lstsq(ng.ones(2), ng.ones(2)), "input must have at least 2 dimensions"),
    (lambda: ng.symeig(ng.eye(2)), "now removed: call numgrad.linalg.eigh"),
    (lambda: ng.backends.cuda.preferred_linalg_library("x"), "Choose from: default, cusolver, magma"),
    (lambda: ng.ormqr(ng.ones(3, 2), ng.ones(2), ng.ones(4, 4)), r"other.shape\[-2\] must be equal"),
    (lambda: ng._int_mm(ng.ones(2, 2), ng.ones(2, 2)), "type int8"),
    (lambda: linalg.vector_norm(ng.ones(2), dtype=ng.complex64), "dtype should be floating point for real inputs"),
    (lambda: phases(linalg.eigh), "linalg_eigh_backward.*phi"),
    (lambda: phases(linalg.svd), "svd_backward.*phi"),
    (lambda: ng.cdist(ng.ones(2, 2), ng.ones(2, 3)), "same number of columns"),
    (lambda: ng.cov(ng.ones(2, 2, dtype=ng.bool)), "bool"),
    (lambda: ng.trace(ng.ones(2)), "expected a matrix"),
]


@pytest.mark.parametrize("call, message", REFUSED)
def test_refusals(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (4, 16)])
def test_wide_matrices_have_the_signs_of_pytorch(shape, full):
    a = matrix(*shape)
    u, s, vh = linalg.svd(a, full)
    kept = vh[..., : s.shape[-1], :]
    np.testing.assert_allclose(((u * s.unsqueeze(-2)) @ kept).numpy(), a.numpy(), atol=1e-12)
    np.testing.assert_allclose((vh @ vh.mT - ng.eye(vh.shape[-2], dtype=a.dtype)).numpy(), 0, atol=1e-12)
    torch = pytest.importorskip("torch")
    if torch.backends.mkl.is_available():  # other builds have other LAPACKs
        expected = torch.linalg.svd(torch.from_numpy(a.numpy()), full)
        np.testing.assert_allclose(u.numpy(), expected.U.numpy(), atol=1e-10)
        np.testing.assert_allclose(kept.numpy(), expected.Vh[..., : s.shape[-1], :].numpy(), atol=1e-10)


def test_results_have_names_and_can_be_written_to_given_tensors():
    found = linalg.svd(SQUARE)
    assert type(found).__name__ == "linalg_svd" and found.S is found[1]
    out = ng.empty(3, 3, dtype=ng.float64), ng.empty(0, dtype=ng.float64), ng.empty(3, 3, dtype=ng.float64)
    assert linalg.svd(SQUARE, out=out).S is out[1]
    ng.testing.assert_close(out[1], found.S)
    assert linalg.qr(SQUARE.clone().requires_grad_()).R.grad_fn.name == "LinalgQrBackward0"


@pytest.mark.parametrize("driver", ("gelsy", "gels", "gelsd"))
@pytest.mark.parametrize("rows", (2, 4))
def test_solutions_and_residuals_of_least_squares_are_of_the_graph(rows, driver):
    a, b = (ng.randn(rows, 3, dtype=ng.float64, requires_grad=True) for _ in range(2))
    found = linalg.lstsq(a, b, driver=driver)
    assert [part.requires_grad for part in found] == [True, True, False, False]
    (found.solution.sum() + found.residuals.sum()).backward()
    assert a.grad.shape == b.grad.shape == (rows, 3)



def test_numbers_and_empty_sides():
    out = ng.zeros(())
    assert ng.inner(ng.tensor(2.0), ng.tensor(3.0), out=out) is out and out.item() == 6.0
    assert ng.inner(ng.zeros(0), ng.zeros(2, 0)).tolist() == [0.0, 0.0]
    found = linalg.lstsq(BATCH, ng.zeros(2, 3, 0, dtype=ng.float64))
    assert found.solution.shape == (2, 3, 0) and found.rank.tolist() == [3, 3]
    assert ng.einsum("ab,bc->...ac", SQUARE, SQUARE).shape == (3, 3)
    assert ng.geqrf(TALL).a.mT.is_contiguous()
    b = SQUARE.clone()
    assert linalg.solve_triangular(SQUARE, b, upper=True, out=b) is b
    ng.testing.assert_close(SQUARE.triu() @ b, SQUARE)
    assert repr(ng.backends.cuda.preferred_linalg_library()) == "_LinalgBackend.Default"
    assert ng._int_mm(*[ng.full((2, 2), 100, dtype=ng.int8)] * 2).tolist() == [[20000, 20000]] * 2
    ng.testing.assert_close(ng._addmm_activation(TALL[0], TALL, SQUARE[:2, :2], use_gelu=True), ng.nn.functional.gelu(TALL @ SQUARE[:2, :2] + TALL[0], approximate="tanh"))


@pytest.mark.parametrize("shape", [(9, 5), (4, 7), (2, 6, 4)])
def test_lowrank(shape):
    torch = pytest.importorskip("torch")
    found = []
    for T in (ng, torch):
        A = T.from_numpy(np.random.default_rng(0).standard_normal(shape)).requires_grad_()
        T.manual_seed(3)
        U, S, V = T.pca_lowrank(A, q=3)
        u, s, v = T.svd_lowrank(A, 2, niter=1, M=A.detach().mean(-1, keepdim=True).expand(shape))
        (S.sum() + (v * v * T.arange(2.0).double()).sum()).backward()
        found.append([U.abs(), S, V.abs(), u.abs(), s, v.abs(), U * S.unsqueeze(-2) @ V.mT, A.grad])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6, atol=1e-8)
    for wrong in ({"q": 9}, {"niter": -1}):
        with pytest.raises(ValueError, match="non-negative"):
            ng.pca_lowrank(ng.ones(3, 3), **wrong)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_of_small_triangles(dtype):
    rng = np.random.default_rng(0)
    for n in (1, 4, 17):  # row by row, and one by one
        a, b = rng.standard_normal((20, n, n)) + 4 * np.eye(n), rng.standard_normal((2, 20, n, 3))
        for upper in (False, True):
            for unit in (False, True):
                full = np.triu(a, int(unit)) if upper else np.tril(a, -int(unit))
                full = 0.1 * full + np.eye(n) if unit else full
                given = ng.from_numpy((full if not unit else full - np.eye(n)).astype(dtype))
                x = linalg.solve_triangular(given, ng.from_numpy(b.astype(dtype)), upper=upper, unitriangular=unit)
                np.testing.assert_allclose(full @ x.numpy(), b, atol=2e-4 if dtype == np.float32 else 1e-10)
    x = linalg.solve_triangular(ng.zeros(3, 2, 2), ng.ones(3, 2, 1), upper=False)
    assert x[:, 0].isinf().all()


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_solve_of_batches(upper):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for factor, right in ((3, 3), (3, 2)), ((2, 3, 3), (3, 1)), ((3, 3), (2, 3, 2)), ((2, 1, 3, 3), (2, 3, 1)):
        found = []
        values = rng.standard_normal(factor) + 3 * np.eye(3), rng.standard_normal(right)
        for T in (ng, torch):
            L, B = (T.from_numpy(value.copy()).requires_grad_() for value in values)
            X = T.cholesky_solve(B, L.triu() if upper else L.tril(), upper)
            first = T.autograd.grad(X.square().sum(), (B, L), create_graph=True)
            found.append([X, *first, *T.autograd.grad(sum(g.square().sum() for g in first), (B, L))])
        for ours, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-8, atol=1e-10)
    with pytest.raises(RuntimeError, match="each A matrix is 2 by 2 but each b matrix is 3 by 1"):
        ng.cholesky_solve(ng.ones(3, 1), ng.ones(2, 2), upper)
