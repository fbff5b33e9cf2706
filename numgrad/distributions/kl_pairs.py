"""The divergence between distributions of different classes, ``-H(p) - E_p[log q(x)]``, from p's expectations."""

import math

import numgrad as ng
from numgrad.nn.functional import logsigmoid

from .continuous_bernoulli import ContinuousBernoulli
from .discrete import Bernoulli, Poisson
from .gamma import Beta, Gamma
from .kl import kl_divergence as kl_divergence, register_kl as register_kl
from .location_scale import Exponential, Gumbel, Laplace, Normal, Uniform
from .transformed import Pareto
from .trials import Binomial
from .utils import euler_constant

# --- expectations ----------------------------------------------------------------------------------------------------


def _between(p, integral):
    """The expectation of a uniform p from an antiderivative."""
    return (integral(p.high) - integral(p.low)) / (p.high - p.low)


_LOG = {  # of log x
    Beta: lambda p: p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma(),
    Exponential: lambda p: -euler_constant - p.rate.log(),
    Gamma: lambda p: p.concentration.digamma() - p.rate.log(),
    Pareto: lambda p: p.scale.log() + p.alpha.reciprocal(),
    Uniform: lambda p: _between(p, lambda x: ng.xlogy(x, x)) - 1,
}
_DECAY = {  # of exp(-t x)
    Exponential: lambda p, t: p.rate / (p.rate + t),
    Gamma: lambda p, t: (1 + t / p.rate) ** -p.concentration,
    Normal: lambda p, t: (0.5 * (p.scale * t).square() - p.loc * t).exp(),
    Uniform: lambda p, t: -_between(p, lambda x: (-x * t).exp() / t),
}


def _inside(p, low=-math.inf, high=math.inf):
    """Where p's values all lie from ``low`` to ``high``: known of uniform ones alone, True for others."""
    return (p.low >= low) & (p.high <= high) if isinstance(p, Uniform) else True


def _finite(inside, found):
    return found if inside is True else ng.where(inside, found, math.inf)


# --- formulas --------------------------------------------------------------------------------------------------------


def _to_exponential(p, q):
    return _finite(_inside(p, 0), q.rate * p.mean - q.rate.log() - p.entropy())


def _to_gamma(p, q):
    norm = q.concentration.lgamma() - q.concentration * q.rate.log()
    found = norm - (q.concentration - 1) * _LOG[type(p)](p) + q.rate * p.mean - p.entropy()
    return _finite(_inside(p, 0), found)


def _to_normal(p, q):
    spread = (p.variance + (p.mean - q.loc).square()) / (2 * q.scale.square())
    return 0.5 * math.log(2 * math.pi) + q.scale.log() + spread - p.entropy()


def _to_gumbel(p, q):
    rate = q.scale.reciprocal()
    return q.scale.log() + (p.mean - q.loc) * rate + (q.loc * rate).exp() * _DECAY[type(p)](p, rate) - p.entropy()


def _unit_to_uniform(p, q):
    """p with the support [0, 1]."""
    return _finite((q.low <= 0) & (q.high >= 1), (q.high - q.low).log() - p.entropy())


def _to_continuous_bernoulli(p, q):
    found = -p.entropy() - p.mean * q.logits - logsigmoid(-q.logits) - q._cont_bern_log_norm()
    return _finite(_inside(p, 0, 1), found)


for _p in (Beta, ContinuousBernoulli, Gamma, Pareto, Uniform):
    register_kl(_p, Exponential)(_to_exponential)
for _p in (Beta, Exponential, Pareto, Uniform):
    register_kl(_p, Gamma)(_to_gamma)
for _p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Pareto, Uniform):
    register_kl(_p, Normal)(_to_normal)
for _p in (Exponential, Gamma, Normal, Uniform):
    register_kl(_p, Gumbel)(_to_gumbel)
for _p in (Beta, ContinuousBernoulli):
    register_kl(_p, Uniform)(_unit_to_uniform)
register_kl(Beta, ContinuousBernoulli)(_to_continuous_bernoulli)
register_kl(Uniform, ContinuousBernoulli)(_to_continuous_bernoulli)


@register_kl(Normal, Laplace)
def _(p, q):
    away = (p.loc - q.loc) / p.scale
    distance = math.sqrt(2 / math.pi) * (-0.5 * away.square()).exp() + away * ng.erf(math.sqrt(0.5) * away)
    return (2 * q.scale).log() + p.scale * distance / q.scale - p.entropy()


@register_kl(Uniform, Beta)
def _(p, q):
    norm = q.concentration1.lgamma() + q.concentration0.lgamma() - (q.concentration1 + q.concentration0).lgamma()
    log_rest = -_between(p, lambda x: ng.xlogy(1 - x, 1 - x)) - 1  # of log(1 - x)
    found = norm - (q.concentration1 - 1) * _LOG[Uniform](p) - (q.concentration0 - 1) * log_rest - p.entropy()
    return _finite(_inside(p, 0, 1), found)


@register_kl(Uniform, Pareto)
def _(p, q):
    found = (q.alpha + 1) * _LOG[Uniform](p) - q.alpha * q.scale.log() - q.alpha.log() - p.entropy()
    return _finite(p.low >= q.scale, found)


@register_kl(Bernoulli, Poisson)
def _(p, q):
    return q.rate - p.probs * q.rate.log() - p.entropy()


# --- values of p that q cannot have ----------------------------------------------------------------------------------


def _infinite(p, q):
    shape = ng.broadcast_shapes(tuple(p.batch_shape), tuple(q.batch_shape))
    return ng.full(shape, math.inf, dtype=p.mean.dtype, device=p.mean.device)


for _p in (Exponential, Gamma, Gumbel, Laplace, Normal, Pareto):
    register_kl(_p, Beta)(_infinite)
    register_kl(_p, Uniform)(_infinite)
    register_kl(_p, ContinuousBernoulli)(_infinite)
for _p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Normal):
    register_kl(_p, Pareto)(_infinite)
for _p in (Gumbel, Laplace, Normal):
    register_kl(_p, Exponential)(_infinite)
    register_kl(_p, Gamma)(_infinite)
register_kl(Poisson, Bernoulli)(_infinite)
register_kl(Poisson, Binomial)(_infinite)
