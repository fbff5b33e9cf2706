"""The MT19937 stream of random bits, in the state and the order of PyTorch's CPU generator.

A generator is one uint32 block. Words 0-623 are the Mersenne Twister's state, `NEXT` the index of the next word to
hand out, `LEFT` one more than the number of draws before the state is renewed; then come the second value of the last
pair of normals (float64, and a float32 that is only carried along) and the seed. `LEFT` is 0 while the words are still
to be computed from the seed, which the first draw does: seeding costs nothing and importing compiles nothing.

One draw is 32 bits. A float32 uniform is the low 24 bits of one draw; a float64 uniform is the low 53 bits of two, the
first one high.
"""

import numpy as np

from .jit import routine, scalar, shifted

STATE_WORDS = 624
NEXT, LEFT = 624, 625
NORMAL, HAS_NORMAL = 626, 628  # the float64 takes two words, the low one first
FLOAT_NORMAL, HAS_FLOAT_NORMAL = 629, 630
SEED = 632
BLOCK_WORDS = 634

_TWIST_DISTANCE = 397
_SCALE_24 = np.float32(2.0**-24)
_SCALE_53 = 2.0**-53


def unseeded_block(seed: int) -> np.ndarray:
    """The block of a generator just seeded with ``seed`` (0 to 2**64 - 1; only its low 32 bits steer the stream)."""
    block = np.zeros(BLOCK_WORDS, np.uint32)
    block[SEED : SEED + 2].view(np.uint64)[0] = seed
    return block


# --- the stream --------------------------------------------------------------------------------------------------


@scalar
def _tempered(word):
    y = np.uint32(word)
    y = np.uint32(y ^ (y >> 11))
    y = np.uint32(y ^ (np.uint32(y << 7) & 0x9D2C5680))
    y = np.uint32(y ^ (np.uint32(y << 15) & 0xEFC60000))
    return np.uint32(y ^ (y >> 18))


@scalar
def _twisted(first, second):
    mixed = (np.uint32(first) & 0x80000000) | (np.uint32(second) & 0x7FFFFFFF)
    return np.uint32((mixed >> 1) ^ ((np.uint32(second) & 1) * 0x9908B0DF))


@routine
def start(state):
    """Compute the words from the seed, if that has not been done."""
    if state[LEFT] == 0:
        word = np.int64(state[SEED])
        state[0] = np.uint32(word)
        for k in range(1, STATE_WORDS):
            word = (1812433253 * (word ^ (word >> 30)) + k) & 0xFFFFFFFF
            state[k] = np.uint32(word)
        state[NEXT] = np.uint32(0)
        state[LEFT] = np.uint32(1)


@routine
def _renew(state):
    """Replace all 624 words by the next 624."""
    start(state)
    near = STATE_WORDS - _TWIST_DISTANCE
    ahead = shifted(state, _TWIST_DISTANCE)
    for k in range(near):
        state[k] = ahead[k] ^ _twisted(state[k], state[k + 1])
    rest = shifted(state, near)
    for k in range(_TWIST_DISTANCE - 1):
        rest[k] = state[k] ^ _twisted(rest[k], rest[k + 1])
    state[STATE_WORDS - 1] = state[_TWIST_DISTANCE - 1] ^ _twisted(state[STATE_WORDS - 1], state[0])
    state[NEXT] = np.uint32(0)
    state[LEFT] = np.uint32(STATE_WORDS + 1)


@routine
def take(state, draws, count):
    """The next ``count`` draws, written to ``draws``."""
    done = np.int64(0)
    while done < count:
        if state[LEFT] <= 1:
            _renew(state)
        first = np.int64(state[NEXT])
        here = min(np.int64(state[LEFT]) - 1, count - done)
        source, target = shifted(state, first), shifted(draws, done)
        for k in range(here):
            target[k] = _tempered(source[k])
        state[NEXT] = np.uint32(first + here)
        state[LEFT] = np.uint32(np.int64(state[LEFT]) - here)
        done += here


@routine
def draw(state):
    if state[LEFT] <= 1:
        _renew(state)
    first = np.int64(state[NEXT])
    state[NEXT] = np.uint32(first + 1)
    state[LEFT] = np.uint32(np.int64(state[LEFT]) - 1)
    return _tempered(state[first])


@scalar
def mantissa_53(high, low):
    return ((np.int64(high) & 0x1FFFFF) << 32) | np.int64(low)


@scalar
def unit_24(word):
    return np.float32(np.int32(np.uint32(word) & 0xFFFFFF)) * _SCALE_24


@scalar
def unit_53(high, low):
    return np.float64(mantissa_53(high, low)) * _SCALE_53


@scalar
def joined(high, low):
    return (np.uint64(high) << np.uint64(32)) | np.uint64(low)


@routine
def next_unit(state):
    high = draw(state)
    return unit_53(high, draw(state))
