"""Forks, threads and signals: results do not depend on them, and nothing hangs or dies."""

import os
import subprocess
import sys
import textwrap
import threading
import traceback

import numpy as np
import process_matrix
import pytest

import numgrad as ng
from numgrad import config, cpus, forks, nn, testing
from numgrad.kernels import callers, conv, cpu, gemm, lapack, thread_pool
from numgrad.nn import functional as F
from numgrad.op import OPS
from numgrad.ops import fourier

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def program(source, timeout=300, **variables):
    """What a program prints, in a process of its own with the given environment variables."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **{k: str(v) for k, v in variables.items()}}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)], env=environment, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout


@pytest.fixture
def over_threads(monkeypatch):
    """Two threads, and work of any size is split over them."""
    for module, name in (
        (cpu, "_PARALLEL_FROM"), (gemm, "PARALLEL"), (conv, "PARALLEL"), (fourier, "_PARALLEL_FROM"), (lapack, "_LARGE"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 0)
    monkeypatch.setattr(cpu, "_GRAIN", 1)
    before = ng.get_num_threads()
    ng.set_num_threads(2)
    gemm._plans.clear()
    yield
    gemm._plans.clear()
    ng.set_num_threads(before)


# --- every op in a forked child ----------------------------------------------------------------------------------


def _own_calls():
    """The ops with kernels of their own, and modules and optimizers that are made of several, by name."""
    ng.manual_seed(1)
    x, y, image = ng.rand(6, 8) + 0.1, ng.rand(8, 5), ng.rand(2, 3, 8, 8)
    square = ng.rand(2, 5, 5) + 5 * ng.eye(5)
    at, source = ng.randint(0, 6, (4, 8)), ng.rand(4, 8)
    lstm, gru, attention = nn.LSTM(8, 7), nn.GRU(8, 7), nn.MultiheadAttention(8, 2)
    calls = {
        "matmul": lambda: x @ y, "bmm": lambda: square @ square, "mv": lambda: x @ y[:, 0], "addmm": lambda: ng.addmm(y[:6, :5].new_ones(6, 5), x, y),
        "big matmul": lambda: ng.ones(300, 300) @ ng.ones(300, 300), "einsum": lambda: ng.einsum("ab,cb->ac", x, x),
        "linear": lambda: F.linear(x, y.t().contiguous()), "conv1d": lambda: F.conv1d(image[0], ng.ones(4, 8, 3)),
        "conv2d": lambda: F.conv2d(image, ng.ones(4, 3, 3, 3)), "depthwise": lambda: F.conv2d(image, ng.ones(3, 1, 3, 3), groups=3),
        "conv_transpose2d": lambda: F.conv_transpose2d(image, ng.ones(3, 4, 3, 3), stride=2),
        "max_pool2d": lambda: F.max_pool2d(image, 2), "avg_pool2d": lambda: F.avg_pool2d(image, 3, 2, 1),
        "adaptive_avg_pool2d": lambda: F.adaptive_avg_pool2d(image, 3), "interpolate": lambda: F.interpolate(image, scale_factor=2, mode="bilinear"),
        "grid_sample": lambda: F.grid_sample(image, ng.zeros(2, 4, 4, 2) + 0.1, align_corners=False), "unfold": lambda: F.unfold(image, 3),
        "pad": lambda: F.pad(image, (1, 1, 2, 0), mode="reflect"), "batch_norm": lambda: F.batch_norm(image, None, None, training=True),
        "group_norm": lambda: F.group_norm(image, 3), "instance_norm": lambda: F.instance_norm(image),
        "attention": lambda: attention(x, x, x)[0], "sdpa": lambda: F.scaled_dot_product_attention(square, square, square),
        "lstm": lambda: lstm(x)[0], "gru": lambda: gru(x)[0], "embedding": lambda: F.embedding(at, x), "embedding_bag": lambda: F.embedding_bag(at, x),
        "cross_entropy": lambda: F.cross_entropy(x, ng.arange(6) % 8), "nll_loss": lambda: F.nll_loss(x.log(), ng.arange(6) % 8),
        "ctc_loss": lambda: F.ctc_loss(x.log().reshape(6, 1, 8).log_softmax(-1), ng.tensor([[1, 2]]), ng.tensor([6]), ng.tensor([2])),
        "cdist": lambda: ng.cdist(x, x), "cosine_similarity": lambda: F.cosine_similarity(x, x.flip(0)),
        "sort": lambda: x.sort(dim=0).values, "topk": lambda: x.topk(3).values, "median": lambda: x.median(dim=1).values, "argmax": lambda: x.argmax(1),
        "unique": lambda: at.unique(), "cumsum": lambda: x.cumsum(1), "cumprod": lambda: x.cumprod(0), "logcumsumexp": lambda: x.logcumsumexp(1),
        "gather": lambda: x.gather(0, at), "scatter_add": lambda: x.scatter_add(0, at, source), "index_select": lambda: x.index_select(0, at[:, 0]),
        "index_add": lambda: x.index_add(0, at[:, 0], source), "getitem": lambda: x[at[:, 0], 2:], "masked_select": lambda: x[x > 0.5],
        "index_put": lambda: x.clone().index_put((at[:, 0],), source), "where": lambda: ng.where(x > 0.5, x, -x),
        "cat": lambda: ng.cat([x, x.flip(1)]), "stack": lambda: ng.stack([x, x], 1), "copy": lambda: x.t().contiguous(), "roll": lambda: x.roll(2, 0),
        "flip": lambda: x.flip(0, 1), "tril": lambda: x.tril(), "repeat": lambda: x.repeat(2, 3), "repeat_interleave": lambda: x.repeat_interleave(3, 0),
        "inv": lambda: ng.linalg.inv(square), "solve": lambda: ng.linalg.solve(square, square), "svd": lambda: ng.linalg.svdvals(square),
        "cholesky": lambda: ng.linalg.cholesky(square @ square.mT), "eigh": lambda: ng.linalg.eigvalsh(square @ square.mT),
        "qr": lambda: ng.linalg.qr(square)[1].abs(), "det": lambda: ng.linalg.det(square), "lu": lambda: ng.linalg.lu(square)[2],
        "large inv": lambda: ng.linalg.inv(ng.eye(200) * 3 + 0.01), "fft": lambda: ng.fft.fft2(image).abs(), "rfft": lambda: ng.fft.rfft(x).real,
        "stft": lambda: ng.stft(x.reshape(-1), 8, window=ng.ones(8), return_complex=True).abs(), "half": lambda: x.half().exp().float(), "complex": lambda: ng.complex(x, x).exp().abs(),
        "bernoulli": lambda: ng.bernoulli(x.clamp(0, 1)), "randn": lambda: ng.randn(70), "randperm": lambda: ng.randperm(70), "multinomial": lambda: ng.multinomial(x, 3),
        "dropout": lambda: F.dropout(x, 0.5), "gamma": lambda: ng.distributions.Gamma(x, x).sample(), "quantile": lambda: ng.quantile(x, 0.3),
        "histc": lambda: ng.histc(x, 5), "bincount": lambda: at.reshape(-1).bincount(), "searchsorted": lambda: ng.searchsorted(x[0].sort().values, x),
        "nonzero": lambda: (x > 0.5).nonzero(), "var": lambda: x.var(0), "logsumexp": lambda: x.logsumexp(0), "norm": lambda: x.norm(dim=0),
        "clip_grad_norm": lambda: nn.utils.clip_grad_norm_(_with_gradient(x), 1.0),
        "vmap": lambda: ng.func.vmap(lambda row: (row @ y).exp())(x), "jacrev": lambda: ng.func.jacrev(lambda row: (row @ y).exp())(x[0]),
    }  # fmt: skip
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "NAdam", "RAdam", "Rprop"):
        calls[f"optim.{name}"] = lambda name=name: _stepped(getattr(ng.optim, name), x)
    return calls


def _with_gradient(x):
    parameter = nn.Parameter(x.clone())
    (parameter * parameter).sum().backward()
    return [parameter]


def _stepped(kind, x):
    parameters = _with_gradient(x)
    optimizer = kind(parameters, lr=0.1)
    for _ in range(2):
        optimizer.step()
    return parameters[0]


def _backward_too(call):
    """What a call returns and the gradient of its inputs, where there are any, as ndarrays."""
    ng.manual_seed(2)
    out = call()
    out = out[0] if isinstance(out, tuple) else out
    return [out.detach().float().numpy().copy()]


def _table_call(case):
    def call():
        leaves = case.leaves()
        out = case.run(*leaves)
        first = out[0] if isinstance(out, tuple) else out
        if case.op.gradient is None or not first.requires_grad:
            return first
        wanted = [leaf for leaf in leaves if isinstance(leaf, ng.Tensor) and leaf.requires_grad]
        found = ng.autograd.grad(first, wanted, first.detach(), allow_unused=True)
        return ng.cat([first.detach().reshape(-1), *(g.reshape(-1) for g in found if g is not None)])

    return call


@posix
def test_every_op_in_a_forked_child(over_threads):
    """The parent has run each op over the threads; a child runs them all again, and the next op after one that killed it
    in a new child."""
    calls = {name: _table_call(testing.cases_for(op)[0]) for name, op in OPS.items() if testing.cases_for(op)}
    calls.update({f"own {name}": call for name, call in _own_calls().items()})
    expected = {name: _backward_too(call) for name, call in calls.items()}
    assert len(expected) > 250
    wrong, left = [], list(calls)
    while left and len(wrong) < 10:
        left = left[_in_child(left, calls, expected, wrong) :]
    assert not wrong


def _in_child(names, calls, expected, wrong):
    """Run the calls in one child, as far as it lives; how many are done. ``wrong`` gets the names that fail."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for name in names:
                try:
                    for got, right in zip(_backward_too(calls[name]), expected[name], strict=True):
                        np.testing.assert_array_equal(got, right)
                    os.write(writing, b".")
                except BaseException:
                    traceback.print_exc()
                    os.write(writing, b"x")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        marks = pipe.read()
    status = os.waitpid(child, 0)[1]
    wrong += [name for name, mark in zip(names, marks) if mark != ord(".")]
    if status or len(marks) < len(names):
        wrong.append(f"{names[len(marks)]} (the child ended with status {status})")
        return len(marks) + 1
    return len(names)


# --- ways of making processes ------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("layer, methods, kinds", [
    ("workqueue", ["fork"], ["process", "pool", "loader", "step"]), ("omp", ["fork"], ["pool", "loader", "step"]),
    ("omp", ["forkserver"], ["process"]),
])  # fmt: skip
def test_children_compute_what_their_parent_does(layer, methods, kinds):
    lines = process_matrix.program(layer, 2, methods, kinds, 300)
    assert len(lines) == len(methods) * len(kinds)
    assert [line for line in lines if line[2] is not None] == []


def test_a_fork_waits_for_locks_and_the_pool():
    """What another thread has begun is finished before a fork, so that the child finds every lock free."""
    source = """
        import os, threading, time
        import numgrad as ng
        from numgrad import forks
        from numgrad.kernels import jit, thread_pool
        from numba.core.compiler_lock import global_compiler_lock

        ng.set_num_threads(2)
        x = ng.randn(300, 300)
        end = threading.Event()
        done = []

        def holds(lock):
            while not end.is_set():
                with lock:
                    time.sleep(1e-3)

        def computes():
            while not end.is_set():
                (x @ x).exp()

        locks = [lock for _, lock in forks._locks if hasattr(lock, "__enter__")]
        assert len(locks) >= 6
        threads = [threading.Thread(target=holds, args=(lock,)) for lock in locks] + [threading.Thread(target=computes)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                child = os.fork()
                if child == 0:
                    assert forks.forked and all(lock.acquire(timeout=0) for lock in locks)
                    assert thread_pool.pool.tolist() == [0, 1]
                    os._exit(7)
                done.append(os.waitpid(child, 0)[1])
        finally:
            end.set()
        assert thread_pool.pool[thread_pool.CLOSED] == 0
        print(done == [7 << 8] * 10)
    """
    assert program(source).strip() == "True"


def test_a_fork_does_not_wait_for_ever(monkeypatch):
    lock = threading.Lock()
    monkeypatch.setattr(forks, "_locks", [(0, lock)])
    monkeypatch.setattr(forks, "_PATIENCE", 0.01)
    with lock:
        child = os.fork()
        if child == 0:
            os._exit(3)
        assert os.waitpid(child, 0)[1] == 3 << 8
    assert lock.acquire(timeout=0)


# --- Python threads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_python_threads_share_the_pool(layer):
    """Threads that call kernels at once, also for the first time, get the results of one alone."""
    source = """
        import threading
        import numpy as np
        import numgrad as ng
        from numgrad import nn

        ng.set_num_threads(2)
        x = ng.randn(400, 300)
        image, weight = ng.randn(8, 4, 24, 24), ng.randn(8, 4, 3, 3)

        def work():
            p = nn.Parameter(x.clone())
            ng.optim.SGD([p], lr=0.1)
            loss = (p.exp() @ p.t()).tanh().sum() + nn.functional.conv2d(image, weight).square().mean()
            loss.backward()
            optimizer = ng.optim.Adam([p])
            optimizer.step()
            return [v.detach().numpy() for v in (loss, p.grad, p, x.cumsum(0), x.softmax(1), x.sum(0))]

        found, start = [], threading.Barrier(4)

        def run():
            start.wait(60)
            for _ in range(5):
                found.append(work())

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = work()
        assert len(found) == 20
        for values in found:
            for got, right in zip(values, expected, strict=True):
                np.testing.assert_array_equal(got, right)
    """
    program(source, NUMBA_THREADING_LAYER=layer)


def test_who_finds_the_pool_taken_or_closed_runs_alone(over_threads):
    """The doors of the pool: the results are the same, the number of threads of Numba's is as before."""
    import numba

    if callers.PYTHON_MODE:
        pytest.skip("no compiled callers")
    x = ng.arange(50000.0)
    expected = x.exp()
    call = callers.caller(2, 2)
    assert call is not callers.caller(2)
    for word in (thread_pool.TAKEN, thread_pool.CLOSED):
        thread_pool.pool[word] = 1
        try:
            assert ng.equal(x.exp(), expected)
            assert thread_pool.pool.tolist() == [word == thread_pool.TAKEN, word == thread_pool.CLOSED]
        finally:
            thread_pool.pool[word] = 0
    assert ng.equal(x.exp(), expected) and thread_pool.pool.tolist() == [0, 0]
    assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS


# --- signals -----------------------------------------------------------------------------------------------------


@posix
def test_an_interrupt_leaves_everything_usable():
    """Ctrl-C again and again in parallel kernels and in loops over a DataLoader; then both work, and no child is left."""
    source = """
        import multiprocessing, os, signal, threading, time
        import numpy as np
        import numgrad as ng
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it is ignored, as in a shell's background
        from numgrad.kernels import thread_pool
        from numgrad.utils.data import DataLoader, TensorDataset

        ng.set_num_threads(2)
        x = ng.randn(500, 500)
        expected = (x @ x).exp()
        data = TensorDataset(ng.arange(64))
        loader = DataLoader(data, 4, num_workers=2, multiprocessing_context="fork", timeout=60)

        def kernels():
            while True:
                (x @ x).exp()

        def batches():
            while True:
                for _ in loader:
                    pass

        ends = []

        def press(number):
            time.sleep(0.02 + 0.03 * number)
            while len(ends) == number:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1.0)  # Python drops an interrupt that comes while it calls a destructor: press again

        for number, loop in enumerate([kernels, batches] * 4):
            presser = threading.Thread(target=press, args=(number,))
            presser.start()
            try:
                loop()
            except KeyboardInterrupt:
                ends.append(number)
            presser.join()
        assert thread_pool.pool.tolist() == [0, 0]
        assert ng.equal((x @ x).exp(), expected)
        assert ng.cat([batch for (batch,) in loader]).tolist() == list(range(64))
        last = time.monotonic() + 60
        while multiprocessing.active_children():
            assert time.monotonic() < last
            time.sleep(0.01)
        print("usable")
    """
    assert program(source).strip() == "usable"


@posix
def test_an_interrupted_child_ends(tmp_path):
    """A child that is interrupted in a kernel ends by the interrupt, and its parent goes on."""
    source = """
        import os, signal, time
        import numgrad as ng
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it is ignored, as in a shell's background

        ng.set_num_threads(2)
        x = ng.randn(500, 500)
        x @ x
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                while True:
                    x @ x
                    os.write(writing, b".")
            except KeyboardInterrupt:
                os._exit(5)
        os.read(reading, 1)
        os.kill(child, signal.SIGINT)
        print(os.waitpid(child, 0)[1] >> 8, (x @ x).shape[0])
    """
    assert program(source).split() == ["5", "500"]


# --- the number of threads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [True, False, 0, -1, 2.0, "2", None, np.bool_(True), np.float32(2), 2j, [2]])
@pytest.mark.parametrize("setter", [ng.set_num_threads, ng.set_num_interop_threads])
def test_what_is_no_number_of_threads_is_refused(setter, count):
    before = ng.get_num_threads()
    with pytest.raises(RuntimeError, match=f"{setter.__name__} expects"):
        setter(count)
    with pytest.raises(RuntimeError, match=f"{setter.__name__} expects an int, but got Tensor"):
        setter(ng.tensor(2))
    with pytest.raises(ValueError, match="at most"):
        setter(2**31)
    assert ng.get_num_threads() == before


def test_numbers_of_threads_of_numpy():
    before = ng.get_num_threads()
    try:
        for count in (np.int64(3), np.uint8(1), np.int32(2)):
            ng.set_num_threads(count)
            assert type(ng.get_num_threads()) is int and ng.get_num_threads() == count
        assert config.threads_from == "set_num_threads"
    finally:
        ng.set_num_threads(before)


@pytest.mark.parametrize("variables, count, source", [
    ({"NUMGRAD_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3, "NUMGRAD_NUM_THREADS"),
    ({"OMP_NUM_THREADS": "5,2"}, 5, "OMP_NUM_THREADS"), ({"MKL_NUM_THREADS": " 6 "}, 6, "MKL_NUM_THREADS"),
    ({"NUMBA_NUM_THREADS": "7"}, 7, "NUMBA_NUM_THREADS"), ({"OMP_NUM_THREADS": ""}, 11, "cgroup quota"),
    ({"OMP_NUM_THREADS": "4", "NUMBA_NUM_THREADS": "2"}, 2, "NUMBA_NUM_THREADS, the size of Numba's pool"),
])  # fmt: skip
def test_the_number_at_first(variables, count, source, monkeypatch):
    for name in config._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cpus, "available", lambda: (11, "cgroup quota"))
    found = config.initial_threads()
    assert found[0] == count and found[1].startswith(source)


@pytest.mark.parametrize("value", ["0", "-2", "many", "2.5", "99999999999999999999"])
def test_a_variable_that_holds_no_number_is_named(value, monkeypatch):
    for name in config._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.setattr(config, "_warned", set())
    with pytest.warns(UserWarning, match="OMP_NUM_THREADS: expected a positive number of threads"):
        assert config.initial_threads() == cpus.available()


def _system(root, groups, mounts, **files):
    """A tree of the files that tell a process its control groups, below ``root``."""
    for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw master:3 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.mark.parametrize("groups, mounts, files, share", [
    ("0::/\n", V2, {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5),  # a container sees its own group as the top
    ("0::/\n", V2, {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None), ("0::/\n", V2, {}, None),
    ("0::/a/b\n", V2, {"sys/fs/cgroup/a/cpu.max": "50000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 0.5),
    ("0::/a/b\n", V2, {"sys/fs/cgroup/a/cpu.max": "300000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "100000 100000\n"}, 1.0),
    ("0::/../elsewhere\n", V2, {"sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4.0),
    ("4:cpu,cpuacct:/box\n3:memory:/box\n", V1.format(root="/"), {
        "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "150000\n", "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "50000\n",
    }, 3.0),
    ("4:cpu,cpuacct:/docker/1\n", V1.format(root="/docker/1"), {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }, 2.0),
    ("4:cpu,cpuacct:/box\n", V1.format(root="/"), {
        "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "50000\n",
    }, None),
    ("0::/\n", V2, {"sys/fs/cgroup/cpu.max": "damaged\n"}, None), ("", "", {}, None),
])  # fmt: skip
def test_quotas_of_control_groups(groups, mounts, files, share, tmp_path):
    root = _system(tmp_path, groups, mounts, **files)
    assert cpus.quota(root) == share
    count, limit = cpus.available(root)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= count <= processors
    if share is not None and share < processors:
        assert (count, limit) == (max(1, int(share)), "cgroup quota")
    else:
        assert count == processors and limit != "cgroup quota"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_affinity_counts():
    source = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import numgrad as ng; print(ng.get_num_threads())"
    variables = {name: "" for name in config._VARIABLES if name != "NUMBA_NUM_THREADS"}
    assert program(source, **variables).strip() == "1"


# --- Intel's threading layer -------------------------------------------------------------------------------------


def test_the_tbb_wheel_is_found(tmp_path, monkeypatch):
    """The wheel puts its library where the loader does not look; its list of files says where."""
    loaded = []

    def load(name):
        if os.sep not in name:
            raise OSError("not found")
        loaded.append(name)

    class File(type(tmp_path)):
        def locate(self):
            return self

    path = tmp_path / "lib" / "libtbb.so.12"
    monkeypatch.setattr(thread_pool.sys, "platform", "linux")
    monkeypatch.setattr(thread_pool.ctypes, "CDLL", load)
    monkeypatch.setattr(thread_pool.importlib.metadata, "files", lambda name: [File(tmp_path / "lib" / "libtbb.so"), File(path)])
    thread_pool.load_tbb()
    assert loaded == [str(path)]
