"""Structured ops: a body over Tensors that launches kernels of its own; a gradient stated in other ops."""

import functools
import inspect
import weakref

from .autograd import is_grad_enabled, next_seq, switch
from .deferral import deferred
from .op import (
    ENTRIES,
    Op,
    SavedResult,
    StructuredNode,
    admitted,
    attach,
    node_class_of,
    note_recorded,
    note_result,
    plain,
    signature_text,
)
from .storage import Storage, strided_meta
from .tensor import Tensor, follow, new, storage_of

KINDS: set = set()  # subclasses of Tensor that ops take as they are


class Structured(Op):
    """An op whose body is a function over Tensors that launches its own kernels (unrecorded)."""

    form = "structured"

    def __init__(self, fn, *, kind="new", raw=False, out=False, complex=False, node=StructuredNode, **options):
        super().__init__(fn, **options)
        self.takes_out = out  # the entry has the argument ``out=``
        self.takes_complex = complex  # body and gradient hold for complex numbers too
        self.kind = kind  # "new": the result has memory of its own; "view": it shares its first input's
        self.raw = raw  # the body only touches data and metas, so that its inputs need not lose their history
        self.plans: dict = {}
        self.node_class = node_class_of(self, node)

    def extra_saved(self):
        return ("context",)


def structured(fn=None, **options):
    """Decorator: ``fn(tensors..., *, attributes...)`` over Tensors computes the result with kernels of its own.

    It may return ``(out, context)`` where ``context`` is what its gradient asks for under that name. With
    ``kind="view"`` it returns ``(offset, shape, strides)``, found from the input's meta and hashable attributes
    alone, and the result is a view of its first input. ``raw=True``: the body calls no recorded ops.
    """
    if fn is None:
        return functools.partial(structured, **options)
    op = Structured(fn, **options)
    names = {
        "op": op, "fn": op.fn, "plans": op.plans, "plan_view": plan_view, "plain": plain, "new": new, "Tensor": Tensor,
        "Storage": Storage, "ref": weakref.ref, "forget_dead": _forget_dead, "switch": switch,
        "is_grad_enabled": is_grad_enabled, "NodeClass": op.node_class, "next_seq": next_seq, "SavedResult": SavedResult,
        "storage_of": storage_of, "note_result": note_result, "note_recorded": note_recorded,
        "admitted": admitted, "kinds": KINDS, "entries": ENTRIES, "inf": float("inf"), "nan": float("nan"),
        "onto": getattr(op.node_class, "onto", None), "follow": follow,
    }  # fmt: skip
    return attach(op, deferred(op.name, lambda: _structured_source(op), names))


_STRUCTURED = """
def {name}({signature}):
    {checks}
    {target}
    out = fn({arguments})
    context = None
    if type(out) is tuple:
        out, context = out
    {record}
    if switch.anywhere:
        note_result(out)
    return {result}
"""

_VIEW = """
def {name}({signature}):
    {checks}
    plan = plans.get(({first}._m, {key}))
    if plan is None:
        plan = plan_view(op, {first}, ({key}))
    out = new(Tensor)
    out._m, from_, until_ = plan
    data = {first}._d
    storage = {first}._s
    if storage is None:
        storage = {first}._s = Storage()
        storage.root = data
    elif storage.root is None:
        storage.root = data
    out._d = data if until_ is None else data[from_:until_]
    out._s = storage
    out._n = None
    base = {first}._base
    if switch.anywhere and not is_grad_enabled():
        if not storage.inference:
            follow(out, {first}, storage)
    else:
        if base is None:
            out._base = {first}
        else:
            out._base = base
            if {first}._creation is not None:
                out._creation = {first}._creation
        views = storage.views
        if not views:
            storage.views = [ref(out)]
        else:
            views.append(ref(out))
            if len(views) & 63 == 0:
                forget_dead(storage)
        {record}
    return out
"""

_NODE = """if {recorded}:
{indent}    out._n = node = NodeClass()
{indent}    node.seq = next_seq()
{indent}    node.next = ({next},)
{indent}    node.saved = ({saved})
{indent}    node.storages = ({storages})
{indent}    node.hooks = None
{indent}    if switch.anywhere:
{indent}        note_recorded(node, op)"""


_PART = """parent = {first}._n
        if parent is not None:
            out._n = node = NodeClass()
            node.next = (onto(parent, {first}._m),)
            node.seq = next_seq()
            node.saved = node.storages = ()
            node.plan = ({key})
            node.hooks = None
            if switch.anywhere:
                note_recorded(node, op)"""


def _structured_source(op):
    """The text of a structured op's entry: check, run, record, without loops."""
    required = {p.name for p in inspect.signature(op.fn).parameters.values() if p.default is inspect.Parameter.empty}
    inputs = op.inputs
    everything = f"({''.join(f'{x}, ' for x in inputs)}), ({''.join(f'{name}, ' for name in op.attributes)})"
    checks = [
        f"if type({x}) is not Tensor and type({x}) not in kinds" + ("" if x in required else f" and {x} is not None")
        + f":\n        {x} = admitted(op, {x}, {x!r}, kinds)\n        if {x}._m.batched:\n            "
        + f"return entries['batched_view' if op.kind == 'view' else 'batched_op'](op, {everything})"
        for x in inputs
    ]  # fmt: skip
    optional = [x for x in inputs if x not in required]

    def of(x, attribute):
        return f"(None if {x} is None else {x}.{attribute})" if x in optional else f"{x}.{attribute}"

    if op.raw or op.kind == "view":
        arguments = list(inputs)
    else:
        arguments = [f"plain({x})" if x in required else f"(None if {x} is None else plain({x}))" for x in inputs]
    saved, storages = [], ""
    for name in op.needs:
        if name == "out":
            storages = "storage_of(out),"
            saved.append("SavedResult(out)")
        elif name.endswith("_meta") and name[:-5] in inputs:
            saved.append(of(name[:-5], "_m"))
        else:
            saved.append(name)
    wanted = " or ".join(
        f"({x} is not None and {x}._n is not None)" if x in optional else f"{x}._n is not None" for x in inputs
    )
    indent = "    "
    if op.kind == "view":
        indent, wanted = "        ", f"{inputs[0]}._n is not None"
    else:
        wanted = f"({wanted}) and (not switch.anywhere or is_grad_enabled()) and out._m.dtype.differentiable"
    record = "pass"
    if op.kind == "view" and hasattr(op.node_class, "onto"):
        key = "".join(f"{name}, " for name in op.attributes)
        record = _PART.format(first=inputs[0], key=key)
    elif op.gradient is not None and inputs:
        record = _NODE.format(
            recorded=wanted, indent=indent, next=", ".join(of(x, "_n") for x in inputs),
            saved="".join(f"{text}, " for text in saved), storages=storages,
        )  # fmt: skip
    return (_VIEW if op.kind == "view" else _STRUCTURED).format(
        name=op.name, signature=signature_text(op) + (", *, out=None" if op.takes_out else ""),
        target="target = out" if op.takes_out else "",
        result="out if target is None else entries['write_out'](op.name, out, target)" if op.takes_out else "out",
        checks="\n    ".join(checks) or "pass", record=record,
        arguments=", ".join(arguments + [f"{name}={name}" for name in op.attributes]),
        first=inputs[0] if inputs else "", key="".join(f"{name}, " for name in op.attributes),
    )  # fmt: skip


def plan_view(op, tensor, values):
    """(meta, first element, end) of a view, kept for the same meta and attributes; end None: the whole data."""
    m = tensor._m
    offset, shape, strides = op.fn(tensor, **dict(zip(op.attributes, values)))
    found = strided_meta(m.dtype, tuple(shape), tuple(strides), m.device)
    length = found.numel if found.contiguous else found.span
    whole = not offset and length == len(tensor._d)
    plan = (found, offset, None if whole else offset + length)
    if len(op.plans) > 1 << 14:
        op.plans.clear()
    op.plans[(m, *values)] = plan
    return plan


def _forget_dead(storage):
    storage.views = [reference for reference in storage.views if reference() is not None]
