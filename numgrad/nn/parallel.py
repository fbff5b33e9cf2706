"""One batch on several CUDA devices in one process, as ``torch.nn.parallel``."""

from collections.abc import Sequence
from typing import Any

from ..device import Device
from ..ops.join import cat, stack
from ..tensor import Tensor
from .functional_call import functional_call
from .module import Module


def _index(device) -> int:
    device = device if isinstance(device, (int, Device)) else Device(device)
    return device if isinstance(device, int) else device.index or 0


def scatter(inputs: Any, target_gpus: Sequence, dim: int = 0) -> list:
    """``inputs`` for each device: tensors in tuples, lists and dicts are split along ``dim``, anything else is repeated.

    As many parts come back as the tensors have: fewer than devices where there are fewer rows.
    """
    devices = [Device("cuda", _index(device)) for device in target_gpus]

    def parts(value) -> list:
        if isinstance(value, Tensor):
            return [part.to(device) for part, device in zip(value.chunk(len(devices), dim), devices)]
        if isinstance(value, (tuple, list)) and value:
            rows = list(zip(*map(parts, value)))
            return [type(value)(*row) if hasattr(value, "_fields") else type(value)(row) for row in rows]
        if isinstance(value, dict) and value:
            return [type(value)(row) for row in zip(*([(key, part) for part in parts(v)] for key, v in value.items()))]
        return [value] * len(devices)

    return parts(inputs)


def gather(outputs: Sequence, target_device, dim: int = 0) -> Any:
    """The devices' results joined along ``dim`` on ``target_device`` ("cpu", an index or a device); numbers become a vector."""
    target = Device(target_device) if isinstance(target_device, str) else target_device
    target = Device("cuda", target) if isinstance(target, int) else target
    first = outputs[0]
    if isinstance(first, Tensor):
        moved = [part.to(target) for part in outputs]
        return stack(moved) if first.dim() == 0 else cat(moved, dim)
    if first is None:
        return None
    if isinstance(first, dict):
        if not all(len(first) == len(other) for other in outputs):
            raise ValueError("gather: all dicts must have the same number of keys")
        return type(first)((key, gather([other[key] for other in outputs], target, dim)) for key in first)
    joined = [gather(row, target, dim) for row in zip(*outputs)]
    return type(first)(*joined) if hasattr(first, "_fields") else type(first)(joined)


def _run(module, inputs, keywords, devices) -> list:
    """The module's results for each part, with its parameters and buffers on the part's device.

    Copies of parameters are recorded: gradients of all parts add up in the module's own. The first device works with the
    module's own buffers, so that the statistics it counts are kept; those of the others are dropped.
    """
    results = []
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    for number, (arguments, named) in enumerate(zip(inputs, keywords)):
        device = Device("cuda", devices[number])
        with device:
            tensors = {name: tensor if number == 0 else tensor.to(device) for name, tensor in own.items()}
            results.append(functional_call(module, tensors, tuple(arguments), named))
    return results


def data_parallel(
    module: Module, inputs: Any, device_ids: Sequence | None = None, output_device=None, dim: int = 0,
    module_kwargs: dict | None = None,
) -> Any:  # fmt: skip
    """``module(*inputs)`` with the batch (dimension ``dim``) split over ``device_ids`` (default: all CUDA devices) and the
    results joined on ``output_device``, by default the first of them; without a CUDA device simply ``module(*inputs)``.

    Raises RuntimeError where the module is not on the first device.
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,) if inputs is not None else ()
    devices = _all_devices() if device_ids is None else [_index(device) for device in device_ids]
    if not devices:
        return module(*inputs, **(module_kwargs or {}))
    _check_place(module, devices[0])
    split, named = scatter(inputs, devices, dim), scatter(module_kwargs or {}, devices, dim)
    if not inputs and not module_kwargs:
        split, named = [()], [{}]
    count = min(len(split), len(named))
    if count == 1:
        return module(*split[0], **named[0])
    results = _run(module, split[:count], named[:count], devices)
    return gather(results, devices[0] if output_device is None else output_device, dim)


def _all_devices() -> list[int]:
    from .. import cuda

    return list(range(cuda.device_count()))


def _check_place(module, first):
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.device != Device("cuda", first):
            raise RuntimeError(
                f"module must have its parameters and buffers on device cuda:{first} (device_ids[0]) but found one of them on "
                f"device: {tensor.device}"
            )


class DataParallel(Module):
    """``module`` by `data_parallel`; its state dict has the module's names behind ``module.``.

    The devices are given their work one after the other and do it at the same time. Without CUDA devices it is the module.
    """

    module: Module

    def __init__(self, module: Module, device_ids: Sequence | None = None, output_device=None, dim: int = 0):
        super().__init__()
        self.module, self.dim = module, dim
        self.device_ids = _all_devices() if device_ids is None else [_index(device) for device in device_ids]
        if self.device_ids:
            self.output_device = self.device_ids[0] if output_device is None else output_device
            self.src_device_obj = Device("cuda", self.device_ids[0])
            if len(self.device_ids) == 1:
                module.to(self.src_device_obj)

    def forward(self, *inputs, **kwargs):
        """The module's result for the whole batch."""
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        return data_parallel(self.module, inputs, self.device_ids, self.output_device, self.dim, kwargs)
