"""Gradients of pointwise ops: one kernel for all inputs, and which of them are the incoming gradient itself."""

import functools

from . import dtypes
from .autograd import no_grad
from .op import (
    ENTRIES,
    OpNode,
    conform,
    sum_to,
)
from .plans import build_plan
from .storage import Meta, strided_meta
from .tensor import Tensor, make, new


class PointwiseNode(OpNode):
    """The node of a pointwise op: one kernel computes all wanted gradients."""

    __slots__ = ()

    def overload(self):
        return isinstance(self.plan.metas[-1], Meta)

    def _used(self):
        used: set = set()
        for parent, names in zip(self.next, self.op.dependence):
            if parent is not None:
                used |= names
        return used

    def kept(self):
        used = self._used()
        kept = [item for name, item in zip(self.op.needs, self.saved) if name in used]
        return (*kept, *self.storages) if "out" in used else kept

    def used(self, position):
        return self.op.needs[position] in self._used()

    def backward(self, gradient):
        plan = self.plan
        run = plan.backward.get(self.mask)
        if run is None:
            if plan.is_complex():  # the gradient of a complex op is other complex ops
                with no_grad():
                    return self.backward_recorded(gradient)
            run = plan.backward[self.mask] = _plan_backward(self.op, plan, self.next, self.saved)
        if gradient._m is not plan.out:
            gradient = _laid_out(gradient, plan.out)
        return run(gradient, self.saved)

    def backward_recorded(self, gradient):
        op, plan, node = self.op, self.plan, self
        saved = list(self.saved)
        if "out" in op.needs:
            tensor = new(Tensor)
            tensor._d, tensor._m, tensor._s, tensor._n = saved[op.needs.index("out")], plan.out, self.storages[0], self
            saved[op.needs.index("out")] = tensor
        _refuse_underived(op, node.next)
        fn = op.recorded_gradient or op.gradient
        if plan.is_complex():
            fn = functools.partial(op.complex_gradient, fn)
        gradients = fn(gradient, *saved)
        if not isinstance(gradients, tuple):
            gradients = (gradients,)
        found = []
        for k, parent in enumerate(node.next):
            value = gradients[k]
            if parent is None:
                found.append(None)
                continue
            m = plan.metas[k]
            if not isinstance(value, Tensor):
                value = ENTRIES["full_like"](gradient, value)
            if value._m.shape != plan.out.shape:
                value = ENTRIES["expand"](value, tuple(plan.out.shape))
            found.append(sum_to(value, m))
        return tuple(found)


def _laid_out(gradient, m):
    """A gradient as a kernel for results of meta ``m`` reads it."""
    if m.contiguous or gradient._m.shape != m.shape:
        return conform(gradient, m)
    return ENTRIES["copy_"](make(m.empty(m.numel, m.np), m), gradient)


def _refuse_underived(op, parents):
    for name, parent in zip(op.inputs, parents):
        if parent is not None and (op.gradient is None or name in op.no_gradient):
            raise NotImplementedError(
                f"the derivative for '{op.name}: {name}' is not implemented; detach() it if its gradient is not needed"
            )


def _plan_backward(op, plan, parents, saved):
    """A function ``(gradient, saved) -> gradients`` for the inputs that have a parent node."""
    out = plan.out
    mask = [parent is not None for parent in parents]
    _refuse_underived(op, parents)
    passed, outputs, kernel_outputs = [], [], []
    for k, wanted in enumerate(mask):
        m = plan.metas[k]
        through = wanted and (op.default_pass_through if plan.defaults else op.pass_through)[k]
        passed.append(through)
        if wanted and not through:
            direct = m.shape == out.shape
            result = strided_meta(m.dtype if direct else out.dtype, out.shape, out.strides, out.device)
            kernel_outputs.append((f"d_{op.inputs[k]}", result))
            outputs.append((k, result, None if direct else m))
        else:
            kernel_outputs.append(None)
    count = len(mask)
    through = [(k, None if plan.metas[k].shape == out.shape and plan.metas[k].dtype is out.dtype else plan.metas[k])
               for k in range(count) if passed[k]]  # fmt: skip
    if not outputs:
        return functools.partial(_pass_on, count, through)
    numbers, constants = [], {}
    inputs = [("grad_output", out)]
    order = []  # what of `saved` becomes a slot: arrays and numbers of `inputs` first
    late = []
    for position, (name, value) in enumerate(zip(op.needs, saved)):
        if name == "out":
            inputs.append(("out", out))
            order.append(f"saved[{position}]")
        elif name in op.inputs:
            m = plan.metas[op.inputs.index(name)]
            inputs.append((name, m))
            order.append(f"saved[{position}]" if isinstance(m, str) else f"saved[{position}]._d")
        elif name in op.static or plan.defaults:
            constants[name] = value
        else:
            numbers.append((name, "r" if isinstance(value, float) else "i"))
            late.append(f"saved[{position}]")
    compute = _backward_dtype(plan, out)
    inner = build_plan(
        op, f"{op.name}_backward", op.gradient, inputs, kernel_outputs, compute, tuple(out.shape), out.device,
        numbers, constants, order=["grad_output", *op.needs],
    )  # fmt: skip
    return _runner(inner, count, outputs, through, order, late)


def _backward_dtype(plan, out):
    d = out.dtype
    for m in plan.metas:
        if not isinstance(m, str):
            d = dtypes.promote(d, m.dtype)
    return d


def _pass_on(count, through, gradient, saved):
    found = [None] * count
    for k, m in through:
        found[k] = gradient if m is None else sum_to(gradient, m)
    return tuple(found)


_RUNNER = '''
def run(gradient, saved):
    {allocate}
    call(kernel, gradient._d, {slots}0, end)
    return ({results},)
'''


def _runner(plan, count, outputs, through, order, late):
    """Generated like the entries: no loops, no argument lists."""
    allocate, arrays, results = [], [], ["None"] * count
    names = {"call": plan.call, "kernel": plan.kernel, "end": plan.end, "geometry": plan.geometry, "new": new,
             "Tensor": Tensor, "sum_to": sum_to}  # fmt: skip
    for k, m, reduce_to in outputs:
        names[f"m{k}"], names[f"t{k}"] = m, reduce_to
        allocate += [f"d{k} = new(Tensor)", f"d{k}._m = m{k}", f"d{k}._s = d{k}._n = None",
                     f"d{k}._d = m{k}.empty({m.numel}, m{k}.np)"]  # fmt: skip
        arrays.append(f"d{k}._d")
        results[k] = f"d{k}" if reduce_to is None else f"sum_to(d{k}, t{k})"
    for k, reduce_to in through:
        names[f"t{k}"] = reduce_to
        results[k] = "gradient" if reduce_to is None else f"sum_to(gradient, t{k})"
    slots = order + arrays + late
    if plan.geometry is not None:
        slots.append("geometry")
    source = _RUNNER.format(
        allocate="; ".join(allocate), slots="".join(f"{s}, " for s in slots), results=", ".join(results)
    )
    exec(compile(source, "<backward>", "exec"), names)
    return names["run"]


# --- gradients that are the incoming one -------------------------------------------------------------------------


class _Probe:
    """Stands for a value in a trial run of a gradient's body, to see whether it returns a gradient as it came and what
    it is computed from: ``names``."""

    def __init__(self, *sources):
        self.names: frozenset = frozenset().union(*[s.names for s in sources if isinstance(s, _Probe)])

    def _other(self, *args):
        return _Probe(self, *args)

    def _times(self, other):
        return self if isinstance(other, (int, float)) and other == 1 else _Probe(self, other)

    __add__ = __radd__ = __sub__ = __rsub__ = __rtruediv__ = _other
    __mul__ = __rmul__ = __truediv__ = _times
    __neg__ = __pow__ = __rpow__ = __lt__ = __le__ = __gt__ = __ge__ = __abs__ = _other
    __eq__ = __ne__ = _other  # type: ignore[assignment]
    __and__ = __or__ = __xor__ = __invert__ = __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = _other
    __rand__ = __ror__ = _other
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self):
        raise _Branches

    _m = None  # words take it for a Tensor


class _Branches(Exception):
    pass


def dependence(op):
    """For every input, the names of what its gradient is computed from; all of them where the body has branches."""
    from .kernels.vocab import probing

    values = []
    for name in op.needs:
        probe = _Probe()
        probe.names = frozenset((name,))
        values.append(probe)
    with probing(_Probe):
        try:
            found = op.gradient(_Probe(), *values)
        except (_Branches, TypeError):
            return (frozenset(op.needs),) * len(op.inputs)
    found = found if isinstance(found, tuple) else (found,)
    return tuple(value.names if isinstance(value, _Probe) else frozenset() for value in found)


def pass_through(op, attributes):
    """For every input, whether the body of the gradient returns the incoming gradient itself, for these values of
    attributes."""
    from .kernels.vocab import probing

    gradient = _Probe()
    with probing(_Probe):
        try:
            found = op.gradient(gradient, *[attributes[name] if name in attributes else _Probe() for name in op.needs])
        except _Branches:
            return (False,) * len(op.inputs)
        except TypeError:
            return (False,) * len(op.inputs)
    found = found if isinstance(found, tuple) else (found,)
    if len(found) != len(op.inputs):
        raise TypeError(
            f"{op.name}.backward returns {len(found)} gradients for {len(op.inputs)} inputs ({', '.join(op.inputs)})"
        )
    return tuple(value is gradient for value in found)
