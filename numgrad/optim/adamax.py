"""Adamax."""

from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import adamax_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_betas, check_lr, check_not_negative

_adamax = adamax_step.op


class Adamax(PointwiseOptimizer):
    """Adamax (arXiv:1412.6980): Adam with the largest gradient so far in place of the mean square.

    With the gradient ``d = grad + weight_decay * param`` (``-grad`` with ``maximize``) on step t: ``m = beta1 * m + (1
    - beta1) * d``, ``u = max(beta2 * u, |d| + eps)`` and ``param -= lr / (1 - beta1^t) * m / u``. ``lr`` may be a
    Tensor of one element. With ``differentiable`` the step is recorded; ``foreach`` and ``capturable`` are accepted
    and make no difference.

    Raises ValueError for options out of range.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        check_lr(lr)
        check_not_negative(epsilon=eps, weight_decay=weight_decay)
        check_betas(betas)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def rule(self, group: dict[str, Any]) -> Variant:
        return _adamax.variant(bool(group["weight_decay"] != 0))

    def numbers(self, group: dict[str, Any], count: float) -> tuple:
        beta1, beta2 = group["betas"]
        sign = -1.0 if group["maximize"] else 1.0
        return group["lr"] / (1.0 - beta1**count), 1.0 - beta1, beta2, group["eps"], sign, group["weight_decay"]
