"""Where tests run: ``--device cuda`` on a GPU, ``--device interpreter`` the same kernels without one."""

import contextlib

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--device", default="cpu", choices=("cpu", "cuda", "interpreter"),
        help="device of the tests that take the fixture `device`; interpreter: CUDA kernels, interpreted on the host",
    )  # fmt: skip


@pytest.fixture
def device(request):
    """The name of the device that tensors of the test are made on."""
    chosen = request.config.getoption("--device")
    with contextlib.ExitStack() as stack:
        if chosen == "interpreter":
            from numgrad.kernels.cuda import memory, simulation

            stack.enter_context(memory.using(simulation.Machine()))
        elif chosen == "cuda":
            from numgrad import cuda

            cuda.init()
        yield "cpu" if chosen == "cpu" else "cuda"
