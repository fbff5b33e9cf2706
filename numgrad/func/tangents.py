"""Tangents that stand beside values while functions are called, so that a `Function`'s own ``jvp`` is asked.

Derivatives towards the tangents of all dual tensors of a level come from two backward walks (`levels.linear_map`). The
results of a `Function` that has a ``jvp`` start anew: they are dual tensors themselves, whose tangent is what it returned.
"""

import weakref
from collections.abc import Sequence
from typing import Any

from ..autograd import Node, is_grad_enabled
from ..autograd.modes import set_level
from ..function import Function
from ..inplace import rebase
from ..ops.create import zeros_like
from ..storage import same_memory
from ..tensor import Tensor, alias, storage_of
from .levels import Source, linear_map, settled, stand_in


class Dual(Source):
    """The node of a dual tensor: what it is a stand-in of, and its tangent. Derivatives of the level end here."""

    __slots__ = ("primal", "tangent")

    stops = True

    def __init__(self, tensor: Tensor, levels: tuple, primal: Tensor, tangent: Tensor | None):
        super().__init__(tensor, levels)
        self.primal, self.tangent = primal, tangent


class ForwardLevel:
    """The dual tensors made while it is entered. ``recorded``: whether tangents are recorded."""

    def __init__(self) -> None:
        self.recorded = is_grad_enabled()
        self._nodes: weakref.WeakKeyDictionary[Dual, None] = weakref.WeakKeyDictionary()

    def __enter__(self) -> "ForwardLevel":
        self._before = set_level(self)
        return self

    def __exit__(self, *exception: object) -> None:
        set_level(self._before)

    def add(self, node: Dual) -> Dual:
        """``node`` is that of a dual tensor of this level."""
        self._nodes[node] = None
        return node

    def dual(self, op: str, tensor: Tensor, tangent: Tensor) -> Tensor:
        """A dual tensor of this level over the memory of ``tensor``."""
        return stand_in(op, tensor, lambda value, levels: self.add(Dual(value, levels, tensor, tangent)))

    def nodes(self) -> list[Dual]:
        """The nodes of the dual tensors there are, in the order of their making."""
        return list(self._nodes)

    def own(self, tensor: Tensor) -> Dual | None:
        """The node of a dual tensor of this level."""
        node: Any = tensor._n
        return node if isinstance(node, Dual) and node in self._nodes else None

    def tangent(self, tensor: Tensor) -> Tensor | None:
        """The derivative of ``tensor`` towards the tangents of the dual tensors that it depends on; None if there are none."""
        if tensor._n is None:
            return None
        dual = self.own(tensor)
        if dual is not None:
            return dual.tangent
        nodes = self.nodes()
        push = linear_map([tensor], nodes, None if self.recorded else False)
        return push([node.tangent for node in nodes])[0]

    def primal(self, tensor: Tensor) -> Tensor:
        """The value of ``tensor`` without what this level added to its history."""
        dual = self.own(tensor)
        if dual is not None:
            found = alias(dual.primal, dual.primal._d, dual.primal._m)
            found._n = dual.primal._n
            return found
        return settled([tensor], self.nodes())[0] if self.recorded else tensor.detach()

    def given(self, args: Sequence) -> list | None:
        """The tangents of the arguments of a `Function` with a ``jvp``, zeros where there is none; None if none has one."""
        takes = [isinstance(value, Tensor) and value._m.dtype.differentiable for value in args]
        tangents = [self.tangent(value) if taken else None for value, taken in zip(args, takes)]
        if all(tangent is None for tangent in tangents):
            return None
        return [
            zeros_like(value).detach() if taken and tangent is None else tangent
            for value, taken, tangent in zip(args, takes, tangents)
        ]

    def called(self, cls: type[Function], context: Any, args: Sequence, tangents: Sequence, results: list) -> None:
        """After a call of a `Function` with a ``jvp``: its results, in their places, become dual tensors."""
        versions = [0 if tangent is None else storage_of(tangent).version for tangent in tangents]
        context._forward = True
        try:
            found = cls.jvp(context, *tangents)
        finally:
            context._forward = False
        found = found if isinstance(found, tuple) else (found,)
        if len(found) != len(results):
            raise RuntimeError(
                f"{cls.__name__}: the jvp returned an incorrect number of forward gradients (expected {len(results)}, got "
                f"{len(found)})"
            )
        for k, (value, tangent) in enumerate(zip(results, found)):
            _check(cls, k, value, tangent, args, tangents, versions)
            if not isinstance(value, Tensor) or value._n is None:
                continue
            before: Node | None = value._n
            dual = Dual(value, (), alias(value, value._d, value._m), tangent)
            dual.primal._n = before
            if any(value is other for other in args):
                rebase(value, self.add(dual))
            else:
                value._n = self.add(dual)


def _check(cls, k, value, tangent, args, tangents, versions):
    """Refuse a tangent that cannot be that of the result ``value`` at place ``k``."""
    if tangent is None:
        return
    if not isinstance(value, Tensor) or value._n is None:
        raise RuntimeError(
            f"{cls.__name__}: the jvp is returning a Tensor at position {k}, but the output there is not differentiable. You "
            "should return None at that position instead."
        )
    if not isinstance(tangent, Tensor) or tangent._m.shape != value._m.shape:
        got = list(tangent._m.shape) if isinstance(tangent, Tensor) else type(tangent).__name__
        raise RuntimeError(
            f"{cls.__name__}: the jvp returned an invalid gradient at index {k} - got {got} but expected shape "
            f"{list(value._m.shape)}"
        )
    for other, given, version in zip(args, tangents, versions):
        if not isinstance(other, Tensor) or given is None:
            continue
        if value is other:
            if tangent is not given or storage_of(given).version == version:
                raise RuntimeError(
                    f"{cls.__name__}: An inplace custom Function is not modifying the forward mode gradients inplace. If the "
                    "forward is modifying an input inplace, then the jvp function must modify the corresponding gradient inplace."
                )
            return
        if same_memory(value._s, other._s):
            lead = f"{cls.__name__}: A custom Function's forward is returning a view (or an input as-is) but the jvp is not "
            if tangent._base is None:
                raise RuntimeError(lead + "returning a view.")
            if tangent._base is not (given if given._base is None else given._base):
                which = "the given grad input" if other._base is None else "the same base as the given grad input"
                raise RuntimeError(lead + f"returning a view of {which}.")
            return
