"""Norms of vectors, and distances measured by them."""

from math import inf

from .. import dtypes
from ..inplace import write_out
from ..kernels.vocab import pow, sqrt, where
from ..layout import broadcast_shapes, normalize_axes, normalize_axis
from ..op import ENTRIES, as_tensor_operand, cast, function, method, sum_to
from ..reduction import reduction
from ..structured import structured
from ..tensor import Tensor
from .arithmetic import sign
from .factor import svdvals
from .index import index_select
from .matmul import matmul
from .parts import unbind
from .places import rewritten
from .rearrange import triu_indices
from .reduce import amax, amin, sum as total_sum
from .view import transpose, unsqueeze


def _add(a, b):
    return a + b


def _finish_root(total, count):
    return sqrt(total)


@reduction(identity=0, combine=_add, finish=_finish_root, result="float", install=(), name="norm2",
           grad_name="LinalgVectorNormBackward0")  # fmt: skip
def _norm2(total, x):
    return total + x * x


@_norm2.backward
def _(g, input, out):
    return g * where(out == 0.0, 0.0, input / out)  # so that the derivative by g is 0 there too


@reduction(identity=0, combine=_add, result="float", install=(), name="norm1", grad_name="LinalgVectorNormBackward0")
def _norm1(total, x):
    return total + abs(x)


@_norm1.backward
def _(g, input):
    return g * sign(input)


@reduction(identity=0, combine=_add, result="float", install=(), name="norm0", grad_name="LinalgVectorNormBackward0")
def _norm0(total, x):
    return total + where(x == 0.0, 0.0, 1.0)


@_norm0.backward
def _(g, input):
    return g * input * 0.0


def _finish_power(total, count, p):
    return pow(total, 1.0 / p)


@reduction(identity=0, combine=_add, finish=_finish_power, result="float", install=(), name="norm_p",
           grad_name="LinalgVectorNormBackward0")  # fmt: skip
def _norm_p(total, x, *, p=3.0):
    return total + pow(abs(x), p)


@_norm_p.backward
def _(g, input, out, p):
    scaled = g * sign(input) * pow(abs(input), p - 1.0) * pow(out, 1.0 - p)
    return where((input == 0.0) | (out == 0.0), 0.0, scaled)


@_norm_p.backward_as_ops
def _(g, input, out, p):
    # What is infinite at 0 is masked on its own, so that the derivative by g has no NaN there.
    size = abs(input)
    if p < 1.0:
        return sign(input) * (size ** (p - 1.0)).masked_fill(input == 0.0, 0.0) * g * out ** (1.0 - p)
    nothing = out == 0.0
    scale = g.masked_fill(nothing, 0.0) * (out ** (1.0 - p)).masked_fill(nothing, 0.0)
    return (sign(input) * size ** (p - 1.0) if p < 2.0 else input * size ** (p - 2.0)) * scale


@structured(install=(), name="norm_inf", cases="none", grad_name="LinalgVectorNormBackward0")
def _norm_inf(input, *, dim, keepdim, largest, shared):
    return (amax if largest else amin)(input.abs(), dim, keepdim)


@_norm_inf.backward
def _(g, input, out, dim, keepdim, shared):
    """The sign of every element that the norm is, or is NaN: a share of it, or the whole sign without ``shared``."""
    if not keepdim:
        for axis in sorted(dim):
            g, out = unsqueeze(g, axis), unsqueeze(out, axis)
    size = input.abs().detach()
    hits = cast((size == out.detach()) | (size != size), g._m.dtype)
    return sign(input) * (g * hits / total_sum(hits, dim, True) if shared else g * hits)


def _norm_of_complex(name, input, p, dim, keepdim):
    """The norm of the absolute values; of the parts where it is Euclidean, which has derivatives where one is 0."""
    if p != 2.0:
        return norm_along(name, input.abs(), p, dim, keepdim)
    ndim = input._m.ndim
    axes = normalize_axes(name, dim, ndim)
    found = _norm2(ENTRIES["view_as_real"](input), (*axes, ndim) if ndim else (0,), keepdim)
    return found.squeeze(-1) if keepdim else found


def norm_along(name, input, p, dim, keepdim, shared=True) -> Tensor:
    """``sum(|x|^p)^(1/p)`` over ``dim``; the largest or smallest ``|x|`` for infinite ``p``, whose gradient equals share
    if ``shared``; the number of non-zeros for 0."""
    if isinstance(p, complex):
        raise RuntimeError(f"{name}: Expected a non-complex scalar as the order of norm, got {p}")
    p = float(p)
    if (p < 0 or p == inf) and not input._m.numel:
        axes = tuple(normalize_axes(name, dim, input._m.ndim)) if input._m.ndim else ()
        if not axes or dim is None or any(input._m.shape[axis] == 0 for axis in axes):
            raise RuntimeError(
                f"{name} cannot compute the {p} norm on an empty tensor because the operation does not have an identity; got "
                f"shape {list(input._m.shape)}"
            )
    if input._m.dtype.is_complex:
        return _norm_of_complex(name, input, p, dim, keepdim)
    if input._m.ndim == 0:
        dim = None
    if p in (inf, -inf):
        axes = tuple(normalize_axes(name, dim, input._m.ndim))
        return _norm_inf(input, axes, bool(keepdim), p > 0, shared)
    if p == 2.0:
        return _norm2(input, dim, keepdim)
    if p == 1.0:
        return _norm1(input, dim, keepdim)
    if p == 0.0:
        return _norm0(input, dim, keepdim)
    return _norm_p(input, p, dim, keepdim)


@function
def norm(input, p="fro", dim=None, keepdim=False, out=None, dtype=None) -> Tensor:
    """The ``p`` norm of the elements over ``dim`` (all by default): a number, infinity, "fro" (2) or "nuc" (the sum of
    the singular values of matrices)."""
    input = as_tensor_operand("norm", input, "input")
    if dtype is not None:
        d = dtypes.as_dtype(dtype)
        if input._m.dtype.is_complex and not d.is_complex:
            raise RuntimeError(f"norm: dtype should be complex for complex inputs, but got {d.scalar_type}")
        input = cast(input, d)
    if not input._m.dtype.differentiable:
        raise RuntimeError(
            f"norm(): input dtype should be either floating point or complex. Got {input._m.dtype!r} instead."
        )
    if p == "nuc":
        axes = normalize_axes("norm", dim, input._m.ndim)
        if len(axes) != 2:
            raise RuntimeError(f"norm: the nuclear norm needs two dimensions, got {list(axes)}")
        values = svdvals(input.movedim(axes, (-2, -1)))
        found = total_sum(values, -1)
        if keepdim:
            for axis in sorted(axes):
                found = found.unsqueeze(axis)
    else:
        if isinstance(p, str) and p != "fro":
            raise RuntimeError(f"norm: only p='fro' and p='nuc' are named, got {p!r}")
        found = norm_along("norm", input, 2.0 if p in (None, "fro") else p, dim, keepdim)
    return found if out is None else write_out("norm", found, out)


@function(install=("ng",))
def norm_except_dim(v, pow=2, dim=0) -> Tensor:
    """The ``pow`` norm over all dimensions but ``dim``, which are kept with size 1; of all elements, 0-d, for -1."""
    v = as_tensor_operand("norm_except_dim", v, "v")
    if dim == -1:
        return norm(v, pow)
    dim = normalize_axis("norm_except_dim", dim, v._m.ndim)
    return norm(v, pow, [axis for axis in range(v._m.ndim) if axis != dim], True) if v._m.ndim > 1 else v.abs()


@function
def dist(input, other, p=2) -> Tensor:
    """The ``p`` norm of ``input - other``."""
    return norm(input - other, p)


@function(install=())
def normalize(input, p=2.0, dim=1, eps=1e-12, out=None) -> Tensor:
    """``input / max(norm(input, p, dim), eps)``."""
    found = input / norm(input, p, dim, True).clamp_min(eps).expand_as(input)
    return found if out is None else write_out("normalize", found, out)


@function(install=("ng",))
def cosine_similarity(x1, x2, dim=1, eps=1e-8) -> Tensor:
    """``x1 . x2 / (max(|x1|, eps) max(|x2|, eps))`` along ``dim``, the two broadcast."""
    d = dtypes.promote(x1._m.dtype, x2._m.dtype)
    if not d.is_floating_point:
        raise RuntimeError(f"cosine_similarity: expected common dtype to be floating point, yet common dtype is {d!r}")
    x1, x2 = cast(x1, d), cast(x2, d)
    shape = (x1 + x2)._m.shape if x1._m.shape != x2._m.shape else x1._m.shape
    x1, x2 = (x if x._m.shape == shape else x.expand(tuple(shape)) for x in (x1, x2))
    lengths = [norm(x, 2, dim, True).clamp_min(eps) for x in (x1, x2)]
    return total_sum((x1 / lengths[0]) * (x2 / lengths[1]), dim)


@function(install=("ng",))
def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False) -> Tensor:
    """The ``p`` norm of ``x1 - x2 + eps`` along the last dimension."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


@function(install=("ng",))
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The ``p`` norms of all differences of rows: (..., n, d), (..., m, d) -> (..., n, m)."""
    x1, x2 = as_tensor_operand("cdist", x1, "x1"), as_tensor_operand("cdist", x2, "x2")
    for name, x in (("X1", x1), ("X2", x2)):
        if not x._m.dtype.is_floating_point:
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {x._m.dtype!r}")
        if x._m.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x._m.ndim}D")
    if x1._m.shape[-1] != x2._m.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1._m.shape[-1]} X2: {x2._m.shape[-1]}"
        )
    if not p >= 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if compute_mode not in (None, *_MODES):
        raise ValueError(f"cdist: {compute_mode} is not a valid value for compute_mode; use one of {', '.join(_MODES)}")
    broadcast_shapes("cdist", x1._m.shape[:-2], x2._m.shape[:-2])
    if not x1._m.shape[-1]:
        return total_sum(x1.unsqueeze(-2) - x2.unsqueeze(-3), -1)
    large = max(x1._m.shape[-2], x2._m.shape[-2]) > _MANY_ROWS
    if p == 2 and (compute_mode == _MODES[1] or (large and compute_mode != _MODES[2])):
        return _euclidean(x1, x2)
    return _length("cdist", x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


_MODES = (
    "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist",
)  # fmt: skip
_MANY_ROWS = 25  # with more rows than that, Euclidean distances are found by a matrix product


@structured(install=(), name="euclidean_distances", grad_name="EuclideanDistBackward0")
def _euclidean(x1, x2):
    """``sqrt(|x|^2 + |y|^2 - 2 x . y)`` of all pairs of rows, without all their differences in memory."""
    squares1, squares2 = total_sum(x1 * x1, -1, True), total_sum(x2 * x2, -1, True)
    found = matmul(x1, transpose(x2, -1, -2)).mul_(-2.0)
    return found.add_(squares1).add_(transpose(squares2, -1, -2)).clamp_min_(0.0).sqrt_()


@_euclidean.backward
def _(g, x1, x2, out):
    weights = (g / out).masked_fill(out == 0.0, 0.0)
    d1 = x1 * total_sum(weights, -1, True) - matmul(weights, x2)
    turned = transpose(weights, -1, -2)
    d2 = x2 * total_sum(turned, -1, True) - matmul(turned, x1)
    return sum_to(d1, x1._m), sum_to(d2, x2._m)


@function(install=("ng",))
def pdist(input, p=2.0) -> Tensor:
    """The ``p`` norms of the differences of all pairs of rows, in the order of the upper triangle: (n, d) ->
    (n (n - 1) / 2)."""
    input = as_tensor_operand("pdist", input, "input")
    if input._m.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input._m.ndim}D")
    if not input._m.dtype.is_floating_point:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if not p >= 0:
        raise RuntimeError("pdist only supports non-negative p values")
    count = input._m.shape[0]
    first, second = unbind(triu_indices(count, count, 1, device=input._m.device))
    difference = index_select(input, 0, first) - index_select(input, 0, second)
    return _length("pdist", difference, p) if input._m.shape[1] else total_sum(difference, -1)


def _length(name, difference, p):
    """The norm of differences; for ``p`` 0 their number, which is NaN where one is."""
    if p == 0:
        return total_sum(difference.abs().ceil().clamp_max(1.0), -1)
    return norm_along(name, difference, p, -1, False, shared=False)


@function
def renorm(input, p, dim, maxnorm, *, out=None) -> Tensor:
    """``input`` with the sub-tensors along ``dim`` that have a larger ``p`` norm than ``maxnorm`` scaled down to it."""
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input._m.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input._m.ndim} dimensions")
    (axis,) = normalize_axes("renorm", dim, input._m.ndim)
    norms = norm(input, p, tuple(k for k in range(input._m.ndim) if k != axis), True)
    found = input * (maxnorm / (norms + 1e-7)).masked_fill(norms <= maxnorm, 1.0)
    return found if out is None else write_out("renorm", found, out)


@method
def renorm_(self, p, dim, maxnorm) -> Tensor:
    """In-place version of `renorm`."""
    return rewritten("renorm_", self, lambda old: renorm(old, p, dim, maxnorm))
