"""CUDA devices, as ``torch.cuda``: availability, streams and events, memory, random state.

Importing this touches no driver; the first function that needs a device does.
"""

import contextlib
from typing import Any

from .device import Device
from .errors import DeviceError, OutOfMemoryError
from .kernels.cuda import memory, random
from .kernels.cuda.matmul import set_precision
from .paths import submodules

__path__: list[str] = []  # so that ``import torch.cuda.amp`` looks for it: numgrad/paths.py has it

_submodule = submodules(__name__, only_paths=True)


def __getattr__(name):
    if name.endswith("Tensor"):
        from .tensor_types import ON_CUDA

        if name in ON_CUDA:
            return ON_CUDA[name]
    return _submodule(name)


def is_available() -> bool:
    """Whether there is a CUDA device that numgrad can use."""
    return device_count() > 0


def device_count() -> int:
    """The number of CUDA devices; 0 where the driver or the packages for it are missing."""
    try:
        return memory.driver().count()
    except DeviceError:
        return 0


def init() -> None:
    """Start the driver now; DeviceError says what is missing."""
    memory.device()


def is_initialized() -> bool:
    """Whether the driver was started."""
    return memory.is_started()


def _index(device: Any = None) -> int:
    if device is None:
        return current_device()
    if isinstance(device, int):
        return device
    chosen = Device(device)
    if chosen.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {chosen}")
    return current_device() if chosen.index is None else chosen.index


def current_device() -> int:
    """The index of the device that new CUDA tensors and launches use."""
    return memory.device().index


def set_device(device: Any) -> None:
    """Make ``device`` the current one on this thread."""
    memory.activate(memory.device(_index(device)))


@contextlib.contextmanager
def device(device: Any):
    """Context in which ``device`` (index, name or None for no change) is the current one."""
    before = memory.device()
    if device is not None:
        set_device(device)
    try:
        yield
    finally:
        memory.activate(before)


def get_device_name(device: Any = None) -> str:
    """The device's name."""
    return memory.device(_index(device)).properties["name"]


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability, such as (9, 0)."""
    return memory.device(_index(device)).properties["capability"]


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether CUDA tensors may be bfloat16: not yet, whatever the device."""
    return False


class DeviceProperties:
    """Name, compute capability, memory in bytes and number of multiprocessors of a device."""

    def __init__(self, properties: dict):
        self.name = properties["name"]
        self.major, self.minor = properties["capability"]
        self.total_memory = properties["total_memory"]
        self.multi_processor_count = properties["multiprocessors"]

    def __repr__(self):
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory // (1 << 20)}MB, multi_processor_count={self.multi_processor_count})"
        )


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What is known about a device."""
    return DeviceProperties(memory.device(_index(device)).properties)


def synchronize(device: Any = None) -> None:
    """Wait for all work on a device."""
    chosen = memory.device(_index(device))
    chosen.driver.synchronize(chosen.index)


# --- memory ----------------------------------------------------------------------------------------------------------


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors occupy, 512 or an eighth of their size rounded up."""
    return memory.device(_index(device)).allocated


def max_memory_allocated(device: Any = None) -> int:
    """The largest `memory_allocated` since the start or `reset_peak_memory_stats`."""
    return memory.device(_index(device)).peak


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the driver: those of tensors, and those kept for reuse."""
    return memory.device(_index(device)).reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let `max_memory_allocated` start again from now."""
    chosen = memory.device(_index(device))
    chosen.peak = chosen.allocated


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of a device, by the driver."""
    chosen = memory.device(_index(device))
    return chosen.driver.memory_info(chosen.index)


def empty_cache() -> None:
    """Give memory that is kept for reuse back to the driver."""
    if memory.is_started():
        memory.device().empty_cache()


# --- streams and events ----------------------------------------------------------------------------------------------


class Stream:
    """A queue of work on a device; work on different streams may overlap.

    ``stream_ptr`` adopts a stream of another library by its handle.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, stream_ptr: int | None = None):
        self._device = memory.device(_index(device))
        self.device = Device("cuda", self._device.index)
        self._owned = stream_ptr is None
        if stream_ptr is None:
            self.cuda_stream = self._device.driver.new_stream(self._device.index, priority)
        else:
            self.cuda_stream = stream_ptr
            self._device.driver.adopt_stream(stream_ptr)

    def synchronize(self) -> None:
        """Wait for all work on the stream."""
        self._device.driver.synchronize_stream(self.cuda_stream)

    def query(self) -> bool:
        """Whether all work on the stream is complete."""
        return self._device.driver.stream_done(self.cuda_stream)

    def wait_event(self, event: "Event") -> None:
        """Let later work on the stream wait for an event."""
        event.wait(self)

    def wait_stream(self, stream: "Stream") -> None:
        """Let later work on this stream wait for the work on another so far."""
        self.wait_event(stream.record_event())

    def record_event(self, event: "Event | None" = None) -> "Event":
        """Mark the end of the work so far by an event (default: a new one)."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __eq__(self, other):
        return isinstance(other, Stream) and (self.device, self.cuda_stream) == (other.device, other.cuda_stream)

    def __hash__(self):
        return hash((self.device, self.cuda_stream))

    def __repr__(self):
        return f"<numgrad.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


def current_stream(device: Any = None) -> Stream:
    """The stream that launches on a device go to, on this thread."""
    chosen = memory.device(_index(device))
    return Stream(chosen.index, stream_ptr=memory.stream_of(chosen))


def default_stream(device: Any = None) -> Stream:
    """The stream that is current unless another was chosen."""
    return Stream(_index(device), stream_ptr=0)


def set_stream(stream: Stream) -> None:
    """Make ``stream`` the current one of its device on this thread."""
    memory.set_stream(stream._device, stream.cuda_stream)


@contextlib.contextmanager
def stream(stream: Stream | None):
    """Context in which launches go to ``stream`` (None: no change)."""
    if stream is None:
        yield
        return
    before = memory.device()
    memory.require(stream._device)
    handle = memory.set_stream(stream._device, stream.cuda_stream)
    try:
        yield
    finally:
        memory.set_stream(stream._device, handle)
        memory.require(before)


class Event:
    """A mark in a stream: for waiting, and with ``enable_timing`` for measuring."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False):
        self._timing = enable_timing
        self._event = self._device = None

    def record(self, stream: Stream | None = None) -> None:
        """Mark the end of the work on ``stream`` (default: the current one) so far."""
        chosen = memory.device() if stream is None else stream._device
        if self._event is None:
            memory.require(chosen)
            self._device, self._event = chosen, chosen.driver.new_event(self._timing)
        handle = memory.stream_of(chosen) if stream is None else stream.cuda_stream
        chosen.driver.record_event(self._event, handle)

    def wait(self, stream: Stream | None = None) -> None:
        """Let later work on ``stream`` (default: the current one) wait for the event."""
        if self._event is not None:
            chosen = memory.device() if stream is None else stream._device
            handle = memory.stream_of(chosen) if stream is None else stream.cuda_stream
            chosen.driver.wait_event(self._event, handle)

    def query(self) -> bool:
        """Whether the work before the event is complete."""
        return self._event is None or self._device.driver.event_done(self._event)

    def synchronize(self) -> None:
        """Wait for the event."""
        if self._event is not None:
            self._device.driver.synchronize_event(self._event)

    def elapsed_time(self, end_event: "Event") -> float:
        """Milliseconds from this event to another; both with ``enable_timing`` and complete."""
        if not (self._timing and end_event._timing):
            raise RuntimeError("elapsed_time: both events must be made with enable_timing=True")
        if self._event is None or end_event._event is None:
            raise RuntimeError("elapsed_time: both events must be recorded before calculating elapsed time")
        return self._device.driver.elapsed(self._event, end_event._event)

    def __del__(self):
        if self._event is not None:
            self._device.driver.close_event(self._event)


# --- random numbers --------------------------------------------------------------------------------------------------


def manual_seed(seed: int) -> None:
    """Start the random stream of the current device at ``seed``; kept for when a device is first used."""
    random.generator(memory.device().index if memory.is_started() else 0).manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Start the random streams of all devices at ``seed``."""
    random.seed_all(seed)


def seed() -> int:
    """Start a random stream that cannot be foreseen on the current device; return its seed."""
    return random.generator(current_device()).seed()


def initial_seed() -> int:
    """The seed of the current device's stream."""
    return random.generator(current_device()).initial_seed()


def get_rng_state(device: Any = None):
    """The state of a device's random stream, 16 bytes."""
    return random.generator(_index(device)).get_state()


def set_rng_state(new_state, device: Any = None) -> None:
    """Continue a device's random stream from a state of `get_rng_state`."""
    random.generator(_index(device)).set_state(new_state)


__all__ = [
    "DeviceProperties", "Event", "OutOfMemoryError", "Stream", "current_device", "current_stream", "default_stream",
    "device", "device_count", "empty_cache", "get_device_capability", "get_device_name", "get_device_properties",
    "get_rng_state", "init", "initial_seed", "is_available", "is_initialized", "manual_seed", "manual_seed_all",
    "max_memory_allocated", "mem_get_info", "memory_allocated", "memory_reserved", "reset_peak_memory_stats", "seed",
    "set_device", "set_precision", "set_rng_state", "set_stream", "stream", "synchronize",
]  # fmt: skip
