"""numgrad: the PyTorch programming model on kernels that are plain Python functions compiled by Numba."""

from .autograd import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from .config import get_num_threads as get_num_threads, set_num_threads as set_num_threads
from .device import Device as device
from .dtypes import (
    bool_ as bool,
    can_cast as can_cast,
    dtype as dtype,
    finfo as finfo,
    float32 as float32,
    float64 as float64,
    get_default_dtype as get_default_dtype,
    iinfo as iinfo,
    int8 as int8,
    int16 as int16,
    int32 as int32,
    int64 as int64,
    promote as promote_types,
    set_default_dtype as set_default_dtype,
    uint8 as uint8,
)
from .layout import Size as Size
from .op import structured as structured
from .ops.copy import clone as clone
from .ops.create import (
    arange as arange,
    as_tensor as as_tensor,
    asarray as asarray,
    empty as empty,
    empty_like as empty_like,
    empty_strided as empty_strided,
    eye as eye,
    from_dlpack as from_dlpack,
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
from .ops.matmul import (
    addbmm as addbmm,
    addmm as addmm,
    addmv as addmv,
    addr as addr,
    baddbmm as baddbmm,
    bmm as bmm,
    dot as dot,
    inner as inner,
    matmul as matmul,
    mm as mm,
    mv as mv,
    outer as outer,
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
from .ops.softmax import log_softmax_root as log_softmax, logsumexp as logsumexp, softmax_root as softmax
from .ops.view import (
    adjoint as adjoint,
    as_strided as as_strided,
    broadcast_to as broadcast_to,
    chunk as chunk,
    detach as detach,
    diagonal as diagonal,
    flatten as flatten,
    moveaxis as moveaxis,
    movedim as movedim,
    narrow as narrow,
    permute as permute,
    ravel as ravel,
    reshape as reshape,
    select as select,
    split as split,
    split_with_sizes as split_with_sizes,
    squeeze as squeeze,
    swapaxes as swapaxes,
    swapdims as swapdims,
    t as t,
    tensor_split as tensor_split,
    transpose as transpose,
    unbind as unbind,
    unflatten as unflatten,
    unsqueeze as unsqueeze,
    view_as_real as view_as_real,
)
from .pointwise import pointwise as pointwise
from .reduction import reduction as reduction
from .rowwise import rowwise as rowwise
from .tensor import Tensor as Tensor

__version__ = "0.1.0"
float = float32
double = float64
long = int64
int = int32
short = int16
strided = "strided"
contiguous_format = "contiguous_format"
preserve_format = "preserve_format"
inf = 1e999
nan = inf - inf
pi = 3.141592653589793
e = 2.718281828459045
newaxis = None
