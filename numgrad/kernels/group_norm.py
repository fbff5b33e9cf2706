"""Normalisation of a flat ``x(n, groups, channels, size)``, group by group of every image.

A unit is a group of an image. Sums are kept in float64, and the variance is taken about the mean, as in `batch_norm`.
"""

import math

from .batch_norm import along_size
from .jit import inlined, integer, kernel_template, pointer, real, shifted


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


# --- channels-last: x(n, size, groups, channels), a unit is an image ----------------------------------------------------


@inlined
def along_pixels(x, groups, channels, size, mean, variance, sums, squares, A):
    """``mean`` and ``variance`` of every group of one image; ``sums`` and ``squares`` are scratch for its channels."""
    width = groups * channels
    count = A(channels * size)
    for c in range(width):
        sums[c] = A(0)
        squares[c] = A(0)
    for j in range(size):
        line = shifted(x, j * width)
        for c in range(width):
            sums[c] += A(line[c])
    for group in range(groups):
        total = A(0)
        for c in range(group * channels, (group + 1) * channels):
            total += sums[c]
        mean[group] = total / count
        for c in range(group * channels, (group + 1) * channels):
            sums[c] = total / count
    for j in range(size):
        line = shifted(x, j * width)
        for c in range(width):
            squares[c] += (A(line[c]) - sums[c]) * (A(line[c]) - sums[c])
    for group in range(groups):
        total = A(0)
        for c in range(group * channels, (group + 1) * channels):
            total += squares[c]
        variance[group] = total / count


@kernel_template
def normalize_last(operands, begin, end, *, T, A, WEIGHT, BIAS):
    """Images [begin, end) of `normalize` in channels-last order. Slots: those of `normalize`, then scratch for every image:
    two of A and three of T a channel."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    y, means, rstds = pointer(operands, 3, T), pointer(operands, 4, A), pointer(operands, 5, A)
    groups, channels, size = integer(operands, 6), integer(operands, 7), integer(operands, 8)
    eps = real(operands, 9)
    wide, row = pointer(operands, 10, A), pointer(operands, 11, T)
    width = groups * channels
    for image in range(begin, end):
        mean, rstd = shifted(means, image * groups), shifted(rstds, image * groups)
        source, target = shifted(x, image * size * width), shifted(y, image * size * width)
        sums = shifted(wide, 2 * image * width)
        along_pixels(source, groups, channels, size, mean, rstd, sums, shifted(sums, width), A)
        centers = shifted(row, 3 * image * width)
        factors, offsets = shifted(centers, width), shifted(centers, 2 * width)
        for group in range(groups):
            rstd[group] = A(1) / math.sqrt(rstd[group] + eps)
            for c in range(group * channels, (group + 1) * channels):
                scale = rstd[group] * A(weight[c]) if WEIGHT else rstd[group]
                centers[c] = T(mean[group])
                factors[c] = T(scale)
                offsets[c] = T((A(bias[c]) if BIAS else A(0)) + (A(centers[c]) - mean[group]) * scale)
        for j in range(size):
            values, results = shifted(source, j * width), shifted(target, j * width)
            for c in range(width):
                results[c] = (values[c] - centers[c]) * factors[c] + offsets[c]


@kernel_template
def backward_last(operands, begin, end, *, T, A, WEIGHT):
    """Images [begin, end) of `backward` in channels-last order. Slots: those of `backward`, then scratch as for
    `normalize_last`."""
    gradient, x, weight = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    means, rstds, dx = pointer(operands, 3, A), pointer(operands, 4, A), pointer(operands, 5, T)
    dweight, dbias = pointer(operands, 6, A), pointer(operands, 7, A)
    groups, channels, size = integer(operands, 8), integer(operands, 9), integer(operands, 10)
    wide, row = pointer(operands, 11, A), pointer(operands, 12, T)
    width = groups * channels
    count = A(channels * size)
    for image in range(begin, end):
        first = image * size * width
        centers = shifted(row, 3 * image * width)
        factors, offsets = shifted(centers, width), shifted(centers, 2 * width)
        slopes = shifted(wide, 2 * image * width)
        parts, across = shifted(dbias, image * width), shifted(dweight, image * width)
        for c in range(width):
            centers[c] = T(means[image * groups + c // channels])
            parts[c] = A(0)
            across[c] = A(0)
        for j in range(size):
            errors, values = shifted(gradient, first + j * width), shifted(x, first + j * width)
            for c in range(width):
                parts[c] += A(errors[c])
                across[c] += A(errors[c] * (values[c] - centers[c]))
        for group in range(groups):
            mean, rstd = means[image * groups + group], rstds[image * groups + group]
            rest = A(T(mean)) - mean
            total, crossed = A(0), A(0)
            for c in range(group * channels, (group + 1) * channels):
                across[c] = (across[c] + parts[c] * rest) * rstd
                scale = A(weight[c]) if WEIGHT else A(1)
                total += scale * parts[c]
                crossed += scale * across[c]
            slope = -rstd * rstd * crossed / count
            shift = T(rest * slope - rstd * total / count)
            for c in range(group * channels, (group + 1) * channels):
                slopes[c] = slope
                offsets[c] = shift
                factors[c] = T(rstd * A(weight[c])) if WEIGHT else T(rstd)
        for j in range(size):
            at = first + j * width
            errors, values, target = shifted(gradient, at), shifted(x, at), shifted(dx, at)
            for c in range(width):
                target[c] = errors[c] * factors[c] + (values[c] - centers[c]) * T(slopes[c]) + offsets[c]
