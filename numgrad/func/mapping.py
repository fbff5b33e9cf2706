"""`vmap`: a function of one sample applied to batches, and models stacked into one set of parameters."""

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import no_grad
from ..nn.batchnorm import _BatchNorm
from ..nn.module import Module
from ..ops.join import cat, stack
from ..tensor import Tensor
from .batched import Batched, Level
from .randomness import drawn, random_states, refused
from .tree import flatten, spread, unflatten

in_dims_t = int | tuple | None
out_dims_t = int | tuple | None
_RANDOMNESS = ("error", "different", "same")


def vmap(
    func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable:
    """The function that applies ``func`` to every slice of its arguments and stacks the results.

    ``in_dims``: for each positional argument the dimension to take slices along, None to pass it whole; one number
    for all of them; arguments may be nested, and ``in_dims`` like them or shorter. ``out_dims``: where the batch
    dimension stands in each output, None for one that is the same for all slices. ``randomness``: "error" if random
    numbers are drawn, "different" numbers for each slice, or the "same". ``chunk_size``: how many slices are computed at
    once, all by default. Keyword arguments are passed whole. Transforms nest, inside and outside.

    ``func`` runs once, on tensors of the shape of one slice that stand for all of them: what it does is done to the whole
    batch by rules for each kind of op, and slice by slice for ops without a rule. Raises RuntimeError where it asks for the
    values (``.item()``, ``if tensor:``), or writes what differs from slice to slice into a tensor that does not.
    """
    if randomness not in _RANDOMNESS:
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        name = getattr(func, "__name__", type(func).__name__)
        leaves, dims, spec, size = _slicing(name, in_dims, args)
        if chunk_size is None or chunk_size >= size:
            return unflatten(*_mapped(name, func, leaves, dims, spec, size, kwargs, out_dims, randomness))
        chunks, structure = [], spec
        for start in range(0, size, chunk_size):
            count = min(chunk_size, size - start)
            parts = [x if dim is None else x.narrow(dim, start, count) for x, dim in zip(leaves, dims)]
            outputs, structure = _mapped(name, func, parts, dims, spec, count, kwargs, out_dims, randomness)
            chunks.append(outputs)
        places = _out_places(name, out_dims, structure)
        joined = [own[0] if dim is None else cat(own, dim) for own, dim in zip(zip(*chunks), places)]
        return unflatten(joined, structure)

    return wrapper


def _mapped(name, func, leaves, dims, spec, size, kwargs, out_dims, randomness):
    """The outputs of one call on a whole batch, and their structure."""
    rules = importlib.import_module(".composites", __package__)
    states = random_states() if randomness == "error" else []
    with Level(size, randomness) as level:
        inputs = [x if dim is None else rules.entered(x, dim, level.number) for x, dim in zip(leaves, dims)]
        outputs, structure = flatten(func(*unflatten(inputs, spec), **kwargs))
    if states and drawn(states):
        raise refused()
    places = _out_places(name, out_dims, structure)
    return [_left(rules, name, value, dim, level) for value, dim in zip(outputs, places)], structure


def _slicing(name, in_dims, args):
    """The leaves of the arguments, the dimension of each or None, their structure, and the batch's size."""
    if not isinstance(in_dims, (int, tuple, list)):
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a (potentially nested) tuple "
            f"matching the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            "function with no inputs. The latter is unsupported."
        )
    leaves, structure = flatten(args)
    dims = spread(tuple(in_dims) if isinstance(in_dims, list) else in_dims, structure)  # positional arguments are a tuple
    if dims is None:
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the structure of `inputs`. "
            f"in_dims has structure {flatten(in_dims)[1]} but inputs has structure {structure}."
        )
    sizes = []
    for k, (leaf, dim) in enumerate(zip(leaves, dims)):
        if dim is None:
            continue
        where = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={dim} for an input but "
        if not isinstance(dim, int):
            raise ValueError(where + f"in_dim must be either an integer dimension or None, not {type(dim)}.")
        if not isinstance(leaf, Tensor):
            raise ValueError(
                where + f"the input is of type {type(leaf)}. We cannot vmap over non-Tensor arguments, please use None as "
                "the respective in_dim"
            )
        if not -leaf.ndim <= dim < leaf.ndim:
            raise ValueError(
                where + f"that input is a Tensor of dimensionality {leaf.ndim} so expected in_dim to satisfy "
                f"-{leaf.ndim} <= in_dim < {leaf.ndim}."
            )
        dims[k] = dim % leaf.ndim
        sizes.append(leaf.shape[dims[k]])
    if not sizes:
        raise ValueError(f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): at least one input must be a Tensor with an in_dim")
    if len(set(sizes)) > 1:
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the mapped "
            "dimension"
        )
    return leaves, dims, structure, sizes[0]


def _out_places(name, out_dims, structure):
    places = spread(out_dims, structure)
    if places is None and isinstance(out_dims, list):
        places = spread(tuple(out_dims), structure)
    if places is None or any(dim is not None and not isinstance(dim, int) for dim in places):
        if structure.type is None and isinstance(out_dims, (tuple, list)) and len(out_dims) == 1:
            return list(out_dims)
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of `outputs`. "
            f"out_dims has structure {flatten(out_dims)[1]} but outputs has structure {structure}."
        )
    return places


def _left(rules, name, value, dim, level) -> Any:
    """An output as the caller sees it, with the samples along ``dim``."""
    if dim is None:
        if type(value) is Batched and level.number in value.levels:
            raise ValueError(
                f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None: the output differs from sample "
                "to sample"
            )
        return value
    if not isinstance(value, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(value)}. Did you mean to set out_dims= to "
            "None for output?"
        )
    ndim = value.ndim + 1
    if not -ndim <= dim < ndim:
        raise IndexError(
            f"vmap({name}, ...): Dimension out of range (expected out_dims to be in range of [{-ndim}, {ndim - 1}], but got "
            f"{dim})"
        )
    return rules.left(value, dim, level.number, level.size)


def stack_module_state(models: Sequence[Module] | Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """``(parameters, buffers)`` of several modules of one class: by name, stacked along a new first dimension.

    With `functional_call` and `vmap` they make an ensemble. The stacked parameters are leaves of their own. Raises
    RuntimeError without modules, and for modules that differ in class or in training mode.
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not all(model.training for model in models) and any(model.training for model in models):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any(type(model) is not type(models[0]) for model in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = _stacked([dict(model.named_parameters()) for model in models], "parameter")
    buffers = _stacked([dict(model.named_buffers()) for model in models], "buffer")
    return parameters, buffers


def _stacked(tables, what):
    found = {}
    for key, first in tables[0].items():
        tensors = [table[key] for table in tables]
        if any(t.requires_grad != first.requires_grad for t in tensors):
            raise RuntimeError(f"stack_module_state: Expected each {what} to have the same requires_grad in all models, not so: {key}")
        with no_grad():
            joined = stack([t.detach() for t in tensors])
        found[key] = joined.requires_grad_(first.requires_grad)
    return found


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Make every batch norm in ``root`` use its batch's own statistics and keep none, so that calls leave no trace in
    the module; returns ``root``."""
    for module in root.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
