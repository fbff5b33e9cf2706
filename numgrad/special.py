"""Special functions, under PyTorch's names. Defined in the op families; gathered here."""

from .names import open_doors
from .ops.gamma import (
    i0 as i0,
    i0e as i0e,
    i1 as i1,
    i1e as i1e,
    igamma as gammainc,
    igammac as gammaincc,
    mvlgamma as multigammaln,
    polygamma as polygamma,
    zeta as zeta,
)
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
from .ops.softmax import log_softmax_root as log_softmax, logsumexp as logsumexp, softmax_root as softmax

open_doors(globals(), __name__)
