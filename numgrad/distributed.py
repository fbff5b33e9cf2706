"""``torch.distributed`` of a build without it: numgrad trains in one process."""


def is_available() -> bool:
    """Whether processes can train together: no."""
    return False


def is_initialized() -> bool:
    """Whether this process belongs to a group: no."""
    return False
