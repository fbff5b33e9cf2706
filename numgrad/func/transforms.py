"""Gradients and vector products as functions: `grad`, `grad_and_value`, `vjp`, `jvp`, `linearize`."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import enable_grad, is_grad_enabled
from ..ops.create import ones_like
from ..tensor import Tensor
from .levels import Source, linear_map, pull, reaches_outside, settled, stand_in, zeros_of
from .tangents import ForwardLevel
from .tree import TreeSpec, flatten, unflatten

argnums_t = int | tuple[int, ...]


def chosen(op: str, argnums: argnums_t, count: int) -> tuple[int, ...]:
    """The positions that ``argnums`` names, none of them negative."""
    wanted = (argnums,) if isinstance(argnums, int) and not isinstance(argnums, bool) else argnums
    if not isinstance(wanted, tuple) or not all(isinstance(k, int) for k in wanted):
        raise RuntimeError(f"{op}: argnums must be int or Tuple[int, ...], got: {type(argnums).__name__}")
    if not wanted:
        raise RuntimeError(f"{op}: argnums must be non-empty")
    for k in wanted:
        if not -count <= k < count:
            raise RuntimeError(f"{op}: Got argnum={k}, but only {count} positional inputs")
    found = tuple(k % count for k in wanted)
    if len(set(found)) != len(found):
        raise RuntimeError(f"{op}: argnums elements must be unique, got {argnums}")
    return found


class Call:
    """One call of a function on stand-ins of the arguments at ``places``, called ``inputs``; ``sources`` are their
    nodes, ``outputs`` the leaves of what it returned, ``aux`` its second result where there is one.

    ``keep``: whether derivatives are recorded and results keep their history; None for those of them that depend on
    something outside, if anything is recorded at all. ``tangents``: those of the inputs, where they are known.
    """

    def __init__(
        self, op: str, func: Callable, args: Sequence, kwargs: dict, places: Sequence[int], has_aux: bool = False,
        keep: bool | None = None, tangents: Sequence | None = None,
    ):  # fmt: skip
        self.op, self.keep = op, keep
        arguments = list(args)
        level = None if tangents is None else ForwardLevel()
        self.level = level
        self.specs: list[TreeSpec] = []
        inputs: list[Tensor] = []
        for k in places:
            leaves, spec = flatten(args[k])
            if level is None or tangents is None:
                own = [stand_in(op, leaf) for leaf in leaves]
            else:
                own = [level.dual(op, leaf, tangent) for leaf, tangent in zip(leaves, tangents[len(inputs) :])]
            inputs += own
            self.specs.append(spec)
            arguments[k] = unflatten(own, spec)
        self.inputs = inputs
        self.sources: list[Source] = [tensor._n for tensor in inputs]
        with enable_grad(), level or contextlib.nullcontext():
            result = func(*arguments, **kwargs)
        self.aux: Any = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise RuntimeError(
                    f"{op}(f): output of function f should be a tuple: (output, aux) if has_aux is True, got "
                    f"{type(result).__name__}"
                )
            result, aux = result
            leaves, spec = flatten(aux)
            self.aux = unflatten(self.settled(leaves), spec)
        self.outputs, self.spec = flatten(result)

    def need_tensors(self, floating: bool = False) -> None:
        """Raise unless every output is a Tensor (``floating``: of a floating point dtype)."""
        for output in self.outputs:
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    f"{self.op}(f, *primals): Expected f to return only Tensors (nested in tuples, lists, dicts), got "
                    f"unsupported type {type(output).__name__}"
                )
            if floating and not output.is_floating_point():
                raise RuntimeError(
                    f"{self.op}(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype "
                    f"{output.dtype}; return it with has_aux=True"
                )

    def value(self) -> Any:
        """What the function returned, as the caller may see it."""
        if self.keep is None and not self.outside:
            detached = [t.detach() if isinstance(t, Tensor) and t._n is not None else t for t in self.outputs]
            return unflatten(detached, self.spec)
        return unflatten(self.settled(self.outputs), self.spec)

    @functools.cached_property
    def outside(self) -> bool:
        """Whether an output depends on something outside that asks for gradients, besides the inputs."""
        return reaches_outside(self.outputs, self.sources)

    def settled(self, tensors: Sequence) -> list:
        """These results, as the caller may see them."""
        if self.keep is None:
            return settled(tensors, self.sources)
        return list(tensors) if self.keep else [t.detach() if isinstance(t, Tensor) else t for t in tensors]

    def split(self, leaves: Sequence) -> list:
        """One entry an argument, of its structure, from one leaf an input."""
        found, start = [], 0
        for spec in self.specs:
            found.append(unflatten(leaves[start : start + spec.num_leaves], spec))
            start += spec.num_leaves
        return found

    def pulled(self, cotangents: Sequence, retain: bool, record: bool | None = None) -> list:
        """The gradients with respect to the inputs, None where unused."""
        if record is None:
            record = self.keep
        if record is None:
            record = is_grad_enabled() and (self.outside or reaches_outside(cotangents, self.sources))
        found = pull(self.outputs, cotangents, self.sources, record, retain or record)
        return self.settled(found) if record else found

    def gradients(self, cotangents: Sequence, retain: bool, record: bool | None = None) -> list[Tensor]:
        """The gradients with respect to the inputs, zeros where unused."""
        found = self.pulled(cotangents, retain, record)
        return [source.zeros() if g is None else g for g, source in zip(found, self.sources)]

    @functools.cached_property
    def push(self) -> Callable[[Sequence], list]:
        """The function from tangents of the inputs to tangents of the outputs, None for zero."""
        return linear_map(self.outputs, self.sources, self.keep)

    def tangents(self, directions: Sequence) -> list[Tensor]:
        """The tangents of the outputs towards ``directions``, one an input; zeros where an output does not depend."""
        return self._with_zeros(self.push(directions))

    def known_tangents(self) -> list[Tensor]:
        """The tangents of the outputs towards those with which the function was called."""
        assert self.level is not None
        nodes = self.level.nodes()
        return self._with_zeros(linear_map(self.outputs, nodes, self.keep)([node.tangent for node in nodes]))

    def _with_zeros(self, found: Sequence) -> list[Tensor]:
        return [zeros_of(y._m) if t is None else t for t, y in zip(found, self.outputs)]


def grad_and_value(func: Callable, argnums: argnums_t = 0, has_aux: bool = False) -> Callable:
    """The function that returns ``func``'s gradient and its value.

    ``func`` must return a Tensor of no dimensions; with ``has_aux`` a pair of it and anything else, and the value is
    that pair. ``argnums``: the position of the argument to differentiate with respect to (a Tensor, or Tensors nested
    in tuples, lists and dictionaries), or a tuple of several, and the gradient is then a tuple. Raises RuntimeError
    for any other output.
    """

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        op = "grad_and_value"
        call = Call(op, func, args, kwargs, chosen(op, argnums, len(args)), has_aux)
        output = call.outputs[0] if call.spec.type is None else None
        if not isinstance(output, Tensor):
            got = type(output).__name__ if call.spec.type is None else call.spec.type.__name__
            raise RuntimeError(f"{op}(f)(*args): Expected f(*args) to return a Tensor, got {got}")
        if output.ndim != 0:
            raise RuntimeError(
                f"{op}(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with {output.ndim} dims. Maybe "
                "you wanted to use the vjp or jacrev APIs instead?"
            )
        gradients = call.split(call.gradients([ones_like(output).detach()], False))
        found = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        return found, (call.value(), call.aux) if has_aux else call.value()

    return wrapper


def grad(func: Callable, argnums: argnums_t = 0, has_aux: bool = False) -> Callable:
    """The function that returns ``func``'s gradient; with ``has_aux``, the pair of it and ``func``'s second output.
    The arguments as in `grad_and_value`."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapper


def _same_structure(op, name, spec, of, expected):
    if spec != expected:
        raise RuntimeError(
            f"{op}: Expected pytree structure of {name} to be the same as pytree structure of {of}. {name}: {spec}, {of}: "
            f"{expected}"
        )


def same_shapes(op, name, tensors, like):
    for k, (tensor, other) in enumerate(zip(tensors, like)):
        if not isinstance(tensor, Tensor):
            raise RuntimeError(f"{op}: Expected {name} to be Tensors, got {type(tensor).__name__}")
        if tensor._m.shape != other._m.shape:
            raise RuntimeError(
                f"{op}: Expected {name} to have the shapes of what they belong to, but number {k} is of shape "
                f"{list(tensor._m.shape)} for {list(other._m.shape)}"
            )


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """``(func(*primals), vjp_fn)``, where ``vjp_fn(cotangents)`` is ``J^T cotangents``: of ``func``'s output structure,
    it returns a tuple of the gradients with respect to the primals. With ``has_aux``, ``func`` returns a pair whose second
    part comes back as the third result."""
    op = "vjp"
    call = Call(op, func, primals, {}, chosen(op, tuple(range(len(primals))), len(primals)), has_aux)
    call.need_tensors(floating=True)

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        leaves, spec = flatten(cotangents)
        _same_structure(op, "cotangents", spec, "primal output", call.spec)
        same_shapes(op, "cotangents", leaves, call.outputs)
        return tuple(call.split(call.gradients(leaves, retain_graph, create_graph)))

    return (call.value(), vjp_fn, call.aux) if has_aux else (call.value(), vjp_fn)


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """``(func(*primals), J tangents)``; tangents of the structure and shapes of ``primals``, a tuple of the arguments.

    ``strict``: RuntimeError where an output does not depend on any input, rather than zeros. ``has_aux``: ``func``
    returns a pair whose second part comes back as the third result.
    """
    op = "jvp"
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{op}(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    leaves, spec = flatten(tangents)
    before, expected = flatten(primals)
    _same_structure(op, "tangents", spec, "primals", expected)
    if not before:
        raise RuntimeError(f"{op}(f, primals, tangents): Expected at least one Tensor in primals, got none")
    known = leaves if all(isinstance(value, Tensor) for value in (*before, *leaves)) else None
    call = Call(op, func, primals, {}, range(len(primals)), has_aux, tangents=known)
    same_shapes(op, "tangents", leaves, call.inputs)
    call.need_tensors()
    if strict and any(output._n is None for output in call.outputs):
        raise RuntimeError(f"{op}(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not allowed with strict=True.")
    found = unflatten(call.known_tangents(), call.spec)
    return (call.value(), found, call.aux) if has_aux else (call.value(), found)


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """``(func(*primals), jvp_fn)``: ``jvp_fn(*tangents)`` is ``J tangents`` at these primals, and runs ``func`` no more."""
    op = "linearize"
    call = Call(op, func, primals, {}, range(len(primals)))
    call.need_tensors()
    expected = flatten(primals)[1]

    def jvp_fn(*tangents: Any) -> Any:
        leaves, spec = flatten(tangents)
        _same_structure(op, "tangents", spec, "primals", expected)
        same_shapes(op, "tangents", leaves, call.inputs)
        return unflatten(call.tangents(leaves), call.spec)

    return call.value(), jvp_fn
