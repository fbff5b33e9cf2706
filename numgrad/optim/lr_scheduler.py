"""Learning-rate schedulers: the public list, and those that react to a metric or are made of other schedulers."""

import math
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Literal, SupportsFloat

from .lr_base import EPOCH_DEPRECATION_WARNING, LRScheduler, as_optimizer, assign, present, takes_verbose
from .lr_cyclic import CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from .lr_decay import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from .optimizer import Optimizer

__all__ = [
    "LambdaLR", "MultiplicativeLR", "StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR",
    "SequentialLR", "CosineAnnealingLR", "ChainedScheduler", "ReduceLROnPlateau", "CyclicLR",
    "CosineAnnealingWarmRestarts", "OneCycleLR", "PolynomialLR", "LRScheduler",
]  # fmt: skip

_LRScheduler = LRScheduler  # the name under which older code subclasses it


class ReduceLROnPlateau(LRScheduler):
    """``lr *= factor`` once a metric has not improved for more than ``patience`` steps.

    ``mode``: whether less ("min") or more ("max") is better. An improvement must exceed ``threshold``, relative to
    the best value ("rel") or absolute ("abs"). ``cooldown``: steps after a reduction in which nothing is counted.
    ``min_lr``: a bound, or one each group. Changes smaller than ``eps`` are not made. Raises ValueError for
    ``factor`` >= 1, unknown modes, or a number of bounds that does not fit.
    """

    @takes_verbose
    def __init__(
        self, optimizer: Optimizer, mode: Literal["min", "max"] = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: Literal["rel", "abs"] = "rel", cooldown: int = 0,
        min_lr: list[float] | float = 0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        if factor >= 1.0:
            raise ValueError(f"Factor should be < 1.0, got {factor}.")
        self.factor = factor
        self.optimizer = as_optimizer(optimizer)
        count = len(optimizer.param_groups)
        if isinstance(min_lr, (list, tuple)):
            if len(min_lr) != count:
                raise ValueError(f"expected {count} min_lrs, got {len(min_lr)}")
            self.default_min_lr, self.min_lrs = None, list(min_lr)
        else:
            self.default_min_lr, self.min_lrs = min_lr, [min_lr] * count
        self.patience, self.cooldown, self.eps = patience, cooldown, eps
        self.last_epoch = 0
        self._last_lr = present(optimizer.param_groups)
        self._init_is_better(mode, threshold, threshold_mode)
        self._reset()

    def _init_is_better(self, mode, threshold, threshold_mode):
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown! Use 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown! Use 'rel' or 'abs'")
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode

    def _reset(self):
        """Start counting anew."""
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def is_better(self, a: float, best: float) -> bool:
        """Whether metric ``a`` improves on ``best``."""
        sign = 1.0 if self.mode == "max" else -1.0
        if self.threshold_mode == "rel":
            bound = best * (1.0 + sign * self.threshold)
        else:
            bound = best + sign * self.threshold
        return a > bound if self.mode == "max" else a < bound

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Look at the metric of the step that was made, and reduce the rates if it is time."""
        current = float(metrics)
        if epoch is None:
            epoch = self.last_epoch + 1
        else:
            warnings.warn(EPOCH_DEPRECATION_WARNING, stacklevel=2)
        self.last_epoch = epoch
        if self.is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr(epoch)
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = present(self.optimizer.param_groups)

    def _reduce_lr(self, epoch):
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"The number of param groups in the `optimizer` ({len(groups)}) differs from when "
                    f"`ReduceLROnPlateau` was initialized ({len(self.min_lrs)}): a group was added since. Give its "
                    "`min_lrs` one bound for each group."
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, bound in zip(groups, self.min_lrs):
            before = float(group["lr"])
            after = max(before * self.factor, bound)
            if before - after > self.eps:
                assign(group, "lr", after)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._init_is_better(self.mode, self.threshold, self.threshold_mode)


def _check_members(name, schedulers, optimizer) -> None:
    """Raise unless all are schedulers of ``optimizer`` that can be stepped without arguments."""
    for k, scheduler in enumerate(schedulers):
        if not hasattr(scheduler, "optimizer"):
            raise TypeError(
                f"{name} at index {k} should have `optimizer` as its attribute: expected a scheduler, got "
                f"{type(scheduler).__name__}"
            )
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(
                f"{name} does not support `ReduceLROnPlateau`, whose `step` needs the metric as an argument, but got "
                f"one at index {k} of the schedulers; step it by itself."
            )
        if scheduler.optimizer is not optimizer:
            raise ValueError(
                f"{name} expects all schedulers to belong to the same optimizer, but got scheduler "
                f"{type(scheduler).__name__} at index {k} with another {type(scheduler.optimizer).__name__}"
            )


def _to_initial_rates(optimizer) -> None:
    for group in optimizer.param_groups:
        assign(group, "lr", group["initial_lr"])


class _Composite(LRScheduler):
    """A scheduler that holds others, whose states it saves with its own."""

    _unsaved = ("optimizer", "_schedulers")
    _schedulers: list

    def _running(self) -> list:
        """The schedulers that make the first step."""
        return self._schedulers

    def _initial_step(self):
        for scheduler in self._running():
            scheduler._initial_step()
        self._last_lr = present(self.optimizer.param_groups)

    def _take_back(self):
        for scheduler in self._running():
            scheduler._take_back()

    def _update_lr(self, epoch=0):
        """Begin anew, from the initial rates: a composite has no closed form."""
        _to_initial_rates(self.optimizer)
        self._restart()

    def _restart(self):
        """Begin anew, from the present rates, whatever the schedulers have done before."""
        for scheduler in self._running():
            if isinstance(scheduler, _Composite):
                scheduler._restart()
            else:
                scheduler.last_epoch = -1
                scheduler._initial_step()
        self._last_lr = present(self.optimizer.param_groups)

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer, and the state dicts of the schedulers under ``"_schedulers"``."""
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_Composite):
    """One scheduler after another: the next takes over at each of ``milestones`` and counts from 0.

    Raises ValueError unless there is one scheduler more than milestones, all of the same optimizer.
    """

    @takes_verbose
    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        if len(schedulers) < 1:
            raise ValueError("SequentialLR expects at least one scheduler, but got no scheduler.")
        _check_members("SequentialLR", schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "SequentialLR expects the number of schedulers to be one more than the number of milestones, but got "
                f"{len(schedulers)} schedulers and {len(milestones)} milestones"
            )
        self._schedulers, self._milestones = schedulers, milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # Each scheduler made its first step when it was built: take all back, and let only the first one begin.
        _to_initial_rates(optimizer)
        for scheduler in schedulers:
            scheduler._take_back()
        super()._initial_step()

    def _running(self) -> list:
        return [self._schedulers[bisect_right(self._milestones, 0)]]

    def _initial_step(self):
        self.last_epoch += 1
        super()._initial_step()

    def _take_back(self):
        self.last_epoch -= 1
        super()._take_back()

    def _restart(self):
        self.last_epoch = 0
        super()._restart()

    def step(self) -> None:  # type: ignore[override]
        """Set the rates of the next step."""
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[k]
        if k > 0 and self._milestones[k - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Composite):
    """Several schedulers that all step at once, each changing the rates that the one before it left.

    Raises ValueError unless there is at least one, all of the same optimizer.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if len(schedulers) < 1:
            raise ValueError("ChainedScheduler expects at least one scheduler to be chained, but got no scheduler.")
        if optimizer is None:
            optimizer = getattr(schedulers[0], "optimizer", None)
        _check_members("ChainedScheduler", schedulers, optimizer)
        self._schedulers = list(schedulers)
        self.optimizer = as_optimizer(optimizer)
        self._last_lr = present(self.optimizer.param_groups)

    def step(self) -> None:  # type: ignore[override]
        """Step all schedulers."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = present(self.optimizer.param_groups)
