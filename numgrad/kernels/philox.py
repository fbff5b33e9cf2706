"""Philox4x32-10: 128 random bits as a function of a counter and a key (Salmon et al., SC 2011).

There is no state to advance, so every CUDA thread computes its own numbers. The function is plain Python on unsigned
integers: it runs as it is, under ``njit`` and as a CUDA device function.
"""

import numpy as np

_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_STEP_0, _STEP_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _WORD = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox4x32(counter0, counter1, counter2, counter3, key0, key1):
    """Four uint32 words for a counter of four 32-bit words and a key of two.

    Each of the ten rounds multiplies two counter words to 64 bits, mixes the high halves with the others and the key,
    and swaps; the key moves on by a constant.
    """
    c0, c1, c2, c3 = np.uint64(counter0), np.uint64(counter1), np.uint64(counter2), np.uint64(counter3)
    k0, k1 = np.uint64(key0), np.uint64(key1)
    for _ in range(10):
        product0, product1 = c0 * _MULTIPLIER_0, c2 * _MULTIPLIER_1
        c0, c2 = (product1 >> _WORD) ^ c1 ^ k0, (product0 >> _WORD) ^ c3 ^ k1
        c1, c3 = product1 & _LOW, product0 & _LOW
        k0, k1 = (k0 + _STEP_0) & _LOW, (k1 + _STEP_1) & _LOW
    return np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)
