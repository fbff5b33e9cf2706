"""LAPACK on batches of matrices: ndarrays in, ndarrays out, on the host.

What NumPy offers for whole batches is used from there, the rest is SciPy's, one matrix after the other; SciPy is
imported when it is first needed. Where a factorization fails, `Failure` says in which matrix and where in it.
"""

import ctypes
import functools
from math import prod

import numpy as np
from numba.extending import get_cython_function_address

from .. import config
from .blas import thread_setter

_LARGE = 1024  # matrices from this size on are worth the threads of BLAS's own pool


class _Threads:
    """Around a factorization: BLAS's own threads for large matrices, else one.

    Two pools of spinning threads that alternate are slow, so that OpenBLAS has one thread as long as Numba's run.
    """

    __slots__ = ("owner", "several")
    _limited: set = set()

    def __init__(self, owner, array):
        self.owner = owner
        self.several = min(array.shape[-2:]) >= _LARGE and config.usable_threads() > 1

    def __enter__(self):
        if self.several:
            thread_setter(self.owner)(config.usable_threads())
        elif self.owner not in self._limited:
            thread_setter(self.owner)(1)
        self._limited.add(self.owner)

    def __exit__(self, *exception):
        if self.several:
            thread_setter(self.owner)(1)


def _with_threads(owner):
    """Decorator: the function's first argument says how many threads the BLAS of ``owner`` gets."""

    def decorate(fn):
        @functools.wraps(fn)
        def threaded(a, *arguments):
            with _Threads(owner, a):
                return fn(a, *arguments)

        return threaded

    return decorate


class Failure(Exception):
    """A factorization that cannot be completed: ``batch`` is the number of the matrix, ``info`` what LAPACK says."""

    def __init__(self, batch, info):
        super().__init__(batch, info)
        self.batch, self.info = batch, info


def _flat(array):
    """The batch as a list of matrices."""
    return array.reshape(-1, *array.shape[-2:]) if 0 not in array.shape else array.reshape(0, *array.shape[-2:])


_LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}  # NumPy's letters for dtypes -> LAPACK's


def _real(dtype):
    """The dtype of singular values and norms."""
    return np.dtype(dtype.char.lower())


def _scipy(name, array):
    import scipy.linalg

    source = scipy.linalg.blas if name == "trsm" else scipy.linalg.lapack
    return getattr(source, _LETTERS[array.dtype.char] + name)


# --- systems -------------------------------------------------------------------------------------------------------


@_with_threads("scipy")
def first_singular(a):
    """(number of the matrix, 1-based place of its first zero pivot) of the first singular matrix, or None."""
    getrf = _scipy("getrf", a)
    for k, matrix in enumerate(_flat(a)):
        info = getrf(matrix)[2]
        if info:
            return k, info
    return None


@_with_threads("numpy")
def determinant(a):
    """The determinants of square matrices."""
    return np.linalg.det(a)


@_with_threads("numpy")
def log_determinant(a):
    """(signs, logarithms of absolute values) of determinants."""
    return np.linalg.slogdet(a)


@_with_threads("numpy")
def inverse(a):
    """The inverses of square matrices."""
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        raise Failure(*(first_singular(a) or (0, a.shape[-1]))) from None


@_with_threads("numpy")
def solve(a, b):
    """``x`` with ``a x = b``, batches broadcast."""
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        raise Failure(*(first_singular(a) or (0, a.shape[-1]))) from None


@_with_threads("scipy")
def solve_triangular(a, b, upper, unit):
    """``x`` with ``a x = b`` for triangular ``a``, batches broadcast; a zero on the diagonal gives infinities."""
    trsm = _scipy("trsm", b)

    def one(a, b):
        # A row-major matrix is its transpose to Fortran: x^T a^T = b^T is solved from the right.
        return trsm(1.0, a.T, b.T, side=1, lower=int(upper), diag=int(unit)).T

    if a.ndim == b.ndim == 2 and b.size:
        return one(a, b)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x = np.empty((*batch, *b.shape[-2:]), b.dtype)
    if x.size:
        a = np.broadcast_to(a, (*batch, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
        b = np.broadcast_to(b, x.shape).reshape(-1, *b.shape[-2:])
        out = x.reshape(b.shape)
        if a.shape[-1] <= _ROW_BY_ROW and len(b) > a.shape[-1]:
            _substitute(a, b, out, upper, unit)
        else:
            for k in range(len(b)):
                out[k] = one(a[k], b[k])
    return x


_ROW_BY_ROW = 16  # rows up to which many matrices are solved together


def _substitute(a, b, out, upper, unit):
    """Solve all the systems of a batch of small matrices row by row."""
    n = a.shape[-1]
    with np.errstate(all="ignore"):
        for i in range(n - 1, -1, -1) if upper else range(n):
            known = slice(i + 1, n) if upper else slice(0, i)
            row = b[:, i] - np.matmul(a[:, i, None, known], out[:, known])[:, 0]
            out[:, i] = row if unit else row / a[:, i, i, None]


# --- factorizations ------------------------------------------------------------------------------------------------


@_with_threads("numpy")
def cholesky(a, upper):
    """(factors, info of every matrix): info is 0, or the order of the first minor that is not positive."""
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return np.linalg.cholesky(a, upper=upper), info
    except np.linalg.LinAlgError:
        potrf = _scipy("potrf", a)
        factors = np.empty_like(a)
        flat, codes = _flat(factors), info.reshape(-1)
        for k, matrix in enumerate(_flat(a)):
            flat[k], codes[k] = potrf(matrix, lower=int(not upper), clean=1)
        return flat.reshape(a.shape), codes.reshape(info.shape)


@_with_threads("scipy")
def lu(a, pivot):
    """(packed factors, 1-based pivots as int32, info): ``a = P L U``, row ``k`` was exchanged with ``pivots[k]``."""
    m, n = a.shape[-2:]
    count = min(m, n)
    packed = np.empty(a.shape, a.dtype)
    pivots = np.empty((*a.shape[:-2], count), np.int32)
    info = np.zeros(a.shape[:-2], np.int32)
    if not packed.size:
        pivots[...] = np.arange(1, count + 1)
        return packed, pivots, info
    flat, places, codes = packed.reshape(-1, m, n), pivots.reshape(-1, count), info.reshape(-1)
    getrf = _scipy("getrf", a)
    for k, matrix in enumerate(a.reshape(-1, m, n)):
        if pivot:
            flat[k], places[k], codes[k] = getrf(matrix)
            places[k] += 1
        else:
            flat[k], codes[k] = _unpivoted(matrix)
            places[k] = np.arange(1, count + 1)
    return packed, pivots, info


def _unpivoted(a):
    """(packed factors, info) without exchanging rows."""
    a = np.array(a)
    info = 0
    with np.errstate(all="ignore"):
        for k in range(min(a.shape)):
            if a[k, k] == 0 and not info:
                info = k + 1
            a[k + 1 :, k] /= a[k, k]
            a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return a, info


def _symmetric(name, a, hermitian):
    """The routine ``sytrf`` or ``sytrs``, for Hermitian complex matrices ``hetrf`` or ``hetrs``."""
    return _scipy(("he" if hermitian and a.dtype.kind == "c" else "sy") + name, a)


@_with_threads("scipy")
def ldl(a, hermitian):
    """(packed factors, pivots as int32, info) of symmetric or Hermitian matrices, read from the lower triangle."""
    n = a.shape[-1]
    packed, pivots, info = np.zeros_like(a), np.zeros(a.shape[:-1], np.int32), np.zeros(a.shape[:-2], np.int32)
    if not a.size:
        return packed, pivots, info
    flat, places, codes = packed.reshape(-1, n, n), pivots.reshape(-1, n), info.reshape(-1)
    factor = _symmetric("trf", a, hermitian)
    for k, matrix in enumerate(a.reshape(-1, n, n)):
        found, places[k], codes[k] = factor(matrix, lower=1)
        flat[k] = np.tril(found)
    return packed, pivots, info


@_with_threads("scipy")
def ldl_solve(packed, pivots, b, hermitian):
    """The solutions of systems whose matrices `ldl` has factored, batches broadcast."""
    batch = np.broadcast_shapes(packed.shape[:-2], b.shape[:-2])
    x = np.empty((*batch, *b.shape[-2:]), b.dtype)
    if x.size:
        n = packed.shape[-1]
        solve = _symmetric("trs", packed, hermitian)
        factors = np.broadcast_to(packed, (*batch, n, n)).reshape(-1, n, n)
        places = np.broadcast_to(pivots, (*batch, n)).reshape(-1, n)
        out = x.reshape(-1, *b.shape[-2:])
        for k, right in enumerate(np.broadcast_to(b, x.shape).reshape(out.shape)):
            out[k] = solve(factors[k], places[k], right, lower=1)[0]
    return x


def permutations(pivots, size):
    """The order of rows that 1-based pivots stand for: row ``k`` of ``P^T a`` is row ``order[k]`` of ``a``."""
    flat = pivots.reshape(-1, pivots.shape[-1]) if pivots.size else pivots.reshape(prod(pivots.shape[:-1]), 0)
    order = np.tile(np.arange(size), (len(flat), 1))
    rows = np.arange(len(flat))
    for k in range(flat.shape[-1]):
        other = flat[:, k] - 1
        held = order[:, k].copy()
        order[:, k] = order[rows, other]
        order[rows, other] = held
    return order.reshape(*pivots.shape[:-1], size)


@_with_threads("numpy")
def qr(a, mode):
    """(Q, R) of every matrix; Q is empty in mode "r"."""
    if mode == "r":
        return np.empty(0, a.dtype), np.linalg.qr(a, mode="r")
    return np.linalg.qr(a, mode=mode)


@_with_threads("numpy")
def geqrf(a):
    """LAPACK's packed QR factorization of every matrix, transposed: (R and the reflections' vectors, their factors)."""
    packed, tau = np.linalg.qr(a, mode="raw")
    return np.ascontiguousarray(packed), tau


@_with_threads("numpy")
def eigh(a, lower, vectors):
    """Eigenvalues in rising order and eigenvectors (None without ``vectors``) of Hermitian matrices, read from one
    triangle."""
    uplo = "L" if lower else "U"
    try:
        if vectors:
            return tuple(np.linalg.eigh(a, uplo))
        return np.linalg.eigvalsh(a, uplo), None
    except np.linalg.LinAlgError:
        raise Failure(0, a.shape[-1] - 1) from None


@_with_threads("numpy")
def eig(a, vectors):
    """Eigenvalues and eigenvectors (None without ``vectors``) of general matrices, complex."""
    kind = np.result_type(a.dtype, np.complex64)
    try:
        if vectors:
            return tuple(part.astype(kind, copy=False) for part in np.linalg.eig(a))
        return np.linalg.eigvals(a).astype(kind, copy=False), None
    except np.linalg.LinAlgError:
        raise Failure(0, a.shape[-1]) from None


@_with_threads("numpy")
def svd(a, full, vectors):
    """(U, singular values in falling order, V^H); without ``vectors`` the values only."""
    m, n = a.shape[-2:]
    try:
        if not vectors:
            return None, np.linalg.svd(a, compute_uv=False), None
        if a.dtype.kind == "f" and 1 < m < n and n >= m * 11 // 6 and a.size and np.isfinite(a).all():
            return _wide_svd(a, full)
        return tuple(np.linalg.svd(a, full_matrices=full))
    except np.linalg.LinAlgError:
        raise Failure(0, min(m, n) + 1) from None


def _wide_svd(a, full):
    """`svd` of wide matrices by reducing them to two diagonals at once, without an LQ factorization before.

    LAPACK's gesdd goes through LQ for them, which gives the singular vectors other signs; MKL's does not.
    """
    m, n = a.shape[-2:]
    U = np.empty((*a.shape[:-1], m), a.dtype)
    S = np.empty(a.shape[:-1], a.dtype)
    Vh = np.zeros((*a.shape[:-2], n if full else m, n), a.dtype)
    parts = zip(a.reshape(-1, m, n), U.reshape(-1, m, m), S.reshape(-1, m), Vh.reshape(-1, Vh.shape[-2], n))
    gebrd, bdsdc, ormbr = (_routine(name, a.dtype.char) for name in ("gebrd", "bdsdc", "ormbr"))
    work = np.empty(max(64 * (m + n), 3 * m * m + 4 * m), a.dtype)
    room = 64 * (m + n)
    e, tau_q, tau_p = (np.empty(m, a.dtype) for _ in range(3))
    integers, info = np.empty(8 * m, np.intc), np.zeros(1, np.intc)
    for k, (matrix, u, s, vh) in enumerate(parts):
        reduced, left, right = matrix.copy(order="F"), np.empty((m, m), a.dtype, "F"), np.zeros(vh.shape, a.dtype, "F")
        rows = len(vh)
        gebrd(m, n, reduced, m, s, e, tau_q, tau_p, work, room, info)
        bdsdc("L", "I", m, s, e, left, m, right, rows, work[:1], integers, work, integers, info)
        if info[0]:
            raise Failure(k, int(info[0]))
        np.fill_diagonal(right[m:, m:], 1)
        ormbr("Q", "L", "N", m, m, n, reduced, m, tau_q, left, m, work, room, info)
        ormbr("P", "R", "T", rows, n, m, reduced, m, tau_p, right, rows, work, room, info)
        u[...], vh[...] = left, right
    return U, S, Vh


@functools.cache
def _routine(name, kind):
    """SciPy's LAPACK routine; its arguments are letters, numbers and arrays, handed over by address."""
    import scipy.linalg.cython_lapack  # noqa: F401  (loaded, so that the address is found)

    address = get_cython_function_address("scipy.linalg.cython_lapack", _LETTERS[kind] + name)

    def call(*arguments):
        held = [
            ctypes.c_char_p(x.encode()) if isinstance(x, str)
            else ctypes.byref(ctypes.c_int(x)) if isinstance(x, int)
            else ctypes.c_void_p(x.ctypes.data)
            for x in arguments
        ]  # fmt: skip
        function(*held)

    function = ctypes.CFUNCTYPE(None)(address)
    function.argtypes = None
    return call


@_with_threads("scipy")
def least_squares(a, b, rcond, driver):
    """(solution, rank, singular values) of ``min |a x - b|`` for every matrix."""
    import scipy.linalg

    m, n = a.shape[-2:]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    columns = b.shape[-1]
    x = np.zeros((*batch, n, columns), a.dtype)
    rank = np.zeros(batch, np.int64)
    values = np.zeros((*batch, min(m, n)), _real(a.dtype))
    if not (m and n and prod(batch)):
        return x, rank, values
    if not columns:  # nothing to solve, but A has a rank
        return x, *least_squares(a, np.zeros((*b.shape[:-1], 1), b.dtype), rcond, driver)[1:]
    flat_a = np.broadcast_to(a, (*batch, m, n)).reshape(-1, m, n)
    flat_b = np.broadcast_to(b, (*batch, m, columns)).reshape(-1, m, columns)
    out, ranks, singular = x.reshape(-1, n, columns), rank.reshape(-1), values.reshape(-1, min(m, n))
    for k in range(len(flat_a)):
        if driver == "gels":
            gels = _scipy("gels", a)
            padded = np.zeros((max(m, n), columns), a.dtype)
            padded[:m] = flat_b[k]
            _, found, info = gels(flat_a[k], padded)
            if info:
                raise Failure(k, info)
            out[k] = found[:n]
            continue
        found = scipy.linalg.lstsq(flat_a[k], flat_b[k], cond=rcond, lapack_driver=driver, check_finite=False)
        out[k], ranks[k] = found[0], found[2]
        if found[3] is not None:
            singular[k] = found[3]
    return x, rank, values


@_with_threads("numpy")
def exponential(a):
    """The exponentials of square matrices."""
    import scipy.linalg

    return scipy.linalg.expm(a) if a.size else a.copy()
