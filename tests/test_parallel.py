"""`nn.DataParallel`: without CUDA devices, and on two interpreted ones."""

from collections import namedtuple

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

import numgrad as ng
from numgrad import nn
from numgrad.kernels.cuda import memory
from numgrad.kernels.cuda.simulation import Machine
from numgrad.nn.parallel import data_parallel, gather, scatter

Pair = namedtuple("Pair", "a b")


class Net(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("calls", ng.zeros(1))

    def forward(self, x, scale=1.0):
        """A dict of results."""
        self.calls += 1
        return {"out": self.linear(x) * scale, "size": x.sum()}


@pytest.fixture
def machine():
    with memory.using(Machine(memory=1 << 24, devices=2)) as found:
        yield found


def test_without_devices_it_is_the_module():
    model = nn.Linear(3, 2)
    parallel = nn.DataParallel(model, device_ids=[])
    x = ng.randn(4, 3)
    np.testing.assert_array_equal(parallel(x).detach(), model(x).detach())
    assert list(parallel.state_dict()) == ["module.weight", "module.bias"] and parallel.module is model


def test_a_batch_on_two_devices(machine):
    plain, x = Net(), ng.randn(5, 3)
    expected = plain(x, scale=2.0)["out"]
    expected.square().sum().backward()
    model = Net()
    model.load_state_dict(plain.state_dict())
    parallel = nn.DataParallel(model.to("cuda"))
    assert parallel.device_ids == [0, 1]
    model.calls.zero_()
    got = parallel(x.to("cuda"), scale=2.0)
    assert got["out"].device == ng.device("cuda:0") and got["size"].shape == (2,)
    np.testing.assert_allclose(got["out"].detach().cpu(), expected.detach(), rtol=1e-5, atol=1e-6)
    got["out"].square().sum().backward()
    for mine, its in zip(model.parameters(), plain.parameters()):
        np.testing.assert_allclose(mine.grad.cpu(), its.grad, rtol=1e-4, atol=1e-5)
    assert model.calls.item() == 1  # the first device's buffers are kept
    assert parallel(x[:1].cuda())["out"].shape == (1, 2)
    with pytest.raises(RuntimeError, match="on device cuda:1"):
        data_parallel(model, x, device_ids=[1, 0])


def test_parts_and_whole(machine):
    x = ng.arange(6.0).reshape(3, 2)
    parts = scatter((Pair(x, 7), [x], {"k": x}), [0, 1])
    assert len(parts) == 2 and parts[1][0].a.device == ng.device("cuda:1") and parts[0][0].b == 7
    assert isinstance(parts[0][0], Pair) and parts[1][2]["k"].shape == (1, 2)
    whole = gather([part[1:] for part in parts], "cpu")
    assert whole[0][0].tolist() == x.tolist() == whole[1]["k"].tolist()
    assert gather([None, None], "cpu") is None
    with pytest.raises(ValueError, match="same number of keys"):
        gather([{"a": x}, {}], "cpu")
