"""Which of PyTorch's names a class or function of ours is written as."""

import importlib
from typing import Any

from .. import dtypes
from ..tensor import Tensor

_PACKAGE = __name__.partition(".")[0]

# The modules that PyTorch's layers are written in; ours are in others.
_LAYERS = {
    "activation": "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish "
    "MultiheadAttention PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink Softsign "
    "Tanh Tanhshrink Threshold",
    "adaptive": "AdaptiveLogSoftmaxWithLoss",
    "batchnorm": "BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d SyncBatchNorm",
    "channelshuffle": "ChannelShuffle",
    "container": "ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d LazyConv2d LazyConv3d "
    "LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d",
    "distance": "CosineSimilarity PairwiseDistance",
    "dropout": "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout",
    "flatten": "Flatten Unflatten",
    "fold": "Fold Unfold",
    "instancenorm": "InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d LazyInstanceNorm2d "
    "LazyInstanceNorm3d",
    "linear": "Bilinear Identity LazyLinear Linear NonDynamicallyQuantizableLinear",
    "loss": "BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss HingeEmbeddingLoss "
    "HuberLoss KLDivLoss L1Loss MSELoss MarginRankingLoss MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss "
    "NLLLoss PoissonNLLLoss SmoothL1Loss SoftMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss",
    "module": "Module",
    "normalization": "GroupNorm LayerNorm LocalResponseNorm RMSNorm",
    "padding": "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d "
    "ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d",
    "pixelshuffle": "PixelShuffle PixelUnshuffle",
    "pooling": "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
    "AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d FractionalMaxPool2d FractionalMaxPool3d LPPool1d LPPool2d LPPool3d "
    "MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d",
    "rnn": "GRU GRUCell LSTM LSTMCell RNN RNNBase RNNCell RNNCellBase",
    "sparse": "Embedding EmbeddingBag",
    "transformer": "Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer",
    "upsampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
}
LAYERS = {name: f"torch.nn.modules.{module}" for module, names in _LAYERS.items() for name in names.split()}

# Modules whose names PyTorch's have too, in the order in which a function is looked for.
_PUBLIC = (
    "nn.functional", "", "nn.init", "nn", "optim.lr_scheduler", "optim.swa_utils", "optim", "distributions.transforms",
    "distributions.constraints", "distributions", "utils.data", "special", "linalg", "fft",
)  # fmt: skip

def written_as(value: Any, name: str | None = None) -> tuple[str, str] | None:
    """PyTorch's module and name for one of our classes, functions or constants; None for what is not ours."""
    if isinstance(value, dtypes.dtype):
        return "torch", value.name
    if value is Tensor:
        return "torch", "Tensor"
    module, name = getattr(value, "__module__", None), name or getattr(value, "__qualname__", None)
    if module is None and name is not None and type(value).__module__.partition(".")[0] == _PACKAGE:
        module = ""  # a constant, such as a memory format
    if module is None or name is None or module and module.partition(".")[0] != _PACKAGE:
        return None
    layer = LAYERS.get(name)
    if layer is not None and isinstance(value, type) and module.startswith(f"{_PACKAGE}.nn."):
        return layer, name
    exact = "torch" + module.removeprefix(_PACKAGE)
    for path in _PUBLIC:
        found = importlib.import_module(f"{_PACKAGE}.{path}".rstrip("."))
        for known in (name, name.lower()):  # ``Device`` is ``torch.device``
            if getattr(found, known, None) is value:
                here = f"torch.{path}".rstrip(".")
                return (exact, name) if exact.startswith(f"{here}.") and path.startswith("optim") else (here, known)
    return exact, name
