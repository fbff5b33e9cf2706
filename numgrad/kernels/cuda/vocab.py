"""The vocabulary of kernel bodies as device functions: elementary functions by libdevice, row words by warp shuffles.

Words of one instruction are emitted in place; the elementary functions are CUDA's own for float32 and float64
(`libdevice`). Arguments of mixed types are converted to the widest first, as on the CPU.
"""

import math

import numpy as np
from llvmlite import ir
from numba import cuda
from numba.cuda import types
from numba.cuda.extending import intrinsic, overload

ALL_LANES = 0xFFFFFFFF
_FLOATS = types.float32, types.float64


def device(fn):
    """Compile ``fn`` for use inside kernels, always inlined."""
    return cuda.jit(device=True, forceinline=True)(fn)


# --- words of float and integer arguments ----------------------------------------------------------------------------


def _widest(*arguments):
    """The common type of numbers: the widest float if any is one, else the widest integer."""
    if len(set(arguments)) == 1:
        return arguments[0]
    floats = [a for a in arguments if isinstance(a, types.Float)]
    if floats:
        return max(floats, key=lambda a: a.bitwidth)
    integers = [types.int64 if isinstance(a, types.Boolean) else a for a in arguments]
    return max(integers, key=lambda a: (a.bitwidth, a.signed))


def _float_of(*arguments):
    common = _widest(*arguments)
    return common if common in _FLOATS else types.float64


def _word(arity, result, emit):
    """The intrinsic of ``arity`` arguments that ``emit(builder, type, *values)`` lowers; ``result(*argument types)``
    is (result type, argument types)."""

    def resolve(*arguments):
        returned, converted = result(*arguments)
        signature = returned(*converted)

        def codegen(context, builder, signature, values):
            return emit(builder, signature.args[-1], *values)

        return signature, codegen

    typers = {
        1: lambda typingctx, x: resolve(x),
        2: lambda typingctx, x, y: resolve(x, y),
        3: lambda typingctx, x, y, z: resolve(x, y, z),
    }
    return intrinsic(typers[arity])


def _library(symbol, arity):
    """The libdevice function ``symbol``, in its form for float32 or float64."""

    def result(*arguments):
        kind = _float_of(*arguments)
        return kind, (kind,) * arity

    return _word(arity, result, lambda builder, kind, *values: _call(builder, symbol, *values))


def _call(builder, symbol, *values):
    kind = values[0].type
    name = f"__nv_{symbol}{'f' if isinstance(kind, ir.FloatType) else ''}"
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * len(values)), name)
    return builder.call(function, values)


def _common(*arguments):
    kind = _widest(*arguments)
    return kind, (kind,) * len(arguments)


def _classified(x):
    return types.boolean, (x,)


def _chosen(condition, x, y):
    kind = x if x == y else _widest(x, y)
    return kind, (types.boolean, kind, kind)


def _extremum(order, symbol):
    """The smaller or larger of two numbers. ``symbol``: libdevice's form, which ignores NaN; without it NaN wins."""

    def emit(builder, kind, x, y):
        if kind in _FLOATS:
            if symbol:
                return _call(builder, symbol, x, y)
            first = builder.or_(builder.fcmp_ordered(order, x, y), builder.fcmp_unordered("uno", x, x))
            return builder.select(first, x, y)
        signed = isinstance(kind, types.Integer) and kind.signed
        compare = builder.icmp_signed if signed else builder.icmp_unsigned
        return builder.select(compare(order, x, y), x, y)

    return _word(2, _common, emit)


def _remainder(builder, kind, x, y):
    if kind in _FLOATS:
        return _call(builder, "fmod", x, y)
    zero, one, minus_one = (ir.Constant(y.type, value) for value in (0, 1, -1))
    trapping = builder.icmp_unsigned("==", y, zero)
    if not (isinstance(kind, types.Integer) and kind.signed):
        return builder.urem(x, builder.select(trapping, one, y))
    trapping = builder.or_(trapping, builder.icmp_unsigned("==", y, minus_one))
    return builder.srem(x, builder.select(trapping, one, y))


def _is_nan(builder, kind, x):
    if kind not in _FLOATS:
        return ir.Constant(ir.IntType(1), 0)
    return builder.fcmp_unordered("uno", x, x)


def _is_infinite(builder, kind, x):
    if kind not in _FLOATS:
        return ir.Constant(ir.IntType(1), 0)
    return builder.fcmp_ordered("==", _call(builder, "fabs", x), ir.Constant(x.type, math.inf))


def _is_finite(builder, kind, x):
    if kind not in _FLOATS:
        return ir.Constant(ir.IntType(1), 1)
    return builder.fcmp_ordered("<", _call(builder, "fabs", x), ir.Constant(x.type, math.inf))


def _sigmoid(builder, kind, x):
    one = ir.Constant(x.type, 1.0)
    negated = builder.fsub(ir.Constant(x.type, -0.0), x)
    return builder.fdiv(one, builder.fadd(one, _call(builder, "exp", negated)))


def _one_float(x):
    kind = _float_of(x)
    return kind, (kind,)


@device
def _digamma64(x):
    if x == 0.0:
        return math.copysign(math.inf, -x)
    result = 0.0
    if x < 0.0:
        fraction = x - math.floor(x + 0.5)
        if fraction == 0.0 or x == -math.inf:
            return math.nan
        result = -math.pi / math.tan(math.pi * fraction)
        x = 1.0 - x
    while x < 10.0:  # psi(x) = psi(x + 1) - 1 / x
        result -= 1.0 / x
        x += 1.0
    z = 1.0 / (x * x)
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * (691 / 32760 - z / 12))))))
    return result + (math.log(x) - 0.5 / x - series)


@device
def digamma(x):
    """The derivative of lgamma."""
    return _as_type_of(x, _digamma64(np.float64(x)))


@intrinsic
def _as_type_of(typingctx, x, value):
    """``value`` converted to the type of ``x``."""

    def codegen(context, builder, signature, values):
        return context.cast(builder, values[1], signature.args[1], signature.args[0])

    return x(x, value), codegen


_ONE = (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "erfinv", "lgamma"),
    *("sqrt", "rsqrt", "floor", "ceil", "trunc", "fabs"),
)

WORDS = {
    **{name: _library(name, 1) for name in _ONE},
    **{name: _library(name, 2) for name in ("pow", "atan2", "hypot", "copysign")},
    "normal_cdf": _library("normcdf", 1),
    "round": _library("rint", 1),
    "fma": _library("fma", 3),
    "sigmoid": _word(1, _one_float, _sigmoid),
    "digamma": digamma,
    "isnan": _word(1, _classified, _is_nan),
    "isinf": _word(1, _classified, _is_infinite),
    "isfinite": _word(1, _classified, _is_finite),
    "minimum": _extremum("<", None),
    "maximum": _extremum(">", None),
    "fmin": _extremum("<", "fmin"),
    "fmax": _extremum(">", "fmax"),
    "minnum": _extremum("<", "fmin"),
    "maxnum": _extremum(">", "fmax"),
    "fmod": _word(2, _common, _remainder),
    "difference": _word(2, _common, lambda builder, kind, x, y: builder.fsub(x, y)),
    "where": _word(3, _chosen, lambda builder, kind, condition, x, y: builder.select(condition, x, y)),
}


# NumPy functions that bodies use and Numba's CUDA target lacks.
_next_after = _library("nextafter", 2)


@overload(np.nextafter, target="cuda")
def _nextafter(x, y):
    return lambda x, y: _next_after(x, y)


@overload(np.signbit, target="cuda")
def _signbit(x):
    return lambda x: _sign_bit(x)


def _top_bit(builder, kind, x):
    if kind not in _FLOATS:
        return builder.icmp_signed("<", x, ir.Constant(x.type, 0))
    integer = ir.IntType(32 if kind == types.float32 else 64)
    return builder.icmp_signed("<", builder.bitcast(x, integer), ir.Constant(integer, 0))


_sign_bit = _word(1, _classified, _top_bit)


# --- one value from the values of a warp or a block ------------------------------------------------------------------


@device
def warp_fold(combine, value):
    """``value`` of the 32 lanes of a warp, combined; every lane gets the result."""
    value = combine(value, cuda.shfl_xor_sync(ALL_LANES, value, 16))
    value = combine(value, cuda.shfl_xor_sync(ALL_LANES, value, 8))
    value = combine(value, cuda.shfl_xor_sync(ALL_LANES, value, 4))
    value = combine(value, cuda.shfl_xor_sync(ALL_LANES, value, 2))
    return combine(value, cuda.shfl_xor_sync(ALL_LANES, value, 1))


@device
def block_fold(combine, value, shared, warps):
    """``value`` of all threads of a block, combined in a fixed order; every thread gets the result."""
    value = warp_fold(combine, value)
    if warps > 1:
        if cuda.threadIdx.x & 31 == 0:
            shared[cuda.threadIdx.x >> 5] = value
        cuda.syncthreads()
        value = shared[0]
        for k in range(1, warps):
            value = combine(value, shared[k])
        cuda.syncthreads()
    return value


@device
def _add(x, y):
    return x + y


def row_words(T, threads):
    """The row words for values of NumPy type ``T`` where a block of ``threads`` owns the row.

    All threads of the block must come to a word together: it stands in code that every thread of the row runs.
    """
    kind = getattr(types, T.__name__)
    warps = threads // 32
    larger, smaller = WORDS["maxnum"], WORDS["minnum"]

    def lanes(n):
        return range(cuda.threadIdx.x, n, threads)

    def row_sum(value):
        return block_fold(_add, T(value), cuda.shared.array(32, kind), warps)

    def row_max(value):
        return block_fold(_larger, T(value), cuda.shared.array(32, kind), warps)

    def row_min(value):
        return block_fold(_smaller, T(value), cuda.shared.array(32, kind), warps)

    def leader():
        # What the block wrote before is complete when the leader goes on alone.
        cuda.syncthreads()
        return cuda.threadIdx.x == 0

    @device
    def _larger(x, y):
        return larger(x, y)

    @device
    def _smaller(x, y):
        return smaller(x, y)

    # These two fold in shared memory of their own: a body that calls `row_sum` as well would define its twice.
    def row_moments(x, n, one):
        total = T(0)
        for j in range(cuda.threadIdx.x, n, threads):
            total += x[j]
        mean = block_fold(_add, total, cuda.shared.array(32, kind), warps) / T(n)
        total = T(0)
        for j in range(cuda.threadIdx.x, n, threads):
            total += (x[j] - mean) * (x[j] - mean)
        return mean, block_fold(_add, total, cuda.shared.array(32, kind), warps) / T(n)

    def row_products(g, weight, x, n, zero):
        along, plain = T(0), T(0)
        for j in range(cuda.threadIdx.x, n, threads):
            value = g[j]
            if weight is not None:
                value = value * weight[j]
            along += value * x[j]
            plain += value
        along = block_fold(_add, along, cuda.shared.array(32, kind), warps)
        return along, block_fold(_add, plain, cuda.shared.array(32, kind), warps)

    return {fn.__name__: device(fn) for fn in (lanes, row_sum, row_max, row_min, leader, row_moments, row_products)}
