"""Settings under PyTorch's names: default device, determinism, precision of products."""

from .config import number_of_threads
from .device import Device, default, set_default
from .ops import uninitialized


def set_default_device(device: Device | str | int | None) -> None:
    """Make ``device`` the one of tensors made without one; None means the CPU."""
    set_default(device)


def get_default_device() -> Device:
    """The device of tensors made without one: that of the innermost ``with device(...)``, else the default."""
    return default()


# --- determinism -------------------------------------------------------------------------------------------------

_DEBUG = {"default": 0, "warn": 1, "error": 2}
_level = 0


_fills = True  # `utils.deterministic.fill_uninitialized_memory`


def _set_level(level: int | None = None, fills: bool | None = None) -> None:
    global _level, _fills
    _level = _level if level is None else level
    _fills = _fills if fills is None else fills
    uninitialized.fill_memory(_level > 0 and _fills)


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for the same results in every run. They always are: no kernel adds in an order that depends on threads. So
    nothing is refused or slower because of it, but memory that is not initialised: `empty` and its kin fill it, unless
    `utils.deterministic.fill_uninitialized_memory` is False."""
    _set_level((1 if warn_only else 2) if mode else 0)


def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` was turned on."""
    return _level > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether `use_deterministic_algorithms` was turned on with ``warn_only``."""
    return _level == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """`use_deterministic_algorithms` by number or name: 0 "default" (off), 1 "warn", 2 "error"."""
    level = _DEBUG.get(debug_mode) if isinstance(debug_mode, str) else debug_mode
    if level not in (0, 1, 2):
        raise RuntimeError(f"set_deterministic_debug_mode: expected 0, 1, 2 or one of {list(_DEBUG)}, got {debug_mode!r}")
    _set_level(level)


def get_deterministic_debug_mode() -> int:
    """0 (off), 1 (warn) or 2 (error)."""
    return _level


# --- precision ---------------------------------------------------------------------------------------------------


def set_float32_matmul_precision(precision: str) -> None:
    """How float32 products are computed on CUDA: "highest" (float32), "high" or "medium" (TF32). The CPU always computes
    in float32."""
    from .kernels.cuda import matmul

    matmul.set_precision(precision)


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was set to, at first "highest"."""
    from .kernels.cuda import matmul

    return matmul._precision


def _get_cpu_allow_fp16_reduced_precision_reduction() -> bool:
    """Whether products of float16 may add up in float16 on the CPU: never."""
    return False


def _set_cpu_allow_fp16_reduced_precision_reduction(allowed: bool) -> None:
    """RuntimeError if ``allowed``: products of float16 add up in float32."""
    if allowed:
        raise RuntimeError("Float16 arithmetic is not supported by the CPU: products of float16 add up in float32")


def get_num_interop_threads() -> int:
    """How many operations run side by side: one, each of them over all threads."""
    return 1


def set_num_interop_threads(count: int) -> None:
    """Accepted for scripts that set it: operations run one after the other. RuntimeError for what is no number of threads."""
    number_of_threads("set_num_interop_threads", count)
