"""Quantization-aware training, under the names of ``torch.ao``."""

from ..paths import submodules

__getattr__ = submodules(__name__)
