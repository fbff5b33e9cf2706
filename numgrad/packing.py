"""Saved tensors that pass through a pair of hooks: packed when an op is recorded, unpacked when its gradient is due.

A packed node is of a class made for it, which puts the tensors back for the time of its gradient. All others know
nothing of this.
"""

import functools

from . import autograd
from .autograd import no_grad
from .op import ENTRIES, SavedResult
from .storage import Storage, strided_meta
from .tensor import Tensor, alias, make


class _Packed:
    """One saved tensor: what the pack hook returned, the unpack hook, and what else it takes to restore it."""

    __slots__ = ("value", "unpack", "meta", "node", "kind")

    def __init__(self, tensor, hooks, kind, node=None):
        pack_hook, self.unpack = hooks
        self.meta, self.node, self.kind = tensor._m, node, kind
        self.value = pack_hook(tensor)

    def restore(self):
        value = self.unpack(self.value)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(value).__name__}"
            )
        m = self.meta
        if value._m.shape != m.shape or value._m.dtype is not m.dtype or value._m.device != m.device:
            raise RuntimeError(
                f"saved_tensors_hooks: the unpack hook must return a tensor like the one that was packed: expected {m.dtype!r} "
                f"of shape {list(m.shape)} on {m.device}, got {value._m.dtype!r} of shape {list(value._m.shape)} on "
                f"{value._m.device}"
            )
        value = _with_strides(value.detach(), m)
        if self.kind == "data":
            return value._d
        if self.kind == "result":
            value._s = Storage()
            return SavedResult(value)
        value._n = self.node
        return value


def _with_strides(tensor, m):
    """A tensor of these values with the memory layout that kernels expect of what was saved."""
    if tensor._m is m:
        return tensor
    repeated = [k for k, step in enumerate(m.strides) if step == 0 and m.shape[k] > 1]
    shape = tuple(1 if k in repeated else n for k, n in enumerate(m.shape))
    data = m.empty(m.numel if m.contiguous else m.span, m.np)
    for k in repeated:
        tensor = ENTRIES["narrow"](tensor, k, 0, 1)
    ENTRIES["copy_"](make(data, strided_meta(m.dtype, shape, tuple(m.strides), m.device)), tensor)
    return make(data, m)


class _PackedNode:
    """Before the class of a node: its gradient with the saved tensors put back."""

    __slots__ = ()

    def kept(self):
        return ()

    def backward(self, gradient):
        return self._unpacked(super().backward, gradient)

    def backward_recorded(self, gradient):
        return self._unpacked(super().backward_recorded, gradient)

    def _unpacked(self, run, gradient):
        held = self.saved
        with no_grad():
            self.saved = _restored(held)
        try:
            return run(gradient)
        finally:
            self.saved = held


@functools.cache
def _packed_class(cls):
    return type(cls.__name__, (_PackedNode, cls), {"__slots__": ()})


def _restored(items):
    return tuple(
        item.restore() if type(item) is _Packed else _restored(item) if type(item) is tuple else item for item in items
    )


def pack(node):
    """Put what the hooks in force make of the saved tensors in their place."""
    hooks = autograd.packs()[-1]
    needs = getattr(getattr(node, "op", None), "needs", ())
    with no_grad():
        items = _wrapped(node.saved, hooks)
        if "out" in needs and len(needs) == len(items):
            place = needs.index("out")
            if node.storages and items[place] is node.saved[place]:  # bare data, described by the plan
                result = make(items[place], node.plan.out)
                items = (*items[:place], _Packed(result, hooks, "data"), *items[place + 1 :])
    if all(mine is other for mine, other in zip(items, node.saved)):
        return
    node.saved = items
    node.storages = tuple(Storage() for _ in node.storages)
    node.__class__ = _packed_class(type(node))


def _wrapped(items, hooks):
    found = []
    for item in items:
        if isinstance(item, Tensor):
            item = _Packed(alias(item, item._d, item._m), hooks, "input", item._n)
        elif type(item) is SavedResult:
            item = _Packed(item.restore(None), hooks, "result")
        elif type(item) is tuple and any(isinstance(part, (Tensor, SavedResult, tuple)) for part in item):
            item = _wrapped(item, hooks)
        found.append(item)
    return tuple(found)
