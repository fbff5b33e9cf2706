"""Padding: a constant, or what is inside reflected, repeated or taken round."""

from ..device import CPU
from ..dtypes import check_number, python_number
from ..kernels import rearrange as kernels
from ..layout import contiguous_format, integers
from ..op import ENTRIES, as_tensor_operand, function
from ..structured import structured
from ..tensor import Tensor, view as make_view
from .arithmetic import add
from .copy import clone, write
from .formats import arranged, empty_in, meta_in
from .parts import slice_along
from .rearrange import flip, mapped
from .reduce import sum as total_sum


@structured(install=(), name="constant_pad_nd", cases="none")
def _padded(input, *, widths, value):
    m = input._m
    shape = tuple(size + before + after for size, (before, after) in zip(m.shape, widths))
    out = empty_in(m.dtype, shape, m.device, m.last)
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


_MODES = {"reflect": kernels.REFLECT, "replicate": kernels.REPLICATE, "circular": kernels.CIRCULAR}


@structured(install=(), name="bordered", cases="none")
def _bordered(input, *, widths, mode, format):
    """``input`` with borders of what is inside it; widths are not negative."""
    shape = tuple(size + before + after for size, (before, after) in zip(input._m.shape, widths))
    starts = {axis: (1, -before) for axis, (before, _) in enumerate(widths)}
    return mapped(input, shape, starts, _MODES[mode], meta_in(input._m.dtype, shape, CPU, format).strides)


@_bordered.backward
def _(g, widths, mode, format):
    return _folded(g, widths, mode, format)


@structured(install=(), name="border_folded", cases="none")
def _folded(input, *, widths, mode, format):
    """What is within the borders of ``input``, with these added where `_bordered` takes them from."""
    for axis, (before, after) in enumerate(widths):
        if before or after:
            size = input._m.shape[axis] - before - after
            body = clone(slice_along(input, axis, before, before + size, 1), format or contiguous_format)
            _add_border(body, slice_along(input, axis, 0, before, 1), axis, mode, True)
            _add_border(body, slice_along(input, axis, before + size, None, 1), axis, mode, False)
            input = body
    return arranged(input, format)


@_folded.backward
def _(g, widths, mode, format):
    return _bordered(g, widths, mode, format)


def _add_border(body, border, axis, mode, first):
    """Add a border at the begin or end of dimension ``axis`` to the elements of ``body`` that it repeats."""
    size, width = body._m.shape[axis], border._m.shape[axis]
    if not border._m.numel:
        return
    if mode == "circular":
        start = size - width if first else 0
    elif mode == "reflect":
        border, start = flip(border, axis), 1 if first else size - 1 - width
    else:
        border, start, width = total_sum(border, axis, True), 0 if first else size - 1, 1
    inner = slice_along(body, axis, start, start + width, 1)
    write(add(inner, border), inner)


@function(install=())
def pad(input, pad, mode="constant", value=None) -> Tensor:
    """``input`` with ``pad`` = (before, after) of the last dimension, then of the one before it and so on, added.

    ``mode``: "constant" (``value``), "reflect", "replicate" or "circular". Negative widths cut off.
    """
    input = as_tensor_operand("pad", input, "input")
    m = input._m
    given = integers("pad", "pad", pad)
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
        fill = 0 if value is None else value.item() if isinstance(value, Tensor) else python_number(value)
        if isinstance(fill, complex) and m.dtype.is_complex:
            real, imag = ENTRIES["real"](input), ENTRIES["imag"](input)
            return ENTRIES["complex"](_padded(real, tuple(widths), fill.real), _padded(imag, tuple(widths), fill.imag))
        check_number("pad", fill, m.dtype)
        fill = fill.real if isinstance(fill, complex) else fill
        fill = int(fill) if m.dtype.kind in "bi" else float(fill)
        return _padded(input, tuple(widths), fill)
    if mode not in _MODES:
        raise NotImplementedError(f"pad: Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise ValueError(f'pad: Padding mode "{mode}" doesn\'t take in value argument')
    _check_padding(m, pairs, widths, shape, mode)
    added = tuple((max(before, 0), max(after, 0)) for before, after in widths)
    cut = tuple((min(before, 0), min(after, 0)) for before, after in widths)
    if mode == "circular":  # round what is left after cutting off
        return _bordered(_cut(input, cut), added, mode, None)
    return _cut(_bordered(input, added, mode, m.last), cut)


def constant_pad_nd(input, pad, value=0) -> Tensor:
    """`nn.functional.pad` with a constant."""
    return _pad(input, pad, "constant", value)


_pad = pad


def _cut(input, widths):
    return _padded(input, widths, 0.0) if any(map(any, widths)) else input


def _check_padding(m, pairs, widths, shape, mode):
    if m.ndim not in (len(pairs) + 1, len(pairs) + 2) or not 1 <= len(pairs) <= 3:
        raise NotImplementedError(
            "pad: Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: got "
            f"{m.ndim}D input and {2 * len(pairs)} widths"
        )
    if any(size == 0 for size in m.shape[1:]):
        raise RuntimeError(
            f"pad: Expected {len(pairs) + 1}D or {len(pairs) + 2}D (batch mode) tensor with possibly 0 batch size and other "
            f"non-zero dimensions for input, but got: {list(m.shape)}"
        )
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


