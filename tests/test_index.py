"""Reading and writing by index, compared with PyTorch: subscripts, gather, scatter, their relatives, masks."""

import itertools

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")
from agreement import assert_agree, assert_agree_on_derivatives, assert_agree_on_values, grid, strided, table  # noqa: E402
from test_torch_parity import KINDS, assert_same, both  # noqa: E402

# --- subscripts ----------------------------------------------------------------------------------------------------

KEYS = {
    "int": lambda T: 1, "negative": lambda T: -1, "numpy_int": lambda T: np.int64(1), "true": lambda T: True,
    "false": lambda T: False, "none": lambda T: None, "ellipsis": lambda T: ..., "all": lambda T: slice(None),
    "nothing": lambda T: (), "slice": lambda T: slice(1, 3), "slice_negative": lambda T: slice(-2, None),
    "slice_beyond": lambda T: slice(1, 100), "slice_empty": lambda T: slice(3, 1), "steps": lambda T: slice(None, None, 2),
    "ints": lambda T: (1, 2), "int_slice": lambda T: (0, slice(1, 3)), "slice_int": lambda T: (slice(1, 3), 0),
    "ellipsis_int": lambda T: (..., 1), "int_ellipsis": lambda T: (1, ..., 0), "nones": lambda T: (None, 1, None, ..., None),
    "none_true": lambda T: (None, True), "zero_d_tensor": lambda T: T.tensor(2), "zero_d_in_tuple": lambda T: (slice(None), T.tensor(1)),
    "list": lambda T: [2, 0, 2], "list_negative": lambda T: [-1, 0], "list_empty": lambda T: [], "tensor": lambda T: T.tensor([3, 0]),
    "tensor_int32": lambda T: T.tensor([3, 0], dtype=T.int32), "tensor_2d": lambda T: T.tensor([[0, 1], [2, 3]]),
    "tensor_empty": lambda T: T.zeros(0, dtype=T.int64), "array": lambda T: np.array([1, 1]), "range": lambda T: range(2),
    "pair": lambda T: (T.tensor([0, 1]), T.tensor([2, 0])), "pair_broadcast": lambda T: (T.tensor([[0], [3]]), T.tensor([2, 0, 1])),
    "pair_apart": lambda T: (T.tensor([0, 1]), slice(None), T.tensor([1, 0])), "tensor_int": lambda T: (T.tensor([0, 1]), 1),
    "int_tensor": lambda T: (1, T.tensor([0, 1])), "int_slice_tensor": lambda T: (1, slice(None), T.tensor([0, 1])),
    "slice_tensor": lambda T: (slice(1, 3), T.tensor([2, 2])), "none_tensor": lambda T: (None, T.tensor([0, 1])),
    "tensor_none": lambda T: (T.tensor([0, 1]), None), "tensor_none_tensor": lambda T: (T.tensor([0, 1]), None, T.tensor([0, 1])),
    "tensor_ellipsis_tensor": lambda T: (T.tensor([0, 1]), ..., T.tensor([1, 0])), "last": lambda T: (..., T.tensor([1, 0])),
    "three": lambda T: (T.tensor([0, 1]), T.tensor([0, 2]), T.tensor([1, 0])), "lists": lambda T: ([0, 1], [2, 0]),
    "list_in_tuple": lambda T: (slice(None), [2, 0]), "steps_tensor": lambda T: (slice(None, None, 2), T.tensor([1, 0]), slice(0, 1)),
    "mask": lambda T: T.tensor([True, False, True, True]), "mask_list": lambda T: [True, False, False, True],
    "mask_2d": lambda T: grid(T, 4, 3) % 2 == 0, "mask_full": lambda T: grid(T, 4, 3, 2) > 10, "mask_array": lambda T: np.arange(4) > 1,
    "mask_none_true": lambda T: T.zeros(4, dtype=T.bool), "mask_second": lambda T: (slice(None), T.tensor([True, False, True])),
    "mask_and_int": lambda T: (T.tensor([True, False, True, True]), 1), "mask_and_tensor": lambda T: (T.tensor([True, False, True, False]), T.tensor([1, 0])),
    "mask_and_slice": lambda T: (T.tensor([True, False, True, True]), slice(1, 3)), "mask_0d": lambda T: T.tensor(True), "mask_0d_false": lambda T: T.tensor(False),
    "mask_last": lambda T: (..., T.tensor([True, False])), "int_mask": lambda T: (2, T.tensor([True, False, True])),
    "uint8_mask": lambda T: T.tensor([1, 0, 1, 1], dtype=T.uint8),
    # errors
    "too_many": lambda T: (0, 0, 0, 0), "outside": lambda T: 4, "outside_negative": lambda T: -5, "outside_inner": lambda T: (0, 3),
    "outside_tensor": lambda T: T.tensor([4]), "outside_tensor_negative": lambda T: T.tensor([0, -5]), "float": lambda T: 1.0,
    "float_tensor": lambda T: T.tensor([1.0]), "text": lambda T: "a", "two_ellipses": lambda T: (..., ...), "step_zero": lambda T: slice(None, None, 0),
    "step_negative": lambda T: slice(None, None, -1), "mask_wrong": lambda T: T.tensor([True, False]), "mask_wrong_2d": lambda T: T.zeros(4, 2, dtype=T.bool),
    "unbroadcastable": lambda T: (T.tensor([0, 1]), T.tensor([0, 1, 2])), "float_slice": lambda T: slice(0.5, 1), "nested": lambda T: [[0, 1], [2, 3]],
    "mask_too_many": lambda T: T.zeros(4, 3, 2, 1, dtype=T.bool),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
@table(KEYS)
def test_subscript(call):
    for seed in (0, 1):
        assert_agree(lambda T: strided(T, (4, 3, 2), seed)[0][call(T)])


READ = {name: key for name, key in KEYS.items() if list(KEYS).index(name) < list(KEYS).index("uint8_mask")}


@table(READ)
def test_derivatives_of_subscript(call):
    for seed in (0, 1):
        assert_agree_on_derivatives(lambda T, x: x[call(T)] * 1, [(4, 3, 2)], seed)


@table({name: key for name, key in KEYS.items() if name != "uint8_mask"})
def test_assignment(call):
    def run(T, value):
        x = strided(T, (4, 3, 2), 1)[0]
        x[call(T)] = value(T, x)
        return x

    assert_agree(lambda T: run(T, lambda T, x: 5))
    assert_agree(lambda T: run(T, lambda T, x: T.tensor(5.5)))
    assert_agree(lambda T: run(T, lambda T, x: T.tensor(5, dtype=T.float64)))
    assert_agree(lambda T: run(T, lambda T, x: T.tensor([5])))
    assert_agree(lambda T: run(T, lambda T, x: grid(T, *x[call(T)].shape) + 100 if x[call(T)].numel() < 4 else 0.0))


REPEATED = {"list", "array", "slice_tensor"}  # of several values for one element either may win


@pytest.mark.parametrize("name", [name for name in READ if name not in REPEATED])
def test_derivatives_of_assignment(name):
    """In the tensor written to and in the value, for values of the full shape, rows and numbers."""
    call = READ[name]
    full = tuple(grid(torch, 4, 3, 2)[call(torch)].shape)
    for shape, seed in itertools.product((full, full[-1:], ()), (0, 1)):

        def run(T, x, value):
            y = x * 1
            y[call(T)] = value
            return y

        assert_agree_on_derivatives(run, [(4, 3, 2), shape], seed)


def test_assignment_of_many_dtypes():
    for kind, value in itertools.product(KINDS, (True, 3, 2.5)):
        assert_agree(lambda T: assigned(T, kind, value))


def assigned(T, kind, value):
    x = T.zeros(3, 2, dtype=getattr(T, kind))
    x[0] = value
    x[[1, 2], 1] = value
    x[x == 0] = value
    return x


ASSIGNMENT_ERRORS = {
    "shape": lambda T: T.zeros(2, 3).__setitem__(0, T.zeros(2)),
    "more_dimensions": lambda T: T.zeros(2, 3).__setitem__(0, T.zeros(2, 3)),
    "leading_ones": lambda T: (lambda x: (x.__setitem__(0, T.ones(1, 1, 3)), x)[1])(T.zeros(2, 3)),
    "index_shape": lambda T: T.zeros(2, 3).__setitem__(T.tensor([0, 1]), T.zeros(3, 3)),
    "mask_shape": lambda T: T.zeros(4).__setitem__(T.tensor([True, True, False, True]), T.zeros(2)),
    "text": lambda T: T.zeros(2).__setitem__(0, "a"),
    "none": lambda T: T.zeros(2).__setitem__(0, None),
    "expanded": lambda T: T.zeros(1).expand(3).__setitem__(0, 1),
    "delete": lambda T: T.zeros(2).__delitem__(0),
}  # fmt: skip


@table(ASSIGNMENT_ERRORS)
def test_what_cannot_be_assigned(call):
    assert_agree(call)


def test_assignment_between_views_of_one_tensor():
    assert_agree(lambda T: shifted(T, grid(T, 6), slice(1, None), slice(None, -1)))
    assert_agree(lambda T: shifted(T, grid(T, 6), slice(None, -1), slice(1, None)))
    x = grid(ng, 3, 3)
    x[:] = x.t()  # PyTorch refuses this one
    assert x.tolist() == grid(ng, 3, 3).t().tolist()


def shifted(T, x, to, source):
    x[to] = x[source].clone()
    x.t()[0] += 1
    x[0] *= 2
    return x


@pytest.mark.parametrize("seed", range(12))
def test_random_subscripts(seed):
    """Random mixtures of ints, slices, None, ..., masks and index tensors: values, derivatives, assignment."""
    rng = np.random.default_rng(seed)
    for _ in range(6):
        shape = tuple(int(n) for n in rng.integers(1, 5, rng.integers(1, 5)))
        items = []
        for size in shape[: int(rng.integers(1, len(shape) + 1))]:
            kind = int(rng.integers(5))
            if kind == 0:
                items.append(int(rng.integers(-size, size)))
            elif kind == 1:
                items.append(slice(int(rng.integers(-size, size)), None, int(rng.integers(1, 3))))
            elif kind == 2:
                items.append(rng.integers(-size, size, [(), (2,), (3, 1)][int(rng.integers(3))]))
            elif kind == 3:
                items.append(np.isin(np.arange(size), rng.integers(0, size, 1)))  # one True: broadcasts with all others
            else:
                items.append(slice(None))
        for _ in range(int(rng.integers(0, 3))):
            items.insert(int(rng.integers(len(items) + 1)), None)
        if rng.integers(2):
            items.insert(int(rng.integers(len(items) + 1)), ...)

        def key(T):
            return tuple(T.from_numpy(np.asarray(item)) if isinstance(item, np.ndarray) else item for item in items)

        try:
            torch.zeros(shape)[key(torch)]
        except IndexError:
            continue
        assert_agree_on_derivatives(lambda T, x: x[key(T)] * 1, [shape], seed)
        assert_agree(lambda T: filled(strided(T, shape, seed)[0], key(T)))


def filled(x, key):
    x[key] = -7
    return x


# --- functions -----------------------------------------------------------------------------------------------------

I = [[1, 0, 1], [2, 2, 0]]  # noqa: E741
P = [[1, 0, 2, 0], [0, 2, 1, 2], [2, 1, 0, 1]]  # no row twice in a column
CALLS = {
    "gather_0": (lambda T, x: x.gather(0, T.tensor(I)), (3, 4)),
    "gather_1": (lambda T, x: T.gather(x, 1, T.tensor(I)), (3, 4)),
    "gather_3d": (lambda T, x: x.gather(-1, T.tensor([[[0, 1, 1, 0, 1]]])), (2, 3, 2)),
    "gather_0d": (lambda T, x: x.gather(0, T.tensor(0)), ()),
    "gather_empty": (lambda T, x: x.gather(0, T.zeros(0, 4, dtype=T.int64)), (3, 4)),
    "take_along_dim": (lambda T, x: x.take_along_dim(T.tensor([[2], [-1], [0]]), 1), (3, 4)),
    "take_along_all": (lambda T, x: x.contiguous().take_along_dim(T.tensor([2, 7])), (3, 4)),
    "index_select": (lambda T, x: x.index_select(1, T.tensor([3, 0, 3])), (3, 4)),
    "index_select_int32": (lambda T, x: x.index_select(-2, T.tensor([2, 0], dtype=T.int32)), (3, 4)),
    "index_select_0d": (lambda T, x: x.index_select(0, T.tensor([0])), ()),
    "index_select_empty": (lambda T, x: x.index_select(0, T.zeros(0, dtype=T.int64)), (3, 4)),
    "take": (lambda T, x: x.take(T.tensor([[1, -1], [11, 1]])), (3, 4)),
    "take_empty": (lambda T, x: x.take(T.zeros(0, dtype=T.int64)), (3, 4)),
    "index_add": (lambda T, x, s: x.index_add(0, T.tensor([2, 0, 2]), s), (3, 4), (3, 4)),
    "index_add_alpha": (lambda T, x, s: x.index_add(1, T.tensor([2, 0]), s, alpha=3), (3, 4), (3, 2)),
    "index_copy": (lambda T, x, s: x.index_copy(0, T.tensor([2, 0]), s), (3, 4), (2, 4)),
    "index_fill": (lambda T, x: x.index_fill(1, T.tensor([2, 0, 2]), 3), (3, 4)),
    "index_fill_tensor": (lambda T, x, s: x.index_fill(1, T.tensor([2, 0]), s), (3, 4), ()),
    "index_put": (lambda T, x, s: x.index_put((T.tensor([2, 0]), T.tensor([1, 1])), s), (3, 4), (2,)),
    "index_put_add": (lambda T, x, s: x.index_put((T.tensor([2, 2]),), s, accumulate=True), (3, 4), (4,)),
    "index_put_mask": (lambda T, x, s: x.index_put((T.tensor([True, False, True]),), s), (3, 4), (2, 4)),
    "put": (lambda T, x, s: x.put(T.tensor([1, -1, 5]), s), (3, 4), (3,)),
    "put_add": (lambda T, x, s: x.put(T.tensor([[1, 1], [5, 1]]), s, accumulate=True), (3, 4), (2, 2)),
    "scatter": (lambda T, x, s: x.scatter(0, T.tensor(P), s), (3, 4), (3, 4)),
    "scatter_smaller": (lambda T, x, s: x.scatter(1, T.tensor([[1, 0], [3, 2]]), s), (3, 4), (3, 4)),
    "scatter_value": (lambda T, x: x.scatter(0, T.tensor(I), 2), (3, 4)),
    "scatter_0d": (lambda T, x, s: x.scatter(0, T.tensor(0), s), (), ()),
    "scatter_empty": (lambda T, x, s: x.scatter(0, T.zeros(0, 4, dtype=T.int64), s), (3, 4), (3, 4)),
    "scatter_multiply": (lambda T, x: x.detach().scatter(0, T.tensor(I), 2, reduce="multiply"), (3, 4)),
    "scatter_add": (lambda T, x, s: x.scatter_add(1, T.tensor(I), s), (3, 4), (2, 3)),
    "scatter_sum": (lambda T, x, s: x.scatter_reduce(1, T.tensor(I), s, "sum"), (3, 4), (2, 3)),
    "scatter_prod": (lambda T, x, s: x.scatter_reduce(1, T.tensor(I), s, "prod"), (3, 4), (2, 3)),
    "scatter_mean": (lambda T, x, s: x.scatter_reduce(1, T.tensor(I), s, "mean"), (3, 4), (2, 3)),
    "scatter_amax": (lambda T, x, s: x.scatter_reduce(1, T.tensor(I), s, "amax"), (3, 4), (2, 3)),
    "scatter_amin": (lambda T, x, s: x.scatter_reduce(1, T.tensor(I), s, "amin", include_self=False), (3, 4), (2, 3)),
    "scatter_sum_apart": (lambda T, x, s: x.scatter_reduce(0, T.tensor(I), s, "sum", include_self=False), (3, 4), (2, 3)),
    "scatter_prod_apart": (lambda T, x, s: x.scatter_reduce(0, T.tensor(I), s, "prod", include_self=False), (3, 4), (2, 3)),
    "scatter_mean_apart": (lambda T, x, s: x.scatter_reduce(0, T.tensor(I), s, "mean", include_self=False), (3, 4), (2, 3)),
    "index_reduce_prod": (lambda T, x, s: x.index_reduce(0, T.tensor([2, 0, 2]), s, "prod"), (3, 4), (3, 4)),
    "index_reduce_mean": (lambda T, x, s: x.index_reduce(1, T.tensor([2, 0]), s, "mean", include_self=False), (3, 4), (3, 2)),
    "index_reduce_amax": (lambda T, x, s: x.index_reduce(0, T.tensor([2, 0, 2]), s, "amax"), (3, 4), (3, 4)),
    "masked_fill": (lambda T, x: x.masked_fill(T.tensor([True, False, True, False]), 3), (3, 4)),
    "masked_fill_tensor": (lambda T, x, s: x.masked_fill(grid(T, 3, 1) > 0, s), (3, 4), ()),
    "masked_select": (lambda T, x: x.masked_select(grid(T, 3, 4) % 3 == 0), (3, 4)),
    "masked_select_broadcast": (lambda T, x: x.masked_select(T.tensor([[True], [False], [True]])), (4,)),
    "masked_scatter": (lambda T, x, s: x.masked_scatter(grid(T, 3, 4) % 3 == 0, s), (3, 4), (2, 4)),
    "where": (lambda T, x, y: T.where(grid(T, 3, 4) % 3 == 0, x, y), (3, 4), (4,)),
    "where_number": (lambda T, x: T.where(grid(T, 3, 4) % 3 == 0, x, 2), (3, 4)),
    "nonzero": (lambda T, x: (x.nonzero(), T.argwhere(x > 1), *x.nonzero(as_tuple=True)), (3, 4)),
    "where_only": (lambda T, x: T.where(x > 1), (3, 4)),
    "select_scatter": (lambda T, x, s: x.select_scatter(s, 1, -1), (3, 4), (3,)),
    "slice_scatter": (lambda T, x, s: x.slice_scatter(s, 1, 0, 4, 2), (3, 4), (3, 2)),
    "diagonal_scatter": (lambda T, x, s: x.diagonal_scatter(s, 1), (3, 4), (3,)),
    "embedding": (lambda T, w: T.nn.functional.embedding(T.tensor([[1, 0], [1, 2]]), w), (3, 4)),
    "embedding_padding": (lambda T, w: T.nn.functional.embedding(T.tensor([1, 0, 1]), w, padding_idx=-2), (3, 4)),
    "embedding_frequency": (
        lambda T, w: T.nn.functional.embedding(T.tensor([1, 0, 1]), w, scale_grad_by_freq=True), (3, 4)),
    "expanded": (lambda T, x: x.expand(3, 4).gather(0, T.tensor(I)), (1, 4)),
    "of_three": (lambda T, x, s: x.index_add(1, T.tensor([1, 1, 0]), s), (2, 3, 4), (2, 3, 4)),
}  # fmt: skip
COUNTING = {"nonzero", "where_only"}
UNEVEN = {"scatter_smaller", "scatter_empty"}  # PyTorch wants sources of the index's shape for gradients
WRONG = {"embedding_frequency"}  # PyTorch leaves the frequencies out of the second derivative



def function_table(calls):
    return pytest.mark.parametrize("name", list(calls))


@pytest.mark.filterwarnings("ignore:index_reduce\\(\\) is in beta", "ignore:The reduce argument of torch.scatter")
@pytest.mark.parametrize("kind", ["float32", "int64", "uint8", "bool"])
@function_table(CALLS)
def test_values(name, kind):
    call, *shapes = CALLS[name]
    assert_agree_on_values(call, shapes, kind)


@pytest.mark.filterwarnings("ignore:index_reduce\\(\\) is in beta", "ignore:The reduce argument of torch.scatter")
@function_table({name: call for name, call in CALLS.items() if name not in COUNTING | UNEVEN | WRONG})
def test_derivatives(name):
    call, *shapes = CALLS[name]
    for seed in (0, 1):
        assert_agree_on_derivatives(call, shapes, seed)


INPLACE = {
    "index_add_": lambda T, x, s: x.index_add_(0, T.tensor([2, 0, 2]), s, alpha=2),
    "index_copy_": lambda T, x, s: x.index_copy_(0, T.tensor([2, 0, 1]), s),
    "index_fill_": lambda T, x, s: x.index_fill_(1, T.tensor([2, 0]), 1.5),
    "index_put_": lambda T, x, s: x.index_put_((T.tensor([2, 0]),), s[0]),
    "index_put_add": lambda T, x, s: x.index_put_((T.tensor([2, 0, 2]),), s, accumulate=True),
    "put_": lambda T, x, s: x.put_(T.tensor([1, 7]), s[0, :2], accumulate=True),
    "scatter_": lambda T, x, s: x.scatter_(0, T.tensor(P), s),
    "scatter_number": lambda T, x, s: x.scatter_(0, T.tensor(I), 0.5),
    "scatter_add_": lambda T, x, s: x.scatter_add_(1, T.tensor(I), s[:2, :3]),
    "scatter_reduce_": lambda T, x, s: x.scatter_reduce_(1, T.tensor(I), s[:2, :3], "prod"),
    "index_reduce_": lambda T, x, s: x.index_reduce_(0, T.tensor([2, 0, 2]), s, "mean"),
    "masked_fill_": lambda T, x, s: x.masked_fill_(grid(T, 3, 4) > 5, 0.5),
    "masked_scatter_": lambda T, x, s: x.masked_scatter_(grid(T, 3, 4) > 5, s),
    "subscript": lambda T, x, s: x.__setitem__((slice(None), 1), s[:, 0]),
    "subscript_index": lambda T, x, s: x.__setitem__(([0, 2],), s[:2]),
    "augmented": lambda T, x, s: x[1:].mul_(s[1:]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:index_reduce\\(\\) is in beta")
@table(INPLACE)
def test_in_place(call):
    """In a result, and in a view of one, whose base follows."""

    def in_result(T, x, s):
        y = x * 1
        call(T, y, s)
        return y

    def in_view(T, x, s):
        y = x * 1
        call(T, y.transpose(1, 2)[1], s)
        return y

    for seed in (0, 1):
        assert_agree_on_derivatives(in_result, [(3, 4), (3, 4)], seed)
        assert_agree_on_derivatives(in_view, [(2, 4, 3), (3, 4)], seed)

    def counted(T):
        x = grid(T, 3, 4)
        before = x._version
        call(T, x, grid(T, 3, 4))
        return x, x._version - before

    assert_agree(counted)
    assert_agree(lambda T: call(T, grid(T, 3, 4, requires_grad=True), grid(T, 3, 4)))  # a leaf
    if call is not INPLACE["subscript"]:  # writes to one column
        with pytest.raises(RuntimeError, match="clone"):
            call(ng, ng.zeros(3, 1).expand(3, 4), grid(ng, 3, 4))  # several elements in one place

    def only_source_recorded(T):
        s = grid(T, 3, 4, requires_grad=True)
        x = T.ones(3, 4)
        call(T, x, s)
        if not x.requires_grad:
            return x
        return T.autograd.grad((x * x).sum(), s)

    assert_agree(only_source_recorded)


ERRORS = {
    "gather_dim": lambda T: T.zeros(2, 3).gather(2, T.zeros(2, 3, dtype=T.int64)),
    "gather_rank": lambda T: T.zeros(2, 3).gather(0, T.zeros(2, dtype=T.int64)),
    "gather_large": lambda T: T.zeros(2, 3).gather(0, T.zeros(1, 4, dtype=T.int64)),
    "gather_dtype": lambda T: T.zeros(2, 3).gather(0, T.zeros(2, 3)),
    "gather_outside": lambda T: T.zeros(2, 3).gather(0, T.tensor([[2]])),
    "gather_negative": lambda T: T.zeros(2, 3).gather(0, T.tensor([[-1]])),
    "index_select_rank": lambda T: T.zeros(2, 3).index_select(0, T.zeros(1, 1, dtype=T.int64)),
    "index_select_dtype": lambda T: T.zeros(2, 3).index_select(0, T.tensor([0.0])),
    "index_select_outside": lambda T: T.zeros(2, 3).index_select(0, T.tensor([2])),
    "take_dtype": lambda T: T.zeros(2).take(T.tensor([0.0])),
    "take_outside": lambda T: T.zeros(2).take(T.tensor([2])),
    "take_of_empty": lambda T: T.zeros(0).take(T.tensor([0])),
    "index_add_shape": lambda T: T.zeros(2, 3).index_add(0, T.tensor([0]), T.zeros(2, 3)),
    "index_add_dtype": lambda T: T.zeros(2, 3).index_add(0, T.tensor([0]), T.zeros(1, 3, dtype=T.float64)),
    "index_copy_shape": lambda T: T.zeros(2, 3).index_copy(0, T.tensor([0]), T.zeros(1, 2)),
    "index_fill_value": lambda T: T.zeros(2, 3).index_fill(0, T.tensor([0]), T.zeros(2)),
    "index_put_dtype": lambda T: T.zeros(2).index_put((T.tensor([0]),), T.zeros(1, dtype=T.float64)),
    "index_put_many": lambda T: T.zeros(2).index_put((T.tensor([0]), T.tensor([0])), T.zeros(1)),
    "index_put_shape": lambda T: T.zeros(4).index_put((T.tensor([0, 1]),), T.zeros(3)),
    "put_count": lambda T: T.zeros(4).put(T.tensor([0, 1]), T.zeros(3)),
    "put_dtype": lambda T: T.zeros(4).put(T.tensor([0]), T.zeros(1, dtype=T.int64)),
    "scatter_dtype": lambda T: T.zeros(2, 3).scatter(0, T.tensor([[0]]), T.zeros(1, 1, dtype=T.float64)),
    "scatter_source": lambda T: T.zeros(2, 3).scatter(0, T.tensor([[0, 1]]), T.zeros(1, 1)),
    "scatter_rank": lambda T: T.zeros(2, 3).scatter(0, T.tensor([0]), T.zeros(1, 1)),
    "scatter_outside": lambda T: T.zeros(2, 3).scatter(0, T.tensor([[2]]), T.zeros(1, 1)),
    "scatter_reduce_mode": lambda T: T.zeros(2, 3).scatter(0, T.tensor([[0]]), T.zeros(1, 1), reduce="none"),
    "scatter_add_number": lambda T: T.zeros(2, 3).scatter_add(0, T.tensor([[0]]), 1.0),
    "scatter_reduce_unknown": lambda T: T.zeros(2, 3).scatter_reduce(0, T.tensor([[0]]), T.zeros(1, 1), "most"),
    "masked_fill_dtype": lambda T: T.zeros(2).masked_fill(T.tensor([1, 0]), 1),
    "masked_fill_shape": lambda T: T.zeros(2).masked_fill(T.tensor([True, False, True]), 1),
    "masked_fill_value": lambda T: T.zeros(2).masked_fill(T.tensor([True, False]), T.zeros(2)),
    "masked_fill_overflow": lambda T: T.zeros(2, dtype=T.uint8).masked_fill(T.tensor([True, False]), 300),
    "masked_fill_complex": lambda T: T.zeros(2, dtype=T.int64).masked_fill(T.tensor([True, False]), 1.5),
    "masked_select_dtype": lambda T: T.zeros(2).masked_select(T.tensor([1, 0])),
    "masked_select_shape": lambda T: T.zeros(2).masked_select(T.tensor([True, False, True])),
    "masked_scatter_few": lambda T: T.zeros(3).masked_scatter(T.tensor([True, False, True]), T.zeros(1)),
    "masked_scatter_dtype": lambda T: T.zeros(3).masked_scatter(T.tensor([True, False, True]), T.zeros(2, dtype=T.int64)),
    "where_shape": lambda T: T.where(T.zeros(2) > 0, T.zeros(3), T.zeros(2)),
    "where_condition": lambda T: T.where(T.zeros(2), T.zeros(2), T.zeros(2)),
    "embedding_outside": lambda T: T.nn.functional.embedding(T.tensor([3]), T.zeros(3, 2)),
    "embedding_dtype": lambda T: T.nn.functional.embedding(T.tensor([0.0]), T.zeros(3, 2)),
    "embedding_padding": lambda T: T.nn.functional.embedding(T.tensor([0]), T.zeros(3, 2), padding_idx=3),
    "unravel_index": lambda T: T.unravel_index(T.tensor([5, 11]), (3, 4)),
    "take_along_rank": lambda T: T.zeros(2, 3).take_along_dim(T.tensor([0]), 1),
    "take_along_dtype": lambda T: T.zeros(2, 3).take_along_dim(T.tensor([[0.0]]), 1),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
@table(ERRORS)
def test_errors(call):
    assert_agree(call)


def test_masked_rows_of_a_large_tensor():
    """Sizes beyond one block of the kernels."""
    rng = np.random.default_rng(0)
    values, mask, index = rng.standard_normal((3000, 17)), rng.random(3000) > 0.3, rng.integers(0, 3000, 5000)

    def run(T):
        x = T.from_numpy(values)
        at = T.from_numpy(index)
        return (x[T.from_numpy(mask)], x[at], x.index_add(0, at[:3000], x), x.gather(0, at.view(-1, 1)[:, [0] * 17][:3000]),
                T.zeros(3000, dtype=T.float64).index_put((at,), T.ones(5000, dtype=T.float64), accumulate=True))  # fmt: skip

    assert_same(*both(run))


def test_out():
    x, index = grid(ng, 3, 4), ng.tensor(I)
    for fn in (lambda out: ng.gather(x, 1, index, out=out), lambda out: ng.index_select(x, 0, index[0], out=out),
               lambda out: ng.take(x, index, out=out), lambda out: ng.masked_select(x, x > 4, out=out)):  # fmt: skip
        expected = fn(None)
        out = ng.zeros(expected.shape)
        assert fn(out) is out
        assert_same(out, torch.from_numpy(expected.numpy()))


# --- byte masks, which PyTorch is about to give up -------------------------------------------------------------------


def test_byte_masks_warn_each_time():
    x, mask = ng.arange(12.0).view(4, 3), ng.tensor([1, 0, 1, 0], dtype=ng.uint8)
    columns = ng.tensor([1, 1, 0], dtype=ng.uint8)
    with pytest.warns(UserWarning, match="uint8 is now deprecated") as caught:
        assert x[mask].tolist() == [[0, 1, 2], [6, 7, 8]]
        assert x[mask, columns].tolist() == [0, 7]
        x[mask] = 1
    assert len(caught) == 4


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_a_single_byte_is_a_mask(shape):
    x = ng.ones(shape)
    one, none = ng.tensor(1, dtype=ng.uint8), ng.tensor(0, dtype=ng.uint8)
    assert x[one].shape == (1, *shape) and x[none].shape == (0, *shape)
    x[one] = ng.full((1, 1, *shape), 5.0)
    x[none] = 7
    assert (x == 5).all()


def test_errors_of_indexing():
    x = ng.arange(4)
    with pytest.raises(RuntimeError, match="shape mismatch"):  # before the dtypes are compared
        x[x > -1] = ng.tensor([1.0, 2.0, 3.0])
    with pytest.raises(IndexError, match="out of bounds for dimension with size 0"):
        ng.empty(10, 0)[:, [0, 1]]
    with pytest.raises(RuntimeError, match="at least one index"):
        ng.rand(()).index_put([], ng.tensor([1.0]))
    for indices, shape, message in [
        (ng.tensor(0.5), (2, 2), "'indices' to be integer"),
        (ng.tensor([1]), ng.tensor([1, 2]), "'shape' to be int or sequence of ints"),
        (ng.tensor([1]), (1, 2.0), "to only contain ints"),
    ]:
        with pytest.raises(TypeError, match=message):
            ng.unravel_index(indices, shape)
