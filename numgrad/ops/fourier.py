"""The three discrete Fourier transforms that all others are made of, through SciPy, with gradients in each other.

``scale`` is a factor on the sum ``y_k = scale * sum_n x_n exp(-2 pi i k n / N)``; ``forward`` is false for the other
sign. The functions of `numgrad.fft` choose sizes and scales.
"""

import numpy as np

from .. import config
from ..op import ENTRIES
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, make
from .values import from_host, to_host

_PARALLEL_FROM = 1 << 16  # elements


def _transformed(name, input, axes, scale, **options):
    import scipy.fft  # 40 ms, for those who need it

    array = to_host(input)
    workers = config.usable_threads() if array.size >= _PARALLEL_FROM else None
    found = getattr(scipy.fft, name)(array, axes=axes, workers=workers, **options)
    if scale != 1.0:
        found *= found.real.dtype.type(scale)
    return from_host(np.ascontiguousarray(found), input)


def _empty(input, dim, size, d):
    shape = list(input._m.shape)
    shape[dim] = size
    m = meta(d, tuple(shape), input._m.device)
    return make(m.empty(m.numel, m.np), m)


@structured(install=(), name="fft_c2c", cases="none", grad_name="FftC2CBackward0")
def complex_transform(input, *, dim, scale, forward):
    """The transform of a complex tensor over the dimensions ``dim``, complex."""
    if not dim or not input._m.numel:
        return ENTRIES["clone"](input)
    if forward:
        return _transformed("fftn", input, dim, scale)
    return _transformed("ifftn", input, dim, scale, norm="forward")


@complex_transform.backward
def _(g, dim, scale, forward):
    return complex_transform(g, dim, scale, not forward)


@structured(install=(), name="fft_r2c", cases="none", grad_name="FftR2CBackward0")
def real_transform(input, *, dim, scale):
    """The forward transform of a real tensor over one dimension: its first ``n // 2 + 1`` values, complex."""
    if not input._m.numel:
        return _empty(input, dim, input._m.shape[dim] // 2 + 1, input._m.dtype.to_complex())
    return _transformed("rfftn", input, (dim,), scale)


@real_transform.backward
def _(g, input_meta, dim, scale):
    # The real part of the conjugate transform, the values left out being 0.
    whole = resized(g, dim, input_meta.shape[dim])
    return ENTRIES["real"](complex_transform(whole, (dim,), scale, False)).contiguous()


@structured(install=(), name="fft_c2r", cases="none", grad_name="FftC2RBackward0")
def half_transform(input, *, dim, scale, n):
    """The backward transform, real and of ``n`` values, of a tensor that holds the first ``n // 2 + 1`` values of one
    with Hermitian symmetry."""
    if not input._m.numel:
        return _empty(input, dim, n, input._m.dtype.to_real())
    return _transformed("irfftn", input, (dim,), scale, s=(n,), norm="forward")


@half_transform.backward
def _(g, input_meta, dim, scale, n):
    # Every value but the first, and the last one of an even n, stands for its mirror image too.
    m = input_meta
    count = m.shape[dim]
    weights = np.ones(count, m.dtype.to_real().np)
    weights[1 : 1 + n - count] = 2
    shape = [1] * m.ndim
    shape[dim] = count
    return real_transform(g, dim, scale) * from_host(weights.reshape(shape), g)


def resized(input, dim, size) -> Tensor:
    """``input`` cut or filled up with zeros at the end of ``dim``."""
    m = input._m
    have = m.shape[dim]
    if have == size:
        return input
    if have > size:
        return ENTRIES["narrow"](input, dim, 0, size)
    return ENTRIES["constant_pad_nd"](input, tuple((0, size - have if k == dim else 0) for k in range(m.ndim)), 0.0)
