"""Initialisers: functions that fill a tensor in place, outside the graph, and return it.

They consume random numbers in the order in which PyTorch's do, so that the same seed gives the same weights.
"""

import math
import warnings

import numpy as np

from ..autograd import no_grad
from ..generator import permutation
from ..tensor import Tensor, from_array
from ._traps import warn


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity asks weights to be scaled; ``param``: the slope of leaky_relu."""
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif not isinstance(param, bool) and isinstance(param, (int, float)):
            slope = param
        else:
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4  # found empirically
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


_LINEAR = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
)  # fmt: skip


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator=None) -> Tensor:
    """Fill with numbers from the uniform distribution on [a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator=None) -> Tensor:
    """Fill with numbers from the normal distribution."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator=None
) -> Tensor:
    """Fill with numbers from the normal distribution cut off below ``a`` and above ``b``."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect."
        )

    def drawn(fill: str, *range_) -> np.ndarray:
        return getattr(tensor.detach().new_empty(tensor.shape), fill)(*range_, generator=generator)._host()

    def cdf(x):
        return (1.0 + math.erf((x - mean) / (std * math.sqrt(2.0)))) / 2.0

    if cdf(b) - cdf(a) > 0.3:  # most normal numbers lie inside: draw the others again
        low, high = tensor.dtype.compute(a), tensor.dtype.compute(b)
        values = drawn("normal_", mean, std)
        while (outside := (values < low) | (values > high)).any():
            values = np.where(outside, drawn("normal_", mean, std), values)
        return _assign(tensor, values)
    # Few do: draw uniformly, and accept in proportion to the density.
    log_peak = -0.5 * ((min(max(mean, a), b) - mean) / std) ** 2
    values = np.zeros(tensor.shape, tensor.dtype.compute)
    pending = np.ones(tensor.shape, bool)
    while pending.any():
        proposed = drawn("uniform_", a, b)
        values = np.where(pending, proposed, values)
        log_density = ((proposed - mean) / std) ** 2 * -0.5 - log_peak
        with np.errstate(divide="ignore"):
            pending &= np.log(drawn("uniform_")) > log_density
    return _assign(tensor, values)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with ``val``."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def _assign(tensor: Tensor, values: np.ndarray) -> Tensor:
    with no_grad():
        return tensor.copy_(from_array(np.ascontiguousarray(tensor.dtype.encode(values))))


def eye_(tensor: Tensor) -> Tensor:
    """Make a matrix the identity: ones on the diagonal, else zeros."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _assign(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Make a convolution's weight (out, in, *kernel) pass its input channels on, in each of ``groups`` groups."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    out, channels, *kernel = tensor.shape
    if out % groups:
        raise ValueError("dim 0 must be divisible by groups")
    values = np.zeros(tensor.shape)
    centre = tuple(size // 2 for size in kernel)
    per_group = out // groups
    for group in range(groups):
        for k in range(min(per_group, channels)):
            values[(group * per_group + k, k, *centre)] = 1
    return _assign(tensor, values)


def _fans(tensor: Tensor) -> tuple[int, int]:
    """The numbers of inputs and outputs that a weight (out, in, *kernel) connects."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    outputs, inputs, *kernel = tensor.shape
    window = math.prod(kernel)
    return inputs * window, outputs * window


_calculate_fan_in_and_fan_out = _fans


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator=None) -> Tensor:
    """Uniform in +-gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator=None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def _xavier_std(tensor, gain):
    fan_in, fan_out = _fans(tensor)
    return gain * math.sqrt(2.0 / float(fan_in + fan_out))


def _kaiming_std(tensor, a, mode, nonlinearity):
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = _fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator=None
) -> Tensor:
    """Uniform in +-gain * sqrt(3 / fan) (arXiv:1502.01852); ``a``: the slope of leaky_relu."""
    if 0 in tensor.shape:
        warn("Initializing zero-element tensors is a no-op")
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator=None
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (arXiv:1502.01852); ``a``: the slope of leaky_relu."""
    if 0 in tensor.shape:
        warn("Initializing zero-element tensors is a no-op")
        return tensor
    return normal_(tensor, 0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator=None) -> Tensor:
    """Make rows (or columns, if there are fewer) orthonormal, times ``gain`` (arXiv:1312.6120).

    Dimensions after the first count as one.
    """
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    cols = tensor.numel() // rows
    drawn = tensor.new_empty((rows, cols)).normal_(0, 1, generator=generator)._host().astype(tensor.dtype.compute)
    q, r = np.linalg.qr(drawn.T if rows < cols else drawn)
    q = q * np.sign(np.diag(r))  # makes the result uniform over all orthogonal matrices
    if rows < cols:
        q = q.T
    _assign(tensor, q.reshape(tensor.shape))
    with no_grad():
        return tensor.mul_(gain)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator=None) -> Tensor:
    """Fill a matrix with normal numbers, and set a fraction ``sparsity`` of each column to 0."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, cols = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0, std, generator)
    values = np.array(tensor.detach()._host())
    for col in range(cols):
        values[permutation(rows)[:zeros], col] = 0
    return _assign(tensor, values)


def _former(initialiser):
    """The initialiser under the name without an underscore that it once had."""
    name = initialiser.__name__[:-1]

    def former(*args, **kwargs):
        text = f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`."
        warnings.warn(text, FutureWarning, stacklevel=2)
        return initialiser(*args, **kwargs)

    former.__name__ = former.__qualname__ = name
    former.__doc__ = f"`{name}_` (deprecated name)."
    return former


uniform, normal, constant, eye = _former(uniform_), _former(normal_), _former(constant_), _former(eye_)
dirac, sparse, orthogonal = _former(dirac_), _former(sparse_), _former(orthogonal_)
xavier_uniform, xavier_normal = _former(xavier_uniform_), _former(xavier_normal_)
kaiming_uniform, kaiming_normal = _former(kaiming_uniform_), _former(kaiming_normal_)
