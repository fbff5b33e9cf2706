"""Parameters as one vector, and back."""

from collections.abc import Iterable

from ...errors import DeviceError
from ...ops.join import cat
from ...tensor import Tensor


def _same_device(op: str, parameters: list[Tensor]) -> None:
    devices = {str(parameter.device) for parameter in parameters}
    if len(devices) > 1:
        raise DeviceError(f"{op}: expected all parameters on one device, got {sorted(devices)}; move the model first")


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters, flat, one after the other; recorded."""
    parameters = list(parameters)
    _same_device("parameters_to_vector", parameters)
    return cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make consecutive slices of ``vec`` the data of ``parameters``."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    parameters = list(parameters)
    _same_device("vector_to_parameters", parameters)
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = vec.detach()[start:end].reshape(parameter.shape)
        start = end
