"""The form of the optimizers' update rules: pointwise blocks that write their results over their arguments.

A rule (they are in `update_rules`) reads a parameter, its gradient and the optimizer's state, element by element, and returns the new values of
what ``inplace`` names. Step sizes and bias corrections are numbers, computed in float64 by the optimizer. ``sign``
is -1 to maximize. The flags (keyword arguments with a default) make kernels of their own, so that what is switched
off costs nothing and cannot turn an infinite parameter into NaN.
"""

import functools
import inspect
from typing import Any

from ..errors import DTypeError, ShapeError
from ..inplace import written
from ..kernels import emit
from ..op import Op, attach, conform, plain
from ..plans import call_table
from ..storage import Meta, meta
from ..tensor import storage_of


class Update(Op):
    """An op that overwrites the tensors named by ``inplace`` with what its scalar function returns for them."""

    form = "update"

    def __init__(self, fn, *, inplace):
        super().__init__(fn, install=())
        self.inplace = inplace
        unknown = [name for name in inplace if name not in self.inputs]
        if unknown:
            raise TypeError(f"{self.name}: inplace names {unknown}, its tensors are {self.inputs}")
        self.flags = [name for name, default in self.attributes.items() if default is not inspect.Parameter.empty]
        self.numbers = [name for name in self.attributes if name not in self.flags]
        self.plans: dict = {}
        self.kernels: dict = {}

    @functools.cached_property
    def enter(self):
        """``enter(launch, state, param, grad, stamp, writer)``: put these tensors into a `Launch`, the state tensors
        taken from the dict ``state``, and count the writes; what an optimizer calls for each parameter, without loops.
        """
        return _generate_enter(self)

    def variant(self, *flags: bool) -> "Variant":
        """The rule with these values of its flags: a mapping from metas to ``(kernel, elements)``."""
        found = self.plans.get(flags)
        if found is None:
            found = self.plans[flags] = Variant(self, flags)
        return found


class RuleKernel:
    """A rule's kernel for one dtype and device, which runs on all rows of a table in one call.

    A row is the rule's tensors as flat arrays, and how many elements they have; the rule's numbers are shared.
    """

    __slots__ = ("kernel", "tensors", "device")

    def __init__(self, op, flags, T, device):
        self.tensors, self.device = len(op.inputs), device
        self.kernel = device.backend.pointwise(
            op.name,
            op.fn,
            [(name, "v", T) for name in op.inputs],
            [(name, T) for name in op.inplace],
            emit.compute_type(T),
            inplace=tuple((k, op.inputs.index(name)) for k, name in enumerate(op.inplace)),
            attributes=[(name, "r") for name in op.numbers],
            constants=dict(zip(op.flags, flags)),
        )


class Launch:
    """A rule with its numbers, about to be applied to the tensors that `Update.enter` puts in; `run` does it."""

    __slots__ = ("variant", "numbers", "kernel", "table", "others")

    def __init__(self, variant: "Variant", numbers: list):
        self.variant, self.numbers = variant, numbers
        self.kernel, self.table = None, []  # the kernel that was used last, and its rows
        self.others: list = []

    def use(self, kernel: RuleKernel):
        """Make ``kernel`` the present one, and return its table."""
        self.others.append((self.kernel, self.table))
        self.kernel = kernel
        self.table = next((table for other, table in self.others if other is kernel), [])
        self.others = [pair for pair in self.others if pair[0] is not kernel and pair[0] is not None]
        return self.table

    def run(self, split: bool = True) -> None:
        """One kernel call for each dtype and device; ``split``: over threads, which tensors that overlap forbid."""
        if self.kernel is not None:
            for kernel, table in (*self.others, (self.kernel, self.table)):
                call_table(kernel.kernel, table, kernel.tensors, self.numbers, kernel.device, split)


class Variant(dict):
    """Meta of the parameter -> ``(kernel, elements)``, made when first asked for: the `RuleKernel` of that dtype and
    device. A meta that is not contiguous has None instead, and `run` copies.

    ``states`` names the state tensors: all inputs but the parameter and its gradient.
    """

    def __init__(self, op: Update, flags: tuple):
        super().__init__()
        self.op, self.flags = op, flags
        self.states = op.inputs[2:]

    def __missing__(self, m: Meta):
        op = self.op
        if not m.dtype.differentiable:
            raise DTypeError(
                f"{op.name}: expected floating-point tensors, got {m.dtype!r}; convert them with .float() first"
            )
        if not m.contiguous:
            self[m] = None
            return None
        # The parts of complex numbers are updated as twice as many reals, which lie side by side.
        key = self.flags, m.dtype.to_real().np.type, m.device
        kernel = op.kernels.get(key)
        if kernel is None:
            kernel = op.kernels[key] = RuleKernel(op, *key)
        plan = self[m] = kernel, m.numel * (1 + m.dtype.is_complex)
        return plan

    def run(self, tensors, numbers) -> None:
        """Apply the rule to tensors of one shape, whatever their layouts and dtypes: all are brought to the first."""
        op, m = self.op, tensors[0]._m
        for tensor, name in zip(tensors, op.inputs):
            if tensor._m.shape != m.shape:
                raise ShapeError(
                    f"{op.name}: expected '{name}' of shape {list(m.shape)} like '{op.inputs[0]}', got "
                    f"{list(tensor._m.shape)}"
                )
        inner = meta(m.dtype, m.shape, m.device)
        values = [conform(plain(tensor), inner) for tensor in tensors]
        kernel, elements = self[inner]
        launch = Launch(self, list(map(float, numbers)))
        launch.use(kernel).extend((*[value._d for value in values], elements))
        launch.run()
        for tensor, value, name in zip(tensors, values, op.inputs):
            if name in op.inplace:
                if value._d is not tensor._d:
                    plain(tensor).copy_(value)
                written(tensor, op.name)

    def recorded(self, tensors, numbers) -> None:
        """Apply the rule as ops on Tensors, so that gradients flow through the update."""
        op = self.op
        attributes = {**dict(zip(op.numbers, numbers)), **dict(zip(op.flags, self.flags))}
        # The graph keeps copies of what is overwritten.
        values = [tensor.clone() if name in op.inplace else tensor for tensor, name in zip(tensors, op.inputs)]
        results = op.fn(*values, **attributes)
        results = results if isinstance(results, tuple) else (results,)
        for name, result in zip(op.inplace, results):
            tensors[op.inputs.index(name)].copy_(result)


# The names with an underscore cannot be those of an op's tensors and numbers.
_ENTER = """
def enter(launch_, state_, {parameters}, stamp_, writer_):
    {states}
    meta_ = {first}._m
    plan_ = launch_.variant[meta_]
    if plan_ is None{others}:
        launch_.variant.run(({everything},), launch_.numbers)
    else:
        kernel_, elements_ = plan_
        table_ = launch_.table if launch_.kernel is kernel_ else launch_.use(kernel_)
        table_ += ({arrays}, elements_)
    {marks}
"""

_MARK = """
    storage_ = {name}._s or storage_of_({name})
    storage_.version += 1
    storage_.modified = stamp_
    storage_.writer = writer_"""


def _generate_enter(op):
    """The text of `Update.enter`, with the op's own names, compiled."""
    direct, states = op.inputs[:2], op.inputs[2:]
    source = _ENTER.format(
        parameters=", ".join(direct),
        everything=", ".join(op.inputs),
        states="; ".join(f"{name} = state_[{name!r}]" for name in states) or "pass",
        first=op.inputs[0],
        others="".join(f" or {name}._m is not meta_" for name in op.inputs[1:]),
        arrays=", ".join(f"{name}._d" for name in op.inputs),
        marks="".join(_MARK.format(name=name) for name in op.inplace).lstrip(),
    )
    names = {"storage_of_": storage_of}
    exec(compile(source, f"<entry of {op.name}>", "exec"), names)
    return names["enter"]


def update(*, inplace: tuple[str, ...]):
    """Decorator: ``fn(param, grad, states..., *, numbers..., flags=...)``, a scalar function over the kernel
    vocabulary, becomes a rule whose results overwrite the tensors that ``inplace`` names, in this order.

    The states are named as in the optimizer's state. The function that it gives, called on tensors, updates them.
    """

    def decorate(fn):
        op = Update(fn, inplace=inplace)

        def entry(*tensors, **attributes: Any) -> None:
            flags = [bool(attributes.pop(name, op.attributes[name])) for name in op.flags]
            if len(tensors) != len(op.inputs) or sorted(attributes) != sorted(op.numbers):
                raise TypeError(
                    f"{op.name}() takes the tensors {op.inputs} and the numbers {op.numbers} by name, got "
                    f"{len(tensors)} tensors and {sorted(attributes)}"
                )
            op.variant(*flags).run(tensors, [attributes[name] for name in op.numbers])

        return attach(op, entry)

    return decorate
