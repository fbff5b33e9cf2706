"""Copies in another order: reversed, rolled, triangular; runs of equal numbers."""

import numpy as np

from .index import WIDTHS as WIDTHS
from .jit import inlined, integer, kernel_template, pointer, shifted

# What a coordinate beyond the end of its dimension means: there is none; it comes in at the other end, is mirrored
# at the last element, or is that of the last element.
DIRECT, CIRCULAR, REFLECT, REPLICATE = range(4)


@inlined
def inside(k, size, mode):
    """The index from 0 to ``size`` that stands for index ``k``, which is less than ``size`` away from these."""
    if mode == CIRCULAR:
        return k + size if k < 0 else k - size if k >= size else k
    if mode == REFLECT:
        k = abs(k)
        return k if k < size else 2 * (size - 1) - k
    return min(max(k, 0), size - 1)


@kernel_template
def copy_mapped(operands, begin, end, *, T, MODE):
    """``out[..., k, ...] = x[..., step * k + start, ...]`` in every dimension; units: rows of the result. What would be
    beyond the ends of x (only with step 1) is `inside`.

    Slots: x, out, geometry (ndim, then size of the result, size and stride of x, step, start for every dimension).
    """
    x = pointer(operands, 0, T)
    out = pointer(operands, 1, T)
    geometry = pointer(operands, 2, np.int64)
    ndim = geometry[0]
    last = shifted(geometry, 1 + 5 * (ndim - 1))
    n = last[0]
    step = last[3] * last[2]
    first = last[4]
    for row in range(begin, end):
        rest = row
        at = 0
        for axis in range(ndim - 2, -1, -1):
            entry = shifted(geometry, 1 + 5 * axis)
            k = rest % entry[0] * entry[3] + entry[4]
            rest = rest // entry[0]
            if MODE != DIRECT:
                k = inside(k, entry[1], MODE)
            at += k * entry[2]
        source = shifted(x, at)
        target = shifted(out, row * n)
        if MODE != DIRECT:
            size = last[1]
            begun = min(-first, n)
            ended = min(size - first, n)
            for j in range(begun):
                target[j] = source[inside(j + first, size, MODE)]
            middle = shifted(target, begun)
            for j in range(ended - begun):
                middle[j] = source[j]
            for j in range(ended, n):
                target[j] = source[inside(j + first, size, MODE)]
        elif step == 1 and first == 0:
            for j in range(n):
                target[j] = source[j]
        elif step == -1:
            for j in range(n):
                target[j] = source[first - j]
        else:
            first_at = first * last[2]
            for j in range(n):
                target[j] = source[first_at + j * step]


@kernel_template
def copy_triangle(operands, begin, end, *, T):
    """A triangle of every matrix, 0 elsewhere; units: rows. Slots: x, out, rows, columns, diagonal, lower."""
    x = pointer(operands, 0, T)
    out = pointer(operands, 1, T)
    rows = integer(operands, 2)
    columns = integer(operands, 3)
    diagonal = integer(operands, 4)
    lower = integer(operands, 5)
    zero = T(0)
    for row in range(begin, end):
        source = shifted(x, row * columns)
        target = shifted(out, row * columns)
        edge = row % rows + diagonal + lower  # first column above the triangle, or first one in it
        edge = min(max(edge, 0), columns)
        if lower:
            for j in range(edge):
                target[j] = source[j]
            for j in range(edge, columns):
                target[j] = zero
        else:
            for j in range(edge):
                target[j] = zero
            for j in range(edge, columns):
                target[j] = source[j]


@kernel_template
def fill_runs(operands, begin, end):
    """The number ``k`` from the end of run ``k - 1`` to that of run ``k``; units: runs. Slots: ends, out."""
    ends = pointer(operands, 0, np.int64)
    out = pointer(operands, 1, np.int64)
    for k in range(begin, end):
        for i in range(ends[k - 1] if k else 0, ends[k]):
            out[i] = k
