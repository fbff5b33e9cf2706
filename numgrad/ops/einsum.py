"""Sums of products over named dimensions, planned once a set of shapes and run as matrix products."""

import functools
import re
from math import prod
from typing import NamedTuple

from ..inplace import write_out
from ..layout import integer, integers
from ..op import as_tensor_operand, function
from ..tensor import Tensor
from .arithmetic import mul
from .matmul import matmul
from .parts import diagonal
from .reduce import sum as total_sum
from .view import permute, reshape, squeeze

_ELLIPSIS = -1  # stands for the ellipsis among the labels of an operand; its dimensions get labels of their own
_FIRST_HIDDEN = 1 << 20


class _Alone(NamedTuple):
    """What is done to an operand by itself: diagonals taken, dimensions of size 1 dropped, dimensions summed."""

    operand: int
    diagonals: tuple
    squeezed: tuple
    summed: tuple


class _Pair(NamedTuple):
    """The product of two operands, which replaces both at the end of the list; ``summed`` are its last dimensions."""

    left: int
    right: int
    left_order: tuple
    right_order: tuple
    left_shape: tuple
    right_shape: tuple
    as_matrices: bool
    summed: tuple
    shape: tuple


# --- reading the equation ------------------------------------------------------------------------------------------


def _labels_of(text, equation):
    """The labels of one operand or of the output, written as letters and perhaps an ellipsis."""
    labels = []
    for part in re.findall(r"\.\.\.|\S", text):
        if part == "...":
            if _ELLIPSIS in labels:
                raise RuntimeError(
                    f"einsum(): found '.' for which there is no ellipsis in {equation!r}: only one '...' an operand"
                )
            labels.append(_ELLIPSIS)
        elif re.fullmatch("[a-zA-Z]", part):
            labels.append(ord(part))
        else:
            raise RuntimeError(
                f"einsum(): invalid subscript {part!r} in {equation!r}: subscripts are letters in [a-zA-Z], '...', ',' "
                "and one '->'"
            )
    return tuple(labels)


@functools.lru_cache(1 << 10)
def _parse(equation):
    """(labels of every operand, labels of the output or None)."""
    left, arrow, right = equation.partition("->")
    inputs = tuple(_labels_of(text, equation) for text in left.split(","))
    return inputs, _labels_of(right, equation) if arrow else None


def _sublist(labels):
    """Labels given as a list of integers, in which `Ellipsis` may stand."""
    found = []
    for label in labels:
        if label is Ellipsis:
            found.append(_ELLIPSIS)
        elif isinstance(label, int) and 0 <= label < 52:
            found.append(ord("A") + label if label < 26 else ord("a") + label - 26)
        else:
            raise ValueError(f"einsum(): expected subscripts in range [0, 52) or Ellipsis, but got {label!r}")
    return tuple(found)


def _arguments(equation, operands):
    """(labels of every operand, labels of the output or None, operands) of either form of call."""
    if isinstance(equation, str):
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = operands[0]
        return (*_parse(equation), tuple(operands))
    arguments = (equation, *operands)
    if len(arguments) < 2:
        raise ValueError("einsum(): must specify the equation string or at least one operand and its subscripts list")
    inputs = tuple(_sublist(labels) for labels in arguments[1::2])
    output = _sublist(arguments[-1]) if len(arguments) % 2 else None
    tensors = arguments[0 : len(arguments) - 1 : 2] if output is not None else arguments[0::2]
    return inputs, output, tensors


def _name(label):
    return chr(label) if label < _FIRST_HIDDEN else "..."


def _spelled(inputs, shapes):
    """The labels of every operand with those of the ellipses written out, the last of them being the same in all."""
    found, width = [], 0
    for k, (labels, shape) in enumerate(zip(inputs, shapes)):
        rest = len(shape) - len(labels) + (_ELLIPSIS in labels)
        if rest < 0 or (rest and _ELLIPSIS not in labels):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(labels) - (_ELLIPSIS in labels)}) does not "
                f"match the number of dimensions ({len(shape)}) for operand {k}"
            )
        width = max(width, rest if _ELLIPSIS in labels else 0)
        spelled = []
        for label in labels:
            if label == _ELLIPSIS:
                spelled += range(_FIRST_HIDDEN + 63 - rest + 1, _FIRST_HIDDEN + 64)
            else:
                spelled.append(label)
        found.append(spelled)
    return found, list(range(_FIRST_HIDDEN + 64 - width, _FIRST_HIDDEN + 64))


def _output(inputs, output, hidden):
    """The labels of the result: those given, else the ellipsis and the labels that occur once, in order."""
    if output is None:
        every = [label for labels in inputs for label in labels if label < _FIRST_HIDDEN]
        return hidden + sorted(label for label in set(every) if every.count(label) == 1)
    found = []
    for label in output:
        found += hidden if label == _ELLIPSIS else [label]
    for label in found:
        if found.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {_name(label)} appears more than once in the output")
        if all(label not in labels for labels in inputs):
            raise RuntimeError(
                f"einsum(): output subscript {_name(label)} does not appear in the equation for any input operand"
            )
    return found


# --- planning ------------------------------------------------------------------------------------------------------


@functools.lru_cache(1 << 12)
def _plan(inputs, output, shapes):
    """(steps, final order of dimensions) of an equation for operands of these shapes."""
    spelled, hidden = _spelled(inputs, shapes)
    output = _output(spelled, output, hidden)
    sizes = _sizes(spelled, shapes)
    steps, terms = [], []
    for k, (labels, shape) in enumerate(zip(spelled, shapes)):
        labels, diagonals = _diagonals(labels, shape)
        stretched = [d for d, (label, size) in enumerate(labels) if size != sizes[label]]
        labels = [label for d, (label, size) in enumerate(labels) if d not in stretched]
        if diagonals or stretched:
            steps.append(_Alone(k, tuple(diagonals), tuple(stretched), ()))
        terms.append(labels)
    while True:
        _sum_alone(steps, terms, output)
        if len(terms) == 1:
            break
        i, j = _next_pair(terms, output, sizes)
        step, labels = _pair(terms, i, j, output, sizes)
        steps.append(step)
        terms = [term for k, term in enumerate(terms) if k not in (i, j)] + [labels]
    return tuple(steps), tuple(terms[0].index(label) for label in output)


def _sizes(spelled, shapes):
    """The size of every label: those of 1 are stretched to the others."""
    sizes: dict = {}
    for k, (labels, shape) in enumerate(zip(spelled, shapes)):
        own = dict(zip(labels, shape))
        for label, size in zip(labels, shape):
            if own[label] != size:
                raise RuntimeError(
                    f"einsum(): subscript {_name(label)} is repeated for operand {k} but the sizes don't match, "
                    f"{own[label]} != {size}"
                )
        for label, size in zip(labels, shape):
            known = sizes.get(label, 1)
            if known != 1 and size not in (1, known):
                raise RuntimeError(
                    f"einsum(): subscript {_name(label)} has size {size} for operand {k} which does not broadcast with "
                    f"previously seen size {known}"
                )
            sizes[label] = size if known == 1 else known
    return sizes


def _diagonals(labels, shape):
    """([(label, size)] without repetitions, [(dim1, dim2)] whose diagonals are taken, one after the other)."""
    pairs, taken = list(zip(labels, shape)), []
    k = 0
    while k < len(pairs):
        label, size = pairs[k]
        later = [d for d in range(k + 1, len(pairs)) if pairs[d][0] == label]
        if not later:
            k += 1
            continue
        d = later[0]
        taken.append((k, d))
        pairs = [pair for at, pair in enumerate(pairs) if at not in (k, d)] + [(label, size)]
    return pairs, taken


def _sum_alone(steps, terms, output):
    """Sum away the labels that only one operand has and the output lacks."""
    for k, labels in enumerate(terms):
        gone = tuple(
            d for d, label in enumerate(labels)
            if label not in output and all(label not in other for at, other in enumerate(terms) if at != k)
        )  # fmt: skip
        if gone:
            steps.append(_Alone(k, (), (), gone))
            terms[k] = [label for d, label in enumerate(labels) if d not in gone]


def _next_pair(terms, output, sizes):
    """The two operands whose product grows least beyond its factors; of several, the first."""
    best = None
    for i in range(len(terms)):
        for j in range(i + 1, len(terms)):
            others = {label for at, term in enumerate(terms) if at not in (i, j) for label in term}
            kept = [label for label in {*terms[i], *terms[j]} if label in output or label in others]
            size = prod(sizes[label] for label in kept)
            growth = size - sum(prod(sizes[label] for label in terms[at]) for at in (i, j))
            if best is None or growth < best[0]:
                best = growth, i, j
    return best[1:]


def _pair(terms, i, j, output, sizes):
    """(step, labels of its result) for the product of operands ``i`` and ``j``."""
    left, right = terms[i], terms[j]
    needed = {label for at, term in enumerate(terms) if at not in (i, j) for label in term} | set(output)
    batch = [label for label in left if label in right and label in needed]
    shared = [label for label in left if label in right and label not in needed]
    ours = [label for label in left if label not in right]
    theirs = [label for label in right if label not in left]
    lead = tuple(sizes[label] for label in batch)
    rows, columns = tuple(sizes[label] for label in ours), tuple(sizes[label] for label in theirs)
    as_matrices = bool(shared and (ours or theirs or not batch))
    if as_matrices:
        inner = prod(sizes[label] for label in shared)
        left_shape, right_shape = (*lead, prod(rows), inner), (*lead, inner, prod(columns))
        right_order = [*batch, *shared, *theirs]
    else:  # element by element
        inner = tuple(sizes[label] for label in shared)
        left_shape = (*lead, *rows, *[1] * len(columns), *inner)
        right_shape = (*lead, *[1] * len(rows), *columns, *inner)
        right_order = [*batch, *theirs, *shared]
    step = _Pair(
        i, j, tuple(left.index(label) for label in [*batch, *ours, *shared]),
        tuple(right.index(label) for label in right_order),
        left_shape, right_shape, as_matrices, () if as_matrices else tuple(range(-len(shared), 0)),
        (*lead, *rows, *columns),
    )  # fmt: skip
    return step, [*batch, *ours, *theirs]


# --- running -------------------------------------------------------------------------------------------------------


def _ordered(tensor, order):
    return tensor if order == tuple(range(len(order))) else permute(tensor, order)


def _shaped(tensor, shape):
    return tensor if tensor._m.shape == shape else reshape(tensor, shape)


def _run(plan, operands):
    steps, order = plan
    operands = list(operands)
    for step in steps:
        if type(step) is _Alone:
            tensor = operands[step.operand]
            for dim1, dim2 in step.diagonals:
                tensor = diagonal(tensor, 0, dim1, dim2)
            if step.squeezed:
                tensor = squeeze(tensor, step.squeezed)
            if step.summed:
                tensor = total_sum(tensor, step.summed)
            operands[step.operand] = tensor
            continue
        right, left = operands.pop(step.right), operands.pop(step.left)
        left = _shaped(_ordered(left, step.left_order), step.left_shape)
        right = _shaped(_ordered(right, step.right_order), step.right_shape)
        product = matmul(left, right) if step.as_matrices else mul(left, right)
        if step.summed:
            product = total_sum(product, step.summed, dtype=product._m.dtype)
        operands.append(_shaped(product, step.shape))
    return _ordered(operands[0], order)


def contracted(inputs, output, operands) -> Tensor:
    """The sum over the labels that ``output`` lacks of the product of ``operands``, whose labels are ``inputs``."""
    return _run(_plan(inputs, output, tuple([tuple(operand._m.shape) for operand in operands])), operands)


@function(install=("ng",))
def einsum(equation, *operands) -> Tensor:
    """Sum of products of the operands over the dimensions that the output lacks, in Einstein's notation.

    ``einsum("bij,bjk->bik", x, y)``; without ``->`` the output has the labels that occur once, in alphabetical order.
    A label that an operand has twice takes its diagonal, ``...`` stands for dimensions that broadcast. The other
    form gives labels as integers below 52: ``einsum(x, [0, 1], y, [1, 2], [0, 2])``.
    """
    inputs, output, operands = _arguments(equation, operands)
    if not operands:
        raise ValueError("einsum(): must provide at least one operand")
    if len(inputs) != len(operands):
        raise RuntimeError(
            f"einsum(): {'more' if len(operands) > len(inputs) else 'fewer'} operands were provided than specified in "
            f"the equation: {len(operands)} against {len(inputs)}"
        )
    return contracted(inputs, output, [as_tensor_operand("einsum", operand, "operands") for operand in operands])


@function(install=("ng",))
def tensordot(a, b, dims=2, out=None) -> Tensor:
    """The sum of ``a * b`` over pairs of dimensions: the last ``dims`` of ``a`` with the first of ``b``, or those that
    two lists name."""
    a, b = as_tensor_operand("tensordot", a, "a"), as_tensor_operand("tensordot", b, "b")
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if not isinstance(dims, (tuple, list)):
        dims = integer("tensordot", "dims", dims)
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a._m.ndim, b._m.ndim):
            raise RuntimeError(
                f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims} for {a._m.ndim} and {b._m.ndim} dimensions"
            )
        left, right = list(range(a._m.ndim - dims, a._m.ndim)), list(range(dims))
    else:
        left, right = (list(integers("tensordot", "dims", dim)) for dim in dims)
    if len(left) != len(right):
        raise RuntimeError(f"tensordot: both dimension lists should have same length, got {left} and {right}")
    labels_a, labels_b = list(range(a._m.ndim)), list(range(a._m.ndim, a._m.ndim + b._m.ndim))
    for x, y in zip(left, right):
        try:
            m, n = a._m.shape[x], b._m.shape[y]
        except IndexError:
            raise IndexError(
                f"tensordot: dimension out of range: pair ({x}, {y}) for {a._m.ndim} and {b._m.ndim} dimensions"
            ) from None
        if m != n and 1 not in (m, n):
            raise RuntimeError(
                f"tensordot: contracted dimensions need to match, but first has size {m} in dim {x} and second has "
                f"size {n} in dim {y}"
            )
        labels_b[y] = labels_a[x]
    gone = {label for label in labels_a if label in labels_b}
    output = tuple(label for label in (*labels_a, *labels_b) if label not in gone)
    found = contracted((tuple(labels_a), tuple(labels_b)), output, (a, b))
    return found if out is None else write_out("tensordot", found, out, a, b)
