"""LBFGS against PyTorch's, evaluation by evaluation, and what it refuses."""

import copy
import pickle

import numpy as np
import pytest

import numgrad as ng
from numgrad.optim.strong_wolfe import Trial, strong_wolfe

torch = pytest.importorskip("torch")

OPTIONS = [
    {}, {"line_search_fn": "strong_wolfe"}, {"lr": 0.1, "history_size": 2, "max_iter": 5},
    {"lr": 0.01, "line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 3},
    {"line_search_fn": "strong_wolfe", "max_eval": 3}, {"max_eval": 2, "tolerance_grad": 1e-3},
    {"lr": 5.0, "line_search_fn": "strong_wolfe", "max_iter": 6},
    {"max_iter": 8, "tolerance_change": 0.05, "lr": 0.1},
]  # fmt: skip
SHAPES = [(3, 2), (), (4,)]


def rosenbrock(parameters):
    """A curved valley through all numbers, in which step lengths matter."""
    a, b, c = parameters
    total = (1.0 - b) ** 2
    for x, y in ((a[:, 0], a[:, 1]), (c[:2], c[2:])):
        total = total + ((1.0 - x) ** 2).sum() + 30.0 * ((y - x * x) ** 2).sum()
    return total + 0.1 * (a.sum() - b * c.sum()) ** 2


def training(T, options, values):
    """The optimizer, its closure, and the losses that the closure has returned."""
    parameters = [T.nn.Parameter(T.from_numpy(v.copy())) for v in values]
    optimizer = T.optim.LBFGS(parameters, **options)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(parameters)
        loss.backward()
        losses.append(loss.item())
        return loss

    return optimizer, closure, losses


def values():
    generator = np.random.default_rng(3)
    return [np.asarray(generator.uniform(-1.0, 1.0, shape)) for shape in SHAPES]


def flat(parameters):
    return np.concatenate([p.detach().numpy().reshape(-1) for p in parameters])


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.items())) or "default")
def test_evaluations_agree_with_pytorch(options):
    optimizer, closure, losses = training(ng, options, values())
    other, other_closure, expected = training(torch, options, values())
    for _ in range(4):
        first, other_first = optimizer.step(closure), other.step(other_closure)
        np.testing.assert_allclose(first.item(), other_first.item(), rtol=1e-6)
    assert len(losses) == len(expected)
    np.testing.assert_allclose(losses, expected, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(
        flat(optimizer.param_groups[0]["params"]), flat(other.param_groups[0]["params"]), rtol=1e-6
    )
    state, other_state = optimizer.state_dict()["state"], other.state_dict()["state"]
    assert list(state) == list(other_state) and set(state[0]) == set(other_state[0])
    for name in ("func_evals", "n_iter"):
        assert state[0][name] == other_state[0][name]
    for name in ("old_dirs", "old_stps", "ro"):
        ours, theirs = state[0].get(name, []), other_state[0].get(name, [])
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-7)


LINES = {
    "quartic": lambda x: (x - 1.0) ** 4 - x, "waves": lambda x: x * x - 3.0 * (5.0 * x).cos() - 4.0 * x,
    "valley": lambda x: ((x - 2.0) ** 2 + 1e-3) ** 0.25, "falling": lambda x: -x, "wall": lambda x: x.exp() - 20.0 * x,
    "steps": lambda x: (20.0 * x).sin() * 0.1 - x + 0.05 * x * x * x,
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_line_searches_agree_with_pytorch(name):
    from torch.optim.lbfgs import _strong_wolfe

    def evaluated(T, t):
        x = T.tensor([float(t)], dtype=T.float64, requires_grad=True)
        loss = LINES[name](x).sum()
        loss.backward()
        return loss.item(), x.grad

    def trial(t):
        loss, gradient = evaluated(ng, t)
        return Trial(t, loss, gradient, gradient.item())

    for t in (0.01, 0.3, 1.0, 4.0, 30.0):
        for limit in (0, 1, 2, 3, 25):
            loss, gradient = evaluated(torch, 0.0)
            one = torch.ones(1, dtype=torch.float64)
            along = lambda x, t, d: evaluated(torch, t)  # noqa: E731
            found, slope, step, count = _strong_wolfe(
                along, None, t, one, loss, gradient, gradient.dot(one), max_ls=limit
            )
            best, made = strong_wolfe(trial, trial(0.0), t, length=1.0, limit=limit)
            assert made == count
            np.testing.assert_allclose(
                [best.t, best.loss, best.slope], [float(step), found, slope.item()], rtol=1e-6, atol=1e-9
            )


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_resumes_from_a_state_dict(search):
    options = {"lr": 0.5, "line_search_fn": search, "max_iter": 3}
    optimizer, closure, losses = training(ng, options, values())
    for _ in range(3):
        optimizer.step(closure)
    parameters = optimizer.param_groups[0]["params"]
    saved, before = copy.deepcopy(optimizer.state_dict()), [p.detach().numpy().copy() for p in parameters]
    resumed, its_closure, its_losses = training(ng, {}, before)
    resumed.load_state_dict(saved)
    start = len(losses)
    for _ in range(2):
        optimizer.step(closure)
        resumed.step(its_closure)
    assert its_losses == losses[start:]
    again = pickle.loads(pickle.dumps(resumed))
    assert again.state_dict()["state"][0]["n_iter"] == resumed.state_dict()["state"][0]["n_iter"] > 5


def test_minimizes_in_one_step_with_a_tensor_as_rate():
    x = ng.nn.Parameter(ng.full((2, 3), 4.0))
    optimizer = ng.optim.LBFGS([x], lr=ng.tensor(1.0), line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad(set_to_none=False)
        loss = ((x - 1.0) ** 4).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(486.0)
    assert (x - 1.0).abs().max().item() < 0.05


def test_without_history_it_descends_along_the_scaled_gradient():
    optimizer, closure, losses = training(ng, {"history_size": 0, "lr": 0.1}, values())
    optimizer.step(closure)
    assert len(losses) == 20 and losses[-1] < 0.2 * losses[0] and not optimizer.state_dict()["state"][0]["ro"]


def test_parameters_without_gradient_stay():
    x, unused = ng.nn.Parameter(ng.ones(3)), ng.nn.Parameter(ng.ones(2))
    frozen = ng.nn.Parameter(ng.ones(2), requires_grad=False)
    frozen.grad = ng.ones(2)
    optimizer = ng.optim.LBFGS([unused, x, frozen])

    def closure():
        x.grad = None
        loss = (x * x).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert x.abs().max().item() < 1e-5
    assert ng.equal(unused, ng.ones(2)) and ng.equal(frozen, ng.ones(2))


def test_says_when_nothing_has_a_gradient():
    x = ng.nn.Parameter(ng.ones(3))
    optimizer = ng.optim.LBFGS([x])
    with pytest.warns(UserWarning, match="LBFGS.step.. changed nothing"):
        optimizer.step(lambda: (x * x).sum().detach())
    assert ng.equal(x, ng.ones(3))


def test_refuses():
    x, y = ng.nn.Parameter(ng.ones(1)), ng.nn.Parameter(ng.ones(1))
    with pytest.raises(ValueError, match="parameter groups"):
        ng.optim.LBFGS([{"params": [x]}, {"params": [y]}])
    optimizer = ng.optim.LBFGS([x])
    with pytest.raises(ValueError, match="parameter groups"):
        optimizer.add_param_group({"params": [y]})
    assert len(optimizer.param_groups) == 1
    with pytest.raises(TypeError, match="expected a closure"):
        optimizer.step()
    with pytest.raises(ValueError, match="learning rate"):
        ng.optim.LBFGS([x], lr=-1.0)
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        ng.optim.LBFGS([x], line_search_fn="armijo").step(lambda: x.sum())


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_complex_parameters_are_pairs_of_real_ones(search):
    values = np.random.default_rng(0).standard_normal((2, 3)) + 1j

    def descended(T, pairs):
        z = T.from_numpy(np.stack([values.real, values.imag], -1) if pairs else values.copy()).requires_grad_()
        still = T.zeros(2, dtype=T.complex128, requires_grad=True)
        optimizer = T.optim.LBFGS([z, still], lr=0.3, max_iter=4, line_search_fn=search)

        def closure():
            optimizer.zero_grad()
            w = T.view_as_complex(z) if pairs else z
            loss = ((w - (2 - 1j)) ** 2 * w).abs().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        found = (T.view_as_complex(z) if pairs else z).detach().numpy()
        assert np.abs(still.detach().numpy()).max() == 0
        return found

    ours = descended(ng, False)
    np.testing.assert_allclose(ours, descended(torch, False), rtol=1e-9)
    np.testing.assert_allclose(ours, descended(ng, True), rtol=1e-12)
    assert np.abs(ours - values).max() > 0.1
