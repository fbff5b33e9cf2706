"""Writing to tensors that exist: what in-place forms and ``out=`` check, and how a change shows in the graph."""

import sys
import warnings
from typing import Any

from . import dtypes
from .autograd import (
    RETAIN,
    EngineName,
    Node,
    is_grad_enabled,
    is_inference_mode_enabled,
    local,
    next_seq,
    no_grad,
    switch,
)
from .layout import is_dense, may_overlap, overlaps_itself
from .op import ENTRIES, dense
from .storage import meta, same_memory
from .tensor import Tensor, address, empty_tensor, storage_of


def check_inplace(name, tensor, *sources):
    """Refuse to write to what must not be written to; ``sources`` are the operands whose values are written."""
    refuse_inference(name, tensor)
    if switch.anywhere and local.before_write is not None:
        local.before_write(tensor)
    m = tensor._m
    if (  # no name for the base here, which would hold it
        (tensor._n is not None or tensor._base is not None)
        and (not switch.anywhere or is_grad_enabled())
        and m.dtype.differentiable
        and any(isinstance(value, Tensor) and value._n is not None for value in (tensor, tensor._base, *sources))
    ):
        check_recorded(name, tensor)
    if overlaps_itself(m.shape, m.strides) and name not in _WHATEVER_WAS_THERE:
        raise RuntimeError(_ONE_PLACE.format(name))


def refuse_overlap(name, target, *sources):
    """Refuse to write to a tensor while it is read: where ``target`` and one of ``sources`` surely have elements in common,
    as both lie in one memory without gaps and reach into each other."""
    for source in sources:
        if source is not target and not same_memory(source._s, target._s):
            continue
        m, other = target._m, source._m
        if not m.numel or not other.numel or not is_dense(m.shape, m.strides) or not is_dense(other.shape, other.strides):
            continue
        start, begin = address(target._d), address(source._d)
        if start < begin + other.numel * other.dtype.itemsize and begin < start + m.numel * m.dtype.itemsize:
            raise RuntimeError(
                f"{name}: unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
                "single memory location. Please clone() the tensor before performing the operation."
            )


def refuse_inference(name, tensor):
    """Refuse to write to an inference tensor outside of `inference_mode`."""
    storage = tensor._s
    if storage is not None and storage.inference and not is_inference_mode_enabled():
        raise RuntimeError(
            f"{name}: Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a "
            "normal tensor before doing inplace update."
        )


def check_recorded(name, tensor):
    """Refuse to give ``tensor`` a new history where that cannot be right."""
    if tensor._creation is not None and not _freed_of_base(tensor):
        raise RuntimeError(f"{name}: {refusal(tensor)}")
    n, base = tensor._n, tensor._base
    if base is not None and (n is not None if base._n is None else base._n.leaf):
        raise RuntimeError(
            f"{name}: a view of a leaf Variable that requires grad is being used in an in-place operation. Write it "
            "under numgrad.no_grad(), or clone() the leaf first."
        )
    if n is not None and n.leaf:
        label = f" '{n.label}'" if n.label else ""
        raise RuntimeError(
            f"{name}: a leaf Variable that requires grad is being used in an in-place operation: {type(tensor).__name__}"
            f"{label} of shape {list(tensor._m.shape)}. Write it as\n    with ng.no_grad():\n        p.{name}(...)"
        )
    if name not in _WHATEVER_WAS_THERE and may_overlap(tensor._m.shape, tensor._m.strides):
        raise RuntimeError(_ONE_PLACE.format(name))


def _freed_of_base(tensor) -> bool:
    """Whether ``tensor``, a view made where nothing is recorded, shows what nobody else can see, as the result of a function
    that ends in a view does: then it is a tensor of its own from now on."""
    base = tensor._base
    if tensor._creation[0] != "no_grad" or base._n is not None or sys.getrefcount(base) > _HELD_BY_ITS_VIEW:
        return False
    if any(view is not None and view is not tensor for view in (reference() for reference in tensor._s.views)):
        return False
    del tensor._base, tensor._creation
    return True


_HELD_BY_ITS_VIEW = 3  # references to a base that only one view holds: the view's, a variable's, an argument's

# These write the same where an element is shown, and written to, twice.
_WHATEVER_WAS_THERE = ("fill_", "zero_", "threshold_")

_ONE_PLACE = (
    "{}: unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please "
    "clone() the tensor before performing the operation."
)


def writes_freely(tensor, follows):
    """Where some mode is on: whether an in-place op may write without a look at the graph, as there is nothing to record
    (``follows``: were it not for the mode there would be) and nothing to refuse."""
    if (follows and is_grad_enabled()) or local.before_write is not None:
        return False
    storage = tensor._s
    return storage is None or not storage.inference or is_inference_mode_enabled()


# Why a view must not be written to where gradients are recorded (`Tensor._creation`), and what to do instead
_REASONS = {
    "multiple": "This view is the output of a function that returns multiple views. Such functions do not allow the output "
    "views to be modified inplace. You should replace the inplace operation by an out-of-place one.",
    "custom": "This view was created inside a custom Function (or because an input was returned as-is) and the autograd logic "
    "to handle view+inplace would override the custom backward associated with the custom Function, leading to incorrect "
    "gradients. This behavior is forbidden. You can fix this by cloning the output of the custom Function.",
    "no_grad": "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving "
    "both the view and the inplace either both inside the {0} block (if you don't want the inplace to be tracked) or both "
    "outside (if you want the inplace to be tracked).",
}


def refusal(tensor, indirect=False):
    """Why the view ``tensor`` must not be written to or, ``indirect``, be used since its base was."""
    kind, place = tensor._creation
    done = "its base or another view of its base has been" if indirect else "is being"
    n = tensor._n
    if kind in ("no_grad", "inference_mode"):
        lead = f"Output {place} of {n.name} is a view of a view which was created" if n is not None else "A view was created"
        mode = "inference mode" if kind == "inference_mode" else "no_grad mode"
        how = "in normal mode" if kind == "inference_mode" else "with grad mode enabled"
        return f"{lead} in {mode} and {done} modified inplace {how}. " + _REASONS["no_grad"].format(kind)
    if n is None:
        return f"A view {done} modified inplace with grad mode enabled. " + _REASONS[kind]
    return f"Output {place} of {n.name} is a view and {done} modified inplace. " + _REASONS[kind]


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
            if other._creation is not None and other._creation[0] != "multiple":
                if not isinstance(other, RefusedView):
                    other._n = _Refused(refusal(other, True))
                    if type(other) is Tensor:
                        other.__class__ = RefusedView
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
    name = EngineName("CopySlices")

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


class _Refused(Node):
    """The history of a view that cannot follow what was written to its base."""

    __slots__ = ()
    name = "Invalid"

    def __init__(self, why):
        self.seq = next_seq()
        self.next = self.saved = self.storages = ()
        self.hooks = None
        self.refusal = why

    def backward(self, gradient):
        raise RuntimeError(self.refusal)

    backward_recorded = backward


_history: Any = vars(Tensor)["_n"]


class RefusedView(Tensor):
    """What such a view becomes: recording something that is done to it reads its history, which is the error."""

    __slots__ = ()
    __torch_function__ = None  # type: ignore[assignment]  # results are plain tensors

    @property
    def _n(self):
        n = _history.__get__(self)
        if n is not None and n.refusal is not None and is_grad_enabled():
            raise RuntimeError(n.refusal)
        return n

    @_n.setter
    def _n(self, node):
        _history.__set__(self, node)

    @property
    def requires_grad(self):
        return _history.__get__(self) is not None

    @requires_grad.setter
    def requires_grad(self, wanted):
        self.requires_grad_(wanted)

    def __repr__(self, *, tensor_contents=None):
        with no_grad():
            return super().__repr__(tensor_contents=tensor_contents)


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
        if local.level is not None:
            raise RuntimeError(f"Trying to use forward AD with {name} that does not support it because it is an out= function")
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    if overlaps_itself(out._m.shape, out._m.strides):
        raise RuntimeError(_ONE_PLACE.format(name))
    refuse_overlap(name, out, *sources)
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
