"""Attention and transformers: against PyTorch, gradients included; long sequences in blocks."""

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad import nn
from numgrad.autograd import gradgradcheck
from numgrad.nn.attention import SDPBackend, sdpa_kernel
from numgrad.ops import attention

torch = pytest.importorskip("torch")


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_close(ours, theirs, atol=2e-6):
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-3, atol=atol)


def masks(T, keys):
    return {
        "none": {}, "causal": {"is_causal": True}, "scale": {"scale": 0.3},
        "bool": {"attn_mask": T.from_numpy(array(4, keys, seed=7) > 0)},
        "float": {"attn_mask": T.from_numpy(array(2, 1, 4, keys, seed=8))},
    }  # fmt: skip


@pytest.mark.parametrize("keys", [6, 600])
@pytest.mark.parametrize("mask", ["none", "causal", "scale", "bool", "float"])
def test_scaled_dot_product_attention(mask, keys):
    if keys == 6:
        shapes = [(2, 3, 4, 5), (2, 3, keys, 5), (2, 3, keys, 2)]
    else:
        shapes = [(2, 1, 4, 5), (2, 1, keys, 5), (2, 1, keys, 2)]
    values = [array(*shape, seed=k) for k, shape in enumerate(shapes)]
    ours = [ng.from_numpy(v.copy()).requires_grad_() for v in values]
    theirs = [torch.from_numpy(v.copy()).requires_grad_() for v in values]
    found = F.scaled_dot_product_attention(*ours, **masks(ng, keys)[mask])
    expected = torch.nn.functional.scaled_dot_product_attention(*theirs, **masks(torch, keys)[mask])
    assert_close(found, expected)
    found.cos().sum().backward()
    expected.cos().sum().backward()
    for a, b in zip(ours, theirs):
        assert_close(a.grad, b.grad)


def test_blocks_have_second_derivatives(monkeypatch):
    monkeypatch.setattr(attention, "_LONG", 3)
    monkeypatch.setattr(attention, "_BLOCK", 2)
    ng.manual_seed(0)
    q, k, v = (ng.randn(1, 3, 2, dtype=ng.float64, requires_grad=True) for _ in range(3))
    for options in ({}, {"is_causal": True}, {"attn_mask": ng.randn(3, 3, dtype=ng.float64)}):
        whole = lambda q, k, v: attention._weights(  # noqa: E731
            q, k, options.get("attn_mask"), options.get("is_causal", False), 2**-0.5) @ v  # fmt: skip
        blocks = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options)  # noqa: E731
        ng.testing.assert_close(blocks(q, k, v), whole(q, k, v))
        for a, b in zip(ng.autograd.grad(blocks(q, k, v).sin().sum(), (q, k, v)), ng.autograd.grad(whole(q, k, v).sin().sum(), (q, k, v))):
            ng.testing.assert_close(a, b)
        assert gradgradcheck(blocks, (q, k, v))


def test_chosen_kernels(monkeypatch):
    q, k, v = (ng.tensor(array(2, 3, 8, 4, seed=seed), requires_grad=True) for seed in range(3))
    blocks = []
    apply = attention._Blockwise.apply
    monkeypatch.setattr(attention._Blockwise, "apply", lambda *a: blocks.append(1) or apply(*a))
    call = F.scaled_dot_product_attention
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        flash = call(q, k, v, is_causal=True)
        with sdpa_kernel([SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION]):
            call(q, k, v)
        with pytest.raises(RuntimeError, match="No available kernel"):
            call(q, k, v, dropout_p=0.5)
    assert len(blocks) == 1
    monkeypatch.setattr(attention, "_LONG", 3)
    with ng.backends.cuda.sdp_kernel(enable_flash=False, enable_mem_efficient=False, enable_cudnn=False):
        assert ng.backends.cuda.math_sdp_enabled() and not ng.backends.cuda.flash_sdp_enabled()
        whole = call(q, k, v, is_causal=True)
    assert len(blocks) == 1 and all(attention.allowed.values())
    np.testing.assert_allclose(flash.detach(), whole.detach(), rtol=1e-4, atol=1e-6)
    with pytest.raises(TypeError, match="members of SDPBackend"), sdpa_kernel([3]):
        pass
    ng.backends.cuda.enable_flash_sdp(False)
    assert not ng.backends.cuda.flash_sdp_enabled() and ng.backends.cuda.mem_efficient_sdp_enabled()
    ng.backends.cuda.enable_flash_sdp(True)
    assert ng.backends.cuda.cudnn_sdp_enabled()


def test_grouped_queries():
    q, k, v = array(1, 4, 3, 2), array(1, 2, 3, 2, seed=1), array(1, 2, 3, 2, seed=2)
    found = F.scaled_dot_product_attention(*map(ng.from_numpy, (q, k, v)), enable_gqa=True)
    assert_close(found, torch.nn.functional.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v)), enable_gqa=True))


@pytest.mark.parametrize(
    "options", [{}, {"kdim": 3, "vdim": 6}, {"add_bias_kv": True, "add_zero_attn": True}, {"batch_first": True, "bias": False}]
)
@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention(options, need_weights):
    ng.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = nn.MultiheadAttention(4, 2, **options), torch.nn.MultiheadAttention(4, 2, **options)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(a, b)
    values = array(5, 5, 4), array(5, 5, options.get("kdim", 4), seed=1), array(5, 5, options.get("vdim", 4), seed=2)
    hidden = array(5, 5, seed=3) > 1
    mask = array(5, 5, seed=4)
    (out, weights), (expected, wanted) = (
        attention(
            *map(T.from_numpy, values), key_padding_mask=T.zeros(5, 5).masked_fill(T.from_numpy(hidden), float("-inf")),
            attn_mask=T.from_numpy(mask), need_weights=need_weights,
        ) for T, attention in ((ng, ours), (torch, theirs))
    )  # fmt: skip
    assert_close(out, expected)
    assert (weights is None) == (not need_weights)
    if need_weights:
        assert_close(weights, wanted)
    out.cos().sum().backward()
    expected.cos().sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert_close(a.grad, b.grad)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("options", [{}, {"norm_first": True, "activation": "gelu", "batch_first": True}])
def test_transformer(options):
    ng.manual_seed(0)
    torch.manual_seed(0)
    arguments = dict(d_model=4, nhead=2, num_encoder_layers=2, num_decoder_layers=1, dim_feedforward=6, dropout=0.0, **options)
    ours, theirs = nn.Transformer(**arguments), torch.nn.Transformer(**arguments)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({k: torch.from_numpy(v.numpy().copy()) for k, v in ours.state_dict().items()})
    source, target = array(3, 3, 4), array(3, 3, 4, seed=1)
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    there = torch.nn.Transformer.generate_square_subsequent_mask(3)
    found = ours(ng.from_numpy(source), ng.from_numpy(target), tgt_mask=mask)
    expected = theirs(torch.from_numpy(source), torch.from_numpy(target), tgt_mask=there)
    assert_close(found, expected)
    found.cos().sum().backward()
    expected.cos().sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert_close(a.grad, b.grad, atol=1e-5)  # norms over four numbers, gradients up to 9
