"""The formats that `numgrad.save` and `numgrad.load` write and read, safetensors files and PyTorch's own; what they may
mention, and how they are written and mapped."""

import mmap
import warnings
from typing import IO, Any

from .archive import Checksums, Zip as _Zip, ZipWriter as _ZipWriter
from .files import FileLike as FILE_LIKE, MapLocation as MAP_LOCATION, MmapOptions, contents as _contents
from .torch_names import (
    add_safe_globals as add_safe_globals,
    clear_safe_globals as clear_safe_globals,
    get_safe_globals as get_safe_globals,
    safe_globals as safe_globals,
)
from .torch_read import (
    Endianness,
    LoadEndianness as LoadEndianness,
    SourceChangeWarning as SourceChangeWarning,
    unsafe_names,
)
from .torch_write import skipping

DEFAULT_PROTOCOL = 2

__all__ = [
    "DEFAULT_PROTOCOL", "FILE_LIKE", "MAP_LOCATION", "LoadEndianness", "SourceChangeWarning", "add_safe_globals",
    "check_module_version_greater_or_equal", "clear_safe_globals", "get_crc32_options", "get_default_load_endianness",
    "get_default_mmap_options", "get_safe_globals", "get_unsafe_globals_in_checkpoint", "load", "safe_globals", "save",
    "set_crc32_options", "set_default_load_endianness", "set_default_mmap_options", "skip_data",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("save", "load"):  # which are made of what is here
        from .. import io

        return getattr(io, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_default_load_endianness() -> LoadEndianness | None:
    """The byte order in which files that do not say theirs are read; None: little."""
    return Endianness.default


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Choose the byte order of files that do not say theirs, as PyTorch's before version 2.1. TypeError for others."""
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    Endianness.default = endianness


def get_default_mmap_options() -> int:
    """How ``load(mmap=True)`` maps files: ``mmap.MAP_PRIVATE`` or ``mmap.MAP_SHARED``."""
    return MmapOptions.flags


class set_default_mmap_options:
    """Choose how ``load(mmap=True)`` maps files: with ``mmap.MAP_SHARED`` writing to loaded tensors changes the file.

    From now on, or as a context. ValueError for other flags.
    """

    def __init__(self, flags: int):
        known = (getattr(mmap, "MAP_PRIVATE", 2), getattr(mmap, "MAP_SHARED", 1))
        if flags not in known:
            raise ValueError(
                f"Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, got {flags}"
            )
        self._before = MmapOptions.flags
        MmapOptions.flags = flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: Any) -> None:
        MmapOptions.flags = self._before


def get_crc32_options() -> bool:
    """Whether `save` computes the checksums of an archive's entries."""
    return Checksums.computed


def set_crc32_options(compute_crc32: bool) -> None:
    """Whether `save` computes the checksums of an archive's entries: without them it is faster, and `load` cannot see
    damage to numbers."""
    Checksums.computed = bool(compute_crc32)


class skip_data:
    """Context in which `save` leaves the numbers of tensors out of the archive, room for them stays: to be written later.

    ``materialize_fake_tensors`` makes no difference here. `load` raises RuntimeError inside.
    """

    def __init__(self, materialize_fake_tensors: bool = False):
        self.materialize_fake_tensors = materialize_fake_tensors

    def __enter__(self) -> "skip_data":
        self._before = skipping.active
        skipping.active = True
        return self

    def __exit__(self, *exception: Any) -> None:
        skipping.active = self._before


def get_unsafe_globals_in_checkpoint(f: FILE_LIKE) -> list[str]:
    """The names that a file mentions and that ``load(f, weights_only=True)`` would refuse. Nothing is loaded.

    ValueError for files that are no archive of PyTorch's.
    """
    data, label = _contents(f)
    return unsafe_names(data, label)


def check_module_version_greater_or_equal(module: Any, req_version_tuple: tuple, error_if_malformed: bool = True) -> bool:
    """Whether the version of a module is at least the one given, as a tuple of numbers."""
    try:
        version = tuple(kind(part) for kind, part in zip(map(type, req_version_tuple), module.__version__.split(".")))
        return version >= req_version_tuple
    except Exception as error:
        message = (
            f"'{module.__name__}' module version string is malformed '{module.__version__}' and cannot be compared with tuple "
            f"{req_version_tuple}"
        )
        if error_if_malformed:
            raise RuntimeError(message) from error
        warnings.warn(f"{message}, but continuing assuming that requirement is met", stacklevel=2)
        return True


def _is_zipfile(f: IO[bytes]) -> bool:
    """Whether a file is an archive from where it stands, which is left."""
    start = f.tell()
    found = f.read(4) == b"PK\x03\x04"
    f.seek(start)
    return found


class _open_file_like:
    """A path opened, or a file as it is, as a context."""

    def __init__(self, name_or_buffer: Any, mode: str):
        self._given = name_or_buffer
        self._opened = open(name_or_buffer, mode) if isinstance(name_or_buffer, str) or hasattr(name_or_buffer, "__fspath__") else None

    def __enter__(self) -> Any:
        return self._opened or self._given

    def __exit__(self, *exception: Any) -> None:
        if self._opened is not None:
            self._opened.close()


def _open_zipfile_reader(name_or_buffer: FILE_LIKE) -> _Zip:
    """The entries of an archive of PyTorch's, as a context."""
    data, label = _contents(name_or_buffer)
    return _Zip(data, label)


def _open_zipfile_writer(name_or_buffer: FILE_LIKE) -> _ZipWriter:
    """A writer of the entries of an archive of PyTorch's, as a context."""
    return _ZipWriter(name_or_buffer)
