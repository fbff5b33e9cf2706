"""Structures of pytrees as JSON, in PyTorch's form: `treespec_dumps`, `treespec_loads`."""

import enum
import json
import sys
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

from .tree import NAMES, WRITTEN, LeafSpec, TreeSpec, Written, write_as

DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL = 1


def _register_namedtuple(cls: type, *, serialized_type_name: str) -> None:
    """Have `treespec_dumps` write this class of named tuples under a name."""
    write_as(cls, Written(serialized_type_name))


def _dump_named(kind):
    if kind not in WRITTEN:
        raise NotImplementedError(
            f"Can't serialize TreeSpec of namedtuple class {kind} because we didn't register a serializated_type_name. Please "
            "register using `_register_namedtuple`."
        )
    return WRITTEN[kind].name


def _load_named(name):
    if name not in NAMES:
        raise NotImplementedError(f"Can't load the namedtuple class {name}. Please register using `_register_namedtuple`.")
    return NAMES[name]


def _dump_default(context):
    factory, keys = context
    return {
        "default_factory_module": getattr(factory, "__module__", None),
        "default_factory_name": getattr(factory, "__qualname__", None),
        "dict_context": keys,
    }


def _load_default(found):
    module, name = found["default_factory_module"], found["default_factory_name"]
    if module is None:
        return [None, found["dict_context"]]
    return [_named(module, name), found["dict_context"]]


def _named(module, path):
    """What a module that is imported already has under a dotted name: text from strangers imports nothing."""
    if module not in sys.modules:
        raise ValueError(f"treespec_loads: the text names {module}.{path}; import {module} first, if you trust the text")
    found: Any = sys.modules[module]
    for name in path.split("."):
        found = getattr(found, name)
    return found


for _kind, _name, _pair in (
    (tuple, "builtins.tuple", ()),
    (list, "builtins.list", ()),
    (dict, "builtins.dict", ()),
    (namedtuple, "collections.namedtuple", (_dump_named, _load_named)),
    (OrderedDict, "collections.OrderedDict", ()),
    (defaultdict, "collections.defaultdict", (_dump_default, _load_default)),
    (deque, "collections.deque", ()),
):
    write_as(_kind, Written(_name, *_pair))


class EnumEncoder(json.JSONEncoder):
    """JSON of members of enumerations: their values where those are numbers or text, else where the class is found."""

    def default(self, obj: Any) -> Any:
        if isinstance(obj, enum.Enum):
            return {"__enum__": True, "fqn": f"{type(obj).__module__}:{type(obj).__qualname__}", "name": obj.name}
        return super().default(obj)


def _member(found):
    """The member of an enumeration that `EnumEncoder` wrote."""
    if "__enum__" not in found:
        return found
    module, _, path = found["fqn"].partition(":")
    owner = _named(module, path)
    if not (isinstance(owner, type) and issubclass(owner, enum.Enum)):
        raise ValueError(f"treespec_loads: {found['fqn']} is no enumeration")
    return owner[found["name"]]


def treespec_dumps(treespec: TreeSpec, protocol: int | None = None) -> str:
    """``treespec`` as JSON. Raises TypeError for what is no spec, NotImplementedError for classes without a name to write
    them under, ValueError for a protocol other than 1."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            "treespec_dumps(treespec, protocol): Expected `treespec` to be instance of TreeSpec but got item of type "
            f"{type(treespec)}."
        )
    if protocol not in (None, DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL):
        raise ValueError(f"Unknown protocol {protocol}. Available protocols: [{DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL}]")
    return json.dumps((DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL, _dumped(treespec)), cls=EnumEncoder)


def _dumped(spec):
    if spec.is_leaf():
        return {"type": None, "context": None, "children_spec": []}
    written = WRITTEN.get(spec.type)
    if written is None or written.name is None:
        raise NotImplementedError(
            f"No registered serialization name for {spec.type} found. Give `serialized_type_name` to register_pytree_node."
        )
    context = spec.context if written.dump is None else written.dump(spec.context)
    return {
        "type": written.name,
        "context": json.dumps(context, cls=EnumEncoder),
        "children_spec": [_dumped(part) for part in spec.children_specs],
    }


def treespec_loads(serialized: str) -> TreeSpec:
    """The spec that `treespec_dumps` wrote. Its classes are found among those that are registered, default
    factories and enumerations in modules that are imported: ValueError for others."""
    protocol, found = json.loads(serialized)
    if protocol != DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL:
        raise ValueError(f"Unknown protocol {protocol}. Available protocols: [{DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL}]")
    return _loaded(found)


def _loaded(found):
    name = found["type"]
    if name is None:
        return LeafSpec()
    if name not in NAMES:
        raise NotImplementedError(f"No class is registered under the name {name}: register_pytree_node takes it")
    kind = NAMES[name]
    context = json.loads(found["context"], object_hook=_member)
    load = WRITTEN[kind].load
    return TreeSpec(kind, context if load is None else load(context), [_loaded(part) for part in found["children_spec"]])
