"""Comparisons, classification of floats, and choice by a condition."""

import numpy as np

from .. import dtypes
from ..entries import operator
from ..kernels.vocab import fabs, isfinite, isinf, isnan, where
from ..op import ENTRIES, as_operand, as_tensor_operand, cast, function, method
from ..pointwise import pointwise
from ..tensor import Tensor, from_array


@pointwise(reference=np.equal, result="bool", numbers_from=1)
def eq(input, other):
    """``input == other``, broadcast."""
    return input == other


@pointwise(reference=np.not_equal, result="bool", numbers_from=1)
def ne(input, other):
    """``input != other``, broadcast."""
    return input != other


@pointwise(reference=np.less, result="bool", numbers_from=1)
def lt(input, other):
    """``input < other``, broadcast."""
    return input < other


@pointwise(reference=np.less_equal, result="bool", numbers_from=1)
def le(input, other):
    """``input <= other``, broadcast."""
    return input <= other


@pointwise(reference=np.greater, result="bool", numbers_from=1)
def gt(input, other):
    """``input > other``, broadcast."""
    return input > other


@pointwise(reference=np.greater_equal, result="bool", numbers_from=1)
def ge(input, other):
    """``input >= other``, broadcast."""
    return input >= other


for _name, _entry, _long in (
    ("eq", eq, "eq"), ("ne", ne, "not_equal"), ("lt", lt, "less"), ("le", le, "less_equal"), ("gt", gt, "greater"),
    ("ge", ge, "greater_equal"),
):  # fmt: skip
    method(operator(_entry, arrays=True), name=f"__{_name}__")
    if _long != _name:
        function(_entry, name=_long)
        method(_entry.op.inplace_entry, name=f"{_long}_")


# --- classification ------------------------------------------------------------------------------------------------


@pointwise(reference=np.isnan, result="bool", inplace=False, name="isnan")
def _isnan(input):
    """Whether an element is NaN."""
    return isnan(input)


@pointwise(reference=np.isinf, result="bool", inplace=False, name="isinf")
def _isinf(input):
    """Whether an element is infinite."""
    return isinf(input)


@pointwise(reference=np.isfinite, result="bool", inplace=False, name="isfinite")
def _isfinite(input):
    """Whether an element is neither infinite nor NaN."""
    return isfinite(input)


@pointwise(reference=np.isposinf, result="bool", inplace=False)
def isposinf(input):
    """Whether an element is positive infinity."""
    return isinf(input) & (input > 0.0)


@pointwise(reference=np.isneginf, result="bool", inplace=False)
def isneginf(input):
    """Whether an element is negative infinity."""
    return isinf(input) & (input < 0.0)


@pointwise(reference=np.signbit, result="bool", inplace=False)
def signbit(input):
    """Whether the sign of an element is negative, that of -0 included."""
    return np.signbit(input)


@signbit.for_integers
def _(input):
    return input < 0


@function
def isreal(input) -> Tensor:
    """Whether an element is real: its imaginary part is 0."""
    if as_tensor_operand("isreal", input, "input")._m.dtype.is_complex:
        return eq(ENTRIES["imag"](input), 0.0)
    return ENTRIES["full_like"](as_tensor_operand("isreal", input, "input"), True, dtype=dtypes.bool_)


# --- closeness -----------------------------------------------------------------------------------------------------


@pointwise(result="bool", inplace=False, install=(), name="isclose")
def _isclose(input, other, *, rtol, atol, equal_nan=False):
    near = isfinite(other) & (fabs(input - other) <= atol + fabs(rtol * other))
    return (input == other) | near | (equal_nan & isnan(input) & isnan(other))


@function
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False) -> Tensor:
    """Whether ``|input - other| <= atol + rtol * |other|``; infinities are close to themselves only."""
    input, other = as_tensor_operand("isclose", input, "input"), as_tensor_operand("isclose", other, "other")
    if input._m.dtype is not other._m.dtype:
        raise RuntimeError(
            f"isclose: {input._m.dtype.name} did not match {other._m.dtype.name}; convert one of the tensors with .to()"
        )
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value >= 0:
            raise RuntimeError(f"isclose: {name} must be greater than or equal to zero, but got {value}")
    if input._m.dtype.is_complex:
        near = _isfinite(other) & ((input - other).abs() <= other.abs() * float(rtol) + float(atol))
        return eq(input, other) | near | (bool(equal_nan) & _isnan(input) & _isnan(other))
    if input._m.dtype.is_floating_point:
        return _isclose(input, other, float(rtol), float(atol), bool(equal_nan))
    if rtol == 0 and atol == 0:  # neighbours beyond 2**53 are one number as float64
        return eq(input, other)
    return _isclose(cast(input, dtypes.float64), cast(other, dtypes.float64), float(rtol), float(atol), bool(equal_nan))


@function
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False) -> bool:
    """Whether all elements are close; see `isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all().item())


@function
def equal(input, other) -> bool:
    """Whether both tensors have the same shape and the same elements; NaN differs from itself."""
    input, other = as_tensor_operand("equal", input, "input"), as_tensor_operand("equal", other, "other")
    if input._m.shape != other._m.shape:
        return False
    return bool(eq(input, other).all().item())


# --- choice --------------------------------------------------------------------------------------------------------


@pointwise(inplace=False, install=(), name="where", numbers_from=-1)
def choose(condition, input, other):
    """``input`` where the condition holds, else ``other``."""
    return where(condition != 0.0, input, other)


@choose.backward
def _(g, condition):
    held = condition != 0.0
    return 0.0, where(held, g, 0.0), where(held, 0.0, g)


def _condition(name, condition):
    condition = as_operand(name, condition)
    if isinstance(condition, Tensor):
        if condition._m.dtype is dtypes.uint8:
            return cast(condition, dtypes.bool_)
        if condition._m.dtype is not dtypes.bool_:
            raise RuntimeError(
                f"{name} expected condition to be a boolean tensor, but got a tensor with dtype {condition._m.dtype!r}"
                "; compare it, for example with != 0"
            )
        return condition
    return from_array(np.asarray(condition != 0))


@method(name="where")
def _where_method(self, condition, other) -> Tensor:
    """The tensor's own elements where the condition holds, else ``other``."""
    return choose(_condition("where", condition), self, other)


@function(name="where", install=("ng",))
def where_function(condition, input=None, other=None, *, out=None):
    """``input`` where the bool tensor ``condition`` holds, else ``other``, broadcast; with the condition alone, the
    indices at which it holds, a tensor for each dimension."""
    if input is None and other is None:
        return ENTRIES["nonzero"](as_tensor_operand("where", condition, "condition"), as_tuple=True)
    if type(condition) is not Tensor or condition._m.dtype is not dtypes.bool_:
        condition = _condition("where", condition)
    return choose(condition, input, other) if out is None else choose(condition, input, other, out=out)

