"""Every op of the table, forward and backward, on the inputs that its tests use and on a large one."""

import numpy as np

import numgrad as ng
from numgrad import autograd, testing
from numgrad.op import OPS

OP_NAMES = sorted(name for name, op in OPS.items() if testing.cases_for(op))
SHAPES = {"small": (64, 16), "large": (1024, 1024)}


def _case(name, size):
    """The op's first case with its inputs grown to the size."""
    op = OPS[name]
    case = testing.cases_for(op)[0]
    if size == "large":
        case.inputs = [_grown(op, tensor, k) for k, tensor in enumerate(case.inputs)]
    return case


def _grown(op, tensor, k):
    rows, width = SHAPES["large"]
    if op.form != "rowwise":
        return testing.sample(op, (rows, width), tensor.dtype, k)
    if not tensor.is_floating_point():
        return ng.from_numpy(np.random.default_rng(0).integers(0, width, rows))
    row = op.row_inputs[k]
    shape = (rows, width) if row.row and row.width != "1" else (rows,) if row.row else (width,)
    return testing.sample(op, shape, tensor.dtype, k)


class Forward:
    params = (OP_NAMES, ["small", "large"])
    param_names = ("op", "size")

    def setup(self, name, size):
        ng.set_num_threads(1)
        self.case = _case(name, size)
        self.case.run()

    def time_forward(self, name, size):
        self.case.run()


class Backward:
    params = ([name for name in OP_NAMES if OPS[name].gradient is not None], ["small", "large"])
    param_names = ("op", "size")

    def setup(self, name, size):
        ng.set_num_threads(1)
        case = _case(name, size)
        inputs = case.leaves()
        self.inputs = [tensor for tensor in inputs if tensor.requires_grad]
        out = case.run(*inputs)
        self.out = out[0] if isinstance(out, tuple) else out
        self.gradient = ng.ones_like(self.out)
        self.time_backward(name, size)

    def time_backward(self, name, size):
        autograd.grad(self.out, self.inputs, self.gradient, retain_graph=True, allow_unused=True)


class Products:
    """Matrix products, in float32."""

    params = ([16, 64, 256, 1024],)
    param_names = ("n",)

    def setup(self, n):
        ng.set_num_threads(1)
        self.a, self.b = ng.rand(n, n), ng.rand(n, n)
        self.time_matmul(n)
        self.time_matmul_transposed(n)

    def time_matmul(self, n):
        self.a @ self.b

    def time_matmul_transposed(self, n):
        self.a @ self.b.t()
