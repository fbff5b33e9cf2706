"""DataLoader with worker processes: order, seeds, errors, ends, and what travels between processes."""

import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn as nn
from numgrad.utils import data
from numgrad.utils.data.transport import Parcel, open_parcel, pack, unpack

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these tests start their workers by fork")


def loader(dataset, **options):
    with warnings.catch_warnings():  # fewer processors than workers
        warnings.simplefilter("ignore")
        return data.DataLoader(dataset, **{"num_workers": 2, "multiprocessing_context": "fork", **options})


class Made(data.Dataset):
    """Samples made by a function."""

    def __init__(self, make, n=8):
        self.make, self.n = make, n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.make(index)


class Stream(data.IterableDataset):
    """0, 1, ..., each worker its share; the first worker has fewer."""

    def __iter__(self):
        info = data.get_worker_info()
        return iter(range(100 * info.id, 100 * info.id + 2 + 3 * info.id))


# --- what comes back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"prefetch_factor": 5}, {"persistent_workers": True}, {"num_workers": 3}])
def test_order(options):
    def slow_at_times(index):
        time.sleep(0.02 * (index % 3 == 0))
        return index

    found = loader(Made(slow_at_times, 20), batch_size=3, **options)
    for _ in range(2):
        assert [b.tolist() for b in found] == [list(range(k, min(k + 3, 20))) for k in range(0, 20, 3)]


def test_batches_as_they_come():
    def slow_first(index):
        time.sleep(0.5 * (index == 0))
        return index

    found = [b.item() for b in loader(Made(slow_first, 6), in_order=False)]
    assert sorted(found) == list(range(6)) and found[0] != 0


@pytest.mark.parametrize("size", [3, 300_000])
def test_tensors_and_arrays_of_any_layout(size):
    def make(index):
        x = ng.arange(size).float() + index
        return {"x": x, "same": x, "part": x[1:], "steps": x[::2], "n": np.full(size, index), "e": ng.zeros(0), "s": "text"}

    for index, batch in enumerate(loader(Made(make, 3), batch_size=None)):
        assert np.array_equal(batch["x"].numpy(), np.arange(size, dtype=np.float32) + index)
        assert batch["same"] is batch["x"] and batch["part"].tolist()[0] == 1 + index and batch["e"].shape == (0,)
        batch["x"][2] = -5  # written to, and still one memory
        assert batch["part"][1].item() == batch["steps"][1].item() == -5
        assert isinstance(batch["n"], ng.Tensor) and batch["n"].sum().item() == index * size and batch["s"] == "text"


def test_batches_outlive_the_loader():
    kept = list(loader(Made(lambda k: ng.full((10_000,), k)), batch_size=2))
    gc.collect()
    assert [int(b.sum()) for b in kept] == [10_000, 50_000, 90_000, 130_000]


def test_streams_end_one_after_the_other():
    torch = pytest.importorskip("torch")

    class Theirs(torch.utils.data.IterableDataset):
        def __iter__(self):
            number = torch.utils.data.get_worker_info().id
            return iter(range(100 * number, 100 * number + 2 + 3 * number))

    options = {"batch_size": 2, "num_workers": 2, "multiprocessing_context": "fork"}
    expected = [b.tolist() for b in torch.utils.data.DataLoader(Theirs(), **options)]
    assert [b.tolist() for b in loader(Stream(), batch_size=2)] == expected
    kept = loader(Stream(), batch_size=2, persistent_workers=True)
    for _ in range(2):
        assert [b.tolist() for b in kept] == expected


def test_an_epoch_left_in_the_middle():
    kept = loader(Made(lambda k: k, 40), persistent_workers=True)
    for _ in range(3):
        assert [next(iter(kept)).item()] == [0]
    assert [b.item() for b in kept] == list(range(40))


def test_lengths_beyond_a_pipe():
    """Tasks and results that fill the pipes must not wait for each other."""
    found = list(loader(Made(lambda k: "x" * 20, 200_000), batch_size=50_000, collate_fn=list))
    assert [len(b) for b in found] == [50_000] * 4


# --- seeds, information ------------------------------------------------------------------------------------------


def test_seeds_and_orders_are_pytorchs():
    torch = pytest.importorskip("torch")
    drawn = []
    for library, module, read in ((ng, data, loader), (torch, torch.utils.data, torch.utils.data.DataLoader)):

        class Random(module.Dataset):
            library = None

            def __len__(self):
                return 6

            def __getitem__(self, index):
                numbers = [self.library.rand(1).item(), random.random(), float(np.random.rand())]
                return index, self.library.initial_seed(), *numbers

        Random.library = library
        library.manual_seed(4)
        options = {"num_workers": 2, "multiprocessing_context": "fork", "shuffle": True, "batch_size": 2}
        options["collate_fn"] = list
        epochs = [list(read(Random(), **options)), list(read(Random(), generator=library.Generator().manual_seed(1), **options))]
        drawn.append((epochs, library.rand(2).tolist()))
    assert drawn[0] == drawn[1]


def test_worker_info_and_init():
    def init(number):
        data.get_worker_info().dataset.offset = 100 * number

    class Offset(data.Dataset):
        offset = -1

        def __len__(self):
            return 4

        def __getitem__(self, index):
            info = data.get_worker_info()
            return index + self.offset, info.id, info.num_workers, info.seed == ng.initial_seed(), ng.get_num_threads()

    found = list(loader(Offset(), batch_size=None, worker_init_fn=init))
    assert found == [[k + 100 * (k % 2), k % 2, 2, True, 1] for k in range(4)]
    with pytest.raises(AttributeError):
        data.WorkerInfo(0, 1, 2, None).id = 3


# --- errors ------------------------------------------------------------------------------------------------------


class Special(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} {b}")


def _raise(error):
    raise error


@pytest.mark.parametrize(
    "make, kind, message",
    [
        (lambda k: 1 // 0, ZeroDivisionError, "Caught ZeroDivisionError in DataLoader worker process 0.\nOriginal Traceback"),
        (lambda k: {}["missing"], KeyError, "Caught KeyError in DataLoader worker process 0.\nOriginal Traceback"),
        (lambda k: _raise(Special(1, 2)), RuntimeError, "Caught Special in DataLoader worker process 0"),
        (lambda k: _raise(type("Local", (ValueError,), {})("x")), RuntimeError, "Caught Local in DataLoader"),
        (lambda k: ng.ones(1, requires_grad=True) * 2, RuntimeError, "Caught RuntimeError.*cannot be pickled"),
        (lambda k: lambda: 1, Exception, "Caught .* in DataLoader worker process 0"),
    ],
)
def test_an_exception_arrives_with_its_traceback(make, kind, message):
    with pytest.raises(kind, match="(?s)" + message) as caught:
        list(loader(Made(make), batch_size=None))
    assert len(str(caught.value).splitlines()) > 3  # a KeyError would print a repr


def test_the_next_batch_after_an_exception():
    found = iter(loader(Made(lambda k: 1 // (k - 2), 4)))
    assert [next(found).item(), next(found).item()] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert next(found).item() == 1


def test_an_exception_in_init():
    with pytest.raises(ValueError, match="(?s)Caught ValueError in DataLoader worker process 0.*no luck"):
        list(loader(Made(lambda k: k), worker_init_fn=lambda number: _raise(ValueError("no luck"))))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda k: os.kill(os.getpid(), signal.SIGKILL), r"DataLoader worker \(pid \d+\) is killed by signal: SIGKILL"),
        (lambda k: os._exit(3), r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly with exit code 3"),
    ],
)
@pytest.mark.parametrize("at", [0, 5])
def test_a_worker_that_is_gone(make, message, at):
    with pytest.raises(RuntimeError, match=message):
        list(loader(Made(lambda k: make(k) if k == at else k)))


def test_timeout():
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.2 seconds"):
        list(loader(Made(lambda k: time.sleep(1)), timeout=0.2))
    assert time.monotonic() - start < 10


# --- ends --------------------------------------------------------------------------------------------------------




def script(tmp_path, source, **options):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(source))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **options}
    return subprocess.Popen(
        [sys.executable, path], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


_ENDLESS = """
    import os, signal, sys, time
    from numgrad.utils import data

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started without

    class Slow(data.Dataset):
        def __len__(self):
            return 1000
        def __getitem__(self, index):
            time.sleep(0.05)
            return index, os.getpid()

    for index, pid in data.DataLoader(Slow(), num_workers=2, multiprocessing_context="fork"):
        print(pid.item(), flush=True)
"""


def gone(pid):
    """Whether the process has ended; given a while to do so."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as status:
                if status.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="states of processes are read from Linux's /proc")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(stop, tmp_path):
    process = script(tmp_path, _ENDLESS)
    workers = {int(process.stdout.readline()), int(process.stdout.readline())}
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # as Ctrl-C does: the workers get it too
    else:
        process.send_signal(stop)
    _, errors = process.communicate(timeout=30)
    assert len(workers) == 2 and all(gone(pid) for pid in workers)
    if stop == signal.SIGINT:
        assert errors.count("Traceback") == 1 and errors.strip().endswith("KeyboardInterrupt")


def test_workers_end_with_the_iterator():
    before = set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()
    for _ in range(3):
        iterator = iter(loader(Made(lambda k: ng.zeros(10_000))))
        next(iterator)
        processes = iterator._workers
        del iterator
        gc.collect()
        assert not any(process.is_alive() for process in processes)
    del processes
    gc.collect()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= len(before) + 2


# --- start methods and threads -----------------------------------------------------------------------------------

_STARTED = """
    import numgrad as ng
    from numgrad.utils import data

    class Products(data.Dataset):
        def __init__(self):
            self.x = ng.arange(40_000).reshape(200, 200).float()
        def __len__(self):
            return 4
        def __getitem__(self, index):
            return (self.x @ self.x).tanh().sum() + ng.ones(300_000).exp().sum() * index

    if __name__ == "__main__":
        ng.set_num_threads(2)
        dataset = Products()
        expected = [dataset[k].item() for k in range(4)]  # in threads, before the workers are started
        for method in METHODS:
            found = data.DataLoader(dataset, num_workers=2, multiprocessing_context=method)
            assert [b.item() for b in found] == expected, method
        assert [dataset[k].item() for k in range(4)] == expected
        print("well")
"""


@pytest.mark.parametrize("layer, methods", [("omp", ["fork"]), ("workqueue", ["fork"]), ("omp", ["spawn"])])
def test_kernels_in_workers(layer, methods, tmp_path):
    source = _STARTED.replace("METHODS", repr(methods))
    process = script(tmp_path, source, NUMBA_THREADING_LAYER=layer, NUMGRAD_NUM_THREADS="2")
    printed, errors = process.communicate(timeout=120)
    assert printed.strip() == "well", errors


# --- what travels ------------------------------------------------------------------------------------------------


def test_only_the_part_that_is_used_travels():
    big = ng.arange(1_000_000).float()
    packed = pack([big[10:20], big[30:40], ng.arange(1_000_000).reshape(1000, 1000)[:, 3]])
    assert sum(block.size for block in packed.blocks) < 20_000 and len(packed.blocks) == 2
    a, b, column = unpack(packed)
    assert a.tolist() == list(range(10, 20)) and b.tolist() == list(range(30, 40)) and column[2].item() == 2003
    assert column.stride() == (1,)


def test_what_a_tensor_is_travels_too():
    import numgrad.multiprocessing  # noqa: F401  (it has a way of its own to send tensors)

    weight = nn.Parameter(ng.ones(2, 3))
    marked = ng.zeros(2)
    marked.note = "kept"
    found = unpack(pack({"p": weight, "q": weight, "x": ng.ones(2, requires_grad=True), "t": weight.detach().t(), "m": marked}))
    assert type(found["p"]) is nn.Parameter and found["p"] is found["q"] and found["p"].requires_grad
    assert type(found["x"]) is ng.Tensor and found["x"].requires_grad and found["m"].note == "kept"
    found["t"][2, 1] = 7
    assert found["p"][1, 2].item() == 7 and found["t"].stride() == (1, 3)
    with pytest.raises(Exception, match="memory that is sent apart"):
        import pickle

        pickle.loads(pack(ng.ones(3)).stream)


@pytest.mark.parametrize("size", [10, 100_000])
def test_parcels(size):
    parcel = Parcel(pack((ng.arange(size), np.arange(size))))
    assert (parcel.descriptor is not None) == (size > 10)
    tensor, array = open_parcel(parcel.head, parcel.descriptor)
    tensor += 1
    array += 2
    assert tensor.sum().item() == size * (size + 1) // 2 and array[-1] == size + 1
