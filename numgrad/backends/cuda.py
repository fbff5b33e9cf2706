"""Flags of CUDA's matrix products and of attention's kernels, as ``torch.backends.cuda``."""

import contextlib
import enum
from collections.abc import Iterator

from .. import settings
from ..ops.attention import allowed


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


class _LinalgBackend(enum.Enum):
    Default, Cusolver, Magma = range(3)

    def __repr__(self):
        return f"{type(self).__name__}.{self.name}"


_preferred = _LinalgBackend.Default


def preferred_linalg_library(backend: None | str | _LinalgBackend = None) -> _LinalgBackend:
    """The library preferred for linear algebra, after setting it to ``backend`` ("default", "cusolver", "magma") if that is
    given. Matrices are factored by LAPACK on the host, whichever is preferred. RuntimeError for other names."""
    global _preferred
    if isinstance(backend, str):
        if backend.capitalize() not in _LinalgBackend.__members__:
            raise RuntimeError(f"Unknown input value. Choose from: {', '.join(map(str.lower, _LinalgBackend.__members__))}; got {backend!r}")
        _preferred = _LinalgBackend[backend.capitalize()]
    elif isinstance(backend, _LinalgBackend):
        _preferred = backend
    elif backend is not None:
        raise RuntimeError(f"Unknown input value type: expected a name or a _LinalgBackend, got {type(backend).__name__}")
    return _preferred


# --- attention; `nn.attention.sdpa_kernel` is the present form -------------------------------------------------------


def enable_math_sdp(enabled: bool) -> None:
    """Allow or forbid attention by the whole matrix of scores."""
    allowed["math"] = bool(enabled)


def enable_flash_sdp(enabled: bool) -> None:
    """Allow or forbid attention by blocks of keys, under this one of its three names."""
    allowed["flash"] = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow or forbid attention by blocks of keys, under this one of its three names."""
    allowed["mem_efficient"] = bool(enabled)


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allow or forbid attention by blocks of keys, under this one of its three names."""
    allowed["cudnn"] = bool(enabled)


def math_sdp_enabled() -> bool:
    """What `enable_math_sdp` set: True at first, as the others."""
    return allowed["math"]


def flash_sdp_enabled() -> bool:
    """What `enable_flash_sdp` set."""
    return allowed["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """What `enable_mem_efficient_sdp` set."""
    return allowed["mem_efficient"]


def cudnn_sdp_enabled() -> bool:
    """What `enable_cudnn_sdp` set."""
    return allowed["cudnn"]


@contextlib.contextmanager
def sdp_kernel(enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True,
               enable_cudnn: bool = True) -> Iterator[None]:  # fmt: skip
    """Context with these kernels of attention (deprecated in favour of `nn.attention.sdpa_kernel`)."""
    before = dict(allowed)
    allowed.update(math=enable_math, flash=enable_flash, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        allowed.update(before)
