"""Writes ``numgrad/tensor.pyi``: the types of Tensor, whose methods and operators are installed from the op table.

Type checkers and editors read the file in place of ``tensor.py``, for users and for the package alike; so it also has
what only the package uses: the fields ``_d``, ``_m``, ``_s``, ``_n`` and the functions of ``tensor.py``. All of it is
read off the loaded package: signatures as `inspect` sees them, annotations where the source has them, else types by the
parameters' usual names (``_PARAMETERS``) or the defaults. ``python -m numgrad.stubs`` writes the file anew; a test
compares it with the table.
"""

import inspect
import sys
import textwrap
import types
import typing
from collections import abc
from pathlib import Path
from typing import Any

import numpy as np

from .op import OPS
from .tensor import Tensor

module = sys.modules[Tensor.__module__]  # ``numgrad.tensor`` is the function of that name

PATH = Path(__file__).with_name("tensor.pyi")

_HEADER = '''"""Types of Tensor. Written by ``python -m numgrad.stubs``; not to be edited."""

from builtins import bool as _bool, float as _float, int as _int
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeAlias

import numpy as np

{imports}

# Tensor has methods named float, int, bool, type, dtype and device, hence the other names for these types here.
_Operand: TypeAlias = "Tensor | np.ndarray | np.generic | _float"
_Dims: TypeAlias = "_int | Sequence[_int]"
'''

_FIELDS = {"_d": "Any", "_m": "Meta", "_s": "Storage | None", "_n": "Any", "_base": "Tensor | None",
           "_grad": "Tensor | None", "name": "str | None"}  # fmt: skip

# Types of parameters without annotation, by name; None is added where it is the default.
_PARAMETERS = {
    "alpha": "_float", "atol": "_float", "batch1": "Tensor", "batch2": "Tensor", "beta": "_float", "chunks": "_int",
    "condition": "Tensor", "correction": "_float", "device": "Device | str | _int", "dim": "_Dims", "dims": "_Dims",
    "dimension": "_int", "dtype": "_dtype", "exponent": "_Operand", "generator": "Generator", "gradient": "Tensor",
    "index": "Tensor | _int", "input2": "Tensor", "k": "_int", "keepdim": "_bool", "length": "_int", "mask": "Tensor",
    "mat": "Tensor", "mat1": "Tensor", "mat2": "Tensor", "max": "_Operand", "min": "_Operand", "num_samples": "_int",
    "other": "_Operand", "out": "Tensor | tuple[Tensor, ...]", "rtol": "_float", "shape": "_Dims", "size": "_Dims",
    "sizes": "_Dims", "source": "Tensor | _Dims", "src": "_Operand", "start": "_int", "storage_offset": "_int",
    "stride": "Sequence[_int]", "tensor": "Tensor", "unbiased": "_bool", "value": "_Operand", "values": "_Operand",
    "vec": "Tensor", "vec1": "Tensor", "vec2": "Tensor", "weight": "_Operand", "weights": "Tensor",
}  # fmt: skip
_VARIADIC = {"axes", "counts", "dims", "shape", "size", "sizes"}  # ``*size``: ints, or one sequence of them

# The names by which builtin and own types stand in the file.
_TYPES = {bool: "_bool", int: "_int", float: "_float", type(None): "None", Any: "Any", np.ndarray: "np.ndarray"}


class _Imports:
    """The classes of the package that the file mentions, by module."""

    def __init__(self):
        self.by_module: dict[str, set[str]] = {}

    def name(self, cls) -> str:
        """The name under which ``cls`` is imported."""
        if cls is Tensor or cls.__module__ == module.__name__:
            return cls.__name__
        path = cls.__module__.removeprefix("numgrad")
        if path == ".dtypes" and cls.__name__ == "dtype":
            self.by_module.setdefault(path, set()).add("dtype as _dtype")
            return "_dtype"
        self.by_module.setdefault(path, set()).add(cls.__name__)
        return cls.__name__

    def text(self) -> str:
        return "\n".join(f"from {path} import {', '.join(sorted(names))}" for path, names in sorted(self.by_module.items()))


def _annotation(value, imports: _Imports) -> str:
    """An annotation as text."""
    if isinstance(value, str):
        return value.strip("'\"")
    if isinstance(value, typing.TypeVar):
        return "Any"
    arguments = typing.get_args(value)
    origin = typing.get_origin(value)
    if isinstance(value, types.UnionType) or origin is typing.Union:
        return " | ".join(_annotation(part, imports) for part in arguments)
    if origin is typing.Literal:
        return "str"
    if origin is not None:
        inner = ", ".join("..." if part is ... else _annotation(part, imports) for part in arguments)
        return f"{_annotation(origin, imports)}[{inner}]"
    if value is None or value in _TYPES:
        return _TYPES.get(value, "None")
    if value in (abc.Sequence, abc.Iterator, abc.Callable):
        return value.__name__
    return imports.name(value) if value.__module__.startswith("numgrad") else value.__name__


def _of_default(default) -> str:
    for kind in (bool, int, float, str):
        if isinstance(default, kind):
            return _TYPES.get(kind, kind.__name__)
    return "Any"


def _parameter(parameter: inspect.Parameter, op, imports: _Imports) -> str:
    name, default = parameter.name, parameter.default
    variadic = parameter.kind is parameter.VAR_POSITIONAL
    if parameter.annotation is not parameter.empty:
        kind = _annotation(parameter.annotation, imports)
    elif variadic:
        kind = "_Dims" if name in _VARIADIC else "Any"
    elif name in _PARAMETERS:
        kind = _PARAMETERS[name]
    elif op is not None and name in op.inputs:
        kind = "_Operand"
    elif op is not None and name in op.attributes and default is parameter.empty:
        kind = "_float"
    else:
        kind = _of_default(default)
    if default is None and kind != "Any" and "None" not in kind:
        kind += " | None"
    stars = "*" if variadic else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    text = f"{stars}{name}: {kind}"
    if default is not parameter.empty:
        plain = default is None or isinstance(default, (bool, int, str)) or isinstance(default, float) and abs(default) < 1e300
        text += f" = {default!r}" if plain else " = ..."
    return text


def _is_operator(name: str) -> bool:
    return name.startswith("__")


def _signature(name: str, fn, imports: _Imports, own: bool) -> tuple[list[str], str]:
    """The parameters of a function or method as text, and what it returns. ``own``: drop the first for ``self``."""
    op = getattr(fn, "op", None)
    build = getattr(fn, "build", None)
    if build is not None:
        build()  # its parameters are known only then
    signature = inspect.signature(fn)
    parameters = list(signature.parameters.values())
    texts = []
    if own:
        texts, parameters = ["self"], parameters[1:]
    if _is_operator(name) and build is not None:
        parameters = [p for p in parameters if p.default is p.empty]
    starred = False
    for parameter in parameters:
        starred = starred or parameter.kind is parameter.VAR_POSITIONAL
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            texts.append("*")
            starred = True
        texts.append(_parameter(parameter, op, imports))
    if own and name.endswith("_") and not _is_operator(name):
        returned = "Self"
    elif signature.return_annotation is not signature.empty:
        returned = _annotation(signature.return_annotation, imports)
    elif op is not None or build is not None:
        returned = "Tensor"
    else:
        returned = "Any"
    return texts, returned


def _documentation(fn, indent: str) -> str:
    """The docstring's first paragraph as a body; ``...`` if there is none."""
    paragraph = " ".join((inspect.getdoc(fn) or "").split("\n\n")[0].split())
    if not paragraph:
        return " ..."
    lines = textwrap.wrap(paragraph, 112)
    quoted = f"\n{indent}".join(lines)
    raw = "r" if "\\" in quoted else ""
    return f'\n{indent}{raw}"""{quoted}"""'


def _function(name: str, fn, imports: _Imports, indent: str = "") -> str:
    parameters, returned = _signature(name, fn, imports, own=bool(indent))
    head, tail = f"{indent}def {name}(", f") -> {returned}:"
    line = head + ", ".join(parameters) + tail
    if len(line) > 116:
        inner = textwrap.fill(", ".join(parameters), 112, initial_indent=indent + "    ", subsequent_indent=indent + "    ",
                              break_long_words=False, break_on_hyphens=False)  # fmt: skip
        line = f"{head}\n{inner}\n{indent}{tail}"
    body = "" if _is_operator(name) else _documentation(fn, indent + "    ")
    text = line + (body or " ...")
    if name in ("__eq__", "__ne__"):
        text += "  # type: ignore[override]"
    return text


def _property(name: str, found: property, imports: _Imports) -> str:
    assert found.fget is not None
    _, returned = _signature(name, found.fget, imports, own=True)
    text = f"    @property\n    def {name}(self) -> {returned}:" + _documentation(found, "        ")
    if found.fset is not None:
        text += f"\n    @{name}.setter\n    def {name}(self, value: Any) -> None: ..."
    if found.fdel is not None:
        text += f"\n    @{name}.deleter\n    def {name}(self) -> None: ..."
    return text


def _class(cls, imports: _Imports, fields: dict[str, str]) -> str:
    """The class: fields, properties, methods, operators, each in the order of their names."""
    members = {name: value for name, value in vars(cls).items() if name not in fields}
    properties, methods, operators, constants = [], [], [], []
    for name, value in sorted(members.items()):
        if isinstance(value, property):
            properties.append(_property(name, value, imports))
        elif inspect.isfunction(value) and name != "__new__":
            (operators if _is_operator(name) else methods).append(_function(name, value, imports, "    "))
        elif isinstance(value, (bool, int)) and not name.startswith("__"):
            constants.append(f"    {name}: {_of_default(value)}")
    constants += [f"    {name}: {kind}" for name, kind in fields.items()]
    text = f"class {cls.__name__}:" + _documentation(cls, "    ") + "\n\n"
    if "__new__" in vars(cls):
        text += f"    def __new__(cls, {_new_parameters(cls, imports)}) -> Self: ...\n"
    groups = ["\n".join(constants), "\n".join(properties), "\n".join(methods), "\n".join(operators)]
    return text + "\n\n".join(group for group in groups if group) + "\n"


def _new_parameters(cls, imports):
    parameters, _ = _signature("__new__", cls.__new__, imports, own=True)
    return ", ".join(parameters[1:])


def tensor_stub() -> str:
    """The text of ``numgrad/tensor.pyi``."""
    assert OPS  # the package is loaded: methods and operators are on Tensor
    imports = _Imports()
    for path, name in ((".device", "Device"), (".generator", "Generator"), (".storage", "Meta"), (".storage", "Storage"),
                       (".dtypes", "dtype as _dtype")):  # fmt: skip
        imports.by_module.setdefault(path, set()).add(name)
    classes, functions = [], ["new: Any"]
    for name, value in sorted(vars(module).items()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            classes.append(_class(value, imports, _FIELDS if value is Tensor else {}))
        elif inspect.isfunction(value):
            functions.append(_function(name, value, imports))
    body = "\n\n".join([*classes, "\n".join(functions)])
    return _HEADER.format(imports=imports.text()) + "\n" + body + "\n"


if __name__ == "__main__":
    import numgrad  # noqa: F401  (installs the ops)

    PATH.write_text(tensor_stub())
    print(PATH)
