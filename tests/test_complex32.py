"""complex32: stored as two float16 numbers, computed in complex64."""

import pytest

import numgrad as ng

from agreement import assert_same, outcome, torch  # isort: skip

HALVES = [1 + 2j, -0.5 + 3j, 0, 1000 - 1e-3j, 70000 + 1j, complex("nan")]
OF_HALVES = {
    "text": lambda T, x: str(x),
    "numbers": lambda T, x: x[:4].tolist(),
    "wider": lambda T, x: x[:5].to(T.complex64),
    "parts": lambda T, x: (x[:5].real, x[:5].imag, T.view_as_real(x[:5])),
    "from reals": lambda T, x: T.tensor([1, 2]).to(T.complex32).to(T.complex64),
    "sums": lambda T, x: (x[:3] + 1).to(T.complex64),
    "of float16": lambda T, x: str((T.ones(2, dtype=T.float16) + 1j).dtype) + str((x + T.ones(6, dtype=T.float16)).dtype),
    "of float32": lambda T, x: x[:3] + T.ones(3),
    "products": lambda T, x: (x[:3] * x[:3]).to(T.complex64),
    "sizes": lambda T, x: x[:3].abs(),
    "comparisons": lambda T, x: (x == x, x.isnan(), x.isfinite()),
    "layout": lambda T, x: x[:4].reshape(2, 2).t().contiguous().to(T.complex64),
    "joined": lambda T, x: T.cat([x[:2], x[1:3]]).to(T.complex64),
    "picked": lambda T, x: x.index_select(0, T.tensor([1, 0])).to(T.complex64),
    "filled": lambda T, x: T.zeros(2, dtype=T.complex32).fill_(1 + 1j).to(T.complex64),
    "copied": lambda T, x: T.empty(3, dtype=T.complex32).copy_(x[:3]).to(T.complex64),
    "of parts": lambda T, x: T.complex(T.ones(2, dtype=T.float16), T.zeros(2, dtype=T.float16)).to(T.complex64),
    "ndarray": lambda T, x: x.numpy(),
    "names": lambda T, x: (x.type(), T.finfo(T.complex32).dtype, str(T.float16.to_complex()), str(T.complex32.to_real())),
}


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
@pytest.mark.parametrize("call", OF_HALVES.values(), ids=OF_HALVES)
def test_complex_numbers_of_halves(call):
    ours, theirs = (outcome(lambda T: call(T, T.tensor(HALVES, dtype=T.complex32)), T) for T in (ng, torch))
    if isinstance(theirs, tuple):
        assert len(ours) == len(theirs)
    else:
        ours, theirs = (ours,), (theirs,)
    for one, other in zip(ours, theirs):
        if isinstance(other, torch.Tensor):
            assert_same(one, other)
        else:
            assert one == other


def test_parts_of_complex32_are_views():
    x = ng.zeros(2, dtype=ng.complex32)
    x.real.fill_(2)
    ng.view_as_real(x)[1, 1] = 3
    assert x.tolist() == [2, 2 + 3j]


def test_gradients_of_complex32():
    x = ng.tensor([3 + 4j, 1], dtype=ng.complex32, requires_grad=True)
    (x.abs() ** 2).sum().backward()
    assert x.grad.dtype is ng.complex32 and x.grad.tolist() == [6 + 8j, 2]
