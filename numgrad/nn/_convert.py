"""What ``to()`` and its kin are made of."""

from .. import __future__ as replacing
from ..device import Device, resolve
from ..dtypes import dtype as DType
from ..exchange import swap_tensors
from ..tensor import Tensor
from ._traps import type_name, warn
from .parameter import Parameter, is_lazy

_FORMS: tuple = (("tensor", Tensor), ("dtype", DType), ("device", (str, int, Device, type(None))))  # of `to`, by its first argument
_KINDS = {"dtype": (DType, type(None)), "non_blocking": bool, "copy": bool}


def parse_to(*args, device=None, dtype=None, non_blocking=False, tensor=None, memory_format=None, copy=False):
    """The device (or None), dtype (or None), non_blocking and memory format (or None) of a call of ``to``: with a device and
    a dtype, with a dtype, or with a tensor that has both. Raises TypeError for other arguments."""
    given = {}
    if args:
        form = next((name for name, kind in _FORMS if isinstance(args[0], kind) and not isinstance(args[0], bool)), None)
        names = (form, *(["dtype"] if form == "device" else []), "non_blocking", "copy")
        given = dict(zip(names, args))
        wrong = [value for name, value in given.items() if name and name != form and not isinstance(value, _KINDS[name])]
        if form is None or wrong or len(args) > len(names):
            raise TypeError(
                "to() received an invalid combination of arguments: expected (device, dtype, non_blocking), (dtype, "
                f"non_blocking) or (tensor, non_blocking), got ({', '.join(map(type_name, args))})"
            )
    device, dtype = given.get("device", device), given.get("dtype", dtype)
    tensor, non_blocking, copy = given.get("tensor", tensor), given.get("non_blocking", non_blocking), given.get("copy", copy)
    if copy:
        raise RuntimeError("nn.Module.to converts in place and takes no copy=True: use copy.deepcopy(module).to(...)")
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    if dtype is not None and dtype.is_complex:
        warn(
            "Complex modules are a new feature: some modules might not work as expected when using complex tensors as parameters "
            "or buffers."
        )
    return (None if device is None else resolve(device)), dtype, non_blocking, memory_format


class OncePerTensor:
    """Applies a function once to each tensor, so that tensors shared by several modules stay shared."""

    def __init__(self, fn):
        self.fn, self.done = fn, {}

    def __call__(self, tensor):
        entry = self.done.get(id(tensor))
        if entry is None or entry[1] is not _data(tensor):  # not yet, or it was given other data meanwhile
            # The tensor is kept, and so its id stays its own.
            entry = self.done[id(tensor)] = tensor, _data(tensor), self.fn(tensor)
        return entry[2]


def _data(tensor):
    return None if is_lazy(tensor) else tensor._d


def convert_parameter(module, name: str, parameter: Parameter, fn) -> None:
    """Have ``module``'s parameter, and its gradient, be what ``fn`` makes of them: by new data in the same Parameter, by
    a new Parameter or by an exchange of the two, as `__future__` says."""
    swap = replacing.get_swap_module_params_on_conversion()
    overwrite = replacing.get_overwrite_module_params_on_conversion()
    changed = fn(parameter)
    gradient = parameter.grad
    found = parameter
    if swap:
        _swap(module, name, parameter, Parameter(changed, requires_grad=parameter.requires_grad))
    elif overwrite:
        found = module._parameters[name] = Parameter(changed, requires_grad=parameter.requires_grad)
    elif changed is not parameter:
        parameter.data = changed
    if gradient is None:
        return
    converted = fn(gradient)
    if swap:
        if converted is not gradient:
            _swap(module, f"{name}.grad", gradient, converted.requires_grad_(gradient.requires_grad))
        found.grad = gradient
    elif overwrite:
        found.grad = converted.requires_grad_(gradient.requires_grad)
    elif converted is not gradient:
        gradient.data = converted


def _swap(module, name, old, new):
    if isinstance(old, Parameter):
        gradient, old.grad = old.grad, None
    try:
        swap_tensors(old, new)
    except Exception as error:
        if isinstance(old, Parameter):
            old.grad = gradient
        raise RuntimeError(f"_apply(): Couldn't swap {type(module).__name__}.{name}") from error
