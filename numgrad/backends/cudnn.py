"""cuDNN, which numgrad does not use: its flags can be set and read, and change nothing."""

from contextlib import AbstractContextManager

from .flags import held

enabled = True
benchmark = False
benchmark_limit: int | None = 10
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether cuDNN is used: no, convolutions are numgrad's own kernels."""
    return False


def version() -> int | None:
    """The version of cuDNN: None."""
    return None


def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int | None = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> AbstractContextManager[None]:
    """Context in which the flags have these values."""
    wanted = {
        "enabled": enabled, "benchmark": benchmark, "benchmark_limit": benchmark_limit, "deterministic": deterministic,
        "allow_tf32": allow_tf32,
    }  # fmt: skip
    return held(globals(), wanted)
