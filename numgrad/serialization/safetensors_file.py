"""Safetensors files that hold nested state: tensors are ordinary entries, named by their path in the object.

So other tools read them. What is no tensor (order, numbers, strings, ties) is JSON in the file's metadata, under
``numgrad``. Files without that entry load as a dict of tensors.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import safetensors

from .. import dtypes
from ..device import Device
from ..errors import FileError
from ..layout import Size
from ..nn.parameter import Parameter
from ..tensor import Tensor, address, from_array, storage_of, view
from .files import MapLocation, place

_ENTRY = "numgrad"  # our key in the metadata
_VERSION = 1


# --- saving ----------------------------------------------------------------------------------------------------


def write_safetensors(obj: Any, file: IO[bytes] | str) -> None:
    """Write ``obj`` to a binary file or a path."""
    arrays, structure = _Writer().write(obj)
    metadata = {"format": "pt", _ENTRY: json.dumps(structure)}
    if isinstance(file, str):
        with open(file, "wb") as opened:
            _write(arrays, metadata, opened)
    else:
        _write(arrays, metadata, file)


def _write(arrays, metadata, file):
    """The format itself: length of the header, header, elements; the widest first, so that all are aligned."""
    header: dict[str, Any] = {"__metadata__": metadata}
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))
    begin = 0
    for name, array in ordered:
        if array.dtype.newbyteorder("=") not in _KINDS:
            raise TypeError(f"save: the entry {name!r} has the dtype {array.dtype}, which safetensors files do not hold")
        end = begin + array.nbytes
        kind = _KINDS[array.dtype.newbyteorder("=")]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, array in ordered:
        little = array if array.dtype == dtypes.BITS else array.astype(array.dtype.newbyteorder("<"), copy=False)
        file.write(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)


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
                node["tensor"] = self.add(path, tensor._stored())
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


def read_safetensors(data: bytes, label: str, map_location: MapLocation) -> Any:
    """The object in the file with the contents ``data``."""
    arrays, metadata = _read(data, label)
    tensors = {name: from_array(array) for name, array in arrays}
    text = metadata.get(_ENTRY)
    if text is None:
        return {name: place(tensor, "cpu", map_location) for name, tensor in tensors.items()}
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
            held = self.moved[name] = place(self.entries[name], node.get("device", "cpu"), self.map_location)
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


# --- the file ----------------------------------------------------------------------------------------------------

_FORMATS = (
    (b"\x80", "a pickle that torch.save did not write"),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "gzip-compressed"),
)


def _read(data: bytes, label: str) -> tuple[Iterator[tuple[str, np.ndarray]], dict[str, str]]:
    """Arrays by name, writable, and the file's metadata."""
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        for magic, name in _FORMATS:
            if data.startswith(magic):
                raise FileError(
                    f"load: {label} is no safetensors file and none of PyTorch's: it is {name}. load reads safetensors "
                    "files and what torch.save writes"
                ) from None
        if data[257:262] == b"ustar":
            raise FileError(
                f"load: {label} is a tar archive, as PyTorch before version 0.1.10 wrote it, which is not read; load it "
                "with PyTorch and save it again"
            ) from None
        raise FileError(f"load: {label} is no whole safetensors file ({error}); save it again") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return _arrays(entries, label), header.get("__metadata__", {})


_NUMPY = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "F32": np.float32, "F64": np.float64, "F16": np.float16, "BF16": dtypes.BITS,
    "C64": np.complex64,
}  # fmt: skip
_WRITTEN = {**_NUMPY, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64}
_KINDS = {np.dtype(numpy_type): kind for kind, numpy_type in _WRITTEN.items()}


def _arrays(entries, label) -> Iterator[tuple[str, np.ndarray]]:
    for name, entry in entries:
        kind, shape, data = entry["dtype"], entry["shape"], entry["data"]
        if kind in _NUMPY:
            array = np.frombuffer(data, _NUMPY[kind])
        else:
            known = ", ".join(_NUMPY)
            raise TypeError(f"load: entry {name!r} of {label} has the dtype {kind}; numgrad reads {known}")
        yield name, array.reshape(shape)
