"""The activation functions that overwrite their input, under the names of ``nn.functional``: ``relu_`` and its like."""

from ..op import function
from ..tensor import Tensor
from .activation import celu, elu, hardtanh, leaky_relu, relu, rrelu, selu, threshold


@function(install=("ng",))
def relu_(input) -> Tensor:
    """In-place version of `relu`."""
    return relu(input, True)


@function(install=("F",))
def leaky_relu_(input, negative_slope: float = 0.01) -> Tensor:
    """In-place version of `leaky_relu`."""
    return leaky_relu(input, negative_slope, True)


@function(install=("F",))
def hardtanh_(input, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """In-place version of `hardtanh`."""
    return hardtanh(input, min_val, max_val, True)


@function(install=("F",))
def elu_(input, alpha: float = 1.0) -> Tensor:
    """In-place version of `elu`."""
    return elu(input, alpha, True)


@function(install=("ng",))
def selu_(input) -> Tensor:
    """In-place version of `selu`."""
    return selu(input, True)


@function(install=("ng",))
def celu_(input, alpha: float = 1.0) -> Tensor:
    """In-place version of `celu`."""
    return celu(input, alpha, True)


@function(install=("ng",))
def threshold_(input, threshold: float, value: float) -> Tensor:
    """In-place version of `threshold`."""
    return _threshold(input, threshold, value, True)


@function(install=("ng",))
def rrelu_(input, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """In-place version of `rrelu`."""
    return rrelu(input, lower, upper, training, True)


_threshold = threshold
