"""From an emitted kernel to PTX and to a cubin, kept in the cache folder under a hash of all that determines it.

Neither needs a GPU or its driver: Numba makes PTX for a given compute capability, nvJitLink makes machine code of
it. A cubin found in the cache is used without importing Numba's CUDA compiler at all. Fast-math stays off.
"""

import contextlib
import functools
import hashlib
import re
import sys
import threading
import types as python_types
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from .. import cache
from ..fingerprint import fingerprint
from ..jit import load_module
from ..vocab import CPU_WORDS, typed

_lock = threading.RLock()


@dataclass
class Body:
    """A function that an emitted kernel calls: an op's body for compute type ``T``; ``threads`` own a row where it is
    written in row words."""

    fn: python_types.FunctionType
    T: type
    threads: int = 0


@dataclass
class Source:
    """An emitted CUDA kernel: the text of its module, the types of its parameters and the functions that it names.

    ``parameters`` are spelled "float32*" (a pointer), "int64" or "float64"; ``threads`` is the size of a block, known
    when the kernel is compiled. ``names`` are further globals of the module, as they stand in Python.
    """

    name: str
    text: str
    parameters: tuple
    threads: int
    bodies: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)

    @functools.cached_property
    def digest(self) -> str:
        """A hash of everything but the target that the machine code depends on."""
        bodies = [(name, b.fn, b.T.__name__, b.threads) for name, b in self.bodies.items()]
        return fingerprint(self.text, self.parameters, self.threads, bodies, self.names, _toolchain())[:24]


@functools.cache
def _toolchain():
    packages = ("numba-cuda", "numba", "llvmlite", "numpy", "cuda-core", "nvidia-nvvm", "nvidia-nvjitlink",
                "nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink-cu12")  # fmt: skip
    found = [f"python {sys.version_info[:2]}"]
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    # What the words of bodies mean on a GPU: the fingerprint sees their names only.
    own = "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))
    return " ".join(found) + hashlib.sha256(own.encode()).hexdigest()


def cubin(source: Source, capability: tuple[int, int]) -> bytes:
    """Machine code of ``source`` for a compute capability such as ``(9, 0)``: from the cache, else compiled."""
    major, minor = capability
    name = f"numgrad_{source.name}_{source.digest}.sm_{major}{minor}.cubin"
    code = cache.read(name, source.digest)
    if code is None:
        code = link(ptx(source, capability), capability)
        cache.write(name, source.digest, code)
    return code


def link(text: str, capability: tuple[int, int]) -> bytes:
    """The cubin that nvJitLink makes of PTX."""
    return _linked(text, capability)[0]


def resources(text: str, capability: tuple[int, int]) -> dict[str, int]:
    """What a kernel takes on a GPU: its registers a thread, and the bytes it spills for lack of more."""
    log = _linked(text, capability, ptxas_options=["-v"])[1]
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    registers = re.search(r"Used (\d+) registers", log)
    if spills is None or registers is None:
        raise RuntimeError(f"nvJitLink did not report the kernel's resources: {log!r}")
    return {"registers": int(registers[1]), "spilled": int(spills[1]) + int(spills[2])}


def _linked(text, capability, **options):
    """(cubin, what nvJitLink says about it)."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    arch = f"sm_{capability[0]}{capability[1]}"
    linker = Linker(ObjectCode.from_ptx(text.encode()), options=LinkerOptions(arch=arch, **options))
    return bytes(linker.link("cubin").code), linker.get_info_log()


def ptx(source: Source, capability: tuple[int, int]) -> str:
    """The PTX of ``source``; its entry point is called ``source.name``."""
    from numba import cuda
    from numba.cuda import types

    kinds = {"int64": types.int64, "float64": types.float64}
    for parameter in source.parameters:
        if parameter.endswith("*"):
            kinds[parameter] = types.CPointer(getattr(types, parameter[:-1]))
    signature = types.void(*[kinds[parameter] for parameter in source.parameters])
    with _lock, _compiling_for(capability):
        kernel = getattr(_module(source), source.name)
        text, _ = cuda.compile(
            kernel, signature, device=False, abi="numba", cc=capability, output="ptx", fastmath=False,
            launch_bounds=source.threads,
        )  # fmt: skip
    entry = re.search(r"\.entry\s+(\S+?)\(", text)[1]  # type: ignore[index]
    return text.replace(entry, source.name)


@contextlib.contextmanager
def _compiling_for(capability):
    """Numba asks for the current device when a kernel calls device functions; here the target is known without one."""
    from numba.cuda import dispatcher

    asked = dispatcher.get_current_device
    target = python_types.SimpleNamespace(compute_capability=capability)
    dispatcher.get_current_device = lambda: target
    try:
        yield
    finally:
        dispatcher.get_current_device = asked


def _module(source):
    """The emitted module, its names bound to device functions."""
    from numba import cuda
    from numba.cuda import types

    from . import vectors, vocab

    names = {"cuda": cuda, "types": types, "device": vocab.device, "warp_fold": vocab.warp_fold,
             "block_fold": vocab.block_fold}  # fmt: skip
    names.update((name, getattr(vectors, name)) for name in VECTOR_NAMES)
    for name, body in source.bodies.items():
        words = {**vocab.WORDS, **vocab.row_words(body.T, body.threads)} if body.threads else vocab.WORDS
        names[name] = _device_function(body.fn, body.T, words, name)
    names.update(_device_names(source.names, {}))
    return load_module(f"cuda_{source.name}", source.text, names, key=source.digest)


VECTOR_NAMES = ("map_vector", "load_vector", "fold_vector", "shifted", "divided32", "divided64", "count_up", "slots",
                "pointer", "integer", "real", "stack_array")  # fmt: skip
_CPU_FUNCTIONS = {fn: name for name, fn in CPU_WORDS.items()}


def _device_function(fn, T, words, name=None):
    """An op's body as a device function for compute type ``T``, with the plain functions that it calls."""
    from .vocab import device

    function = typed(fn, T, words, name)
    names = function.__globals__
    for used, value in names.items():
        if type(value) is python_types.FunctionType:
            known = _CPU_FUNCTIONS.get(value)
            names[used] = words[known] if known else _device_function(value, T, words)
    return device(function)


def _device_names(names, made):
    """Globals of a hand-written kernel for a CUDA module: functions compiled for the CPU, and plain ones, as device
    functions; the words of slots and of the vocabulary as CUDA's."""
    from . import vectors, vocab

    found = {}
    for name, value in names.items():
        fn = getattr(value, "py_func", value)
        if name in VECTOR_NAMES:
            found[name] = getattr(vectors, name)
        elif type(fn) is not python_types.FunctionType:
            found[name] = value
        elif fn in _CPU_FUNCTIONS:
            found[name] = vocab.WORDS[_CPU_FUNCTIONS[fn]]
        elif fn in made:
            found[name] = made[fn]
        else:
            used = {k: fn.__globals__[k] for k in fn.__code__.co_names if k in fn.__globals__}
            copy = python_types.FunctionType(
                fn.__code__, {"__builtins__": __builtins__}, fn.__name__, fn.__defaults__, fn.__closure__
            )
            made[fn] = found[name] = vocab.device(copy)
            copy.__globals__.update(_device_names(used, made))
    return found
