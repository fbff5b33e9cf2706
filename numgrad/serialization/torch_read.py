"""Reads the files that PyTorch's ``torch.save`` writes: the zip archive, and the stream of pickles before version 1.6.

What the files hold beside numbers is data: a pickle that can only name what `torch_names` lists. Every size, offset and
stride is checked against the bytes that are there.
"""

import io
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import FileError
from ..layout import span
from ..storage import meta, strided_meta
from ..tensor import Tensor, from_array, make, storage_of, view
from .files import MapLocation, place
from .torch_names import Kind
from .unpickle import Cursor, Damaged, Interpreter, Refused, device_name, element_type

_MAGIC = 0x1950A86A20F9469CFC6C
ZIP = b"PK\x03\x04"
HEAD = 32  # bytes at the beginning of a file that tell its format

# Dtypes without counterpart here: stored as, read as (the same values, wider).
_WIDENED = {
    "uint16": ("<u2", "int32"), "uint32": ("<u4", "int64"),
}  # fmt: skip
_REFUSED = {"uint64": 8}


def is_stream(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is of PyTorch's before version 1.6: its first pickle is a number."""
    return head.startswith(b"\x80") and _MAGIC.to_bytes(10, "little") in head


def _sizes(name: str) -> int:
    """Bytes of one element."""
    if name in dtypes.BY_NAME:
        return dtypes.BY_NAME[name].itemsize
    return np.dtype(_WIDENED[name][0]).itemsize if name in _WIDENED else _REFUSED[name]


def _elements(data: np.ndarray, name: str, big_endian: bool, label: str) -> np.ndarray:
    """The elements of the dtype ``name`` in ``data``, bytes that are this tensor's own."""
    if name in _REFUSED:
        raise FileError(
            f"load: {label} holds a tensor of the dtype {name}, which numgrad does not have; convert it with PyTorch first"
        )
    stored = dtypes.BY_NAME[name].np if name in dtypes.BY_NAME else np.dtype(_WIDENED[name][0])
    if data.__array_interface__["data"][0] % stored.itemsize:
        data = data.copy()
    values = data.view(stored)
    if big_endian and stored.itemsize > 1:
        whole = stored if stored.kind == "c" else np.dtype(f"u{stored.itemsize}")  # a complex number is two of them
        values = values.view(whole).byteswap().view(stored)
    if name in dtypes.BY_NAME:
        return values
    return values.astype(dtypes.BY_NAME[_WIDENED[name][1]].np)


class _Memory:
    """The bytes of one storage, and the tensors over them: what a persistent id of the pickle stands for."""

    def __init__(self, reader: "_Reader", key: str, dtype: str, location: str, count: int, offset: int = 0):
        self.reader, self.key, self.dtype, self.location = reader, key, dtype, location
        self.count, self.offset = count, offset  # in elements

    def tensor(self, offset, size, stride, dtype=None) -> Tensor:
        """The tensor of that geometry, in elements; of ``dtype`` where the storage is of bytes."""
        name = self.dtype if dtype is None else element_type(dtype)
        size, stride = tuple(size), tuple(stride)
        if len(size) != len(stride) or not all(type(n) is int and 0 <= n < 2**62 for n in (offset, *size, *stride)):
            raise Damaged(f"a tensor of the shape {size}, strides {stride}, offset {offset}")
        available = self.count * _sizes(self.dtype) // _sizes(name)
        needed = offset + span(size, stride)
        if needed > available and 0 not in size:
            raise Damaged(
                f"a tensor of the shape {size}, strides {stride}, offset {offset} that needs {needed} elements of a "
                f"storage of {available}"
            )
        root = self.reader.root(self, name)
        if root is None:  # on a first reading for sizes only
            return from_array(np.empty(0, np.float32))
        if 0 in size:
            d, device = root.dtype, root.device
            return make(meta(d, (0,), device).empty(0, d.np), strided_meta(d, size, stride, device))
        return view(root, self.offset + offset, size, stride, False)


class _Reader:
    """Makes each storage once, as a flat tensor on the device that it belongs to."""

    def __init__(self, label: str, map_location: MapLocation):
        self.label, self.map_location = label, map_location
        self.roots: dict[tuple[str, str], Tensor] = {}
        self.big_endian = False

    def storage(self, identity: tuple) -> _Memory:
        """What a persistent id stands for: ``("storage", class, key, device, count)``, of old files with a view."""
        if len(identity) < 5 or identity[0] != "storage":
            raise Damaged(f"the persistent id {identity[:1]!r}")
        kind, key, location, count = identity[1:5]
        if not isinstance(kind, Kind) or not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**62:
            raise Damaged("a storage without class, key or size")
        part = identity[5] if len(identity) > 5 else None
        offset = 0
        if part is not None:
            _, offset, length = part
            if not 0 <= offset <= offset + length <= count:
                raise Damaged(f"a part of {length} elements at {offset} of a storage of {count}")
        memory = _Memory(self, key, kind.dtype, device_name(location), count, offset)
        self.expect(memory)
        if part is not None:
            memory.count = length
        return memory

    def expect(self, memory: _Memory) -> None:
        """Check that the storage is there, as long as the pickle says."""
        raise NotImplementedError

    def data(self, memory: _Memory) -> np.ndarray:
        """The bytes of the storage."""
        raise NotImplementedError

    def root(self, memory: _Memory, name: str) -> Tensor | None:
        """All of the storage as a flat tensor of the dtype ``name``."""
        root = self.roots.get((memory.key, name))
        if root is None:
            data = self.data(memory)
            data = data[: data.size // _sizes(name) * _sizes(name)]
            root = from_array(_elements(data, name, self.big_endian, self.label))
            root = place(root, memory.location, self.map_location)
            storage_of(root).root = root._d
            self.roots[memory.key, name] = root
        return root


def _interpreted(label: str, encoding: str, cursor: Cursor, storage) -> Any:
    try:
        return Interpreter(storage, encoding).run(cursor)
    except Refused as error:
        names = ", ".join(error.names)
        whole = any(name.startswith("torch.nn.modules.") for name in error.names)
        advice = (
            "It holds whole modules, not only their weights: load it with PyTorch and save model.state_dict()"
            if whole
            else "Save only tensors, numbers, strings, lists and dicts, or allow names of your own code with "
            "serialization.add_safe_globals"
        )
        raise FileError(
            f"load: {label} needs {names}, which numgrad does not load: files are read as data, and nothing in them is "
            f"executed. {advice}."
        ) from None
    except Damaged as error:
        raise FileError(f"load: {label} is damaged: its pickle has {error}; save it again") from error


# --- the zip archive ---------------------------------------------------------------------------------------------


class _ZipReader(_Reader):
    def __init__(self, data: np.ndarray, label: str, map_location: MapLocation, mapped: bool):
        super().__init__(label, map_location)
        self.bytes, self.mapped = data, mapped
        try:
            self.archive = zipfile.ZipFile(io.BufferedReader(_RawCursor(data)))
            entries = self.archive.infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OSError, UnicodeDecodeError) as error:
            raise FileError(f"load: {label} is no whole zip archive ({error}); copy or save it again") from error
        self.entries = {entry.filename: entry for entry in entries}
        if len(self.entries) != len(entries):
            raise FileError(f"load: {label} is damaged: it has two entries of one name; save it again")
        pickles = [name for name in self.entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            listed = ", ".join(list(self.entries)[:5])
            raise FileError(
                f"load: {label} is a zip archive, but none that torch.save wrote: expected one entry data.pkl, found "
                f"{len(pickles)} among {listed}"
            )
        self.prefix = pickles[0].removesuffix("data.pkl")
        if f"{self.prefix}constants.pkl" in self.entries:
            raise FileError(
                f"load: {label} is a TorchScript program (torch.jit.save), which numgrad does not run; save the "
                "state_dict() of the model with torch.save"
            )
        order = self.entries.get(f"{self.prefix}byteorder")  # not in files of versions before 2.1
        self.big_endian = order is not None and self.read(order).tobytes() == b"big"

    def read(self, entry: zipfile.ZipInfo) -> np.ndarray:
        """The bytes of an entry, in place."""
        name = entry.filename.removeprefix(self.prefix)
        start = entry.header_offset
        header = self.bytes[start : start + 30].tobytes()
        if len(header) < 30 or header[:4] != ZIP or start < 0:
            raise FileError(f"load: {self.label} is damaged: entry {name!r} is not where it should be; save it again")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise FileError(
                f"load: {self.label}: entry {name!r} is compressed or encrypted, which torch.save does not do; unpack the "
                "archive and zip it without compression (zip -0)"
            )
        lengths = struct.unpack("<HH", header[26:30])
        begin = start + 30 + sum(lengths)
        data = self.bytes[begin : begin + entry.file_size]
        if data.size != entry.file_size or entry.compress_size != entry.file_size:
            raise FileError(f"load: {self.label} is damaged: entry {name!r} is cut off; save it again")
        if not self.mapped and zlib.crc32(data.data) != entry.CRC:
            raise FileError(f"load: {self.label} is damaged: the checksum of entry {name!r} is wrong; save it again")
        return data

    def entry(self, memory: _Memory) -> zipfile.ZipInfo:
        found = self.entries.get(f"{self.prefix}data/{memory.key}")
        if found is None:
            raise Damaged(f"a storage {memory.key!r} that the archive has no entry for")
        return found

    def expect(self, memory):
        needed, found = memory.count * _sizes(memory.dtype), self.entry(memory).file_size
        if needed > found:
            raise Damaged(f"a storage {memory.key!r} of {needed} bytes, of which the archive has {found}")

    def data(self, memory):
        return self.read(self.entry(memory))


class _RawCursor(io.RawIOBase):
    """Bytes in memory as a file, without a copy."""

    def __init__(self, data: np.ndarray):
        self._data, self._at = data.data, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        base = (0, self._at, len(self._data))[whence]
        if base + offset < 0:
            raise OSError("before the beginning")
        self._at = base + offset
        return self._at

    def tell(self):
        return self._at

    def readinto(self, buffer):
        found = self._data[self._at : self._at + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def read_zip(data: np.ndarray, label: str, map_location: MapLocation, encoding: str, mapped: bool) -> Any:
    """The object in a zip archive. Its tensors lie in ``data``; where that is ``mapped``, checksums are not looked at."""
    reader = _ZipReader(data, label, map_location, mapped)
    pickled = reader.read(reader.entries[f"{reader.prefix}data.pkl"])
    return _interpreted(label, encoding, Cursor(pickled), reader.storage)


# --- the stream of pickles ---------------------------------------------------------------------------------------


class _StreamMeasure(_Reader):
    """Notes the sizes of the storages on a first reading: they stand behind the pickle, without their own."""

    def __init__(self, label, available: int):
        super().__init__(label, "cpu")
        self.available = available
        self.expected: dict[str, tuple[str, int]] = {}

    def expect(self, memory):
        if memory.count * _sizes(memory.dtype) > self.available:
            raise Damaged(f"a storage of {memory.count} elements, more than the file holds")
        self.expected.setdefault(memory.key, (memory.dtype, memory.count))

    def root(self, memory, name):
        return None


class _StreamReader(_Reader):
    def __init__(self, label, map_location, blocks: dict[str, np.ndarray]):
        super().__init__(label, map_location)
        self.blocks = blocks

    def expect(self, memory):
        needed = memory.count * _sizes(memory.dtype)
        if needed > self.blocks[memory.key].size:
            raise Damaged(f"a storage {memory.key!r} of {needed} bytes, of which the file has {self.blocks[memory.key].size}")

    def data(self, memory):
        return self.blocks[memory.key].copy()


def read_stream(data: np.ndarray, label: str, map_location: MapLocation, encoding: str) -> Any:
    """The object in a file of PyTorch's before 1.6: five pickles, then the storages' numbers."""

    def no_storage(identity):
        raise Damaged("a storage where none can be")

    cursor = Cursor(data)
    plain = [_interpreted(label, encoding, cursor, no_storage) for _ in range(3)]
    magic, protocol, system = plain
    if magic != _MAGIC or protocol != 1001 or not isinstance(system, dict):
        raise FileError(f"load: {label} is no file that torch.save wrote: its header says version {protocol!r}")
    start = cursor.at
    measure = _StreamMeasure(label, data.size)
    _interpreted(label, encoding, cursor, measure.storage)
    keys = _interpreted(label, encoding, cursor, no_storage)
    if not isinstance(keys, list) or set(keys) - set(measure.expected):
        raise FileError(f"load: {label} is damaged: its list of storages does not fit its contents; save it again")
    big_endian = system.get("little_endian") is False
    blocks, at = {}, cursor.at
    for key in keys:
        dtype, count = measure.expected[key]
        header = data[at : at + 8].tobytes()
        size = count * _sizes(dtype)
        found = int.from_bytes(header, "big" if big_endian else "little")
        if len(header) < 8 or found != count or at + 8 + size > data.size:
            raise FileError(
                f"load: {label} is cut off or damaged: expected {count} elements of storage {key!r} at byte {at}, found "
                f"{found if len(header) == 8 else 'the end of the file'}; copy or save it again"
            )
        blocks[key] = data[at + 8 : at + 8 + size]
        at += 8 + size
    if set(measure.expected) - set(keys):
        raise FileError(f"load: {label} is damaged: it lacks the numbers of some storages; save it again")
    reader = _StreamReader(label, map_location, blocks)
    reader.big_endian = big_endian
    return _interpreted(label, encoding, Cursor(data, start), reader.storage)
