"""Decompositions, inverses and solutions of linear systems by LAPACK (through NumPy), with gradients in Tensor ops.

Matrices are the last two dimensions; all others are batches. LAPACK runs on the host, also for tensors of a device.
"""

import numpy as np

from ..errors import LinAlgError
from ..function import Function
from ..op import as_tensor_operand
from ..tensor import Tensor, from_array
from .results import return_type


def matrices(name, tensor, square=False, argument="A") -> Tensor:
    """The tensor, checked to be floating-point matrices."""
    tensor = as_tensor_operand(name, tensor, argument)
    m = tensor._m
    if m.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor {argument} must have at least 2 dimensions, got shape {list(m.shape)}; add some "
            "with unsqueeze"
        )
    if square and m.shape[-1] != m.shape[-2]:
        raise RuntimeError(
            f"{name}: {argument} must be batches of square matrices, but they are {m.shape[-2]} by {m.shape[-1]} matrices"
        )
    if not m.dtype.is_floating_point:
        raise RuntimeError(f"{name}: Expected a floating point tensor as input. Got {m.dtype!r}; convert with .float()")
    return tensor


def host(tensor) -> np.ndarray:
    """The values as an ndarray, without history."""
    return tensor.detach().cpu().numpy()


def back(array, like) -> Tensor:
    """An ndarray as a tensor in the dtype and on the device of ``like``."""
    return from_array(np.asarray(array, like._m.np, order="C")).to(like._m.device)


def lapack(name, fn, *arrays):
    """``fn(*arrays)``; a LinAlgError says which matrix of a batch has no solution."""
    try:
        with np.errstate(all="ignore"):
            return fn(*arrays)
    except np.linalg.LinAlgError as error:
        place = ""
        if arrays[0].ndim > 2:
            for index in np.ndindex(arrays[0].shape[:-2]):
                try:
                    fn(*[array[index] if array.ndim > 2 else array for array in arrays])
                except np.linalg.LinAlgError:
                    place = f"(Batch element {np.ravel_multi_index(index, arrays[0].shape[:-2])}): "
                    break
        raise LinAlgError(f"{name}: {place}{_REASONS.get(name, str(error))}") from None


_REASONS = {
    "linalg.inv": "The diagonal element is zero, the inversion could not be completed because the input matrix is singular.",
    "linalg.solve": "The solver failed because the input matrix is singular.",
    "linalg.cholesky": "The factorization could not be completed because the input is not positive-definite.",
    "linalg.svd": "The algorithm failed to converge because the input matrix contained non-finite values.",
    "linalg.eigh": "The algorithm failed to converge because the input matrix contained non-finite values.",
}


def transposed(x):
    """The matrices transposed."""
    return x.transpose(-2, -1)


def _without_diagonal(x):
    """``1 / x`` off the diagonal, 0 on it."""
    eye = from_array(np.eye(x.shape[-1], dtype=bool)).to(x.device)
    return (1.0 / x.masked_fill(eye, 1.0)).masked_fill(eye, 0.0)


class Inverse(Function):
    """A -> A**-1."""

    @staticmethod
    def forward(ctx, a, name):
        out = back(lapack(name, np.linalg.inv, host(a)), a)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, g):
        (inverse,) = ctx.saved_tensors
        t = transposed(inverse)
        return -(t @ g @ t), None


class Solve(Function):
    """(A, B) -> X with A X = B; B has the batch of A."""

    @staticmethod
    def forward(ctx, a, b, name):
        out = back(lapack(name, np.linalg.solve, host(a), host(b)), a)
        ctx.save_for_backward(a, out)
        return out

    @staticmethod
    def backward(ctx, g):
        a, x = ctx.saved_tensors
        d_b = Solve.apply(transposed(a), g, "linalg.solve")
        return -(d_b @ transposed(x)), d_b, None


class SVD(Function):
    """A (m, n) -> U (m, k), S (k), Vh (k, n) with k = min(m, n)."""

    @staticmethod
    def forward(ctx, a):
        found = lapack("linalg.svd", lambda x: np.linalg.svd(x, full_matrices=False), host(a))
        u, s, vh = (back(array, a) for array in found)
        ctx.save_for_backward(u, s, vh)
        ctx.set_materialize_grads(False)
        return u, s, vh

    @staticmethod
    def backward(ctx, g_u, g_s, g_vh):
        u, s, vh = ctx.saved_tensors
        v = transposed(vh)
        if g_u is None and g_vh is None:
            return (u * g_s.unsqueeze(-2)) @ vh if g_s is not None else None
        row, column = s.unsqueeze(-2), s.unsqueeze(-1)
        reciprocal = _without_diagonal((row - column) * (row + column))
        inner = 0.0 if g_s is None else g_s.diag_embed()
        outer = 0.0
        if g_u is not None:
            projected = transposed(u) @ g_u
            inner = inner + ((projected - transposed(projected)) * reciprocal) * row
            if u.shape[-2] > u.shape[-1]:
                outer = outer + ((g_u - u @ projected) / row) @ vh
        if g_vh is not None:
            g_v = transposed(g_vh)
            projected = vh @ g_v
            inner = inner + column * ((projected - transposed(projected)) * reciprocal)
            if v.shape[-2] > v.shape[-1]:
                outer = outer + (u / row) @ transposed(g_v - v @ projected)
        return u @ inner @ vh + outer


class Eigh(Function):
    """Symmetric A (n, n) -> eigenvalues (n), rising, and eigenvectors (n, n)."""

    @staticmethod
    def forward(ctx, a, uplo):
        values, vectors = (back(x, a) for x in lapack("linalg.eigh", lambda x: np.linalg.eigh(x, uplo), host(a)))
        ctx.save_for_backward(values, vectors)
        ctx.set_materialize_grads(False)
        return values, vectors

    @staticmethod
    def backward(ctx, g_values, g_vectors):
        values, v = ctx.saved_tensors
        inner = 0.0 if g_values is None else g_values.diag_embed()
        if g_vectors is not None:
            inner = inner + (transposed(v) @ g_vectors) * _without_diagonal(values.unsqueeze(-2) - values.unsqueeze(-1))
        return (v @ inner @ transposed(v) if g_values is not None or g_vectors is not None else None), None


class Cholesky(Function):
    """Positive-definite A -> lower-triangular L with A = L L**T."""

    @staticmethod
    def forward(ctx, a):
        lower = np.tril(host(a))
        full = lower + np.swapaxes(np.tril(lower, -1), -1, -2)
        out = back(lapack("linalg.cholesky", np.linalg.cholesky, full), a)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, g):
        (low,) = ctx.saved_tensors
        product = (transposed(low) @ g).tril()
        half = product - 0.5 * product.diagonal(dim1=-2, dim2=-1).diag_embed()
        solved = Solve.apply(transposed(low), half, "linalg.solve")
        found = transposed(Solve.apply(transposed(low), transposed(solved), "linalg.solve"))
        return 0.5 * (found + transposed(found))


class QR(Function):
    """A (m, n) -> Q (m, k), R (k, n) with k = min(m, n), or (m, m) and (m, n) if complete."""

    @staticmethod
    def forward(ctx, a, mode):
        found = lapack("linalg.qr", lambda x: np.linalg.qr(x, "complete" if mode == "complete" else "reduced"), host(a))
        q, r = (back(x, a) for x in found)
        ctx.save_for_backward(q, r)
        ctx.mode = mode
        return q, r

    @staticmethod
    def backward(ctx, g_q, g_r):
        q, r = ctx.saved_tensors
        m, n = q.shape[-2], r.shape[-1]
        if ctx.mode == "r" or (ctx.mode == "complete" and m > n):
            raise RuntimeError(
                f"linalg.qr: The derivative of linalg.qr depends on Q, and there is none for mode={ctx.mode!r} of a {m} by "
                f"{n} matrix; use mode='reduced'"
            )
        if m >= n:
            return _square_qr(q, r, g_q, g_r), None
        # Wide: the first m columns are a square problem, the others follow from R2 = Q**T A2.
        r1, g1, g2 = r[..., :m], g_r[..., :m], g_r[..., m:]
        a2 = q @ r[..., m:]
        left = _square_qr(q, r1, g_q + a2 @ transposed(g2), g1)
        from .join import cat

        return cat((left, q @ g2), -1), None


def _square_qr(q, r, g_q, g_r):
    both = r @ transposed(g_r) - transposed(g_q) @ q
    symmetric = both.tril() + transposed(both.tril(-1))
    return transposed(Solve.apply(r, transposed(g_q + q @ symmetric), "linalg.solve"))


class Slogdet(Function):
    """A -> sign and logarithm of the magnitude of its determinant."""

    @staticmethod
    def forward(ctx, a):
        sign, logarithm = (back(x, a) for x in np.linalg.slogdet(host(a)))
        ctx.save_for_backward(a)
        return sign, logarithm

    @staticmethod
    def backward(ctx, _, g):
        (a,) = ctx.saved_tensors
        return g[..., None, None] * transposed(Inverse.apply(a, "linalg.slogdet"))


class Determinant(Function):
    """A -> its determinant; the gradient exists for singular matrices too."""

    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return back(np.linalg.det(host(a)), a)

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g[..., None, None] * _cofactors(a)


def _cofactors(a):
    """The matrix of cofactors, the derivative of the determinant."""
    n = a.shape[-1]
    if n == 0:
        return a.clone()
    if np.all(np.linalg.cond(host(a)) < 1e6 if a.numel() else True):
        return Determinant.apply(a)[..., None, None] * transposed(Inverse.apply(a, "linalg.det"))
    u, s, vh = SVD.apply(a)
    others = [_product_of([s[..., j] for j in range(n) if j != k], s) for k in range(n)]
    from .join import stack

    sign = Determinant.apply(u) * Determinant.apply(vh)
    return (u * (stack(others, -1) * sign.unsqueeze(-1)).unsqueeze(-2)) @ vh


def _product_of(factors, like):
    found = like[..., 0].new_ones(like.shape[:-1])
    for factor in factors:
        found = found * factor
    return found


SlogdetResult = return_type("linalg_slogdet", "sign", "logabsdet")
SVDResult = return_type("linalg_svd", "U", "S", "Vh")
EighResult = return_type("linalg_eigh", "eigenvalues", "eigenvectors")
QRResult = return_type("linalg_qr", "Q", "R")
