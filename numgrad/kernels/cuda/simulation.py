"""A simulated GPU: what the driver does, on host memory, with kernels by the interpreter. Its interface, and what each
function means, are those of `driver.Driver`."""

import bisect

import numpy as np

from ...errors import DeviceError, OutOfMemoryError
from .interpreter import KernelError, Pointer, run


class Machine:
    """Devices without a GPU: host memory, kernels by the interpreter, products by NumPy."""

    def __init__(self, memory: int = 1 << 30, devices: int = 1):
        self.total, self.devices = memory, devices
        self.used = 0
        self.blocks: dict = {}  # address -> bytes
        self.addresses: list = []
        self.launches: list = []
        self.handles = 16
        self.host: dict = {}  # address -> page-locked bytes

    def pointer(self, address, dtype):
        """The typed pointer of an address; KernelError outside all blocks."""
        at = bisect.bisect_right(self.addresses, address) - 1
        base = self.addresses[at] if at >= 0 else None
        if base is None or address >= base + self.blocks[base].size:
            if address == 0:
                return Pointer(np.empty(0, dtype))
            raise KernelError(f"address {address:#x} is in no block of memory")
        if address % dtype.itemsize:
            raise KernelError(f"address {address:#x} is no multiple of {dtype.itemsize}")
        block = self.blocks[base]
        usable = (block.size - (address - base) % dtype.itemsize) // dtype.itemsize * dtype.itemsize
        return Pointer(block[:usable].view(dtype), (address - base) // dtype.itemsize)

    def _bytes(self, address, size):
        base = self.addresses[bisect.bisect_right(self.addresses, address) - 1]
        block = self.blocks[base]
        if address - base + size > block.size:
            raise KernelError(f"a copy of {size} bytes at {address:#x} passes the end of its block")
        return block[address - base : address - base + size]

    def count(self):
        return self.devices

    def properties(self, index):
        return {"name": "interpreter", "capability": (9, 0), "total_memory": self.total, "multiprocessors": 1}

    def activate(self, index):
        if not 0 <= index < self.devices:
            raise DeviceError(f"no device {index}")

    def synchronize(self, index):
        pass

    def memory_info(self, index):
        return self.total - self.used, self.total

    def allocate(self, index, size, stream):
        if self.used + size > self.total:
            raise OutOfMemoryError("the machine is full")
        raw = np.full(size + 256, 0xA5, np.uint8)
        start = -raw.__array_interface__["data"][0] % 256
        block = raw[start : start + size]
        address = block.__array_interface__["data"][0]
        self.used += size
        self.blocks[address] = block
        bisect.insort(self.addresses, address)
        return address, address

    def release(self, block):
        self.used -= self.blocks.pop(block).size
        self.addresses.remove(block)

    def allocate_host(self, size):
        block = np.empty(size, np.uint8)
        address = block.__array_interface__["data"][0]
        self.host[address] = block
        return address

    def release_host(self, address):
        del self.host[address]

    def upload(self, address, array, stream):
        self._bytes(address, array.nbytes)[...] = array.reshape(-1).view(np.uint8)

    def download(self, array, address, stream):
        array.view(np.uint8)[...] = self._bytes(address, array.nbytes)

    def move(self, target, source, size, stream):
        self._bytes(target, size)[...] = self._bytes(source, size).copy()

    def clear(self, address, size, stream):
        self._bytes(address, size)[...] = 0

    def new_stream(self, index, priority=0):
        self.handles += 1
        return self.handles

    def adopt_stream(self, handle):
        pass

    def close_stream(self, handle):
        pass

    def synchronize_stream(self, stream):
        pass

    def stream_done(self, stream):
        return True

    def new_event(self, timing):
        return [0]

    def record_event(self, event, stream):
        event[0] = len(self.launches)

    def wait_event(self, event, stream):
        pass

    def event_done(self, event):
        return True

    def synchronize_event(self, event):
        pass

    def elapsed(self, first, second):
        return float(second[0] - first[0])

    def close_event(self, event):
        pass

    def load(self, source, index, capability):
        return source

    def launcher(self, parameters):
        return self.launch

    def launch(self, source, blocks, threads, stream, *values):
        self.launches.append(source.name)
        arguments = [
            self.pointer(value, np.dtype(kind[:-1])) if kind.endswith("*") else value
            for value, kind in zip(values, source.parameters, strict=True)
        ]
        run(source, blocks, arguments, self)

    def fail(self, code):
        raise DeviceError(f"launch: error {code}")

    def products(self, index):
        return _Products(self)


class _Products:
    """cuBLAS's products in NumPy: column-major operands by address."""

    def __init__(self, machine):
        self.machine = machine

    def gemm(self, kind, flip_a, flip_b, m, n, k, alpha, a, a_rows, a_batch, b, b_rows, b_batch, beta, c, c_rows,
             c_batch, count):  # fmt: skip
        """``c = alpha * op(a) @ op(b) + beta * c``, ``count`` times, with strides between the matrices."""

        def matrix(address, rows, columns, step, k):
            pointer = self.machine.pointer(address, np.dtype(kind))
            start = pointer.offset + k
            size = (columns - 1) * step + rows
            pointer.place(start - pointer.offset, size)
            flat = pointer.array[start : start + size]
            item = flat.itemsize
            return np.lib.stride_tricks.as_strided(flat, (rows, columns), (item, item * step))

        for j in range(count):
            left = matrix(a, k if flip_a else m, m if flip_a else k, a_rows, j * a_batch) if k else np.zeros((m, 0))
            right = matrix(b, n if flip_b else k, k if flip_b else n, b_rows, j * b_batch) if k else np.zeros((0, n))
            left = left.T if flip_a and k else left
            right = right.T if flip_b and k else right
            out = matrix(c, m, n, c_rows, j * c_batch)
            out[...] = alpha * (left @ right) + (0 if beta == 0 else beta * out)
