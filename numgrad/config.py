"""Process-wide settings: threads, the cache folder, defaults. Read once, settable."""

import atexit
import os
import shutil
import stat
import sys
import tempfile
import warnings
from pathlib import Path

_warned: set[str] = set()


def warn_once(message: str, category=UserWarning, stacklevel: int = 3) -> None:
    """Issue ``message`` as a warning, once in this process."""
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, category, stacklevel=stacklevel)


# --- the cache folder ------------------------------------------------------------------------------------------

_cache_folder: Path | None = None


def default_cache_folder() -> Path:
    """``NUMGRAD_CACHE_DIR``, else the user's cache folder (not created here)."""
    chosen = os.environ.get("NUMGRAD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        home = os.path.expanduser("~")
        if sys.platform == "darwin":
            base = os.path.join(home, "Library", "Caches")
        elif os.name == "nt":
            base = os.environ.get("LOCALAPPDATA", os.path.join(home, "AppData", "Local"))
        else:
            base = os.path.join(home, ".cache")
    return Path(base) / "numgrad"


def cache_folder() -> Path:
    """The folder that holds emitted kernels and compiled code; made on first use, mode 0700, owned by the user.

    Compiled code in it is executed, so a folder that others may write is refused. One that the user may only read
    serves as far as it goes. Where there is none and none can be made (no home directory, a full disk), a private temporary
    one serves this process, with one warning, and is removed at exit.
    """
    global _cache_folder
    if _cache_folder is None:
        folder = default_cache_folder()
        try:
            _cache_folder = _private_folder(folder)
        except OSError as error:
            _cache_folder = _temporary_folder()
            warn_once(
                f"numgrad cannot use the cache folder {folder} ({error.strerror or error}); kernels are kept in "
                f"{_cache_folder} for this process only. Set NUMGRAD_CACHE_DIR to a writable folder of your own."
            )
    return _cache_folder


def _private_folder(folder: Path) -> Path:
    if not folder.is_absolute():
        folder = Path.cwd() / folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid"):
        status = folder.stat()
        if status.st_uid not in (os.getuid(), 0):  # the superuser needs no folder to run code of theirs
            raise PermissionError(None, "it belongs to another user")
        if stat.S_IMODE(status.st_mode) & 0o022:
            raise PermissionError(None, "others may write to it")
    with os.scandir(folder) as entries:  # that it can be read
        next(entries, None)
    return folder


def _temporary_folder() -> Path:
    folder, owner = Path(tempfile.mkdtemp(prefix="numgrad-")), os.getpid()

    def remove():
        if os.getpid() == owner:  # not in a forked child, which shares it
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


# --- threads ---------------------------------------------------------------------------------------------------


def _initial_threads() -> int:
    for name in ("NUMGRAD_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_on_change: list = []  # called when the number of threads or the default dtype changes: plans depend on them


def set_num_threads(count: int) -> None:
    """Use ``count`` threads in kernels from now on."""
    global threads
    if not isinstance(count, int) or count < 1:
        raise RuntimeError(f"set_num_threads: expected a positive integer, got {count!r}")
    threads = count
    for notify in _on_change:
        notify()


def get_num_threads() -> int:
    """The number of threads that kernels use."""
    return threads


threads = _initial_threads()
forked = False  # set in a child after fork: Numba's threads do not survive it, kernels run serially


def _after_fork():
    global forked
    forked = True
    for notify in _on_change:
        notify()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

device_seed: int | None = None  # the last one given for all devices, for those that are used later
on_seed: list = []  # called with a seed for all devices


def seed_devices(seed: int) -> None:
    """Start the random streams of all devices but the CPU at ``seed``, of those that are used later too."""
    global device_seed
    device_seed = seed
    for start in on_seed:
        start(seed)
