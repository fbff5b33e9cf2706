"""Contexts as decorators of anything callable: functions, generators, coroutines and asynchronous generators.

What a body that suspends itself does runs within the context, and nothing else does: the context is entered for each
step and left before the body hands control on, so that neither the caller of a generator nor another task of the event
loop runs in the mode of a function that it does not know.
"""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any


def within(context: Callable[[], Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn`` with its body run within ``context()``, a new context manager for each step of it.

    What is sent to, thrown into and closed outside reaches the body, within the context too.
    """
    if inspect.isasyncgenfunction(fn):
        kind = _asynchronous_generator
    elif inspect.iscoroutinefunction(fn):
        kind = _coroutine
    elif inspect.isgeneratorfunction(fn):
        kind = _generator
    else:
        kind = _function
    return functools.wraps(fn)(kind(context, fn))


def _function(context, fn):
    def wrapped(*args, **kwargs):
        with context():
            return fn(*args, **kwargs)

    return wrapped


def _generator(context, fn):
    def wrapped(*args, **kwargs):
        return (yield from _steps(context, fn(*args, **kwargs)))

    return wrapped


def _coroutine(context, fn):
    async def wrapped(*args, **kwargs):
        return await _steps(context, fn(*args, **kwargs))

    return wrapped


def _run_steps(context, body):
    """Run ``body``, a generator or a coroutine, step by step within contexts; its result."""
    resume, value = body.send, None
    while True:
        try:
            with context():
                item = resume(value)
        except StopIteration as stop:
            return stop.value
        try:
            value = yield item
            resume = body.send
        except GeneratorExit:
            with context():
                body.close()
            raise
        except BaseException as error:  # thrown in from outside: the body's to handle
            resume, value = body.throw, error


_steps: Any = types.coroutine(_run_steps)  # for `yield from` and for `await`


def _asynchronous_generator(context, fn):
    async def wrapped(*args, **kwargs):
        body = fn(*args, **kwargs)
        resume, value = body.asend, None
        while True:
            try:
                item = await _steps(context, resume(value))
            except StopAsyncIteration:
                return
            try:
                value = yield item
                resume = body.asend
            except GeneratorExit:
                await _steps(context, body.aclose())
                raise
            except BaseException as error:
                resume, value = body.athrow, error

    return wrapped
