"""Pooling of channels-last arrays ``x(n, *size, channels)``: an output pixel at a time, along the channels.

Units are output pixels of all images; where windows overlap and a gradient is added up, units are images.
"""

from numpy import int64

from .conv import KD, KH, KW, LD, LH, LW, OD, OH, OW, PD, PH, PW, SD, SH, SW, D, H, W
from .jit import inlined, integer, kernel_template, pointer, real, shifted
from .pool import window
from .vmath_plain import where


@inlined
def seen(start, step, taps, size):
    """The taps [low, high) that lie inside a dimension of ``size``, from ``start`` on in steps of ``step``."""
    low = max(int64(0), (step - 1 - start) // step) if start < 0 else int64(0)
    high = min(taps, (size - 1 - start) // step + 1)
    return low, max(low, high)


@inlined
def origin(g, place):
    """Where in the input the window of output pixel ``place`` of an image begins."""
    d = place // (g[OH] * g[OW])
    h = place // g[OW] - d * g[OH]
    return d * g[SD] - g[PD], h * g[SH] - g[PH], place % g[OW] * g[SW] - g[PW]


@kernel_template
def max_forward(operands, begin, end, *, T, INDICES):
    """Output pixels [begin, end) of a maximum over windows; NaN wins. Slots: x, out, indices (flat places in the plane;
    anything without INDICES), geometry, the lowest value of T, channels."""
    x, out, indices = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, int64)
    g = pointer(operands, 3, int64)
    lowest, channels = T(real(operands, 4)), integer(operands, 5)
    size, plane = g[OD] * g[OH] * g[OW], g[D] * g[H] * g[W]
    for unit in range(begin, end):
        image = unit // size
        top, up, left = origin(g, unit - image * size)
        best, places = shifted(out, unit * channels), shifted(indices, unit * channels)
        for c in range(channels):
            best[c] = lowest
            if INDICES:
                places[c] = -1
        d0, d1 = seen(top, g[LD], g[KD], g[D])
        h0, h1 = seen(up, g[LH], g[KH], g[H])
        w0, w1 = seen(left, g[LW], g[KW], g[W])
        for d in range(d0, d1):
            for h in range(h0, h1):
                for w in range(w0, w1):
                    at = ((top + d * g[LD]) * g[H] + up + h * g[LH]) * g[W] + left + w * g[LW]
                    values = shifted(x, (image * plane + at) * channels)
                    if INDICES:
                        for c in range(channels):
                            value, old, old_place = values[c], best[c], places[c]
                            # Of equal values the first stays, of NaNs the last; the first of all is taken.
                            taken = (value > old) | (value != value) | (old_place < 0)
                            best[c] = where(taken, value, old)
                            places[c] = where(taken, at, old_place)
                    else:
                        for c in range(channels):
                            value, old = values[c], best[c]
                            best[c] = where((value > old) | (value != value), value, old)


@kernel_template
def mean_forward(operands, begin, end, *, T):
    """Output pixels [begin, end) of a mean over windows of floats. Slots: x, out, counts, geometry, channels."""
    x, out, divisors = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g, channels = pointer(operands, 3, int64), integer(operands, 4)
    size, plane = g[OD] * g[OH] * g[OW], g[D] * g[H] * g[W]
    for unit in range(begin, end):
        image = unit // size
        top, up, left = origin(g, unit - image * size)
        total = shifted(out, unit * channels)
        for c in range(channels):
            total[c] = T(0)
        d0, d1 = seen(top, int64(1), g[KD], g[D])
        h0, h1 = seen(up, int64(1), g[KH], g[H])
        w0, w1 = seen(left, int64(1), g[KW], g[W])
        for d in range(d0, d1):
            for h in range(h0, h1):
                for w in range(w0, w1):
                    at = ((top + d) * g[H] + up + h) * g[W] + left + w
                    values = shifted(x, (image * plane + at) * channels)
                    for c in range(channels):
                        total[c] += values[c]
        divisor = divisors[unit - image * size]
        for c in range(channels):
            total[c] = total[c] / divisor


@kernel_template
def mean_backward(operands, begin, end, *, T):
    """Images [begin, end) of the gradient of `mean_forward`. Slots: gradient, x's gradient, counts, geometry, channels."""
    gradient, x, divisors = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g, channels = pointer(operands, 3, int64), integer(operands, 4)
    size, plane = g[OD] * g[OH] * g[OW], g[D] * g[H] * g[W]
    for image in range(begin, end):
        target = shifted(x, image * plane * channels)
        for j in range(plane * channels):
            target[j] = T(0)
        for place in range(size):
            top, up, left = origin(g, place)
            errors = shifted(gradient, (image * size + place) * channels)
            divisor = divisors[place]
            d0, d1 = seen(top, int64(1), g[KD], g[D])
            h0, h1 = seen(up, int64(1), g[KH], g[H])
            w0, w1 = seen(left, int64(1), g[KW], g[W])
            for d in range(d0, d1):
                for h in range(h0, h1):
                    for w in range(w0, w1):
                        total = shifted(target, (((top + d) * g[H] + up + h) * g[W] + left + w) * channels)
                        for c in range(channels):
                            total[c] += errors[c] / divisor


# --- places of maxima ------------------------------------------------------------------------------------------------


@kernel_template
def take_places(operands, begin, end, *, T):
    """``out[j] = x[indices[j]]`` in images [begin, end), 0 where the index is -1. Slots: x, indices, out, pixels of an
    image of x and of out, channels."""
    x, indices, out = pointer(operands, 0, T), pointer(operands, 1, int64), pointer(operands, 2, T)
    plane, size, channels = integer(operands, 3), integer(operands, 4), integer(operands, 5)
    for image in range(begin, end):
        source = shifted(x, image * plane * channels)
        for j in range(image * size, (image + 1) * size):
            places, target = shifted(indices, j * channels), shifted(out, j * channels)
            for c in range(channels):
                place = places[c]
                target[c] = source[place * channels + c] if 0 <= place < plane else T(0)


@kernel_template
def add_places(operands, begin, end, *, T):
    """``out[indices[j]] += x[j]`` in images [begin, end) of zeros, but for indices of -1. Slots: x, indices, out, pixels of
    an image of out and of x, channels."""
    x, indices, out = pointer(operands, 0, T), pointer(operands, 1, int64), pointer(operands, 2, T)
    plane, size, channels = integer(operands, 3), integer(operands, 4), integer(operands, 5)
    for image in range(begin, end):
        target = shifted(out, image * plane * channels)
        for j in range(plane * channels):
            target[j] = T(0)
        for j in range(image * size, (image + 1) * size):
            places, source = shifted(indices, j * channels), shifted(x, j * channels)
            for c in range(channels):
                place = places[c]
                if 0 <= place < plane:
                    target[place * channels + c] += source[c]


# --- adaptive windows ------------------------------------------------------------------------------------------------


@kernel_template
def adaptive_mean(operands, begin, end, *, T):
    """Output pixels [begin, end) of means over adaptive windows. Slots: x, out, bounds, geometry, channels."""
    x, out = pointer(operands, 0, T), pointer(operands, 1, T)
    limits, g, channels = pointer(operands, 2, int64), pointer(operands, 3, int64), integer(operands, 4)
    size, plane = g[OD] * g[OH] * g[OW], g[D] * g[H] * g[W]
    for unit in range(begin, end):
        image = unit // size
        d0, d1, h0, h1, w0, w1 = window(g, limits, unit - image * size)
        total = shifted(out, unit * channels)
        for c in range(channels):
            total[c] = T(0)
        for d in range(d0, d1):
            for h in range(h0, h1):
                for w in range(w0, w1):
                    values = shifted(x, (image * plane + (d * g[H] + h) * g[W] + w) * channels)
                    for c in range(channels):
                        total[c] += values[c]
        count = T((d1 - d0) * (h1 - h0) * (w1 - w0))
        for c in range(channels):
            total[c] = total[c] / count


@kernel_template
def adaptive_mean_backward(operands, begin, end, *, T):
    """Images [begin, end) of the gradient of `adaptive_mean`. Slots: gradient, x's gradient, bounds, geometry, channels."""
    gradient, x = pointer(operands, 0, T), pointer(operands, 1, T)
    limits, g, channels = pointer(operands, 2, int64), pointer(operands, 3, int64), integer(operands, 4)
    size, plane = g[OD] * g[OH] * g[OW], g[D] * g[H] * g[W]
    for image in range(begin, end):
        target = shifted(x, image * plane * channels)
        for j in range(plane * channels):
            target[j] = T(0)
        for place in range(size):
            d0, d1, h0, h1, w0, w1 = window(g, limits, place)
            errors = shifted(gradient, (image * size + place) * channels)
            count = T((d1 - d0) * (h1 - h0) * (w1 - w0))
            for d in range(d0, d1):
                for h in range(h0, h1):
                    for w in range(w0, w1):
                        total = shifted(target, ((d * g[H] + h) * g[W] + w) * channels)
                        for c in range(channels):
                            total[c] += errors[c] / count


@kernel_template
def adaptive_max(operands, begin, end, *, T):
    """Output pixels [begin, end) of maxima over adaptive windows; NaN wins. Slots: x, out, indices, bounds, geometry,
    channels."""
    x, out, indices = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, int64)
    limits, g, channels = pointer(operands, 3, int64), pointer(operands, 4, int64), integer(operands, 5)
    size, plane = g[OD] * g[OH] * g[OW], g[D] * g[H] * g[W]
    for unit in range(begin, end):
        image = unit // size
        d0, d1, h0, h1, w0, w1 = window(g, limits, unit - image * size)
        best, places = shifted(out, unit * channels), shifted(indices, unit * channels)
        first = (d0 * g[H] + h0) * g[W] + w0
        values = shifted(x, (image * plane + first) * channels)
        for c in range(channels):
            best[c] = values[c]
            places[c] = first
        for d in range(d0, d1):
            for h in range(h0, h1):
                for w in range(w0, w1):
                    at = (d * g[H] + h) * g[W] + w
                    values = shifted(x, (image * plane + at) * channels)
                    for c in range(channels):
                        value = values[c]
                        if value > best[c] or value != value:
                            best[c] = value
                            places[c] = at
