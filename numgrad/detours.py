"""Detours: functions of the library that get something to do before or after the call, at no cost otherwise.

A detour exchanges the code of the function object itself, as `op.deferred` does, so that every module that imported it
takes part. It stays until it is undone; calls that run meanwhile, in other threads too, end with the code they began with.
The one that stands here is that of the 16-bit dtypes: the first tensor of such a dtype sends the ops that have kernels
of their own (products, convolutions, rows, gathers) through float32; pointwise kernels, reductions, copies and views
take 16-bit elements as they are.
"""

import types
from collections.abc import Callable

from . import dtypes
from .autograd import Node, is_grad_enabled, set_grad_enabled
from .deferral import BUILDING
from .dtypes import bfloat16, complex32, float16
from .names import behind
from .op import ENTRIES, FOLLOWERS, OPS, StructuredNode, cast, plain
from .rowwise import Rowwise
from .structured import Structured
from .tensor import Tensor


def _diverted(*args, _around, _original, **kwargs):
    return _around(_original, args, kwargs)


def divert(entry, around: Callable) -> types.FunctionType:
    """Send calls of ``entry`` to ``around(original, args, kwargs)`` from now on; ``original``, which is returned, is
    a function that does what ``entry`` did."""
    with BUILDING:
        original = types.FunctionType(
            entry.__code__, entry.__globals__, entry.__name__, entry.__defaults__, entry.__closure__
        )
        original.__kwdefaults__ = entry.__kwdefaults__
        original.__annotations__, original.__doc__ = entry.__annotations__, entry.__doc__
        original.__qualname__, original.__module__ = entry.__qualname__, entry.__module__
        original.__dict__.update(entry.__dict__)
        if entry.__globals__.get("_entry") is entry:  # compiled on its first call: then the original is
            entry.__globals__["_entry"] = original
        entry.__wrapped__ = original  # where `inspect` finds signature and source
        # In this order a call from another thread finds all it needs, before and after the exchange.
        entry.__kwdefaults__ = {**(entry.__kwdefaults__ or {}), "_around": around, "_original": original}
        entry.__code__ = _diverted.__code__.replace(co_freevars=entry.__code__.co_freevars)
    return original


def restore(entry, original: types.FunctionType) -> bool:
    """Undo the `divert` that returned ``original``: False, and nothing done, if another detour was made since."""
    with BUILDING:
        if (entry.__kwdefaults__ or {}).get("_original") is not original:
            return False
        # In this order a call from another thread finds all it needs; the defaults for keywords hold those of both till the end.
        entry.__defaults__ = original.__defaults__
        entry.__kwdefaults__ = {**(original.__kwdefaults__ or {}), **entry.__kwdefaults__}
        if entry.__globals__.get("_entry") is original:
            entry.__globals__["_entry"] = entry
        entry.__code__, entry.__kwdefaults__ = original.__code__, original.__kwdefaults__
        del entry.__wrapped__
        entry.__dict__.update(original.__dict__)
    return True


def mapped(value, change):
    """``value`` with ``change`` applied to its Tensors, also those in lists and tuples."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)([mapped(item, change) for item in value])
    return value


# --- 16-bit dtypes ---------------------------------------------------------------------------------------------------

_NARROW = {float16, bfloat16, complex32}
# Copies, which take any dtype; and ops whose operands must be of one dtype, which their own checks say.
_ANY_DTYPE = {"contiguous_copy", "clone", "to_dtype", "to_other_device", "_copy_into", "view_as_real", "view_as_complex"}
_ONE_DTYPE = {"matrix_product", "hidden_product", "linear", "convolution"}
_PROMOTED = {"lstm_step", "gru_step"}  # their results have the common dtype, that of others the 16-bit one
# Functions that write to their first argument with kernels of their own; of some the operands must be of one dtype.
_IN_PLACE = (
    "index_fill_", "masked_fill_", "bernoulli_", "fill_diagonal_", "cumsum_", "cumprod_", "normal_",
    "log_normal_", "exponential_", "geometric_", "cauchy_", "renorm_",
)  # fmt: skip
_ONE_DTYPE_IN_PLACE = (
    "index_add_", "index_copy_", "put_", "masked_scatter_", "scatter_", "scatter_add_", "scatter_reduce_",
    "index_reduce_", "index_put_",
)  # fmt: skip
# Composites that read memory themselves, or whose intermediate results must not be rounded.
COMPOSITE = (
    "sort", "argsort", "topk", "kthvalue", "median", "nanmedian", "mode", "unique", "unique_consecutive",
    "histc", "histogram", "searchsorted", "bucketize", "argmax", "argmin", "max", "min", "aminmax", "cummax", "cummin",
    "isin", "scaled_dot_product_attention", "multinomial", "randn_like", "randint_like",
    "nonzero", "masked_select", "embedding", "gather", "index_select", "take", "take_along_dim",
    "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "interpolate", "grid_sample", "ctc_loss", "batch_norm", "quantile", "nanquantile", "cdist", "pdist",
)  # fmt: skip


def _narrow_dtype(values, found=None):
    """The 16-bit dtype among Tensors, also those in lists and tuples: of both, float32; None without any."""
    for value in values:
        if isinstance(value, Tensor):
            d = value._m.dtype
            if d is float16 or d is bfloat16 or d is complex32:
                found = d if found is None else dtypes.promote(found, d)
        elif value is not None and type(value) in (list, tuple):
            found = _narrow_dtype(value, found)
    return found


def floating_dtypes(values) -> set:
    """The floating-point dtypes of Tensors, also those in lists and tuples."""
    found = set()
    for value in values:
        if isinstance(value, Tensor) and value._m.dtype.is_floating_point:
            found.add(value._m.dtype)
        elif type(value) in (list, tuple):
            found |= floating_dtypes(value)
    return found


def _widened(tensor):
    d = tensor._m.dtype
    return cast(tensor, _wide(d)) if d in _NARROW else tensor


def _wide(d):
    """What a 16-bit dtype is computed in."""
    return dtypes.complex64 if d is complex32 else dtypes.float32


def _through_float32(original, args, kwargs):
    d = _narrow_dtype(args)
    if kwargs:
        d = _narrow_dtype(kwargs.values(), d)
    if d is None:
        return original(*args, **kwargs)
    out = kwargs.pop("out", None)
    widened = []

    def widen(tensor):
        wide = _widened(tensor)
        if wide is not tensor:
            widened.append((tensor, wide, wide._n))
        return wide

    result = original(*[mapped(a, widen) for a in args], **{k: mapped(v, widen) for k, v in kwargs.items()})
    saved = {}
    for tensor, wide, node in widened:
        if wide._s is not None and wide._s.version:  # written to, so the tensor that it stands for is too
            with set_grad_enabled(is_grad_enabled() and wide._n is not node):
                tensor.copy_(wide)
        else:
            saved[id(wide)] = tensor, node
        if result is wide:
            return tensor
    if type(result) is Tensor and result._n is not None:
        _save_narrow(result._n, saved)
    if kwargs.get("dtype") is None and not (args and result is args[0]):
        result = _narrowed(result, d)
    return result if out is None else _written(original.__name__, result, out)


class _SavedNarrow:
    """A 16-bit tensor that a node has saved in place of its float32 copy, and the copy's own node."""

    __slots__ = ("tensor", "node")

    def __init__(self, tensor, node):
        self.tensor, self.node = tensor, node

    @property
    def _s(self):  # where the recorder sees writes
        return self.tensor._s

    def restore(self):
        wide = _widened(plain(self.tensor))
        wide._n = self.node
        return wide


class _NarrowNode(Node):
    """Mixed into the node of an op: it keeps 16-bit inputs as they are and widens them again when its gradient runs."""

    __slots__ = ()

    def backward(self, gradient):
        return self._widened(super().backward, gradient)

    def backward_recorded(self, gradient):
        return self._widened(super().backward_recorded, gradient)

    def restored(self):
        return tuple([item.restore() if type(item) is _SavedNarrow else item for item in super().restored()])

    def _widened(self, run, gradient):
        saved = self.saved
        self.saved = self.restored()
        try:
            return run(gradient)
        finally:
            self.saved = saved


_narrow_nodes: dict = {}  # class of a node -> the same with `_NarrowNode`


def _save_narrow(node, tensors):
    """Let a node keep, of the inputs that it saved, the tensors whose float32 copies they are: id -> (tensor, node)."""
    kind = type(node)
    if not isinstance(node, StructuredNode) or not any(id(item) in tensors for item in node.saved):
        return
    node.saved = tuple([_SavedNarrow(*tensors[id(item)]) if id(item) in tensors else item for item in node.saved])
    narrow = _narrow_nodes.get(kind)
    if narrow is None:
        narrow = _narrow_nodes[kind] = type(kind.__name__, (_NarrowNode, kind), {"__slots__": ()})
    node.__class__ = narrow


def _of_one_dtype(original, args, kwargs):
    if len(floating_dtypes((*args, *kwargs.values()))) > 1:
        return original(*args, **kwargs)  # which says what it expected
    return _through_float32(original, args, kwargs)


def _promoted(original, args, kwargs):
    if floating_dtypes(args) <= _NARROW:
        return _through_float32(original, args, kwargs)
    return original(*[mapped(value, _widened) for value in args], **kwargs)


def _of_one_dtype_in_place(original, args, kwargs):
    found = floating_dtypes((*args, *kwargs.values()))
    if len(found) > 1:
        raise RuntimeError(
            f"{original.__name__}(): self ({args[0].dtype!r}) and source must have the same scalar type, got "
            f"{', '.join(sorted(map(repr, found)))}; convert one with .to(...)"
        )
    return _through_float32(original, args, kwargs)


def _narrowed(result, d):
    if isinstance(result, Tensor):
        if d is complex32 and result._m.dtype is dtypes.complex64:
            return cast(result, d)
        return cast(result, d.to_real()) if result._m.dtype is dtypes.float32 and d in _NARROW else result
    if isinstance(result, tuple) and any(isinstance(item, Tensor) for item in result):
        items = [_narrowed(item, d) for item in result]
        return type(result)(*items) if hasattr(result, "_fields") else type(result)(items)
    if type(result) is list:
        return [_narrowed(item, d) for item in result]
    return result


def _written(name, result, out):
    if isinstance(out, Tensor):
        return ENTRIES["write_out"](name, result, out)
    for item, target in zip(result, out):
        ENTRIES["write_out"](name, item, target)
    return out


def _divert_op(op):
    if isinstance(op, Rowwise) or (isinstance(op, Structured) and op.kind != "view" and op.name not in _ANY_DTYPE):
        one, common = op.name in _ONE_DTYPE, op.name in _PROMOTED
        divert(op.entry, _of_one_dtype if one else _promoted if common else _through_float32)


def _prepare() -> None:
    """Send ops with kernels of their own through float32 where operands are 16-bit; done once, for good."""
    for op in list(OPS.values()):
        _divert_op(op)
    FOLLOWERS.append(_divert_op)  # ops that are defined from now on
    done = set()
    for names, around in (
        (_IN_PLACE + COMPOSITE, _through_float32), (_ONE_DTYPE_IN_PLACE, _of_one_dtype_in_place)
    ):  # fmt: skip
        for name in names:
            entry = ENTRIES.get(name) or behind(getattr(Tensor, name, None))
            if isinstance(entry, types.FunctionType) and not hasattr(entry, "op") and id(entry) not in done:
                done.add(id(entry))
                divert(entry, around)


dtypes.float16.unprepared.append(_prepare)
complex32.unprepared.extend([lambda: dtypes.prepare(float16), lambda: dtypes.prepare(dtypes.complex64)])
