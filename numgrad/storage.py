"""Memory and what describes it: allocation with a pool for large blocks, version records, interned metas.

A tensor's data is a flat one-dimensional array that starts at the view's first element; its shape, strides and
dtype are an interned `Meta`; what it shares with its views and with ``.data`` is a `Storage`.
"""

import functools
import mmap
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes
from .device import CPU, Device
from .dtypes import dtype as DType
from .layout import Size, contiguous_strides, geometry, in_format, integers, is_contiguous, span, suggested_format

_META_LIMIT = 1 << 16  # interned metas kept; identity is only ever a short cut, so forgetting them is safe


class Meta:
    """Dtype, shape, strides and device of a tensor, interned: the same combination is the same object.

    ``last`` is the channels-last format that the strides are in, if any, ``packed`` whether they are so without gaps.
    """

    __slots__ = (
        "dtype", "np", "shape", "strides", "numel", "ndim", "contiguous", "span", "device", "empty", "last", "packed",
    )  # fmt: skip

    batched = False  # whether it describes one sample of a batched tensor, as `func.batched` has them

    def __init__(self, d: DType, shape: tuple, strides: tuple, device: Device):
        self.dtype, self.np, self.device = d, d.np, device
        if d.unprepared:
            dtypes.prepare(d)
        if d.unprepared is not None and device.type == "cuda":
            raise RuntimeError(f"{d!r} tensors exist on the CPU only so far; convert with .float() before .to('{device}')")
        self.shape, self.strides, self.ndim = Size(shape), strides, len(shape)
        self.numel = self.shape.numel()
        self.contiguous = is_contiguous(shape, strides)
        self.span = span(shape, strides)
        self.last = suggested_format(shape, strides)
        self.packed = self.last is not None and in_format(self.last, shape, strides)
        if device is CPU:
            self.empty = np.empty if self.numel * d.itemsize < _POOLED else _pool.empty
        else:
            self.empty = device.backend.allocator(device)  # the one place where a device without host memory enters

    def __repr__(self):
        return f"Meta({self.dtype!r}, {tuple(self.shape)}, strides={self.strides}, {self.device})"


_contiguous: dict = {}
_strided: dict = {}


def meta(d: DType, shape: tuple, device: Device = CPU) -> Meta:
    """The meta of a contiguous tensor."""
    key = d, shape, device
    found = _contiguous.get(key)
    if found is None:
        if len(_contiguous) > _META_LIMIT:
            _contiguous.clear()
        shape = integers("empty", "size", shape)
        geometry("empty", shape, contiguous_strides(shape))
        found = _contiguous[d, shape, device] = Meta(d, shape, contiguous_strides(shape), device)
    return found


def strided_meta(d: DType, shape: tuple, strides: tuple, device: Device = CPU) -> Meta:
    """The meta of a view; the contiguous one where the strides are row-major."""
    if strides == contiguous_strides(shape):
        return meta(d, shape, device)
    found = _strided.get((d, shape, strides, device))
    if found is None:
        if len(_strided) > _META_LIMIT:
            _strided.clear()
        shape, strides = geometry("empty_strided", shape, strides)
        found = _strided[d, shape, strides, device] = Meta(d, shape, strides, device)
    return found


class _Memory:
    """What records of the same memory have in common: an object that the collector follows, by which one finds the others."""


class Storage:
    """What a tensor and its views share: the root array and the record of writes.

    ``modified`` is the sequence number of the last write in the recorder's (falling) count, so that a saved
    value is stale exactly if ``storage.modified < node.seq``; ``version`` counts the writes, ``writer`` names
    the op that made the last one. ``views`` are weak references to the views that the recorder must follow,
    ``root`` is the flat array that the first tensor held, set when a view is made. Most tensors never get a Storage:
    it is made when one is shared, written to in place, or saved as a result. ``resizable`` is false where the memory
    belongs to an ndarray. ``memory`` is an object that several storages have in common which record writes to the same
    memory each for itself, as those of a tensor and its ``.data`` do.
    """

    root = writer = memory = None
    resizable = True
    inference = False
    version = modified = 0
    views: Sequence = ()

    def apart(self) -> "Storage":
        """A record of its own for the same memory."""
        if self.memory is None:
            self.memory = _Memory()
        other = type(self)()
        other.__dict__.update(self.__dict__, views=(), version=0, modified=0, writer=None)
        return other


class InferenceStorage(Storage):
    """That of a tensor that was made in `inference_mode`. ``block`` lives as long as the mode or such a tensor does."""

    inference = True
    block: Any = None


def same_memory(one: Storage | None, other: Storage | None) -> bool:
    """Whether two storages, None for memory that nothing else shows, are of the same memory."""
    return one is not None and other is not None and (
        one is other or (one.memory is not None and one.memory is other.memory)
    )


# --- memory that there is -----------------------------------------------------------------------------------------

_CHECKED = 1 << 30  # bytes: the system gives less than this at once, or says that it does not


@functools.cache
def _machine_memory() -> float:
    """Bytes of memory that this process may ever use, swap included; infinite where the system does not say."""
    try:
        found = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
    try:
        with open("/proc/meminfo") as file:
            found += sum(1024.0 * int(line.split()[1]) for line in file if line.startswith("SwapTotal"))
    except (OSError, ValueError):
        return float("inf")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                found = min(found, float(file.read()))
        except (OSError, ValueError):
            pass  # no such group, or "max"
    return found


def check_memory(size: int) -> None:
    """RuntimeError if ``size`` bytes are more than the machine has: it might hand out addresses without memory behind
    them, and end the process when they are used."""
    if size > _CHECKED and size > _machine_memory():
        raise _no_memory(size)


def _no_memory(size):
    if size >= 1 << 63:
        return RuntimeError(f"Storage size calculation overflowed: a tensor of {size} bytes has no 64-bit size")
    there = _machine_memory()
    more = "" if there == float("inf") else f"; this machine has {there / 2**30:,.1f} GiB"
    return RuntimeError(
        f"DefaultCPUAllocator: can't allocate memory: you tried to allocate {size} bytes ({size / 2**30:,.1f} GiB){more}"
    )


# --- a pool for large blocks ------------------------------------------------------------------------------------

_POOLED = 1 << 16  # bytes; fresh pages make a 40 MB result cost 17 ms instead of 7
_KEPT = 1 << 30  # bytes that the pool keeps at most


class _Lease:
    """A block on loan: gives it back to the pool when the last array on it is gone."""

    __slots__ = ("block", "pool", "__array_interface__")

    def __init__(self, block, pool):
        self.block, self.pool = block, pool
        self.__array_interface__ = block.__array_interface__

    def __del__(self):
        self.pool.give_back(self.block)


class _Pool:
    def __init__(self):
        self.free: dict[int, list] = {}
        self.held = 0
        self.lock = threading.Lock()

    def empty(self, n: int, d) -> np.ndarray:
        """An uninitialised flat array of ``n`` elements of NumPy dtype ``d``."""
        size = n * d.itemsize
        rounded = 1 << (size - 1).bit_length()
        step = rounded >> 3
        rounded = -(-size // step) * step  # at most 1/4 wasted, few distinct sizes
        blocks = self.free.get(rounded)
        try:
            block = blocks.pop()  # type: ignore[union-attr]
            self.held -= rounded
        except (AttributeError, IndexError):
            raw = self._fresh(rounded + 64)
            start = -raw.__array_interface__["data"][0] % 64
            block = raw[start : start + rounded]
        return np.asarray(_Lease(block, self))[:size].view(d)

    def _fresh(self, size: int) -> np.ndarray:
        """Bytes from the system; what the pool keeps is given up where they would not do otherwise."""
        if size > _CHECKED:
            check_memory(size)
        try:
            return np.empty(size, np.uint8)
        except MemoryError:
            self.clear()
        try:
            return np.empty(size, np.uint8)
        except MemoryError:
            raise _no_memory(size) from None

    def give_back(self, block):
        if self.held + block.nbytes <= _KEPT:
            self.held += block.nbytes
            self.free.setdefault(block.nbytes, []).append(block)

    def clear(self):
        """Return all unused blocks to the system."""
        self.free.clear()
        self.held = 0


_pool = _Pool()
release_unused_memory = _pool.clear


def flat(array: np.ndarray) -> tuple[np.ndarray, Meta]:
    """The flat array and the meta of an ndarray, without a copy where its layout allows one.

    Arrays with negative strides, strides that are no whole number of elements, or foreign byte order are copied.
    """
    d = dtypes.of(array.dtype)
    if array.flags.c_contiguous and array.dtype.isnative:
        return array.reshape(-1), meta(d, array.shape)
    size = d.itemsize
    if array.dtype.isnative and all(step >= 0 and step % size == 0 for step in array.strides):
        strides = tuple(step // size for step in array.strides)
        m = strided_meta(d, array.shape, strides)
        if m.contiguous:
            return np.lib.stride_tricks.as_strided(array, (m.numel,), (size,)), m
        return np.lib.stride_tricks.as_strided(array, (m.span,), (size,)), m
    array = np.ascontiguousarray(array, dtype=d.np)
    return array.reshape(-1), meta(d, array.shape)


def shaped(data: np.ndarray, m: Meta) -> np.ndarray:
    """An ndarray of the meta's shape over the same memory."""
    if m.contiguous:
        return data.reshape(m.shape)
    size = m.np.itemsize
    return np.lib.stride_tricks.as_strided(data, m.shape, tuple(step * size for step in m.strides))


# --- memory of other kinds -----------------------------------------------------------------------------------------


def _owner(array, quality: str) -> Any:
    """The object under an array that has ``quality``, or None."""
    base: Any = array
    while base is not None and not getattr(base, quality, False):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return base


def pinned(array: np.ndarray) -> bool:
    """Whether the memory under an array is page-locked, as `PinnedMemory` of the CUDA driver is."""
    return _owner(array, "pinned") is not None


class Segment(mmap.mmap):
    """Memory that processes share: a mapped file without a name. ``descriptor`` opens it elsewhere, and is None where files
    cannot be handed to other processes."""

    shared = True
    descriptor: int | None = None

    def __del__(self):
        if self.descriptor is not None:
            os.close(self.descriptor)


def shared_segment(size: int) -> Segment:
    """A new segment of ``size`` bytes."""
    size = max(size, 1)
    if sys.platform == "win32":
        return Segment(-1, size)
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("numgrad", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return opened_segment(descriptor, size)


def opened_segment(descriptor: int, size: int) -> Segment:
    """The segment behind a descriptor, which it closes at its end."""
    segment = Segment(descriptor, size)
    segment.descriptor = descriptor
    return segment


def segment_of(array: np.ndarray) -> Segment | None:
    """The shared segment that an array lies in, if any."""
    return _owner(array, "shared")


def __getattr__(name):
    if name.endswith("Storage") or name in ("_dtype_to_storage_type_map", "_storage_type_to_dtype_map"):  # PyTorch's module of this name has the classes
        from . import storages

        return getattr(storages, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
