"""Hand-written kernels on CUDA: the body of a CPU kernel template, one of its units a thread."""

import ast
import inspect
import re
import textwrap

import numpy as np

from ..jit import source_of
from . import memory
from .compile import Source
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
        self.written = _written_slots(self.source_text)
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
        constants = {
            k: v.__name__ if isinstance(v, type) else repr(v) for k, v in self.parameters.items()
        }  # fmt: skip
        text = _TEMPLATE.format(
            name=self.name,
            parameters=", ".join(f"{k}={v}" for k, v in constants.items()) or "all types",
            constants="".join(f"{k} = {v}\n" for k, v in constants.items()),
            body=body,
            slots=", ".join(f"s{k}_" for k in range(count)),
        )
        used = {name: self.fn.__globals__[name] for name in _names(self.fn.__code__) if name in self.fn.__globals__}
        used = {name: value for name, value in used.items() if name not in self.parameters}
        return Source(
            f"{self.name}_units", text, ("int64",) * (count + 2), 128, names=used, extra=source_of(self.fn)
        )  # fmt: skip

    def __call__(self, *slots):
        *slots, begin, end = slots
        if begin >= end:
            return
        values, returned = [], []
        for k, value in enumerate(slots):
            if type(value) is Buffer:
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
    for name in code.co_names:
        yield name
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            yield from _names(constant)


def _written_slots(text):
    """The slots of a kernel that it writes to, or passes to functions that might."""
    tree = ast.parse(text)
    slot_of: dict = {}
    written = set()

    def variable(node):
        return slot_of.get(node.id) if isinstance(node, ast.Name) else None

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(node.targets[0].elts, node.value.elts))
            for target, value in pairs:
                called = value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else None
                if called == "pointer" and isinstance(value.args[1], ast.Constant):
                    slot_of[target.id] = value.args[1].value
                elif called == "shifted" and isinstance(value.args[0], ast.Name):
                    slot_of[target.id] = variable(value.args[0])
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            written.add(variable(node.value))
        elif isinstance(node, ast.Call) and not (
            isinstance(node.func, ast.Name) and re.fullmatch("pointer|shifted|integer|real", node.func.id)
        ):
            written.update(variable(argument) for argument in node.args)
    return written - {None}
