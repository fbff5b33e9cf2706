"""Detours: functions of the library that do something before or after the call for a while, at no cost otherwise.

A detour exchanges the code of the function object itself, so that every module that imported it takes part. The one
that stands here is that of the 16-bit dtypes: the first tensor of such a dtype sends the ops that have kernels of their
own (products, convolutions, rows, gathers) through float32; pointwise kernels, reductions, copies and views take
16-bit elements as they are.
"""

import inspect
import types
from collections.abc import Callable

from . import dtypes
from .op import ENTRIES, OPS, cast
from .rowwise import Rowwise
from .structured import Structured
from .tensor import Tensor


def _diverted(*args, _run, **kwargs):
    return _run(args, kwargs)


def divert(entry, around: Callable) -> Callable:
    """Send calls of ``entry`` to ``around(original, args, kwargs)``; the function returned undoes it."""
    build = getattr(entry, "build", None)
    if build is not None and entry.__code__.co_name.startswith("_unbuilt"):
        build()
    before = entry.__code__, entry.__defaults__, entry.__kwdefaults__, entry.__dict__.get("__signature__")
    original = types.FunctionType(
        entry.__code__, entry.__globals__, entry.__name__, entry.__defaults__, entry.__closure__
    )
    original.__kwdefaults__ = entry.__kwdefaults__
    entry.__signature__ = inspect.signature(entry)
    entry.__code__, entry.__defaults__ = _diverted.__code__.replace(co_freevars=entry.__code__.co_freevars), None
    entry.__kwdefaults__ = {"_run": lambda args, kwargs: around(original, args, kwargs)}

    def restore():
        entry.__code__, entry.__defaults__, entry.__kwdefaults__, signature = before
        if signature is None:
            del entry.__signature__
        else:
            entry.__signature__ = signature

    return restore


def mapped(value, change):
    """``value`` with ``change`` applied to its Tensors, also those in lists and tuples."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)([mapped(item, change) for item in value])
    return value


def mapped_call(original, args, kwargs, change):
    """``original`` called with ``change`` applied to all Tensors among its arguments."""
    return original(*[mapped(a, change) for a in args], **{k: mapped(v, change) for k, v in kwargs.items()})


# --- 16-bit dtypes ---------------------------------------------------------------------------------------------------

# Copies, which take any dtype; and ops whose operands must be of one dtype, which their own checks say.
_ANY_DTYPE = {"contiguous_copy", "clone", "to_dtype", "to_other_device", "_copy_into"}
_ONE_DTYPE = {"matrix_product", "linear", "convolution"}
# Functions that write to their first argument with kernels of their own.
_IN_PLACE = (
    "index_add_", "index_copy_", "index_fill_", "put_", "masked_fill_", "masked_scatter_", "bernoulli_",
    "fill_diagonal_", "cumsum_", "cumprod_", "scatter_", "scatter_add_", "scatter_reduce_", "index_reduce_",
    "index_put_", "normal_", "uniform_", "log_normal_", "exponential_", "geometric_", "cauchy_", "random_", "renorm_",
)  # fmt: skip
# Composites that read memory themselves.
_COMPOSITE = (
    "sort", "argsort", "topk", "kthvalue", "median", "nanmedian", "mode", "unique", "unique_consecutive", "bincount",
    "histc", "histogram", "searchsorted", "bucketize", "argmax", "argmin", "max", "min", "aminmax", "cummax", "cummin",
    "cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "multinomial", "rand_like", "randn_like",
    "randint_like", "nonzero", "masked_select", "embedding", "gather", "index_select", "take", "take_along_dim",
    "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "interpolate", "grid_sample", "ctc_loss", "batch_norm", "quantile", "nanquantile", "cdist", "pdist",
)  # fmt: skip


def _through_float32(one_dtype=False, in_place=False):
    def around(original, args, kwargs):
        found: list = []

        def note(tensor):
            if tensor._m.dtype.is_floating_point:
                found.append(tensor._m.dtype)
            return tensor

        for value in (*args, *kwargs.values()):
            mapped(value, note)
        narrow = [d for d in found if d.compute is not d.type]
        if not narrow or (one_dtype and any(d is not narrow[0] for d in found)):
            return original(*args, **kwargs)
        d = narrow[0]
        for other in narrow:
            d = dtypes.promote(d, other)

        def widened(tensor):
            return cast(tensor, dtypes.float32) if tensor._m.dtype in narrow else tensor

        if in_place:
            target = args[0]
            wide = widened(target)
            mapped_call(original, (wide, *args[1:]), kwargs, widened)
            return target if wide is target else target.copy_(wide)
        out = kwargs.pop("out", None)
        result = mapped_call(original, args, kwargs, widened)
        if kwargs.get("dtype") is None:
            result = _narrowed(result, d)
        return result if out is None else _written(original.__name__, result, out)

    return around


def _narrowed(result, d):
    if isinstance(result, Tensor):
        return cast(result, d) if result._m.dtype is dtypes.float32 else result
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


def prepare() -> None:
    """Send ops with kernels of their own through float32 where operands are 16-bit; done once, for good."""
    for op in OPS.values():
        if isinstance(op, Rowwise) or (isinstance(op, Structured) and op.kind != "view" and op.name not in _ANY_DTYPE):
            divert(op.entry, _through_float32(op.name in _ONE_DTYPE))
    done = set()
    for names, in_place in ((_IN_PLACE, True), (_COMPOSITE, False)):
        for name in names:
            entry = ENTRIES.get(name) or getattr(Tensor, name, None)
            if isinstance(entry, types.FunctionType) and not hasattr(entry, "op") and id(entry) not in done:
                done.add(id(entry))
                divert(entry, _through_float32(in_place=in_place))


dtypes.float16.unprepared.append(prepare)
