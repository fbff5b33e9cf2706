"""Counters and events of a running program."""

from datetime import datetime, timedelta

import pytest

import numgrad as ng
from numgrad.monitor import (
    Aggregation,
    Event,
    Stat,
    TensorboardEventHandler,
    log_event,
    register_event_handler,
    unregister_event_handler,
)  # fmt: skip


def test_events_reach_handlers_until_these_are_taken_away():
    seen, more = [], []
    handles = [register_event_handler(seen.append), register_event_handler(more.append)]
    event = Event(name="step", timestamp=datetime.now(), data={"loss": 1.5})
    log_event(event)
    unregister_event_handler(handles[0])
    log_event(event)
    unregister_event_handler(handles[1])
    log_event(event)
    assert seen == [event] and more == [event, event]
    with pytest.raises(TypeError, match="expected an Event"):
        log_event("step")


def test_a_window_of_values_ends_by_number_or_time():
    written = []

    class Writer:
        def add_scalar(self, name, value, walltime):
            written.append((name, value))

    handle = register_event_handler(TensorboardEventHandler(Writer()))
    stat = Stat("t", [each for each in Aggregation if each is not Aggregation.NONE], timedelta(hours=99), 3)
    assert stat.get() == {}
    for value in (2, 5, 1, 7):
        stat.add(value)
    expected = {"value": 1, "mean": 8 / 3, "count": 3, "sum": 8, "max": 5, "min": 1}
    assert {each.name.lower(): value for each, value in stat.get().items()} == expected
    assert stat.count == 1 and dict(written) == {f"t.{name}": value for name, value in expected.items()}
    timed = Stat("u", (Aggregation.SUM,), timedelta(microseconds=1))
    timed.add(1)
    while timed.count == 1 and not timed.get():
        timed.add(1)
    assert timed.get() == {Aggregation.SUM: 1}
    unregister_event_handler(handle)
    with pytest.raises(ValueError, match="NONE"):
        Stat("n", (Aggregation.NONE,), timedelta(hours=1))


def test_assertions_about_tensors():
    x = ng.ones(2, 3)
    ng._assert(x.sum() > 0, "positive")
    ng._assert_tensor_metadata(x, (2, 3), (3, 1), ng.float32, device="cpu", layout=ng.strided)
    with pytest.raises(AssertionError, match="positive"):
        ng._assert(x.sum() < 0, "positive")
    for wrong in ({"size": (3,)}, {"stride": (1, 2)}, {"dtype": ng.int64}, {"device": "meta"}):
        with pytest.raises(RuntimeError, match="mismatch! Expected"):
            ng._assert_tensor_metadata(x, **wrong)
