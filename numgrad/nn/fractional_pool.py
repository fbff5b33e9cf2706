"""Fractional maximum pooling layers."""

from typing import Any

from ..tensor import Tensor
from . import functional as F
from .module import Module


class _FractionalMaxPool(Module):
    _spatial: int
    _pool: Any

    def __init__(
        self, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False, _random_samples=None
    ):
        super().__init__()
        n = self._spatial

        def each(value, kinds: Any = int) -> Any:
            return (value,) * n if isinstance(value, kinds) else value

        self.kernel_size = each(kernel_size)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = each(output_size)
        self.output_ratio = each(output_ratio, (int, float))
        if output_size is None and output_ratio is None:
            raise ValueError(f"{type(self).__name__} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError(f"{type(self).__name__}: only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor):
        pool = type(self)._pool
        return pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    """The maximum over windows with random starts: (N, C, H, W) or (C, H, W) (arXiv:1412.6071).

    Either ``output_size`` or ``output_ratio``, between 0 and 1, is given; with ``return_indices`` the result is a pair
    with where the maxima are. Raises ValueError if neither or both are given.
    """

    _spatial, _pool = 2, staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    """The maximum over windows with random starts: (N, C, D, H, W) or without N; see `FractionalMaxPool2d`."""

    _spatial, _pool = 3, staticmethod(F.fractional_max_pool3d)
