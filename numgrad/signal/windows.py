"""Window functions as in ``torch.signal.windows``: ``M`` values, the largest of which is 1.

``sym``: symmetric, for the design of filters; else periodic, for spectral analysis: the last of ``M + 1`` values is left
out. All take ``dtype``, ``device`` and ``requires_grad``; a negative ``M`` is a ValueError.
"""

import numpy as np

from .. import dtypes
from ..ops import windows as formulas
from ..tensor import Tensor


def _window(name, M, sym, formula, dtype, layout, device, requires_grad) -> Tensor:
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout not in (None, "strided"):
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype is not None and dtypes.as_dtype(dtype) not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype!r}")
    return formulas.window(name, M, sym, formula, dtype, device, requires_grad)


def _places(place):
    """How many places a whole window has: the steps between two make up 1."""
    return 1.0 / (place[1] - place[0]) if len(place) > 1 else 1.0


def exponential(
    M, *, center=None, tau=1.0, sym=True, dtype=None, layout=None, device=None, requires_grad=False
) -> Tensor:
    """``exp(-|n - center| / tau)``; the center, in the middle by default, may be given unless ``sym``."""
    if tau <= 0:
        raise ValueError(f"exponential: Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("exponential: Center must be None for symmetric windows")

    def formula(place):
        steps = _places(place)
        return np.exp(-np.abs(place * steps - (steps / 2 if center is None else center)) / tau)

    return _window("exponential", M, sym, formula, dtype, layout, device, requires_grad)


def cosine(M, *, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """``sin(pi (n + 1/2) / M)``."""

    def formula(place):
        steps = _places(place)
        return np.sin(np.pi * (place * steps + 0.5) / (steps + 1))

    return _window("cosine", M, sym, formula, dtype, layout, device, requires_grad)


def gaussian(M, *, std=1.0, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """``exp(-((n - center) / std)^2 / 2)``."""
    if std <= 0:
        raise ValueError(f"gaussian: Standard deviation must be positive, got: {std} instead.")

    def formula(place):
        return np.exp(-0.5 * ((place - 0.5) * _places(place) / std) ** 2)

    return _window("gaussian", M, sym, formula, dtype, layout, device, requires_grad)


def kaiser(M, *, beta=12.0, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """``i0(beta sqrt(1 - (2 n / N - 1)^2)) / i0(beta)``."""
    if beta < 0:
        raise ValueError(f"kaiser: beta must be non-negative, got: {beta} instead.")
    return _window(
        "kaiser", M, sym, lambda place: formulas.kaiser(place, float(beta)), dtype, layout, device, requires_grad
    )


def general_cosine(M, *, a, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """``sum_k (-1)^k a_k cos(2 pi k n / N)``."""
    if not hasattr(a, "__iter__"):
        raise TypeError("general_cosine: Coefficients must be a list/tuple")
    a = list(a)
    if not a:
        raise ValueError("general_cosine: Coefficients cannot be empty")
    return _window(
        "general_cosine", M, sym, lambda place: formulas.general_cosine(place, a), dtype, layout, device, requires_grad
    )


def general_hamming(M, *, alpha=0.54, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """``alpha - (1 - alpha) cos(2 pi n / N)``."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device,
                          requires_grad=requires_grad)  # fmt: skip


def hamming(M, *, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """`general_hamming` with ``alpha`` 0.54."""
    return general_hamming(M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hann(M, *, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """``sin(pi n / N)^2``."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def blackman(M, *, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """``0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)``."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, layout=layout, device=device,
                          requires_grad=requires_grad)  # fmt: skip


def bartlett(M, *, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """A triangle: ``1 - |2 n / N - 1|``."""
    return _window("bartlett", M, sym, formulas.bartlett, dtype, layout, device, requires_grad)


def nuttall(M, *, sym=True, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """`general_cosine` with the four coefficients of A. Nuttall (IEEE Trans. ASSP 29, 1981)."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, layout=layout,
                          device=device, requires_grad=requires_grad)  # fmt: skip


__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
    "kaiser", "nuttall",
]  # fmt: skip
