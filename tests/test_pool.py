"""Pooling against windows written out with NumPy, and derivatives of first and second order."""

import itertools

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn
from numgrad.nn import functional as F
from numgrad.testing import gradcheck, gradgradcheck

MAX_CASES = [
    ("max_pool1d", (2, 3, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", (2, 3, 9, 7), {"kernel_size": 2}),
    ("max_pool2d", (2, 3, 9, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("max_pool2d", (3, 9, 7), {"kernel_size": (3, 2), "dilation": 2, "stride": (1, 2)}),
    ("max_pool2d", (2, 3, 5, 40), {"kernel_size": (1, 2), "stride": (1, 2)}),
    ("max_pool3d", (2, 3, 5, 6, 7), {"kernel_size": (1, 3, 2), "stride": 2}),
]
AVG_CASES = [
    ("avg_pool1d", (2, 3, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("avg_pool2d", (2, 3, 9, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("avg_pool2d", (3, 9, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    ("avg_pool2d", (2, 3, 9, 7), {"kernel_size": (2, 3), "divisor_override": -2}),
    ("avg_pool3d", (2, 3, 5, 6, 7), {"kernel_size": (1, 3, 2), "stride": 2}),
]
ADAPTIVE_CASES = [
    ("adaptive_{}_pool1d", (2, 3, 9), 4),
    ("adaptive_{}_pool2d", (2, 3, 9, 7), (4, None)),
    ("adaptive_{}_pool2d", (3, 9, 7), 1),
    ("adaptive_{}_pool2d", (2, 3, 8, 6), (2, 3)),
    ("adaptive_{}_pool3d", (2, 3, 5, 6, 7), (3, 7, 2)),
]


def distinct(shape, dtype=np.float64):
    """Values far enough apart that a small step does not change which is the largest."""
    return (np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape) / 10).astype(dtype)


def several(value, n):
    return (value,) * n if isinstance(value, int) else value


def windows(size, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """For each output place the lists of input coordinates, one a dimension; those in the padding included."""
    n = len(size)
    taps, padding, dilation = several(kernel_size, n), several(padding, n), several(dilation, n)
    steps = taps if stride is None else several(stride, n)
    along = []
    for s, k, step, p, d in zip(size, taps, steps, padding, dilation):
        starts, span = [], d * (k - 1) + 1
        start = -p
        while start + span <= s + p or (ceil_mode and starts and start < s and starts[-1] + span < s + p):
            starts.append(start)
            start += step
        along.append([[a + d * tap for tap in range(k)] for a in starts])
    return along


def pooled(x, along, reduce):
    """``reduce(values inside, places of them, number of places inside the input and its padding)`` of every window."""
    n = len(along)
    lead, size = x.shape[:-n], x.shape[-n:]
    flat = x.reshape(-1, *size)
    out = np.empty((len(flat), *map(len, along)), object)
    for place in itertools.product(*(range(len(a)) for a in along)):
        lists = [a[k] for a, k in zip(along, place)]
        inside = [[c for c in coordinates if 0 <= c < s] for coordinates, s in zip(lists, size)]
        places = np.ravel_multi_index(np.ix_(*inside), size).ravel()
        for plane in range(len(flat)):
            out[(plane, *place)] = reduce(flat[plane].ravel()[places], places, lists)
    return out.reshape(*lead, *out.shape[1:])


def checked(function, x):
    value = ng.tensor(x).requires_grad_()
    assert gradcheck(function, [value])
    assert gradgradcheck(function, [value])


@pytest.mark.parametrize(("name", "shape", "arguments"), MAX_CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_max_pool(name, shape, arguments, dtype):
    x = distinct(shape, dtype)
    function, n = getattr(F, name), int(name[-2])
    along = windows(shape[-n:], **arguments)
    values, indices = function(ng.tensor(x), **arguments, return_indices=True)
    expected = pooled(x, along, lambda inside, places, _: inside.max()).astype(dtype)
    np.testing.assert_array_equal(values.numpy(), expected)
    first = pooled(x, along, lambda inside, places, _: places[inside.argmax()]).astype(np.int64)
    np.testing.assert_array_equal(indices.numpy(), first)
    np.testing.assert_array_equal(function(ng.tensor(x), **arguments).numpy(), expected)


@pytest.mark.parametrize(("name", "shape", "arguments"), AVG_CASES)
def test_avg_pool(name, shape, arguments):
    x = np.random.default_rng(0).standard_normal(shape)
    arguments = dict(arguments)
    n = int(name[-2])
    size = shape[-n:]
    include, divisor = arguments.get("count_include_pad", True), arguments.get("divisor_override")
    placed = {k: v for k, v in arguments.items() if k not in ("count_include_pad", "divisor_override")}
    padding = several(arguments.get("padding", 0), n)

    def mean(inside, places, lists):
        counted = [sum(c < s + p for c in coordinates) for coordinates, s, p in zip(lists, size, padding)]
        return inside.sum() / (divisor or (np.prod(counted) if include else len(inside)))

    found = getattr(F, name)(ng.tensor(x), **arguments).numpy()
    np.testing.assert_allclose(found, pooled(x, windows(size, **placed), mean).astype(float), rtol=1e-12)


def adaptive_windows(size, output_size):
    outs = several(output_size, len(size))
    return [
        [list(range(k * s // o, -(-(k + 1) * s // o))) for k in range(o)]
        for s, o in zip(size, [s if o is None else o for s, o in zip(size, outs)])
    ]


@pytest.mark.parametrize(("name", "shape", "output_size"), ADAPTIVE_CASES)
def test_adaptive_pools(name, shape, output_size):
    x = distinct(shape)
    along = adaptive_windows(shape[-int(name[-2]) :], output_size)
    found = getattr(F, name.format("avg"))(ng.tensor(x), output_size).numpy()
    np.testing.assert_allclose(found, pooled(x, along, lambda inside, *_: inside.mean()).astype(float), rtol=1e-12)
    values, indices = getattr(F, name.format("max"))(ng.tensor(x), output_size, return_indices=True)
    np.testing.assert_array_equal(values.numpy(), pooled(x, along, lambda inside, *_: inside.max()).astype(float))
    places = pooled(x, along, lambda inside, places, _: places[inside.argmax()]).astype(np.int64)
    np.testing.assert_array_equal(indices.numpy(), places)


@pytest.mark.parametrize(("name", "shape", "arguments"), MAX_CASES + AVG_CASES)
def test_gradients(name, shape, arguments):
    checked(lambda x: getattr(F, name)(x, **arguments), distinct(shape))


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize(("name", "shape", "output_size"), ADAPTIVE_CASES)
def test_adaptive_gradients(name, shape, output_size, kind):
    checked(lambda x: getattr(F, name.format(kind))(x, output_size), distinct(shape))


def test_ties_nan_and_infinity():
    x = np.array([[[1.0, 1, 0, np.nan, 5, np.nan, -np.inf, -np.inf]]], np.float32)
    values, indices = F.max_pool1d(ng.tensor(x), 2, return_indices=True)
    np.testing.assert_array_equal(values.numpy()[0, 0], [1, np.nan, np.nan, -np.inf])
    assert indices.tolist() == [[[0, 3, 5, 6]]]


def test_integer_means_round_towards_zero():
    assert F.avg_pool1d(ng.tensor([[[-3, 0, 3, 0]]]), 2).tolist() == [[[-1, 1]]]


def test_empty_batch_and_strided_input():
    x = ng.zeros(0, 2, 4, 4, requires_grad=True)
    for out in (F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 3), F.adaptive_max_pool2d(x, 2)):
        assert out.shape[0] == 0
        out.sum().backward()
    turned = ng.tensor(distinct((2, 6, 4, 3))).permute(0, 3, 1, 2)
    assert np.array_equal(F.max_pool2d(turned, 2).numpy(), F.max_pool2d(turned.contiguous(), 2).numpy())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: F.max_pool2d(x, 2, stride=0), "stride should not be zero"),
        (lambda x: F.max_pool2d(x, 2, padding=2), "pad should be at most half of effective kernel size"),
        (lambda x: F.max_pool2d(x, 7), "Output size is too small"),
        (lambda x: F.max_pool2d(x, (2, 2, 2)), "kernel_size must either be a single int, or a tuple of two ints"),
        (lambda x: F.max_pool2d(x, 2, dilation=0), "dilation should be greater than zero"),
        (lambda x: F.max_pool2d(x[0, 0], 2), "tensor with optional 0 dim batch size"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "divisor must be not zero"),
        (lambda x: F.avg_pool2d(x > 0, 2), "not implemented for 'Bool'"),
        (lambda x: F.adaptive_avg_pool2d(x, (2,)), "output_size must be 2"),
        (lambda x: F.adaptive_avg_pool2d(x, -1), "greater than or equal to 0"),
        (lambda x: F.adaptive_max_pool2d(x.long(), 1), "not implemented for"),
    ],
)
def test_errors(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(ng.zeros(1, 2, 5, 5))


def test_layer_reprs():
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
    assert repr(nn.AvgPool1d(2)) == "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))"
    assert repr(nn.AvgPool2d(3, 1)) == "AvgPool2d(kernel_size=3, stride=1, padding=0)"
    assert repr(nn.AdaptiveAvgPool2d((None, 2))) == "AdaptiveAvgPool2d(output_size=(None, 2))"


def test_windows_of_padding_alone_have_no_gradient():
    """A dilated window may touch nothing but padding on both sides; its maximum is no element."""
    x = ng.randn(2, 2, 1, dtype=ng.float64, requires_grad=True)
    y = F.max_pool1d(x, 2, 3, 1, 2)
    (gradient,) = ng.autograd.grad(y.sum(), x, create_graph=True)
    assert gradient.tolist() == [[[0.0], [0.0]], [[0.0], [0.0]]]
