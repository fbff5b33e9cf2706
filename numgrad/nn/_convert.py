"""What ``to()`` and its kin are made of."""

from ..device import Device, resolve
from ..dtypes import dtype as DType
from ..tensor import Tensor
from ._traps import type_name


def parse_to(*args, device=None, dtype=None, non_blocking=False, tensor=None, memory_format=None, copy=False):
    """The device, dtype, non_blocking and memory_format of a call of ``to``; None where not asked for."""
    for value in args:
        if isinstance(value, Tensor):
            tensor = value
        elif isinstance(value, bool):
            non_blocking = value
        elif isinstance(value, DType):
            dtype = value
        elif isinstance(value, (str, int, Device)):
            device = value
        elif value is not None:
            raise TypeError(
                f"to() received an invalid argument: expected a device, dtype or tensor, got {type_name(value)}"
            )
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    return (None if device is None else resolve(device)), dtype, non_blocking, memory_format


class OncePerTensor:
    """Applies a function once to each tensor, so that tensors shared by several modules stay shared."""

    def __init__(self, fn):
        self.fn, self.done = fn, {}

    def __call__(self, tensor):
        entry = self.done.get(id(tensor))
        if entry is None:
            entry = self.done[id(tensor)] = tensor, self.fn(tensor)  # keeps the tensor, and so its id, alive
        return entry[1]
