"""Discrete Fourier transforms, as in ``torch.fft``: through SciPy, differentiable any number of times.

``n`` and ``s`` are the sizes that the input is cut or zero-filled to, ``dim`` the dimensions to transform. ``norm``
says which direction is divided: "backward" (the default: the inverse by N), "forward" (the forward one by N) or "ortho"
(both by the root of N). Inputs are float32, float64, complex64 or complex128; bool and integers become the default
floating-point dtype.
"""

import math

import numpy as np

from . import dtypes
from .device import resolve
from .inplace import write_out
from .layout import integer, integers, normalize_axis
from .names import open_doors
from .op import as_tensor_operand, cast
from .ops.complex import conj
from .ops.copy import clone
from .ops.fourier import complex_transform, half_transform, real_transform, resized
from .ops.rearrange import roll
from .tensor import Tensor, from_array

# --- checks ----------------------------------------------------------------------------------------------------------


def _operand(name, input, wanted=None):
    """The input in a dtype that can be transformed: "real" (a complex one is an error), "complex" or either."""
    input = as_tensor_operand(name, input, "input")
    d = input._m.dtype
    if wanted == "real" and d.is_complex:
        kind = d.scalar_type
        real = "real" if name in ("rfft", "ihfft") else "real-valued"
        raise RuntimeError(f"{name} expects a {real} input tensor, but got {kind}; take .real of it, or use {name.replace('r', '', 1)}")
    if d.is_floating_point and d.itemsize == 2:
        raise RuntimeError(f"{name}: Unsupported dtype {d!r}; convert with .float() first")
    if not d.differentiable:
        d = dtypes.get_default_dtype()
    if wanted == "complex":
        d = d.to_complex()
    return cast(input, d)


def _axis(name, input, dim):
    if not input._m.ndim:
        raise IndexError(f"{name}: Dimension specified as {dim} but tensor has no dimensions")
    return normalize_axis(name, dim, input._m.ndim)


def _axes(name, input, s, dim):
    """(dimensions, their sizes) from the arguments ``s`` and ``dim``."""
    ndim = input._m.ndim
    s = s if s is None else integers(name, "s", s)
    dim = dim if dim is None else integers(name, "dim", dim)
    if s is not None and dim is not None and len(s) != len(dim):
        raise RuntimeError(
            f"{name}: When given, dim and shape arguments must have the same length, got {len(dim)} dims and {len(s)} sizes"
        )
    if s is not None and len(s) > ndim:
        raise RuntimeError(f"{name}: Got shape with {len(s)} values but input tensor only has {ndim} dimensions.")
    if dim is None:
        axes = list(range(ndim) if s is None else range(ndim - len(s), ndim))
    else:
        axes = [_axis(name, input, k) for k in dim]
        if len(set(axes)) != len(axes):
            raise RuntimeError(f"{name}: FFT dims must be unique, got {tuple(dim)}")
    given = [-1] * len(axes) if s is None else s
    return axes, [input._m.shape[axis] if size == -1 else size for axis, size in zip(axes, given)]


def _check_sizes(name, sizes):
    for size in sizes:
        if size < 1:
            raise RuntimeError(f"{name}: Invalid number of data points ({size}) specified; each size must be at least 1")


def _scale(name, norm, count, forward):
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(f'{name}: Invalid normalization mode: "{norm}"; use "backward", "forward" or "ortho"')
    if norm == "ortho":
        return 1.0 / math.sqrt(count)
    return 1.0 / count if forward == (norm == "forward") else 1.0


def _given(name, found, out):
    return found if out is None else write_out(name, found, out)


# --- one or more dimensions ----------------------------------------------------------------------------------------


def _complex(name, input, sizes, axes, norm, forward, out):
    input = _operand(name, input, "complex")
    _check_sizes(name, sizes)
    for axis, size in zip(axes, sizes):
        input = resized(input, axis, size)
    return _given(name, complex_transform(input, tuple(axes), _scale(name, norm, math.prod(sizes), forward), forward), out)


def _halving(name, input, sizes, axes, norm, forward, out):
    """Real to half a spectrum: over the last axis; the others are transformed after it."""
    input = _operand(name, input, "real")
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    _check_sizes(name, sizes)
    for axis, size in zip(axes, sizes):
        input = resized(input, axis, size)
    found = real_transform(input, axes[-1], _scale(name, norm, math.prod(sizes), forward))
    if not forward:
        found = conj(found)
    if len(axes) > 1:
        found = complex_transform(found, tuple(axes[:-1]), 1.0, forward)
    return _given(name, found, out)


def _completing(name, input, sizes, axes, norm, forward, out):
    """Half a spectrum to real: over the last axis, after the others."""
    input = _operand(name, input, "complex")
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    _check_sizes(name, sizes)
    n = sizes[-1]
    for axis, size in zip(axes, (*sizes[:-1], n // 2 + 1)):
        input = resized(input, axis, size)
    if len(axes) > 1:
        input = complex_transform(input, tuple(axes[:-1]), 1.0, forward)
    if forward:
        input = conj(input)
    return _given(name, half_transform(input, axes[-1], _scale(name, norm, math.prod(sizes), forward), n), out)


def _one(name, input, n, dim):
    """(axes, sizes) of a transform over one dimension."""
    input = as_tensor_operand(name, input, "input")
    axis = _axis(name, input, dim)
    return [axis], [input._m.shape[axis] if n is None else integer(name, "n", n)]


def _one_completed(name, input, n, dim):
    axes, sizes = _one(name, input, None, dim)
    return axes, [2 * (sizes[0] - 1) if n is None else integer(name, "n", n)]


def _some_completed(name, input, s, dim):
    input = as_tensor_operand(name, input, "input")
    axes, sizes = _axes(name, input, s, dim)
    if sizes and (s is None or integers("irfftn", "s", s)[-1] == -1):
        sizes[-1] = 2 * (sizes[-1] - 1)
    return axes, sizes


# --- the public functions ------------------------------------------------------------------------------------------


def fft(input, n=None, dim=-1, norm=None, *, out=None) -> Tensor:
    """The transform over ``dim``: ``y_k = sum_n x_n exp(-2 pi i k n / N)``; complex."""
    axes, sizes = _one("fft", input, n, dim)
    return _complex("fft", input, sizes, axes, norm, True, out)


def ifft(input, n=None, dim=-1, norm=None, *, out=None) -> Tensor:
    """The inverse of `fft`: ``y_n = 1/N sum_k x_k exp(2 pi i k n / N)``; complex."""
    axes, sizes = _one("ifft", input, n, dim)
    return _complex("ifft", input, sizes, axes, norm, False, out)


def rfft(input, n=None, dim=-1, norm=None, *, out=None) -> Tensor:
    """`fft` of a real tensor: the first ``n // 2 + 1`` values, which the others mirror."""
    axes, sizes = _one("rfft", input, n, dim)
    return _halving("rfft", input, sizes, axes, norm, True, out)


def irfft(input, n=None, dim=-1, norm=None, *, out=None) -> Tensor:
    """The inverse of `rfft`: real, of ``n`` values, by default ``2 * (size - 1)``."""
    axes, sizes = _one_completed("irfft", input, n, dim)
    return _completing("irfft", input, sizes, axes, norm, False, out)


def hfft(input, n=None, dim=-1, norm=None, *, out=None) -> Tensor:
    """`fft` of a tensor with Hermitian symmetry, given its first ``n // 2 + 1`` values: real, of ``n`` values, by
    default ``2 * (size - 1)``."""
    axes, sizes = _one_completed("hfft", input, n, dim)
    return _completing("hfft", input, sizes, axes, norm, True, out)


def ihfft(input, n=None, dim=-1, norm=None, *, out=None) -> Tensor:
    """The inverse of `hfft`: the first ``n // 2 + 1`` values, complex, of a real tensor."""
    axes, sizes = _one("ihfft", input, n, dim)
    return _halving("ihfft", input, sizes, axes, norm, False, out)


def fftn(input, s=None, dim=None, norm=None, *, out=None) -> Tensor:
    """`fft` over several dimensions: ``dim``, else as many last ones as ``s`` has sizes, else all."""
    axes, sizes = _axes("fftn", as_tensor_operand("fftn", input, "input"), s, dim)
    return _complex("fftn", input, sizes, axes, norm, True, out)


def ifftn(input, s=None, dim=None, norm=None, *, out=None) -> Tensor:
    """The inverse of `fftn`."""
    axes, sizes = _axes("ifftn", as_tensor_operand("ifftn", input, "input"), s, dim)
    return _complex("ifftn", input, sizes, axes, norm, False, out)


def rfftn(input, s=None, dim=None, norm=None, *, out=None) -> Tensor:
    """`fftn` of a real tensor; of the last dimension only the first ``n // 2 + 1`` values."""
    axes, sizes = _axes("rfftn", as_tensor_operand("rfftn", input, "input"), s, dim)
    return _halving("rfftn", input, sizes, axes, norm, True, out)


def irfftn(input, s=None, dim=None, norm=None, *, out=None) -> Tensor:
    """The inverse of `rfftn`: real; the last dimension gets ``2 * (size - 1)`` values unless ``s`` says how many."""
    axes, sizes = _some_completed("irfftn", input, s, dim)
    return _completing("irfftn", input, sizes, axes, norm, False, out)


def hfftn(input, s=None, dim=None, norm=None, *, out=None) -> Tensor:
    """`fftn` of a tensor with Hermitian symmetry, of whose last dimension only the first ``n // 2 + 1`` values are
    given: real."""
    axes, sizes = _some_completed("hfftn", input, s, dim)
    return _completing("hfftn", input, sizes, axes, norm, True, out)


def ihfftn(input, s=None, dim=None, norm=None, *, out=None) -> Tensor:
    """The inverse of `hfftn`, of a real tensor."""
    axes, sizes = _axes("ihfftn", as_tensor_operand("ihfftn", input, "input"), s, dim)
    return _halving("ihfftn", input, sizes, axes, norm, False, out)


def fft2(input, s=None, dim=(-2, -1), norm=None, *, out=None) -> Tensor:
    """`fftn` over the last two dimensions."""
    return fftn(input, s, dim, norm, out=out)


def ifft2(input, s=None, dim=(-2, -1), norm=None, *, out=None) -> Tensor:
    """`ifftn` over the last two dimensions."""
    return ifftn(input, s, dim, norm, out=out)


def rfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None) -> Tensor:
    """`rfftn` over the last two dimensions."""
    return rfftn(input, s, dim, norm, out=out)


def irfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None) -> Tensor:
    """`irfftn` over the last two dimensions."""
    return irfftn(input, s, dim, norm, out=out)


def hfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None) -> Tensor:
    """`hfftn` over the last two dimensions."""
    return hfftn(input, s, dim, norm, out=out)


def ihfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None) -> Tensor:
    """`ihfftn` over the last two dimensions."""
    return ihfftn(input, s, dim, norm, out=out)


# --- frequencies and shifts ----------------------------------------------------------------------------------------


def _frequencies(name, numbers, n, d, out, dtype, device, requires_grad):
    dtype = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if not dtype.differentiable:
        raise RuntimeError(f"{name} requires a floating point or complex dtype, got {dtype!r}")
    found = from_array(dtype.encode(numbers * (1.0 / (n * d)))).to(resolve(device))
    if out is not None:
        return write_out(name, found, out)
    return found.requires_grad_() if requires_grad else found


def fftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """The frequencies of `fft`'s values, in cycles per unit of the sample spacing ``d``: ``[0, 1, ..., -1] / (d n)``."""
    n = integer("fftfreq", "n", n)
    numbers = np.concatenate([np.arange((n - 1) // 2 + 1), np.arange(-(n // 2), 0)])
    return _frequencies("fftfreq", numbers, n, d, out, dtype, device, requires_grad)


def rfftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False) -> Tensor:
    """The frequencies of `rfft`'s values: ``[0, 1, ..., n // 2] / (d n)``."""
    n = integer("rfftfreq", "n", n)
    return _frequencies("rfftfreq", np.arange(n // 2 + 1), n, d, out, dtype, device, requires_grad)


def _shift(name, input, dim, up):
    input = as_tensor_operand(name, input, "input")
    if dim is None:
        dim = tuple(range(input._m.ndim))
    axes = [_axis(name, input, k) for k in integers(name, "dim", dim)]
    if not axes:
        return clone(input)
    return roll(input, [(input._m.shape[axis] + up) // 2 for axis in axes], axes)


def fftshift(input, dim=None) -> Tensor:
    """The values reordered so that frequency 0 is in the middle of each of ``dim`` (all by default)."""
    return _shift("fftshift", input, dim, 0)


def ifftshift(input, dim=None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shift("ifftshift", input, dim, 1)


__all__ = [
    "fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn", "fft2",
    "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2", "fftfreq", "rfftfreq", "fftshift", "ifftshift",
]  # fmt: skip


open_doors(globals(), __name__)
