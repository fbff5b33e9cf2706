"""The op table: what an op is, how it is recorded, and what is installed from it.

A call of an op is check, run, record. The forms of an op differ in how they run: `pointwise` (this layer's
``pointwise.py``), `reduction`, `rowwise` and, here, `structured`, whose body is a function over Tensors that
launches kernels of its own and whose gradient is stated in other ops.
"""

import functools
import inspect
import re
import threading
import traceback
import types
import weakref
from typing import Any

import numpy as np

from . import autograd, dtypes
from .autograd import Leaf, Node, is_grad_enabled, next_seq, switch
from .device import CPU
from .errors import DTypeError
from .kernels.vocab import WORDS
from .layout import Size, overlaps_itself
from .storage import Meta, Storage, meta, strided_meta
from .tensor import Tensor, address, alias, empty_tensor, from_array, make, new, storage_of

OPS: dict = {}  # name -> Op, in order of definition
ENTRIES: dict = {}  # name -> the function of an op, a composite or a method, for use across layers
FUNCTIONS: dict = {}  # name -> function: composites over ops, installed beside them
FOLLOWERS: list = []  # called with every op that is defined from then on


class Op:
    """One row of the table.

    ``inputs`` are the tensor parameters in order, ``attributes`` the plain ones with their defaults; ``needs``
    names what backward asked to be saved (inputs, attributes, ``out``, ``<input>_meta``); ``reference`` is a NumPy
    function with the same arguments and ``domain`` the interval its float inputs are tested on. ``no_gradient``
    names inputs that have no derivative; ``grad_name`` is how ``grad_fn`` prints, if not by the op's name, and a pair
    of names where PyTorch has two functions: for a number and a tensor as last operand, for all dimensions and some;
    ``differs``: the reference has other special values than PyTorch, which numgrad follows.
    """

    form = "op"

    def __init__(self, fn, *, name=None, reference=None, domain=(-3.0, 3.0), cases=None, install=("ng", "Tensor"),
                 no_gradient=(), differs=False, grad_name=None):  # fmt: skip
        self.fn, self.name, self.__doc__ = fn, name or fn.__name__, fn.__doc__
        parameters = inspect.signature(fn).parameters.values()
        self.inputs = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.attributes = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.reference, self.domain, self.cases, self.install = reference, domain, cases, install
        self.no_gradient, self.differs = no_gradient, differs
        self.gradient: Any = None
        self.recorded_gradient: Any = None
        self.needs: list[str] = []
        self.grad_name = grad_name or "".join(map(str.capitalize, re.findall("[a-z]+[0-9]*", self.name))) + "Backward0"
        if self.name in OPS:
            forget_kernels(OPS[self.name])
        OPS[self.name] = self

    def backward(self, fn):
        """Decorator: the gradient. Its first parameter is the gradient of the output; the names asked for after it
        are what is saved."""
        _, *self.needs = inspect.signature(fn).parameters
        allowed = {"out", *self.inputs, *self.attributes, *(f"{name}_meta" for name in self.inputs), *self.extra_saved()}
        unknown = [name for name in self.needs if name not in allowed]
        if unknown:
            raise TypeError(
                f"{self.name}.backward asks for {unknown}; it may ask for the gradient first, then any of {sorted(allowed)}"
            )
        fn.__name__ = f"{self.name}_backward"
        self.gradient = fn
        self.prepare_backward()
        return self.entry

    def backward_as_ops(self, fn):
        """Decorator: the gradient as a function over Tensors, for `create_graph`, where `backward`'s body has loops
        or branches. It takes the same arguments."""
        fn.__name__ = f"{self.name}_backward_as_ops"
        self.recorded_gradient = fn
        return self.entry

    def extra_saved(self):
        return ()

    def prepare_backward(self):
        """Called when the gradient is known."""

    def __repr__(self):
        return f"<{self.form} op {self.name}({', '.join(self.inputs)})>"


def forget_kernels(op):
    """A redefinition of an op (in a notebook, say) must not find the old one's plans."""
    forget = getattr(op, "forget_plans", None)
    if forget is not None:
        forget()
    elif getattr(op, "plans", None) is not None:
        op.plans.clear()


def deferred(name, source, names):
    """A function compiled from the text that ``source()`` gives, at its first call: importing compiles none of them.

    ``names`` are its globals; ``entry.build()`` compiles it now, for those who want its signature.
    """

    def build():
        with BUILDING:
            made_for = names["_entry"]
            if made_for.__code__ is _unbuilt.__code__:
                scratch = dict(names)
                exec(compile(source(), f"<entry of {name}>", "exec"), scratch)
                made = scratch[name]
                made_for.__defaults__, made_for.__kwdefaults__ = made.__defaults__, made.__kwdefaults__
                made_for.__code__ = made.__code__
        return made_for

    names["_build"] = build
    names.setdefault("__builtins__", __builtins__)
    names["_entry"] = entry = types.FunctionType(_unbuilt.__code__, names, name)
    entry.build = build
    return entry


BUILDING = threading.RLock()  # held by those who exchange the code of an entry


def _build() -> Any:
    """Stands for the function of that name in the globals that `deferred` gives."""


def _unbuilt(*args, **kwargs):
    return _build()(*args, **kwargs)


def attach(op, entry):
    """Make ``entry`` the op's public function: with ``.backward`` to decorate the gradient with, and ``.op``."""
    entry.op, entry.backward, entry.backward_as_ops = op, op.backward, op.backward_as_ops
    entry.__name__ = entry.__qualname__ = op.name
    entry.__doc__ = op.__doc__
    entry.__module__ = op.fn.__module__
    op.entry = ENTRIES[op.name] = entry
    if op.name in WORDS:
        WORDS[op.name].tensor_op = entry
    for follow in FOLLOWERS:
        follow(op)
    return entry


# --- operands ----------------------------------------------------------------------------------------------------


def as_operand(op, value, k=0):
    """A Tensor as it is, numbers as Python numbers, ndarrays as Tensors; a TypeError in the name of ``op``."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return from_array(value)
    raise TypeError(
        f"{op}(): argument {k + 1} must be Tensor or a number, not {type(value).__name__}; make a tensor of it with "
        "numgrad.tensor(...)"
    )


def as_tensor_operand(op, value, name):
    """A Tensor as it is, ndarrays as Tensors; a TypeError in the name of ``op`` otherwise."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return from_array(value)
    raise TypeError(
        f"{op}(): argument '{name}' must be Tensor, not {type(value).__name__}; make a tensor of it with numgrad.tensor(...)"
    )


def same_device(op, tensors):
    """The common device; 0-d CPU tensors may join any."""
    device = None
    for tensor in tensors:
        m = tensor._m
        if device is None or (device is CPU and m.device is not CPU):
            device = m.device if m.ndim or device is None else device
    for tensor in tensors:
        if tensor._m.device != device and tensor._m.ndim:
            raise RuntimeError(
                f"{op}: Expected all tensors to be on the same device, but found at least two devices, {device} and "
                f"{tensor._m.device}; move one with .to('{device}')"
            )
    return device


def cast(tensor, d):
    """The tensor in dtype ``d``."""
    return tensor if tensor._m.dtype is d else ENTRIES["to_dtype"](tensor, d)


def dense(tensor):
    """The tensor, contiguous."""
    return tensor if tensor._m.contiguous else ENTRIES["contiguous"](tensor)


def conform(gradient, m: Meta):
    """A gradient contiguous and of the dtype that a kernel for meta ``m`` expects."""
    if gradient._m.dtype is not m.dtype:
        gradient = cast(gradient, m.dtype)
    return dense(gradient)


def sum_to(gradient, m: Meta):
    """A gradient summed over the dimensions that broadcasting repeated, in shape and dtype of ``m``."""
    if gradient._m.shape != m.shape:
        lead = gradient._m.ndim - m.ndim
        dims = [*range(lead)]
        dims += [k + lead for k, size in enumerate(m.shape) if size == 1 and gradient._m.shape[k + lead] != 1]
        if dims:
            gradient = ENTRIES["sum"](gradient, tuple(dims))
        if gradient._m.shape != m.shape:
            gradient = ENTRIES["reshape"](gradient, tuple(m.shape))
    return cast(gradient, m.dtype)


# --- recording ---------------------------------------------------------------------------------------------------


def recording(tensors):
    """Whether an op on ``tensors`` is to be recorded now."""
    if switch.anywhere and not is_grad_enabled():
        return False
    for tensor in tensors:
        if tensor is not None and tensor._n is not None:
            return True
    return False


def note_anomaly(node, op):
    """In `detect_anomaly`: remember where the op was called."""
    if autograd.is_anomaly_enabled():
        node.anomaly = "".join(traceback.format_stack(limit=12)[:-2])


def check_forward(name, result):
    """In `detect_anomaly`: a NaN in a result names the op that made it."""
    if autograd.checks_nan() and autograd.has_nan(result):
        raise RuntimeError(f"{name}: the forward pass returned nan values (detect_anomaly is on)")


class StructuredNode(Node):
    """The node of an op whose gradient is a function over Tensors."""

    __slots__ = ()

    def backward(self, gradient):
        gradients = self.op.gradient(gradient, *[_restore(self, item) for item in self.saved])
        return gradients if isinstance(gradients, tuple) else (gradients,)

    def backward_recorded(self, gradient):
        op = self.op
        fn = op.recorded_gradient or op.gradient
        gradients = fn(gradient, *[_restore(self, item) for item in self.saved])
        return gradients if isinstance(gradients, tuple) else (gradients,)


class SavedResult:
    """A result kept for its own gradient: its memory without the tensor itself, which would be a cycle."""

    __slots__ = ("data", "meta", "storage")

    def __init__(self, tensor):
        self.data, self.meta, self.storage = tensor._d, tensor._m, tensor._s

    def restore(self, owner):
        tensor = new(Tensor)
        tensor._d, tensor._m, tensor._s, tensor._n = self.data, self.meta, self.storage, owner
        return tensor


def _restore(node, item):
    return item.restore(node) if type(item) is SavedResult else item


def record(op, tensors, out, values, node_class=None):
    """Make ``out`` the recorded result of ``op``: ``tensors`` are its inputs (None where absent), ``values`` what
    ``op.needs`` names can be found in besides inputs and ``out``."""
    node = (node_class or op.node_class)()
    node.seq = next_seq()
    node.hooks = None
    node.next = tuple([None if tensor is None else tensor._n for tensor in tensors])
    saved, storages = [], ()
    for name in op.needs:
        if name in values:
            item = values[name]
        elif name == "out":
            storages = (storage_of(out),)
            item = SavedResult(out)
        elif name.endswith("_meta"):
            item = tensors[op.inputs.index(name[:-5])]
            item = None if item is None else item._m
        else:
            item = tensors[op.inputs.index(name)]
        saved.append(item)
    node.saved, node.storages = tuple(saved), storages
    if switch.anywhere:
        note_anomaly(node, op)
    return node


def node_class_of(op, base):
    """The Node subclass of one op."""
    name = names = op.grad_name
    if type(names) is tuple:
        name, names = names[0], property(lambda node: op.grad_name[node.overload()])
    return type(name, (base,), {"name": names, "op": op, "__slots__": ()})


# --- structured ops ------------------------------------------------------------------------------------------------


class Structured(Op):
    """An op whose body is a function over Tensors that launches its own kernels (unrecorded)."""

    form = "structured"

    def __init__(self, fn, *, kind="new", raw=False, **options):
        super().__init__(fn, **options)
        self.kind = kind  # "new": the result has memory of its own; "view": it shares its first input's
        self.raw = raw  # the body only touches data and metas, so that its inputs need not lose their history
        self.plans: dict = {}
        self.node_class = node_class_of(self, StructuredNode)

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
        "op": op, "fn": op.fn, "plans": op.plans, "plan_view": _plan_view, "plain": plain, "new": new, "Tensor": Tensor,
        "Storage": Storage, "ref": weakref.ref, "forget_dead": _forget_dead, "switch": switch,
        "is_grad_enabled": is_grad_enabled, "NodeClass": op.node_class, "next_seq": next_seq, "SavedResult": SavedResult,
        "storage_of": storage_of, "check_forward": check_forward, "note_anomaly": note_anomaly,
        "as_tensor_operand": as_tensor_operand, "inf": float("inf"), "nan": float("nan"),
    }  # fmt: skip
    return attach(op, deferred(op.name, lambda: _structured_source(op), names))


_STRUCTURED = """
def {name}({signature}):
    {checks}
    out = fn({arguments})
    context = None
    if type(out) is tuple:
        out, context = out
    {record}
    if switch.anywhere:
        check_forward(op.name, out)
    return out
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
    if not switch.anywhere or is_grad_enabled():
        base = {first}._base
        out._base = {first} if base is None else base
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
{indent}        note_anomaly(node, op)"""


def _structured_source(op):
    """The text of a structured op's entry: check, run, record, without loops."""
    required = {p.name for p in inspect.signature(op.fn).parameters.values() if p.default is inspect.Parameter.empty}
    inputs = op.inputs
    checks = [
        f"if type({x}) is not Tensor and not isinstance({x}, Tensor)" + ("" if x in required else f" and {x} is not None")
        + f":\n        {x} = as_tensor_operand({op.name!r}, {x}, {x!r})"
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
        wanted = f"({wanted}) and (not switch.anywhere or is_grad_enabled()) and out._m.dtype.is_floating_point"
    record = "pass"
    if op.gradient is not None and inputs:
        record = _NODE.format(
            recorded=wanted, indent=indent, next=", ".join(of(x, "_n") for x in inputs),
            saved="".join(f"{text}, " for text in saved), storages=storages,
        )  # fmt: skip
    return (_VIEW if op.kind == "view" else _STRUCTURED).format(
        name=op.name, signature=signature_text(op), checks="\n    ".join(checks) or "pass", record=record,
        arguments=", ".join(arguments + [f"{name}={name}" for name in op.attributes]),
        first=inputs[0] if inputs else "", key="".join(f"{name}, " for name in op.attributes),
    )  # fmt: skip


def signature_text(op):
    """The parameter list of an op's entry: tensors, then attributes, all by position or name."""
    parameters = []
    signature = inspect.signature(op.fn).parameters
    for name in (*op.inputs, *op.attributes):
        default = signature[name].default
        parameters.append(name if default is inspect.Parameter.empty else f"{name}={default!r}")
    with_default = [p for p in parameters if "=" in p]
    without = [p for p in parameters if "=" not in p]
    return ", ".join(without + with_default)


_ENTRY = """
def {name}({signature}):
    return call(op, ({tensors}), {{{attributes}}})
"""


def build_entry(op, call):
    """The function with the op's own signature that passes everything on to ``call(op, tensors, attributes)``."""

    def source():
        return _ENTRY.format(
            name=op.name, signature=signature_text(op), tensors="".join(f"{name}, " for name in op.inputs),
            attributes=", ".join(f"{name!r}: {name}" for name in op.attributes),
        )  # fmt: skip

    return deferred(op.name, source, {"call": call, "op": op, "inf": float("inf"), "nan": float("nan")})


def _plan_view(op, tensor, values):
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


def plain(tensor):
    """The tensor without its history, so that what a body does is not recorded."""
    if tensor._n is None:
        return tensor
    found = new(Tensor)
    found._d, found._m, found._s, found._n = tensor._d, tensor._m, tensor._s, None
    return found


# --- in-place ------------------------------------------------------------------------------------------------------


def check_inplace(name, tensor):
    """Refuse to write to what must not be written to."""
    n = tensor._n
    if n is not None and n.leaf and (not switch.anywhere or is_grad_enabled()):
        label = f" '{n.label}'" if n.label else ""
        raise RuntimeError(
            f"{name}: a leaf Variable that requires grad is being used in an in-place operation: {type(tensor).__name__}"
            f"{label} of shape {list(tensor._m.shape)}. Write it as\n    with ng.no_grad():\n        p.{name}(...)"
        )
    base = tensor._base
    if base is not None and base._n is not None and base._n.leaf and (not switch.anywhere or is_grad_enabled()):
        raise RuntimeError(
            f"{name}: a view of a leaf Variable that requires grad is being used in an in-place operation. Write it "
            "under numgrad.no_grad(), or clone() the leaf first."
        )
    if any(step == 0 and size > 1 for size, step in zip(tensor._m.shape, tensor._m.strides)):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )


def written(tensor, writer):
    """Count a write to ``tensor``'s storage."""
    storage = storage_of(tensor)
    storage.version += 1
    storage.modified = switch.last_write = next_seq()
    storage.writer = tensor.__dict__.get("_writer", writer)


def rebase(tensor, node):
    """After a recorded in-place op: ``node`` is the new history of ``tensor``; its base and the other views of that
    base follow."""
    base = tensor._base
    views = storage_of(tensor).views
    if base is None:
        tensor._n = node
        _regenerate(tensor, views)
        return
    if base._n is not None or node is not None:
        base._n = _copy_slices(base, tensor, node)
    _regenerate(base, views)


def _copy_slices(base, tensor, node):
    """The history of a base one of whose views was written: old values outside the view, new ones inside."""
    copy = _CopySlices()
    copy.seq = next_seq()
    copy.next = (base._n, node)
    copy.saved = (base._m, _offset(base, tensor), tensor._m)
    copy.storages, copy.hooks = (), None
    return copy


def _offset(base, tensor):
    return (address(tensor._d) - address(base._d)) // base._m.dtype.itemsize if tensor._m.numel else 0


def _regenerate(base, views):
    for reference in views:
        other = reference()
        if other is not None and other._base is base:
            if base._n is None:
                other._n = None
                continue
            node = _ViewOfBase()
            node.seq = next_seq()
            node.next = (base._n,)
            node.saved = (base._m, _offset(base, other), other._m)
            node.storages, node.hooks = (), None
            other._n = node


class _CopySlices(Node):
    __slots__ = ()
    name = "CopySlices"

    def backward(self, gradient):
        base, offset, m = self.saved
        gradient = dense(gradient)
        entry = ENTRIES["as_strided"]
        strides = _steps_in(base, m)
        place = _place_in(base, offset)
        first = gradient.storage_offset() + place  # the gradient itself may be a part of a larger one
        inside = ENTRIES["contiguous_copy"](entry(gradient, tuple(m.shape), strides, first))
        outside = None
        if self.next[0] is not None:
            outside = ENTRIES["strided_scatter"](
                gradient, ENTRIES["zeros_like"](inside), tuple(m.shape), strides, place
            )
        return outside, inside

    backward_recorded = backward


class _ViewOfBase(Node):
    __slots__ = ()
    name = "AsStridedBackward0"

    def backward(self, gradient):
        base, offset, m = self.saved
        zeros = empty_tensor(meta(base.dtype, base.shape, base.device)).zero_()
        strides = _steps_in(base, m)
        return (ENTRIES["strided_scatter"](zeros, gradient, tuple(m.shape), strides, _place_in(base, offset)),)

    backward_recorded = backward


def _steps_in(base, m):
    """Strides of view meta ``m`` in a contiguous tensor of the shape of meta ``base``."""
    if base.contiguous:
        return m.strides
    dense_base = meta(base.dtype, base.shape, base.device)
    steps = []
    for size, stride in zip(m.shape, m.strides):
        step = 0
        for b_size, b_stride, d_stride in sorted(zip(base.shape, base.strides, dense_base.strides), key=lambda t: -t[1]):
            if b_stride and b_size > 1 and stride >= b_stride:
                step += stride // b_stride * d_stride
                stride %= b_stride
        steps.append(step if size > 1 else 0)
    return tuple(steps)


def _place_in(base, offset):
    """A storage offset within base ``base`` as one within a contiguous tensor of its shape."""
    if base.contiguous:
        return offset
    dense_base = meta(base.dtype, base.shape, base.device)
    place = 0
    for b_size, b_stride, d_stride in sorted(zip(base.shape, base.strides, dense_base.strides), key=lambda t: -t[1]):
        if b_stride and b_size > 1:
            place += offset // b_stride * d_stride
            offset %= b_stride
    return place


def write_out(name, result, out, *sources):
    """Copy a result into ``out=``: resized if its shape differs, refused if its dtype cannot hold the result, if
    several of its elements are in one place, or if it shares memory with one of the ``sources``."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if (out._n is not None or result._n is not None) and is_grad_enabled():
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    if overlaps_itself(out._m.shape, out._m.strides):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )
    if any(source is out or (out._s is not None and source._s is out._s) for source in sources):
        raise RuntimeError(
            f"{name}: unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )
    if not dtypes.can_cast(result._m.dtype, out._m.dtype):
        raise RuntimeError(f"{name}: result type {result._m.dtype!r} can't be cast to the desired output type {out._m.dtype!r}")
    if out._m.shape != result._m.shape:
        if out._m.numel:
            import warnings

            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out._m.shape)}, which does "
                f"not match the required output shape {list(result._m.shape)}.", stacklevel=3,
            )  # fmt: skip
        out.resize_(tuple(result._m.shape))
    ENTRIES["copy_"](out, result)
    return out


ENTRIES["write_out"] = write_out


# --- composites ----------------------------------------------------------------------------------------------------


def function(fn=None, *, install=("ng", "Tensor"), name=None):
    """Decorator: a composite, plain Python over ops, installed under its name like them."""
    if fn is None:
        return functools.partial(function, install=install, name=name)
    fn.install = install
    FUNCTIONS[name or fn.__name__] = ENTRIES[name or fn.__name__] = fn
    return fn


def method(fn=None, *, name=None):
    """Decorator: a composite that is a Tensor method only."""
    if fn is None:
        return functools.partial(method, name=name)
    setattr(Tensor, name or fn.__name__, fn)
    ENTRIES[name or fn.__name__] = fn
    return fn


def install():
    """Put the table's methods on Tensor; called once all ops are defined."""
    for op in OPS.values():
        if "Tensor" in op.install and not hasattr(Tensor, op.name):
            setattr(Tensor, op.name, op.entry)
        inplace = getattr(op, "inplace_entry", None)
        if inplace is not None and "Tensor" in op.install and not hasattr(Tensor, f"{op.name}_"):
            setattr(Tensor, f"{op.name}_", inplace)
    for name, fn in FUNCTIONS.items():
        if "Tensor" in fn.install and not hasattr(Tensor, name):
            setattr(Tensor, name, fn)


__all__ = ["OPS", "FUNCTIONS", "Op", "structured", "function", "method", "install", "DTypeError", "Leaf", "Size",
           "alias", "make"]  # fmt: skip
