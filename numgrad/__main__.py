"""The command line: ``python -m numgrad info | warmup | cache``."""

import argparse
import concurrent.futures
import importlib.metadata
import json
import multiprocessing
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import config

_PACKAGES = (
    "numba", "llvmlite", "numpy", "scipy", "safetensors", "mkl", "numba-cuda", "cuda-core", "nvmath-python",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m numgrad", description="What numgrad runs on and has compiled.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("info", help="versions, CPU, threads, BLAS, CUDA and the cache folder")
    command.add_argument("--json", action="store_true", help="as JSON")
    command = commands.add_parser("warmup", help="compile the usual kernels into the cache, in parallel processes")
    command.add_argument("--jobs", type=int, default=config.get_num_threads(), help="processes (default: threads)")
    command.add_argument("--only", default="", metavar="TEXT", help="only ops whose name contains TEXT")
    command = commands.add_parser("cache", help="where the compiled kernels are and how much room they take")
    command.add_argument("--clear", action="store_true", help="remove them")
    options = parser.parse_args(arguments)
    if options.command == "info":
        return _info(options.json)
    if options.command == "warmup":
        return _warmup(max(1, options.jobs), options.only)
    return _cache(options.clear)


# --- info ------------------------------------------------------------------------------------------------------


def information() -> dict[str, Any]:
    """What ``info --json`` prints."""
    from .kernels import machine

    folder = config.default_cache_folder()
    files = list(_cache_files(folder))
    return {
        "versions": {"numgrad": _version("numgrad"), "python": platform.python_version()}
        | {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": machine.cpu(),
        "threads": {"count": config.get_num_threads(), **machine.threading_layer()},
        "blas": machine.blas_library(),
        "cuda": machine.cuda(),
        "cache": {
            "folder": str(folder),
            "exists": folder.is_dir(),
            "files": len(files),
            "bytes": sum(path.stat().st_size for path in files),
        },
    }


def _version(name: str) -> str | None:
    if name == "numgrad":
        from . import __version__

        return __version__
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _info(as_json: bool) -> int:
    found = information()
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    versions, cpu, threads, blas, cuda, cache = (
        found[name] for name in ("versions", "cpu", "threads", "blas", "cuda", "cache")
    )
    rows = [(name, version or "not installed") for name, version in versions.items()]
    rows.append(("platform", found["platform"]))
    rows.append(("cpu", f"{cpu['name']}, {cpu['cores']} cores, {' '.join(cpu['features'])}"))
    layers = ", ".join(threads["loadable"])
    rows.append(("threads", f"{threads['count']}, layer {threads['layer']} (loadable: {layers})"))
    rows.append(("blas", f"{blas['library']} {blas['version']}, {blas['path']}"))
    if cuda["available"]:
        devices = "; ".join(f"{d['name']} (sm {d['capability']}, {_size(d['bytes'])})" for d in cuda["devices"])
        rows.append(("cuda", f"{cuda['driver']}, {devices}"))
    else:
        rows.append(("cuda", f"not available: {cuda.get('reason', 'no device')}"))
    rows.append(("cache", f"{cache['folder']}, {cache['files']} files, {_size(cache['bytes'])}"))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    return 0


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


# --- cache -----------------------------------------------------------------------------------------------------


def _cache_files(folder: Path) -> Iterator[Path]:
    """The files in the folder that numgrad made; others are not ours to count or remove."""
    for place in (folder, folder / "__pycache__"):
        if place.is_dir():
            yield from (path for path in place.glob("numgrad_*") if path.is_file())


def _cache(clear: bool) -> int:
    folder = config.default_cache_folder()
    files = list(_cache_files(folder))
    size = sum(path.stat().st_size for path in files)
    if clear:
        for path in files:
            path.unlink(missing_ok=True)
    print(f"{folder}: {'removed ' if clear else ''}{len(files)} files, {_size(size)}")
    return 0


# --- warmup ----------------------------------------------------------------------------------------------------


def _warmup(jobs: int, only: str) -> int:
    started = time.perf_counter()
    tasks = [name for name in _tasks() if only in name]
    if not tasks:
        print(f"warmup: no op's name contains {only!r}", file=sys.stderr)
        return 2
    failures = []
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = {pool.submit(warm, name): name for name in tasks}
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


def _tasks() -> list[str]:
    from . import testing  # which imports all ops
    from .op import OPS

    return ["training", "callers", *(name for name, op in OPS.items() if testing.cases_for(op))]


def warm(name: str) -> None:
    """Compile the kernels of one op, forward and backward, in the dtypes that models use."""
    if name == "training":
        return _train()
    if name == "callers":
        return _callers()
    from . import autograd, dtypes, testing
    from .op import OPS

    op = OPS[name]
    floats = "f" not in getattr(op, "refuse", "")
    for dtype in (dtypes.float32, dtypes.float64) if floats else (dtypes.int64, dtypes.bool_):
        for case in testing.cases_for(op, dtype):
            for tensor in case.inputs:
                if op.gradient is not None and tensor.is_floating_point():
                    tensor.requires_grad_()
            out = case.run()
            for result in out if isinstance(out, tuple) else (out,):
                if result.requires_grad:
                    autograd.backward(result, result.detach())


def _callers() -> None:
    """What calls kernels with 1 to 9 operands, serially and over the threads."""
    from .kernels import jit

    for count in range(1, 10):
        jit.caller(count)
        jit.caller(count, parallel=True)


def _train() -> None:
    """A few training steps of a small classifier with each optimizer."""
    import numgrad as ng
    from numgrad import nn

    for optimizer in (ng.optim.SGD, ng.optim.Adam, ng.optim.AdamW, ng.optim.RMSprop, ng.optim.Adagrad):
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        steps = optimizer(model.parameters(), lr=0.01)
        for _ in range(2):
            loss = nn.functional.cross_entropy(model(ng.randn(32, 8)), ng.randint(0, 4, (32,)))
            steps.zero_grad()
            loss.backward()
            steps.step()


if __name__ == "__main__":
    sys.exit(main())
