"""RAdam."""

from math import sqrt
from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import adam_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_betas, check_lr, check_not_negative

_adam = adam_step.op


class RAdam(PointwiseOptimizer):
    """RAdam (arXiv:1908.03265): Adam whose adaptive rate is held back while its variance is too large to know.

    With the moments ``m`` and ``v`` of `Adam`, ``rho = 2 / (1 - beta2) - 1`` and ``r = rho - 2 t beta2^t / (1 -
    beta2^t)`` on step t: where ``r > 5``, ``param -= lr / (1 - beta1^t) * m * sqrt(1 - beta2^t) / (sqrt(v) + eps) *
    sqrt((r - 4) (r - 2) rho / ((rho - 4) (rho - 2) r))``, else ``param -= lr / (1 - beta1^t) * m``.
    ``decoupled_weight_decay`` shrinks ``param`` by ``lr * weight_decay`` instead of changing the gradient. ``lr`` may
    be a Tensor of one element. With ``differentiable`` the step is recorded; ``foreach`` and ``capturable`` are
    accepted and make no difference.

    Raises ValueError for options out of range.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_lr(lr)
        check_not_negative(epsilon=eps, weight_decay=weight_decay)
        check_betas(betas)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def rule(self, group: dict[str, Any]) -> Variant:
        return _adam.variant(bool(group["weight_decay"] != 0), bool(group["decoupled_weight_decay"]))

    def numbers(self, group: dict[str, Any], count: float) -> tuple:
        lr, (beta1, beta2), weight_decay = group["lr"], group["betas"], group["weight_decay"]
        sign = -1.0 if group["maximize"] else 1.0
        if group["decoupled_weight_decay"]:
            weight_decay = lr * weight_decay
        step_size, root_weight, offset = lr / (1.0 - beta1**count), 0.0, 1.0  # of a denominator that is 1
        unbias = 1.0 - beta2**count
        longest = 2.0 / (1.0 - beta2) - 1.0
        length = longest - 2.0 * count * beta2**count / unbias
        if length > 5.0:
            held = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)
            step_size, root_weight, offset = step_size * sqrt(unbias * held), 1.0, group["eps"]
        return step_size, 1.0 - beta1, beta2, 1.0 - beta2, root_weight, offset, sign, weight_decay
