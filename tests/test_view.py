"""Views, joins and rearrangements compared with PyTorch: values, layouts, derivatives, in-place forms, errors."""

import pytest

import numgrad as ng

torch = pytest.importorskip("torch")
from agreement import assert_agree, assert_agree_on_derivatives, assert_agree_on_values, grid, strided, table  # noqa: E402
from test_torch_parity import assert_same, both  # noqa: E402

VIEWS = {
    "view": (lambda T, x: (x.reshape(4, 6), x.reshape(-1), x.reshape(2, 1, -1, 2)), (2, 3, 4)),
    "transpose": (lambda T, x: (x.transpose(0, 2), x.swapaxes(0, 1), x.mT, x.permute(2, 0, 1), x[0].T, x[1].t()), (2, 3, 4)),
    "movedim": (lambda T, x: (x.movedim(0, -1), x.movedim((0, 1), (1, 2)), T.moveaxis(x, 2, 0)), (2, 3, 4)),
    "squeeze": (lambda T, x: (x.squeeze(), x.squeeze(1), x.squeeze(0), x.squeeze((1, 3)), x.unsqueeze(2), x.unsqueeze(-1)), (2, 1, 3, 1)),
    "expand": (lambda T, x: (x.expand(4, 3), x.expand(2, -1, 3), x.broadcast_to((2, 4, 3)), x.expand_as(T.zeros(5, 3))), (1, 3)),
    "flatten": (lambda T, x: (x.flatten(), x.flatten(1), x.flatten(0, 1), x.ravel(), x.unflatten(2, (2, 2)), x.unflatten(-1, (-1, 1))), (2, 3, 4)),
    "parts": (lambda T, x: (*x.split(2, 1), *x.split([1, 2], 1), *x.chunk(2, 2), *x.tensor_split(3, 2), *x.tensor_split((1, 3), 2)), (2, 3, 4)),
    "unbind": (lambda T, x: (*x.unbind(), *x.unbind(1), *x.unbind(-1)), (2, 3, 4)),
    "split_names": (lambda T, x: (*x.vsplit(2), *x.hsplit(3), *x.dsplit(2), *T.hsplit(x[0], [1])), (2, 3, 4)),
    "narrow": (lambda T, x: (x.narrow(1, 1, 2), x.narrow(-1, -3, 2), x.select(0, -1), x.select(2, 1)), (2, 3, 4)),
    "diagonal": (lambda T, x: (x.diagonal(), x.diagonal(1, 1, 2), x.diagonal(-1, 0, 2), x.diagonal(5)), (2, 3, 4)),
    "unfold": (lambda T, x: (x.unfold(1, 2, 1), x.unfold(0, 2, 3), x.unfold(-1, 4, 1)), (2, 3, 4)),
    "zero_d": (lambda T, x: (x.view(1), x.reshape(1, 1), x.flatten(), x.squeeze(), x.unsqueeze(0), x.expand(2, 2), x.permute(()), x.ravel()), ()),
    "contiguous": (lambda T, x: (x.contiguous(), x.t().contiguous(), x.t().clone(), x.t().reshape(-1)), (3, 4)),
}  # fmt: skip
JOINS = {
    "cat": (lambda T, x, y: (T.cat((x, y)), T.cat([y, x, y], -2), T.concat((x, y)), T.vstack((x, y))), (2, 3), (4, 3)),
    "cat_inner": (lambda T, x, y: (T.cat((x, y), 1), T.cat((x.unsqueeze(0), y.unsqueeze(0)), 2), T.hstack((x, y))), (3, 2), (3, 4)),
    "cat_one": (lambda T, x: (T.cat((x,)), T.cat((x, T.zeros(0, dtype=x.dtype)))), (2, 3)),
    "cat_views": (lambda T, x: T.cat((x[1:], x.t()[:, :1].t(), x[::2])), (3, 3)),
    "stack": (lambda T, x, y: (T.stack((x, y)), T.stack((x, y), 1), T.stack([x, y, x], -1)), (2, 3), (2, 3)),
    "stacks": (lambda T, x, y: (T.dstack((x, y)), T.column_stack((x, y)), T.row_stack((x, y)) if T is ng else T.vstack((x, y))), (2, 3), (2, 3)),
    "stacks_1d": (lambda T, x, y: (T.hstack((x, y)), T.vstack((x, y)), T.dstack((x, y)), T.column_stack((x, y))), (3,), (3,)),
    "stack_0d": (lambda T, x, y: (T.stack((x, y)), T.hstack((x, y)), T.atleast_1d(x), T.atleast_2d(x), T.atleast_3d(y)), (), ()),
    "block_diag": (lambda T, x, y: T.block_diag(x, y, x[0]), (2, 3), (1, 2)),
    "broadcast": (lambda T, x, y: T.broadcast_tensors(x, y), (3, 1), (4,)),
    "meshgrid": (lambda T, x, y: (*T.meshgrid(x, y, indexing="ij"), *T.meshgrid(x, y, indexing="xy")), (3,), (2,)),
    "products": (lambda T, x, y: (T.cartesian_prod(x, y), T.combinations(x), T.combinations(x, 3, with_replacement=True)), (3,), (2,)),
}  # fmt: skip
MOVES = {
    "repeat": (lambda T, x: (x.repeat(2, 1), x.repeat(2, 1, 3), x.tile((2,)), x.tile((1, 2, 1)), x.repeat(0, 1)), (2, 3)),
    "repeat_interleave": (lambda T, x: (x.repeat_interleave(2), x.repeat_interleave(3, 1), x.repeat_interleave(T.tensor([2, 0]), 0)), (2, 3)),
    "flip": (lambda T, x: (x.flip(0), x.flip(0, 2), x.flip((1, -1)), x.fliplr(), x.flipud()), (2, 3, 4)),
    "roll": (lambda T, x: (x.roll(1), x.roll(-2, 1), x.roll((1, 5), (0, 2))), (2, 3, 4)),
    "rot90": (lambda T, x: (x.rot90(), x.rot90(2), x.rot90(-1, (1, 2)), x.rot90(4)), (2, 3, 4)),
    "triangles": (lambda T, x: (x.tril(), x.triu(), x.tril(-1), x.triu(2), x.tril(9), x.triu(-9)), (2, 3, 4)),
    "diag": (lambda T, x: (x.diag(), x.diag(1), x.diag(-2), x[0].diag(1), x.diagflat()), (3, 4)),
    "diag_embed": (lambda T, x: (x.diag_embed(), x.diag_embed(1), x.diag_embed(-1, 0, 2)), (2, 3)),
    "scatters": (lambda T, x, s: (x.select_scatter(s, 0, 1), x.slice_scatter(s[None], 0, 1, 2), x.diagonal_scatter(s[:3], 1)), (3, 4), (4,)),
    "narrow_copy": (lambda T, x: (T.narrow_copy(x, 1, 1, 2), x.narrow_copy(-1, -3, 2)), (2, 3, 4)),
    "sum_to_size": (lambda T, x: (x.sum_to_size(3, 1), x.sum_to_size((4,)), x.sum_to_size(1, 3, 4), x.sum_to_size([]), x.sum_to_size(2, 3, 4)), (2, 3, 4)),
    "as_strided_scatter": (lambda T, x, s: x.contiguous().as_strided_scatter(s, (2, 2), (4, 1), 1), (3, 4), (2, 2)),
}  # fmt: skip
CALLS = {**VIEWS, **JOINS, **MOVES}


@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.parametrize("name", list(CALLS))
def test_values(name, kind):
    call, *shapes = CALLS[name]
    assert_agree_on_values(call, shapes, kind)


@pytest.mark.parametrize("name", list(CALLS))
def test_derivatives(name):
    call, *shapes = CALLS[name]
    for seed in (0, 1):
        assert_agree_on_derivatives(call, shapes, seed)


@pytest.mark.parametrize("name", list(VIEWS))
def test_strides_and_memory(name):
    """Which results share memory, where in it they start and with which steps."""
    call, shape = VIEWS[name]
    for seed in (0, 1, 2):

        def run(T):
            x, base = strided(T, shape, seed)
            x = x.contiguous() if seed == 0 else x
            found = call(T, x)
            shares = [r.untyped_storage().data_ptr() == x.untyped_storage().data_ptr() for r in found]
            steps = [[s for n, s in zip(r.shape, r.stride()) if n > 1] for r in found]
            return shares, steps, [r.storage_offset() for r in found], [r.is_contiguous() for r in found]

        assert_same(*both(run))


WRITES = {
    "select": lambda T, y, s: y[1].mul_(s[0]), "columns": lambda T, y, s: y[:, 1:].mul_(s[:, 1:]), "transpose": lambda T, y, s: y.t().mul_(s.t()),
    "twice": lambda T, y, s: (y[0].mul_(2), y[:, 0].mul_(s[:, 0]), y.t()[2].add_(s[0, 0])), "diagonal": lambda T, y, s: y.diagonal().mul_(s.diagonal()),
    "rows": lambda T, y, s: [y[k].mul_(k + 2.0) for k in range(3)], "sigmoid": lambda T, y, s: y.t()[1:].sigmoid_(),
    "steps": lambda T, y, s: y[::2, 1::2].pow_(2), "copy": lambda T, y, s: y[1:].copy_(s[:2]), "fill": lambda T, y, s: y[:, 1].fill_(0.5),
    "zero": lambda T, y, s: y.t()[1].zero_(), "masked": lambda T, y, s: y[1:].masked_fill_(grid(T, 2, 4) > 3, 2.0), "exp": lambda T, y, s: y[:, 2:].exp_(),
    "index": lambda T, y, s: y.t().index_add_(0, T.tensor([1, 1]), s[:, :2].t()), "assign": lambda T, y, s: y.__setitem__((slice(None), [0, 2]), s[:, :2]),
    "clamp": lambda T, y, s: y[1:, 1:].clamp_(-0.5, 0.5), "own_part": lambda T, y, s: y[:, 1:].mul_(y[:, :-1].detach().clone()),
    "lerp": lambda T, y, s: y[0].lerp_(s[0], 0.25), "addcmul": lambda T, y, s: y.t()[1].addcmul_(s[:, 0], s[:, 1]),
}  # fmt: skip


@table(WRITES)
def test_written_views(call):
    """What is written through a view is differentiated right, for the base, for other views, and as part of a join."""

    def base(T, x, s):
        y = x * 1
        call(T, y, s)
        return y

    def other_view(T, x, s):
        y = x * 1
        other = y.t()[1:]
        call(T, y, s)
        return other * 1, y[1]

    def part_of_join(T, x, s):
        y = x * 1
        call(T, y, s)
        return T.cat((s, y)), T.stack((s * s, y)), T.cat((y, s, y), 1)

    def inner(T, x, s):
        z = T.stack((x, x * 2, s), 1)
        call(T, z[:, 1], s)
        return z

    for fn in (base, other_view, part_of_join, inner):
        for seed in (0, 1):
            assert_agree_on_derivatives(fn, [(3, 4), (3, 4)], seed)


INPLACE = {
    "t_": lambda x: x.t_(), "transpose_": lambda x: x.transpose_(0, 1), "squeeze_": lambda x: x.squeeze_(), "unsqueeze_": lambda x: x.unsqueeze_(1),
    "swapaxes_": lambda x: x.swapaxes_(0, 1), "tril_": lambda x: x.tril_(), "triu_": lambda x: x.triu_(1), "fill_diagonal_": lambda x: x.fill_diagonal_(2.0),
    "as_strided_": lambda x: x.as_strided_((2, 2), (1, 2), storage_offset=3), "detach_": lambda x: x.detach_(),
}  # fmt: skip


@table(INPLACE)
def test_in_place_forms(call):
    def run(T):
        x = grid(T, 3, 4, requires_grad=True)
        y = x * 2
        z = call(y)
        if not y.requires_grad:
            return y, z is y, y.stride()
        (y * grid(T, *y.shape)).sum().backward()
        return y.detach(), z is y, y.stride(), x.grad

    assert_agree(run)


DTYPES = {
    "cat": lambda T: (T.cat((T.tensor([1]), T.tensor([2.5]))), T.cat((T.tensor([True]), T.tensor([3], dtype=T.uint8)))),
    "stack": lambda T: T.stack((T.tensor(1), T.tensor(2.5, dtype=T.float64))),
    "cat_empty": lambda T: T.cat((T.zeros(0, dtype=T.float64), T.tensor([1.0]))),
    "cat_out": lambda T: T.cat((T.ones(2), T.zeros(1)), out=T.empty(3, dtype=T.float64)),
    "hstack": lambda T: T.hstack((T.tensor([1, 2]), T.tensor([0.5]))),
    "shapes": lambda T: tuple(T.broadcast_shapes((3, 1), (1, 4), (2, 1, 1))),
    "indices": lambda T: (T.tril_indices(3, 4), T.triu_indices(3, 4, 1), T.tril_indices(2, 2, -5)),
}  # fmt: skip


@table(DTYPES)
def test_dtypes_of_joins(call):
    assert_agree(call)


EMPTY = {
    "cat": lambda T: (T.cat((T.zeros(0, 3), T.ones(2, 3))), T.cat((T.zeros(2, 0), T.zeros(2, 0)), 1)), "stack": lambda T: T.stack((T.zeros(0), T.zeros(0))),
    "split": lambda T: T.zeros(0).split(2), "chunk": lambda T: T.zeros(0, 2).chunk(3), "chunk_many": lambda T: grid(T, 5).chunk(4), "flip": lambda T: T.zeros(0, 3).flip(0, 1),
    "roll": lambda T: T.zeros(0, 3).roll(1, 0), "repeat": lambda T: T.zeros(0, 3).repeat(2, 2), "diag": lambda T: (T.zeros(0).diag(), T.zeros(0, 0).diag()),
    "tril": lambda T: T.zeros(0, 3).tril(), "reshape": lambda T: T.zeros(0, 3).reshape(3, 0, 2), "view": lambda T: T.zeros(2, 0).view(0, 5),
    "unbind": lambda T: T.zeros(0, 2).unbind(), "diagonal": lambda T: T.zeros(0, 2).diagonal(), "unfold": lambda T: T.zeros(2, 0).unfold(0, 2, 1),
    "meshgrid": lambda T: T.meshgrid(T.zeros(0), T.zeros(2), indexing="ij"), "block_diag": lambda T: T.block_diag(), "tensor_split": lambda T: grid(T, 2).tensor_split(4),
    "expand": lambda T: (T.zeros(1, 0).expand(3, 0), T.zeros(1).expand(0)), "repeat_interleave": lambda T: T.zeros(0).repeat_interleave(3),
}  # fmt: skip


@table(EMPTY)
def test_empty(call):
    assert_agree(call)


ERRORS = {
    "cat_nothing": lambda T: T.cat(()), "cat_shapes": lambda T: T.cat((T.zeros(2, 3), T.zeros(2, 4))), "cat_ranks": lambda T: T.cat((T.zeros(2), T.zeros(2, 2))),
    "cat_dim": lambda T: T.cat((T.zeros(2),), 1), "cat_0d": lambda T: T.cat((T.tensor(1), T.tensor(2))), "cat_tensor": lambda T: T.cat(T.zeros(2)),
    "cat_number": lambda T: T.cat((T.zeros(2), 1)), "stack_shapes": lambda T: T.stack((T.zeros(2), T.zeros(3))), "stack_nothing": lambda T: T.stack(()),
    "stack_dim": lambda T: T.stack((T.zeros(2),), 3), "hstack_shapes": lambda T: T.hstack((T.zeros(2, 2), T.zeros(3, 2))), "dsplit_2d": lambda T: T.zeros(2, 2).dsplit(2),
    "hsplit_uneven": lambda T: T.zeros(2, 3).hsplit(2), "vsplit_1d": lambda T: T.zeros(4).vsplit(2), "hsplit_0d": lambda T: T.tensor(1).hsplit(1),
    "flip_twice": lambda T: T.zeros(2, 2).flip(0, 0), "flip_dim": lambda T: T.zeros(2).flip(1), "fliplr_1d": lambda T: T.zeros(2).fliplr(), "roll_lengths": lambda T: T.zeros(2, 2).roll((1, 2), (0,)),
    "roll_dim": lambda T: T.zeros(2).roll(1, 1), "rot90_1d": lambda T: T.zeros(2).rot90(), "rot90_same": lambda T: T.zeros(2, 2).rot90(1, (0, 0)), "repeat_few": lambda T: T.zeros(2, 2).repeat(2),
    "repeat_negative": lambda T: T.zeros(2).repeat(-1), "interleave_length": lambda T: T.zeros(2).repeat_interleave(T.tensor([1, 2, 3]), 0), "interleave_negative": lambda T: T.zeros(2).repeat_interleave(-1),
    "tril_1d": lambda T: T.zeros(2).tril(), "diag_3d": lambda T: T.zeros(2, 2, 2).diag(), "diag_embed_same": lambda T: T.zeros(2).diag_embed(0, 1, 1), "meshgrid_2d": lambda T: T.meshgrid(T.zeros(2, 2), indexing="ij"),
    "meshgrid_indexing": lambda T: T.meshgrid(T.zeros(2), indexing="yx"), "broadcast": lambda T: T.broadcast_tensors(T.zeros(2), T.zeros(3)), "broadcast_shapes": lambda T: T.broadcast_shapes((2,), (3,)),
    "sum_to_size": lambda T: T.zeros(2, 3).sum_to_size(2), "sum_to_more": lambda T: T.zeros(3).sum_to_size(1, 3), "narrow_copy": lambda T: T.zeros(3).narrow_copy(0, 2, 2),
    "select_scatter": lambda T: T.zeros(2, 3).select_scatter(T.zeros(2), 0, 0), "slice_scatter": lambda T: T.zeros(2, 3).slice_scatter(T.zeros(3, 3)), "tensor_split_zero": lambda T: T.zeros(2).tensor_split(0),
    "combinations_2d": lambda T: T.combinations(T.zeros(2, 2)), "unfold_size": lambda T: T.zeros(2).unfold(0, 3, 1), "unfold_step": lambda T: T.zeros(2).unfold(0, 1, 0), "squeeze_dim": lambda T: T.zeros(2).squeeze(1),
    "permute_dim": lambda T: T.zeros(2, 2).permute(0, 2), "movedim_lengths": lambda T: T.zeros(2, 2).movedim((0, 1), (0,)), "unflatten_many": lambda T: T.zeros(4).unflatten(0, (-1, -1)), "t_3d": lambda T: T.zeros(1, 1, 1).t(),
}  # fmt: skip


@table(ERRORS)
def test_errors(call):
    assert_agree(call)


def test_sum_to_size_undoes_broadcasting():
    x = ng.ones(2, 3, 4, requires_grad=True)
    found = x.sum_to_size(3, 1)
    assert found.tolist() == [[8.0]] * 3 and found.requires_grad
    assert x.is_same_size(ng.zeros(2, 3, 4)) and not x.is_same_size(found)
    with pytest.raises(RuntimeError, match="is not expandable to size"):
        x.sum_to_size(5)


def test_new_empty_strided_keeps_the_dtype():
    found = ng.ones(2, dtype=ng.float64).new_empty_strided((2, 3), (1, 2))
    assert found.stride() == (1, 2) and found.dtype is ng.float64


def test_expand_as_fewer_dimensions():
    with pytest.raises(RuntimeError, match="number of sizes provided"):
        ng.ones(2, 3).expand_as(ng.ones(3))


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.unfold(0, 3, 1).unfold(1, 3, 1), lambda x: x.unfold(1, 3, 1).unfold(1, 2, 2),
        lambda x: x.expand(2, 4, 5).unfold(2, 2, 1), lambda x: x.expand(2, 4, 5).unfold(0, 2, 1), lambda x: x.unfold(0, 4, 3),
        lambda x: x[:1].expand(3, 5).as_strided((2, 2), (0, 1), 1), lambda x: x.unfold(0, 3, 1).as_strided((2, 2), (1, 1)),
    ],
)  # fmt: skip
def test_windows_of_windows_and_of_expanded_tensors(view):
    """What is one element in memory counts once for each index that shows it, and no more."""
    x = (0.1 * ng.arange(20.0, dtype=ng.float64).reshape(4, 5)).requires_grad_()
    at = view(ng.arange(20.0).reshape(4, 5)).long()  # which element each index shows
    (expected,) = ng.autograd.grad((x.reshape(-1)[at] ** 3).sum(), x)
    (found,) = ng.autograd.grad((view(x) ** 3).sum(), x)
    assert ng.allclose(found, expected)
    assert ng.testing.gradgradcheck(lambda x: view(x) ** 3, (x,))


def test_results_are_no_views_of_hidden_tensors():
    """States and new tensors may be detached in place, and writes to them and to views of them are recorded."""
    x = ng.arange(6.0).reshape(2, 3).requires_grad_()
    for make in (
        lambda: x.t().reshape(6), lambda: x.repeat(2, 1), lambda: x.roll(1), lambda: x.index_fill(0, ng.tensor([1]), 2.0),
        lambda: x.scatter_add(0, ng.zeros(1, 3, dtype=ng.int64), x), lambda: ng.nn.LSTMCell(3, 4)(x)[1],
        lambda: ng.nn.LSTM(3, 4)(x[None])[0],
    ):  # fmt: skip
        y = make()
        assert y.requires_grad and y._base is None and not y.detach_().requires_grad
    y = x.t().reshape(6)
    y.mul_(2)
    y[:3].mul_(3)
    (y * y).sum().backward()
    assert x.grad.tolist() == [[0.0, 72.0, 16.0], [216.0, 32.0, 40.0]]


# --- PyTorch's refusals, and its strides -----------------------------------------------------------------------------

REFUSED = {
    "flip": (lambda x: x.flip(), TypeError, "missing 1 required positional argument: 'dims'"),
    "movedim_source": (lambda x: x.movedim((0, -2), (0, 1)), RuntimeError, "repeated dim in `source`"),
    "movedim_destination": (lambda x: x.movedim((0, 1), (1, 1)), RuntimeError, "repeated dim in `destination`"),
    "rot90": (lambda x: x.rot90(1, [0, -3]), RuntimeError, "Rotation dim1 out of range"),
    "unfold": (lambda x: x.unfold(0, -1, 1), RuntimeError, "size is -1 but must be >= 0"),
    "tensor_split": (lambda x: x.tensor_split(ng.tensor(1.5)), RuntimeError, "dtype of long, but got Float"),
    "nonzero_out": (lambda x: ng.nonzero(x, out=ng.empty(0)), RuntimeError, "scalar type Long"),
    "nonzero_tuple": (lambda x: ng.nonzero(x, out=ng.empty(0), as_tuple=True), RuntimeError, "as_tuple"),
    "broadcast_shapes": (lambda x: ng.broadcast_shapes((2, -1)), RuntimeError, "negative dimension"),
    "size": (lambda x: ng.empty(()).resize_(2, 4, 2**29, 2**30), RuntimeError, "Storage size calculation overflowed"),
    "stride": (lambda x: ng.empty(()).resize_(0, 4, 2**61), RuntimeError, "Stride calculation overflowed"),
}


@pytest.mark.parametrize("call, error, message", REFUSED.values(), ids=REFUSED)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(ng.ones(2, 3))


@pytest.mark.parametrize("shape", [(1, 1, 5), (1, 3, 5), (3, 1, 5), (1, 5)])
def test_new_dimensions_of_size_one_lie_around_the_others(shape):
    torch = pytest.importorskip("torch")
    assert ng.ones(5).expand(shape).stride() == torch.ones(5).expand(shape).stride()


def test_resize_as_keeps_the_layout_that_is_asked_for():
    x = ng.randn(2, 3, 4, 5).contiguous(memory_format=ng.channels_last)
    flat = ng.randn(x.numel())
    assert flat.resize_as_(x, memory_format=ng.preserve_format).is_contiguous(memory_format=ng.channels_last)
    assert ng.randn(x.numel()).resize_as_(x).is_contiguous()


def test_python_types_name_dtypes():
    kinds = [ng.zeros(1, dtype=kind).dtype for kind in (bool, int, float, complex)]
    assert kinds == [ng.bool, ng.int64, ng.float64, ng.complex128]
