"""``python -m numgrad warmup``: the usual kernels, compiled into the cache by several processes at once."""

import concurrent.futures
import multiprocessing
import sys
import time
from collections.abc import Sequence

from . import autograd, config, dtypes, nn, optim, testing
from .kernels import callers
from .op import OPS
from .ops import random

USUAL = (
    "add", "sub", "mul", "div", "neg", "pow", "square", "sqrt", "abs", "exp", "log", "maximum", "where", "eq", "lt",
    "gt", "relu", "gelu", "silu", "sigmoid", "tanh", "leaky_relu", "sum", "mean", "var", "amax",
    "softmax_rows", "log_softmax_rows", "cross_entropy_rows", "layer_norm_rows", "rms_norm_rows",
)  # fmt: skip


def run(jobs: int, only: str = "", dtype_names: Sequence[str] = ("float32",), whole_table: bool = False) -> int:
    """Compile in ``jobs`` processes, in these floating-point dtypes, a training step and the usual ops' kernels.

    With ``whole_table`` or ``only`` the ops are all of the table, or those whose name contains ``only``. Returns an
    exit status: 0, 1 if kernels do not compile, 2 if there is nothing to compile.
    """
    started = time.perf_counter()
    tasks = [name for name in _tasks(whole_table or bool(only)) if only in name]
    if not tasks:
        print(f"warmup: no op's name contains {only!r}", file=sys.stderr)
        return 2
    failures = []
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = {pool.submit(warm, name, dtype_names): name for name in tasks}
        for done in _progress(concurrent.futures.as_completed(running), len(tasks)):
            if done.exception() is not None:
                failures.append(f"{running[done]}: {done.exception()}")
    for failure in failures:
        print(f"warmup: {failure}", file=sys.stderr)
    seconds = time.perf_counter() - started
    done = len(tasks) - len(failures)
    print(f"warmup: {done} of {len(tasks)} in {seconds:.0f} s, into {config.default_cache_folder()}")
    return 1 if failures else 0


def _progress(items, total: int):
    """The items, with a bar on the terminal: tqdm's where it is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is not None:
        yield from tqdm(items, "warmup", total, unit="op", disable=not sys.stderr.isatty())
        return
    for count, item in enumerate(items, 1):
        if sys.stderr.isatty():
            bar = "#" * (40 * count // total)
            print(f"\rwarmup [{bar:.<40}] {count}/{total}", end="", file=sys.stderr, flush=True)
        yield item
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _tasks(whole_table: bool) -> list[str]:
    names = OPS if whole_table else USUAL
    return ["training", "callers", *(name for name in names if testing.cases_for(OPS[name]))]


def warm(name: str, dtype_names: Sequence[str]) -> None:
    """Compile the kernels of one op, forward and backward."""
    if name == "training":
        return _train()
    if name == "callers":
        return _callers()
    op = OPS[name]
    for dtype_name in dtype_names:
        for case in testing.cases_for(op, dtypes.BY_NAME[dtype_name]):
            out = case.run(*case.leaves())
            for result in out if isinstance(out, tuple) else (out,):
                if result.requires_grad:
                    autograd.backward(result, result.detach())


def _callers() -> None:
    """What calls kernels with 1 to 12 operands, serially and over the threads."""
    for count in range(1, 13):
        callers.caller(count)
        callers.caller(count, parts=2)


def _train() -> None:
    """A few training steps of a classifier with each optimizer, and how well it does."""
    x, y = random.randn(512, 64), random.randint(0, 10, (512,))
    for optimizer in (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad):
        model = nn.Sequential(
            nn.Linear(64, 128), nn.LayerNorm(128), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
        steps = optimizer(model.parameters(), lr=0.01)
        for batch in random.randperm(512).split(256):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            steps.zero_grad()
            loss.backward()
            steps.step()
            loss.item()
        with autograd.no_grad():
            (model.eval()(x).argmax(dim=1) == y).float().mean().item()
