"""Hooks of a Module: how they are registered, and the call that runs them."""

import weakref
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from ..autograd import is_grad_enabled
from ..function import Function
from ..tensor import Tensor
from ._traps import warn


class RemovableHandle:
    """Takes a hook out again: ``handle.remove()``, or leave ``with handle``."""

    next_id = 0

    def __init__(self, hooks_dict, *, extra_dict: Any = ()):
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        extra = extra_dict if isinstance(extra_dict, (list, tuple)) else (extra_dict,)
        # Weak, so that a handle keeps no module alive.
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.extra_dict_ref = tuple(weakref.ref(table) for table in extra)

    def remove(self) -> None:
        """Take the hook out; doing so twice is allowed."""
        for reference in (self.hooks_dict_ref, *self.extra_dict_ref):
            table = reference()
            if table is not None:
                table.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()

    def __getstate__(self):
        return self.id, tuple(reference() for reference in (self.hooks_dict_ref, *self.extra_dict_ref))

    def __setstate__(self, state):
        self.id, tables = state
        self._kept = tuple(OrderedDict() if table is None else table for table in tables)
        self.hooks_dict_ref, *extra = (weakref.ref(table) for table in self._kept)
        self.extra_dict_ref = tuple(extra)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)


def add_hook(table, hook, prepend=False, extra=(), options=()) -> RemovableHandle:
    """Put ``hook`` into ``table``, its ``options`` (flags) into the tables ``extra``, and return the handle."""
    handle = RemovableHandle(table, extra_dict=extra)
    table[handle.id] = hook
    for flags, option in zip(extra, options, strict=True):
        if option:
            flags[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


class HookTable:
    """A table of hooks, made when it is first asked for: ``module._forward_hooks`` and its kin.

    Most modules have no hooks; those pay for none, neither in memory nor when they are called. A table that a call
    must look at (``called``) marks its module, and from then on calls of that module look.
    """

    def __init__(self, called: bool = False):
        self.called = called

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, module, owner=None) -> Any:
        if module is None:
            return self
        table = module.__dict__[self.name] = OrderedDict()
        if self.called:
            module.__dict__["_hooked"] = True
            _calls_look_at_hooks()
        return table


class _Call(property):
    """What stands behind ``module(...)``: a property that gives the function to call.

    A property needs no packing and unpacking of arguments, as a ``__call__(*args, **kwargs)`` would. Before the first
    hook in this process it is ``forward`` itself, found without running any Python code.
    """

    def __call__(self, module, /, *args, **kwargs):
        return self.__get__(module)(*args, **kwargs)  # Module.__call__(module, x)


def _calls_look_at_hooks():
    HookMethods.__call__ = _Call(lambda module: module._call_impl if module._hooked else module.forward)


# --- hooks of all modules -----------------------------------------------------------------------------------------

_global_forward_pre_hooks: OrderedDict = OrderedDict()
_global_forward_pre_hooks_with_kwargs: OrderedDict = OrderedDict()
_global_forward_hooks: OrderedDict = OrderedDict()
_global_forward_hooks_with_kwargs: OrderedDict = OrderedDict()
_global_forward_hooks_always_called: OrderedDict = OrderedDict()
_global_backward_hooks: OrderedDict = OrderedDict()
_global_backward_pre_hooks: OrderedDict = OrderedDict()
_global_is_full_backward_hook: bool | None = None
_global_parameter_registration_hooks: OrderedDict = OrderedDict()
_global_buffer_registration_hooks: OrderedDict = OrderedDict()
_global_module_registration_hooks: OrderedDict = OrderedDict()


def _hook_all(*arguments, **options):
    HookMethods._hooked = True
    _calls_look_at_hooks()
    return add_hook(*arguments, **options)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, parameter)`` at every registration; it may return another parameter."""
    return add_hook(_global_parameter_registration_hooks, hook)


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` at every registration; it may return another buffer."""
    return add_hook(_global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` at every registration; it may return another module."""
    return add_hook(_global_module_registration_hooks, hook)


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, args)`` before every module's forward, before the module's own hooks."""
    return _hook_all(_global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after every module's forward, before the module's own hooks."""
    return _hook_all(
        _global_forward_hooks, hook, extra=(_global_forward_hooks_with_kwargs, _global_forward_hooks_always_called), options=(with_kwargs, always_call)
    )


def _set_all_full(full: bool) -> None:
    global _global_is_full_backward_hook
    if _global_is_full_backward_hook is (not full):
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module hook. Please use only "
            "one of them."
        )
    _global_is_full_backward_hook = full


def register_module_backward_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` at the node that made each module's output; prefer
    `register_module_full_backward_hook`."""
    _set_all_full(False)
    return _hook_all(_global_backward_hooks, hook)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before the backward pass of every module."""
    return _hook_all(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when the gradients of a module's inputs are computed."""
    _set_all_full(True)
    return _hook_all(_global_backward_hooks, hook)


# --- a module's own -----------------------------------------------------------------------------------------------


class HookMethods:
    """The hooks that a Module has, and its call."""

    __call__: Callable[..., Any] = _Call(attrgetter("forward"))  # type: ignore[assignment]

    _hooked = False
    _is_full_backward_hook: bool | None = None

    _forward_pre_hooks = HookTable(called=True)
    _forward_pre_hooks_with_kwargs = HookTable(called=True)
    _forward_hooks = HookTable(called=True)
    _forward_hooks_with_kwargs = HookTable(called=True)
    _forward_hooks_always_called = HookTable(called=True)
    _backward_hooks = HookTable(called=True)
    _backward_pre_hooks = HookTable(called=True)

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; what it returns (a value or tuple) replaces the arguments.

        ``with_kwargs``: the hook takes ``(module, args, kwargs)`` and returns None or ``(args, kwargs)``.
        ``prepend``: run before the hooks registered so far.
        """
        extra = (self._forward_pre_hooks_with_kwargs,)
        return add_hook(self._forward_pre_hooks, hook, prepend, extra, (with_kwargs,))

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; what it returns, unless None, replaces the output.

        ``with_kwargs``: the hook takes ``(module, args, kwargs, output)``. ``always_call``: also when forward raises.
        """
        extra = (self._forward_hooks_with_kwargs, self._forward_hooks_always_called)
        return add_hook(self._forward_hooks, hook, prepend, extra, (with_kwargs, always_call))

    def _set_full(self, full: bool) -> None:
        if self._is_full_backward_hook is (not full):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only "
                "one of them."
            )
        self._is_full_backward_hook = full

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` at the node that made the output; prefer
        `register_full_backward_hook`, whose ``grad_input`` is the module's."""
        self._set_full(False)
        return add_hook(self._backward_hooks, hook)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are computed.

        Both are tuples, with None for what is no tensor; what the hook returns, unless None, replaces ``grad_input``.
        """
        self._set_full(True)
        return add_hook(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the module's backward pass; what it returns, unless None,
        replaces ``grad_output``."""
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def _call_impl(self, *args, **kwargs):
        """Forward with all hooks around it."""
        if not (
            self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
            or _global_forward_hooks or _global_forward_pre_hooks or _global_backward_hooks or _global_backward_pre_hooks
        ):  # fmt: skip
            return self.forward(*args, **kwargs)  # type: ignore[attr-defined]
        after = [(_global_forward_hooks_with_kwargs, _global_forward_hooks_always_called, *item) for item in _global_forward_hooks.items()]
        own = self._forward_hooks_with_kwargs, self._forward_hooks_always_called
        called: set[int] = set()
        output = None
        try:
            args, kwargs = self._run_pre_hooks(args, kwargs)
            watch = _Watch.over(self)
            if watch is not None:
                args = watch.inputs(args)
            output = self.forward(*args, **kwargs)  # type: ignore[attr-defined]
            after += [(*own, *item) for item in self._forward_hooks.items()]
            for with_kwargs, always, key, hook in after:
                if key in always:
                    called.add(key)
                changed = hook(self, args, kwargs, output) if key in with_kwargs else hook(self, args, output)
                if changed is not None:
                    output = changed
            if watch is not None:
                output = watch.outputs(output)
            self._attach_plain_backward_hooks(args, output)
            return output
        except Exception:
            after = after[: len(_global_forward_hooks)] + [(*own, *item) for item in self._forward_hooks.items()]
            for with_kwargs, always, key, hook in after:
                if key in always and key not in called:
                    try:
                        changed = hook(self, args, kwargs, output) if key in with_kwargs else hook(self, args, output)
                        output = output if changed is None else changed
                    except Exception as error:  # the first error is the one to report
                        warn(
                            f"{type(self).__name__}: a forward hook with always_call=True raised an exception that was "
                            f"silenced as another error was raised in forward: {error}"
                        )
            raise

    def _run_pre_hooks(self, args, kwargs):
        for key, hook in (*_global_forward_pre_hooks.items(), *self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is None:
                    continue
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    )
                args, kwargs = changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        return args, kwargs

    def _attach_plain_backward_hooks(self, args, output):
        hooks = list(_global_backward_hooks.values()) if _global_is_full_backward_hook is False else []
        if self._is_full_backward_hook is False:
            hooks += self._backward_hooks.values()
        if not hooks:
            return
        first = output
        while not isinstance(first, Tensor):
            if isinstance(first, dict):
                first = next((v for v in first.values() if isinstance(v, Tensor)), None)
            elif isinstance(first, (list, tuple)) and first:
                first = first[0]
            else:
                return
        node = first.grad_fn
        if node is None:
            return
        lack = _missing_of_plain_hooks(args, output, node)
        if lack is not None:
            warn(
                f"Using {lack} Please use register_full_backward_hook to get the documented behavior.", FutureWarning
            )
        for hook in hooks:
            node.register_hook(_PlainBackwardHook(self, hook))


def _missing_of_plain_hooks(args, output, node) -> str | None:
    """What non-full backward hooks at ``node`` do not see, said as PyTorch says it; None if they see all."""
    future = "is deprecated and will be removed in future versions. This hook will be missing some"
    outputs = (output,) if isinstance(output, Tensor) else output
    if not isinstance(outputs, tuple) or not all(isinstance(value, Tensor) for value in outputs):
        return (
            "non-full backward hooks on a Module that does not return a single Tensor or a tuple of Tensors "
            f"{future} of the grad_output."
        )
    if not all(isinstance(value, Tensor) for value in args):
        return (
            "non-full backward hooks on a Module that does not take as input a single Tensor or a tuple of Tensors "
            f"{future} of the grad_input."
        )
    if any(value.grad_fn is not node for value in outputs if value.grad_fn is not None):
        return f"a non-full backward hook when outputs are generated by different autograd Nodes {future} grad_output."
    if {value._n for value in args} != set(node.next):
        return f"a non-full backward hook when the forward contains multiple autograd Nodes {future} grad_input."
    return None


class _PlainBackwardHook:
    """A non-full backward hook as the hook of a node."""

    def __init__(self, module, hook):
        self.module, self.hook = module, hook

    def __call__(self, inputs, outputs):
        changed = self.hook(self.module, inputs, outputs)
        if isinstance(changed, tuple) and len(changed) != len(inputs):
            name = getattr(self.hook, "__name__", type(self.hook).__name__)
            raise RuntimeError(
                f"hook '{name}' has returned an incorrect number of values (got {len(changed)}, but expected {len(inputs)})"
            )
        return changed


# --- backward hooks: gradients of the outputs on one side of a module, of the inputs on the other -----------------


class BackwardHookFunction(Function):
    """The identity; hands the gradients of all its tensors to ``react`` at once and passes on what that returns."""

    @staticmethod
    def forward(ctx, react, *tensors):
        ctx.react = react
        ctx.set_materialize_grads(False)
        return tensors

    @staticmethod
    def backward(ctx, *gradients):
        return None, *ctx.react(gradients)


class _Watch:
    """One call of a module with full backward hooks."""

    @staticmethod
    def over(module):
        hooks = list(_global_backward_hooks.values()) if _global_is_full_backward_hook else []
        if module._is_full_backward_hook:
            hooks += module._backward_hooks.values()
        pre_hooks = [*_global_backward_pre_hooks.values(), *module._backward_pre_hooks.values()]
        return _Watch(module, hooks, pre_hooks) if (hooks or pre_hooks) and is_grad_enabled() else None

    def __init__(self, module, hooks, pre_hooks):
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.n_inputs = self.grad_output = None
        self.recorded = False  # whether an input requires grad, so that its gradient will come by

    def inputs(self, args):
        self.n_inputs = len(args)
        args, self.recorded = self._through(args, self._input_gradients)
        return args

    def outputs(self, output):
        if isinstance(output, Tensor):
            return self._through((output,), self._output_gradients)[0][0]
        if isinstance(output, (list, tuple)):
            values, _ = self._through(tuple(output), self._output_gradients)
            if isinstance(output, tuple) and hasattr(output, "_make"):
                return type(output)._make(values)  # a named tuple
            return type(output)(values)
        warn(
            "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
            f"{type(output)}"
        )
        return output

    def _through(self, values, react):
        places = [k for k, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
        if not places:
            return values, False

        def spread(gradients):
            given = [None] * len(values)
            for k, gradient in zip(places, gradients, strict=True):
                given[k] = gradient
            found = react(tuple(given))
            return tuple(found[k] for k in places)

        values = list(values)
        passed = BackwardHookFunction.apply(spread, *(values[k] for k in places))
        for k, tensor in zip(places, passed if isinstance(passed, tuple) else (passed,), strict=True):
            values[k] = tensor
        return tuple(values), True

    def _run(self, what, hook, gradients, *more):
        """The gradients after a hook saw them."""
        changed = hook(self.module, gradients, *more)
        if changed is None:
            return gradients
        changed = changed if isinstance(changed, tuple) else (changed,)
        if len(changed) != len(gradients):
            raise RuntimeError(
                f"Backward hook returned an invalid number of {what}, got {len(changed)}, but expected {len(gradients)}"
            )
        return changed

    def _output_gradients(self, gradients):
        for hook in self.pre_hooks:
            gradients = self._run("grad_output", hook, gradients)
        self.grad_output = gradients
        if self.hooks and not self.recorded:
            nothing = (None,) * (self.n_inputs or 0)
            for hook in self.hooks:
                changed = hook(self.module, nothing, gradients)
                if changed is not None and not (isinstance(changed, tuple) and all(g is None for g in changed)):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or None "
                        "for all gradients."
                    )
        return gradients

    def _input_gradients(self, gradients):
        if self.grad_output is None:  # it did not come through the outputs, such as in a second derivative
            return gradients
        for hook in self.hooks:
            gradients = self._run("grad_input", hook, gradients, self.grad_output)
        self.grad_output = None
        return gradients
