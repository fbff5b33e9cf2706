"""Files as they are on disk: read whole, replaced in one step, and where their tensors go."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np

from ..device import CPU, Device, resolve
from ..tensor import Tensor

FileLike: TypeAlias = str | os.PathLike[str] | IO[bytes]
MapLocation: TypeAlias = None | str | int | Device | dict[str, str] | Callable[[Tensor, str], Tensor | None]


@contextlib.contextmanager
def replacing(f: str | os.PathLike[str]) -> Iterator[str]:
    """Context that gives the name of a temporary file to write, which then takes the place of ``f`` in one step.

    Whoever reads ``f``, also after a crash in the middle, finds the old file or the new one.
    """
    path = Path(os.path.realpath(f))  # a link stays one: what it points to is replaced
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, _mode(path))
        flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name != "nt":  # the folder's entry too must be on disk; Windows cannot open a folder
        flush(path.parent)


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced, or those of a new one."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def flush(path: str | Path) -> None:
    """Have the system write a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def contents(f: FileLike, mmap: bool = False) -> tuple[np.ndarray, str]:
    """The bytes of a path or binary file as a writable array, and what to call it in messages.

    With ``mmap`` a path's bytes are read when they are used, and writing to them does not change the file.
    """
    if isinstance(f, (str, os.PathLike)):
        label = f"'{os.fspath(f)}'"
        if mmap and os.path.getsize(f):
            return np.asarray(np.memmap(f, np.uint8, "c")), label
        return np.fromfile(f, np.uint8), label
    if not hasattr(f, "read"):
        raise TypeError(f"load: expected a path or a binary file to read from, got {type(f).__name__}")
    if mmap:
        raise ValueError("load: mmap=True needs a path, got a file object; pass the file's name or mmap=False")
    data = f.read()
    if not isinstance(data, bytes):
        raise TypeError(f"load: expected a binary file, got one of {type(data).__name__}; open it with 'rb'")
    return np.frombuffer(bytearray(data), np.uint8), str(getattr(f, "name", "the file"))


def place(tensor: Tensor, saved: str, map_location: MapLocation) -> Tensor:
    """``tensor``, which is on the CPU and was saved from the device ``saved``, where ``map_location`` wants it."""
    wanted = map_location
    if isinstance(map_location, dict):
        wanted = map_location.get(saved, saved)
    elif callable(map_location) and not isinstance(map_location, Device):
        placed = map_location(tensor, saved)
        if placed is not None:
            return placed
        wanted = saved
    try:
        device = resolve(saved if wanted is None else wanted)
        return tensor if device is CPU else tensor.to(device)
    except RuntimeError as error:
        name = saved if wanted is None else wanted
        raise RuntimeError(
            f"load: cannot put a tensor on {name}: {error} Use map_location='cpu' to load it onto the CPU."
        ) from error
