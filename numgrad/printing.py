"""Text of tensors, equal to PyTorch's: ``tensor([[1., 2.]], requires_grad=True)``."""

import math
from typing import Any

import numpy as np

from . import dtypes

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}
_options: dict[str, Any] = {**_PROFILES["default"], "sci_mode": None}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed; what is None stays as it is, except ``sci_mode``.

    ``precision``: digits after the point. ``threshold``: with more elements only ``edgeitems`` at both ends of each
    dimension are shown. ``linewidth``: characters a line. ``profile``: "default", "short" or "full". ``sci_mode``:
    whether floating-point tensors are in scientific notation; None decides by their values.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile must be one of {', '.join(_PROFILES)}, got {profile!r}")
        _options.update(_PROFILES[profile])
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.update({name: value for name, value in given.items() if value is not None})
    _options["sci_mode"] = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The current options of `set_printoptions`, as a new dict."""
    return dict(_options)


def tensor_text(array: np.ndarray | tuple, dtype_name: str, suffixes: list[str], indent: int = 0, kind: str = "tensor") -> str:
    """The text of a tensor with these values, or with this shape and no values.

    ``suffixes`` are what follows the values (``device='cuda:0'``, ``requires_grad=True``, ``grad_fn=<...>``); shape
    and dtype are added between device and gradient where they cannot be read off the values. ``indent`` is the
    column at which the text will stand; lines after the first are moved by it. ``kind``: what it begins with.
    """
    prefix = f"{kind}("
    column = indent + len(prefix)
    known = [dtypes.get_default_dtype().name]
    described = []
    if isinstance(array, tuple):
        text = "..."
        described.append(f"size={tuple(array)}")
    elif array.size == 0:
        text = "[]"
        if array.ndim != 1:
            described.append(f"size={array.shape}")
    else:
        known += ["int64", "bool", dtypes.default_complex().name]
        text = _values(array, column)
    if dtype_name not in known:
        described.append(f"dtype=torch.{dtype_name}")
    place = [suffix for suffix in suffixes if suffix.startswith("device=")]
    rest = [suffix for suffix in suffixes if not suffix.startswith("device=")]
    return _with_suffixes(prefix + text, [*place, *described, *rest], column)


def _with_suffixes(text: str, suffixes: list[str], column: int) -> str:
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options["linewidth"]:
            text += ",\n" + " " * column + suffix
            used = column + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"


def _values(array: np.ndarray, column: int) -> str:
    summarise = array.size > _options["threshold"]
    shown = _shown(array) if summarise else array
    number = _ComplexFormat(shown) if array.dtype.kind == "c" else _NumberFormat(shown)
    return _nested(array, column, number, summarise)


def _shown(array: np.ndarray) -> np.ndarray:
    """The elements that a summary shows: both ends of every dimension."""
    edge = _options["edgeitems"]
    for axis, size in enumerate(array.shape):
        if size > 2 * edge:
            array = np.take(array, [*range(edge), *range(size - edge, size)], axis)
    return array


def _nested(array: np.ndarray, column: int, number: "_NumberFormat | _ComplexFormat", summarise: bool) -> str:
    if array.ndim == 0:
        return number.text(array.item())
    edge = _options["edgeitems"]
    head, tail = array, array[:0]
    cut = summarise and len(array) > 2 * edge
    if cut:
        head, tail = array[:edge], array[len(array) - edge :]
    if array.ndim > 1:
        parts = [_nested(row, column + 1, number, summarise) for row in head]
        parts += ["..."] if cut else []
        parts += [_nested(row, column + 1, number, summarise) for row in tail]
        return "[" + ("," + "\n" * (array.ndim - 1) + " " * (column + 1)).join(parts) + "]"
    parts = [number.text(value) for value in head.tolist()]
    parts += [" ..."] if cut else []
    parts += [number.text(value) for value in tail.tolist()]
    a_line = max(1, (_options["linewidth"] - column) // (number.width + 2))
    lines = [", ".join(parts[k : k + a_line]) for k in range(0, len(parts), a_line)]
    return "[" + (",\n" + " " * (column + 1)).join(lines) + "]"


class _NumberFormat:
    """How the numbers of one tensor are written: notation and common width, chosen by the values shown.

    Zeros, infinities and NaN take no part in the choice.
    """

    def __init__(self, shown: np.ndarray):
        self.floating = shown.dtype.kind == "f"
        self.whole, self.scientific, self.width = True, False, 1
        if not self.floating:
            self.width = max((len(str(value)) for value in shown.reshape(-1).tolist()), default=1)
            return
        sizes = shown[np.isfinite(shown) & (shown != 0)]
        if sizes.size == 0:
            return
        values = sizes.tolist()
        smallest, largest = min(map(abs, values)), max(map(abs, values))
        self.whole = all(value.is_integer() for value in values)
        self.scientific = _options["sci_mode"]
        if self.scientific is None:
            self.scientific = largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
        self.width = max(len(self._unpadded(value)) for value in values)

    def _unpadded(self, value) -> str:
        if not self.floating:
            return str(value)
        if self.scientific:
            return f"{value:.{_options['precision']}e}"
        if self.whole:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{_options['precision']}f}"

    def text(self, value) -> str:
        """The number, right-aligned in the common width."""
        return self._unpadded(value).rjust(self.width)


class _ComplexFormat:
    """How complex numbers are written: each of the parts in a format of its own."""

    def __init__(self, shown: np.ndarray):
        self.real, self.imag = _NumberFormat(shown.real), _NumberFormat(shown.imag)
        self.width = self.real.width + self.imag.width + 1

    def text(self, value) -> str:
        """The number; only the real part is aligned."""
        imag = self.imag.text(value.imag).lstrip()
        return f"{self.real.text(value.real)}{'' if imag[0] in '+-' else '+'}{imag}j"
