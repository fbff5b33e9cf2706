"""Regions of values: what a distribution's arguments must lie in, and where it has its support.

A constraint's ``check(value)`` gives a bool tensor of the value's batch shape: its last ``event_dim`` dimensions are
judged together.
"""

import numgrad as ng


class Constraint:
    """A region; ``is_discrete``: of isolated points, ``event_dim``: how many dimensions make one value."""

    is_discrete = False
    event_dim = 0

    def check(self, value):
        """A bool tensor: where ``value`` satisfies the constraint."""
        raise TypeError(f"{type(self).__name__}.check: this constraint is given by another one and checks nothing itself")

    def __repr__(self):
        return type(self).__name__.lstrip("_").lower().replace("stacked", "stack") + "()"


class _Named(Constraint):
    """A constraint without parameters, known by its public name."""

    def __init__(self, name, check, *, event_dim=0, is_discrete=False):
        self.name, self._check = name, check
        self.event_dim, self.is_discrete = event_dim, is_discrete

    def check(self, value):
        return self._check(value)

    def __repr__(self):
        return f"{self.name}()"


class _Dependent(Constraint):
    """A support that depends on the distribution's own arguments."""

    def __init__(self, *, is_discrete=None, event_dim=None):
        self._is_discrete, self._event_dim = is_discrete, event_dim  # None: only an instance knows

    def __call__(self, *, is_discrete=None, event_dim=None):
        return _Dependent(
            is_discrete=self._is_discrete if is_discrete is None else is_discrete,
            event_dim=self._event_dim if event_dim is None else event_dim,
        )

    @property
    def is_discrete(self):  # type: ignore[override]
        return self._static("is_discrete", self._is_discrete)

    @property
    def event_dim(self):  # type: ignore[override]
        return self._static("event_dim", self._event_dim)

    def _static(self, name, value):
        if value is None:
            raise NotImplementedError(f".{name} cannot be determined statically; ask the support of a distribution")
        return value

    def check(self, value):
        raise ValueError("Cannot determine validity of dependent constraint")


def is_dependent(constraint) -> bool:
    """Whether the constraint is known only once a distribution has its arguments."""
    return isinstance(constraint, _Dependent)


class dependent_property(property, _Dependent):
    """A property whose value, on an instance, is a constraint; on the class it is a dependent constraint itself."""

    def __init__(self, fn=None, *, is_discrete=None, event_dim=None):
        property.__init__(self, fn)
        _Dependent.__init__(self, is_discrete=is_discrete, event_dim=event_dim)

    def __call__(self, fn):  # type: ignore[override]
        return dependent_property(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)


class _Interval(Constraint):
    """Values between bounds; a bound may be None, and is excluded where it is listed in ``without``."""

    def __init__(self, lower_bound=None, upper_bound=None, without=(), is_discrete=False):
        self.lower_bound, self.upper_bound, self._without = lower_bound, upper_bound, without
        self.is_discrete = is_discrete

    def check(self, value):
        good = None
        if self.lower_bound is not None:
            good = self.lower_bound < value if "lower" in self._without else self.lower_bound <= value
        if self.upper_bound is not None:
            below = value < self.upper_bound if "upper" in self._without else value <= self.upper_bound
            good = below if good is None else good & below
        return good & (value % 1 == 0) if self.is_discrete else good

    def __repr__(self):
        bounds = [f"{k}={v}" for k, v in (("lower_bound", self.lower_bound), ("upper_bound", self.upper_bound))
                  if v is not None]  # fmt: skip
        return f"{self._title}({', '.join(bounds)})"

    _title = "Interval"


class interval(_Interval):
    """[lower_bound, upper_bound]."""

    _title = "Interval"

    def __init__(self, lower_bound, upper_bound):
        super().__init__(lower_bound, upper_bound)


class half_open_interval(_Interval):
    """[lower_bound, upper_bound)."""

    _title = "HalfOpenInterval"

    def __init__(self, lower_bound, upper_bound):
        super().__init__(lower_bound, upper_bound, ("upper",))


class greater_than(_Interval):
    """(lower_bound, inf]."""

    _title = "GreaterThan"

    def __init__(self, lower_bound):
        super().__init__(lower_bound, None, ("lower",))


class greater_than_eq(_Interval):
    """[lower_bound, inf]."""

    _title = "GreaterThanEq"

    def __init__(self, lower_bound):
        super().__init__(lower_bound)


class less_than(_Interval):
    """[-inf, upper_bound)."""

    _title = "LessThan"

    def __init__(self, upper_bound):
        super().__init__(None, upper_bound, ("upper",))


class integer_interval(_Interval):
    """The integers from lower_bound to upper_bound, both included."""

    _title = "IntegerInterval"

    def __init__(self, lower_bound, upper_bound):
        super().__init__(lower_bound, upper_bound, is_discrete=True)


class _IntegersFrom(_Interval):
    _title = "IntegerGreaterThan"

    def __init__(self, lower_bound):
        super().__init__(lower_bound, is_discrete=True)


class independent(Constraint):
    """``base_constraint`` with ``reinterpreted_batch_ndims`` more dimensions that make one value."""

    def __init__(self, base_constraint, reinterpreted_batch_ndims):
        self.base_constraint, self.reinterpreted_batch_ndims = base_constraint, reinterpreted_batch_ndims

    @property
    def is_discrete(self):  # type: ignore[override]
        return self.base_constraint.is_discrete

    @property
    def event_dim(self):  # type: ignore[override]
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    def check(self, value):
        good = self.base_constraint.check(value)
        if good.dim() < self.reinterpreted_batch_ndims:
            raise ValueError(
                f"Expected value.dim() >= {self.event_dim} but got {value.dim()}; give a value with the event's dimensions"
            )
        kept = good.dim() - self.reinterpreted_batch_ndims
        return good.reshape(*good.shape[:kept], -1).all(-1)

    def __repr__(self):
        return f"Independent({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class MixtureSameFamilyConstraint(Constraint):
    """What a mixture's values satisfy: ``base_constraint``, that of the components, with their dimension put back."""

    def __init__(self, base_constraint):
        self.base_constraint = base_constraint

    @property
    def is_discrete(self):  # type: ignore[override]
        return self.base_constraint.is_discrete

    @property
    def event_dim(self):  # type: ignore[override]
        return self.base_constraint.event_dim

    def check(self, value):
        good = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        return good.reshape(*good.shape[: value.dim() - self.event_dim], -1).all(-1)

    def __repr__(self):
        return f"MixtureSameFamilyConstraint({self.base_constraint!r})"


class multinomial(Constraint):
    """Vectors of counts that sum to at most ``upper_bound``."""

    is_discrete, event_dim = True, 1

    def __init__(self, upper_bound):
        self.upper_bound = upper_bound

    def check(self, x):
        return (x >= 0).all(dim=-1) & (x.sum(dim=-1) <= self.upper_bound)

    def __repr__(self):
        return f"Multinomial(upper_bound={self.upper_bound})"


class cat(Constraint):
    """Constraints of pieces of ``lengths`` along ``dim``, side by side."""

    def __init__(self, cseq, dim=0, lengths=None):
        self.cseq, self.dim = list(cseq), dim
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)

    @property
    def is_discrete(self):  # type: ignore[override]
        return any(c.is_discrete for c in self.cseq)

    @property
    def event_dim(self):  # type: ignore[override]
        return max(c.event_dim for c in self.cseq)

    def check(self, value):
        pieces = value.split(self.lengths, self.dim)
        return ng.cat([c.check(piece) for c, piece in zip(self.cseq, pieces)], self.dim)


class stack(Constraint):
    """One constraint for each place along ``dim``."""

    def __init__(self, cseq, dim=0):
        self.cseq, self.dim = list(cseq), dim

    @property
    def is_discrete(self):  # type: ignore[override]
        return any(c.is_discrete for c in self.cseq)

    @property
    def event_dim(self):  # type: ignore[override]
        return max(c.event_dim for c in self.cseq) + (1 if self.dim < 0 else 0)

    def check(self, value):
        return ng.stack([c.check(value.select(self.dim, k)) for k, c in enumerate(self.cseq)], self.dim)


def _symmetric(value):
    return ng.isclose(value, value.mT, atol=1e-6).all(-2).all(-1)


def _lower(value):
    return (value.tril() == value).reshape(*value.shape[:-2], -1).all(-1)


def _definite(value):
    return _symmetric(value) & (ng.linalg.cholesky_ex(value).info == 0)


def _semidefinite(value):
    return _symmetric(value) & (ng.linalg.eigvalsh(value) >= 0).all(-1)


def _correlations(value):
    tolerance = ng.finfo(value.dtype).eps * value.size(-1) * 10
    return _lower_positive(value) & ((value.square().sum(-1) - 1).abs() < tolerance).all(-1)


def _lower_positive(value):
    return _lower(value) & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


dependent = _Dependent()
boolean = _Named("Boolean", lambda v: (v == 0) | (v == 1), is_discrete=True)
one_hot = _Named(
    "OneHot", lambda v: ((v == 0) | (v == 1)).all(-1) & (v.sum(-1) == 1), event_dim=1, is_discrete=True
)
nonnegative_integer = _IntegersFrom(0)
positive_integer = _IntegersFrom(1)
real = _Named("Real", lambda v: v == v)
real_vector = independent(real, 1)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
simplex = _Named("Simplex", lambda v: (v >= 0).all(-1) & ((v.sum(-1) - 1).abs() < 1e-6), event_dim=1)
lower_triangular = _Named("LowerTriangular", _lower, event_dim=2)
lower_cholesky = _Named("LowerCholesky", _lower_positive, event_dim=2)
corr_cholesky = _Named("CorrCholesky", _correlations, event_dim=2)
square = _Named("Square", lambda v: ng.full(v.shape[:-2], v.shape[-2] == v.shape[-1]), event_dim=2)
symmetric = _Named("Symmetric", _symmetric, event_dim=2)
positive_semidefinite = _Named("PositiveSemidefinite", _semidefinite, event_dim=2)
positive_definite = _Named("PositiveDefinite", _definite, event_dim=2)
