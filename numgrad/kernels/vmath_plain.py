"""Words that are one or two machine instructions: rounding, signs, classification, extrema, choice.

Each function is the word's meaning in plain Python; below it stands what compiled code emits in its place.
"""

from fractions import Fraction

import numpy as np
from llvmlite import ir
from numba import types

from .vmath_llvm import FLOATS, implements, like, llvm_call, lowers, select, widest, word


def _one_float(x):
    return (x, (x,)) if x in FLOATS else None


def _common_float(*arguments):
    common = widest(*arguments)
    return (common, (common,) * len(arguments)) if common in FLOATS else None


def _common_number(*arguments):
    common = widest(*arguments)
    return None if common is None else (common, (common,) * len(arguments))


def _classified(x):
    return types.boolean, (x,)


def _chosen(condition, a, b):
    common = a if a == b else widest(a, b)
    return None if common is None else (common, (types.boolean, common, common))


# --- one float -------------------------------------------------------------------------------------------------


@word
def fabs(x):
    """The absolute value."""
    return np.fabs(x)


@word
def sqrt(x):
    """The square root."""
    return np.sqrt(x)


@word
def floor(x):
    """The largest whole number not above x."""
    return np.floor(x)


@word
def ceil(x):
    """The smallest whole number not below x."""
    return np.ceil(x)


@word
def trunc(x):
    """x without its fraction."""
    return np.trunc(x)


@word
def round(x):
    """The nearest whole number, halves to the even one."""
    return np.rint(x)


for _name, _instruction in (
    (fabs, "llvm.fabs"),
    (sqrt, "llvm.sqrt"),
    (floor, "llvm.floor"),
    (ceil, "llvm.ceil"),
    (trunc, "llvm.trunc"),
    (round, "llvm.roundeven"),
):
    lowers(_name, _one_float)(lambda builder, kind, x, i=_instruction: llvm_call(builder, i, x))


@word
def rsqrt(x):
    """1 / sqrt(x)."""
    return type(x)(1) / np.sqrt(x)


@implements(rsqrt)
def _rsqrt(x):
    # A function of its own: with the kernels' "arcp" the quotient could become the hardware's estimate,
    # which is NaN at 0 and inf.
    return like(x, 1.0) / sqrt(x)


# --- classification --------------------------------------------------------------------------------------------


@word
def isnan(x):
    """Whether x is not a number; False for every integer and bool."""
    return np.isnan(x)


@lowers(isnan, _classified)
def _isnan(builder, kind, x):
    if kind not in FLOATS:
        return ir.Constant(ir.IntType(1), 0)
    return builder.fcmp_unordered("uno", x, x)


@word
def isinf(x):
    """Whether x is inf or -inf; False for every integer and bool."""
    return np.isinf(x)


@lowers(isinf, _classified)
def _isinf(builder, kind, x):
    if kind not in FLOATS:
        return ir.Constant(ir.IntType(1), 0)
    return builder.fcmp_ordered("==", llvm_call(builder, "llvm.fabs", x), ir.Constant(x.type, float("inf")))


@word
def isfinite(x):
    """Whether x is neither infinite nor NaN; True for every integer and bool."""
    return np.isfinite(x)


@lowers(isfinite, _classified)
def _isfinite(builder, kind, x):
    if kind not in FLOATS:
        return ir.Constant(ir.IntType(1), 1)
    return builder.fcmp_ordered("<", llvm_call(builder, "llvm.fabs", x), ir.Constant(x.type, float("inf")))


# --- two numbers -----------------------------------------------------------------------------------------------


@word
def minimum(x, y):
    """The smaller; NaN if either is NaN."""
    return np.minimum(x, y)


@word
def maximum(x, y):
    """The larger; NaN if either is NaN."""
    return np.maximum(x, y)


@word
def fmin(x, y):
    """The smaller; the other one if one is NaN."""
    return np.fmin(x, y)


@word
def fmax(x, y):
    """The larger; the other one if one is NaN."""
    return np.fmax(x, y)


def _extremum(instruction, order):
    def emit(builder, kind, x, y):
        if kind in FLOATS:
            return llvm_call(builder, instruction, x, y)
        signed = isinstance(kind, types.Integer) and kind.signed  # bool compares as unsigned
        compare = builder.icmp_signed if signed else builder.icmp_unsigned
        return builder.select(compare(order, x, y), x, y)

    return emit


lowers(minimum, _common_number)(_extremum("llvm.minimum", "<"))
lowers(maximum, _common_number)(_extremum("llvm.maximum", ">"))
lowers(fmin, _common_number)(_extremum("llvm.minnum", "<"))
lowers(fmax, _common_number)(_extremum("llvm.maxnum", ">"))


@word
def minnum(x, y):
    """The smaller; undefined for NaN. The cheapest form in a reduction."""
    return np.fmin(x, y)


@word
def maxnum(x, y):
    """The larger; undefined for NaN. The cheapest form in a reduction."""
    return np.fmax(x, y)


@lowers(minnum, _common_float)
def _minnum(builder, kind, x, y):
    return llvm_call(builder, "llvm.minnum", x, y, fastmath=("nnan", "nsz"))


@lowers(maxnum, _common_float)
def _maxnum(builder, kind, x, y):
    return llvm_call(builder, "llvm.maxnum", x, y, fastmath=("nnan", "nsz"))


@word
def difference(x, y):
    """x - y, which fast-math does not regroup: ``difference(x - top, log_total)`` keeps the digits of ``log_total`` that
    ``x - (top + log_total)`` would lose."""
    return x - y


@lowers(difference, _common_float)
def _difference(builder, kind, x, y):
    return builder.fsub(x, y, flags=("contract",))  # a flag of its own: Numba adds its own to instructions without any


@word
def copysign(x, y):
    """The magnitude of x with the sign of y."""
    return np.copysign(x, y)


@lowers(copysign, _common_float)
def _copysign(builder, kind, x, y):
    # On the bits, because the kernels' "nsz" would let llvm.copysign ignore the sign of a zero.
    width = 32 if kind == types.float32 else 64
    integer = ir.IntType(width)
    sign, rest = ir.Constant(integer, 1 << (width - 1)), ir.Constant(integer, (1 << (width - 1)) - 1)
    magnitude = builder.and_(builder.bitcast(x, integer), rest)
    return builder.bitcast(builder.or_(magnitude, builder.and_(builder.bitcast(y, integer), sign)), x.type)


@word
def fmod(x, y):
    """The remainder of x / y with the sign of x. Integers: 0 where y is 0."""
    return np.fmod(x, y)


@lowers(fmod, _common_number)
def _fmod(builder, kind, x, y):
    if kind in FLOATS:
        return builder.frem(x, y)
    # The machine traps on a zero divisor and on the lowest integer by -1; by 1 both give the right 0.
    zero, one, lowest = ir.Constant(y.type, 0), ir.Constant(y.type, 1), ir.Constant(y.type, -1)
    trapping = builder.icmp_unsigned("==", y, zero)
    if not (isinstance(kind, types.Integer) and kind.signed):
        return builder.urem(x, builder.select(trapping, one, y))
    trapping = builder.or_(trapping, builder.icmp_signed("==", y, lowest))
    return builder.srem(x, builder.select(trapping, one, y))


@word
def hypot(x, y):
    """sqrt(x * x + y * y), without overflow on the way."""
    return np.hypot(x, y)


@implements(hypot, types.float32)
def _hypot_f32(x, y):
    a, b = np.float64(x), np.float64(y)  # squares of float32 neither overflow nor round in float64
    root = np.float32(sqrt(a * a + b * b))
    return select(isinf(x) | isinf(y), np.float32(np.inf), root)


@implements(hypot, types.float64)
def _hypot_f64(x, y):
    # Scaled by a power of two, which is exact, where the larger square would leave the range.
    large = fmax(fabs(x), fabs(y))
    scale = select(large > 2.0**500, 2.0**-600, select(large < 2.0**-450, 2.0**600, 1.0))
    a, b = x * scale, y * scale
    root = sqrt(a * a + b * b) / scale
    return select(isinf(x) | isinf(y), np.inf, root)


# --- three numbers ---------------------------------------------------------------------------------------------


@word
def fma(x, y, z):
    """x * y + z, rounded once."""
    if not np.isfinite(x * y + z):
        return x * y + z
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    return type(x)(float(exact)) if exact else x * y + z  # a zero keeps its sign


@lowers(fma, _common_float)
def _fma(builder, kind, x, y, z):
    return builder.fma(x, y, z)


@word
def where(condition, x, y):
    """x where the condition holds, else y."""
    return x if condition else y


@lowers(where, _chosen)
def _where(builder, kind, condition, x, y):
    return builder.select(condition, x, y)
