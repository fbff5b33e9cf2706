"""``compile`` and what PyTorch has around it, as ``torch.compiler``."""

from collections.abc import Callable
from typing import Any

_BACKENDS = ("eager",)


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable = "eager",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """``model``, a function or module, for the backend "eager": it is returned as it is, and runs kernel by kernel.

    There is no other backend: whole programs are not compiled into one. Without ``model`` this is a decorator.
    ``mode``, ``fullgraph``, ``dynamic`` and ``options`` are for compiling backends and change nothing. Raises RuntimeError
    for other backends.
    """
    if backend not in _BACKENDS:
        raise RuntimeError(
            f"compile: expected backend 'eager', got {backend!r}: numgrad runs programs kernel by kernel and has no other "
            "backend; leave backend out"
        )
    return (lambda model: model) if model is None else model


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """The backends that `compile` accepts."""
    return list(_BACKENDS)


def is_compiling() -> bool:
    """Whether a program is being compiled: no."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """``fn`` as it is: nothing compiles it."""
    return (lambda fn: fn) if fn is None else fn


def reset() -> None:
    """Forget what was compiled: nothing was."""
