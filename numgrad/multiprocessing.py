"""Python's ``multiprocessing`` for tensors, as ``torch.multiprocessing``: what processes send each other lies in memory that
they share.

A CPU tensor that goes to another process, as an argument or through a queue or pipe, is moved into shared memory (as
`Tensor.share_memory_` does) and only its place is sent: both processes see what either writes. A process that puts a
tensor into a queue has to live until it is taken out. All names of the standard module are here too.
"""

import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import shutil
import signal
import sys
import tempfile
import traceback
import weakref
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any

import numpy as np

from . import dtypes
from .device import CPU
from .nn.parameter import Parameter
from .storage import opened_segment, segment_of
from .tensor import Tensor, address, from_array, lay, wrap_as


def __getattr__(name):
    return getattr(multiprocessing, name)


# --- tensors on their way --------------------------------------------------------------------------------------------


def _reduced(tensor: Tensor):
    """How a tensor is pickled for another process."""
    if not tensor.is_leaf:
        raise RuntimeError(
            "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not support crossing "
            "process boundaries. If you just want to transfer the data, call detach() on the tensor before serializing."
        )
    if tensor._m.device is not CPU or sys.platform == "win32" or type(tensor) not in (Tensor, Parameter):
        return tensor.__reduce_ex__(2)
    if not tensor.is_shared():
        root = None if tensor._s is None else tensor._s.root
        if root is not None and (address(root), len(root)) != (address(tensor._d), len(tensor._d)):
            copy = tensor.detach().clone().share_memory_()  # a view goes as its elements alone
            copy = wrap_as(type(tensor), copy)
            tensor = copy.requires_grad_(tensor.requires_grad)
        tensor.share_memory_()
    segment = segment_of(tensor._d)
    assert segment is not None and segment.descriptor is not None
    offset = address(tensor._d) - address(np.frombuffer(segment, np.uint8))
    m = tensor._m
    place = offset, m.dtype.name, tuple(m.shape), m.strides
    handle = reduction.DupFd(segment.descriptor)
    starting: Any = multiprocessing.context.get_spawning_popen()
    if starting is not None:  # the process inherits the descriptor itself, which has to stay open till then
        starting.__dict__.setdefault("_segments", []).append(segment)
    return _rebuilt, (handle, len(segment), place, type(tensor) is Parameter, tensor.requires_grad)


def _rebuilt(handle, size, place, is_parameter, requires_grad):
    offset, name, shape, strides = place
    d = dtypes.BY_NAME[name]
    memory = np.frombuffer(opened_segment(handle.detach(), size), np.uint8)
    elements = memory[offset : offset + max(size - offset, 0) // d.itemsize * d.itemsize].view(d.np)
    tensor = lay("shared memory", from_array(elements), 0, shape, strides)
    return (wrap_as(Parameter, tensor) if is_parameter else tensor).requires_grad_(requires_grad)


reduction.ForkingPickler.register(Tensor, _reduced)
reduction.ForkingPickler.register(Parameter, _reduced)

_STRATEGIES = {"file_descriptor"}


def get_all_sharing_strategies() -> set[str]:
    """The ways in which memory is shared: by file descriptor."""
    return set(_STRATEGIES)


def get_sharing_strategy() -> str:
    """The way in which memory is shared."""
    return "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose a way in which memory is shared, of `get_all_sharing_strategies`; ValueError for another."""
    if new_strategy not in _STRATEGIES:
        raise ValueError(f"set_sharing_strategy: expected one of {sorted(_STRATEGIES)}, got {new_strategy!r}")


# --- processes -------------------------------------------------------------------------------------------------------


class ProcessException(Exception):
    """A process that `start_processes` started failed: its number ``error_index`` and its id ``pid``."""

    def __init__(self, msg: str, error_index: int, pid: int):
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, pid

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.pid)


class ProcessRaisedException(ProcessException):
    """An exception was raised in a process; the message has its traceback."""


class ProcessExitedException(ProcessException):
    """A process was killed, or left with another exit status than 0."""

    def __init__(self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None):
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.pid, self.exit_code, self.signal_name)


def _run(fn, number, args, report):
    try:
        fn(number, *args)
    except KeyboardInterrupt:
        pass  # the parent had it too
    except Exception:
        with open(report, "w", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        sys.exit(1)


class ProcessContext:
    """The processes that `start_processes` started."""

    def __init__(self, processes, reports, folder):
        self.processes, self._reports = processes, reports
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # the reports' folder
        self.sentinels = {process.sentinel: number for number, process in enumerate(processes)}

    def pids(self) -> list[int | None]:
        """The ids of the processes."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None) -> bool:
        """Wait for a process to end: whether all have. When one fails the others are ended and its exception is raised."""
        if not self.sentinels:
            return True
        failed = None
        for sentinel in multiprocessing.connection.wait(list(self.sentinels), timeout):
            number = self.sentinels.pop(sentinel)  # type: ignore[call-overload]
            self.processes[number].join()
            if self.processes[number].exitcode != 0:
                failed = number
                break
        if failed is None:
            return not self.sentinels
        for process in self.processes:
            if process.is_alive():
                process.terminate()
            process.join()
        self._raise(failed)
        return False

    def _raise(self, number):
        process = self.processes[number]
        with open(self._reports[number], encoding="utf-8") as file:
            report = file.read()
        if report:
            raise ProcessRaisedException(
                f"\n\n-- Process {number} terminated with the following error:\n{report}", number, process.pid
            )
        code = process.exitcode
        name = signal.Signals(-code).name if code < 0 else None
        text = f"process {number} terminated with " + (f"signal {name}" if name else f"exit code {code}")
        raise ProcessExitedException(text, number, process.pid, code, name)


SpawnContext = ProcessContext


def start_processes(
    fn: Callable[..., Any], args: tuple = (), nprocs: int = 1, join: bool = True, daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:  # fmt: skip
    """Run ``fn(i, *args)`` in ``nprocs`` processes, i their number. With ``join`` wait for them, and raise
    `ProcessRaisedException` or `ProcessExitedException` if one fails; without it return a `ProcessContext`."""
    context: Any = multiprocessing.get_context(start_method)
    folder = tempfile.mkdtemp(prefix="numgrad-processes-")
    processes, reports = [], []
    for number in range(nprocs):
        report = os.path.join(folder, str(number))
        open(report, "w").close()
        process = context.Process(target=_run, args=(fn, number, args, report), daemon=daemon)
        process.start()
        processes.append(process)
        reports.append(report)
    found = ProcessContext(processes, reports, folder)
    if not join:
        return found
    while not found.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any], args: tuple = (), nprocs: int = 1, join: bool = True, daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:  # fmt: skip
    """`start_processes` in fresh interpreters: the script must guard its own start by ``if __name__ == "__main__"``."""
    return start_processes(fn, args, nprocs, join, daemon, start_method)
