"""Normalisation of a flat ``x(n, groups, channels, size)``, group by group of every image.

A unit is a group of an image. Sums are kept in float64, and the variance is taken about the mean, as in `batch_norm`.
"""

import math

from .batch_norm import along_size
from .jit import integer, kernel_template, pointer, real, shifted


@kernel_template
def normalize(operands, begin, end, *, T, A, WEIGHT, BIAS):
    """Units [begin, end): ``y = (x - mean) * rstd * weight + bias``. Slots: x, weight, bias (anything where absent), y,
    mean, rstd, groups, channels, size, eps."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    y, means, rstds = pointer(operands, 3, T), pointer(operands, 4, A), pointer(operands, 5, A)
    groups, channels, size = integer(operands, 6), integer(operands, 7), integer(operands, 8)
    eps = real(operands, 9)
    for unit in range(begin, end):
        mean, variance = along_size(x, unit, 1, 1, channels * size, A)
        rstd = A(1) / math.sqrt(variance + eps)
        means[unit] = mean
        rstds[unit] = rstd
        center = T(mean)  # subtracted first: x * factor alone could be large
        rest = A(center) - mean
        first = unit % groups * channels
        for c in range(channels):
            scale = rstd * A(weight[first + c]) if WEIGHT else rstd
            factor = T(scale)
            offset = T((A(bias[first + c]) if BIAS else A(0)) + rest * scale)
            source = shifted(x, (unit * channels + c) * size)
            target = shifted(y, (unit * channels + c) * size)
            for j in range(size):
                target[j] = (source[j] - center) * factor + offset


@kernel_template
def backward(operands, begin, end, *, T, A, WEIGHT):
    """Units [begin, end) of the gradients: ``dx = rstd * (g * weight - mean(g * weight) - xhat * mean(g * weight *
    xhat))``, and every image's share of those of weight and bias. Slots: gradient, x, weight (anything where absent),
    mean, rstd, dx, shares of weight, shares of bias, groups, channels, size."""
    gradient, x, weight = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    means, rstds, dx = pointer(operands, 3, A), pointer(operands, 4, A), pointer(operands, 5, T)
    dweight, dbias = pointer(operands, 6, A), pointer(operands, 7, A)
    groups, channels, size = integer(operands, 8), integer(operands, 9), integer(operands, 10)
    count = A(channels * size)
    for unit in range(begin, end):
        mean, rstd = means[unit], rstds[unit]
        center = T(mean)
        rest = A(center) - mean
        first = unit % groups * channels
        total, across = A(0), A(0)
        for c in range(channels):
            at = unit * channels + c
            errors, values = shifted(gradient, at * size), shifted(x, at * size)
            part, part_across = A(0), A(0)
            for j in range(size):
                part += A(errors[j])
                part_across += A(errors[j] * (values[j] - center))
            part_across = (part_across + part * rest) * rstd
            dweight[at] = part_across
            dbias[at] = part
            scale = A(weight[first + c]) if WEIGHT else A(1)
            total += scale * part
            across += scale * part_across
        slope = -rstd * rstd * across / count
        shift = T(rest * slope - rstd * total / count)
        step = T(slope)
        for c in range(channels):
            at = (unit * channels + c) * size
            factor = T(rstd * A(weight[first + c])) if WEIGHT else T(rstd)
            errors, values, target = shifted(gradient, at), shifted(x, at), shifted(dx, at)
            for j in range(size):
                target[j] = errors[j] * factor + (values[j] - center) * step + shift
