"""``functorch.experimental``: maps in a number of pieces, and names that moved to `func`."""

from ..func.mapping import (
    chunk_vmap as chunk_vmap,
    replace_all_batch_norm_modules_ as replace_all_batch_norm_modules_,
)
from . import hessian as hessian, jacfwd as jacfwd, jvp as jvp
