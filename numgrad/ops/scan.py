"""Running folds along a dimension: cumsum, cumprod, cummax, cummin, logcumsumexp; and differences of neighbours."""

from math import inf

import numpy as np

from .. import dtypes
from ..inplace import write_out
from ..kernels import scan as kernels
from ..layout import integer, normalize_axis
from ..op import as_tensor_operand, cast, converted, dense, function, method, plain, record, recording
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, from_array
from .join import cat
from .launch import element, launch
from .parts import narrow
from .places import Along, rewritten, spread
from .rearrange import flip
from .results import return_type
from .values import any_true

_COLUMNS = 256

cummax_result = return_type("cummax", "values", "indices")
cummin_result = return_type("cummin", "values", "indices")


def layout(m, dim):
    """(outer, n, inner) of a contiguous tensor seen from dimension ``dim``."""
    outer = inner = 1
    for size in m.shape[:dim]:
        outer *= size
    for size in m.shape[dim + 1 :]:
        inner *= size
    return outer, (m.shape[dim] if m.ndim else 1), inner


def units(outer, inner):
    """(units, width) of a scan: one of outer and a block of columns each."""
    width = min(inner, _COLUMNS) or 1
    return outer * -(-inner // width), width


def _running(input, dim, mode):
    m = input._m
    outer, n, inner = layout(m, dim)
    out = empty_tensor(meta(m.dtype, m.shape, m.device))
    if not m.numel:
        return out
    wide = dtypes.float64 if m.dtype.is_floating_point else dtypes.complex128 if m.dtype.is_complex else m.dtype
    count, width = units(outer, inner)
    totals = empty_tensor(meta(wide, (count * width if inner > 1 else 0,), m.device))
    slots = dense(input)._d, out._d, totals._d, n, inner, width
    parameters = {"T": element(m.dtype), "A": wide.type, "MODE": mode}
    launch(kernels.cumulative, parameters, slots, count, n * width, m.device)
    return out


@structured(install=(), name="cumsum", cases="none")
def _cumsum(input, *, dim):
    return _running(input, dim, kernels.SUM)


@_cumsum.backward
def _(g, dim):
    return g if not g._m.ndim else flip(_cumsum(flip(g, dim), dim), dim)


@structured(install=(), name="cumprod", cases="none")
def _cumprod(input, *, dim):
    return _running(input, dim, kernels.PRODUCT)


@_cumprod.backward
def _(g, input, out, dim):
    if not input._m.ndim or not input._m.numel:
        return g
    zeros = input == 0
    if not any_true(zeros):
        weighted = g * out
        return flip(_cumsum(flip(weighted, dim), dim), dim) / input
    # Of the elements before the first 0 as above; at that 0, products without it; behind it nothing.
    met = _cumsum(zeros.to(dtypes.int64), dim)
    safe = input.masked_fill(zeros, 1)
    before = met == 0
    weighted = g * out
    found = flip(_cumsum(flip(weighted, dim), dim), dim) / safe * before.to(g._m.dtype)
    first = zeros & (met == 1)
    without = _cumprod(input.masked_fill(first, 1), dim) * (met == 1).to(g._m.dtype)
    at_first = flip(_cumsum(flip(g * without, dim), dim), dim)
    return found + at_first * first.to(g._m.dtype)


@_cumprod.backward_as_ops
def _(g, input, out, dim):
    if not input._m.ndim or not input._m.numel or not any_true(input == 0):
        return _cumprod.op.gradient(g, input, out, dim)
    # With a 0 the sums above have no derivative: row i of the products leaves out factor i.
    row, weight = input.movedim(dim, -1), g.movedim(dim, -1).unsqueeze(-2)
    n = row._m.shape[-1]
    own = from_array(np.eye(n, dtype=np.bool_)).to(input._m.device)
    before = from_array(np.tri(n, k=-1, dtype=np.bool_)).to(input._m.device)
    square = row.unsqueeze(-2).expand(*row._m.shape[:-1], n, n)
    products = _cumprod(square.masked_fill(own, 1), row._m.ndim)
    return (products * weight).masked_fill(before, 0).sum(-1).movedim(-1, dim)


@structured(install=(), name="logcumsumexp", cases="none")
def _logcumsumexp(input, *, dim):
    m = input._m
    outer, n, inner = layout(m, dim)
    out = empty_tensor(meta(m.dtype, m.shape, m.device))
    if m.numel:
        count, width = units(outer, inner)
        slots = dense(input)._d, out._d, n, inner, width
        launch(kernels.cumulative_logsumexp, {"T": m.np.type}, slots, count, 16 * n * width, m.device)
    return out


@_logcumsumexp.backward
def _(g, input, out, dim):
    return _later_shares(g, input, out, dim) if input._m.ndim else g


def _signed_sums(weights, exponents, dim, scan):
    """Running sums by ``scan`` of ``weights * exp(exponents)``, as logarithms: of the positive weights, of the others."""
    size, nothing = weights.abs().log(), dtypes.finfo(weights._m.dtype).min
    return [scan(size.masked_fill(idle, nothing) + exponents, dim) for idle in (weights <= 0, weights >= 0)]


# The gradient and its adjoint are linear in the weights, but not by their logarithms: so each is an op of its own.


@structured(install=(), name="later_shares", cases="none", grad_name="LogcumsumexpBackwardBackward0")
def _later_shares(weights, input, totals, *, dim):
    """The sums over ``k >= i`` of ``weights[k] exp(input[i] - totals[k])``; 0 where the total is still -inf."""
    empty = totals == -inf
    up, down = _signed_sums(weights.masked_fill(empty, 0.0), -totals.masked_fill(empty, 0.0), dim, _from_end)
    return ((up + input).exp() - (down + input).exp()).masked_fill(empty, 0.0)


@_later_shares.backward
def _(g, weights, input, totals, out, dim):
    by_weights = _earlier_shares(g, input, totals, dim)
    return by_weights, g * out, -weights * by_weights


@structured(install=(), name="earlier_shares", cases="none", grad_name="LogcumsumexpBackwardBackward0")
def _earlier_shares(weights, input, totals, *, dim):
    """The sums over ``i <= k`` of ``weights[i] exp(input[i] - totals[k])``; 0 where the total is still -inf."""
    empty = totals == -inf
    up, down = _signed_sums(weights, input, dim, _logcumsumexp)
    safe = totals.masked_fill(empty, 0.0)
    return ((up - safe).exp() - (down - safe).exp()).masked_fill(empty, 0.0)


@_earlier_shares.backward
def _(g, weights, input, totals, out, dim):
    by_weights = _later_shares(g, input, totals, dim)
    return by_weights, weights * by_weights, -g * out


def _from_end(x, dim):
    return flip(_logcumsumexp(flip(x, dim), dim), dim)


def _summed(name, entry, input, dim, dtype, out):
    input = as_tensor_operand(name, input, "input")
    dim = normalize_axis(name, dim, input._m.ndim)
    if dtype is not None:
        if dtypes.as_dtype(dtype) is dtypes.bool_:
            raise RuntimeError(f'"{name}" not implemented for torch.bool: expected a dtype of numbers; leave dtype out for int64')
        input = converted(input, dtype)
    elif not input._m.dtype.differentiable:
        input = cast(input, dtypes.int64)
    found = entry(input, dim)
    return found if out is None else write_out(name, found, out)


@function
def cumsum(input, dim, *, dtype=None, out=None) -> Tensor:
    """Running sum along ``dim``; bool and integers add up in int64."""
    return _summed("cumsum", _cumsum, input, dim, dtype, out)


@function
def cumprod(input, dim, *, dtype=None, out=None) -> Tensor:
    """Running product along ``dim``; bool and integers multiply in int64."""
    return _summed("cumprod", _cumprod, input, dim, dtype, out)


@method
def cumsum_(self, dim, *, dtype=None):
    """In-place version of `cumsum`."""
    return rewritten("cumsum_", self, lambda old: cumsum(old, dim, dtype=dtype))


@method
def cumprod_(self, dim, *, dtype=None):
    """In-place version of `cumprod`."""
    return rewritten("cumprod_", self, lambda old: cumprod(old, dim, dtype=dtype))


@function
def logcumsumexp(input, dim, *, out=None) -> Tensor:
    """``log(cumsum(exp(input)))`` along ``dim``, without overflow."""
    input = as_tensor_operand("logcumsumexp", input, "input")
    if not input._m.dtype.is_floating_point:
        raise RuntimeError(f'"logcumsumexp" not implemented for {input._m.dtype!r}; convert with .float()')
    found = _logcumsumexp(input, normalize_axis("logcumsumexp", dim, input._m.ndim))
    return found if out is None else write_out("logcumsumexp", found, out)


# --- extremes ------------------------------------------------------------------------------------------------------


@structured(install=(), name="cumulative_extreme", cases="none")
def _followed(input, indices, *, dim):
    """The history of cummax and cummin: values that were taken from where ``indices`` say."""
    return input


@_followed.backward
def _(g, input_meta, indices, dim):
    return (spread(g, input_meta, Along("cummax", indices, dim)) if g._m.ndim else g), None


def _extreme(name, result, mode, input, dim, out):
    input = as_tensor_operand(name, input, "input")
    m = input._m
    dim = normalize_axis(name, dim, m.ndim)
    outer, n, inner = layout(m, dim)
    values = empty_tensor(meta(m.dtype, m.shape, m.device))
    indices = empty_tensor(meta(dtypes.int64, m.shape, m.device))
    if m.numel:
        count, width = units(outer, inner)
        slots = dense(plain(input))._d, values._d, indices._d, n, inner, width
        launch(kernels.cumulative_extreme, {"T": element(m.dtype), "MODE": mode}, slots, count, 2 * n * width, m.device)
    if recording((input,)) and m.dtype.is_floating_point:
        values._n = record(_followed.op, (input, indices), values, {"dim": dim})
    if out is not None:
        return result(write_out(name, values, out[0]), write_out(name, indices, out[1]))
    return result(values, indices)


@function
def cummax(input, dim, *, out=None):
    """(values, indices): running maximum along ``dim`` and where it was last met."""
    return _extreme("cummax", cummax_result, kernels.LARGEST, input, dim, out)


@function
def cummin(input, dim, *, out=None):
    """(values, indices): running minimum along ``dim`` and where it was last met."""
    return _extreme("cummin", cummin_result, kernels.SMALLEST, input, dim, out)


# --- differences ---------------------------------------------------------------------------------------------------


@function
def diff(input, n=1, dim=-1, prepend=None, append=None, *, out=None) -> Tensor:
    """``x[k + 1] - x[k]`` along ``dim``, ``n`` times, after joining ``prepend`` and ``append`` to the ends."""
    input = as_tensor_operand("diff", input, "input")
    if not input._m.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    dim = normalize_axis("diff", dim, input._m.ndim)
    for name, part in (("prepend", prepend), ("append", append)):
        if part is not None and part._m.ndim != input._m.ndim:
            raise RuntimeError(
                f"diff expects prepend or append to be the same dimension as input, got {name} of {part._m.ndim} and input of "
                f"{input._m.ndim} dimensions"
            )
        if part is not None and any(i != j for k, (i, j) in enumerate(zip(part._m.shape, input._m.shape)) if k != dim):
            raise RuntimeError(
                f"diff expects the shape of tensor to prepend or append to match that of input except along the differencing "
                f"dimension; got {name} of {list(part._m.shape)} and input of {list(input._m.shape)}, dim {dim}"
            )
    n = integer("diff", "n", n)
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    parts = [part for part in (prepend, input, append) if part is not None] if n else [input]
    found = cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, found._m.shape[dim])):
        size = found._m.shape[dim]
        later, earlier = narrow(found, dim, 1, size - 1), narrow(found, dim, 0, size - 1)
        found = later.logical_xor(earlier) if found._m.dtype.kind == "b" else later - earlier
    found = found.clone() if found is input or n == 0 else found
    return found if out is None else write_out("diff", found, out)
