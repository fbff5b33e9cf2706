"""The elementary functions of kernel bodies, for float32 and float64 by the type of their arguments.

Each is a plain Python function on NumPy scalars. Inside compiled code the same name is branch-free scalar code that
LLVM turns into vector instructions with the loop around it (`vmath_plain`, `vmath_exp`, `vmath_trig`,
`vmath_special`). Errors are measured in `tests/test_vmath.py`.
"""

from .vmath_exp import (
    acosh,
    asinh,
    atanh,
    cosh,
    exp,
    exp2,
    expm1,
    log,
    log1p,
    log2,
    log10,
    pow,
    sigmoid,
    sinh,
    tanh,
)
from .vmath_plain import (
    ceil,
    copysign,
    difference,
    fabs,
    floor,
    fma,
    fmax,
    fmin,
    fmod,
    hypot,
    isfinite,
    isinf,
    isnan,
    maximum,
    maxnum,
    minimum,
    minnum,
    round,
    rsqrt,
    sqrt,
    trunc,
    where,
)
from .vmath_special import digamma, erf, erfc, erfinv, lgamma, normal_cdf
from .vmath_trig import acos, asin, atan, atan2, cos, sin, tan

WORDS = {
    fn.__name__: fn
    for fn in (
        *(exp, exp2, expm1, log, log2, log10, log1p, pow, sigmoid),
        *(sin, cos, tan, asin, acos, atan, atan2),
        *(sinh, cosh, tanh, asinh, acosh, atanh),
        *(erf, erfc, erfinv, lgamma, digamma, normal_cdf),
        *(sqrt, rsqrt, floor, ceil, trunc, round, fabs, copysign, fmod, hypot, fma, difference),
        *(isnan, isinf, isfinite, minimum, maximum, fmin, fmax, minnum, maxnum, where),
    )
}
