"""Transforms of vectors and matrices: to the simplex and to triangular and positive-definite matrices."""

import math

import numgrad as ng
from numgrad.nn.functional import logsigmoid, pad

from .. import constraints
from .base import Transform, _need
from .elementwise import clipped_sigmoid


class SoftmaxTransform(Transform):
    """``y = softmax(x)``, with ``log(y)`` as the inverse; not one to one."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x):
        powers = (x - x.amax(-1, True)).exp()
        return powers / powers.sum(-1, True)

    def _inverse(self, y):
        return y.log()

    def forward_shape(self, shape):
        _need(len(shape), 1)
        return shape

    inverse_shape = forward_shape


class StickBreakingTransform(Transform):
    """n numbers as n + 1 pieces of a stick of length 1: each takes a share, ``sigmoid(x - offset)``, of what is left."""

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def _offset(self, x):
        """The logarithms of how many pieces are still to come: a 0 breaks the stick evenly."""
        return ng.arange(x.shape[-1], 0, -1, dtype=x.dtype, device=x.device).log()

    def _call(self, x):
        share = clipped_sigmoid(x - self._offset(x))
        left = (1 - share).cumprod(-1)
        return pad(share, [0, 1], value=1.0) * pad(left, [1, 0], value=1.0)

    def _inverse(self, y):
        taken = y[..., :-1]
        left = (1 - taken.cumsum(-1)).clamp(min=ng.finfo(y.dtype).tiny)
        return taken.log() - left.log() + self._offset(taken)

    def log_abs_det_jacobian(self, x, y):
        x = x - self._offset(x)
        return (-x + logsigmoid(x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape):
        _need(len(shape), 1)
        return ng.Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape):
        _need(len(shape), 1)
        return ng.Size((*shape[:-1], shape[-1] - 1))


class LowerCholeskyTransform(Transform):
    """The lower triangle, with the exponential of its diagonal."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x):
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y):
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(Transform):
    """``L @ L.mT`` with L from `LowerCholeskyTransform`."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x):
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT

    def _inverse(self, y):
        return LowerCholeskyTransform().inv(ng.linalg.cholesky(y))


class CorrCholeskyTransform(Transform):
    """n (n - 1) / 2 numbers as the lower factor (n, n) of a correlation matrix.

    They fill the lower triangle row by row; the tanh of each is its share of the row's length that is left, and the
    diagonal takes the rest.
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x):
        eps = ng.finfo(x.dtype).eps
        shares = _triangle(x.tanh().clamp(-1 + eps, 1 - eps))
        left = (1 - shares.square()).sqrt().cumprod(-1)
        shares = shares + ng.eye(shares.shape[-1], dtype=x.dtype, device=x.device)
        return shares * pad(left[..., :-1], [1, 0], value=1.0)

    def _inverse(self, y):
        left = pad((1 - y.square().cumsum(-1))[..., :-1], [1, 0], value=1.0)
        share = _below(y, -1) / _below(left, -1).sqrt()
        return (ng.log1p(share) - ng.log1p(-share)) / 2

    def log_abs_det_jacobian(self, x, y):
        """That of the map to the numbers below the diagonal."""
        left = _below(1 - y.square().cumsum(-1), -2)
        return 0.5 * left.log().sum(-1) - 2 * (x - logsigmoid(2 * x) - math.log(2.0)).sum(-1)

    def forward_shape(self, shape):
        _need(len(shape), 1)
        n = _side(shape[-1])
        return ng.Size((*shape[:-1], n, n))

    def inverse_shape(self, shape):
        _need(len(shape), 2)
        if shape[-2] != shape[-1]:
            raise ValueError(f"Input is not square: its last dimensions are {shape[-2]} and {shape[-1]}")
        return ng.Size((*shape[:-2], shape[-1] * (shape[-1] - 1) // 2))


def _side(count):
    """n where ``count`` numbers stand below the diagonal of (n, n)."""
    n = (1 + math.isqrt(1 + 8 * count)) // 2
    if n * (n - 1) // 2 != count:
        raise ValueError(f"Input is not a flattened lower-diagonal number: {count} is not n * (n - 1) / 2")
    return n


def _below(matrix, diagonal):
    """What stands at and below a diagonal, row by row: (*, n, n) -> (*, count)."""
    n = matrix.shape[-1]
    rows, columns = ng.tril_indices(n, n, diagonal, device=matrix.device)
    return matrix[..., rows, columns]


def _triangle(numbers):
    """The strictly lower triangular matrix of ``numbers``: (*, n (n - 1) / 2) -> (*, n, n)."""
    n = _side(numbers.shape[-1])
    rows, columns = ng.tril_indices(n, n, -1, device=numbers.device)
    flat = numbers.new_zeros((*numbers.shape[:-1], n * n)).index_copy(-1, rows * n + columns, numbers)
    return flat.reshape(*numbers.shape[:-1], n, n)
