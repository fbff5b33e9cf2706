"""Bags of embeddings: sums, means and maxima over groups of rows of a table."""

import numpy as np

from ..layout import integer
from ..op import as_tensor_operand, function
from ..tensor import Tensor, from_array
from .index import _limit_norms, index_select


@function(install=("F",))
def embedding_bag(input, weight, offsets=None, max_norm=None, norm_type: float = 2, scale_grad_by_freq: bool = False,
                  mode: str = "mean", sparse: bool = False, per_sample_weights=None, include_last_offset: bool = False,
                  padding_idx=None) -> Tensor:  # fmt: skip
    """The rows of ``weight`` (V, D) that each bag names, reduced by ``mode`` ("sum", "mean", "max"): (B, D).

    ``input``: (B, n) indices, or (n) indices in bags that start at ``offsets`` (B). ``per_sample_weights`` weights the
    rows (only "sum"). ``padding_idx``: an index that does not count. Empty bags give 0.
    """
    name = "embedding_bag"
    input, weight = as_tensor_operand(name, input, "input"), as_tensor_operand(name, weight, "weight")
    if input._m.dtype.name not in ("int64", "int32"):
        raise RuntimeError(f"{name}: expected indices of type Long or Int, got {input.dtype!r}; check the order of the arguments")
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"{name}: If per_sample_weights ({list(per_sample_weights.shape)}) is not None, then it must have the same shape "
            f"as the input ({list(input.shape)})"
        )
    if input._m.ndim == 2:
        if offsets is not None:
            raise ValueError(f"{name}: if input is 2D, then offsets has to be None, as input is treated as a mini-batch of fixed length sequences.")
        count, size = input.shape
        ends = np.arange(1, count + 1) * size
        starts = ends - size
    elif input._m.ndim == 1:
        if offsets is None:
            raise ValueError(f"{name}: offsets has to be a 1D Tensor but got None")
        if offsets._m.ndim != 1:
            raise ValueError(f"{name}: offsets has to be a 1D Tensor, got {offsets._m.ndim} dimensions")
        starts = offsets.cpu().numpy().astype(np.int64)
        if len(starts) and (starts[0] != 0 or starts[-1] > input.numel()):
            raise RuntimeError(
                f"{name}: offsets[0] has to be 0 and the last one at most {input.numel()}, the number of indices, got "
                f"{starts[0]} and {starts[-1]}"
            )
        if (np.diff(starts) < 0).any():
            raise RuntimeError(f"{name}: offsets must not fall, got {starts[np.flatnonzero(np.diff(starts) < 0)[0]:][:2].tolist()}")
        if include_last_offset:
            # As in PyTorch the last offset counts as a place only: the last bag holds all that is left.
            starts, ends = starts[:-1], np.append(starts[1:-1], input.numel())
        else:
            ends = np.append(starts[1:], input.numel())
        count = len(starts)
    else:
        raise ValueError(f"{name}: input has to be 1D or 2D Tensor, but got Tensor of dimension {input._m.ndim}")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{name}: mode has to be one of sum, mean or max, got {mode!r}")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"{name}: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got mode='{mode}')."
        )
    if per_sample_weights is not None and per_sample_weights._m.dtype is not weight._m.dtype:
        raise RuntimeError(
            f"{name}: expected per_sample_weights ({per_sample_weights.dtype!r}) to have the same type as weight "
            f"({weight.dtype!r}); convert it with .to(...)"
        )
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ValueError(f"{name}: max mode does not support scaling the gradient by the frequency or sparse weights")
    flat = input.reshape(-1).long()
    bags = np.repeat(np.arange(count), np.maximum(ends - starts, 0))
    chosen = flat.cpu().numpy()
    if chosen.size and not (0 <= chosen.min() and chosen.max() < weight.shape[0]):
        raise RuntimeError(f"{name}: Expected idx >= 0 && idx < num_embeddings, {weight.shape[0]}, got {chosen.min()} to {chosen.max()}")
    if max_norm is not None:
        _limit_norms(weight, flat, max_norm, norm_type)
    samples = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    if padding_idx is not None:
        padding_idx = integer(name, "padding_idx", padding_idx)
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise RuntimeError(f"{name}: padding_idx must be within the number of embeddings, {weight.shape[0]}, got {padding_idx}")
        kept = np.flatnonzero(chosen != padding_idx % weight.shape[0])
        places = from_array(kept)
        bags, flat, chosen = bags[kept], flat[places], chosen[kept]
        samples = None if samples is None else samples[places]
    if scale_grad_by_freq and chosen.size:
        _, inverse, counts = np.unique(chosen, return_inverse=True, return_counts=True)
        share = from_array(weight._m.dtype.encode(1.0 / counts[inverse])).unsqueeze(1)
        rows = index_select(weight, 0, flat)
        rows = rows * share + (rows * (1.0 - share)).detach()
    else:
        rows = index_select(weight, 0, flat)
    if samples is not None:
        rows = rows * samples.unsqueeze(1)
    where = from_array(bags)
    out = weight.new_zeros(count, weight.shape[1])
    if mode == "max" and len(bags):
        return _first_largest(rows, where, out)
    found = out.index_add(0, where, rows)
    if mode == "mean":
        sizes = weight._m.dtype.encode(np.maximum(np.bincount(bags, minlength=count), 1))
        found = found / from_array(sizes).unsqueeze(1)
    return found


def _first_largest(rows, bags, out):
    """The largest of the ``rows`` (n, D) in each of the ``bags`` (n), column by column: (B, D), the first of several equal
    ones, to which the gradient goes alone. Bags without rows have those of ``out``."""
    values, count = rows.detach(), len(rows)
    places = bags.unsqueeze(1).expand_as(values)
    top = out.scatter_reduce(0, places, values, "amax", include_self=False)
    is_top = (values == index_select(top, 0, bags)) | (values != values)
    numbers = from_array(np.arange(count)).unsqueeze(1).expand_as(values).where(is_top, count)
    first = out.new_full(out.shape, count, dtype=numbers.dtype).scatter_reduce(0, places, numbers, "amin")
    return rows.gather(0, first.clamp(max=count - 1)).where(first < count, out)
