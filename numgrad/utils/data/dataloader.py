"""DataLoader: batches of a dataset, made in this process or ahead of time in workers."""

import itertools
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import connection, util
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from ...generator import Generator
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed
from .transport import Shared, open_parcel, receive
from .worker import Failure, Fetcher, Job, Result, Task, describe_end, work

T_co = TypeVar("T_co", covariant=True)

_CHECK_EVERY = 5.0  # seconds after which a silent worker is checked for being alive, and given to end by itself
_FIXED = frozenset(("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"))


class _Forever(Sampler):
    """None without end: what a stream is asked for."""

    def __iter__(self):
        return itertools.repeat(None)


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class DataLoader(Generic[T_co]):
    """Batches of ``dataset``, an iterable over which each pass is one epoch.

    - ``batch_size`` samples make a batch (None: samples come singly), the last one shorter unless ``drop_last``.
    - ``shuffle``: in an order drawn anew for each epoch. Or ``sampler``: an iterable of indices; or ``batch_sampler``:
      one of lists of indices. For a seed the order is PyTorch's. ``generator``: the stream that orders and seeds are
      drawn from, by default the default stream.
    - ``collate_fn`` makes a batch from a list of samples, by default `default_collate`.
    - ``num_workers``: so many processes make batches ahead (0: none), each ``prefetch_factor`` of them (2). They run
      ``worker_init_fn(number)`` first, are seeded as PyTorch's workers are, and live for one epoch unless
      ``persistent_workers``. ``timeout``: seconds to wait for a batch (0: no limit). ``multiprocessing_context``: a
      start method or context, by default Python's. ``in_order``: whether batches come in the order of their indices.
    - ``pin_memory`` and ``pin_memory_device`` are accepted: tensors come in ordinary memory.

    An exception in a worker is raised here with its traceback. Raises RuntimeError for workers that are killed or
    too late, ValueError for arguments that exclude each other.
    """

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[Sequence] | Iterable[Sequence] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: BaseContext | str | None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        _check(num_workers >= 0, f"num_workers option should be non-negative, got {num_workers}; use 0 for no workers")
        _check(timeout >= 0, f"timeout option should be non-negative, got {timeout}; use 0 for no limit")
        _check(
            num_workers > 0 or prefetch_factor is None,
            "prefetch_factor option could only be specified in multiprocessing. let num_workers > 0 to enable "
            "multiprocessing, otherwise set prefetch_factor to None.",
        )
        _check(prefetch_factor is None or prefetch_factor > 0, "prefetch_factor option should be positive")
        _check(not persistent_workers or num_workers > 0, "persistent_workers option needs num_workers > 0")
        if isinstance(dataset, IterableDataset):
            text = "DataLoader with IterableDataset: expected unspecified {} option, but got {}={}; a stream has its own order"
            _check(not shuffle, text.format("shuffle", "shuffle", shuffle))
            _check(sampler is None, text.format("sampler", "sampler", sampler))
            _check(batch_sampler is None, text.format("batch_sampler", "batch_sampler", batch_sampler))
        _check(
            sampler is None or not shuffle,
            "sampler option is mutually exclusive with shuffle: the sampler decides on the order",
        )
        if batch_sampler is not None:
            _check(
                batch_size == 1 and not shuffle and sampler is None and not drop_last,
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last",
            )
            batch_size, drop_last = None, False
        elif batch_size is None:
            _check(
                not drop_last,
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last",
            )
        if sampler is None:
            if isinstance(dataset, IterableDataset):
                sampler = _Forever()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn, self.worker_init_fn = collate_fn, worker_init_fn
        self.num_workers, self.timeout = num_workers, timeout
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers > 0 else prefetch_factor
        self.persistent_workers, self.in_order = persistent_workers, in_order
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.multiprocessing_context = multiprocessing_context
        self._length_told = False  # whether somebody has asked for the number of batches
        self._kept: _WorkerIterator | None = None  # the iterator whose workers live on
        self._ready = True
        self.check_worker_number_rationality()

    def __setattr__(self, name, value):
        if name in _FIXED and self.__dict__.get("_ready"):
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized; make a new one"
            )
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self):
        """The context that workers are started with, or None for Python's default."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, value):
        if value is not None:
            _check(
                self.num_workers > 0,
                "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
                f"num_workers={self.num_workers}",
            )
            if isinstance(value, str):
                known = multiprocessing.get_all_start_methods()
                _check(
                    value in known,
                    f"multiprocessing_context option should specify a valid start method in {known!r}, but got "
                    f"multiprocessing_context={value!r}",
                )
                value = multiprocessing.get_context(value)
            elif not isinstance(value, BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the start "
                    f"method, but got multiprocessing_context={value}"
                )
        self._context = value

    def check_worker_number_rationality(self) -> None:
        """Warn where there are more workers than processors to run them."""
        if hasattr(os, "sched_getaffinity"):
            available = len(os.sched_getaffinity(0))
        else:
            available = os.cpu_count() or 1
        if self.num_workers > available:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested max number of "
                f"worker in current system is {available}, which is smaller than what this DataLoader is going to "
                "create. Please be aware that excessive worker creation might get DataLoader running slow or even freeze, lower "
                "the worker number to avoid potential slowness/freeze if necessary.",
                stacklevel=3,
            )

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers == 0:
            return _LocalIterator(self)
        if not self.persistent_workers:
            return _WorkerIterator(self)
        if self._kept is None or self._kept.closed:
            self._kept = _WorkerIterator(self)
        else:
            self._kept.start_epoch()
        return self._kept

    def __len__(self) -> int:
        """The number of batches in an epoch; of a stream, what its own length makes them."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        count = len(self.dataset)  # type: ignore[arg-type]
        self._length_told = True
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __getstate__(self):
        return {**self.__dict__, "_kept": None}


class _Counted:
    """Counts what a stream gives, to say when it is more than the length that was asked for before."""

    def __init__(self, loader: DataLoader):
        self.loader, self.given = loader, 0
        self.expected = len(loader) if loader._length_told else None

    def count(self) -> None:
        self.given += 1
        if self.expected is not None and self.given > self.expected:
            workers = ""
            if self.loader.num_workers > 0:
                workers = (
                    " For multiprocessing data-loading, this could be caused by not properly configuring the "
                    "IterableDataset replica at each worker: use get_worker_info in its __iter__."
                )
            warnings.warn(
                f"Length of IterableDataset {self.loader.dataset} was reported to be {self.expected} (when accessing "
                f"len(dataloader)), but {self.given} samples have been fetched.{workers}",
                stacklevel=4,
            )


class _LocalIterator:
    """One epoch, in this process."""

    def __init__(self, loader: DataLoader):
        self._loader, self._counted = loader, _Counted(loader)
        self._indices = iter(loader._index_sampler)
        draw_seed(loader.generator)  # for workers, had there been any: the streams go on alike with and without them
        self._fetcher = Fetcher(
            loader.dataset, loader.collate_fn, loader.batch_sampler is not None, loader.drop_last
        )

    def __iter__(self):
        return self

    def __next__(self):
        batch = self._fetcher.fetch(next(self._indices))
        self._counted.count()
        return batch

    def __len__(self) -> int:
        return len(self._loader._index_sampler)


class _Worker:
    """A worker process and the connections to it."""

    def __init__(self, context, shared: Shared, number: int):
        theirs, self.tasks = context.Pipe(duplex=False)
        self.results, answers = context.Pipe(duplex=True)  # both ways, since descriptors are acknowledged on some systems
        for own in (self.tasks, self.results):
            # A child that is forked later must not hold these open: this worker would not see them closed.
            util.register_after_fork(own, type(own).close)
        arguments = shared, number, theirs, answers, os.getpid()
        self.process = context.Process(
            target=work, args=arguments, name=f"DataLoader-{number}", daemon=True
        )
        self.process.start()
        theirs.close()
        answers.close()
        self.active = True  # whether it is given tasks in this epoch

    def close(self) -> None:
        """Let the process end once it has done what it does now."""
        self.tasks.close()
        self.results.close()

    def end(self, deadline: float) -> None:
        """Wait for the process to end; from ``deadline`` on, make it."""
        self.process.join(max(0.0, deadline - time.monotonic()))
        for stop in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                stop()
                self.process.join(_CHECK_EVERY)


class _WorkerIterator:
    """One epoch, or all epochs of persistent workers.

    Batches are numbered in the order in which they are asked for, and given out in that order; each worker is asked in
    turn. ``_waiting`` holds for each number not yet given out which worker makes it, ``_arrived`` its result.
    """

    def __init__(self, loader: DataLoader):
        self._loader, self._owner, self.closed = loader, os.getpid(), False
        self._crew: list[_Worker] = []
        self._epoch = 0
        self._indices = iter(loader._index_sampler)
        job = Job(
            loader.dataset,
            loader.collate_fn,
            loader.batch_sampler is not None,
            loader.drop_last,
            loader.worker_init_fn,
            draw_seed(loader.generator),
            loader.num_workers,
        )
        shared = Shared(job)
        context = loader.multiprocessing_context or multiprocessing.get_context()
        try:
            for number in range(loader.num_workers):
                self._crew.append(_Worker(context, shared, number))
        except BaseException:
            self.close()
            raise
        finally:
            shared.close()
        self._begin()

    @property
    def _workers(self) -> list:
        """The worker processes."""
        return [worker.process for worker in self._crew]

    def start_epoch(self) -> None:
        """Begin another pass with the same workers; what they still make for the last one is dropped."""
        self._epoch += 1
        self._indices = iter(self._loader._index_sampler)
        for worker in self._crew:
            self._ask(worker, Task(self._epoch, None))
            worker.active = True
        self._begin()

    def _begin(self) -> None:
        self._counted = _Counted(self._loader)
        self._asked = self._given = 0
        self._waiting: dict[int, int] = {}
        self._arrived: dict[int, Result] = {}
        self._turns = itertools.cycle(range(len(self._crew)))
        for _ in range((self._loader.prefetch_factor or 2) * len(self._crew)):
            self._ask_next()

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self):
        if self.closed:
            raise StopIteration
        try:
            result = self._next_result()
        except (KeyboardInterrupt, SystemExit):
            self.close()  # a message may be half read
            raise
        if result is None:
            if not self._loader.persistent_workers:
                self.close()
            raise StopIteration
        self._ask_next()
        if isinstance(result.value, Failure):
            result.value.reraise()
        self._counted.count()
        return result.value

    # --- asking ------------------------------------------------------------------------------------------------------

    def _ask_next(self) -> None:
        """Ask the next worker in turn for the next batch, if there are both."""
        for _ in self._crew:
            number = next(self._turns)
            if self._crew[number].active:
                break
        else:
            return
        try:
            index = next(self._indices)
        except StopIteration:
            return
        self._waiting[self._asked] = number
        self._ask(self._crew[number], Task(self._epoch, self._asked, index))
        self._asked += 1

    def _ask(self, worker: _Worker, task: Task) -> None:
        try:
            worker.tasks.send(task)
        except (BrokenPipeError, ConnectionResetError):
            self._fail(worker)

    # --- receiving ---------------------------------------------------------------------------------------------------

    def _next_result(self) -> Result | None:
        """The result that is to be given out next; None if all were."""
        limit = self._loader.timeout
        deadline = time.monotonic() + limit if limit > 0 else None
        while True:
            if self._loader.in_order:
                number = self._first_number()
                if number is None:
                    return None
                found = self._arrived.pop(number, None)
                if found is not None:
                    del self._waiting[number]
                    self._given = number + 1
                    return found
            elif not self._waiting:
                return None
            result = self._receive(deadline)
            if result.epoch != self._epoch or result.number not in self._waiting:
                continue
            if result.ended:
                self._crew[self._waiting[result.number]].active = False
                del self._waiting[result.number]
                self._ask_next()
            elif self._loader.in_order:
                self._arrived[result.number] = result
            else:
                del self._waiting[result.number]
                return result

    def _first_number(self) -> int | None:
        """The lowest number that is still to come: one whose worker has not ended, or that has arrived."""
        while self._given < self._asked:
            number = self._given
            worker = self._waiting.get(number)
            if worker is not None and (number in self._arrived or self._crew[worker].active):
                return number
            self._waiting.pop(number, None)
            self._given += 1
        return None

    def _receive(self, deadline: float | None) -> Result:
        """The next result of any worker."""
        while True:
            wait = _CHECK_EVERY
            if deadline is not None:
                wait = min(wait, max(0.0, deadline - time.monotonic()))
            ready = connection.wait([worker.results for worker in self._crew], wait)
            for worker in self._crew:
                if worker.results in ready:
                    try:
                        return open_parcel(*receive(worker.results))
                    except (EOFError, ConnectionResetError):
                        self._fail(worker)
            for worker in self._crew:
                if not worker.process.is_alive() and not worker.results.poll():
                    self._fail(worker)
            if deadline is not None and time.monotonic() >= deadline:
                self.close()
                raise RuntimeError(
                    f"DataLoader timed out after {self._loader.timeout} seconds; pass a longer timeout=, or see what "
                    "the dataset waits for"
                )

    def _fail(self, worker: _Worker):
        """Raise the error of a worker that is gone."""
        worker.process.join(_CHECK_EVERY)
        message = describe_end(worker.process)
        self.close()
        raise RuntimeError(message)

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the workers."""
        if self.closed or os.getpid() != self._owner:
            return
        self.closed = True
        for worker in self._crew:
            worker.close()
        deadline = time.monotonic() + _CHECK_EVERY
        for worker in self._crew:
            worker.end(deadline)

    def __del__(self):
        self.close()
