"""Tensor: storage, shape, dtype, grad, node and conversions. No maths: the op table installs methods and operators,
`gradients` installs `backward`."""

import copy as copying
import warnings
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from . import autograd, dtypes
from .autograd import Leaf, OutputNode, local, switch
from .config import warn_once
from .device import CPU, META, Device
from .errors import ExportError
from .layout import Size, in_format, inside, integer, is_dense, layout, strided
from .printing import tensor_text
from .storage import InferenceStorage, Meta, Storage, flat, pinned, segment_of, shaped, strided_meta

if TYPE_CHECKING:
    from .storages import TypedStorage, UntypedStorage

new = object.__new__


class Tensor:
    """A multi-dimensional array that records what is done to it.

    ``_d`` is the flat array that starts at the tensor's first element, ``_m`` its interned `Meta`, ``_s`` the
    `Storage` that it shares with its views (None until it is shared, written to or saved), ``_n`` its node: None if no gradient is wanted, a `Leaf` if gradients
    are accumulated here, else the `Node` of the op that made it.
    """

    __slots__ = ("_d", "_m", "_s", "_n", "__dict__", "__weakref__")

    __array_priority__ = 1000

    _base = None  # the tensor that this one is a view of
    _creation = None  # how a view came about that the recorder does not follow, and which output of it this is
    _kept_grad = None  # the gradient, for tensors that are no leaves
    _detached = 0  # when the history was forgotten in place, as a sequence number
    name = None

    def __new__(cls, *args, device=None, **kwargs):
        """``Tensor(sizes...)`` uninitialised, ``Tensor(sequence)``: of the default dtype."""
        d = dtypes.get_default_dtype()
        if not args:
            array = np.empty(0, d.np)
        elif len(args) == 1 and isinstance(args[0], Tensor):
            found = alias(args[0], args[0]._d, args[0]._m)
            return found if cls is Tensor else wrap_as(cls, found)
        elif all(isinstance(a, int) for a in args):
            array = np.empty(args, d.np)
        elif len(args) == 1 and isinstance(args[0], Size):
            array = np.empty(args[0], d.np)
        elif len(args) == 1:
            array = d.encode(np.array(args[0], dtype=d.compute))
        else:
            raise TypeError(
                "Tensor() received an invalid combination of arguments: expected sizes or one sequence, got "
                f"{len(args)} arguments; use numgrad.tensor"
            )
        return wrap_as(cls, from_array(array))

    # --- what it is ----------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return self._m.shape

    def size(self, dim: int | None = None):
        """The shape, or one dimension's size."""
        if dim is None:
            return self._m.shape
        dim, shape = integer("size", "dim", dim), self._m.shape
        if not -len(shape) <= dim < len(shape):
            raise IndexError(
                f"size: Dimension out of range (expected to be in range of [{-max(len(shape), 1)}, "
                f"{max(len(shape), 1) - 1}], but got {dim})"
            )
        return shape[dim]

    def stride(self, dim: int | None = None):
        """Steps in elements, all or one dimension's."""
        return self._m.strides if dim is None else self._m.strides[integer("stride", "dim", dim)]

    @property
    def dtype(self) -> dtypes.dtype:
        return self._m.dtype

    @property
    def device(self) -> Device:
        return self._m.device

    @property
    def ndim(self) -> int:
        return self._m.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self._m.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._m.numel

    nelement = numel

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._m.dtype.itemsize

    @property
    def itemsize(self) -> int:
        return self._m.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self._m.numel * self._m.dtype.itemsize

    @property
    def is_cuda(self) -> bool:
        return self._m.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self._m.device.type == "cpu"

    @property
    def is_meta(self) -> bool:
        return self._m.device is META

    is_sparse = is_sparse_csr = is_quantized = is_mkldnn = is_nested = False
    is_ipu = is_maia = is_mps = is_mtia = is_vulkan = is_xla = is_xpu = False

    @property
    def layout(self) -> layout:
        """How elements are stored: always ``numgrad.strided``."""
        return strided

    def get_device(self) -> int:
        """The CUDA device's number, -1 on others."""
        return -1 if self._m.device.index is None else self._m.device.index

    def is_floating_point(self) -> bool:
        return self._m.dtype.is_floating_point

    def is_signed(self) -> bool:
        return self._m.dtype.is_signed

    def is_contiguous(self, memory_format=None) -> bool:
        """Whether the elements lie without gaps in the order of ``memory_format``, row-major by default."""
        if memory_format is None:
            return self._m.contiguous
        return in_format(memory_format, self._m.shape, self._m.strides)

    def is_inference(self) -> bool:
        """Whether this was made in `inference_mode`, or is a view of what was."""
        return self._s is not None and self._s.inference

    def is_conj(self) -> bool:
        return False

    def is_neg(self) -> bool:
        return False

    def is_shared(self) -> bool:
        """Whether the data lie in memory that processes share; see `share_memory_`."""
        return self._m.device is CPU and segment_of(self._d) is not None

    def share_memory_(self):
        """Move the data, and with them all tensors that show them, into memory that processes share. Raises RuntimeError for views."""
        if self._m.device is CPU and not self.is_shared():
            storage, old = storage_of(self), self._d
            if storage.root is not None and (address(storage.root), len(storage.root)) != (address(old), len(old)):
                raise RuntimeError("share_memory_: this tensor is a view; call it on the tensor that owns the memory")
            self.untyped_storage().share_memory_()
        return self

    def is_pinned(self, device=None) -> bool:
        """Whether the data lie in page-locked host memory; see `pin_memory`."""
        return self._m.device is CPU and pinned(self._d)

    def data_ptr(self) -> int:
        """The address of the first element; 0 for a tensor that is empty or has no memory."""
        return address(self._d) if self._m.numel and self._m.device is not META else 0

    def storage_offset(self) -> int:
        """How many elements the first one lies behind the start of the storage."""
        root = storage_of(self).root
        if root is None or root is self._d:
            return 0
        return (address(self._d) - address(root)) // self._m.dtype.itemsize

    def untyped_storage(self) -> "UntypedStorage":
        """The memory that this tensor shares with its views, as bytes."""
        from .storages import storage_behind

        return storage_behind(cast(Any, self))

    def storage(self) -> "TypedStorage":
        """The memory that this tensor shares with its views, as elements of its dtype."""
        from .storages import typed

        return typed(self.untyped_storage(), self._m.dtype)

    def storage_type(self) -> type["TypedStorage"]:
        """The class of storages of the tensor's dtype."""
        from .storages import CLASSES

        return CLASSES[self._m.dtype]

    def _typed_storage(self) -> "TypedStorage":
        return self.storage()

    def _is_view(self) -> bool:
        """Whether this is a view whose base the recorder knows."""
        return self._base is not None

    @property
    def _version(self) -> int:
        if self._s is not None and self._s.inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        return 0 if self._s is None else self._s.version

    @property
    def _cdata(self) -> int:
        """A number for what this tensor is, which `utils.swap_tensors` exchanges."""
        return id(self.__dict__)

    # --- the recorder --------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        if self._n is not None:
            return True
        base = self._base if self._creation is not None else None  # a view made in `no_grad` needs what its base needs
        return base is not None and base._n is not None

    @requires_grad.setter
    def requires_grad(self, wanted):
        self.requires_grad_(wanted)

    @requires_grad.deleter
    def requires_grad(self):
        raise RuntimeError("cannot delete requires_grad of a tensor; call requires_grad_(False)")

    def requires_grad_(self, requires_grad: bool = True):
        """Record what is done to this leaf from now on, or stop doing so."""
        n = self._n
        if n is not None and not n.leaf:
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed "
                    "variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            return self
        if requires_grad and n is None:
            if self.is_inference() and not local.inference:
                raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
            if not self._m.dtype.differentiable:
                raise RuntimeError(
                    f"only Tensors of floating point dtype can require gradients, got {self._m.dtype!r}; convert with "
                    ".float() first"
                )
            leaf = self.__dict__.pop("_leaf", None) or Leaf()  # the former one: graphs that lead to it still do
            leaf.grad = self.__dict__.pop("_kept_grad", None)
            leaf.strides = _gradient_strides(self._m)
            self._n = leaf
        elif not requires_grad and n is not None:
            if n.grad is not None:
                self.__dict__["_kept_grad"] = n.grad
                n.grad = None  # what a graph still sends there is dropped
            self.__dict__["_leaf"], self._n = n, None
        return self

    @property
    def is_leaf(self) -> bool:
        n = self._n
        return n is None or n.leaf

    @property
    def grad(self) -> "Tensor | None":
        """The accumulated gradient, or None."""
        n = self._n
        if n is not None and n.leaf:
            return n.grad
        found = self._kept_grad
        if found is None and n is not None and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
                "populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf "
                "Tensor, use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure "
                "you access the leaf Tensor instead.",
                stacklevel=2,
            )
        return found

    @grad.setter
    def grad(self, value):
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}")
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._m.shape != self._m.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: expected {list(self._m.shape)}, got "
                    f"{list(value._m.shape)}"
                )
            if value._m.dtype is not self._m.dtype or value._m.device != self._m.device:
                raise RuntimeError(
                    f"assigned grad has data of a different type: expected {self._m.dtype!r} on {self._m.device}, got "
                    f"{value._m.dtype!r} on {value._m.device}"
                )
        n = self._n
        if n is not None and n.leaf:
            n.grad = value
        else:
            self.__dict__["_kept_grad"] = value

    @grad.deleter
    def grad(self):
        self.grad = None

    @property
    def _grad(self) -> "Tensor | None":
        """``grad``, without the warning for tensors that are no leaves."""
        n = self._n
        return n.grad if n is not None and n.leaf else self._kept_grad

    @_grad.setter
    def _grad(self, value):
        self.grad = value

    @property
    def grad_fn(self):
        n = self._n
        if n is not None and n.refusal is not None:
            raise RuntimeError(n.refusal)
        return None if n is None or n.leaf else n.next[0] if type(n) is OutputNode else n

    @property
    def _backward_hooks(self) -> dict | None:
        """The hooks on this tensor by their numbers, None without any."""
        n = self._n
        return None if n is None or n.hooks is None else n.hooks.tensor or None

    @_backward_hooks.deleter
    def _backward_hooks(self):
        raise RuntimeError("cannot delete _backward_hooks of a tensor; call remove() of their handles")

    @property
    def _grad_fn(self):
        """`grad_fn` under the name that it has in the recorder."""
        return self.grad_fn

    @_grad_fn.setter
    def _grad_fn(self, value):
        if value is not None:
            raise TypeError(f"_grad_fn can be only set to None, not to {type(value).__name__}; detach_() does that")
        self.detach_()

    @_grad_fn.deleter
    def _grad_fn(self):
        raise RuntimeError("cannot delete _grad_fn of a tensor; call detach_()")

    @property
    def output_nr(self) -> int:
        return getattr(self._n, "output_nr", 0)

    @property
    def retains_grad(self) -> bool:
        n = self._n
        return n is not None and not n.leaf and bool(self.__dict__.get("_retains_grad"))

    def retain_grad(self) -> None:
        """Keep ``.grad`` also though this is no leaf."""
        n = self._n
        if n is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if n.leaf or self.__dict__.get("_retains_grad"):
            return
        self.__dict__["_retains_grad"] = True
        reference = weakref.ref(self)

        def keep(gradient):
            tensor = reference()
            if tensor is not None:
                held = tensor._kept_grad
                tensor.__dict__["_kept_grad"] = gradient if held is None else autograd.engine.add(held, gradient)

        n.retain(keep)

    def register_hook(self, hook):
        """Call ``hook(grad)`` when the gradient of this tensor is computed; it may return a replacement."""
        n = self._n
        if n is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        return n.register_tensor_hook(hook)

    def register_post_accumulate_grad_hook(self, hook):
        """Call ``hook(tensor)`` after a gradient was added to this leaf's ``.grad``."""
        n = self._n
        if n is None or not n.leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        n.tensor = weakref.ref(self)
        return n.register_accumulated_hook(hook)

    @staticmethod
    def _make_subclass(cls, data, require_grad=False):
        """An instance of the subclass ``cls`` over the memory of ``data``, without its history."""
        return wrap_as(cls, data.detach()).requires_grad_(require_grad)

    def detach(self) -> "Tensor":
        """This tensor's data without its history; shares memory and version."""
        return alias(self, self._d, self._m)

    def module_load(self, other, assign=False) -> "Tensor":
        """What ``load_state_dict`` puts in the place of this tensor for the loaded ``other``, where
        ``__future__.set_swap_module_params_on_conversion(True)``: this one with the values of the other, or with ``assign``
        the other one. Subclasses may redefine it."""
        return other.detach() if assign else self.copy_(other).detach()

    def detach_(self):
        """Forget the history."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        n = self._n
        if n is not None and not n.leaf:
            self._n = None
            self.__dict__["_detached"] = switch.last_write = autograd.next_seq()
        elif n is not None:
            self.requires_grad_(False)
        return self

    @property
    def data(self) -> "Tensor":
        """The data as a tensor that is not recorded. Writes to it are not noticed by gradients that need the old values;
        in `detect_anomaly` they are."""
        found = alias(self, self._d, self._m)
        if local.anomaly:
            found.__dict__["_writer"] = ".data"
        else:
            found._s = found._s.apart()
        return found

    @data.setter
    def data(self, value):
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._n is not None and not value._m.dtype.differentiable:
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        before, m = storage_of(self), self._m
        shared = alias(value, value._d, value._m)
        self._d, self._m, self._s = shared._d, shared._m, shared._s.apart()
        if type(self._n) is Leaf:
            self._n.strides = _gradient_strides(self._m)
        storage = self._s
        storage.version, storage.modified, storage.writer = before.version, before.modified, before.writer
        fitting = self.__dict__.pop("_fitting", None)  # the meta that gradients expect, and the record of writes to it
        if fitting is not None and fitting[0] is value._m and not local.anomaly:
            _, storage.modified, storage.writer = fitting
        elif value._m is not m or local.anomaly:  # gradients that saved this tensor cannot use what it is now
            self.__dict__["_fitting"] = fitting or (m, before.modified, before.writer)
            storage.modified = switch.last_write = autograd.next_seq()
            storage.writer = ".data"

    @data.deleter
    def data(self):
        raise RuntimeError("Deleting tensor data is not allowed. Delete tensor instead!")

    # --- values --------------------------------------------------------------------------------------------------

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """An ndarray over the same memory."""
        if self._n is not None and autograd.is_grad_enabled():
            if not force:
                raise RuntimeError(
                    "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
                )
        if self._m.device is not CPU:
            if not force:
                raise TypeError(
                    f"can't convert {self._m.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
                    "to host memory first."
                )
            return self.detach().cpu().numpy()
        if self._m.dtype.encoded:
            raise TypeError(
                f"numpy(): Got unsupported ScalarType {self._m.dtype.scalar_type}; NumPy has no such dtype, use .float() or .cfloat() first"
            )
        storage_of(self).resizable = False  # the ndarray would not notice
        return shaped(self._d, self._m)

    def _host(self) -> np.ndarray:
        """An ndarray of the values, on the host; float32 for bfloat16, which NumPy does not have."""
        if self._m.device is CPU:
            return self._m.dtype.decode(shaped(self._d, self._m))
        return self.detach().cpu()._host()

    def _stored(self) -> np.ndarray:
        """An ndarray over the elements as they are stored, on the host."""
        return shaped((self if self._m.device is CPU else self.detach().cpu())._d, self._m)

    def item(self):
        """The one element as a Python number."""
        if self._m.numel != 1:
            raise RuntimeError(f"a Tensor with {self._m.numel} elements cannot be converted to Scalar")
        if self._m.device is CPU and not self._m.dtype.encoded:
            return self._d.item(0)
        if self._m.device is META:
            raise RuntimeError(
                "Tensor.item() cannot be called on meta tensors: they have no values, so that nothing can be decided on them"
            )
        return self._host().item()

    def tolist(self):
        """The elements as nested lists of Python numbers."""
        return self._host().tolist()

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(self, array, context=None, return_scalar=False) -> "Tensor":
        array = np.asarray(array)
        return from_array(array.astype(np.uint8) if array.dtype == np.bool_ else array)  # PyTorch's answer to NumPy's comparisons

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """A DLPack capsule over the memory, or over a copy's with ``copy=True``."""
        if stream is not None and type(stream) is not int:
            raise TypeError(f"__dlpack__: stream must be int or none, got {stream!r:.80}")
        if self.requires_grad:
            raise ExportError("Can't export tensors that require gradient, use tensor.detach()")
        if dl_device is not None and tuple(map(int, dl_device)) != self.__dlpack_device__():
            raise BufferError(f"__dlpack__: the tensor is on {self._m.device}, not on DLPack's device {tuple(dl_device)}; use .to()")
        m, data = self._m, self._d.copy() if copy else self._d
        shape, strides = tuple(m.shape), tuple(1 if n < 2 else step for n, step in zip(m.shape, m.strides))
        if m.device is META:
            raise BufferError("__dlpack__: a meta tensor has no memory to share")
        if m.device is CPU:
            from .kernels.dlpack import capsule

            if stream not in (None, -1):
                raise ExportError(f"__dlpack__: memory on the CPU has no streams, got stream {stream}")
            return capsule(data, address(data) if m.numel else 0, m.np, shape, strides)
        return data.shaped_capsule(shape, strides, stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        if self._m.device is META:
            raise ValueError("Unknown device type meta for Dlpack: a meta tensor has no memory to share")
        return (1, 0) if self._m.device is CPU else (2, self._m.device.index)

    def __dir__(self):
        found = sorted(super().__dir__())
        if not self.is_cuda or self.requires_grad:
            found.remove("__cuda_array_interface__")
        return found

    @property
    def __cuda_array_interface__(self) -> dict:
        """How CuPy, Numba and others take a CUDA tensor's memory without a copy (version 3 of the interface)."""
        m = self._m
        if not self.is_cuda:
            raise AttributeError(
                f"Can't get __cuda_array_interface__ on a {m.device.type.upper()} tensor; use tensor.cuda() to copy it to device memory"
            )
        if self.requires_grad:
            raise RuntimeError("Can't get __cuda_array_interface__ on a tensor that requires grad; use tensor.detach()")
        steps = None if m.contiguous else tuple(step * m.dtype.itemsize for step in m.strides)
        return self._d.__cuda_array_interface__ | {"shape": tuple(m.shape), "strides": steps}

    def __bool__(self) -> bool:
        if self._m.numel != 1:
            if self._m.numel == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous; use .any() or .all()")
        return bool(self.item())

    def _number(self):
        if self._m.numel != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        if self._n is not None and autograd.is_grad_enabled():
            warn_once(
                "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
                "Consider using tensor.detach() first.",
                stacklevel=4,
            )
        return self.item()

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self.item() if self._m.numel == 1 else self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def __index__(self) -> int:
        if self._m.numel != 1 or self._m.dtype.differentiable:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        if self._m.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self._m.shape[0]

    __hash__ = object.__hash__

    def __contains__(self, element) -> bool:
        if isinstance(element, (Tensor, int, float, bool)):
            return bool((element == self).any())
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")

    def __iter__(self) -> "Iterator[Tensor]":
        if self._m.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __reversed__(self) -> "Tensor":
        return self.flip(0) if self._m.ndim else self

    def __repr__(self, *, tensor_contents=None) -> str:
        suffixes = []
        m = self._m
        if m.device is not CPU:
            suffixes.append(f"device='{m.device}'")
        n = self._n
        if n is not None:
            suffixes.append("requires_grad=True" if n.leaf else f"grad_fn=<{n.name}>")
            level = autograd.local.level
            tangent = None if level is None else level.tangent(self)
            if tangent is not None:
                suffixes.append(f"tangent={tangent}")
        kind = type(self).__name__
        values = m.shape if m.device is META else self._host()
        if kind in _PLAIN_KINDS:
            return tensor_text(values, m.dtype.name, suffixes)
        text = tensor_text(values, m.dtype.name, suffixes, kind=kind)
        return f"Parameter({text})" if getattr(self, "_is_param", False) else text

    def __format__(self, spec) -> str:
        if self._m.ndim == 0 and type(self) is Tensor:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __copy__(self) -> "Tensor":
        """A leaf that shares the data, without the gradient."""
        copy = alias(self, self._d, self._m)
        copy = wrap_as(type(self), copy) if type(self) is not Tensor else copy
        copy.__dict__.update(attributes(self))
        return copy.requires_grad_(self.requires_grad)

    def __deepcopy__(self, memo) -> "Tensor":
        if id(self) in memo:
            return memo[id(self)]
        if self._n is not None and not self._n.leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                "moment; use .detach().clone()"
            )
        copy = copied_storage(self, memo)
        copy = wrap_as(type(self), copy) if type(self) is not Tensor else copy
        memo[id(self)] = copy
        if self._n is not None:
            copy._n = Leaf()
        if self.grad is not None:
            copy.grad = self.grad.__deepcopy__(memo)
        for key, value in attributes(self).items():
            copy.__dict__[key] = copying.deepcopy(value, memo)
        if type(self) is not Tensor:
            for key, value in slots_of(self).items():
                setattr(copy, key, copying.deepcopy(value, memo))
        return copy

    def __reduce_ex__(self, protocol):
        extra, m = attributes(self), self._m
        if m.device is META:
            return _rebuild_meta, (type(self), m.dtype, tuple(m.shape), m.strides, self.requires_grad, extra)
        array = np.array(self._stored())
        return _rebuild, (type(self), array, str(self.device), self.requires_grad, extra)

    def __setstate__(self, state) -> None:
        set_attributes(self, state)


def _rebuild(cls, array, device, requires_grad, extra):
    tensor = from_array(array)
    if device != "cpu":
        tensor = tensor.to(device)
    return _as_it_was(cls, tensor, requires_grad, extra)


def _rebuild_meta(cls, d, shape, strides, requires_grad, extra):
    return _as_it_was(cls, empty_tensor(strided_meta(d, shape, strides, META)), requires_grad, extra)


def _as_it_was(cls, tensor, requires_grad, extra):
    if cls is not Tensor:
        tensor = wrap_as(cls, tensor)
    tensor.__dict__.update(extra)
    return tensor.requires_grad_(requires_grad)


_PLAIN_KINDS = ("Tensor", "Parameter")  # whose text does not name their class


# --- the user's attributes ---------------------------------------------------------------------------------------

# What the library itself keeps in a tensor's ``__dict__``.
_OWN = frozenset(("_base", "_kept_grad", "_leaf", "_retains_grad", "_writer", "_label"))


def attributes(tensor: Tensor) -> dict:
    """The attributes that the user set on the tensor."""
    return {name: value for name, value in tensor.__dict__.items() if name not in _OWN}


def slots_of(tensor: Tensor) -> dict:
    """What is in the slots of a subclass of Tensor, beyond Tensor's own."""
    found: list[str] = []
    kind = type(tensor)
    for base in kind.__mro__[: kind.__mro__.index(Tensor)]:
        names = base.__dict__.get("__slots__", ())
        found += [names] if isinstance(names, str) else list(names)
    return {name: getattr(tensor, name) for name in found if name not in ("__dict__", "__weakref__") and hasattr(tensor, name)}


def set_attributes(tensor: Tensor, state) -> Tensor:
    """``tensor`` with the attributes in ``state``: a dict, or a tuple of one and of a dict of slots.

    ValueError for names that mean something else on every tensor.
    """
    given = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    for names, slots in zip(given, (False, True)):
        for name, value in (names or {}).items():
            known = getattr(type(tensor), name, None) if isinstance(name, str) else property()
            if name in _OWN or name.startswith("__") or name in Tensor.__slots__:
                raise ValueError(f"a tensor with the attribute {name!r}")
            if slots:
                setattr(tensor, name, value)
            elif isinstance(known, property) or callable(known):
                raise ValueError(f"a tensor with the attribute {name!r}")
            else:
                tensor.__dict__[name] = value
    return tensor


def _gradient_strides(m: Meta):
    """The strides of the gradient that a leaf of meta ``m`` accumulates: its own if it is dense; None: row-major."""
    return m.strides if not m.contiguous and is_dense(m.shape, m.strides) else None


# --- making tensors ----------------------------------------------------------------------------------------------


def address(data) -> int:
    """The address of a flat array's first element."""
    interface = getattr(data, "__array_interface__", None)
    return data.ptr if interface is None else interface["data"][0]


def make(data, m: Meta) -> Tensor:
    """A new tensor over memory of its own."""
    tensor = new(Tensor)
    tensor._d, tensor._m, tensor._s, tensor._n = data, m, None, None
    if switch.anywhere and local.block is not None:
        tensor._s = inference_storage()
    return tensor


def inference_storage() -> InferenceStorage:
    """The storage of a tensor that is being made in `inference_mode`."""
    storage = InferenceStorage()
    storage.block = local.block
    return storage


def follow(found: Tensor, tensor: Tensor, storage: Storage) -> None:
    """Note that ``found`` is a view of ``tensor``, over ``storage``, so that the recorder follows writes through both."""
    base = tensor._base
    fields = found.__dict__
    fields["_base"] = tensor if base is None else base
    if tensor._creation is not None:
        fields["_creation"] = tensor._creation
    elif not local.enabled:
        fields["_creation"] = ("inference_mode" if local.inference else "no_grad", 0)
    if not storage.views:
        storage.views = []
    elif len(storage.views) >= 32 and len(storage.views) & (len(storage.views) - 1) == 0:
        storage.views = [reference for reference in storage.views if reference() is not None]
    storage.views.append(weakref.ref(found))


def storage_of(tensor: Tensor) -> Storage:
    """The tensor's storage record, made now if it has none yet."""
    storage = tensor._s
    if storage is None:
        storage = tensor._s = Storage()
    return storage


def empty_tensor(m: Meta) -> Tensor:
    """A new, uninitialised tensor."""
    return make(m.empty(m.numel, m.np), m)


def from_array(array: np.ndarray) -> Tensor:
    """A tensor over an ndarray's memory (copied where its layout has no strides in elements)."""
    return make(*flat(array))


def wrap_as(cls, tensor: Tensor) -> Tensor:
    """An instance of the subclass ``cls`` over the tensor's memory."""
    wrapped = new(cls)
    wrapped._d, wrapped._m, wrapped._s, wrapped._n = tensor._d, tensor._m, storage_of(tensor), tensor._n
    return wrapped


def alias(tensor: Tensor, data, m: Meta) -> Tensor:
    """An unrecorded tensor that shares ``tensor``'s storage."""
    storage = storage_of(tensor)
    if storage.root is None:
        storage.root = tensor._d
    found = new(Tensor)
    found._d, found._m, found._s, found._n = data, m, storage, None
    return found


def view(tensor: Tensor, offset: int, shape: tuple, strides: tuple, track: bool) -> Tensor:
    """A view ``offset`` elements into ``tensor``. With ``track`` the recorder follows writes through it."""
    m = tensor._m
    vm = strided_meta(m.dtype, tuple(shape), tuple(strides), m.device)
    data = tensor._d
    length = vm.numel if vm.contiguous else vm.span
    if offset or length != len(data):
        data = data[offset : offset + length]
    found = alias(tensor, data, vm)
    if track:
        follow(found, tensor, tensor._s)
    return found


def lay(op: str, root: Tensor, offset: int, shape, strides, *, begin: int = 0, count: int | None = None) -> Tensor:
    """A tensor of any sizes and strides over the memory of ``root``, which is flat: ``offset`` elements into it, or into the
    ``count`` elements from ``begin`` on. RuntimeError in the name of ``op`` unless every element lies inside."""
    shape, strides = inside(op, shape, strides, offset, len(root._d) if count is None else count, root._m.dtype.itemsize)
    return view(root, begin + offset.__index__() if 0 not in shape else 0, shape, strides, False)


def root_of(tensor: Tensor):
    """The flat array of all that the tensor's storage holds, in its own dtype."""
    storage, data = tensor._s, tensor._d
    root = data if storage is None or storage.root is None else storage.root
    if root.dtype == data.dtype:
        return root
    size = data.dtype.itemsize
    return root.view(np.uint8)[: root.nbytes // size * size].view(data.dtype)  # the storage of a view as another dtype


def copied_storage(tensor: Tensor, memo: dict) -> Tensor:
    """A copy whose ties are kept: tensors that shared a storage share the copy of it."""
    key = ("storage", id(storage_of(tensor)))
    m = tensor._m
    root = root_of(tensor)
    if key not in memo:
        fresh = root.copy()
        storage = Storage()
        storage.root = fresh
        memo[key] = (fresh, storage, tensor)  # the tensor is kept alive, so that ids stay valid
    fresh, storage, _ = memo[key]
    offset = 0 if root is tensor._d else (address(tensor._d) - address(root)) // m.dtype.itemsize
    copy = new(Tensor)
    copy._d, copy._m, copy._s, copy._n = fresh.view(m.np)[offset : offset + len(tensor._d)], m, storage, None
    return copy
