"""Every op of the table against its reference, its numerical derivatives, and itself in other layouts."""

import numpy as np
import pytest

import numgrad as ng
from numgrad.op import OPS
from numgrad.testing import assert_close, cases_for, gradcheck, gradgradcheck

TABLED = [op for op in OPS.values() if op.form in ("pointwise", "reduction", "rowwise")]
DIFFERENTIABLE = [op for op in TABLED if op.gradient is not None]


def parametrize(ops, dtype, labels=(), but=()):
    """Over all cases of ``ops``, or those whose label is one of ``labels``, and none of ``but``."""
    cases = [
        case for op in ops for case in cases_for(op, dtype)
        if (not labels or case.label in labels) and case.label not in but
    ]  # fmt: skip
    return pytest.mark.parametrize("case", cases, ids=repr)


def as_float64(tensor):
    array = np.array(tensor.detach().numpy())
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def numpy_attributes(case):
    attributes = dict(case.attributes)
    if "dim" in attributes:
        attributes["axis"] = attributes.pop("dim")
    if "keepdim" in attributes:
        attributes["keepdims"] = attributes.pop("keepdim")
    return attributes


@parametrize([op for op in TABLED if op.reference is not None], ng.float32)
def test_agrees_with_its_reference(case):
    expected = case.op.reference(*map(as_float64, case.inputs), **numpy_attributes(case))
    result = case.run()
    assert tuple(result.shape) == np.shape(expected)
    tolerance = 2e-5 if result.dtype is ng.float32 else 1e-12
    np.testing.assert_allclose(as_float64(result), expected, rtol=tolerance, atol=tolerance)


# Broadcast operands have kernels of their own; their gradients are checked in float32, below and against PyTorch.
@parametrize(DIFFERENTIABLE, ng.float64, but=("broadcast", "column"))
def test_gradient_agrees_with_central_differences(case):
    assert gradcheck(case.run, case.leaves())


@parametrize(DIFFERENTIABLE, ng.float64, ("matrix", "all", "outer", "rows"))
def test_second_derivative_agrees_with_central_differences(case):
    assert gradgradcheck(case.run, case.leaves(), atol=1e-4)


@parametrize(DIFFERENTIABLE, ng.float32, ("matrix", "broadcast", "column", "middle", "rows"))
def test_recorded_gradient_equals_the_kernel(case):
    def gradients(create_graph):
        inputs = case.leaves()
        wanted = [x for x in inputs if x.requires_grad]
        out = case.run(*inputs)
        if not out.requires_grad:
            return []
        return ng.autograd.grad(out, wanted, ng.ones_like(out), create_graph=create_graph, allow_unused=True)

    for plain, recorded in zip(gradients(False), gradients(True), strict=True):
        if plain is None or recorded is None:
            assert plain is None and recorded is None
        else:
            assert_close(recorded.detach(), plain, rtol=1e-4, atol=1e-5, equal_nan=True)


@parametrize([op for op in TABLED if op.form == "pointwise"], ng.float32)
def test_strided_equals_contiguous(case):
    if len({tuple(x.shape) for x in case.inputs}) > 1 or not case.inputs[0].dim():
        return
    plain = case.run()
    spread = []
    for x in case.inputs:
        wide = ng.zeros(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)
        wide[..., ::2].copy_(x)
        spread.append(wide[..., ::2])
    assert_close(case.run(*spread), plain, rtol=1e-6, atol=1e-6, equal_nan=True)


@parametrize([op for op in TABLED if op.form == "pointwise" and op.allows_inplace and op.result == "promote"], ng.float32)
def test_inplace_equals_new(case):
    first = case.inputs[0].clone()
    expected = case.run()
    if expected.shape != first.shape:
        return
    result = case.op.inplace_entry(first, *case.inputs[1:], **case.attributes)
    assert result is first
    assert_close(first, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38], np.float32)
COMPARABLE = [
    op for op in TABLED
    if op.form == "pointwise" and op.reference and not op.differs and "f" not in op.refuse and len(op.inputs) <= 2
]  # fmt: skip


@pytest.mark.parametrize("op", COMPARABLE, ids=repr)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_values(op):
    """NaN stays NaN, infinities stay where the reference has them."""
    inputs = np.meshgrid(*[SPECIAL] * len(op.inputs))
    attributes = cases_for(op)[0].attributes
    with np.errstate(all="ignore"):
        expected = np.asarray(op.reference(*[x.astype(np.float64) for x in inputs], **attributes), dtype=np.float64)
        narrow = expected.astype(np.float32)
    found = op.entry(*[ng.from_numpy(np.ascontiguousarray(x)) for x in inputs], **attributes).numpy()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(narrow))
    finite = np.isfinite(narrow) & (np.abs(narrow) > 1e-30)
    np.testing.assert_allclose(found[finite], narrow[finite], rtol=1e-4)
    infinite = np.isinf(narrow)
    np.testing.assert_array_equal(found[infinite], narrow[infinite])


@parametrize(TABLED, ng.float32, ("matrix", "last"))
def test_out(case):
    expected = case.run()
    if case.op.form == "rowwise" or expected.requires_grad:
        return
    out = ng.empty(expected.shape, dtype=expected.dtype)
    assert case.op.entry(*case.inputs, **case.attributes, out=out) is out
    assert_close(out, expected, equal_nan=True)
