"""Scaled dot-product attention; for long sequences block by block, without the matrix of all scores."""

import math

from ..function import Function
from ..op import as_tensor_operand, function
from ..tensor import Tensor
from .create import arange
from .join import cat
from .matmul import matmul
from .random import dropout
from .softmax import softmax
from .values import any_true

_LONG = 512  # keys from which on the scores are never all in memory
_BLOCK = 256  # keys at a time
# Which of PyTorch's kernels may run: "math" is the whole matrix of scores, the others are the one kernel by blocks.
allowed = {"math": True, "flash": True, "mem_efficient": True, "cudnn": True}
_HIDDEN = -1e30  # the score of a hidden key where derivatives are taken: that of minus infinity is not a number


@function(install=("F",))
def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p: float = 0.0, is_causal: bool = False,
                                 scale: float | None = None, enable_gqa: bool = False) -> Tensor:  # fmt: skip
    """``softmax(query @ key.T * scale + mask) @ value``: (*, L, E), (*, S, E), (*, S, V) -> (*, L, V) (arXiv:1706.03762).

    ``attn_mask`` broadcasts to (*, L, S): bool, True where a key takes part, or numbers to add. ``is_causal`` lets
    query i see keys 0 to i. ``scale`` is ``1 / sqrt(E)`` by default. ``enable_gqa``: queries may have a multiple of
    the heads (dimension -3) of keys and values. From 512 keys on, without dropout, scores are computed in blocks with a
    running maximum, forwards and backwards (arXiv:2205.14135).
    """
    name = "scaled_dot_product_attention"
    query, key, value = (as_tensor_operand(name, x, what) for x, what in ((query, "query"), (key, "key"), (value, "value")))
    for what, x in (("query", query), ("key", key), ("value", value)):
        if x._m.ndim < 2:
            raise RuntimeError(f"{name}: Expected {what} to have at least 2 dimensions, got shape {list(x.shape)}")
    if not query._m.dtype is key._m.dtype is value._m.dtype:
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {query.dtype} key.dtype: {key.dtype} "
            f"and value.dtype: {value.dtype} instead."
        )
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"{name}: query {list(query.shape)}, key {list(key.shape)} and value {list(value.shape)} do not fit: query and key "
            "must agree in the last dimension, key and value in the one before"
        )
    if attn_mask is not None:
        if is_causal:
            raise RuntimeError(f"{name}: Explicit attn_mask should not be set when is_causal=True")
        if attn_mask._m.dtype.kind != "b" and attn_mask._m.dtype is not query._m.dtype:
            raise RuntimeError(
                f"Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{attn_mask.dtype} and query.dtype: {query.dtype} instead."
            )
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"{name}: dropout probability has to be between 0 and 1, but got {dropout_p}")
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    if _by_blocks(query, key, value, dropout_p):
        if attn_mask is not None and attn_mask._m.dtype.kind == "b":
            attn_mask = _additive(attn_mask, query)
        return _Blockwise.apply(query, key, value, attn_mask, is_causal, scale)
    weights = _weights(query, key, attn_mask, is_causal, scale)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p, True)
    return matmul(weights, value)


def _by_blocks(query, key, value, dropout_p):
    """Whether the scores are computed block by block: for many keys, or where nothing else is allowed."""
    fits = dropout_p == 0.0 and query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
    if allowed["math"]:
        if key.shape[-2] < _LONG:
            return False
        return fits and (allowed["flash"] or allowed["mem_efficient"] or allowed["cudnn"])
    if not fits or not any(allowed.values()):
        raise RuntimeError(
            "No available kernel. Aborting execution. scaled_dot_product_attention with dropout or broadcast dimensions "
            "needs SDPBackend.MATH; see nn.attention.sdpa_kernel"
        )
    return True


def _additive(mask, like):
    """A bool mask as numbers to add."""
    return like.new_zeros(mask.shape).masked_fill(~mask, -math.inf)


def _seen(queries, keys, first_key, device):
    """Which of the keys from ``first_key`` on each query may see."""
    return arange(queries, device=device).unsqueeze(1) >= arange(first_key, first_key + keys, device=device)


def _weights(query, key, mask, causal, scale):
    """The probabilities (*, L, S); rows without any key are 0."""
    root = math.sqrt(abs(scale))
    scores = matmul(query * (root if scale >= 0 else -root), (key * root).transpose(-2, -1))
    if causal:
        scores = scores.masked_fill(~_seen(query.shape[-2], key.shape[-2], 0, query.device), -math.inf)
        return softmax(scores, -1)
    if mask is None:
        return softmax(scores, -1)
    blind = without_keys(mask)
    if mask._m.dtype.kind == "b":
        scores = scores.masked_fill(~mask, -math.inf)
    else:
        scores = scores + mask
    if blind is None:
        return softmax(scores, -1)
    return softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)


def without_keys(mask):
    """Where (..., 1) a query may see no key at all, by a mask of bools or of numbers to add; None if there is no such
    query. The softmax of its scores would be NaN, and so would be the gradient of the whole batch."""
    if mask is None:
        return None
    blind = (mask if mask._m.dtype.kind == "b" else mask != -math.inf).any(-1, keepdim=True).logical_not()
    return blind if any_true(blind) else None


class _Blockwise(Function):
    """Attention over blocks of keys; the gradient computes the probabilities anew, block by block."""

    @staticmethod
    def forward(ctx, query, key, value, mask, causal, scale):
        keys = key.shape[-2]
        total = query.new_zeros((*query.shape[:-1], 1))
        most = query.new_full((*query.shape[:-1], 1), -math.inf)
        out = query.new_zeros((*query.shape[:-1], value.shape[-1]))
        for first in range(0, keys, _BLOCK):
            last = min(first + _BLOCK, keys)
            scores = _scores(query, key, mask, causal, scale, first, last)
            highest = most.maximum(scores.amax(-1, keepdim=True))
            base = highest.masked_fill(highest == -math.inf, 0.0)
            weights, correction = (scores - base).exp(), (most - base).exp()
            total = total * correction + weights.sum(-1, keepdim=True)
            out = out * correction + matmul(weights, value[..., first:last, :])
            most = highest
        out = out / total.masked_fill(total == 0, 1.0)
        logarithm = most.masked_fill(most == -math.inf, 0.0) + total.masked_fill(total == 0, 1.0).log()
        ctx.save_for_backward(query, key, value, mask, out, logarithm)
        ctx.causal, ctx.scale = causal, scale
        return out

    @staticmethod
    def backward(ctx, g):
        query, key, value, mask, out, logarithm = ctx.saved_tensors
        if any(x.requires_grad for x in (query, key, value)) and g.requires_grad:  # a derivative of the derivative
            logarithm = _logarithm(query, key, mask, ctx.causal, ctx.scale)
        along = (g * out).sum(-1, keepdim=True)
        d_query, d_keys, d_values, d_masks = None, [], [], []
        for first in range(0, key.shape[-2], _BLOCK):
            last = min(first + _BLOCK, key.shape[-2])
            scores = _scores(query, key, mask, ctx.causal, ctx.scale, first, last).clamp_min(_HIDDEN)
            weights = (scores - logarithm).exp().masked_fill(scores <= _HIDDEN / 2, 0.0)
            d_values.append(matmul(weights.transpose(-2, -1), g))
            d_scores = weights * (matmul(g, value[..., first:last, :].transpose(-2, -1)) - along)
            part = matmul(d_scores, key[..., first:last, :]) * ctx.scale
            d_query = part if d_query is None else d_query + part
            d_keys.append(matmul(d_scores.transpose(-2, -1), query) * ctx.scale)
            d_masks.append(d_scores)
        d_mask = None
        if mask is not None and ctx.needs_input_grad[3]:
            d_mask = _summed_to(cat(d_masks, -1), mask.shape)
        return d_query, cat(d_keys, -2), cat(d_values, -2), d_mask, None, None


def _logarithm(query, key, mask, causal, scale):
    """The logarithm of the sum of exponentials of all scores of each query."""
    blocks = [
        _scores(query, key, mask, causal, scale, first, min(first + _BLOCK, key.shape[-2])).clamp_min(_HIDDEN).logsumexp(
            -1, keepdim=True
        )
        for first in range(0, key.shape[-2], _BLOCK)
    ]
    return cat(blocks, -1).logsumexp(-1, keepdim=True)


def _summed_to(x, shape):
    """``x`` summed over the dimensions along which ``shape`` was broadcast."""
    while x.dim() > len(shape):
        x = x.sum(0)
    for axis, size in enumerate(shape):
        if size == 1 and x.shape[axis] != 1:
            x = x.sum(axis, keepdim=True)
    return x


def _scores(query, key, mask, causal, scale, first, last):
    scores = matmul(query, key[..., first:last, :].transpose(-2, -1)) * scale
    if mask is not None:
        scores = scores + (mask if mask.shape[-1] == 1 else mask[..., first:last])
    if causal:
        scores = scores.masked_fill(~_seen(query.shape[-2], last - first, first, query.device), -math.inf)
    return scores
