"""`swap_tensors`: two tensors change places, so that every reference to one sees the other."""

import copyreg
import sys
import weakref

from .autograd import Leaf, next_seq, switch
from .autograd.node import SWAPPED
from .tensor import Tensor, storage_of


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Exchange all that two tensors are: class, data, shape, gradient, history and attributes.

    Whoever holds ``t1`` holds what was ``t2`` afterwards, and the reverse. A backward pass through a graph that was
    recorded with one of them as a leaf raises RuntimeError from then on, since its gradient would go to the other.
    Raises RuntimeError for tensors with weak references to them, with different slots, or that are no leaves.
    """
    for name, tensor in (("t1", t1), ("t2", t2)):
        if weakref.getweakrefs(tensor):
            raise RuntimeError(f"Cannot swap {name} because it has weakref associated with it")
    slots = set(copyreg._slotnames(type(t1)))  # type: ignore[attr-defined]
    if slots != set(copyreg._slotnames(type(t2))):  # type: ignore[attr-defined]
        raise RuntimeError("Cannot swap t1 and t2 if they have different slots")
    for name, tensor in (("t1", t1), ("t2", t2)):
        if not tensor.is_leaf:
            raise RuntimeError(
                f"Cannot swap {name} because it is the result of {tensor._n.name}: a graph holds it. Only leaves can be "
                "swapped; use .detach()."
            )
    recorded = False
    for tensor in (t1, t2):
        node = tensor._n
        # Here and in the tensor, and as the argument of getrefcount; more are edges of graphs.
        if type(node) is Leaf and sys.getrefcount(node) > 3:
            node.register_tensor_hook(_poisoned)
            recorded = True
    if recorded:  # what those graphs saved of the tensors is no longer there
        for storage in (storage_of(t1), storage_of(t2)):
            storage.modified, storage.writer = next_seq(), "swap_tensors"
            switch.last_write = storage.modified
    kept = type(t1), t1.__dict__
    t1.__class__, t1.__dict__ = type(t2), t2.__dict__
    t2.__class__, t2.__dict__ = kept
    for slot in ("_d", "_m", "_s", "_n", *(slots - {"_d", "_m", "_s", "_n"})):
        of_t1, of_t2 = _slot(t1, slot), _slot(t2, slot)
        _set_slot(t1, slot, of_t2)
        _set_slot(t2, slot, of_t1)


_absent = object()


def _slot(tensor, name):
    try:
        return object.__getattribute__(tensor, name)
    except AttributeError:
        return _absent


def _set_slot(tensor, name, value):
    if value is not _absent:
        object.__setattr__(tensor, name, value)
    elif _slot(tensor, name) is not _absent:
        object.__delattr__(tensor, name)


def _poisoned(gradient):
    raise RuntimeError(SWAPPED)
