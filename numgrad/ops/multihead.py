"""Attention of several heads, with its projections and masks."""

import math

from ..config import warn_once
from ..op import function
from ..tensor import Tensor
from .attention import scaled_dot_product_attention, without_keys
from .join import cat
from .matmul import baddbmm, bmm, linear
from .pad import pad
from .random import dropout
from .softmax import softmax


def additive_mask(mask: Tensor | None, name: str, dtype) -> Tensor | None:
    """A mask as numbers to add: bool ones, True where a key is hidden, become 0 and -inf."""
    if mask is None:
        return None
    if mask._m.dtype.kind != "b" and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported, got {mask.dtype}")
    if mask._m.dtype.kind == "b":
        return mask.new_zeros(mask.shape, dtype=dtype).masked_fill(mask, -math.inf)
    return mask


def _projected(query, key, value, in_proj_weight, separate, bias):
    """q, k and v."""
    embed = query.shape[-1]
    if separate is None:
        if query is key and key is value:
            found = linear(query, in_proj_weight, bias)
            return found.split(embed, -1)
        separate = in_proj_weight.split(embed, 0)
    biases = (None, None, None) if bias is None else bias.split(embed, 0)
    return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), separate, biases))


def _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads):
    rank = query.dim()
    if rank not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor")
    given = f"For {'batched (3-D)' if rank == 3 else 'unbatched (2-D)'} `query`, expected"
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"{given} `key` and `value` to be {rank}-D but found {key.dim()}-D and {value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != rank - 1:
        raise AssertionError(
            f"{given} `key_padding_mask` to be `None` or {rank - 1}-D but found {key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(f"{given} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D tensor instead")
        wanted = (num_heads, query.shape[0], key.shape[0])
        if rank == 2 and attn_mask.dim() == 3 and tuple(attn_mask.shape) != wanted:
            raise AssertionError(f"Expected `attn_mask` shape to be {wanted} but got {tuple(attn_mask.shape)}")


@function(install=("F",))
def multi_head_attention_forward(
    query, key, value, embed_dim_to_check: int, num_heads: int, in_proj_weight, in_proj_bias, bias_k, bias_v,
    add_zero_attn: bool, dropout_p: float, out_proj_weight, out_proj_bias, training: bool = True, key_padding_mask=None,
    need_weights: bool = True, attn_mask=None, use_separate_proj_weight: bool = False, q_proj_weight=None,
    k_proj_weight=None, v_proj_weight=None, static_k=None, static_v=None, average_attn_weights: bool = True,
    is_causal: bool = False,
):  # fmt: skip
    """Attention of ``num_heads`` heads over projections of query (L, N, E), key (S, N, K) and value (S, N, V), or without
    N -> (the output (L, N, E), the weights (N, L, S), by head if not ``average_attn_weights``, or None)."""
    batched = query.dim() == 3
    _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, embed = query.shape
    if embed != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}")
    size = embed // num_heads
    if size * num_heads != embed:
        raise AssertionError(f"embed_dim {embed} not divisible by num_heads {num_heads}")
    if key.shape[:2] != value.shape[:2]:
        raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}")
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if None not in (key_padding_mask, attn_mask) and key_padding_mask.dtype != attn_mask.dtype:
        warn_once(
            "Support for mismatched key_padding_mask and attn_mask is deprecated. Use same type for both instead.",
            stacklevel=4,
        )
    key_padding_mask = additive_mask(key_padding_mask, "key_padding_mask", query.dtype)
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None
    else:
        attn_mask = additive_mask(attn_mask, "attn_mask", query.dtype)
        if key_padding_mask is not None:
            is_causal = False
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _projected(query, key, value, in_proj_weight, separate, in_proj_bias)
    if attn_mask is not None:
        wanted = (length, key.shape[0]) if attn_mask.dim() == 2 else (batch * num_heads, length, key.shape[0])
        if attn_mask.dim() not in (2, 3) or tuple(attn_mask.shape) != wanted:
            raise RuntimeError(f"The shape of the {attn_mask.dim()}D attn_mask is {list(attn_mask.shape)}, but should be {wanted}.")
        attn_mask = attn_mask.unsqueeze(0) if attn_mask.dim() == 2 else attn_mask
    if bias_k is not None and bias_v is not None:
        for name, static in (("key", static_k), ("value", static_v)):
            if static is not None:
                raise AssertionError(f"bias cannot be added to static {name}.")
        k, v = cat((k, bias_k.expand(1, batch, embed))), cat((v, bias_v.expand(1, batch, embed)))
        attn_mask = None if attn_mask is None else pad(attn_mask, (0, 1))
        key_padding_mask = None if key_padding_mask is None else pad(key_padding_mask, (0, 1))
    q = q.reshape(length, batch * num_heads, size).transpose(0, 1)
    k = k.reshape(k.shape[0], batch * num_heads, size).transpose(0, 1) if static_k is None else static_k
    v = v.reshape(v.shape[0], batch * num_heads, size).transpose(0, 1) if static_v is None else static_v
    for name, static in (("static_k", static_k), ("static_v", static_v)):
        if static is not None and (static.shape[0], static.shape[2]) != (batch * num_heads, size):
            raise AssertionError(
                f"expecting {name}.size(0) of {batch * num_heads} and {name}.size(2) of {size}, but got {static.shape[0]} and "
                f"{static.shape[2]}"
            )
    if add_zero_attn:
        nothing = k.new_zeros((batch * num_heads, 1, size))
        k, v = cat((k, nothing), 1), cat((v, nothing), 1)
        attn_mask = None if attn_mask is None else pad(attn_mask, (0, 1))
        key_padding_mask = None if key_padding_mask is None else pad(key_padding_mask, (0, 1))
    keys = k.shape[1]
    if key_padding_mask is not None:
        if tuple(key_padding_mask.shape) != (batch, keys):
            raise AssertionError(f"expecting key_padding_mask shape of {(batch, keys)}, but got {tuple(key_padding_mask.shape)}")
        hidden = key_padding_mask.reshape(batch, 1, 1, keys).expand(-1, num_heads, -1, -1).reshape(batch * num_heads, 1, keys)
        attn_mask = hidden if attn_mask is None else attn_mask + hidden
    probability = dropout_p if training else 0.0
    weights = blind = None
    if need_weights:
        q, keys_first = q * math.sqrt(1.0 / size), k.transpose(-2, -1)
        blind = without_keys(attn_mask)
        if blind is None:
            weights = softmax(bmm(q, keys_first) if attn_mask is None else baddbmm(attn_mask, q, keys_first), -1)
        else:
            weights = softmax(baddbmm(attn_mask.masked_fill(blind, 0.0), q, keys_first), -1).masked_fill(blind, 0.0)
        if probability > 0.0:
            weights = dropout(weights, probability, True)
        found = bmm(weights, v)
    else:
        if attn_mask is not None:
            attn_mask = (
                attn_mask.unsqueeze(0) if attn_mask.shape[0] == 1 and attn_mask.dim() == 3
                else attn_mask.reshape(batch, num_heads, attn_mask.shape[1], keys)
            )  # fmt: skip
        q, k, v = (x.reshape(batch, num_heads, x.shape[1], size) for x in (q, k, v))
        found = scaled_dot_product_attention(q, k, v, attn_mask, probability, is_causal and attn_mask is None)
        found = found.reshape(batch * num_heads, length, size)
    out = linear(found.transpose(0, 1).reshape(length * batch, embed), out_proj_weight, out_proj_bias)
    out = out.reshape(length, batch, embed)
    if blind is not None:  # NaN is what a query without keys sees, but no gradient passes through it
        weights = weights.masked_fill(blind, math.nan)
        by_head = blind.shape[0] == batch * num_heads
        queries = blind.reshape(batch, num_heads, *blind.shape[1:]).any(1) if by_head else blind
        out = out.masked_fill(queries.transpose(0, 1), math.nan)
    if weights is not None:
        weights = weights.reshape(batch, num_heads, length, keys)
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    return (out if batched else out.squeeze(1)), weights
