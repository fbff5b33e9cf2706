"""`ModuleTracker`: which modules are at work, in the forward and in the backward pass."""

import warnings
import weakref
from typing import Any

from ..autograd import is_grad_enabled, local
from ..autograd.engine import queue_callback
from ..autograd.graph import register_multi_grad_hook
from ..nn import Module
from ..nn._hooks import register_module_forward_hook, register_module_forward_pre_hook
from ..tensor import Tensor


class ModuleTracker:
    """A block, ``with ModuleTracker() as tracker:``, in which ``tracker.parents`` holds the dotted names of the modules that
    are being called, or whose gradients are being computed, and "Global".

    Names begin with the class of the module that was called first. ``is_bw``: whether a backward pass is under way. Modules
    whose inputs need no gradient may stay in ``parents`` until the pass ends; a module that is called within its own call
    warns.
    """

    def __init__(self):
        self.parents: set[str] = {"Global"}
        self._names: weakref.WeakKeyDictionary[Module, str] = weakref.WeakKeyDictionary()
        self._handles: list = []
        self._walk = None  # the number of the backward pass at whose end the names are to be dropped

    @property
    def is_bw(self) -> bool:
        return local.walk is not None

    def __enter__(self):
        self._handles = [register_module_forward_pre_hook(self._before), register_module_forward_hook(self._after)]
        return self

    def __exit__(self, *exception) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _name(self, module) -> str:
        if module not in self._names:
            first = type(module).__name__
            for path, inner in module.named_modules():
                if inner is module or inner not in self._names:
                    self._names[inner] = f"{first}.{path}" if path else first
        return self._names[module]

    def _begin(self, name):
        if self.is_bw and self._walk != local.walk:
            self._walk = local.walk
            queue_callback(self._end_of_walk)
        if name in self.parents:
            warnings.warn(
                f"The module hierarchy tracking seems to be messed up: {name} is entered within its own "
                f"{'backward' if self.is_bw else 'forward'} pass, among {sorted(self.parents)}.",
                stacklevel=2,
            )
        self.parents.add(name)

    def _end(self, name):
        self.parents.discard(name)

    def _end_of_walk(self):
        self.parents, self._walk = {"Global"}, None

    def _before(self, module, args):
        name = self._name(module)
        self._begin(name)
        self._at_gradients_of(args, self._end, name)

    def _after(self, module, args, output):
        name = self._name(module)
        self._end(name)
        self._at_gradients_of(output, self._begin, name)

    def _at_gradients_of(self, values, react, name):
        tensors = [value for value in _leaves(values) if value.requires_grad] if is_grad_enabled() else []
        if tensors:
            self._handles.append(register_multi_grad_hook(tensors, lambda gradients: react(name)))


def _leaves(value: Any):
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
