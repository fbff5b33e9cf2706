"""The exceptions that numgrad raises beyond Python's own. Each message names the op, what it expected, what it got
and what to do next."""

import itertools
import pickle
import traceback


class Error(RuntimeError):
    """Base of numgrad's own errors."""


class ShapeError(Error, ValueError):
    """Shapes that an op cannot combine."""


class DTypeError(Error, TypeError):
    """A dtype that an op does not support."""


def not_implemented_for(name, d) -> NotImplementedError:
    """The error of an op that has no kernel for dtype ``d``."""
    return NotImplementedError(f'"{name}" not implemented for {d!r}; convert the tensor first, for example with .to(numgrad.int64)')


def no_complex_form(op: str, dtypes: str = "") -> DTypeError:
    """What an op raises that has no form for complex tensors; ``dtypes``: what it got."""
    return DTypeError(
        f'"{op}" is not supported for complex tensors{dtypes and f", got {dtypes}"}; apply it to .real, .imag or .abs(), or '
        "to view_as_real(...)"
    )


class DeviceError(Error):
    """Tensors on different devices, or a device that is not there."""


class GradientError(Error):
    """The graph cannot be differentiated as asked."""


class ExportError(Error, BufferError):
    """Memory that another library cannot be given."""


class OutOfMemoryError(Error):
    """The device has no room for an allocation."""


class LinAlgError(Error):
    """A matrix that is singular, or not positive-definite, or for which an algorithm does not converge."""


class FileError(Error, ValueError, pickle.UnpicklingError):
    """A file that is damaged, of another format, or holds what is not loaded."""


def callers_stack(depth: int = 10) -> str:
    """The ``depth`` innermost frames outside of the library, as a traceback prints them."""
    outside = (item for item in traceback.walk_stack(None) if not _is_own(item[0]))
    innermost = list(itertools.islice(outside, depth))
    return "".join(traceback.StackSummary.extract(iter(innermost[::-1])).format())


def _is_own(frame):
    generated = frame.f_code.co_filename.startswith(("<entry of ", "<backward>"))
    return generated or frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]
