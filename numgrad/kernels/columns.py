"""Along the middle axis of a contiguous ``(outer, n, inner)``: softmax, log-sum-exp and variance, columns side by side.

A unit is one of ``outer`` and a block of at most ``width`` (itself at most `WIDTH`) columns of ``inner``: few enough
that their n elements stay in the cache from one walk to the next. Sums are folded in runs of `RUN` rows, so that the
rounding error of long columns stays small.
"""

import math

from numpy import int64

from .jit import inlined, integer, kernel_template, pointer, real, shifted, stack_array
from .vmath import difference, exp, expm1, log, log1p, maxnum, minnum, where

WIDTH, RUN, ALMOST_ONE = 256, 64, 1.02
# A softmax above this is so near to 1 that 1 minus it has lost digits: its gradient is found without that difference.
LARGE, LOG_LARGE = 0.9, -0.105
SOFTMAX, LOG_SOFTMAX, LOGSUMEXP = 0, 1, 2  # LOGSUMEXP leaves the maximum and the logarithm of the sum behind the result


@inlined
def block(unit, n, inner, width):
    """(first column, number of columns, place of the first element, which of ``outer``) of a unit."""
    blocks = (inner + width - 1) // width
    outer = unit // blocks
    first = (unit - outer * blocks) * width
    return first, min(width, inner - first), outer * n * inner + first, outer


@inlined
def _logarithms(x, top, total, others, n, inner, columns, zero):
    """The sums of exponentials, ``total``, become their logarithms. The largest term is 1; where the others add less than
    1/50 to it, they are added without it, for log1p."""
    least = total[0]
    for c in range(1, columns):
        least = minnum(least, total[c])
    if least < ALMOST_ONE:
        for c in range(columns):
            others[c] = zero
        for k in range(n):
            row = shifted(x, k * inner)
            for c in range(columns):
                others[c] += where(row[c] == top[c], zero, exp(row[c] - top[c]))
        for c in range(columns):
            total[c] = log1p(others[c]) if zero < total[c] < ALMOST_ONE else log(total[c])
    else:
        for c in range(columns):
            total[c] = log(total[c])


@kernel_template
def softmax_columns(operands, begin, end, *, T, MODE):
    """Units [begin, end) of softmax, its logarithm, or the logarithm of the sum of exponentials (outer, inner), which also
    keeps the maximum and the logarithm of the rest, whose sum has lost digits of the smaller. Slots: x, out, peak, rest,
    n, inner, width."""
    x, out, peak, rest = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T), pointer(operands, 3, T)
    n, inner, width = integer(operands, 4), integer(operands, 5), integer(operands, 6)
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
        if MODE == LOGSUMEXP:
            for c in range(columns):
                top[c] = top[c] if top[c] > T(-math.inf) else T(0)
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
                elif MODE == LOGSUMEXP:  # equal infinities have no difference
                    for c in range(columns):
                        part[c] += exp(where(row[c] == top[c], T(0), row[c] - top[c]))
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
            _logarithms(shifted(x, start), top, total, part, n, inner, columns, T(0))
            if MODE == LOG_SOFTMAX:
                for k in range(n):
                    row, target = shifted(x, start + k * inner), shifted(out, start + k * inner)
                    for c in range(columns):
                        target[c] = difference(row[c] - top[c], total[c])
            else:
                at = outer * inner + first
                target, peaks, rests = shifted(out, at), shifted(peak, at), shifted(rest, at)
                for c in range(columns):
                    target[c] = top[c] + total[c]
                    peaks[c] = top[c]
                    rests[c] = total[c] if total[c] > T(-math.inf) else T(0)


@kernel_template
def softmax_columns_backward(operands, begin, end, *, T, MODE):
    """Units [begin, end) of the gradients: of softmax ``y * (g - sum(g * y))``, of its logarithm ``g - exp(y) * sum(g)``;
    in another way where a result is nearly 1. Slots: g, y, dx, n, inner, width."""
    g, y, dx = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    n, inner, width = integer(operands, 3), integer(operands, 4), integer(operands, 5)
    total, part = stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0))
    top, level = stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0))
    for unit in range(begin, end):
        _, columns, start, _ = block(unit, n, inner, width)
        for c in range(columns):
            top[c], level[c] = T(-math.inf), T(0)
        for k in range(n):
            value = shifted(y, start + k * inner)
            for c in range(columns):
                top[c] = maxnum(top[c], value[c])
        largest = T(-math.inf)
        for c in range(columns):
            largest = maxnum(largest, top[c])
        near = largest > T(LARGE if MODE == SOFTMAX else LOG_LARGE)
        if MODE == SOFTMAX and near:  # the gradient of the largest is taken off all first
            for k in range(n):
                error, value = shifted(g, start + k * inner), shifted(y, start + k * inner)
                for c in range(columns):
                    level[c] = where(value[c] == top[c] and top[c] > T(LARGE), error[c], level[c])
        elif near:
            for c in range(columns):
                level[c] = expm1(top[c])  # what the largest result lacks of 1
        for c in range(columns):
            total[c] = T(0)
        for run in range(0, n, RUN):
            for c in range(columns):
                part[c] = T(0)
            for k in range(run, min(run + RUN, n)):
                error, value = shifted(g, start + k * inner), shifted(y, start + k * inner)
                for c in range(columns):
                    part[c] += (error[c] - level[c]) * value[c] if MODE == SOFTMAX else error[c]
            for c in range(columns):
                total[c] += part[c]
        for k in range(n):
            at = start + k * inner
            error, value, target = shifted(g, at), shifted(y, at), shifted(dx, at)
            if MODE == SOFTMAX:
                for c in range(columns):
                    target[c] = value[c] * difference(error[c] - level[c], total[c])
            elif near:
                for c in range(columns):
                    p, rest = exp(value[c]), total[c] - error[c]
                    target[c] = where(value[c] == top[c], -error[c] * level[c] - p * rest, error[c] - p * total[c])
            else:
                for c in range(columns):
                    target[c] = error[c] - exp(value[c]) * total[c]


@kernel_template
def variance_columns(operands, begin, end, *, T):
    """Units [begin, end) of variance and mean (outer, inner), as the row op ``var`` finds them. Slots: x, out, mean, n,
    inner, width, freedom."""
    x, out, means = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    n, inner, width = integer(operands, 3), integer(operands, 4), integer(operands, 5)
    freedom, share, count = T(real(operands, 6)), T(1) / T(n), T(n)
    mean, squares, rest = stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0))
    part, runs = stack_array(WIDTH, T(0)), stack_array(WIDTH, T(0))
    for unit in range(begin, end):
        first, columns, start, outer = block(unit, n, inner, width)
        head = shifted(x, start)
        for c in range(columns):
            mean[c], squares[c], rest[c], runs[c] = T(0), T(0), T(0), T(0)
        for run in range(0, n, RUN):
            for c in range(columns):
                part[c] = T(0)
            for k in range(run, min(run + RUN, n)):
                row = shifted(x, start + k * inner)
                for c in range(columns):
                    part[c] += (T(0.5) * row[c] - T(0.5) * head[c]) * share
            for c in range(columns):
                runs[c] += part[c]
            if (run // RUN) % RUN == RUN - 1:  # runs of runs: the rounding error grows with the length of the longest
                for c in range(columns):
                    mean[c] += runs[c]
                    runs[c] = T(0)
        for c in range(columns):
            mean[c] += runs[c]
            mean[c] = head[c] + mean[c] + mean[c]
            runs[c] = T(0)
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
                runs[c] += part[c]
            if (run // RUN) % RUN == RUN - 1:
                for c in range(columns):
                    squares[c] += runs[c]
                    runs[c] = T(0)
        for c in range(columns):
            squares[c] += runs[c]
        target, kept = shifted(out, outer * inner + first), shifted(means, outer * inner + first)
        for c in range(columns):
            kept[c] = mean[c]
            # The sum of the differences is the rounding error of the mean.
            square = squares[c] if squares[c] == T(math.inf) else squares[c] - rest[c] * rest[c] / count
            target[c] = square / freedom


@kernel_template
def pick_columns(operands, begin, end, *, T):
    """Elements [begin, end) of the cross entropy (outer, inner): ``log(sum(exp(x))) - x[target]``, 0 where the target is
    ignored and NaN where there is no such class. Slots: x, target, peak, rest, loss, n, inner, ignored target."""
    x, target = pointer(operands, 0, T), pointer(operands, 1, int64)
    peak, rest, loss = pointer(operands, 2, T), pointer(operands, 3, T), pointer(operands, 4, T)
    n, inner, ignored = integer(operands, 5), integer(operands, 6), integer(operands, 7)
    for k in range(begin, end):
        outer = k // inner
        t = target[k]
        if t == ignored:
            loss[k] = T(0)
        elif t < 0 or t >= n:
            loss[k] = T(math.nan)
        else:
            loss[k] = difference(rest[k], x[(outer * n + t) * inner + k - outer * inner] - peak[k])


@kernel_template
def pick_columns_backward(operands, begin, end, *, T):
    """Units [begin, end) of its gradient: ``g * (exp(x - peak - rest) - (1 at the target))``. Slots: g, x, target, peak,
    rest, dx, n, inner, width, ignored target."""
    g, x, target = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, int64)
    peak, rest, dx = pointer(operands, 3, T), pointer(operands, 4, T), pointer(operands, 5, T)
    n, inner, width, ignored = integer(operands, 6), integer(operands, 7), integer(operands, 8), integer(operands, 9)
    scale = stack_array(WIDTH, T(0))
    for unit in range(begin, end):
        first, columns, start, outer = block(unit, n, inner, width)
        at = outer * inner + first
        errors, targets = shifted(g, at), shifted(target, at)
        peaks, rests = shifted(peak, at), shifted(rest, at)
        for c in range(columns):
            scale[c] = errors[c] if targets[c] != ignored and 0 <= targets[c] < n else T(0)
        for k in range(n):
            row, found = shifted(x, start + k * inner), shifted(dx, start + k * inner)
            for c in range(columns):
                found[c] = scale[c] * exp(difference(row[c] - peaks[c], rests[c]))
        found = shifted(dx, start)
        for c in range(columns):
            if targets[c] != ignored and 0 <= targets[c] < n:  # p - 1, which is no difference where p is nearly 1
                place = targets[c] * inner + c
                found[place] = scale[c] * expm1(difference(shifted(x, start)[place] - peaks[c], rests[c]))
