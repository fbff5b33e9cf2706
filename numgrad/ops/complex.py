"""Complex tensors: their parts, their conjugate, absolute value and angle, and how they are made of real ones.

Complex numbers lie in memory as pairs (real, imaginary), so that the parts are views. What else ops do with complex
tensors is said in `complexes`.
"""

import math

import numpy as np

from .. import dtypes
from ..kernels.vmath_complex import angle as angle_of, conj as conjugate_of
from ..kernels.vocab import isnan, where
from ..op import ENTRIES, as_tensor_operand, function, sum_to
from ..pointwise import pointwise
from ..storage import strided_meta
from ..structured import structured
from ..tensor import Tensor, address, alias, follow, storage_of
from .values import from_host, to_host
from .view import adjoint

PI = math.pi

# --- pairs of real numbers -----------------------------------------------------------------------------------------


def _same_memory(input, data, m):
    """A view of another dtype; the recorder follows writes through it."""
    found = alias(input, data, m)
    follow(found, input, storage_of(input))
    return found


@structured(raw=True, install=(), name="view_as_real")
def _as_real(input):
    m = input._m
    d = m.dtype.to_real()
    strides = (*[2 * step for step in m.strides], 1)
    return _same_memory(input, input._d.view(d.np), strided_meta(d, (*m.shape, 2), strides, m.device))


@_as_real.backward
def _(g):
    return view_as_complex(g.contiguous())


@structured(raw=True, install=(), name="view_as_complex")
def _as_complex(input):
    m = input._m
    d = m.dtype.to_complex()
    strides = tuple(step // 2 for step in m.strides[:-1])
    pairs = strided_meta(d, tuple(m.shape[:-1]), strides, m.device)
    length = 2 * (pairs.numel if pairs.contiguous else pairs.span)
    return _same_memory(input, input._d[:length].view(d.np), pairs)


@_as_complex.backward
def _(g):
    return view_as_real(g)


def _needs_complex(name, input):
    input = as_tensor_operand(name, input, "input")
    if not input._m.dtype.is_complex:
        raise RuntimeError(
            f"{name} is only supported for complex tensors, got {input._m.dtype!r}; make one with numgrad.complex(real, imag)"
        )
    return input


@function(install=("ng",))
def view_as_real(input) -> Tensor:
    """A view of a complex tensor as pairs of reals: ``(...) -> (..., 2)``. Raises RuntimeError for a real tensor."""
    return _as_real(_needs_complex("view_as_real", input))


@function(install=("ng",))
def view_as_complex(input) -> Tensor:
    """A view of pairs of float16, float32 or float64 as complex numbers: ``(..., 2) -> (...)``.

    Raises RuntimeError for another dtype or last size, or where the pairs are not side by side in memory.
    """
    input = as_tensor_operand("view_as_complex", input, "input")
    m = input._m
    if m.dtype not in (dtypes.float16, dtypes.float32, dtypes.float64):
        raise RuntimeError(f"view_as_complex is only supported for floating point tensors, but got a tensor of {m.dtype!r}")
    if m.ndim == 0:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if m.shape[-1] != 2:
        raise RuntimeError(f"Tensor must have a last dimension of size 2, got shape {list(m.shape)}")
    if m.strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1; call .contiguous() first")
    if any(step % 2 for step in m.strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension; call .contiguous() first")
    if m.numel and address(input._d) % (2 * m.dtype.itemsize) and input.storage_offset() % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2; call .clone() first")
    return _as_complex(input)


@function(install=("ng",))
def real(input) -> Tensor:
    """The real parts, a view; a real tensor itself."""
    if not input._m.dtype.is_complex:
        return input
    return view_as_real(input).select(-1, 0)


@function(install=("ng",))
def imag(input) -> Tensor:
    """The imaginary parts, a view. Raises RuntimeError for a real tensor."""
    if not input._m.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return view_as_real(input).select(-1, 1)


def _set_real(self, value):
    real(self).copy_(value)


def _set_imag(self, value):
    imag(self).copy_(value)


Tensor.real = property(lambda self: real(self), _set_real, doc="The real parts, a view.")
Tensor.imag = property(lambda self: imag(self), _set_imag, doc="The imaginary parts, a view.")


def _pair(name, first, second, names):
    first, second = as_tensor_operand(name, first, names[0]), as_tensor_operand(name, second, names[1])
    d = first._m.dtype
    if not {d, second._m.dtype} <= {dtypes.float16, dtypes.float32, dtypes.float64}:
        raise RuntimeError(
            f"{name}: Expected both inputs to be Half, Float or Double tensors but got {d.scalar_type} and "
            f"{second._m.dtype.scalar_type}; use .float()"
        )
    if second._m.dtype is not d:
        raise RuntimeError(
            f"{name}: Expected object of scalar type {d.scalar_type} but got scalar type {second._m.dtype.scalar_type} for second "
            "argument"
        )
    return ENTRIES["broadcast_tensors"](first, second)


@function(install=("ng",), name="complex")
def complex_(real, imag, *, out=None) -> Tensor:
    """``real + i imag``, broadcast: float16, float32 or float64 tensors of one dtype give complex32, complex64 or complex128."""
    found = view_as_complex(ENTRIES["stack"](_pair("complex", real, imag, ("real", "imag")), -1))
    return found if out is None else _written("complex", found, out)


@function(install=("ng",))
def polar(abs, angle, *, out=None) -> Tensor:
    """``abs * (cos(angle) + i sin(angle))``, broadcast: float16, float32 or float64 tensors of one dtype."""
    size, angle = _pair("polar", abs, angle, ("abs", "angle"))
    found = view_as_complex(ENTRIES["stack"]((size * angle.cos(), size * angle.sin()), -1))
    return found if out is None else _written("polar", found, out)


def _written(name, found, out):
    if out._m.dtype is not found._m.dtype:
        raise RuntimeError(
            f"{name}: Expected object of scalar type {found._m.dtype.scalar_type} but got scalar type {out._m.dtype.scalar_type} for "
            "argument 'out'"
        )
    return ENTRIES["write_out"](name, found, out)


# --- conjugate and angle -------------------------------------------------------------------------------------------


@pointwise(name="conj_physical", install=(), grad_name="ConjBackward0")
def _conj(input):
    return input


@_conj.backward
def _(g):
    return g


def _conjugate(input):
    return conjugate_of(input)


_conj.op.complex_fn = _conjugate


def _conjugated(gradient, g):
    return conj(g)


_conj.op.complex_gradient = _conjugated


@function
def conj(input) -> Tensor:
    """The complex conjugate, in memory of its own; a real tensor itself."""
    return _conj(input) if as_tensor_operand("conj", input, "input")._m.dtype.is_complex else input


@function
def conj_physical(input, *, out=None) -> Tensor:
    """The complex conjugate, in memory of its own; a real tensor itself."""
    found = conj(input)
    return found if out is None else ENTRIES["write_out"]("conj_physical", found, out)


@function
def conj_physical_(self) -> Tensor:
    """In-place version of `conj_physical`."""
    return _conj.op.inplace_entry(self) if self._m.dtype.is_complex else self


@function(install=("ng",))
def view_as_complex_copy(input, *, out=None) -> Tensor:
    """`view_as_complex` with memory of its own."""
    found = ENTRIES["clone"](view_as_complex(input))
    return found if out is None else ENTRIES["write_out"]("view_as_complex_copy", found, out)


@function(install=("ng",))
def view_as_real_copy(input, *, out=None) -> Tensor:
    """`view_as_real` with memory of its own."""
    found = ENTRIES["clone"](view_as_real(input))
    return found if out is None else ENTRIES["write_out"]("view_as_real_copy", found, out)


@function
def resolve_conj(input) -> Tensor:
    """The tensor itself: a conjugate has been computed when it is made."""
    return as_tensor_operand("resolve_conj", input, "input")


@function
def resolve_neg(input) -> Tensor:
    """The tensor itself: negative signs are never left for later."""
    return as_tensor_operand("resolve_neg", input, "input")


@function
def _neg_view(input) -> Tensor:
    """``-input``, in memory of its own. PyTorch leaves the sign for later; here it is computed at once, as `conj` is."""
    return ENTRIES["neg"](input)


@function(install=("ng",))
def is_conj(input) -> bool:
    """Whether the tensor is a conjugate still to be computed: never."""
    as_tensor_operand("is_conj", input, "input")
    return False


@function(install=("ng",))
def is_neg(input) -> bool:
    """Whether the tensor's signs are still to be changed: never."""
    as_tensor_operand("is_neg", input, "input")
    return False


@function
def is_complex(input) -> bool:
    """Whether the dtype is a complex one."""
    return input._m.dtype.is_complex


@pointwise(result="float", inplace=False)
def angle(input):
    """The angle to the positive real axis in radians: ``atan2(imag, real)``; of real tensors 0 or pi."""
    return where(isnan(input), input, where(input < 0.0, PI, 0.0))


@angle.backward
def _(g, input):
    return g * 0.0


def _angle(input):
    return angle_of(input)


angle.op.complex_fn = _angle
angle.op.complex_to_real = True


def _turned(gradient, g, input):
    # d angle = (x dy - y dx) / |z|^2; the gradient is g i z / |z|^2, and 0 at 0.
    size = input.abs()
    return g * (input * 1j) / where(size == 0.0, 1.0, size * size)


angle.op.complex_gradient = _turned


# --- products ------------------------------------------------------------------------------------------------------


@structured(install=(), name="complex_matrix_product", grad_name="MmBackward0")
def complex_product(input, other):
    """``input @ other`` for (batches of) complex matrices, through BLAS."""
    return from_host(np.matmul(to_host(input), to_host(other)), input)


@complex_product.backward
def _(g, input, other):
    return (
        sum_to(complex_product(g, adjoint(other)), input._m) if input._n is not None else None,
        sum_to(complex_product(adjoint(input), g), other._m) if other._n is not None else None,
    )


@function(install=(), name="complex_linear")
def _linear(input, weight, bias=None) -> Tensor:
    found = ENTRIES["matmul"](input, ENTRIES["t"](weight))
    return found if bias is None else found + bias
