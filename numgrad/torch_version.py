"""The version of PyTorch whose behaviour is kept: what ``torch.__version__`` is under `as_torch`."""

import re
from typing import Any

_PATTERN = re.compile(r"v?(\d+(?:\.\d+)*)[-_.]?(?:(a|b|rc|alpha|beta|c|pre|preview|dev|post)[-_.]?(\d*))?.*")
_STAGES = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "c": -1, "rc": -1, "pre": -1, "preview": -1, "post": 1}


class TorchVersion(str):
    """A version that is a string and is ordered as a version: ``TorchVersion("2.10.0") > "2.9"``, and beside tuples.

    What follows ``+`` says how it was built and does not count. Compared with what is no version it is text.
    """

    __slots__ = ()

    def __hash__(self):
        return str.__hash__(self)

    def __eq__(self, other: Any) -> bool:
        return _compared(self, other, lambda a, b: a == b, str.__eq__)

    def __ne__(self, other: Any) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return _compared(self, other, lambda a, b: a < b, str.__lt__)

    def __le__(self, other: Any) -> bool:
        return _compared(self, other, lambda a, b: a <= b, str.__le__)

    def __gt__(self, other: Any) -> bool:
        return _compared(self, other, lambda a, b: a > b, str.__gt__)

    def __ge__(self, other: Any) -> bool:
        return _compared(self, other, lambda a, b: a >= b, str.__ge__)


def _parsed(version: Any) -> tuple | None:
    """(numbers without the zeros at their end, stage, number of the stage), or None for what is no version."""
    text = ".".join(map(str, version)) if isinstance(version, (tuple, list)) else str(version)
    found = _PATTERN.fullmatch(text.strip().lower().partition("+")[0])
    if found is None:
        return None
    numbers = [int(number) for number in found[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), _STAGES.get(found[2], 0), int(found[3] or 0)


def _compared(version, other, compare, as_text):
    one, two = _parsed(version), _parsed(other)
    return as_text(str(version), str(other)) if one is None or two is None else compare(one, two)


__version__ = TorchVersion("2.13.0")
