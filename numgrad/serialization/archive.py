"""The zip archive that PyTorch's files are: uncompressed entries, each aligned so that it can be mapped into memory."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np

from ..errors import FileError

ZIP = b"PK\x03\x04"  # what an archive begins with
ALIGNMENT = 64  # where entries' contents begin
_WIDE = 0xFFFFFFFF  # what a 32-bit field says where the number is in a 64-bit one

# The contents of an entry: bytes, an array of bytes, a function that returns one, or the size of a gap left for it.
Contents: TypeAlias = "bytes | np.ndarray | int | Callable[[], np.ndarray]"

# --- writing -----------------------------------------------------------------------------------------------------


class Checksums:
    """Whether archives are written with the checksums of their entries."""

    computed = True


def parts(prefix: str, entries: Iterable[tuple[str, Contents]]) -> Iterator[Any]:
    """The bytes of an archive with these entries, part after part; nothing has to be sought."""
    directory, at = [], 0
    for name, body in entries:
        data: Any = body() if callable(body) else body
        size = data if isinstance(data, int) else len(data)
        checksum = zlib.crc32(data) if not isinstance(data, int) and Checksums.computed else 0
        header, record = _headers(f"{prefix}/{name}".encode(), size, checksum, at)
        yield header
        if isinstance(data, int):
            yield from _gap(data)
        else:
            yield data
        directory.append(record)
        at += len(header) + size
    text = b"".join(directory)
    yield text + _end(len(directory), len(text), at)


def _gap(size: int) -> Iterator[bytes]:
    zeros = bytes(min(size, 1 << 20))
    for begin in range(0, size, 1 << 20):
        yield zeros[: size - begin]


def _headers(name: bytes, size: int, checksum: int, at: int) -> tuple[bytes, bytes]:
    """What stands before an entry's contents, which begin at a multiple of the alignment, and its place in the directory."""
    flags = 0 if name.isascii() else 0x800
    wide = size >= _WIDE
    fields = struct.pack("<HHHHHIII", 45 if wide else 20, flags, 0, 0, 0x21, checksum, *[_WIDE if wide else size] * 2)
    extra = struct.pack("<HHQQ", 1, 16, size, size) if wide else b""
    padding = -(at + 30 + len(name) + len(extra) + 4) % ALIGNMENT
    padded = extra + b"FB" + struct.pack("<H", padding) + bytes(padding)
    header = ZIP + fields + struct.pack("<HH", len(name), len(padded)) + name + padded
    if at >= _WIDE:
        numbers = ([size, size] if wide else []) + [at]
        extra = struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers)
    elif wide:
        extra = struct.pack("<HHQQ", 1, 16, size, size)
    record = b"PK\x01\x02" + struct.pack("<H", 45 if wide or at >= _WIDE else 20) + fields
    record += struct.pack("<HHHHHII", len(name), len(extra), 0, 0, 0, 0, min(at, _WIDE)) + name + extra
    return header, record


def _end(count: int, size: int, at: int) -> bytes:
    """The end of an archive: where its directory of ``count`` entries is."""
    found = b""
    if count >= 0xFFFF or size >= _WIDE or at >= _WIDE:
        found = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, at)
        found += b"PK\x06\x07" + struct.pack("<IQI", 0, at + size, 1)
    narrow = min(count, 0xFFFF)
    return found + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, narrow, narrow, min(size, _WIDE), min(at, _WIDE), 0)


# --- reading -----------------------------------------------------------------------------------------------------

_DAMAGE = (
    zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OSError, EOFError, OverflowError, MemoryError,
    IndexError, KeyError, RuntimeError,
)  # fmt: skip


class Archive:
    """The entries of an archive in memory. ``checked``: whether their checksums are looked at, which reads all of them."""

    def __init__(self, data: np.ndarray, label: str, checked: bool = True):
        self.bytes, self.label, self.checked = data, label, checked
        try:
            with zipfile.ZipFile(io.BufferedReader(_Raw(data))) as archive:
                listed = archive.infolist()
        except _DAMAGE as error:
            raise FileError(f"load: {label} is no whole zip archive ({error}); copy or save it again") from error
        self.entries = {entry.filename: entry for entry in listed}
        if len(self.entries) != len(listed):
            raise FileError(f"load: {label} is damaged: it has two entries of one name; save it again")
        if sum(entry.file_size for entry in listed) > data.size:
            raise FileError(f"load: {label} is damaged: its entries are longer than it is itself; save it again")
        self.prefix = ""

    def place(self, entry: zipfile.ZipInfo) -> int:
        """Where the contents of an entry begin."""
        name, start = entry.filename.removeprefix(self.prefix), entry.header_offset
        header = self.bytes[start : start + 30].tobytes() if start >= 0 else b""
        if len(header) < 30 or header[:4] != ZIP:
            raise FileError(f"load: {self.label} is damaged: entry {name!r} is not where it should be; save it again")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise FileError(
                f"load: {self.label}: entry {name!r} is compressed or encrypted, which torch.save does not do; unpack the "
                "archive and zip it without compression (zip -0)"
            )
        return start + 30 + sum(struct.unpack("<HH", header[26:30]))

    def read(self, entry: zipfile.ZipInfo) -> np.ndarray:
        """The bytes of an entry, in place."""
        name, begin = entry.filename.removeprefix(self.prefix), self.place(entry)
        data = self.bytes[begin : begin + entry.file_size]
        if data.size != entry.file_size or entry.compress_size != entry.file_size:
            raise FileError(f"load: {self.label} is damaged: entry {name!r} is cut off; save it again")
        if self.checked and entry.CRC and zlib.crc32(data.data) != entry.CRC:  # 0: saved without checksums
            raise FileError(f"load: {self.label} is damaged: the checksum of entry {name!r} is wrong; save it again")
        return data


class _Raw(io.RawIOBase):
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


# --- entries by hand -----------------------------------------------------------------------------------------------


class Zip:
    """The records of an archive by the names that PyTorch's reader has for them; a context."""

    def __init__(self, data: np.ndarray, label: str):
        self._archive = archive = Archive(data, label, False)
        first = next(iter(archive.entries), "")
        archive.prefix = self._prefix = first.partition("/")[0] + "/" if "/" in first else ""

    def __enter__(self) -> "Zip":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = self._archive.entries.get(self._prefix + name)
        if entry is None:
            raise RuntimeError(f"PytorchStreamReader failed locating file {name}: file not found")
        return entry

    def has_record(self, name: str) -> bool:
        """Whether there is such an entry."""
        return self._prefix + name in self._archive.entries

    def get_all_records(self) -> list[str]:
        """The names of the entries."""
        return [name.removeprefix(self._prefix) for name in self._archive.entries]

    def get_record(self, name: str) -> bytes:
        """The contents of an entry."""
        return self._archive.read(self._entry(name)).tobytes()

    def get_record_offset(self, name: str) -> int:
        """Where the contents of an entry begin in the file."""
        return self._archive.place(self._entry(name))


class ZipWriter:
    """Collects the records of an archive, which is written at the end of the context."""

    def __init__(self, f: Any):
        self._file = f
        self._entries: list[tuple[str, Contents]] = []

    def __enter__(self) -> "ZipWriter":
        return self

    def __exit__(self, kind: Any, *exception: Any) -> None:
        if kind is None:
            from .files import write

            write(self._file, parts("archive", self._entries))

    def write_record(self, name: str, data: bytes | str, size: int) -> None:
        """Add an entry with these contents."""
        self._entries.append((name, (data.encode() if isinstance(data, str) else bytes(data))[:size]))

    def write_record_metadata(self, name: str, size: int) -> None:
        """Add an entry of that size, whose contents are left out."""
        self._entries.append((name, size))
