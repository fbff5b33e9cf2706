"""Integrals by trapezoids and derivatives by finite differences of sampled functions."""

from ..layout import normalize_axes, normalize_axis
from ..op import as_tensor_operand, function
from ..tensor import Tensor
from .create import tensor as tensor_of
from .join import cat
from .parts import narrow
from .scan import cumsum


def _steps(name, y, x, dx, dim):
    """(areas between neighbouring samples along the dimension, that dimension)."""
    y = as_tensor_operand(name, y, "y")
    if dx is not None and x is not None:
        raise TypeError(f"{name}(): got both 'x' and 'dx'; give one of them")
    if y._m.dtype.kind == "b" or (x is not None and x._m.dtype.kind == "b"):
        raise RuntimeError(f"{name}: received a bool input for x or y, but bool is not supported; use .long()")
    dim = normalize_axis(name, dim, y._m.ndim)
    size = y._m.shape[dim]
    if size == 0:
        return y * 1.0, dim
    sums = narrow(y, dim, 1, size - 1) + narrow(y, dim, 0, size - 1)
    if x is None:
        return sums * (0.5 if dx is None else dx / 2.0), dim
    if x._m.ndim == 1 and x._m.numel == size:  # one set of places for all
        widths = x.diff().reshape([-1 if axis == dim else 1 for axis in range(y._m.ndim)])
    elif x._m.ndim == 1:
        raise RuntimeError(
            f"{name}: There must be one `x` value for each sample point along dimension {dim}, got {x._m.numel} for {size}"
        )
    else:
        widths = x.diff(dim=dim - y._m.ndim)
    return sums * widths / 2.0, dim


@function(install=("ng",))
def trapezoid(y, x=None, *, dx=None, dim=-1) -> Tensor:
    """The integral of samples ``y`` along ``dim`` by the trapezoidal rule, at places ``x`` or ``dx`` (1) apart."""
    areas, dim = _steps("trapezoid", y, x, dx, dim)
    return areas.sum(dim)


@function(install=("ng",))
def trapz(y, x=None, *, dx=1.0, dim=-1) -> Tensor:
    """`trapezoid` under its old name."""
    return trapezoid(y, x, dim=dim) if x is not None else trapezoid(y, dx=dx, dim=dim)


@function(install=("ng",))
def cumulative_trapezoid(y, x=None, *, dx=None, dim=-1) -> Tensor:
    """The integrals of samples ``y`` up to each place along ``dim`` by the trapezoidal rule; one less than samples."""
    areas, dim = _steps("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(areas, dim)


# --- finite differences --------------------------------------------------------------------------------------------


def _uniform(input, dim, step, order):
    """Central differences at equal distances, one-sided ones of ``order`` at both ends."""
    n = input._m.shape[dim]

    def at(start, length=1):
        return narrow(input, dim, start, length)

    inner = (at(2, n - 2) - at(0, n - 2)) / (2.0 * step)
    if order == 1:
        first, last = (at(1) - at(0)) / step, (at(n - 1) - at(n - 2)) / step
    else:
        first = (at(1) * 4.0 - at(0) * 3.0 - at(2)) / (2.0 * step)
        last = (at(n - 1) * 3.0 - at(n - 2) * 4.0 + at(n - 3)) / (2.0 * step)
    return cat((first, inner, last), dim)


def _uneven(input, dim, places, order):
    """Second-order differences at given places."""
    n = input._m.shape[dim]
    widths = places.diff().reshape([-1 if axis == dim else 1 for axis in range(input._m.ndim)])

    def at(start, length=1):
        return narrow(input, dim, start, length)

    before, after = narrow(widths, dim, 0, n - 2), narrow(widths, dim, 1, n - 2)
    both = before + after
    inner = (
        at(2, n - 2) * (before / (after * both))
        + at(1, n - 2) * ((after - before) / (before * after))
        - at(0, n - 2) * (after / (before * both))
    )
    h, k = narrow(widths, dim, 0, 1), narrow(widths, dim, n - 2, 1)
    if order == 1:
        return cat(((at(1) - at(0)) / h, inner, (at(n - 1) - at(n - 2)) / k), dim)
    next_h, before_k = narrow(widths, dim, 1, 1), narrow(widths, dim, n - 3, 1)
    s, t = h + next_h, k + before_k
    first = at(1) * (s / (h * next_h)) - at(0) * ((h + s) / (h * s)) - at(2) * (h / (next_h * s))
    last = at(n - 1) * ((k + t) / (k * t)) - at(n - 2) * (t / (k * before_k)) + at(n - 3) * (k / (before_k * t))
    return cat((first, inner, last), dim)


@function(install=("ng",))
def gradient(input, *, spacing=None, dim=None, edge_order=1) -> tuple[Tensor, ...]:
    """The derivatives of a sampled function along each of ``dim`` (all by default), by second-order differences.

    ``spacing`` is the distance of the samples, one for all dimensions or one each, or their places, a vector each;
    ``edge_order`` 1 or 2 is the order of the one-sided differences at the ends.
    """
    input = as_tensor_operand("gradient", input, "input")
    ndim = input._m.ndim
    dims = normalize_axes("gradient", dim, ndim)
    if edge_order not in (1, 2):
        raise RuntimeError(f"gradient: only edge_order 1 and 2 are supported, got {edge_order}")
    if isinstance(spacing, (list, tuple)):
        if len(spacing) != len(dims):
            raise RuntimeError(
                f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length {len(dims)}, but got a "
                f"list of length {len(spacing)}"
            )
        spacings = list(spacing)
    else:
        spacings = [1.0 if spacing is None else spacing] * len(dims)
    found = []
    for axis, step in zip(dims, spacings):
        size = input._m.shape[axis]
        if size < edge_order + 1:
            raise RuntimeError(
                f"gradient: each dimension must have at least edge_order + 1 = {edge_order + 1} samples, but dimension "
                f"{axis} has {size}"
            )
        values = input if input._m.dtype.differentiable else input.to(tensor_of(0.0).dtype)
        if isinstance(step, Tensor) and step._m.ndim:
            if step._m.ndim != 1 or step._m.numel != size:
                raise RuntimeError(
                    f"gradient: expected one coordinate a sample of dimension {axis}, {size}, but got shape "
                    f"{list(step._m.shape)}"
                )
            found.append(_uneven(values, axis, step, edge_order))
        else:
            found.append(_uniform(values, axis, step, edge_order))
    return tuple(found)
