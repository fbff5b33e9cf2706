"""Gradients of many views of one tensor: collected, and written side by side into one gradient of the tensor."""

import weakref

from ..autograd import Node, Pending, engine, next_seq
from ..storage import meta
from ..structured import plan_view
from ..tensor import empty_tensor, make
from .copy import write, zero


class WholeNode(Node):
    """Between a tensor and all views of it that are recorded as parts. It keeps nothing but the tensor's meta."""

    __slots__ = ()
    name = "PartsBackward0"

    def backward(self, parts):
        m = self.plan
        whole = empty_tensor(meta(m.dtype, m.shape, m.device))
        apart, complete = _coverage(parts, m)
        if not complete:
            zero(whole)
        for op, values, gradient in parts:
            plan = op.plans.get((whole._m, *values)) or plan_view(op, whole, values)
            place = make(whole._d if plan[2] is None else whole._d[plan[1] : plan[2]], plan[0])
            if apart:
                write(gradient, place)
            else:
                engine.add_(place, gradient)
        return (whole,)

    def backward_recorded(self, parts):
        total = None
        for op, values, gradient in parts:
            given = dict(zip(op.attributes, values), input_meta=self.plan)
            found = op.gradient(gradient, *[given[name] for name in op.needs])
            total = found if total is None else engine.add(total, found)
        return (total,)


class PartNode(Node):
    """The node of a view that hands its gradient on as it is: ``plan`` are the values of the view's attributes.

    ``op.reach(meta, *values)`` says which part it is, (dimension, start, stop), or None where it is no such part.
    """

    __slots__ = ()

    @property
    def next_functions(self):
        return self.next[0].next_functions

    @staticmethod
    def onto(parent, m):
        """The node that collects the parts of a tensor of meta ``m`` that ``parent`` made: one as long as it is used."""
        known = parent.__dict__.get("whole")
        found = None if known is None else known()
        if found is None or found.plan is not m:
            found = WholeNode()
            found.seq = next_seq()
            found.next = (parent,)
            found.saved = found.storages = ()
            found.hooks, found.plan = None, m
            parent.whole = weakref.ref(found)
        return found

    def backward(self, gradient):
        return (Pending(((self.op, self.plan, gradient),)),)

    backward_recorded = backward


def _coverage(parts, m):
    """(whether no element is in two of the parts, whether they are all of a tensor of meta ``m``), as far as one sees."""
    if len(parts) == 1:
        return True, False
    ranges, along = [], None
    for op, values, _ in parts:
        reach = op.reach(m, *values)
        if reach is None or (along is not None and reach[0] != along):
            return False, False
        along = reach[0]
        ranges.append(reach[1:])
    ranges.sort()
    for (_, stop), (start, _) in zip(ranges, ranges[1:]):
        if start < stop:
            return False, False
    return True, sum(stop - start for start, stop in ranges) == m.shape[along]
