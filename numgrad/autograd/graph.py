"""The recorded graph from outside, as ``torch.autograd.graph``: what nodes save, where gradients pass, hooks on both."""

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..errors import GradientError
from ..function import Context
from ..inplace import written
from ..packing import SavedTensor as SavedTensor
from ..storage import same_memory
from ..tensor import Tensor, alias, storage_of
from . import (
    GradientEdge as GradientEdge,
    Handle,
    Node as _Node,
    local,
    no_grad,
    packs,
    set_packs,
    switch,
)
from .engine import leading_to, reachable
from .modes import set_before_write


class _Virtual(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (_Node, Context)) and not isinstance(instance, type)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return subclass is cls or issubclass(subclass, (_Node, Context))


class Node(metaclass=_Virtual):
    """What all nodes of the graph are instances of, ``grad_fn`` of tensors, the ``ctx`` of a `Function`.

    ``name()``, ``next_functions``, ``metadata``, ``register_hook(fn)``, ``register_prehook(fn)``; what is saved for the
    gradient are attributes ``_saved_x``, and ``_raw_saved_x.register_hooks`` sets hooks on one of these.
    """


class saved_tensors_hooks:
    """Context: what ops save for their gradients is handed to ``pack_hook(tensor)``, and what that returns to
    ``unpack_hook(packed)`` when the gradient is due; it must give back a tensor of the same values, shape and dtype.

    The innermost pair counts. The tensor handed over shares the memory of the one that is saved: the hook must not
    write to it. Values are not checked for writes in between, since what the hook keeps may be a copy.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]):
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if local.no_packs is not None:
            raise RuntimeError(local.no_packs)
        set_packs((*packs(), (self.pack_hook, self.unpack_hook)))

    def __exit__(self, *exception: object) -> None:
        set_packs(packs()[:-1])


class save_on_cpu(saved_tensors_hooks):
    """Context: what ops save for their gradients is kept in the host's memory, and brought back to its device for the
    gradient. ``pin_memory`` is accepted: copies are made from ordinary memory."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        def pack(tensor):
            if tensor.device.type == "cpu":
                return tensor.device, tensor.clone()
            return tensor.device, tensor.cpu()

        def unpack(packed):
            device, tensor = packed
            return tensor.to(device)

        super().__init__(pack, unpack)


class _Handle:
    """What a node keeps of a saved tensor in `allow_mutation_on_saved_tensors`."""

    __slots__ = ("__weakref__", "version")


class _Copies:
    """The tensors saved in a block of `allow_mutation_on_saved_tensors`, as long as a node keeps their handles: as they are
    in ``original``, until their memory is written to, then copied in ``cloned``. ``tid_to_weakhandle``: the handle by place
    and version, so that what several nodes save is copied once."""

    def __init__(self) -> None:
        self.original: weakref.WeakKeyDictionary[_Handle, Tensor] = weakref.WeakKeyDictionary()
        self.cloned: weakref.WeakKeyDictionary[_Handle, Tensor] = weakref.WeakKeyDictionary()
        self.tid_to_weakhandle: weakref.WeakValueDictionary[tuple, _Handle] = weakref.WeakValueDictionary()

    def pack(self, tensor: Tensor) -> _Handle:
        known = id(storage_of(tensor)), tensor.data_ptr(), id(tensor._m), storage_of(tensor).version
        handle = self.tid_to_weakhandle.get(known)
        if handle is None:
            handle = self.tid_to_weakhandle[known] = _Handle()
            self.original[handle] = alias(tensor, tensor._d, tensor._m)
            handle.version = storage_of(tensor).version
        return handle

    def unpack(self, handle: _Handle) -> Tensor:
        found = self.cloned.get(handle, self.original.get(handle))
        if found is None or local.before_write != self.before_write:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the graph was originally "
                "recorded."
            )
        if found is self.original.get(handle) and storage_of(found).version != handle.version:
            raise GradientError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: a saved value was "
                f"changed afterwards by '{storage_of(found).writer}', which does not copy it before"
            )
        return found

    def before_write(self, tensor: Tensor) -> None:
        """Copy what is saved of the memory of ``tensor``."""
        storage = storage_of(tensor)
        for handle, original in list(self.original.items()):
            if same_memory(original._s, storage):
                with no_grad():
                    self.cloned[handle] = original.clone()
                del self.original[handle]


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[Any]:
    """Context in which tensors may be written to after an op saved them for its gradient: they are copied before they are
    written to, and backward passes through what was recorded in it are to run in it. RuntimeError within another one."""
    copies = _Copies()
    if local.before_write is not None:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    set_before_write(copies.before_write)
    try:
        with saved_tensors_hooks(copies.pack, copies.unpack):
            yield copies
    finally:
        set_before_write(None)
        copies.original.clear()
        copies.cloned.clear()


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Context in which `saved_tensors_hooks` raises RuntimeError with this message; so does entering it within one."""
    if packs():
        raise RuntimeError(error_message)
    before, local.no_packs = local.no_packs, error_message
    try:
        yield
    finally:
        local.no_packs = before


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where the gradient of ``tensor`` arrives: it stands for the tensor in `autograd.grad` and `backward`, without
    keeping its data alive."""
    if tensor._n is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(tensor.grad_fn or tensor._n, tensor.output_nr, tensor._m)


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a write to the tensor (or each of several), so that gradients which need its old values are refused."""
    for item in (tensor,) if isinstance(tensor, Tensor) else tensor:
        written(item, "increment_version")


class _Handles(Handle):
    """Removes the hooks of several tensors."""

    def __init__(self, handles):
        self.handles = handles

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable, *, mode: str = "all") -> Handle:
    """Call ``fn`` once a backward pass with the gradients of several tensors.

    ``mode="all"``: ``fn(gradients)``, one entry a tensor, None where the pass does not reach it, as soon as all others
    are there. ``mode="any"``: ``fn(gradient)`` with the first that is there. What ``fn`` returns is not used. Takes
    part in passes that begin after the registration.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    tensors = tuple(tensors)
    for tensor in tensors:
        if tensor._n is None:
            raise RuntimeError("register_multi_grad_hook: cannot register a hook on a tensor that doesn't require gradient")
    nodes = [tensor._n for tensor in tensors]
    key = object()  # of what is kept for each pass under way: how many gradients are still to come, those that are there

    def begin(task):
        roots, captures, kept, ends = task
        starts = [node for node, _ in roots]
        reached = reachable(starts)
        if captures is not None:
            reached &= leading_to(captures, starts).union(captures)
        kept[key] = [sum(node in reached for node in nodes), [None] * len(nodes)]
        ends.append(lambda: finish(kept[key]))

    def finish(state):
        if state[0]:  # paths on which no gradient came
            fn(state[1])

    def all_of(place, gradient):
        task = local.task
        if task is None:
            return
        if key not in task[2]:
            begin(task)
        state = task[2][key]
        state[1][place] = gradient
        state[0] -= 1
        if state[0] == 0:
            fn(state[1])

    def any_of(place, gradient):
        task = local.task
        if task is not None and key not in task[2]:
            task[2][key] = True
            fn(gradient)

    hook = all_of if mode == "all" else any_of
    switch.noted = True
    return _Handles([tensor.register_hook(functools.partial(hook, place)) for place, tensor in enumerate(tensors)])
