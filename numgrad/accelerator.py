"""The accelerator that there is, as ``torch.accelerator``: CUDA or none."""

import contextlib
from collections.abc import Iterator
from typing import Any

from . import cuda
from .device import Device


def is_available() -> bool:
    """Whether there is an accelerator that numgrad can use."""
    return cuda.is_available()


def device_count() -> int:
    """The number of accelerators."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> Device | None:
    """The kind of accelerator as a device without index; None if there is none."""
    return Device("cuda") if cuda.is_available() else None


def current_device_index() -> int:
    """The index of the accelerator that new tensors and launches use."""
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Make ``device`` the current accelerator on this thread."""
    cuda.set_device(device)


def synchronize(device: Any = None) -> None:
    """Wait until the accelerator has done all that it was given; nothing where there is none."""
    if cuda.is_available():
        cuda.synchronize(device)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability, such as (9, 0)."""
    return cuda.get_device_capability(device)


def empty_cache() -> None:
    """Return unused memory of the accelerator to the system."""
    if cuda.is_available():
        cuda.empty_cache()


# --- memory and streams ----------------------------------------------------------------------------------------------


def memory_allocated(device: Any = None) -> int:
    """The bytes that tensors on the accelerator take."""
    return cuda.memory_allocated(device)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors on the accelerator took since `reset_peak_memory_stats`."""
    return cuda.max_memory_allocated(device)


def memory_reserved(device: Any = None) -> int:
    """The bytes that are kept for tensors on the accelerator, used or not."""
    return cuda.memory_reserved(device)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Count `max_memory_allocated` from now on."""
    cuda.reset_peak_memory_stats(device)


def get_memory_info(device: Any = None) -> tuple[int, int]:
    """The free bytes of the accelerator and all of them."""
    return cuda.mem_get_info(device)


def current_stream(device: Any = None) -> cuda.Stream:
    """The stream that launches on the accelerator go to."""
    return cuda.current_stream(device)


def set_stream(stream: cuda.Stream) -> None:
    """Let launches of this thread go to ``stream``."""
    cuda.set_stream(stream)


@contextlib.contextmanager
def device_index(device: int | None) -> Iterator[None]:
    """Context in which ``device`` is the current accelerator; None changes nothing."""
    if device is None:
        yield
        return
    with cuda.device(device):
        yield


current_device_idx, set_device_idx = current_device_index, set_device_index
