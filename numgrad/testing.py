"""What tests of ops need: numerical derivatives, closeness, and input cases for every op of the table."""

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import autograd
from .autograd.gradcheck import gradcheck, gradgradcheck
from .dtypes import as_dtype, bool_, finfo, float32, iinfo, int64
from .op import Op
from .ops.complex import view_as_real
from .ops.create import empty
from .ops.random import randint
from .tensor import Tensor, from_array

_REQUIRED = inspect.Parameter.empty

# --- closeness ---------------------------------------------------------------------------------------------------

_TOLERANCE = {
    "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7),
    "complex32": (1e-3, 1e-5), "complex64": (1.3e-6, 1e-5), "complex128": (1e-7, 1e-7),
}  # fmt: skip


def assert_close(actual, expected, *, allow_subclasses=True, rtol=None, atol=None, equal_nan=False, check_device=True,
                 check_dtype=True, check_layout=True, check_stride=False, msg=None) -> None:  # fmt: skip
    """Raise AssertionError, naming the worst element, unless two tensors, arrays, numbers, bools or None (or nested
    sequences and mappings of them) are close: ``|actual - expected| <= atol + rtol * |expected|``, with the same shape,
    device, dtype (the type of numbers), and with ``check_stride`` strides. By default the tolerances are those of the
    coarser dtype. ``msg``: the message, or a function that makes it of the usual one. Raises ValueError for one
    tolerance alone and TypeError for what cannot be compared."""
    if (rtol is None) != (atol is None):
        raise ValueError(
            "Both 'rtol' and 'atol' must be either specified or unspecified, but got no "
            f"{'rtol' if rtol is None else 'atol'}."
        )
    pairs: list = []
    _pairs(actual, expected, (), allow_subclasses, msg, pairs)  # all of the structure before any values
    options = {"device": check_device, "dtype": check_dtype, "layout": check_layout, "stride()": check_stride}
    for a, b, place in pairs:
        found = _difference(a, b, None if rtol is None else (rtol, atol), equal_nan, options)
        if found is not None:
            raise AssertionError(_message(found, place, msg))


def _message(text, place, msg):
    text += f"\n\nThe failure occurred for item {''.join([str([item]) for item in place])}" if place else ""
    return text if msg is None else msg(text) if callable(msg) else msg


def _pairs(actual, expected, place, allow_subclasses, msg, found):
    """Add ``(actual, expected, place)`` of all that is to be compared."""

    def both(kind):
        return isinstance(actual, kind) and isinstance(expected, kind)

    if both(Sequence) and not isinstance(actual, str) and not isinstance(expected, str):
        if len(actual) != len(expected):
            text = f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
            raise AssertionError(_message(text, place, msg))
        keys: Any = range(len(actual))
    elif both(Mapping):
        missing, more = [key for key in expected if key not in actual], [key for key in actual if key not in expected]
        if missing or more:
            text = (
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(missing, key=str)}\n"
                f"Additional keys in the actual mapping: {sorted(more, key=str)}"
            )
            raise AssertionError(_message(text, place, msg))
        keys = list(expected)
    else:
        found.append((*_comparable(actual, expected, place, allow_subclasses), place))
        return
    for key in keys:
        _pairs(actual[key], expected[key], (*place, key), allow_subclasses, msg, found)


def _comparable(actual, expected, place, allow_subclasses):
    """Two values as what they are compared as: Python's, or Tensors. TypeError for others."""
    plain = (bool, np.bool_, int, float, complex, np.number)
    if actual is None or expected is None or isinstance(actual, plain) and isinstance(expected, plain):
        if isinstance(actual, np.bool_) or isinstance(expected, np.bool_):
            return (value.item() if isinstance(value, np.bool_) else value for value in (actual, expected))
        return actual, expected
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    if related and (allow_subclasses or type(actual) is type(expected)):
        try:
            tensors = [value if isinstance(value, Tensor) else from_array(np.asarray(value)) for value in (actual, expected)]
        except (TypeError, ValueError):
            tensors = []  # no numbers: the error below says so
        if tensors:
            if any(tensor._m.device.type == "meta" for tensor in tensors):
                raise NotImplementedError("Comparing meta tensors is currently not supported: they have no values")
            return tensors
    raise TypeError(
        _message(
            f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}: expected two "
            "tensors, arrays, numbers, bools, None, or sequences or mappings of them, of related types.",
            place, None,
        )  # fmt: skip
    )


def _difference(a, b, tolerances, equal_nan, options):
    """What is different, as text, or None."""
    if a is None or b is None:
        return None if a is b else f"None mismatch: {a} is not {b}"
    if isinstance(a, bool) and isinstance(b, bool):
        return None if a is b else f"Booleans mismatch: {a} is not {b}"
    if not isinstance(a, Tensor):
        if options["dtype"] and type(a) is not type(b):
            return f"The (d)types do not match: {type(a)} != {type(b)}."
        a, b = np.asarray(a), np.asarray(b)
        names = ("float64",) if np.result_type(a, b).kind in "fc" else ()
        return _values(a, b, tolerances or _widest(names), equal_nan)
    if a.shape != b.shape:
        return f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}."
    strides = (a.stride(), b.stride())
    for name, pair in {"device": (a.device, b.device), "dtype": (a.dtype, b.dtype), "layout": (a.layout, b.layout),
                       "stride()": strides}.items():  # fmt: skip
        if options[name] and pair[0] != pair[1]:
            return f"The values for attribute '{name}' do not match: {pair[0]} != {pair[1]}."
    tolerances = tolerances or _widest((a.dtype.name, b.dtype.name))
    return _values(np.asarray(a.detach()._host()), np.asarray(b.detach()._host()), tolerances, equal_nan)


def _widest(names):
    known = [_TOLERANCE.get(name, (0.0, 0.0)) for name in names] or [(0.0, 0.0)]
    return max(rtol for rtol, _ in known), max(atol for _, atol in known)


def _values(left, right, tolerances, equal_nan):
    rtol, atol = tolerances
    wide = np.result_type(left.dtype, right.dtype, np.float64)  # complex128 if one is complex
    close = left == right
    x, y = left.astype(wide), right.astype(wide)
    if rtol or atol or equal_nan:
        with np.errstate(invalid="ignore", over="ignore"):
            close |= np.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if close.all():
        return None
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if left.dtype.kind in "iub" and right.dtype.kind in "iub":
            absolute = np.abs(left.astype(object) - right.astype(object))  # exact, whatever the width
        else:
            absolute = np.abs(x - y)
        relative = np.abs(x - y) / np.abs(y)
    allowed = [f" (up to {each} allowed)" if rtol or atol else "" for each in (atol, rtol)]
    how = "close" if rtol or atol else "equal"
    if not left.ndim:
        return (
            f"Scalars are not {how}!\n\nExpected {right.item()} but got {left.item()}.\n"
            f"Absolute difference: {_number(absolute)}{allowed[0]}\nRelative difference: {_number(relative)}{allowed[1]}"
        )
    text = [f"Tensor-likes are not {how}!\n\nMismatched elements: {(~close).sum()} / {close.size} ({(~close).mean():.1%})"]
    for name, found, limit in (("absolute", absolute, allowed[0]), ("relative", relative, allowed[1])):
        shown = np.where(close, 0, found)
        order = np.where(shown != shown, np.inf, shown)
        at = np.unravel_index(int(order.argmax()), close.shape)
        text.append(f"Greatest {name} difference: {_number(shown[at])} at index {tuple(map(int, at))}{limit}")
    return "\n".join(text)


def _number(value):
    return value.item() if isinstance(value, (np.ndarray, np.generic)) else value


def make_tensor(*shape, dtype, device, low=None, high=None, requires_grad=False, noncontiguous=False, exclude_zero=False,
                memory_format=None) -> Tensor:  # fmt: skip
    """A tensor of uniform random numbers from [``low``, ``high``), by default from -9 to 9 or what of that the dtype holds.

    ``shape``: numbers or one sequence. Integers reach up to ``high`` - 1. ``noncontiguous``: every second element of a
    tensor of twice the width. ``exclude_zero``: zeros become 1, or the dtype's least positive normal number. Raises
    ValueError for an empty or NaN range, and where an integer tensor is to require grad.
    """
    size = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (list, tuple)) else shape
    dtype = as_dtype(dtype)
    if noncontiguous and memory_format is not None:
        raise ValueError("make_tensor: `noncontiguous` and `memory_format` are mutually exclusive; give one of them")
    inexact = dtype.is_floating_point or dtype.is_complex
    if requires_grad and not inexact:
        raise ValueError(f"make_tensor: `requires_grad=True` is not supported for boolean and integral dtypes, got {dtype!r}")
    split = noncontiguous and int(np.prod(size)) > 1
    if split:
        size = (*size[:-1], 2 * size[-1])
    low, high = _range(dtype, low, high)
    if inexact:
        found = empty(size, dtype=dtype, device=device)
        numbers = view_as_real(found) if dtype.is_complex else found
        if high - low >= finfo(dtype).max:  # too wide for one difference
            numbers.uniform_(low / 2, high / 2).mul_(2)
        else:
            numbers.uniform_(low, high)
    else:
        found = randint(math.ceil(low), math.ceil(high), size, dtype=dtype, device=device)
    if split:
        found = found[..., 1::2]
    elif memory_format is not None:
        found = found.clone(memory_format=memory_format)
    if exclude_zero:
        tiny = finfo(dtype).tiny if inexact else 1
        found[found == 0] = complex(tiny, tiny) if dtype.is_complex else tiny
    return found.requires_grad_() if requires_grad else found


def _range(dtype, low, high):
    """The bounds of `make_tensor`, within what ``dtype`` holds."""
    inexact = dtype.is_floating_point or dtype.is_complex
    if inexact:
        least, end, usual = finfo(dtype).min, finfo(dtype).max, (-9, 9)
    elif dtype is bool_:
        least, end, usual = 0, 2, (0, 2)
    else:
        limits = iinfo(dtype)
        least, end, usual = limits.min, limits.max + (dtype is not int64), (-9, 10)
    low, high = usual[0] if low is None else low, usual[1] if high is None else high
    if low != low or high != high:
        raise ValueError(f"make_tensor: `low` and `high` cannot be NaN, but got low={low} and high={high}")
    if low >= high and not (low == high and inexact):
        raise ValueError(f"make_tensor: `low` must be less than `high`, but got {low} >= {high}")
    if low == high:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is deprecated; use full or "
            "full_like for a tensor of one value",
            FutureWarning,
            stacklevel=3,
        )
    if high < least or low >= end:
        raise ValueError(f"make_tensor: the interval is [{low}, {high}), but {dtype!r} only supports [{least}, {end})")
    return min(max(low, least), end), min(max(high, least), end)


# --- cases -------------------------------------------------------------------------------------------------------

_SHAPES = {
    "vector": ((7,),),
    "matrix": ((3, 5),),
    "broadcast": ((4, 3), (3,)),
    "column": ((4, 3), (4, 1)),
    "0-d": ((),),
    "empty": ((0, 3),),
}


class Case:
    """One call of an op: ``run()`` calls it, ``inputs`` are its tensors, ``attributes`` the rest."""

    def __init__(self, op: Op, label: str, inputs: list, attributes: dict):
        self.op, self.label, self.inputs, self.attributes = op, label, inputs, attributes

    def run(self, *inputs):
        """The op's result on ``inputs`` (default: the case's own)."""
        return self.op.entry(*(inputs or self.inputs), **self.attributes)

    def leaves(self) -> list:
        """Fresh inputs (strided ones as they are), of which those that have a gradient require it."""
        inputs = [x.clone() if x.is_contiguous() else x.detach() for x in self.inputs]
        for name, x in zip(self.op.inputs, inputs):
            if x.is_floating_point() and name not in self.op.no_gradient:
                x.requires_grad_()
        return inputs

    def __repr__(self):
        return f"{self.op.name}-{self.label}"


def sample(op: Op, shape, dtype=float32, seed=0) -> Tensor:
    """A tensor of numbers inside the op's domain, away from its ends, no two equal."""
    rng = np.random.default_rng([seed, len(op.name)])
    low, high = op.domain
    if dtype.kind in getattr(op, "refuse", ""):
        return from_array(rng.integers(1, 7, shape))
    margin = (high - low) * 0.02
    count = int(np.prod(shape))
    places = np.linspace(low + margin, high - margin, count) if count > 1 else np.full(count, 0.5 * (low + high))
    values = rng.permutation(places) + rng.uniform(-0.3, 0.3, count) * (high - low) / max(count, 1) * 0.5
    return from_array(dtype.encode(values.reshape(shape)))


def cases_for(op: Op, dtype=float32) -> list[Case]:
    """Calls of ``op`` with one case a kind of layout: vector, matrix, broadcast, strided, 0-d, empty."""
    if op.form == "pointwise":
        return _pointwise_cases(op, dtype)
    if op.form == "reduction":
        cases = []
        for label, shape, attributes in (
            ("all", (3, 5), {}), ("last", (3, 5), {"dim": -1}), ("outer", (3, 5, 2), {"dim": 0}),
            ("middle", (2, 3, 4), {"dim": 1, "keepdim": True}), ("apart", (2, 3, 4), {"dim": (0, 2)}), ("0-d", (), {}),
        ):  # fmt: skip
            cases.append(Case(op, label, [sample(op, shape, dtype)], attributes))
        strided = sample(op, (5, 3), dtype)
        cases.append(Case(op, "strided", [strided.t()], {"dim": 1}))
        return cases
    if op.form == "rowwise":
        return _row_cases(op, dtype)
    return []


def _pointwise_cases(op, dtype):
    required = {name: 0.5 for name, default in op.attributes.items() if default is _REQUIRED}
    cases = []
    for label, shapes in _SHAPES.items():
        if label in ("broadcast", "column") and len(op.inputs) < 2:
            continue
        inputs = [sample(op, shapes[k % len(shapes)], dtype, k) for k in range(len(op.inputs))]
        cases.append(Case(op, label, inputs, dict(required)))
    strided = [sample(op, (5, 3), dtype, k).t() for k in range(len(op.inputs))]
    cases.append(Case(op, "strided", strided, dict(required)))
    return cases


def _row_cases(op, dtype):
    rng = np.random.default_rng(0)
    cases = []
    for label, rows, width in (("rows", 4, 6), ("wide", 2, 70), ("one", 1, 3)):
        inputs = []
        for argument in op.row_inputs:
            if argument.name == "target":
                inputs.append(from_array(rng.integers(0, width, rows)))
                continue
            size = 1 if argument.width == "1" else width * argument.times
            shape = (rows, size) if argument.row and argument.width != "1" else (rows,) if argument.row else (size,)
            inputs.append(sample(op, shape, dtype, len(inputs)))
        cases.append(Case(op, label, inputs, {}))
    return cases


def kernels_of(op: Op) -> int:
    """How many kernels of ``op`` this process has compiled or loaded."""
    return len(getattr(op, "kernels", ()))


autograd.gradcheck, autograd.gradgradcheck = gradcheck, gradgradcheck

__all__ = ["gradcheck", "gradgradcheck", "assert_close", "make_tensor", "cases_for", "sample", "Case", "kernels_of"]
