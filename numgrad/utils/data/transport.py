"""Objects between processes: pickled, with the memory of tensors and arrays in a shared segment instead of the stream.

A segment is a file without a name (memfd on Linux), whose descriptor travels over the same socket. The system frees it
when the last process has unmapped it, whatever way they end, so that nothing is left behind. Tensors of one storage
share it on the other side too, and of a large storage only the part is sent that the tensors lie in.
"""

import io
import mmap
import os
import pickle
import sys
import tempfile
from collections.abc import Iterable
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from ... import dtypes
from ...device import CPU
from ...layout import contiguous_strides
from ...nn.parameter import Parameter
from ...storage import Storage
from ...tensor import Tensor, address, from_array, lay, storage_of, wrap_as

_ALIGNMENT = 64
_INLINE = 1 << 14  # bytes up to which blocks travel in the stream: a segment costs more than such a copy
_SEGMENTS = sys.platform != "win32"  # whether a file's descriptor can be handed to another process


class Packed(NamedTuple):
    """An object taken apart: a pickle and the blocks of memory that it refers to, the last ones as tensors' storages."""

    stream: bytes
    blocks: list[np.ndarray]  # flat, uint8
    tensors: list[tuple]  # (block, byte offset, dtype, shape, strides, whether a Parameter, requires_grad)


# --- an object as a stream and blocks of memory ------------------------------------------------------------------


class _Pickler(reduction.ForkingPickler):
    def __init__(self, file):
        super().__init__(file, 5, True, self._keep)
        self.buffers: list[np.ndarray] = []
        self.tensors: list[Tensor] = []

    def _keep(self, buffer):
        self.buffers.append(np.frombuffer(buffer.raw(), np.uint8))

    def reducer_override(self, obj):
        if isinstance(obj, Tensor) and not obj.is_leaf:
            raise RuntimeError(
                f"a tensor of shape {list(obj.shape)} with a grad_fn cannot be pickled for another process: its history stays "
                "here; send tensor.detach()"
            )
        if not isinstance(obj, Tensor):
            return NotImplemented
        plain = type(obj) in (Tensor, Parameter) and obj._m.device is CPU
        if not plain or any(not key.startswith("_") for key in obj.__dict__):
            return obj.__reduce_ex__(5)  # with the values that it keeps; arrays in them are blocks too
        self.tensors.append(obj)
        return _rebuilt, (len(self.tensors) - 1,)


def _rebuilt(number):
    raise pickle.UnpicklingError("this pickle refers to memory that is sent apart from it")


def pack(obj: Any) -> Packed:
    """``obj`` as a pickle and blocks of memory; anything that can be pickled."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(obj)
    blocks, groups, places = pickler.buffers, {}, {}
    for tensor in pickler.tensors:
        groups.setdefault(id(storage_of(tensor)), []).append(tensor)
    for group in groups.values():
        _place(group, blocks, places)
    return Packed(file.getvalue(), blocks, [places[id(tensor)] for tensor in pickler.tensors])


def _place(group: list[Tensor], blocks: list[np.ndarray], places: dict[int, tuple]) -> None:
    """Add the block that the tensors of one storage lie in, and say where each lies in it."""
    first = group[0]
    root = storage_of(first).root
    whole = (first._d if root is None else root).view(np.uint8)
    offsets = [address(tensor._d) - address(whole) for tensor in group]
    low = min(offsets) // _ALIGNMENT * _ALIGNMENT
    high = max(offset + tensor._d.nbytes for offset, tensor in zip(offsets, group))
    if len(group) == 1 and high - low > 2 * first.nbytes + _ALIGNMENT:  # wide strides: the elements alone are less
        whole = np.ascontiguousarray(first._stored()).reshape(-1).view(np.uint8)
        low, high, offsets, strides = 0, whole.size, [0], [contiguous_strides(first._m.shape)]
    else:
        strides = [tensor._m.strides for tensor in group]
    for tensor, offset, steps in zip(group, offsets, strides):
        m = tensor._m
        place = len(blocks), offset - low, m.dtype.name, tuple(m.shape), steps
        places[id(tensor)] = *place, type(tensor) is Parameter, tensor.requires_grad
    blocks.append(whole[low:high])


class _Unpickler(pickle.Unpickler):
    def __init__(self, packed: Packed):
        super().__init__(io.BytesIO(packed.stream), buffers=packed.blocks)
        self.blocks, self.tensors = packed.blocks, packed.tensors
        self.storages: dict[int, Storage] = {}

    def find_class(self, module, name):
        if name == "_rebuilt" and module == __name__:
            return self._tensor
        return super().find_class(module, name)

    def _tensor(self, number):
        block, offset, dtype, shape, strides, is_parameter, requires_grad = self.tensors[number]
        d = dtypes.BY_NAME[dtype]
        memory = self.blocks[block]
        end = offset + max(memory.size - offset, 0) // d.itemsize * d.itemsize
        tensor = lay("DataLoader", from_array(memory[offset:end].view(d.np)), 0, shape, strides)
        storage = self.storages.get(block)
        if storage is None:
            storage = self.storages[block] = storage_of(tensor)
            storage.root = memory[: memory.size // d.itemsize * d.itemsize].view(d.np)
        tensor._s = storage
        if is_parameter:
            tensor = wrap_as(Parameter, tensor)
        return tensor.requires_grad_() if requires_grad else tensor


def unpack(packed: Packed) -> Any:
    """The object that was packed, over the memory of the blocks."""
    return _Unpickler(packed).load()


# --- the blocks in a segment, and on their way -------------------------------------------------------------------


class Parcel:
    """A packed object as it travels: its ``head``, all but the blocks, and the descriptor of a segment with them, or
    None where they are few bytes and are in the head."""

    def __init__(self, packed: Packed, descriptor: int | None = None):
        sizes = [block.size for block in packed.blocks]
        contents = None
        self.descriptor = descriptor
        if descriptor is None and _SEGMENTS and sum(sizes) > _INLINE:
            self.descriptor = _segment(packed.blocks)
        elif descriptor is None:
            contents = bytearray().join(packed.blocks)  # type: ignore[arg-type]
        head = packed.stream, packed.tensors, sizes, contents
        self.head = pickle.dumps(head, pickle.HIGHEST_PROTOCOL)

    def close(self) -> None:
        """Give up the segment on this side."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _ends(sizes: Iterable[int], alignment: int) -> Iterable[tuple[int, int]]:
    """Where blocks of these sizes begin and end, one after the other."""
    at = 0
    for size in sizes:
        yield at, at + size
        at += -(-size // alignment) * alignment


def _segment(blocks: list[np.ndarray]) -> int:
    """The descriptor of a new segment with the blocks, each at a multiple of the alignment."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("numgrad", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        places = list(_ends((block.size for block in blocks), _ALIGNMENT))
        for block, (begin, _) in zip(blocks, places):
            rest = block.data
            while rest:
                written = os.pwrite(descriptor, rest, begin)
                begin, rest = begin + written, rest[written:]
        os.ftruncate(descriptor, places[-1][1])
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_parcel(head: bytes, descriptor: int | None) -> Any:
    """The object of a parcel; its tensors and arrays lie in the segment, which is closed with the last of them."""
    stream, tensors, sizes, contents = pickle.loads(head)
    if descriptor is None:
        memory, alignment = np.frombuffer(contents, np.uint8), 1
    else:
        try:
            populate = getattr(mmap, "MAP_POPULATE", 0)
            mapped = mmap.mmap(descriptor, 0, flags=mmap.MAP_SHARED | populate)
        finally:
            os.close(descriptor)
        memory, alignment = np.frombuffer(mapped, np.uint8), _ALIGNMENT
    blocks = [memory[begin:end] for begin, end in _ends(sizes, alignment)]
    if descriptor is None:
        blocks = [block.copy() for block in blocks]  # aligned, each memory of its own
    return unpack(Packed(stream, blocks, tensors))


def send(connection: Connection, parcel: Parcel, receiver: int) -> None:
    """Send a parcel to the process with the id ``receiver``."""
    connection.send_bytes(bytes([parcel.descriptor is not None]) + parcel.head)
    if parcel.descriptor is not None:
        reduction.send_handle(connection, parcel.descriptor, receiver)


def receive(connection: Connection) -> tuple[bytes, int | None]:
    """The next parcel, for `open_parcel`."""
    data = connection.recv_bytes()
    return data[1:], reduction.recv_handle(connection) if data[0] else None


class Shared:
    """Wraps an argument of processes that are started: its tensors and arrays reach all of them as one segment.

    ``value`` is the object; a child made by fork simply has it.
    """

    def __init__(self, value: Any):
        self.value = value
        self._segment: tuple[list, int] | None = None  # what lies in it, its descriptor

    def __reduce__(self):
        packed = pack(self.value)  # anew for each process: locks and queues are handed to each on its own
        contents = [(address(block), block.size) for block in packed.blocks]
        known = self._segment is not None and self._segment[0] == contents
        parcel = Parcel(packed, self._segment[1] if known else None)  # type: ignore[index]
        if parcel.descriptor is None:
            return _open_shared, (parcel.head, None)
        if not known:
            self.close()
            self._segment = contents, parcel.descriptor
        return _open_shared, (parcel.head, reduction.DupFd(parcel.descriptor))

    def close(self) -> None:
        """Give up the segment on this side, once the processes are started."""
        if self._segment is not None:
            os.close(self._segment[1])
            self._segment = None


def _open_shared(head, handle):
    return Shared(open_parcel(head, None if handle is None else handle.detach()))
