"""Images read at places between their elements, and grids of such places.

Sampling is a weighted sum of elements: the places and weights come from the grid by ordinary ops, and the sum is one of
three ops, linear in both operands, whose gradients are the other two.
"""

import warnings
from math import prod

from .. import dtypes
from ..config import warn_once
from ..kernels import grid as kernels
from ..layout import integers
from ..op import as_tensor_operand, called, conform, dense, function, same_device
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor
from .compare import choose as where
from .create import arange, linspace, ones, zeros
from .join import cat, stack
from .launch import launch
from .matmul import matmul
from .view import reshape


def _launched(template, a, b, places, out, channels, size, units, work):
    m = out._m
    _, taps, outs = places._m.shape
    slots = dense(a)._d, dense(b)._d, dense(places)._d, out._d, channels, size, taps, outs
    launch(template, {"T": m.np.type}, slots, units if outs else 0, work, m.device)
    return out


@structured(install=(), name="grid_sampler", raw=True, cases="none")
def _sampled(input, weights, places):
    """``out[n, c, q] = sum over t of weights[n, t, q] * input[n, c, places[n, t, q]]``, negative places left out."""
    m = input._m
    n, channels, size = m.shape
    _, taps, outs = places._m.shape
    out = empty_tensor(meta(m.dtype, (n, channels, outs), m.device))
    units = n * channels * -(-outs // kernels.BLOCK)
    return _launched(kernels.take_weighted, input, weights, places, out, channels, size, units, taps * kernels.BLOCK)


@_sampled.backward
def _(g, input, weights, places):
    g = conform(g, input._m)
    d_input = None if input._n is None else _spread(g, weights, places, input._m.shape[2])
    d_weights = None if weights._n is None else _products(g, input, places)
    return d_input, d_weights, None


@structured(install=(), name="grid_sampler_input_grad", raw=True, cases="none")
def _spread(g, weights, places, *, size):
    """The gradient of `_sampled` for an input of ``size`` elements a plane."""
    m = g._m
    n, channels, outs = m.shape
    out = empty_tensor(meta(m.dtype, (n, channels, size), m.device))
    if not outs:
        return out.zero_()
    work = size + outs * places._m.shape[1]
    return _launched(kernels.add_weighted, g, weights, places, out, channels, size, n * channels, work)


@_spread.backward
def _(gg, g, weights, places):
    gg = conform(gg, g._m)
    d_g = None if g._n is None else _sampled(gg, weights, places)
    d_weights = None if weights._n is None else _products(g, gg, places)
    return d_g, d_weights, None


@structured(install=(), name="grid_sampler_weight_grad", raw=True, cases="none")
def _products(g, input, places):
    """The gradient of `_sampled` for its weights."""
    m = g._m
    n, channels, size = input._m.shape
    _, taps, outs = places._m.shape
    out = empty_tensor(meta(m.dtype, places._m.shape, m.device))
    units, work = n * taps * -(-outs // kernels.BLOCK), channels * kernels.BLOCK
    return _launched(kernels.products, g, input, places, out, channels, size, units, work)


@_products.backward
def _(gg, g, input, places):
    gg = conform(gg, g._m)
    d_g = None if g._n is None else _sampled(input, gg, places)
    d_input = None if input._n is None else _spread(g, gg, places, input._m.shape[2])
    return d_g, d_input, None


# --- from coordinates to places and weights --------------------------------------------------------------------------


def _clipped(x, size):
    """``x`` within [0, size - 1]; at the border and beyond it the gradient is 0."""
    return where((x > 0) & (x < size - 1), x, x.detach().clamp(0, size - 1))


def _reflected(x, size, align_corners):
    """``x`` mirrored at the first and last element, or at their outer edges without ``align_corners``."""
    low = 0.0 if align_corners else -0.5
    span = size - 1.0 if align_corners else float(size)
    if span == 0:
        return x * 0.0
    x = x - low
    x = where(x < 0, -x, x)
    turns = (x.detach() / span).floor()
    rest = x - turns * span
    return where(turns.remainder(2.0) == 0, rest, span - rest) + low


def _bounded(x, size, padding_mode, align_corners):
    if padding_mode == "zeros":
        return x
    return _clipped(x if padding_mode == "border" else _reflected(x, size, align_corners), size)


def _cubic_weights(t):
    """Those of the elements at -1, 0, 1 and 2, for a place at ``t`` in [0, 1]: (N, Q) -> (N, 4, Q)."""
    a = -0.75

    def inner(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def outer(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return stack((outer(t + 1), inner(t), inner(1 - t), outer(2 - t)), 1)


def _along(x, size, mode, padding_mode, align_corners):
    """(places, weights), both (N, taps, Q), of one dimension for coordinates ``x`` from -1 to 1: (N, Q).

    A place beyond the ends is given as a number below 0 or from ``size`` on; NaN also stands for no place.
    """
    x = (x + 1) * (0.5 * (size - 1)) if align_corners else (x + 1) * (0.5 * size) - 0.5
    if mode == "bicubic":
        low = x.detach().floor()
        taps = low.unsqueeze(1) + arange(-1, 3, dtype=x.dtype, device=x.device).reshape(1, 4, 1)
        return _bounded(taps, size, padding_mode, align_corners), _cubic_weights(x - low)
    x = _bounded(x, size, padding_mode, align_corners)
    if mode == "nearest":
        rounded = x.round()  # whose gradient is 0
        return rounded.detach().unsqueeze(1), (rounded - rounded.detach() + 1).unsqueeze(1)
    low = x.detach().floor()
    upper = x - low
    return stack((low, low + 1), 1), stack((1 - upper, upper), 1)


def _combined(axes, size):
    """(places in the flat plane, -1 where there is none; weights) of all dimensions together: (N, taps, Q)."""
    places = weights = inside = None
    for (at, factor), k in zip(axes, size):
        held = (at >= 0) & (at <= k - 1)
        at = where(held, at, at.new_zeros(())).to(dtypes.int64)
        if places is None or weights is None or inside is None:
            places, weights, inside = at, factor, held
            continue
        n, taps, q = at.shape
        shape = n, taps * places.shape[1], q
        places = (places.unsqueeze(2) * k + at.unsqueeze(1)).reshape(shape)
        weights = (weights.unsqueeze(2) * factor.unsqueeze(1)).reshape(shape)
        inside = (inside.unsqueeze(2) & held.unsqueeze(1)).reshape(shape)
    return where(inside, places, places.new_full((), -1)), weights


_MODES = ("bilinear", "nearest", "bicubic")
_PADDING = ("zeros", "border", "reflection")


@function(install=())
def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None) -> Tensor:
    """``input`` at the places ``grid``: (N, C, H, W), (N, H', W', 2) -> (N, C, H', W'); or (N, C, D, H, W),
    (N, D', H', W', 3) -> (N, C, D', H', W').

    The last dimension of ``grid`` holds x, y (and z), from -1 to 1: the centres of the first and last elements with
    ``align_corners``, else their outer edges. ``mode``: "bilinear" (in three dimensions trilinear), "nearest" or
    "bicubic" (two dimensions). ``padding_mode``, beyond the edges: "zeros", "border" or "reflection". Raises ValueError
    for unknown modes, RuntimeError where shapes or dtypes do not fit.
    """
    if mode not in _MODES:
        raise ValueError(f"grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: {mode!r}")
    if padding_mode not in _PADDING:
        raise ValueError(
            f"grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: {padding_mode!r}"
        )
    if align_corners is None:
        _warn_of_corners()
    input, grid = as_tensor_operand("grid_sample", input, "input"), as_tensor_operand("grid_sample", grid, "grid")
    _check(input._m, grid._m, mode)
    same_device("grid_sample", (input, grid))
    n, channels, *size = input.shape
    out_size = grid.shape[1:-1]
    places = reshape(grid, (n, prod(out_size), len(size)))
    axes = [
        _along(places.select(2, len(size) - 1 - axis), k, mode, padding_mode, bool(align_corners))
        for axis, k in enumerate(size)
    ]
    places, weights = _combined(axes, size)
    found = _sampled(reshape(input, (n, channels, prod(size))), weights, places)
    return called(reshape(found, (n, channels, *out_size)), f"GridSampler{len(size)}DBackward0")


def _grid_sampler(name, dims):
    def sampler(input, grid, interpolation_mode, padding_mode, align_corners) -> Tensor:
        for value, modes, label in ((interpolation_mode, _MODE_NUMBERS, "interpolation"), (padding_mode, _PADDING_NUMBERS, "padding")):
            if value not in range(len(modes)):
                raise RuntimeError(f"{name}(): unknown {label} mode {value!r}; expected 0 to {len(modes) - 1}")
        mode, padding = _MODE_NUMBERS[interpolation_mode], _PADDING_NUMBERS[padding_mode]
        _check(input._m, grid._m, mode)
        if dims is not None and input._m.ndim != dims + 2:
            raise RuntimeError(
                f"{name}(): expected {dims + 2}D input and grid with same number of dimensions, but got input with sizes "
                f"{list(input._m.shape)} and grid with sizes {list(grid._m.shape)}"
            )
        return grid_sample(input, grid, mode, padding, bool(align_corners))

    sampler.__name__ = sampler.__qualname__ = name
    sampler.__doc__ = f"`grid_sample` with modes by number: {', '.join(_MODE_NUMBERS)}; {', '.join(_PADDING_NUMBERS)}."
    return function(sampler, install=("ng",))


_MODE_NUMBERS, _PADDING_NUMBERS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
grid_sampler = _grid_sampler("grid_sampler", None)
grid_sampler_2d = _grid_sampler("grid_sampler_2d", 2)
grid_sampler_3d = _grid_sampler("grid_sampler_3d", 3)


def _warn_of_corners():
    warn_once(
        "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
        "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details.",
        stacklevel=4,
    )


def _check(m, g, mode):
    if m.dtype is not g.dtype:
        raise RuntimeError(
            f"grid_sample(): expected input and grid to have same dtype, but input has {m.dtype!r} and grid has "
            f"{g.dtype!r}; convert with .to(...)"
        )
    if not m.dtype.is_floating_point:
        raise RuntimeError(f'"grid_sample" not implemented for {m.dtype!r}; convert with .float()')
    if m.shape[:1] != g.shape[:1]:
        raise RuntimeError(
            "grid_sample(): expected grid and input to have same batch size, but got input with sizes "
            f"{list(m.shape)} and grid with sizes {list(g.shape)}"
        )
    if g.ndim and g.shape[-1] != m.ndim - 2:
        raise RuntimeError(
            f"grid_sample(): expected grid to have size {m.ndim - 2} in last dimension, but got grid with sizes "
            f"{list(g.shape)}"
        )
    if 0 in m.shape[2:]:
        raise RuntimeError(
            f"grid_sample(): expected input to have non-empty spatial dimensions, but input has sizes {list(m.shape)}"
        )
    if m.ndim not in (4, 5) or g.ndim != m.ndim:
        raise RuntimeError(
            "grid_sample(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(m.shape)} and grid with sizes {list(g.shape)}"
        )
    if mode == "bicubic" and m.ndim != 4:
        raise RuntimeError(f"grid_sample(): bicubic interpolation only supports 4D input, but got {m.ndim}D")


@function(install=())
def affine_grid(theta, size, align_corners=None) -> Tensor:
    """The places ``theta @ (x, y, 1)`` of an image's elements, for `grid_sample`: theta (N, 2, 3) and the size
    (N, C, H, W) -> (N, H, W, 2); theta (N, 3, 4) and (N, C, D, H, W) -> (N, D, H, W, 3).

    Coordinates run from -1 to 1, as ``align_corners`` says in `grid_sample`. Raises ValueError where shapes do not fit.
    """
    if align_corners is None:
        _warn_of_corners()
    theta = as_tensor_operand("affine_grid", theta, "theta")
    m, size = theta._m, integers("affine_grid", "size", size)
    if not m.dtype.is_floating_point:
        raise ValueError(f"Expected theta to have floating point type, but got {m.dtype!r}; convert with .float()")
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size "
            f"{list(size)}"
        )
    if tuple(m.shape) != (size[0], n, n + 1):
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {list(size)}. Got "
            f"{list(m.shape)}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {list(size)}")
    if align_corners and min(size[2:]) == 1:
        warnings.warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. This is not an "
            "intended use case of affine_grid. See the documentation of affine_grid for details.", stacklevel=2,
        )  # fmt: skip
    return _grid_of(theta, tuple(size[2:]), bool(align_corners))


@structured(install=(), name="affine_grid", cases="none", grad_name="AffineGridGeneratorBackward0")
def _grid_of(theta, *, sizes, align_corners):
    """(N, n, n + 1) -> (N, *sizes, n)"""
    m = theta._m
    found = matmul(_places(m, sizes, align_corners), theta.transpose(1, 2))
    return dense(found.reshape(m.shape[0], *sizes, len(sizes)))


@_grid_of.backward
def _(g, sizes, align_corners):
    n = len(sizes)
    return matmul(g.reshape(g._m.shape[0], -1, n).transpose(1, 2), _places(g._m, sizes, align_corners))


def _places(m, sizes, align_corners):
    """The ``(x, y, 1)`` of all elements, one a row, in the dtype and on the device of ``m``."""
    n, parts = len(sizes), []
    for axis in reversed(range(n)):
        k = sizes[axis]
        line = linspace(-1, 1, k, dtype=m.dtype, device=m.device) if k > 1 else zeros(1, dtype=m.dtype, device=m.device)
        line = line if align_corners or k == 1 else line * ((k - 1) / k)
        parts.append(line.reshape(k, *(1,) * (n - 1 - axis)).expand(sizes).reshape(-1, 1))
    return cat([*parts, ones(prod(sizes), 1, dtype=m.dtype, device=m.device)], 1)
