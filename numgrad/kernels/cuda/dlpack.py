"""DLPack capsules for device memory: how other libraries take a tensor without a copy."""

import ctypes

import numpy as np

_KINDS = {"i": 0, "u": 1, "f": 2, "b": 6}


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("index", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device", _Device), ("ndim", ctypes.c_int32), ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]
_NAME = b"dltensor"

_alive: dict = {}  # address of a managed tensor -> it, its arrays and the owner of the memory


@_Deleter
def _release(managed):
    _alive.pop(ctypes.addressof(managed.contents), None)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _drop_capsule(capsule):
    if _is_valid(capsule, _NAME):  # renamed by a consumer, which then calls the deleter
        _alive.pop(_pointer(capsule, _NAME), None)


def capsule(owner, address: int, dtype: np.dtype, shape: tuple, strides: tuple, index: int):
    """A capsule for memory at ``address`` of CUDA device ``index``; ``owner`` lives as long as its consumer."""
    count = len(shape)
    sizes, steps = (ctypes.c_int64 * count)(*shape), (ctypes.c_int64 * count)(*strides)
    managed = _Managed()
    tensor = managed.tensor
    tensor.data, tensor.ndim, tensor.byte_offset = address, count, 0
    tensor.device = _Device(2, index)
    tensor.dtype = _Type(_KINDS[dtype.kind], dtype.itemsize * 8, 1)
    tensor.shape = ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64))
    tensor.strides = ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _release
    place = ctypes.addressof(managed)
    _alive[place] = managed, sizes, steps, owner
    return _new(place, _NAME, ctypes.cast(_drop_capsule, ctypes.c_void_p))
