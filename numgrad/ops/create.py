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
from ..inplace import warn_of_resize
from ..layout import contiguous_format, contiguous_strides, geometry, integer, integers, preserve_format
from ..op import ENTRIES, as_tensor_operand, function, method
from ..storage import check_memory, meta, strided_meta
from ..storages import elements, is_storage
from ..tensor import Tensor, empty_tensor, from_array, make, storage_of
from . import uninitialized
from .copy import like as like_meta, write
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
    elif hasattr(data, "__dlpack__"):
        from .interchange import from_dlpack

        return _from_data(op, from_dlpack(data), dtype)
    elif is_storage(data):
        wanted = dtypes.get_default_dtype() if d is None else d
        return from_array(np.array(elements("storage", data, wanted).cpu()._d))
    elif isinstance(data, (list, tuple, range)) or hasattr(data, "__len__") and not isinstance(data, (dict, set)):
        if d is dtypes.uint64:  # whose upper half NumPy takes for floats beside smaller numbers
            try:
                return from_array(np.array(_as_plain(_listed(op, data)), np.uint64))
            except OverflowError as error:
                raise OverflowError(f"{op}(): {error}; uint64 holds 0 to 2**64 - 1") from None
        array, found = _sequence(op, _listed(op, data))
        d = d or found
        _check_range(op, array, d)
    else:
        raise RuntimeError(f"{op}(): Could not infer dtype of {type(data).__name__}")
    if d is not None and array.dtype != d.np:
        array = d.encode(array)
    return from_array(np.ascontiguousarray(array).reshape(array.shape))


def _python_array(op, value, d):
    """A Python number as an array of no dimensions. Floating-point dtypes round what is too large to infinity."""
    if d is dtypes.int64 and isinstance(value, int):
        try:
            return np.array(value, np.int64)
        except OverflowError:
            raise ValueError(f"{op}(): value {value} cannot be converted to type {d!r} without overflow") from None
    if d.kind in "ib" or isinstance(value, complex):
        if d is dtypes.uint64 and not isinstance(value, complex) and value < 0:  # in the other unsigned dtypes they wrap, as in PyTorch
            raise OverflowError(f"{op}(): can't convert negative int to unsigned: got {value} for dtype {d!r}")
        dtypes.check_number(op, value, d)
        return d.encode(np.array(value)) if d.kind != "f" else d.encode(np.array(value.real, d.compute))
    return d.encode(np.array(float(value), np.float64).astype(d.compute) if d.kind == "f" else np.array(value, d.compute))


def _check_range(op, array, d):
    """As `dtypes.check_number`, for the numbers of a sequence that are to become integers."""
    if d.kind != "i" or array.dtype.kind not in "iuf" or not array.size:
        return
    low, high = dtypes.bounds(d)
    wrong = ~((array >= low) & (array <= high))
    if wrong.any():
        dtypes.check_number(op, array[wrong].reshape(-1)[0].item(), d)


def _listed(op, data):
    """A sequence of any class as a list."""
    if isinstance(data, (list, tuple, range, str, bytes)):
        return data
    try:
        return [data[k] for k in range(len(data))]
    except Exception:
        raise ValueError(f"{op}(): could not determine the shape of object type '{type(data).__name__}'") from None


def _sequence(op, data):
    """The numbers of a sequence as precisely as they are given, and the dtype that they have unless one is asked for."""
    plain = _as_plain(data)
    try:
        array = np.array(plain)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{op}(): expected sequence of length that is the same everywhere, a rectangular sequence of numbers: {error}") from None
    if array.dtype == object and array.size and array.reshape(-1)[0] is None:
        raise RuntimeError(f"{op}(): Could not infer dtype of NoneType")
    if array.dtype.kind in "US" and isinstance(data, (list, tuple)):
        raise ValueError(f"{op}(): too many dimensions 'str': expected numbers in the sequence, got {data!r:.80}")
    if array.dtype == object and all(isinstance(value, (bool, int, float)) for value in array.flat):
        if not any(isinstance(value, float) for value in array.flat):
            raise ValueError(f"{op}(): Overflow when unpacking long long: an integer of more than 64 bits in {data!r:.80}")
        array = array.astype(np.float64)
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
        if data._m.numel != 1:
            return data._host()
        return data._host().reshape(())[()] if data._m.dtype.differentiable else data.item()  # whatever its dimensions
    if isinstance(data, (list, tuple)) and any(isinstance(item, (Tensor, list, tuple)) for item in data):
        return [_as_plain(item) for item in data]
    return data


def _finish(tensor, device, requires_grad):
    if requires_grad and not tensor._m.dtype.differentiable:
        raise RuntimeError(f"Only Tensors of floating point and complex dtype can require gradients, got {tensor._m.dtype!r}")
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
        found = from_numpy(data) if shareable(data) else from_array(np.array(data))
        return found.to(dtype=dtype, device=device)
    return _finish(_from_data("as_tensor", data, dtype), device, False)


def shareable(array):
    """Whether a tensor can lie over an ndarray: its bytes are in this machine's order, its strides whole elements."""
    size = array.itemsize
    return array.dtype.isnative and all(step >= 0 and step % size == 0 for step in array.strides)


def from_numpy(ndarray) -> Tensor:
    """A tensor over the memory of an ndarray, with its dtype, shape and strides."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if not shareable(ndarray):
        raise ValueError(
            "from_numpy: at least one stride in the given array is negative or no whole number of elements; make a copy "
            "with .copy() first"
        )
    warn_read_only("NumPy array", ndarray)
    found = from_array(ndarray)
    storage_of(found).resizable = False
    return found


def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False) -> Tensor:
    """A 1-d tensor over the memory of an object with Python's buffer protocol: ``count`` elements (-1: all) from byte
    ``offset`` on. Warns of memory that must not be written to; ValueError where the elements are not inside it."""
    d = dtypes.as_dtype(dtype)
    count, offset = integer("frombuffer", "count", count), integer("frombuffer", "offset", offset)
    try:
        size = memoryview(buffer).nbytes
    except TypeError:
        raise ValueError(
            f"object does not implement Python buffer protocol: frombuffer: expected bytes, an array or the like, got "
            f"{type(buffer).__name__}"
        ) from None
    if not size or not count:
        raise ValueError(f"both buffer length ({size}) and count ({count}) must not be 0")
    if not 0 <= offset < size:
        raise ValueError(f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({size} bytes) - 1")
    if count < 0 and (size - offset) % d.itemsize:
        raise ValueError(
            f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a multiple of element size "
            f"({d.itemsize})"
        )
    if count > 0 and offset + count * d.itemsize > size:
        raise ValueError(
            f"requested buffer length ({count} * {d.itemsize} bytes) after offset ({offset} bytes) must not be greater than "
            f"actual buffer length ({size} bytes)"
        )
    array = np.frombuffer(buffer, d.np, max(count, -1), offset)
    warn_read_only("buffer", array)
    found = from_array(array)
    storage_of(found).resizable = False
    return found.requires_grad_() if requires_grad else found


def warn_read_only(kind, array):
    """PyTorch's warning where memory that must not change becomes a tensor's."""
    if not array.flags.writeable:
        warnings.warn(
            f"The given {kind} is not writable, and numgrad tensors are: writing to this tensor is undefined. Copy it to "
            "silence this warning.", stacklevel=3,
        )  # fmt: skip


# --- constants ---------------------------------------------------------------------------------------------------


def _meta(op, size, dtype, device):
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    return meta(d, sizes(op, size), resolve(device))


def _filled(m, value, requires_grad):
    value = _number(value)
    if value:
        dtypes.check_number("full", value, m.dtype)
    found = empty_tensor(m)
    if m.device is CPU and (m.dtype.kind in "fc" or value in (0, 1)):
        value = value.real if isinstance(value, complex) and m.dtype.kind == "f" else value
        found._d.fill(m.dtype.encode(np.asarray(value))[()] if m.dtype.encoded else value)
    elif m.device is CPU:
        write(value if not isinstance(value, complex) else bool(value) if m.dtype.kind == "b" else int(value.real), found)
    else:
        ENTRIES["fill_"](found, value)
    return found.requires_grad_() if requires_grad else found


def resized(op, size, out, dtype=None, device=None, memory_format=None):
    """``out`` in the shape of ``size``, where it is to be written; TypeError and RuntimeError for what is no such tensor."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{op}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if dtype is not None and dtypes.as_dtype(dtype) is not out._m.dtype:
        raise RuntimeError(f"{op}(): dtype {dtypes.as_dtype(dtype)!r} does not match dtype of out tensor ({out._m.dtype!r})")
    if device is not None and resolve(device) != out._m.device:
        raise RuntimeError(f"{op}(): device {resolve(device)} does not match device of out tensor ({out._m.device})")
    shape = sizes(op, size)
    if shape != out._m.shape:
        warn_of_resize(out, shape)
        out.resize_(shape, memory_format=memory_format)
    return out


def empty(*shape, size=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, memory_format=None) -> Tensor:
    """An uninitialised tensor."""
    size = shape if size is None else (size,)
    if out is not None:
        found = resized("empty", size, out, dtype, device, memory_format)
        return uninitialized.filled(found) if uninitialized.fills else found
    found = empty_tensor(_in_format("empty", _meta("empty", size, dtype, device), memory_format))
    if uninitialized.fills:
        uninitialized.filled(found)
    return found.requires_grad_() if requires_grad else found


def _in_format(op, m, memory_format):
    """The meta in ``memory_format``: row-major unless another one is asked for."""
    if memory_format is None or memory_format in (contiguous_format, preserve_format):
        return m
    return strided_meta(m.dtype, m.shape, memory_format.strides(op, m.shape), m.device)


def zeros(*shape, size=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A tensor of zeros."""
    size = shape if size is None else (size,)
    if out is not None:
        return resized("zeros", size, out, dtype, device).zero_()
    return _filled(_meta("zeros", size, dtype, device), 0, requires_grad)


def ones(*shape, size=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A tensor of ones."""
    size = shape if size is None else (size,)
    if out is not None:
        return resized("ones", size, out, dtype, device).fill_(1)
    return _filled(_meta("ones", size, dtype, device), 1, requires_grad)


def full(size, fill_value, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A tensor of one value; the dtype is that of the value unless given."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    if out is not None:
        return resized("full", (size,), out, dtype, device).fill_(fill_value)
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
            if uninitialized.fills:
                uninitialized.filled(found)
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
    def new(self, *shape, size=None, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False) -> Tensor:
        m = self._m
        size = shape if size is None else (size,)
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
def _new_of(self, *args, size=None, device=None) -> Tensor:
    """Of this tensor's dtype and device: uninitialised for sizes, a copy for a sequence, an alias for a tensor (deprecated
    in favour of `new_empty` and `new_tensor`)."""
    if size is not None:
        return self.new_empty(size, device=device)
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
    if uninitialized.fills:
        uninitialized.filled(found)
    return found.requires_grad_() if requires_grad else found


@function(install=("ng",))
def empty_permuted(size, physical_layout, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """An uninitialised tensor without gaps whose dimensions lie in memory in the order ``physical_layout``, from the
    outermost to the innermost."""
    size, order = integers("empty_permuted", "size", size), integers("empty_permuted", "physical_layout", physical_layout)
    if len(order) != len(size):
        raise RuntimeError(
            f"empty_permuted: Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = "
            f"{len(size)} is not equal to len(physical_layout) = {len(order)}"
        )
    if sorted(order) != list(range(len(size))):
        raise RuntimeError(f"empty_permuted: physical_layout must name each dimension of {list(size)} once, got {list(order)}")
    strides = [0] * len(size)
    for k, step in zip(order, contiguous_strides([size[k] for k in order])):
        strides[k] = step
    return empty_strided(size, strides, dtype=dtype, device=device, requires_grad=requires_grad)


# --- ranges ------------------------------------------------------------------------------------------------------


def _number(value):
    return value.item() if isinstance(value, (Tensor, np.generic)) else value


def arange(start, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """``start, start + step, ...`` below ``end``; int64 unless one of them is a float."""
    if end is None:
        start, end = 0, start
    start, end, step = _number(start), _number(end), _number(step)
    floating = any(isinstance(value, float) for value in (start, end, step))
    d = dtypes.int64 if dtype is None and out is None and not floating else _range_dtype("arange", dtype, out)
    if step == 0 or (d.kind == "i" and int(step) == 0):
        raise RuntimeError(f"arange: step must be nonzero{'' if step == 0 else f': of {d!r} it is {step} without its fraction'}")
    if not all(math.isfinite(value) for value in (start, end)):
        raise RuntimeError(f"arange: unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError(f"arange: upper bound and lower bound inconsistent with step sign: {start}, {end}, {step}")
    if d.kind == "i":
        start, end, step = int(start), int(end), int(step)
        count = max(0, -(-(end - start) // step))
    else:
        count = max(0, math.ceil((end - start) / step))
    steps = _counted("arange", count)
    array = d.encode((steps if d.kind == "i" else steps.astype(np.float64)) * step + start)
    return _ranged("arange", array, out, device, requires_grad)


def _counted(op, count):
    """The int64 numbers from 0 to ``count - 1``, if there is memory for them."""
    geometry(op, (count,), (1,))
    check_memory(8 * count)
    try:
        return np.arange(count)
    except MemoryError:
        raise RuntimeError(f"{op}: can't allocate memory: you tried to allocate {8 * count} bytes") from None


def _range_dtype(op, dtype, out, *values):
    """The dtype of evenly spaced numbers: the one that is given, that of ``out``, or one that holds ``values``."""
    inferred = dtypes.default_complex() if any(isinstance(v, complex) for v in values) else dtypes.get_default_dtype()
    if dtype is None:
        return inferred if out is None else out._m.dtype
    d = dtypes.as_dtype(dtype)
    if inferred.is_complex and not d.is_complex:
        raise RuntimeError(f"torch.{op}(): inferred dtype {inferred!r} can't be safely cast to passed dtype {d!r}")
    return d


def _ranged(op, array, out, device, requires_grad):
    """The tensor of a range of numbers, or ``out`` with them: it keeps its shape where it has as many elements."""
    found = _finish(from_array(array), resolve(device), requires_grad and out is None)
    if out is None:
        return found
    if isinstance(out, Tensor) and out._m.numel == found._m.numel:
        found = found.reshape(tuple(out._m.shape))
    elif isinstance(out, Tensor) and out._m.numel and op == "arange":
        warnings.warn(
            f"The number of elements in the out tensor of shape {list(out._m.shape)} is {out._m.numel} which does not match the "
            f"computed number of elements {found._m.numel}. Note that this may occur as a result of rounding error. The out tensor "
            f"will be resized to a tensor of shape ({found._m.numel},).", stacklevel=3,
        )  # fmt: skip
        out.resize_(tuple(found._m.shape))
    return ENTRIES["write_out"](op, found, out)


def range_(start=0, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """``start, start + step, ...`` up to and including ``end`` (deprecated in favour of `arange`)."""
    if end is None:
        start, end = 0, start
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with Python's "
        "range builtin. Instead, use torch.arange, which produces values in [start, end).", stacklevel=2,
    )  # fmt: skip
    start, end, step = _number(start), _number(end), _number(step)
    d = _range_dtype("range", dtype, out)
    if step == 0:
        raise RuntimeError("range: step must be nonzero")
    if not all(math.isfinite(value) for value in (start, end)):
        raise RuntimeError(f"range: unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError(f"range: upper bound and lower bound inconsistent with step sign: {start}, {end}, {step}")
    count = int(math.floor((end - start) / step)) + 1
    return _ranged("range", d.encode(_counted("range", count).astype(np.float64) * step + start), out, device, requires_grad)


def _spaced(start, end, steps, d):
    """``steps`` evenly spaced values; symmetric halves, so that both ends are exact."""
    k = _counted("linspace", steps)
    if d.kind == "i":
        dtypes.check_number("linspace", start, d)
        dtypes.check_number("linspace", end, d)
        start, end = int(start), int(end)
    if steps == 1:
        return np.array([start], np.complex128 if d.is_complex else np.float64)
    step = (end - start) / (steps - 1)
    if d is dtypes.float32:
        start, end, step = np.float32(start), np.float32(end), np.float32((np.float32(end) - np.float32(start)) / np.float32(steps - 1))
        k = k.astype(np.float32)
    return np.where(k < steps // 2, start + step * k, end - step * (steps - 1 - k))


def _steps(op, start, end, steps):
    """The number of steps as an int; a float is refused."""
    if isinstance(steps, float):
        got = ", ".join("Tensor" if isinstance(value, Tensor) else type(value).__name__ for value in (start, end, steps))
        raise TypeError(f"{op}() received an invalid combination of arguments - got ({got}): argument 'steps' must be int, not float")
    steps = integer(op, "steps", steps)
    if steps < 0:
        raise RuntimeError(f"{op}: number of steps must be non-negative, got {steps}")
    return steps


def _end(op, value):
    """The first or last value as a number."""
    if isinstance(value, Tensor) and value._m.ndim:
        raise RuntimeError(
            f"{op} only supports 0-dimensional start and end tensors, but got one with {value._m.ndim} dimension(s)"
        )
    return _number(value)


def linspace(start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """``steps`` evenly spaced values from ``start`` to ``end``."""
    steps = _steps("linspace", start, end, steps)
    start, end = _end("linspace", start), _end("linspace", end)
    d = _range_dtype("linspace", dtype, out, start, end)
    array = _spaced(start, end, steps, d)
    return _ranged("linspace", d.encode(array), out, device, requires_grad)


def logspace(start, end, steps, base=10.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """``base`` to the power of ``steps`` evenly spaced exponents."""
    steps = _steps("logspace", start, end, steps)
    start, end = _end("logspace", start), _end("logspace", end)
    d = _range_dtype("logspace", dtype, out, start, end)
    if d.kind == "i":
        start, end = int(start), int(end)
    base = base if isinstance(base, complex) else float(base)
    array = np.power(base, _spaced(start, end, steps, dtypes.complex128 if d.is_complex else dtypes.float64))
    return _ranged("logspace", d.encode(array), out, device, requires_grad)


def eye(n, m=None, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """A matrix with ones on the diagonal."""
    n = integer("eye", "n", n)
    m = n if m is None else integer("eye", "m", m)
    for label, size in (("n", n), ("m", m)):
        if size < 0:
            raise RuntimeError(f"eye: {label} must be greater or equal to 0, got {size}")
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    geometry("eye", (n, m), contiguous_strides((n, m)))
    check_memory(n * m * d.itemsize)
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


@function(install=("ng",))
def _assert_async(input, assert_msg=None) -> None:
    """RuntimeError, with ``assert_msg`` if that is given, unless the one number in ``input`` is nonzero."""
    if not is_nonzero(input):
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")


@function(install=("ng",))
def _assert_tensor_metadata(a, size=None, stride=None, dtype=None, *, device=None, layout=None) -> None:
    """RuntimeError unless the tensor has this size, stride, dtype, device and layout; None for what may be any."""
    a = as_tensor_operand("_assert_tensor_metadata", a, "a")
    for name, found, expected in (
        ("sizes", tuple(a.shape), None if size is None else tuple(size)),
        ("strides", a.stride(), None if stride is None else tuple(stride)),
        ("dtype", a.dtype, dtype),
        ("device", a._m.device, None if device is None else resolve(device)),
        ("layout", a.layout, layout),
    ):
        if expected is not None and found != expected:
            raise RuntimeError(f"Tensor {name} mismatch! Expected: {expected}, Got: {found}")


def result_type(tensor1, tensor2):
    """The dtype that an operation on the two (tensors or numbers) would give."""
    return dtypes.result(
        (value._m.dtype, 2 if value._m.ndim else 1) if isinstance(value, Tensor) else (dtypes.of_python(value), 0)
        for value in (tensor1, tensor2)
    )
