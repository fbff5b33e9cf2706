"""numgrad: the PyTorch programming model on kernels that are plain Python functions compiled by Numba."""

from . import autograd as autograd
from . import linalg as linalg
from . import nn as nn
from . import optim as optim
from . import testing as testing
from .autograd import (
    enable_grad as enable_grad,
)
from .autograd import (
    inference_mode as inference_mode,
)
from .autograd import (
    is_grad_enabled as is_grad_enabled,
)
from .autograd import (
    is_inference_mode_enabled as is_inference_mode_enabled,
)
from .autograd import (
    no_grad as no_grad,
)
from .autograd import (
    set_grad_enabled as set_grad_enabled,
)
from .compiler import compile as compile
from .config import get_num_threads as get_num_threads
from .config import set_num_threads as set_num_threads
from .device import Device as device
from .dtypes import (
    bool_ as bool,
)
from .dtypes import (
    can_cast as can_cast,
)
from .dtypes import (
    dtype as dtype,
)
from .dtypes import (
    finfo as finfo,
)
from .dtypes import (
    float32 as float32,
)
from .dtypes import (
    float64 as float64,
)
from .dtypes import (
    get_default_dtype as get_default_dtype,
)
from .dtypes import (
    iinfo as iinfo,
)
from .dtypes import (
    int8 as int8,
)
from .dtypes import (
    int16 as int16,
)
from .dtypes import (
    int32 as int32,
)
from .dtypes import (
    int64 as int64,
)
from .dtypes import (
    promote as promote_types,
)
from .dtypes import (
    set_default_dtype as set_default_dtype,
)
from .dtypes import (
    uint8 as uint8,
)
from .function import Function as _Function
from .generator import Generator as Generator
from .generator import default_generator as default_generator
from .imports import as_torch as as_torch
from .io import load as load
from .io import save as save
from .layout import Size as Size
from .layout import channels_last as channels_last
from .layout import channels_last_3d as channels_last_3d
from .layout import contiguous_format as contiguous_format
from .layout import memory_format as memory_format
from .layout import preserve_format as preserve_format
from .op import structured as structured
from .ops.activation import (
    celu as celu,
)
from .ops.activation import (
    hardshrink as hardshrink,
)
from .ops.activation import (
    prelu as prelu,
)
from .ops.activation import (
    relu as relu,
)
from .ops.activation import (
    rrelu as rrelu,
)
from .ops.activation import (
    selu as selu,
)
from .ops.activation import (
    threshold as threshold,
)
from .ops.arithmetic import (
    add as add,
)
from .ops.arithmetic import (
    addcdiv as addcdiv,
)
from .ops.arithmetic import (
    addcmul as addcmul,
)
from .ops.arithmetic import (
    copysign as copysign,
)
from .ops.arithmetic import (
    div as div,
)
from .ops.arithmetic import (
    div as divide,
)
from .ops.arithmetic import (
    floor_divide as floor_divide,
)
from .ops.arithmetic import (
    fmod as fmod,
)
from .ops.arithmetic import (
    lerp as lerp,
)
from .ops.arithmetic import (
    magnitude as abs,
)
from .ops.arithmetic import (
    magnitude as absolute,
)
from .ops.arithmetic import (
    mul as mul,
)
from .ops.arithmetic import (
    mul as multiply,
)
from .ops.arithmetic import (
    nan_to_num as nan_to_num,
)
from .ops.arithmetic import (
    neg as neg,
)
from .ops.arithmetic import (
    neg as negative,
)
from .ops.arithmetic import (
    positive as positive,
)
from .ops.arithmetic import (
    reciprocal as reciprocal,
)
from .ops.arithmetic import (
    remainder as remainder,
)
from .ops.arithmetic import (
    rsub as rsub,
)
from .ops.arithmetic import (
    sgn as sgn,
)
from .ops.arithmetic import (
    sign as sign,
)
from .ops.arithmetic import (
    sub as sub,
)
from .ops.arithmetic import (
    sub as subtract,
)
from .ops.arithmetic import (
    true_divide as true_divide,
)
from .ops.batch_norm import batch_norm_root as batch_norm
from .ops.bitwise import (
    bitwise_and as bitwise_and,
)
from .ops.bitwise import (
    bitwise_left_shift as bitwise_left_shift,
)
from .ops.bitwise import (
    bitwise_not as bitwise_not,
)
from .ops.bitwise import (
    bitwise_or as bitwise_or,
)
from .ops.bitwise import (
    bitwise_right_shift as bitwise_right_shift,
)
from .ops.bitwise import (
    bitwise_xor as bitwise_xor,
)
from .ops.bitwise import (
    gcd as gcd,
)
from .ops.bitwise import (
    lcm as lcm,
)
from .ops.bitwise import (
    logical_and as logical_and,
)
from .ops.bitwise import (
    logical_not as logical_not,
)
from .ops.bitwise import (
    logical_or as logical_or,
)
from .ops.bitwise import (
    logical_xor as logical_xor,
)
from .ops.calculus import cumulative_trapezoid as cumulative_trapezoid
from .ops.calculus import gradient as gradient
from .ops.calculus import trapezoid as trapezoid
from .ops.calculus import trapz as trapz
from .ops.compare import (
    _isfinite as isfinite,
)
from .ops.compare import (
    _isinf as isinf,
)
from .ops.compare import (
    _isnan as isnan,
)
from .ops.compare import (
    allclose as allclose,
)
from .ops.compare import (
    eq as eq,
)
from .ops.compare import (
    equal as equal,
)
from .ops.compare import (
    ge as ge,
)
from .ops.compare import (
    ge as greater_equal,
)
from .ops.compare import (
    gt as greater,
)
from .ops.compare import (
    gt as gt,
)
from .ops.compare import (
    isclose as isclose,
)
from .ops.compare import (
    isneginf as isneginf,
)
from .ops.compare import (
    isposinf as isposinf,
)
from .ops.compare import (
    isreal as isreal,
)
from .ops.compare import (
    le as le,
)
from .ops.compare import (
    le as less_equal,
)
from .ops.compare import (
    lt as less,
)
from .ops.compare import (
    lt as lt,
)
from .ops.compare import (
    ne as ne,
)
from .ops.compare import (
    ne as not_equal,
)
from .ops.compare import (
    signbit as signbit,
)
from .ops.compare import (
    where_function as where,
)
from .ops.conv import conv1d as conv1d
from .ops.conv import conv2d as conv2d
from .ops.conv import conv3d as conv3d
from .ops.conv import conv_transpose1d as conv_transpose1d
from .ops.conv import conv_transpose2d as conv_transpose2d
from .ops.conv import conv_transpose3d as conv_transpose3d
from .ops.copy import clone as clone
from .ops.copy import fill as fill
from .ops.create import (
    arange as arange,
)
from .ops.create import (
    as_tensor as as_tensor,
)
from .ops.create import (
    asarray as asarray,
)
from .ops.create import (
    empty as empty,
)
from .ops.create import (
    empty_like as empty_like,
)
from .ops.create import (
    empty_strided as empty_strided,
)
from .ops.create import (
    eye as eye,
)
from .ops.create import (
    from_dlpack as from_dlpack,
)
from .ops.create import (
    from_numpy as from_numpy,
)
from .ops.create import (
    frombuffer as frombuffer,
)
from .ops.create import (
    full as full,
)
from .ops.create import (
    full_like as full_like,
)
from .ops.create import (
    is_floating_point as is_floating_point,
)
from .ops.create import (
    is_nonzero as is_nonzero,
)
from .ops.create import (
    is_tensor as is_tensor,
)
from .ops.create import (
    linspace as linspace,
)
from .ops.create import (
    logspace as logspace,
)
from .ops.create import (
    numel as numel,
)
from .ops.create import (
    ones as ones,
)
from .ops.create import (
    ones_like as ones_like,
)
from .ops.create import (
    range_ as range,
)
from .ops.create import (
    result_type as result_type,
)
from .ops.create import (
    scalar_tensor as scalar_tensor,
)
from .ops.create import (
    tensor as tensor,
)
from .ops.create import (
    zeros as zeros,
)
from .ops.create import (
    zeros_like as zeros_like,
)
from .ops.ctc import ctc_loss as ctc_loss
from .ops.distance import (
    cdist as cdist,
)
from .ops.distance import (
    cosine_similarity as cosine_similarity,
)
from .ops.distance import (
    dist as dist,
)
from .ops.distance import (
    norm as norm,
)
from .ops.distance import (
    pairwise_distance as pairwise_distance,
)
from .ops.distance import pdist as pdist
from .ops.distance import (
    renorm as renorm,
)
from .ops.distinct import (
    bincount as bincount,
)
from .ops.distinct import (
    bucketize as bucketize,
)
from .ops.distinct import (
    count_nonzero as count_nonzero,
)
from .ops.distinct import (
    histc as histc,
)
from .ops.distinct import (
    isin as isin,
)
from .ops.distinct import (
    searchsorted as searchsorted,
)
from .ops.distinct import (
    unique as unique,
)
from .ops.distinct import (
    unique_consecutive as unique_consecutive,
)
from .ops.einsum import einsum as einsum
from .ops.einsum import tensordot as tensordot
from .ops.extrema import (
    _fmax as fmax,
)
from .ops.extrema import (
    _fmin as fmin,
)
from .ops.extrema import (
    _maximum as maximum,
)
from .ops.extrema import (
    _minimum as minimum,
)
from .ops.extrema import (
    clamp as clamp,
)
from .ops.extrema import (
    clamp as clip,
)
from .ops.extrema import (
    clamp_max as clamp_max,
)
from .ops.extrema import (
    clamp_min as clamp_min,
)
from .ops.extrema import (
    heaviside as heaviside,
)
from .ops.extrema import (
    nextafter as nextafter,
)
from .ops.factor import cholesky as cholesky
from .ops.factor import cholesky_inverse as cholesky_inverse
from .ops.factor import cholesky_solve as cholesky_solve
from .ops.factor import lu_solve as lu_solve
from .ops.factor import lu_unpack as lu_unpack
from .ops.factor import orgqr as orgqr
from .ops.factor import qr as qr
from .ops.factor import svd as svd
from .ops.gamma import (
    frexp as frexp,
)
from .ops.gamma import (
    i0 as i0,
)
from .ops.gamma import (
    igamma as igamma,
)
from .ops.gamma import (
    igammac as igammac,
)
from .ops.gamma import (
    mvlgamma as mvlgamma,
)
from .ops.gamma import (
    polygamma as polygamma,
)
from .ops.group_norm import group_norm as group_norm
from .ops.group_norm import instance_norm as instance_norm
from .ops.index import (
    gather as gather,
)
from .ops.index import (
    index_add as index_add,
)
from .ops.index import (
    index_copy as index_copy,
)
from .ops.index import (
    index_fill as index_fill,
)
from .ops.index import (
    index_select as index_select,
)
from .ops.index import (
    put as put,
)
from .ops.index import (
    take as take,
)
from .ops.index import (
    take_along_dim as take_along_dim,
)
from .ops.join import (
    atleast_1d as atleast_1d,
)
from .ops.join import (
    atleast_2d as atleast_2d,
)
from .ops.join import (
    atleast_3d as atleast_3d,
)
from .ops.join import (
    block_diag as block_diag,
)
from .ops.join import (
    broadcast_tensors as broadcast_tensors,
)
from .ops.join import (
    cartesian_prod as cartesian_prod,
)
from .ops.join import (
    cat as cat,
)
from .ops.join import (
    column_stack as column_stack,
)
from .ops.join import (
    combinations as combinations,
)
from .ops.join import (
    common_shape as broadcast_shapes,
)
from .ops.join import (
    concat as concat,
)
from .ops.join import (
    concatenate as concatenate,
)
from .ops.join import (
    dstack as dstack,
)
from .ops.join import (
    hstack as hstack,
)
from .ops.join import (
    meshgrid as meshgrid,
)
from .ops.join import (
    row_stack as row_stack,
)
from .ops.join import (
    stack as stack,
)
from .ops.join import (
    vstack as vstack,
)
from .ops.loss import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
)
from .ops.mask import (
    argwhere as argwhere,
)
from .ops.mask import (
    masked_fill as masked_fill,
)
from .ops.mask import (
    masked_scatter as masked_scatter,
)
from .ops.mask import (
    masked_select as masked_select,
)
from .ops.mask import (
    nonzero as nonzero,
)
from .ops.mask import (
    unravel_index as unravel_index,
)
from .ops.math import (
    acos as acos,
)
from .ops.math import (
    acos as arccos,
)
from .ops.math import (
    acosh as acosh,
)
from .ops.math import (
    acosh as arccosh,
)
from .ops.math import (
    asin as arcsin,
)
from .ops.math import (
    asin as asin,
)
from .ops.math import (
    asinh as arcsinh,
)
from .ops.math import (
    asinh as asinh,
)
from .ops.math import (
    atan as arctan,
)
from .ops.math import (
    atan as atan,
)
from .ops.math import (
    atan2 as arctan2,
)
from .ops.math import (
    atan2 as atan2,
)
from .ops.math import (
    atanh as arctanh,
)
from .ops.math import (
    atanh as atanh,
)
from .ops.math import (
    ceil as ceil,
)
from .ops.math import (
    cos as cos,
)
from .ops.math import (
    cosh as cosh,
)
from .ops.math import (
    deg2rad as deg2rad,
)
from .ops.math import (
    digamma as digamma,
)
from .ops.math import (
    erf as erf,
)
from .ops.math import (
    erfc as erfc,
)
from .ops.math import (
    erfinv as erfinv,
)
from .ops.math import (
    exp as exp,
)
from .ops.math import (
    exp2 as exp2,
)
from .ops.math import (
    expm1 as expm1,
)
from .ops.math import (
    floor as floor,
)
from .ops.math import (
    frac as frac,
)
from .ops.math import (
    lgamma as lgamma,
)
from .ops.math import (
    log as log,
)
from .ops.math import (
    log1p as log1p,
)
from .ops.math import (
    log2 as log2,
)
from .ops.math import (
    log10 as log10,
)
from .ops.math import (
    logaddexp as logaddexp,
)
from .ops.math import (
    logaddexp2 as logaddexp2,
)
from .ops.math import (
    logit as logit,
)
from .ops.math import (
    rad2deg as rad2deg,
)
from .ops.math import (
    round_ as round,
)
from .ops.math import (
    rsqrt as rsqrt,
)
from .ops.math import (
    sigmoid as sigmoid,
)
from .ops.math import (
    sin as sin,
)
from .ops.math import (
    sinc as sinc,
)
from .ops.math import (
    sinh as sinh,
)
from .ops.math import (
    sqrt as sqrt,
)
from .ops.math import (
    tan as tan,
)
from .ops.math import (
    tanh as tanh,
)
from .ops.math import (
    trunc as fix,
)
from .ops.math import (
    trunc as trunc,
)
from .ops.math import (
    xlogy as xlogy,
)
from .ops.matmul import (
    addbmm as addbmm,
)
from .ops.matmul import (
    addmm as addmm,
)
from .ops.matmul import (
    addmv as addmv,
)
from .ops.matmul import (
    addr as addr,
)
from .ops.matmul import (
    baddbmm as baddbmm,
)
from .ops.matmul import (
    bmm as bmm,
)
from .ops.matmul import (
    dot as dot,
)
from .ops.matmul import (
    inner as inner,
)
from .ops.matmul import (
    matmul as matmul,
)
from .ops.matmul import (
    mm as mm,
)
from .ops.matmul import (
    mv as mv,
)
from .ops.matmul import (
    outer as outer,
)
from .ops.matrix import _old_det as det
from .ops.matrix import _old_slogdet as slogdet
from .ops.matrix import logdet as logdet
from .ops.matrix import matrix_exp as matrix_exp
from .ops.matrix import pinverse as pinverse
from .ops.norm import layer_norm as layer_norm
from .ops.norm import rms_norm as rms_norm
from .ops.pool import adaptive_avg_pool1d as adaptive_avg_pool1d
from .ops.pool import adaptive_max_pool1d_with_indices as adaptive_max_pool1d
from .ops.pool import avg_pool1d as avg_pool1d
from .ops.pool import max_pool1d as max_pool1d
from .ops.pool import max_pool1d_with_indices as max_pool1d_with_indices
from .ops.pool import max_pool2d as max_pool2d
from .ops.pool import max_pool3d as max_pool3d
from .ops.power import (
    _hypot as hypot,
)
from .ops.power import (
    float_power as float_power,
)
from .ops.power import (
    ldexp as ldexp,
)
from .ops.power import (
    pow_ as pow,
)
from .ops.power import (
    square as square,
)
from .ops.products import chain_matmul as chain_matmul
from .ops.products import cross as cross
from .ops.products import ger as ger
from .ops.products import kron as kron
from .ops.products import matrix_power as matrix_power
from .ops.products import trace as trace
from .ops.products import vander as vander
from .ops.products import vdot as vdot
from .ops.quantile import nanquantile as nanquantile
from .ops.quantile import quantile as quantile
from .ops.random import (
    bernoulli as bernoulli,
)
from .ops.random import (
    dropout_root as dropout,
)
from .ops.random import (
    get_rng_state as get_rng_state,
)
from .ops.random import (
    initial_seed as initial_seed,
)
from .ops.random import (
    manual_seed as manual_seed,
)
from .ops.random import (
    multinomial as multinomial,
)
from .ops.random import (
    normal as normal,
)
from .ops.random import (
    poisson as poisson,
)
from .ops.random import (
    rand as rand,
)
from .ops.random import (
    rand_like as rand_like,
)
from .ops.random import (
    randint as randint,
)
from .ops.random import (
    randint_like as randint_like,
)
from .ops.random import (
    randn as randn,
)
from .ops.random import (
    randn_like as randn_like,
)
from .ops.random import (
    randperm as randperm,
)
from .ops.random import (
    seed as seed,
)
from .ops.random import (
    set_rng_state as set_rng_state,
)
from .ops.rearrange import (
    as_strided_scatter as as_strided_scatter,
)
from .ops.rearrange import (
    diag as diag,
)
from .ops.rearrange import (
    diag_embed as diag_embed,
)
from .ops.rearrange import (
    diagflat as diagflat,
)
from .ops.rearrange import (
    diagonal_scatter as diagonal_scatter,
)
from .ops.rearrange import (
    dsplit as dsplit,
)
from .ops.rearrange import (
    flip as flip,
)
from .ops.rearrange import (
    fliplr as fliplr,
)
from .ops.rearrange import (
    flipud as flipud,
)
from .ops.rearrange import (
    hsplit as hsplit,
)
from .ops.rearrange import (
    repeat_interleave as repeat_interleave,
)
from .ops.rearrange import (
    roll as roll,
)
from .ops.rearrange import (
    rot90 as rot90,
)
from .ops.rearrange import (
    select_scatter as select_scatter,
)
from .ops.rearrange import (
    slice_scatter as slice_scatter,
)
from .ops.rearrange import (
    tile as tile,
)
from .ops.rearrange import (
    tril as tril,
)
from .ops.rearrange import (
    tril_indices as tril_indices,
)
from .ops.rearrange import (
    triu as triu,
)
from .ops.rearrange import (
    triu_indices as triu_indices,
)
from .ops.rearrange import (
    vsplit as vsplit,
)
from .ops.reduce import (
    all as all,
)
from .ops.reduce import (
    amax as amax,
)
from .ops.reduce import (
    amin as amin,
)
from .ops.reduce import (
    any as any,
)
from .ops.reduce import (
    mean as mean,
)
from .ops.reduce import (
    prod as prod,
)
from .ops.reduce import (
    sum as sum,
)
from .ops.scan import (
    cummax as cummax,
)
from .ops.scan import (
    cummin as cummin,
)
from .ops.scan import (
    cumprod as cumprod,
)
from .ops.scan import (
    cumsum as cumsum,
)
from .ops.scan import (
    diff as diff,
)
from .ops.scan import (
    logcumsumexp as logcumsumexp,
)
from .ops.scatter import (
    index_reduce as index_reduce,
)
from .ops.scatter import (
    scatter as scatter,
)
from .ops.scatter import (
    scatter_add as scatter_add,
)
from .ops.scatter import (
    scatter_reduce as scatter_reduce,
)
from .ops.search import (
    aminmax as aminmax,
)
from .ops.search import (
    argmax as argmax,
)
from .ops.search import (
    argmin as argmin,
)
from .ops.search import (
    argsort as argsort,
)
from .ops.search import (
    kthvalue as kthvalue,
)
from .ops.search import (
    max_ as max,
)
from .ops.search import (
    median as median,
)
from .ops.search import (
    min_ as min,
)
from .ops.search import (
    mode as mode,
)
from .ops.search import (
    msort as msort,
)
from .ops.search import (
    nanmedian as nanmedian,
)
from .ops.search import (
    sort as sort,
)
from .ops.search import (
    topk as topk,
)
from .ops.similarity import poisson_nll_loss as poisson_nll_loss
from .ops.softmax import log_softmax_root as log_softmax
from .ops.softmax import logsumexp as logsumexp
from .ops.softmax import softmax_root as softmax
from .ops.solve import inverse as inverse
from .ops.solve import triangular_solve as triangular_solve
from .ops.spatial import channel_shuffle as channel_shuffle
from .ops.spatial import pixel_shuffle as pixel_shuffle
from .ops.spatial import pixel_unshuffle as pixel_unshuffle
from .ops.statistics import corrcoef as corrcoef
from .ops.statistics import cov as cov
from .ops.statistics import (
    nanmean as nanmean,
)
from .ops.statistics import (
    nansum as nansum,
)
from .ops.statistics import (
    std as std,
)
from .ops.statistics import (
    std_mean as std_mean,
)
from .ops.statistics import (
    var as var,
)
from .ops.statistics import (
    var_mean as var_mean,
)
from .ops.subscript import index_put as index_put
from .ops.view import (
    adjoint as adjoint,
)
from .ops.view import (
    as_strided as as_strided,
)
from .ops.view import (
    broadcast_to as broadcast_to,
)
from .ops.view import (
    chunk as chunk,
)
from .ops.view import (
    detach as detach,
)
from .ops.view import (
    diagonal as diagonal,
)
from .ops.view import (
    flatten as flatten,
)
from .ops.view import (
    moveaxis as moveaxis,
)
from .ops.view import (
    movedim as movedim,
)
from .ops.view import (
    narrow as narrow,
)
from .ops.view import (
    permute as permute,
)
from .ops.view import (
    ravel as ravel,
)
from .ops.view import (
    reshape as reshape,
)
from .ops.view import (
    select as select,
)
from .ops.view import (
    split as split,
)
from .ops.view import (
    split_with_sizes as split_with_sizes,
)
from .ops.view import (
    squeeze as squeeze,
)
from .ops.view import (
    swapaxes as swapaxes,
)
from .ops.view import (
    swapdims as swapdims,
)
from .ops.view import (
    t as t,
)
from .ops.view import (
    tensor_split as tensor_split,
)
from .ops.view import (
    transpose as transpose,
)
from .ops.view import (
    unbind as unbind,
)
from .ops.view import (
    unflatten as unflatten,
)
from .ops.view import (
    unsqueeze as unsqueeze,
)
from .ops.view import (
    view_as_real as view_as_real,
)
from .pointwise import pointwise as pointwise
from .printing import set_printoptions as set_printoptions
from .reduction import reduction as reduction
from .rowwise import rowwise as rowwise
from .settings import (
    are_deterministic_algorithms_enabled as are_deterministic_algorithms_enabled,
)
from .settings import (
    get_default_device as get_default_device,
)
from .settings import (
    get_deterministic_debug_mode as get_deterministic_debug_mode,
)
from .settings import (
    get_float32_matmul_precision as get_float32_matmul_precision,
)
from .settings import (
    get_num_interop_threads as get_num_interop_threads,
)
from .settings import (
    is_deterministic_algorithms_warn_only_enabled as is_deterministic_algorithms_warn_only_enabled,
)
from .settings import (
    set_default_device as set_default_device,
)
from .settings import (
    set_deterministic_debug_mode as set_deterministic_debug_mode,
)
from .settings import (
    set_float32_matmul_precision as set_float32_matmul_precision,
)
from .settings import (
    set_num_interop_threads as set_num_interop_threads,
)
from .settings import (
    use_deterministic_algorithms as use_deterministic_algorithms,
)
from .tensor import Tensor as Tensor
from .tensor_types import (
    BoolTensor as BoolTensor,
)
from .tensor_types import (
    ByteTensor as ByteTensor,
)
from .tensor_types import (
    CharTensor as CharTensor,
)
from .tensor_types import (
    DoubleTensor as DoubleTensor,
)
from .tensor_types import (
    FloatTensor as FloatTensor,
)
from .tensor_types import (
    IntTensor as IntTensor,
)
from .tensor_types import (
    LongTensor as LongTensor,
)
from .tensor_types import (
    ShortTensor as ShortTensor,
)

__version__ = "0.1.0"


_ON_FIRST_USE = {
    "accelerator", "backends", "compiler", "cuda", "hub", "random", "serialization", "special", "utils",
}  # fmt: skip


def __getattr__(name):
    if name in _ON_FIRST_USE:  # modules that most programs do without
        import importlib

        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


float = float32
double = float64
long = int64
int = int32
short = int16
strided = "strided"
inf = 1e999
nan = inf - inf
pi = 3.141592653589793
e = 2.718281828459045
newaxis = None
