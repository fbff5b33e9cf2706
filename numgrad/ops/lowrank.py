"""Singular values and principal components of matrices of low rank, by random projections."""

from ..op import as_tensor_operand, function
from ..tensor import Tensor
from .factor import linalg_qr, linalg_svd
from .matmul import matmul
from .random import randn
from .reduce import mean
from .solve import mT


def _range_of(A: Tensor, columns: int, rounds: int, shift: Tensor | None) -> Tensor:
    """An orthonormal basis of ``columns`` vectors of what ``A - shift`` maps to, nearly (Algorithm 4.4 of
    arXiv:0909.4061)."""

    def applied(A, shift, X):
        found = matmul(A, X)
        return found if shift is None else found - matmul(shift, X)

    Q = linalg_qr(applied(A, shift, randn(A._m.shape[-1], columns, dtype=A.dtype, device=A.device)))[0]
    A_t, shift_t = mT(A), None if shift is None else mT(shift)
    for _ in range(rounds):
        Q = linalg_qr(applied(A_t, shift_t, Q))[0]
        Q = linalg_qr(applied(A, shift, Q))[0]
    return Q


@function(install=("ng",))
def svd_lowrank(A, q: int | None = 6, niter: int | None = 2, M=None) -> tuple[Tensor, Tensor, Tensor]:
    """(U, S, V) with ``A - M`` nearly ``U diag(S) V^T``: the ``q`` largest singular values of a matrix (..., m, n) that has
    few large ones, from a random projection and ``niter`` rounds that sharpen it (Algorithm 5.1 of arXiv:0909.4061)."""
    A = as_tensor_operand("svd_lowrank", A, "A")
    if A._m.ndim < 2:
        raise ValueError(f"svd_lowrank: expected a matrix or a batch of matrices, got shape {list(A._m.shape)}")
    columns, rounds = 6 if q is None else q, 2 if niter is None else niter
    M = None if M is None else as_tensor_operand("svd_lowrank", M, "M").broadcast_to(A._m.shape)
    wide = A._m.shape[-2] < A._m.shape[-1]
    if wide:
        A, M = mT(A), None if M is None else mT(M)
    Q = _range_of(A, columns, rounds, M)
    projected = matmul(mT(Q), A)
    if M is not None:
        projected = projected - matmul(mT(Q), M)
    U, S, Vh = linalg_svd(projected, full_matrices=False)
    U, V = matmul(Q, U), mT(Vh)
    return (V, S, U) if wide else (U, S, V)


@function(install=("ng",))
def pca_lowrank(A, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """(U, S, V) of `svd_lowrank` for the rows of a matrix (..., m, n) as samples, less their mean if ``center``: the columns
    of V are the ``q`` principal directions (6 of them, or as many as there are). Raises ValueError for a ``q`` beyond the
    matrix and a negative ``niter``."""
    A = as_tensor_operand("pca_lowrank", A, "A")
    if A._m.ndim < 2:
        raise ValueError(f"pca_lowrank: expected a matrix or a batch of matrices, got shape {list(A._m.shape)}")
    least = min(A._m.shape[-2:])
    if q is None:
        q = min(6, least)
    elif not 0 <= q <= least:
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={least}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - mean(A, -2, keepdim=True) if center else A, q, niter)
