"""Convolution layers."""

import math
from typing import Any

from ..layout import integers
from ..tensor import Tensor
from . import functional as F, init
from .lazy import LazyModuleMixin
from .module import Module
from .parameter import Parameter, UninitializedParameter, empty_parameter

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def _several(value, n) -> tuple:
    """``value`` as a tuple: a number stands for ``n`` of it."""
    found = integers("Conv", "size", value)
    return found if isinstance(value, (tuple, list)) else found * n


class _Conv(Module):
    """What the convolutions of all dimensions have in common."""

    bias: Parameter | None
    _spatial: int
    _convolve: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size, stride=1, padding=0, dilation=1, groups: int = 1,
        bias: bool = True, padding_mode: str = "zeros", device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        n = self._spatial
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError(f"in_channels must be divisible by groups, got {in_channels} and {groups}")
        if out_channels % groups:
            raise ValueError(f"out_channels must be divisible by groups, got {out_channels} and {groups}")
        kernel_size, stride, dilation = (_several(value, n) for value in (kernel_size, stride, dilation))
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of 'same', 'valid'")
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        else:
            padding = _several(padding, n)
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {_PADDING_MODES}, but got padding_mode={padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = False
        self.output_padding = (0,) * n
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._pad_widths()
        shape = self._weight_shape()
        self.weight = empty_parameter(shape, device, dtype)
        self.register_parameter("bias", empty_parameter((out_channels,), device, dtype) if bias else None)
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def _pad_widths(self) -> list[int]:
        """(before, after) of each dimension, the last one first, as `functional.pad` takes them."""
        widths = []
        for k in reversed(range(self._spatial)):
            if self.padding == "same":
                total = self.dilation[k] * (self.kernel_size[k] - 1)
                widths += [total // 2, total - total // 2]
            else:
                widths += [0, 0] if self.padding == "valid" else [self.padding[k]] * 2
        return widths

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = self.weight.shape[1] * math.prod(self.kernel_size)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve, padding = type(self)._convolve, self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._reversed_padding_repeated_twice, self.padding_mode), 0
        return convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.kernel_size):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.kernel_size):
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.kernel_size):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class Conv1d(_Conv):
    """Cross-correlation over one dimension: (N, in_channels, L) or (in_channels, L) -> (..., out_channels, L').

    ``weight`` (out_channels, in_channels / groups, taps) and ``bias`` (out_channels,) start uniform in
    +-1/sqrt(in_channels / groups * taps). Raises ValueError where arguments do not fit.
    """

    _spatial, _convolve = 1, staticmethod(F.conv1d)


class Conv2d(_Conv):
    """Cross-correlation over two dimensions: (N, in_channels, H, W) or without N -> (..., out_channels, H', W').

    ``weight`` (out_channels, in_channels / groups, kh, kw) and ``bias`` (out_channels,) start uniform in
    +-1/sqrt(in_channels / groups * kh * kw). Raises ValueError where arguments do not fit.
    """

    _spatial, _convolve = 2, staticmethod(F.conv2d)


class Conv3d(_Conv):
    """Cross-correlation over three dimensions: (N, in_channels, D, H, W) or without N -> (..., out_channels, D', ...).

    ``weight`` (out_channels, in_channels / groups, kd, kh, kw) and ``bias`` (out_channels,) start uniform in
    +-1/sqrt(in_channels / groups * kd * kh * kw). Raises ValueError where arguments do not fit.
    """

    _spatial, _convolve = 3, staticmethod(F.conv3d)


class _ConvTranspose(_Conv):
    """What the transposed convolutions of all dimensions have in common."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size, stride=1, padding=0, output_padding=0, groups: int = 1,
        bias: bool = True, dilation=1, padding_mode: str = "zeros", device=None, dtype=None,
    ):  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}, got {padding_mode!r}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self.transposed = True
        self.output_padding = _several(output_padding, self._spatial)

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def forward(self, input: Tensor, output_size=None) -> Tensor:
        extra = self.output_padding if output_size is None else self._extra_for(input, output_size)
        return type(self)._convolve(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _extra_for(self, input: Tensor, output_size) -> tuple[int, ...]:
        """The output padding that gives the wanted size."""
        n = self._spatial
        wanted = list(output_size)[-n:]
        if len(output_size) not in (n, n + 1, n + 2):
            raise ValueError(
                f"{type(self).__name__}: for {n + 2}D input, output_size must have {n} or {n + 2} elements (got {len(output_size)})"
            )
        extra = []
        for k, size in enumerate(input.shape[-n:]):
            least = (size - 1) * self.stride[k] - 2 * self.padding[k] + self.dilation[k] * (self.kernel_size[k] - 1) + 1
            if not least <= wanted[k] <= least + self.stride[k] - 1:
                raise ValueError(
                    f"requested an output size of {wanted}, but dimension {k} must be from {least} to "
                    f"{least + self.stride[k] - 1} for an input of {list(input.shape[-n:])}"
                )
            extra.append(wanted[k] - least)
        return tuple(extra)


class ConvTranspose1d(_ConvTranspose):
    """The transpose of `Conv1d`: (N, in_channels, L) or without N -> (..., out_channels, L'); ``weight`` (in_channels,
    out_channels / groups, taps). ``output_size`` at the call chooses among the sizes that the stride leaves open."""

    _spatial, _convolve = 1, staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """The transpose of `Conv2d`; see `ConvTranspose1d`."""

    _spatial, _convolve = 2, staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """The transpose of `Conv3d`; see `ConvTranspose1d`."""

    _spatial, _convolve = 3, staticmethod(F.conv_transpose3d)


class _Lazy(LazyModuleMixin):
    """What all lazy convolutions have in common."""

    def _forget(self, out_channels, bias, device, dtype) -> None:
        """Of a layer without channels, and so without random numbers, make one that waits for its first input."""
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once their shapes are known."""
        if self.in_channels != 0 and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args, **kwargs) -> None:
        """Take ``in_channels`` from ``input``. Raises ValueError if the groups do not divide it."""
        if self.has_uninitialized_params():
            n = self._spatial
            if input.dim() not in (n + 1, n + 2):
                raise RuntimeError(
                    f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {type(self).__name__}, but got input "
                    f"of size: {list(input.shape)}"
                )
            self.in_channels = input.shape[-n - 1]
            if self.in_channels % self.groups:
                raise ValueError(f"in_channels must be divisible by groups, got {self.in_channels} and {self.groups}")
            self.weight.materialize(self._weight_shape())
            if self.bias is not None:
                self.bias.materialize((self.out_channels,))
            self.reset_parameters()


class _LazyConv(_Lazy):
    def __init__(
        self, out_channels: int, kernel_size, stride=1, padding=0, dilation=1, groups: int = 1, bias: bool = True,
        padding_mode: str = "zeros", device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._forget(out_channels, bias, device, dtype)


class _LazyConvTranspose(_Lazy):
    def __init__(
        self, out_channels: int, kernel_size, stride=1, padding=0, output_padding=0, groups: int = 1, bias: bool = True,
        dilation=1, padding_mode: str = "zeros", device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode)
        self._forget(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, Conv1d):
    """A Conv1d that takes ``in_channels`` from its first input, and then becomes a `Conv1d`."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A Conv2d that takes ``in_channels`` from its first input, and then becomes a `Conv2d`."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A Conv3d that takes ``in_channels`` from its first input, and then becomes a `Conv3d`."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A ConvTranspose1d that takes ``in_channels`` from its first input, and then becomes a `ConvTranspose1d`."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A ConvTranspose2d that takes ``in_channels`` from its first input, and then becomes a `ConvTranspose2d`."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A ConvTranspose3d that takes ``in_channels`` from its first input, and then becomes a `ConvTranspose3d`."""

    cls_to_become = ConvTranspose3d
