"""What PyTorch refuses is refused here, with an error of the same type that has the same words in it."""

import re

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")


def shown_twice(T):
    return T.ones(1).expand(4)


def shared(T):
    x = T.ones(5)
    x.numpy()
    return x.resize_(9)


# name: the call, and what both messages match
REFUSED = {
    "convolution of two dtypes": (lambda T: T.nn.functional.conv2d(T.ones(1, 1, 3, 3), T.ones(1, 1, 2, 2, dtype=T.float64)), "(?=.*(Float|float))(?=.*(Double|double))"),
    "diff before another shape": (lambda T: T.diff(T.ones(2, 3), prepend=T.ones(3, 2)), "expects the shape of tensor to prepend or append to match"),
    "legacy constructor elsewhere": (lambda T: T.FloatTensor(2, device="cuda"), "legacy constructor expects device type: cpu"),
    "lists of several lengths": (lambda T: T.tensor([[1], [2, 3]]), "expected sequence of length"),
    "lists of several arrays": (lambda T: T.tensor([np.ones((3, 3)), np.ones((3, 0))]), "expected sequence of length"),
    "put into an expanded tensor": (lambda T: shown_twice(T).put_(T.tensor([0]), T.ones(1)), "unsupported operation"),
    "put from itself": (lambda T: (x := T.ones(3)).put_(T.tensor([0]), x[:1]), "unsupported operation"),
    "real part of a complex result": (lambda T: T.abs(T.ones(2), out=T.ones(2, dtype=T.float64)), "Found dtype Double but expected Float"),
    "resizing what NumPy sees": (shared, "resize storage that is not resizable"),
    "normal numbers of two shapes": (lambda T: T.normal(T.ones(120), T.ones(2, 3, 4, 5)), r"size of tensor a \(120\) must match"),
}  # fmt: skip


@pytest.mark.parametrize("call, words", REFUSED.values(), ids=REFUSED)
def test_refused(call, words):
    with pytest.raises(Exception, match=words) as theirs:
        call(torch)
    with pytest.raises(theirs.type) as ours:
        call(ng)
    assert re.search(words, str(ours.value))


def test_absolute_values_fit_complex_results():
    z, out = ng.tensor([3 + 4j, -1j]), ng.zeros(2, dtype=ng.complex64)
    assert ng.abs(z, out=out) is out and out.tolist() == [5, 1]


def test_ranges_warn_of_the_size_they_computed():
    for T in (ng, torch):
        out = T.zeros(1, 49)
        with pytest.warns(UserWarning, match="The out tensor will be resized"):
            T.arange(-1, 1, 2.0 / 49, out=out)
        assert out.shape == (50,)


def test_limits_are_equal_where_their_numbers_are():
    assert ng.finfo() == ng.finfo(ng.float32) != ng.finfo(ng.float64)
    assert len({ng.iinfo(ng.int8), ng.iinfo(ng.int8), ng.iinfo(ng.uint8)}) == 2


@pytest.mark.filterwarnings("ignore:__array_wrap__")
def test_comparisons_of_numpy_are_bytes():
    for T in (ng, torch):
        found = np.greater(T.tensor([1.0, 3.0]), 2)
        assert found.dtype is T.uint8 and found.tolist() == [0, 1]
