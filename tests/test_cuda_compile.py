"""Every kernel of the op table compiles for GPUs, on a machine without one: to PTX and to machine code."""

import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

import numgrad as ng
from numgrad import config
from numgrad.kernels import ctc, grid, group_norm, index, rearrange, resample, scan, sort
from numgrad.kernels.cuda import compile, emit, handwritten, loops, memory, simulation
from numgrad.kernels.jit import Template
from numgrad.op import OPS
from numgrad.testing import cases_for

H100, T4 = (9, 0), (7, 5)
TABLED = [op for op in OPS.values() if op.form in ("pointwise", "reduction", "rowwise")]
LABELS = ("vector", "broadcast", "last", "outer", "rows")


class Recorder(simulation.Machine):
    """A device that notes kernels instead of running them."""

    def __init__(self):
        super().__init__()
        self.sources = {}

    def launch(self, source, blocks, threads, stream, *values):
        self.sources[source.name] = source
        return 0


def kernels_of(op, labels=LABELS):
    """The kernels that an op launches forward and backward for the cases of these ``labels``, in float32."""
    with memory.using(Recorder()) as machine:
        for case in cases_for(op, ng.float32):
            if case.label not in labels:
                continue
            inputs = [x.detach().clone().to("cuda") for x in case.inputs]
            machine.sources.pop("copy_vector", None)
            out = case.run(*inputs)
            if op.gradient is not None:
                for k, x in enumerate(inputs):
                    if x.is_floating_point():
                        _backward(case, inputs, k)
            assert out is not None
    return [source for source in machine.sources.values() if source.name.startswith(op.name)]


def _backward(case, inputs, k):
    """Run the gradient of input ``k`` alone; an op may lack that of some inputs."""
    inputs = [x.detach().requires_grad_() if j == k else x.detach() for j, x in enumerate(inputs)]
    out = case.run(*inputs)
    out = out[0] if isinstance(out, (tuple, list)) else out
    if not out.requires_grad:
        return
    try:
        out.backward(ng.ones_like(out))
    except RuntimeError as error:
        assert "is not implemented" in str(error)


# A kernel of strided operands calls the same body as that of contiguous ones: every sixth stands for them.
STRIDED = [op for op in TABLED if op.form == "pointwise"][::6]


@pytest.mark.parametrize("op", TABLED, ids=lambda op: op.name)
def test_compiles_without_a_gpu(op):
    strided = op in STRIDED or op.form != "pointwise"
    found = kernels_of(op, LABELS if strided else ("vector",))
    assert found
    for source in found:
        assert compile.cubin(source, H100).startswith(b"\x7fELF")


@pytest.mark.parametrize("op", [op for op in TABLED if op.form == "pointwise"][::8], ids=lambda op: op.name)
def test_compiles_for_older_gpus(op):
    for source in kernels_of(op, ("vector",)):
        assert compile.cubin(source, T4).startswith(b"\x7fELF")


@pytest.mark.parametrize("form", ("reduction", "rowwise"))
def test_folds_compile_for_older_gpus(form):
    for op in [op for op in TABLED if op.form == form][::3]:
        for source in kernels_of(op):
            assert compile.cubin(source, T4).startswith(b"\x7fELF")


def pointwise_kernel(name, T=np.float32, letter="v"):
    op = OPS[name]
    inputs = [(arg, letter, T) for arg in op.inputs]
    return emit.pointwise(name, op.fn, inputs, [("out", T)], T, letter == "s", constants=dict(op.attributes))


@pytest.mark.parametrize("name", ("add", "mul", "exp", "gelu", "relu", "sigmoid", "div", "where"))
def test_contiguous_float32_moves_sixteen_bytes_at_once(name):
    text = compile.ptx(pointwise_kernel(name).variant("vector"), H100)
    loads = len(re.findall(r"ld\.global\.v4\.\w+", text))
    assert loads == len(OPS[name].inputs)
    assert len(re.findall(r"st\.global\.v4\.\w+", text)) == 1
    assert ".local" not in text and "call" not in text


def test_float64_moves_sixteen_bytes_at_once():
    text = compile.ptx(pointwise_kernel("mul", np.float64).variant("vector"), H100)
    assert ".entry mul_vector(" in text and ".target sm_90" in text
    assert "ld.global.v2.f64" in text and "st.global.v2.f64" in text


@pytest.mark.parametrize("name", ("add", "exp", "gelu", "tanh", "erf", "log", "pow", "sin"))
def test_no_registers_are_spilled(name):
    for variant in (("vector",), ("scalar",)):
        used = compile.resources(compile.ptx(pointwise_kernel(name).variant(*variant), H100), H100)
        assert used["spilled"] == 0 and used["registers"] <= 64


@pytest.mark.parametrize("name", ("gelu", "sigmoid", "silu", "mish", "softplus", "elu"))
def test_float32_bodies_compute_in_float32(name):
    found = [source for source in kernels_of(OPS[name]) if source.name == f"{name}_vector"]
    text = compile.ptx(found[0], H100)
    arithmetic = re.findall(r"\b(?:add|sub|mul|fma|div)\.\w*\.?f64", text)
    assert not arithmetic


def reduction_kernel(T, along):
    op = OPS["sum"]
    return emit.reduction("sum", op.fn, op.finish, op.combine, 0, ("input", T), ("out", T), T, along)


@pytest.mark.parametrize("T", (np.float32, np.float64, np.int64), ids=lambda T: T.__name__)
@pytest.mark.parametrize("capability", (H100, T4), ids=("sm_90", "sm_75"))
def test_all_variants_of_a_reduction_compile(T, capability):
    last, outer = reduction_kernel(T, "last"), reduction_kernel(T, "outer")
    variants = [
        last.variant("threads"), last.variant("warps"), last.variant("blocks", 256, False),
        last.variant("blocks", 512, True), outer.variant("threads"), outer.variant("columns", 8),
    ]  # fmt: skip
    for source in variants:
        text = compile.ptx(source, capability)
        used = compile.resources(text, capability)
        assert used["spilled"] == 0
        if "warps" in source.name or "blocks" in source.name:
            assert "shfl.sync.bfly" in text
        if "_vector" in source.name:
            assert re.search(r"ld\.global\.v[24]", text)


@pytest.mark.parametrize("threads", (32, 128, 1024))
def test_row_kernels_fit_their_blocks(threads):
    arguments = [("x", "row", np.float32, "n"), ("y", "row", np.float32, "n")]
    kernel = emit.rowwise("softmax", OPS["softmax_rows"].fn, np.float32, arguments, ["n"])
    text = compile.ptx(kernel.variant(threads), H100)
    used = compile.resources(text, H100)
    assert used["spilled"] == 0 and used["registers"] * threads <= 65536
    assert ("bar.sync" in text) == (threads > 32)


# --- hand-written kernels: the CPU's templates -------------------------------------------------------------------

PARAMETERS = {"T": np.float32, "A": np.float64, "W": np.float32, "MODE": 0, "KIND": 0, "DESCENDING": 0, "RIGHT": 0,
              "BIAS": False, "WEIGHT": True}  # fmt: skip
TEMPLATES = [
    (module.__name__.rsplit(".", 1)[1], template)
    for module in (ctc, grid, group_norm, index, rearrange, resample, scan, sort, loops)
    for template in vars(module).values()
    if isinstance(template, Template)
]


@pytest.mark.parametrize("template", [t for _, t in TEMPLATES], ids=[f"{m}.{t.__name__}" for m, t in TEMPLATES])
def test_kernel_templates_compile_unchanged(template):
    names = template.fn.__code__.co_varnames[3 : 3 + template.fn.__code__.co_kwonlyargcount]
    parameters = {name: PARAMETERS[name] for name in names}
    if template is index.take:
        parameters["T"] = np.uint32
    kernel = handwritten.template(template, parameters)
    slots = 1 + max(int(k) for k in re.findall(r"(?:pointer|integer|real)\(operands, (\d+)", kernel.source_text))
    assert compile.cubin(kernel.variant(slots), H100).startswith(b"\x7fELF")


# --- the cache -------------------------------------------------------------------------------------------------------


def test_a_cubin_is_made_once(monkeypatch, tmp_path):
    monkeypatch.setattr(config, "_cache_folder", tmp_path)
    source = pointwise_kernel("add").variant("scalar")
    made = []
    original = compile.ptx
    monkeypatch.setattr(compile, "ptx", lambda *arguments: made.append(arguments) or original(*arguments))
    code = compile.cubin(source, H100)
    assert compile.cubin(source, H100) == code and len(made) == 1
    assert compile.cubin(source, T4) != code and len(made) == 2
    (path,) = tmp_path.glob("*.sm_90.cubin")
    path.write_bytes(code[:100])
    path.write_bytes(b"torn")
    assert compile.cubin(source, H100).startswith(b"\x7fELF") and len(made) == 3
    assert not list(tmp_path.glob("*.tmp"))


FACTOR = 2.0


def scaled(x):
    return x * FACTOR


def test_the_hash_follows_constants_of_the_body(monkeypatch):
    def kernel(factor):
        monkeypatch.setitem(scaled.__globals__, "FACTOR", factor)
        return emit.pointwise("scaled", scaled, [("x", "v", np.float32)], [("out", np.float32)], np.float32)

    assert kernel(2.0).variant("scalar").digest != kernel(3.0).variant("scalar").digest


def test_importing_the_package_starts_no_driver_and_no_compiler():
    code = (
        "import sys, numgrad.cuda; assert 'cuda.core' not in sys.modules and 'numba.cuda.compiler' not in sys.modules;"
        "from numgrad.kernels.cuda import memory; assert not memory.is_started()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
