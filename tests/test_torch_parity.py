"""numgrad against PyTorch: values, dtypes, gradients, random numbers, text, and whole training runs.

What is compared is written once, as a function of the library ``T``, and run with both.
"""

import contextlib
import inspect
import io
import itertools
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
import numgrad.special
from numgrad.op import OPS
from numgrad.testing import cases_for

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent
ACCURACY = {"float32": 2e-5, "float64": 1e-7}  # some of PyTorch's float64 kernels have float32 constants
KINDS = ["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"]


def mirrored(tensor):
    """The same values in the same memory layout as a tensor of PyTorch."""
    return torch.from_numpy(tensor.detach().numpy().copy(order="K"))


def array(tensor):
    """The values of a tensor of either library."""
    if isinstance(tensor, torch.Tensor):
        return tensor.detach().resolve_neg().numpy(force=True)  # PyTorch has tensors of zeros without memory
    return tensor.detach().numpy()


def assert_same(ours, theirs, tolerance=None, what=""):
    """Both are tensors of the same shape, dtype and values, or sequences of such, or equal otherwise."""
    if isinstance(theirs, (tuple, list)) and not isinstance(theirs, torch.Size):
        assert len(ours) == len(theirs), what
        for k, (one, other) in enumerate(zip(ours, theirs)):
            assert_same(one, other, tolerance, f"{what}[{k}]")
        return
    if not isinstance(theirs, torch.Tensor):
        assert not isinstance(ours, ng.Tensor), what
        assert ours == theirs or repr(ours) == repr(theirs), what
        return
    assert tuple(ours.shape) == tuple(theirs.shape), what
    assert repr(ours.dtype) == repr(theirs.dtype), what
    if tolerance is None:
        tolerance = ACCURACY.get(ours.dtype.name, 0.0)
    np.testing.assert_allclose(array(ours), array(theirs), rtol=tolerance, atol=tolerance, err_msg=what)


def both(make, *args, **options):
    """What ``make(T, ...)`` gives with each library."""
    return make(ng, *args, **options), make(torch, *args, **options)


# --- the op table ------------------------------------------------------------------------------------------------


def public_pair(op):
    """The op's public function in numgrad and PyTorch's of the same name; None if PyTorch has none."""
    for ours, theirs in ((F, torch.nn.functional), (ng, torch), (numgrad.special, torch.special)):
        found = getattr(theirs, op.name, None)
        if found is not None and callable(found) and not inspect.ismodule(found):
            return getattr(ours, op.name), found
    return None


PAIRS = {op.name: pair for op in OPS.values() if op.form != "structured" and (pair := public_pair(op))}
DIFFERENTIABLE = [name for name in PAIRS if OPS[name].gradient is not None]


def test_most_public_ops_have_a_counterpart():
    assert len(PAIRS) > 120


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("name", PAIRS)
def test_op(name, dtype):
    ours, theirs = PAIRS[name]
    for case in cases_for(OPS[name], getattr(ng, dtype)):
        inputs = [mirrored(x) for x in case.inputs]
        try:
            expected = theirs(*inputs, **case.attributes)
        except RuntimeError:  # PyTorch has no such kernel, or refuses the dtype
            assert dtype in ("int64", "bool")
            return
        assert_same(ours(*case.inputs, **case.attributes), expected, what=case.label)


def derivatives(grad, fn, leaves, weight):
    """First derivatives of ``(fn() * weight).sum()``, then those of their sum."""
    wanted = [x for x in leaves if x.requires_grad]
    options = {"allow_unused": True, "materialize_grads": True}
    first = grad(fn(*leaves), wanted, weight, create_graph=True, **options)
    recorded = [g.sum() for g in first if g.requires_grad]
    return first, grad(sum(recorded), wanted, **options) if recorded else None


def assert_same_derivatives(found, expected, tolerance):
    (first, second), (first_expected, second_expected) = found, expected
    assert_same(first, first_expected, tolerance, "gradient")
    # A piecewise linear op's second derivative may be zeros or no graph at all.
    zeros = [torch.zeros_like(g) for g in first_expected]
    if second is None:
        assert_same(zeros, second_expected or zeros, tolerance, "second derivative")
    else:
        assert_same(second, second_expected or zeros, tolerance, "second derivative")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_of_op(name, dtype):
    ours, theirs = PAIRS[name]
    rng = np.random.default_rng(3)
    for case in cases_for(OPS[name], getattr(ng, dtype)):
        leaves = case.leaves()
        mirrors = [mirrored(x).requires_grad_(x.requires_grad) for x in leaves]
        weight = np.asarray(rng.standard_normal(case.run().shape), dtype)
        found = derivatives(
            ng.autograd.grad, lambda *x: ours(*x, **case.attributes), leaves, ng.from_numpy(weight)
        )
        expected = derivatives(
            torch.autograd.grad, lambda *x: theirs(*x, **case.attributes), mirrors, torch.from_numpy(weight)
        )
        assert_same_derivatives(found, expected, 20 * ACCURACY[dtype])


# --- composites, structured ops, options ---------------------------------------------------------------------------

# Each is called with the library and tensors of the shapes given, filled with distinct numbers.
CALLS = {
    "matmul": (lambda T, a, b: a @ b, (3, 4), (4, 5)),
    "matmul_vector": (lambda T, a, b: a @ b, (3, 4), (4,)),
    "matmul_vectors": (lambda T, a, b: a @ b, (4,), (4,)),
    "matmul_row": (lambda T, a, b: a @ b, (4,), (2, 4, 3)),
    "matmul_batched": (lambda T, a, b: a @ b, (2, 1, 3, 4), (5, 4, 2)),
    "matmul_transposed": (lambda T, a, b: a.T @ b.mT, (4, 3), (5, 4)),
    "bmm": (lambda T, a, b: T.bmm(a, b), (2, 3, 4), (2, 4, 2)),
    "addmm": (lambda T, a, b, c: T.addmm(a, b, c, beta=0.5, alpha=2), (5,), (3, 4), (4, 5)),
    "baddbmm": (lambda T, a, b, c: T.baddbmm(a, b, c, beta=0.5), (2, 3, 5), (2, 3, 4), (2, 4, 5)),
    "outer": (lambda T, a, b: T.outer(a, b), (3,), (4,)),
    "linear": (lambda T, x, w, b: T.nn.functional.linear(x, w, b), (2, 3, 4), (5, 4), (5,)),
    "bilinear": (lambda T, x, y, w, b: T.nn.functional.bilinear(x, y, w, b), (3, 4), (3, 2), (5, 4, 2), (5,)),
    "softmax": (lambda T, x: T.softmax(x, 1), (3, 4, 2)),
    "log_softmax": (lambda T, x: T.log_softmax(x, -1), (3, 5)),
    "logsumexp": (lambda T, x: T.logsumexp(x, (0, 2)), (3, 4, 2)),
    "layer_norm": (lambda T, x, w, b: T.nn.functional.layer_norm(x, (4, 2), w, b), (3, 4, 2), (4, 2), (4, 2)),
    "rms_norm": (lambda T, x, w: T.nn.functional.rms_norm(x, (4,), w), (3, 4), (4,)),
    "normalize": (lambda T, x: T.nn.functional.normalize(x, dim=1), (3, 4)),
    "cosine_similarity": (lambda T, x, y: T.nn.functional.cosine_similarity(x, y), (3, 4), (3, 4)),
    "var": (lambda T, x: T.var(x, 1), (3, 4)),
    "var_mean": (lambda T, x: T.var_mean(x, (0, 1), correction=0, keepdim=True), (3, 4)),
    "std": (lambda T, x: x.std(), (3, 4)),
    "norm_1": (lambda T, x: x.norm(1, dim=0), (3, 4)),
    "norm_2": (lambda T, x: x.norm(dim=(0, 1)), (3, 4)),
    "norm_3": (lambda T, x: x.norm(3), (3, 4)),
    "norm_inf": (lambda T, x: x.norm(float("inf"), dim=1), (3, 4)),
    "max": (lambda T, x: x.max(1), (3, 4)),
    "min_all": (lambda T, x: x.min(), (3, 4)),
    "aminmax": (lambda T, x: tuple(T.aminmax(x, dim=0)), (3, 4)),
    "argmax": (lambda T, x: (x.argmax(), x.argmax(1, keepdim=True), x.argmin(0)), (3, 4)),
    "median": (lambda T, x: x.median(1), (3, 5)),
    "sort": (lambda T, x: x.sort(0, descending=True), (3, 4)),
    "topk": (lambda T, x: x.topk(2, dim=1), (3, 5)),
    "kthvalue": (lambda T, x: x.kthvalue(2, 1), (3, 5)),
    "cumsum": (lambda T, x: x.cumsum(1), (3, 4)),
    "cumprod": (lambda T, x: x.cumprod(0), (3, 4)),
    "cummax": (lambda T, x: x.cummax(1), (3, 4)),
    "logcumsumexp": (lambda T, x: x.logcumsumexp(1), (3, 4)),
    "prod_dim": (lambda T, x: x.prod(1), (3, 4)),
    "prod": (lambda T, x: x.prod(), (5,)),
    "clamp": (lambda T, x: T.clamp(x, -0.5, 1.0), (3, 4)),
    "clamp_tensors": (lambda T, x, y: T.clamp(x, min=y, max=1.5), (3, 4), (4,)),
    "gelu_tanh": (lambda T, x: T.nn.functional.gelu(x, approximate="tanh"), (3, 4)),
    "glu": (lambda T, x: T.nn.functional.glu(x, 0), (4, 3)),
    "div_floor": (lambda T, x, y: T.div(x, y, rounding_mode="floor"), (3, 4), (3, 4)),
    "pow_number": (lambda T, x: (x.abs() ** 1.5, x**2, x**3, 2.0**x), (3, 4)),
    "where": (lambda T, x, y: T.where(x > 0, x, y), (3, 4), (4,)),
    "mse_loss": (lambda T, x, y: T.nn.functional.mse_loss(x, y), (3, 4), (3, 4)),
    "l1_loss": (lambda T, x, y: T.nn.functional.l1_loss(x, y, reduction="sum"), (3, 4), (3, 4)),
    "huber_loss": (lambda T, x, y: T.nn.functional.huber_loss(x, y, delta=0.7), (3, 4), (3, 4)),
    "smooth_l1_loss": (lambda T, x, y: T.nn.functional.smooth_l1_loss(x, y, beta=0.7), (3, 4), (3, 4)),
    "bce": (
        lambda T, x, y: T.nn.functional.binary_cross_entropy(x.sigmoid(), y.sigmoid()), (3, 4), (3, 4),
    ),
    "bce_with_logits": (
        lambda T, x, y, w: T.nn.functional.binary_cross_entropy_with_logits(x, y.sigmoid(), pos_weight=w.exp()),
        (3, 4), (3, 4), (4,),
    ),
    "kl_div": (
        lambda T, x, y: T.nn.functional.kl_div(x.log_softmax(1), y.softmax(1), reduction="batchmean"), (3, 4), (3, 4),
    ),
    "cross_entropy": (
        lambda T, x: T.nn.functional.cross_entropy(x, T.tensor([1, 0, 3]), label_smoothing=0.1), (3, 4),
    ),
    "cross_entropy_weighted": (
        lambda T, x, w: T.nn.functional.cross_entropy(x, T.tensor([1, -100, 3]), w.detach().exp(), reduction="sum"),
        (3, 4), (4,),
    ),
    "cross_entropy_spatial": (
        lambda T, x: T.nn.functional.cross_entropy(x, T.tensor([[1, 0], [3, 2]]), reduction="none"), (2, 4, 2),
    ),
    "cross_entropy_shares": (lambda T, x, y: T.nn.functional.cross_entropy(x, y.softmax(1)), (3, 4), (3, 4)),
    "nll_loss": (lambda T, x: T.nn.functional.nll_loss(x.log_softmax(1), T.tensor([1, 0, 3])), (3, 4)),
    "embedding": (
        lambda T, w: T.nn.functional.embedding(T.tensor([[1, 0, 3], [1, 1, 2]]), w, padding_idx=1), (4, 3),
    ),
    "views": (
        lambda T, x: (x.view(4, 6).t(), x.permute(2, 0, 1), x.flatten(1), x.unsqueeze(1).expand(2, 5, 3, 4),
                      x.narrow(2, 1, 2), x.select(1, -1), *x.chunk(2, 2), *x.unbind(1), x.movedim(0, -1), x.swapaxes(0, 2),
                      x.as_strided((2, 2), (5, 3), 1), x.diagonal(1, 1, 2), x.unflatten(2, (2, -1)), x.mT),
        (2, 3, 4),
    ),
    "slices": (lambda T, x: (x[1], x[..., 1:3], x[:, None, ::2], x[-1, 1:, -2:], x[..., None, 0]), (2, 3, 4)),
    "indices": (
        lambda T, x: (x[T.tensor([1, 0, 1])], x[:, [0, 2]], x[T.tensor([[0], [1]]), T.tensor([2, 0])], x[x > 0],
                      x[0, x[0].sum(1) > 0, 1:]),
        (2, 3, 4),
    ),
    "assignment": (lambda T, x, y: assigned(T, x, y), (3, 4), (4,)),
    "gather": (lambda T, x: x.gather(1, T.tensor([[1, 0, 1], [2, 2, 2]])), (3, 4)),
    "take": (lambda T, x: (x.take(T.tensor([1, -1])), x.index_select(1, T.tensor([2, 0, 2]))), (3, 4)),
    "scatter": (lambda T, x, y: x.scatter(1, T.tensor([[1, 0], [2, 3]]), y), (3, 4), (3, 4)),
    "scatter_add": (lambda T, x, y: x.scatter_add(0, T.tensor([[1, 0, 2, 0], [1, 1, 1, 1]]), y), (3, 4), (3, 4)),
    "index_add": (lambda T, x, y: x.index_add(0, T.tensor([2, 0, 2]), y, alpha=0.5), (3, 4), (3, 4)),
    "masked_fill": (lambda T, x: (x.masked_fill(x > 0, -1.5), x.masked_select(x < 0)), (3, 4)),
    "cat": (lambda T, x, y: (T.cat((x, y, x)), T.stack((x[0], y[1]), 1), T.hstack((x, y))), (3, 4), (3, 4)),
    "flip": (lambda T, x: (x.flip(0, 1), x.roll(2, 1), x.rot90(), x.tril(), x.triu(1), x.diag()), (3, 3)),
    "repeat": (lambda T, x: (x.repeat(2, 1, 2), x.repeat_interleave(2, 1), x.tile(2)), (3, 4)),
    "pad": (lambda T, x: T.nn.functional.pad(x, (1, 2, 0, 1), value=0.5), (3, 4)),
    "diff": (lambda T, x: x.diff(dim=0), (4, 3)),
    "dist": (lambda T, x, y: T.dist(x, y, 3), (3, 4), (3, 4)),
}  # fmt: skip


def assigned(T, x, y):
    x = x * 1
    x[1] = y
    x[:, 2] *= 3
    x[x > 1] = 0.25
    x[[0, 2], 1] = y[:2]
    x.t()[3].add_(y[:3])
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_call(name, dtype):
    fn, *shapes = CALLS[name]
    rng = np.random.default_rng(len(name))
    arrays = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]

    def run(T):
        leaves = [T.from_numpy(a.copy()).requires_grad_() for a in arrays]
        results = fn(T, *leaves)
        flat = results if isinstance(results, tuple) else (results,)
        total = sum((r * (r.detach().cos() + 0.5)).sum() for r in flat if r.requires_grad)
        if isinstance(total, int):
            return tuple(flat), None
        return tuple(flat), derivatives(T.autograd.grad, lambda *leaves: total, leaves, None)

    (ours, our_derivatives), (theirs, their_derivatives) = both(run)
    assert [r.requires_grad for r in ours] == [r.requires_grad for r in theirs]
    assert_same(ours, theirs, 5 * ACCURACY[dtype])
    if their_derivatives is not None:
        assert_same_derivatives(our_derivatives, their_derivatives, 50 * ACCURACY[dtype])


# --- dtypes --------------------------------------------------------------------------------------------------------

BINARY = ["add", "mul", "div", "pow", "lt", "eq", "floor_divide", "maximum"]
OPERANDS = {
    "tensor": lambda T, kind: T.tensor([1, 2, 1], dtype=getattr(T, kind)),
    "0-d": lambda T, kind: T.tensor(2, dtype=getattr(T, kind)),
    "number": lambda T, kind: {"bool": True, "int64": 2, "float64": 1.5}[kind],
}


def outcome(call):
    """The result, or that it is an error."""
    try:
        return call()
    except (RuntimeError, TypeError) as error:
        return type(error)


def assert_same_outcome(ours, theirs, what):
    refused = isinstance(theirs, type) and ours is not theirs  # which error it is differs where both refuse
    if isinstance(ours, type) or isinstance(theirs, type):
        assert refused or ours is theirs, what
        assert isinstance(ours, type) and isinstance(theirs, type), f"{what}: {ours} against {theirs}"
    else:
        assert_same(ours, theirs, 1e-6, what)


def operand_pairs(kinds):
    for left, right in (("tensor", "tensor"), ("tensor", "0-d"), ("0-d", "tensor"), ("0-d", "0-d")):
        yield from ((left, a, right, b) for a, b in itertools.product(kinds, kinds))
    numbers = ("bool", "int64", "float64")
    for left in ("tensor", "0-d"):
        yield from ((left, a, "number", b) for a, b in itertools.product(kinds, numbers))
        yield from (("number", b, left, a) for a, b in itertools.product(kinds, numbers))


def test_result_types_of_all_pairs():
    for left, a, right, b in operand_pairs(KINDS):
        ours, theirs = both(lambda T: T.result_type(OPERANDS[left](T, a), OPERANDS[right](T, b)))
        assert repr(ours) == repr(theirs), (left, a, right, b)
    for a, b in itertools.product(KINDS, KINDS):
        for fn in ("promote_types", "can_cast"):
            ours, theirs = both(lambda T: getattr(T, fn)(getattr(T, a), getattr(T, b)))
            assert repr(ours) == repr(theirs), (fn, a, b)


@pytest.mark.parametrize("name", BINARY)
def test_promotion(name):
    kinds = KINDS if name == "add" else ["bool", "uint8", "int64", "float32"]
    for left, a, right, b in operand_pairs(kinds):
        def run(T):
            return outcome(lambda: getattr(T, name)(OPERANDS[left](T, a), OPERANDS[right](T, b)))

        assert_same_outcome(*both(run), (left, a, right, b))


@pytest.mark.parametrize("name", ["add", "mul", "div", "pow"])
def test_promotion_in_place(name):
    kinds = ["bool", "uint8", "int64", "float32", "float64"]
    for left, a, right, b in operand_pairs(kinds):
        if left == "number":
            continue

        def run(T):
            return outcome(lambda: getattr(OPERANDS[left](T, a), f"{name}_")(OPERANDS[right](T, b)))

        assert_same_outcome(*both(run), (left, a, right, b))


# --- random numbers ------------------------------------------------------------------------------------------------

SIZES = (1, 7, 16, 33, 1000)
RANDOM = {
    "rand": lambda T, n: (T.rand(n), T.rand(2, n, dtype=T.float64)),
    "randn": lambda T, n: (T.randn(n), T.randn(n, 3, dtype=T.float64)),
    "randint": lambda T, n: (T.randint(10, (n,)), T.randint(-5, 100, (n, 2), dtype=T.int32)),
    "randperm": lambda T, n: T.randperm(n),
    "like": lambda T, n: (T.rand_like(T.zeros(n)), T.randn_like(T.zeros(n)), T.randint_like(T.zeros(n), 9)),
    "uniform_": lambda T, n: (T.empty(n).uniform_(-2, 3), T.empty(n, 2).t().uniform_()),
    "normal_": lambda T, n: (T.empty(n).normal_(1, 2), T.empty(n, 2)[:, 0].normal_()),
    "normal": lambda T, n: (T.normal(0.0, 2.0, (n,)), T.normal(T.zeros(n), T.ones(n) * 2), T.normal(T.ones(n), 0.5)),
    "bernoulli": lambda T, n: (T.bernoulli(T.full((n,), 0.3)), T.empty(n).bernoulli_(0.7),
                               T.empty(n).bernoulli_(T.full((n,), 0.5)), T.zeros(n).bernoulli(0.2)),
    "multinomial": lambda T, n: (T.multinomial(T.ones(n), n), T.multinomial(T.ones(2, n), 5, replacement=True)),
    "poisson": lambda T, n: T.poisson(T.full((n,), 3.0)),
    "exponential_": lambda T, n: (T.empty(n).exponential_(2.0), T.empty(n).geometric_(0.3)),
    "cauchy_": lambda T, n: (T.empty(n).cauchy_(), T.empty(n).log_normal_()),
    "random_": lambda T, n: (T.empty(n, dtype=T.int64).random_(), T.empty(n).random_(3, 50)),
    "dropout": lambda T, n: (T.nn.functional.dropout(T.ones(n), 0.4), T.nn.Dropout(0.2)(T.ones(n, 3)),
                             T.nn.functional.dropout(T.ones(n), 0.4, training=False)),
    "feature_dropout": lambda T, n: (T.nn.functional.dropout1d(T.ones(2, n, 3), 0.4),
                                     T.nn.functional.dropout2d(T.ones(2, n, 2, 2), 0.4)),
    "alpha_dropout": lambda T, n: T.nn.functional.alpha_dropout(T.ones(n), 0.4, training=True),
    "rrelu": lambda T, n: T.nn.functional.rrelu(-T.ones(n), training=True),
    "generator": lambda T, n: T.rand(n, generator=T.Generator().manual_seed(n)),
}  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers(name):
    def run(T):
        T.manual_seed(1234 + len(name))
        drawn = [RANDOM[name](T, n) for n in SIZES]
        return drawn, T.rand(3)  # the streams are at the same place afterwards

    ours, theirs = both(run)
    assert_same(ours, theirs, 1e-6)


# --- modules -------------------------------------------------------------------------------------------------------

MODULES = {
    "Linear": (lambda nn: nn.Linear(7, 5), (3, 7)),
    "Linear_no_bias": (lambda nn: nn.Linear(7, 5, bias=False), (2, 3, 7)),
    "Bilinear": (lambda nn: nn.Bilinear(3, 4, 5), (2, 3), (2, 4)),
    "Embedding": (lambda nn: nn.Embedding(9, 4, padding_idx=2), [[1, 2], [8, 0]]),
    "LayerNorm": (lambda nn: nn.LayerNorm(6), (2, 6)),
    "RMSNorm": (lambda nn: nn.RMSNorm(6), (2, 6)),
    "RNNCell": (lambda nn: nn.RNNCell(4, 6), (3, 4)),
    "RNNCell_relu": (lambda nn: nn.RNNCell(4, 6, nonlinearity="relu", bias=False), (3, 4), (3, 6)),
    "LSTMCell": (lambda nn: nn.LSTMCell(4, 6), (3, 4)),
    "GRUCell": (lambda nn: nn.GRUCell(4, 6), (3, 4), (3, 6)),
    "PReLU": (lambda nn: nn.PReLU(4), (3, 4)),
    "Sequential": (lambda nn: nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 2)), (5, 4)),
    "ModuleList": (lambda nn: nn.ModuleList([nn.Linear(2, 3), nn.ReLU(), nn.Linear(2, 3)]),),
    "ModuleDict": (lambda nn: nn.ModuleDict({"a": nn.Linear(2, 3), "act": nn.Tanh()}),),
    "ParameterList": (lambda nn: nn.ParameterList([nn.Linear(2, 3).weight, nn.Linear(2, 3).bias]),),
    "Flatten": (lambda nn: nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 3))), (4, 6)),
    "losses": (lambda nn: nn.ModuleList([nn.CrossEntropyLoss(label_smoothing=0.1), nn.MSELoss(), nn.HuberLoss(),
                                         nn.BCEWithLogitsLoss(), nn.NLLLoss(), nn.L1Loss(), nn.KLDivLoss()]),),
    "activations": (lambda nn: nn.Sequential(nn.ReLU(), nn.LeakyReLU(0.2), nn.ELU(), nn.SiLU(), nn.Mish(), nn.Softplus(),
                                             nn.Hardtanh(-2, 2), nn.Softmax(dim=1), nn.Threshold(0.1, 0.0),
                                             nn.LogSoftmax(1)), (3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    """Initial weights, text, outputs and gradients."""
    make, *inputs = MODULES[name]
    rng = np.random.default_rng(0)
    inputs = [np.asarray(x) if isinstance(x, list) else rng.standard_normal(x).astype("f") for x in inputs]

    def run(T):
        T.manual_seed(5)
        module = make(T.nn)
        state = module.state_dict()
        weights = {key: value.clone() for key, value in state.items()}
        texts = repr(module), repr(list(module.parameters())), str(state)
        if not inputs:
            return weights, texts, (), {}
        out = module(*[T.from_numpy(x) for x in inputs])
        out = out if isinstance(out, tuple) else (out,)
        if weights:
            sum((y * y.detach().cos()).sum() for y in out).backward()
        return weights, texts, out, {key: p.grad for key, p in module.named_parameters()}

    (weights, texts, out, grads), (their_weights, their_texts, their_out, their_grads) = both(run)
    assert list(weights) == list(their_weights)
    for key, value in their_weights.items():
        assert_same(weights[key], value, 0.0, key)
    assert texts == their_texts
    assert_same(out, their_out, 2e-5)
    assert list(grads) == list(their_grads)
    for key, value in their_grads.items():
        assert_same(grads[key], value, 1e-4, key)


INITS = {
    "uniform_": {"a": -1.0, "b": 2.0}, "normal_": {"std": 3.0}, "trunc_normal_": {"std": 2.0}, "constant_": {"val": 2.5},
    "ones_": {}, "zeros_": {}, "eye_": {}, "xavier_uniform_": {"gain": 2.0}, "xavier_normal_": {},
    "kaiming_uniform_": {"a": 1.0}, "kaiming_normal_": {"mode": "fan_out", "nonlinearity": "relu"}, "orthogonal_": {},
    "sparse_": {"sparsity": 0.4},
}  # fmt: skip


@pytest.mark.parametrize("name", INITS)
def test_init(name):
    def run(T):
        T.manual_seed(3)
        return [getattr(T.nn.init, name)(T.empty(shape), **INITS[name]) for shape in ((4, 6), (20, 17))], T.rand(2)

    assert_same(*both(run), 1e-6)


def test_init_of_kernels():
    def run(T):
        T.manual_seed(3)
        filled = [T.nn.init.dirac_(T.empty(4, 2, 3), groups=2), T.nn.init.kaiming_uniform_(T.empty(4, 3, 2, 2))]
        return filled, [T.nn.init.calculate_gain("leaky_relu", 0.3), T.nn.init.calculate_gain("tanh")]

    assert_same(*both(run), 1e-6)


# --- text ----------------------------------------------------------------------------------------------------------


def test_text():
    def run(T):
        T.manual_seed(0)
        x = T.randn(2, 3, requires_grad=True)
        parameter = T.nn.Parameter(T.rand(3))
        y = x * 2
        y[0] = 0
        shown = [
            x, parameter, T.nn.Parameter(T.rand(2, 2), requires_grad=False), [parameter], x.detach(), x.sum(), x @ x.T,
            T.arange(5), T.zeros(0), T.zeros(2, 0), T.tensor(True), T.ones(2, dtype=T.float64), T.randn(60, 60) * 1e5,
            T.tensor([1, 1000], dtype=T.int16), x.shape, x.dtype, x.device, T.Size([2]), (x > 0), x.max(1).values.detach(),
            y, x.exp().mean(), (x + 1).view(3, 2), x.t(), x[0], T.finfo(T.float32), T.iinfo(T.uint8), T.tensor(1.5),
            x.max(1), x.sort(1).indices, x.unbind(0)[0], T.cat((x, x)), x.relu(), x.sigmoid(), x.std(), x**2, 1 - x, -x,
            x.reshape(-1), x.unsqueeze(0), x.select(0, 1), x.clone(), x.log_softmax(1), x.pow(3), x.abs(), x / 2,
        ]  # fmt: skip
        return [repr(item) for item in shown] + [f"{x.sum().detach():.3f}", str(x.sum().item())[:6]]

    for ours, theirs in zip(*both(run), strict=True):
        assert ours == theirs


def test_class_of_the_mission():
    """A module with a parameter and a plain tensor: printed, trained and saved alike."""

    def run(T):
        class Model(T.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = T.nn.Parameter(T.randn(2, 3))
                self.bias = T.zeros(3)

            def forward(self, x):
                return x @ self.weight + self.bias

        T.manual_seed(0)
        model = Model()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            print(list(model.parameters()))
            print(model, model.state_dict(), model(T.ones(1, 2)))
        model(T.ones(4, 2)).square().sum().backward()
        return printed.getvalue(), list(model.state_dict()), model.weight.grad, model.bias.requires_grad

    ours, theirs = both(run)
    assert_same(ours, theirs)
    assert ours[0].startswith("[Parameter containing:\ntensor([[") and ours[1] == ["weight"]


# --- training ------------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": {"lr": 0.1}, "SGD_momentum": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "SGD_dampening": {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True}, "Adam": {"lr": 0.05},
    "Adam_amsgrad": {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1}, "AdamW": {"lr": 0.05, "betas": (0.8, 0.9)},
    "AdamW_maximize": {"lr": 0.05, "weight_decay": 0.2, "maximize": True}, "RMSprop": {"lr": 0.02},
    "RMSprop_centered": {"lr": 0.02, "centered": True, "momentum": 0.5, "weight_decay": 0.1}, "Adagrad": {"lr": 0.1},
    "Adagrad_decay": {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name):
    def run(T):
        T.manual_seed(2)
        model = T.nn.Sequential(T.nn.Linear(5, 4), T.nn.Tanh(), T.nn.Linear(4, 1))
        groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.03}]
        optimizer = getattr(T.optim, name.split("_")[0])(groups, **OPTIMIZERS[name])
        losses = []
        for _ in range(10):
            loss = T.nn.functional.mse_loss(model(T.randn(8, 5)), T.ones(8, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        state = optimizer.state_dict()
        kept = [{key: value for key, value in entry.items() if value is not None} for entry in state["state"].values()]
        return losses, list(model.parameters()), kept

    (losses, parameters, state), (their_losses, their_parameters, their_state) = both(run)
    np.testing.assert_allclose(losses, their_losses, rtol=1e-5)
    assert_same(parameters, their_parameters, 1e-5)
    assert [sorted(entry) for entry in state] == [sorted(entry) for entry in their_state]
    for entry, theirs in zip(state, their_state):
        for key, value in theirs.items():
            np.testing.assert_allclose(entry[key], value, rtol=1e-4, atol=1e-6)


SCHEDULERS = {
    "StepLR": {"step_size": 3}, "MultiStepLR": {"milestones": [2, 5]}, "ExponentialLR": {"gamma": 0.8},
    "CosineAnnealingLR": {"T_max": 5}, "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2}, "LinearLR": {},
    "ConstantLR": {}, "PolynomialLR": {"power": 2.0}, "LambdaLR": {"lr_lambda": lambda k: 0.9**k},
    "OneCycleLR": {"max_lr": 0.5, "total_steps": 15}, "CyclicLR": {"base_lr": 0.1, "max_lr": 0.4, "step_size_up": 3},
    "MultiplicativeLR": {"lr_lambda": lambda k: 0.7},
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler(name):
    def run(T):
        optimizer = T.optim.SGD([T.zeros(1, requires_grad=True)], lr=0.2, momentum=0.9)
        scheduler = getattr(T.optim.lr_scheduler, name)(optimizer, **SCHEDULERS[name])
        rates = []
        for _ in range(12):
            optimizer.param_groups[0]["params"][0].sum().backward()
            optimizer.step()
            scheduler.step()
            rates.append((scheduler.get_last_lr()[0], optimizer.param_groups[0]["momentum"]))
        return rates

    np.testing.assert_allclose(*both(run), rtol=1e-12)


def train_on_digits(T, images, labels, optimizer_of):
    """Losses of the first 100 minibatches."""
    T.manual_seed(7)
    x, y = T.tensor(images, dtype=T.float32) / 16, T.tensor(labels)
    nn = T.nn
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, 48), nn.Tanh(), nn.Linear(48, 10))
    optimizer, losses = optimizer_of(T, model.parameters()), []
    while True:
        for batch in T.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == 100:
                return losses


@pytest.mark.parametrize(
    "optimizer_of",
    [lambda T, p: T.optim.Adam(p, lr=2e-3), lambda T, p: T.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4)],
    ids=["Adam", "SGD"],
)
def test_digits_losses(optimizer_of):
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    ours, theirs = both(train_on_digits, digits.data, digits.target, optimizer_of)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert ours[-1] < ours[0] / 2


def test_digits_example_prints_the_losses_of_pytorch(tmp_path, monkeypatch):
    """The example's text with PyTorch in its imports: the same first 100 losses."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib").use("Agg")
    source = (ROOT / "examples" / "digits_mlp.py").read_text()
    printed = {}
    for library in ("numgrad", "torch"):
        script = tmp_path / f"digits_{library}.py"
        script.write_text(source.replace("import numgrad.", f"import {library}.").replace("numgrad as", f"{library} as"))
        picture = tmp_path / f"{library}.png"
        monkeypatch.setattr(
            sys, "argv", [str(script), "--epochs", "5", "--print-losses", "100", "--picture", str(picture)]
        )
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_path(str(script), run_name="__main__")
        printed[library] = [line for line in text.getvalue().splitlines() if line.startswith("step ")]
    losses = {library: [float(line.split()[-1]) for line in lines] for library, lines in printed.items()}
    assert len(losses["numgrad"]) == 100
    # Six digits after the point are printed.
    np.testing.assert_allclose(losses["numgrad"], losses["torch"], rtol=1e-4, atol=2e-6)


# --- exchange ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", KINDS)
def test_exchange(dtype):
    """Memory is shared both ways, by DLPack and through ndarrays, strides included."""
    ours = ng.arange(12).reshape(3, 4).to(getattr(ng, dtype))
    for tensor in (ours, ours.t(), ours[1:, ::2]):
        theirs = torch.from_dlpack(tensor)
        assert_same(tensor, theirs)
        assert tensor.stride() == theirs.stride() and tensor.data_ptr() == theirs.data_ptr()
        back = ng.from_dlpack(theirs)
        assert back.data_ptr() == tensor.data_ptr() and back.dtype is tensor.dtype and back.stride() == tensor.stride()
        assert torch.from_numpy(tensor.numpy()).data_ptr() == ng.from_numpy(theirs.numpy()).data_ptr()
    torch.from_dlpack(ours)[0, 0] = 1
    assert ours[0, 0] == 1
    assert_same(ng.tensor(torch.from_dlpack(ours).numpy()), torch.tensor(ours.numpy()))
