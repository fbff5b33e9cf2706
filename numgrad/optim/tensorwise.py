"""Optimizers that compute each parameter's step with Tensor ops: the loop that they share."""

from collections.abc import Callable
from sys import getrefcount
from typing import Any

from ..autograd import enable_grad, no_grad
from ..inplace import written
from ..tensor import Tensor
from .optimizer import Optimizer
from .unnoticed import warn_idle, warn_unheld


class TensorOptimizer(Optimizer):
    """An optimizer whose step is more than one elementwise rule: it states how a single parameter moves.

    A subclass defines `move`. A parameter that does not require grad is frozen: it does not move, whatever its
    ``.grad`` still holds.
    """

    def move(self, group: dict[str, Any], p: Tensor, gradient: Tensor, state: dict[str, Any]) -> None:
        """Update ``p`` and its ``state``, which is empty on the first step; called without recording."""
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that requires grad and has one; return what ``closure`` returned.

        ``closure`` clears the gradients, computes the loss, calls ``backward()`` on it and returns it.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        moved, unheld, writer = False, None, f"{type(self).__name__}.step"
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p._m.dtype.is_complex and p.grad is not None:
                        raise RuntimeError(
                            f"{type(self).__name__} does not support complex parameters; train view_as_real(p) instead"
                        )
                    gradient = None if p._n is None else p.grad
                    if gradient is None:
                        # The list, this name and the argument hold it, and the state; a model would hold it too.
                        if p._n is not None and unheld is None and getrefcount(p) <= 3 + (p in self.state):
                            unheld = p
                        continue
                    moved = True
                    self.move(group, p, gradient, self.state[p])
                    written(p, writer)
        if not moved:
            warn_idle(self)
        elif unheld is not None:
            warn_unheld(self, unheld)
        return loss
