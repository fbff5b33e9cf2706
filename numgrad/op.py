"""The op table: what an op is, how it is recorded, and what is installed from it.

A call of an op is check, run, record. The forms of an op differ in how they run; each is a file of this layer:
``pointwise.py``, ``reduction.py``, ``rowwise.py``, ``structured.py``. ``inplace.py`` writes to tensors that exist.
"""

import functools
import inspect
import re
import warnings
from typing import Any

import numpy as np

from . import autograd, dtypes
from .autograd import Node, NodeName, is_grad_enabled, next_seq, switch
from .deferral import deferred
from .device import CPU
from .dtypes import python_number
from .errors import DTypeError, callers_stack
from .kernels.vocab import WORDS
from .names import door
from .storage import Meta
from .tensor import Tensor, inference_storage, new, storage_of

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
        self.node_class.frees = not all(  # ``at`` holds index tensors
            name in self.attributes and name != "at" or name.endswith("_meta") or name == "count" for name in self.needs
        )
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
    """A Tensor as it is, numbers as Python numbers; a TypeError in the name of ``op`` otherwise."""
    if isinstance(value, Tensor):
        return value
    value = python_number(value)
    if isinstance(value, (bool, int, float, complex)):
        return value
    raise TypeError(
        f"{op}(): argument {k + 1} must be Tensor or a number, not {_kind(value)}; make a tensor of it with numgrad.tensor(...)"
    )


def as_tensor_operand(op, value, name):
    """A Tensor as it is; a TypeError in the name of ``op`` otherwise."""
    if isinstance(value, Tensor):
        return value
    raise TypeError(
        f"{op}(): argument '{name}' must be Tensor, not {_kind(value)}; make a tensor of it with numgrad.tensor(...)"
    )


def _kind(value):
    """How a message calls the class of what is no Tensor."""
    return "numpy.ndarray" if isinstance(value, np.ndarray) else type(value).__name__


def admitted(op, value, name, kinds):
    """`as_tensor_operand` for operands that are no plain `Tensor`; classes that are taken as one are noted in ``kinds``."""
    found = as_tensor_operand(op.name, value, name)
    if not found._m.batched:
        kinds.add(type(found))
    return found


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
    """The tensor in dtype ``d``; a DTypeError where that would lose imaginary parts."""
    source = tensor._m.dtype
    if source is d:
        return tensor
    if source.kind == "c" and d.kind in "if":
        raise DTypeError(
            f"a {source!r} tensor is not taken where {d!r} is needed; apply the function to .real, .imag or .abs(), or "
            "convert with .to() first"
        )
    return ENTRIES["to_dtype"](tensor, d)


def converted(tensor, dtype):
    """The tensor in the dtype that a caller named: complex numbers without their imaginary part, with PyTorch's warning."""
    d = dtypes.as_dtype(dtype)
    note_loss(tensor._m.dtype, d)
    return tensor if tensor._m.dtype is d else ENTRIES["to_dtype"](tensor, d)


def note_loss(source, target):
    """PyTorch's warning where a complex tensor becomes a real one."""
    if source.is_complex and not target.is_complex and target is not dtypes.bool_:
        warnings.warn("Casting complex values to real discards the imaginary part", stacklevel=3)


def cast_gradient(gradient, d):
    """A gradient in dtype ``d``: that of a real tensor which met complex ones is the real part."""
    return gradient if gradient._m.dtype is d else ENTRIES["to_dtype"](gradient, d)


def plain(tensor):
    """The tensor without its history, so that what a body does is not recorded."""
    if tensor._n is None:
        return tensor
    found = new(Tensor)
    found._d, found._m, found._s, found._n = tensor._d, tensor._m, tensor._s, None
    return found


def dense(tensor):
    """The tensor, contiguous."""
    return tensor if tensor._m.contiguous else ENTRIES["contiguous"](tensor)


def conform(gradient, m: Meta):
    """A gradient contiguous and of the dtype that a kernel for meta ``m`` expects."""
    if gradient._m.dtype is not m.dtype:
        gradient = cast_gradient(gradient, m.dtype)
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
    return cast_gradient(gradient, m.dtype)


# --- recording ---------------------------------------------------------------------------------------------------


def recording(tensors):
    """Whether an op on ``tensors`` is to be recorded now."""
    if switch.anywhere and not is_grad_enabled():
        return False
    for tensor in tensors:
        if tensor is not None and tensor._n is not None:
            return True
    return False


def note_recorded(node, op):
    """What modes do with a new node. Raises RuntimeError if it keeps an inference tensor.

    `detect_anomaly` remembers where the op was called and in the course of which other node's gradient;
    `saved_tensors_hooks` packs what the node saves.
    """
    for item in node.kept():
        if isinstance(item, Tensor) and item._s is not None and item._s.inference:
            raise RuntimeError(
                "Inference tensors cannot be saved for backward. To work around you can make a clone to get a normal tensor "
                f"and use it in autograd (saved by {node.name})."
            )
    if autograd.is_anomaly_enabled():
        node.anomaly = callers_stack()
        node.within = autograd.local.node
    if autograd.packs():
        from .packing import pack

        pack(node)


def note_result(result):
    """What modes do with the result of an op that has memory of its own: in `inference_mode` it stays apart."""
    if result._s is None and autograd.local.block is not None:
        result._s = inference_storage()


class OpNode(Node):
    """The node of an op of the table: what it saves has the names that the op's gradient asks for."""

    __slots__ = ()

    def saved_value(self, name, raw):
        """The value saved under the op's name for it, or PyTorch's: ``self`` for the first input, ``result`` for the
        output, ``self_sym_sizes`` for a shape."""
        op = self.op
        wanted = {"self": (op.inputs or [""])[0], "result": "out"}.get(name, name)
        if wanted not in op.needs:
            if name.endswith("_sym_sizes") and not raw:
                return self._sizes(op, name.removesuffix("_sym_sizes"))
            return super().saved_value(name, raw)
        position = op.needs.index(wanted)
        if self.saved is None:
            raise self.freed()
        if raw:
            from .packing import SavedTensor

            return SavedTensor(self, position)
        self.check()
        return self.tensor_of(position, self.restored()[position])

    def _sizes(self, op, name):
        name = op.inputs[0] if name == "self" else name
        if f"{name}_meta" in op.needs:
            return tuple(self.saved[op.needs.index(f"{name}_meta")].shape)
        plan = getattr(self, "plan", None)
        if name in op.inputs and hasattr(plan, "metas"):
            return tuple(plan.metas[op.inputs.index(name)].shape)
        return super().saved_value(f"{name}_sym_sizes", False)

    def tensor_of(self, position, item):
        """The saved value at ``position``, a result as a tensor with this node for its history."""
        if type(item) is SavedResult:
            return item.restore(self)
        if self.op.needs[position] != "out" or isinstance(item, Tensor):
            return item
        tensor = new(Tensor)  # bare data, described by the plan
        tensor._d, tensor._m, tensor._s, tensor._n = item, self.plan.out, self.storages[0], self
        return tensor


class StructuredNode(OpNode):
    """The node of an op whose gradient is a function over Tensors."""

    __slots__ = ()

    def backward(self, gradient):
        saved = [_restore(self, item) for item in self.saved]
        if switch.selective:
            self._leave_out(saved)
        gradients = self.op.gradient(gradient, *saved)
        return gradients if isinstance(gradients, tuple) else (gradients,)

    def _leave_out(self, saved):
        """Take the history off the inputs whose gradients nobody asks for: bodies then leave them out."""
        needed, inputs = autograd.needed_now(), self.op.inputs
        if needed is None:
            return
        for k, name in enumerate(self.op.needs):
            if name in inputs and self.next[inputs.index(name)] not in needed and isinstance(saved[k], Tensor):
                saved[k] = plain(saved[k])

    def backward_recorded(self, gradient):
        op = self.op
        fn = op.recorded_gradient or op.gradient
        saved = [_restore(self, item) for item in self.saved]
        if switch.selective:
            self._leave_out(saved)
        gradients = fn(gradient, *saved)
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
        note_recorded(node, op)
    return node


class _OverloadName:
    """The name of a node whose op has several, unless it was `called` something."""

    def __get__(self, node, owner):
        return self if node is None else NodeName(node.op.grad_name[node.overload()])


def node_class_of(op, base):
    """The Node subclass of one op."""
    name = names = op.grad_name
    if type(names) is tuple:
        name, names = names[0], _OverloadName()
    return type(name, (base,), {"name": names, "op": op, "__slots__": ()})


def called(out, name: str):
    """``out``, the result of the last op of a composite, with its node called ``name``, as the composite's own would be."""
    if out._n is not None:
        out._n.name = NodeName(name)
    return out


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
    put_on_tensor(name or fn.__name__, fn)
    ENTRIES[name or fn.__name__] = fn
    return fn


def put_on_tensor(name, fn):
    """Make ``fn`` the method ``name``, with the other names that its arguments have."""
    if not hasattr(fn, "op") and not hasattr(fn, "behind") and not name.startswith("_"):
        made = door(fn, name, method=True)
        if made is not fn:
            made.__module__, made.__qualname__ = Tensor.__module__, f"Tensor.{name}"
        fn = made
    setattr(Tensor, name, fn)


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
            put_on_tensor(name, fn)

