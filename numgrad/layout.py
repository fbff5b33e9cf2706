"""Pure shape and stride arithmetic: broadcasting, axes, views, collapsing. Strides count elements."""

from math import prod
from typing import Any

from .errors import ShapeError


class Size(tuple):
    """A shape: a tuple of ints with ``numel()``, printed as PyTorch prints it."""

    __slots__ = ()

    def numel(self) -> int:
        return prod(self)

    def __repr__(self):
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other):
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other):
        return Size(tuple(other) + tuple(self))

    def __mul__(self, other):
        return Size(tuple.__mul__(self, other))

    __rmul__ = __mul__

    def __reduce__(self):
        return Size, (tuple(self),)


def contiguous_strides(shape):
    """Row-major strides of ``shape``."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


class layout:
    """How a tensor's elements are stored."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return self.name


strided = layout("strided")


class memory_format:
    """An order of the dimensions in memory: ``contiguous_format`` is row-major, ``channels_last`` puts dimension 1 of
    four (``channels_last_3d``: of five) innermost, ``preserve_format`` keeps the order of the source."""

    def __init__(self, name, ndim=None):
        self.name, self.ndim = name, ndim

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return self.name

    def strides(self, op, shape):
        """The strides of a tensor of this shape in this format."""
        if self.ndim is None:
            return contiguous_strides(shape)
        if len(shape) != self.ndim:
            raise RuntimeError(f"{op}: required rank {self.ndim} tensor to use {self.name} format, got shape {list(shape)}")
        batch, channels, *rest = shape
        inner = contiguous_strides((batch, *rest, channels))
        return (inner[0], inner[-1], *inner[1:-1])


contiguous_format, preserve_format = memory_format("contiguous_format"), memory_format("preserve_format")
channels_last, channels_last_3d = memory_format("channels_last", 4), memory_format("channels_last_3d", 5)


def in_format(format, shape, strides):
    """Whether elements lie in memory as ``format`` says: strides of dimensions of size 1 do not matter."""
    if format.ndim is not None and len(shape) != format.ndim:
        return False
    wanted = format.strides("is_contiguous", shape)
    return 0 in shape or all(n == 1 or a == b for n, a, b in zip(shape, strides, wanted))


def suggested_format(shape, strides):
    """`channels_last` or `channels_last_3d` where strides are in that order, gaps allowed, else None.

    Where sizes of 1 leave open which format it is, the strides of those dimensions decide, as they do in PyTorch.
    """
    format = {4: channels_last, 5: channels_last_3d}.get(len(shape))
    if format is None or 0 in shape or strides[1] == 0:
        return None
    least = 0
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        if strides[axis] < least or (axis == 0 and least == strides[1]):
            return None
        least = strides[axis] * shape[axis]
    return format


def is_contiguous(shape, strides):
    """Whether the elements lie row-major without gaps; dimensions of size 1 do not matter, empty always is."""
    if 0 in shape:
        return True
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides)):
        if size != 1:
            if stride != step:
                return False
            step *= size
    return True


def span(shape, strides):
    """How many elements of storage a view covers, from its first element to its last."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides))


_FARTHEST = 1 << 62  # elements; no memory is as large


def geometry(op, shape, strides):
    """``shape`` and ``strides`` as tuples of ints that describe a tensor: of one length, none negative, and none so large
    that the place of an element is no 64-bit number. RuntimeError or TypeError otherwise."""
    shape, strides = integers(op, "size", shape), integers(op, "stride", strides)
    if len(shape) != len(strides):
        raise RuntimeError(
            f"{op}: mismatch in length of strides and shape: {len(shape)} sizes and {len(strides)} strides"
        )
    if min(shape, default=0) < 0:
        raise RuntimeError(f"{op}: Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    if min(strides, default=0) < 0:
        raise RuntimeError(f"{op}: Negative strides are not supported at the moment, got strides: {list(strides)}")
    if max(prod(max(n, 1) for n in shape), span(shape, strides), *strides, 0) >= _FARTHEST:
        what = "Stride" if 0 in shape else "Storage size"
        raise RuntimeError(f"{op}: {what} calculation overflowed with sizes={list(shape)} and strides={list(strides)}")
    return shape, strides


def inside(op, shape, strides, offset, count, itemsize=1):
    """``shape`` and ``strides`` as tuples, where every element of such a tensor that begins at ``offset`` is one of the
    ``count`` elements of its storage. RuntimeError or TypeError otherwise.

    Whoever takes sizes from outside (a file, another process, another library, the user) and lays a tensor over memory
    asks this first.
    """
    shape, strides = geometry(op, shape, strides)
    length = span(shape, strides)
    if not hasattr(offset, "__index__"):
        raise TypeError(f"{op}: the storage offset must be an int, got {offset!r:.200}")
    if offset < 0 or length and offset + length > count:
        raise RuntimeError(
            f"{op}: setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize {itemsize} "
            f"requiring a storage size of {(offset + length) * itemsize} are out of bounds for storage of size {count * itemsize}"
        )
    return shape, strides


def overlaps_itself(shape, strides):
    """Whether two indices of a view surely name the same element (an expanded dimension)."""
    return any(stride == 0 and size > 1 for size, stride in zip(shape, strides))


def may_overlap(shape, strides):
    """Whether a view's strides alone do not rule out that two of its indices name the same element (windows)."""
    reach = 0
    for stride, size in sorted((stride, size) for size, stride in zip(shape, strides) if size > 1):
        if stride <= reach:
            return True
        reach += (size - 1) * stride
    return False


def broadcast_shapes(op, *shapes):
    """The common shape that ``shapes`` broadcast to; `ShapeError` in the name of ``op``."""
    ndim = max(map(len, shapes), default=0)
    out = [1] * ndim
    for shape in shapes:
        for axis, size in zip(range(ndim - 1, -1, -1), reversed(shape)):
            if size != 1 and size != out[axis]:
                if out[axis] != 1:
                    listed = " and ".join(str(list(s)) for s in shapes)
                    raise ShapeError(
                        f"{op}: The size of tensor a ({out[axis]}) must match the size of tensor b ({size}) at "
                        f"non-singleton dimension {axis}: shapes {listed} cannot be broadcast. Sizes must be equal or 1; "
                        "reshape or unsqueeze one of the tensors."
                    )
                out[axis] = size
    return tuple(out)


def broadcast_strides(shape, strides, target):
    """Strides of a view of ``shape`` expanded to ``target``: 0 where it repeats."""
    lead = len(target) - len(shape)
    return (0,) * lead + tuple(
        0 if size == 1 and wanted != 1 else stride for size, stride, wanted in zip(shape, strides, target[lead:])
    )


def integer(op, name, value) -> int:
    """``value``, the argument ``name`` of ``op``, as an int: ints, NumPy integers, integer tensors of one element and what
    else has ``__index__``. TypeError for bools, floats and the rest."""
    if type(value) is int:
        return value
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        try:
            return value.__index__()
        except TypeError:
            pass  # tensors of floats, or of several elements, and arrays have the method too
    raise TypeError(f"{op}(): argument '{name}' must be int, not {type(value).__name__}")


def integers(op, name, values) -> tuple[int, ...]:
    """`integer` of each of ``values``, a sequence or a single one."""
    if type(values) is int:
        return (values,)
    if not isinstance(values, (tuple, list)):
        if getattr(values, "ndim", 0) == 1:
            values = values.tolist()
        elif hasattr(values, "__index__"):
            return (integer(op, name, values),)
    try:
        return tuple([value if type(value) is int else integer(op, name, value) for value in values])
    except TypeError:
        kinds = type(values).__name__ if not isinstance(values, (tuple, list)) else f"{values!r:.200}"
        raise TypeError(f"{op}(): argument '{name}' must be tuple of ints, not {kinds}") from None


def normalize_axis(op, axis, ndim, extra=0):
    """``axis`` counted from the front; IndexError if it is out of range. A 0-d tensor counts as one dimension."""
    count = max(ndim, 1) if not extra else ndim + extra
    if type(axis) is not int:
        axis = integer(op, "dim", axis)
    if not -count <= axis < count:
        raise IndexError(
            f"{op}: Dimension out of range (expected to be in range of [{-count}, {count - 1}], but got {axis})"
        )
    return axis + count if axis < 0 else axis


def normalize_axes(op, axes, ndim):
    """A sorted-as-given tuple of distinct axes; ``None`` means all."""
    if axes is None:
        return tuple(range(ndim))
    if not isinstance(axes, (tuple, list)):
        axes = (axes,)
    out = tuple(normalize_axis(op, axis, ndim) for axis in axes)
    if len(set(out)) != len(out):
        raise RuntimeError(f"{op}: dim {out[0]} appears multiple times in the list of dims {list(axes)}")
    return out


def collapse(shape, operand_strides):
    """Drop size-1 dimensions and merge neighbours that all operands step through evenly.

    ``operand_strides`` has one tuple of strides an operand. Returns ``(shape, operand_strides)`` with at least
    one dimension.
    """
    sizes, columns = [], []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        steps = [strides[axis] for strides in operand_strides]
        if sizes and all(outer == inner * size for outer, inner in zip(columns[-1], steps)):
            sizes[-1] *= size
            columns[-1] = steps
        else:
            sizes.append(size)
            columns.append(steps)
    if not sizes:
        return (1,), tuple((0,) for _ in operand_strides)
    return tuple(sizes), tuple(tuple(column[k] for column in columns) for k in range(len(operand_strides)))


def inner_to_outer(shape, strides):
    """The permutation that orders dimensions by falling stride of the first operand, stable."""
    return sorted(range(len(shape)), key=lambda axis: -strides[axis] if shape[axis] != 1 else 0)


def dense_strides(shape, *operands):
    """Strides without gaps for ``shape``, its dimensions in the order in which the operands' strides have them.

    The first operand that tells two dimensions apart decides: the longer step lies further out, and of equal steps
    the larger dimension. A step of 0 tells nothing; dimensions that no operand tells apart stay as they are.
    """

    def swapped(inner, outer):
        """Above 0 if ``inner`` lies further out, below 0 if it does not, 0 if nobody knows."""
        for strides in operands:
            near, far = strides[inner], strides[outer]
            if near and far and (near != far or shape[inner] > shape[outer]):
                return near - far or 1
        return 0

    order = list(range(len(shape) - 1, -1, -1))  # from the innermost dimension to the outermost
    for last in range(1, len(order)):
        at = last
        for k in range(last - 1, -1, -1):
            found = swapped(order[k], order[at])
            if found > 0:
                order[k], order[at] = order[at], order[k]
                at = k
            elif found < 0:
                break
    strides, step = [0] * len(shape), 1
    for axis in order:
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def same_places(shape, strides, others):
    """Whether two views of ``shape`` have every element at the same place: dimensions of size 1 do not matter."""
    return all(n == 1 or a == b for n, a, b in zip(shape, strides, others))


def is_dense(shape, strides):
    """Whether the elements lie without gaps or overlaps, in whatever order of the dimensions."""
    return same_places(shape, strides, dense_strides(shape, strides))


def result_strides(shape, operands):
    """Strides of a pointwise result of operands of these (shape, strides): those of the operands where they lie alike,
    else without gaps, the dimensions in the operands' order; row-major if all of them are."""
    if all(is_contiguous(*operand) for operand in operands):
        return contiguous_strides(shape)
    if all(operand == operands[0] for operand in operands) and operands[0][0] == shape and is_dense(*operands[0]):
        return operands[0][1]
    return dense_strides(shape, *[broadcast_strides(*operand, shape) for operand in operands])


def infer_size(op, shape, numel):
    """``shape`` with its one ``-1`` replaced so that it holds ``numel`` elements."""
    shape = tuple(shape)
    known = 1
    unknown = -1
    for axis, size in enumerate(shape):
        if size == -1:
            if unknown >= 0:
                raise RuntimeError(f"{op}: only one dimension can be inferred, got {list(shape)}")
            unknown = axis
        elif size < 0:
            raise RuntimeError(f"{op}: invalid shape dimension {size} in {list(shape)}")
        else:
            known *= size
    if unknown >= 0:
        if known == 0:
            if numel:
                raise ShapeError(f"{op}: shape '{list(shape)}' is invalid for input of size {numel}")
            raise RuntimeError(
                f"{op}: cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified "
                "dimension size -1 can be any value and is ambiguous"
            )
        if numel % known == 0:
            return shape[:unknown] + (numel // known,) + shape[unknown + 1 :]
    elif known == numel:
        return shape
    raise ShapeError(
        f"{op}: shape '{list(shape)}' is invalid for input of size {numel}; the sizes must multiply to {numel}"
    )


def view_strides(shape, strides, new_shape):
    """Strides that show the same elements under ``new_shape`` without a copy, or None if there are none."""
    if 0 in shape:
        return contiguous_strides(new_shape) if shape != new_shape else strides
    dims = [(size, stride) for size, stride in zip(shape, strides) if size != 1]
    chunks = []  # runs of dimensions that are contiguous with each other: [elements, innermost stride]
    for size, stride in dims:
        if chunks and chunks[-1][1] == size * stride:
            chunks[-1] = [chunks[-1][0] * size, stride]
        else:
            chunks.append([size, stride])
    out = []
    axis = len(new_shape) - 1
    for total, stride in reversed(chunks):
        filled = 1
        while axis >= 0 and (filled < total or new_shape[axis] == 1):
            out.append(stride * filled)
            filled *= new_shape[axis]
            axis -= 1
        if filled != total:
            return None
    tail = out[-1] * 1 if out else 1
    while axis >= 0:
        if new_shape[axis] != 1:
            return None
        out.append(tail)
        axis -= 1
    return tuple(reversed(out))
