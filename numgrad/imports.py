"""`as_torch`: scripts that say ``import torch`` get numgrad."""

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

_OURS = __name__.rpartition(".")[0]


class _Loader(importlib.abc.Loader):
    """Loads ``torch.x`` by putting the module ``numgrad.x`` in its place."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__spec__.name  # type: ignore[union-attr]
        own = _OURS + name.removeprefix("torch")
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
        if fullname == "torch" or fullname.startswith("torch."):
            return importlib.machinery.ModuleSpec(fullname, _Loader(), is_package=True)
        return None


_finder = _Finder()
_depth = 0


def _named_torch() -> list[str]:
    return [name for name in sys.modules if name == "torch" or name.startswith("torch.")]


class _Alias:
    """What `as_torch` returns: as a context it ends the alias at the end of the block."""

    def __enter__(self) -> ModuleType:
        return sys.modules[_OURS]

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
    what was imported in it stays numgrad's. Modules that numgrad does not have raise ModuleNotFoundError: nothing falls
    back to PyTorch. Raises ImportError if PyTorch itself was imported before, since objects of the two would mix.
    """
    global _depth
    known = sys.modules.get("torch")
    if known is not None and known is not sys.modules[_OURS]:
        raise ImportError(
            f"as_torch: PyTorch is imported already, from {getattr(known, '__file__', 'an unknown place')}; call "
            "numgrad.as_torch() before anything imports torch, or import numgrad under its own name"
        )
    if _depth == 0:
        sys.meta_path.insert(0, _finder)
    _depth += 1
    importlib.import_module("torch")
    return _Alias()
