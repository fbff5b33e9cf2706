"""Recurrent layers, all steps of one direction: a product with the hidden state and the cell's pointwise part each.

A unit is a block of ``height`` rows of the batch, which runs through all steps alone. ``hidden`` is (T + 1, B, n), the
initial state at the beginning or, backwards, at the end; ``cells`` alike. ``products`` (T, B, gates * n) are those with
the input. The gradients ``dhidden`` and ``dcell`` (B, n) come in as those of the final states, and leave as those of
the initial ones; ``errors`` (T, B, n) is the gradient of the hidden states.

Each loop writes one array: LLVM compares what a loop writes with all else that it reaches, and gives up vectors where
that are too many pairs.
"""

from . import blas
from .jit import inlined, integer, kernel_template, pointer, shifted
from .vmath import sigmoid, tanh


@inlined
def span(operands, first):
    """Slots: steps, batch, n, height, whether backwards."""
    return (
        integer(operands, first), integer(operands, first + 1), integer(operands, first + 2),
        integer(operands, first + 3), integer(operands, first + 4),
    )  # fmt: skip


@kernel_template
def plain_forward(operands, begin, end, *, T, BITS, RELU):
    """Units [begin, end): ``h' = tanh(product + W h)`` or relu. Slots: products, weight (n, n), hidden, then `span`."""
    products, weight, hidden = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    steps, batch, n, height, backwards = span(operands, 3)
    for unit in range(begin, end):
        row = unit * height
        rows = min(height, batch - row)
        for s in range(steps):
            t = steps - 1 - s if backwards else s
            old = shifted(hidden, ((t + backwards) * batch + row) * n)
            new = shifted(hidden, ((t + 1 - backwards) * batch + row) * n)
            product = shifted(products, (t * batch + row) * n)
            for j in range(rows * n):
                new[j] = product[j]
            blas.gemm(BITS, 0, 1, rows, n, n, T(1), old, n, weight, n, T(1), new, n)
            for j in range(rows * n):
                total = new[j]
                new[j] = (T(0) if total < T(0) else total) if RELU else tanh(total)


@kernel_template
def plain_backward(operands, begin, end, *, T, BITS, RELU):
    """Units [begin, end) of the gradients of `plain_forward`. Slots: errors, weight, hidden, dproducts, dhidden, then
    `span`."""
    errors, weight, hidden = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    dproducts, dhidden = pointer(operands, 3, T), pointer(operands, 4, T)
    steps, batch, n, height, backwards = span(operands, 5)
    for unit in range(begin, end):
        row = unit * height
        rows = min(height, batch - row)
        along = shifted(dhidden, row * n)
        for s in range(steps - 1, -1, -1):
            t = steps - 1 - s if backwards else s
            new = shifted(hidden, ((t + 1 - backwards) * batch + row) * n)
            error = shifted(errors, (t * batch + row) * n)
            change = shifted(dproducts, (t * batch + row) * n)
            for j in range(rows * n):
                g = error[j] + along[j]
                h = new[j]
                change[j] = (g if h > T(0) else T(0)) if RELU else g * (T(1) - h * h)
            blas.gemm(BITS, 0, 0, rows, n, n, T(1), change, n, weight, n, T(0), along, n)


@kernel_template
def lstm_forward(operands, begin, end, *, T, BITS):
    """Units [begin, end) of the steps of an LSTM. Slots: products, weight (4 n, n), hidden, cells, gates (T, B, 4 n),
    which are left as ``i, f, g, o``, then `span`."""
    products, weight, hidden = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    cells, gates = pointer(operands, 3, T), pointer(operands, 4, T)
    steps, batch, n, height, backwards = span(operands, 5)
    for unit in range(begin, end):
        row = unit * height
        rows = min(height, batch - row)
        for s in range(steps):
            t = steps - 1 - s if backwards else s
            old, new = ((t + backwards) * batch + row) * n, ((t + 1 - backwards) * batch + row) * n
            at = (t * batch + row) * 4 * n
            gate, product = shifted(gates, at), shifted(products, at)
            for j in range(rows * 4 * n):
                gate[j] = product[j]
            blas.gemm(BITS, 0, 1, rows, 4 * n, n, T(1), shifted(hidden, old), n, weight, n, T(1), gate, 4 * n)
            for r in range(rows):
                line = shifted(gate, r * 4 * n)
                before, after = shifted(cells, old + r * n), shifted(cells, new + r * n)
                state = shifted(hidden, new + r * n)
                for j in range(2 * n):
                    line[j] = sigmoid(line[j])
                forget, middle, last = shifted(line, n), shifted(line, 2 * n), shifted(line, 3 * n)
                for j in range(n):
                    middle[j] = tanh(middle[j])
                for j in range(n):
                    last[j] = sigmoid(last[j])
                for j in range(n):
                    after[j] = forget[j] * before[j] + line[j] * middle[j]
                for j in range(n):
                    state[j] = last[j] * tanh(after[j])


@kernel_template
def lstm_backward(operands, begin, end, *, T, BITS):
    """Units [begin, end) of the gradients of `lstm_forward`. Slots: errors, weight, cells, gates, dproducts, dhidden,
    dcell, then `span`."""
    errors, weight, cells = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    gates, dproducts = pointer(operands, 3, T), pointer(operands, 4, T)
    dhidden, dcell = pointer(operands, 5, T), pointer(operands, 6, T)
    steps, batch, n, height, backwards = span(operands, 7)
    for unit in range(begin, end):
        row = unit * height
        rows = min(height, batch - row)
        for s in range(steps - 1, -1, -1):
            t = steps - 1 - s if backwards else s
            old, new = ((t + backwards) * batch + row) * n, ((t + 1 - backwards) * batch + row) * n
            at = (t * batch + row) * 4 * n
            for r in range(rows):
                line, change = shifted(gates, at + r * 4 * n), shifted(dproducts, at + r * 4 * n)
                before, after = shifted(cells, old + r * n), shifted(cells, new + r * n)
                error = shifted(errors, (t * batch + row + r) * n)
                along, within = shifted(dhidden, (row + r) * n), shifted(dcell, (row + r) * n)
                i, f, g, o = line, shifted(line, n), shifted(line, 2 * n), shifted(line, 3 * n)
                d_i, d_f, d_g, d_o = change, shifted(change, n), shifted(change, 2 * n), shifted(change, 3 * n)
                for j in range(n):
                    along[j] += error[j]
                for j in range(n):
                    d_o[j] = tanh(after[j])
                for j in range(n):
                    within[j] += along[j] * o[j] * (T(1) - d_o[j] * d_o[j])
                for j in range(n):
                    d_o[j] *= along[j] * o[j] * (T(1) - o[j])
                for j in range(n):
                    d_i[j] = within[j] * g[j] * i[j] * (T(1) - i[j])
                for j in range(n):
                    d_f[j] = within[j] * before[j] * f[j] * (T(1) - f[j])
                for j in range(n):
                    d_g[j] = within[j] * i[j] * (T(1) - g[j] * g[j])
                for j in range(n):
                    within[j] *= f[j]
            change, along = shifted(dproducts, at), shifted(dhidden, row * n)
            blas.gemm(BITS, 0, 0, rows, n, 4 * n, T(1), change, 4 * n, weight, n, T(0), along, n)


@kernel_template
def gru_forward(operands, begin, end, *, T, BITS):
    """Units [begin, end) of the steps of a GRU. Slots: products, weight (3 n, n), bias (3 n), hidden, gates (T, B, 4 n),
    which are left as ``r, z, n`` and what r multiplies, then `span`."""
    products, weight, bias = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    hidden, gates = pointer(operands, 3, T), pointer(operands, 4, T)
    steps, batch, n, height, backwards = span(operands, 5)
    for unit in range(begin, end):
        row = unit * height
        rows = min(height, batch - row)
        for s in range(steps):
            t = steps - 1 - s if backwards else s
            old, new = ((t + backwards) * batch + row) * n, ((t + 1 - backwards) * batch + row) * n
            gate = shifted(gates, (t * batch + row) * 4 * n)
            for r in range(rows):
                line = shifted(gate, r * 4 * n)
                for j in range(3 * n):
                    line[j] = bias[j]
            blas.gemm(BITS, 0, 1, rows, 3 * n, n, T(1), shifted(hidden, old), n, weight, n, T(1), gate, 4 * n)
            for r in range(rows):
                line = shifted(gate, r * 4 * n)
                product = shifted(products, (t * batch + row + r) * 3 * n)
                before, after = shifted(hidden, old + r * n), shifted(hidden, new + r * n)
                for j in range(2 * n):
                    line[j] = sigmoid(product[j] + line[j])
                third, last, source = shifted(line, 2 * n), shifted(line, 3 * n), shifted(product, 2 * n)
                second = shifted(line, n)
                for j in range(n):
                    last[j] = third[j]
                for j in range(n):
                    third[j] = tanh(source[j] + line[j] * third[j])
                for j in range(n):
                    after[j] = third[j] + second[j] * (before[j] - third[j])


@kernel_template
def gru_backward(operands, begin, end, *, T, BITS):
    """Units [begin, end) of the gradients of `gru_forward`, ``dhiddens`` (T, B, 3 n) those of the products with the hidden
    state. Slots: errors, weight, hidden, gates, dproducts, dhiddens, dhidden, then `span`."""
    errors, weight, hidden = pointer(operands, 0, T), pointer(operands, 1, T), pointer(operands, 2, T)
    gates, dproducts, dhiddens = pointer(operands, 3, T), pointer(operands, 4, T), pointer(operands, 5, T)
    dhidden = pointer(operands, 6, T)
    steps, batch, n, height, backwards = span(operands, 7)
    for unit in range(begin, end):
        row = unit * height
        rows = min(height, batch - row)
        for s in range(steps - 1, -1, -1):
            t = steps - 1 - s if backwards else s
            old = ((t + backwards) * batch + row) * n
            at = t * batch + row
            for r in range(rows):
                line = shifted(gates, (at + r) * 4 * n)
                dx, dy = shifted(dproducts, (at + r) * 3 * n), shifted(dhiddens, (at + r) * 3 * n)
                before, error = shifted(hidden, old + r * n), shifted(errors, (at + r) * n)
                along = shifted(dhidden, (row + r) * n)
                z, new, y = shifted(line, n), shifted(line, 2 * n), shifted(line, 3 * n)
                d_z, d_new, d_y = shifted(dx, n), shifted(dx, 2 * n), shifted(dy, 2 * n)
                for j in range(n):
                    along[j] += error[j]
                for j in range(n):
                    d_new[j] = along[j] * (T(1) - z[j]) * (T(1) - new[j] * new[j])
                for j in range(n):
                    dx[j] = d_new[j] * y[j] * line[j] * (T(1) - line[j])
                for j in range(n):
                    d_z[j] = along[j] * (before[j] - new[j]) * z[j] * (T(1) - z[j])
                for j in range(2 * n):
                    dy[j] = dx[j]
                for j in range(n):
                    d_y[j] = d_new[j] * line[j]
                for j in range(n):
                    along[j] *= z[j]
            change, along = shifted(dhiddens, at * 3 * n), shifted(dhidden, row * n)
            blas.gemm(BITS, 0, 0, rows, n, 3 * n, T(1), change, 3 * n, weight, n, T(1), along, n)
