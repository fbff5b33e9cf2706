"""The state of a Module as PyTorch's pickles have it, and back: the same attributes, and a few that are not kept here."""

from collections import OrderedDict
from typing import Any

from ..nn import functional
from ..nn._hooks import HookTable
from ..nn.module import Module
from ..nn.recurrent import RNNBase
from ..nn.transformer import TransformerEncoderLayer

_TABLES = {
    name: table for base in Module.__mro__ for name, table in vars(base).items() if isinstance(table, HookTable)
}
# What PyTorch keeps of a recurrent layer beside its parameters: their names, and themselves in one list.
_FLAT = ("_all_weights", "_flat_weights_names", "_flat_weights", "_flat_weight_refs")


def to_torch(module: Module, state: dict) -> dict:
    """``state``, which pickle has of ``module``, with all that PyTorch's classes expect to find."""
    found: dict[str, Any] = {"training": module.training}
    found.update({name: state.get(name, {}) for name in ("_parameters", "_buffers")})
    found["_non_persistent_buffers_set"] = state.get("_non_persistent_buffers_set", set())
    found.update({name: OrderedDict() for name in _TABLES})
    found["_is_full_backward_hook"] = None
    found.update(state)
    found.pop("_hooked", None)
    if isinstance(module, RNNBase):
        names = list(state["_parameters"])
        per_layer = len(names) // (module.num_layers * (2 if module.bidirectional else 1))
        found["_all_weights"] = [names[k : k + per_layer] for k in range(0, len(names), per_layer)]
        found["_flat_weights_names"], found["_flat_weights"] = names, list(state["_parameters"].values())
    elif isinstance(module, TransformerEncoderLayer):
        kind = type(module.activation).__name__, getattr(module.activation, "__name__", "")
        relu = module.activation is functional.relu or kind[0] == "ReLU"
        found["activation_relu_or_gelu"] = 1 if relu else 2 if module.activation is functional.gelu or kind[0] == "GELU" else 0
    return found


def from_torch(module: Module, state: dict) -> dict:
    """``state``, which a file has of ``module``, without what is made anew here when it is asked for."""
    tables = {name: state[name] for name in _TABLES if name in state}
    found = {name: value for name, value in state.items() if name not in tables or value}
    if any(table and _TABLES[name].called for name, table in tables.items()):
        found["_hooked"] = True
    if isinstance(module, RNNBase):
        for name in _FLAT:
            found.pop(name, None)
    return found
