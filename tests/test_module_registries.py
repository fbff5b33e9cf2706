"""What stands in ``_parameters``, ``_buffers`` and ``_modules`` is an attribute, however it got there."""

import pytest

import numgrad as ng
from numgrad import nn


class Bypass(nn.Linear):
    """Registers nothing by assignment."""

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)


class Replaced(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        self._parameters = {"weight": ng.ones(2, 2), "bias": ng.zeros(2)}


def bypassed():
    module = Bypass.__new__(Bypass)
    nn.Module.__init__(module)
    module._parameters = {"weight": ng.ones(2, 2), "bias": ng.zeros(2)}
    return module


def set_as_object():
    module = nn.Linear(2, 2)
    object.__setattr__(module, "_parameters", {"weight": ng.ones(2, 2), "bias": ng.zeros(2)})
    return module


def written():
    module = nn.Linear(2, 2)
    module._parameters["weight"], module._parameters["bias"] = ng.ones(2, 2), ng.zeros(2)
    return module


def updated():
    module = nn.Linear(2, 2)
    module._parameters.update(weight=ng.ones(2, 2))
    module._parameters |= {"bias": ng.zeros(2)}
    return module


@pytest.mark.parametrize("make", [Replaced, bypassed, set_as_object, written, updated])
def test_what_is_in_the_registry_is_the_attribute(make):
    module = make()
    assert module(ng.ones(1, 2)).tolist() == [[2, 2]]
    module._parameters["bias"] = ng.ones(2)  # and stays so
    assert module.bias.tolist() == [1, 1] and module(ng.ones(1, 2)).tolist() == [[3, 3]]
    assert module.state_dict()["bias"].tolist() == [1, 1] and "bias" in dir(module)
    del module._parameters["bias"]
    assert not hasattr(module, "bias")


def test_a_dict_put_there_is_kept_and_looked_at():
    module, mine = nn.Linear(2, 2), {}
    module._buffers = mine
    mine["scale"] = ng.ones(3)
    assert module._buffers is mine and module.scale is mine["scale"]
    module.scale = ng.zeros(3)
    assert mine["scale"].tolist() == [0, 0, 0]


def clone(module, change):
    """A copy as libraries for meta-learning make them: other tensors in the same structure."""
    found = module.__new__(type(module))
    found.__dict__ = module.__dict__.copy()
    for kind in ("_parameters", "_buffers", "_modules"):
        setattr(found, kind, getattr(found, kind).copy())
    for name, parameter in found._parameters.items():
        found._parameters[name] = None if parameter is None else change(parameter)
    for name, child in found._modules.items():
        found._modules[name] = clone(child, change)
    return found


def test_a_clone_has_its_own_members():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    fast = clone(net, lambda parameter: parameter * 2)
    assert fast[0].weight.tolist() == (net[0].weight * 2).tolist()
    fast(ng.randn(4, 2)).square().sum().backward()
    assert net[0].weight.grad is not None and fast[0].weight.grad_fn is not None
    assert len(list(fast.parameters())) == 4


def test_errors_of_properties_are_their_own():
    class Broken(nn.Module):
        @property
        def size(self):
            return self.missing

    with pytest.raises(AttributeError, match="'Broken' object has no attribute 'missing'"):
        Broken().size  # noqa: B018
