"""Points that fill the unit cube evenly, as ``torch.quasirandom``."""

from typing import Any

import numpy as np

from . import dtypes
from .errors import DTypeError
from .generator import Generator
from .layout import integer
from .ops.create import zeros
from .ops.random import randint
from .tensor import Tensor, from_array

__all__ = ["SobolEngine"]


class SobolEngine:
    """Sobol' sequences of up to 21201 dimensions: the first ``2 ** m`` points are one in each box of that volume.

    Point ``k`` is the exclusive or of the direction numbers at the bits of the Gray code of ``k``. ``scramble``: Owen's
    scrambling by random lower triangular matrices and a random shift, drawn from a stream of ``seed`` or, without one,
    from the default stream. Direction numbers are those of Joe and Kuo (2008).

    Raises ValueError for other dimensions.
    """

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None):
        dimension = integer("SobolEngine", "dimension", dimension)
        if not 1 <= dimension <= self.MAXDIM:
            raise ValueError(f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}], got {dimension}")
        from scipy.stats import qmc

        self.seed, self.scramble, self.dimension = seed, scramble, dimension
        directions = qmc.Sobol(dimension, scramble=False, bits=self.MAXBIT)._sv  # pyright: ignore[reportAttributeAccessIssue]
        self.sobolstate = from_array(directions.astype(np.int64))  # (dimension, MAXBIT)
        self.shift = self._scrambled() if scramble else zeros(dimension, dtype=dtypes.int64)
        self.reset()

    def _scrambled(self) -> Tensor:
        """Scramble the direction numbers; the shift that belongs to it."""
        generator = None if self.seed is None else Generator().manual_seed(self.seed)
        bits = self.MAXBIT
        shift = randint(2, (self.dimension, bits), generator=generator) @ from_array(2 ** np.arange(bits))
        triangles = np.tril(randint(2, (self.dimension, bits, bits), generator=generator).numpy(), -1) + np.eye(bits, dtype=np.int64)
        places = np.arange(bits - 1, -1, -1)
        columns = self.sobolstate.numpy()[:, :, None] >> places & 1  # the bits of each direction number, highest first
        # (d, number, bit) x (d, row, bit) -> (d, number, row), modulo 2
        self.sobolstate = from_array((columns @ triangles.transpose(0, 2, 1) & 1) @ (1 << places))
        return shift

    def draw(self, n: int = 1, out: Tensor | None = None, dtype: Any = None) -> Tensor:
        """The next ``n`` points: (n, dimension), in the default dtype unless given."""
        n = integer("draw", "n", n)
        d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
        if not d.is_floating_point:
            raise DTypeError(f"SobolEngine.draw: expected a floating-point dtype, got {d!r}")
        points = np.empty((n, self.dimension), np.int64)
        if n:
            points[0] = self.quasi.numpy()
            following = self.num_generated + np.arange(1, n + 1)
            # from one point to the next the Gray code changes in the lowest bit that is set in the next one's number
            lowest = np.log2(following & -following).astype(np.int64)
            points[1:] = self.sobolstate.numpy().T[lowest[:-1]]
            np.bitwise_xor.accumulate(points, 0, out=points)
            self.quasi = from_array(points[-1] ^ self.sobolstate.numpy()[:, lowest[-1]])
            self.num_generated += n
        found = from_array(points / 2.0**self.MAXBIT).to(d)
        return found if out is None else out.resize_as_(found).copy_(found)

    def draw_base2(self, m: int, out: Tensor | None = None, dtype: Any = None) -> Tensor:
        """The next ``2 ** m`` points; ValueError unless their number with those before is a power of 2."""
        n = 2**m
        total = self.num_generated + n
        if total & total - 1:
            raise ValueError(
                f"The balance properties of Sobol' points require n to be a power of 2. {self.num_generated} points have been "
                f"previously generated, then: n={self.num_generated}+2**{m}={total}. If you still want to do this, please use "
                "'SobolEngine.draw()' instead."
            )
        return self.draw(n, out, dtype)

    def reset(self) -> "SobolEngine":
        """Begin again with the first point."""
        self.quasi, self.num_generated = self.shift.clone(), 0  # the next point, as integers of MAXBIT bits
        return self

    def fast_forward(self, n: int) -> "SobolEngine":
        """Leave out ``n`` points."""
        self.num_generated += integer("fast_forward", "n", n)
        gray = self.num_generated ^ self.num_generated >> 1
        taken = [k for k in range(self.MAXBIT) if gray >> k & 1]
        self.quasi = self.shift ^ from_array(np.bitwise_xor.reduce(self.sobolstate.numpy()[:, taken], 1))
        return self

    def __repr__(self) -> str:
        shown = [f"dimension={self.dimension}"]
        if self.scramble:
            shown.append("scramble=True")
        if self.seed is not None:
            shown.append(f"seed={self.seed}")
        return f"{type(self).__name__}({', '.join(shown)})"
