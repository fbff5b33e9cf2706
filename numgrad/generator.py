"""Generators of random numbers and the functions that fill raw arrays from them.

For a seed the numbers, and how many draws a call consumes, are those of PyTorch's CPU generator, and states can be
exchanged with it. Arrays here are flat and contiguous; shapes are the ops' business.
"""

import functools
import math
import os
import warnings

import numpy as np

from . import forks
from .device import Device
from .errors import DeviceError, DTypeError, Error
from .kernels import mt19937, random, rejection
from .kernels.callers import caller

_lock = forks.lock("random")  # one for all streams: samplers hold the interpreter anyway
_DEFAULT_SEED = 67280421310721
_TWO_DRAWS_FROM = 1 << 28  # spans from here on take 64 bits, so that the remainder is not skewed
_MANY = (2**32 - 1) // 20  # permutations from this size on take 64 bits for a position
_INT64 = np.iinfo(np.int64)
_LARGEST = {T: float(np.finfo(T).max) for T in (np.float32, np.float64)}

# The byte layout of PyTorch's `get_rng_state()`: C structs with the words widened to 64 bits.
_STATE = np.dtype(
    {
        "names": [
            "seed",
            "left",
            "seeded",
            "next",
            "words",
            "normal",
            "has_normal",
            "float_normal",
            "has_float_normal",
        ],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", (mt19937.STATE_WORDS,)), "<f8", "<i4", "<f4", "?"],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040, 5048, 5052],
        "itemsize": 5056,
    }
)


class Generator:
    """A stream of random numbers on the CPU: an MT19937 state, PyTorch's for the same seed."""

    def __init__(self, device: Device | str = "cpu"):
        self.device = Device(device)
        if self.device.type != "cpu":
            raise DeviceError(f"Generator: expected device 'cpu', got {str(device)!r}; make it with Generator('cpu')")
        self._block = mt19937.unseeded_block(_DEFAULT_SEED)

    def manual_seed(self, seed: int) -> "Generator":
        """Start the stream of ``seed``, an integer from -2**63 to 2**64 - 1 (a negative one counts from 2**64)."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise Error(f"manual_seed: Overflow when unpacking long: expected a seed from -2**63 to 2**64 - 1, got {seed}; reduce it modulo 2**64")
        fresh = mt19937.unseeded_block(seed % 2**64)
        with _lock:
            self._block[:] = fresh
        return self

    def seed(self) -> int:
        """Start a stream that cannot be foreseen; return its seed."""
        seed = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed of the current stream."""
        return int(self._block[mt19937.SEED : mt19937.SEED + 2].view(np.uint64)[0])

    def get_state(self) -> np.ndarray:
        """The state as 5056 bytes, laid out as PyTorch's ``get_rng_state()``."""
        self.run(random.started(), end=1)
        with _lock:
            block = self._block.copy()
        state = np.zeros(1, _STATE)
        state["seed"] = block[mt19937.SEED : mt19937.SEED + 2].view(np.uint64)
        state["left"], state["next"], state["seeded"] = block[mt19937.LEFT], block[mt19937.NEXT], 1
        state["words"] = block[: mt19937.STATE_WORDS]
        if block[mt19937.HAS_NORMAL]:
            state["normal"] = block[mt19937.NORMAL : mt19937.NORMAL + 2].view(np.float64)
            state["has_normal"] = 1
        if block[mt19937.HAS_FLOAT_NORMAL]:
            state["float_normal"] = block[mt19937.FLOAT_NORMAL : mt19937.FLOAT_NORMAL + 1].view(np.float32)
            state["has_float_normal"] = True
        return state.view(np.uint8)

    def set_state(self, new_state: np.ndarray) -> None:
        """Continue from ``new_state``, 5056 bytes from `get_state` or PyTorch's ``get_rng_state()``."""
        new_state = np.asarray(new_state)
        if new_state.dtype != np.uint8 or new_state.size != _STATE.itemsize:
            raise Error(
                f"set_state: expected {_STATE.itemsize} bytes (uint8), got {new_state.size} of {new_state.dtype}; "
                "pass what get_state() returned"
            )
        state = np.frombuffer(new_state.tobytes(), _STATE)[0]
        left, following = int(state["left"]), int(state["next"])
        # PyTorch's own states have left + next == 625, or left == 1 when the words are used up or not yet begun.
        if not (state["seeded"] == 1 and 1 <= left <= 624 and following <= 624 and left in (1, 625 - following)):
            raise Error("set_state: the bytes are not a state of this generator; pass what get_state() returned")
        block = np.zeros_like(self._block)
        block[: mt19937.STATE_WORDS] = state["words"]
        block[mt19937.LEFT], block[mt19937.NEXT] = left, following
        block[mt19937.SEED : mt19937.SEED + 2].view(np.uint64)[0] = state["seed"]
        if state["has_normal"]:
            block[mt19937.NORMAL : mt19937.NORMAL + 2].view(np.float64)[0] = state["normal"]
            block[mt19937.HAS_NORMAL] = 1
        if state["has_float_normal"]:
            block[mt19937.FLOAT_NORMAL : mt19937.FLOAT_NORMAL + 1].view(np.float32)[0] = state["float_normal"]
            block[mt19937.HAS_FLOAT_NORMAL] = 1
        with _lock:
            self._block[:] = block

    def clone_state(self) -> "Generator":
        """A new generator that continues from this one's state."""
        clone = Generator(self.device)
        clone.set_state(self.get_state())
        return clone

    def __getstate__(self):
        return {"device": str(self.device), "state": self.get_state()}

    def __setstate__(self, saved):
        self.__init__(saved["device"])
        self.set_state(saved["state"])

    def __repr__(self):
        return f"<numgrad.Generator device={self.device} seed={self.initial_seed()}>"

    def run(self, address, *slots, begin: int = 0, end: int) -> None:
        """Call the sampler kernel at ``address`` with this generator's block as its first slot."""
        call = caller(len(slots) + 1)
        with _lock:
            call(address, self._block, *slots, begin, end)


default_generator = Generator()
default_generator.seed()


def _checked(op: str, out: np.ndarray, floating: bool = False) -> type:
    """The NumPy scalar type of ``out``, which must be flat and contiguous (and of a float dtype, if ``floating``)."""
    if out.ndim != 1 or (out.size > 1 and out.strides[0] != out.itemsize):
        raise Error(f"{op}: expected a flat contiguous array, got shape {out.shape}, strides {out.strides}")
    T = out.dtype.type
    if floating and T not in _LARGEST:
        raise DTypeError(f"{op}: expected float32 or float64, got {out.dtype}; fill a float array and convert it")
    return T


def _stored(T: type) -> type:
    """The type that a kernel stores for ``T``: a bool is a byte."""
    return np.uint8 if T is np.bool_ else T


@functools.cache
def integer_limits(T: type) -> tuple[int, int]:
    """The least and the largest value of an integer type; of bool, 0 and 1."""
    return (0, 1) if T is np.bool_ else (int(np.iinfo(T).min), int(np.iinfo(T).max))


# --- continuous distributions ------------------------------------------------------------------------------------


def fill_uniform(out: np.ndarray, low: float = 0.0, high: float = 1.0, generator: Generator | None = None) -> None:
    """Fill ``out`` (float32 or float64) with uniform numbers in [low, high)."""
    T = _checked("uniform_", out, floating=True)
    limit = _LARGEST[T]
    if high < low:
        raise Error(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}; swap the bounds")
    if not (-limit <= low and high <= limit and high - low <= limit):
        raise Error(
            f"uniform_ expects to-from and both of them within {out.dtype}, got from={low}, to={high}; narrow the bounds"
        )
    address = random.uniform_24() if T is np.float32 else random.uniform_53()
    (generator or default_generator).run(address, out, float(low), float(high), end=out.size)


def fill_normal(
    out: np.ndarray,
    mean: float = 0.0,
    std: float = 1.0,
    generator: Generator | None = None,
    contiguous: bool = True,
) -> None:
    """Fill ``out`` (float32 or float64) with normal numbers.

    ``contiguous=False`` gives what PyTorch writes to a tensor that is not contiguous: numbers drawn one by one, in
    double precision, as it also does for fewer than 16.
    """
    T = _checked("normal_", out, floating=True)
    if not std >= 0.0:
        raise Error(f"normal_: expected std >= 0.0, got {std}; pass the standard deviation, not a log of it")
    if out.size < 16 or not contiguous:
        address = random.normal_singles(T=T)
    else:
        address = random.normal_blocks_32() if T is np.float32 else random.normal_blocks_64()
    (generator or default_generator).run(address, out, float(mean), float(std), end=out.size)


def fill_log_normal(out: np.ndarray, mean: float = 1.0, std: float = 2.0, generator: Generator | None = None) -> None:
    """Fill ``out`` (float32 or float64) with the exponentials of normal numbers."""
    T = _checked("log_normal_", out, floating=True)
    if not std > 0.0:
        raise Error(f"log_normal_ expects std > 0.0, but found std={std}; for std = 0 fill with exp(mean)")
    (generator or default_generator).run(random.log_normal(T=T), out, float(mean), float(std), end=out.size)


def fill_exponential(out: np.ndarray, lambd: float = 1.0, generator: Generator | None = None) -> None:
    """Fill ``out`` (float32 or float64) with exponential numbers of rate ``lambd``."""
    T = _checked("exponential_", out, floating=True)
    if not lambd > 0.0:
        raise Error(f"exponential_ expects lambda > 0.0, but found lambda={lambd}; it is the rate, 1 / mean")
    (generator or default_generator).run(random.exponential(T=T), out, -1.0 / float(lambd), end=out.size)


def fill_cauchy(out: np.ndarray, median: float = 0.0, sigma: float = 1.0, generator: Generator | None = None) -> None:
    """Fill ``out`` (float32 or float64) with Cauchy numbers."""
    T = _checked("cauchy_", out, floating=True)
    if not sigma > 0.0:
        raise Error(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}; it is the half-width at half-maximum")
    (generator or default_generator).run(random.cauchy(T=T), out, float(median), float(sigma), end=out.size)


def fill_gamma(out: np.ndarray, shape: np.ndarray, generator: Generator | None = None) -> None:
    """Fill ``out`` (float32 or float64) with gamma numbers of rate 1, each of the shape parameter at its place in ``shape``
    (same size and dtype); none is below the least normal number. NaN where a shape is negative or NaN."""
    T = _checked("gamma", out, floating=True)
    _same_kind("gamma", "shape", out, shape)
    address = rejection.gamma(T=T, tiny=float(np.finfo(T).tiny))
    (generator or default_generator).run(address, out, shape, end=out.size)


# --- discrete distributions --------------------------------------------------------------------------------------


def fill_random(out: np.ndarray, generator: Generator | None = None, digits: int | None = None) -> None:
    """Fill ``out`` with integers from 0 to its dtype's largest (for floats: to 2**24 or 2**53, or to 2**digits)."""
    T = _checked("random_", out)
    largest = 2 ** (digits or np.finfo(T).nmant + 1) if out.dtype.kind == "f" else integer_limits(T)[1]
    kernel = random.integers_64 if out.itemsize == 8 else random.integers_32
    (generator or default_generator).run(kernel(T=_stored(T)), out, _signed(largest + 1), 0, end=out.size)


def fill_randint(out: np.ndarray, low: int = 0, high: int | None = None, generator: Generator | None = None,
                 digits: int | None = None) -> None:  # fmt: skip
    """Fill ``out`` (any dtype) with integers from ``low`` to ``high - 1``; without ``high``, to the dtype's largest
    (for floats: to 2**24 or 2**53). ``digits``: those of the floats that the numbers are for, if not those of ``out``."""
    T = _checked("random_", out)
    generator = generator or default_generator
    floating = out.dtype.kind == "f"
    digits = (digits or np.finfo(T).nmant + 1) if floating else 0
    if high is None:
        if low == _INT64.min:
            if out.itemsize < 8 and not floating or digits == 11 or T is np.uint64:
                name = "float16" if digits == 11 else out.dtype
                raise DTypeError(f"random_: expected int64 or a float dtype for the full range, got {name}")
            return generator.run(random.integers_full(T=T), out, end=out.size)
        if floating:
            low = _first_not_below(low, digits)
        last = 2**digits if floating else integer_limits(T)[1]
        if T is np.uint64:
            raise Error("random_: to - 1 is out of bounds for uint64: the numbers are drawn as int64; give the end of the range")
    else:
        if not low < high:
            raise Error(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        if floating:
            low, high = _first_not_below(low, digits), _last_not_above(high, digits)
        last = high - 1
    if digits == 11 and not -_HALF <= low <= last <= _HALF:
        raise Error(f"random_: from or to is out of bounds for float16: got {low} and {last + 1}")
    if floating:
        for name, bound in (("from", low), ("to - 1", last)):
            if abs(bound) > 2**digits:
                warnings.warn(
                    f"random_: {name} is out of bounds [-(2^{digits}), 2^{digits}]: got {bound}, and {out.dtype} holds every "
                    "integer only within them", stacklevel=5,
                )  # fmt: skip
        if low > last:
            raise Error(f"random_: expected a number of {out.dtype} from {low} to {last}, and there is none")
    else:
        least, largest = integer_limits(T)
        for name, bound in (("from", low), ("to - 1", last)):
            if not least <= bound <= largest:
                raise Error(f"random_: {name} is out of bounds for {out.dtype}: got {bound}; use a wider dtype")
    span = last - low + 1
    kernel = random.integers_64 if span >= _TWO_DRAWS_FROM else random.integers_32
    generator.run(kernel(T=_stored(T)), out, _signed(span), int(low), end=out.size)


def _signed(span: int) -> int:
    """The int64 with the bits of the uint64 ``span``: what a kernel's slot can carry."""
    return span - 2**64 if span >= 2**63 else span


_HALF = 65504  # the largest float16


def _rounded(value: int, digits: int) -> int:
    """``value`` to so many binary digits, ties to even."""
    beyond = abs(value).bit_length() - digits
    if beyond <= 0:
        return value
    whole, rest = divmod(abs(value), 1 << beyond)
    half = 1 << (beyond - 1)
    whole += rest > half or (rest == half and whole & 1)
    return (whole << beyond) * (1 if value > 0 else -1)


def _first_not_below(low: int, digits: int) -> int:
    """``low``, or if a float of so many digits rounds ``low + 1`` to below it, the next integer that such a float holds."""
    rounded = _rounded(low + 1, digits)
    if rounded < low:
        low = rounded + (1 << (abs(low + 1).bit_length() - digits))
    return low


def _last_not_above(high: int, digits: int) -> int:
    """``high``, or if a float of so many digits rounds ``high - 1`` up to it, the integer before that such a float holds."""
    rounded = _rounded(high - 1, digits)
    if rounded >= high:
        high = rounded - (1 << (abs(high - 1).bit_length() - digits))
    return high


def fill_bernoulli(out: np.ndarray, p: float = 0.5, generator: Generator | None = None) -> None:
    """Fill ``out`` (any dtype) with 1 with probability ``p``, else 0."""
    T = _checked("bernoulli_", out)
    if not 0.0 <= p <= 1.0:
        raise Error(f"bernoulli_: expected 0 <= p <= 1, got p={p}; apply a sigmoid to logits first")
    bound = math.ceil(math.ldexp(float(p), 53))  # u * 2**53 is an integer, so this bound decides as p does
    (generator or default_generator).run(random.bernoulli(T=_stored(T)), out, bound, end=out.size)


def fill_bernoulli_array(out: np.ndarray, p: np.ndarray, generator: Generator | None = None) -> None:
    """Fill ``out`` (any dtype) with 1 with the probability that stands at its place in ``p`` (float32 or float64, of
    ``out``'s size), else 0."""
    T = _checked("bernoulli_", out)
    P = _checked("bernoulli_", p, floating=True)
    _same_size("bernoulli_", "p", out, p)
    if not np.all((p >= 0) & (p <= 1)):
        raise Error("bernoulli_: expected 0 <= p <= 1 everywhere; apply a sigmoid to logits first")
    kernel = random.bernoulli_array_24 if P is np.float32 else random.bernoulli_array_53
    (generator or default_generator).run(kernel(T=_stored(T)), out, p, end=out.size)


def fill_geometric(out: np.ndarray, p: float, generator: Generator | None = None) -> None:
    """Fill ``out`` (any dtype but bool) with the number of trials up to the first success of probability ``p``."""
    T = _checked("geometric_", out)
    if T is np.bool_:
        raise DTypeError("geometric_: expected an integer or float dtype, got bool; counts start at 1")
    if not 0.0 < p < 1.0:
        raise Error(f"geometric_ expects p to be in (0, 1), but got p={p}")
    (generator or default_generator).run(random.geometric(T=T), out, math.log1p(-p), end=out.size)


def fill_poisson(out: np.ndarray, rate: np.ndarray, generator: Generator | None = None) -> None:
    """Fill ``out`` (float32 or float64) with Poisson counts, each of the rate at its place in ``rate`` (same size and
    dtype)."""
    T = _checked("poisson", out, floating=True)
    _same_kind("poisson", "rate", out, rate)
    if not np.all(rate >= 0):
        raise Error("poisson: expected rates >= 0")
    (generator or default_generator).run(random.poisson(T=T), out, rate, end=out.size)


def fill_binomial(out: np.ndarray, count: np.ndarray, p: np.ndarray, generator: Generator | None = None) -> None:
    """Fill ``out`` (float32 or float64) with the successes in ``count`` trials of probability ``p`` each (arrays of ``out``'s
    size and dtype); NaN where p is."""
    T = _checked("binomial", out, floating=True)
    _same_kind("binomial", "count", out, count)
    _same_kind("binomial", "p", out, p)
    (generator or default_generator).run(rejection.binomial(T=T), out, count, p, end=out.size)


def _same_kind(op, name, out, values):
    _checked(op, values)
    _same_size(op, name, out, values)
    if values.dtype != out.dtype:
        raise DTypeError(f"{op}: expected {name} of dtype {out.dtype}, got {values.dtype}; convert it first")


def _same_size(op, name, out, values):
    if values.size != out.size:
        raise Error(f"{op}: expected {out.size} values of {name}, got {values.size}; expand {name} first")


def permutation(n: int, generator: Generator | None = None, dtype=np.int64) -> np.ndarray:
    """The integers 0 to n - 1 in random order, shape (n,)."""
    if n < 0:
        raise Error(f"randperm: expected n >= 0, got {n}")
    out = np.empty(n, dtype)
    T = _checked("randperm", out)
    if T is np.bool_:
        raise DTypeError("randperm: expected an integer or float dtype, got bool")
    most = (2 ** (np.finfo(T).nmant + 1) if out.dtype.kind == "f" else integer_limits(T)[1]) + 1
    if n > most:
        raise Error(f"randperm: expected n <= {most} for {out.dtype}, got {n}; use a wider dtype")
    (generator or default_generator).run(random.permutation(T=T), out, _MANY, end=n)
    return out


def multinomial(
    probs: np.ndarray, num_samples: int, replacement: bool = False, generator: Generator | None = None
) -> np.ndarray:
    """Indices (int64) drawn with the weights ``probs``: (categories,) -> (samples,), or row by row
    (rows, categories) -> (rows, samples). Weights need not sum to 1."""
    T = _checked("multinomial", np.ascontiguousarray(probs).reshape(-1), floating=True)
    if probs.ndim not in (1, 2):
        raise Error(f"multinomial: expected 1 or 2 dimensions, got shape {probs.shape}")
    categories = probs.shape[-1]
    if num_samples <= 0:
        raise Error(f"multinomial: expected num_samples > 0, got {num_samples}")
    if categories > 2**24:
        raise Error(f"multinomial: expected at most 2**24 categories, got {categories}")
    if not replacement and num_samples > categories:
        raise Error(
            f"multinomial: expected num_samples <= {categories} categories without replacement, got {num_samples}; "
            "pass replacement=True"
        )
    weights = np.ascontiguousarray(probs).reshape(-1, categories)
    if not np.all((weights >= 0) & (weights < np.inf)):
        raise Error("multinomial: expected finite weights >= 0")
    if not np.all(weights.sum(1) > 0):
        raise Error("multinomial: expected a positive sum of weights in every row")
    generator = generator or default_generator
    rows = len(weights)
    if replacement and num_samples > 1:
        out, room = np.empty((rows, num_samples), np.int64), np.empty(categories, T)
        generator.run(
            random.multinomial(T=T), out.reshape(-1), weights.reshape(-1), room, categories, num_samples, end=rows
        )
    else:  # the largest of weight / exponential: a race in which each category's rate is its weight
        times = np.empty(weights.size, T)
        fill_exponential(times, 1.0, generator)
        transposed = probs.ndim == 2 and 0 < probs.strides[0] < probs.strides[1]
        times = times.reshape(weights.shape[::-1]).T if transposed else times.reshape(weights.shape)  # as they lie there
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = weights / times
        if num_samples == 1:
            out = scores.argmax(1)[:, None]
        else:
            out = np.argsort(-scores, axis=1, kind="stable")[:, :num_samples]
    return np.ascontiguousarray(out).reshape(*probs.shape[:-1], num_samples)
