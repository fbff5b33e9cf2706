"""NAdam."""

from math import sqrt
from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import nadam_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_betas, check_lr, check_not_negative

_nadam = nadam_step.op


class NAdam(PointwiseOptimizer):
    """NAdam (https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ): Adam with Nesterov's momentum.

    With the moments ``m`` and ``v`` of `Adam`, ``mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)`` and ``P`` the
    product of ``mu(1)`` to ``mu(t)``, on step t: ``param -= lr * ((1 - mu(t)) / (1 - P) * d + mu(t + 1) / (1 - P *
    mu(t + 1)) * m) / (sqrt(v / (1 - beta2^t)) + eps)``. ``decoupled_weight_decay`` shrinks ``param`` by ``lr *
    weight_decay`` instead of changing the gradient ``d``. ``lr`` may be a Tensor of one element. With
    ``differentiable`` the step is recorded; ``foreach`` and ``capturable`` are accepted and make no difference.

    Raises ValueError for options out of range.
    """

    scalars = ("mu_product",)

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_lr(lr)
        check_not_negative(epsilon=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_betas(betas)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def initial(self, group: dict[str, Any], name: str) -> float:
        return 1.0 if name == "mu_product" else 0.0

    def rule(self, group: dict[str, Any]) -> Variant:
        return _nadam.variant(bool(group["weight_decay"] != 0), bool(group["decoupled_weight_decay"]))

    def numbers(self, group: dict[str, Any], count: float, mu_product: Tensor) -> tuple:  # type: ignore[override]
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["momentum_decay"]
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (count * decay))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((count + 1.0) * decay))
        mu_product._d[0] *= mu
        product = mu_product._d.item()
        weight_decay = group["weight_decay"]
        if group["decoupled_weight_decay"]:
            weight_decay = lr * weight_decay
        return (
            lr * (1.0 - mu) / (1.0 - product), lr * mu_next / (1.0 - product * mu_next), 1.0 - beta1, beta2, 1.0 - beta2,
            1.0 / sqrt(1.0 - beta2**count), group["eps"], -1.0 if group["maximize"] else 1.0, weight_decay,
        )  # fmt: skip
