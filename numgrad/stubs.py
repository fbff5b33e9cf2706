"""The package's type stubs, written from the op table: ``python -m numgrad.stubs`` writes them anew.

Methods and operators of `Tensor`, and the functions that ops become, exist at run time only; the stubs tell type
checkers and editors of them. ``tests/test_stubs.py`` fails where they have fallen behind the table.
"""

import ast
import inspect
import re
import sys
import types
from pathlib import Path

from . import dtypes, nn
from .names import behind
from .op import OPS
from .tensor import Tensor

HEADER = '''# Written by `python -m numgrad.stubs` from the op table. Do not edit.
import builtins
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self, TypeAlias

import numpy as np

{imports}
{operand}
'''
OPERAND = '_Operand: TypeAlias = "Tensor | np.ndarray | np.generic | builtins.float | builtins.bool"'
# Parameters whose names say what they take, where neither annotation nor default does.
BY_NAME = {
    "dtype": "_dtype | None", "out": "Tensor | None", "device": "_Device | builtins.str | builtins.int | None",
    "dim": "builtins.int | Sequence[builtins.int] | None", "keepdim": "builtins.bool", "inplace": "builtins.bool",
    "input": "_Operand", "requires_grad": "builtins.bool", "generator": "Any", "reduction": "builtins.str",
}  # fmt: skip
BUILTINS = {"int", "float", "bool", "str", "tuple", "list", "dict", "set", "type", "slice", "complex", "bytes", "object"}
COMPARISONS = {"__eq__", "__ne__"}
UNARY = {"__neg__", "__pos__", "__abs__", "__invert__"}
ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
OPERATORS = {*COMPARISONS, *UNARY, "__lt__", "__le__", "__gt__", "__ge__"}
OPERATORS |= {f"__{side}{name}__" for name in ARITHMETIC for side in ("", "r", "i")}


def _type(annotation) -> str:
    """An annotation as the stub writes it: builtins under their module's name, ours under private ones."""
    if annotation is None or annotation is type(None):
        return "None"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = text.replace("typing.", "").replace("numpy.", "np.").replace("collections.abc.", "").replace("types.", "")
    text = re.sub(r"\bnumgrad(\.\w+)*\.(\w+)", r"\2", text)
    text = re.sub(r"(?<![\w.])(\w+)\b", lambda m: f"builtins.{m[1]}" if m[1] in BUILTINS else m[1], text)
    text = re.sub(r"(?<!_)\b(dtype|Device|Size)\b", r"_\1", text).replace("NoneType", "None")
    known = {"builtins", "Tensor", "None", "Any", "np", "ndarray", "generic", "Callable", "Iterable", "Iterator",
             "Sequence", "_dtype", "_Device", "_Size", *BUILTINS}  # fmt: skip
    return text if set(re.findall(r"[A-Za-z_]\w*", text)) <= known else "Any"


def _parameter(parameter, op) -> str:
    if parameter.annotation is not parameter.empty:
        kind = _type(parameter.annotation)
    elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        kind = "Any"
    elif parameter.name in BY_NAME:
        kind = BY_NAME[parameter.name]
    elif op is not None and parameter.name in op.inputs:
        kind = "_Operand" if op.form == "pointwise" else "Tensor"
        kind += " | None" if parameter.default is None else ""
    elif isinstance(parameter.default, (bool, str)):
        kind = f"builtins.{type(parameter.default).__name__}"
    elif op is not None and isinstance(parameter.default, (int, float)):
        kind = "builtins.float"
    else:
        kind = "Any"
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = "" if parameter.default is parameter.empty else " = ..."
    return f"{stars}{parameter.name}: {kind}{default}"


def _signature(fn, method) -> tuple[str, str]:
    """(parameters, result) of a function, or of one that became a method."""
    fn = fn.build() if hasattr(fn, "build") else fn
    op = getattr(fn, "op", None)
    signature = inspect.signature(fn)
    parameters, texts = list(signature.parameters.values()), []
    if method:
        parameters = parameters[1:]
        texts.append("self")
    keywords = False
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            keywords = True
        elif parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            texts.append("*")
            keywords = True
        texts.append(_parameter(parameter, op))
    returned = signature.return_annotation
    if fn.__name__ == "__init__":
        result = "None"
    elif returned is not signature.empty:
        result = _type(returned)
    elif op is not None and op.form != "rowwise" or fn.__name__.endswith("_") and not fn.__name__.endswith("__"):
        result = "Tensor"
    else:
        result = "Any"
    return ", ".join(texts), result


def _function(name, fn, method=False, indent="") -> str:
    parameters, result = _signature(fn, method)
    if method and name in OPERATORS:  # an operator takes no attributes
        parameters = "self" if name in UNARY else "self, other: _Operand"
        result = "Tensor"
    note = "  # type: ignore[override]" if name in COMPARISONS else ""
    return f"{indent}def {name}({parameters}) -> {result}: ...{note}\n"


def _imports(depth) -> str:
    dots = "." * depth
    return (
        f"from {dots}device import Device as _Device\nfrom {dots}dtypes import dtype as _dtype\n"
        f"from {dots}layout import Size as _Size\n"
    )


def _members(cls) -> str:
    lines = []
    for name in sorted(vars(cls)):
        value = inspect.getattr_static(cls, name)
        if name in ("__dict__", "__weakref__", "__module__", "__doc__", "__slots__", "__new__", "__annotations__", "__slotnames__"):
            continue
        if isinstance(value, property):
            result = _type(value.fget.__annotations__.get("return", "Any"))
            lines.append(f"    @property\n    def {name}(self) -> {result}: ...\n")
            if value.fset is not None:
                lines.append(f"    @{name}.setter\n    def {name}(self, value: Any) -> None: ...\n")
        elif isinstance(value, (classmethod, staticmethod)):
            kind = type(value).__name__
            lines.append(f"    @{kind}\n" + _function(name, value.__func__, kind == "classmethod", "    "))
        elif isinstance(value, types.FunctionType):
            lines.append(_function(name, value, True, "    "))
        else:
            lines.append(f"    {name}: Any\n")
    return "".join(lines)


def tensor_stub() -> str:
    """The text of ``tensor.pyi``: the class with all that the table puts on it, and the module's functions."""
    text = HEADER.format(imports=_imports(1), operand=OPERAND)
    module = sys.modules[Tensor.__module__]  # `numgrad.tensor` is the function
    for name, value in sorted(vars(module).items()):
        if name.startswith("__") or getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, type):
            bases = "" if value.__bases__ == (object,) else f"({', '.join(b.__name__ for b in value.__bases__)})"
            new = "    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...\n" if value is Tensor else ""
            text += f"\nclass {value.__name__}{bases}:\n{new}{_members(value) or '    ...'}"
        elif isinstance(value, types.FunctionType):
            text += _function(name, value)
    return text + "\ndef new(cls: Any) -> Any: ...\n"


def functions_stub(module, depth) -> str:
    """The text of a stub for a module whose functions come from the table: the package itself, or ``functional``."""
    imports = _imports(depth)
    body = ""
    statements = ast.parse(inspect.getsource(module)).body
    relative = [s for s in statements if isinstance(s, ast.ImportFrom) and s.level == 1 and s.module is None]
    submodules = {alias.asname for statement in relative for alias in statement.names}
    for name, value in sorted(vars(module).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, types.ModuleType):
            if name in submodules:
                imports += f"from . import {name} as {name}\n"
        elif isinstance(value, types.FunctionType):
            body += _function(name, value)
        elif isinstance(value, type):
            where = value.__module__
            if where.startswith("numgrad."):
                imports += f"from {'.' * depth}{where.removeprefix('numgrad.')} import {value.__name__} as {name}\n"
        elif isinstance(value, dtypes.dtype):
            body += f"{name}: _dtype\n"
        elif isinstance(value, (bool, int, float, str)):
            body += f"{name}: builtins.{type(value).__name__}\n"
        else:
            body += f"{name}: Any\n"
    if "import Tensor as Tensor" not in imports:
        imports += f"from {'.' * depth}tensor import Tensor as Tensor\n"
    return HEADER.format(imports=imports, operand=OPERAND) + "\n" + body


def stubs() -> dict[Path, str]:
    """Path -> text of every stub."""
    import numgrad

    for op in OPS.values():
        if hasattr(op, "entry") and hasattr(op.entry, "build"):
            op.entry.build()
    for name in numgrad._IN_PLACE:  # made on first use
        method = behind(getattr(numgrad, name))
        if hasattr(method, "build"):
            method.build()
    folder = Path(__file__).parent
    package = functions_stub(numgrad, 1) + "__version__: builtins.str\n"
    package += "".join(f"from . import {name} as {name}\n" for name in sorted(numgrad._ON_FIRST_USE))
    package += "from .func import vmap as vmap\n"
    return {
        folder / "tensor.pyi": tensor_stub(),
        folder / "__init__.pyi": package,
        folder / "nn" / "functional.pyi": functions_stub(nn.functional, 2),
    }


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text, "utf-8")
        print(f"{path}: {text.count('def ')} signatures")
