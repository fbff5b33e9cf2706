"""How samples become a batch: `default_collate` stacks them, `default_convert` only makes them tensors."""

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...ops.create import as_tensor, tensor
from ...ops.join import stack
from ...tensor import Tensor

_EXPECTED = "batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def _is_namedtuple(value) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _without_numbers(array: np.ndarray) -> bool:
    """Whether the array holds strings or objects, of which no tensor can be made."""
    return array.dtype.kind in "SUO"


def default_convert(data: Any) -> Any:
    """``data`` with every ndarray and NumPy number in it as a tensor; containers keep their types."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if _without_numbers(np.asarray(data)) else as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if _is_namedtuple(data):
        return type(data)(*(default_convert(item) for item in data))
    if isinstance(data, tuple):
        return [default_convert(item) for item in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [default_convert(item) for item in data])
    return data


def _like_mapping(model: Mapping, found: dict) -> Any:
    """``found`` as a mapping of ``model``'s type, with the attributes that ``model`` has."""
    try:
        if isinstance(model, MutableMapping):
            clone = copy.copy(model)
            clone.update(found)
            return clone
        return type(model)(found)  # type: ignore[call-arg]
    except TypeError:  # the type cannot be copied or made from a dict
        return found


def _like_sequence(model: Sequence, found: list) -> Any:
    try:
        if isinstance(model, MutableSequence):
            clone = copy.copy(model)
            for k, item in enumerate(found):
                clone[k] = item
            return clone
        return type(model)(found)  # type: ignore[call-arg]
    except TypeError:  # the type cannot be copied, written to or made from a list, as range cannot
        return found


CollateMap = dict[type | tuple[type, ...], Callable]


def collate(batch: Sequence, *, collate_fn_map: CollateMap | None = None) -> Any:
    """A batch from the list ``batch`` of samples: containers are walked in step, and their leaves combined.

    ``collate_fn_map``: what combines leaves, ``{type or tuple of types: function}``, each function called as
    ``function(leaves, collate_fn_map=collate_fn_map)``. Raises TypeError for leaves that no function is for,
    RuntimeError for lists of different lengths.
    """
    first, rules = batch[0], collate_fn_map or {}
    for kind in type(first), *rules:
        if kind in rules and isinstance(first, kind):
            return rules[kind](batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        columns = {key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map) for key in first}
        return _like_mapping(first, columns)
    if _is_namedtuple(first):
        columns = zip(*batch, strict=True)
        return type(first)(*(collate(column, collate_fn_map=collate_fn_map) for column in columns))
    if isinstance(first, Sequence):
        sizes = {len(sample) for sample in batch}
        if len(sizes) > 1:
            raise RuntimeError(
                f"each element in list of batch should be of equal size, got sizes {sorted(sizes)}; pass a collate_fn "
                "that pads them"
            )
        found = [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=True)]
        return found if isinstance(first, tuple) else _like_sequence(first, found)
    raise TypeError(f"default_collate: {_EXPECTED.format(type(first))}. Pass a collate_fn of your own to the DataLoader")


def _stack(batch, *, collate_fn_map=None):
    shapes = {tuple(sample.shape) for sample in batch}
    if len(shapes) > 1:
        first, other = tuple(batch[0].shape), next(s for s in batch if tuple(s.shape) != tuple(batch[0].shape))
        raise RuntimeError(
            f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(other.shape)} at "
            f"entry {next(k for k, s in enumerate(batch) if s is other)}; resize or pad the samples, or pass a "
            "collate_fn that does"
        )
    return stack(batch, 0)


def _stack_arrays(batch, *, collate_fn_map=None):
    if _without_numbers(batch[0]):
        raise TypeError(f"default_collate: {_EXPECTED.format(batch[0].dtype)}")
    return collate([as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def _numpy_numbers(batch, *, collate_fn_map=None):
    return as_tensor(np.stack(batch))


def _floats(batch, *, collate_fn_map=None):
    return tensor(batch, dtype=dtypes.float64)


def _integers(batch, *, collate_fn_map=None):
    return tensor(batch)


def _as_they_are(batch, *, collate_fn_map=None):
    return batch


default_collate_fn_map: CollateMap = {
    Tensor: _stack,
    np.ndarray: _stack_arrays,
    (np.bool_, np.number): _numpy_numbers,
    float: _floats,
    int: _integers,
    str: _as_they_are,
    bytes: _as_they_are,
}


def default_collate(batch: Sequence) -> Any:
    """A batch from a list of samples: tensors and ndarrays are stacked in a new first dimension, numbers become a
    tensor (floats a float64 one), strings a list, and dicts, tuples and lists are collated item by item."""
    return collate(batch, collate_fn_map=default_collate_fn_map)
