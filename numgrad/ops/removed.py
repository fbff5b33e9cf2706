"""Functions that PyTorch has removed; their names say what to call instead."""

from ..op import function

_INSTEAD = {
    "eig": "linalg.eig or linalg.eigvals, whose results are complex",
    "symeig": "linalg.eigh or linalg.eigvalsh, which read the lower triangle by default",
    "lstsq": "linalg.lstsq, which takes its arguments in the other order and returns no QR factorization",
    "solve": "linalg.solve, which takes its arguments in the other order and returns no LU factorization",
    "matrix_rank": "linalg.matrix_rank, whose argument is called hermitian, not symmetric",
}


def _removed(name, instead):
    def removed(input, *args, **kwargs):
        raise RuntimeError(f"This function was deprecated since version 1.9 and is now removed: call numgrad.{instead}.")

    removed.__name__ = removed.__qualname__ = name
    removed.__doc__ = f"Removed: RuntimeError. Call `{instead.split()[0].rstrip(',')}`."
    return function(removed)


eig, symeig, lstsq, solve, matrix_rank = (_removed(name, instead) for name, instead in _INSTEAD.items())
