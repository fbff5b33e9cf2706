"""Autocast: in its blocks, products and convolutions take 16-bit operands and ops that need the range take float32.

A program that uses none has nothing in the way of a call: entering the first block puts detours before the ops of the
lists, which from then on ask whether the calling thread is in a block.
"""

import functools
import threading
import types
import warnings

from .. import detours, dtypes, fft, forks, linalg
from ..autograd import is_grad_enabled
from ..contexts import within
from ..device import CPU
from ..names import behind
from ..nn import functional
from ..op import ENTRIES, cast
from ..tensor import Tensor, storage_of

_LOWER = (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "matmul", "mm", "bmm",
    "baddbmm", "addmm", "addbmm", "linear", "matrix_product", "hidden_product", "linalg.vecdot", "prelu",
    "scaled_dot_product_attention",
)  # fmt: skip
_FLOAT32 = (
    "avg_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d", "adaptive_avg_pool3d",
    "adaptive_max_pool3d", "fractional_max_pool2d", "fractional_max_pool3d", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "grid_sample", "prod", "quantile", "nanquantile", "cdist", "trace", "cholesky",
    "cholesky_inverse", "cholesky_solve", "inverse", "pinverse", "lu_solve", "orgqr", "qr", "svd",
    "triangular_solve", "mse_loss", "cosine_embedding_loss", "nll_loss", "hinge_embedding_loss", "poisson_nll_loss",
    "smooth_l1_loss", "cross_entropy", "l1_loss", "huber_loss", "margin_ranking_loss", "soft_margin_loss",
    "triplet_margin_loss", "multi_margin_loss", "multilabel_margin_loss", "ctc_loss", "kl_div", "linalg.cond",
    "linalg.matrix_rank", "linalg.solve", "linalg.cholesky", "linalg.cholesky_ex", "linalg.svd", "linalg.svdvals",
    "linalg.eigh", "linalg.eigvalsh", "linalg.inv", "linalg.inv_ex", "linalg.lstsq", "linalg.qr", "linalg.tensorinv",
    "linalg.tensorsolve", "linalg.householder_product", "view_as_complex", "fft.fft", "fft.ifft", "fft.fft2", "fft.ifft2",
    "fft.fftn", "fft.ifftn", "fft.rfft", "fft.irfft", "fft.rfft2", "fft.irfft2", "fft.rfftn", "fft.irfftn", "fft.hfft",
    "fft.ihfft",
)  # fmt: skip
# Ops that compute in what they get though they are made of ops that do not.
_AS_GIVEN = ("mv", "dot", "vdot", "addmv", "linalg.lu_solve")
_WIDEST = ("cat", "concat", "concatenate", "stack", "index_copy")
_SUPPORTED = (dtypes.bfloat16, dtypes.float16)


class _State(threading.local):
    def __init__(self):
        self.enabled = {"cpu": False, "cuda": False}
        self.dtype = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}
        self.cache_enabled = True
        self.nesting = 0
        self.cache: dict = {}  # (id of a parameter, grad mode) -> (parameter, (its version, dtype), its cast)


_state = _State()
_lock = forks.lock("autocast")
_unprepared = [True]


def _functions(name):
    module, _, inside = name.rpartition(".")
    if module:
        return [behind(getattr({"linalg": linalg, "fft": fft}[module], inside))]
    return [ENTRIES.get(name), behind(getattr(Tensor, name, None)), getattr(functional, name, None)]


def _prepare():
    """Put the detours there, once."""
    with _lock:
        if not _unprepared:
            return
        dtypes.prepare(dtypes.float16)  # operands are lowered first, then brought to what kernels take
        done: set = set()
        for names, around in (
            (_LOWER, _lowered), (_FLOAT32, _raised), (_WIDEST, _joined), (_AS_GIVEN, _kept), (("pad",), _padded),
            (("max_pool3d",), _max_pooled),
        ):  # fmt: skip
            for entry in (entry for name in names for entry in _functions(name)):
                if isinstance(entry, types.FunctionType) and id(entry) not in done:
                    done.add(id(entry))
                    detours.divert(entry, around)
        _unprepared.clear()


def _eligible(tensor):
    d = tensor._m.dtype
    return d.is_floating_point and d is not dtypes.float64 and tensor._m.device is CPU


def _lower(tensor):
    d = _state.dtype["cpu"]
    if not _eligible(tensor) or tensor._m.dtype is d:
        return tensor
    node = tensor._n
    if node is None or not node.leaf or tensor._m.dtype is not dtypes.float32:
        return cast(tensor, d)
    if not _state.cache_enabled or not _state.nesting:  # outside any block nothing would empty the cache
        return cast(tensor, d)
    key = id(tensor), is_grad_enabled()
    state = storage_of(tensor).version, d
    held = _state.cache.get(key)
    if held is None or held[1] != state:
        held = _state.cache[key] = tensor, state, cast(tensor, d)
    return held[2]


def _raise(tensor):
    return cast(tensor, dtypes.float32) if _eligible(tensor) else tensor


def _with(change, original, args, kwargs):
    """The op on changed operands; what it is made of computes in the dtypes that it gets."""
    args = [detours.mapped(value, change) for value in args]
    kwargs = {name: value if name == "out" else detours.mapped(value, change) for name, value in kwargs.items()}
    return _kept(original, args, kwargs)


def _kept(original, args, kwargs):
    enabled = _state.enabled
    before, enabled["cpu"] = enabled["cpu"], False
    try:
        return original(*args, **kwargs)
    finally:
        enabled["cpu"] = before


def _lowered(original, args, kwargs):
    return _with(_lower, original, args, kwargs) if _state.enabled["cpu"] else original(*args, **kwargs)


def _raised(original, args, kwargs):
    return _with(_raise, original, args, kwargs) if _state.enabled["cpu"] else original(*args, **kwargs)


def _joined(original, args, kwargs):
    if not _state.enabled["cpu"] or dtypes.float32 not in detours.floating_dtypes((*args, *kwargs.values())):
        return original(*args, **kwargs)
    return _with(_raise, original, args, kwargs)


def _padded(original, args, kwargs):
    mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
    return (_raised if mode in ("reflect", "replicate") else _run)(original, args, kwargs)


def _max_pooled(original, args, kwargs):
    with_indices = args[6] if len(args) > 6 else kwargs.get("return_indices", False)
    return (_run if with_indices else _raised)(original, args, kwargs)


def _run(original, args, kwargs):
    return original(*args, **kwargs)


class autocast:
    """Run ops in the block, or the decorated function, in mixed precision.

    Products and convolutions compute with operands rounded to ``dtype`` (default bfloat16 on the CPU) and return it;
    losses and other ops that need the range compute in float32; all others take what they get. Casts of parameters
    are kept until the outermost block ends, if ``cache_enabled``. ``device_type``: "cpu" or "cuda"; kernels for 16-bit
    elements exist for the CPU, so that autocast for "cuda" warns and changes nothing (Micikevicius et al. 2018,
    arXiv:1710.03740). Raises ValueError for a device type that is no string, RuntimeError for an unknown one.
    """

    def __init__(self, device_type: str, dtype: dtypes.dtype | None = None, enabled: bool = True,
                 cache_enabled: bool | None = None):  # fmt: skip
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'; use 'cpu' or 'cuda'")
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = _state.cache_enabled if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda":
            warnings.warn("CUDA is not available for 16-bit kernels. Disabling autocast.", stacklevel=2)
            enabled = False
        elif enabled and self.fast_dtype not in _SUPPORTED:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\nCPU Autocast only "
                f"supports dtypes of {', '.join(map(repr, _SUPPORTED))} currently.", stacklevel=2,
            )  # fmt: skip
            enabled = False
        self._enabled = enabled
        self._before: list = []

    def __enter__(self):
        if self._enabled:
            _prepare()
        state, device = _state, self.device
        self._before.append((state.enabled[device], state.dtype[device], state.cache_enabled))
        state.enabled[device], state.dtype[device] = self._enabled, self.fast_dtype
        state.cache_enabled = self._cache_enabled
        state.nesting += 1
        return self

    def __exit__(self, *exception):
        state, device = _state, self.device
        state.nesting -= 1
        if state.nesting == 0:
            state.cache.clear()
        state.enabled[device], state.dtype[device], state.cache_enabled = self._before.pop()
        return False

    def __call__(self, func):
        if not callable(func):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(func).__name__}. Did you mean to use autocast as "
                "a context manager?"
            )
        return within(self._clone, func)

    def _clone(self):
        return autocast(self.device, self.fast_dtype, self._enabled, self._cache_enabled)


def as_now() -> autocast:
    """A block in which this thread's present state of `autocast` holds again."""
    return autocast("cpu", _state.dtype["cpu"], _state.enabled["cpu"], _state.cache_enabled)


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` knows the device type: "cpu" and "cuda"; RuntimeError for what is none."""
    if device_type not in _state.enabled and device_type not in _ELSEWHERE:
        raise RuntimeError(f"Invalid device string: '{device_type}'; autocast takes 'cpu' or 'cuda'")
    return device_type in _state.enabled


# Types of devices that PyTorch has besides.
_ELSEWHERE = ("meta", "mps", "xpu", "hpu", "xla", "ipu", "mtia", "hip", "lazy", "vulkan", "privateuseone", "maia", "mkldnn")


def warn_of_path(device_type: str, name: str) -> None:
    """PyTorch's warning where a class is named by the module of its device."""
    warnings.warn(
        f"`torch.{device_type}.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}('{device_type}', args...)` instead.",
        FutureWarning,
        stacklevel=3,
    )


def _known(name, device_type):
    if not is_autocast_available(device_type):
        raise RuntimeError(f"{name}: unsupported autocast device_type '{device_type}'; use 'cpu' or 'cuda'")
    return device_type


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether this thread is inside an `autocast` of the device type (default "cuda", as in PyTorch)."""
    return _state.enabled[_known("is_autocast_enabled", device_type or "cuda")]


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """The dtype that `autocast` lowers to on the device type."""
    return _state.dtype[_known("get_autocast_dtype", device_type)]


def set_autocast_dtype(device_type: str, dtype: dtypes.dtype) -> None:
    """Set the dtype that `autocast` lowers to on the device type in this thread."""
    _state.dtype[_known("set_autocast_dtype", device_type)] = dtype


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Turn autocast on or off in this thread, outside any block."""
    _known("set_autocast_enabled", device_type)
    if enabled:
        _prepare()
    _state.enabled[device_type] = bool(enabled)


def clear_autocast_cache() -> None:
    """Forget the casts of parameters that this thread keeps."""
    _state.cache.clear()


def is_autocast_cache_enabled() -> bool:
    """Whether `autocast` keeps its casts of parameters."""
    return _state.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Whether `autocast` is to keep its casts of parameters, in this thread."""
    _state.cache_enabled = bool(enabled)


def custom_fwd(fwd=None, *, device_type: str, cast_inputs: dtypes.dtype | None = None):
    """Decorator for the ``forward`` of an autograd Function: with ``cast_inputs`` it runs on inputs of that dtype with
    autocast off, else as its caller; `custom_bwd` then runs the ``backward`` in the same state."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    _known("custom_fwd", device_type)

    @functools.wraps(fwd)
    def decorated(ctx, *args, **kwargs):
        ctx._autocast_dtype = get_autocast_dtype(device_type)
        enabled = is_autocast_enabled(device_type)
        ctx._autocast_enabled = enabled and cast_inputs is None
        if not enabled or cast_inputs is None:
            return fwd(ctx, *args, **kwargs)

        def wanted(tensor):
            return cast(tensor, cast_inputs) if _eligible(tensor) else tensor

        with autocast(device_type, enabled=False):
            args = [detours.mapped(value, wanted) for value in args]
            return fwd(ctx, *args, **{name: detours.mapped(value, wanted) for name, value in kwargs.items()})

    return decorated


def custom_bwd(bwd=None, *, device_type: str):
    """Decorator for the ``backward`` of an autograd Function whose forward has `custom_fwd`."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    _known("custom_bwd", device_type)

    @functools.wraps(bwd)
    def decorated(ctx, *args, **kwargs):
        with autocast(device_type, dtype=ctx._autocast_dtype, enabled=ctx._autocast_enabled):
            return bwd(ctx, *args, **kwargs)

    return decorated
