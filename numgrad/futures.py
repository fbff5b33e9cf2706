"""Results that come later, as ``torch.futures``: set by one thread, waited for by others."""

import logging
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

from .device import Device, resolve

_log = logging.getLogger(__name__)

__all__ = ["Future", "collect_all", "wait_all"]

T = TypeVar("T")
S = TypeVar("S")


class Future(Generic[T]):
    """The result of work that may not be done yet. ``devices``: where results may lie (computing here never lags behind)."""

    def __init__(self, *, devices: Iterable[int | str | Device] | None = None) -> None:
        self._devices = [resolve(each) for each in devices or ()]
        self._finished = threading.Condition()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future[T]], Any]] = []

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._done

    def wait(self) -> T:
        """The result, once there is one; an error that was set is raised."""
        with self._finished:
            self._finished.wait_for(lambda: self._done)
        return self._outcome()

    def value(self) -> T:
        """The result of a future that is done, without waiting; an error that was set is raised."""
        if not self._done:
            raise RuntimeError("Future.value: the future is not done; wait() waits for its result")
        return self._outcome()

    def _outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value

    def set_result(self, result: T) -> None:
        """Finish with ``result``: those that wait go on, callbacks run here, in the order in which they were added."""
        self._finish(result, None)

    def set_exception(self, result: BaseException) -> None:
        """Finish with an error, which `wait` and `value` raise."""
        if not isinstance(result, Exception):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")
        self._finish(None, result)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        with self._finished:
            if self._done:
                raise RuntimeError("Future can only be marked completed once")
            self._value, self._error, self._done = value, error, True
            callbacks, self._callbacks = self._callbacks, []
            self._finished.notify_all()
        for callback in callbacks:
            callback(self)

    def _after(self, callback: Callable[["Future[T]"], Any]) -> None:
        """Call ``callback(self)`` when done, at once if that is now. It raises nothing."""
        with self._finished:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def then(self, callback: Callable[["Future[T]"], S]) -> "Future[S]":
        """The future of ``callback(self)``, which runs when this one is done; what it raises is a RuntimeError there."""
        following: Future[S] = Future(devices=self._devices)

        def run(finished: Future[T]) -> None:
            try:
                result = callback(finished)
            except Exception as error:
                told = RuntimeError(_told(error))
                told.__cause__ = error
                following.set_exception(told)
            else:
                following.set_result(result)

        self._after(run)
        return following

    def add_done_callback(self, callback: Callable[["Future[T]"], None]) -> None:
        """Call ``callback(self)`` when this is done; what it raises is logged and goes no further."""

        def run(finished: Future[T]) -> None:
            try:
                callback(finished)
            except Exception as error:
                _log.error(_told(error))

        self._after(run)

    def __reduce__(self) -> Any:
        raise RuntimeError("Can not pickle torch.futures.Future")


def _told(error: Exception) -> str:
    where = "".join(traceback.format_tb(error.__traceback__))
    return f"Got the following error when running the callback: {type(error).__name__}: {error}\n\nAt:\n{where}"


def _checked(futures: Iterable[Future[Any]]) -> list[Future[Any]]:
    futures = list(futures)
    if any(future is None for future in futures):
        raise RuntimeError("Future can't be None")
    return futures


def collect_all(futures: Iterable[Future[Any]]) -> Future[list[Future[Any]]]:
    """A future of the list of ``futures``, done when all of them are, with the first error if one has any."""
    futures = _checked(futures)
    collected: Future[list[Future[Any]]] = Future()
    lock, missing = threading.Lock(), len(futures)

    def one_less(_: Future[Any]) -> None:
        nonlocal missing
        with lock:
            missing -= 1
            last = missing == 0
        if last:
            failed = next((future._error for future in futures if future._error is not None), None)
            collected._finish(futures, failed)

    for future in futures:
        future._after(one_less)
    if not futures:
        collected.set_result(futures)
    return collected


def wait_all(futures: Iterable[Future[Any]]) -> list[Any]:
    """The results of ``futures``, waited for; the first error among them is raised."""
    return [future.wait() for future in cast(list, collect_all(futures).wait())]
