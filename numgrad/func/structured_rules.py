"""Rules for batched inputs of ops with kernels of their own: a batch dimension in front is kept in front, folded into one
that the kernel has anyway, or into the groups of a convolution. None: there is no rule for this case."""

from math import prod

from ..op import dense
from ..ops.conv import conv_input_grad, conv_weight_grad, convolution
from ..ops.create import arange
from ..ops.matmul import matrix_product
from ..ops.parts import select
from ..ops.places import Along, Places, spread
from ..ops.view import reshape
from ..storage import meta
from ..structured import structured
from .batched import Batched
from .batching import RULES, Samples, indices_of


def rule(*names):
    """Decorator: the rule of these ops."""

    def register(fn):
        RULES.update(dict.fromkeys(names, fn))
        return fn

    return register


# --- dimensions in front are kept ------------------------------------------------------------------------------------------


@rule(
    "contiguous_copy", "to_dtype", "to_other_device", "view_as_real", "view_as_complex", "matrix_inverse", "determinant",
    "matrix_exponential", "triangle", "avg_pool", "adaptive_avg_pool", "complex_matrix_product", "solution",
    "triangular_solution",
)  # fmt: skip
def _in_front(samples):
    if samples.attributes.get("memory_format") is not None:
        return None
    ranks = {tensor._m.ndim for tensor in samples.inputs.values()}
    return samples.call(*map(samples.value, samples.inputs)) if len(ranks) == 1 else None


@rule("clone")
def _clone(samples):
    return samples.call(samples.value("input")) if samples.attributes["memory_format"] is None else None


@rule("max_pool", "avg_pool_input_grad", "adaptive_avg_pool_input_grad", "max_pool_input_grad")
def _of_shape(samples):
    shape = {"shape": (samples.n, *samples.attributes["shape"])} if "shape" in samples.attributes else {}
    # Kernels read indices as they were made, row-major.
    return samples.call(*[dense(samples.value(name)) for name in samples.inputs], **shape)


def _shifted(name):
    """The rule of ops whose attribute ``name`` is a dimension or a tuple of dimensions."""

    def shifted(samples):
        dims = samples.attributes[name]
        ranks = {tensor._m.ndim for tensor in samples.inputs.values()}
        (ndim,) = ranks if len(ranks) == 1 else (0,)
        if not ndim:
            return None
        if dims is None or dims == ():
            dims = tuple(range(ndim))
        dims = tuple([dim % ndim + 1 for dim in dims]) if isinstance(dims, (tuple, list)) else dims % ndim + 1
        return samples.call(*map(samples.value, samples.inputs), **{name: dims})

    return shifted


for _names, _attribute in (
    (("shared_amax", "shared_amin", "cumsum", "cumprod", "logcumsumexp", "fft_c2c", "fft_r2c", "fft_c2r",
      "cumulative_extreme", "max_values", "min_values", "sort_values", "topk_values", "kthvalue_values", "median_values",
      "nanmedian_values", "mode_values"), "dim"),
    (("flip",), "dims"),
    (("softmax_columns", "log_softmax_columns", "logsumexp_columns", "variance_columns"), "axes"),
):  # fmt: skip
    rule(*_names)(_shifted(_attribute))


@rule("prod")
def _prod(samples):
    if samples.attributes["dim"] is not None:
        return _shifted("dim")(samples)
    found = samples.call(reshape(samples.value("input"), (samples.n, -1)), dim=1, keepdim=False)
    return reshape(found, (-1, *(1,) * samples.inputs["input"]._m.ndim)) if samples.attributes["keepdim"] else found


@rule("roll")
def _roll(samples):
    shifts = tuple([(axis + 1, shift) for axis, shift in samples.attributes["shifts"]])
    return samples.call(samples.value("input"), shifts=shifts)


@rule("constant_pad_nd", "bordered", "border_folded")
def _pad(samples):
    return samples.call(samples.value("input"), widths=((0, 0), *samples.attributes["widths"]))


@rule("upsample")
def _upsample(samples):
    passes = tuple([(dim if dim < 0 else dim + 1, taps) for dim, taps in samples.attributes["passes"]])
    return samples.call(samples.value("input"), passes=passes)


@rule("slice_gradient", "diagonal_gradient", "_sliced_gradient", "slices_along_gradient")
def _of_part(samples):
    m = samples.attributes["input_meta"]
    changed: dict = {"input_meta": meta(m.dtype, (samples.n, *m.shape), m.device)}
    for name, value in samples.attributes.items():
        if name.startswith("dim"):
            changed[name] = value % m.ndim + 1
        elif name == "spec":
            changed[name] = ((0, 1, samples.n), *value)
    return samples.call(samples.value("g"), **changed)


@rule(
    "windows", "overlapped", "cross_entropy_columns", "grid_sampler", "grid_sampler_input_grad", "grid_sampler_weight_grad"
)
def _folded(samples):
    """The batch dimension becomes part of the first one."""
    found = samples.call(*[_fold(samples.value(name)) for name in samples.inputs])
    return reshape(found, (samples.n, -1, *found._m.shape[1:])) if found._m.numel else None


def _fold(tensor):
    n, first, *rest = tensor._m.shape
    return reshape(tensor, (n * first, *rest))


# --- products ----------------------------------------------------------------------------------------------------------------


@rule("matrix_product")
def _matrix_product(samples):
    x, y = samples.inputs.values()
    if "other" not in samples.batched and y._m.ndim == 2 and x._m.ndim >= 2:  # one product of all rows
        value = samples.value("input")
        found = samples.op.entry(reshape(value, (prod(value._m.shape[:-1]), value._m.shape[-1])), y)
        return reshape(found, (*value._m.shape[:-1], y._m.shape[-1]))
    ndim = max(x._m.ndim, y._m.ndim)
    return samples.op.entry(*[
        reshape(value, (samples.n, *(1,) * (ndim - tensor._m.ndim), *tensor._m.shape)) if name in samples.batched else tensor
        for name, tensor, value in ((k, v, samples.plain(k)) for k, v in samples.inputs.items())
    ])  # fmt: skip


@rule("linear")
def _linear(samples):
    weight, bias = samples.inputs["weight"], samples.inputs["bias"]
    x = samples.value("input") if "input" in samples.batched or "weight" in samples.batched else samples.inputs["input"]
    if "weight" not in samples.batched:
        if "bias" not in samples.batched:
            return samples.op.entry(x, weight, bias)
        found = samples.op.entry(x, weight)
        if "input" not in samples.batched:
            found = found.unsqueeze(0)
    elif weight._m.ndim != 2 or samples.inputs["input"]._m.ndim == 0:
        return None
    else:
        rows = x._m.shape[1:-1]
        product = matrix_product(reshape(x, (samples.n, prod(rows), x._m.shape[-1])), samples.value("weight").transpose(1, 2))
        found = reshape(product, (samples.n, *rows, weight._m.shape[0]))
    if bias is None:
        return found
    if "bias" not in samples.batched:
        return found + bias
    shape = bias._m.shape
    return found + reshape(samples.value("bias"), (samples.n, *(1,) * (found._m.ndim - 1 - len(shape)), *shape))


# --- convolutions ------------------------------------------------------------------------------------------------------------


def _merge_channels(tensor):
    """(n, N, C, *) -> (N, n * C, *)."""
    n, count, channels, *size = tensor._m.shape
    if count == 1:
        return reshape(tensor, (1, n * channels, *size))
    return reshape(tensor.transpose(0, 1), (count, n * channels, *size))


def _split_channels(tensor, n):
    """(N, n * C, *) -> (n, N, C, *)."""
    count, channels, *size = tensor._m.shape
    return reshape(tensor, (count, n, channels // n, *size)).transpose(0, 1)


@structured(install=(), cases="none", grad_name="ConvolutionBackward0")
def sample_convolution(input, weight, *, stride, padding, dilation, groups, out_size):
    """`convolution` with a weight for each of n samples: (n, N, C, *size), (n, K, C / groups, *taps) -> (n, N, K, *out_size).

    Weights that are one repeated tensor, as of samples that differentiate with respect to it, are read as that one.
    """
    return _by_samples(convolution, input, weight, stride, padding, dilation, groups, out_size=out_size)


@sample_convolution.backward
def _(g, input, weight, stride, padding, dilation, groups):
    d_input = d_weight = None
    if input._n is not None:
        d_input = sample_conv_input_grad(g, weight, tuple(input._m.shape)[3:], stride, padding, dilation, groups)
    if weight._n is not None:
        d_weight = _weight_gradients(g, input, weight, stride, padding, dilation, groups)
    return d_input, d_weight


@structured(install=(), cases="none", grad_name="ConvolutionBackwardBackward0")
def sample_conv_input_grad(g, weight, *, size, stride, padding, dilation, groups):
    """`conv_input_grad` with a weight for each of n samples."""
    return _by_samples(conv_input_grad, g, weight, stride, padding, dilation, groups, size=size)


@sample_conv_input_grad.backward
def _(gg, g, weight, stride, padding, dilation, groups):
    d_g = d_weight = None
    if g._n is not None:
        d_g = sample_convolution(gg, weight, stride, padding, dilation, groups, tuple(g._m.shape)[3:])
    if weight._n is not None:
        d_weight = _weight_gradients(g, gg, weight, stride, padding, dilation, groups)
    return d_g, d_weight


def _by_samples(product, x, weight, stride, padding, dilation, groups, **size):
    n = x._m.shape[0]
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "format": None, **size}
    if weight._m.strides[0] == 0:
        found = product(_fold(x), select(weight, 0, 0), groups=groups, **settings)
        return reshape(found, (*x._m.shape[:2], *found._m.shape[1:]))
    return _split_channels(product(_merge_channels(x), _fold(weight), groups=n * groups, **settings), n)


def _weight_gradients(g, input, weight, stride, padding, dilation, groups):
    taps, n = tuple(weight._m.shape)[3:], g._m.shape[0]
    found = conv_weight_grad(_merge_channels(g), _merge_channels(input), taps, stride, padding, dilation, n * groups, None)
    return reshape(found, tuple(weight._m.shape))


@rule("convolution", "conv_input_grad")
def _convolution(samples):
    first, *_ = samples.inputs
    weight, bias = samples.inputs["weight"], samples.inputs.get("bias")
    more = (None,) if "bias" in samples.inputs else ()
    if "weight" in samples.batched:
        product = sample_convolution if samples.op.name == "convolution" else sample_conv_input_grad
        settings = {name: value for name, value in samples.attributes.items() if name != "format"}
        found = product(samples.value(first), samples.value("weight"), **settings)
        if bias is not None and "bias" not in samples.batched:
            found = found + reshape(bias, (-1, *(1,) * (found._m.ndim - 3)))
    else:
        x = samples.value(first) if first in samples.batched else samples.inputs[first].unsqueeze(0)
        found = samples.call(_fold(x), weight, *((bias,) if more and "bias" not in samples.batched else more))
        found = reshape(found, (*x._m.shape[:2], *found._m.shape[1:]))
    if "bias" in samples.batched:
        found = found + reshape(samples.value("bias"), (samples.n, 1, -1, *(1,) * (found._m.ndim - 3)))
    return found


@rule("conv_weight_grad")
def _conv_weight_grad(samples):
    g, x = samples.value("g"), samples.value("input")
    found = samples.call(_merge_channels(g), _merge_channels(x), groups=samples.n * samples.attributes["groups"])
    return reshape(found, (samples.n, -1, *found._m.shape[1:]))


# --- normalisation -----------------------------------------------------------------------------------------------------------


def _scaled(samples, found, at):
    """``found`` times weight plus bias, vectors along dimension ``at`` of the values."""
    for name, apply in (("weight", "mul"), ("bias", "add")):
        tensor = samples.inputs.get(name)
        if tensor is not None:
            lead = (samples.n,) if name in samples.batched else (1,)
            tail = (1,) * (found._m.ndim - at - 1)
            tensor = reshape(samples.plain(name), (*lead, *(1,) * (at - 1), -1, *tail))
            found = found * tensor if apply == "mul" else found + tensor
    return found


def _has_own_scale(samples):
    return not samples.batched.isdisjoint(("weight", "bias"))


@rule("layer_norm_rows", "rms_norm_rows")
def _row_norm(samples):
    x, *rest = samples.inputs
    if not _has_own_scale(samples):
        return samples.call(samples.value(x), *[samples.inputs[name] for name in rest])
    found = samples.call(samples.value(x), *[None] * len(rest))
    return _scaled(samples, found, found._m.ndim - 1)


@rule("native_group_norm")
def _group_norm(samples):
    x = samples.value("input")
    if not _has_own_scale(samples):
        found = samples.call(_fold(x), samples.inputs["weight"], samples.inputs["bias"])
        return reshape(found, tuple(x._m.shape))
    return _scaled(samples, reshape(samples.call(_fold(x), None, None), tuple(x._m.shape)), 2)


@rule("native_batch_norm")
def _batch_norm(samples):
    attributes = samples.attributes
    running = {name: attributes[name] for name in ("running_mean", "running_var")}
    if attributes["training"] and any(value is not None for value in running.values()):
        raise RuntimeError(
            "vmap: Batch norm got a batched tensor as input while the running_mean or running_var, which will be updated in "
            "place, were not batched. If you are using a module and do not need eval mode, please set `track_running_stats` to "
            "be False. If you are using a prebuilt module and do not need eval mode, please see "
            "numgrad.func.replace_all_batch_norm_modules_"
        )
    running = {name: None if value is None else reshape(samples.one(value), (-1,)) for name, value in running.items()}
    x = _merge_channels(samples.value("input"))
    scale = [None if samples.inputs[name] is None else reshape(samples.value(name), (-1,)) for name in ("weight", "bias")]
    return _split_channels(samples.call(x, *scale, **running), samples.n)


# --- reading and writing at places -------------------------------------------------------------------------------------------


def _placed(samples: Samples):
    """(places in the values, order of dimensions that brings what is there to (n, *shape of a sample), its inverse)."""
    at = samples.attributes["at"]
    if type(at) is Along:
        return Along(at.op, samples.one(at.index), at.dim + 1, at.wrap), None
    if type(at) is not Places:
        return None, None
    dims = tuple([dim + 1 for dim in at.dims])
    count = at.indices[0]._m.ndim
    if not any(type(index) is Batched for index in indices_of(at)):
        return Places(at.op, at.indices, dims, at.front, at.wrap), (count if at.front else 0, 0)
    indices = [samples.one(index) for index in at.indices]
    own = reshape(arange(samples.n, device=indices[0]._m.device), (-1, *(1,) * count)).expand(indices[0]._m.shape)
    before = 0 if at.front else at.dims[0]
    front = dims != tuple(range(1, len(dims) + 1))
    return Places(at.op, (own, *indices), (0, *dims), front, at.wrap), (0, before)


def _order(samples, ndim, moves):
    """The dimensions of what is at the places in the values, in the order of (n, *a sample's)."""
    if moves is None or moves == (0, 0):
        return None
    first, before = moves
    if first:  # the indices' dimensions stand before the batch
        return (first, *range(first), *range(first + 1, ndim))
    count = samples.attributes["at"].indices[0]._m.ndim
    return (0, *range(1 + count, 1 + count + before), *range(1, 1 + count), *range(1 + count + before, ndim))


def _from_places(samples, value, moves):
    order = _order(samples, value._m.ndim, moves)
    return value if order is None else value.permute(*order)


def _to_places(samples, value, moves):
    order = _order(samples, value._m.ndim, moves)
    return value if order is None else value.permute(*sorted(range(len(order)), key=order.__getitem__))


@rule("gather", "index_select", "take", "read_back", "index", "scatter_read", "embedding")
def _read(samples):
    at, moves = _placed(samples)
    if at is None or samples.attributes.get("by_frequency"):
        return None
    name = next(iter(samples.inputs))
    if samples.attributes.get("padding_idx") is not None:
        return None
    return _from_places(samples, samples.call(samples.value(name), at=at), moves)


@rule("spread")
def _spread(samples):
    at, moves = _placed(samples)
    if at is None:
        return None
    m = samples.attributes["shape_of"]
    g = _to_places(samples, samples.value("g"), moves)
    return samples.call(g, at=at, shape_of=meta(m.dtype, (samples.n, *m.shape), m.device))


@rule("_embedding_gradient")
def _embedding_gradient(samples):
    at, _ = _placed(samples)
    m, padding = samples.attributes["weight_meta"], samples.attributes["padding_idx"]
    found = spread(samples.value("g"), shape_of=meta(m.dtype, (samples.n, *m.shape), m.device), at=at)
    return found if padding is None else found * (arange(m.shape[0], device=m.device) != padding).unsqueeze(-1)


@rule("cleared")
def _cleared(samples):
    at, _ = _placed(samples)
    return None if at is None else samples.call(samples.value("g"), at=at)


@rule("index_add", "index_copy", "index_fill", "put", "index_put", "scatter", "scatter_add", "scatter_reduce")
def _write(samples):
    at, moves = _placed(samples)
    src = samples.inputs["src"]
    if at is None or src is None:
        return None
    if src._m.ndim:
        value = _to_places(samples, samples.value("src"), moves)
    elif "src" in samples.batched:
        return None
    else:
        value = src
    return samples.call(samples.value("input"), value, at=at)


