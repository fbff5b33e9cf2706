"""Instance normalisation layers."""

from ..tensor import Tensor
from . import functional as F
from ._traps import warn
from .batchnorm import LazyNorm, _BatchNorm


class _InstanceNorm(_BatchNorm):
    """What the layers of all dimensions have in common: inputs of ``_ranks`` have no batch dimension, or one."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device=None, dtype=None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _get_no_batch_dim(self) -> int:
        """The number of dimensions of an input without a batch dimension; subclasses of programs redefine it."""
        return self._ranks[0]

    def _channels(self, input: Tensor) -> int:
        """The dimension of the channels."""
        return input.dim() - self._get_no_batch_dim()

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        channels = self._channels(input)
        if input.shape[channels] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={channels} to match num_features ({self.num_features}), but got: "
                    f"{input.shape[channels]}."
                )
            warn(
                f"input's size at dim={channels} does not match num_features. You can silence this warning by not passing in "
                "num_features, which is not used because affine=False"
            )
        batch = input if channels else input.unsqueeze(0)
        use_input = self.training or not self.track_running_stats
        found = F.instance_norm(
            batch, self.running_mean, self.running_var, self.weight, self.bias, use_input, self.momentum or 0.0, self.eps
        )
        return found if channels else found.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Normalisation of each channel of each sample: (N, num_features, L) or (num_features, L) (arXiv:1607.08022).

    With ``track_running_stats`` evaluation uses running statistics. Raises ValueError for inputs of another rank.
    """

    _ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalisation of each channel of each sample: (N, num_features, H, W) or without N; see `InstanceNorm1d`."""

    _ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalisation of each channel of each sample: (N, num_features, D, H, W) or without N; see `InstanceNorm1d`."""

    _ranks = (4, 5)


class LazyInstanceNorm1d(LazyNorm, InstanceNorm1d):
    """An InstanceNorm1d that takes ``num_features`` from its first input, and then becomes an `InstanceNorm1d`. Unlike
    there, ``affine`` and ``track_running_stats`` are on unless turned off."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(LazyNorm, InstanceNorm2d):
    """An InstanceNorm2d that takes ``num_features`` from its first input, and then becomes an `InstanceNorm2d`. Unlike
    there, ``affine`` and ``track_running_stats`` are on unless turned off."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(LazyNorm, InstanceNorm3d):
    """An InstanceNorm3d that takes ``num_features`` from its first input, and then becomes an `InstanceNorm3d`. Unlike
    there, ``affine`` and ``track_running_stats`` are on unless turned off."""

    cls_to_become = InstanceNorm3d
