"""Batch normalisation of a flat ``x(n, channels, size)``, channel by channel.

A unit is a channel. Where ``size`` is 1 the channels stand side by side, as in a channels-last image too, and the loops run
along them; otherwise they run along ``size``. Sums over a channel are kept in float64, and the variance is taken about the
mean, so that large means do not spoil it.
"""

import math

from .jit import inlined, integer, kernel_template, pointer, real, shifted
from .vectors import fused, lanes_of, put_vector, vector_at


@inlined
def along_size(x, c, n, channels, size, A):
    """(mean, variance) of channel ``c``."""
    count = A(n * size)
    total = A(0)
    for i in range(n):
        line = shifted(x, (i * channels + c) * size)
        partial = A(0)
        for j in range(size):
            partial += A(line[j])
        total += partial
    mean = total / count
    total = A(0)
    for i in range(n):
        line = shifted(x, (i * channels + c) * size)
        partial = A(0)
        for j in range(size):
            partial += (A(line[j]) - mean) * (A(line[j]) - mean)
        total += partial
    return mean, total / count


@kernel_template
def statistics(operands, begin, end, *, T, A):
    """Channels [begin, end): ``mean`` and biased ``variance`` in A. Slots: x, mean, variance, n, channels, size."""
    x, mean, variance = pointer(operands, 0, T), pointer(operands, 1, A), pointer(operands, 2, A)
    n, channels, size = integer(operands, 3), integer(operands, 4), integer(operands, 5)
    if size > 1:
        for c in range(begin, end):
            mean[c], variance[c] = along_size(x, c, n, channels, size, A)
        return
    width = end - begin
    count = A(n)
    m, v = shifted(mean, begin), shifted(variance, begin)
    for c in range(width):
        m[c] = A(0)
        v[c] = A(0)
    for i in range(n):
        line = shifted(x, i * channels + begin)
        for c in range(width):
            m[c] += A(line[c])
    for c in range(width):
        m[c] /= count
    for i in range(n):
        line = shifted(x, i * channels + begin)
        for c in range(width):
            v[c] += (A(line[c]) - m[c]) * (A(line[c]) - m[c])
    for c in range(width):
        v[c] /= count


@inlined
def scale_side_by_side(x, centers, scales, shifts, y, n, channels, width):
    """``y = (x - center) * scale + shift`` of ``width`` channels: a few stay in registers along all ``n`` rows."""
    lanes, done = lanes_of(x), 0
    while done + 2 * lanes <= width:
        second = done + lanes
        center, scale, shift = shifted(centers, done), shifted(scales, done), shifted(shifts, done)
        c0, s0, t0 = vector_at(center), vector_at(scale), vector_at(shift)
        c1, s1, t1 = vector_at(shifted(center, lanes)), vector_at(shifted(scale, lanes)), vector_at(shifted(shift, lanes))
        for i in range(n):
            source, target = shifted(x, i * channels), shifted(y, i * channels)
            put_vector(shifted(target, done), fused(vector_at(shifted(source, done)) - c0, s0, t0))
            put_vector(shifted(target, second), fused(vector_at(shifted(source, second)) - c1, s1, t1))
        done += 2 * lanes
    for i in range(n if done < width else 0):
        source, target = shifted(x, i * channels), shifted(y, i * channels)
        for c in range(done, width):
            target[c] = fused(source[c] - centers[c], scales[c], shifts[c])


@kernel_template
def normalize(operands, begin, end, *, T, A, WEIGHT, BIAS):
    """Channels [begin, end): ``y = (x - mean) * rstd * weight + bias``, rstd from the variance. Slots: x, mean,
    variance, weight, bias (anything where absent), y, scratch (two of A and three of T a channel), n, channels, size, eps."""
    x, mean, variance = pointer(operands, 0, T), pointer(operands, 1, A), pointer(operands, 2, A)
    weight, bias, y = pointer(operands, 3, T), pointer(operands, 4, T), pointer(operands, 5, T)
    factors = pointer(operands, 6, A)
    row = pointer(operands, 7, T)
    n, channels, size = integer(operands, 8), integer(operands, 9), integer(operands, 10)
    eps = real(operands, 11)
    offsets = shifted(factors, channels)
    for c in range(begin, end):
        factor = A(1) / math.sqrt(variance[c] + eps)
        factors[c] = factor * A(weight[c]) if WEIGHT else factor
        offsets[c] = A(bias[c]) if BIAS else A(0)
    if size > 1:
        for c in range(begin, end):
            center = T(mean[c])  # subtracted first: x * factor alone could be large
            factor = T(factors[c])
            offset = T(offsets[c] + (A(center) - mean[c]) * factors[c])
            for i in range(n):
                source, target = shifted(x, (i * channels + c) * size), shifted(y, (i * channels + c) * size)
                for j in range(size):
                    target[j] = (source[j] - center) * factor + offset
    else:
        centers, scales = shifted(row, begin), shifted(row, channels + begin)
        shifts = shifted(row, 2 * channels + begin)
        for c in range(end - begin):
            at = begin + c
            centers[c] = T(mean[at])
            scales[c] = T(factors[at])
            shifts[c] = T(offsets[at] + (A(centers[c]) - mean[at]) * factors[at])
        scale_side_by_side(shifted(x, begin), centers, scales, shifts, shifted(y, begin), n, channels, end - begin)


@kernel_template
def backward(operands, begin, end, *, T, A, WEIGHT, TRAINING):
    """Channels [begin, end) of the gradients. Slots: gradient, x, mean, variance, weight (anything where absent), dx,
    dweight, dbias, scratch (two of A and three of T a channel), n, channels, size, eps.

    ``dx = rstd * weight * (g - mean(g) - xhat * mean(g * xhat))``; without TRAINING, where mean and variance are
    constants, ``rstd * weight * g``.
    """
    gradient, x = pointer(operands, 0, T), pointer(operands, 1, T)
    mean, variance, weight = pointer(operands, 2, A), pointer(operands, 3, A), pointer(operands, 4, T)
    dx, dweight, dbias = pointer(operands, 5, T), pointer(operands, 6, T), pointer(operands, 7, T)
    sums = pointer(operands, 8, A)  # of g, then of g * (x - mean)
    row = pointer(operands, 9, T)
    n, channels, size = integer(operands, 10), integer(operands, 11), integer(operands, 12)
    eps = real(operands, 13)
    count = A(n * size)
    products = shifted(sums, channels)
    if size > 1:
        for c in range(begin, end):
            center = T(mean[c])
            total, across = A(0), A(0)
            for i in range(n):
                errors, values = shifted(gradient, (i * channels + c) * size), shifted(x, (i * channels + c) * size)
                part, part_across = A(0), A(0)
                for j in range(size):
                    part += A(errors[j])
                    part_across += A(errors[j] * (values[j] - center))
                total += part
                across += part_across
            sums[c] = total
            products[c] = across + total * (A(center) - mean[c])
    else:
        m, total, across = shifted(mean, begin), shifted(sums, begin), shifted(products, begin)
        for c in range(end - begin):
            total[c] = A(0)
            across[c] = A(0)
        for i in range(n):
            errors, values = shifted(gradient, i * channels + begin), shifted(x, i * channels + begin)
            for c in range(end - begin):
                total[c] += A(errors[c])
                across[c] += A(errors[c]) * (A(values[c]) - m[c])
    # From sums to the coefficients of dx = g * scale + (x - mean) * slope + offset.
    for c in range(begin, end):
        rstd = A(1) / math.sqrt(variance[c] + eps)
        total, across = sums[c], products[c] * rstd
        dweight[c] = T(across)
        dbias[c] = T(total)
        scale = rstd * A(weight[c]) if WEIGHT else rstd
        sums[c] = -scale * total / count
        products[c] = -scale * rstd * across / count
        if size > 1:
            center, factor, slope = T(mean[c]), T(scale), T(products[c])
            offset = T(sums[c] + products[c] * (A(center) - mean[c]))
            for i in range(n):
                errors, values = shifted(gradient, (i * channels + c) * size), shifted(x, (i * channels + c) * size)
                target = shifted(dx, (i * channels + c) * size)
                if TRAINING:
                    for j in range(size):
                        target[j] = errors[j] * factor + (values[j] - center) * slope + offset
                else:
                    for j in range(size):
                        target[j] = errors[j] * factor
        else:
            row[c] = T(scale)
            row[channels + c] = T(products[c])
            row[2 * channels + c] = T(sums[c] + products[c] * (A(T(mean[c])) - mean[c]))
            sums[c] = mean[c]
    if size <= 1:
        scales, slopes = shifted(row, begin), shifted(row, channels + begin)
        offsets, centers = shifted(row, 2 * channels + begin), shifted(sums, begin)
        for i in range(n):
            at = i * channels + begin
            errors, values, target = shifted(gradient, at), shifted(x, at), shifted(dx, at)
            if TRAINING:
                for c in range(end - begin):
                    target[c] = errors[c] * scales[c] + (values[c] - T(centers[c])) * slopes[c] + offsets[c]
            else:
                for c in range(end - begin):
                    target[c] = errors[c] * scales[c]
