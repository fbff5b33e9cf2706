"""Windows and channels of images: unfold and fold, pixel and channel shuffles."""

from math import prod

from ..layout import integer, integers
from ..op import as_tensor_operand, called, function
from ..storage import strided_meta
from ..structured import structured
from ..tensor import Tensor, make
from . import unfolded
from .copy import write
from .formats import empty_in
from .view import reshape


@structured(install=(), raw=True, cases="none", grad_name="Im2ColBackward0")
def windows(input, *, taps, out_size, stride, padding, dilation):
    """(N, C, *size) -> (N, C, *taps, *out_size): what every tap of a window sees."""
    return unfolded.unfold(input, taps, out_size, stride, padding, dilation)


@windows.backward
def _(g, input_meta, stride, padding, dilation):
    return overlapped(g, tuple(input_meta.shape[2:]), stride, padding, dilation)


@structured(install=(), raw=True, cases="none", grad_name="Col2ImBackward0")
def overlapped(input, *, size, stride, padding, dilation):
    """The transpose of `windows`."""
    return unfolded.fold(input, size, stride, padding, dilation)


@overlapped.backward
def _(g, input_meta, size, stride, padding, dilation):
    rest = tuple(input_meta.shape[2:])
    return windows(g, rest[: len(size)], rest[len(size) :], stride, padding, dilation)


def _two(name, what, value, least):
    pair = integers(name, what, value)
    pair = pair * 2 if len(pair) == 1 else pair
    if len(pair) != 2:
        raise RuntimeError(f"{name}: It is expected {what} equals to 2, but got size {len(pair)}")
    if any(v < least for v in pair):
        raise RuntimeError(f"{name}: {what} should be at least {least}, but got {list(pair)}")
    return pair


def _geometry(name, kernel_size, dilation, padding, stride):
    return (
        _two(name, "kernel_size", kernel_size, 1), _two(name, "stride", stride, 1), _two(name, "padding", padding, 0),
        _two(name, "dilation", dilation, 1),
    )  # fmt: skip


def _counts(size, taps, stride, padding, dilation):
    return tuple((n + 2 * p - d * (t - 1) - 1) // s + 1 for n, t, s, p, d in zip(size, taps, stride, padding, dilation))


@function(install=("F",))
def unfold(input, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """Sliding blocks as columns: (N, C, H, W) -> (N, C * kh * kw, L), or without N."""
    input = as_tensor_operand("unfold", input, "input")
    taps, stride, padding, dilation = _geometry("unfold", kernel_size, dilation, padding, stride)
    m = input._m
    if m.ndim not in (3, 4) or 0 in m.shape[-3:]:
        raise RuntimeError(
            "unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {list(m.shape)}"
        )
    counts = _counts(m.shape[-2:], taps, stride, padding, dilation)
    if min(counts) < 1:
        raise RuntimeError(
            f"unfold: Given input with spatial size {list(m.shape[-2:])}, kernel_size={list(taps)}, dilation={list(dilation)}, "
            f"padding={list(padding)}, calculated shape of the array of sliding blocks as {list(counts)}, which is too small "
            "(non-positive), but its components must be at least one"
        )
    batch = input if m.ndim == 4 else input.unsqueeze(0)
    found = windows(batch, taps, counts, stride, padding, dilation)
    found = reshape(found, (batch.shape[0], m.shape[-3] * prod(taps), prod(counts)))
    return found if m.ndim == 4 else found.squeeze(0)


@function(install=("F",))
def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """Columns of sliding blocks, added up where they overlap: (N, C * kh * kw, L) -> (N, C, H, W), or without N."""
    input = as_tensor_operand("fold", input, "input")
    taps, stride, padding, dilation = _geometry("fold", kernel_size, dilation, padding, stride)
    size = _two("fold", "output_size", output_size, 1)
    m = input._m
    if m.ndim not in (2, 3) or 0 in m.shape[-2:]:
        raise RuntimeError(
            "fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(m.shape)}"
        )
    if m.shape[-2] % prod(taps):
        raise RuntimeError(
            "fold: Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={m.shape[-2]} and kernel_size={taps}."
        )
    counts = _counts(size, taps, stride, padding, dilation)
    if min(counts) < 1:
        raise RuntimeError(
            f"fold: Given output_size={size}, kernel_size={taps}, dilation={dilation}, padding={padding}, stride={stride}, "
            f"calculated shape of the array of sliding blocks as {counts}, which is too small (non-positive), but its "
            "components must be at least one"
        )
    if prod(counts) != m.shape[-1]:
        raise RuntimeError(
            f"fold: Given output_size={size}, kernel_size={taps}, dilation={dilation}, padding={padding}, stride={stride}, "
            f"expected size of input's dimension 2 to match the calculated number of sliding blocks {counts[0]} * {counts[1]} "
            f"= {prod(counts)}, but got input.size(2)={m.shape[-1]}."
        )
    batch = input if m.ndim == 3 else input.unsqueeze(0)
    columns = reshape(batch, (batch.shape[0], m.shape[-2] // prod(taps), *taps, *counts))
    found = overlapped(columns, size, stride, padding, dilation)
    return found if m.ndim == 3 else found.squeeze(0)


def _shown(tensor, shape, strides):
    """The tensor's memory under another shape."""
    return make(tensor._d, strided_meta(tensor._m.dtype, shape, strides, tensor._m.device))


def _as_pixels(tensor, r):
    """(*, C * r * r, H, W) shown as (*, C, H, r, W, r)."""
    *lead, c, h, w = tensor._m.shape
    *steps, a, b, d = tensor._m.strides
    return _shown(tensor, (*lead, c // (r * r), h, r, w, r), (*steps, a * r * r, b, a * r, d, a))


def _as_blocks(tensor, r):
    """(*, C, H * r, W * r) shown as (*, C, H, r, W, r)."""
    *lead, c, h, w = tensor._m.shape
    *steps, a, b, d = tensor._m.strides
    return _shown(tensor, (*lead, c, h // r, r, w // r, r), (*steps, a, b * r, b, d * r, d))


@structured(install=(), name="pixels_dealt", raw=True, cases="none", grad_name="PixelShuffleBackward0")
def _dealt(input, *, shape, r, back):
    """Blocks of r x r pixels from channels, or with ``back`` channels from them, in one copy."""
    out = empty_in(input._m.dtype, shape, input._m.device, input._m.last if len(shape) == 4 else None)
    if out._m.numel:
        source, target = (_as_blocks, _as_pixels) if back else (_as_pixels, _as_blocks)
        write(source(input, r), target(out, r))
    return out


@_dealt.backward
def _(g, input_meta, r, back):
    return _dealt(g, tuple(input_meta.shape), r, not back)


@structured(install=(), name="channels_dealt", raw=True, cases="none", grad_name="ChannelShuffleBackward0")
def _shuffled(input, *, groups):
    """``out[n, c, g] = input[n, g, c]`` of channels in groups, in one copy."""
    m = input._m
    out = empty_in(m.dtype, m.shape, m.device, m.last)
    n, channels, *size = m.shape
    each = channels // groups
    (a, b, *rest), (p, q, *steps) = m.strides, out._m.strides
    source = _shown(input, (n, groups, each, *size), (a, b * each, b, *rest))
    write(source, _shown(out, (n, groups, each, *size), (p, q, q * groups, *steps)))
    return out


@_shuffled.backward
def _(g, groups):
    return _shuffled(g, g._m.shape[1] // groups)


def _image(name, input, what, factor):
    """(shape, factor) of an image and a factor that are fit for a shuffle."""
    if input._m.ndim < 3:
        raise RuntimeError(f"{name} expects input to have at least 3 dimensions, but got input with {input._m.ndim} dimension(s)")
    factor = integer(name, what, factor)
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {what}, but got {factor}")
    return tuple(input._m.shape), factor


@function(install=("ng", "F"))
def pixel_shuffle(input, upscale_factor: int) -> Tensor:
    """(*, C * r * r, H, W) -> (*, C, H * r, W * r) (arXiv:1609.05158)."""
    shape, r = _image("pixel_shuffle", input, "upscale_factor", upscale_factor)
    if r == 1:
        return input.clone()
    *lead, c, h, w = shape
    if c % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={c} is not divisible by {r * r}"
        )
    return called(_dealt(input, (*lead, c // (r * r), h * r, w * r), r, False), "PixelShuffleBackward0")


@function(install=("ng", "F"))
def pixel_unshuffle(input, downscale_factor: int) -> Tensor:
    """(*, C, H * r, W * r) -> (*, C * r * r, H, W): the reverse of `pixel_shuffle`."""
    shape, r = _image("pixel_unshuffle", input, "downscale_factor", downscale_factor)
    if r == 1:
        return input.clone()
    *lead, c, h, w = shape
    if h % r or w % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but {h} by {w} is not divisible "
            f"by {r}"
        )
    return called(_dealt(input, (*lead, c * r * r, h // r, w // r), r, True), "PixelUnshuffleBackward0")


@function(install=("ng", "F"))
def channel_shuffle(input, groups: int) -> Tensor:
    """The channels (dimension 1) of ``groups`` groups dealt out in turn (arXiv:1707.01083)."""
    shape = tuple(input.shape)
    if len(shape) < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(shape)}")
    groups = integer("channel_shuffle", "groups", groups)
    if groups <= 0 or shape[1] % groups:
        raise RuntimeError(
            f"channel_shuffle: Number of channels must be divisible by a positive number of groups. Got {shape[1]} channels "
            f"and {groups} groups."
        )
    return _shuffled(input, groups) if input.numel() else input.clone()
