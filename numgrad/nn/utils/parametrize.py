"""Parametrizations: a module's tensor computed from others each time it is read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any
from weakref import WeakValueDictionary

from ...autograd import no_grad
from ...tensor import Tensor
from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Buffer, Parameter

_caching = 0  # how many `cached` blocks are open
_cache: dict = {}  # (id of the module, name) -> the tensor computed in the open block


@contextmanager
def cached() -> Iterator[None]:
    """Within this block a parametrized tensor is computed at its first use and kept until the block ends."""
    global _caching
    _caching += 1
    try:
        yield
    finally:
        _caching -= 1
        if not _caching:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, first to last, and the tensor ``original`` that they start from, or
    ``original0``, ``original1`` ... where the first one takes several."""

    original: Tensor
    unsafe: bool

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False):
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        start = original
        with no_grad():
            for module in reversed(list(self)):
                start = _inverse(module, start)
        if not isinstance(start, (Tensor, Sequence)):
            raise ValueError(
                f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got {type(start).__name__}"
            )
        self.is_tensor = isinstance(start, Tensor)
        self.ntensors = 1 if self.is_tensor else len(start)
        if isinstance(start, Tensor):
            if start.dtype != original.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {start.dtype}"
                )
            with no_grad():
                _set_data(original, start)
            _register(self, "original", original)
        else:
            kind = Parameter if isinstance(original, Parameter) else Buffer
            for k, tensor in enumerate(start):
                if not isinstance(tensor, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element "
                        f"{k} of the sequence with type {type(tensor).__name__}."
                    )
                if kind is Parameter:
                    tensor = Parameter(tensor, requires_grad=original.requires_grad)
                _register(self, f"original{k}", tensor)
        if not unsafe:
            what = "Registering a parametrization may not change the {} of the tensor, unless `unsafe` flag is enabled."
            self._check(original, self(), what)

    def _check(self, before, after, what):
        if not isinstance(after, Tensor):
            raise ValueError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
        for name, old, new in (("dtype", before.dtype, after.dtype), ("shape", before.shape, after.shape)):
            if old != new:
                raise ValueError(f"{what.format(name)}\nunparametrized {name}: {old}\nparametrized {name}: {new}")

    def originals(self) -> list[Tensor]:
        """The tensors that the first parametrization is given."""
        return [getattr(self, name) for name in self._original_names()]

    def _original_names(self):
        return ["original"] if self.is_tensor else [f"original{k}" for k in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor becomes ``value``: what assigning to the tensor does.

        Raises RuntimeError where a parametrization has no ``right_inverse``.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                value = module.right_inverse(value)
            if self.is_tensor:
                if not isinstance(value, Tensor):
                    raise ValueError(f"`right_inverse` should return a tensor. Got {type(value).__name__}")
                _check_dtype_of_inverse(self.original, value)
                _set_data(self.original, value)
                return
            if not isinstance(value, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}.")
            if len(value) != self.ntensors:
                raise ValueError(
                    f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a sequence of "
                    f"length {len(value)}."
                )
            originals = self.originals()
            for k, (tensor, original) in enumerate(zip(value, originals)):
                if not isinstance(tensor, Tensor):
                    raise ValueError(f"`right_inverse` must return a sequence of tensors. Got element {k} of type "
                                     f"{type(tensor).__name__}")  # fmt: skip
                _check_dtype_of_inverse(original, tensor)
            for tensor, original in zip(value, originals):
                _set_data(original, tensor)

    def forward(self) -> Tensor:
        modules = iter(self)
        value = next(modules)(*self.originals())
        for module in modules:
            value = module(value)
        return value


def _inverse(module, value):
    """``module.right_inverse(value)``; ``value`` where the module has none or says that it cannot."""
    if not hasattr(module, "right_inverse"):
        return value
    try:
        return module.right_inverse(value)
    except NotImplementedError:
        return value


def _check_dtype_of_inverse(original, found):
    if found.dtype != original.dtype:
        raise ValueError(
            f"`right_inverse` returned {found.dtype} for an original of {original.dtype}: assigning to a parametrized tensor "
            "may not change the dtype of the original tensor"
        )


def _set_data(original, value):
    original.data = value.detach().clone() if value is original or value._d is original._d else value.detach()


def _register(module, name, tensor):
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


# --- the tensor as a property of a class made for the module -----------------------------------------------------


_classes: WeakValueDictionary = WeakValueDictionary()  # (class, names) -> the subclass with these names as properties


def _class_with(base, names):
    """The subclass of a module class in which ``names`` are computed by the module's parametrizations."""
    found = _classes.get((base, names))
    if found is None:
        members: dict[str, Any] = {name: _property(name) for name in names}
        members["__getstate__"] = _refuse_pickling
        if not hasattr(base, "__deepcopy__"):
            members["__deepcopy__"] = _copy
        found = type(f"Parametrized{base.__name__}", (base,), members)
        found.__module__ = base.__module__
        _classes[base, names] = found
    return found


def _property(name):
    def get(self):
        parametrization = self.parametrizations[name]
        if not _caching:
            return parametrization()
        key = id(self), name
        if key not in _cache:
            _cache[key] = parametrization()
        return _cache[key]

    def set(self, value):
        self.parametrizations[name].right_inverse(value)

    return property(get, set)


def _refuse_pickling(self):
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(): save module.state_dict() and load "
        "it into a module that was parametrized in the same way"
    )


def _copy(self, memo):
    found = memo[id(self)] = type(self).__new__(type(self))
    found.__setstate__(deepcopy(Module.__getstate__(self), memo))
    return found


def _reclass(module, base):
    names = tuple(module.parametrizations) if is_parametrized(module) else ()
    module.__class__ = _class_with(base, names) if names else base


# --- the functions -------------------------------------------------------------------------------------------------


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Have ``module.tensor_name`` computed by ``parametrization`` from the tensor that it is now, which moves to
    ``module.parametrizations.<tensor_name>.original``; returns the module.

    A second parametrization takes the result of the first. With a method ``right_inverse(tensor)`` the
    parametrization also says which originals give a tensor: then the original starts there, and the tensor can be
    assigned to. ``unsafe``: shape and dtype may change, which else is a ValueError.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            before = getattr(module, tensor_name)
            after = parametrization(before)
            what = "Registering a parametrization may not change the {} of the tensor, unless the `unsafe` flag is enabled."
            module.parametrizations[tensor_name]._check(before, after, what)
            if hasattr(parametrization, "right_inverse"):
                inverse = _inverse(parametrization, after)
                if not isinstance(inverse, Tensor):
                    raise ValueError(
                        f"parametrization.right_inverse must return a tensor. Got: {type(inverse).__name__}"
                    )
                what = "The tensor returned by `right_inverse` must have the same {} as the tensor, unless `unsafe` is enabled."
                module.parametrizations[tensor_name]._check(before, inverse, what)
        found = module.parametrizations[tensor_name]
        found.append(parametrization)
        found.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        found = ParametrizationList([parametrization], original, unsafe=unsafe)
        base = type_before_parametrizations(module)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            module.parametrizations = ModuleDict()
        module.parametrizations[tensor_name] = found
        _reclass(module, base)
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module's tensor of that name, or any if none is given, has a parametrization."""
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make ``module.tensor_name`` an ordinary parameter or buffer again: with its present value, or with the
    original's if not ``leave_parametrized``; returns the module."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    found = module.parametrizations[tensor_name]
    if found.is_tensor:
        original = found.original
        if leave_parametrized:
            with no_grad():
                _set_data(original, getattr(module, tensor_name))
    elif leave_parametrized:
        tensor = getattr(module, tensor_name)
        original = Parameter(tensor.detach()) if tensor.requires_grad else tensor
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    base = type_before_parametrizations(module)
    del module.parametrizations[tensor_name]
    _reclass(module, base)
    if not is_parametrized(module):
        del module.parametrizations
    _register(module, tensor_name, original)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module had before its first parametrization."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give ``to_module`` the parametrizations of ``from_module``, all or those of one tensor, and copies of what they
    start from; returns ``to_module``."""
    names = [tensor_name] if tensor_name is not None else list(from_module.parametrizations)
    for name in names:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for parametrization in from_module.parametrizations[name]:
            register_parametrization(to_module, name, parametrization)
        theirs, ours = from_module.parametrizations[name], to_module.parametrizations[name]
        if theirs.is_tensor != ours.is_tensor or theirs.ntensors != ours.ntensors:
            raise ValueError(f"transfer_parametrizations_and_params: the originals of {name!r} differ in number")
        with no_grad():
            for original, ours_original in zip(theirs.originals(), ours.originals()):
                _set_data(ours_original, original.detach().clone())
    return to_module
