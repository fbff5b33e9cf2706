"""Directional derivatives beside values, as ``torch.autograd.forward_ad``.

A dual tensor is a stand-in of its primal whose history starts in the level, where its tangent is kept. What is
computed from it is recorded as ever, and its tangent is the derivative towards the tangents of all dual tensors of the
level, from two backward walks when it is asked for.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..contexts import within
from ..func.tangents import ForwardLevel
from ..ops.create import empty_like
from ..tensor import Tensor
from . import local, set_grad_enabled
from .modes import set_level


class UnpackedDualTensor(NamedTuple):
    """A dual tensor's value and its tangent, None if it has none."""

    primal: Tensor
    tangent: Tensor | None


def __getattr__(name: str):
    if name == "_current_level":  # the number of the level that is entered, -1 for none
        return -1 if local.level is None else 0
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def enter_dual_level() -> int:
    """Begin the level in which dual tensors can be made; its number is 0, there is one at a time.

    Recording is on until the level is left, also within `no_grad`: tangents come from what is recorded. What
    `unpack_dual` returns is unrecorded if recording was off before.
    """
    if local.level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment: leave the dual level first")
    set_level(ForwardLevel())
    set_grad_enabled(True)
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Leave the level: what was dual in it has no tangent any more."""
    if local.level is None:
        raise RuntimeError("exit_dual_level: no dual level is entered; call enter_dual_level() first")
    if level not in (None, 0):
        raise RuntimeError(f"exit_dual_level: Trying to exit level {level}, but the level entered last is 0")
    set_grad_enabled(local.level.recorded)
    set_level(None)


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
    if local.level is None or level not in (None, 0):
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for name, value in (("primal", tensor), ("tangent", tangent)):
        if not isinstance(value, Tensor):
            raise TypeError(f"make_dual: expected {name} to be a Tensor, got {type(value).__name__}")
        if not value.dtype.differentiable:
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
    for name, value in (("primal", tensor), ("tangent", tangent)):
        if local.level.own(value) is not None or (name == "tangent" and local.level.tangent(value) is not None):
            raise RuntimeError(f"make_dual: the {name} has a forward gradient at the same level: it is a dual Tensor itself")
    if not _laid_out_alike(tensor, tangent):
        tangent = empty_like(tensor).copy_(tangent)
    return local.level.dual("make_dual", tensor, tangent)


def _laid_out_alike(tensor, tangent):
    """Whether the tangent can be written to and viewed as the primal is, in memory of the same size."""
    if tensor._m.batched or tangent._m.batched or tensor.numel() == 0:
        return True
    if tensor.stride() != tangent.stride() or tensor.storage_offset() != tangent.storage_offset():
        return False
    return tensor.untyped_storage().nbytes() == tangent.untyped_storage().nbytes()


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent of ``tensor``: the derivative of its computation towards the tangents of the dual
    tensors it depends on; None if it depends on none, and outside of a `dual_level`."""
    current = local.level
    if current is None or level not in (None, 0) or tensor._n is None:
        return UnpackedDualTensor(tensor, None)
    tangent = current.tangent(tensor)
    if tangent is None and current.own(tensor) is None:
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(current.primal(tensor), tangent)
