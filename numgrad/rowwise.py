"""The row form: a body that sees one row, written in SPMD words that mean a plain loop on the CPU and a thread block
on CUDA.

A layout such as ``"x(r,n), weight(n), bias(n) -> y(r,n), mean(r,1), rstd(r,1)"`` names the arguments of the body:
those with the row axis ``r`` arrive as one row, the others are the same for all rows; a ``?`` after the name lets an
input be None. The first result is the op's, the others are kept for the gradient. Dimension names (``n``) may be
asked for as keyword-only parameters.
"""

import inspect
import re
from math import prod

from . import config
from .autograd import switch
from .kernels import vectors
from .kernels.jit import inlined
from .op import (
    ENTRIES,
    OPS,
    Op,
    SavedResult,
    StructuredNode,
    as_tensor_operand,
    attach,
    build_entry,
    cast,
    dense,
    node_class_of,
    note_result,
    plain,
    record,
    recording,
    same_device,
)
from .plans import caller
from .storage import meta
from .tensor import Tensor, make, storage_of

_PARTS = 16  # private partial gradients of shared inputs at most; fixed, so that results do not depend on threads
_ROWS_A_PART = 32


class Argument:
    """One argument of a row layout: its name, whether it has the row axis, its width: "1", a dimension's name, or a
    multiple of one as in "4n"."""

    def __init__(self, name, axes, optional):
        self.name, self.optional = name, optional
        self.row = axes[0] == "r"
        self.axes = axes
        self.width = self.dim = axes[1] if self.row else axes[0]
        self.times = 1
        multiple = re.fullmatch(r"(\d+)([a-z]\w*)", self.width)
        if multiple:
            self.times, self.dim = int(multiple[1]), multiple[2]
            self.width = f"{self.times} * {self.dim}"


def parse(layout):
    """``layout`` as (inputs, outputs), lists of `Argument`."""
    try:
        left, right = layout.split("->")
        sides = []
        for side in (left, right):
            found = re.findall(r"(\w+)(\??)\(\s*([^)]*?)\s*\)", side)
            sides.append([Argument(name, [a.strip() for a in axes.split(",")], bool(mark)) for name, mark, axes in found])
        if not sides[0] or not sides[1]:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"rowwise: cannot read the layout {layout!r}; write it as 'x(r,n), weight(n) -> y(r,n), mean(r,1)'"
        ) from None
    return sides


class Rowwise(Op):
    """An op given by a row body."""

    form = "rowwise"

    def __init__(self, fn, layout, *, exact=False, **options):
        super().__init__(fn, **options)
        self.layout = layout
        self.rounding = vectors.exact if exact else inlined
        self.row_inputs, self.row_outputs = parse(layout)
        names = [a.name for a in (*self.row_inputs, *self.row_outputs)]
        if self.inputs != names:
            raise TypeError(f"rowwise {self.name}: the body takes {self.inputs}, but the layout names {names}")
        self.inputs = [a.name for a in self.row_inputs]
        self.dims = []
        for argument in (*self.row_inputs, *self.row_outputs):
            if argument.dim != "1" and argument.dim not in self.dims:
                self.dims.append(argument.dim)
        self.all_attributes = dict(self.attributes)
        self.attributes = {k: v for k, v in self.attributes.items() if k not in self.dims}
        self.static = [k for k, v in self.attributes.items() if isinstance(v, (str, bool)) or v is None]
        self.kernels: dict = {}
        self.plans: dict = {}  # (metas of the inputs, attributes) -> RowPlan
        self.node_class = node_class_of(self, RowNode)

    def extra_saved(self):
        return [a.name for a in self.row_outputs] + [f"d{a.name}" for a in self.row_inputs] + self.dims

    def prepare_backward(self):
        parameters = list(inspect.signature(self.gradient).parameters)[1:]
        self.gradient_arguments = [p for p in parameters if p not in self.attributes and p not in self.dims]
        self.written = [p for p in parameters if p.startswith("d") and p[1:] in self.inputs]
        self.needs = [p for p in parameters if p not in self.written and p not in self.dims]


def rowwise(layout, **options):
    """Decorator factory: the row body of ``layout`` becomes an op. ``exact``: additions and products are rounded one by
    one, as written, on the CPU."""

    def decorate(fn):
        op = Rowwise(fn, layout, **options)
        return attach(op, build_entry(op, _call))

    return decorate


class RowPlan:
    """How a row op, or its gradient, runs for one combination of metas: metas of the results, kernel, caller, the slots
    after the tensors, the range; what the gradient is planned from, and its plan, made when it is first asked for."""

    __slots__ = ("outs", "kernel", "call", "tail", "end", "setting", "backward")

    def run(self, tensors):
        """Run on the memory of ``tensors``, in the order of the kernel's arguments."""
        if self.end:
            self.call(self.kernel, *[tensor._d for tensor in tensors], *self.tail, 0, self.end)


def _call(op, tensors, attributes):
    try:
        key = (*[None if t is None else t._m for t in tensors], *attributes.values(), *map(type, attributes.values()))
        plan, read = op.plans.get(key), tensors
    except (AttributeError, TypeError):  # arrays
        plan = key = None
    if plan is None:
        if any(isinstance(tensor, Tensor) and tensor._m.batched for tensor in tensors):
            return ENTRIES["batched_op"](op, tensors, tuple(attributes.values()))
        plan, tensors, read, attributes = _prepare(op, tensors, attributes, key)
    elif not plan.setting[-1]:
        read = [None if tensor is None else _readable(tensor, plan.setting[0]) for tensor in tensors]
    results = [make(m.empty(m.numel, m.np), m) for m in plan.outs]
    plan.run([t for t in (*read, *results) if t is not None])
    out = results[0]
    if op.gradient is not None and recording(tensors):
        values = dict(zip([a.name for a in op.row_outputs[1:]], results[1:]))
        own = op.row_outputs[0].name
        if own in op.needs or "out" in op.needs:
            storage_of(out)
            values[own] = values["out"] = SavedResult(out)
        node = record(op, tensors, out, {**values, **attributes})
        node.storages = () if out._s is None else (out._s,)
        node.plan = plan
        out._n = node
    if switch.anywhere:
        note_result(out)
    return out


def _prepare(op, tensors, attributes, key):
    """(plan, tensors, the tensors as kernels read them, attributes as numbers), all checked. The plan is kept under
    ``key`` if no number came in a tensor, which may change."""
    checked = []
    for argument, tensor in zip(op.row_inputs, tensors):
        if tensor is None:
            if not argument.optional:
                raise TypeError(f"{op.name}(): argument '{argument.name}' must be Tensor, not None")
        else:
            tensor = as_tensor_operand(op.name, tensor, argument.name)
        checked.append(tensor)
    first = checked[0]
    same_device(op.name, [t for t in checked if t is not None])
    numbers = {}
    for name, value in attributes.items():
        if isinstance(value, Tensor):
            value, key = value.item(), None
        numbers[name] = int(value) if isinstance(value, bool) and name not in op.static else value
    d = first._m.dtype
    if not d.is_floating_point:
        raise RuntimeError(f'"{op.name}" not implemented for {d!r}: it takes floating-point tensors; use .float()')
    lead = first._m.shape[:-1] if op.row_inputs[0].width != "1" else first._m.shape
    rows = prod(lead)
    sizes = _sizes(op, checked, rows)
    read = [None if tensor is None else _readable(tensor, d) for tensor in checked]
    shapes = [lead if a.width == "1" else (*lead, sizes[a.dim] * a.times) for a in op.row_outputs]
    plan = RowPlan()
    plan.outs = [meta(d, shape, first._m.device) for shape in shapes]
    plan.backward = None
    direct = all(a is None or (a._d is b._d and a._m is b._m) for a, b in zip(checked, read))
    plan.setting = d, rows, sizes, numbers, [None if t is None else t._m for t in checked], direct
    described = [*zip(op.row_inputs, [None if t is None else t._m for t in read]), *zip(op.row_outputs, plan.outs)]
    _plan_kernel(plan, op, op.name, op.fn, described, [], sizes, numbers, rows, d, first._m.device)
    if key is not None:
        if len(op.plans) > 1 << 14:
            op.plans.clear()
        op.plans[key] = plan
    return plan, checked, read, numbers


def _readable(tensor, d):
    """A tensor as kernels read it: contiguous and, if floating point, in the dtype ``d`` that is computed in."""
    return dense(plain(cast(tensor, d) if tensor._m.dtype.is_floating_point else tensor))


def _sizes(op, tensors, rows):
    sizes: dict = {}
    for argument, tensor in zip(op.row_inputs, tensors):
        if tensor is None:
            continue
        shape = tensor._m.shape
        if argument.width == "1":
            found_rows, width = tensor._m.numel if argument.row else 1, 1
        else:
            if not shape:
                raise RuntimeError(f"{op.name}: argument '{argument.name}' needs at least one dimension, got a 0-d tensor")
            width = shape[-1]
            found_rows = tensor._m.numel // width if width else prod(shape[:-1])
        if argument.row and found_rows != rows:
            raise RuntimeError(f"{op.name}: '{argument.name}' has {found_rows} rows, expected {rows} (layout {op.layout})")
        if not argument.row and argument.width != "1" and len(shape) != 1:
            raise RuntimeError(f"{op.name}: '{argument.name}' must have one dimension, got shape {list(shape)}")
        if argument.width == "1":
            continue
        size, rest = divmod(width, argument.times)
        if rest or sizes.setdefault(argument.dim, size) != size:
            expected = sizes[argument.dim] * argument.times if argument.dim in sizes else f"a multiple of {argument.times}"
            raise RuntimeError(f"{op.name}: '{argument.name}' has {width} columns, expected {expected} (layout {op.layout})")
    return sizes


def _plan_kernel(plan, op, name, fn, described, parts, sizes, attributes, rows, d, device):
    """Kernel, caller, last slots and range of a row body over ``described`` [(Argument, Meta or None)], then ``parts``
    [(name, width, Meta of shape (parts, width) or None)]."""
    constants = {k: v for k, v in attributes.items() if k in op.static}
    numbers = [(k, "r" if isinstance(v, float) else "I") for k, v in attributes.items() if k not in op.static]
    arguments = []
    for argument, m in described:
        kind = "none" if m is None else "row" if argument.row else "shared"
        arguments.append((argument.name, kind, None if m is None else m.np.type, argument.width))
    arguments += [(n, "none" if m is None else "part", None if m is None else m.np.type, w) for n, w, m in parts]
    T = d.np.type
    key = (name, tuple(arguments), T, tuple(numbers), tuple(constants.items()), device.type)
    kernel = op.kernels.get(key)
    if kernel is None:
        kernel = op.kernels[key] = device.backend.rowwise(
            name, fn, T, arguments, op.dims, numbers, constants, rounding=op.rounding
        )
    tail = [sizes[dim] for dim in op.dims] + [attributes[k] for k, _ in numbers]
    width = max(sizes.values(), default=1)
    end = rows
    work = width
    wanted = [m for _, _, m in parts if m is not None]
    if wanted:
        count = wanted[0].shape[0]
        tail += [rows, count]
        end, work = count, rows * width // max(count, 1)
    slots = sum(m is not None for _, m in described) + len(wanted) + len(tail)
    plan.kernel, plan.tail, plan.end = kernel, tail, end
    plan.call = caller(slots, end, max(work, 1), device) if end else None


class RowNode(StructuredNode):
    """The node of a row op: its gradient's body runs row by row too."""

    __slots__ = ()

    def backward(self, gradient):
        op, plan = self.op, self.plan
        d, metas, direct = plan.setting[0], *plan.setting[4:]
        if gradient._m.dtype is not d:
            gradient = cast(gradient, d)
        gradient = dense(gradient)
        if plan.backward is None:
            plan.backward = _plan_backward(op, plan, self.saved, gradient._m)
        read, results = [gradient], {}
        for place, m, shared in plan.backward.outs:
            if m is not None:
                results[place] = found = make(m.empty(m.numel, m.np), m)
                read.append(found.zero_() if shared else found)
            elif not isinstance(place, str) and self.saved[place] is not None:
                value = self.saved[place]
                value = value.restore(None) if type(value) is SavedResult else value
                read.append(value if direct else _readable(value, d))
        plan.backward.run(read)
        found = []
        for argument, m, parent in zip(op.row_inputs, metas, self.next):
            result = results.get(f"d{argument.name}")
            if parent is None or result is None:
                found.append(None)
                continue
            if not argument.row:
                several = result._m.shape[0] > 1
                result = ENTRIES["sum"](result, 0) if several else ENTRIES["reshape"](result, tuple(m.shape))
            found.append(result if result._m.dtype is m.dtype else cast(result, m.dtype))
        return tuple(found)


def _plan_backward(op, plan, saved, g):
    """The plan of the gradient's kernel. Its ``outs`` say what each argument is: (a saved value's place, None, None) or
    (name, meta of a result, whether the rows share it), without a meta for the gradient of an absent input."""
    d, rows, sizes, attributes, metas, _ = plan.setting
    by_name = {a.name: a for a in (*op.row_inputs, *op.row_outputs)}
    described, parts, outs = [(_named(op.row_outputs[0], "grad_output"), g)], [], []
    count = max(1, min(_PARTS, rows // _ROWS_A_PART))
    for name in op.gradient_arguments:
        if name not in op.written:
            place = op.needs.index(name)
            value = saved[place]
            m = None if value is None else value.meta if type(value) is SavedResult else value._m
            if m is not None and m.dtype.is_floating_point:
                m = meta(d, m.shape, m.device)
            described.append((by_name[name], m))
            outs.append((place, None, None))
            continue
        argument = by_name[name[1:]]
        m = metas[op.inputs.index(argument.name)]
        if argument.row:  # always written: bodies do not ask whether it is wanted
            m = meta(d, m.shape, m.device)
            described.append((_named(argument, name), m))
        else:
            m = None if m is None else meta(d, (count, m.numel), m.device)
            parts.append((name, argument.width, m))
        outs.append((name, m, not argument.row))
    order = [argument.name for argument, _ in described] + [name for name, _, _ in parts]
    if order != ["grad_output", *op.gradient_arguments]:
        raise TypeError(
            f"{op.name}.backward must name its parameters as: the gradient, saved values and row gradients, then "
            f"gradients of shared inputs; got {op.gradient_arguments}"
        )
    asked = {k: v for k, v in attributes.items() if k in inspect.signature(op.gradient).parameters}
    backward = RowPlan()
    backward.outs = outs
    _plan_kernel(backward, op, f"{op.name}_backward", op.gradient, described, parts, sizes, asked, rows, d, g.device)
    return backward


def _named(argument, name):
    return Argument(name, argument.axes, False)


def _forget_plans():
    for op in OPS.values():
        if op.form == "rowwise":
            op.plans.clear()


config._on_change.append(_forget_plans)

__all__ = ["rowwise"]
