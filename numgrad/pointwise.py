"""The pointwise form: one scalar function, applied element by element over broadcast operands.

The usual call is in the generated entry functions (`entries`). All else (numbers in unusual places, ndarrays, ``out=``,
the first call with a new combination of metas) goes through `_general`, which also makes the plans.
"""

import functools
from typing import Any

import numpy as np

from . import config, dtypes, entries
from .autograd import Node, is_grad_enabled, next_seq, no_grad, switch
from .device import CPU
from .errors import DTypeError, no_complex_form
from .inplace import check_inplace, rebase, write_out, written
from .kernels import emit, jit
from .layout import (
    broadcast_shapes,
    broadcast_strides,
    collapse,
    contiguous_strides,
    inner_to_outer,
    is_dense,
    overlaps_itself,
    result_strides,
    same_places,
)  # fmt: skip
from .op import (
    ENTRIES,
    OPS,
    Op,
    as_operand,
    as_tensor_operand,
    attach,
    cast,
    check_forward,
    conform,
    node_class_of,
    note_anomaly,
    plain,
    same_device,
    sum_to,
)
from .storage import Meta, meta, strided_meta
from .tensor import Tensor, from_array, make, new, storage_of

_PLAN_LIMIT = 1 << 14
_PARALLEL_FROM = 1 << 16  # elements; below, entering the thread pool costs more than it saves
_GRAIN = 1 << 12


class Plan:
    """How an op runs for one combination of metas: kernel, caller, result, range.

    ``defaults``: the attributes have their default values, which are constants of the kernel; ``guarded``: the
    divisors must be looked at before the kernel runs.
    """

    __slots__ = ("call", "kernel", "out", "end", "geometry", "backward", "metas", "defaults", "guarded")

    def is_complex(self):
        """Whether an operand or the result is complex."""
        return any(not isinstance(m, str) and m.dtype.is_complex for m in (*self.metas, self.out))


class Pointwise(Op):
    """An op given by a scalar function.

    ``result``: the dtype rule: "promote" (that of the operands), "float" (the same, integers becoming the default
    floating-point dtype), "bool" (computed in the promoted dtype, bool out). ``refuse``: kinds of dtypes that are
    an error ("b" bool, "i" integers, "f" floating point). ``check(name, dtypes)`` may raise for operands' dtypes.
    ``nonzero_divisor``: integers are refused where the last operand is 0. ``numbers_from``: the first operand that may
    be a Python number; -1 if all may.
    """

    form = "pointwise"

    def __init__(
        self, fn, *, result="promote", refuse="", check=None, nonzero_divisor=False, numbers_from=0,
        inplace=True, **options,
    ):  # fmt: skip
        super().__init__(fn, **options)
        self.result, self.refuse, self.check, self.allows_inplace = result, refuse, check, inplace
        self.nonzero_divisor, self.numbers_from = nonzero_divisor, numbers_from
        self.integer_fn = None
        # Set by `complexes` for the ops that take complex operands: the scalar function for them, how the gradient
        # is found from the one for reals, and whether the result is real.
        self.complex_fn: Any = None
        self.complex_gradient: Any = None
        self.complex_to_real = False
        self.static = [
            name for name, default in self.attributes.items()
            if isinstance(default, (str, bool)) or default is None
        ]  # fmt: skip
        # Plans by metas; of ops with two operands, those for a number as the second one by the first one's meta.
        self.plans: dict = {}
        self.number_plans: dict = {float: {}, int: {}}
        self.inplace_plans: dict = {}
        self.inplace_number_plans: dict = {float: {}, int: {}}
        self.kernels: dict = {}
        self.node_class = node_class_of(self, PointwiseNode)

    @functools.cached_property
    def pass_through(self):
        """For every input, whether its gradient is the incoming one, whatever the attributes."""
        return _pass_through(self, {})

    @functools.cached_property
    def default_pass_through(self):
        """The same with the attributes' defaults."""
        return _pass_through(self, self.attributes)

    @functools.cached_property
    def dependence(self):
        """For every input, the names that its gradient is computed from."""
        return _dependence(self)

    def for_integers(self, fn):
        """Decorator: the scalar function for integers and bool, where it is another one than for floats."""
        self.integer_fn = fn
        return self.entry

    def forget_plans(self):
        """All plans are made again."""
        for plans in (self.plans, self.inplace_plans, *self.number_plans.values(), *self.inplace_number_plans.values()):
            plans.clear()


def pointwise(fn=None, **options):
    """Decorator: ``fn(tensors..., *, attributes...)``, a scalar function over the kernel vocabulary, becomes an op."""
    if fn is None:
        return functools.partial(pointwise, **options)
    op = Pointwise(fn, **options)
    entry = attach(op, entries.generate(op, _general))
    entry.for_integers = op.for_integers
    if op.allows_inplace and op.inputs:
        op.inplace_entry = entries.generate_inplace(op, _inplace)
    return entry


def pointwise_word(word, **options):
    """An op whose body is one word of the vocabulary, as ``exp`` is: named after it unless ``name`` is given."""
    from .kernels.vocab import WORDS

    name = options.get("name", word)
    two = word in ("atan2", "fmod", "hypot", "pow", "copysign", "fmin", "fmax", "minimum", "maximum")
    body = _two_inputs if two else _one_input
    fn = type(body)(body.__code__, {"__builtins__": __builtins__, "_word": WORDS[word]}, name)
    fn.__module__, fn.__doc__ = options.pop("module", __name__), options.pop("doc", None)
    return pointwise(fn, **options)


def _word(*args) -> Any:
    """Stands for the word in the globals that `pointwise_word` gives."""


def _one_input(input):
    return _word(input)


def _two_inputs(input, other):
    return _word(input, other)


# --- the general path --------------------------------------------------------------------------------------------


def _operands(op, inputs):
    operands = []
    device = None
    for k, value in enumerate(inputs):
        if not isinstance(value, Tensor):
            value = as_operand(op.name, value, k)
        elif device is None:
            device = value._m.device
        operands.append(value)
    for k, value in enumerate(operands[: max(op.numbers_from, 0)]):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{op.name}(): argument '{op.inputs[k]}' (position {k + 1}) must be Tensor, not {type(value).__name__}"
                "; make a tensor of it with numgrad.tensor(...)"
            )
    if complex in map(type, operands):
        operands = _with_complex_numbers(operands)
    tensors = [value for value in operands if isinstance(value, Tensor)]
    if not tensors:
        if op.numbers_from >= 0:
            raise TypeError(
                f"{op.name}(): argument '{op.inputs[0]}' (position 1) must be Tensor, not {type(inputs[0]).__name__}; "
                "one of the arguments at least must be a tensor"
            )
        operands[0] = from_array(np.asarray(operands[0], dtypes.of_python(operands[0]).np))
        tensors = operands[:1]
    if any(value._m.device is not CPU for value in tensors):
        device = same_device(op.name, tensors)
        operands = [
            value.to(device) if isinstance(value, Tensor) and value._m.device != device else value for value in operands
        ]
    return operands


def _with_complex_numbers(operands):
    """Python's complex numbers as 0-d tensors: a kernel's slot holds one real number."""
    levels = [
        (value._m.dtype, 2 if value._m.ndim else 1) if isinstance(value, Tensor) else (dtypes.of_python(value), 0)
        for value in operands
    ]
    d = dtypes.result(levels)
    return [from_array(np.array(value, d.np)) if type(value) is complex else value for value in operands]


def _attribute_values(op, attributes):
    values = []
    for name, value in zip(op.attributes, attributes):
        if isinstance(value, (Tensor, np.generic)):
            value = value.item()
        if name not in op.static:
            if isinstance(value, bool):
                value = int(value)
            if not isinstance(value, (int, float)):
                raise TypeError(f"{op.name}(): argument '{name}' must be a number, not {type(value).__name__}")
        values.append(value)
    return values


def _have_defaults(op, attributes):
    return all(value is default for value, default in zip(attributes, op.attributes.values()))


def _place(op, operands, attributes, plans, number_plans):
    """The table and the key under which the generated entry looks for the plan."""
    metas = [value._m if isinstance(value, Tensor) else type(value) for value in operands]
    if not _have_defaults(op, attributes):
        numeric = [type(v) for name, v in zip(op.attributes, attributes) if name not in op.static]
        static = [v for name, v in zip(op.attributes, attributes) if name in op.static]
        return plans, (*metas, *numeric, *static)
    if len(metas) == 2 and metas[1] in number_plans and isinstance(operands[0], Tensor):
        return number_plans[metas[1]], metas[0]
    if len(metas) == 1 or (len(metas) == 2 and metas[0] is metas[1]):
        return plans, metas[0]
    return plans, tuple(metas)


def _find_plan(op, operands, attributes, inplace):
    if inplace:
        plans, key = _place(op, operands, attributes, op.inplace_plans, op.inplace_number_plans)
    else:
        plans, key = _place(op, operands, attributes, op.plans, op.number_plans)
    plan = plans.get(key)
    if plan is None:
        plan = _make_plan(op, operands, attributes, inplace)
        if len(plans) > _PLAN_LIMIT:
            plans.clear()
        plans[key] = plan
    if plan.guarded:
        _refuse_zero_divisor(op.name, operands[-1], plan)
    return plan


def _refuse_zero_divisor(name, divisor, plan):
    values = divisor._host() if isinstance(divisor, Tensor) else divisor
    if plan.out.numel and not np.all(values):
        raise RuntimeError(f"{name}: ZeroDivisionError: an integer divisor is 0")


def _general(op, inputs, attributes, out):
    operands = _operands(op, inputs)
    if any(isinstance(value, Tensor) and value._m.batched for value in operands):
        return ENTRIES["batched_pointwise"](op, operands, attributes, out)
    attributes = _attribute_values(op, attributes)
    plan = _find_plan(op, operands, attributes, False)
    m = plan.out
    tensor = make(m.empty(m.numel, m.np), m)
    _call(op, plan, operands, attributes, tensor._d)
    nodes = [value._n if isinstance(value, Tensor) else None for value in operands]
    if any(n is not None for n in nodes) and (not switch.anywhere or is_grad_enabled()) and m.dtype.differentiable:
        tensor._n = _record(op, plan, operands, attributes, nodes, tensor)
    if switch.anywhere:
        check_forward(op.name, tensor)
    return tensor if out is None else write_out(op.name, tensor, out)


def _call(op, plan, operands, attributes, *results):
    slots = [
        value._d if isinstance(value, Tensor) else (int(value) if isinstance(value, bool) else value)
        for value in operands
    ]
    slots += results
    slots += [v for name, v in zip(op.attributes, attributes) if name not in op.static]
    if plan.geometry is not None:
        slots.append(plan.geometry)
    plan.call(plan.kernel, *slots, 0, plan.end)


def _record(op, plan, operands, attributes, nodes, out):
    node = op.node_class()
    node.seq = next_seq()
    node.plan = plan
    node.hooks = None
    node.next = tuple(nodes)
    node.mask = sum(1 << k for k, n in enumerate(nodes) if n is not None)
    values = dict(zip(op.attributes, attributes))
    saved, storages = [], []
    for name in op.needs:
        if name == "out":
            saved.append(out._d)
            storages.append(storage_of(out))
        elif name in op.inputs:
            value = operands[op.inputs.index(name)]
            saved.append(int(value) if isinstance(value, bool) else value)
        elif name.endswith("_meta"):
            value = operands[op.inputs.index(name[:-5])]
            saved.append(value._m if isinstance(value, Tensor) else None)
        else:
            saved.append(values[name])
    node.saved, node.storages = tuple(saved), storages
    if switch.anywhere:
        note_anomaly(node, op)
    return node


def _duplicate(tensor):
    """A copy with the same strides, gaps included: plans are made for the operands' metas."""
    m = tensor._m
    if overlaps_itself(m.shape, m.strides):  # an expanded operand: its memory as it lies there
        flat = make(tensor._d[: m.span], meta(m.dtype, (m.span,), m.device))
        return make(ENTRIES["clone"](flat)._d, m)
    return ENTRIES["copy_"](make(m.empty(m.span, m.np), m), plain(tensor))


def _inplace(op, inputs, attributes):
    name = f"{op.name}_"
    target = as_tensor_operand(name, inputs[0], op.inputs[0])
    if any(isinstance(value, Tensor) and value._m.batched for value in inputs):
        return ENTRIES["batched_inplace"](op, inputs, attributes)
    check_inplace(name, target)
    operands = _operands(op, (target, *inputs[1:]))
    attributes = _attribute_values(op, attributes)
    plan = _find_plan(op, operands, attributes, True)
    nodes = [value._n if isinstance(value, Tensor) else None for value in operands]
    track = any(n is not None for n in nodes) and (not switch.anywhere or is_grad_enabled())
    if track and not target._m.dtype.differentiable:
        track = False
    old = list(operands)
    for k, value in enumerate(operands):  # other views of the target's memory
        if isinstance(value, Tensor) and value is not target and value._s is not None and value._s is target._s:
            operands[k] = _duplicate(value)
    if track and op.inputs[0] in op.needs:
        # The gradient needs the value that is about to be overwritten.
        keep = _duplicate(target)
        keep._n = nodes[0]
        old = [keep if value is target else value for value in old]
    # Of a strided target the result's slot is the target again.
    _call(op, plan, operands, attributes, *([] if plan.geometry is None else [target._d]))
    written(target, name)
    if track:
        kept = target
        if "out" in op.needs and plan.out is not target._m:
            kept = ENTRIES["contiguous_copy"](plain(target))
        rebase(target, _record(op, plan, old, attributes, nodes, kept))
    if switch.anywhere:
        check_forward(name, target)
    return target


# --- plans -------------------------------------------------------------------------------------------------------


def result_dtypes(op, operands):
    """(compute dtype, result dtype) by the op's rule; a RuntimeError for refused dtypes."""
    seen = []
    for value in operands:
        if isinstance(value, Tensor):
            seen.append((value._m.dtype, 2 if value._m.ndim else 1))
        else:
            seen.append((dtypes.of_python(value), 0))
    d = dtypes.result(seen)
    if op.check is not None:
        op.check(op.name, [d for d, _ in seen])
    if d.kind == "c" and op.complex_fn is None:
        raise no_complex_form(op.name, repr(d))
    if d.kind in op.refuse:
        raise DTypeError(
            f'"{op.name}" is not supported for dtype {d!r}; convert the operands first, for example with .float()'
        )
    if op.result == "float" and not d.differentiable:
        d = dtypes.get_default_dtype()
    return d, (dtypes.bool_ if op.result == "bool" else d.to_real() if op.complex_to_real else d)


def _make_plan(op, operands, attributes, inplace=False):
    compute, result = result_dtypes(op, operands)
    for name, value in zip(op.attributes, attributes):
        if isinstance(value, float) and name not in op.static and not compute.differentiable:
            raise RuntimeError(
                f"{op.name}: for integral input tensors, argument {name} must not be a floating point number, got "
                f"{value}; pass an int or convert the tensors with .float() first"
            )
    metas = [value._m if isinstance(value, Tensor) else None for value in operands]
    shape = broadcast_shapes(op.name, *[m.shape for m in metas if m is not None])
    device = next(m.device for m in metas if m is not None)
    if inplace:
        target = metas[0]
        if compute.is_complex and op.complex_to_real:
            raise RuntimeError(f"In-place {op.name} is not supported for complex tensors; its result is real")
        if shape != target.shape:
            raise RuntimeError(
                f"{op.name}_: output with shape {list(target.shape)} doesn't match the broadcast shape {list(shape)}"
            )
        if not dtypes.can_cast(result, target.dtype):
            raise RuntimeError(
                f"{op.name}_: result type {result!r} can't be cast to the desired output type {target.dtype!r}"
            )
        out = target
    else:
        given = [(m.shape, m.strides) for m in metas if m is not None]
        out = strided_meta(result, shape, result_strides(shape, given), device)
    inputs = []
    for name, value in zip(op.inputs, operands):
        if isinstance(value, Tensor):
            inputs.append((name, value._m))
        else:
            inputs.append((name, "r" if isinstance(value, float) else "i"))
    numbers, constants = [], {}
    defaults = _have_defaults(op, attributes)
    for name, value in zip(op.attributes, attributes):
        if name not in op.static:
            numbers.append((name, "r" if isinstance(value, float) else "i"))
        if name in op.static or defaults:
            constants[name] = value  # the slots of numbers stay, so that the entry need not distinguish
    fn = op.integer_fn if op.integer_fn is not None and not compute.differentiable else op.fn
    if compute.kind == "c":
        fn = op.complex_fn
    plan = build_plan(
        op, op.name, fn, inputs, [("out", out)], compute, shape, device, numbers, constants, inplace=inplace
    )
    plan.defaults = defaults
    plan.guarded = op.nonzero_divisor and not compute.differentiable
    plan.metas = tuple(m if m is not None else letter for m, (_, letter) in zip(metas, inputs))
    # Gradients of results with gaps are row-major.
    plan.out = out if is_dense(out.shape, out.strides) else meta(out.dtype, out.shape, device)
    return plan


def _lengthened(sizes, steps):
    """The sizes and strides of an iteration space, its dimensions exchanged if the inner loop would be too short and
    the result, the last operand, has no two elements in one place, whose order would matter."""
    last = len(sizes) - 1
    if sizes[last] >= _SHORT or max(sizes) < 2 * sizes[last] or overlaps_itself(sizes, steps[-1]):
        return sizes, steps
    best = min(range(last + 1), key=lambda axis: (sizes[axis] < _SHORT, max(row[axis] for row in steps), -sizes[axis]))
    order = [axis for axis in range(last + 1) if axis != best] + [best]
    return tuple(sizes[axis] for axis in order), [tuple(row[axis] for axis in order) for row in steps]


_SHORT = 16  # elements below which the turns of an inner loop cost more than what strides do


def build_plan(op, name, fn, inputs, outputs, compute, shape, device, numbers=(), constants=None, inplace=False,
               order=None):  # fmt: skip
    """The plan that runs scalar function ``fn`` over ``shape``.

    ``inputs``: (name, meta or letter of a number), ``outputs``: (name, meta) or None.
    """
    wanted = [output for output in outputs if output is not None]
    numel = 1
    for size in shape:
        numel *= size
    layout = wanted[0][1].strides if wanted and wanted[0][1].shape == shape else contiguous_strides(shape)

    def alike(m):
        return m.shape == shape and (numel == 0 or same_places(shape, m.strides, layout))

    # One flat loop over memory where all lie in it alike, without gaps.
    strided = numel > 0 and not is_dense(shape, layout)
    described = []
    for arg, m in inputs:
        if isinstance(m, str):
            described.append((arg, m, None))
        elif alike(m):
            described.append((arg, "v", m.np.type))
        elif m.numel == 1 and not (inplace and arg == inputs[0][0]):
            described.append((arg, "p", m.np.type))
        else:
            strided = True
            break
    if not all(alike(m) for _, m in wanted):
        strided = True
    plan = Plan()
    plan.backward = {}
    plan.defaults = plan.guarded = False
    out_types = [None if o is None else (o[0], o[1].np.type) for o in outputs]
    aliases = ()
    if strided:
        described = [(arg, m, None) if isinstance(m, str) else (arg, "s", m.np.type) for arg, m in inputs]
        arrays = [broadcast_strides(m.shape, m.strides, shape) for _, m in inputs if not isinstance(m, str)]
        arrays += [broadcast_strides(m.shape, m.strides, shape) for _, m in wanted]
        axes = inner_to_outer(shape, arrays[-1])
        sizes, steps = collapse(
            tuple(shape[axis] for axis in axes), [tuple(strides[axis] for axis in axes) for strides in arrays]
        )
        if device.type != "cuda":
            sizes, steps = _lengthened(sizes, steps)
        plan.geometry = np.array([len(sizes), *sizes, *[step for row in steps for step in row]], np.int64)
        plan.end = 0 if numel == 0 else numel // sizes[-1]
        work = sizes[-1]
    else:
        if inplace:
            aliases = ((0, 0),)
        plan.geometry = None
        plan.end = numel
        work = 1
    T = compute.compute
    key = (name, tuple(described), tuple(out_types), T, strided, aliases, tuple(numbers),
           tuple((constants or {}).items()), device.type)  # fmt: skip
    kernel = op.kernels.get(key)
    if kernel is None:
        make_kernel = emit.pointwise
        if device.type == "cuda":
            from .kernels import cuda

            make_kernel = cuda.pointwise
        kernel = op.kernels[key] = make_kernel(
            name, fn, described, out_types, T, strided, aliases, list(numbers), constants, order
        )
    plan.kernel = kernel
    slots = len(inputs) + len(wanted) - len(aliases) + len(numbers) + strided
    plan.call = caller(slots, plan.end, work, device)
    plan.out = wanted[0][1] if wanted else None
    plan.metas = ()
    return plan


def caller(slots, end, work, device):
    """The function that calls a kernel with ``slots`` slots over a range of ``end`` units of ``work`` elements:
    serial, over threads where that pays, or a launch on a CUDA device."""
    if device.type == "cuda":
        from .kernels import cuda

        return cuda.caller(slots, work)
    if config.threads > 1 and end > 1 and end * work >= _PARALLEL_FROM and not config.forked:
        run = jit.caller(slots, parallel=True)
        parts, grain = config.threads, max(1, _GRAIN // max(work, 1))
        return functools.partial(_in_parallel, run, parts, grain)
    return jit.caller(slots)


def call_table(kernel, table, own, shared, device, split=True):
    """Run a pointwise kernel on every row of ``table``, in one call: ``own`` slots and the number of elements each;
    ``shared`` lists the slots after those.

    ``split``: the rows may share the threads, where that pays.
    """
    if device.type == "cuda":
        from .kernels import cuda

        cuda.call_table(kernel, table, own, shared)
        return
    parts = 1
    if split and config.threads > 1 and not config.forked and sum(table[own :: own + 1]) >= _PARALLEL_FROM:
        parts = config.threads
    jit.call_table(kernel, table, own, shared, parts)


def _in_parallel(run, parts, grain, *arguments):
    run(*arguments, parts, grain)


def forget_plans():
    """After a change of the number of threads: all plans are made again."""
    for op in OPS.values():
        if isinstance(op, Pointwise):
            op.forget_plans()
        elif getattr(op, "plans", None) is not None:
            op.plans.clear()


config._on_change.append(forget_plans)


# --- backward ----------------------------------------------------------------------------------------------------


class PointwiseNode(Node):
    """The node of a pointwise op: one kernel computes all wanted gradients."""

    __slots__ = ()

    def overload(self):
        return isinstance(self.plan.metas[-1], Meta)

    def kept(self):
        op = self.op
        used: set = set()
        for parent, names in zip(self.next, op.dependence):
            if parent is not None:
                used |= names
        kept = [item for name, item in zip(op.needs, self.saved) if name in used]
        return (*kept, *self.storages) if "out" in used else kept

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
            raise RuntimeError(
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


def _dependence(op):
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


def _pass_through(op, attributes):
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


__all__ = ["pointwise", "pointwise_word", "build_plan", "Meta", "cast"]
