"""Softmax, log-sum-exp and variance along dimensions that are not the last, against PyTorch."""

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")

CALLS = {
    "softmax": (lambda x: x.softmax(0), lambda x: x.softmax(1)),
    "log_softmax": (lambda x: x.log_softmax(0), lambda x: x.log_softmax(1)),
    "logsumexp": (lambda x: x.logsumexp(1), lambda x: x.logsumexp((0, 1), keepdim=True)),
    "var": (lambda x: x.var(0), lambda x: x.var((0, 1), keepdim=True), lambda x: x.std(1, unbiased=False)),
}
SHAPES = [(3, 2, 5), (130, 3, 2), (2, 200, 300), (1, 1, 3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
def test_against_pytorch(name, dtype):
    for shape in SHAPES:
        values = (np.random.default_rng(0).standard_normal(shape) * 3 + 5).astype(dtype)
        for call in CALLS[name]:
            if name == "var" and shape == (1, 1, 3):
                continue
            found = []
            for library in (ng, torch):
                x = library.from_numpy(values.copy()).requires_grad_()
                y = call(x)
                (y * y.detach().cos()).sum().backward()
                found.append((y.detach().numpy(), x.grad.numpy()))
            for ours, theirs in zip(*found):
                assert ours.shape == theirs.shape
                np.testing.assert_allclose(ours, theirs, rtol=2e-4 if dtype == "float32" else 1e-10, atol=1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("name", CALLS)
def test_infinities_and_nan(name):
    x = np.array([[1, np.inf, -np.inf, np.nan, -np.inf], [2, 1, 1, 0, -np.inf], [0, 1, 2, 3, -np.inf]], np.float32)
    call = CALLS[name][0] if name != "logsumexp" else lambda t: t.logsumexp(0)
    np.testing.assert_allclose(call(ng.from_numpy(x)).numpy(), call(torch.from_numpy(x)).numpy(), rtol=1e-5)


def test_layouts():
    values = np.random.default_rng(0).standard_normal((4, 6, 5)).astype(np.float32)
    for call in (lambda t: t.permute(2, 0, 1).softmax(1), lambda t: t[:, ::2].var(1), lambda t: t.transpose(0, 1).log_softmax(-1)):
        for _ in range(2):  # the second time by the plan of the first
            np.testing.assert_allclose(
                call(ng.from_numpy(values)).numpy(), call(torch.from_numpy(values)).numpy(), rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_images(reduction):
    values = np.random.default_rng(0).standard_normal((2, 5, 3, 70)).astype(np.float32)
    classes = np.random.default_rng(1).integers(0, 5, (2, 3, 70))
    classes[0, 0, :9] = -100
    found = []
    for library in (ng, torch):
        x = library.from_numpy(values.copy()).requires_grad_()
        loss = library.nn.functional.cross_entropy(x, library.from_numpy(classes.copy()), reduction=reduction)
        loss.cos().sum().backward()
        found.append((loss.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    with pytest.raises(IndexError, match="Target 5 is out of bounds for 5 classes"):
        ng.nn.functional.cross_entropy(ng.from_numpy(values), ng.from_numpy(np.full((2, 3, 70), 5)))
