"""The accelerator that there is, as ``torch.accelerator``: CUDA or none."""

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
