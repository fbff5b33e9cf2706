"""Several transforms side by side, along a dimension."""

import numgrad as ng

from .. import constraints
from ..utils import sum_rightmost
from .base import Transform


class _Joined(Transform):
    """One transform for each piece along ``dim``."""

    def __init__(self, tseq, dim, cache_size):
        super().__init__(cache_size)
        for transform in tseq:
            if not isinstance(transform, Transform):
                raise TypeError(f"{type(self).__name__}: expected a sequence of transforms, got {transform!r} in it")
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.dim = dim

    @property
    def bijective(self):
        return all(t.bijective for t in self.transforms)

    def _pieces(self, value) -> list:
        raise NotImplementedError(f"{type(self).__name__} does not define _pieces")

    def _join(self, pieces, dim):
        raise NotImplementedError(f"{type(self).__name__} does not define _join")

    def _check(self, value, length):
        if not -value.dim() <= self.dim < value.dim() or value.size(self.dim) != length:
            raise ValueError(
                f"{type(self).__name__}: expected {length} along dimension {self.dim}, got shape {tuple(value.shape)}"
            )

    def _call(self, x):
        return self._join([t(piece) for t, piece in zip(self.transforms, self._pieces(x))], self.dim)

    def _inverse(self, y):
        return self._join([t.inv(piece) for t, piece in zip(self.transforms, self._pieces(y))], self.dim)


class CatTransform(_Joined):
    """Transforms of pieces of ``lengths`` along ``dim`` (1 each by default), as `cat` joins them."""

    def __init__(self, tseq, dim=0, lengths=None, cache_size=0):
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ValueError(f"CatTransform: got {len(self.lengths)} lengths for {len(self.transforms)} transforms")

    def _arguments(self):
        return self.transforms, self.dim, self.lengths

    @property
    def event_dim(self):
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self):
        """The size along ``dim``."""
        return sum(self.lengths)

    @constraints.dependent_property
    def domain(self):
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self):
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def _pieces(self, value):
        self._check(value, self.length)
        return list(value.split(self.lengths, self.dim))

    def _join(self, pieces, dim):
        return ng.cat(pieces, dim)

    def log_abs_det_jacobian(self, x, y):
        found = [
            sum_rightmost(t.log_abs_det_jacobian(a, b), self.event_dim - t.event_dim)
            for t, a, b in zip(self.transforms, self._pieces(x), self._pieces(y))
        ]
        dim = (self.dim - x.dim() if self.dim >= 0 else self.dim) + self.event_dim
        if dim < 0:
            return ng.cat(found, dim)
        total = found[0]
        for term in found[1:]:
            total = total + term
        return total


class StackTransform(_Joined):
    """One transform for each place along ``dim``, as `stack` joins them."""

    def __init__(self, tseq, dim=0, cache_size=0):
        super().__init__(tseq, dim, cache_size)

    def _arguments(self):
        return self.transforms, self.dim

    @constraints.dependent_property
    def domain(self):
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self):
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    def _pieces(self, value):
        self._check(value, len(self.transforms))
        return list(value.unbind(self.dim))

    def _join(self, pieces, dim):
        return ng.stack(pieces, dim)

    def log_abs_det_jacobian(self, x, y):
        found = [t.log_abs_det_jacobian(a, b) for t, a, b in zip(self.transforms, self._pieces(x), self._pieces(y))]
        return ng.stack(found, self.dim)
