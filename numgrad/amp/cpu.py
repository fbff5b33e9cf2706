"""Mixed precision with the device type "cpu" filled in, as ``torch.cpu.amp``."""

from .. import dtypes
from . import autocast_mode, grad_scaler


class autocast(autocast_mode.autocast):
    """`numgrad.amp.autocast` for "cpu"."""

    def __init__(self, enabled: bool = True, dtype: dtypes.dtype = dtypes.bfloat16, cache_enabled: bool = True):
        autocast_mode.warn_of_path("cpu", "autocast")
        super().__init__("cpu", dtype, enabled, cache_enabled)


class GradScaler(grad_scaler.GradScaler):
    """`numgrad.amp.GradScaler` for "cpu"."""

    def __init__(self, init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000, enabled: bool = True):  # fmt: skip
        autocast_mode.warn_of_path("cpu", "GradScaler")
        super().__init__("cpu", init_scale, growth_factor, backoff_factor, growth_interval, enabled)
