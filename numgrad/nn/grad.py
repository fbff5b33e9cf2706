"""Gradients of convolutions as functions of their own."""

from ..ops.conv import gradient
from ..tensor import Tensor


def conv1d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """The gradient of `conv1d` for its input: sizes (N, C, L), weight (K, C / groups, taps), (N, K, L') -> (N, C, L).

    Raises RuntimeError where shapes, dtypes or settings do not fit.
    """
    return gradient("conv1d_input", 1, True, weight, input_size, grad_output, stride, padding, dilation, groups)


def conv1d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """The gradient of `conv1d` for its weight: (N, C, L), sizes (K, C / groups, taps), (N, K, L') -> (K, C / groups, taps).

    Raises RuntimeError where shapes, dtypes or settings do not fit.
    """
    return gradient("conv1d_weight", 1, False, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """The gradient of `conv2d` for its input, as `conv1d_input`."""
    return gradient("conv2d_input", 2, True, weight, input_size, grad_output, stride, padding, dilation, groups)


def conv2d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """The gradient of `conv2d` for its weight, as `conv1d_weight`."""
    return gradient("conv2d_weight", 2, False, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """The gradient of `conv3d` for its input, as `conv1d_input`."""
    return gradient("conv3d_input", 3, True, weight, input_size, grad_output, stride, padding, dilation, groups)


def conv3d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """The gradient of `conv3d` for its weight, as `conv1d_weight`."""
    return gradient("conv3d_weight", 3, False, input, weight_size, grad_output, stride, padding, dilation, groups)
