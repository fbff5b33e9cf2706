"""Sums, products, quotients, remainders, and the operators that stand for them."""

import numpy as np

from .. import dtypes
from ..entries import operator
from ..kernels.vocab import WORDS, copysign as with_sign, fabs, floor, fmod as remains, isinf, isnan, trunc, where
from ..op import ENTRIES, as_tensor_operand, function, method
from ..pointwise import pointwise
from ..tensor import Tensor

# --- sums ----------------------------------------------------------------------------------------------------------


@pointwise(reference=lambda input, other, alpha=1: input + alpha * other, numbers_from=-1, multiplied="other")
def add(input, other, *, alpha=1):
    """``input + alpha * other``, broadcast."""
    return input + alpha * other


@add.backward
def _(g, alpha):
    return g, g * alpha


def _no_bool(name, operands):
    if all(d is dtypes.bool_ for d in operands):
        raise RuntimeError(
            f"{name}: Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if dtypes.bool_ in operands:
        raise RuntimeError(
            f"{name}: Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert "
            "a mask, use the `~` or `logical_not()` operator instead."
        )


@pointwise(reference=lambda input, other, alpha=1: input - alpha * other, check=_no_bool, numbers_from=-1,
           multiplied="other")  # fmt: skip
def sub(input, other, *, alpha=1):
    """``input - alpha * other``, broadcast."""
    return input - alpha * other


@sub.backward
def _(g, alpha):
    return g, -alpha * g


@pointwise(reference=lambda input, other, alpha=1: other - alpha * input, check=_no_bool, inplace=False,
           multiplied="input", numbers_from=1, grad_name=("RsubBackward1", "RsubBackward0"))  # fmt: skip
def rsub(input, other, *, alpha=1):
    """``other - alpha * input``, broadcast."""
    return other - alpha * input


@rsub.backward
def _(g, alpha):
    return -alpha * g, g


@pointwise(reference=lambda input, tensor1, tensor2, value=1: input + value * tensor1 * tensor2, refuse="b",
           multiplied="tensor1", numbers_from=3)  # fmt: skip
def addcmul(input, tensor1, tensor2, *, value=1):
    """``input + value * tensor1 * tensor2``, broadcast."""
    return input + value * tensor1 * tensor2


@addcmul.backward
def _(g, tensor1, tensor2, value):
    return g, g * (value * tensor2), g * (value * tensor1)


def _no_integer_quotient(name, operands):
    if not any(d.differentiable for d in operands[1:]):
        raise RuntimeError(
            f"{name}: Integer division with addcdiv is no longer supported; use (input + value * torch.trunc(tensor1 / "
            "tensor2)).to(input.dtype), or convert the tensors with .float()"
        )


@pointwise(
    reference=lambda input, tensor1, tensor2, value=1: input + value * tensor1 / tensor2,
    domain=(0.5, 3.0),
    check=_no_integer_quotient,
    multiplied="tensor1",
    numbers_from=3,
)
def addcdiv(input, tensor1, tensor2, *, value=1):
    """``input + value * tensor1 / tensor2``, broadcast."""
    return input + value * tensor1 / tensor2


@addcdiv.backward
def _(g, tensor1, tensor2, value):
    return g, g * (value / tensor2), -g * (value * tensor1 / (tensor2 * tensor2))


def _one_dtype(name, operands):
    for d in operands[1:2]:
        if d is not operands[0]:
            raise RuntimeError(f"{name}: expected dtype {operands[0].name} for `end` but got dtype {d.name}")
    if operands[2].is_complex and not operands[0].is_complex:
        raise RuntimeError(f"{name}: a complex weight cannot be converted to type {operands[0].name} without overflow")


@pointwise(reference=lambda input, end, weight: input + weight * (end - input), check=_one_dtype, refuse="bi",
           numbers_from=2, grad_name=("LerpBackward0", "LerpBackward1"))  # fmt: skip
def lerp(input, end, weight):
    """``input + weight * (end - input)``; ``weight`` is a number or a tensor."""
    # From the nearer end, so that a weight of 1 gives exactly `end`.
    step = end - input
    return where(fabs(weight) < 0.5, input + weight * step, end - step * (1.0 - weight))


@lerp.backward
def _(g, input, end, weight):
    return g * (1.0 - weight), g * weight, g * (end - input)


# --- products and quotients ----------------------------------------------------------------------------------------


@pointwise(reference=np.multiply, numbers_from=-1)
def mul(input, other):
    """``input * other``, broadcast."""
    return input * other


@mul.backward
def _(g, input, other):
    return g * other, g * input


@pointwise(reference=np.true_divide, domain=(0.5, 3.0), result="float", name="div", install=(), numbers_from=-1)
def quotient(input, other):
    """``input / other``, broadcast; integers give floating point."""
    return input / other


@quotient.backward
def _(g, input, other):
    return g / other, -g * ((input / other) / other)


@pointwise(domain=(0.5, 3.0), result="float", name="rdiv", install=(), inplace=False, grad_name="MulBackward0")
def reflected_quotient(input, other):
    """``other / input``, broadcast; integers give floating point."""
    return other / input


@reflected_quotient.backward
def _(g, input, other):
    return -g * ((other / input) / input), g / input


def _floored(a, b):
    # By the remainder: floor(a / b) would round up where a / b rounds to the next whole number.
    rest = remains(a, b)
    whole = (a - rest) / b
    whole = where((rest != 0.0) & ((b < 0.0) != (rest < 0.0)), whole - 1.0, whole)
    lower = floor(whole)
    lower = where(whole - lower > 0.5, lower + 1.0, lower)
    lower = where(whole == 0.0, with_sign(whole * 0.0, a / b), lower)
    return where(b == 0.0, a / b, lower)


@pointwise(reference=np.floor_divide, domain=(0.5, 3.0), refuse="b", nonzero_divisor=True, numbers_from=-1)
def floor_divide(input, other):
    """The whole number below ``input / other``, broadcast; integers stay integers and refuse a divisor of 0."""
    return _floored(input, other)


@floor_divide.for_integers
def _(input, other):
    return where(other == -1, -input, input // where(other == -1, 1, other))


@pointwise(domain=(0.5, 3.0), name="div_floor", install=(), refuse="b", nonzero_divisor=True, numbers_from=-1,
           grad_name="DivBackward2")  # fmt: skip
def floored_quotient(input, other):
    """`floor_divide` with a gradient, which is 0."""
    return _floored(input, other)


floored_quotient.for_integers(floor_divide.op.integer_fn)


@floored_quotient.backward
def _(g):
    return g * 0.0, g * 0.0


@pointwise(domain=(0.5, 3.0), name="div_trunc", install=(), refuse="b", nonzero_divisor=True, numbers_from=-1,
           grad_name="DivBackward2")  # fmt: skip
def truncated_quotient(input, other):
    """``input / other`` without its fraction; integers stay integers and refuse a divisor of 0."""
    return trunc(input / other)


@truncated_quotient.for_integers
def _(input, other):
    safe = where(other == -1, 1, other)
    below = input // safe
    whole = where((input % safe != 0) & ((input < 0) != (other < 0)), below + 1, below)
    return where(other == -1, -input, whole)


@truncated_quotient.backward
def _(g):
    return g * 0.0, g * 0.0


_ROUNDED = {None: quotient, "floor": floored_quotient, "trunc": truncated_quotient}


def _quotient(name, rounding_mode):
    try:
        return _ROUNDED[rounding_mode]
    except KeyError:
        raise RuntimeError(
            f"{name} expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        ) from None


@function
def div(input, other, *, rounding_mode: str | None = None, out=None) -> Tensor:
    """``input / other``, broadcast; ``rounding_mode`` "floor" or "trunc" rounds the result to a whole number."""
    if rounding_mode is None and out is None:
        return quotient(input, other)
    return _quotient("div", rounding_mode)(input, other, out=out)


@method
def div_(self, other, *, rounding_mode: str | None = None) -> Tensor:
    """In-place version of `div`."""
    return _quotient("div_", rounding_mode).op.inplace_entry(self, other)


@function
def true_divide(input, other, *, out=None) -> Tensor:
    """``input / other``, broadcast."""
    return quotient(input, other) if out is None else quotient(input, other, out=out)


@pointwise(reference=np.mod, domain=(0.5, 3.0), refuse="b", nonzero_divisor=True,
           grad_name=("RemainderBackward0", "RemainderBackward1"))  # fmt: skip
def remainder(input, other):
    """``input - floor(input / other) * other``, of the sign of ``other``; integers refuse a divisor of 0."""
    rest = remains(input, other)
    return where((rest != 0.0) & ((other < 0.0) != (rest < 0.0)), rest + other, rest)


@remainder.for_integers
def _(input, other):
    return input % where(other == -1, 1, other)


@remainder.backward
def _(g, input, other):
    return g, -g * floored_quotient(input, other)


@pointwise(reference=np.fmod, domain=(0.5, 3.0), refuse="b", nonzero_divisor=True, numbers_from=1,
           grad_name=("FmodBackward0", "FmodBackward1"))  # fmt: skip
def fmod(input, other):
    """``input - trunc(input / other) * other``, of the sign of ``input``; integers refuse a divisor of 0."""
    return remains(input, other)


@fmod.backward
def _(g, input, other):
    return g, -g * truncated_quotient(input, other)


@pointwise(reference=np.reciprocal, domain=(0.5, 3.0), result="float")
def reciprocal(input):
    """``1 / input``."""
    return 1.0 / input


@reciprocal.backward
def _(g, out):
    return -g * (out * out)


# --- one operand ---------------------------------------------------------------------------------------------------


def _no_bool_negation(name, operands):
    if operands[0] is dtypes.bool_:
        raise RuntimeError(
            f"{name}: Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a "
            "mask, use the `~` or `logical_not()` operator instead."
        )


@pointwise(reference=np.negative, check=_no_bool_negation, exact_out=True)
def neg(input):
    """``-input``."""
    return -input


@neg.backward
def _(g):
    return -g


@function
def positive(input) -> Tensor:
    """``input`` itself."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("positive: The `+` operator, on a bool tensor is not supported.")
    return input


@pointwise(reference=np.abs, refuse="b", name="abs", exact_out=True)
def magnitude(input):
    """The absolute value."""
    return fabs(input)


@magnitude.for_integers
def _(input):
    return where(input < 0, -input, input)


WORDS["fabs"].tensor_op = magnitude


@pointwise(reference=np.sign, differs=True, exact_out=True)  # 0 for NaN
def sign(input):
    """-1, 0 or 1; 0 for NaN."""
    return where(input > 0.0, 1.0, where(input < 0.0, -1.0, 0.0))


@sign.for_integers
def _(input):
    return where(input > 0, 1, where(input < 0, -1, 0))


@magnitude.backward
def _(g, input):
    return g * sign(input)


@sign.backward
def _(g):
    return 0.0


@pointwise(reference=np.sign, name="sgn", differs=True, exact_out=True)  # 0 for NaN
def sgn(input):
    """`sign`, under the name that complex tensors share."""
    return where(input > 0.0, 1.0, where(input < 0.0, -1.0, 0.0))


sgn.for_integers(sign.op.integer_fn)


@sgn.backward
def _(g, input):  # of a real tensor 0 everywhere; the input is for complex ones
    return g * 0.0


@pointwise(reference=np.copysign, result="float", numbers_from=1)
def copysign(input, other):
    """The magnitude of ``input`` with the sign of ``other``."""
    return with_sign(input, other)


@copysign.backward
def _(g, input, out):
    same = where((out < 0.0) == (input < 0.0), 1.0, -1.0)
    return g * where(input == 0.0, 0.0, where(input == input, same, input)), g * 0.0


# --- NaN and infinity ----------------------------------------------------------------------------------------------


@pointwise(name="nan_to_num", install=())
def _nan_to_num(input, *, nan, posinf, neginf):
    """NaN and infinities replaced by numbers."""
    return where(isnan(input), nan, where(isinf(input), where(input > 0.0, posinf, neginf), input))


@_nan_to_num.backward
def _(g, input):
    return where(isnan(input) | isinf(input), 0.0, g)


def _replacements(m, nan, posinf, neginf):
    limit = dtypes.finfo(m.dtype).max
    return float(nan or 0.0), float(limit if posinf is None else posinf), float(-limit if neginf is None else neginf)


@function
def nan_to_num(input, nan=0.0, posinf=None, neginf=None, *, out=None) -> Tensor:
    """NaN replaced by ``nan``, infinities by ``posinf`` and ``neginf``: the largest finite numbers, if None."""
    input = as_tensor_operand("nan_to_num", input, "input")
    if not input._m.dtype.is_floating_point:
        found = ENTRIES["clone"](input)
        return found if out is None else ENTRIES["write_out"]("nan_to_num", found, out)
    return _nan_to_num(input, *_replacements(input._m, nan, posinf, neginf), out=out)


@method
def nan_to_num_(self, nan=0.0, posinf=None, neginf=None) -> Tensor:
    """In-place version of `nan_to_num`."""
    if not self._m.dtype.is_floating_point:
        return self
    return _nan_to_num.op.inplace_entry(self, *_replacements(self._m, nan, posinf, neginf))


# --- names and operators -------------------------------------------------------------------------------------------


def _reflected(entry):
    """The method for an operator whose left operand is no Tensor."""
    apply = operator(entry, own=None)

    def reflected(self, other):
        return apply(other, self)

    reflected.__doc__, reflected.__module__ = entry.__doc__, __name__
    return reflected


for _name, _entry in {
    "add": add, "sub": sub, "mul": mul, "truediv": quotient, "floordiv": floor_divide, "mod": remainder,
}.items():  # fmt: skip
    method(operator(_entry, arrays=True), name=f"__{_name}__")
    method(operator(_entry.op.inplace_entry), name=f"__i{_name}__")
method(operator(add), name="__radd__")
method(operator(mul), name="__rmul__")
method(operator(rsub, strict=False), name="__rsub__")
method(operator(reflected_quotient, arrays=True), name="__rtruediv__")
method(_reflected(floor_divide), name="__rfloordiv__")
method(_reflected(remainder), name="__rmod__")
method(operator(neg), name="__neg__")
method(operator(magnitude), name="__abs__")
method(positive, name="__pos__")

for _name, _entry in {
    "subtract": sub, "multiply": mul, "negative": neg, "absolute": magnitude, "divide": div
}.items():  # fmt: skip
    function(_entry, name=_name)
for _name, _entry in {"subtract_": sub, "multiply_": mul, "negative_": neg, "absolute_": magnitude}.items():
    method(_entry.op.inplace_entry, name=_name)
method(div_, name="divide_")
method(quotient.op.inplace_entry, name="true_divide_")
