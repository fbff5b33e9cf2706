"""Module: what holds parameters, buffers and other modules, and runs a forward function."""

import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from .. import dtypes
from ..autograd import no_grad
from ..device import Device, resolve
from ..dtypes import dtype as DType
from ..tensor import Tensor
from . import _hooks
from ._convert import OncePerTensor, convert_parameter, parse_to
from ._hooks import HookMethods, HookTable
from ._registry import Members, Registry, registry_property
from ._state import StateMethods
from ._traps import note_container, type_name, warn_about_containers, warn_if_derived, warn_left_behind
from .parameter import Buffer, Parameter, is_lazy

_REGISTRIES = ("_parameters", "_buffers", "_modules")


class Module(HookMethods, StateMethods):
    """Base class of all layers and models.

    Parameters, buffers and modules assigned to attributes are registered: they are plain attributes and also stand,
    in order, in the dicts ``_parameters``, ``_buffers`` and ``_modules``, which agree with the attributes. What stands in
    these is an attribute, however it got there. Subclasses define ``forward``; calling the module runs it, and the hooks
    around it.
    """

    training: bool
    _parameters: dict[str, Any] = registry_property("_parameters")  # type: ignore[assignment]
    _buffers: dict[str, Any] = registry_property("_buffers")  # type: ignore[assignment]
    _modules: dict[str, Any] = registry_property("_modules")  # type: ignore[assignment]
    _non_persistent_buffers_set: set[str]
    call_super_init: bool = False
    dump_patches: bool = False

    def __new__(cls, *args, **kwargs):
        # Here and not in __init__, so that a forgotten super().__init__() does no harm.
        self = super().__new__(cls)
        state = self.__dict__
        owner = weakref.ref(self)
        state["training"] = True
        state["_parameters"] = Registry(owner)
        state["_buffers"] = Registry(owner)
        state["_modules"] = Registry(owner)
        state["_non_persistent_buffers_set"] = set()
        return self

    def __init__(self, *args, **kwargs):
        if self.call_super_init:
            super().__init__(*args, **kwargs)
        elif kwargs:
            raise TypeError(f"{self._get_name()}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
        elif args:
            raise TypeError(f"{self._get_name()}.__init__() takes 1 positional argument but {len(args) + 1} were given")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # --- registering ---------------------------------------------------------------------------------------------

    def _check_name(self, what: str, name, registry: dict) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type_name(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."' + (f", got: {name}" if what == "module" else ""))
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if name not in registry and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, as ``self.name = param`` does; None reserves the name."""
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{type_name(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                    "forward() method."
                )
            for hook in _hooks._global_parameter_registration_hooks.values():
                changed = hook(self, name, param)
                param = param if changed is None else changed
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state but is not trained.

        ``persistent``: whether it is part of the state dict. None reserves the name.
        """
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type_name(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            )
        self._set_buffer(name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def _set_buffer(self, name, tensor):
        for hook in _hooks._global_buffer_registration_hooks.values():
            changed = hook(self, name, tensor)
            tensor = tensor if changed is None else changed
        self._buffers[name] = tensor

    def add_module(self, name: str, module: "Module | None") -> None:
        """Add a submodule, as ``self.name = module`` does; None reserves the name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type_name(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        self._set_module(name, module)

    def register_module(self, name: str, module: "Module | None") -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    def _set_module(self, name, module):
        for hook in _hooks._global_module_registration_hooks.values():
            changed = hook(self, name, module)
            module = module if changed is None else changed
        self._modules[name] = module

    def _take_out(self, name, *registries):
        self.__dict__.pop(name, None)
        for registry in registries:
            if name in registry:
                del registry[name]
        self._non_persistent_buffers_set.discard(name)

    def __getattr__(self, name: str) -> Any:
        # Only for what is no plain attribute: members of a registry that someone else put in the place of ours.
        state = self.__dict__
        for kind in _REGISTRIES:
            if name in state.get(kind, ()):
                return state[kind][name]
        if hasattr(type(self), name):
            return object.__getattribute__(self, name)  # a property that failed: once more, for its error
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if isinstance(value, Tensor) and isinstance(value, Parameter):
            if name not in self._parameters:
                self._take_out(name, self._buffers, self._modules)
            self.register_parameter(name, value)
        elif name in state["_parameters"]:
            if value is not None:
                raise TypeError(_over_parameter(self, name, value))
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            if name not in self._modules:
                self._take_out(name, self._parameters, self._buffers)
            self._set_module(name, value)
        elif name in state["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type_name(value)}' as child module '{name}' (torch.nn.Module or None expected)"
                )
            self._set_module(name, None)
        elif name in state["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{type_name(value)}' as buffer '{name}' (torch.nn.Buffer, torch.Tensor or None "
                    "expected)"
                )
            if isinstance(value, Buffer):
                self._register(name, value)
            else:
                self._set_buffer(name, value)
        elif isinstance(value, Tensor):
            if isinstance(value, Buffer):
                self._register(name, value)
                return
            if value.requires_grad:
                warn_if_derived(self, name, value)
            object.__setattr__(self, name, value)
        else:
            object.__setattr__(self, name, value)
            if isinstance(value, (list, tuple, dict)):
                note_container(self, name, value)

    def _register(self, name, buffer):
        """`register_buffer` for a Buffer, also where a subclass defines it without ``persistent``."""
        own = getattr(self.register_buffer, "__func__", None) is not Module.register_buffer
        if not own or "persistent" in inspect.signature(self.register_buffer).parameters:
            self.register_buffer(name, buffer, buffer.persistent)
        elif buffer.persistent:
            self.register_buffer(name, buffer)
        else:
            raise RuntimeError(
                "Registering a non-persistent buffer on a Module subclass that implements register_buffer() without the "
                "persistent argument is not allowed."
            )

    def __delattr__(self, name: str) -> None:
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent_buffers_set.discard(name)
                return
        if isinstance(getattr(type(self), name, None), HookTable):
            self.__dict__.pop(name, None)  # it may not be made yet
            return
        object.__delattr__(self, name)

    # --- finding by dotted name ----------------------------------------------------------------------------------

    def get_submodule(self, target: str) -> "Module":
        """The module at the dotted path ``target``; this one for an empty path. Raises AttributeError."""
        module = self
        for part in target.split(".") if target else ():
            if not hasattr(module, part):
                raise AttributeError(f"{module._get_name()} has no attribute `{part}`")
            module = getattr(module, part)
            if not isinstance(module, Module):
                raise AttributeError(f"`{part}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: "Module", strict: bool = False) -> None:
        """Put ``module`` at the dotted path ``target``; with ``strict`` only in place of one that is there."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the dotted path ``target``. Raises AttributeError."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        found = getattr(module, name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the dotted path ``target``. Raises AttributeError."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return module._buffers[name]

    # --- walking -------------------------------------------------------------------------------------------------

    def named_modules(self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True) -> Iterator:
        """This module and all below it, each with its dotted name; each module once unless told otherwise."""
        return Members(_walk(self, set() if memo is None else memo, prefix, remove_duplicate), "named_modules()")

    def modules(self, remove_duplicate: bool = True) -> Iterator["Module"]:
        """This module and all below it."""
        return Members((module for _, module in self.named_modules(remove_duplicate=remove_duplicate)), "modules()")

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules right below this one, each once, with their names."""
        return Members(_children(self), "named_children()")

    def children(self) -> Iterator["Module"]:
        """The modules right below this one, each once."""
        return Members((module for _, module in self.named_children()), "children()")

    def _named_members(
        self, get_members_fn: Callable, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator:
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in get_members_fn(module):
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names; a tied one once, under its first name, unless told otherwise."""
        warn_about_containers(self)
        members = self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)
        return Members(members, "named_parameters()")

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        kind = type(self)
        if recurse and all(getattr(kind, name) is getattr(Module, name) for name in _WALKS):
            warn_about_containers(self)
            return Members(_all_parameters(self), "parameters()")
        return Members((member for _, member in self.named_parameters(recurse=recurse)), "parameters()")

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names, each once unless told otherwise."""
        members = self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)
        return Members(members, "named_buffers()")

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        return Members((member for _, member in self.named_buffers(recurse=recurse)), "buffers()")

    # --- changing all at once ------------------------------------------------------------------------------------

    def apply(self, fn: Callable[["Module"], Any]) -> "Module":
        """Call ``fn`` on every module below this one and then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Module":
        """Replace the data of all parameters, gradients and buffers by what ``fn`` makes of them."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for name, parameter in self._parameters.items():
                if parameter is not None:
                    convert_parameter(self, name, parameter, fn)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def _convert(self, fn: Callable[[Tensor], Tensor]) -> "Module":
        return self._apply(OncePerTensor(fn))

    def to(self, *args: Any, **kwargs: Any) -> "Module":
        """Move to a device and convert floating-point tensors to a dtype, in place; returns the module.

        ``to(device, dtype, non_blocking)``, ``to(dtype)`` or ``to(tensor)``; ``memory_format``: that of parameters and
        buffers of four and five dimensions. Raises TypeError for integer dtypes.
        """
        device, dtype, non_blocking, memory_format = parse_to(*args, **kwargs)
        if dtype is not None and not dtype.differentiable:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype!r}"
            )

        def convert(tensor):
            wanted = {} if device is None else {"device": device, "non_blocking": non_blocking}
            if dtype is not None and tensor.dtype.differentiable:
                wanted["dtype"] = dtype
            if memory_format is not None and not is_lazy(tensor) and tensor.dim() in (4, 5):
                wanted["memory_format"] = memory_format
            if tensor.is_meta and device is not None and device.type != "meta":
                raise NotImplementedError(
                    "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() "
                    "when moving module from meta to a different device."
                )
            return tensor.to(**wanted) if wanted else tensor

        warn_about_containers(self)
        self._convert(convert)
        warn_left_behind(self, device, dtype)
        return self

    def cuda(self, device: int | str | Device | None = None) -> "Module":
        """Move to a CUDA device, in place."""
        return self.to(device=Device("cuda") if device is None else device)

    def cpu(self) -> "Module":
        """Move to the CPU, in place."""
        return self.to(device="cpu")

    def type(self, dst_type: DType | str) -> "Module":
        """Convert all parameters and buffers to ``dst_type``, in place."""
        return self._convert(lambda tensor: tensor.type(dst_type))

    def float(self) -> "Module":
        """Convert floating-point tensors to float32, in place."""
        return self.to(dtype=dtypes.float32)

    def double(self) -> "Module":
        """Convert floating-point tensors to float64, in place."""
        return self.to(dtype=dtypes.float64)

    def half(self) -> "Module":
        """Convert floating-point tensors to float16, in place."""
        return self.to(dtype=dtypes.float16)

    def bfloat16(self) -> "Module":
        """Convert floating-point tensors to bfloat16, in place."""
        return self.to(dtype=dtypes.bfloat16)

    def to_empty(self, *, device: Any, recurse: bool = True) -> "Module":
        """Move to a device without copying the values, which are then undefined."""
        place = resolve(device)
        return self._apply(OncePerTensor(lambda tensor: tensor.new_empty(tensor.shape, device=place)), recurse=recurse)

    def share_memory(self) -> "Module":
        """Move all tensors to memory that other processes can share."""
        return self._convert(lambda tensor: tensor.share_memory_())

    def train(self, mode: bool = True) -> "Module":
        """Set training mode, which dropout, batch normalisation and the like look at, here and below."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> "Module":
        """Set evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> "Module":
        """Have all parameters record, or not: freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all parameters' gradients, or fill them with zeros."""
        for parameter in self.parameters():
            gradient = parameter.grad
            if gradient is not None:
                parameter.grad = None if set_to_none else gradient.detach().zero_()

    # --- copies and text -----------------------------------------------------------------------------------------

    def __getstate__(self) -> dict:
        state = dict(self.__dict__)
        for kind in _REGISTRIES:
            registry = state[kind] = dict(state[kind])
            for name, member in registry.items():
                if name in state and state[name] is member:
                    del state[name]
        return state

    def __setstate__(self, state: dict) -> None:
        own = self.__dict__
        own.update(state)
        owner = weakref.ref(self)
        for kind in _REGISTRIES:
            own[kind] = Registry(owner, dict(own.get(kind, ())))
        own["_non_persistent_buffers_set"] = set(own.get("_non_persistent_buffers_set", ()))
        if own.get("_hooked"):
            self._forward_hooks  # noqa: B018 - asking for the table has calls look at hooks from now on

    def _replicate_for_data_parallel(self) -> "Module":
        """A copy for another device, without parameters: tensors are to be set in their place. Buffers and modules are shared."""
        replica = type(self).__new__(type(self))
        Module.__setstate__(replica, Module.__getstate__(self) | {"_parameters": {}, "_is_replica": True})
        return replica

    def __dir__(self):
        # Names such as "0" of a Sequential's modules are attributes that no one can type.
        members = {name for kind in _REGISTRIES for name in getattr(self, kind)}
        return [name for name in sorted({*dir(type(self)), *self.__dict__, *members}) if not name[:1].isdigit()]

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What ``repr`` shows between the parentheses; subclasses define it."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join([*lines, *children]) + "\n)"


def indented(text: str) -> str:
    """``text`` with all lines but the first moved right by two."""
    return text.replace("\n", "\n  ")


def _over_parameter(module, name, value):
    if not isinstance(value, Tensor):
        return f"cannot assign '{type_name(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)"
    return (
        f"cannot assign '{type_name(value)}' as parameter '{name}' (torch.nn.Parameter or None expected): "
        f"{module._get_name()}.{name} is a registered parameter and the tensor is not. Use another attribute name for "
        f"the tensor; or write its values into the parameter: `with no_grad(): module.{name}.copy_(value)`; or make it "
        f"the new parameter: `module.{name} = nn.Parameter(value)`."
    )


# The methods that a class may have redefined to show other parameters.
_WALKS = ("named_parameters", "_named_members", "named_modules")


def _all_parameters(root):
    """What ``named_parameters`` gives, without the names, for classes that left it as it is."""
    seen_modules, seen, pending = set(), set(), [root]
    named_modules = Module.named_modules
    while pending:
        module = pending.pop()
        if module in seen_modules:
            continue
        if type(module).named_modules is not named_modules:
            below = [child for _, child in module.named_modules(seen_modules)]
        else:
            seen_modules.add(module)
            below = (module,)
            children = module.__dict__["_modules"]
            if children:
                pending += [child for child in reversed(children.values()) if child is not None]
        for owner in below:
            for parameter in owner.__dict__["_parameters"].values():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield parameter


def _walk(module, memo, prefix, remove_duplicate):
    if module in memo:
        return
    if remove_duplicate:
        memo.add(module)
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            # A class may have a named_modules of its own; most have not, and then this needs no iterator object.
            if type(child).named_modules is Module.named_modules:
                yield from _walk(child, memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)
            else:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)


def _children(module):
    seen = set()
    for name, child in module._modules.items():
        if child is not None and child not in seen:
            seen.add(child)
            yield name, child
