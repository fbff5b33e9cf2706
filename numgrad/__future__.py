"""How `nn.Module` replaces its tensors when it is converted or loaded: settings that PyTorch keeps under this name."""

_overwrite = False
_swap = False


def set_overwrite_module_params_on_conversion(value: bool) -> None:
    """Whether ``Module.to()`` and its kin put new Parameters into the module, instead of new data into the Parameters
    that are there (the default)."""
    global _overwrite
    _overwrite = value


def get_overwrite_module_params_on_conversion() -> bool:
    """What `set_overwrite_module_params_on_conversion` was given last; False at first."""
    return _overwrite


def set_swap_module_params_on_conversion(value: bool) -> None:
    """Whether ``Module.to()`` and its kin, and ``load_state_dict``, exchange what the Parameters are with what the new
    tensors are (`utils.swap_tensors`), so that every reference to them sees the new tensor."""
    global _swap
    _swap = value


def get_swap_module_params_on_conversion() -> bool:
    """What `set_swap_module_params_on_conversion` was given last; False at first."""
    return _swap
