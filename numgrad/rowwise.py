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
from .kernels import emit
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
    check_forward,
    dense,
    node_class_of,
    plain,
    record,
    recording,
    same_device,
)  # fmt: skip
from .pointwise import caller
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

    def __init__(self, fn, layout, **options):
        super().__init__(fn, **options)
        self.layout = layout
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
    """Decorator factory: the row body of ``layout`` becomes an op."""

    def decorate(fn):
        op = Rowwise(fn, layout, **options)
        return attach(op, build_entry(op, _call))

    return decorate


class RowPlan:
    """How a row op runs for one combination of metas: metas of the results, kernel, caller, the slots after the tensors,
    the range; ``direct`` if the inputs can be read as they are. ``backward`` is the same for the gradient, made when it
    is first asked for."""

    __slots__ = ("outs", "kernel", "call", "tail", "end", "direct", "node", "backward")


def _call(op, tensors, attributes):
    """Run and record: by the plan where there is one, else by `_general`, which makes it."""
    try:
        key = (*[None if t is None else t._m for t in tensors], *attributes.values(), *map(type, attributes.values()))
        plan = op.plans.get(key)
    except (AttributeError, TypeError):  # arrays, or attributes in tensors
        return _general(op, tensors, attributes, None)
    if plan is None or not plan.direct:
        return _general(op, tensors, attributes, key)
    results = [make(m.empty(m.numel, m.np), m) for m in plan.outs]
    if plan.end:
        slots = [t._d for t in tensors if t is not None]
        plan.call(plan.kernel, *slots, *[t._d for t in results], *plan.tail, 0, plan.end)
    if op.gradient is not None and recording(tensors):
        _record(op, tensors, results, attributes, plan)
    if switch.anywhere:
        check_forward(op.name, results[0])
    return results[0]


def _record(op, tensors, results, attributes, plan):
    out = results[0]
    values = dict(zip([a.name for a in op.row_outputs[1:]], results[1:]))
    own = op.row_outputs[0].name
    if own in op.needs or "out" in op.needs:
        storage_of(out)
        values[own] = values["out"] = SavedResult(out)
    node = record(op, tensors, out, {**values, **attributes})
    node.storages = () if out._s is None else (out._s,)
    node.plan = plan
    out._n = node


def _general(op, tensors, attributes, key):
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
    for name, value in attributes.items():
        if isinstance(value, Tensor):
            attributes[name] = value.item()
        elif isinstance(value, bool) and name not in op.static:
            attributes[name] = int(value)
    d = first._m.dtype
    if not d.is_floating_point:
        raise RuntimeError(f'"{op.name}" not implemented for {d!r}: it takes floating-point tensors; use .float()')
    lead = first._m.shape[:-1] if op.row_inputs[0].width != "1" else first._m.shape
    rows = prod(lead)
    sizes = _sizes(op, checked, rows)
    arrays = []
    for tensor in checked:
        if tensor is not None:
            if tensor._m.dtype is not d and tensor._m.dtype.is_floating_point:
                tensor = cast(tensor, d)
            tensor = dense(plain(tensor))
        arrays.append(tensor)
    results = []
    for argument in op.row_outputs:
        shape = tuple(lead) if argument.width == "1" else (*lead, sizes[argument.dim] * argument.times)
        m = meta(d, shape, first._m.device)
        results.append(make(m.empty(m.numel, m.np), m))
    described = [*zip(op.row_inputs, arrays), *zip(op.row_outputs, results)]
    plan = RowPlan()
    _plan_launch(plan, op, op.name, op.fn, described, [], sizes, attributes, rows, d, first._m.device)
    plan.outs, plan.backward = [t._m for t in results], None
    plan.node = (d, rows, sizes, attributes, [None if t is None else t._m for t in checked])
    plan.direct = all(
        used is None or (isinstance(given, Tensor) and given._d is used._d and given._m is used._m)
        for given, used in zip(tensors, arrays)
    )
    _launch(plan, [t for t in (*arrays, *results) if t is not None])
    if key is not None and plan.direct:
        if len(op.plans) > 1 << 14:
            op.plans.clear()
        op.plans[key] = plan
    if op.gradient is not None and recording(checked):
        _record(op, checked, results, attributes, plan)
    if switch.anywhere:
        check_forward(op.name, results[0])
    return results[0]


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


def _launch(plan, tensors):
    if plan.end:
        plan.call(plan.kernel, *[tensor._d for tensor in tensors], *plan.tail, 0, plan.end)


def _plan_launch(plan, op, name, fn, described, parts, sizes, attributes, rows, d, device):
    """Kernel, caller, last slots and range of a row body over ``described`` [(Argument, Tensor or None)], then ``parts``
    [(name, width, Tensor of shape (parts, width))]."""
    constants = {k: v for k, v in attributes.items() if k in op.static}
    numbers = [(k, "r" if isinstance(v, float) else "I") for k, v in attributes.items() if k not in op.static]
    arguments = []
    for argument, tensor in described:
        kind = "none" if tensor is None else "row" if argument.row else "shared"
        arguments.append((argument.name, kind, None if tensor is None else tensor._m.np.type, argument.width))
    arguments += [(n, "part" if t is not None else "none", t._m.np.type if t is not None else None, w) for n, w, t in parts]
    T = d.np.type
    key = (name, tuple(arguments), T, tuple(numbers), tuple(constants.items()), device.type)
    kernel = op.kernels.get(key)
    if kernel is None:
        make_kernel = emit.rowwise
        if device.type == "cuda":
            from .kernels import cuda

            make_kernel = cuda.rowwise
        kernel = op.kernels[key] = make_kernel(name, fn, T, arguments, op.dims, numbers, constants)
    tail = [sizes[dim] for dim in op.dims] + [attributes[k] for k, _ in numbers]
    width = max(sizes.values(), default=1)
    end = rows
    work = width
    wanted = [tensor for _, _, tensor in parts if tensor is not None]
    if wanted:
        count = wanted[0]._m.shape[0]
        tail += [rows, count]
        end, work = count, rows * width // max(count, 1)
    slots = sum(tensor is not None for _, tensor in described) + len(wanted) + len(tail)
    plan.kernel, plan.tail, plan.end = kernel, tail, end
    plan.call = caller(slots, end, max(work, 1), device) if end else None


class RowNode(StructuredNode):
    """The node of a row op: its gradient's body runs row by row too."""

    __slots__ = ()

    def backward(self, gradient):
        op, plan = self.op, self.plan
        d, rows, sizes, attributes, metas = plan.node
        if gradient._m.dtype is not d:
            gradient = cast(gradient, d)
        gradient = dense(gradient)
        if plan.direct and plan.backward is not None:
            return self._run(plan.backward, gradient)
        saved = dict(zip(op.needs, self.saved))
        by_name = {a.name: a for a in (*op.row_inputs, *op.row_outputs)}
        described = [(_named(op.row_outputs[0], "grad_output"), gradient)]
        parts, results, shared = [], {}, set()
        count = max(1, min(_PARTS, rows // _ROWS_A_PART))
        for name in op.gradient_arguments:
            if name in op.written:
                argument = by_name[name[1:]]
                m = metas[op.inputs.index(argument.name)]
                if argument.row:
                    # A row's gradient is always written: bodies do not ask whether it is wanted.
                    rm = meta(d, m.shape, m.device)
                    results[name] = make(rm.empty(rm.numel, rm.np), rm)
                    described.append((_named(argument, name), results[name]))
                elif m is None:
                    parts.append((name, argument.width, None))
                else:
                    pm = meta(d, (count, m.numel), m.device)
                    results[name] = make(pm.empty(pm.numel, pm.np), pm)
                    shared.add(name)
                    parts.append((name, argument.width, results[name]))
            else:
                tensor = saved[name]
                if type(tensor) is SavedResult:
                    tensor = tensor.restore(None)
                described.append((by_name[name], None if tensor is None else self._readable(tensor)))
        order = [argument.name for argument, _ in described] + [name for name, _, _ in parts]
        if order != ["grad_output", *op.gradient_arguments]:
            raise TypeError(
                f"{op.name}.backward must name its parameters as: the gradient, saved values and row gradients, then "
                f"gradients of shared inputs; got {op.gradient_arguments}"
            )
        asked = {k: v for k, v in attributes.items() if k in inspect.signature(op.gradient).parameters}
        backward = RowPlan()
        _plan_launch(
            backward, op, f"{op.name}_backward", op.gradient, described, parts, sizes, asked, rows, d, gradient._m.device
        )
        # What each slot is: a saved value's place, or the meta of a result and whether it starts at 0.
        backward.outs = [
            (name, results[name]._m if name in results else None, name not in shared)
            if name in op.written else (op.needs.index(name), None, None)
            for name in op.gradient_arguments
        ]  # fmt: skip
        plan.backward = backward
        return self._run(backward, gradient)

    def _run(self, backward, gradient):
        """Run the gradient's kernel by its plan."""
        op, metas = self.op, self.plan.node[4]
        slots, results = [gradient._d], {}
        for place, m, whole in backward.outs:
            if whole is None:
                value = self.saved[place]
                if value is None:
                    continue
                if type(value) is SavedResult:
                    slots.append(value.data)
                else:
                    slots.append(value._d if self.plan.direct else self._readable(value)._d)
            elif m is not None:
                results[place] = found = make(m.empty(m.numel, m.np), m)
                if not whole:
                    found.zero_()
                slots.append(found._d)
        if backward.end:
            backward.call(backward.kernel, *slots, *backward.tail, 0, backward.end)
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

    def _readable(self, tensor):
        """A saved tensor as kernels read it: contiguous and, if floating point, in the dtype that is computed in."""
        return dense(plain(cast(tensor, self.plan.node[0]) if tensor._m.dtype.is_floating_point else tensor))


def _named(argument, name):
    return Argument(name, argument.axes, False)


def _forget_plans():
    for op in OPS.values():
        if op.form == "rowwise":
            op.plans.clear()


config._on_change.append(_forget_plans)

__all__ = ["rowwise"]
