"""The samplers: kernels that fill raw arrays and consume the MT19937 stream draw for draw as PyTorch's CPU generator
does.

Slot 0 of every kernel is the generator's block (see mt19937.py). The kernels change it, so they are serial: to split a
range over threads would change the numbers.
"""

import math
from collections.abc import Callable

import numpy as np
from numba.extending import intrinsic

from .jit import PYTHON_MODE, integer, kernel_template, pointer, real, routine, scalar, shifted, stack_array
from .mt19937 import HAS_NORMAL, NORMAL, draw, joined, mantissa_53, next_unit, start, take, unit_24, unit_53

_TWO_PI = 2.0 * math.pi

# --- the arithmetic of the samplers --------------------------------------------------------------------------------


def _fused(typingctx, a, b, c):
    def codegen(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, a, a), codegen


def _python_fma(a, b, c):
    return type(a)(np.float64(a) * np.float64(b) + np.float64(c))  # a float32 product is exact in float64


# _fma(a, b, c) = a * b + c with one rounding; all three of one type.
_fma: Callable = _python_fma if PYTHON_MODE else intrinsic(_fused)

# Single-precision logarithm, sine and cosine by the Cephes library's method: reduce the argument, then a polynomial.
# Where a product and a sum round together (`_fma`) follows PyTorch's AVX2 kernel, so that normals agree to the bit.
_LOG = tuple(
    np.float32(c)
    for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
)  # fmt: skip
_LOG_2_HIGH, _LOG_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_SQRT_HALF = np.float32(0.707106781186547524)
_SIN = tuple(np.float32(c) for c in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1))
_COS = tuple(np.float32(c) for c in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2))
_QUARTER_PI = tuple(np.float32(c) for c in (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8))
_FOUR_OVER_PI, _TWO_PI_32 = np.float32(1.27323954473516), np.float32(_TWO_PI)
_HALF, _ONE, _MINUS_TWO = np.float32(0.5), np.float32(1.0), np.float32(-2.0)


@scalar
def _log_32(x):
    """``log(x)`` for a normal float32 ``x`` in (0, 1]."""
    bits = np.float32(x).view(np.int32)
    exponent = np.float32(np.int32(np.int32(bits >> 23) - 126))
    m = np.int32((bits & 0x7FFFFF) | 0x3F000000).view(np.float32)  # in [1/2, 1)
    small = m < _SQRT_HALF
    exponent = exponent - _ONE if small else exponent
    m = (m - _ONE) + m if small else m - _ONE
    square = m * m
    y = _fma(_LOG[0], m, _LOG[1])
    y = _fma(y, m, _LOG[2])
    y = _fma(y, m, _LOG[3])
    y = _fma(y, m, _LOG[4])
    y = _fma(y, m, _LOG[5])
    y = _fma(y, m, _LOG[6])
    y = _fma(y, m, _LOG[7])
    y = _fma(y, m, _LOG[8])
    y = _fma(y * m, square, exponent * _LOG_2_LOW)
    y = _fma(-square, _HALF, y)
    return _fma(exponent, _LOG_2_HIGH, m + y)


@scalar
def _sin_cos_32(x):
    """``(sin(x), cos(x))`` for a float32 ``x`` in [0, 2 pi)."""
    octant = np.int32(np.int32(np.int32(x * _FOUR_OVER_PI) + 1) & -2)  # the nearest even one
    k = np.float32(octant)
    x = _fma(k, -_QUARTER_PI[0], x)
    x = _fma(k, -_QUARTER_PI[1], x)
    x = _fma(k, -_QUARTER_PI[2], x)
    square = x * x
    c = _fma(_COS[0], square, _COS[1])
    c = _fma(c, square, _COS[2])
    c = _fma(c * square, square, -(square * _HALF)) + _ONE
    s = _fma(_SIN[0], square, _SIN[1])
    s = _fma(s, square, _SIN[2])
    s = _fma(s * square, x, x)
    swap = (octant & 2) != 0
    sine = c if swap else s
    cosine = s if swap else c
    sine = -sine if (octant & 4) != 0 else sine
    cosine = -cosine if ((octant + 2) & 4) != 0 else cosine
    return sine, cosine


@scalar
def _normal_pair_32(u, v):
    """Two standard normals from two uniforms (Box and Muller), float32."""
    radius = np.sqrt(_MINUS_TWO * _log_32(_ONE - u))
    sine, cosine = _sin_cos_32(_TWO_PI_32 * v)
    return radius * cosine, radius * sine


@scalar
def _normal_pair_64(u, v):
    """Two standard normals from two uniforms (Box and Muller), float64."""
    radius = np.sqrt(-2.0 * math.log(1.0 - u))
    theta = _TWO_PI * v
    return radius * math.cos(theta), radius * math.sin(theta)


@routine
def next_normal(state):
    """One standard normal; every second one is kept from the pair before."""
    if state[HAS_NORMAL] != 0:
        state[HAS_NORMAL] = np.uint32(0)
        return np.uint64(joined(state[NORMAL + 1], state[NORMAL])).view(np.float64)
    angle = next_unit(state)
    radius = np.sqrt(-2.0 * math.log1p(-next_unit(state)))
    theta = _TWO_PI * angle
    kept = np.float64(radius * math.sin(theta)).view(np.int64)
    state[NORMAL] = np.uint32(kept & 0xFFFFFFFF)
    state[NORMAL + 1] = np.uint32((kept >> 32) & 0xFFFFFFFF)
    state[HAS_NORMAL] = np.uint32(1)
    return radius * math.cos(theta)


@scalar
def _sum(a, b):
    return a + b


@scalar
def _quotient(a, b):
    return a / b


# --- kernels ---------------------------------------------------------------------

_BATCH = 1024  # draws taken at once; `stack_array` wants the number itself


@routine
def _fill_uniform_24(state, out, count, low, high):
    draws = stack_array(1024, np.uint32(0))
    done = np.int64(0)
    while done < count:
        here = min(count - done, _BATCH)
        take(state, draws, here)
        target = shifted(out, done)
        for k in range(here):
            value = _fma(unit_24(draws[k]), high - low, low)
            target[k] = low if value == high else value  # rounding must not reach the excluded end
        done += here


@routine
def _fill_uniform_53(state, out, count, low, high):
    draws = stack_array(1024, np.uint32(0))
    done = np.int64(0)
    while done < count:
        here = min(count - done, _BATCH // 2)
        take(state, draws, 2 * here)
        target = shifted(out, done)
        for k in range(here):
            value = _fma(unit_53(draws[2 * k], draws[2 * k + 1]), high - low, low)
            target[k] = low if value == high else value
        done += here


@kernel_template
def started(operands, begin, end):
    """Nothing but the state's words, where they were still to be computed. Slot: state."""
    start(pointer(operands, 0, np.uint32))


@kernel_template
def uniform_24(operands, begin, end):
    """float32 ``out`` in [low, high). Slots: state, out, low, high."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, np.float32)
    low, high = np.float32(real(operands, 2)), np.float32(real(operands, 3))
    _fill_uniform_24(state, shifted(out, begin), end - begin, low, high)


@kernel_template
def uniform_53(operands, begin, end):
    """float64 ``out`` in [low, high). Slots: state, out, low, high."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, np.float64)
    _fill_uniform_53(state, shifted(out, begin), end - begin, np.float64(real(operands, 2)), real(operands, 3))


@routine
def _box_muller_32(values, blocks, mean, std):
    """Turn the uniforms in each 16 of ``values``, 8 and 8, into normals; gathered into long loops that vectorise."""
    first, second = stack_array(512, np.float32(0)), stack_array(512, np.float32(0))
    done = np.int64(0)
    while done < blocks:
        here = min(blocks - done, 64)
        batch = shifted(values, done * 16)
        for block in range(here):
            for k in range(8):
                first[block * 8 + k] = batch[block * 16 + k]
                second[block * 8 + k] = batch[block * 16 + 8 + k]
        for k in range(here * 8):
            x, y = _normal_pair_32(first[k], second[k])
            first[k], second[k] = _fma(x, std, mean), _fma(y, std, mean)
        for block in range(here):
            for k in range(8):
                batch[block * 16 + k] = first[block * 8 + k]
                batch[block * 16 + 8 + k] = second[block * 8 + k]
        done += here


@routine
def _box_muller_64(values, blocks, mean, std):
    """Turn the uniforms in each 16 of ``values``, 8 and 8, into normals."""
    for block in range(blocks):
        batch = shifted(values, block * 16)
        for k in range(8):
            x, y = _normal_pair_64(batch[k], batch[k + 8])
            batch[k], batch[k + 8] = _fma(x, std, mean), _fma(y, std, mean)


@kernel_template
def normal_blocks_32(operands, begin, end):
    """At least 16 float32 normals. Slots: state, out, mean, std; ``begin`` is 0.

    Each 16 uniforms become 16 normals. A remainder is not left over: the last 16 values are drawn once more, after all
    the others, and overlap the block before.
    """
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, np.float32)
    mean, std = np.float32(real(operands, 2)), np.float32(real(operands, 3))
    zero, one = np.float32(0.0), np.float32(1.0)
    _fill_uniform_24(state, out, end, zero, one)
    _box_muller_32(out, end // 16, mean, std)
    if end % 16 != 0:
        last = shifted(out, end - 16)
        _fill_uniform_24(state, last, 16, zero, one)
        _box_muller_32(last, 1, mean, std)


@kernel_template
def normal_blocks_64(operands, begin, end):
    """At least 16 float64 normals, as `normal_blocks_32`. Slots: state, out, mean, std; ``begin`` is 0."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, np.float64)
    mean, std = np.float64(real(operands, 2)), np.float64(real(operands, 3))
    zero, one = np.float64(0.0), np.float64(1.0)
    _fill_uniform_53(state, out, end, zero, one)
    _box_muller_64(out, end // 16, mean, std)
    if end % 16 != 0:
        last = shifted(out, end - 16)
        _fill_uniform_53(state, last, 16, zero, one)
        _box_muller_64(last, 1, mean, std)


@kernel_template
def normal_singles(operands, begin, end, *, T):
    """Normals one by one: fewer than 16, or an output that is not contiguous. Slots: state, out, mean, std."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, T)
    mean, std = np.float64(real(operands, 2)), np.float64(real(operands, 3))
    for k in range(begin, end):
        out[k] = T(_fma(np.float64(next_normal(state)), std, mean))


@kernel_template
def log_normal(operands, begin, end, *, T):
    """``exp`` of a normal. Slots: state, out, mean, std."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, T)
    mean, std = np.float64(real(operands, 2)), np.float64(real(operands, 3))
    for k in range(begin, end):
        out[k] = T(math.exp(_fma(np.float64(next_normal(state)), std, mean)))


@kernel_template
def integers_32(operands, begin, end, *, T):
    """``base + draw % span``. Slots: state, out, span (below 2**32), base."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, T)
    span, base = np.uint32(integer(operands, 2)), np.int64(integer(operands, 3))
    draws = stack_array(1024, np.uint32(0))
    done = np.int64(begin)
    while done < end:
        here = min(end - done, _BATCH)
        take(state, draws, here)
        target = shifted(out, done)
        for k in range(here):
            target[k] = T(base + np.int64(np.uint32(draws[k] % span)))
        done += here


@kernel_template
def integers_64(operands, begin, end, *, T):
    """``base + (two draws) % span``. Slots: state, out, span (the bits of a uint64), base."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, T)
    span, base = np.int64(integer(operands, 2)).view(np.uint64), np.int64(integer(operands, 3))
    for k in range(begin, end):
        high = draw(state)
        offset = joined(high, draw(state)) % span
        half = np.int64(offset >> np.uint64(1))  # added in two steps: the offset alone may exceed an int64
        out[k] = T((base + half) + (half + np.int64(offset & np.uint64(1))))


@kernel_template
def integers_full(operands, begin, end, *, T):
    """Every 64-bit integer, as ``T``. Slots: state, out."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, T)
    for k in range(begin, end):
        high = draw(state)
        out[k] = T(np.uint64(joined(high, draw(state))).view(np.int64))


@kernel_template
def bernoulli(operands, begin, end, *, T):
    """1 where a float64 uniform is below p, else 0. Slots: state, out, the least 53-bit integer not below p * 2**53."""
    state, out, bound = pointer(operands, 0, np.uint32), pointer(operands, 1, T), np.int64(integer(operands, 2))
    draws = stack_array(1024, np.uint32(0))
    done = np.int64(begin)
    while done < end:
        here = min(end - done, _BATCH // 2)
        take(state, draws, 2 * here)
        target = shifted(out, done)
        for k in range(here):
            target[k] = T(mantissa_53(draws[2 * k], draws[2 * k + 1]) < bound)
        done += here


@kernel_template
def bernoulli_array_24(operands, begin, end, *, T):
    """1 where a float32 uniform is below its own p, else 0. Slots: state, out, p (float32)."""
    state, out, p = pointer(operands, 0, np.uint32), pointer(operands, 1, T), pointer(operands, 2, np.float32)
    for k in range(begin, end):
        out[k] = T(unit_24(draw(state)) < p[k])


@kernel_template
def bernoulli_array_53(operands, begin, end, *, T):
    """1 where a float64 uniform is below its own p, else 0. Slots: state, out, p (float64)."""
    state, out, p = pointer(operands, 0, np.uint32), pointer(operands, 1, T), pointer(operands, 2, np.float64)
    for k in range(begin, end):
        out[k] = T(next_unit(state) < p[k])


@kernel_template
def exponential(operands, begin, end, *, T):
    """``-log(1 - u) / rate``. Slots: state, out, -1 / rate."""
    state, out, scale = pointer(operands, 0, np.uint32), pointer(operands, 1, T), real(operands, 2)
    for k in range(begin, end):
        out[k] = T(scale * math.log1p(-next_unit(state)))


@kernel_template
def geometric(operands, begin, end, *, T):
    """``ceil(log(u) / log(1 - p))``: trials up to the first success. Slots: state, out, log(1 - p)."""
    state, out, log_failure = pointer(operands, 0, np.uint32), pointer(operands, 1, T), real(operands, 2)
    for k in range(begin, end):
        u = max(next_unit(state), 1e-300)  # a uniform of 0 must not become an infinite count
        out[k] = T(np.ceil(_quotient(math.log(u), log_failure)))


@kernel_template
def cauchy(operands, begin, end, *, T):
    """``median + sigma * tan(pi * (u - 1/2))``. Slots: state, out, median, sigma."""
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, T)
    median, sigma = np.float64(real(operands, 2)), np.float64(real(operands, 3))
    for k in range(begin, end):
        out[k] = T(_fma(sigma, np.float64(math.tan(math.pi * (next_unit(state) - 0.5))), median))


@routine
def _next_poisson(state, rate):
    if rate == 0.0:
        return np.int64(0)
    count = np.int64(0)
    if rate < 10.0:  # multiply uniforms until their product falls below exp(-rate)
        bound = math.exp(-rate)
        product = next_unit(state)
        while product > bound:
            count += 1
            product *= next_unit(state)
        return count
    # Transformed rejection with squeeze: W. Hoermann, Insurance: Mathematics and Economics 12 (1993), algorithm PTRS.
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = next_unit(state) - 0.5
        v = next_unit(state)
        distance = 0.5 - abs(u)
        count = np.int64(math.floor((2.0 * a / distance + b) * u + rate + 0.43))
        if distance >= 0.07 and v <= squeeze:
            return count
        if count < 0 or (distance < 0.013 and v > distance):
            continue
        left = math.log(v) + math.log(inverse_alpha) - math.log(a / (distance * distance) + b)
        if left <= -rate + count * math.log(rate) - math.lgamma(count + 1.0):
            return count


@kernel_template
def poisson(operands, begin, end, *, T):
    """Poisson counts with a rate each. Slots: state, out, rates (of out's dtype)."""
    state, out, rates = pointer(operands, 0, np.uint32), pointer(operands, 1, T), pointer(operands, 2, T)
    for k in range(begin, end):
        out[k] = T(_next_poisson(state, np.float64(rates[k])))


@kernel_template
def permutation(operands, begin, end, *, T):
    """0 .. end - 1 in random order. Slots: state, out, the size from which two draws choose a position."""
    state, out, many = pointer(operands, 0, np.uint32), pointer(operands, 1, T), integer(operands, 2)
    if end >= many:  # grown from the front: a new value takes a random place, what stood there moves to the end
        for k in range(end):
            high = draw(state)
            place = np.int64(joined(high, draw(state)) % np.uint64(k + 1))
            out[k] = out[place]
            out[place] = T(k)
    else:  # shuffled from the front
        for k in range(end):
            out[k] = T(k)
        for k in range(end - 1):
            place = k + np.int64(np.uint32(draw(state) % np.uint32(end - k)))
            kept = out[k]
            out[k] = out[place]
            out[place] = kept


@kernel_template
def multinomial(operands, begin, end, *, T):
    """Indices drawn with replacement, a row of them for each row of weights.

    Slots: state, out (rows x samples, int64), weights (rows x categories), room for one row of T, categories, samples.
    """
    state, out = pointer(operands, 0, np.uint32), pointer(operands, 1, np.int64)
    weights, cumulative = pointer(operands, 2, T), pointer(operands, 3, T)
    categories, samples = integer(operands, 4), integer(operands, 5)
    for row in range(begin, end):
        own, chosen = shifted(weights, row * categories), shifted(out, row * samples)
        total = T(0)
        for k in range(categories):  # in order and unfused, as the running sums decide at the boundaries
            total = _sum(total, own[k])
            cumulative[k] = total
        for k in range(categories):
            cumulative[k] = _quotient(cumulative[k], total)
        cumulative[categories - 1] = T(1)
        for sample in range(samples):
            u = next_unit(state)
            low, high = np.int64(0), np.int64(categories)
            while low < high:
                middle = (low + high) // 2
                if np.float64(cumulative[middle]) < u:
                    low = middle + 1
                else:
                    high = middle
            chosen[sample] = low
