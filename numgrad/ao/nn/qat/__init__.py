"""Layers whose weights are fake-quantized before they are used: ``nn.Linear`` and the convolutions."""

from ....paths import submodules
from .conv import Conv1d as Conv1d, Conv2d as Conv2d, Conv3d as Conv3d
from .linear import Linear as Linear

__all__ = ["Linear", "Conv1d", "Conv2d", "Conv3d"]

__getattr__ = submodules(__name__)
