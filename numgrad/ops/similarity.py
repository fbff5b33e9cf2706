"""Losses of pairs, triplets and margins: expressions over ops of the table.

``reduction`` is "none" (a loss for each element), "mean" or "sum".
"""

import math

from ..device import META
from ..op import as_tensor_operand, function
from ..tensor import Tensor
from .activation import logsigmoid
from .distance import pairwise_distance
from .loss import legacy_reduction, reduced
from .values import any_true


@function(install=("F",))
def cosine_embedding_loss(input1, input2, target, margin: float = 0.0, size_average=None, reduce=None,
                          reduction: str = "mean") -> Tensor:  # fmt: skip
    """``1 - cos(x1, x2)`` for pairs of target 1, ``max(0, cos(x1, x2) - margin)`` for -1: (N, D), (N, D), (N)."""
    name = "cosine_embedding_loss"
    reduction = legacy_reduction(reduction, size_average, reduce)
    input1, input2 = as_tensor_operand(name, input1, "input1"), as_tensor_operand(name, input2, "input2")
    target = as_tensor_operand(name, target, "target")
    ndim = target._m.ndim
    if ndim > 1:
        raise RuntimeError(f"{name}: 0D or 1D target tensor expected, multi-target not supported, got {ndim} dimensions")
    if input1._m.ndim != ndim + 1 or input2._m.ndim != ndim + 1:
        raise RuntimeError(
            f"{name}: {ndim}D target tensor expects {ndim + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    epsilon = 1e-12
    product = (input1 * input2).sum(-1)
    lengths = ((input1 * input1).sum(-1) + epsilon) * ((input2 * input2).sum(-1) + epsilon)
    cosine = product / lengths.sqrt()
    zeros = cosine.new_zeros(())
    found = (1.0 - cosine).where(target == 1, zeros) + (cosine - margin).clamp_min(0.0).where(target == -1, zeros)
    return reduced(name, found, reduction)


@function(install=("F",))
def margin_ranking_loss(input1, input2, target, margin: float = 0, size_average=None, reduce=None,
                        reduction: str = "mean") -> Tensor:  # fmt: skip
    """``max(0, -target * (input1 - input2) + margin)``: target 1 wants the first input larger, -1 the second."""
    name = "margin_ranking_loss"
    reduction = legacy_reduction(reduction, size_average, reduce)
    if not input1._m.ndim == input2._m.ndim == target._m.ndim:
        raise RuntimeError(
            f"{name} : All input tensors should have same dimension but got sizes: input1: {input1.shape}, input2: "
            f"{input2.shape}, target: {target.shape} "
        )
    return reduced(name, (-target * (input1 - input2) + margin).clamp_min(0.0), reduction)


@function(install=("F",))
def triplet_margin_loss(anchor, positive, negative, margin: float = 1.0, p: float = 2, eps: float = 1e-6, swap: bool = False,
                        size_average=None, reduce=None, reduction: str = "mean") -> Tensor:  # fmt: skip
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` with the distance of the ``p`` norm over the last
    dimension; ``swap`` takes the smaller one of the negative's distances to anchor and positive."""
    name = "triplet_margin_loss"
    reduction = legacy_reduction(reduction, size_average, reduce)
    if not margin > 0:
        raise ValueError(f"{name}: expected margin to be greater than 0: margin must be greater than 0, got {margin}")
    if not anchor._m.ndim == positive._m.ndim == negative._m.ndim:
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor._m.ndim}D, positive {positive._m.ndim}D, and negative {negative._m.ndim}D inputs"
        )
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return reduced(name, (near - far + margin).clamp_min(0.0), reduction)


@function(install=("F",))
def triplet_margin_with_distance_loss(anchor, positive, negative, *, distance_function=None, margin: float = 1.0,
                                      swap: bool = False, reduction: str = "mean") -> Tensor:  # fmt: skip
    """`triplet_margin_loss` with a distance of one's own, ``distance_function(x, y)``."""
    name = "triplet_margin_with_distance_loss"
    if not margin > 0:
        raise ValueError(f"{name}: expected margin to be greater than 0: margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    if not anchor._m.ndim == positive._m.ndim == negative._m.ndim:
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor._m.ndim}D, positive {positive._m.ndim}D, and negative {negative._m.ndim}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced(name, (near - far + margin).clamp_min(0.0), reduction)


@function(install=("F",))
def hinge_embedding_loss(input, target, margin: float = 1.0, size_average=None, reduce=None, reduction: str = "mean") -> Tensor:
    """The input itself where the target is 1, ``max(0, margin - input)`` where it is -1."""
    reduction = legacy_reduction(reduction, size_average, reduce)
    zeros = input.new_zeros(())
    found = (margin - input).clamp_min(0.0).where(target != 1, zeros) + input.where(target != -1, zeros)
    return reduced("hinge_embedding_loss", found, reduction)


@function(install=("F",))
def soft_margin_loss(input, target, size_average=None, reduce=None, reduction: str = "mean") -> Tensor:
    """``log(1 + exp(-target * input))`` for targets of 1 and -1."""
    reduction = legacy_reduction(reduction, size_average, reduce)
    return reduced("soft_margin_loss", -logsigmoid(input * target), reduction)


def _classes(name, input, target, per_class=False):
    """(input as (N, C), target as (N) or (N, C), whether the losses are a vector)."""
    if input._m.ndim == 0:
        input = input.reshape(1)
    if input._m.ndim not in (1, 2) or (input._m.numel == 0 and input._m.shape[-1] == 0):
        raise RuntimeError(f"{name}: Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}")
    batched = input._m.ndim == 2
    rows = input if batched else input.unsqueeze(0)
    wanted = tuple(rows.shape) if per_class else (rows.shape[0],)
    if target.numel() != math.prod(wanted) or (batched and tuple(target.shape) != wanted):
        raise RuntimeError(f"{name}: inconsistent target size: expected {list(wanted)}, got {list(target.shape)}")
    return rows, target.reshape(wanted), batched or (target._m.ndim == 1 and not per_class)


@function(install=("F",))
def multi_margin_loss(input, target, p: int = 1, margin: float = 1.0, weight=None, size_average=None, reduce=None,
                      reduction: str = "mean") -> Tensor:  # fmt: skip
    """``sum over i != target of max(0, margin - x[target] + x[i])**p / C``: (N, C), (N) -> (N), reduced."""
    name = "multi_margin_loss"
    reduction = legacy_reduction(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"{name}: only p == 1 and p == 2 supported, got {p}")
    rows, target, batched = _classes(name, input, target)
    if weight is not None and (weight._m.ndim != 1 or weight.numel() != rows.shape[1]):
        raise RuntimeError(f"{name}: inconsistent weight size, expected {rows.shape[1]} but got {list(weight.shape)}")
    at = target.unsqueeze(1)
    terms = (margin - rows.gather(1, at) + rows).clamp_min(0.0)
    terms = terms * terms if p == 2 else terms
    if weight is not None:
        terms = terms * weight[target].unsqueeze(1)
    found = terms.scatter(1, at, 0.0).sum(1) / rows.shape[1]
    return reduced(name, found if batched else found.squeeze(0), reduction)


@function(install=("F",))
def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction: str = "mean") -> Tensor:
    """``sum over targets j and other classes i of max(0, 1 - (x[j] - x[i])) / C``; a row of ``target`` lists its classes
    up to the first -1."""
    name = "multilabel_margin_loss"
    reduction = legacy_reduction(reduction, size_average, reduce)
    rows, target, batched = _classes(name, input, target, per_class=True)
    classes = rows.shape[1]
    if target.numel() and target.device is not META and not (int(target.min()) >= -1 and int(target.max()) < classes):
        raise RuntimeError(
            f"{name}: argument target is out of range: expected classes from 0 to {classes - 1}, and -1 behind them, got "
            f"{int(target.min())} to {int(target.max())}"
        )
    listed = (target < 0).cumsum(1) == 0
    places = target.clamp_min(0)
    chosen = rows.new_zeros(rows.shape).scatter_add(1, places, listed.to(rows.dtype)) > 0
    terms = (1.0 - (rows.gather(1, places).unsqueeze(2) - rows.unsqueeze(1))).relu()
    kept = listed.unsqueeze(2) & ~chosen.unsqueeze(1)
    found = terms.where(kept, terms.new_zeros(())).sum((1, 2)) / rows.shape[1]
    return reduced(name, found if batched else found.squeeze(0), reduction)


@function(install=("F",))
def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean") -> Tensor:
    """The mean over classes of binary cross entropies with logits: (N, C), (N, C) -> (N), reduced."""
    reduction = legacy_reduction(reduction, size_average, reduce)
    terms = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        terms = terms * weight
    return reduced("multilabel_soft_margin_loss", terms.sum(-1) / input.shape[-1], reduction)


@function(install=("ng", "F"))
def poisson_nll_loss(input, target, log_input: bool = True, full: bool = False, size_average=None, eps: float = 1e-8,
                     reduce=None, reduction: str = "mean") -> Tensor:  # fmt: skip
    """``exp(input) - target * input`` (``input - target * log(input + eps)`` if not ``log_input``); ``full`` adds
    Stirling's approximation of ``log(target!)`` for targets above 1."""
    reduction = legacy_reduction(reduction, size_average, reduce)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction; use 'none', 'mean' or 'sum'")
    found = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        found = found + stirling.masked_fill(target <= 1, 0.0)
    return reduced("poisson_nll_loss", found, reduction)


@function(install=("F",))
def gaussian_nll_loss(input, target, var, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Tensor:
    """``0.5 * (log(var) + (input - target)**2 / var)`` with variances of at least ``eps``; ``full`` adds the constant."""
    name = "gaussian_nll_loss"
    if isinstance(var, (int, float)):
        var = input.new_full(input.shape, var)
    if var.shape != input.shape:
        if tuple(input.shape[:-1]) == tuple(var.shape):
            var = var.unsqueeze(-1)
        elif not (var._m.ndim == input._m.ndim and sum(a != b for a, b in zip(var.shape, input.shape)) <= 1
                  and all(a in (1, b) for a, b in zip(var.shape, input.shape))):  # fmt: skip
            raise ValueError(f"{name}: var is of incorrect size, {list(var.shape)} for an input of {list(input.shape)}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid; use 'none', 'mean' or 'sum'")
    if any_true(var < 0):
        raise ValueError(f"{name}: var has negative entry/entries")
    var = var + (var.detach().clamp_min(eps) - var.detach())
    found = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        found = found + 0.5 * math.log(2 * math.pi)
    return reduced(name, found, reduction)


__all__ = ["cosine_embedding_loss", "margin_ranking_loss", "triplet_margin_loss"]
