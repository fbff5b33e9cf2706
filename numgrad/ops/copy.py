"""Copies and casts: every one is the pointwise program ``out = x`` over strided operands."""

import builtins

import numpy as np

from .. import config, dtypes
from ..autograd import Leaf, is_inference_mode_enabled
from ..device import CPU, META, resolve
from ..inplace import check_inplace, rebase, refuse_inference, written
from ..layout import (
    broadcast_shapes,
    channels_last,
    channels_last_3d,
    contiguous_format,
    contiguous_strides,
    dense_strides,
    in_format,
    integers,
    is_dense,
    preserve_format,
)
from ..op import (
    ENTRIES,
    as_operand,
    as_tensor_operand,
    cast_gradient,
    function,
    method,
    note_loss,
    plain,
    record,
    recording,
    sum_to,
)
from ..plans import build_plan
from ..storage import Meta, Storage, meta, same_memory, strided_meta
from ..storages import elements
from ..structured import structured
from ..tensor import Tensor, alias, empty_tensor, from_array, inference_storage, lay, make, root_of, storage_of
from . import uninitialized


def _identity(input):
    return input


class _Copies:
    """Plans and kernels of copies, by the metas of source and target."""

    name = "copy"

    def __init__(self):
        self.kernels: dict = {}
        self.plans: dict = {}


_copies = _Copies()
config._on_change.append(_copies.plans.clear)


def copy_plan(source: Meta | str, target: Meta):
    """The plan that copies a tensor of meta ``source`` (or a number: its slot's letter) into one of meta ``target``."""
    key = source, target
    plan = _copies.plans.get(key)
    if plan is None:
        if len(_copies.plans) > 1 << 14:
            _copies.plans.clear()
        plan = _copies.plans[key] = build_plan(
            _copies, "copy", _identity, [("input", source)], [("out", target)], target.dtype, tuple(target.shape),
            target.device,
        )  # fmt: skip
    return plan


def write(source, target: Tensor) -> None:
    """Copy ``source`` (a Tensor on the target's device, or a number), broadcast, into ``target``'s memory, unrecorded."""
    number = not isinstance(source, Tensor)
    if number:
        source = source.item() if isinstance(source, np.generic) else source
        if source:
            dtypes.check_number("fill_", source, target._m.dtype)
        if not dtypes.fits_slot(source):
            source = dtypes.slot_number("fill_", source, target._m.dtype.kind != "i")
    plan = copy_plan(("r" if isinstance(source, float) else "i") if number else source._m, target._m)
    slots = [source if number else source._d, target._d]
    if plan.geometry is not None:
        slots.append(plan.geometry)
    plan.call(plan.kernel, *slots, 0, plan.end)


def zero(tensor: Tensor) -> Tensor:
    """``tensor`` itself, filled with zeros, unrecorded."""
    write(0, tensor)
    return tensor


def to_device(tensor: Tensor, device) -> Tensor:
    """A copy of the data on another device, in the same order in memory, unrecorded."""
    tensor = plain(tensor)
    m = tensor._m
    if not is_dense(m.shape, m.strides):
        tensor = contiguous_copy(tensor)
        m = tensor._m
    m = strided_meta(m.dtype, m.shape, m.strides, device)
    source = tensor._d if tensor._m.device is CPU or device is META else tensor._m.device.backend.copy_to_host(tensor._d)
    return make(source if device is CPU else device.backend.copy_to_device(source, device), m)


def like(op, m, dtype, device, memory_format=None):
    """The meta of a tensor as `Meta` ``m``, without gaps: in the format asked for, else in the order of ``m``."""
    if memory_format is not None and memory_format is not preserve_format:
        return strided_meta(dtype, m.shape, memory_format.strides(op, m.shape), device)
    if m.contiguous:
        return meta(dtype, m.shape, device)
    strides = m.strides if is_dense(m.shape, m.strides) else dense_strides(m.shape, m.strides)
    return strided_meta(dtype, m.shape, strides, device)


@structured(install=(), cases="layouts", grad_name="CloneBackward0")
def contiguous_copy(input):
    """The values in fresh, row-major memory."""
    m = input._m
    out = empty_tensor(meta(m.dtype, m.shape, m.device))
    write(input, out)
    return out


@contiguous_copy.backward
def _(g):
    return g


def laid_out(tensor, strides) -> Tensor:
    """The values in fresh memory with these strides, or row-major where they are None, unrecorded."""
    m = tensor._m
    if strides is None or len(strides) != m.ndim or not is_dense(m.shape, strides):
        out = empty_tensor(meta(m.dtype, m.shape, m.device))
    else:
        out = empty_tensor(strided_meta(m.dtype, m.shape, strides, m.device))
    write(tensor, out)
    return out


@structured(install=("ng", "Tensor"), cases="layouts")
def clone(input, *, memory_format=None):
    """A copy with memory of its own, recorded, in the order of dimensions that ``input`` has in memory."""
    m = input._m
    out = empty_tensor(like("clone", m, m.dtype, m.device, memory_format))
    write(input, out)
    return out


@clone.backward
def _(g):
    return g


@structured(install=(), cases="cast", grad_name="ToCopyBackward0")
def to_dtype(input, *, dtype, memory_format=None):
    """The values converted to ``dtype``, in fresh memory."""
    out = empty_tensor(like("to", input._m, dtype, input._m.device, memory_format))
    write(input, out)
    return out


@to_dtype.backward
def _(g, input_meta):
    return cast_gradient(g, input_meta.dtype)


@structured(install=(), complex=True, cases="none", grad_name="ToCopyBackward0")
def to_other_device(input, *, device):
    """The values on another device."""
    return to_device(input, device)


@to_other_device.backward
def _(g, input_meta):
    return to_other_device(g, input_meta.device)


@structured(install=(), cases="none", grad_name="CopyBackwards")
def _copy_into(target, source):
    """The history of `copy_`: the target's old values do not matter."""
    return target


@_copy_into.backward
def _(g, target_meta, source_meta):
    m = target_meta
    nothing = zero(empty_tensor(meta(m.dtype, m.shape, m.device)))
    return nothing, None if source_meta is None else sum_to(g, source_meta)


@method
def contiguous(self, memory_format=None) -> Tensor:
    """The tensor itself if it is row-major (or in ``memory_format``), else a copy."""
    if memory_format is None or memory_format is contiguous_format:
        return self if self._m.contiguous else contiguous_copy(self)
    if memory_format is preserve_format:
        raise RuntimeError("contiguous: preserve memory format is unsupported by the contiguous operator")
    return _in_format(self, memory_format)


def _in_format(tensor, memory_format):
    """The tensor itself if it lies in ``memory_format`` or that is no request, else a copy that does."""
    if memory_format is None or memory_format is preserve_format:
        return tensor
    if in_format(memory_format, tensor._m.shape, tensor._m.strides):
        return tensor
    return clone(tensor, memory_format=memory_format)


@method
def copy_(self, src, non_blocking=False) -> Tensor:
    """Write ``src``, broadcast and converted, into this tensor."""
    src = as_operand("copy_", src)
    if not isinstance(src, Tensor):
        src = from_array(np.asarray(src))
    if self._m.batched or src._m.batched:
        return ENTRIES["batched_copy"](self, src)
    check_inplace("copy_", self, src)
    shape = broadcast_shapes("copy_", self._m.shape, src._m.shape)
    if shape != self._m.shape:
        raise RuntimeError(
            f"copy_: output with shape {list(self._m.shape)} doesn't match the broadcast shape {list(shape)}"
        )
    note_loss(src._m.dtype, self._m.dtype)
    track = recording((self, src)) and self._m.dtype.differentiable
    source = plain(src)
    if source._m.device != self._m.device:
        source = to_device(source, self._m.device)
    if same_memory(source._s, self._s) and not (source._m is self._m and source._d is self._d):
        source = contiguous_copy(source)
    write(source, self)
    written(self, "copy_")
    if track:
        rebase(self, record(_copy_into.op, (self, src), self, {}))
    return self


@method
def fill_(self, value) -> Tensor:
    """Set every element to a number or a 0-d tensor."""
    value = as_operand("fill_", value)
    if isinstance(value, complex):
        dtypes.check_number("fill_", value, self._m.dtype)
        value = from_array(self._m.dtype.encode(np.array(value if self._m.dtype.kind in "bc" else value.real)))
    if self._m.batched and not isinstance(value, Tensor):
        value = from_array(np.asarray(value))
    if isinstance(value, Tensor):
        if value._m.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value._m.ndim} dimensions."
            )
        return copy_(self, value)
    check_inplace("fill_", self)
    track = recording((self,))
    write(value, self)
    written(self, "fill_")
    if track:
        rebase(self, record(_copy_into.op, (self, None), self, {}))
    return self


@function
def fill(input, value) -> Tensor:
    """A copy of ``input``'s shape with every element set to a number or a 0-d tensor."""
    return fill_(clone(as_tensor_operand("fill", input, "input")), value)


@method
def zero_(self) -> Tensor:
    """Set every element to 0."""
    return fill_(self, 0)


@method(name="to")
def to(self, *args, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None) -> Tensor:
    """The tensor in another dtype, on another device, or both; itself if nothing changes (unless ``copy``)."""
    for arg in args:
        if isinstance(arg, dtypes.dtype) or arg in (float, int, bool, complex):
            dtype = dtypes.as_dtype(arg)
        elif isinstance(arg, Tensor):
            dtype, device = arg._m.dtype, arg._m.device
        elif arg is not None and not isinstance(arg, bool):  # a bool is non_blocking
            device = arg
    if len(args) > 1 and builtins.type(args[-1]) is bool and builtins.type(args[-2]) is bool:
        non_blocking, copy = args[-2:]
    found = self
    if device is not None:
        device = resolve(device)
        if device != self._m.device:
            found = to_other_device(found, device)
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype)
        if dtype is not found._m.dtype:
            note_loss(found._m.dtype, dtype)
            found = to_dtype(found, dtype, memory_format)
    if copy and found is self:
        return clone(self, memory_format=memory_format)
    if memory_format is not None and memory_format.ndim is not None:  # gaps stay, strides of single elements do not
        return found if found._m.last is memory_format else clone(found, memory_format=memory_format)
    return _in_format(found, memory_format)


def _converter(name, d):
    def convert(self, memory_format=None) -> Tensor:
        if self._m.dtype is d:
            return _in_format(self, memory_format)
        note_loss(self._m.dtype, d)
        return to_dtype(self, d, memory_format)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The tensor as {d.name}."
    return convert


for _name, _dtype in (("float", dtypes.float32), ("double", dtypes.float64), ("long", dtypes.int64),
                      ("int", dtypes.int32), ("short", dtypes.int16), ("char", dtypes.int8), ("byte", dtypes.uint8),
                      ("bool", dtypes.bool_), ("half", dtypes.float16), ("bfloat16", dtypes.bfloat16), ("cfloat", dtypes.complex64), ("chalf", dtypes.complex32),
                      ("cdouble", dtypes.complex128)):  # fmt: skip
    method(_converter(_name, _dtype))


@method
def cpu(self, memory_format=None) -> Tensor:
    """The tensor on the CPU."""
    return to(self, device="cpu")


@method
def cuda(self, device=None, non_blocking=False, memory_format=None) -> Tensor:
    """The tensor on a CUDA device."""
    return to(self, device="cuda" if device is None else device)


@method
def type(self, dtype: dtypes.dtype | str | None = None, non_blocking=False):
    """The tensor converted to ``dtype``; without an argument, the name of its type."""
    if dtype is None:
        return f"torch.{self._m.dtype.scalar_type}Tensor"
    dtype = dtypes.get_default_dtype() if dtype is Tensor else getattr(dtype, "dtype", dtype)  # FloatTensor and its kin
    if isinstance(dtype, str):
        short = dtype.rsplit(".", 1)[-1]
        dtype = next((d for d in dtypes.ALL if f"{d.scalar_type}Tensor" == short), dtype)
    return to(self, dtype=dtypes.as_dtype(dtype))


@method
def type_as(self, other) -> Tensor:
    """The tensor in the dtype and on the device of ``other``."""
    other = as_tensor_operand("type_as", other, "other")
    return to(self, dtype=other._m.dtype, device=other._m.device)


@method
def resize_(self, *sizes, size=None, memory_format=None) -> Tensor:
    """Change the shape in place, row-major or as ``memory_format`` says; a tensor of that shape stays as it is. Elements
    of the storage, from the tensor's first on, are kept as far as they reach; new ones are uninitialised.

    Raises RuntimeError for negative sizes, and where memory that belongs to others would have to grow.
    """
    shape = integers("resize_", "size", size if size is not None else sizes[0] if len(sizes) == 1 else sizes)
    if self._n is not None and not is_inference_mode_enabled():
        raise RuntimeError("cannot resize variables that require grad")
    m = meta(self._m.dtype, shape, self._m.device)
    if memory_format is not None and memory_format is not contiguous_format:
        if memory_format is preserve_format:
            raise RuntimeError("resize_: Unsupported memory format preserve_format; name the one that is wanted")
        m = strided_meta(m.dtype, m.shape, memory_format.strides("resize_", m.shape), m.device)
    elif m.shape == self._m.shape:
        return self
    refuse_inference("resize_", self)
    length = m.numel if m.contiguous else m.span
    if length > len(self._d):
        root = root_of(self)
        first = self.storage_offset()
        if first + length <= len(root):  # the storage reaches beyond this view
            self._d = root[first : first + length]
        elif self._s is not None and not self._s.resizable:
            raise RuntimeError(
                f"resize_: Trying to resize storage that is not resizable: {self._m.numel} elements of an ndarray's memory "
                f"to {m.numel}"
            )
        else:
            fresh = m.empty(length, m.np)
            kept = root[first:]
            fresh[: len(kept)] = kept
            if uninitialized.fills:
                uninitialized.fill(fresh[len(kept) :], m)
            return _showing(self, "resize_", fresh, m, _fresh_storage(self))
    else:
        self._d = self._d[:length]
    return _showing(self, "resize_", self._d, m, storage_of(self))


def _fresh_storage(tensor):
    """The storage for new memory of a tensor."""
    return inference_storage() if tensor.is_inference() else Storage()


def _showing(tensor, name, data, m, storage):
    """Let a tensor show other memory; that counts as a write, since gradients that saved the tensor cannot use it."""
    if storage is not tensor._s and tensor._s is not None:
        storage.version = tensor._s.version
    tensor._d, tensor._m, tensor._s = data, m, storage
    written(tensor, name)
    if name == "set_" and tensor._n is not None and tensor._n.leaf:  # it is another leaf from now on
        tensor._n = Leaf()
    return tensor


@method
def resize_as_(self, other, memory_format=None):
    """`resize_` to the shape of ``other``, in its layout if ``memory_format`` is ``preserve_format``."""
    if memory_format is preserve_format:
        memory_format = next((f for f in (channels_last, channels_last_3d) if other.is_contiguous(memory_format=f)), None)
    return resize_(self, tuple(other._m.shape), memory_format=memory_format)


@method
def set_(self, source=None, storage_offset=0, size=None, stride=None):
    """Share ``source``'s memory from now on, that of a tensor or of a storage, with its shape or the one given.

    ``storage_offset`` counts elements from the start of the storage; ``stride`` is row-major unless given. RuntimeError
    where elements would lie outside of the storage, and for a tensor of another dtype.
    """
    refuse_inference("set_", self)
    if source is None:
        return _showing(self, "set_", np.empty(0, self._m.np), meta(self._m.dtype, (0,)), _fresh_storage(self))
    if not isinstance(source, Tensor):
        source = elements("source", source, self._m.dtype)
        size = source._m.shape if size is None else size
    if source._m.dtype is not self._m.dtype:
        raise RuntimeError(
            f"set_: Could not set tensor of type {source._m.dtype!r} to a tensor of type {self._m.dtype!r}; convert it with .to()"
        )
    if size is None:
        shared = alias(source, source._d, source._m)
    else:
        size = integers("set_", "size", size)
        stride = contiguous_strides(size) if stride is None else integers("set_", "stride", stride)
        root = root_of(source)
        shared = lay("set_", alias(source, root, meta(source._m.dtype, (len(root),), source._m.device)), storage_offset, size, stride)
    return _showing(self, "set_", shared._d, shared._m, shared._s.apart())


__all__ = ["write"]


@method
def pin_memory(self, device=None) -> Tensor:
    """A copy in page-locked host memory, from which copies to CUDA devices are fastest; ``self`` if it lies there already.

    Raises DeviceError without a CUDA driver, RuntimeError for tensors that are not on the CPU.
    """
    if self._m.device is not CPU:
        raise RuntimeError(f"cannot pin '{self._m.device}': only dense CPU tensors can be pinned")
    if self.is_pinned():
        return self
    from ..kernels import cuda

    m = self._m
    memory = np.asarray(cuda.PinnedMemory(m.numel * m.dtype.itemsize)).view(m.np)
    order = sorted(range(m.ndim), key=lambda k: -m.strides[k])  # the copy's dimensions lie as the original's
    array = memory.reshape([m.shape[k] for k in order]).transpose(np.argsort(order))
    found = from_array(array)
    write(self.detach(), found)
    return found


# --- Python functions, element by element ------------------------------------------------------------------------------


def _overwritten(name, tensor, sources, callable):
    """``tensor`` with each element replaced by what ``callable`` makes of it and of those of ``sources``, in row-major order."""
    if tensor._m.device is not CPU:
        raise TypeError(f"{name} is only implemented on CPU tensors, got one on {tensor._m.device}; call .cpu() first")
    if tensor.requires_grad:
        raise RuntimeError(
            f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
        )
    for source in sources:
        if source._m.dtype is not tensor._m.dtype or source._m.device is not CPU:
            raise TypeError(
                f"{name}: expected tensors of {tensor._m.dtype} on the CPU, got {source._m.dtype} on {source._m.device}"
            )
    for source in sources:
        if source.requires_grad:
            raise RuntimeError(f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead.")
    columns = [plain(source.expand(tensor._m.shape)).reshape(-1).tolist() for source in (tensor.detach(), *sources)]
    results = [callable(*row) for row in zip(*columns)]
    wrong = next((value for value in results if not isinstance(value, (bool, int, float, complex, np.number))), None)
    if wrong is not None:
        raise TypeError(f"{name}: the function must return numbers, got {wrong.__class__.__name__}")
    values = np.array(results, tensor._m.dtype.compute)
    return tensor.copy_(from_array(values.reshape(tensor._m.shape)))


@method
def apply_(self, callable) -> Tensor:
    """Replace each element by ``callable(element)``, one Python call each.

    Raises TypeError for tensors that are not on the CPU, RuntimeError for those that require grad.
    """
    return _overwritten("apply_", self, (), callable)


@method
def map_(self, tensor, callable) -> Tensor:
    """Replace each element by ``callable(element, element of tensor)``; ``tensor`` is broadcast and of the same dtype.

    Raises TypeError for other dtypes and devices, RuntimeError where ``self`` requires grad.
    """
    return _overwritten("map_", self, (tensor,), callable)


@method
def map2_(self, x, y, callable) -> Tensor:
    """As `map_`, with the elements of two tensors: ``callable(element, element of x, element of y)``."""
    return _overwritten("map2_", self, (x, y), callable)
