"""Forks: what is in order in the child although other threads of the parent are not in it.

A fork waits for the locks that are `held_over_forks`, so that what they guard is whole in the child and they are free
there. Without it a lock that another thread held would stay locked in the child for ever.
"""

import _thread
import os
import threading
from typing import Any

# From the outermost to the innermost: who holds one may wait for those after it.
ORDER = "profiler", "autocast", "dtypes", "entries", "compiler", "modules", "threads", "random", "modes"

_PATIENCE = 60.0  # seconds that a fork waits for a lock: who holds it may itself wait for something of the forking thread's
_locks: list[tuple[int, Any]] = []
_held: list = []


def held_over_forks(place: str, lock: Any) -> Any:
    """``lock``, for which forks wait from now on; ``place`` is its place in `ORDER`."""
    _locks.append((ORDER.index(place), lock))
    _locks.sort(key=lambda pair: pair[0])
    return lock


def lock(place: str) -> Any:
    """A new reentrant lock for which forks wait."""
    return held_over_forks(place, threading.RLock())


def _before() -> None:
    for _, lock in _locks:
        if _whole(lock.acquire, timeout=_PATIENCE):
            _held.append(lock)


def _after() -> None:
    while _held:
        _held.pop().release()


def _in_parent() -> None:
    _whole(_after)
    if _interrupts:
        _interrupts.clear()
        threading.Timer(0.01, _thread.interrupt_main).start()


def _in_child() -> None:
    global forked
    forked = True
    _interrupts.clear()
    _after()


_interrupts: list = []


def _whole(step, **arguments):
    """What ``step`` returns, though Ctrl-C comes in between. Python drops what a function that it calls at a fork raises, so
    that the interrupt is kept for afterwards."""
    try:
        return step(**arguments)
    except KeyboardInterrupt as interrupt:
        _interrupts.append(interrupt)
        return step(**arguments)


forked = False  # whether this process was made by fork: threads of the parent's pools are not in it

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
