"""`Function`: ops given by a forward and a backward method over Tensors."""

import weakref

from . import autograd
from .autograd import Node, OutputNode, Pending, next_seq, no_grad, switch
from .errors import GradientError
from .inplace import written
from .op import ENTRIES, SavedResult, cast_gradient, note_anomaly, recording, sum_to
from .storage import meta
from .tensor import Tensor, alias, empty_tensor, storage_of


class Context:
    """What ``forward`` leaves for ``backward``: saved tensors, flags, and any attribute set on it."""

    def __init__(self):
        self._to_save: tuple = ()
        self._saved = None
        self._not_differentiable: tuple = ()
        self._dirty: tuple = ()
        self._materialize = True
        self.needs_input_grad: tuple = ()

    def save_for_backward(self, *tensors):
        """Keep inputs or outputs (or None) for `saved_tensors`; writes to them in between are noticed."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(f"save_for_backward can only save variables, but argument is of type {type(tensor).__name__}")
        self._to_save = tensors

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self):
        node = None if self._node is None else self._node()
        if node is None:
            return self._to_save
        node.check()
        several = len(node.metas) > 1
        return tuple(
            item.restore(OutputNode(node, k) if several else node) if type(item) is SavedResult else item
            for k, item in zip(node.saved_from, node.saved)
        )

    _node = None  # a weak reference to the node once the call is recorded

    def mark_non_differentiable(self, *tensors):
        """These outputs get no gradient."""
        self._not_differentiable = tensors

    def mark_dirty(self, *tensors):
        """These inputs were modified in place."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool):
        """Whether missing gradients arrive as zeros (the default) or None."""
        self._materialize = value


class _FunctionNode(Node):
    """The node of a `Function` call: collects the gradients of its outputs, then calls ``backward``."""

    __slots__ = ()

    def backward(self, gradient):
        return self._run(gradient, False)

    def backward_recorded(self, gradient):
        return self._run(gradient, True)

    def outputs(self, gradient):
        gradients: list = [None] * len(self.metas)
        for place, value in gradient if isinstance(gradient, Pending) else [(0, gradient)]:
            held = gradients[place]
            gradients[place] = value if held is None else autograd.engine.add(held, value)
        return tuple(gradients)

    def incoming(self, outputs):
        if len(self.metas) == 1:
            return outputs[0]
        return Pending((place, value) for place, value in enumerate(outputs) if value is not None)

    def _run(self, gradient, recorded):
        gradients = list(self.outputs(gradient))
        context = self.context
        if context._materialize:
            for k, m in enumerate(self.metas):
                if gradients[k] is None and m is not None:
                    gradients[k] = empty_tensor(meta(m.dtype, m.shape, m.device)).zero_()
        found = self.function.backward(context, *gradients)
        found = found if isinstance(found, tuple) else (found,)
        if len(found) > self.arguments and all(extra is None for extra in found[self.arguments :]):
            found = found[: self.arguments]
        if len(found) != self.arguments:
            raise RuntimeError(
                f"function {self.name} returned an incorrect number of gradients (expected {self.arguments}, got {len(found)})"
            )
        checked = []
        for k, value in enumerate(found):
            if k not in self.positions:
                if value is not None:
                    raise RuntimeError(
                        f"function {self.name} returned a gradient different from None at position {k + 1}, but the "
                        "corresponding forward input was not a Variable"
                    )
                continue
            if value is not None:
                if not isinstance(value, Tensor):
                    raise TypeError(f"{self.name}: expected Variable or None (got {type(value).__name__})")
                m = self.inputs[self.positions.index(k)]
                if value._m.shape != m.shape:
                    try:
                        value = sum_to(value, m)
                    except RuntimeError:
                        raise RuntimeError(
                            f"Function {self.name} returned an invalid gradient at index {k} - got {list(value._m.shape)} but "
                            f"expected shape compatible with {list(m.shape)}"
                        ) from None
                elif value._m.dtype is not m.dtype:
                    value = cast_gradient(value, m.dtype)
            checked.append(value)
        return tuple(checked)


class _FunctionMeta(type):
    def __init__(cls, name, bases, body):
        super().__init__(name, bases, body)
        if "vjp" in body and "backward" not in body:
            cls.backward = cls.vjp
        cls._node_class = type(f"{name}Backward", (_FunctionNode,), {"name": f"{name}Backward", "__slots__": ()})


class Function(Context, metaclass=_FunctionMeta):
    """A differentiable function given by two static methods.

    ``forward(ctx, *args)`` (or ``forward(*args)`` with ``setup_context(ctx, inputs, output)``) computes on Tensors,
    unrecorded; ``backward(ctx, *grad_outputs)`` (or ``vjp``) returns one gradient (or None) an argument. Call `apply`.
    ``vmap(info, in_dims, *args)`` computes on whole batches and returns the outputs and their batch dimensions; without
    it, `func.vmap` calls it slice by slice. Directional derivatives come from ``backward``: ``jvp`` is not called.
    """

    generate_vmap_rule = False

    @staticmethod
    def forward(*args, **kwargs):
        raise GradientError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise GradientError("setup_context is not defined for this Function.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise GradientError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        raise GradientError("You must implement the jvp function for custom autograd.Function to call it yourself.")

    @staticmethod
    def vmap(info, in_dims, *args):
        raise GradientError("You must implement the vmap function for custom autograd.Function to call it yourself.")

    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"{type(self).__name__} should not be instantiated. Call {type(self).__name__}.apply(...).")

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run ``forward`` and record the call."""
        tensors = [value for value in args if isinstance(value, Tensor)]
        if any(tensor._m.batched for tensor in tensors):
            return ENTRIES["batched_function"](cls, args, kwargs)
        record = recording(tensors)
        context = Context()
        context.needs_input_grad = tuple(isinstance(value, Tensor) and value._n is not None for value in args)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                output = cls.forward(context, *args, **kwargs)
            else:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, output)
        if not record:
            return output
        single = not isinstance(output, (tuple, list))
        outputs = [output] if single else list(output)
        node = cls._node_class()
        node.seq = next_seq()
        node.hooks = None
        node.function, node.context, node.arguments = cls, context, len(args)
        node.positions = [k for k, value in enumerate(args) if isinstance(value, Tensor)]
        node.inputs = [value._m for value in tensors]
        node.next = tuple(value._n for value in tensors)
        results, made = [], {}
        skipped = {id(value) for value in context._not_differentiable}
        dirty = {id(value) for value in context._dirty}
        for value in outputs:
            if isinstance(value, Tensor) and id(value) not in skipped and value._m.dtype.differentiable:
                if id(value) in dirty:
                    written(value, cls.__name__)
                elif value._n is not None or any(value is tensor for tensor in tensors):
                    value = alias(value, value._d, value._m)
                made[id(value)] = len(results)
            results.append(value)
        differentiable = [k for k, value in enumerate(results) if id(value) in made]
        node.metas = [value._m if isinstance(value, Tensor) else None for value in results]
        if len(results) == 1 and differentiable:
            results[0]._n = node
        else:
            for k in differentiable:
                results[k]._n = OutputNode(node, k)
        saved, origin, storages = [], [], []
        for value in context._to_save:
            place = next((k for k in differentiable if results[k] is value or outputs[k] is value), None)
            if place is not None and not any(value is tensor for tensor in tensors):
                storages.append(storage_of(results[place]))
                saved.append(SavedResult(results[place]))
            else:
                saved.append(value)
            origin.append(place)
        node.saved, node.saved_from, node.storages = tuple(saved), origin, tuple(storages)
        context._to_save = ()
        context._node = weakref.ref(node)
        if switch.anywhere:
            note_anomaly(node, cls)
        return results[0] if single else type(output)(results) if type(output) is not list else results


autograd.Function = Function
