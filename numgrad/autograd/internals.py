"""What PyTorch's own programs ask of its engine: the backward pass under way in this thread, and nodes made by hand.

The names are those of ``torch._C``, where they are found too. Nothing is noted for them while a pass runs: they read
the frame of the walk.
"""

import sys
import weakref
from collections.abc import Iterable
from types import FrameType
from typing import Any

from ..packing import SavedTensor as SavedTensor
from ..tensor import Tensor, alias, storage_of
from . import Leaf, Node, engine, is_multithreading_enabled, local, next_seq
from .modes import packs

AccumulateGrad = Leaf


def _walk_frame(name: str) -> FrameType:
    """The frame of the walk that runs innermost in this thread; RuntimeError if none does."""
    frame = None if local.walk is None else sys._getframe(2)
    while frame is not None and frame.f_code is not engine._walk.__code__:
        frame = frame.f_back
    if frame is None:
        raise RuntimeError(f"{name}: this function should only be called during the backward pass")
    return frame


def _current_graph_task_id() -> int:
    """The number of the backward pass under way in this thread, one more with each; -1 outside of one."""
    return -1 if local.walk is None else local.walk


def _current_autograd_node() -> Node | None:
    """The node whose gradient is being computed or whose hooks run; None outside of a backward pass."""
    if local.walk is None:
        return None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not engine._walk.__code__:
        if frame.f_code is engine._finish_all.__code__:
            return frame.f_locals["leaf"]
        frame = frame.f_back
    return None if frame is None else frame.f_locals["node"]


def _will_engine_execute_node(node: Node) -> bool:
    """Whether the backward pass under way runs this node; RuntimeError outside of one, and for a leaf in
    `autograd.grad`, where it is not run but its gradient taken."""
    if not isinstance(node, Node):
        raise RuntimeError(f"_will_engine_execute_node: expects an grad_fn, but got {type(node).__name__}")
    found = _walk_frame("_will_engine_execute_node").f_locals
    captures, accumulate = found["captures"], found["accumulate"]
    if captures is None:
        return node in engine.reachable(_starts(found))
    if node.leaf and not accumulate:
        raise RuntimeError(
            "_will_engine_execute_node: a leaf node was passed, but we are currently running autograd.grad(): the gradient of a "
            "leaf is taken there, and its node never run"
        )
    return node in found["running"] or (accumulate and node in captures and node in engine.reachable(_starts(found)))


def _starts(found):
    return [node for node, _ in found["roots"]]


def _current_graph_task_execution_order() -> list[Node]:
    """The nodes that the backward pass under way has still to run, in their order, from within a hook of the first of
    them. RuntimeError outside of a pass, and unless `set_multithreading_enabled` is off."""
    found = _walk_frame("_current_graph_task_execution_order").f_locals
    if is_multithreading_enabled():
        raise RuntimeError(
            "_current_graph_task_execution_order: expects the current backward to be executed with multithreading disabled, e.g. "
            "within set_multithreading_enabled(False)"
        )
    needed, node = found["needed"], found["node"]
    starts = [pending for _, pending in found["heap"]] + ([] if node is None else [node])
    coming = {other for other in engine.reachable(starts) if needed is None or other in needed}
    inner = sorted((other for other in coming if not other.leaf), key=lambda other: other.seq)
    leaves = [(other, parent) for other in inner for parent in other.next if parent in coming and parent.leaf]
    if found["early"] is None:
        return [*inner, *dict.fromkeys([*found["leaves"], *(leaf for _, leaf in leaves)])]
    last = {leaf: other for other, leaf in leaves}  # after which leaves are done
    order = []
    for other in inner:
        order += [other, *dict.fromkeys(leaf for leaf in other.next if last.get(leaf) is other)]
    return order


def _get_current_graph_task_keep_graph() -> bool:
    """Whether the backward pass under way keeps what is saved; true outside of one."""
    return True if local.walk is None else bool(_walk_frame("_get_current_graph_task_keep_graph").f_locals["retain_graph"])


def _unsafe_set_version_counter(tensors: Tensor | Iterable[Tensor], versions: Any) -> None:
    """Set how often the memory of a tensor, or of several, was written to: nothing notices what was done to it since."""
    given = [(tensors, versions)] if isinstance(tensors, Tensor) else zip(tensors, versions, strict=True)
    for tensor, version in given:
        if version < 0:
            raise RuntimeError(f"Cannot set the version counter of a tensor to {version}: it is not negative")
        storage_of(tensor).version = version


class _unsafe_preserve_version_counter:
    """Context whose writes to a tensor, or to several, are not noticed by gradients that saved them."""

    def __init__(self, tensors: Tensor | tuple[Tensor, ...]):
        self.tensors = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
        self._before = [(s.version, s.modified, s.writer) for s in map(storage_of, self.tensors)]

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        for tensor, before in zip(self.tensors, self._before):
            storage = storage_of(tensor)
            storage.version, storage.modified, storage.writer = before


def _saved_tensors_hooks_is_enabled() -> bool:
    """Whether hooks on saved tensors may be set: not within `disable_saved_tensors_hooks`."""
    return local.no_packs is None


def _saved_tensors_hooks_get_disabled_error_message() -> str | None:
    """The message of the `disable_saved_tensors_hooks` under way."""
    return local.no_packs


def _top_saved_tensors_default_hooks(ignore_is_tracing: bool = False) -> tuple | None:
    """The pair of hooks that saved tensors pass through now."""
    return packs()[-1] if packs() else None


class _WeakTensorRef:
    """Tells whether a tensor is gone."""

    def __init__(self, tensor: Tensor):
        self._reference = weakref.ref(tensor)

    def expired(self) -> bool:
        return self._reference() is None


class _ByHand(Node):
    """A node over one tensor."""

    __slots__ = ()

    def __init__(self, tensor):
        self.seq = next_seq()
        self.next = (tensor._n,)
        self.saved = self.storages = ()
        self.hooks = None

    def backward_recorded(self, gradient):
        return self.backward(gradient)


class _ErrorNode(_ByHand):
    __slots__ = ("message",)
    name = "Error"

    def backward(self, gradient):
        raise RuntimeError(self.message)


_ErrorNode.__name__ = _ErrorNode.__qualname__ = "Error"


class _NothingNode(_ByHand):
    __slots__ = ()
    name = "UndefinedGradBackward"

    def backward(self, gradient):
        return (None,)


_NothingNode.__name__ = _NothingNode.__qualname__ = "UndefinedGradBackward"


def _followed(tensors, make):
    """The tensors with one more node each in their history."""
    found = []
    for tensor in tensors:
        value = alias(tensor, tensor._d, tensor._m)
        value._n = make(tensor)
        found.append(value)
    return found[0] if len(found) == 1 else tuple(found)


class DelayedError(Node):
    """``DelayedError(message, count)(*tensors)``: the tensors, with a history whose gradient raises RuntimeError."""

    def __init__(self, message: str, num_inputs: int = 1):
        self.message = message

    def __call__(self, *tensors: Tensor):
        def make(tensor):
            node = _ErrorNode(tensor)
            node.message = self.message
            return node

        return _followed(tensors, make)


class UndefinedGrad(Node):
    """``UndefinedGrad()(*tensors)``: the tensors, with a history that hands no gradient on."""

    def __init__(self):
        pass

    def __call__(self, *tensors: Tensor):
        return _followed(tensors, _NothingNode)
