"""Compilation: the project's one set of Numba flags, kernels by address, emitted modules.

A CPU kernel is ``void kernel(int64* operands, int64 begin, int64 end)``. Its operands are eight-byte *slots*:
the address of an array's first element, an integer, or the bits of a float64; the kernel knows which is which.
`callers` call it from Python; `cache` keeps the files, under names that `fingerprint` makes.

With ``NUMBA_DISABLE_JIT=1`` the same kernels run as the Python functions that they are: a kernel's "address" is
the function, a pointer is the ndarray itself.
"""

import functools
import inspect
import sys
import textwrap
import types as python_types
from pathlib import Path

import llvmlite
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from .. import forks
from . import cache
from .cache import CompiledCode
from .fingerprint import module_fingerprint

PYTHON_MODE = bool(numba.config.DISABLE_JIT)
# Never nnan or ninf: NaN and inf must survive. Nor arcp: with it x / sqrt(x) is NaN at 0 and at infinity.
FASTMATH = {"reassoc", "contract", "nsz"}

# Functions that only kernels call need no wrappers for Python and C: a third of the compile time.
_INNER = {"error_model": "numpy", "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

KERNEL_SIGNATURE = types.void(types.CPointer(types.int64), types.int64, types.int64)
compiled_kernels: list[str] = []  # what this process compiled or loaded, in order: op, dtypes and layout


# --- what kernel bodies are built from ----------------------------------------------------------------------


def scalar(fn):
    """Compile ``fn`` as a scalar building block: contraction only, always inlined into the kernel that calls it."""
    if PYTHON_MODE:
        return fn
    return numba.njit(fastmath={"contract"}, forceinline=True, **_INNER)(fn)


def inlined(fn):
    """Compile ``fn`` for use inside kernels, with the kernels' own fast-math flags."""
    if PYTHON_MODE:
        return fn
    return numba.njit(fastmath=FASTMATH, forceinline=True, **_INNER)(fn)


def routine(fn):
    """Compile ``fn`` for use inside kernels as a function of its own: called, not inlined."""
    if PYTHON_MODE:
        return fn
    return numba.njit(fastmath=FASTMATH, **_INNER)(fn)


@intrinsic
def _pointer(typingctx, operands, k, dtype):
    element = dtype.dtype
    signature = types.CPointer(element)(types.CPointer(types.int64), types.int64, dtype)

    def codegen(context, builder, signature, arguments):
        # On AVX-512 machines LLVM prefers 256-bit vectors; 512 measured 25-40 % faster.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        address = builder.load(builder.gep(arguments[0], [arguments[1]]))
        return builder.inttoptr(address, context.get_data_type(element).as_pointer())

    return signature, codegen


@intrinsic
def _real(typingctx, operands, k):
    signature = types.float64(types.CPointer(types.int64), types.int64)

    def codegen(context, builder, signature, arguments):
        bits = builder.load(builder.gep(arguments[0], [arguments[1]]))
        return builder.bitcast(bits, ir.DoubleType())

    return signature, codegen


@intrinsic
def _shifted(typingctx, pointer, count):
    signature = pointer(pointer, types.int64)

    def codegen(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return signature, codegen


@intrinsic(prefer_literal=True)
def _stack_array(typingctx, count, like):
    if not isinstance(count, types.IntegerLiteral):
        return None
    element = types.unliteral(like)
    signature = types.CPointer(element)(count, like)

    def codegen(context, builder, signature, arguments):
        memory = cgutils.alloca_once(builder, ir.ArrayType(context.get_data_type(element), count.literal_value))
        return builder.bitcast(memory, context.get_data_type(element).as_pointer())

    return signature, codegen


if PYTHON_MODE:

    def pointer(operands, k, dtype):
        array = operands[k]
        parts = array.dtype.kind == "c" and not issubclass(dtype, np.complexfloating)
        return array.view(dtype) if dtype is np.uint16 or array.dtype.kind == "V" or parts else array

    def integer(operands, k):
        return int(operands[k])

    def real(operands, k):
        return float(operands[k])

    def shifted(pointer, count):
        return pointer[int(count) :]

    def stack_array(count, like):
        return np.empty(count, type(like))

else:
    stack_array = _stack_array  # stack_array(count, like): uninitialised, of a literal size and of `like`'s type

    @inlined
    def pointer(operands, k, dtype):
        """Slot ``k`` as a pointer to elements of ``dtype`` (index it like a flat array; no bounds, no wrap)."""
        return _pointer(operands, k, dtype)

    @inlined
    def integer(operands, k):
        """Slot ``k`` as an int64."""
        return operands[k]

    @inlined
    def real(operands, k):
        """Slot ``k`` as a float64."""
        return _real(operands, k)

    @inlined
    def shifted(pointer, count):
        """The pointer ``count`` elements further on."""
        return _shifted(pointer, count)


# --- kernels: compiled once, known by address ----------------------------------------------------------------


def kernel(fn):
    """Compile ``fn(operands, begin, end)`` and return its address (in Python mode: the function itself)."""
    compiled_kernels.append(fn.__globals__.get("__doc__") or fn.__name__)
    if PYTHON_MODE:
        return fn
    compiled = CFunc(fn, (KERNEL_SIGNATURE.args, KERNEL_SIGNATURE.return_type), locals={}, options=_KERNEL_OPTIONS)
    compiled._cache = CompiledCode(fn)
    compiled.compile()
    _keep_alive.append(compiled)
    return compiled.address


_KERNEL_OPTIONS = {"nopython": True, "fastmath": FASTMATH, "error_model": "numpy"}
_keep_alive: list = []


class Template:
    """A hand-written kernel with compile-time parameters: the keyword-only arguments of its function.

    ``template(T=np.float32)`` writes the function's source, with those names bound, as a module in the cache
    folder, compiles it, and returns the kernel's address; the same arguments return the same address.
    """

    def __init__(self, fn):
        self.fn, self.__name__, self.__doc__ = fn, fn.__name__, fn.__doc__
        self._addresses = {}

    def __call__(self, **parameters):
        key = tuple(parameters.items())
        address = self._addresses.get(key)
        if address is None:
            address = self._addresses[key] = self._compile(parameters)
        return address

    def _compile(self, parameters):
        expected = [p.name for p in inspect.signature(self.fn).parameters.values() if p.kind is p.KEYWORD_ONLY]
        if sorted(expected) != sorted(parameters):
            raise TypeError(f"kernel {self.__name__} takes the parameters {expected}, got {sorted(parameters)}")
        source = textwrap.dedent(inspect.getsource(self.fn))
        source = source[source.index("def ") :]
        head, body = source.split("\n", 1)
        while not head.rstrip().endswith(":"):
            more, body = body.split("\n", 1)
            head += " " + more.strip()
        constants = "".join(f"{name} = {_literal(value)}\n" for name, value in parameters.items())
        text = (
            f'"""Kernel {self.__name__} for {", ".join(f"{k}={_literal(v)}" for k, v in parameters.items())}; '
            f'written from {Path(self.fn.__code__.co_filename).name}."""\n\n'
            f"from numpy import bool_, complex64, complex128, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64\n\n"
            f"{constants}\n\ndef {self.__name__}(operands, begin, end):\n{body}"
        )
        names = {k: v for k, v in self.fn.__globals__.items() if not k.startswith("__") and k not in parameters}
        module = load_module(self.__name__, text, names)
        return kernel(module.__dict__[self.__name__])


def _literal(value):
    if isinstance(value, type) and issubclass(value, np.generic):
        return "bool_" if value is np.bool_ else value.__name__
    return repr(value)


def kernel_template(fn):
    """Decorator: ``fn(operands, begin, end, *, T, ...)`` becomes a `Template`, specialised on first use."""
    return Template(fn)


# --- emitted modules -------------------------------------------------------------------------------------------


def load_module(name, source, names=None, key=""):
    """Write ``source`` as a module into the cache folder and run it with the globals ``names``; return it.

    The module's name ends in the fingerprint of the source, of what it takes from ``names`` and of ``key``, under which
    its compiled code is kept.
    """
    code = compile(source, "", "exec")
    full_name = f"numgrad_{name}_{module_fingerprint(code, names or {}, key, _toolchain())[:16]}"
    with _loading:  # another thread must not see a module that is not complete
        return sys.modules.get(full_name) or _load(full_name, source, code, names)


_loading = forks.lock("modules")


def _load(full_name, source, code, names):
    path = cache.keep_source(f"{full_name}.py", source)
    module = python_types.ModuleType(full_name)
    module.__file__ = str(path)
    module.__dict__.update(names or {})
    sys.modules[full_name] = module
    try:
        # The text at hand is run, not the file, which may be damaged.
        exec(_written_in(code, module.__file__), module.__dict__)
    except BaseException:
        del sys.modules[full_name]
        raise
    return module


def _written_in(code, file):
    """The code object, and those inside it, as compiled from ``file``."""
    constants = (_written_in(c, file) if isinstance(c, python_types.CodeType) else c for c in code.co_consts)
    return code.replace(co_filename=file, co_consts=tuple(constants))


@functools.cache
def _toolchain():
    versions = f"numba {numba.__version__} llvmlite {llvmlite.__version__} numpy {np.__version__} python {sys.version_info[:2]}"
    return versions + repr(sorted(FASTMATH)) + repr(KERNEL_SIGNATURE) + ("interpreted" if PYTHON_MODE else "")
