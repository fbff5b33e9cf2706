"""Pooling in one to three spatial dimensions: maxima and means over windows, sliding or adaptive. Each gradient is an
op of its own, the transpose of its forward op, so that derivatives of any order are made of the two."""

from functools import lru_cache
from math import prod

import numpy as np

from .. import dtypes
from ..inplace import write_out
from ..kernels import pool as kernels, pool_last as last_kernels
from ..layout import integer, integers
from ..op import as_tensor_operand, called, function, plain, record, recording
from ..structured import structured
from .formats import arranged, conform_in, empty_in, meta_in, restored
from .launch import launch
from .reduce import mean

_SINGLE = {1: "a single int", 2: "a single int, or a tuple of two ints", 3: "a single int, or a tuple of three ints"}


@lru_cache(1 << 12)
def _windows(size, out_size, taps, stride, padding, dilation):
    """The `kernels.Windows` of up to three dimensions."""
    lead = 3 - len(size)
    return kernels.Windows(*[
        (fill,) * lead + values for fill, values in (
            (1, size), (1, out_size), (1, taps), (1, stride), (0, padding), (1, dilation),
        )
    ])  # fmt: skip


@lru_cache(1 << 12)
def _divisors(windows, include_padding, divisor, dtype):
    return windows.divisors(include_padding, divisor, dtype)


@lru_cache(1 << 12)
def _adaptive(size, out_size):
    """(geometry, bounds, elements of a plane) of adaptive windows."""
    lead = (1,) * (3 - len(size))
    size, out_size, none = lead + size, lead + out_size, (0, 0, 0)
    geometry = kernels.geometry(size, out_size, none, none, none, none)
    return geometry, kernels.bounds(size, out_size), prod(size)


_BY_IMAGES = {"mean_backward", "adaptive_mean_backward", "take_places", "add_places"}  # units of channels-last kernels


def _format(m, flat=False):
    """The channels-last format that kernels read an input of meta ``m`` in, or None. ``flat``: one for means and
    adaptive windows, which are row-major in three dimensions, as PyTorch has them, and for integers."""
    return m.last if m.device.type != "cuda" and not (flat and (m.ndim == 5 or not m.dtype.is_floating_point)) else None


def _launch(name, format, parameters, slots, m, n, work):
    """Run the kernel ``name`` for a result of meta ``m``: by planes, or in a channels-last format by pixels or images."""
    if format is None:
        launch(getattr(kernels, name), parameters, slots, prod(m.shape[:-n]), work, m.device)
        return
    images, channels, *size = m.shape
    work *= channels
    units = images
    if name not in _BY_IMAGES:
        units, work = images * prod(size), work // max(prod(size), 1)
    launch(getattr(last_kernels, name), parameters, (*slots, channels), units, work, m.device)


def _lowest(d):
    return float("-inf") if d.is_floating_point else float(np.iinfo(d.np).min)


# --- maxima ----------------------------------------------------------------------------------------------------------


@structured(install=(), name="max_pool", raw=True, cases="none")
def _taken(input, indices, *, n):
    """``input`` at ``indices``, flat places in planes of ``n`` dimensions: (..., *size), (..., *out_size) ->
    (..., *out_size)."""
    m, im = input._m, indices._m
    format = _format(im)
    out = empty_in(m.dtype, im.shape, m.device, format)
    if im.numel:
        size, outs = prod(m.shape[-n:]), prod(im.shape[-n:])
        slots = arranged(input, format)._d, arranged(indices, format)._d, out._d, size, outs
        _launch("take_places", format, {"T": m.np.type}, slots, im, n, outs)
    return out


@_taken.backward
def _(g, input_meta, indices, n):
    return _spread(conform_in(g, input_meta, _format(indices._m)), indices, tuple(input_meta.shape), n), None


@structured(install=(), name="max_pool_input_grad", raw=True, cases="none")
def _spread(g, indices, *, shape, n):
    """Zeros of ``shape`` with ``g`` added at ``indices``, flat places in planes of ``n`` dimensions."""
    m = g._m
    format = _format(indices._m)
    out = empty_in(m.dtype, shape, m.device, format)
    if out._m.numel:
        size, outs = prod(shape[-n:]), prod(m.shape[-n:])
        slots = arranged(g, format)._d, arranged(indices, format)._d, out._d, size, outs
        _launch("add_places", format, {"T": m.np.type}, slots, out._m, n, size)
    return out


@_spread.backward
def _(gg, g_meta, indices, n):
    return _taken(conform_in(gg, g_meta, _format(indices._m)), indices, n), None


def _max_pool(name, n, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    input = as_tensor_operand(name, input, "input")
    m = input._m
    if m.dtype.kind == "b":
        raise RuntimeError(f"\"{name}\" not implemented for 'Bool'; convert with .float() or .long()")
    taps, stride, padding, dilation, out_size = _sliding(
        name, n, tuple(m.shape), kernel_size, stride, padding, dilation, ceil_mode
    )
    windows = _windows(tuple(m.shape[-n:]), out_size, taps, stride, padding, dilation)
    shape = (*m.shape[:-n], *out_size)
    format = _format(m)
    values = empty_in(m.dtype, shape, m.device, format)
    recorded = m.dtype.is_floating_point and recording((input,))
    keep = recorded or return_indices
    indices = empty_in(dtypes.int64, shape, m.device, format) if keep else values
    slots = arranged(plain(input), format)._d, values._d, indices._d, windows.geometry, _lowest(m.dtype)
    parameters = {"T": m.np.type, "INDICES": bool(keep)}
    if format is None:
        parameters["STEP"] = stride[-1] if stride[-1] <= 2 else 0
    _launch("max_forward", format, parameters, slots, values._m, n, windows.work)
    if recorded:
        values._n = record(_taken.op, (input, indices), values, {"n": n})
        called(values, f"MaxPool{n}DWithIndicesBackward0")
    return (values, indices) if return_indices else values


def _adaptive_max_pool(name, n, input, output_size, return_indices):
    input = as_tensor_operand(name, input, "input")
    m = input._m
    out_size = _adaptive_size(name, n, m, output_size)
    shape = (*m.shape[:-n], *out_size)
    format = _format(m, flat=True)
    values = empty_in(m.dtype, shape, m.device, format)
    indices = empty_in(dtypes.int64, shape, m.device, format)
    geometry, bounds, plane = _adaptive(tuple(m.shape[-n:]), out_size)
    if values._m.numel:
        slots = arranged(plain(input), format)._d, values._d, indices._d, bounds, geometry
        _launch("adaptive_max", format, {"T": m.np.type}, slots, values._m, n, plane)
    if recording((input,)):
        values._n = record(_taken.op, (input, indices), values, {"n": n})
    return (values, indices) if return_indices else values


# --- means -----------------------------------------------------------------------------------------------------------


@structured(install=(), name="avg_pool", raw=True, cases="none")
def _averaged(input, *, out_size, taps, stride, padding, include, divisor):
    """Means over windows; padding counts where ``include``; ``divisor`` replaces the number of elements."""
    m, n = input._m, len(taps)
    windows = _windows(tuple(m.shape[-n:]), out_size, taps, stride, padding, (1,) * n)
    shape = (*m.shape[:-n], *out_size)
    format = _format(m, flat=True)
    out = empty_in(m.dtype, shape, m.device, format)
    slots = arranged(input, format)._d, out._d, _divisors(windows, include, divisor, m.np), windows.geometry
    parameters = {"T": m.np.type} if format else {"T": m.np.type, "INTEGER": not m.dtype.is_floating_point}
    _launch("mean_forward", format, parameters, slots, out._m, n, windows.work)
    return restored(out, m.last) if m.ndim == 4 else out


@_averaged.backward
def _(g, input_meta, taps, stride, padding, include, divisor):
    g = conform_in(g, input_meta, _format(input_meta, flat=True))
    return _shared_out(g, tuple(input_meta.shape), taps, stride, padding, include, divisor)


@structured(install=(), name="avg_pool_input_grad", raw=True, cases="none")
def _shared_out(g, *, shape, taps, stride, padding, include, divisor):
    """The gradient of `_averaged` for an input of ``shape``."""
    m, n = g._m, len(taps)
    windows = _windows(tuple(shape[-n:]), tuple(m.shape[-n:]), taps, stride, padding, (1,) * n)
    format = _format(m, flat=True)
    out = empty_in(m.dtype, shape, m.device, format)
    slots = arranged(g, format)._d, out._d, _divisors(windows, include, divisor, m.np), windows.geometry
    _launch("mean_backward", format, {"T": m.np.type}, slots, out._m, n, windows.work)
    return out


@_shared_out.backward
def _(gg, g_meta, taps, stride, padding, include, divisor):
    return _averaged(conform_in(gg, g_meta, _format(g_meta, flat=True)), tuple(g_meta.shape[-len(taps) :]), taps, stride, padding, include, divisor)


@structured(install=(), name="adaptive_avg_pool", raw=True, cases="none")
def _adapted(input, *, out_size):
    """Means over windows ``[floor(k * size / out), ceil((k + 1) * size / out))``."""
    m, n = input._m, len(out_size)
    geometry, bounds, plane = _adaptive(tuple(m.shape[-n:]), out_size)
    shape = (*m.shape[:-n], *out_size)
    format = _format(m, flat=True)
    out = empty_in(m.dtype, shape, m.device, format)
    slots = arranged(input, format)._d, out._d, bounds, geometry
    if out._m.numel:
        _launch("adaptive_mean", format, {"T": m.np.type}, slots, out._m, n, plane)
    return out


@_adapted.backward
def _(g, input_meta, out_size):
    return _adapted_grad(conform_in(g, input_meta, _format(input_meta, flat=True)), tuple(input_meta.shape), out_size)


@structured(install=(), name="adaptive_avg_pool_input_grad", raw=True, cases="none")
def _adapted_grad(g, *, shape, out_size):
    """The gradient of `_adapted` for an input of ``shape``."""
    m, n = g._m, len(out_size)
    geometry, bounds, plane = _adaptive(tuple(shape[-n:]), out_size)
    format = _format(m, flat=True)
    out = empty_in(m.dtype, shape, m.device, format)
    slots = arranged(g, format)._d, out._d, bounds, geometry
    _launch("adaptive_mean_backward", format, {"T": m.np.type}, slots, out._m, n, plane)
    return out


@_adapted_grad.backward
def _(gg, g_meta, out_size):
    return _adapted(conform_in(gg, g_meta, _format(g_meta, flat=True)), out_size)


def _avg_pool(name, n, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    input = as_tensor_operand(name, input, "input")
    m = input._m
    if m.dtype.kind == "b":
        raise RuntimeError(f"\"{name}\" not implemented for 'Bool'; convert with .float() or .long()")
    if divisor_override is not None:
        divisor_override = integer(name, "divisor_override", divisor_override)
    if divisor_override == 0:
        raise RuntimeError(f"{name}: divisor must be not zero; leave divisor_override None for the size of the window")
    taps, stride, padding, _, out_size = _sliding(name, n, tuple(m.shape), kernel_size, stride, padding, 1, ceil_mode)
    found = _averaged(input, out_size, taps, stride, padding, bool(count_include_pad), divisor_override)
    return called(found, f"AvgPool{n}DBackward0")


def _adaptive_avg_pool(name, n, input, output_size):
    input = as_tensor_operand(name, input, "input")
    m = input._m
    out_size = _adaptive_size(name, n, m, output_size)
    size = tuple(m.shape[-n:])
    if all(k == 1 for k in out_size):
        found = mean(input, tuple(range(m.ndim - n, m.ndim)), True)
        if m.last and not found._m.batched:  # of single pixels the formats differ in the strides alone
            found._m = meta_in(found._m.dtype, found._m.shape, found._m.device, m.last)
        return found
    if 0 not in out_size and not any(a % b for a, b in zip(size, out_size)):
        taps = tuple(a // b for a, b in zip(size, out_size))
        return _averaged(input, out_size, taps, taps, (0,) * n, True, None)
    return _adapted(input, out_size)


# --- arguments -------------------------------------------------------------------------------------------------------


def several(name, what, value, n):
    """``value`` as a tuple of ``n`` ints, of 32 bits: kernels multiply and add them."""
    value = integers(name, what, value)
    if any(not -(1 << 31) <= v < 1 << 31 for v in value):
        raise RuntimeError(f"{name}: integer out of range: {what}={list(value)}")
    if len(value) not in (1, n):
        raise RuntimeError(f"{name}: {what} must either be {_SINGLE[n]}, got {list(value)}")
    return tuple(value) * (n if len(value) == 1 else 1)


def batched(name, n, shape, empty=False):
    """Refuse shapes that are not (N, C, *size) or (C, *size), with sizes above 0 except for N; with ``empty``, except for
    the first one."""
    if len(shape) not in (n + 1, n + 2) or 0 in shape[1 if empty else -n - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, but "
            f"got: {list(shape)}. Expected input to have non-zero size for non-batch dimensions"
        )


@lru_cache(1 << 12)
def _checked(name, n, shape, kernel_size, stride, padding, dilation, ceil_mode):
    taps = several(name, "kernel_size", kernel_size, n)
    steps = taps if stride is None or stride == () else several(name, "stride", stride, n)
    padding, dilation = several(name, "padding", padding, n), several(name, "dilation", dilation, n)
    if any(s <= 0 for s in steps):
        raise RuntimeError(f"{name}: stride must be greater than zero, but got {min(steps)}: stride should not be zero or negative")
    if any(k <= 0 for k in taps):
        raise RuntimeError(f"{name}: kernel size should be greater than zero, but got {list(taps)}")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(f"{name}: dilation should be greater than zero, but got {list(dilation)}")
    if any(p < 0 for p in padding):
        raise RuntimeError(f"{name}: pad must be non-negative, but got padding {list(padding)}")
    for k, p, d in zip(taps, padding, dilation):
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"{name}: pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )
    batched(name, n, shape)
    out_size = tuple(
        _out_size(*values, ceil_mode) for values in zip(shape[-n:], taps, steps, padding, dilation)
    )  # fmt: skip
    if any(size < 1 for size in out_size):
        shapes = ["x".join(map(str, (shape[-n - 1], *sizes))) for sizes in (shape[-n:], out_size)]
        raise RuntimeError(
            f"{name}: Given input size: ({shapes[0]}). Calculated output size: ({shapes[1]}). Output size is too small"
        )
    return taps, steps, padding, dilation, out_size


def _out_size(size, taps, stride, padding, dilation, ceil_mode):
    """The number of windows; with ``ceil_mode`` one more may start inside the input or the padding before it."""
    span = size + 2 * padding - dilation * (taps - 1) - 1
    outs = (span + (stride - 1 if ceil_mode else 0)) // stride + 1
    return outs - 1 if ceil_mode and (outs - 1) * stride >= size + padding else outs


def _sliding(name, n, shape, *arguments):
    arguments = [
        value if type(value) is int or value is None or isinstance(value, tuple) and not value else integers(name, what, value)
        for what, value in zip(("kernel_size", "stride", "padding", "dilation"), arguments)
    ] + [arguments[-1]]
    return _checked(name, n, shape, *arguments[:-1], bool(arguments[-1]))


def _adaptive_size(name, n, m, output_size):
    """``output_size`` as a tuple; None stands for the input's size."""
    if output_size is None or hasattr(output_size, "__index__"):
        output_size = (output_size,) * n
    if len(output_size) != n:
        expected = "'output_size' should contain one int" if n == 1 else f"output_size must be {n}"
        raise RuntimeError(f"{name}: {expected}, got {len(output_size)} numbers: {tuple(output_size)}")
    if n > 1 and m.ndim <= n:
        raise ValueError(f"{name}: Input dimension should be at least {n + 1}, got {list(m.shape)}")
    batched(name, n, m.shape, empty=True)
    if not m.dtype.is_floating_point:
        raise RuntimeError(f'"{name}" not implemented for {m.dtype!r}; convert with .float()')
    found = tuple(
        size if k is None else integer(name, "output_size", k) for k, size in zip(output_size, m.shape[-n:])
    )
    if any(k < 0 for k in found):
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0 but received {found}")
    return found


# --- public functions ------------------------------------------------------------------------------------------------

_MAX = """The maximum over sliding windows: (N, C, {size}) or (C, {size}) -> the same with the number of windows.

    There are ``floor((size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1`` windows a dimension (ceil
    with ``ceil_mode``); ``stride`` defaults to ``kernel_size``. With ``return_indices`` also where the maxima are, as
    flat places in a plane. Raises RuntimeError where sizes do not fit.
    """
_AVG = """The mean over sliding windows: (N, C, {size}) or (C, {size}) -> the same with the number of windows.

    There are ``floor((size + 2 * padding - kernel_size) / stride) + 1`` windows a dimension (ceil with ``ceil_mode``);
    ``stride`` defaults to ``kernel_size``. Zeros of the padding count with ``count_include_pad``. Raises RuntimeError
    where sizes do not fit.
    """
_ADAPTIVE = """The {what} over as many windows as ``output_size`` says: (N, C, {size}) or (C, {size}) -> the same with
    these sizes; None keeps a size. Window k of ``out`` spans ``[floor(k * size / out), ceil((k + 1) * size / out))``.
    """
_SIZES = {1: "L", 2: "H, W", 3: "D, H, W"}


def _family(n):
    """The functions for ``n`` spatial dimensions: two for maxima, means, adaptive means, two for adaptive maxima."""
    names = [f"max_pool{n}d", f"avg_pool{n}d", f"adaptive_avg_pool{n}d", f"adaptive_max_pool{n}d"]
    max_name, avg_name, adaptive_avg_name, adaptive_max_name = names

    def max_pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        return _max_pool(max_name, n, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)

    def max_pool_with_indices(
        input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
    ):
        return _max_pool(max_name, n, input, kernel_size, stride, padding, dilation, ceil_mode, True)

    if n == 1:

        def avg_pool(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
            return _avg_pool(avg_name, n, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    else:

        def avg_pool(
            input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None,
            *, out=None,
        ):
            found = _avg_pool(
                avg_name, n, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
            )
            return found if out is None else write_out(avg_name, found, out)

    def adaptive_avg_pool(input, output_size):
        return _adaptive_avg_pool(adaptive_avg_name, n, input, output_size)

    def adaptive_max_pool(input, output_size, return_indices=False):
        return _adaptive_max_pool(adaptive_max_name, n, input, output_size, return_indices)

    def adaptive_max_pool_with_indices(input, output_size, return_indices=False):
        return _adaptive_max_pool(adaptive_max_name, n, input, output_size, True)

    size = _SIZES[n]
    adaptive_max_doc = _ADAPTIVE.format(what="maximum", size=size)
    made = [
        (max_pool, max_name, _MAX.format(size=size)),
        (max_pool_with_indices, f"{max_name}_with_indices", _MAX.format(size=size)),
        (avg_pool, avg_name, _AVG.format(size=size)),
        (adaptive_avg_pool, adaptive_avg_name, _ADAPTIVE.format(what="mean", size=size)),
        (adaptive_max_pool, adaptive_max_name, adaptive_max_doc),
        (adaptive_max_pool_with_indices, f"{adaptive_max_name}_with_indices", adaptive_max_doc),
    ]
    for fn, name, doc in made:
        fn.__name__ = fn.__qualname__ = name
        fn.__doc__ = doc
        function(fn, install=("ng",) if n == 1 or fn is max_pool else ())
    return [fn for fn, _, _ in made]


(
    max_pool1d, max_pool1d_with_indices, avg_pool1d, adaptive_avg_pool1d, adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
) = _family(1)  # fmt: skip
(
    max_pool2d, max_pool2d_with_indices, avg_pool2d, adaptive_avg_pool2d, adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
) = _family(2)  # fmt: skip
(
    max_pool3d, max_pool3d_with_indices, avg_pool3d, adaptive_avg_pool3d, adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
) = _family(3)  # fmt: skip
