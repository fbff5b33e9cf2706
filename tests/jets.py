"""Numbers of mpmath that carry their first and second derivatives: references for values and gradients at once.

A `Jet` is a value with its derivatives by n variables. What is computed from jets by the functions here has the exact
derivatives, to the working precision of mpmath. Functions whose formulas cancel far from 0 (the logistic function, the
normal distribution) come with their derivatives written out.
"""

import functools

import mpmath
from mpmath import mpf

mpmath.mp.dps = 50


class Jet:
    """``value``, ``first[i]`` and ``second[i][j]``."""

    __slots__ = "value", "first", "second"

    def __init__(self, value, first, second):
        self.value, self.first, self.second = value, first, second

    def through(self, f, slope, curve):
        """The jet of a function of this one, from its value and derivatives there."""
        n = range(len(self.first))
        first = [slope * d for d in self.first]
        second = [[slope * self.second[i][j] + curve * self.first[i] * self.first[j] for j in n] for i in n]
        return Jet(f, first, second)

    def __add__(self, other):
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.first, self.second)
        n = range(len(self.first))
        return Jet(
            self.value + other.value, [a + b for a, b in zip(self.first, other.first)],
            [[self.second[i][j] + other.second[i][j] for j in n] for i in n],
        )  # fmt: skip

    def __mul__(self, other):
        if not isinstance(other, Jet):
            return self.through(self.value * other, other, 0)
        a, b, n = self, other, range(len(self.first))
        return Jet(
            a.value * b.value, [a.first[i] * b.value + a.value * b.first[i] for i in n],
            [[a.second[i][j] * b.value + a.first[i] * b.first[j] + a.first[j] * b.first[i] + a.value * b.second[i][j]
              for j in n] for i in n],
        )  # fmt: skip

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __pow__(self, n):
        if isinstance(n, Jet):
            return exp(log(self) * n)
        x = self.value
        return self.through(x**n, n * x ** (n - 1) if n else mpf(0), n * (n - 1) * x ** (n - 2) if n * (n - 1) else mpf(0))

    def __truediv__(self, other):
        return self * other**-1 if isinstance(other, Jet) else self * (1 / mpf(other))

    def __rtruediv__(self, other):
        return self**-1 * other

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self):
        return self * mpmath.sign(self.value)

    def __lt__(self, other):
        return self.value < getattr(other, "value", other)

    def __le__(self, other):
        return self.value <= getattr(other, "value", other)

    def __gt__(self, other):
        return self.value > getattr(other, "value", other)

    def __ge__(self, other):
        return self.value >= getattr(other, "value", other)


def variables(values):
    """Jets of the independent variables, one for each number."""
    n = len(values)
    zeros = [[mpf(0)] * n for _ in range(n)]
    return [Jet(mpf(float(x)), [mpf(i == k) for i in range(n)], zeros) for k, x in enumerate(values)]


def constant(value, like):
    return like * 0 + value


def function(value, slope, curve):
    """A function of jets from one of numbers and its two derivatives."""

    def apply(x):
        v = x.value
        return x.through(value(v), slope(v), curve(v))

    return apply


def of_value(value, slope, curve):
    """The same, where the derivatives are functions of the argument and of the value."""

    def apply(x):
        v = x.value
        y = value(v)
        return x.through(y, slope(v, y), curve(v, y))

    return apply


m = mpmath
exp = of_value(m.exp, lambda x, y: y, lambda x, y: y)
expm1 = function(m.expm1, m.exp, m.exp)
log = function(lambda x: m.log(x) if x > 0 else m.ninf if x == 0 else m.nan, lambda x: 1 / x if x else m.inf, lambda x: -1 / x**2 if x else m.ninf)
log1p = function(lambda x: m.log(1 + x), lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2)
sqrt = of_value(m.sqrt, lambda x, y: 1 / (2 * y), lambda x, y: -1 / (4 * y * x))
sin = function(m.sin, m.cos, lambda x: -m.sin(x))
cos = function(m.cos, lambda x: -m.sin(x), lambda x: -m.cos(x))
tan = of_value(m.tan, lambda x, y: 1 + y * y, lambda x, y: 2 * y * (1 + y * y))
asin = function(m.asin, lambda x: 1 / m.sqrt(1 - x * x), lambda x: x / m.sqrt(1 - x * x) ** 3)
acos = function(m.acos, lambda x: -1 / m.sqrt(1 - x * x), lambda x: -x / m.sqrt(1 - x * x) ** 3)
atan = function(m.atan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2)
sinh = function(m.sinh, m.cosh, m.sinh)
cosh = function(m.cosh, m.sinh, m.cosh)
tanh = function(m.tanh, lambda x: m.sech(x) ** 2, lambda x: -2 * m.tanh(x) * m.sech(x) ** 2)
asinh = function(m.asinh, lambda x: 1 / m.sqrt(1 + x * x), lambda x: -x / m.sqrt(1 + x * x) ** 3)
acosh = function(m.acosh, lambda x: 1 / m.sqrt(x * x - 1), lambda x: -x / m.sqrt(x * x - 1) ** 3)
atanh = function(m.atanh, lambda x: 1 / (1 - x * x), lambda x: 2 * x / (1 - x * x) ** 2)


def _s(x):
    return 1 / (1 + m.exp(-x))


def _density(x):
    return m.exp(-x * x / 2) / m.sqrt(2 * m.pi)


def _cdf(x):
    return m.erfc(-x / m.sqrt(2)) / 2


sigmoid = function(_s, lambda x: _s(x) * _s(-x), lambda x: _s(x) * _s(-x) * (_s(-x) - _s(x)))
softplus = function(lambda x: m.log1p(m.exp(x)) if x < 0 else x + m.log1p(m.exp(-x)), _s, lambda x: _s(x) * _s(-x))
normal_cdf = function(_cdf, _density, lambda x: -x * _density(x))
log_normal_cdf = function(
    lambda x: m.log(_cdf(x)) if x < 0 else m.log1p(-_cdf(-x)), lambda x: _density(x) / _cdf(x), lambda x: -_density(x) / _cdf(x) * (x + _density(x) / _cdf(x))
)
_TWO = 2 / m.sqrt(m.pi)
erf = function(m.erf, lambda x: _TWO * m.exp(-x * x), lambda x: -2 * x * _TWO * m.exp(-x * x))
erfc = function(m.erfc, lambda x: -_TWO * m.exp(-x * x), lambda x: 2 * x * _TWO * m.exp(-x * x))


def _erfcx(x):
    return m.exp(x * x) * m.erfc(x)


erfcx = of_value(_erfcx, lambda x, y: 2 * x * y - _TWO, lambda x, y: 2 * y + 2 * x * (2 * x * y - _TWO))
erfinv = of_value(m.erfinv, lambda x, y: m.exp(y * y) / _TWO, lambda x, y: 2 * y * (m.exp(y * y) / _TWO) ** 2)


def _ndtri(p):
    """The inverse of the normal distribution function: Newton's method in its logarithm, from the tail's asymptote."""
    if p == 0 or p == 1:
        return m.inf * (1 if p else -1)
    if p > 0.5:
        return -_ndtri(1 - p)
    x = -m.sqrt(-2 * m.log(p)) if p < 0.2 else m.mpf(0)
    for _ in range(60):
        step = (m.log(_cdf(x)) - m.log(p)) * _cdf(x) / _density(x)
        x -= step
        if abs(step) < m.mpf(10) ** -(m.mp.dps - 8):
            break
    return x


ndtri = of_value(_ndtri, lambda x, y: 1 / _density(y), lambda x, y: y / _density(y) ** 2)
_psi = functools.cache(m.psi)
_loggamma = functools.cache(m.loggamma)
lgamma = function(lambda x: m.re(_loggamma(x)), lambda x: _psi(0, x), lambda x: _psi(1, x))
digamma = function(lambda x: _psi(0, x), lambda x: _psi(1, x), lambda x: _psi(2, x))


def polygamma(n):
    return function(lambda x: _psi(n, x), lambda x: _psi(n + 1, x), lambda x: _psi(n + 2, x))


def bessel(kind, order):
    """Of ``kind`` "i", "j", "y" or "k"."""
    values = getattr(m, f"bessel{kind}")

    def derivative(k):
        # By the recurrences of neighbouring orders; those of I and K differ from the others' by signs.
        signs = {"i": (1, 1), "k": (-1, -1)}.get(kind, (1, -1))

        def at(x, n=order, left=k):
            if left == 0:
                return m.re(values(n, x))
            return (signs[0] * at(x, n - 1, left - 1) + signs[1] * at(x, n + 1, left - 1)) / 2

        return at

    return function(derivative(0), derivative(1), derivative(2))


def lower_gamma(a, upper=False):
    """The incomplete gamma functions of order ``a``."""
    sign = -1 if upper else 1

    def density(x):
        return sign * m.exp((a - 1) * m.log(x) - x - m.loggamma(a))

    def value(x):
        return m.gammainc(a, x, m.inf, regularized=True) if upper else m.gammainc(a, 0, x, regularized=True)

    return function(value, density, lambda x: density(x) * ((a - 1) / x - 1))


def where(condition, a, b):
    return a if condition else b


def maximum(a, b):
    return a if a >= b else b


def xlogy(x, y):
    return x * log(y) if getattr(x, "value", x) else constant(0, y)


def logaddexp(a, b):
    return b + softplus(a - b) if a <= b else a + softplus(b - a)
