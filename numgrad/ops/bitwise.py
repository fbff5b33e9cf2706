"""Bits of integers, truth values, and divisors of integers."""

import numpy as np

from .. import dtypes
from ..entries import operator
from ..kernels.vocab import where
from ..op import as_tensor_operand, function, method
from ..pointwise import pointwise
from ..tensor import Tensor


@pointwise(reference=np.bitwise_and, refuse="f", cases="integers")
def bitwise_and(input, other):
    """``input & other``, broadcast, of integers or bool."""
    return input & other


@pointwise(reference=np.bitwise_or, refuse="f", cases="integers")
def bitwise_or(input, other):
    """``input | other``, broadcast, of integers or bool."""
    return input | other


@pointwise(reference=np.bitwise_xor, refuse="f", cases="integers")
def bitwise_xor(input, other):
    """``input ^ other``, broadcast, of integers or bool."""
    return input ^ other


@pointwise(refuse="fb", name="invert", install=(), cases="integers")
def _invert(input):
    """``~input`` of integers."""
    return input ^ -1


@pointwise(reference=np.left_shift, refuse="fb", cases="integers")
def bitwise_left_shift(input, other):
    """``input << other``, broadcast; 0 where ``other`` is negative or no less than the number of bits."""
    outside = (other < 0) | (other > 63)
    return where(outside, 0, input << where(outside, 0, other))


@pointwise(reference=np.right_shift, refuse="fb", cases="integers")
def bitwise_right_shift(input, other):
    """``input >> other``, broadcast, keeping the sign; all bits are shifted out where ``other`` is out of range."""
    return input >> where((other < 0) | (other > 63), 63, other)


@pointwise(reference=np.logical_and, result="bool", numbers_from=2, cases="any")
def logical_and(input, other):
    """Whether both are not 0, broadcast."""
    return (input != 0.0) & (other != 0.0)


@pointwise(reference=np.logical_or, result="bool", numbers_from=2, cases="any")
def logical_or(input, other):
    """Whether either is not 0, broadcast."""
    return (input != 0.0) | (other != 0.0)


@pointwise(reference=np.logical_xor, result="bool", numbers_from=2, cases="any")
def logical_xor(input, other):
    """Whether one of the two is not 0, broadcast."""
    return (input != 0.0) != (other != 0.0)


@pointwise(reference=np.logical_not, result="bool", cases="any")
def logical_not(input):
    """Whether ``input`` is 0."""
    return input == 0.0


def _not(name, input):
    input = as_tensor_operand(name, input, "input")
    return logical_not if input._m.dtype is dtypes.bool_ else _invert


@function
def bitwise_not(input, *, out=None) -> Tensor:
    """``~input`` of integers or bool."""
    return _not("bitwise_not", input)(input, out=out)


@method
def bitwise_not_(self) -> Tensor:
    """In-place version of `bitwise_not`."""
    return _not("bitwise_not_", self).op.inplace_entry(self)


def _divisor(a, b):
    a = -a if a < 0 else a
    b = -b if b < 0 else b
    while b != 0:
        a, b = b, a % b
    return a


@pointwise(reference=np.gcd, refuse="fb", numbers_from=2, cases="integers")
def gcd(input, other):
    """The greatest common divisor, broadcast."""
    return _divisor(int(input), int(other))


@pointwise(reference=np.lcm, refuse="fb", numbers_from=2, cases="integers")
def lcm(input, other):
    """The least common multiple, broadcast."""
    a, b = int(input), int(other)
    divisor = _divisor(a, b)
    multiple = 0 if divisor == 0 else a // divisor * b
    return -multiple if multiple < 0 else multiple


# --- operators -----------------------------------------------------------------------------------------------------


def _reflected(entry):
    apply = operator(entry, own=1)

    def reflected(self, other):
        return apply(other, self)

    reflected.__doc__, reflected.__module__ = entry.__doc__, __name__
    return reflected


for _name, _entry in {
    "and": bitwise_and, "or": bitwise_or, "xor": bitwise_xor, "lshift": bitwise_left_shift,
    "rshift": bitwise_right_shift,
}.items():  # fmt: skip
    method(operator(_entry, arrays=True), name=f"__{_name}__")
    method(operator(_entry.op.inplace_entry), name=f"__i{_name}__")
    method(_reflected(_entry), name=f"__r{_name}__")
method(lambda self: bitwise_not(self), name="__invert__")
