"""Recurrent layers: all steps of one direction as one op, for sequences of one length."""

from .. import autograd, dtypes
from ..autograd import enable_grad
from ..device import CPU
from ..kernels import blas, recurrent as kernels
from ..op import dense, plain
from ..storage import meta
from ..structured import structured
from ..tensor import Tensor, empty_tensor
from .copy import zero
from .join import cat
from .launch import launch
from .matmul import linear, matrix_product
from .recurrent import gru_step, lstm_step
from .view import as_own, reshape

_ROWS = 32  # rows of the batch in a block: below, BLAS is slow


def runs_as_one(products, weight, states):
    """Whether `all_steps` computes it: tensors of float32 or float64 on the CPU, of one dtype, that are not empty."""
    d = weight.dtype
    return (
        d in (dtypes.float32, dtypes.float64) and products.device is CPU and products.numel() > 0 and weight.numel() > 0
        and all(t.dtype is d and t.device is CPU for t in (products, weight, *states))
    )  # fmt: skip


def sequence(mode, products, weight, bias, states, backwards):
    """(hidden states (T, B, n), final states) of a layer of ``mode`` over ``products`` (T, B, gates * n) of the input."""
    cell = states[1] if mode == "LSTM" else None
    steps, batch, _ = products.shape
    n = weight.shape[1]
    shift = bias if mode == "GRU" else None
    found = all_steps(products, weight, states[0], mode=mode, backwards=backwards, bias=shift, cell=cell)
    start, count = (0 if backwards else batch * n), steps * batch * n
    out = as_own(reshape(found.narrow(0, start, count), (steps, batch, n)))
    finals = [out[0 if backwards else steps - 1]]
    if cell is not None:
        finals.append(reshape(found.narrow(0, (steps + 1) * batch * n, batch * n), (batch, n)))
    return out, finals


def _layout(m, n, backwards):
    """(steps, batch, n, rows of a block, backwards), and the number of blocks: by the shape alone."""
    steps, batch, _ = m.shape
    blocks = max(1, min(4, batch // _ROWS))
    height = -(-batch // blocks)
    return (steps, batch, n, height, int(backwards)), -(-batch // height)


@structured(install=(), name="all_steps", cases="none", grad_name="RecurrentBackward0")
def all_steps(products, weight, hidden, bias=None, cell=None, *, mode, backwards):
    """Initial and all later hidden states, in the order of time, then the final cell state if there is one: flat."""
    m = products._m
    n = weight._m.shape[1]
    span, blocks = _layout(m, n, backwards)
    steps, batch = span[:2]
    size = batch * n
    T = m.np.type
    out = empty_tensor(meta(m.dtype, ((steps + 1 + (cell is not None)) * size,), m.device))
    first, last = (steps * size, 0) if backwards else (0, steps * size)
    out._d[first : first + size] = dense(hidden)._d
    products, weight = dense(products), dense(weight)
    parameters = {"T": T, "BITS": blas.load()}
    work = steps * span[3] * weight._m.numel
    context = None
    if mode in ("RNN_TANH", "RNN_RELU"):
        slots = products._d, weight._d, out._d, *span
        launch(kernels.plain_forward, {**parameters, "RELU": int(mode == "RNN_RELU")}, slots, blocks, work, m.device)
        return out, context
    gates = empty_tensor(meta(m.dtype, (steps, batch, 4 * n), m.device))
    if mode == "GRU":
        shift = zero(empty_tensor(meta(m.dtype, (3 * n,), m.device))) if bias is None else dense(bias)
        slots = products._d, weight._d, shift._d, out._d, gates._d, *span
        launch(kernels.gru_forward, parameters, slots, blocks, work, m.device)
        return out, (gates, None)
    cells = empty_tensor(meta(m.dtype, ((steps + 1) * size,), m.device))
    cells._d[first : first + size] = dense(cell)._d
    slots = products._d, weight._d, out._d, cells._d, gates._d, *span
    launch(kernels.lstm_forward, parameters, slots, blocks, work, m.device)
    out._d[(steps + 1) * size :] = cells._d[last : last + size]
    return out, (gates, cells)


@all_steps.backward
def _(g, products, weight, hidden, bias, cell, out, context, mode, backwards):
    m = products._m
    n = weight._m.shape[1]
    span, blocks = _layout(m, n, backwards)
    steps, batch = span[:2]
    size = batch * n
    g, w = dense(g), dense(plain(weight))
    errors = g._d[0 if backwards else size :]
    T = m.np.type
    parameters = {"T": T, "BITS": blas.load()}
    work = steps * span[3] * w._m.numel
    d_products = empty_tensor(meta(m.dtype, m.shape, m.device))
    d_hidden = zero(empty_tensor(meta(m.dtype, (batch, n), m.device)))
    d_cell, changes = None, d_products  # the gradient of the products with the hidden states
    if mode in ("RNN_TANH", "RNN_RELU"):
        slots = errors, w._d, out._d, d_products._d, d_hidden._d, *span
        launch(kernels.plain_backward, {**parameters, "RELU": int(mode == "RNN_RELU")}, slots, blocks, work, m.device)
    elif mode == "GRU":
        changes = empty_tensor(d_products._m)
        slots = errors, w._d, out._d, context[0]._d, d_products._d, changes._d, d_hidden._d, *span
        launch(kernels.gru_backward, parameters, slots, blocks, work, m.device)
    else:
        gates, cells = context
        d_cell = empty_tensor(d_hidden._m)
        d_cell._d[:] = g._d[(steps + 1) * size :]
        slots = errors, w._d, cells._d, gates._d, d_products._d, d_hidden._d, d_cell._d, *span
        launch(kernels.lstm_backward, parameters, slots, blocks, work, m.device)
    at = size if backwards else 0  # what each step starts from
    d_weight = d_bias = None
    if weight._n is not None:
        before = reshape(plain(out).narrow(0, at, steps * size), (steps * batch, n))
        d_weight = matrix_product(reshape(changes, (steps * batch, -1)).T, before)
    if bias is not None:
        d_bias = changes.sum((0, 1))
    # The initial state is the first of the states.
    first = steps * size if backwards else 0
    d_hidden = d_hidden + reshape(g.narrow(0, first, size), (batch, n))
    return d_products, d_weight, d_hidden, d_bias, d_cell


@all_steps.backward_as_ops
def _(g, products, weight, hidden, bias, cell, out, context, mode, backwards):
    inputs = [products, weight, hidden, bias, cell]
    wanted = [k for k, t in enumerate(inputs) if t is not None and t._n is not None]
    record = autograd.is_grad_enabled()
    with enable_grad():
        found = _step_by_step(*inputs, mode, backwards)
        gradients = autograd.grad(found, [inputs[k] for k in wanted], g, create_graph=record, allow_unused=True)
    results = [None] * len(inputs)
    for k, gradient in zip(wanted, gradients):
        results[k] = gradient
    return tuple(results)


def _step_by_step(products, weight, hidden, bias, cell, mode, backwards) -> Tensor:
    """What `all_steps` computes, of ops that can be differentiated again."""
    steps, n = products._m.shape[0], weight._m.shape[1]
    states = [hidden]
    if cell is not None:
        cell = cat((hidden, cell), 1)
    for t in range(steps - 1, -1, -1) if backwards else range(steps):
        if mode == "GRU":
            hidden = gru_step(products[t], linear(hidden, weight, bias), hidden)
        else:
            total = products[t] + linear(hidden, weight)
            if mode == "LSTM":
                cell = lstm_step(total, cell)
                hidden = cell.narrow(1, 0, n)
            else:
                hidden = total.tanh() if mode == "RNN_TANH" else total.relu()
        states.append(hidden)
    if backwards:
        states.reverse()
    if cell is not None:
        states.append(cell.narrow(1, n, n))
    return reshape(cat(states), (-1,))


__all__ = ["runs_as_one", "sequence"]
