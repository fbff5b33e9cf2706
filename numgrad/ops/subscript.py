"""Subscription: ``x[...]`` and ``x[...] = v`` with integers, slices, None, Ellipsis, masks and index tensors.

The basic items become one view; index tensors and masks are then read or written on that view.
"""

import warnings
import weakref

import numpy as np

from .. import dtypes
from ..autograd import is_grad_enabled, switch
from ..inplace import check_inplace
from ..kernels.index import ADD, SET
from ..op import ENTRIES, as_tensor_operand, cast, function, method
from ..storage import Storage, meta, strided_meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, follow, from_array, new, view as make_view
from .copy import copy_, fill_, write, zero
from .create import tensor as tensor_of
from .mask import coordinates, masked_fill_, true_positions
from .part_gradients import PartNode
from .parts import _select
from .places import Places, Writing, common_index, int64_index, places_shape, reading

_indexed = reading("index")
_index_put = Writing("index_put")
_ROWS: dict = {}  # meta -> (meta of x[i], its step in elements, its length in memory, size)
_VIEWS: dict = {}  # (meta, key) -> (start and stop in memory, meta of the view, spec)
_LIMIT = 1 << 14
_PLAIN = {int, type(None)}


# --- basic items -------------------------------------------------------------------------------------------------


def basic_geometry(m, spec):
    """(offset, shape, strides) of the view of a tensor of meta ``m`` that ``spec`` describes.

    An entry of ``spec`` is an int, (start, step, length) or None (a new dimension); dimensions that are not
    mentioned are kept.
    """
    offset, axis = 0, 0
    shape, strides = [], []
    for item in spec:
        if item is None:
            shape.append(1)
            strides.append(m.strides[axis] * m.shape[axis] if axis < m.ndim else 1)
            continue
        stride = m.strides[axis]
        if type(item) is int:
            offset += item * stride
        else:
            start, step, length = item
            if length:
                offset += start * stride
            shape.append(length)
            strides.append(stride * step)
        axis += 1
    shape += m.shape[axis:]
    strides += m.strides[axis:]
    return offset if 0 not in shape else 0, tuple(shape), tuple(strides)


class _SubscriptNode(PartNode):
    """Named after the last item that changes anything, as if items were applied one by one."""

    __slots__ = ()

    def overload(self):
        spec, m = self.plan[0], self.next[0].plan
        found, axis = 0 if len(spec) == 1 else 3, 0
        for item in spec:
            if item is None:
                found = 2
                continue
            if type(item) is int:
                found = 1
            elif item != (0, 1, m.shape[axis]):
                found = 0
            axis += 1
        return found


_NAMES = ("SliceBackward0", "SelectBackward0", "UnsqueezeBackward0", "AliasBackward0")


@structured(kind="view", install=(), name="slice_view", grad_name=_NAMES, node=_SubscriptNode)
def _sliced(input, *, spec):
    return basic_geometry(input._m, spec)


def _part_of(m, spec):
    """(dimension, start, stop) of a spec that takes whole dimensions but for one run in one of them."""
    found, axis = None, 0
    for item in spec:
        if item is None:
            continue
        start, step, length = (item, 1, 1) if type(item) is int else item
        if (start, length) != (0, m.shape[axis]):
            if found is not None or step != 1:
                return None
            found = axis, start, start + length
        axis += 1
    return found or (0, 0, m.shape[0]) if axis else None


_sliced.op.reach = _part_of


@_sliced.backward
def _(g, input_meta, spec):
    return _sliced_gradient(g, input_meta, spec)


@structured(install=(), cases="none")
def _sliced_gradient(g, *, input_meta, spec):
    """Zeros of the input's shape with ``g`` where the view was taken."""
    out = zero(empty_tensor(meta(g._m.dtype, input_meta.shape, g._m.device)))
    write(g, make_view(out, *basic_geometry(out._m, spec), False))
    return out


@_sliced_gradient.backward
def _(g, spec):
    return _sliced(g, spec)


def _range_of(item, size):
    start, stop, step = item.start, item.stop, item.step
    if isinstance(start, Tensor) or isinstance(stop, Tensor) or isinstance(step, Tensor):
        item = slice(*[part.item() if isinstance(part, Tensor) else part for part in (start, stop, step)])
        step = item.step
    if step is not None and step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, step = item.indices(size)
    return start, step, max(0, (stop - start + step - 1) // step)


def _out_of_range(index, axis, shape):
    return IndexError(f"index {index} is out of bounds for dimension {axis} with size {shape[axis]}")


# --- keys --------------------------------------------------------------------------------------------------------


def _as_tuple(key):
    """The key as a tuple of items, as PyTorch reads it: a list with slices, None, tensors or lists is one too."""
    if type(key) is tuple:
        return key
    if isinstance(key, tuple):
        return tuple(key)
    if type(key) is list and len(key) < 32:
        for item in key:
            if item is None or item is Ellipsis or isinstance(item, (slice, Tensor, list, tuple)):
                return tuple(key)
    return (key,)


def _consumed(item):
    """How many dimensions an item takes."""
    if item is None or item is Ellipsis or item is True or item is False:
        return 0
    if isinstance(item, Tensor):
        return item._m.ndim if _is_mask(item) else 1
    return 1


def _is_mask(index):
    return index._m.dtype is dtypes.bool_ or index._m.dtype is dtypes.uint8


def _as_index(item):
    """An item of a key, normalised: an int, slice, None, bool, Ellipsis or Tensor."""
    if item is None or item is Ellipsis or isinstance(item, (slice, bool)):
        return item
    if isinstance(item, np.bool_):
        return bool(item)
    if isinstance(item, (int, np.integer)):
        return int(item)
    if isinstance(item, Tensor):
        m = item._m
        if m.dtype.kind == "f" or m.dtype.barebones:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        if not m.ndim and not m.batched:
            return bool(item.item()) if _is_mask(item) else int(item.item())
        return item
    if isinstance(item, np.ndarray):
        return _as_index(from_array(item))
    if isinstance(item, (list, tuple, range)):
        found = tensor_of(list(item))
        if not found._m.numel and found._m.dtype.kind == "f":
            found = cast(found, dtypes.int64)
        return found if found._m.ndim else _as_index(found)
    if hasattr(item, "__index__"):
        return item.__index__()
    if isinstance(item, str):
        raise TypeError(f"a tensor cannot be subscripted with a string: {item!r}")
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
        f"{type(item).__name__})"
    )


def parse(self, key):
    """(spec of the basic part, [(dimension of its view, index tensor)])."""
    m = self._m
    shape = m.shape
    items = [_as_index(item) for item in _as_tuple(key)]
    taken = 0
    for item in items:
        taken += _consumed(item)
    if taken > m.ndim:
        if not m.ndim and len(items) == 1 and type(items[0]) is int:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
                "convert a "
                "0-dim tensor to a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {m.ndim}")
    spec, indices = [], []
    axis = place = 0  # dimension of the tensor, of the view
    for position, item in enumerate(items):
        kind = type(item)
        if kind is int:
            size = shape[axis]
            if not -size <= item < size:
                raise _out_of_range(item, axis, shape)
            spec.append(item + size if item < 0 else item)
            axis += 1
        elif kind is slice:
            spec.append(_range_of(item, shape[axis]))
            axis += 1
            place += 1
        elif item is None:
            spec.append(None)
            place += 1
        elif item is Ellipsis:
            skipped = m.ndim - taken
            for _ in range(skipped):
                spec.append((0, 1, shape[axis]))
                axis += 1
            place += skipped
            taken = m.ndim
        elif kind is bool:
            spec.append(None)
            indices.append((place, _truth(item, m.device)))
            place += 1
        else:
            count = _consumed(item)
            if _is_mask(item):
                _check_mask(item, position, shape, axis)
            elif item._m.dtype.itemsize < 4 or item._m.dtype.barebones:
                raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
            indices.append((place, item))
            for _ in range(count):
                spec.append((0, 1, shape[axis]))
                axis += 1
            place += count
    return tuple(spec), indices


def _truth(value, device):
    """The index of a bool item in its new dimension: [0] or []."""
    return from_array(np.zeros(int(value), np.int64)).to(device)


def _check_mask(mask, position, shape, axis):
    if mask._m.dtype is dtypes.uint8:
        warnings.warn(
            "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.", stacklevel=4
        )
    for k, size in enumerate(mask._m.shape):
        if size != shape[axis + k]:
            raise IndexError(
                f"The shape of the mask {list(mask._m.shape)} at index {k} does not match the shape of the indexed "
                "tensor "
                f"{list(shape)} at index {axis + k}"
            )


def _is_whole(spec, m):
    """Whether a spec keeps the tensor as it is."""
    for axis, item in enumerate(spec):
        if item is None or type(item) is int or item[0] or item[1] != 1 or item[2] != m.shape[axis]:
            return False
    return True


def places(found, indices):
    """The `Places` of index tensors and masks in ``found``: (tensor to read, places).

    A mask alone over dimensions that are evenly strided is an index into them as one.
    """
    if any(index._m.batched for _, index in indices):
        found, indices = ENTRIES["batched_indices"](found, indices)
    if len(indices) == 1 and _is_mask(indices[0][1]):
        first, mask = indices[0]
        count = mask._m.ndim
        m = found._m
        if count == 1:
            return found, Places("index", (true_positions(mask),), (first,))
        shape = m.shape[first : first + count]
        strides = m.strides[first : first + count]
        if all(a == b * n for a, b, n in zip(strides, strides[1:], shape[1:])):
            merged = m.shape[:first] + (mask._m.numel,) + m.shape[first + count :]
            return found.view(merged), Places("index", (true_positions(mask),), (first,))
    tensors, dims = [], []
    for first, index in indices:
        if _is_mask(index):
            for k, column in enumerate(coordinates(index).unbind(1)):
                tensors.append(column)
                dims.append(first + k)
        else:
            tensors.append(int64_index("index", index))
            dims.append(first)
    device = found._m.device
    tensors = [index if index._m.device == device else index.to(device) for index in tensors]
    front = dims != list(range(dims[0], dims[0] + len(dims)))
    return found, Places("index", tuple(common_index("index", tensors)), tuple(dims), front)


# --- reading -------------------------------------------------------------------------------------------------------


def _row_entry(m):
    """What `x[i]` needs to know of a tensor of meta ``m``."""
    shape, strides = tuple(m.shape[1:]), m.strides[1:]
    row = strided_meta(m.dtype, shape, strides, m.device)
    if len(_ROWS) > _LIMIT:
        _ROWS.clear()
    found = _ROWS[m] = row, m.strides[0], row.numel if row.contiguous else row.span, m.shape[0]
    return found


def _view_entry(m, key, spec):
    """What the view ``spec`` of a tensor of meta ``m`` is, remembered under ``key``."""
    offset, shape, strides = basic_geometry(m, spec)
    found = strided_meta(m.dtype, shape, strides, m.device)
    if len(_VIEWS) > _LIMIT:
        _VIEWS.clear()
    entry = _VIEWS[key] = offset, offset + (found.numel if found.contiguous else found.span), found, spec
    return entry


def _hashable(key):
    """The ints, None and slices of a key as a tuple that names the view; None if there is anything else."""
    parts = []
    for item in key:
        kind = type(item)
        if kind is slice:
            start, stop, step = item.start, item.stop, item.step
            if type(start) not in _PLAIN or type(stop) not in _PLAIN or type(step) not in _PLAIN:
                return None
            parts.append((start, stop, step))
        elif kind is int or item is None or item is Ellipsis:
            parts.append(item)
        else:
            return None
    return tuple(parts)


@method
def __getitem__(self, key) -> Tensor:
    """``x[key]``: a view for integers, slices, None and Ellipsis, a copy where index tensors or masks take part."""
    m = self._m
    kind = type(key)
    if kind is int:
        entry = _ROWS.get(m)
        if entry is None and m.ndim:
            entry = _row_entry(m)
        if entry is not None:
            row, step, length, size = entry
            if not -size <= key < size:
                raise _out_of_range(key, 0, m.shape)
            if key < 0:
                key += size
            if self._n is not None:
                return _select(self, 0, key)
            start = key * step
            return _window(self, start, start + length, row)
    elif kind is slice or kind is tuple:
        name = _hashable((key,) if kind is slice else key)
        if name is not None:
            return _basic_view(self, key, (m, name))
    at = _index_places(key, kind, m)
    if at is not None:
        return _indexed(self, at)
    spec, indices = parse(self, key)
    if not indices:
        return _sliced(self, spec)
    found = self if _is_whole(spec, m) else _sliced(self, spec)
    return _indexed(*places(found, indices))


def _index_places(key, kind, m):
    """The places of a key of index tensors alone, or of a list of ints; None for other keys."""
    if kind is Tensor:
        return Places("index", (key,), (0,)) if m.ndim and _is_index(key, m) else None
    if kind is tuple:
        if not 0 < len(key) <= m.ndim:
            return None
        for item in key:
            if not _is_index(item, m):
                return None
        return Places("index", common_index("index", key), tuple(range(len(key))))
    if kind is list and m.ndim and key:
        for item in key:
            if type(item) is not int:
                return None
        return Places("index", (from_array(np.array(key, np.int64)).to(m.device),), (0,))
    return None


def _is_index(item, m):
    """Whether an item is an index tensor that needs no conversion."""
    return type(item) is Tensor and item._m.dtype is dtypes.int64 and item._m.ndim > 0 and item._m.device == m.device


def _basic_view(self, key, name):
    """The view that a key without tensors selects, known under ``name``."""
    entry = _VIEWS.get(name)
    if entry is None:
        entry = _view_entry(self._m, name, parse(self, key)[0])
    return _window(self, entry[0], entry[1], entry[2]) if self._n is None else _sliced(self, entry[3])


def _window(self, start, stop, m):
    """A view of the elements ``start`` to ``stop`` of the memory, of meta ``m``: `tensor.view` without its
    arithmetic."""
    storage = self._s
    if storage is None:
        storage = self._s = Storage()
    data = self._d
    if storage.root is None:
        storage.root = data
    found = new(Tensor)
    found._d = data[start:stop]
    found._m, found._s, found._n = m, storage, None
    base = self._base
    if switch.anywhere and not is_grad_enabled():
        if not storage.inference:
            follow(found, self, storage)
    elif self._creation is not None:
        follow(found, self, storage)
    else:
        found._base = self if base is None else base
        views = storage.views
        if not views:
            storage.views = [weakref.ref(found)]
        else:
            if len(views) >= 32 and len(views) & (len(views) - 1) == 0:
                views = storage.views = [held for held in views if held() is not None]
            views.append(weakref.ref(found))
    return found


# --- writing -------------------------------------------------------------------------------------------------------


def _value(self, value):
    """What is assigned: a Tensor, or a Python number."""
    if isinstance(value, Tensor):
        return value
    value = dtypes.python_number(value)
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, complex) and self._m.dtype.is_complex:
        return from_array(self._m.dtype.encode(np.array(value)))
    if isinstance(value, np.ndarray):
        return from_array(value)
    raise TypeError(
        f"can't assign a {type(value).__name__} to a tensor of dtype {self._m.dtype!r}; make a tensor of it"
    )


def _without_leading_ones(value, ndim):
    """Dimensions of size 1 in front of a value may be more than the target has."""
    extra = value._m.ndim - ndim
    if extra <= 0 or any(size != 1 for size in value._m.shape[:extra]):
        return value
    return value.reshape(tuple(value._m.shape[extra:]))


@method
def __setitem__(self, key, value) -> None:
    """``x[key] = value``: a number or a tensor that broadcasts to what ``key`` selects."""
    value = _value(self, value)
    if isinstance(key, Tensor) and key._m.dtype is dtypes.bool_ and key._m.shape == self._m.shape:
        if not isinstance(value, Tensor) or not value._m.ndim:
            masked_fill_(self, key, value)
            return
    kind = type(key)
    if kind is int or kind is slice or kind is tuple:
        name = _hashable(key if kind is tuple else (key,))
        if name is not None:
            _assign(_basic_view(self, key, (self._m, name)), value)
            return
    at = _index_places(key, kind, self._m)
    masked = False
    if at is not None:
        target = self
    else:
        spec, indices = parse(self, key)
        masked = isinstance(key, bool) or len(indices) == 1 and indices[0][1]._m.dtype is dtypes.bool_
        target = self if _is_whole(spec, self._m) else _sliced(self, spec)
        if not indices:
            _assign(target, value)
            return
        check_inplace("__setitem__", target, value)
        target, at = places(target, indices)
    if not isinstance(value, Tensor):
        scalar = empty_tensor(meta(target._m.dtype, (), target._m.device))
        write(value, scalar)
        value = scalar
    elif value._m.device != target._m.device:
        value = value.to(target._m.device)
    if masked and value._m.numel == 1:  # one value under one mask is converted, like a number
        value = cast(value, target._m.dtype)
    value = _broadcast_value(target, at, value)
    _same_dtype("__setitem__", target, value)
    _index_put.inplace("__setitem__", target, value, at, SET)


@method
def __delitem__(self, key) -> None:
    """Tensors have a fixed shape: a TypeError."""
    raise TypeError("Tensor does not support deleting items; select what is to be kept, e.g. with a mask")


def _assign(target, value):
    if isinstance(value, Tensor):
        copy_(target, _without_leading_ones(value, target._m.ndim))
    else:
        fill_(target, value)


def _broadcast_value(target, at, value):
    """The value in the places' shape, or 0-d."""
    if not value._m.ndim:
        return value
    shape = places_shape(at, target._m)
    value = _without_leading_ones(value, len(shape))
    if value._m.shape == shape:
        return value
    lead = len(shape) - value._m.ndim
    if lead < 0 or any(n not in (1, size) for n, size in zip(value._m.shape, shape[lead:])):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value._m.shape)} cannot be broadcast to indexing result of "
            "shape "
            f"{list(shape)}"
        )
    return value.expand(shape)


def _same_dtype(op, target, values):
    if values._m.dtype is not target._m.dtype:
        raise RuntimeError(
            f"{op}: Index put requires the source and destination dtypes match, got {target._m.dtype!r} for the "
            f"destination and {values._m.dtype!r} for the source; convert the values with .to(...)"
        )


def _put_arguments(op, input, indices, values):
    if isinstance(indices, Tensor):
        raise TypeError(f"{op}(): argument 'indices' must be tuple of Tensors, not Tensor")
    values = as_tensor_operand(op, values, "values")
    _same_dtype(op, input, values)
    used, axis = [], 0
    for position, index in enumerate(indices):
        if index is None:
            axis += 1
            continue
        index = as_tensor_operand(op, index, "indices")
        is_mask = _is_mask(index)
        if index._m.dtype.kind == "f" or index._m.dtype.barebones:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        count = index._m.ndim if is_mask else 1
        if axis + count > input._m.ndim:
            raise IndexError(f"too many indices for tensor of dimension {input._m.ndim} (got {len(indices)})")
        if is_mask:
            _check_mask(index, position, input._m.shape, axis)
        used.append((axis, index))
        axis += count
    if not used:
        raise RuntimeError(f"{op}(): expected at least one index tensor, got {len(indices)} that are None")
    return used, values


@function
def index_put(input, indices, values, accumulate=False) -> Tensor:
    """``input`` with ``values`` written, or added, at ``input[indices]``, a tuple of index tensors, masks and None."""
    used, values = _put_arguments("index_put", input, indices, values)
    found, at = places(input, used)
    out = _index_put(found, _broadcast_value(found, at, values), at, ADD if accumulate else SET)
    return out if out._m.shape == input._m.shape else out.view(tuple(input._m.shape))


@method
def index_put_(self, indices, values, accumulate=False) -> Tensor:
    """In-place version of `index_put`."""
    used, values = _put_arguments("index_put_", self, indices, values)
    target, at = places(self, used)
    _index_put.inplace("index_put_", target, _broadcast_value(target, at, values), at, ADD if accumulate else SET)
    return self


