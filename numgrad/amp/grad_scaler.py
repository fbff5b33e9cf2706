"""Loss scaling: small gradients of float16 are kept from vanishing by a factor that adapts to overflow."""

import warnings

import numpy as np

from ..dtypes import float16
from ..op import ENTRIES
from ..tensor import Tensor, from_array


class GradScaler:
    """Scales losses before backward and gradients back before the optimizer's step.

    A step whose gradients are not all finite is left out and the scale multiplied by ``backoff_factor``; after
    ``growth_interval`` steps in a row without one it is multiplied by ``growth_factor`` (Micikevicius et al. 2018,
    arXiv:1710.03740). With ``enabled=False`` all methods hand their arguments through; so they do for ``device`` "cuda"
    where there is none. ``scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()``. Raises
    AssertionError for factors that do not grow or shrink.
    """

    def __init__(self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
                 backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True):  # fmt: skip
        if enabled and device == "cuda":
            from ..cuda import is_available

            if not is_available():
                warnings.warn("GradScaler for device 'cuda' is enabled, but CUDA is not available. Disabling.", stacklevel=2)
                enabled = False
        self._device, self._enabled = device, enabled
        if enabled and growth_factor <= 1.0:
            raise AssertionError(f"The growth factor must be > 1.0, got {growth_factor}.")
        if enabled and backoff_factor >= 1.0:
            raise AssertionError(f"The backoff factor must be < 1.0, got {backoff_factor}.")
        self._used = False  # something was scaled
        self._scale, self._growth_tracker = float(init_scale), 0
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._optimizers: dict = {}  # id -> [optimizer, found a gradient that is not finite, stepped], since update()

    def scale(self, outputs):
        """A tensor, or an iterable of tensors, times the scale factor."""
        if not self._enabled:
            return outputs
        self._used = True
        if isinstance(outputs, Tensor):
            return outputs * from_array(np.array(self._scale, np.float32))  # a loss of 16 bits becomes one of 32
        if hasattr(outputs, "__iter__"):
            return type(outputs)(self.scale(item) for item in outputs) if type(outputs) in (list, tuple) else map(
                self.scale, outputs
            )  # fmt: skip
        raise ValueError(f"GradScaler.scale: outputs must be a Tensor or an iterable of Tensors, got {type(outputs).__name__}")

    def unscale_(self, optimizer) -> None:
        """Divide the gradients of the optimizer's parameters by the scale factor, once between updates.

        Raises RuntimeError if that or the step was done since the last `update`, ValueError for float16 gradients.
        """
        if not self._enabled:
            return
        self._check_used("unscale_")
        state = self._optimizers.get(id(optimizer))
        if state is not None and state[2]:
            raise RuntimeError("unscale_() is being called after step().")
        if state is not None:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        self._optimizers[id(optimizer)] = [optimizer, self._unscale(optimizer), False]

    def _check_used(self, name):
        if not self._used:
            raise AssertionError(
                f"Attempted {name} but _scale is None. This may indicate your script did not use scaler.scale(loss or "
                "outputs) earlier in the iteration."
            )

    def _unscale(self, optimizer):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if any(gradient.dtype is float16 for gradient in gradients):
            raise ValueError("Attempting to unscale FP16 gradients; keep the parameters in float32")
        found = False if gradients else None  # None: nothing was looked at
        for gradient in gradients:
            plain = gradient.detach()
            found = found or not bool(ENTRIES["isfinite"](plain).all())
            plain.mul_(1.0 / self._scale)
        return found

    def step(self, optimizer, *args, **kwargs):
        """``optimizer.step(*args, **kwargs)`` after `unscale_` (if that was not called), unless a gradient is infinite
        or NaN. Raises RuntimeError at a second call between updates and for closures, AssertionError before `scale` or
        without a gradient."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_used("step")
        state = self._optimizers.get(id(optimizer))
        if state is not None and state[2]:
            raise RuntimeError("step() has already been called since the last update().")
        if state is None:
            self.unscale_(optimizer)
            state = self._optimizers[id(optimizer)]
        if state[1] is None:
            raise AssertionError("No inf checks were recorded for this optimizer: none of its parameters has a gradient.")
        state[2] = True
        return None if state[1] else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale factor after the steps of an iteration, or set it to ``new_scale``."""
        if not self._enabled:
            return
        self._check_used("update")
        if new_scale is not None:
            if isinstance(new_scale, Tensor) and (new_scale.numel() != 1 or new_scale.requires_grad):
                raise ValueError("GradScaler.update: new_scale should be a float or a 1-element tensor without gradient")
            self._scale = float(new_scale)
        else:
            if not self._optimizers:
                raise AssertionError("No inf checks were recorded prior to update.")
            if any(found for _, found, _ in self._optimizers.values()):
                self._scale *= self._backoff_factor
                self._growth_tracker = 0
            else:
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    self._scale *= self._growth_factor
                    self._growth_tracker = 0
        self._optimizers = {}

    def get_scale(self) -> float:
        """The scale factor; 1.0 if disabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """The factor by which the scale grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set the factor by which the scale grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """The factor by which the scale shrinks after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set the factor by which the scale shrinks after an overflow."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """The number of steps in a row without overflow after which the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set the number of steps in a row without overflow after which the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether this scaler does anything."""
        return self._enabled

    def __getstate__(self):
        if self._optimizers:
            raise AssertionError(
                "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                "scaler.update()."
            )
        return self.__dict__

    def state_dict(self) -> dict:
        """Scale, factors, interval and counter; empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale, "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval, "_growth_tracker": self._growth_tracker,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over what `state_dict` gave. Raises RuntimeError for an empty one."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._scale, self._growth_factor = float(state_dict["scale"]), state_dict["growth_factor"]
        self._backoff_factor, self._growth_interval = state_dict["backoff_factor"], state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
