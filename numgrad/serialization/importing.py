"""``weights_only=False``: what the names of a pickle find, as pickle finds them, with ours for PyTorch's."""

import importlib
import sys
from typing import Any

from ..errors import FileError
from ..nn.parameter import Parameter
from ..tensor import Tensor
from .globals import LAYERS
from .torch_names import TABLE, fill, set_state
from .unpickle import Interpreter, Names

_PACKAGE = __name__.partition(".")[0]

# PyTorch's modules in C, whose functions Python's pickle writes by these names.
_IN_C = {
    "torch._C._nn": ("nn.functional", ""), "torch._C._VariableFunctions": ("",), "torch._C._special": ("special",),
    "torch._C._linalg": ("linalg",), "torch._C._fft": ("fft",), "torch._C": ("",),
}  # fmt: skip


class Importing(Names):
    """``weights_only=False``: names are found among the modules that are imported or can be, as pickle does, and called.

    PyTorch's are ours: a ``torch.nn.modules.linear.Linear`` is `numgrad.nn.Linear`.
    """

    def __init__(self, label: str):
        self.label = label

    def find(self, module, name):
        try:
            if module.partition(".")[0] == "torch":
                return self._of_torch(module, name)
            return self._attribute(self._module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise MissingError(
                f"load: {self.label} needs {module}.{name}, which cannot be imported: {error}. Install or import the "
                "module that the file was written with"
            ) from error

    def _module(self, module: str) -> Any:
        return sys.modules.get(module) or importlib.import_module(module)

    def _attribute(self, found: Any, name: str) -> Any:
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def _of_torch(self, module: str, name: str) -> Any:
        known = TABLE.get(f"{module}.{name}")
        if known is not None:
            return known
        if module == "torch._C" and name.startswith("_VariableFunctions"):
            return importlib.import_module(_PACKAGE)
        for path in _IN_C.get(module, ()):
            found = importlib.import_module(f"{_PACKAGE}.{path}".rstrip("."))
            if hasattr(found, name):
                return getattr(found, name)
        try:
            return self._attribute(importlib.import_module(_PACKAGE + module.removeprefix("torch")), name)
        except (ImportError, AttributeError):
            known = LAYERS.get(name)
            if known is None:
                raise
            return getattr(importlib.import_module(f"{_PACKAGE}.nn"), name)

    def call(self, function, arguments, it: Interpreter):
        if not callable(function):
            raise ValueError(f"a call of {function!r}")
        return function(*arguments)

    def new(self, kind, arguments, named, it: Interpreter):
        if not isinstance(kind, type):
            return kind(*arguments, **named)
        return kind.__new__(kind, *arguments, **named)

    def build(self, target, state):
        if type(target) in (Tensor, Parameter):
            fill(target, state)
        else:
            set_state(target, state)
        return target


class MissingError(FileError, ImportError):
    """A file needs a class or function that is not there."""


