"""The command line: ``python -m numgrad info | warmup | cache``."""

import argparse
import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import config

_PACKAGES = (
    "numba", "llvmlite", "numpy", "scipy", "mkl", "numba-cuda", "cuda-core", "nvmath-python",
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
    command.add_argument("--all", action="store_true", help="all ops of the table, not only the usual ones")
    command.add_argument("--dtype", nargs="+", default=["float32"], choices=["float32", "float64"])
    command = commands.add_parser("cache", help="where the compiled kernels are and how much room they take")
    command.add_argument("--clear", action="store_true", help="remove them")
    options = parser.parse_args(arguments)
    if options.command == "info":
        return _info(options.json)
    if options.command == "warmup":
        from . import warmup

        return warmup.run(max(1, options.jobs), options.only, options.dtype, options.all)
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
        "threads": {"count": config.get_num_threads(), "from": config.threads_from, **machine.threading_layer()},
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
    rows.append(("threads", f"{threads['count']} (from: {threads['from']}), Numba's pool has {threads['pool']}"))
    rows.append(("layer", f"{threads['layer']} (loadable: {layers})"))
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


def _size(count: float) -> str:
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


if __name__ == "__main__":
    sys.exit(main())
