"""Every scheduler against PyTorch's: rates as numbers and as Tensors, closed forms, state dicts, the order of steps."""

import copy
import warnings

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")

MAKERS = {
    "LambdaLR": lambda S, o, **k: S.LambdaLR(o, [lambda step: 0.9**step, lambda step: 1.0 / (1 + step)], **k),
    "MultiplicativeLR": lambda S, o, **k: S.MultiplicativeLR(o, lambda step: 0.95, **k),
    "StepLR": lambda S, o, **k: S.StepLR(o, 3, **k),
    "MultiStepLR": lambda S, o, **k: S.MultiStepLR(o, [2, 5, 5, 9], gamma=0.3, **k),
    "ConstantLR": lambda S, o, **k: S.ConstantLR(o, 0.5, 4, **k),
    "LinearLR": lambda S, o, **k: S.LinearLR(o, 0.25, total_iters=6, **k),
    "ExponentialLR": lambda S, o, **k: S.ExponentialLR(o, 0.8, **k),
    "PolynomialLR": lambda S, o, **k: S.PolynomialLR(o, 8, 2.0, **k),
    "CosineAnnealingLR": lambda S, o, **k: S.CosineAnnealingLR(o, 5, eta_min=1e-3, **k),
    "CosineAnnealingWarmRestarts": lambda S, o, **k: S.CosineAnnealingWarmRestarts(o, 2, 2, eta_min=1e-4, **k),
    "CyclicLR": lambda S, o, **k: S.CyclicLR(o, 0.01, 0.1, 3, 2, mode="exp_range", gamma=0.9, **k),
    "OneCycleLR": lambda S, o, **k: S.OneCycleLR(o, 0.2, 16, three_phase=True, **k),
    "ReduceLROnPlateau": lambda S, o: S.ReduceLROnPlateau(o, patience=1, factor=0.5),
    "SequentialLR": lambda S, o: S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=4), S.CosineAnnealingLR(o, 6)], [4]),
    "ChainedScheduler": lambda S, o: S.ChainedScheduler(
        [S.LinearLR(o, 0.1, total_iters=4), S.ExponentialLR(o, 0.9)], o
    ),
}
COMPOSED = ("SequentialLR", "ChainedScheduler", "ReduceLROnPlateau")  # no closed form
STEPS, SAVED_AFTER = 14, 7


def made(T, name, tensor=False, **options):
    groups = [{"params": [T.nn.Parameter(T.ones(1))], "lr": T.tensor(lr) if tensor else lr} for lr in (0.1, 0.05)]
    optimizer = T.optim.SGD(groups, lr=0.1, momentum=0.9)
    return optimizer, MAKERS[name](T.optim.lr_scheduler, optimizer, **options)


def stepped(T, optimizer, scheduler, steps, closed_form=False):
    """Rates and momenta after each of ``steps``, and the state dicts half way."""
    found, saved = [], None
    for step in steps:
        for group in optimizer.param_groups:
            group["params"][0].grad = T.ones(1)
        optimizer.step()
        if isinstance(scheduler, T.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(1.0)
        elif closed_form:
            scheduler.step(step)
        else:
            scheduler.step()
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        assert [float(rate) for rate in scheduler.get_last_lr()] == rates
        found.append(rates + [group["momentum"] for group in optimizer.param_groups])
        if step == SAVED_AFTER:
            saved = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    return np.array(found), saved


def as_ours(value):
    """A state dict of PyTorch's with numgrad's tensors."""
    if isinstance(value, torch.Tensor):
        return ng.from_numpy(value.numpy().copy())
    if type(value) in (list, tuple):
        return type(value)(map(as_ours, value))
    return {key: as_ours(item) for key, item in value.items()} if type(value) is dict else value


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_rates_and_state_dicts_agree_with_pytorch(name, tensor):
    steps = range(1, STEPS + 1)
    expected, theirs = stepped(torch, *made(torch, name, tensor), steps)
    found, ours = stepped(ng, *made(ng, name, tensor), steps)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    assert set(ours[1]) == set(theirs[1])
    for optimizer_state, state in (ours, as_ours(theirs)):
        optimizer, scheduler = made(ng, name, tensor)
        optimizer.load_state_dict(optimizer_state)
        scheduler.load_state_dict(state)
        resumed, _ = stepped(ng, optimizer, scheduler, range(SAVED_AFTER + 1, STEPS + 1))
        np.testing.assert_allclose(resumed, expected[SAVED_AFTER:], rtol=1e-5, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*epoch:UserWarning")
@pytest.mark.parametrize("name", [name for name in MAKERS if name not in COMPOSED])
def test_closed_forms_agree_with_pytorch(name):
    steps = [1, 2, 5, 3, 9, 10, 14, 0]
    expected, _ = stepped(torch, *made(torch, name), steps, closed_form=True)
    found, _ = stepped(ng, *made(ng, name), steps, closed_form=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in COMPOSED])
def test_resuming_after_a_step_agrees_with_pytorch(name):
    found = {}
    for T in (ng, torch):
        optimizer, scheduler = made(T, name)
        before, (state, _) = stepped(T, optimizer, scheduler, range(1, SAVED_AFTER + 1))
        on, _ = stepped(T, optimizer, scheduler, range(SAVED_AFTER + 1, STEPS + 1))
        optimizer, _ = made(T, name)
        optimizer.load_state_dict(state)
        scheduler = MAKERS[name](T.optim.lr_scheduler, optimizer, last_epoch=SAVED_AFTER - 1)
        rates = [[group["lr"] for group in optimizer.param_groups]]
        found[T] = rates + [row[:2] for row in stepped(T, optimizer, scheduler, range(SAVED_AFTER + 1, STEPS + 1))[0]]
        if name == "CosineAnnealingWarmRestarts":  # PyTorch's loses its place after the first restart
            found[torch] = [before[-1, :2], *on[:, :2]]
            break
    np.testing.assert_allclose(found[ng], found[torch], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_before_the_optimizers_is_said(name):
    counts = []
    for T in (ng, torch):
        _, scheduler = made(T, name)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                scheduler.step(*[1.0] * (name == "ReduceLROnPlateau"))
        texts = [str(w.message) for w in caught]
        assert all("`lr_scheduler.step()` before `optimizer.step()`" in text for text in texts)
        counts.append(len(texts))
    assert counts[0] == counts[1]


NESTED = {  # composites of composites, and the same schedule without the nesting
    "a sequence as the first of a sequence": (
        lambda S, o: S.SequentialLR(o, [S.SequentialLR(o, [S.ConstantLR(o, 0.5, 2), S.ConstantLR(o, 0.2, 20)], [2]), S.ExponentialLR(o, 0.9)], [5]),
        lambda S, o: S.SequentialLR(o, [S.ConstantLR(o, 0.5, 2), S.ConstantLR(o, 0.2, 20), S.ExponentialLR(o, 0.9)], [2, 5]),
    ),
    "a sequence as the last of a sequence": (
        lambda S, o: S.SequentialLR(o, [S.ConstantLR(o, 0.5, 2), S.SequentialLR(o, [S.LinearLR(o, 0.1), S.StepLR(o, 2)], [3])], [2]),
        lambda S, o: S.SequentialLR(o, [S.ConstantLR(o, 0.5, 2), S.LinearLR(o, 0.1), S.StepLR(o, 2)], [2, 5]),
    ),
    "a chain of one as the last of a sequence": (
        lambda S, o: S.SequentialLR(o, [S.ConstantLR(o, 0.5, 2), S.ChainedScheduler([S.ExponentialLR(o, 0.9)])], [4]),
        lambda S, o: S.SequentialLR(o, [S.ConstantLR(o, 0.5, 2), S.ExponentialLR(o, 0.9)], [4]),
    ),
    "a chain of a chain in a sequence": (
        lambda S, o: S.SequentialLR(o, [S.ChainedScheduler([S.ChainedScheduler([S.LinearLR(o, 0.1)]), S.ExponentialLR(o, 0.9)])], []),
        lambda S, o: S.ChainedScheduler([S.LinearLR(o, 0.1), S.ExponentialLR(o, 0.9)]),
    ),
    "a chain of sequences": (
        lambda S, o: S.ChainedScheduler([S.SequentialLR(o, [S.SequentialLR(o, [S.LinearLR(o, 0.1), S.StepLR(o, 2)], [3])], [])]),
        lambda S, o: S.SequentialLR(o, [S.LinearLR(o, 0.1), S.StepLR(o, 2)], [3]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NESTED)
def test_nesting_changes_no_rate(name):
    found, halves = [], []
    for build in NESTED[name]:
        optimizer = ng.optim.SGD([ng.nn.Parameter(ng.ones(1))], lr=1.0, momentum=0.9)
        scheduler = build(ng.optim.lr_scheduler, optimizer)
        first = [float(group["lr"]) for group in optimizer.param_groups]
        rates, saved = stepped(ng, optimizer, scheduler, range(STEPS))
        found.append([first[0], *rates[:, 0]])
        optimizer = ng.optim.SGD([ng.nn.Parameter(ng.ones(1))], lr=1.0, momentum=0.9)
        scheduler = build(ng.optim.lr_scheduler, optimizer)
        optimizer.load_state_dict(saved[0])
        scheduler.load_state_dict(saved[1])
        halves.append(stepped(ng, optimizer, scheduler, range(SAVED_AFTER + 1, STEPS))[0][:, 0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
    np.testing.assert_allclose(halves, [found[1][SAVED_AFTER + 2 :]] * 2, rtol=1e-12)


@pytest.mark.parametrize("make", [
    lambda S, o, lr, m: S.CyclicLR(o, lr, 2 * lr, 3, base_momentum=m, max_momentum=m),
    lambda S, o, lr, m: S.OneCycleLR(o, lr, 16, base_momentum=m, max_momentum=m),
    lambda S, o, lr, m: ng.optim.swa_utils.SWALR(o, lr),
], ids=["CyclicLR", "OneCycleLR", "SWALR"])  # fmt: skip
def test_rates_given_as_tensors_are_the_callers(make):
    """What is written to them later changes no schedule."""
    rates = []
    for factor in (1, 0.5):
        optimizer = ng.optim.SGD([ng.nn.Parameter(ng.ones(1))], 0.1, momentum=0.9)
        lr, momentum = ng.tensor(0.05), ng.tensor(0.8)
        scheduler = make(ng.optim.lr_scheduler, optimizer, lr, momentum)
        lr.mul_(factor), momentum.mul_(factor)
        optimizer._opt_called = True
        for _ in range(3):
            scheduler.step()
            rates.append((float(optimizer.param_groups[0]["lr"]), float(optimizer.param_groups[0]["momentum"])))
    assert rates[:3] == rates[3:]


def test_verbose_warns_and_changes_nothing():
    """Programs of earlier years give ``verbose``, by name, in its old place, or on to the base class."""

    class Own(ng.optim.lr_scheduler.LRScheduler):
        def __init__(self, optimizer, last_epoch=-1, verbose=False):
            super().__init__(optimizer, last_epoch, verbose)

        def get_lr(self):
            return [0.25]

    schedulers = ng.optim.lr_scheduler
    optimizer = ng.optim.SGD([ng.nn.Parameter(ng.ones(1))], lr=0.5)
    for make in (
        lambda: schedulers.StepLR(optimizer, 30, verbose=True),
        lambda: schedulers.StepLR(optimizer, 30, 0.1, -1, False),
        lambda: schedulers.CyclicLR(optimizer, 0.1, 0.2, verbose=True),
        lambda: schedulers.ReduceLROnPlateau(optimizer, verbose=True),
        lambda: schedulers.SequentialLR(
            optimizer, [schedulers.ConstantLR(optimizer), schedulers.ConstantLR(optimizer)], [2], verbose=True
        ),
        lambda: Own(optimizer),
    ):
        with pytest.warns(UserWarning, match="verbose parameter is deprecated"):
            made = make()
        assert "verbose" not in made.state_dict()
    with pytest.raises(TypeError):
        schedulers.StepLR(optimizer, 30, 0.1, -1, False, True)
