"""The kernels are Python: with NUMBA_DISABLE_JIT=1 every op runs, and can be stepped through, without a compiler."""

import os
import subprocess
import sys

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn
from numgrad.kernels.jit import PYTHON_MODE
from numgrad.op import OPS
from numgrad.testing import cases_for

TABLED = [op for op in OPS.values() if op.form in ("pointwise", "reduction", "rowwise")]


def small_cases():
    for op in TABLED:
        for case in cases_for(op):
            if all(x.numel() <= 30 for x in case.inputs):
                yield case


if PYTHON_MODE:

    @pytest.mark.parametrize("case", list(small_cases()), ids=repr)
    def test_op_runs_and_agrees_with_its_reference(case):
        with np.errstate(all="ignore"):
            out = case.run()
            if case.op.reference is not None and case.op.form == "pointwise":
                arrays = [x.numpy().astype(np.float64) if x.is_floating_point() else x.numpy() for x in case.inputs]
                expected = case.op.reference(*arrays, **case.attributes)
                np.testing.assert_allclose(out.numpy().astype(np.float64), expected, rtol=2e-5, atol=2e-5)
            if case.op.gradient is None:
                return
            inputs = case.leaves()
            wanted = [x for x in inputs if x.requires_grad]
            out = case.run(*inputs)
            if out.requires_grad:
                gradients = ng.autograd.grad(out, wanted, ng.ones_like(out), allow_unused=True)
                assert all(g is None or g.shape == x.shape for g, x in zip(gradients, wanted, strict=True))

    def test_a_debugger_reaches_the_body_of_a_kernel():
        visited = set()

        def trace(frame, event, arg):
            visited.add(frame.f_code.co_name)
            return trace

        x = ng.ones(3)
        sys.settrace(trace)
        try:
            x * x
        finally:
            sys.settrace(None)
        assert "mul_kernel" in visited and "mul" in visited

else:

    def test_this_file_passes_in_python_mode():
        env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
        result = subprocess.run(command, env=env, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:]


def test_a_model_trains():
    ng.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = ng.optim.Adam(model.parameters(), lr=0.05)
    x = ng.randn(8, 2)
    y = x.sum(1, keepdim=True)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ["bfloat16", "complex32", "float8_e4m3fn", "float8_e5m2"])
def test_dtypes_that_numpy_lacks_are_converted(name):
    d = getattr(ng, name)
    x = ng.tensor([1.0, -2.0, 0.5]).to(d)
    assert x.tolist() == [1, -2, 0.5] and x[::2].clone().to(ng.complex64).real.tolist() == [1, 0.5]
