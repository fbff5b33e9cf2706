"""Window functions: weights that fall off at both ends of a frame."""

import numpy as np

from .. import dtypes
from ..device import resolve
from ..layout import integer
from ..op import function
from ..storage import check_memory
from ..tensor import Tensor, from_array

# Each window is a function of the place in the frame, an array of float64 from 0 at one end to 1 at the other.


def general_cosine(place, coefficients):
    """``sum_k (-1)^k a_k cos(2 pi k place)``."""
    found = np.zeros_like(place)
    for k, a in enumerate(coefficients):
        found += (-1) ** k * a * np.cos(2 * np.pi * k * place)
    return found


def bartlett(place):
    """A triangle from 0 to 1 and back."""
    return 1 - np.abs(2 * place - 1)


def kaiser(place, beta):
    """``i0(beta sqrt(1 - (2 place - 1)^2)) / i0(beta)``."""
    return np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (2 * place - 1) ** 2))) / np.i0(beta)


def window(name, size, symmetric, formula, dtype=None, device=None, requires_grad=False) -> Tensor:
    """The tensor of ``size`` values of ``formula(place)``; one that is not symmetric lacks its last value, so that it
    repeats without a seam. Raises RuntimeError for a negative size or a dtype that is no floating-point one."""
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if not d.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {d!r}")
    size = integer(name, "window_length", size)
    if size < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={size}")
    check_memory(8 * size)
    if size <= 1:
        values = np.ones(size)
    else:
        values = formula(np.arange(size) / (size - 1 if symmetric else size))
    found = from_array(d.encode(values)).to(resolve(device))
    return found.requires_grad_() if requires_grad else found


@function(install=("ng",))
def bartlett_window(
    window_length, periodic=True, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
) -> Tensor:
    """A triangle: ``1 - |2 n / N - 1|``, N being ``window_length``, or one less unless ``periodic``."""
    return window("bartlett_window", window_length, not periodic, bartlett, dtype, device, requires_grad)


@function(install=("ng",))
def blackman_window(
    window_length, periodic=True, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
) -> Tensor:
    """``0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)``."""

    def formula(place):
        return general_cosine(place, (0.42, 0.5, 0.08))

    return window("blackman_window", window_length, not periodic, formula, dtype, device, requires_grad)


@function(install=("ng",))
def hann_window(
    window_length, periodic=True, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
) -> Tensor:
    """``sin(pi n / N)^2``."""

    def formula(place):
        return general_cosine(place, (0.5, 0.5))

    return window("hann_window", window_length, not periodic, formula, dtype, device, requires_grad)


@function(install=("ng",))
def hamming_window(
    window_length, periodic=True, alpha=0.54, beta=0.46, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False,
) -> Tensor:  # fmt: skip
    """``alpha - beta cos(2 pi n / N)``."""

    def formula(place):
        return general_cosine(place, (alpha, beta))

    return window("hamming_window", window_length, not periodic, formula, dtype, device, requires_grad)


@function(install=("ng",))
def kaiser_window(
    window_length, periodic=True, beta=12.0, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False,
) -> Tensor:  # fmt: skip
    """``i0(beta sqrt(1 - (2 n / N - 1)^2)) / i0(beta)``."""

    def formula(place):
        return kaiser(place, float(beta))

    return window("kaiser_window", window_length, not periodic, formula, dtype, device, requires_grad)
