"""The divergence of Kullback and Leibler, looked up by the two distributions' classes."""

import math

import numgrad as ng
from numgrad.nn.functional import logsigmoid
from numgrad.ops.divergence import exponential_excess, lgamma_divergence, log_ratio, ratio_excess, relative_entropy

from .continuous_bernoulli import ContinuousBernoulli
from .discrete import Bernoulli, Categorical, Geometric, OneHotCategorical, Poisson, odds_divergence
from .distribution import Distribution, ExponentialFamily
from .gamma import Beta, Dirichlet, Gamma
from .joint import Independent, LowRankMultivariateNormal, MultivariateNormal
from .location_scale import (
    Cauchy,
    Exponential,
    Gumbel,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Uniform,
)
from .transformed import Pareto, TransformedDistribution
from .trials import Binomial
from .utils import sum_rightmost

_FORMULAS: dict = {}

def register_kl(type_p, type_q):
    """A decorator: the function of (p, q) gives ``kl_divergence`` of these classes and their subclasses."""
    for position, found in (("first", type_p), ("second", type_q)):
        if not (isinstance(found, type) and issubclass(found, Distribution)):
            raise TypeError(f"Expected {position} argument of register_kl to be a Distribution subclass but got {found}")

    def register(formula):
        _FORMULAS[type_p, type_q] = formula
        return formula

    return register


def kl_divergence(p: Distribution, q: Distribution):
    """``E_p[log p(x) - log q(x)]`` in closed form, of p's and q's batch shape.

    The formula registered for the nearest base classes is taken, p's first. Raises NotImplementedError where there is none.
    """
    for type_p in type(p).__mro__:
        for type_q in type(q).__mro__:
            formula = _FORMULAS.get((type_p, type_q))
            if formula is not None:
                return formula(p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}; "
        "register one with @register_kl"
    )


@register_kl(Normal, Normal)
def _(p, q):
    return 0.5 * (exponential_excess(2 * log_ratio(p.scale, q.scale)) + ((p.loc - q.loc) / q.scale).square())


@register_kl(LogNormal, LogNormal)
def _(p, q):
    return kl_divergence(p._base(), q._base())


@register_kl(HalfNormal, HalfNormal)
def _(p, q):
    return kl_divergence(p._base(), q._base())


@register_kl(Laplace, Laplace)
def _(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return ratio_excess(p.scale, q.scale) + ratio * exponential_excess(-distance / p.scale)


@register_kl(Cauchy, Cauchy)
def _(p, q):
    shift = p.loc - q.loc
    apart, product = (p.scale - q.scale).square() + shift.square(), 4 * p.scale * q.scale
    far = 2 * ng.hypot(p.scale + q.scale, shift).log() - p.scale.log() - q.scale.log() - math.log(4)
    return ng.where(apart > product, far, ng.log1p(apart / product))


@register_kl(Gumbel, Gumbel)
def _(p, q):
    ratio, shift = p.scale / q.scale, (q.loc - p.loc) / q.scale
    return exponential_excess(shift + (1 + ratio).lgamma()) + lgamma_divergence(ng.ones_like(ratio), ratio)


@register_kl(Exponential, Exponential)
def _(p, q):
    return ratio_excess(q.rate, p.rate)


@register_kl(Uniform, Uniform)
def _(p, q):
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return ng.where((q.low > p.low) | (q.high < p.high), math.inf, found)


@register_kl(Poisson, Poisson)
def _(p, q):
    return relative_entropy(p.rate, q.rate)


@register_kl(Bernoulli, Bernoulli)
def _(p, q):
    return odds_divergence(p, q)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _(p, q):
    found = p.mean * (p.logits - q.logits) + p._cont_bern_log_norm() + logsigmoid(-p.logits)
    return found - q._cont_bern_log_norm() - logsigmoid(-q.logits)


@register_kl(Geometric, Geometric)
def _(p, q):
    return odds_divergence(p, q) / p.probs


@register_kl(Categorical, Categorical)
def _(p, q):
    if p.by_logits and q.by_logits:
        # q - p + p log(p / q), by the logarithms where they are near each other.
        change = (q.logits - p.logits).masked_fill(p.probs == 0, 0.0)
        far = (change.abs() > 1) | (p.probs == 0)
        near = p.probs * exponential_excess(change.masked_fill(far, 0.0))
        return ng.where(far, q.probs - p.probs - p.probs * change, near).sum(-1)
    return relative_entropy(p.probs, q.probs).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _(p, q):
    return kl_divergence(p._categorical, q._categorical)


@register_kl(Independent, Independent)
def _(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("kl_divergence: both Independent distributions need as many reinterpreted dimensions")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


def _normal_vectors(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be computed: "
            f"{p.event_shape} and {q.event_shape}"
        )
    distance = q._squared((q.loc - p.loc).unsqueeze(-1))
    for root in p._roots():
        distance = distance + q._squared(root)
    return q._half_log_det() - p._half_log_det() + 0.5 * (distance - p.event_shape[0])


for _p in (MultivariateNormal, LowRankMultivariateNormal):
    for _q in (MultivariateNormal, LowRankMultivariateNormal):
        register_kl(_p, _q)(_normal_vectors)


@register_kl(Gamma, Gamma)
def _(p, q):
    found = lgamma_divergence(p.concentration, q.concentration) + p.concentration * ratio_excess(q.rate, p.rate)
    return found + (p.concentration - q.concentration) * log_ratio(q.rate, p.rate)


@register_kl(Dirichlet, Dirichlet)
def _(p, q):
    a, b = p.concentration, q.concentration
    return lgamma_divergence(a, b).sum(-1) - lgamma_divergence(a.sum(-1), b.sum(-1))


@register_kl(Beta, Beta)
def _(p, q):
    return kl_divergence(p._dirichlet, q._dirichlet)


@register_kl(Binomial, Binomial)
def _(p, q):
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    found = p.total_count * odds_divergence(p, q)
    return ng.where(p.total_count > q.total_count, math.inf, found)


@register_kl(Pareto, Pareto)
def _(p, q):
    found = q.alpha * log_ratio(p.scale, q.scale) + ratio_excess(q.alpha, p.alpha)
    return ng.where(p.scale < q.scale, math.inf, found)


@register_kl(TransformedDistribution, TransformedDistribution)
def _(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("kl_divergence: both transformed distributions need equal transforms and event shapes")
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(ExponentialFamily, ExponentialFamily)
def _(p, q):
    """The Bregman divergence of the log normalizer: its gradient is the mean of the sufficient statistics."""
    if type(p) is not type(q):
        raise NotImplementedError(
            f"kl_divergence: {type(p).__name__} and {type(q).__name__} are different exponential families; "
            "register a formula with @register_kl"
        )
    mine, other = [x.detach().requires_grad_() for x in p._natural_params], q._natural_params
    with ng.enable_grad():
        normalizer = p._log_normalizer(*mine)
        means = ng.autograd.grad(normalizer.sum(), mine, create_graph=True)
    found = q._log_normalizer(*other) - normalizer
    for a, b, mean in zip(mine, other, means):
        found = found - sum_rightmost((b - a) * mean, len(q.event_shape))
    return found
