"""Connectionist temporal classification: the sum over all alignments of a label sequence with a longer one of
log-probabilities, forward and backward in time (Graves et al., 2006).

A unit is one sequence of the batch. Its labels are extended by blanks around each: ``blank, l0, blank, l1, ..., blank``.
Log-probabilities and their gradient are ``(time, batch, classes)``, contiguous; alphas ``(batch, time, width)``.
"""

import math

import numpy as np

from .jit import inlined, integer, kernel_template, pointer, shifted


@inlined
def _add(a, b):
    """``log(exp(a) + exp(b))``."""
    high = max(a, b)
    if high == -math.inf:
        return high
    return high + math.log1p(math.exp(min(a, b) - high))


@inlined
def _label(labels, place, blank):
    """The extended label at ``place``."""
    return labels[place // 2] if place % 2 else blank


@kernel_template
def alignments(operands, begin, end, *, T):
    """Losses and alphas. Slots: log-probabilities, labels, where a sequence's labels begin, their number, its steps of
    time, alphas, losses, batch, classes, time, width, blank."""
    log_probs = pointer(operands, 0, T)
    targets = pointer(operands, 1, np.int64)
    starts = pointer(operands, 2, np.int64)
    lengths = pointer(operands, 3, np.int64)
    times = pointer(operands, 4, np.int64)
    alphas = pointer(operands, 5, T)
    losses = pointer(operands, 6, T)
    batch = integer(operands, 7)
    classes = integer(operands, 8)
    steps = integer(operands, 9)
    width = integer(operands, 10)
    blank = integer(operands, 11)
    for n in range(begin, end):
        labels = shifted(targets, starts[n])
        places = 2 * lengths[n] + 1
        alpha = shifted(alphas, n * steps * width)
        for t in range(times[n]):
            now = shifted(alpha, t * width)
            before = shifted(alpha, max(t - 1, 0) * width)
            scores = shifted(log_probs, (t * batch + n) * classes)
            for s in range(places):
                label = _label(labels, s, blank)
                if t == 0:
                    total = 0.0 if s < 2 else -math.inf
                else:
                    total = np.float64(before[s])
                    if s > 0:
                        total = _add(total, np.float64(before[s - 1]))
                    if s > 1 and s % 2 and label != labels[s // 2 - 1]:
                        total = _add(total, np.float64(before[s - 2]))
                now[s] = T(total + scores[label])
        if times[n] == 0:
            losses[n] = T(0.0) if lengths[n] == 0 else T(math.inf)
        else:
            last = shifted(alpha, (times[n] - 1) * width)
            total = np.float64(last[places - 1])
            if places > 1:
                total = _add(total, np.float64(last[places - 2]))
            losses[n] = T(-total)


@kernel_template
def alignments_backward(operands, begin, end, *, T):
    """The gradient by the logits of which the log-probabilities are the log-softmax. Slots: as `alignments`, and
    after blank: two rows of betas a sequence, gradient of the losses, result, whether infinite losses count."""
    log_probs = pointer(operands, 0, T)
    targets = pointer(operands, 1, np.int64)
    starts = pointer(operands, 2, np.int64)
    lengths = pointer(operands, 3, np.int64)
    times = pointer(operands, 4, np.int64)
    alphas = pointer(operands, 5, T)
    losses = pointer(operands, 6, T)
    batch = integer(operands, 7)
    classes = integer(operands, 8)
    steps = integer(operands, 9)
    width = integer(operands, 10)
    blank = integer(operands, 11)
    betas = pointer(operands, 12, T)
    gradients = pointer(operands, 13, T)
    result = pointer(operands, 14, T)
    infinite = integer(operands, 15)
    for n in range(begin, end):
        labels = shifted(targets, starts[n])
        places = 2 * lengths[n] + 1
        alpha = shifted(alphas, n * steps * width)
        loss = np.float64(losses[n])
        counts = infinite != 0 or loss != math.inf
        for t in range(steps):
            row = shifted(result, (t * batch + n) * classes)
            for c in range(classes):
                row[c] = T(-math.inf) if counts and t < times[n] else T(0.0)
        if counts:
            for back in range(times[n]):
                t = times[n] - 1 - back
                now = shifted(betas, (2 * n + t % 2) * width)
                after = shifted(betas, (2 * n + (t + 1) % 2) * width)
                scores = shifted(log_probs, (t * batch + n) * classes)
                row = shifted(result, (t * batch + n) * classes)
                for s in range(places):
                    label = _label(labels, s, blank)
                    if back == 0:
                        total = 0.0 if s >= places - 2 else -math.inf
                    else:
                        total = np.float64(after[s])
                        if s + 1 < places:
                            total = _add(total, np.float64(after[s + 1]))
                        if s + 2 < places and s % 2 and label != labels[s // 2 + 1]:
                            total = _add(total, np.float64(after[s + 2]))
                    now[s] = T(total + scores[label])
                    row[label] = T(_add(np.float64(row[label]), np.float64(alpha[t * width + s] + now[s])))
                for c in range(classes):
                    score = np.float64(scores[c])
                    share = math.exp(row[c] + loss - score) if row[c] > -math.inf else 0.0
                    row[c] = T((math.exp(score) - share) * gradients[n])
