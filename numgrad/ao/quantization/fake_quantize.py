"""Modules that observe what passes and quantize it with what they observed, in floating point."""

from abc import ABC, abstractmethod
from typing import Any

from ...dtypes import float32, iinfo, int32, int64, qint8, quint8, uint8
from ...nn import Module
from ...ops.create import tensor
from ...ops.fake_quantize import (
    fake_quantize_per_channel_affine,
    fake_quantize_per_tensor_affine,
    fused_moving_avg_obs_fake_quant,
)
from ...qscheme import per_channel_affine_float_qparams, per_channel_symmetric, per_tensor_affine, per_tensor_symmetric
from ...tensor import Tensor
from .histogram import HistogramObserver
from .observer import (
    FixedQParamsObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    _with_args,
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_observer,
)


class FakeQuantizeBase(Module, ABC):
    """The base of modules that quantize in floating point. The buffers ``fake_quant_enabled`` and ``observer_enabled``
    (one element each, 0 or 1) say what is done."""

    fake_quant_enabled: Tensor
    observer_enabled: Tensor
    _switch_dtype: Any = uint8

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fake_quant_enabled", tensor([1], dtype=self._switch_dtype))
        self.register_buffer("observer_enabled", tensor([1], dtype=self._switch_dtype))

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def calculate_qparams(self, **kwargs: Any) -> Any: ...

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Quantize from now on, or do not."""
        self.fake_quant_enabled[0] = 1 if enabled else 0

    def disable_fake_quant(self) -> None:
        """Let values pass as they are."""
        self.enable_fake_quant(False)

    def enable_observer(self, enabled: bool = True) -> None:
        """Observe from now on, or keep scale and zero point."""
        self.observer_enabled[0] = 1 if enabled else 0

    def disable_observer(self) -> None:
        """Keep scale and zero point as they are."""
        self.enable_observer(False)

    with_args = classmethod(_with_args)


class FakeQuantize(FakeQuantizeBase):
    """What ``observer`` chooses for the values that pass is used for them at once: they are rounded to the multiples of
    ``scale``, of which ``quant_max - quant_min + 1`` are to be had.

    ``activation_post_process`` is the observer, made with ``observer_kwargs``; ``scale`` and ``zero_point`` are buffers,
    one element or one a channel. Raises AssertionError where the numbers are none of the observer's dtype.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self, observer: Any = MovingAverageMinMaxObserver, quant_min: int | None = None, quant_max: int | None = None,
        is_dynamic: bool = False, **observer_kwargs: Any,
    ):  # fmt: skip
        super().__init__()
        if quant_min is not None and quant_max is not None:
            if quant_min > quant_max:
                raise AssertionError(f"quant_min must be less than or equal to quant_max, got {quant_min} and {quant_max}")
            known = getattr(getattr(observer, "p", None), "keywords", {})
            dtype = known.get("dtype", observer_kwargs.get("dtype", quint8))
            for name, value in (("quant_min", quant_min), ("quant_max", quant_max)):
                if not iinfo(dtype).min <= value <= iinfo(dtype).max:
                    raise AssertionError(f"{name} out of bound: {value} is no {dtype!r}")
            observer_kwargs.update(quant_min=quant_min, quant_max=quant_max)
        self.activation_post_process = made = observer(**observer_kwargs, is_dynamic=is_dynamic)
        self.quant_min, self.quant_max, self.is_dynamic = made.quant_min, made.quant_max, made.is_dynamic
        self.dtype, self.qscheme, self.ch_axis = made.dtype, made.qscheme, getattr(made, "ch_axis", -1)
        self.is_per_channel = self.qscheme.per_channel
        self.register_buffer("scale", tensor([1.0], dtype=float32))
        self.register_buffer("zero_point", tensor([0], dtype=float32 if self.qscheme.float_zero_point else int32))

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """(scale, zero_point) that the observer chooses now."""
        return self.activation_post_process.calculate_qparams()

    def _note(self, scale: Tensor, zero_point: Tensor) -> None:
        self.scale.resize_(scale.shape).copy_(scale)
        self.zero_point.resize_(zero_point.shape).copy_(zero_point)

    def forward(self, X: Tensor) -> Tensor:
        if self.observer_enabled.item() == 1:
            self.activation_post_process(X.detach())
            self._note(*self.calculate_qparams())
        if self.fake_quant_enabled.item() != 1:
            return X
        low, high = self.activation_post_process.quant_min, self.activation_post_process.quant_max
        if self.is_per_channel:
            return fake_quantize_per_channel_affine(X, self.scale, self.zero_point, self.ch_axis, low, high)
        return fake_quantize_per_tensor_affine(X, self.scale, self.zero_point, low, high)

    def _described(self, *names: str) -> str:
        values = {**{name: getattr(self, name) for name in ("dtype", "qscheme", "ch_axis", "scale", "zero_point")},
                  **{name: getattr(self.activation_post_process, name, None) for name in ("quant_min", "quant_max", "reduce_range")}}  # fmt: skip
        switches = f"fake_quant_enabled={self.fake_quant_enabled}, observer_enabled={self.observer_enabled}"
        return ", ".join([switches, *(f"{name}={values[name]}" for name in names)])

    def extra_repr(self) -> str:
        return self._described("quant_min", "quant_max", "dtype", "qscheme", "ch_axis", "scale", "zero_point")

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        for name in ("scale", "zero_point"):
            if prefix + name in state_dict:
                getattr(self, name).resize_(state_dict[prefix + name].shape)  # the number of channels is known now
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )  # fmt: skip


class FixedQParamsFakeQuantize(FakeQuantize):
    """Quantizes with the scale and the zero point of a `FixedQParamsObserver`. AssertionError for other observers."""

    def __init__(self, observer: Any):
        super().__init__(observer=observer)
        made = self.activation_post_process
        if type(made) is not FixedQParamsObserver:
            raise AssertionError(f"FixedQParamsFakeQuantize: expected a FixedQParamsObserver, got {type(made).__name__}")
        if self.is_per_channel:
            raise AssertionError(f"FixedQParamsFakeQuantize: expected a scheme per tensor, got {self.qscheme!r}")
        self._observer_ctr = observer
        self.scale, self.zero_point = made.scale, made.zero_point

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """The (scale, zero_point) that were given."""
        return self.scale, self.zero_point

    def _note(self, scale: Tensor, zero_point: Tensor) -> None:
        pass

    def extra_repr(self) -> str:
        return self._described("scale", "zero_point", "dtype", "quant_min", "quant_max", "qscheme")


class FusedMovingAvgObsFakeQuantize(FakeQuantize):
    """`FakeQuantize` with a moving average, as one function: `fused_moving_avg_obs_fake_quant`. AssertionError for
    observers without one."""

    _switch_dtype = int64

    def __init__(
        self, observer: Any = MovingAverageMinMaxObserver, quant_min: int = 0, quant_max: int = 255, **observer_kwargs: Any
    ):
        super().__init__(observer, quant_min, quant_max, **observer_kwargs)
        made = self.activation_post_process
        if not isinstance(made, (MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver)):
            raise AssertionError(
                "FusedMovingAvgObsFakeQuantize: expected a MovingAverageMinMaxObserver or a MovingAveragePerChannelMinMaxObserver, "
                f"got {type(made).__name__}; use FakeQuantize"
            )
        self.is_symmetric_quant = self.qscheme.symmetric

    def forward(self, X: Tensor) -> Tensor:
        made = self.activation_post_process
        return fused_moving_avg_obs_fake_quant(
            X, self.observer_enabled, self.fake_quant_enabled, made.min_val, made.max_val, self.scale, self.zero_point,
            made.averaging_constant, made.quant_min, made.quant_max, self.ch_axis, self.is_per_channel, self.is_symmetric_quant,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return self._described("scale", "zero_point", "dtype", "quant_min", "quant_max", "qscheme", "reduce_range")


def disable_fake_quant(mod: Module) -> None:
    """Let values pass as they are if ``mod`` is a `FakeQuantizeBase`: ``model.apply(disable_fake_quant)``."""
    if isinstance(mod, FakeQuantizeBase):
        mod.disable_fake_quant()


def enable_fake_quant(mod: Module) -> None:
    """Quantize if ``mod`` is a `FakeQuantizeBase`: ``model.apply(enable_fake_quant)``."""
    if isinstance(mod, FakeQuantizeBase):
        mod.enable_fake_quant()


def disable_observer(mod: Module) -> None:
    """Keep scale and zero point if ``mod`` is a `FakeQuantizeBase`: ``model.apply(disable_observer)``."""
    if isinstance(mod, FakeQuantizeBase):
        mod.disable_observer()


def enable_observer(mod: Module) -> None:
    """Observe if ``mod`` is a `FakeQuantizeBase`: ``model.apply(enable_observer)``."""
    if isinstance(mod, FakeQuantizeBase):
        mod.enable_observer()


_AVERAGE, _CHANNEL_AVERAGE = MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
_ACTIVATION = {"quant_min": 0, "quant_max": 255, "dtype": quint8}
_WEIGHT = {"quant_min": -128, "quant_max": 127, "dtype": qint8}
_EVEN_WEIGHT = {"quant_min": -127, "quant_max": 127, "dtype": qint8}

default_fake_quant = FakeQuantize.with_args(observer=_AVERAGE, **_ACTIVATION, qscheme=per_tensor_affine, reduce_range=True)
default_weight_fake_quant = FakeQuantize.with_args(
    observer=_AVERAGE, **_WEIGHT, qscheme=per_tensor_symmetric, reduce_range=False
)
default_dynamic_fake_quant = FakeQuantize.with_args(
    observer=_AVERAGE, quant_min=0, quant_max=255, is_dynamic=True, dtype=quint8, averaging_constant=1
)
default_fixed_qparams_range_neg1to1_fake_quant = FixedQParamsFakeQuantize.with_args(
    observer=default_fixed_qparams_range_neg1to1_observer
)
default_fixed_qparams_range_0to1_fake_quant = FixedQParamsFakeQuantize.with_args(
    observer=default_fixed_qparams_range_0to1_observer
)
default_per_channel_weight_fake_quant = FakeQuantize.with_args(
    observer=_CHANNEL_AVERAGE, **_WEIGHT, qscheme=per_channel_symmetric, reduce_range=False, ch_axis=0
)
default_embedding_fake_quant = FakeQuantize.with_args(
    observer=_CHANNEL_AVERAGE, qscheme=per_channel_affine_float_qparams, dtype=quint8, quant_min=0, quant_max=255, ch_axis=0,
    averaging_constant=1,
)
default_histogram_fake_quant = FakeQuantize.with_args(
    observer=HistogramObserver, **_ACTIVATION, qscheme=per_tensor_affine, reduce_range=True
)
default_fused_act_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(observer=_AVERAGE, **_ACTIVATION)
default_fused_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    observer=_AVERAGE, **_WEIGHT, qscheme=per_tensor_symmetric
)
default_fused_per_channel_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    observer=_CHANNEL_AVERAGE, **_WEIGHT, qscheme=per_channel_symmetric
)
fused_wt_fake_quant_range_neg_127_to_127 = FusedMovingAvgObsFakeQuantize.with_args(
    observer=_AVERAGE, **_EVEN_WEIGHT, qscheme=per_tensor_symmetric, eps=2**-12
)
fused_per_channel_wt_fake_quant_range_neg_127_to_127 = FusedMovingAvgObsFakeQuantize.with_args(
    observer=_CHANNEL_AVERAGE, **_EVEN_WEIGHT, qscheme=per_channel_symmetric, eps=2**-12
)
