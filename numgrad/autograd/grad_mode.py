"""The grad modes, as ``torch.autograd.grad_mode``."""

from . import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    local,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)


class set_multithreading_enabled:
    """Whether backward passes may use several threads: accepted, from this call on or as a context. A pass runs in the
    thread that starts it."""

    def __init__(self, mode: bool):
        self.before, local.multithreading = local.multithreading, bool(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        local.multithreading = self.before


def is_multithreading_enabled() -> bool:
    """What was set by `set_multithreading_enabled` in this thread; on by default."""
    return local.multithreading
