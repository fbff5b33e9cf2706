"""Writes the zip archive of PyTorch's ``torch.save``, such that ``torch.load(weights_only=True)`` reads it."""

import struct
import sys
import zipfile
from collections import Counter, OrderedDict
from typing import IO, Any

import numpy as np

from .. import dtypes
from ..device import Device
from ..layout import Size
from ..nn.parameter import Parameter
from ..storage import meta
from ..tensor import Tensor, address, alias, root_of, storage_of
from .torch_names import STORAGES

_ALIGNMENT = 64  # where numbers begin, so that files can be mapped into memory
_CLASSES = {dtype: name for name, dtype in STORAGES.items() if name != "UntypedStorage"}


class _Block:
    """The numbers of one storage: what part of it the tensors lie in, known when all are pickled."""

    def __init__(self, key: str, first: Tensor):
        self.key, self.first, self.tensors = key, first, [first]
        self.root = root_of(first)
        self.size = first._m.dtype.itemsize

    def begin(self, tensor: Tensor) -> int:
        return (address(tensor._d) - address(self.root)) // self.size if len(tensor._d) else 0

    @property
    def low(self) -> int:
        return min(self.begin(tensor) for tensor in self.tensors)

    @property
    def count(self) -> int:
        return max(self.begin(tensor) + len(tensor._d) for tensor in self.tensors) - self.low

    def numbers(self) -> np.ndarray:
        low, count, m = self.low, self.count, self.first._m
        part = alias(self.first, self.root[low : low + count], meta(m.dtype, (count,), m.device))
        return part._stored()


class _Pickler:
    """Writes the pickle, protocol 2. What depends on all tensors is a function, called at the end."""

    def __init__(self):
        self.out: list = [b"\x80\x02"]
        self.memo: dict[int, int] = {}
        self.kept: list = []  # what is in the memo stays alive, so that ids stay valid
        self.blocks: dict[tuple[int, str], _Block] = {}

    def write(self, obj) -> tuple[bytes, list[_Block]]:
        self.save(obj, ())
        self.out.append(b".")
        text = b"".join(part if isinstance(part, bytes) else part() for part in self.out)
        return text, list(self.blocks.values())

    # --- values ------------------------------------------------------------------------------------------------------

    def save(self, value, path):
        known = self.memo.get(id(value))
        if known is not None:
            self.out.append(b"j" + struct.pack("<I", known))
        elif value is None or isinstance(value, bool):
            self.out.append({None: b"N", True: b"\x88", False: b"\x89"}[value])
        elif isinstance(value, np.generic) and not isinstance(value, (np.str_, np.bytes_)):
            self.save(value.item(), path)
        elif isinstance(value, int):
            self.out.append(_integer(int(value)))
        elif isinstance(value, float):
            self.out.append(b"G" + struct.pack(">d", value))
        elif isinstance(value, str):
            data = value.encode("utf-8", "surrogatepass")
            self.out.append(b"X" + struct.pack("<I", len(data)) + data)
            self.keep(value)
        elif isinstance(value, Tensor):
            self.tensor(value)
            self.keep(value)
        elif isinstance(value, dict):
            self.mapping(value, path)
        elif isinstance(value, Size):
            self.name("torch Size")
            self.items(tuple(value), path)
            self.out.append(b"\x85R")
        elif isinstance(value, tuple):
            self.items(value, path)
        elif isinstance(value, list):
            self.out.append(b"]")
            self.keep(value)
            self.run(value, path, b"e")
        elif isinstance(value, (set, frozenset)):
            self.name(f"__builtin__ {'frozenset' if isinstance(value, frozenset) else 'set'}")
            self.out.append(b"]")
            self.run(sorted(value, key=repr), path, b"e")
            self.out.append(b"\x85R")
        elif isinstance(value, (bytes, bytearray)):
            self.bytes(value)
        elif isinstance(value, complex):
            self.call("__builtin__ complex", value.real, value.imag)
        elif isinstance(value, dtypes.dtype):
            self.name(f"torch {value.name}")
        elif isinstance(value, Device):
            self.call("torch device", *([value.type] if value.index is None else [value.type, value.index]))
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject and value.dtype.names is None:
            self.array(value)
        else:
            self.refuse(value, path)

    def refuse(self, value, path):
        where = f"the value at {'.'.join(path)!r}" if path else "the object"
        if hasattr(value, "state_dict"):
            advice = "save its state_dict() instead"
        else:
            advice = "files hold tensors, arrays, numbers, strings, lists and dicts; use pickle for other objects"
        raise TypeError(f"save: {where} is of type {type(value).__name__}; {advice}")

    def keep(self, value):
        """Remember ``value``, which was just written, so that it is written once."""
        self.memo[id(value)] = number = len(self.memo)
        self.kept.append(value)
        self.out.append(b"r" + struct.pack("<I", number))

    def name(self, name):
        module, _, rest = name.partition(" ")
        self.out.append(f"c{module}\n{rest}\n".encode())

    def call(self, name, *arguments):
        self.name(name)
        self.items(arguments, ())
        self.out.append(b"R")

    def items(self, values, path):
        """A tuple."""
        self.out.append(b"(")
        for k, value in enumerate(values):
            self.save(value, (*path, str(k)))
        self.out.append(b"t")

    def run(self, values, path, end):
        self.out.append(b"(")
        for k, value in enumerate(values):
            self.save(value, (*path, str(k)))
        self.out.append(end)

    def mapping(self, value, path):
        ordered = isinstance(value, OrderedDict)
        if ordered or isinstance(value, Counter):
            self.name("collections OrderedDict" if ordered else "collections Counter")
            self.out.append(b")R")
        else:
            self.out.append(b"}")
        self.keep(value)
        self.out.append(b"(")
        for key, item in value.items():
            self.save(key, path)
            self.save(item, (*path, str(key)))
        self.out.append(b"u")
        metadata = getattr(value, "_metadata", None)  # the versions of a module's state
        if ordered and metadata is not None:
            self.save({"_metadata": metadata}, (*path, "_metadata"))
            self.out.append(b"b")

    def bytes(self, value):
        if isinstance(value, bytearray):
            self.name("__builtin__ bytearray")
        self.name("_codecs encode")
        self.out.append(b"(")
        self.save(value.decode("latin-1"), ())
        self.save("latin1", ())
        self.out.append(b"tR")
        if isinstance(value, bytearray):
            self.out.append(b"\x85R")

    def array(self, value):
        self.name("numpy._core.multiarray _reconstruct")
        self.out.append(b"(")
        self.name("numpy ndarray")
        self.save((0,), ())
        self.bytes(b"b")
        self.out.append(b"tR")
        self.keep(value)
        self.out.append(b"(K\x01")
        self.save(tuple(value.shape), ())
        code = value.dtype.str
        self.call("numpy dtype", code[1:], False, True)
        wide = value.dtype.itemsize if value.dtype.kind in "SU" else -1
        self.save((3, code[0], None, None, None, wide, 1 if value.dtype.kind == "S" else 4 if wide > 0 else -1, 0), ())
        self.out.append(b"b\x89")
        self.bytes(np.ascontiguousarray(value).tobytes())
        self.out.append(b"tb")

    # --- tensors -----------------------------------------------------------------------------------------------------

    def tensor(self, tensor):
        parameter = isinstance(tensor, Parameter)
        if not tensor.is_leaf:
            tensor = tensor.detach()
        if parameter:
            self.name("torch._utils _rebuild_parameter")
            self.out.append(b"(")
        m = tensor._m
        key = id(storage_of(tensor)), m.dtype.name
        block = self.blocks.get(key)
        if block is None:
            block = self.blocks[key] = _Block(str(len(self.blocks)), tensor)
            self.kept.append(tensor)
        else:
            block.tensors.append(tensor)
        self.name("torch._utils _rebuild_tensor_v2")
        self.out.append(b"((")
        self.save("storage", ())
        self.name(f"torch {_CLASSES[m.dtype.name]}")
        self.save(block.key, ())
        self.save(str(m.device), ())
        self.out += [lambda: _integer(block.count), b"tQ", lambda: _integer(block.begin(tensor) - block.low)]
        self.save(tuple(m.shape), ())
        self.save(tuple(m.strides), ())
        self.save(tensor.requires_grad and not parameter, ())
        self.out.append(b"ccollections\nOrderedDict\n)RtR")
        if parameter:
            self.save(tensor.requires_grad, ())
            self.out.append(b"ccollections\nOrderedDict\n)RtR")


def _integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data if len(data) < 256 else b"\x8b" + struct.pack("<i", len(data)) + data


def write_zip(obj: Any, file: IO[bytes] | str) -> None:
    """Write ``obj`` as an archive to a binary file or a path."""
    pickled, blocks = _Pickler().write(obj)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        _entry(archive, "data.pkl", pickled)
        _entry(archive, "byteorder", sys.byteorder.encode())
        for block in blocks:
            _entry(archive, f"data/{block.key}", block.numbers().view(np.uint8))
        _entry(archive, "version", b"3\n")


def _entry(archive: zipfile.ZipFile, name: str, data) -> None:
    """Add an entry whose contents begin at a multiple of the alignment."""
    entry = zipfile.ZipInfo(f"archive/{name}")
    entry.file_size = size = len(data)
    assert archive.fp is not None
    header = 30 + len(entry.filename) + (20 if size * 1.05 > zipfile.ZIP64_LIMIT else 0)
    padding = -(archive.start_dir + header + 4) % _ALIGNMENT  # type: ignore[attr-defined]
    entry.extra = b"FB" + struct.pack("<H", padding) + bytes(padding)
    with archive.open(entry, "w") as stream:
        stream.write(memoryview(data))
