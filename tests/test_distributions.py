"""`numgrad.distributions` against PyTorch's, from one table of classes, arguments and values."""

from types import SimpleNamespace

import numpy as np
import pytest

import numgrad as ng
from numgrad import distributions as ours

torch = pytest.importorskip("torch")
theirs = torch.distributions

REAL = [-1.5, 0.25, 2.0]
POSITIVE = [0.3, 1.0, 2.5]
ROWS = [[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]]
COVARIANCE = [[2.0, 0.5], [0.5, 1.0]]
# class, arguments, a second set for the divergence, values
CASES = [
    ("Normal", {"loc": REAL, "scale": POSITIVE}, {"loc": POSITIVE, "scale": [1.0, 2.0, 0.5]}, REAL),
    ("Laplace", {"loc": REAL, "scale": POSITIVE}, {"loc": POSITIVE, "scale": [1.0, 2.0, 0.5]}, POSITIVE),
    ("Cauchy", {"loc": REAL, "scale": POSITIVE}, {"loc": POSITIVE, "scale": [1.0, 2.0, 0.5]}, REAL),
    ("Gumbel", {"loc": REAL, "scale": POSITIVE}, {"loc": POSITIVE, "scale": [1.0, 2.0, 0.5]}, REAL),
    ("LogNormal", {"loc": REAL, "scale": POSITIVE}, {"loc": POSITIVE, "scale": [1.0, 2.0, 0.5]}, POSITIVE),
    ("Uniform", {"low": REAL, "high": [0.0, 1.0, 4.0]}, {"low": [-2.0] * 3, "high": [5.0] * 3}, [-0.5, 0.5, 3.0]),
    ("Exponential", {"rate": POSITIVE}, {"rate": [1.0, 2.0, 0.5]}, POSITIVE),
    ("HalfNormal", {"scale": POSITIVE}, {"scale": [1.0, 2.0, 0.5]}, POSITIVE),
    ("HalfCauchy", {"scale": POSITIVE}, None, POSITIVE),
    ("Bernoulli", {"probs": [0.2, 0.7]}, {"logits": [0.3, -1.0]}, [1.0, 0.0]),
    ("Bernoulli", {"logits": [0.2, -0.7]}, {"probs": [0.3, 0.9]}, [1.0, 0.0]),
    ("Geometric", {"probs": [0.2, 0.7]}, {"logits": [0.3, -1.0]}, [3.0, 0.0]),
    ("Poisson", {"rate": POSITIVE}, {"rate": [1.0, 2.0, 0.5]}, [0.0, 1.0, 4.0]),
    ("Categorical", {"probs": ROWS}, {"logits": [[0.1, 0.2, -0.5]]}, [2, 0]),
    ("OneHotCategorical", {"logits": ROWS}, {"probs": [[0.1, 0.2, 0.7]]}, [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
    ("OneHotCategoricalStraightThrough", {"probs": ROWS}, None, [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
    ("Multinomial", {"total_count": 4, "probs": ROWS}, None, [[1.0, 1.0, 2.0], [0.0, 3.0, 1.0]]),
    ("MultivariateNormal", {"loc": [0.5, -1.0], "covariance_matrix": COVARIANCE},
     {"loc": [0.0, 0.3], "scale_tril": [[1.0, 0.0], [0.4, 0.7]]}, [1.0, -2.0]),
    ("MultivariateNormal", {"loc": [0.5, -1.0], "precision_matrix": COVARIANCE}, None, [0.1, 0.2]),
    ("Gamma", {"concentration": [0.5, 2.0, 7.0], "rate": POSITIVE}, {"concentration": [1.0, 2.5, 0.3], "rate": [2.0] * 3}, POSITIVE),
    ("Chi2", {"df": [1.0, 3.0, 8.0]}, {"df": [2.0, 2.5, 0.7]}, POSITIVE),
    ("InverseGamma", {"concentration": [0.5, 2.5, 7.0], "rate": POSITIVE}, {"concentration": [1.0] * 3, "rate": [2.0] * 3},
     POSITIVE),
    ("Beta", {"concentration1": [0.7, 2.0, 1.5], "concentration0": [1.2, 3.0, 0.5]},
     {"concentration1": [1.0] * 3, "concentration0": [2.0, 1.0, 0.5]}, [0.2, 0.5, 0.9]),
    ("Dirichlet", {"concentration": [[0.5, 1.5, 2.0], [3.0, 0.8, 1.1]]}, {"concentration": [1.0, 2.0, 0.5]}, ROWS),
    ("StudentT", {"df": [0.8, 1.5, 4.0], "loc": REAL, "scale": POSITIVE}, None, POSITIVE),
    ("FisherSnedecor", {"df1": [1.0, 3.0, 5.0], "df2": [1.5, 3.0, 6.0]}, None, POSITIVE),
    ("Binomial", {"total_count": 5, "probs": [0.2, 0.7]}, {"total_count": 5, "logits": [0.3, -1.0]}, [3.0, 0.0]),
    ("Binomial", {"total_count": [5.0, 5.0], "logits": [0.2, -0.7]}, None, [5.0, 2.0]),
    ("NegativeBinomial", {"total_count": [5.0, 2.5], "probs": [0.2, 0.7]}, None, [3.0, 0.0]),
    ("NegativeBinomial", {"total_count": 3, "logits": [0.2, -0.7]}, None, [3.0, 0.0]),
    ("Pareto", {"scale": POSITIVE, "alpha": [0.7, 1.5, 4.0]}, {"scale": [0.2, 2.0, 1.0], "alpha": [2.0] * 3}, [1.0, 2.0, 3.0]),
    ("Weibull", {"scale": POSITIVE, "concentration": [1.5, 1.0, 4.0]}, None, POSITIVE),
    ("GeneralizedPareto", {"loc": REAL, "scale": POSITIVE, "concentration": [0.3, 0.0, -0.5]}, None, [-1.0, 0.5, 3.0]),
    ("VonMises", {"loc": REAL, "concentration": POSITIVE}, None, REAL),
    ("ContinuousBernoulli", {"probs": [0.2, 0.5, 0.8]}, {"logits": [0.3, -1.0, 0.0]}, [0.3, 0.6, 0.9]),
    ("ContinuousBernoulli", {"logits": [0.2, -1.5, 0.0]}, None, [0.3, 0.6, 0.9]),
    ("LogisticNormal", {"loc": [0.2, -1.5], "scale": [0.5, 1.0]}, None, ROWS[0]),
    ("RelaxedBernoulli", {"temperature": 0.7, "probs": [0.2, 0.7]}, None, [0.3, 0.6]),
    ("RelaxedBernoulli", {"temperature": 0.7, "logits": [0.2, -0.7]}, None, [0.3, 0.6]),
    ("RelaxedOneHotCategorical", {"temperature": 0.7, "probs": ROWS}, None, ROWS),
    ("RelaxedOneHotCategorical", {"temperature": 0.7, "logits": ROWS}, None, ROWS),
    ("LowRankMultivariateNormal", {"loc": [0.5, -1.0], "cov_factor": [[0.5], [-0.3]], "cov_diag": [0.4, 0.9]},
     {"loc": [0.0, 0.3], "cov_factor": [[1.0], [0.3]], "cov_diag": [0.7, 0.6]}, [1.0, -2.0]),
    ("LKJCholesky", {"dim": 3, "concentration": [0.7, 2.0]}, None, [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]]),
    ("Wishart", {"df": 3.5, "covariance_matrix": COVARIANCE}, {"df": 2.5, "precision_matrix": COVARIANCE}, COVARIANCE),
    ("Wishart", {"df": [3.5, 4.0], "precision_matrix": COVARIANCE}, None, COVARIANCE),
    ("Kumaraswamy", {"concentration1": [0.7, 2.0, 1.5], "concentration0": [0.5, 0.9, 0.5]}, None, [0.2, 0.5, 0.9]),
]  # fmt: skip
IDS = [f"{name}-{'-'.join(arguments)}" for name, arguments, _, _ in CASES]
each = pytest.mark.parametrize("name, arguments, other, value", CASES, ids=IDS)


def _made(library, name, arguments):
    """The distribution, and its parameters that require grad."""
    module = ours if library is ng else theirs
    leaves = {k: v if isinstance(v, int) else library.tensor(v, requires_grad=True) for k, v in arguments.items()}
    return getattr(module, name)(**leaves), [v for v in leaves.values() if not isinstance(v, int)]


def _result(library, found, leaves):
    """The value, and the gradients of its weighted sum."""
    found = found if found is not None else library.zeros(())
    shown = [found.detach().numpy()]
    if found.requires_grad:
        weight = library.tensor(np.linspace(0.5, 1.5, found.numel(), dtype=np.float32).reshape(tuple(found.shape)))
        grads = library.autograd.grad((found * weight).sum(), leaves, allow_unused=True)
        shown += [np.zeros(1) if g is None else g.numpy() for g in grads]
    return shown


# PyTorch approximates the derivatives of gamma numbers.
ROUGH = {"Gamma", "Chi2", "InverseGamma", "Beta", "Dirichlet", "StudentT", "FisherSnedecor", "Wishart"}


def _agree(ask, cases, rough=2e-5):
    mine, torchs = [(_result(library, ask(library, *case), case[-1])) for library, case in cases]
    assert len(mine) == len(torchs)
    for k, (a, b) in enumerate(zip(mine, torchs)):
        if a.size == 1 and a.dtype == np.float64:  # an absent gradient may be a gradient of zeros
            assert not np.any(b)
            continue
        np.testing.assert_allclose(a, b, rtol=rough if k else 2e-5, atol=3e-6 if rough < 1e-4 or not k else 3e-3)


def _pairs(name, arguments):
    return [(library, _made(library, name, arguments)) for library in (ng, torch)]


@each
@pytest.mark.parametrize("what", ["log_prob", "cdf", "entropy", "mean", "mode", "variance", "icdf", "enumerate_support"])
def test_values_and_gradients(name, arguments, other, value, what):
    def ask(library, dist, leaves):
        attribute = getattr(dist, what)
        if what == "icdf":
            return attribute(library.full((1,), 0.3))
        if not callable(attribute):
            return attribute
        if what == "cdf" and name in ROUGH:  # no derivative with respect to the shape
            return attribute(library.tensor(value)).detach()
        return attribute(library.tensor(value)) if what in ("log_prob", "cdf") else attribute()

    if (name, what) == ("Kumaraswamy", "mode"):  # PyTorch's formula gives NaN; see test_mode_of_kumaraswamy
        return
    if name == "ContinuousBernoulli" and what in ("mean", "variance"):  # PyTorch's cancel; see test_digits_of_distributions
        return
    pairs = _pairs(name, arguments)
    try:
        ask(torch, *pairs[1][1])
    except NotImplementedError:
        with pytest.raises(NotImplementedError):
            ask(ng, *pairs[0][1])
        return
    _agree(ask, pairs)


def test_mean_of_continuous_bernoulli_near_a_half():
    logits = ng.tensor([0.2, 1e-3, 0.0], requires_grad=True)
    mean = ng.distributions.ContinuousBernoulli(logits=logits).mean
    mean.sum().backward()
    np.testing.assert_allclose(mean.detach().numpy(), [0.516655566127, 0.500083333332, 0.5], rtol=3e-7)
    np.testing.assert_allclose(logits.grad.numpy(), [0.083166930847, 0.083333329167, 0.083333333333], rtol=1e-6)


@each
def test_samples_follow_the_seed(name, arguments, other, value):
    def ask(method):
        def draw(library, dist, leaves):
            library.manual_seed(3)
            return getattr(dist, method)((4, 5))

        return draw

    pairs = _pairs(name, arguments)
    if name == "Wishart":  # PyTorch draws again what is not singular
        pairs[1][1][0].support = SimpleNamespace(check=lambda drawn: torch.zeros(drawn.shape[:-2], dtype=torch.bool))
    assert pairs[0][1][0].has_rsample == pairs[1][1][0].has_rsample
    _agree(ask("sample"), pairs)
    if pairs[1][1][0].has_rsample:
        _agree(ask("rsample"), pairs, 3e-3 if name in ROUGH else 2e-5)


@pytest.mark.parametrize("name, arguments, other", [case[:3] for case in CASES if case[2]], ids=lambda v: str(v)[:20])
def test_divergence(name, arguments, other):
    def ask(library, dist, leaves):
        module = ours if library is ng else theirs
        return module.kl_divergence(dist, _made(library, name, other)[0])

    _agree(ask, _pairs(name, arguments))


@pytest.mark.filterwarnings("ignore:Singular sample")
@each
def test_expand_and_shapes(name, arguments, other, value):
    (_, (mine, _)), (_, (its, _)) = _pairs(name, arguments)
    mine, its = mine.expand((4, *mine.batch_shape)), its.expand((4, *its.batch_shape))
    assert tuple(mine.batch_shape) == tuple(its.batch_shape) and tuple(mine.event_shape) == tuple(its.event_shape)
    assert tuple(mine.sample((2,)).shape) == tuple(its.sample((2,)).shape)
    np.testing.assert_allclose(
        mine.log_prob(ng.tensor(value)).detach(), its.log_prob(torch.tensor(value)).detach(), rtol=2e-5, atol=3e-6
    )


def test_errors_name_the_parameter_and_the_constraint():
    with pytest.raises(ValueError, match="Expected parameter scale .*GreaterThan"):
        ours.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match="within the support"):
        ours.Bernoulli(0.5).log_prob(ng.tensor(0.3))
    with pytest.raises(ValueError, match="not broadcastable"):
        ours.Normal(ng.zeros(3), 1.0).log_prob(ng.zeros(2))
    with pytest.raises(ValueError, match="not both"):
        ours.Categorical()
    with pytest.raises(NotImplementedError, match="register_kl"):
        ours.kl_divergence(ours.Normal(0.0, 1.0), ours.Poisson(1.0))
    assert ours.Normal(0.0, -1.0, validate_args=False).scale.item() == -1.0


def test_independent():
    base = ours.Normal(ng.zeros(2, 3), ng.ones(2, 3))
    dist = ours.Independent(base, 1)
    assert dist.batch_shape == (2,) and dist.event_shape == (3,)
    value = ng.ones(2, 3)
    np.testing.assert_allclose(dist.log_prob(value), base.log_prob(value).sum(-1))
    np.testing.assert_allclose(ours.kl_divergence(dist, dist), np.zeros(2))


def test_mode_of_kumaraswamy():
    dist = ours.Kumaraswamy(ng.tensor([2.0, 3.0]), ng.tensor([3.0, 1.5]))
    for step in (-1e-2, 1e-2):
        assert (dist.log_prob(dist.mode + step) < dist.log_prob(dist.mode)).all()
    assert ours.Kumaraswamy(0.5, 2.0).mode.isnan()


@pytest.mark.parametrize(("concentration", "expected"), [(0.5, np.inf), (1.0, -np.log(2)), (3.0, -np.inf)])
def test_density_of_weibull_at_0(concentration, expected):
    dist = ours.Weibull(2.0, concentration, validate_args=False)
    assert dist.log_prob(ng.tensor(0.0)).item() == pytest.approx(expected)


POINTS = {
    "Beta": {"concentration1": [0.7, 2.0], "concentration0": [1.2, 3.0]}, "Exponential": {"rate": [0.3, 2.0]},
    "Gamma": {"concentration": [0.5, 2.0], "rate": [0.3, 2.0]}, "Gumbel": {"loc": [-0.5, 2.0], "scale": [0.6, 2.0]},
    "Laplace": {"loc": [-1.5, 2.0], "scale": [0.3, 2.0]}, "Normal": {"loc": [-0.5, 2.0], "scale": [0.6, 2.0]},
    "Pareto": {"scale": [0.3, 1.5], "alpha": [0.7, 4.0]}, "Uniform": {"low": [-0.5, 0.3], "high": [2.0, 0.9]},
    "ContinuousBernoulli": {"probs": [0.2, 0.7]}, "Poisson": {"rate": [0.3, 2.0]}, "Bernoulli": {"probs": [0.3, 0.6]}, "Binomial": {"total_count": 3, "probs": [0.3, 0.6]},
}  # fmt: skip


@pytest.mark.parametrize("first", POINTS)
def test_divergence_of_different_classes(first):
    for second in POINTS:
        found = []
        for library, module in ((ng, ours), (torch, theirs)):
            made = [_made(library, name, POINTS[name])[0] for name in (first, second)]
            try:
                found.append(module.kl_divergence(*made).detach().numpy())
            except NotImplementedError:
                found.append(None)
        assert (found[0] is None) == (found[1] is None), second
        if found[1] is not None:
            np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5, err_msg=second)


def test_divergence_of_low_rank_normals():
    for first, second in (("MultivariateNormal", "LowRankMultivariateNormal"), ("LowRankMultivariateNormal", "MultivariateNormal")):
        arguments = {case[0]: case[1] for case in CASES if case[0] in (first, second)}
        found = []
        for library, module in ((ng, ours), (torch, theirs)):
            p, q = (_made(library, name, arguments[name])[0] for name in (first, second))
            found.append(module.kl_divergence(p, q).item())
        np.testing.assert_allclose(*found, rtol=1e-4)


def _mixture(library, module, batch=(3,), event=False):
    loc = library.linspace(-1, 2, int(np.prod(batch)) * (2 if event else 1)).reshape(*batch, *([2] if event else []))
    parts = module.Normal(loc, 0.7)
    weights = library.arange(1, int(np.prod(batch)) + 1).reshape(batch).to(library.float32)
    return module.MixtureSameFamily(module.Categorical(weights), module.Independent(parts, 1) if event else parts)


@pytest.mark.parametrize("options", [{}, {"batch": (2, 3)}, {"event": True}], ids=["plain", "batch", "event"])
def test_mixture(options):
    mine, its = (_mixture(library, module, **options) for library, module in ((ng, ours), (torch, theirs)))
    assert (mine.batch_shape, mine.event_shape) == (tuple(its.batch_shape), tuple(its.event_shape))
    for what in ("mean", "variance"):
        np.testing.assert_allclose(getattr(mine, what), getattr(its, what), rtol=1e-5)
    ng.manual_seed(1), torch.manual_seed(1)
    drawn = mine.sample((5,)), its.sample((5,))
    np.testing.assert_allclose(*drawn, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mine.log_prob(drawn[0]), its.log_prob(drawn[1]), rtol=1e-5)
    if not options.get("event"):
        np.testing.assert_allclose(mine.cdf(drawn[0]), its.cdf(drawn[1]), rtol=1e-5)
    assert mine.expand((4, *mine.batch_shape)).sample().shape == (4, *its.batch_shape, *its.event_shape)
    assert repr(mine) == repr(its)
    with pytest.raises(ValueError, match="Mixture distribution needs"):
        ours.MixtureSameFamily(mine.component_distribution, mine.component_distribution)
    with pytest.raises(ValueError, match="does not equal"):
        ours.MixtureSameFamily(ours.Categorical(ng.ones(7)), ours.Normal(ng.zeros(2), 1.0))


def test_errors_of_matrices():
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        ours.LKJCholesky(1)
    with pytest.raises(ValueError, match="greater than ndim - 1"):
        ours.Wishart(1.0, ng.eye(2))
    with pytest.raises(ValueError, match="Exactly one"):
        ours.Wishart(3.0)
    with pytest.raises(ValueError, match="matrices with shape 2 x m"):
        ours.LowRankMultivariateNormal(ng.zeros(2), ng.ones(3, 1), ng.ones(2))
    with pytest.warns(UserWarning, match="Low df"):
        ours.Wishart(1.5, ng.eye(2))


@pytest.mark.parametrize("diag", [-2, -1, 0, 1, 2])
def test_triangles_as_vectors(diag):
    def found(T):
        utils = T.distributions.utils
        vector = utils.tril_matrix_to_vec(T.arange(18.0).reshape(2, 3, 3), diag)
        return vector, utils.vec_to_tril_matrix(vector, diag)

    mine = found(ng)
    assert mine[0].tolist() == found(torch)[0].tolist() and mine[1].tolist() == ng.arange(18.0).reshape(2, 3, 3).tril(diag).tolist()
    with pytest.raises(ValueError, match="lower triangular part"):
        ours.utils.vec_to_tril_matrix(ng.ones(2))


def test_other_forms_of_parameters():
    p = [0.01, 0.25, 0.875]
    for binary in (True, False):
        for f in ("probs_to_logits", "logits_to_probs"):
            mine, other = (getattr(T.distributions.utils, f)(T.tensor(p), binary).tolist() for T in (ng, torch))
            assert mine == pytest.approx(other, rel=1e-5)


def test_what_classes_say_about_their_supports():
    """A class knows ``event_dim`` and ``is_discrete`` or says that it does not, as PyTorch's."""

    def said(cls, name):
        try:
            return getattr(cls.support, name)
        except NotImplementedError:
            return None

    for name in {case[0] for case in CASES} | {"TransformedDistribution", "Independent", "MixtureSameFamily", "Binomial", "Multinomial"}:
        for what in ("event_dim", "is_discrete"):
            assert said(getattr(ours, name), what) == said(getattr(theirs, name), what), (name, what)


def test_distributions_that_say_nothing_warn():
    class Delta(ours.Distribution):
        def log_prob(self, value):
            self._validate_sample(value)
            return value

    with pytest.warns(UserWarning, match="arg_constraints"):
        delta = Delta()
    with pytest.warns(UserWarning, match="support"):
        delta.log_prob(ng.zeros(2))
    assert repr(delta) == "Delta()"
    with pytest.raises(ValueError, match="transforms must be"):
        ours.TransformedDistribution(ours.Normal(0, 1), lambda x: x)


FAMILIES = {
    "Gamma": lambda: ours.Gamma(ng.tensor([0.7, 3.0]), ng.tensor([2.0, 0.4])), "Chi2": lambda: ours.Chi2(ng.tensor([0.7, 3.0])),
    "Beta": lambda: ours.Beta(ng.tensor([0.7, 3.0]), ng.tensor([2.0, 0.4])), "Dirichlet": lambda: ours.Dirichlet(ng.tensor([[0.7, 3.0]])),
    "Wishart": lambda: ours.Wishart(ng.tensor(5.0), ng.eye(2) * 0.7),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_the_entropy_of_a_family_is_right_or_refused(name):
    found = FAMILIES[name]()
    try:
        entropy = ours.ExponentialFamily.entropy(found)
    except NotImplementedError as error:
        assert "mean carrier measure" in str(error) and name in ("Beta", "Dirichlet")
    else:
        ng.testing.assert_close(entropy, found.entropy(), rtol=1e-4, atol=1e-5)
