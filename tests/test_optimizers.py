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
    ("ASGD", {"t0": 3, "lambd": 0.1}), ("ASGD", {"weight_decay": 0.1}),
]  # fmt: skip


def losses(T, parameters):
    return sum(((p * (k + 1.0)).sin() + p * p).sum() for k, p in enumerate(parameters))


@pytest.mark.parametrize("name, options", SETTINGS, ids=lambda x: x if isinstance(x, str) else "-".join(x) or "default")
def test_steps_agree_with_pytorch(name, options):
    generator = np.random.default_rng(0)
    values = [np.asarray(generator.standard_normal(shape), np.float32) for shape in SHAPES]
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
