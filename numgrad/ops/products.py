"""Products of vectors and matrices beyond matmul: traces, cross and Kronecker products, chains, powers of a vector."""

from .. import dtypes
from ..dtypes import bool_
from ..inplace import write_out
from ..layout import broadcast_shapes, integer, normalize_axis
from ..op import ENTRIES, as_tensor_operand, cast, function
from ..pointwise import pointwise
from ..storage import check_memory, meta
from ..tensor import Tensor
from .arithmetic import mul
from .create import eye, ones
from .join import cat, stack
from .matmul import dot, matmul, outer
from .parts import diagonal, unbind
from .reduce import sum as total_sum
from .scan import cumprod
from .view import reshape


def _same_dtype(name, input, other):
    """Both as tensors; an error unless their dtypes agree."""
    input, other = as_tensor_operand(name, input, "input"), as_tensor_operand(name, other, "other")
    if input._m.dtype is not other._m.dtype:
        raise RuntimeError(
            f"{name}: Expected both tensors to have the same dtype, but got {input._m.dtype!r} and {other._m.dtype!r}; "
            "convert one of them with .to(...)"
        )
    return input, other


@function
def trace(input) -> Tensor:
    """The sum of a matrix's diagonal."""
    input = as_tensor_operand("trace", input, "input")
    if input._m.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input._m.ndim}")
    return total_sum(diagonal(input))


@function
def vdot(input, other, *, out=None) -> Tensor:
    """The inner product of two vectors, the first one conjugated."""
    return dot(ENTRIES["conj"](input), other, out=out)


@function
def ger(input, vec2, *, out=None) -> Tensor:
    """`outer` under its old name."""
    return outer(input, vec2, out=out)


def vecdot(x, y, *, dim=-1, out=None) -> Tensor:
    """The inner products ``sum(conj(x) * y)`` along ``dim``, the other dimensions broadcast."""
    x, y = _same_dtype("linalg.vecdot", x, y)
    if not x._m.dtype.differentiable:
        raise RuntimeError(
            f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {x._m.dtype!r}; convert with .float()"
        )
    found = total_sum(mul(ENTRIES["conj"](x), y), dim)
    return found if out is None else write_out("linalg.vecdot", found, out, x, y)


# --- cross products ------------------------------------------------------------------------------------------------


def _cross(name, input, other, dim):
    shape = broadcast_shapes(name, input._m.shape, other._m.shape)
    given, dim = dim, normalize_axis(name, dim, len(shape))
    if shape[dim] != 3 or input._m.shape[dim] != 3 or other._m.shape[dim] != 3:
        raise RuntimeError(
            f"{name}: inputs dimension {given} must have length 3. Got {input._m.shape[dim]} and {other._m.shape[dim]}"
        )
    a, b = unbind(input, dim), unbind(other, dim)
    return stack([_minor(a[k - 2], b[k - 1], a[k - 1], b[k - 2]) for k in range(3)], dim)


@pointwise(name="minor", install=(), inplace=False, refuse="b", reference=lambda a, b, c, d: a * b - c * d)
def _minor(a, b, c, d):
    """``a b - c d``, the determinant of a 2 x 2 matrix."""
    return a * b - c * d


@_minor.backward
def _(g, a, b, c, d):
    return g * b, g * a, -g * d, -g * c


def linalg_cross(input, other, *, dim=-1, out=None) -> Tensor:
    """The cross products of the vectors of three elements along ``dim``, the other dimensions broadcast."""
    input, other = as_tensor_operand("linalg.cross", input, "input"), as_tensor_operand("linalg.cross", other, "other")
    if input._m.ndim != other._m.ndim:
        raise RuntimeError(
            f"linalg.cross: inputs must have the same number of dimensions, got {input._m.ndim} and {other._m.ndim}"
        )
    found = _cross("linalg.cross", input, other, dim)
    return found if out is None else write_out("linalg.cross", found, out, input, other)


@function
def cross(input, other, dim=None, *, out=None) -> Tensor:
    """The cross products of vectors of three elements along ``dim``, by default the first dimension of size 3."""
    input, other = as_tensor_operand("cross", input, "input"), as_tensor_operand("cross", other, "other")
    if input._m.ndim != other._m.ndim:
        raise RuntimeError(
            f"cross: inputs must have the same number of dimensions, got {input._m.ndim} and {other._m.ndim}"
        )
    if dim is None:
        shape = broadcast_shapes("cross", input._m.shape, other._m.shape)
        if 3 not in shape:
            raise RuntimeError(f"cross: no dimension of size 3 in input of shape {list(shape)}")
        dim = shape.index(3)
    found = _cross("cross", input, other, dim)
    return found if out is None else write_out("cross", found, out, input, other)


# --- Kronecker products --------------------------------------------------------------------------------------------


@function
def kron(input, other, *, out=None) -> Tensor:
    """The Kronecker product: every element of ``input`` times all of ``other``, in blocks."""
    input, other = as_tensor_operand("kron", input, "input"), as_tensor_operand("kron", other, "other")
    ndim = max(input._m.ndim, other._m.ndim)
    left = (1,) * (ndim - input._m.ndim) + tuple(input._m.shape)
    right = (1,) * (ndim - other._m.ndim) + tuple(other._m.shape)
    blocks = mul(
        reshape(input, [size for m in left for size in (m, 1)]), reshape(other, [size for n in right for size in (1, n)])
    )
    found = reshape(blocks, [m * n for m, n in zip(left, right)])
    return found if out is None else write_out("kron", found, out, input, other)


# --- chains --------------------------------------------------------------------------------------------------------


def _best_splits(sizes):
    """For a chain of matrices of shapes ``sizes[k] x sizes[k + 1]``: where to split each part, for the fewest
    multiplications (the classical dynamic program)."""
    count = len(sizes) - 1
    cost = [[0] * count for _ in range(count)]
    split = [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return split


def _chain(tensors, split, i, j):
    if i == j:
        return tensors[i]
    k = split[i][j]
    return matmul(_chain(tensors, split, i, k), _chain(tensors, split, k + 1, j))


def multi_dot(tensors, *, out=None) -> Tensor:
    """The product of two or more matrices, multiplied in the order that needs the fewest operations.

    The first tensor may be a row vector and the last a column vector, of one dimension.
    """
    tensors = [as_tensor_operand("multi_dot", tensor, "tensors") for tensor in tensors]
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    matrices = list(tensors)
    for k, place in ((0, "first"), (len(tensors) - 1, "last")):
        if tensors[k]._m.ndim not in (1, 2):
            raise RuntimeError(f"multi_dot(): the {place} tensor must be 1D or 2D but got {tensors[k]._m.ndim}D")
        if tensors[k]._m.ndim == 1:
            matrices[k] = tensors[k].unsqueeze(k and 1)
    for k, tensor in enumerate(matrices):
        if tensor._m.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {k} must be 2D but got {tensor._m.ndim}D")
        if tensor._m.dtype is not tensors[0]._m.dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {tensors[0]._m.dtype!r} and tensor {k} "
                f"{tensor._m.dtype!r}"
            )
    if out is not None and out._m.dtype is not tensors[0]._m.dtype:
        raise RuntimeError(f"multi_dot(): expected out tensor to have dtype {tensors[0]._m.dtype!r} but got {out._m.dtype!r}")
    for k, (left, right) in enumerate(zip(matrices, matrices[1:])):
        if left._m.shape[1] != right._m.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {k} and {k + 1} with shapes {list(left._m.shape)} and {list(right._m.shape)} "
                "cannot be multiplied"
            )
    sizes = [matrices[0]._m.shape[0], *[matrix._m.shape[1] for matrix in matrices]]
    found = _chain(matrices, _best_splits(sizes), 0, len(matrices) - 1)
    shape = [size for size, tensor in zip((sizes[0], sizes[-1]), (tensors[0], tensors[-1])) if tensor._m.ndim == 2]
    found = found if found._m.ndim == len(shape) else reshape(found, shape)
    return found if out is None else write_out("multi_dot", found, out, *tensors)


@function(install=("ng",))
def chain_matmul(*matrices, out=None) -> Tensor:
    """The product of one or more matrices, multiplied in the order that needs the fewest operations."""
    if len(matrices) == 1 and not isinstance(matrices[0], Tensor):
        matrices = tuple(matrices[0])
    for matrix in matrices:
        if as_tensor_operand("chain_matmul", matrix, "matrices")._m.ndim != 2:
            raise RuntimeError(f"chain_matmul: Tensor dimension is {matrix._m.ndim}, expected 2 instead")
    if len(matrices) == 1:
        return matrices[0]
    return multi_dot(matrices, out=out)


# --- powers --------------------------------------------------------------------------------------------------------


def linalg_vander(x, *, N=None) -> Tensor:
    """The Vandermonde matrix of the powers 0 to ``N - 1`` (default: as many as elements): (..., n) -> (..., n, N)."""
    x = as_tensor_operand("linalg.vander", x, "x")
    if x._m.dtype.kind == "b":
        raise RuntimeError("linalg.vander: expected numbers, got a bool tensor; convert it with .long()")
    if N is None:
        if x._m.ndim == 0:
            raise RuntimeError("linalg.vander: expected a vector, got a 0-d tensor")
        N = x._m.shape[-1]
    N = integer("linalg.vander", "N", N)
    if N <= 1:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, got {N}")
    x = x if x._m.ndim else x.unsqueeze(0)
    first = ones(*x._m.shape, 1, dtype=x._m.dtype, device=x._m.device)
    rest = x.unsqueeze(-1).expand(*x._m.shape, N - 1)
    return cumprod(cat((first, rest), -1), -1)


@function(install=("ng",))
def vander(x, N=None, increasing=False) -> Tensor:
    """The Vandermonde matrix of a vector: its powers from ``N - 1`` (default: one less than elements) down to 0."""
    x = as_tensor_operand("vander", x, "x")
    if x._m.ndim != 1:
        raise RuntimeError(f"vander: x must be a one-dimensional tensor, got {x._m.ndim} dimensions")
    N = x._m.numel if N is None else integer("vander", "N", N)
    if N < 0:
        raise RuntimeError(f"vander: N must be non-negative, got {N}")
    d = x._m.dtype if x._m.dtype.differentiable else dtypes.int64
    base = cast(x, d)
    check_memory(meta(d, (x._m.numel, N), x._m.device).numel * d.itemsize)
    columns = [ones(x._m.numel, 1, dtype=d, device=x._m.device)][: min(N, 1)]
    if N > 1:
        columns.append(base.unsqueeze(-1).expand(x._m.numel, N - 1).cumprod(-1))
    if not columns:
        return reshape(base[:0], (x._m.numel, 0))
    found = cat(columns, -1)
    return found if increasing else found.flip(-1)


def matrix_power(input, n, *, out=None) -> Tensor:
    """The ``n``-th power of square matrices by repeated squaring; of their inverse for negative ``n``."""
    name = "linalg.matrix_power"
    input = as_tensor_operand(name, input, "input")
    shape = input._m.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise RuntimeError(f"{name}: A must be batches of square matrices, but got shape {list(shape)}")
    n = integer(name, "n", n)
    if n == 0:
        nothing = input.masked_fill(ones(1, dtype=bool_, device=input._m.device), 0)  # its gradient is 0, not absent
        found = nothing + eye(shape[-1], dtype=input._m.dtype, device=input._m.device)
    else:
        base = ENTRIES["inverse"](input) if n < 0 else input
        found, n = None, abs(n)
        while n:
            if n & 1:
                found = base if found is None else matmul(found, base)
            n >>= 1
            if n:
                base = matmul(base, base)
        if found is input:
            found = input.clone()
    return found if out is None else write_out(name, found, out, input)


function(matrix_power)
