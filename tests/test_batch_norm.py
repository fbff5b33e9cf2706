"""Batch normalisation against its formula in float64, and derivatives of first and second order."""

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn
from numgrad.nn import functional as F
from numgrad.testing import gradcheck, gradgradcheck

SHAPES = [(4, 3), (5, 40), (2, 3, 5), (2, 3, 4, 5), (3, 2, 2, 3, 2)]


def operands(shape, dtype=np.float64):
    rng = np.random.default_rng(0)
    x, channels = rng.standard_normal(shape), shape[1]
    weight, bias, mean = (rng.standard_normal(channels) for _ in range(3))
    return [value.astype(dtype) for value in (x, mean, rng.random(channels) + 0.5, weight, bias)]


def along(values, ndim):
    return values.reshape(1, -1, *(1,) * (ndim - 2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forward(shape, training, affine, dtype):
    x, mean, var, weight, bias = operands(shape, dtype)
    running = ng.tensor(mean), ng.tensor(var)
    scale_and_shift = [ng.tensor(weight), ng.tensor(bias)] if affine else []
    found = F.batch_norm(ng.tensor(x), *running, *scale_and_shift, training=training, momentum=0.3)
    wide = x.astype(np.float64)
    dims = (0, *range(2, x.ndim))
    count = x.size / shape[1]
    if training:
        batch_mean, batch_var = wide.mean(dims), wide.var(dims)
        new_mean, new_var = 0.7 * mean + 0.3 * batch_mean, 0.7 * var + 0.3 * batch_var * count / (count - 1)
    else:
        batch_mean, batch_var, new_mean, new_var = mean, var, mean, var
    expected = (wide - along(batch_mean, x.ndim)) / np.sqrt(along(batch_var, x.ndim) + 1e-5)
    if affine:
        expected = expected * along(weight, x.ndim) + along(bias, x.ndim)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(running[0].numpy(), new_mean, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(running[1].numpy(), new_var, rtol=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_gradients(shape, training, affine):
    x, mean, var, weight, bias = operands(shape)
    inputs = [ng.tensor(value).requires_grad_() for value in ((x, weight, bias) if affine else (x,))]

    def call(x, *affine):
        return F.batch_norm(x, ng.tensor(mean), ng.tensor(var), *affine, training=training)

    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("shape", [(64, 3), (8, 3, 9)])
def test_large_mean(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) + np.float32(1e4)
    x[:] = np.round(x * 256) / 256
    wide = x.astype(np.float64)
    dims = (0, *range(2, x.ndim))
    expected = (wide - wide.mean(dims, keepdims=True)) / np.sqrt(wide.var(dims, keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.batch_norm(ng.tensor(x), None, None, training=True).numpy(), expected, atol=1e-4)


def test_momentum_none_is_the_mean_of_all_batches():
    layer = nn.BatchNorm1d(3, momentum=None)
    batches = np.random.default_rng(0).standard_normal((5, 8, 3)).astype(np.float32)
    for batch in batches:
        layer(ng.tensor(batch))
    assert layer.num_batches_tracked.item() == 5
    np.testing.assert_allclose(layer.running_mean.numpy(), batches.mean((0, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), batches.var(1, ddof=1).mean(0), rtol=1e-5)


def test_layer_modes():
    x = ng.tensor(np.random.default_rng(0).standard_normal((4, 3, 5, 5)).astype(np.float32))
    layer = nn.BatchNorm2d(3)
    layer.eval()
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy() / np.sqrt(1 + 1e-5), rtol=1e-5)
    assert layer.num_batches_tracked.item() == 0
    untracked = nn.BatchNorm2d(3, track_running_stats=False).eval()
    assert list(untracked.state_dict()) == ["weight", "bias"]
    np.testing.assert_allclose(untracked(x).detach().numpy().mean((0, 2, 3)), 0, atol=1e-6)


def test_state_and_repr():
    layer = nn.BatchNorm2d(3)
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert repr(layer) == "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
    assert nn.BatchNorm1d(3, bias=False).bias is None
    old = layer.state_dict()
    del old["num_batches_tracked"]
    old._metadata[""]["version"] = 1
    fresh = nn.BatchNorm2d(3)
    fresh.load_state_dict(old)
    assert fresh.num_batches_tracked.item() == 0


def test_empty_batch_leaves_the_running_statistics():
    layer = nn.BatchNorm2d(3)
    x = ng.zeros(0, 3, 2, 2, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == x.shape
    assert layer.running_mean.tolist() == [0, 0, 0]
    assert layer.running_var.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.batch_norm(ng.zeros(1, 2), None, None, training=True), ValueError, "more than 1 value per channel"),
        (lambda: F.batch_norm(ng.zeros(2, 2), None, None), RuntimeError, "running_mean must be defined in evaluation"),
        (lambda: F.batch_norm(ng.zeros(2, 2), ng.zeros(3), ng.ones(3)), RuntimeError, "contain 2 elements not 3"),
        (lambda: F.batch_norm(ng.zeros(2, 2), None, None, training=True, eps=-1), ValueError, "eps must be positive"),
        (lambda: F.batch_norm(ng.zeros(2), None, None, training=True), IndexError, "Dimension out of range"),
        (lambda: nn.BatchNorm2d(3)(ng.zeros(3, 3)), ValueError, "expected 4D input .got 2D input."),
        (lambda: nn.BatchNorm1d(3)(ng.zeros(3)), ValueError, "expected 2D or 3D input .got 1D input."),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
