"""Matrix products of flat arrays: ``out(..., m, n) = alpha * a(..., m, k) @ b(..., k, n) + beta * out + bias(n)``.

`plan` turns shapes and strides into a kernel, its geometry and a way to split it; `gemm` keeps the plans, so that a
repeated product is one look-up and one call. A matrix that is the transpose of a contiguous one is read in place.

The work is cut into *units*, one panel of rows and columns of one matrix of the batch each. Units depend on the
shapes alone and every one is computed by the same calls, so results do not depend on the number of threads.
"""

import math

import numpy as np
from numpy import int64

from .. import config
from . import blas
from .callers import caller
from .jit import PYTHON_MODE, inlined, kernel_template, pointer, real, shifted
from .ordered import inner_product

SMALL = 512  # multiply-adds up to which the plain loops beat a call of BLAS
PARALLEL = 1 << 20  # multiply-adds from which a second thread pays
UNIT_WORK = 1 << 21  # multiply-adds that a unit keeps when a matrix is cut
MAX_PLANS = 8192

# Places in the geometry array.
M, N, K, A_ROW, A_COLUMN, B_ROW, B_COLUMN, OUT_ROW = range(8)
METHOD, ROW_PANEL, COLUMN_PANEL, COLUMN_PANELS, PANELS, HAS_BIAS, BATCH_DIMS, BATCH = range(8, 16)
# From BATCH on: for each batch dimension, last first, its size and its strides in a, b and out.

MATRIX, LEFT_VECTOR, RIGHT_VECTOR, DOT = range(4)  # METHOD: which routine of BLAS


# --- kernels --------------------------------------------------------------------------------------------------------


@inlined
def place(g, unit):
    """Which panel of which matrix ``unit`` is: first row and column, their counts, and where a, b and out begin."""
    rest = unit // g[PANELS]
    panel = unit - rest * g[PANELS]
    panel_row = panel // g[COLUMN_PANELS]
    row = panel_row * g[ROW_PANEL]
    column = (panel - panel_row * g[COLUMN_PANELS]) * g[COLUMN_PANEL]
    at_a, at_b, at_out = row * g[A_ROW], column * g[B_COLUMN], row * g[OUT_ROW] + column
    for d in range(g[BATCH_DIMS]):
        k = BATCH + 4 * d
        index = rest % g[k]
        rest = rest // g[k]
        at_a += index * g[k + 1]
        at_b += index * g[k + 2]
        at_out += index * g[k + 3]
    return row, column, min(g[ROW_PANEL], g[M] - row), min(g[COLUMN_PANEL], g[N] - column), at_a, at_b, at_out


@kernel_template
def blas_product(operands, begin, end, *, T, BITS):
    """Units [begin, end) of a product of float32 or float64, each by one call of BLAS."""
    g = pointer(operands, 4, int64)
    alpha, beta = T(real(operands, 5)), T(real(operands, 6))
    one = T(1)
    k, method, out_row = g[K], g[METHOD], g[OUT_ROW]
    trans_a, trans_b = int64(g[A_COLUMN] != 1), int64(g[B_COLUMN] != 1)
    lda = g[A_COLUMN] if trans_a else g[A_ROW]
    ldb = g[B_COLUMN] if trans_b else g[B_ROW]
    for unit in range(begin, end):
        row, column, rows, columns, at_a, at_b, at_out = place(g, unit)
        a, b = shifted(pointer(operands, 0, T), at_a), shifted(pointer(operands, 1, T), at_b)
        out = shifted(pointer(operands, 3, T), at_out)
        scale = beta
        if g[HAS_BIAS]:
            bias = shifted(pointer(operands, 2, T), column)
            scale = one
            prepare(out, out_row, rows, columns, beta, bias, True, T)
        if method == MATRIX:
            blas.gemm(BITS, trans_a, trans_b, rows, columns, k, alpha, a, lda, b, ldb, scale, out, out_row)
        elif method == LEFT_VECTOR and trans_b:  # a(1, k)
            blas.gemv(BITS, 0, columns, k, alpha, b, ldb, a, g[A_COLUMN], scale, out, 1)
        elif method == LEFT_VECTOR:
            blas.gemv(BITS, 1, k, columns, alpha, b, ldb, a, g[A_COLUMN], scale, out, 1)
        elif method == RIGHT_VECTOR and trans_a:  # b(k, 1)
            blas.gemv(BITS, 1, k, rows, alpha, a, lda, b, g[B_ROW], scale, out, out_row)
        elif method == RIGHT_VECTOR:
            blas.gemv(BITS, 0, rows, k, alpha, a, lda, b, g[B_ROW], scale, out, out_row)
        else:
            product = alpha * blas.dot(BITS, k, a, g[A_COLUMN], b, g[B_ROW])
            out[0] = product if scale == 0 else product + scale * out[0]


@kernel_template
def loop_product(operands, begin, end, *, T):
    """Units [begin, end) of a product of any dtype and any strides: integers, tiny matrices, empty sums."""
    g = pointer(operands, 4, int64)
    alpha, beta = T(real(operands, 5)), T(real(operands, 6))
    for unit in range(begin, end):
        row, column, rows, columns, at_a, at_b, at_out = place(g, unit)
        a, b = shifted(pointer(operands, 0, T), at_a), shifted(pointer(operands, 1, T), at_b)
        bias = shifted(pointer(operands, 2, T), column if g[HAS_BIAS] else 0)
        out = shifted(pointer(operands, 3, T), at_out)
        prepare(out, g[OUT_ROW], rows, columns, beta, bias, g[HAS_BIAS], T)
        add_product(a, g[A_ROW], g[A_COLUMN], b, g[B_ROW], g[B_COLUMN], out, g[OUT_ROW], rows, columns, g[K], alpha, T)


if PYTHON_MODE:

    @np.errstate(all="ignore")  # compiled arithmetic does not warn either
    def prepare(out, out_row, rows, columns, beta, bias, has_bias, T):
        out = blas.matrix(out, rows, columns, out_row)
        out[:] = (0 if beta == 0 else beta * out) + (bias[:columns] if has_bias else T(0))

    @np.errstate(all="ignore")  # compiled arithmetic does not warn either
    def add_product(a, a_row, a_column, b, b_row, b_column, out, out_row, rows, columns, k, alpha, T):
        out = blas.matrix(out, rows, columns, out_row)
        a, b = blas.matrix(a, rows, k, a_row, a_column), blas.matrix(b, k, columns, b_row, b_column)
        out[:] = out + alpha * (a @ b)

else:

    @inlined
    def prepare(out, out_row, rows, columns, beta, bias, has_bias, T):
        """``out = beta * out + bias``, without reading ``out`` where beta is 0."""
        for i in range(rows):
            line = shifted(out, i * out_row)
            if beta != 0:
                for j in range(columns):
                    line[j] = T(beta * line[j])
                if has_bias:
                    for j in range(columns):
                        line[j] = T(line[j] + bias[j])
            elif has_bias:
                for j in range(columns):
                    line[j] = bias[j]
            else:
                for j in range(columns):
                    line[j] = T(0)

    @inlined
    def add_product(a, a_row, a_column, b, b_row, b_column, out, out_row, rows, columns, k, alpha, T):
        """``out += alpha * a @ b`` for any strides of a and b; integers wrap around."""
        for i in range(rows):
            line, factors = shifted(out, i * out_row), shifted(a, i * a_row)
            if columns == 1 and a_column == 1 and b_row == 1:
                line[0] = T(line[0] + alpha * inner_product(factors, b, k, T(0)))
            elif b_column == 1:
                for p in range(k):
                    factor, source = T(alpha * factors[p * a_column]), shifted(b, p * b_row)
                    for j in range(columns):
                        line[j] = T(line[j] + factor * source[j])
            elif a_column == 1 and b_row == 1:
                for j in range(columns):
                    source = shifted(b, j * b_column)
                    total = T(0)
                    for p in range(k):
                        total = T(total + factors[p] * source[p])
                    line[j] = T(line[j] + alpha * total)
            else:
                for j in range(columns):
                    source = shifted(b, j * b_column)
                    total = T(0)
                    for p in range(k):
                        total = T(total + factors[p * a_column] * source[p * b_row])
                    line[j] = T(line[j] + alpha * total)


# --- plans: from shapes and strides to a call ---------------------------------------------------------------------


class Plan:
    """A product ready to be called: ``run(a, b, bias, out, alpha=1.0, beta=0.0)`` on flat arrays (bias may be None).

    ``address``, ``geometry`` and ``units`` are the same call for those who make it themselves: the kernel's slots are
    a, b, bias (anything where there is none), out, geometry, alpha, beta as floats, and its range is [0, units).
    """

    __slots__ = ("address", "geometry", "units", "run")

    def __init__(self, address, geometry, units, parallel):
        self.address, self.geometry, self.units = address, geometry, units
        call = caller(7)
        has_bias = bool(geometry[HAS_BIAS])

        def run(a, b, bias, out, alpha=1.0, beta=0.0):
            call(address, a, b, bias if has_bias else out, out, geometry, float(alpha), float(beta), 0, units)

        def run_parallel(a, b, bias, out, alpha=1.0, beta=0.0):
            call = caller(7, min(config.usable_threads(), units))
            call(address, a, b, bias if has_bias else out, out, geometry, float(alpha), float(beta), 0, units)

        self.run = run_parallel if parallel and units > 1 else run


_plans: dict = {}


def gemm(a, b, out, shape, a_strides, b_strides, out_strides, bias=None, alpha=1.0, beta=0.0) -> None:
    """``out(..., m, n) = alpha * a(..., m, k) @ b(..., k, n) + beta * out + bias(n)``; `plan` says what each is."""
    key = out.dtype.char, shape, a_strides, b_strides, out_strides, bias is None
    found = _plans.get(key)
    if found is None:
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        found = _plans[key] = plan(out.dtype, shape, a_strides, b_strides, out_strides, bias is not None)
    found.run(a, b, bias, out, alpha, beta)


def plan(dtype, shape, a_strides, b_strides, out_strides, bias=False) -> Plan:
    """Make the plan of ``out(..., m, n) = alpha * a(..., m, k) @ b(..., k, n) + beta * out + bias(n)``.

    ``shape`` is (*batch, m, k, n); each operand's strides are (*batch, row, column) in elements, 0 along a batch
    dimension where it is broadcast. Rows of ``out`` and ``bias`` are contiguous. Floating ``a`` and ``b`` must be
    `readable`, else ValueError. ``beta = 0`` never reads ``out``.
    """
    dtype = np.dtype(dtype)
    *batch, m, k, n = shape
    if 0 in (*batch, m, n):  # nothing to write; strides of empty arrays mean nothing
        return Plan(loop_product(T=dtype.type), np.zeros(BATCH, np.int64), 0, False)
    dims = _merge([d for d in zip(batch, a_strides, b_strides, out_strides, strict=False) if d[0] != 1])
    (a_row, a_column), (b_row, b_column), (out_row, out_column) = a_strides[-2:], b_strides[-2:], out_strides[-2:]
    if out_column != 1 and n > 1:
        raise ValueError(
            f"gemm: expected rows of out to be contiguous, got column stride {out_column}; pass a contiguous out"
        )
    if len(dims) == 1:  # one b for the whole batch: its rows are the rows of one product
        size, a_batch, b_batch, out_batch = dims[0]
        if m == 1:
            a_row, out_row = a_batch, out_batch
        if b_batch == 0 and a_batch == m * a_row and out_batch == m * out_row:
            m, dims = m * size, []
    count = math.prod(d[0] for d in dims)
    work = m * n * k
    if work <= SMALL or dtype.kind != "f":
        address, method = loop_product(T=dtype.type), MATRIX
    else:
        address = blas_product(T=dtype.type, BITS=blas.load())
        method = (DOT if n == 1 else LEFT_VECTOR) if m == 1 else (RIGHT_VECTOR if n == 1 else MATRIX)
        if method in (MATRIX, RIGHT_VECTOR):
            a_row, a_column = _stored("a", m, k, a_row, a_column)
        if method in (MATRIX, LEFT_VECTOR):
            b_row, b_column = _stored("b", k, n, b_row, b_column)
        if method == MATRIX:
            out_row = max(out_row, n)
    row_panel, column_panel = _panels(count, m, n, k)
    column_panels = -(-n // column_panel)
    panels = -(-m // row_panel) * column_panels
    numbers = [m, n, k, a_row, a_column, b_row, b_column, out_row]
    numbers += [method, row_panel, column_panel, column_panels, panels, bias, len(dims)]
    numbers += [number for d in reversed(dims) for number in d]
    return Plan(address, np.array(numbers, np.int64), count * panels, count * work >= PARALLEL)


def readable(rows, columns, row_stride, column_stride) -> bool:
    """Whether a matrix can be read in place: it, or its transpose, has contiguous rows that do not overlap."""
    return _orientation(rows, columns, row_stride, column_stride) is not None


def _orientation(rows, columns, row_stride, column_stride):
    """The strides with one of them 1 and the other large enough for BLAS, or None. A size of 1 frees its stride."""
    if (column_stride == 1 or columns == 1) and (row_stride >= columns or rows == 1):
        return max(row_stride if rows > 1 else 1, columns), 1
    if (row_stride == 1 or rows == 1) and (column_stride >= rows or columns == 1):
        return 1, max(column_stride if columns > 1 else 1, rows)
    return None


def _stored(name, rows, columns, row_stride, column_stride):
    strides = _orientation(rows, columns, row_stride, column_stride)
    if strides is None:
        raise ValueError(
            f"gemm: expected {name} of shape ({rows}, {columns}) to be contiguous, possibly transposed, got strides "
            f"({row_stride}, {column_stride}); make it contiguous first"
        )
    return strides


def _merge(dims):
    """Join neighbouring batch dimensions that every operand walks in one stride."""
    merged = dims[:1]
    for size, *strides in dims[1:]:
        outer_size, *outer = merged[-1]
        if all(big == size * small for big, small in zip(outer, strides, strict=True)):
            merged[-1] = (outer_size * size, *strides)
        else:
            merged.append((size, *strides))
    return merged


def _panels(count, m, n, k):
    """Rows and columns of a panel for ``count`` matrices: from the shapes alone, never from the number of threads.

    BLAS packs its operands anew for every panel: sides of 128 cost 4-7 % on one thread, 256 cost 2-5 %, 512 1-2 %.
    So two units may be small, a few moderate, and more are cut only from sides that stay long.
    """
    rows, columns, units = m, n, count
    while rows * columns * k >= 2 * UNIT_WORK:
        shortest = 128 if units == 1 else 256 if units < max(4, count * m * n * k >> 27) else 512
        longest = max(rows, columns)
        if longest < 2 * shortest:
            break
        half = -(-longest // 32) * 16  # of one side, in whole tiles of BLAS's inner kernels
        rows, columns = (half, columns) if rows == longest else (rows, half)
        units = count * -(-m // rows) * -(-n // columns)
    return rows, columns
