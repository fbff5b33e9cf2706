"""Where PyTorch's optimizers stay silent, numgrad speaks; and what optimizers and schedulers refuse."""

import copy
import itertools
import warnings

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn, optim
from numgrad.optim import lr_scheduler


@pytest.fixture(autouse=True)
def warnings_are_errors():
    """A warning that a test does not expect fails it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def messages(fn) -> list[str]:
    """The texts of the warnings that ``fn()`` issues."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fn()
    return [str(w.message) for w in caught]


def parameter(*values):
    return nn.Parameter(ng.tensor(np.array(values, np.float32)))


def with_gradient(p, value=1.0):
    p.grad = ng.full(tuple(p.shape), value)
    return p


def values(p) -> list[float]:
    return p.detach().numpy().tolist()


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.second = nn.Linear(3, 1)

    def forward(self, x):
        return self.second(self.first(x))


def train_once(model, optimizer):
    optimizer.zero_grad()
    model(ng.ones(4, 2)).sum().backward()
    optimizer.step()


OPTIMIZERS = [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad]


# --- a parameter replaced after the optimizer was built ------------------------------------------------------------


def test_check_accepts_the_model_that_is_trained():
    model = Pair()
    optim.SGD(model.parameters()).check(model)
    model.first.requires_grad_(False)
    optim.SGD(model.second.parameters()).check(model)  # what is frozen need not be there


def test_check_names_a_replaced_parameter():
    model = Pair()
    optimizer = optim.SGD(model.parameters())
    model.second.weight = nn.Parameter(ng.zeros(1, 3))
    with pytest.raises(ValueError) as error:
        optimizer.check(model)
    text = str(error.value)
    assert "SGD does not train the parameters of this Pair" in text
    assert "Not in the optimizer: second.weight." in text
    assert "not in the model: param_groups[0]['params'][2] (Linear.weight, shape [1, 3])" in text
    assert "add_param_group({'params': ...})" in text


def test_step_warns_once_of_a_replaced_parameter():
    model = Pair()
    optimizer = optim.Adam(model.parameters())
    train_once(model, optimizer)
    assert messages(lambda: train_once(model, optimizer)) == []
    model.second.weight = nn.Parameter(ng.zeros(1, 3))
    (text,) = messages(lambda: train_once(model, optimizer))
    assert "Adam.step(): a parameter (Linear.weight, shape [1, 3]) has no gradient" in text
    assert "replaced in the model after the optimizer was built" in text
    assert "Adam.check(model) names it" in text
    assert messages(lambda: train_once(model, optimizer)) == []


def test_step_is_silent_about_a_parameter_that_is_merely_unused():
    model = Pair()
    optimizer = optim.Adam(model.parameters())
    model.first(ng.ones(4, 2)).sum().backward()
    assert messages(optimizer.step) == []


# --- frozen parameters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_frozen_parameter_with_a_stale_gradient_does_not_move(kind):
    frozen, trained = with_gradient(parameter(1.0, 2.0)), with_gradient(parameter(1.0, 2.0))
    optimizer = kind([frozen, trained], lr=0.1, weight_decay=0.1)
    optimizer.step()
    assert values(frozen) == values(trained) != [1.0, 2.0]
    before = values(frozen)
    frozen.requires_grad_(False)
    assert frozen.grad is not None
    optimizer.step()
    assert values(frozen) == before != values(trained)
    frozen.requires_grad_(True)
    optimizer.step()
    assert values(frozen) != before


# --- state restored in another order -------------------------------------------------------------------------------


def named(model, order):
    found = dict(model.named_parameters())
    return [(name, found[name]) for name in order]


ORDER = ["first.weight", "first.bias", "second.weight", "second.bias"]


@pytest.mark.parametrize("order", [ORDER, ORDER[::-1], ["first.bias", "second.bias", "first.weight", "second.weight"]])
def test_state_goes_to_the_parameter_of_its_name(order):
    model = Pair()
    optimizer = optim.Adam(named(model, ORDER), lr=0.25)
    train_once(model, optimizer)
    restored = optim.Adam(named(model, order))
    restored.load_state_dict(optimizer.state_dict())
    assert restored.param_groups[0]["param_names"] == order
    assert restored.param_groups[0]["lr"] == 0.25
    for p in model.parameters():
        assert np.array_equal(restored.state[p]["exp_avg"].numpy(), optimizer.state[p]["exp_avg"].numpy())
        assert restored.state[p]["exp_avg"] is not optimizer.state[p]["exp_avg"]


def test_options_follow_the_names_of_a_group():
    a, b, c = (with_gradient(parameter(float(k))) for k in range(3))
    optimizer = optim.SGD(
        [{"params": [("a", a), ("b", b)], "lr": 0.1}, {"params": [("c", c)], "lr": 0.2}], momentum=0.9
    )
    optimizer.step()
    restored = optim.SGD([{"params": [("c", c)]}, {"params": [("b", b), ("a", a)]}], momentum=0.5)
    restored.load_state_dict(optimizer.state_dict())
    assert [group["lr"] for group in restored.param_groups] == [0.2, 0.1]
    assert [group["param_names"] for group in restored.param_groups] == [["c"], ["b", "a"]]
    assert all(values(restored.state[p]["momentum_buffer"]) == [1.0] for p in (a, b, c))


def test_state_is_matched_by_position_where_a_side_has_no_names():
    a, b = with_gradient(parameter(1.0), 1.0), with_gradient(parameter(2.0), 2.0)
    optimizer = optim.SGD([("a", a), ("b", b)], momentum=0.9)
    optimizer.step()
    restored = optim.SGD([b, a], momentum=0.9)
    restored.load_state_dict(optimizer.state_dict())
    assert values(restored.state[b]["momentum_buffer"]) == [1.0]
    assert restored.param_groups[0]["param_names"] == ["a", "b"]  # as in PyTorch


def test_differing_names_are_matched_by_position_with_a_warning():
    a, b = parameter(1.0), parameter(2.0)
    state = optim.SGD([("a", a), ("b", b)], momentum=0.9).state_dict()
    (text,) = messages(lambda: optim.SGD([("a", a), ("module.b", b)]).load_state_dict(state))
    assert "SGD.load_state_dict: the state is matched by position, because the names differ" in text
    assert "only here: module.b; only in the state dict: b" in text


def test_groups_that_do_not_fit_are_refused():
    a, b = parameter(1.0), parameter(2.0)
    state = optim.SGD([("a", a), ("b", b)]).state_dict()
    with pytest.raises(ValueError, match="group 0 has 1 parameters, the loaded one has 2; only in the state dict: b"):
        optim.SGD([("a", a)]).load_state_dict(state)
    with pytest.raises(ValueError, match="different number of parameter groups: expected 2, got 1"):
        optim.SGD([{"params": a}, {"params": b}]).load_state_dict(state)


# --- nothing to do -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_step_without_any_gradient_warns_once(kind):
    model = Pair()
    optimizer = kind(model.parameters(), lr=0.1)
    (text,) = messages(optimizer.step)
    assert f"{kind.__name__}.step() changed nothing: none of its 4 parameters has a gradient" in text
    assert "Call loss.backward() before step()" in text
    assert f"{kind.__name__}.check(model)" in text
    assert messages(optimizer.step) == []


def test_step_of_frozen_parameters_says_that_they_are_frozen():
    model = Pair().requires_grad_(False)
    optimizer = optim.SGD(model.parameters())
    (text,) = messages(optimizer.step)
    assert "none of its 4 parameters has a gradient (4 of them are frozen: requires_grad is False)" in text


def test_the_warning_points_at_the_line_of_the_step():
    optimizer = optim.SGD(Pair().parameters())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer.step()
    assert caught[0].filename == __file__


def test_consumed_iterators_are_named():
    model = Pair()
    parameters = model.parameters()
    assert len(list(parameters)) == 4
    with pytest.raises(ValueError, match=r"iterator already consumed: pass list\(\.\.\.\)"):
        optim.SGD(parameters)
    generator = (p for p in model.parameters())
    assert len(list(generator)) == 4
    with pytest.raises(ValueError, match=r"iterator already consumed: pass list\(\.\.\.\)"):
        optim.SGD(generator)
    with pytest.raises(ValueError, match=r"iterator already consumed: pass list\(\.\.\.\)"):
        optim.SGD([{"params": generator}])
    with pytest.raises(ValueError, match="optimizer got an empty parameter list: there is nothing to optimize"):
        optim.SGD(nn.ReLU().parameters())


# --- a step between forward and backward ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_backward_after_a_step_names_the_step(kind):
    p = with_gradient(parameter(1.0, 2.0))
    optimizer = kind([p], lr=0.1)
    loss = (p * p).sum()
    optimizer.step()
    with pytest.raises(RuntimeError) as error:
        loss.backward()
    assert f"'{kind.__name__}.step'" in str(error.value)
    assert "call backward() before step()" in str(error.value)


# --- what cannot be optimized --------------------------------------------------------------------------------------


def test_what_is_no_parameter_is_refused():
    p = parameter(1.0)
    with pytest.raises(
        TypeError, match=r"should be an iterable of Tensors or dicts, but got Linear; pass model\.param"
    ):
        optim.SGD(nn.Linear(2, 2))
    with pytest.raises(TypeError, match=r"iterable of Tensors or dicts, but got Parameter; write \[tensor\]"):
        optim.SGD(p)
    with pytest.raises(TypeError, match=r"one of the params is Members; join several iterators with itertools.chain"):
        optim.SGD([nn.Linear(2, 2).parameters(), nn.Linear(2, 2).parameters()])
    layers = nn.Linear(2, 2), nn.Linear(2, 2)
    assert len(optim.SGD(itertools.chain(*(m.parameters() for m in layers))).param_groups[0]["params"]) == 4
    with pytest.raises(TypeError, match="ordered collections"):
        optim.SGD([{"params": {p}}])
    with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor: it is the result of an op"):
        optim.SGD([p * 2])
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optim.SGD([{"params": p}, {"params": p}])
    with pytest.raises(ValueError, match="with/without names. Some param names are missing"):
        optim.SGD([("p", p), parameter(2.0)])
    assert "duplicate parameters" in messages(lambda: optim.SGD([p, p]))[0]


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        (optim.SGD, {"lr": -1.0}, "Invalid learning rate: -1.0; it must not be negative"),
        (optim.SGD, {"lr": float("nan")}, "Invalid learning rate: nan"),
        (optim.SGD, {"momentum": -0.5}, "Invalid momentum value: -0.5"),
        (optim.SGD, {"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
        (optim.Adam, {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        (optim.AdamW, {"eps": -1.0}, "Invalid epsilon value: -1.0"),
        (optim.RMSprop, {"alpha": -1.0}, "Invalid alpha value: -1.0"),
        (optim.Adagrad, {"lr_decay": -1.0}, "Invalid lr_decay value: -1.0"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, text):
    with pytest.raises(ValueError, match=text):
        kind([parameter(1.0)], **options)


def test_tensors_as_learning_rates():
    with pytest.raises(ValueError, match=r"Tensor lr must be 1-element, got shape \[2\]"):
        optim.SGD([parameter(1.0)], lr=ng.tensor([0.1, 0.1]))
    p = with_gradient(parameter(1.0))
    optimizer = optim.SGD([p], lr=ng.tensor(0.5))
    scheduler = lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    optimizer.step()
    assert values(p) == [0.25]
    assert optimizer.param_groups[0]["lr"].item() == 0.25 == scheduler.get_last_lr()[0].item()


# --- schedulers ----------------------------------------------------------------------------------------------------


def test_scheduler_before_optimizer_warns():
    scheduler = lr_scheduler.StepLR(optim.SGD([with_gradient(parameter(1.0))]), 2)
    (text,) = messages(scheduler.step)
    assert "Detected call of `lr_scheduler.step()` before `optimizer.step()`" in text
    assert messages(scheduler.step) == []


def test_replaced_step():
    optimizer = optim.SGD([with_gradient(parameter(1.0))])
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    plain = optimizer.step
    optimizer.step = lambda: plain()
    optimizer.step()
    (text,) = messages(scheduler.step)
    assert "`optimizer.step()` has been overridden after learning rate scheduler" in text
    scheduler = lr_scheduler.StepLR(optimizer, 2)  # made after it: all is well
    optimizer.step()
    assert messages(scheduler.step) == []


def test_get_lr_outside_of_a_step_warns():
    scheduler = lr_scheduler.StepLR(optim.SGD([parameter(1.0)], lr=0.5), 2)
    assert "please use `get_last_lr()`" in messages(scheduler.get_lr)[0]
    assert scheduler.get_last_lr() == [0.5]


def test_epoch_argument_warns():
    optimizer = optim.SGD([with_gradient(parameter(1.0))], lr=1.0)
    scheduler = lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    optimizer.step()
    assert "epoch argument of lr_scheduler.step() is deprecated" in messages(lambda: scheduler.step(5))[0]
    assert scheduler.get_last_lr() == [0.25]


def test_resuming_a_scheduler_needs_the_optimizers_state():
    with pytest.raises(KeyError, match="Load the optimizer's state dict first"):
        lr_scheduler.StepLR(optim.SGD([parameter(1.0)]), 2, last_epoch=3)


# --- what the messages rest on -------------------------------------------------------------------------------------


def test_hooks_run_once_around_the_step_of_a_subclass():
    class Loud(optim.SGD):
        def step(self, closure=None):
            calls.append("Loud.step")
            return super().step(closure)

    calls = []
    optimizer = Loud([with_gradient(parameter(1.0))], lr=0.1)
    optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("before"))
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("after"))
    optimizer.step()
    assert calls == ["before", "Loud.step", "after"]
    handle.remove()
    optimizer.step()
    assert calls[3:] == ["before", "Loud.step"]


def test_state_switched_on_later_is_made():
    p = with_gradient(parameter(1.0))
    optimizer = optim.Adam([p], lr=0.1)
    optimizer.step()
    optimizer.param_groups[0]["amsgrad"] = True
    optimizer.step()
    assert sorted(optimizer.state[p]) == ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"]
    assert optimizer.state[p]["step"].item() == 2.0


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_layouts_do_not_matter(kind):
    start = np.arange(6, dtype=np.float32).reshape(2, 3)
    plain, turned = nn.Parameter(ng.tensor(start)), nn.Parameter(ng.tensor(start.T.copy()).t())
    assert plain.is_contiguous() and not turned.is_contiguous()
    optimizers = kind([plain], lr=0.1), kind([turned], lr=0.1)
    for _ in range(3):
        for p, optimizer in zip((plain, turned), optimizers):
            optimizer.zero_grad()
            (p * p * 0.5).sum().backward()
            optimizer.step()
    assert not turned.is_contiguous()
    assert np.allclose(plain.detach().numpy(), turned.detach().numpy(), rtol=1e-6)


def test_an_infinite_parameter_stays_infinite():
    p = nn.Parameter(ng.tensor([float("-inf"), 1.0]))
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = ng.tensor([0.0, 1.0])
    optimizer.step()
    assert values(p)[0] == float("-inf")


def test_a_differentiable_step_is_recorded():
    lr = ng.tensor(0.5, requires_grad=True)
    start = ng.tensor([1.0, 2.0], requires_grad=True)
    p = start.clone()
    optimizer = optim.SGD([p], lr=lr, differentiable=True)
    p.grad = ng.tensor([3.0, 4.0])
    optimizer.step()
    p.sum().backward()
    assert values(p) == [-0.5, 0.0]
    assert lr.grad.item() == -7.0
    assert values(start.grad) == [1.0, 1.0]


def test_optimizers_are_copied_with_their_parameters():
    model = Pair()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    train_once(model, optimizer)
    model_copy, copied = copy.deepcopy((model, optimizer))
    copied.check(model_copy)
    train_once(model, optimizer)
    train_once(model_copy, copied)
    assert values(model.first.weight) == values(model_copy.first.weight)
