"""Everyday programs on a CUDA device, in the interpreter, against the CPU: whole models, and ops outside the table's
generated forms."""

import functools

import numpy as np
import pytest

import numgrad as ng
from numgrad import nn
from numgrad.kernels.cuda import memory
from numgrad.kernels.cuda.simulation import Machine
from numgrad.nn import functional as F


@pytest.fixture(autouse=True)
def gpu(request):
    """A simulated GPU, unless the tests run on a real one."""
    if request.config.getoption("--device") == "cuda":
        yield
    else:
        with memory.using(Machine()):
            yield


VALUES = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
IMAGES = np.random.default_rng(1).standard_normal((2, 4, 6, 5)).astype(np.float32)


def rows(x):
    return ng.tensor([2, 0], device=x.device)


def columns(x):
    return ng.tensor([[1], [0], [3]], device=x.device)


def weight(x, *shape):
    return ng.linspace(-1, 1, int(np.prod(shape))).reshape(shape).to(x.device)


# Functions of a (3, 4) matrix; differentiated where the result is floating point and needs it.
CALLS = {
    "index_select": lambda x: x.index_select(0, rows(x)),
    "getitem": lambda x: x[rows(x), rows(x)],
    "getitem_mask": lambda x: x[x > 0],
    "setitem": lambda x: functools.reduce(lambda y, _: y.index_put((rows(y),), y[:2] * 2), range(2), x),
    "gather": lambda x: x.gather(1, columns(x)),
    "scatter": lambda x: x.scatter(1, columns(x), x),
    "scatter_add": lambda x: x.scatter_add(1, columns(x), x),
    "index_add": lambda x: x.index_add(0, rows(x), x[:2]),
    "take": lambda x: ng.take(x, rows(x)),
    "sort": lambda x: x.sort(1)[0],
    "topk": lambda x: x.topk(2)[0],
    "argmax": lambda x: x.argmax(1),
    "max": lambda x: x.max(1)[0],
    "median": lambda x: x.median(1)[0],
    "cumsum": lambda x: x.cumsum(0),
    "cumprod": lambda x: x.cumprod(1),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "cat": lambda x: ng.cat((x, x * 2), 1),
    "where": lambda x: ng.where(x > 0, x, 0.5),
    "nonzero": lambda x: (x > 0).nonzero(),
    "unique": lambda x: (x > 0).to(ng.int64).unique(),
    "searchsorted": lambda x: ng.searchsorted(ng.arange(-2.0, 2.0, device=x.device), x),
    "std": lambda x: x.std(1),
    "prod": lambda x: x.prod(1),
    "norm": lambda x: x.norm(),
    "logsumexp": lambda x: x.logsumexp(1),
    "softmax": lambda x: x.softmax(1),
    "layer_norm": lambda x: F.layer_norm(x, (4,)),
    "embedding": lambda x: F.embedding(rows(x), x),
    "roll": lambda x: x.roll(1, 1),
    "flip": lambda x: x.flip(0),
    "tril": lambda x: x.tril(),
    "pad": lambda x: F.pad(x[None], (1, 2), mode="reflect"),
    "masked_fill": lambda x: x.masked_fill(x > 0, 0.25),
    "matmul": lambda x: x @ x.T,
    "bmm": lambda x: ng.bmm(x[None], x.T[None]),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 0),
    "one_hot": lambda x: F.one_hot(columns(x), 4),
    "einsum": lambda x: ng.einsum("ij,kj,il->kl", x, x, x),
    "cross": lambda x: ng.linalg.cross(x, x * x, dim=0),
    "cdist": lambda x: ng.cdist(x, x * 0.5 + 1.0, compute_mode="use_mm_for_euclid_dist"),
    "solve": lambda x: ng.linalg.solve(x[:, :3], x),
    "lu": lambda x: ng.linalg.lu(x)[2],
    "qr": lambda x: ng.linalg.qr(x).R,
    "pinv": lambda x: ng.linalg.pinv(x),
    "householder": lambda x: ng.linalg.householder_product(x.T[None], x.T[None, 0]),
    "ctc_loss": lambda x: F.ctc_loss(x.log_softmax(1)[:, None], columns(x)[:1], [3], [1]),
}
# Functions of a (2, 4, 6, 5) batch of images.
IMAGE_CALLS = {
    "conv2d": lambda x: F.conv2d(x, weight(x, 3, 4, 3, 2), weight(x, 3)),
    "conv2d_strided": lambda x: F.conv2d(x, weight(x, 3, 4, 3, 2), stride=2, padding=1),
    "conv2d_grouped": lambda x: F.conv2d(x, weight(x, 4, 2, 2, 2), padding=2, dilation=2, groups=2),
    "conv1d": lambda x: F.conv1d(x[0], weight(x, 2, 6, 3)),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2, padding=1),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "batch_norm": lambda x: F.batch_norm(x, None, None, weight(x, 4), weight(x, 4), training=True),
    "group_norm": lambda x: F.group_norm(x, 2, weight(x, 4), weight(x, 4)),
    "bilinear": lambda x: F.interpolate(x, (9, 4), mode="bilinear"),
    "nearest": lambda x: F.interpolate(x, (3, 7)),
    "grid_sample": lambda x: F.grid_sample(x, x[..., :2].sin(), align_corners=False),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, weight(x, 4, 2, 3, 3), stride=2),
    "unfold": lambda x: F.unfold(x, 3, padding=1, stride=2),
    "max_unpool2d": lambda x: F.max_unpool2d(*F.max_pool2d(x[..., :4], 2, return_indices=True), 2),
}


def outcome(f, values, device):
    """The result and the gradient of its cosines' sum, on the host."""
    x = ng.from_numpy(values.copy()).to(device).requires_grad_()
    out = f(x)
    assert out.device == x.device
    found = [out.detach().cpu()]
    if out.requires_grad:
        out.cos().sum().backward()
        assert x.grad.device == x.device
        found.append(x.grad.cpu())
    return found


@pytest.mark.parametrize("name", [*CALLS, *IMAGE_CALLS])
def test_a_call_agrees_with_the_cpu(name):
    f, values = (CALLS[name], VALUES) if name in CALLS else (IMAGE_CALLS[name], IMAGES)
    for ours, expected in zip(outcome(f, values, "cuda"), outcome(f, values, "cpu"), strict=True):
        ng.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def train(model, optimizer, loss, x, target, device):
    """The parameters after two steps from the same start, and the last loss."""
    ng.manual_seed(0)
    model = model().to(device)
    stepper = optimizer(model.parameters())
    for _ in range(2):
        stepper.zero_grad()
        value = loss(model(x.to(device)), target.to(device))
        value.backward()
        stepper.step()
    return [value.item(), *[p.detach().cpu() for p in model.state_dict().values()]]


MLP = lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))  # noqa: E731
CNN = lambda: nn.Sequential(  # noqa: E731
    nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 2, 3)
)
OPTIMIZERS = {
    "SGD": lambda p: ng.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: ng.optim.Adam(p, lr=0.01),
    "AdamW": lambda p: ng.optim.AdamW(p, lr=0.01),
    "RMSprop": lambda p: ng.optim.RMSprop(p, lr=0.01),
    "Adagrad": lambda p: ng.optim.Adagrad(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_classifier_trains_as_on_the_cpu(name):
    x, target = ng.from_numpy(VALUES), ng.tensor([0, 2, 1])
    ours, expected = (train(MLP, OPTIMIZERS[name], F.cross_entropy, x, target, d) for d in ("cuda", "cpu"))
    for a, b in zip(ours, expected, strict=True):
        ng.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_convolutional_net_trains_as_on_the_cpu():
    x, target = ng.from_numpy(IMAGES), ng.tensor([0, 2])
    ours, expected = (train(CNN, OPTIMIZERS["SGD"], F.cross_entropy, x, target, d) for d in ("cuda", "cpu"))
    for a, b in zip(ours, expected, strict=True):
        ng.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_random_numbers_follow_the_seed():
    def drawn():
        ng.manual_seed(3)
        shape = (400,)
        return [
            ng.rand(shape, device="cuda"), ng.randn(shape, device="cuda"), ng.randint(-2, 3, shape, device="cuda"),
            F.dropout(ng.ones(shape, device="cuda"), 0.25), ng.empty(shape, device="cuda").exponential_(2.0),
            ng.empty(20, 20, device="cuda").T.uniform_(2, 3), ng.randperm(5, device="cuda"),
        ]  # fmt: skip

    first, second = ([x.cpu() for x in drawn()] for _ in range(2))
    assert all(ng.equal(a, b) for a, b in zip(first, second, strict=True))
    uniform, normal, integers, kept, exponential, shifted, permutation = first
    assert 0 <= uniform.min() < 0.1 and 0.9 < uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.06
    assert abs(normal.mean()) < 0.2 and abs(normal.std() - 1) < 0.15
    assert integers.unique().tolist() == [-2, -1, 0, 1, 2]
    assert 0.15 < (kept == 0).float().mean() < 0.35 and kept.max().item() == pytest.approx(1 / 0.75)
    assert exponential.min() >= 0 and abs(exponential.mean() - 0.5) < 0.1
    assert 2 <= shifted.min() and shifted.max() < 3
    assert permutation.sort()[0].tolist() == [0, 1, 2, 3, 4]
    assert not ng.equal(ng.rand(5, device="cuda"), ng.rand(5, device="cuda"))


def test_the_namespace_has_cuda():
    assert ng.cuda.device_count() >= 1 and ng.cuda.is_available()
    assert ng.ones(2, device="cuda").device == ng.device("cuda", ng.cuda.current_device())
    with pytest.raises(AttributeError, match="nothing"):
        _ = ng.nothing
