"""Probability distributions, under PyTorch's names: shapes, samples, densities, moments, divergences."""

from ..paths import submodules
from . import constraints as constraints, transforms as transforms
from .circular import VonMises as VonMises
from .constraint_registry import biject_to as biject_to, transform_to as transform_to
from .continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulli
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
from .gamma import (
    Beta as Beta,
    Chi2 as Chi2,
    Dirichlet as Dirichlet,
    FisherSnedecor as FisherSnedecor,
    Gamma as Gamma,
    InverseGamma as InverseGamma,
    StudentT as StudentT,
)
from .joint import (
    Independent as Independent,
    LowRankMultivariateNormal as LowRankMultivariateNormal,
    MultivariateNormal as MultivariateNormal,
)
from .kl_pairs import kl_divergence as kl_divergence, register_kl as register_kl
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
from .matrices import LKJCholesky as LKJCholesky, Wishart as Wishart
from .mixture import MixtureSameFamily as MixtureSameFamily
from .relaxed import (
    LogisticNormal as LogisticNormal,
    RelaxedBernoulli as RelaxedBernoulli,
    RelaxedOneHotCategorical as RelaxedOneHotCategorical,
)
from .transformed import (
    GeneralizedPareto as GeneralizedPareto,
    Kumaraswamy as Kumaraswamy,
    Pareto as Pareto,
    TransformedDistribution as TransformedDistribution,
    Weibull as Weibull,
)
from .transforms import (
    AbsTransform as AbsTransform,
    AffineTransform as AffineTransform,
    CatTransform as CatTransform,
    ComposeTransform as ComposeTransform,
    CorrCholeskyTransform as CorrCholeskyTransform,
    CumulativeDistributionTransform as CumulativeDistributionTransform,
    ExpTransform as ExpTransform,
    IndependentTransform as IndependentTransform,
    LowerCholeskyTransform as LowerCholeskyTransform,
    PositiveDefiniteTransform as PositiveDefiniteTransform,
    PowerTransform as PowerTransform,
    ReshapeTransform as ReshapeTransform,
    SigmoidTransform as SigmoidTransform,
    SoftmaxTransform as SoftmaxTransform,
    SoftplusTransform as SoftplusTransform,
    StackTransform as StackTransform,
    StickBreakingTransform as StickBreakingTransform,
    TanhTransform as TanhTransform,
    Transform as Transform,
    identity_transform as identity_transform,
)
from .trials import Binomial as Binomial, NegativeBinomial as NegativeBinomial

__getattr__ = submodules(__name__)
