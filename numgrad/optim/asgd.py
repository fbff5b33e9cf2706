"""Averaged stochastic gradient descent."""

from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import asgd_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_lr, check_not_negative

_asgd = asgd_step.op


class ASGD(PointwiseOptimizer):
    """Averaged SGD (https://doi.org/10.1137/0330046): a decaying rate, and the mean of the parameters in the state.

    With the gradient ``d = grad + weight_decay * param`` (``-grad`` with ``maximize``): ``param = (1 - lambd * eta) *
    param - eta * d`` and ``ax += mu * (param - ax)``. ``eta`` starts from ``lr`` and is ``lr / (1 + lambd * lr *
    t)^alpha`` after step t, ``mu`` is 1 until step ``t0`` and ``1 / (t - t0)`` after it. ``lr`` may be a Tensor of
    one element. With ``differentiable`` the step is recorded; ``foreach`` and ``capturable`` are accepted and make no
    difference.

    Raises ValueError for a negative ``lr`` or ``weight_decay``.
    """

    scalars = ("eta", "mu")

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        check_lr(lr)
        check_not_negative(weight_decay=weight_decay)
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def initial(self, group: dict[str, Any], name: str) -> float:
        return float(group["lr"]) if name == "eta" else 1.0 if name == "mu" else 0.0

    def rule(self, group: dict[str, Any]) -> Variant:
        return _asgd.variant(bool(group["weight_decay"] != 0))

    def numbers(self, group: dict[str, Any], count: float, eta: Tensor, mu: Tensor) -> tuple:  # type: ignore[override]
        lr, lambd = float(group["lr"]), group["lambd"]
        now, share = eta._d.item(), mu._d.item()
        eta._d[0] = lr / (1.0 + lambd * lr * count) ** group["alpha"]
        mu._d[0] = 1.0 / max(1.0, count - group["t0"])
        sign = -1.0 if group["maximize"] else 1.0
        return now, 1.0 - lambd * now, 1.0 - share, sign, group["weight_decay"]
