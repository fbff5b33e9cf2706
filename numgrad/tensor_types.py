"""``FloatTensor`` and its kin: constructors by dtype, and types to ask ``isinstance`` for."""

from typing import Any

import numpy as np

from . import dtypes
from .device import CPU
from .storage import meta
from .tensor import Tensor, empty_tensor, from_array


class TensorType:
    """A constructor of CPU tensors of one dtype: ``FloatTensor(2, 3)`` uninitialised, ``FloatTensor([1, 2])``."""

    def __init__(self, name: str, dtype: dtypes.dtype):
        self.__name__ = self.__qualname__ = name
        self.dtype = dtype

    def __call__(self, *args: Any) -> Tensor:
        if len(args) == 1 and isinstance(args[0], Tensor):
            if args[0].dtype is not self.dtype:
                raise TypeError(f"expected {self!r} (got torch.{_names[args[0].dtype]})")
            return args[0].detach()
        if len(args) == 1 and not isinstance(args[0], (int, tuple)) or len(args) == 1 and _is_values(args[0]):
            return from_array(self.dtype.encode(np.array(args[0], dtype=self.dtype.compute)))
        sizes = tuple(args[0]) if len(args) == 1 and isinstance(args[0], tuple) else args
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise TypeError(f"{self.__name__}: expected sizes or one sequence of values, got {args!r}")
        return empty_tensor(meta(self.dtype, sizes if args else (0,)))

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is self.dtype and instance.device is CPU

    def __repr__(self):
        return f"torch.{self.__name__}"


def _is_values(value) -> bool:
    from .layout import Size

    return isinstance(value, tuple) and not isinstance(value, Size)


FloatTensor = TensorType("FloatTensor", dtypes.float32)
DoubleTensor = TensorType("DoubleTensor", dtypes.float64)
HalfTensor = TensorType("HalfTensor", dtypes.float16)
BFloat16Tensor = TensorType("BFloat16Tensor", dtypes.bfloat16)
LongTensor = TensorType("LongTensor", dtypes.int64)
IntTensor = TensorType("IntTensor", dtypes.int32)
ShortTensor = TensorType("ShortTensor", dtypes.int16)
CharTensor = TensorType("CharTensor", dtypes.int8)
ByteTensor = TensorType("ByteTensor", dtypes.uint8)
BoolTensor = TensorType("BoolTensor", dtypes.bool_)

_names = {kind.dtype: kind.__name__ for kind in list(globals().values()) if isinstance(kind, TensorType)}
