"""Paths of modules that PyTorch has and numgrad keeps elsewhere: ``nn.modules.conv``, ``distributions.normal``.

Nothing is made before it is asked for: an import hook, last in line, makes the module of a path in the table. Modules
are attributes of their packages without an import, as those that PyTorch loads by itself are (`submodules`).
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

_PACKAGE = __name__.rpartition(".")[0]

_LAYERS = (
    "activation", "adaptive", "batchnorm", "channelshuffle", "container", "conv", "distance", "dropout", "flatten", "fold",
    "instancenorm", "lazy", "linear", "loss", "module", "normalization", "padding", "pixelshuffle", "pooling", "rnn", "sparse",
    "transformer", "upsampling",
)  # fmt: skip
_DISTRIBUTIONS = (
    "bernoulli", "beta", "binomial", "categorical", "cauchy", "chi2", "dirichlet", "exp_family", "exponential",
    "fishersnedecor", "generalized_pareto", "geometric", "gumbel", "half_cauchy", "half_normal", "independent",
    "inverse_gamma", "kumaraswamy", "laplace", "lkj_cholesky", "log_normal", "logistic_normal", "lowrank_multivariate_normal",
    "mixture_same_family", "multinomial", "multivariate_normal", "negative_binomial", "normal", "one_hot_categorical",
    "pareto", "poisson", "relaxed_bernoulli", "relaxed_categorical", "studentT", "transformed_distribution", "uniform",
    "von_mises", "weibull", "wishart",
)  # fmt: skip

# path: the modules whose names it has, the first one that has a name counts
PATHS: dict[str, tuple[str, ...]] = {
    "_C": ("overrides", "autograd.internals", "autograd", "settings"),
    "_C._autograd": ("autograd.internals",),
    "_C._functions": ("autograd.internals",),
    "_C._nn": ("nn._convert",),
    "_VF": ("",),
    "_dynamo": ("compiler",),
    "_tensor": ("tensor",),
    "_utils": ("dtypes",),
    "_vmap_internals": ("func",),
    "autograd.anomaly_mode": ("autograd",),
    "cuda.amp": ("amp.cuda",),
    "cuda.amp.autocast_mode": ("amp.cuda",),
    "cuda.amp.common": ("amp.cuda",),
    "cuda.amp.grad_scaler": ("amp.cuda",),
    "cuda.streams": ("cuda",),
    "functional": ("",),
    "nn.modules": ("nn",),
    **{f"nn.modules.{name}": ("nn", f"nn.{name}") for name in _LAYERS},
    "nn.modules.module": ("nn", "nn.module", "nn._hooks"),
    "nn.modules.linear": ("nn", "nn.linear", "nn.attention"),
    "nn.modules.utils": ("nn.sizes", "nn.utils"),
    "nn.common_types": ("nn.sizes",),
    **{f"distributions.{name}": ("distributions",) for name in _DISTRIBUTIONS},
    "utils.hooks": ("nn._hooks",),
    "utils._cxx_pytree": ("func.tree", "func.tree_keys", "func.tree_specs"),
    "utils._pytree": ("func.tree", "func.tree_keys", "func.tree_specs"),
    "utils.data._utils": ("utils.data",),
    "utils.data._utils.collate": ("utils.data.collate",),
    "utils.data._utils.worker": ("utils.data.worker",),
}

# names that are others here
RENAMED = {
    ("_C._nn", "_parse_to"): "parse_to",
    ("_vmap_internals", "_vmap"): "vmap",
    ("nn.modules.conv", "_ConvNd"): "_Conv",
    ("nn.modules.conv", "_ConvTransposeNd"): "_ConvTranspose",
    ("nn.modules.dropout", "_DropoutNd"): "_Dropout",
    ("nn.modules.pooling", "_AdaptiveAvgPoolNd"): "_AdaptiveAvgPool",
    ("nn.modules.pooling", "_AdaptiveMaxPoolNd"): "_AdaptiveMaxPool",
    ("nn.modules.pooling", "_AvgPoolNd"): "_AvgPool",
    ("nn.modules.pooling", "_MaxPoolNd"): "_MaxPool",
    ("nn.modules.transformer", "_get_activation_fn"): "_activation",
    ("nn.modules.transformer", "_get_clones"): "_copies",
    **{
        (f"utils.{path}", name): own
        for path in ("_pytree", "_cxx_pytree")
        for name, own in {
            "PyTreeSpec": "TreeSpec",
            "_broadcast_to_and_flatten": "spread",
            "_register_namedtuple": "register_namedtuple",
            "_register_pytree_node": "register_again",
            "tree_flatten": "flatten",
            "tree_unflatten": "unflatten",
        }.items()
    },
}


def _public(path: str, name: str, value: Any) -> bool:
    layers = path.startswith("nn.modules")  # where PyTorch lists its layers alone
    return not name.startswith("_") and (hasattr(value, "forward") if layers else not isinstance(value, ModuleType))


class Path(ModuleType):
    """The module of a path in `PATHS`: its names are those of other modules, and settings are set there."""

    def _home(self, name: str) -> tuple[ModuleType, str] | None:
        """The module that has ``name``, and the name that it has there."""
        path = self.__name__.removeprefix(f"{_PACKAGE}.")
        wanted = RENAMED.get((path, name), name)
        for source in PATHS[path] if not name.startswith("__") else ():
            try:
                module = importlib.import_module(f"{_PACKAGE}.{source}".rstrip("."))
            except ModuleNotFoundError as error:  # a path without a file of that name
                if error.name != f"{_PACKAGE}.{source}":
                    raise
                continue
            if hasattr(module, wanted):
                return module, wanted
        return None

    def _names(self) -> list[str]:
        """The public names that ``from path import *`` gives."""
        path, found = self.__name__.removeprefix(f"{_PACKAGE}."), {}
        for source in PATHS[path]:
            if importlib.util.find_spec(f"{_PACKAGE}.{source}".rstrip(".")) is not None:
                module = importlib.import_module(f"{_PACKAGE}.{source}".rstrip("."))
                found.update({name: None for name, value in vars(module).items() if _public(path, name, value)})
        return list(found)

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return self._names()
        if f"{self.__name__}.{name}".removeprefix(f"{_PACKAGE}.") in PATHS:
            return importlib.import_module(f"{self.__name__}.{name}")
        home = self._home(name)
        if home is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(*home)

    def __setattr__(self, name: str, value: Any) -> None:
        home = None if name.startswith("__") or isinstance(value, (ModuleType, FunctionType, type)) else self._home(name)
        if home is None:
            super().__setattr__(name, value)
        else:
            setattr(*home, value)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the modules of `PATHS` when they are imported."""

    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.partition(".")
        if package == _PACKAGE and name in PATHS:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return Path(spec.name, f"``{spec.name}``: a path for names that live elsewhere.")

    def exec_module(self, module):
        pass


def submodules(package: str, only_paths: bool = False) -> Callable[[str], ModuleType]:
    """``__getattr__`` of a package: its modules, and those of `PATHS` (or them alone), are imported when they are asked for."""

    def find(name: str) -> ModuleType:
        path = f"{package}.{name}"
        known = path.removeprefix(f"{_PACKAGE}.") in PATHS
        if known or not (only_paths or name.startswith("__")) and importlib.util.find_spec(path) is not None:
            return importlib.import_module(path)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find


def install() -> None:
    """Put the hook at the end of the line of import hooks, once."""
    if not any(isinstance(hook, Finder) for hook in sys.meta_path):
        sys.meta_path.append(Finder())
