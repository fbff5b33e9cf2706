"""Dictionaries whose keys are held weakly and told apart by identity, as ``torch.utils.weak``: ``==`` of tensors is
computed element by element, so that Python's own weak dictionaries are no use for them."""

import copy
import weakref
from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, TypeVar

from ..tensor import Tensor

__all__ = ["TensorWeakRef", "WeakIdKeyDictionary", "WeakIdRef", "WeakTensorKeyDictionary"]

T = TypeVar("T")


class WeakIdRef(weakref.ref, Generic[T]):
    """A weak reference that is equal to others to the same object, by identity; a dead one is equal to itself alone."""

    __slots__ = ("_id",)

    def __init__(self, key: T, callback: Any = None) -> None:
        super().__init__(key, callback)
        self._id = id(key)

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        mine = self()
        theirs = other() if isinstance(other, weakref.ref) else None
        return self is other if mine is None or theirs is None else mine is theirs


class WeakIdKeyDictionary(MutableMapping):
    """A dictionary without a hold on its keys: an entry goes when its key does. Keys are told apart by identity.

    Raises TypeError for keys that cannot be referenced weakly, and KeyError as dictionaries do.
    """

    def __init__(self, dict: Any = None) -> None:
        self._entries: Any = {}  # id of a key: (reference to it, value)
        if dict is not None:
            self.update(dict)

    def __getitem__(self, key: Any) -> Any:
        weakref.ref(key)
        entry = self._entries.get(id(key))
        if entry is None:
            raise KeyError(key)
        return entry[1]

    def __setitem__(self, key: Any, value: Any) -> None:
        entries, where = self._entries, id(key)
        self._entries[where] = (WeakIdRef(key, lambda _: entries.pop(where, None)), value)

    def __delitem__(self, key: Any) -> None:
        weakref.ref(key)
        if id(key) not in self._entries:
            raise KeyError(key)
        del self._entries[id(key)]

    def __contains__(self, key: object) -> bool:
        return id(key) in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        for reference in self.keyrefs():
            key = reference()
            if key is not None:
                yield key

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"

    def keyrefs(self) -> list[WeakIdRef]:
        """Weak references to the keys, some of which may be dead when they are looked at."""
        return [reference for reference, _ in list(self._entries.values())]

    def copy(self) -> "WeakIdKeyDictionary":
        """Another dictionary with the same keys and values."""
        return self | {}

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> "WeakIdKeyDictionary":
        copied = type(self)()
        for key, value in self.items():  # keys are objects, not values: they stay
            copied[key] = copy.deepcopy(value, memo)
        return copied

    def __or__(self, other: Any) -> "WeakIdKeyDictionary":
        joined = type(self)(self)
        joined.update(other)
        return joined

    def __ror__(self, other: Any) -> "WeakIdKeyDictionary":
        joined = type(self)(other)
        joined.update(self)
        return joined

    def __ior__(self, other: Any) -> "WeakIdKeyDictionary":
        self.update(other)
        return self


WeakTensorKeyDictionary = WeakIdKeyDictionary


class TensorWeakRef:
    """A weak reference to a tensor: called, it is the tensor, or None when that is gone."""

    def __init__(self, tensor: Tensor) -> None:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"TensorWeakRef: expected a Tensor, got {type(tensor).__name__}")
        self.ref = weakref.ref(tensor)

    def __call__(self) -> Tensor | None:
        return self.ref()
