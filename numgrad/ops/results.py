"""Named tuples of results, printed as PyTorch prints them."""

import functools
from collections import namedtuple

RETURN_TYPES: dict = {}  # by the name that PyTorch has for them


@functools.cache
def return_type(name: str, *fields: str):
    """The named tuple class for the results of the op ``name``."""

    class Results(namedtuple(name, fields)):
        __slots__ = ()

        def __repr__(self):
            return f"torch.return_types.{name}(\n" + ",\n".join(f"{f}={v!r}" for f, v in zip(fields, self)) + ")"

        def __reduce__(self):
            return _rebuilt, (name, fields, tuple(self))

    Results.__name__ = Results.__qualname__ = name
    RETURN_TYPES[name] = Results
    return Results


def _rebuilt(name, fields, values):
    return return_type(name, *fields)(*values)
