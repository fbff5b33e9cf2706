"""Relatives of the gamma function and Bessel functions: series and continued fractions, one element at a time."""

import math
from math import frexp as split

import numpy as np

from .. import dtypes
from ..inplace import write_out
from ..kernels.vocab import exp2, fabs, lgamma
from ..layout import integer
from ..op import as_tensor_operand, cast, function, method
from ..pointwise import pointwise
from ..storage import meta
from ..tensor import Tensor, empty_tensor
from .math import digamma
from .results import return_type
from .values import from_host

EPSILON = 2.0**-53
# B(2k) / (2k)! with B the Bernoulli numbers: the corrections of the Euler-Maclaurin formula. A tuple keeps float64.
CORRECTIONS = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000, 43867 / 5109094217170944000, -174611 / 802857662698291200000,
)  # fmt: skip


def _scipy(name):
    """A SciPy reference, imported when a test calls it."""

    def reference(*arguments):
        import scipy.special

        return getattr(scipy.special, name)(*arguments)

    return reference


# --- the zeta function and derivatives of digamma --------------------------------------------------------------------


def _zeta(s, q):
    """The sum of ``(q + k)**-s`` over k from 0, for s > 1: ten terms, then the Euler-Maclaurin formula."""
    if s == 1.0:
        return np.inf
    if s < 1.0:
        return np.nan
    if q <= 0.0:
        if q == math.floor(q):
            return np.inf
        if s != math.floor(s):
            return np.nan
    below = 0.0
    if q < -20.0:
        # From both sides of 0: of the terms (q + k)**-s below 0 those from the nearest on, less those before the first.
        fraction = q - math.floor(q)
        below = (_zeta_sum(s, 1.0 - fraction) - _zeta_sum(s, 1.0 - q)) * (1.0 if s % 2.0 == 0.0 else -1.0)
        q = fraction
    return _zeta_sum(s, q) + below


def _zeta_sum(s, q):
    total = 0.0
    count = 0
    while count < 10 or q < 10.0:
        term = q**-s
        total += term
        if fabs(term) < EPSILON * fabs(total):
            return total
        q += 1.0
        count += 1
    term = q**-s
    total += term * q / (s - 1.0) + 0.5 * term
    factor = term * s / q
    for k in range(10):
        change = factor * CORRECTIONS[k]
        total += change
        if fabs(change) < EPSILON * fabs(total):
            break
        factor *= (s + 2 * k + 1) * (s + 2 * k + 2) / (q * q)
    return total


def _trigamma(x):
    if x == np.inf:
        return 0.0
    total = _zeta_sum(np.float64(2), 1.0 - x if x < 0.5 else x)
    if x >= 0.5:
        return total
    reflected = math.sin(math.pi * (x - math.floor(x)))
    return (math.pi / reflected) ** 2 - total if reflected != 0.0 else np.inf


@pointwise(
    result="float", install=("special",), inplace=False, reference=_scipy("zeta"), differs=True, domain=(1.5, 4.0),
    no_gradient=("input",),
)  # fmt: skip
def zeta(input, other):
    """The Hurwitz zeta function: the sum of ``(other + k)**-input`` over whole ``k`` from 0."""
    return _zeta(np.float64(input), np.float64(other))


@zeta.backward
def _(g, input, other):
    return 0.0, g * (-input * zeta(input + 1.0, other))


def polygamma_value(x, order):
    """The ``order``-th derivative of digamma, in float64."""
    if order == 0:
        return digamma(x)
    if order == 1:
        return _trigamma(x)
    size = math.exp(math.lgamma(order + 1.0)) * _zeta(np.float64(order + 1), x)
    return size if order % 2 == 1 else -size


@pointwise(result="float", install=(), name="polygamma", domain=(0.5, 3.0))
def _polygamma(input, *, n):
    return polygamma_value(np.float64(input), int(n))


@digamma.backward
def _(g, input):
    return g * _polygamma(input, n=1)


@_polygamma.backward
def _(g, input, n):
    return g * _polygamma(input, n=n + 1)


def _checked_order(n):
    n = integer("polygamma", "n", n)
    if n < 0:
        raise RuntimeError(f"polygamma: polygamma(n, x) does not support negative n, got {n}")
    return n


@function(install=("ng",))
def polygamma(n: int, input, *, out=None) -> Tensor:
    """The ``n``-th derivative of `digamma`."""
    return _polygamma(input, _checked_order(n), out=out)


@method(name="polygamma")
def _polygamma_method(self, n: int) -> Tensor:
    """The ``n``-th derivative of `digamma`."""
    return _polygamma(self, _checked_order(n))


@method
def polygamma_(self, n: int) -> Tensor:
    """In-place version of `polygamma`."""
    return _polygamma.op.inplace_entry(self, _checked_order(n))


@function(install=("ng", "Tensor"))
def mvlgamma(input, p: int, *, out=None) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension ``p``."""
    p = integer("mvlgamma", "p", p)
    if p < 1:
        raise RuntimeError(f"mvlgamma: p has to be greater than or equal to 1, got {p}")
    input = as_tensor_operand("mvlgamma", input, "input")
    if not input._m.dtype.is_floating_point:
        input = cast(input, dtypes.get_default_dtype())
    if p == 1:
        total = lgamma(input)
    else:  # RuntimeError here if all these terms are more than memory holds
        terms = empty_tensor(meta(input._m.dtype, (*input._m.shape, p), input._m.device))
        total = lgamma(input.unsqueeze(-1) - from_host(0.5 * np.arange(p), terms).to(terms._m.dtype)).sum(-1)
    found = total + 0.25 * p * (p - 1) * math.log(math.pi)
    return found if out is None else write_out("mvlgamma", found, out)


@method
def mvlgamma_(self, p: int) -> Tensor:
    """In-place version of `mvlgamma`."""
    if not self._m.dtype.is_floating_point:
        raise RuntimeError(
            f"mvlgamma_: result type Float can't be cast to the output type {self._m.dtype!r}; use .float() first"
        )
    return self.copy_(mvlgamma(self.clone(), p))


# --- mantissa and exponent --------------------------------------------------------------------------------------------


@pointwise(name="mantissa", install=(), refuse="bi", inplace=False)
def _mantissa(input):
    return split(input)[0]


@_mantissa.backward
def _(g, input):
    return g * exp2(-_exponent(input))


@pointwise(name="exponent", install=(), refuse="bi", inplace=False)
def _exponent(input):
    return float(split(input)[1])


@_exponent.backward
def _(g):
    return g * 0.0


frexp_result = return_type("frexp", "mantissa", "exponent")


@function
def frexp(input, *, out=None):
    """``input`` as ``mantissa * 2**exponent`` with a mantissa of magnitude in [0.5, 1) and an int32 exponent."""
    input = as_tensor_operand("frexp", input, "input")
    found = frexp_result(_mantissa(input), cast(_exponent(input.detach()), dtypes.int32))
    return found if out is None else frexp_result(*[write_out("frexp", a, b) for a, b in zip(found, out, strict=True)])


