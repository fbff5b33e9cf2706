"""Fake quantization: values rounded to the multiples of a scale that a quantized dtype could hold, in floating point.

The gradient is that of the identity where the value lies in the range, and 0 beyond it ("straight through",
arXiv:1308.3432).
"""

import numpy as np

from ..autograd import is_grad_enabled
from ..device import META
from ..dtypes import bfloat16, float16, float32, int32
from ..kernels.vocab import where
from ..op import ENTRIES, as_tensor_operand, called, function
from ..pointwise import pointwise
from ..tensor import Tensor, from_array
from .arithmetic import reciprocal
from .copy import clone
from .math import _round
from .search import aminmax

SMALLEST_SCALE = np.float32(6.1e-5)  # below it, PyTorch's kernels would overflow


@pointwise(name="fake_quantize", install=(), refuse="bi", inplace=False, numbers_from=1, cases="none",
           no_gradient=("scale", "inverse", "zero_point"))  # fmt: skip
def _fake_quantize(input, scale, inverse, zero_point, *, quant_min, quant_max, shifted=False):
    # NaN fails every comparison: it becomes quant_min, as in PyTorch.
    q = _round(input * inverse + zero_point) if shifted else _round(input * inverse) + zero_point
    held = where(q > quant_min, q, quant_min)
    held = where(held < quant_max, held, quant_max)
    return np.float32(held - zero_point) * np.float32(scale)  # in float64 too, as in PyTorch


@_fake_quantize.backward
def _(g, input, inverse, zero_point, quant_min, quant_max, shifted):
    q = _round(input * inverse + zero_point) if shifted else _round(input * inverse) + zero_point
    return g * where((q >= quant_min) & (q <= quant_max), 1.0, 0.0), 0.0, 0.0, 0.0


def _checked(op, input, quant_min, quant_max):
    """The input as a Tensor; errors for dtypes that are not quantized and for an empty range."""
    input = as_tensor_operand(op, input, "input")
    for name, value in (("quant_min", quant_min), ("quant_max", quant_max)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
            raise TypeError(f"{op}(): argument '{name}' must be int, not {type(value).__name__}")
    if not input._m.dtype.is_floating_point or input._m.dtype.format is not None:
        raise NotImplementedError(
            f'"{op}" not implemented for \'{input._m.dtype.scalar_type}\'; convert the input with .float()'
        )
    if quant_min > quant_max:
        raise RuntimeError(f"{op}: `quant_min` should be less than or equal to `quant_max`, got {quant_min} and {quant_max}")
    return input


def _parameter(op, value, name):
    """A scale or zero point without history; RuntimeError if its gradient is asked for."""
    value = as_tensor_operand(op, value, name)
    if value.requires_grad and is_grad_enabled():
        raise RuntimeError(
            f"The function '{op}' is not differentiable with respect to argument '{name}'. This input cannot have "
            "requires_grad True; pass .detach()"
        )
    return value.detach()


def _outside(op, quant_min, quant_max):
    return RuntimeError(f"{op}: `zero_point` must be between `quant_min` and `quant_max`, {quant_min} and {quant_max}")


def _quantized(input, scale, inverse, zero_point, quant_min, quant_max, shifted=False):
    """The op itself, in the dtype of the input: 16-bit ones are computed in float32, as scales are."""
    d = input._m.dtype
    if d is float16 or d is bfloat16:
        found = _fake_quantize(ENTRIES["to_dtype"](input, float32), scale, inverse, zero_point, quant_min, quant_max, shifted)
        return ENTRIES["to_dtype"](found, d)
    return _fake_quantize(input, scale, inverse, zero_point, quant_min, quant_max, shifted)


@function(install=("ng",))
def fake_quantize_per_tensor_affine(input, scale, zero_point, quant_min: int, quant_max: int) -> Tensor:
    """``(clamp(round(input / scale) + zero_point, quant_min, quant_max) - zero_point) * scale``.

    ``scale`` and ``zero_point`` are numbers, or tensors of one element; scales have float32's digits. The gradient is
    the incoming one where the rounded value lies in [``quant_min``, ``quant_max``], else 0; NaN becomes the value of
    ``quant_min``. Raises RuntimeError if a zero point that is a number lies outside the range, if ``quant_min`` is above
    ``quant_max``, or if a scale requires grad, and NotImplementedError for inputs that are not floating point.
    """
    op = "fake_quantize_per_tensor_affine"
    input = _checked(op, input, quant_min, quant_max)
    if isinstance(scale, Tensor) and isinstance(zero_point, Tensor):
        scale, zero_point = _parameter(op, scale, "scale"), _parameter(op, zero_point, "zero_point")
        for value in (scale, zero_point):
            if value._m.numel != 1:
                raise RuntimeError(f"{op}: a Tensor with {value._m.numel} elements cannot be converted to Scalar")
        scale, zero_point = (value if value._m.ndim == 0 else value.reshape(()) for value in (scale, zero_point))
        scale = scale if scale._m.dtype is float32 else ENTRIES["to_dtype"](scale, float32)
        zero_point = zero_point if zero_point._m.dtype is int32 else ENTRIES["to_dtype"](zero_point, int32)
        found = _quantized(input, scale, reciprocal(scale), zero_point, quant_min, quant_max)
        return called(found, "FakeQuantizePerTensorAffineCachemaskTensorQparamsBackward0")
    scale, zero_point = (value.item() if isinstance(value, Tensor) else value for value in (scale, zero_point))
    if isinstance(zero_point, bool) or not isinstance(zero_point, (int, np.integer)):
        raise TypeError(f"{op}(): argument 'zero_point' must be int or Tensor, not {type(zero_point).__name__}")
    if not quant_min <= zero_point <= quant_max:
        raise _outside(op, quant_min, quant_max)
    with np.errstate(divide="ignore", over="ignore"):
        scale = np.float32(scale)
        inverse = np.float32(1) / scale
    found = _quantized(input, float(scale), float(inverse), float(zero_point), quant_min, quant_max)
    return called(found, "FakeQuantizePerTensorAffineCachemaskBackward0")


@function(install=("ng",))
def fake_quantize_per_channel_affine(input, scale, zero_point, axis: int, quant_min: int, quant_max: int) -> Tensor:
    """`fake_quantize_per_tensor_affine` with a scale and a zero point for every index along ``axis``.

    ``scale`` (C,) is float32 or bfloat16, ``zero_point`` (C,) int32, or float32 or float16: it is then added before
    rounding. Infinite values are those beyond the range, as for whole tensors. Raises RuntimeError if dtypes or sizes do
    not fit, if a whole zero point lies outside the range or a scale requires grad, IndexError if there is no such axis.
    """
    op = "fake_quantize_per_channel_affine"
    input = _checked(op, input, quant_min, quant_max)
    scale, zero_point = _parameter(op, scale, "scale"), _parameter(op, zero_point, "zero_point")
    ndim, whole = input._m.ndim, zero_point._m.dtype is int32
    if scale._m.dtype not in (float32, bfloat16):
        raise RuntimeError(f"{op}: Scale must be Float or BFloat16, found {scale._m.dtype.scalar_type}; convert it with .float()")
    if not whole and zero_point._m.dtype not in (float32, float16):
        raise RuntimeError(
            f"{op}: Zero-point must be Int32, Float or Half, found {zero_point._m.dtype.scalar_type}; convert it with .int()"
        )
    for name, value in (("scale", scale), ("zero point", zero_point)):
        if value._m.ndim != 1:
            raise RuntimeError(f"{op}: {name} should be a 1-D tensor, got {value._m.ndim} dimensions")
    if scale._m.shape != zero_point._m.shape:
        raise RuntimeError(
            f"{op}: scale and zero-point need to have the same dimensions, got {scale._m.numel} and {zero_point._m.numel}"
        )
    if axis >= ndim:
        raise IndexError(f"{op}: Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {axis})")
    if axis < 0:
        raise RuntimeError(f"{op}: `axis` must be between 0 and number of dimensions of input, got {axis}")
    if scale._m.numel != input._m.shape[axis]:
        raise RuntimeError(
            f"{op}: dimensions of scale and zero-point are not consistent with input tensor: {scale._m.numel} scales for "
            f"{input._m.shape[axis]} channels"
        )
    if whole and zero_point._m.numel and zero_point._m.device is not META:
        least, most = aminmax(zero_point)
        if least.item() < quant_min or most.item() > quant_max:
            raise _outside(op, quant_min, quant_max)
    along = (-1, *(1,) * (ndim - 1 - axis))
    scale = scale if scale._m.dtype is float32 else ENTRIES["to_dtype"](scale, float32)
    zero_point = zero_point if zero_point._m.dtype is not float16 else ENTRIES["to_dtype"](zero_point, float32)
    scale, zero_point = scale.reshape(along), zero_point.reshape(along)
    found = _quantized(input, scale, reciprocal(scale), zero_point, quant_min, quant_max, not whole)
    return called(found, "FakeQuantizePerChannelAffineCachemaskBackward0")


def choose_qparams(low, high, quant_min: int, quant_max: int, symmetric: bool):
    """Scales (float32) and zero points (int32) for the float32 ranges [``low``, ``high``] with 0 in them: ndarrays.

    As PyTorch's fused kernel chooses them, which computes in double precision and has a smallest scale.
    """
    middle = symmetric & (low < 0) & (high > 0)
    half = (quant_max - quant_min) // 2
    widest = np.maximum(np.abs(low / np.float32(-half - 1)), np.abs(high / np.float32(max(half, 1)))).astype(np.float64)
    low = np.where(middle, (widest * (-half - 1)).astype(np.float32), np.minimum(low, np.float32(0)))
    high = np.where(middle, (widest * half).astype(np.float32), np.maximum(high, np.float32(0)))
    scale = (high.astype(np.float64) - low) / (quant_max - quant_min)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        single = scale.astype(np.float32)
        scale = np.where((single == 0) | np.isinf(np.float32(1) / single), 0.1, scale)
        small = scale < SMALLEST_SCALE
        wider = np.where(small, SMALLEST_SCALE / scale.astype(np.float32), np.float32(1))
        low, high = low * wider, high * wider
        scale = np.where(small, SMALLEST_SCALE, scale)
        from_low, from_high = quant_min - low / scale, quant_max - high / scale
        nearer_low = abs(quant_min) - np.abs(low / scale) < abs(quant_max) - np.abs(high / scale)
        zero_point = np.where(middle, (quant_min + quant_max) / 2, np.where(nearer_low, from_low, from_high))
    zero_point = np.rint(np.clip(np.nan_to_num(zero_point, nan=quant_min), quant_min, quant_max))
    return scale.astype(np.float32), zero_point.astype(np.int32)


def _observe(input, running_min, running_max, share, per_row):
    """Bring the running range nearer to that of ``input`` by ``share``."""
    low, high = aminmax(input.flatten(1), dim=1) if per_row else aminmax(input)
    for running, now in ((running_min, low), (running_max, high)):
        was, now = running.cpu().numpy(), now.cpu().numpy().reshape(tuple(running._m.shape))
        with np.errstate(invalid="ignore"):
            value = np.where(np.isinf(was), now, was + np.float32(share) * (now - was))
        running.copy_(from_array(value.astype(np.float32)))


def _choose(running_min, running_max, scale, zero_point, quant_min, quant_max, symmetric):
    """Scale and zero point for the running range, in place."""
    ranges = [running.cpu().numpy().astype(np.float32).reshape(-1) for running in (running_min, running_max)]
    for buffer, found in zip((scale, zero_point), choose_qparams(*ranges, quant_min, quant_max, symmetric), strict=True):
        buffer.copy_(from_array(found.reshape(tuple(buffer._m.shape))))


def fused_moving_avg_obs_fake_quant(
    input, observer_on, fake_quant_on, running_min, running_max, scale, zero_point, averaging_const: float, quant_min: int,
    quant_max: int, ch_axis: int, per_row_fake_quant: bool = False, symmetric_quant: bool = False,
) -> Tensor:  # fmt: skip
    """Observe ``input`` and quantize it with what was observed.

    Where ``observer_on`` is 1, the running least and largest values (of every row of dimension 0 with
    ``per_row_fake_quant``) move towards those of ``input`` by the share ``averaging_const``. Where ``fake_quant_on`` is 1,
    ``scale`` and ``zero_point`` are chosen for them and the result is that of `fake_quantize_per_tensor_affine` or
    `fake_quantize_per_channel_affine`, else it is a copy. All four are written in place, and given the size of
    dimension 0 if they are empty. Raises RuntimeError if ``input`` is not float32 or if rows are asked for along another
    dimension than 0.
    """
    op, name = "fused_moving_avg_obs_fake_quant", "FusedMovingAvgObsFqHelperBackward0"
    input = as_tensor_operand(op, input, "input")
    given = {
        "observer_on": observer_on, "fake_quant_on": fake_quant_on, "running_min": running_min, "running_max": running_max,
        "scale": scale, "zero_point": zero_point,
    }  # fmt: skip
    for position, (key, value) in enumerate(given.items(), 2):
        if not isinstance(value, Tensor):
            raise TypeError(f"{op}(): argument '{key}' (position {position}) must be Tensor, not {type(value).__name__}")
    if input._m.numel == 0:
        return clone(input)
    if input._m.dtype is not float32:
        raise RuntimeError(f"{op}: expected scalar type Float but found {input._m.dtype.scalar_type}; convert it with .float()")
    if ch_axis >= input._m.ndim:
        raise RuntimeError(f"{op}: ch_axis must be < self.dim(), got {ch_axis} for {input._m.ndim} dimensions")
    if per_row_fake_quant and ch_axis != 0:
        raise RuntimeError(f"{op}: Per-channel FakeQuant is only supported on axis == 0, got {ch_axis}")
    if quant_min >= quant_max:
        raise RuntimeError(f"{op}: `quant_min` should be less than `quant_max`, got {quant_min} and {quant_max}")
    if per_row_fake_quant and running_min._m.numel == 0:
        for buffer, start in ((running_min, np.inf), (running_max, -np.inf), (scale, 1), (zero_point, 0)):
            buffer.resize_(input._m.shape[0]).fill_(start)
    if observer_on.item():
        _observe(input.detach(), running_min, running_max, averaging_const, per_row_fake_quant)
    if not fake_quant_on.item():
        return called(clone(input), name)
    _choose(running_min, running_max, scale, zero_point, quant_min, quant_max, symmetric_quant)
    if per_row_fake_quant:
        found = fake_quantize_per_channel_affine(input, scale, zero_point, 0, quant_min, quant_max)
    else:
        found = fake_quantize_per_tensor_affine(input, scale, zero_point, quant_min, quant_max)
    return called(found, name)
