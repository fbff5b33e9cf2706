"""``torch.profiler``: profiles of training loops, of which a schedule says which steps are timed."""

import enum
import os
import socket
import time
from collections.abc import Callable, Iterable

from .autograd import profiler
from .autograd.profiler import record_function as record_function
from .autograd.profiler_util import EventList


class ProfilerActivity(enum.Enum):
    """Where time is spent. numgrad times the host; launches on a device are host work, its kernels are not timed."""

    CPU = 0
    CUDA = 2


class ProfilerAction(enum.Enum):
    """What is done in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


_RECORDING = ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE


def supported_activities() -> set[ProfilerActivity]:
    """The activities that are timed."""
    return {ProfilerActivity.CPU}


def schedule(*, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0) -> Callable[[int], ProfilerAction]:
    """After ``skip_first`` steps, cycles of ``wait`` steps without a profile, ``warmup`` and ``active`` ones that are timed:
    ``repeat`` cycles, 0 for no end. Raises ValueError for numbers below 0, or no active step."""
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise ValueError(
            "schedule: expected wait, warmup, repeat and skip_first of at least 0 and active of at least 1, got "
            f"wait={wait}, warmup={warmup}, active={active}, repeat={repeat}, skip_first={skip_first}"
        )

    def action(step: int) -> ProfilerAction:
        cycle, place = divmod(step - skip_first, wait + warmup + active)
        if step < skip_first or (repeat and cycle >= repeat) or place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return _RECORDING[place == wait + warmup + active - 1]

    return action


def _always(step: int) -> ProfilerAction:
    return ProfilerAction.RECORD


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None) -> Callable[["profile"], None]:
    """For ``on_trace_ready``: each trace becomes a file ``<worker>.<time>.pt.trace.json`` in ``dir_name``."""

    def write(prof: "profile") -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        prof.export_chrome_trace(os.path.join(dir_name, f"{worker}.{time.time_ns()}.pt.trace.json"))

    return write


class profile:
    """Times what runs in the block, or between `start` and `stop`: all of it, or the steps that ``schedule`` says, where the
    loop calls `step` after each. ``on_trace_ready(self)`` is called when a trace is complete.

    ``activities`` are those asked for, of which `supported_activities` are timed; ``record_shapes`` and ``with_stack`` as in
    ``numgrad.autograd.profiler.profile``. RuntimeError if a profile is running already when timing begins.
    """

    def __init__(self, *, activities: Iterable[ProfilerActivity] | None = None,
                 schedule: Callable[[int], ProfilerAction] | None = None,
                 on_trace_ready: Callable[["profile"], object] | None = None,
                 record_shapes: bool = False, with_stack: bool = False):  # fmt: skip
        self.activities = supported_activities() if activities is None else set(activities)
        unknown = [activity for activity in self.activities if not isinstance(activity, ProfilerActivity)]
        if unknown:
            raise ValueError(f"profile: expected activities to be ProfilerActivity, got {unknown[0]!r}")
        self.schedule, self.on_trace_ready = schedule or _always, on_trace_ready
        self.step_num, self._steps = 0, schedule is not None
        self._options = {"record_shapes": record_shapes, "with_stack": with_stack}
        self.profiler: profiler.profile | None = None
        self._running: profiler.profile | None = None
        self._block: record_function | None = None

    @property
    def current_action(self) -> ProfilerAction:
        """What is done in the step under way."""
        return self.schedule(self.step_num)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self) -> None:
        """Begin with step 0."""
        self.step_num = 0
        self._begin()

    def stop(self) -> None:
        """End; a trace under way is complete."""
        self._end(True)

    def step(self) -> None:
        """The next step begins."""
        action = self.current_action
        self._end_block()
        self.step_num += 1
        if action is ProfilerAction.RECORD_AND_SAVE or self.current_action not in _RECORDING:
            self._end(action is ProfilerAction.RECORD_AND_SAVE)
        self._begin()

    def _begin(self):
        if self.current_action not in _RECORDING:
            return
        if self._running is None:
            self._running = profiler.profile(**self._options).__enter__()
        if self._steps:
            self._block = record_function(f"ProfilerStep#{self.step_num}").__enter__()

    def _end_block(self):
        if self._block is not None:
            self._block.__exit__(None, None, None)
            self._block = None

    def _end(self, complete):
        self._end_block()
        if self._running is not None:
            self.profiler, self._running = self._running, None
            self.profiler.__exit__(None, None, None)
            if complete and self.on_trace_ready is not None:
                self.on_trace_ready(self)

    def _trace(self) -> profiler.profile:
        if self.profiler is None:
            raise RuntimeError("profile: no trace is complete yet: leave the block, or call step() as often as the schedule says")
        return self.profiler

    def events(self) -> EventList:
        """The calls of the latest complete trace."""
        return self._trace()._events()

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """One line for all calls of a name."""
        return self._trace().key_averages(group_by_input_shape, group_by_stack_n)

    def export_chrome_trace(self, path) -> None:
        """Write the calls as JSON that ``chrome://tracing`` and Perfetto show."""
        self._trace().export_chrome_trace(path)
