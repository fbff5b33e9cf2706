"""Files as they are on disk: read whole, replaced in one step where that is possible, and where their tensors go."""

import contextlib
import hashlib
import io
import mmap as mapping
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TypeAlias

import numpy as np

from ..device import CPU, Device, resolve
from ..errors import FileError
from ..tensor import Tensor

try:
    import fcntl
except ImportError:  # Windows, which does not let go of files that are open
    fcntl = None  # type: ignore[assignment]

FileLike: TypeAlias = str | os.PathLike[str] | IO[bytes]
MapLocation: TypeAlias = None | str | int | Device | dict[str, str] | Callable[[Tensor, str], Tensor | None]

# --- writing -----------------------------------------------------------------------------------------------------


def write(f: FileLike, parts: Iterable) -> None:
    """Write byte strings and arrays of bytes one after the other to a path or a binary file.

    A regular file is replaced in one step: whoever reads it, also after a crash in the middle, finds the old file or
    the new one. FIFOs, devices and files with several names (hard links) are written in place, and links followed.
    Raises OSError that names the file.
    """
    if not isinstance(f, (str, os.PathLike)):
        _write_parts(f.write, parts)
        if hasattr(f, "flush"):
            f.flush()
        return
    path = os.fsdecode(f)
    target = os.path.realpath(path)  # a link stays one: what it points to is replaced
    with _naming(path):
        if _replaceable(target):
            with replacing(target) as handle:
                _write_parts(lambda part: os.write(handle, part), parts)
        else:
            with open(target, "wb", 0) as file:
                _write_parts(file.write, parts)


def _write_parts(put: Callable, parts: Iterable) -> None:
    for part in parts:
        rest = memoryview(part).cast("B") if len(part) else b""
        while len(rest):
            count = put(rest[: 1 << 30])  # one call writes at most 2 GB
            rest = rest[count if isinstance(count, int) and 0 < count < len(rest) else 1 << 30 :]


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Errors of the system name the file that was asked for, not a temporary one or none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename == path:
            raise
        raise type(error)(error.errno, f"save: {error.strerror}", path) from error


def _replaceable(target: str) -> bool:
    """Whether a rename over ``target`` leaves all else as it was: a regular file of one name and of ours, or none yet."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        return False
    if not os.access(os.path.dirname(target), os.W_OK):
        return False
    return os.name == "nt" or os.geteuid() in (0, found.st_uid)


@contextlib.contextmanager
def replacing(target: str) -> Iterator[int]:
    """Context that gives the descriptor of a temporary file to write, which then takes the place of ``target``.

    What a killed process left of such a file for the same target is removed.
    """
    remove_orphans(target)
    handle, temporary = _temporary(target)
    try:
        yield handle
        _like_former(target, handle)
        flush(handle)
        if os.name == "nt":  # which renames no open file
            os.close(handle)
            handle = -1
        os.replace(temporary, target)
    except BaseException:
        if handle >= 0:
            os.close(handle)
            handle = -1
        os.unlink(temporary)
        raise
    finally:
        if handle >= 0:
            os.close(handle)
    if os.name != "nt":  # the folder's entry too must be on disk; Windows cannot open a folder
        folder = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            flush(folder)
        finally:
            os.close(folder)


def _like_former(target: str, handle: int) -> None:
    """Give the file the permissions and the owner of the one that it replaces, or those of a new one."""
    if os.name == "nt":
        return
    try:
        former = os.stat(target)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(handle, 0o666 & ~mask)
        return
    found = os.fstat(handle)
    if (found.st_uid, found.st_gid) != (former.st_uid, former.st_gid):
        with contextlib.suppress(PermissionError):  # a group that we are not in; the owner is ours or we are root
            os.fchown(handle, former.st_uid, former.st_gid)
    os.fchmod(handle, former.st_mode & 0o7777)


def flush(handle: int) -> None:
    """Have the system write a file or folder to the disk."""
    os.fsync(handle)


# A temporary file is locked while its process lives, so that the next save to the same target can tell it from one that a
# killed process left. Its name says which target it is for, and is short however long that one's is.


def _prefix(name: str) -> str:
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return f".{os.fsdecode(os.fsencode(name)[:100])}.{digest}."


def _lock(handle: int) -> bool:
    """Whether the file is ours alone now; also where the file system knows no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _temporary(target: str) -> tuple[int, str]:
    folder, name = os.path.split(target)
    while True:
        handle, temporary = tempfile.mkstemp(prefix=_prefix(name), suffix=".tmp", dir=folder)
        if _lock(handle) and os.path.exists(temporary):
            return handle, temporary
        os.close(handle)  # taken for an orphan between its making and its lock


def remove_orphans(target: str) -> None:
    """Remove what killed processes left of their saves to ``target``."""
    folder, name = os.path.split(target)
    pattern = re.compile(re.escape(_prefix(name)) + r"[a-z0-9_]{8}\.tmp")
    with os.scandir(folder) as entries:
        found = [entry.path for entry in entries if pattern.fullmatch(entry.name)]
    for path in found:
        with contextlib.suppress(OSError):  # another process did it, or on Windows: its process lives
            if fcntl is None:
                os.unlink(path)
                continue
            handle = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(handle)


# --- reading -----------------------------------------------------------------------------------------------------

HEAD = 32  # bytes at the beginning of a file that tell its format


class MmapOptions:
    """How ``load(mmap=True)`` maps files: `mmap.MAP_PRIVATE` or `mmap.MAP_SHARED`."""

    flags = getattr(mapping, "MAP_PRIVATE", 2)


def contents(f: FileLike, mmap: bool = False, only_read: Callable[[bytes], bool] = lambda head: False) -> tuple[np.ndarray, str]:
    """The bytes of a path or binary file as a writable array, and what to call it in messages.

    Where ``only_read`` says of the beginning that nobody will write to it, and the bytes are in memory, they are not copied.
    With ``mmap`` a path's bytes are read when they are used; whether writing to them changes the file is said by
    `MmapOptions`.
    """
    if isinstance(f, (str, os.PathLike)):
        label = f"'{os.fsdecode(f)}'"
        if mmap and os.path.getsize(f):
            shared = MmapOptions.flags == getattr(mapping, "MAP_SHARED", 1)
            return np.asarray(np.memmap(f, np.uint8, "r+" if shared else "c")), label
        with open(f, "rb", 0) as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode):
                return np.fromfile(file, np.uint8), label
            return _as_array(file.read()), label
    if not hasattr(f, "read"):
        raise TypeError(f"load: expected a path or a binary file to read from, got {type(f).__name__}")
    if not hasattr(f, "seek") or not hasattr(f, "tell"):
        raise AttributeError(
            f"load: {type(f).__name__} has no 'seek' and 'tell'. You can only torch.load from a file that is seekable. "
            "Please pre-load the data into a buffer like io.BytesIO and try to load from it instead."
        )
    if mmap:
        raise ValueError("load: mmap=True needs a path, got a file object; pass the file's name or mmap=False")
    return _rest(f, only_read), str(getattr(f, "name", "the file"))


def _rest(f: IO[bytes], only_read: Callable[[bytes], bool]) -> np.ndarray:
    """What a file has from where it stands, without a second copy where it can say how much that is."""
    if isinstance(f, io.BytesIO):
        begin, head = f.tell(), f.read(HEAD)
        f.seek(begin)
        if only_read(head):
            return np.frombuffer(f.getvalue(), np.uint8)[begin:]  # the file's own bytes until somebody writes to it
    try:
        begin = f.tell()
        size = f.seek(0, os.SEEK_END) - begin
        f.seek(begin)
    except (OSError, TypeError, ValueError):  # a pipe, or a stream whose ``seek`` tells nothing
        size = -1
    if size >= 0 and hasattr(f, "readinto"):
        data, at = np.empty(size, np.uint8), 0
        while at < size:
            count = f.readinto(memoryview(data)[at:])  # type: ignore[attr-defined]
            if not count:
                break
            at += count
        return data[:at]
    data = f.read()
    if not isinstance(data, bytes):
        raise TypeError(f"load: expected a binary file, got one of {type(data).__name__}; open it with 'rb'")
    return _as_array(data)


def _as_array(data: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(data), np.uint8)


# --- where tensors go --------------------------------------------------------------------------------------------


class Outside(Exception):
    """An error that the user's own function raised while a file was read, which is no fault of the file."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error


def place(tensor: Tensor, saved: str, map_location: MapLocation, label: str) -> Tensor:
    """``tensor``, which is on the CPU and was saved from the device ``saved``, where ``map_location`` wants it.

    FileError, in the name of the file ``label``, where there is no such device; Outside for what a function raises.
    """
    wanted = map_location
    if isinstance(map_location, dict):
        wanted = map_location.get(saved, saved)
    elif callable(map_location) and not isinstance(map_location, Device):
        try:
            placed = map_location(tensor, saved)
        except Exception as error:
            raise Outside(error) from error
        if placed is not None:
            return placed
        wanted = saved
    try:
        device = resolve(saved if wanted is None else wanted)
        return tensor if device is CPU else tensor.to(device)
    except (RuntimeError, TypeError) as error:
        name = str(saved if wanted is None else wanted)
        told = "Attempting to deserialize object on a CUDA device, which is not there. " if name.startswith("cuda") else ""
        raise FileError(
            f"load: cannot put a tensor of {label} on {name:.80}: {told}{error} Use map_location='cpu' to load it onto the CPU."
        ) from error
