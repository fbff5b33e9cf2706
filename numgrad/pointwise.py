"""The pointwise form: one scalar function, applied element by element over broadcast operands.

The usual call is in the generated entry functions (`entries`). All else (numbers in unusual places, ndarrays, ``out=``,
the first call with a new combination of metas) goes through `_general`, which also makes the plans.
"""

import functools
import inspect
from typing import Any

import numpy as np

from . import config, dtypes, entries
from .autograd import is_grad_enabled, next_seq, switch
from .device import CPU, META
from .errors import DTypeError, no_complex_form, not_implemented_for
from .inplace import check_inplace, rebase, write_out, written
from .layout import (
    broadcast_shapes,
    is_dense,
    overlaps_itself,
    result_strides,
)  # fmt: skip
from .names import NUMBER_FIRST, absent, bound, meanings, warn_of_order
from .op import (
    ENTRIES,
    OPS,
    Op,
    as_operand,
    as_tensor_operand,
    attach,
    node_class_of,
    note_recorded,
    note_result,
    plain,
    same_device,
)
from .plans import build_plan
from .pointwise_gradient import PointwiseNode, dependence, pass_through
from .storage import meta, same_memory, strided_meta
from .tensor import Tensor, from_array, make, storage_of

_PLAN_LIMIT = 1 << 14


class Pointwise(Op):
    """An op given by a scalar function.

    ``result``: the dtype rule: "promote" (that of the operands), "float" (the same, integers becoming the default
    floating-point dtype), "bool" (computed in the promoted dtype, bool out). ``refuse``: kinds of dtypes that are
    an error ("b" bool, "i" integers, "f" floating point). ``check(name, dtypes)`` may raise for operands' dtypes.
    ``nonzero_divisor``: integers are refused where the last operand is 0. ``numbers_from``: the first operand that may
    be a Python number; -1 if all may. ``multiplied``: the operand that the only attribute is a factor of, which takes
    the factor in where it is complex. ``exact_out``: ``out`` must have the dtype of the result, as in PyTorch; others
    convert to it.
    """

    form = "pointwise"

    def __init__(
        self, fn, *, result="promote", refuse="", check=None, nonzero_divisor=False, numbers_from=0,
        inplace=True, multiplied=None, exact_out=False, **options,
    ):  # fmt: skip
        super().__init__(fn, **options)
        self.multiplied, self.exact_out = multiplied, exact_out
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
        return pass_through(self, {})

    @functools.cached_property
    def default_pass_through(self):
        """The same with the attributes' defaults."""
        return pass_through(self, self.attributes)

    @functools.cached_property
    def dependence(self):
        """For every input, the names that its gradient is computed from."""
        return dependence(self)

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
    if not all(map(dtypes.fits_slot, operands)):
        real = any(isinstance(value, float) or isinstance(value, Tensor) and value._m.dtype.kind in "fc" for value in operands)
        operands = [value if dtypes.fits_slot(value) else dtypes.slot_number(op.name, value, real) for value in operands]
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
    return [from_array(d.encode(np.array(value))) if type(value) is complex else value for value in operands]


def _attribute_values(op, attributes):
    values = []
    for name, value in zip(op.attributes, attributes):
        value = value.item() if isinstance(value, Tensor) else dtypes.python_number(value)
        if name not in op.static:
            if isinstance(value, bool):
                value = int(value)
            if not isinstance(value, (int, float)) and type(value) is not complex:
                raise TypeError(f"{op.name}(): argument '{name}' must be a number, not {type(value).__name__}")
            if not dtypes.fits_slot(value):
                raise RuntimeError(f"{op.name}(): argument '{name}': value {value} cannot be converted without overflow")
        values.append(value)
    return values


def _multiplied(op, operands, attributes):
    """(operands, attributes) of a call with a complex number among the attributes, whose slots hold real ones."""
    d = dtypes.result([(v._m.dtype, 2 if v._m.ndim else 1) if isinstance(v, Tensor) else (dtypes.of_python(v), 0) for v in operands])
    if op.multiplied is None or not d.is_complex:
        name = next(name for name, value in zip(op.attributes, attributes) if type(value) is complex)
        if name == "alpha":
            raise RuntimeError(
                f"{op.name}(): For {'non-complex' if d.is_floating_point else 'integral'} input tensors, argument alpha must not "
                f"be a {'complex' if d.is_floating_point else 'floating point'} number."
            )
        raise RuntimeError(
            f"{op.name}(): argument '{name}': value cannot be converted to type {'double' if d is dtypes.float64 else 'float'} "
            "without overflow, as it is complex"
        )
    place = op.inputs.index(op.multiplied)
    value, factor = operands[place], attributes[0]
    operands[place] = ENTRIES["mul"](value, factor) if isinstance(value, Tensor) else value * factor
    return _with_complex_numbers(operands), [*op.attributes.values()]


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


def _bound(op, name, inputs, attributes, options):
    """(inputs, attributes, out) of a call, ``options`` being what came under other names."""
    options = {other: value for other, value in options.items() if value is not absent and value is not None}
    out = options.pop("out", None)
    if options or any(value is absent for value in (*inputs, *attributes)):
        names = (*op.inputs, *op.attributes)
        if "_excess" in options:
            raise TypeError(f"{name}() takes {len(names)} positional arguments but more were given")
        defaults = {name: default for name, default in op.attributes.items() if default is not inspect.Parameter.empty}
        values = bound(name, dict(zip(names, (*inputs, *attributes))), options, meanings(name, names), defaults)
        inputs, attributes = tuple([values[n] for n in op.inputs]), tuple([values[n] for n in op.attributes])
    if op.name in NUMBER_FIRST and isinstance(attributes[0], Tensor) and not isinstance(inputs[1], Tensor):
        warn_of_order(name, NUMBER_FIRST[op.name])
        inputs, attributes = (inputs[0], *inputs[2:], attributes[0]), (inputs[1],)
    return inputs, attributes, out


def _general(op, inputs, attributes, options):
    inputs, attributes, out = _bound(op, op.name, inputs, attributes, options)
    operands = _operands(op, inputs)
    if any(isinstance(value, Tensor) and value._m.batched for value in operands):
        return ENTRIES["batched_pointwise"](op, operands, attributes, out)
    attributes = _attribute_values(op, attributes)
    if complex in map(type, attributes):
        operands, attributes = _multiplied(op, operands, attributes)
    plan = _find_plan(op, operands, attributes, False)
    m = plan.out
    tensor = make(m.empty(m.numel, m.np), m)
    _call(op, plan, operands, attributes, tensor._d)
    nodes = [value._n if isinstance(value, Tensor) else None for value in operands]
    if any(n is not None for n in nodes) and (not switch.anywhere or is_grad_enabled()) and m.dtype.differentiable:
        tensor._n = _record(op, plan, operands, attributes, nodes, tensor)
    if switch.anywhere:
        note_result(tensor)
    if out is None:
        return tensor
    if op.exact_out and isinstance(out, Tensor) and out._m.dtype not in (m.dtype, operands[0]._m.dtype):  # complex abs
        raise RuntimeError(
            f"{op.name}: Found dtype {out._m.dtype.scalar_type} but expected {m.dtype.scalar_type}; convert the result with .to()"
        )
    return write_out(op.name, tensor, out)


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
        note_recorded(node, op)
    return node


def _duplicate(tensor):
    """A copy with the same strides, gaps included: plans are made for the operands' metas."""
    m = tensor._m
    if overlaps_itself(m.shape, m.strides):  # an expanded operand: its memory as it lies there
        flat = make(tensor._d[: m.span], meta(m.dtype, (m.span,), m.device))
        return make(ENTRIES["clone"](flat)._d, m)
    return ENTRIES["copy_"](make(m.empty(m.span, m.np), m), plain(tensor))


def _inplace(op, inputs, attributes, options):
    name = f"{op.name}_"
    inputs, attributes, _ = _bound(op, name, inputs, attributes, options)
    target = as_tensor_operand(name, inputs[0], op.inputs[0])
    if any(isinstance(value, Tensor) and value._m.batched for value in inputs):
        return ENTRIES["batched_inplace"](op, inputs, attributes)
    check_inplace(name, target, *inputs[1:])
    operands = _operands(op, (target, *inputs[1:]))
    attributes = _attribute_values(op, attributes)
    if complex in map(type, attributes):
        operands, attributes = _multiplied(op, operands, attributes)
    plan = _find_plan(op, operands, attributes, True)
    nodes = [value._n if isinstance(value, Tensor) else None for value in operands]
    track = any(n is not None for n in nodes) and (not switch.anywhere or is_grad_enabled())
    if track and not target._m.dtype.differentiable:
        track = False
    old = list(operands)
    for k, value in enumerate(operands):  # other views of the target's memory
        if isinstance(value, Tensor) and value is not target and same_memory(value._s, target._s):
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
    return target


# --- plans -------------------------------------------------------------------------------------------------------


# What is computed in uint16, uint32 and uint64, and in the 8-bit formats; PyTorch has no kernels for other ops.
_BAREBONES = {
    "i": {"mul", "eq", "ne", "where", "bitwise_and", "bitwise_or", "bitwise_xor", "isnan", "isinf", "isfinite"},
    "f": {"abs", "eq", "ne", "where", "isclose", "isnan", "isinf", "isfinite"},
}


def result_dtypes(op, operands):
    """(compute dtype, result dtype) by the op's rule; a RuntimeError for refused dtypes."""
    seen = []
    for value in operands:
        if isinstance(value, Tensor):
            seen.append((value._m.dtype, 2 if value._m.ndim else 1))
        else:
            seen.append((dtypes.of_python(value), 0))
    d = dtypes.result(seen[1:] if op.name == "where" else seen)  # the condition of a choice does not take part
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
    if d.barebones and op.name not in _BAREBONES[d.kind]:
        raise not_implemented_for(op.name, d)
    return d, (dtypes.bool_ if op.result == "bool" else d.to_real() if op.complex_to_real else d)


def _make_plan(op, operands, attributes, inplace=False):
    compute, result = result_dtypes(op, operands)
    for name, value in zip(op.attributes, attributes):
        if isinstance(value, float) and name not in op.static and not compute.differentiable:
            raise RuntimeError(
                f"{op.name}: For integral input tensors, argument {name} must not be a floating point number, got "
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
    plan.guarded = op.nonzero_divisor and not compute.differentiable and device is not META
    plan.metas = tuple(m if m is not None else letter for m, (_, letter) in zip(metas, inputs))
    # Gradients of results with gaps are row-major.
    plan.out = out if is_dense(out.shape, out.strides) else meta(out.dtype, out.shape, device)
    return plan


def forget_plans():
    """After a change of the number of threads: all plans are made again."""
    for op in OPS.values():
        if isinstance(op, Pointwise):
            op.forget_plans()
        elif getattr(op, "plans", None) is not None:
            op.plans.clear()


config._on_change.append(forget_plans)


__all__ = ["pointwise", "pointwise_word"]
