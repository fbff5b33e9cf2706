"""Other names of arguments: NumPy's, wherever PyTorch takes them, and the second ones that PyTorch itself has.

The table is `NUMPY` and `OWN`. The entries of pointwise ops and reductions are generated with the other names, and have
them sorted out by `bound` off the usual path. Other functions stay as they are written; the public meets a `door` before
them, which has the other names too.
"""

import inspect
import textwrap
import types
from collections.abc import Container
from itertools import permutations, zip_longest
from typing import Any

from .config import warn_once
from .deferral import deferred
from .tensor import Tensor

NUMPY = {"input": ("x", "a", "x1"), "other": ("x2",), "dim": ("axis",), "keepdim": ("keepdims",)}

# function or method: parameter: its other names
OWN: dict[str, dict[str, tuple[str, ...]]] = {
    "broadcast_to": {"size": ("shape",)},
    "cholesky_inverse": {"L": ("input",)},
    "cholesky_solve": {"B": ("input",), "L": ("input2",)},
    "can_cast": {"source": ("from_",), "target": ("to",)},
    "copy_": {"src": ("other",)},
    "dot": {"mat2": ("tensor",)},
    "dsplit": {"indices_or_sections": ("indices", "sections")},
    "hsplit": {"indices_or_sections": ("indices", "sections")},
    "isin": {"elements": ("element",), "test_elements": ("test_element",)},
    "lu_solve": {"b": ("input",)},
    "map_": {"tensor": ("other",)},
    "matrix_exp": {"A": ("input",)},
    "matrix_power": {"input": ("A",)},
    "mv": {"mat2": ("vec",)},
    "orgqr": {"tau": ("input2",)},
    "ormqr": {"tau": ("input2",), "other": ("input3",)},
    "promote_types": {"a": ("type1",), "b": ("type2",)},
    "resize_as_": {"other": ("the_template",)},
    "result_type": {"tensor1": ("tensor", "scalar1"), "tensor2": ("other", "scalar", "scalar2")},
    "split": {"split_size_or_sections": ("split_size",)},
    "split_copy": {"tensor": ("input",), "split_size_or_sections": ("split_size",)},
    "tensor_split": {"indices_or_sections": ("indices", "sections", "tensor_indices_or_sections")},
    "triangular_solve": {"b": ("input",)},
    "unsafe_split": {"tensor": ("input",)},
    "vsplit": {"indices_or_sections": ("indices", "sections")},
}

# Functions whose number may also come before the tensors that it multiplies, as it once did, with a warning: the new form
NUMBER_FIRST = {
    "add": "Tensor other, *, Number alpha = 1",
    "sub": "Tensor other, *, Number alpha = 1",
    "addcmul": "Tensor tensor1, Tensor tensor2, *, Number value = 1",
    "addcdiv": "Tensor tensor1, Tensor tensor2, *, Number value = 1",
}


class _Absent:
    """The default of a parameter that has none, where the argument may come under another name."""

    def __repr__(self):
        return "absent"


absent: Any = _Absent()


def meanings(name: str, parameters: tuple[str, ...], method: bool = False) -> dict[str, str]:
    """The other names that a function takes, and the parameter that each of them stands for. A method has its first
    parameter from the tensor that it is called on."""
    found: dict[str, str] = {}
    own = OWN.get(name, {})
    for place, parameter in enumerate(parameters):
        if place == 0 and method:
            continue
        numpy = ("input", *NUMPY["input"]) if place == 0 and parameter == "self" else NUMPY.get(parameter, ())
        for other in (*numpy, *own.get(parameter, ())):
            for name in (other, *NUMPY.get(other, ())):
                if name not in parameters:
                    found.setdefault(name, parameter)
    return found


def bound(name: str, values: dict[str, Any], named: dict[str, Any], means: dict[str, str], defaults: dict[str, Any],
          known: Container[str] = ()) -> dict[str, Any]:  # fmt: skip
    """All arguments of a call under the names of the function's own parameters.

    ``values``: those in place, ``absent`` where there is none, or the one in ``defaults``; ``named``: the others, by
    names that ``means`` tells or that are ``known``. Raises TypeError, as Python does, for a name that nobody knows, for
    a second value of a parameter and for parameters without one.
    """
    values = dict(values)
    for other, value in named.items():
        parameter = means.get(other, other)
        if parameter not in values and parameter not in known:
            raise TypeError(f"{name}() got an unexpected keyword argument '{other}'")
        if values.get(parameter, absent) is not defaults.get(parameter, absent):
            raise TypeError(f"{name}() got multiple values for argument '{parameter}'")
        values[parameter] = value
    missing = [f"'{parameter}'" for parameter, value in values.items() if value is absent]
    if missing:
        raise TypeError(
            f"{name}() missing {len(missing)} required positional argument{'s' * (len(missing) > 1)}: {' and '.join(missing)}"
        )
    return values


def differ(names: list[str], default: str = "absent") -> str:
    """The text of a test whether one of several parameters is given. It compares two by two, which is half the work of
    comparing each with its ``default``."""
    return " or ".join(f"{one} is not {other}" for one, other in zip_longest(names[::2], names[1::2], fillvalue=default))


def everything(names: list[str]) -> str:
    """The text of a dictionary of parameters."""
    return "{" + ", ".join(f"{name!r}: {name}" for name in names) + "}"


def declared(names: list[str], default: str = "absent") -> str:
    """The text of the hidden parameters behind a function's own: no keyword-only ones, nor ``**``, because defaults in
    place are all but free. So the first one has to be for arguments in place that are too many."""
    return "".join(f", {name}={default}" for name in names)


def warn_of_order(name: str, new: str) -> None:
    """Say, once, that a number stands before the tensors."""
    text = f"This overload of {name} is deprecated: the number comes before the tensors."
    warn_once(f"{text}\nConsider using one of the following signatures instead:\n\t{name}({new})", stacklevel=5)


# --- doors -----------------------------------------------------------------------------------------------------------

_FEW = """
def {name}({parameters}{hidden}):
    try:
        if {missing}{given}:
            if {missing}{others}:
                return enter(({values},), {everything})
            check({everything})
{keywords}
{checks}        return fn({values})
    except AttributeError as error:
        no_tensor(error, name, {mapping})
        raise
"""
_MANY = """
def {name}({parameters}, **named):
    try:
        if {missing}named:
            if {missing}not known.issuperset(named):
                return enter(({values},), named)
            check(named)
{inner}            return fn({values}, **named)
{checks}        return fn({values})
    except AttributeError as error:
        no_tensor(error, name, {mapping} | named)
        raise
"""
_SEQUENCE = """
def {name}(*args, **named):
    try:
        if named:
            if not known.issuperset(named):
                return enter(args, named)
            check(named)
        return fn(*args, **named)
    except AttributeError as error:
        no_tensor(error, name, {{str(k + 1): value for k, value in enumerate(args)}} | named)
        raise
"""
_SEVERAL, _ANY = 0x04, 0x08  # flags of code with *args, with **kwargs


def no_tensor(error: AttributeError, name: str, values: dict[str, Any]) -> None:
    """TypeError, as PyTorch's, where ``error`` is that an argument of the function is no tensor: something asked it, or an
    element of it, for what tensors have."""
    if isinstance(error.obj, Tensor) or not hasattr(Tensor, error.name or ""):
        return
    kind = type(error.obj).__name__
    for place, (parameter, value) in enumerate(values.items()):
        if value is error.obj:
            which = parameter if parameter.isdigit() else f"'{parameter}' (position {place + 1})"
            raise TypeError(
                f"{name}(): argument {which} must be Tensor, not {kind}; make a tensor of it with numgrad.tensor(...)"
            ) from None
        for k, item in enumerate(value if isinstance(value, (tuple, list)) else ()):
            if item is error.obj:
                raise TypeError(f"{name}(): expected Tensor as element {k} in argument {place}, but got {kind}") from None


def refuse(name: str, parameter: str, value: Any) -> None:
    """TypeError for what is neither True nor False."""
    raise TypeError(f"{name}(): argument '{parameter}' must be bool, not {type(value).__name__}; give True or False")


def door(fn: types.FunctionType, name: str, method: bool = False, always: bool = False) -> Any:
    """What the public sees of ``fn``: a function that takes the other names of its parameters too, or ``fn`` itself if
    they have none (unless ``always``). An argument that is no tensor where one is needed is a TypeError, and so is a
    number for a parameter that is True or False.

    It is made at its first call. A call without these names costs one more call of Python, and what they cost is
    theirs. ``door.behind`` is ``fn``.
    """
    op: Any = getattr(fn, "op", None)
    shown: Any = fn
    while "_original" in (shown.__kwdefaults__ or ()):  # diverted: the function that the detour leads to
        shown = shown.__kwdefaults__["_original"]
    code = shown.__code__
    if op is not None:
        positional, keyword, several = (*op.inputs, *op.attributes), (), False
        defaults = {parameter: value for parameter, value in op.attributes.items() if value is not inspect.Parameter.empty}
    elif code.co_flags & _ANY:
        return fn
    else:
        positional, several = code.co_varnames[: code.co_argcount], code.co_flags & _SEVERAL
        keyword = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        defaults = dict(zip(reversed(positional), reversed(shown.__defaults__ or ())))
    means = meanings(name, (*positional, *keyword), method)
    if not (means or always):
        return fn
    known = frozenset(keyword)
    choices = [parameter for parameter, value in defaults.items() if type(value) is bool]
    chosen = {*choices, *(one for one, value in (shown.__kwdefaults__ or {}).items() if type(value) is bool)}

    def check(named):
        for parameter in chosen.intersection(named):
            if named[parameter] is not absent and type(named[parameter]) is not bool:
                refuse(name, parameter, named[parameter])

    def enter(values, named):
        named = {other: value for other, value in named.items() if value is not absent}
        if "_excess" in named:
            raise TypeError(f"{name}() takes {len(positional)} positional arguments but more were given")
        held = {parameter: defaults.get(parameter, absent) for parameter in positional} | dict(zip(positional, values))
        found = bound(name, held, named, means, defaults, known)
        check(found)
        return fn(*[found.pop(parameter) for parameter in positional], *values[len(positional) :], **found)

    def source():
        reached = set(means.values()) | set(defaults)
        first = next((place for place, parameter in enumerate(positional) if parameter in reached), len(positional))
        late = [parameter for parameter in positional[first:] if parameter not in defaults]
        parameters = list(positional[:first])
        parameters += [f"{parameter}={'absent' if parameter in late else f'default_{parameter}'}" for parameter in positional[first:]]
        form = _SEQUENCE if several else _MANY if len(keyword) > 2 else _FEW
        behind, values = ["_excess", *keyword, *means], ", ".join(positional)
        checks = "".join(
            f"        if {one} is not True and {one} is not False:\n            refuse(name, {one!r}, {one})\n" for one in choices
        )  # fmt: skip
        keywords = [f"if {one} is absent:\n    return fn({values}, {other}={other})" for one, other in permutations(keyword, 2)]
        keywords.append(f"return fn({values}{''.join(f', {parameter}={parameter}' for parameter in keyword)})")
        return form.format(
            name=name, parameters=", ".join(parameters), values=values, hidden=declared(behind), given=differ(behind),
            others=differ(["_excess", *means]), everything=everything(behind), mapping=everything(list(positional)),
            keywords=textwrap.indent("\n".join([*textwrap.dedent(checks).splitlines(), *keywords]), " " * 12), checks=checks,
            inner=textwrap.indent(checks, "    "),
            missing="".join(f"{parameter} is absent or " for parameter in late),
        )  # fmt: skip

    names = {f"default_{parameter}": value for parameter, value in defaults.items()}
    made: Any = deferred(
        name, source,
        {**names, "absent": absent, "enter": enter, "fn": fn, "known": known | set(positional), "check": check, "refuse": refuse,
         "no_tensor": no_tensor, "name": name},
    )
    made.behind = made.__wrapped__ = fn
    made.__doc__, made.__annotations__ = fn.__doc__, fn.__annotations__
    return made


def behind(fn: Any) -> Any:
    """The function behind a door; others as they are."""
    return getattr(fn, "behind", fn)


def open_doors(namespace: dict[str, Any], module: str, always: bool = False) -> None:
    """Put doors before the functions of a public namespace, ``always`` or where they have other names."""
    for name, value in namespace.items():
        named = getattr(getattr(value, "op", None), "form", "") in ("pointwise", "reduction")  # by themselves
        if type(value) is types.FunctionType and not named and not name.startswith("_") and not hasattr(value, "behind"):
            namespace[name] = found = door(value, name, always=always)
            if found is not value:
                found.__module__, found.__qualname__ = module, name


def function_of(cls: type, name: str) -> Any:
    """A method as a function of the public namespace, where its first parameter has names as well."""
    fn = behind(getattr(cls, name))
    found = door(fn, name)
    if found is not fn:
        found.__module__, found.__qualname__ = __name__.partition(".")[0], name
    return found
