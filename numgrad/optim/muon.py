"""Muon."""

from math import sqrt
from typing import Any

from .. import dtypes
from ..ops.update_rules import decoupled_step
from ..tensor import Tensor
from .optimizer import ParamsT
from .pointwise import check_lr, check_not_negative
from .tensorwise import TensorOptimizer

_ADJUSTMENTS = {
    "original": lambda rows, columns: sqrt(max(1.0, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * sqrt(max(rows, columns)),
}


class Muon(TensorOptimizer):
    """Momentum with orthogonalized steps, for matrices (https://kellerjordan.github.io/posts/muon/, arXiv:2502.16982).

    With gradient ``g`` (n, m): ``b += (1 - momentum) * (g - b)``, ``u = b``, or ``g + momentum * (b - g)`` with
    ``nesterov``, and ``param = (1 - lr * weight_decay) * param - lr * a * orthogonalized(u)``, see `orthogonalized`.
    The factor ``a`` is ``sqrt(max(1, n / m))`` (``adjust_lr_fn`` "original", or None) or ``0.2 * sqrt(max(n, m))``
    ("match_rms_adamw"). ``lr`` may be a Tensor of one element. Biases, embeddings and all that is no matrix need
    another optimizer, such as `AdamW`.

    Raises ValueError for parameters that are no matrices and for options out of range.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
        nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None,
    ) -> None:  # fmt: skip
        check_lr(lr)
        check_not_negative(momentum=momentum, weight_decay=weight_decay)
        if adjust_lr_fn is not None and adjust_lr_fn not in _ADJUSTMENTS:
            raise ValueError(
                f"Adjust learning rate function {adjust_lr_fn} is not supported; expected one of {list(_ADJUSTMENTS)}"
            )
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in `Optimizer`; also raises ValueError for parameters that are no matrices."""
        super().add_param_group(param_group)
        for p in param_group["params"]:
            if p.ndim != 2:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon only supports 2D parameters, but got one of shape {list(p.shape)}; train it with another "
                    "optimizer, such as AdamW"
                )

    def move(self, group: dict[str, Any], p: Tensor, gradient: Tensor, state: dict[str, Any]) -> None:
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = gradient.new_zeros(gradient.shape)
        momentum, buffer = group["momentum"], state["momentum_buffer"]
        update = buffer.lerp_(gradient, 1.0 - momentum)
        if group["nesterov"]:
            update = gradient.lerp(buffer, momentum)
        update = orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        factor = _ADJUSTMENTS[group["adjust_lr_fn"] or "original"](*p.shape)
        lr = group["lr"]  # where it is a Tensor, the numbers are computed in its dtype
        decoupled_step(p, update, keep=float(1.0 - lr * group["weight_decay"]), step_size=float(lr * factor))


def orthogonalized(
    matrix: Tensor, coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315), steps: int = 5,
    eps: float = 1e-7,
) -> Tensor:  # fmt: skip
    """A float32 matrix with the singular vectors of ``matrix`` (n, m) and singular values near 1.

    ``x = matrix / max(|matrix|, eps)``, then ``steps`` times the Newton-Schulz iteration ``x = a x + (b A + c A A) x``
    with ``A = x x^T``, on the side where ``A`` is smaller. Each line's result is rounded to bfloat16, the precision
    that PyTorch iterates in: the steps agree with PyTorch's, and have no more than its 8 bits.

    Raises ValueError unless there are three coefficients and fewer than 100 steps.
    """
    if len(coefficients) != 3:
        raise ValueError(f"ns_coefficients must be exactly 3 numbers, got {len(coefficients)}")
    if steps >= 100:
        raise ValueError(f"ns_steps must be less than 100, got {steps}; 5 are usual")
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = _rounded(matrix.T if tall else matrix)
    x = _rounded(x / _rounded(x.norm()).clamp_min(eps))
    for _ in range(steps):
        gram = _rounded(x @ x.T)
        # The sums are taken in float64, so that they are rounded once.
        gram = _rounded(b * gram.double() + c * (gram @ gram).double())
        x = _rounded(a * x.double() + (gram @ x).double())
    return x.T if tall else x


def _rounded(x: Tensor) -> Tensor:
    """Float32 numbers rounded to those of bfloat16, ties to even: by a carry into the upper half of their bits."""
    bits = x.float().view(dtypes.int32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000).view(dtypes.float32)
