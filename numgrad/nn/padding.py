"""Padding layers: what they add around the last one to three dimensions."""

from ..layout import integers
from ..tensor import Tensor
from . import functional as F
from .module import Module


class _Pad(Module):
    """What all have in common: ``padding`` is (before, after) of the last dimension, then of the one before it."""

    _dims: int
    _mode: str

    def __init__(self, padding):
        super().__init__()
        self.padding = integers(type(self).__name__, "padding", padding)
        if not isinstance(padding, (tuple, list)):
            self.padding *= 2 * self._dims
        if len(self.padding) != 2 * self._dims:
            raise ValueError(
                f"{type(self).__name__}: expected padding to be an int or {2 * self._dims} ints, got {len(self.padding)}"
            )

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """``value`` added around the last dimension."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """``value`` added around the last two dimensions."""

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """``value`` added around the last three dimensions."""

    _dims = 3


class ZeroPad1d(_ZeroPad):
    """Zeros added around the last dimension."""

    _dims = 1


class ZeroPad2d(_ZeroPad):
    """Zeros added around the last two dimensions."""

    _dims = 2


class ZeroPad3d(_ZeroPad):
    """Zeros added around the last three dimensions."""

    _dims = 3


class ReflectionPad1d(_Pad):
    """The input mirrored at the ends of the last dimension."""

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The input mirrored at the ends of the last two dimensions."""

    _dims, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """The input mirrored at the ends of the last three dimensions."""

    _dims, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The outermost elements repeated around the last dimension."""

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The outermost elements repeated around the last two dimensions."""

    _dims, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The outermost elements repeated around the last three dimensions."""

    _dims, _mode = 3, "replicate"


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        n = self._dims
        if input.dim() not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """The input repeated around the last dimension. Raises ValueError for inputs that are neither 2D nor 3D."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """The input repeated around the last two dimensions. Raises ValueError for inputs that are neither 3D nor 4D."""

    _dims = 2


class CircularPad3d(_CircularPad):
    """The input repeated around the last three dimensions. Raises ValueError for inputs that are neither 4D nor 5D."""

    _dims = 3
