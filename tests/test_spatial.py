"""Images at other sizes and places, windows, normalisation of channels, margins and bags: against PyTorch, with second
derivatives."""

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad.autograd import gradcheck, gradgradcheck

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


TWICE = ("unfold", "fold", "group_norm", "conv_transpose2d", "bilinear", "grid_of_grid_sample", "embedding_bag_mean",
         "cosine_embedding_loss", "gaussian_nll_loss")  # fmt: skip


@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives(name):
    f, values = CALLS[name]
    x = ng.from_numpy(values.copy()).requires_grad_()
    assert gradcheck(lambda x: f(ng, x), (x,), atol=1e-5)
    assert gradgradcheck(lambda x: f(ng, x), (x,), atol=1e-4)


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
    with pytest.raises(RuntimeError, match="sliding blocks"):
        F.fold(image.reshape(2, 4, 30), (5, 6), (1, 2))
    with pytest.raises(RuntimeError, match="output padding must be smaller"):
        F.conv_transpose2d(image, image[0].unsqueeze(1), output_padding=1)
    with pytest.raises(ValueError, match="offsets has to be a 1D Tensor"):
        F.embedding_bag(ng.tensor([1, 2]), ng.ones(3, 2))
