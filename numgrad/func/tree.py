"""Nested tuples, lists and dictionaries as flat lists of their leaves, and back."""

import types
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


_registered: dict = {}  # class: (its flatten, its unflatten)


def register_pytree_node(
    cls: type, flatten_fn: Callable[[Any], tuple[Sequence, Any]], unflatten_fn: Callable[[list, Any], Any], **names: Any
) -> None:
    """Have instances of ``cls`` be no leaves: ``flatten_fn(value)`` gives their parts and what else they are, of which
    ``unflatten_fn(parts, rest)`` makes them again. ``names``, under which PyTorch writes and exports them, are not used.
    Raises ValueError for a class that is known already."""
    if cls in _registered or cls in _CONTAINERS:
        raise ValueError(f"{cls} is already registered as pytree node.")
    _registered[cls] = flatten_fn, unflatten_fn


_CONTAINERS = (tuple, list, dict, OrderedDict, defaultdict)


def flatten(value: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, Spec]:
    """The leaves of ``value``, from left to right, and its `Spec`. All but tuples, lists, dictionaries and instances of
    registered classes is a leaf, and that for which ``is_leaf(part)`` is true."""
    leaves: list = []
    return leaves, _flatten(value, leaves, is_leaf)


def _flatten(value, leaves, is_leaf=None):
    kind = type(value)
    if is_leaf is not None and is_leaf(value):
        parts = None
    elif kind in (dict, OrderedDict, defaultdict):
        parts, context = value.values(), (tuple(value), getattr(value, "default_factory", None))
    elif kind in _registered:
        parts, context = _registered[kind][0](value)
    elif kind in (tuple, list) or isinstance(value, tuple) and hasattr(value, "_fields"):
        parts, context = value, len(value)
    else:
        parts = None
    if parts is None:
        leaves.append(value)
        return LEAF
    return Spec(kind, context, tuple([_flatten(part, leaves, is_leaf) for part in parts]))


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
    if kind in _registered:
        return _registered[kind][1](parts, spec.context)
    if kind is defaultdict:
        return defaultdict(spec.context[1], zip(spec.context[0], parts))
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """The leaves, from left to right."""
    return flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Spec:
    """The structure without the leaves."""
    return flatten(tree, is_leaf)[1]


def arg_tree_leaves(*args: Any, **kwargs: Any) -> list:
    """The leaves of the arguments of a call."""
    return tree_leaves((*args, *kwargs.values()))


def tree_map(fn: Callable, value: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """``value`` with ``fn(leaf)`` in place of each leaf; with ``rests``, ``fn(leaf, ...)`` with what these have in its place.
    Raises ValueError if one of them has no such place."""
    leaves, spec = flatten(value, is_leaf)
    others = [_parts_at(rest, spec) for rest in rests]
    return unflatten([fn(*parts) for parts in zip(leaves, *others)], spec)


def _parts_at(value, spec):
    """What ``value`` has where ``spec`` has leaves."""
    if spec.kind is None:
        return [value]
    found: list = []
    own = _flatten(value, found, lambda part: part is not value)
    if own.kind is not spec.kind or own.context != spec.context:
        raise ValueError(f"tree_map: expected {spec} in the structures after the first, got {value!r:.80}")
    return [part for inner, below in zip(found, spec.parts) for part in _parts_at(inner, below)]


def tree_map_(fn: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """``tree`` itself, after ``fn`` was called for each leaf."""
    tree_map(fn, tree, *rests, is_leaf=is_leaf)
    return tree


def _for_kinds(kinds, fn):
    def called(leaf):
        matches = isinstance(leaf, kinds) if isinstance(kinds, (type, tuple, types.UnionType)) else kinds(leaf)
        return fn(leaf) if matches else leaf

    return called


def tree_map_only(type_or_types_or_pred: Any, fn: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """`tree_map` for leaves of these types, or for which a predicate is true; the others stay."""
    return tree_map(_for_kinds(type_or_types_or_pred, fn), tree, is_leaf=is_leaf)


def tree_map_only_(type_or_types_or_pred: Any, fn: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """`tree_map_` for leaves of these types."""
    return tree_map_(_for_kinds(type_or_types_or_pred, fn), tree, is_leaf=is_leaf)


def tree_all(pred: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether ``pred(leaf)`` is true for all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether ``pred(leaf)`` is true for a leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all_only(types_: Any, pred: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether ``pred(leaf)`` is true for all leaves of these types."""
    return all(pred(leaf) for leaf in tree_leaves(tree, is_leaf) if isinstance(leaf, types_))


def tree_any_only(types_: Any, pred: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether ``pred(leaf)`` is true for a leaf of these types."""
    return any(pred(leaf) for leaf in tree_leaves(tree, is_leaf) if isinstance(leaf, types_))


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
