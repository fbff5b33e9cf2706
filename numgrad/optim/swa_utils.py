"""Averages of a model's weights over its training: AveragedModel, the averaging functions, update_bn and SWALR."""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

from .. import dtypes
from ..autograd import next_seq, no_grad, switch
from ..nn.batchnorm import _BatchNorm
from ..nn.module import Module
from ..ops.create import zeros
from ..ops.update import Launch
from ..ops.update_rules import average_step
from ..tensor import Tensor
from .lr_base import LRScheduler, as_optimizer, per_group
from .optimizer import Optimizer

__all__ = [
    "AveragedModel", "update_bn", "SWALR", "get_ema_multi_avg_fn", "get_swa_multi_avg_fn", "get_ema_avg_fn",
    "get_swa_avg_fn",
]  # fmt: skip

_average = average_step.op


# --- how two models are averaged -----------------------------------------------------------------------------------


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """``fn(averaged, current, count) = decay * averaged + (1 - decay) * current``, the exponential moving average.

    Raises ValueError unless ``decay`` is in [0, 1].
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(averaged, current, count):
        return decay * averaged + (1 - decay) * current

    return ema_update


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """``fn(averaged, current, count) = averaged + (current - averaged) / (count + 1)``: the mean of all models so far
    (arXiv:1803.05407)."""

    @no_grad()
    def swa_update(averaged, current, count):
        return averaged + (current - averaged) / (count + 1)

    return swa_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], None]:
    """`get_ema_avg_fn` for lists of tensors of one dtype and device: averaged in place, by one kernel call.

    Raises ValueError unless ``decay`` is in [0, 1].
    """
    _check_decay(decay)

    def ema_update(averaged, current, count) -> None:
        _average_all(averaged, current, 1.0 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> Callable[[Any, Any, Any], None]:
    """`get_swa_avg_fn` for lists of tensors of one dtype and device: averaged in place, by one kernel call."""

    def swa_update(averaged, current, count) -> None:
        _average_all(averaged, current, 1.0 / (float(count) + 1.0))

    return swa_update


def _check_decay(decay):
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


@no_grad()
def _average_all(averaged, current, weight):
    """Move each of ``averaged`` towards its counterpart by a share of ``weight``; integers are cut off."""
    stamp = next_seq()
    launch = Launch(_average.variant(), [weight])
    for a, b in zip(averaged, current, strict=True):
        if a.is_floating_point():
            _average.enter(launch, {}, a, b, stamp, "AveragedModel.update_parameters")
        else:
            a.copy_(a + (b - a) * weight)
    launch.run(len({id(a) for a in averaged}) == len(averaged))
    switch.last_write = max(switch.last_write, stamp)


# --- the averaged model --------------------------------------------------------------------------------------------


class AveragedModel(Module):
    """A copy of ``model`` whose parameters are averages of those that ``model`` had at `update_parameters`.

    The first call copies. From then on ``avg_fn(averaged, current, count)`` returns the new average of a parameter, or
    ``multi_avg_fn(averaged, current, count)`` changes lists of those of one dtype and device in place, ``count`` being
    how many models were averaged before; with neither it is the mean of all (arXiv:1803.05407). Buffers are averaged
    too with ``use_buffers``, else copied; see also `update_bn`. ``module`` is the copy and ``n_averaged`` the count,
    which the state dict has; the functions it has not.

    Raises AssertionError for two functions.
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device=None, avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: Callable[[Any, Any, Any], None] | None = None, use_buffers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", zeros((), dtype=dtypes.int64, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args, **kwargs) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Average the present parameters of ``model`` in. Raises ValueError if it has not as many as the copy."""
        parameters, buffers = (_pairs(self.module, model, kind) for kind in ("parameters", "buffers"))
        if self.use_buffers:
            parameters, buffers = parameters + buffers, []
        if not int(self.n_averaged):
            parameters, buffers = [], parameters + buffers
        for averaged, current in buffers:
            averaged.copy_(current)
        if self.avg_fn is not None:
            for averaged, current in parameters:
                averaged.copy_(self.avg_fn(averaged, current, self.n_averaged.to(averaged.device)))
        else:
            self._average_groups(parameters)
        self.n_averaged += 1

    def _average_groups(self, pairs):
        groups: dict = {}
        for averaged, current in pairs:
            lists = groups.setdefault((averaged.device, averaged.dtype), ([], []))
            lists[0].append(averaged)
            lists[1].append(current)
        average = self.multi_avg_fn or get_swa_multi_avg_fn()
        for (device, _), lists in groups.items():
            average(*lists, self.n_averaged.to(device))


def _pairs(copied, model, kind):
    """The tensors of both modules, detached, those of ``model`` on the device of their counterparts."""
    own, others = list(getattr(copied, kind)()), list(getattr(model, kind)())
    if len(own) != len(others):
        raise ValueError(
            f"AveragedModel.update_parameters: expected a model with {len(own)} {kind}, like the one that it was "
            f"built from, got {len(others)}"
        )
    return [(a.detach(), b.detach().to(a.device)) for a, b in zip(own, others)]


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device=None) -> None:
    """Compute the running statistics of the batch normalisations of ``model`` anew, over all batches of ``loader``.

    A batch is a tensor, or a list or tuple that begins with it; it is moved to ``device``, if there is one.
    """
    momenta = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    try:
        for module in momenta:
            module.reset_running_stats()
            module.momentum = None  # the mean of all batches
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x if device is None else x.to(device))
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum
        model.train(was_training)


# --- the learning rate ---------------------------------------------------------------------------------------------


class SWALR(LRScheduler):
    """From the present rates to ``swa_lr`` (one, or one a group) in ``anneal_epochs`` steps, and stay there.

    ``lr = share * swa_lr + (1 - share) * initial_lr``, where the share rises from 0 to 1 along a cosine
    (``anneal_strategy`` "cos") or a line ("linear") (arXiv:1803.05407). Only the change from step to step is used, so
    that it can take over from another scheduler. Raises ValueError for options out of range.
    """

    def __init__(
        self, optimizer: Optimizer, swa_lr: float | list[float], anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos", last_epoch: int = -1,
    ) -> None:  # fmt: skip
        groups = as_optimizer(optimizer).param_groups
        for group, rate in zip(groups, per_group(optimizer, swa_lr, "swa_lr")):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step):
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1.0 - math.cos(math.pi * t)) / 2.0

    def get_lr(self) -> list:
        self._warn_unless_stepping()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, share = self._share(step - 1), self._share(step)
        found = []
        for group in self.optimizer.param_groups:
            lr, target = group["lr"], group["swa_lr"]
            start = target if before == 1.0 else (lr - before * target) / (1.0 - before)
            found.append(target * share + start * (1.0 - share))
        return found
