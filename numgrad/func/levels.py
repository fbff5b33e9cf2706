"""What all function transforms stand on: inputs whose history starts afresh, and derivatives towards them.

A transform calls the function on stand-ins of its inputs. Their nodes, `Source`, start the transform's own part of the
graph and go on to the history that the input itself has, so that transforms can be nested in each other and in
ordinary recording. Derivatives of outputs come from a backward walk to the sources. Directional derivatives come
from two: the gradient ``J^T u`` is linear in ``u``, and its derivative with respect to ``u`` towards ``v`` is ``J v``.

Within `vmap` an input's stand-in is batched over all maps under way: each sample differentiates with respect to one of
its own. History is that of the values; gradients that are batched over more than what they belong to are propagated by
tensor operations.
"""

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..autograd import Node, is_grad_enabled, next_seq, walk
from ..dtypes import dtype
from ..ops.create import zeros, zeros_like
from ..tensor import Tensor, alias
from .batched import Batched, batched, everywhere, levels_of, next_level, seeded, under, value_of


class Source(Node):
    """Where a transform's part of the graph starts; ``meta`` describes the input's values, ``levels`` what they are
    batched over."""

    __slots__ = ("meta", "levels")

    name = "FunctionalInput"

    def __init__(self, tensor: Tensor, levels: tuple = ()):
        self.levels = levels
        self.seq = next_seq()
        self.next = () if tensor._n is None else (tensor._n,)
        self.saved = self.storages = ()
        self.hooks = None
        self.meta = tensor._m

    def backward(self, gradient):
        return (gradient,)

    backward_recorded = backward

    def zeros(self) -> Tensor:
        """The gradient with respect to an input that was not used."""
        return batched(zeros_of(self.meta), self.levels)


def zeros_of(m) -> Tensor:
    """Zeros of the shape, dtype and device of a Meta."""
    return zeros(tuple(m.shape), dtype=m.dtype, device=m.device)


def stand_in(op: str, tensor: Tensor, start: Callable[..., Source] = Source) -> Tensor:
    """A tensor over ``tensor``'s memory whose history starts with a `Source`, made by ``start(values, levels)``."""
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{op}: expected Tensors to differentiate with respect to, got {type(tensor).__name__}")
    kind: dtype = tensor._m.dtype
    if not kind.differentiable:
        raise RuntimeError(
            f"{op}: only Tensors of floating point or complex dtype can require gradients, got {kind!r}; leave this argument out of "
            "argnums, or convert it with .float() first"
        )
    tensor = everywhere(tensor)
    levels, tensor = levels_of(tensor), value_of(tensor)
    found = alias(tensor, tensor._d, tensor._m)
    found._n = start(tensor, levels)
    return batched(found, levels)


def reaches_outside(tensors: Iterable, sources: Iterable[Node]) -> bool:
    """Whether a tensor's history has other beginnings than these sources: leaves, or the inputs of outer transforms."""
    seen = set()
    own = set(sources)
    stack = [t._n for t in tensors if isinstance(t, Tensor) and t._n is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.leaf or isinstance(node, Source) and not node.next and node not in own:
            return True
        stack.extend(parent for parent in node.next if parent is not None and parent not in seen)
    return False


def settled(tensors: Sequence, sources: Iterable[Node]) -> list:
    """The results of a transform without the part of their history that ends with it: those that depend on nothing
    outside of it, and all where nothing is recorded, are detached. What is no Tensor stays."""
    record = is_grad_enabled()
    return [
        t.detach() if isinstance(t, Tensor) and t._n is not None and not (record and reaches_outside([t], sources)) else t
        for t in tensors
    ]


def pull(outputs: Sequence[Tensor], cotangents: Sequence, sources: Sequence[Node], record: bool, retain: bool) -> list:
    """The gradients of ``outputs``, weighted by ``cotangents``, with respect to the sources; None where unused."""
    captures = dict.fromkeys(sources)
    roots = [(t._n, seeded(t, g)) for t, g in zip(outputs, cotangents) if t._n is not None and g is not None]
    propagate(roots, retain, record, captures)
    return [None if (g := captures[source]) is None else under(g, source.levels) for source in sources]


def propagate(roots: Sequence, retain: bool, record: bool, captures: dict) -> None:
    """A backward walk to the nodes in ``captures`` from ``roots``, some of whose gradients may be batched."""
    step = None
    if any(type(gradient) is Batched for _, gradient in roots):
        step = rules().gradients_of
    walk(roots, retain, record, captures, accumulate=False, step=step)


def rules():
    """The module of the rules for batched tensors, imported when it is first needed."""
    return importlib.import_module(".composites", __package__)


def gradients_within(outputs: Sequence, inputs: Sequence, gradients: Sequence, retain: bool, record: bool) -> list:
    """`autograd.grad` where outputs or their gradients are batched: one gradient an input, None where unused."""
    levels = {level for tensor in outputs for level in levels_of(tensor)}
    for tensor in inputs:
        if not levels.issubset(levels_of(tensor)):
            raise RuntimeError(
                "autograd.grad: within vmap an output differs from sample to sample, but an input is one tensor for all "
                "samples, so that its gradient would mix them; use numgrad.func.grad or numgrad.func.vjp inside of vmap"
            )
    captures = {tensor._n: None for tensor in inputs}
    propagate([(t._n, seeded(t, g)) for t, g in zip(outputs, gradients)], retain, record, captures)
    return [None if (g := captures[t._n]) is None else under(g, levels_of(t)) for t in inputs]


def batch_of(*tensors: Tensor) -> tuple[list[Tensor], Callable[..., Any]]:
    """Tensors with their first dimension, of one size, as that of a batch, and what makes an ordinary tensor of what is
    computed from them: with the samples along dimension ``dim``, 0 by default. None stays None."""
    level, size = next_level(), tensors[0]._m.shape[0]
    mapped = rules()

    def ordinary(found, dim=0):
        return None if found is None else mapped.left(found, dim, level, size)

    return [mapped.entered(tensor, 0, level) for tensor in tensors], ordinary


def linear_map(
    outputs: Sequence[Tensor], sources: Sequence[Node], keep: bool | None = None
) -> Callable[[Sequence], list]:
    """The function from tangents of the sources (None for zero) to tangents of the outputs (None for zero).

    ``keep``: whether its results are recorded; None for those that depend on something outside.
    """
    levels = [levels_of(tensor) for tensor in outputs]
    outputs = [value_of(tensor) for tensor in outputs]
    weights: list = []
    for tensor in outputs:
        weight = None
        if tensor._n is not None:
            weight = zeros_like(tensor).detach()
            weight._n = Source(weight)
        weights.append(weight)
    gradients = [value_of(g) for g in pull(outputs, weights, sources, True, True)]
    places = [None if weight is None else weight._n for weight in weights]

    def push(tangents: Sequence) -> list:
        record = keep
        if record is None:
            record = is_grad_enabled() and reaches_outside([*outputs, *tangents], sources)
        captures = {place: None for place in places if place is not None}
        roots, reached = [], False
        for source, g, t in zip(sources, gradients, tangents):
            reached = reached or g is not None and t is not None
            if g is not None and g._n is not None and t is not None:
                roots.append((g._n, seeded(batched(g, source.levels), t)))
        propagate(roots, True, record, captures)
        found = [None if place is None else captures[place] for place in places]
        if reached:  # by gradients that are 0 whatever comes, those of sampled or overwritten values: so is the tangent
            found = [zeros_like(tensor).detach() if t is None and tensor._n is not None else t for t, tensor in zip(found, outputs)]
        found = [None if t is None else under(t, own) for t, own in zip(found, levels)]
        return found if keep else settled(found, [*sources, *captures])

    return push
