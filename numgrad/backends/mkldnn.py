"""oneDNN, which numgrad does not use: the flag can be set and read, and changes nothing."""

enabled = True
deterministic = False


def is_available() -> bool:
    """False."""
    return False
