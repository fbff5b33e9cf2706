"""An interpreter for emitted CUDA kernels: every thread a Python generator, every access checked.

It runs the text that is compiled for a GPU, at tiny sizes and without one, and stops at what a GPU would get wrong
silently: accesses out of bounds, misaligned vectors, threads that miss a barrier or a shuffle, and two threads that
touch one element without a barrier between them. `simulation` runs whole programs on it.
"""

import ast
import functools
import inspect
import linecache
import textwrap
import types as python_types

import numpy as np

from .. import jit
from ..vocab import CPU_WORDS, typed
from . import vectors, vocab
from .compile import VECTOR_NAMES, Body, Source

_WARP = 32


class KernelError(RuntimeError):
    """A kernel did what a GPU does not forgive."""


# --- memory ----------------------------------------------------------------------------------------------------------


class Pointer:
    """A typed place in an array: indexed without wrapping round, within the array's bounds."""

    __slots__ = ("array", "offset")

    def __init__(self, array, offset=0):
        self.array, self.offset = array, offset

    def place(self, index, width=1):
        """The position in the array of ``width`` elements from ``index`` on; KernelError outside."""
        at = int(index) + self.offset
        if at < 0 or at + width > self.array.size:
            raise KernelError(f"access to elements {at} to {at + width} of an array of {self.array.size}")
        return at

    def __getitem__(self, index):
        at = self.place(index)
        _running.touch(self.array, at, False)
        return self.array[at]

    def __setitem__(self, index, value):
        at = self.place(index)
        before = self.array[at]
        self.array[at] = value
        _running.touch(self.array, at, True, before == self.array[at])

    def vector(self, index, width):
        """The position of a vector access; KernelError unless its address is a multiple of its size, 16 at most."""
        at = self.place(index, width)
        address = self.array.__array_interface__["data"][0] + at * self.array.itemsize
        size = min(16, width * self.array.itemsize)
        if address % size:
            raise KernelError(f"an access of {size} bytes at an address that is no multiple of {size}")
        return at


def _map_vector(function, index, width, sources, numbers, targets):
    columns = [[p[index + k] for k in range(width)] for p in sources if p.vector(index, width) >= 0]
    results = [function(*(column[k] for column in columns), *numbers) for k in range(width)]
    for j, target in enumerate(targets):
        target.vector(index, width)
        for k, value in enumerate(results):
            target[index + k] = value if len(targets) == 1 else value[j]


def _load_vector(pointer, index, width):
    pointer.vector(index, width)
    return tuple(pointer[index + k] for k in range(width))


def _fold_vector(step, totals, values, numbers):
    return tuple(step(total, value, *numbers) for total, value in zip(totals, values))


def _count_up(counters, index):
    at = counters.place(index)
    counters.array[at] += 1
    return counters.array[at] - 1


_MEANING = {
    "map_vector": _map_vector,
    "load_vector": _load_vector,
    "fold_vector": _fold_vector,
    "count_up": _count_up,
    "shifted": lambda pointer, count: Pointer(pointer.array, pointer.offset + int(count)),
    "divided32": divmod,
    "divided64": divmod,
    "slots": lambda values: values,
    "pointer": lambda operands, k, dtype: _running.machine.pointer(operands[k], np.dtype(dtype)),
    "integer": lambda operands, k: int(operands[k]),
    "real": lambda operands, k: float(operands[k]),
    "stack_array": lambda count, like: Pointer(np.empty(count, type(like))),
}


class _Running:
    """The thread that runs now, and who touched what since the last barrier."""

    def __init__(self):
        self.machine = self.thread = None
        self.epoch = 0
        self.writers: dict = {}
        self.readers: dict = {}

    def begin_block(self):
        self.epoch += 1
        self.writers.clear()
        self.readers.clear()

    def touch(self, array, at, write, unchanged=False):
        """Note an access; KernelError if another thread of the block touched the element since the last barrier and
        one of the two wrote. Several threads may write the same value."""
        if self.thread is None:
            return
        key = array.__array_interface__["data"][0] + at * array.itemsize
        me = self.epoch, self.thread
        writer = self.writers.get(key)
        reader = self.readers.get(key)
        other_writer = writer is not None and writer[0] == self.epoch and writer != me and not unchanged
        other_reader = write and reader is not None and reader[0] == self.epoch and reader != me
        if other_writer or other_reader:
            other = writer if other_writer else reader
            raise KernelError(f"threads {self.thread} and {other[1]} race for an element")
        if write:
            self.writers[key] = me
        elif reader is None or reader[0] != self.epoch:
            self.readers[key] = me
        elif reader != me:
            self.readers[key] = self.epoch, "several"


_running = _Running()


# --- from a function to a generator ----------------------------------------------------------------------------------


_INTRINSICS = {getattr(vectors, name): _MEANING[name] for name in VECTOR_NAMES}
_INTRINSICS |= {getattr(jit, name): _MEANING[name] for name in ("pointer", "integer", "real", "shifted")}
_WORD_NAMES = {word: CPU_WORDS[name] for name, word in vocab.WORDS.items()}


def _meaning(value):
    """What a name of a kernel means here: words and intrinsics in plain Python, functions translated."""
    try:
        known = _INTRINSICS.get(value) or _WORD_NAMES.get(value)
    except TypeError:
        return value
    if known is not None:
        return known
    fn = getattr(value, "py_func", value)
    if type(fn) is not python_types.FunctionType or fn in _PLAIN:
        return value
    return _translate(fn)


_PLAIN = {*CPU_WORDS.values(), *_MEANING.values()}


@functools.cache
def _is_threaded(fn):
    """Whether a function asks which thread it is, itself or through what it calls."""
    if "cuda" in fn.__code__.co_names:
        return True
    return any(_is_threaded(value) for value in _called(fn).values())


def _called(fn):
    found = {}
    for name, value in _environment(fn).items():
        value = getattr(value, "py_func", value)
        if type(value) is python_types.FunctionType and value is not fn and value not in _PLAIN:
            found[name] = value
    return found


def _environment(fn):
    names = {name: fn.__globals__[name] for name in fn.__code__.co_names if name in fn.__globals__}
    if fn.__closure__:
        names.update(zip(fn.__code__.co_freevars, (cell.cell_contents for cell in fn.__closure__)))
    return names


_translated: dict = {}


def _translate(fn):
    """``fn`` as it runs here; a generator that takes the thread first where it is threaded."""
    found = _translated.get(fn)
    if found is not None:
        return found
    threaded = _is_threaded(fn)
    names = {**fn.__globals__, **{name: _meaning(value) for name, value in _environment(fn).items()}}
    if threaded:
        tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))
        node = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
        node.decorator_list = []
        arguments = node.args
        arguments.args = [ast.arg("cuda"), *arguments.args, *arguments.kwonlyargs]
        arguments.kwonlyargs, arguments.kw_defaults, arguments.defaults = [], [], []
        called = {name for name, value in _called(fn).items() if _is_threaded(value)}
        translator = _Translator(fn.__name__, called, _compute_types.get(fn))
        node = translator.visit(node)
        node.body.append(ast.parse("if False:\n    yield").body[0])
        module = ast.fix_missing_locations(ast.Module([node], []))
        names.pop("cuda", None)
        names.update(translator.constants)
        exec(compile(module, f"<interpreted {fn.__name__}>", "exec"), names)
        result = names[node.name]
    else:
        cells = [python_types.CellType(_meaning(cell.cell_contents)) for cell in fn.__closure__ or ()]
        result = python_types.FunctionType(fn.__code__, names, fn.__name__, fn.__defaults__, tuple(cells) or None)
    _translated[fn] = result
    return result


class _Translator(ast.NodeTransformer):
    """Barriers and shuffles become yields, calls of threaded functions pass the thread on."""

    def __init__(self, function, called, T):
        self.function, self.called, self.T = function, called, T
        self.constants: dict = {}

    def visit_Constant(self, node):
        if type(node.value) is float and self.T is not None:
            name = f"constant{len(self.constants)}_"
            self.constants[name] = self.T(node.value)
            return ast.Name(name, ast.Load())
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        site = ast.Constant(f"{self.function}:{node.lineno}:{node.col_offset}")
        name = ast.unparse(node.func)
        if name in ("cuda.syncthreads", "cuda.shfl_xor_sync"):
            return ast.Yield(ast.Tuple([ast.Constant(name[5:]), site, *node.args], ast.Load()))
        if name == "cuda.shared.array":
            return ast.Call(ast.parse("cuda.shared_array", mode="eval").body, [site, *node.args], [])
        if name in self.called:
            return ast.YieldFrom(ast.Call(node.func, [ast.Name("cuda", ast.Load()), *node.args], node.keywords))
        return node


# --- modules ---------------------------------------------------------------------------------------------------------

_TYPES = python_types.SimpleNamespace(**{name: name for name in ("int32", "int64", "float32", "float64", "uint8")})


def _body(body: Body):
    """The function of a body: typed, words in their plain meaning; not translated yet where it has row words."""
    words = dict(CPU_WORDS)
    if body.threads:
        words.update(vocab.row_words(body.T, body.threads))
    function = typed(body.fn, body.T, words)
    names = function.__globals__
    for used, value in names.items():
        if type(value) is python_types.FunctionType and value not in _PLAIN:
            names[used] = _body(Body(value, body.T))
    if body.threads:
        _compute_types[function] = body.T
    return function


_compute_types: dict = {}  # of row bodies, whose float constants are retyped when they are translated


@functools.lru_cache(256)
def _kernel(digest, source_key):
    source = source_key.source
    names = {"device": lambda fn: fn, "types": _TYPES, "cuda": None}
    names.update(warp_fold=vocab.warp_fold.py_func, block_fold=vocab.block_fold.py_func)
    names.update(_MEANING)
    for name, value in source.names.items():
        names[name] = _MEANING[name] if name in _MEANING else getattr(value, "py_func", value)
    names.update((name, _body(body)) for name, body in source.bodies.items())
    filename = f"<{source.name} {digest}>"
    linecache.cache[filename] = (len(source.text), None, source.text.splitlines(True), filename)
    exec(compile(source.text, filename, "exec"), names)
    return _translate(names[source.name])


class _SourceKey:
    """A source that is hashed by its digest alone."""

    def __init__(self, source):
        self.source = source

    def __eq__(self, other):
        return self.source.digest == other.source.digest

    def __hash__(self):
        return hash(self.source.digest)


# --- blocks of threads -----------------------------------------------------------------------------------------------


class _Index:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class _Thread:
    """What a thread sees as ``cuda``."""

    def __init__(self, block, thread, threads, blocks, shared):
        self.threadIdx, self.blockIdx = _Index(thread), _Index(block)
        self.blockDim, self.gridDim = _Index(threads), _Index(blocks)
        self.shared = shared

    def grid(self, dimensions):
        """The number of the thread in the whole grid."""
        return self.blockIdx.x * self.blockDim.x + self.threadIdx.x

    def threadfence(self):
        """Blocks run one after the other here: memory is always in order."""

    def shared_array(self, site, size, kind):
        """The block's own array of a place in the program; poisoned, not zero."""
        if site not in self.shared:
            memory = np.empty(size, np.dtype(str(kind)))
            memory.view(np.uint8)[...] = 0xA5
            self.shared[site] = Pointer(memory)
        return self.shared[site]


def run(source: Source, blocks: int, arguments, machine=None) -> None:
    """Run a kernel: pointers are flat ndarrays or `Pointer`, numbers as they are. Addresses among the numbers are those
    of ``machine``."""
    kernel = _kernel(source.digest, _SourceKey(source))
    values = [Pointer(value) if isinstance(value, np.ndarray) else value for value in arguments]
    before = _running.machine
    _running.machine = machine
    try:
        with np.errstate(all="ignore"):
            for block in range(blocks):
                shared: dict = {}
                _running.begin_block()
                threads = [_Thread(block, k, source.threads, blocks, shared) for k in range(source.threads)]
                _run_block([kernel(thread, *values) for thread in threads])
    finally:
        _running.machine, _running.thread = before, None


def _run_block(threads):
    """Run the threads of a block from barrier to barrier."""
    waiting: list = [None] * len(threads)  # what a thread asked for last
    answers: list = [None] * len(threads)
    alive = set(range(len(threads)))
    while alive:
        for first in range(0, len(threads), _WARP):
            _run_warp(threads, range(first, min(first + _WARP, len(threads))), waiting, answers, alive)
        sites = {waiting[k][1] for k in alive}
        if len(sites) > 1:
            raise KernelError(f"threads of a block wait at different barriers: {sorted(sites)}")
        for k in alive:
            waiting[k] = None
        _running.epoch += 1


def _run_warp(threads, lanes, waiting, answers, alive):
    """Run a warp until all its threads have ended or wait at a barrier."""
    while True:
        for k in lanes:
            if k in alive and waiting[k] is None:
                _running.thread = k
                try:
                    waiting[k], answers[k] = threads[k].send(answers[k]), None
                except StopIteration:
                    alive.discard(k)
        _running.thread = None
        live = [k for k in lanes if k in alive]
        asked = {waiting[k][:2] for k in live}
        if all(kind == "syncthreads" for kind, _ in asked):
            return
        if len(asked) > 1 or len(live) < len(lanes):
            raise KernelError(f"only some lanes of a warp come to a shuffle: {sorted(asked)}, {len(live)} lanes")
        values = {k: waiting[k][3] for k in lanes}
        for k in lanes:
            answers[k] = values[lanes.start + ((k - lanes.start) ^ waiting[k][4])]
            waiting[k] = None
