"""Densities, entropies and divergences keep their digits, with near and far parameters, against mpmath (see test_digits)."""

import itertools

import jets as J
import pytest
from test_digits import DTYPES, FEW, FEW_POSITIVE, Case, check, pairs, table

import numgrad as ng

D = ng.distributions
SHAPES = (0.02, 0.7, 1.0, 3.5, 40.0, 1e4)
ODDS = (-1e4, -90.0, -20.0, -3.0, -0.5, -1e-4, 1e-6, 0.7, 5.0, 30.0, 1e4)
SHARES = (1e-6, 0.03, 0.25, 0.5, 0.7, 0.97)
TAU = 2 * J.m.pi
EULER = J.m.euler
# (value, parameter, ...): some far from, some near to the mean.
COUNTS = ((0.0, 1.0), (1.0, 0.02), (3.0, 40.0), (40.0, 40.5), (9999.0, 1e4), (1e4, 3.0), (10.0, 1e4), (200.0, 197.5))


def log_prob(name, **fixed):
    make = getattr(D, name)
    return lambda value, *parameters: make(*parameters, validate_args=False, **fixed).log_prob(value)


def by_logits(name, what="log_prob"):
    make = getattr(D, name)
    if what == "entropy":
        return lambda logits: make(logits=logits).entropy()
    return lambda value, logits: make(logits=logits).log_prob(value.detach().round() + value - value.detach())


def normal(x, loc, scale):
    z = (x - loc) / scale
    return -z * z / 2 - J.log(scale) - J.m.log(TAU) / 2


def gamma(x, a, r):
    return a * J.log(r) + (a - 1) * J.log(x) - r * x - J.lgamma(a)


def beta(x, a, b):
    return (a - 1) * J.log(x) + (b - 1) * J.log1p(-x) + J.lgamma(a + b) - J.lgamma(a) - J.lgamma(b)


def student(x, df):
    half = (df + 1) / 2
    return J.lgamma(half) - J.lgamma(df / 2) - J.log(df * J.m.pi) / 2 - half * J.log1p(x * x / df)


def fisher(x, a, b):
    h, k = a / 2, b / 2
    norm = J.lgamma(h + k) - J.lgamma(h) - J.lgamma(k)
    return norm + h * J.log(a / b) + (h - 1) * J.log(x) - (h + k) * J.log1p(a * x / b)


def poisson(k, rate):
    return k * J.log(rate) - rate - J.lgamma(k + 1)


def entropy_of_odds(x):
    return J.softplus(x) - x * J.sigmoid(x)


LOCATED = [(x, loc, scale) for x, loc in ((-1e4, 3.0), (0.5, 0.7), (40.0, -2.0), (1.0, 1.0 + 2.0**-20)) for scale in (1e-3, 1.0, 300.0)]
DENSITIES = {
    "Normal": Case(log_prob("Normal"), normal, LOCATED),
    "LogNormal": Case(
        log_prob("LogNormal"), lambda x, m, s: normal(J.log(x), m, s) - J.log(x), [(abs(x), m, s) for x, m, s in LOCATED]),
    "Laplace": Case(
        log_prob("Laplace"), lambda x, m, s: -J.log(s * 2) - abs(x - m) / s, LOCATED),
    "Cauchy": Case(
        log_prob("Cauchy"), lambda x, m, s: -J.log(s * J.m.pi) - J.log1p((x - m) * (x - m) / (s * s)), LOCATED),
    "Gumbel": Case(
        log_prob("Gumbel"), lambda x, m, s: -(x - m) / s - J.exp(-(x - m) / s) - J.log(s), [p for p in LOCATED if p[0] >= 0]),
    "Exponential": Case(log_prob("Exponential"), lambda x, r: J.log(r) - r * x, pairs(FEW_POSITIVE)),
    "Gamma": Case(
        log_prob("Gamma"), gamma, [(x, a, r) for a in (0.02, 1.0, 40.0, 1e4) for r in (0.02, 50.0) for x in (a / r, 3.0)]),
    "InverseGamma": Case(
        log_prob("InverseGamma"), lambda x, a, r: gamma(1 / x, a, r) - 2 * J.log(x), [(0.3, a, r) for a in SHAPES for r in (0.02, 50.0)]),
    "Chi2": Case(log_prob("Chi2"), lambda x, df: gamma(x, df / 2, J.constant(0.5, df)), [(x, df) for df in SHAPES for x in (df, 3.0)]),
    "Beta": Case(log_prob("Beta"), beta, itertools.product(SHARES, (0.02, 3.5, 1e4), (0.7, 40.0, 3e3)), orders=0),
    "StudentT": Case(log_prob("StudentT"), student, itertools.product(FEW[2:-1], SHAPES), orders=0),
    "FisherSnedecor": Case(log_prob("FisherSnedecor"), fisher, itertools.product((0.02, 1.0, 40.0), (0.7, 3.5, 1e4), (1.0, 40.0, 3e3)),
        orders=0),
    "Poisson": Case(log_prob("Poisson"), poisson, COUNTS[1:]),
    "Weibull": Case(
        log_prob("Weibull"), lambda x, s, k: J.log(k / s) + (k - 1) * J.log(x / s) - (x / s) ** k,
        itertools.product((0.02, 1.0, 3.0), (0.7, 3.5), (0.02, 1.0, 40.0))),
    "Pareto": Case(
        log_prob("Pareto"), lambda x, s, a: J.log(a) + a * J.log(s) - (a + 1) * J.log(x), itertools.product((3.0, 1e4), (0.7, 2.5), SHAPES)),
    "Kumaraswamy": Case(
        log_prob("Kumaraswamy"), lambda x, a, b: J.log(a * b) + (a - 1) * J.log(x) + (b - 1) * J.log1p(-(x**a)),
        itertools.product(SHARES, (0.7, 3.5, 40.0), (0.02, 3.5, 1e4))),
    "VonMises": Case(
        log_prob("VonMises"),
        lambda x, m, k: k * (J.cos(x - m) - 1) - J.log(J.bessel("i", 0)(k) * J.exp(-k)) - J.m.log(TAU),
        itertools.product((0.5, 2.0), (0.49, -1.0), (0.02, 3.0, 200.0))),
    "Bernoulli": Case(by_logits("Bernoulli"), lambda v, x: v * x - J.softplus(x), pairs((0.0, 1.0), ODDS)),
    "Geometric": Case(
        by_logits("Geometric"), lambda v, x: -v * J.softplus(x) - J.softplus(-x), pairs((0.0, 1.0, 40.0), ODDS)),
    "ContinuousBernoulli": Case(
        lambda v, x: D.ContinuousBernoulli(logits=x, validate_args=False).log_prob(v),
        lambda v, x: v * x - J.softplus(x) + J.log(x / J.tanh(x / 2)), pairs((0.03, 0.7), (-90.0, -20.0, -3.0, -0.6, 0.8, 5.0, 30.0))),
    "LogitRelaxedBernoulli": Case(
        lambda v, x: D.relaxed.LogitRelaxedBernoulli(ng.tensor(1.0, dtype=x.dtype), logits=x, validate_args=False).log_prob(v),
        lambda v, x: x - v - 2 * J.softplus(x - v), pairs(FEW)),
}  # fmt: skip
ENTROPIES = {
    "Bernoulli": Case(by_logits("Bernoulli", "entropy"), entropy_of_odds, ODDS),
    "Bernoulli by probs": Case(lambda p: D.Bernoulli(p).entropy(), lambda p: -p * J.log(p) - (1 - p) * J.log1p(-p), SHARES),
    "Geometric": Case(by_logits("Geometric", "entropy"), lambda x: entropy_of_odds(x) / J.sigmoid(x), ODDS[2:]),
    "Gamma": Case(
        lambda a, r: D.Gamma(a, r).entropy(), lambda a, r: a - J.log(r) + J.lgamma(a) + (1 - a) * J.digamma(a),
        pairs((0.02, 0.7, 1.0, 3.5, 40.0))),
    "StudentT": Case(
        lambda df: D.StudentT(df).entropy(),
        lambda df: (df + 1) / 2 * (J.digamma((df + 1) / 2) - J.digamma(df / 2)) + J.log(df) / 2
        + J.lgamma(df / 2) + J.lgamma(J.constant(0.5, df)) - J.lgamma((df + 1) / 2), SHAPES[:4]),
    "ContinuousBernoulli": Case(
        by_logits("ContinuousBernoulli", "entropy"),
        lambda x: J.softplus(x) - J.log(x / J.tanh(x / 2)) - x * (J.sigmoid(x) - 1 / x + 1 / J.sinh(x)), (-1e4, -20.0, -3.0, -0.81, -0.6, 0.2, 0.79, 5.0, 30.0)),
}  # fmt: skip

ENTROPIES["variance of ContinuousBernoulli"] = Case(
    lambda x: D.ContinuousBernoulli(logits=x).variance,
    lambda x: J.sigmoid(x) * J.sigmoid(-x) - J.cosh(x) / (J.sinh(x) * J.sinh(x)) + 1 / (x * x), (-1e4, -20.0, -3.0, -0.81, -0.6, 0.2, 0.79, 5.0, 30.0),
)  # fmt: skip


def divergence(make):
    """Of two distributions with one parameter each."""
    return lambda a, b: D.kl_divergence(make(a), make(b))


def of_gamma(p, q):
    (a, r), (b, s) = p, q
    return (a - b) * J.digamma(a) - J.lgamma(a) + J.lgamma(b) + b * (J.log(r) - J.log(s)) + a * (s - r) / r


def of_dirichlet(a, b):
    found, total = J.lgamma(sum(a[1:], a[0])) - J.lgamma(sum(b[1:], b[0])), sum(a[1:], a[0])
    for x, y in zip(a, b):
        found = found - J.lgamma(x) + J.lgamma(y) + (x - y) * (J.digamma(x) - J.digamma(total))
    return found


NEAR = [(x, x * (1 + d)) for x in (0.02, 0.7, 1.0, 3.5, 40.0, 1e4) for d in (2.0**-10, -(2.0**-6))]
APART = [(0.02, 40.0), (40.0, 0.7), (3.5, 1e3), (1e4, 1.0)]
ONE = NEAR + APART
LOGITS = [(x, x + d) for x in ODDS for d in (2.0**-8, -0.5, 1.0, 60.0)] + [(-90.0, 30.0), (1e4, -1e4)]
PROBS = [(p, p * (1 - d)) for p in SHARES for d in (2.0**-10, 0.25)] + [(1e-6, 0.97), (0.97, 1e-6)]
DIVERGENCES = {
    "Normal": Case(
        lambda a, b: D.kl_divergence(D.Normal(0 * a, a), D.Normal(0 * b, b)),
        lambda a, b: J.log(b / a) + (a * a / (b * b) - 1) / 2, ONE),
    "Laplace": Case(
        lambda a, b: D.kl_divergence(D.Laplace(a, 0 * a + 2), D.Laplace(b, 0 * b + 2)),
        lambda a, b: abs(a - b) / 2 + J.exp(-abs(a - b) / 2) - 1, ONE),
    "Cauchy": Case(
        lambda a, b: D.kl_divergence(D.Cauchy(0 * a, a), D.Cauchy(0 * b, b)), lambda a, b: J.log((a + b) * (a + b) / (4 * a * b)), ONE),
    "Gumbel": Case(
        lambda a, b: D.kl_divergence(D.Gumbel(0 * a, a), D.Gumbel(0 * b, b)),
        lambda a, b: J.log(b / a) + a / b * EULER + J.exp(J.lgamma(a / b + 1)) - 1 - EULER, NEAR[2:6]),
    "Exponential": Case(divergence(D.Exponential), lambda a, b: b / a - J.log(b / a) - 1, ONE),
    "Poisson": Case(divergence(D.Poisson), lambda a, b: a * J.log(a / b) - a + b, ONE),
    "Gamma": Case(
        lambda a, b: D.kl_divergence(D.Gamma(a, 0 * a + 2), D.Gamma(b, 0 * b + 2)),
        lambda a, b: of_gamma((a, J.constant(2, a)), (b, J.constant(2, b))), ONE, orders=1),
    "Beta": Case(
        lambda a, b: D.kl_divergence(D.Beta(a, 0 * a + 2), D.Beta(b, 0 * b + 2)),
        lambda a, b: of_dirichlet((a, J.constant(2, a)), (b, J.constant(2, b))), NEAR[:-2] + APART[:2]),
    "Bernoulli": Case(
        lambda a, b: D.kl_divergence(D.Bernoulli(logits=a), D.Bernoulli(logits=b)),
        lambda a, b: J.softplus(b) - J.softplus(a) - J.sigmoid(a) * (b - a), LOGITS),
    "Bernoulli by probs": Case(
        divergence(D.Bernoulli), lambda a, b: a * J.log(a / b) + (1 - a) * (J.log1p(-a) - J.log1p(-b)), PROBS),
    "Geometric": Case(
        lambda a, b: D.kl_divergence(D.Geometric(logits=a), D.Geometric(logits=b)),
        lambda a, b: (J.softplus(b) - J.softplus(a) - J.sigmoid(a) * (b - a)) / J.sigmoid(a), [p for p in LOGITS if p[0] > -60]),
    "Categorical": Case(
        lambda a, b: D.kl_divergence(D.Categorical(logits=ng.stack((a, 0 * a), -1)), D.Categorical(logits=ng.stack((b, 0 * b), -1))),
        lambda a, b: J.softplus(b) - J.softplus(a) - J.sigmoid(a) * (b - a), [p for p in LOGITS if -20 <= p[0] <= 20], orders=1),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@table(DENSITIES)
def test_log_prob(case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@table(ENTROPIES)
def test_entropy(case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@table(DIVERGENCES)
def test_divergence(case, dtype):
    check(case, dtype)
