"""Modes of recording: whether ops are recorded, looked at for anomalies, or hand what they save to hooks."""

import threading
import warnings
from typing import Any

from .. import forks
from ..contexts import within


class _Local(threading.local):
    enabled = True
    inference = False
    block: Any = None  # of the inference mode under way: what the tensors that are made in it hold
    node: Any = None  # whose gradient is being computed, in `detect_anomaly`
    walk: Any = None  # the number of the backward pass under way
    depth = 0  # in how many other passes it is
    ends: Any = None  # functions to be called at its end
    anomaly = False
    check_nan = True
    multithreading = True
    needed = None  # in a walk to some nodes only: those that lead to them
    task: Any = None  # of the walk under way: roots, captures, what hooks keep for it, functions to call at its end
    before_write: Any = None  # called with a tensor before it is written to
    level: Any = None  # in which tangents stand beside values
    packs = ()  # the pairs of hooks that saved tensors pass through, the innermost last
    no_packs = None  # why there may be no such hooks


local = _Local()


class _Switch:
    """``anywhere`` counts the blocks, in any thread, in which recording is off or anomalies are looked for, so
    that the usual case is one attribute read; only when it is not 0 is the thread's own mode asked for."""

    __slots__ = ("anywhere", "last_write", "leaf_hooks", "noted", "observer", "selective")

    def __init__(self):
        self.anywhere = self.selective = 0  # selective: walks, in any thread, that go to some nodes only
        self.observer: Any = None  # of the profile under way: told which node begins and ends
        self.noted = False  # whether some hook asks which walk calls it, or is of a leaf
        self.leaf_hooks = False  # whether some hook is of a leaf: leaves are done as soon as their gradients are there
        self.last_write = 0  # sequence number of the latest in-place write: nodes recorded after it need no check


switch = _Switch()
switch_lock = forks.lock("modes")


def is_grad_enabled() -> bool:
    """Whether this thread records ops."""
    return local.enabled


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return local.inference


def is_anomaly_enabled() -> bool:
    """Whether this thread is inside `detect_anomaly`."""
    return local.anomaly


def set_mode(name, value):
    before = getattr(local, name)
    _set(name, value, 0 if bool(before) == bool(value) else 1 if bool(value) != (name == "enabled") else -1)
    return before


def _set(name, value, change):
    """Set a mode of this thread, which makes `switch.anywhere` larger or smaller by one, or leaves it as it is.

    An interrupt in between leaves the count too large, which is slower, never too small, which would ignore a mode.
    """
    if change > 0:
        with switch_lock:
            switch.anywhere += 1
    setattr(local, name, value)
    if change < 0:
        with switch_lock:
            switch.anywhere -= 1


def set_packs(packs: tuple):
    """From now on what nodes save in this thread passes through the last of these pairs of hooks."""
    _set("packs", packs, 0 if bool(packs) == bool(local.packs) else 1 if packs else -1)


def set_level(level: Any) -> Any:
    """From now on tangents stand beside values in this level, or, for None, in none; what it was before."""
    before = local.level
    _set("level", level, (level is not None) - (before is not None))
    return before


def set_before_write(watch: Any) -> None:
    """From now on ``watch(tensor)`` is called before this thread writes to a tensor; None: nothing is."""
    _set("before_write", watch, (watch is not None) - (local.before_write is not None))


def packs() -> tuple:
    """The pairs of hooks that what nodes save in this thread passes through, the innermost last."""
    return local.packs


class _Mode:
    """A grad mode, usable as ``with mode():``, ``@mode()`` and ``@mode``."""

    def __init__(self):
        self._before = []

    wanted = True

    def __new__(cls, fn: Any = None) -> Any:
        self = object.__new__(cls)
        if callable(fn):
            self.__init__()
            return self(fn)
        return self

    def __call__(self, fn):
        if isinstance(fn, type):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate functions or "
                "methods. To preserve the current behavior of class decoration, you can directly decorate the `__init__` method and "
                "nothing else.",
                FutureWarning,
                stacklevel=2,
            )
        return within(self.clone, fn)

    def clone(self):
        return type(self)()

    def __enter__(self):
        self._before.append(set_mode("enabled", self.wanted))

    def __exit__(self, *exception):
        set_mode("enabled", self._before.pop())


class no_grad(_Mode):
    """Do not record ops in this block or function. Parameters made inside still require grad."""

    wanted = False


class enable_grad(_Mode):
    """Record ops in this block or function, also inside `no_grad`."""

    wanted = True


class set_grad_enabled(_Mode):
    """Record ops or not, from this call on; as a context, until its end."""

    def __new__(cls, mode: bool) -> Any:
        return object.__new__(cls)

    def __init__(self, mode: bool):
        super().__init__()
        self.wanted = bool(mode)
        self._before.append(set_mode("enabled", self.wanted))
        self._entered = False

    def __call__(self, fn):
        if self._before and not self._entered:  # it decorates: what it has set ends here
            set_mode("enabled", self._before.pop())
        return super().__call__(fn)

    def clone(self):
        return set_grad_enabled(self.wanted)

    def __enter__(self):
        if self._entered or not self._before:
            super().__enter__()
        self._entered = True


class inference_mode(_Mode):
    """`no_grad` for code whose results will never be trained on: tensors made in it are inference tensors.

    Outside, these can be read, but not be saved for a gradient or written to (RuntimeError); writes to them are not
    counted. ``inference_mode(False)`` ends the mode for its block.
    """

    def __new__(cls, mode: Any = True) -> Any:
        self = object.__new__(cls)
        if callable(mode):
            self.__init__()
            return self(mode)
        return self

    def __init__(self, mode: bool = True):
        super().__init__()
        self.mode = bool(mode)

    def clone(self):
        return inference_mode(self.mode)

    def __enter__(self):
        self._before.append((local.enabled, local.inference, local.block))
        set_mode("enabled", not self.mode)
        local.inference = self.mode
        local.block = (local.block or _InferenceBlock()) if self.mode else None

    def __exit__(self, *exception):
        enabled, local.inference, local.block = self._before.pop()
        set_mode("enabled", enabled)


class _InferenceBlock:
    """Held by an inference mode and by all tensors made in it: while one of them lives, `switch.anywhere` is not 0, so
    that the uses of such tensors which are refused are looked for."""

    def __init__(self):
        with switch_lock:
            switch.anywhere += 1

    def __del__(self):
        with switch_lock:
            switch.anywhere -= 1


class detect_anomaly:
    """Context: a NaN in a gradient is an error (RuntimeError) that names the op; that and any other error in a backward
    pass says, in a warning, where the op was called, and writes through ``.data`` are noticed.

    ``check_nan=False`` does not look for NaN.
    """

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        self._before: list = []
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            stacklevel=2,
        )

    def __enter__(self):
        self._before.append((set_mode("anomaly", True), local.check_nan))
        local.check_nan = self.check_nan

    def __exit__(self, *exception):
        before, local.check_nan = self._before.pop()
        set_mode("anomaly", before)


class set_detect_anomaly(detect_anomaly):
    """`detect_anomaly`, on or off, from this call on; as a context, until its end."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self.check_nan = check_nan
        self._before = [(set_mode("anomaly", bool(mode)), local.check_nan)]
        local.check_nan = check_nan

    def __enter__(self):
        pass


def is_anomaly_check_nan_enabled() -> bool:
    """Whether gradients are looked at for NaN in this thread, within `detect_anomaly`."""
    return local.anomaly and local.check_nan
