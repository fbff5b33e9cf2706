"""`as_torch`: scripts that say ``import torch`` get numgrad, under the name and the version that they know."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
from types import ModuleType
from typing import Any

from .torch_version import __version__ as _version

_OURS = __name__.rpartition(".")[0]
_VERSIONED = ("torch", "torch.version", "torch.torch_version")


class _Named(ModuleType):
    """A module of numgrad's under PyTorch's name, with the version of PyTorch whose behaviour is kept: packages compare it."""

    def __init__(self, name: str, own: ModuleType):
        super().__init__(name, own.__doc__)
        self.__dict__.update({key: value for key, value in vars(own).items() if not key.startswith("__") or key == "__all__"})
        self.__dict__.update(__version__=_version, __file__=own.__file__, _own=own)

    def __getattr__(self, name: str) -> Any:  # what numgrad makes on first use
        try:
            return getattr(self.__dict__["_own"], name)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

    def __dir__(self):
        return sorted({*dir(self._own), *self.__dict__})


class _Distribution(importlib.metadata.Distribution):
    """What ``importlib.metadata.version("torch")`` asks."""

    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: torch\nVersion: {_version}\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(f"numgrad stands for torch here, and has no file {path} of it")


class _Loader(importlib.abc.Loader):
    """Loads ``torch.x`` by putting the module ``numgrad.x`` in its place."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        if spec.name in _VERSIONED:
            return _Named(spec.name, importlib.import_module(_OURS + spec.name.removeprefix("torch")))
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__spec__.name  # type: ignore[union-attr]
        if name in _VERSIONED:
            return
        own = f"{_OURS}.{name}" if name.startswith("functorch") else _OURS + name.removeprefix("torch")
        try:
            sys.modules[name] = importlib.import_module(own)
        except ModuleNotFoundError as error:
            if error.name is None or not own.startswith(error.name):
                raise
            raise ModuleNotFoundError(
                f"numgrad stands for torch here (numgrad.as_torch), and has no module {name}", name=name
            ) from None


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if _is_named_torch(fullname):
            return importlib.machinery.ModuleSpec(fullname, _Loader(), is_package=True)
        return None

    def find_distributions(self, context=None):
        return [_Distribution()] if context is not None and context.name == "torch" else []


_finder = _Finder()
_depth = 0


def _is_named_torch(name: str) -> bool:
    """Whether PyTorch brings a module of that name."""
    return name.partition(".")[0] in ("torch", "functorch")


def _named_torch() -> list[str]:
    return [name for name in sys.modules if _is_named_torch(name)]


class _Alias:
    """What `as_torch` returns: as a context it ends the alias at the end of the block."""

    def __enter__(self) -> ModuleType:
        return sys.modules["torch"]

    def __exit__(self, *exception: Any) -> None:
        global _depth
        _depth -= 1
        if _depth == 0:
            sys.meta_path.remove(_finder)
            for name in _named_torch():
                del sys.modules[name]


def as_torch() -> _Alias:
    """From now on ``import torch`` means numgrad, in this process: ``import torch.nn as nn`` and
    ``from torch.utils.data import DataLoader`` give numgrad's modules to scripts that were written for PyTorch.

    Called as a function it stays so; as a context, ``with numgrad.as_torch():``, it lasts until the end of the block, and
    what was imported in it stays numgrad's. The module is called ``torch`` and its ``__version__`` is that of the PyTorch
    whose behaviour is kept, since packages compare it; ``numgrad.__version__`` stays numgrad's. Modules that numgrad does
    not have raise ModuleNotFoundError: nothing falls back to PyTorch. Raises ImportError if PyTorch itself was imported
    before, since objects of the two would mix.
    """
    global _depth
    known = sys.modules.get("torch")
    if known is not None and not isinstance(known, _Named):
        raise ImportError(
            f"as_torch: PyTorch is imported already, from {getattr(known, '__file__', 'an unknown place')}; call "
            "numgrad.as_torch() before anything imports torch, or import numgrad under its own name"
        )
    if _depth == 0:
        sys.meta_path.insert(0, _finder)
    _depth += 1
    importlib.import_module("torch")
    return _Alias()
