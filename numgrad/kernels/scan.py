"""Running folds along the middle axis of ``(outer, n, inner)``, contiguous: sums, products, extremes, log-sum-exp.

A unit is one of ``outer`` and a block of at most ``width`` columns of ``inner``, which are folded side by side.
"""

import math

import numpy as np

from .jit import integer, kernel_template, pointer, shifted

SUM, PRODUCT = 0, 1
LARGEST, SMALLEST = 0, 1


@kernel_template
def cumulative(operands, begin, end, *, T, A, MODE):
    """Running sum or product of T, folded in A. Slots: x, out, totals (a block of A for each unit), n, inner, width."""
    x = pointer(operands, 0, T)
    out = pointer(operands, 1, T)
    totals = pointer(operands, 2, A)
    n = integer(operands, 3)
    inner = integer(operands, 4)
    width = integer(operands, 5)
    blocks = (inner + width - 1) // width
    for unit in range(begin, end):
        first = unit % blocks * width
        columns = min(width, inner - first)
        start = unit // blocks * n * inner + first
        if inner == 1:
            values = shifted(x, start)
            results = shifted(out, start)
            total = A(1) if MODE == PRODUCT else A(0)
            for k in range(n):
                if MODE == SUM:
                    total += A(values[k])
                else:
                    total *= A(values[k])
                results[k] = T(total)
        else:
            running = shifted(totals, unit * width)
            for c in range(columns):
                running[c] = A(1) if MODE == PRODUCT else A(0)
            for k in range(n):
                values = shifted(x, start + k * inner)
                results = shifted(out, start + k * inner)
                for c in range(columns):
                    if MODE == SUM:
                        running[c] += A(values[c])
                    else:
                        running[c] *= A(values[c])
                    results[c] = T(running[c])


@kernel_template
def cumulative_extreme(operands, begin, end, *, T, MODE):
    """Running maximum or minimum and where it was last met; NaN wins. Slots: x, out, indices, n, inner, width."""
    x = pointer(operands, 0, T)
    out = pointer(operands, 1, T)
    indices = pointer(operands, 2, np.int64)
    n = integer(operands, 3)
    inner = integer(operands, 4)
    width = integer(operands, 5)
    blocks = (inner + width - 1) // width
    for unit in range(begin, end):
        first = unit % blocks * width
        start = unit // blocks * n * inner + first
        for c in range(min(width, inner - first)):
            values = shifted(x, start + c)
            results = shifted(out, start + c)
            places = shifted(indices, start + c)
            best = values[0]
            at = 0
            for k in range(n):
                value = values[k * inner]
                if MODE == LARGEST:
                    better = value >= best
                else:
                    better = value <= best
                if value != value or (best == best and better):
                    best = value
                    at = k
                results[k * inner] = best
                places[k * inner] = at


@kernel_template
def cumulative_logsumexp(operands, begin, end, *, T):
    """Running ``log(sum(exp(x)))``. Slots: x, out, n, inner, width."""
    x = pointer(operands, 0, T)
    out = pointer(operands, 1, T)
    n = integer(operands, 2)
    inner = integer(operands, 3)
    width = integer(operands, 4)
    blocks = (inner + width - 1) // width
    for unit in range(begin, end):
        first = unit % blocks * width
        start = unit // blocks * n * inner + first
        for c in range(min(width, inner - first)):
            values = shifted(x, start + c)
            results = shifted(out, start + c)
            total = -math.inf
            for k in range(n):
                value = np.float64(values[k * inner])
                if value != value or total != total:
                    total = math.nan
                else:
                    high = max(total, value)
                    low = min(total, value)
                    # Equal infinities have no difference: the larger is the sum.
                    total = high if math.isinf(high) or low == -math.inf else high + math.log1p(math.exp(low - high))
                results[k * inner] = T(total)
