"""Sums over rows keep their digits: far from zero, with infinities, over ten million elements, and without any key."""

import math

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F

LOGITS = [[0.0, 1.0, 2.0, -3.0], [0.0, -50.0, -40.0, -90.0]]


def layouts(x):
    """The same rows along the last dimension and along one before it."""
    return (x, -1), (x.T.reshape(1, x.shape[1], x.shape[0]), 1)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e6])
def test_a_shift_of_all_logits_changes_nothing(shift):
    target = ng.tensor([2, 0])
    exact = ng.tensor(LOGITS, dtype=ng.float64)
    right = exact.log_softmax(-1)
    top = right.gather(-1, target[:, None]).squeeze(-1)
    gradient = right.exp() - F.one_hot(target, 4)
    gradient[1, 0] = -right.exp()[1, 1:].sum()
    for x, dim in layouts(ng.tensor(LOGITS) + shift):
        x.requires_grad_()
        found = x.log_softmax(dim).reshape(4, 2).T if dim == 1 else x.log_softmax(dim)
        np.testing.assert_allclose(found.detach().numpy(), right.numpy(), rtol=2e-6, atol=0)
        loss = F.cross_entropy(x, target if dim == -1 else target[None], reduction="none")
        np.testing.assert_allclose(loss.detach().reshape(2).numpy(), -top.numpy(), rtol=2e-6, atol=0)
        loss.sum().backward()
        got = x.grad.reshape(4, 2).T if dim == 1 else x.grad
        np.testing.assert_allclose(got.numpy(), gradient.numpy(), rtol=1e-5, atol=1e-37)
        (share,) = ng.autograd.grad(x.logsumexp(dim).sum(), x)
        share = share.reshape(4, 2).T if dim == 1 else share
        np.testing.assert_allclose(share.numpy(), right.exp().numpy(), rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("row, gradient", [
    ([-math.inf, -math.inf], [0, 0]), ([math.inf, 1.0], [1, 0]), ([math.inf, math.inf], [0.5, 0.5]), ([-math.inf, 1.0], [0, 1]),
])  # fmt: skip
def test_logarithms_of_sums_of_infinities(row, gradient):
    for x, dim in layouts(ng.tensor([row, [0.0, 0.0]])):
        x.requires_grad_()
        total = x.logsumexp(dim).reshape(2)
        assert total[0].item() == max(row)
        for create_graph in (False, True):
            (found,) = ng.autograd.grad(total.sum(), x, retain_graph=True, create_graph=create_graph)
            assert (found if dim == -1 else found[0].T)[0].tolist() == gradient
    a = ng.tensor(row, requires_grad=True)
    for fn in (ng.logaddexp, ng.logaddexp2):
        value = fn(a[0], a[1])
        assert value.item() == max(row)
        (found,) = ng.autograd.grad(value, a)
        assert found.tolist() == ([0.5, 0.5] if row[0] == row[1] else gradient)
    (found,) = ng.autograd.grad(ng.logcumsumexp(ng.cat((a, ng.ones(1))), 0)[-1], a)
    assert math.inf in row or found[row.index(-math.inf)] == 0


@pytest.mark.parametrize("shape, dim", [((10_000_000,), None), ((2_000_000, 2), 0)])
def test_variance_of_many_elements(shape, dim):
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32) + 3
    right = x.astype(np.float64).var(axis=dim, ddof=1)
    np.testing.assert_allclose(ng.from_numpy(x).var(dim).numpy(), right, rtol=2e-6)
    np.testing.assert_allclose(ng.from_numpy(x).std(dim).numpy(), np.sqrt(right), rtol=2e-6)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("as_numbers", [False, True])
def test_queries_without_keys_leave_the_other_gradients_alone(need_weights, as_numbers):
    layer = ng.nn.MultiheadAttention(4, 2, batch_first=True)
    x = ng.randn(2, 3, 4).requires_grad_()
    hidden = ng.tensor([[False, False, True], [True, True, True]])
    mask = ng.zeros(2, 3).masked_fill(hidden, -math.inf) if as_numbers else hidden
    out, weights = layer(x, x, x, key_padding_mask=mask, need_weights=need_weights)
    # PyTorch's values: NaN where the weights are asked for, else zeros, to which the bias is added.
    assert bool(out[1].isnan().all()) if need_weights else bool((out[1] == layer.out_proj.bias).all())
    assert not need_weights or bool(weights[1].isnan().all())
    out[0].sum().backward()
    alone = x.detach()[:1].requires_grad_()
    expected = layer(alone, alone, alone, key_padding_mask=mask[:1], need_weights=need_weights)[0]
    assert ng.allclose(out[:1], expected)
    (gradient,) = ng.autograd.grad(expected.sum(), alone)
    assert ng.allclose(x.grad[:1], gradient) and not x.grad[1].any()
    assert all(ng.isfinite(p.grad).all() for p in layer.parameters())


def test_a_row_of_scores_without_keys():
    q, k, v = (ng.randn(1, 2, 3).requires_grad_() for _ in range(3))
    mask = ng.tensor([[True, False], [False, False]])
    out = F.scaled_dot_product_attention(q, k, v, mask)
    assert not out[0, 1].any()
    gradients = ng.autograd.grad(out.sum(), (q, k, v), create_graph=True)
    second = ng.autograd.grad(sum(g.square().sum() for g in gradients), (q, k, v), allow_unused=True)
    assert all(g is None or ng.isfinite(g).all() for g in (*gradients, *second))
