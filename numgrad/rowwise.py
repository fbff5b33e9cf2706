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

from .autograd import switch
from .kernels import emit
from .op import (
    ENTRIES,
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


def _call(op, tensors, attributes):
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
    _launch(op, op.name, op.fn, described, [], sizes, attributes, rows, d, first._m.device)
    out = results[0]
    if op.gradient is not None and recording(checked):
        values = dict(zip([a.name for a in op.row_outputs[1:]], results[1:]))
        own = op.row_outputs[0].name
        if own in op.needs or "out" in op.needs:
            storage_of(out)
            values[own] = values["out"] = SavedResult(out)
        node = record(op, checked, out, {**values, **attributes})
        node.storages = () if out._s is None else (out._s,)
        node.plan = (d, rows, sizes, attributes, [None if t is None else t._m for t in checked])
        out._n = node
    if switch.anywhere:
        check_forward(op.name, out)
    return out


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


def _launch(op, name, fn, described, parts, sizes, attributes, rows, d, device):
    """Compile if need be and run a row body over ``described`` [(Argument, Tensor or None)], then ``parts``
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
    slots = [tensor._d for _, tensor in described if tensor is not None]
    slots += [tensor._d for _, _, tensor in parts if tensor is not None]
    slots += [sizes[dim] for dim in op.dims]
    slots += [attributes[k] for k, _ in numbers]
    width = max(sizes.values(), default=1)
    end = rows
    work = width
    wanted = [tensor for _, _, tensor in parts if tensor is not None]
    if wanted:
        count = wanted[0]._m.shape[0]
        slots += [rows, count]
        end, work = count, rows * width // max(count, 1)
    if end and (rows or wanted):
        caller(len(slots), end, max(work, 1), device)(kernel, *slots, 0, end)


class RowNode(StructuredNode):
    """The node of a row op: its gradient's body runs row by row too."""

    __slots__ = ()

    def backward(self, gradient):
        op = self.op
        d, rows, sizes, attributes, metas = self.plan
        gradient = dense(cast(gradient, d))
        saved = dict(zip(op.needs, self.saved))
        by_name = {a.name: a for a in (*op.row_inputs, *op.row_outputs)}
        described = [(_named(op.row_outputs[0], "grad_output"), gradient)]
        parts, results = [], {}
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
                    results[name] = make(pm.empty(pm.numel, pm.np), pm).zero_()
                    parts.append((name, argument.width, results[name]))
            else:
                tensor = saved[name]
                if type(tensor) is SavedResult:
                    tensor = tensor.restore(None)
                if tensor is not None:
                    tensor = dense(plain(cast(tensor, d) if tensor._m.dtype.is_floating_point else tensor))
                described.append((by_name[name], tensor))
        order = [argument.name for argument, _ in described] + [name for name, _, _ in parts]
        if order != ["grad_output", *op.gradient_arguments]:
            raise TypeError(
                f"{op.name}.backward must name its parameters as: the gradient, saved values and row gradients, then "
                f"gradients of shared inputs; got {op.gradient_arguments}"
            )
        asked = {k: v for k, v in attributes.items() if k in inspect.signature(op.gradient).parameters}
        _launch(op, f"{op.name}_backward", op.gradient, described, parts, sizes, asked, rows, d, gradient._m.device)
        found = []
        for argument, m, parent in zip(op.row_inputs, metas, self.next):
            name = f"d{argument.name}"
            if parent is None or name not in results:
                found.append(None)
                continue
            result = results[name]
            if not argument.row:
                result = ENTRIES["sum"](result, 0) if count > 1 else ENTRIES["reshape"](result, tuple(m.shape))
            found.append(cast(result, m.dtype))
        return tuple(found)


def _named(argument, name):
    return Argument(name, argument.axes, False)


__all__ = ["rowwise"]
