"""save and load: state in PyTorch's files or in safetensors files, written so that a crash leaves the old file whole."""

import os
from typing import Any

from .serialization.files import FileLike, MapLocation, contents, replacing
from .serialization.safetensors_file import read_safetensors, write_safetensors
from .serialization.torch_read import HEAD, ZIP, is_stream, read_stream, read_zip
from .serialization.torch_write import write_zip


def save(obj: Any, f: FileLike, pickle_module: Any = None, pickle_protocol: int = 2,
         _use_new_zipfile_serialization: bool = True) -> None:  # fmt: skip
    """Write ``obj`` to a path or a binary file: PyTorch's zip archive, or where the name ends in ``.safetensors`` that.

    ``obj``: a tensor, or dicts, lists and tuples of tensors, ndarrays, numbers, strings, dtypes, devices and None:
    what ``state_dict()`` of modules, optimizers and schedulers returns. Tensors that share memory still do after
    `load`; Python attributes of tensors are not saved. ``torch.load`` reads the archive, and other tools the
    safetensors. A path is replaced in one step once the new file is on disk: whoever reads it, also after a crash in
    the middle, finds the old file or the new one. The arguments about pickle make no difference. Raises TypeError for
    objects that such a file cannot hold.
    """
    if isinstance(f, (str, os.PathLike)):
        write = write_safetensors if os.fspath(f).endswith(".safetensors") else write_zip
        with replacing(f) as temporary:
            write(obj, temporary)
    elif not hasattr(f, "write"):
        raise TypeError(f"save: expected a path or a binary file to write to, got {type(f).__name__}")
    else:
        named = str(getattr(f, "name", "")).endswith(".safetensors")
        (write_safetensors if named else write_zip)(obj, f)


def load(f: FileLike, map_location: MapLocation = None, pickle_module: Any = None, *, weights_only: bool | None = None,
         mmap: bool | None = None, encoding: str = "utf-8") -> Any:  # fmt: skip
    """Read what `save` or PyTorch's ``torch.save`` wrote, or any safetensors file as a dict of tensors.

    ``f``: a path or a binary file; what it holds decides on the format. ``map_location``: where to put the tensors: a
    device for all, a dict from saved to wanted devices, or a function ``(tensor on the CPU, saved device) -> tensor``
    (None: as saved); by default each goes where it was saved from. ``mmap``: read the numbers of a path's archive
    when they are used; writing to them does not change the file. ``encoding``: of byte strings that Python 2 saved.

    Files are read as data: nothing in them is executed, whatever ``weights_only`` and ``pickle_module`` say. uint16
    numbers become int32, uint32 ones int64, where there is no such dtype here.
    Raises FileError (a ValueError, a RuntimeError and a pickle.UnpicklingError) for files that are damaged, of another
    format, or hold objects of other classes; RuntimeError for tensors of devices that are not there.
    """
    data, label = contents(f, bool(mmap))
    start = data[:HEAD].tobytes()
    if start.startswith(ZIP):
        return read_zip(data, label, map_location, encoding, bool(mmap))
    if is_stream(start):
        if mmap:
            raise ValueError(f"load: mmap=True needs an archive, {label} is older than those; pass mmap=False")
        return read_stream(data, label, map_location, encoding)
    return read_safetensors(data.tobytes(), label, map_location)
