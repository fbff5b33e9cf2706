"""Kernels that read or write at positions given by an index: gather, scatter, masks, coordinates.

`take` and `put` run over a strided iteration space described by an array of int64, the *geometry*. An operand without
a dimension has stride 0 there. An index out of range is skipped and noted in ``status`` (a flag, then the index).
Moving elements does not depend on what they mean, so `take` is specialised by their size only.
"""

import numpy as np

from .jit import integer, kernel_template, pointer, shifted

SET, ADD, MUL, MIN, MAX = range(5)  # what `put` does with an element and the value put there
BLOCK = 4096  # elements that one unit of `count_true` and `list_true` looks at


@kernel_template
def take(operands, begin, end, *, T):
    """``out[..., j] = x[..., j, index[..., j] * step]``; units: rows of the space, ``j`` runs along its last dimension.

    Slots: x, index, out, geometry (ndim, sizes, strides of x, of index, of out), status, step, size (of the indexed
    dimension), low (the least index allowed: ``-size``, or 0).
    """
    x = pointer(operands, 0, T)
    index = pointer(operands, 1, np.int64)
    out = pointer(operands, 2, T)
    geometry = pointer(operands, 3, np.int64)
    status = pointer(operands, 4, np.int64)
    step = integer(operands, 5)
    size = integer(operands, 6)
    low = integer(operands, 7)
    ndim = geometry[0]
    n = geometry[ndim]
    x_strides = shifted(geometry, 1 + ndim)
    index_strides = shifted(geometry, 1 + 2 * ndim)
    out_strides = shifted(geometry, 1 + 3 * ndim)
    x_step = x_strides[ndim - 1]
    index_step = index_strides[ndim - 1]
    out_step = out_strides[ndim - 1]
    for row in range(begin, end):
        rest = row
        x_at = 0
        index_at = 0
        out_at = 0
        for axis in range(ndim - 2, -1, -1):
            length = geometry[1 + axis]
            k = rest % length
            rest = rest // length
            x_at += k * x_strides[axis]
            index_at += k * index_strides[axis]
            out_at += k * out_strides[axis]
        target = shifted(out, out_at)
        if index_step == 0:
            i = index[index_at]
            if i < low or i >= size:
                status[0] = 1
                status[1] = i
                continue
            i = i + size if i < 0 else i
            source = shifted(x, x_at + i * step)
            if x_step == 1 and out_step == 1:
                for j in range(n):
                    target[j] = source[j]
            else:
                for j in range(n):
                    target[j * out_step] = source[j * x_step]
        else:
            source = shifted(x, x_at)
            indices = shifted(index, index_at)
            for j in range(n):
                i = indices[j * index_step]
                if i < low or i >= size:
                    status[0] = 1
                    status[1] = i
                else:
                    i = i + size if i < 0 else i
                    target[j * out_step] = source[j * x_step + i * step]


@kernel_template
def put(operands, begin, end, *, T, MODE):
    """``out[..., j, index[..., k, j] * step] = src[..., k, j]``, or added to it, multiplied with it and so on by
    ``MODE``.

    What may meet at one place lies along ``k``, which a unit runs through in order; the last dimension ``j`` is the
    inner loop. Slots: out, index, src, geometry (ndim, sizes, strides of out, of index, of src), status, step, size,
    low.
    """
    out = pointer(operands, 0, T)
    index = pointer(operands, 1, np.int64)
    src = pointer(operands, 2, T)
    geometry = pointer(operands, 3, np.int64)
    status = pointer(operands, 4, np.int64)
    step = integer(operands, 5)
    size = integer(operands, 6)
    low = integer(operands, 7)
    ndim = geometry[0]
    count = geometry[ndim - 1]
    n = geometry[ndim]
    out_strides = shifted(geometry, 1 + ndim)
    index_strides = shifted(geometry, 1 + 2 * ndim)
    src_strides = shifted(geometry, 1 + 3 * ndim)
    out_step = out_strides[ndim - 1]
    index_step = index_strides[ndim - 1]
    src_step = src_strides[ndim - 1]
    for unit in range(begin, end):
        rest = unit
        out_at = 0
        index_at = 0
        src_at = 0
        for axis in range(ndim - 3, -1, -1):
            length = geometry[1 + axis]
            k = rest % length
            rest = rest // length
            out_at += k * out_strides[axis]
            index_at += k * index_strides[axis]
            src_at += k * src_strides[axis]
        for k in range(count):
            target = shifted(out, out_at + k * out_strides[ndim - 2])
            indices = shifted(index, index_at + k * index_strides[ndim - 2])
            source = shifted(src, src_at + k * src_strides[ndim - 2])
            if index_step == 0:
                i = indices[0]
                if i < low or i >= size:
                    status[0] = 1
                    status[1] = i
                    continue
                i = i + size if i < 0 else i
                target = shifted(target, i * step)
                if MODE == SET:
                    if out_step == 1 and src_step == 1:
                        for j in range(n):
                            target[j] = source[j]
                    else:
                        for j in range(n):
                            target[j * out_step] = source[j * src_step]
                elif MODE == ADD:
                    if out_step == 1 and src_step == 1:
                        for j in range(n):
                            target[j] += source[j]
                    else:
                        for j in range(n):
                            target[j * out_step] += source[j * src_step]
                elif MODE == MUL:
                    for j in range(n):
                        target[j * out_step] *= source[j * src_step]
                elif MODE == MIN:
                    for j in range(n):
                        value = source[j * src_step]
                        held = target[j * out_step]
                        target[j * out_step] = value if value < held or value != value else held
                else:
                    for j in range(n):
                        value = source[j * src_step]
                        held = target[j * out_step]
                        target[j * out_step] = value if value > held or value != value else held
            else:
                for j in range(n):
                    i = indices[j * index_step]
                    if i < low or i >= size:
                        status[0] = 1
                        status[1] = i
                    else:
                        i = i + size if i < 0 else i
                        at = j * out_step + i * step
                        value = source[j * src_step]
                        if MODE == SET:
                            target[at] = value
                        elif MODE == ADD:
                            target[at] += value
                        elif MODE == MUL:
                            target[at] *= value
                        elif MODE == MIN:
                            held = target[at]
                            target[at] = value if value < held or value != value else held
                        else:
                            held = target[at]
                            target[at] = value if value > held or value != value else held


@kernel_template
def add_offsets(operands, begin, end):
    """``total[k] += index[k] * step`` (or ``=``, unless ``more``), ``index`` counted from the end where negative.

    Units: elements. Slots: total, index, status, size, step, more.
    """
    total = pointer(operands, 0, np.int64)
    index = pointer(operands, 1, np.int64)
    status = pointer(operands, 2, np.int64)
    size = integer(operands, 3)
    step = integer(operands, 4)
    more = integer(operands, 5)
    for k in range(begin, end):
        i = index[k]
        if i < -size or i >= size:
            status[0] = 1
            status[1] = i
        else:
            total[k] = total[k] * more + (i + size if i < 0 else i) * step


@kernel_template
def find_outside(operands, begin, end):
    """Notes in ``status`` an index that is below ``low``, or ``size`` or more. Units: elements. Slots: index, status, low,
    size."""
    index = pointer(operands, 0, np.int64)
    status = pointer(operands, 1, np.int64)
    low = integer(operands, 2)
    size = integer(operands, 3)
    for k in range(begin, end):
        i = index[k]
        if i < low or i >= size:
            status[0] = 1
            status[1] = i


@kernel_template
def count_true(operands, begin, end, *, T):
    """How many elements of each block are not zero; units: blocks. Slots: x, counts, length."""
    x = pointer(operands, 0, T)
    counts = pointer(operands, 1, np.int64)
    length = integer(operands, 2)
    zero = T(0)
    for block in range(begin, end):
        values = shifted(x, block * BLOCK)
        total = 0
        for i in range(min(BLOCK, length - block * BLOCK)):
            total += values[i] != zero
        counts[block] = total


@kernel_template
def list_true(operands, begin, end, *, T):
    """The positions of the elements that are not zero; units: blocks. Slots: x, first (of each block), out, length."""
    x = pointer(operands, 0, T)
    first = pointer(operands, 1, np.int64)
    out = pointer(operands, 2, np.int64)
    length = integer(operands, 3)
    zero = T(0)
    for block in range(begin, end):
        start = block * BLOCK
        at = first[block]
        for i in range(start, min(start + BLOCK, length)):
            if x[i] != zero:
                out[at] = i
                at += 1


@kernel_template
def unravel(operands, begin, end):
    """Row-major positions as coordinates, one row each; units: positions. Slots: positions, sizes, out, ndim."""
    positions = pointer(operands, 0, np.int64)
    sizes = pointer(operands, 1, np.int64)
    out = pointer(operands, 2, np.int64)
    ndim = integer(operands, 3)
    last = sizes[ndim - 1]
    start = 0
    stop = -1  # the positions that have the same coordinates as the row before, but for the last
    for k in range(begin, end):
        row = shifted(out, k * ndim)
        position = positions[k]
        if position < start or position >= stop:
            rest = position // last
            start = rest * last
            stop = start + last
            for axis in range(ndim - 2, -1, -1):
                row[axis] = rest % sizes[axis]
                rest = rest // sizes[axis]
        else:
            before = shifted(out, (k - 1) * ndim)
            for axis in range(ndim - 1):
                row[axis] = before[axis]
        row[ndim - 1] = position - start


# How elements of a size are moved.
WIDTHS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}
