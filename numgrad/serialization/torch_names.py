"""The names that a file of PyTorch's may mention, and what each stands for here.

Nothing is imported for a file: what is not in this table, or named by `add_safe_globals`, is refused.
"""

import builtins
import collections
import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..device import Device
from ..layout import Size
from ..nn.parameter import Parameter
from ..tensor import Tensor

# Storage classes by the dtype of their elements.
STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip

_DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32",
    "uint64", "bool", "complex64", "complex128",
)  # fmt: skip


class Kind:
    """A class that a file only mentions: of storages, by the dtype of their elements."""

    def __init__(self, dtype: str):
        self.dtype = dtype


class ElementType:
    """A dtype of PyTorch's that there is none for here; where a file keeps it as a value, this is what is loaded."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self):
        return f"torch.{self.name}"


# --- what the names stand for ------------------------------------------------------------------------------------


def _tensor(storage, offset, size, stride, requires_grad=False, backward_hooks=None, metadata=None):
    tensor = storage.tensor(offset, size, stride)
    return tensor.requires_grad_() if requires_grad else tensor


def _tensor_before_0_4(storage, offset, size, stride):
    return storage.tensor(offset, size, stride)


def _tensor_of_bytes(storage, offset, size, stride, requires_grad, backward_hooks, dtype, metadata=None):
    tensor = storage.tensor(offset, size, stride, dtype)
    return tensor.requires_grad_() if requires_grad else tensor


def _parameter(data, requires_grad, backward_hooks):
    return Parameter(data, bool(requires_grad))


def _parameter_with_state(data, requires_grad, backward_hooks, state):
    return with_attributes(Parameter(data, bool(requires_grad)), state)


def _subclass(function, kind, arguments, state):
    if kind is not Tensor and kind is not Parameter or function not in _MAKERS:
        raise ValueError("a tensor of a class that is not Tensor or Parameter")
    return with_attributes(function(*arguments), state)


_MAKERS = (_tensor, _tensor_of_bytes, _parameter)


def with_attributes(tensor: Tensor, state) -> Tensor:
    """``tensor`` with the Python attributes in ``state``: a dict, or a tuple of one and of slots."""
    if isinstance(state, tuple) and len(state) == 2:
        state = state[0]
    for name, value in (state or {}).items():
        if not isinstance(name, str) or name.startswith("_") or hasattr(Tensor, name):
            raise ValueError(f"a tensor with the attribute {name!r}")
        tensor.__dict__[name] = value
    return tensor


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
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter_with_state,
        "torch._tensor._rebuild_from_type_v2": _subclass,
        "torch.serialization._get_layout": _layout,
        "torch.storage.UntypedStorage": Kind("uint8"),
        "_codecs.encode": _encode,
        "numpy.dtype": _numpy_dtype,
        "numpy.ndarray": np.ndarray,
    }
    table.update({f"torch.{name}": Kind(dtype) for name, dtype in STORAGES.items()})
    table.update({f"torch.{name}": dtypes.BY_NAME.get(name, ElementType(name)) for name in _DTYPES})
    for module in ("builtins", "__builtin__"):
        table[f"{module}.set"], table[f"{module}.frozenset"] = builtins.set, builtins.frozenset
        table[f"{module}.complex"], table[f"{module}.bytearray"] = builtins.complex, _bytearray
        for kind in (builtins.list, builtins.dict, builtins.int, builtins.float, builtins.bool, builtins.str):
            table[f"{module}.{kind.__name__}"] = kind
        table[f"{module}.bytes"] = builtins.bytes
        table[f"{module}.long"], table[f"{module}.unicode"] = builtins.int, builtins.str
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[f"{module}._reconstruct"], table[f"{module}.scalar"] = _numpy_array, _numpy_scalar
    for module in ("numpy.core.numeric", "numpy._core.numeric"):
        table[f"{module}._frombuffer"] = _numpy_from_buffer
    return table


TABLE = _table()

# What a file may call; the other names are only mentioned, as factories or element types.
CALLABLE = frozenset(
    id(value) for name, value in TABLE.items()
    if callable(value) and not isinstance(value, (Kind, ElementType, dtypes.dtype))
    and value not in (Tensor, Parameter, np.ndarray, list, dict, int, float, bool, str, bytes)
)  # fmt: skip


# --- the user's own ----------------------------------------------------------------------------------------------

_added: dict[str, Any] = {}


def add_safe_globals(safe_globals: Sequence[Callable | tuple[Callable, str]]) -> None:
    """Let files mention these classes and functions of yours, and call them with what the files say.

    An item is the object, known by its module and name, or a tuple of it and of the whole name in the files.
    """
    for item in safe_globals:
        value, name = item if isinstance(item, tuple) else (item, f"{item.__module__}.{item.__qualname__}")
        _added[name] = value


def get_safe_globals() -> list:
    """What `add_safe_globals` was given."""
    return list(_added.values())


def clear_safe_globals() -> None:
    """Forget what `add_safe_globals` was given."""
    _added.clear()


@contextlib.contextmanager
def safe_globals(safe_globals: Sequence[Callable | tuple[Callable, str]]) -> Iterator[None]:
    """Context in which files may mention these classes and functions."""
    before = dict(_added)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _added.clear()
        _added.update(before)


def added(name: str) -> Any:
    """The user's object of that name, or None."""
    return _added.get(name)


def is_added(value: Any) -> bool:
    """Whether ``value`` is one of the user's own."""
    return any(value is known for known in _added.values())
