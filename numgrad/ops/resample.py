"""Images at other sizes and places: interpolate, grid_sample, affine_grid.

Resizing is separable: along each axis every output is a weighted sum of a few inputs, so that both directions of
differentiation are gathers, scatters and products.
"""

import math

import numpy as np

from ..op import as_tensor_operand, function
from ..tensor import Tensor, from_array
from .index import index_select
from .matmul import matmul
from .pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .view import reshape

_AREA = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}
_RANKS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}


@function(install=("F",))
def interpolate(input, size=None, scale_factor=None, mode: str = "nearest", align_corners=None, recompute_scale_factor=None,
                antialias: bool = False) -> Tensor:  # fmt: skip
    """(N, C, *spatial) resized to ``size``, or by ``scale_factor``.

    ``mode``: "nearest", "nearest-exact", "area", and by the number of dimensions "linear", "bilinear", "bicubic" or
    "trilinear". ``align_corners`` keeps the outermost elements' centres in place; ``antialias`` widens the kernel where
    the image shrinks ("bilinear" and "bicubic").
    """
    input = as_tensor_operand("interpolate", input, "input")
    ndim = input._m.ndim
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
            )
    elif mode not in _RANKS:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {ndim}D) for the modes: nearest | linear | bilinear "
            f"| bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    elif _RANKS[mode] != ndim:
        raise NotImplementedError(f"interpolate: Got {ndim}D input, but {mode} mode needs {_RANKS[mode]}D input")
    if ndim not in (3, 4, 5):
        raise NotImplementedError(f"interpolate: expected a 3D, 4D or 5D input (N, C, *spatial), got {ndim}D")
    spatial = list(input._m.shape[2:])
    if (size is None) == (scale_factor is None):
        raise ValueError("only one of size or scale_factor should be defined, and one of them must be")
    scales: list = [None] * len(spatial)
    if size is not None:
        sizes = [size] * len(spatial) if isinstance(size, int) else [int(n) for n in size]
        if len(sizes) != len(spatial):
            raise ValueError(
                f"Input and output must have the same number of spatial dimensions, but got input with spatial dimensions of "
                f"{spatial} and output size of {size}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and output "
                "size in (o1, o2, ...,oK) format."
            )
        if recompute_scale_factor:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    else:
        factors = list(scale_factor) if isinstance(scale_factor, (tuple, list)) else [scale_factor] * len(spatial)
        if len(factors) != len(spatial):
            raise ValueError(
                f"Input and scale_factor must have the same number of spatial dimensions, but got input with spatial dimensions "
                f"of {spatial} and scale_factor of shape {scale_factor}."
            )
        sizes = [math.floor(float(n) * f) for n, f in zip(spatial, factors)]
        if not recompute_scale_factor:
            scales = [float(f) for f in factors]
    if any(n <= 0 for n in (*spatial, *sizes)):
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input ({spatial}) and output ({sizes}) sizes"
        )
    if antialias and not (mode in ("bilinear", "bicubic") and ndim == 4):
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input")
    if mode == "area":
        return _AREA[ndim](input, sizes)
    if not input._m.dtype.is_floating_point and not (input._m.dtype.name == "uint8" and mode.startswith("nearest")):
        raise RuntimeError(f"interpolate: not implemented for {input._m.dtype!r}; convert with .float()")
    found = input
    for axis, (n, wanted, scale) in enumerate(zip(spatial, sizes, scales), 2):
        found = _along(found, axis, n, wanted, scale, mode, bool(align_corners), antialias)
    return found if found is not input else input.clone()


def _along(x, axis, n, wanted, scale, mode, align_corners, antialias):
    """The resized tensor along one axis."""
    if n == wanted and scale in (None, 1.0):
        return x
    real = np.float32 if x._m.dtype.name != "float64" else np.float64  # PyTorch finds places in the images' own precision
    step = real(n / wanted if scale is None else 1.0 / scale)
    if mode.startswith("nearest"):
        half = real(0.5 if mode == "nearest-exact" else 0.0)
        places = np.minimum(np.floor((np.arange(wanted, dtype=real) + half) * step).astype(np.int64), n - 1)
        return index_select(x, axis, from_array(places).to(x.device))
    if align_corners:
        step = real((n - 1) / (wanted - 1)) if wanted > 1 else real(0)
    if antialias:
        matrix = _smooth_matrix(n, wanted, float(step), mode, align_corners).astype(x._m.np)
        return matmul(x.transpose(axis, -1), from_array(matrix.T.copy()).to(x.device)).transpose(axis, -1)
    at = np.arange(wanted, dtype=real)
    at = at * step if align_corners else (at + real(0.5)) * step - real(0.5)
    if mode != "bicubic":
        at = np.maximum(at, 0)
    low = np.floor(at).astype(np.int64)
    t = at - low
    if mode == "bicubic":
        weights, first = _cubic(t, -0.75), -1
    else:
        low = np.minimum(low, n - 1)
        t = at - low
        weights, first = [1 - t, t], 0
    shape = [1] * x._m.ndim
    shape[axis] = wanted
    found = None
    for k, weight in enumerate(weights):
        places = from_array(np.clip(low + first + k, 0, n - 1)).to(x.device)
        term = index_select(x, axis, places) * from_array(weight.astype(x._m.np).reshape(shape)).to(x.device)
        found = term if found is None else found + term
    return found


def _cubic(t, a):
    """The four weights of cubic convolution at ``t`` between the middle two (R. Keys, 1981)."""

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _smooth_matrix(n, wanted, step, mode, align_corners):
    """(wanted, n): the weights of a kernel as wide as the step between outputs."""
    widen = max(step, 1.0)
    support = (1.0 if mode == "bilinear" else 2.0) * widen
    matrix = np.zeros((wanted, n))
    for i in range(wanted):
        centre = step * (i + 0.5)
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), n)
        x = np.abs((np.arange(low, high) - centre + 0.5) / widen)
        if mode == "bilinear":
            weights = np.maximum(1 - x, 0)
        else:
            a = -0.5
            near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
            weights = np.where(x < 1, near, np.where(x < 2, far, 0))
        matrix[i, low:high] = weights / weights.sum()
    return matrix


# --- at given places -------------------------------------------------------------------------------------------------


@function(install=("F",))
def grid_sample(input, grid, mode: str = "bilinear", padding_mode: str = "zeros", align_corners=None) -> Tensor:
    """The input at the places in ``grid``, from -1 to 1 across the image, x first: (N, C, H, W), (N, H', W', 2) ->
    (N, C, H', W'), or with a depth and three coordinates.

    ``mode``: "bilinear", "nearest" or (of images) "bicubic". ``padding_mode``: what is outside, "zeros", "border" or
    "reflection".
    """
    input, grid = as_tensor_operand("grid_sample", input, "input"), as_tensor_operand("grid_sample", grid, "grid")
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    m, places = input._m, grid._m
    dims = m.ndim - 2
    if dims not in (2, 3) or places.ndim != m.ndim:
        raise RuntimeError(
            f"grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(m.shape)} and grid with sizes {list(places.shape)}"
        )
    if m.shape[0] != places.shape[0] or places.shape[-1] != dims:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have the batch size {m.shape[0]} and size {dims} in last dimension, but got "
            f"grid with sizes {list(places.shape)}"
        )
    if m.dtype is not places.dtype:
        raise RuntimeError(f"grid_sampler(): expected input and grid to have same dtype, but input has {m.dtype!r} and grid has {places.dtype!r}")
    if 0 in m.shape[2:]:
        raise RuntimeError(f"grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes {list(m.shape)}")
    if mode == "bicubic" and dims == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    corners = bool(align_corners)
    axes = []  # of each spatial dimension: pairs (integer place as a float tensor, weight)
    for k, size in enumerate(m.shape[2:]):
        at = grid.select(-1, dims - 1 - k)
        at = (at + 1) * ((size - 1) / 2) if corners else ((at + 1) * size - 1) / 2
        if mode != "bicubic":
            at = _padded_place(at, size, padding_mode, corners)
        if mode == "nearest":
            axes.append([(at.detach().round(), at * 0.0 + 1.0)])
        elif mode == "bilinear":
            low = at.detach().floor()
            axes.append([(low, low + 1 - at), (low + 1, at - low)])
        else:
            low = at.detach().floor()
            axes.append([(low + j - 1, w) for j, w in enumerate(_cubic(at - low, -0.75))])
    found = None
    flat = reshape(input, (m.shape[0], m.shape[1], math.prod(m.shape[2:])))
    for combination in _combinations(axes):
        index, weight, inside = 0, None, None
        for (place, w), size in zip(combination, m.shape[2:]):
            if mode == "bicubic":
                place = _padded_place(place, size, padding_mode, corners)
            within = (place >= 0) & (place <= size - 1)
            inside = within if inside is None else inside & within
            index = index * size + place.nan_to_num(0.0).clamp(0, size - 1).long()
            weight = w if weight is None else weight * w
        share = weight * inside.to(m.dtype)
        places_flat = reshape(index, (m.shape[0], 1, -1)).expand(m.shape[0], m.shape[1], -1)
        values = flat.gather(2, places_flat) * reshape(share, (m.shape[0], 1, -1))
        found = values if found is None else found + values
    return reshape(found, (m.shape[0], m.shape[1], *places.shape[1:-1]))


def _combinations(axes):
    if not axes:
        return [()]
    return [(first, *rest) for first in axes[0] for rest in _combinations(axes[1:])]


def _padded_place(at, size, padding_mode, align_corners):
    """A coordinate moved to where the padding mode reads."""
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        if span == 0:
            return at * 0.0
        offset = (at - low).abs()
        rest = offset.fmod(span)
        even = (offset / span).floor().detach().remainder(2) == 0
        at = (rest + low).where(even, span - rest + low)
    return at.clamp(0, size - 1)


@function(install=("F",))
def affine_grid(theta, size, align_corners=None) -> Tensor:
    """The grid for `grid_sample` that an affine map gives: (N, 2, 3) with size (N, C, H, W) -> (N, H, W, 2), or (N, 3, 4)
    with (N, C, D, H, W) -> (N, D, H, W, 3)."""
    theta = as_tensor_operand("affine_grid", theta, "theta")
    size = [int(n) for n in size]
    dims = len(size) - 2
    if not theta._m.dtype.is_floating_point:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if dims not in (2, 3):
        raise NotImplementedError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size {size}."
        )
    if tuple(theta.shape[1:]) != (dims, dims + 1) or theta._m.ndim != 3:
        raise ValueError(f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size {size}. Got {theta.shape}.")
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    axes = []
    for n in size[2:]:
        line = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        axes.append(line if align_corners else line * (n - 1) / n)
    grids = np.meshgrid(*axes, indexing="ij")[::-1]
    base = np.stack([*grids, np.ones(size[2:])], -1).reshape(1, -1, dims + 1).astype(theta._m.np)
    found = matmul(from_array(base).to(theta.device).expand(size[0], -1, -1), theta.transpose(1, 2))
    return reshape(found, (size[0], *size[2:], dims))
