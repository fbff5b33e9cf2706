"""Weights from the net, as ``torch.hub``; programs from it are not run."""

import hashlib
import os
import re
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from .errors import FileError
from .io import load as _load
from .serialization.files import MapLocation

_HASH = re.compile(r"-([a-f0-9]{8,})\.")
_folder: str | None = None


def get_dir() -> str:
    """The folder for downloads: `set_dir`'s, else ``$TORCH_HOME/hub``, else ``hub`` in torch's cache folder."""
    if _folder is not None:
        return _folder
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))
    return os.path.join(home, "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Make ``d`` the folder for downloads."""
    global _folder
    _folder = os.path.expanduser(d)


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Download ``url`` to the file ``dst``, which appears once it is whole. ``hash_prefix``: how its SHA-256 begins."""
    target = Path(os.path.expanduser(dst))
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "numgrad"})
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(request) as source:
            while block := source.read(1 << 20):
                digest.update(block)
                file.write(block)
        if hash_prefix and not digest.hexdigest().startswith(hash_prefix):
            raise FileError(
                f"download_url_to_file: {url} has the SHA-256 {digest.hexdigest()}, expected one that begins with "
                f"{hash_prefix}; download it again"
            )
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: MapLocation = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """`numgrad.load` of a file that is downloaded once, into ``model_dir`` (by default ``checkpoints`` in `get_dir`).

    ``check_hash``: the file's name holds the beginning of its SHA-256, as in ``resnet18-f37072fd.pth``; check it.
    """
    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(folder, exist_ok=True)
    name = file_name or os.path.basename(urllib.parse.urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        found = _HASH.search(name) if check_hash else None
        download_url_to_file(url, path, found[1] if found else None, progress)
    return _load(path, map_location)


def _refuse(name: str, repository: Any):
    raise RuntimeError(
        f"hub.{name}: {repository!r} is a program written for PyTorch, which numgrad does not fetch and run; copy the model's "
        "code into yours, and get the weights with hub.load_state_dict_from_url"
    )


def load(repo_or_dir: str, model: str, *args: Any, **kwargs: Any) -> Any:
    """Refused with a RuntimeError: it would run programs from the net."""
    _refuse("load", repo_or_dir)


def list(github: str, *args: Any, **kwargs: Any) -> Any:
    """Refused with a RuntimeError: it would run programs from the net."""
    _refuse("list", github)


def help(github: str, model: str, *args: Any, **kwargs: Any) -> Any:
    """Refused with a RuntimeError: it would run programs from the net."""
    _refuse("help", github)
