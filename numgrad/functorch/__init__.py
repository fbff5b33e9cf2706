"""PyTorch's package ``functorch``, the older home of `func`: the same functions, which warn, and `make_functional`."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

from .. import func as _new
from ..func.mapping import vmap as _vmap
from .stateful import (
    FunctionalModule as FunctionalModule,
    FunctionalModuleWithBuffers as FunctionalModuleWithBuffers,
    combine_state_for_ensemble as _combine_state_for_ensemble,
    make_functional as _make_functional,
    make_functional_with_buffers as _make_functional_with_buffers,
)


def _moved(function: Callable, new: str) -> Callable:
    """``function`` with PyTorch's warning that its home is ``new``."""
    name = function.__name__

    @functools.wraps(function)
    def warning(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"We've integrated functorch into PyTorch. As the final step of the integration, `functorch.{name}` is deprecated as "
            f"of PyTorch 2.0 and will be deleted in a future version of PyTorch >= 2.3. Please use `{new}` instead.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    return warning


vmap = _moved(_vmap, "torch.vmap")
grad = _moved(_new.grad, "torch.func.grad")
grad_and_value = _moved(_new.grad_and_value, "torch.func.grad_and_value")
vjp = _moved(_new.vjp, "torch.func.vjp")
jvp = _moved(_new.jvp, "torch.func.jvp")
jacrev = _moved(_new.jacrev, "torch.func.jacrev")
jacfwd = _moved(_new.jacfwd, "torch.func.jacfwd")
hessian = _moved(_new.hessian, "torch.func.hessian")
make_functional = _moved(_make_functional, "torch.func.functional_call")
make_functional_with_buffers = _moved(_make_functional_with_buffers, "torch.func.functional_call")
combine_state_for_ensemble = _moved(_combine_state_for_ensemble, "torch.func.stack_module_state")
