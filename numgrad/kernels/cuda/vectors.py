"""Memory as kernels see it: vector accesses of up to 16 bytes, typed pointers out of slots, index arithmetic.

Each name here has a second meaning, in plain Python, in `interpreter`.
"""

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.extending import intrinsic

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def _vector_address(context, builder, pointer, index, element, width):
    """The global address of ``width`` elements from ``index`` on, and the alignment that they have."""
    kind = context.get_data_type(element)
    size = context.get_abi_sizeof(kind)
    address = builder.add(builder.ptrtoint(pointer, _I64), builder.mul(index, ir.Constant(_I64, size)))
    vector = ir.PointerType(ir.VectorType(kind, width), addrspace=1)
    return builder.inttoptr(address, vector), min(16, width * size)


def _load(context, builder, pointer, index, element, width):
    address, align = _vector_address(context, builder, pointer, index, element, width)
    vector = builder.load(address, align=align)
    return [builder.extract_element(vector, ir.Constant(_I32, k)) for k in range(width)]


def _store(context, builder, values, pointer, index, element):
    address, align = _vector_address(context, builder, pointer, index, element, len(values))
    vector = ir.Constant(address.type.pointee, ir.Undefined)
    for k, value in enumerate(values):
        vector = builder.insert_element(vector, value, ir.Constant(_I32, k))
    builder.store(vector, address, align=align)


def _unpacked(builder, values):
    return [builder.extract_value(values, k) for k in range(len(values.type.elements))]


@intrinsic
def map_vector(typingctx, function, index, width, sources, numbers, targets):
    """``targets[...][index : index + width] = function(*sources' elements, *numbers)``, element by element.

    One vector access a pointer. All are read before the first is written, so that a target may be a source.
    """
    if not isinstance(width, types.IntegerLiteral):
        return None
    elements = [pointer.dtype for pointer in sources]
    call = function.get_call_type(typingctx, (*elements, *numbers), {})
    signature = types.void(function, types.int64, width, sources, numbers, targets)

    def codegen(context, builder, signature, arguments):
        _, index, _, sources, numbers, targets = arguments
        count = signature.args[2].literal_value
        apply = context.get_function(function, call)
        columns = [
            _load(context, builder, pointer, index, element, count)
            for pointer, element in zip(_unpacked(builder, sources), elements)
        ]
        numbers = _unpacked(builder, numbers)
        outputs = [pointer.dtype for pointer in signature.args[5]]
        results = [[] for _ in outputs]
        for k in range(count):
            value = apply(builder, [column[k] for column in columns] + numbers)
            if len(outputs) == 1:
                results[0].append(context.cast(builder, value, call.return_type, outputs[0]))
            else:
                for j, part in enumerate(_unpacked(builder, value)):
                    results[j].append(context.cast(builder, part, call.return_type[j], outputs[j]))
        for values, pointer, element in zip(results, _unpacked(builder, targets), outputs):
            _store(context, builder, values, pointer, index, element)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def load_vector(typingctx, pointer, index, width):
    """``pointer[index : index + width]`` as a tuple, by one access; the address must be a multiple of its size."""
    if not isinstance(width, types.IntegerLiteral):
        return None
    signature = types.UniTuple(pointer.dtype, width.literal_value)(pointer, types.int64, width)

    def codegen(context, builder, signature, arguments):
        element, count = signature.args[0].dtype, signature.args[2].literal_value
        loaded = _load(context, builder, arguments[0], arguments[1], element, count)
        return context.make_tuple(builder, signature.return_type, loaded)

    return signature, codegen


@intrinsic
def fold_vector(typingctx, step, totals, values, numbers):
    """``(step(totals[0], values[0], *numbers), step(totals[1], values[1], *numbers), ...)``."""
    call = step.get_call_type(typingctx, (totals.dtype, values.dtype, *numbers), {})

    def codegen(context, builder, signature, arguments):
        _, totals, values, numbers = arguments
        apply = context.get_function(step, call)
        numbers = _unpacked(builder, numbers)
        kind = signature.return_type.dtype
        folded = [
            context.cast(builder, apply(builder, [total, value, *numbers]), call.return_type, kind)
            for total, value in zip(_unpacked(builder, totals), _unpacked(builder, values))
        ]
        return context.make_tuple(builder, signature.return_type, folded)

    return totals(step, totals, values, numbers), codegen


@intrinsic
def shifted(typingctx, pointer, count):
    """The pointer ``count`` elements further on."""
    signature = pointer(pointer, types.int64)
    return signature, lambda context, builder, signature, arguments: builder.gep(arguments[0], [arguments[1]])


def _divided(width):
    def quotient_and_remainder(typingctx, number, divisor):
        signature = types.UniTuple(types.int64, 2)(types.int64, types.int64)

        def codegen(context, builder, signature, arguments):
            kind = ir.IntType(width)
            number, divisor = (builder.trunc(value, kind) if width < 64 else value for value in arguments)
            parts = [builder.udiv(number, divisor)]
            parts.append(builder.sub(number, builder.mul(parts[0], divisor)))
            parts = [builder.zext(part, _I64) if width < 64 else part for part in parts]
            return context.make_tuple(builder, signature.return_type, parts)

        return signature, codegen

    quotient_and_remainder.__doc__ = f"Quotient and remainder of numbers of {width} bits, not negative."
    return intrinsic(quotient_and_remainder)


divided32, divided64 = _divided(32), _divided(64)


@intrinsic
def count_up(typingctx, counters, index):
    """Add one to an int32 counter in memory, at once for all blocks; its value before."""
    signature = types.int32(types.CPointer(types.int32), types.int64)

    def codegen(context, builder, signature, arguments):
        address = builder.gep(arguments[0], [arguments[1]])
        return builder.atomic_rmw("add", address, ir.Constant(_I32, 1), "monotonic")

    return signature, codegen


# --- slots: eight bytes each, an address, an integer or a float64 ----------------------------------------------------


@intrinsic
def slots(typingctx, values):
    """The tuple of int64 ``values`` as an array in memory of the thread (in registers where indices are constants)."""
    signature = types.CPointer(types.int64)(values)

    def codegen(context, builder, signature, arguments):
        parts = _unpacked(builder, arguments[0])
        array = cgutils.alloca_once(builder, ir.ArrayType(_I64, max(len(parts), 1)))
        for k, part in enumerate(parts):
            builder.store(part, builder.gep(array, [ir.Constant(_I32, 0), ir.Constant(_I32, k)]))
        return builder.bitcast(array, _I64.as_pointer())

    return signature, codegen


def _slot(builder, operands, k):
    return builder.load(builder.gep(operands, [k]))


@intrinsic
def pointer(typingctx, operands, k, dtype):
    """Slot ``k`` as a pointer to elements of NumPy scalar type ``dtype``."""
    signature = types.CPointer(dtype.dtype)(types.CPointer(types.int64), types.int64, dtype)

    def codegen(context, builder, signature, arguments):
        kind = context.get_data_type(signature.args[2].dtype)
        # By way of address space 1, so that accesses are known to be global.
        address = builder.inttoptr(_slot(builder, *arguments[:2]), ir.PointerType(kind, addrspace=1))
        return builder.addrspacecast(address, kind.as_pointer())

    return signature, codegen


@intrinsic
def integer(typingctx, operands, k):
    """Slot ``k`` as an int64."""
    signature = types.int64(types.CPointer(types.int64), types.int64)
    return signature, lambda context, builder, signature, arguments: _slot(builder, *arguments)


@intrinsic
def real(typingctx, operands, k):
    """Slot ``k`` as a float64."""
    signature = types.float64(types.CPointer(types.int64), types.int64)

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(_slot(builder, *arguments), ir.DoubleType())

    return signature, codegen


@intrinsic
def stack_array(typingctx, count, like):
    """An array of ``count`` elements of the type of ``like``, in memory of the thread."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    element = types.unliteral(like)
    signature = types.CPointer(element)(count, like)

    def codegen(context, builder, signature, arguments):
        kind = context.get_data_type(element)
        memory = cgutils.alloca_once(builder, ir.ArrayType(kind, signature.args[0].literal_value))
        return builder.bitcast(memory, kind.as_pointer())

    return signature, codegen
