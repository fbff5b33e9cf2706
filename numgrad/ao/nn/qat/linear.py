"""The linear layer with fake-quantized weights."""

from ....nn import Linear as FloatLinear, functional as F
from ....nn.utils.parametrize import is_parametrized, transfer_parametrizations_and_params
from ....tensor import Tensor
from .common import QuantizedWeight


class Linear(QuantizedWeight, FloatLinear):
    """``nn.Linear`` whose weight passes through ``qconfig.weight()`` on every call.

    ``weight`` and ``bias`` are the floating-point ones; ``weight_fake_quant`` is the module that was made. Raises
    AssertionError without a ``qconfig``.
    """

    _FLOAT_MODULE = FloatLinear

    def __init__(self, in_features: int, out_features: int, bias: bool = True, qconfig=None, device=None, dtype=None):
        super().__init__(in_features, out_features, bias, device, dtype)
        self._make_fake_quant(qconfig, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight_fake_quant(self.weight), self.bias)

    @classmethod
    def from_float(cls, mod: FloatLinear, use_precomputed_fake_quant: bool = False) -> "Linear":
        """The layer for the weights of ``mod``, a Linear with a ``qconfig``; parametrizations come along."""
        qconfig = cls._qconfig_of(mod)
        found = cls(mod.in_features, mod.out_features, bias=mod.bias is not None, qconfig=qconfig)
        for name in ("weight", "bias"):
            if is_parametrized(mod, name):
                transfer_parametrizations_and_params(mod, found, name)
            else:
                setattr(found, name, getattr(mod, name))
        return found

    def to_float(self) -> FloatLinear:
        """A plain Linear with the same weights: it shares their memory."""
        return self._float_with_weights(FloatLinear(self.in_features, self.out_features, self.bias is not None))
