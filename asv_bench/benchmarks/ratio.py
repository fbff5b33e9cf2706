"""Our time over PyTorch's for the same lines, where PyTorch is installed; under 1 we are faster.

Each library runs in processes of its own, one thread each, in turn; the ratio is that of the best times.
"""

import importlib.util
import json
import os
import subprocess
import sys

WORK = {
    "mul_sum_backward": (
        "x = torch.rand(64, requires_grad=True); y = torch.rand(64, requires_grad=True)",
        "(x * y).sum().backward()",
    ),
    "gelu_1m": ("x = torch.rand(1 << 20); f = torch.nn.functional.gelu", "f(x)"),
    "softmax_rows": ("x = torch.rand(1024, 1024)", "x.softmax(-1)"),
    "matmul_256": ("x = torch.rand(256, 256)", "x @ x"),
    "mlp_step": (
        "nn = torch.nn; F = nn.functional; x = torch.rand(32, 64); y = torch.randint(0, 10, (32,))\n"
        "model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))\n"
        "optimizer = torch.optim.Adam(model.parameters())",
        "optimizer.zero_grad(); F.cross_entropy(model(x), y).backward(); optimizer.step()",
    ),
}
SOURCE = """
import json, timeit
import {library} as torch
torch.set_num_threads(1)
names = dict(torch=torch)
exec({setup!r}, names)
timer = timeit.Timer({statement!r}, globals=names)
timer.timeit(10)
count, _ = timer.autorange(lambda number, taken: None)
count = max(1, count // 4)
print(json.dumps(min(timer.repeat(7, count)) / count))
"""


def best_time(library, name):
    """Seconds that one execution of the work takes, in a fresh process."""
    setup, statement = WORK[name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    source = SOURCE.format(library=library, setup=setup, statement=statement)
    done = subprocess.run([sys.executable, "-c", source], env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


class RatioToTorch:
    params = (list(WORK),)
    param_names = ("work",)
    timeout = 300
    unit = "ratio"

    def setup(self, name):
        if importlib.util.find_spec("torch") is None:
            raise NotImplementedError("PyTorch is not installed")  # asv's way to leave a benchmark out

    def track_ratio_vs_torch(self, name):
        ours, theirs = [], []
        for _ in range(2):
            ours.append(best_time("numgrad", name))
            theirs.append(best_time("torch", name))
        return min(ours) / min(theirs)


RatioToTorch.track_ratio_vs_torch.unit = "ratio"
