"""From a call with slots to a launch: which variant of a kernel, how many blocks, what the parameters are.

The kernels here are called as the CPU's callers call theirs, ``call(kernel, *slots, begin, end)``: slots are device
buffers, Python numbers and, where the CPU passes the geometry of a strided space, a small host array.
"""

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..cache import CompiledCode
from ..callers import slot
from ..jit import load_module
from . import memory
from .compile import Source
from .memory import local

THREADS = 256  # in a block of an elementwise kernel


def caller(slots: int, end: int, work: int):
    """The function ``call(kernel, *slots, begin, end)`` that launches on the current stream."""
    return _call


def _call(kernel, *arguments):
    kernel.run(*arguments)


def call_table(kernel, table: list, own: int, shared: list, split: bool = True) -> None:
    """Run an elementwise kernel on every row of ``table``: ``own`` slots, then the number of elements; ``shared`` are
    the slots after a row's own."""
    for first in range(0, len(table), own + 1):
        *slots, count = table[first : first + own + 1]
        kernel.run(*slots, *shared, 0, count)


def run(source: Source, blocks: int, values) -> None:
    """Launch ``blocks`` blocks of a kernel on the current stream with these parameters."""
    here = local.device
    function = here.functions.get(source.digest) or here.load(source)
    launch = here.launchers.get(len(values)) or here.launcher(len(values))
    code = launch(function, blocks, source.threads, local.stream, *values)
    if code:
        here.driver.fail(code)


def _values(slots, pointers):
    """Addresses of buffers and numbers as they are; the buffers' device becomes the current one."""
    values = []
    for value, is_pointer in zip(slots, pointers):
        if is_pointer:
            if value.device is not local.device:
                memory.require(value.device)
            value = value.ptr
        values.append(value)
    return values


_RUN = """
def run({slots}, begin_, count_):
    here_ = local_.device
    {addresses}
    if {first}.device is not here_ or ({all}) & 15 or not count_:
        return general_({slots}, begin_, count_)
    function_ = here_.functions.get(digest_)
    if function_ is None:
        function_ = load_(here_)
    launch_ = here_.launchers.get({parameters}) or here_.launcher({parameters})
    code_ = launch_(function_, (count_ + {less}) // {elements}, {threads}, local_.stream, {values}, count_)
    if code_:
        here_.driver.fail(code_)
"""


class Pointwise:
    """An elementwise kernel: one of 16-byte accesses, one for misaligned views, one for each number of dimensions."""

    def __init__(self, text):
        self.text, self.name = text, text.name
        self.aligned = [(k, size) for k, size in enumerate(text.alignments) if size > 1]
        self.variants: dict = {}
        self.geometries: dict = {}
        self.run = self._general if text.strided else self._generate()

    def variant(self, kind, *arguments) -> Source:
        """The source of a variant: "vector", "scalar" or "by_rank" with its arguments."""
        key = kind, *arguments
        found = self.variants.get(key)
        if found is None:
            found = self.variants[key] = getattr(self.text, kind)(*arguments)
        return found

    def _generate(self):
        """The call for aligned contiguous operands, without loops; all else goes to `_general`."""
        text = self.text
        slots = [name for name, _ in text.parameters]
        pointers = [name for name, is_pointer in zip(slots, text.pointers) if is_pointer]
        elements = THREADS * text.width

        def load(here):
            source = self.variant("vector")
            names["digest_"] = source.digest
            return here.functions.get(source.digest) or here.load(source)

        names = {"local_": local, "digest_": None, "load_": load, "general_": self._general}
        code = _RUN.format(
            slots=", ".join(slots), first=pointers[0], all=" | ".join(f"at_{name}" for name in pointers),
            addresses="; ".join(f"at_{name} = {name}.ptr" for name in pointers), less=elements - 1, elements=elements,
            threads=THREADS, values=", ".join(f"at_{name}" if p else name for name, p in zip(slots, text.pointers)),
            parameters=len(slots) + 1,
        )  # fmt: skip
        exec(compile(code, f"<launch of {self.name}>", "exec"), names)
        return names["run"]

    def _general(self, *slots):
        values = _values(slots, self.text.pointers)
        if self.text.strided:
            geometry, end = slots[-3], slots[-1]
            known = self.geometries.get(id(geometry))
            if known is None or known[0] is not geometry:
                known = self._describe(geometry)
            _, source, numbers, row = known
            count = end * row
            values += numbers
        else:
            count = slots[-1]
            source = self.variant("vector")
            for k, size in self.aligned:
                if values[k] % size:
                    source = self.variant("scalar")
                    break
        values.append(count)
        if count:
            elements = source.threads * (self.text.width if source.name.endswith("_vector") else 1)
            run(source, -(-count // elements), values)

    def _describe(self, geometry):
        """(geometry, source, the numbers that stand for it, elements in a row); kept by the array's identity."""
        ndim, *numbers = geometry.tolist()
        sizes, steps = numbers[:ndim], numbers[ndim:]
        reach = [sum((n - 1) * s for n, s in zip(sizes, steps[k : k + ndim])) for k in range(0, len(steps), ndim)]
        bits = 32 if max([np.prod(sizes, dtype=object), *reach]) < 1 << 31 else 64
        if len(self.geometries) > 1 << 12:
            self.geometries.clear()
        known = self.geometries[id(geometry)] = geometry, self.variant("by_rank", ndim, bits), numbers, sizes[-1]
        return known


class Reduction:
    """A reduction: a thread, a warp or some blocks to each result, by the counts alone."""

    def __init__(self, text):
        self.text, self.name = text, text.name
        self.variants: dict = {}
        self.plans: dict = {}

    def variant(self, kind, *arguments) -> Source:
        """The source of a variant: "threads", "warps", "blocks" or "columns" with its arguments."""
        key = kind, *arguments
        found = self.variants.get(key)
        if found is None:
            found = self.variants[key] = getattr(self.text, kind)(*arguments)
        return found

    def run(self, *slots):
        values = _values(slots, self.text.pointers)
        key = values[2], values[3], slots[-1]
        plan = self.plans.get(key)
        if plan is None:
            if len(self.plans) > 1 << 12:
                self.plans.clear()
            plan = self.plans[key] = self._plan(*key)
        source, misaligned, units, parts, width = plan
        if units == 0:
            return
        if misaligned is not None and values[0] % 16:
            source = misaligned
        if parts == 0:
            run(source, -(-units // width), [*values, units])
        elif parts == 1:
            run(source, units, [*values, 1, 0, 0])
        else:
            partial = memory.empty(units * parts * width, np.dtype(self.text.carried))
            run(source, units * parts, [*values, parts, partial.ptr, memory.counters().ptr])

    def _plan(self, count, inner, units):
        """(source, source for misaligned operands, units, parts, width).

        ``parts`` 0: blocks take ``width`` units each. Else ``parts`` blocks work on each unit, and write ``width``
        partial results each where they are several.
        """
        text = self.text
        if text.along == "outer":
            outer = units // max(-(-inner // COLUMNS), 1)
            if count <= 32:
                return self.variant("threads"), None, outer * inner, 0, THREADS
            strips = outer * -(-inner // 32)
            parts = max(1, min(512 // max(strips, 1), -(-count // 64)))
            return self.variant("columns", 8), None, strips, parts, 32
        if count <= 8:
            return self.variant("threads"), None, units, 0, THREADS
        if count <= 512 or (count <= 4096 and units >= 2048):
            return self.variant("warps"), None, units, 0, THREADS // 32
        threads = 256 if count <= 1 << 14 else 512
        parts = max(1, min(256 // max(units, 1), -(-count // (threads * 16))))
        scalar = self.variant("blocks", threads, False)
        if text.itemsize < 4 or (units != 1 and count % text.width):
            return scalar, None, units, parts, 1
        return self.variant("blocks", threads, True), scalar, units, parts, 1


COLUMNS = 256  # columns in one unit of the CPU's reductions along an outer axis


class Rowwise:
    """A row kernel: a block to each row, or to each part where gradients of shared inputs are summed privately."""

    def __init__(self, name, make, pointers, first_dim, dims):
        self.name, self.make, self.pointers = name, make, pointers
        self.dims = slice(first_dim, first_dim + dims)
        self.variants: dict = {}

    def variant(self, threads) -> Source:
        """The source for blocks of ``threads``."""
        found = self.variants.get(threads)
        if found is None:
            found = self.variants[threads] = self.make(threads)
        return found

    def run(self, *slots):
        values = _values(slots, self.pointers)
        blocks = slots[-1]
        if blocks:
            run(self.variant(row_threads(max(values[self.dims], default=1))), blocks, values)


def row_threads(width: int) -> int:
    """Threads for a row of ``width`` elements: about four elements each, 32 to 1024 threads."""
    return min(1024, max(32, 1 << (max(width, 1) // 4 - 1).bit_length())) if width > 128 else 32


# --- cuLaunchKernel by address ---------------------------------------------------------------------------------------


@intrinsic
def _launch(typingctx, address, function, blocks, threads, stream, values):
    """Call ``cuLaunchKernel`` at ``address``; every parameter of the kernel is one of the eight-byte ``values``."""
    wide = types.int64
    signature = types.int32(wide, wide, wide, wide, wide, values)

    def codegen(context, builder, signature, arguments):
        address, function, blocks, threads, stream, values = arguments
        i32, i64 = ir.IntType(32), ir.IntType(64)
        opaque = ir.IntType(8).as_pointer()
        count = len(signature.args[-1])
        places = cgutils.alloca_once(builder, ir.ArrayType(opaque, max(count, 1)))
        for k in range(count):
            value = cgutils.alloca_once(builder, i64)
            builder.store(builder.extract_value(values, k), value)
            builder.store(builder.bitcast(value, opaque), builder.gep(places, [i32(0), i32(k)]))
        kind = ir.FunctionType(i32, [opaque] + [i32] * 7 + [opaque, opaque, opaque])
        one, none = i32(1), ir.Constant(opaque, None)
        blocks, threads = builder.trunc(blocks, i32), builder.trunc(threads, i32)
        return builder.call(
            builder.inttoptr(address, kind.as_pointer()),
            [builder.inttoptr(function, opaque), blocks, one, one, threads, one, one, i32(0),
             builder.inttoptr(stream, opaque), builder.bitcast(places, opaque), none],
        )  # fmt: skip

    return signature, codegen


_LAUNCHER = '''"""A launch of a CUDA kernel with {n} parameters."""


def launch(address, function, blocks, threads, stream, {values}):
    return launch_kernel(address, function, blocks, threads, stream, ({values},))
'''
_launchers: dict = {}


def launcher(n: int):
    """The builtin ``launch(address, function, blocks, threads, stream, *values) -> error code`` for ``n`` values:
    ``cuLaunchKernel`` at ``address`` with addresses, integers and floats as eight-byte parameters."""
    found = _launchers.get(n)
    if found is None:
        text = _LAUNCHER.format(n=n, values=", ".join(f"v{k}" for k in range(n)))
        fn = load_module(f"launcher{n}", text, {"launch_kernel": _launch}).launch
        signature = types.int32(*(types.int64,) * 5, *(slot,) * n)
        dispatcher = numba.njit(error_model="numpy")(fn)
        dispatcher._cache = CompiledCode(fn)
        dispatcher.compile(signature)
        found = _launchers[n] = dispatcher.overloads[signature.args].entry_point
        _keep_alive.append(dispatcher)
    return found


_keep_alive: list = []
