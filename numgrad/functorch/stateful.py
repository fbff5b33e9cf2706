"""Modules as functions of their state: `make_functional`, `make_functional_with_buffers`, ensembles of them."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..func.mapping import stack_module_state
from ..nn.functional_call import functional_call
from ..nn.module import Module
from ..tensor import Tensor


class FunctionalModuleWithBuffers(Module):
    """A module called with its parameters and buffers as the first arguments, in the order of ``param_names`` and
    ``buffer_names``; its own state is neither read nor changed."""

    def __init__(self, stateless_model: Module, param_names: Sequence[str], buffer_names: Sequence[str]) -> None:
        super().__init__()
        self.stateless_model = stateless_model
        self.param_names, self.buffer_names = tuple(param_names), tuple(buffer_names)

    def forward(self, params: Iterable[Tensor], buffers: Iterable[Tensor], *args: Any, **kwargs: Any) -> Any:
        state = {**_by_name(self.param_names, params), **_by_name(self.buffer_names, buffers)}
        return functional_call(self.stateless_model, state, args, kwargs)


class FunctionalModule(Module):
    """A module called with its parameters as the first argument, in the order of ``param_names``."""

    def __init__(self, stateless_model: Module, param_names: Sequence[str]) -> None:
        super().__init__()
        self.stateless_model, self.param_names = stateless_model, tuple(param_names)

    def forward(self, params: Iterable[Tensor], *args: Any, **kwargs: Any) -> Any:
        return functional_call(self.stateless_model, _by_name(self.param_names, params), args, kwargs)


def _by_name(names, tensors):
    tensors = tuple(tensors)
    if len(tensors) != len(names):
        raise RuntimeError(f"expected {len(names)} tensors, for {', '.join(names)}; got {len(tensors)}")
    return dict(zip(names, tensors))


def _state(model: Module, disable_autograd_tracking: bool) -> tuple[Module, dict[str, Tensor], dict[str, Tensor]]:
    """A copy of ``model``, its parameters and its buffers."""
    own = copy.deepcopy(model)
    named = own.named_parameters()
    params = {name: param.detach() if disable_autograd_tracking else param for name, param in named}
    buffers = dict(own.named_buffers())
    return own, params, buffers


def make_functional(
    model: Module, disable_autograd_tracking: bool = False
) -> tuple[FunctionalModule, tuple[Tensor, ...]]:
    """``(func, params)``: ``func(params, *args)`` is ``model(*args)`` with these parameters, copies of the model's at first,
    without history if ``disable_autograd_tracking``. Raises RuntimeError for a model with buffers."""
    own, params, buffers = _state(model, disable_autograd_tracking)
    if buffers:
        raise RuntimeError(
            "make_functional(model): `model` has buffers. Please use make_functional_with_buffers(model) instead."
        )
    return FunctionalModule(own, tuple(params)), tuple(params.values())


def make_functional_with_buffers(
    model: Module, disable_autograd_tracking: bool = False
) -> tuple[FunctionalModuleWithBuffers, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """``(func, params, buffers)``: ``func(params, buffers, *args)`` is ``model(*args)`` with these parameters and buffers,
    copies of the model's at first, the parameters without history if ``disable_autograd_tracking``."""
    own, params, buffers = _state(model, disable_autograd_tracking)
    return FunctionalModuleWithBuffers(own, tuple(params), tuple(buffers)), tuple(params.values()), tuple(buffers.values())


def combine_state_for_ensemble(
    models: Sequence[Module],
) -> tuple[Callable[..., Any], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """``(func, params, buffers)`` of several modules of one class, the tensors stacked along a new first dimension: under
    `vmap` the function of an ensemble. Raises RuntimeError as `stack_module_state` does."""
    models = list(models)
    params, buffers = stack_module_state(models)
    return make_functional_with_buffers(models[0])[0], tuple(params.values()), tuple(buffers.values())
