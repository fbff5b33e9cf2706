"""Elementwise loops over short last dimensions, which run along a longer one: the same values in every layout."""

import itertools

import numpy as np
import pytest

import numgrad as ng

SHAPES = [(40, 3), (2, 40, 3), (40, 2, 3), (33, 35, 2), (3, 40, 2, 2), (0, 40, 3), (2, 40, 0)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_layout_and_broadcast_agrees(shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    for order in itertools.permutations(range(len(shape))):
        turned = ng.from_numpy(x).permute(order)
        np.testing.assert_array_equal(turned.contiguous().numpy(), x.transpose(order))
        y = rng.standard_normal(turned.shape)
        np.testing.assert_array_equal((turned + ng.from_numpy(y)).numpy(), x.transpose(order) + y)
    for axis in range(len(shape)):
        y = rng.standard_normal([1 if k == axis else size for k, size in enumerate(shape)])
        np.testing.assert_array_equal((ng.from_numpy(x) * ng.from_numpy(y)).numpy(), x * y)
        z = ng.from_numpy(x.copy())
        z.mul_(ng.from_numpy(y))
        np.testing.assert_array_equal(z.numpy(), x * y)


def test_a_change_in_place_of_a_strided_view():
    x = np.arange(2.0 * 50 * 6).reshape(2, 50, 6)
    ours, expected = ng.from_numpy(x.copy()), x.copy()
    ours[:, :, ::2].add_(ng.arange(3.0))
    expected[:, :, ::2] += np.arange(3.0)
    ours.transpose(0, 1)[:, :, :2].copy_(ng.ones(50, 1, 1))
    expected[:, :, :2] = 1
    np.testing.assert_array_equal(ours.numpy(), expected)


def test_a_dimension_without_steps_is_refused_or_read():
    x = ng.ones(40, 1).expand(40, 3)
    assert (x + x).sum().item() == 240
    with pytest.raises(RuntimeError, match="single memory location"):
        x.add_(1)
