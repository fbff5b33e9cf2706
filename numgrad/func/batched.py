"""Batched tensors: what the function given to `vmap` sees in place of a whole batch.

A `Batched` tensor has the shape of one sample; ``value`` is an ordinary tensor with the batch dimensions of ``levels`` in
front, one a `vmap` that is under way, the outermost first. Its `Meta` is of a kind of its own, so that no op has a plan
for it: the entries of ops look for a plan first, and where they find none they ask whether an operand is batched. Ordinary
tensors never pay for that. History is kept by the values alone.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NoReturn

from ..ops.view import expand, reshape
from ..overrides import _disabled_torch_function_impl
from ..storage import Meta
from ..tensor import Tensor, new

_LIMIT = 1 << 14
_metas: dict = {}  # (meta of a value, number of levels) -> BatchMeta
_numbers = itertools.count(1)


class BatchMeta(Meta):
    """The meta of one sample of a batched tensor."""

    __slots__ = ()
    batched = True


class BatchedRead(RuntimeError):
    """The memory of a batched tensor was asked for."""


class RefusedWrite(RuntimeError):
    """Batched values were to be written into a tensor that is the same for all samples."""


def sample_meta(m: Meta, count: int) -> BatchMeta:
    """The meta of one sample of a value of meta ``m`` with ``count`` batch dimensions."""
    key = m, count
    found = _metas.get(key)
    if found is None:
        if len(_metas) > _LIMIT:
            _metas.clear()
        found = _metas[key] = BatchMeta(m.dtype, tuple(m.shape[count:]), tuple(m.strides[count:]), m.device)
    return found


def _refuse_value(what: str) -> NoReturn:
    raise BatchedRead(
        f"vmap: It looks like you're calling {what} on a Tensor. We don't support vmap over calling {what} on a Tensor: it has "
        "another value for each sample. Use tensor operations instead, for example numgrad.where for a choice, or take the "
        "call out of vmap."
    )


class Batched(Tensor):
    """One sample of a batch, as the function given to `vmap` sees it: ``value`` has the dimensions of ``levels`` in front."""

    __slots__ = ("value", "levels")
    __torch_function__: Any = _disabled_torch_function_impl

    value: Tensor
    levels: tuple[int, ...]

    @property
    def _d(self):
        raise BatchedRead(
            "vmap: a function that reads memory itself was given a batched tensor, and there is no rule that says how it is "
            "applied to one. Take the call out of vmap, or compose it of tensor operations."
        )

    @property
    def _n(self):
        return self.value._n

    @_n.setter
    def _n(self, node):
        self.value._n = node

    @property
    def _s(self):
        return self.value._s

    @_s.setter
    def _s(self, storage):
        self.value._s = storage

    def detach(self) -> Tensor:
        return batched(self.value.detach(), self.levels)

    @property
    def data(self) -> Tensor:
        return batched(self.value.data, self.levels)

    def requires_grad_(self, requires_grad: bool = True):
        raise RuntimeError(
            "requires_grad_() of a batched tensor: You are attempting to call Tensor.requires_grad_() inside of a function "
            "being transformed by vmap. This is unsupported, please use numgrad.func.grad or numgrad.func.vjp instead, or "
            "call requires_grad_() outside"
        )

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None) -> None:
        raise RuntimeError(
            "backward() called inside a functorch transform. This is not supported, please use numgrad.func.grad or "
            "numgrad.func.vjp inside of vmap, or call backward() on what vmap returns"
        )

    def register_hook(self, hook):
        """Call ``hook(grad)``, with a batched gradient."""
        levels = self.levels

        def of_sample(gradient):
            changed = hook(under(gradient, levels))
            return None if changed is None else seeded(self, changed)

        return self.value.register_hook(of_sample)

    def storage_offset(self) -> int:
        return self.value.storage_offset()

    def item(self):
        _refuse_value(".item()")

    def tolist(self):
        _refuse_value(".tolist()")

    def numpy(self, *, force: bool = False):
        _refuse_value(".numpy()")

    def _host(self):
        _refuse_value("a function that reads the values")

    _stored = _host

    def __array__(self, dtype=None, copy=None):
        _refuse_value("a NumPy function")

    def __bool__(self) -> bool:
        raise BatchedRead(
            "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that: "
            "the condition may differ from sample to sample. Compute both branches and choose with numgrad.where."
        )

    def __deepcopy__(self, memo):
        return batched(self.value.clone() if self.value._n is not None else self.value.__deepcopy__(memo), self.levels)

    def __reduce_ex__(self, protocol):
        raise RuntimeError("a batched tensor exists within vmap only and cannot be saved; save what vmap returns")

    def __repr__(self, *, tensor_contents=None) -> str:
        return f"BatchedTensor(levels={self.levels}, shape={list(self._m.shape)}, value={self.value!r})"

    def __format__(self, spec) -> str:
        return repr(self)


def batched(value: Tensor, levels: tuple[int, ...]) -> Tensor:
    """``value``, whose first dimensions are those of ``levels``, as a batched tensor; itself without levels."""
    if not levels:
        return value
    found = new(Batched)
    found.value, found.levels = value, levels
    found._m = sample_meta(value._m, len(levels))
    return found


# --- the maps under way ----------------------------------------------------------------------------------------------


def next_level() -> int:
    """The number of a level inside of all that there are."""
    return next(_numbers)


class Level:
    """One `vmap` under way: its number, larger than those around it, its batch's size and what it says on random numbers."""

    def __init__(self, size: int, randomness: str):
        self.number, self.size, self.randomness = next_level(), size, randomness

    def __enter__(self):
        _active.levels = (*_active.levels, self)
        return self

    def __exit__(self, *exception):
        _active.levels = _active.levels[:-1]


class _Active(threading.local):
    levels: tuple[Level, ...] = ()


_active = _Active()


def active() -> tuple[Level, ...]:
    """The maps under way in this thread, the outermost first."""
    return _active.levels


class unmapped:
    """No map is under way in this block: it works on values."""

    def __enter__(self):
        self.before, _active.levels = _active.levels, ()

    def __exit__(self, *exception):
        _active.levels = self.before


# --- bringing batch dimensions into line -----------------------------------------------------------------------------


def tensors_in(values, found=None) -> list[Batched]:
    """The batched tensors among the values, also in lists, tuples and dictionaries."""
    found = [] if found is None else found
    for value in values:
        kind = type(value)
        if kind is Batched:
            found.append(value)
        elif kind is list or kind is tuple:
            tensors_in(value, found)
        elif kind is dict:
            tensors_in(value.values(), found)
    return found


def sizes_of(tensors: Sequence[Batched]) -> dict[int, int]:
    """Level -> size, in the order of levels, of all levels of the tensors."""
    found: dict[int, int] = {}
    for tensor in tensors:
        found.update(zip(tensor.levels, tensor.value._m.shape))
    return found if len(found) < 2 else {level: found[level] for level in sorted(found)}


def whole(tensor: Tensor, sizes: dict[int, int]) -> Tensor:
    """The values of ``tensor`` with a dimension for each of the levels in front; it is repeated along those that it has not."""
    if type(tensor) is not Batched:
        return expand(tensor, (*sizes.values(), *tensor._m.shape))
    if len(tensor.levels) == len(sizes):
        return tensor.value
    shape = tuple(tensor._m.shape)
    lead = [size if level in tensor.levels else 1 for level, size in sizes.items()]
    return expand(reshape(tensor.value, (*lead, *shape)), (*sizes.values(), *shape))


def padded(tensor: Any, sizes: dict[int, int], ndim: int) -> Any:
    """The values of a batched ``tensor`` as operand of a broadcast with samples of ``ndim`` dimensions; others as they are."""
    if type(tensor) is not Batched:
        return tensor
    m = tensor._m
    if len(tensor.levels) == len(sizes) and m.ndim == ndim:
        return tensor.value
    lead = [size if level in tensor.levels else 1 for level, size in sizes.items()]
    return reshape(tensor.value, (*lead, *(1,) * (ndim - m.ndim), *m.shape))


def one_batch(tensor: Tensor, sizes: dict[int, int]) -> Tensor:
    """`whole` with one batch dimension in place of several."""
    found = whole(tensor, sizes)
    return found if len(sizes) == 1 else reshape(found, (prod(sizes.values()), *found._m.shape[len(sizes) :]))


def from_one_batch(value: Tensor, sizes: dict[int, int]) -> Tensor:
    """The reverse of `one_batch`, as a batched tensor."""
    if len(sizes) > 1:
        value = reshape(value, (*sizes.values(), *value._m.shape[1:]))
    return batched(value, tuple(sizes))


def under(tensor: Tensor, levels: tuple[int, ...]) -> Tensor:
    """``tensor``, whose shape begins with the dimensions of ``levels``, as batched over them too."""
    if not levels:
        return tensor
    if type(tensor) is not Batched:
        return batched(tensor, levels)
    order = (*tensor.levels, *levels)
    if list(order) == sorted(order):
        return batched(tensor.value, order)
    places = sorted(range(len(order)), key=order.__getitem__)
    value = tensor.value.permute(*places, *range(len(order), tensor.value._m.ndim))
    return batched(value, tuple(sorted(order)))


def seeded(output: Tensor, gradient: Tensor) -> Tensor:
    """A gradient of ``output`` as one of its values: batched over the levels that the output does not have."""
    own = output.levels if type(output) is Batched else ()
    if not own and type(gradient) is not Batched:
        return gradient
    sizes = sizes_of(tensors_in((output, gradient)))
    value = whole(gradient, sizes)
    others = tuple(level for level in sizes if level not in own)
    if not others:
        return value
    levels = list(sizes)
    order = [levels.index(level) for level in (*others, *own)]
    if order != sorted(order):
        value = value.permute(*order, *range(len(order), value._m.ndim))
    return batched(value, others)


def value_of(tensor: Any) -> Any:
    """The values of a batched tensor with all their dimensions; anything else as it is."""
    return tensor.value if type(tensor) is Batched else tensor


def levels_of(tensor: Any) -> tuple[int, ...]:
    """The levels that a tensor is batched over."""
    return tensor.levels if type(tensor) is Batched else ()


def everywhere(tensor: Tensor) -> Tensor:
    """``tensor`` as one of its own for each sample of all maps under way."""
    if not _active.levels:
        return tensor
    sizes = {level.number: level.size for level in _active.levels}
    own = sizes_of(tensors_in((tensor,)))
    sizes = {level: sizes.get(level) or own[level] for level in sorted({*sizes, *own})} if own else sizes
    if len(own) == len(sizes):
        return tensor
    return batched(whole(tensor, sizes), tuple(sizes))


def tree_of(value: Any, change: Callable) -> Any:
    """``value`` with ``change`` applied to its Tensors, also those in lists, tuples, named tuples and dictionaries."""
    if isinstance(value, Tensor):
        return change(value)
    kind = type(value)
    if kind is list or kind is tuple:
        return kind([tree_of(item, change) for item in value])
    if kind is dict:
        return {key: tree_of(item, change) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return kind(*[tree_of(item, change) for item in value])
    return value
