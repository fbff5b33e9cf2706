"""The names that a file of PyTorch's may mention, and what each stands for here.

With ``weights_only=True`` nothing is imported for a file: what is not in this table, or named by `add_safe_globals`, is
refused.
"""

import builtins
import collections
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from .. import dtypes
from ..device import Device
from ..layout import Size
from ..nn.module import Module
from ..nn.parameter import Parameter
from ..ops.create import empty_strided
from ..storages import is_storage
from ..tensor import Tensor, set_attributes, wrap_as
from .globals import written_as
from .modules import from_torch
from .unpickle import Damaged, Interpreter, Names, element_type

# Storage classes by the dtype of their elements.
STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip

class Kind:
    """A class that a file only mentions: of storages, by the dtype of their elements; ``untyped``: those of bytes."""

    def __init__(self, dtype: str, untyped: bool = False):
        self.dtype, self.untyped = dtype, untyped


# --- what the names stand for ------------------------------------------------------------------------------------


def _tensor(storage, offset, size, stride, requires_grad=False, backward_hooks=None, metadata=None):
    tensor = _laid(storage, offset, size, stride)
    return tensor.requires_grad_() if requires_grad else tensor


def _tensor_before_0_4(storage, offset, size, stride):
    return _laid(storage, offset, size, stride)


def _tensor_of_bytes(storage, offset, size, stride, requires_grad, backward_hooks, dtype, metadata=None):
    tensor = _laid(storage, offset, size, stride, element_type(dtype))
    return tensor.requires_grad_() if requires_grad else tensor


def _without_memory(dtype, size, stride, requires_grad):
    return empty_strided(size, stride, dtype=dtypes.BY_NAME[element_type(dtype)], device="meta", requires_grad=bool(requires_grad))


def _laid(storage, offset, size, stride, name=None):
    """The tensor of that geometry over a storage, which a reader made."""
    lay_over = storage.untyped().__dict__.get("lay_over") if is_storage(storage) else None
    if lay_over is None:
        raise Damaged("a tensor over what is no storage")
    return lay_over(storage.dtype.name if name is None else name, offset, size, stride)


def _parameter(data, requires_grad, backward_hooks):
    return Parameter(data, bool(requires_grad))


def _parameter_with_state(data, requires_grad, backward_hooks, state):
    return set_attributes(Parameter(data, bool(requires_grad)), state)


def _subclass(function, kind, arguments, state):
    """A tensor of the class ``kind`` with its Python attributes: a dict, or a tuple of one and of slots."""
    if function not in _MAKERS or not isinstance(kind, type) or not issubclass(kind, Tensor):
        raise ValueError("a tensor of a class that is none")
    tensor = function(*arguments)
    if type(tensor) is not kind:
        tensor = wrap_as(kind, tensor)
    if type(tensor).__setstate__ is not Tensor.__setstate__:
        tensor.__setstate__(state)
        return tensor
    return set_attributes(tensor, state)


_MAKERS = (_tensor, _tensor_of_bytes, _without_memory, _parameter)


def fill(tensor: Tensor, state) -> Tensor:
    """``Tensor()`` as files of before version 0.2 have it, with what their state says."""
    if isinstance(state, tuple) and len(state) == 4 and is_storage(state[0]):
        found = _tensor_before_0_4(*state)
        tensor._d, tensor._m, tensor._s = found._d, found._m, found._s
        return tensor
    return set_attributes(tensor, state)


def _encode(text, encoding="latin1"):
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes written as text in {encoding!r}")
    return text.encode("latin-1")


def _numpy_dtype(name, align=False, copy=True):
    if not isinstance(name, str) or not re.fullmatch(r"[<>|=]?([?biufcSU]\d*)", name):
        raise ValueError(f"an array of the dtype {name!r}")
    return np.dtype(name, False, True)  # type: ignore[call-overload]


def set_numpy_dtype(dtype: np.dtype, state) -> None:
    """Give a dtype the byte order that a file says."""
    if not isinstance(state, tuple) or len(state) < 8 or state[1] not in ("<", ">", "|", "=") or any(state[2:5]):
        raise ValueError("an array of a dtype with fields")
    if dtype.kind not in "SU":
        dtype.__setstate__((3, state[1], None, None, None, -1, -1, 0))  # type: ignore[attr-defined]


def _plain(dtype) -> np.dtype:
    if not isinstance(dtype, np.dtype) or dtype.hasobject or dtype.kind not in "?biufcSU":
        raise ValueError("an array of objects")
    return dtype


def _numpy_scalar(dtype, data):
    dtype = _plain(dtype)
    if not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise ValueError("a NumPy number of the wrong size")
    return np.frombuffer(data, dtype)[0]


def _numpy_array(kind, shape, code):
    return np.ndarray((0,), np.uint8)


def _numpy_from_buffer(data, dtype, shape, order):
    dtype = _plain(dtype)
    if not isinstance(data, (bytes, bytearray)) or order not in ("C", "F"):
        raise ValueError("a NumPy array without contents")
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order=order)


def set_numpy_array(array: np.ndarray, state) -> None:
    """Fill an array with what a file says."""
    _, shape, dtype, fortran, data = state
    dtype = _plain(dtype)
    count = Size(shape).numel()
    if not isinstance(data, bytes) or min(shape, default=0) < 0 or len(data) != count * dtype.itemsize:
        raise ValueError("a NumPy array of the wrong size")
    array.__setstate__((1, tuple(shape), dtype, bool(fortran), data))  # type: ignore[attr-defined]


def _size(sizes):
    if not all(type(size) is int for size in sizes):
        raise ValueError("a Size of other things than ints")
    return Size(sizes)


def _default_dict(factory=None):
    if factory not in (None, builtins.list, builtins.dict, builtins.int, builtins.float, builtins.set):
        raise ValueError("a defaultdict with a factory of its own")
    return collections.defaultdict(factory)


def _bytearray(*arguments):
    if arguments and isinstance(arguments[0], int):
        raise ValueError("a bytearray of a length instead of contents")
    if len(arguments) == 2:
        return bytearray(_encode(*arguments))
    return bytearray(*arguments)


def _bytes():
    """What protocol 2 has for ``b""``."""
    return b""


def _ordered_dict(items=()):
    return collections.OrderedDict(items)


def _layout(name):
    if name != "torch.strided":
        raise ValueError(f"a tensor of the layout {name!r}")
    return "strided"


def _table() -> dict[str, Any]:
    table: dict[str, Any] = {
        "collections.OrderedDict": _ordered_dict,
        "collections.Counter": collections.Counter,
        "collections.defaultdict": _default_dict,
        "torch.Size": _size,
        "torch.Tensor": Tensor,
        "torch.device": Device,
        "torch.nn.parameter.Parameter": Parameter,
        "torch._utils._rebuild_tensor": _tensor_before_0_4,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _tensor_of_bytes,
        "torch._utils._rebuild_meta_tensor_no_storage": _without_memory,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter_with_state,
        "torch._tensor._rebuild_from_type_v2": _subclass,
        "torch.serialization._get_layout": _layout,
        "torch.storage.UntypedStorage": Kind("uint8", True),
        "_codecs.encode": _encode,
        "numpy.dtype": _numpy_dtype,
        "numpy.ndarray": np.ndarray,
    }
    table.update({f"torch.{name}": Kind(dtype, name == "UntypedStorage") for name, dtype in STORAGES.items()})
    table.update({f"torch.{name}": dtype for name, dtype in dtypes.BY_NAME.items()})
    for kind in (set, frozenset, complex, list, dict, int, float, bool, str):
        table[f"builtins.{kind.__name__}"] = kind
    table["builtins.bytearray"], table["builtins.bytes"] = _bytearray, _bytes
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[f"{module}._reconstruct"], table[f"{module}.scalar"] = _numpy_array, _numpy_scalar
    for module in ("numpy.core.numeric", "numpy._core.numeric"):
        table[f"{module}._frombuffer"] = _numpy_from_buffer
    return table


TABLE = _table()

# What a file may call; the other names are only mentioned, as factories or element types.
_CALLABLE = frozenset(
    id(value) for name, value in TABLE.items()
    if callable(value) and not isinstance(value, (Kind, dtypes.dtype))
    and value not in (Tensor, Parameter, np.ndarray, list, dict, int, float, bool, str)
)  # fmt: skip
# Calls whose argument's members, or first members, are hashed.
_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
_HASHING = (builtins.set, builtins.frozenset, collections.Counter)


# --- the user's own ----------------------------------------------------------------------------------------------

_added: dict[str, Any] = {}


def add_safe_globals(safe_globals: Sequence[Callable | tuple[Callable, str]]) -> None:
    """Let files mention these classes and functions of yours, and call them with what the files say.

    An item is the object, known by its module and name (a class of ours by PyTorch's too), or a tuple of it and of the
    whole name in the files.
    """
    for item in safe_globals:
        if isinstance(item, tuple):
            value, name = item
            _added[name] = value
            continue
        _added[f"{item.__module__}.{item.__qualname__}"] = item
        known = written_as(item)
        if known is not None:
            _added[".".join(known)] = item


def get_safe_globals() -> list:
    """What `add_safe_globals` was given."""
    return list({id(value): value for value in _added.values()}.values())


def clear_safe_globals() -> None:
    """Forget what `add_safe_globals` was given."""
    _added.clear()


class safe_globals:
    """Context in which files may mention these classes and functions."""

    def __init__(self, safe_globals: Sequence[Callable | tuple[Callable, str]]):
        self._given = safe_globals

    def __enter__(self) -> None:
        self._before = dict(_added)
        add_safe_globals(self._given)

    def __exit__(self, *exception: Any) -> None:
        _added.clear()
        _added.update(self._before)


# --- the rule for weights only -----------------------------------------------------------------------------------

BLOCKED = frozenset(("sys", "os", "posix", "nt"))  # modules of which no name can be allowed


class Weights(Names):
    """``weights_only=True``: the table, and the user's own names; nothing else is found or called."""

    def find(self, module, name):
        whole = f"{module}.{name}"
        if module in BLOCKED:
            raise Damaged(f"unsupported GLOBAL {whole} whose module {module} is blocked")
        found = TABLE.get(whole)
        return _added.get(whole) if found is None else found

    def call(self, function, arguments, it: Interpreter):
        if id(function) in _CALLABLE:
            it.charge(sum(len(argument) for argument in arguments if isinstance(argument, _SIZED)))
            if function in _HASHING and arguments and isinstance(arguments[0], (list, tuple, set, frozenset)):
                it.hashed(list(arguments[0]))
            elif function is _ordered_dict and arguments:
                it.hashed([key for key, _ in arguments[0]])
        elif function is Tensor and not arguments:
            return Tensor()
        elif not _is_added(function):
            raise Damaged(f"a call of {function!r}")
        return function(*arguments)

    def new(self, kind, arguments, named, it: Interpreter):
        if isinstance(kind, type) and _is_added(kind):
            return kind.__new__(kind, *arguments, **named)
        if named or kind is Tensor:
            raise Damaged(f"a new object of {kind!r}")
        return self.call(kind, arguments, it)

    def build(self, target, state):
        if isinstance(target, collections.OrderedDict) and not _is_added(type(target)):
            if not isinstance(state, dict) or set(state) - {"_metadata"}:
                raise Damaged("an OrderedDict with attributes")
            target.__dict__.update(state)
        elif type(target) is np.ndarray:
            set_numpy_array(target, state)
        elif isinstance(target, np.dtype):
            set_numpy_dtype(target, state)
        elif type(target) in (Tensor, Parameter):
            fill(cast(Tensor, target), state)
        elif _is_added(type(target)):
            set_state(target, state)
        else:
            raise Damaged(f"a state for {type(target).__name__}")
        return target


def set_state(target: Any, state: Any) -> None:
    """Give an object its state, as pickle does: by ``__setstate__``, or a dict of attributes and one of slots."""
    if isinstance(target, Module) and isinstance(state, dict):
        state = from_torch(target, state)
    own = getattr(target, "__setstate__", None)
    if own is not None:
        own(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        target.__dict__.update(state)
    for name, value in (slots or {}).items():
        setattr(target, name, value)


def _is_added(value: Any) -> bool:
    return any(value is known for known in _added.values())
