"""Tensors from and to other libraries without a copy, as ``torch.utils.dlpack``."""

from ..ops.interchange import from_dlpack as from_dlpack, to_dlpack as to_dlpack
