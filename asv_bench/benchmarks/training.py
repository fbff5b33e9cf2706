"""Training steps: forward, backward, optimizer."""

import numgrad as ng
import numgrad.nn as nn
import numgrad.nn.functional as F


class Classifier:
    """A multi-layer perceptron 784-256-256-10 with Adam."""

    params = ([1, 32, 128], [1, 2])
    param_names = ("batch", "threads")

    def setup(self, batch, threads):
        ng.set_num_threads(threads)
        ng.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        )  # fmt: skip
        self.optimizer = ng.optim.Adam(self.model.parameters())
        self.x, self.y = ng.rand(batch, 784), ng.randint(0, 10, (batch,))
        for _ in range(3):
            self.time_step(batch, threads)

    def time_step(self, batch, threads):
        loss = F.cross_entropy(self.model(self.x), self.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def time_inference(self, batch, threads):
        with ng.no_grad():
            self.model(self.x)


class Optimizers:
    """One step over the 270,000 parameters of that classifier."""

    params = (["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"],)
    param_names = ("optimizer",)

    def setup(self, name):
        ng.set_num_threads(1)
        parameters = [nn.Parameter(ng.rand(*shape)) for shape in ((256, 784), (256,), (256, 256), (256,), (10, 256))]
        for parameter in parameters:
            parameter.grad = ng.rand(*parameter.shape)
        self.optimizer = getattr(ng.optim, name)(parameters, lr=1e-4)
        self.optimizer.step()

    def time_step(self, name):
        self.optimizer.step()


class RecurrentLoop:
    """A hand-written recurrent cell over 64 steps: many small ops."""

    def setup(self):
        ng.set_num_threads(1)
        self.cell = nn.RNNCell(32, 32)
        self.x = ng.rand(64, 1, 32)
        self.time_forward_backward()

    def time_forward_backward(self):
        state = ng.zeros(1, 32)
        for step in self.x.unbind(0):
            state = self.cell(step, state)
        state.sum().backward()
