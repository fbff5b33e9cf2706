"""oneDNN, which numgrad does not use: its flags can be set and read, and change nothing."""

from contextlib import AbstractContextManager

from .flags import held

enabled = True
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False."""
    return False


def flags(enabled: bool = False, deterministic: bool = False, allow_tf32: bool = True) -> AbstractContextManager[None]:
    """Context in which the flags have these values."""
    return held(globals(), {"enabled": enabled, "deterministic": deterministic, "allow_tf32": allow_tf32})
