"""Observers: modules that watch the values that pass and choose a scale and a zero point for them."""

import functools
import warnings
from abc import ABC, abstractmethod
from typing import Any

from ... import dtypes
from ...dtypes import float16, float32, qint8, quint8
from ...nn import Module
from ...nn.parameter import factory_kwargs as accepted
from ...ops.create import tensor
from ...qscheme import (
    per_channel_affine,
    per_channel_affine_float_qparams,
    per_channel_symmetric,
    per_tensor_affine,
    per_tensor_symmetric,
    qscheme as QScheme,
)
from ...tensor import Tensor
from .ranges import EPS, QUANTIZED, choose, limits

INF = float("inf")


class _PartialWrapper:
    """A class with some of its arguments, called for an instance: what ``with_args`` gives.

    ``p`` is the `functools.partial`; ``callable_args`` are arguments that are called anew for every instance.
    """

    def __init__(self, p: Any):
        self.p = p
        self.callable_args: dict[str, Any] = {}

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        made = {name: make() for name, make in self.callable_args.items() if name not in keywords}
        return self.p(*args, **keywords, **made)

    def __repr__(self) -> str:
        return f"{self.p!r}{self.callable_args!r}"

    def with_args(self, **kwargs: Any) -> "_PartialWrapper":
        """The same with more arguments."""
        return _with_args(self, **kwargs)

    def with_callable_args(self, **kwargs: Any) -> "_PartialWrapper":
        """The same with more arguments that are called for every instance."""
        found = _PartialWrapper(self.p)
        found.callable_args = {**self.callable_args, **kwargs}
        return found


def _with_args(cls_or_self: Any, **kwargs: Any) -> _PartialWrapper:
    """A maker of instances with these arguments: ``MinMaxObserver.with_args(dtype=qint8)()``."""
    return _PartialWrapper(functools.partial(cls_or_self, **kwargs))


def _with_callable_args(cls_or_self: Any, **kwargs: Any) -> _PartialWrapper:
    """`_with_args` for arguments that are called for every instance."""
    return _PartialWrapper(functools.partial(cls_or_self)).with_callable_args(**kwargs)


class ObserverBase(Module, ABC):
    """The base of observers: ``forward`` watches its input and returns it, ``calculate_qparams`` gives what was chosen.

    ``dtype`` is that of the quantized values, ``is_dynamic`` whether they are to be quantized by each input's own range.
    """

    def __init__(self, dtype: Any, is_dynamic: bool = False):
        super().__init__()
        self.dtype = dtype
        self.is_dynamic = is_dynamic

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def calculate_qparams(self, **kwargs: Any) -> Any: ...

    with_args = classmethod(_with_args)
    with_callable_args = classmethod(_with_callable_args)


class UniformQuantizationObserverBase(ObserverBase):
    """The base of observers that choose evenly spaced values.

    ``qscheme`` says how, ``quant_min`` and ``quant_max`` which whole numbers are used (those of ``dtype``, or with
    ``reduce_range`` half as many), ``eps`` is the smallest scale. Raises AssertionError for other dtypes and ranges.
    """

    _version = 3
    _per_channel: bool | None = None  # which schemes a class takes, None for all
    _dynamic = True  # whether it may be
    _halves_signed_only = True
    eps: Tensor
    min_val: Tensor
    max_val: Tensor

    def __init__(
        self, dtype: Any = quint8, qscheme: QScheme = per_tensor_affine, reduce_range: bool = False, quant_min=None,
        quant_max=None, factory_kwargs=None, eps: float = EPS, is_dynamic: bool = False, **kwargs: Any,
    ):  # fmt: skip
        name = type(self).__name__
        if not isinstance(qscheme, QScheme):
            raise AssertionError(f"{name}: expected a qscheme such as numgrad.per_tensor_affine, got {qscheme!r}")
        if self._per_channel not in (None, qscheme.per_channel):
            wanted = "per channel" if self._per_channel else "per tensor"
            raise NotImplementedError(f"{name}'s qscheme must be one {wanted}, got {qscheme!r}")
        if is_dynamic and not self._dynamic:
            raise NotImplementedError(f"{name} doesn't support dynamic quantization; leave is_dynamic out")
        super().__init__(dtype=dtype, is_dynamic=is_dynamic, **kwargs)
        if reduce_range:
            warnings.warn("Please use quant_min and quant_max to specify the range for observers, not reduce_range.", stacklevel=2)
        self.qscheme, self.reduce_range = qscheme, reduce_range
        if dtype not in QUANTIZED:
            raise AssertionError(f"{name}: dtype must be one of {QUANTIZED}, got {dtype!r}")
        self.register_buffer("eps", tensor([eps], **accepted(factory_kwargs)))
        self.has_customized_qrange = quant_min is not None and quant_max is not None
        self.quant_min, self.quant_max = limits(dtype, quant_min, quant_max, reduce_range)
        if reduce_range and qscheme.symmetric and dtype is quint8 and self._halves_signed_only:
            raise NotImplementedError(f"{name}: Cannot reduce range for symmetric quantization for quint8; use qint8")

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        if local_metadata.get("version") in (None, 1):  # which had no buffer for it
            state_dict[f"{prefix}eps"] = tensor([EPS])
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )  # fmt: skip

    def _calculate_qparams(self, min_val: Tensor, max_val: Tensor) -> tuple[Tensor, Tensor]:
        return choose(self, min_val, max_val)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """(scale, zero_point) for the range that was observed: one-dimensional; 1 and 0, with a warning, before any was."""
        return self._calculate_qparams(self.min_val, self.max_val)

    def reset_min_max_vals(self) -> None:
        """Forget what was observed."""
        raise NotImplementedError(f"{type(self).__name__}: Cannot reset min/max values in the given observer.")

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


def _moved(old: Tensor, new: Tensor, share: float) -> Tensor:
    return old + share * (new - old)


class MinMaxObserver(UniformQuantizationObserverBase):
    """The least and the largest value of all that passed; ``min_val`` and ``max_val`` are 0-d."""

    _per_channel = False

    def __init__(
        self, dtype: Any = quint8, qscheme: QScheme = per_tensor_affine, reduce_range: bool = False, quant_min=None,
        quant_max=None, factory_kwargs=None, eps: float = EPS, is_dynamic: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic, **kwargs)
        options = accepted(factory_kwargs)
        self.register_buffer("min_val", tensor(INF, **options))
        self.register_buffer("max_val", tensor(-INF, **options))

    def _combine(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return low.minimum(self.min_val), high.maximum(self.max_val)

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            low, high = self._combine(*x_orig.detach().to(self.min_val.dtype).aminmax())
            self.min_val.copy_(low)
            self.max_val.copy_(high)
        return x_orig

    def reset_min_max_vals(self) -> None:
        """Forget what was observed."""
        self.min_val.fill_(INF)
        self.max_val.fill_(-INF)


class MovingAverageMinMaxObserver(MinMaxObserver):
    """Moving averages of the least and of the largest values: each input moves them by ``averaging_constant``."""

    def __init__(
        self, averaging_constant: float = 0.01, dtype: Any = quint8, qscheme: QScheme = per_tensor_affine,
        reduce_range: bool = False, quant_min=None, quant_max=None, eps: float = EPS, is_dynamic: bool = False, **kwargs: Any,
    ):  # fmt: skip
        if is_dynamic and averaging_constant != 1:
            raise NotImplementedError(
                "MovingAverageMinMaxObserver doesn't support dynamic quantization for averaging constant of "
                f"{averaging_constant}; give averaging_constant=1"
            )
        super().__init__(
            dtype, qscheme, reduce_range, quant_min, quant_max, eps=eps, is_dynamic=is_dynamic, **kwargs
        )  # fmt: skip
        self.averaging_constant = averaging_constant

    def _combine(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        if self.min_val.item() == INF and self.max_val.item() == -INF:
            return low, high
        return _moved(self.min_val, low, self.averaging_constant), _moved(self.max_val, high, self.averaging_constant)


class PerChannelMinMaxObserver(UniformQuantizationObserverBase):
    """The least and the largest value of each index along ``ch_axis``; ``min_val`` and ``max_val`` are empty at first."""

    _per_channel, _dynamic = True, False

    def __init__(
        self, ch_axis: int = 0, dtype: Any = quint8, qscheme: QScheme = per_channel_affine, reduce_range: bool = False,
        quant_min=None, quant_max=None, factory_kwargs=None, eps: float = EPS, is_dynamic: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic, **kwargs)
        self.ch_axis = ch_axis
        options = accepted(factory_kwargs)
        self.register_buffer("min_val", tensor([], **options))
        self.register_buffer("max_val", tensor([], **options))

    def _combine(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return low.minimum(self.min_val), high.maximum(self.max_val)

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            rows = x_orig.detach().to(self.min_val.dtype).transpose(0, self.ch_axis).flatten(1)
            low, high = rows.aminmax(dim=1)
            if self.min_val.numel() and self.max_val.numel():
                low, high = self._combine(low, high)
            self.min_val.resize_(low.shape).copy_(low)
            self.max_val.resize_(high.shape).copy_(high)
        return x_orig

    def reset_min_max_vals(self) -> None:
        """Forget what was observed."""
        self.min_val, self.max_val = tensor([]), tensor([])

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        version = local_metadata.get("version")
        old = "s" if version is not None and version < 3 else ""  # the buffers were called min_vals and max_vals
        for buffer in ("min_val", "max_val"):
            key = f"{prefix}{buffer}{old}"
            if key in state_dict:
                if old:
                    state_dict[f"{prefix}{buffer}"] = state_dict.pop(key)
                getattr(self, buffer).resize_(state_dict[f"{prefix}{buffer}"].shape)  # the number of channels is known now
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )  # fmt: skip


class MovingAveragePerChannelMinMaxObserver(PerChannelMinMaxObserver):
    """Moving averages of what `PerChannelMinMaxObserver` observes: each input moves them by ``averaging_constant``."""

    def __init__(
        self, averaging_constant: float = 0.01, ch_axis: int = 0, dtype: Any = quint8, qscheme: QScheme = per_channel_affine,
        reduce_range: bool = False, quant_min=None, quant_max=None, eps: float = EPS, is_dynamic: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(
            ch_axis, dtype, qscheme, reduce_range, quant_min, quant_max, eps=eps, is_dynamic=is_dynamic, **kwargs
        )  # fmt: skip
        self.averaging_constant = averaging_constant

    def _combine(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return _moved(self.min_val, low, self.averaging_constant), _moved(self.max_val, high, self.averaging_constant)


class FixedQParamsObserver(ObserverBase):
    """A scale and a zero point that were known before, for outputs such as those of sigmoid: nothing is observed."""

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self, scale: float, zero_point: int, dtype: Any = quint8, qscheme: QScheme = per_tensor_affine, quant_min: int = 0,
        quant_max: int = 255, is_dynamic: bool = False, **kwargs: Any,
    ):  # fmt: skip
        if is_dynamic:
            raise NotImplementedError("FixedQParamsObserver doesn't support dynamic quantization; leave is_dynamic out")
        super().__init__(dtype=dtype, is_dynamic=is_dynamic, **kwargs)
        self.quant_min, self.quant_max, self.qscheme = quant_min, quant_max, qscheme
        self.register_buffer("scale", tensor([scale], dtype=float32))
        self.register_buffer("zero_point", tensor([zero_point], dtype=dtypes.int32))

    def forward(self, X: Tensor) -> Tensor:
        return X

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """The (scale, zero_point) that were given."""
        return self.scale, self.zero_point


class _WithoutQParams(ObserverBase):
    """An observer that has nothing to choose from."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self) -> Any:
        """There are none: an error."""
        raise RuntimeError(f"calculate_qparams should not be called for {type(self).__name__}: it observes no range")


class PlaceholderObserver(_WithoutQParams):
    """Keeps a dtype and a scheme for a layer whose values are not observed, such as float16's or dynamic ones."""

    def __init__(
        self, dtype: Any = float32, custom_op_name: str = "", compute_dtype: Any = None, quant_min=None, quant_max=None,
        qscheme: QScheme | None = None, eps: float | None = None, is_dynamic: bool = False,
    ):  # fmt: skip
        super().__init__(dtype=dtype, is_dynamic=is_dynamic)
        self.qscheme = per_tensor_affine if qscheme is None else qscheme
        self.quant_min, self.quant_max, self.custom_op = quant_min, quant_max, custom_op_name
        self.eps = EPS if eps is None else eps
        if compute_dtype:
            warnings.warn("Please use `is_dynamic` instead of `compute_dtype`.", stacklevel=2)

    def extra_repr(self) -> str:
        return f"dtype={self.dtype}, is_dynamic={self.is_dynamic}"


class RecordingObserver(_WithoutQParams):
    """Keeps a copy of every tensor that passes, for looking at them."""

    def __init__(self, dtype: Any = quint8):
        super().__init__(dtype=dtype, is_dynamic=False)
        self.tensor_val: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.tensor_val.append(x.clone())
        return x

    def get_tensor_value(self) -> list[Tensor]:
        """The copies, in order."""
        return self.tensor_val


class NoopObserver(_WithoutQParams):
    """Keeps a dtype for a layer whose values are not observed."""

    def __init__(self, dtype: Any = float16, custom_op_name: str = ""):
        super().__init__(dtype=dtype, is_dynamic=False)
        self.custom_op = custom_op_name


def get_observer_state_dict(mod: Module) -> dict[str, Tensor]:
    """The entries of ``mod.state_dict()`` that belong to observers."""
    found = mod.state_dict()
    for key in [key for key in found if "activation_post_process" not in key]:
        del found[key]
    return found


def load_observer_state_dict(mod: Module, obs_dict: Any) -> None:
    """Load what `get_observer_state_dict` gave; RuntimeError if an observer's entry is missing or there is one too many."""
    found = mod.load_state_dict(obs_dict, strict=False)
    for kind, keys in (("Missing", found.missing_keys), ("Unexpected", found.unexpected_keys)):
        for key in keys:
            if "activation_post_process" in key:
                raise RuntimeError(f"load_observer_state_dict: {kind} keys for observer {key} in state_dict")


default_observer = MinMaxObserver.with_args(quant_min=0, quant_max=127)
default_placeholder_observer = PlaceholderObserver
default_debug_observer = RecordingObserver
default_weight_observer = MinMaxObserver.with_args(dtype=qint8, qscheme=per_tensor_symmetric)
weight_observer_range_neg_127_to_127 = MinMaxObserver.with_args(
    dtype=qint8, qscheme=per_tensor_symmetric, quant_min=-127, quant_max=127, eps=2**-12
)
default_per_channel_weight_observer = PerChannelMinMaxObserver.with_args(dtype=qint8, qscheme=per_channel_symmetric)
per_channel_weight_observer_range_neg_127_to_127 = PerChannelMinMaxObserver.with_args(
    dtype=qint8, qscheme=per_channel_symmetric, quant_min=-127, quant_max=127, eps=2**-12
)
default_dynamic_quant_observer = PlaceholderObserver.with_args(dtype=quint8, quant_min=0, quant_max=255, is_dynamic=True)
default_float_qparams_observer = PerChannelMinMaxObserver.with_args(
    dtype=quint8, qscheme=per_channel_affine_float_qparams, ch_axis=0
)
default_fixed_qparams_range_neg1to1_observer = FixedQParamsObserver.with_args(
    scale=2.0 / 256.0, zero_point=128, dtype=quint8, quant_min=0, quant_max=255
)
default_fixed_qparams_range_0to1_observer = FixedQParamsObserver.with_args(
    scale=1.0 / 256.0, zero_point=0, dtype=quint8, quant_min=0, quant_max=255
)
