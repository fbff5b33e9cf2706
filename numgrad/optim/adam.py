"""Adam."""

from math import sqrt
from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import adam_step, amsgrad_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_betas, check_implementation, check_lr, check_not_negative

_adam, _amsgrad = adam_step.op, amsgrad_step.op


class Adam(PointwiseOptimizer):
    """Adam (arXiv:1412.6980).

    With the gradient ``d = grad + weight_decay * param`` (``-grad`` with ``maximize``) on step t: ``m = beta1 * m + (1
    - beta1) * d``, ``v = beta2 * v + (1 - beta2) * d^2`` and ``param -= lr / (1 - beta1^t) * m / (sqrt(v / (1 -
    beta2^t)) + eps)``. ``amsgrad`` divides by the largest ``v`` so far; ``decoupled_weight_decay`` shrinks ``param``
    by ``lr * weight_decay`` instead of changing the gradient. ``lr`` and both ``betas`` may be Tensors of one element.
    With ``differentiable`` the step is recorded; ``foreach``, ``fused`` and ``capturable`` are accepted and make no
    difference.

    Raises ValueError for options out of range.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0,
        amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
        differentiable: bool = False, fused: bool | None = None, decoupled_weight_decay: bool = False,
    ) -> None:  # fmt: skip
        check_lr(lr)
        if foreach and not capturable and isinstance(lr, Tensor):
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_not_negative(epsilon=eps, weight_decay=weight_decay)
        _check_betas(betas, foreach and not capturable)
        check_implementation(foreach, fused, differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def rule(self, group: dict[str, Any]) -> Variant:
        decay, decoupled = bool(group["weight_decay"] != 0), bool(group["decoupled_weight_decay"])
        if group["amsgrad"]:
            return _amsgrad.variant(decay, decoupled)
        return _adam.variant(decay, decoupled)

    def numbers(self, group: dict[str, Any], count: float) -> tuple:
        beta1, beta2 = group["betas"]
        if isinstance(beta1, Tensor):
            beta1, beta2 = beta1.item(), beta2.item()
        lr, weight_decay = group["lr"], group["weight_decay"]
        if group["decoupled_weight_decay"]:
            weight_decay = lr * weight_decay
        sign = -1.0 if group["maximize"] else 1.0
        unbias = 1.0 / sqrt(1.0 - beta2**count)
        return lr / (1.0 - beta1**count), 1.0 - beta1, beta2, 1.0 - beta2, unbias, group["eps"], sign, weight_decay


def _check_betas(betas, only_numbers):
    tensors = [isinstance(beta, Tensor) for beta in betas]
    if tensors[0] != tensors[1]:
        raise ValueError("betas must be either both floats or both Tensors")
    for k, beta in enumerate(betas):
        if tensors[k]:
            if only_numbers:
                raise ValueError(f"betas[{k}] as a Tensor is not supported for capturable=False and foreach=True")
            if beta.numel() != 1:
                raise ValueError(f"Tensor betas[{k}] must be 1-element, got shape {list(beta.shape)}")
    check_betas(betas)
