"""Factorizations ``L D L^T`` of symmetric and Hermitian matrices that need not be definite (Bunch and Kaufman, 1977)."""

import numpy as np

from ..function import Function
from ..kernels import lapack
from ..tensor import Tensor
from .factor import several_results
from .results import return_type
from .solve import expanded, failed, into, matrices, results, same_dtype
from .values import any_true, from_host, to_host

ldl_factor_result = return_type("linalg_ldl_factor", "LD", "pivots")
ldl_factor_ex_result = return_type("linalg_ldl_factor_ex", "LD", "pivots", "info")


@several_results
class LinalgLdlFactorEx(Function):
    """The packed factors and their pivots."""

    @staticmethod
    def forward(ctx, A, hermitian):
        factors = [from_host(part, A) for part in lapack.ldl(to_host(A), hermitian)]
        ctx.mark_non_differentiable(*factors[1:])
        return tuple(factors)

    @staticmethod
    def backward(ctx, *gradients):
        raise RuntimeError("derivative for linalg.ldl_factor_ex is not implemented; linalg.lu_factor_ex has one")


@several_results
class LinalgLdlSolve(Function):
    """The solution of a factored system."""

    @staticmethod
    def forward(ctx, LD, pivots, B, hermitian):
        return from_host(lapack.ldl_solve(to_host(LD), to_host(pivots), to_host(B), hermitian), LD)

    @staticmethod
    def backward(ctx, g):
        raise RuntimeError("derivative for linalg.ldl_solve is not implemented; linalg.solve has one")


def ldl_factor_ex(A, *, hermitian=False, check_errors=False, out=None):
    """(LD, pivots, info): `linalg.ldl_factor` that reports a zero on D's diagonal in ``info``. No gradient."""
    name = "linalg.ldl_factor_ex"
    return results(name, _factored(name, A, hermitian, check_errors), out, A)


def ldl_factor(A, *, hermitian=False, out=None):
    """(LD, pivots): the factors of ``A = L D L^T`` (``L D L^H`` if ``hermitian``) in one matrix, for symmetric matrices
    (..., n, n) of which the lower triangle is read; D has blocks of one or two rows, those with negative ``pivots``
    (..., n). LinAlgError if D has a zero. No gradient."""
    name = "linalg.ldl_factor"
    found = _factored(name, A, hermitian, True)
    return results(name, ldl_factor_result(found.LD, found.pivots), out, A, exact=True)


def _factored(name, A, hermitian, check):
    A = matrices(name, A, square=True)
    found = ldl_factor_ex_result(*LinalgLdlFactorEx.apply(A, bool(hermitian)))
    if check and any_true(found.info):
        codes = to_host(found.info).reshape(-1)
        batch = int(np.flatnonzero(codes)[0])
        failure = lapack.Failure(batch, int(codes[batch]))
        raise failed(name, A, failure, "D[{0},{0}] is zero: the input matrix is singular; linalg.ldl_factor_ex takes such matrices")
    return found


def ldl_solve(LD, pivots, B, *, hermitian=False, out=None) -> Tensor:
    """The ``X`` with ``A X = B``, given `linalg.ldl_factor`'s results for ``A``: (..., n, n), (..., n), (..., n, k) ->
    (..., n, k). No gradient."""
    name = "linalg.ldl_solve"
    LD, B = matrices(name, LD, square=True, argument="LD"), matrices(name, B, argument="B")
    n = LD._m.shape[-1]
    if B._m.shape[-2] != n:
        raise RuntimeError(
            f"Incompatible matrix sizes for {name}: each A matrix is {n} by {n} but each b matrix is {B._m.shape[-2]} by "
            f"{B._m.shape[-1]}"
        )
    if tuple(pivots._m.shape) != tuple(LD._m.shape[:-1]):
        raise RuntimeError(
            f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
            f"{list(pivots._m.shape)} instead"
        )
    if pivots._m.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {pivots._m.dtype!r}")
    same_dtype(name, LD, B)
    _check_pivots(name, to_host(pivots), n)
    found = LinalgLdlSolve.apply(LD, pivots, expanded(name, LD, B), bool(hermitian))
    return found if out is None else into(name, found, out, LD, B, exact=True)


def _check_pivots(name, rows, n):
    """Pivots are rows, from 1; the two rows of a block have both the same negative one."""
    flat = rows.reshape(-1, n) if rows.size else rows.reshape(0, n)
    if rows.size and not (np.abs(flat.astype(np.int64)).max() <= n and flat.all()):
        raise RuntimeError(
            f"{name}: Pivots given to ldl_solve must all satisfy 1 <= |pivot| <= LD.size(-2) = {n}. Did you properly pass the "
            "result of ldl_factor?"
        )
    for row in flat:
        negative = np.flatnonzero(row < 0)
        if len(negative) % 2 or (negative[1::2] - negative[::2] != 1).any():
            raise RuntimeError(
                f"{name}: negative pivots come in pairs of neighbours, got {row.tolist()}. Did you properly pass the result "
                "of ldl_factor?"
            )
