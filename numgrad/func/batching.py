"""How ops are applied to batched tensors: one rule for each form of op, and what is done where there is no rule.

A rule computes the results of all samples at once, on the values. Pointwise ops bring the batch dimensions into line and
broadcast; reductions leave them out; row ops take them as rows; views keep them in front. `structured_rules` has the rules
of ops with kernels of their own. Everything else is done slice by slice, one op at a time.
"""

import warnings
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..inplace import write_out
from ..layout import normalize_axes
from ..op import ENTRIES, OPS, cast
from ..ops.copy import copy_
from ..ops.join import cat, stack
from ..ops.parts import select
from ..ops.view import reshape, unsqueeze
from ..pointwise import result_dtypes
from ..tensor import Tensor
from .batched import (
    Batched,
    BatchedRead,
    RefusedWrite,
    active,
    batched,
    from_one_batch,
    one_batch,
    padded,
    sample_meta,
    sizes_of,
    tensors_in,
    tree_of,
    under,
    unmapped,
    whole,
)
from .randomness import repeated

# --- pointwise ops -----------------------------------------------------------------------------------------------------


def pointwise(op, operands, attributes, out) -> Tensor:
    """A pointwise op on operands some of which are batched."""
    sizes = sizes_of(tensors_in(operands))
    ndim = max(value._m.ndim for value in operands if isinstance(value, Tensor))
    values = _as_samples_promote(op, operands, [padded(value, sizes, ndim) for value in operands])
    found = batched(op.entry(*values, *attributes), tuple(sizes))
    return found if out is None else _into(op.name, found, out)


def _as_samples_promote(op, operands, values):
    """The values such that they promote as the samples do, of which those without dimensions have no say."""
    if len({value._m.dtype for value in values if isinstance(value, Tensor)}) < 2:
        return values
    compute, result = result_dtypes(op, operands)
    if result_dtypes(op, values) == (compute, result):
        return values
    return [
        cast(value, compute) if isinstance(value, Tensor) and not sample._m.ndim else value
        for value, sample in zip(values, operands)
    ]


def _into(name, found, out):
    if type(out) is not Batched:
        raise refused_write(name, "out")
    write_out(name, whole(found, sizes_of([out])), out.value)
    out._m = sample_meta(out.value._m, len(out.levels))
    return out


def refused_write(name: str, argument: str) -> RefusedWrite:
    """The error for writes of batched values into a tensor that is the same for all samples."""
    return RefusedWrite(
        f"vmap: {name}(self, *extra_args) is not possible because there exists a Tensor `{argument}` in extra_args that has "
        "more elements than `self`. This happened due to it being batched over more dimensions than `self`, which is one "
        f"tensor for all samples. Please use the out-of-place operation instead of {name}, or make `self` with "
        "numgrad.zeros_like or new_zeros from a batched tensor."
    )


def _check_target(name, target, others):
    own = target.levels if type(target) is Batched else ()
    if any(level not in own for tensor in tensors_in(others) for level in tensor.levels):
        raise refused_write(name, "other")


def pointwise_inplace(op, inputs, attributes) -> Tensor:
    """The in-place form of a pointwise op."""
    target, *others = inputs
    _check_target(f"{op.name}_", target, others)
    sizes = sizes_of([target])
    ndim = target._m.ndim
    if any(isinstance(value, Tensor) and value._m.ndim > ndim for value in others):
        shape = max((value._m.shape for value in others if isinstance(value, Tensor)), key=len)
        raise RuntimeError(
            f"{op.name}_: output with shape {list(target._m.shape)} doesn't match the broadcast shape {list(shape)}"
        )
    values = [target.value, *[padded(value, sizes, ndim) for value in others]]
    op.inplace_entry(*_as_samples_promote(op, inputs, values), *attributes)
    return target


# --- reductions and views ------------------------------------------------------------------------------------------------


def reduction(op, tensor, attributes, dim, keepdim, dtype, out) -> Tensor:
    """A reduction of every sample."""
    count, ndim = len(tensor.levels), tensor._m.ndim
    if not ndim:
        normalize_axes(op.name, dim, ndim)
        found = op.entry(unsqueeze(tensor.value, -1), *attributes, -1, False, dtype=dtype)
    else:
        axes = normalize_axes(op.name, None if isinstance(dim, (tuple, list)) and not dim else dim, ndim)
        found = op.entry(tensor.value, *attributes, tuple([axis + count for axis in axes]), keepdim, dtype=dtype)
    found = batched(found, tensor.levels)
    return found if out is None else _into(op.name, found, out)


def _behind(dim, count):
    """A dimension of a sample as one of the values, which have ``count`` more in front."""
    return dim if dim < 0 else dim + count


def _view(value, count, m, shape):
    return OPS["view"].entry(value, (*value._m.shape[:count], *shape))


def _permute(value, count, m, dims):
    return OPS["permute"].entry(value, (*range(count), *[dim % max(m.ndim, 1) + count for dim in dims]))


def _transpose(value, count, m, dim0, dim1):
    if not m.ndim:
        return value
    return OPS["transpose"].entry(value, dim0 % m.ndim + count, dim1 % m.ndim + count)


def _t(value, count, m):
    return OPS["transpose"].entry(value, count, count + 1) if m.ndim == 2 else value


def _expand(value, count, m, shape):
    lead = tuple(value._m.shape[:count])
    extra = len(shape) - m.ndim
    if extra > 0:
        value = OPS["view"].entry(value, (*lead, *(1,) * extra, *m.shape))
    return OPS["expand"].entry(value, (*lead, *shape))


def _unsqueeze(value, count, m, dim):
    return OPS["unsqueeze"].entry(value, _behind(dim, count))


def _squeeze(value, count, m, dims):
    return OPS["squeeze"].entry(value, tuple([dim % max(m.ndim, 1) + count for dim in dims]))


def _as_strided(value, count, m, size, stride, offset, place):
    lead, steps = tuple(value._m.shape[:count]), value._m.strides[:count]
    return OPS["as_strided"].entry(value, (*lead, *size), (*steps, *stride), offset, place)


def _slice(value, count, m, dim, *part):
    return OPS["slice"].entry(value, _behind(dim, count), *part)


def _select(value, count, m, dim, index):
    return OPS["select"].entry(value, _behind(dim, count), index)


def _unbind(value, count, m, dim, index):
    return OPS["unbind"].entry(value, _behind(dim, count), index)


def _diagonal(value, count, m, offset, dim1, dim2):
    return OPS["diagonal_view"].entry(value, offset, _behind(dim1, count), _behind(dim2, count))


def _slices_along(value, count, m, dimension, *windows):
    return OPS["slices_along"].entry(value, _behind(dimension, count), *windows)


def _slice_view(value, count, m, spec):
    return OPS["slice_view"].entry(value, (*[(0, 1, size) for size in value._m.shape[:count]], *spec))


_VIEWS: dict[str, Callable] = {
    "view": _view, "permute": _permute, "transpose": _transpose, "t": _t, "expand": _expand, "unsqueeze": _unsqueeze,
    "squeeze": _squeeze, "as_strided": _as_strided, "slice": _slice, "select": _select, "unbind": _unbind,
    "diagonal_view": _diagonal, "slice_view": _slice_view, "slices_along": _slices_along,
}  # fmt: skip


def view(op, inputs, attributes) -> Tensor:
    """A view of every sample."""
    (tensor,) = inputs
    rule = _VIEWS.get(op.name)
    if rule is None:  # a view that someone else defined
        return slices(op.entry, (tensor, *attributes), {})
    return batched(rule(tensor.value, len(tensor.levels), tensor._m, *attributes), tensor.levels)


# --- ops with kernels of their own, row ops ------------------------------------------------------------------------------

RULES: dict[str, Callable] = {}  # name of an op -> function (Samples) -> the values of the result, or None without a rule


class Samples:
    """A call of an op on batched inputs, for its rule: ``sizes`` of the levels and their product ``n``, ``inputs`` by name,
    the names of those that are ``batched``, ``attributes`` by name."""

    def __init__(self, op, inputs, attributes):
        self.op, self.attributes = op, dict(zip(op.attributes, attributes))
        self.inputs: dict[str, Any] = dict(zip(op.inputs, inputs))
        found = tensors_in((*inputs, *attributes, *[place for a in attributes for place in indices_of(a)]))
        self.sizes = sizes_of(found)
        self.n = prod(self.sizes.values())
        self.batched = {name for name, value in self.inputs.items() if type(value) is Batched}

    def value(self, name) -> Any:
        """The values of an input with one batch dimension in front, None if it is absent."""
        tensor = self.inputs[name]
        return None if tensor is None else one_batch(tensor, self.sizes)

    def one(self, tensor) -> Tensor:
        """The same for a tensor that is no input."""
        return one_batch(tensor, self.sizes)

    def plain(self, name) -> Any:
        """The values of an input: with a batch dimension only if it is batched."""
        return self.value(name) if name in self.batched else self.inputs[name]

    def call(self, *inputs, **changed) -> Tensor:
        """The op on these inputs, in its order, with its attributes but for those ``changed``."""
        return self.op.entry(**dict(zip(self.inputs, inputs)), **{**self.attributes, **changed})


def indices_of(attribute) -> tuple:
    """The index tensors that an attribute of an op holds."""
    index = getattr(attribute, "index", None)
    if isinstance(index, Tensor):
        return (index,)
    found = getattr(attribute, "indices", ())
    return found if type(found) in (tuple, list) else ()


def structured(op, inputs, attributes) -> Tensor:
    """An op with a kernel of its own, or a row op."""
    samples = Samples(op, inputs, attributes)
    rule = RULES.get(op.name) or (_rows if op.form == "rowwise" else None)
    found = None if rule is None else rule(samples)
    if found is None:
        return slices(op.entry, (), {**samples.inputs, **samples.attributes})
    return from_one_batch(found, samples.sizes)


def _rows(samples):
    """Batch dimensions are more rows; inputs that all rows share must be the same for all samples."""
    arguments = samples.op.row_inputs
    if any(not argument.row and argument.name in samples.batched for argument in arguments):
        return None
    return samples.call(*[
        samples.value(argument.name) if argument.row else samples.inputs[argument.name] for argument in arguments
    ])  # fmt: skip


def join(entry, tensors, dim, out) -> Tensor:
    """`cat` or `stack` of tensors some of which are batched."""
    sizes = sizes_of(tensors_in(tensors))
    ndim = max(tensor._m.ndim for tensor in tensors) + (entry is stack)
    if entry is cat and ndim > 1:  # which leaves out empty vectors
        tensors = [tensor for tensor in tensors if tensor._m.ndim != 1 or tensor._m.numel]
    if not -ndim <= dim < ndim:
        raise IndexError(
            f"{entry.__name__}: Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {dim})"
        )
    count = len(sizes)
    found = batched(entry([whole(tensor, sizes) for tensor in tensors], dim % ndim + count), tuple(sizes))
    return found if out is None else _into(entry.__name__, found, out)


# --- slice by slice --------------------------------------------------------------------------------------------------------


_warned = False
_by_slices = True


def _set_vmap_fallback_enabled(enabled: bool) -> None:
    """Whether operations without a batching rule are computed slice by slice under `vmap` (the default); else they raise."""
    global _by_slices
    _by_slices = bool(enabled)


def _is_vmap_fallback_enabled() -> bool:
    """Whether operations without a batching rule are computed slice by slice under `vmap`."""
    return _by_slices


def is_batchedtensor(tensor: Tensor) -> bool:
    """Whether this is a tensor as functions under `vmap` get it: it shows one sample and holds the batch."""
    return type(tensor) is Batched


def _debug_only_display_vmap_fallback_warnings(enabled: bool) -> None:
    """Whether an operation under `vmap` that is computed slice by slice warns (``torch._C``'s switch; off at first)."""
    global _warned
    _warned = bool(enabled)


def _debug_only_are_vmap_fallback_warnings_enabled() -> bool:
    """Whether an operation under `vmap` that is computed slice by slice warns."""
    return _warned


def slices(fn: Callable, args: tuple, kwargs: dict, more: dict[int, int] | None = None) -> Any:
    """``fn`` called on every sample, also of the levels ``more``; its Tensors stacked. What it returns besides comes from
    the first call."""
    if not _by_slices:
        raise RuntimeError(
            f"Batching rule not implemented for {getattr(fn, '__name__', fn)}, and the fallback to slices is switched off "
            "(_set_vmap_fallback_enabled)"
        )
    if _warned:
        warnings.warn(
            f"There is a performance drop because there is no batching rule for {getattr(fn, '__name__', fn)}: vmap computes it "
            "slice by slice",
            stacklevel=2,
        )
    sizes = sizes_of(tensors_in((*args, kwargs)))
    if more:
        sizes |= more
        sizes = {level: sizes[level] for level in sorted(sizes)}
    if 0 in sizes.values():
        return _of_nothing(fn, args, kwargs, sizes)
    same = bool(active()) and all(level.randomness == "same" for level in active())
    results = []
    with unmapped(), repeated(same) as restart:
        for place in np.ndindex(*sizes.values()):
            restart()
            at = dict(zip(sizes, place))
            own_args, own_kwargs = tree_of((args, kwargs), lambda tensor, at=at: _sample(tensor, at))
            found = fn(*own_args, **own_kwargs)
            if args and found is own_args[0] and type(args[0]) is Batched:  # written to in place
                found = args[0]
            results.append(found)
    return _stacked(results, sizes)


def _of_nothing(fn, args, kwargs, sizes):
    """`slices` of a batch of size 0: a sample of zeros shows what the results are like."""

    def zeros(tensor):
        m = tensor._m
        return tensor.value.new_zeros(tuple(m.shape)) if type(tensor) is Batched else tensor.detach()

    with unmapped():
        own_args, own_kwargs = tree_of((args, kwargs), zeros)
        found = fn(*own_args, **own_kwargs)
    return tree_of(found, lambda t: batched(t.new_zeros((*sizes.values(), *t._m.shape)), tuple(sizes)))


def _sample(tensor, at):
    if type(tensor) is not Batched:
        return tensor
    value = tensor.value
    for level in tensor.levels:
        value = select(value, 0, at[level])
    return value


def _stacked(results, sizes):
    first = results[0]
    if isinstance(first, Tensor):
        if any(result is not first for result in results):
            if any(result._m.shape != first._m.shape for result in results):
                raise RuntimeError(
                    "vmap: an operation whose result has another shape for each sample was called on a batched tensor: got "
                    f"{sorted({tuple(result._m.shape) for result in results})}. It depends on the data; take it out of vmap."
                )
        elif type(first) is Batched:
            return first
        found = stack(results)
        return batched(reshape(found, (*sizes.values(), *first._m.shape)), tuple(sizes))
    kind = type(first)
    if kind is list or kind is tuple:
        return kind([_stacked(items, sizes) for items in zip(*results)])
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(*[_stacked(items, sizes) for items in zip(*results)])
    return first


def gradients_of(node, gradient) -> tuple:
    """What a node passes on of a gradient that may be batched: by tensor operations, else slice by slice."""
    try:
        return tuple(node.backward_recorded(gradient))
    except (BatchedRead, RefusedWrite):
        return tuple(slices(node.backward_recorded, (gradient,), {}))


def inplace_copy(target, src, non_blocking=False) -> Tensor:
    """`copy_` between tensors one of which is batched."""
    _check_target("copy_", target, (src,))
    sizes = sizes_of([target])
    if isinstance(src, Tensor) and src._m.ndim > target._m.ndim:
        raise RuntimeError(
            f"copy_: output with shape {list(target._m.shape)} doesn't match the broadcast shape {list(src._m.shape)}"
        )
    copy_(target.value, padded(src, sizes, target._m.ndim))
    return target


ENTRIES.update({
    "batched_copy": inplace_copy, "batched_pointwise": pointwise, "batched_inplace": pointwise_inplace, "batched_reduction": reduction,
    "batched_view": view, "batched_op": structured, "batched_join": join,
})  # fmt: skip

__all__ = ["RULES", "Samples", "gradients_of", "slices", "under"]
