"""What one call costs when there is next to nothing to compute: 64 elements, one thread."""

import numpy as np

import numgrad as ng


class Forward:
    """One op, without and with a graph to record."""

    params = ([False, True],)
    param_names = ("requires_grad",)

    def setup(self, requires_grad):
        ng.set_num_threads(1)
        self.x = ng.rand(64, requires_grad=requires_grad)
        self.y = ng.rand(64, requires_grad=requires_grad)
        self.rows = ng.rand(8, 8, requires_grad=requires_grad)
        for name in dir(self):
            if name.startswith("time_"):
                getattr(self, name)(requires_grad)

    def time_mul(self, requires_grad):
        self.x * self.y

    def time_mul_scalar(self, requires_grad):
        self.x * 2.0

    def time_exp(self, requires_grad):
        self.x.exp()

    def time_sum(self, requires_grad):
        self.x.sum()

    def time_softmax(self, requires_grad):
        self.rows.softmax(-1)

    def time_matmul(self, requires_grad):
        self.rows @ self.rows

    def time_reshape(self, requires_grad):
        self.x.reshape(8, 8)


class Backward:
    """The whole way: build a graph and walk it back."""

    def setup(self):
        ng.set_num_threads(1)
        self.x = ng.rand(64, requires_grad=True)
        self.y = ng.rand(64, requires_grad=True)
        self.time_mul_sum_backward()
        self.time_chain_of_100_backward()

    def time_mul_sum_backward(self):
        (self.x * self.y).sum().backward()

    def time_chain_of_100_backward(self):
        out = self.x
        for _ in range(100):
            out = out * self.y
        out.sum().backward()


class Control:
    """The same multiplication by NumPy: moves only if the machine does."""

    def setup(self):
        self.x, self.y = np.random.default_rng(0).random((2, 64), np.float32)

    def time_numpy_mul(self):
        self.x * self.y
