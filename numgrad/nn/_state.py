"""State dicts of a Module: saving, loading, their hooks, and what is said when the keys do not match."""

import warnings
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from typing import Any

from .. import __future__ as replacing
from ..autograd import no_grad
from ..exchange import swap_tensors
from ..tensor import Tensor
from ._hooks import HookTable, RemovableHandle, add_hook
from ._traps import warn, warn_about_containers
from .parameter import Parameter, is_lazy

EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What `load_state_dict` returns: the keys that it did not find, and those that it could not place."""

    __slots__ = ()

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class StateMethods:
    """The state dict of a Module."""

    _version: int = 1  # of the layout of a class's state; saved in the metadata

    _state_dict_hooks = HookTable()
    _state_dict_pre_hooks = HookTable()
    _load_state_dict_pre_hooks = HookTable()
    _load_state_dict_post_hooks = HookTable()

    # --- saving --------------------------------------------------------------------------------------------------

    def state_dict(self, *args, destination: dict | None = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """The parameters and persistent buffers of this module and all below it, by dotted name.

        The tensors share memory with the module's. ``destination``: a mapping to add to. ``prefix``: put before all
        names. ``keep_vars``: the parameters themselves instead of detached tensors.
        """
        if args:
            # Positional arguments are PyTorch's old form; both are in use.
            names = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
            destination = names.get("destination", destination)
            prefix, keep_vars = names.get("prefix", prefix), names.get("keep_vars", keep_vars)
        if destination is None:
            warn_about_containers(self)
            destination = OrderedDict()
            destination._metadata = OrderedDict()  # type: ignore[attr-defined]
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata  # type: ignore[attr-defined]
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():  # type: ignore[attr-defined]
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            changed = hook(self, destination, prefix, local_metadata)
            if getattr(hook, "_from_public_api", False):
                if changed is not None:
                    raise RuntimeError("state_dict post-hook must return None")
            elif changed is not None:
                destination = changed
        return destination

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        """Put this module's own parameters, persistent buffers and extra state into ``destination``."""
        for name, tensor in self._own_state().items():
            if tensor is not None:
                destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if self._has("get_extra_state"):
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def _own_state(self) -> dict:
        transient = self._non_persistent_buffers_set  # type: ignore[attr-defined]
        buffers = {k: v for k, v in self._buffers.items() if k not in transient}  # type: ignore[attr-defined]
        return {**self._parameters, **buffers}  # type: ignore[attr-defined]

    def _has(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(StateMethods, method)

    def get_extra_state(self) -> Any:
        """What to save beside tensors; define it, and `set_extra_state`, to have it in the state dict."""
        raise RuntimeError(
            "Reached a code path in Module.get_extra_state() that should never be called: a class that keeps extra "
            "state defines both get_extra_state and set_extra_state."
        )

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""
        raise RuntimeError(
            "Reached a code path in Module.set_extra_state() that should never be called: a class that keeps extra "
            "state defines both get_extra_state and set_extra_state."
        )

    # --- loading -------------------------------------------------------------------------------------------------

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False):
        """Copy the tensors of ``state_dict`` into the parameters and buffers of the same names.

        ``strict``: names that are missing or not known are an error. ``assign``: take the tensors themselves,
        with their dtype and device, instead of copying. Returns the missing and the unexpected keys. Raises
        RuntimeError that lists everything that did not fit.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None)
        state = OrderedDict(state_dict)
        if metadata is not None:
            state._metadata = metadata  # type: ignore[attr-defined]
        loading = _Loading(metadata, assign)
        loading(self, state)
        missing, unexpected, errors = loading.missing, loading.unexpected, loading.errors
        advice = _advice(self, state_dict, missing, unexpected) if missing else ""
        if strict:
            if unexpected:
                errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
            if missing:
                errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        elif advice and not errors:
            warn(f"{type(self).__name__}.load_state_dict(strict=False) loaded almost nothing: {advice}")
        if errors:
            lines = "\n\t".join([*errors, advice] if advice else errors)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{lines}")
        return _IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        """Copy what ``state_dict`` has for this module's own parameters and buffers, and note what does not fit."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = {name: tensor for name, tensor in self._own_state().items() if tensor is not None}
        for name, tensor in own.items():
            key = prefix + name
            if tensor is None:
                continue
            if key in state_dict:
                _load_one(self, name, tensor, key, state_dict[key], local_metadata, error_msgs)
            elif strict:
                missing_keys.append(key)
        extra_key = prefix + EXTRA_STATE
        if self._has("set_extra_state"):
            if extra_key in state_dict:
                self.set_extra_state(state_dict[extra_key])
            elif strict:
                missing_keys.append(extra_key)
        elif strict and extra_key in state_dict:
            unexpected_keys.append(extra_key)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra_key:
                    first, *rest = key[len(prefix) :].split(".", 1)
                    if first not in (self._modules if rest else own):  # type: ignore[attr-defined]
                        unexpected_keys.append(key)

    # --- hooks ---------------------------------------------------------------------------------------------------

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before this module's state is saved."""
        return add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after saving; it may change the dict in place."""
        hook._from_public_api = True  # type: ignore[attr-defined]
        return add_hook(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        """As `register_state_dict_post_hook`, but a returned dict replaces the state dict."""
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "Cannot register the same function as the state dict post hook that was previously registered via "
                "register_state_dict_post_hook"
            )
        return add_hook(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)`` before this module loads; it may change the dict and the lists."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        return add_hook(self._load_state_dict_pre_hooks, _WithModule(hook, self) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after this module and those below it loaded."""
        return add_hook(self._load_state_dict_post_hooks, hook)


class _Loading:
    """One call of ``load_state_dict``: goes through the modules and notes what does not fit."""

    def __init__(self, metadata, assign):
        self.metadata, self.assign = metadata, assign
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.errors: list[str] = []
        self.ties: dict = {}

    def __call__(self, module, state, prefix=""):
        local_metadata = {} if self.metadata is None else dict(self.metadata.get(prefix[:-1], {}))
        if self.assign:
            local_metadata["assign_to_params_buffers"] = True
            local_metadata["ties"] = self.ties
        module._load_from_state_dict(
            state, prefix, local_metadata, True, self.missing, self.unexpected, self.errors
        )
        for name, child in module._modules.items():
            if child is not None:
                start = f"{prefix}{name}."
                self(child, {k: v for k, v in state.items() if k.startswith(start)}, start)
        incompatible = _IncompatibleKeys(self.missing, self.unexpected)
        for hook in module._load_state_dict_post_hooks.values():
            if hook(module, incompatible) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                    "values, if incompatible_keys need to be modified, it should be done inplace."
                )


class _WithModule:
    """A load hook that is given its module first; copied and pickled along with it, but keeps it not alive."""

    def __init__(self, hook, module):
        self.hook, self.module = hook, weakref.ref(module)

    def __call__(self, *arguments):
        module = self.module()
        if module is None:
            raise RuntimeError(f"You are trying to call the hook {self.hook} of a module that is gone")
        return self.hook(module, *arguments)

    def __getstate__(self):
        return {"hook": self.hook, "module": self.module()}

    def __setstate__(self, state):
        self.__init__(**state)


def _load_one(module, name, tensor, key, given, local_metadata, errors):
    """Load one entry of a state dict into ``module.name``, or say in ``errors`` why not."""
    if not isinstance(given, Tensor):
        errors.append(
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from checkpoint '
            f"but received {type(given)}"
        )
        return
    lazy = is_lazy(tensor)
    if is_lazy(given):
        if not lazy:
            errors.append(
                f'While copying the parameter named "{key}": the shape of an uninitialized parameter of the checkpoint is not '
                "known, the model's has one already. Save the checkpoint after the first forward pass."
            )
        return
    if not lazy:
        if tensor.dim() == 0 and tuple(given.shape) == (1,):
            given = given[0]  # scalars had one dimension in old checkpoints
        if given.shape != tensor.shape:
            errors.append(
                f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, the shape in "
                f"current model is {tensor.shape}."
            )
            return
    try:
        with no_grad():
            assign = bool(local_metadata.get("assign_to_params_buffers"))
            if tensor.is_meta and not given.is_meta and not assign:
                warnings.warn(
                    f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the current model, "
                    "which is a no-op. (Did you mean to pass `assign=True` to assign items in the state dictionary to their "
                    "corresponding key in the module instead of copying them in place?)", stacklevel=4,
                )  # fmt: skip
            if replacing.get_swap_module_params_on_conversion() and not lazy:
                _swap(tensor, given, assign)
            elif assign:
                _assign(module, name, tensor, given, local_metadata.get("ties", {}))
            else:
                if lazy:
                    tensor.materialize(given.shape)
                tensor.copy_(given)
    except Exception as error:  # whatever went wrong, the other entries are still to be looked at
        of_model = "uninitialized" if is_lazy(tensor) else tensor.size()
        errors.append(
            f'While copying the parameter named "{key}", whose dimensions in the model are {of_model} and whose '
            f"dimensions in the checkpoint are {given.size()}, an exception occurred : {error.args}."
        )


def _swap(tensor, given, assign):
    """Have the module's ``tensor`` be what its ``module_load`` makes of ``given``."""
    loaded = tensor.module_load(given, assign=assign)
    if loaded is given or loaded is tensor:
        raise RuntimeError(
            "module_load returned one of self or other, please .detach() the result if returning one of the inputs in "
            "module_load"
        )
    if isinstance(tensor, Parameter):
        if isinstance(loaded, Parameter):
            loaded.requires_grad_(tensor.requires_grad)
        else:
            loaded = Parameter(loaded, requires_grad=tensor.requires_grad)
    swap_tensors(tensor, loaded)


def _assign(module, name, tensor, given, ties):
    """Make ``given`` the module's parameter or buffer; what was one tensor before stays one."""
    known = ties.get(id(tensor))
    if known is not None:
        setattr(module, name, known[1])
        if known[1].data_ptr() != given.data_ptr():
            known[1].copy_(given)
        return
    if isinstance(tensor, Parameter):
        if isinstance(given, Parameter):
            given.requires_grad_(tensor.requires_grad)
        else:
            given = Parameter(given, requires_grad=tensor.requires_grad)
    ties[id(tensor)] = tensor, given  # the old one is kept alive, so that its id stays its own
    setattr(module, name, given)


def _quoted(keys):
    return ", ".join(f'"{key}"' for key in keys)


def _advice(module, state_dict, missing, unexpected) -> str:
    """Why names do not match, where a prefix or a level of nesting explains it; else an empty string."""
    wanted = list(_all_keys(module))
    matched = len(wanted) - len(missing)
    if not wanted or not unexpected or matched * 2 > len(wanted):
        return ""
    expected = set(wanted)
    best, explanation = matched, ""
    for prefix in sorted({key[: at + 1] for key in unexpected for at, letter in enumerate(key) if letter == "."}):
        count = sum(key.removeprefix(prefix) in expected for key in state_dict if key.startswith(prefix))
        if count > best:
            best = count
            explanation = (
                f"{count} match after dropping the prefix {prefix!r}: load "
                f"{{k.removeprefix({prefix!r}): v for k, v in state_dict.items()}}"
            )
    for prefix in sorted({key[: at + 1] for key in missing for at, letter in enumerate(key) if letter == "."}):
        count = sum(prefix + key in expected for key in state_dict)
        if count > best:
            best = count
            explanation = (
                f"{count} match after adding the prefix {prefix!r}: load "
                f"{{{prefix!r} + k: v for k, v in state_dict.items()}}, or load into the submodule "
                f"{prefix[:-1]!r} itself"
            )
    for key, value in state_dict.items():
        count = sum(name in expected for name in value) if isinstance(value, Mapping) else 0
        if count > best:
            best = count
            explanation = f"{count} match in the entry {key!r}: load checkpoint[{key!r}] instead of all of it"
    if not explanation:
        return "" if matched else f"0 of {len(wanted)} keys matched."
    return f"{matched} of {len(wanted)} keys matched; {explanation}."


def _all_keys(module, prefix=""):
    """The keys that a state dict of ``module`` has, without calling hooks."""
    for name, tensor in module._own_state().items():
        if tensor is not None:
            yield prefix + name
    if module._has("set_extra_state"):
        yield prefix + EXTRA_STATE
    for name, child in module._modules.items():
        if child is not None:
            yield from _all_keys(child, f"{prefix}{name}.")
