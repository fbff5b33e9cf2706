"""Flags of CUDA's matrix products, as ``torch.backends.cuda``."""

from .. import settings


class _Products:
    """``matmul.allow_tf32``: whether float32 products may use TF32; the same setting as
    `set_float32_matmul_precision`."""

    @property
    def allow_tf32(self) -> bool:
        return settings.get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        settings.set_float32_matmul_precision("high" if allowed else "highest")


matmul = _Products()


def is_built() -> bool:
    """Whether numgrad has CUDA kernels: yes. `numgrad.cuda.is_available` says whether they can run."""
    return True
