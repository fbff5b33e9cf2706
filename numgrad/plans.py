"""How kernels are called: plans for a combination of metas, over threads where that pays."""

import numpy as np

from .layout import (
    broadcast_strides,
    collapse,
    contiguous_strides,
    inner_to_outer,
    is_dense,
    overlaps_itself,
    same_places,
)  # fmt: skip


class Plan:
    """How an op runs for one combination of metas: kernel, caller, result, range.

    ``defaults``: the attributes have their default values, which are constants of the kernel; ``guarded``: the
    divisors must be looked at before the kernel runs.
    """

    __slots__ = ("call", "kernel", "out", "end", "geometry", "backward", "metas", "defaults", "guarded")

    def is_complex(self):
        """Whether an operand or the result is complex."""
        return any(not isinstance(m, str) and m.dtype.is_complex for m in (*self.metas, self.out))


def _lengthened(sizes, steps):
    """The sizes and strides of an iteration space, its dimensions exchanged if the inner loop would be too short and
    the result, the last operand, has no two elements in one place, whose order would matter."""
    last = len(sizes) - 1
    if sizes[last] >= _SHORT or max(sizes) < 2 * sizes[last] or overlaps_itself(sizes, steps[-1]):
        return sizes, steps
    best = min(range(last + 1), key=lambda axis: (sizes[axis] < _SHORT, max(row[axis] for row in steps), -sizes[axis]))
    order = [axis for axis in range(last + 1) if axis != best] + [best]
    return tuple(sizes[axis] for axis in order), [tuple(row[axis] for axis in order) for row in steps]


_SHORT = 16  # elements below which the turns of an inner loop cost more than what strides do


def build_plan(op, name, fn, inputs, outputs, compute, shape, device, numbers=(), constants=None, inplace=False,
               order=None):  # fmt: skip
    """The plan that runs scalar function ``fn`` over ``shape``.

    ``inputs``: (name, meta or letter of a number), ``outputs``: (name, meta) or None.
    """
    wanted = [output for output in outputs if output is not None]
    numel = 1
    for size in shape:
        numel *= size
    layout = wanted[0][1].strides if wanted and wanted[0][1].shape == shape else contiguous_strides(shape)

    def alike(m):
        return m.shape == shape and (numel == 0 or same_places(shape, m.strides, layout))

    # One flat loop over memory where all lie in it alike, without gaps.
    strided = numel > 0 and not is_dense(shape, layout)
    described = []
    for arg, m in inputs:
        if isinstance(m, str):
            described.append((arg, m, None))
        elif alike(m):
            described.append((arg, "v", m.np.type))
        elif m.numel == 1 and not (inplace and arg == inputs[0][0]):
            described.append((arg, "p", m.np.type))
        else:
            strided = True
            break
    if not all(alike(m) for _, m in wanted):
        strided = True
    plan = Plan()
    plan.backward = {}
    plan.defaults = plan.guarded = False
    out_types = [None if o is None else (o[0], o[1].np.type) for o in outputs]
    aliases = ()
    if strided:
        described = [(arg, m, None) if isinstance(m, str) else (arg, "s", m.np.type) for arg, m in inputs]
        arrays = [broadcast_strides(m.shape, m.strides, shape) for _, m in inputs if not isinstance(m, str)]
        arrays += [broadcast_strides(m.shape, m.strides, shape) for _, m in wanted]
        axes = inner_to_outer(shape, arrays[-1])
        sizes, steps = collapse(
            tuple(shape[axis] for axis in axes), [tuple(strides[axis] for axis in axes) for strides in arrays]
        )
        if device.backend.inner_loops:
            sizes, steps = _lengthened(sizes, steps)
        plan.geometry = np.array([len(sizes), *sizes, *[step for row in steps for step in row]], np.int64)
        plan.end = 0 if numel == 0 else numel // sizes[-1]
        work = sizes[-1]
    else:
        if inplace:
            aliases = ((0, 0),)
        plan.geometry = None
        plan.end = numel
        work = 1
    T = compute.compute
    key = (name, tuple(described), tuple(out_types), T, strided, aliases, tuple(numbers),
           tuple((constants or {}).items()), device.type)  # fmt: skip
    kernel = op.kernels.get(key)
    if kernel is None:
        kernel = op.kernels[key] = device.backend.pointwise(
            name, fn, described, out_types, T, strided, aliases, list(numbers), constants, order
        )
    plan.kernel = kernel
    slots = len(inputs) + len(wanted) - len(aliases) + len(numbers) + strided
    plan.call = caller(slots, plan.end, work, device)
    plan.out = wanted[0][1] if wanted else None
    plan.metas = ()
    return plan


def caller(slots, end, work, device):
    """The function that calls a kernel with ``slots`` slots over a range of ``end`` units of ``work`` elements:
    serial, over threads where that pays, or a launch on a CUDA device."""
    return device.backend.caller(slots, end, work)


def call_table(kernel, table, own, shared, device, split=True):
    """Run a pointwise kernel on every row of ``table``, in one call: ``own`` slots and the number of elements each;
    ``shared`` lists the slots after those.

    ``split``: the rows may share the threads, where that pays.
    """
    device.backend.call_table(kernel, table, own, shared, split)
