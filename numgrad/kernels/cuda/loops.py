"""Hand-written CUDA kernels in the form of kernel templates: units that do not depend on each other, one a thread."""

import numpy as np

from ..jit import integer, kernel_template, pointer, real
from ..philox import philox4x32
from ..vmath import cos, log, log1p, sin, sqrt


@kernel_template
def loop_product(operands, begin, end, *, T, BIAS):
    """``out = alpha * a @ b + beta * out + bias`` of integers, which wrap around; units: elements of out.

    Slots: a, b, bias, out, geometry, alpha, beta. Geometry: m, n, k, strides of a, strides of b, row of out, number of
    batch dimensions, and for each, last first, its size and its strides in a, b and out.
    """
    a = pointer(operands, 0, T)
    b = pointer(operands, 1, T)
    bias = pointer(operands, 2, T)
    out = pointer(operands, 3, T)
    g = pointer(operands, 4, np.int64)
    alpha = integer(operands, 5)
    beta = integer(operands, 6)
    for unit in range(begin, end):
        rest = unit // g[1]
        column = unit - rest * g[1]
        row = rest % g[0]
        rest = rest // g[0]
        at_a = row * g[3]
        at_b = column * g[6]
        at_out = row * g[7] + column
        for d in range(g[8]):
            index = rest % g[9 + 4 * d]
            rest = rest // g[9 + 4 * d]
            at_a += index * g[10 + 4 * d]
            at_b += index * g[11 + 4 * d]
            at_out += index * g[12 + 4 * d]
        total = np.int64(0)
        for p in range(g[2]):
            total += np.int64(a[at_a + p * g[4]]) * np.int64(b[at_b + p * g[5]])
        total = alpha * total
        if beta != 0:
            total += beta * np.int64(out[at_out])
        if BIAS:
            total += np.int64(bias[column])
        out[at_out] = T(total)


# --- random numbers: units are counters, which give four words each --------------------------------------------------


def words(unit, offset, key0, key1):
    """Four random words of 32 bits for the ``unit``-th counter from ``offset`` on."""
    counter = np.uint64(unit) + np.uint64(offset)
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    return philox4x32(counter & low, counter >> shift, np.uint64(0), np.uint64(0), np.uint64(key0), np.uint64(key1))


def unit_32(word):
    """A float32 in [0, 1) from the high 24 bits of a word."""
    return np.float32(np.uint32(word) >> np.uint32(8)) * np.float32(2.0**-24)


def joined(high, low):
    """64 bits from two words."""
    return (np.uint64(high) << np.uint64(32)) | np.uint64(low)


def unit_64(high, low):
    """A float64 in [0, 1) from 53 bits of two words."""
    return np.float64(joined(high, low) >> np.uint64(11)) * np.float64(2.0**-53)


@kernel_template
def uniform_32(operands, begin, end):
    """float32 numbers in [low, high), four a unit. Slots: out, count, offset, key0, key1, low, high."""
    out = pointer(operands, 0, np.float32)
    count = integer(operands, 1)
    low = np.float32(real(operands, 5))
    high = np.float32(real(operands, 6))
    for unit in range(begin, end):
        drawn = words(unit, integer(operands, 2), integer(operands, 3), integer(operands, 4))
        for k in range(4):
            if 4 * unit + k < count:
                value = unit_32(drawn[k]) * (high - low) + low
                out[4 * unit + k] = low if value >= high else value  # rounding must not reach the excluded end


@kernel_template
def uniform_64(operands, begin, end):
    """float64 numbers in [low, high), two a unit. Slots: out, count, offset, key0, key1, low, high."""
    out = pointer(operands, 0, np.float64)
    count = integer(operands, 1)
    low = real(operands, 5)
    high = real(operands, 6)
    for unit in range(begin, end):
        drawn = words(unit, integer(operands, 2), integer(operands, 3), integer(operands, 4))
        for k in range(2):
            if 2 * unit + k < count:
                value = unit_64(drawn[2 * k], drawn[2 * k + 1]) * (high - low) + low
                out[2 * unit + k] = low if value >= high else value


@kernel_template
def normal_32(operands, begin, end):
    """float32 normals (Box and Muller), four a unit. Slots: out, count, offset, key0, key1, mean, std."""
    out = pointer(operands, 0, np.float32)
    count = integer(operands, 1)
    mean = np.float32(real(operands, 5))
    std = np.float32(real(operands, 6))
    for unit in range(begin, end):
        drawn = words(unit, integer(operands, 2), integer(operands, 3), integer(operands, 4))
        for k in range(2):
            radius = sqrt(np.float32(-2.0) * log(np.float32(1.0) - unit_32(drawn[2 * k])))
            angle = np.float32(2.0 * np.pi) * unit_32(drawn[2 * k + 1])
            if 4 * unit + 2 * k < count:
                out[4 * unit + 2 * k] = radius * cos(angle) * std + mean
            if 4 * unit + 2 * k + 1 < count:
                out[4 * unit + 2 * k + 1] = radius * sin(angle) * std + mean


@kernel_template
def normal_64(operands, begin, end):
    """float64 normals (Box and Muller), two a unit. Slots: out, count, offset, key0, key1, mean, std."""
    out = pointer(operands, 0, np.float64)
    count = integer(operands, 1)
    mean = real(operands, 5)
    std = real(operands, 6)
    for unit in range(begin, end):
        drawn = words(unit, integer(operands, 2), integer(operands, 3), integer(operands, 4))
        radius = sqrt(-2.0 * log(1.0 - unit_64(drawn[0], drawn[1])))
        angle = 2.0 * np.pi * unit_64(drawn[2], drawn[3])
        out[2 * unit] = radius * cos(angle) * std + mean
        if 2 * unit + 1 < count:
            out[2 * unit + 1] = radius * sin(angle) * std + mean


@kernel_template
def exponential(operands, begin, end, *, T):
    """``-log(1 - u) / rate``, two a unit. Slots: out, count, offset, key0, key1, rate, unused."""
    out = pointer(operands, 0, T)
    count = integer(operands, 1)
    rate = real(operands, 5)
    for unit in range(begin, end):
        drawn = words(unit, integer(operands, 2), integer(operands, 3), integer(operands, 4))
        for k in range(2):
            if 2 * unit + k < count:
                out[2 * unit + k] = T(-log1p(-unit_64(drawn[2 * k], drawn[2 * k + 1])) / rate)


@kernel_template
def bernoulli(operands, begin, end, *, T):
    """1 with probability p, else 0, two a unit. Slots: out, count, offset, key0, key1, p, unused."""
    out = pointer(operands, 0, T)
    count = integer(operands, 1)
    p = real(operands, 5)
    for unit in range(begin, end):
        drawn = words(unit, integer(operands, 2), integer(operands, 3), integer(operands, 4))
        for k in range(2):
            if 2 * unit + k < count:
                out[2 * unit + k] = T(unit_64(drawn[2 * k], drawn[2 * k + 1]) < p)


@kernel_template
def integers(operands, begin, end, *, T):
    """Integers from low on, ``span`` of them, two a unit. Slots: out, count, offset, key0, key1, low, span."""
    out = pointer(operands, 0, T)
    count = integer(operands, 1)
    low = integer(operands, 5)
    span = np.uint64(integer(operands, 6))
    for unit in range(begin, end):
        drawn = words(unit, integer(operands, 2), integer(operands, 3), integer(operands, 4))
        for k in range(2):
            if 2 * unit + k < count:
                out[2 * unit + k] = T(low + np.int64(joined(drawn[2 * k], drawn[2 * k + 1]) % span))
