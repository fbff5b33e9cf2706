"""The recorder, whose parts are `node` (the graph), `modes` (whether to record) and `engine` (the backward walk)."""

import importlib
from typing import Any

from ..paths import submodules
from .engine import needed_now as needed_now, unshared as unshared, walk as walk
from .modes import (
    detect_anomaly as detect_anomaly,
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled,
    is_anomaly_enabled as is_anomaly_enabled,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    local as local,
    no_grad as no_grad,
    packs as packs,
    set_detect_anomaly as set_detect_anomaly,
    set_grad_enabled as set_grad_enabled,
    set_packs as set_packs,
    switch as switch,
)
from .node import (
    RETAIN as RETAIN,
    EngineName as EngineName,
    GradientEdge as GradientEdge,
    Handle as Handle,
    Leaf as Leaf,
    Node as Node,
    NodeName as NodeName,
    OutputNode as OutputNode,
    Pending as Pending,
    next_seq as next_seq,
)

# Part of the public namespace ``numgrad.autograd``, bound by the layers that define them.
backward: Any = None
grad: Any = None
Function: Any = None
gradcheck: Any = None
gradgradcheck: Any = None

# --- parts that most programs do without -------------------------------------------------------------------------

_submodule = submodules(__name__)
_OF_PARTS = {"Variable": "variable", "SavedTensor": "graph", "set_multithreading_enabled": "grad_mode",
             "is_multithreading_enabled": "grad_mode",
             "kineto_available": "profiler", "_profiler_enabled": "profiler", "_unsafe_preserve_version_counter": "internals"}  # fmt: skip


def __getattr__(name: str):
    if name in _OF_PARTS:
        return getattr(importlib.import_module(f".{_OF_PARTS[name]}", __name__), name)
    return _submodule(name)
