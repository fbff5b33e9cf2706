"""Vectors of a fixed number of lanes: for kernels whose order of additions is part of their result.

Loops over arrays are vectorised by LLVM, in whichever order is fastest. Where the order is fixed, a kernel says it with
these words: their additions and products are rounded one by one, as written. In plain Python a vector is a NumPy array.
"""

import operator

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from . import vmath_llvm
from .jit import PYTHON_MODE


def _vector_bytes():
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512vl") and features.get("avx512bw") and features.get("avx512dq"):
        return 64
    return 16 if features.get("neon") else 32


VECTOR_BYTES = _vector_bytes()  # of a vector register, as PyTorch's kernels on the CPU choose it
_LANES = {types.float32: VECTOR_BYTES // 4, types.float64: VECTOR_BYTES // 8}


class Vector(types.Type):
    """``lanes`` floating-point numbers of Numba type ``element``."""

    def __init__(self, element, lanes):
        self.element, self.lanes = element, lanes
        super().__init__(name=f"Vector({element} x {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.element).get_value_type(), kind.lanes))


def exact(fn):
    """Compile ``fn`` for use inside kernels, inlined, with every rounding where it is written."""
    if PYTHON_MODE:
        return fn
    return numba.njit(  # without fastmath=False it would have its caller's flags
        fastmath=False, forceinline=True, error_model="numpy", nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(fn)


# --- words of compiled code ------------------------------------------------------------------------------------------


@intrinsic
def _vector_at(typingctx, pointer):
    if not isinstance(pointer, types.CPointer) or pointer.dtype not in _LANES:
        return None
    vector = Vector(pointer.dtype, _LANES[pointer.dtype])

    def codegen(context, builder, signature, arguments):
        address = builder.bitcast(arguments[0], context.get_value_type(vector).as_pointer())
        return builder.load(address, align=vector.element.bitwidth // 8)

    return vector(pointer), codegen


@intrinsic
def _splat(typingctx, value):
    if value not in _LANES:
        return None
    vector = Vector(value, _LANES[value])

    def codegen(context, builder, signature, arguments):
        whole = ir.Constant(context.get_value_type(vector), ir.Undefined)
        first = builder.insert_element(whole, arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, whole, ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), None))

    return vector(value), codegen


@intrinsic
def _lanes_of(typingctx, pointer):
    if not isinstance(pointer, types.CPointer) or pointer.dtype not in _LANES:
        return None

    def codegen(context, builder, signature, arguments):
        return ir.Constant(ir.IntType(64), _LANES[pointer.dtype])

    return types.int64(pointer), codegen


@intrinsic
def _put_vector(typingctx, pointer, vector):
    if not isinstance(pointer, types.CPointer) or not isinstance(vector, Vector):
        return None

    def codegen(context, builder, signature, arguments):
        address = builder.bitcast(arguments[0], context.get_value_type(vector).as_pointer())
        builder.store(arguments[1], address, align=vector.element.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(pointer, vector), codegen


@intrinsic
def _lane(typingctx, vector, k):
    if not isinstance(vector, Vector):
        return None

    def codegen(context, builder, signature, arguments):
        return builder.extract_element(*arguments)

    return vector.element(vector, k), codegen


@intrinsic
def _fused(typingctx, a, b, c):
    if not (a == b == c) or not isinstance(a, (Vector, types.Float)):
        return None

    def codegen(context, builder, signature, arguments):
        kind = arguments[0].type
        width = signature.return_type.element.bitwidth if isinstance(signature.return_type, Vector) else a.bitwidth
        name = f"llvm.fma.v{kind.count}f{width}" if isinstance(kind, ir.VectorType) else f"llvm.fma.f{width}"
        function = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(kind, [kind] * 3), name
        )
        return builder.call(function, arguments)

    return a(a, b, c), codegen


def _arithmetic(operation, instruction):
    @type_callable(operation)
    def _(context):
        return lambda a, b: a if isinstance(a, Vector) and a == b else None

    @lower_builtin(operation, Vector, Vector)
    def _(context, builder, signature, arguments):
        return getattr(builder, instruction)(*arguments)


if PYTHON_MODE:

    def like(x, value):
        return type(x)(value)

    def lanes_of(pointer):
        return VECTOR_BYTES // pointer.itemsize

    def vector_at(pointer):
        return pointer[: VECTOR_BYTES // pointer.itemsize].copy()

    def put_vector(pointer, vector):
        pointer[: len(vector)] = vector

    def splat(value):
        return np.full(VECTOR_BYTES // value.itemsize, value)

    def lane(vector, k):
        return vector[k]

    def fused(a, b, c):
        if a.dtype == np.float32:  # the product is exact in float64
            return (np.float64(a) * np.float64(b) + np.float64(c)).astype(np.float32)
        return a * b + c

else:
    for _operation, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
        _arithmetic(_operation, _instruction)

    like = vmath_llvm.like  # like(x, value): the number in the type of x
    lanes_of = _lanes_of  # lanes_of(pointer): how many of its elements a vector holds
    vector_at = _vector_at  # vector_at(pointer): the vector that begins there
    put_vector = _put_vector  # put_vector(pointer, vector): write the vector there
    splat = _splat  # splat(value): the vector with ``value`` in every lane
    lane = _lane  # lane(vector, k): the number in lane k
    fused = _fused  # fused(a, b, c): a * b + c of vectors or numbers, rounded once
