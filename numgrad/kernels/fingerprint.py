"""What a piece of machine code depends on, as a hash: the bytecode of all that it calls, and the constants it names.

A kernel is compiled anew exactly when its fingerprint changes. Comments, docstrings and line numbers are no part of it,
nor are functions that it does not reach, so that a change in one file leaves the kernels of the others alone. The same
bytecode says how long a kernel's body is.
"""

import dis
import hashlib
import inspect
import sys
import types as python_types
from pathlib import Path

import numpy as np
from numba import types
from numba.core.dispatcher import Dispatcher
from numba.extending import _Intrinsic


def fingerprint(*values) -> str:
    """A hash of ``values`` and, recursively, of the functions, constants and classes of ours that they name.

    What belongs to a function: its bytecode, its defaults, its closure, its attributes (a word of the vocabulary carries
    its implementations there), the globals that it names and, of a compiled one, its flags. A class of ours stands
    for the whole of its file, since registrations with Numba stand beside it; what belongs to other packages counts by
    its name, because their versions are part of the cache's key.
    """
    walk = _Walk()
    for value in values:
        walk.add(value)
    return walk.digest()


def module_fingerprint(code, names, *values) -> str:
    """That of a module's code object that runs with the globals ``names``, and of ``values``."""
    text, used = _code(code)
    walk = _Walk()
    walk.add((text, *values))
    walk.globals(used, names)
    return walk.digest()


def instructions(fn) -> int:
    """How many bytecode instructions ``fn`` has with each call of a function of ours written out in its place."""
    return _instructions(fn, {})


def _instructions(fn, found):
    fn = getattr(fn, "op", fn)
    fn = getattr(fn, "fn", None) or getattr(fn, "py_func", fn)
    if not isinstance(fn, python_types.FunctionType) or not _is_ours(fn):
        return 0
    if fn not in found:
        found[fn] = 0  # while it is counted, so that recursion ends
        called = [fn.__globals__.get(name) for name, _ in _read_globals(fn.__code__)]
        found[fn] = len(fn.__code__.co_code) // 2 + sum(_instructions(value, found) for value in called)
    return found[fn]


class _Walk:
    def __init__(self):
        self.parts: list[str] = []
        self.numbers: dict[int, int] = {}  # of the functions met so far, by identity
        self.alive: list = []

    def digest(self):
        return hashlib.sha256("\n".join(self.parts).encode()).hexdigest()

    def add(self, value):
        """Describe ``value``; a function that was met before by its number, so that recursion ends."""
        kind = type(value)
        if value is None or kind in _PLAIN:
            self.parts.append(f"{kind.__name__} {value!r}")
        elif kind in (tuple, list):
            self.parts.append(f"{kind.__name__} of {len(value)}")
            for part in value:
                self.add(part)
        elif kind in (set, frozenset):
            self.add(sorted(map(repr, value)))
        elif isinstance(value, dict):
            self.parts.append(f"dict of {len(value)}")
            for key, part in value.items():
                self.add(key)
                self.add(part)
        elif isinstance(value, (np.generic, np.ndarray)):
            self.parts.append(f"{value.dtype} {np.shape(value)} {value.tobytes().hex()}")
        elif id(value) in self.numbers:
            self.parts.append(f"number {self.numbers[id(value)]}")
        elif kind is python_types.ModuleType:
            self.parts.append(f"module {value.__name__}")
        elif isinstance(value, type):
            self.class_(value)
        else:
            self.numbers[id(value)] = len(self.numbers)
            self.alive.append(value)
            self.object(value)

    def object(self, value):
        if isinstance(value, Dispatcher):
            self.parts.append(f"compiled {_options(value.targetoptions)}")
            self.add(value.py_func)
        elif isinstance(value, _Intrinsic):
            self.parts.append(f"intrinsic {value._prefer_literal}")
            self.add(value._defn)
        elif isinstance(value, python_types.FunctionType):
            # An op that a body uses stands for its own body.
            self.function(value.op.fn if hasattr(value, "op") else value)
        elif isinstance(value, types.Type):
            self.parts.append(f"type {value}")
            self.class_(type(value))
        elif _is_ours(type(value)):
            self.parts.append(repr(value) if " at 0x" not in repr(value) else "")
            self.class_(type(value))
        elif type(value).__module__.startswith("llvmlite"):
            self.parts.append(f"llvm {value}")
        else:
            name = getattr(value, "__qualname__", "")
            self.parts.append(f"object {type(value).__module__}.{type(value).__qualname__} {name}")

    def function(self, fn):
        if fn.__globals__.get("__name__", "").split(".")[0] in _VERSIONED:
            self.parts.append(f"function {fn.__module__}.{fn.__qualname__}")
        else:
            self.body(fn)
        for name, value in fn.__dict__.items():
            self.parts.append(name)
            self.add(value)

    def body(self, fn):
        text, names = _code(fn.__code__)
        self.parts.append(text)
        self.add(fn.__defaults__)
        self.add(fn.__kwdefaults__)
        for cell in fn.__closure__ or ():
            self.add(cell.cell_contents)
        self.globals(names, fn.__globals__)

    def globals(self, names, values):
        """What the ``names`` of a code object stand for; (module, attribute) where the code takes it from a module."""
        for name, attribute in names:
            if name not in values:
                continue  # a builtin
            value = values[name]
            if attribute and isinstance(value, python_types.ModuleType) and value.__name__.split(".")[0] == _PACKAGE:
                self.parts.append(f"{name}.{attribute}")
                self.add(getattr(value, attribute))
            else:
                self.parts.append(name)
                self.add(value)

    def class_(self, cls):
        self.parts.append(f"class {cls.__module__}.{cls.__qualname__}")
        if _is_ours(cls):
            self.parts.append(_file_digest(cls.__module__))


_PACKAGE = __name__.partition(".")[0]
_VERSIONED = {"numba", "numpy", "llvmlite", *sys.stdlib_module_names}  # named by the toolchain, with their versions
_PLAIN = (bool, int, float, complex, str, bytes, type(Ellipsis), range, slice)


def _is_ours(value):
    return (getattr(value, "__module__", None) or "").split(".")[0] == _PACKAGE


def _options(options):
    described = {key: sorted(value) if isinstance(value, (set, frozenset)) else value for key, value in options.items()}
    return repr(sorted(described.items()))


_codes: dict = {}


def _code(code):
    """(text, names) of a code object with those inside it: its instructions and constants, and the globals that it reads,
    each with the attribute that is taken from it or None."""
    found = _codes.get(code)
    if found is None:
        constants, names = [], _read_globals(code)
        for constant in code.co_consts[_has_docstring(code) :]:
            if isinstance(constant, python_types.CodeType):
                text, inner = _code(constant)
                constants.append(text)
                names += inner
            else:
                constants.append(_constant(constant))
        text = repr((
            code.co_code.hex(), code.co_exceptiontable.hex(), code.co_flags, code.co_argcount, code.co_kwonlyargcount,
            code.co_names, code.co_varnames, code.co_freevars, constants,
        ))  # fmt: skip
        found = _codes[code] = hashlib.sha256(text.encode()).hexdigest(), tuple(dict.fromkeys(names))
    return found


def _has_docstring(code):
    """Whether the first constant of a function is its docstring, or None in its place (Python 3.11 and 3.12)."""
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & inspect.CO_HAS_DOCSTRING)
    function = code.co_flags & inspect.CO_NEWLOCALS and code.co_name != "<lambda>"
    return bool(function and code.co_consts and isinstance(code.co_consts[0], (str, type(None))))


# The opcodes that read names, with the low bits of their argument that say something else.
_FLAG_BITS = {"LOAD_NAME": 0, "LOAD_GLOBAL": 1, "LOAD_METHOD": 0, "LOAD_ATTR": int(sys.version_info >= (3, 12))}
_READS = {dis.opmap[name]: (name, bits) for name, bits in _FLAG_BITS.items() if name in dis.opmap}
_CACHE, _EXTENDED = dis.opmap["CACHE"], dis.opmap["EXTENDED_ARG"]


def _read_globals(code):
    # As dis.get_instructions would say, in a tenth of the time.
    names, last, extended, steps = [], None, 0, code.co_code
    for at in range(0, len(steps), 2):
        opcode = steps[at]
        if opcode == _CACHE:
            continue
        argument, extended = steps[at + 1] | extended, 0
        if opcode == _EXTENDED:
            extended = argument << 8
            continue
        name, bits = _READS.get(opcode, (None, 0))
        if name is None:
            last = None
        elif name in ("LOAD_NAME", "LOAD_GLOBAL"):
            last = code.co_names[argument >> bits]
            names.append((last, None))
        elif last is not None:
            names[-1] = last, code.co_names[argument >> bits]
            last = None
    return names


def _constant(value):
    if isinstance(value, (tuple, frozenset)):
        parts = [_constant(part) for part in value]
        return f"{type(value).__name__}{sorted(parts) if isinstance(value, frozenset) else parts}"
    return f"{type(value).__name__} {value!r}"


_files: dict = {}


def _file_digest(module):
    found = _files.get(module)
    if found is None:
        file = getattr(sys.modules[module], "__file__", None)
        found = _files[module] = hashlib.sha256(Path(file).read_bytes() if file else b"").hexdigest()
    return found
