"""Device memory: typed flat buffers, a caching pool over the driver's stream-ordered one, copies, the current stream.

Nothing here touches the driver until a device is asked for.
"""

import contextlib
import threading
import weakref

import numpy as np

from ...device import current
from ...errors import DeviceError, OutOfMemoryError
from ...layout import geometry
from ...storage import pinned
from ..buffer import FlatBuffer
from ..dlpack import CUDA, capsule


class _Local(threading.local):
    """What is current on this thread: the device whose context is active, and the stream that launches go to."""

    device = None
    stream = 0

    def __init__(self):
        self.streams: dict = {}  # of each device, where another than the default one is current


local = _Local()


class Device:
    """One device: its driver, the kernels loaded on it, its pool of free blocks."""

    def __init__(self, driver, index: int):
        self.driver, self.index = driver, index
        self.properties = driver.properties(index)
        self.functions: dict = {}
        self.free: dict = {}  # (stream, size) -> blocks, as (address, what the driver takes back)
        self.allocated = self.reserved = self.peak = 0
        self.launchers: dict = {}  # number of parameters -> the driver's launch
        self.zeros: dict = {}
        self.constants: dict = {}
        self.products = None
        self.lock = threading.Lock()

    def launcher(self, parameters: int):
        """The driver's ``launch(function, blocks, threads, stream, *values)`` for a number of parameters; it returns an
        error code, 0 for none."""
        found = self.launchers[parameters] = self.driver.launcher(parameters)
        return found

    def load(self, source):
        """The loaded function of a kernel on this device."""
        with self.lock:
            found = self.functions.get(source.digest)
            if found is None:
                found = self.driver.load(source, self.index, self.properties["capability"])
                self.functions[source.digest] = found
        return found

    def _fresh(self, size, stream):
        try:
            found = self.driver.allocate(self.index, size, stream)
        except OutOfMemoryError:
            self.empty_cache()
            try:
                found = self.driver.allocate(self.index, size, stream)
            except OutOfMemoryError as error:
                free, total = self.driver.memory_info(self.index)
                raise OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {_bytes(size)}. Device {self.index} "
                    f"({self.properties['name']}) has {_bytes(total)}, of which {_bytes(free)} is free; numgrad holds "
                    f"{_bytes(self.allocated)} in tensors and {_bytes(self.reserved - self.allocated)} for reuse. Use "
                    f"smaller batches, or delete tensors that are no longer needed. ({error})"
                ) from None
        self.reserved += size
        return found

    def empty_cache(self) -> None:
        """Give all unused blocks back to the driver."""
        for (_, size), blocks in self.free.items():
            while blocks:
                self.driver.release(blocks.pop()[1])
                self.reserved -= size


def _rounded(size):
    if size <= 4096:
        return max(512, -(-size // 512) * 512)
    step = 1 << ((size - 1).bit_length() - 3)
    return -(-size // step) * step  # at most a quarter wasted, few distinct sizes


def _bytes(size):
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.2f} {unit}"
    return f"{size} bytes"


# --- devices ---------------------------------------------------------------------------------------------------------

_driver = None
_devices: dict = {}


def driver():
    """The driver, started on first use; DeviceError where there is none."""
    global _driver
    if _driver is None:
        from .driver import Driver

        _driver = Driver()
    return _driver


@contextlib.contextmanager
def using(machine):
    """Let ``machine`` stand for the driver, as `simulation.Machine` does in tests."""
    global _driver, _devices
    before = _driver, _devices, local.device, local.stream, local.streams
    index = current.index
    current.index = 0
    _driver, _devices, local.device, local.stream, local.streams = machine, {}, None, 0, {}
    try:
        yield machine
    finally:
        _driver, _devices, local.device, local.stream, local.streams = before
        current.index = index


def device(index: int | None = None) -> Device:
    """The device with this index (default: the current one), started on first use."""
    if index is None:
        if local.device is None:
            activate(device(0))
        return local.device
    found = _devices.get(index)
    if found is None:
        count = driver().count()
        if not 0 <= index < count:
            raise DeviceError(f"device 'cuda:{index}' does not exist: there are {count} CUDA devices, numbered from 0")
        found = _devices.setdefault(index, Device(driver(), index))
    return found


def activate(chosen: Device) -> None:
    """Make a device, and the stream chosen for it, current on this thread."""
    chosen.driver.activate(chosen.index)
    local.device, local.stream = chosen, local.streams.get(chosen.index, 0)
    current.index = chosen.index


def require(chosen: Device) -> None:
    """Make ``chosen`` current if it is not."""
    if local.device is not chosen:
        activate(chosen)


def is_started() -> bool:
    """Whether the driver was started."""
    return _driver is not None


def stream_of(chosen: Device) -> int:
    """The handle of a device's current stream on this thread."""
    return local.streams.get(chosen.index, 0)


def set_stream(chosen: Device, handle: int) -> int:
    """Make a stream the current one of its device on this thread; the handle of the one before."""
    before = local.streams.get(chosen.index, 0)
    local.streams[chosen.index] = handle
    if local.device is chosen:
        local.stream = handle
    return before


# --- buffers ---------------------------------------------------------------------------------------------------------


class Buffer(FlatBuffer):
    """Flat device memory of one dtype: ``ptr`` its address, ``size`` its elements. Slices share the memory, and keep
    its ``owner``."""

    __slots__ = ("device", "owner", "__weakref__")

    def __init__(self, ptr: int, dtype: np.dtype, size: int, device: Device, owner):
        self.ptr, self.dtype, self.size, self.device, self.owner = ptr, dtype, size, device, owner

    def __repr__(self):
        return f"Buffer({self.size} x {self.dtype} at {self.ptr:#x} on cuda:{self.device.index})"

    def __getitem__(self, key):
        if not isinstance(key, slice):
            return self.item(key)
        ptr, size = self.part(key)
        return Buffer(ptr, self.dtype, size, self.device, self.owner or self)

    def __setitem__(self, key, value):
        target = self[key] if isinstance(key, slice) else self[key : key + 1]
        if not isinstance(value, Buffer):
            value = np.ascontiguousarray(np.broadcast_to(np.asarray(value, self.dtype), (target.size,)))
        if value.size != target.size or value.dtype != target.dtype:
            raise ValueError(
                f"device memory: cannot write {value.size} x {value.dtype} over {target.size} x {target.dtype}"
            )
        if target.size:
            _write(target, value)

    def fill(self, value) -> None:
        """Set every element."""
        self[:] = value

    def item(self, index: int = 0):
        """An element as a Python number; waits for the device."""
        host = np.empty(1, self.dtype)
        require(self.device)
        self.device.driver.download(host, self.ptr + range(self.size)[index] * self.dtype.itemsize, local.stream)
        return host.item()

    def copy(self) -> "Buffer":
        """The same elements in memory of their own on the same device."""
        require(self.device)
        found = empty(self.size, self.dtype)
        found[:] = self
        return found

    def view(self, dtype) -> "Buffer":
        """The same bytes as another dtype."""
        dtype = np.dtype(dtype)
        if self.nbytes % dtype.itemsize or self.ptr % dtype.itemsize:
            raise ValueError(f"device memory: {self.nbytes} bytes at {self.ptr:#x} are not whole elements of {dtype}")
        return Buffer(self.ptr, dtype, self.nbytes // dtype.itemsize, self.device, self.owner or self)

    @property
    def __cuda_array_interface__(self):
        return {
            "shape": (self.size,), "typestr": self.dtype.str, "data": (self.ptr if self.size else 0, False),
            "strides": None, "version": 3, "stream": local.stream or 1,
        }  # fmt: skip

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda device memory to numpy; copy the tensor to the host with .cpu() first")

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        return self.shaped_capsule((self.size,), (1,), stream)

    def __dlpack_device__(self):
        return CUDA, self.device.index

    def shaped_capsule(self, shape: tuple, strides: tuple, stream=None):
        """A DLPack capsule over the memory with a shape and strides in elements."""
        wait_for_current(self.device, stream)
        return capsule(self, self.ptr if self.size else 0, self.dtype, shape, strides, self.device.index)


def wait_for_current(device: Device, stream) -> None:
    """Let a consumer's stream (a DLPack number: None and -1 for no wait) see what was launched so far."""
    if stream in (None, -1):
        return
    require(device)
    consumer = 0 if stream in (0, 1) else stream
    if consumer != local.stream:
        event = device.driver.new_event(False)
        device.driver.record_event(event, local.stream)
        device.driver.wait_event(event, consumer)
        device.driver.close_event(event)


class _Root(Buffer):
    """A buffer that owns its block: back in the device's pool when the last buffer on it is gone."""

    __slots__ = ("block", "blocks", "bytes")

    def __del__(self):
        self.device.allocated -= self.bytes
        self.blocks.append(self.block)


def empty(size: int, dtype: np.dtype) -> Buffer:
    """Uninitialised memory on the current device, for the current stream."""
    return _take(local.device or device(), size, dtype, _rounded(size * dtype.itemsize))


def _take(here, size, dtype, rounded):
    stream = local.stream
    blocks = here.free.get((stream, rounded))
    if blocks is None:
        blocks = here.free.setdefault((stream, rounded), [])
    try:
        block = blocks.pop()
    except IndexError:
        block = here._fresh(rounded, stream)
    found = _Root(block[0], dtype, size, here, None)
    found.block, found.blocks, found.bytes = block, blocks, rounded
    allocated = here.allocated = here.allocated + rounded
    if allocated > here.peak:
        here.peak = allocated
    return found


def allocator(where):
    """The function ``empty(n, dtype)`` of a device, given by an object with an ``index``."""
    index = where.index or 0
    last = last_dtype = None
    rounded = 0

    def allocate(n, dtype):
        nonlocal last, last_dtype, rounded
        if n != last or dtype is not last_dtype:  # a meta asks for one size only
            last, last_dtype, rounded = n, dtype, _rounded(n * dtype.itemsize)
        here = local.device
        if here is None or here.index != index:
            here = device(index)
            activate(here)
        return _take(here, n, dtype, rounded)

    return allocate


def _write(target, value):
    require(target.device)
    if isinstance(value, Buffer):
        if value.device is not target.device:
            value.device.driver.synchronize(value.device.index)
            require(target.device)
        target.device.driver.move(target.ptr, value.ptr, target.nbytes, local.stream)
    else:
        target.device.driver.upload(target.ptr, value, local.stream)
        if pinned(value):  # which the device reads by itself, while the host might go on to write
            target.device.driver.synchronize_stream(local.stream)


def copy_to_host(buffer: Buffer) -> np.ndarray:
    """The elements as a flat ndarray; waits for the device."""
    host = np.empty(buffer.size, buffer.dtype)
    if buffer.size:
        require(buffer.device)
        buffer.device.driver.download(host, buffer.ptr, local.stream)
    return host


def copy_to_device(source, where) -> Buffer:
    """The elements of an ndarray (flattened) or of a buffer on the device given by an object with an ``index``."""
    require(device(where.index or 0))
    return copy_to_current(source)


def copy_to_current(source) -> Buffer:
    """The elements of an ndarray (flattened) or of a buffer in fresh memory of the current device."""
    if not isinstance(source, Buffer):
        source = np.ascontiguousarray(source).reshape(-1)
    found = empty(source.size, source.dtype)
    if source.size:
        _write(found, source)
    return found


def adopt(owner) -> Buffer:
    """The memory of an object with ``__cuda_array_interface__``, row-major, without a copy."""
    interface = owner.__cuda_array_interface__
    dtype = np.dtype(interface["typestr"])
    size, step = 1, dtype.itemsize
    geometry("adopt", interface["shape"], interface.get("strides") or (0,) * len(interface["shape"]))
    for n, stride in zip(reversed(interface["shape"]), reversed(interface.get("strides") or ())):
        if stride != step and n != 1:
            raise ValueError("adopt: expected row-major device memory, got other strides; make it contiguous first")
        step *= n
    for n in interface["shape"]:
        size *= n
    stream = interface.get("stream")
    if stream is not None:
        device().driver.synchronize_stream(0 if stream == 1 else stream)
    return Buffer(interface["data"][0], dtype, size, device(), owner)


def adopt_capsule(taken) -> Buffer:
    """The CUDA memory of a `dlpack.Taken`, from its first element to its last, without a copy."""
    span = 1 + sum((n - 1) * step for n, step in zip(taken.shape, taken.strides)) if 0 not in taken.shape else 0
    return Buffer(taken.address, taken.dtype, span, device(taken.index), taken)


class PinnedMemory:
    """``size`` bytes of page-locked host memory, which devices reach by themselves: copies run at the bus's full speed.

    NumPy makes arrays over it; the driver gets it back with the last of them.
    """

    pinned = True

    def __init__(self, size: int):
        here = device()
        activate(here)
        address = here.driver.allocate_host(max(size, 1))
        self.__array_interface__ = {"data": (address, False), "shape": (size,), "typestr": "|u1", "version": 3}
        weakref.finalize(self, here.driver.release_host, address).atexit = False


def constant(array: np.ndarray) -> Buffer:
    """A small host array in device memory, kept by its content: geometries, tables of sizes."""
    known = local.device.constants
    key = local.stream, array.dtype.char, array.tobytes()
    found = known.get(key)
    if found is None:
        if len(known) > 1 << 12:
            known.clear()
        found = known[key] = copy_to_current(array)
    return found


def counters() -> Buffer:
    """int32 counters that are zero whenever no kernel is running, of the current device and stream."""
    zeros = local.device.zeros
    found = zeros.get(local.stream)
    if found is None:
        found = zeros[local.stream] = empty(1024, np.dtype(np.int32))
        local.device.driver.clear(found.ptr, found.nbytes, local.stream)
    return found
