"""save and load: nested state in safetensors files, written so that a crash leaves the old file whole.

The tensors are ordinary entries of the file, named by their path in the object (``weight``, ``state.0.exp_avg``),
so that other tools read them. What is no tensor (order, numbers, strings, ties) is JSON in the file's metadata, under
``numgrad``. Files without that entry load as a dict of tensors.
"""

import json
import math
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import safetensors
from safetensors.numpy import save as _to_bytes
from safetensors.numpy import save_file as _to_file

from . import dtypes
from .device import CPU, Device, resolve
from .layout import Size
from .nn.parameter import Parameter
from .tensor import Tensor, address, from_array, storage_of, view

FileLike: TypeAlias = str | os.PathLike[str] | IO[bytes]
MapLocation: TypeAlias = None | str | int | Device | dict[str, str] | Callable[[Tensor, str], Tensor | None]

_ENTRY = "numgrad"  # our key in the metadata
_VERSION = 1


# --- saving ----------------------------------------------------------------------------------------------------


def save(obj: Any, f: FileLike) -> None:
    """Write ``obj`` to a path or a binary file as safetensors.

    ``obj``: a tensor, or dicts, lists and tuples of tensors, ndarrays, numbers, strings, dtypes, devices and None:
    what ``state_dict()`` of modules, optimizers and schedulers returns. Tensors that share memory still do after
    `load`. A path is replaced in one step once the new file is on disk: whoever reads it, also after a crash in the
    middle, finds the old file or the new one. Raises TypeError for objects that such a file cannot hold.
    """
    arrays, structure = _Writer().write(obj)
    metadata = {"format": "pt", _ENTRY: json.dumps(structure)}
    if not isinstance(f, (str, os.PathLike)):
        if not hasattr(f, "write"):
            raise TypeError(f"save: expected a path or a binary file to write to, got {type(f).__name__}")
        f.write(_to_bytes(arrays, metadata))
        return
    path = Path(os.path.realpath(f))  # a link stays one: what it points to is replaced
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        _to_file(arrays, temporary, metadata)
        os.chmod(temporary, _mode(path))
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name != "nt":  # the folder's entry too must be on disk; Windows cannot open a folder
        _flush(path.parent)


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced, or those of a new one."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _flush(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Writer:
    """Turns an object into arrays by name and a structure of JSON values.

    Numbers, strings and None stand for themselves, lists for lists; all else is an object with one key that says
    what it is: ``{"tensor": name}``, ``{"dict": [[key, value], ...]}``, ``{"tuple": [...]}``.
    """

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}
        self.nodes: dict[int, dict] = {}  # id of a tensor -> its node, so that one object stays one
        self.groups: dict[int, list[tuple[Tensor, dict, tuple]]] = {}  # id of a storage -> what lies in it

    def write(self, obj) -> tuple[dict[str, np.ndarray], dict]:
        root = self.encode(obj, ())
        for group in self.groups.values():
            self.place(group)
        return self.arrays, {"version": _VERSION, "root": root}

    def encode(self, value, path):
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, Tensor):
            return self.tensor(value, path)
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, np.ndarray):
            return {"array": self.add(path, value)}
        if isinstance(value, dict):
            return self.mapping(value, path)
        if isinstance(value, (list, tuple)):
            items = [self.encode(item, (*path, str(k))) for k, item in enumerate(value)]
            if isinstance(value, list):
                return items
            return {"size": items} if isinstance(value, Size) else {"tuple": items}
        if isinstance(value, dtypes.dtype):
            return {"dtype": value.name}
        if isinstance(value, Device):
            return {"device": str(value)}
        where = f"the value at {'.'.join(path)!r}" if path else "the object"
        advice = "save its state_dict() instead" if hasattr(value, "state_dict") else (
            "safetensors files hold tensors, numbers, strings, lists and dicts; use pickle for other objects"
        )  # fmt: skip
        raise TypeError(f"save: {where} is of type {type(value).__name__}; {advice}")

    def mapping(self, value, path):
        items = [[self.encode(key, path), self.encode(item, (*path, str(key)))] for key, item in value.items()]
        node: dict[str, Any] = {"ordered" if isinstance(value, OrderedDict) else "dict": items}
        metadata = getattr(value, "_metadata", None)  # the versions of a module's state
        if metadata is not None:
            node["metadata"] = self.encode(metadata, (*path, "_metadata"))
        return node

    def tensor(self, tensor, path):
        node = self.nodes.get(id(tensor))
        if node is not None:
            return {"same": node["number"]}
        node = self.nodes[id(tensor)] = {"tensor": "", "number": len(self.nodes)}
        self.groups.setdefault(id(storage_of(tensor)), []).append((tensor, node, path))
        if isinstance(tensor, Parameter):
            node["parameter"] = True
        if tensor.requires_grad:
            node["requires_grad"] = True
        if tensor.is_cuda:
            node["device"] = str(tensor.device)
        return node

    def place(self, group):
        """Give tensors of one storage entries of the file: one each, or shared where one contains another."""
        entries: list[tuple[str, Tensor]] = []
        for tensor, node, path in sorted(group, key=lambda item: -item[0].numel()):
            for name, held in entries:
                within = _within(tensor, held)
                if within is not None:
                    node.update(within, tensor=name)
                    break
            else:
                node["tensor"] = self.add(path, tensor.numpy(force=True))
                entries.append((node["tensor"], tensor))

    def add(self, path, array):
        name = free = ".".join(path) or "tensor"
        count = 2
        while free in self.arrays:
            free = f"{name}.{count}"
            count += 1
        self.arrays[free] = np.ascontiguousarray(array).reshape(array.shape)  # safetensors writes others wrongly
        return free


def _within(tensor: Tensor, held: Tensor) -> dict | None:
    """How to see ``tensor`` as a view of ``held``, of the same storage; None if it is not part of it."""
    m, h = tensor._m, held._m
    if m.dtype is not h.dtype or m.numel == 0:
        return None
    offset = address(tensor._d) - address(held._d)
    if offset == 0 and m is h:
        return {}
    if h.contiguous and offset >= 0 and offset // m.dtype.itemsize + m.span <= h.numel:
        return {"offset": offset // m.dtype.itemsize, "shape": list(m.shape), "strides": list(m.strides)}
    return None


# --- loading ---------------------------------------------------------------------------------------------------


def load(f: FileLike, map_location: MapLocation = None, *, weights_only: bool = True) -> Any:
    """Read what `save` wrote, or any safetensors file as a dict of tensors, from a path or a binary file.

    ``map_location``: where to put the tensors: a device for all, a dict from saved to wanted devices, or a function
    ``(tensor on the CPU, saved device) -> tensor`` (None: as saved); by default each goes where it was saved from.
    ``weights_only`` makes no difference: these files hold no code. float16 and bfloat16 entries of other tools'
    files become float32. Raises ValueError for files of other formats, RuntimeError for CUDA tensors without a GPU.
    """
    arrays, metadata = _read(f)
    tensors = {name: from_array(array) for name, array in arrays}
    text = metadata.get(_ENTRY)
    if text is None:
        return {name: _move(tensor, "cpu", map_location) for name, tensor in tensors.items()}
    structure = json.loads(text)
    if structure["version"] > _VERSION:
        raise ValueError(
            f"load: a newer numgrad wrote the file (layout {structure['version']}, this one knows {_VERSION}); update "
            "numgrad"
        )
    return _Reader(tensors, map_location).decode(structure["root"])


class _Reader:
    """Turns tensors by name and the structure of `_Writer` back into the object."""

    def __init__(self, tensors: dict[str, Tensor], map_location: MapLocation):
        self.entries, self.map_location = tensors, map_location
        self.moved: dict[str, Tensor] = {}
        self.numbered: dict[int, Tensor] = {}

    def decode(self, node):
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "tensor" in node:
            return self.tensor(node)
        kind = next(iter(node), "")
        decode = getattr(self, f"decode_{kind}", None)
        if decode is None:
            raise ValueError(f"load: the file's metadata entry {_ENTRY!r} is damaged: unknown kind {kind!r}")
        return decode(node[kind], node)

    def decode_dict(self, items, node):
        return {self.decode(key): self.decode(value) for key, value in items}

    def decode_ordered(self, items, node):
        found = OrderedDict((self.decode(key), self.decode(value)) for key, value in items)
        if "metadata" in node:
            found._metadata = self.decode(node["metadata"])  # type: ignore[attr-defined]
        return found

    def decode_tuple(self, items, node):
        return tuple(self.decode(item) for item in items)

    def decode_size(self, items, node):
        return Size(items)

    def decode_float(self, text, node):
        return float(text)

    def decode_dtype(self, name, node):
        return dtypes.BY_NAME[name]

    def decode_device(self, name, node):
        return Device(name)

    def decode_array(self, name, node):
        return self.entries[name].numpy()

    def decode_same(self, number, node):
        return self.numbered[number]

    def tensor(self, node):
        name = node["tensor"]
        held = self.moved.get(name)
        first = held is None
        if held is None:
            held = self.moved[name] = _move(self.entries[name], node.get("device", "cpu"), self.map_location)
        tensor = held
        if "shape" in node:
            tensor = view(held, node["offset"], tuple(node["shape"]), tuple(node["strides"]), False)
        elif not first:
            tensor = held.detach()
        if node.get("parameter"):
            tensor = Parameter(tensor, node.get("requires_grad", False))
        elif node.get("requires_grad"):
            tensor.requires_grad_()
        self.numbered[node["number"]] = tensor
        return tensor


def _move(tensor: Tensor, saved: str, map_location: MapLocation) -> Tensor:
    wanted: Any = map_location
    if isinstance(map_location, dict):
        wanted = map_location.get(saved, saved)
    elif callable(map_location):
        placed = map_location(tensor, saved)
        if placed is not None:
            return placed
        wanted = saved
    device = resolve(saved if wanted is None else wanted)
    if device is CPU:
        return tensor
    try:
        return tensor.to(device)
    except RuntimeError as error:
        raise RuntimeError(
            f"load: cannot put a tensor on {device}: {error} Use map_location='cpu' to load it onto the CPU."
        ) from error


# --- the file ----------------------------------------------------------------------------------------------------

_FORMATS = (
    (b"PK\x03\x04", "a zip archive, as PyTorch's torch.save (.pt, .pth) and NumPy's .npz are"),
    (b"\x80\x02", "a pickle, as PyTorch's torch.save wrote it before version 1.6"),
    (b"\x80", "a pickle"),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "gzip-compressed"),
)


def _read(f: FileLike) -> tuple[Iterator[tuple[str, np.ndarray]], dict[str, str]]:
    """Arrays by name, writable, and the file's metadata."""
    if isinstance(f, (str, os.PathLike)):
        data = Path(f).read_bytes()
        label = f"'{os.fspath(f)}'"
    elif hasattr(f, "read"):
        data = f.read()
        label = getattr(f, "name", "the file")
        if not isinstance(data, bytes):
            raise TypeError(f"load: expected a binary file, got one of {type(data).__name__}; open it with 'rb'")
    else:
        raise TypeError(f"load: expected a path or a binary file to read from, got {type(f).__name__}")
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        for magic, name in _FORMATS:
            if data.startswith(magic):
                raise ValueError(
                    f"load: {label} is no safetensors file: it is {name}. load reads safetensors files; write one with "
                    "numgrad.save, or from PyTorch with safetensors.torch.save_file"
                ) from None
        raise ValueError(f"load: {label} is no whole safetensors file ({error}); save it again") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return _arrays(entries, label), header.get("__metadata__", {})


_NUMPY = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "F32": np.float32, "F64": np.float64, "F16": np.float16,
}  # fmt: skip


def _arrays(entries, label) -> Iterator[tuple[str, np.ndarray]]:
    for name, entry in entries:
        kind, shape, data = entry["dtype"], entry["shape"], entry["data"]
        if kind == "BF16":  # the upper half of a float32
            array = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif kind in _NUMPY:
            array = np.frombuffer(data, _NUMPY[kind])
            if kind == "F16":
                array = array.astype(np.float32)
        else:
            known = ", ".join([*_NUMPY, "BF16"])
            raise TypeError(f"load: entry {name!r} of {label} has the dtype {kind}; numgrad reads {known}")
        yield name, array.reshape(shape)
