"""The formats that `numgrad.save` and `numgrad.load` write and read: safetensors files, and PyTorch's own."""

from .torch_names import (
    add_safe_globals as add_safe_globals,
    clear_safe_globals as clear_safe_globals,
    get_safe_globals as get_safe_globals,
    safe_globals as safe_globals,
)
