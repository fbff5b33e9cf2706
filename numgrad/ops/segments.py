"""Reductions of consecutive runs of elements along one dimension: segment_reduce."""

from math import prod

import numpy as np

from .. import dtypes
from ..layout import integer
from ..op import as_tensor_operand, cast, function
from ..structured import structured
from ..tensor import Tensor, from_array
from .compare import choose
from .create import arange, full, zeros_like
from .index import index_add, index_select
from .rearrange import repeat_interleave
from .scatter import index_reduce
from .view import reshape

_IDENTITY = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": float("-inf"), "min": float("inf")}
_LONG_NAMES = {"amax": "max", "amin": "min"}


@function(install=("ng",))
def segment_reduce(data, reduce, *, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None) -> Tensor:
    """Runs of consecutive elements along dimension ``axis`` folded into one each by ``reduce``: "sum", "mean", "prod",
    "max" or "min".

    ``lengths`` (or ``offsets``: where each run begins, and where the last one ends) has the shape of ``data`` up to
    ``axis``, there the number of runs. ``initial`` is what a run starts with; without it the mean of an empty run is NaN.
    The lengths of all runs sum to the size of the dimension unless ``unsafe``. Raises RuntimeError for runs that are no
    part of the dimension.
    """
    data = as_tensor_operand("segment_reduce", data, "data")
    reduce = _LONG_NAMES.get(reduce, reduce)
    if reduce not in _IDENTITY:
        raise RuntimeError(f"segment_reduce(): reduce argument must be either sum, prod, mean, max or min, got {reduce!r}")
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet; give lengths or offsets")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if not data._m.dtype.is_floating_point:
        raise NotImplementedError(f"segment_reduce(): not implemented for {data._m.dtype!r}; convert with .float()")
    name, runs = ("offsets", offsets) if lengths is None else ("lengths", lengths)
    runs = as_tensor_operand("segment_reduce", runs, name)
    ndim, axis = data._m.ndim, integer("segment_reduce", "axis", axis)
    if not -ndim <= axis < ndim:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {axis})")
    axis %= ndim
    _check(data._m, axis, runs._m, name)
    # (batch, n, rest): the runs of all rows in one dimension, so that one call folds them.
    batch, size = prod(data._m.shape[:axis]), data._m.shape[axis]
    rest = tuple(data._m.shape[axis + 1 :])
    host = runs._host().reshape(batch, -1)
    starts, counts = _runs(host, name, size, unsafe)
    per_row = counts.shape[1]
    rows = arange(batch).unsqueeze(1) * size
    flat_counts = _on(counts.reshape(-1), data)
    first = (_on(starts, data) + rows.to(data._m.device)).reshape(-1)
    # element k of a run is at first + k
    within = repeat_interleave(flat_counts)
    before = flat_counts.cumsum(0) - flat_counts
    places = arange(within._m.numel, device=data._m.device) - index_select(before - first, 0, within)
    values = index_select(reshape(data, (batch * size, *rest)), 0, places)
    if values._m.dtype.itemsize == 2:  # sums of 16-bit numbers are made in 32 bits
        values = cast(values, dtypes.float32)
    found = _fold(values, within, flat_counts, (batch * per_row, *rest), reduce, initial)
    return reshape(cast(found, data._m.dtype), (*data._m.shape[:axis], per_row, *rest))


def _on(array, data):
    return from_array(array).to(data._m.device)


def _check(m, axis, rm, name):
    if rm.dtype not in (dtypes.int32, dtypes.int64):
        raise NotImplementedError(f"segment_reduce(): {name} must be int32 or int64, got {rm.dtype!r}")
    if rm.ndim != axis + 1:
        raise RuntimeError(
            f"segment_reduce(): Expected axis to be the last dimension of {name} but got {axis}, with {rm.ndim} dimensions "
            f"of {name}"
        )
    if rm.shape[:axis] != m.shape[:axis]:
        raise RuntimeError(
            f"segment_reduce(): {name} of shape {list(rm.shape)} must have the sizes of data, {list(m.shape)}, before "
            f"dimension {axis}"
        )


def _runs(host, name, size, unsafe):
    """(first element, number of elements) of the runs of every row, as int64 arrays; inside the dimension."""
    host = host.astype(np.int64)
    if name == "offsets":
        if not host.shape[1]:
            raise RuntimeError("segment_reduce(): offsets must have at least one element along axis")
        starts, counts = host[:, :-1], np.diff(host)
        if (counts < 0).any() or host.size and (host.min() < 0 or host.max() > size):
            raise RuntimeError(f"segment_reduce(): offsets must rise from 0 or more to at most {size}, got {host.tolist()}")
        return np.ascontiguousarray(starts), np.ascontiguousarray(counts)
    if (host < 0).any():
        raise RuntimeError("segment_reduce(): lengths contains negative value!")
    sums = host.sum(1)
    if (sums != size).any() and not unsafe or (sums > size).any():
        raise RuntimeError(
            "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when !unsafe, "
            f"and to no more in any case: they sum to {sums.tolist()}, the size is {size}"
        )
    return np.cumsum(host, 1) - host, host


def _fold(values, within, counts, shape, reduce, initial):
    d, device = values._m.dtype, values._m.device
    start = _IDENTITY[reduce] if initial is None else float(initial)
    base = full(shape, start, dtype=d, device=device)
    if reduce == "prod":
        return index_reduce(base, 0, within, values, "prod")
    if reduce in ("max", "min"):
        return _extreme(values, base, within, reduce)
    total = index_add(base, 0, within, values)
    if reduce == "sum":
        return total
    counts = counts.reshape((-1,) + (1,) * (len(shape) - 1))
    mean = total / counts.clamp(min=1).to(d)
    return mean if initial is not None else mean.masked_fill(counts == 0, float("nan"))


@structured(install=(), name="segment_extreme", cases="none", grad_name="SegmentReduceBackward0")
def _extreme(values, *, base, within, reduce):
    found = index_reduce(base, 0, within, values, f"a{reduce}", include_self=False)
    beyond = found < base if reduce == "max" else found > base
    return choose(beyond, base, found)


@_extreme.backward
def _(g, values, out, within):
    """Shared among the elements of a run that are its result; NaN always is."""
    hit = ((values == index_select(out, 0, within)) | (values != values)).to(g._m.dtype)
    hits = index_add(zeros_like(out), 0, within, hit)
    return index_select(g / hits.clamp(min=1), 0, within) * hit
