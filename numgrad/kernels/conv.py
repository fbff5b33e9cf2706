"""Convolutions of flat arrays: ``out(n, g, k, o) = sum over c, t of x(n, g, c, o * stride - padding + t * dilation) *
w(g, k, c, t)`` and its two gradients, in three spatial dimensions (missing ones have size 1).

There are four methods. *Loops* add one tap to one output row at a time: for depthwise layers and integers. *Products*
gather the input values of a block of output rows as columns, small enough to stay in the cache, and call BLAS on them.
*Direct* kernels (`conv_direct`) need no columns. *Small* images (`conv_small`) are
gathered a few dozen at a time.

The work is cut into *units* that depend on the shapes alone; the threads share them out, so that results do not depend
on how many there are. A *part* is what one thread does: a run of units, with a buffer of its own.
"""

import threading
from math import prod

import numpy as np
from numpy import int64

from .. import config
from . import blas, conv_direct, conv_small
from .callers import caller
from .jit import inlined, integer, kernel_template, pointer, shifted

PARALLEL = 1 << 18  # multiply-adds from which a second thread pays
NARROW = 3  # output channels a group below which BLAS does not repay the gathering of columns
COLUMN_ELEMENTS = 1 << 16  # elements of a block of columns: they are to stay in the second-level cache
LEAST_COLUMNS = 192  # columns a block has at least: narrower products are slow
CHUNK = 144  # rows of columns that a unit of the gradients handles at least
OUT_CHUNK = 64  # output channels from which a weight's gradient that is one unit is halved

# Places in the geometry array: images, groups, channels and output channels a group,
N, G, C, K = range(4)
# then three each of: input size, output size, taps, stride, padding before, dilation,
D, H, W, OD, OH, OW, KD, KH, KW, SD, SH, SW, PD, PH, PW, LD, LH, LW = range(4, 22)
# and how the work is cut: output rows and blocks of them, channels and output channels a unit, units, a part's buffer.
ROWS, BLOCKS, C_CHUNK, K_CHUNK, UNITS, BUFFER, IN_PLACE = range(22, 29)


# --- rows and columns ------------------------------------------------------------------------------------------------


@inlined
def touched(g, tap):
    """The output columns [low, high) whose tap number ``tap`` of a row lies inside the input, and the input column of
    the first of them."""
    start = tap * g[LW] - g[PW]
    step = g[SW]
    low = min(g[OW], max(int64(0), (step - 1 - start) // step))
    high = max(low, min(g[OW], (g[W] - 1 - start) // step + 1))
    return low, high, start + low * step


@inlined
def input_row(g, row, tap_d, tap_h):
    """Which input row of a plane meets output row ``row`` at a tap; -1 if it lies outside."""
    d = row // g[OH]
    h = (row - d * g[OH]) * g[SH] - g[PH] + tap_h * g[LH]
    d = d * g[SD] - g[PD] + tap_d * g[LD]
    if d < 0 or d >= g[D] or h < 0 or h >= g[H]:
        return int64(-1)
    return d * g[H] + h


@inlined
def gather(x, g, first_channel, channels, first_row, rows, columns, T):
    """Input values as columns: ``columns(channels * taps, rows * OW)`` for output rows from ``first_row`` on."""
    at = 0
    plane = g[D] * g[H] * g[W]
    for c in range(first_channel, first_channel + channels):
        for tap_d in range(g[KD]):
            for tap_h in range(g[KH]):
                for tap_w in range(g[KW]):
                    low, high, start = touched(g, tap_w)
                    for row in range(first_row, first_row + rows):
                        target = shifted(columns, at)
                        line = input_row(g, row, tap_d, tap_h)
                        if line < 0 or low == high:
                            for j in range(g[OW]):
                                target[j] = T(0)
                        else:
                            source = shifted(x, c * plane + line * g[W] + start)
                            inner = shifted(target, low)
                            for j in range(low):
                                target[j] = T(0)
                            if g[SW] == 1:
                                for j in range(high - low):
                                    inner[j] = source[j]
                            else:
                                for j in range(high - low):
                                    inner[j] = source[j * g[SW]]
                            for j in range(high, g[OW]):
                                target[j] = T(0)
                        at += g[OW]


@inlined
def scatter(columns, g, first_channel, channels, first_row, rows, x):
    """Add columns to where `gather` reads them."""
    at = 0
    plane = g[D] * g[H] * g[W]
    for c in range(first_channel, first_channel + channels):
        for tap_d in range(g[KD]):
            for tap_h in range(g[KH]):
                for tap_w in range(g[KW]):
                    low, high, start = touched(g, tap_w)
                    for row in range(first_row, first_row + rows):
                        line = input_row(g, row, tap_d, tap_h)
                        if line >= 0 and low < high:
                            source = shifted(columns, at + low)
                            target = shifted(x, c * plane + line * g[W] + start)
                            if g[SW] == 1:
                                for j in range(high - low):
                                    target[j] += source[j]
                            else:
                                for j in range(high - low):
                                    target[j * g[SW]] += source[j]
                        at += g[OW]


# --- products --------------------------------------------------------------------------------------------------------


@kernel_template
def product_forward(operands, begin, end, *, T, BITS, BIAS):
    """Parts [begin, end) of a convolution. Slots: x, weight, bias (or anything), out, geometry, buffer, parts."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    out, g, buffer = pointer(operands, 3, T), pointer(operands, 4, int64), pointer(operands, 5, T)
    parts = integer(operands, 6)
    one = T(1)
    taps, plane, out_plane = g[KD] * g[KH] * g[KW], g[D] * g[H] * g[W], g[OD] * g[OH] * g[OW]
    depth = g[C] * taps
    for part in range(begin, end):
        columns = shifted(buffer, part * g[BUFFER])
        for unit in range(part * g[UNITS] // parts, (part + 1) * g[UNITS] // parts):
            image = unit // g[BLOCKS]  # of one group
            group = image % g[G]
            row = (unit - image * g[BLOCKS]) * g[ROWS]
            rows = min(g[ROWS], g[OD] * g[OH] - row)
            width = rows * g[OW]
            source = shifted(x, image * g[C] * plane)
            target = shifted(out, image * g[K] * out_plane + row * g[OW])
            factors = shifted(weight, group * g[K] * depth)
            if BIAS:
                for k in range(g[K]):
                    line = shifted(target, k * out_plane)
                    value = bias[group * g[K] + k]
                    for j in range(width):
                        line[j] = value
            beta = T(1) if BIAS else T(0)
            if g[IN_PLACE]:
                values = shifted(source, row * g[OW])
                blas.gemm(BITS, 0, 0, g[K], width, depth, one, factors, depth, values, plane, beta, target, out_plane)
            else:
                gather(source, g, 0, g[C], row, rows, columns, T)
                blas.gemm(BITS, 0, 0, g[K], width, depth, one, factors, depth, columns, width, beta, target, out_plane)


@kernel_template
def product_input(operands, begin, end, *, T, BITS):
    """Parts of the gradient for x. Slots: gradient, weight, x's gradient (zeroed here), geometry, buffer, parts."""
    gradient, weight, x = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g, buffer = pointer(operands, 3, int64), pointer(operands, 4, T)
    parts = integer(operands, 5)
    one, zero = T(1), T(0)
    taps, plane, out_plane = g[KD] * g[KH] * g[KW], g[D] * g[H] * g[W], g[OD] * g[OH] * g[OW]
    depth = g[C] * taps
    chunks = (g[C] + g[C_CHUNK] - 1) // g[C_CHUNK]
    for part in range(begin, end):
        columns = shifted(buffer, part * g[BUFFER])
        for unit in range(part * g[UNITS] // parts, (part + 1) * g[UNITS] // parts):
            image = unit // chunks
            group = image % g[G]
            channel = (unit - image * chunks) * g[C_CHUNK]
            channels = min(g[C_CHUNK], g[C] - channel)
            target = shifted(x, image * g[C] * plane)
            wanted = shifted(target, channel * plane)
            for j in range(channels * plane):
                wanted[j] = zero
            factors = shifted(weight, group * g[K] * depth + channel * taps)
            for block in range(g[BLOCKS]):
                row = block * g[ROWS]
                rows = min(g[ROWS], g[OD] * g[OH] - row)
                width = rows * g[OW]
                source = shifted(gradient, image * g[K] * out_plane + row * g[OW])
                blas.gemm(
                    BITS, 1, 0, channels * taps, width, g[K], one, factors, depth, source, out_plane, zero, columns,
                    width,
                )  # fmt: skip
                scatter(columns, g, channel, channels, row, rows, target)


@kernel_template
def product_weight(operands, begin, end, *, T, BITS):
    """Parts of the gradient for the weight. Slots: gradient, x, weight's gradient, geometry, buffer, parts."""
    gradient, x, weight = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g, buffer = pointer(operands, 3, int64), pointer(operands, 4, T)
    parts = integer(operands, 5)
    one = T(1)
    taps, plane, out_plane = g[KD] * g[KH] * g[KW], g[D] * g[H] * g[W], g[OD] * g[OH] * g[OW]
    depth = g[C] * taps
    c_chunks = (g[C] + g[C_CHUNK] - 1) // g[C_CHUNK]
    k_chunks = (g[K] + g[K_CHUNK] - 1) // g[K_CHUNK]
    for part in range(begin, end):
        columns = shifted(buffer, part * g[BUFFER])
        for unit in range(part * g[UNITS] // parts, (part + 1) * g[UNITS] // parts):
            rest = unit // c_chunks
            channel = (unit - rest * c_chunks) * g[C_CHUNK]
            channels = min(g[C_CHUNK], g[C] - channel)
            group = rest // k_chunks
            first = (rest - group * k_chunks) * g[K_CHUNK]
            count = min(g[K_CHUNK], g[K] - first)
            target = shifted(weight, (group * g[K] + first) * depth + channel * taps)
            beta = T(0)
            for n in range(g[N]):
                image = n * g[G] + group
                source = shifted(x, image * g[C] * plane)
                for block in range(g[BLOCKS]):
                    row = block * g[ROWS]
                    rows = min(g[ROWS], g[OD] * g[OH] - row)
                    width = rows * g[OW]
                    errors = shifted(gradient, (image * g[K] + first) * out_plane + row * g[OW])
                    if g[IN_PLACE]:
                        values = shifted(source, channel * plane + row * g[OW])
                        blas.gemm(
                            BITS, 0, 1, count, channels, width, one, errors, out_plane, values, plane, beta, target,
                            depth,
                        )  # fmt: skip
                    else:
                        gather(source, g, channel, channels, row, rows, columns, T)
                        blas.gemm(
                            BITS, 0, 1, count, channels * taps, width, one, errors, out_plane, columns, width, beta,
                            target, depth,
                        )  # fmt: skip
                    beta = one


@kernel_template
def mirrored(operands, begin, end, *, T):
    """Output channels of all groups [begin, end): ``out(g, c, k, -t) = weight(g, k, c, t)``: the weight of the
    convolution that is another's input gradient. Slots: weight, out, channels, output channels a group, taps."""
    weight, out = pointer(operands, 0, T), pointer(operands, 1, T)
    channels, outs, taps = integer(operands, 2), integer(operands, 3), integer(operands, 4)
    for k in range(begin, end):
        group = k // outs
        source = shifted(weight, k * channels * taps)
        target = shifted(out, (group * channels * outs + k - group * outs) * taps)
        for c in range(channels):
            for t in range(taps):
                target[c * outs * taps + taps - 1 - t] = source[c * taps + t]


# --- loops -----------------------------------------------------------------------------------------------------------


@kernel_template
def loop_forward(operands, begin, end, *, T, BIAS):
    """Output planes [begin, end) of a convolution. Slots: x, weight, bias (or anything), out, geometry."""
    x, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    out, g = pointer(operands, 3, T), pointer(operands, 4, int64)
    taps, plane = g[KD] * g[KH] * g[KW], g[D] * g[H] * g[W]
    rows = g[OD] * g[OH]
    for unit in range(begin, end):
        image = unit // g[K]
        k = image % g[G] * g[K] + unit - image * g[K]  # among the output channels of all groups
        for row in range(rows):
            target = shifted(out, (unit * rows + row) * g[OW])
            value = bias[k] if BIAS else T(0)
            for j in range(g[OW]):
                target[j] = value
            for c in range(g[C]):
                source = shifted(x, (image * g[C] + c) * plane)
                factors = shifted(weight, (k * g[C] + c) * taps)
                at = 0
                for tap_d in range(g[KD]):
                    for tap_h in range(g[KH]):
                        line = input_row(g, row, tap_d, tap_h)
                        if line >= 0:
                            for tap_w in range(g[KW]):
                                low, high, start = touched(g, tap_w)
                                if low < high:
                                    factor = factors[at + tap_w]
                                    values = shifted(source, line * g[W] + start)
                                    inner = shifted(target, low)
                                    if g[SW] == 1:
                                        for j in range(high - low):
                                            inner[j] = T(inner[j] + factor * values[j])
                                    else:
                                        for j in range(high - low):
                                            inner[j] = T(inner[j] + factor * values[j * g[SW]])
                        at += g[KW]


@kernel_template
def loop_input(operands, begin, end, *, T):
    """Input planes [begin, end) of x's gradient. Slots: gradient, weight, x's gradient, geometry."""
    gradient, weight, x = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g = pointer(operands, 3, int64)
    taps, plane = g[KD] * g[KH] * g[KW], g[D] * g[H] * g[W]
    rows = g[OD] * g[OH]
    for unit in range(begin, end):
        image = unit // g[C]
        c = unit - image * g[C]
        target = shifted(x, unit * plane)
        for j in range(plane):
            target[j] = T(0)
        for k in range(g[K]):
            factors = shifted(weight, ((image % g[G] * g[K] + k) * g[C] + c) * taps)
            for row in range(rows):
                source = shifted(gradient, ((image * g[K] + k) * rows + row) * g[OW])
                at = 0
                for tap_d in range(g[KD]):
                    for tap_h in range(g[KH]):
                        line = input_row(g, row, tap_d, tap_h)
                        if line >= 0:
                            for tap_w in range(g[KW]):
                                low, high, start = touched(g, tap_w)
                                if low < high:
                                    factor = factors[at + tap_w]
                                    inner = shifted(target, line * g[W] + start)
                                    errors = shifted(source, low)
                                    if g[SW] == 1:
                                        for j in range(high - low):
                                            inner[j] = T(inner[j] + factor * errors[j])
                                    else:
                                        for j in range(high - low):
                                            inner[j * g[SW]] = T(inner[j * g[SW]] + factor * errors[j])
                        at += g[KW]


@kernel_template
def loop_weight(operands, begin, end, *, T, A):
    """Taps of (group, output channel, channel) [begin, end) of the weight's gradient, added up in A. Slots: gradient,
    x, weight's gradient, geometry."""
    gradient, x, weight = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    g = pointer(operands, 3, int64)
    taps, plane = g[KD] * g[KH] * g[KW], g[D] * g[H] * g[W]
    rows = g[OD] * g[OH]
    for unit in range(begin, end):
        k = unit // g[C]  # among the output channels of all groups
        c = unit - k * g[C]
        group = k // g[K]
        for tap in range(taps):
            tap_d = tap // (g[KH] * g[KW])
            tap_h = tap // g[KW] - tap_d * g[KH]
            low, high, start = touched(g, tap % g[KW])
            total = A(0)
            if low < high:
                for n in range(g[N]):
                    image = n * g[G] + group
                    source = shifted(x, (image * g[C] + c) * plane)
                    errors = shifted(gradient, (n * g[G] * g[K] + k) * rows * g[OW])
                    for row in range(rows):
                        line = input_row(g, row, tap_d, tap_h)
                        if line >= 0:
                            values = shifted(source, line * g[W] + start)
                            inner = shifted(errors, row * g[OW] + low)
                            partial = T(0)
                            for j in range(high - low):
                                partial = T(partial + inner[j] * values[j * g[SW]])
                            total += A(partial)
            weight[unit * taps + tap] = T(total)


# --- plans: from shapes to calls -------------------------------------------------------------------------------------


class _Scratch(threading.local):
    """Buffers of columns, one for each dtype and Python thread: fresh pages would cost more than what they hold."""

    def __init__(self):
        self.buffers = {}

    def get(self, dtype, size):
        found = self.buffers.get(dtype)
        if found is None or len(found) < size:
            found = self.buffers[dtype] = np.empty(max(size, COLUMN_ELEMENTS), dtype)
        return found


_scratch = _Scratch()


def run_parts(plan, address, units, buffer, slots, last=()):
    """Run a kernel over ``units``, in as many threads as ``plan.work`` is worth.

    ``buffer`` elements of ``plan.dtype`` for each thread make it a kernel of parts: the buffer and the number of parts
    follow its ``slots``, then come the ``last`` ones. With None it is one of units.
    """
    units = int(units)
    parts = min(config.usable_threads(), max(units, 1)) if plan.work >= PARALLEL else 1
    if buffer is None:
        caller(len(slots), parts)(address, *slots, 0, units)
        return
    slots = *slots, _scratch.get(plan.dtype, int(buffer) * parts), parts, *last
    caller(len(slots), parts)(address, *slots, 0, parts)


class Plan:
    """A convolution ready to be called: ``forward(x, weight, bias, out)``, ``input_gradient(g, weight, dx)`` and
    ``weight_gradient(g, x, dweight)`` on flat contiguous arrays (bias may be None).

    ``size``, ``out_size``, ``taps``, ``stride``, ``padding`` (before) and ``dilation`` are triples; x is (images,
    groups * channels, *size), the weight (groups * outs, channels, *taps), out (images, groups * outs, *out_size).
    """

    def __init__(self, dtype, images, groups, channels, outs, size, out_size, taps, stride, padding, dilation):
        self.dtype = dtype = np.dtype(dtype)
        self.images, self.groups, self.channels, self.outs = images, groups, channels, outs
        self.shape = size, out_size, taps, stride, padding, dilation
        self.work = images * groups * channels * outs * prod(out_size) * prod(taps)
        self.products = dtype.kind == "f" and outs >= NARROW
        self.numbers = [images, groups, channels, outs, *size, *out_size, *taps, *stride, *padding, *dilation]
        dense = prod(taps) == 1 and stride == (1, 1, 1) and padding == (0, 0, 0) and size == out_size
        self.in_place = int(dense)
        self.by_mirror = (
            self.products and channels >= NARROW and stride == (1, 1, 1) and images > 0
            and all(p <= d * (t - 1) for p, d, t in zip(padding, dilation, taps))
        )  # fmt: skip
        self.small = self.products and conv_small.suits(images, out_size)
        self._forward = self._input = self._weight = self._mirror = self._small = None
        self._pieces = {}  # "forward", "input" -> conv_direct's pieces, empty where it does not suit

    def pieces(self, which):
        """The pieces for `conv_direct`, if it suits: a convolution's ("forward") or its input gradient's ("input")."""
        found = self._pieces.get(which)
        if found is None:
            sizes = self.dtype, self.images, self.groups, self.channels, self.outs, *self.shape
            size, out_size, *_ = self.shape
            forward = which == "forward"
            found = [conv_direct.forward_piece(*sizes)] if forward else conv_direct.input_pieces(*sizes)
            outs, pixels = (self.outs, prod(out_size)) if forward else (self.channels, prod(size))
            if not conv_direct.suits(found, self.dtype, self.images * pixels, outs, outs >= NARROW and not self.in_place):
                found = []
            self._pieces[which] = found
        return found

    def _geometry(self, depth, c_chunk, k_chunk, units_of):
        """The geometry of blocks whose columns have ``depth`` rows; ``units_of(blocks)`` counts the units."""
        _, out_size, *_ = self.shape
        rows, wide = out_size[0] * out_size[1], max(out_size[2], 1)
        columns = max(LEAST_COLUMNS, COLUMN_ELEMENTS // max(depth, 1))
        block = max(1, min(rows, -(-columns // wide)))
        blocks = -(-rows // block)
        block = max(1, -(-rows // max(blocks, 1)))  # of even size
        buffer = 0 if self.in_place else depth * block * wide
        return np.array(
            [*self.numbers, block, blocks, c_chunk, k_chunk, units_of(blocks), buffer + 16, self.in_place], np.int64
        )

    def _call(self, address, geometry, units, buffer, *arrays, last=()):
        """Run a kernel of parts over ``units``, with ``buffer`` elements for each part; ``last`` follows the parts."""
        run_parts(self, address, units, buffer, (*arrays, geometry), last)

    def _products(self, address, geometry, *arrays):
        self._call(address, geometry, geometry[UNITS], geometry[BUFFER], *arrays)

    def _loop(self, address, units, *slots):
        """Run a kernel of units, shared out evenly."""
        run_parts(self, address, units, None, slots)

    def forward(self, x, weight, bias, out, mirror=False):
        """The convolution; with ``mirror`` the weight is that of the convolution whose input gradient this is."""
        has_bias = bias is not None
        bias = bias if has_bias else weight
        if not len(out):
            return
        T = self.dtype.type
        if self.small and not mirror:
            self._by_blocks(conv_small.forward(T=T, BITS=blas.load(), BIAS=has_bias), False, x, weight, bias, out)
            return
        if not mirror and self.pieces("forward"):
            self._direct("forward", x, weight, bias, out, has_bias)
            return
        if mirror:
            turned = np.empty(len(weight), self.dtype)
            slots = weight, turned, self.outs, self.channels, prod(self.shape[2])
            caller(5)(mirrored(T=T), *slots, 0, self.groups * self.channels)
            weight = turned
        if not self.products:
            geometry = np.array(self.numbers, np.int64)
            units = self.images * self.groups * self.outs
            self._loop(loop_forward(T=T, BIAS=has_bias), units, x, weight, bias, out, geometry)
            return
        if self._forward is None:
            depth = self.channels * prod(self.shape[2])
            self._forward = self._geometry(depth, 1, 1, lambda blocks: self.images * self.groups * blocks)
        self._products(product_forward(T=T, BITS=blas.load(), BIAS=has_bias), self._forward, x, weight, bias, out)

    def _direct(self, which, x, weight, bias, out, has_bias):
        T = self.dtype.type
        for piece in self.pieces(which):
            tile, vectors, lanes = piece.tile
            tiles, size = piece.packed
            packed = np.empty(tiles * size, self.dtype)
            swapped = int(which == "input")
            caller(4)(conv_direct.pack(T=T, OUT_TILE=tile), weight, packed, piece.geometry, swapped, 0, tiles)
            address = conv_direct.direct(T=T, OUT_TILE=tile, VECTORS=vectors, LANES=lanes)
            g = piece.geometry
            units, buffer = g[conv_direct.UNITS], g[conv_direct.BUFFER]
            self._call(address, g, units, buffer, x, packed, bias, out, last=(int(has_bias),))

    def input_gradient(self, gradient, weight, dx):
        """The gradient for x; every element of ``dx`` is written."""
        T = self.dtype.type
        if not len(dx):
            return
        if self.small:
            self._by_blocks(conv_small.input_gradient(T=T, BITS=blas.load()), False, gradient, weight, dx)
        elif self.pieces("input"):
            if len(self.pieces("input")) < prod(self.shape[3]):
                dx.fill(0)
            self._direct("input", gradient, weight, weight, dx, False)
        elif not self.products:
            geometry = np.array(self.numbers, np.int64)
            units = self.images * self.groups * self.channels
            self._loop(loop_input(T=T), units, gradient, weight, dx, geometry)
        elif self.by_mirror:
            size, out_size, taps, stride, padding, dilation = self.shape
            if self._mirror is None:
                back = tuple(d * (t - 1) - p for p, d, t in zip(padding, dilation, taps))
                self._mirror = Plan(
                    self.dtype, self.images, self.groups, self.outs, self.channels, out_size, size, taps, stride, back,
                    dilation,
                )  # fmt: skip
            self._mirror.forward(gradient, weight, None, dx, mirror=True)
        else:
            if self._input is None:
                taps = prod(self.shape[2])
                chunk = max(1, min(self.channels, -(-CHUNK // taps)))
                chunks = -(-self.channels // chunk)
                self._input = self._geometry(
                    chunk * taps, chunk, 1, lambda blocks: self.images * self.groups * chunks
                )
            self._products(product_input(T=T, BITS=blas.load()), self._input, gradient, weight, dx)

    def weight_gradient(self, gradient, x, dweight):
        """The gradient for the weight; every element of ``dweight`` is written."""
        T = self.dtype.type
        if not len(dweight):
            return
        if not self.products and self.dtype.kind == "f" and len(gradient):
            self._weight_sums(gradient, x, dweight)
            return
        if not self.products or not len(gradient):
            geometry = np.array(self.numbers, np.int64)
            A = np.float64 if self.dtype.kind == "f" else np.int64
            units = self.groups * self.outs * self.channels
            self._loop(loop_weight(T=T, A=A), units, gradient, x, dweight, geometry)
            return
        if self.small:
            self._by_blocks(conv_small.weight_gradient(T=T, BITS=blas.load()), True, gradient, x, dweight)
            return
        if self._weight is None:
            taps = prod(self.shape[2])
            c_chunk = max(1, min(self.channels, -(-CHUNK // taps)))
            c_chunks = -(-self.channels // c_chunk)
            k_chunk = self.outs if c_chunks * self.groups > 1 or self.outs < OUT_CHUNK else -(-self.outs // 2)
            units = self.groups * c_chunks * -(-self.outs // k_chunk)
            self._weight = self._geometry(c_chunk * taps, c_chunk, k_chunk, lambda blocks: units)
        self._products(product_weight(T=T, BITS=blas.load()), self._weight, gradient, x, dweight)

    def _by_blocks(self, address, for_weight, *arrays):
        """Run a kernel of `conv_small`; its units are blocks of images, or of channels for the weight's gradient."""
        if self._small is None:
            chunk = max(1, min(self.channels, -(-CHUNK // prod(self.shape[2]))))
            sizes = self.images, self.groups, self.channels, self.outs
            self._small = conv_small.geometry(*sizes, *self.shape, chunk)
        g = self._small
        units = -(-self.channels // g[conv_small.C_CHUNK]) if for_weight else g[conv_small.BLOCKS]
        self._call(address, g, units * self.groups, g[conv_small.BUFFER], *arrays)

    def _weight_sums(self, gradient, x, dweight):
        if self._weight is None:
            sizes = self.dtype, self.images, self.groups, self.channels, self.outs, *self.shape
            self._weight = conv_direct.forward_piece(*sizes).geometry
        g, totals = self._weight, np.zeros(len(dweight))
        address = conv_direct.weight_sums(T=self.dtype.type, A=np.float64)
        units, buffer = self.groups * self.channels, g[conv_direct.BUFFER]
        self._call(address, g, units, buffer, gradient, x, totals, dweight, last=(self.images,))
