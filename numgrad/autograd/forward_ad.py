"""Directional derivatives beside values, as ``torch.autograd.forward_ad``.

A dual tensor is a stand-in of its primal whose history starts in the level, where its tangent is kept. What is
computed from it is recorded as ever, and its tangent is the derivative towards the tangents of all dual tensors of the
level, from two backward walks when it is asked for.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from ..contexts import within
from ..func.levels import Source, linear_map, settled, stand_in
from ..tensor import Tensor
from . import is_grad_enabled, set_grad_enabled


class UnpackedDualTensor(NamedTuple):
    """A dual tensor's value and its tangent, None if it has none."""

    primal: Tensor
    tangent: Tensor | None


class _Level:
    def __init__(self):
        self.recorded = is_grad_enabled()
        self.duals: dict[Source, tuple[Tensor, Tensor]] = {}


class _State(threading.local):
    level: _Level | None = None


_state = _State()


def __getattr__(name: str):
    if name == "_current_level":  # the number of the level that is entered, -1 for none
        return -1 if _state.level is None else 0
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def enter_dual_level() -> int:
    """Begin the level in which dual tensors can be made; its number is 0, there is one at a time.

    Recording is on until the level is left, also within `no_grad`: tangents come from what is recorded. What
    `unpack_dual` returns is unrecorded if recording was off before.
    """
    if _state.level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment: leave the dual level first")
    _state.level = _Level()
    set_grad_enabled(True)
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Leave the level: what was dual in it has no tangent any more."""
    if _state.level is None:
        raise RuntimeError("exit_dual_level: no dual level is entered; call enter_dual_level() first")
    if level not in (None, 0):
        raise RuntimeError(f"exit_dual_level: Trying to exit level {level}, but the level entered last is 0")
    set_grad_enabled(_state.level.recorded)
    _state.level = None


class dual_level:
    """Context for one level of dual tensors::

        with dual_level():
            out = fn(make_dual(x, tangent))
            value, derivative = unpack_dual(out)
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exception: object) -> None:
        exit_dual_level()

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """``fn`` with each call, of a generator each step, in a level of its own."""
        return within(dual_level, fn)


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor over the memory of ``tensor`` that carries ``tangent``, of its shape, dtype and device, through what is
    computed from it. Raises RuntimeError outside of a `dual_level`."""
    if _state.level is None or level not in (None, 0):
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for name, value in (("primal", tensor), ("tangent", tangent)):
        if not isinstance(value, Tensor):
            raise TypeError(f"make_dual: expected {name} to be a Tensor, got {type(value).__name__}")
        if not value.is_floating_point():
            raise ValueError(f"Expected {name} to be floating point or complex, but got: {value.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. "
            f"make_dual: Expected tangent to have the shape of primal, {list(tensor.shape)}, got {list(tangent.shape)}"
        )
    if tensor.dtype is not tangent.dtype or tensor.device != tangent.device:
        raise RuntimeError(
            f"make_dual: Expected tangent to have the dtype and device of primal, {tensor.dtype!r} on {tensor.device}, got "
            f"{tangent.dtype!r} on {tangent.device}"
        )
    dual = stand_in("make_dual", tensor)
    _state.level.duals[dual._n] = tensor, tangent
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent of ``tensor``: the derivative of its computation towards the tangents of the dual
    tensors it depends on; None if it depends on none, and outside of a `dual_level`."""
    current = _state.level
    if current is None or level not in (None, 0) or tensor._n is None:
        return UnpackedDualTensor(tensor, None)
    if tensor._n in current.duals:
        return UnpackedDualTensor(*current.duals[tensor._n])
    sources = list(current.duals)
    push = linear_map([tensor], sources, None if current.recorded else False)
    (tangent,) = push([given for _, given in current.duals.values()])
    if tangent is None:
        return UnpackedDualTensor(tensor, None)
    primal = settled([tensor], sources)[0] if current.recorded else tensor.detach()
    return UnpackedDualTensor(primal, tangent)
