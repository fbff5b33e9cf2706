"""Numba's thread pool: who may enter it, and when.

There is one pool in a process, and one Python thread at a time is in it: the "workqueue" layer aborts the process where
a second one enters, and under the others two would share the same processors. Whoever finds it taken runs serially,
which gives the same results. In a process made by fork the pool's threads are missing, and GNU OpenMP aborts or hangs
there: to it the pool is closed.

The pool is taken and given back in compiled code (`enter`, `leave`), which no exception and no Ctrl-C can interrupt.
"""

import ctypes
import importlib.metadata
import os
import sys
import time

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from .. import forks

_I64, _I32 = ir.IntType(64), ir.IntType(32)

TAKEN, CLOSED = range(2)
pool = np.zeros(2, np.int64)  # whether somebody is in the pool, and whether it is closed; compiled code is given its address


# --- in compiled code --------------------------------------------------------------------------------------------


@intrinsic
def enter(typingctx, pool, parts):
    """Take the pool for ``parts`` parts: the number of its threads that it had for this Python thread before, or 0 where
    it is taken or closed."""
    signature = types.int64(pool, types.int64)

    def codegen(context, builder, signature, arguments):
        words, parts = builder.inttoptr(arguments[0], _I64.as_pointer()), arguments[1]
        taken, closed = (builder.gep(words, [_I64(k)]) for k in (TAKEN, CLOSED))
        swapped = builder.cmpxchg(taken, _I64(0), _I64(1), "seq_cst", "monotonic")
        result = cgutils.alloca_once_value(builder, _I64(0))
        with builder.if_then(builder.extract_value(swapped, 1)):
            # Who closes the pool looks whether it is taken only after that, so that one of the two sees the other.
            is_open = builder.icmp_signed("==", builder.load_atomic(closed, "seq_cst", 8), _I64(0))
            with builder.if_else(is_open) as (then, otherwise):
                with then:
                    # More threads than there are parts would be woken to do nothing.
                    before = builder.call(_numba_function(builder, "get_num_threads", _I64), [])
                    fewer = builder.icmp_signed("<", parts, before)
                    with builder.if_then(fewer):
                        _set_num_threads(builder, parts)
                    builder.store(before, result)
                with otherwise:
                    builder.store_atomic(_I64(0), taken, "release", 8)
        return builder.load(result)

    return signature, codegen


@intrinsic
def leave(typingctx, pool, before):
    """Give the pool back; ``before`` is what `enter` returned."""
    signature = types.void(pool, types.int64)

    def codegen(context, builder, signature, arguments):
        taken, before = builder.inttoptr(arguments[0], _I64.as_pointer()), arguments[1]
        _set_num_threads(builder, before)
        builder.store_atomic(_I64(0), taken, "release", 8)
        return context.get_dummy_value()

    return signature, codegen


# Functions of Numba's threading layer, which Numba registers with LLVM when it starts the pool, as Numba declares them.


def _set_num_threads(builder, count):
    builder.call(_numba_function(builder, "set_num_threads", ir.VoidType(), _I32), [builder.trunc(count, _I32)])


def _numba_function(builder, name, result, *arguments):
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


# --- before it starts --------------------------------------------------------------------------------------------


def prepare() -> None:
    """What has to be so before Numba starts its pool. Repeating it changes nothing."""
    # GNU OpenMP's threads spin for long while they wait; where the system leaves two of them on one core, a call
    # then takes milliseconds. A short spin keeps the quick entry and gives the core up soon after.
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    load_tbb()


_TBB = {"linux": "libtbb.so.12", "win32": "tbb12.dll"}


def load_tbb() -> None:
    """Load the library of the ``tbb`` wheel, which lies where the system's loader does not look; once it is loaded,
    Numba's layer finds it by its name."""
    name = _TBB.get(sys.platform)
    if name is None or numba.config.THREADING_LAYER in ("omp", "workqueue"):  # type: ignore[attr-defined]
        return
    try:
        ctypes.CDLL(name)
        return
    except OSError:
        pass  # not on the loader's path: the wheel's own
    try:
        files = importlib.metadata.files("tbb") or ()
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == name:
            ctypes.CDLL(str(file.locate().resolve()))  # type: ignore[union-attr]
            return


# --- around a fork -----------------------------------------------------------------------------------------------


class _Entrance:
    """The pool as a lock for which forks wait: who forks closes it to newcomers and waits until nobody is in it."""

    def acquire(self, timeout):
        pool[CLOSED] = 1
        last = time.monotonic() + timeout
        while True:
            time.sleep(1e-5)  # lets the thread that is in it go on, and what was written be seen by it
            if not pool[TAKEN] or time.monotonic() > last:
                return True

    def release(self):
        pool[CLOSED] = int(forks.forked)


forks.held_over_forks("threads", _Entrance())
forks.held_over_forks("compiler", global_compiler_lock._lock)  # type: ignore[attr-defined]
