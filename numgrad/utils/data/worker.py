"""What runs in a DataLoader's worker processes, and what fetches batches with or without them."""

import builtins
import itertools
import pickle
import queue
import random
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ... import config
from ...generator import default_generator
from .dataset import Dataset, IterableDataset
from .transport import Parcel, Shared, pack, send


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker process knows of itself: its number ``id``, of ``num_workers``, its ``seed``, its copy of the
    ``dataset``."""

    id: int
    num_workers: int
    seed: int
    dataset: Dataset


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a DataLoader's worker process its `WorkerInfo`, elsewhere None."""
    return _info


# --- fetching ----------------------------------------------------------------------------------------------------


class Fetcher:
    """Makes batches: of the indices asked for, or of the next samples of a stream."""

    def __init__(self, dataset, collate_fn: Callable, batched: bool, drop_last: bool):
        self.dataset, self.collate_fn, self.batched, self.drop_last = dataset, collate_fn, batched, drop_last
        self.stream = iter(dataset) if isinstance(dataset, IterableDataset) else None
        self.ended = False

    def fetch(self, index) -> Any:
        """The batch of ``index`` (a list of indices; one index if samples are not batched).

        Of a stream only the length of ``index`` counts. Raises StopIteration at the end of a stream.
        """
        return self.collate_fn(self._indexed(index) if self.stream is None else self._next(index))

    def _indexed(self, index):
        if not self.batched:
            return self.dataset[index]
        fetch = getattr(self.dataset, "__getitems__", None)
        return fetch(index) if fetch else [self.dataset[k] for k in index]

    def _next(self, index):
        if self.ended:
            raise StopIteration
        if not self.batched:
            return next(self.stream)  # type: ignore[arg-type]
        samples = list(itertools.islice(self.stream, len(index)))  # type: ignore[arg-type]
        self.ended = len(samples) < len(index)
        if not samples or self.ended and self.drop_last:
            raise StopIteration
        return samples


# --- errors on their way -----------------------------------------------------------------------------------------


class Failure:
    """An exception raised in a worker: its type and its text with the traceback, to be raised again elsewhere."""

    def __init__(self, error: BaseException, where: str):
        text = "".join(traceback.format_exception(error)).rstrip()
        self.text = f"Caught {type(error).__name__} {where}.\nOriginal {text}"
        try:
            self.kind = pickle.dumps(type(error))
        except Exception:  # a local class, for instance: pickle raises what it likes
            self.kind = pickle.dumps(RuntimeError)

    def reraise(self):
        """Raise an exception of the same type with the original traceback as its text; RuntimeError where the type
        cannot be made from a text."""
        try:
            kind = pickle.loads(self.kind)
            error = kind(_Verbatim(self.text)) if issubclass(kind, KeyError) else kind(self.text)
        except Exception:  # its __init__ wants something else, or its module is not here
            error = builtins.RuntimeError(self.text)
        raise error from None


class _Verbatim(str):
    """A text that is its own repr: KeyError prints the repr of its argument."""

    def __repr__(self):
        return str(self)


# --- the worker --------------------------------------------------------------------------------------------------


@dataclass
class Job:
    """What all workers of a loader are given."""

    dataset: Any
    collate_fn: Callable
    batched: bool
    drop_last: bool
    init_fn: Callable[[int], Any] | None
    base_seed: int
    count: int


@dataclass
class Task:
    """One batch to make, in one pass over the data; with ``number`` None the start of that pass."""

    epoch: int
    number: int | None
    index: Any = None


@dataclass
class Result:
    """What came of a task: a batch, a `Failure`, or ``ended`` for a stream that has no more."""

    epoch: int
    number: int | None
    value: Any = None
    ended: bool = False


def work(shared: Shared, number: int, tasks: Connection, results: Connection, parent: int) -> None:
    """The body of worker process ``number``: makes the batches asked for in ``tasks`` until that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends its workers itself
    config.set_num_threads(1)
    inbox = _Inbox(tasks)
    try:
        _work(shared.value, number, inbox, results, parent)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the parent does not listen any more: it has ended, or the loader was shut down


class _Inbox:
    """The tasks as they come: a thread takes them off the connection, so that the parent never waits to hand one over.

    Iteration ends when the connection is closed, whatever is still to be done.
    """

    def __init__(self, tasks: Connection):
        self.tasks, self.queue, self.closed = tasks, queue.SimpleQueue(), False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while True:
                self.queue.put(self.tasks.recv_bytes())
        except (EOFError, OSError):
            self.closed = True
            self.queue.put(None)

    def __iter__(self):
        while (task := self.queue.get()) is not None and not self.closed:
            yield pickle.loads(task)


def _seed(base_seed: int, number: int) -> None:
    """Seed all generators of this process, to what PyTorch's workers have."""
    seed = base_seed + number
    random.seed(seed)
    default_generator.manual_seed(seed)
    words = np.random.SeedSequence([number, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]).generate_state(4)
    np.random.seed(words)


def _work(job: Job, number: int, inbox: _Inbox, results: Connection, parent: int) -> None:
    global _info
    where = f"in DataLoader worker process {number}"
    _seed(job.base_seed, number)
    _info = WorkerInfo(number, job.count, job.base_seed + number, job.dataset)
    failure = fetcher = None
    try:
        if job.init_fn is not None:
            job.init_fn(number)
    except Exception as error:
        failure = Failure(error, where)
    for task in inbox:
        result = Result(task.epoch, task.number)
        if task.number is None:
            fetcher = None
        elif failure is not None:
            result.value = failure
        else:
            try:
                if fetcher is None:
                    fetcher = Fetcher(job.dataset, job.collate_fn, job.batched, job.drop_last)
                result.value = fetcher.fetch(task.index)
            except StopIteration as error:
                if isinstance(job.dataset, IterableDataset):
                    result.ended = True
                else:
                    result.value = Failure(error, where)
            except Exception as error:
                result.value = Failure(error, where)
        try:
            parcel = Parcel(pack(result))
        except Exception as error:  # the batch cannot be pickled, or there is no room for it
            parcel = Parcel(pack(Result(task.epoch, task.number, Failure(error, where))))
        result.value = None
        send(results, parcel, parent)
        parcel.close()


def describe_end(process) -> str:
    """How a process ended, for a message."""
    code = process.exitcode
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        advice = ""
        if name == "SIGKILL":
            advice = " (the system kills processes when memory runs out: try fewer workers or smaller batches)"
        elif name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL"):
            advice = " (native code in it crashed)"
        return f"DataLoader worker (pid {process.pid}) is killed by signal: {name}{advice}."
    return f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly with exit code {code}."

