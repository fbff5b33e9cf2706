"""Layers that undo maximum pooling, and pooling by power means."""

from typing import Any

from ..tensor import Tensor
from . import functional as F
from .module import Module


class _MaxUnpool(Module):
    _spatial: int
    _unpool: Any

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        given = kernel_size, kernel_size if stride is None else stride, padding
        self.kernel_size, self.stride, self.padding = (
            (value,) * self._spatial if isinstance(value, int) else tuple(value) for value in given
        )

    def forward(self, input: Tensor, indices: Tensor, output_size=None) -> Tensor:
        return type(self)._unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Zeros with the input at the places that `MaxPool1d` returned with ``return_indices``: (N, C, L) or (C, L)."""

    _spatial, _unpool = 1, staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """Zeros with the input at the places that `MaxPool2d` returned with ``return_indices``: (N, C, H, W) or without
    N."""

    _spatial, _unpool = 2, staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """Zeros with the input at the places that `MaxPool3d` returned with ``return_indices``: (N, C, D, H, W) or without
    N."""

    _spatial, _unpool = 3, staticmethod(F.max_unpool3d)


class _LPPool(Module):
    _pool: Any

    def __init__(self, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """``(sum of x^p) ** (1 / p)`` over sliding windows, p being ``norm_type``: (N, C, L) or (C, L)."""

    _pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """``(sum of x^p) ** (1 / p)`` over sliding windows, p being ``norm_type``: (N, C, H, W) or (C, H, W)."""

    _pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """``(sum of x^p) ** (1 / p)`` over sliding windows, p being ``norm_type``: (N, C, D, H, W) or (C, D, H, W)."""

    _pool = staticmethod(F.lp_pool3d)
