"""Where PyTorch stays silent or unclear, numgrad speaks: the traps around Parameter and Module."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn


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


# --- a tensor assigned over a parameter ---------------------------------------------------------------------------


def test_tensor_over_a_parameter_names_three_fixes():
    layer = nn.Linear(2, 3)
    with pytest.raises(TypeError) as error:
        layer.weight = ng.zeros(3, 2)
    text = str(error.value)
    assert "cannot assign 'torch.FloatTensor' as parameter 'weight' (torch.nn.Parameter or None expected)" in text
    assert "Linear.weight" in text
    assert "another attribute name" in text
    assert "with no_grad(): module.weight.copy_(value)" in text
    assert "module.weight = nn.Parameter(value)" in text
    assert isinstance(layer.weight, nn.Parameter)


# --- a parameter that is lost because an op was applied to it ------------------------------------------------------


@pytest.mark.parametrize(
    "derive",
    [
        lambda p: p * 0.1,
        lambda p: p.to(ng.float64),
        lambda p: (p * 2) * 0.5,
    ],
    ids=["scaled", "converted", "scaled twice"],
)
def test_result_of_an_unregistered_parameter_warns(derive):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = derive(nn.Parameter(ng.ones(3)))

    with pytest.warns(UserWarning, match=r"Net\.w is not registered.*self\.w = nn\.Parameter\(value\)") as caught:
        net = Net()
    assert caught[0].filename == __file__
    assert list(net.parameters()) == []


def test_results_of_registered_parameters_do_not_warn():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(ng.ones(3))
            self.scaled = self.w * 0.1  # odd, but the parameter is not lost
            self.state = ng.ones(3)
            self.same = nn.Parameter(ng.ones(3)).to("cpu")

    net = Net()
    assert [name for name, _ in net.named_parameters()] == ["w", "same"]


# --- parameters and modules in plain containers --------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, proper",
    [
        (lambda: [nn.Linear(2, 2), nn.Linear(2, 2)], "nn.ModuleList"),
        (lambda: (nn.Linear(2, 2),), "nn.ModuleList"),
        (lambda: {"a": nn.Linear(2, 2)}, "nn.ModuleDict"),
        (lambda: [[nn.Linear(2, 2)]], "nn.ModuleList"),
        (lambda: [nn.Parameter(ng.ones(2))], "nn.ParameterList"),
        (lambda: {"a": nn.Parameter(ng.ones(2))}, "nn.ParameterDict"),
    ],
)
@pytest.mark.parametrize("ask", ["parameters", "named_parameters", "state_dict", "cpu", "zero_grad"])
def test_plain_containers_warn_once(make, proper, ask):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = make()

    net = nn.Sequential(Net(), Net())
    said = messages(getattr(net, ask))
    assert len(said) == 1
    assert "Net.layers is a plain" in said[0] and f"self.layers = {proper}(...)" in said[0]
    assert messages(getattr(net, ask)) == []


def test_container_filled_after_it_was_assigned_warns():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = []
            for _ in range(3):
                self.layers.append(nn.Linear(2, 2))

    with pytest.warns(UserWarning, match=r"Net\.layers is a plain list of modules \(3 of them\)"):
        list(Net().parameters())


def test_containers_of_registered_members_do_not_warn():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel_size = (3, 3)
            self.sizes = [1, 2, 3]
            self.names = {"a": 1}
            self.first = nn.Linear(2, 2)
            self.order = [self.first, self.first]
            self.late = [nn.Linear(2, 2)]
            for k, layer in enumerate(self.late):
                self.add_module(f"late{k}", layer)
            self.weights = {"w": self.first.weight}

    net = Net()
    assert len(list(net.parameters())) == 4
    net.state_dict()


# --- loading -------------------------------------------------------------------------------------------------------


def six_layers():
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(6)))


def test_prefix_is_explained():
    state = {f"module.{key}": value for key, value in six_layers().state_dict().items()}
    with pytest.raises(RuntimeError) as error:
        six_layers().load_state_dict(state)
    text = str(error.value)
    assert "0 of 12 keys matched; 12 match after dropping the prefix 'module.'" in text
    assert 'Missing key(s) in state_dict: "0.weight"' in text
    assert 'Unexpected key(s) in state_dict: "module.0.weight"' in text


def test_missing_prefix_is_explained():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = six_layers()

    with pytest.raises(RuntimeError, match="0 of 12 keys matched; 12 match after adding the prefix 'body.'"):
        Net().load_state_dict(six_layers().state_dict())


def test_whole_checkpoint_is_explained():
    checkpoint = {"epoch": 3, "model": six_layers().state_dict()}
    with pytest.raises(RuntimeError, match=r"12 match in the entry 'model': load checkpoint\['model'\]"):
        six_layers().load_state_dict(checkpoint)


def test_loading_nothing_without_strict_warns():
    state = {f"module.{key}": value for key, value in six_layers().state_dict().items()}
    with pytest.warns(UserWarning, match=r"loaded almost nothing: 0 of 12 keys matched"):
        six_layers().load_state_dict(state, strict=False)


def test_errors_list_every_name():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    state = net.state_dict()
    del state["0.weight"], state["1.bias"]
    state["0.bias"] = ng.zeros(7)
    state["1.weight"] = ng.zeros(1, 1)
    state["more"] = ng.zeros(1)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    text = str(error.value)
    assert text.startswith("Error(s) in loading state_dict for Sequential:\n\tMissing key(s) in state_dict: ")
    assert '"0.weight", "1.bias". ' in text
    assert 'Unexpected key(s) in state_dict: "more". ' in text
    assert (
        "size mismatch for 0.bias: copying a param with shape torch.Size([7]) from checkpoint, "
        "the shape in current model is torch.Size([3])." in text
    )
    assert "size mismatch for 1.weight" in text


# --- ties ----------------------------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(3, 3)
        self.decoder = nn.Linear(3, 3)
        self.decoder.weight = self.encoder.weight
        self.encoder.register_buffer("scale", ng.ones(1))
        self.decoder.register_buffer("scale", self.encoder.scale)


def tied(net):
    return net.encoder.weight is net.decoder.weight and net.encoder.scale is net.decoder.scale


@pytest.mark.parametrize(
    "change",
    [
        copy.deepcopy,
        lambda net: pickle.loads(pickle.dumps(net)),
        lambda net: net.to(ng.float64),
        lambda net: net.double().float(),
        lambda net: net.load_state_dict(Tied().state_dict(), assign=True) and net,
        lambda net: net.load_state_dict(pickle.loads(pickle.dumps(Tied().state_dict())), assign=True) and net,
    ],
    ids=["deepcopy", "pickle", "to", "double.float", "assign", "assign untied"],
)
def test_ties_survive(change):
    net = change(Tied())
    assert tied(net)
    assert len(list(net.parameters())) == 3


# --- tensors that .to() leaves behind ------------------------------------------------------------------------------


def test_tensor_left_behind_by_to_is_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.mask = ng.ones(2)
            self.steps = ng.tensor([1, 2])  # integers stay as they are

    net = nn.Sequential(Net(), Net())
    with pytest.warns(UserWarning) as caught:
        net.to(ng.float64)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "Net.mask is a plain tensor attribute and was left behind torch.float32" in text
    assert "self.register_buffer('mask', tensor, persistent=False)" in text


def test_buffers_are_not_left_behind():
    net = nn.Linear(2, 2)
    net.register_buffer("mask", ng.ones(2), persistent=False)
    net.to(ng.float64)
    assert net.mask.dtype is ng.float64


# --- super().__init__() --------------------------------------------------------------------------------------------


def test_forgotten_super_init_works():
    class Net(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(2, 3)
            self.register_buffer("count", ng.zeros(1))
            self.w = nn.Parameter(ng.ones(3))

        def forward(self, x):
            return self.linear(x) * self.w

    net = Net()
    assert [name for name, _ in net.named_parameters()] == ["w", "linear.weight", "linear.bias"]
    assert net.training and net(ng.ones(1, 2)).shape == (1, 3)
    assert list(net.state_dict()) == ["w", "count", "linear.weight", "linear.bias"]


def test_late_super_init_keeps_what_was_registered():
    class Net(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(ng.ones(3))
            super().__init__()

    assert list(Net().state_dict()) == ["w"]


# --- Parameter -----------------------------------------------------------------------------------------------------


def test_integer_parameter_is_a_clear_type_error():
    with pytest.raises(TypeError, match=r"Parameter: expected a floating-point dtype, got torch.int64.*\.float\(\)"):
        nn.Parameter(ng.tensor([1, 2]))
    with pytest.raises(RuntimeError):  # PyTorch's type of error too
        nn.Parameter([1, 2])
    assert not nn.Parameter(ng.tensor([1, 2]), requires_grad=False).requires_grad


def test_parameter_of_array_likes():
    assert nn.Parameter([1.0, 2.0]).dtype is ng.float32
    assert nn.Parameter([[1.0], [2.0]]).shape == (2, 1)
    array = np.ones(3)
    parameter = nn.Parameter(array)
    assert parameter.dtype is ng.float64
    array[0] = 7
    assert parameter.tolist() == [7.0, 1.0, 1.0]


def test_inplace_on_a_registered_parameter_names_it():
    layer = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match=r"Linear\.weight.*\n.*no_grad"):
        layer.weight.add_(1.0)
    layer.weight.requires_grad_(False).requires_grad_(True)
    with pytest.raises(RuntimeError, match=r"Linear\.weight"):
        layer.weight.add_(1.0)


# --- iterators -----------------------------------------------------------------------------------------------------


def test_members_know_that_they_are_consumed():
    parameters = nn.Linear(2, 2).parameters()
    assert not parameters.consumed
    assert iter(parameters) is parameters
    next(parameters)
    assert not parameters.consumed
    assert len(list(parameters)) == 1
    assert parameters.consumed
    assert list(parameters) == []
    assert "iterator already consumed: pass list(...)" in repr(parameters)


def test_clipping_a_consumed_iterator_says_so():
    layer = nn.Linear(2, 2)
    parameters = layer.parameters()
    list(parameters)
    with pytest.warns(UserWarning, match=r"already consumed: pass list\(\.\.\.\)"):
        nn.utils.clip_grad_norm_(parameters, 1.0)
