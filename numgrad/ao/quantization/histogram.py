"""The observer that keeps a histogram, and leaves out outliers where that makes the values come out closer."""

import math
import warnings
from typing import Any

import numpy as np

from ... import dtypes
from ...dtypes import quint8
from ...nn.parameter import factory_kwargs as accepted
from ...ops.create import arange, linspace, tensor, zeros
from ...ops.distinct import bincount, bucketize, histc
from ...qscheme import per_tensor_affine, qscheme as QScheme
from ...tensor import Tensor
from .observer import INF, UniformQuantizationObserverBase
from .ranges import EPS

FINER = 16  # parts of a bin that may fall into different ones of a wider histogram
STEP = 1e-5  # share of the values that the search leaves out at a time


def _between(begin: Any, end: Any) -> Any:
    """The integral of x**2 from ``begin`` to ``end``."""
    return (end * end * end - begin * begin * begin) / 3


class HistogramObserver(UniformQuantizationObserverBase):
    """The histogram of all values that passed; the range is the part of it with the least squared error.

    ``histogram`` has ``bins`` elements from ``min_val`` to ``max_val``, which are 0-d. Infinite values are ignored, with a
    warning.
    """

    _per_channel, _dynamic, _halves_signed_only = False, False, False
    histogram: Tensor

    def __init__(
        self, bins: int = 2048, dtype: Any = quint8, qscheme: QScheme = per_tensor_affine, reduce_range: bool = False,
        quant_min=None, quant_max=None, factory_kwargs=None, eps: float = EPS, is_dynamic: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic, **kwargs)
        options = accepted(factory_kwargs)
        self.bins = bins
        self.register_buffer("histogram", zeros(bins, **options))
        self.register_buffer("min_val", tensor(INF, **options))
        self.register_buffer("max_val", tensor(-INF, **options))
        self.dst_nbins = 2 ** dtypes.iinfo(dtype).bits
        self.upsample_rate = FINER

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel() == 0:
            return x_orig
        x = x_orig.detach()
        low, high = x.aminmax()
        if math.isinf(low.item()) or math.isinf(high.item()):
            warnings.warn("torch.inf detected in input tensor, ignoring input", stacklevel=2)
            x = x[x.abs() != INF]
            if x.numel() == 0:
                return x_orig
            low, high = x.aminmax()
        if math.isinf(self.min_val.item()):
            self._keep(histc(x, self.bins, low.item(), high.item()), low, high)
            return x_orig
        low, high = low.minimum(self.min_val), high.maximum(self.max_val)
        new = histc(x, self.bins, low.item(), high.item())
        self._keep(new + self._spread(low, high), low, high)
        return x_orig

    def _keep(self, histogram: Tensor, low: Tensor, high: Tensor) -> None:
        self.histogram.resize_(histogram.shape).copy_(histogram)
        self.min_val.copy_(low)
        self.max_val.copy_(high)

    def _spread(self, low: Tensor, high: Tensor) -> Tensor:
        """The histogram so far over the range from ``low`` to ``high``, which includes its own."""
        begin, end = self.min_val, self.max_val
        if low.item() == begin.item() and high.item() == end.item():
            return self.histogram
        if begin.item() == end.item():
            return histc(begin, self.bins, low.item(), high.item()) * self.histogram.sum()
        finer, device = self.bins * FINER, self.histogram.device
        middles = linspace(begin.item(), end.item(), finer + 1, device=device)[:-1] + 0.5 * ((end - begin) / finer)
        edges = linspace(low.item(), high.item(), self.bins + 1, device=device)
        places = (bucketize(middles, edges, right=True) - 1).clamp(0, self.bins - 1)
        return bincount(places, self.histogram.repeat_interleave(FINER) / FINER, self.bins)

    def _compute_quantization_error(self, first: int, last: int) -> float:
        """The squared error if the range were that of the bins ``first`` to ``last``, values being even within a bin."""
        width = (self.max_val.item() - self.min_val.item()) / self.bins
        step = width * (last - first + 1) / self.dst_nbins
        if step == 0.0:
            return 0.0
        begin = (arange(self.bins, device=self.histogram.device) - first) * width
        end = begin + width
        level_of_begin, level_of_end = (
            x.div(step, rounding_mode="floor").clamp(0, self.dst_nbins - 1) for x in (begin, end)
        )  # fmt: skip
        density, half = self.histogram / width, tensor(step / 2)
        # of the parts beyond the first level, of the levels between, and of the part in the last level
        error = density * _between(begin - (level_of_begin + 0.5) * step, half)
        error = error + (level_of_end - level_of_begin - 1) * (density * _between(-half, half))
        error = error + density * _between(-half, end - (level_of_end * step + step / 2))
        return error.sum().item()

    def _non_linear_param_search(self) -> tuple[Tensor, Tensor]:
        """The ends of the range with the least error: bins are left out at the end that holds fewer values a bin."""
        total, first, last = self.histogram.sum().item(), 0, self.bins - 1
        up_to = self.histogram.cumsum(0).cpu().numpy()
        below, above, least = 0.0, 1.0, INF
        while below < above:
            left, right = first, last
            low, high = np.float32((below + STEP) * total), np.float32((above - STEP) * total)
            while left < last and up_to[left] < low:
                left += 1
            while right > first and up_to[right] > high:
                right -= 1
            if left - first > last - right:
                candidate, below = (left, last), below + STEP
            else:
                candidate, above = (first, right), above - STEP
            if candidate == (first, last):
                continue
            error = self._compute_quantization_error(*candidate)
            if error > least:
                break
            least, (first, last) = error, candidate
        width = (self.max_val - self.min_val) / self.bins
        return self.min_val + width * first, self.min_val + width * (last + 1)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """(scale, zero_point) for the best range: one element each; 1 and 0, with a warning, before any was observed."""
        if math.isinf(self.min_val.item()):
            return self._calculate_qparams(self.min_val, self.max_val)
        if self.bins != len(self.histogram):
            raise AssertionError(f"HistogramObserver: expected a histogram of {self.bins} bins, got {len(self.histogram)}")
        return self._calculate_qparams(*self._non_linear_param_search())

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        version = local_metadata.get("version")
        if version is None or version < 3:  # empty before anything was observed
            for name, start in (("min_val", INF), ("max_val", -INF)):
                value = state_dict.get(prefix + name)
                if value is not None and value.shape == (0,):
                    state_dict[prefix + name] = tensor(start)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )  # fmt: skip


default_histogram_observer = HistogramObserver.with_args(quant_min=0, quant_max=127)
