"""Memory shared with other libraries: by DLPack, as ndarrays, by Python's buffer protocol."""

import numpy as np

from .. import dtypes
from ..device import Device, resolve
from ..kernels import dlpack
from ..layout import geometry
from ..storage import strided_meta
from ..tensor import Tensor, from_array, make
from .create import from_numpy, frombuffer, shareable, tensor, warn_read_only


class _Carrier:
    """A capsule in the clothes that NumPy expects."""

    def __init__(self, capsule):
        self._capsule = capsule

    def __dlpack__(self, **options):
        return self._capsule

    def __dlpack_device__(self):
        return dlpack.CPU, 0


def from_dlpack(ext_tensor, *, device=None, copy=None) -> Tensor:
    """A tensor over the memory of an object with ``__dlpack__``, or of a DLPack capsule, on the CPU or a CUDA device.

    ``device``: where the tensor is to be, ``copy``: whether to copy in any case (True) or not at all (False). Raises
    ValueError for used capsules and where a copy would be needed, TypeError for dtypes that numgrad lacks.
    """
    found = _shared(ext_tensor)
    if device is not None and resolve(device) != found.device:
        if copy is False:
            raise ValueError(f"from_dlpack: the memory is on {found.device}: a tensor on {device} would be a copy, and copy=False")
        return found.to(device)
    return found.clone() if copy else found


def _shared(ext_tensor):
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    if not hasattr(ext_tensor, "__dlpack__"):
        if dlpack.kind_of(ext_tensor) == dlpack.CUDA:
            return _on_device(ext_tensor)
        ext_tensor = _Carrier(ext_tensor)
    elif int(ext_tensor.__dlpack_device__()[0]) == dlpack.CUDA:
        return _on_device(ext_tensor.__dlpack__(stream=1))  # the default stream, on which ours wait
    if isinstance(ext_tensor, np.ndarray):
        warn_read_only("NumPy array", ext_tensor)
    try:
        array = np.from_dlpack(ext_tensor)
    except (BufferError, RuntimeError):  # NumPy has no bfloat16
        array = dlpack.Taken(ext_tensor.__dlpack__()).array()
    if not array.flags.writeable and hasattr(array, "__array_interface__"):
        return from_array(np.lib.stride_tricks.as_strided(array, writeable=False))
    return from_array(array)


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False) -> Tensor:
    """``obj`` as a tensor, over the same memory where that can be: a Tensor, an ndarray, a DLPack capsule, an object with
    Python's buffer protocol (read as ``dtype``, float32 by default), or a number or nested sequence, which is copied.

    ``copy`` forces (True) or forbids (False) a copy: ValueError where one is needed. The result has the history of
    ``obj`` only with ``requires_grad``.
    """
    shared = _over(obj, dtype)
    if shared is None:
        if copy is False:
            raise ValueError("asarray: can't alias arbitrary sequence into a tensor; pass copy=None or True")
        return tensor(obj, dtype=dtype, device=device, requires_grad=requires_grad)
    wanted = shared._m.dtype if dtype is None else dtypes.as_dtype(dtype)
    place = shared._m.device if device is None else resolve(device)
    if copy is False and place != shared._m.device:
        raise ValueError(f"asarray: can't alias tensor from device '{shared._m.device}' to '{place}'")
    if copy is False and wanted is not shared._m.dtype:
        raise ValueError(f"asarray: can't alias tensor with dtype '{shared._m.dtype!r}' into dtype '{wanted!r}'")
    out = shared.to(place, wanted, copy=bool(copy))
    if not requires_grad:
        return out.detach() if out.requires_grad else out
    return out if out.requires_grad else out.requires_grad_()


def _over(obj, dtype):
    """A tensor over the memory of ``obj``, or None."""
    if isinstance(obj, Tensor):
        return obj
    if isinstance(obj, np.ndarray):
        return from_numpy(obj) if shareable(obj) else None
    if type(obj).__name__ == "PyCapsule":
        return from_dlpack(obj)
    try:
        memoryview(obj)
    except TypeError:
        return None
    if isinstance(obj, np.generic):  # a number, although it has a buffer
        return None
    return frombuffer(obj, dtype=dtypes.get_default_dtype() if dtype is None else dtype)


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
