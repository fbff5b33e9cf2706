"""Scales and zero points for ranges of values, and the whole numbers that dtypes offer."""

import warnings
from typing import Any

from ... import dtypes
from ...dtypes import int8, int16, int32, qint8, qint32, quint8, uint8, uint16
from ...ops.create import tensor
from ...tensor import Tensor

EPS = dtypes.finfo(dtypes.float32).eps
QUANTIZED = (qint8, quint8, qint32, int8, uint8, int16, int32, dtypes.float8_e5m2, dtypes.float8_e4m3fn, uint16)
_WHOLE = (qint8, quint8, qint32, int8, uint8, int16, int32, uint16)


def limits(dtype: Any, quant_min: int | None, quant_max: int | None, reduce_range: bool) -> tuple[int, int]:
    """The least and the largest whole number to use: those asked for, or all of the dtype, half as many with ``reduce_range``.

    Raises AssertionError if the numbers asked for leave 0 out, are none, or are more than the dtype has.
    """
    if quant_min is None or quant_max is None:
        if dtype not in _WHOLE:
            return 0, 15
        info = dtypes.iinfo(dtype)
        halve = reduce_range and dtype in (qint8, quint8, int8, uint8)
        return (info.min // 2, info.max // 2) if halve else (info.min, info.max)
    if not quant_min <= 0 <= quant_max:
        raise AssertionError(f"quantization range must include 0, got quant_min={quant_min} and quant_max={quant_max}")
    if quant_min >= quant_max:
        raise AssertionError(f"quant_min must be less than quant_max, got {quant_min} and {quant_max}")
    bits = 8 if dtype in (qint8, int8) else 32 if dtype in (qint32, int32) else None
    if bits is not None and quant_max - quant_min + 1 > 2**bits:
        raise AssertionError(f"quantization range must not exceed the {2**bits} numbers of {dtype!r}, got {quant_min} to {quant_max}")
    return (quant_min // 2, quant_max // 2) if reduce_range else (quant_min, quant_max)


def observed(min_val: Tensor, max_val: Tensor) -> bool:
    """Whether there is a range yet, with a warning if not; AssertionError if its ends are the wrong way round."""
    unset = min_val.numel() == 0 or max_val.numel() == 0
    if not unset and (min_val.dim() == 0 or max_val.dim() == 0):
        unset = min_val.item() == float("inf") and max_val.item() == float("-inf")
    if unset:
        warnings.warn(
            "must run observer before calling calculate_qparams. Returning default values: a scale of 1 and a zero point of 0.",
            stacklevel=4,
        )
        return False
    if (min_val > max_val).any():
        raise AssertionError(f"min {min_val} should be less than max {max_val}")
    return True


def _middle(dtype: Any, quant_min: int, quant_max: int, customized: bool) -> int:
    """The zero point of a range that lies evenly about 0."""
    if dtype is quint8 or dtype is uint8:
        return (quant_min + quant_max) // 2 if customized else 128
    return 1 << 15 if dtype is uint16 else 0


def choose(observer: Any, min_val: Tensor, max_val: Tensor) -> tuple[Tensor, Tensor]:
    """(scale, zero_point) of a uniform observer for ranges: one-dimensional tensors, one element a range."""
    if not observed(min_val, max_val):
        return tensor([1.0], device=min_val.device), tensor([0], device=min_val.device)
    quant_min, quant_max, eps = observer.quant_min, observer.quant_max, observer.eps
    low, high, steps = min_val.clamp(max=0), max_val.clamp(min=0), float(quant_max - quant_min)
    if observer.qscheme.symmetric:
        scale = ((-low).maximum(high) / (steps / 2)).maximum(eps)
        middle = _middle(observer.dtype, quant_min, quant_max, observer.has_customized_qrange)
        zero_point = scale.new_full(scale.shape, middle, dtype=dtypes.int64)
    elif observer.qscheme.float_zero_point:
        scale = (max_val - min_val) / steps
        scale = scale.where(scale > eps, 1.0)
        zero_point = -1 * min_val / scale
    else:
        scale = ((high - low) / steps).maximum(eps)
        zero_point = (quant_min - (low / scale).round().to(int32)).clamp(quant_min, quant_max)
    return scale.reshape(-1), zero_point.reshape(-1)
