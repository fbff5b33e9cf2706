"""Random numbers on CUDA: Philox4x32-10, every thread from its own counter."""

import os
import threading

import numpy as np

from ... import config
from ...errors import Error
from . import loops
from .handwritten import template
from .memory import Buffer

_SPAN = 1 << 63


class Generator:
    """A stream of random numbers: a key, the seed, and the counter that comes next."""

    def __init__(self, seed: int):
        self._lock = threading.Lock()
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> "Generator":
        """Start the stream of ``seed``, an integer from -2**63 to 2**64 - 1."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise Error(f"manual_seed: Overflow when unpacking long: expected a seed from -2**63 to 2**64 - 1, got {seed}; reduce it modulo 2**64")
        with self._lock:
            self._seed, self._offset = seed % 2**64, 0
        return self

    def seed(self) -> int:
        """Start a stream that cannot be foreseen; return its seed."""
        seed = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed of the current stream."""
        return self._seed

    def get_state(self) -> np.ndarray:
        """Seed and counter as 16 bytes."""
        return np.array([self._seed, self._offset], np.uint64).view(np.uint8)

    def set_state(self, new_state: np.ndarray) -> None:
        """Continue from what `get_state` returned."""
        new_state = np.asarray(new_state)
        if new_state.dtype != np.uint8 or new_state.size != 16:
            raise Error(f"set_state: expected 16 bytes (uint8), got {new_state.size} of {new_state.dtype}")
        seed, offset = np.frombuffer(new_state.tobytes(), np.uint64)
        with self._lock:
            self._seed, self._offset = int(seed), int(offset)

    def take(self, counters: int) -> tuple[int, int, int]:
        """(first counter, low word of the key, high word) for ``counters`` counters, which are used up."""
        with self._lock:
            first = self._offset
            self._offset = (first + counters) % _SPAN
            return first, self._seed & 0xFFFFFFFF, self._seed >> 32


_generators: dict = {}
_first_seed = 67280421310721 if config.device_seed is None else config.device_seed % 2**64


def generator(index: int) -> Generator:
    """The default generator of a device."""
    found = _generators.get(index)
    if found is None:
        found = _generators.setdefault(index, Generator(_first_seed))
    return found


def seed_all(seed: int) -> None:
    """Start the default generators of all devices, those used later included, at ``seed``."""
    global _first_seed
    _first_seed = Generator(seed).initial_seed()
    for found in _generators.values():
        found.manual_seed(seed)


config.on_seed.append(seed_all)


def fill(kind: str, out: Buffer, a=0.0, b=1.0, stream: Generator | None = None) -> None:
    """Fill a buffer with random numbers.

    ``kind`` and its two parameters: "uniform" (low, high), "normal" (mean, std), "exponential" (rate), "bernoulli"
    (probability), "integers" (low, high); floating-point buffers for the first three.
    """
    T = np.uint8 if out.dtype == np.bool_ else out.dtype.type
    if kind in ("uniform", "normal", "exponential") and out.dtype.kind != "f":
        raise TypeError(f"{kind}: expected a floating-point dtype, got {out.dtype}")
    width = 2
    if kind in ("uniform", "normal"):
        width = 4 if T is np.float32 else 2
        kernel = template(getattr(loops, f"{kind}_{32 if T is np.float32 else 64}"), {})
    elif kind in ("exponential", "bernoulli", "integers"):
        kernel = template(getattr(loops, kind), {"T": T})
    else:
        raise ValueError(f"fill: expected uniform, normal, exponential, bernoulli or integers, got {kind!r}")
    if kind == "integers":
        a, b = int(a), int(b) - int(a)
    else:
        a, b = float(a), float(b)
    units = -(-out.size // width)
    if units:
        first, key0, key1 = (stream or generator(out.device.index)).take(units)
        kernel.run(out, out.size, first, key0, key1, a, b, 0, units)
