"""The divergence of Kullback and Leibler, looked up by the two distributions' classes."""

import math

import numgrad as ng

from .continuous_bernoulli import ContinuousBernoulli
from .discrete import Bernoulli, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution, ExponentialFamily, sum_rightmost
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

_FORMULAS: dict = {}
_EULER = 0.57721566490153286


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
    ratio = (p.scale / q.scale).square()
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).square() - 1 - ratio.log())


@register_kl(LogNormal, LogNormal)
def _(p, q):
    return kl_divergence(p._base(), q._base())


@register_kl(HalfNormal, HalfNormal)
def _(p, q):
    return kl_divergence(p._base(), q._base())


@register_kl(Laplace, Laplace)
def _(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _(p, q):
    near = (p.scale + q.scale).square() + (p.loc - q.loc).square()
    return near.log() - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _(p, q):
    ratio, shift = p.scale / q.scale, (q.loc - p.loc) / q.scale
    return -ratio.log() - shift + ratio * _EULER + (shift + (1 + ratio).lgamma()).exp() - (1 + _EULER)


@register_kl(Exponential, Exponential)
def _(p, q):
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Uniform, Uniform)
def _(p, q):
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return ng.where((q.low > p.low) | (q.high < p.high), math.inf, found)


@register_kl(Poisson, Poisson)
def _(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Bernoulli, Bernoulli)
def _(p, q):
    found = ng.xlogy(p.probs, p.probs / q.probs) + ng.xlogy(1 - p.probs, (1 - p.probs) / (1 - q.probs))
    return found


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _(p, q):
    found = p.mean * (p.logits - q.logits) + p._cont_bern_log_norm() + ng.log1p(-p.probs)
    return found - q._cont_bern_log_norm() - ng.log1p(-q.probs)


@register_kl(Geometric, Geometric)
def _(p, q):
    return -p.entropy() - ng.log1p(-q.probs) / p.probs - q.logits


@register_kl(Categorical, Categorical)
def _(p, q):
    terms = p.probs * (p.logits - q.logits)
    terms = ng.where(q.probs == 0, math.inf, terms)
    return ng.where(p.probs == 0, 0.0, terms).sum(-1)


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
    found = q.concentration * (p.rate / q.rate).log() + q.concentration.lgamma() - p.concentration.lgamma()
    found = found + (p.concentration - q.concentration) * p.concentration.digamma()
    return found + (q.rate - p.rate) * (p.concentration / p.rate)


@register_kl(Dirichlet, Dirichlet)
def _(p, q):
    a, b = p.concentration, q.concentration
    found = a.sum(-1).lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return found + ((a - b) * (a.digamma() - a.sum(-1, True).digamma())).sum(-1)


@register_kl(Beta, Beta)
def _(p, q):
    return kl_divergence(p._dirichlet, q._dirichlet)


@register_kl(Binomial, Binomial)
def _(p, q):
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    found = p.total_count * (p.probs * (p.logits - q.logits) + ng.log1p(-p.probs) - ng.log1p(-q.probs))
    return ng.where(p.total_count > q.total_count, math.inf, found)


@register_kl(Pareto, Pareto)
def _(p, q):
    ratio = q.alpha / p.alpha
    found = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
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
