"""Every op of the table takes and gives 16-bit tensors: what it computes in float32, rounded; gradients too.

This runs without a compiler, in a process of its own: kernels of all ops for two more dtypes would take minutes to
compile. What compiled kernels load and store is in ``test_half.py``.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad import detours
from numgrad.kernels.jit import PYTHON_MODE
from numgrad.op import ENTRIES, OPS
from numgrad.testing import cases_for

HALVES = (ng.float16, ng.bfloat16)
ULP = {ng.float16: 2.0**-10, ng.bfloat16: 2.0**-7}

if not PYTHON_MODE:

    def test_this_file_passes_without_a_compiler():
        env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
        result = subprocess.run(command, env=env, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:]


else:
    TABLED = [op for op in OPS.values() if op.form in ("pointwise", "reduction", "rowwise")]
    CASES = [case for op in TABLED for case in cases_for(op) if case.label in ("matrix", "strided", "last", "all", "rows")]

    def tensors(value):
        if isinstance(value, ng.Tensor):
            return [value]
        return [tensor for item in value for tensor in tensors(item)] if isinstance(value, (tuple, list)) else []

    def close(found, wide, d, units=1.5):
        """``found`` is of dtype ``d`` where ``wide`` is float32, and within some units in the last place of it."""
        assert found.shape == wide.shape
        if wide.dtype is not ng.float32:
            assert found.dtype is wide.dtype
            np.testing.assert_array_equal(found.numpy(), wide.numpy())
            return
        assert found.dtype is d
        found, wide = found.detach().double().numpy(), wide.detach().to(d).double().numpy()
        scale = np.abs(wide[np.isfinite(wide)]).max(initial=0.0)
        with np.errstate(invalid="ignore"):
            near = np.abs(found - wide) <= units * ULP[d] * np.abs(wide) + ULP[d] * (units - 1) * scale
        assert (near | (found == wide) | (np.isnan(found) & np.isnan(wide))).all(), (found, wide)

    def check(call, inputs, differentiable, d):
        """``call`` on inputs of dtype ``d`` against the same numbers in float32, forwards and backwards."""
        inputs = [x.to(d) if x.is_floating_point() else x for x in inputs]
        narrow = [x.clone().requires_grad_() if k in differentiable else x for k, x in enumerate(inputs)]
        wide = [x.float().requires_grad_() if k in differentiable else x.float() if x.is_floating_point() else x
                for k, x in enumerate(inputs)]  # fmt: skip
        found, expected = tensors(call(*narrow)), tensors(call(*wide))
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert a.requires_grad == b.requires_grad
            close(a, b, d)
        pairs = [(a, b) for a, b in zip(found, expected) if b.requires_grad]
        if pairs:
            ng.autograd.backward([a for a, _ in pairs], [ng.ones_like(a) for a, _ in pairs])
            ng.autograd.backward([b for _, b in pairs], [ng.ones_like(b) for _, b in pairs])
        for a, b in zip(narrow, wide):
            assert (a.grad is None) == (b.grad is None)
            if a.grad is not None:
                close(a.grad, b.grad, d, 5)

    @pytest.mark.parametrize("d", HALVES, ids=repr)
    @pytest.mark.parametrize("case", CASES, ids=repr)
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_table(case, d):
        op = case.op
        leaves = [] if op.gradient is None else [
            k for k, (name, x) in enumerate(zip(op.inputs, case.inputs)) if name not in op.no_gradient and x.is_floating_point()
        ]  # fmt: skip
        check(case.run, case.inputs, leaves, d)

    X = np.random.default_rng(1).permutation(np.linspace(-2, 2, 24)).reshape(4, 6).astype(np.float32)
    PLACES, ROWS = ng.tensor([[0, 2], [1, 0], [5, 3], [4, 4]]), ng.tensor([2, 0, 2])

    def _recurrent(a):
        ng.manual_seed(0)
        return ng.nn.RNN(6, 3).to(a.dtype)(a)

    def _seeded(call):
        def seeded(a):
            ng.manual_seed(0)
            return call(a)

        return seeded

    # Functions of a matrix (4, 6) of distinct numbers: they reach the ops with kernels of their own.
    CALLS = {
        "matmul": lambda a: a @ a.t(), "mv": lambda a: ng.mv(a, a[0]), "bmm": lambda a: ng.bmm(a[None], a.t()[None]),
        "addmm": lambda a: ng.addmm(a[0, :4], a, a.t()), "einsum": lambda a: ng.einsum("ij,kj->ik", a, a),
        "linear": lambda a: F.linear(a, a, a[:, 0]), "prod": lambda a: a.prod(1), "cumsum": lambda a: a.cumsum(1),
        "cumprod": lambda a: a.cumprod(1), "logcumsumexp": lambda a: a.logcumsumexp(1), "cummax": lambda a: a.cummax(1),
        "cummin": lambda a: a.cummin(1), "max": lambda a: a.max(1), "min": lambda a: a.min(0), "argmax": lambda a: a.argmax(),
        "argmin": lambda a: a.argmin(1), "aminmax": lambda a: a.aminmax(dim=1), "amax": lambda a: a.amax((0, 1)),
        "amin": lambda a: a.amin(0), "sort": lambda a: a.sort(1), "argsort": lambda a: a.argsort(0), "topk": lambda a: a.topk(2, 1),
        "kthvalue": lambda a: a.kthvalue(2, 1), "median": lambda a: a.median(1), "nanmedian": lambda a: a.nanmedian(1),
        "mode": lambda a: a.round().mode(1), "unique": lambda a: a.detach().round().unique(return_counts=True),
        "unique_consecutive": lambda a: a.detach().round().unique_consecutive(), "histc": lambda a: a.detach().histc(4),
        "histogram": lambda a: ng.histogram(a.detach(), 4), "quantile": lambda a: a.quantile(0.5, 1),
        "nanquantile": lambda a: a.nanquantile(0.5, 1),
        "searchsorted": lambda a: ng.searchsorted(a[0].sort().values, a[1]),
        "bucketize": lambda a: ng.bucketize(a, a[0].sort().values), "isin": lambda a: ng.isin(a, a[0]),
        "nonzero": lambda a: a.round().nonzero(), "gather": lambda a: a.gather(1, PLACES),
        "index_select": lambda a: a.index_select(0, ROWS), "take": lambda a: a.take(PLACES),
        "take_along_dim": lambda a: a.take_along_dim(PLACES, 1), "index": lambda a: a[ROWS], "mask": lambda a: a[a > 0],
        "masked_select": lambda a: a.masked_select(a > 0), "embedding": lambda a: F.embedding(ROWS, a),
        "embedding_bag": lambda a: F.embedding_bag(ROWS, a, ng.tensor([0, 1])), "flip": lambda a: a.flip(0),
        "roll": lambda a: a.roll(1, 0), "triu": lambda a: a.triu(), "diag": lambda a: a.diag(), "cat": lambda a: ng.cat((a, a)),
        "stack": lambda a: ng.stack((a, a), 1), "diagonal": lambda a: a.diagonal(), "view": lambda a: a.t()[1:, ::2],
        "unbind": lambda a: a.unbind(0), "as_strided": lambda a: a.contiguous().as_strided((3, 3), (2, 1)),
        "index_add_": lambda a: (a * 1).index_add_(0, ROWS, a[:3] * 2), "index_copy_": lambda a: (a * 1).index_copy_(0, ROWS[:2], a[:2]),
        "index_fill_": lambda a: (a * 1).index_fill_(0, ROWS, 0.3), "put_": lambda a: (a * 1).put_(ROWS, a[0, :3]),
        "index_put_": lambda a: (a * 1).index_put_((ROWS[:2],), a[0], accumulate=True),
        "masked_fill_": lambda a: (a * 1).masked_fill_(a > 0, 0.3),
        "masked_scatter_": lambda a: (a * 1).masked_scatter_(a > 0, a * 2),
        "scatter_": lambda a: (a * 1).scatter_(1, PLACES, a[:, :2] * 2), "scatter_add_": lambda a: (a * 1).scatter_add_(1, PLACES, a),
        "scatter_reduce_": lambda a: (a * 1).scatter_reduce_(1, PLACES, a[:, :2] * 2, "amax"),
        "index_reduce_": lambda a: (a * 1).index_reduce_(0, ROWS[:2], a[:2] * 2, "amin"),
        "fill_diagonal_": lambda a: a.detach().clone().fill_diagonal_(0.3), "renorm_": lambda a: a.detach().clone().renorm_(2, 0, 1.0),
        "cumsum_": lambda a: a.detach().clone().cumsum_(1), "cumprod_": lambda a: a.detach().clone().cumprod_(1),
        "assign": lambda a: _assigned(a * 1), "slice_scatter": lambda a: a.slice_scatter(a[:1] * 2, 0, 1, 2),
        "conv1d": lambda a: F.conv1d(a[None], a[:, :4].t()[:, :, None]), "conv2d": lambda a: F.conv2d(a[None, None], a[None, None, :2, :2]),
        "conv_transpose1d": lambda a: F.conv_transpose1d(a[None], a[:, :4, None]),
        "max_pool1d": lambda a: F.max_pool1d(a[None], 2), "max_pool2d": lambda a: F.max_pool2d(a[None], 2, return_indices=True),
        "max_pool3d": lambda a: F.max_pool3d(a[None, None], (1, 2, 2)), "avg_pool1d": lambda a: F.avg_pool1d(a[None], 2),
        "adaptive_max_pool1d": lambda a: F.adaptive_max_pool1d(a[None], 3), "adaptive_max_pool2d": lambda a: F.adaptive_max_pool2d(a[None], 2),
        "adaptive_max_pool3d": lambda a: F.adaptive_max_pool3d(a[None, None], (1, 2, 2)),
        "adaptive_avg_pool1d": lambda a: F.adaptive_avg_pool1d(a[None], 4), "rnn": _recurrent,
        "dropout": _seeded(lambda a: F.dropout(a, 0.5)), "poisson": _seeded(lambda a: ng.poisson(a.detach() * 0 + 2)),
        "binomial": _seeded(lambda a: ng.binomial(a.detach() * 0 + 5, a.detach() * 0 + 0.25)),
        "_standard_gamma": _seeded(lambda a: ng._standard_gamma(a.detach() * 0 + 1.5)),
        "_sample_dirichlet": _seeded(lambda a: ng._sample_dirichlet(a.detach() * 0 + 1.5)),
        "twice": lambda a: ng.autograd.grad((a[1:, ::2] * a.narrow(0, 0, 3)[:, :3]).sum(), a, create_graph=True)[0],
        "max_unpool1d": lambda a: F.max_unpool1d(*F.max_pool1d(a[None], 2, return_indices=True), 2),
        "interpolate": lambda a: F.interpolate(a[None], scale_factor=2.0, mode="linear"),
        "grid_sample": lambda a: F.grid_sample(a[None, None], a[:2, :2].reshape(1, 1, 2, 2) * 0 + 0.25, align_corners=False),
        "pad": lambda a: F.pad(a, (1, 1), value=2.0), "pad_reflect": lambda a: F.pad(a[None], (1, 1), "reflect"),
        "unfold": lambda a: F.unfold(a[None, None], 2), "fold": lambda a: F.fold(a.reshape(1, 4, 6), (3, 4), 2),
        "columns": lambda a: (a.softmax(0), a.log_softmax(0), a.logsumexp(0), a.var(0)), "softmax": lambda a: a.softmax(1), "layer_norm": lambda a: F.layer_norm(a, (6,), a[0], a[1]),
        "group_norm": lambda a: F.group_norm(a, 2, a[0], a[1]), "batch_norm": lambda a: F.batch_norm(a, None, None, a[0], training=True),
        "rms_norm": lambda a: F.rms_norm(a, (6,), a[0]), "cross_entropy": lambda a: F.cross_entropy(a, ng.tensor([0, 1, 2, 3])),
        "ctc_loss": lambda a: F.ctc_loss(a.log_softmax(1)[:, None], ng.tensor([[1, 2]]), ng.tensor([4]), ng.tensor([2])),
        "cdist": lambda a: ng.cdist(a, a[:2] + 1), "cdist_mm": lambda a: ng.cdist(a, a[:2] + 1, compute_mode="use_mm_for_euclid_dist"),
        "pdist": lambda a: F.pdist(a),
        "scaled_dot_product_attention": lambda a: F.scaled_dot_product_attention(a[None], a[None], a[None]),
        "matrix_exp": lambda a: ng.matrix_exp(a[:, :4] * 0.1), "nan_to_num": lambda a: (a / (a > 0)).nan_to_num(0.5),
        "norm": lambda a: a.norm(dim=1), "std": lambda a: a.std(1), "where": lambda a: ng.where(a > 0, a, 0.1),
        "tensordot": lambda a: ng.tensordot(a, a, ([1], [1])), "repeat": lambda a: a.repeat_interleave(2, 1),
    }  # fmt: skip
    # Ops that PyTorch has for wider dtypes only: decompositions, whose public functions refuse 16 bits, and transforms.
    WIDE_ONLY = {
        "matrix_inverse", "solution", "triangular_solution", "cholesky_factor", "packed_lu", "determinant",
        "pseudo_inverse", "least_squares", "fft_r2c", "fft_c2r", "fft_c2c", "view_as_real", "view_as_complex",
        "complex_matrix_product",
    }  # fmt: skip
    noted = set()  # ops that have a detour whose calls are noted
    called = set()

    def _assigned(b):
        b[0] = b[1] * 2
        b[b > 1] = 0.5
        b[ROWS[:2]] = b[1:3].clone()
        b[1, 2] = b[2, 2]
        return b

    def _note(op):
        around = (op.entry.__kwdefaults__ or {}).get("_around")
        if around is None or op.name in noted:
            return

        def noting(original, args, kwargs):
            called.add(op.name)
            return around(original, args, kwargs)

        noted.add(op.name)
        op.entry.__kwdefaults__["_around"] = noting
        if op.form == "structured" and op.gradient is not None:  # of some the composite is the forward part
            op.gradient = _noting_gradient(op.name, op.gradient)

    def _noting_gradient(name, gradient):
        def noting(*args):
            called.add(name)
            return gradient(*args)

        return noting

    @pytest.mark.parametrize("d", HALVES, ids=repr)
    @pytest.mark.parametrize("name", CALLS)
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_calls(name, d):
        ng.zeros(1, dtype=d)  # puts the detours there
        for op in OPS.values():
            _note(op)
        check(CALLS[name], [ng.tensor(X)], [0], d)

    def test_ops_with_kernels_of_their_own_were_called():
        structured = {name for name in noted if OPS[name].form == "structured"} - WIDE_ONLY
        missing = structured - called
        assert len(missing) < 0.2 * len(structured), f"add calls that reach {missing}"
        named = set(detours.COMPOSITE + detours._ONE_DTYPE_IN_PLACE + detours._IN_PLACE)
        random = {"multinomial", "rand_like", "randn_like", "randint_like", "bernoulli_", "normal_", "uniform_", "log_normal_",
                  "exponential_", "geometric_", "cauchy_", "random_"}  # fmt: skip
        assert named - set(CALLS) - random == set()
        assert all(ENTRIES.get(name) or getattr(ng.Tensor, name, None) for name in named)

    @pytest.mark.parametrize("d", HALVES, ids=repr)
    @pytest.mark.parametrize("name", [
        "bernoulli_", "normal_", "uniform_", "log_normal_", "exponential_", "geometric_", "cauchy_", "random_"])  # fmt: skip
    def test_fills_are_those_of_float32_rounded(name, d):
        arguments = {"bernoulli_": (0.5,), "geometric_": (0.5,), "random_": (0, 7)}.get(name, ())
        ng.manual_seed(0)
        found = getattr(ng.zeros(20, dtype=d), name)(*arguments)
        ng.manual_seed(0)
        wide = getattr(ng.zeros(20), name)(*arguments)
        close(found, wide, d)

    @pytest.mark.parametrize("d", HALVES, ids=repr)
    @pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "NAdam", "RAdam", "Adadelta",
                                      "ASGD", "Rprop", "Adafactor"])  # fmt: skip
    def test_optimizers(kind, d):
        p = ng.nn.Parameter(ng.tensor(X).to(d))
        optimizer = getattr(ng.optim, kind)([p], lr=0.1)
        first = p.detach().clone()
        for _ in range(2):
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()
        assert p.dtype is p.grad.dtype is d and (p.detach().abs() <= first.abs() + 0.2).all() and not ng.equal(p.detach(), first)
        again = getattr(ng.optim, kind)([p], lr=0.1)
        again.load_state_dict(optimizer.state_dict())
