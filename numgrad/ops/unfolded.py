"""Convolutions as matrix products over unfolded inputs: for devices whose kernels of that kind are the matrix products.

Everything here is unrecorded and made of other ops. Spatial sizes have any number of dimensions; ``columns`` are
(N, groups, C / groups * taps, outputs).
"""

import itertools
from math import prod

from ..autograd import no_grad
from ..op import plain
from .matmul import matmul
from .parts import narrow
from .strided import as_strided
from .view import reshape


def _padded_size(size, taps, out_size, stride, padding, dilation):
    """The spatial size that all windows together reach over."""
    reach = [(o - 1) * s + (t - 1) * d + 1 for o, s, t, d in zip(out_size, stride, taps, dilation)]
    return [max(r, p + n) for r, p, n in zip(reach, padding, size)]


def _inside(padded, size, padding):
    """The view of a padded tensor that is the unpadded one."""
    for k, (n, p) in enumerate(zip(size, padding)):
        padded = narrow(padded, 2 + k, p, n)
    return padded


def _windows(padded, taps, out_size, stride, dilation):
    """The view (N, C, *taps, *out_size) of a padded input."""
    shape, steps = padded.shape, padded.stride()
    return as_strided(
        padded, (*shape[:2], *taps, *out_size),
        (*steps[:2], *[a * d for a, d in zip(steps[2:], dilation)], *[a * s for a, s in zip(steps[2:], stride)]),
        padded.storage_offset(),
    )  # fmt: skip


@no_grad()
def unfold(x, taps, out_size, stride, padding, dilation):
    """What every tap of a window sees: (N, C, *size) -> (N, C, *taps, *out_size)."""
    x = plain(x)
    n, c, *size = x.shape
    padded = x.new_zeros((n, c, *_padded_size(size, taps, out_size, stride, padding, dilation)))
    _inside(padded, size, padding).copy_(x)
    return _windows(padded, taps, out_size, stride, dilation).contiguous()


@no_grad()
def fold(columns, size, stride, padding, dilation):
    """The transpose of `unfold`: what the windows hold, added up in the places that they saw, (N, C, *size)."""
    columns, dims = plain(columns), len(size)
    n, c, *rest = columns.shape
    taps, out_size = rest[:dims], rest[dims:]
    padded = columns.new_zeros((n, c, *_padded_size(size, taps, out_size, stride, padding, dilation)))
    windows = _windows(padded, taps, out_size, stride, dilation)
    everything = (slice(None),) * dims
    for tap in itertools.product(*map(range, taps)):  # what one tap sees does not overlap
        windows[(..., *tap, *everything)].add_(columns[(..., *tap, *everything)])
    return _inside(padded, size, padding).contiguous()


def _columns(x, taps, out_size, stride, padding, dilation, groups):
    windows = unfold(x, taps, out_size, stride, padding, dilation)
    return reshape(windows, (x.shape[0], groups, x.shape[1] // groups * prod(taps), prod(out_size)))


@no_grad()
def forward(x, weight, bias, out_size, stride, padding, dilation, groups):
    """See `ops.conv.convolution`."""
    x, weight = plain(x), plain(weight)
    k, _, *taps = weight.shape
    columns = _columns(x, taps, out_size, stride, padding, dilation, groups)
    rows = reshape(weight, (1, groups, k // groups, columns.shape[2]))
    out = reshape(matmul(rows, columns), (x.shape[0], k, *out_size))
    return out if bias is None else out + reshape(plain(bias), (1, k, *(1,) * len(out_size)))


@no_grad()
def input_gradient(g, weight, size, stride, padding, dilation, groups):
    """See `ops.conv.conv_input_grad`."""
    g, weight = plain(g), plain(weight)
    n, k, *out_size = g.shape
    _, c, *taps = weight.shape
    rows = reshape(weight, (1, groups, k // groups, c * prod(taps))).transpose(2, 3)
    columns = matmul(rows, reshape(g, (n, groups, k // groups, prod(out_size))))
    return fold(reshape(columns, (n, c * groups, *taps, *out_size)), size, stride, padding, dilation)


@no_grad()
def weight_gradient(g, x, taps, stride, padding, dilation, groups):
    """See `ops.conv.conv_weight_grad`."""
    g, x = plain(g), plain(x)
    n, k, *out_size = g.shape
    c = x.shape[1] // groups
    columns = _columns(x, taps, out_size, stride, padding, dilation, groups)
    rows = reshape(g, (n, groups, k // groups, prod(out_size)))
    return reshape(matmul(rows, columns.transpose(2, 3)).sum(0), (k, c, *taps))
