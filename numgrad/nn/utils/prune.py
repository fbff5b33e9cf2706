"""Pruning: parameters with masks of the elements that count, applied before each forward."""

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from ...ops.create import ones_like, zeros_like
from ...ops.random import rand, rand_like
from ...ops.search import kthvalue, topk
from ...tensor import Tensor
from ..module import Module
from .convert_parameters import parameters_to_vector


class BasePruningMethod(ABC):
    """A way to choose what is pruned, and the forward pre-hook that applies the mask.

    Subclasses define ``PRUNING_TYPE`` ("unstructured", "structured" with an attribute ``dim``, or "global") and
    ``compute_mask(t, default_mask)``, which gives a mask of ``t``'s shape: 0 where it prunes, else ``default_mask``.
    """

    PRUNING_TYPE: str
    _tensor_name: str

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask for a tensor whose elements matter as much as ``t`` says."""

    def __call__(self, module, inputs):
        setattr(module, self._tensor_name, self.apply_mask(module))

    def apply_mask(self, module: Module) -> Tensor:
        """The original parameter times its mask; recorded."""
        name = getattr(self, "_tensor_name", None)
        if name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        original = module._parameters[f"{name}_orig"]
        return module._buffers[f"{name}_mask"].to(original.dtype) * original

    @classmethod
    def apply(cls, module: Module, name: str, *args, importance_scores: Tensor | None = None, **kwargs):
        """Prune ``module.name`` by a method made of the other arguments, on top of what is pruned already.

        The parameter moves to ``<name>_orig``, the mask is the buffer ``<name>_mask``, and ``<name>`` is their product,
        a plain attribute. ``importance_scores``: of the parameter's shape, what to go by instead of its values.
        Returns the method.
        """
        method = cls(*args, **kwargs)
        method._tensor_name = name
        key, before = _find(module, name)
        tensor = getattr(module, name)
        if importance_scores is not None and importance_scores.shape != tensor.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}: expected "
                f"{list(tensor.shape)}, got {list(importance_scores.shape)}"
            )
        scores = (tensor if importance_scores is None else importance_scores).detach()
        if before is None:
            hook, mask = method, ones_like(scores, dtype=tensor.dtype)
        else:
            hook = before if isinstance(before, PruningContainer) else PruningContainer(before)
            hook.add_pruning_method(method)
            mask = getattr(module, f"{name}_mask").detach().clone()
        try:
            mask = hook.compute_mask(scores, mask)
        except Exception:
            if hook is before:
                hook._pruning_methods = hook._pruning_methods[:-1]
            raise
        if before is None:
            delattr(module, name)
            module.register_parameter(f"{name}_orig", tensor)
        else:
            del module._forward_pre_hooks[key]
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, hook.apply_mask(module))
        module.register_forward_pre_hook(hook)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """``t`` with the pruned elements 0, without any module."""
        if importance_scores is not None and importance_scores.shape != t.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as tensor t: expected {list(t.shape)}, got "
                f"{list(importance_scores.shape)}"
            )
        mask = ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(t if importance_scores is None else importance_scores, mask)

    def remove(self, module: Module) -> None:
        """Make the pruned values the parameter's, and drop the mask."""
        name = self._tensor_name
        pruned = self.apply_mask(module)
        original = module._parameters[f"{name}_orig"]
        original.data = pruned.detach()
        for part in (name, f"{name}_orig", f"{name}_mask"):
            delattr(module, part)
        setattr(module, name, original)


def _find(module, name):
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return key, hook
    return None, None


class PruningContainer(BasePruningMethod):
    """Several methods applied to one parameter, one after the other."""

    def __init__(self, *args: BasePruningMethod):
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        for method in args:
            if not hasattr(self, "_tensor_name"):
                self._tensor_name = method._tensor_name
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Add a method for the same parameter. Raises TypeError or ValueError for anything else."""
        if not isinstance(method, BasePruningMethod) and method is not None:
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self):
        return len(self._pruning_methods)

    def __iter__(self):
        return iter(self._pruning_methods)

    def __getitem__(self, idx):
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """``default_mask``, and of what it leaves the last method's choice."""
        method = self._pruning_methods[-1]
        if method.PRUNING_TYPE == "unstructured":
            left: Any = default_mask == 1
        elif method.PRUNING_TYPE == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError(
                    f"Pruning methods of PRUNING_TYPE 'structured' need to have the attribute `dim` defined; {method} has not"
                )
            dim = _axis(t, method.dim)
            others = [axis for axis in range(t.dim()) if axis != dim]
            left = (*[slice(None)] * dim, default_mask.sum(others) != 0) if others else default_mask != 0
        elif method.PRUNING_TYPE == "global":
            left = (slice(None),) * t.dim()
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask = default_mask.to(t.dtype).clone()
        mask[left] = method.compute_mask(t[left], default_mask[left]).to(t.dtype)
        return mask


def _axis(t, dim):
    if not -t.dim() <= dim < t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")
    return dim % t.dim()


# --- how much ------------------------------------------------------------------------------------------------------


def _validate_pruning_amount_init(amount):
    """``amount``, which is to be a fraction or a number of things."""
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if float(amount) < 0 or (not isinstance(amount, numbers.Integral) and float(amount) > 1):
        raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")
    return amount


def _validate_pruning_amount(amount, tensor_size):
    if isinstance(amount, numbers.Integral) and amount > tensor_size:
        raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={tensor_size}")


def _compute_nparams_toprune(amount, tensor_size):
    """How many of ``tensor_size`` things: ``amount`` of them, or that fraction."""
    _validate_pruning_amount(amount, tensor_size)
    return int(amount) if isinstance(amount, numbers.Integral) else round(amount * tensor_size)


# --- methods -------------------------------------------------------------------------------------------------------


class Identity(BasePruningMethod):
    """Prunes nothing: a mask of ones, to be had under the names that pruning gives."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        return default_mask


class RandomUnstructured(BasePruningMethod):
    """Prunes ``amount`` elements, a number or a fraction, at random."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount):
        self.amount = _validate_pruning_amount_init(amount)

    def compute_mask(self, t, default_mask):
        return _without_extreme(rand_like, t, default_mask, self.amount, True)


class L1Unstructured(BasePruningMethod):
    """Prunes the ``amount`` elements, a number or a fraction, of least magnitude."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount):
        self.amount = _validate_pruning_amount_init(amount)

    def compute_mask(self, t, default_mask):
        return _without_extreme(Tensor.abs, t, default_mask, self.amount, False)


def _without_extreme(score, t, default_mask, amount, largest):
    """``default_mask`` without the elements of largest or smallest score."""
    count = _compute_nparams_toprune(amount, t.numel())
    mask = default_mask.clone()
    if count:
        mask.view(-1)[topk(score(t).reshape(-1), count, largest=largest).indices] = 0
    return mask


class _Structured(BasePruningMethod):
    PRUNING_TYPE = "structured"

    def compute_mask(self, t, default_mask):
        if t.dim() <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                f"{t.shape} with {t.dim()} dims"
            )
        dim = _axis(t, self.dim)
        count = _compute_nparams_toprune(self.amount, t.shape[dim])
        if not count:
            return default_mask
        mask = zeros_like(t)
        mask[(*[slice(None)] * dim, self._kept(t, dim, count))] = 1
        return mask.mul_(default_mask.to(mask.dtype))


class RandomStructured(_Structured):
    """Prunes ``amount`` of the slices along ``dim``, a number or a fraction, at random."""

    def __init__(self, amount, dim=-1):
        self.amount, self.dim = _validate_pruning_amount_init(amount), dim

    def _kept(self, t, dim, count):
        chances = rand(t.shape[dim])
        return chances > kthvalue(chances, count).values


class LnStructured(_Structured):
    """Prunes the ``amount`` slices along ``dim``, a number or a fraction, of least ``n``-norm."""

    def __init__(self, amount, n, dim=-1):
        self.amount, self.n, self.dim = _validate_pruning_amount_init(amount), n, dim

    def _kept(self, t, dim, count):
        lengths = t.norm(p=self.n, dim=[axis for axis in range(t.dim()) if axis != dim])
        return topk(lengths, t.shape[dim] - count).indices


class CustomFromMask(BasePruningMethod):
    """Prunes where ``mask`` is 0."""

    PRUNING_TYPE = "global"

    def __init__(self, mask):
        self.mask = mask

    def compute_mask(self, t, default_mask):
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"custom_from_mask: expected a mask of shape {list(default_mask.shape)}, got {list(self.mask.shape)}"
            )
        return default_mask * self.mask.to(default_mask.dtype)


# --- functions -----------------------------------------------------------------------------------------------------


def identity(module: Module, name: str) -> Module:
    """Give ``module.name`` the form of a pruned parameter, with nothing pruned; returns the module."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prune ``amount`` elements of ``module.name``, a number or a fraction, at random; returns the module."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Tensor | None = None) -> Module:
    """Prune the ``amount`` elements of ``module.name``, a number or a fraction, of least magnitude, or least
    ``importance_scores``; returns the module."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prune ``amount`` slices of ``module.name`` along ``dim``, a number or a fraction, at random; returns the module."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: float, dim: int, importance_scores: Tensor | None = None
) -> Module:
    """Prune the ``amount`` slices of ``module.name`` along ``dim``, a number or a fraction, of least ``n``-norm; returns
    the module."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune ``module.name`` where ``mask`` is 0; returns the module."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: Mapping[tuple[Module, str], Tensor] | None = None,
    **kwargs,
) -> None:
    """Prune the elements of all ``parameters``, pairs of a module and a name, together: ``pruning_method(**kwargs)``
    chooses among them as if they were one tensor."""
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    if importance_scores is not None and not isinstance(importance_scores, Mapping):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    pairs, scores = list(parameters), importance_scores or {}
    tensors = [getattr(module, name) for module, name in pairs]
    masks = [getattr(module, f"{name}_mask", ones_like(tensor)) for (module, name), tensor in zip(pairs, tensors)]
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    together = PruningContainer(method)
    values = parameters_to_vector([scores.get(pair, tensor).detach() for pair, tensor in zip(pairs, tensors)])
    mask = together.compute_mask(values, parameters_to_vector(masks))
    start = 0
    for (module, name), tensor in zip(pairs, tensors):
        end = start + tensor.numel()
        custom_from_mask(module, name, mask[start:end].view_as(tensor))
        start = end


def remove(module: Module, name: str) -> Module:
    """Make the pruned ``module.name`` an ordinary parameter; what is pruned stays 0. Raises ValueError if it is not
    pruned."""
    key, hook = _find(module, name)
    if hook is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    hook.remove(module)
    del module._forward_pre_hooks[key]
    return module


def is_pruned(module: Module) -> bool:
    """Whether any parameter of the module, or of one below it, is pruned."""
    return any(
        isinstance(hook, BasePruningMethod) for below in module.modules() for hook in below._forward_pre_hooks.values()
    )
