"""Where the time of a program goes: ``with profile() as p`` times every op, every node of a backward pass, and the blocks
under `record_function`; ``print(p.key_averages().table(sort_by="self_cpu_time_total"))`` shows it.

While a profile runs, all public functions take a detour that reads the clock, in all threads, and are put back at its end:
a program without one pays nothing.
"""

import functools
import importlib
import threading
import time
import traceback
import types
from typing import Any

from .. import forks, overrides
from ..contexts import within
from ..detours import divert, restore
from ..tensor import Tensor
from .modes import switch
from .node import next_seq
from .profiler_util import EventList, FunctionEvent, FunctionEventAvg

_current: "_Recording | None" = None
_lock = forks.lock("profiler")
_diverted: list[tuple[Any, Any]] = []  # the functions whose calls are timed now, each with what it was
_now = time.perf_counter_ns


class _Recording:
    """The events of the profile under way, as (name, thread, start, end, shapes, stack, sequence number, kind)."""

    def __init__(self, shapes, stack):
        self.shapes, self.stack = shapes, stack
        self.events: list = []
        self.threads: dict[int, int] = {}
        self.made: dict[int, int] = {}  # sequence number -> the thread that recorded the node
        self.begun: dict[int, list] = {}  # thread -> the nodes that run there, and when they began
        self.start = _now()

    def thread(self):
        return self.threads.setdefault(threading.get_ident(), len(self.threads) + 1)

    def add(self, name, start, end, inputs=None, sequence=-1, kind="op"):
        shapes = [_shape(value) for value in inputs] if self.shapes and inputs is not None else None
        stack = _callers() if self.stack else None
        self.events.append((name, self.thread(), start, end, shapes, stack, sequence, kind))

    def begin_node(self, node):
        self.begun.setdefault(threading.get_ident(), []).append((node, _now()))

    def end_node(self, node):
        end, begun = _now(), self.begun.get(threading.get_ident(), [])
        while begun:  # above it are those whose gradient raised, or whose run stopped at what was asked for
            top, start = begun.pop()
            if top is node:
                sequence, name = -1 if node.leaf else node._sequence_nr(), node.name()
                self.add(f"autograd::engine::evaluate_function: {name}", start, end, sequence=sequence, kind="node")
                self.add(name, start, end, sequence=sequence, kind="node")
                return

    def found(self):
        # An outer block ends after an inner one but began before it: numbers are given by the beginning.
        order = sorted(range(len(self.events)), key=lambda k: (self.events[k][2], -self.events[k][3], k))
        made = EventList()
        for number, k in enumerate(order):
            name, thread, start, end, shapes, stack, sequence, kind = self.events[k]
            made.append(FunctionEvent(
                id=number, name=name, thread=thread, start_us=(start - self.start) / 1e3, end_us=(end - self.start) / 1e3,
                fwd_thread=self.made.get(sequence) if kind == "node" else 0, input_shapes=shapes, stack=stack,
                sequence_nr=sequence, is_user_annotation=kind == "block",
            ))  # fmt: skip
        made._populate_cpu_children()
        return made


def _shape(value):
    if isinstance(value, Tensor):
        return list(value.shape)
    return [_shape(item) for item in value if isinstance(item, Tensor)] if type(value) in (list, tuple) else []


def _callers():
    package = __name__.split(".")[0] + "/"
    frames = [frame for frame in traceback.extract_stack() if f"/{package}" not in frame.filename]
    return [f"{frame.filename}({frame.lineno}): {frame.name}" for frame in reversed(frames)]


def _is_tensors(value):
    return isinstance(value, Tensor) or type(value) in (list, tuple) and any(isinstance(item, Tensor) for item in value)


def _timed(name, original, args, kwargs):
    recording = _current
    if recording is None:
        return original(*args, **kwargs)
    before, start = next_seq(), _now()
    result = original(*args, **kwargs)
    end = _now()
    if _is_tensors(result) or any(map(_is_tensors, args)):
        sequence = -1
        first = result[0] if type(result) in (list, tuple) and result else result
        if isinstance(first, Tensor):
            node = first._n
            if node is not None and not node.leaf and node.seq < before:
                sequence = node._sequence_nr()
                recording.made[sequence] = recording.thread()
        recording.add(name, start, end, args, sequence)
    return result


_REFLECTED = {"__r" + name[2:]: op for name, op in overrides._OPERATORS.items()}


def _ops():
    """The public functions and methods that are ops, each once, with its name."""
    package = __name__.split(".")[0]
    spaces = [importlib.import_module(f"{package}.{space}".rstrip(".")) for space in overrides._SPACES]
    home = f"{package}.tensor", f"{package}.gradients"
    seen = set()
    for space in (*spaces, Tensor):
        for name, value in list(vars(space).items()):
            if type(value) is not types.FunctionType or id(value) in seen or value.__module__ in home:
                continue
            if space is not Tensor and (name.startswith("_") or not overrides._takes_tensors(value, package)):
                continue
            name = overrides._OPERATORS.get(name) or _REFLECTED.get(name) or name
            if space is Tensor and (name in overrides._OWN or name.startswith("_") and not name.startswith("__")):
                continue
            seen.add(id(value))
            yield name.strip("_") + ("_" if name.endswith("_") and not name.startswith("__") else ""), value


def _start(shapes, stack):
    global _current
    with _lock:
        if _current is not None:
            raise RuntimeError("profile: a profile is running already; leave it before another begins")
        kept = {id(entry) for entry, _ in _diverted}
        for name, entry in _ops():
            if id(entry) not in kept:
                _diverted.append((entry, divert(entry, functools.partial(_timed, f"aten::{name}"))))
        _current = switch.observer = _Recording(shapes, stack)


def _stop():
    global _current
    with _lock:
        recording, _current, switch.observer = _current, None, None
        # What something else was put in front of meanwhile keeps its detour, which then only looks whether a profile runs.
        _diverted[:] = [(entry, original) for entry, original in _diverted if not restore(entry, original)]
    return recording.found() if recording is not None else EventList()


def _profiler_enabled() -> bool:
    """Whether a profile is running."""
    return _current is not None


def kineto_available() -> bool:
    """Whether PyTorch's profiling library is there: no, numgrad times by itself."""
    return False


class profile:
    """Times what runs in the block, in all threads.

    ``enabled=False`` does nothing; ``record_shapes`` notes the shapes of the operands, ``with_stack`` the callers' lines.
    ``use_kineto`` and ``use_cpu`` are PyTorch's and change nothing: there is one way of timing. Afterwards ``function_events``
    are the calls; `key_averages`, `table`, `total_average`, `export_chrome_trace` and ``self_cpu_time_total`` are those of
    that list. RuntimeError if a profile is running already, or if the same one is entered again.
    """

    def __init__(self, enabled: bool = True, *, record_shapes: bool = False, with_stack: bool = False,
                 use_kineto: bool = False, use_cpu: bool = True):  # fmt: skip
        self.enabled, self.record_shapes, self.with_stack = enabled, record_shapes, with_stack
        self.entered = False
        self.function_events: EventList | None = None

    def __enter__(self):
        if self.enabled:
            if self.entered:
                raise RuntimeError("Profiler context manager is not reentrant")
            _start(self.record_shapes, self.with_stack)
            self.entered = True
        return self

    def __exit__(self, *exception):
        if self.enabled:
            self.function_events = _stop()
        return False

    def _events(self) -> EventList:
        if self.function_events is None:
            raise RuntimeError("Profiler didn't finish running: leave its block first, and do not create it with enabled=False")
        return self.function_events

    def table(self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int = 75,
              max_name_column_width: int = 55, max_shapes_column_width: int = 80, header: str | None = None,
              top_level_events_only: bool = False) -> str:  # fmt: skip
        """The calls as text, a line for each."""
        return self._events().table(sort_by, row_limit, max_src_column_width, max_name_column_width, max_shapes_column_width,
                                    header, top_level_events_only)  # fmt: skip

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """One line for all calls of a name."""
        return self._events().key_averages(group_by_input_shape, group_by_stack_n)

    def total_average(self) -> FunctionEventAvg:
        """All calls as one."""
        return self._events().total_average()

    def export_chrome_trace(self, path) -> None:
        """Write the calls as JSON that ``chrome://tracing`` and Perfetto show."""
        self._events().export_chrome_trace(path)

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all calls, each without those made within it, in microseconds."""
        return self._events().self_cpu_time_total

    def __str__(self):
        return "<unfinished profiler.profile>" if self.function_events is None else str(self.function_events)

    __repr__ = __str__


class record_function:
    """A block with a name, which a profile shows: ``with record_function("load"):``, or ``@record_function("load")``."""

    def __init__(self, name: str, args: str | None = None):
        self.name, self.args = name, args
        self._begun: list[tuple[Any, int]] = []

    def __call__(self, fn):
        return within(lambda: record_function(self.name, self.args), fn)

    def __enter__(self):
        self._begun.append((_current, _now()))
        return self

    def __exit__(self, *exception):
        if self._begun:
            recording, start = self._begun.pop()
            if recording is not None and recording is _current:
                recording.add(self.name, start, _now(), kind="block")
        return False
