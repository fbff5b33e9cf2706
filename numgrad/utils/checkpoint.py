"""Activation checkpointing: forward without keeping intermediate results, which backward computes again (arXiv:1604.06174)."""

from collections.abc import Callable, Sequence
from typing import Any

from .. import autograd
from ..amp.autocast_mode import as_now
from ..autograd.graph import saved_tensors_hooks
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
        wanted = [
            (tensor, gradient)
            for tensor, gradient in zip(found, gradients, strict=True)
            if isinstance(tensor, Tensor) and tensor.requires_grad and gradient is not None
        ]
        if wanted:
            backward([tensor for tensor, _ in wanted], [gradient for _, gradient in wanted])
        return (None, None, None, None, *(value.grad if isinstance(value, Tensor) else None for value in inputs))


class _Recorded:
    """One call whose saved tensors are dropped, and computed again, all at once, when the first of them is needed."""

    def __init__(self, function, args, kwargs, keep_random):
        self.function, self.args, self.kwargs, self.precision = function, args, kwargs, as_now()
        self.random = get_rng_state() if keep_random else None
        self.count = 0  # of the tensors that were saved; the number of each stands for it
        self.again: dict[int, Tensor] = {}  # those computed again that were not asked for yet

    def __call__(self):
        with saved_tensors_hooks(self.pack, self.unpack):
            return self.function(*self.args, **self.kwargs)

    def pack(self, tensor):
        self.count += 1
        return self.count - 1

    def unpack(self, number):
        if number not in self.again:
            self.compute_again()
        return self.again.pop(number)

    def compute_again(self):
        found: list[Tensor] = []
        with fork_rng(enabled=self.random is not None), autograd.enable_grad(), self.precision:
            if self.random is not None:
                set_rng_state(self.random)
            with saved_tensors_hooks(lambda tensor: found.append(tensor.detach()), lambda none: none):
                self.function(*self.args, **self.kwargs)
        if len(found) != self.count:
            raise RuntimeError(
                f"checkpoint: a different number of tensors was saved when the function ran again: {self.count} before, "
                f"{len(found)} now; it must do the same both times"
            )
        self.again = dict(enumerate(found))


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)`` without keeping its intermediate results: backward calls it a second time.

    ``preserve_rng_state``: the second call draws the same random numbers. With ``use_reentrant=True`` the function
    must return a tensor or a tuple, tensors that it reaches without their being among ``args``, such as a module's
    parameters, are not found by `autograd.grad`, and there is no second derivative.
    """
    if not autograd.is_grad_enabled():
        return function(*args, **kwargs)
    if not use_reentrant:
        return _Recorded(function, args, kwargs, preserve_rng_state)()
    always = empty(0, requires_grad=True)  # so that parameters get gradients though no argument needs one
    return _Again.apply(always, function, preserve_rng_state, kwargs, *args)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """The functions (a Sequential or a list) one after the other, in ``segments`` parts of which all but the last are
    checkpointed."""
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
