"""Nested containers as flat lists of their leaves, and back: what PyTorch calls pytrees (``torch.utils._pytree``)."""

import types
import warnings
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pprint import pformat
from typing import Any, NamedTuple

PyTree = Any
Context = Any


class TreeSpec:
    """A structure without its leaves: the container's ``type``, what it takes besides the values (``context``) and the specs
    of its parts. ``num_nodes`` counts this container, those below and the leaves, ``num_leaves`` the leaves."""

    __slots__ = ("children_specs", "context", "num_children", "num_leaves", "num_nodes", "type")

    def __init__(self, type: Any, context: Context, children_specs: list["TreeSpec"]) -> None:
        self.type, self.context, self.children_specs = type, context, children_specs
        self.num_children = len(children_specs)
        self.num_leaves = sum([spec.num_leaves for spec in children_specs])
        self.num_nodes = 1 + sum([spec.num_nodes for spec in children_specs])

    def is_leaf(self) -> bool:
        """Whether this is the spec of a leaf."""
        return False

    def __eq__(self, other: object) -> bool:
        return (
            other.__class__ is self.__class__
            and isinstance(other, TreeSpec)
            and self.type == other.type
            and self.context == other.context
            and self.children_specs == other.children_specs
        )

    def __hash__(self) -> int:
        return hash((self.type, tuple(self.children_specs)))  # contexts are lists for most

    def __repr__(self) -> str:
        return self._text(0)

    def _text(self, indent: int) -> str:
        """The parts after the first stand on lines of their own, two columns to the right of their container."""
        margin = "\n" + " " * (indent + 2)
        parts = f",{margin}".join(spec._text(indent + 2) for spec in self.children_specs)
        return f"TreeSpec({getattr(self.type, '__name__', self.type)}, {self.context}, [{parts}])"

    def __str__(self) -> str:
        return repr(tree_unflatten([_STAR] * self.num_leaves, self))

    def unflatten(self, leaves: Iterable[Any]) -> PyTree:
        """This structure with ``leaves``. Raises ValueError for another number of them."""
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(
                f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec refers to a pytree that holds "
                f"{self.num_leaves} items ({self})."
            )
        return _unflatten(iter(leaves), self)

    def flatten_up_to(self, tree: PyTree) -> list[PyTree]:
        """What ``tree`` has where this structure has leaves. Raises ValueError if it has no such place."""
        found: list[PyTree] = []
        self._collect(tree, found)
        return found

    def _collect(self, tree, found):
        parts, context = _parts(tree)
        kind = _kind(tree)
        if self.type in _DICTIONARIES and kind in _DICTIONARIES:  # any of them goes for another with the same keys
            keys = self.context[1] if self.type is defaultdict else self.context
            fits = isinstance(keys, list) and len(tree) == len(keys) and all(key in tree for key in keys)
            parts = [tree[key] for key in keys] if fits else ()
        else:
            parts = list(parts)
            fits = kind is self.type and context == self.context and len(parts) == self.num_children
        if not fits:
            raise ValueError(f"tree_map: expected {self} in the structures after the first, got {tree!r:.80}")
        for part, spec in zip(parts, self.children_specs):
            spec._collect(part, found)


class LeafSpec(TreeSpec):
    """The spec of a leaf."""

    __slots__ = ()

    def __init__(self) -> None:
        self.type, self.context, self.children_specs = None, None, []
        self.num_nodes, self.num_leaves, self.num_children = 1, 1, 0

    def is_leaf(self) -> bool:
        return True

    def _text(self, indent: int) -> str:
        return "*"

    def _collect(self, tree, found):
        found.append(tree)


class _Star:
    def __repr__(self):
        return "*"


_STAR = _Star()
_LEAF = LeafSpec()


# --- keys -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceKey:
    """A place in a sequence."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, sequence: Any) -> Any:
        """What is there."""
        return sequence[self.idx]


@dataclass(frozen=True)
class MappingKey:
    """A key of a dictionary."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, mapping: Any) -> Any:
        """What is there."""
        return mapping[self.key]


@dataclass(frozen=True)
class GetAttrKey:
    """The name of an attribute."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, obj: Any) -> Any:
        """What is there."""
        return getattr(obj, self.name)


KeyPath = tuple[Any, ...]


def keystr(kp: KeyPath) -> str:
    """A path as Python writes it after the name of the tree: ``[0]['foo'].x``."""
    return "".join(str(key) for key in kp)


def key_get(obj: Any, kp: KeyPath) -> Any:
    """What ``obj`` has at the end of a path."""
    for key in kp:
        obj = key.get(obj)
    return obj


# --- containers -----------------------------------------------------------------------------------------------------------


class NodeDef(NamedTuple):
    """How instances of a class are taken apart and put together; ``flatten_with_keys_fn`` gives pairs (key, part)."""

    type: Any
    flatten_fn: Callable[[Any], tuple[Iterable[Any], Context]]
    unflatten_fn: Callable[[Any, Context], Any]
    flatten_with_keys_fn: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Context]] | None


def _indexed(parts):
    return [(SequenceKey(k), part) for k, part in enumerate(parts)]


def _keyed(mapping):
    return [(MappingKey(key), part) for key, part in mapping.items()]


def _sequence(kind):
    return NodeDef(kind, lambda x: (x, None), lambda parts, _: kind(parts), lambda x: (_indexed(x), None))


def _dictionary(kind):
    return NodeDef(
        kind, lambda x: (x.values(), list(x)), lambda parts, keys: kind(zip(keys, parts)), lambda x: (_keyed(x), list(x))
    )


_DICTIONARIES = (dict, OrderedDict, defaultdict)
SUPPORTED_NODES: dict[Any, NodeDef] = {
    tuple: _sequence(tuple),
    list: _sequence(list),
    dict: _dictionary(dict),
    namedtuple: NodeDef(
        namedtuple,
        lambda x: (x, type(x)),
        lambda parts, kind: kind(*parts),
        lambda x: ([(GetAttrKey(name), part) for name, part in zip(x._fields, x)], type(x)),
    ),
    OrderedDict: _dictionary(OrderedDict),
    defaultdict: NodeDef(
        defaultdict,
        lambda x: (x.values(), [x.default_factory, list(x)]),
        lambda parts, context: defaultdict(context[0], zip(context[1], parts)),
        lambda x: (_keyed(x), [x.default_factory, list(x)]),
    ),
    deque: NodeDef(
        deque,
        lambda x: (x, x.maxlen),
        lambda parts, maxlen: deque(parts, maxlen=maxlen),
        lambda x: (_indexed(x), x.maxlen),
    ),
}
BUILTIN_TYPES = frozenset(SUPPORTED_NODES)


class Written(NamedTuple):
    """How a class and its contexts are written: the class's name, and functions from and to what JSON has."""

    name: str | None
    dump: Callable[[Context], Any] | None = None
    load: Callable[[Any], Context] | None = None


WRITTEN: dict[Any, Written] = {}
NAMES: dict[str, Any] = {}  # the classes by the names under which they are written


def write_as(cls: Any, written: Written) -> None:
    """Have ``cls`` be written so by `treespec_dumps`. Raises ValueError if half of the pair of functions is missing."""
    if (written.dump is None) is not (written.load is None):
        raise ValueError(
            f"Both to_dumpable_context and from_dumpable_context for {cls} must be None or registered. Give both or neither."
        )
    WRITTEN[cls] = written
    if written.name is not None:
        NAMES[written.name] = cls


def register_pytree_node(
    cls: type, flatten_fn: Callable[[Any], tuple[Iterable[Any], Context]], unflatten_fn: Callable[[Any, Context], Any], *,
    serialized_type_name: str | None = None, to_dumpable_context: Callable[[Context], Any] | None = None,
    from_dumpable_context: Callable[[Any], Context] | None = None,
    flatten_with_keys_fn: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Context]] | None = None,
) -> None:  # fmt: skip
    """Have instances of ``cls`` be no leaves: ``flatten_fn(value)`` gives their parts and what else they are, of which
    ``unflatten_fn(parts, rest)`` makes them again; ``flatten_with_keys_fn`` gives pairs of a key and a part, for paths.

    `treespec_dumps` writes the class under ``serialized_type_name``, and what else it is by ``to_dumpable_context``. Raises
    ValueError for a class that is known already.
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    write_as(cls, Written(serialized_type_name, to_dumpable_context, from_dumpable_context))
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn, flatten_with_keys_fn)


def _register_pytree_node(cls: type, flatten_fn: Callable, unflatten_fn: Callable, **options: Any) -> None:
    """The old name of `register_pytree_node`; warns, and replaces what is registered."""
    warnings.warn(
        "torch.utils._pytree._register_pytree_node is deprecated. Please use torch.utils._pytree.register_pytree_node instead.",
        FutureWarning,
        stacklevel=2,
    )
    if SUPPORTED_NODES.pop(cls, None) is not None:
        warnings.warn(
            f"{cls} is already registered as pytree node. Overwriting the previous registration.", stacklevel=2
        )
    register_pytree_node(cls, flatten_fn, unflatten_fn, **options)


def _kind(value):
    """Of which class's `NodeDef` a value is; None for leaves."""
    kind = type(value)
    if kind in SUPPORTED_NODES:
        return kind
    return namedtuple if isinstance(value, tuple) and hasattr(value, "_fields") else None


def _parts(value):
    kind = _kind(value)
    return ((), None) if kind is None else SUPPORTED_NODES[kind].flatten_fn(value)


# --- there and back -------------------------------------------------------------------------------------------------------


def tree_flatten(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves, from left to right, and the `TreeSpec`. All but tuples, lists, dictionaries, deques and instances of
    registered classes is a leaf, and that for which ``is_leaf(part)`` is true."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(value, leaves, is_leaf):
    kind = type(value)
    node = SUPPORTED_NODES.get(kind)
    if node is None and isinstance(value, tuple) and hasattr(value, "_fields"):
        kind = namedtuple
        node = SUPPORTED_NODES[namedtuple]
    if node is None or (is_leaf is not None and is_leaf(value)):
        leaves.append(value)
        return _LEAF
    parts, context = node.flatten_fn(value)
    return TreeSpec(kind, context, [_flatten(part, leaves, is_leaf) for part in parts])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> PyTree:
    """The structure ``treespec`` with these leaves. Raises TypeError for what is no spec, ValueError for another number of
    leaves."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            "tree_unflatten(leaves, treespec): Expected `treespec` to be instance of TreeSpec but got item of type "
            f"{type(treespec)}."
        )
    return treespec.unflatten(leaves)


def _unflatten(leaves: Iterator[Any], spec: TreeSpec) -> Any:
    if spec.type is None:
        return next(leaves)
    parts = [_unflatten(leaves, part) for part in spec.children_specs]
    return SUPPORTED_NODES[spec.type].unflatten_fn(parts, spec.context)


def tree_iter(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> Iterator[Any]:
    """The leaves one after the other."""
    kind = _kind(tree)
    if kind is None or (is_leaf is not None and is_leaf(tree)):
        yield tree
    else:
        for part in SUPPORTED_NODES[kind].flatten_fn(tree)[0]:
            yield from tree_iter(part, is_leaf)


def tree_leaves(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> list[Any]:
    """The leaves, from left to right."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> TreeSpec:
    """The structure without the leaves."""
    return tree_flatten(tree, is_leaf)[1]


def arg_tree_leaves(*args: PyTree, **kwargs: PyTree) -> list[Any]:
    """The leaves of the arguments of a call."""
    return tree_leaves((*args, *kwargs.values()))


def treespec_pprint(treespec: TreeSpec) -> str:
    """The structure with stars for its leaves, on several lines where it is long."""
    return pformat(treespec.unflatten([_STAR] * treespec.num_leaves))


# --- with paths -----------------------------------------------------------------------------------------------------------


def tree_flatten_with_path(
    tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> tuple[list[tuple[KeyPath, Any]], TreeSpec]:
    """Pairs of a path and a leaf, and the `TreeSpec`. Raises ValueError for a registered class without keys."""
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_leaves_with_path(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> list[tuple[KeyPath, Any]]:
    """Pairs of a path, a tuple of keys, and a leaf."""
    return list(_with_path((), tree, is_leaf))


def _with_path(path, value, is_leaf):
    kind = _kind(value)
    if kind is None or (is_leaf is not None and is_leaf(value)):
        yield path, value
        return
    keyed = SUPPORTED_NODES[kind].flatten_with_keys_fn
    if keyed is None:
        raise ValueError(f"Did not find a flatten_with_keys_fn for type: {kind}. Give one to register_pytree_node.")
    for key, part in keyed(value)[0]:
        yield from _with_path((*path, key), part, is_leaf)


def tree_map_with_path(
    func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """`tree_map` of a function that is given the path first."""
    pairs, spec = tree_flatten_with_path(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return spec.unflatten([func(path, *parts) for (path, leaf), *rest in zip(pairs, *others) for parts in [(leaf, *rest)]])


# --- maps -----------------------------------------------------------------------------------------------------------------


def tree_map(
    func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """``tree`` with ``func(leaf)`` in place of each leaf; with ``rests``, ``func(leaf, ...)`` with what these have in its
    place. Raises ValueError if one of them has no such place."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return spec.unflatten([func(*parts) for parts in zip(leaves, *others)])


def tree_map_(
    func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """``tree`` itself, after ``func`` was called for each leaf."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def map_only(type_or_types_or_pred: Any) -> Callable[[Callable], Callable]:
    """A decorator: the function called for values of these types, or for which a predicate is true; the others stay."""
    kinds = type_or_types_or_pred
    if not isinstance(kinds, (type, tuple, types.UnionType)) and not callable(kinds):
        raise TypeError("Argument must be a type, a tuple of types, or a callable.")

    def decorated(fn):
        def called(leaf):
            matches = isinstance(leaf, kinds) if isinstance(kinds, (type, tuple, types.UnionType)) else kinds(leaf)
            return fn(leaf) if matches else leaf

        return called

    return decorated


def tree_map_only(
    type_or_types_or_pred: Any, func: Callable, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """`tree_map` for leaves of these types, or for which a predicate is true; the others stay."""
    return tree_map(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_map_only_(
    type_or_types_or_pred: Any, func: Callable, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """`tree_map_` for leaves of these types."""
    return tree_map_(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_all(pred: Callable, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> bool:
    """Whether ``pred(leaf)`` is true for all leaves."""
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(pred: Callable, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> bool:
    """Whether ``pred(leaf)`` is true for a leaf."""
    return any(map(pred, tree_iter(tree, is_leaf)))


def tree_all_only(types_: Any, pred: Callable, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> bool:
    """Whether ``pred(leaf)`` is true for all leaves of these types."""
    return all(pred(leaf) for leaf in tree_iter(tree, is_leaf) if isinstance(leaf, types_))


def tree_any_only(types_: Any, pred: Callable, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> bool:
    """Whether ``pred(leaf)`` is true for a leaf of these types."""
    return any(pred(leaf) for leaf in tree_iter(tree, is_leaf) if isinstance(leaf, types_))


def _broadcast_to_and_flatten(
    tree: PyTree, treespec: TreeSpec, is_leaf: Callable[[PyTree], bool] | None = None
) -> list[Any] | None:
    """One entry of ``tree`` a leaf of ``treespec``, where ``tree`` has the upper part of that structure (an entry stands for
    all leaves below it); None if it has not."""
    leaves, top = tree_flatten(tree, is_leaf)
    found: list[Any] = []
    return found if _spread(iter(leaves), top, treespec, found) else None


def _spread(leaves: Iterator[Any], top: TreeSpec, spec: TreeSpec, found: list) -> bool:
    if top.type is None:
        found.extend([next(leaves)] * spec.num_leaves)
        return True
    if top.type is not spec.type or top.context != spec.context or top.num_children != spec.num_children:
        return False
    return all(_spread(leaves, mine, part, found) for mine, part in zip(top.children_specs, spec.children_specs))
