"""Nested tuples, lists and dictionaries as flat lists of their leaves, and back."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Spec(NamedTuple):
    """The structure without its leaves: the container's type, what it takes besides the values, the parts' specs."""

    kind: type | None  # None for a leaf
    context: Any
    parts: tuple["Spec", ...]

    @property
    def count(self) -> int:
        """The number of leaves."""
        return 1 if self.kind is None else sum(part.count for part in self.parts)

    def __str__(self) -> str:
        return "*" if self.kind is None else repr(unflatten([_Star()] * self.count, self))


class _Star:
    def __repr__(self):
        return "*"


LEAF = Spec(None, None, ())


def flatten(value: Any) -> tuple[list, Spec]:
    """The leaves of ``value``, from left to right, and its `Spec`. All but tuples, lists and dictionaries is a leaf."""
    leaves: list = []
    return leaves, _flatten(value, leaves)


def _flatten(value, leaves):
    kind = type(value)
    if kind in (dict, OrderedDict, defaultdict):
        context = tuple(value), getattr(value, "default_factory", None)
        return Spec(kind, context, tuple(_flatten(part, leaves) for part in value.values()))
    if kind in (tuple, list) or isinstance(value, tuple) and hasattr(value, "_fields"):
        return Spec(kind, len(value), tuple(_flatten(part, leaves) for part in value))
    leaves.append(value)
    return LEAF


def unflatten(leaves: Sequence, spec: Spec) -> Any:
    """The structure ``spec`` with these leaves."""
    return _unflatten(iter(leaves), spec)


def _unflatten(leaves, spec):
    kind = spec.kind
    if kind is None:
        return next(leaves)
    parts = [_unflatten(leaves, part) for part in spec.parts]
    if kind in (dict, OrderedDict):
        return kind(zip(spec.context[0], parts))
    if kind is defaultdict:
        return defaultdict(spec.context[1], zip(spec.context[0], parts))
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def tree_map(fn: Callable, value: Any) -> Any:
    """``value`` with ``fn(leaf)`` in place of each leaf."""
    leaves, spec = flatten(value)
    return unflatten([fn(leaf) for leaf in leaves], spec)


def spread(prefix: Any, spec: Spec) -> list | None:
    """One entry of ``prefix`` a leaf of ``spec``, where ``prefix`` has the upper part of that structure (an entry
    stands for all leaves below it); None if it has not."""
    leaves, top = flatten(prefix)
    found: list = []
    return found if _spread(iter(leaves), top, spec, found) else None


def _spread(leaves, top, spec, found):
    if top.kind is None:
        found.extend([next(leaves)] * spec.count)
        return True
    if top.kind is not spec.kind or top.context != spec.context:
        return False
    return all(_spread(leaves, mine, part, found) for mine, part in zip(top.parts, spec.parts))
