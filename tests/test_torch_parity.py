"""numgrad against PyTorch: every op's values, dtypes, first and second derivatives, and the promotion rules.

What is compared is written once, as a function of the library ``T``, and run with both.
"""

import functools
import inspect
import itertools

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
import numgrad.special
from numgrad.op import OPS
from numgrad.testing import cases_for

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

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


def derivatives(grad, fn, leaves, weight):
    """First derivatives of ``(fn() * weight).sum()``, then those of their sum."""
    wanted = [x for x in leaves if x.requires_grad]
    options = {"allow_unused": True, "materialize_grads": True}
    first = grad(fn(*leaves), wanted, weight, create_graph=True, **options)
    recorded = [g.sum() for g in first if g.requires_grad]
    try:
        return first, grad(sum(recorded), wanted, **options) if recorded else None
    except RuntimeError as error:
        assert grad is torch.autograd.grad and "is not implemented" in str(error)
        return first, "unknown"


def assert_same_derivatives(found, expected, tolerance):
    (first, second), (first_expected, second_expected) = found, expected
    assert_same(first, first_expected, tolerance, "gradient")
    # A piecewise linear op's second derivative may be zeros or no graph at all.
    zeros = [torch.zeros_like(g) for g in first_expected]
    if second_expected != "unknown":
        assert_same(zeros if second is None else second, second_expected or zeros, tolerance, "second derivative")


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
    "var_dim": (lambda T, x: T.var(x, 1), (3, 4)),
    "var_mean": (lambda T, x: T.var_mean(x, (0, 1), correction=0, keepdim=True), (3, 4)),
    "std_all": (lambda T, x: x.std(), (3, 4)),
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
    "clamp_numbers": (lambda T, x: T.clamp(x, -0.5, 1.0), (3, 4)),
    "clamp_tensors": (lambda T, x, y: T.clamp(x, min=y), (3, 4), (4,)),
    "gelu_tanh": (lambda T, x: T.nn.functional.gelu(x, approximate="tanh"), (3, 4)),
    "glu": (lambda T, x: T.nn.functional.glu(x, 0), (4, 3)),
    "div_floor": (lambda T, x, y: T.div(x, y, rounding_mode="floor"), (3, 4), (3, 4)),
    "pow_number": (lambda T, x: (x.abs() ** 1.5, x**2, x**3, 2.0**x), (3, 4)),
    "logit": (lambda T, x: (x.sigmoid().logit(), T.logit(x.sigmoid(), 0.3)), (3, 4)),
    "polygamma": (lambda T, x: (T.polygamma(1, x.abs() + 0.5), T.polygamma(2, x.abs() + 0.5)), (3, 4)),
    "prelu": (lambda T, x, w: T.nn.functional.prelu(x, w), (3, 4), (4,)),
    "where": (lambda T, x, y: T.where(x > 0, x, y), (3, 4), (4,)),
    "mse_loss": (lambda T, x, y: T.nn.functional.mse_loss(x, y), (3, 4), (3, 4)),
    "l1_loss": (lambda T, x, y: T.nn.functional.l1_loss(x, y, reduction="sum"), (3, 4), (3, 4)),
    "huber_loss": (lambda T, x, y: T.nn.functional.huber_loss(x, y, delta=0.7), (3, 4), (3, 4)),
    "smooth_l1_loss": (lambda T, x, y: T.nn.functional.smooth_l1_loss(x, y, beta=0.7), (3, 4), (3, 4)),
    "binary_cross_entropy": (
        lambda T, x, y: T.nn.functional.binary_cross_entropy(x.sigmoid(), y.sigmoid()), (3, 4), (3, 4),
    ),
    "binary_cross_entropy_with_logits": (
        lambda T, x, y, w: T.nn.functional.binary_cross_entropy_with_logits(x, y.sigmoid(), pos_weight=w.detach().exp()),
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
    "scatter": (lambda T, x, y: x.scatter(1, T.tensor([[1, 0], [2, 3]]), y), (3, 4), (2, 2)),
    "scatter_add": (lambda T, x, y: x.scatter_add(0, T.tensor([[1, 0, 2, 0], [1, 1, 1, 1]]), y), (3, 4), (2, 4)),
    "index_add": (lambda T, x, y: x.index_add(0, T.tensor([2, 0, 2]), y, alpha=0.5), (3, 4), (3, 4)),
    "segment_reduce": (
        lambda T, x: tuple(T.segment_reduce(x, r, lengths=T.tensor([1, 2])) for r in ("sum", "mean", "prod", "max")), (3, 4),
    ),
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


# --- the op table ------------------------------------------------------------------------------------------------


def public_pair(op):
    """The op's public function in numgrad and PyTorch's of the same name; None if PyTorch has none."""
    for ours, theirs in ((F, torch.nn.functional), (ng, torch), (numgrad.special, torch.special)):
        found = getattr(theirs, op.name, None)
        if found is not None and callable(found) and not inspect.ismodule(found):
            return getattr(ours, op.name), found
    return None


TABLED = [op for op in OPS.values() if op.form != "structured" and op.name not in CALLS]
PAIRS = {op.name: pair for op in TABLED if (pair := public_pair(op))}
# PyTorch does not differentiate Bessel functions.
DIFFERENTIABLE = [name for name in PAIRS if OPS[name].gradient is not None and "bessel" not in name]
BROADCAST = ("broadcast", "column")  # kernels of their own, which differ from float32's in nothing but the dtype


def test_most_public_ops_have_a_counterpart():
    assert len(PAIRS) > 120


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", PAIRS)
def test_op(name, dtype):
    ours, theirs = PAIRS[name]
    for case in cases_for(OPS[name], getattr(ng, dtype)):
        if dtype != "float32" and case.label in BROADCAST:
            continue
        inputs = [mirrored(x) for x in case.inputs]
        try:
            expected = theirs(*inputs, **case.attributes)
        except RuntimeError:  # PyTorch has no such kernel, or refuses the dtype
            assert dtype in ("int64", "bool")
            return
        tolerance = 1e-4 if name == "airy_ai" else None  # PyTorch's has five digits in float64 too
        assert_same(ours(*case.inputs, **case.attributes), expected, tolerance, case.label)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_of_op(name, dtype):
    rng = np.random.default_rng(3)
    for case in cases_for(OPS[name], getattr(ng, dtype)):
        if dtype != "float32" and case.label in BROADCAST:
            continue
        leaves = case.leaves()
        mirrors = [mirrored(x).requires_grad_(x.requires_grad) for x in leaves]
        ours, theirs = (functools.partial(fn, **case.attributes) for fn in PAIRS[name])
        weight = np.asarray(rng.standard_normal(ours(*case.inputs).shape), dtype)  # the public function's shape
        found = derivatives(ng.autograd.grad, ours, leaves, ng.from_numpy(weight))
        expected = derivatives(torch.autograd.grad, theirs, mirrors, torch.from_numpy(weight))
        assert_same_derivatives(found, expected, 20 * ACCURACY[dtype])


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
    if isinstance(ours, type) or isinstance(theirs, type):  # which error it is may differ
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


def share(pairs, k, n):
    """One in ``n`` of the pairs, from the ``k``-th on: a mixed pair's kernel is its own, and all functions go by one rule."""
    return itertools.islice(pairs, k % n, None, n)


def apply(T, name, left, a, right, b, device="cpu"):
    """The function (or, with an underscore, the in-place method) on two operands, or that it is an error."""
    x, y = (value.to(device) if isinstance(value, T.Tensor) else value for value in (OPERANDS[left](T, a), OPERANDS[right](T, b)))
    return outcome(lambda: getattr(x, name)(y) if name.endswith("_") else getattr(T, name)(x, y))


def assert_same_plan(name, pair):
    """Shape and dtype are PyTorch's, or both are an error; found on the meta device, so that nothing is compiled."""
    ours, theirs = apply(ng, name, *pair, device="meta"), apply(torch, name, *pair)
    described = [T if isinstance(T, type) else (tuple(T.shape), repr(T.dtype)) for T in (ours, theirs)]
    assert described[0] == described[1] or isinstance(ours, type) and isinstance(theirs, type), pair


def test_result_types_of_all_pairs():
    for pair in operand_pairs(KINDS):
        ours, theirs = both(apply, "result_type", *pair)
        assert repr(ours) == repr(theirs), pair


@pytest.mark.parametrize("name", ["promote_types", "can_cast"])
def test_dtypes(name):
    for pair in itertools.product(KINDS, KINDS):
        ours, theirs = (getattr(T, name)(*(getattr(T, kind) for kind in pair)) for T in (ng, torch))
        assert repr(ours) == repr(theirs), pair


@pytest.mark.parametrize("name", BINARY)
def test_promotion(name):
    kinds = KINDS if name == "add" else ["bool", "uint8", "int64", "float32"]
    for pair in operand_pairs(KINDS):
        assert_same_plan(name, pair)
    for pair in share(operand_pairs(kinds), BINARY.index(name), 12):
        assert_same_outcome(*both(apply, name, *pair), pair)


INPLACE = ["add_", "mul_", "div_", "pow_"]


@pytest.mark.parametrize("name", INPLACE)
def test_promotion_in_place(name):
    pairs = [pair for pair in operand_pairs(KINDS) if pair[0] != "number"]
    for pair in pairs:
        assert_same_plan(name, pair)
    for pair in share(pairs, INPLACE.index(name), 16):
        assert_same_outcome(*both(apply, name, *pair), pair)
