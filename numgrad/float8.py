"""The 8-bit floating-point formats: their numbers, as NumPy reads and writes them. Nothing is computed in them."""

import numpy as np


class Format:
    """Bits of the fraction, the exponent's bias, and what is beyond the finite numbers: "inf", "nan" or the largest one.

    ``fnuz`` formats have neither infinities nor a negative zero, whose code is NaN. ``np`` is the NumPy dtype of their
    storage, of a scalar type of its own.
    """

    def __init__(self, name: str, fraction: int, bias: int, beyond: str):
        self.name, self.fraction, self.bias, self.fnuz = name, fraction, bias, name.endswith("fnuz")
        self.scalar = type(name, (np.void,), {})
        self.np = np.dtype((self.scalar, [(name, np.uint8)]))
        self.nan = 0x80 if self.fnuz else 0x7F
        # The code of what is too large, and the float32 from which on it is: numbers below may round to it themselves.
        self.beyond = {"inf": 0x7C, "nan": self.nan, "largest": 0x7E}[beyond]
        self.top = np.float32(2.0 ** (8 if fraction == 3 else 16)) if beyond != "largest" else np.float32(464)
        self.numbers = self._numbers()

    def _numbers(self) -> np.ndarray:
        """The float32 of each of the 256 codes."""
        codes = np.arange(256)
        exponent, rest = (codes & 0x7F) >> self.fraction, codes & ((1 << self.fraction) - 1)
        normal = np.ldexp(1 + rest / (1 << self.fraction), exponent - self.bias)
        found = np.where(exponent == 0, np.ldexp(1.0 * rest, 1 - self.bias - self.fraction), normal)
        if self.beyond == 0x7C:
            found = np.where(exponent == 31, np.where(rest == 0, np.inf, np.nan), found)
        found = np.where(codes & 0x80, -found, found)
        found[[self.nan] if self.fnuz else [self.nan, self.nan | 0x80]] = np.nan
        return found.astype(np.float32)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The storage of numbers, rounded to nearest, ties to even."""
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.int64)
        sign, magnitude = bits >> 24 & 0x80, bits & 0x7FFFFFFF
        size = magnitude.astype(np.uint32).view(np.float32)
        step = np.float32(2.0 ** (24 - self.bias - self.fraction))  # its last place is the smallest number
        with np.errstate(invalid="ignore", over="ignore"):
            small = (size + step).view(np.uint32).astype(np.int64) - int(step.view(np.uint32))
        drop = 23 - self.fraction
        large = (magnitude + (self.bias - 127 << 23) + (1 << drop - 1) - 1 + (magnitude >> drop & 1)) >> drop
        found = np.where(magnitude < 128 - self.bias << 23, small, large)
        found = np.where(size >= self.top, self.beyond, found)
        found = np.where(np.isnan(size), self.nan, found)
        if self.fnuz:
            sign = np.where((found == 0) | (found == self.nan), 0, sign)
        return (found | sign).astype(np.uint8).view(self.np).reshape(np.shape(values))

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """The numbers of a storage, as float32."""
        return self.numbers[np.ascontiguousarray(stored).view(np.uint8)].reshape(np.shape(stored))


FORMATS = {
    format.name: format
    for format in (
        Format("float8_e4m3fn", 3, 7, "largest"), Format("float8_e5m2", 2, 15, "inf"), Format("float8_e4m3fnuz", 3, 8, "nan"),
        Format("float8_e5m2fnuz", 2, 16, "nan"),
    )
}  # fmt: skip
