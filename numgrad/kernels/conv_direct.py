"""Convolutions without columns: tiles of output channels and pixels stay in registers.

A block of input rows is copied with its padding, so that row ends need no care: seen as one line, output pixel ``j``
needs the input pixels ``j + offset`` for one offset a tap. The line has a few pixels between rows that no output is;
they are computed and dropped. Where outputs step over the input, what lies between steps is copied to *slices* of its
own, and so is every input slice of a convolution in three dimensions; then all taps are such offsets. Where an input's
gradient steps, outputs with the same remainder see the same taps, and each remainder is a *piece*.

Numba has no vectors of its own, so the innermost loops are LLVM instructions.
"""

import itertools
from math import prod

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy import int64

from .jit import PYTHON_MODE, inlined, integer, kernel_template, pointer, shifted

BLOCK_BYTES = 192 << 10  # of padded input rows: they are read once for each few output channels
LEAST_PIXELS = 512  # output pixels of all images from which the packing of the weight pays
NARROW = 3  # output channels a group below which tiles are one output channel high

# Places in the geometry array of a piece: counts, input size, outputs, input steps, where outputs go,
GROUPS, CHANNELS, OUTS, D, H, W, OD, OH, OW, SD, SH, SW = range(12)
OUT_PLANE, OUT_FIRST, OUT_SLICE, OUT_ROW, OUT_STEP = range(12, 17)
# and how the work is done. From LISTS on: (slice, row, column) where each slice begins in the input, the offset of each
# tap in the padded lines, and the place of each tap in the weight.
TAPS, ALL_TAPS, SLICES, REACH, LINE, ROWS, BLOCKS, PLANE, TILES, UNITS, BUFFER = range(17, 28)
LISTS = 28


def shape_of_tiles(dtype, outs) -> tuple[int, int, int]:
    """(output channels, vectors of pixels, pixels a vector) that fill the registers of this machine."""
    features = llvm.get_host_cpu_features()
    size = np.dtype(dtype).itemsize
    if features.get("avx512f"):
        return (1, 4, 64 // size) if outs < NARROW else (8, 3, 64 // size)
    if features.get("avx2"):
        return (1, 8, 32 // size) if outs < NARROW else (4, 3, 32 // size)
    if outs < NARROW:
        return 1, 8, 16 // size
    return (8, 2, 16 // size) if features.get("neon") else (4, 2, 16 // size)


@intrinsic(prefer_literal=True)
def _tile(typingctx, x, offsets, weight, out, channels, plane, taps, out_row, outs, vectors, lanes):
    """``out(outs, vectors * lanes) = sum over c, t of weight[c, t, k] * x[c * plane + offsets[t] + j]``.

    ``outs``, ``vectors`` and ``lanes`` are constants; the sums are kept in registers.
    """
    i64 = types.int64
    signature = types.void(x, offsets, x, x, i64, i64, i64, i64, outs, vectors, lanes)
    sizes = outs.literal_value, vectors.literal_value, lanes.literal_value

    def codegen(context, builder, signature, arguments):
        x, offsets, weight, out, channels, plane, taps, out_row, *_ = arguments
        outs, vectors, lanes = sizes
        element = x.type.pointee
        vector = ir.VectorType(element, lanes)
        size = context.get_abi_sizeof(element)
        zero, undefined = ir.Constant(vector, None), ir.Constant(vector, ir.Undefined)
        lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)

        def number(n):
            return ir.Constant(ir.IntType(64), n)

        def vector_at(base, index):
            return builder.bitcast(builder.gep(base, [index]), vector.as_pointer())

        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(outs)]
        with cgutils.for_range(builder, channels) as channel:
            values = builder.gep(x, [builder.mul(channel.index, plane)])
            first = builder.mul(channel.index, builder.mul(taps, number(outs)))
            factors = builder.gep(weight, [first])
            with cgutils.for_range(builder, taps) as tap:
                line = builder.gep(values, [builder.load(builder.gep(offsets, [tap.index]))])
                pixels = [builder.load(vector_at(line, number(v * lanes)), align=size) for v in range(vectors)]
                scalars = builder.gep(factors, [builder.mul(tap.index, number(outs))])
                for k in range(outs):
                    single = builder.load(builder.gep(scalars, [number(k)]))
                    lone = builder.insert_element(undefined, single, ir.Constant(ir.IntType(32), 0))
                    factor = builder.shuffle_vector(lone, undefined, lane)
                    for v in range(vectors):
                        product = builder.fmul(factor, pixels[v], flags=("contract",))
                        total = builder.fadd(builder.load(sums[k][v]), product, flags=("contract",))
                        builder.store(total, sums[k][v])
        for k in range(outs):
            line = builder.gep(out, [builder.mul(out_row, number(k))])
            for v in range(vectors):
                store = builder.store(builder.load(sums[k][v]), vector_at(line, number(v * lanes)))
                store.align = size
        return context.get_dummy_value()

    return signature, codegen


@kernel_template
def pack(operands, begin, end, *, T, OUT_TILE):
    """Tiles of output channels [begin, end): ``out(tile, c, t, k) = weight(g, k, c, place of t)``, 0 beyond the last
    channel. ``swapped``: channels and output channels have changed places, as they do in an input's gradient. Slots:
    weight, out, geometry, swapped."""
    weight, out, g = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, int64)
    swapped = integer(operands, 3)
    channels, outs, taps = g[CHANNELS], g[OUTS], g[TAPS]
    places = shifted(g, LISTS + 3 * g[SLICES] + taps)
    tiles = (outs + OUT_TILE - 1) // OUT_TILE
    for tile in range(begin, end):
        group = tile // tiles
        first = (tile - group * tiles) * OUT_TILE
        source = shifted(weight, group * outs * channels * g[ALL_TAPS])
        target = shifted(out, tile * channels * taps * OUT_TILE)
        for c in range(channels):
            for k in range(OUT_TILE):
                row = c * outs + first + k if swapped else (first + k) * channels + c
                values = shifted(source, row * g[ALL_TAPS])
                for t in range(taps):
                    target[(c * taps + t) * OUT_TILE + k] = values[places[t]] if first + k < outs else T(0)


@inlined
def copy_lines(x, g, first, rows, d, padded, T):
    """The part of a channel that output rows from ``first`` on of output slice ``d`` see, with zeros around it:
    ``padded(slices, rows + reach, line)``."""
    line, step = g[LINE], g[SW]
    begins = shifted(g, LISTS)
    for s in range(g[SLICES]):
        depth = d * g[SD] + begins[3 * s]
        top, left = begins[3 * s + 1], begins[3 * s + 2]
        low = min(line, max(int64(0), (step - 1 - left) // step))
        high = max(low, min(line, (g[W] - 1 - left) // step + 1))
        for row in range(rows + g[REACH]):
            target = shifted(padded, s * g[PLANE] + row * line)
            h = (first + row) * g[SH] + top
            if depth < 0 or depth >= g[D] or h < 0 or h >= g[H]:
                for j in range(line):
                    target[j] = T(0)
            else:
                values = shifted(x, (depth * g[H] + h) * g[W] + left + low * step)
                inner = shifted(target, low)
                for j in range(low):
                    target[j] = T(0)
                if step == 1:
                    for j in range(high - low):
                        inner[j] = values[j]
                elif step == 2:
                    for j in range(high - low):
                        inner[j] = values[2 * j]
                else:
                    for j in range(high - low):
                        inner[j] = values[j * step]
                for j in range(high, line):
                    target[j] = T(0)


@kernel_template
def direct(operands, begin, end, *, T, OUT_TILE, VECTORS, LANES):
    """Parts [begin, end) of a piece. Slots: x, packed weight, bias or anything, out, geometry, buffer, parts, whether
    there is a bias."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    out, g, buffer = pointer(operands, 3, T), pointer(operands, 4, int64), pointer(operands, 5, T)
    parts, has_bias = integer(operands, 6), integer(operands, 7)
    offsets = shifted(g, LISTS + 3 * g[SLICES])
    width = VECTORS * LANES
    channels, line, taps = g[CHANNELS], g[LINE], g[TAPS]
    room = g[SLICES] * g[PLANE]
    step = g[OUT_STEP]
    out_tiles = (g[OUTS] + OUT_TILE - 1) // OUT_TILE
    for part in range(begin, end):
        padded = shifted(buffer, part * g[BUFFER])
        found = shifted(padded, channels * room + width)
        for unit in range(part * g[UNITS] // parts, (part + 1) * g[UNITS] // parts):
            image = unit // (g[OD] * g[BLOCKS])  # of one group
            d = unit // g[BLOCKS] - image * g[OD]
            first = unit % g[BLOCKS] * g[ROWS]
            group = image % g[GROUPS]
            rows = min(g[ROWS], g[OH] - first)
            for c in range(channels):
                source = shifted(x, (image * channels + c) * g[D] * g[H] * g[W])
                copy_lines(source, g, first, rows, d, shifted(padded, c * room), T)
            tiles = (rows * line + width - 1) // width
            for tile in range(out_tiles):
                factors = shifted(weight, (group * out_tiles + tile) * channels * taps * OUT_TILE)
                for j in range(tiles):
                    _tile(
                        shifted(padded, j * width), offsets, factors, shifted(found, j * width), channels, room, taps,
                        g[TILES] * width, OUT_TILE, VECTORS, LANES,
                    )  # fmt: skip
                for k in range(tile * OUT_TILE, min(g[OUTS], (tile + 1) * OUT_TILE)):
                    shift = bias[group * g[OUTS] + k] if has_bias else T(0)
                    place = (image * g[OUTS] + k) * g[OUT_PLANE] + g[OUT_FIRST] + d * g[OUT_SLICE] + first * g[OUT_ROW]
                    for row in range(rows):
                        values = shifted(found, (k - tile * OUT_TILE) * g[TILES] * width + row * line)
                        results = shifted(out, place + row * g[OUT_ROW])
                        if step == 1:
                            for j in range(g[OW]):
                                results[j] = values[j] + shift
                        else:
                            for j in range(g[OW]):
                                results[j * step] = values[j] + shift


@kernel_template
def weight_sums(operands, begin, end, *, T, A):
    """Parts [begin, end) of a weight's gradient, by the channels of all groups: the sum over outputs of their gradient
    times what the tap sees. Slots: gradient, x, totals (zeros) in A, weight's gradient, geometry of the forward piece,
    buffer, parts, images."""
    gradient, x, totals = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, A)
    weight, g, buffer = pointer(operands, 3, T), pointer(operands, 4, int64), pointer(operands, 5, T)
    parts, images = integer(operands, 6), integer(operands, 7)
    offsets = shifted(g, LISTS + 3 * g[SLICES])
    channels, outs, line, taps = g[CHANNELS], g[OUTS], g[LINE], g[TAPS]
    out_plane = g[OD] * g[OH] * g[OW]
    units = g[GROUPS] * channels
    for part in range(begin, end):
        padded = shifted(buffer, part * g[BUFFER])
        errors = shifted(padded, g[SLICES] * g[PLANE])
        for unit in range(part * units // parts, (part + 1) * units // parts):
            group = unit // channels
            c = unit - group * channels
            for n in range(images):
                image = n * g[GROUPS] + group
                source = shifted(x, (image * channels + c) * g[D] * g[H] * g[W])
                for block in range(g[OD] * g[BLOCKS]):
                    d = block // g[BLOCKS]
                    first = (block - d * g[BLOCKS]) * g[ROWS]
                    rows = min(g[ROWS], g[OH] - first)
                    copy_lines(source, g, first, rows, d, padded, T)
                    for k in range(outs):
                        place = (image * outs + k) * out_plane + (d * g[OH] + first) * g[OW]
                        for row in range(rows):
                            values, target = shifted(gradient, place + row * g[OW]), shifted(errors, row * line)
                            for j in range(g[OW]):
                                target[j] = values[j]
                            for j in range(g[OW], line):
                                target[j] = T(0)
                        sums = shifted(totals, ((group * outs + k) * channels + c) * taps)
                        for t in range(taps):
                            seen = shifted(padded, offsets[t])
                            total = T(0)
                            for j in range((rows - 1) * line + g[OW]):
                                total += errors[j] * seen[j]
                            sums[t] += A(total)
            for k in range(outs):
                at = ((group * outs + k) * channels + c) * taps
                for t in range(taps):
                    weight[at + t] = T(totals[at + t])


class Piece:
    """Outputs that see the same taps, ready for `direct`: ``geometry`` and, beside it, what decides whether it pays.

    ``taps`` are pairs of a place in the weight and the (slice, row, column) that output 0 sees; outputs see these plus
    their own place times ``step``. ``where`` are the first output's place and the distances of slices, rows and columns
    in an output plane of ``out_plane`` elements.
    """

    def __init__(self, dtype, images, groups, channels, outs, size, out_size, step, taps, all_taps, out_plane, where):
        tile, vectors, lanes = shape_of_tiles(dtype, outs)
        width = vectors * lanes
        places = [place for place, _ in taps]
        top, left = (min(start[axis] for _, start in taps) for axis in (1, 2))
        slices, shifts = [], []
        for _, (d, h, w) in taps:
            down, across = (h - top) // step[1], (w - left) // step[2]
            slices.append((d, h - down * step[1], w - across * step[2]))
            shifts.append((down, across))
        begins = sorted(set(slices))
        reach, extra = (max(shift[axis] for shift in shifts) for axis in (0, 1))
        self.line = line = out_size[2] + extra
        self.columns, self.taps, self.slices = out_size[2], len(taps), len(begins)
        oh = out_size[1]
        most = BLOCK_BYTES // (np.dtype(dtype).itemsize * max(channels, 1) * line * len(begins)) - reach
        blocks = -(-oh // max(min(2, oh), min(oh, most)))
        rows = -(-oh // blocks)
        blocks = -(-oh // rows)
        tiles = -(-rows * line // width)
        plane = (rows + reach) * line
        buffer = channels * len(begins) * plane + width + tile * tiles * width + width + line
        offsets = [begins.index(s) * plane + down * line + across for s, (down, across) in zip(slices, shifts)]
        self.tile = tile, vectors, lanes
        self.packed = groups * -(-outs // tile), tile * channels * len(taps)  # tiles, elements of each
        self.geometry = np.array(
            [
                groups, channels, outs, *size, *out_size, *step, out_plane, *where, len(taps), all_taps, len(begins), reach,
                line, rows, blocks, plane, tiles, images * groups * out_size[0] * blocks, buffer,
                *itertools.chain(*begins), *offsets, *places,
            ], np.int64,
        )  # fmt: skip


def forward_piece(dtype, images, groups, channels, outs, size, out_size, taps, stride, padding, dilation) -> Piece:
    """The one piece of a convolution, from triples as `conv.Plan` takes them."""
    starts = [[t * d - p for t in range(n)] for n, d, p in zip(taps, dilation, padding)]
    where = 0, out_size[1] * out_size[2], out_size[2], 1
    return Piece(
        dtype, images, groups, channels, outs, size, out_size, stride, list(enumerate(itertools.product(*starts))),
        prod(taps), prod(out_size), where,
    )  # fmt: skip


def input_pieces(dtype, images, groups, channels, outs, size, out_size, taps, stride, padding, dilation) -> list[Piece]:
    """The pieces of an input's gradient, one for each remainder of the stride that any output reaches; the others'
    gradients are zeros."""
    pieces = []
    for remainder in itertools.product(*map(range, stride)):
        along = [  # the taps that reach it in each dimension, and the output that the first element of the piece sees
            [(t, (r + p - t * d) // s) for t in range(n) if (r + p - t * d) % s == 0]
            for r, n, s, p, d in zip(remainder, taps, stride, padding, dilation)
        ]
        counts = tuple(-(-(k - r) // s) for k, r, s in zip(size, remainder, stride))
        seen = [
            ((a * taps[1] + b) * taps[2] + c, (d, h, w)) for (a, d), (b, h), (c, w) in itertools.product(*along)
        ]
        if seen and min(counts) > 0:
            first = (remainder[0] * size[1] + remainder[1]) * size[2] + remainder[2]
            where = first, stride[0] * size[1] * size[2], stride[1] * size[2], stride[2]
            pieces.append(Piece(
                dtype, images, groups, outs, channels, out_size, counts, (1, 1, 1), seen, prod(taps), prod(size), where
            ))  # fmt: skip
    return pieces


def suits(pieces, dtype, pixels, outs, rivals) -> bool:
    """Whether `direct` serves ``pieces`` of ``outs`` output channels and ``pixels`` outputs in all: floating and, where
    matrix products are ``rivals``, large enough to repay packing, copies and dropped pixels."""
    if PYTHON_MODE or np.dtype(dtype).kind != "f" or not pieces:
        return False
    if not rivals:
        return True
    return (
        outs >= NARROW and pixels >= LEAST_PIXELS
        and all(2 * piece.line <= 3 * piece.columns for piece in pieces)
        and sum(piece.taps for piece in pieces) >= 2 * sum(piece.slices for piece in pieces)
    )  # fmt: skip
