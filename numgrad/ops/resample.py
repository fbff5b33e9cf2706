"""Resampling: images of another size, each dimension by a linear map of its own."""

import warnings
from functools import cached_property, lru_cache
from math import floor, prod

import numpy as np

from .. import dtypes
from ..kernels import resample as kernels
from ..layout import contiguous_format, integers
from ..op import as_tensor_operand, called, cast, function
from ..storage import check_memory, meta
from ..structured import structured
from ..tensor import Tensor
from .copy import clone
from .formats import arranged, conform_in, empty_in
from .launch import launch
from .pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d


class Taps:
    """A linear map of one dimension: ``out[k] = sum over e of weights[e] * x[places[e]]``, e from ``starts[k]`` to
    ``starts[k + 1]``."""

    def __init__(self, size, places, weights, starts):
        self.size, self.outs = size, len(starts) - 1
        self.places, self.weights, self.starts = places, weights, starts

    @classmethod
    def listed(cls, size, places, weights, inside=None):
        """From (outs, taps) arrays; ``inside`` says which entries there are."""
        if inside is None:
            counts = np.full(len(places), places.shape[1])
            places, weights = places.ravel(), weights.ravel()
        else:
            counts = inside.sum(1)
            places, weights = places[inside], weights[inside]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(size, places.astype(np.int64), np.ascontiguousarray(weights), starts)

    @cached_property
    def transposed(self):
        """The map of the gradients."""
        order = np.argsort(self.places, kind="stable")
        outputs = np.repeat(np.arange(self.outs), np.diff(self.starts))
        starts = np.searchsorted(self.places[order], np.arange(self.size + 1)).astype(np.int64)
        found = Taps(self.outs, outputs[order], self.weights[order], starts)
        found.__dict__["transposed"] = self
        return found


# --- the maps --------------------------------------------------------------------------------------------------------


def _step(size, outs, scale, align_corners, real):
    """Input elements a step of the output."""
    if align_corners:
        return real(size - 1) / real(outs - 1) if outs > 1 else real(0)
    return real(1.0 / scale) if scale else real(size) / real(outs)


def _centres(size, outs, scale, align_corners, real):
    """Where the output's elements lie in the input."""
    step, k = _step(size, outs, scale, align_corners, real), np.arange(outs, dtype=real)
    return step * k if align_corners else step * (k + real(0.5)) - real(0.5)


def _cubic(x, a):
    """The cubic convolution kernel with slope ``a`` at 1 (Keys 1981)."""
    x = np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0)).astype(x.dtype)


def _nearest(size, outs, scale, exact, real):
    shift = np.float32(0.5 if exact else 0)
    k = np.floor((np.arange(outs, dtype=np.float32) + shift) * _step(size, outs, scale, False, np.float32))
    places = np.clip(k, 0, size - 1)[:, None]
    return Taps.listed(size, places, np.ones((outs, 1), real))


def _linear(size, outs, scale, align_corners, real):
    centres = np.maximum(_centres(size, outs, scale, align_corners, real), 0)
    first = np.minimum(centres.astype(np.int64), size - 1)
    upper = np.clip(centres - first.astype(real), 0, 1)
    places = np.stack([first, np.minimum(first + 1, size - 1)], 1)
    return Taps.listed(size, places, np.stack([1 - upper, upper], 1).astype(real))


def _bicubic(size, outs, scale, align_corners, real):
    centres = _centres(size, outs, scale, align_corners, real)
    first = np.floor(centres)
    t = (centres - first)[:, None]
    offsets = np.arange(-1, 3)
    weights = _cubic(t - offsets.astype(real), real(-0.75))
    return Taps.listed(size, np.clip(first.astype(np.int64)[:, None] + offsets, 0, size - 1), weights)


def _smoothed(size, outs, scale, align_corners, cubic, real):
    """Linear or cubic weights, stretched over as many elements as an output stands for, so that none is left out."""
    step = _step(size, outs, scale, align_corners, real)
    stretch = max(step, real(1))
    reach = real(2 if cubic else 1) * stretch
    centres = step * (np.arange(outs, dtype=real) + real(0.5))
    first = np.maximum((centres - reach + real(0.5)).astype(np.int64), 0)
    last = np.minimum((centres + reach + real(0.5)).astype(np.int64), size)
    offsets = np.arange(max(int((last - first).max()), 1))
    places = first[:, None] + offsets
    inside = places < last[:, None]
    x = (places.astype(real) - centres[:, None] + real(0.5)) / stretch
    weights = _cubic(x, real(-0.5)) if cubic else np.maximum(1 - np.abs(x), 0).astype(real)
    weights = np.where(inside, weights, 0)
    total = weights.sum(1, keepdims=True)
    return Taps.listed(size, places, (weights / np.where(total == 0, 1, total)).astype(real), inside)


@lru_cache(1 << 10)
def taps_along(mode, size, outs, scale, align_corners, antialias, real):
    """The map of one dimension; ``real`` is the NumPy type of its weights."""
    if mode.startswith("nearest"):
        return _nearest(size, outs, scale, mode == "nearest-exact", real)
    if antialias:
        return _smoothed(size, outs, scale, align_corners, mode == "bicubic", real)
    return (_bicubic if mode == "bicubic" else _linear)(size, outs, scale, align_corners, real)


# --- the op ----------------------------------------------------------------------------------------------------------


@structured(install=(), name="upsample", raw=True, cases="none")
def _resampled(input, *, passes):
    """One map after the other: ``passes`` is a tuple of (dimension, Taps)."""
    format = input._m.last
    out = arranged(input, format)
    for dim, taps in passes:
        m, x = out._m, out._d
        shape = (*m.shape[:dim], taps.outs, *m.shape[dim + 1 :])
        out = empty_in(m.dtype, shape, m.device, format)
        # In memory a channels-last image has its channels innermost.
        outer, inner = (shape[:1] + shape[2:dim], shape[dim + 1 :] + shape[1:2]) if format else (shape[:dim], shape[dim + 1 :])
        outer, inner = prod(outer), prod(inner)
        slots = x, out._d, taps.starts, taps.places, taps.weights, taps.size, taps.outs, inner
        work = inner * max(1, len(taps.places) // taps.outs)
        launch(kernels.weighted_rows, {"T": m.np.type}, slots, outer * taps.outs if inner else 0, work, m.device)
    return out


@_resampled.backward
def _(g, input_meta, passes):
    return _resampled(conform_in(g, input_meta, g._m.last), tuple((dim, taps.transposed) for dim, taps in reversed(passes)))


def _passes(m, mode, sizes, scales, align_corners, antialias, real):
    """What shrinks comes first, from the outermost dimension; what grows last, from the innermost."""
    lead = m.ndim - len(sizes)
    # Whether a dimension may change that keeps its size, because its scale is not quite 1.
    shifts = mode == "nearest-exact" or (mode == "nearest" and m.ndim != 4) or (mode == "bicubic" and not antialias)
    found = []
    for k, (size, outs, scale) in enumerate(zip(m.shape[lead:], sizes, scales)):
        if size != outs or (shifts and scale not in (None, 1)):
            found.append((outs > size, -k if outs > size else k, lead + k))
    return tuple(
        (dim, taps_along(mode, m.shape[dim], sizes[dim - lead], scales[dim - lead], align_corners, antialias, real))
        for *_, dim in sorted(found)
    )


_DIMENSIONS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_MODES = ("nearest", "nearest-exact", "area", *_DIMENSIONS)
_AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


def _number(value):
    return value.item() if isinstance(value, Tensor) else value


def _sizes(m, size, scale_factor, recompute):
    """(output sizes, scales that the places are found with, each None where they follow from the sizes)."""
    n = m.ndim - 2
    if (size is None) == (scale_factor is None):
        wrong = "either" if size is None else "only one of"
        raise ValueError(f"interpolate: {wrong} size or scale_factor should be defined, not both or neither; give one of them")
    what, given = ("size", size) if scale_factor is None else ("scale_factor", scale_factor)
    values = [_number(v) for v in given] if isinstance(given, (tuple, list)) else [_number(given)] * n
    if len(values) != n:
        raise ValueError(
            f"interpolate: Input and {what} must have the same number of spatial dimensions, but got input with spatial "
            f"dimensions of {list(m.shape[2:])} and {what} of {given}. Please provide input tensor in (N, C, d1, d2, "
            f"...,dK) format and {what} in (o1, o2, ...,oK) format."
        )
    if scale_factor is None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor is not meaningful with an explicit size.")
        try:
            return integers("interpolate", "size", values), (None,) * n
        except TypeError:
            kinds = [type(value).__name__ for value in values]
            raise TypeError(
                "interpolate: expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], but got "
                f"size with types {kinds}: {given}"
            ) from None
    sizes = tuple(floor(float(k) * float(v)) for k, v in zip(m.shape[2:], values))
    return sizes, (None,) * n if recompute else tuple(float(v) for v in values)


@function(install=())
def interpolate(
    input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None,
    antialias=False,
) -> Tensor:  # fmt: skip
    """``input`` resampled to ``size``, or to its size times ``scale_factor``: (N, C, *sizes) -> (N, C, *new sizes).

    ``mode``: "nearest", "nearest-exact" and "area" in one to three spatial dimensions, "linear" in one, "bilinear" and
    "bicubic" in two, "trilinear" in three. With ``align_corners`` the outermost elements stay where they are; with
    ``antialias`` (bilinear and bicubic) all elements count when the image shrinks. Raises ValueError or
    NotImplementedError where arguments do not fit.
    """
    input = as_tensor_operand("interpolate", input, "input")
    m = input._m
    if mode not in _MODES:
        raise NotImplementedError(f"interpolate: unknown mode {mode!r}; expected one of {', '.join(_MODES)}")
    if mode not in _DIMENSIONS:
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
                "trilinear"
            )
    sizes, scales = _sizes(m, size, scale_factor, recompute_scale_factor)
    if antialias and not (mode in ("bilinear", "bicubic") and m.ndim == 4):
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input")
    if m.ndim not in (3, 4, 5) or _DIMENSIONS.get(mode, m.ndim - 2) != m.ndim - 2:
        needed = f"{_DIMENSIONS[mode] + 2}D" if mode in _DIMENSIONS else "3D, 4D or 5D"
        raise NotImplementedError(
            f"interpolate: Got {m.ndim}D input, but {mode} mode needs {needed} input, (N, C, *sizes)"
        )
    if 0 in m.shape[1:] or any(k < 1 for k in sizes):
        raise RuntimeError(
            f"interpolate: Input and output sizes should be greater than 0, but got input {list(m.shape)} and output "
            f"sizes {list(sizes)}"
        )
    check_memory(meta(m.dtype, (*m.shape[:2], *sizes), m.device).numel * m.dtype.itemsize)
    if mode == "area":
        return _AREA[m.ndim - 2](input, sizes)
    bytes_ = m.dtype is dtypes.uint8
    if not m.dtype.is_floating_point and not bytes_:
        raise RuntimeError(f'interpolate: "{mode}" not implemented for {m.dtype!r}; convert with .float()')
    if bytes_ and mode in _DIMENSIONS:
        passes = _passes(m, mode, sizes, scales, bool(align_corners), bool(antialias), np.float32)
        values = _resampled(cast(input, dtypes.float32), passes)
        return cast(values.round().clamp(0, 255), dtypes.uint8)
    passes = _passes(m, mode, sizes, scales, bool(align_corners), bool(antialias), m.np.type)
    node = mode.removesuffix("-exact").capitalize() + ("Exact" if mode.endswith("-exact") else "")
    return called(_resampled(input, passes) if passes else clone(input, m.last or contiguous_format), f"Upsample{node}{m.ndim - 2}DBackward0")


def _deprecated(name):
    warnings.warn(f"`nn.functional.{name}` is deprecated; use `nn.functional.interpolate` instead", stacklevel=3)


@function(install=())
def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None) -> Tensor:
    """`interpolate` under its first name, with a warning."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@function(install=())
def upsample_nearest(input, size=None, scale_factor=None) -> Tensor:
    """`interpolate` to the nearest element, with a warning."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, "nearest")


@function(install=())
def upsample_bilinear(input, size=None, scale_factor=None) -> Tensor:
    """`interpolate` of mode "bilinear" with ``align_corners``, with a warning."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", True)
