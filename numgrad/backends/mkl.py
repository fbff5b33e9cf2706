"""MKL, Intel's BLAS."""


def is_available() -> bool:
    """Whether products are MKL's: the ``mkl`` wheel is installed and not put aside by ``NUMGRAD_BLAS``."""
    from ..kernels import blas

    return blas.info()["library"] == "mkl"
