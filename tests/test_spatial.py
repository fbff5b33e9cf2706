"""Images at other sizes and places, windows, normalisation of channels, margins and bags: against PyTorch, with second
derivatives."""

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad.autograd import gradcheck, gradgradcheck
from numgrad.ops.resample import taps_along

torch = pytest.importorskip("torch")


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


IMAGE, LINE, VOLUME = array(2, 4, 5, 6), array(2, 4, 7), array(1, 2, 3, 4, 3)
GRID = array(2, 3, 4, 2, seed=1) * 0.8
ROWS, TARGET = array(4, 5), np.array([0, 3, 1, 4])
CALLS = {
    "unfold": (lambda T, x: T.nn.functional.unfold(x, (2, 3), 2, 1, 2), IMAGE),
    "fold": (lambda T, x: T.nn.functional.fold(x.reshape(2, 3, 30), (5, 8), (1, 3), 1, 0, (1, 1))[:, :, 1:], array(2, 3, 5, 6)),
    "pixel_shuffle": (lambda T, x: T.pixel_shuffle(x, 2), IMAGE),
    "pixel_unshuffle": (lambda T, x: T.pixel_unshuffle(x[..., :4, :4], 2), IMAGE),
    "channel_shuffle": (lambda T, x: T.nn.functional.channel_shuffle(x, 2), IMAGE),
    "group_norm": (lambda T, x: T.nn.functional.group_norm(x, 2, x[0, :, 0, 0], x[1, :, 0, 0]), IMAGE),
    "instance_norm": (lambda T, x: T.nn.functional.instance_norm(x), IMAGE),
    "local_response_norm": (lambda T, x: T.nn.functional.local_response_norm(x, 3, 0.5), IMAGE),
    "conv_transpose1d": (lambda T, x: T.nn.functional.conv_transpose1d(x, x[:, :, :3].repeat(2, 1, 1)[:, :2], None, 2, 1, 1), LINE),
    "conv_transpose2d": (lambda T, x: T.nn.functional.conv_transpose2d(
        x, x[0, :, :3, :2].unsqueeze(1), x[0, 0, 0, :2], 2, 1, 1, 2), IMAGE),
    "conv_transpose3d": (lambda T, x: T.nn.functional.conv_transpose3d(x, x.transpose(0, 1)[..., :2], dilation=2), VOLUME),
    "nearest": (lambda T, x: T.nn.functional.interpolate(x, scale_factor=1.7), IMAGE),
    "nearest_exact": (lambda T, x: T.nn.functional.interpolate(x, size=(3, 9), mode="nearest-exact"), IMAGE),
    "linear": (lambda T, x: T.nn.functional.interpolate(x, size=11, mode="linear"), LINE),
    "bilinear": (lambda T, x: T.nn.functional.interpolate(x, scale_factor=(1.5, 0.6), mode="bilinear"), IMAGE),
    "bilinear_corners": (lambda T, x: T.nn.functional.interpolate(x, size=(8, 3), mode="bilinear", align_corners=True), IMAGE),
    "bilinear_antialias": (lambda T, x: T.nn.functional.interpolate(x, size=(2, 3), mode="bilinear", antialias=True), IMAGE),
    "bicubic": (lambda T, x: T.nn.functional.interpolate(x, size=(9, 4), mode="bicubic"), IMAGE),
    "bicubic_antialias": (lambda T, x: T.nn.functional.interpolate(x, size=(2, 4), mode="bicubic", antialias=True), IMAGE),
    "trilinear": (lambda T, x: T.nn.functional.interpolate(x, size=(2, 6, 4), mode="trilinear"), VOLUME),
    "area": (lambda T, x: T.nn.functional.interpolate(x, size=(2, 4), mode="area"), IMAGE),
    **{
        f"grid_sample_{mode}_{padding}": (
            lambda T, x, mode=mode, padding=padding: T.nn.functional.grid_sample(
                x, T.from_numpy(GRID), mode=mode, padding_mode=padding, align_corners=padding == "border"
            ), IMAGE)
        for mode in ("bilinear", "nearest", "bicubic") for padding in ("zeros", "border", "reflection")
    },
    "grid_of_grid_sample": (lambda T, g: T.nn.functional.grid_sample(T.from_numpy(IMAGE), g, align_corners=False), GRID),
    "grid_sample_3d": (lambda T, x: T.nn.functional.grid_sample(x, T.from_numpy(array(1, 2, 2, 3, 3) * 0.7), align_corners=True), VOLUME),
    "grid_of_bicubic": (lambda T, g: T.nn.functional.grid_sample(
        T.from_numpy(IMAGE), g, "bicubic", "reflection", align_corners=False), GRID),
    "max_unpool2d": (lambda T, x: T.nn.functional.max_unpool2d(
        *T.nn.functional.max_pool2d(x, 2, return_indices=True), 2, output_size=(5, 6)), IMAGE),
    "max_unpool1d": (lambda T, x: T.nn.functional.max_unpool1d(
        *T.nn.functional.max_pool1d(x, 3, 2, return_indices=True), 3, 2), LINE),
    "lp_pool1d": (lambda T, x: T.nn.functional.lp_pool1d(x.abs(), 3, 3, 1), LINE),
    "lp_pool_of_maxima": (lambda T, x: T.nn.functional.lp_pool2d(x, float("inf"), 2), IMAGE),
    "lp_pool2d": (lambda T, x: T.nn.functional.lp_pool2d(x, 2, (2, 3), ceil_mode=True), IMAGE),
    "affine_grid": (lambda T, x: T.nn.functional.affine_grid(x[:, :2, :3, 0], (2, 1, 3, 4), align_corners=False), IMAGE),
    "cosine_embedding_loss": (lambda T, x: T.nn.functional.cosine_embedding_loss(x, x.flip(1), T.tensor([1, -1, 1, -1]), 0.1), ROWS),
    "margin_ranking_loss": (lambda T, x: T.nn.functional.margin_ranking_loss(x[0], x[1], x[2].sign(), 0.2), ROWS),
    "triplet_margin_loss": (lambda T, x: T.nn.functional.triplet_margin_loss(x, x.flip(0), x.flip(1), swap=True), ROWS),
    "hinge_embedding_loss": (lambda T, x: T.nn.functional.hinge_embedding_loss(x, x.detach().sign()), ROWS),
    "multi_margin_loss": (lambda T, x: T.nn.functional.multi_margin_loss(x, T.from_numpy(TARGET), p=2), ROWS),
    "multilabel_margin_loss": (lambda T, x: T.nn.functional.multilabel_margin_loss(
        x, T.tensor([[0, 2, -1, 1, 1], [1, -1, 0, 0, 0], [4, 3, 2, 1, 0], [-1, 0, 0, 0, 0]])), ROWS),
    "poisson_nll_loss": (lambda T, x: T.nn.functional.poisson_nll_loss(x, x.detach().abs() * 3, full=True), ROWS),
    "gaussian_nll_loss": (lambda T, x: T.nn.functional.gaussian_nll_loss(x, x.flip(0), x * x + 0.1, full=True), ROWS),
    **{
        f"embedding_bag_{mode}": (
            lambda T, x, mode=mode: T.nn.functional.embedding_bag(
                T.tensor([1, 3, 3, 0, 2]), x, T.tensor([0, 2, 2]), mode=mode, padding_idx=0
            ), ROWS)
        for mode in ("sum", "mean", "max")
    },
    "embedding_bag_weighted": (lambda T, x: T.nn.functional.embedding_bag(
        T.tensor([[1, 3], [0, 2]]), x, mode="sum", per_sample_weights=x[:2, :2]), ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_agrees_with_pytorch(name):
    f, values = CALLS[name]
    ours = ng.from_numpy(values.copy()).requires_grad_()
    theirs = torch.from_numpy(values.copy()).requires_grad_()
    out, expected = f(ng, ours), f(torch, theirs)
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-7, atol=1e-9)
    out.cos().sum().backward()
    expected.cos().sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6, atol=1e-8)


TWICE = ("unfold", "fold", "group_norm", "conv_transpose2d", "bilinear", "bicubic_antialias", "grid_of_grid_sample",
         "grid_of_bicubic", "grid_sample_bilinear_zeros", "max_unpool2d", "lp_pool1d", "embedding_bag_mean",
         "cosine_embedding_loss", "gaussian_nll_loss")  # fmt: skip


@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives(name):
    f, values = CALLS[name]
    x = ng.from_numpy(values.copy()).requires_grad_()
    assert gradcheck(lambda x: f(ng, x), (x,), atol=1e-5)
    assert gradgradcheck(lambda x: f(ng, x), (x,), atol=1e-4)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "bicubic"])
@pytest.mark.parametrize(("size", "outs"), [(7, 3), (3, 8), (5, 5), (1, 4), (6, 1)])
@pytest.mark.parametrize("antialias", [False, True])
def test_the_map_of_the_gradients_is_the_transpose(mode, size, outs, antialias):
    taps = taps_along(mode, size, outs, None, False, antialias, np.float64)
    matrices = []
    for found in (taps, taps.transposed):
        matrix = np.zeros((found.outs, found.size))
        for k, (start, stop) in enumerate(zip(found.starts[:-1], found.starts[1:])):
            np.add.at(matrix[k], found.places[start:stop], found.weights[start:stop])
        matrices.append(matrix)
    np.testing.assert_array_equal(matrices[0], matrices[1].T)
    np.testing.assert_allclose(matrices[0].sum(1), 1, rtol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_single_precision_reads_the_same_places(mode):
    x = array(1, 2, 13, 10).astype(np.float32)
    for size in ((26, 20), (7, 3), (40, 33)):
        found = F.interpolate(ng.from_numpy(x), size, mode=mode).numpy()
        expected = torch.nn.functional.interpolate(torch.from_numpy(x), size, mode=mode).numpy()
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_bytes_are_resampled_and_rounded():
    x = np.random.default_rng(0).integers(0, 256, (1, 2, 6, 5)).astype(np.uint8)
    for mode in ("nearest", "bilinear"):
        found = F.interpolate(ng.from_numpy(x), (9, 4), mode=mode)
        wide = torch.nn.functional.interpolate(torch.from_numpy(x).float(), (9, 4), mode=mode).numpy()
        assert found.dtype is ng.uint8 and np.abs(found.numpy() - wide).max() <= 0.5001


def test_a_grid_off_the_image_reads_nothing():
    x, grid = ng.full((1, 1, 3, 3), float("nan")), ng.tensor([[[[5.0, 0.0], [float("inf"), 0.0], [float("nan"), 0.0]]]])
    assert F.grid_sample(x, grid, align_corners=False).tolist() == [[[[0.0, 0.0, 0.0]]]]
    assert F.grid_sample(x[:0], grid[:0], align_corners=True).shape == (0, 1, 1, 3)


def test_instance_norm_moves_the_running_statistics():
    both = [lib.nn.InstanceNorm1d(4, momentum=0.3, affine=True, track_running_stats=True).double() for lib in (ng, torch)]
    outs = [layer(lib.from_numpy(LINE)).detach().numpy() for lib, layer in zip((ng, torch), both)]
    np.testing.assert_allclose(*outs, rtol=1e-9)
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(*[getattr(layer, name).numpy() for layer in both], rtol=1e-12)
    outs = [layer.eval()(lib.from_numpy(LINE[0])).detach().numpy() for lib, layer in zip((ng, torch), both)]
    np.testing.assert_allclose(*outs, rtol=1e-9)


LAYERS = (
    lambda nn: nn.Upsample(scale_factor=2), lambda nn: nn.UpsamplingBilinear2d(3), lambda nn: nn.Fold((4, 5), 2, padding=1),
    lambda nn: nn.Unfold((2, 3)), lambda nn: nn.PixelShuffle(2), lambda nn: nn.GroupNorm(2, 4),
    lambda nn: nn.InstanceNorm2d(3), lambda nn: nn.LocalResponseNorm(2), lambda nn: nn.ZeroPad2d(1),
    lambda nn: nn.ConstantPad1d((1, 2), 3.5), lambda nn: nn.CircularPad3d(1), lambda nn: nn.LPPool2d(2, 3),
    lambda nn: nn.MaxUnpool2d(2, (2, 1)), lambda nn: nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, 2, bias=False),
    lambda nn: nn.LazyConv2d(4, 3, padding=1), lambda nn: nn.LazyBatchNorm1d(),
)  # fmt: skip


@pytest.mark.parametrize("make", LAYERS)
def test_layers_print_as_in_pytorch(make):
    assert repr(make(ng.nn)) == repr(make(torch.nn))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_lazy_layers_take_their_channels_from_the_first_input(n):
    conv = getattr(ng.nn, f"LazyConv{n}d")(6, 2, groups=3)
    norm = getattr(ng.nn, f"LazyBatchNorm{n}d")()
    assert conv.has_uninitialized_params() and norm.has_uninitialized_params()
    net = ng.nn.Sequential(conv, norm)
    out = net(ng.ones(2, 3, *(3,) * n))
    assert out.shape == (2, 6, *(2,) * n)
    assert type(conv) is getattr(ng.nn, f"Conv{n}d") and conv.weight.shape == (6, 1, *(2,) * n)
    assert type(norm) is getattr(ng.nn, f"BatchNorm{n}d") and norm.running_mean.shape == (6,)
    fresh = ng.nn.Sequential(
        getattr(ng.nn, f"LazyConv{n}d")(6, 2, groups=3), getattr(ng.nn, f"LazyBatchNorm{n}d")()
    )
    fresh.load_state_dict(net.state_dict())
    assert ng.equal(fresh.eval()(ng.ones(2, 3, *(3,) * n)), net.eval()(ng.ones(2, 3, *(3,) * n)))


def test_transposed_convolutions_reach_a_wanted_size():
    layer = ng.nn.ConvTranspose2d(4, 2, 3, stride=2, dtype=ng.float64)
    assert layer(ng.from_numpy(IMAGE), output_size=(12, 13)).shape == (2, 2, 12, 13)
    with pytest.raises(ValueError, match="requested an output size"):
        layer(ng.from_numpy(IMAGE), output_size=(13, 13))


def test_bad_arguments_are_refused():
    image = ng.from_numpy(IMAGE)
    with pytest.raises(ValueError, match="either size or scale_factor"):
        F.interpolate(image)
    with pytest.raises(NotImplementedError, match="bilinear mode needs 4D input"):
        F.interpolate(image[0], size=3, mode="bilinear")
    with pytest.raises(RuntimeError, match="divisible by num_groups"):
        F.group_norm(image, 3)
    with pytest.raises(RuntimeError, match="divisible by the square of upscale_factor"):
        F.pixel_shuffle(image, 3)
    with pytest.raises(TypeError, match="expected size to be one of int or"):
        F.interpolate(image, size=2.5)
    with pytest.raises(RuntimeError, match="convert with .float"):
        F.interpolate(image.long(), 3)
    with pytest.raises(ValueError, match="expected mode to be 'bilinear'"):
        F.grid_sample(image, ng.from_numpy(GRID), "linear")
    with pytest.raises(RuntimeError, match="same dtype"):
        F.grid_sample(image, ng.from_numpy(GRID).float(), align_corners=False)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        F.instance_norm(image[:, :, :1, :1])
    with pytest.raises(ValueError, match="invalid output_size"):
        F.max_unpool2d(image, image.long(), 2, output_size=(3, 3))
    with pytest.raises(RuntimeError, match="indices should be type int64"):
        F.max_unpool2d(image, image, 2)
    with pytest.raises(RuntimeError, match="max_unpool1d.*index 4 is out of bounds"):
        F.max_unpool1d(ng.ones(1, 2), ng.tensor([[0, 4]]), 2)
    with pytest.raises(RuntimeError, match="kernel size should be greater than zero"):
        F.conv_transpose2d(image, image.new_zeros(4, 2, 0, 1))
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        ng.nn.LazyConv2d(4, 2, groups=2)(image[:, :3])
    with pytest.raises(RuntimeError, match="sliding blocks"):
        F.fold(image.reshape(2, 4, 30), (5, 6), (1, 2))
    with pytest.raises(RuntimeError, match="output padding must be smaller"):
        F.conv_transpose2d(image, image[0].unsqueeze(1), output_padding=1)
    with pytest.raises(ValueError, match="offsets has to be a 1D Tensor"):
        F.embedding_bag(ng.tensor([1, 2]), ng.ones(3, 2))
