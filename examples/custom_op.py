"""Two ops of one's own: forward, gradient, second gradient, CPU and CUDA, each from one block of Python.

    python examples/custom_op.py
    python examples/custom_op.py --device cuda
    NUMBA_DISABLE_JIT=1 python -m pdb examples/custom_op.py     # step through the kernels
"""

import argparse

import numgrad as ng
from numgrad.kernels.vocab import lanes, leader, row_sum, rsqrt, tanh


@ng.pointwise
def softclip(x, *, limit=1.0):
    """``limit * tanh(x / limit)``: the identity near zero, never beyond the limit."""
    return limit * tanh(x / limit)


@softclip.backward
def _(g, out, limit):  # the names asked for are what is saved; `out` is the result
    return g * (1.0 - (out / limit) * (out / limit))


@ng.rowwise("x(r,n) -> y(r,n), scale(r,1)")
def unit_rows(x, y, scale, *, n, eps=1e-12):
    """Every row divided by its Euclidean length."""
    total = 0.0
    for j in lanes(n):  # a loop over the row on the CPU, the threads of a block on CUDA
        total += x[j] * x[j]
    s = rsqrt(row_sum(total) + eps)
    for j in lanes(n):
        y[j] = x[j] * s
    if leader():
        scale[0] = s


@unit_rows.backward
def _(g, x, scale, dx, *, n):
    s = scale[0]
    along = 0.0
    for j in lanes(n):
        along += g[j] * x[j]
    along = row_sum(along) * s * s
    for j in lanes(n):
        dx[j] = (g[j] - x[j] * along) * s


@unit_rows.backward_as_ops
def _(g, x, scale):  # the same in Tensor ops, from which second derivatives come
    s = (x * x).sum(-1, keepdim=True).rsqrt()
    return (g - x * (g * x).sum(-1, keepdim=True) * s * s) * s


def main():
    parser = argparse.ArgumentParser(description="Ops of one's own.")
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device

    ng.manual_seed(0)
    x = ng.randn(3, 4, device=device, requires_grad=True)
    y = unit_rows(softclip(2.0 * x, limit=1.5))
    y.sum().backward()
    print("result", y, "gradient", x.grad, sep="\n")

    x = ng.randn(3, 4, dtype=ng.float64, device=device, requires_grad=True)
    for name, fn in (("softclip", lambda t: softclip(t, limit=1.5)), ("unit_rows", unit_rows)):
        ng.autograd.gradcheck(fn, (x,))
        ng.autograd.gradgradcheck(fn, (x,))
        print(f"{name}: first and second derivatives agree with finite differences")


if __name__ == "__main__":
    main()
