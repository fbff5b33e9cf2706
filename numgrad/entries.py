"""The entry functions of pointwise ops, generated for each op's parameters.

The usual call is: look up the plan by the operands' metas, allocate, call the kernel, record. The last of two or more
operands may also be a Python float or int. All else (ndarrays, ``out=``, the first call with a new combination of
metas) is passed on to the general path.
"""

import inspect
import textwrap

import numpy as np

from .autograd import is_grad_enabled, next_seq, switch
from .deferral import deferred
from .inplace import writes_freely
from .names import absent, declared, differ, everything, meanings
from .op import note_recorded, note_result
from .storage import Storage, same_memory
from .tensor import Tensor, from_array, new, storage_of


def generate(op, general):
    """The op's public function; ``general(op, inputs, attributes, options)`` is its slow path."""
    return deferred(op.name, lambda: _source(op), {**_names(op), "general": general}, lambda: _signature(op))


def generate_inplace(op, inplace):
    """The op's in-place function; ``inplace(op, inputs, attributes, options)`` is its slow path."""
    entry = deferred(
        f"{op.name}_", lambda: _source(op, inplace=True), {**_names(op), "general": inplace}, lambda: _signature(op, inplace=True)
    )
    entry.__doc__ = f"In-place version of `{op.name}`."
    entry.__module__, entry.op = op.fn.__module__, op
    return entry


def operator(entry, own=0, strict=True, arrays=False):
    """The entry as a method for Python's operators: NotImplemented for operands of foreign types.

    ``own`` is the place of the operand whose method it is (None: any); called on another object, the method raises a
    TypeError if ``strict``. An ndarray is an operand only with ``arrays``: PyTorch's tensors compute with one to their
    right, and neither write into themselves with it nor, but for quotients and comparisons, compute with one to their left.
    """
    general = entry.__globals__["general"]
    kinds = (Tensor, float, int, complex, np.generic, *([np.ndarray] if arrays else []))

    def checked(op, inputs, *rest):
        if own is not None and not isinstance(inputs[own], Tensor):
            if not strict:
                return NotImplemented
            raise TypeError(f"Tensor's operator {op.name} doesn't apply to a '{type(inputs[own]).__name__}' object")
        for value in inputs:
            if not isinstance(value, kinds):
                return NotImplemented
        if arrays:
            inputs = tuple(from_array(value) if isinstance(value, np.ndarray) else value for value in inputs)
        return general(op, inputs, *rest)

    op = entry.op
    inplace = entry.__name__ == f"{op.name}_"
    names = {**entry.__globals__, "general": checked}
    found = deferred(entry.__name__, lambda: _source(op, operator=True, inplace=inplace), names)
    found.__doc__, found.__module__ = entry.__doc__, entry.__module__
    return found


def _names(op):
    names = {
        "op": op, "plans": op.plans, "floats": op.number_plans[float], "ints": op.number_plans[int],
        "inplace_plans": op.inplace_plans, "inplace_floats": op.inplace_number_plans[float],
        "inplace_ints": op.inplace_number_plans[int], "new": new, "Tensor": Tensor, "Storage": Storage,
        "storage_of": storage_of, "switch": switch, "is_grad_enabled": is_grad_enabled, "NodeClass": op.node_class,
        "next_seq": next_seq, "note_result": note_result, "note_recorded": note_recorded, "absent": absent,
        "same_memory": same_memory, "writes_freely": writes_freely,
    }  # fmt: skip
    names.update({f"default_{name}": default for name, default in op.attributes.items()})
    return names


def _parameters(op, missing="=absent"):
    """The text of the parameters; ``missing`` makes those without a default optional, since other names may give them."""
    return [f"{name}{missing}" for name in op.inputs] + [
        f"{name}{missing}" if default is inspect.Parameter.empty else f"{name}=default_{name}"
        for name, default in op.attributes.items()
    ]


def _signature(op, inplace=False):
    """The parameters of an entry without the hidden ones."""
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in op.inputs]
    for name, default in op.attributes.items():
        parameters.append(inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default))
    if not inplace:
        parameters.append(inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None))
    return inspect.Signature(parameters)


def _arguments(op):
    """The entry's operands and attributes as the text of two tuples."""
    return f"({', '.join(op.inputs)},), ({''.join(f'{name}, ' for name in op.attributes)})"


def _with_number(op, one_call, options):
    """The body's lines: with two or more operands, first those for a number as the last one. ``options`` is the text of
    what goes to the general path besides operands and attributes."""
    lines = []
    if max(op.numbers_from, 1) < len(op.inputs):
        lines += [f"kind = type({op.inputs[-1]})", "if kind is float or kind is int:"]
        lines.append(textwrap.indent(one_call(op, True, options), "    "))
    lines.append(one_call(op, False, options))
    return textwrap.indent("\n".join(lines), "    ")


_ENTRY = """
def {name}({parameters}{hidden}):
    if {given}:
        return general(op, {arguments}, {everything})
{body}
"""


def _source(op, operator=False, inplace=False):
    """The text of an entry. Operators have neither ``out`` nor other names of their operands."""
    name, one_call = (f"{op.name}_", _inplace_call) if inplace else (op.name, _call)
    if operator:
        return f"def {name}({', '.join(_parameters(op, ''))}):\n{_with_number(op, one_call, '{}')}\n"
    others = meanings(name, (*op.inputs, *op.attributes), method=inplace)
    first, rest = ["_excess"] if inplace else ["_excess", "out"], list(others)
    if inplace and rest:
        first, rest = [*first, rest[0]], rest[1:]
    options = everything([*first, *rest])
    return _ENTRY.format(
        name=name, parameters=", ".join(_parameters(op)), hidden=declared(first, "None") + declared(rest),
        given=" or ".join(filter(None, (differ(first, "None"), differ(rest)))), arguments=_arguments(op), everything=options,
        body=_with_number(op, one_call, options),
    )  # fmt: skip


def _lookup(op, tensors, number, prefix=""):
    """The expression that finds the plan."""
    metas = [f"m{k}" for k in range(len(tensors))]
    if not number:
        short = metas[0] if len(metas) == 1 else f"({', '.join(metas)})"
        if len(metas) == 2:
            short = f"m0 if m0 is m1 else {short}"
        short = f"{prefix}plans.get({short})"
    elif len(metas) == 1:
        short = f"({prefix}floats if kind is float else {prefix}ints).get(m0)"
    else:
        short = f"{prefix}plans.get(({', '.join(metas)}, kind))"
    if not op.attributes:
        return short
    kinds = [f"type({name})" for name in op.attributes if name not in op.static] + op.static
    full = f"{prefix}plans.get(({', '.join([*metas, *(['kind'] if number else []), *kinds])}))"
    if inspect.Parameter.empty in op.attributes.values():
        return full
    default = " and ".join(f"{name} is default_{name}" for name in op.attributes)
    return f"{short} if {default} else {full}"


_CALL = """
try:
    {metas}
except AttributeError:
    return general(op, {arguments}, {options})
plan = {lookup}
if plan is None{guard}:
    return general(op, {arguments}, {options})
m = plan.out
tensor = new(Tensor)
tensor._m = m
tensor._s = None
tensor._d = data = m.empty(m.numel, m.np)
try:
    if plan.geometry is None:
        plan.call(plan.kernel, {operands}, data, {numbers}0, plan.end)
    else:
        plan.call(plan.kernel, {operands}, data, {numbers}plan.geometry, 0, plan.end)
except OverflowError: # an integer of more than 64 bits
    return general(op, {arguments}, {options})
tensor._n = None
{record}if switch.anywhere:
    note_result(tensor)
return tensor
"""

_RECORD = """
{nodes}
if {any_node}:
    if not switch.anywhere or is_grad_enabled():
        tensor._n = node = NodeClass()
        node.seq = next_seq()
        node.plan = plan
        node.next = ({next},)
        node.mask = {mask}
        node.saved = ({saved})
        node.storages = ({storages})
        node.hooks = None
        if switch.anywhere:
            note_recorded(node, op)
"""


def _call(op, number, options):
    tensors = op.inputs[:-1] if number else op.inputs
    operands = [f"{name}._d" for name in tensors] + ([op.inputs[-1]] if number else [])
    nodes = [f"n{k}" for k in range(len(tensors))]
    saved, storages = _saved(op, tensors)
    record = ""
    if op.result != "bool":
        record = _RECORD.lstrip().format(
            nodes="; ".join(f"n{k} = {name}._n" for k, name in enumerate(tensors)),
            any_node=" or ".join(f"{n} is not None" for n in nodes),
            next=", ".join(nodes + (["None"] if number else [])),
            mask="1" if len(nodes) == 1 else " + ".join(f"({n} is not None) * {1 << k}" for k, n in enumerate(nodes)),
            saved=saved,
            storages=storages,
        )
    return _CALL.strip().format(
        metas="; ".join(f"m{k} = {name}._m" for k, name in enumerate(tensors)),
        arguments=_arguments(op),
        lookup=_lookup(op, tensors, number),
        options=options,
        guard=" or plan.guarded" * op.nonzero_divisor,
        operands=", ".join(operands),
        numbers="".join(f"{name}, " for name in op.attributes if name not in op.static),
        record=record,
    )


def _saved(op, tensors):
    """What the node keeps, as text: values in the order of ``op.needs``, and the storages of kept results."""
    saved, storages = [], []
    for name in op.needs:
        if name == "out":
            saved.append("data")
            storages.append("storage_of(tensor)")
        elif name.endswith("_meta") and name[:-5] in op.inputs:
            at = op.inputs.index(name[:-5])
            saved.append(f"m{at}" if at < len(tensors) else "None")
        else:
            saved.append(name)
    return "".join(f"{s}, " for s in saved), "".join(f"{s}, " for s in storages)


_INPLACE_CALL = """
try:
    {metas}
    follows = {followed}
except AttributeError:
    return general(op, {arguments}, {options})
plan = {lookup}
if plan is None{guard} or (not writes_freely({target}, follows) if switch.anywhere else follows):
    return general(op, {arguments}, {options})
storage = {target}._s
{shared}try:
    if plan.geometry is None:
        plan.call(plan.kernel, {operands}, {numbers}0, plan.end)
    else:
        plan.call(plan.kernel, {operands}, {target}._d, {numbers}plan.geometry, 0, plan.end)
except OverflowError: # an integer of more than 64 bits
    return general(op, {arguments}, {options})
if storage is None:
    storage = {target}._s = Storage()
storage.version += 1
storage.modified = switch.last_write = next_seq()
storage.writer = getattr({target}, "_writer", "{name}_")
return {target}
"""


def _inplace_call(op, number, options):
    tensors = op.inputs[:-1] if number else op.inputs
    target, *others = tensors
    shared = ""
    if others:
        overlap = " or ".join(
            f"(({name}._s is storage or storage.memory is not None and same_memory({name}._s, storage)) and {name} is not {target})"
            for name in others
        )
        shared = f"if storage is not None and ({overlap}):\n    return general(op, {_arguments(op)}, {options})\n"
    return _INPLACE_CALL.strip().format(
        name=op.name,
        target=target,
        metas="; ".join(f"m{k} = {name}._m" for k, name in enumerate(tensors)),
        followed=" or ".join([f"{name}._n is not None" for name in tensors] + [f"{target}._base is not None"]),
        arguments=_arguments(op),
        lookup=_lookup(op, tensors, number, "inplace_"),
        options=options,
        guard=" or plan.guarded" * op.nonzero_divisor,
        shared=shared,
        operands=", ".join([f"{name}._d" for name in tensors] + ([op.inputs[-1]] if number else [])),
        numbers="".join(f"{name}, " for name in op.attributes if name not in op.static),
    )
