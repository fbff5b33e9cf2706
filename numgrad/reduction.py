"""The reduction form: a step folded over some dimensions.

A reduction runs on a contiguous array seen as ``(outer, reduce, inner)``; dimensions that are not neighbours are
brought together by a copy. Its gradient is a pointwise body over the input with the incoming gradient (and the
result) repeated along the reduced dimensions.
"""

import functools
import inspect
from math import prod

from . import dtypes
from .autograd import is_grad_enabled, next_seq, no_grad, switch
from .deferral import deferred
from .errors import no_complex_form, not_implemented_for
from .inplace import write_out
from .kernels import emit
from .layout import dense_strides, inner_to_outer, integer, integers, is_dense, normalize_axes
from .names import absent, bound, meanings, refuse
from .op import (
    ENTRIES,
    Op,
    OpNode,
    as_tensor_operand,
    attach,
    cast,
    cast_gradient,
    converted,
    dense,
    forget_kernels,
    node_class_of,
    note_recorded,
    note_result,
)
from .plans import build_plan, caller
from .storage import meta, strided_meta
from .tensor import Tensor, make, new, storage_of

_COLUMNS = emit._COLUMNS


class Reduction(Op):
    """An op given by a step ``fn(accumulator, x; attributes) -> accumulator``.

    ``identity`` starts the fold, ``combine`` joins two partial results (default: the step itself), ``finish(acc,
    count)`` turns the last into the result. ``result`` is the dtype rule: "sum" (bool and integers become int64),
    "same", "float" (only floating point), "bool". ``cascade``: the step is a plain sum, to be taken in the order of
    `kernels.ordered.cascade_sum`. ``staged``: a fold over some dimensions and then over others is the fold over all.
    """

    form = "reduction"

    def __init__(self, fn, *, identity, combine=None, finish=None, result="same", empty=True, cascade=False,
                 staged=False, **options):  # fmt: skip
        super().__init__(fn, **options)
        self.inputs = ["input"]
        self.identity, self.combine, self.finish = identity, combine or fn, finish
        self.result, self.allows_empty, self.cascade, self.staged = result, empty, cascade, staged
        self.takes_complex, self.complex_finish = False, None  # set by `complexes` for the ops that take them
        self.kernels: dict = {}
        self.plans: dict = {}
        self.node_class = node_class_of(self, ReductionNode)

    def extra_saved(self):
        return ("count",)


def reduction(fn=None, **options):
    """Decorator: the fold step of a reduction becomes an op ``f(input, dim=None, keepdim=False, *, dtype=None)``."""
    if fn is None:
        return functools.partial(reduction, **options)
    op = Reduction(fn, **options)
    names = {
        "op": op, "general": _general, "absent": absent, "plans": op.plans, "new": new, "Tensor": Tensor, "storage_of": storage_of,
        "switch": switch, "is_grad_enabled": is_grad_enabled, "NodeClass": op.node_class, "next_seq": next_seq,
        "note_result": note_result, "note_recorded": note_recorded, "inf": float("inf"), "meant": meant,
    }  # fmt: skip
    return attach(op, deferred(op.name, lambda: _source(op), names, lambda: _signature(op)))


_ENTRY = """
def {name}(input=absent, {parameters}dim=None, keepdim=False, **options):
    try:
        plan = plans.get((input._m, dim, keepdim{types}))
    except (AttributeError, TypeError):
        return general(op, input, ({attributes}), dim, keepdim, options)
    if plan is None or plan.keepdim is not keepdim or plan.dim is not dim and not meant(plan, dim) or options:
        return general(op, input, ({attributes}), dim, keepdim, options)
    m = plan.out
    tensor = new(Tensor)
    tensor._m = m
    tensor._s = tensor._n = None
    tensor._d = data = m.empty(m.numel, m.np)
    plan.call(plan.kernel, input._d, data, plan.count, plan.inner, {attributes}0, plan.end)
    if input._n is not None and m.dtype.differentiable:
        if not switch.anywhere or is_grad_enabled():
            tensor._n = node = NodeClass()
            node.seq = next_seq()
            node.next = (input._n,)
            node.plan = plan
            node.hooks = None
            node.saved = ({saved})
            node.storages = ({storages})
            if switch.anywhere:
                note_recorded(node, op)
    if switch.anywhere:
        note_result(tensor)
    return tensor
"""


def _source(op):
    """The text of a reduction's entry: the usual call without loops, all else through `_call`."""
    saved = {"input": "input", "out": "data", "count": "float(plan.count)"}
    return _ENTRY.format(
        name=op.name,
        parameters="".join(f"{name}={default!r}, " for name, default in op.attributes.items()),
        attributes="".join(f"{name}, " for name in op.attributes),
        types="".join(f", type({name})" for name in op.attributes),
        saved="".join(f"{saved.get(name, name)}, " for name in op.needs),
        storages="storage_of(tensor)," if "out" in op.needs else "",
    )


def _signature(op):
    """The parameters of a reduction's entry, with those that are in its ``**options``."""
    parameters = [inspect.Parameter("input", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for name, default in {**op.attributes, "dim": None, "keepdim": False}.items():
        parameters.append(inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default))
    parameters += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in ("dtype", "out")]
    return inspect.Signature(parameters)


def _general(op, tensor, attributes, dim, keepdim, options):
    """The call of an entry off the usual path: ``options`` are ``dtype``, ``out`` and other names of its parameters."""
    dtype = out = None
    if options or tensor is absent:
        names = ("input", *op.attributes, "dim", "keepdim")
        values = bound(
            op.name, dict(zip(names, (tensor, *attributes, dim, keepdim))), options, meanings(op.name, names),
            {**op.attributes, "dim": None, "keepdim": False}, ("dtype", "out"),
        )  # fmt: skip
        tensor, *attributes, dim, keepdim = [values[name] for name in names]
        dtype, out = values.get("dtype"), values.get("out")
    return _call(op, tensor, tuple(attributes), dim, keepdim, dtype, out)


def _call(op, tensor, attributes, dim, keepdim, dtype, out):
    tensor = as_tensor_operand(op.name, tensor, "input")
    if tensor._m.batched:
        return ENTRIES["batched_reduction"](op, tensor, attributes, dim, keepdim, dtype, out)
    if type(keepdim) is not bool:  # 1 and True are one key of a plan
        refuse(op.name, "keepdim", keepdim)
    if dtype is not None:
        if op.result == "float" and not dtypes.as_dtype(dtype).differentiable:
            raise RuntimeError(
                f"{op.name}(): could not infer output dtype. Optional dtype must be either a floating point or complex dtype. "
                f"Got: {dtypes.as_dtype(dtype).scalar_type}"
            )
        tensor = converted(tensor, dtype)
    if dim is not None and type(dim) is not int:  # a tensor's number may change: plans are kept for numbers
        dim = integers(op.name, "dim", dim) if isinstance(dim, (list, tuple)) else integer(op.name, "dim", dim)
    key = (tensor._m, dim, keepdim, *map(type, attributes))
    plan = op.plans.get(key)
    if plan is None:
        if len(op.plans) > 1 << 14:
            forget_kernels(op)
        plan = op.plans[key] = _make_plan(op, tensor, dim, keepdim, attributes)
    result = _run(op, plan, tensor, attributes)
    if tensor._n is not None and (not switch.anywhere or is_grad_enabled()) and result._m.dtype.differentiable:
        node = op.node_class()
        result._n = node
        node.seq = next_seq()
        node.next = (tensor._n,)
        node.plan = plan
        node.hooks = None
        node.storages = ()
        saved = []
        for name in op.needs:
            if name == "input":
                saved.append(tensor)
            elif name == "out":
                node.storages = (storage_of(result),)
                saved.append(result._d)
            elif name == "count":
                saved.append(float(plan.count))
            else:
                saved.append(attributes[list(op.attributes).index(name)])
        node.saved = tuple(saved)
        if switch.anywhere:
            note_recorded(node, op)
    if dtype is not None and op.result == "sum" and not result._m.dtype.differentiable:
        result = converted(result, dtype)  # narrow integers were asked for
    if switch.anywhere:
        note_result(result)
    return result if out is None else write_out(op.name, result, out)


def _run(op, plan, tensor, attributes):
    if plan.stages is not None:
        first, then = plan.stages
        found = _call(op, _call(op, _bare(tensor), attributes, first, True, None, None), attributes, then, True, None, None)
        return make(found._d, plan.out)
    if plan.compute_from is not None:
        tensor = cast(tensor, plan.compute_from)
    if plan.permutation is not None:
        data = dense(ENTRIES["permute"](_bare(tensor), plan.permutation))._d
    elif not plan.flat:
        data = dense(_bare(tensor))._d
    else:
        data = tensor._d
    m = plan.out
    result = make(m.empty(m.numel, m.np), m)
    if plan.end:
        plan.call(plan.kernel, data, result._d, plan.count, plan.inner, *attributes, 0, plan.end)
    return result


def _bare(tensor):
    if tensor._n is None:
        return tensor
    found = new(Tensor)
    found._d, found._m, found._s, found._n = tensor._d, tensor._m, tensor._s, None
    return found


class ReductionPlan:
    """How a reduction runs for one meta and choice of dimensions."""

    __slots__ = ("call", "kernel", "out", "end", "count", "inner", "permutation", "stages", "compute_from", "kept",
                 "metas", "backward", "dim", "keepdim", "flat", "by_dim")  # fmt: skip


def meant(plan, dim) -> bool:
    """Whether the entry may run ``plan``, which it found by a ``dim`` that is equal to the plan's, but another object: 2.0
    and True are equal to dimensions, and are none."""
    if plan.dim is absent:
        return False
    if type(dim) is tuple and all(type(axis) is int for axis in dim):
        plan.dim = dim  # the next call from there gives the same object
        return True
    return type(dim) is int


def _make_plan(op, tensor, dim, keepdim, attributes):
    m = tensor._m
    none = isinstance(dim, (tuple, list)) and not dim  # of dimensions: all, except for truth, as in PyTorch
    if none:
        dim = None
    axes = normalize_axes(op.name, dim, m.ndim)
    if m.ndim == 0 or (none and op.result == "bool"):
        axes = ()
    reduced = set(axes)
    kept = tuple(1 if axis in reduced else size for axis, size in enumerate(m.shape))
    shape = kept if keepdim else tuple(size for axis, size in enumerate(m.shape) if axis not in reduced)
    source, compute, result = _dtypes(op, m.dtype)
    plan = ReductionPlan()
    plan.by_dim, plan.keepdim = dim is not None, keepdim
    plan.compute_from = None if source is m.dtype else source
    plan.kept, plan.backward = kept, {}
    plan.metas = (m,)
    plan.out = meta(result, shape, m.device)
    plan.count = prod(m.shape[axis] for axis in axes)
    if plan.count == 0 and not op.allows_empty and plan.out.numel:
        raise IndexError(
            f"{op.name}(): Expected reduction dim to have non-zero size, got shape {list(m.shape)} and dim {dim}; "
            f"an empty {op.name} has no value"
        )
    plan.permutation = plan.stages = None
    order = _as_it_lies(m, reduced)
    walk = range(m.ndim) if order is None else order
    shape_walked = [m.shape[axis] for axis in walk]
    ordered = sorted(position for position, axis in enumerate(walk) if axis in reduced)
    neighbours = all(b - a == 1 or all(shape_walked[c] == 1 for c in range(a + 1, b)) for a, b in zip(ordered, ordered[1:]))
    if not ordered:
        plan.inner = 1
        outer = m.numel
    elif neighbours:
        plan.inner = prod(shape_walked[ordered[-1] + 1 :])
        outer = prod(shape_walked[: ordered[0]])
    else:
        if op.staged and 0 not in m.shape:
            last = len(ordered) - 1
            while ordered[last - 1] == ordered[last] - 1:
                last -= 1
            plan.stages = tuple(walk[k] for k in ordered[last:]), tuple(walk[k] for k in ordered[:last])
        order, ordered = None, sorted(axes)
        rest = [axis for axis in range(m.ndim) if axis not in reduced]
        plan.permutation = (*rest, *ordered)
        plan.inner = 1
        outer = prod(m.shape[axis] for axis in rest)
    along = "last" if plan.inner == 1 else "outer"
    units = outer if along == "last" else outer * -(-plan.inner // _COLUMNS)
    plan.end = units if plan.out.numel else 0
    letters = [(name, "r" if isinstance(value, float) else "i") for name, value in zip(op.attributes, attributes)]
    T = compute.compute
    key = (along, T, source.np.type, result.np.type, tuple(letters), m.device.type)
    kernel = op.kernels.get(key)
    if kernel is None:
        identity = op.identity(compute) if callable(op.identity) else op.identity
        finish = op.complex_finish if compute.kind == "c" else op.finish
        kernel = op.kernels[key] = m.device.backend.reduction(
            op.name, op.fn, finish, op.combine, identity, ("input", source.np.type), ("out", result.np.type), T,
            along, letters, cascade=op.cascade,
        )  # fmt: skip
    plan.kernel = kernel
    plan.flat = m.contiguous or order is not None
    direct = plan.flat and plan.permutation is None and plan.compute_from is None  # neither copies nor stages
    plan.dim = dim if direct and not none else absent
    work = plan.count * (1 if along == "last" else min(plan.inner, _COLUMNS))
    plan.call = caller(4 + len(letters), plan.end, max(work, 1), m.device)
    return plan


def _as_it_lies(m, reduced):
    """The dimensions of a dense input from the outermost in memory to the innermost, if they are not in that order and
    those that are not reduced are: then the input is read as it lies, and the result is row-major."""
    if m.contiguous or not is_dense(m.shape, m.strides):
        return None
    order = inner_to_outer(m.shape, m.strides)
    kept = [axis for axis in order if axis not in reduced and m.shape[axis] != 1]
    return order if kept == sorted(kept) else None


def _dtypes(op, d):
    """(dtype read, compute dtype, result dtype)."""
    if d.kind == "c":
        if op.result == "bool":
            return dtypes.bool_, dtypes.bool_, dtypes.bool_
        if op.takes_complex:
            return d, d, d
        raise no_complex_form(op.name, repr(d))
    if d.barebones and op.result not in (("sum", "bool", "float") if d.kind == "i" else ("bool",)):
        raise not_implemented_for(op.name, d)
    if op.result == "sum":
        wide = dtypes.int64 if d.kind in "bi" else d
        return d, wide, wide
    if op.result == "float":
        if d.kind != "f":
            raise RuntimeError(
                f"{op.name}(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
                f"Got: {d.scalar_type}; "
                "convert it with .float() or pass dtype="
            )
        return d, d, d
    if op.result == "bool":
        return d, (d if d.kind == "f" else dtypes.bool_ if d.kind == "b" else dtypes.int64), (
            dtypes.uint8 if d is dtypes.uint8 else dtypes.bool_
        )  # fmt: skip
    return d, d, d


class ReductionNode(OpNode):
    """The node of a reduction: a pointwise kernel over the input, with what was reduced repeated."""

    __slots__ = ()

    def overload(self):
        return self.plan.by_dim

    def backward(self, gradient):
        op, plan = self.op, self.plan
        run = plan.backward.get(None)
        if run is None:
            if plan.out.dtype.is_complex:  # other complex ops, without a kernel of its own
                with no_grad():
                    return (dense(*self.backward_recorded(gradient)),)
            run = plan.backward[None] = _plan_backward(op, plan, self.saved)
        if gradient._m is not plan.out:
            gradient = dense(cast_gradient(gradient, plan.out.dtype))
        return (run(gradient, self.saved),)

    def backward_recorded(self, gradient):
        op, plan = self.op, self.plan
        m = plan.metas[0]
        reshape = ENTRIES["reshape"]
        saved = list(self.saved)
        if "out" in op.needs:
            out = new(Tensor)
            position = op.needs.index("out")
            out._d, out._m, out._s, out._n = saved[position], plan.out, self.storages[0], self
            saved[position] = reshape(out, plan.kept)
        fn = op.recorded_gradient or op.gradient
        found = fn(reshape(gradient, plan.kept), *saved)
        if found._m.shape != m.shape:
            found = ENTRIES["expand"](found, tuple(m.shape))
        return (cast_gradient(found, m.dtype),)


def _plan_backward(op, plan, saved):
    m = plan.metas[0]
    kept = strided_meta(plan.out.dtype, plan.kept, _kept_strides(plan), m.device)
    kept = kept if kept.shape != plan.out.shape else plan.out
    inputs, arrays, numbers, late = [("grad_output", kept)], [], [], []
    for position, name in enumerate(op.needs):
        if name == "out":
            inputs.append(("out", kept))
            arrays.append(position)
        elif name == "input":
            inputs.append(("input", m))
            arrays.append(position)
        else:
            numbers.append((name, "r" if isinstance(saved[position], float) else "i"))
            late.append(position)
    strides = m.strides if is_dense(m.shape, m.strides) else dense_strides(m.shape, m.strides)
    result = strided_meta(m.dtype, m.shape, strides, m.device)
    order = ["grad_output", *op.needs]
    inner = build_plan(
        op, f"{op.name}_backward", op.gradient, inputs, [("d_input", result)], plan.out.dtype, tuple(m.shape), m.device,
        numbers, order=order,
    )  # fmt: skip

    def run(gradient, saved):
        found = make(result.empty(result.numel, result.np), result)
        slots = [saved[k]._d if isinstance(saved[k], Tensor) else saved[k] for k in arrays]
        slots = [gradient._d, *slots, found._d, *[saved[k] for k in late]]
        if inner.geometry is not None:
            slots.append(inner.geometry)
        inner.call(inner.kernel, *slots, 0, inner.end)
        return found

    return run


def _kept_strides(plan):
    """Strides of the result with the reduced dimensions put back as size 1."""
    strides, step = [], 1
    for size in reversed(plan.kept):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


__all__ = ["reduction", "Reduction"]
