"""Adadelta."""

from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import adadelta_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_lr, check_not_negative

_adadelta = adadelta_step.op


class Adadelta(PointwiseOptimizer):
    """Adadelta (arXiv:1212.5701): steps in the units of the parameters, from the mean squares of past steps.

    With the gradient ``d = grad + weight_decay * param`` (``-grad`` with ``maximize``): ``s = rho * s + (1 - rho) *
    d^2``, ``delta = sqrt((a + eps) / (s + eps)) * d``, ``a = rho * a + (1 - rho) * delta^2`` and ``param -= lr *
    delta``. ``lr`` may be a Tensor of one element. With ``differentiable`` the step is recorded; ``foreach`` and
    ``capturable`` are accepted and make no difference.

    Raises ValueError for options out of range.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
        foreach: bool | None = None, *, capturable: bool = False, maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}; it must be between 0 and 1")
        check_not_negative(epsilon=eps, weight_decay=weight_decay)
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def rule(self, group: dict[str, Any]) -> Variant:
        return _adadelta.variant(bool(group["weight_decay"] != 0))

    def numbers(self, group: dict[str, Any], count: float) -> tuple:
        rho, sign = group["rho"], -1.0 if group["maximize"] else 1.0
        return group["lr"], rho, 1.0 - rho, group["eps"], sign, group["weight_decay"]
