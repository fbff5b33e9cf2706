"""Sums of products over named or listed dimensions: einsum, tensordot, trace, cross."""

import string
from math import prod

from ..layout import normalize_axis
from ..op import as_tensor_operand, function, write_out
from ..tensor import Tensor
from .matmul import matmul
from .view import permute, reshape

_LETTERS = string.ascii_uppercase + string.ascii_lowercase  # a label is a place in them: implicit outputs are sorted
_DOTS = range(1000, 2000)  # labels of the dimensions that an ellipsis stands for, counted from the last


@function(install=("ng",))
def einsum(*args) -> Tensor:
    """``einsum("ij,jk->ik", a, b)``: the sum over all labels that are not in the output. Also ``einsum(a, [0, 1], b,
    [1, 2], [0, 2])``. ``...`` stands for dimensions that broadcast; without ``->`` the output has the labels that occur
    once, in order."""
    inputs, output, operands = _parsed(*args)
    sizes: dict = {}
    for k, (labels, tensor) in enumerate(zip(inputs, operands)):
        for label, size in zip(labels, tensor._m.shape):
            if sizes.setdefault(label, size) == 1:
                sizes[label] = size
            elif size not in (1, sizes[label]):
                raise RuntimeError(
                    f"einsum(): subscript {_name(label)} has size {size} for operand {k} which does not broadcast with "
                    f"previously seen size {sizes[label]}"
                )
    terms = [_without_repeats(labels, tensor) for labels, tensor in zip(inputs, operands)]
    labels, found = terms[0]
    labels, found = _summed(labels, found, {*output, *(x for later, _ in terms[1:] for x in later)})
    for k, (other_labels, other) in enumerate(terms[1:], 1):
        kept = {*output, *(x for later, _ in terms[k + 1 :] for x in later)}
        labels, found = _pair(labels, found, other_labels, other, kept, sizes)
    return permute(found, tuple([labels.index(label) for label in output])) if output != labels else found


def _name(label):
    return "..." if label in _DOTS else _LETTERS[label]


def _parsed(*args):
    """(labels of each operand, labels of the output, operands) with labels as ints."""
    if not args:
        raise ValueError("einsum(): must specify the equation string and at least one operand, or at least one operand and its subscripts list")
    if isinstance(args[0], Tensor):
        if len(args) < 2:
            raise ValueError("einsum(): must specify the equation string and at least one operand, or at least one operand and its subscripts list")
        operands, lists = list(args[: len(args) // 2 * 2 : 2]), list(args[1::2])
        given = list(args[-1]) if len(args) % 2 else None
        texts = [_labels_of_list(items, k) for k, items in enumerate(lists)]
        output = None if given is None else _labels_of_list(given, "output")
    else:
        equation, operands = args[0], list(args[1:])
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = list(operands[0])
        left, arrow, right = equation.replace(" ", "").partition("->")
        texts = [_labels_of_text(text) for text in left.split(",")]
        output = _labels_of_text(right) if arrow else None
    if not operands:
        raise RuntimeError("einsum(): must provide at least one operand")
    if len(texts) != len(operands):
        more = "fewer" if len(operands) < len(texts) else "more"
        raise RuntimeError(f"einsum(): {more} operands were provided than specified in the equation")
    operands = [as_tensor_operand("einsum", tensor, "operands") for tensor in operands]
    inputs, widest = [], 0
    for k, (text, tensor) in enumerate(zip(texts, operands)):
        dots = tensor._m.ndim - len([x for x in text if x is not ...])
        if dots < 0 or (dots and ... not in text):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(text)}) does not match the number of dimensions "
                f"({tensor._m.ndim}) for operand {k} and {'no ' if ... not in text else ''}ellipsis was given"
            )
        widest = max(widest, dots)
        inputs.append(_expanded(text, dots))
    if output is None:
        counts: dict = {}
        for labels in inputs:
            for label in labels:
                counts[label] = counts.get(label, 0) + 1
        dots = list(reversed(_DOTS[:widest]))
        return inputs, dots + sorted(label for label, n in counts.items() if n == 1 and label not in _DOTS), operands
    expanded = _expanded(output, widest)
    known = {label for labels in inputs for label in labels}
    for label in expanded:
        if expanded.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {_name(label)} appears more than once in the output")
        if label not in known:
            raise RuntimeError(
                f"einsum(): output subscript {_name(label)} does not appear in the equation for any input operand"
            )
    return inputs, expanded, operands


def _labels_of_text(text):
    if "." in text:
        if text.count("...") != 1 or text.count(".") != 3:
            raise RuntimeError(f"einsum(): found '.' in {text!r} that is not part of any ellipsis, or two of them")
        before, after = text.split("...")
        return [*_labels_of_text(before), ..., *_labels_of_text(after)]
    for letter in text:
        if letter not in string.ascii_letters:
            raise RuntimeError(f"einsum(): invalid subscript given: {letter!r}, subscripts must be in [a-zA-Z]")
    return [_LETTERS.index(letter) for letter in text]


def _labels_of_list(items, where):
    for item in items:
        if item is not ... and not (isinstance(item, int) and 0 <= item < 52):
            raise ValueError(f"einsum(): subscript {item!r} of operand {where} is not within the valid range [0, 52)")
    return list(items)


def _expanded(labels, dots):
    if ... not in labels:
        return list(labels)
    at = labels.index(...)
    return [*labels[:at], *reversed(_DOTS[:dots]), *labels[at + 1 :]]


def _without_repeats(labels, tensor):
    """The diagonal over every label that occurs twice."""
    labels = list(labels)
    for label in list(dict.fromkeys(labels)):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if tensor._m.shape[first] != tensor._m.shape[second]:
                raise RuntimeError(
                    f"einsum(): subscript {_name(label)} is repeated for an operand but the sizes don't match, "
                    f"{tensor._m.shape[second]} != {tensor._m.shape[first]}"
                )
            tensor = tensor.diagonal(0, first, second)
            labels = [x for k, x in enumerate(labels) if k not in (first, second)] + [label]
    return labels, tensor


def _summed(labels, tensor, kept):
    """The tensor summed over all labels but those kept."""
    gone = tuple([k for k, label in enumerate(labels) if label not in kept])
    return ([label for label in labels if label in kept], tensor.sum(gone)) if gone else (labels, tensor)


def _pair(labels, x, other_labels, y, kept, sizes):
    """Two operands as one matrix product: (shared and kept, of one only, shared and summed)."""
    shared = [label for label in labels if label in other_labels]
    labels, x = _summed(labels, x, kept | set(shared))
    other_labels, y = _summed(other_labels, y, kept | set(shared))
    batch = [label for label in shared if label in kept]
    inner = [label for label in shared if label not in kept]
    mine = [label for label in labels if label not in shared]
    theirs = [label for label in other_labels if label not in shared]

    def arranged(names, tensor, order):
        tensor = permute(tensor, tuple([names.index(label) for label in order])) if tensor._m.ndim else tensor
        shape = [sizes[label] if label in shared else size for label, size in zip(order, tensor._m.shape)]
        return tensor.expand(shape) if shape != list(tensor._m.shape) else tensor

    def extent(names, tensor, order):
        return [tensor._m.shape[names.index(label)] if label not in shared else sizes[label] for label in order]

    lead, rows = extent(labels, x, batch), extent(labels, x, mine)
    depth, columns = extent(labels, x, inner), extent(other_labels, y, theirs)
    left = reshape(arranged(labels, x, [*batch, *mine, *inner]), (prod(lead), prod(rows), prod(depth)))
    right = reshape(arranged(other_labels, y, [*batch, *inner, *theirs]), (prod(lead), prod(depth), prod(columns)))
    found = matmul(left, right) if inner else left * right
    return [*batch, *mine, *theirs], reshape(found, (*lead, *rows, *columns))


@function(install=("ng",))
def tensordot(a, b, dims=2, out=None) -> Tensor:
    """The sum of products over the last ``dims`` dimensions of ``a`` and the first of ``b``, or over two lists of them."""
    a, b = as_tensor_operand("tensordot", a, "a"), as_tensor_operand("tensordot", b, "b")
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, (list, tuple)) and len(dims) == 1:
        dims = (dims[0], dims[0])
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a._m.ndim, b._m.ndim):
            raise RuntimeError(
                f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims} for {a._m.ndim} and {b._m.ndim} dimensions"
            )
        dims = list(range(a._m.ndim - dims, a._m.ndim)), list(range(dims))
    first, second = ([axes] if isinstance(axes, int) else list(axes) for axes in dims)
    if len(first) != len(second):
        raise RuntimeError("tensordot: both dimension lists should have same length")
    first = [normalize_axis("tensordot", axis, a._m.ndim) for axis in first]
    second = [normalize_axis("tensordot", axis, b._m.ndim) for axis in second]
    for left, right in zip(first, second):
        sizes = a._m.shape[left], b._m.shape[right]
        if sizes[0] != sizes[1]:
            if 1 not in sizes:
                raise RuntimeError(
                    f"tensordot: contracted dimensions need to match, but first has size {sizes[0]} in dim {left} and "
                    f"second has size {sizes[1]} in dim {right}"
                )
            if sizes[0] == 1:
                b = b.sum(right, keepdim=True)
            else:
                a = a.sum(left, keepdim=True)
    rows = [axis for axis in range(a._m.ndim) if axis not in first]
    columns = [axis for axis in range(b._m.ndim) if axis not in second]
    shape = [a._m.shape[axis] for axis in rows] + [b._m.shape[axis] for axis in columns]
    depth = prod(a._m.shape[axis] for axis in first)
    left = permute(a, (*rows, *first)).reshape(prod(a._m.shape[axis] for axis in rows), depth)
    right = permute(b, (*second, *columns)).reshape(depth, prod(b._m.shape[axis] for axis in columns))
    found = reshape(matmul(left, right), tuple(shape))
    return found if out is None else write_out("tensordot", found, out)


@function
def trace(input) -> Tensor:
    """The sum of a matrix's diagonal."""
    input = as_tensor_operand("trace", input, "input")
    if input._m.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input._m.ndim}")
    return input.diagonal().sum()


@function
def cross(input, other, dim=None, *, out=None) -> Tensor:
    """The vector product along ``dim``, which has size 3 (the first such dimension by default); the others broadcast."""
    input, other = as_tensor_operand("cross", input, "input"), as_tensor_operand("cross", other, "other")
    if input._m.ndim != other._m.ndim:
        raise RuntimeError(
            f"linalg.cross: inputs must have the same number of dimensions, got {input._m.ndim} and {other._m.ndim}"
        )
    if dim is None:
        dim = next((k for k, n in enumerate(input._m.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(f"no dimension of size 3 in input: cross of shape {list(input._m.shape)}; give dim=")
    dim = normalize_axis("linalg.cross", dim, input._m.ndim)
    for tensor in (input, other):
        if tensor._m.shape[dim] != 3:
            raise RuntimeError(
                f"linalg.cross: inputs dimension {dim} must have length 3. Got {input._m.shape[dim]} and {other._m.shape[dim]}"
            )
    found = input.roll(-1, dim) * other.roll(-2, dim) - input.roll(-2, dim) * other.roll(-1, dim)
    return found if out is None else write_out("cross", found, out)


__all__ = ["einsum", "tensordot", "trace", "cross"]
