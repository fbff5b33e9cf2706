"""What is asked of tensors' values on the host: checks, and the routines that run there (LAPACK, FFT).

A meta tensor has no values: what is checked of them is taken for right, routines run on a stand-in, so that shapes and dtypes are
found as for any other tensor, and where the size of a result depends on values there is an error.
"""

import numpy as np

from ..device import META
from ..tensor import Tensor, from_array


def any_true(mask) -> bool:
    """Whether an element of ``mask`` is not 0; for a meta tensor: no."""
    return mask._m.device is not META and bool(mask.any())


def to_host(tensor) -> np.ndarray:
    """The values as an ndarray. Those of a meta tensor are 1 on the diagonal of its matrices, which no routine refuses, and of
    integers 1, 2, ..., as pivots are."""
    m = tensor._m
    if m.device is not META:
        return tensor._host()
    shape, kind = tuple(m.shape), m.dtype.compute
    if m.dtype.kind == "i" and shape:
        one = np.arange(1, shape[-1] + 1).astype(kind)
    else:
        one = np.eye(*shape[-2:], dtype=kind) if len(shape) > 1 else np.ones((), kind)
    return np.array(np.broadcast_to(one, shape))


def from_host(array, like) -> Tensor:
    """An ndarray as a Tensor on the device of ``like``."""
    found = from_array(np.asarray(array))
    return found if found._m.device is like._m.device else found.to(like._m.device)


def need_values(name, tensor) -> None:
    """NotImplementedError for a meta tensor, where the size of the result depends on values."""
    if tensor._m.device is META:
        raise NotImplementedError(
            f"{name}(): the size of the result depends on the values, and a meta tensor has none; run it on a tensor with memory"
        )
