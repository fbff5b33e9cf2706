"""Flags of a backend, which are the names of its module, held for a while."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def held(names: dict[str, Any], values: Mapping[str, Any]) -> Iterator[None]:
    """Context in which the ``names`` of a module have these values."""
    before = {name: names[name] for name in values}
    names.update(values)
    try:
        yield
    finally:
        names.update(before)
