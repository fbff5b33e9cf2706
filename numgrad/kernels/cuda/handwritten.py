"""Hand-written kernels on CUDA: the body of a CPU kernel template, one of its units a thread."""

import ast
import functools
import inspect
import textwrap
import types as python_types

import numpy as np

from ..jit import _literal
from . import memory
from .compile import VECTOR_NAMES, Source
from .launch import run
from .memory import Buffer, local

_kernels: dict = {}


def template(kernel_template, parameters: dict) -> "Template":
    """The CUDA form of ``kernel_template(**parameters)``: units of its range must not depend on each other."""
    key = kernel_template, tuple(parameters.items())
    found = _kernels.get(key)
    if found is None:
        found = _kernels[key] = Template(kernel_template, parameters)
    return found


_TEMPLATE = '''"""Kernel {name} for {parameters}: a unit a thread."""

from numpy import bool_, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64

{constants}

@device
def {name}(operands, begin, end):
{body}

def {name}_units({slots}, begin_, end_):
    unit_ = begin_ + cuda.grid(1)
    if unit_ < end_:
        {name}(slots(({slots},)), unit_, unit_ + 1)
'''


class Template:
    """A hand-written kernel ``fn(operands, begin, end, *, parameters)`` whose units do not depend on each other: the
    same body as on the CPU, one unit a thread.

    Host arrays among its slots are copied to the device; one that the kernel writes to is copied back, which waits for
    the kernel.
    """

    def __init__(self, template, parameters):
        self.fn, self.name = template.fn, template.__name__
        self.parameters = parameters
        self.source_text = textwrap.dedent(inspect.getsource(self.fn))
        self.written = _written(self.fn, {})
        self.variants: dict = {}

    def variant(self, slots) -> Source:
        """The source for a number of slots."""
        found = self.variants.get(slots)
        if found is None:
            found = self.variants[slots] = self._source(slots)
        return found

    def _source(self, count):
        node = ast.parse(self.source_text).body[0]
        body = "\n".join(self.source_text.split("\n")[node.body[0].lineno - 1 : node.end_lineno])
        constants = {k: _literal(value) for k, value in self.parameters.items()}
        text = _TEMPLATE.format(
            name=self.name,
            parameters=", ".join(f"{k}={v}" for k, v in constants.items()) or "all types",
            constants="".join(f"{k} = {v}\n" for k, v in constants.items()),
            body=body,
            slots=", ".join(f"s{k}_" for k in range(count)),
        )
        used = {name: self.fn.__globals__[name] for name in _names(self.fn.__code__) if name in self.fn.__globals__}
        used = {name: value for name, value in used.items() if name not in self.parameters}
        kinds = ("int64",) * (count + 2)
        return Source(f"{self.name}_units", text, kinds, 128, names=used)

    def run(self, *slots):
        *slots, begin, end = slots
        if begin >= end:
            return
        values, returned = [], []
        for k, value in enumerate(slots):
            if isinstance(value, Buffer):
                if value.device is not local.device:
                    memory.require(value.device)
                value = value.ptr
            elif isinstance(value, np.ndarray):
                if k in self.written:
                    buffer = memory.copy_to_current(value)
                    returned.append((value, buffer))
                else:
                    buffer = memory.constant(value)
                value = buffer.ptr
            values.append(value)
        source = self.variant(len(slots))
        run(source, -(-(end - begin) // source.threads), [*values, begin, end])
        for value, buffer in returned:
            value[...] = memory.copy_to_host(buffer).reshape(value.shape)


def _names(code):
    yield from code.co_names
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            yield from _names(constant)


@functools.cache
def _written_parameters(fn):
    """The positions of the parameters, pointers, that a function writes to."""
    code = fn.__code__
    return frozenset(_written(fn, {name: {k} for k, name in enumerate(code.co_varnames[: code.co_argcount])}))


def _written(fn, places):
    """The labels of the pointers that ``fn`` writes to, or may.

    ``places``: variable -> the labels of what it may point to. The label of ``pointer(operands, k, T)`` is ``k``, those
    of ``shifted(p, n)`` are p's.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))

    def labels(node):
        if isinstance(node, ast.Name):
            return places.get(node.id, set())
        if isinstance(node, ast.IfExp):
            return labels(node.body) | labels(node.orelse)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "pointer" and isinstance(node.args[1], ast.Constant):
                return {node.args[1].value}
            if node.func.id == "shifted":
                return labels(node.args[0])
        return set()

    assignments = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            assignments += zip(target.elts, value.elts) if both else [(target, value)]
    changed = True
    while changed:  # until what each variable may point to is complete
        changed = False
        for target, value in assignments:
            if isinstance(target, ast.Name) and not labels(value) <= places.get(target.id, set()):
                places[target.id] = places.get(target.id, set()) | labels(value)
                changed = True
    written: set = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            written |= labels(node.value)
        elif isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in VECTOR_NAMES):
            called = fn.__globals__.get(node.func.id) if isinstance(node.func, ast.Name) else None
            called = getattr(called, "py_func", called)
            known = _written_parameters(called) if isinstance(called, python_types.FunctionType) else None
            for k, argument in enumerate(node.args):
                if known is None or k in known:
                    written |= labels(argument)
    return written
