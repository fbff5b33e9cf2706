"""From Python to a kernel: compiled functions that take a kernel's address, its slots and the range.

One serves every kernel with the same number of slots, of whatever dtype, serially or over Numba's threads.
"""

import functools
import struct

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import NativeValue, intrinsic, models, register_model, unbox

from .. import forks
from . import thread_pool
from .cache import CompiledCode
from .jit import PYTHON_MODE, load_module

_NDARRAY = "numgrad_ndarray_type"  # the address of NumPy's type, under a name that compiled code on disk can refer to
binding.add_symbol(_NDARRAY, id(np.ndarray))

_I64, _I32, _I8 = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_keep_alive: list = []  # compiled callers


class _SlotType(types.Type):
    def __init__(self):
        super().__init__(name="slot")


slot = _SlotType()


@register_model(_SlotType)
class _SlotModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _I64)


def _slot_bits(builder, pyapi, obj):
    """(what a Python object stands for as a slot, whether that failed): an array's address, an integer, or the bits of a
    float. What has ``__index__`` is an integer, None is 0; anything else sets a TypeError, integers of more than 64 bits an
    OverflowError."""
    # ndarray (data pointer) and float (its bits) both keep what we want in the eight bytes after the object header; only
    # integers need a call. Anything else is not read as if it were one of these.
    words = builder.bitcast(obj, _I64.as_pointer())
    kind = builder.load(builder.gep(words, [_I32(1)]))
    payload = cgutils.alloca_once_value(builder, builder.load(builder.gep(words, [_I32(2)])))
    failed = cgutils.alloca_once_value(builder, cgutils.false_bit)

    def address_of(symbol):
        return builder.ptrtoint(pyapi.get_c_object(symbol), _I64)

    array, number = address_of(_NDARRAY), address_of("PyFloat_Type")
    plain = builder.or_(builder.icmp_unsigned("==", kind, array), builder.icmp_unsigned("==", kind, number))
    with builder.if_then(builder.not_(plain), likely=False):
        whole = builder.icmp_unsigned("==", kind, address_of("PyLong_Type"))
        derives = pyapi._get_function(ir.FunctionType(ir.IntType(32), [_I64, _I64]), "PyType_IsSubtype")
        with builder.if_else(whole, likely=True) as (is_int, is_other):
            with is_int:
                _store_integer(builder, pyapi, obj, payload, failed)
            with is_other:
                held = builder.or_(builder.call(derives, [kind, array]), builder.call(derives, [kind, number]))
                with builder.if_then(builder.icmp_unsigned("==", held, _I32(0))):
                    nothing = builder.icmp_unsigned("==", builder.ptrtoint(obj, _I64), address_of("_Py_NoneStruct"))
                    with builder.if_else(nothing) as (is_none, is_number):
                        with is_none:
                            builder.store(_I64(0), payload)
                        with is_number:
                            _store_integer(builder, pyapi, obj, payload, failed)
    return builder.load(payload), builder.load(failed)


def _store_integer(builder, pyapi, obj, payload, failed):
    value = pyapi.long_as_longlong(obj)
    builder.store(value, payload)
    with builder.if_then(builder.icmp_signed("==", value, _I64(-1)), likely=False):
        builder.store(cgutils.is_not_null(builder, pyapi.err_occurred()), failed)


@unbox(_SlotType)
def _unbox_slot(typ, obj, c):
    value, failed = _slot_bits(c.builder, c.pyapi, obj)
    return NativeValue(value, is_error=failed)


class _ListType(types.Type):
    def __init__(self):
        super().__init__(name="list of slots")


_slots_list = _ListType()


@register_model(_ListType)
class _ListModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _I64)


@unbox(_ListType)
def _unbox_list(typ, obj, c):
    return NativeValue(c.builder.ptrtoint(obj, _I64))


@intrinsic
def listed_slot(typingctx, objects, k):
    """The slot that element ``k`` of a Python list stands for."""
    signature = types.int64(objects, types.int64)

    def codegen(context, builder, signature, arguments):
        words = builder.inttoptr(arguments[0], _I64.as_pointer())
        items = builder.inttoptr(builder.load(builder.gep(words, [_I32(3)])), _I8.as_pointer().as_pointer())
        return _slot_bits(builder, context.get_python_api(builder), builder.load(builder.gep(items, [arguments[1]])))[0]

    return signature, codegen


@intrinsic
def slots_at(typingctx, address, k):
    """The slots from number ``k`` on of those at ``address``."""
    signature = types.CPointer(types.int64)(address, types.int64)

    def codegen(context, builder, signature, arguments):
        return builder.gep(builder.inttoptr(arguments[0], _I64.as_pointer()), [arguments[1]])

    return signature, codegen


@intrinsic
def invoke_at(typingctx, address, operands, begin, end):
    """Call the kernel at ``address`` with slots that are in memory."""
    signature = types.void(types.int64, operands, types.int64, types.int64)

    def codegen(context, builder, signature, arguments):
        address, operands, begin, end = arguments
        function = ir.FunctionType(ir.VoidType(), [_I64.as_pointer(), _I64, _I64])
        builder.call(builder.inttoptr(address, function.as_pointer()), [operands, begin, end])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def invoke(typingctx, address, slots, begin, end):
    """Call the kernel at ``address`` with the tuple ``slots`` laid out as its operands."""
    signature = types.void(types.int64, slots, types.int64, types.int64)

    def codegen(context, builder, signature, arguments):
        address, values, begin, end = arguments
        count = len(signature.args[1])
        operands = cgutils.alloca_once(builder, ir.ArrayType(_I64, max(count, 1)))
        for k in range(count):
            builder.store(builder.extract_value(values, k), builder.gep(operands, [_I32(0), _I32(k)]))
        function = ir.FunctionType(ir.VoidType(), [_I64.as_pointer(), _I64, _I64])
        operands = builder.bitcast(operands, _I64.as_pointer())
        builder.call(builder.inttoptr(address, function.as_pointer()), [operands, begin, end])
        return context.get_dummy_value()

    return signature, codegen


_CALLER_SOURCE = '''"""From Python to a kernel with {n} operands: {what}."""

from numba import prange


def call(address, {slots}, begin, end):
    invoke(address, ({slots},), begin, end)


def call_parallel(pool, parts, grain, address, {slots}, begin, end):
    threads = enter(pool, parts)
    if threads:
        # Parts begin at multiples of `grain`, so that results do not depend on how many there are.
        blocks = (end - begin + grain - 1) // grain
        for part in prange(parts):
            first = begin + part * blocks // parts * grain
            last = min(end, begin + (part + 1) * blocks // parts * grain)
            if first < last:
                invoke(address, ({slots},), first, last)
        leave(pool, threads)
    else:
        invoke(address, ({slots},), begin, end)
'''

_DOORS = {"enter": thread_pool.enter, "leave": thread_pool.leave}
_callers: dict = {}


def caller(n, parts=1, grain=1):
    """The function ``call(address, *slots, begin, end)`` for ``n`` slots.

    With ``parts`` > 1 it splits the range over threads, at multiples of ``grain``; where they are not to be had (see
    `thread_pool`) it runs serially. Every kernel of the library is called through what this function returns.
    """
    parallel = parts > 1 and not PYTHON_MODE and not forks.forked
    key = n, parallel
    found = _callers.get(key)
    if found is None:
        found = _callers[key] = _python_caller if PYTHON_MODE else _compile_caller(n, parallel)
    return functools.partial(found, thread_pool.pool, parts, grain) if parallel else found


def _python_caller(kernel, *arguments):
    *slots, begin, end = arguments
    kernel(slots, begin, end)


def _compile_caller(n, parallel):
    slots = ", ".join(f"s{k}" for k in range(n))
    source = _CALLER_SOURCE.format(n=n, slots=slots, what="serial and over Numba's threads")
    module = load_module(f"caller{n}", source, {"invoke": invoke, **_DOORS})
    splitting = (slot, types.int64, types.int64) if parallel else ()
    signature = types.void(*splitting, types.int64, *(slot,) * n, types.int64, types.int64)
    return _compile_entry(module.call_parallel if parallel else module.call, signature, parallel)


def _compile_entry(fn, signature, parallel):
    """The builtin that calls ``fn``, compiled for one signature."""
    if parallel:
        thread_pool.prepare()
    dispatcher = numba.njit(error_model="numpy", nogil=parallel, parallel=parallel)(fn)
    dispatcher._cache = CompiledCode(fn)
    dispatcher.compile(signature)
    _keep_alive.append(dispatcher)
    return dispatcher.overloads[signature.args].entry_point


_TABLE_SOURCE = '''"""From Python to a kernel that runs once for each row of a table: {what}.

A row is the kernel's first slots, then the end of its range; the other slots are the same for all rows.
"""

from numba import prange


def call(address, table, shared, slots, rows, own, more):
    # Lay out the kernel's slots row by row, each row's end after them; then run, unless there is no kernel.
    memory = slots_at(slots, 0)
    width = own + more + 1
    for row in range(rows):
        for k in range(own):
            memory[row * width + k] = listed_slot(table, row * (own + 1) + k)
        for k in range(more):
            memory[row * width + own + k] = listed_slot(shared, k)
        memory[row * width + width - 1] = listed_slot(table, row * (own + 1) + own)
    if address:
        for row in range(rows):
            invoke_at(address, slots_at(slots, row * width), 0, memory[row * width + width - 1])


def call_parallel(pool, parts, address, slots, rows, width, total):
    memory = slots_at(slots, 0)
    threads = enter(pool, parts)
    if threads:
        # The rows' elements in one line, cut into parts of the same length.
        for part in prange(parts):
            first = total * part // parts
            last = total * (part + 1) // parts
            start = 0
            for row in range(rows):
                count = memory[row * width + width - 1]
                begin = max(first - start, 0)
                end = min(last - start, count)
                if begin < end:
                    invoke_at(address, slots_at(slots, row * width), begin, end)
                start += count
        leave(pool, threads)
    else:
        for row in range(rows):
            invoke_at(address, slots_at(slots, row * width), 0, memory[row * width + width - 1])
'''

_table_callers: dict = {}  # by whether they split the rows over threads


def call_table(kernel, table, own, shared, parts=1):
    """Run ``kernel`` once for each row of ``table``, a flat list: ``own`` slots and the end of the range each.

    ``shared`` lists the slots after those, which are the same for all rows. With ``parts`` > 1 the elements of all rows
    together are split over threads; then the rows must not overlap.
    """
    rows = len(table) // (own + 1)
    if PYTHON_MODE:
        for first in range(0, len(table), own + 1):
            *slots, end = table[first : first + own + 1]
            kernel([*slots, *shared], 0, end)
        return
    more = len(shared)
    width = own + more + 1
    slots = np.empty(rows * width, np.int64)
    if parts == 1 or forks.forked:
        _table_caller(False)(kernel, table, shared, slots, rows, own, more)
        return
    _table_caller(False)(0, table, shared, slots, rows, own, more)
    _table_caller(True)(thread_pool.pool, parts, kernel, slots, rows, width, sum(table[own :: own + 1]))


def _table_caller(parallel):
    found = _table_callers.get(parallel)
    if found is None:
        found = _table_callers[parallel] = _compile_table_caller(parallel)
    return found


def _compile_table_caller(parallel):
    names = {"slots_at": slots_at, "listed_slot": listed_slot, "invoke_at": invoke_at, **_DOORS}
    module = load_module("table_caller", _TABLE_SOURCE.format(what="serial and over Numba's threads"), names)
    wide = types.int64
    if parallel:
        return _compile_entry(module.call_parallel, types.void(slot, wide, wide, slot, wide, wide, wide), parallel)
    signature = types.void(wide, _slots_list, _slots_list, slot, wide, wide, wide)
    return _compile_entry(module.call, signature, parallel)


def float_bits(value):
    """The int64 whose bits are those of the float64 ``value``."""
    return struct.unpack("q", struct.pack("d", value))[0]
