"""Stochastic gradient descent."""

from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import sgd_momentum_step, sgd_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_implementation, check_lr, check_not_negative

_plain, _with_momentum = sgd_step.op, sgd_momentum_step.op


class SGD(PointwiseOptimizer):
    """Gradient descent, optionally with momentum.

    With the gradient ``d = grad + weight_decay * param`` (``-grad`` with ``maximize``): ``b = momentum * b + (1 -
    dampening) * d`` and ``param -= lr * b``, or ``param -= lr * (d + momentum * b)`` with ``nesterov``; without
    momentum ``param -= lr * d``. The first ``b`` is ``d``. ``lr`` may be a Tensor of one element. With
    ``differentiable`` the step is recorded; ``foreach`` and ``fused`` are accepted and make no difference.

    Raises ValueError for negative options, or for ``nesterov`` without momentum or with dampening.
    """

    counts = False

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float | Tensor = 0, nesterov: bool = False, *, maximize: bool = False,
        foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        check_lr(lr)
        check_not_negative(momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_implementation(foreach, fused, differentiable)
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def rule(self, group: dict[str, Any]) -> Variant:
        decay = bool(group["weight_decay"] != 0)
        if group["momentum"] == 0:
            return _plain.variant(decay)
        return _with_momentum.variant(decay, bool(group["nesterov"]))

    def numbers(self, group: dict[str, Any], count: float) -> tuple:
        sign = -1.0 if group["maximize"] else 1.0
        if group["momentum"] == 0:
            return group["lr"], sign, group["weight_decay"]
        undamped = 1.0 if count == 1.0 else 1.0 - group["dampening"]
        return group["lr"], group["momentum"], undamped, sign, group["weight_decay"]
