"""Mixed precision with the device type "cuda" filled in, as ``torch.cuda.amp``."""

import functools

from .. import dtypes
from . import autocast_mode, grad_scaler


class autocast(autocast_mode.autocast):
    """`numgrad.amp.autocast` for "cuda"."""

    def __init__(self, enabled: bool = True, dtype: dtypes.dtype = dtypes.float16, cache_enabled: bool = True):
        autocast_mode.warn_of_path("cuda", "autocast")
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(grad_scaler.GradScaler):
    """`numgrad.amp.GradScaler` for "cuda"."""

    def __init__(self, init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000, enabled: bool = True):  # fmt: skip
        autocast_mode.warn_of_path("cuda", "GradScaler")
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


custom_fwd = functools.partial(autocast_mode.custom_fwd, device_type="cuda")
custom_bwd = functools.partial(autocast_mode.custom_bwd, device_type="cuda")
