"""Inverses and linear systems: general, triangular, and with several dimensions on each side."""

from math import prod

import numpy as np

from .. import dtypes
from ..errors import LinAlgError
from ..inplace import write_out
from ..kernels import lapack
from ..layout import integer
from ..op import as_tensor_operand, function, plain, sum_to
from ..structured import structured
from ..tensor import Tensor
from .create import eye, zeros
from .matmul import matmul
from .results import return_type
from .values import from_host, to_host
from .view import adjoint as mH, permute, reshape, transpose

inv_ex_result = return_type("linalg_inv_ex", "inverse", "info")
solve_ex_result = return_type("linalg_solve_ex", "result", "info")
triangular_solve_result = return_type("triangular_solve", "solution", "cloned_coefficient")

# --- what the families of linear algebra share ---------------------------------------------------------------------


def matrices(name, A, square=False, argument="A", narrow=False) -> Tensor:
    """``A`` as a Tensor of floating-point or complex matrices (of 16 bits only if ``narrow``); an error in the name of ``name``
    otherwise."""
    A = as_tensor_operand(name, A, argument)
    m = A._m
    if m.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor {argument} must have at least 2 dimensions, got {m.ndim}; add some with "
            ".unsqueeze(...)"
        )
    if square and m.shape[-1] != m.shape[-2]:
        raise RuntimeError(
            f"{name}: {argument} must be batches of square matrices, but they are {m.shape[-2]} by {m.shape[-1]} matrices"
        )
    return floating(name, A, narrow)


def floating(name, tensor, narrow=False) -> Tensor:
    """The tensor, if its dtype is a floating-point or complex one (of 16 bits only if ``narrow``)."""
    if not tensor._m.dtype.differentiable:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {tensor._m.dtype!r}; convert with .float()"
        )
    if not narrow and tensor._m.dtype.compute is not tensor._m.dtype.type:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {tensor._m.dtype!r}; convert with .float()")
    return tensor


def same_dtype(name, A, B):
    """An error unless both have one dtype."""
    if A._m.dtype is not B._m.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {A._m.dtype!r} and B of type "
            f"{B._m.dtype!r} instead; convert one of them with .to(...)"
        )


def failed(name, A, failure, text):
    """The error for a matrix at which an algorithm broke off."""
    where = f"(Batch element {failure.batch}): " if A._m.ndim > 2 else ""
    return LinAlgError(f"{name}: {where}{text.format(failure.info)}")


def mT(A):
    """The matrices transposed."""
    return transpose(A, -2, -1)


def results(name, found, out, *sources, exact=False):
    """A tuple of results, written `into` the tensors of ``out`` if that is given."""
    if out is None:
        return found
    return type(found)(*[
        into(name, value, target, *sources, what=what, exact=exact)
        for what, value, target in zip(found._fields, found, out, strict=True)
    ])  # fmt: skip


def into(name, found, out, *sources, what="result", exact=False):
    """`write_out` of linear algebra: an error in PyTorch's words for an ``out`` of another dtype. ``exact``: it must have the
    dtype of the result, not only one that holds it."""
    if isinstance(out, Tensor):
        given, needed = out._m.dtype, found._m.dtype
        if exact and given is not needed:
            raise RuntimeError(f"{name}: Expected out tensor to have dtype {_words(needed)}, but got {_words(given)} instead")
        if not dtypes.can_cast(needed, given):
            raise RuntimeError(
                f"{name}: Expected {what} to be safely castable from {needed.scalar_type} dtype, but got {what} with dtype "
                f"{given.scalar_type}"
            )
    return write_out(name, found, out, *sources)


def _words(d):
    """C's name of a dtype."""
    return {"float32": "float", "float64": "double", "int32": "int", "int64": "long int"}.get(d.name, d.name)


# --- inverses ------------------------------------------------------------------------------------------------------

SINGULAR = (
    "The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular; "
    "linalg.pinv takes such matrices"
)


@structured(install=(), complex=True, name="matrix_inverse", grad_name="LinalgInvExBackward0")
def _inverse(A):
    try:
        return from_host(lapack.inverse(to_host(A)), A)
    except lapack.Failure as failure:
        raise failed("linalg.inv", A, failure, SINGULAR) from None


@_inverse.backward
def _(g, out):
    turned = mH(out)
    return -matmul(turned, matmul(g, turned))


def inv(A, *, out=None) -> Tensor:
    """The inverses of square matrices (..., n, n); LinAlgError if one is singular."""
    A = matrices("linalg.inv", A, square=True)
    found = _inverse(A)
    return found if out is None else into("linalg.inv", found, out, exact=True)


@function
def inverse(input, *, out=None) -> Tensor:
    """`linalg.inv` under its old name."""
    return inv(input, out=out)


def _info(A, codes=None):
    shape = tuple(A._m.shape[:-2])
    return zeros(*shape, dtype=dtypes.int32, device=A._m.device) if codes is None else from_host(codes, A)


def _codes(A):
    """For every matrix 0, or the place of its first zero pivot."""
    return lapack.lu(to_host(A), True)[2]


def inv_ex(A, *, check_errors=False, out=None):
    """(inverse, info): `linalg.inv` that reports singular matrices in ``info`` instead of raising."""
    A = matrices("linalg.inv_ex", A, square=True)
    codes = _codes(A)
    if check_errors or not codes.any():
        return results("linalg.inv_ex", inv_ex_result(inv(A), _info(A, codes)), out, A, exact=True)
    safe = plain(A).clone()
    safe[from_host(codes != 0, A)] = eye(A._m.shape[-1], dtype=A._m.dtype, device=A._m.device)
    found = _inverse(safe).masked_fill(from_host(codes != 0, A)[..., None, None], float("inf"))
    return results("linalg.inv_ex", inv_ex_result(found, _info(A, codes)), out, A, exact=True)


# --- systems -------------------------------------------------------------------------------------------------------


@structured(install=(), complex=True, name="solution", grad_name="LinalgSolveExBackward0")
def _solution(A, B):
    try:
        return from_host(lapack.solve(to_host(A), to_host(B)), A)
    except lapack.Failure as failure:
        raise failed(
            "linalg.solve", A, failure, "The solver failed because the input matrix is singular (pivot {} is zero)"
        ) from None


@_solution.backward
def _(g, A, out):
    d_b = _solution(mH(A), g)
    return sum_to(-matmul(d_b, mH(out)), A._m), d_b


def _is_vector(A, B):
    """Whether ``B`` is a batch of vectors rather than of matrices."""
    return B._m.ndim == 1 or (A._m.ndim - 1 == B._m.ndim and A._m.shape[:-1] == B._m.shape)


def solve(A, B, *, left=True, out=None) -> Tensor:
    """The ``X`` with ``A X = B`` (``X A = B`` if not ``left``) for square ``A`` (..., n, n); LinAlgError if one is
    singular. ``B`` holds matrices, or vectors if its shape is that of ``A`` without the last dimension."""
    name = "linalg.solve"
    A, B = matrices(name, A, square=True), floating(name, as_tensor_operand(name, B, "B"))
    same_dtype(name, A, B)
    vector = _is_vector(A, B)
    if vector and not left:
        raise RuntimeError(f"{name}: vector arguments are only supported with left=True")
    rhs = B.unsqueeze(-1) if vector else B
    if rhs._m.ndim < 2 or rhs._m.shape[-2 if left else -1] != A._m.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'}: "
            f"{list(A._m.shape)} and {list(B._m.shape)}"
        )
    rhs = expanded(name, A, rhs)
    found = _solution(A, rhs) if left else mT(_solution(mT(A), mT(rhs)))
    if vector:
        found = found.squeeze(-1)
    return found if out is None else into(name, found, out, A, B, exact=True)


def expanded(name, A, B):
    """``B`` with as many matrices as ``A`` and it have together."""
    if A._m.ndim == 2 or A._m.shape[:-2] == B._m.shape[:-2]:
        return B
    try:
        batch = np.broadcast_shapes(tuple(A._m.shape[:-2]), tuple(B._m.shape[:-2]))
    except ValueError:
        raise RuntimeError(
            f"{name}: the batch dimensions of A and B, {list(A._m.shape[:-2])} and {list(B._m.shape[:-2])}, do not broadcast"
        ) from None
    return B.expand(*batch, *B._m.shape[-2:])


def solve_ex(A, B, *, left=True, check_errors=False, out=None):
    """(result, info): `linalg.solve` that reports singular matrices in ``info`` instead of raising."""
    A = matrices("linalg.solve_ex", A, square=True)
    codes = _codes(A)
    if check_errors or not codes.any():
        return results("linalg.solve_ex", solve_ex_result(solve(A, B, left=left), _info(A, codes)), out, A)
    bad = from_host(codes != 0, A)
    safe = plain(A).clone()
    safe[bad] = eye(A._m.shape[-1], dtype=A._m.dtype, device=A._m.device)
    found = solve(safe, B, left=left)
    bad = bad[..., None] if _is_vector(A, B) else bad[..., None, None]
    return results(
        "linalg.solve_ex", solve_ex_result(found.masked_fill(bad, float("nan")), _info(A, codes)), out, A
    )


@structured(install=(), complex=True, name="triangular_solution", grad_name="LinalgSolveTriangularBackward0")
def _triangular(A, B, *, upper, unit):
    return from_host(lapack.solve_triangular(to_host(A), to_host(B), upper, unit), A)


@_triangular.backward
def _(g, A, out, upper, unit):
    d_b = _triangular(mH(A), g, not upper, unit)
    full = -matmul(d_b, mH(out))
    return sum_to(full.triu(int(unit)) if upper else full.tril(-int(unit)), A._m), d_b


def solve_triangular(A, B, *, upper, left=True, unitriangular=False, out=None) -> Tensor:
    """The ``X`` with ``A X = B`` (``X A = B`` if not ``left``) for triangular ``A``, of which the other triangle, and
    the diagonal if it is ``unitriangular``, are not read. A zero on the diagonal gives infinities."""
    name = "linalg.solve_triangular"
    A, B = matrices(name, A, square=True), matrices(name, B, argument="B")
    same_dtype(name, A, B)
    if B._m.shape[-2 if left else -1] != A._m.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'}: "
            f"{list(A._m.shape)} and {list(B._m.shape)}"
        )
    rhs = expanded(name, A, B)
    unit = bool(unitriangular)
    if left:
        found = _triangular(A, rhs, bool(upper), unit)
    else:
        found = mT(_triangular(mT(A), mT(rhs), not upper, unit))
    return found if out is None else into(name, found, out, A)


@function
def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False, *, out=None):
    """(solution, copy of ``A``): `linalg.solve_triangular` under its old name and order of arguments."""
    A = matrices("triangular_solve", A, square=True)
    turned, upper_now = (mT(A), not upper) if transpose else (A, upper)
    found = solve_triangular(turned, b, upper=upper_now, unitriangular=unitriangular)
    return results("triangular_solve", triangular_solve_result(found, A.clone()), out, A, b, exact=True)


# --- several dimensions on each side -------------------------------------------------------------------------------


def tensorinv(A, ind=2, *, out=None) -> Tensor:
    """The inverse for `tensordot`: ``A``'s first ``ind`` dimensions are the rows, the rest the columns."""
    name = "linalg.tensorinv"
    A = floating(name, as_tensor_operand(name, A, "A"))
    ind = integer(name, "ind", ind)
    if ind <= 0:
        raise RuntimeError(f"{name}: Expected a strictly positive integer for 'ind', got {ind}")
    rows, columns = tuple(A._m.shape[:ind]), tuple(A._m.shape[ind:])
    if prod(rows) != prod(columns):
        raise RuntimeError(
            f"{name}: Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{prod(columns)} != {prod(rows)}"
        )
    found = reshape(inv(reshape(A, (prod(rows), prod(columns)))), (*columns, *rows))
    return found if out is None else into(name, found, out, A)


def tensorsolve(A, B, dims=None, *, out=None) -> Tensor:
    """The ``X`` with ``tensordot(A, X, X.ndim) = B``; ``dims`` of ``A`` are moved to the end first."""
    name = "linalg.tensorsolve"
    A, B = floating(name, as_tensor_operand(name, A, "A")), floating(name, as_tensor_operand(name, B, "B"))
    if dims is not None:
        order = [dim for dim in range(A._m.ndim) if dim not in [d % A._m.ndim for d in dims]]
        A = permute(A, *order, *[d % A._m.ndim for d in dims])
    shape = tuple(A._m.shape[B._m.ndim :])
    if prod(shape) != B._m.numel:
        raise RuntimeError(
            f"{name}: Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]),"
            f" but got {prod(shape)} != {B._m.numel}"
        )
    found = reshape(solve(reshape(A, (B._m.numel, prod(shape))), reshape(B, (-1,))), shape)
    return found if out is None else into(name, found, out, A, B)
