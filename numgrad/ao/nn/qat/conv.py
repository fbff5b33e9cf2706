"""Convolutions with fake-quantized weights."""

from typing import Any

from ....nn import Conv1d as FloatConv1d, Conv2d as FloatConv2d, Conv3d as FloatConv3d
from ....tensor import Tensor
from .common import QuantizedWeight


class _Conv(QuantizedWeight):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size, stride=1, padding=0, dilation=1, groups: int = 1,
        bias: bool = True, padding_mode: str = "zeros", qconfig=None, device=None, dtype=None,
    ):  # fmt: skip
        layer: Any = super().__init__
        layer(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        self._make_fake_quant(qconfig, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight_fake_quant(self.weight), self.bias)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The layer for the weights of ``mod``, a convolution with a ``qconfig``."""
        found: Any = cls(*_sizes(mod), qconfig=cls._qconfig_of(mod))
        found.weight, found.bias = mod.weight, mod.bias
        return found

    def to_float(self) -> Any:
        """A plain convolution with the same weights: it shares their memory."""
        return self._float_with_weights(self._FLOAT_MODULE(*_sizes(self)))


def _sizes(conv: Any) -> tuple:
    """The arguments that all convolutions take first."""
    return (
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups,
        conv.bias is not None, conv.padding_mode,
    )  # fmt: skip


class Conv1d(_Conv, FloatConv1d):
    """``nn.Conv1d`` whose weight passes through ``qconfig.weight()`` on every call. AssertionError without a ``qconfig``."""

    _FLOAT_MODULE = FloatConv1d


class Conv2d(_Conv, FloatConv2d):
    """``nn.Conv2d`` whose weight passes through ``qconfig.weight()`` on every call. AssertionError without a ``qconfig``."""

    _FLOAT_MODULE = FloatConv2d


class Conv3d(_Conv, FloatConv3d):
    """``nn.Conv3d`` whose weight passes through ``qconfig.weight()`` on every call. AssertionError without a ``qconfig``."""

    _FLOAT_MODULE = FloatConv3d
