"""What the kernels run on, for ``python -m numgrad info``: the CPU as LLVM sees it, threading layer, BLAS, CUDA."""

import ctypes
import importlib
import os
from typing import Any

import llvmlite.binding as llvm
import numba

from . import blas, thread_pool

_SIMD = ("sse2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512bf16", "neon", "sve")


def cpu() -> dict[str, Any]:
    """LLVM's name of the processor, the vector instructions that kernels may use, the cores of this process."""
    features = llvm.get_host_cpu_features()
    return {
        "name": llvm.get_host_cpu_name(),
        "features": [name for name in _SIMD if features.get(name)],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def threading_layer() -> dict[str, Any]:
    """The threading layer that parallel kernels use (None: no usable one), all that can be loaded here, and how many
    threads Numba's pool has."""
    thread_pool.prepare()
    loadable = []
    for name, module in (("tbb", "tbbpool"), ("omp", "omppool"), ("workqueue", "workqueue")):
        try:
            importlib.import_module(f"numba.np.ufunc.{module}")
        except ImportError:
            continue
        loadable.append(name)
    setting = str(numba.config.THREADING_LAYER).lower()  # type: ignore[attr-defined]
    order = numba.config.THREADING_LAYER_PRIORITY  # type: ignore[attr-defined]
    order = {"threadsafe": ["tbb", "omp"], "forksafe": ["tbb", "workqueue"], "safe": ["tbb"], "default": order}.get(
        setting, [setting]
    )
    usable = [name for name in order if name in loadable]
    size = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    return {"layer": usable[0] if usable else None, "loadable": loadable, "pool": size}


def blas_library() -> dict[str, Any]:
    """The library behind matrix products."""
    return {key: str(value) if key == "path" else value for key, value in blas.info().items()}


_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


def cuda() -> dict[str, Any]:
    """The driver's CUDA version and the devices; ``{"available": False, "reason": ...}`` without them."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError as error:
        return {"available": False, "reason": f"no NVIDIA driver ({error})"}
    status = driver.cuInit(0)
    if status:
        return {"available": False, "reason": f"the NVIDIA driver does not start (cuInit returned {status})"}
    number = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    driver.cuDeviceGetCount(ctypes.byref(number))
    devices = [_cuda_device(driver, index) for index in range(number.value)]
    return {"available": bool(devices), "driver": version, "devices": devices}


def _cuda_device(driver, index: int) -> dict[str, Any]:
    device, memory, value = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR):
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(str(value.value))
    return {"name": name.value.decode(), "capability": ".".join(capability), "bytes": memory.value}
