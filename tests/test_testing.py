"""`testing.assert_close`: what is compared with what, under which tolerances, and what the message says."""

import re

import numpy as np
import pytest

import numgrad as ng
from numgrad.testing import assert_close, make_tensor

SAME = [
    (ng.ones(2), ng.ones(2)), (np.ones(2), np.ones(2)), (1, 1), (1.0, 1.0 + 1e-8), (1j, 1j), (True, True), (None, None),
    (np.bool_(True), True), (True, np.bool_(True)), ([1, (ng.ones(()), None)], [1, (ng.ones(()), None)]),
    ({"a": 1.0, "b": [True]}, {"b": [True], "a": 1.0}), (ng.ones(2).half(), ng.full((2,), 1.0005).half()),
    (ng.nn.Parameter(ng.ones(2)), ng.ones(2)), ([], ()), (ng.ones(0), ng.ones(0)),
]  # fmt: skip
DIFFERENT = [
    (ng.ones(2), ng.ones(3), {}, "attribute 'shape' do not match: torch.Size([2]) != torch.Size([3])."),
    (ng.ones(2), ng.ones(2).double(), {}, "attribute 'dtype' do not match: torch.float32 != torch.float64."),
    (ng.ones(2, 2), ng.ones(2, 2).t(), {"check_stride": True}, "attribute 'stride()' do not match: (2, 1) != (1, 2)."),
    (ng.tensor([1, 2, 3, 8]), ng.tensor([1, 2, 4, 4]), {},
     "Tensor-likes are not equal!\n\nMismatched elements: 2 / 4 (50.0%)\nGreatest absolute difference: 4 at index (3,)\n"
     "Greatest relative difference: 1.0 at index (3,)"),
    (ng.tensor([[0.0, 1.0]]), ng.tensor([[0.5, 1.0]]), {},
     "Greatest absolute difference: 0.5 at index (0, 0) (up to 1e-05 allowed)\nGreatest relative difference: 1.0 at index "
     "(0, 0) (up to 1.3e-06 allowed)"),
    (3, 5, {}, "Scalars are not equal!\n\nExpected 5 but got 3.\nAbsolute difference: 2\nRelative difference: 0.4"),
    (2**62 + 1, 2**62, {}, "Expected 4611686018427387904 but got 4611686018427387905.\nAbsolute difference: 1\n"),
    (ng.tensor(2.0), ng.tensor(1.0), {"rtol": 0.1, "atol": 0.2}, "Absolute difference: 1.0 (up to 0.2 allowed)"),
    (1, 1.0, {}, "The (d)types do not match: <class 'int'> != <class 'float'>."),
    (True, False, {}, "Booleans mismatch: True is not False"),
    (None, 1, {}, "None mismatch: None is not 1"),
    (float("nan"), float("nan"), {}, "Scalars are not close!"),
    ([1], [1, 2], {}, "The length of the sequences mismatch: 1 != 2"),
    ({"a": 1}, {"b": 1}, {}, "Missing keys in the actual mapping: ['b']\nAdditional keys in the actual mapping: ['a']"),
    ([{"a": (1, 2)}], [{"a": (1, 3)}], {}, "The failure occurred for item [0]['a'][1]"),
    (1, 2, {"msg": "own"}, "own"), ([1], [2], {"msg": lambda text: text.upper()}, "FAILURE OCCURRED FOR ITEM [0]"),
]  # fmt: skip


@pytest.mark.parametrize("actual, expected", SAME, ids=repr)
def test_equal_values_pass(actual, expected):
    assert_close(actual, expected)


@pytest.mark.parametrize("actual, expected, options, text", DIFFERENT, ids=lambda value: re.sub(" at 0x.*", "", repr(value))[:40])
def test_others_are_named(actual, expected, options, text):
    with pytest.raises(AssertionError, match=re.escape(text)):
        assert_close(actual, expected, **options)


def test_structure_comes_before_values_and_options_let_things_pass():
    with pytest.raises(AssertionError, match="length"):
        assert_close([1, [2]], [3, []])
    assert_close(ng.ones(2), ng.ones(2).double(), check_dtype=False)
    assert_close(float("nan"), float("nan"), equal_nan=True)
    assert_close(ng.tensor([1.0, float("inf")]), ng.tensor([1.05, float("inf")]), rtol=0.1, atol=0)


def test_what_cannot_be_compared_is_refused():
    for actual, expected in (("a", "a"), (ng.ones(1), np.ones(1)), (ng.ones(1), [1.0]), (object(), object())):
        with pytest.raises(TypeError, match="No comparison pair was able to handle inputs of type"):
            assert_close(actual, expected)
    with pytest.raises(TypeError, match="No comparison pair"):
        assert_close(ng.nn.Parameter(ng.ones(1)), ng.ones(1), allow_subclasses=False)
    with pytest.raises(ValueError, match="Both 'rtol' and 'atol' must be either"):
        assert_close(1.0, 1.0, rtol=0.1)
    with pytest.raises(NotImplementedError, match="meta tensors"):
        assert_close(ng.ones(1, device="meta"), ng.ones(1, device="meta"))


def test_one_value_alone_is_made_with_a_warning():
    with pytest.warns(FutureWarning, match="low==high"):
        assert_close(make_tensor(3, dtype=ng.float32, device="cpu", low=2, high=2), ng.full((3,), 2.0))
