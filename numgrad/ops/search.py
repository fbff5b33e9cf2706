"""Finding the largest and smallest: max, min, argmax, argmin, aminmax; sort, topk, kthvalue, median, mode."""


from .. import dtypes
from ..inplace import write_out
from ..kernels import sort as kernels
from ..layout import integer, normalize_axis
from ..op import as_operand, as_tensor_operand, called, cast, dense, function, plain, record, recording
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor
from .create import full
from .extrema import _maximum, _minimum
from .launch import element, launch
from .places import Along, spread
from .reduce import amax, amin
from .results import return_type
from .scan import layout, units
from .view import movedim, reshape, unsqueeze

_FEW = 64  # topk of at most so many keeps them sorted by insertion

max_result = return_type("max", "values", "indices")
min_result = return_type("min", "values", "indices")
sort_result = return_type("sort", "values", "indices")
topk_result = return_type("topk", "values", "indices")
kthvalue_result = return_type("kthvalue", "values", "indices")
median_result = return_type("median", "values", "indices")
nanmedian_result = return_type("nanmedian", "values", "indices")
mode_result = return_type("mode", "values", "indices")
aminmax_result = return_type("aminmax", "min", "max")


# --- values taken from where indices say ---------------------------------------------------------------------------


def _selection(name):
    """The history of an op whose values were taken from where its indices say along ``dim``."""

    @structured(install=(), name=f"{name}_values", cases="none", grad_name=f"{name.capitalize()}Backward0")
    def selected(input, indices, *, dim, kept):
        return input

    @selected.backward
    def _(g, input_meta, indices, dim, kept):
        if not input_meta.ndim:
            return reshape(g, ()), None
        if not kept:
            g, indices = unsqueeze(g, dim), unsqueeze(indices, dim)
        return spread(g, input_meta, Along(name, indices, dim)), None

    return selected


_SELECTIONS = {
    name: _selection(name) for name in ("max", "min", "sort", "topk", "kthvalue", "median", "nanmedian", "mode")
}


def _taken(name, input, values, indices, dim, kept):
    """``values`` with its history."""
    if values._m.dtype.is_floating_point and recording((input,)):
        op = _SELECTIONS[name].op
        values._n = record(op, (input, indices), values, {"dim": dim, "kept": kept})
    return values


def _pair(name, result, values, indices, out, *sources):
    if out is not None:
        values, indices = write_out(name, values, out[0], *sources), write_out(name, indices, out[1], *sources)
    return result(values, indices)


# --- the best ------------------------------------------------------------------------------------------------------


def _best(name, input, dim, mode):
    """(values, indices) of the best along ``dim``, without that dimension, unrecorded."""
    m = input._m
    outer, n, inner = layout(m, dim)
    shape = tuple(m.shape[:dim] + m.shape[dim + 1 :])
    values = empty_tensor(meta(m.dtype, shape, m.device))
    indices = empty_tensor(meta(dtypes.int64, shape, m.device))
    if n == 0:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    if values._m.numel:
        count, width = units(outer, inner)
        slots = dense(plain(input))._d, values._d, indices._d, n, inner, width
        launch(kernels.best_of_axis, {"T": element(m.dtype), "MODE": mode}, slots, count, n * width, m.device)
    return values, indices


def _best_along(name, result, input, dim, keepdim, mode, out):
    dim = normalize_axis(name, dim, input._m.ndim)
    values, indices = _best(name, input, dim, mode)
    if keepdim and input._m.ndim:
        values, indices = unsqueeze_bare(values, dim), unsqueeze_bare(indices, dim)
    _taken(name, input, values, indices, dim, keepdim and input._m.ndim > 0)
    return _pair(name, result, values, indices, out)


def unsqueeze_bare(tensor, dim):
    """A fresh tensor with a dimension of size 1 more, not a view."""
    m = tensor._m
    tensor._m = meta(m.dtype, (*m.shape[:dim], 1, *m.shape[dim:]), m.device)
    return tensor


def _extreme(name, result, fold, pairwise, mode, input, dim, keepdim, other, out):
    input = as_tensor_operand(name, input, "input")
    if isinstance(dim, Tensor):
        other = dim
    if other is not None:
        return pairwise(input, as_operand(name, other, 1), out=out)
    if dim is not None:
        return _best_along(name, result, input, dim, keepdim, mode, out)
    if not input._m.numel:
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with "
            "the "
            "'dim' argument."
        )
    return called(fold(input, (), False, out=out), f"{name.capitalize()}Backward1")


@function(name="max")
def max_(input, dim=None, keepdim=False, *, other=None, out=None):
    """The largest value; ``max(input, dim, keepdim=False)``: (values, indices) along a dimension; ``max(input, other)``:
    `maximum`."""
    return _extreme("max", max_result, amax, _maximum, 0, input, dim, keepdim, other, out)


@function(name="min")
def min_(input, dim=None, keepdim=False, *, other=None, out=None):
    """The smallest value; ``min(input, dim, keepdim=False)``: (values, indices) along a dimension; ``min(input,
    other)``: `minimum`."""
    return _extreme("min", min_result, amin, _minimum, 1, input, dim, keepdim, other, out)


def _arg(name, input, dim, keepdim, mode, out):
    input = as_tensor_operand(name, input, "input")
    m = input._m
    if m.dtype.kind == "b":
        raise RuntimeError(f'"{name}" not implemented for {m.dtype!r}; convert with .int()')
    if dim is None:
        if not m.numel:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
        found = _best(name, reshape(plain(input), (-1,)), 0, mode)[1]
        if keepdim:
            found = reshape(found, (1,) * m.ndim)
    else:
        dim = normalize_axis(name, dim, m.ndim)
        found = _best(name, input, dim, mode)[1]
        if keepdim and m.ndim:
            found = unsqueeze_bare(found, dim)
    return found if out is None else write_out(name, found, out)


@function
def argmax(input, dim=None, keepdim=False, *, out=None) -> Tensor:
    """The index of the largest value along ``dim``, the first of equals; without ``dim``, in the flat tensor."""
    return _arg("argmax", input, dim, keepdim, 0, out)


@function
def argmin(input, dim=None, keepdim=False, *, out=None) -> Tensor:
    """The index of the smallest value along ``dim``, the first of equals; without ``dim``, in the flat tensor."""
    return _arg("argmin", input, dim, keepdim, 1, out)


@function
def aminmax(input, *, dim=None, keepdim=False, out=None):
    """(min, max): the smallest and the largest value, along ``dim`` or of all."""
    input = as_tensor_operand("aminmax", input, "input")
    if dim is None and not input._m.numel:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    if dim is None:
        low, high = amin(input), amax(input)
        if keepdim:
            low, high = reshape(low, (1,) * input._m.ndim), reshape(high, (1,) * input._m.ndim)
    else:
        low, high = amin(input, dim, keepdim), amax(input, dim, keepdim)
    if out is not None:
        for given in out:
            if given._m.dtype is not input._m.dtype:
                raise RuntimeError(
                    f"aminmax: expected out tensors of dtype {input._m.dtype!r}, got {given._m.dtype!r}; convert the result instead"
                )
        low, high = write_out("aminmax", low, out[0]), write_out("aminmax", high, out[1])
    return aminmax_result(low, high)


# --- order ---------------------------------------------------------------------------------------------------------


def _to_rows(input, dim):
    """The tensor as contiguous rows along ``dim``, and their length; unrecorded."""
    rows = dense(movedim(plain(input), dim, -1)) if dim != input._m.ndim - 1 else dense(plain(input))
    return rows, rows._m.shape[-1]


def _from_rows(rows, dim):
    """Rows back along ``dim``, contiguous, as a fresh tensor."""
    return rows if dim == rows._m.ndim - 1 else dense(movedim(rows, -1, dim))


def sorted_rows(input, dim, descending=False):
    """(values, indices) sorted along ``dim``, stable, with that dimension last; unrecorded."""
    rows, n = _to_rows(input, dim)
    m = rows._m
    values, spare_values = empty_tensor(m), empty_tensor(m)
    im = meta(dtypes.int64, m.shape, m.device)
    indices, spare_indices = empty_tensor(im), empty_tensor(im)
    if m.numel:
        slots = rows._d, values._d, indices._d, spare_values._d, spare_indices._d, n
        parameters = {"T": element(m.dtype), "DESCENDING": int(bool(descending))}
        launch(kernels.sort_rows, parameters, slots, m.numel // n, 16 * n, m.device)
    return values, indices


def _scalar_pair(input):
    """(values, indices) of a tensor of no dimensions."""
    m = input._m
    index = empty_tensor(meta(dtypes.int64, (), m.device))
    return plain(input).clone(), index.zero_()


@function
def sort(input, dim=-1, descending=False, *, stable=False, out=None):
    """(values, indices) in rising (or falling) order along ``dim``; equals keep their order, NaN counts as largest."""
    input = as_tensor_operand("sort", input, "input")
    dim = normalize_axis("sort", dim, input._m.ndim)
    if not input._m.ndim:
        values, indices = _scalar_pair(input)
    else:
        values, indices = sorted_rows(input, dim, descending)
        values, indices = _from_rows(values, dim), _from_rows(indices, dim)
    _taken("sort", input, values, indices, dim, True)
    return _pair("sort", sort_result, values, indices, out)


@function
def argsort(input, dim=-1, descending=False, *, stable=False, out=None) -> Tensor:
    """The indices that sort the tensor along ``dim``."""
    found = sort(plain(as_tensor_operand("argsort", input, "input")), dim, descending).indices
    return found if out is None else write_out("argsort", found, out)


@function
def msort(input, *, out=None) -> Tensor:
    """The tensor sorted along its first dimension."""
    found = sort(input, 0).values
    return found if out is None else write_out("msort", found, out)


@function
def topk(input, k, dim=-1, largest=True, sorted=True, *, out=None):
    """(values, indices) of the ``k`` largest (or smallest) along ``dim``, in order."""
    input = as_tensor_operand("topk", input, "input")
    m = input._m
    dim = normalize_axis("topk", dim, m.ndim)
    k = integer("topk", "k", k)
    if not 0 <= k <= (m.shape[dim] if m.ndim else 1):
        raise RuntimeError(
            f"topk: selected index k out of range: {k} of {m.shape[dim] if m.ndim else 1} along dimension {dim}"
        )
    if not m.ndim:
        values, indices = _scalar_pair(input)
        if k == 0:
            raise RuntimeError("topk: k must be 1 for a tensor of no dimensions")
    else:
        if k <= _FEW:
            values, indices = _first_rows(input, dim, k, largest)
        else:
            values, indices = [part.narrow(-1, 0, k) for part in sorted_rows(input, dim, largest)]
            values, indices = dense(values), dense(indices)
        values, indices = _from_rows(values, dim), _from_rows(indices, dim)
    _taken("topk", input, values, indices, dim, True)
    return _pair("topk", topk_result, values, indices, out)


def _first_rows(input, dim, k, descending):
    rows, n = _to_rows(input, dim)
    m = rows._m
    shape = (*m.shape[:-1], k)
    values = empty_tensor(meta(m.dtype, shape, m.device))
    indices = empty_tensor(meta(dtypes.int64, shape, m.device))
    if values._m.numel:
        parameters = {"T": element(m.dtype), "DESCENDING": int(bool(descending))}
        launch(kernels.top_of_rows, parameters, (rows._d, values._d, indices._d, n, k), m.numel // n, 4 * n, m.device)
    return values, indices


_RANK, _MEDIAN, _NAN_MEDIAN = range(3)  # what `rank_of_rows` looks for


def _ranked(name, input, dim, kind, rank, result, keepdim, out):
    """(values, indices) of what ``kind`` and ``rank`` say along ``dim``."""
    m = input._m
    if not m.ndim:
        values, indices = _scalar_pair(input)
    else:
        if not m.shape[dim]:
            raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
        rows, n = _to_rows(input, dim)
        shape = tuple(rows._m.shape[:-1])
        values = empty_tensor(meta(m.dtype, shape, m.device))
        indices = empty_tensor(meta(dtypes.int64, shape, m.device))
        spare = empty_tensor(rows._m), empty_tensor(meta(dtypes.int64, rows._m.shape, m.device))
        slots = rows._d, values._d, indices._d, spare[0]._d, spare[1]._d, n, rank
        launch(kernels.rank_of_rows, {"T": element(m.dtype), "KIND": kind}, slots, values._m.numel, 8 * n, m.device)
        if keepdim:
            values, indices = unsqueeze_bare(values, dim), unsqueeze_bare(indices, dim)
    _taken(name, input, values, indices, dim, keepdim and m.ndim > 0)
    return _pair(name, result, values, indices, out, input)


@function
def kthvalue(input, k, dim=-1, keepdim=False, *, out=None):
    """(values, indices) of the ``k``-th smallest (from 1) along ``dim``."""
    input = as_tensor_operand("kthvalue", input, "input")
    dim = normalize_axis("kthvalue", dim, input._m.ndim)
    size = input._m.shape[dim] if input._m.ndim else 1
    if input._m.ndim and not size:
        raise IndexError(f"kthvalue(): Expected reduction dim {dim} to have non-zero size.")
    k = integer("kthvalue", "k", k)
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}: {k} of {size}")
    return _ranked("kthvalue", input, dim, _RANK, k - 1, kthvalue_result, keepdim, out)


def _middle(name, result, kind):
    """The median of all elements, with a gradient that is shared evenly among equals."""

    @structured(install=(), name=f"{name}_of_all", cases="none", grad_name=f"{name.capitalize()}Backward0")
    def middle(input):
        flat = input if input._m.ndim == 1 else reshape(input, (-1,))
        return _ranked(name, flat, 0, kind, 0, result, False, None).values

    @middle.backward
    def _(g, input, out):
        value = plain(out)
        hits = cast((input == value) | ((input != input) & (value != value)), g._m.dtype)
        return g * (hits / hits.sum())

    return middle


_MIDDLES = {
    "median": _middle("median", median_result, _MEDIAN),
    "nanmedian": _middle("nanmedian", nanmedian_result, _NAN_MEDIAN),
}


def _median(name, result, kind, input, dim, keepdim, out):
    input = as_tensor_operand(name, input, "input")
    if input._m.dtype.kind == "b":
        raise RuntimeError(f'"{name}" not implemented for {input._m.dtype!r}; convert with .int()')
    if dim is not None:
        return _ranked(name, input, normalize_axis(name, dim, input._m.ndim), kind, 0, result, keepdim, out)
    if not input._m.numel:
        d = input._m.dtype
        return full((), float("nan") if d.is_floating_point else dtypes.iinfo(d).min, dtype=d)
    found = _MIDDLES[name](input)
    return found if out is None else write_out(name, found, out)


@function
def median(input, dim=None, keepdim=False, *, out=None):
    """The median, the lower one of two; along ``dim``: (values, indices). NaN if there is one."""
    return _median("median", median_result, _MEDIAN, input, dim, keepdim, out)


@function
def nanmedian(input, dim=None, keepdim=False, *, out=None):
    """`median` of the values that are not NaN."""
    return _median("nanmedian", nanmedian_result, _NAN_MEDIAN, input, dim, keepdim, out)


@function
def mode(input, dim=-1, keepdim=False, *, out=None):
    """(values, indices) of the most frequent value along ``dim``, the smallest of equals, and the last place it
    stands."""
    input = as_tensor_operand("mode", input, "input")
    m = input._m
    dim = normalize_axis("mode", dim, m.ndim)
    if not m.ndim:
        values, indices = _scalar_pair(input)
    else:
        n = m.shape[dim]
        if not n:
            raise IndexError(f"mode(): Expected reduction dim {dim} to have non-zero size.")
        ordered, order = sorted_rows(input, dim)
        shape = tuple(ordered._m.shape[:-1])
        values = empty_tensor(meta(m.dtype, shape, m.device))
        indices = empty_tensor(meta(dtypes.int64, shape, m.device))
        slots = ordered._d, order._d, values._d, indices._d, n
        launch(kernels.mode_of_rows, {"T": element(m.dtype)}, slots, values._m.numel, 2 * n, m.device)
        if keepdim:
            values, indices = unsqueeze_bare(values, dim), unsqueeze_bare(indices, dim)
    _taken("mode", input, values, indices, dim, keepdim and m.ndim > 0)
    return _pair("mode", mode_result, values, indices, out)


