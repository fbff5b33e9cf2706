"""The dtypes that PyTorch computes little with: uint16, uint32 and uint64, which it stores, copies, compares and multiplies,
and the 8-bit floating-point formats, which it stores, copies and compares.

What it has no kernels for says so here too. The first tensor of such a dtype puts these refusals before the functions
concerned, so that others do not pay for them.
"""

import functools
import types

from . import dtypes
from .detours import COMPOSITE, divert
from .errors import not_implemented_for
from .op import ENTRIES, FOLLOWERS, OPS
from .rowwise import Rowwise
from .structured import Structured
from .tensor import Tensor

# Functions without a form for these dtypes, besides the pointwise ops and reductions that `result_dtypes` leaves out.
_REFUSED = (
    "argmax", "argmin", "max", "min", "amax", "amin", "aminmax", "topk", "kthvalue", "median", "nanmedian", "mode", "nonzero",
    "bincount", "histc", "isin", "cummax", "cummin", "clamp", "flip", "masked_fill", "masked_fill_", "gather",
    "scatter", "scatter_", "scatter_add", "scatter_add_", "triu", "tril", "floor_divide", "remainder", "matmul", "mm",
    "dot", "count_nonzero", "searchsorted", "bucketize", "take", "index_add", "index_add_", "index_fill", "index_fill_",
)  # fmt: skip


# Ops with kernels of their own that move elements, which need not know what they are.
_MOVING = {
    "_copy_into", "clone", "contiguous_copy", "to_dtype", "to_other_device", "index", "index_select", "index_put", "index_copy",
    "masked_select", "constant_pad_nd", "roll", "read_back", "cleared",
}  # fmt: skip


def _found(values, kind):
    """A dtype of the kind "i" or "f" that is one of these among Tensors, also those in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            d = value._m.dtype
            if d.barebones and d.kind == kind:
                return d
        elif type(value) in (list, tuple) and (found := _found(value, kind)):
            return found
    return None


def _refused(original, args, kwargs, name, kind):
    d = _found(args, kind) or _found(kwargs.values(), kind)
    if d is not None:
        raise not_implemented_for(name, d)
    return original(*args, **kwargs)


def _refuse(names, kind) -> None:
    for name in names:
        for entry in {ENTRIES.get(name), getattr(Tensor, name, None)}:
            if isinstance(entry, types.FunctionType) and not hasattr(entry, "op"):
                divert(entry, functools.partial(_refused, name=name, kind=kind))


def _refuse_op(op) -> None:
    if isinstance(op, Rowwise) or isinstance(op, Structured) and op.kind != "view" and op.name not in _MOVING:
        divert(op.entry, functools.partial(_refused, name=op.name, kind="f"))


def _prepare_8_bits() -> None:
    _refuse({*_REFUSED, *COMPOSITE} - {"masked_select", "index_select"}, "f")
    for op in list(OPS.values()):
        _refuse_op(op)
    FOLLOWERS.append(_refuse_op)  # ops that are defined from now on


dtypes.uint16.unprepared.append(lambda: _refuse(_REFUSED, "i"))
dtypes.float8_e5m2.unprepared.append(_prepare_8_bits)
