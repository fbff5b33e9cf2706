"""RMSprop."""

from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import (
    rmsprop_centered_momentum_step,
    rmsprop_centered_step,
    rmsprop_momentum_step,
    rmsprop_step,
)
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_lr, check_not_negative

# (momentum, centered) -> the rule
_RULES = {
    (False, False): rmsprop_step.op,
    (False, True): rmsprop_centered_step.op,
    (True, False): rmsprop_momentum_step.op,
    (True, True): rmsprop_centered_momentum_step.op,
}


class RMSprop(PointwiseOptimizer):
    """RMSprop (arXiv:1308.0850): gradients divided by a running root mean square.

    With the gradient ``d = grad + weight_decay * param`` (``-grad`` with ``maximize``): ``s = alpha * s + (1 - alpha) *
    d^2``, ``u = d / (sqrt(s) + eps)`` and ``param -= lr * u``, or, with momentum, ``b = momentum * b + u`` and ``param
    -= lr * b``. ``centered`` takes the square of the running mean of ``d`` off ``s`` first. ``lr`` may be a Tensor of
    one element. With ``differentiable`` the step is recorded; ``foreach`` and ``capturable`` are accepted and make no
    difference.

    Raises ValueError for negative options.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0, momentum: float = 0, centered: bool = False, capturable: bool = False,
        foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_lr(lr)
        check_not_negative(epsilon=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def rule(self, group: dict[str, Any]) -> Variant:
        op = _RULES[group["momentum"] > 0, bool(group["centered"])]
        return op.variant(bool(group["weight_decay"] != 0))

    def numbers(self, group: dict[str, Any], count: float) -> tuple:
        alpha, momentum = group["alpha"], group["momentum"]
        sign = -1.0 if group["maximize"] else 1.0
        if momentum > 0:
            return group["lr"], alpha, 1.0 - alpha, momentum, group["eps"], sign, group["weight_decay"]
        return group["lr"], alpha, 1.0 - alpha, group["eps"], sign, group["weight_decay"]
