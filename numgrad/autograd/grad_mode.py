"""The grad modes, as ``torch.autograd.grad_mode``."""

from . import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
