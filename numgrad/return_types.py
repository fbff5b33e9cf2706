"""The named tuples that functions with several results return, as ``torch.return_types``."""

from .ops.results import RETURN_TYPES


def __getattr__(name: str):
    try:
        return RETURN_TYPES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__():
    return sorted(RETURN_TYPES)
