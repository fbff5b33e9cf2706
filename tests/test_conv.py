"""Convolutions against a definition written with NumPy, and their derivatives of first and second order."""

import itertools

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn
from numgrad.nn import functional as F
from numgrad.ops.conv import conv_input_grad, conv_weight_grad
from numgrad.testing import gradcheck, gradgradcheck

FUNCTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
# (input, weight, arguments)
CASES = [
    ((2, 3, 9), (4, 3, 3), {}),
    ((2, 3, 9), (4, 3, 3), {"padding": 2, "stride": 2}),
    ((2, 4, 7, 8), (6, 2, 3, 2), {"padding": (1, 0), "stride": (2, 1), "groups": 2, "dilation": (1, 2)}),
    ((2, 4, 7, 8), (4, 1, 3, 3), {"padding": 1, "groups": 4}),
    ((2, 4, 7, 8), (8, 1, 3, 3), {"padding": 1, "groups": 4, "stride": 2}),
    ((2, 4, 7, 8), (5, 4, 4, 4), {"padding": "same"}),
    ((2, 4, 7, 8), (5, 4, 3, 3), {"padding": "same", "dilation": 2}),
    ((2, 4, 7, 8), (5, 4, 3, 3), {"padding": "valid"}),
    ((2, 4, 7, 8), (5, 4, 1, 1), {}),
    ((2, 4, 7, 8), (5, 4, 1, 1), {"stride": 2}),
    ((2, 4, 7, 8), (5, 4, 3, 3), {"padding": 4}),
    ((1, 2, 3, 20), (3, 2, 3, 17), {"padding": (1, 0)}),
    ((2, 3, 4, 5, 6), (4, 3, 2, 3, 3), {"padding": (1, 1, 0), "stride": (1, 2, 1)}),
    ((2, 9, 33, 40), (5, 9, 3, 3), {"padding": 1}),
    ((2, 9, 33, 40), (5, 9, 3, 3), {"padding": 1, "stride": 3}),
    ((3, 16, 12, 40), (16, 16, 3, 3), {"padding": 1}),
    # Small images, some dozens at a time: one block, even ones, a shorter last one.
    ((9, 4, 2, 2), (6, 4, 3, 3), {"padding": 1}),
    ((70, 4, 3, 4), (6, 2, 3, 2), {"padding": (1, 0), "stride": (2, 1), "groups": 2, "dilation": (1, 2)}),
    ((70, 3, 2, 3), (4, 3, 1, 1), {}),
    ((50, 40, 7), (3, 40, 5), {"stride": 2}),
    ((16, 2, 2, 3, 2), (4, 2, 2, 2, 2), {"padding": 1}),
]
IDS = [f"{x}-{w}-{arguments}" for x, w, arguments in CASES]


def several(value, n):
    return (value,) * n if isinstance(value, int) else value


def reference(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """The sum over channels and taps, one tap at a time."""
    n = x.ndim - 2
    taps, stride, dilation = w.shape[2:], several(stride, n), several(dilation, n)
    if padding == "same":
        totals = [d * (t - 1) for d, t in zip(dilation, taps)]
        widths = [(total // 2, total - total // 2) for total in totals]
    else:
        widths = [(p, p) for p in several(0 if padding == "valid" else padding, n)]
    x = np.pad(x, [(0, 0), (0, 0), *widths])
    out_size = [(s - d * (t - 1) - 1) // q + 1 for s, d, t, q in zip(x.shape[2:], dilation, taps, stride)]
    out = np.zeros((x.shape[0], w.shape[0], *out_size), x.dtype)
    channels, outs = w.shape[1], w.shape[0] // groups
    for group in range(groups):
        kept = x[:, group * channels : (group + 1) * channels]
        rows = slice(group * outs, (group + 1) * outs)
        for tap in itertools.product(*map(range, taps)):
            window = tuple(
                slice(t * d, t * d + (size - 1) * q + 1, q) for t, d, size, q in zip(tap, dilation, out_size, stride)
            )
            out[:, rows] += np.einsum("nc...,kc->nk...", kept[(..., *window)], w[(rows, slice(None), *tap)])
    return out if b is None else out + b.reshape(-1, *(1,) * n)


def operands(x_shape, w_shape, dtype=np.float64):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return [rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, w_shape[:1])]
    return [rng.integers(-9, 9, shape).astype(dtype) for shape in (x_shape, w_shape, w_shape[:1])]


@pytest.mark.parametrize(("x_shape", "w_shape", "arguments"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_forward(x_shape, w_shape, arguments, dtype):
    x, w, b = operands(x_shape, w_shape, dtype)
    found = FUNCTIONS[len(x_shape) - 2](ng.tensor(x), ng.tensor(w), ng.tensor(b), **arguments).numpy()
    assert found.dtype == dtype
    np.testing.assert_allclose(found, reference(x, w, b, **arguments), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("x_shape", "w_shape", "arguments"), CASES, ids=IDS)
def test_gradients(x_shape, w_shape, arguments):
    inputs = [ng.tensor(value).requires_grad_() for value in operands(x_shape, w_shape)]
    convolve = FUNCTIONS[len(x_shape) - 2]

    def call(*values):
        return convolve(*values, **arguments)

    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@pytest.mark.parametrize(("x_shape", "w_shape", "arguments"), CASES, ids=IDS)
def test_float32_gradients_agree_with_float64(x_shape, w_shape, arguments):
    found = []
    for dtype in (np.float32, np.float64):
        inputs = [ng.tensor(value.astype(dtype)).requires_grad_() for value in operands(x_shape, w_shape)]
        out = FUNCTIONS[len(x_shape) - 2](*inputs, **arguments)
        out.backward(ng.tensor(np.random.default_rng(1).standard_normal(out.shape).astype(dtype)))
        found.append([value.grad.numpy() for value in inputs])
    for narrow, wide in zip(*found):
        np.testing.assert_allclose(narrow, wide, rtol=1e-4, atol=1e-4 * np.abs(wide).max())


def test_unbatched_is_a_batch_of_one():
    x, w, b = (ng.tensor(value) for value in operands((4, 7, 8), (5, 4, 3, 3)))
    assert np.array_equal(F.conv2d(x, w, b).numpy(), F.conv2d(x.unsqueeze(0), w, b)[0].numpy())


def test_empty_batch():
    x = ng.zeros(0, 4, 7, 8, requires_grad=True)
    w = ng.ones(5, 4, 3, 3, requires_grad=True)
    out = F.conv2d(x, w, stride=2)
    assert out.shape == (0, 5, 3, 3)
    out.sum().backward()
    assert x.grad.shape == x.shape
    assert not w.grad.numpy().any()


def test_strided_inputs():
    x, w, _ = operands((2, 8, 7, 4), (3, 3, 5, 4))
    turned = F.conv2d(ng.tensor(x).permute(0, 3, 1, 2), ng.tensor(w).permute(2, 3, 0, 1))
    expected = reference(x.transpose(0, 3, 1, 2), w.transpose(2, 3, 0, 1))
    np.testing.assert_allclose(turned.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_gradient_ops_are_transposes():
    x, w, _ = operands((2, 4, 9, 8), (6, 2, 3, 3))
    settings = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    g = np.random.default_rng(3).standard_normal((2, 6, 5, 8))
    product = (reference(x, w, **settings) * g).sum()
    dx = conv_input_grad(ng.tensor(g), ng.tensor(w), size=(9, 8), format=None, **settings)
    dw = conv_weight_grad(ng.tensor(g), ng.tensor(x), taps=(3, 3), format=None, **settings)
    np.testing.assert_allclose([(dx.numpy() * x).sum(), (dw.numpy() * w).sum()], product, rtol=1e-12)


@pytest.mark.parametrize("x_shape", [(5, 16, 24, 20), (100, 16, 4, 4)])
def test_threads_do_not_change_results(x_shape):
    before = ng.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            ng.set_num_threads(threads)
            x, w, b = (ng.tensor(value).requires_grad_() for value in operands(x_shape, (12, 16, 3, 3), "f4"))
            out = F.conv2d(x, w, b, padding=1, stride=2)
            out.square().sum().backward()
            results.append([value.numpy().tobytes() for value in (out.detach(), x.grad, w.grad)])
    finally:
        ng.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "arguments", "message"),
    [
        ((1, 3, 4, 4), (2, 4, 3, 3), {}, "expected input.* to have 4 channels, but got 3 channels instead"),
        ((3, 4), (2, 3, 3, 3), {}, "Expected 3D .unbatched. or 4D .batched. input to conv2d"),
        ((1, 3, 2, 2), (2, 3, 3, 3), {}, "Kernel size can't be greater than actual input size"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"stride": 0}, "non-positive stride is not supported"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"padding": -1}, "negative padding is not supported"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"dilation": 0}, "dilation should be greater than zero"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"groups": 0}, "non-positive groups is not supported"),
        ((1, 6, 4, 4), (3, 3, 3, 3), {"groups": 2}, "divisible by 2 at dimension 0"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"padding": "same", "stride": 2}, "not supported for strided convolutions"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"padding": "full"}, "Invalid padding string"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"stride": (1, 1, 1)}, "expected stride to be a single integer"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"bias": ng.zeros(3)}, "expected bias to be 1-dimensional with 2 elements"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"bias": ng.zeros(2).double()}, "should be the same"),
    ],
)
def test_errors(x_shape, w_shape, arguments, message):
    with pytest.raises(RuntimeError, match=message):
        F.conv2d(ng.zeros(*x_shape), ng.zeros(*w_shape), **arguments)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode):
    layer = nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode, dtype=ng.float64)
    x, _, _ = operands((2, 2, 6, 7), (1,))
    kind = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (2, 2)], mode=kind)
    expected = reference(padded, layer.weight.detach().numpy(), layer.bias.detach().numpy())
    np.testing.assert_allclose(layer(ng.tensor(x)).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_layer_repr_and_state():
    layer = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=False, padding_mode="circular")
    assert repr(layer) == (
        "Conv2d(4, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), groups=2, bias=False, padding_mode=circular)"
    )
    assert list(nn.Conv1d(4, 8, 3).state_dict()) == ["weight", "bias"]
    assert nn.Conv3d(4, 8, (1, 2, 3)).weight.shape == (8, 4, 1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 2}, "in_channels must be divisible by groups"),
        ({"groups": 0}, "groups must be a positive integer"),
        ({"padding": "full"}, "Invalid padding string"),
        ({"padding": "same", "stride": 2}, "not supported for strided convolutions"),
        ({"padding_mode": "mirror"}, "padding_mode must be one of"),
    ],
)
def test_layer_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.Conv2d(3, 4, 3, **arguments)
