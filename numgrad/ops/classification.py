"""Losses over classes: negative log-likelihood and cross entropy."""

import numpy as np

from ..device import CPU
from ..kernels.vocab import difference, exp, expm1, lanes, leader, log, log1p, maxnum, row_max, row_sum, where
from ..layout import integer
from ..op import as_tensor_operand, called
from ..rowwise import rowwise
from ..tensor import Tensor
from .columns import by_columns, cross_entropy_columns
from .softmax import ALMOST_ONE, log_softmax_rows
from .view import movedim, reshape

NEG_INF = float("-inf")
NAN = float("nan")


@rowwise("x(r,n), target(r,1), weight?(n) -> loss(r,1), peak(r,1), rest(r,1)", install=(), name="cross_entropy_rows",
         no_gradient=("weight",), grad_name="NllLossBackward0")
def cross_entropy_rows(x, target, weight, loss, peak, rest, *, n, ignore_index=-100, label_smoothing=0.0):
    """``-w[t] * log_softmax(x)[t]`` of every row, mixed with the mean over all classes by ``label_smoothing``."""
    top = NEG_INF
    for j in lanes(n):
        top = maxnum(top, x[j])
    top = row_max(top)
    total, spread, weights = 0.0, 0.0, 0.0
    for j in lanes(n):
        total += exp(x[j] - top)
    if label_smoothing > 0.0:
        for j in lanes(n):
            scale = 1.0
            if weight is not None:
                scale = weight[j]
            spread += scale * (x[j] - top)
            weights += scale
    # The maximum is taken off first: added to the logarithm it would round away its digits.
    total = row_sum(total)
    log_sum = log(total)
    if total < ALMOST_ONE:
        others = 0.0
        for j in lanes(n):
            others += where(x[j] == top, 0.0, exp(x[j] - top))
        log_sum = log1p(row_sum(others))
    spread = row_sum(spread)
    weights = row_sum(weights)
    if leader():
        peak[0] = top
        rest[0] = log_sum
        t = target[0]
        if t == ignore_index:
            loss[0] = 0.0
        elif t < 0 or t >= n:
            loss[0] = NAN
        else:
            scale = 1.0
            if weight is not None:
                scale = weight[t]
            value = scale * difference(log_sum, x[t] - top)
            if label_smoothing > 0.0:
                value = (1.0 - label_smoothing) * value + label_smoothing / float(n) * (weights * log_sum - spread)
            loss[0] = value


@cross_entropy_rows.backward
def _(g, x, target, weight, peak, rest, dx, *, n, ignore_index, label_smoothing):
    t = target[0]
    if t == ignore_index or t < 0 or t >= n:  # on a GPU nobody waits to see that there is no such class: its loss is NaN
        for j in lanes(n):
            dx[j] = 0.0
    else:
        scale = 1.0
        if weight is not None:
            scale = weight[t]
        shift, log_sum = peak[0], rest[0]
        hard = (1.0 - label_smoothing) * scale * g[0]
        if label_smoothing > 0.0:
            weights = 0.0
            for j in lanes(n):
                each = 1.0
                if weight is not None:
                    each = weight[j]
                weights += each
            weights = row_sum(weights)
            soft = label_smoothing / float(n) * g[0]
            for j in lanes(n):
                each = 1.0
                if weight is not None:
                    each = weight[j]
                dx[j] = (hard + soft * weights) * exp(difference(x[j] - shift, log_sum)) - soft * each
        else:
            for j in lanes(n):
                dx[j] = hard * exp(difference(x[j] - shift, log_sum))
        if leader():
            # p - 1, which is no difference where p is nearly 1.
            right = hard * expm1(difference(x[t] - shift, log_sum))
            if label_smoothing > 0.0:
                each = 1.0
                if weight is not None:
                    each = weight[t]
                right += soft * (weights * exp(difference(x[t] - shift, log_sum)) - each)
            dx[t] = right


@cross_entropy_rows.backward_as_ops
def _(g, x, target, weight, peak, rest, ignore_index, label_smoothing):
    n = x._m.shape[-1]
    kept = (target != ignore_index).to(x._m.dtype)
    hot = _one_hot(target, n, x)
    scale = kept if weight is None else kept * (hot * weight).sum(-1)
    logs = log_softmax_rows(x)
    p = logs.exp()
    hard = ((1.0 - label_smoothing) * scale * g).unsqueeze(-1)
    found = hard * where(hot != 0.0, logs.expm1(), p)
    if label_smoothing > 0.0:
        soft = (label_smoothing / n * g * kept).unsqueeze(-1)
        each = p * 0.0 + 1.0 if weight is None else weight
        found = found + soft * (p * each.sum(-1, True) - each)
    return found, None, None


def _one_hot(target, n, like):
    from .create import arange

    classes = arange(n, device=target._m.device)
    return (target.unsqueeze(-1) == classes).to(like._m.dtype)


@rowwise("x(r,n), target(r,1), weight?(n) -> loss(r,1)", install=(), name="nll_rows", no_gradient=("weight",),
         grad_name="NllLossBackward0")  # fmt: skip
def nll_rows(x, target, weight, loss, *, n, ignore_index=-100):
    """``-w[t] * x[t]`` of every row."""
    if leader():
        t = target[0]
        if t == ignore_index:
            loss[0] = 0.0
        elif t < 0 or t >= n:
            loss[0] = NAN
        else:
            scale = 1.0
            if weight is not None:
                scale = weight[t]
            loss[0] = -scale * x[t]


@nll_rows.backward
def _(g, x, target, weight, dx, *, n, ignore_index):
    for j in lanes(n):
        dx[j] = 0.0
    t = target[0]
    if leader() and t != ignore_index and t >= 0 and t < n:
        scale = 1.0
        if weight is not None:
            scale = weight[t]
        dx[t] = -scale * g[0]


@nll_rows.backward_as_ops
def _(g, x, target, weight, ignore_index):
    hot = _one_hot(target, x._m.shape[-1], x)
    scale = (target != ignore_index).to(x._m.dtype)
    if weight is not None:
        scale = scale * (hot * weight).sum(-1)
    return -(scale * g).unsqueeze(-1) * hot, None, None


def _reduction(reduction, size_average, reduce):
    if size_average is not None or reduce is not None:
        average = True if size_average is None else size_average
        wanted = True if reduce is None else reduce
        return "mean" if average and wanted else "sum" if wanted else "none"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _rows(name, input, target, weight):
    """``input`` as (..., classes), with the target's shape in front."""
    input, target = as_tensor_operand(name, input, "input"), as_tensor_operand(name, target, "target")
    ndim = input._m.ndim
    if ndim == 0:
        raise ValueError(f"{name}: Expected 1 or more dimensions (got 0)")
    classes = input._m.shape[0 if ndim == 1 else 1]
    expected = tuple(input._m.shape[:1] + input._m.shape[2:]) if ndim > 1 else ()
    if tuple(target._m.shape) != expected:
        if ndim > 1 and target._m.ndim and input._m.shape[0] != target._m.shape[0]:
            raise ValueError(
                f"Expected input batch_size ({input._m.shape[0]}) to match target batch_size ({target._m.shape[0]})."
            )
        many = "1D target tensor expected, multi-target not supported. " if ndim == 2 else ""
        raise RuntimeError(
            f"{name}: {many}Expected target size {list(expected)}, got {list(target._m.shape)} for input {list(input._m.shape)}"
        )
    if target._m.dtype.kind != "i":
        raise RuntimeError(f'{name}: expected scalar type Long but found {target._m.dtype!r}; convert target with .long()')
    if weight is not None and (weight._m.ndim != 1 or weight._m.shape[0] != classes):
        raise RuntimeError(
            f"{name}: weight tensor should be defined either for all {classes} classes or no classes but got weight tensor "
            f"of shape: {list(weight._m.shape)}"
        )
    if weight is not None and weight._m.dtype is not input._m.dtype:
        raise RuntimeError(
            f"{name}: expected scalar type of input, {input._m.dtype!r}, for weight but found {weight._m.dtype!r}; convert "
            "one with .to(dtype)"
        )
    if target._m.dtype.name != "int64":
        target = target.long()
    if ndim > 2:
        input = movedim(input, 1, -1)
    elif ndim == 1:
        input, target = input.unsqueeze(0), target.unsqueeze(0)
    return input, target, expected


def check_targets(name, loss, target, classes, ignore_index):
    """A NaN loss may come from a target out of range: then say so."""
    if loss._m.device is not CPU or not np.isnan(loss._host()).any():
        return
    values = target._host()
    bad = (values != ignore_index) & ((values < 0) | (values >= classes))
    if bad.any():
        raise IndexError(f"{name}: Target {int(values[bad].ravel()[0])} is out of bounds for {classes} classes.")


def _reduce(name, loss, target, weight, reduction, ignore_index, shape, classes):
    check_targets(name, loss, target, classes, ignore_index)
    if reduction == "none":
        return reshape(loss, shape)
    total = loss.sum()
    if reduction == "mean":
        if weight is not None:
            hot = _one_hot(target, classes, weight)
            count = ((hot * weight).sum(-1) * (target != ignore_index).to(weight._m.dtype)).sum()
        elif target._m.device is CPU and not target._m.batched:
            count = float(target._m.numel - np.count_nonzero(target._host() == ignore_index))
        else:
            count = (target != ignore_index).sum()
        total = total / count
    return called(total, "NllLossBackward0" if len(shape) < 2 else "NllLoss2DBackward0")


def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean") -> Tensor:
    """Negative log-likelihood of log-probabilities: ``(N, C, ...)``, classes ``(N, ...)`` -> scalar, or ``(N, ...)``
    with ``reduction="none"``."""
    reduction, ignore_index = _reduction(reduction, size_average, reduce), integer("nll_loss", "ignore_index", ignore_index)
    rows, target, shape = _rows("nll_loss", input, target, weight)
    loss = nll_rows(rows, target, weight, ignore_index)
    return _reduce("nll_loss", loss, target, weight, reduction, ignore_index, shape, rows._m.shape[-1])


def cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean",
                  label_smoothing=0.0) -> Tensor:  # fmt: skip
    """Cross entropy of logits: ``(N, C, ...)`` with classes ``(N, ...)``, or probabilities of the input's shape,
    as target -> scalar, or ``(N, ...)`` with ``reduction="none"``."""
    reduction = _reduction(reduction, size_average, reduce)
    ignore_index = integer("cross_entropy", "ignore_index", ignore_index)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if isinstance(target, Tensor) and target._m.shape == input._m.shape and target._m.dtype.is_floating_point:
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    rows, target, shape = _rows("cross_entropy", input, target, weight)
    if rows._m.ndim > 2 and weight is None and label_smoothing == 0.0 and by_columns(input._m, (1,)):
        loss = cross_entropy_columns(input, target, ignore_index)
        return _reduce("cross_entropy", loss, target, None, reduction, ignore_index, shape, rows._m.shape[-1])
    loss = cross_entropy_rows(rows, target, weight, ignore_index, float(label_smoothing))
    return _reduce("cross_entropy", loss, target, weight, reduction, ignore_index, shape, rows._m.shape[-1])


def _soft_cross_entropy(input, target, weight, reduction, label_smoothing):
    axis = 0 if input._m.ndim == 1 else 1
    classes = input._m.shape[axis]
    if label_smoothing > 0.0:
        target = target * (1.0 - label_smoothing) + label_smoothing / classes
    logs = movedim(input, axis, -1)
    logs = log_softmax_rows(logs) if logs._m.numel else logs
    target = movedim(target, axis, -1)
    found = logs * target
    if weight is not None:
        found = found * weight
    loss = -found.sum(-1)
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    return loss.sum() / float(max(input._m.numel // classes, 1) if input._m.numel else 0)
