"""The in-place functions of ``nn.functional``: the activations with ``inplace=True`` under names of their own."""

from ..tensor import Tensor
from .activation import celu, elu, hardtanh, leaky_relu, relu, rrelu, selu, threshold as _threshold


def celu_(input, alpha: float = 1.0) -> Tensor:
    """`celu`, in place."""
    return celu(input, alpha, inplace=True)


def elu_(input, alpha: float = 1.0) -> Tensor:
    """`elu`, in place."""
    return elu(input, alpha, inplace=True)


def hardtanh_(input, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh`, in place."""
    return hardtanh(input, min_val, max_val, inplace=True)


def leaky_relu_(input, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu`, in place."""
    return leaky_relu(input, negative_slope, inplace=True)


def relu_(input) -> Tensor:
    """`relu`, in place."""
    return relu(input, inplace=True)


def rrelu_(input, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu`, in place."""
    return rrelu(input, lower, upper, training, inplace=True)


def selu_(input) -> Tensor:
    """`selu`, in place."""
    return selu(input, inplace=True)


def threshold_(input, threshold: float, value: float) -> Tensor:
    """`threshold`, in place."""
    return _threshold(input, threshold, value, inplace=True)
