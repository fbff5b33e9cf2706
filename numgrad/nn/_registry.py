"""The dictionaries behind ``_parameters``, ``_buffers`` and ``_modules``, and the iterators over a module's members."""

import weakref
from collections.abc import Generator, Iterable
from types import GeneratorType
from typing import Any

from .parameter import Parameter, label

_absent = object()


class Registry(dict):
    """A dict of a module's parameters, buffers or submodules that writes through to the module's attributes.

    Attribute access needs no ``__getattr__`` that way, and ``module._parameters[name] = p`` (which older code does)
    still changes ``module.name``. ``owner`` is a weak reference, so that a module is freed when its last user goes.
    """

    __slots__ = ("owner",)

    def __init__(self, owner, items: Iterable = ()):
        super().__init__()
        self.owner = owner
        if items:
            self.update(items)

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        module = self.owner()
        if module is not None:
            module.__dict__[name] = value
            if isinstance(value, Parameter):
                label(value, f"{type(module).__name__}.{name}")

    def _forget(self, name, value):
        module = self.owner()
        # Only if it is still ours: the name may have moved to another registry before it was deleted here.
        if module is not None and module.__dict__.get(name, _absent) is value:
            del module.__dict__[name]

    def withdraw(self, module) -> None:
        """Take the attributes that this registry stands for out of ``module``."""
        state = module.__dict__
        for name, value in self.items():
            if state.get(name, _absent) is value:
                del state[name]

    def __delitem__(self, name):
        value = self[name]
        super().__delitem__(name)
        self._forget(name, value)

    def pop(self, name, *default):
        if name not in self:
            return super().pop(name, *default)
        value = super().pop(name)
        self._forget(name, value)
        return value

    def popitem(self):
        name, value = super().popitem()
        self._forget(name, value)
        return name, value

    def clear(self):
        while self:
            self.popitem()

    def setdefault(self, name, default=None):
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *items, **named):
        for name, value in dict(*items, **named).items():
            self[name] = value

    def __ior__(self, items):
        self.update(items)
        return self

    def copy(self):
        return dict(self)

    __copy__ = copy

    def __reduce_ex__(self, protocol):
        # A copied or unpickled registry belongs to the copy of its module.
        return _restore, (self.owner(),), None, None, iter(self.items())


class _Gone:
    def __call__(self):
        return None


def registry_property(name: str) -> property:
    """The property ``name`` of a Module, its registry: any dict can be put there.

    The attributes that a `Registry` wrote do not outlive it: those of another dict, or of another module's Registry, are
    found by ``Module.__getattr__``.
    """

    def get(module):
        found = module.__dict__.get(name, _absent)
        if type(found) is Registry:
            if found.owner() is not module:
                found.withdraw(module)
        elif found is _absent:
            raise AttributeError(f"{type(module).__name__!r} object has no attribute {name!r}")
        return found

    def put(module, value):
        before = module.__dict__.get(name)
        if type(before) is Registry and before is not value:
            before.withdraw(module)
        module.__dict__[name] = value

    return property(get, put)


def _restore(module) -> Registry:
    return Registry(_Gone() if module is None else weakref.ref(module))


class Members(Generator):
    """The iterator that ``parameters()`` and its kin return; it knows whether it was used up.

    ``consumed`` is True once the end was reached. Like any iterator it can be walked once, so that whoever finds
    it empty (an optimizer, for one) can say why.
    """

    __slots__ = ("_source", "_following", "consumed", "what")

    __class__ = property(lambda self: GeneratorType)  # type: ignore[assignment]  # for `inspect.isgenerator`

    def __init__(self, source: Any, what: str):
        self._source, self._following, self.what, self.consumed = source, source.__next__, what, False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("gi_"):  # the state of a generator
            return getattr(self._source, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def send(self, value: Any) -> Any:
        return next(self)

    def throw(self, *error: Any) -> Any:
        return self._source.throw(*error)

    def close(self) -> None:
        self._source.close()

    def __next__(self) -> Any:
        try:
            return self._following()
        except StopIteration:
            self.consumed = True
            raise

    def __repr__(self):
        if self.consumed:
            return f"<{self.what}: iterator already consumed: pass list(...)>"
        return f"<iterator over {self.what}>"
