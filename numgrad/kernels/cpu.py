"""Kernels on the CPU as a backend: what a `Device` of this kind makes, calls and multiplies with.

Its counterparts are `cuda`, for GPUs, and `meta`, for tensors without memory; the three have the same names, and the
layers above take them from ``device.backend``. Memory of the CPU is NumPy's, given out by `storage`.
"""

from .. import config
from . import callers, gemm
from .emit import pointwise, reduction, rowwise

__all__ = ["call_table", "caller", "inner_loops", "pointwise", "product", "reduction", "rowwise", "template"]

inner_loops = True  # strided kernels walk the last dimension in a loop, which should not be short

_PARALLEL_FROM = 1 << 16  # elements; below, entering the thread pool costs more than it saves
_GRAIN = 1 << 12


def template(kernel_template, parameters: dict):
    """The kernel ``kernel_template(**parameters)``."""
    return kernel_template(**parameters)


def caller(slots: int, end: int, work: int):
    """The function ``call(kernel, *slots, begin, end)``: serial, or over threads where that pays."""
    parts = config.usable_threads() if end > 1 and end * work >= _PARALLEL_FROM else 1
    return callers.caller(slots, parts, max(1, _GRAIN // max(work, 1)))


def call_table(kernel, table: list, own: int, shared: list, split: bool = True) -> None:
    """Run a kernel on every row of ``table``, in one call; see `plans.call_table`."""
    parts = config.usable_threads() if split and sum(table[own :: own + 1]) >= _PARALLEL_FROM else 1
    callers.call_table(kernel, table, own, shared, parts)


def product(*arguments):
    """The function that multiplies matrices; the arguments are those of `gemm.plan`."""
    return gemm.plan(*arguments).run
