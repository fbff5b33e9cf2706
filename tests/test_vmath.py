"""The kernels' elementary functions: errors in units in the last place, special values, types, vectorisation."""

import math
import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
import scipy.special

from numgrad.kernels import callers, jit
from numgrad.kernels.vmath import WORDS

FLOATS = [np.float32, np.float64]
KERNEL = '''"""{name} for {types}."""


def {name}(operands, begin, end):
    {loads}
    r = pointer(operands, {arity}, R)
    for i in range(begin, end):
        r[i] = word({arguments})
'''
compiled = {}


def kernel_of(name, result, *argument_types, word=None):
    """The address of a kernel that applies the word ``name`` to arrays of the given types."""
    key = name, result, *argument_types
    if key not in compiled:
        stored = [np.uint8 if t is np.bool_ else t for t in (*argument_types, result)]
        names = {"pointer": jit.pointer, "word": word or WORDS[name], "R": stored[-1]}
        names |= {f"T{k}": argument for k, argument in enumerate(stored[:-1])}
        source = KERNEL.format(
            name=f"word_{name}",
            types=", ".join(t.__name__ for t in (*argument_types, result)),
            loads="\n    ".join(f"x{k} = pointer(operands, {k}, T{k})" for k in range(len(argument_types))),
            arity=len(argument_types),
            arguments=", ".join(f"x{k}[i]" + " != 0" * (t is np.bool_) for k, t in enumerate(argument_types)),
        )
        module = jit.load_module(f"word_{name}", source, names)
        compiled[key] = jit.kernel(vars(module)[f"word_{name}"])
    return compiled[key]


def apply(name, *arrays, result=None, word=None):
    """The word ``name`` applied by a compiled kernel to arrays of one length."""
    result = result or arrays[-1].dtype.type
    address = kernel_of(name, result, *(a.dtype.type for a in arrays), word=word)
    out = np.empty(arrays[0].shape, result)
    callers.caller(len(arrays) + 1)(address, *arrays, out, 0, out.size)
    return out


def ulps(got, expected):
    """The largest error of ``got`` in units in the last place of ``expected``, which has more precision."""
    finite = np.isfinite(expected) & (np.abs(expected) <= np.finfo(got.dtype).max)
    with np.errstate(all="ignore"):
        rounded = expected.astype(got.dtype)
        np.testing.assert_array_equal(got[~finite], rounded[~finite])
        unit = np.spacing(np.abs(rounded[finite])).astype(expected.dtype)
        return float(np.max(np.abs(got[finite].astype(expected.dtype) - expected[finite]) / unit, initial=0))


def samples(T, *intervals, n=20000):
    """Random numbers: uniform in each ``(low, high)``, and over all magnitudes for ``(low, high, "log")``."""
    generator = np.random.default_rng(0)
    parts = []
    for low, high, *logarithmic in intervals:
        if logarithmic:
            magnitude = np.exp(generator.uniform(math.log(low), math.log(high), n))
            parts += [magnitude, -magnitude] if logarithmic[0] == "both" else [magnitude]
        else:
            parts.append(generator.uniform(low, high, n))
    return np.concatenate(parts).astype(T)


def by_value(fn):
    return lambda x: np.array([fn(float(v)) for v in x])


def in_double(fn):
    return lambda x: fn(x.astype(np.float64))


def longdouble_sigmoid(x):
    return 1 / (1 + np.exp(-x))


TINY = {np.float32: 1e-44, np.float64: 1e-322}
HUGE = {np.float32: 3e38, np.float64: 1e308}

# word: (reference in wider precision, float32 intervals, float64 intervals, error bounds in ulps)
ACCURACY = {
    "exp": (np.exp, [(-104, 89), (-1, 1)], [(-745, 710), (-1, 1)], 1.5, 1.5),
    "exp2": (np.exp2, [(-150, 128), (-1, 1)], [(-1075, 1024), (-1, 1)], 1.5, 1.5),
    "expm1": (np.expm1, [(-20, 89), (-1, 1), (1e-44, 1, "both")], [(-50, 710), (-1, 1), (1e-300, 1, "both")], 2.5, 2.5),
    "log": (np.log, [(1e-44, 3e38, "log"), (0.5, 2)], [(1e-322, 1e308, "log"), (0.5, 2)], 1.5, 1.5),
    "log2": (np.log2, [(1e-44, 3e38, "log"), (0.5, 2)], [(1e-322, 1e308, "log"), (0.5, 2)], 2, 2),
    "log10": (np.log10, [(1e-44, 3e38, "log"), (0.5, 2)], [(1e-322, 1e308, "log"), (0.5, 2)], 2, 2),
    "log1p": (
        np.log1p,
        [(-0.9999, 3), (1e-44, 3e38, "log"), (-1e-3, 1e-3)],
        [(-0.9999, 3), (1e-322, 1e308, "log"), (-1e-3, 1e-3)],
        *(2, 2),
    ),
    "sigmoid": (longdouble_sigmoid, [(-87, 40), (-2, 2)], [(-700, 40), (-2, 2)], 2.5, 2.5),
    "tanh": (np.tanh, [(-12, 12), (1e-44, 1, "both")], [(-22, 22), (1e-300, 1, "both")], 2.5, 2.5),
    "sinh": (np.sinh, [(-89.4, 89.4), (1e-44, 1, "both")], [(-710.4, 710.4), (1e-300, 1, "both")], 4, 4),
    "cosh": (np.cosh, [(-89.4, 89.4), (-1, 1)], [(-710.4, 710.4), (-1, 1)], 3, 3),
    "asinh": (np.arcsinh, [(1e-44, 3e38, "both"), (-3, 3)], [(1e-300, 1e308, "both"), (-3, 3)], 4, 4),
    "acosh": (np.arccosh, [(1, 3e38, "log"), (1, 3)], [(1, 1e308, "log"), (1, 3)], 4, 4),
    "atanh": (np.arctanh, [(-1, 1), (1e-44, 1, "both")], [(-1, 1), (1e-300, 1, "both")], 4, 4),
    "sin": (np.sin, [(-100, 100), (1e-44, 3e38, "both")], [(-100, 100), (1e-300, 1e300, "both")], 2, 2),
    "cos": (np.cos, [(-100, 100), (1e-44, 3e38, "both")], [(-100, 100), (1e-300, 1e300, "both")], 2, 2),
    "tan": (np.tan, [(-100, 100), (1e-44, 3e38, "both")], [(-100, 100), (1e-300, 1e300, "both")], 4, 2),
    "asin": (np.arcsin, [(-1, 1), (1e-44, 1, "both")], [(-1, 1), (1e-300, 1, "both")], 3, 2),
    "acos": (np.arccos, [(-1, 1), (1e-44, 1, "both")], [(-1, 1), (1e-300, 1, "both")], 3, 2),
    "atan": (np.arctan, [(-3, 3), (1e-44, 3e38, "both")], [(-3, 3), (1e-300, 1e308, "both")], 3, 2),
    "erf": (by_value(math.erf), [(-5, 5), (1e-37, 1, "both")], [(-7, 7), (1e-300, 1, "both")], 2.5, 2.5),
    "erfc": (by_value(math.erfc), [(-5, 10), (-0.5, 0.5)], [(-7, 26.5), (-0.5, 0.5)], 4, 4.5),
    "erfinv": (in_double(scipy.special.erfinv), [(-1, 1), (1e-30, 1, "both")], [(-1, 1), (1e-290, 1, "both")], 1, 5),
    "lgamma": (in_double(scipy.special.gammaln), [(0.1, 0.6), (3, 1e3)], [(3, 1e3)], 1, 6),
    "digamma": (in_double(scipy.special.digamma), [(0.01, 20), (20, 1e6, "log")], [(2, 20), (20, 1e6, "log")], 1, 8),
    "sqrt": (np.sqrt, [(1e-44, 3e38, "log")], [(1e-322, 1e308, "log")], 0.51, 0.51),
    "rsqrt": (lambda x: 1 / np.sqrt(x), [(1e-44, 3e38, "log")], [(1e-322, 1e308, "log")], 1.6, 1.6),
}


@pytest.mark.parametrize("T", FLOATS)
def test_normal_cdf_is_accurate_beside_1(T):
    x = samples(T, (-20, 20), (-3, 3))
    got = apply("normal_cdf", x)
    assert np.max(np.abs(got - scipy.special.ndtr(x.astype(np.float64)))) <= 1.5 * np.finfo(T).eps
    special = np.array([-math.inf, -1e30, 0.0, 1e30, math.inf, math.nan], T)
    np.testing.assert_array_equal(apply("normal_cdf", special), np.array([0, 0, 0.5, 1, 1, math.nan], T))


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy(name, T):
    reference, single, double, *bounds = ACCURACY[name]
    x = samples(T, *(single if T is np.float32 else double))
    wide = x.astype(np.float64 if T is np.float32 else np.longdouble)
    # In plain Python the error is NumPy's and SciPy's (erfc of float64: 500).
    bound = 1000 if jit.PYTHON_MODE else bounds[FLOATS.index(T)]
    assert ulps(apply(name, x), reference(wide)) <= bound


@pytest.mark.parametrize("T", FLOATS)
def test_accuracy_of_pow(T):
    x = np.concatenate([samples(T, (0, 10), (TINY[T], HUGE[T], "log")), samples(T, (-20, 20))])
    y = samples(T, (-5, 5), (-0.5, 0.5), (-40, 40))
    y[-2000:] = np.round(y[-2000:])
    wide = np.float64 if T is np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(wide), y.astype(wide))
    assert ulps(apply("pow", x, y), expected) <= 1


@pytest.mark.parametrize("T", FLOATS)
def test_accuracy_of_atan2_and_hypot(T):
    wide = np.float64 if T is np.float32 else np.longdouble
    x = samples(T, (-3, 3), (TINY[T], HUGE[T], "both"))
    y = np.random.default_rng(1).permutation(x)
    with np.errstate(all="ignore"):
        assert ulps(apply("atan2", y, x), np.arctan2(y.astype(wide), x.astype(wide))) <= 4
        assert ulps(apply("hypot", y, x), np.hypot(y.astype(wide), x.astype(wide))) <= 2


# --- special values --------------------------------------------------------------------------------------------

PLAIN_UNARY = ["fabs", "floor", "ceil", "trunc", "round", "isnan", "isinf", "isfinite"]
PREDICATES = ["isnan", "isinf", "isfinite"]
BINARY = ["pow", "atan2", "hypot", "copysign", "fmod", "minimum", "maximum", "fmin", "fmax"]
POINTS = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 89.0, 104.0, 710.0, 746.0, 1e5, 1e15, 1e30, math.inf]


def special_points(T):
    info = np.finfo(T)
    points = POINTS + [info.smallest_subnormal, info.tiny, info.max, 1 + info.eps, 1 - info.epsneg]
    return np.array([*points, *(-p for p in points), math.nan], T)


def assert_same_numbers(got, expected, relative):
    """Equal NaNs, infinities, zeros and signs; other values to ``relative``."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    there = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[there], np.signbit(expected)[there])
    np.testing.assert_array_equal((got == 0)[there], (expected == 0)[there])
    smallest = np.finfo(got.dtype).smallest_subnormal
    np.testing.assert_allclose(got, expected, rtol=relative, atol=2 * smallest)


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("name", [*ACCURACY, *PLAIN_UNARY])
def test_special_values(name, T):
    """Compiled and plain Python agree where a formula is likeliest to fail, and both keep the type."""
    x = special_points(T)
    plain = [WORDS[name](value) for value in x]
    got = apply(name, x, result=np.bool_ if name in PREDICATES else None)
    if name in PREDICATES:
        np.testing.assert_array_equal(got, plain)
        return
    assert {type(value) for value in plain} == {T}
    expected = np.array(plain)
    if name == "lgamma":  # SciPy's is absolute near its zeros
        skipped = (np.abs(expected) < 1e-6) | (np.abs(x) == np.finfo(T).smallest_subnormal)  # where it says inf
        expected[skipped] = got[skipped]
    if name == "digamma":  # and its reflection is off beside the pole at -1; at -1/2 terms of 2 cancel to 0.04
        skipped = (x == T(np.finfo(T).epsneg - 1)) | (x == -0.5)
        expected[skipped] = got[skipped]
    if name == "sigmoid":  # 1 / (1 + inf) against a subnormal
        small = np.abs(expected) < np.finfo(T).tiny
        assert (got[small] < np.finfo(T).tiny).all()
        got, expected = got[~small], expected[~small]
    assert_same_numbers(got, expected, 8 * np.finfo(T).eps)


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("name", BINARY)
def test_special_values_of_two_arguments(name, T):
    points = special_points(T)
    x, y = np.repeat(points, points.size), np.tile(points, points.size)
    expected = np.array([WORDS[name](a, b) for a, b in zip(x, y, strict=True)])
    assert expected.dtype == T
    got = apply(name, x, y)
    if name == "pow":  # NumPy takes the square root; C's pow has inf and +0
        skipped = ((x == -np.inf) | (x == 0)) & (y == 0.5)
        expected[skipped] = got[skipped]
    if name in ("minimum", "maximum", "fmin", "fmax"):  # which zero is the smaller is left open
        got, expected = got + T(0), expected + T(0)
    assert_same_numbers(got, expected, 8 * np.finfo(T).eps)


@pytest.mark.parametrize("T", FLOATS)
def test_fma_rounds_once(T):
    x = T(1) + np.finfo(T).eps
    assert apply("fma", *(np.array([v], T) for v in (x, x, -(x * x))))[0] != 0


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("name", ["maxnum", "minnum"])
def test_reduction_extrema(name, T):
    x, y = samples(T, (-1, 1), n=100), samples(T, (-2, 2), n=100)
    np.testing.assert_array_equal(apply(name, x, y), getattr(np, name[:3] + "imum")(x, y))


# --- other types -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [np.int8, np.int32, np.int64, np.uint8])
@pytest.mark.parametrize("name", ["minimum", "maximum", "fmod"])
def test_integers(name, T):
    low, high = np.iinfo(T).min, np.iinfo(T).max
    values = np.array([low, high, 0, 1, 1 if low == 0 else -1, 7, 3], T)
    x, y = np.repeat(values, values.size), np.tile(values, values.size)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    np.testing.assert_array_equal(apply(name, x, y), expected)


@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_bools(name):
    x, y = np.array([0, 0, 1, 1], np.bool_), np.array([0, 1, 0, 1], np.bool_)
    np.testing.assert_array_equal(apply(name, x, y), getattr(np, name)(x, y))


@pytest.mark.parametrize("T", [np.float32, np.float64, np.int32, np.int64, np.bool_])
def test_where(T):
    condition = np.array([True, False, True, False])
    x, y = np.array([0, 0, 1, 1], T), np.array([1, 1, 0, 0], T)
    np.testing.assert_array_equal(apply("where", condition, x, y), np.where(condition, x, y))


@pytest.mark.parametrize("T", [np.int32, np.bool_])
def test_integers_are_finite(T):
    x = np.array([0, 1], T)
    for name, expected in (("isnan", False), ("isinf", False), ("isfinite", True)):
        assert (apply(name, x, result=np.bool_) == expected).all()


# --- compilation -----------------------------------------------------------------------------------------------


@jit.inlined
def through_an_inlined_function(x):
    return WORDS_EXP(x)


WORDS_EXP = WORDS["exp"]


@pytest.mark.parametrize("T", FLOATS)
def test_inlined_callers_choose_by_type(T):
    x = samples(T, (-10, 10), n=1000)
    np.testing.assert_array_equal(apply("inlined_exp", x, word=through_an_inlined_function), apply("exp", x))


# sin and cos of float64 call the C library for huge arguments.
VECTORISED = ["exp", "log", "tanh", "sigmoid", "erf", "erfc", "expm1", "log1p", "round", "rsqrt"]


def unary_loop(word):
    @numba.njit(fastmath=jit.FASTMATH)
    def loop(x, out):
        for i in range(x.size):
            out[i] = word(x[i])

    return loop


@pytest.mark.skipif(jit.PYTHON_MODE, reason="nothing is compiled")
@pytest.mark.parametrize(
    "name, T", [(name, T) for T in FLOATS for name in VECTORISED] + [("sin", np.float32), ("cos", np.float32)]
)
def test_loops_become_vector_code(name, T):
    loop = unary_loop(WORDS[name])
    array = numba.types.Array(numba.from_dtype(np.dtype(T)), 1, "C")
    loop.compile((array, array))
    kind = "float" if T is np.float32 else "double"
    (text,) = loop.inspect_llvm().values()
    assert re.search(rf"fmul [a-z ]*<\d+ x {kind}>|@llvm[.a-z]*\.v\d+", text)


IN_ANOTHER_PROCESS = """
import numpy as np, numgrad.kernels.jit as jit
from numgrad.kernels import vmath
from tests.test_vmath import apply
apply("tanh", np.zeros(3, np.float32))
print(jit._keep_alive[0].cache_hits)
"""


def test_kernels_are_cached_on_disk(tmp_path):
    environment = {**os.environ, "NUMGRAD_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DISABLE_JIT": "0"}
    hits = [
        subprocess.run([sys.executable, "-c", IN_ANOTHER_PROCESS], env=environment, capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [run.stdout.strip() for run in hits] == ["0", "1"], hits[-1].stderr
