"""Linear maps along one dimension of flat arrays, given as lists of places and weights."""

from numpy import int64

from .jit import integer, kernel_template, pointer, shifted


@kernel_template
def weighted_rows(operands, begin, end, *, T):
    """Rows [begin, end) of ``out[a, k, :] = sum over e of weights[e] * x[a, places[e], :]``, with e from ``starts[k]``
    to ``starts[k + 1]``. Slots: x(a, size, inner), out(a, outs, inner), starts, places, weights, size, outs, inner."""
    x, out = pointer(operands, 0, T), pointer(operands, 1, T)
    starts, places, weights = pointer(operands, 2, int64), pointer(operands, 3, int64), pointer(operands, 4, T)
    size, outs, inner = integer(operands, 5), integer(operands, 6), integer(operands, 7)
    block = begin // outs
    k = begin - block * outs
    for unit in range(begin, end):
        first, last = starts[k], starts[k + 1]
        source = shifted(x, block * size * inner)
        if inner == 1:
            total = T(0)
            for e in range(first, last):
                total += T(weights[e] * source[places[e]])
            out[unit] = total
        else:
            target = shifted(out, unit * inner)
            if last - first == 2:
                w0, w1 = weights[first], weights[first + 1]
                row0, row1 = shifted(source, places[first] * inner), shifted(source, places[first + 1] * inner)
                for j in range(inner):
                    target[j] = T(w0 * row0[j] + w1 * row1[j])
            elif last == first:
                for j in range(inner):
                    target[j] = T(0)
            else:
                w0 = weights[first]
                row0 = shifted(source, places[first] * inner)
                for j in range(inner):
                    target[j] = T(w0 * row0[j])
                for e in range(first + 1, last):
                    w1 = weights[e]
                    row1 = shifted(source, places[e] * inner)
                    for j in range(inner):
                        target[j] += T(w1 * row1[j])
        k += 1
        if k == outs:
            k = 0
            block += 1
