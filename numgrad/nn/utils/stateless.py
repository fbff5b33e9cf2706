"""The former place of `func.functional_call`."""

from typing import Any

from .._traps import warn
from ..functional_call import functional_call as _functional_call


def functional_call(module, parameters_and_buffers, args: Any = None, kwargs=None, *, tie_weights=True, strict=False) -> Any:
    """As `func.functional_call`, with a FutureWarning."""
    warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a future version of "
        "PyTorch. Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
    )
    return _functional_call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
