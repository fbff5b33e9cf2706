"""PyTorch's ``_foreach_`` functions: one function applied to each tensor of a list."""

from collections.abc import Callable
from typing import Any

from ..op import ENTRIES
from ..tensor import Tensor
from .matrix import vector_norm

_UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "clone", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor", "frac", "lgamma", "log",
    "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh",
    "trunc",
)  # fmt: skip
_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "clamp_max", "clamp_min", "pow")
_AS_METHODS = {"clamp_max": "minimum", "clamp_min": "maximum"}  # what they are for two tensors
_OF_NUMBERS = {other: name for name, other in _AS_METHODS.items()}


def _listed(name: str, tensors: Any) -> list:
    """A non-empty list of Tensors; TypeError or RuntimeError in the name of ``name``."""
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(f"{name}() received an invalid combination of arguments: expected a list of Tensors, got {type(tensors).__name__}")
    for k, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type(tensor).__name__}")
    if not tensors:
        raise RuntimeError("Tensor list must have at least one tensor.")
    return list(tensors)


def _matched(first: list, other: Any, packed: bool = False) -> list:
    """One value for each of ``first``: of a list, or a number or 0-d tensor for all."""
    if isinstance(other, (list, tuple)):
        if len(other) != len(first):
            if not other or not isinstance(other[0], Tensor):
                raise RuntimeError("Tensor list must have same number of elements as scalar list.")
            raise RuntimeError(f"Tensor lists must have the same number of tensors, got {len(first)} and {len(other)}")
        return list(other)
    if isinstance(other, Tensor) and packed:
        if other.ndim != 1:
            raise RuntimeError(f"Expected packed scalar Tensor to be of dimension 1. Got {other.ndim} instead.")
        if len(other) != len(first):
            raise RuntimeError(f"Expected length of scalars to match input of length {len(first)} but got {len(other)} instead.")
        return other.tolist()
    if isinstance(other, Tensor) and other.ndim:
        raise RuntimeError(f"scalar tensor expected to be 0 dim but it has {other.ndim} dimensions and {other.numel()} elements.")
    return [other] * len(first)


def _applied(name: str, inplace: bool, rows: list, named: dict) -> list:
    """The function ``name`` on each row of operands, in place or not."""
    found = []
    for target, *rest in rows:
        called = name
        if rest and name in _AS_METHODS and isinstance(rest[0], Tensor):
            called = _AS_METHODS[name]
        if rest and name in _OF_NUMBERS and not isinstance(rest[0], Tensor):
            called = _OF_NUMBERS[name]
        if not inplace:
            found.append(getattr(target, called)(*rest, **named) if isinstance(target, Tensor) else ENTRIES[called](target, *rest, **named))
        elif hasattr(target, f"{called}_"):
            getattr(target, f"{called}_")(*rest, **named)
        else:
            target.copy_(getattr(target, called)(*rest, **named))
    return found


def _function(name: str, inplace: bool, arranged: Callable[..., tuple[list, dict]]) -> Callable[..., Any]:
    full = f"_foreach_{name}{'_' * inplace}"

    def foreach(self, *args, **named):
        rows, options = arranged(full, self, *args, **named)
        found = _applied(name, inplace, rows, options)
        return self if inplace else tuple(found)

    foreach.__name__ = foreach.__qualname__ = full
    foreach.__doc__ = f"`{name}{'_' * inplace}` of each tensor of a list, with one operand for all or a list of them."
    return foreach


def _of_one(name, self):
    return [(tensor,) for tensor in _listed(name, self)], {}


def _of_two(name, self, other=None, *, alpha=None, scalar=None, scalars=None, exponent=None):
    other = next(value for value in (other, scalar, scalars, exponent, ()) if value is not None)
    named = {} if alpha is None else {"alpha": alpha}
    if not isinstance(self, (list, tuple)) and isinstance(other, (list, tuple)):  # pow of a number
        return [(self, exponent) for exponent in _listed(name, other)], named
    self = _listed(name, self)
    if alpha is not None and not isinstance(other, (list, tuple, Tensor)):
        raise TypeError(f"{name}(): alpha goes with a list of Tensors, not with {type(other).__name__}")
    return list(zip(self, _matched(self, other))), named


def _of_three(name, self, tensor1, tensor2, value=1, *, scalars=None):
    self = _listed(name, self)
    tensor1, tensor2 = _matched(self, _listed(name, tensor1)), _matched(self, _listed(name, tensor2))
    values = _matched(self, value if scalars is None else scalars, packed=True)
    return list(zip(self, values, tensor1, tensor2)), {}


def _interpolated(name, self, tensors1, weight=None, *, weights=None, scalars=None):
    self = _listed(name, self)
    weight = next(value for value in (weight, weights, scalars) if value is not None)
    return list(zip(self, _matched(self, _listed(name, tensors1)), _matched(self, weight))), {}


def _added_product(name: str, inplace: bool) -> Callable[..., Any]:
    full = f"_foreach_{name}{'_' * inplace}"

    def foreach(self, *args, **named):
        rows, _ = _of_three(full, self, *args, **named)
        method = f"{name}{'_' * inplace}"
        found = [getattr(target, method)(one, other, value=value) for target, value, one, other in rows]
        return self if inplace else tuple(found)

    foreach.__name__ = foreach.__qualname__ = full
    foreach.__doc__ = f"`{name}{'_' * inplace}` of each tensor of three lists, with one number for all or a list of them."
    return foreach


def _foreach_norm(self, ord=2, dtype=None) -> tuple[Tensor, ...]:
    """`linalg.vector_norm` of each tensor of a list."""
    return tuple(vector_norm(tensor, ord, dtype=dtype) for tensor in _listed("_foreach_norm", self))


def _foreach_max(self) -> tuple[Tensor, ...]:
    """`max` of each tensor of a list."""
    tensors = _listed("_foreach_max", self)
    if not all(tensor.numel() for tensor in tensors):
        raise RuntimeError("_foreach_max cannot compute the maximum of an empty tensor; max over zero elements is undefined.")
    return tuple(tensor.max() for tensor in tensors)


def _foreach_copy_(self, src, non_blocking=False):
    """`copy_` to each tensor of a list from that of another one."""
    tensors = _listed("_foreach_copy_", self)
    for target, source in zip(tensors, _matched(tensors, src)):
        target.copy_(source, non_blocking)
    return self


def _foreach_zero_(self):
    """`zero_` of each tensor of a list."""
    for tensor in _listed("_foreach_zero_", self):
        tensor.zero_()
    return self


FOREACH: dict[str, Callable[..., Any]] = {
    f"_foreach_{name}{'_' * inplace}": _function(name, inplace, arranged)
    for names, arranged in ((_UNARY, _of_one), (_BINARY, _of_two), (("lerp",), _interpolated))
    for name in names for inplace in (False, True) if not (name == "clone" and inplace)
} | {
    f"_foreach_{name}{'_' * inplace}": _added_product(name, inplace) for name in ("addcmul", "addcdiv") for inplace in (False, True)
} | {fn.__name__: fn for fn in (_foreach_norm, _foreach_max, _foreach_copy_, _foreach_zero_)}  # fmt: skip
