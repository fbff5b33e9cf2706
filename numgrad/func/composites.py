"""Functions that read memory themselves, in `vmap`: sent through rules from its first use on.

A detour of `detours.divert` each, once and for good; calls without batched tensors go on to the function. Functions that are
composed of ops need none.
"""

import functools
import inspect
import types
from collections.abc import Callable

from .. import linalg
from ..detours import divert
from ..function import Function
from ..names import behind
from ..op import ENTRIES
from ..ops import activation, classification, loss, random, reduce, subscript
from ..ops.view import reshape, sizes
from ..tensor import Tensor
from . import structured_rules as structured_rules
from .batched import (
    Batched,
    BatchedRead,
    RefusedWrite,
    active,
    batched,
    from_one_batch,
    one_batch,
    sizes_of,
    tensors_in,
    tree_of,
    value_of,
    whole,
)
from .batching import gradients_of as gradients_of, refused_write, slices
from .randomness import masked, sampled


def _found(args, kwargs):
    return tensors_in(args) or (kwargs and tensors_in(kwargs.values()))


def _as_ops_or_slices(original, args, kwargs):
    """By its ops where it only reads batched tensors through them, else slice by slice."""
    if not _found(args, kwargs):
        return original(*args, **kwargs)
    try:
        return original(*args, **kwargs)
    except (BatchedRead, RefusedWrite):
        return slices(original, args, kwargs)


def _strided(original, args, kwargs):
    """A view with any strides: of every sample, counted from the first one's place in the storage."""
    if not args or type(args[0]) is not Batched:
        return original(*args, **kwargs)
    bound = inspect.signature(original).bind(*args, **kwargs)
    input, size, stride, *_ = bound.arguments.values()
    value, count = input.value, len(input.levels)
    offset = bound.arguments.get("storage_offset")
    offset = value.storage_offset() if offset is None else offset
    shape = (*value._m.shape[:count], *sizes("as_strided", (size,)))
    return batched(original(value, shape, (*value._m.strides[:count], *sizes("as_strided", (stride,))), offset), input.levels)


def _write_slices(original, args, kwargs):
    """In-place functions: their first argument must be batched over all that the others are."""
    found = _found(args, kwargs)
    if not found:
        return original(*args, **kwargs)
    own = args[0].levels if type(args[0]) is Batched else ()
    if any(level not in own for tensor in found for level in tensor.levels):
        raise refused_write(original.__name__, "other")
    return slices(original, args, kwargs)


def _in_front(count, original, args, kwargs):
    """Functions of one batched tensor that take any dimensions before their last ``count``: (..., *size)."""
    found = _found(args, kwargs)
    if not found:
        return original(*args, **kwargs)
    if len(found) > 1 or type(args[0]) is not Batched or args[0]._m.ndim < count:
        return slices(original, args, kwargs)
    x = args[0]
    ndim = x._m.ndim
    value = one_batch(x, sizes_of(found))
    lead = tuple(value._m.shape[: ndim - count + 1])
    flat = value if ndim == count else reshape(value, (-1, *value._m.shape[ndim - count + 1 :])) if value._m.numel else None
    if flat is None:
        return slices(original, args, kwargs)
    result = original(flat, *args[1:], **kwargs)
    sizes = sizes_of(found)
    return tree_of(result, lambda t: from_one_batch(reshape(t, (*lead, *t._m.shape[1:])), sizes))


def _along_dim(original, args, kwargs):
    """Functions of one tensor and a dimension."""
    found = _found(args, kwargs)
    if not found:
        return original(*args, **kwargs)
    signature = inspect.signature(original)
    bound = signature.bind(*args, **kwargs)
    first = next(iter(bound.arguments))
    x = bound.arguments[first]
    dim = bound.arguments.get("dim", signature.parameters["dim"].default if "dim" in signature.parameters else None)
    if len(found) > 1 or isinstance(dim, Tensor) or "other" in bound.arguments:
        return _as_ops_or_slices(original, args, kwargs)
    if dim is None and original.__name__ in ("argmax", "argmin") and not bound.arguments.get("keepdim"):
        return _along_dim(original, (reshape(x, (-1,)),), {"dim": 0})
    if type(x) is not Batched or not x._m.ndim or not isinstance(dim, int):
        return slices(original, args, kwargs)
    if not -x._m.ndim <= dim < x._m.ndim:
        return original(x, *args[1:], **kwargs)
    bound.arguments["dim"] = dim % x._m.ndim + len(x.levels)
    bound.arguments[first] = x.value
    result = original(*bound.args, **bound.kwargs)
    return tree_of(result, lambda tensor: batched(tensor, x.levels))


def _leading(original, args, kwargs):
    """Functions that take batches of matrices."""
    found = _found(args, kwargs)
    if not found:
        return original(*args, **kwargs)
    tensors = [value for value in args if isinstance(value, Tensor)]
    ranks = {tensor._m.ndim for tensor in tensors}
    if kwargs and tensors_in(kwargs.values()) or len(ranks) > 1 or min(ranks) < 2:
        return slices(original, args, kwargs)
    sizes = sizes_of(found)
    values = [whole(value, sizes) if isinstance(value, Tensor) else value for value in args]
    return tree_of(original(*values, **kwargs), lambda tensor: batched(tensor, tuple(sizes)))


def _attention(original, args, kwargs):
    """Queries, keys, values and a mask: with dimensions in front."""
    found = _found(args, kwargs)
    if not found:
        return original(*args, **kwargs)
    bound = inspect.signature(original).bind(*args, **kwargs)
    parts = {name: value for name, value in bound.arguments.items() if isinstance(value, Tensor)}
    if active() and bound.arguments.get("dropout_p") or len({t._m.ndim for t in list(parts.values())[:3]}) > 1:
        return slices(original, args, kwargs)
    sizes = sizes_of(found)
    ndim = next(iter(parts.values()))._m.ndim
    for name, tensor in parts.items():
        value = whole(tensor, sizes)
        missing = ndim - tensor._m.ndim
        if missing:
            value = reshape(value, (*sizes.values(), *(1,) * missing, *tensor._m.shape))
        bound.arguments[name] = value
    return batched(original(*bound.args, **bound.kwargs), tuple(sizes))


def _spread_first(original, args, kwargs):
    """Functions with an index: a first argument that is the same for all samples is repeated, so that ops see a batch."""
    found = _found(args, kwargs)
    if found and args and type(args[0]) is not Batched and isinstance(args[0], Tensor):
        sizes = sizes_of(found)
        args = (batched(whole(args[0], sizes), tuple(sizes)), *args[1:])
    return _as_ops_or_slices(original, args, kwargs) if found else original(*args, **kwargs)


def _embedding(original, args, kwargs):
    """Of rows that are the same for all samples the batch is one index; of others there is an index for each."""
    if not _found(args, kwargs):
        return original(*args, **kwargs)
    bound = inspect.signature(original).bind(*args, **kwargs)
    input, weight = bound.arguments["input"], bound.arguments["weight"]
    if type(weight) is not Batched and bound.arguments.get("max_norm") is None:
        bound.arguments["input"] = input.value
        if not bound.arguments.get("scale_grad_by_freq"):
            return batched(original(*bound.args, **bound.kwargs), input.levels)
    padding = bound.arguments.get("padding_idx")
    if bound.arguments.get("max_norm") is not None or bound.arguments.get("scale_grad_by_freq"):
        return slices(original, args, kwargs)
    bound.arguments["padding_idx"] = None
    result = original(*bound.args, **bound.kwargs)
    if padding is None:
        return result
    rows = weight._m.shape[0]
    return ENTRIES["where"]((input == padding % rows).unsqueeze(-1), result.detach(), result)


def _on_values(original, args, kwargs):
    """Checks of values, of all samples at once."""
    return original(*map(value_of, args), **kwargs)


def _filled(original, args, kwargs):
    """Tensors like a batched one, or made by its methods: with memory for every sample."""
    if not args or type(args[0]) is not Batched:
        return original(*args, **kwargs)
    found = original(*args, **kwargs)
    return batched(whole(found, sizes_of(args[:1])).clone(), args[0].levels)


def _depends_on_data(original, args, kwargs):
    found = _found(args, kwargs)
    if found and original.__name__ == "masked_select" and len(args) > 1 and type(args[1]) is not Batched:
        return slices(original, args, kwargs)
    if found:
        raise RuntimeError(
            f"vmap: It looks like you're attempting to use {original.__name__}, whose result has another shape for each sample. "
            "We don't support vmap over such operations: use numgrad.where or a mask of fixed shape, or take it out of vmap."
        )
    return original(*args, **kwargs)


def _function(cls, args, kwargs):
    """A custom `Function` on batched tensors: by its ``vmap``, one level at a time, else slice by slice."""
    own = cls.vmap is not Function.vmap
    if own and cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and a vmap staticmethod. Please set "
            "generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid ambiguity."
        )
    if not own:
        return slices(cls.apply, args, kwargs)
    level = max(level for tensor in tensors_in(args) for level in tensor.levels)
    in_dims, values, size = [], [], 0
    for value in args:
        if type(value) is Batched and level in value.levels:
            place = value.levels.index(level)
            size = value.value._m.shape[place]
            count = len(value.levels) - 1
            rest = value.value if place == count else value.value.movedim(place, count)
            values.append(batched(rest, tuple(other for other in value.levels if other != level)))
            in_dims.append(0)
        else:
            values.append(value)
            in_dims.append(None)
    randomness = next((known.randomness for known in active() if known.number == level), "error")
    info = types.SimpleNamespace(batch_size=size, randomness=randomness)
    outputs, out_dims = cls.vmap(info, tuple(in_dims), *values)
    return _with_level(outputs, out_dims, level)


def _with_level(output, dim, level):
    if isinstance(output, (tuple, list)):
        dims = dim if isinstance(dim, (tuple, list)) else [dim] * len(output)
        return type(output)([_with_level(item, d, level) for item, d in zip(output, dims)])
    if dim is None or not isinstance(output, Tensor):
        return output
    return entered(output, dim, level)


def entered(tensor: Tensor, dim: int, level: int) -> Tensor:
    """``tensor`` as batched over its dimension ``dim``, for a level inside of all that it has."""
    if dim % tensor._m.ndim:
        tensor = tensor.movedim(dim, 0)
    if type(tensor) is Batched:
        return batched(tensor.value, (*tensor.levels, level))
    return batched(tensor, (level,))


def left(tensor: Tensor, dim: int, level: int, size: int) -> Tensor:
    """The reverse of `entered`: with the samples along dimension ``dim``."""
    if type(tensor) is Batched and level in tensor.levels:
        place, count = tensor.levels.index(level), len(tensor.levels) - 1
        value = tensor.value if place == count else tensor.value.movedim(place, count)
        found = batched(value, tuple(other for other in tensor.levels if other != level))
        return found.movedim(0, dim) if dim else found
    found = tensor.unsqueeze(dim if dim >= 0 else dim + tensor._m.ndim + 1)
    shape = list(found._m.shape)
    shape[dim] = size
    return found.expand(shape)


def _indices(found, indices):
    """What `x[...]` reads where an index is batched: the tensor as a batch, indices of it."""
    for _, item in indices:
        if item._m.batched and item._m.dtype.kind == "b":
            raise RuntimeError(
                "vmap: It looks like you're attempting to index with a mask, which selects another number of elements in each "
                "sample. We don't support that: use numgrad.where or masked_fill, or take the call out of vmap."
            )
    if type(found) is not Batched:
        sizes = sizes_of(tensors_in([item for _, item in indices]))
        found = batched(whole(found, sizes), tuple(sizes))
    return found, indices


def _getitem(self, key):
    if isinstance(key, tuple):
        key = subscript._as_tuple(key)
    spec, indices = subscript.parse(self, key)
    found = self if subscript._is_whole(spec, self._m) else subscript._sliced(self, spec)
    return subscript._indexed(*subscript.places(found, indices)) if indices else found


def _setitem(self, key, value):
    spec, indices = subscript.parse(self, key)
    if indices:
        _write_slices(_assigned, (self, key, value), {})
        return
    subscript._assign(self if subscript._is_whole(spec, self._m) else subscript._sliced(self, spec), value)


def _assigned(tensor, key, value):
    tensor[key] = value
    return tensor


_DIMENSION = (
    "sort", "argsort", "topk", "kthvalue", "median", "nanmedian", "mode", "argmax", "argmin", "max", "min", "cummax", "cummin",
)  # fmt: skip
_PLANES = {
    "max_pool1d": 2, "max_pool2d": 3, "max_pool3d": 4, "max_pool1d_with_indices": 2, "max_pool2d_with_indices": 3,
    "max_pool3d_with_indices": 4, "adaptive_max_pool1d": 2, "adaptive_max_pool2d": 3, "adaptive_max_pool3d": 4,
    "adaptive_max_pool1d_with_indices": 2, "adaptive_max_pool2d_with_indices": 3, "adaptive_max_pool3d_with_indices": 4,
}  # fmt: skip
_MATRICES = ("cholesky", "inverse", "det", "lu", "slogdet", "qr", "svd", "matrix_exp", "pinverse", "logdet")
_LINALG = (
    "cholesky", "cholesky_ex", "eigh", "eigvalsh", "qr", "svd", "svdvals", "lu", "lu_factor", "lu_factor_ex", "det", "slogdet",
    "matrix_exp", "ldl_factor", "ldl_factor_ex", "matrix_rank", "pinv", "inv", "inv_ex", "solve", "solve_ex", "solve_triangular",
)  # fmt: skip
_LINALG_BY_OPS = (
    "cond", "matrix_norm", "norm", "lu_solve", "ldl_solve", "tensorinv", "tensorsolve", "multi_dot", "matrix_power", "householder_product", "lstsq",
)  # fmt: skip
_INDEXED = (
    "gather", "take_along_dim", "index_select", "take", "index_add", "index_copy", "index_fill", "scatter", "scatter_add",
    "scatter_reduce", "index_put", "put", "index_reduce",
)  # fmt: skip
_OTHERS = (
    "aminmax", "histc", "histogram", "searchsorted", "bucketize", "isin", "interpolate", "grid_sample", "ctc_loss", "quantile",
    "nanquantile", "cdist", "pdist", "bincount", "one_hot", "allclose", "equal", "embedding_bag", "masked_scatter",
    "fractional_max_pool2d", "fractional_max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d", "cholesky_solve",
    "cholesky_inverse", "lu_solve", "triangular_solve", "geqrf", "orgqr", "ormqr", "norm", "gaussian_nll_loss",
    "multi_margin_loss", "multilabel_margin_loss", "combinations", "repeat_interleave", "renorm",
)  # fmt: skip
_SHAPED_BY_DATA = ("nonzero", "argwhere", "unique", "unique_consecutive", "masked_select")
_IN_PLACE = (
    "index_fill_", "masked_fill_", "fill_diagonal_", "cumsum_", "cumprod_", "renorm_", "index_add_", "index_copy_", "put_",
    "masked_scatter_", "scatter_", "scatter_add_", "scatter_reduce_", "index_reduce_", "index_put_", "apply_", "map_",
)  # fmt: skip
_SAMPLERS = (
    "normal_", "uniform_", "log_normal_", "exponential_", "geometric_", "cauchy_", "random_", "bernoulli_", "bernoulli",
    "multinomial", "poisson", "binomial", "rand_like", "randn_like", "randint_like", "rrelu", "_standard_gamma",
)  # fmt: skip
_MAKERS = ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty")


def _entries(name):
    for entry in {id(found): found for found in (ENTRIES.get(name), behind(getattr(Tensor, name, None)))}.values():
        if isinstance(entry, types.FunctionType) and not hasattr(entry, "op"):
            yield entry


def prepare() -> None:
    """Let the functions know of batched tensors; done once, for good."""
    rules: list[tuple[tuple, Callable]] = [
        (_DIMENSION, _along_dim), (_MATRICES, _leading), (_INDEXED, _spread_first), (_OTHERS, _as_ops_or_slices),
        (_SHAPED_BY_DATA, _depends_on_data), (("as_strided",), _strided), (_IN_PLACE, _write_slices), (_MAKERS, _filled), (("embedding",), _embedding),
        (_SAMPLERS, functools.partial(sampled, slices)), (("scaled_dot_product_attention",), _attention),
    ]  # fmt: skip
    rules += [((name,), functools.partial(_in_front, count)) for name, count in _PLANES.items()]
    done = set()
    for names, around in rules:
        for name in names:
            for entry in _entries(name):
                if id(entry) not in done:
                    done.add(id(entry))
                    divert(entry, around)
    for names, around in ((_LINALG, _leading), (_LINALG_BY_OPS, _as_ops_or_slices)):
        for entry in [behind(getattr(linalg, name)) for name in names]:
            if id(entry) not in done:
                done.add(id(entry))
                divert(entry, around)
    for entry in (random.rand, random.randn, random.randint, random.randperm, random.normal):
        divert(entry, functools.partial(sampled, slices))
    for entry in (classification.check_targets, loss.check_probabilities, reduce.has_nan):
        divert(entry, _on_values)
    divert(random._masked, masked)
    for entry in (random._alpha, activation._random_slopes):
        divert(entry, functools.partial(sampled, slices))


def _becoming(name):
    """The in-place form of a view: the batched tensor becomes it."""

    def become(self, *args):
        found = getattr(self, name)(*args)
        self.value, self._m = found.value, found._m
        return self

    return become


Batched.__getitem__, Batched.__setitem__ = _getitem, _setitem
for _name in ("squeeze", "unsqueeze", "t", "transpose", "swapaxes", "swapdims"):
    setattr(Batched, f"{_name}_", _becoming(_name))
ENTRIES.update({"batched_indices": _indices, "batched_function": _function})
prepare()

