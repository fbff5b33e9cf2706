"""Adafactor."""

from math import sqrt
from typing import Any

from .. import dtypes
from ..ops.create import zeros, zeros_like
from ..ops.update_rules import adafactor_direction, decoupled_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import check_lr, check_not_negative, number_tensor
from .tensorwise import TensorOptimizer


class Adafactor(TensorOptimizer):
    """Adafactor (arXiv:1804.04235): of a matrix, second moments of rows and columns only are kept.

    On step t, with ``b = t^beta2_decay``, gradient ``g`` (n, m) and ``param`` (n, m): ``r += b * (mean over columns
    of g^2 - r)`` (n, 1), ``c += b * (mean over rows of g^2 - c)`` (1, m), ``v = r c / max(mean(r), eps1)``, ``u = g /
    max(sqrt(v), eps1)`` and ``param = (1 - lr * weight_decay) * param - max(eps2, rms(param)) * min(lr, 1 / sqrt(t))
    * u / max(1, rms(u) / d)``, where ``rms`` is the root of the mean square. Leading dimensions hold matrices of
    their own; for vectors and scalars ``v += b * (g^2 - v)``. ``eps`` is ``(eps1, eps2)``; an ``eps1`` of None is
    that of the dtype. ``maximize`` steps the other way. ``lr`` may be a Tensor of one element; ``foreach`` is accepted
    and makes no difference.

    Raises ValueError for options out of range.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
        foreach: bool | None = None, maximize: bool = False,
    ) -> None:  # fmt: skip
        check_lr(lr)
        check_not_negative(epsilon1=0.0 if eps[0] is None else eps[0], epsilon2=eps[1], weight_decay=weight_decay)
        if not beta2_decay <= 0.0:
            raise ValueError(f"Invalid beta2_decay value: {beta2_decay}; it must not be positive")
        if not d >= 1.0:
            raise ValueError(f"Invalid clipping threshold d: {d}; it must be at least 1")
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for held in self.state.values():  # older versions saved counts as numbers
            if isinstance(held.get("step"), (int, float)):
                held["step"] = number_tensor(held["step"])

    def move(self, group: dict[str, Any], p: Tensor, gradient: Tensor, state: dict[str, Any]) -> None:
        factored = gradient.ndim > 1
        if not state:
            state["step"] = number_tensor(0.0)
            if factored:
                *others, rows, columns = gradient.shape
                state["row_var"] = zeros(*others, rows, 1, dtype=gradient.dtype, device=gradient.device)
                state["col_var"] = zeros(*others, 1, columns, dtype=gradient.dtype, device=gradient.device)
            else:
                state["variance"] = zeros_like(gradient)
        state["step"] += 1
        elements = p.numel()
        if not elements:
            return
        count, lr = state["step"].item(), float(group["lr"])
        eps1, eps2 = group["eps"]
        eps1 = dtypes.finfo(p.dtype).eps if eps1 is None else eps1
        toward = count ** group["beta2_decay"]
        step_size = max(eps2, p.norm().item() / sqrt(elements)) * min(lr, 1.0 / sqrt(count))
        squares = gradient * gradient
        if factored:
            row_var, col_var = state["row_var"], state["col_var"]
            row_var.lerp_(squares.mean(-1, keepdim=True), toward)
            col_var.lerp_(squares.mean(-2, keepdim=True), toward)
            # (..., n, 1) * (..., 1, m) -> (..., n, m)
            variance = row_var / row_var.mean(-2, keepdim=True).clamp_min(eps1) * col_var
        else:
            variance = state["variance"].lerp_(squares, toward).clone()
        adafactor_direction(variance, gradient, floor=eps1 * eps1)
        direction = variance
        clipped = max(1.0, direction.norm().item() / (sqrt(elements) * group["d"]))
        sign = -1.0 if group["maximize"] else 1.0
        decoupled_step(p, direction, keep=1.0 - lr * group["weight_decay"], step_size=sign * step_size / clipped)
