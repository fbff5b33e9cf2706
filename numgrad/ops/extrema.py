"""The larger and the smaller of two values, and bounds."""

import numpy as np

from ..dtypes import check_number
from ..kernels.vocab import WORDS, fmax, fmin, isnan, maximum, minimum, where
from ..op import as_operand, as_tensor_operand, function, method
from ..pointwise import pointwise
from ..tensor import Tensor


@pointwise(reference=np.maximum, name="maximum", inplace=False, numbers_from=2)
def _maximum(input, other):
    """The larger, broadcast; NaN where either is NaN. Equals share the gradient."""
    return maximum(input, other)


@_maximum.backward
def _(g, input, other):
    shared = where(input == other, g * 0.5, g)
    return where(input < other, 0.0, shared), where(input > other, 0.0, shared)


@pointwise(reference=np.minimum, name="minimum", inplace=False, numbers_from=2)
def _minimum(input, other):
    """The smaller, broadcast; NaN where either is NaN. Equals share the gradient."""
    return minimum(input, other)


@_minimum.backward
def _(g, input, other):
    shared = where(input == other, g * 0.5, g)
    return where(input > other, 0.0, shared), where(input < other, 0.0, shared)


@pointwise(reference=np.fmax, name="fmax", inplace=False, numbers_from=2)
def _fmax(input, other):
    """The larger, broadcast; the other one where one is NaN."""
    return fmax(input, other)


@_fmax.backward
def _(g, input, other):
    first = (input >= other) | isnan(other)
    return where(first, g, 0.0), where(first, 0.0, g)


@pointwise(reference=np.fmin, name="fmin", inplace=False, numbers_from=2)
def _fmin(input, other):
    """The smaller, broadcast; the other one where one is NaN."""
    return fmin(input, other)


@_fmin.backward
def _(g, input, other):
    first = (input <= other) | isnan(other)
    return where(first, g, 0.0), where(first, 0.0, g)


# --- bounds --------------------------------------------------------------------------------------------------------


@pointwise(reference=np.clip, name="clamp", install=(), refuse="b")
def _clamp(input, min, max):
    return minimum(maximum(input, min), max)


@_clamp.backward
def _(g, input, min, max):
    return (
        where((input >= min) & (input <= max), g, 0.0),
        where((min < max) & (input < min), g, 0.0),
        where((input > max) | (max < min), g, 0.0),
    )


@pointwise(name="clamp_range", install=(), refuse="b", grad_name="ClampBackward1")
def _clamp_range(input, *, min, max):
    """`clamp` to numbers that do not change the dtype."""
    return minimum(maximum(input, min), max)


@_clamp_range.backward
def _(g, input, min, max):
    return where((input >= min) & (input <= max), g, 0.0)


@pointwise(reference=np.maximum, numbers_from=1,
           grad_name=("ClampMinBackward0", "ClampMinBackward1"))  # fmt: skip
def clamp_min(input, min):
    """``input``, but at least ``min``, a number or a tensor."""
    return maximum(input, min)


@clamp_min.backward
def _(g, input, min):
    return where(input >= min, g, 0.0), where(input < min, g, 0.0)


@pointwise(reference=np.minimum, numbers_from=1,
           grad_name=("ClampMaxBackward0", "ClampMaxBackward1"))  # fmt: skip
def clamp_max(input, max):
    """``input``, but at most ``max``, a number or a tensor."""
    return minimum(input, max)


@clamp_max.backward
def _(g, input, max):
    return where(input <= max, g, 0.0), where(input > max, g, 0.0)


def _larger(a, b):
    """The word ``maximum`` on Tensors, where one of the two may be a number."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return _maximum(a, b)
    return clamp_min(a, b) if isinstance(a, Tensor) else clamp_min(b, a)


def _smaller(a, b):
    """The word ``minimum`` on Tensors, where one of the two may be a number."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return _minimum(a, b)
    return clamp_max(a, b) if isinstance(a, Tensor) else clamp_max(b, a)


WORDS["maximum"].tensor_op, WORDS["minimum"].tensor_op = _larger, _smaller


def _bounded(name, input, min, max):
    """The op that clamps and its arguments."""
    input = as_tensor_operand(name, input, "input")
    if min is None and max is None:
        raise RuntimeError(f"{name}: At least one of 'min' or 'max' must not be None")
    if input._m.dtype.kind == "i":  # a float makes the result one
        for bound in (min, max):
            if type(bound) is int:
                check_number(name, bound, input._m.dtype)
    if max is None:
        return clamp_min, (input, as_operand(name, min, 1))
    if min is None:
        return clamp_max, (input, as_operand(name, max, 2))
    min, max = as_operand(name, min, 1), as_operand(name, max, 2)
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        if not (isinstance(min, Tensor) and isinstance(max, Tensor)):
            raise TypeError(f"{name}(): 'min' and 'max' must both be numbers or both be tensors")
        return _clamp, (input, min, max)
    d = input._m.dtype
    if d.is_floating_point or (d.kind == "i" and isinstance(min, int) and isinstance(max, int)):
        return _clamp_range, (input, min, max)
    return _clamp, (input, min, max)


@function
def clamp(input, min=None, max=None, *, out=None) -> Tensor:
    """``input`` brought into [``min``, ``max``]: numbers, tensors, or None. Where ``min > max``, ``max``."""
    entry, arguments = _bounded("clamp", input, min, max)
    return entry(*arguments) if out is None else entry(*arguments, out=out)


@method
def clamp_(self, min=None, max=None) -> Tensor:
    """In-place version of `clamp`."""
    entry, arguments = _bounded("clamp_", self, min, max)
    return entry.op.inplace_entry(*arguments)


function(clamp, name="clip")
method(clamp_, name="clip_")


# --- steps ---------------------------------------------------------------------------------------------------------


def _same_dtypes(name, operands):
    if operands[0] is not operands[1]:
        raise RuntimeError(f"{name} is not yet implemented for tensors with different dtypes.")


@pointwise(reference=np.heaviside, differs=True, check=_same_dtypes, numbers_from=2)
def heaviside(input, values):
    """0 where ``input`` is negative, ``values`` where it is 0, 1 where it is positive."""
    return where(input == 0.0, values, where(input > 0.0, 1.0, 0.0))


@heaviside.for_integers
def _(input, values):
    return where(input == 0, values, where(input > 0, 1, 0))


@pointwise(reference=np.nextafter, differs=True, refuse="bi", numbers_from=2)
def nextafter(input, other):
    """The next representable number from ``input`` towards ``other``."""
    return np.nextafter(input, other)


@nextafter.backward
def _(g, input, other):
    return where(input == other, 0.0, g), g * 0.0


