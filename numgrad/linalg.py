"""Linear algebra, under PyTorch's names. Defined in the op families; gathered here."""

from .errors import LinAlgError as LinAlgError
from .names import open_doors
from .ops.eigen import eig as eig, eigvals as eigvals
from .ops.factor import (
    cholesky_ex as cholesky_ex,
    eigh as eigh,
    eigvalsh as eigvalsh,
    linalg_cholesky as cholesky,
    linalg_diagonal as diagonal,
    linalg_lu_solve as lu_solve,
    linalg_qr as qr,
    linalg_svd as svd,
    lu as lu,
    lu_factor as lu_factor,
    lu_factor_ex as lu_factor_ex,
    svdvals as svdvals,
)
from .ops.householder import householder_product as householder_product
from .ops.ldl import ldl_factor as ldl_factor, ldl_factor_ex as ldl_factor_ex, ldl_solve as ldl_solve
from .ops.matmul import matmul as matmul
from .ops.matrix import (
    cond as cond,
    det as det,
    lstsq as lstsq,
    matrix_exp as matrix_exp,
    matrix_norm as matrix_norm,
    matrix_rank as matrix_rank,
    norm as norm,
    pinv as pinv,
    slogdet as slogdet,
    vector_norm as vector_norm,
)
from .ops.products import (
    linalg_cross as cross,
    linalg_vander as vander,
    matrix_power as matrix_power,
    multi_dot as multi_dot,
    vecdot as vecdot,
)
from .ops.solve import (
    inv as inv,
    inv_ex as inv_ex,
    solve as solve,
    solve_ex as solve_ex,
    solve_triangular as solve_triangular,
    tensorinv as tensorinv,
    tensorsolve as tensorsolve,
)

open_doors(globals(), __name__, always=True)
