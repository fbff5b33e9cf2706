"""Distributions over vectors: independent dimensions, and the normal distribution with a covariance."""

import math

import numgrad as ng

from . import constraints
from .distribution import Distribution
from .utils import lazy_property, sum_rightmost


class Independent(Distribution):
    """``base_distribution`` with its last ``reinterpreted_batch_ndims`` batch dimensions taken as one event."""

    arg_constraints = {}

    def __init__(self, base_distribution, reinterpreted_batch_ndims, validate_args=None):
        batch = base_distribution.batch_shape
        if reinterpreted_batch_ndims > len(batch):
            raise ValueError(
                "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                f"{reinterpreted_batch_ndims} vs {len(batch)}"
            )
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, reinterpreted_batch_ndims
        kept = len(batch) - reinterpreted_batch_ndims
        super().__init__(batch[:kept], batch[kept:] + base_distribution.event_shape, validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        inner = tuple(self._event_shape)[: self.reinterpreted_batch_ndims]
        new.base_dist = self.base_dist.expand(tuple(batch_shape) + inner)
        new.reinterpreted_batch_ndims = self.reinterpreted_batch_ndims

    @property
    def has_rsample(self):  # type: ignore[override]
        return self.base_dist.has_rsample

    @property
    def has_enumerate_support(self):  # type: ignore[override]
        return self.reinterpreted_batch_ndims == 0 and self.base_dist.has_enumerate_support

    @constraints.dependent_property
    def support(self):
        found = self.base_dist.support
        return constraints.independent(found, self.reinterpreted_batch_ndims) if self.reinterpreted_batch_ndims else found

    @property
    def mean(self):
        return self.base_dist.mean

    @property
    def mode(self):
        return self.base_dist.mode

    @property
    def variance(self):
        return self.base_dist.variance

    def sample(self, sample_shape=()):
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape=()):
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value):
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self):
        return sum_rightmost(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def enumerate_support(self, expand=True):
        if self.reinterpreted_batch_ndims:
            raise NotImplementedError("Enumeration over cartesian product is not implemented")
        return self.base_dist.enumerate_support(expand)

    def __repr__(self):
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"


class ByCovariance(Distribution):
    """What has a covariance, of which ``_factor`` (*, n, n) is the lower factor."""

    _factor: ng.Tensor

    @lazy_property
    def scale_tril(self):
        """The lower factor of the covariance."""
        return self._factor

    @lazy_property
    def covariance_matrix(self):
        """The covariance."""
        return self._factor @ self._factor.mT

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance."""
        return ng.cholesky_inverse(self._factor)


class MultivariateNormal(ByCovariance):
    """The normal distribution of mean ``loc`` (*, n) and one of ``covariance_matrix``, ``precision_matrix`` and
    ``scale_tril`` (*, n, n), the lower factor of the covariance."""

    arg_constraints = {
        "loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky,
    }  # fmt: skip
    support = constraints.real_vector
    has_rsample = True
    _parameters = ("loc", "covariance_matrix", "precision_matrix", "scale_tril", "_factor")

    def __init__(self, loc, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        given = {name: matrix for name, matrix in given.items() if matrix is not None}
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = given.items()
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        batch = ng.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.loc = loc.expand(*batch, loc.shape[-1])
        matrix = matrix.expand(*batch, *matrix.shape[-2:])
        setattr(self, name, matrix)
        super().__init__(batch, loc.shape[-1:], validate_args=validate_args)
        if name == "scale_tril":
            self._factor = matrix
        elif name == "covariance_matrix":
            self._factor = ng.linalg.cholesky(matrix)
        else:  # the inverse of the precision, factored: with the order of both turned round the factors stay triangular
            flipped = ng.linalg.cholesky(matrix.flip(-2, -1))
            upper = flipped.flip(-2, -1).mT
            eye = ng.eye(loc.shape[-1], dtype=loc.dtype, device=loc.device)
            self._factor = ng.linalg.solve_triangular(upper, eye, upper=False)

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        return self._factor.square().sum(-1)

    def rsample(self, sample_shape=()):
        noise = ng.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device).normal_()
        return self.loc + (self._factor @ noise.unsqueeze(-1)).squeeze(-1)

    def _roots(self):
        """Matrices, the sum of whose products with their transposes is the covariance."""
        return [self._factor]

    def _squared(self, columns):
        """The sum of ``c' covariance^-1 c`` over the columns c: (*, n, k) -> (*)."""
        return _solved(self._factor, columns).square().sum((-2, -1))

    def _half_log_det(self):
        return self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        distance = self._squared((value - self.loc).unsqueeze(-1))
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - self._half_log_det()

    def entropy(self):
        n = self._event_shape[0]
        return 0.5 * n * (1 + math.log(2 * math.pi)) + self._half_log_det()


class LowRankMultivariateNormal(Distribution):
    """The normal distribution of mean ``loc`` (*, n) and covariance ``cov_factor @ cov_factor.mT + diag(cov_diag)``, with
    ``cov_factor`` (*, n, m) and ``cov_diag`` (*, n)."""

    arg_constraints = {
        "loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }  # fmt: skip
    support = constraints.real_vector
    has_rsample = True
    _parameters = ("loc", "cov_factor", "cov_diag", "_inner")

    def __init__(self, loc, cov_factor, cov_diag, validate_args=None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        n = loc.shape[-1]
        if cov_factor.dim() < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2] != n:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {n} x m, got {tuple(cov_factor.shape)}")
        if cov_diag.shape[-1:] != (n,):
            raise ValueError(f"cov_diag must be a batch of vectors with shape ({n},), got {tuple(cov_diag.shape)}")
        batch = ng.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.loc, self.cov_diag = loc.expand(*batch, n), cov_diag.expand(*batch, n)
        self.cov_factor = cov_factor.expand(*batch, *cov_factor.shape[-2:])
        super().__init__(batch, (n,), validate_args=validate_args)
        # Woodbury: (W W' + D)^-1 = D^-1 - D^-1 W (I + W' D^-1 W)^-1 W' D^-1, of which this is the inner factor
        eye = ng.eye(cov_factor.shape[-1], dtype=loc.dtype, device=loc.device)
        self._inner = ng.linalg.cholesky(eye + self._scaled().mT @ self.cov_factor)

    def _scaled(self):
        return self.cov_factor / self.cov_diag.unsqueeze(-1)

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        return self.cov_factor.square().sum(-1) + self.cov_diag

    @lazy_property
    def scale_tril(self):
        """The lower factor of the covariance."""
        root = self.cov_diag.sqrt().unsqueeze(-1)
        scaled = self.cov_factor / root
        eye = ng.eye(self._event_shape[0], dtype=self.loc.dtype, device=self.loc.device)
        return root * ng.linalg.cholesky(eye + scaled @ scaled.mT)

    @lazy_property
    def covariance_matrix(self):
        """The covariance."""
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance."""
        inner = ng.linalg.solve_triangular(self._inner, self._scaled().mT, upper=False)
        return self.cov_diag.reciprocal().diag_embed() - inner.mT @ inner

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        options = {"dtype": self.loc.dtype, "device": self.loc.device}
        shared = ng.empty((*shape[:-1], self.cov_factor.shape[-1]), **options).normal_()
        own = ng.empty(shape, **options).normal_()
        return self.loc + (self.cov_factor @ shared.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * own

    def _half_log_det(self):
        return self._inner.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * self.cov_diag.log().sum(-1)

    def _roots(self):
        return [self.cov_factor, self.cov_diag.sqrt().diag_embed()]

    def _squared(self, columns):
        scaled = columns / self.cov_diag.unsqueeze(-1)
        inner = _solved(self._inner, self.cov_factor.mT @ scaled)
        return (columns * scaled).sum((-2, -1)) - inner.square().sum((-2, -1))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        distance = self._squared((value - self.loc).unsqueeze(-1))
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - self._half_log_det()

    def entropy(self):
        return 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()


def _solved(factor, columns):
    """``factor``'s inverse times ``columns``, for a lower triangular factor: (*, n, n), (*, n, k) -> (*, n, k)."""
    shape = ng.broadcast_shapes(factor.shape[:-2], columns.shape[:-2])
    factor, columns = factor.expand(*shape, *factor.shape[-2:]), columns.expand(*shape, *columns.shape[-2:])
    return ng.linalg.solve_triangular(factor, columns, upper=False)
