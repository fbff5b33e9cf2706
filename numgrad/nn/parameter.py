"""Parameter and Buffer: tensors that a Module registers; and their uninitialised forms for lazy modules."""

import copy
from typing import Any, Self, cast

import numpy as np

from .. import dtypes
from ..autograd import Leaf
from ..device import Device, default, resolve
from ..errors import DTypeError
from ..layout import integers
from ..overrides import _disabled_torch_function_impl
from ..storage import meta
from ..tensor import Tensor, empty_tensor, from_array, wrap_as


class _Marked(type(Tensor)):
    """Of a class that names a ``_mark``: tensors of other classes that carry it are instances too."""

    def __instancecheck__(cls, instance):
        mark = cls.__dict__.get("_mark")
        if mark is not None and isinstance(instance, Tensor) and getattr(instance, mark, False):
            return True
        return super().__instancecheck__(instance)


class Parameter(Tensor, metaclass=_Marked):
    """A tensor that is a module's to train: assigned to an attribute of a Module, it is registered there.

    It shares the memory of ``data`` (a tensor, an ndarray or nested lists of numbers; nothing: an empty tensor) and
    requires grad unless told otherwise, under ``no_grad`` too. Results of ops on it are plain tensors. Raises
    DTypeError for integers, which have no gradient, unless ``requires_grad`` is False.

    A tensor of a class of one's own keeps its class and carries a mark by which ``isinstance`` takes it for a Parameter;
    RuntimeError if its ``detach`` gives another class.
    """

    __slots__ = ()

    __torch_function__ = cast(Any, _disabled_torch_function_impl)  # results are plain tensors

    _mark = "_is_param"
    _label = ""  # "Linear.weight" once a module has registered it; messages name it

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Self:
        if data is None:
            tensor = from_array(np.empty(0, dtypes.get_default_dtype().np))
        elif isinstance(data, Tensor):
            tensor = data
        else:
            tensor = _from_values(data)
        if requires_grad and not tensor.dtype.differentiable:
            raise DTypeError(
                f"Parameter: expected a floating-point dtype, got {tensor.dtype!r}: only those have gradients. Convert "
                "the data with .float(), pass requires_grad=False, or register it with register_buffer()."
            )
        if type(tensor) is not Tensor and not issubclass(type(tensor), Parameter):
            return _marked(tensor, requires_grad)
        self: Any = wrap_as(cls, tensor)
        self._n = None
        if requires_grad:
            self.requires_grad_()
        return self

    def requires_grad_(self, requires_grad: bool = True):
        """Record what is done to this parameter from now on, or stop doing so."""
        super().requires_grad_(requires_grad)
        if self._n is not None:
            self._n.label = self._label
        return self

    def __repr__(self, *, tensor_contents=None):
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo):
        known = memo.get(id(self))
        if known is not None:
            return known
        n = self._n
        gradient = None if n is None else n.grad
        if n is not None:
            n.grad = None  # as in PyTorch, the copy of a parameter starts without a gradient
        try:
            found = super().__deepcopy__(memo)
        finally:
            if n is not None:
                n.grad = gradient
        if found._n is not None:
            found._n.label = self._label
        if self._label:
            found.__dict__["_label"] = self._label
        return found


def _marked(data: Tensor, requires_grad: bool) -> Any:
    """The tensor ``data`` of a class of the user's as a parameter: of that class still."""
    found: Any = data.detach()
    if type(found) is not type(data):
        raise RuntimeError(
            f"Creating a Parameter from an instance of type {type(data).__name__} requires that detach() returns an instance "
            f"of the same type, but return type {type(found).__name__} was found instead. To use the type as a Parameter, "
            "please correct the detach() semantics defined by its __torch_function__."
        )
    found = found.requires_grad_(requires_grad)
    found._is_param = True
    return found


def _from_values(data) -> Tensor:
    """A tensor of an ndarray (sharing its memory) or of nested lists of numbers."""
    if isinstance(data, np.ndarray):
        return from_array(data)
    array = np.array(data)
    if array.dtype.kind == "f" and not isinstance(data, np.generic):
        array = array.astype(dtypes.get_default_dtype().np)
    return from_array(array)


def label(parameter: Parameter, text: str) -> None:
    """Let a parameter know where it was registered first: ``text`` is as in "Linear.weight"."""
    own = vars(parameter)
    if not own.get("_label"):
        own["_label"] = text
        if parameter._n is not None:
            parameter._n.label = text


class Buffer(Tensor, metaclass=_Marked):
    """A tensor that, assigned to an attribute of a Module, is registered as a buffer.

    ``Buffer(data)`` gives a plain tensor over the memory of ``data`` that carries a mark. ``persistent``: whether it
    is part of the state dict.
    """

    __slots__ = ()

    _mark = "_is_buffer"

    __torch_function__ = cast(Any, _disabled_torch_function_impl)

    def __new__(cls, data: Any = None, *, persistent: bool = True):
        if data is None:
            data = from_array(np.empty(0, dtypes.get_default_dtype().np))
        elif not isinstance(data, Tensor):
            data = _from_values(data)
        tensor = data.detach().requires_grad_(data.requires_grad)
        tensor.persistent = persistent
        tensor._is_buffer = True
        return tensor


# --- not yet known shapes ---------------------------------------------------------------------------------------

# What can be asked of a tensor without a shape; everything else says that there is none yet.
_ALLOWED = frozenset((
    "materialize", "cls_to_become", "device", "dtype", "is_cuda", "is_meta", "is_floating_point", "is_complex", "name",
    "requires_grad", "requires_grad_", "is_leaf", "grad", "grad_fn", "data", "detach", "persistent",
    "share_memory_", "to", "type", "cpu", "cuda", "float", "double",
    "_n", "_base", "_creation", "_grad", "_kept_grad", "_label", "_is_buffer", "_is_param", "_dtype", "_device", "_move",
))  # fmt: skip


class _Uninitialized:
    """What has a dtype and a device, but no shape or memory before `materialize`."""

    __slots__ = ()

    cls_to_become: type

    def __getattribute__(self, name):
        if name in _ALLOWED or name.startswith("__"):
            return object.__getattribute__(self, name)
        if name == "shape":
            raise RuntimeError(
                "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
                "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call "
                "`forward` to initialize the parameters before accessing their attributes."
            )
        raise ValueError(
            f"Attempted to use uninitialized parameter in {'an op' if name[0] == '_' else name}. This error usually happens when you are using a "
            "`LazyModule` or explicitly manipulating uninitialized parameters. When using LazyModules call `forward` "
            "with a dummy batch to initialize the parameters before calling other functions on them."
        )

    @property
    def dtype(self):
        return self._dtype

    @property
    def device(self):
        return self._device

    @property
    def is_cuda(self):
        return self._device.type == "cuda"

    @property
    def is_meta(self):
        return self._device.type == "meta"

    @property
    def data(self):
        return self

    @data.setter
    def data(self, value):
        # Module.to() and its kin hand back an uninitialised tensor of another dtype or on another device.
        self.__dict__["_dtype"], self.__dict__["_device"] = value.dtype, value.device

    def materialize(self, shape, device=None, dtype=None) -> None:
        """Get memory for ``shape``, and become an ordinary parameter or tensor."""
        dtype = self.dtype if dtype is None else dtypes.as_dtype(dtype)
        device = self.device if device is None else resolve(device)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        wanted = self.requires_grad
        state = self.__dict__
        del state["_dtype"], state["_device"]
        made = empty_tensor(meta(dtype, shape, device))
        self.__class__ = self.cls_to_become
        self._d, self._m, self._s, self._n = made._d, made._m, made._s, None
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad=True):
        if not requires_grad:
            self._n = None
        elif self._n is None:
            if not self.dtype.is_floating_point:
                raise DTypeError(f"only floating-point parameters require grad, got {self.dtype!r}")
            self._n = Leaf()
            self._n.label = self._label
        return self

    def _move(self, device=None, dtype=None):
        found = object.__new__(type(self))
        found._n = None
        state = found.__dict__
        state.update(self.__dict__)
        state["_dtype"] = self.dtype if dtype is None else dtypes.as_dtype(dtype)
        state["_device"] = self.device if device is None else resolve(device)
        return found.requires_grad_(self.requires_grad)

    def to(self, *args, **kwargs):
        for value in (*args, *kwargs.values()):
            if isinstance(value, (str, Device, int)) and not isinstance(value, bool):
                kwargs.setdefault("device", value)
            elif isinstance(value, dtypes.dtype):
                kwargs.setdefault("dtype", value)
        return self._move(kwargs.get("device"), kwargs.get("dtype"))

    def share_memory_(self):
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters before "
            "calling `module.share_memory()`."
        )

    def cpu(self):
        return self._move("cpu")

    def cuda(self, device=None, non_blocking=False):
        return self._move("cuda" if device is None else device)

    def float(self):
        return self._move(dtype=dtypes.float32)

    def double(self):
        return self._move(dtype=dtypes.float64)

    def type(self, dtype):
        return self._move(dtype=dtype)

    def is_floating_point(self):
        return self.dtype.is_floating_point

    def is_complex(self):
        return False

    def detach(self):
        return self

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo):
        known = memo.get(id(self))
        if known is None:
            known = memo[id(self)] = self._move()
            known.__dict__.update(copy.deepcopy({k: v for k, v in self.__dict__.items() if k[0] != "_"}, memo))
        return known

    def __reduce_ex__(self, protocol):
        extra = {key: value for key, value in self.__dict__.items() if not key.startswith("_")}
        return _rebuild_uninitialized, (type(self), self.requires_grad, str(self.device), self.dtype, extra)


def _rebuild_uninitialized(cls, requires_grad, device, dtype, extra):
    if issubclass(cls, Parameter):
        found = cls(requires_grad=requires_grad, device=device, dtype=dtype)
    else:
        found = cls(device=device, dtype=dtype)
    found.__dict__.update(extra)
    return found


def _uninitialized(cls, requires_grad, device, dtype):
    self = object.__new__(cls)
    self._n = None
    self.__dict__["_dtype"] = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    self.__dict__["_device"] = default() if device is None else resolve(device)
    return self.requires_grad_(requires_grad)


class UninitializedParameter(_Uninitialized, Parameter):
    """A Parameter whose shape is not known yet; `materialize` makes it a `Parameter`."""

    __slots__ = ()

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device=None, dtype=None):
        return _uninitialized(cls, requires_grad, device, dtype)


class UninitializedBuffer(_Uninitialized, Tensor):
    """A buffer whose shape is not known yet; `materialize` makes it a tensor."""

    __slots__ = ()

    __torch_function__ = cast(Any, _disabled_torch_function_impl)

    _label = None
    cls_to_become = Tensor

    def __new__(cls, requires_grad: bool = False, device=None, dtype=None, persistent: bool = True):
        self = _uninitialized(cls, requires_grad, device, dtype)
        self.__dict__["persistent"] = persistent
        self.__dict__["_is_buffer"] = True
        return self


def is_lazy(tensor) -> bool:
    """Whether ``tensor`` is an uninitialised parameter or buffer."""
    return isinstance(tensor, _Uninitialized)


def empty_parameter(shape, device=None, dtype=None) -> Parameter:
    """An uninitialised Parameter, of the default dtype on the default device unless told otherwise."""
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    return Parameter(empty_tensor(meta(d, integers("empty", "size", shape), resolve(device))))


def factory_kwargs(kwargs):
    """``kwargs`` as arguments of functions that make tensors: ``device``, ``dtype``, ``memory_format``, and those in its own
    entry ``factory_kwargs``. Raises TypeError for others and for one that is there twice."""
    if kwargs is None:
        return {}
    direct = {name: value for name, value in kwargs.items() if name != "factory_kwargs"}
    unexpected = direct.keys() - {"device", "dtype", "memory_format"}
    if unexpected:
        raise TypeError(f"unexpected kwargs {unexpected}; expected device, dtype and memory_format")
    inner = kwargs.get("factory_kwargs", {})
    for name in direct.keys() & inner.keys():
        raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
    return {**inner, **direct}
