"""Probability distributions, under PyTorch's names: shapes, samples, densities, moments, divergences."""

from . import constraints as constraints
from .discrete import (
    Bernoulli as Bernoulli,
    Categorical as Categorical,
    Geometric as Geometric,
    Multinomial as Multinomial,
    OneHotCategorical as OneHotCategorical,
    OneHotCategoricalStraightThrough as OneHotCategoricalStraightThrough,
    Poisson as Poisson,
)
from .distribution import Distribution as Distribution, ExponentialFamily as ExponentialFamily
from .joint import Independent as Independent, MultivariateNormal as MultivariateNormal
from .kl import kl_divergence as kl_divergence, register_kl as register_kl
from .location_scale import (
    Cauchy as Cauchy,
    Exponential as Exponential,
    Gumbel as Gumbel,
    HalfCauchy as HalfCauchy,
    HalfNormal as HalfNormal,
    Laplace as Laplace,
    LogNormal as LogNormal,
    Normal as Normal,
    Uniform as Uniform,
)
