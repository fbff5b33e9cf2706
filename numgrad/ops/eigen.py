"""Eigenvalues and eigenvectors of general square matrices, real or complex; the results are complex."""

import numpy as np

from ..errors import LinAlgError
from ..function import Function
from ..kernels import lapack
from ..op import ENTRIES, as_tensor_operand
from ..tensor import Tensor
from .create import eye
from .factor import check_phases, several_results
from .matmul import matmul
from .parts import diagonal
from .results import return_type
from .solve import floating, into, mH, results, solve
from .values import from_host, to_host

eig_result = return_type("linalg_eig", "eigenvalues", "eigenvectors")


@several_results
class LinalgEig(Function):
    """Eigenvalues and eigenvectors, of norm 1, in the columns."""

    @staticmethod
    def forward(ctx, A):
        L, V = _decomposed("linalg.eig", A, True)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(L, V)
        ctx.real = not A._m.dtype.is_complex
        return L, V

    @staticmethod
    def backward(ctx, g_l, g_v):
        # (Boeddeker et al., arXiv:1701.00392): V^-H (diag(g_l) + (V^H g_v - V^H V diag(re(V^H g_v))) / conj(E)) V^H with
        # E[i, j] = L[j] - L[i]. A phase of an eigenvector is free, so that what depends on it has no gradient.
        L, V = ctx.saved_tensors
        Vh = mH(V)
        if g_v is None:
            if g_l is None:
                return None
            inner = g_l.diag_embed()
        else:
            inner = matmul(Vh, g_v)
            scale = diagonal(inner, 0, -2, -1)
            if not ctx.real:
                check_phases("linalg_eig_backward", "eigenvectors", inner)
            inner = inner - matmul(Vh, V * ENTRIES["real"](scale).unsqueeze(-2))
            same = eye(L._m.shape[-1], dtype=L._m.dtype, device=L._m.device)
            gaps = ENTRIES["conj"](L.unsqueeze(-2) - L.unsqueeze(-1))
            inner = inner * (1 - same) / (gaps + same)
            if g_l is not None:
                inner = inner + g_l.diag_embed()
        found = solve(Vh, matmul(inner, Vh))
        return ENTRIES["real"](found) if ctx.real else found


def _decomposed(name, A, vectors):
    """The factors as Tensors, the vectors None unless they are wanted."""
    array = to_host(A)
    if not np.isfinite(array).all():
        raise RuntimeError(f"torch.{name}: input tensor should not contain infs or NaNs.")
    try:
        return tuple(None if part is None else from_host(part, A) for part in lapack.eig(array, vectors))
    except lapack.Failure as failure:
        raise LinAlgError(
            f"{name}: The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated "
            f"eigenvalues (error code: {failure.info})."
        ) from None


def _square(name, A):
    A = as_tensor_operand(name, A, "A")
    m = A._m
    if m.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions, got {m.ndim}")
    if m.shape[-1] != m.shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {m.shape[-2]} by {m.shape[-1]} matrices"
        )
    return floating(name, A)


def eig(A, *, out=None):
    """(eigenvalues, eigenvectors) of square matrices, complex: ``A @ V = V @ diag(L)``, (*, n, n) -> (*, n), (*, n, n).

    The vectors are the columns, of norm 1; their order and phases are LAPACK's. Raises RuntimeError for matrices that are
    not square or not finite, and from the gradient if a loss depends on a phase.
    """
    A = _square("linalg.eig", A)
    return results("linalg.eig", eig_result(*LinalgEig.apply(A)), out, A)


def eigvals(A, *, out=None) -> Tensor:
    """The eigenvalues of square matrices, complex: (*, n, n) -> (*, n)."""
    A = _square("linalg.eigvals", A)
    found = LinalgEig.apply(A)[0] if A._n is not None else _decomposed("linalg.eigvals", A, False)[0]
    return found if out is None else into("linalg.eigvals", found, out, A, what="eigenvalues")
