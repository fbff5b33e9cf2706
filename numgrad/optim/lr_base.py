"""The base of learning-rate schedulers: when a rate is computed, where it is written, what is saved."""

import functools
import types
import warnings
from collections.abc import Callable
from typing import Any

from ..autograd import no_grad
from ..tensor import Tensor
from .optimizer import Optimizer, count_steps

_ADVICE = (
    "Call optimizer.step() first and lr_scheduler.step() after it, or the first rate of the schedule is skipped: see "
    "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
)

EPOCH_DEPRECATION_WARNING = (
    "The epoch argument of lr_scheduler.step() is deprecated, in PyTorch too: call step() without it. With it the "
    "schedule's closed form is used, where it has one, instead of the change from the step before."
)


def takes_verbose(init: Callable[..., None]) -> Callable[..., None]:
    """``init`` of a scheduler, which takes ``verbose`` too, by name or after its other arguments, as PyTorch's did: it
    warns and does nothing, there too."""
    count = init.__code__.co_argcount

    @functools.wraps(init)
    def warning(self, *args, **kwargs):
        if len(args) == count:  # self is not among them
            *args, kwargs["verbose"] = args
        if kwargs.pop("verbose", "deprecated") != "deprecated":
            warnings.warn(
                "The verbose parameter is deprecated. Please use get_last_lr() to access the learning rate.", stacklevel=2
            )
        init(self, *args, **kwargs)

    return warning


class LRScheduler:
    """Sets the learning rates of an optimizer's groups, once a step.

    A subclass defines `get_lr`, the rates for ``self.last_epoch``, and may define ``_get_closed_form_lr``, the same
    computed from ``self.base_lrs`` alone. ``last_epoch`` is the step to resume after; -1 starts anew, from the
    groups' present rates. Raises TypeError for what is no optimizer, KeyError if the groups to resume lack
    ``"initial_lr"``.
    """

    _get_lr_called_within_step = False
    _is_initial = False
    _unsaved: tuple[str, ...] = ("optimizer",)

    @takes_verbose
    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = as_optimizer(optimizer)
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", copied(group["lr"]))
        else:
            for k, group in enumerate(optimizer.param_groups):
                if "initial_lr" not in group:
                    raise KeyError(
                        f"param 'initial_lr' is not specified in param_groups[{k}] when resuming scheduler with "
                        f"last_epoch={last_epoch}. Load the optimizer's state dict first, or pass last_epoch=-1 to "
                        "start anew."
                    )
        self.base_lrs = [copied(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self):
        """Set the rates of the first step."""
        count_steps(self.optimizer)
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False
        self._get_lr_called_within_step = False

    def _take_back(self):
        """Forget the first step, so that `_initial_step` makes it again."""
        self.last_epoch -= 1

    def get_last_lr(self) -> list:
        """The rates that were set last, one a group."""
        return [copied(lr) for lr in self._last_lr]

    def get_lr(self) -> list:
        """The rates for ``self.last_epoch``, one a group, computed from the present ones."""
        raise NotImplementedError(f"{type(self).__name__} must define get_lr()")

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key not in self._unsaved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.__dict__.update(state_dict)

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next step (or, deprecated, those of step ``epoch``)."""
        if self._step_count == 1:
            self._check_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, stacklevel=2)
        self._update_lr(epoch)

    def _check_order(self):
        if not hasattr(self.optimizer.step, "counted_by_schedulers"):
            warnings.warn(
                "`optimizer.step()` has been overridden after learning rate scheduler initialization, so its calls cannot be "
                f"seen. Replace it before. {_ADVICE}.",
                stacklevel=3,
            )
        elif not self.optimizer._opt_called:
            warnings.warn(f"Detected call of `lr_scheduler.step()` before `optimizer.step()`. {_ADVICE}.", stacklevel=3)

    def _update_lr(self, epoch=None):
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                closed_form = getattr(self, "_get_closed_form_lr", self.get_lr)
                values = closed_form()
        finally:
            self._get_lr_called_within_step = False
        groups = self.optimizer.param_groups
        for group, lr in zip(groups, values):
            assign(group, "lr", lr)
        self._last_lr = present(groups)

    def _warn_unless_stepping(self):
        if not self._get_lr_called_within_step:
            warnings.warn(
                "get_lr() computes the next rates and is meant for step(); to get the last rates computed by the "
                "scheduler, please use `get_last_lr()`.",
                stacklevel=3,
            )


def as_optimizer(value) -> Optimizer:
    """``value``, or a TypeError if it is no optimizer."""
    if not isinstance(value, Optimizer):
        raise TypeError(f"{type(value).__name__} is not an Optimizer; pass the one whose rates are to be scheduled")
    return value


def copied(value):
    """A number as it is, a Tensor as a copy: rates that are Tensors are written in place."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def present(groups) -> list:
    """The rates that the groups have now."""
    return [copied(group["lr"]) for group in groups]


def assign(group: dict, key: str, value) -> None:
    """Set an option of a group; a Tensor keeps its place and is filled."""
    held = group[key]
    if isinstance(held, Tensor):
        with no_grad():
            held.fill_(value.item() if isinstance(value, Tensor) else value)
    else:
        group[key] = value


def per_group(optimizer: Optimizer, value, name: str) -> list:
    """One value for each group, or a list of them checked for its length."""
    groups = optimizer.param_groups
    if isinstance(value, (list, tuple)):
        if len(value) != len(groups):
            raise ValueError(
                f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
                f"param_groups has {len(groups)}."
            )
        return [copied(one) for one in value]
    return [copied(value) for _ in groups]


class FactorLR(LRScheduler):
    """A scheduler that multiplies rates.

    A subclass defines `change`, from one step's rate to the next, and `share`, from the initial rate to a step's. Only
    the change is used from step to step, so that schedulers can be chained.
    """

    resumes_in_place = False  # whether a schedule that is resumed starts from the present rate, without a change

    def change(self, epoch: int) -> float | None:
        """The rate of step ``epoch`` over that of the step before; None: it stays."""
        raise NotImplementedError

    def share(self, epoch: int) -> float:
        """The rate of step ``epoch`` over the initial rate."""
        raise NotImplementedError

    def first(self) -> float | None:
        """The rate of step 0 over the initial rate; None: it stays."""
        return None

    def get_lr(self) -> list:
        self._warn_unless_stepping()
        epoch = self.last_epoch
        if epoch == 0:
            change = self.first()
        else:
            change = None if self._is_initial and self.resumes_in_place else self.change(epoch)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return [copied(lr) for lr in rates] if change is None else [lr * change for lr in rates]

    def _get_closed_form_lr(self):
        share = self.share(self.last_epoch)
        return [base * share for base in self.base_lrs]


def saved_functions(functions: list) -> list:
    """What a state dict keeps of functions: the attributes of callable objects, None for plain functions."""
    return [None if isinstance(fn, types.FunctionType) else dict(fn.__dict__) for fn in functions]


def restore_functions(functions: list, saved: list) -> None:
    """Give callable objects back the attributes that `saved_functions` took from them."""
    for fn, attributes in zip(functions, saved):
        if attributes is not None:
            fn.__dict__.update(attributes)


def one_function_per_group(optimizer: Optimizer, lr_lambda: Callable | list | tuple) -> list[Callable]:
    """The functions of `LambdaLR` and `MultiplicativeLR`, one for each group."""
    count = len(optimizer.param_groups)
    if not isinstance(lr_lambda, (list, tuple)):
        return [lr_lambda] * count
    if len(lr_lambda) != count:
        raise ValueError(f"Expected {count} lr_lambdas, but got {len(lr_lambda)}")
    return list(lr_lambda)
