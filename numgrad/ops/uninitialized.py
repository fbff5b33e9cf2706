"""Memory that nobody wrote to yet: left as it is, or filled where results are to be the same in every run."""

import numpy as np

from .. import dtypes
from ..device import CPU
from ..op import ENTRIES
from ..storage import meta
from ..tensor import Tensor, make

fills = False  # whether such memory is filled, as `use_deterministic_algorithms` asks for


def fill_memory(wanted: bool) -> None:
    """Fill what `empty` and its kin return from now on, or no longer."""
    global fills
    fills = wanted


def filled(tensor: Tensor) -> Tensor:
    """The tensor with NaN, the largest integer or True wherever its memory is."""
    fill(tensor._d, tensor._m)
    return tensor


def fill(data, m) -> None:
    """As `filled`, for a flat array of the dtype and device of ``m``."""
    d = m.dtype
    value = True if d.kind == "b" else dtypes.iinfo(d).max if d.kind == "i" else complex("nan+nanj") if d.kind == "c" else float("nan")
    if m.device is CPU:
        data.fill(d.encode(np.array(value, d.compute))[()])
    elif len(data):
        ENTRIES["fill_"](make(data, meta(d, (len(data),), m.device)), value)
