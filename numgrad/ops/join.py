"""Putting tensors together: cat, stack and their relatives, blocks, meshes and products."""

import itertools
from math import comb

from .. import config, dtypes
from ..autograd import Node, next_seq, switch
from ..errors import ShapeError
from ..inplace import write_out
from ..layout import Size, broadcast_shapes, geometry, integer, integers, normalize_axis
from ..op import ENTRIES, as_tensor_operand, cast_gradient, function, note_recorded, recording, same_device
from ..storage import check_memory, meta, strided_meta
from ..tensor import Tensor, make
from .copy import copy_plan
from .create import tensor as tensor_of, zeros
from .formats import meta_in
from .parts import narrow, select
from .view import reshape, unsqueeze

_JOINS: dict = {}  # (dim, metas) -> how to join tensors of these metas
config._on_change.append(_JOINS.clear)


class _CatNode(Node):
    """The node of `cat`: every input's gradient is its part of the result's."""

    __slots__ = ()
    frees = False
    saves = ("dim",)
    name = "CatBackward0"

    def backward(self, gradient):
        dim, metas = self.saved
        found, start = [], 0
        for parent, m in zip(self.next, metas):
            if m.ndim != gradient._m.ndim:  # an empty vector among tensors of more dimensions
                found.append(None if parent is None else zeros(0, dtype=m.dtype, device=m.device))
                continue
            found.append(None if parent is None else cast_gradient(narrow(gradient, dim, start, m.shape[dim]), m.dtype))
            start += m.shape[dim]
        return tuple(found)

    backward_recorded = backward


class _StackNode(Node):
    """The node of `stack`."""

    __slots__ = ()
    frees = False
    saves = ("dim",)
    name = "StackBackward0"

    def backward(self, gradient):
        dim, metas = self.saved
        return tuple([
            None if parent is None else cast_gradient(select(gradient, dim, k), m.dtype)
            for k, (parent, m) in enumerate(zip(self.next, metas))
        ])  # fmt: skip

    backward_recorded = backward


def tensor_list(op, tensors, name="tensors"):
    """A non-empty sequence of Tensors as a list."""
    if isinstance(tensors, Tensor):
        raise TypeError(f"{op}(): argument '{name}' (position 1) must be tuple of Tensors, not Tensor; write ({name},)")
    found = []
    for k, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type(tensor).__name__}")
        found.append(tensor)
    if not found:
        if op.startswith(("cat", "conc")):
            raise ShapeError(f"{op}(): expected a non-empty list of Tensors")
        raise RuntimeError(f"{op} expects a non-empty TensorList")
    return found


def _skipped(tensor):
    """Whether a tensor is the empty vector, which `cat` ignores whatever the others' shapes are."""
    return tensor._m.ndim == 1 and not tensor._m.numel


@function(install=("ng",))
def cat(tensors, dim=0, *, out=None) -> Tensor:
    """The tensors one after the other along ``dim``; their other sizes agree, the dtype is the common one."""
    tensors = tensor_list("cat", tensors)
    dim = dim if type(dim) is int else integer("cat", "dim", dim)
    key = (dim, *[tensor._m for tensor in tensors])
    plan = _JOINS.get(key)
    if plan is None:
        if any(tensor._m.batched for tensor in tensors):
            return ENTRIES["batched_join"](cat, tensors, dim, out)
        plan = _remember(key, _plan_cat(tensors, dim))
    result = _joined(plan, tensors, _CatNode)
    return result if out is None else write_out("cat", result, out, *tensors)


def _plan_cat(tensors, dim):
    """(meta of the result, dim, parts) of `cat`."""
    first = next((tensor for tensor in tensors if not _skipped(tensor)), tensors[0])._m
    if all(map(_skipped, tensors)):  # whatever dim is
        dim = 0
    if not first.ndim:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated; use stack")
    dim = normalize_axis("cat", dim, first.ndim)
    total, d, places = 0, tensors[0]._m.dtype, []
    for k, tensor in enumerate(tensors):
        m = tensor._m
        d = dtypes.promote(d, m.dtype)
        if _skipped(tensor) and first.ndim != 1:
            continue
        if not m.ndim:
            raise RuntimeError(f"zero-dimensional tensor (at position {k}) cannot be concatenated; use stack")
        if m.ndim != first.ndim:
            raise RuntimeError(
                f"cat: Tensors must have same number of dimensions: got {first.ndim} and {m.ndim}; sizes {list(first.shape)} and, for "
                f"tensor number {k} in the list, {list(m.shape)}"
            )
        if any(
            a != b for axis, (a, b) in enumerate(zip(m.shape, first.shape)) if axis != dim
        ):
            raise RuntimeError(
                f"cat: Sizes of tensors must match except in dimension {dim}. Expected {list(first.shape)} but got "
                f"{list(m.shape)} for tensor number {k} in the list."
            )
        places.append((k, total, m))
        total += m.shape[dim]
    shape = tuple(first.shape)
    formats = {m.last for *_, m in places}
    format = formats.pop() if len(formats) == 1 else None
    out = meta_in(d, (*shape[:dim], total, *shape[dim + 1 :]), same_device("cat", tensors), format)
    parts = [_part(out, k, start * out.strides[dim], m, out.strides) for k, start, m in places if m.numel]
    return out, dim, parts


def _part(out, k, offset, m, strides):
    """How tensor number ``k``, of meta ``m``, is copied to ``offset`` in the result."""
    target = strided_meta(out.dtype, tuple(m.shape), strides, out.device)
    return k, offset, offset + (target.numel if target.contiguous else target.span), copy_plan(m, target)


def _remember(key, plan):
    if len(_JOINS) > 1 << 12:
        _JOINS.clear()
    _JOINS[key] = plan
    return plan


def _joined(plan, tensors, node_class):
    """The result that a plan describes, with its history."""
    m, dim, parts = plan
    data = m.empty(m.numel, m.np)
    for k, start, stop, copy in parts:
        if copy.geometry is None:
            copy.call(copy.kernel, tensors[k]._d, data[start:stop], 0, copy.end)
        else:
            copy.call(copy.kernel, tensors[k]._d, data[start:stop], copy.geometry, 0, copy.end)
    result = make(data, m)
    if not m.dtype.differentiable or not recording(tensors):
        return result
    node = node_class()
    node.seq = next_seq()
    node.next = tuple([tensor._n for tensor in tensors])
    node.saved = dim, [tensor._m for tensor in tensors]
    node.storages, node.hooks = (), None
    if switch.anywhere:
        note_recorded(node, None)
    result._n = node
    return result


@function(install=("ng",))
def concat(tensors, dim=0, *, out=None) -> Tensor:
    """`cat` under another name."""
    return cat(tensors, dim, out=out)


@function(install=("ng",))
def concatenate(tensors, axis=None, *, dim=0, out=None) -> Tensor:
    """`cat` under NumPy's name."""
    return cat(tensors, dim if axis is None else axis, out=out)


@function(install=("ng",))
def stack(tensors, dim=0, *, out=None) -> Tensor:
    """The tensors, of one shape, along a new dimension ``dim``."""
    tensors = tensor_list("stack", tensors)
    dim = dim if type(dim) is int else integer("stack", "dim", dim)
    key = ("stack", dim, *[tensor._m for tensor in tensors])
    plan = _JOINS.get(key)
    if plan is None:
        if any(tensor._m.batched for tensor in tensors):
            return ENTRIES["batched_join"](stack, tensors, dim, out)
        plan = _remember(key, _plan_stack(tensors, dim))
    result = _joined(plan, tensors, _StackNode)
    return result if out is None else write_out("stack", result, out)


def _plan_stack(tensors, dim):
    """(meta of the result, dim, parts) of `stack`."""
    shape = tuple(tensors[0]._m.shape)
    d = tensors[0]._m.dtype
    for k, tensor in enumerate(tensors):
        d = dtypes.promote(d, tensor._m.dtype)
        if tensor._m.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(tensor._m.shape)} at entry {k}"
            )
    dim = normalize_axis("stack", dim, len(shape), extra=1)
    out = meta(d, (*shape[:dim], len(tensors), *shape[dim:]), same_device("stack", tensors))
    step, strides = out.strides[dim], out.strides[:dim] + out.strides[dim + 1 :]
    parts = [_part(out, k, k * step, tensor._m, strides) for k, tensor in enumerate(tensors) if tensor._m.numel]
    return out, dim, parts


# --- rows, columns, depth ------------------------------------------------------------------------------------------


def _each(op, fn, tensors):
    """``fn`` of one tensor, of the tensors of a sequence, or of several given one by one."""
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        return tuple([fn(as_tensor_operand(op, tensor, "tensors")) for tensor in tensors[0]])
    if len(tensors) == 1:
        return fn(tensors[0])
    return tuple([fn(as_tensor_operand(op, tensor, "tensors")) for tensor in tensors])


def _one(tensor):
    return tensor if tensor._m.ndim else reshape(tensor, (1,))


def _two(tensor):
    return tensor if tensor._m.ndim >= 2 else unsqueeze(_one(tensor), 0)


def _three(tensor):
    return tensor if tensor._m.ndim >= 3 else unsqueeze(_two(tensor), -1)


@function
def atleast_1d(*tensors):
    """The tensors, those of 0 dimensions as vectors of one element."""
    return _each("atleast_1d", _one, tensors)


@function
def atleast_2d(*tensors):
    """The tensors with at least two dimensions: vectors become rows."""
    return _each("atleast_2d", _two, tensors)


@function
def atleast_3d(*tensors):
    """The tensors with at least three dimensions: matrices get a last one of size 1."""
    return _each("atleast_3d", _three, tensors)


@function(install=("ng",))
def hstack(tensors, *, out=None) -> Tensor:
    """The tensors side by side: along dimension 1, vectors along their only one."""
    tensors = [_one(tensor) for tensor in tensor_list("hstack", tensors)]
    return cat(tensors, 0 if tensors[0]._m.ndim == 1 else 1, out=out)


@function(install=("ng",))
def vstack(tensors, *, out=None) -> Tensor:
    """The tensors one below the other: vectors as rows."""
    return cat([_two(tensor) for tensor in tensor_list("vstack", tensors)], 0, out=out)


@function(install=("ng",))
def row_stack(tensors, *, out=None) -> Tensor:
    """`vstack` under another name."""
    return vstack(tensors, out=out)


@function(install=("ng",))
def dstack(tensors, *, out=None) -> Tensor:
    """The tensors along their third dimension."""
    return cat([_three(tensor) for tensor in tensor_list("dstack", tensors)], 2, out=out)


@function(install=("ng",))
def column_stack(tensors, *, out=None) -> Tensor:
    """The tensors side by side, vectors as columns."""
    columns = []
    for tensor in tensor_list("column_stack", tensors):
        columns.append(tensor if tensor._m.ndim >= 2 else reshape(tensor, (tensor._m.numel, 1)))
    return cat(columns, 1, out=out)


@function(install=("ng",))
def block_diag(*tensors) -> Tensor:
    """The matrices along the diagonal of one matrix, zeros elsewhere; vectors count as rows."""
    blocks = []
    for k, tensor in enumerate(tensors):
        tensor = as_tensor_operand("block_diag", tensor, "tensors")
        if tensor._m.ndim > 2:
            raise RuntimeError(
                f"block_diag: Input tensors must have 2 or fewer dimensions. Input {k} has {tensor._m.ndim} dimensions"
            )
        blocks.append(_two(tensor))
    if not blocks:
        return zeros(1, 0)
    width = sum(block._m.shape[1] for block in blocks)
    d = blocks[0]._m.dtype
    for block in blocks:
        d = dtypes.promote(d, block._m.dtype)
    rows, start = [], 0
    for block in blocks:
        count, size = block._m.shape
        device = block._m.device
        before = zeros(count, start, dtype=d, device=device)
        after = zeros(count, width - start - size, dtype=d, device=device)
        rows.append(cat((before, block, after), 1))
        start += size
    return cat(rows, 0)


# --- meshes --------------------------------------------------------------------------------------------------------


def _unpacked(tensors):
    """Tensors given one by one or as one sequence, as a list."""
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        tensors = tensors[0]
    return list(tensors)


@function(install=("ng",))
def broadcast_tensors(*tensors):
    """The tensors as views of their common shape."""
    tensors = _unpacked(tensors)
    shape = broadcast_shapes("broadcast_tensors", *[tensor._m.shape for tensor in tensors])
    return tuple([tensor.expand(shape) for tensor in tensors])


@function(install=("ng",), name="broadcast_shapes")
def common_shape(*shapes):
    """The shape that tensors of these shapes (or sizes of vectors) broadcast to."""
    shapes = [integers("broadcast_shapes", "shapes", shape) for shape in shapes]
    if any(size < 0 for shape in shapes for size in shape):
        raise RuntimeError(f"broadcast_shapes: Trying to create tensor with negative dimension: {shapes}")
    return Size(broadcast_shapes("broadcast_shapes", *shapes))


@function(install=("ng",))
def meshgrid(*tensors, indexing=None):
    """The coordinates of a grid, one tensor an axis, each a view of the grid's shape; "xy" exchanges the first two
    axes, "ij" does not. It warns, once, where neither is said, and takes "ij"."""
    if indexing is None:
        config.warn_once(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument."
        )
        indexing = "ij"
    tensors = _unpacked(tensors)
    if not tensors:
        raise ValueError("meshgrid expects a non-empty TensorList")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {indexing}")
    for tensor in tensors:
        if tensor._m.ndim > 1:
            raise RuntimeError(
                f"meshgrid: Expected 0D or 1D tensor in the tensor list but got shape {list(tensor._m.shape)}"
            )
        if tensor._m.dtype is not tensors[0]._m.dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    swap = indexing == "xy" and len(tensors) > 1
    if swap:
        tensors[:2] = tensors[1::-1]
    shape = tuple([tensor._m.numel for tensor in tensors])
    found = []
    for axis, tensor in enumerate(tensors):
        sizes = [1] * len(shape)
        sizes[axis] = shape[axis]
        found.append(reshape(tensor, tuple(sizes)).expand(shape))
    if swap:
        found[:2] = found[1::-1]
    return tuple(found)


@function(install=("ng",))
def cartesian_prod(*tensors) -> Tensor:
    """All combinations of one element of every vector, one row each, in order."""
    tensors = _unpacked(tensors)
    for tensor in tensors:
        if tensor._m.ndim != 1:
            raise RuntimeError(f"cartesian_prod: Expect a 1D vector, but got shape {list(tensor._m.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(grid, (-1,)) if grid._m.numel else reshape(grid, (0,)) for grid in meshgrid(*tensors, indexing="ij")], 1)


@function
def combinations(input, r=2, with_replacement=False) -> Tensor:
    """All ways to choose ``r`` elements of a vector, one row each, in order."""
    if input._m.ndim != 1:
        raise RuntimeError(f"combinations: Expect a 1D vector, but got shape {list(input._m.shape)}")
    r = integer("combinations", "r", r)
    if r < 0:
        raise RuntimeError(f"combinations: Expect a non-negative number, but got {r}")
    if r == 0:
        return zeros(0, dtype=input._m.dtype, device=input._m.device)
    n = input._m.numel
    count = comb(n + r - 1, r) if with_replacement and n else comb(n, r)
    geometry("combinations", (count, r), (r, 1))
    check_memory(count * r * 8)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input._m.numel), r))
    index = tensor_of(rows, dtype=dtypes.int64) if rows else zeros(0, r, dtype=dtypes.int64)
    return input[index.to(input._m.device)]
