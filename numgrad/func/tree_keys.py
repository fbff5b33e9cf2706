"""Where in a nested structure a leaf is: paths of keys."""

import dataclasses
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .tree import SUPPORTED_NODES, TreeSpec, _kind, flatten, register_pytree_node, unflatten

KeyPath = tuple  # of keys, from the outermost container to the leaf


@dataclasses.dataclass(frozen=True)
class SequenceKey:
    """A place in a tuple, list or deque."""

    idx: int

    def __str__(self):
        return f"[{self.idx!r}]"

    def get(self, parent: Sequence) -> Any:
        """What is there."""
        return parent[self.idx]


@dataclasses.dataclass(frozen=True)
class MappingKey:
    """A key of a dictionary."""

    key: Any

    def __str__(self):
        return f"[{self.key!r}]"

    def get(self, parent: dict) -> Any:
        """What is there."""
        return parent[self.key]


@dataclasses.dataclass(frozen=True)
class GetAttrKey:
    """An attribute."""

    name: str

    def __str__(self):
        return f".{self.name}"

    def get(self, parent: Any) -> Any:
        """What is there."""
        return getattr(parent, self.name)


def _parts(value, kind):
    """The parts of a container with their keys."""
    node = SUPPORTED_NODES[kind]
    if node.flatten_with_keys is not None:
        return node.flatten_with_keys(value)[0]
    if kind in (dict, OrderedDict, defaultdict):
        return [(MappingKey(key), part) for key, part in value.items()]
    if kind is namedtuple:
        return [(GetAttrKey(name), getattr(value, name)) for name in value._fields]
    parts = node.flatten(value)[0]
    return [(SequenceKey(place), part) for place, part in enumerate(parts)]


def _paths(value, path, is_leaf, found):
    kind = _kind(value)
    if kind not in SUPPORTED_NODES or is_leaf is not None and is_leaf(value):
        found.append((path, value))
    else:
        for key, part in _parts(value, kind):
            _paths(part, (*path, key), is_leaf, found)


def tree_leaves_with_path(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[KeyPath, Any]]:
    """``(path, leaf)`` of each leaf, from left to right."""
    found: list = []
    _paths(tree, (), is_leaf, found)
    return found


def tree_flatten_with_path(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[tuple[KeyPath, Any]], TreeSpec]:
    """`tree_leaves_with_path`, and the structure."""
    return tree_leaves_with_path(tree, is_leaf), flatten(tree, is_leaf)[1]


def tree_map_with_path(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """``tree`` with ``func(path, leaf, ...)`` in place of each leaf, where the rest is what ``rests`` have there."""
    found, spec = tree_flatten_with_path(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return unflatten([func(*pair, *parts) for pair, *parts in zip(found, *others)], spec)


def keystr(kp: KeyPath) -> str:
    """A path as text: ``[0]['weight'].data``."""
    return "".join([str(key) for key in kp])


def key_get(obj: Any, kp: KeyPath) -> Any:
    """What is at a path."""
    for key in kp:
        obj = key.get(obj)
    return obj


def register_dataclass(
    cls: type,
    *,
    field_names: Iterable[str] | None = None,
    drop_field_names: Iterable[str] | None = None,
    serialized_type_name: str | None = None,
) -> None:
    """Have the fields of a data class (or ``field_names`` of another class that takes them by name) be its parts; those
    that are None are part of the structure. Raises ValueError if ``field_names`` are not all fields less
    ``drop_field_names``."""
    if dataclasses.is_dataclass(cls):
        fields = [field.name for field in dataclasses.fields(cls) if field.init]
        wanted = set(fields) - set(drop_field_names or ()) if field_names is not None else set(fields)
        if field_names is not None and set(field_names) != wanted:
            raise ValueError(
                f"field_names does not include all dataclass fields: {sorted(wanted ^ set(field_names))} are missing or "
                "unexpected; fields that are no parts go into drop_field_names"
            )
        names = fields if field_names is None else list(field_names)
    elif field_names is None:
        raise ValueError(f"field_names must be specified with a list of all fields used to initialize {cls}")
    else:
        names = list(field_names)

    def with_keys(value):
        present = [name for name in names if getattr(value, name) is not None]
        absent = [name for name in names if name not in present]
        return [(GetAttrKey(name), getattr(value, name)) for name in present], [present, absent]

    def parts(value):
        pairs, context = with_keys(value)
        return [part for _, part in pairs], context

    register_pytree_node(
        cls,
        parts,
        lambda found, context: cls(**dict(zip(context[0], found)), **dict.fromkeys(context[1])),
        serialized_type_name=serialized_type_name,
        flatten_with_keys_fn=with_keys,
    )
