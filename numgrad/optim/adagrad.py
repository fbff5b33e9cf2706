"""Adagrad."""

from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import adagrad_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_implementation, check_lr, check_not_negative

_adagrad = adagrad_step.op


class Adagrad(PointwiseOptimizer):
    """Adagrad (https://jmlr.org/papers/v12/duchi11a.html): gradients divided by the root of the sum of their squares.

    With the gradient ``d = grad + weight_decay * param`` (``-grad`` with ``maximize``) on step t: ``s += d^2`` and
    ``param -= lr / (1 + (t - 1) * lr_decay) * d / (sqrt(s) + eps)``; ``s`` starts from ``initial_accumulator_value``.
    ``lr`` may be a Tensor of one element. With ``differentiable`` the step is recorded; ``foreach`` and ``fused`` are
    accepted and make no difference.

    Raises ValueError for negative options.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        check_lr(lr)
        check_not_negative(
            lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value,
            epsilon=eps,
        )  # fmt: skip
        check_implementation(foreach, fused, differentiable)
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in `Optimizer`; the accumulators are made at once, as PyTorch makes them."""
        super().add_param_group(param_group)
        for p in param_group["params"]:
            self._complete(p, param_group, self.state[p], ("sum",))

    def initial(self, group: dict[str, Any], name: str) -> float:
        return group["initial_accumulator_value"]

    def rule(self, group: dict[str, Any]) -> Variant:
        return _adagrad.variant(bool(group["weight_decay"] != 0))

    def numbers(self, group: dict[str, Any], count: float) -> tuple:
        lr = group["lr"] / (1.0 + (count - 1.0) * group["lr_decay"])
        return lr, group["eps"], -1.0 if group["maximize"] else 1.0, group["weight_decay"]
