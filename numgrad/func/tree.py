"""Nested tuples, lists and dictionaries as flat lists of their leaves, and back."""

import types
import warnings
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple


class TreeSpec:
    """The structure without its leaves: the container's type (``namedtuple`` for all of these), what it takes besides the
    values, and the parts' specs."""

    __slots__ = ("type", "context", "children_specs", "num_nodes", "num_leaves", "num_children")

    def __init__(self, type: Any, context: Any, children_specs: Sequence["TreeSpec"]):
        self.type, self.context, self.children_specs = type, context, list(children_specs)
        self.num_children = len(self.children_specs)
        self.num_leaves = sum([part.num_leaves for part in self.children_specs])
        self.num_nodes = 1 + sum([part.num_nodes for part in self.children_specs])

    def is_leaf(self) -> bool:
        """Whether this stands for one leaf."""
        return self.type is None

    def flatten_up_to(self, tree: Any) -> list:
        """What ``tree`` has where this structure has leaves; ValueError if it has no such places."""
        if self.type is None:
            return [tree]
        kind = _kind(tree)
        if kind not in SUPPORTED_NODES:
            raise ValueError(f"tree_map: expected {self!r} in the structures after the first, got {tree!r:.80}")
        parts, context = SUPPORTED_NODES[kind].flatten(tree)
        parts = list(parts)
        if kind in _DICTS and self.type in _DICTS:  # the order of the keys is the first one's
            keys, mine = list(tree), self.context[1] if self.type is defaultdict else self.context
            if len(keys) == len(mine) and set(keys) == set(mine):
                parts, kind, context = [tree[key] for key in mine], self.type, self.context
        if kind is not self.type or context != self.context or len(parts) != self.num_children:
            raise ValueError(f"tree_map: expected {self!r} in the structures after the first, got {tree!r:.80}")
        return [leaf for part, spec in zip(parts, self.children_specs) for leaf in spec.flatten_up_to(part)]

    def unflatten(self, leaves: Iterable) -> Any:
        """The structure with these leaves."""
        return unflatten(leaves, self)

    def __eq__(self, other):
        if self is other:
            return True
        if not isinstance(other, TreeSpec):
            return NotImplemented
        return self.type is other.type and self.context == other.context and self.children_specs == other.children_specs

    def __hash__(self):
        return hash((self.type, *self.children_specs))

    def __repr__(self):
        return self._text(0)

    def _text(self, indent):
        if self.type is None:
            return "*"
        parts = f",\n{' ' * (indent + 2)}".join([part._text(indent + 2) for part in self.children_specs])
        return f"TreeSpec({self.type.__name__}, {self.context}, [{parts}])"


class LeafSpec(TreeSpec):
    """The structure of one leaf."""

    __slots__ = ()

    def __init__(self):
        super().__init__(None, None, ())
        self.num_leaves = 1


LEAF = LeafSpec()


class Node(NamedTuple):
    """How values of a class fall into parts and what else they are, and are made of both again."""

    flatten: Callable[[Any], tuple[Iterable, Any]]
    unflatten: Callable[[list, Any], Any]
    flatten_with_keys: Callable[[Any], tuple[Iterable, Any]] | None = None


class Written(NamedTuple):
    """Under which name a class is written by `treespec_dumps`, and how its context is written and read."""

    name: str
    to_dumpable: Callable[[Any], Any] | None
    from_dumpable: Callable[[Any], Any] | None


_DICTS = (dict, OrderedDict, defaultdict)
_sequences = {
    kind: Node(lambda value: (value, None), lambda parts, _, kind=kind: kind(parts)) for kind in (tuple, list)
}
_dicts = {
    kind: Node(lambda value: (value.values(), list(value)), lambda parts, keys, kind=kind: kind(zip(keys, parts)))
    for kind in (dict, OrderedDict)
}
SUPPORTED_NODES: dict[Any, Node] = {
    **_sequences,
    **_dicts,
    defaultdict: Node(
        lambda value: (value.values(), [value.default_factory, list(value)]),
        lambda parts, context: defaultdict(context[0], zip(context[1], parts)),
    ),
    deque: Node(lambda value: (value, value.maxlen), lambda parts, most: deque(parts, maxlen=most)),
    namedtuple: Node(lambda value: (value, type(value)), lambda parts, kind: kind(*parts)),
}
WRITTEN: dict[Any, Written] = {}  # what classes that were registered gave; the others' are in `specs`


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[Iterable, Any]],
    unflatten_fn: Callable[[list, Any], Any],
    *,
    serialized_type_name: str | None = None,
    to_dumpable_context: Callable[[Any], Any] | None = None,
    from_dumpable_context: Callable[[Any], Any] | None = None,
    flatten_with_keys_fn: Callable[[Any], tuple[Iterable, Any]] | None = None,
) -> None:
    """Have instances of ``cls`` be no leaves: ``flatten_fn(value)`` gives their parts and what else they are, of which
    ``unflatten_fn(parts, rest)`` makes them again; ``flatten_with_keys_fn(value)`` gives ``(key, part)`` in place of the
    parts. The other names are for `treespec_dumps`. Raises ValueError for a class that is known already."""
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    if (to_dumpable_context is None) != (from_dumpable_context is None):
        raise ValueError(
            f"Both to_dumpable_context and from_dumpable_context for {cls} must be None or registered, got one of them"
        )
    SUPPORTED_NODES[cls] = Node(flatten_fn, unflatten_fn, flatten_with_keys_fn)
    if serialized_type_name is not None:
        WRITTEN[cls] = Written(serialized_type_name, to_dumpable_context, from_dumpable_context)


def register_again(cls: type, flatten_fn: Callable, unflatten_fn: Callable, *_: Any, **names: Any) -> None:
    """`register_pytree_node` under its older name: with a FutureWarning, and a class that is known already is warned
    about and replaced."""
    warnings.warn(
        "torch.utils._pytree._register_pytree_node is deprecated; use torch.utils._pytree.register_pytree_node instead",
        FutureWarning,
        stacklevel=2,
    )
    if SUPPORTED_NODES.pop(cls, None) is not None:
        WRITTEN.pop(cls, None)
        warnings.warn(
            f"{cls} is already registered as pytree node. Overwriting the previous registration.", stacklevel=2
        )
    register_pytree_node(cls, flatten_fn, unflatten_fn, **names)


def _kind(value):
    kind = type(value)
    if kind not in SUPPORTED_NODES and isinstance(value, tuple) and hasattr(value, "_fields"):
        return namedtuple
    return kind


def flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, TreeSpec]:
    """The leaves of ``tree``, from left to right, and its `TreeSpec`. All but tuples, lists, deques, dictionaries and
    instances of registered classes is a leaf, and that for which ``is_leaf(part)`` is true."""
    leaves: list = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(value, leaves, is_leaf=None):
    kind = _kind(value)
    if kind not in SUPPORTED_NODES or is_leaf is not None and is_leaf(value):
        leaves.append(value)
        return LEAF
    parts, context = SUPPORTED_NODES[kind].flatten(value)
    return TreeSpec(kind, context, [_flatten(part, leaves, is_leaf) for part in parts])


def unflatten(leaves: Iterable, treespec: TreeSpec) -> Any:
    """The structure ``treespec`` with these leaves. Raises ValueError if they are too few or too many."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(f"tree_unflatten: expected treespec to be a TreeSpec, got {type(treespec).__name__}")
    leaves = leaves if isinstance(leaves, (list, tuple)) else list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(f"tree_unflatten: {treespec!r} has {treespec.num_leaves} leaves, got {len(leaves)}")
    return _unflatten(iter(leaves), treespec)


def _unflatten(leaves, spec):
    if spec.type is None:
        return next(leaves)
    return SUPPORTED_NODES[spec.type].unflatten(
        [_unflatten(leaves, part) for part in spec.children_specs], spec.context
    )


def tree_is_leaf(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether ``tree`` is one leaf."""
    return _kind(tree) not in SUPPORTED_NODES or is_leaf is not None and is_leaf(tree)


def tree_iter(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Iterable:
    """An iterator over the leaves, from left to right."""
    return iter(tree_leaves(tree, is_leaf))


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """The leaves, from left to right."""
    return flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The structure without the leaves."""
    return flatten(tree, is_leaf)[1]


def arg_tree_leaves(*args: Any, **kwargs: Any) -> list:
    """The leaves of the arguments of a call."""
    return tree_leaves((*args, *kwargs.values()))


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """``tree`` with ``func(leaf)`` in place of each leaf; with ``rests``, ``func(leaf, ...)`` with what these have in its
    place. Raises ValueError if one of them has no such place."""
    leaves, spec = flatten(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return unflatten([func(*parts) for parts in zip(leaves, *others)], spec)


def tree_map_(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """``tree`` itself, after ``func`` was called for each leaf."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def _for_kinds(kinds, fn):
    def called(leaf):
        matches = isinstance(leaf, kinds) if isinstance(kinds, (type, tuple, types.UnionType)) else kinds(leaf)
        return fn(leaf) if matches else leaf

    return called


def tree_map_only(
    type_or_types_or_pred: Any, func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """`tree_map` for leaves of these types, or for which a predicate is true; the others stay."""
    return tree_map(_for_kinds(type_or_types_or_pred, func), tree, is_leaf=is_leaf)


def tree_map_only_(
    type_or_types_or_pred: Any, func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """`tree_map_` for leaves of these types."""
    return tree_map_(_for_kinds(type_or_types_or_pred, func), tree, is_leaf=is_leaf)


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


def spread(prefix: Any, spec: TreeSpec) -> list | None:
    """One entry of ``prefix`` a leaf of ``spec``, where ``prefix`` has the upper part of that structure (an entry
    stands for all leaves below it); None if it has not."""
    leaves, top = flatten(prefix)
    found: list = []
    return found if _spread(iter(leaves), top, spec, found) else None


def _spread(leaves, top, spec, found):
    if top.type is None:
        found.extend([next(leaves)] * spec.num_leaves)
        return True
    if top.type is not spec.type or top.context != spec.context or top.num_children != spec.num_children:
        return False
    return all(_spread(leaves, mine, part, found) for mine, part in zip(top.children_specs, spec.children_specs))
