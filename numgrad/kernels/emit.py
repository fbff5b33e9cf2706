"""Templates for CPU kernels: readable source text around the typed scalar functions of the op table.

``pointwise`` emits a loop over contiguous arrays or over a strided iteration space, ``reduction`` the two loops of
a reduction (along the last or along an outer axis), ``rowwise`` a loop over rows. Each returns a kernel's address.
"""

import re
import types as python_types

import numpy as np

from ..dtypes import HalfPair
from ..float8 import FORMATS
from . import half, jit
from .jit import inlined, integer, kernel, load_module, pointer, real, scalar, shifted
from .ordered import cascade_sum
from .vmath import WORDS as CPU_WORDS
from .vmath_complex import WORDS as COMPLEX_WORDS
from .vocab import CPU_ROW_WORDS, typed

# Stored types that kernels do not compute in: the names of their conversions, and the types of their bits and of what
# they become. np.void is the type of `dtypes.BITS`.
_STORED_BITS = {
    np.float16: "float16", np.void: "bfloat16", HalfPair: "complex32", **{format.scalar: name for name, format in FORMATS.items()},
}  # fmt: skip
_BITS = {HalfPair: "uint32", **{format.scalar: "uint8" for format in FORMATS.values()}}
_WIDER = {**dict.fromkeys(_STORED_BITS, np.float32), HalfPair: np.complex64}
_NAMES = {
    "pointer": pointer, "integer": integer, "real": real, "shifted": shifted,
    **{f"{way}_{name}": getattr(half, f"{way}_{name}") for name in _STORED_BITS.values() for way in ("from", "to")},
}  # fmt: skip
# Names that emitted text uses itself: an argument of that name gets another one.
_RESERVED = {
    "operands", "begin", "end", "i", "j", "n", "row", "rest", "axis", "size", "index", "ndim", "geometry", "many", "along",
    *_NAMES,
}  # fmt: skip
_IMPORTS = (
    "from numpy import bool_, complex64, complex128, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32"
    ", uint64\n"
)


def scalar_function(fn, T, name=None, compiled=inlined):
    """The compiled scalar of an op's body for compute type ``T``, and of the plain functions that it calls."""
    function = typed(fn, T, COMPLEX_WORDS if issubclass(T, np.complexfloating) else CPU_WORDS, name)
    names = function.__globals__
    for used, value in names.items():
        if type(value) is python_types.FunctionType and value not in _WORD_FUNCTIONS:
            names[used] = scalar_function(value, T, None, compiled)
    return compiled(function)


_WORD_FUNCTIONS = set(CPU_WORDS.values())


def compute_type(numpy_type):
    """The NumPy scalar type in which kernels compute with elements stored as ``numpy_type``."""
    return _WIDER.get(numpy_type, numpy_type)


def type_name(numpy_type):
    """How emitted text spells a NumPy scalar type; bool is stored as uint8, 16-bit floats as uint16."""
    if numpy_type in _STORED_BITS:
        return _BITS.get(numpy_type, "uint16")
    return "uint8" if numpy_type is np.bool_ else numpy_type.__name__


def load(array, index, stored, T):
    """Text that loads an element and brings it to compute type ``T``."""
    text = f"{array}[{index}]"
    if stored is np.bool_:
        return f"({text} != 0)" if T is np.bool_ else f"{T.__name__}({text} != 0)"
    if stored is T:
        return text
    if stored in _STORED_BITS:
        text, stored = f"from_{_STORED_BITS[stored]}({text})", _WIDER[stored]
        if T is stored:
            return text
    if issubclass(stored, np.complexfloating) and not issubclass(T, (np.complexfloating, np.bool_)):
        text, stored = f"{text}.real", np.floating
    if T in (np.int8, np.uint8, np.int16) and issubclass(stored, np.floating):
        text = f"int32({text})"  # what does not fit loses its upper bits, on every processor alike
    return f"({text} != 0)" if T is np.bool_ else f"{T.__name__}({text})"


def store(value, stored, T):
    """Text that brings a value of compute type ``T`` to the stored type."""
    if stored is np.bool_:
        return f"uint8(({value}) != 0)"
    if stored in _STORED_BITS:
        wider = _WIDER[stored]
        return f"to_{_STORED_BITS[stored]}({value if T is wider else f'{wider.__name__}({value})'})"
    return f"{stored.__name__}({value})"


def number(k, letter, T):
    """Text that reads a Python number from slot ``k``: letter r for float, i for int or bool."""
    text = f"real(operands, {k})" if letter == "r" else f"integer(operands, {k})"
    return f"({text} != 0)" if T is np.bool_ else f"{T.__name__}({text})"


def typed_constant(value, T):
    """Text of an attribute's value: numbers in compute type ``T``, others as they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return repr(value)
    return f"({value!r} != 0)" if T is np.bool_ else f"{T.__name__}({_constant(value)})"


def pointwise(name, fn, inputs, outputs, T, strided=False, inplace=(), attributes=(), constants=None,
              order=None):  # fmt: skip
    """The kernel that applies ``fn`` element by element.

    ``inputs``: (name, letter, stored type); the letter is v for a contiguous array, p for one element that all
    share, s for a strided array, r and i for Python numbers in the slot. ``outputs``: (name, stored type) or None
    where a result is not wanted. ``inplace``: (output index, input index) pairs that are the same array.
    ``attributes``: (name, letter) of numbers passed after the arrays; ``constants``: attributes with values known
    now, which replace what the slots hold. ``order``
    names the arguments in the order in which ``fn`` takes them (default: by its own parameter names).

    Slots: arrays and numbers of ``inputs``, wanted outputs that are not in place, attributes, and with ``strided``
    the geometry: number of dimensions, sizes, then the strides of each array operand in the same order.
    """
    if order is None:
        order = fn.__code__.co_varnames[: fn.__code__.co_argcount + fn.__code__.co_kwonlyargcount]

    def own(arg):
        return f"{arg}_" if arg == name or arg in _RESERVED else arg

    order = [own(arg) for arg in order]
    inputs = [(own(arg), *rest) for arg, *rest in inputs]
    attributes = [(own(arg), letter) for arg, letter in attributes]
    constants = {own(arg): value for arg, value in (constants or {}).items()}
    aliases = dict(inplace)
    lines, arguments, arrays = [], [], []
    for k, (arg, letter, stored) in enumerate(inputs):
        if letter in "ri":
            lines.append(f"{arg} = {number(k, letter, T)}")
            arguments.append((arg, None, arg))
        elif letter == "p":
            lines.append(f"{arg} = pointer(operands, {k}, {type_name(stored)})")
            lines.append(f"{arg}_value = {load(arg, 0, stored, T)}")
            arguments.append((arg, None, f"{arg}_value"))
        else:
            lines.append(f"{arg} = pointer(operands, {k}, {type_name(stored)})")
            arguments.append((arg, arg, stored))
            arrays.append(arg)
    slot = len(inputs)
    results = []
    for k, output in enumerate(outputs):
        if output is None:
            results.append(None)
            continue
        out, stored = output
        if k in aliases:
            out = inputs[aliases[k]][0]
        else:
            lines.append(f"{out} = pointer(operands, {slot}, {type_name(stored)})")
            arrays.append(out)
            slot += 1
        results.append((out, stored))
    for attribute, letter in attributes:
        lines.append(f"{attribute} = {number(slot, letter, T)}")
        arguments.append((attribute, None, attribute))
        slot += 1
    for constant, value in constants.items():
        lines.append(f"{constant} = {typed_constant(value, T)}")
        arguments.append((constant, None, constant))
    result_type = np.bool_ if _returns_bool(outputs, T) else T

    def statement(index):
        loads = {arg: load(array, index(array), text, T) if array else text for arg, array, text in arguments}
        call = f"{name}({', '.join(loads[arg] for arg in order)})"
        if len(results) == 1:
            out, stored = results[0]
            return [f"{out}[{index(out)}] = {store(call, stored, result_type)}"]
        values = [f"value{k}" for k in range(len(results))]
        text = [f"{', '.join(values)} = {call}"]
        for value, result in zip(values, results):
            if result is not None:
                text.append(f"{result[0]}[{index(result[0])}] = {store(value, result[1], T)}")
        return text

    if not strided:
        what = "elements begin to end of contiguous arrays"
        lines += ["for i in range(begin, end):", *("    " + line for line in statement(lambda array: "i"))]
    else:
        what = "rows begin to end of a strided iteration space; the last dimension is the inner loop"
        lines += _strided_loop(slot, arrays, [arg for arg, array, _ in arguments if array], statement)
    described = ", ".join(f"{n} {letter}:{getattr(stored, '__name__', '')}" for n, letter, stored in inputs)
    source = (
        f'"""{name} in {T.__name__}: {what}.\n\nInputs: {described or "none"}."""\n\n{_IMPORTS}\n\n'
        f"def {name}_kernel(operands, begin, end):\n" + "".join(f"    {line}\n" for line in lines)
    )
    # The scalar contracts at most: quotients stay exact, and there is no sum over elements to reassociate.
    names = {**_NAMES, name: scalar_function(fn, T, name, scalar)}
    module = load_module(name + ("_strided" if strided else ""), source, names)
    return kernel(module.__dict__[f"{name}_kernel"])


def _returns_bool(outputs, T):
    return len(outputs) == 1 and outputs[0] is not None and outputs[0][1] is np.bool_


def _strided_loop(slot, arrays, read, statement):
    """Loop over rows: step to the next one, or unravel its number over the outer dimensions, then run along it. Rows that lie
    side by side have a loop of their own, which vectorises, and so have those of which one of at most two that are
    ``read`` is a single element."""
    lines = [f"geometry = pointer(operands, {slot}, int64)", "ndim = geometry[0]", "n = geometry[ndim]"]
    for k, array in enumerate(arrays):
        lines.append(f"{array}_strides = shifted(geometry, 1 + {k + 1} * ndim)")
        lines.append(f"{array}_step = {array}_strides[ndim - 1]")
        # Along the dimension before the last one; of one dimension there is a single row.
        lines.append(f"{array}_next = {array}_strides[ndim - 2]")
        lines.append(f"{array}_at = 0")
    lines += ["many, along = geometry[ndim - 1], 0", "for row in range(begin, end):", "    along += 1"]
    lines.append("    if row > begin and along < many:")
    for array in arrays:
        lines.append(f"        {array}_at += {array}_next")
    lines += ["    else:", "        rest = row", "        along = row % many"]
    for array in arrays:
        lines.append(f"        {array}_at = 0")
    lines += ["        for axis in range(ndim - 2, -1, -1):", "            size = geometry[1 + axis]"]
    lines += ["            index = rest % size", "            rest = rest // size"]
    for array in arrays:
        lines.append(f"            {array}_at += index * {array}_strides[axis]")
    for array in arrays:
        lines.append(f"    {array}_row = shifted({array}, {array}_at)")
    unit = " and ".join(f"{array}_step == 1" for array in arrays)
    lines += [f"    if {unit}:", "        for j in range(n):"]

    def rows(texts):
        return ["            " + _rows(text, arrays) for text in texts]

    lines += rows(statement(lambda array: "j"))
    for lone in read if len(read) <= 2 else ():
        beside = " and ".join(f"{array}_step == {int(array != lone)}" for array in arrays)
        lines += [f"    elif {beside}:", f"        {lone}_lone = {lone}_row[0]", "        for j in range(n):"]
        lines += [re.sub(rf"\b{lone}_row\[j\]", f"{lone}_lone", line) for line in rows(statement(lambda array: "j"))]
    lines += ["    else:", "        for j in range(n):"]
    lines += rows(statement(lambda array: f"j * {array}_step"))
    return lines


def _rows(text, arrays):
    for array in arrays:
        text = text.replace(f"{array}[j", f"{array}_row[j")
    return text


def reduction(name, step, finish, combine, identity, inputs, out, T, along, attributes=(), constants=None, cascade=False):
    """The kernel of a reduction over the middle axis of ``(outer, reduce, inner)``, contiguous.

    ``along`` is "last" (inner is 1: the loop runs along memory) or "outer" (columns are reduced side by side).
    ``inputs``: (name, stored type) of the one array, ``out``: (name, stored type). Range: outer for "last", blocks
    of columns for "outer". Slots: input, out, reduce, inner, attributes. ``cascade``: a plain sum, in the order of
    `ordered.cascade_sum` where it runs along floats.
    """
    (x, stored), (result, out_stored) = inputs, out
    names, extra = [], []
    for k, (attribute, letter) in enumerate(attributes):
        extra.append(f"{attribute} = {number(4 + k, letter, T)}")
        names.append(f", {attribute}")
    for constant, value in (constants or {}).items():
        extra.append(f"{constant} = {value!r}")
        names.append(f", {constant}")
    more = "".join(names)
    lines = [
        f"{x} = pointer(operands, 0, {type_name(stored)})",
        f"{result} = pointer(operands, 1, {type_name(out_stored)})",
        "count = integer(operands, 2)",
        "inner = integer(operands, 3)",
        *extra,
        f"identity = {T.__name__}({_constant(identity)})",
    ]
    finished = store(f"finish(total, count{more})" if finish else "total", out_stored, T)
    cascade = cascade and along == "last" and stored is T and T in (np.float32, np.float64)
    if cascade:
        lines += [
            "for row in range(begin, end):",
            f"    total = cascade_sum(shifted({x}, row * count), count, identity)",
            f"    {result}[row] = {finished}",
        ]
    elif along == "last":
        lines += [
            "for row in range(begin, end):",
            f"    values = shifted({x}, row * count)",
            "    total = identity",
            f"    for first in range(0, count, {_BLOCK}):  # blocks keep the rounding error small",
            "        block = shifted(values, first)",
            "        part = identity",
            f"        for i in range(min({_BLOCK}, count - first)):",
            f"            part = step(part, {load('block', 'i', stored, T)}{more})",
            "        total = combine(total, part)",
            f"    {result}[row] = {finished}",
        ]
    else:
        # bool is kept as uint8 in the buffer, as everywhere in memory.
        running = "(part[c] != 0)" if T is np.bool_ else "part[c]"
        values = load("row", "c", stored, T)

        def held(text):
            return store(text, T, T)

        lines += [
            f"blocks = (inner + {_COLUMNS - 1}) // {_COLUMNS}",
            "for unit in range(begin, end):",
            f"    first = unit % blocks * {_COLUMNS}",
            f"    width = min({_COLUMNS}, inner - first)",
            f"    values = shifted({x}, unit // blocks * count * inner + first)",
            f"    totals = shifted({result}, unit // blocks * inner + first)",
            "    part = local",
            "    for c in range(width):",
            f"        part[c] = {held('identity')}",
            f"    for r in range(0, count - {_ROWS - 1}, {_ROWS}):  # some rows at a time: fewer loads and stores of part",
            *(f"        row{k} = shifted(values, (r + {k}) * inner)" for k in range(_ROWS)),
            "        for c in range(width):",
            f"            total = {running}",
            *(f"            total = step(total, {load(f'row{k}', 'c', stored, T)}{more})" for k in range(_ROWS)),
            f"            part[c] = {held('total')}",
            f"    for r in range(count - count % {_ROWS}, count):",
            "        row = shifted(values, r * inner)",
            "        for c in range(width):",
            f"            part[c] = {held(f'step({running}, {values}{more})')}",
            "    for c in range(width):",
            f"        total = {running}",
            f"        totals[c] = {finished}",
        ]
        # Accumulate in a small buffer on the stack, so that narrow outputs keep a wide running value.
        at = lines.index("    part = local")
        lines[at] = f"    part = stack_array({_COLUMNS}, {type_name(T)}(0))"
    source = (
        f'"""Reduction {name} in {T.__name__} over {stored.__name__}, {along} axis."""\n\n{_IMPORTS}\n\n'
        f"def {name}_kernel(operands, begin, end):\n" + "".join(f"    {line}\n" for line in lines)
    )
    names = {**_NAMES, "stack_array": jit.stack_array, "step": scalar_function(step, T)}
    names["combine"] = scalar_function(combine, T)
    if finish:
        names["finish"] = scalar_function(finish, T)
    if cascade:
        names["cascade_sum"] = cascade_sum
    module = load_module(f"{name}_{along}", source, names)
    return kernel(module.__dict__[f"{name}_kernel"])


_BLOCK = 1024
_COLUMNS = 1024
_ROWS = 4


def _constant(value):
    if value != value:
        return "float('nan')"
    if value in (float("inf"), float("-inf")):
        return f"float('{value}')"
    return repr(value)


def rowwise(name, fn, T, arguments, dims, attributes=(), constants=None, rounding=inlined):
    """The kernel that applies a row body, compiled by ``rounding``, to rows ``begin`` to ``end``.

    ``arguments``: (name, kind, stored type, width) with kind "row" (a pointer to the row), "shared" (the same for
    all rows), "part" (a private accumulator, one a part: the caller's range is then parts) or "none" (absent);
    width names the dimension a row spans or is "1". ``dims`` are the names of the row's dimensions, passed as
    integers after the arrays, then ``attributes`` (name, letter). With parts, the number of rows and of parts
    follow the attributes.
    """
    parts = any(kind == "part" for _, kind, _, _ in arguments)
    lines, call, slot = [], [], 0
    for arg, kind, stored, width in arguments:
        if kind == "none":
            call.append("None")
            continue
        lines.append(f"{arg} = pointer(operands, {slot}, {type_name(stored)})")
        call.append(
            f"shifted({arg}, row * {width})" if kind == "row"
            else f"shifted({arg}, part * {width})" if kind == "part" else arg
        )  # fmt: skip
        slot += 1
    for dim in dims:
        lines.append(f"{dim} = integer(operands, {slot})")
        slot += 1
    names = {}
    for attribute, letter in attributes:
        lines.append(f"{attribute} = {number(slot, letter, T)}" if letter != "I" else f"{attribute} = integer(operands, {slot})")
        names[attribute] = attribute
        slot += 1
    for constant, value in (constants or {}).items():
        lines.append(f"{constant} = {value!r}")
        names[constant] = constant
    order = list(fn.__code__.co_varnames[fn.__code__.co_argcount :][: fn.__code__.co_kwonlyargcount])
    call += [names.get(word, word) for word in order]
    text = f"{name}({', '.join(call)})"
    if parts:
        lines += [f"rows = integer(operands, {slot})", f"parts = integer(operands, {slot + 1})"]
        lines += ["for part in range(begin, end):", "    for row in range(part * rows // parts, (part + 1) * rows // parts):"]
        lines.append(f"        {text}")
    else:
        lines += ["for row in range(begin, end):", f"    {text}"]
    described = ", ".join(f"{a} {kind}" for a, kind, _, _ in arguments)
    source = (
        f'"""{name} in {T.__name__}: row by row. Arguments: {described}."""\n\n{_IMPORTS}\n\n'
        f"def {name}_kernel(operands, begin, end):\n" + "".join(f"    {line}\n" for line in lines)
    )
    body = rounding(typed(fn, T, {**CPU_WORDS, **_COMPILED_ROW_WORDS}, name))
    module = load_module(f"{name}_rows", source, {**_NAMES, name: body})
    return kernel(module.__dict__[f"{name}_kernel"])


_COMPILED_ROW_WORDS = {
    word: inlined(fn) if type(fn) is python_types.FunctionType else fn for word, fn in CPU_ROW_WORDS.items()
}
