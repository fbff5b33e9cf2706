"""Recurrent layers and packed sequences: against PyTorch, gradients included."""

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn
from numgrad.autograd import gradcheck, gradgradcheck
from numgrad.nn.utils import rnn
from numgrad.ops.recurrent import gru_step, lstm_step

torch = pytest.importorskip("torch")

SETTINGS = [
    ("RNN", {}), ("RNN", {"nonlinearity": "relu", "bias": False}), ("GRU", {"num_layers": 2, "batch_first": True}),
    ("GRU", {"bidirectional": True}), ("LSTM", {}), ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
]  # fmt: skip


def pair(kind, **options):
    """The layer here and in PyTorch, from one seed."""
    ng.manual_seed(0)
    torch.manual_seed(0)
    return getattr(nn, kind)(3, 4, **options), getattr(torch.nn, kind)(3, 4, **options)


def flat(result):
    if isinstance(result, (tuple, list)):
        return [x for part in result for x in flat(part)]
    return [result]


def assert_same(ours, theirs):
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("kind, options", SETTINGS)
def test_layers_agree_with_pytorch(kind, options):
    ours, theirs = pair(kind, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_same(list(ours.parameters()), list(theirs.parameters()))
    values = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    for x in (values, values[:, 0]):
        a, b = ng.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(x.copy()).requires_grad_()
        found, expected = ours(a), theirs(b)
        assert_same(found, expected)
        if x.ndim == 3:
            sum(part.cos().sum() for part in flat(found)).backward()
            sum(part.cos().sum() for part in flat(expected)).backward()
            assert_same(a.grad, b.grad)
            assert_same([p.grad for p in ours.parameters()], [p.grad for p in theirs.parameters()])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences_agree_with_pytorch(kind, enforce_sorted):
    ours, theirs = pair(kind, bidirectional=True, num_layers=2)
    lengths = [5, 3, 1] if enforce_sorted else [1, 5, 3]
    values = np.random.default_rng(0).standard_normal((5, 3, 3)).astype(np.float32)
    packed = rnn.pack_padded_sequence(ng.from_numpy(values), lengths, enforce_sorted=enforce_sorted)
    expected = torch.nn.utils.rnn.pack_padded_sequence(torch.from_numpy(values), lengths, enforce_sorted=enforce_sorted)
    assert_same([packed.data, packed.batch_sizes], [expected.data, expected.batch_sizes])
    (out, states), (out_there, states_there) = ours(packed), theirs(expected)
    assert_same(states, states_there)
    assert_same(rnn.pad_packed_sequence(out), torch.nn.utils.rnn.pad_packed_sequence(out_there))
    out.data.cos().sum().backward()
    out_there.data.cos().sum().backward()
    assert_same([p.grad for p in ours.parameters()], [p.grad for p in theirs.parameters()])
    back = rnn.unpack_sequence(out)
    assert [len(x) for x in back] == lengths


def test_a_state_may_be_given():
    ours, theirs = pair("LSTM")
    values = np.random.default_rng(0).standard_normal((1, 2, 4)).astype(np.float32)
    x = np.ones((2, 2, 3), np.float32)
    found = ours(ng.from_numpy(x), (ng.from_numpy(values), ng.from_numpy(values * 2)))
    assert_same(found, theirs(torch.from_numpy(x), (torch.from_numpy(values), torch.from_numpy(values * 2))))
    with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size \(1, 2, 4\), got \[1, 3, 4\]"):
        ours(ng.from_numpy(x), (ng.zeros(1, 3, 4), ng.zeros(1, 3, 4)))
    with pytest.raises(RuntimeError, match="Expected 3, got 2"):
        ours(ng.ones(2, 2, 2))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_large_batches_are_cut_into_blocks(kind):
    ours, theirs = pair(kind, bidirectional=True)
    values = np.random.default_rng(0).standard_normal((3, 70, 3)).astype(np.float32)
    found, expected = ours(ng.from_numpy(values)), theirs(torch.from_numpy(values))
    assert_same(found, expected)
    sum(part.cos().mean() for part in flat(found)).backward()
    sum(part.cos().mean() for part in flat(expected)).backward()
    assert_same([p.grad for p in ours.parameters()], [p.grad for p in theirs.parameters()])


def test_padding():
    parts = [ng.ones(3, 2), ng.ones(1, 2) * 2, ng.ones(2, 2) * 3]
    there = [torch.ones(3, 2), torch.ones(1, 2) * 2, torch.ones(2, 2) * 3]
    for options in ({}, {"batch_first": True, "padding_value": -1.0}, {"padding_side": "left"}):
        assert_same(rnn.pad_sequence(parts, **options), torch.nn.utils.rnn.pad_sequence(there, **options))
    packed = rnn.pack_sequence(parts, enforce_sorted=False)
    assert [x.tolist() for x in rnn.unpack_sequence(packed)] == [x.tolist() for x in parts]
    with pytest.raises(RuntimeError, match="sorted in decreasing order"):
        rnn.pack_padded_sequence(ng.ones(3, 2, 1), [1, 3])


@pytest.mark.parametrize("kind, options", [("RNN", {}), ("LSTM", {"bidirectional": True}), ("GRU", {"num_layers": 2})])
def test_layers_have_second_derivatives(kind, options):
    """The gradients of a penalty on the weights' gradients."""
    values, penalties = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32), []
    layers = pair(kind, **options)
    for T, layer in zip((ng, torch), layers):
        out = layer(T.from_numpy(values.copy()))[0]
        gradients = T.autograd.grad(out.cos().sum(), list(layer.parameters()), create_graph=True)
        penalties.append(sum((g * g).sum() for g in gradients))
        penalties[-1].backward()
    assert_same(*penalties)
    assert_same(*[[p.grad for p in layer.parameters()] for layer in layers])


def test_a_weight_may_be_frozen_and_a_graph_used_twice():
    ours, theirs = pair("LSTM")
    values = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    for T, layer in ((ng, ours), (torch, theirs)):
        loss = layer(T.from_numpy(values.copy()))[0].cos().sum()
        loss.backward(retain_graph=True)
        loss.backward()
        layer.weight_hh_l0.requires_grad_(False)
        layer(T.from_numpy(values.copy()))[0].cos().sum().backward()
    assert_same([p.grad for p in ours.parameters()], [p.grad for p in theirs.parameters()])


def test_steps_have_second_derivatives():
    ng.manual_seed(0)
    gates, x, y, state, states = (ng.randn(2, n, dtype=ng.float64, requires_grad=True) for n in (8, 6, 6, 2, 4))
    assert gradcheck(lstm_step, (gates, states)) and gradgradcheck(lstm_step, (gates, states))
    assert gradcheck(gru_step, (x, y, state)) and gradgradcheck(gru_step, (x, y, state))


@pytest.mark.parametrize("kind, options", SETTINGS)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_gradients_of_several_weightings_at_once_are_those_of_each(kind, options):
    layer = pair(kind, **options)[0]
    x = ng.randn(3, 2, 3, requires_grad=True)
    out, leaves = layer(x)[0], [x, *layer.parameters()]
    weights = ng.randn(2, *out.shape)
    together = ng.autograd.grad(out, leaves, weights, True, is_grads_batched=True)
    for k in range(2):
        for one, several in zip(ng.autograd.grad(out, leaves, weights[k], True), together):
            assert (one - several[k]).abs().max() < 1e-5 and not several.requires_grad
