"""Distributions over matrices."""

import math
import warnings

import numgrad as ng

from . import constraints
from .distribution import Distribution, ExponentialFamily
from .gamma import Beta, Chi2
from .joint import ByCovariance, MultivariateNormal, _solved
from .utils import broadcast_all


class LKJCholesky(Distribution):
    """Lower factors (dim, dim) of correlation matrices C, with a density of C proportional to
    ``det(C) ** (concentration - 1)`` (Lewandowski, Kurowicka and Joe, 2009)."""

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky
    _parameters = ("concentration",)

    def __init__(self, dim, concentration=1.0, validate_args=None):
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        # The square of the length of row k below the diagonal is a beta number; its direction is uniform (the onion method).
        row = ng.arange(dim, dtype=self.concentration.dtype, device=self.concentration.device) - 1
        row = row.clamp(min=0)
        last = (self.concentration + 0.5 * (dim - 2)).unsqueeze(-1)
        self._beta = Beta(row + 0.5, last - 0.5 * row)
        super().__init__(self.concentration.shape, (dim, dim), validate_args=validate_args)

    def _expand_more(self, new, batch_shape):
        new.dim, new._beta = self.dim, self._beta.expand((*batch_shape, self.dim))

    def sample(self, sample_shape=()):
        with ng.no_grad():
            length = self._beta.sample(sample_shape).unsqueeze(-1).sqrt()
            below = ng.randn(self._extended_shape(sample_shape), dtype=length.dtype, device=length.device).tril(-1)
            norm = below.norm(dim=-1, keepdim=True)
            rows = length * below / ng.where(norm > 0, norm, 1.0)
            rest = (1 - rows.square().sum(-1)).clamp(min=ng.finfo(rows.dtype).tiny)
            return rows + rest.sqrt().diag_embed()

    def log_prob(self, value):
        """The density with respect to the entries below the diagonal."""
        if self._validate_args:
            self._validate_sample(value)
        n = self.dim
        logs = value.diagonal(dim1=-2, dim2=-1)[..., 1:].log()
        row = ng.arange(2, n + 1, dtype=self.concentration.dtype, device=self.concentration.device)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + n - row
        alpha = self.concentration + 0.5 * (n - 1)
        norm = 0.5 * (n - 1) * math.log(math.pi) + ng.mvlgamma(alpha - 0.5, n - 1) - alpha.lgamma() * (n - 1)
        return (order * logs).sum(-1) - norm


class Wishart(ByCovariance, ExponentialFamily):
    """``X.mT @ X`` of ``df`` normal rows of length n whose covariance is given by one of ``covariance_matrix``,
    ``precision_matrix`` and ``scale_tril`` (*, n, n); ``df`` above n - 1 need not be whole."""

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0.0
    _parameters = ("df", "covariance_matrix", "precision_matrix", "scale_tril", "_factor")

    def __init__(self, df, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        given = [m for m in (covariance_matrix, precision_matrix, scale_tril) if m is not None]
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        if given[0].dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        n, like = given[0].shape[-1], {"dtype": given[0].dtype, "device": given[0].device}
        df = df if isinstance(df, ng.Tensor) else ng.tensor(df, **like)
        batch = ng.broadcast_shapes(given[0].shape[:-2], df.shape)
        self.df = df.expand(batch)
        if (self.df <= n - 1).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        if (self.df < n).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.", stacklevel=2
            )
        normal = MultivariateNormal(ng.zeros((*batch, n), **like), covariance_matrix, precision_matrix, scale_tril)
        for name in ("covariance_matrix", "precision_matrix", "scale_tril", "_factor"):
            if name in normal.__dict__:
                setattr(self, name, normal.__dict__[name])
        super().__init__(batch, (n, n), validate_args=validate_args)

    @property
    def arg_constraints(self):  # type: ignore[override]
        return {
            "covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(self._event_shape[-1] - 1),
        }  # fmt: skip

    def _matrix(self, numbers):
        return numbers.unsqueeze(-1).unsqueeze(-1)

    @property
    def mean(self):
        return self._matrix(self.df) * self.covariance_matrix

    @property
    def mode(self):
        factor = self.df - self._event_shape[-1] - 1
        return self._matrix(ng.where(factor <= 0, math.nan, factor)) * self.covariance_matrix

    @property
    def variance(self):
        diagonal = self.covariance_matrix.diagonal(dim1=-2, dim2=-1)
        products = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self._matrix(self.df) * (self.covariance_matrix.square() + products)

    def _drawn(self, sample_shape):
        """Bartlett's decomposition: a factor with roots of chi-square numbers on the diagonal, normal ones below."""
        n = self._event_shape[-1]
        places = ng.arange(n, dtype=self.df.dtype, device=self.df.device)
        roots = Chi2(self.df.unsqueeze(-1) - places).rsample(sample_shape).sqrt()
        roots = roots.clamp(min=ng.finfo(roots.dtype).eps)
        rows, columns = ng.tril_indices(n, n, -1, device=self.df.device)
        shape = (*sample_shape, *self._batch_shape)
        below = ng.randn((*shape, n * (n - 1) // 2), dtype=self.df.dtype, device=self.df.device)
        noise = ng.zeros((*shape, n * n), dtype=self.df.dtype, device=self.df.device)
        noise = noise.index_copy(-1, rows * n + columns, below).reshape(*shape, n, n) + roots.diag_embed()
        factor = self._factor @ noise
        return factor @ factor.mT

    def rsample(self, sample_shape=(), max_try_correction=10):
        """Matrices; those that rounding makes singular are drawn again, up to ``max_try_correction`` times."""
        found = self._drawn(tuple(sample_shape))
        for _ in range(max_try_correction):
            good = self.support.check(found.detach())
            if good.all():
                break
            warnings.warn("Singular sample detected.", stacklevel=2)
            found = ng.where(self._matrix(good), found, self._drawn(tuple(sample_shape)))
        return found

    def _log_det(self):
        """Half the logarithm of the covariance's determinant, and of 2 to the power n."""
        n = self._event_shape[-1]
        return n * math.log(2) / 2 + self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        n = self._event_shape[-1]
        # The trace of covariance^-1 @ value is the squared size of factor^-1 @ value's own factor.
        trace = _solved(self._factor, ng.linalg.cholesky(value)).square().sum((-2, -1))
        found = (self.df - n - 1) / 2 * ng.linalg.slogdet(value).logabsdet - self.df * self._log_det()
        return found - ng.mvlgamma(self.df / 2, n) - trace / 2

    def entropy(self):
        n = self._event_shape[-1]
        halves = ng.arange(n, dtype=self.df.dtype, device=self.df.device) / 2
        digamma = (self.df.unsqueeze(-1) / 2 - halves).digamma().sum(-1)
        found = (n + 1) * self._log_det() + ng.mvlgamma(self.df / 2, n)
        return found - (self.df - n - 1) / 2 * digamma + self.df * n / 2

    @property
    def _natural_params(self):
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x, y):
        n = self._event_shape[-1]
        size = y + (n + 1) / 2
        return size * (n * math.log(2) - ng.linalg.slogdet(-2 * x).logabsdet) + ng.mvlgamma(size, n)
