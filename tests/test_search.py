"""Sorting, selection and counting, compared with PyTorch: max and its relatives, sort, topk, median, mode, quantile,
unique, searchsorted, histograms."""

import itertools

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")
from agreement import assert_agree, assert_agree_on_derivatives, assert_agree_on_values, grid, table  # noqa: E402
from test_torch_parity import assert_same, both  # noqa: E402

CALLS = {
    "max": (lambda T, x: (x.max(), *x.max(0), *x.max(-1, keepdim=True)), (3, 5)),
    "min": (lambda T, x: (x.min(), *x.min(1), *T.min(x, dim=0, keepdim=True)), (3, 5)),
    "max_two": (lambda T, x, y: (T.max(x, y), T.min(x, y)), (3, 5), (5,)),
    "max_3d": (lambda T, x: tuple(x.max(1)), (2, 3, 4)),
    "max_0d": (lambda T, x: (x.max(), *x.max(0)), ()),
    "amax": (lambda T, x: (x.amax(), x.amax(0), x.amax((0, 2), keepdim=True), x.amin(-1)), (2, 3, 4)),
    "aminmax": (lambda T, x: (*T.aminmax(x), *x.aminmax(dim=1, keepdim=True)), (3, 5)),
    "argmax": (lambda T, x: (x.argmax(), x.argmax(0), x.argmin(1, keepdim=True), x.argmin()), (3, 5)),
    "sort": (lambda T, x: (*x.sort(stable=True), *x.sort(dim=0, descending=True, stable=True)), (4, 5)),
    "sort_3d": (lambda T, x: tuple(T.sort(x, dim=1, stable=True)), (2, 6, 3)),
    "sort_0d": (lambda T, x: tuple(x.sort()), ()),
    "argsort": (lambda T, x: (x.argsort(stable=True), x.argsort(dim=0, descending=True, stable=True)), (4, 5)),
    "msort": (lambda T, x: T.msort(x), (4, 3)),
    "topk": (lambda T, x: (x.topk(2).values, x.topk(3, 0, largest=False).values, x.topk(5).values, x.topk(0).values), (4, 5)),
    "kthvalue": (lambda T, x: (x.kthvalue(2).values, x.kthvalue(4, 0, keepdim=True).values), (4, 5)),
    "median": (lambda T, x: (x.median(), x.median(0).values, x.median(1, keepdim=True).values), (4, 5)),
    "nanmedian": (lambda T, x: (x.nanmedian(), x.nanmedian(0).values), (4, 5)),
    "mode": (lambda T, x: (x.mode().values, x.mode(0, keepdim=True).values), (4, 5)),
    "quantile": (lambda T, x: (x.quantile(0.3), x.quantile(0.5, 0), x.quantile(x.new_tensor([0.1, 0.9]), 1, keepdim=True)), (4, 5)),
    "nanquantile": (lambda T, x: (x.nanquantile(0.3), x.nanquantile(0.5, 1)), (4, 5)),
    "count_nonzero": (lambda T, x: (x.count_nonzero(), x.count_nonzero(0), x.count_nonzero((0, 1))), (4, 5)),
    "unique": (lambda T, x: T.unique(x, return_inverse=True, return_counts=True), (4, 5)),
    "unique_rows": (lambda T, x: T.unique((x > 1).int(), dim=0, return_inverse=True, return_counts=True), (6, 2)),
    "unique_columns": (lambda T, x: T.unique((x > 1).int(), dim=1), (2, 6)),
    "unique_consecutive": (lambda T, x: T.unique_consecutive((x > 1).int(), return_inverse=True, return_counts=True), (12,)),
    "unique_consecutive_rows": (lambda T, x: T.unique_consecutive((x > 1).int(), dim=0, return_counts=True), (12, 1)),
    "searchsorted": (
        lambda T, x, v: [T.searchsorted(x.sort().values.contiguous(), v.contiguous(), right=r) for r in (False, True)],
        (3, 5), (3, 2)),
    "searchsorted_1d": (lambda T, x, v: T.searchsorted(x.sort().values, v, side="right", out_int32=True), (7,), (2, 3)),
    "searchsorted_sorter": (lambda T, x, v: T.searchsorted(x, v, sorter=x.argsort()), (7,), (2, 3)),
    "searchsorted_number": (lambda T, x: T.searchsorted(x.sort().values, 1), (7,)),
    "bucketize": (lambda T, x, b: (T.bucketize(x, b.sort().values), T.bucketize(x, b.sort().values, right=True)), (3, 5), (4,)),
    "isin": (lambda T, x, y: (T.isin(x, y), T.isin(x, y, invert=True), T.isin(x, 2)), (3, 5), (4,)),
    "histc": (lambda T, x: (T.histc(x, 5), T.histc(x, 4, min=-1, max=3)), (3, 5)),
    "bincount": (lambda T, x: (T.bincount(x), T.bincount(x, minlength=9), T.bincount(x, x * 0.5)), (9,)),
}  # fmt: skip
WITHOUT_GRADIENT = {
    "argmax", "argsort", "count_nonzero", "unique", "unique_rows", "unique_columns", "unique_consecutive", "isin",
    "unique_consecutive_rows", "searchsorted", "searchsorted_1d", "searchsorted_sorter", "searchsorted_number",
    "bucketize", "histc", "bincount",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:torch.searchsorted")
@pytest.mark.parametrize("kind", ["float32", "int64", "bool"])
@pytest.mark.parametrize("name", list(CALLS))
def test_values(name, kind):
    call, *shapes = CALLS[name]
    if name == "bincount" and kind.startswith("float"):
        assert_agree(lambda T: T.bincount(T.tensor([0.5])))
    else:
        assert_agree_on_values(call, shapes, kind)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in WITHOUT_GRADIENT])
def test_derivatives(name):
    call, *shapes = CALLS[name]
    for seed in (0, 1):
        assert_agree_on_derivatives(call, shapes, seed)


def special(T):
    """NaN, infinities, zeros of both signs and ties."""
    rows = [[1, float("nan"), 3, 1, -2], [0.0, -0.0, 0.0, float("inf"), 1], [2, 2, 2, 2, 2], [float("-inf"), 5, 5, 0, 5]]
    return T.tensor(rows)


SPECIAL = {
    "max": lambda T, x: (x.max(), *x.max(1), *x.min(1), x.amax(1), x.amin(1)),
    "arg": lambda T, x: (x.argmax(1), x.argmin(1), x.argmax(), x.argmin()),
    "aminmax": lambda T, x: tuple(x.aminmax(dim=1)),
    "sort": lambda T, x: (*x.sort(dim=1, stable=True), *x.sort(dim=1, descending=True, stable=True)),
    "sort_0": lambda T, x: tuple(x.sort(dim=0, stable=True)),
    "topk": lambda T, x: (x.topk(3, 1).values, x.topk(3, 1, largest=False).values),
    "kthvalue": lambda T, x: (x.kthvalue(5, 1).values, x.kthvalue(2, 1).values),
    "median": lambda T, x: (x.median(1).values, x.nanmedian(1).values, x.median(), x.nanmedian()),
    "mode": lambda T, x: x[1:].mode(1).values,
    "quantile": lambda T, x: (x[1:3].quantile(0.3, 1), x.nanquantile(0.3, 1), x.quantile(0.5, 1)),
    "interpolation": lambda T, x: [
        x[2:3, 1:].quantile(0.4, 1, interpolation=mode) for mode in ("linear", "lower", "higher", "midpoint", "nearest")
    ],
    "unique": lambda T, x: T.unique(x[1:], return_inverse=True, return_counts=True),
    "isin": lambda T, x: T.isin(x, T.tensor([5.0, float("nan"), float("inf")], dtype=x.dtype)),
    "searchsorted": lambda T, x: T.searchsorted(T.tensor([0.0, 2, 5], dtype=x.dtype), x),
    "bucketize": lambda T, x: T.bucketize(x, T.tensor([0.0, 2, 5], dtype=x.dtype), right=True),
    "count_nonzero": lambda T, x: x.count_nonzero(1),
    "histc": lambda T, x: T.histc(x[2:].clamp(-9, 9), 3, min=0, max=5),
    "cummax": lambda T, x: (*x.cummax(1), *x.cummin(1)),
    "nan_reductions": lambda T, x: (x.nansum(1), x.nanmean(1)),
}  # fmt: skip


@table(SPECIAL)
def test_special_values(call):
    assert_same(*both(lambda T: call(T, special(T))))


EMPTY = {
    "max_all": lambda T: T.zeros(0).max(), "max_dim": lambda T: T.zeros(0, 3).max(0), "max_other": lambda T: tuple(T.zeros(0, 3).max(1)),
    "argmax_all": lambda T: T.zeros(0).argmax(), "argmax_other": lambda T: T.zeros(0, 3).argmax(1), "amax": lambda T: T.zeros(0, 3).amax(0),
    "amax_other": lambda T: T.zeros(0, 3).amax(1), "sort": lambda T: tuple(T.zeros(0, 3).sort(0)), "topk": lambda T: tuple(T.zeros(0, 3).topk(2, 1)),
    "topk_dim": lambda T: T.zeros(0).topk(1), "median": lambda T: T.zeros(0).median(), "median_dim": lambda T: T.zeros(0, 3).median(0),
    "median_other": lambda T: tuple(T.zeros(0, 3).median(1)), "mode": lambda T: T.zeros(0).mode(), "kthvalue": lambda T: T.zeros(0).kthvalue(1),
    "unique": lambda T: T.unique(T.zeros(0), return_inverse=True, return_counts=True), "unique_consecutive": lambda T: T.unique_consecutive(T.zeros(0)),
    "searchsorted": lambda T: T.searchsorted(T.zeros(0), T.ones(2)), "searchsorted_nothing": lambda T: T.searchsorted(T.zeros(3), T.ones(0)),
    "bincount": lambda T: T.bincount(T.zeros(0, dtype=T.int64)), "bincount_length": lambda T: T.bincount(T.zeros(0, dtype=T.int64), minlength=2),
    "histc": lambda T: T.histc(T.zeros(0), 3), "isin": lambda T: T.isin(T.zeros(2), T.zeros(0)), "nonzero": lambda T: T.zeros(0, 2).nonzero(),
    "count_nonzero": lambda T: T.zeros(0, 2).count_nonzero(0), "quantile": lambda T: T.zeros(0).quantile(0.5), "aminmax": lambda T: T.zeros(0).aminmax(),
}  # fmt: skip


@table(EMPTY)
def test_empty(call):
    assert_agree(call)


def _kthvalue_into_itself(T):
    x = T.arange(4.0)
    return T.kthvalue(x, 2, out=(x, T.zeros((), dtype=T.int64)))


ERRORS = {
    "kthvalue_memory": _kthvalue_into_itself, "aminmax_out": lambda T: T.aminmax(T.zeros(2, 3), dim=0, out=(T.zeros(3, dtype=T.float64), T.zeros(3))),
    "dim": lambda T: T.zeros(2, 3).sort(2), "max_dim": lambda T: T.zeros(2, 3).max(2), "argmax_dim": lambda T: T.zeros(2, 3).argmax(-3),
    "topk_large": lambda T: T.zeros(3).topk(4), "topk_negative": lambda T: T.zeros(3).topk(-1), "kthvalue_zero": lambda T: T.zeros(3).kthvalue(0),
    "kthvalue_large": lambda T: T.zeros(3).kthvalue(4), "median_dim": lambda T: T.zeros(3).median(1), "quantile_outside": lambda T: T.zeros(3).quantile(1.5),
    "quantile_dtype": lambda T: T.zeros(3).long().quantile(0.5), "quantile_q_dtype": lambda T: T.zeros(3).quantile(T.tensor([0.5], dtype=T.float64)),
    "quantile_interpolation": lambda T: T.zeros(3).quantile(0.5, interpolation="none"), "quantile_q_2d": lambda T: T.zeros(3).quantile(T.zeros(1, 1)),
    "searchsorted_rows": lambda T: T.searchsorted(T.zeros(2, 3), T.zeros(3, 2)), "searchsorted_dtype": lambda T: T.searchsorted(T.zeros(3), T.zeros(3, dtype=T.float64)),
    "searchsorted_side": lambda T: T.searchsorted(T.zeros(3), T.zeros(3), side="middle"), "searchsorted_both": lambda T: T.searchsorted(T.zeros(3), T.zeros(3), side="left", right=True),
    "bucketize_2d": lambda T: T.bucketize(T.zeros(3), T.zeros(2, 2)), "bincount_negative": lambda T: T.bincount(T.tensor([-1])),
    "bincount_2d": lambda T: T.bincount(T.zeros(2, 2, dtype=T.int64)), "bincount_float": lambda T: T.bincount(T.zeros(2)),
    "bincount_weights": lambda T: T.bincount(T.tensor([1, 2]), T.zeros(3)), "histc_bins": lambda T: T.histc(T.zeros(2), 0),
    "histc_range": lambda T: T.histc(T.zeros(2), 3, min=2, max=1), "histc_nan": lambda T: T.histc(T.tensor([float("nan")]), 3),
    "unique_dim": lambda T: T.unique(T.zeros(2), dim=1), "max_three": lambda T: T.max(T.zeros(2), 0, True, 3), "max_text": lambda T: T.zeros(2).max("a"),
    "amax_repeated": lambda T: T.zeros(2, 2).amax((0, 0)), "mode_dim": lambda T: T.zeros(2).mode(1),
}  # fmt: skip


@table(ERRORS)
def test_errors(call):
    assert_agree(call)


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32"])
def test_sorting_of_many_sizes(kind):
    """Sizes around the kernels' block sizes, with ties; indices stable."""
    rng = np.random.default_rng(0)
    for size in (1, 2, 15, 16, 17, 100, 257, 1000, 5000):
        values = rng.integers(0, max(size // 3, 2), (2, size))
        values = values.astype(kind)

        def run(T):
            x = T.from_numpy(values)
            return [*x.sort(dim=1, stable=True), *x.sort(dim=1, descending=True, stable=True), *x.t().sort(dim=0, stable=True), x.topk(size // 2 + 1, 1).values,
                    x.kthvalue(size // 2 + 1, 1).values, x.median(1).values, *T.unique(x, return_inverse=True, return_counts=True)]  # fmt: skip

        assert_same(*both(run))


def test_indices_point_at_values():
    """Where several elements are equal any of their indices may be returned, but it has to be one of them."""
    rng = np.random.default_rng(0)
    x = ng.tensor(rng.integers(0, 5, (6, 40)).astype(np.float32))
    for dim, (name, options) in itertools.product((0, 1), (
        ("max", ()), ("min", ()), ("median", ()), ("mode", ()), ("kthvalue", (3,)), ("topk", (4,)), ("sort", ()), ("cummax", ()),
    )):  # fmt: skip
        found = getattr(x, name)(*options, dim)
        indices = found.indices if found.indices.dim() == 2 else found.indices.unsqueeze(dim)
        assert_same(x.gather(dim, indices).view(found.values.shape), torch.from_numpy(found.values.numpy()))


def test_named_results_and_out():
    x = grid(ng, 3, 4)
    for name in ("max", "min", "sort", "median", "mode", "cummax"):
        found = getattr(ng, name)(x, 1)
        values, indices = found
        assert found.values is values and found.indices is indices
        out = ng.empty(0), ng.empty(0, dtype=ng.int64)
        returned = getattr(ng, name)(x, 1, out=out)
        assert returned[0] is out[0] and returned[1] is out[1]
        assert out[0].tolist() == values.tolist() and out[1].tolist() == indices.tolist()
    assert ng.aminmax(x).min.item() == 0 and ng.aminmax(x).max.item() == 11
