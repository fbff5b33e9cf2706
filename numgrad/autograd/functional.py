"""Jacobians, Hessians and their products with vectors, as ``torch.autograd.functional``.

Inputs are a Tensor or a tuple of Tensors, passed to the function one by one; results have the form of what they
belong to. Unless ``create_graph``, they are not recorded. ``strict``: RuntimeError where an output does not depend on
an input, instead of zeros.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..func.jacobians import columns_of, rows_of
from ..func.transforms import Call
from ..ops.create import ones_like
from ..tensor import Tensor
from . import enable_grad

Tensors = Tensor | tuple[Tensor, ...]


def _as_tuple(op, what, values) -> tuple[Tensor, ...]:
    found = values if isinstance(values, tuple) else (values,)
    for k, value in enumerate(found):
        if not isinstance(value, Tensor):
            where = f" but the value at index {k}" if isinstance(values, tuple) else " but the given " + what
            raise TypeError(
                f"The {what} given to {op} must be either a Tensor or a tuple of Tensors{where} has type {type(value).__name__}."
            )
    return found


def _vectors(op, v, like, several, alone) -> tuple[Tensor, ...]:
    """``v`` as a tuple, checked to go with the tensors ``like``; ones for None where there is one element."""
    if v is None:
        if several or like[0].numel() != 1:
            raise RuntimeError(f"The vector v can only be None if {alone} a single Tensor with a single element.")
        return (ones_like(like[0]).detach(),)
    found = _as_tuple(op, "v", v)
    if len(found) != len(like):
        if not several:
            raise RuntimeError("The given v should contain a single Tensor.")
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(found)}.")
    for k, (value, other) in enumerate(zip(found, like)):
        if value.shape != other.shape:
            where = f"Entry {k} in v" if several else "v"
            raise RuntimeError(f"{where} has invalid size: should be {other.shape} but got {value.shape}.")
    return found


def _call(op, func, inputs, create_graph, strict) -> Call:
    """``func`` called on stand-ins of the inputs, with its outputs checked."""
    values = _as_tuple(op, "inputs", inputs)
    if not create_graph:
        values = tuple(value.detach() for value in values)
    call = Call(op, func, values, {}, range(len(values)), keep=create_graph)
    _as_tuple(op, "outputs of the user-provided function", call.outputs[0] if call.spec.type is None else tuple(call.outputs))
    if strict:
        _recorded(
            call.outputs,
            "Output {} of the user-provided function does not require gradients. The outputs must be computed in a differentiable "
            "manner from the input when running in strict mode.",
        )
    return call


def _recorded(values, text):
    """RuntimeError with this text where one of the values has no history."""
    for k, value in enumerate(values):
        if value._n is None:
            raise RuntimeError(text.format(k))


def _scalar(op, func) -> Callable:
    """``func``, whose output must be one element, with that element's shape taken off."""

    def single(*inputs):
        output = func(*inputs)
        if not isinstance(output, Tensor):
            _as_tuple(op, "outputs of the user-provided function", output)
            raise RuntimeError(f"The function given to {op} should return a single Tensor")
        if output.numel() != 1:
            raise RuntimeError(f"The Tensor returned by the function given to {op} should contain a single element")
        return output.reshape(())

    return single


def _in_form(values: Sequence, several: bool) -> Any:
    return tuple(values) if several else values[0]


def _filled(found, like, strict, text) -> list[Tensor]:
    """``found`` with zeros for None, which ``strict`` refuses."""
    missing = [k for k, value in enumerate(found) if value is None]
    if strict and missing:
        raise RuntimeError(text.format(missing[0]) + " This is not allowed in strict mode.")
    return [other.new_zeros(tuple(other.shape)) if value is None else value for value, other in zip(found, like)]


_UNUSED = "The output of the user-provided function is independent of input {}."
_CONSTANT = "The jacobian of the user-provided function is independent of input {}."
_LINEAR = _CONSTANT + " This is not allowed in strict mode when create_graph=True."
_FLAT = (
    "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is independent of "
    "the input. This is not allowed in strict mode. The function has to be twice differentiable, and no linear one."
)


def vjp(
    func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple[Tensors, Tensors]:
    """``(func(*inputs), v^T J)``; ``v`` of the form and shapes of the output, optional for one element."""
    with enable_grad():
        call = _call("vjp", func, inputs, create_graph, strict)
        several = call.spec.type is not None
        weights = _vectors("vjp", v, call.outputs, several, "the user-provided function returns")
        found = call.pulled(weights, False)
        found = _filled(found, call.inputs, strict, _UNUSED)
        if strict and create_graph:
            _recorded(found, _LINEAR)
        return call.value(), _in_form(found, isinstance(inputs, tuple))


def jvp(
    func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple[Tensors, Tensors]:
    """``(func(*inputs), J v)``; ``v`` of the form and shapes of the inputs, optional for one element."""
    with enable_grad():
        call = _call("jvp", func, inputs, create_graph, strict)
        several = isinstance(inputs, tuple)
        directions = _vectors("jvp", v, call.inputs, several, "the input to the user-provided function is")
        if strict:  # a backward walk tells which inputs are used: a tangent is of all inputs together
            ones = [ones_like(output).detach() for output in call.outputs]
            _filled(call.pulled(ones, True, False), call.inputs, True, _UNUSED)
        text = "Output {} of the user-provided function is independent of the inputs."
        found = _filled(call.push(directions), call.outputs, strict, text)
        if strict and create_graph:
            _recorded(found, _LINEAR)
        return call.value(), _in_form(found, call.spec.type is not None)


def jacobian(
    func: Callable, inputs: Tensors, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The derivatives of every output element by every input element, of shape ``output.shape + input.shape``.

    A tuple of them for a tuple of inputs, within a tuple for a tuple of outputs. ``strategy``: "reverse-mode", one
    backward walk an output element, or "forward-mode", one directional derivative an input element. ``vectorize``: all
    rows or columns at once, as `func.jacrev` and `func.jacfwd` do, rather than one after the other.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(
            'Expected strategy to be either "reverse-mode" or "forward-mode". Hint: If your function has more outputs than '
            f'inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode". Got {strategy!r}'
        )
    if strict and (vectorize or strategy == "forward-mode"):
        other = "vectorize=True" if vectorize else 'strategy="forward-mode"'
        raise RuntimeError(
            f"autograd.functional.jacobian: `strict=True` and `{other}` are not supported together. Please either set "
            '`strict=False`, or leave the strategy at "reverse-mode" and vectorize at False.'
        )
    chunk = None if vectorize else 1
    with enable_grad():
        call = _call("jacobian", func, inputs, create_graph, strict)
        if strategy == "forward-mode":
            blocks = columns_of(call, chunk)
        else:
            blocks = [rows_of(call, place, strict, chunk) for place in range(len(call.outputs))]
        several = isinstance(inputs, tuple)
        return _in_form([_in_form(call.settled(own), several) for own in blocks], call.spec.type is not None)


def hessian(
    func: Callable, inputs: Tensors, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The second derivatives of a function of one output element, of shape ``input.shape + input.shape``; for a tuple
    of inputs a tuple of tuples. The other arguments as in `jacobian`, the strategy that of the outer derivatives."""
    values = _as_tuple("hessian", "inputs", inputs)
    single = _scalar("hessian", func)

    def gradient(*inner):
        call = _call("hessian", single, inner, True, strict)
        found = _filled(call.pulled([ones_like(call.outputs[0]).detach()], True), inner, False, "")
        if strict:
            _recorded(found, _FLAT)
        return tuple(found)

    found = jacobian(gradient, values, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if isinstance(inputs, tuple) else found[0][0]


def _gradients(op, func, inputs, v, create_graph, strict):
    """The function's value and its gradients as a call of their own, and ``v`` as a tuple."""
    single = _scalar(op, func)
    values: list = []

    def gradient(*inner):
        call = _call(op, single, inner, True, strict)
        values.append(call.outputs[0])
        found = _filled(call.pulled([ones_like(call.outputs[0]).detach()], True), inner, strict, _UNUSED)
        if strict:
            _recorded(found, _FLAT)
        return tuple(found)

    call = _call(op, gradient, inputs, create_graph, strict)
    several = isinstance(inputs, tuple)
    vectors = _vectors(op, v, call.inputs, several, "the input to the user-provided function is")
    return call.settled(values)[0], call, vectors


def vhp(
    func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple[Tensor, Tensors]:
    """``(func(*inputs), v^T H)`` for a function of one output element; ``v`` of the form and shapes of the inputs."""
    with enable_grad():
        value, call, vectors = _gradients("vhp", func, inputs, v, create_graph, strict)
        found = _filled(call.pulled(vectors, False), call.inputs, strict, _CONSTANT)
        return value, _in_form(found, isinstance(inputs, tuple))


def hvp(
    func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple[Tensor, Tensors]:
    """``(func(*inputs), H v)`` for a function of one output element; ``v`` of the form and shapes of the inputs."""
    with enable_grad():
        value, call, vectors = _gradients("hvp", func, inputs, v, create_graph, strict)
        found = _filled(call.push(vectors), call.inputs, strict, _CONSTANT)
        return value, _in_form(found, isinstance(inputs, tuple))
