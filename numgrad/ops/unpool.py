"""What undoes maximum pooling, and pooling by power means."""

from math import prod

from .. import dtypes
from ..layout import integers
from ..op import as_tensor_operand, dense, function, plain
from ..tensor import Tensor
from .arithmetic import mul
from .formats import restored
from .places import Along, Writing
from .pool import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d, several
from .view import reshape

_placed = Writing("max_unpool")


def _unpooled_size(name, size, taps, stride, padding, output_size):
    """The spatial size that pooling would have made ``size`` of."""
    found = [(k - 1) * s + t - 2 * p for k, s, t, p in zip(size, stride, taps, padding)]
    if output_size is None:
        return found
    wanted = list(integers(name, "output_size", output_size))
    if len(wanted) == len(taps) + 2:
        wanted = wanted[2:]
    if len(wanted) != len(taps):
        raise ValueError(
            f"{name}: output_size should be a sequence containing {len(taps)} or {len(taps) + 2} elements, but it has a "
            f"length of '{len(wanted)}'"
        )
    for k, (size, standard, step) in enumerate(zip(wanted, found, stride)):
        if not standard - step < size < standard + step:
            raise ValueError(
                f"{name}: invalid output_size {wanted} (dim {k} must be between {standard - step} and "
                f"{standard + step})"
            )
    return wanted


def _max_unpool(name, n, input, indices, kernel_size, stride, padding, output_size):
    input, indices = as_tensor_operand(name, input, "input"), as_tensor_operand(name, indices, "indices")
    m, im = input._m, indices._m
    if im.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}: elements in indices should be type int64 but got: {im.dtype!r}; use .long()")
    if m.ndim not in (n + 1, n + 2) or 0 in m.shape[-n - 1 :]:
        raise RuntimeError(
            f"{name}: Input to {name} should be a {n + 1}d or {n + 2}d tensor with non-zero sizes, but got: "
            f"{list(m.shape)}"
        )
    if m.shape != im.shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor ({list(m.shape)}), but got "
            f"indices tensor with shape: {list(im.shape)}"
        )
    taps = several(name, "kernel_size", kernel_size, n)
    steps = taps if stride is None or isinstance(stride, tuple) and not stride else several(name, "stride", stride, n)
    if min(steps) < 1:
        raise RuntimeError(f"{name}: strides should be greater than zero, but got stride: {list(steps)}")
    size = _unpooled_size(name, m.shape[-n:], taps, steps, several(name, "padding", padding, n), output_size)
    lead = tuple(m.shape[:-n])
    rows, columns = prod(lead), prod(m.shape[-n:])
    planes = input.new_zeros((rows, prod(size)))
    if m.numel:
        at = Along(name, dense(reshape(plain(indices), (rows, columns))), 1)
        planes = _placed(planes, reshape(input, (rows, columns)), at)
    else:  # nothing too, but of the input
        planes = planes + reshape(input, (rows, columns)).sum(1, True)
    return restored(reshape(planes, (*lead, *size)), m.last)


@function(install=())
def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """Zeros with ``input`` at the ``indices`` that `max_pool1d` returned: (N, C, L) or (C, L) -> the same with L' =
    ``(L - 1) * stride - 2 * padding + kernel_size`` or ``output_size``.

    Where several values have one place, the last one stays. Raises ValueError for an impossible ``output_size``,
    RuntimeError where shapes do not fit.
    """
    return _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@function(install=())
def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """Zeros with ``input`` at the ``indices`` that `max_pool2d` returned: (N, C, H, W) or (C, H, W); sizes as in
    `max_unpool1d`."""
    return _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


@function(install=())
def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """Zeros with ``input`` at the ``indices`` that `max_pool3d` returned: (N, C, D, H, W) or (C, D, H, W); sizes as in
    `max_unpool1d`."""
    return _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


def _lp_pool(name, n, maximum, mean, input, norm_type, kernel_size, stride, ceil_mode):
    """The mean of ``x ** p`` over windows, times their size, to the power ``1 / p``; for infinite p the maximum."""
    input = as_tensor_operand(name, input, "input")
    taps = several(name, "kernel_size", kernel_size, n)
    if norm_type == float("inf"):
        return maximum(input.abs(), taps, stride, ceil_mode=ceil_mode)
    out = mean(input**norm_type, taps, stride, 0, ceil_mode)
    return mul(out.sign() * out.abs().relu(), prod(taps)) ** (1.0 / norm_type)


@function(install=())
def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False) -> Tensor:
    """``(sum of x^p) ** (1 / p)`` over sliding windows, p being ``norm_type``: (N, C, L) or (C, L); windows as in
    `avg_pool1d`."""
    return _lp_pool("lp_pool1d", 1, max_pool1d, avg_pool1d, input, norm_type, kernel_size, stride, ceil_mode)


@function(install=())
def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False) -> Tensor:
    """``(sum of x^p) ** (1 / p)`` over sliding windows, p being ``norm_type``: (N, C, H, W) or (C, H, W); windows as in
    `avg_pool2d`."""
    return _lp_pool("lp_pool2d", 2, max_pool2d, avg_pool2d, input, norm_type, kernel_size, stride, ceil_mode)


@function(install=())
def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False) -> Tensor:
    """``(sum of x^p) ** (1 / p)`` over sliding windows, p being ``norm_type``: (N, C, D, H, W) or (C, D, H, W); windows
    as in `avg_pool3d`."""
    return _lp_pool("lp_pool3d", 3, max_pool3d, avg_pool3d, input, norm_type, kernel_size, stride, ceil_mode)
