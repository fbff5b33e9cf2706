"""Structures of nested containers as text and back."""

import enum
import json
import sys
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

from .tree import LEAF, WRITTEN, TreeSpec, Written, unflatten

_PROTOCOL = 1


def _name(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def _factory(context):
    made, keys = context
    return {"default_factory_module": made and made.__module__, "default_factory_name": made and made.__qualname__,
            "dict_context": keys}  # fmt: skip


def _factory_back(text):
    module, name = text["default_factory_module"], text["default_factory_name"]
    made = None if module is None else _looked_up(module, name)
    if made is not None and not isinstance(made, type):  # a text shall not choose which function is called
        raise ValueError(f"treespec_loads: the default factory {module}.{name} is no class")
    return [made, text["dict_context"]]


def _looked_up(module, path):
    """A name of a module that is imported already: a text has nothing imported."""
    if module not in sys.modules:
        raise ValueError(f"treespec_loads: {path} is looked up in {module}, which is not imported; import it first")
    found: Any = sys.modules[module]
    for name in path.split("."):
        found = getattr(found, name)
    return found


def _namedtuple_name(kind):
    if kind not in WRITTEN:
        raise NotImplementedError(
            f"Can't serialize TreeSpec of namedtuple class {kind}: it has no name to be written under. Please register "
            "using `_register_namedtuple`."
        )
    return WRITTEN[kind].name


def _known(name):
    for kind, written in WRITTEN.items():
        if written.name == name:
            return kind
    raise NotImplementedError(f"Can't deserialize TreeSpec of type {name}: no class is registered under this name")


_OWN = {
    **{kind: Written(_name(kind), None, None) for kind in (tuple, list, dict, OrderedDict, deque)},
    defaultdict: Written("collections.defaultdict", _factory, _factory_back),
    namedtuple: Written("collections.namedtuple", _namedtuple_name, _known),
}


class _Encoder(json.JSONEncoder):
    """Members of enumerations by their name."""

    def default(self, o):
        if isinstance(o, enum.Enum):
            return {"__enum__": True, "fqn": f"{type(o).__module__}:{type(o).__qualname__}", "name": o.name}
        return super().default(o)


def _member(found):
    if "__enum__" not in found:
        return found
    module, _, path = found["fqn"].partition(":")
    kind = _looked_up(module, path)
    if not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        raise ValueError(f"treespec_loads: {found['fqn']} is no enumeration")
    return kind[found["name"]]


def _dump(spec):
    if spec.is_leaf():
        return {"type": None, "context": None, "children_spec": []}
    written = _OWN.get(spec.type) or WRITTEN.get(spec.type)
    if written is None:
        raise NotImplementedError(
            f"No registered serialization name for {spec.type} found. Please update your _register_pytree_node call with "
            "a `serialized_type_name` kwarg."
        )
    context = spec.context if written.to_dumpable is None else written.to_dumpable(spec.context)
    try:
        text = json.dumps(context, cls=_Encoder)
    except TypeError as error:
        raise TypeError(
            f"Unable to serialize context of {spec.type}: {error}. Use the to_dumpable_context of register_pytree_node to "
            "write it as what json knows."
        ) from error
    return {"type": written.name, "context": text, "children_spec": [_dump(part) for part in spec.children_specs]}


def _load(found):
    name, text, parts = found["type"], found["context"], found["children_spec"]
    if name is None:
        return LEAF
    kind = next((kind for kind, written in _OWN.items() if written.name == name), None)
    kind, written = (_known(name), WRITTEN[_known(name)]) if kind is None else (kind, _OWN[kind])
    context = json.loads(text, object_hook=_member)
    if written.from_dumpable is not None:
        context = written.from_dumpable(context)
    return TreeSpec(kind, context, [_load(part) for part in parts])


def treespec_dumps(treespec: TreeSpec, protocol: int | None = None) -> str:
    """A structure as JSON text. Raises NotImplementedError for classes that were registered without a name, ValueError
    for a protocol other than 1."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(f"treespec_dumps(treespec, protocol): Expected `treespec` to be instance of TreeSpec but got item of type {type(treespec)}.")  # fmt: skip
    if protocol not in (None, _PROTOCOL):
        raise ValueError(f"Unknown protocol {protocol}. Available protocols: [{_PROTOCOL}]")
    return json.dumps((_PROTOCOL, _dump(treespec)))


def treespec_loads(serialized: str) -> TreeSpec:
    """The structure that `treespec_dumps` wrote. Classes and enumerations are looked up
    among those that are registered or imported."""
    protocol, found = json.loads(serialized)
    if protocol != _PROTOCOL:
        raise ValueError(f"Unknown protocol {protocol}. Available protocols: [{_PROTOCOL}]")
    return _load(found)


class _Star:
    def __repr__(self):
        return "*"


def treespec_pprint(treespec: TreeSpec) -> str:
    """The structure as the containers with ``*`` for each leaf."""
    return repr(unflatten([_Star()] * treespec.num_leaves, treespec))


def register_namedtuple(cls: type, *, serialized_type_name: str) -> None:
    """Have `treespec_dumps` write a class of named tuples under this name."""
    WRITTEN[cls] = Written(serialized_type_name, None, None)


def is_namedtuple_class(cls: Any) -> bool:
    """Whether this is a class of named tuples."""
    fields = getattr(cls, "_fields", None)
    return isinstance(cls, type) and issubclass(cls, tuple) and isinstance(fields, tuple) and all(type(name) is str for name in fields)  # fmt: skip


def is_namedtuple(obj: Any) -> bool:
    """Whether this is a class of named tuples or one of them."""
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


def is_namedtuple_instance(obj: Any) -> bool:
    """Whether this is a named tuple."""
    return is_namedtuple_class(type(obj))
