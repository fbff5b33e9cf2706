"""Reading and writing by index: gather, index_select and its relatives, take and put, embedding."""

import numpy as np

from .. import dtypes
from ..autograd import no_grad
from ..device import META
from ..inplace import check_inplace, refuse_overlap, write_out
from ..kernels.index import ADD, SET
from ..layout import broadcast_shapes, integer, normalize_axis
from ..op import as_tensor_operand, cast, dense, function, method, plain
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, from_array, view as make_view
from .copy import write, zero
from .places import Along, Places, Writing, int64_index, put as put_at, read, reading
from .view import as_own, reshape

_gathered = reading("gather")
_selected = reading("index_select")
_taken = reading("take")
_adding = Writing("index_add")
_copying = Writing("index_copy")
_filling = Writing("index_fill")
_putting = Writing("put")


def same_dtype(op, target, source, name):
    """Refuse a source of another dtype than the tensor written to."""
    if source._m.dtype is not target._m.dtype:
        raise RuntimeError(
            f"{op}(): Expected self.dtype to be equal to {name}.dtype, but got {target._m.dtype!r} and "
            f"{source._m.dtype!r}; convert one of them with .to(...)"
        )


def along(op, input, dim, index, src=None, wrap=False):
    """Checked `Along` places, for tensors of at least one dimension."""
    index = int64_index(op, as_tensor_operand(op, index, "index"))
    m, im = input._m, index._m
    if im.ndim != m.ndim and im.numel:
        raise RuntimeError(
            f"{op}(): Index tensor must have the same number of dimensions as input tensor, but got {im.ndim} and "
            f"{m.ndim}"
        )
    if im.ndim != m.ndim:
        return None
    if src is not None and src._m.ndim != im.ndim:
        raise RuntimeError(
            f"{op}(): Index tensor must have the same number of dimensions as src tensor, but got {im.ndim} and "
            f"{src._m.ndim}"
        )
    for axis, size in enumerate(im.shape):
        if axis != dim and size > m.shape[axis] or (src is not None and size > src._m.shape[axis]):
            against = "" if src is None else f" and no larger than src {list(src._m.shape)}"
            lead = f"Size does not match at dimension {axis} expected" if op == "gather" else "Expected"
            raise RuntimeError(
                f"{op}(): {lead} index {list(im.shape)} to be no larger than self {list(m.shape)} apart from "
                "dimension "
                f"{dim}{against}"
            )
    return Along(op, index, dim, wrap)


def at_least_1d(tensor):
    """0-d tensors as views of one dimension."""
    return tensor if tensor._m.ndim else reshape(tensor, (1,))


@function
def gather(input, dim, index, *, sparse_grad=False, out=None) -> Tensor:
    """``out[i, j, ...] = input[i, ..., index[i, j, ...], ...]`` with the index at dimension ``dim``.

    ``index`` has as many dimensions as ``input`` and is no larger than it except in ``dim``; so is the result.
    """
    input, index = as_tensor_operand("gather", input, "input"), as_tensor_operand("gather", index, "index")
    if out is not None and out._m.dtype is not input._m.dtype:
        raise RuntimeError(
            f"gather(): Expected out tensor to have dtype {input._m.dtype!r}, but got {out._m.dtype!r} instead"
        )
    found = _gather("gather", input, normalize_axis("gather", dim, input._m.ndim), index, False)
    return found if out is None else write_out("gather", found, out, input, index)


def _gather(op, input, dim, index, wrap):
    shape = tuple(index._m.shape)
    input, full = at_least_1d(input), at_least_1d(index)
    at = along(op, input, dim, full, wrap=wrap)
    if at is None:  # an empty index of any shape
        int64_index(op, index)
        found = reshape(input, (-1,)).narrow(0, 0, 0).reshape(shape)
    else:
        found = _gathered(input, at)
        if len(shape) != found._m.ndim:
            found = reshape(found, shape)
    return found


@function
def take_along_dim(input, indices, dim=None, *, out=None) -> Tensor:
    """`gather` with ``input`` and ``indices`` broadcast against each other; without ``dim``, of the flat tensor."""
    indices = as_tensor_operand("take_along_dim", indices, "indices")
    if indices._m.dtype is not dtypes.int64:
        raise RuntimeError(f"take_along_dim(): dtype of indices should be Long (int64) but got {indices._m.dtype!r}")
    if dim is None:
        found = _gather("take_along_dim", reshape(input, (-1,)), 0, reshape(indices, (-1,)), True)
    else:
        m, im = input._m, indices._m
        if m.ndim != im.ndim:
            raise RuntimeError(
                f"take_along_dim(): input and indices should have the same number of dimensions, but got {m.ndim} "
                f"dimensions for input, and {im.ndim} dimensions for indices"
            )
        dim = normalize_axis("take_along_dim", dim, m.ndim)
        common = list(broadcast_shapes(
            "take_along_dim", *[tuple(1 if axis == dim else n for axis, n in enumerate(t.shape)) for t in (m, im)]
        ))  # fmt: skip
        if m.ndim:
            common[dim] = m.shape[dim]
            input = input.expand(tuple(common))
            common[dim] = im.shape[dim]
            indices = indices.expand(tuple(common))
        found = _gather("take_along_dim", input, dim, indices, True)
    return found if out is None else write_out("take_along_dim", found, out)


# --- an index of one dimension -----------------------------------------------------------------------------------


def _vector(op, input, dim, index):
    """(tensor of at least one dimension, axis, places of an index vector)."""
    index = as_tensor_operand(op, index, "index")
    if index._m.dtype.kind != "i" or index._m.dtype.itemsize < 4:
        raise RuntimeError(f"{op}(): Expected dtype int32 or int64 for index but got {index._m.dtype!r}")
    if index._m.ndim > 1:
        raise IndexError(
            f"{op}(): Index is supposed to be a vector, but got dim: {index._m.ndim} with type {index._m.dtype!r}"
        )
    dim = normalize_axis(op, dim, input._m.ndim)
    index = at_least_1d(int64_index(op, index))
    return at_least_1d(input), dim, Places(op, (index,), (dim,), wrap=False)


@function
def index_select(input, dim, index, *, out=None) -> Tensor:
    """The sub-tensors of ``input`` at the positions ``index`` (a vector) of dimension ``dim``."""
    input = as_tensor_operand("index_select", input, "input")
    scalar = not input._m.ndim
    full, dim, at = _vector("index_select", input, dim, index)
    found = _selected(full, at)
    if scalar:
        if found._m.numel != 1:
            raise RuntimeError("index_select(): Index to scalar can have only 1 value, got "
                               f"{found._m.numel} value(s)")  # fmt: skip
        found = reshape(found, ())
    return found if out is None else write_out("index_select", found, out, input, index)


def index_source(op, input, dim, index, source):
    """Checked (target, axis, places, source) of index_add and index_copy."""
    source = as_tensor_operand(op, source, "source")
    same_dtype(op, input, source, "source")
    target, dim, at = _vector(op, input, dim, index)
    count = at.indices[0]._m.numel
    if source._m.ndim != input._m.ndim and source._m.ndim and input._m.ndim:
        raise RuntimeError(
            f"{op}(): source and destination must have the same number of dimensions: source tensor shape must match self tensor "
            f"shape, excluding the specified dimension. Got self.shape = {list(input._m.shape)} source.shape = "
            f"{list(source._m.shape)}"
        )
    shape = list(target._m.shape)
    shape[dim] = count
    source = at_least_1d(source)
    if tuple(source._m.shape) != tuple(shape):
        if source._m.numel == 1 and source._m.ndim == 1 and all(n == 1 for n in shape):
            source = reshape(source, tuple(shape))
        else:
            kind = IndexError if op.startswith("index_copy") and source._m.shape[dim] != count else RuntimeError
            raise kind(
                f"{op}(): source tensor shape must match self tensor shape, excluding the specified dimension: source of shape "
                f"{list(source._m.shape)} does not match the destination "
                f"{list(input._m.shape)} with "
                f"{count} indices at dimension {dim}; expected {shape}"
            )
    return target, dim, at, source


def _scaled(source, alpha):
    if isinstance(alpha, Tensor):
        alpha = alpha.item()
    alpha = dtypes.number_for("index_add", alpha, source._m.dtype)
    if isinstance(alpha, float) and not source._m.dtype.is_floating_point:
        raise RuntimeError(
            "index_add(): For integral input tensors, argument alpha must not be a floating point number."
        )
    if alpha == 1:
        return source
    return source * alpha if source._m.dtype.kind != "b" else (source if alpha else zero(source.clone()))


@function
def index_add(input, dim, index, source, *, alpha=1, out=None) -> Tensor:
    """``input`` with ``alpha * source`` added to its sub-tensors at the positions ``index`` of dimension ``dim``."""
    target, dim, at, source = index_source("index_add", input, dim, index, source)
    found = as_own(reshape(_adding(target, _scaled(source, alpha), at, ADD), tuple(input._m.shape)))
    return found if out is None else write_out("index_add", found, out)


@method
def index_add_(self, dim, index, source, *, alpha=1):
    """In-place version of `index_add`."""
    target, dim, at, source = index_source("index_add_", self, dim, index, source)
    _adding.inplace("index_add_", target, _scaled(source, alpha), at, ADD)
    return self


@function
def index_copy(input, dim, index, source, *, out=None) -> Tensor:
    """``input`` with its sub-tensors at the positions ``index`` of dimension ``dim`` replaced by those of
    ``source``."""
    target, dim, at, source = index_source("index_copy", input, dim, index, source)
    found = as_own(reshape(_copying(target, source, at), tuple(input._m.shape)))
    return found if out is None else write_out("index_copy", found, out)


@method
def index_copy_(self, dim, index, source):
    """In-place version of `index_copy`."""
    target, dim, at, source = index_source("index_copy_", self, dim, index, source)
    _copying.inplace("index_copy_", target, source, at)
    return self


def one_value(op, value, like):
    """A number or 0-d tensor as a 0-d tensor in the dtype and on the device of ``like``."""
    m = like._m
    if isinstance(value, Tensor):
        if value._m.ndim:
            raise RuntimeError(
                f"{op}() only supports a 0-dimensional value tensor, but got tensor with {value._m.ndim} dimension(s)."
            )
        return cast(value, m.dtype) if value._m.device == m.device else value.to(m.device).to(m.dtype)
    value = dtypes.python_number(value)
    if isinstance(value, complex):
        if not m.dtype.is_complex:
            raise RuntimeError(f"{op}(): value {value} cannot be converted to type {m.dtype!r} without overflow")
        return from_array(m.dtype.encode(np.array(value))).to(m.device)
    if not isinstance(value, (bool, int, float)):
        raise TypeError(f"{op}(): argument 'value' must be a number or a 0-d Tensor, not {type(value).__name__}")
    out = empty_tensor(meta(m.dtype, (), m.device))
    write(value, out)
    return out


def _real_for_real(op, value, input):
    value = dtypes.python_number(value)
    if isinstance(value, complex) and not input._m.dtype.is_complex:
        raise RuntimeError(f"{op}(): Converting complex Scalar to non-complex type is not supported: {value} to {input._m.dtype!r}")


@function
def index_fill(input, dim, index, value) -> Tensor:
    """``input`` with its sub-tensors at the positions ``index`` of dimension ``dim`` set to ``value``."""
    target, dim, at = _vector("index_fill", input, dim, index)
    _real_for_real("index_fill", value, input)
    return as_own(reshape(_filling(target, one_value("index_fill", value, input), at), tuple(input._m.shape)))


@method
def index_fill_(self, dim, index, value):
    """In-place version of `index_fill`."""
    target, dim, at = _vector("index_fill_", self, dim, index)
    _real_for_real("index_fill_", value, self)
    _filling.inplace("index_fill_", target, one_value("index_fill_", value, self), at)
    return self


# --- positions in the flat tensor --------------------------------------------------------------------------------


def _flat_places(op, index):
    index = as_tensor_operand(op, index, "index")
    if index._m.dtype is not dtypes.int64:
        raise RuntimeError(f"{op}(): Expected a long tensor for index, but got {index._m.dtype!r}")
    return Places(op, (index,), (0,))


@function
def take(input, index, *, out=None) -> Tensor:
    """The elements at the positions ``index`` of the flat tensor, in the shape of ``index``."""
    input = as_tensor_operand("take", input, "input")
    at = _flat_places("take", index)
    if not input._m.numel and at.indices[0]._m.numel:
        raise IndexError("take(): tried to take from an empty tensor")
    found = _taken(reshape(input, (-1,)), at)
    return found if out is None else write_out("take", found, out, input, index)


def _put_arguments(op, input, index, source):
    at = _flat_places(op, index)
    source = as_tensor_operand(op, source, "source")
    same_dtype(op, input, source, "source")
    if source._m.numel != at.indices[0]._m.numel:
        raise IndexError(
            f"{op}(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source._m.numel}, index.numel() = {at.indices[0]._m.numel}"
        )
    return at, reshape(source, tuple(at.indices[0]._m.shape))


@function
def put(input, index, source, accumulate=False) -> Tensor:
    """``input`` with the elements at the positions ``index`` of the flat tensor replaced by ``source``, or with it
    added."""
    at, source = _put_arguments("put", input, index, source)
    found = _putting(reshape(input, (-1,)), source, at, ADD if accumulate else SET)
    return as_own(reshape(found, tuple(input._m.shape)))


@method
def put_(self, index, source, accumulate=False):
    """In-place version of `put`."""
    at, source = _put_arguments("put_", self, index, source)
    check_inplace("put_", self, source)
    refuse_overlap("put_", self, source, *at.indices)
    if self._m.contiguous:
        _putting.inplace("put_", self.view(-1), source, at, ADD if accumulate else SET)
        return self
    return self.copy_(put(self, index, source, accumulate))


# --- embedding ---------------------------------------------------------------------------------------------------


@structured(install=(), name="embedding", cases="none")
def _embedding(weight, *, at, padding_idx, by_frequency):
    return read(weight, at)


@_embedding.backward
def _(g, weight_meta, at, padding_idx, by_frequency):
    if by_frequency:
        g = g / _frequencies(at.indices[0], g._m.dtype, weight_meta.shape[0]).unsqueeze(-1)
    return _embedding_gradient(g, weight_meta, at, padding_idx)


def _frequencies(index, d, count):
    """How often each index occurs, for every index."""
    one = zero(empty_tensor(meta(d, (), index._m.device))) + 1
    counts = zero(empty_tensor(meta(d, (count,), index._m.device)))
    at = Places("embedding", (index,), (0,), wrap=False)
    put_at(counts, one, at, ADD)
    return read(counts, at)


@structured(install=(), cases="none")
def _embedding_gradient(g, *, weight_meta, at, padding_idx):
    out = zero(empty_tensor(meta(g._m.dtype, weight_meta.shape, g._m.device)))
    put_at(out, g, at, ADD)
    if padding_idx is not None:
        row = weight_meta.shape[1]
        write(0, make_view(out, padding_idx * row, (row,), (1,), False))
    return out


@_embedding_gradient.backward
def _(g, at, padding_idx):
    found = _embedding(g, at, padding_idx, False)
    if padding_idx is not None:
        found = found * (at.indices[0] != padding_idx).to(found._m.dtype).unsqueeze(-1)
    return found


@function(install=())
def embedding(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False
) -> Tensor:
    """The rows of ``weight`` (n, d) at ``input`` (*) of integers -> (*, d).

    The row ``padding_idx`` gets no gradient. With ``max_norm``, rows that are looked up and have a larger
    ``norm_type`` norm are scaled down to it in place. ``scale_grad_by_freq`` divides a row's gradient by how often it
    occurs. ``sparse`` is accepted; gradients are dense.
    """
    input, weight = as_tensor_operand("embedding", input, "input"), as_tensor_operand("embedding", weight, "weight")
    if weight._m.ndim != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {list(weight._m.shape)}")
    if input._m.dtype.kind != "i" or input._m.dtype.itemsize < 4 or input._m.dtype.barebones:
        raise RuntimeError(
            f"embedding: expected 'input' to be int64 or int32 indices, got {input._m.dtype!r}; use .long()"
        )
    rows = weight._m.shape[0]
    if padding_idx is not None:
        padding_idx = integer("embedding", "padding_idx", padding_idx)
        if not -rows <= padding_idx < rows:
            raise AssertionError(f"embedding: padding_idx must be within num_embeddings ({rows}), got {padding_idx}")
        padding_idx += rows if padding_idx < 0 else 0
    index = int64_index("embedding", input)
    at = Places("embedding", (index,), (0,), wrap=False)
    if max_norm is not None:
        _limit_norms(weight, index, max_norm, norm_type)
    return _embedding(weight, at, padding_idx, bool(scale_grad_by_freq))


def _limit_norms(weight, index, max_norm, norm_type):
    """Scale the rows in ``index`` down to ``max_norm``, in place."""
    with no_grad():
        rows = reshape(index, (-1,)).unique()
        values = index_select(weight, 0, rows)
        norms = values.norm(norm_type, 1, True)
        scale = (max_norm / (norms + 1e-7)).masked_fill(norms <= max_norm, 1.0)
        index_copy_(weight, 0, rows, values * scale)


@function(install=())
def one_hot(tensor, num_classes=-1) -> Tensor:
    """Classes (*) as int64 rows of zeros with a one at the class, (*, num_classes)."""
    tensor = as_tensor_operand("one_hot", tensor, "tensor")
    m, num_classes = tensor._m, integer("one_hot", "num_classes", num_classes)
    if m.dtype is not dtypes.int64:
        raise RuntimeError(
            f"one_hot is only applicable to index tensor of type LongTensor, got {m.dtype!r}; use .long()"
        )
    if not m.numel and num_classes <= 0:
        raise RuntimeError("one_hot: Can not infer total number of classes from empty tensor.")
    if m.numel and not (m.device is META and num_classes > 0):
        least, most = int(tensor.amin().item()), int(tensor.amax().item())
        if least < 0:
            raise RuntimeError(f"one_hot: Class values must be non-negative, got {least}.")
        if num_classes == -1:
            num_classes = most + 1
        elif num_classes < 1:
            raise RuntimeError(f"one_hot: num_classes should be positive, got {num_classes}")
        elif most >= num_classes:
            raise RuntimeError(f"one_hot: Class values must be smaller than num_classes ({num_classes}), got {most}.")
    out = zero(empty_tensor(meta(dtypes.int64, (*m.shape, num_classes), m.device)))
    one = empty_tensor(meta(dtypes.int64, (), m.device))
    write(1, one)
    index = dense(plain(tensor)).unsqueeze(-1)
    put_at(out, one, Along("one_hot", index, m.ndim), SET)
    return out
