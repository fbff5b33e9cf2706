"""The BLAS library: found and loaded on the first product, called by name from compiled code.

Compiled code calls a *named* symbol (``numgrad_ilp64_sgemm``), registered with LLVM when the library is loaded, so
that code from the disk cache links in every process wherever the library was mapped. The name carries the width of
BLAS's integers: code compiled for one width cannot call a library of the other.

The library runs on one thread: products are split over Numba's threads by `gemm`, because two pools of spinning
threads that alternate cost far more than either gains.
"""

import ctypes
import functools
import importlib
import importlib.metadata
import os
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

from .jit import PYTHON_MODE

ROUTINES = ("sgemm", "dgemm", "sgemv", "dgemv", "sdot", "ddot")
_MKL_SEQUENTIAL = 1

_loaded: dict | None = None


def load() -> int:
    """Load the library and register its routines, once; return the number of bits of its integers (64 or 32).

    ``NUMGRAD_BLAS`` names the library to use (``mkl``, ``numpy``, ``scipy``); by default the first that is found.
    To be called before a kernel that uses BLAS is compiled or taken from the disk cache.
    """
    global _loaded
    if _loaded is None:
        _loaded = _find(os.environ.get("NUMGRAD_BLAS", ""))
        prefix = _PREFIX[_loaded["integer_bits"]]
        for name, address in _loaded["addresses"].items():
            llvm.add_symbol(prefix + name, address)
    return _loaded["integer_bits"]


def info() -> dict:
    """What serves the products: ``library``, ``version``, ``path``, ``integer_bits``, ``threads`` (None if the
    library offers no way to set them)."""
    load()
    return {key: value for key, value in _loaded.items() if key not in ("addresses", "handle")}


_PREFIX = {64: "numgrad_ilp64_", 32: "numgrad_lp64_"}


# --- the libraries, best first ----------------------------------------------------------------------------------


def _find(wanted):
    libraries = {"mkl": _mkl, "numpy": _numpy_openblas, "scipy": _scipy}
    if wanted and wanted not in libraries:
        raise ValueError(
            f"NUMGRAD_BLAS: expected one of {sorted(libraries)}, got {wanted!r}; unset it to choose the best"
        )
    for name, open_library in libraries.items():
        if wanted in ("", name):
            found = open_library()
            if found is not None:
                return found
    raise RuntimeError(
        f"matrix product: expected a BLAS library ({wanted or 'MKL, OpenBLAS of NumPy, or SciPy'}), found none; "
        + ("unset NUMGRAD_BLAS" if wanted else "install scipy: pip install scipy")
    )


def _mkl():
    """MKL of the ``mkl`` wheel, by its 64-bit entry points, which do not depend on MKL's interface setting."""
    try:
        files = importlib.metadata.files("mkl") or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name.startswith(("libmkl_rt.so", "mkl_rt.", "libmkl_rt.dylib")) and not file.name.endswith(".lib"):
            path = Path(file.locate()).resolve()
            break
    else:
        return None
    library = ctypes.CDLL(str(path))
    library.MKL_Set_Threading_Layer(_MKL_SEQUENTIAL)  # before its first product: then it starts no threads at all
    library.MKL_Set_Num_Threads(1)
    text = ctypes.create_string_buffer(256)
    library.MKL_Get_Version_String(text, 256)
    return _found("mkl", library, "{}_64_", text.value.decode(), path, 64, 1)


def _numpy_openblas():
    """The OpenBLAS inside NumPy's wheel (64-bit integers); already loaded by NumPy itself."""
    return _openblas("numpy")


def _scipy():
    """The BLAS that SciPy was built with, whichever it is, through its ``cython_blas``."""
    try:
        import scipy
    except ImportError:
        return None
    bundled = _openblas("scipy")
    if bundled is not None:
        return bundled
    addresses = {name: get_cython_function_address("scipy.linalg.cython_blas", name) for name in ROUTINES}
    return {
        "library": "scipy.linalg.cython_blas",
        "version": f"SciPy {scipy.__version__}",
        "path": None,
        "integer_bits": 32,
        "threads": None,
        "handle": None,
        "addresses": addresses,
    }


_OPENBLAS = {"numpy": ("libscipy_openblas64_*", "64_", 64), "scipy": ("libscipy_openblas-*", "", 32)}


def _bundled(owner):
    """(path, library) of the OpenBLAS inside a package's wheel, or None."""
    package = Path(importlib.import_module(owner).__file__).parent
    folders = package.parent / f"{owner}.libs", package / ".dylibs"  # Linux and Windows; macOS
    for folder in folders:
        for path in sorted(folder.glob(_OPENBLAS[owner][0])):
            return path, ctypes.CDLL(str(path))
    return None


@functools.cache
def thread_setter(owner):
    """The function that sets how many threads the OpenBLAS of ``owner`` ("numpy" or "scipy") uses; for a package that
    brings no OpenBLAS, one that does nothing."""
    found = _bundled(owner)
    if found is None:
        return lambda count: None
    return getattr(found[1], f"scipy_openblas_set_num_threads{_OPENBLAS[owner][1]}")


def _openblas(owner):
    found = _bundled(owner)
    if found is None:
        return None
    path, library = found
    _, suffix, bits = _OPENBLAS[owner]
    thread_setter(owner)(1)
    config = getattr(library, f"scipy_openblas_get_config{suffix}")
    config.restype = ctypes.c_char_p
    version = " ".join(config().decode().split())
    return _found(f"openblas ({owner})", library, "scipy_{}_" + suffix, version, path, bits, 1)


def _found(name, library, symbol, version, path, bits, threads):
    addresses = {
        routine: ctypes.cast(getattr(library, symbol.format(routine)), ctypes.c_void_p).value for routine in ROUTINES
    }
    return {
        "library": name,
        "version": version,
        "path": str(path),
        "integer_bits": bits,
        "threads": threads,
        "handle": library,
        "addresses": addresses,
    }


# --- calls from kernels: row-major, by pointer --------------------------------------------------------------------
#
# BLAS is column-major: a row-major (m, n) matrix is its (n, m) matrix, hence the exchanged operands below.


def _call_blas(context, builder, bits, routine, element, arguments, returns=False):
    """Call ``routine`` for ``element``; integers, flags (`_Flag`) and scalars go by reference, as in Fortran."""
    name = _PREFIX[bits] + ("s" if element == types.float32 else "d") + routine
    integer = ir.IntType(bits)
    passed = []
    for value in arguments:
        if isinstance(value, _Flag):
            value = builder.select(
                builder.icmp_signed("!=", value.value, value.value.type(0)),
                ir.IntType(8)(ord("T")),
                ir.IntType(8)(ord("N")),
            )
        elif isinstance(value.type, ir.IntType) and value.type.width != bits:
            value = builder.trunc(value, integer)
        passed.append(value if isinstance(value.type, ir.PointerType) else cgutils.alloca_once_value(builder, value))
    result = context.get_data_type(element) if returns else ir.VoidType()
    function_type = ir.FunctionType(result, [value.type for value in passed])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, passed)


class _Flag:
    """A transpose flag among the arguments of a BLAS routine."""

    def __init__(self, value):
        self.value = value


@intrinsic(prefer_literal=True)
def _gemm(typingctx, bits, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """``c(m,n) = alpha * op(a)(m,k) @ op(b)(k,n) + beta * c``, row-major; ``op`` transposes where its flag is 1;
    ``lda``, ``ldb``, ``ldc`` are the row strides as stored. ``bits`` is what `load` returned, a constant."""
    element, i64 = a.dtype, types.int64
    signature = types.void(bits, i64, i64, i64, i64, i64, element, a, i64, b, i64, element, c, i64)

    def codegen(context, builder, signature, arguments):
        _, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = arguments
        fortran = [_Flag(trans_b), _Flag(trans_a), n, m, k, alpha, b, ldb, a, lda, beta, c, ldc]
        _call_blas(context, builder, bits.literal_value, "gemm", element, fortran)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def _gemv(typingctx, bits, trans, m, n, alpha, a, lda, x, step_x, beta, y, step_y):
    """``y = alpha * op(a) @ x + beta * y`` for a row-major ``a(m,n)`` of row stride ``lda``; m and n are those of
    ``a`` as stored, and ``op`` transposes where ``trans`` is 1."""
    element, i64 = a.dtype, types.int64
    signature = types.void(bits, i64, i64, i64, element, a, i64, x, i64, element, y, i64)

    def codegen(context, builder, signature, arguments):
        _, trans, m, n, alpha, a, lda, x, step_x, beta, y, step_y = arguments
        flipped = builder.sub(trans.type(1), trans)
        fortran = [_Flag(flipped), n, m, alpha, a, lda, x, step_x, beta, y, step_y]
        _call_blas(context, builder, bits.literal_value, "gemv", element, fortran)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def _dot(typingctx, bits, n, x, step_x, y, step_y):
    """The sum of ``x[i * step_x] * y[i * step_y]`` for i < n."""
    element, i64 = x.dtype, types.int64
    signature = element(bits, i64, x, i64, y, i64)

    def codegen(context, builder, signature, arguments):
        return _call_blas(context, builder, bits.literal_value, "dot", element, list(arguments[1:]), returns=True)

    return signature, codegen


if PYTHON_MODE:

    def matrix(pointer, rows, columns, row_stride, column_stride=1):
        """The matrix at ``pointer``, a flat array, as a view."""
        strides = row_stride * pointer.itemsize, column_stride * pointer.itemsize
        return np.lib.stride_tricks.as_strided(pointer, (rows, columns), strides)

    @np.errstate(all="ignore")  # compiled arithmetic does not warn either
    def gemm(bits, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        out = matrix(c, m, n, ldc)
        a = matrix(a, m, k, 1, lda) if trans_a else matrix(a, m, k, lda)
        b = matrix(b, k, n, 1, ldb) if trans_b else matrix(b, k, n, ldb)
        product = alpha * (a @ b)
        out[:] = product if beta == 0 else product + beta * out

    @np.errstate(all="ignore")  # compiled arithmetic does not warn either
    def gemv(bits, trans, m, n, alpha, a, lda, x, step_x, beta, y, step_y):
        rows, columns = (n, m) if trans else (m, n)
        stored = matrix(a, rows, columns, 1, lda) if trans else matrix(a, rows, columns, lda)
        out = y[: (rows - 1) * step_y + 1 : step_y]
        product = alpha * (stored @ x[: (columns - 1) * step_x + 1 : step_x])
        out[:] = product if beta == 0 else product + beta * out

    @np.errstate(all="ignore")  # compiled arithmetic does not warn either
    def dot(bits, n, x, step_x, y, step_y):
        return np.dot(x[: (n - 1) * step_x + 1 : step_x], y[: (n - 1) * step_y + 1 : step_y])

else:
    gemm, gemv, dot = _gemm, _gemv, _dot
