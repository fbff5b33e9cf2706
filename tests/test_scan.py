"""Running sums and statistics compared with PyTorch: cumsum and its relatives, diff, var, std, norms, distances."""

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")
from agreement import assert_agree, assert_agree_on_derivatives, assert_agree_on_values, grid, strided, table  # noqa: E402
from test_torch_parity import KINDS, assert_same, both  # noqa: E402

INF = float("inf")
CALLS = {
    "cumsum": (lambda T, x: (x.cumsum(0), x.cumsum(-1)), (3, 5)),
    "cumsum_3d": (lambda T, x: T.cumsum(x, 1), (2, 4, 3)),
    "cumsum_0d": (lambda T, x: x.cumsum(0), ()),
    "cumsum_dtype": (lambda T, x: x.cumsum(0, dtype=T.float64), (3, 5)),
    "cumprod": (lambda T, x: (x.cumprod(0), x.cumprod(-1)), (3, 5)),
    "cumprod_3d": (lambda T, x: T.cumprod(x, 1), (2, 4, 3)),
    "logcumsumexp": (lambda T, x: (x.logcumsumexp(0), x.logcumsumexp(1)), (3, 5)),
    "cummax": (lambda T, x: (*x.cummax(0), *x.cummax(1)), (3, 5)),
    "cummin": (lambda T, x: (*x.cummin(0), *x.cummin(1)), (3, 5)),
    "diff": (lambda T, x: (x.diff(), x.diff(dim=0), x.diff(n=2), T.diff(x, n=0)), (3, 5)),
    "diff_edges": (lambda T, x, a, b: x.diff(prepend=a, append=b), (3, 5), (3, 1), (3, 2)),
    "var": (lambda T, x: (x.var(), x.var(0), x.var(1, False), x.var((0, 1), keepdim=True)), (3, 5)),
    "var_correction": (lambda T, x: (x.var(1, correction=0), x.var(correction=2), x.var(0, correction=1.5)), (3, 5)),
    "std": (lambda T, x: (x.std(), x.std(0), x.std(1, True), x.std((0, 2), keepdim=True, correction=0)), (3, 5, 2)),
    "var_mean": (lambda T, x: (*T.var_mean(x), *T.var_mean(x, 1), *T.std_mean(x, (0, 1), correction=0)), (3, 5)),
    "mean": (lambda T, x: (x.mean(), x.mean(0), x.mean((0, 2), keepdim=True)), (2, 3, 4)),
    "sum": (lambda T, x: (x.sum(), x.sum(0), x.sum((0, 2), keepdim=True), x.sum(1, dtype=T.float64)), (2, 3, 4)),
    "prod": (lambda T, x: (x.prod(), x.prod(0), x.prod(1, keepdim=True)), (3, 4)),
    "logsumexp": (lambda T, x: (x.logsumexp(0), x.logsumexp((0, 1)), x.logsumexp(1, keepdim=True)), (3, 4)),
    "nansum": (lambda T, x: (x.nansum(), x.nansum(0)), (3, 4)),
    "nanmean": (lambda T, x: (x.nanmean(), x.nanmean(0)), (3, 4)),
    "norm": (lambda T, x: (x.norm(), x.norm(dim=0), x.norm(2, (0, 1), keepdim=True)), (3, 4)),
    "norm_p": (lambda T, x: (x.norm(1), x.norm(3, 1), x.norm(0.5, 1), x.norm(INF, 0), x.norm(-INF, 0)), (3, 4)),
    "norm_zero": (lambda T, x: (x.norm(0), x.norm(0, 1)), (3, 4)),
    "dist": (lambda T, x, y: (T.dist(x, y), T.dist(x, y, 1), T.dist(x, y, INF)), (3, 4), (4,)),
    "normalize": (lambda T, x: (T.nn.functional.normalize(x), T.nn.functional.normalize(x, 1, 0)), (3, 4)),
    "cosine_similarity": (lambda T, x, y: T.nn.functional.cosine_similarity(x, y, 1), (3, 4, 2), (3, 4, 2)),
    "pairwise_distance": (lambda T, x, y: T.nn.functional.pairwise_distance(x, y, 3.0), (3, 4), (3, 4)),
    "cdist": (lambda T, x, y: (T.cdist(x, y), T.cdist(x, y, 1)), (3, 4), (2, 4)),
    "renorm": (lambda T, x: T.renorm(x, 2, 0, 0.5), (3, 4)),
    "all_any": (lambda T, x: (x.all(), x.any(0), x.all(1, keepdim=True)), (3, 4)),
}  # fmt: skip
# float64 parts of PyTorch's own kernels are not differentiable twice here, or its subgradients are other ones.
NO_GRADIENT = {"all_any", "norm_zero"}


@pytest.mark.parametrize("kind", ["float32", "int64", "bool"])
@pytest.mark.parametrize("name", list(CALLS))
def test_values(name, kind):
    call, *shapes = CALLS[name]
    assert_agree_on_values(call, shapes, kind)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in NO_GRADIENT])
def test_derivatives(name):
    call, *shapes = CALLS[name]
    for seed in (0, 1):
        assert_agree_on_derivatives(call, shapes, seed)


def test_variance_of_large_and_of_equal_numbers():
    """No sum on the way to a variance overflows, and equal numbers have exactly the variance 0."""
    rows = ng.tensor([[3e38] * 9, [0.1] * 9, [3e38, -3e38] + [1e38] * 7], dtype=ng.float32)
    assert rows.var(1).tolist() == rows.t().contiguous().var(0).tolist() == [0.0, 0.0, INF]
    spread = rows.double().var(1)
    np.testing.assert_allclose(spread.numpy(), rows.numpy().astype(np.float64).var(1, ddof=1), rtol=1e-12, atol=0)


ZEROS = {
    "cumprod_one": [2.0, 0.0, 3.0, 4.0], "cumprod_two": [2.0, 0.0, 3.0, 0.0], "cumprod_first": [0.0, 5.0, -1.0, 2.0],
    "cumprod_all": [0.0, 0.0, 0.0, 0.0],
}  # fmt: skip


@pytest.mark.parametrize("values", ZEROS.values(), ids=list(ZEROS))
def test_products_with_zeros(values):
    """A factor of zero is not divided out: values, gradients and second derivatives stay right."""

    def run(T):
        x = T.tensor(values, dtype=T.float64, requires_grad=True)
        found = []
        for y in (x.cumprod(0), x.prod(), x.view(2, 2).prod(1)):
            weight = T.arange(1.0, 1 + y.numel(), dtype=T.float64).view(y.shape)
            (first,) = T.autograd.grad((y * weight).sum(), x, create_graph=True)
            found += [y.detach(), first.detach()]
            if first.requires_grad:
                found += T.autograd.grad((first * T.arange(4.0, dtype=T.float64)).sum(), x)
        return found

    assert_same(*both(run))


SPECIAL = {
    "cumsum": lambda T, x: x.cumsum(1), "cumprod": lambda T, x: x.cumprod(1), "logcumsumexp": lambda T, x: x.logcumsumexp(1),
    "cummax": lambda T, x: tuple(x.cummax(1)), "cummin": lambda T, x: tuple(x.cummin(1)), "diff": lambda T, x: x.diff(),
    "var": lambda T, x: (x[:5].var(1), x[:5].std(1)), "mean": lambda T, x: (x.mean(1), x.sum(1)), "prod": lambda T, x: x.prod(1),
    "norm": lambda T, x: (x.norm(dim=1), x.norm(INF, 1), x.norm(1, 1), x.norm(-INF, 1)), "logsumexp": lambda T, x: x.logsumexp(1),
    "nansum": lambda T, x: (x.nansum(1), x.nanmean(1)), "any": lambda T, x: (x.any(1), x.all(1)),
}  # fmt: skip


@table(SPECIAL)
def test_special_values(call):
    rows = [[1, float("nan"), 3], [INF, 1, 2], [-INF, 0, 5], [INF, -INF, 0], [0, -0.0, 0], [3e38, 3e38, -3e38], [-INF] * 3]
    assert_same(*both(lambda T: call(T, T.tensor(rows))))


EMPTY = {
    "cumsum": lambda T: T.zeros(0, 3).cumsum(0), "cumsum_other": lambda T: T.zeros(0, 3).cumsum(1), "cummax": lambda T: tuple(T.zeros(0, 3).cummax(0)),
    "cumprod": lambda T: T.zeros(2, 0).cumprod(1), "logcumsumexp": lambda T: T.zeros(0).logcumsumexp(0), "diff": lambda T: T.zeros(0).diff(),
    "diff_short": lambda T: T.zeros(2).diff(n=5), "mean": lambda T: (T.zeros(0).mean(), T.zeros(0, 2).mean(0)), "sum": lambda T: T.zeros(0, 2).sum(0),
    "prod": lambda T: (T.zeros(0).prod(), T.zeros(2, 0).prod(1)), "norm": lambda T: (T.zeros(0).norm(), T.zeros(2, 0).norm(dim=1)),
    "norm_inf": lambda T: T.zeros(2, 0).norm(INF, 1), "logsumexp": lambda T: T.zeros(2, 0).logsumexp(1), "all": lambda T: (T.zeros(0).all(), T.zeros(0).any()),
    "cdist": lambda T: (T.cdist(T.zeros(0, 2), T.zeros(3, 2)), T.cdist(T.zeros(2, 0), T.zeros(3, 0))), "cosine": lambda T: T.nn.functional.cosine_similarity(T.zeros(0, 2), T.zeros(0, 2)),
}  # fmt: skip


@table(EMPTY)
def test_empty(call):
    assert_agree(call)


ERRORS = {
    "cumsum_dim": lambda T: T.zeros(2).cumsum(1), "cumsum_no_dim": lambda T: T.zeros(2).cumsum(), "cummax_dim": lambda T: T.zeros(2).cummax(-2),
    "diff_0d": lambda T: T.tensor(1.0).diff(), "diff_negative": lambda T: T.zeros(2).diff(n=-1), "diff_prepend": lambda T: T.zeros(2, 2).diff(prepend=T.zeros(3, 1)),
    "mean_int": lambda T: T.tensor([1, 2]).mean(), "var_int": lambda T: T.tensor([1, 2]).var(), "var_both": lambda T: T.zeros(2).var(0, True, correction=1),
    "sum_dim": lambda T: T.zeros(2).sum(1), "sum_repeated": lambda T: T.zeros(2, 2).sum((0, 0)), "sum_text": lambda T: T.zeros(2).sum("a"),
    "norm_int": lambda T: T.tensor([1, 2]).norm(), "norm_text": lambda T: T.zeros(2).norm("one"),
    "renorm_p": lambda T: T.zeros(2, 2).renorm(-1, 0, 1.0), "renorm_1d": lambda T: T.zeros(2).renorm(2, 0, 1.0), "cdist_columns": lambda T: T.cdist(T.zeros(2, 3), T.zeros(2, 4)),
    "cdist_negative": lambda T: T.cdist(T.zeros(2, 3), T.zeros(2, 3), -1), "cosine_dim": lambda T: T.nn.functional.cosine_similarity(T.zeros(2), T.zeros(2), 1),
    "logcumsumexp_int": lambda T: T.tensor([1, 2]).logcumsumexp(0),
}  # fmt: skip


@table(ERRORS)
def test_errors(call):
    assert_agree(call)


INPLACE = {
    "cumsum_": lambda T, x: x.cumsum_(1), "cumprod_": lambda T, x: x.cumprod_(0), "renorm_": lambda T, x: x.renorm_(2, 0, 0.5),
}  # fmt: skip


@table(INPLACE)
def test_in_place(call):
    def run(T, x):
        y = x * 1
        assert call(T, y) is y
        z = x * 2
        call(T, z.t())
        return y, z

    for seed in (0, 1):
        assert_agree_on_derivatives(run, [(3, 4)], seed)
    assert_agree(lambda T: call(T, grid(T, 3, 4, requires_grad=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_dtypes_of_sums(kind):
    """Sums of integers are int64, integer running sums too; products alike."""

    def run(T):
        x = T.tensor([[1, 0, 1], [1, 1, 1]], dtype=getattr(T, kind))
        return (x.sum(), x.sum(0), x.cumsum(1), x.prod(), x.cumprod(1), x.cumsum(0, dtype=T.float32), x.sum(dtype=T.int8),
                x.all(), x.any(1), x.nansum(0), x.count_nonzero())  # fmt: skip

    assert_same(*both(run))


def test_long_sums_are_accurate():
    """A million terms, along every axis: the error stays that of pairwise summation."""
    rng = np.random.default_rng(0)
    values = rng.random((1000, 1000), np.float32)
    exact = values.astype(np.float64)

    def run(T):
        x = T.from_numpy(values)
        return x.sum(), x.sum(0), x.sum(1), x.cumsum(1)[:, -1], x.var(), x.mean(), x.norm()

    ours, _ = both(run)
    expected = exact.sum(), exact.sum(0), exact.sum(1), exact.sum(1), exact.var(ddof=1), exact.mean(), np.linalg.norm(exact)
    for found, value in zip(ours, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), value, rtol=2e-6)


def test_of_many_layouts():
    for seed in range(6):
        def run(T):
            x, _ = strided(T, (3, 1, 5, 2), seed, "float64")
            return [f(x, d) for d in range(4) for f in (T.cumsum, T.cumprod, T.sum, T.var, T.amax, T.logsumexp)] + [*x.cummax(2)]

        with pytest.warns(UserWarning, match="degrees of freedom"):
            assert_same(*both(run))


def test_truth_over_no_dimension_is_that_of_each_element():
    x = [[2.0, 0.0], [0.0, 0.0]]
    for name in ("any", "all"):
        ours, theirs = getattr(ng, name)(ng.tensor(x), dim=()), getattr(torch, name)(torch.tensor(x), dim=())
        assert ours.tolist() == theirs.tolist() == [[True, False], [False, False]]


def test_running_folds_have_no_form_for_bool():
    for name in ("cumsum", "cumprod"):
        with pytest.raises(RuntimeError, match=f'"{name}" not implemented for torch.bool'):
            getattr(ng, name)(ng.ones(3), 0, dtype=ng.bool)
