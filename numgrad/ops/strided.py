"""Views of any sizes and strides over a tensor's memory, and their gradients."""

from ..device import META
from ..layout import inside, integer, may_overlap
from ..op import function
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, address, empty_tensor, root_of, view as make_view
from .copy import clone, contiguous_copy, write, zero
from .values import from_host
from .view import install_inplace, reshape, sizes


def as_strided_view(input, size, stride, offset):
    """(offset, size, stride) relative to ``input``'s first element, checked against its storage."""
    root = root_of(input)
    here = 0 if root is input._d or not len(input._d) else (address(input._d) - address(root)) // input._m.dtype.itemsize
    offset = here if offset is None else offset
    inside("as_strided", size, stride, offset, len(root), input._m.dtype.itemsize)
    return root, offset


@structured(install=(), name="strided_scatter", grad_name="AsStridedScatterBackward0")
def _as_strided_scatter(input, src, *, size, stride, offset):
    out = clone(input) if input._m.contiguous else contiguous_copy(input)
    target = make_view(out, offset, size, stride, False)
    write(src, target)
    return out


@_as_strided_scatter.backward
def _(g, size, stride, offset):
    g = g.contiguous()
    inside = as_strided(g, size, stride, g.storage_offset() + offset)
    outside = _as_strided_scatter(g, zero(empty_tensor(meta(g._m.dtype, size, g._m.device))), size, stride, offset)
    return outside, contiguous_copy(inside)


@structured(install=(), name="as_strided_gradient")
def _as_strided_gradient(g, *, input_meta, size, stride, offset):
    """Zeros of the input's shape, to which every element of ``g`` is added where the view took it from; where elements
    of the input lie in one place of memory, it is shared out among them."""
    import numpy as np

    m = meta(g._m.dtype, input_meta.shape, g._m.device)
    if m.device is META:
        return empty_tensor(m)
    flat = np.zeros(max(input_meta.span, 1), g._m.np)
    np.add.at(flat, _places(size, stride) + offset, g.contiguous()._d)
    if may_overlap(input_meta.shape, input_meta.strides):
        flat /= np.maximum(np.bincount(_places(input_meta.shape, input_meta.strides), minlength=len(flat)), 1)
    if input_meta.contiguous:
        return from_host(flat[: m.numel].reshape(m.shape), g)
    strides = tuple(step * flat.itemsize for step in input_meta.strides)
    return from_host(np.lib.stride_tricks.as_strided(flat, m.shape, strides), g)


def _places(size, stride):
    """Where the elements of a view lie in memory, from its first, in the order of its indices."""
    import numpy as np

    places = np.zeros(tuple(size), np.int64)
    for axis, (n, step) in enumerate(zip(size, stride)):
        places += (np.arange(n) * step).reshape((-1,) + (1,) * (len(size) - axis - 1))
    return places.ravel()


@_as_strided_gradient.backward
def _(g, input_meta, size, stride, offset):
    g = g.contiguous()
    if not input_meta.contiguous:  # into the layout that offset and stride are meant for
        memory = zero(empty_tensor(meta(g._m.dtype, (input_meta.span,), g._m.device)))
        g = _as_strided_scatter(memory, g, tuple(input_meta.shape), input_meta.strides, 0)
    return as_strided(g, size, stride, g.storage_offset() + offset)


@structured(kind="view", install=(), name="as_strided")
def _as_strided(input, *, size, stride, offset, place):
    return place, size, stride


@_as_strided.backward
def _(g, input_meta, size, stride, place):
    return _as_strided_gradient(g, input_meta, size, stride, place)


@function
def as_strided(input, size, stride, storage_offset=None) -> Tensor:
    """A view with any sizes and strides over the tensor's storage; ``storage_offset`` counts from its start."""
    size, stride = sizes("as_strided", (size,)), sizes("as_strided", (stride,), "stride")
    if storage_offset is not None:
        storage_offset = integer("as_strided", "storage_offset", storage_offset)
    root, offset = as_strided_view(input, size, stride, storage_offset)
    here = 0
    if root is not input._d and len(input._d):
        here = (address(input._d) - address(root)) // input._m.dtype.itemsize
    place = offset - here
    length = 1 + sum((n - 1) * step for n, step in zip(size, stride)) if 0 not in size else 0
    if place < 0 or place + length > len(input._d):
        whole = _whole_storage(input, root)
        return _as_strided(whole, size, stride, offset, offset)
    return _as_strided(input, size, stride, offset, place)


def _whole_storage(input, root):
    from ..tensor import alias

    found = alias(input, root, meta(input._m.dtype, (len(root),), input._m.device))
    base = input if input._base is None else input._base
    found.__dict__["_base"] = base
    if base._n is not None and base._m.contiguous and base._d is root:
        return reshape(base, -1)
    return found



@function(install=("Tensor",))
def is_set_to(self, tensor) -> bool:
    """Whether both tensors are the same view of the same memory."""
    return self._m is tensor._m and self.data_ptr() == tensor.data_ptr()


install_inplace("as_strided_", as_strided)
