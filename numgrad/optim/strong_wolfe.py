"""A line search for the strong Wolfe conditions."""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

from ..tensor import Tensor

_SUFFICIENT_DECREASE = 1e-4
_CURVATURE = 0.9


class Trial(NamedTuple):
    """A point on the line: the step ``t`` that leads there, the loss, its gradient (n) and its slope on the line."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Trial], start: Trial, t: float, *, length: float, limit: int, tolerance: float = 1e-9
) -> tuple[Trial, int]:
    """A trial that meets the strong Wolfe conditions, or the best one met, and how many were made.

    The conditions are ``loss <= start.loss + 1e-4 * t * start.slope`` and ``|slope| <= 0.9 * |start.slope|`` (Nocedal
    and Wright, Numerical Optimization, algorithms 3.5 and 3.6). ``evaluate(t)`` makes the trial of a step, ``t`` is
    the first one, ``length`` the largest component of the direction; a bracket whose points differ by less than
    ``tolerance`` is not refined. At most ``limit`` further trials follow the first.
    """

    def too_high(trial):
        return trial.loss > start.loss + _SUFFICIENT_DECREASE * trial.t * start.slope

    def flat(trial):
        return abs(trial.slope) <= -_CURVATURE * start.slope

    # Go on along the line until a minimum lies behind.
    previous, trial = start, evaluate(t)
    rounds = 0
    while rounds < limit:
        if too_high(trial) or (rounds > 1 and trial.loss >= previous.loss):
            break
        if flat(trial):
            return trial, rounds + 1
        if trial.slope >= 0:
            break
        t = _cubic_minimum(previous, trial, trial.t + 0.01 * (trial.t - previous.t), 10.0 * trial.t)
        previous, trial = trial, evaluate(t)
        rounds += 1
    else:
        previous = start
    # Shrink the bracket between the two; the lower one has met the first condition.
    bracket = [previous, trial]
    low = _lower(bracket)
    stalled = False
    while rounds < limit and not abs(bracket[1].t - bracket[0].t) * length < tolerance:
        left, right = sorted((bracket[0].t, bracket[1].t))
        t = _cubic_minimum(*bracket, left, right)
        t, stalled = _off_the_ends(t, left, right, stalled)
        trial = evaluate(t)
        rounds += 1
        if too_high(trial) or trial.loss >= bracket[low].loss:
            bracket[1 - low] = trial
            low = _lower(bracket)
            continue
        done = flat(trial)
        if not done and trial.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = trial
        if done:
            break
    return bracket[low], rounds + 1


def _lower(bracket):
    return 0 if bracket[0].loss <= bracket[1].loss else 1


def _off_the_ends(t, left, right, stalled):
    """``t``, a tenth of the bracket inside where it is at an end or was near one before; whether it is near one."""
    margin = 0.1 * (right - left)
    if not min(right - t, t - left) < margin:
        return t, False
    if not stalled and left < t < right:
        return t, True
    return (right - margin if abs(t - right) < abs(t - left) else left + margin), False


def _cubic_minimum(a, b, left, right):
    """Where the cubic with the losses and slopes of two trials has its minimum, within [left, right]; their middle if
    it has none."""
    if a.t > b.t:
        a, b = b, a
    width = b.t - a.t
    middle = 0.5 * (left + right)
    if not width:
        return middle
    mean = a.slope + b.slope - 3.0 * (b.loss - a.loss) / width
    discriminant = mean * mean - a.slope * b.slope
    if not discriminant >= 0:
        return middle
    root = sqrt(discriminant)
    share, change = b.slope + root - mean, b.slope - a.slope + 2.0 * root
    if not change:  # a line, whose minimum is infinitely far
        return right if share < 0 else left if share > 0 else middle
    return min(max(b.t - width * (share / change), left), right)
