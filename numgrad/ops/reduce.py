"""Reductions: folds over dimensions, and what is composed of them."""

import numpy as np

from .. import dtypes
from ..autograd import engine
from ..kernels.vocab import maximum, minimum, where
from ..layout import normalize_axes, normalize_axis
from ..op import ENTRIES, as_tensor_operand, cast, converted, function, method
from ..reduction import reduction
from ..structured import structured
from ..tensor import Tensor
from .view import reshape, sizes


@reduction(identity=0, result="sum", cascade=True, staged=True, reference=np.sum, grad_name=("SumBackward0", "SumBackward1"))
def sum(total, x):
    """Sum over ``dim`` (all by default); bool and integers add up in int64."""
    return total + x


@sum.backward
def _(g):
    return g


def _divide(total, count):
    return total / float(count)


@reduction(identity=0, result="float", finish=_divide, combine=sum.op.fn, cascade=True, staged=True, reference=np.mean,
           grad_name=("MeanBackward0", "MeanBackward1"))  # fmt: skip
def mean(total, x):
    """Arithmetic mean over ``dim`` (all by default), of floating-point tensors."""
    return total + x


@mean.backward
def _(g, count):
    return g / count


@reduction(identity=1, result="sum", staged=True, reference=np.prod, install=(), grad_name=("ProdBackward0", "ProdBackward1"))
def product(total, x):
    """Product over ``dim`` (all by default); bool and integers multiply in int64."""
    return total * x


@product.backward
def _(g, input, out):
    return g * out / input


def lowest(d):
    return float("-inf") if d.is_floating_point else 0 if d.kind == "b" else np.iinfo(d.np).min


def highest(d):
    return float("inf") if d.is_floating_point else 1 if d.kind == "b" else np.iinfo(d.np).max


@reduction(identity=lowest, empty=False, staged=True, reference=np.max, install=(), name="amax")
def _amax(best, x):
    return maximum(best, x)


@_amax.backward
def _(g, input, out):
    return where((input == out) | ((input != input) & (out != out)), g, 0.0)


@reduction(identity=highest, empty=False, staged=True, reference=np.min, install=(), name="amin")
def _amin(best, x):
    return minimum(best, x)


@_amin.backward
def _(g, input, out):
    return where((input == out) | ((input != input) & (out != out)), g, 0.0)


@reduction(identity=0, combine=lambda a, b: (a != 0) or (b != 0), result="bool", staged=True, reference=np.any)
def any(found, x):
    """Whether any element over ``dim`` (all by default) is not zero."""
    return (found != 0) or (x != 0)


@reduction(identity=1, combine=lambda a, b: (a != 0) and (b != 0), result="bool", staged=True, reference=np.all)
def all(found, x):
    """Whether all elements over ``dim`` (all by default) are not zero."""
    return (found != 0) and (x != 0)


# --- composites over the folds -----------------------------------------------------------------------------------


@function
def amax(input, dim=(), keepdim=False, *, out=None) -> Tensor:
    """The largest value over ``dim`` (all by default); its gradient is shared evenly among equals."""
    return _extreme("amax", input, dim, keepdim, out)


@function
def amin(input, dim=(), keepdim=False, *, out=None) -> Tensor:
    """The smallest value over ``dim`` (all by default); its gradient is shared evenly among equals."""
    return _extreme("amin", input, dim, keepdim, out)


def _extreme(name, input, dim, keepdim, out):
    input = as_tensor_operand(name, input, "input")
    if input._m.dtype.kind == "b":
        return (any if name == "amax" else all)(input, None if type(dim) is tuple and not dim else dim, keepdim, out=out)
    axes = normalize_axes(name, None if type(dim) is tuple and not dim else dim, input._m.ndim)
    found = _EXTREMES[name](input, tuple(axes), keepdim)
    return found if out is None else ENTRIES["write_out"](name, found, out)


def _shared_extreme(name, fold):
    """``amax`` or ``amin``: the extreme by ``fold``, with a gradient shared among equals."""

    @structured(install=(), name=f"shared_{name}", grad_name=f"{name.capitalize()}Backward0")
    def extreme(input, *, dim, keepdim):
        return fold(input, dim, keepdim) if input._m.ndim else input.clone()

    @extreme.backward
    def _(g, input, out, dim, keepdim):
        if not input._m.ndim:
            return g
        if not keepdim:
            for axis in sorted(dim):
                g, out = g.unsqueeze(axis), out.unsqueeze(axis)
        best = out.detach()
        hits = ((input == best) | ((input != input) & (best != best))).to(g._m.dtype)
        return g * hits / hits.sum(dim, True)

    return extreme


_EXTREMES = {"amax": _shared_extreme("amax", _amax), "amin": _shared_extreme("amin", _amin)}


@function
def prod(input, dim=None, keepdim=False, *, dtype=None, out=None) -> Tensor:
    """The product over ``dim`` (all by default); bool and integers multiply in int64."""
    input = as_tensor_operand("prod", input, "input")
    if out is not None:
        return ENTRIES["write_out"]("prod", prod(input, dim, keepdim, dtype=dtype), out)
    if dtype is None:
        return _product(input, dim, keepdim)
    input = converted(input, dtype)
    if input._m.dtype is dtypes.bool_:
        return all(input, dim, keepdim)
    return cast(_product(input, dim, keepdim), input._m.dtype)


@structured(install=(), name="prod")
def _product(input, *, dim, keepdim):
    return product(input, dim, keepdim)


@_product.backward
def _(g, input, dim, keepdim):
    # Products of all others, from both ends: exact where an element is 0.
    if input._m.ndim == 0:
        return g
    axis = None if dim is None else normalize_axis("prod", dim, input._m.ndim)
    flat = input.reshape(-1) if axis is None else input.movedim(axis, -1)
    if axis is None:
        g = g.reshape(1) if g._m.ndim == 0 else g.reshape(-1)
    else:
        g = g.movedim(axis, -1) if keepdim else g.unsqueeze(-1)
    n = flat._m.shape[-1]
    if n == 0:
        return ENTRIES["zeros_like"](input)
    one = ENTRIES["ones_like"](flat.narrow(-1, 0, 1))
    cat = ENTRIES["cat"]
    before = cat((one, flat.narrow(-1, 0, n - 1)), -1).cumprod(-1)
    after = cat((one, flat.flip(-1).narrow(-1, 0, n - 1)), -1).cumprod(-1).flip(-1)
    found = g * before * after
    return found.reshape(input._m.shape) if axis is None else found.movedim(-1, axis)


def has_nan(tensor) -> bool:
    """Whether any element is NaN."""
    if not tensor._m.dtype.differentiable:
        return False
    return bool(np.isnan(tensor._host()).any())


engine.has_nan = has_nan


@method
def sum_to_size(self, *shape, size=None) -> Tensor:
    """The sum over the dimensions that `expand` would repeat to get this shape from ``size``: its adjoint.

    Raises RuntimeError if ``size`` does not expand to this shape.
    """
    m, size = self._m, sizes("sum_to_size", shape if size is None else (size,))
    lead = m.ndim - len(size)
    if lead < 0 or [wanted for wanted, here in zip(size, m.shape[lead:]) if wanted not in (1, here)]:
        raise RuntimeError(
            f"sum_to_size: size {{{list(size)}}} is not expandable to size {{{list(m.shape)}}}; each size must be 1 or that of the "
            "tensor, counted from the last dimension"
        )
    repeated = [*range(lead), *(lead + k for k, wanted in enumerate(size) if wanted != m.shape[lead + k])]
    if not size:
        return sum(self)
    return reshape(sum(self, repeated), size) if repeated else self
