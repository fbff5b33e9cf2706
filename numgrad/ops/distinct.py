"""Distinct values and counts: unique, searchsorted, bucketize, bincount, histc, histogram, count_nonzero."""

import numpy as np

from .. import dtypes
from ..inplace import write_out
from ..kernels import sort as kernels
from ..layout import integer, normalize_axis
from ..op import as_tensor_operand, cast, dense, function, plain, same_device
from ..reduction import reduction
from ..storage import meta
from ..tensor import Tensor, empty_tensor, from_array
from .create import linspace, scalar_tensor, zeros
from .index import index_select
from .launch import element, launch
from .results import return_type
from .search import sorted_rows
from .values import need_values
from .view import movedim, reshape

histogram_result = return_type("histogram", "hist", "bin_edges")


def _runs(rows, order, n, width):
    """(the run of every row, where runs begin in the order) of neighbours that are equal."""
    d, device = rows._m.dtype, rows._m.device
    im = meta(dtypes.int64, (n,), device)
    inverse, starts, count = empty_tensor(im), empty_tensor(im), np.zeros(1, np.int64)
    if n:
        slots = rows._d, order._d, inverse._d, starts._d, count, n, width
        launch(kernels.mark_runs, {"T": element(d)}, slots, 1, n * width, device)
    return inverse, dense(starts.narrow(0, 0, int(count[0]))).clone()


def _lengths(starts, n):
    """How long the runs are that begin at ``starts``."""
    return starts.diff(append=from_array(np.array([n], np.int64)).to(starts._m.device))


def _distinct(name, input, in_order, return_inverse, return_counts, dim):
    """The distinct elements, or sub-tensors along ``dim``; ``in_order``: runs of neighbours only."""
    input = plain(as_tensor_operand(name, input, "input"))
    m = input._m
    need_values(name, input)
    if dim is None:
        n, width, shape = m.numel, 1, tuple(m.shape)
        rows = reshape(dense(input), (n,))
    else:
        dim = normalize_axis(name, dim, m.ndim)
        moved = dense(movedim(input, dim, 0)) if m.ndim else reshape(input, (1,))
        n = moved._m.shape[0]
        width = moved._m.numel // n if n else 0
        if not moved._m.numel and n and 0 in moved._m.shape[1:]:
            if sum(size == 0 for size in m.shape) and m.shape[dim] != 0:
                raise RuntimeError(
                    f"{name}: There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
                )
        rows, shape = moved, (n,)
    device = m.device
    im = meta(dtypes.int64, (n,), device)
    if in_order:
        order = from_array(np.arange(n)).to(device)
    elif dim is None:
        ordered, order = sorted_rows(rows, 0)
    else:
        order, spare = empty_tensor(im), empty_tensor(im)
        if n:
            slots = rows._d, order._d, spare._d, n, width
            launch(kernels.order_rows, {"T": element(m.dtype)}, slots, 1, n * width, device)
    inverse, starts = _runs(rows, order, n, width)
    values = index_select(rows, 0, index_select(order, 0, starts)) if n else rows.clone()
    if dim is not None and m.ndim:
        values = dense(movedim(values, 0, dim))
    found = [values]
    if return_inverse:
        found.append(reshape(inverse, shape))
    if return_counts:
        found.append(_lengths(starts, n))
    return tuple(found) if len(found) > 1 else values


@function
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct values, in rising order; with ``dim``, the distinct sub-tensors. On demand also, for every element,
    its position among them, and how often each occurs."""
    return _distinct("unique", input, False, return_inverse, return_counts, dim)


@function
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """The first of every run of equal neighbours; on demand every element's run and the runs' lengths."""
    return _distinct("unique_consecutive", input, True, return_inverse, return_counts, dim)


# --- search --------------------------------------------------------------------------------------------------------


def _searched(name, boundaries, values, out_int32, right, side, sorter, out):
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(f"{name}(): side can only be 'left' or 'right' but got {side}")
        if side == "left" and right:
            raise RuntimeError(
                f"{name}(): side and right can't be set to opposites, got side of left while right was True"
            )
        right = side == "right"
    boundaries = as_tensor_operand(name, boundaries, "sorted_sequence")
    if not isinstance(values, Tensor):
        values = scalar_tensor(values, dtype=boundaries._m.dtype, device=boundaries._m.device)
    bm, vm = boundaries._m, values._m
    if bm.ndim == 0:
        raise RuntimeError(f"{name}(): boundaries tensor should have positive dimension, but got 0 dimension")
    shared = bm.ndim == 1
    if not shared and (vm.ndim != bm.ndim or bm.shape[:-1] != vm.shape[:-1]):
        raise RuntimeError(
            f"{name}(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and "
            "input "
            f"value tensor must match, but we got boundaries tensor {list(bm.shape)} and input value tensor "
            f"{list(vm.shape)}"
        )
    same_device(name, (boundaries, values))
    d = dtypes.promote(bm.dtype, vm.dtype)
    boundaries, values = cast(plain(boundaries), d), cast(plain(values), d)
    order = boundaries
    if sorter is not None:
        if sorter._m.shape != bm.shape:
            raise RuntimeError(
                f"{name}(): boundary and sorter must have the same size, but got boundary tensor {list(bm.shape)} and "
                "got "
                f"sorter tensor {list(sorter._m.shape)}"
            )
        if sorter._m.dtype is not dtypes.int64:
            raise RuntimeError(f"{name}(): sorter must be a tensor of long dtype but got dtype {sorter._m.dtype!r}")
        if sorter._m.numel and (sorter.amin().item() < 0 or sorter.amax().item() >= bm.shape[-1]):
            raise RuntimeError(f"{name}(): sorter index out of range")
        order = dense(sorter)
    n = bm.shape[-1]
    per_row = 0 if shared else vm.shape[-1]
    found = empty_tensor(meta(dtypes.int64, vm.shape, vm.device))
    arrays = dense(boundaries)._d, dense(values)._d, order._d, found._d
    slots = *arrays, n, per_row, int(sorter is not None)
    launch(kernels.search_sorted, {"T": element(d), "RIGHT": int(bool(right))}, slots, vm.numel, 32, vm.device)
    if out_int32:
        found = cast(found, dtypes.int32)
    return found if out is None else write_out(name, found, out)


@function(install=("ng",))
def searchsorted(sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None, out=None) -> Tensor:
    """Where each value of ``input`` would be inserted into the last dimension of ``sorted_sequence`` to keep it sorted:
    before equals, or behind them (``right``)."""
    return _searched("searchsorted", sorted_sequence, input, out_int32, right, side, sorter, out)


@function(install=("ng",))
def bucketize(input, boundaries, *, out_int32=False, right=False, out=None) -> Tensor:
    """The bucket of each value between sorted ``boundaries``, a vector."""
    if boundaries._m.ndim != 1:
        raise RuntimeError(f"bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries._m.ndim})")
    return _searched("bucketize", boundaries, input, out_int32, right, None, None, out)


# --- counts --------------------------------------------------------------------------------------------------------


@function
def bincount(input, weights=None, minlength=0) -> Tensor:
    """How often each integer from 0 on occurs, or the sum of the ``weights`` where it does."""
    input = as_tensor_operand("bincount", input, "input")
    m = input._m
    if m.ndim != 1 or m.dtype.kind != "i":
        raise RuntimeError(
            f"bincount only supports 1-d non-negative integral inputs, got shape {list(m.shape)} of {m.dtype!r}"
        )
    minlength = integer("bincount", "minlength", minlength)
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength should be >= 0, got {minlength}")
    if weights is not None and weights._m.shape != m.shape:
        raise RuntimeError(
            f"bincount: weights should be 1-d and have the same length as input, got {list(weights._m.shape)} and "
            f"{list(m.shape)}"
        )
    if m.numel and input.amin().item() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    size = max(int(input.amax().item()) + 1 if m.numel else 0, minlength)
    if weights is None:
        d, source, step = dtypes.int64, from_array(np.ones(1, np.int64)).to(m.device), 0
    else:
        d = dtypes.float32 if weights._m.dtype is dtypes.float32 else dtypes.float64
        source, step = dense(plain(cast(weights, d))), 1
    out = zeros(size, dtype=d, device=m.device)
    index = dense(cast(input, dtypes.int64))
    launch(kernels.count_values, {"W": d.type}, (index._d, source._d, out._d, m.numel, step), 1, m.numel, m.device)
    return out


@function
def histc(input, bins=100, min=0, max=0, *, out=None) -> Tensor:
    """How many elements lie in each of ``bins`` equal bins from ``min`` to ``max`` (by default those of the
    elements)."""
    input = as_tensor_operand("histc", input, "input")
    m = input._m
    if m.dtype.kind == "b":
        raise RuntimeError(f'"histc" not implemented for {m.dtype!r}; convert with .float()')
    bins = integer("histc", "bins", bins)
    if bins <= 0:
        raise RuntimeError("histc: bins must be > 0")
    low, high = float(min), float(max)
    if low == high and m.numel:
        low, high = float(input.amin().item()), float(input.amax().item())
    if low == high:
        low, high = low - 1, high + 1
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"histc: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError("histc: max must be larger than min")
    found = zeros(bins, dtype=m.dtype, device=m.device)
    slots = dense(plain(input))._d, found._d, m.numel, bins, np.array([low, high])
    launch(kernels.count_bins, {"T": m.np.type}, slots, 1, m.numel, m.device)
    return found if out is None else write_out("histc", found, out)


@function
def histogram(input, bins, *, range=None, weight=None, density=False, out=None):
    """(hist, bin_edges): how many elements, or how much ``weight``, lie in each bin, the last of which has its end.

    ``bins`` is a number of equal bins within ``range`` (by default that of the elements), or their rising edges;
    ``density`` divides by the total and by the bins' widths.
    """
    input = as_tensor_operand("histogram", input, "input")
    m = input._m
    if not m.dtype.is_floating_point:
        raise RuntimeError(f'"histogram" not implemented for {m.dtype!r}; convert with .float()')
    if weight is not None and (weight._m.shape != m.shape or weight._m.dtype is not m.dtype):
        raise RuntimeError(
            f"histogram(): weight must have the shape and dtype of the input, {list(m.shape)} and {m.dtype!r}, got "
            f"{list(weight._m.shape)} and {weight._m.dtype!r}"
        )
    if isinstance(bins, Tensor):
        if bins._m.ndim != 1 or not bins._m.numel or bins._m.dtype is not m.dtype or range is not None:
            raise RuntimeError(
                "histogram(): bins given as a tensor must be a vector of the input's dtype, without range, got "
                f"{bins._m.dtype!r} of shape {list(bins._m.shape)}"
            )
        edges = plain(bins).clone()
    else:
        if bins <= 0:
            raise RuntimeError(f"histogram(): bins must be > 0, but got {bins}")
        edges = linspace(*_range(input, range), bins + 1, dtype=m.dtype, device=m.device)
    flat = reshape(plain(input), (-1,))
    count = edges._m.numel - 1
    inside = (flat >= edges[0]) & (flat <= edges[count])
    at = (searchsorted(edges, flat, right=True) - 1).clamp(0, max(count - 1, 0))
    amounts = inside.to(m.dtype) if weight is None else reshape(plain(weight), (-1,)).masked_fill(~inside, 0.0)
    hist = zeros(count, dtype=m.dtype, device=m.device)
    hist = hist.index_add(0, at, amounts) if count else hist
    if density:
        hist = hist / hist.sum() / edges.diff()
    found = histogram_result(hist, edges)
    return found if out is None else histogram_result(*[write_out("histogram", a, b) for a, b in zip(found, out)])


def _range(input, given):
    """The ends of the bins: those given, or of the elements, or 0 and 1 if there are none."""
    if given is not None:
        low, high = (float(end) for end in given)
    elif input._m.numel:
        low, high = float(input.amin().item()), float(input.amax().item())
    else:
        low, high = 0.0, 1.0
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"histogram(): range [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"histogram(): min should not exceed max, but got {low} and {high}")
    return (low - 0.5, high + 0.5) if low == high else (low, high)


@reduction(identity=0, result="sum", combine=lambda a, b: a + b, install=(), name="count_true")
def _count(total, x):
    return total + (x != 0)


@function
def count_nonzero(input, dim=None) -> Tensor:
    """How many elements over ``dim`` (all by default) are not 0, in int64."""
    input = as_tensor_operand("count_nonzero", input, "input")
    return _count(input != 0, dim)




@function(install=("ng",))
def isin(elements, test_elements, *, assume_unique=False, invert=False, out=None) -> Tensor:
    """Whether each element is among ``test_elements`` (or, with ``invert``, is not)."""
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): at least one of 'elements' and 'test_elements' must be a Tensor")
    if not isinstance(elements, Tensor):
        elements = scalar_tensor(elements, dtype=test_elements._m.dtype, device=test_elements._m.device)
    if not isinstance(test_elements, Tensor):
        test_elements = scalar_tensor(test_elements, dtype=elements._m.dtype, device=elements._m.device)
    elements, test_elements = plain(elements), plain(test_elements)
    d = dtypes.promote(elements._m.dtype, test_elements._m.dtype)
    among = reshape(cast(test_elements, d), (test_elements._m.numel,))
    wanted = cast(elements, d)
    if not among._m.numel:
        found = zeros(tuple(wanted._m.shape), dtype=dtypes.bool_, device=wanted._m.device)
    else:
        ordered = sorted_rows(among, 0)[0]
        places = searchsorted(ordered, wanted).clamp(max=among._m.numel - 1)
        found = ordered[places] == wanted
    found = ~found if invert else found
    return found if out is None else write_out("isin", found, out)
