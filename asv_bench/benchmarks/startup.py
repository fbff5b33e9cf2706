"""Import and first call, each in a fresh process, with an empty and with a filled kernel cache."""

import os
import subprocess
import sys
import tempfile
import timeit

STEP = """
import numgrad as ng, numgrad.nn as nn
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = ng.optim.SGD(model.parameters(), lr=0.1)
nn.functional.cross_entropy(model(ng.rand(8, 64)), ng.randint(0, 10, (8,))).backward()
optimizer.step()
"""
FIRST_CALL = "import numgrad as ng; ng.ones(3) * 2.0"


def seconds(source, cache):
    """How long a Python process takes for ``source``, its own start included."""
    environment = {**os.environ, "NUMGRAD_CACHE_DIR": cache, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", source]
    return timeit.timeit(lambda: subprocess.run(command, env=environment, check=True), number=1)


class Startup:
    timeout = 300

    def setup(self):
        self.folder = tempfile.TemporaryDirectory()
        self.caches = 0

    def teardown(self):
        self.folder.cleanup()

    def _fresh(self):
        self.caches += 1
        cache = os.path.join(self.folder.name, str(self.caches))
        os.mkdir(cache, 0o700)
        return cache

    def _cold(self, source):
        return min(seconds(source, self._fresh()) for _ in range(2))

    def _warm(self, source):
        cache = self._fresh()
        seconds(source, cache)
        return min(seconds(source, cache) for _ in range(3))

    def track_python(self):
        return self._warm("")

    def track_import(self):
        return self._warm("import numgrad")

    def track_first_call_cold(self):
        return self._cold(FIRST_CALL)

    def track_first_call_warm(self):
        return self._warm(FIRST_CALL)

    def track_first_step_cold(self):
        return self._cold(STEP)

    def track_first_step_warm(self):
        return self._warm(STEP)


for _name in dir(Startup):
    if _name.startswith("track_"):
        getattr(Startup, _name).unit = "s"
