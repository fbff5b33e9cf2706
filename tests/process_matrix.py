"""Processes made in every way, under every threading layer: what they compute is what their parent computes.

``python tests/process_matrix.py`` runs all of it, ``test_processes.py`` a part. A program is one parent with a layer and a
number of threads; it runs kernels over the threads before and while it makes its children.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import traceback

import numpy as np

LAYERS = "tbb", "omp", "workqueue"
METHODS = "fork", "spawn", "forkserver"
KINDS = "process", "pool", "loader", "step"
THREADS = 1, 2, 4


def training():
    """The parameters after some steps whose kernels are all large enough for the threads, as one array."""
    import numgrad as ng
    from numgrad import nn

    ng.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(1))
    head, lstm = nn.Linear(8 * 16 * 16, 64), nn.LSTM(64, 64, batch_first=True)
    parameters = [p for part in (model, head, lstm) for p in part.parameters()]
    optimizer = ng.optim.Adam(parameters, lr=1e-2)
    x = ng.randn(64, 3, 32, 32)
    for _ in range(2):
        optimizer.zero_grad()
        out, _ = lstm(head(model(x)).reshape(4, 16, 64))
        yield "forward", out
        loss = nn.functional.softmax(out, -1).square().sum() + ng.linalg.inv(out[0] @ out[0].mT + 64 * ng.eye(16)).sum()
        loss.backward()
        yield "backward", loss
        optimizer.step()
    yield "end", ng.cat([p.detach().reshape(-1) for p in parameters])


def trained(_=None):
    """The end of `training` as an ndarray."""
    *_, (_, parameters) = training()
    return parameters.numpy().copy()


class Samples:
    """A dataset each of whose samples is a product and an exponential, over the threads where it can be."""

    def __len__(self):
        return 4

    def __getitem__(self, k):
        import numgrad as ng

        x = ng.arange(90000.0).reshape(300, 300) / 90000 + k
        return (x @ x).exp().log() + x.square()


def put_trained(queue):
    """The body of a child process."""
    queue.put(trained())


def in_fork(work):
    """The float32 array that ``work`` returns in a child made by `os.fork`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(work().tobytes())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    status = os.waitpid(child, 0)[1]
    if status:
        raise AssertionError(f"the child ended with status {status}")
    return np.frombuffer(data, np.float32)


def step(expected):
    """Fork between the forward and the backward pass, where kernels of the parent's other thread are running."""
    steps = training()
    while next(steps)[0] != "backward":
        pass

    def rest():
        *_, (_, parameters) = steps
        return parameters.numpy().copy()

    yield in_fork(rest)
    yield rest()


def check(method, kind, expected):
    """Raise if a child computes something else than ``expected``."""
    context = multiprocessing.get_context(method)
    found = []
    if kind == "process":
        queue = context.SimpleQueue()
        process = context.Process(target=put_trained, args=(queue,))
        process.start()
        found.append(queue.get())
        process.join()
        assert process.exitcode == 0, process.exitcode
    elif kind == "pool":
        with context.Pool(2) as pool:
            found += pool.map_async(trained, range(2)).get(240)
    elif kind == "loader":
        from numgrad.utils.data import DataLoader

        samples = Samples()
        loader = DataLoader(samples, 2, num_workers=2, multiprocessing_context=method, timeout=240)
        got = [sample.numpy() for batch in loader for sample in batch]
        for k, sample in enumerate(got):
            np.testing.assert_array_equal(sample, samples[k].numpy())
        return
    else:
        found += step(expected)
    for array in found:
        np.testing.assert_array_equal(array, expected)


def run(methods, kinds):
    """Check the ways in one process; print one line of JSON for each: method, kind, what is wrong (None: nothing)."""
    import numgrad as ng

    expected = trained()
    for method in methods:
        for kind in kinds:
            if kind == "step" and method != "fork":
                continue
            wrong = None
            busy = threading.Event()
            x = ng.randn(700, 700)

            def work(busy=busy, x=x):  # the pool is in use when the children are made
                while not busy.is_set():
                    (x @ x).exp()

            other = threading.Thread(target=work)
            other.start()
            try:
                check(method, kind, expected)
            except Exception as error:
                wrong = f"{type(error).__name__}: {str(error)[:300]}"
            busy.set()
            other.join()
            print(json.dumps([method, kind, wrong]), flush=True)


def program(layer, threads, methods, kinds, timeout, python=sys.executable):
    """The lines that `run` prints in a process of its own; an AssertionError if that ends otherwise than well."""
    environment = {
        **os.environ, "NUMBA_THREADING_LAYER": layer, "NUMGRAD_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": "4",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    arguments = [python, __file__, "--methods", *methods, "--kinds", *kinds]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    # Numba's TBB layer prints a warning of its own before a fork.
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def main():
    """``--methods`` and ``--kinds``: `run` them in this process; neither: everything, each program in its own."""
    if "--methods" in sys.argv:
        at = sys.argv.index("--kinds")
        run(sys.argv[2:at], sys.argv[at + 1 :])
        return
    count = wrong = 0
    for layer in LAYERS:
        for threads in THREADS:
            for line in program(layer, threads, METHODS, KINDS, 3000):
                count, wrong = count + 1, wrong + (line[2] is not None)
                print(layer, threads, *line, flush=True)
    print(f"{count} combinations, {wrong} wrong")


if __name__ == "__main__":
    main()
