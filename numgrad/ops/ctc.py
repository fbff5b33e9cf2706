"""The loss of connectionist temporal classification, for sequences of labels whose places in time are not known."""

import numpy as np

from .. import dtypes
from ..autograd import enable_grad, is_grad_enabled
from ..device import META
from ..gradients import grad
from ..kernels import ctc as kernels
from ..layout import integer, integers
from ..op import as_tensor_operand, cast, dense, function
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, from_array
from .create import arange, full
from .join import cat, stack
from .launch import launch
from .loss import reduced
from .softmax import logsumexp


def _slots(log_probs, targets, spans, alpha, losses, blank):
    steps, batch, classes = log_probs._m.shape
    starts, lengths, times = spans
    return (
        log_probs._d, targets._d, starts._d, lengths._d, times._d, alpha._d, losses._d, batch, classes, steps,
        alpha._m.shape[-1], blank,
    )  # fmt: skip


@structured(install=(), name="ctc_losses", cases="none", no_gradient=("targets",), grad_name="CtcLossBackward0")
def _losses(log_probs, targets, *, spans, width, blank, zero_infinity):
    """A loss for every sequence, and the alphas as context."""
    steps, batch, _ = log_probs._m.shape
    d, device = log_probs._m.dtype, log_probs._m.device
    alpha = empty_tensor(meta(d, (batch, steps, width), device))
    losses = empty_tensor(meta(d, (batch,), device))
    slots = _slots(dense(log_probs), targets, spans, alpha, losses, blank)
    launch(kernels.alignments, {"T": d.type}, slots, batch, 32 * steps * width, device)
    return losses, alpha


@_losses.backward
def _(g, log_probs, targets, out, context, spans, blank, zero_infinity):
    m = log_probs._m
    steps, batch, _ = m.shape
    found = empty_tensor(meta(m.dtype, m.shape, m.device))
    betas = empty_tensor(meta(m.dtype, (batch, 2, context._m.shape[-1]), m.device))
    slots = _slots(dense(log_probs), targets, spans, context, out, blank)
    slots += (betas._d, dense(g)._d, found._d, int(not zero_infinity))
    launch(kernels.alignments_backward, {"T": m.np.type}, slots, batch, 64 * steps * context._m.shape[-1], m.device)
    return found, None


@_losses.backward_as_ops
def _(g, log_probs, targets, out, context, spans, blank, zero_infinity):
    """As above, from the derivative of `_recursion`: the share of each class is ``-d loss / d log_prob``."""
    _, _, times = spans
    steps = log_probs._m.shape[0]
    lives = (arange(steps, device=g._m.device).unsqueeze(1) < times).unsqueeze(-1)
    finite = (out != float("inf")).unsqueeze(-1)
    record = is_grad_enabled()
    with enable_grad():
        losses = _recursion(log_probs, targets, spans, context._m.shape[-1], blank)
        (shares,) = grad([losses], [log_probs], [g], create_graph=record)
    found = log_probs.exp() * g.unsqueeze(-1) + shares
    return found.masked_fill(~(lives & finite), 0.0), None


_NEVER = -1e30  # the logarithm of 0, without infinities that would make gradients NaN


def _recursion(log_probs, targets, spans, width, blank):
    """The losses as ordinary ops, step by step."""
    starts, lengths, times = spans
    steps, batch, _ = log_probs._m.shape
    places = arange(width, device=log_probs._m.device)
    within = places < (2 * lengths + 1).unsqueeze(-1)
    at = (starts.unsqueeze(-1) + places // 2).clamp(0, max(targets._m.numel - 1, 0))
    odd = (places % 2 == 1) & within
    labels = targets[at].masked_fill(~odd, blank) if targets._m.numel else at * 0 + blank
    apart = cat((labels[:, :2] * 0 - 1, labels[:, :-2]), 1) != labels if width > 2 else labels != labels
    scores = log_probs.gather(2, labels.unsqueeze(0).expand(steps, batch, width))
    scores = scores.masked_fill(~within, _NEVER)
    nothing = full((batch, 2), _NEVER, dtype=log_probs._m.dtype, device=log_probs._m.device)
    alpha = scores[0].masked_fill(places > 1, _NEVER)
    for t in range(1, steps):
        one = cat((nothing[:, :1], alpha[:, :-1]), 1)
        two = cat((nothing, alpha[:, :-2]), 1)[:, :width].masked_fill(~(apart & odd), _NEVER)
        moved = logsumexp(stack((alpha, one, two)), 0) + scores[t]
        alpha = moved.where((times > t).unsqueeze(-1), alpha)
    last = alpha.gather(1, (2 * lengths).unsqueeze(-1))
    other = alpha.gather(1, (2 * lengths - 1).clamp_min(0).unsqueeze(-1)).masked_fill((lengths == 0).unsqueeze(-1), _NEVER)
    return -logsumexp(cat((last, other), 1), 1)


def _lengths(name, argument, lengths, batch):
    """Lengths given as a tensor or as numbers, on the host."""
    values = lengths._host() if isinstance(lengths, Tensor) else np.array(integers(name, argument, lengths), np.int64)
    if values.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: {argument} must be integral, got {values.dtype}")
    values = values.astype(np.int64).reshape(-1)
    if len(values) != batch:
        raise RuntimeError(f"{name}: {argument} must be of size batch_size: expected {batch}, got {len(values)}")
    return values


@function(install=("ng", "F"))
def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False
) -> Tensor:
    """``-log`` of the probability that the labels appear, in order, with blanks and repetitions between them.

    ``log_probs`` (time, batch, classes), or (time, classes), of log-probabilities; ``targets`` (batch, longest) or all
    labels in one vector; lengths (batch). "mean" divides each loss by its number of labels, then averages. With
    ``zero_infinity`` the losses of labels that do not fit, and their gradients, are 0. The gradient is that by the
    logits of a log-softmax.
    """
    name = "ctc_loss"
    log_probs, targets = as_tensor_operand(name, log_probs, "log_probs"), as_tensor_operand(name, targets, "targets")
    if reduction not in ("none", "mean", "sum", 0, 1, 2):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if isinstance(reduction, int):
        reduction = ("none", "mean", "sum")[reduction]
    if not log_probs._m.dtype.is_floating_point:
        raise RuntimeError(f'"{name}" not implemented for {log_probs._m.dtype!r}; it takes log-probabilities')
    if targets._m.dtype.kind != "i":
        raise RuntimeError(f"{name}: targets must be integral, got {targets._m.dtype!r}")
    single = log_probs._m.ndim == 2
    scores = log_probs.unsqueeze(1) if single else log_probs
    if scores._m.ndim != 3:
        raise RuntimeError(f"{name}: log_probs must have 2 or 3 dimensions, got {log_probs._m.ndim}")
    steps, batch, classes = scores._m.shape
    if not steps:
        raise RuntimeError(f"{name}: log_probs tensor must not be empty")
    blank = integer(name, "blank", blank)
    if not 0 <= blank < classes:
        raise RuntimeError(f"{name}: blank must be in label range: expected 0 to {classes - 1}, got {blank}")
    times = _lengths(name, "input_lengths", input_lengths, batch)
    lengths = _lengths(name, "target_lengths", target_lengths, batch)
    if (times < 0).any() or (lengths < 0).any():
        raise RuntimeError(f"{name}: Expected input_lengths and target_lengths to have value at least 0")
    if times.max(initial=0) > steps:
        raise RuntimeError(f"{name}: Expected input_lengths to have value at most {steps}, but got value {times.max()}")
    starts = _starts(name, targets, lengths, batch)
    device = scores._m.device
    spans = tuple(from_array(values).to(device) for values in (starts, lengths, times))
    labels = dense(cast(targets, dtypes.int64)).reshape(-1)
    if device is not META:
        _check_labels(name, labels._host(), starts, lengths, classes)
    width = 2 * int(lengths.max(initial=0)) + 1
    losses = _losses(scores, labels, spans, width, int(blank), bool(zero_infinity))
    if zero_infinity:
        losses = losses.masked_fill(losses == float("inf"), 0.0)
    if reduction == "mean":
        return (losses / spans[1].clamp_min(1)).mean()
    return reduced(name, losses.squeeze(0) if single and reduction == "none" else losses, reduction)


def _check_labels(name, labels, starts, lengths, classes):
    """Labels are classes; what stands behind a sequence's labels does not matter."""
    if not len(labels) or (labels.min() >= 0 and labels.max() < classes):
        return
    for start, length in zip(starts, lengths):
        used = labels[start : start + length]
        if length and not (used.min() >= 0 and used.max() < classes):
            wrong = used[(used < 0) | (used >= classes)][0]
            raise IndexError(f"{name}: label {wrong} is out of range: there are {classes} classes, 0 to {classes - 1}")


def _starts(name, targets, lengths, batch):
    """Where the labels of every sequence begin in the flat targets."""
    if targets._m.ndim == 1:
        total = sum(lengths.tolist())  # which may be more than 64 bits hold
        if total > targets._m.numel:
            raise RuntimeError(
                f"{name}: Expected at least {total} labels, the sum of target_lengths, but targets has {targets._m.numel}"
            )
        return np.cumsum(lengths) - lengths
    if targets._m.ndim != 2 or targets._m.shape[0] != batch:
        raise RuntimeError(f"{name}: targets must be a vector or of shape [{batch}, labels], got {list(targets._m.shape)}")
    longest = targets._m.shape[1]
    if lengths.max(initial=0) > longest:
        raise RuntimeError(f"{name}: Expected target_lengths to be at most {longest}, but got {lengths.max()}")
    return np.arange(batch) * longest
