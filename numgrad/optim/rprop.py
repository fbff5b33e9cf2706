"""Rprop."""

from typing import Any

from ..ops.update import Variant
from ..ops.update_rules import rprop_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import PointwiseOptimizer, check_lr

_rprop = rprop_step.op


class Rprop(PointwiseOptimizer):
    """Resilient propagation (https://doi.org/10.1109/ICNN.1993.298623): only the gradient's sign counts.

    Each element has a step of its own, ``lr`` at first. It is multiplied by ``etas[1]`` where the gradient has the
    sign that it had on the step before, by ``etas[0]`` where it changed (there the element does not move and the
    gradient counts as 0 on the next step), and kept within ``step_sizes``; then ``param -= step * sign(grad)``. ``lr``
    may be a Tensor of one element. With ``differentiable`` the step is recorded; ``foreach`` and ``capturable`` are
    accepted and make no difference.

    Raises ValueError for a negative ``lr`` or for etas that are not ``0 < etas[0] < 1 < etas[1]``.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}; they must be below and above 1, and positive")
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def initial(self, group: dict[str, Any], name: str) -> float:
        return float(group["lr"]) if name == "step_size" else 0.0

    def rule(self, group: dict[str, Any]) -> Variant:
        return _rprop.variant()

    def numbers(self, group: dict[str, Any], count: float) -> tuple:
        return *group["etas"], *group["step_sizes"], -1.0 if group["maximize"] else 1.0
