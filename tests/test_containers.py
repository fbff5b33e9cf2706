"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from collections import OrderedDict

import pytest

import numgrad as ng
from numgrad import nn


def test_sequential():
    net = nn.Sequential(OrderedDict([("a", nn.Linear(2, 3)), ("b", nn.ReLU())]))
    assert net.a is net[0] and len(net) == 2 and net[-1] is net.b
    assert list(net[1:]._modules) == ["b"]
    net.append(nn.Linear(3, 1)).extend([nn.Tanh()]).insert(0, nn.Identity())
    assert [type(m).__name__ for m in net] == ["Identity", "Linear", "ReLU", "Linear", "Tanh"]
    assert net(ng.ones(1, 2)).shape == (1, 1)
    assert isinstance(net.pop(0), nn.Identity)
    del net[1:3]
    assert list(net._modules) == ["0", "1"]
    assert len(net + net) == len(net * 2) == len(2 * net) == 4
    net += nn.Sequential(nn.ReLU())
    assert len(net) == 3
    with pytest.raises(IndexError, match="index 9 is out of range"):
        net[9]


def test_module_list_and_dict():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers += [nn.ReLU()]
    layers.insert(1, nn.Tanh())
    assert [type(m).__name__ for m in layers] == ["Linear", "Tanh", "ReLU"]
    assert isinstance(layers[1:], nn.ModuleList)
    assert isinstance(layers.pop(-1), nn.ReLU) and len(layers) == 2
    del layers[0]
    assert list(layers._modules) == ["0"]
    table = nn.ModuleDict({"b": nn.ReLU(), "a": nn.Linear(1, 1)})
    assert list(table) == ["b", "a"] and "a" in table and len(table) == 2
    assert [name for name, _ in table.named_parameters()] == ["a.weight", "a.bias"]
    assert isinstance(table.pop("b"), nn.ReLU)
    with pytest.raises(KeyError, match="already exists"):
        table["keys"] = nn.ReLU()
    table.clear()
    assert len(table) == 0


def test_parameter_list_and_dict():
    values = nn.ParameterList([ng.ones(2), nn.Parameter(ng.ones(3)), "text"])
    assert [type(v).__name__ for v in values] == ["Parameter", "Parameter", "str"]
    assert list(values.state_dict()) == ["0", "1"] and values[-1] == "text"
    values.append(ng.ones(4)).extend([ng.ones(5)])
    assert len(values) == 5 and isinstance(values[1:3], nn.ParameterList)
    values[0] = ng.zeros(7)
    assert values[0].shape == (7,)
    table = nn.ParameterDict({"b": ng.ones(2), "a": ng.ones(3)})
    assert list(table) == ["a", "b"] and list(table.state_dict()) == ["a", "b"]
    assert table.setdefault("c", ng.ones(4)).shape == (4,)
    assert table.popitem()[0] == "c" and table.get("c") is None
    assert list(table | nn.ParameterDict({"z": ng.ones(1)})) == ["a", "b", "z"]
    assert list(table.copy()) == ["a", "b"]
    del table["a"]
    assert next(table.parameters()) is table["b"]
    with pytest.raises(RuntimeError, match="should not be called"):
        values(1)


def test_repr():
    layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)])
    assert repr(layers) == (
        "ModuleList(\n"
        "  (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)\n"
        "  (2): ReLU()\n"
        "  (3): Linear(in_features=2, out_features=2, bias=True)\n"
        ")"
    )
    assert repr(nn.ParameterList([ng.ones(2, 3), 4])) == (
        "ParameterList(\n"
        "    (0): Parameter containing: [torch.float32 of size 2x3]\n"
        "    (1): Object of type: int\n"
        ")"
    )
    assert repr(nn.ParameterDict({"w": ng.ones(2, 3)})) == (
        "ParameterDict(  (w): Parameter containing: [torch.FloatTensor of size 2x3])"
    )
