"""Jacobians and Hessians: `jacrev` row by row, `jacfwd` column by column, `hessian` as both."""

import functools
from collections.abc import Callable
from typing import Any

from ..ops.join import stack
from ..tensor import Tensor
from .levels import zeros_of
from .transforms import Call, argnums_t, chosen
from .tree import unflatten


def unit_vectors(m):
    """The tensors of Meta ``m`` with a single one, in the order of the elements."""
    for k in range(m.numel):
        unit = zeros_of(m)
        unit.view(-1)[k] = 1.0
        yield unit


def stacked(rows: list[Tensor], lead: tuple, m) -> Tensor:
    """``rows``, each of the shape of Meta ``m``, as one tensor of shape ``lead + m.shape``."""
    if not rows:
        return zeros_of(m).new_zeros((*lead, *m.shape))
    return stack(rows).reshape((*lead, *m.shape))


def rows_of(call: Call, place: int, strict: bool = False) -> list[Tensor]:
    """The derivatives of one output by all inputs: of the output's shape followed by the input's.

    ``strict``: RuntimeError where the output does not depend on an input.
    """
    m = call.outputs[place]._m
    found: list[list[Tensor]] = [[] for _ in call.inputs]
    for unit in unit_vectors(m):
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
            found[k].append(call.sources[k].zeros() if row is None else row)
    return [stacked(rows, tuple(m.shape), tensor._m) for rows, tensor in zip(found, call.inputs)]


def columns_of(call: Call) -> list[list[Tensor]]:
    """For each output the derivatives by all inputs, as `rows_of` has them, from directional derivatives."""
    found: list[list[Tensor]] = [[] for _ in call.outputs]
    for place, tensor in enumerate(call.inputs):
        m = tensor._m
        columns: list[list[Tensor]] = [[] for _ in call.outputs]
        for unit in unit_vectors(m):
            directions: list = [None] * len(call.inputs)
            directions[place] = unit
            for own, column in zip(columns, call.tangents(directions)):
                own.append(column)
        for own, output, blocks in zip(columns, call.outputs, found):
            whole = stacked(own, (m.numel,), output._m)
            blocks.append(whole.movedim(0, -1).reshape((*output._m.shape, *m.shape)))
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
    input.shape``. ``chunk_size`` is accepted: rows are computed one at a time. ``has_aux``: ``func`` returns a pair
    whose second part comes back as it is, beside the Jacobian.
    """
    _checked_chunk("jacrev", chunk_size)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = Call("jacrev", func, args, kwargs, chosen("jacrev", argnums, len(args)), has_aux)
        call.need_tensors(floating=True)
        blocks = [rows_of(call, place) for place in range(len(call.outputs))]
        return _arranged(call, blocks, argnums, has_aux)

    return wrapper


def jacfwd(
    func: Callable, argnums: argnums_t = 0, has_aux: bool = False, *, randomness: str = "error",
    chunk_size: int | None = None,
) -> Callable:  # fmt: skip
    """The function that returns ``func``'s Jacobian, from one directional derivative an input element; its form is
    `jacrev`'s. ``randomness`` is accepted: ``func`` runs once, so that all columns see the same numbers."""
    _checked_chunk("jacfwd", chunk_size)
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"jacfwd: Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = Call("jacfwd", func, args, kwargs, chosen("jacfwd", argnums, len(args)), has_aux)
        call.need_tensors()
        return _arranged(call, columns_of(call), argnums, has_aux)

    return wrapper


def hessian(func: Callable, argnums: argnums_t = 0) -> Callable:
    """The function that returns ``func``'s Hessian: ``jacfwd(jacrev(func))``, of the structure of the arguments in
    that of the arguments (in that of the output)."""
    return jacfwd(jacrev(func, argnums), argnums)
