"""First and second derivatives and forward derivatives where functions have kinks or equal elements, against PyTorch's.

PyTorch's NaN is not asked for where a number is possible; its numbers are.
"""

from math import inf
from typing import Any

import numpy as np
import pytest

import numgrad as ng
import numgrad.func
import numgrad.linalg
import numgrad.special

torch = pytest.importorskip("torch")
from agreement import table  # noqa: E402
from test_torch_parity import array, both  # noqa: E402

ROWS = np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.0], [0.5, 0.5, -0.5], [3.0, 3.0, 1.0]])
TIES = np.array([[1.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-1.0, 3.0, 3.0, -1.0]])
KINKS = np.array([-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0])
LEFT, RIGHT = np.array([0.0, 0.0, 0.0, 1.0, -1.0, 2.0]), np.array([0.0, 1.0, -1.0, 2.0, 0.0, 2.0])
ORDERS = (0.5, 1, 1.5, 2, 2.5, 3, inf, -inf, -1)

CALLS = {
    **{f"norm_{p}": (lambda T, x, p=p: (T.linalg.vector_norm(x, p, 1), x.norm(p, 0, True), T.linalg.vector_norm(x, p)), ROWS)
       for p in ORDERS},
    **{f"norm_of_zeros_{p}": (lambda T, x, p=p: (T.linalg.vector_norm(x, p, 1), T.linalg.norm(x[0], p)), ROWS[:1] * np.ones((2, 1)))
       for p in ORDERS},
    "norm_of_complex": (lambda T, x, y: T.linalg.vector_norm(T.complex(x, y), 2, 1), np.zeros((2, 2)), np.array([[0.0, 0], [1, 0]])),
    "std": (lambda T, x: (T.std(x, 1), T.std(x, correction=0)), TIES),
    "median": (lambda T, x: (T.median(x), T.nanmedian(x)), TIES),
    "lp_pool": (lambda T, x: T.nn.functional.lp_pool1d(x[None], 2.0, 2), TIES),
    "pow": (lambda T, x: (x**0, x**0.0, x**-2, x**1.5, 0.0**x), np.array([0.0, 1.0, 2.0])),
    "powers": (lambda T, x, y: x**y, np.array([0.0, 0.0, 2.0, -1.0]), np.array([0.0, 2.0, 0.0, 2.0])),
    "pairs": (lambda T, x, y: (T.atan2(x, y), T.fmod(x, y), T.copysign(x, y)), LEFT, RIGHT),
    "logaddexp": (lambda T, x, y: (T.logaddexp(x, y), T.logaddexp2(x, y)), np.array([inf, 0.0, 1.0]), np.array([-inf, inf, 1.0])),
    "logcumsumexp": (lambda T, x: T.logcumsumexp(x, 0), np.array([-inf, -inf, 0.0, 1.0, 1.0])),
    "logit": (lambda T, x: T.logit(x, 0.2), np.array([0.0, 0.2, 0.5, 1.0])),
    "bessel": (lambda T, x: (T.special.i1(x), T.special.i1e(x)), KINKS),
    **{name: (lambda T, x, name=name: getattr(T.nn.functional, name)(x), KINKS)
       for name in ("elu", "selu", "celu", "mish", "softsign", "hardswish", "relu6", "softshrink")},
    "softplus": (lambda T, x: T.nn.functional.softplus(x, 10.0, 5.0), KINKS),
    "prelu": (lambda T, x, w: T.nn.functional.prelu(x, w), KINKS[None], np.array([0.25])),
    "huber": (lambda T, x, y: T.nn.functional.huber_loss(x, y, reduction="none"), KINKS, np.zeros(9)),
    "kl_div": (lambda T, x, y: T.nn.functional.kl_div(x, y, reduction="none"), np.array([0.0, -1.0]), np.array([0.0, 0.5])),
    "singular": (lambda T, x: (T.linalg.svdvals(x)), np.diag([0.0, 2.0, 3.0])),
}  # fmt: skip


def derived(T, fn, arrays, forward):
    """The first and second derivatives of ``fn`` at ``arrays``, the second also by what weights the results; with
    ``forward`` the forward derivative as well."""
    rng = np.random.default_rng(3)

    def results(*leaves):
        found = fn(T, *leaves)
        return found if isinstance(found, tuple) else (found,)

    leaves = [T.from_numpy(a.copy()).requires_grad_() for a in arrays]
    outs = results(*leaves)
    weights = [T.from_numpy(np.asarray(rng.uniform(0.5, 1.5, tuple(y.shape)))).requires_grad_() for y in outs]
    first = T.autograd.grad(outs, leaves, weights, create_graph=True)
    directions = [T.from_numpy(rng.uniform(0.5, 1.5, tuple(g.shape))) for g in first]
    second = T.autograd.grad(first, [*leaves, *weights], directions, allow_unused=True, materialize_grads=True)
    tangents = T.func.jvp(results, tuple(x.detach() for x in leaves), tuple(directions))[1] if forward else ()
    return [array(t) for t in (*first, *second, *tangents)]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # PyTorch's own
@table(CALLS)
def test_derivatives_at_special_points(call):
    fn, *arrays = call
    prelu = len(arrays) == 2 and arrays[1].shape == (1,)  # PyTorch's two directions differ from each other there
    ours, theirs = both(derived, fn, arrays, not prelu)
    assert len(ours) == len(theirs)
    for found, expected in zip(ours, theirs):
        free = np.isnan(expected)
        np.testing.assert_allclose(np.where(free, 0, found), np.where(free, 0, expected), rtol=1e-6, atol=1e-8)


def test_equal_differences_of_cdist_each_count():
    def gradient(T):
        x, y = (T.tensor(v, dtype=T.float64).requires_grad_() for v in ([[1.0, 1.0]], [[0.0, 2.0]]))
        return T.autograd.grad(T.cdist(x, y, inf).sum(), (x, y))

    for found, expected in zip(*both(gradient)):
        np.testing.assert_array_equal(array(found), array(expected))


def test_norm_of_nan_has_no_gradient():
    order: Any = inf
    x = ng.tensor([[float("nan"), 1.0], [2.0, 2.0]], requires_grad=True)
    ng.linalg.vector_norm(x, order, 1).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0], [0.5, 0.5]]
