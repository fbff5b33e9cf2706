"""Schedulers with cosines and cycles: CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR."""

import math
from collections.abc import Callable
from typing import Any, Literal

from .lr_base import (
    LRScheduler,
    as_optimizer,
    assign,
    copied,
    per_group,
    restore_functions,
    saved_functions,
    takes_verbose,
)
from .optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """``lr = eta_min + (initial_lr - eta_min) * (1 + cos(pi * step / T_max)) / 2`` (arXiv:1608.03983), and back up
    after ``T_max`` steps."""

    @takes_verbose
    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list:
        self._warn_unless_stepping()
        rates = [group["lr"] for group in self.optimizer.param_groups]
        step, low = self.last_epoch, self.eta_min
        if step == 0 or self._is_initial:  # resumed, it starts from the present rates
            return rates
        if (step - 1 - self.T_max) % (2 * self.T_max) == 0:  # from the bottom, where the ratio below is 0 / 0
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [lr + (base - low) * rise for base, lr in zip(self.base_lrs, rates)]
        ratio = (1 + math.cos(math.pi * step / self.T_max)) / (1 + math.cos(math.pi * (step - 1) / self.T_max))
        return [ratio * (lr - low) + low for lr in rates]

    def _get_closed_form_lr(self):
        share = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts over (arXiv:1608.03983): after ``T_0`` steps, then after ``T_mult`` times as many.

    ``step(epoch)`` with a fraction of an epoch is meant here: call it for every batch. Raises ValueError unless
    ``T_0`` and ``T_mult`` are positive integers.
    """

    @takes_verbose
    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}")
        self.T_0, self.T_i, self.T_mult, self.eta_min = T_0, T_0, T_mult, eta_min
        self.T_cur = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list:
        self._warn_unless_stepping()
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Set the rates of the next step, or those of (fractional) step ``epoch``."""
        if epoch is None and (self.last_epoch < 0 or self._is_initial):
            epoch = self.last_epoch + 1
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        elif epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            # The k-th restart is at T_0 * (1 + T_mult + ... + T_mult^(k-1)).
            k = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**k - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**k
        self._update_lr(math.floor(epoch))


class CyclicLR(LRScheduler):
    """The rate goes up from ``base_lr`` to ``max_lr`` in ``step_size_up`` steps and down in ``step_size_down``, again
    and again (arXiv:1506.01186).

    ``mode``: "triangular"; "triangular2", the height halved each cycle; "exp_range", scaled by ``gamma ** step``; or
    ``scale_fn`` of the cycle's or step's number, as ``scale_mode`` says ("cycle" or "iterations"). With
    ``cycle_momentum`` the momentum (or beta1) moves the other way between ``max_momentum`` and ``base_momentum``.
    Raises ValueError for an unknown mode, or an optimizer without momentum that is to be cycled.
    """

    _unsaved = ("optimizer", "_scale_fn_ref")

    @takes_verbose
    def __init__(
        self, optimizer: Optimizer, base_lr: float | list[float], max_lr: float | list[float],
        step_size_up: int = 2000, step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular", gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None, scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True, base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        groups = as_optimizer(optimizer).param_groups
        lows = per_group(optimizer, base_lr, "base_lr")
        if last_epoch == -1:
            for group, low in zip(groups, lows):
                assign(group, "lr", low)
        self.max_lrs = per_group(optimizer, max_lr, "max_lr")
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(f"mode is invalid and scale_fn is None: got {mode!r}")
        self.mode, self.gamma = mode, gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else ("iterations" if mode == "exp_range" else "cycle")
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _momentum_is_beta1(optimizer)
            self.base_momentums = per_group(optimizer, base_momentum, "base_momentum")
            self.max_momentums = per_group(optimizer, max_momentum, "max_momentum")
            if last_epoch == -1:
                for group, low, high in zip(groups, self.base_momentums, self.max_momentums):
                    _set_momentum(group, copied(high), self.use_beta1)
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lows

    def scale_fn(self, x: float) -> float:
        """The height of cycle (or step) ``x`` as a share of the full one."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular2":
            return 1 / (2.0 ** (x - 1))
        return self.gamma**x if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list:
        self._warn_unless_stepping()
        step = self.last_epoch
        cycle = math.floor(1 + step / self.total_size)
        x = 1.0 + step / self.total_size - cycle
        share = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else step)
        if self.cycle_momentum:
            for group, low, high in zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums):
                _set_momentum(group, high - (high - low) * share * scale, self.use_beta1)
        return [low + (high - low) * share * scale for low, high in zip(self.base_lrs, self.max_lrs)]

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer; of a ``scale_fn`` the attributes, if it is a callable object."""
        state = super().state_dict()
        fn = state.pop("_scale_fn_custom")
        state["_scale_fn_custom"] = None if fn is None else saved_functions([fn])[0]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        fn = self._scale_fn_custom
        super().load_state_dict(state_dict)
        self._scale_fn_custom = fn
        if fn is not None:
            restore_functions([fn], [state_dict["_scale_fn_custom"]])


class OneCycleLR(LRScheduler):
    """One cycle over the whole training, a step a batch (arXiv:1708.07120).

    From ``max_lr / div_factor`` up to ``max_lr`` in ``pct_start`` of ``total_steps`` (or ``epochs *
    steps_per_epoch``), then down to the first rate over ``final_div_factor``; with ``three_phase`` down to the first
    rate as long as it went up, and on from there. The momentum (or beta1) goes the other way. ``anneal_strategy``:
    "cos" or "linear". Raises ValueError for options out of range, and on a step after the last.
    """

    @takes_verbose
    def __init__(
        self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos", cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85, max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        groups = as_optimizer(optimizer).param_groups
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        highs = per_group(optimizer, max_lr, "max_lr")
        if last_epoch == -1:
            for group, high in zip(groups, highs):
                group["initial_lr"] = high / div_factor
                group["max_lr"] = high
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _momentum_is_beta1(optimizer)
            if last_epoch == -1:
                lows = per_group(optimizer, base_momentum, "base_momentum")
                for group, low, high in zip(groups, lows, per_group(optimizer, max_momentum, "max_momentum")):
                    _set_momentum(group, copied(high), self.use_beta1)
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)

    def _anneal(self, start, end, share):
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (1 + math.cos(math.pi * share))
        return (end - start) * share + start

    def get_lr(self) -> list:
        self._warn_unless_stepping()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is {self.total_steps}; step once a "
                "batch, not more, or give the number of batches of all epochs"
            )
        start = 0.0
        for phase in self._schedule_phases:
            end = phase["end_step"]
            if step <= end or phase is self._schedule_phases[-1]:
                break
            start = end
        share = (step - start) / (end - start)
        found = []
        for group in self.optimizer.param_groups:
            found.append(self._anneal(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                momentum = self._anneal(group[phase["start_momentum"]], group[phase["end_momentum"]], share)
                _set_momentum(group, momentum, self.use_beta1)
        return found


def _total_steps(total_steps, epochs, steps_per_epoch) -> int:
    if total_steps is not None:
        if not isinstance(total_steps, int) or total_steps <= 0:
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    if not isinstance(epochs, int) or epochs <= 0:
        raise ValueError(f"Expected positive integer epochs, but got {epochs}")
    if not isinstance(steps_per_epoch, int) or steps_per_epoch <= 0:
        raise ValueError(f"Expected positive integer steps_per_epoch, but got {steps_per_epoch}")
    return epochs * steps_per_epoch


def _phases(total_steps, pct_start, three_phase) -> list[dict[str, Any]]:
    """Where each phase of `OneCycleLR` ends, and the group options that it leads from and to."""
    rising, falling = ("max_momentum", "base_momentum"), ("base_momentum", "max_momentum")
    phases = [(float(pct_start * total_steps) - 1, "initial_lr", "max_lr", rising)]
    if three_phase:
        phases.append((float(2 * pct_start * total_steps) - 2, "max_lr", "initial_lr", falling))
        phases.append((total_steps - 1, "initial_lr", "min_lr", ("max_momentum", "max_momentum")))
    else:
        phases.append((total_steps - 1, "max_lr", "min_lr", falling))
    return [
        {"end_step": end, "start_lr": a, "end_lr": b, "start_momentum": momentum[0], "end_momentum": momentum[1]}
        for end, a, b, momentum in phases
    ]


def _momentum_is_beta1(optimizer: Optimizer) -> bool:
    """Whether the momentum to be cycled is Adam's first beta; ValueError if there is neither."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            "optimizer must support momentum or beta1 with `cycle_momentum` option enabled; "
            f"{type(optimizer).__name__} has neither: pass cycle_momentum=False"
        )
    return "betas" in optimizer.defaults


def _set_momentum(group, value, is_beta1):
    if is_beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value
