"""`Function`: ops given by a forward and a backward method over Tensors."""

import inspect
import warnings
import weakref

from . import autograd
from .autograd import Node, OutputNode, Pending, is_grad_enabled, next_seq, no_grad, switch
from .errors import GradientError
from .inplace import check_recorded, rebase, written
from .op import ENTRIES, SavedResult, cast_gradient, note_recorded, recording, sum_to
from .packing import SavedTensor
from .storage import meta, same_memory
from .tensor import Tensor, alias, empty_tensor, follow, storage_of, wrap_as


class Context:
    """What ``forward`` leaves for ``backward``: saved tensors, flags, and any attribute set on it. Once the call is recorded
    it stands for its node: ``ctx.name()``, ``ctx.next_functions``, ``ctx.metadata``, ``ctx.register_hook``."""

    def __init__(self):
        self._to_save: tuple = ()
        self._not_differentiable: tuple = ()
        self._dirty: tuple = ()
        self._materialize = True
        self._materialize_non_diff_grads = True
        self.needs_input_grad: tuple = ()

    _node = None  # a weak reference to the node once the call is recorded
    _by_ops = False  # whether the walk that calls ``backward`` has ops tell their gradients by ops, to record them or for a batch

    def _recorded(self, name):
        node = None if self._node is None else self._node()
        if node is None:
            raise RuntimeError(
                f"Attribute '{name}' is invalid for this instance of {type(self).__name__}: it belongs to a call that is "
                "recorded, the underlying PyNode has already been deallocated or there was none"
            )
        return node

    def save_for_backward(self, *tensors):
        """Keep inputs or outputs (or None) for `saved_tensors`; writes to them in between are noticed."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(f"save_for_backward can only save variables, but argument is of type {type(tensor).__name__}")
        self._to_save = tensors

    def save_for_forward(self, *tensors):
        """Keep tensors for ``jvp``, where they are the `saved_tensors`."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(f"save_for_forward can only save variables, but argument is of type {type(tensor).__name__}")
        self._for_forward = tensors

    _for_forward: tuple = ()
    _forward = False  # whether ``jvp`` is being called

    @property
    def saved_tensors(self):
        """What was handed to `save_for_backward`; within ``jvp`` to `save_for_forward`. RuntimeError once it is freed or was
        written to."""
        if self._forward:
            return self._for_forward
        node = None if self._node is None else self._node()
        if node is None:
            if self._node is not None:
                raise GradientError(
                    "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                    "already been freed): the graph that this call belongs to is gone."
                )
            return self._to_save
        return node.saved_tensors

    @property
    def saved_variables(self):
        """`saved_tensors` under its old name."""
        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        return self.saved_tensors

    def mark_non_differentiable(self, *tensors):
        """These outputs get no gradient."""
        self._not_differentiable = tensors

    non_differentiable = property(lambda self: self._not_differentiable)

    def mark_dirty(self, *tensors):
        """These inputs were modified in place; they have to be outputs too."""
        self._dirty = tensors

    dirty_tensors = property(lambda self: self._dirty)

    def set_materialize_grads(self, value: bool):
        """Whether missing gradients arrive as zeros (the default) or None."""
        self._materialize = value

    materialize_grads = property(lambda self: self._materialize)

    def name(self) -> str:
        """The node's name."""
        return self._recorded("name").name()

    @property
    def next_functions(self):
        """The nodes of the inputs, as `Node.next_functions`."""
        return self._recorded("next_functions").next_functions

    @property
    def metadata(self) -> dict:
        """Whatever the user wants to keep with the node."""
        return self._recorded("metadata").metadata

    def register_hook(self, hook):
        """`Node.register_hook` of the recorded call."""
        return self._recorded("register_hook").register_hook(hook)

    def register_prehook(self, hook):
        """`Node.register_prehook` of the recorded call."""
        return self._recorded("register_prehook").register_prehook(hook)

    def _register_hook_dict(self, tensor):
        self._recorded("_register_hook_dict")


class FunctionNode(Node):
    """The node of a `Function` call: collects the gradients of its outputs, then calls ``backward``."""

    __slots__ = ()
    unpacks = True
    told = True

    def __getattr__(self, name):
        """What ``forward`` set on its context is found on the node too."""
        context = self.__dict__.get("context")
        if context is not None and name in context.__dict__ and name != "_node":
            return context.__dict__[name]
        return super().__getattr__(name)

    @property
    def saved_tensors(self):
        self.check()
        several = len(self.metas) > 1
        found = tuple(
            item.restore(OutputNode(self, k) if several else self) if type(item) is SavedResult else item
            for k, item in zip(self.saved_from, self.restored())
        )
        if self.function.clear_saved_tensors_on_access:
            self.saved = None
        return found

    needs_input_grad = property(lambda self: self.context.needs_input_grad)
    dirty_tensors = property(lambda self: self.context._dirty)
    non_differentiable = property(lambda self: self.context._not_differentiable)
    materialize_grads = property(lambda self: self.context._materialize)

    @property
    def _raw_saved_tensors(self):
        if self.saved is None:
            raise self.freed()
        return tuple(SavedTensor(self, k) for k in range(len(self.saved)))

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

    def seed(self, output_nr, gradient):
        return gradient if len(self.metas) == 1 else Pending([(output_nr, gradient)])

    @property
    def _input_metadata(self):
        return tuple(self.metas)

    def _gradient_function(self):
        function = self.function
        if function.vjp is not Function.vjp:
            if function.backward is not Function.backward and function.backward is not function.vjp:
                raise RuntimeError(
                    "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement "
                    "one of them."
                )
            return function.vjp
        return function.backward

    def _run(self, gradient, recorded):
        gradients = list(self.outputs(gradient))
        context = self.context
        context._by_ops = recorded
        if context._materialize:
            skipped = () if context._materialize_non_diff_grads else self.fixed
            for k, m in enumerate(self.metas):
                if gradients[k] is None and m is not None and k not in skipped:
                    gradients[k] = empty_tensor(meta(m.dtype, m.shape, m.device)).zero_()
        found = self._gradient_function()(context, *gradients)
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
        cls._node_class = cls._backward_cls = type(
            f"{name}Backward", (FunctionNode,), {"name": f"{name}Backward", "__slots__": ()}
        )


class Function(Context, metaclass=_FunctionMeta):
    """A differentiable function given by two static methods.

    ``forward(ctx, *args)`` (or ``forward(*args)`` with ``setup_context(ctx, inputs, output)``) computes on Tensors,
    unrecorded; ``backward(ctx, *grad_outputs)`` (or ``vjp``) returns one gradient (or None) an argument. Call `apply`.
    ``vmap(info, in_dims, *args)`` computes on whole batches and returns the outputs and their batch dimensions; without
    it, `func.vmap` calls it slice by slice. ``jvp(ctx, *tangents)`` returns one tangent an output, for directional derivatives
    (`func.jvp`, `autograd.forward_ad`); without it they come from ``backward``.
    With ``clear_saved_tensors_on_access`` what was saved is freed as soon as ``backward`` reads it.
    """

    generate_vmap_rule = False
    clear_saved_tensors_on_access = False

    @staticmethod
    def forward(*args, **kwargs):
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise NotImplementedError("setup_context is not defined for this Function.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function to call it yourself.")

    @staticmethod
    def vmap(info, in_dims, *args):
        raise NotImplementedError("You must implement the vmap function for custom autograd.Function to call it yourself.")

    def __init__(self, *args, **kwargs):
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should invoke them "
            "on the class itself. Instantiating an autograd function will raise an error in a future version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__()

    def __call__(self, *args, **kwargs):
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd function "
            f"with static forward method: call {type(self).__name__}.apply(...)."
        )

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run ``forward`` and record the call."""
        separate = cls.setup_context is not Function.setup_context
        if separate and (kwargs or len(args) < cls.forward.__code__.co_argcount):
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        tensors = [value for value in args if isinstance(value, Tensor)]
        if any(tensor._m.batched for tensor in tensors):
            return ENTRIES["batched_function"](cls, args, kwargs)
        record = recording(tensors)
        context = Context()
        context.needs_input_grad = tuple(isinstance(value, Tensor) and value._n is not None for value in args)
        level = autograd.local.level if switch.anywhere and record and cls.jvp is not Function.jvp else None
        tangents = None if level is None else level.given(args)
        with no_grad():
            if separate:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, output)
            else:
                output = cls.forward(context, *args, **kwargs)
        single = not isinstance(output, (tuple, list))
        outputs = [output] if single else list(output)
        _check_dirty(cls, context, tensors, outputs)
        if not record:
            _note_views(outputs, tensors)
            return output
        results = _record_call(cls, context, args, tensors, outputs)
        if level is not None and tangents is not None:
            level.called(cls, context, args, tangents, results)
        return results[0] if single else type(output)(results) if type(output) is not list else results


def _check_dirty(cls, context, tensors, outputs):
    """Refuse, or warn of, what was wrongly marked as written to."""
    for value in context._dirty:
        if not any(value is other for other in outputs):
            raise RuntimeError(
                f"{cls.__name__}: Some elements marked as dirty during the forward method were not returned as output. The "
                "inputs that are modified inplace must all be outputs of the Function."
            )
        if not any(value is tensor for tensor in tensors):
            warnings.warn(
                f"{cls.__name__}: Only input Tensors should be given to ctx.mark_dirty(). If a Tensor is not an input, there is "
                "no need to pass it to mark_dirty().",
                stacklevel=3,
            )
        written(value, cls.__name__)


def _note_views(outputs, tensors, kind=None):
    """Outputs that are views, of inputs or of what ``forward`` made: writing to them would pass ``backward`` by."""
    for k, value in enumerate(outputs):
        if not isinstance(value, Tensor) or value._s is None or any(value is tensor for tensor in tensors):
            continue
        source = next((tensor for tensor in tensors if same_memory(tensor._s, value._s)), None)
        if value._base is None and source is not None:
            follow(value, source, value._s)
        root = value._s.root
        if value._base is not None or (root is not None and len(root) > len(value._d)):
            value._creation = (kind or ("custom" if is_grad_enabled() else "no_grad"), k)


def _record_call(cls, context, args, tensors, outputs):
    """Make the outputs those of a node for this call; they are returned, views where an input was returned as it is."""
    node = cls._node_class()
    node.seq = next_seq()
    node.hooks = None
    node.function, node.context, node.arguments = cls, context, len(args)
    node.positions = [k for k, value in enumerate(args) if isinstance(value, Tensor)]
    node.inputs = [value._m for value in tensors]
    node.next = tuple(value._n for value in tensors)
    inputs = {id(value) for value in tensors}
    skipped = {id(value) for value in context._not_differentiable}
    dirty = {id(value) for value in context._dirty} & inputs
    results, made, differentiable = [], {}, []
    for k, value in enumerate(outputs):
        if isinstance(value, Tensor):
            if id(value) in made:  # returned twice: both are the one result
                value = made[id(value)]
            elif id(value) in skipped or not value._m.dtype.differentiable:
                made[id(value)] = value = value.detach() if id(value) in inputs and id(value) not in dirty else value
            elif id(value) in dirty:
                made[id(value)] = value
                differentiable.append(k)
            else:
                # an input, or what has a history of its own: the call's result is another tensor over its memory
                apart = id(value) in inputs or (value._n is not None and value._n.leaf)
                found = value
                if apart:
                    found = alias(value, value._d, value._m)
                    found = found if type(value) is Tensor else wrap_as(type(value), found)
                made[id(value)] = found
                value = found
                differentiable.append(k)
        results.append(value)
    for value in context._dirty:
        _check_rewritten(cls, value, len(outputs))
    fresh = [None if isinstance(value, Tensor) and id(outputs[k]) in dirty else value for k, value in enumerate(results)]
    _note_views(fresh, tensors, "multiple" if len(differentiable) > 1 else "custom")
    node.metas = [value._m if isinstance(value, Tensor) else None for value in results]
    node.fixed = [k for k in range(len(results)) if k not in differentiable]
    for k in differentiable:
        value = results[k]
        own = node if len(results) == 1 else OutputNode(node, k)
        if id(outputs[k]) in dirty:
            rebase(value, own)
        else:
            value._n = own
    saved, origin, storages = [], [], []
    for value in context._to_save:
        place = next((k for k in differentiable if results[k] is value or outputs[k] is value), None)
        if place is not None and (id(value) not in inputs or id(value) in dirty):
            storages.append(storage_of(results[place]))
            saved.append(SavedResult(results[place]))
        else:
            saved.append(value)
        origin.append(place)
    node.saved, node.saved_from, node.storages = tuple(saved), origin, tuple(storages)
    context._to_save = context._dirty = context._not_differentiable = ()  # results in them would be a cycle
    context._node = weakref.ref(node)
    if switch.anywhere:
        note_recorded(node, cls)
    return results


def _check_rewritten(cls, value, count):
    """Refuse to give a written input a new history where that cannot be right."""
    if value._base is not None and count > 1:
        raise RuntimeError(
            f"{cls.__name__}: if your Function modifies inplace an input that is a view of another Tensor, your Function cannot "
            "return more than one Tensor. You should either make sure the input is not a view (using .clone() for example) or "
            "make your Function only return one Tensor (potentially splitting it into two Functions: one doing the inplace that "
            "returns a single Tensor and a second one that does the other operations)."
        )
    check_recorded(cls.__name__, value)


autograd.Function = Function
