"""Convolutions of small images, a few dozen at a time.

The columns of one image with a few output pixels make a product too narrow for BLAS. So a *block* of images is turned
about first, images last: ``turned(c, pixel, n)``. Then a row of columns for one channel and tap is a run of whole lines
``turned(c, p, :)``, one for each output pixel, and the product is as wide as pixels times images.
"""

import itertools

import numpy as np
from numpy import int64

from . import blas
from .jit import inlined, integer, kernel_template, pointer, shifted

MOST_PIXELS = 25  # output pixels of an image up to which blocks of images pay
LEAST_IMAGES = 8
COLUMNS = 128  # columns a block has at least, if there are so many

# Places in the geometry array. From PLACES on: the input pixel that each (tap, output pixel) sees, -1 outside.
N, G, C, K, PLANE, TAPS, PIXELS, BLOCK, BLOCKS, C_CHUNK, BUFFER = range(11)
PLACES = 11


def suits(images, out_size) -> bool:
    """Whether images are small and many enough."""
    return images >= LEAST_IMAGES and int(np.prod(out_size)) <= MOST_PIXELS


def geometry(images, groups, channels, outs, size, out_size, taps, stride, padding, dilation, c_chunk):
    """The geometry array of a convolution with `kernels.conv.Plan`'s sizes; ``c_chunk``: channels of a weight's unit."""
    axes = []  # for each axis, (taps, outputs): the place in the input, -1 outside
    for n, o, t, s, p, d in zip(size, out_size, taps, stride, padding, dilation):
        at = np.arange(t)[:, None] * d - p + np.arange(o) * s
        axes.append(np.where((at >= 0) & (at < n), at, -1))
    places = []
    for tap in itertools.product(*map(range, taps)):
        for pixel in itertools.product(*map(range, out_size)):
            d, h, w = (int(axis[t, o]) for axis, t, o in zip(axes, tap, pixel))
            places.append(-1 if min(d, h, w) < 0 else (d * size[1] + h) * size[2] + w)
    plane, pixels, all_taps = (int(np.prod(part)) for part in (size, out_size, taps))
    blocks = max(1, images // -(-COLUMNS // max(pixels, 1)))
    block = -(-images // blocks)
    blocks = -(-images // block)
    # The input turned about, its columns and the output turned about, a multiple of 16 elements each.
    buffer = sum(-(-rows * block // 16) * 16 for rows in (channels * plane, channels * all_taps * pixels, outs * pixels))
    numbers = images, groups, channels, outs, plane, all_taps, pixels, block, blocks, c_chunk, buffer
    return np.array([*numbers, *places], np.int64)


@inlined
def turn(source, step, images, values, turned):
    """``turned(v, n) = source[n * step + v]``."""
    for v in range(values):
        line = shifted(turned, v * images)
        for n in range(images):
            line[n] = source[n * step + v]


@inlined
def gather(turned, g, channels, images, columns, T):
    """``columns(c * taps + t, pixel, n) = turned(c, place of t and pixel, n)``."""
    places = shifted(g, PLACES)
    at = 0
    for c in range(channels):
        for k in range(g[TAPS] * g[PIXELS]):
            target = shifted(columns, at)
            place = places[k]
            if place < 0:
                for n in range(images):
                    target[n] = T(0)
            else:
                line = shifted(turned, (c * g[PLANE] + place) * images)
                for n in range(images):
                    target[n] = line[n]
            at += images


@inlined
def scatter(columns, g, channels, images, turned):
    """Add columns to where `gather` reads them."""
    places = shifted(g, PLACES)
    at = 0
    for c in range(channels):
        for k in range(g[TAPS] * g[PIXELS]):
            if places[k] >= 0:
                source = shifted(columns, at)
                line = shifted(turned, (c * g[PLANE] + places[k]) * images)
                for n in range(images):
                    line[n] += source[n]
            at += images


@inlined
def aligned(count):
    """The next multiple of 16."""
    return (count + 15) // 16 * 16


@kernel_template
def forward(operands, begin, end, *, T, BITS, BIAS):
    """Parts [begin, end) of a convolution. Slots: x, weight, bias (or anything), out, geometry, buffer, parts."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    out, g, buffer = pointer(operands, 3, T), pointer(operands, 4, int64), pointer(operands, 5, T)
    parts = integer(operands, 6)
    values, depth, pixels = g[C] * g[PLANE], g[C] * g[TAPS], g[PIXELS]
    units = g[BLOCKS] * g[G]
    for part in range(begin, end):
        turned = shifted(buffer, part * g[BUFFER])
        columns = shifted(turned, aligned(values * g[BLOCK]))
        result = shifted(columns, aligned(depth * pixels * g[BLOCK]))
        for unit in range(part * units // parts, (part + 1) * units // parts):
            block = unit // g[G]
            group = unit - block * g[G]
            first = block * g[BLOCK]
            images = min(g[BLOCK], g[N] - first)
            width = pixels * images
            turn(shifted(x, (first * g[G] + group) * values), g[G] * values, images, values, turned)
            gather(turned, g, g[C], images, columns, T)
            factors = shifted(weight, group * g[K] * depth)
            blas.gemm(BITS, 0, 0, g[K], width, depth, T(1), factors, depth, columns, width, T(0), result, width)
            for n in range(images):
                target = shifted(out, ((first + n) * g[G] + group) * g[K] * pixels)
                for k in range(g[K]):
                    value = bias[group * g[K] + k] if BIAS else T(0)
                    for j in range(k * pixels, (k + 1) * pixels):
                        target[j] = result[j * images + n] + value


@kernel_template
def input_gradient(operands, begin, end, *, T, BITS):
    """Parts of the gradient for x. Slots: gradient, weight, x's gradient, geometry, buffer, parts."""
    gradient, weight, x = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g, buffer = pointer(operands, 3, int64), pointer(operands, 4, T)
    parts = integer(operands, 5)
    values, depth, pixels = g[C] * g[PLANE], g[C] * g[TAPS], g[PIXELS]
    units = g[BLOCKS] * g[G]
    for part in range(begin, end):
        turned = shifted(buffer, part * g[BUFFER])
        columns = shifted(turned, aligned(values * g[BLOCK]))
        errors = shifted(columns, aligned(depth * pixels * g[BLOCK]))
        for unit in range(part * units // parts, (part + 1) * units // parts):
            block = unit // g[G]
            group = unit - block * g[G]
            first = block * g[BLOCK]
            images = min(g[BLOCK], g[N] - first)
            width = pixels * images
            source = shifted(gradient, (first * g[G] + group) * g[K] * pixels)
            turn(source, g[G] * g[K] * pixels, images, g[K] * pixels, errors)
            factors = shifted(weight, group * g[K] * depth)
            blas.gemm(BITS, 1, 0, depth, width, g[K], T(1), factors, depth, errors, width, T(0), columns, width)
            for j in range(values * images):
                turned[j] = T(0)
            scatter(columns, g, g[C], images, turned)
            for n in range(images):
                target = shifted(x, ((first + n) * g[G] + group) * values)
                for j in range(values):
                    target[j] = turned[j * images + n]


@kernel_template
def weight_gradient(operands, begin, end, *, T, BITS):
    """Parts of the gradient for the weight. Slots: gradient, x, weight's gradient, geometry, buffer, parts."""
    gradient, x, weight = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g, buffer = pointer(operands, 3, int64), pointer(operands, 4, T)
    parts = integer(operands, 5)
    values, depth, pixels = g[C] * g[PLANE], g[C] * g[TAPS], g[PIXELS]
    chunks = (g[C] + g[C_CHUNK] - 1) // g[C_CHUNK]
    units = chunks * g[G]
    for part in range(begin, end):
        turned = shifted(buffer, part * g[BUFFER])
        columns = shifted(turned, aligned(values * g[BLOCK]))
        errors = shifted(columns, aligned(depth * pixels * g[BLOCK]))
        for unit in range(part * units // parts, (part + 1) * units // parts):
            group = unit // chunks
            channel = (unit - group * chunks) * g[C_CHUNK]
            channels = min(g[C_CHUNK], g[C] - channel)
            target = shifted(weight, group * g[K] * depth + channel * g[TAPS])
            beta = T(0)
            for block in range(g[BLOCKS]):
                first = block * g[BLOCK]
                images = min(g[BLOCK], g[N] - first)
                width = pixels * images
                source = shifted(gradient, (first * g[G] + group) * g[K] * pixels)
                turn(source, g[G] * g[K] * pixels, images, g[K] * pixels, errors)
                source = shifted(x, (first * g[G] + group) * values + channel * g[PLANE])
                turn(source, g[G] * values, images, channels * g[PLANE], turned)
                gather(turned, g, channels, images, columns, T)
                blas.gemm(
                    BITS, 0, 1, g[K], channels * g[TAPS], width, T(1), errors, width, columns, width, beta, target, depth
                )
                beta = T(1)
