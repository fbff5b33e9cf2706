"""Creation of tensors from data, constants and ranges."""

import functools
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..device import CPU, resolve
from ..layout import contiguous_format, geometry, preserve_format
from ..op import ENTRIES, function, method
from ..storage import meta, strided_meta
from ..tensor import Tensor, empty_tensor, from_array, make, storage_of
from .copy import like as like_meta
from .view import sizes

# --- from data ---------------------------------------------------------------------------------------------------


def _from_data(op, data, dtype):
    """A CPU tensor with a copy of ``data``: numbers, nested sequences, ndarrays, or sequences of tensors."""
    d = None if dtype is None else dtypes.as_dtype(dtype)
    if isinstance(data, Tensor):
        d = d or data._m.dtype
        array = np.array(data._host())
    elif isinstance(data, (bool, int, float, complex)) and not isinstance(data, np.generic):
        d = d or dtypes.of_python(data)
        array = _python_array(op, data, d)
        return make(array.reshape(1), meta(d, ()))
    elif isinstance(data, np.ndarray) or isinstance(data, np.generic):
        array = np.array(data)
    elif hasattr(data, "__array__") or hasattr(data, "__array_interface__"):
        array = np.array(data)
    elif isinstance(data, (list, tuple, range)) or hasattr(data, "__len__") and not isinstance(data, (dict, set)):
        array, found = _sequence(op, data)
        d = d or found
    else:
        raise RuntimeError(f"{op}(): Could not infer dtype of {type(data).__name__}")
    if d is not None and array.dtype != d.np:
        array = d.encode(array)
    return from_array(np.ascontiguousarray(array).reshape(array.shape))


def _python_array(op, value, d):
    if isinstance(value, complex) and not d.is_complex:
        raise RuntimeError(f"{op}(): value {value} cannot be converted to type {d!r} without overflow; pass a complex dtype")
    try:
        return d.encode(np.array(value, d.compute)) if d.kind != "i" or not isinstance(value, float) else np.array(int(value), d.np)
    except OverflowError:
        kind = ValueError if d is dtypes.int64 else RuntimeError
        raise kind(f"{op}(): value {value} cannot be converted to type {d!r} without overflow") from None


def _sequence(op, data):
    """The numbers of a sequence as precisely as they are given, and the dtype that they have unless one is asked for."""
    plain = _as_plain(data)
    try:
        array = np.array(plain)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{op}(): expected a rectangular sequence of numbers: {error}") from None
    if array.dtype == object and array.size and array.reshape(-1)[0] is None:
        raise RuntimeError(f"{op}(): Could not infer dtype of NoneType")
    if array.dtype.kind in "US" and isinstance(data, (list, tuple)):
        raise ValueError(f"{op}(): too many dimensions 'str': expected numbers in the sequence, got {data!r:.80}")
    if array.dtype.kind in "USO":
        raise TypeError(f"{op}(): expected numbers in the sequence, got an element of another type in {data!r:.80}")
    if array.dtype.kind == "u" and array.dtype == np.uint64:
        raise RuntimeError(f"{op}(): Overflow when unpacking long")
    found = _dtypes_in(data) if array.size else ()
    return array, functools.reduce(dtypes.promote, found) if found else dtypes.get_default_dtype()


_PYTHONS = {bool, int, float, complex}
_SEQUENCES = {list, tuple}


def _dtypes_in(data) -> set:
    """The dtypes of the numbers in nested sequences: Python's own count as the default ones, as they would alone."""
    if isinstance(data, Tensor):
        return {data._m.dtype}
    if isinstance(data, (np.ndarray, np.generic)):
        return {dtypes.of(data.dtype)}
    if not isinstance(data, (list, tuple)):
        return {dtypes.of_python(data)} if isinstance(data, (bool, int, float, complex)) else _dtypes_in(list(data))
    kinds = set(map(type, data))
    while kinds <= _SEQUENCES and kinds:
        data = list(itertools.chain.from_iterable(data))
        kinds = set(map(type, data))
    if kinds <= _PYTHONS:
        return {dtypes.of_python(kind()) for kind in kinds}
    return set().union(*map(_dtypes_in, data))


def _as_plain(data):
    if isinstance(data, Tensor):
        return data._host() if data._m.ndim else data._host()[()] if data._m.dtype.differentiable else data.item()
    if isinstance(data, (list, tuple)) and any(isinstance(item, (Tensor, list, tuple)) for item in data):
        return [_as_plain(item) for item in data]
    return data


def _finish(tensor, device, requires_grad):
    if device is not CPU:
        tensor = tensor.to(device)
    return tensor.requires_grad_() if requires_grad else tensor


def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A tensor with a copy of ``data``: a number, a nested sequence, an ndarray or a tensor.

    The dtype is inferred unless given: Python floats become the default dtype, ints int64, bools bool; ndarrays keep
    theirs.
    """
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than numgrad.tensor(sourceTensor).", stacklevel=2,
        )  # fmt: skip
        if device is None:
            device = data._m.device
    return _finish(_from_data("tensor", data, dtype), resolve(device), requires_grad)


def as_tensor(data, dtype=None, device=None) -> Tensor:
    """``data`` as a tensor, sharing memory where it is a tensor or an ndarray of the wanted dtype and device."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    device = resolve(device)
    if isinstance(data, np.ndarray):
        found = from_numpy(data) if _shareable(data) else from_array(np.array(data))
        return found.to(dtype=dtype, device=device)
    return _finish(_from_data("as_tensor", data, dtype), device, False)


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False) -> Tensor:
    """``obj`` as a tensor; ``copy`` forces (True) or forbids (False) a copy."""
    found = as_tensor(obj, dtype, device)
    shared = isinstance(obj, Tensor) and found._d is obj._d or isinstance(obj, np.ndarray) and np.shares_memory(found._d, obj)
    if copy and shared:
        found = found.detach().clone()
    elif copy is False and not shared:
        raise ValueError("asarray: can't alias the given object with these dtype and device; pass copy=None or True")
    elif isinstance(obj, Tensor) and not requires_grad:
        found = found.detach()
    return found.requires_grad_() if requires_grad else found


def _shareable(array):
    size = array.itemsize
    return array.dtype.isnative and all(step >= 0 and step % size == 0 for step in array.strides)


def from_numpy(ndarray) -> Tensor:
    """A tensor over the memory of an ndarray, with its dtype, shape and strides."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if not _shareable(ndarray):
        raise ValueError(
            "from_numpy: at least one stride in the given array is negative or no whole number of elements; make a copy "
            "with .copy() first"
        )
    if not ndarray.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable, and numgrad tensors are: writing to this tensor is undefined. Copy the "
            "array to silence this warning.", stacklevel=2,
        )  # fmt: skip
    found = from_array(ndarray)
    storage_of(found).resizable = False
    return found


def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False) -> Tensor:
    """A 1-d tensor over an object with Python's buffer protocol; ``offset`` in bytes."""
    found = from_array(np.frombuffer(buffer, dtypes.as_dtype(dtype).np, count, offset))
    return found.requires_grad_() if requires_grad else found


# --- constants ---------------------------------------------------------------------------------------------------


def _meta(op, size, dtype, device):
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    shape = sizes(op, size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"{op}: Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    return meta(d, shape, resolve(device))


def _filled(m, value, requires_grad):
    found = empty_tensor(m)
    if isinstance(value, complex) and not m.dtype.is_complex:
        raise RuntimeError(f"value {value} cannot be converted to type {m.dtype!r} without overflow; use a complex dtype")
    if m.device is CPU:
        found._d.fill(value if m.np is not dtypes.BITS else m.dtype.encode(np.asarray(value))[()])
    else:
        ENTRIES["fill_"](found, value)
    return found.requires_grad_() if requires_grad else found


def empty(*size, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, memory_format=None) -> Tensor:
    """An uninitialised tensor."""
    if out is not None:
        return out.resize_(sizes("empty", size))
    found = empty_tensor(_in_format("empty", _meta("empty", size, dtype, device), memory_format))
    return found.requires_grad_() if requires_grad else found


def _in_format(op, m, memory_format):
    """The meta in ``memory_format``: row-major unless another one is asked for."""
    if memory_format is None or memory_format in (contiguous_format, preserve_format):
        return m
    return strided_meta(m.dtype, m.shape, memory_format.strides(op, m.shape), m.device)


def zeros(*size, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A tensor of zeros."""
    if out is not None:
        return out.resize_(sizes("zeros", size)).zero_()
    return _filled(_meta("zeros", size, dtype, device), 0, requires_grad)


def ones(*size, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A tensor of ones."""
    if out is not None:
        return out.resize_(sizes("ones", size)).fill_(1)
    return _filled(_meta("ones", size, dtype, device), 1, requires_grad)


def full(size, fill_value, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A tensor of one value; the dtype is that of the value unless given."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    if out is not None:
        return out.resize_(sizes("full", (size,))).fill_(fill_value)
    d = dtypes.of_python(fill_value) if dtype is None else dtype
    return _filled(_meta("full", (size,), d, device), fill_value, requires_grad)


def _like_meta(name, m, dtype, device, memory_format):
    d = m.dtype if dtype is None else dtypes.as_dtype(dtype)
    return like_meta(name, m, d, m.device if device is None else resolve(device), memory_format)


def _like(name, fill, doc) -> Callable[..., Any]:
    def like(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, pin_memory=False) -> Tensor:
        m = input._m
        wanted = _like_meta(name, m, dtype, device, memory_format)
        if fill is None:
            found = empty_tensor(wanted)
            return found.requires_grad_() if requires_grad else found
        return _filled(wanted, fill, requires_grad)

    like.__name__ = like.__qualname__ = name
    like.__doc__ = doc
    return function(like, install=("ng",))


empty_like = _like("empty_like", None, "An uninitialised tensor with shape, dtype and device of ``input``.")
zeros_like = _like("zeros_like", 0, "Zeros with shape, dtype and device of ``input``.")
ones_like = _like("ones_like", 1, "Ones with shape, dtype and device of ``input``.")


@function(install=("ng",))
def full_like(input, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, pin_memory=False) -> Tensor:
    """One value in a tensor with shape, dtype and device of ``input``."""
    m = input._m
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    return _filled(_like_meta("full_like", m, dtype, device, memory_format), fill_value, requires_grad)


def _new(name, make_one):
    def new(self, *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False) -> Tensor:
        m = self._m
        return make_one(*size, dtype=dtype or m.dtype, device=device or m.device, requires_grad=requires_grad)

    new.__name__ = new.__qualname__ = name
    new.__doc__ = f"`{make_one.__name__}` in this tensor's dtype and on its device."
    return method(new)


_new("new_empty", empty)
_new("new_zeros", zeros)
_new("new_ones", ones)


@method
def new_full(self, size, fill_value, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False) -> Tensor:
    """`full` in this tensor's dtype and on its device."""
    return full(size, fill_value, dtype=dtype or self._m.dtype, device=device or self._m.device, requires_grad=requires_grad)


@method
def new_empty_strided(self, size, stride, dtype=None, *, layout=None, device=None, pin_memory=False, requires_grad=False) -> Tensor:
    """`empty_strided` in this tensor's dtype and on its device."""
    return empty_strided(size, stride, dtype=dtype or self._m.dtype, device=device or self._m.device, requires_grad=requires_grad)


@method
def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False) -> Tensor:
    """`tensor` in this tensor's dtype and on its device."""
    d, device = dtype or self._m.dtype, resolve(device or self._m.device)
    return _finish(_from_data("new_tensor", data, d), device, requires_grad)


@method(name="new")
def _new_of(self, *args, device=None) -> Tensor:
    """Of this tensor's dtype and device: uninitialised for sizes, a copy for a sequence, an alias for a tensor (deprecated
    in favour of `new_empty` and `new_tensor`)."""
    if len(args) == 1 and isinstance(args[0], Tensor):
        if args[0]._m.dtype is not self._m.dtype:
            raise TypeError(f"new: expected a tensor of {self._m.dtype!r}, got {args[0]._m.dtype!r}; convert it with .to()")
        return args[0].detach()
    if len(args) == 1 and (isinstance(args[0], (list, np.ndarray)) or type(args[0]) is tuple):
        return self.new_tensor(args[0], device=device)
    return self.new_empty(*args or (0,), device=device)


@function(install=("ng",))
def scalar_tensor(s, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A 0-d tensor of a number, of the default dtype unless given."""
    return _filled(_meta("scalar_tensor", ((),), dtype, device), s, requires_grad)


@function(install=("ng",))
def empty_strided(size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """An uninitialised tensor with the strides given."""
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    m = strided_meta(d, *geometry("empty_strided", size, stride), resolve(device))
    found = make(m.empty(m.span, m.np), m)
    return found.requires_grad_() if requires_grad else found


# --- ranges ------------------------------------------------------------------------------------------------------


def _number(value):
    return value.item() if isinstance(value, (Tensor, np.generic)) else value


def arange(start, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """``start, start + step, ...`` below ``end``; int64 unless one of them is a float."""
    if end is None:
        start, end = 0, start
    start, end, step = _number(start), _number(end), _number(step)
    floating = any(isinstance(value, float) for value in (start, end, step))
    d = dtypes.as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype() if floating else dtypes.int64
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if not all(math.isfinite(value) for value in (start, end)):
        raise RuntimeError(f"arange: unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError(f"arange: upper bound and lower bound inconsistent with step sign: {start}, {end}, {step}")
    if d.kind == "i":
        start, end, step = int(start), int(end), int(step)
        count = max(0, -(-(end - start) // step))
        array = d.encode(np.arange(count, dtype=np.int64) * step + start)
    else:
        count = max(0, math.ceil((end - start) / step))
        array = d.encode(np.arange(count, dtype=np.float64) * step + start)
    found = _finish(from_array(array), resolve(device), requires_grad)
    return found if out is None else ENTRIES["write_out"]("arange", found, out)


def range_(start=0, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """``start, start + step, ...`` up to and including ``end`` (deprecated in favour of `arange`)."""
    if end is None:
        start, end = 0, start
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    count = int(math.floor((end - start) / step)) + 1
    return _finish(from_array(d.encode(np.arange(count, dtype=np.float64) * step + start)), resolve(device), requires_grad)


def _spaced(start, end, steps, d):
    """``steps`` evenly spaced values; symmetric halves, so that both ends are exact."""
    k = np.arange(steps)
    if d.kind == "i":
        start, end = int(start), int(end)
    if steps == 1:
        return np.array([start], np.float64)
    step = (end - start) / (steps - 1)
    if d is dtypes.float32:
        start, end, step = np.float32(start), np.float32(end), np.float32((np.float32(end) - np.float32(start)) / np.float32(steps - 1))
        k = k.astype(np.float32)
    return np.where(k < steps // 2, start + step * k, end - step * (steps - 1 - k))


def _steps(op, steps):
    """The number of steps as an int; a float is refused."""
    if not hasattr(steps, "__index__"):
        raise TypeError(f"{op}(): argument 'steps' must be int, not {type(steps).__name__}")
    steps = steps.__index__()
    if steps < 0:
        raise RuntimeError(f"{op}: number of steps must be non-negative, got {steps}")
    return steps


def linspace(start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """``steps`` evenly spaced values from ``start`` to ``end``."""
    steps = _steps("linspace", steps)
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    array = _spaced(_number(start), _number(end), int(steps), d)
    found = _finish(from_array(d.encode(array)), resolve(device), requires_grad)
    return found if out is None else ENTRIES["write_out"]("linspace", found, out)


def logspace(start, end, steps, base=10.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """``base`` to the power of ``steps`` evenly spaced exponents."""
    steps = _steps("logspace", steps)
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    start, end = _number(start), _number(end)
    if d.kind == "i":
        start, end = int(start), int(end)
    array = np.power(float(base), _spaced(start, end, int(steps), dtypes.float64))
    found = _finish(from_array(d.encode(array)), resolve(device), requires_grad)
    return found if out is None else ENTRIES["write_out"]("logspace", found, out)


def eye(n, m=None, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """A matrix with ones on the diagonal."""
    m = n if m is None else m
    if n < 0 or m < 0:
        raise RuntimeError(f"eye: n and m must be greater or equal to 0, got {n} and {m}")
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    found = _finish(from_array(d.encode(np.eye(n, m, dtype=d.compute))), resolve(device), requires_grad)
    return found if out is None else ENTRIES["write_out"]("eye", found, out)


@function(install=("ng",))
def is_tensor(obj) -> bool:
    """Whether ``obj`` is a Tensor."""
    return isinstance(obj, Tensor)


@function
def numel(input) -> int:
    """The number of elements."""
    return input._m.numel


@function
def is_floating_point(input) -> bool:
    """Whether the dtype is a floating-point one."""
    return input._m.dtype.is_floating_point


@function
def is_nonzero(input) -> bool:
    """Whether the one element is not 0."""
    if input._m.numel != 1:
        raise RuntimeError(f"Boolean value of Tensor with {'no values' if not input._m.numel else 'more than one value'} is ambiguous")
    return bool(input.item())


def result_type(tensor1, tensor2):
    """The dtype that an operation on the two (tensors or numbers) would give."""
    return dtypes.result(
        (value._m.dtype, 2 if value._m.ndim else 1) if isinstance(value, Tensor) else (dtypes.of_python(value), 0)
        for value in (tensor1, tensor2)
    )
