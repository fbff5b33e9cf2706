"""Convolutions of channels-last arrays: x(n, *size, g, c), w(g, k, *taps, c), out(n, *out_size, g, k).

The sums are those of `conv`; the order in memory decides how they are taken. Taps of one pixel are runs of channels, so
that columns are copied in runs, and a convolution of single pixels is one matrix product. *Direct* kernels keep tiles of
output channels (vectors) and pixels in registers, and read blocks of padded input. *Depthwise* kernels run along the
channels. Units and parts are as in `conv`.
"""

from functools import cached_property
from math import prod

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy import int64

from . import blas
from .conv import (
    COLUMN_ELEMENTS,
    KD,
    KH,
    KW,
    LD,
    LEAST_COLUMNS,
    LH,
    LW,
    OD,
    OH,
    OW,
    PD,
    PH,
    PW,
    SD,
    SH,
    SW,
    C,
    D,
    G,
    H,
    K,
    N,
    W,
    run_parts,
)
from .jit import PYTHON_MODE, inlined, integer, kernel_template, pointer, shifted, stack_array

BLOCK_BYTES = 192 << 10  # of padded input: it is read once for every tile of output channels
CHANNEL_CHUNK = 64  # channels that a unit of a depthwise weight's gradient handles
K_HALVES = 64  # output channels from which a weight's gradient that is one unit is halved

# Places in the geometry array after those of `conv`: how the work is cut,
ROWS, BLOCKS, UNITS, BUFFER, IN_PLACE, K_CHUNK = range(22, 28)
# and for `direct`: images a block, the padded input's rows and line, and runs of elements that one output pixel sees side
# by side: how many and how long; then the lists (offset of each run, offset of each output pixel of a block).
IMAGES, HEIGHT, LINE, RUNS, RUN, LISTS = range(28, 34)


# --- rows and columns ------------------------------------------------------------------------------------------------


@inlined
def pixel_row(g, row, tap_d, tap_h):
    """Which input row of all images meets output row ``row`` of all images at a tap; -1 if it lies outside."""
    rows = g[OD] * g[OH]
    image = row // rows
    row -= image * rows
    d = row // g[OH]
    h = (row - d * g[OH]) * g[SH] - g[PH] + tap_h * g[LH]
    d = d * g[SD] - g[PD] + tap_d * g[LD]
    if d < 0 or d >= g[D] or h < 0 or h >= g[H]:
        return int64(-1)
    return (image * g[D] + d) * g[H] + h


@inlined
def gather(x, g, group, first_tap, last_tap, first_row, rows, columns, T):
    """Input values as ``columns(rows * OW, taps * KW * C)`` for output rows from ``first_row`` on and taps of slices and
    rows [first_tap, last_tap)."""
    channels, step = g[C], g[G] * g[C]
    run, depth = g[KW] * channels, (last_tap - first_tap) * g[KW] * channels
    for r in range(rows):
        for tap in range(first_tap, last_tap):
            tap_d = tap // g[KH]
            line = pixel_row(g, first_row + r, tap_d, tap - tap_d * g[KH])
            for j in range(g[OW]):
                target = shifted(columns, (r * g[OW] + j) * depth + (tap - first_tap) * run)
                left = j * g[SW] - g[PW]
                if line < 0:
                    for i in range(run):
                        target[i] = T(0)
                elif left >= 0 and left + (g[KW] - 1) * g[LW] < g[W] and g[LW] == 1 and g[G] == 1:
                    source = shifted(x, (line * g[W] + left) * channels)
                    for i in range(run):
                        target[i] = source[i]
                else:
                    for t in range(g[KW]):
                        column = left + t * g[LW]
                        inner = shifted(target, t * channels)
                        if column < 0 or column >= g[W]:
                            for i in range(channels):
                                inner[i] = T(0)
                        else:
                            source = shifted(x, (line * g[W] + column) * step + group * channels)
                            for i in range(channels):
                                inner[i] = source[i]


@inlined
def scatter(columns, g, group, first_row, rows, x):
    """Add columns of all taps to where `gather` reads them."""
    channels, step = g[C], g[G] * g[C]
    at = 0
    for r in range(rows):
        for j in range(g[OW]):
            left = j * g[SW] - g[PW]
            for tap in range(g[KD] * g[KH]):
                tap_d = tap // g[KH]
                line = pixel_row(g, first_row + r, tap_d, tap - tap_d * g[KH])
                for t in range(g[KW]):
                    column = left + t * g[LW]
                    if line >= 0 and column >= 0 and column < g[W]:
                        source = shifted(columns, at)
                        target = shifted(x, (line * g[W] + column) * step + group * channels)
                        for i in range(channels):
                            target[i] += source[i]
                    at += channels


# --- products --------------------------------------------------------------------------------------------------------


@kernel_template
def product_forward(operands, begin, end, *, T, BITS, BIAS):
    """Parts [begin, end) of a convolution. Slots: x, weight, bias (or anything), out, geometry, buffer, parts."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    out, g, buffer = pointer(operands, 3, T), pointer(operands, 4, int64), pointer(operands, 5, T)
    parts = integer(operands, 6)
    depth = g[KD] * g[KH] * g[KW] * g[C]
    outs, all_outs = g[K], g[G] * g[K]
    all_rows = g[N] * g[OD] * g[OH]
    beta = T(1) if BIAS else T(0)
    for part in range(begin, end):
        columns = shifted(buffer, part * g[BUFFER])
        for unit in range(part * g[UNITS] // parts, (part + 1) * g[UNITS] // parts):
            group = unit % g[G]
            row = unit // g[G] * g[ROWS]
            rows = min(g[ROWS], all_rows - row)
            width = rows * g[OW]
            target = shifted(out, row * g[OW] * all_outs + group * outs)
            factors = shifted(weight, group * outs * depth)
            if BIAS:
                shifts = shifted(bias, group * outs)
                for j in range(width):
                    line = shifted(target, j * all_outs)
                    for k in range(outs):
                        line[k] = shifts[k]
            if g[IN_PLACE]:
                values = shifted(x, row * g[OW] * g[G] * g[C] + group * g[C])
                blas.gemm(BITS, 0, 1, width, outs, depth, T(1), values, g[G] * g[C], factors, depth, beta, target, all_outs)
            else:
                gather(x, g, group, 0, g[KD] * g[KH], row, rows, columns, T)
                blas.gemm(BITS, 0, 1, width, outs, depth, T(1), columns, depth, factors, depth, beta, target, all_outs)


@kernel_template
def product_input(operands, begin, end, *, T, BITS):
    """Parts of the gradient for x. A unit is an image of one group, or where every input pixel meets one output pixel, a
    block of them. Slots: gradient, weight, x's gradient (zeroed here), geometry, buffer, parts."""
    gradient, weight, x = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g, buffer = pointer(operands, 3, int64), pointer(operands, 4, T)
    parts = integer(operands, 5)
    depth = g[KD] * g[KH] * g[KW] * g[C]
    channels, outs, step, all_outs = g[C], g[K], g[G] * g[C], g[G] * g[K]
    image_rows, plane = g[OD] * g[OH], g[D] * g[H] * g[W]
    all_rows = g[N] * image_rows
    units = g[UNITS] if g[IN_PLACE] else g[N] * g[G]
    for part in range(begin, end):
        columns = shifted(buffer, part * g[BUFFER])
        for unit in range(part * units // parts, (part + 1) * units // parts):
            group = unit % g[G]
            factors = shifted(weight, group * outs * depth)
            if g[IN_PLACE]:
                row = unit // g[G] * g[ROWS]
                width = min(g[ROWS], all_rows - row) * g[OW]
                source = shifted(gradient, row * g[OW] * all_outs + group * outs)
                target = shifted(x, row * g[OW] * step + group * channels)
                blas.gemm(BITS, 0, 0, width, depth, outs, T(1), source, all_outs, factors, depth, T(0), target, step)
            else:
                image = unit // g[G]
                for j in range(image * plane, (image + 1) * plane):
                    target = shifted(x, j * step + group * channels)
                    for i in range(channels):
                        target[i] = T(0)
                for block in range((image_rows + g[ROWS] - 1) // g[ROWS]):
                    row = image * image_rows + block * g[ROWS]
                    rows = min(g[ROWS], (image + 1) * image_rows - row)
                    source = shifted(gradient, row * g[OW] * all_outs + group * outs)
                    blas.gemm(
                        BITS, 0, 0, rows * g[OW], depth, outs, T(1), source, all_outs, factors, depth, T(0), columns, depth
                    )
                    scatter(columns, g, group, row, rows, x)


@kernel_template
def product_weight(operands, begin, end, *, T, BITS):
    """Parts of the gradient for the weight; a unit is a group, a row of taps and some output channels. Slots: gradient,
    x, weight's gradient, geometry, buffer, parts."""
    gradient, x, weight = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g, buffer = pointer(operands, 3, int64), pointer(operands, 4, T)
    parts = integer(operands, 5)
    tap_rows, run = g[KD] * g[KH], g[KW] * g[C]
    depth, all_outs = tap_rows * run, g[G] * g[K]
    all_rows = g[N] * g[OD] * g[OH]
    k_chunks = (g[K] + g[K_CHUNK] - 1) // g[K_CHUNK]
    units = g[G] * tap_rows * k_chunks
    for part in range(begin, end):
        columns = shifted(buffer, part * g[BUFFER])
        for unit in range(part * units // parts, (part + 1) * units // parts):
            rest = unit // k_chunks
            first = (unit - rest * k_chunks) * g[K_CHUNK]
            count = min(g[K_CHUNK], g[K] - first)
            group = rest // tap_rows
            tap = rest - group * tap_rows
            target = shifted(weight, (group * g[K] + first) * depth + tap * run)
            beta = T(0)
            for block in range(g[BLOCKS]):
                row = block * g[ROWS]
                rows = min(g[ROWS], all_rows - row)
                width = rows * g[OW]
                errors = shifted(gradient, row * g[OW] * all_outs + group * g[K] + first)
                if g[IN_PLACE]:
                    values = shifted(x, row * g[OW] * g[G] * g[C] + group * g[C])
                    blas.gemm(
                        BITS, 1, 0, count, run, width, T(1), errors, all_outs, values, g[G] * g[C], beta, target, depth
                    )
                else:
                    gather(x, g, group, tap, tap + 1, row, rows, columns, T)
                    blas.gemm(BITS, 1, 0, count, run, width, T(1), errors, all_outs, columns, run, beta, target, depth)
                beta = T(1)


# --- direct ----------------------------------------------------------------------------------------------------------


def shape_of_tiles(dtype, outs) -> tuple[int, int, int]:
    """(pixels, vectors of output channels, channels a vector) that fill the registers of this machine."""
    features = llvm.get_host_cpu_features()
    size = np.dtype(dtype).itemsize
    if features.get("avx512f"):
        return (12, 2, 64 // size) if outs > 64 // size else (14, 1, 64 // size)
    if features.get("avx2"):
        return (6, 2, 32 // size) if outs > 32 // size else (8, 1, 32 // size)
    if features.get("neon"):
        return (8, 2, 16 // size) if outs > 16 // size else (8, 1, 16 // size)
    return (4, 2, 16 // size) if outs > 16 // size else (8, 1, 16 // size)


@intrinsic(prefer_literal=True)
def _tile(typingctx, x, places, offsets, weight, out, runs, run, pixels, vectors, lanes):
    """``out(pixels, vectors * lanes) = sum over r, i of x[places[p] + offsets[r] + i] * weight[r, i, k]``, r < runs, i < run.

    ``pixels``, ``vectors`` and ``lanes`` are constants; the sums are kept in registers.
    """
    i64 = types.int64
    signature = types.void(x, places, places, x, x, i64, i64, pixels, vectors, lanes)
    sizes = pixels.literal_value, vectors.literal_value, lanes.literal_value

    def codegen(context, builder, signature, arguments):
        x, places, offsets, weight, out, runs, run, *_ = arguments
        pixels, vectors, lanes = sizes
        element = x.type.pointee
        vector = ir.VectorType(element, lanes)
        size = context.get_abi_sizeof(element)
        zero, undefined = ir.Constant(vector, None), ir.Constant(vector, ir.Undefined)
        lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)

        def number(n):
            return ir.Constant(ir.IntType(64), n)

        def vector_at(base, index):
            return builder.bitcast(builder.gep(base, [index]), vector.as_pointer())

        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(pixels)]
        bases = [builder.gep(x, [builder.load(builder.gep(places, [number(p)]))]) for p in range(pixels)]
        with cgutils.for_range(builder, runs) as outer:
            offset = builder.load(builder.gep(offsets, [outer.index]))
            lines = [builder.gep(base, [offset]) for base in bases]
            step = builder.mul(run, number(vectors * lanes))
            factors = builder.gep(weight, [builder.mul(outer.index, step)])
            with cgutils.for_range(builder, run) as inner:
                row = builder.gep(factors, [builder.mul(inner.index, number(vectors * lanes))])
                values = [builder.load(vector_at(row, number(v * lanes)), align=size) for v in range(vectors)]
                for p in range(pixels):
                    single = builder.load(builder.gep(lines[p], [inner.index]))
                    lone = builder.insert_element(undefined, single, ir.Constant(ir.IntType(32), 0))
                    factor = builder.shuffle_vector(lone, undefined, lane)
                    for v in range(vectors):
                        product = builder.fmul(factor, values[v], flags=("contract",))
                        total = builder.fadd(builder.load(sums[p][v]), product, flags=("contract",))
                        builder.store(total, sums[p][v])
        for p in range(pixels):
            line = builder.gep(out, [number(p * vectors * lanes)])
            for v in range(vectors):
                store = builder.store(builder.load(sums[p][v]), vector_at(line, number(v * lanes)))
                store.align = size
        return context.get_dummy_value()

    return signature, codegen


@kernel_template
def pack(operands, begin, end, *, T, WIDTH):
    """Tiles of output channels [begin, end): ``packed(tile, t, c, WIDTH)`` from w(g, k, t, c), 0 beyond the last channel.
    ``swapped``: w(g, c, -t, k), the weight of the convolution that is another's input gradient. Slots: weight, packed,
    channels, output channels a group, taps, swapped."""
    weight, out = pointer(operands, 0, T), pointer(operands, 1, T)
    channels, outs, taps, swapped = (
        integer(operands, 2), integer(operands, 3), integer(operands, 4), integer(operands, 5)
    )  # fmt: skip
    tiles = (outs + WIDTH - 1) // WIDTH
    for tile in range(begin, end):
        group = tile // tiles
        first = (tile - group * tiles) * WIDTH
        count = min(WIDTH, outs - first)
        source = shifted(weight, group * outs * channels * taps)
        target = shifted(out, tile * taps * channels * WIDTH)
        for t in range(taps):
            for c in range(channels):
                line = shifted(target, (t * channels + c) * WIDTH)
                for k in range(count, WIDTH):
                    line[k] = T(0)
                if swapped:
                    values = shifted(source, (c * taps + taps - 1 - t) * outs + first)
                    for k in range(count):
                        line[k] = values[k]
                else:
                    values = shifted(source, (first * taps + t) * channels + c)
                    for k in range(count):
                        line[k] = values[k * taps * channels]


@inlined
def copy_block(x, g, group, image, images, d, first, rows, padded, T):
    """The input of a group that output rows from ``first`` on of slice ``d`` see, with zeros around it:
    ``padded(images, KD, HEIGHT, LINE, channels)``."""
    channels, step = g[C], g[G] * g[C]
    line = g[LINE]
    low = min(line, g[PW])
    high = max(low, min(line, g[W] + g[PW]))
    height = (rows - 1) * g[SH] + (g[KH] - 1) * g[LH] + 1
    for n in range(images):
        for tap in range(g[KD]):
            depth = d * g[SD] - g[PD] + tap * g[LD]
            for r in range(height):
                h = first * g[SH] - g[PH] + r
                target = shifted(padded, ((n * g[KD] + tap) * g[HEIGHT] + r) * line * channels)
                if depth < 0 or depth >= g[D] or h < 0 or h >= g[H]:
                    for j in range(line * channels):
                        target[j] = T(0)
                else:
                    place = (((image + n) * g[D] + depth) * g[H] + h) * g[W] + low - g[PW]
                    source = shifted(x, place * step + group * channels)
                    for j in range(low * channels):
                        target[j] = T(0)
                    inner = shifted(target, low * channels)
                    if step == channels:
                        for j in range((high - low) * channels):
                            inner[j] = source[j]
                    else:
                        for j in range(high - low):
                            for c in range(channels):
                                inner[j * channels + c] = source[j * step + c]
                    for j in range(high * channels, line * channels):
                        target[j] = T(0)


@kernel_template
def direct(operands, begin, end, *, T, PIXELS, VECTORS, LANES):
    """Parts [begin, end) of a convolution by tiles. Slots: x, packed weight, bias or anything, out, geometry, buffer,
    parts, whether there is a bias."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    out, g, buffer = pointer(operands, 3, T), pointer(operands, 4, int64), pointer(operands, 5, T)
    parts, has_bias = integer(operands, 6), integer(operands, 7)
    taps, channels, outs, all_outs = g[KD] * g[KH] * g[KW], g[C], g[K], g[G] * g[K]
    offsets = shifted(g, LISTS)
    places = shifted(offsets, g[RUNS])
    width = VECTORS * LANES
    tiles = (outs + width - 1) // width
    for part in range(begin, end):
        found = shifted(buffer, part * g[BUFFER])
        padded = shifted(found, PIXELS * width)
        for unit in range(part * g[UNITS] // parts, (part + 1) * g[UNITS] // parts):
            group = unit % g[G]
            block = unit // g[G] % g[BLOCKS]
            d = unit // (g[G] * g[BLOCKS]) % g[OD]
            image = unit // (g[G] * g[BLOCKS] * g[OD]) * g[IMAGES]
            images = min(g[IMAGES], g[N] - image)
            first = block * g[ROWS]
            rows = min(g[ROWS], g[OH] - first)
            copy_block(x, g, group, image, images, d, first, rows, padded, T)
            count = images * rows * g[OW]
            target = shifted(out, ((image * g[OD] + d) * g[OH] + first) * g[OW] * all_outs + group * outs)
            for tile in range(tiles):
                factors = shifted(weight, (group * tiles + tile) * taps * channels * width)
                inside = min(width, outs - tile * width)
                shifts = shifted(bias, group * outs + tile * width)
                for j in range(0, count, PIXELS):
                    _tile(
                        padded, shifted(places, j), offsets, factors, found, g[RUNS], g[RUN], PIXELS, VECTORS, LANES
                    )
                    for p in range(min(PIXELS, count - j)):
                        results = shifted(target, (j + p) * all_outs + tile * width)
                        values = shifted(found, p * width)
                        if has_bias:
                            for k in range(inside):
                                results[k] = values[k] + shifts[k]
                        else:
                            for k in range(inside):
                                results[k] = values[k]


# --- depthwise: one input channel a group ----------------------------------------------------------------------------


MOST_TAPS = 64  # taps up to which the list of those that a pixel sees fits on the stack


@intrinsic(prefer_literal=True)
def _weighted(typingctx, x, weight, places, taps, out, vectors, lanes):
    """``out[j] += sum over t of x[places[2 * t] + j] * weight[places[2 * t + 1] + j]`` for ``vectors * lanes`` elements,
    which are constants; the sums are kept in registers."""
    i64 = types.int64
    signature = types.void(x, x, places, i64, x, vectors, lanes)
    sizes = vectors.literal_value, lanes.literal_value

    def codegen(context, builder, signature, arguments):
        x, weight, places, taps, out, *_ = arguments
        vectors, lanes = sizes
        vector = ir.VectorType(x.type.pointee, lanes)
        size = context.get_abi_sizeof(x.type.pointee)

        def number(n):
            return ir.Constant(ir.IntType(64), n)

        def vector_at(base, v):
            return builder.bitcast(builder.gep(base, [number(v * lanes)]), vector.as_pointer())

        def load(base, v):
            return builder.load(vector_at(base, v), align=size)

        sums = [cgutils.alloca_once_value(builder, load(out, v)) for v in range(vectors)]
        with cgutils.for_range(builder, taps) as tap:
            at = builder.shl(tap.index, number(1))
            values = builder.gep(x, [builder.load(builder.gep(places, [at]))])
            factors = builder.gep(weight, [builder.load(builder.gep(places, [builder.add(at, number(1))]))])
            for v in range(vectors):
                product = builder.fmul(load(values, v), load(factors, v), flags=("contract",))
                builder.store(builder.fadd(builder.load(sums[v]), product, flags=("contract",)), sums[v])
        for v in range(vectors):
            builder.store(builder.load(sums[v]), vector_at(out, v)).align = size
        return context.get_dummy_value()

    return signature, codegen


@inlined
def weighted(x, weight, places, taps, out, count, LANES):
    """`_weighted` for ``count`` elements."""
    done = int64(0)
    if not PYTHON_MODE:
        while done + 4 * LANES <= count:
            _weighted(shifted(x, done), shifted(weight, done), places, taps, shifted(out, done), 4, LANES)
            done += 4 * LANES
        while done + LANES <= count:
            _weighted(shifted(x, done), shifted(weight, done), places, taps, shifted(out, done), 1, LANES)
            done += LANES
    for j in range(done, count):
        total = out[j]
        for t in range(taps):
            total += x[places[2 * t] + j] * weight[places[2 * t + 1] + j]
        out[j] = total


@kernel_template
def depthwise_forward(operands, begin, end, *, T, BIAS, LANES):
    """Output rows [begin, end) of all images. Slots: x, weight(taps, groups * outs), bias (or anything), out, geometry."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    out, g = pointer(operands, 3, T), pointer(operands, 4, int64)
    groups, outs, all_outs = g[G], g[K], g[G] * g[K]
    places = stack_array(128, begin)
    lines = stack_array(64, begin)
    tap_rows = g[KD] * g[KH]
    listed = outs == 1 and tap_rows * g[KW] <= MOST_TAPS
    for row in range(begin, end):
        if listed:
            for tap in range(tap_rows):
                lines[tap] = pixel_row(g, row, tap // g[KH], tap % g[KH])
        for j in range(g[OW]):
            target = shifted(out, (row * g[OW] + j) * all_outs)
            if BIAS:
                for k in range(all_outs):
                    target[k] = bias[k]
            else:
                for k in range(all_outs):
                    target[k] = T(0)
            count = int64(0)
            for tap in range(tap_rows):
                line = lines[tap] if listed else pixel_row(g, row, tap // g[KH], tap % g[KH])
                if line >= 0:
                    for t in range(g[KW]):
                        column = j * g[SW] - g[PW] + t * g[LW]
                        if column >= 0 and column < g[W]:
                            at, factor = (line * g[W] + column) * groups, (tap * g[KW] + t) * all_outs
                            if listed:
                                places[2 * count] = at
                                places[2 * count + 1] = factor
                                count += 1
                            else:
                                for k in range(all_outs):
                                    target[k] = T(target[k] + x[at + k // outs] * weight[factor + k])
            if listed:
                weighted(x, weight, places, count, target, groups, LANES)


@kernel_template
def depthwise_input(operands, begin, end, *, T):
    """Input rows [begin, end) of all images of x's gradient. Slots: gradient, weight(taps, groups * outs), x's gradient,
    geometry."""
    gradient, weight, x = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g = pointer(operands, 3, int64)
    groups, outs, all_outs = g[G], g[K], g[G] * g[K]
    for row in range(begin, end):
        image = row // (g[D] * g[H])
        d = row // g[H] - image * g[D]
        h = row % g[H]
        for j in range(g[W]):
            target = shifted(x, (row * g[W] + j) * groups)
            for k in range(groups):
                target[k] = T(0)
            for tap in range(g[KD] * g[KH]):
                above = d + g[PD] - tap // g[KH] * g[LD]
                down = h + g[PH] - tap % g[KH] * g[LH]
                if (
                    above >= 0 and down >= 0 and above % g[SD] == 0 and down % g[SH] == 0 and above // g[SD] < g[OD]
                    and down // g[SH] < g[OH]
                ):  # fmt: skip
                    line = (image * g[OD] + above // g[SD]) * g[OH] + down // g[SH]
                    for t in range(g[KW]):
                        across = j + g[PW] - t * g[LW]
                        if across >= 0 and across % g[SW] == 0 and across // g[SW] < g[OW]:
                            errors = shifted(gradient, (line * g[OW] + across // g[SW]) * all_outs)
                            factors = shifted(weight, (tap * g[KW] + t) * all_outs)
                            if outs == 1:
                                for k in range(groups):
                                    target[k] = T(target[k] + errors[k] * factors[k])
                            else:
                                for k in range(groups):
                                    for i in range(k * outs, (k + 1) * outs):
                                        target[k] = T(target[k] + errors[i] * factors[i])


@kernel_template
def depthwise_weight(operands, begin, end, *, T, CHUNK):
    """Chunks [begin, end) of CHUNK output channels of the weight's gradient, which is added up an output row at a time.
    Slots: gradient, x, totals(taps, groups * outs) of float64, zeros, weight's gradient in the same order, geometry,
    scratch for all totals in T."""
    gradient, x = pointer(operands, 0, T), pointer(operands, 1, T)
    totals, weight = pointer(operands, 2, np.float64), pointer(operands, 3, T)
    g, scratch = pointer(operands, 4, int64), pointer(operands, 5, T)
    groups, outs, all_outs = g[G], g[K], g[G] * g[K]
    taps = g[KD] * g[KH] * g[KW]
    for chunk in range(begin, end):
        first = chunk * CHUNK
        count = min(int64(CHUNK), all_outs - first)
        for row in range(g[N] * g[OD] * g[OH]):
            for tap in range(g[KD] * g[KH]):
                line = pixel_row(g, row, tap // g[KH], tap % g[KH])
                if line >= 0:
                    partial = shifted(scratch, tap * g[KW] * all_outs + first)
                    for t in range(g[KW]):
                        inner = shifted(partial, t * all_outs)
                        for k in range(count):
                            inner[k] = T(0)
                    for j in range(g[OW]):
                        left = j * g[SW] - g[PW]
                        errors = shifted(gradient, (row * g[OW] + j) * all_outs + first)
                        if outs == 1 and g[KW] == 3 and left >= 0 and left + 2 * g[LW] < g[W]:
                            v0, step = shifted(x, (line * g[W] + left) * groups + first), g[LW] * groups
                            v1, v2 = shifted(v0, step), shifted(v0, 2 * step)
                            p1, p2 = shifted(partial, all_outs), shifted(partial, 2 * all_outs)
                            for k in range(count):
                                error = errors[k]
                                partial[k] += error * v0[k]
                                p1[k] += error * v1[k]
                                p2[k] += error * v2[k]
                        else:
                            for t in range(g[KW]):
                                column = left + t * g[LW]
                                if column >= 0 and column < g[W]:
                                    inner = shifted(partial, t * all_outs)
                                    values = shifted(x, (line * g[W] + column) * groups)
                                    for k in range(count):
                                        inner[k] += errors[k] * values[(first + k) // outs]
                    for t in range(g[KW]):
                        inner = shifted(partial, t * all_outs)
                        total = shifted(totals, (tap * g[KW] + t) * all_outs + first)
                        for k in range(count):
                            total[k] += inner[k]
        for tap in range(taps):
            for k in range(count):
                weight[tap * all_outs + first + k] = T(totals[tap * all_outs + first + k])


# --- plans -----------------------------------------------------------------------------------------------------------


class Plan:
    """A channels-last convolution of floats ready to be called, with the methods and arguments of `conv.Plan`; weights
    and their gradients are (groups * outs, *taps, channels) in memory."""

    def __init__(self, dtype, images, groups, channels, outs, size, out_size, taps, stride, padding, dilation):
        self.dtype = np.dtype(dtype)
        self.images, self.groups, self.channels, self.outs = images, groups, channels, outs
        self.shape = size, out_size, taps, stride, padding, dilation
        self.taps = prod(taps)
        self.work = images * groups * channels * outs * prod(out_size) * self.taps
        self.numbers = [images, groups, channels, outs, *size, *out_size, *taps, *stride, *padding, *dilation]
        self.in_place = self.taps == 1 and stride == (1, 1, 1) and padding == (0, 0, 0) and size == out_size
        self.depthwise = channels == 1 and groups > 1
        self.mirrors = not PYTHON_MODE and stride == (1, 1, 1) and all(
            p <= d * (t - 1) for p, d, t in zip(padding, dilation, taps)
        )  # fmt: skip

    @cached_property
    def geometry(self):
        """The geometry array of the products."""
        _, out_size, taps, *_ = self.shape
        depth, wide = self.channels * self.taps, max(out_size[2], 1)
        all_rows = self.images * out_size[0] * out_size[1]
        columns = max(LEAST_COLUMNS, COLUMN_ELEMENTS // max(depth, 1))
        block = max(1, min(all_rows, columns // wide))
        blocks = -(-all_rows // block)
        k_chunk = self.outs
        if self.groups * taps[0] * taps[1] == 1 and self.outs >= K_HALVES:
            k_chunk = -(-self.outs // 2)
        buffer = 0 if self.in_place else depth * block * wide
        return np.array(
            [*self.numbers, block, blocks, self.groups * blocks, buffer + 16, int(self.in_place), k_chunk], np.int64
        )

    @cached_property
    def tiling(self):
        """(geometry array, tile) of `direct`."""
        size, out_size, taps, stride, padding, dilation = self.shape
        tile = shape_of_tiles(self.dtype, self.outs)
        line = (out_size[2] - 1) * stride[2] + (taps[2] - 1) * dilation[2] + 1
        most = BLOCK_BYTES // (self.dtype.itemsize * self.channels * line * taps[0])  # rows of padded input
        reach = (taps[1] - 1) * dilation[1]
        rows = max(1, min(out_size[1], (most - reach - 1) // stride[1] + 1))
        blocks = -(-out_size[1] // rows)
        rows = -(-out_size[1] // blocks)
        blocks = -(-out_size[1] // rows)
        height = (rows - 1) * stride[1] + reach + 1
        images = max(1, min(self.images, most // height)) if blocks == 1 and out_size[0] == 1 else 1
        room = taps[0] * height * line * self.channels
        beside = taps[2] if dilation[2] == 1 else 1  # taps of a row that lie side by side
        kd, kh, kw = np.ix_(range(taps[0]), range(taps[1]), range(taps[2] // beside))
        offsets = ((kd * height + kh * dilation[1]) * line + kw * dilation[2]) * self.channels
        i, r, j = np.ix_(range(images), range(rows), range(out_size[2]))
        places = (i * room + (r * stride[1] * line + j * stride[2]) * self.channels).ravel()
        places = np.concatenate([places, np.zeros(tile[0], np.int64)])  # what the last tile computes beyond the block
        buffer = images * room + prod(tile) + 16
        units = -(-self.images // images) * out_size[0] * blocks * self.groups
        runs = offsets.size, beside * self.channels
        numbers = [*self.numbers, rows, blocks, units, buffer, 0, 0, images, height, line, *runs]
        return np.array([*numbers, *offsets.ravel(), *places], np.int64), tile

    def _direct(self, x, weight, bias, out, has_bias, swapped):
        g, tile = self.tiling
        width = tile[1] * tile[2]
        tiles = -(-self.outs // width)
        packed = np.empty(self.groups * tiles * self.taps * self.channels * width, self.dtype)
        T = self.dtype.type
        slots = weight, packed, self.channels, self.outs, self.taps, int(swapped)
        self._loop(pack(T=T, WIDTH=width), self.groups * tiles, *slots)
        address = direct(T=T, PIXELS=tile[0], VECTORS=tile[1], LANES=tile[2])
        run_parts(self, address, g[UNITS], g[BUFFER], (x, packed, bias, out, g), (int(has_bias),))

    def _loop(self, address, units, *slots):
        run_parts(self, address, units, None, slots)

    def _by_taps(self, weight):
        """A depthwise weight with its taps outermost."""
        return weight.reshape(self.groups * self.outs, self.taps).T.ravel()

    def forward(self, x, weight, bias, out, swapped=False):
        """The convolution; ``swapped``: the weight is that of the convolution whose input gradient this is."""
        T, has_bias = self.dtype.type, bias is not None
        bias = bias if has_bias else weight
        if not len(out):
            return
        if self.depthwise and not swapped:
            rows = self.images * self.shape[1][0] * self.shape[1][1]
            geometry = np.array(self.numbers, np.int64)
            self._loop(depthwise_forward(T=T, BIAS=has_bias, LANES=shape_of_tiles(self.dtype, 1)[2]), rows, x, self._by_taps(weight), bias, out, geometry)
        elif self.in_place or PYTHON_MODE or (self.taps == 1 and not swapped) or not self.channels:
            g = self.geometry
            address = product_forward(T=T, BITS=blas.load(), BIAS=has_bias)
            run_parts(self, address, g[UNITS], g[BUFFER], (x, weight, bias, out, g))
        else:
            self._direct(x, weight, bias, out, has_bias, swapped)

    @cached_property
    def mirror(self):
        """The convolution that is this one's input gradient, where outputs do not step."""
        size, out_size, taps, stride, padding, dilation = self.shape
        back = tuple(d * (t - 1) - p for p, d, t in zip(padding, dilation, taps))
        return Plan(self.dtype, self.images, self.groups, self.outs, self.channels, out_size, size, taps, stride, back, dilation)

    def input_gradient(self, gradient, weight, dx):
        """The gradient for x; every element of ``dx`` is written."""
        T = self.dtype.type
        if not len(dx):
            return
        if not len(gradient):
            dx.fill(0)
        elif self.depthwise:
            rows = self.images * self.shape[0][0] * self.shape[0][1]
            turned = self._by_taps(weight)
            if self.outs == 1 and self.mirrors:  # a convolution with the taps in reverse order
                turned = turned.reshape(self.taps, -1)[::-1].ravel()
                slots = gradient, turned, turned, dx, np.array(self.mirror.numbers, np.int64)
                self._loop(depthwise_forward(T=T, BIAS=False, LANES=shape_of_tiles(self.dtype, 1)[2]), rows, *slots)
            else:
                geometry = np.array(self.numbers, np.int64)
                self._loop(depthwise_input(T=T), rows, gradient, turned, dx, geometry)
        elif self.mirrors and not self.in_place:
            self.mirror.forward(gradient, weight, None, dx, swapped=True)
        else:
            g = self.geometry
            units = g[UNITS] if self.in_place else self.images * self.groups
            address = product_input(T=T, BITS=blas.load())
            run_parts(self, address, units, g[BUFFER], (gradient, weight, dx, g))

    def weight_gradient(self, gradient, x, dweight):
        """The gradient for the weight; every element of ``dweight`` is written."""
        T = self.dtype.type
        if not len(dweight):
            return
        if not len(gradient) or not len(x):
            dweight.fill(0)
        elif self.depthwise:
            count = self.groups * self.outs
            found, scratch = np.empty((2, len(dweight)), self.dtype)
            geometry = np.array(self.numbers, np.int64)
            slots = gradient, x, np.zeros(len(dweight)), found, geometry, scratch
            self._loop(depthwise_weight(T=T, CHUNK=CHANNEL_CHUNK), -(-count // CHANNEL_CHUNK), *slots)
            dweight[:] = found.reshape(self.taps, count).T.ravel()
        else:
            g = self.geometry
            tap_rows = self.shape[2][0] * self.shape[2][1]
            units = self.groups * tap_rows * -(-self.outs // int(g[K_CHUNK]))
            address = product_weight(T=T, BITS=blas.load())
            run_parts(self, address, units, g[BUFFER], (gradient, x, dweight, g))
