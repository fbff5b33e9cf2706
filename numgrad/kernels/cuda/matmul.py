"""Matrix products on CUDA, through cuBLAS; `product` is the counterpart of the CPU's `gemm.plan`."""

import math

import numpy as np

from ..gemm import _merge, _orientation
from . import emit, memory
from .handwritten import template
from .memory import local

_PRECISIONS = {"highest": 0, "high": 3, "medium": 3}  # cublasMath_t: float32 throughout, or TF32 tensor cores
_precision = "highest"


def set_precision(precision: str) -> None:
    """How float32 products are computed: "highest" (float32), "high" or "medium" (TF32 where it is faster)."""
    global _precision
    if precision not in _PRECISIONS:
        raise RuntimeError(f"set_float32_matmul_precision: expected one of {list(_PRECISIONS)}, got {precision!r}")
    _precision = precision


class Cublas:
    """cuBLAS on one device, with a workspace of its own for each stream, so that graphs capture no allocation."""

    _WORKSPACE = 32 << 20

    def __init__(self, index):
        from nvmath.bindings import cublas

        self.cublas, self.handle = cublas, cublas.create()
        self.stream = self.precision = None
        self.workspaces: dict = {}
        self.numbers: dict = {}

    def _scalar(self, kind, value):
        """The host address of a factor."""
        key = kind, value
        found = self.numbers.get(key)
        if found is None:
            if len(self.numbers) > 1 << 12:
                self.numbers.clear()
            found = self.numbers[key] = np.array([value], kind)
        return found.ctypes.data

    def gemm(self, kind, flip_a, flip_b, m, n, k, alpha, a, a_rows, a_batch, b, b_rows, b_batch, beta, c, c_rows,
             c_batch, count):  # fmt: skip
        """``c = alpha * op(a) @ op(b) + beta * c`` of column-major matrices, ``count`` times at the given strides."""
        if self.stream != local.stream:
            self.cublas.set_stream(self.handle, local.stream)
            workspace = self.workspaces.get(local.stream)
            if workspace is None:
                workspace = self.workspaces[local.stream] = memory.empty(self._WORKSPACE, np.dtype(np.uint8))
            self.cublas.set_workspace(self.handle, workspace.ptr, self._WORKSPACE)
            self.stream = local.stream
        if self.precision != _precision:
            self.cublas.set_math_mode(self.handle, _PRECISIONS[_precision])
            self.precision = _precision
        run = self.cublas.sgemm_strided_batched if kind is np.float32 else self.cublas.dgemm_strided_batched
        run(self.handle, int(flip_a), int(flip_b), m, n, k, self._scalar(kind, alpha), a, a_rows, a_batch, b, b_rows,
            b_batch, self._scalar(kind, beta), c, c_rows, c_batch, count)  # fmt: skip


def product(dtype, shape, a_strides, b_strides, out_strides, bias=False):
    """``run(a, b, bias, out, alpha=1.0, beta=0.0)``: ``out(..., m, n) = alpha * a @ b + beta * out + bias``.

    Shapes and strides are those of the CPU's `gemm.plan`. Batches that no single stride walks are products of their
    own.
    """
    dtype = np.dtype(dtype)
    *batch, m, k, n = shape
    if 0 in (*batch, m, n):
        return _nothing
    if out_strides[-1] != 1 and n > 1:
        raise ValueError(
            f"product: expected rows of out to be contiguous, got column stride {out_strides[-1]}; pass a contiguous "
            "out"
        )
    dims = _merge([d for d in zip(batch, a_strides, b_strides, out_strides, strict=False) if d[0] != 1])
    if dtype.kind != "f":
        return _loop_product(dtype, m, k, n, a_strides[-2:], b_strides[-2:], out_strides[-2], dims, bias)
    a_row, out_row = a_strides[-2], max(out_strides[-2], n)
    if len(dims) == 1 and dims[0][2] == 0:  # one b for the whole batch: its rows are the rows of one product
        size, a_batch, _, out_batch = dims[0]
        rows, out_rows = (a_batch, out_batch) if m == 1 else (a_row, out_row)
        together = a_batch == m * rows and out_batch == m * out_rows and out_rows >= n
        if together and _orientation(m * size, k, rows, a_strides[-1]) is not None:
            a_row, out_row, m, dims = rows, out_rows, m * size, []
    a_row, a_column = _stored("a", m, k, a_row, a_strides[-1])
    b_row, b_column = _stored("b", k, n, *b_strides[-2:])
    a_flip, a_step = (False, a_row) if a_column == 1 else (True, a_column)
    b_flip, b_step = (False, b_row) if b_column == 1 else (True, b_column)
    *outer, (count, a_batch, b_batch, out_batch) = dims or [(1, 0, 0, 0)]
    places = _places(outer)
    kind, size = dtype.type, dtype.itemsize
    add_bias = _bias_writer(dtype, m, n, out_row, count, out_batch) if bias else None

    def run(a, b, bias, out, alpha=1.0, beta=0.0):
        here = out.device
        if here is not local.device:
            memory.require(here)
        if here.products is None:
            here.products = here.driver.products(here.index)
        for at_a, at_b, at_out in places:
            target = out.ptr + at_out * size
            if add_bias is not None:
                add_bias(bias, out, at_out, beta)
            # Row-major matrices are column-major ones transposed: the operands change places.
            here.products.gemm(
                kind, b_flip, a_flip, n, m, k, alpha, b.ptr + at_b * size, b_step, b_batch, a.ptr + at_a * size, a_step,
                a_batch, beta if add_bias is None else 1.0, target, out_row, out_batch, count,
            )  # fmt: skip

    return run


def _nothing(a, b, bias, out, alpha=1.0, beta=0.0):
    """The product that has no elements."""


def _stored(name, rows, columns, row_stride, column_stride):
    if not columns or not rows:
        return max(columns, 1), 1
    strides = _orientation(rows, columns, row_stride, column_stride)
    if strides is None:
        raise ValueError(
            f"product: expected {name} of shape ({rows}, {columns}) to be contiguous, possibly transposed, got strides "
            f"({row_stride}, {column_stride}); make it contiguous first"
        )
    return strides


def _places(dims):
    """Where each product of a batch begins in a, b and out."""
    places = [(0, 0, 0)]
    for size, *steps in dims:
        places = [tuple(p + k * step for p, step in zip(place, steps)) for place in places for k in range(size)]
    return places


# --- bias: out = beta * out + bias, before a product that adds to it -------------------------------------------------


def _write_bias(bias):
    return bias


def _scale_and_add(out, bias, beta):
    return beta * out + bias


_bias_kernels: dict = {}


def _bias_writer(dtype, m, n, out_row, count, out_batch):
    T = dtype.type
    sizes = [count, m, n]
    write_steps, scale_steps = [0, 0, 1, out_batch, out_row, 1], [out_batch, out_row, 1, 0, 0, 1, out_batch, out_row, 1]
    write = np.array([3, *sizes, *write_steps], np.int64)
    scale = np.array([3, *sizes, *scale_steps], np.int64)
    kernels = _bias_kernels.get(T)
    if kernels is None:
        kernels = _bias_kernels[T] = (
            emit.pointwise("write_bias", _write_bias, [("bias", "s", T)], [("out", T)], T, True),
            emit.pointwise(
                "scale_and_add", _scale_and_add, [("out", "s", T), ("bias", "s", T)], [("result", T)], T, True,
                attributes=[("beta", "r")],
            ),
        )  # fmt: skip

    def add_bias(bias, out, at, beta):
        target = out[at:]
        if beta == 0:
            kernels[0].run(bias, target, write, 0, count * m)
        else:
            kernels[1].run(target, bias, target, float(beta), scale, 0, count * m)

    return add_bias


# --- other dtypes: a thread for each element -------------------------------------------------------------------------


def _loop_product(dtype, m, k, n, a_strides, b_strides, out_row, dims, bias):
    from .loops import loop_product

    numbers = [m, n, k, *a_strides, *b_strides, out_row, len(dims), *(x for d in reversed(dims) for x in d)]
    geometry = np.array(numbers, np.int64)
    units = m * n * math.prod(d[0] for d in dims)
    kernel = template(loop_product, {"T": dtype.type, "BIAS": bool(bias)})

    def run(a, b, bias, out, alpha=1.0, beta=0.0):
        kernel.run(a, b, out if bias is None else bias, out, geometry, int(alpha), int(beta), 0, units)

    return run
