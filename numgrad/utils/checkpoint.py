"""Activation checkpointing: forward without keeping intermediate results, which backward computes again (arXiv:1604.06174)."""

import contextlib
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from .. import autograd
from ..amp.autocast_mode import as_now
from ..autograd.graph import saved_tensors_hooks
from ..errors import callers_stack
from ..function import Function
from ..gradients import backward
from ..ops.create import empty
from ..ops.random import get_rng_state, set_rng_state
from ..random import fork_rng
from ..tensor import Tensor


class _Again(Function):
    """Runs a function unrecorded; its gradient runs it again, recorded, from the same inputs, random state and autocast."""

    @staticmethod
    def forward(ctx, always, function, keep_random, options, *inputs):
        ctx.function, ctx.options, ctx.precision = function, options, as_now()
        ctx.random = get_rng_state() if keep_random else None
        ctx.places = [k for k, value in enumerate(inputs) if isinstance(value, Tensor)]
        ctx.inputs = [None if isinstance(value, Tensor) else value for value in inputs]
        ctx.save_for_backward(*(inputs[k] for k in ctx.places))
        found = function(*inputs, **options)
        ctx.several = isinstance(found, tuple)
        return found

    @staticmethod
    def backward(ctx, *gradients):
        if autograd.needed_now() is not None:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` parameter to "
                ".backward(). To resolve this error, you can either set use_reentrant=False, or call .backward() without passing "
                "the `inputs` argument."
            )
        if autograd.is_grad_enabled():
            raise RuntimeError(
                "checkpoint: there is no second derivative (create_graph=True) through a call that was checkpointed with "
                "use_reentrant=True; pass use_reentrant=False"
            )
        inputs = list(ctx.inputs)
        for k, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            inputs[k] = tensor.detach().requires_grad_(ctx.needs_input_grad[4 + k])
        with fork_rng(enabled=ctx.random is not None), autograd.enable_grad(), ctx.precision:
            if ctx.random is not None:
                set_rng_state(ctx.random)
            found = ctx.function(*inputs, **ctx.options)
        found = found if ctx.several else (found,)
        if any(ctx.needs_input_grad[4:]) and not any(isinstance(value, Tensor) and value.requires_grad for value in found):
            raise RuntimeError(
                "checkpoint: none of output has requires_grad=True, this checkpoint() is not necessary: its function breaks the "
                "history of its inputs"
            )
        wanted = [
            (tensor, gradient)
            for tensor, gradient in zip(found, gradients, strict=True)
            if isinstance(tensor, Tensor) and tensor.requires_grad and gradient is not None
        ]
        if wanted:
            backward([tensor for tensor, _ in wanted], [gradient for _, gradient in wanted])
        return (None, None, None, None, *(value.grad if isinstance(value, Tensor) else None for value in inputs))


class CheckpointError(RuntimeError):
    """The function did not do the same when it ran again."""


class _Stop(Exception):
    """All that was saved is there again: what the function would do after that is not needed."""


class _SaveInputs(Function):
    """Keeps tensors as any op does: they pass through the hooks in force, and writes to them are noticed."""

    @staticmethod
    def forward(ctx, always, *tensors):
        ctx.save_for_backward(*tensors)
        return always.detach()

    @staticmethod
    def backward(ctx, *gradients):
        raise AssertionError("checkpoint: nothing depends on the node that keeps the inputs")


class _Holder:
    """Stands for one tensor that was saved; ``again`` holds it once computed again, for each backward pass under way."""

    __slots__ = ("again", "__weakref__")

    def __init__(self):
        self.again: dict[Any, Tensor] = {}


class _Settings:
    early_stop = True
    debug: bool | None = None


_settings = _Settings()


class _Setting:
    """Context in which checkpoints are made with a setting."""

    name = ""

    def __init__(self, enable: bool | None):
        self.value = enable

    def __enter__(self) -> None:
        self.before = getattr(_settings, self.name)
        setattr(_settings, self.name, self.value)

    def __exit__(self, *exception: object) -> None:
        setattr(_settings, self.name, self.before)


class set_checkpoint_early_stop(_Setting):
    """Context: whether checkpoints made in it, when they run again, stop as soon as all that is needed is there (the
    default). It counts where the checkpoint is made, not where backward runs."""

    name = "early_stop"


class set_checkpoint_debug_enabled(_Setting):
    """Context: ``debug`` of the checkpoints made in it, whatever they say; None leaves it to them."""

    name = "debug"


def _metadata(tensor):
    return {"shape": tensor.shape, "dtype": tensor.dtype, "device": tensor.device}


_CHECKS: dict[str, Callable[[Tensor], Any]] = {"default": _metadata, "none": lambda tensor: None}


class _Frame:
    """One call whose saved tensors are dropped, and computed again, all at once, when the first of them is needed."""

    def __init__(self, function, args, kwargs, keep_random, recompute_context, describe, debug):
        self.function, self.kwargs, self.context, self.precision = function, kwargs, recompute_context, as_now()
        self.random = get_rng_state() if keep_random else None
        self.describe, self.debug, self.early_stop = describe, debug, _settings.early_stop
        self.holders: list[weakref.ref] = []
        self.described: list = []
        self.stacks: list[str] = []  # where each tensor was saved, with ``debug``
        self.passes: set = set()  # the backward passes for which it ran again
        self.complete = False
        self.places = [k for k, value in enumerate(args) if isinstance(value, Tensor)]
        self.others = [None if isinstance(value, Tensor) else value for value in args]
        always = empty(0, requires_grad=True)
        self.inputs = _SaveInputs.apply(always, *(args[k] for k in self.places)).grad_fn

    def pack(self, tensor):
        holder = _Holder()
        self.holders.append(weakref.ref(holder))
        self.described.append(self.describe(tensor))
        if self.debug:
            self.stacks.append(callers_stack())
        return holder

    def unpack(self, holder):
        number = autograd.local.walk
        if number is None:  # looked at from outside of a backward pass
            number = object()
        if number not in self.passes:
            self.run_again(number)
        if number not in holder.again:
            raise CheckpointError(
                "checkpoint: Unpack is being triggered for a tensor that was already unpacked once. If you are calling "
                "ctx.saved_tensors in backward, make sure to do so only once."
            )
        return holder.again.pop(number)

    def run_again(self, number):
        described, stacks = [], []

        def pack(tensor):
            place = len(described)
            if place >= len(self.holders):
                if not self.complete:  # a backward pass within the function itself, which has not got this far
                    return tensor.detach()
                raise CheckpointError(
                    "checkpoint: trying to save more tensors during recomputation than during the original forward pass: "
                    f"{len(self.holders)} were saved there. The function must do the same both times." + self.log(stacks)
                )
            described.append(self.describe(tensor))
            if self.debug:
                stacks.append(callers_stack())
            holder = self.holders[place]()
            if holder is not None:
                holder.again[number] = tensor if tensor._n is None else tensor.detach()
            if self.early_stop and len(described) == len(self.holders):
                raise _Stop
            return tensor.detach()

        args = list(self.others)
        for k, tensor in zip(self.places, self.inputs.saved_tensors):
            args[k] = tensor
        with fork_rng(enabled=self.random is not None), autograd.enable_grad(), self.precision:
            if self.random is not None:
                set_rng_state(self.random)
            try:
                with self.context, saved_tensors_hooks(pack, lambda tensor: tensor):
                    self.function(*args, **self.kwargs)
            except _Stop:
                pass
        self.passes.add(number)
        self.compare(described, stacks)

    def compare(self, described, stacks):
        """Refuse to go on with what is not what was saved before."""
        if len(described) != len(self.holders):
            raise CheckpointError(
                "checkpoint: A different number of tensors was saved during the original forward and recomputation: "
                f"{len(self.holders)} before, {len(described)} now. The function must do the same both times." + self.log(stacks)
            )
        different = [
            f"tensor at position {k}:\nsaved metadata: {before}\nrecomputed metadata: {now}"
            for k, (before, now) in enumerate(zip(self.described, described))
            if before != now
        ]
        if different:
            raise CheckpointError(
                "checkpoint: Recomputed values for the following tensors have different metadata than during the forward "
                "pass.\n" + "\n".join(different) + self.log(stacks)
            )

    def log(self, stacks):
        if not self.debug:
            return "\nPass debug=True to see where each tensor was saved."
        listed = [
            f"{title}\n" + "\n".join(f"tensor at position {k}, saved at:\n{stack}" for k, stack in enumerate(found))
            for title, found in (("In the forward pass:", self.stacks), ("When it ran again:", stacks))
        ]
        return "\nYou are seeing this error because you passed `debug=True` to checkpoint.\n" + "\n".join(listed)



def noop_context_fn() -> tuple[contextlib.AbstractContextManager, contextlib.AbstractContextManager]:
    """Two contexts that do nothing, the default of ``context_fn``."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def _warn_of_default():
    warnings.warn(
        "numgrad.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is recommended, "
        "and what is done here without it; PyTorch 2.6 takes use_reentrant=True.",
        stacklevel=3,
    )


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)`` without keeping its intermediate results: backward calls it a second time.

    ``preserve_rng_state``: the second call draws the same random numbers. ``context_fn()`` gives two contexts, that of the
    first and that of the second call. ``determinism_check``: "default" compares shapes, dtypes and devices of what both
    save, "none" only how many there are; CheckpointError where they differ, with ``debug`` with the places where they
    were saved.

    With ``use_reentrant=True`` the function must return a tensor or a tuple, there is no second derivative, and a pass to
    some inputs only (`autograd.grad`, ``backward(inputs=...)``) is refused; ``context_fn``, ``determinism_check`` and
    ``debug`` are for ``use_reentrant=False`` only (ValueError), which is what None means.
    """
    if determinism_check not in _CHECKS:
        raise ValueError(f"determinism_check should be one of {list(_CHECKS)}, but got {determinism_check}")
    if use_reentrant is None:
        _warn_of_default()
    if use_reentrant:
        if context_fn is not noop_context_fn or debug is not False or determinism_check != "default":
            raise ValueError(
                "Passing `context_fn`, `determinism_check` or `debug` is only supported when use_reentrant=False."
            )
        if not autograd.is_grad_enabled():
            return function(*args, **kwargs)
        always = empty(0, requires_grad=True)  # so that parameters get gradients though no argument needs one
        return _Again.apply(always, function, preserve_rng_state, kwargs, *args)
    if not autograd.is_grad_enabled():
        return function(*args, **kwargs)
    forward_context, recompute_context = context_fn()
    debug = debug if _settings.debug is None else _settings.debug
    frame = _Frame(function, args, kwargs, preserve_rng_state, recompute_context, _CHECKS[determinism_check], debug)
    with saved_tensors_hooks(frame.pack, frame.unpack), forward_context:
        found = function(*args, **kwargs)
    frame.complete = True
    return found


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """The functions (a Sequential or a list) one after the other, in ``segments`` parts of which all but the last are
    checkpointed."""
    if use_reentrant is None:
        _warn_of_default()
        use_reentrant = False
    functions = list(functions.children()) if hasattr(functions, "children") else list(functions)
    length = len(functions) // segments
    if segments < 1 or length < 1:
        raise ValueError(f"checkpoint_sequential: expected 1 to {len(functions)} segments, got {segments}")

    def run(part: Sequence[Callable]):
        def through(value):
            for function in part:
                value = function(value)
            return value

        return through

    for k in range(segments - 1):
        part = functions[k * length : (k + 1) * length]
        input = checkpoint(run(part), input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state)
    return run(functions[(segments - 1) * length :])(input)
