"""Complex tensors: numbers, gradients, views and messages as PyTorch's."""

import copy
import io
import warnings

import numpy as np
import pytest

import numgrad as ng
from numgrad.errors import DTypeError
from numgrad.testing import gradcheck, gradgradcheck

rng = np.random.default_rng(5)
A, B = (rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4)) for _ in range(2))
R = rng.normal(size=(3, 4))

# name -> (function of the library and tensors, operands)
CASES = {
    "sums": (lambda m, x, y: x + 2 * y - (1 - x), (A, B)),
    "products": (lambda m, x, y: x * y * 2j, (A, B)),
    "real_operand": (lambda m, x, y: x * y + y / x, (A, R)),
    "quotients": (lambda m, x, y: x / y + 2 / x, (A, B)),
    "small_powers": (lambda m, x: x**2 + x**-1 + x**3, (A,)),
    "powers": (lambda m, x, y: x**y + x**1.5 + 2**x, (A, B)),
    "exp_log": (lambda m, x: x.exp() + x.log() + x.sqrt() + x.rsqrt(), (A,)),
    "bases": (lambda m, x: x.exp2() + x.expm1() + x.log2() + x.log10() + x.log1p(), (A,)),
    "angles": (lambda m, x: x.sin() + x.cos() + x.tan() + x.asin() + x.acos() + x.atan(), (A,)),
    "hyperbolic": (lambda m, x: x.sinh() + x.cosh() + x.tanh() + x.asinh() + x.acosh() + x.atanh(), (A,)),
    "sigmoid": (lambda m, x: x.sigmoid(), (A,)),
    "addcmul": (lambda m, x, y: m.addcmul(x, x, y, value=2) + m.addcdiv(x, x, y) + m.lerp(x, y, 0.3), (A, B)),
    "abs_angle": (lambda m, x: x.abs() * x.angle(), (A,)),
    "sgn_conj": (lambda m, x: x.sgn() * x.conj(), (A,)),
    "parts": (lambda m, x: x.real * x.imag, (A,)),
    "made": (lambda m, x, y: m.complex(x, y) * m.polar(x * x, y), (R, R + 1)),
    "reductions": (lambda m, x: x.sum(0) + x.mean(0) * x.prod(0), (A,)),
    "spread": (lambda m, x: x.var(0) + x.std(0), (A,)),
    "norm": (lambda m, x: m.linalg.norm(x) + x.norm(), (A,)),
    "running": (lambda m, x: x.cumsum(0) * x.cumprod(1), (A,)),
    "matmul": (lambda m, x, y: x @ y.mH, (A, B)),
    "bmm": (lambda m, x, y: m.bmm(x[None], y.T[None]), (A, B)),
    "einsum": (lambda m, x, y: m.einsum("ij,kj->ik", x, y), (A, B)),
    "linear": (lambda m, x, y: m.nn.functional.linear(x, y), (A, B)),
    "dots": (lambda m, x, y: m.vdot(x[0], y[0]) + m.dot(x[1], y[1]) + m.outer(x[0], y[0]).sum(), (A, B)),
    "joins": (lambda m, x, y: m.cat([x, y]) * m.stack([x, y], 0).flatten(0, 1), (A, B)),
    "indexing": (lambda m, x: x[1:, ::2].sum() + x[[0, 2, 0]].sum() + x[m.tensor(R) > 0].sum(), (A,)),
    "places": (lambda m, x: x.gather(1, m.tensor([[0, 1]] * 3)) + x.index_select(1, m.tensor([3, 0])), (A,)),
    "moves": (lambda m, x: x.flip(0) + x.roll(1, 1) + x.tril() + m.where(m.tensor(R) > 0, x, 2 * x), (A,)),
    "masked": (lambda m, x: x.masked_fill(m.tensor(R) > 0, 2j), (A,)),
    "casts": (lambda m, x, y: x * y.to(m.complex128), (A, R)),
    "view_written": (lambda m, x: _written_through_parts(m, x), (A,)),
    "pairs_written": (lambda m, x: _written_as_complex(m, x), (R,)),
}  # fmt: skip


def _written_through_parts(m, x):
    z = x * 1
    z.real.mul_(2)
    m.view_as_real(z)[..., 1].mul_(3)
    z[0] = 0
    return z * z


def _written_as_complex(m, x):
    pairs = m.stack([x, 2 * x], -1)
    m.view_as_complex(pairs).mul_(2 + 1j)
    return pairs * pairs


def _numbers(tensor):
    return tensor.detach().resolve_conj().numpy()


@pytest.mark.parametrize("name", CASES)
def test_like_pytorch(name):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    f, arrays = CASES[name]
    found = {}
    for m in (ng, torch):
        operands = [m.tensor(a).requires_grad_() for a in arrays]
        out = f(m, *operands)
        weight = np.cos(np.arange(out.numel())).reshape(tuple(out.shape))
        out.backward(m.tensor(weight * (1 + 0.5j) if out.is_complex() else weight))
        found[m] = [out.dtype.is_complex, _numbers(out), *[_numbers(x.grad) for x in operands]]
    for ours, theirs in zip(found[ng], found[torch]):
        np.testing.assert_allclose(ours, theirs, 1e-9, 1e-9)


@pytest.mark.parametrize("name", ["real_operand", "quotients", "powers", "exp_log", "sgn_conj", "abs_angle", "matmul"])
def test_second_derivatives(name):
    f, arrays = CASES[name]
    operands = [ng.tensor(a[:2, :2].copy()).requires_grad_() for a in arrays]
    assert gradcheck(lambda *x: f(ng, *x), operands)
    assert gradgradcheck(lambda *x: f(ng, *x), operands)


def test_gradcheck_sees_a_missing_conjugate():
    class Wrong(ng.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

    x = ng.tensor(A[0]).requires_grad_()
    assert gradcheck(lambda x: x * x, x)
    assert not gradcheck(Wrong.apply, x, raise_exception=False)
    with pytest.raises(AssertionError, match="not close"):
        ng.testing.assert_close(x, x + 1e-3j)


def test_dtypes():
    assert ng.tensor([1 + 2j]).dtype is ng.complex64 is ng.cfloat
    assert ng.tensor(np.ones(2) * 1j).dtype is ng.complex128 is ng.cdouble
    x = ng.tensor([1 + 2j, 3], dtype=ng.complex128)
    assert (x.abs().dtype, x.real.dtype, (x == x).dtype) == (ng.float64, ng.float64, ng.bool)
    assert ng.promote_types(ng.complex64, ng.float64) is ng.complex128
    assert (ng.ones(2, dtype=ng.float64) * 1j).dtype is ng.complex128
    assert (ng.ones(2, dtype=ng.int32) * 1j).dtype is ng.complex64
    assert (ng.ones(2) * ng.tensor(1j, dtype=ng.complex128)).dtype is ng.complex64
    assert x[0].item() == 1 + 2j
    assert x.tolist() == [1 + 2j, 3] and complex(x[0]) == 1 + 2j
    assert ng.full((2,), 1j).tolist() == [1j, 1j] and ng.full_like(x, 2j).tolist() == [2j, 2j]
    assert (ng.complex64.to_real(), ng.float64.to_complex()) == (ng.float32, ng.complex128)
    assert ng.finfo(ng.complex64).eps == ng.finfo(ng.float32).eps


def test_memory_is_shared():
    array = np.array([[1 + 2j, 3], [4j, 5]])
    x = ng.from_numpy(array)
    x.real[0, 0] = 7
    assert array[0, 0] == 7 + 2j
    assert ng.view_as_real(x.T).tolist()[1] == [[3, 0], [5, 0]]
    x.imag = 0
    assert np.isreal(array).all() and ng.isreal(x).all()
    pairs = ng.zeros(3, 2)
    ng.view_as_complex(pairs)[1] = 1 + 2j
    assert pairs.tolist() == [[0, 0], [1, 2], [0, 0]]
    twin_x, twin_parts = copy.deepcopy([x, x.real])
    twin_parts[0, 0] = 9
    assert twin_x[0, 0].item() == 9


def test_special_values():
    inf, nan = float("inf"), float("nan")
    x = ng.tensor([complex(nan, 0), complex(1, inf), 0j, 1 + 1j])
    assert ng.isnan(x).tolist() == [True, False, False, False]
    assert ng.isinf(x).tolist() == [False, True, False, False]
    assert ng.isfinite(x).tolist() == [False, False, True, True]
    quotient = (x[2:] / 0).tolist()
    assert np.isnan(quotient[0].real) and np.isinf(quotient[1].real)
    assert ng.allclose(x, x, equal_nan=True) and not ng.allclose(x[3:], x[3:] + 1e-3)
    zero = ng.zeros(1, dtype=ng.complex64, requires_grad=True)
    (zero.abs() + zero.sgn().real + zero.angle()).sum().backward()
    assert zero.grad.tolist() == [0]


def test_printing_and_random_numbers_are_pytorchs():
    torch = pytest.importorskip("torch")
    for make in (
        lambda m: m.tensor([1 + 2j, 3.5 - 1j]),
        lambda m: m.tensor([[1e-5 + 2j, -3.5], [complex("nan"), 1j]]),
        lambda m: m.zeros(2, dtype=m.complex128),
        lambda m: m.tensor([1 + 2j], requires_grad=True),
        lambda m: m.empty(0, dtype=m.complex64),
        lambda m: m.ones(2, 600) * 1j,
    ):
        assert str(make(ng)) == str(make(torch))
    for size in (5, 20):
        found = []
        for m in (ng, torch):
            m.manual_seed(3)
            found.append([m.randn(size, dtype=m.complex64).numpy(), m.rand(size, dtype=m.complex128).numpy()])
        for ours, theirs in zip(*found):
            np.testing.assert_allclose(ours, theirs, 1e-6)


def test_files():
    x = ng.tensor([[1 + 2j, 3], [4j, 5]])
    file = io.BytesIO()
    ng.save({"x": x, "wide": x.to(ng.complex128), "parts": x.real.clone()}, file)
    file.seek(0)
    found = ng.load(file)
    assert found["x"].tolist() == x.tolist() and found["wide"].dtype is ng.complex128
    assert found["parts"].tolist() == x.real.tolist()


def test_casts_to_real_warn():
    x = ng.tensor([1 + 2j])
    for cast in (lambda: x.to(ng.float32), lambda: x.float(), lambda: ng.zeros(1).copy_(x)):
        with pytest.warns(UserWarning, match="discards the imaginary part"):
            assert cast().tolist() == [1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert x.bool().tolist() == [True] and x.cdouble().dtype is ng.complex128


def test_optimizers_move_both_parts():
    torch = pytest.importorskip("torch")
    found = []
    for m in (ng, torch):
        p = m.nn.Parameter(m.tensor(A))
        for optimizer in (m.optim.SGD([p], 0.1, momentum=0.9), m.optim.Adam([p], 0.1)):
            for _ in range(2):
                optimizer.zero_grad()
                (p * p).abs().sum().backward()
                optimizer.step()
        found.append(_numbers(p))
    np.testing.assert_allclose(*found, 1e-9)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: x < x, DTypeError, '"lt" is not supported for complex'),
        (lambda x: x.relu(), DTypeError, '"relu" is not supported for complex'),
        (lambda x: x.max(), DTypeError, '"max" is not supported for complex'),
        (lambda x: x.softmax(0), RuntimeError, ".softmax. not implemented for torch.complex64"),
        (lambda x: x.nansum(dtype=ng.float32), RuntimeError, "does not support complex inputs"),
        (lambda x: x.mean(dtype=ng.int64), RuntimeError, "could not infer output dtype"),
        (lambda x: x.norm(dtype=ng.float32), RuntimeError, "dtype should be complex for complex inputs"),
        (lambda x: x.sort(), DTypeError, '"sort" is not supported for complex'),
        (lambda x: ng.nn.functional.max_pool1d(x[None], 2), DTypeError, "is not supported for complex"),
        (lambda x: ng.ones(2).imag, RuntimeError, "imag is not implemented for tensors with non-complex dtypes"),
        (lambda x: ng.view_as_real(ng.ones(2)), RuntimeError, "only supported for complex tensors"),
        (lambda x: ng.view_as_complex(ng.ones(3)), RuntimeError, "last dimension of size 2"),
        (lambda x: ng.complex(ng.ones(1), ng.ones(1).double()), RuntimeError, "Expected object of scalar type Float but got scalar type Double"),
        (lambda x: ng.ones(2).fill_(1j), RuntimeError, "without overflow"),
        (lambda x: ng.ones(2).mul_(1j), RuntimeError, "can't be cast to the desired output type"),
        (lambda x: ng.tensor(1j, dtype=ng.float32), RuntimeError, "without overflow"),
        (lambda x: (x * x.requires_grad_()).sum().backward(), RuntimeError, "only for real scalar outputs"),
    ],
)
def test_messages(call, error, words):
    with pytest.raises(error, match=words):
        call(ng.tensor([1 + 2j, 3, 5]))


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_nan_is_found():
    x = ng.tensor([1 + 1j]).requires_grad_()
    with pytest.warns(UserWarning, match="Error detected in .*Backward0"), ng.autograd.detect_anomaly():
        y = (x * float("nan")).abs().sum()
        with pytest.raises(RuntimeError, match="Function '.*Backward0' returned nan"):
            y.backward()


torch = pytest.importorskip("torch")

NAMED = {
    "sum": lambda T, x: x.sum(1, dtype=T.float64), "mean": lambda T, x: x.mean(dtype=T.float64),
    "prod": lambda T, x: x.prod(0, dtype=T.float64), "cumsum": lambda T, x: x.cumsum(0, dtype=T.float64),
    "softmax": lambda T, x: x.softmax(0, dtype=T.float64), "log_softmax": lambda T, x: T.nn.functional.log_softmax(x, 1, dtype=T.float64),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("fn", NAMED.values(), ids=NAMED)
def test_a_real_dtype_that_is_named_takes_the_real_part(fn):
    def found(T):
        x = T.tensor([[1 + 2j, 3.0], [2.0, -1j]], requires_grad=True)
        out = fn(T, x)
        out.sum().backward()
        return out.tolist(), x.grad.tolist()

    for ours, theirs in zip(found(ng), found(torch)):
        np.testing.assert_allclose(ours, theirs, 1e-12, 1e-12)
    with pytest.warns(UserWarning, match="discards the imaginary part"):
        fn(ng, ng.ones(2, 2, dtype=ng.complex64))


def test_negated_views_are_computed_at_once():
    x = ng.tensor([1.0, -2.0], requires_grad=True)
    y = ng._neg_view(x)
    assert y.tolist() == [-1, 2] and not y.is_neg()
    y.sum().backward()
    assert x.grad.tolist() == [-1, -1]
