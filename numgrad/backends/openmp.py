"""OpenMP, on which Numba's threads may run."""


def is_available() -> bool:
    """Whether Numba was built with OpenMP."""
    from ..kernels import machine

    return "omp" in machine.threading_layer()["loadable"]
