"""segment_reduce: runs of elements folded along a dimension, by lengths or offsets, with their gradients."""

import itertools

import numpy as np
import pytest

import numgrad as ng
from numgrad.autograd.gradcheck import gradcheck

FOLDS = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min}
CASES = [((6,), 0, [1, 2, 3, 0]), ((6, 2), 0, [1, 2, 3, 0]), ((2, 5, 2), 1, [[1, 4, 0], [2, 0, 3]])]


def values(shape):
    return np.random.default_rng(0).permutation(np.arange(1.0, np.prod(shape) + 1)).reshape(shape)


def offsets_of(lengths):
    sums = np.cumsum(lengths, -1)
    return np.concatenate([np.zeros_like(sums[..., :1]), sums], -1)


def expected(x, reduce, axis, lengths, initial):
    """One run at a time, by NumPy."""
    out = np.empty((*x.shape[:axis], np.shape(lengths)[-1], *x.shape[axis + 1 :]))
    for row in itertools.product(*map(range, x.shape[:axis])):
        at = 0
        for k, n in enumerate(np.asarray(lengths)[row]):
            run = x[row][at : at + n]
            at += n
            if initial is not None and not (reduce == "mean" and n):
                run = np.concatenate([np.full((1, *run.shape[1:]), float(initial)), run])
            if len(run):
                out[(*row, k)] = FOLDS[reduce](run, 0)
            else:
                out[(*row, k)] = {"sum": 0, "prod": 1, "mean": np.nan, "max": -np.inf, "min": np.inf}[reduce]
            if reduce == "mean" and n and initial is not None:
                out[(*row, k)] += initial / n
    return out


@pytest.mark.parametrize("initial", [None, 2])
@pytest.mark.parametrize("reduce", FOLDS)
@pytest.mark.parametrize("shape, axis, lengths", CASES)
def test_folds(shape, axis, lengths, reduce, initial):
    x = values(shape)
    wanted = expected(x, reduce, axis, lengths, initial)
    t = ng.tensor(x)
    by_lengths = ng.segment_reduce(t, reduce, lengths=ng.tensor(lengths, dtype=ng.int32), axis=axis, initial=initial)
    by_offsets = ng.segment_reduce(t, reduce, offsets=ng.tensor(offsets_of(lengths)), axis=axis, initial=initial)
    np.testing.assert_allclose(by_lengths.numpy(), wanted, rtol=1e-12)
    np.testing.assert_allclose(by_offsets.numpy(), wanted, rtol=1e-12)


@pytest.mark.parametrize("reduce", FOLDS)
def test_gradients(reduce):
    t = ng.tensor(values((6, 2)), requires_grad=True)
    assert gradcheck(lambda x: ng.segment_reduce(x, reduce, lengths=ng.tensor([1, 2, 3, 0]), initial=0.5), (t,))


def test_elements_that_are_the_extreme_share_its_gradient():
    nan = float("nan")
    x = ng.tensor([1.0, nan, 3.0, 5.0, 5.0, 4.0], requires_grad=True)
    ng.segment_reduce(x, "max", lengths=ng.tensor([1, 2, 3]), initial=1).sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 0.5, 0.5, 0]  # an element that equals the initial value is the extreme
    x.grad = None
    ng.segment_reduce(x, "prod", lengths=ng.tensor([1, 2, 3])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 3, nan, 20, 20, 25])


def test_sixteen_bits_are_added_in_more():
    x = ng.ones(4096, dtype=ng.float16)
    assert ng.segment_reduce(x, "sum", lengths=ng.tensor([4096])).item() == 4096


@pytest.mark.parametrize(
    "named, message",
    [
        ({}, "Either lengths or offsets"),
        ({"indices": ng.tensor([0, 0, 1])}, "indices based reduction"),
        ({"lengths": ng.tensor([1, -1, 3])}, "negative"),
        ({"lengths": ng.tensor([1, 1])}, "sum to"),
        ({"lengths": ng.tensor([4]), "unsafe": True}, "sum to"),
        ({"offsets": ng.tensor([0, 9])}, "offsets must rise"),
        ({"offsets": ng.tensor([2, 1])}, "offsets must rise"),
        ({"lengths": ng.tensor(3)}, "last dimension of lengths"),
        ({"reduce": "median", "lengths": ng.tensor([3])}, "reduce argument must be"),
    ],
)
def test_what_is_no_run_of_the_dimension_is_refused(named, message):
    with pytest.raises(RuntimeError, match=message):
        ng.segment_reduce(ng.ones(3), named.pop("reduce", "sum"), **named)
