"""numgrad: the PyTorch programming model on kernels that are plain Python functions compiled by Numba."""

from . import (
    autograd as autograd,
    barebones as barebones,
    complexes as complexes,
    detours as detours,
    gradients as gradients,
    linalg as linalg,
    nn as nn,
    optim as optim,
    overrides as overrides,
    paths as paths,
    testing as testing,
)
from .autograd import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from .checks import (
    _check as _check,
    _check_index as _check_index,
    _check_not_implemented as _check_not_implemented,
    _check_type as _check_type,
    _check_value as _check_value,
)
from .compiler import compile as compile
from .config import (
    get_num_threads as get_num_threads,
    set_num_threads as set_num_threads,
)
from .device import Device as device
from .dtypes import (
    bfloat16 as bfloat16,
    bool_ as bool,
    can_cast as can_cast,
    complex32 as chalf,
    complex32 as complex32,
    complex64 as cfloat,
    complex64 as complex64,
    complex128 as cdouble,
    complex128 as complex128,
    dtype as dtype,
    finfo as finfo,
    float8_e4m3fn as float8_e4m3fn,
    float8_e4m3fnuz as float8_e4m3fnuz,
    float8_e5m2 as float8_e5m2,
    float8_e5m2fnuz as float8_e5m2fnuz,
    float16 as float16,
    float16 as half,
    float32 as float32,
    float64 as float64,
    get_default_dtype as get_default_dtype,
    iinfo as iinfo,
    int8 as int8,
    int16 as int16,
    int32 as int32,
    int64 as int64,
    promote as promote_types,
    qint8 as qint8,
    qint32 as qint32,
    quint8 as quint8,
    set_default_dtype as set_default_dtype,
    uint8 as uint8,
    uint16 as uint16,
    uint32 as uint32,
    uint64 as uint64,
)
from .errors import OutOfMemoryError as OutOfMemoryError
from .function import Function as _Function
from .generator import Generator as Generator, default_generator as default_generator
from .imports import as_torch as as_torch
from .io import load as load, save as save
from .layout import (
    Size as Size,
    channels_last as channels_last,
    channels_last_3d as channels_last_3d,
    contiguous_format as contiguous_format,
    contiguous_format as legacy_contiguous_format,
    layout as layout,
    memory_format as memory_format,
    preserve_format as preserve_format,
    strided as strided,
)
from .names import function_of as _function_of, open_doors as _open_doors
from .ops.activation import (
    _relu as relu,
    add_relu as _add_relu,
    celu as celu,
    hardshrink as hardshrink,
    prelu as prelu,
    rrelu as rrelu,
    selu as selu,
    threshold as threshold,
)
from .ops.activation_inplace import (
    celu_ as celu_,
    rrelu_ as rrelu_,
    selu_ as selu_,
    threshold_ as threshold_,
)
from .ops.arithmetic import (
    add as add,
    addcdiv as addcdiv,
    addcmul as addcmul,
    copysign as copysign,
    div as div,
    div as divide,
    floor_divide as floor_divide,
    fmod as fmod,
    lerp as lerp,
    magnitude as abs,
    magnitude as absolute,
    mul as mul,
    mul as multiply,
    nan_to_num as nan_to_num,
    neg as neg,
    neg as negative,
    positive as positive,
    reciprocal as reciprocal,
    remainder as remainder,
    rsub as rsub,
    sgn as sgn,
    sign as sign,
    sub as sub,
    sub as subtract,
    true_divide as true_divide,
)
from .ops.batch_norm import batch_norm_root as batch_norm, batch_norm_update_stats as batch_norm_update_stats
from .ops.bessel import i0 as i0
from .ops.bitwise import (
    bitwise_and as bitwise_and,
    bitwise_left_shift as bitwise_left_shift,
    bitwise_not as bitwise_not,
    bitwise_or as bitwise_or,
    bitwise_right_shift as bitwise_right_shift,
    bitwise_xor as bitwise_xor,
    gcd as gcd,
    lcm as lcm,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
)
from .ops.calculus import (
    cumulative_trapezoid as cumulative_trapezoid,
    gradient as gradient,
    trapezoid as trapezoid,
    trapz as trapz,
)
from .ops.compare import (
    _isfinite as isfinite,
    _isinf as isinf,
    _isnan as isnan,
    allclose as allclose,
    eq as eq,
    equal as equal,
    ge as ge,
    ge as greater_equal,
    gt as greater,
    gt as gt,
    isclose as isclose,
    isneginf as isneginf,
    isposinf as isposinf,
    isreal as isreal,
    le as le,
    le as less_equal,
    lt as less,
    lt as lt,
    ne as ne,
    ne as not_equal,
    signbit as signbit,
    where_function as where,
)
from .ops.complex import (
    _neg_view as _neg_view,
    angle as angle,
    complex_ as complex,
    conj as conj,
    conj_physical as conj_physical,
    conj_physical_ as conj_physical_,
    imag as imag,
    is_complex as is_complex,
    is_conj as is_conj,
    is_neg as is_neg,
    polar as polar,
    real as real,
    resolve_conj as resolve_conj,
    resolve_neg as resolve_neg,
    view_as_complex as view_as_complex,
    view_as_complex_copy as view_as_complex_copy,
    view_as_real as view_as_real,
    view_as_real_copy as view_as_real_copy,
)
from .ops.conv import (
    conv1d as conv1d,
    conv2d as conv2d,
    conv3d as conv3d,
    conv_tbc as conv_tbc,
    conv_transpose1d as conv_transpose1d,
    conv_transpose2d as conv_transpose2d,
    conv_transpose3d as conv_transpose3d,
)
from .ops.copy import clone as clone, fill as fill
from .ops.create import (
    _assert as _assert,
    _assert_async as _assert_async,
    _assert_tensor_metadata as _assert_tensor_metadata,
    arange as arange,
    as_tensor as as_tensor,
    empty as empty,
    empty_like as empty_like,
    empty_permuted as empty_permuted,
    empty_strided as empty_strided,
    eye as eye,
    from_numpy as from_numpy,
    frombuffer as frombuffer,
    full as full,
    full_like as full_like,
    is_floating_point as is_floating_point,
    is_nonzero as is_nonzero,
    is_tensor as is_tensor,
    linspace as linspace,
    logspace as logspace,
    numel as numel,
    ones as ones,
    ones_like as ones_like,
    range_ as range,
    result_type as result_type,
    scalar_tensor as scalar_tensor,
    tensor as tensor,
    zeros as zeros,
    zeros_like as zeros_like,
)
from .ops.ctc import ctc_loss as ctc_loss
from .ops.distance import (
    cdist as cdist,
    cosine_similarity as cosine_similarity,
    dist as dist,
    norm as norm,
    norm_except_dim as norm_except_dim,
    pairwise_distance as pairwise_distance,
    pdist as pdist,
    renorm as renorm,
)
from .ops.distinct import (
    bincount as bincount,
    bucketize as bucketize,
    count_nonzero as count_nonzero,
    histc as histc,
    histogram as histogram,
    isin as isin,
    searchsorted as searchsorted,
    unique as unique,
    unique_consecutive as unique_consecutive,
)
from .ops.einsum import einsum as einsum, tensordot as tensordot
from .ops.extrema import (
    _fmax as fmax,
    _fmin as fmin,
    _maximum as maximum,
    _minimum as minimum,
    clamp as clamp,
    clamp as clip,
    clamp_max as clamp_max,
    clamp_min as clamp_min,
    heaviside as heaviside,
    nextafter as nextafter,
)
from .ops.factor import (
    cholesky as cholesky,
    cholesky_inverse as cholesky_inverse,
    cholesky_solve as cholesky_solve,
    lu_solve as lu_solve,
    lu_unpack as lu_unpack,
    old_lu as lu,
    qr as qr,
    svd as svd,
)
from .ops.fake_quantize import (
    fake_quantize_per_channel_affine as fake_quantize_per_channel_affine,
    fake_quantize_per_tensor_affine as fake_quantize_per_tensor_affine,
    fused_moving_avg_obs_fake_quant as fused_moving_avg_obs_fake_quant,
)
from .ops.gamma import (
    frexp as frexp,
    mvlgamma as mvlgamma,
    polygamma as polygamma,
)
from .ops.grid import (
    grid_sampler as grid_sampler,
    grid_sampler_2d as grid_sampler_2d,
    grid_sampler_3d as grid_sampler_3d,
)
from .ops.group_norm import group_norm as group_norm, instance_norm as instance_norm
from .ops.householder import geqrf as geqrf, orgqr as orgqr, ormqr as ormqr
from .ops.incomplete_gamma import igamma as igamma, igammac as igammac
from .ops.index import (
    gather as gather,
    index_add as index_add,
    index_copy as index_copy,
    index_fill as index_fill,
    index_select as index_select,
    put as put,
    take as take,
    take_along_dim as take_along_dim,
)
from .ops.interchange import asarray as asarray, from_dlpack as from_dlpack, to_dlpack as to_dlpack
from .ops.join import (
    atleast_1d as atleast_1d,
    atleast_2d as atleast_2d,
    atleast_3d as atleast_3d,
    block_diag as block_diag,
    broadcast_tensors as broadcast_tensors,
    cartesian_prod as cartesian_prod,
    cat as cat,
    column_stack as column_stack,
    combinations as combinations,
    common_shape as broadcast_shapes,
    concat as concat,
    concatenate as concatenate,
    dstack as dstack,
    hstack as hstack,
    meshgrid as meshgrid,
    row_stack as row_stack,
    stack as stack,
    vstack as vstack,
)
from .ops.loss import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
)
from .ops.lowrank import pca_lowrank as pca_lowrank, svd_lowrank as svd_lowrank
from .ops.mask import (
    argwhere as argwhere,
    masked_fill as masked_fill,
    masked_scatter as masked_scatter,
    masked_select as masked_select,
    nonzero as nonzero,
    unravel_index as unravel_index,
)
from .ops.math import (
    acos as acos,
    acos as arccos,
    acosh as acosh,
    acosh as arccosh,
    asin as arcsin,
    asin as asin,
    asinh as arcsinh,
    asinh as asinh,
    atan as arctan,
    atan as atan,
    atan2 as arctan2,
    atan2 as atan2,
    atanh as arctanh,
    atanh as atanh,
    ceil as ceil,
    cos as cos,
    cosh as cosh,
    deg2rad as deg2rad,
    digamma as digamma,
    erf as erf,
    erfc as erfc,
    erfinv as erfinv,
    exp as exp,
    exp2 as exp2,
    expm1 as expm1,
    floor as floor,
    frac as frac,
    lgamma as lgamma,
    log as log,
    log1p as log1p,
    log2 as log2,
    log10 as log10,
    logaddexp as logaddexp,
    logaddexp2 as logaddexp2,
    logit as logit,
    rad2deg as rad2deg,
    round_ as round,
    rsqrt as rsqrt,
    sigmoid as sigmoid,
    sin as sin,
    sinc as sinc,
    sinh as sinh,
    sqrt as sqrt,
    tan as tan,
    tanh as tanh,
    trunc as fix,
    trunc as trunc,
    xlogy as xlogy,
)
from .ops.matmul import (
    _addmm_activation as _addmm_activation,
    _int_mm as _int_mm,
    addbmm as addbmm,
    addmm as addmm,
    addmv as addmv,
    addr as addr,
    baddbmm as baddbmm,
    bilinear as bilinear,
    bmm as bmm,
    dot as dot,
    inner as inner,
    matmul as matmul,
    mm as mm,
    mv as mv,
    outer as outer,
)
from .ops.matrix import (
    _old_det as det,
    _old_slogdet as slogdet,
    logdet as logdet,
    matrix_exp as matrix_exp,
    pinverse as pinverse,
)
from .ops.norm import layer_norm as layer_norm, rms_norm as rms_norm
from .ops.pad import constant_pad_nd as constant_pad_nd
from .ops.parts import (
    chunk as chunk,
    diagonal as diagonal,
    is_inference as is_inference,
    narrow as narrow,
    narrow_copy as narrow_copy,
    select as select,
    split as split,
    split_with_sizes as split_with_sizes,
    tensor_split as tensor_split,
    unbind as unbind,
    unsafe_chunk as unsafe_chunk,
    unsafe_split as unsafe_split,
    unsafe_split_with_sizes as unsafe_split_with_sizes,
)
from .ops.pool import (
    adaptive_avg_pool1d as adaptive_avg_pool1d,
    adaptive_max_pool1d_with_indices as adaptive_max_pool1d,
    avg_pool1d as avg_pool1d,
    max_pool1d as max_pool1d,
    max_pool1d_with_indices as max_pool1d_with_indices,
    max_pool2d as max_pool2d,
    max_pool3d as max_pool3d,
)
from .ops.power import (
    _hypot as hypot,
    float_power as float_power,
    ldexp as ldexp,
    pow_ as pow,
    square as square,
)
from .ops.products import (
    chain_matmul as chain_matmul,
    cross as cross,
    ger as ger,
    kron as kron,
    matrix_power as matrix_power,
    trace as trace,
    vander as vander,
    vdot as vdot,
)
from .ops.quantile import nanquantile as nanquantile, quantile as quantile
from .ops.random import (
    bernoulli as bernoulli,
    dropout_root as dropout,
    get_rng_state as get_rng_state,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    multinomial as multinomial,
    normal as normal,
    poisson as poisson,
    rand as rand,
    rand_like as rand_like,
    randint as randint,
    randint_like as randint_like,
    randn as randn,
    randn_like as randn_like,
    randperm as randperm,
    seed as seed,
    set_rng_state as set_rng_state,
)
from .ops.rearrange import (
    as_strided_scatter as as_strided_scatter,
    diag as diag,
    diag_embed as diag_embed,
    diagflat as diagflat,
    diagonal_scatter as diagonal_scatter,
    dsplit as dsplit,
    flip as flip,
    fliplr as fliplr,
    flipud as flipud,
    hsplit as hsplit,
    repeat_interleave as repeat_interleave,
    roll as roll,
    rot90 as rot90,
    select_scatter as select_scatter,
    slice_scatter as slice_scatter,
    tile as tile,
    tril as tril,
    tril_indices as tril_indices,
    triu as triu,
    triu_indices as triu_indices,
    vsplit as vsplit,
)
from .ops.reduce import (
    all as all,
    amax as amax,
    amin as amin,
    any as any,
    mean as mean,
    prod as prod,
    sum as sum,
)
from .ops.rejection import (
    _sample_dirichlet as _sample_dirichlet,
    _standard_gamma as _standard_gamma,
    binomial as binomial,
)
from .ops.removed import eig as eig, lstsq as lstsq, matrix_rank as matrix_rank, solve as solve, symeig as symeig
from .ops.root_forms import (
    alias_copy as alias_copy,
    alpha_dropout as alpha_dropout,
    alpha_dropout_ as alpha_dropout_,
    as_strided_copy as as_strided_copy,
    cosine_embedding_loss as cosine_embedding_loss,
    detach_copy as detach_copy,
    diagonal_copy as diagonal_copy,
    dropout_ as dropout_,
    embedding as embedding,
    expand_copy as expand_copy,
    feature_alpha_dropout as feature_alpha_dropout,
    frobenius_norm as frobenius_norm,
    get_device as get_device,
    gru_cell as gru_cell,
    hinge_embedding_loss as hinge_embedding_loss,
    is_same_size as is_same_size,
    is_signed as is_signed,
    is_warn_always_enabled as is_warn_always_enabled,
    kl_div as kl_div,
    lstm_cell as lstm_cell,
    margin_ranking_loss as margin_ranking_loss,
    nonzero_static as nonzero_static,
    nuclear_norm as nuclear_norm,
    permute_copy as permute_copy,
    rnn_relu_cell as rnn_relu_cell,
    rnn_tanh_cell as rnn_tanh_cell,
    select_copy as select_copy,
    set_flush_denormal as set_flush_denormal,
    set_warn_always as set_warn_always,
    slice_copy as slice_copy,
    split_copy as split_copy,
    split_with_sizes_copy as split_with_sizes_copy,
    squeeze_copy as squeeze_copy,
    sym_float as sym_float,
    sym_int as sym_int,
    sym_ite as sym_ite,
    sym_max as sym_max,
    sym_min as sym_min,
    sym_not as sym_not,
    sym_sqrt as sym_sqrt,
    sym_sum as sym_sum,
    t_copy as t_copy,
    transpose_copy as transpose_copy,
    triplet_margin_loss as triplet_margin_loss,
    typename as typename,
    unbind_copy as unbind_copy,
    unfold_copy as unfold_copy,
    unsqueeze_copy as unsqueeze_copy,
    view_copy as view_copy,
)
from .ops.scan import (
    cummax as cummax,
    cummin as cummin,
    cumprod as cumprod,
    cumsum as cumsum,
    diff as diff,
    logcumsumexp as logcumsumexp,
)
from .ops.scatter import (
    index_reduce as index_reduce,
    scatter as scatter,
    scatter_add as scatter_add,
    scatter_reduce as scatter_reduce,
)
from .ops.search import (
    aminmax as aminmax,
    argmax as argmax,
    argmin as argmin,
    argsort as argsort,
    kthvalue as kthvalue,
    max_ as max,
    median as median,
    min_ as min,
    mode as mode,
    msort as msort,
    nanmedian as nanmedian,
    sort as sort,
    topk as topk,
)
from .ops.segments import segment_reduce as _segment_reduce, segment_reduce as segment_reduce
from .ops.similarity import poisson_nll_loss as poisson_nll_loss
from .ops.softmax import log_softmax_root as log_softmax, logsumexp as logsumexp, softmax_root as softmax
from .ops.solve import inverse as inverse, triangular_solve as triangular_solve
from .ops.spatial import (
    channel_shuffle as channel_shuffle,
    channel_shuffle as native_channel_shuffle,
    pixel_shuffle as pixel_shuffle,
    pixel_unshuffle as pixel_unshuffle,
)
from .ops.statistics import (
    corrcoef as corrcoef,
    cov as cov,
    nanmean as nanmean,
    nansum as nansum,
    std as std,
    std_mean as std_mean,
    var as var,
    var_mean as var_mean,
)
from .ops.stft import istft as istft, stft as stft
from .ops.strided import as_strided as as_strided
from .ops.subscript import index_put as index_put
from .ops.view import (
    adjoint as adjoint,
    broadcast_to as broadcast_to,
    detach as detach,
    flatten as flatten,
    moveaxis as moveaxis,
    movedim as movedim,
    permute as permute,
    ravel as ravel,
    reshape as reshape,
    squeeze as squeeze,
    swapaxes as swapaxes,
    swapdims as swapdims,
    t as t,
    transpose as transpose,
    unflatten as unflatten,
    unsqueeze as unsqueeze,
)
from .ops.windows import (
    bartlett_window as bartlett_window,
    blackman_window as blackman_window,
    hamming_window as hamming_window,
    hann_window as hann_window,
    kaiser_window as kaiser_window,
)
from .pointwise import pointwise as pointwise
from .printing import set_printoptions as set_printoptions
from .qscheme import (
    per_channel_affine as per_channel_affine,
    per_channel_affine_float_qparams as per_channel_affine_float_qparams,
    per_channel_symmetric as per_channel_symmetric,
    per_tensor_affine as per_tensor_affine,
    per_tensor_symmetric as per_tensor_symmetric,
    qscheme as qscheme,
)
from .reduction import reduction as reduction
from .rowwise import rowwise as rowwise
from .settings import (
    are_deterministic_algorithms_enabled as are_deterministic_algorithms_enabled,
    get_default_device as get_default_device,
    get_deterministic_debug_mode as get_deterministic_debug_mode,
    get_float32_matmul_precision as get_float32_matmul_precision,
    get_num_interop_threads as get_num_interop_threads,
    is_deterministic_algorithms_warn_only_enabled as is_deterministic_algorithms_warn_only_enabled,
    set_default_device as set_default_device,
    set_deterministic_debug_mode as set_deterministic_debug_mode,
    set_float32_matmul_precision as set_float32_matmul_precision,
    set_num_interop_threads as set_num_interop_threads,
    use_deterministic_algorithms as use_deterministic_algorithms,
)
from .storages import (
    BFloat16Storage as BFloat16Storage,
    BoolStorage as BoolStorage,
    ByteStorage as ByteStorage,
    CharStorage as CharStorage,
    ComplexDoubleStorage as ComplexDoubleStorage,
    ComplexFloatStorage as ComplexFloatStorage,
    DoubleStorage as DoubleStorage,
    FloatStorage as FloatStorage,
    HalfStorage as HalfStorage,
    IntStorage as IntStorage,
    LongStorage as LongStorage,
    ShortStorage as ShortStorage,
    TypedStorage as TypedStorage,
    UntypedStorage as UntypedStorage,
    _storage_classes as _storage_classes,
    is_storage as is_storage,
)
from .structured import structured as structured
from .tensor import Tensor as Tensor
from .tensor_types import (
    BFloat16Tensor as BFloat16Tensor,
    BoolTensor as BoolTensor,
    ByteTensor as ByteTensor,
    CharTensor as CharTensor,
    DoubleTensor as DoubleTensor,
    FloatTensor as FloatTensor,
    HalfTensor as HalfTensor,
    IntTensor as IntTensor,
    LongTensor as LongTensor,
    ShortTensor as ShortTensor,
    _tensor_classes as _tensor_classes,
    set_default_tensor_type as set_default_tensor_type,
)

__version__ = "0.1.0"
paths.install()
_path = paths.submodules(__name__, only_paths=True)


_ON_FIRST_USE = {
    "__future__", "accelerator", "amp", "ao", "backends", "compiler", "cpu", "cuda", "distributed", "distributions", "fft", "func", "functorch", "futures", "hub", "jit", "masked",
    "monitor", "multiprocessing", "profiler", "quasirandom", "random", "return_types", "serialization", "signal", "special", "torch_version", "types", "utils", "version",
}  # fmt: skip
_IN_PLACE = {  # methods of Tensor that are functions too
    "abs_", "acos_", "acosh_", "addmv_", "arccos_", "arccosh_", "arcsin_", "arcsinh_", "arctan_", "arctanh_",
    "as_strided_", "asin_", "asinh_", "atan_", "atanh_", "ceil_", "clamp_", "clamp_max_", "clamp_min_", "clip_",
    "cos_", "cosh_", "deg2rad_", "detach_", "erf_", "erfc_", "exp2_", "exp_", "expm1_", "fill_", "fix_",
    "floor_", "frac_", "gcd_", "i0_", "index_put_", "lcm_", "ldexp_", "log10_", "log1p_", "log2_", "log_", "logit_",
    "nan_to_num_", "neg_", "negative_", "rad2deg_", "reciprocal_", "relu_", "resize_as_", "round_", "rsqrt_", "sigmoid_",
    "sin_", "sinc_", "sinh_", "sqrt_", "square_", "tan_", "tanh_", "trunc_", "xlogy_", "zero_",
}  # fmt: skip
_OF_AMP = {
    "GradScaler", "autocast", "clear_autocast_cache", "get_autocast_dtype", "is_autocast_cache_enabled",
    "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_dtype", "set_autocast_enabled",
}  # fmt: skip


def __getattr__(name):
    if name in _OF_AMP:
        from . import amp

        return getattr(amp, name)
    if name in _IN_PLACE:
        globals()[name] = found = _function_of(Tensor, name)
        return found
    if name == "vmap":
        from .func import vmap

        return vmap
    if name.startswith("_foreach_"):
        from .ops.foreach import FOREACH

        if name in FOREACH:
            return FOREACH[name]
    if name == "Storage":  # the class of the default dtype
        from .storages import CLASSES

        return CLASSES[get_default_dtype()]
    if name in _ON_FIRST_USE:  # modules that most programs do without
        import importlib

        return importlib.import_module(f".{name}", __name__)
    return _path(name)


float = float32
double = float64
long = int64
int = int32
short = int16
inf = 1e999
nan = inf - inf
pi = 3.141592653589793
e = 2.718281828459045
newaxis = None
_open_doors(globals(), __name__)
