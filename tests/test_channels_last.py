"""Channels-last: which ops keep it, with the same values, and gradients in the same order, as PyTorch has it."""

import numpy as np
import pytest

import numgrad as ng

IMAGE, VOLUME = (2, 8, 6, 6), (2, 4, 4, 6, 4)
LAYOUTS = ("contiguous", "last", "permuted", "sliced", "last_sliced")


def last_format(T, ndim):
    return T.channels_last if ndim == 4 else T.channels_last_3d


def laid_out(T, shape, layout, seed=0):
    """The same numbers in one of LAYOUTS."""
    random = np.random.RandomState(seed)
    values = random.randn(*shape).astype("float32")
    if layout.endswith("sliced"):
        big = np.zeros([size + 1 for size in shape], "float32")
        big[tuple(slice(size) for size in shape)] = values
        found = T.tensor(big)
        if layout == "last_sliced":
            found = found.contiguous(memory_format=last_format(T, len(shape)))
        return found[tuple(slice(size) for size in shape)]
    found = T.tensor(values)
    if layout == "last":
        return found.contiguous(memory_format=last_format(T, len(shape)))
    if layout == "permuted":
        order = tuple(reversed(range(len(shape))))
        return found.permute(order).contiguous().permute(order)
    return found


def weight(T, *shape, last=False):
    return laid_out(T, shape, "last" if last else "contiguous", 5).requires_grad_()


def _pool(T, name, x, *arguments, **options):
    return getattr(T.nn.functional, f"{name}{x.dim() - 2}d")(x, *arguments, **options)


def _norm(T, x, *running, training=True):
    channels = x.shape[1]
    return T.nn.functional.batch_norm(x, *(running or (None, None)), weight(T, channels), weight(T, channels), training)


def _pads(x, mode):
    return (1, 1, 1, 0) if x.dim() == 4 else (1, 1, 1, 0, 1, 1) if mode != "constant" else (1, 1, 1, 0)


IMAGES = {
    "conv 3x3": lambda T, x: T.conv2d(x, weight(T, 4, 8, 3, 3), weight(T, 4), padding=1),
    "conv stride": lambda T, x: T.conv2d(x, weight(T, 4, 8, 3, 3), stride=2, padding=1),
    "conv 1x1": lambda T, x: T.conv2d(x, weight(T, 4, 8, 1, 1)),
    "conv 1x1 stride": lambda T, x: T.conv2d(x, weight(T, 4, 8, 1, 1), stride=2),
    "conv wide": lambda T, x: T.conv2d(x, weight(T, 20, 8, 3, 3), padding=1),
    "depthwise": lambda T, x: T.conv2d(x, weight(T, 8, 1, 3, 3), weight(T, 8), padding=1, groups=8),
    "depthwise stride": lambda T, x: T.conv2d(x, weight(T, 16, 1, 3, 3), stride=2, groups=8),
    "conv groups": lambda T, x: T.conv2d(x, weight(T, 4, 4, 3, 3), groups=2, dilation=2),
    "conv last weight": lambda T, x: T.conv2d(x, weight(T, 4, 8, 3, 3, last=True)),
    "conv transposed": lambda T, x: T.conv_transpose2d(x, weight(T, 8, 4, 3, 3), weight(T, 4), stride=2),
    "conv transposed last weight": lambda T, x: T.conv_transpose2d(x, weight(T, 8, 4, 3, 3, last=True)),
    "unpool": lambda T, x: T.nn.functional.max_unpool2d(*_pool(T, "max_pool", x, 2, return_indices=True), 2),
    "nearest": lambda T, x: T.nn.functional.interpolate(x, scale_factor=2),
    "bilinear": lambda T, x: T.nn.functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "bicubic": lambda T, x: T.nn.functional.interpolate(x, size=(3, 7), mode="bicubic"),
    "antialias": lambda T, x: T.nn.functional.interpolate(x, size=(3, 4), mode="bilinear", antialias=True),
    "same size": lambda T, x: T.nn.functional.interpolate(x, size=(6, 6), mode="bilinear"),
    "pixel_shuffle": lambda T, x: T.nn.functional.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda T, x: T.nn.functional.pixel_unshuffle(x, 2),
    "dropout2d": lambda T, x: T.nn.functional.dropout2d(x, 0.5) * 0,
}
VOLUMES = {
    "conv3d": lambda T, x: T.conv3d(x, weight(T, 5, 4, 3, 3, 3), weight(T, 5), padding=1),
    "conv3d last weight": lambda T, x: T.conv3d(x, weight(T, 5, 4, 2, 2, 2, last=True), stride=2),
    "conv3d transposed": lambda T, x: T.conv_transpose3d(x, weight(T, 4, 3, 2, 2, 2), stride=2),
    "trilinear": lambda T, x: T.nn.functional.interpolate(x, scale_factor=2, mode="trilinear"),
}
BOTH = {
    "max_pool": lambda T, x: _pool(T, "max_pool", x, 3, 2, 1),
    "max_pool indices": lambda T, x: _pool(T, "max_pool", x, 2, return_indices=True),
    "avg_pool": lambda T, x: _pool(T, "avg_pool", x, 3, 2, 1),
    "adaptive_avg_pool": lambda T, x: _pool(T, "adaptive_avg_pool", x, 3),
    "adaptive_max_pool": lambda T, x: _pool(T, "adaptive_max_pool", x, 3),
    "batch_norm": lambda T, x: _norm(T, x),
    "batch_norm eval": lambda T, x: _norm(T, x, T.zeros(x.shape[1]), T.ones(x.shape[1]), training=False),
    "group_norm": lambda T, x: T.nn.functional.group_norm(x, 2, weight(T, x.shape[1]), weight(T, x.shape[1])),
    "instance_norm": lambda T, x: T.nn.functional.instance_norm(x),
    "layer_norm": lambda T, x: T.nn.functional.layer_norm(x, x.shape[1:]),
    "channel_shuffle": lambda T, x: T.nn.functional.channel_shuffle(x, 2),
    "relu": lambda T, x: T.relu(x),
    "gelu": lambda T, x: T.nn.functional.gelu(x),
    "prelu": lambda T, x: T.nn.functional.prelu(x, weight(T, x.shape[1])),
    "softmax": lambda T, x: T.softmax(x, 1),
    "add a bias": lambda T, x: x + weight(T, x.shape[1], *(1,) * (x.dim() - 2)),
    "dropout": lambda T, x: T.nn.functional.dropout(x, 0.5) * 0,
    "cat": lambda T, x: T.cat([x, x * 2], 1),
    "cat of two kinds": lambda T, x: T.cat([x, laid_out(T, x.shape, "contiguous")], 2),
    "pad": lambda T, x: T.nn.functional.pad(x, _pads(x, "constant")),
    "pad reflect": lambda T, x: T.nn.functional.pad(x, _pads(x, "reflect"), mode="reflect"),
    "pad replicate": lambda T, x: T.nn.functional.pad(x, _pads(x, "replicate"), mode="replicate"),
    "pad circular": lambda T, x: T.nn.functional.pad(x, _pads(x, "circular"), mode="circular"),
    "roll": lambda T, x: T.roll(x, 1, 2),
    "flip": lambda T, x: T.flip(x, [2]),
    "clone": lambda T, x: x.clone(),
    "double": lambda T, x: x.double(),
    "zeros_like": lambda T, x: T.zeros_like(x),
}
CASES = [
    *((name, IMAGE) for name in (*IMAGES, *BOTH)),
    *((name, VOLUME) for name in (*VOLUMES, *BOTH)),
]
TABLE = IMAGES | VOLUMES | BOTH
# PyTorch's gradients of these are row-major, or in the order of the dimensions that a product of theirs happens to have.
FREE_GRADIENTS = {"bicubic", "dropout", "dropout2d"}


def outcome(T, name, shape, layout):
    """(strides, values) of results and of the gradients of everything that went in, the result's gradient in its format."""
    x = laid_out(T, shape, layout).detach().requires_grad_()
    T.manual_seed(0)
    out = TABLE[name](T, x)
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    found = [(y.stride(), y.detach().double().numpy()) for y in outs]
    if outs[0].requires_grad:
        y = outs[0]
        g = laid_out(T, tuple(y.shape), "contiguous", 9).to(y.dtype)
        if y.is_contiguous(memory_format=last_format(T, y.dim())):
            g = g.contiguous(memory_format=last_format(T, y.dim()))
        (gradient,) = T.autograd.grad(y, [x], g)
        followed = name in FREE_GRADIENTS or y.stride() != g.stride()
        found.append((None if followed else gradient.stride(), gradient.double().numpy()))
    return found


@pytest.mark.parametrize("name, shape", CASES, ids=lambda value: value if isinstance(value, str) else f"{len(value)}d")
def test_values_and_strides_are_pytorchs(name, shape):
    torch = pytest.importorskip("torch")
    for layout in LAYOUTS:
        for (strides, values), (expected, right) in zip(outcome(ng, name, shape, layout), outcome(torch, name, shape, layout)):
            np.testing.assert_allclose(values, right, 1e-4, 1e-4, err_msg=layout)
            assert strides == expected, layout


@pytest.mark.parametrize("name, shape", CASES, ids=lambda value: value if isinstance(value, str) else f"{len(value)}d")
def test_the_order_in_memory_does_not_change_values(name, shape):
    (_, right), *more = outcome(ng, name, shape, "contiguous")
    (_, values), *others = outcome(ng, name, shape, "last")
    np.testing.assert_allclose(values, right, 1e-4, 1e-4)
    for (_, a), (_, b) in zip(others, more):
        np.testing.assert_allclose(a, b, 1e-4, 1e-4)


KEEPING = [
    "conv 3x3", "conv 1x1", "depthwise", "conv transposed", "max_pool", "avg_pool", "adaptive_avg_pool", "batch_norm", "group_norm",
    "bilinear", "nearest", "pixel_shuffle", "channel_shuffle", "relu", "dropout", "cat", "pad",
]  # fmt: skip


@pytest.mark.parametrize("name", KEEPING)
def test_channels_last_is_kept(name):
    x = laid_out(ng, IMAGE, "last").requires_grad_()
    y = TABLE[name](ng, x)
    assert y.is_contiguous(memory_format=ng.channels_last)
    (gradient,) = ng.autograd.grad(y, [x], ng.ones_like(y))
    assert gradient.is_contiguous(memory_format=ng.channels_last)


def test_a_module_in_channels_last_trains_in_it():
    nn = ng.nn
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 1))
    rows = ng.randn(2, 3, 8, 8)
    expected = model(rows)
    expected.sum().backward()
    right = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.to(memory_format=ng.channels_last)
    assert model[0].weight.is_contiguous(memory_format=ng.channels_last)
    y = model(rows.contiguous(memory_format=ng.channels_last))
    assert y.is_contiguous(memory_format=ng.channels_last)
    y.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), 1e-4, 1e-4)
    for p, gradient in zip(model.parameters(), right):
        np.testing.assert_allclose(p.grad.numpy(), gradient.numpy(), 1e-3, 1e-3)
        assert p.grad.stride() == p.stride()


@pytest.mark.parametrize("shape, last", [
    ((2, 1, 4, 5), False), ((2, 3, 1, 1), False), ((1, 1, 1, 1), False), ((2, 3, 4, 5), True), ((2, 3, 1, 1), True), ((1, 3, 4, 5), True),
    ((2, 1, 4, 5), True),
])  # fmt: skip
def test_sizes_of_one_do_not_make_a_format(shape, last):
    x = laid_out(ng, shape, "contiguous")
    x = x.to(memory_format=ng.channels_last) if last else x
    assert (x._m.last is ng.channels_last) == last
    assert ng.conv2d(x, ng.ones(2, shape[1], 1, 1)).shape == (shape[0], 2, *shape[2:])


@pytest.mark.parametrize("settings", [
    {"groups": 1, "stride": 1}, {"groups": 2, "stride": 2, "padding": 1}, {"groups": 4, "stride": 1, "padding": 2, "dilation": 2}, {"groups": 4, "stride": 2},
], ids=str)  # fmt: skip
def test_channels_last_convolutions_have_their_gradients(settings):
    x = ng.randn(2, 4, 5, 6, dtype=ng.float64).contiguous(memory_format=ng.channels_last).requires_grad_()
    w = ng.randn(4, 4 // settings["groups"], 3, 2, dtype=ng.float64).requires_grad_()
    b = ng.randn(4, dtype=ng.float64, requires_grad=True)
    ng.autograd.gradcheck(lambda x, w, b: ng.conv2d(x, w, b, **settings), (x, w, b))
    ng.autograd.gradgradcheck(lambda x, w: ng.conv2d(x, w, **settings), (x, w))


def test_integers_and_halves_keep_it_too():
    for d in (ng.int64, ng.float16, ng.bfloat16):
        x = ng.arange(2 * 4 * 4 * 4).reshape(2, 4, 4, 4).remainder(5).to(d)
        w = ng.ones(3, 4, 2, 2, dtype=d)
        found = ng.conv2d(x.contiguous(memory_format=ng.channels_last), w)
        assert found.is_contiguous(memory_format=ng.channels_last)
        assert found.equal(ng.conv2d(x, w))
