"""Tensors without memory, ``torch.device("meta")``: every op is planned, which finds shapes, dtypes and errors, and no
kernel is made or run. The counterpart of `cpu` and `cuda`.
"""

import numpy as np

from .buffer import FlatBuffer

__all__ = [
    "Buffer", "allocator", "call_table", "caller", "copy_to_device", "copy_to_host", "inner_loops", "pointwise", "product",
    "reduction", "rowwise", "template",
]  # fmt: skip

inner_loops = False


class Buffer(FlatBuffer):
    """A place in memory that does not exist: ``size`` elements of a dtype from byte ``ptr`` of a block on. What is written to
    it is forgotten, and reading it is an error."""

    __slots__ = ("__weakref__",)

    def __repr__(self):
        return f"Buffer({self.size} x {self.dtype} without memory)"

    def __getitem__(self, key):
        if not isinstance(key, slice):
            raise no_data()
        ptr, size = self.part(key)
        return Buffer(ptr, self.dtype, size)

    def __setitem__(self, key, value):
        pass

    def fill(self, value) -> None:
        """Set every element: nothing to do."""

    def item(self, index: int = 0):
        """An element: there is none."""
        raise no_data()

    def copy(self) -> "Buffer":
        """A block of its own."""
        return Buffer(0, self.dtype, self.size)

    def view(self, dtype) -> "Buffer":
        """The same bytes as another dtype."""
        dtype = np.dtype(dtype)
        return Buffer(self.ptr, dtype, self.nbytes // dtype.itemsize)

    def __array__(self, dtype=None, copy=None):
        raise no_data()


def no_data() -> NotImplementedError:
    """The error of whatever asks for a meta tensor's values."""
    return NotImplementedError(
        "Cannot copy out of meta tensor; no data! A tensor on the meta device has a shape and a dtype alone; make one with memory "
        "with torch.empty_like(tensor, device='cpu'), or for a whole module with module.to_empty(device='cpu')"
    )


def allocator(device):
    """The function ``empty(n, dtype)`` of the device."""
    return _empty


def _empty(n, dtype):
    return Buffer(0, dtype, n)


def copy_to_host(buffer):
    """The elements as an ndarray: there are none."""
    raise no_data()


def copy_to_device(source, device) -> Buffer:
    """A buffer with the dtype and size of an ndarray or of another device's memory."""
    return Buffer(0, source.dtype, source.size)


def _no_kernel(*arguments, **options):
    """A kernel that is never made."""


def _nothing(*arguments, **options):
    """A kernel's call that does nothing."""


pointwise = reduction = rowwise = template = _no_kernel
call_table = _nothing


def caller(slots: int, end: int, work: int):
    """The function ``call(kernel, *slots, begin, end)``, which does nothing."""
    return _nothing


def product(*arguments):
    """The function that would multiply matrices."""
    return _nothing
