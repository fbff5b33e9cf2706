"""Factorizations of matrices: Cholesky, LU, QR, the eigenvalues of symmetric matrices, singular values."""

import numpy as np

from ..autograd import NodeName
from ..function import Function
from ..kernels import lapack
from ..op import function, plain, sum_to
from ..structured import structured
from ..tensor import Tensor
from .create import eye, zeros
from .join import cat
from .matmul import matmul
from .parts import diagonal
from .results import return_type
from .solve import SINGULAR, expanded, failed, into, matrices, mH, results, same_dtype, solve_triangular
from .values import from_host, to_host

cholesky_ex_result = return_type("linalg_cholesky_ex", "L", "info")
lu_result = return_type("linalg_lu", "P", "L", "U")
lu_factor_result = return_type("linalg_lu_factor", "LU", "pivots")
lu_factor_ex_result = return_type("linalg_lu_factor_ex", "LU", "pivots", "info")
old_lu_result = return_type("_lu_with_info", "LU", "pivots", "info")
lu_unpack_result = return_type("lu_unpack", "P", "L", "U")
qr_result = return_type("linalg_qr", "Q", "R")
old_qr_result = return_type("qr", "Q", "R")
eigh_result = return_type("linalg_eigh", "eigenvalues", "eigenvectors")
svd_result = return_type("linalg_svd", "U", "S", "Vh")
old_svd_result = return_type("svd", "U", "S", "V")


def several_results(cls):
    """Give the node of a factorization with several results PyTorch's name."""
    cls._node_class.name = NodeName(f"{cls.__name__}Backward0")
    return cls


def check_phases(name, what, *parts):
    """An error where a loss depends on the phases of complex vectors, which are free: its derivative by them, the
    imaginary parts of the diagonals of ``parts`` together, must be 0."""
    if not parts[0]._m.dtype.is_complex or not parts[0]._m.numel:
        return
    turned = sum(diagonal(plain(part), 0, -2, -1).imag for part in parts)
    size = max(float(plain(part).abs().max()) for part in parts)
    if float(turned.abs().max()) > 1e-2 * (1 + size):
        raise RuntimeError(
            f"{name}: The {what} in the complex case are specified up to multiplication by e^{{i phi}}. The specified loss "
            "function depends on this quantity, so it is ill-defined."
        )


# --- Cholesky ------------------------------------------------------------------------------------------------------

_NOT_POSITIVE = (
    "The factorization could not be completed because the input is not positive-definite (the leading minor of order "
    "{} is not positive-definite)."
)


@structured(install=(), complex=True, name="cholesky_factor", grad_name="LinalgCholeskyExBackward0")
def _cholesky(A, *, factors):
    return factors


@_cholesky.backward
def _(g, out):
    lower = (matmul(mH(out), g)).tril()
    middle = (lower + mH(lower.tril(-1))) * 0.5
    half = solve_triangular(mH(out), middle, upper=True)
    return solve_triangular(out, half, upper=False, left=False)


def cholesky_ex(A, *, upper=False, check_errors=False, out=None):
    """(L, info): `linalg.cholesky` that reports matrices that are not positive-definite in ``info``."""
    A = matrices("linalg.cholesky_ex", A, square=True)
    return results("linalg.cholesky_ex", _factored("linalg.cholesky_ex", A, upper, check_errors), out, A, exact=True)


def _factored(name, A, upper, check):
    array = to_host(A)
    factors, codes = lapack.cholesky(array, upper)
    if check and codes.any():
        batch = int(np.flatnonzero(codes.reshape(-1))[0])
        raise failed(name, A, lapack.Failure(batch, int(codes.reshape(-1)[batch])), _NOT_POSITIVE)
    L = _cholesky(A, from_host(factors.swapaxes(-1, -2).conj() if upper else factors, A))
    return cholesky_ex_result(mH(L) if upper else L, from_host(codes, A))


def linalg_cholesky(A, *, upper=False, out=None) -> Tensor:
    """The lower triangular ``L`` with ``A = L L^T`` (``upper``: ``L^T``) of symmetric positive-definite matrices, of
    which one triangle is read; LinAlgError if one is not positive-definite."""
    A = matrices("linalg.cholesky", A, square=True)
    found = _factored("linalg.cholesky", A, upper, True).L
    return found if out is None else into("linalg.cholesky", found, out, A, exact=True)


@function
def cholesky(input, upper=False, *, out=None) -> Tensor:
    """`linalg.cholesky` under its old name."""
    return linalg_cholesky(input, upper=upper, out=out)


@structured(install=(), complex=True, name="cholesky_solution", grad_name="CholeskySolveBackward0")
def _cholesky_solution(B, L):
    factor = to_host(L)
    half = lapack.solve_triangular(factor, to_host(B), False, False)
    return from_host(lapack.solve_triangular(factor.swapaxes(-1, -2).conj(), half, True, False), L)


@_cholesky_solution.backward
def _(g, L, out):
    d_b = _cholesky_solution(g, L)
    d_a = matmul(d_b, mH(out))
    return d_b, sum_to(-matmul(d_a + mH(d_a), L.tril()), L._m).tril()


@function
def cholesky_solve(B, L, upper=False, *, out=None) -> Tensor:
    """The ``X`` with ``A X = B``, given the Cholesky factor of ``A``."""
    name = "cholesky_solve"
    B, L = matrices(name, B, argument="B"), matrices(name, L, square=True, argument="L")
    same_dtype(name, L, B)
    if B._m.shape[-2] != L._m.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible matrix sizes for {name}: each A matrix is {L._m.shape[-1]} by {L._m.shape[-1]} but each b "
            f"matrix is {B._m.shape[-2]} by {B._m.shape[-1]}"
        )
    found = _cholesky_solution(expanded(name, L, B), mH(L) if upper else L)
    return found if out is None else into("cholesky_solve", found, out, B, L)


@function
def cholesky_inverse(L, upper=False, *, out=None) -> Tensor:
    """The inverse of ``A``, given its Cholesky factor."""
    L = matrices("cholesky_inverse", L, square=True, argument="L")
    zeros_at = np.argwhere(np.diagonal(to_host(L), axis1=-2, axis2=-1).reshape(-1, L._m.shape[-1]) == 0) if L._m.numel else ()
    if len(zeros_at):
        batch, place = zeros_at[0].tolist()
        raise failed("cholesky_inverse", L, lapack.Failure(batch, place + 1), SINGULAR)
    found = cholesky_solve(eye(L._m.shape[-1], dtype=L._m.dtype, device=L._m.device), L, upper)
    return found if out is None else into("cholesky_inverse", found, out, L)


# --- LU ------------------------------------------------------------------------------------------------------------


def unit_lower(packed):
    """The unit lower triangular factor (..., m, k) of a packed factorization (..., m, n)."""
    m, n = packed._m.shape[-2:]
    count = min(m, n)
    return packed[..., :count].tril(-1) + eye(m, count, dtype=packed._m.dtype, device=packed._m.device)


def _upper(packed):
    """The upper triangular factor (..., k, n)."""
    return packed[..., : min(packed._m.shape[-2:]), :].triu()


def _check_pivots(name, pivots, size, expected):
    """Pivots are 1-based rows of matrices with ``size`` rows, of shape ``expected``."""
    if tuple(pivots._m.shape) != expected:
        raise RuntimeError(f"{name}: expected pivots of shape {list(expected)}, got {list(pivots._m.shape)}")
    rows = to_host(pivots)
    if rows.size and not (rows.min() >= 1 and rows.max() <= size):
        raise RuntimeError(
            f"{name}: pivots must all be greater or equal to 1 and smaller or equal to LU.size(-2), that is between 1 and LU.size(-2). "
            f"Got {rows.min()} to {rows.max()} for a size of {size}. Did you properly pass the result of lu_factor?"
        )


def _permutation(pivots, size, like):
    """The permutation matrices (..., m, m) that pivots stand for."""
    order = lapack.permutations(to_host(pivots), size)
    return from_host(np.swapaxes(np.eye(size, dtype=like._m.np)[order], -1, -2), like)


@structured(install=(), complex=True, name="packed_lu", grad_name="LinalgLuFactorExBackward0")
def _packed(A, pivots, *, factors):
    return factors


@_packed.backward
def _(g, pivots, out):
    m, n = out._m.shape[-2:]
    k = min(m, n)
    L, U = unit_lower(out), _upper(out)
    P = _permutation(pivots, m, out)
    g_l, g_u = g[..., :k].tril(-1), g[..., :k, :].triu()
    square_l, square_u = L[..., :k, :], U[..., :k]
    middle_l, middle_u = matmul(mH(square_l), g_l[..., :k, :]), matmul(g_u[..., :k], mH(square_u))
    if m < n:
        middle_l = middle_l - matmul(g_u[..., k:], mH(U[..., k:]))
    elif m > n:
        middle_u = middle_u - matmul(mH(L[..., k:, :]), g_l[..., k:, :])
    inner = solve_triangular(mH(square_l), middle_l.tril(-1) + middle_u.triu(), upper=True, unitriangular=True)
    found = solve_triangular(mH(square_u), inner, upper=False, left=False)
    if m < n:
        found = cat((found, solve_triangular(mH(square_l), g_u[..., k:], upper=True, unitriangular=True)), -1)
    elif m > n:
        found = cat((found, solve_triangular(mH(square_u), g_l[..., k:, :], upper=False, left=False)), -2)
    return matmul(P, found), None


def lu_factor_ex(A, *, pivot=True, check_errors=False, out=None):
    """(LU, pivots, info): `linalg.lu_factor` that reports singular matrices in ``info``."""
    return results("linalg.lu_factor_ex", _lu("linalg.lu_factor_ex", A, pivot, check_errors), out, A)


def _lu(name, A, pivot, check):
    A = matrices(name, A)
    factors, places, codes = lapack.lu(to_host(A), pivot)
    if check and codes.any():
        batch = int(np.flatnonzero(codes.reshape(-1))[0])
        raise failed(
            name, A, lapack.Failure(batch, int(codes.reshape(-1)[batch])),
            "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you still want to "
            "perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)",
        )  # fmt: skip
    pivots = from_host(places, A)
    return lu_factor_ex_result(_packed(A, pivots, from_host(factors, A)), pivots, from_host(codes, A))


def lu_factor(A, *, pivot=True, out=None):
    """(LU, pivots): the factors of ``A = P L U`` in one matrix, without L's diagonal of ones, and the 1-based rows
    that were exchanged."""
    found = _lu("linalg.lu_factor", A, pivot, True)
    return results("linalg.lu_factor", lu_factor_result(found.LU, found.pivots), out, A, exact=True)


def lu(A, *, pivot=True, out=None):
    """(P, L, U) with ``A = P L U``: a permutation, a unit lower and an upper triangular matrix."""
    A = matrices("linalg.lu", A)
    packed, pivots, _ = _lu("linalg.lu", A, pivot, False)
    P = _permutation(pivots, A._m.shape[-2], A) if pivot else zeros(0, dtype=A._m.dtype, device=A._m.device)
    return results("linalg.lu", lu_result(P, unit_lower(packed), _upper(packed)), out, A, exact=True)


@function(name="lu")
def old_lu(A, pivot=True, get_infos=False, out=None):
    """(LU, pivots), with ``get_infos`` also the info: `linalg.lu_factor` and `linalg.lu_factor_ex` under their old name."""
    if A._n is not None and out is not None:
        raise RuntimeError("lu: functions with out=... arguments don't support automatic differentiation; detach A")
    if get_infos:
        return old_lu_result(*lu_factor_ex(A, pivot=pivot, out=out))
    return tuple(lu_factor(A, pivot=pivot, out=out))


@function(install=("ng",))
def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True, *, out=None):
    """(P, L, U) of the results of `linalg.lu_factor`; empty tensors for what is not asked for."""
    LU_data = matrices("lu_unpack", LU_data, argument="LU_data")
    if unpack_pivots and LU_pivots._m.dtype.name != "int32":
        raise RuntimeError(
            f"torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype, got {LU_pivots._m.dtype!r}"
        )
    if unpack_pivots:
        *batch, m, n = LU_data._m.shape
        _check_pivots("lu_unpack", LU_pivots, m, (*batch, min(m, n)))
    none = zeros(0, dtype=LU_data._m.dtype, device=LU_data._m.device)
    P = _permutation(LU_pivots, LU_data._m.shape[-2], LU_data) if unpack_pivots else none
    L, U = (unit_lower(LU_data), _upper(LU_data)) if unpack_data else (none, none)
    return results("lu_unpack", lu_unpack_result(P, L, U), out, LU_data)


def linalg_lu_solve(LU, pivots, B, *, left=True, adjoint=False, out=None) -> Tensor:
    """The ``X`` with ``A X = B`` (``X A = B`` if not ``left``, ``A^T`` if ``adjoint``), given `linalg.lu_factor`'s
    results for ``A``."""
    name = "linalg.lu_solve"
    LU, B = matrices(name, LU, square=True, argument="LU"), matrices(name, B, argument="B")
    same_dtype(name, LU, B)
    if pivots._m.dtype.name != "int32":
        raise RuntimeError(f"{name}: pivots should be a Tensor of scalar type Int, got {pivots._m.dtype!r}")
    if tuple(pivots._m.shape) != tuple(LU._m.shape[:-1]):
        raise RuntimeError(
            f"{name}: Number of pivots per batch should be same as the dimension of the matrix, got {list(pivots._m.shape)} "
            f"for {list(LU._m.shape)}"
        )
    if B._m.shape[-2 if left else -1] != LU._m.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'}: "
            f"{list(LU._m.shape)} and {list(B._m.shape)}"
        )
    _check_pivots(name, pivots, LU._m.shape[-1], tuple(LU._m.shape[:-1]))
    P = _permutation(pivots, LU._m.shape[-1], LU)
    rhs = B if left else mH(B)
    if left != bool(adjoint):  # P L U X = B
        half = solve_triangular(LU, matmul(mH(P), rhs), upper=False, unitriangular=True)
        found = solve_triangular(LU, half, upper=True)
    else:  # U^T L^T P^T X = B
        half = solve_triangular(mH(LU), rhs, upper=False)
        found = matmul(P, solve_triangular(mH(LU), half, upper=True, unitriangular=True))
    found = found if left else mH(found)
    return found if out is None else into(name, found, out, LU, B, exact=True)


@function
def lu_solve(b, LU_data, LU_pivots, *, out=None) -> Tensor:
    """`linalg.lu_solve` under its old name and order of arguments."""
    return linalg_lu_solve(LU_data, LU_pivots, b, out=out)


# --- QR ------------------------------------------------------------------------------------------------------------


def _mirrored(X):
    """The Hermitian matrix with the lower triangle of ``X`` below the diagonal and its real part on it."""
    below = X.tril(-1)
    return below + mH(below) + diagonal(X, 0, -2, -1).real.diag_embed()


@several_results
class LinalgQr(Function):
    """Q and R of ``A = Q R``."""

    @staticmethod
    def forward(ctx, A, mode):
        Q, R = (from_host(part, A) for part in lapack.qr(to_host(A), mode))
        ctx.mode, ctx.shape = mode, tuple(A._m.shape[-2:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(Q, R)
        return Q, R

    @staticmethod
    def backward(ctx, g_q, g_r):
        m, n = ctx.shape
        if ctx.mode == "r":
            raise RuntimeError(
                "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
                "linalg.qr(A, mode='reduced') if you are going to require gradients"
            )
        if ctx.mode == "complete" and m > n:
            raise RuntimeError(
                "The QR decomposition is not differentiable when mode='complete' and nrows > ncols; use mode='reduced'"
            )
        if g_q is None and g_r is None:
            return None, None
        Q, R = ctx.saved_tensors
        if m >= n:
            return _qr_gradient(Q, R, g_q, g_r), None
        # A = [A1, A2] with A1 = Q R1 and A2 = Q R2: R2 depends on A2 and, through Q, on A1.
        first, rest = R[..., :m], R[..., m:]
        if g_r is None:
            found = _qr_gradient(Q, first, g_q, None)
            return cat((found, (found[..., :1] * 0.0).expand(*found._m.shape[:-1], n - m)), -1), None
        through = matmul(matmul(Q, rest), mH(g_r[..., m:]))
        found = _qr_gradient(Q, first, through if g_q is None else g_q + through, g_r[..., :m])
        return cat((found, matmul(Q, g_r[..., m:])), -1), None


def _qr_gradient(Q, R, g_q, g_r):
    """The gradient for square R: ``(gQ + Q mirrored(R gR^T - gQ^T Q)) R^-T``."""
    inner = None if g_r is None else matmul(R, mH(g_r))
    if g_q is not None:
        other = matmul(mH(g_q), Q)
        inner = -other if inner is None else inner - other
    found = matmul(Q, _mirrored(inner))
    found = found if g_q is None else found + g_q
    return solve_triangular(mH(R), found, upper=False, left=False)


def linalg_qr(A, mode="reduced", *, out=None):
    """(Q, R) with ``A = Q R``: orthogonal columns and an upper triangle. ``mode``: "reduced", "complete", or "r", which
    leaves Q empty."""
    A = matrices("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"linalg.qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    return results("linalg.qr", qr_result(*LinalgQr.apply(A, mode)), out, A, exact=True)


@function
def qr(input, some=True, *, out=None):
    """`linalg.qr` under its old name."""
    found = linalg_qr(input, "reduced" if some else "complete")
    return results("qr", old_qr_result(*found), out, input)


# --- symmetric eigenvalues -----------------------------------------------------------------------------------------

_DIVERGED = (
    "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated {} values "
    "(error code: {{}})."
)


def _gaps(values):
    """``values[j] - values[i]`` at (i, j), and 1 on the diagonal."""
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    return gaps + eye(values._m.shape[-1], dtype=values._m.dtype, device=values._m.device)


def _embedded(values):
    """Diagonal matrices."""
    return values.diag_embed()


@several_results
class LinalgEigh(Function):
    """Eigenvalues and eigenvectors of symmetric matrices."""

    @staticmethod
    def forward(ctx, A, lower):
        try:
            L, V = (from_host(part, A) for part in lapack.eigh(to_host(A), lower, True))
        except lapack.Failure as failure:
            raise failed("linalg.eigh", A, failure, _DIVERGED.format("eigen")) from None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(L, V)
        return L, V

    @staticmethod
    def backward(ctx, g_l, g_v):
        L, V = ctx.saved_tensors
        if g_v is None:
            return None if g_l is None else matmul(V * g_l.unsqueeze(-2), mH(V)), None
        inner = matmul(mH(V), g_v)
        check_phases("linalg_eigh_backward", "eigenvectors", inner)
        inner = (inner - mH(inner)) * 0.5 / _gaps(L)
        if g_l is not None:
            inner = inner + _embedded(g_l)
        return matmul(matmul(V, inner), mH(V)), None


def _triangle(name, UPLO):
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"{name}: Expected UPLO argument to be 'L' or 'U', but got {UPLO!r}")
    return UPLO.upper() == "L"


def eigh(A, UPLO="L", *, out=None):
    """(eigenvalues, eigenvectors) of symmetric matrices, of which one triangle is read: values in rising order, vectors
    in the columns."""
    A = matrices("linalg.eigh", A, square=True)
    return results("linalg.eigh", eigh_result(*LinalgEigh.apply(A, _triangle("linalg.eigh", UPLO))), out, A, exact=True)


def eigvalsh(A, UPLO="L", *, out=None) -> Tensor:
    """The eigenvalues of symmetric matrices, of which one triangle is read, in rising order."""
    A = matrices("linalg.eigvalsh", A, square=True)
    lower = _triangle("linalg.eigvalsh", UPLO)
    if A._n is not None:
        found = LinalgEigh.apply(A, lower)[0]
    else:
        found = from_host(lapack.eigh(to_host(A), lower, False)[0], A)
    return found if out is None else into("linalg.eigvalsh", found, out, A, exact=True)


# --- singular values -----------------------------------------------------------------------------------------------


@several_results
class LinalgSvd(Function):
    """U, S and V^T of ``A = U diag(S) V^T``."""

    @staticmethod
    def forward(ctx, A, full):
        try:
            U, S, Vh = (from_host(part, A) for part in lapack.svd(to_host(A), full, True))
        except lapack.Failure as failure:
            raise failed("linalg.svd", A, failure, _DIVERGED.format("singular")) from None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(U, S, Vh)
        return U, S, Vh

    @staticmethod
    def backward(ctx, g_u, g_s, g_vh):
        U, S, Vh = ctx.saved_tensors
        k = S._m.shape[-1]
        U, Vh = U[..., :k], Vh[..., :k, :]
        if g_u is None and g_vh is None:
            return None if g_s is None else matmul(U * g_s.unsqueeze(-2), Vh), None
        m, n = U._m.shape[-2], Vh._m.shape[-1]
        row = S.unsqueeze(-2)
        ones = eye(k, dtype=S._m.dtype, device=S._m.device)  # on the diagonal, where a singular value of 0 would give 0 / 0
        gaps = _gaps(S) * (row + S.unsqueeze(-1) + ones) if k else S.diag_embed()
        found = None if g_s is None else _embedded(g_s)
        left = right = None
        if g_u is not None:
            g_u = g_u[..., :k]
            left = matmul(mH(U), g_u)
            inner = (left - mH(left)) / gaps * row
            found = inner if found is None else found + inner
        if g_vh is not None:
            g_v = mH(g_vh[..., :k, :])
            right = matmul(Vh, g_v)
            inner = (right - mH(right)) / gaps * S.unsqueeze(-1)
            found = inner if found is None else found + inner
        if U._m.dtype.is_complex:
            # A phase of both vectors together is free; what turns one against the other is a gradient (arXiv:1909.02659).
            check_phases("svd_backward", "singular vectors", *[part for part in (left, right) if part is not None])
            if left is not None and right is not None:
                found = found + (diagonal(left, 0, -2, -1).imag / S * 1j).diag_embed()
        found = matmul(matmul(U, found), Vh)
        if g_u is not None and m > k:  # the part of gU outside the columns of U
            scaled = g_u / row
            found = found + matmul(scaled - matmul(U, matmul(mH(U), scaled)), Vh)
        if g_vh is not None and n > k:
            scaled = mH(g_v / row)
            found = found + matmul(U, scaled - matmul(matmul(scaled, mH(Vh)), Vh))
        return found, None


def linalg_svd(A, full_matrices=True, *, driver=None, out=None):
    """(U, S, Vh) with ``A = U diag(S) Vh``: orthogonal U and Vh, singular values S in falling order. U and Vh are
    square with ``full_matrices``; ``driver`` is for CUDA libraries and must be None."""
    A = matrices("linalg.svd", A)
    if driver is not None:
        raise RuntimeError("linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.")
    return results("linalg.svd", svd_result(*LinalgSvd.apply(A, bool(full_matrices))), out, A, exact=True)


def svdvals(A, *, driver=None, out=None) -> Tensor:
    """The singular values of matrices, in falling order."""
    A = matrices("linalg.svdvals", A)
    if A._n is not None:
        found = LinalgSvd.apply(A, False)[1]
    else:
        found = from_host(lapack.svd(to_host(A), False, False)[1], A)
    return found if out is None else into("linalg.svdvals", found, out, A)


@function
def svd(input, some=True, compute_uv=True, *, out=None):
    """(U, S, V) with ``input = U diag(S) V^T``; U and V are zeros without ``compute_uv``."""
    A = matrices("svd", input, argument="input")
    if compute_uv:
        U, S, Vh = linalg_svd(A, not some)
        return results("svd", old_svd_result(U, S, mH(Vh)), out, A)
    m, n = A._m.shape[-2:]
    batch = tuple(A._m.shape[:-2])
    U, V = (zeros(*batch, size, size, dtype=A._m.dtype, device=A._m.device) for size in (m, n))
    return results("svd", old_svd_result(U, svdvals(A), V), out, A)


def linalg_diagonal(A, *, offset=0, dim1=-2, dim2=-1) -> Tensor:
    """The diagonals of matrices, as a view."""
    return diagonal(A, offset, dim1, dim2)
