"""The CUDA driver, through cuda-core and cuda-bindings: the one file that talks to a GPU.

`memory` calls it by this interface alone; `simulation.Machine` has the same one without a GPU.
"""

import ctypes
import functools
import os

import numpy as np

from ...errors import DeviceError, OutOfMemoryError
from . import compile
from .launch import launcher


class Driver:
    """The driver of this process; raises DeviceError where there is none."""

    def __init__(self):
        try:
            import cuda.bindings.driver as driver
            import cuda.core as core
        except ImportError as error:
            raise DeviceError(
                f"device 'cuda' needs numba-cuda, cuda-core and nvmath-python ({error}); install numgrad[cuda13], or "
                "numgrad[cuda12] for an older driver"
            ) from None
        self.api, self.core = driver, core
        try:
            self._check(driver.cuInit(0))
        except DeviceError:
            raise
        except Exception as error:  # cuda-pathfinder's own exception where libcuda cannot be found
            raise DeviceError(f"device 'cuda' needs an NVIDIA driver: {error}") from None
        library = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        self.launch_address = ctypes.cast(library.cuLaunchKernel, ctypes.c_void_p).value
        self.devices = core.Device.get_all_devices()
        self.streams: dict = {}
        self.loaded: list = []

    def _check(self, result):
        code, *values = result
        if int(code):
            _, name = self.api.cuGetErrorName(code)
            _, text = self.api.cuGetErrorString(code)
            kind = OutOfMemoryError if int(code) == 2 else DeviceError
            raise kind(f"CUDA: {name.decode()}: {text.decode()}")
        return values[0] if len(values) == 1 else values

    # --- devices

    def count(self) -> int:
        """The number of devices."""
        return len(self.devices)

    def properties(self, index: int) -> dict:
        """Name, compute capability, memory in bytes and multiprocessors of a device."""
        device = self.devices[index]
        major, minor = device.compute_capability
        total = self._check(self.api.cuDeviceTotalMem(self._check(self.api.cuDeviceGet(index))))
        return {"name": device.name, "capability": (int(major), int(minor)), "total_memory": int(total),
                "multiprocessors": int(device.properties.multiprocessor_count)}  # fmt: skip

    def activate(self, index: int) -> None:
        """Make a device's context current on this thread."""
        self.devices[index].set_current()

    def synchronize(self, index: int) -> None:
        """Wait for all work on a device."""
        self.activate(index)
        self.devices[index].sync()

    def memory_info(self, index: int) -> tuple[int, int]:
        """Free and total bytes of a device."""
        self.activate(index)
        free, total = self._check(self.api.cuMemGetInfo())
        return int(free), int(total)

    # --- memory; addresses are integers, streams are handles

    def allocate(self, index: int, size: int, stream: int):
        """(address, what `release` takes) of ``size`` fresh bytes; OutOfMemoryError where there is no room."""
        try:
            block = self.devices[index].memory_resource.allocate(size, stream=self._stream(index, stream))
        except Exception as error:  # cuda-core's own exception type, which names the driver's code
            if "OUT_OF_MEMORY" in str(error).upper():
                raise OutOfMemoryError(str(error)) from None
            raise
        return int(block.handle), block

    def release(self, block) -> None:
        """Give a block back to the driver, in the order of its stream."""
        block.close()

    def allocate_host(self, size: int) -> int:
        """The address of ``size`` bytes of page-locked host memory, for all devices."""
        return int(self._check(self.api.cuMemHostAlloc(size, 1)))

    def release_host(self, address: int) -> None:
        """Free what `allocate_host` gave."""
        self._check(self.api.cuMemFreeHost(address))

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        """Copy a contiguous host array to the device."""
        self._check(self.api.cuMemcpyHtoDAsync(address, array.ctypes.data, array.nbytes, stream))

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        """Copy from the device into a contiguous host array, and wait for it."""
        self._check(self.api.cuMemcpyDtoHAsync(array.ctypes.data, address, array.nbytes, stream))
        self.synchronize_stream(stream)

    def move(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy ``size`` bytes on a device or between devices."""
        self._check(self.api.cuMemcpyAsync(target, source, size, stream))

    def clear(self, address: int, size: int, stream: int) -> None:
        """Set ``size`` bytes to zero."""
        self._check(self.api.cuMemsetD8Async(address, 0, size, stream))

    # --- streams and events

    def _stream(self, index, handle):
        if not handle:
            return self.devices[index].default_stream
        return self.streams[handle]

    def new_stream(self, index: int, priority: int = 0) -> int:
        """The handle of a new stream."""
        self.activate(index)
        stream = self.devices[index].create_stream(options=self.core.StreamOptions(priority=priority or None))
        handle = int(stream.handle)
        self.streams[handle] = stream
        return handle

    def adopt_stream(self, handle: int) -> None:
        """Let a stream made by another library be used; it must stay alive."""
        if handle and handle not in self.streams:
            self.streams[handle] = self.core.Stream.from_handle(handle)

    def close_stream(self, handle: int) -> None:
        """Give back a stream of `new_stream`."""
        self.streams.pop(handle).close()

    def synchronize_stream(self, stream: int) -> None:
        """Wait for all work on a stream."""
        self._check(self.api.cuStreamSynchronize(stream))

    def stream_done(self, stream: int) -> bool:
        """Whether all work on a stream is complete."""
        return int(self.api.cuStreamQuery(stream)[0]) == 0

    def new_event(self, timing: bool):
        """A new event."""
        return self._check(self.api.cuEventCreate(0 if timing else 2))

    def record_event(self, event, stream: int) -> None:
        """Mark the end of the work on a stream so far."""
        self._check(self.api.cuEventRecord(event, stream))

    def wait_event(self, event, stream: int) -> None:
        """Let later work on a stream wait for an event."""
        self._check(self.api.cuStreamWaitEvent(stream, event, 0))

    def event_done(self, event) -> bool:
        """Whether the work before an event is complete."""
        return int(self.api.cuEventQuery(event)[0]) == 0

    def synchronize_event(self, event) -> None:
        """Wait for an event."""
        self._check(self.api.cuEventSynchronize(event))

    def elapsed(self, first, second) -> float:
        """Milliseconds between two events."""
        return float(self._check(self.api.cuEventElapsedTime(first, second)))

    def close_event(self, event) -> None:
        """Give back an event."""
        self.api.cuEventDestroy(event)

    # --- kernels

    def load(self, source, index: int, capability) -> int:
        """The function handle of a kernel, compiled if the cache does not have it."""
        code = self.core.ObjectCode.from_cubin(compile.cubin(source, capability))
        kernel = code.get_kernel(source.name)
        self.loaded.append(code)  # a function lives as long as its module
        return int(self._check(self.api.cuKernelGetFunction(self.api.CUkernel(int(kernel.handle)))))

    def launcher(self, parameters: int):
        """``launch(function, blocks, threads, stream, *values) -> error code`` for a number of parameters, integers and
        floats of eight bytes."""
        return functools.partial(launcher(parameters), self.launch_address)

    def fail(self, code: int) -> None:
        """Raise the error that an error code stands for."""
        self._check((self.api.CUresult(code),))

    def products(self, index: int):
        """cuBLAS on a device."""
        from .matmul import Cublas

        return Cublas(index)
