"""Sums in a fixed order: the one in which PyTorch's kernels on the CPU add, so that results agree bit for bit.

The order depends on how many numbers a vector of the processor holds (`vectors.VECTOR_BYTES`). Its rounding error is
that of any careful sum: partial sums of partial sums, and Welford's method for the variance.
"""


from .jit import shifted, stack_array
from .vectors import VECTOR_BYTES, exact, fused, lane, lanes_of, like, put_vector, splat, vector_at
from .vmath_plain import fma

_WIDEST = VECTOR_BYTES // 4  # lanes
_LEAST_POWER = 4  # of two: how many vectors a partial sum has at least
_LEVELS = 4


@exact
def cascade_power(rows):
    """The power of two of the vectors in a partial sum of ``rows``, so that four levels of sums are enough."""
    power = _LEAST_POWER
    while (1 << ((power + 1) * _LEVELS - 1)) < rows:
        power += 1
    return power


@exact
def cascade_sum(values, count, zero):
    """The sum of ``count`` numbers; ``zero`` is the 0 of their type.

    The lanes of one vector are added at the end, one after the other, to the sum of what does not fill a vector.
    """
    width = lanes_of(values)
    if count < width:
        return _short_sum(values, count, zero)
    rows = count // (4 * width)
    lanes = splat(zero)
    if rows == 0:
        for vector in range(count // width):
            lanes = lanes + vector_at(shifted(values, vector * width))
    else:
        lanes, s1, s2, s3 = _side_by_side(values, rows, zero)
        for vector in range(4 * rows, count // width):
            lanes = lanes + vector_at(shifted(values, vector * width))
        lanes = lanes + s1 + s2 + s3
    total = zero
    for i in range(count - count % width, count):
        total += values[i]
    for i in range(width):
        total += lane(lanes, i)
    return total


@exact
def _side_by_side(values, rows, zero):
    """The sums of ``rows`` rows of four vectors.

    After every 16 rows (or more) the sums are added to those of the next of four levels and begin anew; and so on.
    """
    width = lanes_of(values)
    none = splat(zero)
    a0, a1, a2, a3 = none, none, none, none
    b0, b1, b2, b3 = none, none, none, none
    c0, c1, c2, c3 = none, none, none, none
    d0, d1, d2, d3 = none, none, none, none
    power = cascade_power(rows)
    step = 1 << power
    done = 0
    while done + step <= rows:
        for row in range(done, done + step):
            at = shifted(values, row * 4 * width)
            a0 = a0 + vector_at(at)
            a1 = a1 + vector_at(shifted(at, width))
            a2 = a2 + vector_at(shifted(at, 2 * width))
            a3 = a3 + vector_at(shifted(at, 3 * width))
        done += step
        b0, b1, b2, b3 = b0 + a0, b1 + a1, b2 + a2, b3 + a3
        a0, a1, a2, a3 = none, none, none, none
        if done & ((step - 1) << power) == 0:
            c0, c1, c2, c3 = c0 + b0, c1 + b1, c2 + b2, c3 + b3
            b0, b1, b2, b3 = none, none, none, none
            if done & ((step - 1) << (2 * power)) == 0:
                d0, d1, d2, d3 = d0 + c0, d1 + c1, d2 + c2, d3 + c3
                c0, c1, c2, c3 = none, none, none, none
    for row in range(done, rows):
        at = shifted(values, row * 4 * width)
        a0 = a0 + vector_at(at)
        a1 = a1 + vector_at(shifted(at, width))
        a2 = a2 + vector_at(shifted(at, 2 * width))
        a3 = a3 + vector_at(shifted(at, 3 * width))
    if done == 0:
        return a0, a1, a2, a3
    return a0 + b0 + c0 + d0, a1 + b1 + c1 + d1, a2 + b2 + c2 + d2, a3 + b3 + c3 + d3


@exact
def _short_sum(values, count, zero):
    """The sum of fewer numbers than a vector holds: four sums side by side, as far as there are four."""
    if count < 4:
        total = zero
        for i in range(count):
            total += values[i]
        return total
    rows = count // 4
    a0, a1, a2, a3 = zero, zero, zero, zero
    for i in range(0, 4 * rows, 4):
        a0 += values[i]
        a1 += values[i + 1]
        a2 += values[i + 2]
        a3 += values[i + 3]
    for i in range(4 * rows, count):
        a0 += values[i]
    return a0 + a1 + a2 + a3


@exact
def inner_product(a, b, count, zero):
    """The sum of the products of ``count`` pairs of numbers, as MKL's ``sdot`` adds them on processors that are not
    Intel's: four vectors of four lanes side by side."""
    sums = stack_array(16, zero)
    for i in range(16):
        sums[i] = zero
    whole = count - count % 16
    for first in range(0, whole, 16):
        for i in range(16):
            sums[i] += a[first + i] * b[first + i]
    if count - whole >= 8:
        for i in range(8):
            sums[i] += a[whole + i] * b[whole + i]
        whole += 8
    if count - whole >= 4:
        for i in range(4):
            sums[i] += a[whole + i] * b[whole + i]
        whole += 4
    for i in range(whole, count):
        sums[0] += a[i] * b[i]
    for i in range(4):
        sums[i] = sums[i] + sums[4 + i] + sums[8 + i] + sums[12 + i]
    return (sums[0] + sums[2]) + (sums[1] + sums[3])


# --- rows ------------------------------------------------------------------------------------------------------------

_CHUNK = 16  # vectors whose mean and squares are found by Welford's method; then those of chunks are joined in pairs
_DEPTH = 32  # pairs of pairs of pairs ... of chunks
_TABLE = _DEPTH * _WIDEST
_TWO_VECTORS = 2 * _WIDEST


@exact
def row_moments(x, n, one):
    """The mean of ``n`` numbers and the mean square of their distance from it; ``one`` is the 1 of their type."""
    vectors = n // lanes_of(x)
    zero = one - one
    means, squares = stack_array(_WIDEST, one), stack_array(_WIDEST, one)
    if vectors <= _CHUNK:
        mean, square = _chunk_moments(x, vectors, one)
    else:
        mean, square = _joined_moments(x, vectors, one)
    put_vector(means, mean)
    put_vector(squares, square)
    count, mean, square = 0, zero, zero
    for i in range(vectors * lanes_of(x), n):
        count += 1
        delta = x[i] - mean
        mean += delta / like(one, count)
        square += delta * (x[i] - mean)
    if vectors:
        for i in range(lanes_of(x)):
            share = like(one, vectors) / like(one, count + vectors)
            delta = means[i] - mean
            mean = fma(share, delta, mean)
            square += fma(delta * delta * share, like(one, count), squares[i])
            count += vectors
    return mean, square / like(one, n)


@exact
def _joined_moments(x, vectors, one):
    """The means and squares of the lanes of more vectors than a chunk has.

    Entry k of the tables joins 2**k chunks: the number of vectors, the means, the sums of squares.
    """
    width, none = lanes_of(x), splat(one - one)
    chunks = (vectors + _CHUNK - 1) // _CHUNK
    counts, means, squares = stack_array(_DEPTH, 0), stack_array(_TABLE, one), stack_array(_TABLE, one)
    depth = 1
    while (1 << depth) < chunks:
        depth += 1
    for k in range(depth):
        counts[k] = 0
        put_vector(shifted(means, k * width), none)
        put_vector(shifted(squares, k * width), none)
    chunk = 0
    while chunk < chunks:
        first = shifted(x, chunk * _CHUNK * width)
        if vectors >= (chunk + 2) * _CHUNK:
            mean, square, mean2, square2 = _two_chunks(first, shifted(first, _CHUNK * width), one)
            _join(_CHUNK, mean, square, counts, means, squares, 0, one)
            _join(_CHUNK, mean2, square2, counts, means, squares, 0, one)
            chunk += 2
        else:
            size = min(_CHUNK, vectors - chunk * _CHUNK)
            mean, square = _chunk_moments(first, size, one)
            _join(size, mean, square, counts, means, squares, 0, one)
            chunk += 1
        k, pairs = 1, chunk
        while k < depth and pairs % 2 == 0:
            at = (k - 1) * width
            _join(counts[k - 1], vector_at(shifted(means, at)), vector_at(shifted(squares, at)), counts, means, squares, k, one)
            counts[k - 1] = 0
            put_vector(shifted(means, at), none)
            put_vector(shifted(squares, at), none)
            k, pairs = k + 1, pairs // 2
    for k in range(1, depth):
        at = k * width
        _join(counts[k], vector_at(shifted(means, at)), vector_at(shifted(squares, at)), counts, means, squares, 0, one)
    return vector_at(means), vector_at(squares)


@exact
def _chunk_moments(x, size, one):
    """The means of the lanes of ``size`` vectors and the sums of the squares of their distances from them."""
    width = lanes_of(x)
    mean, square = splat(one - one), splat(one - one)
    for k in range(size):
        value = vector_at(shifted(x, k * width))
        delta = value - mean
        mean = fused(delta, splat(one / like(one, k + 1)), mean)
        square = fused(delta, value - mean, square)
    return mean, square


@exact
def _two_chunks(x, y, one):
    """`_chunk_moments` of two whole chunks, side by side: neither waits for itself."""
    width, none = lanes_of(x), splat(one - one)
    mean, square, mean2, square2 = none, none, none, none
    for k in range(_CHUNK):
        value, value2 = vector_at(shifted(x, k * width)), vector_at(shifted(y, k * width))
        delta, delta2 = value - mean, value2 - mean2
        share = splat(one / like(one, k + 1))
        mean, mean2 = fused(delta, share, mean), fused(delta2, share, mean2)
        square, square2 = fused(delta, value - mean, square), fused(delta2, value2 - mean2, square2)
    return mean, square, mean2, square2


@exact
def _join(count, mean, square, counts, means, squares, k, one):
    """Add the moments of ``count`` vectors to entry ``k`` of the tables."""
    at = k * lanes_of(means)
    total = counts[k] + count
    share = splat(like(one, count) / like(one, total) if total else one - one)
    old, before = vector_at(shifted(means, at)), splat(like(one, counts[k]))
    delta = mean - old
    put_vector(shifted(means, at), old + share * delta)
    joined = vector_at(shifted(squares, at)) + square
    put_vector(shifted(squares, at), fused(delta * share * before, delta, joined))
    counts[k] = total


@exact
def row_products(g, weight, x, n, zero):
    """The sums of ``g * x * weight`` and of ``g * weight`` over ``n`` numbers; ``weight`` may be None."""
    width = lanes_of(x)
    along, plain = zero, zero
    if n < width:
        for i in range(n):
            product, value = g[i] * x[i], g[i]
            if weight is not None:
                product, value = product * weight[i], value * weight[i]
            along, plain = along + product, plain + value
        return along, plain
    products, values = splat(zero), splat(zero)
    for first in range(0, n - n % width, width):
        value = vector_at(shifted(g, first))
        product = value * vector_at(shifted(x, first))
        if weight is not None:
            product, value = product * vector_at(shifted(weight, first)), value * vector_at(shifted(weight, first))
        products, values = products + product, values + value
    sums = stack_array(_TWO_VECTORS, zero)
    put_vector(sums, products)
    put_vector(shifted(sums, _WIDEST), values)
    for i in range(n % width):
        at = n - n % width + i
        if weight is None:
            sums[i] = fma(g[at], x[at], sums[i])
            sums[_WIDEST + i] += g[at]
        else:
            sums[i] = fma(g[at] * x[at], weight[at], sums[i])
            sums[_WIDEST + i] = fma(g[at], weight[at], sums[_WIDEST + i])
    half = width // 2
    while half:
        for i in range(half):
            sums[i] += sums[half + i]
            sums[_WIDEST + i] += sums[_WIDEST + half + i]
        half //= 2
    return sums[0], sums[_WIDEST]
