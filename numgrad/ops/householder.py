"""Householder reflections: products of them, and QR factorizations in terms of them."""

from ..kernels import lapack
from ..op import as_tensor_operand, function
from ..tensor import Tensor
from .complex import conj
from .create import eye
from .factor import unit_lower
from .matmul import matmul
from .results import return_type
from .solve import floating, into, matrices, mH, mT, results, same_dtype
from .values import from_host, to_host

geqrf_result = return_type("geqrf", "a", "tau")


def householder_product(A, tau, *, out=None) -> Tensor:
    """The first columns of the product of the reflections ``I - tau[k] v v^T``, whose vectors ``v`` stand below the
    diagonal in the columns of ``A`` (..., m, n), as LAPACK's geqrf leaves them."""
    name = "linalg.householder_product"
    A, tau = matrices(name, A), as_tensor_operand(name, tau, "tau")
    m, n = A._m.shape[-2:]
    if m < n or tau._m.shape[-1] > n:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1], and that to tau.shape[-1]; got "
            f"{list(A._m.shape)} and {list(tau._m.shape)}"
        )
    if tuple(tau._m.shape[:-1]) != tuple(A._m.shape[:-2]):
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], got {list(tau._m.shape)} for "
            f"{list(A._m.shape)}"
        )
    same_dtype(name, A, tau)
    vectors = unit_lower(A)
    found = eye(m, n, dtype=A._m.dtype, device=A._m.device).expand(tuple(A._m.shape))
    for k in reversed(range(tau._m.shape[-1])):
        v = vectors[..., k : k + 1]
        found = found - matmul(v, matmul(mH(v), found)) * tau[..., k, None, None]
    found = found if tau._m.shape[-1] else found + vectors * 0.0
    return found if out is None else into(name, found, out, A, tau)


@function
def orgqr(input, tau, *, out=None) -> Tensor:
    """`linalg.householder_product` under its old name."""
    return householder_product(input, tau, out=out)


@function
def ormqr(input, tau, other, left=True, transpose=False, *, out=None) -> Tensor:
    """``Q other`` (``other Q`` if not ``left``), with ``Q`` (m, m) the whole product of the reflections that `geqrf` leaves in
    ``input`` (..., m, k) and ``tau`` (..., k), or ``Q^H`` if ``transpose``."""
    name = "torch.ormqr"
    input, tau, other = (as_tensor_operand("ormqr", value, argument) for value, argument in ((input, "input"), (tau, "tau"), (other, "other")))
    for tensor, argument in ((input, "input"), (other, "other")):
        if tensor._m.ndim < 2:
            raise RuntimeError(f"{name}: {argument} must have at least 2 dimensions, got {tensor._m.ndim}")
    m, n = input._m.shape[-2:]
    side = -2 if left else -1
    count = tau._m.shape[-1] if tau._m.ndim else 0
    if count > n:
        raise RuntimeError(
            f"{name}: tau.shape[-1] must be less than or equal to input.shape[-1], got {list(tau._m.shape)} and {list(input._m.shape)}"
        )
    input, other = floating(name, input), floating(name, other)
    if other._m.shape[side] < count:
        raise RuntimeError(
            f"{name}: other.shape[{side}] must be greater than or equal to tau.shape[-1], got {list(other._m.shape)} and "
            f"{list(tau._m.shape)}"
        )
    if other._m.shape[side] != m:
        raise RuntimeError(
            f"{name}: other.shape[{side}] must be equal to input.shape[-2], got {list(other._m.shape)} and {list(input._m.shape)}"
        )
    if not tau._m.ndim or count != min(m, n):
        raise RuntimeError(
            f"{name}: tau.shape[-1] must be equal to min(other.shape[{side}], input.shape[-1]) = {min(m, n)}, got "
            f"{list(tau._m.shape)}"
        )
    for shape, argument in ((tau._m.shape[:-1], "tau"), (other._m.shape[:-2], "other")):
        if tuple(shape) != tuple(input._m.shape[:-2]):
            raise RuntimeError(
                f"{name}: Expected batch dimensions of {argument} to be equal to input.shape[:-2], got {list(shape)} for "
                f"{list(input._m.shape[:-2])}"
            )
    same_dtype(name, input, tau)
    same_dtype(name, input, other)
    vectors = unit_lower(input)
    found = other if left else mH(other)  # B Q = (Q^H B^H)^H
    turned = transpose if left else not transpose
    for k in range(count) if turned else reversed(range(count)):
        v, factor = vectors[..., k : k + 1], tau[..., k, None, None]
        found = found - matmul(v, matmul(mH(v), found)) * (conj(factor) if turned else factor)
    found = found if left else mH(found)
    found = found if count else found.clone()
    return found if out is None else into(name, found, out, input, tau, other)


@function
def geqrf(input, *, out=None):
    """The QR factorization of matrices (..., m, n) as LAPACK leaves it: ``a`` with R on and above the diagonal and the
    vectors of the reflections below it, ``tau`` (..., min(m, n)); see `linalg.householder_product`. No gradient."""
    A = matrices("geqrf", input)
    if A.requires_grad:
        A = A.detach()
    columns, tau = lapack.geqrf(to_host(A))  # column-major, as LAPACK's own
    return results("geqrf", geqrf_result(mT(from_host(columns, A)), from_host(tau, A)), out, A)
