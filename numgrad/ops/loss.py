"""Losses that compare element by element, and how they are reduced."""

import warnings

from ..kernels.vocab import exp, fabs, log, log1p, maximum, where
from ..op import ENTRIES, as_tensor_operand, called, function
from ..pointwise import pointwise
from ..tensor import Tensor
from .activation import log_sigmoid
from .arithmetic import mul
from .math import logistic
from .reduce import mean, sum
from .values import to_host


def legacy_reduction(reduction, size_average, reduce):
    """``reduction``, unless the deprecated flags are given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        found = "none"
    else:
        found = "mean" if size_average is None or size_average else "sum"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{found}' instead.", stacklevel=3
    )
    return found


_NODES = {
    "binary_cross_entropy": "BinaryCrossEntropyBackward0",
    "binary_cross_entropy_with_logits": "BinaryCrossEntropyWithLogitsBackward0",
    "huber_loss": "HuberLossBackward0", "mse_loss": "MseLossBackward0", "multi_margin_loss": "MultiMarginLossBackward0",
    "multilabel_margin_loss": "MultilabelMarginLossBackward0", "smooth_l1_loss": "SmoothL1LossBackward0",
    "soft_margin_loss": "SoftMarginLossBackward0",
}  # fmt: skip


def reduced(name, losses, reduction):
    if reduction in ("mean", "sum"):
        found = mean(losses) if reduction == "mean" else sum(losses)
        return called(found, _NODES[name]) if name in _NODES else found
    if reduction == "none":
        return losses
    raise ValueError(f"{name}: {reduction} is not a valid value for reduction; use 'none', 'mean' or 'sum'")


def _pair(name, input, target):
    """Both as tensors, with a warning where broadcasting is likely to be a mistake."""
    input, target = as_tensor_operand(name, input, "input"), as_tensor_operand(name, target, "target")
    if input._m.shape != target._m.shape:
        warnings.warn(
            f"Using a target size ({target._m.shape}) that is different to the input size ({input._m.shape}). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )
    return input, target


# --- distances -----------------------------------------------------------------------------------------------------


@pointwise(name="squared_error", install=(), inplace=False, reference=lambda input, target: (input - target) ** 2,
           grad_name="MseLossBackward0")  # fmt: skip
def _squared_error(input, target):
    difference = input - target
    return difference * difference


@_squared_error.backward
def _(g, input, target):
    slope = g * ((input - target) * 2.0)
    return slope, -slope


@pointwise(name="absolute_error", install=(), inplace=False, reference=lambda input, target: abs(input - target),
           grad_name="L1LossBackward0")  # fmt: skip
def _absolute_error(input, target):
    return fabs(input - target)


@_absolute_error.backward
def _(g, input, target):
    difference = input - target
    slope = where(difference > 0.0, g, where(difference < 0.0, -g, 0.0))
    return slope, -slope


@pointwise(name="smooth_absolute_error", install=(), inplace=False, grad_name="SmoothL1LossBackward0")
def _smooth_absolute_error(input, target, *, beta):
    size = fabs(input - target)
    return where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)


@_smooth_absolute_error.backward
def _(g, input, target, beta):
    difference = input - target
    slope = where(difference <= -beta, -g, where(difference >= beta, g, g * (difference / beta)))
    return slope, -slope


@pointwise(name="huber_error", install=(), inplace=False, grad_name="HuberLossBackward0")
def _huber_error(input, target, *, delta):
    size = fabs(input - target)
    return where(size <= delta, 0.5 * size * size, delta * (size - 0.5 * delta))


@_huber_error.backward
def _(g, input, target, delta):
    difference = input - target
    slope = where(difference <= -delta, -g * delta, where(difference >= delta, g * delta, g * difference))
    return slope, -slope


@function(install=("F",))
def mse_loss(input, target, size_average=None, reduce=None, reduction: str = "mean", weight=None) -> Tensor:
    """``(input - target)**2``, reduced; with ``weight`` weighted, "mean" then divides by the sum of the weights."""
    reduction = legacy_reduction(reduction, size_average, reduce)
    losses = _squared_error(*_pair("mse_loss", input, target))
    return _weighted("mse_loss", losses, weight, reduction)


def _weighted(name, losses, weight, reduction):
    if weight is None:
        return reduced(name, losses, reduction)
    if weight._m.shape != losses._m.shape:
        raise ValueError(f"{name}: Weights and input must have the same size, got {weight.shape} and {losses.shape}")
    losses = mul(losses, weight)
    return sum(losses) / sum(weight) if reduction == "mean" else reduced(name, losses, reduction)


@function(install=("F",))
def l1_loss(input, target, size_average=None, reduce=None, reduction: str = "mean", weight=None) -> Tensor:
    """``|input - target|``, reduced; with ``weight`` weighted, "mean" then divides by the sum of the weights."""
    reduction = legacy_reduction(reduction, size_average, reduce)
    input, target = _pair("l1_loss", input, target)
    losses = ENTRIES["abs"](input - target) if input._m.dtype.is_complex or target._m.dtype.is_complex else _absolute_error(input, target)
    return _weighted("l1_loss", losses, weight, reduction)


@function(install=("F",))
def smooth_l1_loss(
    input, target, size_average=None, reduce=None, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """With ``d = |input - target|``: ``0.5 * d**2 / beta`` where ``d < beta``, else ``d - 0.5 * beta``, reduced."""
    reduction = legacy_reduction(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    input, target = _pair("smooth_l1_loss", input, target)
    losses = _absolute_error(input, target) if beta == 0 else _smooth_absolute_error(input, target, float(beta))
    return reduced("smooth_l1_loss", losses, reduction)


@function(install=("F",))
def huber_loss(input, target, reduction: str = "mean", delta: float = 1.0, weight=None) -> Tensor:
    """With ``d = |input - target|``: ``0.5 * d**2`` where ``d <= delta``, else ``delta * (d - delta / 2)``, reduced."""
    if not isinstance(delta, (int, float)):
        raise TypeError(f"delta must be a float or int, got: {type(delta)}")
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    losses = _huber_error(*_pair("huber_loss", input, target), float(delta))
    return _weighted("huber_loss", losses, weight, reduction)


# --- probabilities -------------------------------------------------------------------------------------------------


@pointwise(name="binary_cross_entropy", install=(), inplace=False, domain=(0.05, 0.95), refuse="bi")
def _binary_cross_entropy(input, target):
    # Logarithms are cut at -100, so that a wrong certainty costs much but not infinitely much.
    return (target - 1.0) * maximum(log1p(-input), -100.0) - target * maximum(log(input), -100.0)


@_binary_cross_entropy.backward
def _(g, input, target):
    by_input = g * ((input - target) / maximum((1.0 - input) * input, 1e-12))
    return by_input, g * (log1p(-input) - log(input))


@_binary_cross_entropy.backward_as_ops
def _(g, input, target):
    # In two terms, whose derivatives do not cancel; where the product above is cut, as it is cut.
    cut = ((1.0 - input) * input <= 1e-12).detach()
    inner = input.masked_fill(cut, 0.5)
    slope = ((1.0 - target) / (1.0 - inner) - target / inner).masked_fill(cut, 0.0)
    by_input = g * (slope + ((input - target) * 1e12).masked_fill(~cut, 0.0))
    return by_input, g * (log1p(-input) - log(input))


# Both with logits are in terms of softplus and the logistic function of the input and of its negative: neither the loss of
# a certain and right answer nor its gradient is then a difference of large numbers.


@pointwise(name="binary_cross_entropy_with_logits", install=(), inplace=False, refuse="bi")
def _logistic_cross_entropy(input, target):
    return maximum(input, 0.0) - target * input + log1p(exp(-fabs(input)))


@_logistic_cross_entropy.backward
def _(g, input, target):
    decay = exp(-fabs(input))
    slope = where(input < 0.0, (1.0 - target) * decay - target, 1.0 - target - target * decay)
    return g * (slope / (1.0 + decay)), -g * input


@_logistic_cross_entropy.backward_as_ops
def _(g, input, target):
    return g * ((1.0 - target) * logistic(input) - target * logistic(-input)), -g * input


@pointwise(name="positive_weighted_cross_entropy", install=(), inplace=False, refuse="bi")
def _positive_weighted_cross_entropy(input, target, pos_weight):
    rest = log1p(exp(-fabs(input)))
    return (1.0 - target) * (maximum(input, 0.0) + rest) + pos_weight * target * (maximum(-input, 0.0) + rest)


@_positive_weighted_cross_entropy.backward
def _(g, input, target, pos_weight):
    by_input = g * ((1.0 - target) * logistic(input) - pos_weight * target * logistic(-input))
    no, yes = -log_sigmoid(-input), -log_sigmoid(input)
    return by_input, g * (pos_weight * yes - no), g * (target * yes)


def check_probabilities(name, input):
    """RuntimeError unless all elements are between 0 and 1."""
    values = to_host(input)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise RuntimeError(f"{name}: all elements of input should be between 0 and 1; apply sigmoid to logits")


@function(install=("F",))
def binary_cross_entropy(
    input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean"
) -> Tensor:
    """``-(target * log(input) + (1 - target) * log(1 - input))``, weighted and reduced; ``input`` in [0, 1]."""
    reduction = legacy_reduction(reduction, size_average, reduce)
    name = "binary_cross_entropy"
    input, target = as_tensor_operand(name, input, "input"), as_tensor_operand(name, target, "target")
    if input._m.shape != target._m.shape:
        raise ValueError(
            f"{name}: Using a target size ({target._m.shape}) that is different to the input size ({input._m.shape}) "
            "is deprecated. Please ensure they have the same size."
        )
    check_probabilities(name, input)
    losses = _binary_cross_entropy(input, target)
    return reduced(name, losses if weight is None else mul(losses, weight), reduction)


@function(install=("ng",))
def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean", pos_weight=None
) -> Tensor:
    """`binary_cross_entropy` of ``sigmoid(input)``, without overflow; ``pos_weight`` weights the positive targets."""
    reduction = legacy_reduction(reduction, size_average, reduce)
    name = "binary_cross_entropy_with_logits"
    input, target = as_tensor_operand(name, input, "input"), as_tensor_operand(name, target, "target")
    if input._m.shape != target._m.shape:
        raise ValueError(f"{name}: Target size ({target._m.shape}) must be the same as input size ({input._m.shape})")
    if pos_weight is None:
        losses = _logistic_cross_entropy(input, target)
    else:
        losses = _positive_weighted_cross_entropy(input, target, pos_weight)
    return reduced(name, losses if weight is None else mul(losses, weight), reduction)


@pointwise(name="divergence", install=(), inplace=False, domain=(0.05, 0.95), refuse="bi")
def _divergence(input, target):
    return where(target == 0.0, 0.0, target * log(target)) - target * input


@_divergence.backward
def _(g, input, target):
    return -g * target, g * (where(target == 0.0, 0.0, log(target) + 1.0) - input)


@pointwise(name="log_divergence", install=(), inplace=False, refuse="bi")
def _log_divergence(input, target):
    return exp(target) * (target - input)


@_log_divergence.backward
def _(g, input, target):
    weight = exp(target)
    return -g * weight, g * (weight * (target - input + 1.0))


@function(install=("F",))
def kl_div(
    input, target, size_average=None, reduce=None, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """The divergence ``target * (log(target) - input)``, reduced; "batchmean" divides the sum by the first size.

    ``input`` holds logarithms of probabilities, ``target`` probabilities, or their logarithms with ``log_target``.
    """
    reduction = legacy_reduction(reduction, size_average, reduce)
    input, target = as_tensor_operand("kl_div", input, "input"), as_tensor_operand("kl_div", target, "target")
    losses = (_log_divergence if log_target else _divergence)(input, target)
    if reduction == "batchmean":
        return sum(losses) / input._m.shape[0] if input._m.ndim else sum(losses)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
            stacklevel=2,
        )
    return reduced("kl_div", losses, reduction)


