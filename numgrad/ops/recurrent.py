"""The pointwise parts of recurrent cells, each one row op: what follows the matrix products of a step."""

from ..function import Function
from ..kernels.vocab import lanes, sigmoid as logistic, tanh as hyperbolic_tangent
from ..op import cast
from ..rowwise import rowwise
from ..structured import structured
from .join import cat, stack
from .matmul import linear, matrix_product


class Steps(Function):
    """The rows of a sequence in runs of ``sizes`` rows, views; their gradients are joined once, not added up one by one.

    With ``weight`` (n, m), what is added to step t is ``hidden_product`` of it and ``hidden[t]`` (r, m), a list that the
    caller fills: the products' gradients are those of the steps, so that of the weight is one product of all.
    """

    @staticmethod
    def forward(data, sizes, weight, hidden):
        return data.unbind(0) if sizes is None else data.split(sizes)

    @staticmethod
    def backward(ctx, *gradients):
        joined = stack(gradients) if ctx.sizes is None else cat(gradients)
        for_weight = None
        if ctx.needs_input_grad[2] and not ctx._by_ops:  # else `hidden_product` has it
            rows = joined.reshape(-1, joined.shape[-1])
            for_weight = matrix_product(rows.T, cast(cat(ctx.hidden), rows._m.dtype))  # (n, rows) x (rows, m)
        return joined, None, for_weight, None

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.sizes, _, ctx.hidden = inputs


@structured(install=(), name="hidden_product", raw=True)
def hidden_product(input, weight):
    """``input @ weight.T``: ``(r, m) x (n, m) -> (r, n)``, for `Steps`, which has the gradient of the weight."""
    return linear.op.fn(input, weight)


@hidden_product.backward
def _(g, input, weight):
    return matrix_product(g, weight) if input._n is not None else None, None


@hidden_product.backward_as_ops
def _(g, input, weight):
    return matrix_product(g, weight), matrix_product(g.T, input)


@rowwise("gates(r,4n), before(r,2n) -> states(r,2n), active(r,4n)", install=(), name="lstm_step")
def lstm_step(gates, before, states, active, *, n):
    """``i, f, g, o`` of (r, 4 n) and the states (r, 2 n), hidden beside cell state -> the new states. Of the old ones only
    the cell state is read: the hidden state is in the gates."""
    for j in lanes(n):
        i = logistic(gates[j])
        f = logistic(gates[n + j])
        g = hyperbolic_tangent(gates[2 * n + j])
        o = logistic(gates[3 * n + j])
        c = f * before[n + j] + i * g
        states[j] = o * hyperbolic_tangent(c)
        states[n + j] = c
        active[j] = i
        active[n + j] = f
        active[2 * n + j] = g
        active[3 * n + j] = o


@lstm_step.backward
def _(g, gates, before, states, active, dgates, dbefore, *, n):
    for j in lanes(n):
        i = active[j]
        f = active[n + j]
        new = active[2 * n + j]
        o = active[3 * n + j]
        t = hyperbolic_tangent(states[n + j])
        along = g[n + j] + g[j] * o * (1.0 - t * t)
        dgates[j] = along * new * i * (1.0 - i)
        dgates[n + j] = along * before[n + j] * f * (1.0 - f)
        dgates[2 * n + j] = along * i * (1.0 - new * new)
        dgates[3 * n + j] = g[j] * t * o * (1.0 - o)
        dbefore[j] = 0.0
        dbefore[n + j] = along * f


@lstm_step.backward_as_ops
def _(g, gates, before, states, active):
    i, f, new, o = gates.chunk(4, -1)
    cell = before.chunk(2, -1)[1]
    i, f, new, o = i.sigmoid(), f.sigmoid(), new.tanh(), o.sigmoid()
    t = (f * cell + i * new).tanh()
    from_hidden, from_cell = g.chunk(2, -1)
    along = from_cell + from_hidden * o * (1.0 - t * t)
    parts = (
        along * new * i * (1.0 - i), along * cell * f * (1.0 - f), along * i * (1.0 - new * new),
        from_hidden * t * o * (1.0 - o),
    )  # fmt: skip
    return cat(parts, -1), cat((from_hidden * 0.0, along * f), -1)


@rowwise("x(r,3n), y(r,3n), hidden(r,n) -> out(r,n), active(r,3n)", install=(), name="gru_step")
def gru_step(x, y, hidden, out, active, *, n):
    """``r, z, n`` from the products (r, 3 n) with input and hidden state: ``n + z * (hidden - n)`` with
    ``n = tanh(x_n + r * y_n)``."""
    for j in lanes(n):
        r = logistic(x[j] + y[j])
        z = logistic(x[n + j] + y[n + j])
        new = hyperbolic_tangent(x[2 * n + j] + r * y[2 * n + j])
        out[j] = new + z * (hidden[j] - new)
        active[j] = r
        active[n + j] = z
        active[2 * n + j] = new


@gru_step.backward
def _(g, x, y, hidden, active, dx, dy, dhidden, *, n):
    for j in lanes(n):
        r = active[j]
        z = active[n + j]
        new = active[2 * n + j]
        d_new = g[j] * (1.0 - z) * (1.0 - new * new)
        d_reset = d_new * y[2 * n + j] * r * (1.0 - r)
        d_update = g[j] * (hidden[j] - new) * z * (1.0 - z)
        dx[j] = d_reset
        dx[n + j] = d_update
        dx[2 * n + j] = d_new
        dy[j] = d_reset
        dy[n + j] = d_update
        dy[2 * n + j] = d_new * r
        dhidden[j] = g[j] * z


@gru_step.backward_as_ops
def _(g, x, y, hidden, active):
    (x_r, x_z, x_n), (y_r, y_z, y_n) = x.chunk(3, -1), y.chunk(3, -1)
    r, z = (x_r + y_r).sigmoid(), (x_z + y_z).sigmoid()
    new = (x_n + r * y_n).tanh()
    d_new = g * (1.0 - z) * (1.0 - new * new)
    d_reset = d_new * y_n * r * (1.0 - r)
    d_update = g * (hidden - new) * z * (1.0 - z)
    return cat((d_reset, d_update, d_new), -1), cat((d_reset, d_update, d_new * r), -1), g * z
