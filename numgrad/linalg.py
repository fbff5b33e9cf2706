"""Linear algebra, as ``torch.linalg``. Matrices are the last two dimensions, all others are batches."""

import math
from typing import Any

import numpy as np

from . import dtypes
from .errors import LinAlgError
from .layout import normalize_axis
from .op import as_tensor_operand, cast, write_out
from .ops.contract import cross as _cross
from .ops.decompose import (
    QR,
    SVD,
    Cholesky,
    Determinant,
    Eigh,
    EighResult,
    Inverse,
    QRResult,
    Slogdet,
    SlogdetResult,
    Solve,
    SVDResult,
    back,
    host,
    matrices,
    transposed,
)
from .ops.matmul import matmul as matmul
from .ops.results import return_type
from .ops.statistics import vector_norm as _vector_norm
from .tensor import Tensor, from_array


def _floating(name, x, dtype=None):
    x = as_tensor_operand(name, x, "A")
    if dtype is not None:
        x = cast(x, dtypes.as_dtype(dtype))
    if not x._m.dtype.is_floating_point:
        raise RuntimeError(f"{name}: Expected a floating point tensor as input. Got {x._m.dtype!r}; convert with .float()")
    return x


def _finish(name, found, out, *sources) -> Any:
    return found if out is None else write_out(name, found, out, *sources)


# --- norms -----------------------------------------------------------------------------------------------------------


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None, out=None) -> Tensor:
    """``sum(|x|**ord)**(1 / ord)`` over ``dim`` (all by default); the largest or smallest ``|x|`` for infinite ``ord``,
    the number of non-zeros for 0."""
    x = _floating("linalg.vector_norm", x, dtype)
    if isinstance(ord, (str, tuple, list)) or ord is None:
        raise TypeError(f"linalg.vector_norm(): argument 'ord' must be Number, not {type(ord).__name__}")
    if isinstance(dim, (tuple, list)):
        dim = tuple(dim) or None
    return _finish("linalg.vector_norm", _vector_norm("linalg.vector_norm", x, float(ord), dim, keepdim), out)


def matrix_norm(A, ord: Any = "fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None) -> Tensor:
    """A norm of matrices: "fro", "nuc" (the sum of the singular values), 2 and -2 (the largest and the smallest one),
    1, -1, inf, -inf (extreme sums of magnitudes over columns or rows)."""
    name = "linalg.matrix_norm"
    A = _floating(name, A, dtype)
    if A._m.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions, got shape {list(A._m.shape)}")
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {dim}")
    first, second = (normalize_axis(name, axis, A._m.ndim) for axis in dim)
    if first == second:
        raise RuntimeError(f"{name}: dims must be different. Got ({dim[0]}, {dim[1]})")
    if ord == "fro":
        found = _vector_norm(name, A, 2.0, (first, second), keepdim)
    elif ord == "nuc" or abs(ord) == 2:
        values = svdvals(A.movedim((first, second), (-2, -1)))
        found = values.sum(-1) if ord == "nuc" else _extreme(values, ord, -1, False)
        if keepdim:
            for axis in sorted((first, second)):
                found = found.unsqueeze(axis)
    elif abs(ord) in (1, math.inf):
        summed, other = (first, second) if abs(ord) == 1 else (second, first)
        sums = A.abs().sum(summed, keepdim=True)
        found = _extreme(sums, ord, other, True)
        if not keepdim:
            for axis in sorted((first, second), reverse=True):
                found = found.squeeze(axis)
    else:
        raise RuntimeError(f"{name}: Order {ord} not supported; use 'fro', 'nuc', 1, -1, 2, -2, inf or -inf")
    return _finish(name, found, out)


def _extreme(values, ord, dim, keepdim):
    """The largest value along ``dim``, or the smallest if ``ord`` is negative; 0 is the largest of none."""
    if ord > 0 and not values._m.shape[dim]:
        return values.sum(dim, keepdim=keepdim)
    return values.amax(dim, keepdim) if ord > 0 else values.amin(dim, keepdim)


def norm(A, ord: Any = None, dim=None, keepdim=False, *, out=None, dtype=None) -> Tensor:
    """A vector norm (one dimension in ``dim``, or a vector) or a matrix norm (two, or a matrix); without ``ord`` the
    2-norm of all elements over ``dim``."""
    name = "linalg.norm"
    A = _floating(name, A, dtype)
    if isinstance(dim, (tuple, list)) and len(dim) == 1:
        dim = dim[0]
    if ord is None:
        if isinstance(dim, (tuple, list)) and len(dim) > 2:
            raise RuntimeError(f"{name}: If dim is specified, it must be of length 1 or 2. Got {list(dim)}")
        return vector_norm(A, 2, dim, keepdim, out=out)
    if isinstance(dim, (tuple, list)) and len(dim) != 2:
        raise RuntimeError(f"{name}: If dim is specified, it must be of length 1 or 2. Got {list(dim)}")
    if dim is None and A._m.ndim not in (1, 2):
        raise RuntimeError(
            f"{name}: If dim is not specified but ord is, the input must be 1D or 2D. Got {A._m.ndim}D; give dim="
        )
    if isinstance(dim, (tuple, list)) or (dim is None and A._m.ndim == 2):
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, out=out)
    if isinstance(ord, str):
        raise RuntimeError(f"{name}: Order {ord!r} not supported for vectors; it is one for matrices")
    return vector_norm(A, ord, dim, keepdim, out=out)


def cond(A, p: Any = None, *, out=None) -> Tensor:
    """The condition number in a matrix norm; 2 by default: the ratio of the extreme singular values."""
    A = matrices("linalg.cond", A, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = svdvals(A)
        found = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    else:
        found = matrix_norm(A, p) * matrix_norm(inv(A), p)
    return _finish("linalg.cond", found, out)


def matrix_rank(A, *, atol=None, rtol=None, hermitian=False, tol=None, out=None) -> Tensor:
    """The number of singular values above ``max(atol, rtol * the largest)``."""
    A = matrices("linalg.matrix_rank", A)
    s = eigvalsh(A).abs() if hermitian else svdvals(A)
    if tol is not None:
        atol, rtol = tol, 0.0
    if rtol is None:
        rtol = 0.0 if atol is not None else max(A._m.shape[-2:]) * np.finfo(A._m.np).eps
    if not s._m.shape[-1]:
        return _finish("linalg.matrix_rank", s.sum(-1).long(), out)
    limit = (s.amax(-1, keepdim=True) * rtol).clamp_min(0.0 if atol is None else atol)
    return _finish("linalg.matrix_rank", (s > limit).sum(-1), out)


# --- determinants, inverses, systems ---------------------------------------------------------------------------------


def det(A, *, out=None) -> Tensor:
    """The determinants of square matrices."""
    return _finish("linalg.det", Determinant.apply(matrices("linalg.det", A, square=True)), out)


def slogdet(A, *, out=None):
    """The sign of the determinant and the logarithm of its magnitude."""
    found = Slogdet.apply(matrices("linalg.slogdet", A, square=True))
    if out is not None:
        return SlogdetResult(*[write_out("linalg.slogdet", a, b) for a, b in zip(found, out, strict=True)])
    return SlogdetResult(*found)


def logdet(input) -> Tensor:
    """The logarithm of the determinant: NaN where that is negative."""
    sign, logarithm = Slogdet.apply(matrices("logdet", input, square=True))
    return logarithm + (sign < 0).to(logarithm.dtype).masked_fill(sign < 0, math.nan)


def inv(A, *, out=None) -> Tensor:
    """The inverses of square matrices; LinAlgError for a singular one."""
    return _finish("linalg.inv", Inverse.apply(matrices("linalg.inv", A, square=True), "linalg.inv"), out)


def solve(A, B, *, left=True, out=None) -> Tensor:
    """X with ``A X = B``, or ``X A = B`` if not ``left``; B is a vector, or matrices whose batch broadcasts with A's."""
    name = "linalg.solve"
    A, B = matrices(name, A, square=True), as_tensor_operand(name, B, "B")
    if B._m.dtype is not A._m.dtype:
        raise RuntimeError(f"{name}: Expected A and B to have the same dtype, but found A of type {A.dtype} and B of type {B.dtype} instead")
    n, shape = A._m.shape[-1], tuple(B._m.shape)
    vector = B._m.ndim == 1 or (B._m.ndim == A._m.ndim - 1 and shape == tuple(A._m.shape[:-1]))
    if vector and not left:
        raise RuntimeError(f"{name}: Vector broadcasting of the left hand side is not supported for left=False")
    if not left:
        return _finish(name, transposed(solve(transposed(A), transposed(B))), out)
    if vector:
        B = B.unsqueeze(-1)
    if B._m.ndim < 2 or B._m.shape[-2] != n:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation AX = B ({list(A.shape)} and {list(shape)})")
    batch = np.broadcast_shapes(tuple(A._m.shape[:-2]), tuple(B._m.shape[:-2]))
    A, B = A.expand(*batch, n, n), B.expand(*batch, n, B._m.shape[-1])
    found = Solve.apply(A, B, name)
    return _finish(name, found.squeeze(-1) if vector else found, out)


def solve_triangular(A, B, *, upper, left=True, unitriangular=False, out=None) -> Tensor:
    """`solve` of which only one triangle of A is read, with ones on the diagonal if ``unitriangular``."""
    name = "linalg.solve_triangular"
    A, B = matrices(name, A, square=True), matrices(name, B, argument="B")
    A = A.triu() if upper else A.tril()
    if unitriangular:
        A = A - A.diagonal(dim1=-2, dim2=-1).diag_embed() + from_array(np.eye(A.shape[-1], dtype=A._m.np)).to(A.device)
    return _finish(name, solve(A, B, left=left), out)


def inv_ex(A, *, check_errors=False, out=None):
    """The inverses and, for every matrix, 0 if there is one."""
    A = matrices("linalg.inv_ex", A, square=True)
    info = from_array((np.abs(np.linalg.det(host(A))) == 0).astype(np.int32))
    if check_errors or not bool(info.any()):
        return return_type("linalg_inv_ex", "inverse", "info")(inv(A, out=out), info)
    broken = info.bool()[..., None, None]
    eye = from_array(np.eye(A.shape[-1], dtype=A._m.np))
    found = inv(A.where(~broken, eye)).masked_fill(broken, math.inf)
    return return_type("linalg_inv_ex", "inverse", "info")(_finish("linalg.inv_ex", found, out), info)


def pinv(A, *, atol=None, rtol=None, hermitian=False, out=None) -> Tensor:
    """The pseudoinverse (Moore-Penrose): singular values up to ``max(atol, rtol * the largest)`` count as 0."""
    A = matrices("linalg.pinv", A)
    if not A._m.numel:
        return _finish("linalg.pinv", transposed(A).clone(), out)
    if hermitian:
        A = A.tril() + transposed(A.tril(-1))
    u, s, vh = SVD.apply(A)
    if rtol is None:
        rtol = 0.0 if atol is not None else max(A._m.shape[-2:]) * float(np.finfo(A._m.np).eps)
    limit = (s.detach().amax(-1, keepdim=True) * rtol).clamp_min(0.0 if atol is None else atol)
    kept = s.detach() > limit
    inverse = (1.0 / s.where(kept, s.new_ones(()))).masked_fill(~kept, 0.0)
    return _finish("linalg.pinv", (transposed(vh) * inverse.unsqueeze(-2)) @ transposed(u), out)


def lstsq(A, B, rcond=None, *, driver=None):
    """The X that minimises ``|A X - B|``, with residuals, ranks and singular values."""
    A, B = matrices("linalg.lstsq", A), as_tensor_operand("linalg.lstsq", B, "B")
    vector = B._m.ndim == A._m.ndim - 1
    right = B.unsqueeze(-1) if vector else B
    solution = pinv(A, rtol=rcond) @ right
    rank = matrix_rank(A.detach(), rtol=rcond)
    m, n = A._m.shape[-2:]
    residuals = ((A @ solution - right) ** 2).sum(-2) if m > n and bool((rank == n).all()) else A.new_empty(0)
    values = svdvals(A.detach()) if driver in ("gelsd", "gelss") else A.new_empty(0)
    make = return_type("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
    return make(solution.squeeze(-1) if vector else solution, residuals, rank, values)


# --- decompositions ---------------------------------------------------------------------------------------------------


def svd(A, full_matrices=True, *, driver=None, out=None):
    """``A = U diag(S) Vh`` with falling singular values; U and Vh are square if ``full_matrices``."""
    A = matrices("linalg.svd", A)
    u, s, vh = SVD.apply(A)
    if full_matrices and A._m.shape[-1] != A._m.shape[-2]:
        u, vh = _completed(u), transposed(_completed(transposed(vh)))
    return SVDResult(u, s, vh)


def _completed(q):
    """Orthonormal columns with further ones, to a square matrix; the further ones have no gradient."""
    m, k = q._m.shape[-2:]
    if m == k:
        return q
    complete = np.linalg.qr(host(q), "complete")[0][..., k:]
    from .ops.join import cat

    return cat((q, back(complete, q)), -1)


def svdvals(A, *, driver=None, out=None) -> Tensor:
    """The singular values, falling."""
    return _finish("linalg.svdvals", SVD.apply(matrices("linalg.svdvals", A))[1], out)


def eigh(A, UPLO="L", *, out=None):
    """Eigenvalues, rising, and eigenvectors of symmetric matrices, of which one triangle is read."""
    return EighResult(*Eigh.apply(matrices("linalg.eigh", A, square=True), UPLO))


def eigvalsh(A, UPLO="L", *, out=None) -> Tensor:
    """The eigenvalues of symmetric matrices, rising."""
    return _finish("linalg.eigvalsh", Eigh.apply(matrices("linalg.eigvalsh", A, square=True), UPLO)[0], out)


def cholesky(A, *, upper=False, out=None) -> Tensor:
    """Lower-triangular L with ``A = L L**T`` (or its transpose, if ``upper``); LinAlgError if A is not positive-definite."""
    A = matrices("linalg.cholesky", A, square=True)
    found = Cholesky.apply(transposed(A) if upper else A)
    return _finish("linalg.cholesky", transposed(found) if upper else found, out)


def cholesky_ex(A, *, upper=False, check_errors=False, out=None):
    """`cholesky` and 0 for every matrix that has one; otherwise NaN and 1."""
    A = matrices("linalg.cholesky_ex", A, square=True)
    make = return_type("linalg_cholesky_ex", "L", "info")
    info = np.zeros(A._m.shape[:-2], np.int32)
    for index in np.ndindex(info.shape):
        try:
            np.linalg.cholesky(host(A)[index])
        except np.linalg.LinAlgError:
            info[index] = 1
    if check_errors or not info.any():
        return make(cholesky(A, upper=upper), from_array(info))
    broken = from_array(info != 0)[..., None, None]
    eye = from_array(np.eye(A.shape[-1], dtype=A._m.np))
    return make(cholesky(A.where(~broken, eye), upper=upper).masked_fill(broken, math.nan), from_array(info))


def qr(A, mode="reduced", *, out=None):
    """``A = Q R`` with orthonormal columns of Q and triangular R; ``mode`` "reduced", "complete", or "r" (no Q)."""
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    A = matrices("linalg.qr", A)
    q, r = QR.apply(A, mode)
    return QRResult(A.new_empty(0) if mode == "r" else q, r)


# --- products ---------------------------------------------------------------------------------------------------------


def matrix_power(A, n, *, out=None) -> Tensor:
    """The ``n``-th power of square matrices; negative ones of the inverse."""
    A = matrices("linalg.matrix_power", A, square=True)
    base, n = (inv(A), -n) if n < 0 else (A, n)
    found = None
    while n:
        if n & 1:
            found = base if found is None else found @ base
        n >>= 1
        if n:
            base = base @ base
    if found is None:
        eye = from_array(np.eye(A.shape[-1], dtype=A._m.np)).to(A.device)
        found = A * 0.0 + eye
    return _finish("linalg.matrix_power", found if found is not A else A.clone(), out)


def multi_dot(tensors, *, out=None) -> Tensor:
    """The product of two or more matrices (vectors at the ends), in the order that takes the fewest multiplications."""
    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    first, last = tensors[0]._m.ndim == 1, tensors[-1]._m.ndim == 1
    if first:
        tensors[0] = tensors[0].unsqueeze(0)
    if last:
        tensors[-1] = tensors[-1].unsqueeze(1)
    for k, tensor in enumerate(tensors):
        if tensor._m.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {k} must be 2D but got {tensor._m.ndim}D")
    found = _product(tensors)
    shape = [size for size, gone in zip(found.shape, (first, last)) if not gone]
    return _finish("linalg.multi_dot", found.reshape(shape), out)


def _product(tensors):
    if len(tensors) <= 2:
        return tensors[0] if len(tensors) == 1 else tensors[0] @ tensors[1]
    sizes = [tensors[0]._m.shape[0], *[t._m.shape[1] for t in tensors]]
    n = len(tensors)
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], cut[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )

    def make(i, j):
        return tensors[i] if i == j else make(i, cut[i][j]) @ make(cut[i][j] + 1, j)

    return make(0, n - 1)


def cross(input, other, *, dim=-1, out=None) -> Tensor:
    """The vector product along ``dim``, which has size 3."""
    return _cross(input, other, dim, out=out)


def vecdot(x, y, *, dim=-1, out=None) -> Tensor:
    """The sum of ``x * y`` along ``dim``."""
    return _finish("linalg.vecdot", (x * y).sum(dim), out)


def diagonal(A, *, offset=0, dim1=-2, dim2=-1) -> Tensor:
    """The diagonals of matrices, a view."""
    return A.diagonal(offset, dim1, dim2)


# --- under their older names -------------------------------------------------------------------------------------------


def svd_root(input, some=True, compute_uv=True, *, out=None):
    """`svd` as U, S, V (not transposed); zeros for U and V without ``compute_uv``."""
    make = return_type("svd", "U", "S", "V")
    u, s, vh = svd(input, full_matrices=not some)
    if not compute_uv:
        m, n = input._m.shape[-2:]
        return make(input.new_zeros(*input._m.shape[:-2], m, m), s, input.new_zeros(*input._m.shape[:-2], n, n))
    return make(u, s, transposed(vh))


def qr_root(input, some=True, *, out=None):
    """`qr`, reduced or complete."""
    return return_type("qr", "Q", "R")(*qr(input, "reduced" if some else "complete"))


def cholesky_root(input, upper=False, *, out=None) -> Tensor:
    """`cholesky` with ``upper`` by position."""
    return cholesky(input, upper=upper, out=out)


for _name, _fn in (("det", det), ("inverse", inv), ("logdet", logdet), ("slogdet", slogdet), ("svd", svd_root), ("qr", qr_root),
                   ("matrix_power", matrix_power), ("pinverse", pinv), ("cholesky", cholesky_root)):  # fmt: skip
    setattr(Tensor, _name, _fn)

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "inv_ex",
    "logdet", "lstsq", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr",
    "slogdet", "solve", "solve_triangular", "svd", "svdvals", "vecdot", "vector_norm",
]  # fmt: skip
