"""Modules without their initial values."""

import inspect
from typing import Any

from ...random import fork_rng
from ..module import Module


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """``module_cls(*args, **kwargs)`` with uninitialised parameters and buffers: to be filled. No random numbers are used up.

    Raises RuntimeError for what is no Module, and for classes that take no ``device``, on which they could be empty.
    """
    if not isinstance(module_cls, type) or not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", None)
    with fork_rng(devices=()):
        module = module_cls(*args, **kwargs)
    return module.to_empty(device="cpu" if device is None else device)
