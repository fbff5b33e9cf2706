"""Module, Parameter and the containers: PyTorch's contract."""

import copy
import gc
import inspect
import pickle
import weakref
from collections import OrderedDict

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn


class Net(nn.Module):
    """One of everything that can be registered."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.body = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 4)), nn.ReLU())
        self.scale = nn.Parameter(ng.ones(2))
        self.register_buffer("mean", ng.zeros(3))
        self.register_buffer("cache", ng.zeros(2), persistent=False)
        self.register_parameter("nothing", None)
        self.again = self.first

    def forward(self, x):
        return self.body(self.first(x * self.scale))


# --- registering ---------------------------------------------------------------------------------------------------


def test_attributes_and_registries_agree():
    net = Net()
    assert net.scale is net._parameters["scale"] is net.__dict__["scale"]
    assert net.mean is net._buffers["mean"]
    assert net.first is net._modules["first"]
    assert net.nothing is None and "nothing" in net._parameters


def test_writes_to_the_registries_show_in_the_attributes():
    net = Net()
    del net._parameters["scale"]
    assert not hasattr(net, "scale")
    net._parameters["scale"] = new = nn.Parameter(ng.zeros(1))
    assert net.scale is new
    net._buffers["mean"] = moved = ng.ones(5)
    assert net.mean is moved
    net._modules["first"] = nn.ReLU()
    assert isinstance(net.first, nn.ReLU)
    assert net._modules.pop("body") is not None and not hasattr(net, "body")
    net._parameters.update(a=new)
    net._parameters.setdefault("b", new)
    net._parameters |= {"c": new}
    assert net.a is net.b is net.c is new
    net._parameters.clear()
    assert not hasattr(net, "a") and not hasattr(net, "scale")


def test_a_name_that_moved_survives_its_deletion_in_the_old_registry():
    layer = nn.Linear(2, 2)
    value = layer.weight.detach()
    layer._buffers["weight"] = value
    del layer._parameters["weight"]
    assert layer.weight is value


def test_setattr_moves_between_kinds():
    net = Net()
    net.scale = None
    assert net._parameters["scale"] is None
    net.scale = nn.Parameter(ng.ones(1))
    net.first = nn.Parameter(ng.ones(1))
    assert "first" in net._parameters and "first" not in net._modules
    net.cache = nn.Linear(1, 1)
    assert "cache" in net._modules and "cache" not in net._buffers and not net._non_persistent_buffers_set
    net.mean = ng.ones(7)
    assert net._buffers["mean"].shape == (7,)
    net.plain = ng.ones(7)
    assert "plain" not in net.state_dict()
    net.marked = nn.Buffer(ng.ones(7), persistent=False)
    assert "marked" in net._buffers and "marked" in net._non_persistent_buffers_set


@pytest.mark.parametrize(
    "action, error, text",
    [
        (lambda m: setattr(m, "weight", 3), TypeError, "cannot assign 'int' as parameter 'weight'"),
        (lambda m: setattr(m, "child", 3), TypeError, "cannot assign 'int' as child module 'child'"),
        (lambda m: setattr(m, "buf", 3), TypeError, "cannot assign 'int' as buffer 'buf'"),
        (lambda m: m.register_buffer("weight", None), KeyError, "attribute 'weight' already exists"),
        (lambda m: m.register_buffer("a.b", None), KeyError, "buffer name can.*t contain"),
        (lambda m: m.register_buffer("", None), KeyError, "buffer name can.*t be empty string"),
        (lambda m: m.register_buffer(3, None), TypeError, "buffer name should be a string. Got int"),
        (lambda m: m.register_buffer("x", 3), TypeError, "cannot assign 'int' object to buffer 'x'"),
        (lambda m: m.register_parameter("x", 3), TypeError, "cannot assign 'int' object to parameter 'x'"),
        (lambda m: m.register_parameter("forward", None), KeyError, "attribute 'forward' already exists"),
        (lambda m: m.add_module("x", 3), TypeError, "int is not a Module subclass"),
        (lambda m: m.get_submodule("x"), AttributeError, "Linear has no attribute `x`"),
        (lambda m: m.get_submodule("weight"), AttributeError, "`weight` is not an nn.Module"),
        (lambda m: m.get_parameter("buf"), AttributeError, "`buf` is not an nn.Parameter"),
        (lambda m: m.get_buffer("weight"), AttributeError, "`weight` is not a buffer"),
        (lambda m: m.set_submodule("", nn.ReLU()), ValueError, "without a target name"),
        (lambda m: m.set_submodule("x", nn.ReLU(), strict=True), AttributeError, "Linear has no attribute `x`"),
        (lambda m: m.missing, AttributeError, "'Linear' object has no attribute 'missing'"),
        (lambda m: delattr(m, "missing"), AttributeError, "'Linear' object has no attribute 'missing'"),
        (lambda m: m.train(3), ValueError, "training mode is expected to be boolean"),
        (lambda m: m.to(ng.int64), TypeError, "only accepts floating point or complex dtypes"),
        *((lambda m, given=given: m.to(*given), TypeError, "invalid combination of arguments") for given in (
            ("cpu", True), (None, True), ("cpu", ng.float32, 1), ([],), (ng.float32, "cpu"), (True,), (ng.ones(1), ng.float32),
            ("cpu", ng.ones(1)), ("cpu", None, False, False, None),
        )),
        (lambda m: m.load_state_dict(3), TypeError, "Expected state_dict to be dict-like"),
        (lambda m: nn.Module()(1), NotImplementedError, r"Module \[Module\] is missing the required \"forward\""),
        (lambda m: nn.Module(1), TypeError, "takes 1 positional argument but 2 were given"),
        (lambda m: nn.Module(a=1), TypeError, "unexpected keyword argument 'a'"),
    ],
)
def test_errors(action, error, text):
    layer = nn.Linear(2, 3)
    layer.child = nn.ReLU()
    layer.register_buffer("buf", ng.ones(1))
    with pytest.raises(error, match=text):
        action(layer)


def test_walks_are_generators():
    walk = nn.Linear(2, 3).parameters()
    assert inspect.isgenerator(walk) and next(walk).shape == (3, 2) and walk.send(None).shape == (3,)
    assert inspect.getgeneratorstate(walk) == inspect.GEN_SUSPENDED
    walk.close()
    assert list(walk) == [] and walk.consumed and inspect.getgeneratorstate(walk) == inspect.GEN_CLOSED
    for _ in range(2):
        walk = nn.Linear(2, 3).parameters()
        assert len(ng.optim.SGD(walk, 0.1).param_groups[0]["params"]) == 2
    with pytest.raises(ValueError, match="already consumed"):
        ng.optim.SGD(walk, 0.1)


def test_buffers_where_a_subclass_registers_them_its_own_way():
    class Own(nn.Module):
        def register_buffer(self, name, tensor):
            super().register_buffer(name, tensor + 1)

    module = Own()
    module.count = nn.Buffer(ng.zeros(1))
    assert module.state_dict()["count"].tolist() == [1]
    with pytest.raises(RuntimeError, match="without the persistent argument"):
        module.other = nn.Buffer(ng.zeros(1), persistent=False)


def test_an_error_in_a_property_is_reported_as_it_is():
    class Broken(nn.Module):
        @property
        def shown(self):
            return self.absent

    with pytest.raises(AttributeError, match="'absent'"):
        Broken().shown  # noqa: B018


def test_delattr():
    net = Net()
    del net.scale, net.mean, net.first
    assert not hasattr(net, "scale") and "mean" not in net._buffers and "first" not in net._modules


def test_modules_are_freed_without_the_garbage_collector():
    gc.disable()
    try:
        net = Net()
        reference = weakref.ref(net)
        list(net.parameters())
        net(ng.ones(1, 2))
        del net
        assert reference() is None
    finally:
        gc.enable()


# --- walking -------------------------------------------------------------------------------------------------------


def test_names():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "scale", "first.weight", "first.bias", "body.0.weight", "body.0.bias", "body.1.0.weight", "body.1.0.bias",
    ]  # fmt: skip
    assert "again.weight" in dict(net.named_parameters(remove_duplicate=False))
    assert [name for name, _ in net.named_parameters(prefix="q", recurse=False)] == ["q.scale"]
    assert [name for name, _ in net.named_buffers()] == ["mean", "cache"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "body", "body.0", "body.1", "body.1.0", "body.2"]
    assert [name for name, _ in net.named_children()] == ["first", "body"]
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    assert net.get_submodule("body.1.0") is net.body[1][0]
    assert net.get_parameter("body.0.weight") is net.body[0].weight
    assert net.get_buffer("mean") is net.mean
    net.set_submodule("body.1.0", nn.Tanh())
    assert isinstance(net.body[1][0], nn.Tanh)


def test_parameters_respects_redefined_walks():
    class Hiding(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen, self.hidden = nn.Linear(1, 1), nn.Linear(1, 1)

        def named_modules(self, memo=None, prefix="", remove_duplicate=True):
            for name, module in super().named_modules(memo, prefix, remove_duplicate):
                if module is not self.hidden:
                    yield name, module

    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
            return iter(())

    assert len(list(Hiding().parameters())) == 2
    assert len(list(nn.Sequential(Hiding(), nn.Linear(1, 1)).parameters())) == 4
    assert list(Frozen().parameters()) == []


def test_apply_train_requires_grad_zero_grad():
    net = Net()
    order = []
    assert net.apply(lambda module: order.append(type(module).__name__)) is net
    assert order == ["Linear", "Linear", "Linear", "Sequential", "ReLU", "Sequential", "Net"]
    assert net.eval() is net and not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())
    net(ng.ones(1, 2)).sum().backward()
    assert net.scale.grad is not None
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0.0, 0.0]
    net.zero_grad()
    assert net.scale.grad is None
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_to_keeps_identity_and_gradients():
    net = Net()
    weight = net.first.weight
    net(ng.ones(1, 2)).sum().backward()
    assert net.to(ng.float64) is net
    assert net.first.weight is weight and type(weight) is nn.Parameter and weight.requires_grad
    assert weight.dtype is weight.grad.dtype is net.mean.dtype is ng.float64
    assert net.to(ng.ones(1)).scale.dtype is ng.float32
    assert net.to("cpu", ng.float64).scale.dtype is ng.float64
    assert net.to(device="cpu", dtype=ng.float32).float().double().cpu().scale.dtype is ng.float64
    assert net(ng.ones(1, 2).double()).dtype is ng.float64
    net.to_empty(device="cpu")
    assert net.scale.shape == (2,)


# --- state dicts ---------------------------------------------------------------------------------------------------


def test_state_dict():
    net = Net()
    state = net.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state)[:4] == ["scale", "mean", "first.weight", "first.bias"]
    assert "cache" not in state and "again.weight" in state and "nothing" not in state
    assert state._metadata[""] == {"version": 1} and "body.1.0" in state._metadata
    assert not any(value.requires_grad for value in state.values())
    assert state["scale"].data_ptr() == net.scale.data_ptr()
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert next(iter(net.state_dict(prefix="m."))) == "m.scale"
    target = OrderedDict()
    assert net.state_dict(destination=target) is target
    other = Net()
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert other.first.weight.tolist() == net.first.weight.tolist()
    assert other.first.weight is not net.first.weight


def test_load_not_strict():
    net = nn.Linear(2, 3)
    found = net.load_state_dict({"weight": ng.zeros(3, 2), "more": ng.zeros(1)}, strict=False)
    assert found.missing_keys == ["bias"] and found.unexpected_keys == ["more"]
    assert net.weight.tolist() == [[0.0, 0.0]] * 3


def test_load_assign_takes_dtype_and_memory():
    net = nn.Linear(2, 3)
    net.weight.requires_grad_(False)
    state = nn.Linear(2, 3).double().state_dict()
    net.load_state_dict(state, assign=True)
    assert net.weight.dtype is ng.float64 and type(net.weight) is nn.Parameter
    assert not net.weight.requires_grad and net.bias.requires_grad
    assert net.weight.data_ptr() == state["weight"].data_ptr()


@pytest.mark.parametrize("value", [np.ones((3, 2)), [[1.0, 2.0]] * 3, 1.0])
def test_load_takes_tensors_only(value):
    net = nn.Linear(2, 3, bias=False)
    with pytest.raises(RuntimeError, match="expected torch.Tensor or Tensor-like object from checkpoint but received"):
        net.load_state_dict({"weight": value})


def test_extra_state_and_version():
    class Counting(nn.Module):
        _version = 3

        def __init__(self):
            super().__init__()
            self.count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            self.version_seen = local_metadata.get("version")
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    net = nn.Sequential(Counting())
    net[0].count = 5
    state = net.state_dict()
    assert list(state) == ["0._extra_state"]
    other = nn.Sequential(Counting())
    other.load_state_dict(state)
    assert other[0].count == 5 and other[0].version_seen == 3
    with pytest.raises(RuntimeError, match="_extra_state"):
        other.load_state_dict({})


def test_state_dict_hooks():
    log = []
    net = nn.Sequential(nn.Linear(1, 1))
    net.register_state_dict_pre_hook(lambda module, prefix, keep: log.append(("pre", prefix, keep)))
    net[0].register_state_dict_post_hook(lambda module, state, prefix, meta: log.append(("post", prefix, list(state))))
    net._register_state_dict_hook(lambda module, state, prefix, meta: {"only": state["0.bias"]})
    net[0].register_load_state_dict_pre_hook(lambda module, state, prefix, *rest: log.append((module, prefix)))
    net.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    assert list(net.state_dict()) == ["only"]
    net.load_state_dict({})
    assert log == [("pre", "", False), ("post", "0.", ["0.weight", "0.bias"]), (net[0], "0.")]


# --- calls and hooks -----------------------------------------------------------------------------------------------


def test_forward_hooks():
    log = []
    layer = nn.Identity()
    layer.register_forward_pre_hook(lambda module, args: args[0] * 2)
    layer.register_forward_pre_hook(lambda module, args, kwargs: log.append(sorted(kwargs)), with_kwargs=True)
    layer.register_forward_hook(lambda module, args, output: output * 3)
    layer.register_forward_hook(lambda module, args, kwargs, output: log.append("k"), with_kwargs=True, prepend=True)
    assert layer(ng.ones(1)).item() == 6.0
    assert log == [[], "k"]


def test_a_removed_hook_is_gone_and_handles_are_contexts():
    layer = nn.Identity()
    handle = layer.register_forward_hook(lambda module, args, output: output * 3)
    assert layer(ng.ones(1)).item() == 3.0
    handle.remove()
    handle.remove()
    assert layer(ng.ones(1)).item() == 1.0
    with layer.register_forward_hook(lambda module, args, output: output * 5):
        assert layer(ng.ones(1)).item() == 5.0
    assert layer(ng.ones(1)).item() == 1.0


def test_hooks_written_into_the_table_are_run():
    layer = nn.Identity()
    layer._forward_hooks["mine"] = lambda module, args, output: output * 7
    assert layer(ng.ones(1)).item() == 7.0
    layer._forward_hooks.clear()
    assert layer(ng.ones(1)).item() == 1.0


def test_always_called_hooks_run_when_forward_raises():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("broken")

    log = []
    layer = Broken()
    layer.register_forward_hook(lambda *args: log.append("never"))
    layer.register_forward_hook(lambda module, args, output: log.append(output), always_call=True)
    with pytest.raises(ValueError, match="broken"):
        layer(1)
    assert log == [None]


def test_full_backward_hooks():
    log = []
    layer = nn.Linear(2, 2)
    layer.register_full_backward_pre_hook(lambda module, grads: log.append(tuple(grads[0].shape)))
    layer.register_full_backward_hook(lambda module, inputs, outputs: log.append((inputs, tuple(outputs[0].shape))))
    layer(ng.ones(3, 2)).sum().backward()
    assert log == [(3, 2), ((None,), (3, 2))]
    log.clear()
    x = ng.ones(3, 2).requires_grad_()
    layer(x).sum().backward()
    assert tuple(log[1][0][0].shape) == (3, 2)
    assert log[1][0][0].tolist() == x.grad.tolist()


def test_full_backward_hooks_replace_gradients():
    layer = nn.Identity()
    layer.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * 5,))
    layer.register_full_backward_pre_hook(lambda module, outputs: (outputs[0] * 7,))
    x = ng.ones(1).requires_grad_()
    layer(x).sum().backward()
    assert x.grad.item() == 35.0


def test_full_backward_hooks_see_all_inputs_and_outputs():
    class Two(nn.Module):
        def forward(self, a, b, n):
            return a * b, a + b

    log = []
    layer = Two()
    layer.register_full_backward_hook(lambda module, inputs, outputs: log.append((inputs, outputs)))
    a, b = ng.ones(2).requires_grad_(), ng.ones(3, 2).requires_grad_()
    product, total = layer(a, b, 4)
    (product * 2 + total).sum().backward()
    (inputs, outputs), = log
    assert [None if g is None else tuple(g.shape) for g in inputs] == [(2,), (3, 2), None]
    assert outputs[0].tolist() == [[2.0, 2.0]] * 3
    assert b.grad.tolist() == [[3.0, 3.0]] * 3
    log.clear()
    layer(a, b, 4)[0].sum().backward()
    assert log[0][1][1] is None


def test_kinds_of_backward_hooks_do_not_mix():
    layer = nn.Linear(1, 1)
    layer.register_full_backward_hook(lambda *args: None)
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full backward hooks"):
        layer.register_backward_hook(lambda *args: None)


def test_plain_backward_hook():
    log = []
    layer = nn.Identity()
    layer.register_backward_hook(lambda module, inputs, outputs: log.append((inputs[0].tolist(), outputs[0].tolist())))
    x = ng.ones(2).requires_grad_()
    with pytest.warns(FutureWarning, match="non-full backward hook"):
        layer(x * 3).sum().backward()
    assert log == [([3.0, 3.0], [1.0, 1.0])]


def test_hooks_of_all_modules():
    log = []
    handles = [
        nn.register_module_forward_pre_hook(lambda module, args: log.append("pre")),
        nn.register_module_forward_hook(lambda module, args, output: log.append("forward")),
        nn.register_module_full_backward_pre_hook(lambda module, outputs: log.append("backward pre")),
        nn.register_module_full_backward_hook(lambda module, inputs, outputs: log.append("backward")),
        nn.register_module_parameter_registration_hook(lambda module, name, value: log.append(name)),
        nn.register_module_buffer_registration_hook(lambda module, name, value: log.append(name)),
        nn.register_module_module_registration_hook(lambda module, name, value: log.append(name)),
    ]
    try:
        layer = nn.Linear(1, 1)
        layer.register_buffer("buf", None)
        layer.act = nn.ReLU()
        layer(ng.ones(1, 1).requires_grad_()).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert log == ["weight", "bias", "buf", "act", "pre", "forward", "backward pre", "backward"]
    layer(ng.ones(1, 1))
    assert len(log) == 8


def test_unusual_calls():
    class Shouting(nn.Linear):
        def __call__(self, x):
            return super().__call__(x) * 2

    layer = Shouting(2, 2)
    x = ng.ones(1, 2)
    assert layer(x).tolist() == (layer.forward(x) * 2).tolist()
    assert nn.Module.__call__(layer, x).tolist() == layer.forward(x).tolist()
    layer.forward = lambda x: x
    assert layer(x).tolist() == [[2.0, 2.0]]
    assert callable(layer)


# --- text ----------------------------------------------------------------------------------------------------------


def test_repr():
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (body): Sequential(\n"
        "    (0): Linear(in_features=3, out_features=3, bias=True)\n"
        "    (1): Sequential(\n"
        "      (0): Linear(in_features=3, out_features=4, bias=True)\n"
        "    )\n"
        "    (2): ReLU()\n"
        "  )\n"
        "  (again): Linear(in_features=2, out_features=3, bias=True)\n"
        ")"
    )


def test_dir_lists_members_but_no_numbers():
    names = dir(Net())
    assert {"scale", "mean", "first", "training", "forward"} <= set(names)
    assert "0" not in dir(nn.Sequential(nn.ReLU()))


# --- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies(copied):
    net = Net()
    net.scale.note = "kept"
    net.first.register_forward_hook(print_nothing)
    other = copied(net)
    assert repr(other) == repr(net) and list(other.state_dict()) == list(net.state_dict())
    assert other.again is other.first
    assert type(other.scale) is nn.Parameter and other.scale.requires_grad and other.scale.note == "kept"
    assert other.scale is other._parameters["scale"] and other.scale is not net.scale
    other._parameters["scale"] = nn.Parameter(ng.zeros(9))
    assert other.scale.shape == (9,) and net.scale.shape == (2,)
    assert len(other.first._forward_hooks) == 1
    assert other._non_persistent_buffers_set == {"cache"}


def print_nothing(module, args, output):
    """A hook that can be pickled."""


def test_shallow_copy_has_registries_of_its_own():
    layer = nn.Linear(2, 2)
    other = copy.copy(layer)
    assert other.weight is layer.weight
    other.weight = nn.Parameter(ng.zeros(1))
    assert layer.weight.shape == (2, 2)


def test_classes_with_their_own_getstate_can_be_copied():
    class Slim(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.handle = nn.Linear(1, 1), object()

        def __getstate__(self):
            state = self.__dict__.copy()
            del state["handle"]
            return state

        def __setstate__(self, state):
            self.__dict__.update(state)
            self.handle = None

    other = copy.deepcopy(Slim())
    other._modules["layer"] = nn.ReLU()
    assert isinstance(other.layer, nn.ReLU)
