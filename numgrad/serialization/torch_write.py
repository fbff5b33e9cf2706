"""Writes what PyTorch's ``torch.save`` writes: the zip archive, and the stream of pickles before version 1.6.

Objects are pickled by Python's own pickler, under PyTorch's names for our classes, so that ``torch.load`` reads them.
"""

import collections
import inspect
import io
import pickle
import struct
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from .. import dtypes
from ..device import META
from ..nn.module import Module
from ..nn.parameter import Parameter
from ..storage import meta
from ..storages import CLASSES, TypedStorage, UntypedStorage
from ..tensor import Tensor, address, alias, attributes, root_of, slots_of, storage_of
from . import archive, torch_names
from .globals import written_as
from .modules import to_torch
from .torch_names import STORAGES

MAGIC = 0x1950A86A20F9469CFC6C  # what a stream of pickles begins with
PROTOCOL = 1001
_CLASSES = {dtype: name for name, dtype in STORAGES.items() if name != "UntypedStorage"}


class Skipping(threading.local):
    """Whether numbers are left out of files: `serialization.skip_data`."""

    active = False


skipping = Skipping()


class _Name:
    """A class or function that is written by a name of PyTorch's."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self, *arguments):
        return torch_names.TABLE[f"{self.module}.{self.name}"](*arguments)


_REBUILD = _Name("torch._utils", "_rebuild_tensor_v2")
_REBUILD_BYTES = _Name("torch._utils", "_rebuild_tensor_v3")
_REBUILD_PARAMETER = _Name("torch._utils", "_rebuild_parameter")
_REBUILD_PARAMETER_STATE = _Name("torch._utils", "_rebuild_parameter_with_state")
_REBUILD_SUBCLASS = _Name("torch._tensor", "_rebuild_from_type_v2")
_REBUILD_META = _Name("torch._utils", "_rebuild_meta_tensor_no_storage")
_UNTYPED = _Name("torch.storage", "UntypedStorage")


def _unit(block: "_Block") -> int:
    """How many elements of its storage class an element is: bytes, where PyTorch has no class for the dtype."""
    return 1 if block.first._m.dtype.name in _CLASSES else block.size


class _Block:
    """The numbers of one storage: what part of it the tensors lie in, known when all are pickled."""

    def __init__(self, key: str, first: Tensor):
        self.key, self.first, self.tensors = key, first, [first]
        self.root = root_of(first)
        self.size = first._m.dtype.itemsize

    def begin(self, tensor: Tensor) -> int:
        return (address(tensor._d) - address(self.root)) // self.size if len(tensor._d) else 0

    @property
    def low(self) -> int:
        return min(self.begin(tensor) for tensor in self.tensors)

    @property
    def count(self) -> int:
        return max(self.begin(tensor) + len(tensor._d) for tensor in self.tensors) - self.low

    def bytes(self) -> np.ndarray:
        low, count, m = self.low, self.count, self.first._m
        part = alias(self.first, self.root[low : low + count], meta(m.dtype, (count,), m.device))
        return part._stored().view(np.uint8)


class _Whole:
    """A storage as a value: a block, and whether it is one of bytes."""

    def __init__(self, block: _Block, untyped: bool):
        self.block, self.untyped = block, untyped


class _Source:
    """A class of modules with its source, which `load` compares."""

    def __init__(self, kind: type, file: str, text: str):
        self.kind, self.file, self.text = kind, file, text


class _Offset:
    """Where a tensor begins in the part of its storage that is saved."""

    def __init__(self, block: _Block, tensor: Tensor):
        self.block, self.tensor = block, tensor


class _Plain:
    """Takes the place of a pickler's framer: opcodes are kept as parts, some of which are functions until the end."""

    _FRAME_SIZE_TARGET = 1 << 62

    def __init__(self):
        self.parts: list = []

    def write(self, *parts):
        self.parts += parts

    write_large_bytes = write

    def start_framing(self):
        pass

    end_framing = start_framing

    def commit_frame(self, force=False):
        pass

    def bytes(self) -> bytes:
        return b"".join(cast(bytes, part() if callable(part) else part) for part in self.parts)


class _Storages:
    """The storages of the tensors that a pickler meets, and how those are reduced."""

    blocks: "dict[int, _Block]"
    kept: list  # what ids are remembered of stays alive

    def block(self, tensor: Tensor) -> _Block:
        key = id(storage_of(tensor))
        block = self.blocks.get(key)
        if block is None:
            block = self.blocks[key] = _Block(str(len(self.blocks)), tensor)
            self.kept.append(tensor)
        elif block.first._m.dtype is not tensor._m.dtype:
            if not block.first._m.numel:
                block = self.blocks[key, tensor._m.dtype.name] = _Block(str(len(self.blocks)), tensor)  # type: ignore[index]
                self.kept.append(tensor)
                return block
            raise RuntimeError(
                "save: Cannot save multiple tensors or storages that view the same data as different types, got "
                f"{block.first._m.dtype!r} and {tensor._m.dtype!r}; save a clone() of one of them"
            )
        else:
            block.tensors.append(tensor)
        return block

    def whole(self, storage: UntypedStorage | TypedStorage) -> "_Whole":
        """All of a storage that is pickled itself."""
        untyped = isinstance(storage, UntypedStorage)
        return _Whole(self.block(storage._tensor(dtypes.uint8 if untyped else storage.dtype)), untyped)

    def reducer_override(self, value):
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, dtypes.dtype):
            return value.name
        if isinstance(value, Module):
            made = value.__reduce_ex__(2)
            if isinstance(made, tuple) and len(made) > 2 and isinstance(made[2], dict):
                return *made[:2], to_torch(value, made[2]), *made[3:]
            return made
        return NotImplemented

    def tensor(self, tensor: Tensor):
        """How a tensor is pickled: the function that makes it, and its arguments."""
        kind, state = type(tensor), attributes(tensor)
        if kind.__reduce_ex__ is not Tensor.__reduce_ex__ and kind is not Parameter:
            return tensor.__reduce_ex__(2)
        parameter = kind is Parameter
        plain = tensor if tensor.is_leaf else tensor.detach()
        m = tensor._m
        hooks: dict = collections.OrderedDict()
        where = tuple(m.shape), tuple(m.strides), tensor.requires_grad and not parameter
        if m.device is META:
            if skipping.active:
                warnings.warn("meta device under skip_data context manager is a no-op", stacklevel=2)
            function, arguments = _REBUILD_META, (m.dtype, *where)
        else:
            block = self.block(plain)
            function, arguments = _REBUILD, (block, _Offset(block, plain), *where, hooks)
            if m.dtype.name not in _CLASSES:
                function, arguments = _REBUILD_BYTES, (*arguments, m.dtype)
        if kind is Tensor and not state:
            return function, arguments
        if parameter:
            made = (function, arguments)
            data = _Call(*made)
            if state:
                return _REBUILD_PARAMETER_STATE, (data, tensor.requires_grad, hooks, state)
            return _REBUILD_PARAMETER, (data, tensor.requires_grad, hooks)
        own = getattr(kind, "__getstate__", None)
        if own is not None and own is not getattr(object, "__getstate__", None):
            state = tensor.__getstate__()
        else:
            slots = slots_of(tensor)
            state = (state, slots) if slots else state
        return _REBUILD_SUBCLASS, (function, kind, arguments, state)


class _Call:
    """A value that is pickled as a call."""

    def __init__(self, function, arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


class _Pickler(_Storages, pickle._Pickler):  # type: ignore[name-defined,misc]
    """Python's pickler, with PyTorch's names for our classes, and tensors whose numbers are kept apart.

    Where a tensor lies in its storage is known at the end, so that only the used part of a storage is written.
    """

    dispatch: dict[Any, Any] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined,assignment]

    def __init__(self, protocol: int, description: bytes = b"", with_sources: bool = False):
        super().__init__(io.BytesIO(), protocol)
        self.description = description  # what a storage's has behind the usual five values
        self.sourced: set[type] | None = set() if with_sources else None  # classes whose source was looked for
        self.framer = _Plain()
        self.write = self._write_large_bytes = self.framer.write
        self.blocks, self.kept = {}, []

    def pickled(self, value) -> bytes:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, 10_000))  # some ten calls a level, where the pickler in C has one
        try:
            self.dump(value)
        finally:
            sys.setrecursionlimit(limit)
        return self.framer.bytes()

    def _save_name(self, name: _Name):
        self.save_global(name)

    dispatch[_Name] = _save_name

    def save_global(self, obj, name=None):
        found = (obj.module, obj.name) if isinstance(obj, _Name) else written_as(obj, name)
        if found is None:
            super().save_global(obj, name)
            return
        if self.proto >= 4:
            for part in found:
                self.save(part)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + "\n".join((*found, "")).encode())
        self.memoize(obj)

    dispatch[types.FunctionType] = save_global

    def _save_type(self, kind):
        if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
            self.save_global(kind)
        else:
            self.save_type(kind)

    dispatch[type] = _save_type

    def persistent_id(self, value):
        if type(value) not in _PERSISTENT:
            return self._source(value) if self.sourced is not None and isinstance(value, type) else None
        return _Whole(value, False) if isinstance(value, _Block) else self.whole(value)

    def _source(self, kind: type) -> _Source | None:
        """The source of a class of the user's modules, when it is met for the first time."""
        if not issubclass(kind, Module) or kind in self.sourced or written_as(kind) is not None:  # type: ignore[operator]
            return None
        self.sourced.add(kind)  # type: ignore[union-attr]
        try:
            return _Source(kind, inspect.getsourcefile(kind) or "", inspect.getsource(kind))
        except (OSError, TypeError):
            warnings.warn(
                f"Couldn't retrieve source code for container of type {kind.__name__}. It won't be checked for correctness "
                "upon loading.", stacklevel=2,
            )  # fmt: skip
            return None

    def save_pers(self, whole: "_Whole | _Source"):
        if isinstance(whole, _Source):
            self.save(("module", whole.kind, whole.file, whole.text))
            self.write(pickle.BINPERSID)
            return
        block, dtype = whole.block, whole.block.first._m.dtype.name
        self.write(pickle.MARK)
        self.save("storage")
        self.save(_UNTYPED if whole.untyped else _STORAGE_NAMES.get(dtype, _UNTYPED))
        self.save(block.key)
        self.save(str(block.first._m.device))
        self.write(lambda: _integer(block.count * _unit(block)), self.description, pickle.TUPLE, pickle.BINPERSID)

    def _save_offset(self, offset: _Offset):
        self.write(lambda: _integer(offset.block.begin(offset.tensor) - offset.block.low))

    dispatch[_Offset] = _save_offset

    def _save_call(self, call: _Call):
        self.save_reduce(*call.made)

    dispatch[_Call] = _save_call

    def _save_list(self, values: list):
        if len(values) > 32 and self.proto < 4 and set(map(type, values)) <= _LEAVES:
            self.write(_pickled_in_c(values, self.proto))
            self.memoize(values)
        else:
            self.save_list(values)

    dispatch[list] = _save_list


_PERSISTENT = frozenset((_Block, UntypedStorage, TypedStorage, *CLASSES.values()))
_STORAGE_NAMES = {dtype: _Name("torch", name) for dtype, name in _CLASSES.items()}
_LEAVES = frozenset((int, float, bool, str, type(None)))


def _pickled_in_c(values: list, protocol: int) -> bytes:
    """The opcodes of a list of plain values, which need no memo."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol)
    pickler.fast = True
    pickler.dump(values)
    return stream.getvalue()[2:-1]


def _integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _with_module(pickle_module: Any, value: Any, protocol: int) -> tuple[bytes, list[_Block]]:
    """The pickle that the ``Pickler`` of another module makes, and the blocks."""

    class Pickler(_Storages, pickle_module.Pickler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.blocks, self.kept = {}, []

        def reducer_override(self, value):
            if isinstance(value, _Offset):
                return int, (value.block.begin(value.tensor),)
            if isinstance(value, _Name):
                return _named, (value.module, value.name)
            found = _Storages.reducer_override(self, value)
            other = getattr(super(_Storages, self), "reducer_override", None)
            return other(value) if found is NotImplemented and other is not None else found

        def persistent_id(self, value):
            if type(value) not in _PERSISTENT:
                return None
            whole = _Whole(value, False) if isinstance(value, _Block) else self.whole(value)
            block, dtype = whole.block, whole.block.first._m.dtype
            typed = dtype.name in _CLASSES and not whole.untyped
            count = len(block.root) * (1 if typed else block.size)
            return "storage", _CLASSES[dtype.name] if typed else "UntypedStorage", block.key, str(block.first._m.device), count

    stream = io.BytesIO()
    pickler = Pickler(stream, protocol=protocol)
    pickler.dump(value)
    return stream.getvalue(), list(pickler.blocks.values())


def _named(module: str, name: str) -> Any:
    """What a name of PyTorch's stands for: in pickles that another module's pickler made."""
    return torch_names.TABLE[f"{module}.{name}"]


def _pickled(value: Any, protocol: int, *options) -> tuple[bytes, list[_Block]]:
    pickler = _Pickler(protocol, *options)
    text = pickler.pickled(value)
    return text, list(pickler.blocks.values())


def zip_parts(obj: Any, prefix: str, pickle_module: Any, protocol: int) -> Iterator[Any]:
    """The bytes of the archive that holds ``obj``, part after part. The object is pickled before this returns."""
    if pickle_module in (None, pickle):
        pickled, blocks = _pickled(obj, protocol)
    else:
        pickled, blocks = _with_module(pickle_module, obj, protocol)
        for block in blocks:
            block.tensors = [alias(block.first, block.root, meta(block.first._m.dtype, (len(block.root),), block.first.device))]
    skipped = skipping.active
    entries: list[tuple[str, archive.Contents]] = [("data.pkl", pickled), ("byteorder", sys.byteorder.encode())]
    entries += [(f"data/{block.key}", block.count * block.size if skipped else block.bytes) for block in blocks]
    return archive.parts(prefix, [*entries, ("version", b"3\n")])


def stream_parts(obj: Any, protocol: int) -> Iterator[Any]:
    """The bytes of the stream that holds ``obj``, as PyTorch wrote it before version 1.6."""
    if skipping.active:
        raise RuntimeError("save: Cannot use skip_data=True with _use_new_zipfile_serialization=False")
    pickled, blocks = _pickled(obj, protocol, pickle.NONE, True)  # None: no view of another storage
    system = {
        "protocol_version": PROTOCOL, "little_endian": sys.byteorder == "little",
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }  # fmt: skip
    yield b"".join(pickle.dumps(value, protocol) for value in (MAGIC, PROTOCOL, system))
    yield pickled
    yield pickle.dumps([block.key for block in blocks], protocol)
    for block in blocks:
        yield struct.pack("<q", block.count * _unit(block))
        yield block.bytes()
