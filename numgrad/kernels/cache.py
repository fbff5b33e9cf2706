"""The files of the kernel cache: emitted sources and compiled code, each checked before it is used.

A damaged file, of whatever sort, is as good as none: what it held is made again and written anew. A folder that cannot be
written (full disk, read-only) costs one warning, and time in each process. Files are replaced by renaming, so that
processes which start together see whole ones; times of files play no part.
"""

import contextlib
import hashlib
import itertools
import os
import pickle
import socket
from pathlib import Path

from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from .. import config

_MAGIC = b"numgrad cache 1\n"
_CANNOT_WRITE = "the kernel cache cannot be written; kernels are compiled again in each process"


def keep_source(name: str, text: str) -> Path:
    """Have the emitted source ``text`` in the cache under ``name``, for debuggers and people; return its path."""
    path = config.cache_folder() / name
    data = text.encode()
    if _read(path) != data:
        _write(path, data)
    return path


def read(name: str, key: str) -> bytes | None:
    """The bytes that were kept under ``name`` for ``key``, or None if there are none or they are not what was written."""
    data = _read(config.cache_folder() / name)
    start = len(_MAGIC) + hashlib.sha256().digest_size
    if data is None or data[:start] != _MAGIC + _checksum(key, data[start:]):
        return None
    return data[start:]


def write(name: str, key: str, data: bytes) -> None:
    """Keep ``data`` under ``name`` for ``key``, which names all that it depends on."""
    _write(config.cache_folder() / name, _MAGIC + _checksum(key, data) + data)


def _checksum(key, data):
    return hashlib.sha256(key.encode() + b"\0" + data).digest()


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return None


# --- writing ---------------------------------------------------------------------------------------------------------

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_numbers = itertools.count()
_swept: set[Path] = set()  # folders from which this process has removed what killed ones left


def _write(path, data):
    if path.parent not in _swept:
        _swept.add(path.parent)
        _sweep(path.parent)
    temporary = path.with_name(f"{path.name}.{_HOST}-{os.getpid()}-{next(_numbers)}.tmp")
    try:
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError:
        config.warn_once(_CANNOT_WRITE)


def _sweep(folder):
    """Remove the temporary files of processes of this machine that are no more."""
    for path in folder.glob("numgrad_*.tmp"):
        host, _, rest = path.suffixes[-2].removeprefix(".").partition("-")
        process = rest.partition("-")[0]
        if host == _HOST and process.isdigit() and not _runs(int(process)):
            with contextlib.suppress(OSError):  # another process sweeps too, or the folder is read-only
                path.unlink()


def _runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


# --- Numba's compiled code -------------------------------------------------------------------------------------------


class CompiledCode:
    """What Numba asks of a cache, for a function of an emitted module: one file for each signature and processor.

    The module's name is the key: it ends in the fingerprint of all else that the code depends on.
    """

    cache_path = property(lambda self: str(config.cache_folder()))

    def __init__(self, fn):
        self.module, self.function = fn.__module__, fn.__name__

    def _place(self, signature, codegen):
        key = repr((self.module, self.function, str(signature), codegen.magic_tuple()))
        return f"{self.module}.{hashlib.sha256(key.encode()).hexdigest()[:12]}.nbc", key

    def load_overload(self, signature, target_context):
        """The compile result that was kept for ``signature``, or None."""
        target_context.refresh()
        data = read(*self._place(signature, target_context.codegen()))
        return None if data is None else CompileResult._rebuild(target_context, *pickle.loads(data))

    def save_overload(self, signature, result):
        """Keep a compile result, unless it holds addresses of this process (a large array that a body names)."""
        if not result.library.has_dynamic_globals and all(lifted.can_cache for lifted in result.lifted):
            write(*self._place(signature, result.codegen), dumps(result._reduce()))

    def flush(self):
        """Nothing: there is no index to clear."""
