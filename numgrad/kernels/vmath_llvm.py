"""What the vector mathematics is written in: words by type, single LLVM instructions, typed constants.

Everything is branch-free on purpose: LLVM turns a loop over a scalar function into vector code only if both
sides of each choice may be evaluated, so choices are `select` and integers have their float's width.
"""

import inspect

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.extending import lower_builtin, type_callable
from numba.extending import intrinsic, overload

from .jit import PYTHON_MODE

SCALAR_OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True, "forceinline": True}
FLOATS = types.float32, types.float64
_INTEGERS = {types.float32: types.int32, types.float64: types.int64}
_LLVM_INTEGERS = {types.float32: ir.IntType(32), types.float64: ir.IntType(64)}
_MANTISSA_BITS = {32: 23, 64: 52}

# --- words: one name, one implementation for each type ---------------------------------------------------------


def word(fn):
    """Decorator: ``fn`` is what the word means in plain Python, where it raises no floating-point warnings."""
    return np.errstate(all="ignore")(fn)


def implements(name, *float_types):
    """Decorator: the function is what the word ``name`` compiles to for ``float_types`` (default: both).

    Numba types the call by its arguments, so that the choice is made where the call stands, inlined callers
    included. Arguments of mixed types are first converted to the widest.
    """

    def register(fn):
        if not PYTHON_MODE:
            table = _implementations.get(name)
            if table is None:
                table = _implementations[name] = {}
                name.compiled = _chooser(name, table), SCALAR_OPTIONS  # an attribute, for fingerprints
                overload(name, jit_options=SCALAR_OPTIONS, strict=False)(name.compiled[0])
            for float_type in float_types or FLOATS:
                table[float_type] = fn
        return fn

    return register


_implementations: dict = {}


def _chooser(name, table):
    def choose(*arguments):
        if len(set(arguments)) == 1 and arguments[0] in table:
            return table[arguments[0]]
        if len(arguments) == 2 and all(isinstance(argument, types.Number) for argument in arguments):
            narrow = all(argument.bitwidth <= 32 for argument in arguments if isinstance(argument, types.Float))
            cast = np.float32 if narrow and types.float32 in arguments else np.float64
            return lambda x, y: name(cast(x), cast(y))
        return None

    return choose


def by_type(single, double):
    """A word of compiled code only: ``single`` for float32 arguments, ``double`` for float64."""

    def name(*arguments):
        raise TypeError(f"{single.__name__} and {double.__name__} exist in compiled code only")

    implements(name, types.float32)(getattr(single, "py_func", single))
    implements(name, types.float64)(getattr(double, "py_func", double))
    return name


def lowers(name, result):
    """Decorator: ``fn(builder, type, *values)`` emits the instructions of the word ``name`` in place, no call.

    ``result(*argument types)`` is ``(result type, argument types)``, or None where the word does not apply.
    """

    def register(fn):
        arity = len(inspect.signature(name).parameters)

        def resolve(*arguments):
            found = result(*arguments)
            return None if found is None else found[0](*found[1])

        typers = {
            1: lambda context: lambda a: resolve(a),
            2: lambda context: lambda a, b: resolve(a, b),
            3: lambda context: lambda a, b, c: resolve(a, b, c),
        }
        if not PYTHON_MODE:
            name.lowered = resolve, fn  # an attribute, for fingerprints
            type_callable(name)(typers[arity])
            lower_builtin(name, *(types.Any,) * arity)(
                lambda context, builder, signature, values: fn(builder, signature.args[-1], *values)
            )
        return fn

    return register


def widest(*arguments):
    """The common type of numeric ``arguments``: the widest float if any is one, else the widest integer."""
    if len(set(arguments)) == 1:
        return arguments[0]
    floats = [a for a in arguments if isinstance(a, types.Float)]
    if floats and all(isinstance(a, (types.Number, types.Boolean)) for a in arguments):
        return max(floats, key=lambda a: a.bitwidth)
    integers = [types.int64 if isinstance(a, types.Boolean) else a for a in arguments]
    if all(isinstance(a, types.Integer) for a in integers):
        return max(integers, key=lambda a: (a.bitwidth, a.signed))
    return None


def llvm_call(builder, name, *values, fastmath=()):
    """Call the LLVM intrinsic ``name``, whose arguments and result share one type."""
    kind = values[0].type
    function = builder.module.declare_intrinsic(name, [kind], ir.FunctionType(kind, [kind] * len(values)))
    return builder.call(function, values, fastmath=fastmath)


# --- typed constants -------------------------------------------------------------------------------------------


@intrinsic
def like(typingctx, x, value):
    """The number ``value`` in the type of ``x``. A bare ``0.5 * x`` would compute in float64."""
    if x not in FLOATS:
        return None

    def codegen(context, builder, signature, values):
        return context.cast(builder, values[1], signature.args[1], signature.args[0])

    return x(x, value), codegen


@intrinsic
def by_width(typingctx, x, single, double):
    """The constant ``single`` if ``x`` is a float32, else ``double``, in the type of ``x``."""

    def codegen(context, builder, signature, values):
        k = 1 if signature.args[0] == types.float32 else 2
        return context.cast(builder, values[k], signature.args[k], signature.args[0])

    return x(x, single, double), codegen


@intrinsic
def polynomial(typingctx, x, coefficients):
    """``c0 + c1 x + c2 x**2 + ...`` by Horner's rule in fused multiply-adds."""

    def codegen(context, builder, signature, values):
        kind, elements = signature.args
        constants = [
            context.cast(builder, builder.extract_value(values[1], k), element, kind)
            for k, element in enumerate(elements)
        ]
        total = constants[-1]
        for constant in reversed(constants[:-1]):
            total = builder.fma(total, values[0], constant)
        return total

    return x(x, coefficients), codegen


# --- bits ------------------------------------------------------------------------------------------------------


@intrinsic
def bits(typingctx, x):
    """The bits of a float as a signed integer of its width."""

    def codegen(context, builder, signature, values):
        return builder.bitcast(values[0], _LLVM_INTEGERS[signature.args[0]])

    return (_INTEGERS[x](x), codegen) if x in FLOATS else None


@intrinsic
def from_bits(typingctx, i):
    """The float whose bits are the int32 or int64 ``i``."""
    result = {types.int32: types.float32, types.int64: types.float64}.get(i)

    def codegen(context, builder, signature, values):
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return (result(i), codegen) if result else None


@intrinsic
def power_of_two(typingctx, biased):
    """``2**(biased - bias)``: the low bits of an integer shifted into the exponent field (the rest falls out)."""
    result = {types.int32: types.float32, types.int64: types.float64}[biased]

    def codegen(context, builder, signature, values):
        kind = values[0].type
        shifted = builder.shl(values[0], ir.Constant(kind, _MANTISSA_BITS[kind.width]))
        return builder.bitcast(shifted, context.get_value_type(signature.return_type))

    return result(biased), codegen


def _integer_word(doc, emit):
    def same_width(typingctx, a, b):
        # Numba's own + and - on int32 give int64, which would halve the vectors.
        def codegen(context, builder, signature, values):
            left, right = values
            right = context.cast(builder, right, signature.args[1], signature.args[0])
            return emit(builder, left, right)

        return a(a, b), codegen

    same_width.__doc__ = doc
    return intrinsic(same_width)


plus = _integer_word("a + b in the width of a.", lambda builder, a, b: builder.add(a, b))
minus = _integer_word("a - b in the width of a.", lambda builder, a, b: builder.sub(a, b))
masked = _integer_word("a & b in the width of a.", lambda builder, a, b: builder.and_(a, b))


@intrinsic
def halved(typingctx, i):
    """``i >> 1`` of an integer taken as unsigned (AVX2 has no signed 64-bit shift)."""
    return i(i), lambda context, builder, signature, values: builder.lshr(values[0], ir.Constant(values[0].type, 1))


@intrinsic
def exponent_field(typingctx, i):
    """The sign and exponent bits of a float's bits ``i``, as a small whole number."""

    def codegen(context, builder, signature, values):
        kind = values[0].type
        return builder.lshr(values[0], ir.Constant(kind, _MANTISSA_BITS[kind.width]))

    return i(i), codegen


@intrinsic
def without_mantissa(typingctx, i):
    """A float's bits ``i`` with the mantissa cleared."""

    def codegen(context, builder, signature, values):
        kind = values[0].type
        return builder.and_(values[0], ir.Constant(kind, -1 << _MANTISSA_BITS[kind.width]))

    return i(i), codegen


@intrinsic
def negated_if(typingctx, x, flag):
    """``-x`` if bit 1 of the integer ``flag`` of the width of ``x`` is set, else ``x``."""

    def codegen(context, builder, signature, values):
        value, flag = values
        kind = _LLVM_INTEGERS[signature.args[0]]
        sign = builder.and_(
            builder.shl(flag, ir.Constant(kind, kind.width - 2)), ir.Constant(kind, 1 << (kind.width - 1))
        )
        return builder.bitcast(builder.xor(builder.bitcast(value, kind), sign), value.type)

    return x(x, flag), codegen


@intrinsic
def select(typingctx, condition, a, b):
    """``a`` where ``condition`` else ``b``, both evaluated."""

    def codegen(context, builder, signature, values):
        return builder.select(*values)

    return a(types.boolean, a, b), codegen
