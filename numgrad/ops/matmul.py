"""Matrix products, through BLAS; transposed operands are read in place."""

from ..kernels import gemm
from ..layout import broadcast_shapes, broadcast_strides
from ..op import ENTRIES, as_tensor_operand, function, method, same_device, structured, sum_to
from ..storage import Meta, meta
from ..tensor import Tensor, empty_tensor
from .copy import contiguous_copy
from .view import reshape, transpose

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
    if x.device.type == "cuda":
        from ..kernels import cuda

        run = cuda.product(x.np, (*batch, m, k, n), *strides, out.strides, bias)
    else:
        run = gemm.plan(x.np, (*batch, m, k, n), *strides, out.strides, bias).run
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


@structured(install=(), name="matrix_product")
def matrix_product(input, other):
    """``input @ other`` for (batches of) matrices of one dtype, batch dimensions broadcast."""
    copy_x, copy_y, m, run = _product(input._m, other._m)
    out = empty_tensor(m)
    x = contiguous_copy(input) if copy_x else input
    y = contiguous_copy(other) if copy_y else other
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
def matmul(input, other, *, out=None):
    """The matrix product of tensors of any rank: 1-d operands are vectors, leading dimensions are batches that
    broadcast (NumPy's ``@``)."""
    if out is not None:
        return ENTRIES["write_out"]("matmul", matmul(input, other), out)
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
    return found


def _shaped(name, ndims, doc):
    def product(input, mat2, *, out=None):
        input, mat2 = as_tensor_operand(name, input, "input"), as_tensor_operand(name, mat2, "mat2")
        for tensor, ndim, argument in zip((input, mat2), ndims, ("input", "mat2")):
            if tensor._m.ndim != ndim:
                raise RuntimeError(f"{name}: {argument} must be a {ndim}-D tensor, got {tensor._m.ndim}-D; matmul takes any rank")
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
        found = matmul(input, mat2)
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


@structured(install=("nn.functional",))
def linear(input, weight, bias=None):
    """``input @ weight.T + bias``: ``(..., in) x (out, in) + (out) -> (..., out)``."""
    mx, mw = input._m, weight._m
    if mw.ndim == 1:
        found = matmul(input, weight)
        return found if bias is None else found.add_(bias)
    if mw.ndim != 2 or mx.ndim == 0:
        raise RuntimeError(f"linear: expected a weight of 1 or 2 dimensions and an input of at least 1, got weight "
                           f"{list(mw.shape)} and input {list(mx.shape)}")  # fmt: skip
    if mx.shape[-1] != mw.shape[1]:
        raise RuntimeError(
            f"linear: mat1 and mat2 shapes cannot be multiplied ({_rows(mx.shape[:-1])}x{mx.shape[-1]} and "
            f"{mw.shape[1]}x{mw.shape[0]}): the input has {mx.shape[-1]} features, the layer takes {mw.shape[1]}"
        )
    if mx.dtype is not mw.dtype:
        raise RuntimeError(f"linear: mat1 and mat2 must have the same dtype, but got {mx.dtype!r} and {mw.dtype!r}")
    x = input if mx.contiguous else contiguous_copy(input)
    rows = meta(mx.dtype, (_rows(mx.shape[:-1]), mx.shape[-1]), mx.device)
    fused = bias is not None and bias._m.contiguous and bias._m.ndim == 1 and bias._m.dtype is mx.dtype
    copy_w, m, run = _linear_plan(rows, mw, fused)
    w = contiguous_copy(weight) if copy_w else weight
    out = empty_tensor(m if mx.ndim == 2 else meta(mx.dtype, (*mx.shape[:-1], mw.shape[0]), mx.device))
    if fused and bias._m.numel != mw.shape[0]:
        raise RuntimeError(f"linear: expected a bias of {mw.shape[0]} elements, got {list(bias._m.shape)}")
    run(x._d, w._d, bias._d if fused else None, out._d)
    return out if bias is None or fused else out.add_(bias)


_linear_plans: dict = {}


def _linear_plan(x, w, bias):
    key = x, w, bias
    found = _linear_plans.get(key)
    if found is None:
        if len(_linear_plans) > _LIMIT:
            _linear_plans.clear()
        copy = not gemm.readable(*w.shape, *w.strides)
        steps = meta(w.dtype, w.shape).strides if copy else w.strides
        out = meta(x.dtype, (x.shape[0], w.shape[0]), x.device)
        shape = (x.shape[0], x.shape[1], w.shape[0])
        if x.device.type == "cuda":
            from ..kernels import cuda

            run = cuda.product(x.np, shape, x.strides, (steps[1], steps[0]), out.strides, bias)
        else:
            run = gemm.plan(x.np, shape, x.strides, (steps[1], steps[0]), out.strides, bias).run
        found = _linear_plans[key] = (copy, out, run)
    return found


@linear.backward
def _(g, input, weight, bias_meta, input_meta):
    d_input = d_weight = d_bias = None
    if weight._m.ndim == 1:
        if input._n is not None:
            d_input = g.unsqueeze(-1) * weight
        if weight._n is not None:
            d_weight = sum_to(g.unsqueeze(-1) * input, weight._m)
        return d_input, d_weight, None if bias_meta is None else sum_to(g, bias_meta)
    rows = g if g._m.ndim == 2 else reshape(g, (-1, g._m.shape[-1]) if g._m.numel else (_rows(g._m.shape[:-1]), g._m.shape[-1]))
    if input._n is not None:
        d_input = matrix_product(rows, weight)
        if g._m.ndim != 2:
            d_input = reshape(d_input, tuple(input_meta.shape))
    if weight._n is not None:
        x = input if input_meta.ndim == 2 else reshape(input, (_rows(input_meta.shape[:-1]), input_meta.shape[-1]))
        d_weight = matrix_product(transpose(rows, 0, 1), x)
    if bias_meta is not None:
        d_bias = sum_to(rows, bias_meta)
    return d_input, d_weight, d_bias


def _scaled(name, inputs, beta, alpha):
    """``beta * input + alpha * product``; with beta 0 the input is not read."""
    base, found = inputs
    if alpha != 1:
        found = found * alpha
    if beta == 0:
        return found
    shape = broadcast_shapes(name, base._m.shape, found._m.shape)
    if shape != found._m.shape:
        raise RuntimeError(
            f"{name}: The expanded size of the tensor {list(found._m.shape)} must match the existing size {list(base._m.shape)}"
        )
    return found + (base if beta == 1 else base * beta)


def _adding(name, product, doc, first, second):
    source = (
        f"def {name}(input, {first}, {second}, *, beta=1, alpha=1, out=None):\n"
        f"    found = scaled({name!r}, (input, product({first}, {second})), beta, alpha)\n"
        f"    return found if out is None else entries['write_out']({name!r}, found, out)\n\n"
        f"def {name}_(self, {first}, {second}, *, beta=1, alpha=1):\n"
        f"    return self.copy_({name}(self, {first}, {second}, beta=beta, alpha=alpha))\n"
    )
    env = {"scaled": _scaled, "product": product, "entries": ENTRIES}
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


@function
def outer(input, vec2, *, out=None):
    """The outer product of two vectors."""
    if input._m.ndim != 1 or vec2._m.ndim != 1:
        raise RuntimeError(f"outer: Expected 1-D arguments, got {input._m.ndim}-D and {vec2._m.ndim}-D")
    found = input.unsqueeze(1) * vec2
    return found if out is None else ENTRIES["write_out"]("outer", found, out)


@function
def inner(input, other, *, out=None):
    """The sum of products over the last dimensions."""
    if input._m.ndim == 0 or other._m.ndim == 0:
        return input * other
    if input._m.shape[-1] != other._m.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input._m.shape)} and "
            f"{list(other._m.shape)}"
        )
    x = reshape(input, (-1, input._m.shape[-1])) if input._m.numel else input
    y = reshape(other, (-1, other._m.shape[-1])) if other._m.numel else other
    found = reshape(matmul(x, transpose(y, 0, 1)), (*input._m.shape[:-1], *other._m.shape[:-1]))
    return found if out is None else ENTRIES["write_out"]("inner", found, out)


@function
def bilinear(input1, input2, weight, bias=None):
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


def _matmul_operator(self, other):
    if not isinstance(other, Tensor) and not hasattr(other, "__array__"):
        return NotImplemented
    return matmul(self, other)


def _reflected_matmul(self, other):
    return matmul(as_tensor_operand("matmul", other, "input"), self)


def _inplace_matmul(self, other):
    return self.copy_(matmul(self, other))


Tensor.__matmul__ = _matmul_operator
Tensor.__rmatmul__ = _reflected_matmul
Tensor.__imatmul__ = _inplace_matmul

