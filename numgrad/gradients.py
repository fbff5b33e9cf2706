"""The entries to the recorder: `autograd.backward`, `autograd.grad` and `Tensor.backward`."""

import importlib

import numpy as np

from . import autograd
from .autograd import GradientEdge, Pending
from .config import warn_once
from .device import CPU
from .storage import meta
from .tensor import Tensor, from_array, make


def _root_gradient(op, m, gradient, k):
    """The gradient of the root described by meta ``m``: that given, if it fits, or 1 for one element."""
    if gradient is None:
        if m.numel != 1:
            raise RuntimeError(
                f"grad can be implicitly created only for scalar outputs: {op} got a tensor of shape {list(m.shape)}. Reduce it "
                "first, e.g. .sum(), or pass gradient= of its shape."
            )
        if m.dtype.is_complex:
            raise RuntimeError(
                f"grad can be implicitly created only for real scalar outputs but got {m.dtype!r}; take .abs() or .real of it, "
                "or pass gradient="
            )
        m = meta(m.dtype, m.shape, m.device)
        if m.device is CPU:
            one = make(m.empty(1, m.np), m)
            one._d[0] = m.dtype.one
            return one
        return from_array(m.dtype.encode(np.ones(m.shape))).to(m.device)
    if not isinstance(gradient, Tensor):
        raise TypeError(f"{op}: gradients can be either Tensors or None, but got {type(gradient).__name__}")
    if gradient._m.shape != m.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{k}] has a shape of {gradient._m.shape} and output[{k}] has a shape of {m.shape}."
        )
    if gradient._m.dtype.is_complex != m.dtype.is_complex:
        raise RuntimeError(
            "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: "
            f"grad_output[{k}] has a dtype of {gradient._m.dtype!r} and output[{k}] has a dtype of {m.dtype!r}."
        )
    return gradient if gradient._m.dtype is m.dtype else gradient.to(m.dtype)


def _as_tuple(value):
    return (value,) if isinstance(value, (Tensor, GradientEdge)) or value is None else tuple(value)


def _roots(op, tensors, gradients):
    roots = []
    for k, (tensor, gradient) in enumerate(zip(tensors, gradients, strict=True)):
        if tensor._n is None:
            raise RuntimeError(
                f"element {k} of tensors does not require grad and does not have a grad_fn: {op} has nothing to "
                "differentiate. " + _why_no_grad()
            )
        if type(tensor) is GradientEdge:
            m = tensor.describes()
            if m is not None:
                gradient = _root_gradient(op, m, gradient, k)
            elif not isinstance(gradient, Tensor):
                raise RuntimeError(
                    f"{op}: grad can be implicitly created only for scalar outputs, and the shape of this GradientEdge is not "
                    "known: pass a Tensor of the shape of what it stands for"
                )
            roots.append((tensor.node, tensor.node.seed(tensor.output_nr, gradient)))
            continue
        roots.append((tensor._n, _root_gradient(op, tensor._m, gradient, k)))
    return roots


def _why_no_grad():
    if not autograd.is_grad_enabled():
        return "Gradients are off here (no_grad or inference_mode)."
    return (
        "It was computed under no_grad, from detached data, or from tensors none of which has requires_grad=True; "
        "check that the model's parameters are used and not frozen."
    )


def _backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None) -> None:
    """Add the derivatives of this tensor to the ``.grad`` of the leaves it was computed from.

    ``gradient``: the derivative of the final result with respect to this tensor, of its shape; optional for
    one element. ``retain_graph``: keep the buffers for another pass. ``create_graph``: record this pass, for
    higher derivatives. ``inputs``: the tensors that accumulate (all leaves by default).
    """
    if inputs is None and self._n is not None:  # the usual call, without the detour over tuples
        root = _root_gradient("backward", self._m, gradient, 0)
        if create_graph:
            warn_once(_CYCLE)
        retain = create_graph if retain_graph is None else retain_graph
        autograd.walk([(self._n, root)], retain, create_graph)
    else:
        backward(self, gradient, retain_graph, create_graph, inputs)


_CYCLE = (
    "Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient which can cause "
    "a memory leak. We recommend using autograd.grad when creating the graph to avoid this. If you have to use this function, "
    "make sure to reset the .grad fields of your parameters to None after use to break the cycle and avoid the leak."
)


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None):
    """Add the derivatives of ``tensors`` to the leaves' ``.grad``; the arguments as in `Tensor.backward`."""
    tensors = _as_tuple(tensors)
    gradients = (None,) * len(tensors) if grad_tensors is None else _as_tuple(grad_tensors)
    captures = None
    if inputs is not None:
        inputs = _as_tuple(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        for tensor in inputs:
            if tensor._n is None:
                raise RuntimeError("One of the differentiated Tensors does not require grad")
        captures = {tensor._n: None for tensor in inputs}
    if create_graph:
        warn_once(_CYCLE)
    roots = _roots("backward", tensors, gradients)
    retain = create_graph if retain_graph is None else retain_graph
    autograd.walk(roots, retain, create_graph, captures)
    if captures is not None:
        for tensor in inputs:
            if type(tensor) is GradientEdge:
                continue
            if not tensor._n.leaf and captures[tensor._n] is not None and not tensor.retains_grad:
                gradient = captures[tensor._n]
                tensor.grad = gradient if tensor._kept_grad is None else autograd.engine.add(tensor._kept_grad, gradient)


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True,
         allow_unused=None, is_grads_batched=False, materialize_grads=False):  # fmt: skip
    """The derivatives of the sum of ``outputs`` (weighted by ``grad_outputs``) with respect to ``inputs``, as a
    tuple of tensors of their shapes; ``.grad`` of no tensor changes. Unused inputs are an error unless
    ``allow_unused`` (None) or ``materialize_grads`` (zeros). ``is_grads_batched``: ``grad_outputs`` have one more
    dimension in front, and so have the results, one entry a weighting."""
    outputs, inputs = _as_tuple(outputs), _as_tuple(inputs)
    gradients = (None,) * len(outputs) if grad_outputs is None else _as_tuple(grad_outputs)
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True")
    if not inputs:
        raise ValueError("grad requires non-empty inputs.")
    for tensor in inputs:
        if tensor._n is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    if is_grads_batched:
        options = {"create_graph": create_graph, "allow_unused": allow_unused, "materialize_grads": materialize_grads}
        return _batched(outputs, inputs, gradients, retain_graph, options)
    retain = create_graph if retain_graph is None else retain_graph
    if any(isinstance(tensor, Tensor) and tensor._m.batched for tensor in (*outputs, *gradients)):
        roots = _roots("autograd.grad", outputs, gradients)
        levels = importlib.import_module(".func.levels", __package__)
        reached = levels.gradients_within(outputs, inputs, [g for _, g in roots], retain, create_graph)
    else:
        captures = {tensor._n: None for tensor in inputs}
        roots = _roots("autograd.grad", outputs, gradients)
        autograd.walk(roots, retain, create_graph, captures, accumulate=False)
        reached = [_arrived(tensor, captures[tensor._n]) for tensor in inputs]
    found = []
    for tensor, gradient in zip(inputs, reached):
        if gradient is None and materialize_grads:
            if type(tensor) is GradientEdge:
                raise RuntimeError("materialize_grads cannot be used when the given input is a GradientEdge")
            m = tensor._m
            gradient = from_array(np.zeros(m.shape, m.np)).to(m.device).requires_grad_(bool(create_graph))
        elif gradient is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        found.append(gradient)
    return tuple(found)


def _arrived(tensor, gradient):
    """Of what arrived at the node of an input, the gradient of that input: an edge may name one of several outputs."""
    if type(tensor) is not GradientEdge or gradient is None:
        return gradient
    return tensor.node.outputs(gradient)[tensor.output_nr if type(gradient) is Pending else 0]


def _batched(outputs, inputs, gradients, retain_graph, options):
    for k, (output, value) in enumerate(zip(outputs, gradients)):
        shape = None if value is None else value._m.shape
        if shape is None or not shape or shape[1:] != output._m.shape:
            raise RuntimeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension. The "
                "sizes of the remaining dimensions are expected to match the shape of corresponding output, but a mismatch was "
                f"detected: grad_output[{k}] has a shape of {shape and list(shape)} and output[{k}] has a shape of "
                f"{list(output._m.shape)}."
            )
    sizes = {len(value) for value in gradients}
    if len(sizes) != 1:
        raise RuntimeError(
            "autograd.grad: with is_grads_batched=True every grad_outputs must have a first dimension of one size, got "
            f"{[list(value._m.shape) for value in gradients]}"
        )
    retain = options["create_graph"] if retain_graph is None else retain_graph
    if not sizes.pop():
        return tuple(from_array(np.zeros((0, *tensor._m.shape), tensor._m.np)).to(tensor.device) for tensor in inputs)
    weights, ordinary = importlib.import_module(".func.levels", __package__).batch_of(*gradients)
    return tuple(ordinary(found) for found in grad(outputs, inputs, weights, retain, **options))


_backward.__name__, _backward.__qualname__ = "backward", "Tensor.backward"
Tensor.backward = _backward
autograd.backward, autograd.grad = backward, grad
