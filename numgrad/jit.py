"""``torch.jit``'s decorators: programs run as Python here, so that what they mark stays as it is."""

from collections.abc import Callable
from typing import Any, Final as Final

from .futures import Future

__all__ = ["Final", "annotate", "export", "fork", "ignore", "is_scripting", "is_tracing", "script", "trace", "unused", "wait"]


def script(obj: Any, optimize: Any = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None) -> Any:
    """``obj``, a function, class or module, as it is."""
    return obj


def trace(func: Callable, example_inputs: Any = None, **options: Any) -> Callable:
    """``func``, a function or module, as it is: it stays Python, with all its branches."""
    return func


def ignore(drop: Any = False, **options: Any) -> Any:
    """``drop`` where it is a function, else a decorator that returns its function: nothing leaves it out."""
    return drop if callable(drop) else lambda fn: fn


def unused(fn: Any) -> Any:
    """``fn`` as it is."""
    return fn


def export(fn: Any) -> Any:
    """``fn`` as it is."""
    return fn


def is_scripting() -> bool:
    """Whether a program is being turned into a script: no."""
    return False


def is_tracing() -> bool:
    """Whether a program is being traced: no."""
    return False


def annotate(the_type: Any, the_value: Any) -> Any:
    """``the_value``."""
    return the_value


def fork(func: Callable, *args: Any, **kwargs: Any) -> Future:
    """A future of ``func(*args, **kwargs)``, which is called at once, as PyTorch's Python does outside scripts."""
    future: Future = Future()
    future.set_result(func(*args, **kwargs))
    return future


def wait(future: Future) -> Any:
    """The result of ``future``, waited for."""
    if future is None:
        raise RuntimeError("Future can't be None")
    return future.wait()
