"""Weighted sums of elements of flat planes, whose places are the same for all channels of an image.

``places`` and ``weights`` are (n, taps, outs); a negative place stands for nothing.
"""

from numpy import int64

from .jit import integer, kernel_template, pointer, shifted

BLOCK = 64  # outputs of a unit


@kernel_template
def take_weighted(operands, begin, end, *, T):
    """Blocks [begin, end) of ``out[n, c, q] = sum over t of weights[n, t, q] * x[n, c, places[n, t, q]]``. Slots:
    x(n, channels, size), weights, places, out, channels, size, taps, outs. The channels of a block follow each other,
    so that its places and weights stay in the cache."""
    x, weights = pointer(operands, 0, T), pointer(operands, 1, T)
    places, out = pointer(operands, 2, int64), pointer(operands, 3, T)
    channels, size = integer(operands, 4), integer(operands, 5)
    taps, outs = integer(operands, 6), integer(operands, 7)
    blocks = (outs + BLOCK - 1) // BLOCK
    for unit in range(begin, end):
        block = unit // channels
        n = block // blocks
        low = (block - n * blocks) * BLOCK
        width = min(int64(BLOCK), outs - low)
        plane = n * channels + unit - block * channels
        source, target = shifted(x, plane * size), shifted(out, plane * outs + low)
        for j in range(width):
            target[j] = T(0)
        for t in range(taps):
            first = (n * taps + t) * outs + low
            at, factor = shifted(places, first), shifted(weights, first)
            for j in range(width):
                place = at[j]
                if place >= 0:
                    target[j] += factor[j] * source[place]


@kernel_template
def add_weighted(operands, begin, end, *, T):
    """Planes [begin, end): zeros with ``weights[n, t, q] * g[n, c, q]`` added at ``places[n, t, q]``. Slots:
    g(n, channels, outs), weights, places, out(n, channels, size), channels, size, taps, outs."""
    g, weights = pointer(operands, 0, T), pointer(operands, 1, T)
    places, out = pointer(operands, 2, int64), pointer(operands, 3, T)
    channels, size = integer(operands, 4), integer(operands, 5)
    taps, outs = integer(operands, 6), integer(operands, 7)
    for plane in range(begin, end):
        source, target = shifted(g, plane * outs), shifted(out, plane * size)
        first = plane // channels * taps * outs
        for j in range(size):
            target[j] = T(0)
        for t in range(taps):
            at, factor = shifted(places, first + t * outs), shifted(weights, first + t * outs)
            for q in range(outs):
                place = at[q]
                if place >= 0:
                    target[place] += factor[q] * source[q]


@kernel_template
def products(operands, begin, end, *, T):
    """Blocks [begin, end) of ``out[n, t, q] = sum over c of g[n, c, q] * x[n, c, places[n, t, q]]``. Slots:
    g(n, channels, outs), x(n, channels, size), places, out, channels, size, taps, outs."""
    g, x = pointer(operands, 0, T), pointer(operands, 1, T)
    places, out = pointer(operands, 2, int64), pointer(operands, 3, T)
    channels, size = integer(operands, 4), integer(operands, 5)
    taps, outs = integer(operands, 6), integer(operands, 7)
    blocks = (outs + BLOCK - 1) // BLOCK
    for unit in range(begin, end):
        row = unit // blocks  # of (n, taps)
        low = (unit - row * blocks) * BLOCK
        width = min(int64(BLOCK), outs - low)
        at, target = shifted(places, row * outs + low), shifted(out, row * outs + low)
        for j in range(width):
            target[j] = T(0)
        for c in range(channels):
            plane = row // taps * channels + c
            errors, source = shifted(g, plane * outs + low), shifted(x, plane * size)
            for j in range(width):
                place = at[j]
                if place >= 0:
                    target[j] += errors[j] * source[place]
