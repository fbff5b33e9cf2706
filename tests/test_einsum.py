"""Sums of products over named dimensions: against NumPy, PyTorch's extras, derivatives, refusals."""

import numpy as np
import pytest

import numgrad as ng
from numgrad.autograd import gradcheck, gradgradcheck


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


EQUATIONS = {
    "ij,jk->ik": [(2, 3), (3, 4)], "ij,kj": [(2, 3), (4, 3)], "i,j->ij": [(2,), (3,)], "ij->": [(2, 3)],
    "ij->ji": [(2, 3)], "ij->j": [(2, 3)], "ii": [(3, 3)], "ii->i": [(3, 3)], "iij->ji": [(3, 3, 2)],
    "bhqd,bhkd->bhqk": [(2, 2, 3, 4), (2, 2, 5, 4)], "ij,ij->ij": [(2, 3), (2, 3)], "i,ij,j": [(2,), (2, 3), (3,)],
    "bi,bj->b": [(2, 3), (2, 4)], "ij,jk,kl->il": [(2, 3), (3, 4), (4, 2)], "ab,bc,cd,ad->bd": [(2, 3), (3, 2), (2, 4), (2, 4)],
    "...i,i...->...": [(2, 3), (3, 2)], "a...b,b...->a...": [(2, 5, 3), (3, 5)], "...ij,...jk": [(5, 1, 2, 3), (4, 3, 2)],
    "i...->...": [(2, 3, 4)], "bij,jk,bk->bi": [(2, 3, 4), (4, 2), (2, 2)], ",ij->ij": [(), (2, 3)], "ij,jk->ik ": [(0, 3), (3, 2)],
}  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_agrees_with_numpy(equation):
    arrays = [array(*shape, seed=k) for k, shape in enumerate(EQUATIONS[equation])]
    found = ng.einsum(equation, *[ng.from_numpy(a) for a in arrays])
    np.testing.assert_allclose(found.numpy(), np.einsum(equation, *arrays), rtol=1e-10, atol=1e-12)


def test_dimensions_of_size_one_stretch():
    a, b = array(2, 1), array(3, 4)
    found = ng.einsum("ij,jk->ijk", ng.from_numpy(a), ng.from_numpy(b))
    np.testing.assert_allclose(found.numpy(), np.einsum("ij,jk->ijk", np.broadcast_to(a, (2, 3)), b))


def test_labels_as_integers_and_operands_as_a_list():
    a, b = ng.from_numpy(array(2, 3)), ng.from_numpy(array(3, 4))
    ng.testing.assert_close(ng.einsum(a, [0, 1], b, [1, 2], [0, 2]), a @ b)
    ng.testing.assert_close(ng.einsum(a, [..., 1], b, [1, 2], [..., 2]), a @ b)
    ng.testing.assert_close(ng.einsum(a, [1, 0]), a.T)
    ng.testing.assert_close(ng.einsum("ij,jk", [a, b]), a @ b)


def test_integers_stay_integers():
    a = ng.arange(6).reshape(2, 3)
    assert ng.einsum("ij,kj->ik", a, a).tolist() == [[5, 14], [14, 50]]
    assert ng.einsum("ij,kj->ik", a.int(), a.int()).dtype is ng.int32
    assert ng.tensordot(a, a, ([0, 1], [0, 1])).item() == 55


@pytest.mark.parametrize("equation", ["bij,jk,bk->bi", "...ij,...jk", "iij->ji"])
def test_derivatives(equation):
    operands = [ng.from_numpy(array(*shape, seed=k)).requires_grad_() for k, shape in enumerate(EQUATIONS[equation])]
    assert gradcheck(lambda *given: ng.einsum(equation, *given), operands)
    assert gradgradcheck(lambda *given: ng.einsum(equation, *given), operands)


@pytest.mark.parametrize("dims", [0, 1, ([1], [0]), ([-1, 0], [0, 2])])
def test_tensordot_agrees_with_numpy(dims):
    a, b = array(2, 3, 4), array(4, 5, 2)
    if dims == ([1], [0]):
        b = array(3, 2)
    found = ng.tensordot(ng.from_numpy(a), ng.from_numpy(b), dims)
    np.testing.assert_allclose(found.numpy(), np.tensordot(a, b, dims))


REFUSED = [
    (lambda a: ng.einsum("ij,jk", a, a), "subscript j has size 2 .* does not broadcast"),
    (lambda a: ng.einsum("ij", a, a), "more operands"),
    (lambda a: ng.einsum("ij,jk", a), "fewer operands"),
    (lambda a: ng.einsum("ij->k", a), "does not appear"),
    (lambda a: ng.einsum("ij->ii", a), "appears more than once"),
    (lambda a: ng.einsum("i", a), "does not match the number of dimensions"),
    (lambda a: ng.einsum("i1", a), "invalid subscript"),
    (lambda a: ng.einsum("ii", a), "sizes don't match"),
    (lambda a: ng.tensordot(a, a, 1), "contracted dimensions need to match"),
    (lambda a: ng.tensordot(a, a, ([0, 1], [0])), "same length"),
]


@pytest.mark.parametrize("call, message", REFUSED)
def test_refusals(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(ng.ones(2, 3))
