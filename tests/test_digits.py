"""Values, gradients and second derivatives keep their digits over the whole range, against mpmath.

A number is right to 1e-5 in float32 and 1e-12 in float64, or as far as the rounding of its arguments allows: what the
reference itself changes when an argument moves by a few units in the last place. Numbers below the normal range may be 0.
"""

import functools
import itertools

import jets as J
import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
import numgrad.special as S
from numgrad.op import OPS
from numgrad.pointwise import Pointwise

DTYPES = {"float32": (ng.float32, np.float32, 1e-5), "float64": (ng.float64, np.float64, 1e-12)}
MAGNITUDES = (
    1e4, 3e3, 700.0, 110.0, 87.0, 60.0, 39.5, 30.25, 17.0, 12.0, 8.75, 6.0, 4.5, 3.25, 2.5, 1.75, 1.25, 1.0, 0.75, 0.4, 0.13, 1e-2,
    1e-3, 1e-5, 1e-9, 1e-20,
)  # fmt: skip
LINE = (0.0, *MAGNITUDES, *(-x for x in MAGNITUDES))
POSITIVE = MAGNITUDES
UNIT = (1e-20, 1e-9, 1e-4, 0.03, 0.25, 0.4995, 0.5, 0.7, 0.97, 0.9999, 1 - 2.0**-20)
FEW = (-1e4, -90.0, -20.0, -3.0, -0.5, -1e-4, 0.0, 1e-6, 0.7, 5.0, 30.0, 1e4)
FEW_POSITIVE = (1e-6, 0.02, 0.7, 1.0, 3.5, 40.0, 1e4)


def pairs(first, second=None):
    """All pairs, and every number with its neighbours."""
    near = [(x, x * (1 + d)) for x in first for d in (0.0, 2.0**-20, -(2.0**-8))]
    return [*itertools.product(first, first if second is None else second), *(near if second is None else ())]


class Case:
    """A function of tensors, the same of jets, and where: points or tuples of points; up to which derivative.

    With ``from_result`` second derivatives, which are taken from a result near 1/2, are right within its rounding.
    """

    def __init__(self, fn, reference, points=LINE, orders=2, from_result=False):
        self.fn, self.reference, self.orders, self.from_result = fn, reference, orders, from_result
        self.points = [p if isinstance(p, tuple) else (p,) for p in points]


def numbers(jet, n):
    """The value, the gradient and the upper triangle of the second derivatives."""
    return [jet.value, *jet.first, *(jet.second[i][j] for i in range(n) for j in range(i, n))]


@functools.cache
def expected(reference, point):
    return numbers(reference(*J.variables(point)), len(point))


def found(case, points, dtype):
    """The same of tensors: (quantities, points)."""
    leaves = [ng.tensor(column, dtype=dtype, requires_grad=True) for column in zip(*points)]
    y = case.fn(*leaves)
    first = ng.autograd.grad(y.sum(), leaves, create_graph=case.orders > 1, materialize_grads=True)
    rows = [y, *first]
    for i, slope in enumerate(first):
        if case.orders < 2 or not slope.requires_grad:
            rows += [ng.zeros_like(y)] * (len(leaves) - i)
        else:
            rows += ng.autograd.grad(slope.sum(), leaves[i:], retain_graph=True, materialize_grads=True)
    return np.stack([row.detach().double().numpy() for row in rows])


def check(case, name):
    dtype, T, tolerance = DTYPES[name]
    points = list(dict.fromkeys(tuple(float(T(x)) for x in point) for point in case.points))
    got = found(case, points, dtype)
    info, n = np.finfo(T), len(points[0])
    used = (1, 1 + n, len(got))[case.orders]
    wrong = []
    with np.errstate(all="ignore"):
        for k, point in enumerate(points):
            right = [float(v) for v in expected(case.reference, point)]
            for q in range(used):
                a, b = float(got[q, k]), right[q]
                if not np.isfinite(b) or abs(b) > 0.9 * float(info.max):
                    continue
                if abs(a - b) <= tolerance * abs(b) + 4 * float(info.tiny):
                    continue
                # How far the argument's rounding moves the reference.
                room = 0.0
                for i in range(n):
                    for side in (1, -1):
                        moved = list(point)
                        moved[i] *= 1 + side * 8 * float(info.eps)
                        if case.from_result and q > n:  # a result of 1/2 moves by a rounding where the argument moves by two
                            moved[i] += side * 2 * float(info.eps)
                        room += abs(float(expected(case.reference, tuple(moved))[q]) - b)
                if not abs(a - b) <= room:
                    wrong.append((q, point, a, b))
    assert not wrong, f"{len(wrong)} wrong, (quantity, point, found, expected) = " + "\n".join(map(str, wrong[:12]))


half = 0.5
ELEMENTARY = {
    "exp": Case(ng.exp, J.exp), "exp2": Case(ng.exp2, lambda x: J.exp(x * J.m.log(2))), "expm1": Case(ng.expm1, J.expm1),
    "log": Case(ng.log, J.log, POSITIVE), "log2": Case(ng.log2, lambda x: J.log(x) / J.m.log(2), POSITIVE),
    "log10": Case(ng.log10, lambda x: J.log(x) / J.m.log(10), POSITIVE),
    "log1p": Case(ng.log1p, J.log1p, (*POSITIVE, -1e-20, -1e-5, -0.3, -0.9, -0.9999)),
    "sqrt": Case(ng.sqrt, J.sqrt, POSITIVE), "rsqrt": Case(ng.rsqrt, lambda x: x**-J.mpf(half), POSITIVE),
    "reciprocal": Case(ng.reciprocal, lambda x: 1 / x, LINE[1:]), "square": Case(ng.square, lambda x: x * x),
    "sin": Case(ng.sin, J.sin), "cos": Case(ng.cos, J.cos), "tan": Case(ng.tan, J.tan), "atan": Case(ng.atan, J.atan),
    "asin": Case(ng.asin, J.asin, (*UNIT, *(-x for x in UNIT))), "acos": Case(ng.acos, J.acos, (*UNIT, *(-x for x in UNIT))),
    "sinh": Case(ng.sinh, J.sinh), "cosh": Case(ng.cosh, J.cosh), "asinh": Case(ng.asinh, J.asinh),
    "acosh": Case(ng.acosh, J.acosh, (1e4, 60.0, 3.0, 1.5, 1.01, 1.0001)),
    "atanh": Case(ng.atanh, J.atanh, (*UNIT, *(-x for x in UNIT))),
    "sinc": Case(ng.sinc, lambda x: J.sin(x * J.m.pi) / (x * J.m.pi) if x.value else x.through(1, 0, -J.m.pi**2 / 3),
                 [x for x in LINE if abs(x) > 1e-10]),
    "erf": Case(ng.erf, J.erf), "erfc": Case(ng.erfc, J.erfc), "erfinv": Case(ng.erfinv, J.erfinv, (*UNIT, *(-x for x in UNIT), 0.0)),
    "ndtr": Case(S.ndtr, J.normal_cdf), "logit": Case(ng.logit, lambda x: J.log(x) - J.log1p(-x), UNIT),
    "entr": Case(S.entr, lambda x: -x * J.log(x), POSITIVE),
    "logaddexp": Case(ng.logaddexp, J.logaddexp, pairs(FEW)),
    "logaddexp2": Case(ng.logaddexp2, lambda x, y: J.logaddexp(x * J.m.log(2), y * J.m.log(2)) / J.m.log(2), pairs(FEW)),
    "xlogy": Case(ng.xlogy, lambda x, y: x * J.log(y), pairs(FEW, FEW_POSITIVE)),
    "xlog1py": Case(S.xlog1py, lambda x, y: x * J.log1p(y), pairs(FEW, (*FEW_POSITIVE, -0.5, -1e-6, -0.999))),
    "hypot": Case(ng.hypot, lambda x, y: J.sqrt(x * x + y * y), pairs(FEW_POSITIVE)),
    "atan2": Case(ng.atan2, lambda x, y: J.atan(x / y), pairs(FEW_POSITIVE)),
    "pow": Case(ng.pow, lambda x, y: x**y, pairs(FEW_POSITIVE, (-2.5, -1.0, 0.5, 1.0, 2.0, 3.7, 30.0))),
    "div": Case(ng.div, lambda x, y: x / y, pairs(FEW, FEW_POSITIVE)),
    "addcdiv": Case(lambda x, y: ng.addcdiv(x, x, y), lambda x, y: x + x / y, pairs(FEW, FEW_POSITIVE)),
}  # fmt: skip
ACTIVATIONS = {
    "silu": Case(F.silu, lambda x: x * J.sigmoid(x)), "mish": Case(F.mish, lambda x: x * J.tanh(J.softplus(x))),
    "gelu": Case(F.gelu, lambda x: x * J.normal_cdf(x)),
    "gelu_tanh": Case(
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: x * J.sigmoid((x + x * x * x * J.mpf(0.044715)) * (2 * J.m.sqrt(2 / J.m.pi))),
    ),
    "softplus": Case(F.softplus, lambda x: J.softplus(x) if x.value <= 20 else x),
    "logsigmoid": Case(F.logsigmoid, lambda x: -J.softplus(-x)),
    "softsign": Case(F.softsign, lambda x: x / (1 + abs(x)), LINE[1:]),
    "tanhshrink": Case(F.tanhshrink, lambda x: x - J.tanh(x), [x for x in LINE if abs(x) > 1e-10]),
    "elu": Case(F.elu, lambda x: J.where(x.value > 0, x, J.expm1(x)), LINE[1:]),
    "selu": Case(F.selu, lambda x: J.where(x.value > 0, x, J.expm1(x) * 1.6732632423543772) * 1.0507009873554805, LINE[1:]),
    "celu": Case(lambda x: F.celu(x, 0.5), lambda x: J.where(x.value > 0, x, J.expm1(x * 2) * half), LINE[1:]),
    "glu": Case(lambda x, y: F.glu(ng.stack((x, y)), 0)[0], lambda x, y: x * J.sigmoid(y), pairs(FEW, (-80.0, *FEW[2:]))),
    "softmax": Case(lambda x, y: F.softmax(ng.stack((x, y), -1), -1)[:, 0], lambda x, y: J.sigmoid(x - y), pairs(FEW), from_result=True),
    "softmax_columns": Case(lambda x, y: F.softmax(ng.stack((x, y)), 0)[0], lambda x, y: J.sigmoid(x - y), pairs(FEW), from_result=True),
    "log_softmax": Case(lambda x, y: F.log_softmax(ng.stack((x, y), -1), -1)[:, 0], lambda x, y: -J.softplus(y - x), pairs(FEW)),
    "logsumexp": Case(lambda x, y: ng.logsumexp(ng.stack((x, y)), 0), J.logaddexp, pairs(FEW)),
}  # fmt: skip
TARGETS = (0.0, 1.0, 0.25)
LOSSES = {
    "binary_cross_entropy": Case(
        lambda x, t: F.binary_cross_entropy(x, t, reduction="none"),
        lambda x, t: -t * J.log(x) - (1 - t) * J.log1p(-x), pairs(UNIT[1:], TARGETS)),
    "with_logits": Case(
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"),
        lambda x, t: (1 - t) * J.softplus(x) + t * J.softplus(-x), pairs(LINE, TARGETS)),
    "pos_weight": Case(
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none", pos_weight=x * 0 + 2.5),
        lambda x, t: (1 - t) * J.softplus(x) + 2.5 * t * J.softplus(-x), pairs(LINE, TARGETS)),
    "soft_margin": Case(
        lambda x: F.soft_margin_loss(x, -ng.ones_like(x), reduction="none"), J.softplus),
    "multilabel_soft_margin": Case(
        lambda x, y: F.multilabel_soft_margin_loss(ng.stack((x, y), -1), ng.tensor([1.0, 0.0], dtype=x.dtype).expand(len(x), 2), reduction="none"),
        lambda x, y: (J.softplus(-x) + J.softplus(y)) / 2, pairs(FEW)),
    "cross_entropy": Case(
        lambda x, y: F.cross_entropy(ng.stack((x, y), -1), ng.zeros(len(x), dtype=ng.int64), reduction="none"),
        lambda x, y: J.softplus(y - x), pairs(FEW)),
    "cross_entropy_columns": Case(
        lambda x, y: F.cross_entropy(ng.stack((x, y)).unsqueeze(0), ng.zeros(1, len(x), dtype=ng.int64), reduction="none")[0],
        lambda x, y: J.softplus(y - x), pairs(FEW)),
    "kl_div": Case(lambda x, t: F.kl_div(x, t, reduction="none"), lambda x, t: J.xlogy(t, t) - t * x, pairs(FEW, FEW_POSITIVE)),
    "kl_div_log": Case(
        lambda x, t: F.kl_div(x, t, reduction="none", log_target=True), lambda x, t: J.exp(t) * (t - x), pairs(FEW[:-1])),
    "mse": Case(lambda x, t: F.mse_loss(x, t, reduction="none"), lambda x, t: (x - t) * (x - t), pairs(FEW)),
    "poisson": Case(lambda x, t: F.poisson_nll_loss(x, t, reduction="none"), lambda x, t: J.exp(x) - t * x, pairs(FEW, FEW_POSITIVE)),
    "gaussian": Case(
        lambda x, t, v: F.gaussian_nll_loss(x, t, v, reduction="none"),
        lambda x, t, v: (J.log(v) + (x - t) * (x - t) / v) / 2,
        itertools.product(FEW[::3], FEW[1::3], FEW_POSITIVE[1:])),
    "huber": Case(
        lambda x, t: F.huber_loss(x, t, reduction="none"),
        lambda x, t: (x - t) * (x - t) / 2 if abs((x - t).value) <= 1 else abs(x - t) - half, pairs(FEW)),
}  # fmt: skip
# Their derivatives are taken from the results, as PyTorch takes them: 1 minus those has no digits left far out.
FROM_RESULTS = {
    "sigmoid": Case(ng.sigmoid, J.sigmoid, [x for x in LINE if x <= 1], from_result=True),
    "tanh": Case(ng.tanh, J.tanh, [x for x in LINE if abs(x) <= 0.75]),
}
GAMMA = {
    "lgamma": Case(ng.lgamma, J.lgamma, (*POSITIVE[:-1], -0.5, -1.5, -2.3, -10.75)),
    "digamma": Case(ng.digamma, J.digamma, (*POSITIVE[:-1], -0.5, -1.5, -2.3, -10.75)),
    "polygamma": Case(lambda x: S.polygamma(2, x), J.polygamma(2), (*POSITIVE[:-2], -0.75, -10.25)),
}  # fmt: skip
AROUND_0 = (1e-3, 0.4, 1.0, 3.25, 8.0, 17.0, 29.5, 31.0, 100.0)
BOTH = (*AROUND_0, *(-x for x in AROUND_0))
SPECIAL = {
    "erfcx": Case(S.erfcx, J.erfcx, (1e4, 700.0, 60.0, 17.0, 9.5, 8.75, 6.0, 3.25, 1.0, 0.4, 1e-3, 0.0, -1e-3, -0.75, -3.25, -5.0)),
    "log_ndtr": Case(S.log_ndtr, J.log_normal_cdf),
    "ndtri": Case(S.ndtri, J.ndtri, (1e-30, 1e-9, 1e-4, 0.03, 0.25, 0.4, 0.5, 0.7, 0.97, 0.9999)),
    "i0": Case(ng.i0, J.bessel("i", 0), BOTH), "i1": Case(S.i1, J.bessel("i", 1), BOTH),
    "i0e": Case(S.i0e, lambda x: J.bessel("i", 0)(x) * J.exp(-x), (*AROUND_0, 700.0, 1e4)),
    "i1e": Case(S.i1e, lambda x: J.bessel("i", 1)(x) * J.exp(-x), (*AROUND_0, 700.0, 1e4)),
    **{f"bessel_{kind}{n}": Case(getattr(S, f"bessel_{kind}{n}"), J.bessel(kind, n), (*AROUND_0, 700.0, 1e4), orders=1)
       for kind in "jy" for n in (0, 1)},
    **{f"modified_bessel_k{n}": Case(getattr(S, f"modified_bessel_k{n}"), J.bessel("k", n), AROUND_0) for n in (0, 1)},
    "scaled_k0": Case(S.scaled_modified_bessel_k0, lambda x: J.bessel("k", 0)(x) * J.exp(x), AROUND_0[:-3]),
    "airy": Case(lambda x: S.airy_ai(x.detach()) + 0 * x, lambda x: x.through(J.m.airyai(x.value), 0, 0), (*BOTH, -2.6, -9.0, -700.0, 1.1)),
    **{f"gammainc_{a}": Case(lambda x, a=a: S.gammainc(0 * x.detach() + a, x), J.lower_gamma(a), (1e-6, 0.7, 2.5, a, 1.2 * a)) for a in (1e-6, 0.75, 40, 3000)},
    **{f"gammaincc_{a}": Case(lambda x, a=a: S.gammaincc(0 * x.detach() + a, x), J.lower_gamma(a, True), (1e-6, 0.7, 2.5, 40.0, a, 1.2 * a))
       for a in (0.75, 40, 3000)},
}  # fmt: skip


def table(cases):
    return pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in cases.items()])


@pytest.mark.parametrize("dtype", DTYPES)
@table({**ELEMENTARY, **ACTIVATIONS, **FROM_RESULTS, **LOSSES, **GAMMA, **SPECIAL})
def test_digits(case, dtype):
    check(case, dtype)


def test_polynomials_are_those_of_scipy():
    scipy = pytest.importorskip("scipy.special")
    x, n = np.linspace(-1.5, 2.5, 9), np.arange(9.0)[:, None]
    names = {
        **{f"chebyshev_polynomial_{k}": getattr(scipy, f"eval_cheby{k}") for k in "tu"},
        **{f"shifted_chebyshev_polynomial_{k}": getattr(scipy, f"eval_sh_cheby{k}") for k in "tu"},
        "chebyshev_polynomial_v": lambda n, x: scipy.eval_chebyu(n, x) - np.where(n > 0, scipy.eval_chebyu(np.maximum(n - 1, 0), x), 0),
        "chebyshev_polynomial_w": lambda n, x: scipy.eval_chebyu(n, x) + np.where(n > 0, scipy.eval_chebyu(np.maximum(n - 1, 0), x), 0),
        "hermite_polynomial_h": lambda n, x: scipy.eval_hermite(n.astype(int), x),
        "hermite_polynomial_he": lambda n, x: scipy.eval_hermitenorm(n.astype(int), x),
        "laguerre_polynomial_l": scipy.eval_laguerre, "legendre_polynomial_p": scipy.eval_legendre,
    }  # fmt: skip
    for name, reference in names.items():
        got = getattr(S, name)(ng.from_numpy(x), ng.from_numpy(n))
        np.testing.assert_allclose(got.numpy(), reference(n, x), rtol=1e-10, atol=1e-12, err_msg=name)


def test_every_differentiable_pointwise_op_is_in_a_table():
    """What is not here is linear in pieces, made of whole numbers, or the inside of what is here."""
    elsewhere = set(
        """
        add sub rsub mul addcmul neg abs square_root inverse_power cube reciprocal_square lerp maximum minimum fmax fmin clamp
        clamp_range clamp_min clamp_max where relu leaky_relu hardtanh threshold prelu hardsigmoid hardswish hardshrink softshrink
        absolute_error smooth_absolute_error deg2rad rad2deg frac copysign fmod remainder nan_to_num masked_fill std mantissa
        exponent rdiv conj_physical angle sign sgn floor ceil trunc round round_decimals round_tens div_floor div_trunc zeta
        _spread minor gamma_slope dirichlet_slope _share_of_sum normal_cdf fake_quantize
        """.split()
    )
    tested = {**ELEMENTARY, **ACTIVATIONS, **FROM_RESULTS, **LOSSES, **GAMMA, **SPECIAL}
    tested = {name.rsplit("_", 1)[0] if name.startswith("gammainc") else name for name in tested}
    inner = set(
        """
        logistic logistic_slope hyperbolic_tangent squared_secant sinc_slope share_of_hypot log_sigmoid gate squared_error huber_error
        binary_cross_entropy_with_logits positive_weighted_cross_entropy divergence log_divergence igamma igammac gamma_density
        erfcx_slope normal_hazard normal_hazard_excess bessel_i_slope bessel_ie_slope modified_bessel_i0 modified_bessel_i1
        scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0 exponential_excess relative_entropy relative_step
        log_ratio logit_divergence logistic_step logit_entropy lgamma_divergence digamma_step factorial_rest trials_divergence
        gamma_excess trigamma_step log_logistic_slope continuous_bernoulli_norm pow geometric_entropy geometric_decay geometric_decay_slope nextafter
        """.split()
    )
    ops = {op.name for op in OPS.values() if isinstance(op, Pointwise) and op.gradient is not None and op.fn.__module__.startswith("numgrad.")}
    assert ops - tested - elsewhere - inner == set()
