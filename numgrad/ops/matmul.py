"""Matrix products, through BLAS; transposed operands are read in place."""

import numpy as np

from .. import dtypes
from ..dtypes import int8, int32, number_for
from ..kernels import gemm
from ..layout import broadcast_shapes, broadcast_strides
from ..names import warn_of_order
from ..op import ENTRIES, as_tensor_operand, called, cast, function, method, plain, same_device, sum_to
from ..storage import Meta, meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor, from_array, make
from .copy import contiguous_copy
from .view import as_own, reshape, transpose

_products: dict = {}  # metas of the operands -> how their product runs
_LIMIT = 1 << 14


def _product(x: Meta, y: Meta, bias: bool = False):
    """(copy x first?, copy y first?, meta of the result, function (x, y, bias, out, alpha, beta))."""
    key = x, y, bias
    found = _products.get(key)
    if found is None:
        if len(_products) > _LIMIT:
            _products.clear()
        found = _products[key] = _plan(x, y, bias)
    return found


def _plan(x, y, bias):
    batch = broadcast_shapes("matmul", x.shape[:-2], y.shape[:-2])
    m, k = x.shape[-2:]
    n = y.shape[-1]
    copies, strides = [], []
    for operand in (x, y):
        needs_copy = not gemm.readable(*operand.shape[-2:], *operand.strides[-2:]) and operand.dtype.is_floating_point
        steps = meta(operand.dtype, operand.shape).strides if needs_copy else operand.strides
        copies.append(needs_copy)
        strides.append((*broadcast_strides(operand.shape[:-2], steps[:-2], batch), *steps[-2:]))
    out = meta(x.dtype, (*batch, m, n), x.device)
    run = x.device.backend.product(x.np, (*batch, m, k, n), *strides, out.strides, bias)
    return (*copies, out, run)


def _check(op, x, y):
    if x._m.dtype is not y._m.dtype:
        raise RuntimeError(
            f"{op}: expected m1 and m2 to have the same dtype, but got: {x._m.dtype!r} != {y._m.dtype!r}; convert one of "
            "them with .to(...)"
        )
    if x._m.dtype.name == "bool":
        raise RuntimeError(f'{op}: "addmm_impl_cpu_" not implemented for \'Bool\'; convert with .float() or .long()')
    if x._m.device != y._m.device:
        same_device(op, (x, y))
    if x._m.shape[-1] != y._m.shape[-2]:
        raise RuntimeError(
            f"{op}: mat1 and mat2 shapes cannot be multiplied ({'x'.join(map(str, x._m.shape))} and "
            f"{'x'.join(map(str, y._m.shape))}): the inner sizes {x._m.shape[-1]} and {y._m.shape[-2]} differ"
        )


@structured(install=(), name="matrix_product", raw=True, grad_name="MmBackward0")
def matrix_product(input, other):
    """``input @ other`` for (batches of) matrices of one dtype, batch dimensions broadcast."""
    copy_x, copy_y, m, run = _product(input._m, other._m)
    out = empty_tensor(m)
    x = contiguous_copy(plain(input)) if copy_x else input
    y = contiguous_copy(plain(other)) if copy_y else other
    run(x._d, y._d, None, out._d)
    return out


@matrix_product.backward
def _(g, input, other):
    need_input, need_other = input._n is not None, other._n is not None
    return (
        sum_to(matrix_product(g, transpose(other, -2, -1)), input._m) if need_input else None,
        sum_to(matrix_product(transpose(input, -2, -1), g), other._m) if need_other else None,
    )


@function
def matmul(input, other, *, out=None) -> Tensor:
    """The matrix product of tensors of any rank: 1-d operands are vectors, leading dimensions are batches that
    broadcast (NumPy's ``@``)."""
    if out is not None:
        return ENTRIES["write_out"]("matmul", matmul(input, other), out)
    if type(input) is not Tensor or type(other) is not Tensor:
        input, other = as_tensor_operand("matmul", input, "input"), as_tensor_operand("matmul", other, "other")
    nx, ny = input._m.ndim, other._m.ndim
    if nx == 2 and ny == 2:
        _check("matmul", input, other)
        return matrix_product(input, other)
    if nx == 0 or ny == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {nx}D and {ny}D")
    x = reshape(input, (1, -1)) if nx == 1 and input._m.numel else input.unsqueeze(0) if nx == 1 else input
    y = other.unsqueeze(-1) if ny == 1 else other
    _check("matmul", x, y)
    found = matrix_product(x, y)
    if nx == 1:
        found = found.squeeze(-2)
    if ny == 1:
        found = found.squeeze(-1)
        if nx < 3:
            found = called(found, "MvBackward0" if nx == 2 else "DotBackward0")
    return as_own(found)


def _shaped(name, ndims, doc):
    def product(input, mat2, *, out=None) -> Tensor:
        input, mat2 = as_tensor_operand(name, input, "input"), as_tensor_operand(name, mat2, "mat2")
        for tensor, ndim, argument in zip((input, mat2), ndims, ("input", "mat2")):
            if tensor._m.ndim != ndim:
                if name == "dot":
                    raise RuntimeError(f"1D tensors expected, but got {input._m.ndim}D and {mat2._m.ndim}D tensors; matmul takes any rank")
                raise RuntimeError(f"{name}: {argument} must be a {ndim}-D tensor, got {tensor._m.ndim}-D; matmul takes any rank")
        if name == "dot" and input._m.dtype is not mat2._m.dtype:
            raise RuntimeError(
                f"dot : expected both vectors to have same dtype, but found {input._m.dtype.scalar_type} and "
                f"{mat2._m.dtype.scalar_type}"
            )
        if name == "dot" and input._m.shape != mat2._m.shape:
            raise RuntimeError(
                f"dot: inconsistent tensor size, expected tensor [{input._m.numel}] and src [{mat2._m.numel}] to have the "
                "same number of elements"
            )
        if name == "bmm" and input._m.shape[0] != mat2._m.shape[0]:
            raise RuntimeError(
                f"bmm: Expected size for first two dimensions of batch2 tensor to be: [{input._m.shape[0]}, "
                f"{input._m.shape[2]}] but got: {list(mat2._m.shape[:2])}."
            )
        found = matmul(input, mat2) if name != "bmm" else called(matmul(input, mat2), "BmmBackward0")
        return found if out is None else ENTRIES["write_out"](name, found, out)

    product.__name__ = product.__qualname__ = name
    product.__doc__ = doc
    return function(product)


mm = _shaped("mm", (2, 2), "The product of two matrices.")
bmm = _shaped("bmm", (3, 3), "The products of two batches of matrices of one size.")
mv = _shaped("mv", (2, 1), "The product of a matrix and a vector.")
dot = _shaped("dot", (1, 1), "The inner product of two vectors.")


def _rows(shape):
    count = 1
    for size in shape:
        count *= size
    return count


@structured(install=("nn.functional",), raw=True, out=True, grad_name="AddmmBackward0")
def linear(input, weight, bias=None):
    """``input @ weight.T + bias``: ``(..., in) x (out, in) + (out) -> (..., out)``."""
    bias_meta = None if bias is None else bias._m
    plan = _linear_plans.get((input._m, weight._m, bias_meta))
    if plan is None:
        plan = _plan_linear(input._m, weight._m, bias_meta)
    if plan.general:
        found = matmul(plain(input), transpose(plain(weight), 0, 1) if weight._m.ndim == 2 else plain(weight))
        return found if bias is None else found.add_(plain(bias))
    m = plan.out
    out = make(m.empty(m.numel, m.np), m)
    x = input if input._m.contiguous else contiguous_copy(plain(input))
    plan.run(x._d, weight._d, None if bias is None else bias._d, out._d)
    return out


class _Linear:
    """How `linear` runs for one combination of metas: forward, and the two products of its gradient."""

    __slots__ = ("general", "out", "run", "rows", "run_input", "run_weight", "d_input", "d_weight")


_linear_plans: dict = {}


def _plan_linear(x, w, bias):
    if w.ndim not in (1, 2) or x.ndim == 0:
        raise RuntimeError(
            "linear: both arguments to linear need to be at least 1D, and the weight at most 2D, but they are "
            f"{x.ndim}D and {w.ndim}D: input {list(x.shape)}, weight {list(w.shape)}"
        )
    if x.shape[-1] != w.shape[-1]:
        raise RuntimeError(
            f"linear: mat1 and mat2 shapes cannot be multiplied ({_rows(x.shape[:-1])}x{x.shape[-1]} and "
            f"{'x'.join(map(str, reversed(w.shape)))}): the input has {x.shape[-1]} features, the layer takes {w.shape[-1]}"
        )
    if x.dtype is not w.dtype or (bias is not None and bias.dtype is not x.dtype):
        raise RuntimeError(
            f"linear: mat1 and mat2 must have the same dtype, but got {x.dtype!r} and {w.dtype!r}"
            + ("" if bias is None else f" with a bias of {bias.dtype!r}")
        )
    if bias is not None and bias.shape not in ((), (1,), w.shape[:-1]):
        raise RuntimeError(f"linear: expected a bias of shape {list(w.shape[:-1])}, got {list(bias.shape)}")
    plan = _Linear()
    readable = w.ndim == 2 and gemm.readable(*w.shape, *w.strides)
    plain_bias = bias is None or (bias.contiguous and bias.shape == w.shape[:-1])
    plan.general = not readable or not plain_bias or not x.dtype.is_floating_point
    if not plan.general:
        rows, k, n = _rows(x.shape[:-1]), x.shape[-1], w.shape[0]
        plan.out = meta(x.dtype, (*x.shape[:-1], n), x.device)
        plan.rows = meta(x.dtype, (rows, n), x.device)
        plan.d_input, plan.d_weight = meta(x.dtype, x.shape, x.device), meta(w.dtype, w.shape, w.device)
        planned = x.device.backend.product
        plan.run = planned(x.np, (rows, k, n), (k, 1), (w.strides[1], w.strides[0]), (n, 1), bias is not None)
        plan.run_input = planned(x.np, (rows, n, k), (n, 1), w.strides, (k, 1), False)
        plan.run_weight = planned(x.np, (n, rows, k), (1, n), (k, 1), (k, 1), False)
    if len(_linear_plans) > _LIMIT:
        _linear_plans.clear()
    _linear_plans[x, w, bias] = plan
    return plan


@linear.backward
def _(g, input, weight, bias_meta):
    plan = _linear_plans.get((input._m, weight._m, bias_meta)) or _plan_linear(input._m, weight._m, bias_meta)
    if plan.general or not g._m.contiguous:
        return _linear_gradients(g, input, weight, bias_meta)
    d_input = d_weight = d_bias = None
    if input._n is not None:
        d_input = empty_tensor(plan.d_input)
        plan.run_input(g._d, weight._d, None, d_input._d)
    if weight._n is not None:
        d_weight = empty_tensor(plan.d_weight)
        x = input if input._m.contiguous else contiguous_copy(plain(input))
        plan.run_weight(g._d, x._d, None, d_weight._d)
    if bias_meta is not None:
        d_bias = sum_to(g if g._m.ndim == 2 else reshape(g, tuple(plan.rows.shape)), bias_meta)
    return d_input, d_weight, d_bias


def _linear_gradients(g, input, weight, bias_meta):
    d_input = d_weight = d_bias = None
    if weight._m.ndim == 1:
        g = g.unsqueeze(-1)
        if input._n is not None:
            d_input = g * weight
        if weight._n is not None:
            d_weight = sum_to(g * input, weight._m)
        return d_input, d_weight, None if bias_meta is None else sum_to(g, bias_meta)
    lead = _rows(g._m.shape[:-1])
    rows = reshape(g, (lead, g._m.shape[-1]))
    if input._n is not None:
        d_input = reshape(matrix_product(rows, weight), tuple(input._m.shape))
    if weight._n is not None:
        d_weight = matrix_product(transpose(rows, 0, 1), reshape(input, (lead, input._m.shape[-1])))
    if bias_meta is not None:
        d_bias = sum_to(rows, bias_meta)
    return d_input, d_weight, d_bias


linear.backward_as_ops(_linear_gradients)


def _scaled(name, inputs, beta, alpha):
    """``beta * input + alpha * product``; with beta 0 the input is not read."""
    base, found = inputs
    beta, alpha = number_for(name, beta, found._m.dtype), number_for(name, alpha, found._m.dtype)
    if name == "addr":
        _check_factors(dtypes.promote(base._m.dtype, found._m.dtype), beta, alpha)
    elif base._m.dtype is not found._m.dtype:
        raise RuntimeError(
            f"{name}: Input dtypes must be the same, got: input {base._m.dtype!r}, the factors {found._m.dtype!r}; convert one with .to()"
        )
    shape = broadcast_shapes(name, base._m.shape, found._m.shape)
    if shape != found._m.shape:
        raise RuntimeError(
            f"{name}: The expanded size of the tensor {list(found._m.shape)} must match the existing size {list(base._m.shape)}"
        )
    if found._m.dtype.kind == "b":
        return (base & bool(beta)) | (found & bool(alpha))
    if not found._m.dtype.differentiable:
        beta, alpha = int(beta), int(alpha)  # as PyTorch does: integers stay integers
    if alpha != 1:
        found = found * alpha
    if beta == 0:
        return found
    return found + (base if beta == 1 else base * beta)


def _check_factors(d, *factors):
    """`addr`'s rule for its factors, which the others do not have."""
    for argument, factor in zip(("beta", "alpha"), factors):
        if isinstance(factor, bool) and d.kind != "b":
            raise RuntimeError(f"Boolean {argument} only supported for Boolean results.")
        if isinstance(factor, float) and not d.differentiable:
            raise RuntimeError(f"For integral input tensors, argument {argument} must not be a floating point number.")


def _in_order(name, new, arguments, beta, alpha):
    """(input, two factors, beta, alpha) of a call in the old order, with the numbers before what they multiply."""
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    numbers = [value for value in arguments if not isinstance(value, Tensor)]
    if len(tensors) != 3 or len(numbers) > 2:
        raise TypeError(f"{name}() takes 3 tensors as positional arguments, got {len(tensors)} and {len(numbers)} other values")
    warn_of_order(name, new)
    return (*tensors, *numbers, *(beta, alpha)[len(numbers) :])


def _adding(name, product, doc, first, second):
    new = f"Tensor {first}, Tensor {second}, *, Number beta = 1, Number alpha = 1"
    unpacked = f"input, {first}, {second}, beta, alpha"
    source = (
        f"def {name}(input, {first}, {second}, *older, beta=1, alpha=1, out=None) -> Tensor:\n"
        f"    if older:\n"
        f"        {unpacked} = in_order({name!r}, {new!r}, (input, {first}, {second}, *older), beta, alpha)\n"
        f"    found = called(scaled({name!r}, (input, product({first}, {second})), beta, alpha), {name.capitalize()!r} + 'Backward0')\n"
        f"    return found if out is None else entries['write_out']({name!r}, found, out)\n\n"
        f"def {name}_(self, {first}, {second}, *older, beta=1, alpha=1):\n"
        f"    if older:\n"
        f"        {unpacked.replace('input', 'self')} = in_order('{name}_', {new!r}, (self, {first}, {second}, *older), beta, alpha)\n"
        f"    return self.copy_({name}(self, {first}, {second}, beta=beta, alpha=alpha))\n"
    )
    env = {"Tensor": Tensor, "scaled": _scaled, "product": product, "entries": ENTRIES, "called": called, "in_order": _in_order}
    exec(compile(source, f"<{name}>", "exec"), env)
    env[name].__doc__ = doc
    env[f"{name}_"].__doc__ = f"In-place version of `{name}`."
    method(env[f"{name}_"])
    return function(env[name])


def _sum_of_products(batch1, batch2):
    return bmm(batch1, batch2).sum(0)


def _outer(vec1, vec2):
    return outer(vec1, vec2)


addmm = _adding("addmm", mm, "``beta * input + alpha * (mat1 @ mat2)``.", "mat1", "mat2")
addmv = _adding("addmv", mv, "``beta * input + alpha * (mat @ vec)``.", "mat", "vec")
baddbmm = _adding("baddbmm", bmm, "``beta * input + alpha * bmm(batch1, batch2)``.", "batch1", "batch2")
addbmm = _adding("addbmm", _sum_of_products, "``beta * input + alpha * bmm(batch1, batch2).sum(0)``.", "batch1", "batch2")
addr = _adding("addr", _outer, "``beta * input + alpha * outer(vec1, vec2)``.", "vec1", "vec2")


@function(install=("ng",))
def _addmm_activation(input, mat1, mat2, *, beta=1, alpha=1, use_gelu=False, out=None) -> Tensor:
    """`addmm`, then relu, or gelu with tanh."""
    found = addmm(input, mat1, mat2, beta=beta, alpha=alpha)
    found = ENTRIES["gelu"](found, approximate="tanh") if use_gelu else ENTRIES["relu"](found)
    return found if out is None else ENTRIES["write_out"]("_addmm_activation", found, out)


@function(install=("ng",))
def _int_mm(input, mat2, *, out=None) -> Tensor:
    """The product of two int8 matrices, (m, k) and (k, n), added up in int32."""
    for tensor, argument in ((input, "self"), (mat2, "mat2")):
        if tensor._m.ndim != 2:
            raise RuntimeError(f"_int_mm: Expected {argument} to be of dimension 2 but got {tensor._m.ndim}")
        if tensor._m.dtype is not int8:
            raise RuntimeError(f"_int_mm: Expected {argument} dtype to be of type int8 but got {tensor._m.dtype!r}")
    if input._m.shape[1] != mat2._m.shape[0]:
        raise RuntimeError(
            f"_int_mm: self.size(1) needs to match mat2.size(0) but got {input._m.shape[1]} and {mat2._m.shape[0]}"
        )
    if out is not None and out._m.dtype is not int32:
        raise RuntimeError(f"_int_mm: Expected result dtype to be of type kInt but got {out._m.dtype!r}")
    found = mm(cast(input, int32), cast(mat2, int32))
    return found if out is None else ENTRIES["write_out"]("_int_mm", found, out)


@function
def outer(input, vec2, *, out=None) -> Tensor:
    """The outer product of two vectors."""
    input, vec2 = as_tensor_operand("outer", input, "input"), as_tensor_operand("outer", vec2, "vec2")
    if input._m.ndim != 1 or vec2._m.ndim != 1:
        raise RuntimeError(f"outer: Expected 1-D arguments, got {input._m.ndim}-D and {vec2._m.ndim}-D")
    found = input.unsqueeze(1) * vec2
    return found if out is None else ENTRIES["write_out"]("outer", found, out)


@function
def inner(input, other, *, out=None) -> Tensor:
    """The sum of products over the last dimensions."""
    if input._m.ndim == 0 or other._m.ndim == 0:
        found = input * other
        return found if out is None else ENTRIES["write_out"]("inner", found, out)
    if input._m.shape[-1] != other._m.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input._m.shape)} and "
            f"{list(other._m.shape)}"
        )
    if input._m.ndim == other._m.ndim == 1:
        return dot(input, other, out=out)
    x, y = (reshape(t, (_rows(t._m.shape[:-1]), t._m.shape[-1])) for t in (input, other))
    found = reshape(matmul(x, transpose(y, 0, 1)), (*input._m.shape[:-1], *other._m.shape[:-1]))
    return found if out is None else ENTRIES["write_out"]("inner", found, out)


@function
def bilinear(input1, input2, weight, bias=None) -> Tensor:
    """``x1^T A x2 + b`` for every output: ``(..., i), (..., j), (o, i, j), (o) -> (..., o)``."""
    lead = tuple(input1._m.shape[:-1])
    if tuple(input2._m.shape[:-1]) != lead:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1._m.shape)} and {list(input2._m.shape)}"
        )
    rows, outs = _rows(lead), weight._m.shape[0]
    i, j = weight._m.shape[1:]
    if input1._m.shape[-1] != i or input2._m.shape[-1] != j:
        raise RuntimeError(
            f"bilinear(): expected inputs of {i} and {j} features, got {input1._m.shape[-1]} and {input2._m.shape[-1]}"
        )
    x1, x2 = reshape(input1, (rows, i)), reshape(input2, (rows, j))
    half = matmul(x1, reshape(transpose(weight, 0, 1), (i, outs * j)))  # (rows, outs * j)
    found = (reshape(half, (rows, outs, j)) * x2.unsqueeze(1)).sum(-1)
    found = reshape(found, (*lead, outs))
    return found if bias is None else found + bias


def _matmul_operator(self, other) -> Tensor:
    if isinstance(other, np.ndarray):
        other = from_array(other)
    return matmul(self, other) if isinstance(other, Tensor) else NotImplemented


def _reflected_matmul(self, other) -> Tensor:
    return matmul(other, self) if isinstance(other, Tensor) else NotImplemented


def _inplace_matmul(self, other) -> Tensor:
    return self.copy_(matmul(self, other)) if isinstance(other, Tensor) else NotImplemented


Tensor.__matmul__ = _matmul_operator
Tensor.__rmatmul__ = _reflected_matmul
Tensor.__imatmul__ = _inplace_matmul

