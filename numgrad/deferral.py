"""Functions that are compiled from text at their first call, so that importing compiles none of them."""

import types
from typing import Any

from . import forks

BUILDING = forks.lock("entries")  # held by those who exchange the code of an entry


def deferred(name, source, names, signature=None):
    """A function compiled from the text that ``source()`` gives, at its first call.

    ``names`` are its globals; ``entry.build()`` compiles it now, for those who want its signature, which is
    ``signature()`` where that says more than the text.
    """

    def build():
        with BUILDING:
            made_for = names["_entry"]
            if made_for.__code__ is _unbuilt.__code__:
                scratch = dict(names)
                exec(compile(source(), f"<entry of {name}>", "exec"), scratch)
                made = scratch[name]
                made_for.__defaults__, made_for.__kwdefaults__ = made.__defaults__, made.__kwdefaults__
                made_for.__code__ = made.__code__
                if signature is not None:
                    entry.__signature__ = signature()
        return made_for

    names["_build"] = build
    names.setdefault("__builtins__", __builtins__)
    names["_entry"] = entry = types.FunctionType(_unbuilt.__code__, names, name)
    entry.build = build
    return entry


def _build() -> Any:
    """Stands for the function of that name in the globals that `deferred` gives."""


def _unbuilt(*args, **kwargs):
    return _build()(*args, **kwargs)
