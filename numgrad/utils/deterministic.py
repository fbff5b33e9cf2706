"""``torch.utils.deterministic``: whether `use_deterministic_algorithms` fills memory that is not initialised."""

import sys
import types

from .. import settings


class _Deterministic(types.ModuleType):
    """The module, whose one setting is a property."""

    @property
    def fill_uninitialized_memory(self) -> bool:
        """Whether `empty`, `resize_` and their kin fill new memory with NaN, the largest integer or True while
        `use_deterministic_algorithms` is on: True by default."""
        return settings._fills

    @fill_uninitialized_memory.setter
    def fill_uninitialized_memory(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise RuntimeError(f"fill_uninitialized_memory must be a bool, got {mode!r:.80}")
        settings._set_level(fills=mode)


sys.modules[__name__].__class__ = _Deterministic
