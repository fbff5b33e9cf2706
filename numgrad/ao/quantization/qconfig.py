"""`QConfig`: which observers or fake quantizations the values and the weights of a layer get."""

from typing import Any, NamedTuple

from ...dtypes import float16, float32, qint8
from ...nn import Identity, Module
from .fake_quantize import (
    FakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    default_dynamic_fake_quant,
    default_embedding_fake_quant,
    default_fake_quant,
    default_fused_act_fake_quant,
    default_fused_per_channel_wt_fake_quant,
    default_fused_wt_fake_quant,
    default_per_channel_weight_fake_quant,
    default_weight_fake_quant,
    fused_per_channel_wt_fake_quant_range_neg_127_to_127,
    fused_wt_fake_quant_range_neg_127_to_127,
)
from .histogram import HistogramObserver
from .observer import (
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    NoopObserver,
    PlaceholderObserver,
    default_debug_observer,
    default_dynamic_quant_observer,
    default_float_qparams_observer,
    default_observer,
    default_per_channel_weight_observer,
    default_placeholder_observer,
    default_weight_observer,
    per_channel_weight_observer_range_neg_127_to_127,
    weight_observer_range_neg_127_to_127,
)


class _Pair(NamedTuple):
    activation: Any
    weight: Any


class QConfig(_Pair):
    """What is made for a layer: ``activation`` for its result, ``weight`` for its weight.

    Both are called for every layer anew: classes, or makers such as ``MinMaxObserver.with_args(dtype=qint8)``. Raises
    ValueError for modules that exist.
    """

    __slots__ = ()

    def __new__(cls, activation: Any, weight: Any):
        if isinstance(activation, Module) or isinstance(weight, Module):
            raise ValueError(
                "QConfig received observer instance, please pass observer class instead. Use MyObserver.with_args(x=1) to "
                "override arguments to constructor if needed"
            )
        return super().__new__(cls, activation, weight)


default_qconfig = QConfig(activation=default_observer, weight=default_weight_observer)
default_debug_qconfig = QConfig(weight=default_weight_observer, activation=default_debug_observer)
default_per_channel_qconfig = QConfig(activation=default_observer, weight=default_per_channel_weight_observer)
default_dynamic_qconfig = QConfig(activation=default_dynamic_quant_observer, weight=default_weight_observer)
float16_dynamic_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=float16, is_dynamic=True),
    weight=PlaceholderObserver.with_args(dtype=float16),
)
float16_static_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=float16), weight=PlaceholderObserver.with_args(dtype=float16)
)
per_channel_dynamic_qconfig = QConfig(
    activation=default_dynamic_quant_observer, weight=default_per_channel_weight_observer
)
float_qparams_weight_only_qconfig = QConfig(
    activation=default_placeholder_observer, weight=default_float_qparams_observer
)
default_qat_qconfig = QConfig(activation=default_fake_quant, weight=default_weight_fake_quant)
default_dynamic_qat_qconfig = QConfig(activation=default_dynamic_fake_quant, weight=default_weight_fake_quant)
default_weight_only_qconfig = QConfig(activation=Identity, weight=default_weight_fake_quant)
default_activation_only_qconfig = QConfig(activation=default_fake_quant, weight=Identity)
default_qat_qconfig_v2 = QConfig(activation=default_fused_act_fake_quant, weight=default_fused_wt_fake_quant)
default_embedding_qat_qconfig = QConfig(
    activation=NoopObserver.with_args(dtype=float32), weight=default_embedding_fake_quant
)
default_quint8_weight_qconfig = QConfig(activation=HistogramObserver, weight=MinMaxObserver)

_SIGNED = HistogramObserver.with_args(dtype=qint8, reduce_range=False, eps=2**-12)
default_symmetric_qnnpack_qconfig = QConfig(activation=_SIGNED, weight=weight_observer_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qconfig = QConfig(
    activation=_SIGNED, weight=per_channel_weight_observer_range_neg_127_to_127
)
_FUSED_SIGNED = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=qint8, reduce_range=False, eps=2**-12
)
default_symmetric_qnnpack_qat_qconfig = QConfig(activation=_FUSED_SIGNED, weight=fused_wt_fake_quant_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qat_qconfig = QConfig(
    activation=_FUSED_SIGNED, weight=fused_per_channel_wt_fake_quant_range_neg_127_to_127
)

# backend: (arguments of the activation's observer, whether weights have a scale for every channel)
_BACKENDS: dict[str, tuple[dict[str, Any], bool]] = {
    "fbgemm": ({"reduce_range": True}, True),
    "x86": ({"reduce_range": True}, True),
    "qnnpack": ({"reduce_range": False}, False),
    "onednn": ({"reduce_range": False}, True),
}


def _backend(function: str, backend: str, version: int, versions: tuple[int, ...]) -> tuple[dict[str, Any], bool]:
    if backend not in _BACKENDS:
        raise AssertionError(f"{function}: backend {backend!r} not supported. backend must be one of {[*_BACKENDS]}")
    if version not in versions:
        raise AssertionError(f"{function}: version number {version} is not supported. Version number must be in {versions}")
    return _BACKENDS[backend]


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """Observers for calibration as PyTorch's ``backend`` (x86, fbgemm, qnnpack, onednn) wants them; else AssertionError."""
    options, per_channel = _backend("get_default_qconfig", backend, version, (0,))
    weight = default_per_channel_weight_observer if per_channel else default_weight_observer
    return QConfig(activation=HistogramObserver.with_args(**options), weight=weight)


def get_default_qat_qconfig(backend: str = "x86", version: int = 1) -> QConfig:
    """Fake quantization for training as PyTorch's ``backend`` (x86, fbgemm, qnnpack, onednn) wants it; else AssertionError.

    ``version`` 1 observes and quantizes in one function, 0 in two modules.
    """
    options, per_channel = _backend("get_default_qat_qconfig", backend, version, (0, 1))
    if backend == "onednn":
        options = {}
    if version == 0:
        weight = default_per_channel_weight_fake_quant if per_channel else default_weight_fake_quant
        kind: Any = FakeQuantize
    else:
        weight = default_fused_per_channel_wt_fake_quant if per_channel else default_fused_wt_fake_quant
        kind = FusedMovingAvgObsFakeQuantize
    made = kind.with_args(observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, **options)
    return QConfig(activation=made, weight=weight)
