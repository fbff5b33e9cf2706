"""Conversions between float32 and the bits of the 8- and 16-bit floating-point formats, for kernels' loads and stores.

The bits are uint8 or uint16. Results are rounded to nearest, ties to even; NaN stays NaN and too large a value becomes
infinite, or what a format without infinity has in its place: the bits are the same on every processor, whether it has instructions for float16 or not.
"""

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import PYTHON_MODE, scalar
from .vmath_llvm import bits, from_bits

_HALF_BIAS = 112 << 23  # the difference of the exponents' biases, where float32 has its exponent
_INFINITY, _SIGN = 0x7F800000, 0x8000
_SMALLEST_NORMAL_HALF, _BEYOND_HALF = 0x38800000, 0x47800000  # 2**-14 and 2**16 as float32
_SUBNORMAL_STEP = np.float32(2.0**-24)
_HALF, _HALF_BITS = np.float32(0.5), 0x3F000000  # one half: its last place is the smallest float16

if PYTHON_MODE:

    def _int(x):
        return int(np.asarray(x, np.float32).view(np.uint32))

    def _float(i):
        return np.asarray(i, np.uint32).view(np.float32)[()]

    def _wide(b):
        return int(b)

    _short = np.uint16

else:

    @scalar
    def _int(x):
        return np.int64(bits(x)) & 0xFFFFFFFF

    @scalar
    def _float(i):
        return from_bits(np.int32(i))

    @scalar
    def _wide(b):
        return np.int64(b)

    @scalar
    def _short(i):
        return np.uint16(i)


@scalar
def from_bfloat16(b):
    """The float32 of bfloat16 bits: they are its upper half."""
    return _float(_wide(b) << 16)


@scalar
def to_bfloat16(x):
    """The bfloat16 bits nearest to a float32."""
    u = _int(np.float32(x))
    if u & 0x7FFFFFFF > _INFINITY:
        return _short(u >> 16 | 0x40)
    return _short((u + 0x7FFF + (u >> 16 & 1)) >> 16)


def _converts_float16():
    """Whether the processor that kernels are compiled for converts float16 itself."""
    chosen = numba.config.CPU_NAME or numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    if PYTHON_MODE or chosen:
        return False
    features = llvm.get_host_cpu_features()
    return bool(features.get("f16c")) or llvm.get_process_triple().startswith(("aarch64", "arm64"))


@intrinsic
def _from_float16(typingctx, b):
    """float16 bits as float32, by one instruction, which loops use for several elements."""

    def codegen(context, builder, signature, arguments):
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), codegen


@intrinsic
def _to_float16(typingctx, x):
    """The float16 bits nearest to a float32, by one instruction."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), codegen


@scalar
def from_float16_bits(b):
    """The float32 of float16 bits."""
    h = _wide(b)
    sign = (h & _SIGN) << 16
    magnitude = h & 0x7FFF
    if magnitude < 0x400:
        return _float(_int(np.float32(magnitude) * _SUBNORMAL_STEP) | sign)
    wide = (magnitude << 13) + (_HALF_BIAS if magnitude < 0x7C00 else 2 * _HALF_BIAS)
    return _float(wide | sign)


@scalar
def to_float16_bits(x):
    """The float16 bits nearest to a float32."""
    u = _int(np.float32(x))
    sign = u >> 16 & _SIGN
    magnitude = u & 0x7FFFFFFF
    if magnitude > _INFINITY:
        return _short(sign | 0x7E00 | magnitude >> 13 & 0x3FF)
    if magnitude >= _BEYOND_HALF:
        return _short(sign | 0x7C00)
    if magnitude < _SMALLEST_NORMAL_HALF:
        return _short(sign | _int(_float(magnitude) + _HALF) - _HALF_BITS)
    return _short(sign | (magnitude - _HALF_BIAS + 0xFFF + (magnitude >> 13 & 1)) >> 13)


if _converts_float16():

    @scalar
    def from_float16(b):
        """The float32 of float16 bits."""
        return _from_float16(np.uint16(b))

    @scalar
    def to_float16(x):
        """The float16 bits nearest to a float32."""
        return _to_float16(np.float32(x))

else:
    from_float16, to_float16 = from_float16_bits, to_float16_bits


@scalar
def from_complex32(b):
    """The complex64 of the bits of two float16 numbers, the real part below."""
    return np.complex64(complex(from_float16(np.uint16(b & np.uint32(0xFFFF))), from_float16(np.uint16(b >> np.uint32(16)))))


@scalar
def to_complex32(z):
    """The bits of a complex64's two parts as float16 numbers."""
    return np.uint32(np.uint32(to_float16(np.float32(z.real))) | np.uint32(to_float16(np.float32(z.imag))) << np.uint32(16))


# --- 8 bits: see `float8`, which says the same for arrays ------------------------------------------------------------------


@scalar
def _narrowed(x, fraction, bias, top, beyond, nan):
    """The code of a float32 with so many bits of fraction and this bias; ``beyond``: that from ``top`` on, float32 bits."""
    u = _int(np.float32(x))
    magnitude = u & 0x7FFFFFFF
    if magnitude > _INFINITY:
        code = nan
    elif magnitude >= top:
        code = beyond
    elif magnitude < (128 - bias) << 23:
        step = (151 - bias - fraction) << 23  # a float32 whose last place is the smallest number
        code = _int(_float(magnitude) + _float(step)) - step
    else:
        drop = 23 - fraction
        code = (magnitude + ((bias - 127) << 23) + (1 << (drop - 1)) - 1 + (magnitude >> drop & 1)) >> drop
    if nan == 0x80 and (code == 0 or code == nan):  # without a negative zero, whose code is NaN
        return code
    return code | (u >> 24 & 0x80)


@scalar
def _widened(b, fraction, bias):
    """The float32 of a code, those of infinities and NaN left out."""
    code = _wide(b)
    sign = (code & 0x80) << 24
    magnitude = code & 0x7F
    if magnitude >> fraction == 0:
        step = _float((128 - bias - fraction) << 23)  # the smallest number
        return _float(_int(np.float32(magnitude) * step) | sign)
    return _float((magnitude << (23 - fraction)) + ((127 - bias) << 23) | sign)


@scalar
def _byte(i):
    return np.uint8(i)


@scalar
def from_float8_e4m3fn(b):
    """The float32 of float8_e4m3fn bits."""
    return np.float32(np.nan) if _wide(b) & 0x7F == 0x7F else _widened(b, 3, 7)


@scalar
def to_float8_e4m3fn(x):
    """The float8_e4m3fn bits nearest to a float32; the largest number for larger ones."""
    return _byte(_narrowed(x, 3, 7, 0x43E80000, 0x7E, 0x7F))


@scalar
def from_float8_e5m2(b):
    """The float32 of float8_e5m2 bits."""
    code = _wide(b)
    if code & 0x7F >= 0x7C:
        return _float((code & 0x80) << 24 | _INFINITY | (code & 3) << 21)
    return _widened(b, 2, 15)


@scalar
def to_float8_e5m2(x):
    """The float8_e5m2 bits nearest to a float32."""
    return _byte(_narrowed(x, 2, 15, 0x47800000, 0x7C, 0x7F))


@scalar
def from_float8_e4m3fnuz(b):
    """The float32 of float8_e4m3fnuz bits."""
    return np.float32(np.nan) if _wide(b) == 0x80 else _widened(b, 3, 8)


@scalar
def to_float8_e4m3fnuz(x):
    """The float8_e4m3fnuz bits nearest to a float32; NaN for numbers that are too large."""
    return _byte(_narrowed(x, 3, 8, 0x43800000, 0x80, 0x80))


@scalar
def from_float8_e5m2fnuz(b):
    """The float32 of float8_e5m2fnuz bits."""
    return np.float32(np.nan) if _wide(b) == 0x80 else _widened(b, 2, 16)


@scalar
def to_float8_e5m2fnuz(x):
    """The float8_e5m2fnuz bits nearest to a float32; NaN for numbers that are too large."""
    return _byte(_narrowed(x, 2, 16, 0x47800000, 0x80, 0x80))
