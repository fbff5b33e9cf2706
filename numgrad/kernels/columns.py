"""Along the middle axis of a contiguous ``(outer, n, inner)``: softmax, log-sum-exp and variance, columns side by side.

A unit is one of ``outer`` and a block of at most ``width`` (itself at most `WIDTH`) columns of ``inner``: few enough
that their n elements stay in the cache from one walk to the next. Sums are folded in runs of `RUN` rows, so that the
rounding error of long columns stays small.
"""

import math

from numpy import int64

from .jit import inlined, integer, kernel_template, pointer, real, shifted, stack_array
from .vmath import exp, log, maxnum

WIDTH, RUN = 256, 64
SOFTMAX, LOG_SOFTMAX, LOGSUMEXP = 0, 1, 2


@inlined
def block(unit, n, inner, width):
    """(first column, number of columns, place of the first element, which of ``outer``) of a unit."""
    blocks = (inner + width - 1) // width
    outer = unit // blocks
    first = (unit - outer * blocks) * width
    return first, min(width, inner - first), outer * n * inner + first, outer


@kernel_template
def softmax_columns(operands, begin, end, *, T, MODE):
    """Units [begin, end) of softmax, its logarithm, or the logarithm of the sum of exponentials (outer, inner). Slots: x,
    out, n, inner, width."""
    x, out = pointer(operands, 0, T), pointer(operands, 1, T)
    n, inner, width = integer(operands, 2), integer(operands, 3), integer(operands, 4)
    top, total, part = stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0))
    for unit in range(begin, end):
        first, columns, start, outer = block(unit, n, inner, width)
        for c in range(columns):
            top[c] = T(-math.inf)
            total[c] = T(0)
        for k in range(n):
            row = shifted(x, start + k * inner)
            for c in range(columns):
                top[c] = maxnum(top[c], row[c])
        if MODE == LOGSUMEXP:  # an infinite maximum is the result itself: inf - inf would be NaN
            for c in range(columns):
                top[c] = top[c] if T(-math.inf) < top[c] < T(math.inf) else T(0)
        for run in range(0, n, RUN):
            for c in range(columns):
                part[c] = T(0)
            for k in range(run, min(run + RUN, n)):
                row = shifted(x, start + k * inner)
                if MODE == SOFTMAX:
                    target = shifted(out, start + k * inner)
                    for c in range(columns):
                        value = exp(row[c] - top[c])
                        target[c] = value
                        part[c] += value
                else:
                    for c in range(columns):
                        part[c] += exp(row[c] - top[c])
            for c in range(columns):
                total[c] += part[c]
        if MODE == SOFTMAX:
            for c in range(columns):
                total[c] = T(1) / total[c]
            for k in range(n):
                target = shifted(out, start + k * inner)
                for c in range(columns):
                    target[c] *= total[c]
        else:
            for c in range(columns):
                total[c] = top[c] + log(total[c])
            if MODE == LOG_SOFTMAX:
                for k in range(n):
                    row, target = shifted(x, start + k * inner), shifted(out, start + k * inner)
                    for c in range(columns):
                        target[c] = row[c] - total[c]
            else:
                target = shifted(out, outer * inner + first)
                for c in range(columns):
                    target[c] = total[c]


@kernel_template
def softmax_columns_backward(operands, begin, end, *, T, MODE):
    """Units [begin, end) of the gradients: of softmax ``y * (g - sum(g * y))``, of its logarithm ``g - exp(y) * sum(g)``.
    Slots: g, y, dx, n, inner, width."""
    g, y, dx = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    n, inner, width = integer(operands, 3), integer(operands, 4), integer(operands, 5)
    total, part = stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0))
    for unit in range(begin, end):
        _, columns, start, _ = block(unit, n, inner, width)
        for c in range(columns):
            total[c] = T(0)
        for run in range(0, n, RUN):
            for c in range(columns):
                part[c] = T(0)
            for k in range(run, min(run + RUN, n)):
                error, value = shifted(g, start + k * inner), shifted(y, start + k * inner)
                for c in range(columns):
                    part[c] += error[c] * value[c] if MODE == SOFTMAX else error[c]
            for c in range(columns):
                total[c] += part[c]
        for k in range(n):
            at = start + k * inner
            error, value, target = shifted(g, at), shifted(y, at), shifted(dx, at)
            for c in range(columns):
                if MODE == SOFTMAX:
                    target[c] = value[c] * (error[c] - total[c])
                else:
                    target[c] = error[c] - exp(value[c]) * total[c]


@kernel_template
def variance_columns(operands, begin, end, *, T):
    """Units [begin, end) of variance and mean (outer, inner), as the row op ``var`` finds them. Slots: x, out, mean, n,
    inner, width, freedom."""
    x, out, means = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    n, inner, width = integer(operands, 3), integer(operands, 4), integer(operands, 5)
    freedom, share, count = T(real(operands, 6)), T(1) / T(n), T(n)
    mean, squares, rest = stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0))
    part = stack_array(WIDTH, T(0))
    for unit in range(begin, end):
        first, columns, start, outer = block(unit, n, inner, width)
        head = shifted(x, start)
        for c in range(columns):
            mean[c], squares[c], rest[c] = T(0), T(0), T(0)
        for run in range(0, n, RUN):
            for c in range(columns):
                part[c] = T(0)
            for k in range(run, min(run + RUN, n)):
                row = shifted(x, start + k * inner)
                for c in range(columns):
                    part[c] += (T(0.5) * row[c] - T(0.5) * head[c]) * share
            for c in range(columns):
                mean[c] += part[c]
        for c in range(columns):
            mean[c] = head[c] + mean[c] + mean[c]
        for run in range(0, n, RUN):
            for c in range(columns):
                part[c] = T(0)
            for k in range(run, min(run + RUN, n)):
                row = shifted(x, start + k * inner)
                for c in range(columns):
                    d = row[c] - mean[c]
                    part[c] += d * d
                    rest[c] += d
            for c in range(columns):
                squares[c] += part[c]
        target, kept = shifted(out, outer * inner + first), shifted(means, outer * inner + first)
        for c in range(columns):
            kept[c] = mean[c]
            # The sum of the differences is the rounding error of the mean.
            square = squares[c] if squares[c] == T(math.inf) else squares[c] - rest[c] * rest[c] / count
            target[c] = square / freedom


@kernel_template
def pick_columns(operands, begin, end, *, T):
    """Elements [begin, end) of the cross entropy (outer, inner): ``lse - x[target]``, 0 where the target is ignored and
    NaN where there is no such class. Slots: x, target, lse, loss, n, inner, ignored target."""
    x, target = pointer(operands, 0, T), pointer(operands, 1, int64)
    lse, loss = pointer(operands, 2, T), pointer(operands, 3, T)
    n, inner, ignored = integer(operands, 4), integer(operands, 5), integer(operands, 6)
    for k in range(begin, end):
        outer = k // inner
        t = target[k]
        if t == ignored:
            loss[k] = T(0)
        elif t < 0 or t >= n:
            loss[k] = T(math.nan)
        else:
            loss[k] = lse[k] - x[(outer * n + t) * inner + k - outer * inner]


@kernel_template
def pick_columns_backward(operands, begin, end, *, T):
    """Units [begin, end) of its gradient: ``g * (exp(x - lse) - (1 at the target))``. Slots: g, x, target, lse, dx, n, inner,
    width, ignored target."""
    g, x, target = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, int64)
    lse, dx = pointer(operands, 3, T), pointer(operands, 4, T)
    n, inner, width, ignored = integer(operands, 5), integer(operands, 6), integer(operands, 7), integer(operands, 8)
    scale = stack_array(WIDTH, T(0))
    for unit in range(begin, end):
        first, columns, start, outer = block(unit, n, inner, width)
        at = outer * inner + first
        errors, sums, targets = shifted(g, at), shifted(lse, at), shifted(target, at)
        for c in range(columns):
            scale[c] = errors[c] if targets[c] != ignored and 0 <= targets[c] < n else T(0)
        for k in range(n):
            row, found = shifted(x, start + k * inner), shifted(dx, start + k * inner)
            for c in range(columns):
                found[c] = scale[c] * exp(row[c] - sums[c])
        found = shifted(dx, start)
        for c in range(columns):
            if targets[c] != ignored and 0 <= targets[c] < n:
                found[targets[c] * inner + c] -= scale[c]
