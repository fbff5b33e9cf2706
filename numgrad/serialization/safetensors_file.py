"""Safetensors files that hold nested state: tensors are ordinary entries, named by their path in the object.

So other tools read them. What is no tensor (order, numbers, strings, ties) is JSON in the file's metadata, under
``numgrad``. Files without that entry load as a dict of tensors.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import dtypes
from ..device import Device
from ..errors import FileError
from ..layout import Size
from ..nn.parameter import Parameter
from ..tensor import Tensor, address, attributes, from_array, lay, set_attributes, storage_of
from .files import MapLocation, Outside, place

_ENTRY = "numgrad"  # our key in the metadata
_VERSION = 1


# --- saving ----------------------------------------------------------------------------------------------------


def safetensors_parts(obj: Any) -> Iterator[Any]:
    """The bytes of the file that holds ``obj``, part after part. What the object is made of is found before this returns."""
    arrays, structure = _Writer().write(obj)
    return _parts(arrays, {"format": "pt", _ENTRY: json.dumps(structure)})


def _parts(arrays, metadata):
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
    return _chunks(text, [array for _, array in ordered])


def _chunks(text, arrays):
    yield len(text).to_bytes(8, "little") + text
    for array in arrays:
        little = array if array.dtype.kind == "V" else array.astype(array.dtype.newbyteorder("<"), copy=False)
        yield np.ascontiguousarray(little).reshape(-1).view(np.uint8).data


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
        own = attributes(tensor)
        if own:
            node["attributes"] = self.encode(own, (*path, "attributes"))
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


def read_safetensors(data: np.ndarray, label: str, map_location: MapLocation) -> Any:
    """The object in the file with the contents ``data``; its tensors lie there."""
    arrays, metadata = _read(data, label)
    tensors = {name: from_array(array) for name, array in arrays.items()}
    text = metadata.get(_ENTRY)
    if text is None:
        return {name: place(tensor, "cpu", map_location, label) for name, tensor in tensors.items()}
    reader = _Reader(tensors, map_location, label)
    try:
        structure = json.loads(text)
        if structure["version"] > _VERSION:
            raise FileError(
                f"load: a newer numgrad wrote {label} (layout {structure['version']}, this one knows {_VERSION}); update "
                "numgrad"
            )
        found = reader.decode(structure["root"])
        if reader.used != set(tensors):
            raise ValueError("an object without some of the file's tensors")
        return found
    except (Outside, FileError):
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise FileError(
            f"load: {label} is damaged: its metadata entry {_ENTRY!r} is not what numgrad writes ({told:.300}); save it again"
        ) from error


class _Reader:
    """Turns tensors by name and the structure of `_Writer` back into the object. Any exception but Outside means damage."""

    def __init__(self, tensors: dict[str, Tensor], map_location: MapLocation, label: str):
        self.entries, self.map_location, self.label = tensors, map_location, label
        self.moved: dict[str, Tensor] = {}
        self.numbered: dict[int, Tensor] = {}
        self.used: set[str] = set()

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
            raise ValueError(f"unknown kind {kind!r:.80}")
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
        if not all(type(size) is int for size in items):
            raise ValueError("a Size of other things than ints")
        return Size(items)

    def decode_float(self, text, node):
        return float(text)

    def decode_dtype(self, name, node):
        return dtypes.BY_NAME[name]

    def decode_device(self, name, node):
        return Device(name)

    def decode_array(self, name, node):
        self.used.add(name)
        return self.entries[name].numpy()

    def decode_same(self, number, node):
        return self.numbered[number]

    def placed(self, name, device):
        if not isinstance(device, str):
            raise ValueError(f"the device {device!r:.80}")
        entry = self.entries[name]
        self.used.add(name)
        return place(entry, device, self.map_location, self.label)

    def tensor(self, node):
        name = node["tensor"]
        held = self.moved.get(name)
        first = held is None
        if held is None:
            held = self.moved[name] = self.placed(name, node.get("device", "cpu"))
        tensor = held
        if "shape" in node:
            tensor = lay("load", held, node["offset"], node["shape"], node["strides"])
        elif not first:
            tensor = held.detach()
        if node.get("parameter"):
            tensor = Parameter(tensor, bool(node.get("requires_grad", False)))
        elif node.get("requires_grad"):
            tensor.requires_grad_()
        if "attributes" in node:
            set_attributes(tensor, self.decode(node["attributes"]))
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

_NUMPY = {
    "BOOL": np.bool_, "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
    "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "F32": np.float32, "F64": np.float64, "F16": np.float16, "BF16": dtypes.BITS,
    "C64": np.complex64, "F8_E4M3": dtypes.float8_e4m3fn.np, "F8_E5M2": dtypes.float8_e5m2.np,
}  # fmt: skip
_KINDS = {np.dtype(numpy_type): kind for kind, numpy_type in _NUMPY.items()}


def _read(data: np.ndarray, label: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, over the file's bytes, and its metadata."""
    try:
        size = int.from_bytes(data[:8].tobytes(), "little")
        if data.size < 8 or size > data.size - 8:
            raise ValueError(f"its header would be {size} bytes long, and the file is {data.size}")
        header = json.loads(data[8 : 8 + size].tobytes().decode())
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its metadata are no texts")
        return _arrays(header, data[8 + size :], label), metadata
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, (FileError, UnknownType)):
            raise
        start = data[:512].tobytes()
        for magic, name in _FORMATS:
            if start.startswith(magic):
                raise FileError(
                    f"load: {label} is no safetensors file and none of PyTorch's: it is {name}. load reads safetensors "
                    "files and what torch.save writes"
                ) from None
        if start[257:262] == b"ustar":
            raise FileError(
                f"load: {label} is a tar archive, as PyTorch before version 0.1.10 wrote it, which is not read. Cannot use "
                "``weights_only=True`` with files saved in the legacy .tar format. Load it with PyTorch and save it again"
            ) from None
        told = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise FileError(f"load: {label} is no whole safetensors file ({told:.300}); save it again") from None


class UnknownType(FileError, TypeError):
    """A file holds a dtype that there is none for here."""


def _arrays(header: dict, data: np.ndarray, label: str) -> dict[str, np.ndarray]:
    """The entries of a header, which have to cover ``data`` without gap or overlap, as the format demands."""
    found, covered = {}, []
    for name, entry in header.items():
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not all(type(n) is int and 0 <= n for n in (begin, end, *shape)) or not begin <= end <= data.size:
            raise ValueError(f"entry {name!r:.80} lies at {begin!r:.40} to {end!r:.40} of {data.size} bytes")
        if kind not in _NUMPY:
            known = ", ".join(_NUMPY)
            raise UnknownType(f"load: entry {name!r:.80} of {label} has the dtype {kind!s:.40}; numgrad reads {known}")
        stored = np.dtype(_NUMPY[kind])
        if Size(shape).numel() * stored.itemsize != end - begin or any(n >= 1 << 62 for n in shape):
            raise ValueError(f"entry {name!r:.80} of the shape {shape!r:.80} has {end - begin} bytes")
        part = data[begin:end]
        if part.__array_interface__["data"][0] % stored.itemsize:
            part = part.copy()
        found[name] = part.view(stored).reshape(shape)
        covered.append((begin, end))
    at = 0
    for begin, end in sorted(covered):
        if begin != at:
            raise ValueError(f"its entries leave a gap or overlap at byte {min(begin, at)}")
        at = end
    if at != data.size:
        raise ValueError(f"its entries end at byte {at} of {data.size}")
    return found
