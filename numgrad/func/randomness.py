"""Random numbers within `vmap`: refused, the same for all samples, or different ones for each."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..generator import default_generator
from ..ops import random
from ..tensor import Tensor
from .batched import Batched, active, batched, tensors_in, unmapped


def random_states() -> list[tuple[Callable, Any]]:
    """``(restore, state)`` of the CPU's stream and of those of CUDA devices in use."""

    def restore(block):
        default_generator._block[:] = block

    found: list = [(restore, default_generator._block.copy())]
    cuda = sys.modules.get(f"{__package__.partition('.')[0]}.cuda")
    if cuda is not None and cuda.is_initialized():
        for device in range(cuda.device_count()):
            found.append((functools.partial(_restore_cuda, cuda, device), cuda.get_rng_state(device)))
    return found


def _restore_cuda(cuda, device, state):
    cuda.set_rng_state(state, device)


def drawn(states) -> bool:
    """Whether random numbers were drawn since the streams had these states."""
    now = random_states()
    return any(
        not np.array_equal(np.asarray(state), np.asarray(other)) for (_, state), (_, other) in zip(states, now)
    )


def refused() -> RuntimeError:
    """The error for random numbers where `vmap` was not told what they should be."""
    return RuntimeError(
        "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness "
        "flags on vmap or perform the randomness operation out of vmap"
    )


def different() -> dict[int, int]:
    """Number -> size of the maps under way that want different numbers for each sample. A RuntimeError if one wants none."""
    levels = active()
    if any(level.randomness == "error" for level in levels):
        raise refused()
    return {level.number: level.size for level in levels if level.randomness == "different"}


class repeated:
    """Context for calls slice by slice: ``restart()`` before each lets it draw the same numbers, if that is wanted."""

    def __init__(self, same: bool):
        self.same = same

    def __enter__(self):
        self.states = random_states() if self.same else []
        return self._restart

    def _restart(self):
        for restore, state in self.states:
            restore(state)

    def __exit__(self, *exception):
        pass


def sampled(slices, original, args, kwargs):
    """A function that draws random numbers: once, or for each sample."""
    if not active():
        return original(*args, **kwargs)
    sizes = different()
    target = args[0] if args else None
    if isinstance(target, Tensor) and original.__name__.endswith("_"):
        if sizes and type(target) is not Batched:
            raise RuntimeError(
                f"vmap: Cannot ask for different inplace randomness on an unbatched tensor: {original.__name__} writes to one "
                "tensor for all samples. Make it with numgrad.zeros_like or new_zeros from a batched one"
            )
        sizes = {level: size for level, size in sizes.items() if level in target.levels} if sizes else {}
    if not sizes and not tensors_in((*args, kwargs)):
        with unmapped():
            return original(*args, **kwargs)
    return slices(original, args, kwargs, sizes)


def masked(original, args, kwargs):
    """Dropout's product with a random mask: one mask for all samples, or one for each."""
    if not active():
        return original(*args, **kwargs)
    input, p, shape, inplace = args
    if p == 1:
        mask = 0.0
    else:
        sizes = different()
        mask = batched(random._keep_mask((*sizes.values(), *shape), input, p), tuple(sizes))
    return input.mul_(mask) if inplace else input * mask

