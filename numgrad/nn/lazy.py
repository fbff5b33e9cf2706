"""Modules whose parameters get their shapes from the first input."""

from typing import Any

from .parameter import is_lazy


class LazyModuleMixin:
    """Makes a Module lazy: ``class LazyX(LazyModuleMixin, X)``.

    Its parameters are `UninitializedParameter` until the first call, which runs ``initialize_parameters`` with the
    inputs before forward; then the module becomes one of class ``cls_to_become``. State dicts can be loaded before.
    """

    cls_to_become: type | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)  # type: ignore[attr-defined]
        self._initialize_hook = self.register_forward_pre_hook(  # type: ignore[attr-defined]
            _infer_parameters, with_kwargs=True
        )

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        # Uninitialised tensors are saved as they are, so that a checkpoint can be made before the first call.
        for name, tensor in self._own_state().items():  # type: ignore[attr-defined]
            if tensor is not None:
                destination[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()

    def _lazy_load_hook(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        """Give uninitialised tensors the shapes that the state dict has."""
        for name, tensor in self._own_state().items():  # type: ignore[attr-defined]
            given = state_dict.get(prefix + name)
            if tensor is not None and given is not None and is_lazy(tensor) and not is_lazy(given):
                tensor.materialize(given.shape)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters their shapes, from the inputs of the first call; every lazy class defines it."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        tensors = (*self._parameters.values(), *self._buffers.values())  # type: ignore[attr-defined]
        return any(is_lazy(tensor) for tensor in tensors)


def _infer_parameters(module, args, kwargs):
    """The pre-hook of the first call."""
    module.initialize_parameters(*args, **kwargs)
    if module.has_uninitialized_params():
        raise RuntimeError(f"module {module._get_name()} has not been fully initialized")
    module._initialize_hook.remove()
    module._load_hook.remove()
    del module._initialize_hook, module._load_hook
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become
