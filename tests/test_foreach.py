"""The ``_foreach_`` functions: one function applied to each tensor of a list."""

import pytest

import numgrad as ng
from numgrad.ops.foreach import FOREACH

from agreement import assert_agree, torch  # isort: skip

THREE = ("addcmul", "addcdiv", "lerp")
TWO = ("add", "sub", "mul", "div", "maximum", "minimum", "clamp_max", "clamp_min", "pow")


def lists(T):
    return [T.tensor([0.25, 0.5]), T.tensor([[0.75], [0.125]])], [T.tensor([2.0, 0.5]), T.tensor([[1.0], [3.0]])]


def named(name):
    return name.removeprefix("_foreach_").rstrip("_")


@pytest.mark.parametrize("name", FOREACH)
def test_each_tensor(name):
    """Every form that a function has: alone, with a list, a number, numbers, a 0-d tensor."""
    forms = [lambda f, x, y, T: f(x)]
    if named(name) in TWO:
        forms = [
            lambda f, x, y, T: f(x, y), lambda f, x, y, T: f(x, 2), lambda f, x, y, T: f(x, [2, 0.5]),
            lambda f, x, y, T: f(x, T.tensor(2.0)),
        ]  # fmt: skip
        if named(name) in ("maximum", "minimum", "clamp_max", "clamp_min", "pow"):  # PyTorch: lists and numbers only
            forms.pop()
    elif named(name) == "lerp":
        forms = [lambda f, x, y, T: f(x, y, 0.5), lambda f, x, y, T: f(x, y, [0.5, 0.25]), lambda f, x, y, T: f(x, y, y)]
    elif named(name) in THREE:
        forms = [
            lambda f, x, y, T: f(x, y, y), lambda f, x, y, T: f(x, y, y, 2), lambda f, x, y, T: f(x, y, y, [2, 0.5]),
            lambda f, x, y, T: f(x, y, y, T.tensor([2.0, 0.5])),
        ]  # fmt: skip
    elif named(name) == "copy":
        forms = [lambda f, x, y, T: f(x, y)]
    for form in forms:

        def call(T, form=form):
            x, y = lists(T)
            found = form(getattr(T, name), x, y, T)
            if name.endswith("_"):
                assert found is x
            return tuple(found)

        assert_agree(call)


def test_what_is_no_list_of_tensors():
    for call in (
        lambda T: T._foreach_add([], 1), lambda T: T._foreach_abs([]), lambda T: T._foreach_add([1], 1),
        lambda T: T._foreach_add(T.ones(2), 1), lambda T: T._foreach_add([T.ones(2)], []),
        lambda T: T._foreach_add([T.ones(2)], [T.ones(2), T.ones(2)]), lambda T: T._foreach_add([T.ones(2)], T.ones(2)),
        lambda T: T._foreach_addcmul([T.ones(2)], [T.ones(2)], [T.ones(2)], T.ones(2)),
        lambda T: T._foreach_max([T.ones(0)]), lambda T: T._foreach_sub([T.ones(2)], 1, alpha=2),
    ):  # fmt: skip
        assert_agree(call)


def test_gradients_reach_the_lists():
    x = [ng.ones(2, requires_grad=True), ng.ones(1, requires_grad=True)]
    sum(part.sum() for part in ng._foreach_mul(x, [2.0, 3.0])).backward()
    assert [part.grad.tolist() for part in x] == [[2, 2], [3]]
    assert set(FOREACH) <= set(dir(torch))
