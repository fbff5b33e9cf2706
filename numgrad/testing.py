"""What tests of ops need: numerical derivatives, closeness, and input cases for every op of the table."""

import inspect
import math

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
    "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7), "complex64": (1.3e-6, 1e-5), "complex128": (1e-7, 1e-7),
}  # fmt: skip


def assert_close(actual, expected, *, rtol=None, atol=None, equal_nan=False, check_dtype=True, check_device=True,
                 check_stride=False, msg=None, allow_subclasses=True, check_layout=True) -> None:  # fmt: skip
    """Raise AssertionError, naming the worst element, unless two tensors (or nested sequences of them) are close:
    ``|actual - expected| <= atol + rtol * |expected|``, same shape, dtype and device."""
    if isinstance(actual, (list, tuple)) and isinstance(expected, (list, tuple)):
        if len(actual) != len(expected):
            raise AssertionError(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}")
        for a, b in zip(actual, expected):
            assert_close(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=check_dtype, msg=msg)
        return
    a, b = _as_tensor(actual), _as_tensor(expected)
    if a.shape != b.shape:
        raise AssertionError(msg or f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}.")
    if check_dtype and a.dtype is not b.dtype:
        raise AssertionError(msg or f"The values for attribute 'dtype' do not match: {a.dtype} != {b.dtype}.")
    if check_device and a.device != b.device:
        raise AssertionError(msg or f"The values for attribute 'device' do not match: {a.device} != {b.device}.")
    left, right = np.asarray(a._host()), np.asarray(b._host())
    default = _TOLERANCE.get(a.dtype.name, (0.0, 0.0))
    rtol, atol = default[0] if rtol is None else rtol, default[1] if atol is None else atol
    wide = np.result_type(left.dtype, right.dtype, np.float64)  # complex128 if one is complex
    left, right = left.astype(wide), right.astype(wide)
    close = np.isclose(left, right, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if not close.all():
        difference = np.where(close, 0, np.abs(left - right))
        difference = np.nan_to_num(difference, nan=np.inf)
        worst = np.unravel_index(int(difference.argmax()), difference.shape) if difference.ndim else ()
        raise AssertionError(
            msg
            or f"Tensor-likes are not close!\n\nMismatched elements: {int((~close).sum())} / {close.size}\nGreatest absolute "
            f"difference: {difference[worst]:g} at index {tuple(map(int, worst))}: {left[worst]} instead of {right[worst]} "
            f"(up to {atol} + {rtol} relative allowed)"
        )


def _as_tensor(value):
    return value if isinstance(value, Tensor) else from_array(np.asarray(value))


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
        raise ValueError("make_tensor: noncontiguous and memory_format are mutually exclusive; give one of them")
    inexact = dtype.is_floating_point or dtype.is_complex
    if requires_grad and not inexact:
        raise ValueError(f"make_tensor: requires_grad=True is not supported for boolean and integral dtypes, got {dtype!r}")
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
