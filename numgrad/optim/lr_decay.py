"""Schedulers that decay or warm up: by a function, in steps, linearly, exponentially, by a power."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from .lr_base import (
    FactorLR,
    LRScheduler,
    as_optimizer,
    one_function_per_group,
    restore_functions,
    saved_functions,
    takes_verbose,
)
from .optimizer import Optimizer


class _FunctionLR(LRScheduler):
    """A scheduler by functions of the step, one for all groups or one each; only callable objects are saved."""

    @takes_verbose
    def __init__(self, optimizer: Optimizer, lr_lambda: Callable | list[Callable], last_epoch: int = -1) -> None:
        self.lr_lambdas = one_function_per_group(as_optimizer(optimizer), lr_lambda)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer; of ``lr_lambdas`` the attributes of callable objects, None for plain
        functions."""
        return {**super().state_dict(), "lr_lambdas": saved_functions(self.lr_lambdas)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        functions = self.lr_lambdas
        super().load_state_dict(state_dict)
        self.lr_lambdas = functions
        restore_functions(functions, state_dict["lr_lambdas"])


class LambdaLR(_FunctionLR):
    """``lr = initial_lr * lr_lambda(step)``."""

    def get_lr(self) -> list:
        self._warn_unless_stepping()
        return [base * fn(self.last_epoch) for fn, base in zip(self.lr_lambdas, self.base_lrs)]


class MultiplicativeLR(_FunctionLR):
    """``lr *= lr_lambda(step)`` every step."""

    def get_lr(self) -> list:
        self._warn_unless_stepping()
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self._is_initial:
            return rates
        return [lr * fn(self.last_epoch) for fn, lr in zip(self.lr_lambdas, rates)]


class StepLR(FactorLR):
    """``lr *= gamma`` every ``step_size`` steps."""

    @takes_verbose
    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def change(self, epoch: int) -> float | None:
        return self.gamma if epoch % self.step_size == 0 else None

    def share(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(FactorLR):
    """``lr *= gamma`` at each of ``milestones``; a milestone given twice counts twice."""

    @takes_verbose
    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def first(self) -> float | None:
        return self.change(0)

    def change(self, epoch: int) -> float | None:
        return self.gamma ** self.milestones[epoch] if epoch in self.milestones else None

    def share(self, epoch: int) -> float:
        return self.gamma ** bisect_right(sorted(self.milestones.elements()), epoch)


class ConstantLR(FactorLR):
    """``lr = factor * initial_lr`` for the first ``total_iters`` steps. Raises ValueError unless 0 <= factor <= 1."""

    @takes_verbose
    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1.0:
            raise ValueError(f"Constant multiplicative factor expected to be between 0 and 1, got {factor}.")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def first(self) -> float | None:
        return self.factor

    def change(self, epoch: int) -> float | None:
        return 1.0 / self.factor if epoch == self.total_iters else None

    def share(self, epoch: int) -> float:
        return self.factor if epoch < self.total_iters else 1.0


class LinearLR(FactorLR):
    """From ``start_factor * initial_lr`` to ``end_factor * initial_lr`` on a line, in ``total_iters`` steps.

    Raises ValueError unless 0 < start_factor <= 1 and 0 <= end_factor <= 1.
    """

    resumes_in_place = True

    @takes_verbose
    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not 0 < start_factor <= 1.0:
            raise ValueError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal to 1, got "
                f"{start_factor}."
            )
        if not 0 <= end_factor <= 1.0:
            raise ValueError(f"Ending multiplicative factor expected to be between 0 and 1, got {end_factor}.")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def first(self) -> float | None:
        return self.start_factor

    def change(self, epoch: int) -> float | None:
        if epoch > self.total_iters:
            return None
        rise = self.end_factor - self.start_factor
        return 1.0 + rise / (self.total_iters * self.start_factor + (epoch - 1) * rise)

    def share(self, epoch: int) -> float:
        rise = self.end_factor - self.start_factor
        return self.start_factor + rise * min(self.total_iters, epoch) / self.total_iters


class ExponentialLR(FactorLR):
    """``lr *= gamma`` every step."""

    resumes_in_place = True

    @takes_verbose
    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def change(self, epoch: int) -> float | None:
        return self.gamma

    def share(self, epoch: int) -> float:
        return self.gamma**epoch


class PolynomialLR(FactorLR):
    """``lr = initial_lr * (1 - step / total_iters) ** power``, 0 from step ``total_iters`` on."""

    resumes_in_place = True

    @takes_verbose
    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def change(self, epoch: int) -> float | None:
        if epoch > self.total_iters:
            return None
        return ((1.0 - epoch / self.total_iters) / (1.0 - (epoch - 1) / self.total_iters)) ** self.power

    def share(self, epoch: int) -> float:
        return (1.0 - min(self.total_iters, epoch) / self.total_iters) ** self.power
