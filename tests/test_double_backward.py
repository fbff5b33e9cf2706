"""Second derivatives of every op that is more than one formula (``structured``), against central differences.

Ops are found in the graphs of the calls below: those of the results, and those of the gradients for the ops that only
gradients consist of. An op with a gradient that no call reaches fails the last test.
"""

import numpy as np
import pytest

import numgrad as ng
import numgrad.fft
import numgrad.linalg as L
import numgrad.nn.functional as F
import numgrad.special
from numgrad.op import OPS
from numgrad.ops.recurrent import Steps, hidden_product
from numgrad.ops.sequence import all_steps
from numgrad.testing import gradcheck, gradgradcheck

I = ng.tensor([[1, 0, 1], [2, 2, 0]])  # noqa: E741
V = ng.tensor([2, 0, 2])
strided_scatter = OPS["strided_scatter"].entry
M = ng.tensor([[True, False, True, True], [False, False, True, False], [True, True, False, False]])


def in_place(fn):
    """The in-place form on a result, and on a view of one."""

    def run(x, *rest):
        y, z = x * 1, ng.stack((x, x))
        fn(y, *rest)
        fn(z[1], *rest)
        return y, z

    return run


def symmetric(x):
    return x @ x.mT + 3 * ng.eye(x.shape[-1], dtype=x.dtype)


def spread_out(x):
    """``x`` with a dominant diagonal: far from singular."""
    return x + 4 * ng.eye(x.shape[-1], dtype=x.dtype)


CALLS = {
    # copies and casts
    "clone": (lambda x: (x.clone() ** 2, x.t().contiguous() ** 2), (3, 4)),
    "casts": (lambda x: x.float().double() * x, (3,)),
    "copy_": (in_place(lambda y, s: y[1:].copy_(s)), (3, 4), (4,)),
    "fill_": (in_place(lambda y: y[:, 1].fill_(2.0)), (3, 4)),
    "segment_reduce": (lambda x: ng.segment_reduce(x, "max", lengths=ng.tensor([2, 0, 3]), initial=-9.0) ** 2, (5, 2)),
    # views
    "view": (lambda x: x.view(4, 3) ** 2, (3, 4)),
    "permute": (lambda x: (x.permute(2, 0, 1) ** 2, x.transpose(0, 1) ** 2, x[0].t() ** 2), (2, 3, 2)),
    "expand": (lambda x: x.expand(3, 4) ** 2, (3, 1)),
    "as_subclass": (lambda x: (x * 1).as_subclass(ng.Tensor) ** 2, (3, 4)),
    "as_strided": (lambda x: x.as_strided((2, 3), (2, 1), 1) ** 2, (3, 4)),
    "as_strided_of_view": (lambda x: (x * 1).t()[1:].as_strided((2, 2), (3, 1), 2) ** 2, (3, 4)),
    "strided_scatter": (lambda x, s: strided_scatter(x, s, (2, 2), (4, 2), 1) ** 2, (3, 4), (2, 2)),
    "slices": (lambda x: (x.narrow(0, 1, 2) ** 2, x[:, 1::2] ** 2, x[1] ** 2, x[..., None, 2] ** 2), (3, 4)),
    "select": (lambda x: (x.select(1, 2) ** 2, *[r**2 for r in x.unbind(0)], *[r**2 for r in x.split(2, 1)]), (3, 4)),
    "squeeze": (lambda x: (x.squeeze(1) ** 2, x.unsqueeze(0) ** 2), (3, 1)),
    "diagonal": (lambda x: (x.diagonal(1) ** 2, x.diag() ** 2, x.diag_embed() ** 2), (3, 4)),
    "unfold": (lambda x: x.unfold(1, 2, 1) ** 2, (3, 4)),
    "written_slice": (in_place(lambda y, s: y[:, 1:3].mul_(s)), (3, 4), (3, 2)),
    "written_transpose": (in_place(lambda y, s: y.t()[1:].mul_(s.t())), (3, 4), (3, 3)),
    # products
    "matmul": (lambda a, b: a @ b, (2, 3, 4), (4, 2)),
    "linear": (lambda x, w, b: F.linear(x, w, b), (3, 4), (2, 4), (2,)),
    "convolution": (lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=2), (1, 4, 5, 4), (2, 2, 3, 3), (2,)),
    "convolution_1d": (lambda x, w: F.conv1d(x, w, dilation=2), (2, 2, 7), (3, 2, 2)),
    "convolution_by_samples": (lambda x, w: ng.vmap(lambda a, b: F.conv1d(a, b, stride=2))(x, w), (2, 2, 2, 5), (2, 3, 2, 2)),
    "convolution_of_a_repeated_weight": (lambda x, w: ng.vmap(F.conv1d)(x, w.expand(2, 3, 2, 2)), (2, 2, 2, 4), (3, 2, 2)),
    "transposed": (lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2), (1, 2, 3, 2), (2, 2, 2, 2), (2,)),
    "shuffles": (
        lambda x: (F.pixel_shuffle(x, 2) ** 2, F.pixel_unshuffle(x, 2) ** 2, F.channel_shuffle(x, 2) ** 2, ng.native_channel_shuffle(x, 2) ** 2),
        (1, 4, 2, 2),
    ),
    # indices
    "gather": (lambda x: x.gather(1, I) ** 2, (3, 4)),
    "index_select": (lambda x: (x.index_select(0, V) ** 2, x.take(I) ** 2), (3, 4)),
    "index": (lambda x: (x[V] ** 2, x[:, I] ** 2, x[M] ** 2, x[V, I[0]] ** 2), (3, 4)),
    "index_add": (lambda x, s: x.index_add(0, V, s, alpha=2) ** 2, (3, 4), (3, 4)),
    "index_copy": (lambda x, s: x.index_copy(0, V[:2], s) ** 2, (3, 4), (2, 4)),
    "index_fill": (lambda x, s: x.index_fill(1, V, s) ** 2, (3, 4), ()),
    "index_put": (lambda x, s: x.index_put((V, I[0]), s, accumulate=True) ** 2, (3, 4), (3,)),
    "put": (lambda x, s: x.put(I[0], s, accumulate=True) ** 2, (3, 4), (3,)),
    "scatter": (lambda x, s: x.scatter(1, ng.tensor([[1, 0], [2, 3]]), s) ** 2, (3, 4), (2, 2)),
    "scatter_add": (lambda x, s: x.scatter_add(1, I, s) ** 2, (3, 4), (2, 3)),
    "scatter_prod": (lambda x, s: x.scatter_reduce(1, I, s, "prod"), (3, 4), (2, 3)),
    "scatter_mean": (lambda x, s: x.scatter_reduce(1, I, s, "mean") ** 2, (3, 4), (2, 3)),
    "scatter_amax": (lambda x, s: x.scatter_reduce(1, I, s, "amax", include_self=False) ** 2, (3, 4), (2, 3)),
    "index_reduce": (lambda x, s: x.index_reduce(0, V, s, "prod"), (3, 4), (3, 4)),
    "masked": (lambda x, s: (x.masked_select(M) ** 2, x.masked_scatter(M, s) ** 2, x.masked_fill(M, 2.0) ** 2), (3, 4), (3, 4)),
    "embedding": (lambda w: F.embedding(I, w) ** 2, (3, 4)),
    "embedding_padding": (lambda w: F.embedding(I, w, padding_idx=1) ** 2, (3, 4)),
    "embedding_frequency": (lambda w: F.embedding(I, w, scale_grad_by_freq=True), (3, 4)),
    "assignment": (in_place(lambda y, s: (y.__setitem__((V[:2], 1), s[:2]), y[0].mul_(s))), (3, 4), (4,)),
    "in_place_index": (in_place(lambda y, s: (y.index_add_(0, V, s), y.scatter_reduce_(0, I, s, "prod"))), (3, 4), (3, 4)),
    # arrangement
    "cat": (lambda x, y: (ng.cat((x, y, x), 1) ** 2, ng.stack((x, x * y[:, :1])) ** 2), (3, 4), (3, 2)),
    "flip": (lambda x: (x.flip(0, 1) ** 2, x.roll((1, 2), (0, 1)) ** 2, x.rot90() ** 2), (3, 4)),
    "triangle": (lambda x: (x.tril() ** 2, x.triu(1) ** 2), (3, 4)),
    "repeat": (lambda x: (x.repeat(2, 1, 2) ** 2, x.repeat_interleave(2, 1) ** 2, x.repeat_interleave(V + 1, 0) ** 2), (3, 4)),
    "pad": (lambda x: F.pad(x, (1, -1, 2, 0)) ** 2, (3, 4)),
    "pad_modes": (lambda x: [F.pad(x, (2, 1), mode=mode) ** 2 for mode in ("reflect", "replicate", "circular")], (2, 3, 4)),
    "fold": (lambda x: (F.unfold(x, 2) ** 2, F.fold(x.view(1, 4, 6)[..., :4], (3, 3), 2) ** 2), (1, 2, 3, 4)),
    # choices and running folds
    "extremes": (lambda x: (x.amax(1) ** 2, x.amin((0, 1)) ** 2, x.max(0).values ** 2, x.min(1).values ** 2), (3, 4)),
    "sort": (lambda x: (x.sort(0).values ** 2, x.topk(2).values ** 2, x.kthvalue(2).values ** 2), (3, 4)),
    "median": (lambda x: (x.median(1).values ** 2, x.nanmedian(0).values ** 2, x.mode(0).values ** 2, x.quantile(0.3)), (3, 4)),
    "median_of_all": (lambda x: (x.median() ** 2, x.nanmedian() ** 2), (3, 4)),
    "norm_inf": (lambda x: (x.norm(float("inf"), 1) ** 2, x.norm(-float("inf")) ** 2), (3, 4)),
    "cumsum": (lambda x: x.cumsum(1) ** 2, (3, 4)),
    "cumprod": (lambda x: x.cumprod(1), (3, 4)),
    "prod": (lambda x: (x.prod(1), x.prod()), (2, 3)),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), (3, 4)),
    "shares_of_sums": (
        lambda g, x: [OPS[name].entry(g, x, x.logcumsumexp(1), 1) for name in ("later_shares", "earlier_shares")],
        (3, 4), (3, 4),
    ),
    "cummax": (lambda x: (x.cummax(1).values ** 2, x.cummin(0).values ** 2), (3, 4)),
    # layers
    "max_pool": (lambda x: F.max_pool2d(x, 2, 1, 1) ** 2, (1, 2, 4, 3)),
    "avg_pool": (lambda x: F.avg_pool2d(x, 2, 1, 1) ** 2, (1, 2, 4, 3)),
    "adaptive_avg_pool": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)) ** 2, (1, 2, 5, 4)),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (4, 3, 2), (3,), (3,)),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), (2, 4, 3), (4,), (4,)),
    "upsample": (
        lambda x: [F.interpolate(x, (5, 3), mode=mode) ** 2 for mode in ("nearest", "bilinear", "bicubic")], (1, 2, 3, 4),
    ),
    "affine_grid": (lambda x: F.affine_grid(x, (2, 1, 3, 2), align_corners=False) ** 2, (2, 2, 3)),
    "grid_sample": (lambda x, g: F.grid_sample(x, g * 0.2, align_corners=True) ** 2, (1, 2, 4, 3), (1, 2, 3, 2)),
    "max_unpool": (lambda x: F.max_unpool2d(x, ng.tensor([[[[0, 3], [9, 14]]]]), 2) ** 2, (1, 1, 2, 2)),
    "dropout": (lambda x: dropped(x) ** 2, (3, 4)),
    "ctc_loss": (
        lambda x: F.ctc_loss(x.log_softmax(-1), ng.tensor([[1, 2], [2, 2]]), ng.tensor([4, 5]), ng.tensor([2, 1])), (5, 2, 3),
    ),
    "columns": (
        lambda x: (x.softmax(0) * x, x.log_softmax(1) * x, x.logsumexp((0, 1)) ** 2, x.var(1) ** 2, x.std(0) ** 2),
        (2, 3, 2),
    ),
    "cross_entropy_columns": (lambda x: F.cross_entropy(x, I[:, :2], reduction="none", ignore_index=2), (2, 3, 2)),
    "lstm": (lambda *x: all_steps(*x[:3], "LSTM", False, None, x[3]) ** 2, (2, 1, 8), (8, 2), (1, 2), (1, 2)),
    "gru": (lambda *x: all_steps(*x[:3], "GRU", True, x[3]) ** 2, (2, 1, 6), (6, 2), (1, 2), (6,)),
    "rnn": (lambda *x: all_steps(*x, "RNN_TANH", False) ** 2, (2, 1, 2), (2, 2), (1, 2)),
    "recurrence": (lambda x, w: recurrence(x, w) ** 2, (3, 2, 2), (2, 2)),
    # linear algebra
    "inverse": (lambda x: L.inv(spread_out(x)), (3, 3)),
    "solve": (lambda x, b: L.solve(spread_out(x), b), (2, 3, 3), (2, 3, 2)),
    "triangular": (lambda x, b: L.solve_triangular(spread_out(x).tril(), b, upper=False), (3, 3), (3, 2)),
    "cholesky": (lambda x: L.cholesky(symmetric(x)), (3, 3)),
    "cholesky_solve": (lambda b, x: ng.cholesky_solve(b, L.cholesky(symmetric(x))), (3, 2), (3, 3)),
    "lu": (lambda x: L.lu_factor(spread_out(x))[0], (3, 3)),
    "determinant": (lambda x: (L.det(spread_out(x)), L.slogdet(spread_out(x))[1]), (3, 3)),
    "pinv": (lambda x: L.pinv(x), (4, 2)),
    "lstsq": (lambda x, b: L.lstsq(x, b).solution, (4, 2), (4, 2)),
    "matrix_exp": (lambda x: L.matrix_exp(x * 0.3), (3, 3)),
    # complex numbers, as pairs of reals
    "fft": (lambda x: ng.view_as_real(numgrad.fft.fft(ng.view_as_complex(x))) ** 2, (4, 2)),
    "rfft": (lambda x: ng.view_as_real(numgrad.fft.rfft(x)) ** 2, (5,)),
    "irfft": (lambda x: numgrad.fft.irfft(ng.view_as_complex(x), n=4) ** 2, (3, 2)),
    "complex_product": (
        lambda x, y: ng.view_as_real(ng.view_as_complex(x) @ ng.view_as_complex(y)) ** 2, (2, 3, 2), (3, 2, 2)
    ),
    "cdist": (lambda x, y: ng.cdist(x, y), (3, 2), (4, 2)),
    "vander": (lambda x: ng.vander(x), (3,)),
    "cdist_product": (lambda x, y: ng.cdist(x, y, compute_mode="use_mm_for_euclid_dist"), (3, 2), (4, 2)),
}  # fmt: skip
# Calls whose gradients are made of ops of their own: these gradients are differentiated twice as well.
OF_GRADIENTS = [
    "clone", "as_strided", "strided_scatter", "slices", "select", "diagonal", "convolution", "convolution_1d",
    "convolution_by_samples",
    "embedding_padding", "max_pool", "avg_pool", "adaptive_avg_pool", "grid_sample", "scatter_prod", "masked", "fold",
    "index_fill", "index_copy", "unfold", "pad_modes",
]  # fmt: skip


def dropped(x):
    """Dropout with the same mask at every call."""
    ng.manual_seed(0)
    return F.dropout(x, 0.5)


def recurrence(x, weight):
    """The last of the states ``tanh(x[t] + state @ weight.T)``."""
    hidden = []
    state = x.new_zeros(x.shape[1:])
    for step in Steps.apply(x, None, weight, hidden):
        hidden.append(state.detach())
        state = (step + hidden_product(state, weight)).tanh()
    return state


def leaves(shapes):
    """Fresh tensors of distinct numbers, no two near each other, none near 0."""
    rng = np.random.default_rng(len(shapes))
    found = []
    for shape in shapes:
        count = int(np.prod(shape))
        values = rng.permutation(np.linspace(-1.9, 1.9, count + count % 2)[:count]) + rng.uniform(-0.02, 0.02, count)
        found.append(ng.tensor(values.reshape(shape)).requires_grad_())
    return found


def gradients_of(fn):
    """The function that gives the gradients of ``fn`` at fixed weights, recorded."""

    def run(*inputs):
        results = fn(*inputs)
        results = results if isinstance(results, (tuple, list)) else (results,)
        total = sum((r * (1 + ng.arange(r.numel(), dtype=r.dtype).view(r.shape))).sum() + (r * r).sum() for r in results)
        found = ng.autograd.grad(total, inputs, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g.requires_grad)

    return run


def ops_in(results):
    """The names of the ops in the graph of the results."""
    found, seen = set(), set()
    nodes = [r.grad_fn for r in (results if isinstance(results, (tuple, list)) else (results,))]
    while nodes:
        node = nodes.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        found.add(getattr(getattr(node, "op", None), "name", None))
        nodes += node.next
    return found


@pytest.mark.parametrize("name", list(CALLS))
def test_second_derivatives(name):
    fn, *shapes = CALLS[name]
    loose = {"atol": 1e-2, "eps": 1e-3} if name == "casts" else {}  # float32 in between
    if name not in ("embedding_padding", "embedding_frequency"):  # their gradients are other ones by definition
        assert gradcheck(fn, leaves(shapes), check_batched_grad=True, **loose)
    assert gradgradcheck(fn, leaves(shapes), check_batched_grad=True, **{"atol": 1e-4, **loose})


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", [ng.scatter_reduce, ng.index_reduce])
def test_second_derivatives_of_products_with_zeros(reduce, include_self):
    """Two zeros, three, and one beside a zero of the input meet."""
    places = ng.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    input = ng.tensor([1.5, 2.0, 0.0], dtype=ng.float64, requires_grad=True)
    src = ng.tensor([0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0], dtype=ng.float64, requires_grad=True)
    assert gradgradcheck(lambda x, s: reduce(x, 0, places, s, "prod", include_self=include_self), (input, src))


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_third_derivatives(name):
    fn, *shapes = CALLS[name]
    assert gradgradcheck(gradients_of(fn), leaves(shapes), atol=1e-3)


def test_no_differentiable_op_is_left_out():
    """Every op of the table with a gradient is in the graph of one of the calls, or has cases of its own."""
    reached = set()
    for name, (fn, *shapes) in CALLS.items():
        reached |= ops_in(fn(*leaves(shapes)))
        if name in OF_GRADIENTS:
            reached |= ops_in(gradients_of(fn)(*leaves(shapes)))
    elsewhere = {
        "to_other_device",  # test_cuda_everyday.py: it needs a second device
        "_standard_gamma", "_sample_dirichlet", "poisson_counts",  # test_samplers.py: derivatives of random numbers
        "normal_numbers",  # test_forward_ad.py: they are zeros
    }  # fmt: skip
    structured = {op.name for op in OPS.values() if op.form == "structured" and op.gradient is not None}
    assert structured - reached - elsewhere == set()
    from numgrad.testing import cases_for

    for op in OPS.values():
        if op.gradient is not None and op.form != "structured":
            assert cases_for(op, ng.float64), f"{op.name} has no cases in test_ops.py"
