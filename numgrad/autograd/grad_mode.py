"""The grad modes, as ``torch.autograd.grad_mode``."""

from . import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)


class set_multithreading_enabled:
    """Whether backward passes may use several threads: accepted, from this call on or as a context. A pass runs in the
    thread that starts it."""

    def __init__(self, mode: bool):
        self.mode = bool(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass
