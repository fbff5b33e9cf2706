"""Numbers and functions of matrices: determinants, norms, ranks, conditions, pseudo-inverses, exponentials."""

from math import inf

from .. import dtypes
from ..autograd import NodeName
from ..function import Function
from ..kernels import lapack
from ..layout import integers, normalize_axes
from ..op import as_tensor_operand, cast, function, plain
from ..structured import structured
from ..tensor import Tensor
from .compare import where_function as where
from .complex import conj
from .create import zeros
from .distance import norm_along
from .extrema import _maximum as maximum
from .factor import LinalgEigh, LinalgSvd, eigvalsh, svdvals
from .join import cat
from .matmul import matmul
from .reduce import amax, amin, sum as total_sum
from .results import return_type
from .scan import cumprod
from .solve import _inverse, failed, floating, into, inv_ex, matrices, mH, mT, results, same_dtype
from .values import any_true, from_host, to_host
from .view import movedim

slogdet_result = return_type("linalg_slogdet", "sign", "logabsdet")
old_slogdet_result = return_type("slogdet", "sign", "logabsdet")
lstsq_result = return_type("linalg_lstsq", "solution", "residuals", "rank", "singular_values")

# --- determinants --------------------------------------------------------------------------------------------------


@structured(install=(), complex=True, name="determinant", grad_name="LinalgDetBackward0")
def _det(A):
    return from_host(lapack.determinant(to_host(A)), A)


@_det.backward
def _(g, A, out):
    if not any_true(out == 0.0):
        return mH(_inverse(A)) * (g * conj(out))[..., None, None]
    return _cofactors(A) * g[..., None, None]


def _cofactors(A):
    """The (conjugate) derivatives of the determinants, singular matrices included: ``conj(det(U) det(Vh)) U
    diag(products of the other singular values) Vh``."""
    U, S, Vh = LinalgSvd.apply(A, False)
    before = cumprod(cat((S[..., :1] * 0.0 + 1.0, S[..., :-1]), -1), -1)
    after = cumprod(cat((S[..., :1] * 0.0 + 1.0, S[..., 1:].flip(-1)), -1), -1).flip(-1)
    sign = (_det(plain(U)) * _det(plain(Vh)))[..., None, None]
    return matmul(U * (before * after).unsqueeze(-2), Vh) * conj(sign)


def det(A, *, out=None) -> Tensor:
    """The determinants of square matrices: (..., n, n) -> (...)."""
    found = _det(matrices("linalg.det", A, square=True))
    return found if out is None else into("linalg.det", found, out)


class LinalgSlogdet(Function):
    """Sign and logarithm of the absolute value of determinants."""

    @staticmethod
    def forward(ctx, A):
        sign, value = (from_host(part, A) for part in lapack.log_determinant(to_host(A)))
        ctx.save_for_backward(A, sign)
        return sign, value

    @staticmethod
    def backward(ctx, g_sign, g):
        A, sign = ctx.saved_tensors
        if sign._m.dtype.is_complex:  # the sign turns with the imaginary part of the logarithm
            g = g - (conj(g_sign) * sign).imag * 1j
        return mH(_inverse(A)) * g[..., None, None]


LinalgSlogdet._node_class.name = NodeName("LinalgSlogdetBackward0")


def slogdet(A, *, out=None):
    """(sign, logabsdet) of the determinants of square matrices, which may be too large or small for a number."""
    A = matrices("linalg.slogdet", A, square=True)
    return results("linalg.slogdet", slogdet_result(*LinalgSlogdet.apply(A)), out, A)


@function(name="det")
def _old_det(input, *, out=None) -> Tensor:
    """`linalg.det`."""
    return det(input, out=out)


@function(name="slogdet")
def _old_slogdet(input, *, out=None):
    """`linalg.slogdet`."""
    return old_slogdet_result(*slogdet(input, out=out))


@function
def logdet(input) -> Tensor:
    """The logarithms of determinants: NaN of negative ones, -inf of 0."""
    sign, value = LinalgSlogdet.apply(matrices("logdet", input, square=True))
    return value + sign.log()


# --- norms ---------------------------------------------------------------------------------------------------------


def _in_dtype(name, A, dtype):
    A = floating(name, as_tensor_operand(name, A, "A"), narrow=True)
    if dtype is None:
        return A
    dtype = dtypes.as_dtype(dtype)
    kind = "complex" if A._m.dtype.is_complex else "floating point"
    if dtype.is_complex != A._m.dtype.is_complex or not dtype.differentiable:
        raise RuntimeError(f"{name}: dtype should be {kind} for {kind.replace('floating point', 'real')} inputs, but got {dtype!r}")
    if dtype.itemsize < A._m.dtype.itemsize:
        raise RuntimeError(f"{name}: the dtype of the input {A._m.dtype!r} should be convertible without narrowing to {dtype!r}")
    return cast(A, dtype)


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None, out=None) -> Tensor:
    """``sum(|x|^ord)^(1/ord)`` over ``dim`` (all by default); the largest or smallest ``|x|`` for infinite ``ord``,
    the number of non-zeros for 0."""
    name = "linalg.vector_norm"
    x = _in_dtype(name, x, dtype)
    if isinstance(ord, str):
        raise TypeError(f"{name}(): argument 'ord' must be a number, not {ord!r}; linalg.matrix_norm takes names")
    found = norm_along(name, x, ord, dim if dim is None or hasattr(dim, "__index__") or len(dim) else None, keepdim)
    return found if out is None else into(name, found, out, x)


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None) -> Tensor:
    """The norms of matrices, whose rows and columns are ``dim``: "fro" (of all elements), "nuc" (sum of the singular
    values), 2 and -2 (largest, smallest singular value), 1 and -1 (column sums), inf and -inf (row sums)."""
    name = "linalg.matrix_norm"
    A = _in_dtype(name, A, dtype)
    if A._m.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions, got {A._m.ndim}")
    if hasattr(dim, "__index__") or len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple, got {dim}")
    dim = tuple(dim)
    rows, columns = normalize_axes(name, dim, A._m.ndim)
    if rows == columns:
        raise RuntimeError(f"{name}: dims must be different. Got ({dim[0]}, {dim[1]})")
    if ord in ("fro", "nuc") if isinstance(ord, str) else abs(ord) in (1, 2, inf):
        found = _matrix_norm(name, A, ord, rows, columns, keepdim)
        return found if out is None else into(name, found, out, A)
    raise RuntimeError(f"{name}: Order {ord} not supported; use 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2")


def _matrix_norm(name, A, ord, rows, columns, keepdim):
    if ord == "fro":
        return norm_along(name, A, 2.0, (rows, columns), keepdim)
    if ord == "nuc" or ord < 0:
        fold = amin
    else:  # the largest of nothing is 0 here, as the sum of nothing
        fold = amax if A._m.shape[rows] and A._m.shape[columns] else total_sum
    if ord == "nuc" or abs(ord) == 2:
        values = svdvals(movedim(A, (rows, columns), (-2, -1)))
        found = total_sum(values, -1) if ord == "nuc" else fold(values, -1)
        if keepdim:
            for axis in sorted((rows, columns)):
                found = found.unsqueeze(axis)
        return found
    first, second = (rows, columns) if abs(ord) == 1 else (columns, rows)
    return fold(total_sum(A.abs(), first, True), (first, second), keepdim)


def norm(A, ord=None, dim=None, keepdim=False, *, out=None, dtype=None) -> Tensor:
    """A vector or matrix norm: `linalg.matrix_norm` if ``ord`` is given and ``dim`` names two dimensions (or is not
    given and ``A`` has two), else `linalg.vector_norm`, of order 2 by default."""
    name = "linalg.norm"
    A = _in_dtype(name, A, dtype)
    if dim is not None:
        dim = integers(name, "dim", dim)
    if ord is not None:
        if dim is not None and len(dim) not in (1, 2):
            raise RuntimeError(f"{name}: If dim is specified, it must be of length 1 or 2. Got {list(dim)}")
        if dim is None and A._m.ndim not in (1, 2):
            raise RuntimeError(
                f"{name}: If dim is not specified but ord is, the input must be 1D or 2D. Got {A._m.ndim}D; give dim"
            )
        if len(dim) == 2 if dim is not None else A._m.ndim == 2:
            return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, out=out)
    if isinstance(ord, str):
        raise RuntimeError(f"{name}: the norm {ord!r} is one of matrices, of two dimensions; got dim={dim}")
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, out=out)


def cond(A, p=None, *, out=None) -> Tensor:
    """The condition numbers ``norm(A) norm(A^-1)`` of matrices in the norm ``p`` (2 by default)."""
    name = "linalg.cond"
    A = matrices(name, A)
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"{name} got an invalid norm type: {p}; use 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2")
    if p is None or (not isinstance(p, str) and abs(p) == 2):
        values = svdvals(A)
        if not values._m.shape[-1]:
            found = zeros(*A._m.shape[:-2], dtype=A._m.dtype.to_real(), device=A._m.device)
        elif p == -2:
            found = values[..., -1] / values[..., 0]
        else:
            found = values[..., 0] / values[..., -1]
    else:
        A = matrices(name, A, square=True)
        if not A._m.shape[-1]:
            found = zeros(*A._m.shape[:-2], dtype=A._m.dtype.to_real(), device=A._m.device)
        else:
            inverse, info = inv_ex(A)
            singular = (info != 0)[..., None, None]
            found = matrix_norm(A, p) * matrix_norm(inverse.masked_fill(singular, 1.0), p)
            found = found.masked_fill(info != 0, inf)
    return found if out is None else into(name, found, out, A)


# --- rank, pseudo-inverse, least squares -----------------------------------------------------------------------------


def _as_bound(value, like):
    if isinstance(value, Tensor):
        if value._m.dtype.is_complex:
            raise RuntimeError("rcond tensor of complex type is not supported; nor are tolerances, give real ones")
        return cast(value, like._m.dtype.to_real()).unsqueeze(-1)
    return float(value)


def _cutoff(A, largest, atol, rtol):
    """Singular values up to this count as 0: ``max(atol, rtol * largest)``; ``largest`` is (..., 1)."""
    if rtol is None:
        given = atol is not None
        default = max(A._m.shape[-2:]) * dtypes.finfo(A._m.dtype).eps
        rtol = where(as_tensor_operand("rtol", atol, "atol") > 0, 0.0, default) if isinstance(atol, Tensor) else (
            0.0 if given and atol > 0 else default
        )  # fmt: skip
    atol = 0.0 if atol is None else atol
    relative, absolute = largest * _as_bound(rtol, A), _as_bound(atol, A)
    return maximum(relative, absolute) if isinstance(absolute, Tensor) else relative.clamp_min(absolute)


def _values(A, hermitian):
    """The singular values of ``A``; from eigenvalues if it is symmetric."""
    if not hermitian:
        return svdvals(A)
    return eigvalsh(A).abs()


def matrix_rank(A, tol=None, hermitian=False, *, atol=None, rtol=None, out=None) -> Tensor:
    """The number of singular values above ``max(atol, rtol * largest)``; ``rtol`` is by default the larger size times
    the dtype's eps if ``atol`` is not given."""
    A = plain(matrices("linalg.matrix_rank", A, square=hermitian))
    if tol is not None:
        atol, rtol = tol, 0.0
    values = _values(A, hermitian)
    if not values._m.shape[-1]:
        found = zeros(*A._m.shape[:-2], dtype=dtypes.int64, device=A._m.device)
    else:
        found = total_sum(values > _cutoff(A, amax(values, -1, True), atol, rtol), -1)
    return found if out is None else into("linalg.matrix_rank", found, out, A)


@structured(install=(), complex=True, name="pseudo_inverse", grad_name="PinverseBackward0")
def _pseudo_inverse(A, *, inverse):
    return inverse


@_pseudo_inverse.backward
def _(g, A, out):
    return _pinv_gradient(g, A, out)


def _pinv_gradient(g, A, P):
    """The gradient of the pseudo-inverse ``P`` of ``A`` of constant rank (Golub and Pereyra, 1973)."""
    turned = mH(P)
    direct = matmul(turned, matmul(g, turned))
    column = g - matmul(matmul(g, A), P)  # g (1 - A P)
    row = g - matmul(P, matmul(A, g))  # (1 - P A) g
    return matmul(mH(column), matmul(P, turned)) + matmul(matmul(turned, P), mH(row)) - direct


def pinv(A, rcond=None, hermitian=False, *, atol=None, rtol=None, out=None) -> Tensor:
    """The pseudo-inverses of matrices (..., m, n) -> (..., n, m); singular values up to ``max(atol, rtol * largest)``
    count as 0."""
    A = as_tensor_operand("linalg.pinv", A, "A")
    if A._m.ndim < 2:
        raise RuntimeError(f"linalg.pinv: expected a tensor with 2 or more dimensions of float, double, cfloat or cdouble types, got {A._m.ndim}")
    A = matrices("linalg.pinv", A, square=hermitian)
    m, n = A._m.shape[-2:]
    if not m or not n:
        found = mT(A).clone()
    else:
        bare, rtol = plain(A), rcond if rtol is None else rtol
        if hermitian:
            values, U = LinalgEigh.apply(bare, True)
            sizes, Vh = values.abs(), mH(U)
        else:
            U, values, Vh = LinalgSvd.apply(bare, False)
            sizes = values
        small = sizes <= _cutoff(A, amax(sizes, -1, True), atol, rtol)
        scales = (1.0 / values).masked_fill(small, 0.0)
        found = _pseudo_inverse(A, matmul(mH(Vh) * scales.unsqueeze(-2), mH(U)))
    return found if out is None else into("linalg.pinv", found, out, A)


@function
def pinverse(input, rcond=1e-15) -> Tensor:
    """`linalg.pinv` under its old name."""
    return pinv(input, rcond)


@structured(install=(), complex=True, name="least_squares", grad_name="LinalgLstsqBackward0")
def _least_squares(A, B, *, solution):
    return solution


@_least_squares.backward
def _(g, A, B):
    P = pinv(A)
    return _pinv_gradient(matmul(g, mH(B)), A, P), matmul(mH(P), g)


_DRIVERS = ("gelsy", "gels", "gelsd", "gelss")


def lstsq(A, B, rcond=None, *, driver=None, out=None):
    """(solution, residuals, rank, singular_values) of ``min |A X - B|``: (..., m, n), (..., m, k) -> (..., n, k).

    ``driver`` is LAPACK's: "gelsy" (the default), "gels" for full rank, "gelsd" or "gelss". Residuals are given for
    more rows than columns and full rank by all but "gelsy", ranks by all but "gels", singular values by the last two.
    """
    name = "linalg.lstsq"
    A, B = as_tensor_operand(name, A, "A"), as_tensor_operand(name, B, "B")
    same_dtype(name, A, B)
    if A._m.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions, got {A._m.ndim}")
    if not B._m.ndim:
        raise RuntimeError(f"{name}: other must have at least 1 dimension, got 0")
    A = matrices(name, A)
    if driver is not None and driver not in _DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of {_DRIVERS}, got {driver!r}")
    driver = driver or "gelsy"
    vector = A._m.ndim - 1 == B._m.ndim and A._m.shape[:-1] == B._m.shape
    rhs = B.unsqueeze(-1) if vector else B
    if rhs._m.ndim < 2 or rhs._m.shape[-2] != A._m.shape[-2]:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size({-1 if B._m.ndim == 1 else -2}), got {list(A._m.shape)} and "
            f"{list(B._m.shape)}"
        )
    m, n = A._m.shape[-2:]
    if rcond is None:
        rcond = max(m, n) * dtypes.finfo(A._m.dtype).eps
    try:
        x, rank, values = lapack.least_squares(to_host(A), to_host(rhs), rcond, driver)
    except lapack.Failure as failure:
        raise failed(
            name, A, failure, "The least squares solution could not be computed because the input matrix does not have "
            "full rank (error code: {})."
        ) from None  # fmt: skip
    solution = _least_squares(A, rhs, from_host(x, A))
    nothing = zeros(0, dtype=A._m.dtype.to_real(), device=A._m.device)
    residuals = solution.reshape(-1)[:0].real if solution.requires_grad else nothing  # of the graph, as in PyTorch
    if driver != "gelsy" and m > n and (driver == "gels" or bool((rank == n).all())):
        error = matmul(A, solution) - rhs
        residuals = total_sum((error * conj(error)).real, -2)
    found = lstsq_result(
        solution.squeeze(-1) if vector else solution,
        residuals,
        zeros(0, dtype=dtypes.int64, device=A._m.device) if driver == "gels" else from_host(rank, A),
        from_host(values, A) if driver in ("gelsd", "gelss") else nothing,
    )
    return results(name, found, out, A, B)


# --- exponentials --------------------------------------------------------------------------------------------------


@structured(install=(), complex=True, name="matrix_exponential", grad_name="LinalgMatrixExpBackward0")
def _exponential(A):
    return from_host(lapack.exponential(to_host(A)), A)


@_exponential.backward
def _(g, A):
    # exp of [[A^H, g], [0, A^H]] holds the derivative of the exponential in its upper right block.
    n = A._m.shape[-1]
    turned = mH(A)
    block = cat((cat((turned, g), -1), cat((g * 0.0, turned), -1)), -2)
    return _exponential(block)[..., :n, n:]


def matrix_exp(A) -> Tensor:
    """The exponentials ``1 + A + A^2 / 2 + ...`` of square matrices."""
    return _exponential(matrices("linalg.matrix_exp", A, square=True, narrow=True))


function(matrix_exp)
