"""``torch.jit``'s decorators: programs run as Python here, so that what they mark stays as it is."""

from collections.abc import Callable
from typing import Any, Final as Final

__all__ = ["Final", "annotate", "export", "ignore", "is_scripting", "is_tracing", "script", "trace", "unused"]


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
