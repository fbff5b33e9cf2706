"""Helpers of distributions, as ``torch.distributions.utils``: parameters of one shape, the other form of a parameter."""

from typing import Any

import numgrad as ng

__all__ = [
    "broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits", "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]  # fmt: skip

euler_constant = 0.57721566490153286


class lazy_property:
    """A property computed on first use and kept; with gradients even where the use is under ``no_grad``."""

    def __init__(self, wrapped):
        self.wrapped, self.__doc__ = wrapped, wrapped.__doc__

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None) -> Any:
        if instance is None:
            return self
        with ng.enable_grad():
            value = self.wrapped(instance)
        instance.__dict__[self.name] = value
        return value


def broadcast_all(*values):
    """The values as tensors of one shape; numbers take the first tensor's dtype, or the default dtype."""
    like = next((v for v in values if isinstance(v, ng.Tensor)), None)
    for value in values:
        if not isinstance(value, (ng.Tensor, int, float)):
            raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects implementing "
                             f"__torch_function__; got {type(value).__name__}")  # fmt: skip
    dtype = ng.get_default_dtype() if like is None else like.dtype
    if like is not None and not dtype.is_floating_point:
        dtype = ng.get_default_dtype() if any(isinstance(v, float) for v in values) else dtype
    device = None if like is None else like.device
    return ng.broadcast_tensors(
        *(v if isinstance(v, ng.Tensor) else ng.tensor(v, dtype=dtype, device=device) for v in values)
    )


def sum_rightmost(value, dims: int):
    """``value`` summed over its last ``dims`` dimensions."""
    return value if dims == 0 else value.reshape(*value.shape[: value.dim() - dims], -1).sum(-1)


_sum_rightmost = sum_rightmost


def _standard_normal(shape, dtype, device):
    """Normal numbers of a shape."""
    return ng.randn(shape, dtype=dtype, device=device)


def clamp_probs(probs):
    """Probabilities kept off 0 and 1, by the least positive number and the spacing below 1 of their dtype."""
    limits = ng.finfo(probs.dtype)
    return probs.clamp(limits.tiny, 1 - limits.eps)


def probs_to_logits(probs, is_binary=False):
    """The log-odds of probabilities (``is_binary``), or the logarithms of those of categories along the last dimension."""
    kept = clamp_probs(probs)
    return kept.log() - ng.log1p(-kept) if is_binary else kept.log()


def logits_to_probs(logits, is_binary=False):
    """The probabilities that belong to log-odds (``is_binary``), or to scores of categories along the last dimension."""
    return ng.sigmoid(logits) if is_binary else ng.softmax(logits, -1)


def tril_matrix_to_vec(mat, diag=0):
    """The lower triangle of matrices (..., d, d), up to the diagonal ``diag``, row by row: (..., n)."""
    size = mat.shape[-1]
    if not -size <= diag < size:
        raise ValueError(f"diag ({diag}) provided is outside [{-size}, {size - 1}].")
    rows, columns = ng.tril_indices(size, size, diag, device=mat.device)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec, diag=0):
    """Lower triangles (..., n), row by row up to the diagonal ``diag``, as matrices (..., d, d): the inverse of
    `tril_matrix_to_vec`."""
    n, size = vec.shape[-1], max(0, -diag)
    while _triangle(size, diag) < n:
        size += 1
    if _triangle(size, diag) != n:
        raise ValueError(
            f"The size of last dimension is {n} which cannot be expressed as the lower triangular part of a square D x D matrix."
        )
    rows, columns = ng.tril_indices(size, size, diag, device=vec.device)
    found = vec.new_zeros((*vec.shape[:-1], size, size))
    found[..., rows, columns] = vec
    return found


def _triangle(size, diag):
    """How many elements of a square matrix lie on and below the diagonal ``diag``."""
    return sum(min(size, max(0, row + 1 + diag)) for row in range(size))
