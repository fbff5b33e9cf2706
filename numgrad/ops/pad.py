"""Padding: a constant, or what is inside reflected, repeated or taken round."""

import numpy as np

from ..op import as_tensor_operand, function
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, from_array, view as make_view
from .copy import clone, write
from .places import Places, reading


@structured(install=(), name="constant_pad_nd", cases="none")
def _padded(input, *, widths, value):
    m = input._m
    shape = tuple(size + before + after for size, (before, after) in zip(m.shape, widths))
    out = empty_tensor(meta(m.dtype, shape, m.device))
    write(value, out)
    # Where a width is negative, that much is cut off instead.
    source, target, inner = 0, 0, []
    for axis, (size, (before, after)) in enumerate(zip(m.shape, widths)):
        source += max(-before, 0) * m.strides[axis]
        target += max(before, 0) * out._m.strides[axis]
        inner.append(size + min(before, 0) + min(after, 0))
    if 0 not in inner:
        kept = make_view(input, source, tuple(inner), m.strides, False)
        write(kept, make_view(out, target, tuple(inner), out._m.strides, False))
    return out


@_padded.backward
def _(g, widths):
    return _padded(g, tuple((-before, -after) for before, after in widths), 0.0)


_MODES = ("reflect", "replicate", "circular")


def _padded_places(op, input, axis, before, after, mode):
    """Where each element of the padded dimension comes from."""
    size = input._m.shape[axis]
    if mode == "circular":  # round what is left after cutting off
        first, last = max(-before, 0), size - max(-after, 0)
        k = first + np.arange(-max(before, 0), last - first + max(after, 0)) % max(last - first, 1)
        return Places(op, (from_array(k.astype(np.int64)).to(input._m.device),), (axis,), wrap=False)
    k = np.arange(-before, size + after)
    if mode == "reflect":
        k = np.abs(k)
        k = np.where(k >= size, 2 * (size - 1) - k, k)
    else:
        k = np.clip(k, 0, size - 1)
    return Places(op, (from_array(k.astype(np.int64)).to(input._m.device),), (axis,), wrap=False)


_padded_by_index = reading("pad")


@function(install=())
def pad(input, pad, mode="constant", value=None) -> Tensor:
    """``input`` with ``pad`` = (before, after) of the last dimension, then of the one before it and so on, added.

    ``mode``: "constant" (``value``), "reflect", "replicate" or "circular". Negative widths cut off.
    """
    input = as_tensor_operand("pad", input, "input")
    m = input._m
    given = [int(width) for width in (pad.tolist() if isinstance(pad, Tensor) else pad)]
    if len(given) % 2:
        raise RuntimeError(f"pad: Padding length must be divisible by 2, got {len(given)}")
    if len(given) // 2 > m.ndim:
        raise RuntimeError(
            f"pad: Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(given)} and input of dimension {m.ndim}"
        )
    pairs = list(zip(given[::2], given[1::2]))
    widths = [(0, 0)] * (m.ndim - len(pairs)) + pairs[::-1]
    shape = [size + before + after for size, (before, after) in zip(m.shape, widths)]
    if mode == "constant":
        for axis, size in enumerate(shape):
            if size < 0:
                raise RuntimeError(
                    f"pad: The input size {m.shape[axis]}, plus negative padding {widths[axis][0]} and "
                    f"{widths[axis][1]} "
                    f"resulted in a negative output size, which is invalid. Check dimension {axis} of your input."
                )
        fill = 0 if value is None else value.item() if isinstance(value, Tensor) else value
        fill = int(fill) if m.dtype.kind in "bi" else float(fill)
        return _padded(input, tuple(widths), fill)
    if mode not in _MODES:
        raise NotImplementedError(f"pad: Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise ValueError(f'pad: Padding mode "{mode}" doesn\'t take in value argument')
    _check_padding(m, pairs, widths, shape, mode)
    for axis, (before, after) in enumerate(widths):
        if before or after:
            input = _padded_by_index(input, _padded_places("pad", input, axis, before, after, mode))
    return input if input._m is not m else clone(input)


def _check_padding(m, pairs, widths, shape, mode):
    if m.ndim not in (len(pairs) + 1, len(pairs) + 2) or not 1 <= len(pairs) <= 3:
        raise NotImplementedError(
            "pad: Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: got "
            f"{m.ndim}D input and {2 * len(pairs)} widths"
        )
    if any(size == 0 for size in m.shape[1:]):
        raise RuntimeError(f"pad: expected non-empty dimensions for input, got shape {list(m.shape)}")
    for axis, (before, after) in enumerate(widths):
        size = m.shape[axis]
        if mode == "reflect" and (before >= size or after >= size) and (before or after):
            raise RuntimeError(
                f"pad: Padding size should be less than the corresponding input dimension, but got: padding ({before}, "
                f"{after}) at dimension {axis} of input {list(m.shape)}"
            )
        if mode == "circular" and (before > size or after > size):
            raise RuntimeError(
                f"pad: Padding value causes wrapping around more than once: padding ({before}, {after}) at dimension "
                f"{axis} of "
                f"input {list(m.shape)}"
            )
        if shape[axis] <= 0 and (before or after):
            raise RuntimeError(
                f"pad: padding ({before}, {after}) leaves nothing of dimension {axis} of input {list(m.shape)}"
            )


