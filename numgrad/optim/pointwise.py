"""Optimizers whose rule is one block of the op table: the step that they share."""

from collections.abc import Callable
from sys import getrefcount
from typing import Any

import numpy as np

from ..autograd import enable_grad, next_seq, switch
from ..ops.update import Launch, Variant
from ..tensor import Tensor, from_array
from .optimizer import Optimizer
from .unnoticed import warn_idle, warn_unheld

_NO_STATE: dict[str, Tensor] = {}


class PointwiseOptimizer(Optimizer):
    """An optimizer that states its rule and its numbers; groups, state and the step are here.

    A subclass defines `rule` and `numbers`. The state of a parameter is made on its first step: a ``step`` count,
    if ``counts`` is True, and the tensors that the rule names, zeros like the parameter (or what `initial` says).
    One kernel call updates all parameters of a dtype and device. A parameter that does not require grad is frozen: it does not move,
    whatever its ``.grad`` still holds.
    """

    counts = True  # whether the state has a ``step``

    def rule(self, group: dict[str, Any]) -> Variant:
        """The rule for a group, with its flags; the states that it takes are named as in ``self.state[p]``."""
        raise NotImplementedError

    def numbers(self, group: dict[str, Any], count: float, *scalars: Tensor) -> tuple:
        """The rule's numbers for a parameter's step number ``count``; where there are ``scalars``, it sets them anew.

        Where the optimizer does not count steps, ``count`` is 1 on the step that makes the state and 2 afterwards.
        """
        raise NotImplementedError

    def initial(self, group: dict[str, Any], name: str) -> float:
        """The value that state tensor ``name`` starts from."""
        return 0.0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that requires grad and has one; return what ``closure`` returned.

        ``closure`` clears the gradients, computes the loss, calls ``backward()`` on it and returns it.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        writer = f"{type(self).__name__}.step"
        stamp = next_seq()
        states, counts, scalars = self.state, self.counts, self.scalars
        moved, unheld = False, None
        for group in self.param_groups:
            lr = group["lr"]
            options = {**group, "lr": lr.item()} if isinstance(lr, Tensor) else group
            variant = self.rule(options)
            enter, differentiable, names = variant.op.enter, group["differentiable"], variant.states
            key = "step" if counts else names[0] if names else None
            launches: dict = {}  # step number, or the rule's numbers -> the rule with its numbers
            state, count = _NO_STATE, 2.0
            for p in group["params"]:
                n = p._n
                if n is None:
                    continue
                gradient = n.grad if n.leaf else p.grad
                if gradient is None:
                    # The list, this name and the argument hold it, and the state; a model would hold it too.
                    if unheld is None and getrefcount(p) <= 3 + (p in states):
                        unheld = p
                    continue
                moved = True
                if key is not None:
                    state = states[p]
                    fresh = key not in state
                    if fresh:
                        self._complete(p, group, state, names)
                    if counts:
                        data = state["step"]._d
                        data[0] = count = data.item() + 1.0
                    else:
                        count = 1.0 if fresh else 2.0
                launch = launches.get(count)
                if launch is None:
                    own = [state[name] for name in scalars]
                    values = self.numbers(group if differentiable else options, count, *own)
                    if differentiable:
                        self._complete(p, group, state, names)
                        with enable_grad():
                            variant.recorded((p, gradient, *[state[name] for name in names]), values)
                        continue
                    values = tuple(map(float, values))
                    key_of_launch = values if scalars else count
                    launch = launches.get(key_of_launch)
                    if launch is None:
                        launch = launches[key_of_launch] = Launch(variant, list(values))
                try:
                    enter(launch, state, p, gradient, stamp, writer)
                except KeyError:  # an option was switched on later, which needs more state
                    self._complete(p, group, state, names)
                    enter(launch, state, p, gradient, stamp, writer)
            for launch in launches.values():
                launch.run(not self._repeats)
        switch.last_write = stamp
        if not moved:
            warn_idle(self)
        elif unheld is not None:
            warn_unheld(self, unheld)
        return loss

    def _complete(self, p, group, state, names):
        """Make the state tensors that ``state`` lacks."""
        if self.counts and "step" not in state:
            state["step"] = number_tensor(0.0)
        for name in self.scalars:
            if name not in state:
                state[name] = number_tensor(self.initial(group, name))
        m = p._m
        for name in names:
            if name not in state:
                value = self.initial(group, name)  # of complex parameters that of both parts, which go on apart
                value = complex(value, value) if m.dtype.is_complex else value
                array = m.dtype.encode(np.full(m.shape, value, m.dtype.compute))
                tensor = from_array(array)
                state[name] = tensor if m.device.type == "cpu" else tensor.to(m.device)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for held in self.state.values():  # older versions saved absent tensors as None, and counts as numbers
            for name in [name for name, value in held.items() if value is None]:
                del held[name]
            for name in ("step", *self.scalars):
                if isinstance(held.get(name), (int, float)):
                    held[name] = number_tensor(held[name])


def number_tensor(value: float) -> Tensor:
    """A number of the state, as a float32 tensor on the host."""
    return from_array(np.array(float(value), np.float32))


def check_lr(lr) -> None:
    """Raise ValueError unless ``lr`` is a number, or a Tensor of one element, that is not negative."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element, got shape {list(lr.shape)}")
    if not (lr.item() if isinstance(lr, Tensor) else float(lr)) >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}; it must not be negative")


def check_not_negative(**values) -> None:
    """Raise ValueError for the first value that is negative or NaN."""
    for name, value in values.items():
        if not float(value) >= 0.0:
            raise ValueError(f"Invalid {name} value: {value}; it must not be negative")


def check_betas(betas) -> None:
    """Raise ValueError unless each of ``betas`` is in [0, 1)."""
    for k, beta in enumerate(betas):
        if not 0.0 <= float(beta) < 1.0:
            raise ValueError(f"Invalid beta parameter at index {k}: {beta}; it must be at least 0 and less than 1")


def check_implementation(foreach, fused, differentiable) -> None:
    """Raise RuntimeError for contradictory choices of an implementation.

    numgrad has one, which is fused; the choices are taken for compatibility, and ``differentiable`` for what it says.
    """
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
