"""UntypedStorage and TypedStorage: the memory that a tensor shares with its views, as bytes and as elements."""

import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from . import dtypes
from .device import CPU, Device, resolve
from .layout import integer
from .storage import Storage, meta, segment_of, shared_segment
from .tensor import Tensor, address, make, new, storage_of


def storage_behind(tensor: Tensor) -> "UntypedStorage":
    """The storage of a tensor: one object for all that share it, as long as it is held."""
    record = storage_of(tensor)
    if record.root is None:
        record.root = tensor._d
    known = record.__dict__.get("handle")
    found = None if known is None else known()
    if found is None:
        found = new(UntypedStorage)
        found._record, found._device = record, tensor._m.device
        record.handle = weakref.ref(found)  # type: ignore[attr-defined]
    return found


def tensors_over(record: Storage) -> list[Tensor]:
    """All living tensors over a storage. Nobody keeps a list of them, so that the collector is asked."""
    records = {id(record): record}
    if record.memory is not None:
        for holder in gc.get_referrers(record.memory):
            for found in [holder, *(gc.get_referrers(holder) if type(holder) is dict else ())]:
                if isinstance(found, Storage) and found.memory is record.memory:
                    records[id(found)] = found
    over = [found for one in records.values() for found in gc.get_referrers(one) if issubclass(type(found), Tensor)]
    return [tensor for tensor in over if id(tensor._s) in records]


_elements: Any = vars(Tensor)["_d"]


class _Freed:
    """Mixed into the class of a tensor whose storage was made too small for it, until the storage is large enough."""

    __slots__ = ()

    _place: tuple[int, int]  # in bytes from the start of the storage: begin and length
    _kind: type

    @property
    def _d(self):
        raise RuntimeError(
            "The tensor has a non-zero number of elements, but its data is not allocated yet: its storage was resized to less "
            "than that. Resize the storage again before the tensor is used."
        )

    @_d.setter
    def _d(self, data):
        _elements.__set__(self, data)


_freed: dict = {}  # class of a tensor -> the same with `_Freed`


def _place(tensor: Any, memory, start: int) -> None:
    """Have ``tensor``, whose storage began at the address ``start``, lie in the flat bytes ``memory`` in its place."""
    data = _elements.__get__(tensor)
    if isinstance(tensor, _Freed):
        begin, length = tensor._place
    else:
        begin, length = address(data) - start, data.nbytes
    kind = tensor._kind if isinstance(tensor, _Freed) else type(tensor)
    if not length or begin + length <= memory.nbytes:
        tensor.__class__ = kind
        tensor.__dict__.pop("_place", None)
        tensor.__dict__.pop("_kind", None)
        tensor._d = memory[begin : begin + length].view(data.dtype)
        return
    if kind not in _freed:
        own = {"__torch_function__": None} if kind is Tensor else {}
        _freed[kind] = type(kind)(kind.__name__, (_Freed, kind), {"__slots__": (), "__module__": kind.__module__, **own})
    tensor.__class__ = _freed[kind]
    tensor._d = data[:0].copy()
    tensor._place, tensor._kind = (begin, length), kind


class UntypedStorage:
    """Bytes that tensors lie in. ``UntypedStorage(size)`` uninitialised, ``UntypedStorage(values)``: with these bytes.

    Indices and slices are of bytes. Writing to it is writing to the tensors over it.
    """

    _record: Storage
    _device: Device

    def __init__(self, *args: Any, device: Any = None):
        if len(args) > 1:
            raise TypeError(f"UntypedStorage: expected a number of bytes or one sequence of them, got {len(args)} arguments")
        given: Any = args[0] if args else 0
        if hasattr(given, "__index__"):
            if given < 0:
                raise RuntimeError(f"UntypedStorage: Storage size must not be negative, got {given}")
            data = np.empty(given, np.uint8)
        else:
            data = np.array(list(given), np.uint8)
        self._record = Storage()
        self._device = resolve(device)
        self._record.root = data
        self._record.handle = weakref.ref(self)  # type: ignore[attr-defined]
        if self._device is not CPU:
            self._record.root = self._tensor(dtypes.uint8, CPU).to(self._device)._d

    def _tensor(self, d: dtypes.dtype, device: Device | None = None) -> Tensor:
        """All of it as a flat tensor of the dtype ``d``."""
        root: Any = self._record.root
        if root.dtype != d.np:
            root = root.view(np.dtype(np.uint8))[: root.nbytes // d.itemsize * d.itemsize].view(d.np)
        tensor = make(root, meta(d, (len(root),), device or self._device))
        tensor._s = self._record
        return tensor

    def _bytes(self) -> Tensor:
        return self._tensor(dtypes.uint8)

    @property
    def device(self) -> Device:
        return self._device

    @property
    def is_cuda(self) -> bool:
        return self._device.type == "cuda"

    is_sparse = is_sparse_csr = is_hpu = False

    @property
    def _cdata(self) -> int:
        return id(self._record)

    def untyped(self) -> "UntypedStorage":
        """This storage."""
        return self

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return address(self._record.root) if self.nbytes() else 0

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._record.root.nbytes

    size = __len__ = nbytes

    def element_size(self) -> int:
        """1: elements are bytes."""
        return 1

    def type(self, dtype: Any = None) -> str:
        """The name of the class."""
        return "torch.cuda.UntypedStorage" if self.is_cuda else "torch.UntypedStorage"

    def resizable(self) -> bool:
        """Whether the memory is the library's own."""
        return self._record.resizable

    def tolist(self) -> list:
        """The bytes as ints."""
        return self._bytes().tolist()

    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            return self._bytes()[index].item()
        part = new(UntypedStorage)
        part._record, part._device = Storage(), self._device
        part._record.root, part._record.resizable = self._bytes()._d[index], False
        part._record.handle = weakref.ref(part)  # type: ignore[attr-defined]
        return part

    def __setitem__(self, index: int | slice, value: Any) -> None:
        self._bytes()[index] = value

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, UntypedStorage) and self._record is other._record

    def __hash__(self) -> int:
        return id(self._record)

    def __copy__(self) -> "UntypedStorage":
        return self.clone()

    def __deepcopy__(self, memo: dict) -> "UntypedStorage":
        key = ("storage", id(self._record))  # the key of `tensor.copied_storage`, so that tensors over it go along
        if key not in memo:
            copy = self.clone()
            memo[key] = copy._record.root, copy._record, self
        _, record, _ = memo[key]
        known = record.__dict__.get("handle")
        found = None if known is None else known()
        if found is None:
            found = new(UntypedStorage)
            found._record, found._device = record, self._device
            record.handle = weakref.ref(found)
        return found

    def __reduce__(self) -> tuple:
        return _restored, (self._bytes()._host(), str(self._device))

    def __repr__(self) -> str:
        return f" {self.tolist()}\n[torch.storage.UntypedStorage(device={self._device}) of size {self.nbytes()}]"

    def fill_(self, value: int) -> "UntypedStorage":
        """Set every byte."""
        self._bytes().fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool = False) -> "UntypedStorage":
        """Take the bytes of another storage of the same size."""
        if source.nbytes() != self.nbytes():
            raise RuntimeError(f"copy_: size does not match, self was {self.nbytes()} bytes but src was {source.nbytes()} bytes")
        self._bytes().copy_(source.untyped()._bytes())
        return self

    def clone(self) -> "UntypedStorage":
        """A copy."""
        return storage_behind(self._bytes().clone())

    def resize_(self, size: int) -> "UntypedStorage":
        """Change the number of bytes. Tensors over it move along; one whose elements are no longer all there can be used again
        when they are, and is an error until then."""
        size = integer("resize_", "size", size)
        if size < 0:
            raise RuntimeError(f"resize_: a storage cannot have {size} bytes")
        if not self._record.resizable:
            raise RuntimeError("resize_: Trying to resize storage that is not resizable: it belongs to another object")
        kept = self._bytes()._d[:size]
        fresh = meta(dtypes.uint8, (size,), self._device).empty(size, dtypes.uint8.np)
        fresh[: len(kept)] = kept
        self._move(fresh)
        return self

    def _move(self, memory: Any) -> None:
        """Have this storage, with the tensors over it, lie in ``memory``, which is flat bytes."""
        former: Any = self._record.root
        over = tensors_over(self._record)
        whole = memory.nbytes % former.dtype.itemsize == 0
        root = memory.view(former.dtype) if whole else memory
        for record in {id(self._record): self._record, **{id(tensor._s): tensor._s for tensor in over}}.values():
            record.root = root
        start = address(former)
        for tensor in over:
            _place(tensor, memory, start)

    def to(self, device: Any, non_blocking: bool = False) -> "UntypedStorage":
        """This storage on a device: itself if it is there."""
        device = resolve(device)
        return self if device == self._device else storage_behind(self._bytes().to(device))

    def cpu(self) -> "UntypedStorage":
        """This storage on the CPU."""
        return self.to(CPU)

    def cuda(self, device: Any = None, non_blocking: bool = False) -> "UntypedStorage":
        """This storage on a CUDA device."""
        return self.to("cuda" if device is None else device)

    def is_shared(self) -> bool:
        """Whether processes share the memory."""
        return self._device is CPU and segment_of(cast(np.ndarray, self._record.root)) is not None

    def share_memory_(self) -> "UntypedStorage":
        """Move the bytes, and the tensors over them, into memory that processes share."""
        if self._device is CPU and not self.is_shared():
            memory = np.frombuffer(shared_segment(self.nbytes()), np.uint8)[: self.nbytes()]
            memory[:] = self._bytes()._d
            self._move(memory)
        return self

    def is_pinned(self, device: Any = "cuda") -> bool:
        """Whether the memory is page-locked."""
        return self._bytes().is_pinned()

    def pin_memory(self, device: Any = "cuda") -> "UntypedStorage":
        """A copy in page-locked memory."""
        return self if self.is_pinned() else storage_behind(self._bytes().pin_memory())

    @staticmethod
    def from_buffer(buffer: Any, byte_order: str = "native", count: int = -1, offset: int = 0, dtype: Any = dtypes.uint8) -> "UntypedStorage":
        """A storage with a copy of ``count`` elements (-1: all) of an object with Python's buffer protocol, from byte
        ``offset`` on, whose elements of ``dtype`` lie there in ``byte_order``: "little", "big" or "native"."""
        data = _bytes_of(buffer, dtypes.as_dtype(dtype), byte_order, count, offset)
        return storage_behind(make(data, meta(dtypes.uint8, (len(data),))))

    def byteswap(self, dtype: dtypes.dtype) -> None:
        """Reverse the bytes of every element of ``dtype``."""
        data: Any = self._bytes()._d
        data[:] = _swapped(data, dtypes.as_dtype(dtype))

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.nbytes()

    def new(self) -> "UntypedStorage":
        """An empty storage on the same device."""
        return UntypedStorage(device=self._device)


def elements(name: str, storage: Any, d: dtypes.dtype) -> Tensor:
    """All of a storage as a flat tensor of the dtype ``d``; RuntimeError if it has elements of another one."""
    if isinstance(storage, TypedStorage) and storage.dtype is not d:
        raise RuntimeError(
            f"Expected a Storage of type {d!r} or an UntypedStorage, but got type {storage.dtype!r} for argument '{name}'"
        )
    return storage._tensor(d)


def _bytes_of(buffer: Any, d: dtypes.dtype, byte_order: str, count: int, offset: int) -> np.ndarray:
    """A copy of ``count`` elements (-1: all) of a buffer from byte ``offset`` on, in this machine's order of bytes."""
    size, width = memoryview(buffer).nbytes, d.itemsize
    if byte_order not in ("little", "big", "native"):
        raise ValueError(f"from_buffer: invalid byte_order '{byte_order}': expected 'big', 'little' or 'native'")
    if not 0 <= offset <= size:
        raise ValueError(f"from_buffer: offset must be non-negative and no greater than buffer length ({size}), but got {offset}")
    if count < 0 and (size - offset) % width:
        raise ValueError(f"from_buffer: buffer size ({size - offset}) must be a multiple of element size ({width})")
    if count >= 0 and offset + count * width > size:
        raise ValueError(f"from_buffer: buffer has only {size - offset} bytes after offset {offset}, but {count * width} are needed")
    data = np.frombuffer(buffer, np.uint8, -1 if count < 0 else count * width, offset).copy()
    if d.kind == "b":
        return (data != 0).view(np.uint8)
    return data if byte_order in ("native", sys.byteorder) else _swapped(data, d)


def _swapped(data: np.ndarray, d: dtypes.dtype) -> np.ndarray:
    """Bytes of elements of ``d``, those of each element (of each part of a complex one) in reverse order."""
    width = d.to_real().itemsize
    whole = len(data) // width * width
    return np.concatenate([data[:whole].reshape(-1, width)[:, ::-1].reshape(-1), data[whole:]])


def _restored(values: np.ndarray, device: str) -> UntypedStorage:
    return UntypedStorage(values.tolist(), device=device)


class _TypedType(type):
    """``isinstance(x, FloatStorage)``: whether x is a storage of float32 numbers on the CPU."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if cls is TypedStorage or not isinstance(cls._dtype, dtypes.dtype):
            return type.__instancecheck__(cls, instance)
        return type.__instancecheck__(TypedStorage, instance) and instance.dtype is cls._dtype

    _dtype: Any = None


class TypedStorage(metaclass=_TypedType):
    """A storage as elements of one dtype. ``TypedStorage(size)`` uninitialised, ``TypedStorage(values)``: with these
    elements; ``wrap_storage``: over the bytes of that one."""

    _dtype: Any = None
    _untyped_storage: UntypedStorage

    def __init__(self, *args: Any, wrap_storage: UntypedStorage | None = None, dtype: Any = None, device: Any = None,
                 _internal: bool = False):  # fmt: skip
        d = dtypes.as_dtype(dtype or type(self)._dtype or dtypes.get_default_dtype())
        self._dtype = d
        if wrap_storage is not None:
            if not isinstance(wrap_storage, UntypedStorage):
                raise TypeError(f"TypedStorage: wrap_storage must be an UntypedStorage, got {type(wrap_storage).__name__}")
            self._untyped_storage = wrap_storage
            return
        if len(args) > 1:
            raise TypeError(f"TypedStorage: expected a size or one sequence of values, got {len(args)} arguments")
        given: Any = args[0] if args else 0
        if isinstance(given, (TypedStorage, UntypedStorage)):
            given = given.tolist()
        if hasattr(given, "__index__"):
            self._untyped_storage = UntypedStorage(given * d.itemsize, device=device)
        else:
            values = d.encode(np.array(list(given), d.compute))
            tensor = make(values, meta(d, (len(values),)))
            self._untyped_storage = storage_behind(tensor if device is None else tensor.to(device))

    @classmethod
    def from_buffer(cls, *args: Any, dtype: Any = None, **named: Any) -> "TypedStorage":
        """`UntypedStorage.from_buffer` as elements of the dtype of the class, or of ``dtype``."""
        d = dtypes.as_dtype(dtype or cls._dtype or dtypes.get_default_dtype())
        return typed(UntypedStorage.from_buffer(*args, dtype=d, **named), d)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.nbytes()

    def _tensor(self, d: dtypes.dtype) -> Tensor:
        """All of it as a flat tensor of the dtype ``d``."""
        return self._untyped_storage._tensor(d)

    def _elements(self) -> Tensor:
        return self._untyped_storage._tensor(self._dtype)

    @property
    def dtype(self) -> dtypes.dtype:
        return self._dtype

    @property
    def device(self) -> Device:
        return self._untyped_storage.device

    @property
    def is_cuda(self) -> bool:
        return self._untyped_storage.is_cuda

    is_sparse = is_hpu = False

    @property
    def _cdata(self) -> int:
        return self._untyped_storage._cdata

    def untyped(self) -> UntypedStorage:
        """The bytes."""
        return self._untyped_storage

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._untyped_storage.data_ptr()

    _data_ptr = data_ptr

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._untyped_storage.nbytes()

    _nbytes = nbytes

    def size(self) -> int:
        """The number of elements."""
        return self.nbytes() // self._dtype.itemsize

    __len__ = _size = size

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._dtype.itemsize

    _element_size = element_size

    def type(self, dtype: Any = None) -> str:
        """The name of the class of such storages."""
        where = "cuda." if self.is_cuda else ""
        return f"torch.{where}{_NAMES.get(self._dtype, 'UntypedStorage')}"

    def pickle_storage_type(self) -> str:
        """The name of the class of such storages."""
        return _NAMES[self._dtype]

    _pickle_storage_type = pickle_storage_type

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self._elements().tolist()

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        if not isinstance(index, int):
            raise RuntimeError(f"can't index a {type(self).__name__} with {type(index).__name__}")
        return self._elements()[index].item()

    def __setitem__(self, index: int | slice, value: Any) -> None:
        self._elements()[index] = value

    def __iter__(self) -> Iterator:
        return iter(self.tolist())

    def __eq__(self, other: Any) -> bool:
        return (
            isinstance(other, TypedStorage) and self._dtype is other._dtype and self._untyped_storage == other._untyped_storage
        )

    def __hash__(self) -> int:
        return self._cdata

    def __copy__(self) -> "TypedStorage":
        return self.clone()

    def __deepcopy__(self, memo: dict) -> "TypedStorage":
        return typed(self._untyped_storage.__deepcopy__(memo), self._dtype)

    def __reduce__(self) -> tuple:
        return typed, (self._untyped_storage, self._dtype)

    def __repr__(self) -> str:
        lines = "".join(f" {value}\n" for value in self.tolist())
        return f"{lines}[torch.storage.TypedStorage(dtype={self._dtype}, device={self.device}) of size {len(self)}]"

    def fill_(self, value: Any) -> "TypedStorage":
        """Set every element."""
        self._elements().fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> "TypedStorage":
        """Take the elements of another storage of the same size, converted."""
        if isinstance(source, UntypedStorage):
            self._untyped_storage.copy_(source)
        else:
            self._elements().copy_(source._elements())
        return self

    def clone(self) -> "TypedStorage":
        """A copy."""
        return typed(self._untyped_storage.clone(), self._dtype)

    def resize_(self, size: int) -> "TypedStorage":
        """Change the number of elements, and move the tensors over it along."""
        self._untyped_storage.resize_(size * self._dtype.itemsize)
        return self

    def resizable(self) -> bool:
        """Whether the memory is the library's own."""
        return self._untyped_storage.resizable()

    def to(self, device: Any, non_blocking: bool = False) -> "TypedStorage":
        """This storage on a device."""
        return typed(self._untyped_storage.to(device), self._dtype)

    def cpu(self) -> "TypedStorage":
        """This storage on the CPU."""
        return self.to(CPU)

    def cuda(self, device: Any = None, non_blocking: bool = False) -> "TypedStorage":
        """This storage on a CUDA device."""
        return self.to("cuda" if device is None else device)

    def _to(self, d: dtypes.dtype) -> "TypedStorage":
        return typed(storage_behind(self._elements().to(d, copy=True)), d)

    def is_shared(self) -> bool:
        """Whether processes share the memory."""
        return self._untyped_storage.is_shared()

    def share_memory_(self) -> "TypedStorage":
        """Move the elements into memory that processes share."""
        self._untyped_storage.share_memory_()
        return self

    def is_pinned(self, device: Any = "cuda") -> bool:
        """Whether the memory is page-locked."""
        return self._untyped_storage.is_pinned()

    def pin_memory(self, device: Any = "cuda") -> "TypedStorage":
        """A copy in page-locked memory."""
        return typed(self._untyped_storage.pin_memory(), self._dtype)

    def _new_wrapped_storage(self, untyped_storage: UntypedStorage) -> "TypedStorage":
        return typed(untyped_storage, self._dtype)


for _name in ("double", "float", "half", "bfloat16", "long", "int", "short", "char", "byte", "bool", "complex_float", "complex_double"):
    _d = {"double": "float64", "float": "float32", "half": "float16", "long": "int64", "int": "int32", "short": "int16",
          "char": "int8", "byte": "uint8", "complex_float": "complex64", "complex_double": "complex128"}.get(_name, _name)  # fmt: skip

    def _convert(self, _d=dtypes.BY_NAME[_d]):
        return self._to(_d)

    _convert.__name__, _convert.__doc__ = _name, f"A copy as {_d}."
    setattr(TypedStorage, _name, _convert)


def typed(storage: UntypedStorage, dtype: dtypes.dtype) -> TypedStorage:
    """The storage as elements of a dtype."""
    return TypedStorage(wrap_storage=storage, dtype=dtype)


def _class(name: str, d: dtypes.dtype) -> type[TypedStorage]:
    return _TypedType(name, (TypedStorage,), {"_dtype": d, "__doc__": f"A storage of {d.name} elements.", "__module__": "torch"})


FloatStorage = _class("FloatStorage", dtypes.float32)
DoubleStorage = _class("DoubleStorage", dtypes.float64)
HalfStorage = _class("HalfStorage", dtypes.float16)
BFloat16Storage = _class("BFloat16Storage", dtypes.bfloat16)
LongStorage = _class("LongStorage", dtypes.int64)
IntStorage = _class("IntStorage", dtypes.int32)
ShortStorage = _class("ShortStorage", dtypes.int16)
CharStorage = _class("CharStorage", dtypes.int8)
ByteStorage = _class("ByteStorage", dtypes.uint8)
BoolStorage = _class("BoolStorage", dtypes.bool_)
ComplexFloatStorage = _class("ComplexFloatStorage", dtypes.complex64)
ComplexDoubleStorage = _class("ComplexDoubleStorage", dtypes.complex128)

CLASSES = {
    kind._dtype: kind for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, TypedStorage) and kind is not TypedStorage
}  # fmt: skip
_NAMES = {d: kind.__name__ for d, kind in CLASSES.items()}


_storage_classes = {UntypedStorage, *CLASSES.values()}


def _dtype_to_storage_type_map() -> dict[dtypes.dtype, str]:
    """The names of the classes by dtype."""
    return dict(_NAMES)


def _storage_type_to_dtype_map() -> dict[str, dtypes.dtype]:
    """The dtypes by the names of the classes."""
    return {name: d for d, name in _NAMES.items()}


def is_storage(obj: Any) -> bool:
    """Whether ``obj`` is a storage."""
    return type(obj) is UntypedStorage or type.__instancecheck__(TypedStorage, obj)
