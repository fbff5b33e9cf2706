"""Where the elements of results lie: pointwise results, copies and gradients have the strides that PyTorch gives them."""

import itertools
import random

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")

SHAPES = [(3, 4), (2, 3, 4), (2, 3, 1, 4), (2, 1, 3, 5), (4, 4), (2, 2, 2)]


def strides_that_matter(tensor):
    return tuple(step for size, step in zip(tensor.shape, tensor.stride()) if size != 1)


def same(ours, theirs):
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert strides_that_matter(ours) == strides_that_matter(theirs), (tuple(ours.shape), ours.stride(), theirs.stride())
    assert ours.is_contiguous() == theirs.is_contiguous()
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def pair_of(array):
    return ng.from_numpy(array.copy()), torch.from_numpy(array.copy())


def laid_out(pair, draw):
    """A pair seen in a random way: permuted, with gaps, expanded or as it is."""
    shape = pair[0].shape
    kind = draw.choice(["plain", "permuted", "permuted", "gaps", "expanded"])
    if kind == "plain":
        return pair
    if kind == "expanded":
        axis = draw.randrange(len(shape))
        return tuple(x.narrow(axis, 0, 1).expand(tuple(shape)) for x in pair)
    order = list(range(len(shape)))
    draw.shuffle(order)
    back = [order.index(axis) for axis in range(len(shape))]
    moved = tuple(x.permute(order).contiguous().permute(back) for x in pair)
    if kind == "permuted":
        return moved
    axis = draw.randrange(len(shape))
    wide = pair_of(np.repeat(pair[0].numpy().transpose(order), 2, order.index(axis)))
    return tuple(x.permute(back)[(slice(None),) * axis + (slice(None, None, 2),)] for x in wide)


def broadcast(pair, draw):
    """A pair with some dimensions of size 1, or without the leading ones."""
    shape = pair[0].shape
    if draw.random() < 0.5:
        return pair
    axis = draw.randrange(len(shape))
    pair = tuple(x.narrow(axis, 0, 1) for x in pair)
    return tuple(x[0] for x in pair) if draw.random() < 0.3 else pair


CALLS = {
    "unary": (1, lambda L, x: x.exp()),
    "number": (1, lambda L, x: x + 1.0),
    "binary": (2, lambda L, x, y: x * y),
    "compare": (2, lambda L, x, y: x < y),
    "where": (3, lambda L, x, y, z: L.where(x > 0, y, z)),
    "clamp": (1, lambda L, x: x.clamp(-0.5, 0.5)),
    "inplace": (2, lambda L, x, y: x.clone().mul_(y) if x.shape == (x * y).shape else x * y),
    "addcmul": (3, lambda L, x, y, z: L.addcmul(x, y, z)),
    "clone": (1, lambda L, x: x.clone()),
    "double": (1, lambda L, x: x.double()),
    "zeros_like": (1, lambda L, x: L.zeros_like(x)),
    "sum": (1, lambda L, x: x.sum(-1)),
    "amax": (1, lambda L, x: x.amax((0, 1))),
    "mean": (1, lambda L, x: x.mean(0, keepdim=True)),
    "all": (1, lambda L, x: x.sum()),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_lie_as_pytorch_lays_them(name):
    draw = random.Random(name)
    count, call = CALLS[name]
    for shape, _ in itertools.product(SHAPES, range(12)):
        values = np.random.default_rng(draw.randrange(1 << 30)).standard_normal((count, *shape)).astype(np.float32)
        operands = [laid_out(pair_of(value), draw) for value in values]
        if count > 1:
            operands = [broadcast(operand, draw) for operand in operands]
        same(call(ng, *[x for x, _ in operands]), call(torch, *[x for _, x in operands]))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_leaves_get_gradients_that_lie_as_they_do(order):
    values = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    other = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
    found = []
    for library in (ng, torch):
        leaf = library.from_numpy(values.copy()).permute(order).requires_grad_()
        plain = library.from_numpy(values.copy()).requires_grad_()
        y = library.from_numpy(other.copy()).permute(order)
        ((leaf * y).tanh() * plain.permute(order).sigmoid() + leaf.relu()).square().sum().backward()
        found.append((leaf.grad, plain.grad))
    for ours, theirs in zip(*found):
        same(ours, theirs)


def test_in_place_on_a_permuted_tensor_is_differentiated_by_its_result():
    values = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    found = []
    for library in (ng, torch):
        leaf = library.from_numpy(values.copy()).requires_grad_()
        x = leaf.t().clone()
        x.mul_(2.0).exp_()
        narrow = (leaf * 1)[:, ::2].sigmoid_()
        (x.sin().sum() + narrow.square().sum()).backward()
        found.append(leaf.grad)
    same(*found)


@pytest.mark.parametrize("name", ["rand_like", "randn_like"])
def test_samples_in_the_order_of_memory(name):
    like = np.zeros((5, 6), np.float32)
    found = []
    for library in (ng, torch):
        library.manual_seed(3)
        found.append(getattr(library, name)(library.from_numpy(like).t()))
    same(*found)


@pytest.mark.parametrize("dims", [(0, 2), (0, 2, 3), (1, 3), (0, 3), (-1, 0)])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 2, 1, 3)])
def test_folds_over_dimensions_apart(dims, order):
    """They are folds over the last of these dimensions and then over the others, in whatever order memory is."""
    x = np.random.default_rng(0).standard_normal((3, 4, 2, 5)).astype(np.float32)
    for name in ("sum", "mean", "amax", "any"):
        ours, theirs = (getattr(T, name)(T.tensor(x).permute(order) + 0, dim=dims, keepdim=True) for T in (ng, torch))
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
