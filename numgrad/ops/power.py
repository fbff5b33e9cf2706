"""Powers, and the operator that stands for them."""

import numpy as np

from .. import dtypes
from ..kernels.vocab import hypot, log as logarithm, pow as power, sqrt, where
from ..op import ENTRIES, as_operand, as_tensor_operand, cast, function, method
from ..pointwise import pointwise
from ..tensor import Tensor, from_array
from .arithmetic import mul


@pointwise(reference=np.square, name="square", install=(), grad_name="PowBackward0")
def _square(input):
    """``input * input``."""
    return input * input


@_square.backward
def _(g, input):
    return g * (input * 2.0)


@function
def square(input, *, out=None) -> Tensor:
    """``input * input``; bool tensors give int64."""
    if isinstance(input, Tensor) and input.dtype is dtypes.bool_:
        input = cast(input, dtypes.int64)
    return _square(input) if out is None else _square(input, out=out)


@method
def square_(self) -> Tensor:
    """In-place version of `square`."""
    if self._m.dtype is dtypes.bool_:
        raise RuntimeError("square_: result type Long can't be cast to the desired output type Bool; use .long() first")
    return _square.op.inplace_entry(self)


def _whole_power(base, exponent):
    if exponent < 0:
        if base == 1:
            return 1
        if base == -1:
            return 1 if exponent % 2 == 0 else -1
        return 0
    result = 1
    factor = base
    while exponent > 0:
        if exponent & 1:
            result = result * factor
        factor = factor * factor
        exponent = exponent >> 1
    return result


@pointwise(reference=np.power, domain=(0.5, 3.0), refuse="b", name="pow", install=(),
           grad_name=("PowBackward0", "PowBackward1"))  # fmt: skip
def _pow(input, exponent):
    """``input ** exponent``, broadcast."""
    return power(input, exponent)


@_pow.for_integers
def _(input, exponent):
    return _whole_power(int(input), int(exponent))


@_pow.backward
def _(g, input, exponent, out):
    by_base = where(exponent == 0.0, 0.0, g * (exponent * power(input, exponent - 1.0)))
    return by_base, g * where((input == 0.0) & (exponent >= 0.0), 0.0, out * logarithm(input))


@_pow.backward_as_ops
def _(g, input, exponent, out):
    # Where a slope is 0 by definition, 1 stands for the base, whose powers and logarithm may be infinite.
    if isinstance(exponent, Tensor):
        flat = exponent == 0.0
        base = where(flat, 1.0, input)
        by_base = where(flat, 0.0, g) * (exponent * power(base, exponent - 1.0))
    elif exponent:
        by_base = g * (exponent * power(input, exponent - 1.0))
    else:
        by_base = 0.0
    if not isinstance(exponent, Tensor):
        return by_base, 0.0
    if not isinstance(input, Tensor):
        input = ENTRIES["full_like"](exponent, input)
    base = where((input == 0.0) & (exponent >= 0.0), 1.0, input)
    return by_base, g * (out * logarithm(base))


@pointwise(name="cube", install=(), grad_name="PowBackward0")
def _cube(input):
    """``input ** 3``."""
    return input * input * input


@_cube.backward
def _(g, input):
    return g * (input * input * 3.0)


@pointwise(domain=(0.5, 3.0), name="reciprocal_square", install=(), result="float", grad_name="PowBackward0")
def _reciprocal_square(input):
    """``input ** -2``."""
    return 1.0 / (input * input)


@_reciprocal_square.backward
def _(g, input):
    return g * (-2.0 / (input * input * input))


@_reciprocal_square.backward_as_ops
def _(g, input):
    return g * (-2.0 * power(input, -3.0))  # its own derivative is infinite at 0, that of the quotient NaN


# Unlike sqrt and reciprocal, these keep what they are applied to: their results may be written to afterwards.


@pointwise(domain=(0.5, 3.0), name="square_root", install=(), result="float", grad_name="PowBackward0")
def _square_root(input):
    """``input ** 0.5``."""
    return sqrt(input)


@_square_root.backward
def _(g, input):
    return g * (0.5 / sqrt(input))


@pointwise(domain=(0.5, 3.0), name="inverse_power", install=(), result="float", grad_name="PowBackward0")
def _inverse(input):
    """``input ** -1``."""
    return 1.0 / input


@_inverse.backward
def _(g, input):
    return g * (-1.0 / (input * input))


@_inverse.backward_as_ops
def _(g, input):
    return g * (-1.0 * power(input, -2.0))


# Exponents with a body that is faster and rounds less than a general power.
_SPECIAL = {2: _square, 3: _cube, 0.5: _square_root, -1: _inverse, -2: _reciprocal_square}


def _checked_exponent(name, input, exponent):
    """The exponent as an operand; integers to a negative number are refused."""
    exponent = as_operand(name, exponent, 1)
    if isinstance(exponent, int) and exponent < 0 and not (
        input._m.dtype.differentiable if isinstance(input, Tensor) else isinstance(input, (float, complex))
    ):
        raise RuntimeError(f"{name}: Integers to negative integer powers are not allowed; use .float() first")
    return exponent


@function(name="pow")
def pow_(input, exponent, *, out=None) -> Tensor:
    """``input ** exponent``, broadcast; one of the two may be a number."""
    kind = type(exponent)
    if (kind is int or kind is float) and isinstance(input, Tensor):
        if input._m.dtype.differentiable:
            special = _SPECIAL.get(exponent)
            if special is not None:
                return special(input) if out is None else special(input, out=out)
        elif exponent < 0:
            _checked_exponent("pow", input, exponent)
    elif not isinstance(exponent, Tensor):
        exponent = _checked_exponent("pow", input, exponent)
        if _all_bool(input, exponent):
            found = ENTRIES["clone"](input) if exponent else ENTRIES["full_like"](input, True)
            return found if out is None else ENTRIES["write_out"]("pow", found, out)
    return _pow(input, exponent) if out is None else _pow(input, exponent, out=out)


def _all_bool(input, exponent):
    """Whether a bool tensor is raised to a Python bool: the one power that bool has, to 1 or to 0."""
    return isinstance(exponent, bool) and isinstance(input, Tensor) and input._m.dtype is dtypes.bool_


def _pow_in_place(self, exponent) -> Tensor:
    """In-place version of `pow`."""
    exponent = _checked_exponent("pow_", self, exponent)
    if _all_bool(self, exponent):
        return self if exponent else ENTRIES["fill_"](self, True)
    if not isinstance(exponent, Tensor) and self._m.dtype.differentiable and exponent in (2, 3):
        return _SPECIAL[exponent].op.inplace_entry(self)
    return _pow.op.inplace_entry(self, exponent)


method(_pow_in_place, name="pow_")


@function
def float_power(input, exponent, *, out=None) -> Tensor:
    """``input ** exponent`` computed in float64 (complex128 if one is complex), broadcast."""
    operands = as_operand("float_power", input), as_operand("float_power", exponent, 1)
    wide = [isinstance(v, complex) or (isinstance(v, Tensor) and v._m.dtype.is_complex) for v in operands]
    d, number = (dtypes.complex128, complex) if any(wide) else (dtypes.float64, float)
    input, exponent = (cast(value, d) if isinstance(value, Tensor) else number(value) for value in operands)
    found = pow_(input, exponent)
    return found if out is None else ENTRIES["write_out"]("float_power", found, out)


@method
def float_power_(self, exponent) -> Tensor:
    """In-place version of `float_power`, for float64 tensors."""
    if self.dtype is not dtypes.float64:
        raise RuntimeError(
            f"float_power_: the base given to float_power_ has dtype {self.dtype.name} but the operation's result "
            "requires dtype float64"
        )
    return _pow_in_place(self, as_operand("float_power_", exponent, 1))


@pointwise(reference=np.hypot, refuse="bi", name="hypot", numbers_from=2)
def _hypot(input, other):
    """``sqrt(input * input + other * other)``, without overflow on the way."""
    return hypot(input, other)


@_hypot.backward
def _(g, input, other, out):
    return g * (input / out), g * (other / out)


@_hypot.backward_as_ops
def _(g, input, other, out):
    return g * _share(input, other), g * _share(other, input)


@pointwise(install=(), name="share_of_hypot", inplace=False)
def _share(input, other):
    """``input / hypot(input, other)``, whose derivative by the larger of the two is no difference."""
    return input / hypot(input, other)


@_share.backward
def _(g, input, other):
    out = hypot(input, other)
    return g * (other / out) * (other / out) / out, -g * (other / out) * (input / out) / out


@function
def ldexp(input, other, *, out=None) -> Tensor:
    """``input * 2 ** other``."""
    return mul(as_tensor_operand("ldexp", input, "input"), pow_(2.0, other), out=out)


@method
def ldexp_(self, other) -> Tensor:
    """In-place version of `ldexp`."""
    return mul.op.inplace_entry(self, pow_(2.0, other))


# --- operators -----------------------------------------------------------------------------------------------------


def _is_operand(value):
    return isinstance(value, (Tensor, float, int, complex, np.generic))


def _power_operator(self, other):
    if isinstance(other, np.ndarray):  # to the right alone, as for the other operators
        other = from_array(other)
    return pow_(self, other) if _is_operand(other) else NotImplemented


def _reflected_power(self, other):
    return pow_(as_operand("pow", other), self) if _is_operand(other) else NotImplemented


def _power_assignment(self, other):
    return _pow_in_place(self, other) if _is_operand(other) else NotImplemented


method(_power_operator, name="__pow__")
method(_reflected_power, name="__rpow__")
method(_power_assignment, name="__ipow__")
