"""Spectral normalisation by a hook that runs before each forward; `parametrizations.spectral_norm` is its successor."""

from ...autograd import no_grad
from ...ops.distance import normalize
from ...ops.matrix import pinverse
from ...tensor import Tensor
from ..conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module import Module
from ..parameter import Parameter, is_lazy


class SpectralNorm:
    """The hook: sets ``module.<name>`` to ``<name>_orig`` over its largest singular value, of which ``<name>_u`` and
    ``<name>_v`` are the estimated vectors."""

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """``weight`` with dimension ``dim`` as rows: (size of dim, all others)."""
        if self.dim:
            weight = weight.movedim(self.dim, 0)
        return weight.reshape(weight.size(0), -1)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The normalised weight, recorded, after ``n_power_iterations`` more steps of the estimate if asked for."""
        weight, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(normalize(matrix.t().mv(u), dim=0, eps=self.eps))
                    u.copy_(normalize(matrix.mv(v), dim=0, eps=self.eps))
            u, v = u.clone(), v.clone()  # the next forward writes to the buffers
        return weight / u.dot(matrix.mv(v))

    def __call__(self, module, inputs):
        setattr(module, self.name, self.compute_weight(module, module.training))

    def remove(self, module: Module) -> None:
        """Make ``name`` an ordinary parameter again, with its present value."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for part in (self.name, f"{self.name}_u", f"{self.name}_v", f"{self.name}_orig"):
            delattr(module, part)
        module.register_parameter(self.name, Parameter(weight.detach()))


class _StateVersion:
    """Notes in a state dict that its u and v are those of the saved weight."""

    def __init__(self, hook):
        self.hook = hook

    def __call__(self, module, state_dict, prefix, local_metadata):
        versions = local_metadata.setdefault("spectral_norm", {})
        key = f"{self.hook.name}.version"
        if key in versions:
            raise RuntimeError(f"Unexpected key in metadata['spectral_norm']: {key}")
        versions[key] = 1


class _FormerState:
    """Loads states of before `_StateVersion`, which had the normalised weight and no v: it is computed from the two weights."""

    def __init__(self, hook):
        self.hook = hook

    def __call__(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        key = prefix + self.hook.name
        if local_metadata.get("spectral_norm", {}).get(f"{self.hook.name}.version") is not None:
            return
        if key not in state_dict and all(f"{key}_{part}" in state_dict for part in ("orig", "u", "v")):
            return  # made by hand, as states are now
        missing = [name for name in (f"{key}_orig", key, f"{key}_u") if name not in state_dict]
        if missing:
            missing_keys.extend(missing if strict else ())
            return
        with no_grad():
            original, u = state_dict[f"{key}_orig"], state_dict[f"{key}_u"]
            sigma = (original / state_dict.pop(key)).mean()
            matrix = self.hook.reshape_weight_to_matrix(original)
            v = pinverse(matrix).mv(u)
            state_dict[f"{key}_v"] = v * (sigma / u.dot(matrix.mv(v)))


def _find(table, name):
    for key, hook in table.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            return key, hook
        if isinstance(hook, (_StateVersion, _FormerState)) and hook.hook.name == name:
            return key, hook
    return None, None


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide the parameter ``name`` by its largest singular value before each forward (arXiv:1802.05957).

    ``n_power_iterations`` steps of the estimate are made in each forward in training. ``dim``: the one that counts the
    outputs, 0, or 1 in transposed convolutions.
    """
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    if _find(module._forward_pre_hooks, name)[1] is not None:
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    hook = SpectralNorm(name, n_power_iterations, dim, eps)
    weight = module._parameters.get(name)
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    if is_lazy(weight):
        raise ValueError(
            "The module passed to `SpectralNorm` can't have uninitialized parameters. Make sure to run the dummy forward "
            "before applying spectral normalization"
        )
    with no_grad():
        rows, columns = hook.reshape_weight_to_matrix(weight).shape
        u = normalize(weight.new_empty(rows).normal_(0, 1), dim=0, eps=eps)
        v = normalize(weight.new_empty(columns).normal_(0, 1), dim=0, eps=eps)
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())  # a plain tensor: neither a parameter nor in the state dict
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    module.register_forward_pre_hook(hook)
    module._register_state_dict_hook(_StateVersion(hook))
    module._register_load_state_dict_pre_hook(_FormerState(hook))
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make ``name`` an ordinary parameter again, with its present value. Raises ValueError if it was none."""
    key, hook = _find(module._forward_pre_hooks, name)
    if not isinstance(hook, SpectralNorm):
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    hook.remove(module)
    del module._forward_pre_hooks[key]
    for table in (module._state_dict_hooks, module._load_state_dict_pre_hooks):
        key, noted = _find(table, name)
        if noted is not None:
            del table[key]
    return module
