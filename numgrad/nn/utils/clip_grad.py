"""Limits on gradients."""

import math
from collections.abc import Iterable

from ...autograd import no_grad
from ...errors import GradientError
from ...ops.create import zeros
from ...ops.join import stack
from ...tensor import Tensor
from .._registry import Members
from .._traps import warn


def _gradients(parameters) -> list[Tensor]:
    tensors = [parameters] if isinstance(parameters, Tensor) else parameters
    spent = isinstance(tensors, Members) and tensors.consumed
    found = list(tensors)
    if not found:
        why = ": the iterator was already consumed: pass list(...)" if spent else ""
        warn(f"clipping was given no parameters{why}, and does nothing.")
    return [parameter.grad for parameter in found if parameter.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The ``norm_type``-norm of all elements of all tensors together, 0-d. Raises RuntimeError where it is not
    finite and ``error_if_nonfinite``."""
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    p = float(norm_type)
    if not tensors:
        return zeros(())
    device = tensors[0].device
    norms = [_norm(tensor.detach(), p).to(device) for tensor in tensors]
    total = norms[0] if len(norms) == 1 else _norm(stack(norms), p)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise GradientError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it cannot be clipped. To "
            "disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def _norm(values: Tensor, p: float) -> Tensor:
    """The p-norm of all elements."""
    if p == 2.0:
        return (values * values).sum().sqrt()
    sizes = values.abs()
    if p == math.inf:
        return sizes.amax()
    if p == -math.inf:
        return sizes.amin()
    if p == 1.0:
        return sizes.sum()
    if p == 0.0:
        return (sizes != 0).to(values.dtype).sum()
    return (sizes**p).sum() ** (1.0 / p)


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients, in place, by ``max_norm / total_norm`` if that is less than 1."""
    gradients = _gradients(parameters)
    _scale(gradients, float(max_norm), total_norm)


def _scale(gradients, max_norm, total_norm):
    # Multiplying by 1 where nothing is to be clipped spares a read of the norm, which on a GPU would wait for it.
    factor = (max_norm / (total_norm + 1e-6)).clamp(max=1.0)
    with no_grad():
        for gradient in gradients:
            gradient.detach().mul_(factor.to(gradient.device))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale the gradients of ``parameters``, in place, so that their joint norm is at most ``max_norm``; returns the
    norm before."""
    gradients = _gradients(parameters)
    with no_grad():
        total = get_total_norm(gradients, norm_type, error_if_nonfinite, foreach)
        _scale(gradients, float(max_norm), total)
    return total


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Limit every element of the gradients, in place, to [-clip_value, clip_value]."""
    bound = float(clip_value)
    with no_grad():
        for gradient in _gradients(parameters):
            gradient.detach().clamp_(min=-bound, max=bound)
