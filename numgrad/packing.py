"""Saved tensors that pass through a pair of hooks: packed when an op is recorded, unpacked when its gradient is due.

A packed node is of a class made for it, which puts the tensors back for the time of its gradient. All others know
nothing of this.
"""

import functools
from collections.abc import Callable
from typing import Any

from . import autograd
from .autograd import no_grad
from .op import ENTRIES, SavedResult
from .storage import Storage, strided_meta
from .tensor import Tensor, alias, make, storage_of


class _Packed:
    """One saved tensor: what the pack hook returned, the unpack hook, and what else it takes to restore it."""

    __slots__ = ("value", "unpack", "meta", "node", "kind")

    def __init__(self, tensor, hooks, kind, node=None):
        pack_hook, self.unpack = hooks
        self.meta, self.node, self.kind = tensor._m, node, kind
        storage = storage_of(tensor)
        version = storage.version
        self.value = pack_hook(tensor)
        if tensor._s is not storage or storage.version != version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook can not be "
                "modified by in-place operations as this can lead to unexpected side-effects."
            )

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
        if self.kind == "input" and self.node is None and value._n is None and value._m is m:
            return value
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
        return [item for item in super().kept() if type(item) is not _Packed]

    def restored(self):
        with no_grad(), _without_hooks():
            return _restored(super().restored())

    def backward(self, gradient):
        return self._unpacked(super().backward, gradient)

    def backward_recorded(self, gradient):
        return self._unpacked(super().backward_recorded, gradient)

    def _unpacked(self, run, gradient):
        if self.unpacks:
            return run(gradient)
        held = self.saved
        self.saved = self.restored()
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


class _without_hooks:
    """Context: what is saved in it passes through no hooks, such as what an unpack hook computes."""

    def __enter__(self):
        self.packs = autograd.packs()
        autograd.set_packs(())

    def __exit__(self, *exception):
        autograd.set_packs(self.packs)


def pack(node):
    """Put what the hooks in force make of the saved tensors in their place."""
    hooks = autograd.packs()[-1]
    items = tuple(_wrapped(node, k, item, hooks) if node.used(k) else item for k, item in enumerate(node.saved))
    _keep(node, items)


def _keep(node, items):
    """Let a node save ``items``, some of which are packed."""
    if all(mine is other for mine, other in zip(items, node.saved)):
        return
    results = [k for k, item in enumerate(items) if type(item) is _Packed and item.kind in ("result", "data")]
    if results:  # writes to results that are packed are no longer watched
        node.storages = tuple(Storage() for _ in node.storages)
    node.saved = items
    if not isinstance(node, _PackedNode):
        node.__class__ = _packed_class(type(node))


def _wrapped(node, k, item, hooks):
    """The saved value at place ``k`` of a node, packed if it is a tensor; so are those in a tuple."""
    if isinstance(item, Tensor):
        with no_grad(), _without_hooks():
            return _Packed(item if item._n is None else alias(item, item._d, item._m), hooks, "input", item._n)
    if type(item) is SavedResult:
        with no_grad(), _without_hooks():
            return _Packed(item.restore(None), hooks, "result")
    if type(item) is tuple and any(isinstance(part, (Tensor, SavedResult, tuple)) for part in item):
        return tuple(_wrapped(node, k, part, hooks) for part in item)
    needs = getattr(getattr(node, "op", None), "needs", ())
    if node.storages and k < len(needs) and needs[k] == "out" and not isinstance(item, _Packed):
        with no_grad(), _without_hooks():  # bare data, described by the plan
            tensor = make(item, node.plan.out)
            tensor._s = node.storages[0]
            return _Packed(tensor, hooks, "data")
    return item


class SavedTensor:
    """What a node keeps of a tensor that it saved; `register_hooks` has it pass through a pair of hooks."""

    def __init__(self, *place: Any):
        if not place:
            raise RuntimeError("Trying to create a SavedTensor object from Python is forbidden.")
        self._node, self._position = place

    def register_hooks(
        self, pack_hook: Callable[[Tensor], Any] | None = None, unpack_hook: Callable[[Any], Tensor] | None = None
    ) -> None:
        """Keep ``pack_hook(tensor)`` from now on, and compute with ``unpack_hook`` of it. The hooks are called without
        recording. RuntimeError once the tensor is freed, if it is None, or has hooks already."""
        if not callable(pack_hook) or not callable(unpack_hook):
            raise TypeError("register_hooks(): incompatible function arguments, expected a pack hook and an unpack hook")
        node, k = self._node, self._position
        if node.saved is None:
            raise RuntimeError("Calling register_hooks on a saved tensor after it has been freed. Please make sure to do it before.")
        item = node.saved[k]
        if item is None:
            raise RuntimeError("Calling register_hooks on a saved tensor with value None is forbidden")
        if type(item) is _Packed:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: only one pair of hooks is "
                "allowed at a time."
            )
        packed = _wrapped(node, k, item, (pack_hook, unpack_hook))
        _keep(node, (*node.saved[:k], packed, *node.saved[k + 1 :]))
