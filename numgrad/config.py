"""Process-wide settings: threads, the cache folder, defaults. Read once, settable."""

import atexit
import numbers
import os
import shutil
import stat
import sys
import tempfile
import warnings
from pathlib import Path

from . import cpus, forks

_warned: set[str] = set()
_always = False


def warn_always(b: bool, /) -> None:
    """Whether warnings that are issued once in a process are issued every time (``set_warn_always``)."""
    global _always
    _always = bool(b)


def warnings_always() -> bool:
    """What `warn_always` was given last."""
    return _always


def warn_once(message: str, category=UserWarning, stacklevel: int = 3) -> None:
    """Issue ``message`` as a warning, once in this process."""
    if _always or message not in _warned:
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


_VARIABLES = "NUMGRAD_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"


def initial_threads() -> tuple[int, str]:
    """(number of threads at first, where it comes from).

    The first that is set of ``NUMGRAD_NUM_THREADS``, ``OMP_NUM_THREADS``, ``MKL_NUM_THREADS`` and ``NUMBA_NUM_THREADS``,
    else the processors that the affinity and the cgroup quota leave to this process. ``NUMBA_NUM_THREADS`` is the size of
    Numba's pool, in which kernels run: it is a limit for the others.
    """
    given = {name: count for name in _VARIABLES if (count := _variable(name)) is not None}
    source, count = next(iter(given.items()), (None, 0))
    if source is None:
        return cpus.available()
    pool = given.get("NUMBA_NUM_THREADS", count)
    if pool < count:
        return pool, f"NUMBA_NUM_THREADS, the size of Numba's pool; {source} asks for {count}"
    return count, source


def _variable(name: str) -> int | None:
    """The number of threads in an environment variable, the first of OpenMP's list of them; None if it holds none."""
    text = os.environ.get(name, "").strip()
    first = text.split(",")[0].strip()
    if first.isdecimal() and 0 < int(first) <= _MOST_THREADS:
        return int(first)
    if text:
        warn_once(f"{name}: expected a positive number of threads, got {text!r}; it is ignored", stacklevel=2)
    return None


_on_change: list = []  # called when the number of threads or the default dtype changes: plans depend on them
_MOST_THREADS = 2**31 - 1


def number_of_threads(op: str, count) -> int:
    """``count`` as an int, if it is a number of threads: a positive integer, no bool. RuntimeError if it is not,
    ValueError if it is one that no machine has."""
    if isinstance(count, bool) or not isinstance(count, numbers.Integral):
        raise RuntimeError(f"{op} expects an int, but got {type(count).__name__}: {count!r}")
    count = int(count)
    if count < 1:
        raise RuntimeError(f"{op} expects a positive integer, but got {count}")
    if count > _MOST_THREADS:
        raise ValueError(f"{op} expects at most {_MOST_THREADS} threads, but got {count}")
    return count


def set_num_threads(count: int) -> None:
    """Use ``count`` threads in kernels from now on: a positive integer. Numba's pool, in which they run, has as many as
    ``NUMBA_NUM_THREADS`` says, by default one for each processor; results do not depend on the number.

    Raises RuntimeError for what is no number of threads, ValueError for one beyond 2**31 - 1.
    """
    global threads, threads_from
    threads = number_of_threads("set_num_threads", count)
    threads_from = "set_num_threads"
    for notify in _on_change:
        notify()


def get_num_threads() -> int:
    """The number of threads that kernels use. In a process made by fork they run on one, whatever it is set to."""
    return threads


def usable_threads() -> int:
    """The number of threads that work may be split over here and now: in a process made by fork one, since the threads
    of the pools, Numba's and BLAS's, are not in it."""
    return 1 if forks.forked else threads


threads, threads_from = initial_threads()

device_seed: int | None = None  # the last one given for all devices, for those that are used later
on_seed: list = []  # called with a seed for all devices


def seed_devices(seed: int) -> None:
    """Start the random streams of all devices but the CPU at ``seed``, of those that are used later too."""
    global device_seed
    device_seed = seed
    for start in on_seed:
        start(seed)
