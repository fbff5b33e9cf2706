"""An op that a user writes in a file of his own: one block, and everything follows."""

import numpy as np
import pytest

import numgrad as ng
from numgrad.autograd import gradcheck, gradgradcheck
from numgrad.kernels.vocab import exp, lanes, row_sum


@ng.pointwise(reference=lambda x: x / (1 + np.exp(-1.7 * x)))
def quick_swish(x, *, beta=1.7):
    """``x * sigmoid(beta * x)``."""
    return x / (1.0 + exp(-beta * x))


@quick_swish.backward
def _(g, x, beta):
    s = 1.0 / (1.0 + exp(-beta * x))
    return g * (s + beta * x * s * (1.0 - s))


@ng.rowwise("x(r,n) -> y(r,n), total(r,1)")
def share(x, y, total, *, n):
    """Every element divided by the sum of its row."""
    s = 0.0
    for j in lanes(n):
        s += x[j]
    s = row_sum(s)
    for j in lanes(n):
        y[j] = x[j] / s
    total[0] = s


@share.backward
def _(g, y, total, dx, *, n):
    s = 0.0
    for j in lanes(n):
        s += g[j] * y[j]
    s = row_sum(s)
    for j in lanes(n):
        dx[j] = (g[j] - s) / total[0]


@share.backward_as_ops
def _(g, y, total):
    return (g - (g * y).sum(-1, True)) / total.detach().unsqueeze(-1)


def values(*shape):
    return ng.from_numpy(np.random.default_rng(0).uniform(0.5, 2.0, shape)).requires_grad_()


def test_forward_methods_and_attributes():
    x = values(3, 4)
    expected = x.detach().numpy() / (1 + np.exp(-0.5 * x.detach().numpy()))
    np.testing.assert_allclose(quick_swish(x, 0.5).detach().numpy(), expected)
    np.testing.assert_allclose(quick_swish(x.t(), beta=0.5).detach().numpy(), expected.T)


def test_gradient_and_double_gradient():
    assert gradcheck(quick_swish, (values(3, 4),))
    assert gradgradcheck(quick_swish, (values(3, 4),))
    assert gradcheck(share, (values(3, 5),))


def test_row_op_rows():
    x = values(2, 3, 5)
    np.testing.assert_allclose(share(x).detach().numpy().sum(-1), 1.0)


def test_unknown_saved_name_is_refused():
    with pytest.raises(TypeError, match="asks for"):

        @ng.pointwise
        def wrong(x):
            return x

        @wrong.backward
        def _(g, z):
            return g


def test_redefinition_replaces_the_kernel():
    @ng.pointwise
    def redefined(x):
        return x + 1.0

    first = redefined(ng.ones(3))

    @ng.pointwise
    def redefined(x):
        return x + 2.0

    second = redefined(ng.ones(3))
    assert first.tolist() == [2.0] * 3 and second.tolist() == [3.0] * 3
