"""The recorder: nodes, grad modes, hooks and the backward walk. No numeric code.

A `Node` stands for one recorded op: ``next`` has one entry per differentiable input, the node that made it (a
`Leaf` for tensors that accumulate ``.grad``) or None. ``seq`` falls with time, so the walk takes pending nodes
from a heap: the latest recorded first, and no node before all that used its result.
"""

import functools
import importlib
import inspect
import itertools
import sys
import threading
from heapq import heappop, heappush, heappushpop
from typing import Any, NamedTuple

from .. import forks
from ..contexts import within
from ..errors import GradientError
from ..storage import Storage

next_seq = itertools.count(-1, -1).__next__

# Set by the op table: sum of two gradients (a new tensor; in place), a copy with strides (row-major if None).
add = add_ = laid_out = stack = None

# Part of the public namespace ``numgrad.autograd``, bound by the layers that define them.
backward = grad = Function = gradcheck = gradgradcheck = None


class NodeName(str):
    """A node's name: a string, which ``node.name()`` returns too."""

    def __call__(self):
        return str(self)


class Node:
    """One recorded op.

    ``backward(grad)`` returns the gradients of ``next`` (a tuple with None where not needed); with ``create_graph``
    the walk calls ``backward_recorded`` instead, whose result is itself recorded. ``saved`` is what it needs: input
    tensors as they are, a result as its data (the tensor itself would be a cycle); ``storages`` are those of saved
    results. ``hooks`` is None for nearly all nodes.
    """

    __slots__ = ("seq", "next", "saved", "storages", "hooks", "plan", "mask", "__dict__", "__weakref__")

    anomaly = None
    leaf = False
    frees = True  # whether a pass frees what is saved: not where that is no memory but shapes and numbers
    name = NodeName("Node")

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        name = cls.__dict__.get("name")
        if type(name) is str:
            cls.name = NodeName(name)

    @property
    def metadata(self) -> dict:
        """Whatever the user wants to keep with this node."""
        return self.__dict__.setdefault("_metadata", {})

    def __repr__(self):
        return f"<{self.name} object at {id(self):#x}>"

    @property
    def next_functions(self):
        return tuple(
            (parent.next[0], parent.output_nr) if type(parent) is OutputNode else (parent, 0) for parent in self.next
        )

    def outputs(self, gradient):
        """What hooks see of the gradient that comes to this node: a tuple with one for each output."""
        return (gradient,)

    def incoming(self, outputs):
        """The reverse of `outputs`."""
        return outputs[0]

    def _hooks(self):
        if self.hooks is None:
            self.hooks = Hooks()
        return self.hooks

    def register_hook(self, hook):
        """Call ``hook(grad_inputs, grad_outputs)`` after this node's gradients are computed."""
        return Handle(self._hooks().post, hook)

    def register_prehook(self, hook):
        """Call ``hook(grad_outputs)`` before this node runs; it may return replacements."""
        return Handle(self._hooks().pre, hook)

    def register_tensor_hook(self, hook):
        """Call ``hook(grad)`` with the gradient of this node's output; it may return a replacement."""
        hooks = self._hooks().tensor
        handle = Handle(hooks, hook)
        if RETAIN in hooks:
            hooks[RETAIN] = hooks.pop(RETAIN)
        return handle

    def retain(self, keep):
        """Call ``keep(grad)`` with the gradient of this node's output after all other hooks on it."""
        self._hooks().tensor[RETAIN] = keep

    def check(self):
        """Raise if a saved value was written to after this node was recorded, or is freed."""
        if self.saved is None:
            raise self.freed()
        for item in self.kept():
            storage = item if type(item) is Storage else getattr(item, "_s", None)
            if storage is not None and storage.modified < self.seq:
                raise GradientError(
                    "one of the variables needed for gradient computation has been modified by an inplace "
                    f"operation: a value saved by {self.name} was changed afterwards by '{storage.writer}' (version "
                    f"{storage.version})" + _advice(storage.writer)
                )

    def kept(self):
        """What must be as it was for the gradient to be right."""
        return (*self.saved, *self.storages)

    def freed(self):
        """The error for a second backward pass through this node."""
        return GradientError(
            "Trying to backward through the graph a second time (or directly access saved tensors after they have "
            f"already been freed): the buffers saved by {self.name} were freed by the first backward pass. Specify "
            "retain_graph=True if you need to backward through the graph a second time."
        )


RETAIN = -1  # the number of the hook of `Tensor.retain_grad`, which stays the last


class Hooks:
    """The hooks of one node: on the gradient of its output, before and after it runs."""

    __slots__ = ("tensor", "pre", "post")

    def __init__(self):
        self.tensor, self.pre, self.post = {}, {}, {}


def _advice(writer):
    if writer is not None and writer.endswith(".step"):
        return ". That was an optimizer step: call backward() before step(), or run the forward pass again."
    if writer == ".data":
        return ". It was written through .data: use detach().clone(), or write before the forward pass."
    return ". Use the out-of-place form of that op, or clone() the value before changing it."


class Leaf(Node):
    """Where gradients of a leaf tensor are accumulated; holds its ``.grad``, laid out as the leaf is: ``strides`` if it
    is dense but not row-major."""

    __slots__ = ("grad", "tensor", "strides")

    leaf = True
    name = "AccumulateGrad"
    label = None  # the parameter's name, where a Module knows it

    def __init__(self):
        self.seq = next_seq()
        self.next = self.saved = self.storages = ()
        self.hooks = self.grad = None
        self.tensor = None  # weak reference, kept only for post-accumulate hooks
        self.strides = None


class Pending(list):
    """The gradients that have come so far to a node with several outputs, each a tuple that says of which one."""

    def joined(self, other):
        """These gradients and the others."""
        self.extend(other)
        return self


class OutputNode(Node):
    """One output of a node that has several: hands its gradient on at its place."""

    __slots__ = ("output_nr",)

    def __init__(self, node, output_nr):
        self.seq = next_seq()
        self.next = (node,)
        self.saved = self.storages = ()
        self.hooks = None
        self.output_nr, self.name = output_nr, node.name

    def backward(self, gradient):
        return (Pending(((self.output_nr, gradient),)),)

    backward_recorded = backward


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor arrives in the graph; stands for the tensor in `grad` and `backward`."""

    node: Node
    output_nr: int = 0
    ownership_token: Any = None

    @property
    def _n(self):
        return self.node


class Handle:
    """Removes a hook: ``handle.remove()``, or leave ``with handle``."""

    _ids = itertools.count()

    def __init__(self, hooks, hook):
        self.id = next(self._ids)
        self.hooks = hooks
        hooks[self.id] = hook

    def remove(self):
        """Take the hook out again; doing so twice is allowed."""
        self.hooks.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


# --- grad modes --------------------------------------------------------------------------------------------------


class _Modes(threading.local):
    enabled = True
    inference = False
    anomaly = False
    check_nan = True
    needed = None  # in a walk to some nodes only: those that lead to them
    task: Any = None  # of the walk under way: roots, captures, its number, functions to call at its end
    packs = ()  # the pairs of hooks that saved tensors pass through, the innermost last
    no_packs = None  # why there may be no such hooks


_modes = _Modes()


class _Switch:
    """``anywhere`` counts the blocks, in any thread, in which recording is off or anomalies are looked for, so
    that the usual case is one attribute read; only when it is not 0 is the thread's own mode asked for."""

    __slots__ = ("anywhere", "last_write", "noted", "selective")

    def __init__(self):
        self.anywhere = self.selective = 0  # selective: walks, in any thread, that go to some nodes only
        self.noted = False  # whether some hook asks which walk calls it
        self.last_write = 0  # sequence number of the latest in-place write: nodes recorded after it need no check


switch = _Switch()
_switch_lock = forks.lock("modes")


def is_grad_enabled() -> bool:
    """Whether this thread records ops."""
    return _modes.enabled


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return _modes.inference


def is_anomaly_enabled() -> bool:
    """Whether this thread is inside `detect_anomaly`."""
    return _modes.anomaly


def _set(name, value):
    before = getattr(_modes, name)
    off = name == "enabled"
    if bool(before) != bool(value):
        with _switch_lock:
            switch.anywhere += 1 if bool(value) != off else -1
    setattr(_modes, name, value)
    return before


def set_packs(packs: tuple):
    """From now on what nodes save in this thread passes through the last of these pairs of hooks."""
    if bool(packs) != bool(_modes.packs):
        with _switch_lock:
            switch.anywhere += 1 if packs else -1
    _modes.packs = packs


def packs() -> tuple:
    """The pairs of hooks that what nodes save in this thread passes through, the innermost last."""
    return _modes.packs


class _Mode:
    """A grad mode, usable as ``with mode():``, ``@mode()`` and ``@mode``."""

    def __init__(self):
        self._before = []

    wanted = True

    def __new__(cls, fn: Any = None) -> Any:
        self = object.__new__(cls)
        if callable(fn):
            self.__init__()
            return self(fn)
        return self

    def __call__(self, fn):
        return within(self.clone, fn)

    def clone(self):
        return type(self)()

    def __enter__(self):
        self._before.append(_set("enabled", self.wanted))

    def __exit__(self, *exception):
        _set("enabled", self._before.pop())


class no_grad(_Mode):
    """Do not record ops in this block or function. Parameters made inside still require grad."""

    wanted = False


class enable_grad(_Mode):
    """Record ops in this block or function, also inside `no_grad`."""

    wanted = True


class set_grad_enabled(_Mode):
    """Record ops or not, from this call on; as a context, until its end."""

    def __new__(cls, mode: bool) -> Any:
        return object.__new__(cls)

    def __init__(self, mode: bool):
        super().__init__()
        self.wanted = bool(mode)
        self._before.append(_set("enabled", self.wanted))
        self._entered = False

    def __call__(self, fn):
        if self._before and not self._entered:  # it decorates: what it has set ends here
            _set("enabled", self._before.pop())
        return super().__call__(fn)

    def clone(self):
        return set_grad_enabled(self.wanted)

    def __enter__(self):
        if self._entered or not self._before:
            super().__enter__()
        self._entered = True


class inference_mode(_Mode):
    """`no_grad` for code whose results will never be trained on."""

    def __new__(cls, mode: Any = True) -> Any:
        self = object.__new__(cls)
        if callable(mode):
            self.__init__()
            return self(mode)
        return self

    def __init__(self, mode: bool = True):
        super().__init__()
        self.mode = bool(mode)

    def clone(self):
        return inference_mode(self.mode)

    def __enter__(self):
        before = _modes.enabled, _modes.inference
        _set("enabled", _modes.enabled and not self.mode)
        _modes.inference = self.mode
        self._before.append(before)

    def __exit__(self, *exception):
        enabled, inference = self._before.pop()
        _set("enabled", enabled)
        _modes.inference = inference


class detect_anomaly:
    """Name the op that made a NaN or infinity, forward or backward, and where it was called.

    ``check_nan=False`` keeps only the call sites.
    """

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        self._before = []

    def __enter__(self):
        self._before.append((_set("anomaly", True), _modes.check_nan))
        _modes.check_nan = self.check_nan

    def __exit__(self, *exception):
        before, _modes.check_nan = self._before.pop()
        _set("anomaly", before)


class set_detect_anomaly(detect_anomaly):
    """`detect_anomaly`, on or off, from this call on; as a context, until its end."""

    def __init__(self, mode: bool, check_nan: bool = True):
        super().__init__(check_nan)
        self._before.append((_set("anomaly", bool(mode)), _modes.check_nan))
        _modes.check_nan = check_nan

    def __enter__(self):
        pass


def checks_nan() -> bool:
    """Whether results must be looked at for NaN in this thread."""
    return _modes.anomaly and _modes.check_nan


# --- the walk ----------------------------------------------------------------------------------------------------


def unshared(tensor, references):
    """Whether nobody but the caller, who holds ``references`` references, sees this tensor or its memory."""
    return sys.getrefcount(tensor) <= references + 1 and (tensor._s is None or sys.getrefcount(tensor._s) <= 2)


def walk(roots, retain_graph=False, create_graph=False, captures=None, accumulate=True, step=None):
    """Propagate gradients from ``roots``, pairs of (node, gradient), to the leaves.

    ``captures``: dict of node -> None to be filled with the gradients that reach these nodes; then only paths to
    them are walked. ``accumulate``: whether leaves (those captured, if any are) add to their ``.grad``. ``step``: a
    function (node, gradient) -> gradients in place of the node's own, whose results are not written to.
    """
    needed = None if captures is None else _leading_to(captures, [node for node, _ in roots])
    before, outer = _set("enabled", bool(create_graph)), _modes.needed
    _modes.needed = None if create_graph else needed
    selective = _modes.needed is not None
    if selective:
        with _switch_lock:
            switch.selective += 1
    try:
        if switch.noted:
            _noted_walk(roots, retain_graph, step or bool(create_graph), captures, accumulate, needed)
        else:
            _walk(roots, retain_graph, step or bool(create_graph), captures, accumulate, needed)
    finally:
        if selective:
            with _switch_lock:
                switch.selective -= 1
        _modes.needed = outer
        _set("enabled", before)


def needed_now():
    """The nodes that lead to where the walk of this thread goes; None where it goes everywhere."""
    return _modes.needed


def _noted_walk(roots, retain_graph, create_graph, captures, accumulate, needed):
    ends: list = []  # what hooks have to do when all gradients are there
    outer, _modes.task = _modes.task, (roots, captures, next_seq(), ends)
    try:
        _walk(roots, retain_graph, create_graph, captures, accumulate, needed)
        for end in ends:
            end()
    finally:
        _modes.task = outer


def _walk(roots, retain_graph, create_graph, captures, accumulate, needed):
    pending: dict = {}
    leaves: dict = {}
    heap: list = []
    for node, gradient in roots:
        if needed is not None and node not in needed:
            continue
        if node in pending or node in leaves:
            table = leaves if node.leaf else pending
            table[node] = add(table[node], gradient)
        elif node.leaf:
            leaves[node] = gradient
        else:
            pending[node] = gradient
            heappush(heap, (node.seq, node))
    gradient = None
    node = heappop(heap)[1] if heap else None
    while node is not None:
        gradient = pending.pop(node)
        hooks = node.hooks
        if hooks is not None and hooks.tensor:
            gradient = _run_hooks(hooks.tensor, gradient)
        if captures is not None and node in captures:
            captures[node] = gradient
        if node.saved is None or switch.last_write < node.seq:
            node.check()
        if hooks is not None and hooks.pre:
            gradient = _run_pre_hooks(node, gradient)
        if not create_graph:
            gradients = node.backward(gradient)
        elif create_graph is True:
            gradients = node.backward_recorded(gradient)
        else:
            gradients = create_graph(node, gradient)
        if hooks is not None and hooks.post:
            gradients = _run_post_hooks(node, gradients, gradient)
        if switch.anywhere and checks_nan():
            _check_finite(node, gradients)
        if not retain_graph and node.saved and node.frees:
            node.saved = None  # a second pass is refused; nodes that saved no values may run again
        gradient = None
        following = None
        for parent, gradient in zip(node.next, gradients):
            if parent is None or gradient is None or (needed is not None and parent not in needed):
                continue
            table = leaves if parent.leaf else pending
            held = table.get(parent)
            if held is not None:
                if type(held) is Pending:
                    table[parent] = held.joined(gradient)
                elif create_graph:
                    table[parent] = add(held, gradient)
                else:
                    # held by: the table, `held`, getrefcount's argument
                    table[parent] = add_(held, gradient) if unshared(held, 2) else add(held, gradient)
                held = None
            else:
                table[parent] = gradient
                if table is pending:
                    if following is None:
                        following = parent
                    else:
                        heappush(heap, (parent.seq, parent))
        gradient = gradients = None
        if heap:
            node = heappop(heap)[1] if following is None else heappushpop(heap, (following.seq, following))[1]
        else:
            node = following
    for leaf in list(leaves):
        gradient = leaves.pop(leaf)
        hooks = leaf.hooks
        if hooks is not None and hooks.tensor:
            gradient = _run_hooks(hooks.tensor, gradient)
        if captures is not None and leaf in captures:
            captures[leaf] = gradient
        if accumulate and (captures is None or leaf in captures):
            _accumulate(leaf, gradient, create_graph)
            gradient = None
            if hooks is not None and hooks.post:
                _run_accumulate_hooks(leaf)


def _accumulate(leaf, gradient, create_graph):
    held = leaf.grad
    if held is None:
        if create_graph:
            leaf.grad = gradient
        elif unshared(gradient, 3) and (  # the caller's and our name, the argument
            gradient._m.contiguous if leaf.strides is None else gradient._m.strides == leaf.strides
        ):
            leaf.grad = gradient
        else:
            leaf.grad = laid_out(gradient, leaf.strides)
    elif create_graph or held._n is not None:
        leaf.grad = add(held, gradient)
    else:
        add_(held, gradient)


def _leading_to(targets, starts):
    """The nodes from which a target can be reached."""
    needed = set(targets)
    state = {}  # node -> whether it leads to a target; absent while its parents are being looked at
    for start in starts:
        stack = [(start, iter(start.next))]
        seen = {start}
        path = stack
        while path:
            node, parents = path[-1]
            for parent in parents:
                if parent is None or parent in state or parent in seen:
                    continue
                seen.add(parent)
                path.append((parent, iter(parent.next)))
                break
            else:
                path.pop()
                state[node] = node in needed or any(state.get(parent, False) for parent in node.next if parent)
    return needed | {node for node, leads in state.items() if leads}


def _run_hooks(hooks, gradient):
    for hook in list(hooks.values()):
        changed = hook(gradient)
        if changed is not None:
            gradient = changed
    return gradient


def _run_pre_hooks(node, gradient):
    outputs = node.outputs(gradient)
    for hook in list(node.hooks.pre.values()):
        changed = hook(outputs)
        if changed is not None:
            outputs = changed if isinstance(changed, tuple) else (changed,)
    return node.incoming(outputs)


def _run_post_hooks(node, gradients, gradient):
    gradients, outputs = tuple(gradients), node.outputs(gradient)
    for hook in list(node.hooks.post.values()):
        changed = hook(gradients, outputs)
        if changed is not None:
            gradients = changed if isinstance(changed, tuple) else (changed,)
    return gradients


def _run_accumulate_hooks(leaf):
    tensor = leaf.tensor() if leaf.tensor is not None else None
    if tensor is None and leaf.tensor is not None:  # nobody can see its gradient any more
        return
    for hook in list(leaf.hooks.post.values()):
        hook(tensor)


def _check_finite(node, gradients):
    for k, gradient in enumerate(gradients):
        if gradient is not None and type(gradient) is not Pending and has_nan(gradient):
            raise RuntimeError(
                f"Function '{node.name}' returned nan values in its {k}th output."
                + (f" The op was recorded here:\n{node.anomaly}" if node.anomaly else "")
            )


has_nan = None  # set by the op table


# --- parts that most programs do without -------------------------------------------------------------------------

_ON_FIRST_USE = {"forward_ad", "function", "functional", "grad_mode", "graph", "variable"}
_OF_PARTS = {"Variable": "variable"}


def __getattr__(name: str):
    if name in _ON_FIRST_USE:
        return importlib.import_module(f".{name}", __name__)
    if name in _OF_PARTS:
        return getattr(importlib.import_module(f".{_OF_PARTS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
