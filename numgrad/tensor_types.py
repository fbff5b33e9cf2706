"""``FloatTensor`` and its kin, on the CPU and on CUDA: constructors by dtype, and types to ask ``isinstance`` for."""

from typing import Any

import numpy as np

from . import dtypes
from .device import CPU, Device, resolve, set_default
from .storage import meta
from .tensor import Tensor, empty_tensor, from_array


class TensorType(type):
    """The class of the tensors of one dtype and kind of device, and their constructor: ``FloatTensor(2, 3)``
    uninitialised, ``FloatTensor([1, 2])``. They are classes for ``isinstance`` and annotations; every tensor is a `Tensor`."""

    dtype: dtypes.dtype
    device: Device

    def __new__(cls, name: str, dtype: dtypes.dtype, device: Device = CPU):
        if not isinstance(dtype, dtypes.dtype):  # a class statement, with its bases
            base = next(base for base in dtype if isinstance(base, TensorType))
            raise TypeError(f"type '{base.__module__}.{base.__name__}' is not an acceptable base type; derive from Tensor")
        module = "torch" if device is CPU else f"torch.{device.type}"
        return super().__new__(cls, name, (), {"__module__": module, "dtype": dtype, "device": device})

    def __init__(self, name: str, dtype: dtypes.dtype, device: Device = CPU):
        super().__init__(name, (), {})

    def __call__(self, *args: Any, device: Any = None) -> Tensor:
        if device is not None and resolve(device).type != self.device.type:
            raise RuntimeError(
                f"legacy constructor expects device type: {self.device.type} but device type: {resolve(device).type} was passed; "
                "make the tensor with numgrad.tensor(..., device=) or numgrad.empty"
            )
        if len(args) == 1 and isinstance(args[0], Tensor):
            if not self.__instancecheck__(args[0]):
                where = "" if args[0].device is CPU else "cuda."
                raise TypeError(f"expected {self.__module__}.{self.__name__} (got torch.{where}{_names[args[0].dtype]})")
            return args[0].detach()
        if len(args) == 1 and not isinstance(args[0], (int, tuple)) or len(args) == 1 and _is_values(args[0]):
            found = from_array(self.dtype.encode(np.array(args[0], dtype=self.dtype.compute)))
            return found if self.device is CPU else found.to(self.device)
        sizes = tuple(args[0]) if len(args) == 1 and isinstance(args[0], tuple) else args
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise TypeError(
                f"{self.__name__}() received an invalid combination of arguments: expected sizes or one sequence of values, "
                f"got {args!r}"
            )
        shape = sizes if args else (0,)
        if self.device is CPU:
            return empty_tensor(meta(self.dtype, shape))
        return empty_tensor(meta(self.dtype, shape)).to(self.device)

    is_sparse = property(lambda self: False, doc="Whether tensors of this type are sparse: never.")
    is_cuda = property(lambda self: self.device.type == "cuda", doc="Whether tensors of this type are on a CUDA device.")
    is_xpu = property(lambda self: False, doc="Whether tensors of this type are on an Intel GPU: never.")

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is self.dtype and instance.device.type == self.device.type


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

ON_CUDA = {name: TensorType(name, dtype, Device("cuda")) for dtype, name in _names.items()}
_tensor_classes = {*(globals()[name] for name in _names.values()), *ON_CUDA.values()}


def set_default_tensor_type(t: TensorType | str) -> None:
    """Make ``t``, such as ``DoubleTensor`` or ``"torch.cuda.FloatTensor"``, the type of tensors made without dtype and device.

    As `set_default_dtype` and `set_default_device` together. Raises TypeError for integer types and unknown names.
    """
    kind = t
    if isinstance(t, str):
        places = {f"torch.{name}": globals()[name] for name in _names.values()}
        kind = (places | {f"torch.cuda.{name}": found for name, found in ON_CUDA.items()}).get(t)
    if not isinstance(kind, TensorType):
        raise TypeError(f"set_default_tensor_type: invalid type object or name: {t!r}; use numgrad.FloatTensor, say")
    if not kind.dtype.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    dtypes.set_default_dtype(kind.dtype)
    set_default(kind.device)
