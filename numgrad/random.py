"""Random state, as ``torch.random``."""

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator

from .generator import default_generator as default_generator
from .ops.random import (
    get_rng_state as get_rng_state,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    seed as seed,
    set_rng_state as set_rng_state,
)


@contextlib.contextmanager
def fork_rng(devices: Iterable | None = None, enabled: bool = True, device_type: str = "cuda") -> Iterator[None]:
    """Context whose random numbers leave no trace: at its end the streams go on from where they were before.

    ``devices``: the CUDA devices whose streams are kept too, beside the CPU's; by default those of a driver that is
    started. ``enabled``: False for a context that does nothing.
    """
    if device_type != "cuda":
        raise RuntimeError(f"fork_rng: expected device_type 'cuda', got {device_type!r}; the CPU's stream is always kept")
    if not enabled:
        yield
        return
    kept = get_rng_state()
    cuda = sys.modules.get(f"{__package__}.cuda") if devices is None else importlib.import_module(".cuda", __package__)
    if devices is None:
        devices = range(cuda.device_count()) if cuda is not None and cuda.is_initialized() else ()
    held = [(device, cuda.get_rng_state(device)) for device in devices]  # type: ignore[union-attr]
    try:
        yield
    finally:
        set_rng_state(kept)
        for device, state in held:
            cuda.set_rng_state(state, device)  # type: ignore[union-attr]
