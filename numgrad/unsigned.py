"""uint16, uint32 and uint64, which PyTorch stores, copies, compares and multiplies, and computes little else with.

What it has no kernels for says so here too. The first tensor of such a dtype puts these refusals before the functions
concerned, so that others do not pay for them.
"""

import functools
import types

from . import dtypes
from .detours import divert
from .errors import not_implemented_for
from .op import ENTRIES
from .tensor import Tensor

# Functions without a form for these dtypes, besides the pointwise ops and reductions that `takes_unsigned` leaves out.
_REFUSED = (
    "argmax", "argmin", "max", "min", "amax", "amin", "aminmax", "topk", "kthvalue", "median", "nanmedian", "mode", "nonzero",
    "bincount", "histc", "isin", "cummax", "cummin", "clamp", "flip", "masked_fill", "masked_fill_", "gather",
    "scatter", "scatter_", "scatter_add", "scatter_add_", "triu", "tril", "floor_divide", "remainder", "matmul", "mm",
    "dot", "count_nonzero", "searchsorted", "bucketize", "take", "index_add", "index_add_", "index_fill", "index_fill_",
)  # fmt: skip


def _unsigned(values):
    """A dtype of the three among Tensors, also those in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            if value._m.dtype.barebones:
                return value._m.dtype
        elif type(value) in (list, tuple) and (found := _unsigned(value)):
            return found
    return None


def _refused(original, args, kwargs, name):
    d = _unsigned(args) or _unsigned(kwargs.values())
    if d is not None:
        raise not_implemented_for(name, d)
    return original(*args, **kwargs)


def prepare() -> None:
    """Put the refusals there; done once, for good."""
    for name in _REFUSED:
        for entry in {ENTRIES.get(name), getattr(Tensor, name, None)}:
            if isinstance(entry, types.FunctionType) and not hasattr(entry, "op"):
                divert(entry, functools.partial(_refused, name=name))


dtypes.uint16.unprepared.append(prepare)
