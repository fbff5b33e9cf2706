"""Devices: what a tensor is stored on. Touches the CUDA driver on first use, never on import."""

import re
import threading

from .contexts import within


class Device:
    """``Device("cpu")``, ``Device("cuda", 0)``, ``Device("cuda:0")`` or ``Device("meta")``; compared by value, usable as a
    context. Tensors on ``meta`` have a shape and a dtype but no memory.
    """

    __slots__ = ("type", "index", "backend")

    def __init__(self, type, index=None):
        if isinstance(type, Device):
            type, index = type.type, type.index if index is None else index
        elif isinstance(type, int) and not isinstance(type, bool):
            if type < 0:
                raise RuntimeError(f"Device index must not be negative, got {type}")
            type, index = "cuda", type
        match = re.fullmatch(r"(cpu|cuda|meta)(?::(0|[1-9]\d*))?", type) if isinstance(type, str) else None
        if match is None:
            raise RuntimeError(f"device: expected 'cpu', 'cuda', 'cuda:N' or 'meta', got {type!r}")
        if match[2] is not None:
            if index is not None:
                raise RuntimeError(f"device: the index is given twice: {type!r} and {index}")
            index = int(match[2])
        self.type, self.index = match[1], index

    def __getattr__(self, name):
        if name != "backend":
            raise AttributeError(f"'device' object has no attribute {name!r}")
        self.backend = _backend(self.type)
        return self.backend

    def __repr__(self):
        return f"device(type='{self.type}'" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self):
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other):
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self):
        return hash((self.type, self.index))

    def __reduce__(self):
        return Device, (self.type, self.index)

    def __enter__(self):
        _local.stack = [*getattr(_local, "stack", ()), self]
        return self

    def __exit__(self, *exception):
        _local.stack = _local.stack[:-1]

    def __call__(self, fn):
        """``fn`` with its body run within this device as a context."""
        return within(lambda: self, fn)


def _backend(type):
    """What makes, calls and gives memory to the kernels of a kind of device: a module, imported when it is first used."""
    if type == "cpu":
        from .kernels import cpu as found
    elif type == "cuda":
        from .kernels import cuda as found
    else:
        from .kernels import meta as found
    return found


_local = threading.local()
CPU, META = Device("cpu"), Device("meta")
_default = CPU


def default() -> Device:
    """The device of tensors made without one: the innermost ``with device(...)``, else `set_default`'s, else the CPU."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else _default


def set_default(device) -> None:
    """Make ``device`` the one of tensors made without one; None means the CPU."""
    global _default
    _default = CPU if device is None else resolve(device)


def resolve(device) -> Device:
    """``device`` (None, string, int or Device) as a Device that tensors can live on: ``cuda`` gets its index."""
    if device is None:
        device = default()
    elif not isinstance(device, Device):
        device = Device(device)
    if device.type == "cpu":
        return CPU
    if device.type == "meta":
        return META
    return Device("cuda", current.index) if device.index is None else device


class _Current(threading.local):
    """The index of this thread's current CUDA device, set by those who activate one."""

    index = 0


current = _Current()
