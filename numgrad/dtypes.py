"""Element types, the promotion rules between them, and what each computes in."""

import functools
import math
from typing import Any

import numpy as np

from . import config, forks
from .float8 import FORMATS

# NumPy has no bfloat16: its storage is 16 bits under a name, which no arithmetic of NumPy accepts.
BITS = np.dtype([("bfloat16", np.uint16)])


class HalfPair(np.void):
    """The scalar type of what complex32 is stored as: two float16 numbers."""


PAIRS = np.dtype((HalfPair, [("real", np.float16), ("imag", np.float16)]))


class dtype:
    """An element type, as ``numgrad.float32``; one instance each, compared by identity.

    ``np`` is the NumPy dtype of its storage, ``itemsize`` its size in bytes, ``kind`` one of ``"b"`` (bool),
    ``"i"`` (integers), ``"f"`` (floating point) and ``"c"`` (complex), ``rank`` its place in the promotion order.
    ``compute`` is the NumPy scalar type that kernels compute in: float32 for the 16-bit formats, which are storage
    only, complex64 for complex32, else ``type``. ``encoded``: NumPy has no such dtype. ``differentiable``: floating point
    or complex. ``barebones``: uint16, uint32, uint64 or an 8-bit format, which few ops take. ``format``: that of 8 bits, if any. ``unprepared`` is what must happen before the
    first tensor of this dtype; the table of ops puts it there.
    """

    __slots__ = ("name", "np", "itemsize", "kind", "rank", "is_floating_point", "is_complex", "differentiable",
                 "encoded", "is_signed", "barebones", "format", "type", "one", "compute", "unprepared")  # fmt: skip

    def __init__(self, name, kind, rank):
        self.name, self.kind, self.rank = name, kind, rank
        self.format = FORMATS.get(name)
        encoded = {"bfloat16": BITS, "complex32": PAIRS}
        self.encoded = name in encoded or self.format is not None
        self.np = self.format.np if self.format is not None else encoded[name] if name in encoded else np.dtype(name)
        self.type = self.np.type
        self.compute: Any = np.float32 if kind == "f" and self.np.itemsize <= 2 else np.complex64 if name == "complex32" else self.type
        self.one = self.encode(np.array(1, self.compute))[()]
        self.itemsize = self.np.itemsize
        self.is_floating_point = kind == "f"
        self.is_complex = kind == "c"
        self.differentiable = kind in "fc"
        self.is_signed = kind in "fc" or (kind == "i" and not name.startswith("u"))
        self.barebones = name in ("uint16", "uint32", "uint64") or self.format is not None
        self.unprepared: Any = self._unprepared()

    def _unprepared(self):
        """The list that this dtype shares with those that need the same preparation, if it needs any."""
        if self.kind == "c":
            return [] if self.encoded else _unprepared_complex
        if self.format is not None:
            return _unprepared_8bit
        return _unprepared_unsigned if self.barebones else _unprepared_16bit if self.type is not self.compute else None

    @property
    def scalar_type(self) -> str:
        """The name that messages of PyTorch give it: Float, ComplexDouble."""
        return _SCALAR_TYPES[self.name]

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return _named, (self.name,)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def to_real(self):
        """The dtype of a complex dtype's parts; other dtypes are their own."""
        return self if self.kind != "c" else {"complex32": float16, "complex64": float32}.get(self.name, float64)

    def to_complex(self):
        """The complex dtype whose parts have this floating-point dtype."""
        if self.kind == "c":
            return self
        if self.kind != "f" or self.format is not None:
            raise RuntimeError(f"Unknown Complex ScalarType for {self.scalar_type}")
        return complex128 if self is float64 else complex32 if self is float16 else complex64

    def encode(self, array):
        """An ndarray of numbers as one of this dtype's storage."""
        if self.np is PAIRS and array.dtype != PAIRS:
            found = np.empty(np.shape(array), PAIRS)
            with np.errstate(over="ignore"):
                found["real"], found["imag"] = np.real(array), np.imag(array)
            return found
        if not self.encoded or array.dtype == self.np:
            if array.dtype.kind == "c" and self.kind not in "cb":
                array = array.real
            with np.errstate(over="ignore"):  # too large a number becomes infinite
                return array.astype(self.np)
        if self.format is not None:
            return self.format.encode(array.real)
        wide = np.ascontiguousarray(array, np.float32).view(np.uint32)
        rounded = (wide.astype(np.uint64) + 0x7FFF + (wide >> 16 & 1)) >> 16
        rounded = np.where(wide & 0x7FFFFFFF > 0x7F800000, wide >> 16 | 0x40, rounded)
        return rounded.astype(np.uint16).view(BITS).reshape(np.shape(array))

    def decode(self, array):
        """An ndarray of this dtype's storage as one of numbers: bfloat16 and 8 bits become float32, complex32 complex64."""
        if not self.encoded:
            return array
        if self.format is not None:
            return self.format.decode(array)
        if self.np is PAIRS:
            found = np.empty(array.shape, np.complex64)
            found.real, found.imag = array["real"], array["imag"]
            return found
        wide = np.ascontiguousarray(array).view(np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(np.shape(array))


class quantized(dtype):
    """``quint8``, ``qint8`` and ``qint32``: integers that stand for ``(q - zero_point) * scale``.

    Observers carry them to say for which numbers they choose scales; their limits are those of ``iinfo``. Tensors are
    quantized in floating point only (`fake_quantize_per_tensor_affine`): one of such a dtype is an error, as is
    promotion with it.
    """

    __slots__ = ()

    def __init__(self, name, stored):
        super().__init__(stored, "i", 1)
        self.name = name
        self.unprepared = [self.refuse]

    def refuse(self):
        """RuntimeError: no tensor has this dtype."""
        raise RuntimeError(
            f"{self!r} is a dtype that observers carry, and no tensor has it; quantize in floating point with "
            f"numgrad.fake_quantize_per_tensor_affine, or hold whole numbers in numgrad.{self.np.name}"
        )


_SCALAR_TYPES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long", "float16": "Half",
    "bfloat16": "BFloat16", "float32": "Float", "float64": "Double", "complex32": "ComplexHalf", "complex64": "ComplexFloat",
    "complex128": "ComplexDouble", "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64",
    "quint8": "QUInt8", "qint8": "QInt8", "qint32": "QInt32",
    **{name: name.capitalize() for name in FORMATS},
}  # fmt: skip


def _element_size(dtype) -> int:
    """The size of one element in bytes."""
    return as_dtype(dtype).itemsize


def _named(name):
    return BY_NAME[name]


_unprepared_16bit: list = []
_unprepared_complex: list = []
_unprepared_unsigned: list = []
_unprepared_8bit: list = []


bool_ = dtype("bool", "b", 0)
uint8 = dtype("uint8", "i", 1)
int8 = dtype("int8", "i", 2)
int16 = dtype("int16", "i", 3)
int32 = dtype("int32", "i", 4)
int64 = dtype("int64", "i", 5)
float16 = dtype("float16", "f", 6)
bfloat16 = dtype("bfloat16", "f", 6)
float32 = dtype("float32", "f", 7)
float64 = dtype("float64", "f", 8)
complex32 = dtype("complex32", "c", 9)
complex64 = dtype("complex64", "c", 10)
complex128 = dtype("complex128", "c", 11)
uint16, uint32, uint64 = (dtype(name, "i", 5) for name in ("uint16", "uint32", "uint64"))
float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz = (dtype(name, "f", 6) for name in FORMATS)

ALL = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex32, complex64, complex128,
       uint16, uint32, uint64, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz)  # fmt: skip
quint8, qint8, qint32 = quantized("quint8", "uint8"), quantized("qint8", "int8"), quantized("qint32", "int32")
BY_NAME = {d.name: d for d in (*ALL, quint8, qint8, qint32)}
BY_NUMPY = {d.np: d for d in ALL}
PYTHON = {bool: bool_, int: int64, float: float64, complex: complex128}

_default = float32

_preparing = forks.lock("dtypes")


def prepare(d: dtype) -> None:
    """Do what must happen before the first tensor of dtype ``d``, unless it is done."""
    with _preparing:  # another thread's first tensor waits
        while d.unprepared:
            d.unprepared[0]()
            d.unprepared.pop(0)


def get_default_dtype() -> dtype:
    """The dtype of floating-point tensors made without one: float32 unless `set_default_dtype` changed it."""
    return _default


def default_complex() -> dtype:
    """The dtype of tensors made of Python's complex numbers: its parts have the default dtype."""
    return _default.to_complex()


def set_default_dtype(d: dtype) -> None:
    """Make ``d``, a floating-point dtype, the dtype of floating-point tensors made without one."""
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype: expected a floating-point dtype, got {d!r}; use float32 or float64")
    if d is not _default:
        _default = d
        for forget in config._on_change:  # plans of integers and numbers were made for the other one
            forget()


def of(numpy_dtype) -> dtype:
    """The dtype of a NumPy dtype (or of anything that ``np.dtype`` accepts)."""
    found = BY_NUMPY.get(numpy_dtype)
    if found is None:
        numpy_dtype = np.dtype(numpy_dtype)
        found = BY_NUMPY.get(numpy_dtype.newbyteorder("="))
    if found is None:
        raise TypeError(
            f"numgrad has no dtype for NumPy's {numpy_dtype}; supported: {', '.join(d.name for d in ALL)}. "
            "Convert the array first, for example with .astype('float32')."
        )
    return found


def as_dtype(value) -> dtype:
    """``value`` itself if it is a dtype that tensors have; Python's types name theirs, float is float64; else a TypeError."""
    if type(value) is dtype:
        return value
    if isinstance(value, quantized):
        value.refuse()
    if isinstance(value, type) and value in PYTHON:
        return PYTHON[value]
    raise TypeError(f"expected a numgrad dtype such as numgrad.float32, got {value!r}")


def promote(a: dtype, b: dtype) -> dtype:
    """The dtype that can hold both, by PyTorch's table (``promote_types``)."""
    if a is b:
        return a
    if isinstance(a, quantized) or isinstance(b, quantized):
        raise RuntimeError(
            f"promote_types: quantized dtypes are not promoted, got {a!r} and {b!r}; quantize in floating point with "
            "numgrad.fake_quantize_per_tensor_affine"
        )
    if a.format is not None or b.format is not None:
        raise RuntimeError(
            f"Promotion for Float8 Types is not supported, attempted to promote {a.scalar_type} and {b.scalar_type}; convert one "
            "with .to(...)"
        )
    if a.barebones or b.barebones:
        if a.is_floating_point or b.is_floating_point:
            return a if a.is_floating_point else b
        raise RuntimeError(
            "Promotion for uint16, uint32, uint64 types is not supported, attempted to promote "
            f"{a.name} and {b.name}; convert one with .to(...)"
        )
    if a.kind == b.kind == "i" and (a is uint8 or b is uint8):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    if a.kind == "c" and b.kind == "f" or a.kind == "f" and b.kind == "c":
        a, b = (d.to_complex() if d.kind == "f" else d for d in (a, b))
    if a is b:
        return a
    if a.rank == b.rank:
        return float32  # neither 16-bit format holds the other
    return a if a.rank > b.rank else b


_CATEGORY = {"b": 0, "i": 1, "f": 2, "c": 3}


def python_number(value):
    """A NumPy scalar as the Python number that it is; anything else as it is. Some NumPy scalars are Python numbers too,
    by class, but complex64 is no `complex`, and float32 no `float`."""
    if isinstance(value, np.generic):
        kind = value.dtype.kind
        return complex(value) if kind == "c" else float(value) if kind == "f" else value.item()
    return value


def of_python(value) -> dtype:
    """The dtype that a Python number stands for."""
    value = python_number(value)
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    return default_complex() if isinstance(value, complex) else _default


def result(operands) -> dtype:
    """The result dtype of tensors and numbers: an iterable of ``(dtype, level)``.

    Level 2 is a tensor with dimensions, 1 a 0-d tensor, 0 a Python number; a lower level only counts if its
    category (bool < integer < floating point < complex) is higher than that of all levels above it.
    """
    by_level: list = [None, None, None]
    for d, level in operands:
        known = by_level[level]
        by_level[level] = d if known is None else promote(known, d)
    out = None
    for d in (by_level[2], by_level[1], by_level[0]):
        if d is None:
            continue
        if out is None:
            out = d
        elif _CATEGORY[d.kind] > _CATEGORY[out.kind]:
            if d.kind == "c" and out.kind == "f":
                out = out.to_complex()  # of the parts that are known
            else:
                out = promote(out, d) if d is not by_level[0] else (d if d.kind != "f" else _default)
    return out


@functools.cache
def bounds(d: dtype) -> tuple:
    """The smallest and the largest number that may be given for an element of ``d``; numbers below 0 may be given for
    unsigned ones, down to minus the largest, and wrap round, as in PyTorch."""
    if d.kind == "i":
        info = iinfo(d)
        return (info.min if info.min else -info.max), info.max
    if d.kind == "b":
        return -math.inf, math.inf
    largest = finfo(d.to_real()).max
    return -largest, largest


def check_number(op, value, d: dtype) -> None:
    """RuntimeError if the Python number ``value`` is none that ``d`` can hold: too large, NaN for integers, complex for
    reals. Infinities are floating-point numbers."""
    low, high = bounds(d)
    if isinstance(value, complex):
        held = d.kind in "bc" or value.imag == 0
        number = value.real if d.kind != "c" else max(abs(value.real), abs(value.imag))
    else:
        held, number = True, value
    if not held or not (low <= number <= high or d.kind != "i" and (number != number or abs(number) == math.inf)):
        raise RuntimeError(f"{op}(): value {value} cannot be converted to type {d.name} without overflow")


def fits_slot(value) -> bool:
    """Whether a kernel's slot holds the Python number ``value`` as it is: integers have 64 bits, with a sign."""
    return type(value) is not int or -(1 << 63) <= value < 1 << 63


def slot_number(op, value, real: bool) -> int | float:
    """What stands in a slot for an integer that does not fit it: a float for a kernel that computes in ``real`` numbers, the
    same 64 bits for integers; RuntimeError if it has more."""
    if real:
        return float(value)
    if not 0 <= value < 1 << 64:
        raise RuntimeError(f"{op}(): value {value} cannot be converted to type int64 without overflow")
    return value - (1 << 64)


def number_for(op, value, d: dtype):
    """The Python number ``value`` as a factor of elements of ``d``: RuntimeError if ``d`` cannot hold it."""
    value = python_number(value)
    if d.differentiable:
        check_number(op, value, d)
    return value.real if type(value) is complex and not d.is_complex else value


def can_cast(source: dtype, target: dtype) -> bool:
    """Whether PyTorch lets a ``source`` result be written into a ``target`` tensor: never down a category."""
    return _CATEGORY[source.kind] <= _CATEGORY[target.kind]


class _Limits:
    """Limits of a dtype, equal to others with the same numbers."""

    def __eq__(self, other):
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self):
        return hash(tuple(vars(self).values()))


class finfo(_Limits):
    """Limits of a floating-point dtype: bits, eps, max, min, tiny, smallest_normal, resolution."""

    def __init__(self, type: dtype | None = None):
        d = (_default if type is None else type if isinstance(type, quantized) else as_dtype(type)).to_real()
        if not d.is_floating_point:
            raise TypeError(f"finfo: expected a floating-point dtype, got {d!r}; use iinfo for integers")
        self.dtype = d.name
        if d is bfloat16:
            self.bits, self.eps, self.resolution = 16, 2.0**-7, 0.01
            self.max = (2 - self.eps) * 2.0**127
            self.min, self.tiny, self.smallest_normal = -self.max, 2.0**-126, 2.0**-126
            return
        if d.format is not None:
            numbers = d.format.numbers[np.isfinite(d.format.numbers)]
            self.bits, self.eps, self.resolution = 8, 2.0**-d.format.fraction, 1.0
            self.max, self.min = float(numbers.max()), float(numbers.min())
            self.tiny = self.smallest_normal = 2.0 ** (1 - d.format.bias)
            return
        info = np.finfo(d.name)
        self.bits = info.bits
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(str(info.resolution))

    def __repr__(self):
        fields = ", ".join(
            f"{k}={v:g}" for k, v in (("resolution", self.resolution), ("min", self.min), ("max", self.max),
                                      ("eps", self.eps), ("smallest_normal", self.tiny), ("tiny", self.tiny))
        )  # fmt: skip
        return f"finfo({fields}, dtype={self.dtype})"


class iinfo(_Limits):
    """Limits of an integer dtype: bits, min, max."""

    def __init__(self, type: dtype):
        d = type if isinstance(type, quantized) else as_dtype(type)
        if d.kind != "i":
            raise TypeError(f"iinfo: expected an integer dtype, got {d!r}; use finfo for floating point")
        info = np.iinfo(d.np.name)
        self.bits, self.dtype, self.min, self.max = info.bits, d.name, int(info.min), int(info.max)

    def __repr__(self):
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
