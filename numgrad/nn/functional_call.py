"""Calling a module with other parameters and buffers than its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..tensor import Tensor
from .module import Module

_ABSENT = object()


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with the tensors of ``parameters_and_buffers``, by dotted name, in place of its own; a
    sequence of such dicts counts as one.

    The module has its own tensors again afterwards, also when it raised. A tensor that the module assigns to a name
    during the call is put into ``parameters_and_buffers``. ``args``: a tuple, or the one argument. ``tie_weights``:
    what is one tensor under several names in the module stays one. ``strict``: all names of the module must be given
    and no others, else RuntimeError.
    """
    if not isinstance(module, Module):
        raise TypeError(f"functional_call: expected an nn.Module, got {type(module).__name__}")
    if not isinstance(parameters_and_buffers, Mapping):
        parameters_and_buffers = _joined(parameters_and_buffers)
    given = _with_ties(module, parameters_and_buffers) if tie_weights else dict(parameters_and_buffers)
    if strict:
        _check_names(module, given)
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor) and tensor is not None:
            raise TypeError(f"functional_call: {name!r}: {tensor} is not an instance of torch.Tensor")
    places = {name: _place(module, name) for name in given}
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    before = {}
    try:
        for name, tensor in given.items():
            before[name] = _exchange(*places[name], tensor)
        return module(*args, **(kwargs or {}))
    finally:
        for name, tensor in reversed(before.items()):
            after: Any = _exchange(*places[name], tensor)
            if after is not given[name] and name in parameters_and_buffers and isinstance(parameters_and_buffers, dict):
                parameters_and_buffers[name] = after


def _place(module, name):
    """The module that holds the dotted ``name``, and its name there."""
    if not isinstance(name, str):
        raise TypeError(f"functional_call: expected names of parameters and buffers as keys, got {name!r}")
    path, _, last = name.rpartition(".")
    owner = module.get_submodule(path)
    if last in owner._modules:
        raise TypeError(f"functional_call: {name!r} is a module of {type(module).__name__}; give the tensors in it by name")
    return owner, last


def _exchange(owner, name, tensor):
    """Put ``tensor`` where ``owner.name`` is registered, or else as a plain attribute; returns what was there."""
    for registry in (owner._parameters, owner._buffers):
        if name in registry:
            before = registry[name]
            if tensor is _ABSENT:
                del registry[name]
            else:
                registry[name] = tensor
            return before
    before = getattr(owner, name, _ABSENT)
    if not isinstance(before, Tensor) and before is not None and before is not _ABSENT:
        raise TypeError(f"attribute `{name}`: {before} is not an instance of torch.Tensor")
    if tensor is not _ABSENT:
        setattr(owner, name, tensor)
    elif hasattr(owner, name):
        delattr(owner, name)
    return before


def _members(module):
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _joined(parts):
    """Several dicts as one; ValueError if they are none, or if a name stands in two of them."""
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, Mapping) for part in parts):
        raise ValueError(
            "functional_call: expected parameters_and_buffers to be a dict, or a list or tuple of dicts, got "
            f"{type(parts).__name__}"
        )
    names = [name for part in parts for name in part]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{twice} appeared in multiple dictionaries; behavior of functional call is ambiguous")
    return {name: tensor for part in parts for name, tensor in part.items()}


def _with_ties(module, given):
    """``given``, and under every other name that the module has for a tensor the tensor given for it."""
    by_tensor: dict = {}
    for name, tensor in _members(module):
        by_tensor.setdefault(id(tensor), []).append(name)
    found = dict(given)
    for names in by_tensor.values():
        values = {id(given[name]): given[name] for name in names if name in given}
        if len(values) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(names)}, which are tied. Consider using "
                "tie_weights=False"
            )
        for value in values.values():
            found.update(dict.fromkeys(names, value))
    return found


def _check_names(module, given):
    known = {name for name, _ in _members(module)}
    missing, unexpected = sorted(known - set(given)), sorted(set(given) - known)
    if missing or unexpected:
        text = f"Error(s) in calling {type(module).__name__} functionally:"
        if unexpected:
            text += "\n\tUnexpected key(s): " + ", ".join(f"'{name}'" for name in unexpected) + "."
        if missing:
            text += "\n\tMissing key(s): " + ", ".join(f"'{name}'" for name in missing) + "."
        raise RuntimeError(text)
