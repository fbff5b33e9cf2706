"""Update rules of the optimizers: pointwise blocks that write their results over their first arguments.

A rule reads a parameter, its gradient and the optimizer's state, element by element, and returns the new values of
what ``inplace`` names. Step sizes and bias corrections are numbers, computed in float64 by the optimizer. ``sign``
is -1 to maximize. The flags (keyword arguments with a default) make kernels of their own, so that what is switched
off costs nothing and cannot turn an infinite parameter into NaN.
"""

import functools
import inspect
from typing import Any

from ..errors import DTypeError, ShapeError
from ..kernels import emit
from ..kernels.vocab import maximum, sqrt
from ..op import Op, attach, conform, plain, written
from ..pointwise import caller
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
    def launch(self):
        """``launch(variant, numbers, state, param, grad, stamp, writer)``: the rule with its state tensors taken from
        the dict ``state``, and the writes counted; what an optimizer calls for each parameter, without loops."""
        return _generate_launch(self)

    def variant(self, *flags: bool) -> "Variant":
        """The rule with these values of its flags: a mapping from metas to ``(call, kernel, elements)``."""
        found = self.plans.get(flags)
        if found is None:
            found = self.plans[flags] = Variant(self, flags)
        return found


class Variant(dict):
    """Meta of the parameter -> ``(call, kernel, elements)``, made when first asked for.

    ``call(kernel, *flat arrays of the tensors, *numbers, 0, elements)`` runs the rule on tensors of that meta; a
    meta that is not contiguous has None instead, and `run` copies. ``states`` names the state tensors: all inputs but
    the parameter and its gradient.
    """

    def __init__(self, op: Update, flags: tuple):
        super().__init__()
        self.op, self.flags = op, flags
        self.states = op.inputs[2:]

    def __missing__(self, m: Meta):
        op = self.op
        if not m.dtype.is_floating_point:
            raise DTypeError(
                f"{op.name}: expected floating-point tensors, got {m.dtype!r}; convert them with .float() first"
            )
        if not m.contiguous:
            self[m] = None
            return None
        T, where = m.np.type, m.device.type
        kernel = op.kernels.get((self.flags, T, where))
        if kernel is None:
            make_kernel = emit.pointwise
            if where == "cuda":
                from ..kernels import cuda

                make_kernel = cuda.pointwise
            kernel = op.kernels[self.flags, T, where] = make_kernel(
                op.name,
                op.fn,
                [(name, "v", T) for name in op.inputs],
                [(name, T) for name in op.inplace],
                T,
                inplace=tuple((k, op.inputs.index(name)) for k, name in enumerate(op.inplace)),
                attributes=[(name, "r") for name in op.numbers],
                constants=dict(zip(op.flags, self.flags)),
            )
        call = caller(len(op.inputs) + len(op.numbers), m.numel, 1, m.device)
        plan = self[m] = call, kernel, m.numel
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
        call, kernel, elements = self[inner]
        call(kernel, *[value._d for value in values], *map(float, numbers), 0, elements)
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
_LAUNCH = """
def launch(variant_, numbers_, state_, {parameters}, stamp_, writer_):
    {states}
    meta_ = {first}._m
    plan_ = variant_[meta_]
    if plan_ is None{others}:
        variant_.run(({everything},), numbers_)
    else:
        call_, kernel_, elements_ = plan_
        {numbers} = numbers_
        call_(kernel_, {arrays}, {numbers} 0, elements_)
    {marks}
"""

_MARK = """
    storage_ = {name}._s or storage_of_({name})
    storage_.version += 1
    storage_.modified = stamp_
    storage_.writer = writer_"""


def _generate_launch(op):
    """The text of `Update.launch`, with the op's own names, compiled."""
    direct, states = op.inputs[:2], op.inputs[2:]
    source = _LAUNCH.format(
        parameters=", ".join(direct),
        everything=", ".join(op.inputs),
        states="; ".join(f"{name} = state_[{name!r}]" for name in states) or "pass",
        first=op.inputs[0],
        others="".join(f" or {name}._m is not meta_" for name in op.inputs[1:]),
        numbers="".join(f"{name}, " for name in op.numbers),
        arrays=", ".join(f"{name}._d" for name in op.inputs),
        marks="".join(_MARK.format(name=name) for name in op.inplace).lstrip(),
    )
    names = {"storage_of_": storage_of}
    exec(compile(source, f"<launch of {op.name}>", "exec"), names)
    return names["launch"]


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


# --- the rules -----------------------------------------------------------------------------------------------------


@update(inplace=("param",))
def sgd_step(param, grad, *, lr, sign, weight_decay, decay=False):
    """``param - lr * (grad + weight_decay * param)``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    return param - lr * d


@update(inplace=("param", "momentum_buffer"))
def sgd_momentum_step(
    param, grad, momentum_buffer, *, lr, momentum, undamped, sign, weight_decay, decay=False, nesterov=False
):
    """Momentum: ``b' = momentum * b + undamped * d``, ``param - lr * b'``, by Nesterov ``param - lr * (d + momentum *
    b')``, where ``d`` is the gradient with weight decay and ``undamped`` is one minus the dampening."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    velocity = momentum * momentum_buffer + undamped * d
    if nesterov:
        return param - lr * (d + momentum * velocity), velocity
    return param - lr * velocity, velocity


@update(inplace=("param", "exp_avg", "exp_avg_sq"))
def adam_step(
    param, grad, exp_avg, exp_avg_sq, *, step_size, toward, beta2, toward_sq, unbias, eps, sign, weight_decay,
    decay=False, decoupled=False
):  # fmt: skip
    """Adam (arXiv:1412.6980), with ``decoupled`` AdamW (arXiv:1711.05101).

    ``step_size`` is ``lr / (1 - beta1^t)``, ``unbias`` is ``1 / sqrt(1 - beta2^t)``, ``toward`` and ``toward_sq``
    are one minus the betas; ``weight_decay`` is ``lr`` times the decay where it is decoupled.
    """
    d = sign * grad
    if decay:
        if decoupled:
            param = param - weight_decay * param
        else:
            d = d + weight_decay * param
    mean = exp_avg + toward * (d - exp_avg)
    square = beta2 * exp_avg_sq + toward_sq * d * d
    return param - step_size * mean / (sqrt(square) * unbias + eps), mean, square


@update(inplace=("param", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"))
def amsgrad_step(
    param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, *, step_size, toward, beta2, toward_sq, unbias, eps, sign,
    weight_decay, decay=False, decoupled=False
):  # fmt: skip
    """`adam_step` that divides by the largest mean square so far (arXiv:1904.09237)."""
    d = sign * grad
    if decay:
        if decoupled:
            param = param - weight_decay * param
        else:
            d = d + weight_decay * param
    mean = exp_avg + toward * (d - exp_avg)
    square = beta2 * exp_avg_sq + toward_sq * d * d
    largest = maximum(max_exp_avg_sq, square)
    return param - step_size * mean / (sqrt(largest) * unbias + eps), mean, square, largest


@update(inplace=("param", "square_avg"))
def rmsprop_step(param, grad, square_avg, *, lr, alpha, toward, eps, sign, weight_decay, decay=False):
    """``s' = alpha * s + (1 - alpha) * d^2``, ``param - lr * d / (sqrt(s') + eps)``; ``toward`` is ``1 - alpha``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    square = alpha * square_avg + toward * d * d
    return param - lr * d / (sqrt(square) + eps), square


@update(inplace=("param", "square_avg", "grad_avg"))
def rmsprop_centered_step(
    param, grad, square_avg, grad_avg, *, lr, alpha, toward, eps, sign, weight_decay, decay=False
):
    """`rmsprop_step` that divides by the deviation from the running mean (arXiv:1308.0850)."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    square = alpha * square_avg + toward * d * d
    mean = grad_avg + toward * (d - grad_avg)
    return param - lr * d / (sqrt(square - mean * mean) + eps), square, mean


@update(inplace=("param", "square_avg", "momentum_buffer"))
def rmsprop_momentum_step(
    param, grad, square_avg, momentum_buffer, *, lr, alpha, toward, momentum, eps, sign, weight_decay, decay=False
):
    """`rmsprop_step` with momentum: ``b' = momentum * b + d / (sqrt(s') + eps)``, ``param - lr * b'``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    square = alpha * square_avg + toward * d * d
    velocity = momentum * momentum_buffer + d / (sqrt(square) + eps)
    return param - lr * velocity, square, velocity


@update(inplace=("param", "square_avg", "momentum_buffer", "grad_avg"))
def rmsprop_centered_momentum_step(
    param, grad, square_avg, momentum_buffer, grad_avg, *, lr, alpha, toward, momentum, eps, sign, weight_decay,
    decay=False
):  # fmt: skip
    """`rmsprop_centered_step` with momentum."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    square = alpha * square_avg + toward * d * d
    mean = grad_avg + toward * (d - grad_avg)
    velocity = momentum * momentum_buffer + d / (sqrt(square - mean * mean) + eps)
    return param - lr * velocity, square, velocity, mean


@update(inplace=("param", "sum"))
def adagrad_step(param, grad, sum, *, lr, eps, sign, weight_decay, decay=False):
    """``s' = s + d^2``, ``param - lr * d / (sqrt(s') + eps)``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    total = sum + d * d
    return param - lr * d / (sqrt(total) + eps), total
