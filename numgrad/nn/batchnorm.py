"""Batch normalisation layers."""

from typing import Any

from .. import dtypes
from ..autograd import no_grad
from ..device import resolve
from ..storage import meta
from ..tensor import Tensor, empty_tensor
from . import functional as F, init
from .lazy import LazyModuleMixin
from .module import Module
from .parameter import Parameter, UninitializedBuffer, UninitializedParameter, empty_parameter, is_lazy


class _BatchNorm(Module):
    """What the layers of all dimensions have in common."""

    _version = 2  # num_batches_tracked since 2
    _ranks: tuple[int, ...]

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device=None, dtype=None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        shape = (num_features,)
        self.register_parameter("weight", empty_parameter(shape, device, dtype) if affine else None)
        self.register_parameter("bias", empty_parameter(shape, device, dtype) if affine and bias else None)
        d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
        for name, kind, size in (
            ("running_mean", d, shape), ("running_var", d, shape), ("num_batches_tracked", dtypes.int64, ()),
        ):  # fmt: skip
            self.register_buffer(name, empty_tensor(meta(kind, size, resolve(device))) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count of batches to 0."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Reset the running statistics, set weight to 1 and bias to 0."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self._ranks:
            expected = " or ".join(f"{rank}D" for rank in self._ranks)
            raise ValueError(f"expected {expected} input (got {input.dim()}D input)")

    def _channels(self, input: Tensor) -> int:
        """The dimension of the channels."""
        return 1

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        momentum = self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            with no_grad():
                self.num_batches_tracked.add_(1)
            if momentum is None:  # the mean of all batches so far
                momentum = 1.0 / self.num_batches_tracked.item()
        use_batch = self.training or (self.running_mean is None and self.running_var is None)
        keep = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if keep else (None, None)
        return F.batch_norm(input, mean, var, self.weight, self.bias, use_batch, momentum or 0.0, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        key = prefix + "num_batches_tracked"
        version = local_metadata.get("version")
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            fresh = empty_tensor(meta(dtypes.int64, ()))
            state_dict[key] = fresh.zero_() if self.num_batches_tracked is None else self.num_batches_tracked
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, num_features) or (N, num_features, L) (arXiv:1502.03167).

    ``weight`` starts at 1, ``bias`` at 0; running mean and variance move by ``momentum`` (None: the mean of all
    batches) in training and are used in evaluation. Raises ValueError for inputs of another rank.
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, num_features, H, W) (arXiv:1502.03167); see `BatchNorm1d`."""

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, num_features, D, H, W) (arXiv:1502.03167); see `BatchNorm1d`."""

    _ranks = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of (N, num_features, *size), over the batches of all processes of ``process_group``: here one.

    It computes what `BatchNorm1d` and its kin do, for inputs of any rank from 2 on; see there.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, process_group: Any = None, device=None, dtype=None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """``module`` with a SyncBatchNorm of the same parameters and buffers for each of its batch normalisations; where it
        is one itself, that SyncBatchNorm."""
        found = module
        if isinstance(module, _BatchNorm):
            found = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats, process_group
            )
            if module.affine:
                found.weight, found.bias = module.weight, module.bias
            found.running_mean, found.running_var = module.running_mean, module.running_var
            found.num_batches_tracked = module.num_batches_tracked
            found.training = module.training
        for name, child in module.named_children():
            found.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return found


class LazyNorm(LazyModuleMixin):
    """What lazy batch and instance normalisations of all dimensions have in common."""

    weight: Parameter | UninitializedParameter | None
    bias: Parameter | UninitializedParameter | None
    _channels: Any
    _check_input_dim: Any

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
        device=None, dtype=None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__(0, eps, momentum, False, False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = empty_tensor(meta(dtypes.int64, (), resolve(device))).zero_()

    def reset_parameters(self) -> None:
        """Reset the running statistics, weight and bias, once their shapes are known."""
        if self.num_features != 0 and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take ``num_features`` from ``input``."""
        if self.has_uninitialized_params():
            self._check_input_dim(input)
            self.num_features = input.shape[self._channels(input)]
            for tensor in (self.weight, self.bias, self.running_mean, self.running_var):
                if is_lazy(tensor):
                    tensor.materialize((self.num_features,))
            self.reset_parameters()


class LazyBatchNorm1d(LazyNorm, BatchNorm1d):
    """A BatchNorm1d that takes ``num_features`` from its first input, and then becomes a `BatchNorm1d`."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(LazyNorm, BatchNorm2d):
    """A BatchNorm2d that takes ``num_features`` from its first input, and then becomes a `BatchNorm2d`."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(LazyNorm, BatchNorm3d):
    """A BatchNorm3d that takes ``num_features`` from its first input, and then becomes a `BatchNorm3d`."""

    cls_to_become = BatchNorm3d
