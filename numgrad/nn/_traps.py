"""What a Module notices and says where it would otherwise silently do something else than was meant."""

import sys
import warnings
import weakref

from ..tensor import Tensor
from .parameter import Parameter

_PACKAGE = __name__.partition(".")[0] + "."


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the innermost line outside this package."""
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def type_name(value) -> str:
    """The name of a value's type for messages: ``list``, ``torch.FloatTensor``, ``package.module.Class``."""
    kind = value if isinstance(value, type) else type(value)
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return f"torch.{_TENSOR_NAMES.get(value.dtype.name, '')}Tensor"
    if kind.__module__ in ("builtins", "", None):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


_TENSOR_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
    "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
}  # fmt: skip


# --- a tensor computed from a Parameter that no module knows ----------------------------------------------------


def warn_if_derived(module, name: str, value: Tensor) -> None:
    """Warn if the tensor ``value`` was computed from a Parameter that is registered nowhere.

    ``self.w = nn.Parameter(x).to(device)`` makes ``self.w`` the result of an op: the Parameter itself is lost in
    the graph and would never be trained.
    """
    node = value.grad_fn
    for _ in range(4):  # .to(...), * 0.1, .t() and so on: a short chain, not a network
        if node is None:
            return
        parents = [parent for parent in node.next if parent is not None]
        for parent in parents:
            if parent.leaf and parent.label == "":
                break
        else:
            node = parents[0] if len(parents) == 1 and not parents[0].leaf else None
            continue
        warn(
            f"{type(module).__name__}.{name} is not registered: it is not a Parameter but the result of an op "
            f"({node.name}) on one, so that optimizers, state_dict() and to() will not see it. Make the value first "
            f"and wrap it last: self.{name} = nn.Parameter(value)."
        )
        return


# --- parameters and modules in plain containers -----------------------------------------------------------------

_containers: dict = {}  # id of a module -> (weak reference, names of its attributes that are plain containers)


def note_container(module, name: str, value) -> None:
    """Remember that an attribute is a list, tuple or dict, to be looked at when members are asked for."""
    if isinstance(value, tuple):
        if not any(isinstance(item, (Tensor, list, tuple, dict)) or _is_module(item) for item in value):
            return  # a kernel size or the like, which cannot change
    key = id(module)
    if key not in _containers:
        _containers[key] = weakref.ref(module, lambda _, key=key: _containers.pop(key, None)), {}
    _containers[key][1][name] = None


def _is_module(value) -> bool:
    return hasattr(value, "_parameters") and hasattr(value, "_modules")


def warn_about_containers(root) -> None:
    """Warn, once for each attribute, of parameters and modules that are held only by a plain list, tuple or dict."""
    if not _containers:
        return
    modules = list(root.modules())
    suspects = [(module, _containers[id(module)][1]) for module in modules if id(module) in _containers]
    if not suspects:
        return
    known = {id(module) for module in modules}
    known.update(id(p) for module in modules for p in module._parameters.values())
    known.update(id(b) for module in modules for b in module._buffers.values())
    said = set()
    for module, names in suspects:
        for name in list(names):
            container = module.__dict__.get(name)
            if not isinstance(container, (list, tuple, dict)):
                del names[name]
                continue
            lost = [item for item in _members(container) if id(item) not in known]
            if not lost:
                continue
            del names[name]
            if (type(module), name) in said:
                continue
            said.add((type(module), name))
            kind = "Parameter" if isinstance(lost[0], Parameter) else "Module"
            proper = f"nn.{kind}{'Dict' if isinstance(container, dict) else 'List'}"
            what = {"Parameter": "parameters", "Module": "modules"}[kind]
            warn(
                f"{type(module).__name__}.{name} is a plain {type(container).__name__} of {what} ({len(lost)} of "
                "them), which are not registered: parameters(), state_dict() and to() do not see them. Use "
                f"self.{name} = {proper}(...)."
            )


def _members(container, depth=3):
    """The parameters and modules in a container and the containers in it."""
    for item in list(container.values() if isinstance(container, dict) else container):
        if isinstance(item, Parameter) or _is_module(item):
            yield item
        elif depth and isinstance(item, (list, tuple, dict)):
            yield from _members(item, depth - 1)


# --- tensors that .to() does not move -----------------------------------------------------------------------------


def warn_left_behind(root, device, dtype) -> None:
    """Warn of plain tensor attributes that stayed on another device, or of another dtype, after ``to()``."""
    said = set()
    for module in root.modules():
        for name, value in list(module.__dict__.items()):
            if not isinstance(value, Tensor) or name in module._parameters or name in module._buffers:
                continue
            if device is not None and value.device != device:
                where = f"on {value.device}"
            elif dtype is not None and value.is_floating_point() and value.dtype is not dtype:
                where = f"{value.dtype!r}"
            else:
                continue
            if (type(module), name) in said:
                continue
            said.add((type(module), name))
            warn(
                f"{type(module).__name__}.{name} is a plain tensor attribute and was left behind {where} by the "
                f"module's to(). Make it move along with self.register_buffer({name!r}, tensor, persistent=False)."
            )
