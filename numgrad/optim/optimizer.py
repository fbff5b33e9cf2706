"""Optimizer: parameter groups, state, state dicts, hooks and what is said when nothing would be trained."""

import copy
import functools
import itertools
import types
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ..autograd import Handle, local, switch
from ..op import plain
from ..tensor import Tensor

ParamsT: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class _Required:
    def __repr__(self):
        return "<required parameter>"


required = _Required()

_global_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_global_post_hooks: OrderedDict[int, Callable] = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable) -> Handle:
    """Call ``hook(optimizer, args, kwargs)`` before every step of every optimizer."""
    return Handle(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> Handle:
    """Call ``hook(optimizer, args, kwargs)`` after every step of every optimizer."""
    return Handle(_global_post_hooks, hook)


_PARAMS = ("params", "param_names")  # what a group holds besides options
_HOOKS = ("step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post")


class Optimizer:
    """Base of all optimizers.

    ``params``: the tensors to train, ``(name, tensor)`` pairs, or dicts with a key ``"params"`` and options of
    their own; ``defaults``: the options of groups that do not give theirs. A subclass defines ``step``.

    ``param_groups`` is the list of dicts, ``state`` maps each parameter to its dict of state. Raises TypeError and
    ValueError for what cannot be optimized.
    """

    scalars: tuple[str, ...] = ()  # states besides ``step`` that are one number, in a float32 tensor on the host
    _opt_called = False  # whether step() was called since a scheduler was attached
    _repeats = False  # whether a parameter is mentioned twice
    _hooked = False  # whether any hook around step() was ever registered
    _said: frozenset[str] = frozenset()  # what this optimizer has warned of

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._make_hook_tables()
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        for group in _as_groups(params):
            self.add_param_group(group)

    def _make_hook_tables(self):
        for kind in _HOOKS:
            self.__dict__.setdefault(f"_optimizer_{kind}_hooks", OrderedDict())

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_hook_tables()
        for group in self.param_groups:  # saved by a version that did not have all options
            for name, default in self.defaults.items():
                if default is not required:
                    group.setdefault(name, default)

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for number, group in enumerate(self.param_groups):
            text += f"\nParameter Group {number}\n"
            text += "".join(f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
        return text + ")"

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients; ``closure`` recomputes and returns the loss."""
        raise NotImplementedError(f"{type(self).__name__} must define step(closure=None)")

    # --- groups ----------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Also optimize the parameters in ``param_group["params"]``; options that it lacks are the defaults.

        The dict itself becomes an element of ``param_groups``. Raises TypeError for what is no group or no tensor,
        ValueError for tensors that cannot be optimized or already are.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}; write {{'params': ...}}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, (set, frozenset)):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        else:
            params = _listed(params, "parameter group got an empty parameter list")
        params, names = _split_names(params)
        param_group["params"] = params
        if names is not None:
            param_group["param_names"] = names
        for param in params:
            _check_param(param, self.defaults.get("differentiable"))
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len(set(params)) != len(params):
            self._repeats = True
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters: their updates would be applied once "
                "for each mention, and PyTorch is going to refuse it. Pass each parameter once.",
                stacklevel=3,
            )
        self._check_against_groups(params, names)
        self.param_groups.append(param_group)

    def _check_against_groups(self, params, names):
        known = set()
        for group in self.param_groups:
            known.update(group["params"])
            if ("param_names" in group) != (names is not None):
                which = "with" if names is not None else "without"
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{which} names to the optimizer"
                )
        if not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters: None, or zeros in place if ``set_to_none`` is False."""
        for group in self.param_groups:
            for p in group["params"]:
                n = p._n
                if set_to_none:
                    if n is not None and n.leaf:
                        n.grad = None
                    else:
                        p.grad = None
                    continue
                gradient = p.grad
                if gradient is None:
                    continue
                if gradient._n is not None and not gradient._n.leaf:
                    gradient.detach_()
                else:
                    gradient.requires_grad_(False)
                gradient.zero_()

    def check(self, model: Any) -> None:
        """Raise ValueError unless this optimizer trains exactly the parameters of ``model`` that require grad.

        The two drift apart when a parameter is replaced (assigned anew, or by a call that makes new ones) after
        the optimizer was built: it goes on with the old one. ``model`` is a Module or anything with
        ``named_parameters()``.
        """
        held = {id(p): f"param_groups[{i}]['params'][{k}] {described(p)}"
                for i, group in enumerate(self.param_groups) for k, p in enumerate(group["params"])}  # fmt: skip
        named = list(model.named_parameters())
        known = {id(p) for _, p in named}
        missing = [name for name, p in named if p.requires_grad and id(p) not in held]
        stale = [text for key, text in held.items() if key not in known]
        if not missing and not stale:
            return
        text = f"{type(self).__name__} does not train the parameters of this {type(model).__name__}."
        if missing:
            text += f" Not in the optimizer: {', '.join(missing)}."
        if stale:
            text += f" In the optimizer, but not in the model: {', '.join(stale)}."
        raise ValueError(
            text + " If a parameter was replaced after the optimizer was built, build the optimizer again, or add the "
            "new one with add_param_group({'params': ...})."
        )

    # --- state dicts ----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """``{"state": ..., "param_groups": ...}`` with parameters as numbers, counted through all groups.

        The tensors of the state are the live ones, not copies.
        """
        for hook in list(self._optimizer_state_dict_pre_hooks.values()):
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != "params"}
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {}
        for key, value in self.state.items():
            if not isinstance(key, Tensor):
                state[key] = value
            elif id(key) in numbers:  # else it was taken out of its group
                state[numbers[id(key)]] = value
        found: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in list(self._optimizer_state_dict_post_hooks.values()):
            changed = hook(self, found)
            if changed is not None:
                found = changed
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state from what `state_dict` returned, here or in PyTorch.

        Where both sides have names for all their parameters, and the same ones, the state goes to the parameter of
        its name; otherwise to the parameter in its place. Tensors are copied and take their parameter's dtype and
        device. Raises ValueError if the groups do not fit.
        """
        state_dict = dict(state_dict)
        for hook in list(self._optimizer_load_state_dict_pre_hooks.values()):
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        saved_groups, own_groups = state_dict["param_groups"], self.param_groups
        if len(own_groups) != len(saved_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups: expected "
                f"{len(own_groups)}, got {len(saved_groups)}"
            )
        places, pairs = self._match(own_groups, saved_groups)
        groups = []
        for group, saved in pairs:
            own = {key: group[key] for key in _PARAMS if key in group}
            groups.append({**copy.deepcopy({key: saved[key] for key in saved if key != "params"}), **own})
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            p = places.get(key)
            if p is None:
                state[key] = value
            else:
                state[p] = _cast_state(p, value, ("step", *self.scalars))
        self.__setstate__({"state": state, "param_groups": groups})
        for hook in list(self._optimizer_load_state_dict_post_hooks.values()):
            hook(self)

    def _match(self, own_groups, saved_groups):
        """Which parameter each saved number stands for, and the pairs (own group, saved group)."""
        own = _by_name(own_groups)
        saved = _by_name(saved_groups)
        if own is not None and saved is not None and own.keys() == saved.keys():
            places = {number: own[name] for name, number in saved.items()}
            return places, _pair_groups(own_groups, saved_groups)
        for k, (group, other) in enumerate(zip(own_groups, saved_groups)):
            if len(group["params"]) != len(other["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"group {k} has {len(group['params'])} parameters, the loaded one has {len(other['params'])}"
                    + _name_differences(own, saved)
                )
        if own is not None and saved is not None:
            warnings.warn(
                f"{type(self).__name__}.load_state_dict: the state is matched by position, because the names differ"
                + _name_differences(own, saved),
                stacklevel=3,
            )
        places = {}
        for group, other in zip(own_groups, saved_groups):
            places.update(zip(other["params"], group["params"]))
        return places, list(zip(own_groups, saved_groups))

    # --- hooks ---------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new ``(args, kwargs)``."""
        self._hooked = True
        return Handle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        self._hooked = True
        return Handle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call ``hook(optimizer)`` before `state_dict`."""
        return _add_hook(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call ``hook(optimizer, state_dict)`` after `state_dict`; it may return a replacement."""
        return _add_hook(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call ``hook(optimizer, state_dict)`` before `load_state_dict`; it may return a replacement."""
        return _add_hook(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call ``hook(optimizer)`` after `load_state_dict`."""
        return _add_hook(self._optimizer_load_state_dict_post_hooks, hook, prepend)


# --- around step() -------------------------------------------------------------------------------------------------


def _with_hooks(step):
    """``step`` with the hooks around it, and the note that it was called, which schedulers ask for."""

    @functools.wraps(step)
    def stepped(self, *args, **kwargs):
        self._opt_called = True
        if switch.anywhere and local.before_write is not None:
            for group in self.param_groups:
                for tensor in group["params"]:
                    local.before_write(tensor)
        hooked = self._hooked or _global_pre_hooks or _global_post_hooks
        if hooked and getattr(type(self).step, "__wrapped__", None) is step:  # not for super().step() of a subclass
            return _run_hooked(step, (self, *args), kwargs)
        return step(self, *args, **kwargs)

    stepped.counted_by_schedulers = True  # type: ignore[attr-defined]
    return stepped


def count_steps(optimizer: Optimizer) -> None:
    """Make calls of ``optimizer.step`` visible to a scheduler, also where it was replaced by another function."""
    optimizer._opt_called = False
    step = optimizer.step
    if hasattr(step, "counted_by_schedulers"):
        return

    @functools.wraps(step)
    def counted(*args, **kwargs):
        optimizer._opt_called = True
        return step(*args, **kwargs)

    counted.counted_by_schedulers = True  # type: ignore[attr-defined]
    optimizer.step = counted


def _run_hooked(step, args, kwargs):
    self = args[0]
    for hook in itertools.chain(list(_global_pre_hooks.values()), list(self._optimizer_step_pre_hooks.values())):
        changed = hook(self, args, kwargs)
        if changed is None:
            continue
        if not isinstance(changed, tuple) or len(changed) != 2:
            raise RuntimeError(
                f"{step} must return None or a tuple of (new_args, new_kwargs), but got {changed} from the step "
                f"pre-hook {getattr(hook, '__name__', hook)}"
            )
        args, kwargs = changed
    result = step(*args, **kwargs)
    for hook in itertools.chain(list(self._optimizer_step_post_hooks.values()), list(_global_post_hooks.values())):
        hook(self, args, kwargs)
    return result


def _add_hook(table, hook, prepend):
    handle = Handle(table, hook)
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


# --- what may be optimized -----------------------------------------------------------------------------------------


def _listed(params, what):
    """``params`` as a list; says so where an iterator was used up before."""
    consumed = getattr(params, "consumed", False)  # the iterators that a Module hands out know, whose ``__class__`` is theirs
    if type(params) is types.GeneratorType:
        consumed = params.gi_frame is None
    try:
        found = list(params)
    except TypeError:
        advice = "; pass model.parameters()" if hasattr(params, "named_parameters") else ""
        raise TypeError(
            "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
            f"{type(params).__name__}{advice}"
        ) from None
    if consumed and not found:
        raise ValueError(
            f"{what}: iterator already consumed: pass list(...), as in params = list(model.parameters()), "
            "where it is walked more than once"
        )
    return found


def _as_groups(params):
    if isinstance(params, Tensor):
        raise TypeError(
            "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
            f"{type(params).__name__}; write [tensor]"
        )
    found = _listed(params, "optimizer got an empty parameter list")
    if not found:
        raise ValueError("optimizer got an empty parameter list: there is nothing to optimize")
    return found if isinstance(found[0], dict) else [{"params": found}]


def _split_names(params):
    """(tensors, names) of a list of tensors or of (name, tensor) pairs; the names are None for plain tensors."""
    named = [isinstance(p, tuple) and len(p) == 2 for p in params]
    if not any(named):
        return params, None
    if not all(named):
        raise ValueError("all optimizer params should be with/without names. Some param names are missing")
    return [p for _, p in params], [name for name, _ in params]


def _check_param(param, differentiable):
    if not isinstance(param, Tensor):
        advice = ""
        if isinstance(param, types.GeneratorType) or hasattr(param, "consumed"):
            advice = "; join several iterators with itertools.chain(...) or make one list of them"
        raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(param).__name__}{advice}")
    if not differentiable and not (param.is_leaf or param.retains_grad):
        raise ValueError(
            "can't optimize a non-leaf Tensor: it is the result of an op, so its values are computed anew each time. "
            "Pass the leaf that it was computed from, or tensor.detach().requires_grad_()."
        )


def described(p):
    label = p.__dict__.get("_label")
    return f"({label + ', ' if label else ''}shape {list(p.shape)})"


# --- loading -------------------------------------------------------------------------------------------------------


def _by_name(groups):
    """Name -> parameter (or its number), or None unless every parameter has a name of its own."""
    found = {}
    count = 0
    for group in groups:
        names = group.get("param_names")
        if names is None or len(names) != len(group["params"]):
            return None
        count += len(names)
        found.update(zip(names, group["params"]))
    return found if len(found) == count else None


def _pair_groups(own_groups, saved_groups):
    """Own groups with the saved groups of the same names, in whatever order; else in place."""
    by_names = {frozenset(saved["param_names"]): saved for saved in saved_groups}
    pairs = []
    for k, group in enumerate(own_groups):
        pairs.append((group, by_names.get(frozenset(group["param_names"]), saved_groups[k])))
    return pairs


def _name_differences(own, saved):
    if own is None or saved is None:
        return ""
    text = ""
    differences = {"only here": own.keys() - saved.keys(), "only in the state dict": saved.keys() - own.keys()}
    for what, names in differences.items():
        if names:
            listed = sorted(names)
            text += f"; {what}: {', '.join(listed[:4])}{', ...' if len(listed) > 4 else ''}"
    return text


def _cast_state(p, value, scalars, key=None):
    """A copy of loaded state, its tensors in the dtype and on the device of parameter ``p``; step counts and other
    ``scalars`` keep their dtype and stay on the host."""
    if isinstance(value, Tensor):
        value = plain(value)
        if key in scalars:
            return value.cpu().clone()
        wanted = value.to(dtype=p.dtype, device=p.device) if p.is_floating_point() else value.to(device=p.device)
        return wanted if wanted is not value else value.clone()
    if isinstance(value, dict):
        return {k: _cast_state(p, item, scalars, k) for k, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_cast_state(p, item, scalars) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return copy.deepcopy(value)
