"""Special functions, under PyTorch's names. Defined in the op families; gathered here."""

from .ops.gamma import (
    i0 as i0,
)
from .ops.gamma import (
    i0e as i0e,
)
from .ops.gamma import (
    i1 as i1,
)
from .ops.gamma import (
    i1e as i1e,
)
from .ops.gamma import igamma as gammainc
from .ops.gamma import igammac as gammaincc
from .ops.gamma import mvlgamma as multigammaln
from .ops.gamma import (
    polygamma as polygamma,
)
from .ops.gamma import (
    zeta as zeta,
)
from .ops.math import (
    digamma as digamma,
)
from .ops.math import digamma as psi
from .ops.math import (
    entr as entr,
)
from .ops.math import (
    erf as erf,
)
from .ops.math import (
    erfc as erfc,
)
from .ops.math import (
    erfinv as erfinv,
)
from .ops.math import (
    exp2 as exp2,
)
from .ops.math import (
    expm1 as expm1,
)
from .ops.math import lgamma as gammaln
from .ops.math import (
    log1p as log1p,
)
from .ops.math import (
    logit as logit,
)
from .ops.math import (
    ndtr as ndtr,
)
from .ops.math import round_ as round
from .ops.math import sigmoid as expit
from .ops.math import (
    sinc as sinc,
)
from .ops.math import (
    xlog1py as xlog1py,
)
from .ops.math import (
    xlogy as xlogy,
)
from .ops.softmax import log_softmax_root as log_softmax
from .ops.softmax import logsumexp as logsumexp
from .ops.softmax import softmax_root as softmax
