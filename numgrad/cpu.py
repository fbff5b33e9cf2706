"""The CPU as a device, as ``torch.cpu``."""

from .amp import cpu as amp


def is_available() -> bool:
    """Whether there is a CPU: always."""
    return True


def device_count() -> int:
    """The number of CPU devices: 1."""
    return 1


def current_device() -> str:
    """The name of the CPU device."""
    return "cpu"


def synchronize(device=None) -> None:
    """Wait for the CPU: its kernels have ended when their call returns."""


__all__ = ["amp", "is_available", "device_count", "current_device", "synchronize"]
