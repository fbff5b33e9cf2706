"""DLPack capsules: how libraries take memory of one another without a copy, device memory above all."""

import ctypes

import numpy as np

_KINDS = {"i": 0, "u": 1, "f": 2, "V": 4, "c": 5, "b": 6}  # V: bfloat16, which NumPy lacks
_BFLOAT16 = np.dtype([("bfloat16", np.uint16)])
_LETTERS = {number: letter for letter, number in _KINDS.items()}
CPU, CUDA = 1, 2


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
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.restype, _rename.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
_NAME, _USED = b"dltensor", b"used_dltensor"

_alive: dict = {}  # address of a managed tensor -> it, its arrays and the owner of the memory


@_Deleter
def _release(managed):
    _alive.pop(ctypes.addressof(managed.contents), None)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _drop_capsule(capsule):
    if _is_valid(capsule, _NAME):  # renamed by a consumer, which then calls the deleter
        _alive.pop(_pointer(capsule, _NAME), None)


def capsule(owner, address: int, dtype: np.dtype, shape: tuple, strides: tuple, index: int | None = None):
    """A capsule for memory at ``address`` of CUDA device ``index`` (None: the CPU's); ``owner`` lives as long as its
    consumer."""
    count = len(shape)
    sizes, steps = (ctypes.c_int64 * count)(*shape), (ctypes.c_int64 * count)(*strides)
    managed = _Managed()
    tensor = managed.tensor
    tensor.data, tensor.ndim, tensor.byte_offset = address, count, 0
    tensor.device = _Device(CPU, 0) if index is None else _Device(CUDA, index)
    tensor.dtype = _Type(_KINDS[dtype.kind], dtype.itemsize * 8, 1)
    tensor.shape = ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64))
    tensor.strides = ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _release
    place = ctypes.addressof(managed)
    _alive[place] = managed, sizes, steps, owner
    return _new(place, _NAME, ctypes.cast(_drop_capsule, ctypes.c_void_p))


class Taken:
    """The memory in a capsule, which is used up: given back to its producer with the last reference to this.

    ``kind`` and ``index``: its device, ``address``, ``dtype``, and ``shape`` and ``strides`` in elements. Raises ValueError
    for other objects and used capsules, TypeError for dtypes that numgrad lacks.
    """

    def __init__(self, capsule):
        self._managed = None
        if not _is_valid(id(capsule), _NAME):
            raise ValueError(f"from_dlpack: expected an unused DLPack capsule, got {capsule!r}")
        place = _pointer(id(capsule), _NAME)
        assert place is not None
        managed = _Managed.from_address(place)
        tensor = managed.tensor
        letter = _LETTERS.get(tensor.dtype.code)
        if letter is None or tensor.dtype.lanes != 1:
            raise TypeError(f"from_dlpack: no dtype for DLPack's type {tensor.dtype.code} with {tensor.dtype.bits} bits")
        self.kind, self.index = tensor.device.type, tensor.device.index
        self.address = (tensor.data or 0) + tensor.byte_offset
        self.dtype = _BFLOAT16 if letter == "V" else np.dtype("?" if letter == "b" else f"{letter}{tensor.dtype.bits // 8}")
        self.shape = tuple(tensor.shape[k] for k in range(tensor.ndim))
        if tensor.strides:
            self.strides = tuple(tensor.strides[k] for k in range(tensor.ndim))
        else:
            self.strides = tuple(int(np.prod(self.shape[k + 1 :])) for k in range(tensor.ndim))
        _rename(capsule, _USED)
        self._managed = managed

    def array(self):
        """An ndarray over memory of the CPU, which keeps this object."""
        steps = tuple(step * self.dtype.itemsize for step in self.strides)
        self.__array_interface__ = {"data": (self.address, False), "shape": self.shape, "strides": steps, "version": 3,
                                    "typestr": f"|V{self.dtype.itemsize}"}  # fmt: skip
        return np.asarray(self).view(self.dtype)

    def __del__(self):
        if self._managed is not None and self._managed.deleter:
            self._managed.deleter(ctypes.pointer(self._managed))


def kind_of(capsule) -> int:
    """The kind of device, `CPU` or `CUDA` or another number, whose memory an unused capsule holds."""
    if not _is_valid(id(capsule), _NAME):
        raise ValueError(f"from_dlpack: expected an unused DLPack capsule, got {capsule!r}")
    place = _pointer(id(capsule), _NAME)
    assert place is not None
    return _Managed.from_address(place).tensor.device.type
