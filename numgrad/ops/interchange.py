"""Memory shared with other libraries by DLPack."""

import numpy as np

from .. import dtypes
from ..device import Device
from ..kernels import dlpack
from ..layout import geometry
from ..storage import strided_meta
from ..tensor import Tensor, from_array, make


class _Carrier:
    """A capsule in the clothes that NumPy expects."""

    def __init__(self, capsule):
        self._capsule = capsule

    def __dlpack__(self, **options):
        return self._capsule

    def __dlpack_device__(self):
        return dlpack.CPU, 0


def from_dlpack(ext_tensor) -> Tensor:
    """A tensor over the memory of an object with ``__dlpack__``, or of a DLPack capsule, on the CPU or a CUDA device.

    Raises ValueError for used capsules, TypeError for dtypes that numgrad lacks.
    """
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    if not hasattr(ext_tensor, "__dlpack__"):
        if dlpack.kind_of(ext_tensor) == dlpack.CUDA:
            return _on_device(ext_tensor)
        ext_tensor = _Carrier(ext_tensor)
    elif int(ext_tensor.__dlpack_device__()[0]) == dlpack.CUDA:
        return _on_device(ext_tensor.__dlpack__(stream=1))  # the default stream, on which ours wait
    array = np.from_dlpack(ext_tensor)
    if not array.flags.writeable and hasattr(array, "__array_interface__"):
        return from_array(np.lib.stride_tricks.as_strided(array, writeable=False))
    return from_array(array)


def _on_device(capsule):
    from ..kernels import cuda

    taken = dlpack.Taken(capsule)
    m = strided_meta(
        dtypes.of(taken.dtype), *geometry("from_dlpack", taken.shape, taken.strides), Device("cuda", taken.index)
    )
    return make(cuda.adopt_capsule(taken), m)


def to_dlpack(tensor):
    """A DLPack capsule over the tensor's memory."""
    return tensor.__dlpack__()
