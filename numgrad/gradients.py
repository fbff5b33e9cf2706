"""The entries to the recorder: `autograd.backward`, `autograd.grad` and `Tensor.backward`."""

import importlib

import numpy as np

from . import autograd
from .autograd import GradientEdge
from .device import CPU
from .storage import meta
from .tensor import Tensor, from_array, make


def _root_gradient(op, tensor, gradient, k):
    if gradient is None:
        if tensor._m.numel != 1:
            raise RuntimeError(
                f"grad can be implicitly created only for scalar outputs: {op} got a tensor of shape "
                f"{list(tensor._m.shape)}. Reduce it first, e.g. .sum(), or pass gradient= of its shape."
            )
        if tensor._m.dtype.is_complex:
            raise RuntimeError(
                f"grad can be implicitly created only for real scalar outputs but got {tensor._m.dtype!r}; take .abs() or "
                ".real of it, or pass gradient="
            )
        m = meta(tensor._m.dtype, tensor._m.shape, tensor._m.device)
        if m.device is CPU:
            one = make(m.empty(1, m.np), m)
            one._d[0] = m.dtype.one
            return one
        return from_array(m.dtype.encode(np.ones(m.shape))).to(m.device)
    if not isinstance(gradient, Tensor):
        raise TypeError(f"{op}: gradients can be either Tensors or None, but got {type(gradient).__name__}")
    if gradient._m.shape != tensor._m.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{k}] has a shape of {gradient._m.shape} and output[{k}] has a shape of "
            f"{tensor._m.shape}."
        )
    if not gradient._m.dtype.differentiable:
        raise RuntimeError(f"{op}: grad_output[{k}] must be floating point, got {gradient._m.dtype!r}")
    return gradient


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
            if not isinstance(gradient, Tensor):
                raise RuntimeError(
                    f"{op}: a GradientEdge as output needs its gradient, pass a Tensor of the shape of what it stands for"
                )
            roots.append((tensor.node, gradient))
            continue
        roots.append((tensor._n, _root_gradient(op, tensor, gradient, k)))
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
        root = _root_gradient("backward", self, gradient, 0)
        retain = create_graph if retain_graph is None else retain_graph
        autograd.walk([(self._n, root)], retain, create_graph)
    else:
        backward(self, gradient, retain_graph, create_graph, inputs)


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
    roots = _roots("backward", tensors, gradients)
    retain = create_graph if retain_graph is None else retain_graph
    autograd.walk(roots, retain, create_graph, captures)
    if captures is not None:
        for tensor in inputs:
            if type(tensor) is GradientEdge:
                continue
            if not tensor._n.leaf and captures[tensor._n] is not None and not tensor.retains_grad:
                gradient = captures[tensor._n]
                tensor.grad = gradient if tensor._grad is None else autograd.engine.add(tensor._grad, gradient)


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
        reached = [captures[tensor._n] for tensor in inputs]
    found = []
    for tensor, gradient in zip(inputs, reached):
        if gradient is None and materialize_grads and type(tensor) is not GradientEdge:
            m = tensor._m
            gradient = from_array(np.zeros(m.shape, m.np)).to(m.device)
        elif gradient is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        found.append(gradient)
    return tuple(found)


def _batched(outputs, inputs, gradients, retain_graph, options):
    sizes = {-1 if value is None or value.ndim == 0 else len(value) for value in gradients}
    if len(sizes) != 1 or -1 in sizes:
        raise RuntimeError(
            "autograd.grad: with is_grads_batched=True every grad_outputs must be a Tensor with a first dimension of one "
            f"size, got {[None if value is None else list(value.shape) for value in gradients]}"
        )
    retain = options["create_graph"] if retain_graph is None else retain_graph
    if not sizes.pop():
        return tuple(from_array(np.zeros((0, *tensor._m.shape), tensor._m.np)).to(tensor.device) for tensor in inputs)
    weights, ordinary = importlib.import_module(".func.levels", __package__).batch_of(*gradients)
    return tuple(ordinary(found) for found in grad(outputs, inputs, weights, retain, **options))


_backward.__name__, _backward.__qualname__ = "backward", "Tensor.backward"
Tensor.backward = _backward
autograd.backward, autograd.grad = backward, grad
