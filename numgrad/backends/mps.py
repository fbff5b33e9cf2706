"""Apple's GPUs, which numgrad does not support."""


def is_available() -> bool:
    """False."""
    return False


def is_built() -> bool:
    """False."""
    return False
