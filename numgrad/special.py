"""Special functions, under PyTorch's names. Defined in the op families; gathered here."""

from .names import open_doors
from .ops.bessel import (
    airy_ai as airy_ai,
    bessel_j0 as bessel_j0,
    bessel_j1 as bessel_j1,
    bessel_y0 as bessel_y0,
    bessel_y1 as bessel_y1,
    i0 as i0,
    i0e as i0e,
    i1 as i1,
    i1e as i1e,
    modified_bessel_i0 as modified_bessel_i0,
    modified_bessel_i1 as modified_bessel_i1,
    modified_bessel_k0 as modified_bessel_k0,
    modified_bessel_k1 as modified_bessel_k1,
    scaled_modified_bessel_k0 as scaled_modified_bessel_k0,
    scaled_modified_bessel_k1 as scaled_modified_bessel_k1,
    spherical_bessel_j0 as spherical_bessel_j0,
)
from .ops.gamma import (
    mvlgamma as multigammaln,
    polygamma as polygamma,
    zeta as zeta,
)
from .ops.incomplete_gamma import igamma as gammainc, igammac as gammaincc
from .ops.math import (
    digamma as digamma,
    digamma as psi,
    entr as entr,
    erf as erf,
    erfc as erfc,
    erfinv as erfinv,
    exp2 as exp2,
    expm1 as expm1,
    lgamma as gammaln,
    log1p as log1p,
    logit as logit,
    ndtr as ndtr,
    round_ as round,
    sigmoid as expit,
    sinc as sinc,
    xlog1py as xlog1py,
    xlogy as xlogy,
)
from .ops.normal import erfcx as erfcx, log_ndtr as log_ndtr, ndtri as ndtri
from .ops.polynomials import (
    chebyshev_polynomial_t as chebyshev_polynomial_t,
    chebyshev_polynomial_u as chebyshev_polynomial_u,
    chebyshev_polynomial_v as chebyshev_polynomial_v,
    chebyshev_polynomial_w as chebyshev_polynomial_w,
    hermite_polynomial_h as hermite_polynomial_h,
    hermite_polynomial_he as hermite_polynomial_he,
    laguerre_polynomial_l as laguerre_polynomial_l,
    legendre_polynomial_p as legendre_polynomial_p,
    shifted_chebyshev_polynomial_t as shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_u as shifted_chebyshev_polynomial_u,
    shifted_chebyshev_polynomial_v as shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w as shifted_chebyshev_polynomial_w,
)
from .ops.softmax import log_softmax_root as log_softmax, logsumexp as logsumexp, softmax_root as softmax

open_doors(globals(), __name__)
