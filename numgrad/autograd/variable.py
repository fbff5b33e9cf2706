"""`Variable`: the name that tensors with a history once had."""

from typing import Any

from ..tensor import Tensor
from .engine import queue_callback


class Engine:
    """The backward engine as programs reach it: ``Variable._execution_engine.queue_callback(fn)``."""

    queue_callback = staticmethod(queue_callback)


class _VariableMeta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableMeta):
    """``Variable(tensor, requires_grad=False)`` is a Tensor over the same memory; every Tensor is a Variable."""

    _execution_engine = Engine()

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = False) -> Any:
        if data is None:
            data = Tensor()
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)
