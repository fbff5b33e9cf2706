"""What the recorded graph is made of: nodes, the leaves that accumulate gradients, and hooks on both.

A `Node` stands for one recorded op: ``next`` has one entry per differentiable input, the node that made it (a
`Leaf` for tensors that accumulate ``.grad``) or None. ``seq`` falls with time.
"""

import itertools
from typing import Any, NamedTuple

from ..errors import GradientError
from ..storage import Storage
from .modes import switch

next_seq = itertools.count(-1, -1).__next__


class NodeName(str):
    """A node's name: a string, which ``node.name()`` returns too."""

    path = ""

    def __call__(self):
        return self.path + self


class EngineName(NodeName):
    """The name of a node that no op made."""

    path = "torch::autograd::"


class Node:
    """One recorded op.

    ``backward(grad)`` returns the gradients of ``next`` (a tuple with None where not needed); with ``create_graph``
    the walk calls ``backward_recorded`` instead, whose result is itself recorded. ``saved`` is what it needs: input
    tensors as they are, a result as its data (the tensor itself would be a cycle); ``storages`` are those of saved
    results. ``hooks`` is None for nearly all nodes.
    """

    __slots__ = ("seq", "next", "saved", "storages", "hooks", "plan", "mask", "__dict__", "__weakref__")

    anomaly = within = None  # in `detect_anomaly`: where the op was called, the node in whose gradient it was
    refusal = None  # why the tensor of this node must not be used
    leaf = False
    stops = False  # whether a walk to this node goes no further, also where it leads to others
    unpacks = False  # whether the gradient itself has saved tensors that were packed unpacked, as often as it reads them
    told = False  # whether it runs also where no gradient has come, to be told so
    frees = True  # whether a pass frees what is saved: not where that is no memory but shapes and numbers
    saves: tuple[str, ...] = ()  # the names of what is in ``saved``, as far as it has some: ``node._saved_dim`` for "dim"
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

    def seed(self, output_nr, gradient):
        """The gradient of one output as it comes to this node."""
        return gradient

    @property
    def _input_metadata(self):
        """What is known of the outputs, whose gradients are the inputs of this node: objects with ``shape``, ``dtype``."""
        plan = getattr(self, "plan", None)
        out = getattr(plan, "out", None)
        return () if out is None else (out,)

    def _sequence_nr(self) -> int:
        """A number that grows with the time at which ops were recorded."""
        return -self.seq

    def __call__(self, *gradients):
        """The gradients of the inputs for those of the outputs."""
        expected = max(len(self._input_metadata), 1)
        if len(gradients) != expected:
            raise TypeError(f"{self.name} expected {expected} arguments, got {len(gradients)} instead")
        self.check()
        found = tuple(self.backward_recorded(self.incoming(gradients)))
        return found[0] if len(found) == 1 else found

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
        """Raise if a saved value was written to after this node was recorded, lost its history, or is freed."""
        if self.saved is None:
            raise self.freed()
        for item in self.kept():
            if getattr(item, "_detached", 0) < self.seq:
                raise GradientError(
                    f"Trying to use a saved tensor that has been detached in-place, i.e. with .detach_(), after {self.name} "
                    "saved it. This is not supported, please use out-of-place `.detach()` instead"
                )
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

    def used(self, position) -> bool:
        """Whether a gradient that somebody may ask for needs the saved value at ``position``."""
        return True

    def restored(self):
        """The saved values as they were when they were saved."""
        return self.saved

    def __getattr__(self, name):
        """``_saved_x``: the value that was saved under the name x; ``_raw_saved_x``: its holder, for hooks on it."""
        if name.startswith("_saved_"):
            return self.saved_value(name.removeprefix("_saved_"), False)
        if name.startswith("_raw_saved_"):
            return self.saved_value(name.removeprefix("_raw_saved_"), True)
        raise AttributeError(f"'{self.name}' object has no attribute '{name}'")

    def saved_value(self, name, raw):
        """The saved value ``name``, or its holder."""
        if name in self.saves and not raw:
            if self.saved is None:
                raise self.freed()
            self.check()
            return self.restored()[self.saves.index(name)]
        raise AttributeError(f"'{self.name}' object has no attribute '_saved_{name}'")

    def freed(self):
        """The error for a second backward pass through this node."""
        return GradientError(
            "Trying to backward through the graph a second time (or directly access saved tensors after they have "
            f"already been freed): the buffers saved by {self.name} were freed by the first backward pass. Specify "
            "retain_graph=True if you need to backward through the graph a second time."
        )


RETAIN = -1  # the number of the hook of `Tensor.retain_grad`, which stays the last


class Hooks:
    """The hooks of one node: on the gradient of its output, before and after it runs, and, for leaves, after the
    gradient was added."""

    __slots__ = ("tensor", "pre", "post", "accumulated")

    def __init__(self):
        self.tensor, self.pre, self.post, self.accumulated = {}, {}, {}, {}


SWAPPED = (
    "Trying to execute AccumulateGrad node that was poisoned by swap_tensors: this can happen when you try to run backward on "
    "a tensor that was swapped. For a module m with set_swap_module_params_on_conversion(True), do not change its device or "
    "dtype (m.to(), m.half(), ...) between the forward pass and backward()."
)


def _advice(writer):
    if writer is not None and writer.endswith(".step"):
        return ". That was an optimizer step: call backward() before step(), or run the forward pass again."
    if writer == ".data":
        return ". It was written through .data: use detach().clone(), or write before the forward pass."
    if writer == "swap_tensors":
        return f". {SWAPPED}"
    return ". Use the out-of-place form of that op, or clone() the value before changing it."


class Leaf(Node):
    """Where gradients of a leaf tensor are accumulated; holds its ``.grad``, laid out as the leaf is: ``strides`` if it
    is dense but not row-major."""

    __slots__ = ("grad", "tensor", "strides")

    leaf = True
    name = EngineName("AccumulateGrad")
    label = None  # the parameter's name, where a Module knows it

    def __init__(self):
        self.seq = next_seq()
        self.next = self.saved = self.storages = ()
        self.hooks = self.grad = None
        self.tensor = None  # weak reference, kept only for post-accumulate hooks
        self.strides = None

    def _hooks(self):
        switch.noted = switch.leaf_hooks = True
        return super()._hooks()

    def register_accumulated_hook(self, hook):
        """Call ``hook(tensor)`` after a gradient was added."""
        return Handle(self._hooks().accumulated, hook)


Leaf.__name__ = Leaf.__qualname__ = str(Leaf.name)  # the type's name is shown where graphs are printed


class Pending(list):
    """The gradients that have come so far to a node with several outputs, each a tuple that says of which one; none where
    a node is told that no gradient has come."""

    def joined(self, other):
        """These gradients and the others."""
        if type(other) is not Pending:  # there were none
            return other
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

    @property
    def told(self):
        return self.next[0].told

    def backward(self, gradient):
        return (gradient if type(gradient) is Pending else Pending(((self.output_nr, gradient),)),)

    backward_recorded = backward


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor arrives in the graph; stands for the tensor in `grad` and `backward`.
    ``ownership_token`` is for the library's own use: it describes the tensor."""

    node: Node
    output_nr: int = 0
    ownership_token: Any = None

    @property
    def _n(self):
        return self.node

    def describes(self):
        """The meta of the tensor that it stands for, None if that is not known."""
        if self.ownership_token is not None:
            return self.ownership_token
        known = self.node._input_metadata
        return known[self.output_nr] if len(known) > self.output_nr else None


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
