"""Parameter, Buffer, their uninitialised forms, and lazy modules."""

import copy
import pickle

import pytest

import numgrad as ng
from numgrad import nn


def test_parameter():
    data = ng.ones(2)
    parameter = nn.Parameter(data)
    assert repr(parameter) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert isinstance(parameter, ng.Tensor) and not isinstance(data, nn.Parameter)
    data.fill_(5)
    assert parameter.tolist() == [5.0, 5.0]
    assert type(parameter * 2) is type(parameter.detach()) is type(parameter.data) is ng.Tensor
    with ng.no_grad():
        assert nn.Parameter(data).requires_grad
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert nn.Parameter().shape == (0,)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))], ids=["deepcopy", "pickle"])
def test_copied_parameters(copied):
    parameter = nn.Parameter(ng.ones(2))
    (parameter * 2).sum().backward()
    frozen = nn.Parameter(ng.ones(1), requires_grad=False)
    pair = copied([parameter, parameter, frozen])
    assert pair[0] is pair[1] and type(pair[0]) is nn.Parameter
    assert pair[0].is_leaf and pair[0].requires_grad and pair[0].grad is None
    assert not pair[2].requires_grad
    assert parameter.grad.tolist() == [2.0, 2.0]


def test_buffer():
    buffer = nn.Buffer(ng.ones(2))
    assert isinstance(buffer, nn.Buffer) and isinstance(buffer, ng.Tensor)
    assert not isinstance(ng.ones(2), nn.Buffer) and not isinstance(nn.Parameter(ng.ones(2)), nn.Buffer)


def test_uninitialized():
    parameter = nn.UninitializedParameter(dtype=ng.float64)
    assert isinstance(parameter, nn.Parameter) and parameter.dtype is ng.float64
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter"):
        parameter.shape  # noqa: B018
    with pytest.raises(ValueError, match="Attempted to use uninitialized parameter"):
        parameter.sum()
    parameter.materialize((2, 3))
    assert type(parameter) is nn.Parameter and parameter.shape == (2, 3) and parameter.requires_grad
    buffer = nn.UninitializedBuffer()
    buffer.materialize((2,))
    assert type(buffer) is ng.Tensor and not buffer.requires_grad


def test_lazy_linear():
    layer = nn.LazyLinear(3)
    assert repr(layer) == "LazyLinear(in_features=0, out_features=3, bias=True)"
    assert len(list(layer.parameters())) == 2 and list(layer.state_dict()) == ["weight", "bias"]
    assert copy.deepcopy(layer).double()(ng.ones(1, 5).double()).dtype is ng.float64
    weight = layer.weight
    assert layer(ng.ones(4, 2)).shape == (4, 3)
    assert type(layer) is nn.Linear and layer.weight is weight and layer.in_features == 2
    assert repr(layer) == "Linear(in_features=2, out_features=3, bias=True)"
    assert not layer._forward_pre_hooks


def test_lazy_linear_loads_before_the_first_call():
    layer = nn.LazyLinear(3)
    source = nn.Linear(2, 3)
    layer.load_state_dict(source.state_dict())
    x = ng.ones(1, 2)
    assert layer(x).tolist() == source(x).tolist()
    assert layer.in_features == 2
