"""How converting and loading replace a module's tensors: new data, new Parameters, or an exchange."""

import weakref

import pytest

import numgrad as ng
from numgrad import nn


@pytest.fixture(params=["data", "overwrite", "swap"])
def mode(request):
    ng.__future__.set_overwrite_module_params_on_conversion(request.param == "overwrite")
    ng.__future__.set_swap_module_params_on_conversion(request.param == "swap")
    yield request.param
    ng.__future__.set_overwrite_module_params_on_conversion(False)
    ng.__future__.set_swap_module_params_on_conversion(False)


def test_conversion(mode):
    module = nn.Linear(2, 2)
    module(ng.ones(2)).sum().backward()
    weight, data, gradient = module.weight, module.weight.detach(), module.weight.grad
    module.double()
    assert (module.weight is weight) == (mode != "overwrite")
    assert module.weight.dtype is module.weight.grad.dtype is ng.float64
    assert (module.weight.grad is gradient) == (mode != "overwrite")
    assert module.weight.requires_grad and module.weight.grad.tolist() == [[1, 1], [1, 1]]
    assert data.dtype is ng.float32 and module.weight.tolist() == data.tolist()


def test_tied_parameters_are_converted_once():
    ng.__future__.set_swap_module_params_on_conversion(True)
    try:
        module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        module[1].weight = module[0].weight
        module.double()
    finally:
        ng.__future__.set_swap_module_params_on_conversion(False)
    assert module[1].weight is module[0].weight and module[0].weight.dtype is ng.float64


@pytest.mark.parametrize("assign", [False, True])
def test_loading(mode, assign):
    module, state = nn.Linear(2, 2), {"weight": ng.ones(2, 2), "bias": ng.zeros(2)}
    weight = module.weight
    module.load_state_dict(state, assign=assign)
    assert module.weight.tolist() == [[1, 1], [1, 1]] and type(module.weight) is nn.Parameter
    assert (module.weight is weight) == (mode == "swap" or not assign)
    assert (module.weight.data_ptr() == state["weight"].data_ptr()) == assign


def test_a_graph_of_swapped_leaves_is_refused():
    a, b = ng.ones(2, requires_grad=True), ng.zeros(3, requires_grad=True)
    result = (a * 2).sum()
    ng.utils.swap_tensors(a, b)
    assert a.shape == (3,) and b.shape == (2,)
    with pytest.raises(RuntimeError, match="poisoned by swap_tensors"):
        result.backward()
    (a * 3).sum().backward()
    assert a.grad.tolist() == [3, 3, 3] and b.grad is None


class Marked(ng.Tensor):
    pass


def test_all_that_a_tensor_is_changes_places():
    a, b = Marked(ng.ones(2)), nn.Parameter(ng.zeros(3))
    a.note = "a"
    ng.utils.swap_tensors(a, b)
    assert type(a) is nn.Parameter and type(b) is Marked and b.note == "a" and not hasattr(a, "note")
    assert a.requires_grad and not b.requires_grad and a.tolist() == [0, 0, 0]


def test_the_number_of_what_a_tensor_is_changes_places():
    a, b = nn.Parameter(ng.ones(2)), nn.Parameter(ng.zeros(3))
    numbers = a._cdata, b._cdata
    ng.utils.swap_tensors(a, b)
    assert (b._cdata, a._cdata) == numbers and numbers[0] != numbers[1]


def test_what_cannot_be_swapped():
    a, b = ng.ones(2), ng.zeros(2)
    reference = weakref.ref(a)
    with pytest.raises(RuntimeError, match="Cannot swap t1 because it has weakref"):
        ng.utils.swap_tensors(a, b)
    assert reference() is a

    class Slots(ng.Tensor):
        __slots__ = ("more",)

    with pytest.raises(RuntimeError, match="different slots"):
        ng.utils.swap_tensors(b, Slots(ng.ones(2)))
    with pytest.raises(RuntimeError, match="Cannot swap t2 because it is the result of MulBackward"):
        ng.utils.swap_tensors(b, ng.ones(2, requires_grad=True) * 2)


def test_backward_after_a_swap_says_so():
    ng.__future__.set_swap_module_params_on_conversion(True)
    try:
        module = nn.Linear(2, 3)
        loss = module(ng.ones(2, requires_grad=True)).sum()
        module.load_state_dict({"weight": ng.ones(3, 2), "bias": ng.zeros(3)})
    finally:
        ng.__future__.set_swap_module_params_on_conversion(False)
    with pytest.raises(RuntimeError, match="poisoned by swap_tensors"):  # and computes nothing with the new weight
        loss.backward()


def test_conversion_makes_no_copies():
    with pytest.raises(RuntimeError, match="takes no copy=True"):
        nn.Linear(2, 2).to("cpu", copy=True)


def test_a_buffer_does_not_replace_an_attribute():
    module = nn.Module()
    module.scale = 5
    with pytest.raises(KeyError, match="attribute 'scale' already exists"):
        module.scale = nn.Buffer(ng.ones(2))
    assert module.scale == 5


def test_hook_tables_can_be_deleted_before_they_are_made():
    module = nn.Linear(2, 2)
    del module._forward_pre_hooks, module._state_dict_hooks
    assert module(ng.ones(2)).shape == (2,)
