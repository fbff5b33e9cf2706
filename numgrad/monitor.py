"""Counters and events of a running program, as ``torch.monitor``."""

import contextlib
import enum
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = [
    "STAT_EVENT", "Aggregation", "Event", "EventHandlerHandle", "Stat", "TensorboardEventHandler", "log_event",
    "register_event_handler", "unregister_event_handler",
]  # fmt: skip

STAT_EVENT = "torch.monitor.Stat"


class Aggregation(enum.Enum):
    """What a `Stat` makes of the values of a window."""

    NONE = 0
    VALUE = 1
    MEAN = 2
    COUNT = 3
    SUM = 4
    MAX = 5
    MIN = 6


@dataclass
class Event:
    """Something that happened: its name, the time, and numbers, bools and strings by name."""

    name: str
    timestamp: datetime
    data: dict[str, int | float | bool | str] = field(default_factory=dict)


class EventHandlerHandle:
    """What `unregister_event_handler` takes."""

    def __init__(self, handler: Callable[[Event], Any]) -> None:
        self._handler = handler


_lock = threading.Lock()
_handles: list[EventHandlerHandle] = []


def register_event_handler(callback: Callable[[Event], Any]) -> EventHandlerHandle:
    """Have ``callback(event)`` called for each event from now on."""
    if not callable(callback):
        raise TypeError(f"register_event_handler: expected a function of an event, got {type(callback).__name__}")
    handle = EventHandlerHandle(callback)
    with _lock:
        _handles.append(handle)
    return handle


def unregister_event_handler(handler: EventHandlerHandle) -> None:
    """End what `register_event_handler` began."""
    with _lock:
        if handler in _handles:
            _handles.remove(handler)


def log_event(event: Event) -> None:
    """Hand an event to all handlers."""
    if not isinstance(event, Event):
        raise TypeError(f"log_event: expected an Event, got {type(event).__name__}")
    with _lock:
        handles = list(_handles)
    for handle in handles:
        handle._handler(event)


_FOLDS = {
    Aggregation.VALUE: lambda values: values[-1],
    Aggregation.MEAN: lambda values: sum(values) / len(values),
    Aggregation.COUNT: len,
    Aggregation.SUM: sum,
    Aggregation.MAX: max,
    Aggregation.MIN: min,
}


class Stat:
    """Values that are gathered over windows of ``window_size`` (a timedelta), or of ``max_samples`` values where that
    comes first. The end of a window, which is noticed as the next value comes, is an event ``torch.monitor.Stat`` of the
    aggregations as ``name.sum`` and so on."""

    def __init__(
        self, name: str, aggregations: Iterable[Aggregation], window_size: timedelta, max_samples: int | None = None
    ) -> None:
        if not isinstance(window_size, timedelta):
            raise TypeError(f"Stat: expected window_size to be a timedelta, got {type(window_size).__name__}")
        self._name, self._aggregations = name, tuple(Aggregation(each) for each in aggregations)
        if Aggregation.NONE in self._aggregations:
            raise ValueError("Stat: Aggregation.NONE says nothing about values; leave it out")
        self._seconds, self._most = window_size.total_seconds(), math.inf if max_samples is None else max_samples
        self._values: list[float] = []
        self._last: dict[Aggregation, float] = {}
        self._own, self._window = threading.Lock(), self._now()

    def _now(self):
        return time.monotonic() // self._seconds if self._seconds > 0 else time.monotonic()

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    @property
    def count(self) -> int:
        """The number of values in the present window."""
        return len(self._values)

    def add(self, v: float) -> None:
        """Add a value to the present window."""
        with self._own:
            ended = [self._close()] if self._values and self._now() != self._window else []
            self._window = self._now()
            self._values.append(float(v))
            if len(self._values) >= self._most:
                ended.append(self._close())
        for found in ended:  # outside the lock: a handler may add values
            data: dict = {f"{self._name}.{each.name.lower()}": value for each, value in found.items()}
            log_event(Event(STAT_EVENT, datetime.now(UTC), data))

    def _close(self):
        self._last = {each: _FOLDS[each](self._values) for each in self._aggregations}
        self._values = []
        return self._last

    def get(self) -> dict[Aggregation, float]:
        """The aggregations of the last window that ended; empty before."""
        return dict(self._last)


class TensorboardEventHandler:
    """A handler that writes the events of `Stat` as scalars to a ``SummaryWriter`` of TensorBoard or tensorboardX."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def __call__(self, event: Event) -> None:
        if event.name == STAT_EVENT:
            for name, value in event.data.items():
                self._writer.add_scalar(name, value, walltime=event.timestamp.timestamp())


class _WaitCounter:
    """How often and how long the program waited for something."""

    def __init__(self, key: str) -> None:
        self.key, self.count, self.seconds = key, 0, 0.0

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Count the time inside."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.count, self.seconds = self.count + 1, self.seconds + time.perf_counter() - began
