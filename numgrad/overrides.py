"""``__torch_function__``: classes and modes that are asked before the library's functions run.

The first class that defines ``__torch_function__``, and the first mode, have all public functions and methods of Tensor
look at their arguments from then on (`detours.divert`); programs without one pay nothing. Of attributes
only those that are tensors made at the moment (``T``, ``data``) are asked about. A subclass that defines nothing takes part
too: results of functions of its instances are of the class.
"""

import functools
import importlib
import threading
import types
from collections.abc import Callable, Iterable
from typing import Any

from . import gradients
from .detours import divert
from .tensor import Tensor


class _State(threading.local):
    subclasses = True  # whether classes are asked
    modes: tuple = ()  # the modes in force, the innermost last


_state = _State()
_SPACES = ("", "nn.functional", "linalg", "special", "fft")
_PLAIN = (int, float, bool, str, complex, type(None))
_OWN = {"__new__", "__init__", "__init_subclass__", "__torch_function__", "__class_getitem__", "__getattribute__", "__hash__",
        "__setattr__", "__delattr__", "__dir__", "__setstate__", "as_subclass", "_make_subclass",
        "__iter__"}  # fmt: skip
# Operators by the method that classes are asked about in their place.
_OPERATORS = {
    "__add__": "add", "__sub__": "sub", "__mul__": "mul", "__truediv__": "div", "__matmul__": "matmul", "__neg__": "neg",
    "__pow__": "pow", "__eq__": "eq", "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge",
    "__iadd__": "add_", "__isub__": "sub_", "__imul__": "mul_", "__itruediv__": "div_", "__abs__": "abs",
}  # fmt: skip
# Attributes that are tensors themselves.
_PROPERTIES = ("T", "mT", "H", "mH", "real", "imag", "data")
_watched = False


class DisableTorchFunctionSubclass:
    """A block in which no class is asked; functions do their own work."""

    def __enter__(self):
        self._before, _state.subclasses = _state.subclasses, False

    def __exit__(self, *exception):
        _state.subclasses = self._before


class DisableTorchFunction(DisableTorchFunctionSubclass):
    """A block in which neither classes nor modes are asked."""

    def __enter__(self):
        super().__enter__()
        self._modes, _state.modes = _state.modes, ()

    def __exit__(self, *exception):
        super().__exit__(*exception)
        _state.modes = self._modes


def _disabled_torch_function_impl(func, types, args=(), kwargs=None):
    """The ``__torch_function__`` of classes that do not take part: their results are plain tensors."""
    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


def converted(value, cls):
    """What the default ``__torch_function__`` makes of a result: its tensors as instances of ``cls``."""
    if cls is Tensor:
        return value
    if isinstance(value, Tensor) and not isinstance(value, cls):
        return value.as_subclass(cls)
    if isinstance(value, (tuple, list)):
        values = [converted(item, cls) for item in value]
        return type(value)._make(values) if hasattr(value, "_make") else type(value)(values)
    return value


_convert = converted


def get_default_nowrap_functions() -> set[Callable]:
    """Functions whose results the default ``__torch_function__`` leaves as they are."""
    return set()


def _default(cls, func, types, args=(), kwargs=None):
    """Run ``func`` without asking a class again; tensors among the results are of this class."""
    if not all(issubclass(cls, kind) for kind in types):
        return NotImplemented
    with DisableTorchFunctionSubclass():
        return converted(func(*args, **(kwargs or {})), cls)


def _overriding(value) -> bool:
    kind = type(value)
    return (
        kind not in _PLAIN and kind is not Tensor and not isinstance(value, type) and not _is_pytorchs(kind)
        and _takes_part(kind)
    )  # fmt: skip


def _is_pytorchs(kind):
    """Whether a class is PyTorch's own: its tensors are data here, as ndarrays are, and its answer would be ours again."""
    return kind.__module__.partition(".")[0] == "torch"


def _takes_part(kind) -> bool:
    asked = getattr(kind, "__torch_function__", None)
    return asked is not None and getattr(asked, "__func__", asked) is not _disabled_torch_function_impl


def _overloaded(values: Iterable[Any]) -> list:
    """The values that are asked, one of a type, subclasses before their bases, else in the order of the arguments."""
    found: list = []
    kinds: set = set()
    for value in values:
        inner = value if type(value) in (tuple, list) else (value,)
        for item in inner:
            kind = type(item)
            if kind in kinds or not _overriding(item):
                continue
            kinds.add(kind)
            place = next((k for k, other in enumerate(found) if issubclass(kind, type(other))), len(found))
            found.insert(place, item)
    return found


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether a class or mode is to be asked about a function with these arguments."""
    return bool(_state.modes) or (_state.subclasses and bool(_overloaded(relevant_args)))


def has_torch_function_unary(arg) -> bool:
    """`has_torch_function` for one argument."""
    return has_torch_function((arg,))


def has_torch_function_variadic(*args) -> bool:
    """`has_torch_function` for several arguments."""
    return has_torch_function(args)


def handle_torch_function(public_api: Callable, relevant_args: Iterable[Any], *args, **kwargs) -> Any:
    """Ask modes and classes for the result of ``public_api(*args, **kwargs)``. Raises TypeError if all decline."""
    asked = _overloaded(relevant_args) if _state.subclasses else []
    kinds = tuple(map(type, asked))
    modes = _state.modes
    if modes:
        _state.modes = modes[:-1]
        try:
            found = modes[-1].__torch_function__(public_api, kinds, args, kwargs)
        finally:
            _state.modes = modes
        if found is not NotImplemented:
            return found
    for value in asked:
        found = value.__torch_function__(public_api, kinds, args, kwargs)
        if found is not NotImplemented:
            return found
    name = f"{public_api.__module__}.{getattr(public_api, '__name__', public_api)}"
    text = f"no implementation found for '{name}' on types that implement __torch_function__: {[*kinds]}"
    raise TypeError(text + (f" nor in mode {modes[-1]}" if modes else ""))


def wrap_torch_function(dispatcher: Callable) -> Callable:
    """A decorator: the function asks about the arguments that ``dispatcher(*args, **kwargs)`` gives."""

    def inner(func):
        @functools.wraps(func)
        def wrapped(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        watch()
        return wrapped

    return inner


def is_tensor_like(inp) -> bool:
    """Whether ``inp`` is a Tensor or of a class with ``__torch_function__``."""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


class TorchFunctionMode:
    """A block, ``with mode:``, in which ``mode.__torch_function__(func, types, args, kwargs)`` stands for every call."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError(f"{type(self).__name__} defines no __torch_function__")

    def __enter__(self):
        watch()
        _state.modes = (*_state.modes, self)
        return self

    def __exit__(self, *exception):
        _state.modes = _state.modes[:-1]


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that does nothing else."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def _get_current_function_mode_stack() -> list:
    return list(_state.modes)


def _get_current_function_mode():
    return _state.modes[-1] if _state.modes else None


# --- where classes are asked ----------------------------------------------------------------------------------------


def _functions():
    """The public functions and methods, each once."""
    seen = {}
    package = __name__.rpartition(".")[0]
    for space in _SPACES:
        module = importlib.import_module(f"{package}.{space}".rstrip("."))
        for name, value in list(vars(module).items()):
            if type(value) is types.FunctionType and not name.startswith("_") and _takes_tensors(value, package):
                seen[id(value)] = value
    for name, value in list(vars(Tensor).items()):
        if type(value) is types.FunctionType and name not in _OWN and (name[0] != "_" or name.startswith("__")):
            seen[id(value)] = value
    return seen.values()


def _takes_tensors(function, package):
    # Settings and the like come from elsewhere.
    return function.__module__.startswith(f"{package}.ops") or function.__module__ in {f"{package}.{s}".rstrip(".") for s in _SPACES}


def watch() -> None:
    """Have all public functions ask, from now on."""
    global _watched
    if not _watched:
        _watched = True
        named = {id(vars(Tensor)[operator]): getattr(Tensor, name) for operator, name in _OPERATORS.items()}
        for entry in _functions():
            divert(entry, functools.partial(_asked, named.get(id(entry), entry)))
        for entry in (gradients.grad, gradients.backward):
            divert(entry, _of_plain_tensors)
        for name in _PROPERTIES:
            _divert_property(name)


def _asked(entry, original, args, kwargs):
    state = _state
    if state.modes or state.subclasses:
        relevant = (*args, *kwargs.values()) if kwargs else args
        if state.modes or _overloaded(relevant):
            return handle_torch_function(entry, relevant, *args, **kwargs)
    return original(*args, **kwargs)


def _of_plain_tensors(original, args, kwargs):
    # Gradients are the recorder's: their kernels meet what was saved, whose class is not asked again.
    with DisableTorchFunctionSubclass():
        return original(*args, **kwargs)


def _divert_property(name):
    plain = vars(Tensor)[name]

    def get(self):
        if not _state.modes and (type(self) is Tensor or not _state.subclasses or not _overriding(self)):
            return plain.fget(self)
        return handle_torch_function(vars(Tensor)[name].__get__, (self,), self)

    setattr(Tensor, name, property(get, plain.fset, plain.fdel, plain.__doc__))


def _new_class(cls, **options):
    super(Tensor, cls).__init_subclass__(**options)
    if _takes_part(cls):
        watch()


Tensor.__torch_function__ = classmethod(_default)  # type: ignore[attr-defined]
Tensor.__init_subclass__ = classmethod(_new_class)  # type: ignore[assignment]
