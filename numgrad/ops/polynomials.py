"""Orthogonal polynomials by their recurrences, in float64; the degree is a tensor or a number, cut to a whole one."""

import math

import numpy as np

from ..kernels.vocab import fabs
from ..pointwise import pointwise


def _degree(n):
    """The degree; -1 for what is none."""
    return int(n) if n > -1.0 and n < 9e15 else -1


def _chebyshev(x, n, second):
    """T(x), or with ``second`` the one of that family whose member of degree 1 is ``second``: U 2x, V 2x - 1, W 2x + 1."""
    before, value = 1.0, second
    for _ in range(1, n):
        before, value = value, 2.0 * x * value - before
        if value - value != 0.0:
            break
    return value if n > 0 else 1.0


def _first(x, n):
    if n < 0:
        return 0.0
    if fabs(x) == 1.0:
        return 1.0 if x > 0.0 or n % 2 == 0 else -1.0
    if n >= 6 and fabs(x) < 1.0:
        return math.cos(n * math.acos(x))
    return _chebyshev(x, n, x)


def _second(x, n):
    if n < 0:
        return 0.0
    if fabs(x) == 1.0:
        return n + 1.0 if x > 0.0 or n % 2 == 0 else -(n + 1.0)
    if n > 8 and fabs(x) < 1.0:
        angle = math.acos(x)
        if math.sin(angle) != 0.0:
            return math.sin((n + 1.0) * angle) / math.sin(angle)
    return _chebyshev(x, n, 2.0 * x)


def _third(x, n):
    if n < 0:
        return 0.0
    if fabs(x) == 1.0:
        return 1.0 if x > 0.0 else (2.0 * n + 1.0 if n % 2 == 0 else -(2.0 * n + 1.0))
    if n > 8 and fabs(x) < 1.0:
        angle = math.acos(x)
        if math.sin(0.5 * angle) != 1.0:
            return math.cos((n + 0.5) * angle) / math.cos(0.5 * angle)
    return _chebyshev(x, n, 2.0 * x - 1.0)


def _fourth(x, n):
    if n < 0:
        return 0.0
    if fabs(x) == 1.0:
        return 2.0 * n + 1.0 if x > 0.0 else (1.0 if n % 2 == 0 else -1.0)
    if n > 8 and fabs(x) < 1.0:
        angle = math.acos(x)
        if math.cos(0.5 * angle) != 1.0:
            return math.sin((n + 0.5) * angle) / math.sin(0.5 * angle)
    return _chebyshev(x, n, 2.0 * x + 1.0)


def _recurrence(x, n, kind):
    """Hermite's (0: of the weight exp(-x**2), 1: of exp(-x**2 / 2)), Laguerre's (2) and Legendre's (3)."""
    if n < 0:
        return 0.0
    if n == 0:
        return 1.0
    before = 1.0
    value = 2.0 * x if kind == 0 else 1.0 - x if kind == 2 else x
    for k in range(1, n):
        if kind == 0:
            above = 2.0 * (x * value - k * before)
        elif kind == 1:
            above = x * value - k * before
        elif kind == 2:
            above = ((2.0 * k + 1.0 - x) * value - k * before) / (k + 1.0)
        else:
            above = ((2.0 * k + 1.0) * x * value - k * before) / (k + 1.0)
        before, value = value, above
        if value - value != 0.0:
            break
    return value


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def chebyshev_polynomial_t(input, n):
    """The Chebyshev polynomial of the first kind and degree ``n``."""
    return _first(np.float64(input), _degree(n))


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def shifted_chebyshev_polynomial_t(input, n):
    """The shifted Chebyshev polynomial of the first kind and degree ``n``, of ``2 * input - 1``."""
    return _first(2.0 * np.float64(input) - 1.0, _degree(n))


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def chebyshev_polynomial_u(input, n):
    """The Chebyshev polynomial of the second kind and degree ``n``."""
    return _second(np.float64(input), _degree(n))


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def shifted_chebyshev_polynomial_u(input, n):
    """The shifted Chebyshev polynomial of the second kind and degree ``n``, of ``2 * input - 1``."""
    return _second(2.0 * np.float64(input) - 1.0, _degree(n))


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def chebyshev_polynomial_v(input, n):
    """The Chebyshev polynomial of the third kind and degree ``n``."""
    return _third(np.float64(input), _degree(n))


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def shifted_chebyshev_polynomial_v(input, n):
    """The shifted Chebyshev polynomial of the third kind and degree ``n``, of ``2 * input - 1``."""
    return _third(2.0 * np.float64(input) - 1.0, _degree(n))


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def chebyshev_polynomial_w(input, n):
    """The Chebyshev polynomial of the fourth kind and degree ``n``."""
    return _fourth(np.float64(input), _degree(n))


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def shifted_chebyshev_polynomial_w(input, n):
    """The shifted Chebyshev polynomial of the fourth kind and degree ``n``, of ``2 * input - 1``."""
    return _fourth(2.0 * np.float64(input) - 1.0, _degree(n))


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def hermite_polynomial_h(input, n):
    """The physicist's Hermite polynomial of degree ``n``."""
    return _recurrence(np.float64(input), _degree(n), 0)


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def hermite_polynomial_he(input, n):
    """The probabilist's Hermite polynomial of degree ``n``."""
    return _recurrence(np.float64(input), _degree(n), 1)


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def laguerre_polynomial_l(input, n):
    """The Laguerre polynomial of degree ``n``."""
    return _recurrence(np.float64(input), _degree(n), 2)


@pointwise(result="float", install=("special",), inplace=False, no_gradient=("input", "n"))
def legendre_polynomial_p(input, n):
    """The Legendre polynomial of degree ``n``."""
    return _recurrence(np.float64(input), _degree(n), 3)
