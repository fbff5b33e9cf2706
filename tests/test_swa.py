"""Averaged models, their functions, update_bn and SWALR against PyTorch's."""

import copy

import numpy as np
import pytest

import numgrad as ng
from numgrad.optim.swa_utils import (
    SWALR,
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)

torch = pytest.importorskip("torch")

DATA = np.random.default_rng(0).standard_normal((3, 8, 2)).astype(np.float32)


def model(T):
    layers = T.nn.Sequential(T.nn.Linear(2, 3), T.nn.BatchNorm1d(3), T.nn.Linear(3, 1))
    generator = np.random.default_rng(1)
    with T.no_grad():
        for p in layers.parameters():
            p.copy_(T.from_numpy(generator.standard_normal(tuple(p.shape)).astype(np.float32)))
    return layers


def averages(T, **options):
    """A model trained for a few steps, and its average."""
    layers = model(T)
    averaged = T.optim.swa_utils.AveragedModel(layers, **options)
    optimizer = T.optim.SGD(layers.parameters(), lr=0.1)
    for batch in DATA:
        optimizer.zero_grad()
        (layers(T.from_numpy(batch)) ** 2).sum().backward()
        optimizer.step()
        averaged.update_parameters(layers)
    return layers, averaged


def assert_same_state(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name].numpy(), value.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        lambda S: {}, lambda S: {"multi_avg_fn": S.get_ema_multi_avg_fn(0.9)},
        lambda S: {"multi_avg_fn": S.get_ema_multi_avg_fn(0.3)}, lambda S: {"avg_fn": S.get_ema_avg_fn(0.9)},
        lambda S: {"avg_fn": S.get_swa_avg_fn()}, lambda S: {"avg_fn": lambda averaged, current, count: current * count},
    ],
    ids=["mean", "ema multi", "fast ema multi", "ema", "swa", "own"],
)  # fmt: skip
def test_averages_agree_with_pytorch(options, use_buffers):
    _, ours = averages(ng, **options(ng.optim.swa_utils), use_buffers=use_buffers)
    _, theirs = averages(torch, **options(torch.optim.swa_utils), use_buffers=use_buffers)
    assert_same_state(ours, theirs)
    x = DATA[0]
    ours.eval(), theirs.eval()
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(ng.from_numpy(x)).detach().numpy(), expected, rtol=1e-3, atol=1e-5)
    update_bn([(ng.from_numpy(batch), None) for batch in DATA], ours)
    torch.optim.swa_utils.update_bn([(torch.from_numpy(batch), None) for batch in DATA], theirs)
    assert_same_state(ours, theirs)


def test_the_copy_is_independent_and_can_be_restored():
    layers, averaged = averages(ng)
    assert int(averaged.n_averaged) == len(DATA)
    assert all(p.requires_grad and p.is_leaf for p in averaged.parameters())
    before = averaged.module[0].weight.detach().clone()
    layers[0].weight.data.zero_()
    assert ng.equal(averaged.module[0].weight, before)
    fresh = AveragedModel(model(ng))
    fresh.load_state_dict(averaged.state_dict())
    fresh.update_parameters(layers)
    averaged.update_parameters(layers)
    assert ng.equal(fresh.module[0].weight, averaged.module[0].weight)
    assert not ng.equal(fresh.module[0].weight, before)


@pytest.mark.parametrize(
    "multi, single", [(get_swa_multi_avg_fn(), get_swa_avg_fn()), (get_ema_multi_avg_fn(0.8), get_ema_avg_fn(0.8))]
)
@pytest.mark.parametrize("dtype", [ng.float64, ng.int64])
def test_lists_are_averaged_like_single_tensors(multi, single, dtype):
    averaged = [ng.arange(6.0).view(2, 3).to(dtype), (ng.arange(6.0).view(2, 3) * 3.0).to(dtype).T]
    current = [ng.full((2, 3), 9.0).to(dtype), ng.full((3, 2), -4.0).to(dtype)]
    expected = [single(a, b, ng.tensor(3)).to(dtype) for a, b in zip(averaged, current)]
    multi(averaged, current, ng.tensor(3))
    for a, b in zip(averaged, expected):
        assert ng.allclose(a, b, rtol=1e-14)


def test_a_decay_of_zero_copies_exactly():
    averaged, current = [ng.full((3,), 1e8)], [ng.tensor([0.1, -3.3, 7e-20])]
    get_ema_multi_avg_fn(0.0)(averaged, current, 1)
    assert ng.equal(averaged[0], current[0])


def test_an_average_between_forward_and_backward_is_named():
    layers, averaged = averages(ng)
    loss = (averaged(ng.ones(4, 2)) ** 2).sum()
    averaged.update_parameters(layers)
    with pytest.raises(RuntimeError, match="AveragedModel.update_parameters"):
        loss.backward()


def test_statistics_are_restored_when_a_batch_fails():
    layers = model(ng)
    layers.eval()
    with pytest.raises(RuntimeError):
        update_bn([ng.ones(4, 2), ng.ones(4, 7)], layers)
    assert layers[1].momentum == 0.1 and not layers.training
    update_bn([], ng.nn.Linear(2, 2))  # nothing to do


def rates(T, options, tensor=False, resume_at=None):
    """The rates of two groups over ten steps of a schedule that SWALR takes over after three."""
    groups = [{"params": [T.nn.Parameter(T.ones(1))], "lr": T.tensor(lr) if tensor else lr} for lr in (0.1, 0.3)]
    optimizer = T.optim.SGD(groups, lr=0.1)
    first = T.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    second = T.optim.swa_utils.SWALR(optimizer, **options)
    found = []
    for step in range(10):
        for group in optimizer.param_groups:
            group["params"][0].grad = T.ones(1)
        optimizer.step()
        (first if step < 3 else second).step()
        found.append([float(group["lr"]) for group in optimizer.param_groups])
        assert [float(lr) for lr in (first if step < 3 else second).get_last_lr()] == found[-1]
        if step == resume_at:
            saved = copy.deepcopy(second.state_dict())
            second = T.optim.swa_utils.SWALR(optimizer, 1.0)
            for group, (a, b) in zip(optimizer.param_groups, zip(found[-1], (0.05, 0.2))):
                group["lr"], group["swa_lr"] = a, b
            second.load_state_dict(saved)
    return found


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"anneal_epochs": 4}, {"anneal_strategy": "linear", "anneal_epochs": 3}, {"anneal_epochs": 0}]
)
def test_rates_agree_with_pytorch(options, tensor):
    options = {"swa_lr": [0.05, 0.2], **options}
    expected = rates(torch, options, tensor)
    np.testing.assert_allclose(rates(ng, options, tensor), expected, rtol=1e-5)
    if not tensor:
        np.testing.assert_allclose(rates(ng, options, resume_at=5), expected, rtol=1e-5)


def test_refuses():
    layers = model(ng)
    optimizer = ng.optim.SGD(layers.parameters(), lr=0.1)
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn"):
        AveragedModel(layers, avg_fn=get_swa_avg_fn(), multi_avg_fn=get_swa_multi_avg_fn())
    with pytest.raises(ValueError, match="expected a model with 6 parameters.*got 2"):
        AveragedModel(layers).update_parameters(layers[0])
    for make in (get_ema_avg_fn, get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="Invalid decay value 1.5"):
            make(1.5)
    with pytest.raises(ValueError, match="'cos' or 'linear', instead got 'tan'|instead got tan"):
        SWALR(optimizer, 0.1, anneal_strategy="tan")
    with pytest.raises(ValueError, match="anneal_epochs must be equal or greater than 0, got -1"):
        SWALR(optimizer, 0.1, anneal_epochs=-1)
    with pytest.raises(ValueError, match="swa_lr must have the same length"):
        SWALR(optimizer, [0.1, 0.2])
    with pytest.raises(TypeError, match="not an Optimizer"):
        SWALR(layers, 0.1)
