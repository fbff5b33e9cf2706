"""Names for what functions take, for annotations, as ``torch.types``."""

import builtins
import os
from collections.abc import Sequence
from typing import IO, Any, TypeAlias

from .autograd import GradientEdge
from .device import Device as OneDevice
from .dtypes import dtype
from .layout import Size as Size, layout
from .storages import UntypedStorage as Storage
from .tensor import Tensor as Tensor

__all__ = ["Device", "FileLike", "Number", "Storage"]

_bool: TypeAlias = builtins.bool
_bytes: TypeAlias = builtins.bytes
_complex: TypeAlias = builtins.complex
_float: TypeAlias = builtins.float
_int: TypeAlias = builtins.int
_str: TypeAlias = builtins.str
_device: TypeAlias = OneDevice
_dtype: TypeAlias = dtype
_layout: TypeAlias = layout
_size: TypeAlias = Size | list[builtins.int] | tuple[builtins.int, ...]
_symsize: TypeAlias = Size | Sequence[builtins.int]
_dispatchkey: TypeAlias = Any
_Number = (builtins.int, builtins.float, builtins.bool)
_TensorOrTensors: TypeAlias = Tensor | Sequence[Tensor]
_TensorOrTensorsOrGradEdge: TypeAlias = Tensor | Sequence[Tensor] | GradientEdge | Sequence[GradientEdge]

Number: TypeAlias = builtins.int | builtins.float | builtins.bool
Device: TypeAlias = OneDevice | builtins.str | builtins.int | None
FileLike: TypeAlias = builtins.str | os.PathLike[builtins.str] | IO[builtins.bytes]
IntLikeType: TypeAlias = builtins.int
FloatLikeType: TypeAlias = builtins.float
BoolLikeType: TypeAlias = builtins.bool
