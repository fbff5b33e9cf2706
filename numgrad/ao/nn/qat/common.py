"""What layers with fake-quantized weights have in common."""

from typing import Any

from ....nn import Module, Parameter
from ....nn.utils.parametrize import type_before_parametrizations


class QuantizedWeight(Module):
    """A layer with a ``qconfig``, whose ``weight_fake_quant`` is made by its ``weight``."""

    _FLOAT_MODULE: type[Module]
    weight: Any
    bias: Any

    def _make_fake_quant(self, qconfig: Any, device: Any, dtype: Any) -> None:
        if not qconfig:
            raise AssertionError(
                f"{type(self).__name__}: qconfig must be provided for QAT module, such as "
                "ao.quantization.get_default_qat_qconfig()"
            )
        self.qconfig = qconfig
        self.weight_fake_quant = qconfig.weight(factory_kwargs={"device": device, "dtype": dtype})

    @classmethod
    def _qconfig_of(cls, mod: Module) -> Any:
        """The ``qconfig`` of a floating-point layer; AssertionError if it is of another class or has none."""
        kind = type_before_parametrizations(mod)
        if kind is not cls._FLOAT_MODULE:
            raise AssertionError(
                f"qat.{cls.__name__}.from_float only works for {cls._FLOAT_MODULE.__name__}, got {kind.__name__}"
            )
        if not getattr(mod, "qconfig", None):
            raise AssertionError(f"qat.{cls.__name__}.from_float: Input float module must have qconfig defined, set mod.qconfig")
        return mod.qconfig

    def _float_with_weights(self, layer: Any) -> Any:
        layer.weight = Parameter(self.weight.detach())
        if self.bias is not None:
            layer.bias = Parameter(self.bias.detach())
        return layer.train(self.training)
