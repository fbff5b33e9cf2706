"""Initialisers and default weights: the same seed gives PyTorch's numbers."""

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn

torch = pytest.importorskip("torch")  # after numgrad: each brings its own OpenMP
torch.set_num_threads(1)

CASES = [
    ("uniform_", (-1.0, 2.0)), ("normal_", (1.0, 2.0)), ("constant_", (3.0,)), ("ones_", ()), ("zeros_", ()),
    ("trunc_normal_", ()), ("trunc_normal_", (0.5, 2.0, -1.0, 3.0)), ("trunc_normal_", (0.0, 1.0, 1.0, 1.5)),
    ("eye_", ()), ("dirac_", ()), ("dirac_", (2,)), ("sparse_", (0.3,)),
    ("xavier_uniform_", ()), ("xavier_normal_", (2.0,)), ("orthogonal_", ()), ("orthogonal_", (0.5,)),
    ("kaiming_uniform_", ()), ("kaiming_uniform_", (0.2, "fan_out", "relu")), ("kaiming_normal_", (0, "fan_out")),
]  # fmt: skip


@pytest.mark.parametrize("shape", [(20,), (4, 5), (7, 3), (6, 4, 3), (6, 2, 3, 3)], ids=str)
@pytest.mark.parametrize("name, args", CASES, ids=str)
def test_same_numbers_or_the_same_refusal(name, args, shape):
    torch.manual_seed(3)
    ng.manual_seed(3)
    try:
        expected = getattr(torch.nn.init, name)(torch.empty(shape), *args).numpy()
    except ValueError as error:
        with pytest.raises(ValueError) as ours:
            getattr(nn.init, name)(ng.empty(*shape), *args)
        assert str(ours.value) == str(error)
        return
    tensor = ng.empty(*shape)
    assert getattr(nn.init, name)(tensor, *args) is tensor
    tolerance = 1e-6 if name == "orthogonal_" else 0.0  # LAPACKs differ in the last place
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "make",
    [
        lambda nn: nn.Sequential(nn.Linear(10, 20), nn.LayerNorm(20), nn.Linear(20, 3, bias=False)),
        lambda nn: nn.Bilinear(3, 4, 5),
        lambda nn: nn.Embedding(10, 4, padding_idx=2),
        lambda nn: nn.Sequential(nn.RNNCell(3, 4), nn.LSTMCell(3, 4), nn.GRUCell(3, 4, bias=False)),
        lambda nn: nn.Sequential(nn.PReLU(3), nn.RMSNorm((2, 3))),
    ],
    ids=["mlp", "bilinear", "embedding", "cells", "constant"],
)
def test_default_weights(make):
    torch.manual_seed(7)
    ng.manual_seed(7)
    expected, ours = make(torch.nn), make(nn)
    assert repr(ours) == repr(expected)
    theirs = expected.state_dict()
    state = ours.state_dict()
    assert list(state) == list(theirs)
    for name, value in state.items():
        np.testing.assert_array_equal(value.numpy(), theirs[name].numpy(), err_msg=name)


def test_parameters_are_filled_outside_the_graph():
    weight = nn.Parameter(ng.empty(3, 4))
    assert nn.init.xavier_uniform_(weight) is weight
    assert weight.is_leaf and weight.requires_grad


@pytest.mark.parametrize("nonlinearity", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains(nonlinearity):
    assert nn.init.calculate_gain(nonlinearity) == torch.nn.init.calculate_gain(nonlinearity)


def test_gain_errors():
    with pytest.raises(ValueError, match="Unsupported nonlinearity nope"):
        nn.init.calculate_gain("nope")
    with pytest.raises(ValueError, match="negative_slope True not a valid number"):
        nn.init.calculate_gain("leaky_relu", True)
