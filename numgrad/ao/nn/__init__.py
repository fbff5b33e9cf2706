"""Layers for quantization-aware training."""

from ...paths import submodules

__getattr__ = submodules(__name__)
