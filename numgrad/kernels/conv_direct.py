"""Convolutions of stride 1 in two dimensions without columns: tiles of output channels and pixels stay in registers.

A block of input rows is copied with its padding, so that row ends need no care: seen as one line, output pixel ``j``
needs the input pixels ``j + offset`` for one offset a tap. The line has a few pixels between rows that no output is;
they are computed and dropped. Numba has no vectors of its own, so the innermost loops are LLVM instructions.
"""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy import int64

from .jit import PYTHON_MODE, integer, kernel_template, pointer, shifted

BLOCK_BYTES = 192 << 10  # of padded input rows: they are read once for each few output channels
LEAST_PIXELS = 512  # output pixels of all images from which the packing of the weight pays

# Places in the geometry array of a convolution.
GROUPS, CHANNELS, OUTS, H, W, OH, OW, TAPS, REACH = range(9)
TOP, LEFT, LINE, ROWS, BLOCKS, PLANE, TILES, UNITS, BUFFER = range(9, 18)
# From OFFSETS on: the offset of each tap in the line.
OFFSETS = 18


def shape_of_tiles(dtype) -> tuple[int, int, int]:
    """(output channels, vectors of pixels, pixels a vector) that fill the registers of this machine."""
    features = llvm.get_host_cpu_features()
    size = np.dtype(dtype).itemsize
    if features.get("avx512f"):
        return 8, 3, 64 // size
    if features.get("avx2"):
        return 4, 3, 32 // size
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
    """Tiles of output channels [begin, end): ``out(tile, c, t, k) = weight(g, k, c, t)``, 0 beyond the last channel.

    With ``mirror`` the weight is that of the convolution whose input gradient is wanted: channels and output channels
    change places and taps run backwards. Slots: weight, out, channels, output channels a group, taps, mirror."""
    weight, out = pointer(operands, 0, T), pointer(operands, 1, T)
    channels, outs, taps = integer(operands, 2), integer(operands, 3), integer(operands, 4)
    mirror = integer(operands, 5)
    tiles = (outs + OUT_TILE - 1) // OUT_TILE
    for tile in range(begin, end):
        group = tile // tiles
        first = (tile - group * tiles) * OUT_TILE
        source = shifted(weight, group * outs * channels * taps)
        target = shifted(out, tile * channels * taps * OUT_TILE)
        for c in range(channels):
            for t in range(taps):
                for k in range(OUT_TILE):
                    if first + k >= outs:
                        value = T(0)
                    elif mirror:
                        value = source[(c * outs + first + k) * taps + taps - 1 - t]
                    else:
                        value = source[((first + k) * channels + c) * taps + t]
                    target[(c * taps + t) * OUT_TILE + k] = value


@kernel_template
def direct(operands, begin, end, *, T, BIAS, OUT_TILE, VECTORS, LANES):
    """Parts [begin, end) of a convolution. Slots: x, packed weight, bias or anything, out, geometry, buffer, parts."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    out, g, buffer = pointer(operands, 3, T), pointer(operands, 4, int64), pointer(operands, 5, T)
    parts = integer(operands, 6)
    offsets = shifted(g, OFFSETS)
    width = VECTORS * LANES
    channels, line, plane, taps = g[CHANNELS], g[LINE], g[PLANE], g[TAPS]
    out_tiles = (g[OUTS] + OUT_TILE - 1) // OUT_TILE
    low, high = min(line, g[LEFT]), min(line, g[LEFT] + g[W])
    for part in range(begin, end):
        padded = shifted(buffer, part * g[BUFFER])
        found = shifted(padded, channels * plane + width)
        for unit in range(part * g[UNITS] // parts, (part + 1) * g[UNITS] // parts):
            image = unit // g[BLOCKS]  # of one group
            group = image % g[GROUPS]
            first = (unit - image * g[BLOCKS]) * g[ROWS]
            rows = min(g[ROWS], g[OH] - first)
            for c in range(channels):
                source = shifted(x, (image * channels + c) * g[H] * g[W])
                for row in range(rows + g[REACH]):
                    target = shifted(padded, c * plane + row * line)
                    h = first + row - g[TOP]
                    if h < 0 or h >= g[H]:
                        for j in range(line):
                            target[j] = T(0)
                    else:
                        values, inner = shifted(source, h * g[W]), shifted(target, low)
                        for j in range(low):
                            target[j] = T(0)
                        for j in range(high - low):
                            inner[j] = values[j]
                        for j in range(high, line):
                            target[j] = T(0)
            tiles = (rows * line + width - 1) // width
            for tile in range(out_tiles):
                factors = shifted(weight, (group * out_tiles + tile) * channels * taps * OUT_TILE)
                for j in range(tiles):
                    _tile(
                        shifted(padded, j * width), offsets, factors, shifted(found, j * width), channels, plane, taps,
                        g[TILES] * width, OUT_TILE, VECTORS, LANES,
                    )  # fmt: skip
                for k in range(tile * OUT_TILE, min(g[OUTS], (tile + 1) * OUT_TILE)):
                    shift = bias[group * g[OUTS] + k] if BIAS else T(0)
                    target = shifted(out, ((image * g[OUTS] + k) * g[OH] + first) * g[OW])
                    for row in range(rows):
                        values = shifted(found, (k - tile * OUT_TILE) * g[TILES] * width + row * line)
                        results = shifted(target, row * g[OW])
                        for j in range(g[OW]):
                            results[j] = values[j] + shift


def suits(dtype, images, outs, size, out_size, taps, stride, dilation) -> bool:
    """Whether `direct` serves: floating, flat, of stride 1, and large enough to repay packing and dropped pixels."""
    tap_height, tap_width = taps[1:]
    line = out_size[2] + (tap_width - 1) * dilation[2]
    return (
        not PYTHON_MODE and np.dtype(dtype).kind == "f" and stride == (1, 1, 1) and tap_height * tap_width > 1
        and size[0] == out_size[0] == taps[0] == 1 and outs >= 3 and 2 * line <= 3 * out_size[2]
        and images * out_size[1] * out_size[2] >= LEAST_PIXELS
    )  # fmt: skip


def geometry(dtype, images, groups, channels, outs, size, out_size, taps, padding, dilation):
    """The geometry array of `direct`, from triples as `conv.Plan` takes them."""
    out_tile, vectors, lanes = shape_of_tiles(dtype)
    width = vectors * lanes
    (_, h, w), (_, oh, ow), (_, tap_height, tap_width) = size, out_size, taps
    line = ow + (tap_width - 1) * dilation[2]
    reach = (tap_height - 1) * dilation[1]
    most = BLOCK_BYTES // (np.dtype(dtype).itemsize * max(channels, 1) * line) - reach
    blocks = -(-oh // max(min(2, oh), min(oh, most)))
    rows = -(-oh // blocks)
    blocks = -(-oh // rows)
    tiles = -(-rows * line // width)
    plane = (rows + reach) * line + tap_width * dilation[2]
    buffer = channels * plane + width + out_tile * tiles * width + width + line * (reach + 1)
    offsets = [a * dilation[1] * line + b * dilation[2] for a in range(tap_height) for b in range(tap_width)]
    return np.array(
        [
            groups, channels, outs, h, w, oh, ow, len(offsets), reach, padding[1], padding[2], line, rows, blocks,
            plane, tiles, images * groups * blocks, buffer, *offsets,
        ], np.int64,
    )  # fmt: skip
