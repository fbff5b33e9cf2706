"""Every optimizer against PyTorch's: the same parameters after each of ten steps, several tensors in one group."""

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")

SHAPES = [(3, 4), (), (7,), (2, 1, 3), (300,)]
SETTINGS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}), ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "amsgrad": True}), ("AdamW", {"lr": 0.01}), ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}), ("Adadelta", {}), ("Adadelta", {"weight_decay": 0.1, "maximize": True}), ("Adamax", {}),
    ("Adamax", {"weight_decay": 0.1}), ("NAdam", {"momentum_decay": 0.01}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}), ("RAdam", {}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}), ("Rprop", {}), ("Rprop", {"etas": (0.4, 1.3), "maximize": True}),
    ("ASGD", {"t0": 3, "lambd": 0.1}), ("ASGD", {"weight_decay": 0.1}), ("Adafactor", {}),
    ("Adafactor", {"weight_decay": 0.1, "maximize": True, "d": 1.5, "eps": (0.5, 1e-2)}), ("Muon", {"lr": 0.01}),
    ("Muon", {"lr": 0.01, "nesterov": False, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "momentum": 0.8}),
]  # fmt: skip
MATRICES = [(3, 4), (7, 2), (1, 5), (16, 20)]


def losses(T, parameters):
    return sum(((p * (k + 1.0)).sin() + p * p).sum() for k, p in enumerate(parameters))


@pytest.mark.parametrize("name, options", SETTINGS, ids=lambda x: x if isinstance(x, str) else "-".join(x) or "default")
def test_steps_agree_with_pytorch(name, options):
    generator = np.random.default_rng(0)
    shapes = MATRICES if name == "Muon" else SHAPES
    values = [np.asarray(generator.standard_normal(shape), np.float32) for shape in shapes]
    ours = [ng.nn.Parameter(ng.from_numpy(v.copy())) for v in values]
    theirs = [torch.nn.Parameter(torch.from_numpy(v.copy())) for v in values]
    halves = lambda p: [{"params": p[:3]}, {"params": p[3:], "lr": 0.02}]  # noqa: E731
    mine, its = getattr(ng.optim, name)(halves(ours), **options), getattr(torch.optim, name)(halves(theirs), **options)
    for step in range(10):
        for T, parameters, optimizer in ((ng, ours, mine), (torch, theirs, its)):
            optimizer.zero_grad()
            losses(T, parameters if step != 4 else parameters[1:]).backward()  # one without a gradient
            optimizer.step()
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=1e-6)
    kept, expected = mine.state_dict(), its.state_dict()
    assert {k: sorted(v) for k, v in kept["state"].items()} == {k: sorted(v) for k, v in expected["state"].items()}
    fresh = getattr(ng.optim, name)(halves([ng.nn.Parameter(p.detach().clone()) for p in ours]), **options)
    fresh.load_state_dict(kept)
    for a, b in zip(fresh.param_groups, mine.param_groups, strict=True):
        for p, q in zip(a["params"], b["params"], strict=True):
            p.grad = q.grad = ng.ones_like(p)
    fresh.step()
    mine.step()
    for a, b in zip(fresh.param_groups, mine.param_groups):
        for p, q in zip(a["params"], b["params"]):
            assert ng.equal(p, q)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (20, 20)])
def test_orthogonalized_steps_have_singular_values_near_one(shape):
    matrix = ng.from_numpy(np.random.default_rng(0).standard_normal(shape))
    step = ng.optim.muon.orthogonalized(matrix)
    assert step.dtype is ng.float32
    singular = np.linalg.svd(step.numpy(), compute_uv=False)
    assert singular.min() > 0.4 and singular.max() < 1.3


def test_orthogonalized_rounds_like_bfloat16():
    matrix = np.random.default_rng(1).standard_normal((40, 24)).astype(np.float32)
    found = ng.optim.muon.orthogonalized(ng.from_numpy(matrix), steps=0)
    expected = torch.from_numpy(matrix).bfloat16()
    expected = expected / expected.norm()
    np.testing.assert_array_equal(found.numpy(), expected.float().numpy())
    ties = np.array([1.0, 3.0, -1.0, -3.0, 0.0], np.float32) * np.float32(2.0**-8) + np.float32(1.0)
    rounded = ng.optim.muon._rounded(ng.from_numpy(ties))
    np.testing.assert_array_equal(rounded.numpy(), torch.from_numpy(ties).bfloat16().float().numpy())


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_frozen_and_idle_parameters_do_not_move(name):
    still, frozen = ng.nn.Parameter(ng.ones(2, 3)), ng.nn.Parameter(ng.ones(2, 3), requires_grad=False)
    frozen.grad = ng.ones(2, 3)
    optimizer = getattr(ng.optim, name)([still, frozen])
    with pytest.warns(UserWarning, match=f"{name}.step.. changed nothing: none of its 2 parameters has a gradient"):
        optimizer.step()
    assert ng.equal(still, ng.ones(2, 3)) and ng.equal(frozen, ng.ones(2, 3)) and not optimizer.state
    assert optimizer.step(lambda: (still * still).sum().backward() or 7) == 7
    assert not ng.equal(still, ng.ones(2, 3)) and ng.equal(frozen, ng.ones(2, 3))


def test_a_step_between_forward_and_backward_is_named():
    weight = ng.nn.Parameter(ng.ones(2, 2))
    optimizer = ng.optim.Muon([weight])
    loss = (weight * weight).sum()
    weight.grad = ng.ones(2, 2)
    optimizer.step()
    with pytest.raises(RuntimeError, match="Muon.step"):
        loss.backward()


@pytest.mark.parametrize(
    "make, error",
    [
        (lambda p: ng.optim.Muon([ng.nn.Parameter(ng.ones(3))]), "only supports 2D parameters, but got one of shape .3."),
        (lambda p: ng.optim.Muon([p], adjust_lr_fn="rms"), "function rms is not supported; expected one of"),
        (lambda p: ng.optim.Muon([p], momentum=-1), "Invalid momentum value: -1"),
        (lambda p: ng.optim.Adafactor([p], beta2_decay=0.5), "Invalid beta2_decay value: 0.5"),
        (lambda p: ng.optim.Adafactor([p], d=0.5), "Invalid clipping threshold d: 0.5"),
        (lambda p: ng.optim.Adafactor([p], eps=(-1.0, 1e-3)), "Invalid epsilon1 value: -1.0"),
        (lambda p: ng.optim.muon.orthogonalized(p, (1.0, 2.0)), "exactly 3 numbers, got 2"),
        (lambda p: ng.optim.muon.orthogonalized(p, steps=100), "less than 100, got 100"),
    ],
)  # fmt: skip
def test_options_out_of_range(make, error):
    with pytest.raises(ValueError, match=error):
        make(ng.nn.Parameter(ng.ones(2, 2)))


@pytest.mark.parametrize(
    "name, options", [("Adagrad", {"initial_accumulator_value": 0.5}), ("Rprop", {"lr": 0.25})], ids=lambda v: str(v)
)
def test_states_of_complex_parameters_begin_as_those_of_their_parts(name, options):
    values = np.array([1 + 2j, -3 + 0.5j])
    z = ng.from_numpy(values.copy()).requires_grad_()
    pairs = ng.view_as_real(ng.from_numpy(values.copy())).clone().requires_grad_()
    optimizers = [getattr(ng.optim, name)([p], **options) for p in (z, pairs)]
    for _ in range(3):
        z.grad, pairs.grad = ng.from_numpy(values * 2j), ng.view_as_real(ng.from_numpy(values * 2j))
        for optimizer in optimizers:
            optimizer.step()
    assert ng.equal(ng.view_as_real(z.detach()), pairs.detach())
