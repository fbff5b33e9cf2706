"""save and load: state in PyTorch's files or in safetensors files, written so that a crash leaves the old file whole."""

import os
import pickle
import warnings
from typing import Any

from .errors import FileError
from .serialization.archive import ZIP
from .serialization.files import HEAD, FileLike, MapLocation, Outside, contents, write
from .serialization.importing import Importing
from .serialization.safetensors_file import read_safetensors, safetensors_parts
from .serialization.torch_names import Weights
from .serialization.torch_read import is_stream, read_stream, read_zip
from .serialization.torch_write import skipping, stream_parts, zip_parts


def save(obj: Any, f: FileLike, pickle_module: Any = None, pickle_protocol: int = 2,
         _use_new_zipfile_serialization: bool = True, _disable_byteorder_record: bool = False) -> None:  # fmt: skip
    """Write ``obj`` to a path or a binary file: PyTorch's zip archive, or where the name ends in ``.safetensors`` that.

    ``obj``: whatever Python can pickle: a whole Module, a ``state_dict()``, dataclasses, tensors with their Python
    attributes; in a safetensors file tensors, ndarrays, numbers, strings, lists, dicts and tuples of them. Tensors that
    share memory still do after `load`; of a storage only the part that they show is written. ``torch.load`` reads the
    archive, numgrad's classes as PyTorch's, and other tools the safetensors.

    A regular file is replaced in one step once the new one is on disk: whoever reads it, also after a crash in the middle,
    finds the old file or the new one. FIFOs, devices and files with hard links are written in place, links followed.
    ``pickle_module``: whose ``Pickler`` to use, instead of Python's; ``pickle_protocol``: its protocol.
    ``_use_new_zipfile_serialization=False`` writes the stream of pickles of PyTorch before version 1.6.
    Raises OSError that names the file, TypeError for objects that a safetensors file cannot hold, RuntimeError for tensors
    that show one memory as different dtypes, and what pickle raises.
    """
    if not isinstance(f, (str, os.PathLike)) and not hasattr(f, "write"):
        raise AttributeError(
            f"save: expected a path or a binary file to write to, got {type(f).__name__}, which has no attribute 'write'"
        )
    name = os.fsdecode(f) if isinstance(f, (str, os.PathLike)) else str(getattr(f, "name", ""))
    if name.endswith(".safetensors"):
        parts = safetensors_parts(obj)
    elif _use_new_zipfile_serialization:
        stem = os.path.basename(name).partition(".")[0] if isinstance(f, (str, os.PathLike)) else ""
        parts = zip_parts(obj, stem or "archive", pickle_module, pickle_protocol)
    else:
        parts = stream_parts(obj, pickle_protocol)
    write(f, parts)


def _weights_only(asked: bool | None, pickle_module: Any) -> bool:
    """Whether nothing but weights is loaded: as asked, else by PyTorch's environment variables, else so."""

    def told(name):
        return os.environ.get(name, "0").lower() in ("1", "y", "yes", "true")

    force, free = told("TORCH_FORCE_WEIGHTS_ONLY_LOAD"), told("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    if force and free:
        raise RuntimeError(
            "load: only one of the environment variables TORCH_FORCE_WEIGHTS_ONLY_LOAD and "
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD can be set, both are"
        )
    if force:
        return True
    if asked is None and free:
        warnings.warn(
            "Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the `weights_only` argument was not "
            "explicitly passed to `torch.load`, forcing weights_only=False.", stacklevel=3,
        )  # fmt: skip
        return False
    return pickle_module is None if asked is None else asked


def load(f: FileLike, map_location: MapLocation = None, pickle_module: Any = None, *, weights_only: bool | None = None,
         mmap: bool | None = None, encoding: str = "utf-8", errors: str = "strict") -> Any:  # fmt: skip
    """Read what `save` or PyTorch's ``torch.save`` wrote, or any safetensors file as a dict of tensors.

    ``f``: a path or a binary file; what it holds decides on the format. ``map_location``: where to put the tensors: a
    device for all, a dict from saved to wanted devices, or a function ``(tensor on the CPU, saved device) -> tensor``
    (None: as saved); by default each goes where it was saved from. ``mmap``: read the numbers of a path's archive
    when they are used; writing to them does not change the file, unless `serialization.set_default_mmap_options` says so.
    ``encoding``, ``errors``: of byte strings that Python 2 saved.

    By default, ``weights_only=True``, files are read as data: nothing in them is executed, and names other than those of
    tensors, containers, numbers and `serialization.add_safe_globals` are refused. ``weights_only=False`` restores
    whatever was saved, whole modules too: classes are looked up among the modules that are imported or can be, and
    called, as pickle does, so that **a file can execute any code: load only files from whom you trust**. PyTorch's
    classes become numgrad's. ``pickle_module``: whose ``Unpickler`` to use then.

    Raises FileError (a ValueError, a RuntimeError and a pickle.UnpicklingError) for files that are damaged, of another
    format, or hold what is not loaded; RuntimeError for tensors of devices that are not there.
    """
    if skipping.active:
        raise RuntimeError("load: Please call torch.load outside the skip_data context manager.")
    only = _weights_only(weights_only, pickle_module)
    if only and pickle_module is not None:
        raise RuntimeError(
            "load: Can not safely load weights when explicit pickle_module is specified; pass weights_only=False"
        )
    try:
        return _loaded(f, map_location, pickle_module, only, bool(mmap), encoding, errors)
    except Outside as outside:
        raise outside.error from None


def _loaded(f: Any, map_location: MapLocation, pickle_module: Any, only: bool, mmap: bool, encoding: str, errors: str) -> Any:
    begin = f.tell() if hasattr(f, "tell") and hasattr(f, "seek") and getattr(f, "seekable", lambda: True)() else None
    data, label = contents(f, mmap, is_stream)
    module = None if pickle_module is pickle else pickle_module
    names = Weights() if only else Importing(label)
    start = data[:HEAD].tobytes()
    if start.startswith(ZIP):
        return read_zip(data, label, map_location, (encoding, errors), mmap, names, module)
    if is_stream(start):
        if mmap:
            raise FileError(f"load: mmap=True needs an archive, {label} is older than those; pass mmap=False")
        found, end = read_stream(data, label, map_location, (encoding, errors), names, module)
        if begin is not None:  # several objects can stand in one file
            f.seek(begin + end)
        return found
    return read_safetensors(data, label, map_location)
