"""The CUDA kernels, interpreted at tiny sizes with every access checked, against the CPU's.

With ``--device cuda`` those tests that do not ask how kernels were launched run on the GPU instead.
"""

import types

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

import numgrad as ng
from numgrad.device import Device
from numgrad.kernels import cuda as kernels, index, scan
from numgrad.kernels.cuda import emit, interpreter, memory
from numgrad.kernels.cuda.compile import Source
from numgrad.kernels.cuda.interpreter import KernelError
from numgrad.kernels.cuda.simulation import Machine
from numgrad.op import OPS
from numgrad.testing import cases_for

TABLED = [op for op in OPS.values() if op.form in ("pointwise", "reduction", "rowwise")]
GPU = Device("cuda", 0)


@pytest.fixture
def machine():
    """A simulated GPU, which notes its launches."""
    with memory.using(Machine()) as found:
        yield found


@pytest.fixture(autouse=True)
def gpu(request):
    """The GPU of tests that do not ask for a simulated one."""
    if "machine" in request.fixturenames or request.config.getoption("--device") == "cuda":
        yield
    else:
        with memory.using(Machine()):
            yield


def host(tensor):
    return np.array(tensor.detach().cpu().numpy())


def call(kernel, *slots):
    kernels.caller(len(slots) - 2, 1, 1)(kernel, *slots)


# --- the op table: forward and backward, as the CPU ----------------------------------------------------------------


def results(case, device, together):
    """The outputs of a case on a device, and the gradients of those inputs that have one: of one pass over contiguous copies,
    or of a pass each over what they are."""
    inputs = [x.contiguous() if together else x.detach().to(device) for x in case.inputs]
    out = case.run(*inputs)
    found = [host(value) for value in (out if isinstance(out, (tuple, list)) else (out,))]
    wanted = [k for k, x in enumerate(inputs) if case.op.gradient is not None and x.is_floating_point()]
    for chosen in [wanted] if together else [[k] for k in wanted]:
        leaves = [x.clone().requires_grad_() if k in chosen else x for k, x in enumerate(inputs)]
        out = case.run(*leaves)
        out = out[0] if isinstance(out, (tuple, list)) else out
        if not out.requires_grad:
            continue
        try:
            out.backward(ng.ones_like(out))
        except RuntimeError as error:
            assert "is not implemented" in str(error)
            if together:  # of some inputs, but perhaps not of all
                return results(case, device, together=False)
            continue
        found += [host(leaves[k].grad) for k in chosen if leaves[k].grad is not None]
    return found


@pytest.mark.parametrize("op", TABLED, ids=lambda op: op.name)
def test_agrees_with_the_cpu(op):
    for case in cases_for(op, ng.float32):
        if op.form == "pointwise" and case.label not in ("vector", "broadcast", "strided", "0-d", "empty"):
            continue
        # The CPU's kernels that other tests compile too, of contiguous memory and all gradients, against the GPU's of each.
        expected, found = results(case, "cpu", together=True), results(case, "cuda", together=False)
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=5e-5, atol=1e-5, err_msg=repr(case))


def test_the_table_is_launched_on_the_device(machine):
    x = ng.linspace(-2, 2, 11).to("cuda").requires_grad_()
    (ng.exp(x) * x).sum().backward()
    expected = {"exp_vector", "mul_vector", "sum_warps", "mul_backward_vector", "exp_backward_vector"}
    assert expected <= {*machine.launches}


# --- variants of pointwise kernels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", (1, 3, 4, 5, 1023, 1024, 1025, 2051))
def test_any_number_of_elements(size):
    x = np.arange(size, dtype=np.float32)
    assert (host(ng.tensor(x).to("cuda") + 1) == x + 1).all()


@pytest.mark.parametrize("dtype", (ng.float64, ng.int64, ng.int32, ng.int16, ng.int8, ng.uint8, ng.bool))
def test_other_dtypes(dtype, machine):
    x = ng.tensor(np.arange(70) % 5).to(dtype)
    y = ng.tensor(np.arange(70) % 3).to(dtype)
    for fn in (ng.maximum, ng.eq, ng.lt, ng.mul, lambda a, b: a.float(), lambda a, b: ng.where(a > b, a, b)):
        found = fn(x.to("cuda"), y.to("cuda"))
        assert found.dtype is fn(x, y).dtype
        np.testing.assert_array_equal(host(found), host(fn(x, y)))
    assert all(name.endswith("_vector") for name in machine.launches)


def test_misaligned_views_take_the_scalar_variant(machine):
    x = ng.arange(30.0).to("cuda")
    np.testing.assert_array_equal(host(x[1:22] * x[2:23]), np.arange(1, 22) * np.arange(2, 23.0))
    assert machine.launches[-1] == "mul_scalar"


def test_strided_operands_of_three_dimensions(machine):
    a = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    b = np.random.default_rng(1).standard_normal((5, 4, 1)).astype(np.float32)
    found = ng.tensor(a).to("cuda").permute(2, 1, 0) + ng.tensor(b).to("cuda")
    np.testing.assert_allclose(host(found), a.transpose(2, 1, 0) + b, rtol=1e-6)
    assert "add_strided3_32" in machine.launches


def test_places_beyond_32_bits():
    mul = OPS["mul"]
    kernel = emit.pointwise(
        "mul", mul.fn, [("input", "s", np.float32), ("other", "s", np.float32)], [("out", np.float32)], np.float32, True
    )
    a, b, out = np.arange(6, dtype=np.float32), np.arange(2, dtype=np.float32), np.zeros(6, np.float32)
    source = kernel.variant("by_rank", 2, 64)
    interpreter.run(source, 1, [a, b, out, 3, 2, 2, 1, 0, 1, 2, 1, 6])
    np.testing.assert_array_equal(out.reshape(3, 2), a.reshape(3, 2) * b)


def test_in_place():
    x = ng.arange(10.0).to("cuda")
    x.mul_(2).add_(1)
    np.testing.assert_array_equal(host(x), np.arange(10) * 2 + 1)
    x[::2].neg_()
    np.testing.assert_array_equal(host(x)[::2], -(np.arange(10)[::2] * 2 + 1))


# --- variants of reductions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dim", "variant"),
    [
        ((40, 7), 1, "sum_threads"), ((5, 100), 1, "sum_warps"), ((3, 600), 1, "sum_blocks256_vector"),
        ((2, 4099), 1, "sum_blocks256"), ((1, 9001), 1, "sum_blocks256_vector"), ((20001,), 0, "sum_blocks512_vector"),
        ((20, 33), 0, "sum_threads"), ((70, 33), 0, "sum_columns8"), ((2, 150, 40), 1, "sum_columns8"),
        ((4, 0), 1, "sum_threads"),
    ],
)  # fmt: skip
def test_sums(shape, dim, variant, machine):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = ng.tensor(x).to("cuda").sum(dim)
    np.testing.assert_allclose(host(found), x.sum(dim), rtol=1e-5, atol=1e-4)
    assert machine.launches[-1] == variant


@pytest.mark.parametrize("name", ("sum", "prod", "amax", "amin", "any", "all"))
@pytest.mark.parametrize("dtype", (np.int32, np.int64, np.uint8, np.bool_))
def test_folds_of_integers_and_bool(name, dtype):
    x = (np.random.default_rng(0).integers(0, 3, (3, 80)) > 0).astype(dtype)
    expected, found = (getattr(ng.tensor(x).to(where), name)(1) for where in ("cpu", "cuda"))
    assert found.dtype is expected.dtype
    np.testing.assert_array_equal(host(found), host(expected))


def test_a_sum_over_many_blocks_is_reproducible(machine):
    x = ng.tensor(np.random.default_rng(0).standard_normal(40000).astype(np.float32)).to("cuda")
    first, second = x.sum().item(), x.sum().item()  # the counters are zero again for the second
    assert first == second
    assert abs(first - float(host(x).astype(np.float64).sum())) < 1e-2


def test_misaligned_reduction():
    x = np.arange(3001, dtype=np.float32)
    assert ng.tensor(x).to("cuda")[1:].sum().item() == x[1:].sum()


# --- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", (1, 5, 129, 700))
def test_rows_of_any_width(width, machine):
    x = np.random.default_rng(0).standard_normal((2, width)).astype(np.float32)
    for dim in (1, -1):
        expected, found = (ng.softmax(ng.tensor(x).to(where), dim) for where in ("cpu", "cuda"))
        np.testing.assert_allclose(host(found), host(expected), rtol=1e-5, atol=1e-7)
    assert machine.launches[-1] == f"softmax_rows_rows{kernels.launch.row_threads(width)}"


def test_partial_gradients_of_shared_inputs():
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((70, 150), (150,), (150,)))
    gradients = []
    for where in ("cpu", "cuda"):
        leaves = [ng.tensor(a).to(where).requires_grad_() for a in (x, w, b)]
        (ng.layer_norm(leaves[0], (150,), leaves[1], leaves[2]) ** 2).sum().backward()
        gradients.append([host(leaf.grad) for leaf in leaves])
    for a, b in zip(*gradients):
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-4)


# --- hand-written kernels ------------------------------------------------------------------------------------------


def test_a_template_reads_at_an_index_and_reports_bad_ones():
    x, at = np.arange(12, dtype=np.uint32).reshape(3, 4), np.array([2, 0, 2, 1])
    kernel = kernels.template(index.take, {"T": np.uint32})
    source, places = kernels.copy_to_device(x, GPU), kernels.copy_to_device(at, GPU)
    out, status = kernels.allocator(GPU)(16, np.dtype(np.uint32)), np.zeros(2, np.int64)
    geometry = np.array([2, 4, 4, 0, 1, 1, 0, 4, 1])  # rows of x named by the index
    call(kernel, source, places, out, geometry, status, 4, 3, -3, 0, 4)
    np.testing.assert_array_equal(kernels.copy_to_host(out).reshape(4, 4), x[at])
    assert not status.any()
    call(kernel, source, places, out, geometry, status, 4, 2, -2, 0, 4)
    assert status.tolist() == [1, 2]


def test_a_template_scans_along_an_axis():
    x = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
    kernel = kernels.template(scan.cumulative, {"T": np.float32, "A": np.float64, "MODE": scan.SUM})
    buffer, out = kernels.copy_to_device(x, GPU), kernels.copy_to_device(np.zeros_like(x), GPU)
    call(kernel, buffer, out, out, 7, 1, 1, 0, 3)
    np.testing.assert_allclose(kernels.copy_to_host(out).reshape(3, 7), x.cumsum(1), rtol=1e-6)


def test_only_host_arrays_that_are_written_come_back():
    assert kernels.template(index.take, {"T": np.uint32}).written == {2, 4}
    assert kernels.template(index.count_true, {"T": np.uint8}).written == {1}


# --- products ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 4), (4, 5)), ((1, 4), (4, 5)), ((3, 4), (4, 1)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)),
     ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((2, 0), (0, 3))],
)  # fmt: skip
@pytest.mark.parametrize("transposed", ((False, False), (True, False), (False, True), (True, True)))
def test_products(a, b, transposed):
    rng = np.random.default_rng(0)
    arrays, tensors = [], []
    for shape, flip in zip((a, b), transposed):
        shape = (*shape[:-2], shape[-1], shape[-2]) if flip else shape
        array = rng.standard_normal(shape).astype(np.float32)
        tensor = ng.tensor(array).to("cuda")
        arrays.append(array.swapaxes(-1, -2) if flip else array)
        tensors.append(tensor.transpose(-1, -2) if flip else tensor)
    np.testing.assert_allclose(host(tensors[0] @ tensors[1]), arrays[0] @ arrays[1], rtol=1e-5, atol=1e-6)


def test_a_product_with_bias_and_factors():
    rng = np.random.default_rng(0)
    a, b, bias, out = (rng.standard_normal(s) for s in ((3, 4), (4, 5), (5,), (3, 5)))
    buffers = [kernels.copy_to_device(array, GPU) for array in (a, b, bias, out)]
    run = kernels.product(np.dtype(np.float64), (3, 4, 5), (4, 1), (5, 1), (5, 1), True)
    run(*buffers, 2.0, 0.5)
    found = kernels.copy_to_host(buffers[3]).reshape(3, 5)
    np.testing.assert_allclose(found, 2 * (a @ b) + 0.5 * out + bias, rtol=1e-12)
    run(*buffers)
    np.testing.assert_allclose(kernels.copy_to_host(buffers[3]).reshape(3, 5), a @ b + bias, rtol=1e-12)


def test_products_of_integers():
    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(host(ng.tensor(a).to("cuda") @ ng.tensor(b).to("cuda")), a @ b)


# --- a training step -----------------------------------------------------------------------------------------------


def test_a_training_step_agrees_with_the_cpu():
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((6, 5)).astype(np.float32), rng.integers(0, 3, 6)
    losses, weights = [], []
    for where in ("cpu", "cuda"):
        ng.manual_seed(0)
        model = ng.nn.Sequential(ng.nn.Linear(5, 8), ng.nn.ReLU(), ng.nn.Linear(8, 3)).to(where)
        optimizer = ng.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            out = model(ng.tensor(x).to(where))
            loss = ng.nn.functional.cross_entropy(out, ng.tensor(target).to(where))
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
        weights.append([host(p) for p in model.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for a, b in zip(*weights):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


# --- what the interpreter stops at ---------------------------------------------------------------------------------


def program(body, parameters=("float32*",), threads=32):
    names = ", ".join(f"p{k}" for k in range(len(parameters)))
    return Source("program", f"from numpy import *\n\n\ndef program({names}):\n    {body}\n", parameters, threads)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("p0[cuda.threadIdx.x - 1] = 0", "access to elements -1"),
        ("p0[cuda.threadIdx.x + 1] = 0", "access to elements 64"),
        ("load_vector(p0, cuda.threadIdx.x, 4)", "address that is no multiple"),
        ("p0[0] = cuda.threadIdx.x", "race"),
        ("p0[cuda.threadIdx.x] = p0[0]", "race"),
        ("if cuda.threadIdx.x < 3: cuda.shfl_xor_sync(-1, 1, 1)", "only some lanes"),
        ("if cuda.threadIdx.x < 3: cuda.syncthreads()\n    else: cuda.syncthreads()", "different barriers"),
    ],
)
def test_mistakes_are_found(body, message):
    array = np.zeros(64 + 16, np.float32)
    start = -(array.__array_interface__["data"][0] // 4) % 4
    with pytest.raises(KernelError, match=message):
        interpreter.run(program(body, threads=64 if "+ 1" in body else 32), 1, [array[start : start + 64]])


def test_a_barrier_orders_accesses():
    body = "t = cuda.threadIdx.x\n    p0[t] = t\n    cuda.syncthreads()\n    p1[t] = p0[63 - t]"
    a, b = np.zeros(64, np.float32), np.zeros(64, np.float32)
    interpreter.run(program(body, ("float32*", "float32*"), 64), 1, [a, b])
    np.testing.assert_array_equal(b, np.arange(63, -1, -1))


def test_a_shuffle_exchanges_lanes():
    body = "t = cuda.threadIdx.x\n    p0[t] = cuda.shfl_xor_sync(0xFFFFFFFF, t, 5)"
    a = np.zeros(32, np.float32)
    interpreter.run(program(body), 1, [a])
    np.testing.assert_array_equal(a, np.arange(32) ^ 5)


def test_shared_memory_is_not_zero():
    body = "s = cuda.shared.array(32, 'float32')\n    p0[cuda.threadIdx.x] = s[cuda.threadIdx.x]"
    a = np.zeros(32, np.float32)
    interpreter.run(program(body), 1, [a])
    assert (a != 0).all()


def test_addresses_outside_all_blocks_are_refused(machine):
    stray = types.SimpleNamespace(ptr=12345, device=memory.device())
    kernel = emit.pointwise("neg", OPS["neg"].fn, [("input", "v", np.float32)], [("out", np.float32)], np.float32)
    with pytest.raises(KernelError, match="in no block"):
        call(kernel, stray, stray, 0, 4)
