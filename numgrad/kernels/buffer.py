"""What flat buffers outside of host memory have in common: those of CUDA devices and those of the meta device."""

import numpy as np


class FlatBuffer:
    """``size`` elements of one dtype from the address ``ptr`` on, described as a one-dimensional ndarray is."""

    __slots__ = ("ptr", "dtype", "size")
    ndim = 1

    def __init__(self, ptr: int, dtype: np.dtype, size: int):
        self.ptr, self.dtype, self.size = ptr, dtype, size

    def __len__(self):
        return self.size

    @property
    def shape(self) -> tuple[int]:
        """The number of elements, as a shape."""
        return (self.size,)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    def part(self, key: slice) -> tuple[int, int]:
        """The address and the number of the elements of a slice. IndexError if it has steps."""
        start, stop, step = key.indices(self.size)
        if step != 1:
            raise IndexError(f"device memory: slices have step 1, got {step}; strided views belong to tensors")
        return self.ptr + start * self.dtype.itemsize, max(0, stop - start)
