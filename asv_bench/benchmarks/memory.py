"""Peak memory of whole processes: asv measures the process that runs each ``peakmem_`` function."""

import numpy as np

import numgrad as ng
import numgrad.nn as nn
import numgrad.nn.functional as F


class Peak:
    def setup(self):
        ng.set_num_threads(1)

    def peakmem_import(self):
        pass

    def peakmem_training(self):
        model = nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
        optimizer = ng.optim.Adam(model.parameters())
        x, y = ng.rand(256, 784), ng.randint(0, 10, (256,))
        for _ in range(5):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    def peakmem_chain_without_graph(self):
        # Ten results of 40 MB, two of them alive at a time.
        x = ng.ones(10_000_000)
        with ng.no_grad():
            for _ in range(10):
                x = x * 1.5


class Control:
    def peakmem_numpy(self):
        np.ones(10_000_000, np.float32)
