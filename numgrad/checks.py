"""PyTorch's ``torch._check`` and its kin: conditions that raise one kind of error each."""

from collections.abc import Callable
from typing import Any


def _checker(name: str, error: type[Exception]) -> Callable[..., None]:
    def check(cond: bool, message: Callable[[], Any] | None = None) -> None:
        if not isinstance(cond, bool):
            raise TypeError(f"cond must be a bool, but got {type(cond)}")
        if cond:
            return
        if message is not None and not callable(message):
            raise TypeError("message must be a callable")
        raise error("Expected cond to be True, but got False. (Could this error message be improved? If so, please give a "
                    "message.)" if message is None else str(message()))  # fmt: skip

    check.__name__ = check.__qualname__ = name
    check.__doc__ = f"{error.__name__} with the text that ``message()`` returns unless ``cond``, a bool, is True."
    return check


_check = _checker("_check", RuntimeError)
_check_index = _checker("_check_index", IndexError)
_check_value = _checker("_check_value", ValueError)
_check_type = _checker("_check_type", TypeError)
_check_not_implemented = _checker("_check_not_implemented", NotImplementedError)
