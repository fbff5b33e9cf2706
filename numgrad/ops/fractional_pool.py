"""Maxima over windows of one size whose starts are random, so that sizes shrink by any ratio (arXiv:1412.6071)."""

from math import prod

import numpy as np

from ..op import as_tensor_operand, function
from ..tensor import Tensor, from_array
from .index import gather
from .pool import batched, several
from .random import rand
from .search import max_ as largest
from .values import to_host
from .view import reshape


def _starts(samples, size, outs, taps, real):
    """Where the windows of each plane begin: samples (planes,) -> (planes, outs). The last one ends with the input."""
    steps = real(size - taps) / real(max(outs - 1, 1))
    k = np.arange(outs, dtype=real)
    samples = samples[:, None]
    starts = ((k + samples) * steps).astype(np.int64) - (samples * steps).astype(np.int64)
    starts[:, -1] = size - taps
    return starts


def _places(samples, size, outs, taps, real):
    """Flat places in a plane of what each window sees: (planes, *outs, *taps)."""
    n = len(size)
    places = 0
    for k in range(n):
        # Samples come for the last dimension first in two dimensions, for the first one first in three.
        starts = _starts(samples[:, n - 1 - k if n == 2 else k], size[k], outs[k], taps[k], real)
        along = starts[:, :, None] + np.arange(taps[k])
        shape = [len(samples), *[1] * (2 * n)]
        shape[1 + k], shape[1 + n + k] = outs[k], taps[k]
        places = places + along.reshape(shape) * prod(size[k + 1 :])
    return places


def _check(name, n, m, taps, output_size, output_ratio):
    """The output size."""
    batched(name, n, m.shape)
    if not m.dtype.is_floating_point:
        raise RuntimeError(f'"{name}" not implemented for {m.dtype!r}; convert with .float()')
    if output_size is None:
        if output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
        ratios = (output_ratio,) * n if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
        if len(ratios) != n:
            raise ValueError(
                f"{name} requires output_ratio to either be a single Int or tuple of Ints. It needs {n} values, got {ratios}"
            )
        output_size = tuple(int(size * ratio) for size, ratio in zip(m.shape[-n:], ratios))
    outs = _one_or_all(name, "output_size", output_size, n)
    for what, size, out, tap in zip(("time", "height", "width")[-n:], m.shape[-n:], outs, taps):
        if tap < 1 or out < 0 or out + tap - 1 > size:
            raise RuntimeError(
                f"{name}: kernel_size={list(taps)} must be positive and output_size={list(outs)} not negative, and neither too "
                f"large relative to input {what}: output_size + kernel_size - 1 may be at most {size} for {list(m.shape)}"
            )
    return outs


def _one_or_all(name, what, value, n):
    """`several`, where a sequence has to have all."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = ()  # which it refuses
    return several(name, what, value, n)


def _fractional(name, n, input, kernel_size, output_size, output_ratio, samples):
    """(maxima, their flat places in their planes)."""
    input = as_tensor_operand(name, input, "input")
    m = input._m
    taps = _one_or_all(name, "kernel_size", kernel_size, n)
    outs = _check(name, n, m, taps, output_size, output_ratio)
    lead, size = tuple(m.shape[:-n]), tuple(m.shape[-n:])
    batch = lead[0] if len(lead) == 2 else 1
    if samples is None:
        samples = rand(batch, lead[-1], n, dtype=m.dtype, device=m.device)
    elif (
        samples.dim() != 3
        or len(samples) < batch
        or samples.shape[1:] != (lead[-1], n)
        or samples._m.dtype is not m.dtype
    ):
        raise RuntimeError(
            f"{name}: Expect _random_samples to have the shape {[batch, lead[-1], n]} and the dtype {m.dtype!r}, got "
            f"{list(samples.shape)} and {samples._m.dtype!r}"
        )
    if 0 in outs:
        found = input.new_empty((*lead, *outs))
        return found, found.long()
    planes = prod(lead)
    chosen = to_host(samples[:batch].detach()).reshape(planes, n)
    if not ((chosen >= 0) & (chosen <= 1)).all():
        raise RuntimeError(f"{name}: expected _random_samples from 0 to 1, got {chosen.min()} to {chosen.max()}")
    places = _places(chosen, size, outs, taps, m.np.type).reshape(planes, prod(outs), prod(taps))
    places = from_array(np.ascontiguousarray(places)).to(m.device)
    seen = gather(reshape(input, (planes, prod(size))), 1, reshape(places, (planes, prod(outs) * prod(taps))))
    values, best = largest(reshape(seen, tuple(places.shape)), -1)
    indices = gather(places, 2, best.unsqueeze(-1))
    return reshape(values, (*lead, *outs)), reshape(indices, (*lead, *outs))


_DOC = """The maximum over windows with random starts: (N, C, {size}) or (C, {size}) -> the same with ``output_size``, or
    with the input's sizes times ``output_ratio`` (arXiv:1412.6071).

    ``_random_samples`` (N, C, {n}), from 0 to 1, replaces the random numbers. {returns}Raises ValueError without an
    output size or ratio, RuntimeError where sizes do not fit.
    """


def _family(n):
    name = f"fractional_max_pool{n}d"

    def with_indices(
        input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
    ) -> tuple[Tensor, Tensor]:
        return _fractional(name, n, input, kernel_size, output_size, output_ratio, _random_samples)

    def pool(input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        found = _fractional(name, n, input, kernel_size, output_size, output_ratio, _random_samples)
        return found if return_indices else found[0]

    size = {2: "H, W", 3: "D, H, W"}[n]
    for fn, suffix, returns in (
        (pool, "", "With ``return_indices`` also where the maxima are, as flat places in a plane. "),
        (with_indices, "_with_indices", "Also returns where the maxima are, as flat places in a plane. "),
    ):
        fn.__name__ = fn.__qualname__ = name + suffix
        fn.__doc__ = _DOC.format(size=size, n=n, returns=returns)
        function(fn, install=())
    return pool, with_indices


fractional_max_pool2d, fractional_max_pool2d_with_indices = _family(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = _family(3)
