"""`Function` and what belongs to it, as ``torch.autograd.function``."""

import functools
from collections.abc import Callable
from typing import Any

from ..errors import GradientError
from ..function import Context as FunctionCtx, Function as Function, FunctionNode as BackwardCFunction
from ..tensor import Tensor, alias
from . import Node, is_grad_enabled, next_seq, no_grad

__all__ = ["BackwardCFunction", "Function", "FunctionCtx", "InplaceFunction", "once_differentiable"]


class InplaceFunction(Function):
    """A `Function` that may write to its inputs, which it passes to ``ctx.mark_dirty``. So may every Function."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace


class _Once(Node):
    """Stands behind the results of a ``backward`` that must not be differentiated."""

    __slots__ = ()

    name = "OnceDifferentiable"

    def __init__(self, parents):
        self.seq = next_seq()
        self.next = parents
        self.saved = self.storages = ()
        self.hooks = None

    def backward(self, gradient):
        raise GradientError("trying to differentiate twice a function that was marked with @once_differentiable")

    backward_recorded = backward


def once_differentiable(fn: Callable) -> Callable:
    """Decorates a `Function`'s ``backward`` that is no differentiable function of its gradients: it runs unrecorded,
    and a derivative of its results raises `GradientError` instead of leaving out a part."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *gradients: Any) -> Any:
        with no_grad():
            outputs = fn(ctx, *gradients)
        parents = tuple(g._n for g in gradients if isinstance(g, Tensor) and g._n is not None)
        if not is_grad_enabled() or not parents:
            return outputs
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        guarded = []
        for value in several:
            if isinstance(value, Tensor):
                value = alias(value, value._d, value._m)
                value._n = _Once(parents)
            guarded.append(value)
        return tuple(guarded) if isinstance(outputs, tuple) else guarded[0]

    return wrapper
