"""Pooling of flat arrays: maxima and means over windows of up to three dimensions, plane by plane.

Windows of one size (with stride, padding and dilation) are walked tap by tap: one tap of a whole output row is one
loop without branches. Adaptive windows, whose sizes differ, are walked one output at a time.
"""

from math import prod

import numpy as np
from numpy import int64

from .conv import KD, KH, KW, OD, OH, OW, SW, D, H, W, input_row, touched
from .jit import inlined, integer, kernel_template, pointer, real, shifted
from .vmath_plain import where


def geometry(size, out_size, taps, stride, padding, dilation):
    """What `touched` and `input_row` read: six triples, in the places that `conv` gives them."""
    return np.array([1, 1, 1, 1, *size, *out_size, *taps, *stride, *padding, *dilation], np.int64)


def counts(size, out_size, taps, stride, padding, include_padding, dtype):
    """How many elements each window has, as a flat array; padding counts with ``include_padding``."""
    along = []
    for n, outs, tap, step, pad in zip(size, out_size, taps, stride, padding):
        start = np.arange(outs) * step - pad
        stop = np.minimum(start + tap, n + pad)
        if not include_padding:
            start, stop = np.maximum(start, 0), np.minimum(stop, n)
        along.append(stop - start)
    d, h, w = along
    return (d[:, None, None] * h[:, None] * w).astype(dtype).ravel()


def bounds(size, out_size):
    """The adaptive windows: for each dimension where they start, then where they end."""
    parts = []
    for n, outs in zip(size, out_size):
        k = np.arange(outs)
        parts += [k * n // max(outs, 1), -(-(k + 1) * n // max(outs, 1))]
    return np.concatenate(parts).astype(np.int64)


# --- windows of one size ---------------------------------------------------------------------------------------------


@kernel_template
def max_forward(operands, begin, end, *, T, INDICES, STEP):
    """Planes [begin, end) of a maximum over windows; NaN wins. Slots: x, out, indices (flat places in the plane;
    anything without INDICES), geometry, the lowest value of T. STEP is the stride along rows where the compiler is to
    know it, else 0."""
    x, out, indices = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, int64)
    g = pointer(operands, 3, int64)
    lowest = T(real(operands, 4))
    rows = g[OD] * g[OH]
    size = rows * g[OW]
    step = int64(STEP) if STEP else g[SW]
    for unit in range(begin, end):
        source = shifted(x, unit * g[D] * g[H] * g[W])
        target = shifted(out, unit * size)
        for j in range(size):
            target[j] = lowest
        if INDICES:
            places = shifted(indices, unit * size)
            for j in range(size):
                places[j] = -1
        for tap_d in range(g[KD]):
            for tap_h in range(g[KH]):
                for tap_w in range(g[KW]):
                    low, high, start = touched(g, tap_w)
                    for row in range(rows):
                        line = input_row(g, row, tap_d, tap_h)
                        if line >= 0 and low < high:
                            at = line * g[W] + start
                            values = shifted(source, at)
                            best = shifted(target, row * g[OW] + low)
                            if INDICES:
                                place = shifted(places, row * g[OW] + low)
                                for j in range(high - low):
                                    value, old, old_place = values[j * step], best[j], place[j]
                                    # Of equal values the first stays, of NaNs the last; the first of all is taken.
                                    taken = (value > old) | (value != value) | (old_place < 0)
                                    best[j] = where(taken, value, old)
                                    place[j] = where(taken, at + j * step, old_place)
                            else:
                                for j in range(high - low):
                                    value, old = values[j * step], best[j]
                                    best[j] = where((value > old) | (value != value), value, old)


@kernel_template
def mean_forward(operands, begin, end, *, T, INTEGER):
    """Planes [begin, end) of a mean over windows; integers round towards 0. Slots: x, out, counts, geometry."""
    x, out, divisors = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g = pointer(operands, 3, int64)
    rows = g[OD] * g[OH]
    size = rows * g[OW]
    step = g[SW]
    for unit in range(begin, end):
        source = shifted(x, unit * g[D] * g[H] * g[W])
        target = shifted(out, unit * size)
        for j in range(size):
            target[j] = T(0)
        for tap_d in range(g[KD]):
            for tap_h in range(g[KH]):
                for tap_w in range(g[KW]):
                    low, high, start = touched(g, tap_w)
                    for row in range(rows):
                        line = input_row(g, row, tap_d, tap_h)
                        if line >= 0 and low < high:
                            values = shifted(source, line * g[W] + start)
                            total = shifted(target, row * g[OW] + low)
                            for j in range(high - low):
                                total[j] = T(total[j] + values[j * step])
        for j in range(size):
            if INTEGER:
                quotient = abs(target[j]) // abs(divisors[j])
                target[j] = T(quotient if (target[j] >= 0) == (divisors[j] > 0) else -quotient)
            else:
                target[j] = target[j] / divisors[j]


@kernel_template
def mean_backward(operands, begin, end, *, T):
    """Planes [begin, end) of the gradient of `mean_forward`. Slots: gradient, x's gradient, counts, geometry."""
    gradient, x, divisors = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g = pointer(operands, 3, int64)
    rows, plane = g[OD] * g[OH], g[D] * g[H] * g[W]
    step = g[SW]
    for unit in range(begin, end):
        target = shifted(x, unit * plane)
        source = shifted(gradient, unit * rows * g[OW])
        for j in range(plane):
            target[j] = T(0)
        for tap_d in range(g[KD]):
            for tap_h in range(g[KH]):
                for tap_w in range(g[KW]):
                    low, high, start = touched(g, tap_w)
                    for row in range(rows):
                        line = input_row(g, row, tap_d, tap_h)
                        if line >= 0 and low < high:
                            total = shifted(target, line * g[W] + start)
                            errors = shifted(source, row * g[OW] + low)
                            divisor = shifted(divisors, row * g[OW] + low)
                            for j in range(high - low):
                                total[j * step] += errors[j] / divisor[j]


# --- places of maxima ------------------------------------------------------------------------------------------------


@kernel_template
def take_places(operands, begin, end, *, T):
    """``out[j] = x[indices[j]]`` in planes [begin, end), 0 where the index is -1, of a window with nothing but padding.
    Slots: x, indices, out, sizes of x's and out's planes."""
    x, indices, out = pointer(operands, 0, T), pointer(operands, 1, int64), pointer(operands, 2, T)
    plane, size = integer(operands, 3), integer(operands, 4)
    for unit in range(begin, end):
        source, places = shifted(x, unit * plane), shifted(indices, unit * size)
        target = shifted(out, unit * size)
        for j in range(size):
            place = places[j]
            target[j] = source[place] if 0 <= place < plane else T(0)


@kernel_template
def add_places(operands, begin, end, *, T):
    """``out[indices[j]] += x[j]`` in planes [begin, end) of zeros, but for indices of -1. Slots: x, indices, out, sizes
    of out's and x's planes."""
    x, indices, out = pointer(operands, 0, T), pointer(operands, 1, int64), pointer(operands, 2, T)
    plane, size = integer(operands, 3), integer(operands, 4)
    for unit in range(begin, end):
        source, places = shifted(x, unit * size), shifted(indices, unit * size)
        target = shifted(out, unit * plane)
        for j in range(plane):
            target[j] = T(0)
        for j in range(size):
            place = places[j]
            if 0 <= place < plane:
                target[place] += source[j]


# --- adaptive windows ------------------------------------------------------------------------------------------------


@inlined
def window(g, limits, place):
    """The input rows of output number ``place``: first and last slice, row and column."""
    d = place // (g[OH] * g[OW])
    h = place // g[OW] - d * g[OH]
    w = place % g[OW]
    rows, columns = shifted(limits, 2 * g[OD]), shifted(limits, 2 * (g[OD] + g[OH]))
    return limits[d], limits[g[OD] + d], rows[h], rows[g[OH] + h], columns[w], columns[g[OW] + w]


@kernel_template
def adaptive_mean(operands, begin, end, *, T):
    """Planes [begin, end) of means over adaptive windows. Slots: x, out, bounds, geometry."""
    x, out = pointer(operands, 0, T), pointer(operands, 1, T)
    limits, g = pointer(operands, 2, int64), pointer(operands, 3, int64)
    size = g[OD] * g[OH] * g[OW]
    for unit in range(begin, end):
        source = shifted(x, unit * g[D] * g[H] * g[W])
        for place in range(size):
            d0, d1, h0, h1, w0, w1 = window(g, limits, place)
            total = T(0)
            for d in range(d0, d1):
                for h in range(h0, h1):
                    line = shifted(source, (d * g[H] + h) * g[W] + w0)
                    for j in range(w1 - w0):
                        total += line[j]
            out[unit * size + place] = total / T((d1 - d0) * (h1 - h0) * (w1 - w0))


@kernel_template
def adaptive_mean_backward(operands, begin, end, *, T):
    """Planes [begin, end) of the gradient of `adaptive_mean`. Slots: gradient, x's gradient, bounds, geometry."""
    gradient, x = pointer(operands, 0, T), pointer(operands, 1, T)
    limits, g = pointer(operands, 2, int64), pointer(operands, 3, int64)
    size, plane = g[OD] * g[OH] * g[OW], g[D] * g[H] * g[W]
    for unit in range(begin, end):
        target = shifted(x, unit * plane)
        for j in range(plane):
            target[j] = T(0)
        for place in range(size):
            d0, d1, h0, h1, w0, w1 = window(g, limits, place)
            share = gradient[unit * size + place] / T((d1 - d0) * (h1 - h0) * (w1 - w0))
            for d in range(d0, d1):
                for h in range(h0, h1):
                    line = shifted(target, (d * g[H] + h) * g[W] + w0)
                    for j in range(w1 - w0):
                        line[j] += share


@kernel_template
def adaptive_max(operands, begin, end, *, T):
    """Planes [begin, end) of maxima over adaptive windows; NaN wins. Slots: x, out, indices, bounds, geometry."""
    x, out, indices = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, int64)
    limits, g = pointer(operands, 3, int64), pointer(operands, 4, int64)
    size = g[OD] * g[OH] * g[OW]
    for unit in range(begin, end):
        source = shifted(x, unit * g[D] * g[H] * g[W])
        for place in range(size):
            d0, d1, h0, h1, w0, w1 = window(g, limits, place)
            at = (d0 * g[H] + h0) * g[W] + w0
            best = source[at]
            for d in range(d0, d1):
                for h in range(h0, h1):
                    first = (d * g[H] + h) * g[W]
                    for w in range(w0, w1):
                        value = source[first + w]
                        if value > best or value != value:
                            best = value
                            at = first + w
            out[unit * size + place] = best
            indices[unit * size + place] = at


class Windows:
    """Windows of one size, from triples: what the kernels need beside the arrays."""

    def __init__(self, size, out_size, taps, stride, padding, dilation):
        self.size, self.out_size, self.taps, self.stride, self.padding = size, out_size, taps, stride, padding
        self.geometry = geometry(size, out_size, taps, stride, padding, dilation)
        self.plane, self.outs, self.work = prod(size), prod(out_size), prod(out_size) * prod(taps)

    def divisors(self, include_padding, divisor, dtype):
        """The flat array of what means divide by: ``divisor``, or the sizes of the windows."""
        if divisor is not None:
            return np.full(self.outs, divisor, dtype)
        return counts(self.size, self.out_size, self.taps, self.stride, self.padding, include_padding, dtype)
