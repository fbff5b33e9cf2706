"""Jacobians and Hessians: `jacrev` by rows, `jacfwd` by columns, `hessian` as both; all rows or columns at once."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

from ..ops.join import cat
from ..tensor import Tensor
from .levels import batch_of, zeros_of
from .transforms import Call, argnums_t, chosen
from .tree import unflatten


def unit_vectors(m, chunk_size: int | None) -> Iterator[tuple[Tensor, Callable[..., Any]]]:
    """The tensors of Meta ``m`` with a single one, in the order of the elements: pairs of a batch of at most ``chunk_size``
    of them, as `batch_of` gives it, and what makes ordinary tensors of what is computed from it."""
    shape = tuple(m.shape)
    size = m.numel if chunk_size is None else min(chunk_size, m.numel)
    for start in range(0, m.numel, max(size, 1)):
        count = min(size, m.numel - start)
        units = zeros_of(m).new_zeros((count, m.numel))
        units.narrow(1, start, count).diagonal().fill_(1.0)
        units = units.reshape((count, *shape))
        if count == 1:
            yield units[0], _as_one
        else:
            (unit,), ordinary = batch_of(units)
            yield unit, ordinary


def _as_one(found, dim=0):
    return None if found is None else found.unsqueeze(dim)


def joined(parts: list[Tensor], shape: tuple, dim: int, m) -> Tensor:
    """``parts`` one after the other along ``dim`` in that shape; zeros as Meta ``m`` has them if there are none."""
    if not parts:
        return zeros_of(m).new_zeros(shape)
    return (parts[0] if len(parts) == 1 else cat(parts, dim)).reshape(shape)


def rows_of(call: Call, place: int, strict: bool = False, chunk_size: int | None = None) -> list[Tensor]:
    """The derivatives of one output by all inputs: of the output's shape followed by the input's.

    ``strict``: RuntimeError where the output does not depend on an input. ``chunk_size``: how many are computed at once.
    """
    m = call.outputs[place]._m
    found: list[list[Tensor]] = [[] for _ in call.inputs]
    for unit, ordinary in unit_vectors(m, chunk_size):
        weights: list = [None] * len(call.outputs)
        weights[place] = unit
        for k, row in enumerate(call.pulled(weights, True)):
            if strict and row is None:
                raise RuntimeError(
                    f"Output {place} of the user-provided function is independent of input {k}. This is not allowed in "
                    "strict mode."
                )
            if strict and call.keep and row._n is None:
                raise RuntimeError(
                    f"The jacobian of the user-provided function is independent of input {k}. This is not allowed in strict "
                    "mode when create_graph=True."
                )
            found[k].append(ordinary(call.sources[k].zeros() if row is None else row))
    return [
        joined(rows, (*m.shape, *tensor._m.shape), 0, tensor._m) for rows, tensor in zip(found, call.inputs)
    ]


def columns_of(call: Call, chunk_size: int | None = None) -> list[list[Tensor]]:
    """For each output the derivatives by all inputs, as `rows_of` has them, from directional derivatives."""
    found: list[list[Tensor]] = [[] for _ in call.outputs]
    for place, tensor in enumerate(call.inputs):
        m = tensor._m
        columns: list[list[Tensor]] = [[] for _ in call.outputs]
        for unit, ordinary in unit_vectors(m, chunk_size):
            directions: list = [None] * len(call.inputs)
            directions[place] = unit
            for own, column in zip(columns, call.tangents(directions)):
                own.append(ordinary(column, -1))
        for own, output, blocks in zip(columns, call.outputs, found):
            blocks.append(joined(own, (*output._m.shape, *m.shape), -1, output._m))
    return found


def _checked_chunk(op, chunk_size):
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"{op}: `chunk_size` should be greater than 0, got {chunk_size}")


def _arranged(call, blocks, argnums, has_aux):
    """The derivatives in the output's structure, each of them in the structure of the chosen arguments."""
    entries = []
    for own in blocks:
        parts = call.split(call.settled(own))
        entries.append(parts[0] if isinstance(argnums, int) else tuple(parts))
    found = unflatten(entries, call.spec)
    return (found, call.aux) if has_aux else found


def jacrev(
    func: Callable, argnums: argnums_t = 0, *, has_aux: bool = False, chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:  # fmt: skip
    """The function that returns ``func``'s Jacobian, from one backward walk an output element.

    The result has the structure of ``func``'s output, in place of each Tensor the structure of the argument (a tuple
    of those for a tuple ``argnums``), in place of each of its Tensors a derivative of shape ``output.shape +
    input.shape``. ``chunk_size``: how many rows are computed at once, all by default. ``has_aux``: ``func`` returns a
    pair whose second part comes back as it is, beside the Jacobian.
    """
    _checked_chunk("jacrev", chunk_size)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = Call("jacrev", func, args, kwargs, chosen("jacrev", argnums, len(args)), has_aux)
        call.need_tensors(floating=True)
        blocks = [rows_of(call, place, False, chunk_size) for place in range(len(call.outputs))]
        return _arranged(call, blocks, argnums, has_aux)

    return wrapper


def jacfwd(
    func: Callable, argnums: argnums_t = 0, has_aux: bool = False, *, randomness: str = "error",
    chunk_size: int | None = None,
) -> Callable:  # fmt: skip
    """The function that returns ``func``'s Jacobian, from directional derivatives, one an input element; its form
    and ``chunk_size`` are `jacrev`'s. ``randomness`` is accepted: ``func`` runs once, so that all columns see the same numbers."""
    _checked_chunk("jacfwd", chunk_size)
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"jacfwd: Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = Call("jacfwd", func, args, kwargs, chosen("jacfwd", argnums, len(args)), has_aux)
        call.need_tensors()
        return _arranged(call, columns_of(call, chunk_size), argnums, has_aux)

    return wrapper


def hessian(func: Callable, argnums: argnums_t = 0) -> Callable:
    """The function that returns ``func``'s Hessian: ``jacfwd(jacrev(func))``, of the structure of the arguments in
    that of the arguments (in that of the output)."""
    return jacfwd(jacrev(func, argnums), argnums)
