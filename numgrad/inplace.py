"""Writing to tensors that exist: what in-place forms and ``out=`` check, and how a change shows in the graph."""

import warnings

from . import dtypes
from .autograd import RETAIN, Node, is_grad_enabled, next_seq, switch
from .layout import may_overlap, overlaps_itself
from .op import ENTRIES, dense
from .storage import meta
from .tensor import Tensor, address, empty_tensor, storage_of


def check_inplace(name, tensor):
    """Refuse to write to what must not be written to."""
    n = tensor._n
    if n is not None and n.leaf and (not switch.anywhere or is_grad_enabled()):
        label = f" '{n.label}'" if n.label else ""
        raise RuntimeError(
            f"{name}: a leaf Variable that requires grad is being used in an in-place operation: {type(tensor).__name__}"
            f"{label} of shape {list(tensor._m.shape)}. Write it as\n    with ng.no_grad():\n        p.{name}(...)"
        )
    base = tensor._base
    if base is not None and base._n is not None and base._n.leaf and (not switch.anywhere or is_grad_enabled()):
        raise RuntimeError(
            f"{name}: a view of a leaf Variable that requires grad is being used in an in-place operation. Write it "
            "under numgrad.no_grad(), or clone() the leaf first."
        )
    if any(step == 0 and size > 1 for size, step in zip(tensor._m.shape, tensor._m.strides)):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )


def written(tensor, writer):
    """Count a write to ``tensor``'s storage."""
    storage = storage_of(tensor)
    storage.version += 1
    storage.modified = switch.last_write = next_seq()
    storage.writer = tensor.__dict__.get("_writer", writer)


def rebase(tensor, node):
    """After a recorded in-place op: ``node`` is the new history of ``tensor``; its base and the other views of that
    base follow."""
    base, before = tensor._base, tensor._n
    views = storage_of(tensor).views
    if base is None:
        tensor._n = node
        _regenerate(tensor, views)
    else:
        if base._n is not None or node is not None:
            former, base._n = base._n, _copy_slices(base, tensor, node)
            if base.retains_grad:
                _retain_at(former, base._n)
        _regenerate(base, views)
    if "_retains_grad" in tensor.__dict__:
        _retain_at(before, tensor._n)


def _retain_at(former, node):
    """A tensor that keeps its gradient keeps that of what it is now."""
    if former is not None and former.hooks is not None and node is not None:
        keep = former.hooks.tensor.pop(RETAIN, None)
        if keep is not None:
            node.retain(keep)


def _copy_slices(base, tensor, node):
    """The history of a base one of whose views was written: old values outside the view, new ones inside."""
    copy = _CopySlices()
    copy.seq = next_seq()
    copy.next = (base._n, node)
    copy.saved = (base._m, _offset(base, tensor), tensor._m)
    copy.storages, copy.hooks = (), None
    return copy


def _offset(base, tensor):
    if tensor._m.dtype is not base._m.dtype and not base._m.contiguous:
        raise RuntimeError(
            f"a view as {tensor._m.dtype!r} of a {base._m.dtype!r} tensor that is not contiguous cannot be written to where "
            "gradients are recorded; call .contiguous() first"
        )
    return (address(tensor._d) - address(base._d)) // tensor._m.dtype.itemsize if tensor._m.numel else 0


def _as_pairs(gradient, m):
    """A contiguous gradient as a vector of the dtype of ``m``, which is that of its parts or one that it has parts of."""
    if gradient._m.dtype is m.dtype:
        return gradient
    if m.dtype.is_complex:
        return ENTRIES["view_as_complex"](ENTRIES["reshape"](gradient, (-1, 2)))
    return ENTRIES["reshape"](ENTRIES["view_as_real"](gradient), (-1,))


def _as_base(gradient, base):
    """The reverse of `_as_pairs`."""
    if gradient._m.dtype is base.dtype:
        return gradient
    return ENTRIES["reshape"](_as_pairs(gradient, base), tuple(base.shape))


def _regenerate(base, views):
    for reference in views:
        other = reference()
        if other is not None and other._base is base:
            if base._n is None:
                other._n = None
                continue
            node = _ViewOfBase()
            node.seq = next_seq()
            node.next = (base._n,)
            node.saved = (base._m, _offset(base, other), other._m)
            node.storages, node.hooks = (), None
            former, other._n = other._n, node
            if "_retains_grad" in other.__dict__:
                _retain_at(former, node)


class _CopySlices(Node):
    __slots__ = ()
    name = "CopySlices"

    def backward(self, gradient):
        base, offset, m = self.saved
        gradient = _as_pairs(dense(gradient), m)
        entry = ENTRIES["as_strided"]
        strides = _steps_in(base, m)
        place = _place_in(base, offset)
        first = gradient.storage_offset() + place  # the gradient itself may be a part of a larger one
        inside = ENTRIES["contiguous_copy"](entry(gradient, tuple(m.shape), strides, first))
        outside = None
        if self.next[0] is not None:
            outside = ENTRIES["strided_scatter"](
                gradient, ENTRIES["zeros_like"](inside), tuple(m.shape), strides, place
            )
            outside = _as_base(outside, base)
        return outside, inside

    backward_recorded = backward


class _ViewOfBase(Node):
    __slots__ = ()
    frees = False
    name = "AsStridedBackward0"

    def backward(self, gradient):
        base, offset, m = self.saved
        zeros = _as_pairs(empty_tensor(meta(base.dtype, base.shape, base.device)).zero_(), m)
        shape, strides, place = tuple(m.shape), _steps_in(base, m), _place_in(base, offset)
        repeated = [k for k, (size, step) in enumerate(zip(shape, strides)) if step == 0 and size > 1]
        if repeated:  # of an expanded view
            gradient = ENTRIES["sum"](gradient, tuple(repeated), True)
            shape = tuple(gradient._m.shape)
        if may_overlap(shape, strides):
            found = ENTRIES["as_strided_gradient"](gradient, zeros._m, shape, strides, place)
        else:
            found = ENTRIES["strided_scatter"](zeros, gradient, shape, strides, place)
        return (_as_base(found, base),)

    backward_recorded = backward


def _steps_in(base, m):
    """Strides of view meta ``m`` in a contiguous tensor of the shape of meta ``base``."""
    if base.contiguous:
        return m.strides
    dense_base = meta(base.dtype, base.shape, base.device)
    steps = []
    for size, stride in zip(m.shape, m.strides):
        step = 0
        for b_size, b_stride, d_stride in sorted(zip(base.shape, base.strides, dense_base.strides), key=lambda t: -t[1]):
            if b_stride and b_size > 1 and stride >= b_stride:
                step += stride // b_stride * d_stride
                stride %= b_stride
        steps.append(step if size > 1 else 0)
    return tuple(steps)


def _place_in(base, offset):
    """A storage offset within base ``base`` as one within a contiguous tensor of its shape."""
    if base.contiguous:
        return offset
    dense_base = meta(base.dtype, base.shape, base.device)
    place = 0
    for b_size, b_stride, d_stride in sorted(zip(base.shape, base.strides, dense_base.strides), key=lambda t: -t[1]):
        if b_stride and b_size > 1:
            place += offset // b_stride * d_stride
            offset %= b_stride
    return place


def write_out(name, result, out, *sources):
    """Copy a result into ``out=``: resized if its shape differs, refused if its dtype cannot hold the result, if
    several of its elements are in one place, or if it shares memory with one of the ``sources``."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if (out._n is not None or result._n is not None) and is_grad_enabled():
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    if overlaps_itself(out._m.shape, out._m.strides):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )
    if any(source is out or (out._s is not None and source._s is out._s) for source in sources):
        raise RuntimeError(
            f"{name}: unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )
    if not dtypes.can_cast(result._m.dtype, out._m.dtype):
        raise RuntimeError(f"{name}: result type {result._m.dtype!r} can't be cast to the desired output type {out._m.dtype!r}")
    if out._m.shape != result._m.shape:
        warn_of_resize(out, result._m.shape)
        out.resize_(tuple(result._m.shape))
    ENTRIES["copy_"](out, result)
    return out


def warn_of_resize(out, shape):
    """PyTorch's warning where ``out=`` has elements and another shape than the result's."""
    if out._m.numel:
        warnings.warn(
            f"An output with one or more elements was resized since it had shape {list(out._m.shape)}, which does not match "
            f"the required output shape {list(shape)}.", stacklevel=4,
        )  # fmt: skip


ENTRIES["write_out"] = write_out
