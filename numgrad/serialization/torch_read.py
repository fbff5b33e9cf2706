"""Reads the files that PyTorch's ``torch.save`` writes: the zip archive, and the stream of pickles before version 1.6.

What the files hold beside numbers is data: a pickle that can only name what `torch_names` lists. Every size, offset and
stride is checked against the bytes that are there.
"""

import enum
import functools
import inspect
import io
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import FileError
from ..storages import UntypedStorage, storage_behind, typed
from ..tensor import Tensor, from_array, lay, storage_of
from . import torch_names
from .archive import ZIP, Archive
from .files import MapLocation, place
from .globals import written_as
from .importing import Importing
from .torch_names import Kind, Weights
from .torch_write import MAGIC, PROTOCOL
from .unpickle import Damaged, Interpreter, Names, Refused, device_name


class LoadEndianness(enum.Enum):
    """The byte order of files that do not say theirs."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


class Endianness:
    """What `serialization.set_default_load_endianness` was told."""

    default: LoadEndianness | None = None



def is_stream(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is of PyTorch's before version 1.6: its first pickle is a number."""
    return head.startswith(b"\x80") and MAGIC.to_bytes(10, "little") in head


def _sizes(name: str) -> int:
    """Bytes of one element."""
    return dtypes.BY_NAME[name].itemsize


def _elements(data: np.ndarray, name: str, big_endian: bool, label: str) -> np.ndarray:
    """The elements of the dtype ``name`` in ``data``, bytes that are this tensor's own."""
    stored = dtypes.BY_NAME[name].np
    if data.__array_interface__["data"][0] % stored.itemsize:
        data = data.copy()
    values = data.view(stored)
    if big_endian and stored.itemsize > 1:
        whole = stored if stored.kind == "c" else np.dtype(f"u{stored.itemsize}")  # a complex number is two of them
        values = values.view(whole).byteswap().view(stored)
    return values


class SourceChangeWarning(Warning):
    """The source of a class has changed since a file was written."""


def _compare_source(kind: type, source: str) -> None:
    """Warn where the source of a class of the user's is not ``source``, which a file has."""
    if written_as(kind) is not None:  # PyTorch's, whose source is another
        return
    try:
        now = inspect.getsource(kind)
    except (OSError, TypeError):
        warnings.warn(
            f"Couldn't retrieve source code for container of type {kind.__name__}. It won't be checked for correctness upon "
            "loading.", stacklevel=2,
        )  # fmt: skip
        return
    if now != source:
        warnings.warn(
            f"source code of class '{kind.__module__}.{kind.__qualname__}' has changed since the file was written: what it "
            "restores may not fit the class. Save it again with the present one", SourceChangeWarning, stacklevel=2,
        )  # fmt: skip


class _Reader:
    """Makes each storage once, as a flat tensor on the device that it belongs to."""

    def __init__(self, label: str, map_location: MapLocation):
        self.label, self.map_location = label, map_location
        self.roots: dict[str, tuple[Tensor, str, int]] = {}
        self.views: dict[tuple[str, str], Tensor] = {}
        self.storages: dict[tuple, UntypedStorage] = {}
        self.big_endian = False

    def storage(self, identity: Any) -> Any:
        """What a persistent id stands for: ``("storage", class, key, device, count)``, of old files with a view, or
        ``("module", class, file, source)``."""
        if not isinstance(identity, tuple) or not identity:
            raise Damaged("a persistent id that is no tuple")
        identity = tuple(part.decode("latin-1") if isinstance(part, bytes) else part for part in identity)
        if identity[0] == "module" and len(identity) == 4:
            if isinstance(identity[1], type) and isinstance(identity[3], str):
                _compare_source(identity[1], identity[3])
            return identity[1]
        if len(identity) < 5 or identity[0] != "storage":
            raise Damaged(f"the persistent id {identity[0]!r:.80}")
        kind, key, location, count = identity[1:5]
        kind = torch_names.TABLE.get(f"torch.{kind}") if isinstance(kind, str) else kind
        if not isinstance(kind, Kind) or not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**62:
            raise Damaged("a storage without class, key or size")
        known = self.roots.get(key)
        if known is None:
            self.roots[key] = known = self.root(key, kind.dtype, device_name(location), count), kind.dtype, count
        if known[1:] != (kind.dtype, count):
            raise Damaged(f"two storages {key!r}, of {known[2]} {known[1]} and of {count} {kind.dtype} elements")
        part = identity[5] if len(identity) > 5 else None
        begin, length = 0, count
        if part is not None:
            _, begin, length = part
            if not all(type(n) is int for n in (begin, length)) or not 0 <= begin <= begin + length <= count:
                raise Damaged(f"a part of {length} elements at {begin} of a storage of {count}")
        found = self.storages.get((key, begin, length))
        if found is None:
            found = storage_behind(known[0])
            if (begin, length) != (0, count):
                size = known[0]._m.dtype.itemsize
                found = found[begin * size : (begin + length) * size]
            self.storages[key, begin, length] = found
            found.lay_over = functools.partial(self.laid, key, kind.dtype, begin, length)
        return found if kind.untyped else typed(found, known[0]._m.dtype)

    def laid(self, key: str, own: str, begin: int, count: int, name: str, offset, size, stride) -> Tensor:
        """A tensor over ``count`` elements of the dtype ``own`` from ``begin`` on of a storage, read as ``name``."""
        root = self.roots[key][0]
        if name != own and name != root._m.dtype.name:
            root = self.viewed(key, root, name)
            begin, count = begin * _sizes(own) // _sizes(name), count * _sizes(own) // _sizes(name)
        try:
            return lay("load", root, offset, size, stride, begin=begin, count=count)
        except (RuntimeError, TypeError) as error:
            raise Damaged(f"a tensor that does not fit its storage ({error})") from error

    def done(self, found: Any) -> Any:
        """What was read: its storages let go of the reader."""
        for storage in self.storages.values():
            del storage.lay_over
        return found

    def viewed(self, key: str, root: Tensor, name: str) -> Tensor:
        """The storage of bytes as one of the dtype ``name``."""
        found = self.views.get((key, name))
        if found is None:
            if root._m.dtype is not dtypes.uint8:
                raise Damaged(f"a storage of {root._m.dtype.name} numbers, which is read as {name}")
            if root.device.type == "cpu":
                size = _sizes(name)
                values = _elements(root._d[: len(root._d) // size * size], name, self.big_endian, self.label)
                found = from_array(values)
                if values.base is not None and name in dtypes.BY_NAME:
                    found._s = storage_of(root)
            else:
                found = root.view(dtypes.BY_NAME[name])
            self.views[key, name] = found
        return found

    def placed(self, data: np.ndarray, name: str, location: str) -> Tensor:
        """A flat tensor over ``data``, where it belongs."""
        root = place(from_array(data), location, self.map_location, self.label)
        storage = storage_of(root)
        if storage.root is None:
            storage.root = root._d
        return root

    def root(self, key: str, name: str, location: str, count: int) -> Tensor:
        """All of a storage as a flat tensor."""
        raise NotImplementedError


def interpreted(label: str, names: Names, encoding: tuple[str, str], data, at: int, storage: Callable) -> tuple[Any, int]:
    """The object whose pickle begins at ``at``, and where it ends."""
    interpreter = Interpreter(names, storage, *encoding)
    try:
        return interpreter.run(data, at), interpreter.at
    except Refused as error:
        short = ", ".join(name.rpartition(".")[2] for name in error.names)
        raise FileError(
            f"load: Weights only load failed: {label} needs {', '.join(error.names)}, which are not loaded with "
            "weights_only=True: files are read as data then, and nothing in them is executed. Unsupported global: GLOBAL "
            f"{error.names[0]} was not an allowed global by default. Please use "
            f"`torch.serialization.add_safe_globals([{short}])` or the `torch.serialization.safe_globals([{short}])` context "
            "manager to allowlist it, if you trust what it does. If you trust the file and where it comes from, "
            "weights_only=False loads all that it holds, whole modules too; but a file can then execute any code"
        ) from None
    except Damaged as error:
        raise FileError(f"load: {label} is damaged: its pickle has {error}; save it again") from error


# --- the zip archive ---------------------------------------------------------------------------------------------


class _ZipReader(_Reader):
    def __init__(self, data: np.ndarray, label: str, map_location: MapLocation, mapped: bool):
        super().__init__(label, map_location)
        self.archive = archive = Archive(data, label, not mapped)
        pickles = [name for name in archive.entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            listed = ", ".join(list(archive.entries)[:5])
            raise FileError(
                f"load: {label} is a zip archive, but none that torch.save wrote: expected one entry data.pkl, found "
                f"{len(pickles)} among {listed}"
            )
        self.prefix = archive.prefix = pickles[0].removesuffix("data.pkl")
        if f"{self.prefix}constants.pkl" in archive.entries:
            raise FileError(
                f"load: {label} is a TorchScript program (torch.jit.save), which numgrad does not run. Cannot use "
                "``weights_only=True`` with TorchScript archives passed to ``torch.load``, nor False here; save the "
                "state_dict() of the model with torch.save"
            )
        order = archive.entries.get(f"{self.prefix}byteorder")  # not in files of versions before 2.1
        if order is None:
            self.big_endian = Endianness.default is LoadEndianness.BIG or (
                Endianness.default is LoadEndianness.NATIVE and sys.byteorder == "big"
            )
        else:
            named = archive.read(order).tobytes()
            if named not in (b"little", b"big"):
                raise FileError(f"load: {label} is damaged: its byte order is {named[:20]!r}; save it again")
            self.big_endian = named == b"big"

    def root(self, key, name, location, count):
        entry = self.archive.entries.get(f"{self.prefix}data/{key}")
        if entry is None:
            raise Damaged(f"a storage {key!r} that the archive has no entry for")
        needed = count * _sizes(name)
        if needed > entry.file_size:
            raise Damaged(f"a storage {key!r} of {needed} bytes, of which the archive has {entry.file_size}")
        data = self.archive.read(entry)[:needed]
        return self.placed(_elements(data, name, self.big_endian, self.label), name, location)


def read_zip(
    data: np.ndarray, label: str, map_location: MapLocation, encoding: tuple, mapped: bool, names: Names,
    pickle_module: Any = None,
) -> Any:  # fmt: skip
    """The object in a zip archive. Its tensors lie in ``data``; where that is ``mapped``, checksums are not looked at.

    It is read by the ``Unpickler`` of ``pickle_module``, where one is given.
    """
    reader = _ZipReader(data, label, map_location, mapped)
    pickled = reader.archive.read(reader.archive.entries[f"{reader.prefix}data.pkl"]).tobytes()
    if pickle_module is not None:
        return reader.done(_by_module(pickle_module, io.BytesIO(pickled), label, reader, encoding))
    return reader.done(interpreted(label, names, encoding, pickled, 0, reader.storage)[0])


def _by_module(pickle_module: Any, stream: io.BytesIO, label: str, reader: _Reader, encoding: tuple[str, str]) -> Any:
    """What the ``Unpickler`` of another module makes of a pickle."""
    names = Importing(label)

    class Unpickler(pickle_module.Unpickler):
        def find_class(self, module, name):
            return names.find(module, name) if module.partition(".")[0] == "torch" else super().find_class(module, name)

        def persistent_load(self, identity):
            return reader.storage(identity)

    return Unpickler(stream, encoding=encoding[0], errors=encoding[1]).load()


# --- the stream of pickles ---------------------------------------------------------------------------------------


class _StreamReader(_Reader):
    """The numbers stand behind the pickle: storages are filled once their order is known."""

    def __init__(self, label: str, map_location: MapLocation, available: int):
        super().__init__(label, map_location)
        self.available = available

    def root(self, key, name, location, count):
        self.available -= count * _sizes(name) + 1
        if self.available < 0:
            raise Damaged(f"storages of more elements than the file holds: {count} in {key!r}")
        return self.placed(np.empty(count, dtypes.BY_NAME[name].np), name, location)

    def fill(self, key: str, data: np.ndarray) -> None:
        root, name, _ = self.roots[key]
        if root.device.type == "cpu" and not self.big_endian:
            root._d.view(np.uint8)[:] = data
        else:
            root.detach().copy_(from_array(_elements(data, name, self.big_endian, self.label)))


def read_stream(
    data: np.ndarray, label: str, map_location: MapLocation, encoding: tuple, names: Names, pickle_module: Any = None
) -> tuple[Any, int]:
    """The object in a file of PyTorch's before 1.6, five pickles and then the storages' numbers; and where it ends.

    The object is read by the ``Unpickler`` of ``pickle_module``, where one is given.
    """

    def no_storage(identity):
        raise Damaged("a storage where none can be")

    view, at, header = data.data, 0, []
    for _ in range(3):
        value, at = interpreted(label, Weights(), encoding, view, at, no_storage)
        header.append(value)
    magic, protocol, system = header
    if magic != MAGIC or protocol != PROTOCOL or not isinstance(system, dict):
        raise FileError(f"load: {label} is no file that torch.save wrote: its header says version {protocol!r:.80}")
    reader = _StreamReader(label, map_location, data.size)
    reader.big_endian = system.get("little_endian") is False
    if pickle_module is None:
        found, at = interpreted(label, names, encoding, view, at, reader.storage)
    else:
        stream = io.BytesIO(view[at:])
        found = _by_module(pickle_module, stream, label, reader, encoding)
        at += stream.tell()
    keys, at = interpreted(label, Weights(), encoding, view, at, no_storage)
    keys = [key.decode("latin-1") if isinstance(key, bytes) else key for key in keys] if isinstance(keys, list) else keys
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(reader.roots):
        raise FileError(f"load: {label} is damaged: its list of storages does not fit its contents; save it again")
    for key in keys:
        _, dtype, count = reader.roots[key]
        prefix = data[at : at + 8].tobytes()
        size = count * _sizes(dtype)
        said = int.from_bytes(prefix, "big" if reader.big_endian else "little")
        if len(prefix) < 8 or said != count or at + 8 + size > data.size:
            raise FileError(
                f"load: {label} is cut off or damaged: expected {count} elements of storage {key!r} at byte {at}, found "
                f"{said if len(prefix) == 8 else 'the end of the file'}; copy or save it again"
            )
        reader.fill(key, data[at + 8 : at + 8 + size])
        at += 8 + size
    return reader.done(found), at


# --- names -------------------------------------------------------------------------------------------------------


def unsafe_names(data: np.ndarray, label: str) -> list[str]:
    """The names in an archive's pickle that ``weights_only=True`` refuses."""
    if not data[:4].tobytes() == ZIP:
        raise ValueError(f"{label}: expected an archive that torch.save wrote")
    reader = _ZipReader(data, label, "cpu", True)
    pickled = reader.archive.read(reader.archive.entries[f"{reader.prefix}data.pkl"])
    try:
        Interpreter(Weights(), reader.storage).run(pickled.tobytes())
    except Refused as error:
        return error.names
    return []
