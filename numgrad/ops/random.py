"""Random numbers, PyTorch's streams on the CPU, and dropout."""

import math
import warnings

import numpy as np

from .. import config, dtypes, generator as streams
from ..device import CPU, META, resolve
from ..errors import not_implemented_for
from ..generator import Generator, default_generator
from ..inplace import check_inplace, rebase, write_out, written
from ..layout import broadcast_shapes, contiguous_format, geometry, integer, preserve_format
from ..op import as_tensor_operand, cast, function, method, record, recording
from ..storage import check_memory, meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, from_array
from .complex import view_as_real
from .copy import _copy_into, write, zero
from .create import empty_like, resized, zeros_like
from .search import argmax
from .softmax import softmax_root
from .values import any_true
from .view import sizes


def _memory_order(m):
    """The dimensions from the one with the longest steps to the one with the shortest, as PyTorch walks them."""
    return sorted(range(m.ndim), key=lambda k: -m.strides[k])


def _draw(tensor, fill, on_device=None, generator=None, ends=None):
    """Fill ``tensor`` with ``fill(flat ndarray)``, drawn on the CPU in the order in which the elements lie in memory.
    ``ends``: of a range [from, to) whose end 16-bit numbers must not be rounded to.

    CUDA tensors are filled by the device's own stream where ``on_device``, (kind, a, b), says with what; ``generator``
    (of the CPU) overrules that. For meta tensors nothing is drawn.
    """
    m = tensor._m
    if m.device is META:
        return tensor
    if m.device is not CPU and on_device is not None and generator is None:
        target = tensor if m.contiguous else empty_tensor(meta(m.dtype, m.shape, m.device))
        m.device.backend.fill(on_device[0], target._d, *on_device[1:])
        if target is not tensor:
            write(target, tensor)
        return tensor
    if m.contiguous and m.device is CPU and m.dtype.compute is m.dtype.type:
        fill(tensor._d)
        return tensor
    drawn = np.empty(m.numel, m.dtype.compute)
    fill(drawn)
    if ends is not None and m.dtype.compute is not m.dtype.type:
        start, end = cast(from_array(np.array(ends, m.dtype.compute)), m.dtype).tolist()
        drawn[cast(cast(from_array(drawn), m.dtype), dtypes.float32)._host() >= end] = start
    order = _memory_order(m)
    found = from_array(drawn.reshape([m.shape[k] for k in order]).transpose(np.argsort(order)))
    write(found if m.device is CPU else found.to(m.device), tensor)
    return tensor


def _sampler(name, fill, doc, on_device=None):
    """An in-place sampler: ``fill(flat, *arguments, generator)``; ``on_device(*arguments)`` says what `_draw` asks."""

    def sample(self, *args, generator=None, **kwargs):
        check_inplace(name, self)
        track = recording((self,))
        kind = None if on_device is None or self._m.device is CPU else on_device(*args, **kwargs)
        if fill is _normal:
            kwargs["contiguous"] = self._m.contiguous
        if self._m.dtype.format is not None:
            raise not_implemented_for(name, self._m.dtype)
        if fill is _random:
            if self._m.dtype.barebones and not args and not kwargs:
                raise not_implemented_for("random_", self._m.dtype)
            kwargs["digits"] = _DIGITS.get(self._m.dtype)
        ends = _ends(*args, **kwargs) if fill is _uniform else None
        _draw(self, lambda flat: fill(flat, *args, generator=generator, **kwargs), kind, generator, ends)
        written(self, name)
        if track:
            rebase(self, record(_copy_into.op, (self, None), self, {}))
        return self

    sample.__name__ = sample.__qualname__ = name
    sample.__doc__ = doc
    return method(sample)


def _ends(a=0.0, b=1.0, **ends):
    return ends.get("from", a), ends.get("to", b)


def _uniform(flat, *args, generator, **ends):
    streams.fill_uniform(flat, *_ends(*args, **ends), generator)


def _normal(flat, mean=0.0, std=1.0, *, generator, contiguous=True):
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    streams.fill_normal(flat, mean, std, generator, contiguous)


_DIGITS = {dtypes.float16: 11, dtypes.bfloat16: 8}  # of the integers that the 16-bit formats hold, which are drawn as float32


def _random(flat, *args, generator, low=None, high=None, to=None, digits=None, **start):
    first, end = start.get("from", low), to if high is None else high
    if len(args) == 1 and first is None and end is None:
        args, end = (), args[0]
    if args:
        first, end = args[0], args[1] if len(args) > 1 else end
    if first is None and end is None:
        streams.fill_random(flat, generator, digits)
    else:
        streams.fill_randint(flat, first or 0, end, generator, digits)


_sampler("uniform_", _uniform, "Fill with uniform numbers in [from, to).",
         lambda *args, **ends: ("uniform", *_ends(*args, **ends)))  # fmt: skip
_sampler("normal_", _normal, "Fill with normal numbers of the given mean and standard deviation.",
         lambda mean=0.0, std=1.0: ("normal", mean, std))  # fmt: skip
_sampler("random_", _random, "Fill with integers from [low, high), or the dtype's whole range.")
_sampler("exponential_", lambda flat, lambd=1.0, *, generator: streams.fill_exponential(flat, lambd, generator),
         "Fill with exponential numbers of rate ``lambd``.", lambda lambd=1.0: ("exponential", lambd))  # fmt: skip
_sampler("cauchy_", lambda flat, median=0.0, sigma=1.0, *, generator: streams.fill_cauchy(flat, median, sigma, generator),
         "Fill with Cauchy numbers.")  # fmt: skip
_sampler("log_normal_", lambda flat, mean=1.0, std=2.0, *, generator: streams.fill_log_normal(flat, mean, std, generator),
         "Fill with exponentials of normal numbers.")  # fmt: skip
_sampler("geometric_", lambda flat, p, *, generator: streams.fill_geometric(flat, p, generator),
         "Fill with the number of trials up to the first success.")  # fmt: skip


@method
def bernoulli_(self, p=0.5, *, generator=None) -> Tensor:
    """Fill with 1 with probability ``p`` (a number or a tensor), else 0."""
    check_inplace("bernoulli_", self)
    track = recording((self,))
    if isinstance(p, Tensor):
        shape, order = self._m.shape, _memory_order(self._m)
        _draw(self, lambda flat: streams.fill_bernoulli_array(
            flat, np.broadcast_to(p._host(), shape).transpose(order).ravel(), generator
        ))  # fmt: skip
    else:
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        _draw(self, lambda flat: streams.fill_bernoulli(flat, p, generator), ("bernoulli", p), generator)
    written(self, "bernoulli_")
    if track:
        rebase(self, record(_copy_into.op, (self, None), self, {}))
    return self


# --- functions ---------------------------------------------------------------------------------------------------


def _new(op, size, dtype, device, out):
    if out is not None:
        return resized(op, size, out, dtype, device)
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    return empty_tensor(meta(d, sizes(op, size), resolve(device)))


def _parts(op, tensor):
    """A floating-point tensor itself, a complex one as pairs of reals."""
    return view_as_real(tensor) if tensor._m.dtype.is_complex else _floating(op, tensor)


def _floating(op, tensor):
    if tensor._m.dtype.format is not None:
        raise not_implemented_for(op, tensor._m.dtype)
    if not tensor._m.dtype.is_floating_point:
        raise RuntimeError(f'"{op}" not implemented for {tensor._m.dtype!r}: use a floating-point dtype')
    return tensor


def rand(*shape, size=None, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """Uniform numbers in [0, 1)."""
    found = _new("rand", shape if size is None else (size,), dtype, device, out)
    kind, ends = ("uniform", 0.0, 1.0), (0.0, 1.0)
    _draw(_parts("rand", found), lambda flat: streams.fill_uniform(flat, 0.0, 1.0, generator), kind, generator, ends)
    return found.requires_grad_() if requires_grad else found


def randn(*shape, size=None, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """Normal numbers with mean 0 and variance 1; of complex ones both parts have variance 1/2."""
    found = _new("randn", shape if size is None else (size,), dtype, device, out)
    std = math.sqrt(0.5) if found._m.dtype.is_complex else 1.0
    _draw(_parts("randn", found), lambda flat: streams.fill_normal(flat, 0.0, std, generator), ("normal", 0.0, std), generator)
    return found.requires_grad_() if requires_grad else found


def randint(low=0, high=None, size=None, *, generator=None, out=None, dtype=None, layout=None, device=None,
            requires_grad=False, pin_memory=False) -> Tensor:  # fmt: skip
    """Integers from [low, high) (low 0 by default), int64 unless given."""
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    if high is None or size is None:
        raise TypeError("randint() needs an upper bound and a size: randint(high, size) or randint(low, high, size)")
    low, high = integer("randint", "low", low), integer("randint", "high", high)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    d = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    if d.kind == "i":
        least, largest = streams.integer_limits(d.np.type)
        if low < least or high - 1 > largest:
            raise RuntimeError(f"randint: from={low} and to={high} are out of bounds for {d!r}")
    found = _new("randint", (size,), d, device, out)
    on_device = ("integers", low, high) if d.kind == "i" else None
    _draw(found, lambda flat: streams.fill_randint(flat, low, high, generator, _DIGITS.get(found._m.dtype)), on_device, generator)
    return found.requires_grad_() if requires_grad else found


def randperm(n, *, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    n = integer("randperm", "n", n)
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    geometry("randperm", (n,), (1,))
    check_memory(8 * n)
    d = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    found = cast(from_array(streams.permutation(n, generator, d.compute)), d).to(resolve(device))
    return found if out is None else write_out("randperm", found, out)


def _like(name, make, fill, doc):
    """``make(size=...)`` for tensors that are row-major, else the sampler ``fill``, which draws the same numbers."""

    def like(input, *args, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, generator=None,
             pin_memory=False, **kwargs) -> Tensor:  # fmt: skip
        m = as_tensor_operand(name, input, "input")._m
        extra = {} if generator is None else {"generator": generator}
        if memory_format is None or memory_format is preserve_format:
            as_input = not m.contiguous
        else:
            as_input = memory_format is not contiguous_format
        if as_input:
            found = empty_like(input, dtype=dtype, device=device, memory_format=memory_format)
            getattr(found, fill)(*args, **kwargs, **extra)  # elements are drawn as they lie in memory
            return found.requires_grad_() if requires_grad else found
        return make(*args, **kwargs, size=tuple(m.shape), dtype=dtype or m.dtype, device=device or m.device,
                    requires_grad=requires_grad, **extra)  # fmt: skip

    like.__name__ = like.__qualname__ = name
    like.__doc__ = doc
    return function(like, install=("ng",))


rand_like = _like("rand_like", lambda size, **options: rand(size, **options), "uniform_", "`rand` in the shape and dtype of ``input``.")
randn_like = _like("randn_like", lambda size, **options: randn(size, **options), "normal_", "`randn` in the shape and dtype of ``input``.")


def _randint_like(low=0, high=None, *, size, **options):
    return randint(0, low, size, **options) if high is None else randint(low, high, size, **options)


randint_like = _like("randint_like", _randint_like, "random_", "`randint` in the shape and dtype of ``input``.")


def normal(mean=0.0, std=1.0, size=None, *, generator=None, out=None, dtype=None, layout=None, device=None,
           requires_grad=False, pin_memory=False) -> Tensor:  # fmt: skip
    """Normal numbers; mean and std are numbers (with ``size``) or tensors."""
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        if size is None:
            raise TypeError("normal(): size is needed where mean and std are numbers")
        found = _floating("normal", _new("normal", (size,), dtype, device, out))
        _draw(found, lambda flat: _normal(flat, mean, std, generator=generator), ("normal", mean, std), generator)
        return found.requires_grad_() if requires_grad else found
    if isinstance(std, Tensor):
        if not std._m.dtype.is_floating_point:
            raise RuntimeError(f"normal expects standard deviation to be floating point, got {std._m.dtype!r}")
        if std._m.numel and any_true(std < 0):
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    like = mean if isinstance(mean, Tensor) else std
    mean, std = (value if isinstance(value, Tensor) else _number_like(like, value) for value in (mean, std))
    found = _normal_numbers(mean, std, generator=generator)
    return found if out is None else write_out("normal", found, out)


def _number_like(tensor, value):
    """A number as a 0-d tensor of the dtype and device of ``tensor``."""
    m = tensor._m
    return from_array(m.dtype.encode(np.array(value))).to(m.device)


@structured(install=(), cases="none", name="normal_numbers", grad_name="NormalBackward0")
def _normal_numbers(mean, std, *, generator=None):
    """Normal numbers, with gradients of zeros."""
    m = mean._m
    shape = broadcast_shapes("normal", m.shape, std._m.shape)
    found = empty_tensor(meta(m.dtype, shape, m.device))
    _draw(found, lambda flat: streams.fill_normal(flat, 0.0, 1.0, generator), ("normal", 0.0, 1.0), generator)
    return cast(found * std + mean, m.dtype)


@_normal_numbers.backward
def _(g, mean_meta, std_meta):
    return tuple(zero(empty_tensor(meta(m.dtype, m.shape, m.device))) for m in (mean_meta, std_meta))


@function
def bernoulli(input, p=None, *, generator=None, out=None) -> Tensor:
    """1 with the probability at its place in ``input`` (or ``p`` everywhere), else 0."""
    input = _floating("bernoulli", as_tensor_operand("bernoulli", input, "input"))
    source = input.detach() if p is None else p
    if p is None and input._m.numel and input._m.device is not META:
        lowest, highest = float(input.detach().amin()), float(input.detach().amax())
        if not (lowest >= 0 and highest <= 1):
            raise RuntimeError(f"Expected p_in >= 0 && p_in <= 1 to be true, but got values from {lowest} to {highest}")
    if out is not None:
        return resized("bernoulli", (tuple(input._m.shape),), out).bernoulli_(source, generator=generator)
    recorded = recording((input,))  # then with a gradient, which is 0
    found = input.clone() if recorded else empty_tensor(meta(input._m.dtype, input._m.shape, input._m.device))
    return found.bernoulli_(source, generator=generator)


@function
def multinomial(input, num_samples, replacement=False, *, generator=None, out=None) -> Tensor:
    """Indices drawn with the weights in the rows of ``input``: (c,) -> (samples,), (r, c) -> (r, samples)."""
    input = as_tensor_operand("multinomial", input, "input")
    if not input._m.dtype.is_floating_point:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input._m.dtype.scalar_type}")
    if input._m.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got {input._m.ndim}")
    num_samples = integer("multinomial", "num_samples", num_samples)
    if input._m.shape[-1] > 1 << 24:
        raise RuntimeError(f"multinomial: number of categories cannot exceed 2^24, got {input._m.shape[-1]}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input._m.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if out is not None and out._m.dtype is not dtypes.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out._m.dtype!r}")
    if input._m.device is META:
        drawn = empty_tensor(meta(dtypes.int64, (*input._m.shape[:-1], num_samples), META))
        return drawn if out is None else write_out("multinomial", drawn, out)
    weights = input._host()
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if weights.size and (weights.sum(-1) <= 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    found = from_array(streams.multinomial(weights, num_samples, replacement, generator)).to(input._m.device)
    return found if out is None else write_out("multinomial", found, out)


@structured(install=(), cases="none", name="poisson_counts", grad_name="PoissonBackward0")
def _poisson(input, *, generator=None):
    """Counts, with a gradient of zeros."""
    found = empty_tensor(meta(input._m.dtype, input._m.shape, input._m.device))
    return _draw(found, lambda flat: streams.fill_poisson(flat, np.ascontiguousarray(input._host()).ravel(), generator))


@_poisson.backward
def _(g):
    return zeros_like(g)


@function(install=("ng",))
def poisson(input, generator=None) -> Tensor:
    """Poisson counts of the rates in ``input``."""
    return _poisson(input, generator=generator)


# --- generators --------------------------------------------------------------------------------------------------


def manual_seed(seed) -> Generator:
    """Start the default stream, and those of CUDA devices, anew from ``seed``; returns the default generator."""
    config.seed_devices(int(seed))
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Start the default stream from a fresh random seed and return that."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default stream was started from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default stream as a uint8 tensor (in PyTorch's layout)."""
    return from_array(default_generator.get_state())


def set_rng_state(new_state) -> None:
    """Set the state of the default stream."""
    default_generator.set_state(np.array(new_state._host()))


# --- dropout -----------------------------------------------------------------------------------------------------


def _unfilled(shape, like):
    """A tensor to be drawn, of ``like``'s dtype, and laid out as it is if it has that shape: elements are drawn as they
    lie in memory."""
    m = like._m
    if not m.contiguous and tuple(shape) == m.shape:
        return empty_like(like)
    return empty_tensor(meta(m.dtype, tuple(shape), m.device))


def _keep_mask(shape, like, p, generator=None):
    """1 / (1 - p) with probability 1 - p, else 0, of ``like``'s dtype."""
    mask = _unfilled(shape, like)
    _draw(mask, lambda flat: streams.fill_bernoulli(flat, 1.0 - p, generator), ("bernoulli", 1.0 - p), generator)
    if p < 1:
        mask.mul_(1.0 / (1.0 - p))
    return mask


@structured(install=(), cases="none", grad_name="MulBackward0")
def apply_mask(input, *, mask):
    """``input * mask`` with a mask that is no variable."""
    return input * mask


@apply_mask.backward
def _(g, mask):
    return g * mask


def _check_p(name, p):
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name} probability has to be between 0 and 1, but got {p}")


def _masked(input, p, shape, inplace):
    """``input`` times a mask of ``shape``; p = 1 takes no random numbers."""
    mask = input.new_zeros(()) if p == 1 else _keep_mask(shape, input, p)
    return input.mul_(mask) if inplace else apply_mask(input, mask)


def dropout(input, p=0.5, training=True, inplace=False) -> Tensor:
    """Every element zeroed with probability ``p``, the others divided by ``1 - p``; the identity if not training."""
    _check_p("dropout", p)
    input = as_tensor_operand("dropout", input, "input")
    if not training or p == 0 or input._m.numel == 0:
        return input
    return _masked(input, p, input._m.shape, inplace)


def dropout_root(input, p, train) -> Tensor:
    """`nn.functional.dropout` with PyTorch's arguments for ``torch.dropout``."""
    return dropout(input, p, train)


function(dropout_root, install=("ng",), name="dropout")


def _drop_channels(name, input, lead, p, training, inplace):
    """Whole channels zeroed: what has the same index in the first ``lead`` dimensions."""
    m = input._m
    if not training or p == 0 or m.numel == 0:
        if inplace and lead == 1:
            check_inplace(f"{name}_", input)
        return input
    if m.ndim < lead:
        raise RuntimeError(f"{name}: Feature dropout requires at least {lead} dimensions in the input, got {list(m.shape)}")
    return _masked(input, p, (*m.shape[:lead], *(1,) * (m.ndim - lead)), inplace)


def _note_rank(name, ndim, spatial):
    warnings.warn(
        f"{name}: Received a {ndim}-D input to {name}, which is deprecated and will result in an error in a future release. "
        f"To retain the behavior and silence this warning, please use dropout instead. Note that {name} exists to provide "
        f"channel-wise dropout on inputs with {spatial} spatial dimensions, a channel dimension, and an optional batch "
        f"dimension (i.e. {spatial + 1}D or {spatial + 2}D inputs).", stacklevel=3,
    )  # fmt: skip


def dropout1d(input, p=0.5, training=True, inplace=False) -> Tensor:
    """Whole channels of (N, C, L) or (C, L) zeroed with probability ``p``, the others divided by ``1 - p``. Raises
    RuntimeError for inputs of another rank."""
    _check_p("dropout1d", p)
    input = as_tensor_operand("dropout1d", input, "input")
    if input._m.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input._m.ndim}D input")
    return _drop_channels("dropout1d", input, input._m.ndim - 1, p, training, inplace)


def dropout2d(input, p=0.5, training=True, inplace=False) -> Tensor:
    """Whole channels of (N, C, H, W) zeroed with probability ``p``, the others divided by ``1 - p``. Three dimensions are
    taken as (N, C, L), as `dropout1d` does; other ranks give a warning."""
    _check_p("dropout2d", p)
    input = as_tensor_operand("dropout2d", input, "input")
    if input._m.ndim not in (3, 4):
        _note_rank("dropout2d", input._m.ndim, 2)
    if input._m.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired - input "
            "is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change in a future release to "
            "interpret the input as one without a batch dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise "
            "dropout behavior, please switch to using dropout1d instead.", stacklevel=2,
        )  # fmt: skip
    return _drop_channels("dropout2d", input, 2, p, training, inplace)


def dropout3d(input, p=0.5, training=True, inplace=False) -> Tensor:
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) zeroed with probability ``p``, the others divided by ``1 - p``;
    other ranks give a warning."""
    _check_p("dropout3d", p)
    input = as_tensor_operand("dropout3d", input, "input")
    if input._m.ndim not in (4, 5):
        _note_rank("dropout3d", input._m.ndim, 3)
    return _drop_channels("dropout3d", input, 2 if input._m.ndim == 5 else 1, p, training, inplace)


def _alpha(input, p, shape, inplace):
    # Dropped elements take SELU's negative saturation; the affine map restores mean 0 and variance 1.
    if p == 1:
        return _masked(input, p, shape, inplace)
    saturation = -1.7580993408473766
    keep = _unfilled(shape, input)
    _draw(keep, lambda flat: streams.fill_bernoulli(flat, 1.0 - p, None))
    a = 1.0 / ((saturation * saturation * p + 1.0) * (1.0 - p)) ** 0.5
    shift = (1.0 - keep) * (saturation * a) - saturation * a * p
    return input.mul_(keep * a).add_(shift) if inplace else apply_mask(input, keep * a) + shift


def alpha_dropout(input, p=0.5, training=False, inplace=False) -> Tensor:
    """Dropout that keeps mean and variance of SELU activations (arXiv:1706.02515)."""
    _check_p("alpha_dropout", p)
    input = as_tensor_operand("alpha_dropout", input, "input")
    if not training or p == 0 or input._m.numel == 0:
        return input
    return _alpha(input, p, tuple(input._m.shape), inplace)


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, *)."""
    _check_p("feature_alpha_dropout", p)
    input = as_tensor_operand("feature_alpha_dropout", input, "input")
    if not training or p == 0 or input._m.numel == 0:
        return input
    if input._m.ndim < 2:
        raise RuntimeError(
            "feature_alpha_dropout: Feature dropout requires at least 2 dimensions in the input, got "
            f"{list(input._m.shape)}"
        )
    return _alpha(input, p, (*input._m.shape[:2], *(1,) * (input._m.ndim - 2)), inplace)


# --- Gumbel's softmax ----------------------------------------------------------------------------------------------


@function(install=())
def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1) -> Tensor:
    """A sample of a category as probabilities, ``softmax((logits + gumbel noise) / tau)`` (arXiv:1611.01144).

    ``hard`` rounds it to one category, with the gradient of the probabilities. ``eps`` is not used.
    """
    logits = as_tensor_operand("gumbel_softmax", logits, "logits")
    m = logits._m
    noise = -empty_tensor(meta(m.dtype, m.shape, m.device)).exponential_().log()
    soft = softmax_root((logits + noise) / tau, dim)
    if not hard:
        return soft
    at = argmax(soft, dim, True)
    return zeros_like(soft).scatter_(dim, at, 1.0) - soft.detach() + soft
