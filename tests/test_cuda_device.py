"""Memory, streams, random numbers and launches of CUDA devices, on an interpreted one."""

import inspect
import subprocess
import sys
from types import SimpleNamespace

import numba
import numpy as np
import pytest

pytest.importorskip("numba_cuda")

import numgrad as ng
from numgrad import cuda
from numgrad.device import Device
from numgrad.errors import DeviceError, OutOfMemoryError
from numgrad.kernels import cuda as kernels
from numgrad.kernels.cuda import launch, memory, random
from numgrad.kernels.cuda.driver import Driver
from numgrad.kernels.cuda.simulation import Machine
from numgrad.kernels.philox import philox4x32

GPU = Device("cuda", 0)


@pytest.fixture
def machine():
    with memory.using(Machine(memory=1 << 22, devices=2)) as found:
        yield found


# --- buffers -------------------------------------------------------------------------------------------------------


def test_buffers_hold_arrays(machine):
    x = np.arange(12, dtype=np.int32)
    buffer = kernels.copy_to_device(x.reshape(3, 4), GPU)
    assert (len(buffer), buffer.dtype, buffer.nbytes, buffer.shape) == (12, x.dtype, 48, (12,))
    np.testing.assert_array_equal(kernels.copy_to_host(buffer), x)
    assert buffer.item(5) == 5 and buffer[-1] == 11 and type(buffer.item()) is int


def test_slices_share_memory_and_keep_it_alive(machine):
    buffer = kernels.copy_to_device(np.arange(8.0), GPU)
    part = buffer[2:5]
    part[:] = 7
    assert kernels.copy_to_host(buffer).tolist() == [0, 1, 7, 7, 7, 5, 6, 7]
    before = cuda.memory_allocated()
    del buffer
    assert cuda.memory_allocated() == before
    assert kernels.copy_to_host(part).tolist() == [7, 7, 7]
    del part
    assert cuda.memory_allocated() == 0


def test_copies_and_other_views_of_the_bytes(machine):
    buffer = kernels.copy_to_device(np.arange(4, dtype=np.float32), GPU)
    copy = buffer.copy()
    copy.fill(1)
    assert kernels.copy_to_host(buffer).tolist() == [0, 1, 2, 3]
    assert kernels.copy_to_host(buffer.view(np.int32))[1] == np.float32(1).view(np.int32)
    with pytest.raises(ValueError, match="whole elements"):
        buffer[:1].view(np.float64)


def test_writing_needs_the_same_size(machine):
    buffer = kernels.copy_to_device(np.arange(4.0), GPU)
    with pytest.raises(ValueError, match="cannot write 2 x float64 over 3 x float64"):
        buffer[:3] = buffer[:2]
    with pytest.raises(IndexError, match="step 1"):
        buffer[::2]


def test_device_memory_is_no_ndarray(machine):
    with pytest.raises(TypeError, match=r"\.cpu\(\)"):
        np.asarray(kernels.copy_to_device(np.zeros(3), GPU))


def test_other_libraries_see_the_memory(machine):
    buffer = kernels.copy_to_device(np.zeros(3, np.float32), GPU)
    interface = buffer.__cuda_array_interface__
    assert interface["data"] == (buffer.ptr, False) and interface["typestr"] == "<f4" and interface["shape"] == (3,)
    assert buffer.__dlpack_device__() == (2, 0)


def test_a_dlpack_capsule_keeps_the_memory(machine):
    capsule = kernels.copy_to_device(np.zeros(3, np.float32), GPU).__dlpack__()
    assert cuda.memory_allocated() > 0
    del capsule
    assert cuda.memory_allocated() == 0


def test_memory_of_another_library(machine):
    owner = kernels.copy_to_device(np.arange(3.0), GPU)
    adopted = kernels.adopt(owner)
    assert adopted.ptr == owner.ptr and kernels.copy_to_host(adopted).tolist() == [0, 1, 2]


def test_types_of_cuda_tensors(machine):
    x = cuda.FloatTensor([1, 2])
    assert x.is_cuda and isinstance(x, cuda.FloatTensor) and not isinstance(x, ng.FloatTensor)
    assert cuda.LongTensor(2, 3).shape == (2, 3) and repr(cuda.LongTensor) == "<class 'torch.cuda.LongTensor'>"
    with pytest.raises(TypeError, match=r"expected torch.FloatTensor \(got torch.cuda.FloatTensor\)"):
        ng.FloatTensor(x)
    try:
        ng.set_default_tensor_type("torch.cuda.DoubleTensor")
        assert ng.zeros(1).is_cuda and ng.zeros(1).dtype is ng.float64
    finally:
        ng.set_default_tensor_type(ng.FloatTensor)
    assert not cuda.is_bf16_supported()


def test_the_accelerator_is_cuda(machine):
    x = ng.zeros(1000, device="cuda")
    assert ng.accelerator.memory_allocated() == cuda.memory_allocated() > 0
    assert ng.accelerator.max_memory_allocated() >= ng.accelerator.memory_allocated()
    assert ng.accelerator.current_stream() == cuda.current_stream() and ng.accelerator.get_memory_info()[1] == 1 << 22
    with ng.accelerator.device_index(1):
        assert cuda.current_device() == 1 and ng.zeros(1, device="cuda").get_device() == 1
    with ng.accelerator.device_index(None):
        assert ng.accelerator.current_device_idx() == 0 == x.get_device()


def test_tensors_go_to_other_libraries_with_their_shape(machine):
    x = ng.arange(6.0, device="cuda").reshape(2, 3).t()[1:]
    interface = x.__cuda_array_interface__
    assert (interface["shape"], interface["strides"], interface["data"][0]) == ((2, 2), (4, 12), x.data_ptr())
    assert x.contiguous().__cuda_array_interface__["strides"] is None
    for given in (SimpleNamespace(__dlpack__=x.__dlpack__, __dlpack_device__=x.__dlpack_device__), ng.to_dlpack(x)):
        y = ng.from_dlpack(given)
        assert (y.shape, y.stride(), y.device, y.data_ptr()) == (x.shape, x.stride(), x.device, x.data_ptr())
        y[0, 0] += 10
    assert x.cpu().tolist() == [[21, 4], [2, 5]]
    del x
    assert y.cpu().tolist() == [[21, 4], [2, 5]]
    del y, given
    assert cuda.memory_allocated() == 0
    with pytest.raises(RuntimeError, match="requires grad"):
        ng.zeros(2, device="cuda", requires_grad=True).__cuda_array_interface__  # noqa: B018


# --- the pool ------------------------------------------------------------------------------------------------------


def test_memory_is_reused(machine):
    empty = kernels.allocator(GPU)
    first = empty(1000, np.dtype(np.float32))
    address = first.ptr
    assert address % 256 == 0
    del first
    assert empty(1000, np.dtype(np.float32)).ptr == address
    assert cuda.memory_reserved() == 4096
    cuda.empty_cache()
    assert cuda.memory_reserved() == 0 and machine.used == 0


def test_peak_memory(machine):
    empty = kernels.allocator(GPU)
    kept = [empty(128, np.dtype(np.float32)) for _ in range(3)]
    kept.pop()
    assert (cuda.memory_allocated(), cuda.max_memory_allocated()) == (1024, 1536)
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == 1024


def test_blocks_belong_to_their_stream(machine):
    empty = kernels.allocator(GPU)
    first = empty(100, np.dtype(np.float32))
    address = first.ptr
    del first
    with cuda.stream(cuda.Stream()):
        assert empty(100, np.dtype(np.float32)).ptr != address
    assert empty(100, np.dtype(np.float32)).ptr == address


def test_out_of_memory_has_numbers(machine):
    kept = ng.empty(1 << 18, device="cuda")
    with pytest.raises(OutOfMemoryError, match=r"Tried to allocate 8.00 MiB.*has 4.00 MiB.*numgrad holds 1.00 MiB"):
        ng.empty(1 << 21, device="cuda")
    del kept
    assert ng.empty(1 << 19, device="cuda").numel() == 1 << 19  # what was kept for reuse is given back first


def test_mem_get_info(machine):
    kept = ng.empty(1 << 18, device="cuda")
    assert cuda.mem_get_info() == ((1 << 22) - (1 << 20), 1 << 22) and kept.numel()


# --- devices -------------------------------------------------------------------------------------------------------


def test_devices(machine):
    assert cuda.is_available() and cuda.device_count() == 2 and cuda.current_device() == 0
    assert cuda.get_device_name("cuda:1") == "interpreter"
    assert cuda.get_device_capability() == (9, 0)
    assert cuda.get_device_properties(0).total_memory == 1 << 22
    with cuda.device(1):
        assert cuda.current_device() == 1
    assert cuda.current_device() == 0
    cuda.set_device("cuda:1")
    assert cuda.current_device() == 1
    with pytest.raises(DeviceError, match="there are 2 CUDA devices"):
        ng.zeros(1, device="cuda:7")


def test_tensors_of_two_devices(machine):
    x = ng.arange(5.0).to("cuda:0")
    y = x.to("cuda:1") * 2
    assert str(y.device) == "cuda:1"
    assert y.cpu().tolist() == [0, 2, 4, 6, 8]
    assert (x + 1).to("cuda:1").cpu().tolist() == [1, 2, 3, 4, 5]


def test_pinned_memory_is_a_copy_that_the_driver_gave(machine):
    x = ng.arange(6.0).reshape(2, 3).t()
    y = x.pin_memory()
    assert y.is_pinned() and y[1:].is_pinned() and not x.is_pinned() and y.pin_memory() is y
    assert y.stride() == x.stride() and y.tolist() == x.tolist() and ng.zeros(0).pin_memory().shape == (0,)
    moved = y.cuda()
    assert moved.cpu().tolist() == x.tolist() and not moved.is_pinned()
    assert len(machine.host) == 1
    with pytest.raises(RuntimeError, match="cannot pin 'cuda:0'"):
        moved.pin_memory()
    del y
    assert not machine.host


def test_the_simulated_driver_has_the_interface_of_the_real_one():
    def interface(kind):
        functions = {name: fn for name, fn in vars(kind).items() if callable(fn) and not name.startswith("_")}
        return {name: list(inspect.signature(fn).parameters) for name, fn in functions.items()}

    simulated = interface(Machine)
    del simulated["pointer"], simulated["launch"]
    assert simulated == interface(Driver)


def test_the_chosen_device_computes(device):
    x = ng.arange(6.0, device=device).reshape(2, 3).requires_grad_()
    (x.t() @ x).exp().log().sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), [[6, 6, 6], [24, 24, 24]], rtol=1e-4)


def test_without_a_driver_there_are_no_devices():
    code = (
        "from numgrad import cuda; from numgrad.errors import DeviceError\n"
        "n = cuda.device_count(); assert cuda.is_available() == (n > 0)\n"
        "if not n:\n"
        "    try: cuda.synchronize()\n"
        "    except DeviceError as error: assert 'needs' in str(error)\n"
        "    else: raise SystemExit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- streams and events --------------------------------------------------------------------------------------------


def test_streams(machine):
    stream = cuda.Stream()
    assert cuda.current_stream() == cuda.default_stream() != stream
    with cuda.stream(stream):
        assert cuda.current_stream() == stream
        x = ng.ones(3, device="cuda") * 2
        event = stream.record_event()
    assert cuda.current_stream() == cuda.default_stream()
    cuda.current_stream().wait_event(event)
    stream.synchronize()
    assert stream.query() and event.query() and x.cpu().tolist() == [2, 2, 2]


def test_launches_go_to_the_current_stream(machine, monkeypatch):
    seen = []
    original = Machine.launch
    monkeypatch.setattr(Machine, "launch", lambda self, s, b, t, stream, *v: seen.append(stream) or original(
        self, s, b, t, stream, *v))  # fmt: skip
    x = ng.ones(3, device="cuda")
    stream = cuda.Stream()
    with cuda.stream(stream):
        y = x + 1
    y.sum()
    assert seen[-2:] == [stream.cuda_stream, 0]


def test_events_measure(machine):
    first, last = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    with pytest.raises(RuntimeError, match="recorded"):
        first.elapsed_time(last)
    first.record()
    ng.ones(3, device="cuda").add_(1)
    last.record()
    assert first.elapsed_time(last) > 0
    with pytest.raises(RuntimeError, match="enable_timing"):
        first.elapsed_time(cuda.Event())


# --- random numbers ------------------------------------------------------------------------------------------------


def drawn(kind, size, dtype, *parameters, seed=3):
    buffer = kernels.allocator(GPU)(size, np.dtype(dtype))
    stream = random.Generator(seed)
    kernels.fill(kind, buffer, *parameters, stream=stream)
    return kernels.copy_to_host(buffer), stream


def test_uniform_numbers_are_the_words_of_philox(machine):
    found, _ = drawn("uniform", 6, np.float32, seed=(5 << 32) | 7)
    words = [word for unit in range(2) for word in philox4x32(unit, 0, 0, 0, 7, 5)][:6]
    np.testing.assert_array_equal(found, [np.float32(int(word) >> 8) * np.float32(2**-24) for word in words])


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_distributions(dtype, machine):
    uniform, _ = drawn("uniform", 2001, dtype, -1.0, 3.0)
    assert uniform.min() >= -1 and uniform.max() < 3 and abs(uniform.mean() - 1) < 0.1
    normal, _ = drawn("normal", 2001, dtype, 2.0, 0.5)
    assert abs(normal.mean() - 2) < 0.05 and abs(normal.std() - 0.5) < 0.03 and len(np.unique(normal)) > 1990
    assert abs(drawn("exponential", 2001, dtype, 4.0)[0].mean() - 0.25) < 0.03
    assert abs(drawn("bernoulli", 2001, dtype, 0.3)[0].mean() - 0.3) < 0.04


def test_random_integers(machine):
    found, _ = drawn("integers", 999, np.int64, -2, 3)
    assert set(found) == {-2, -1, 0, 1, 2}
    assert drawn("bernoulli", 999, np.bool_, 0.5)[0].dtype == np.bool_


def test_streams_go_on_and_can_be_restored(machine):
    buffer = kernels.allocator(GPU)(5, np.dtype(np.float32))
    stream = random.Generator(1)
    state = stream.get_state()
    kernels.fill("normal", buffer, stream=stream)
    first = kernels.copy_to_host(buffer)
    kernels.fill("normal", buffer, stream=stream)
    assert (kernels.copy_to_host(buffer) != first).all()
    stream.set_state(state)
    kernels.fill("normal", buffer, stream=stream)
    assert (kernels.copy_to_host(buffer) == first).all()
    with pytest.raises(RuntimeError, match="expected 16 bytes"):
        stream.set_state(np.zeros(3, np.uint8))


def test_seeds(machine):
    cuda.manual_seed(5)
    assert cuda.initial_seed() == 5
    cuda.manual_seed_all(6)
    assert cuda.initial_seed() == 6
    state = cuda.get_rng_state()
    assert cuda.seed() == cuda.initial_seed()
    cuda.set_rng_state(state)
    assert cuda.initial_seed() == 6
    with pytest.raises(TypeError, match="floating-point"):
        kernels.fill("normal", kernels.allocator(GPU)(5, np.dtype(np.int64)))


# --- the launcher --------------------------------------------------------------------------------------------------

_I32, _I64 = numba.types.int32, numba.types.int64
_WORDS = numba.types.CPointer(_I64)


def test_a_launch_passes_its_parameters_by_address():
    @numba.cfunc(_I32(_WORDS, *(_I32,) * 7, _WORDS, numba.types.CPointer(_WORDS), _WORDS))
    def driver(function, gx, gy, gz, bx, by, bz, shared, stream, values, extra):
        memory = numba.carray(function, 16)  # this test's "function" is where to write
        memory[0], memory[1], memory[2], memory[3] = gx, gy, gz, bx
        memory[4], memory[5], memory[6] = by, bz, shared
        memory[7], memory[8], memory[9] = values[0][0], values[1][0], values[2][0]
        return 7

    run = launch.launcher(3)
    array = np.zeros(16, np.int64)
    code = run(driver.address, array.ctypes.data, 12, 256, 0, 1 << 40, -5, 0.5)
    assert code == 7
    assert array[:9].tolist() == [12, 1, 1, 256, 1, 1, 0, 1 << 40, -5]
    assert array[9:10].view(np.float64)[0] == 0.5


def test_a_failed_launch_raises(machine):
    x = ng.ones(3, device="cuda")
    machine.launch = lambda *arguments: 700
    memory.device().launchers.clear()
    kernel = kernels.pointwise("kept", lambda x: x, [("x", "v", np.float32)], [("out", np.float32)], np.float32)
    with pytest.raises(DeviceError, match="700"):
        kernels.caller(2, 3, 1)(kernel, x._d, x._d, 0, 3)


