"""What all transforms share: the call and its cache, the inverse, and transforms made of transforms."""

import weakref
from typing import Any

import numgrad as ng

from .. import constraints
from ..utils import lazy_property, sum_rightmost


class Transform:
    """A map from ``domain`` to ``codomain``; ``bijective``: one to one, ``sign``: of its Jacobian's determinant.

    Subclasses define ``_call``, ``_inverse`` and ``log_abs_det_jacobian``. With ``cache_size=1`` the last pair of input
    and output is kept, so that the inverse of an output is the input itself.
    """

    bijective: Any = False
    domain: Any = constraints.real
    codomain: Any = constraints.real

    def __init__(self, cache_size=0):
        if cache_size not in (0, 1):
            raise ValueError("cache_size must be 0 or 1")
        self._cache_size = cache_size
        self._last = None, None
        self._inverted: Any = None  # a weak reference: the inverse holds the transform

    def __getstate__(self):
        return self.__dict__ | {"_inverted": None, "_last": (None, None)}

    @property
    def event_dim(self):
        """How many dimensions make one value, where domain and codomain agree."""
        if self.domain.event_dim == self.codomain.event_dim:
            return self.domain.event_dim
        raise ValueError("Please use either .domain.event_dim or .codomain.event_dim")

    @property
    def inv(self):
        """The inverse transform; ``t.inv.inv is t``."""
        inverse = None if self._inverted is None else self._inverted()
        if inverse is None:
            inverse = self._make_inverse()
            self._inverted = weakref.ref(inverse)
        return inverse

    def _make_inverse(self):
        return _Inverse(self)

    @property
    def sign(self) -> Any:
        """The sign of the Jacobian's determinant."""
        raise NotImplementedError(f"{type(self).__name__} has no sign: it does not always rise, or always fall")

    def with_cache(self, cache_size=1):
        """The transform with that size of cache."""
        return self if self._cache_size == cache_size else type(self)(*self._arguments(), cache_size=cache_size)

    def _arguments(self) -> tuple:
        """What the class is made with, but for the size of the cache."""
        return ()

    def __eq__(self, other):
        """Whether the two are of one class and made with equal arguments."""
        if self is other or type(self) is not type(other):
            return self is other
        mine, theirs = self._arguments(), other._arguments()
        return all(bool((a == b).all()) if isinstance(a == b, ng.Tensor) else a == b for a, b in zip(mine, theirs))

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x):
        """``y`` for ``x``."""
        if self._cache_size and x is self._last[0]:
            return self._last[1]
        y = self._call(x)
        if self._cache_size:
            self._last = x, y
        return y

    def _inv_call(self, y):
        if self._cache_size and y is self._last[1]:
            return self._last[0]
        x = self._inverse(y)
        if self._cache_size:
            self._last = x, y
        return x

    def _call(self, x):
        raise NotImplementedError(f"{type(self).__name__} does not define _call")

    def _inverse(self, y):
        raise NotImplementedError(f"{type(self).__name__} has no inverse: define _inverse")

    def log_abs_det_jacobian(self, x, y):
        """``log |det dy/dx|`` for an input and its output, of their batch shape."""
        raise NotImplementedError(f"{type(self).__name__} does not define log_abs_det_jacobian")

    def forward_shape(self, shape):
        """The shape of the output for that of an input."""
        return shape

    def inverse_shape(self, shape):
        """The shape of the input for that of an output."""
        return shape

    def __repr__(self):
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    """The inverse of a transform, which it holds."""

    def __init__(self, transform):
        super().__init__(transform._cache_size)
        self._transform = transform

    @constraints.dependent_property
    def domain(self):
        return self._transform.codomain

    @constraints.dependent_property
    def codomain(self):
        return self._transform.domain

    @property
    def bijective(self):
        return self._transform.bijective

    @property
    def sign(self):
        return self._transform.sign

    @property
    def inv(self):
        return self._transform

    def with_cache(self, cache_size=1):
        return self._transform.with_cache(cache_size).inv

    def _arguments(self):
        return (self._transform,)

    def __call__(self, x):
        return self._transform._inv_call(x)

    def _inv_call(self, y):
        return self._transform(y)

    def log_abs_det_jacobian(self, x, y):
        return -self._transform.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape):
        return self._transform.inverse_shape(shape)

    def inverse_shape(self, shape):
        return self._transform.forward_shape(shape)

    def __repr__(self):
        return f"_InverseTransform({self._transform!r})"


class ComposeTransform(Transform):
    """The transforms ``parts`` one after the other."""

    def __init__(self, parts, cache_size=0):
        super().__init__(cache_size)
        self.parts = [part.with_cache(cache_size) for part in parts] if cache_size else list(parts)
        self._whole: Any = None  # of which this is the inverse

    def _arguments(self):
        return (self.parts,)

    def __eq__(self, other):
        return isinstance(other, ComposeTransform) and self.parts == other.parts

    @constraints.dependent_property
    def domain(self):
        return self._end([(p.domain, p.codomain) for p in self.parts])

    @constraints.dependent_property
    def codomain(self):
        return self._end([(p.codomain, p.domain) for p in reversed(self.parts)])

    def _end(self, pairs):
        """The region at this end, with as many event dimensions as any part needs, seen from the other end."""
        if not pairs:
            return constraints.real
        event_dim = pairs[-1][1].event_dim
        for near, far in reversed(pairs):
            event_dim = max(event_dim + near.event_dim - far.event_dim, near.event_dim)
        region = pairs[0][0]
        return constraints.independent(region, event_dim - region.event_dim) if event_dim > region.event_dim else region

    @property
    def bijective(self):
        return all(part.bijective for part in self.parts)

    @property
    def sign(self):
        found = 1
        for part in self.parts:
            found = found * part.sign
        return found

    @property
    def inv(self):
        return super().inv if self._whole is None else self._whole

    def _make_inverse(self):
        inverse = ComposeTransform([part.inv for part in reversed(self.parts)])
        inverse._whole = self
        return inverse

    def __call__(self, x):
        for part in self.parts:
            x = part(x)
        return x

    def _inv_call(self, y):
        for part in reversed(self.parts):
            y = part.inv(y)
        return y

    def log_abs_det_jacobian(self, x, y):
        if not self.parts:
            return ng.zeros_like(x)
        values = [x]
        for part in self.parts[:-1]:
            values.append(part(values[-1]))
        values.append(y)
        event_dim, total = self.domain.event_dim, None
        for part, before, after in zip(self.parts, values, values[1:]):
            term = sum_rightmost(part.log_abs_det_jacobian(before, after), event_dim - part.domain.event_dim)
            total = term if total is None else total + term
            event_dim += part.codomain.event_dim - part.domain.event_dim
        return total

    def forward_shape(self, shape):
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape):
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape

    def __repr__(self):
        return "ComposeTransform(\n    " + ",\n    ".join(map(repr, self.parts)) + "\n)"


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """``base_transform`` with ``reinterpreted_batch_ndims`` more dimensions that make one value."""

    def __init__(self, base_transform, reinterpreted_batch_ndims, cache_size=0):
        super().__init__(cache_size)
        self.base_transform = base_transform.with_cache(cache_size)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    def _arguments(self):
        return self.base_transform, self.reinterpreted_batch_ndims

    @constraints.dependent_property
    def domain(self):
        return constraints.independent(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @constraints.dependent_property
    def codomain(self):
        return constraints.independent(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def bijective(self):
        return self.base_transform.bijective

    @property
    def sign(self):
        return self.base_transform.sign

    def _call(self, x):
        _need(x.dim(), self.domain.event_dim)
        return self.base_transform(x)

    def _inverse(self, y):
        _need(y.dim(), self.codomain.event_dim)
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x, y):
        return sum_rightmost(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def forward_shape(self, shape):
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape):
        return self.base_transform.inverse_shape(shape)

    def __repr__(self):
        return f"IndependentTransform({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class ReshapeTransform(Transform):
    """The last dimensions, ``in_shape``, as ``out_shape``."""

    bijective = True

    def __init__(self, in_shape, out_shape, cache_size=0):
        super().__init__(cache_size)
        self.in_shape, self.out_shape = ng.Size(in_shape), ng.Size(out_shape)
        if self.in_shape.numel() != self.out_shape.numel():
            raise ValueError(
                f"in_shape, out_shape have different numbers of elements: {tuple(in_shape)} and {tuple(out_shape)}"
            )

    def _arguments(self):
        return self.in_shape, self.out_shape

    @lazy_property
    def domain(self):
        return constraints.independent(constraints.real, len(self.in_shape))

    @lazy_property
    def codomain(self):
        return constraints.independent(constraints.real, len(self.out_shape))

    def _call(self, x):
        return x.reshape(self.forward_shape(tuple(x.shape)))

    def _inverse(self, y):
        return y.reshape(self.inverse_shape(tuple(y.shape)))

    def log_abs_det_jacobian(self, x, y):
        return x.new_zeros(x.shape[: x.dim() - len(self.in_shape)])

    def forward_shape(self, shape):
        return _exchanged(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape):
        return _exchanged(shape, self.out_shape, self.in_shape)


def _exchanged(shape, old, new):
    _need(len(shape), len(old))
    cut = len(shape) - len(old)
    if tuple(shape[cut:]) != tuple(old):
        raise ValueError(f"Shape mismatch: expected {tuple(old)} but got {tuple(shape[cut:])}")
    return ng.Size(tuple(shape[:cut]) + tuple(new))


def _need(dims, least):
    if dims < least:
        raise ValueError(f"Too few dimensions on input: expected at least {least}, got {dims}")
