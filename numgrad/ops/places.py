"""Where indices point: the iteration spaces of gather and scatter, and the ops that read, write and add there.

A *places* object says which elements of a tensor are meant. `Along` is gather's: an index of full rank that replaces
the coordinate of one dimension. `Places` is subscription's: index tensors that together replace one or more dimensions.
Every op of these families is one of `reading`, `writing`, `spread` or `cleared` at such places; the gradient of
each is another.
"""

import functools
from math import prod

import numpy as np

from .. import config, dtypes
from ..autograd import is_grad_enabled
from ..inplace import check_inplace, rebase, refuse_overlap, written
from ..kernels import index as kernels
from ..kernels.index import ADD, MAX, MIN, MUL, SET
from ..layout import broadcast_shapes, collapse, contiguous_strides
from ..op import cast, dense, plain, record, recording
from ..plans import caller
from ..storage import Meta, meta, same_memory
from ..structured import structured
from ..tensor import empty_tensor, make
from .copy import clone, contiguous_copy, copy_, zero
from .launch import compiled, element, launch

_FAR = 1 << 62  # the size of the dimension for offsets that were checked before
_PLANS: dict = {}
_LIMIT = 1 << 14
config._on_change.append(_PLANS.clear)


class _Plan:
    """How to read or write at places: the call, the result's meta and the slots that follow the arrays."""

    __slots__ = ("call", "kernel", "geometry", "units", "out", "step", "size", "low")


@functools.lru_cache(1 << 12)
def _take_geometry(sizes, x, index, out):
    """The geometry of `kernels.take`, its units and the elements of each."""
    shape, strides = collapse(sizes, (x, index, out))
    geometry = np.array([len(shape), *shape, *[step for row in strides for step in row]], np.int64)
    return geometry, (prod(shape[:-1]) if 0 not in shape else 0), shape[-1]


@functools.lru_cache(1 << 12)
def _put_geometry(lead, count, tail, out, index, src):
    """The geometry of `kernels.put`: dimensions before, those in which places may meet, and those after.

    Returns None if the middle ones are no even run for all operands.
    """
    a, b = len(lead), len(lead) + len(count)
    operands = (out, index, src)
    parts = []
    for shape, low, high in ((lead, 0, a), (count, a, b), (tail, b, b + len(tail))):
        parts.append(collapse(shape, tuple(strides[low:high] for strides in operands)))
    (before, before_steps), (middle, middle_steps), (after, after_steps) = parts
    if len(middle) > 1:
        return None
    if after == (1,):  # single elements: the inner loop runs along the index, in order
        middle, after, middle_steps, after_steps = after, middle, after_steps, middle_steps
    shape = (*before, *after[:-1], *middle, after[-1])
    steps = [
        step
        for k in range(3)
        for step in (*before_steps[k], *after_steps[k][:-1], *middle_steps[k], after_steps[k][-1])
    ]
    geometry = np.array([len(shape), *shape, *steps], np.int64)
    units = prod(shape[:-2]) if 0 not in shape else 0
    return geometry, units, shape[-1] * shape[-2]


def int64_index(op, index):
    """An index tensor as unrecorded int64."""
    m = index._m
    if m.dtype is dtypes.int64:
        return index
    if m.dtype.kind != "i":
        raise RuntimeError(f"{op}(): Expected dtype int64 for index, got {m.dtype!r}; convert it with .long()")
    return cast(plain(index), dtypes.int64)


class Along:
    """The places ``[..., index[...], ...]`` with the index at dimension ``dim``: those of gather and scatter."""

    __slots__ = ("index", "dim", "op", "wrap")

    def __init__(self, op, index, dim, wrap=False):
        self.op, self.index, self.dim, self.wrap = op, index, dim, wrap

    @property
    def _s(self):
        return self.index._s

    @property
    def shape(self):
        """The shape of what is read or written there."""
        return tuple(self.index._m.shape)

    def key(self):
        return self.index._m, self.dim, self.wrap

    def reach(self, m: Meta):
        """(strides in a tensor of meta ``m``, index tensor, its strides, step, size, low)."""
        strides = list(m.strides)
        step, strides[self.dim] = strides[self.dim], 0
        size = m.shape[self.dim]
        return tuple(strides), self.index, self.index._m.strides, step, size, -size if self.wrap else 0

    def parts(self):
        """The shape as the dimensions before, those in which places may meet, and those after."""
        shape = self.shape
        return shape[: self.dim], shape[self.dim : self.dim + 1], shape[self.dim + 1 :]

    def fail(self, index, m: Meta):
        size = m.shape[self.dim]
        raise RuntimeError(
            f"{self.op}(): index {index} is out of bounds for dimension {self.dim} with size {size}; indices run from "
            "0 to "
            f"{size - 1}"
        )


class Places:
    """The places ``[..., i, j, ...]`` with the index tensors ``indices``, of one shape, at dimensions ``dims``.

    Their common shape stands at the first of these, or in front (``front``). ``wrap``: negative indices count
    from the end. ``shape`` is that of the result; it is None until the tensor is known.
    """

    __slots__ = ("indices", "dims", "front", "wrap", "op", "_offsets")

    def __init__(self, op, indices, dims, front=False, wrap=True):
        self.op, self.indices, self.dims, self.front, self.wrap = op, indices, dims, front, wrap
        self._offsets = None

    @property
    def _s(self):
        """The storage of the index that was written to last."""
        latest = None
        for index in self.indices:
            storage = index._s
            if storage is not None and (latest is None or storage.modified < latest.modified):
                latest = storage
        return latest

    def key(self):
        return (*[index._m for index in self.indices], self.dims, self.front, self.wrap)

    def _around(self, m: Meta):
        """The dimensions before and after the indices' common shape."""
        rest = [axis for axis in range(m.ndim) if axis not in self.dims]
        first = 0 if self.front else self.dims[0]
        return rest[:first], rest[first:]

    def parts_of(self, m: Meta):
        """As `Along.parts`."""
        before, after = self._around(m)
        return (
            tuple([m.shape[axis] for axis in before]), tuple(self.indices[0]._m.shape),
            tuple([m.shape[axis] for axis in after]),
        )  # fmt: skip

    def reach(self, m: Meta):
        """As `Along.reach`."""
        before, after = self._around(m)
        index, step, size, low = self._joined(m)
        common = index._m
        strides = (
            *[m.strides[axis] for axis in before], *(0,) * common.ndim, *[m.strides[axis] for axis in after],
        )  # fmt: skip
        index_strides = ((0,) * len(before)) + common.strides + ((0,) * len(after))
        return strides, index, index_strides, step, size, low

    def _joined(self, m: Meta):
        """(one index tensor, step, size, low) in place of the several."""
        if len(self.indices) == 1:
            size = m.shape[self.dims[0]]
            return self.indices[0], m.strides[self.dims[0]], size, (-size if self.wrap else 0)
        steps = tuple([m.strides[axis] for axis in self.dims])
        if self._offsets is None or self._offsets[0] != steps:
            self._offsets = steps, self._add_up(m, steps)
        return self._offsets[1], 1, _FAR, 0

    def _add_up(self, m, steps):
        total = empty_tensor(meta(dtypes.int64, self.indices[0]._m.shape, m.device))
        status = np.zeros(2, np.int64)
        for k, (index, axis, step) in enumerate(zip(self.indices, self.dims, steps)):
            slots = total._d, dense(plain(index))._d, status, m.shape[axis], step, int(k > 0)
            launch(kernels.add_offsets, {}, slots, total._m.numel, 1, m.device)
            if status[0]:
                self._raise(status[1], axis, m)
        return total

    def fail(self, index, m: Meta):
        self._raise(index, self.dims[0], m)

    def _raise(self, index, axis, m):
        size = m.shape[axis]
        if self.op == "index":
            which = f" {axis}" if size else ""
            raise IndexError(f"index {index} is out of bounds for dimension{which} with size {size}")
        raise IndexError(
            f"{self.op}(): index out of range in self: index {index} for dimension {axis} with size {size}; indices "
            "run "
            f"from {-size if self.wrap else 0} to {size - 1}"
        )


def _parts(at, m):
    return at.parts() if type(at) is Along else at.parts_of(m)


def _plan_take(at, m, key):
    strides, index, index_strides, step, size, low = at.reach(m)
    sizes = sum(_parts(at, m), ())
    plan = _Plan()
    plan.out = meta(m.dtype, sizes, m.device)
    plan.geometry, plan.units, work = _take_geometry(sizes, strides, index_strides, contiguous_strides(sizes))
    plan.step, plan.size, plan.low = step, size, low
    plan.kernel = compiled(kernels.take, {"T": kernels.WIDTHS[m.dtype.itemsize]}, m.device)
    plan.call = caller(8, plan.units, work, m.device)
    return _remember(key, plan)


def _remember(key, plan):
    if len(_PLANS) > _LIMIT:
        _PLANS.clear()
    _PLANS[key] = plan
    return plan


def read(input, at):
    """A new tensor of the elements of ``input`` at ``at``, unrecorded."""
    m = input._m
    key = (m, at.key())
    plan = _PLANS.get(key)
    if plan is None:
        plan = _plan_take(at, m, key)
    index = at.index if type(at) is Along else at._joined(m)[0]
    out = make(plan.out.empty(plan.out.numel, plan.out.np), plan.out)
    status = np.zeros(2, np.int64)
    plan.call(
        plan.kernel, input._d, index._d, out._d, plan.geometry, status, plan.step, plan.size, plan.low, 0, plan.units
    )
    if status[0]:
        at.fail(int(status[1]), m)
    return out


def put(target, src, at, mode):
    """Write ``src``, of the places' shape or one element, into ``target``'s memory at ``at``, unrecorded."""
    m = target._m
    if m.dtype.kind == "b" and mode in (ADD, MUL):  # of bools: or, and
        mode = MAX if mode == ADD else MIN
    key = (m, at.key(), src._m, mode)
    plan = _PLANS.get(key)
    if plan is None:
        plan = _plan_put(at, m, src._m, mode, key)
        if plan is None:  # the source has no even strides along the index: copy it
            if src._m.contiguous:
                at = Places(at.op, [dense(index) for index in at.indices], at.dims, at.front, at.wrap)
            return put(target, contiguous_copy(src), at, mode)
    index = at.index if type(at) is Along else at._joined(m)[0]
    status = np.zeros(2, np.int64)
    plan.call(
        plan.kernel, target._d, index._d, src._d, plan.geometry, status, plan.step, plan.size, plan.low, 0, plan.units
    )
    if status[0]:
        at.fail(int(status[1]), m)


def check_range(index, low, size, fail, device):
    """Call ``fail(value)`` if a number of the int64 tensor ``index`` is below ``low``, or ``size`` or more."""
    status = np.zeros(2, np.int64)
    launch(kernels.find_outside, {}, (dense(plain(index))._d, status, low, size), index._m.numel, 1, device)
    if status[0]:
        fail(int(status[1]))


def _check_places(target, at):
    """Refuse places outside ``target`` before anything is written."""
    m = target._m
    if type(at) is Places and len(at.indices) > 1:
        at._joined(m)  # which checks each of them
        return
    _, index, _, _, size, low = at.reach(m)
    check_range(index, low, size, lambda value: at.fail(value, m), m.device)


def _plan_put(at, m, source, mode, key):
    strides, index, index_strides, step, size, low = at.reach(m)
    lead, count, tail = _parts(at, m)
    ndim = len(lead) + len(count) + len(tail)
    source_strides = (0,) * ndim if source.ndim == 0 else source.strides
    found = _put_geometry(lead, count, tail, strides, index_strides, source_strides)
    if found is None:
        return None
    plan = _Plan()
    plan.geometry, plan.units, work = found
    plan.step, plan.size, plan.low = step, size, low
    T = kernels.WIDTHS[m.dtype.itemsize] if mode == SET else element(m.dtype)
    plan.kernel = compiled(kernels.put, {"T": T, "MODE": mode}, m.device)
    plan.call = caller(8, plan.units, work, m.device)
    return _remember(key, plan)


def places_shape(at, m):
    """The shape of what is at ``at`` in a tensor of meta ``m``."""
    return sum(_parts(at, m), ())


# --- the ops -----------------------------------------------------------------------------------------------------


def reading(name):
    """An op under ``name`` that reads at places."""

    @structured(install=(), name=name, cases="none")
    def at_places(input, *, at):
        return read(input, at)

    @at_places.backward
    def _(g, input_meta, at):
        return spread(g, input_meta, at)

    return at_places


@structured(install=(), cases="none")
def spread(g, *, shape_of, at):
    """Zeros with ``g`` added at the places."""
    out = zero(empty_tensor(meta(g._m.dtype, shape_of.shape, g._m.device)))
    put(out, g, at, ADD)
    return out


@spread.backward
def _(g, at):
    return _read_back(g, at)


_read_back = reading("read_back")


@structured(install=(), cases="none")
def cleared(g, *, at):
    """A copy with 0 at the places."""
    out = contiguous_copy(g)
    put(out, _zero_like(g), at, SET)
    return out


@cleared.backward
def _(g, at):
    return cleared(g, at)


def _zero_like(g):
    return zero(empty_tensor(meta(g._m.dtype, (), g._m.device)))


class Writing:
    """The op that writes, or adds, at places: out of place and in place, recorded under ``name``."""

    def __init__(self, name):
        @structured(install=(), name=name, cases="none")
        def write_at(input, src, *, at, mode):
            out = contiguous_copy(input)
            put(out, src, at, mode)
            return out

        @write_at.backward
        def _(g, src_meta, at, mode):
            outer = g if mode == ADD else cleared(g, at)
            if src_meta is None or not src_meta.dtype.differentiable:
                return outer, None
            if src_meta.ndim:
                return outer, _read_back(g, at)
            # One value for all places: where it is set, places that are named twice count once.
            return outer, (_read_back(g, at) if mode == ADD else g - outer).sum()

        self.name, self.entry = name, write_at

    def __call__(self, input, src, at, mode=SET):
        return self.entry(input, src, at, mode)

    def inplace(self, name, target, src, at, mode=SET):
        """Write into ``target`` itself and record it."""
        check_inplace(name, target, src)
        refuse_overlap(name, target, *([src] if src._m.ndim else []), *([at.index] if type(at) is Along else at.indices))
        track = recording((target, src)) and target._m.dtype.differentiable
        source = plain(src)
        if same_memory(source._s, target._s):
            source = contiguous_copy(source)
        if type(at) is Along:
            if same_memory(at.index._s, target._s):
                at = Along(at.op, contiguous_copy(plain(at.index)), at.dim, at.wrap)
        elif any(same_memory(index._s, target._s) for index in at.indices):
            at = Places(at.op, [contiguous_copy(plain(i)) for i in at.indices], at.dims, at.front, at.wrap)
        _check_places(target, at)
        put(target, source, at, mode)
        written(target, name)
        if track:
            rebase(target, record(self.entry.op, (target, src), target, {"at": at, "mode": mode}))
        return target


def rewritten(name, target, fn):
    """In place by way of a result: ``target`` becomes ``fn(target)``, whose gradient may need the old values."""
    check_inplace(name, target)
    source = clone(target) if is_grad_enabled() else target
    return copy_(target, fn(source))


def common_index(op, indices):
    """Index tensors broadcast to one shape."""
    shape = indices[0]._m.shape
    if all(index._m.shape == shape for index in indices):
        return indices
    try:
        shape = broadcast_shapes(op, *[index._m.shape for index in indices])
    except ValueError:
        listed = ", ".join(str(list(index._m.shape)) for index in indices)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {listed}"
        ) from None
    return [index.expand(shape) if index._m.shape != shape else index for index in indices]


__all__ = ["ADD", "MAX", "MIN", "MUL", "SET", "Along", "Places", "Writing", "cleared", "common_index", "int64_index",
           "places_shape", "put", "read", "reading", "rewritten", "spread"]  # fmt: skip
