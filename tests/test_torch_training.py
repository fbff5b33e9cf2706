"""Whole programs with numgrad and with PyTorch: random numbers, initial weights, text, training runs, exchange.

Each program is a function of the library ``T``, run with both.
"""

import contextlib
import io
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from test_torch_parity import KINDS, assert_same, both

import numgrad as ng

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parent.parent


# --- random numbers ------------------------------------------------------------------------------------------------

SIZES = (1, 7, 16, 33, 1000)
RANDOM = {
    "rand": lambda T, n: (T.rand(n), T.rand(2, n, dtype=T.float64)),
    "randn": lambda T, n: (T.randn(n), T.randn(n, 3, dtype=T.float64)),
    "randint": lambda T, n: (T.randint(10, (n,)), T.randint(-5, 100, (n, 2), dtype=T.int32)),
    "randperm": lambda T, n: T.randperm(n),
    "like": lambda T, n: (T.rand_like(T.zeros(n)), T.randn_like(T.zeros(n)), T.randint_like(T.zeros(n), 9)),
    "uniform_": lambda T, n: (T.empty(n).uniform_(-2, 3), T.empty(n, 2).t().uniform_()),
    "normal_": lambda T, n: (T.empty(n).normal_(1, 2), T.empty(n, 2)[:, 0].normal_()),
    "normal": lambda T, n: (T.normal(0.0, 2.0, (n,)), T.normal(T.zeros(n), T.ones(n) * 2), T.normal(T.ones(n), 0.5)),
    "bernoulli": lambda T, n: (T.bernoulli(T.full((n,), 0.3)), T.empty(n).bernoulli_(0.7),
                               T.empty(n).bernoulli_(T.full((n,), 0.5)), T.zeros(n).bernoulli(0.2)),
    "multinomial": lambda T, n: (T.multinomial(T.ones(n), n), T.multinomial(T.ones(2, n), 5, replacement=True)),
    "poisson": lambda T, n: T.poisson(T.full((n,), 3.0)),
    "exponential_": lambda T, n: (T.empty(n).exponential_(2.0), T.empty(n).geometric_(0.3)),
    "cauchy_": lambda T, n: (T.empty(n).cauchy_(), T.empty(n).log_normal_()),
    "random_": lambda T, n: (T.empty(n, dtype=T.int64).random_(), T.empty(n).random_(3, 50)),
    "dropout": lambda T, n: (T.nn.functional.dropout(T.ones(n), 0.4), T.nn.Dropout(0.2)(T.ones(n, 3)),
                             T.nn.functional.dropout(T.ones(n), 0.4, training=False)),
    "feature_dropout": lambda T, n: (T.nn.functional.dropout1d(T.ones(2, n, 3), 0.4),
                                     T.nn.functional.dropout2d(T.ones(2, n, 2, 2), 0.4)),
    "alpha_dropout": lambda T, n: T.nn.functional.alpha_dropout(T.ones(n), 0.4, training=True),
    "rrelu": lambda T, n: T.nn.functional.rrelu(-T.ones(n), training=True),
    "generator": lambda T, n: T.rand(n, generator=T.Generator().manual_seed(n)),
}  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers(name):
    def run(T):
        T.manual_seed(1234 + len(name))
        drawn = [RANDOM[name](T, n) for n in SIZES]
        return drawn, T.rand(3)  # the streams are at the same place afterwards

    ours, theirs = both(run)
    assert_same(ours, theirs, 1e-6)


# --- modules -------------------------------------------------------------------------------------------------------

MODULES = {
    "Linear": (lambda nn: nn.Linear(7, 5), (3, 7)),
    "Linear_no_bias": (lambda nn: nn.Linear(7, 5, bias=False), (2, 3, 7)),
    "Bilinear": (lambda nn: nn.Bilinear(3, 4, 5), (2, 3), (2, 4)),
    "Embedding": (lambda nn: nn.Embedding(9, 4, padding_idx=2), [[1, 2], [8, 0]]),
    "LayerNorm": (lambda nn: nn.LayerNorm(6), (2, 6)),
    "RMSNorm": (lambda nn: nn.RMSNorm(6), (2, 6)),
    "RNNCell": (lambda nn: nn.RNNCell(4, 6), (3, 4)),
    "RNNCell_relu": (lambda nn: nn.RNNCell(4, 6, nonlinearity="relu", bias=False), (3, 4), (3, 6)),
    "LSTMCell": (lambda nn: nn.LSTMCell(4, 6), (3, 4)),
    "GRUCell": (lambda nn: nn.GRUCell(4, 6), (3, 4), (3, 6)),
    "PReLU": (lambda nn: nn.PReLU(4), (3, 4)),
    "Sequential": (lambda nn: nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 2)), (5, 4)),
    "ModuleList": (lambda nn: nn.ModuleList([nn.Linear(2, 3), nn.ReLU(), nn.Linear(2, 3)]),),
    "ModuleDict": (lambda nn: nn.ModuleDict({"a": nn.Linear(2, 3), "act": nn.Tanh()}),),
    "ParameterList": (lambda nn: nn.ParameterList([nn.Linear(2, 3).weight, nn.Linear(2, 3).bias]),),
    "Flatten": (lambda nn: nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 3))), (4, 6)),
    "losses": (lambda nn: nn.ModuleList([nn.CrossEntropyLoss(label_smoothing=0.1), nn.MSELoss(), nn.HuberLoss(),
                                         nn.BCEWithLogitsLoss(), nn.NLLLoss(), nn.L1Loss(), nn.KLDivLoss()]),),
    "activations": (lambda nn: nn.Sequential(nn.ReLU(), nn.LeakyReLU(0.2), nn.ELU(), nn.SiLU(), nn.Mish(), nn.Softplus(),
                                             nn.Hardtanh(-2, 2), nn.Softmax(dim=1), nn.Threshold(0.1, 0.0),
                                             nn.LogSoftmax(1)), (3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    """Initial weights, text, outputs and gradients."""
    make, *inputs = MODULES[name]
    rng = np.random.default_rng(0)
    inputs = [np.asarray(x) if isinstance(x, list) else rng.standard_normal(x).astype("f") for x in inputs]

    def run(T):
        T.manual_seed(5)
        module = make(T.nn)
        state = module.state_dict()
        weights = {key: value.clone() for key, value in state.items()}
        texts = repr(module), repr(list(module.parameters())), str(state)
        if not inputs:
            return weights, texts, (), {}
        out = module(*[T.from_numpy(x) for x in inputs])
        out = out if isinstance(out, tuple) else (out,)
        if weights:
            sum((y * y.detach().cos()).sum() for y in out).backward()
        return weights, texts, out, {key: p.grad for key, p in module.named_parameters()}

    (weights, texts, out, grads), (their_weights, their_texts, their_out, their_grads) = both(run)
    assert list(weights) == list(their_weights)
    for key, value in their_weights.items():
        assert_same(weights[key], value, 0.0, key)
    assert texts == their_texts
    assert_same(out, their_out, 2e-5)
    assert list(grads) == list(their_grads)
    for key, value in their_grads.items():
        assert_same(grads[key], value, 1e-4, key)


INITS = {
    "uniform_": {"a": -1.0, "b": 2.0}, "normal_": {"std": 3.0}, "trunc_normal_": {"std": 2.0},
    "constant_": {"val": 2.5}, "ones_": {}, "zeros_": {}, "eye_": {}, "xavier_uniform_": {"gain": 2.0}, "xavier_normal_": {},
    "kaiming_uniform_": {"a": 1.0}, "kaiming_normal_": {"mode": "fan_out", "nonlinearity": "relu"}, "orthogonal_": {},
    "sparse_": {"sparsity": 0.4},
}  # fmt: skip


@pytest.mark.parametrize("name", INITS)
def test_init(name):
    def run(T):
        T.manual_seed(3)
        return [getattr(T.nn.init, name)(T.empty(shape), **INITS[name]) for shape in ((4, 6), (20, 17))], T.rand(2)

    assert_same(*both(run), 1e-6)


def test_init_of_kernels():
    def run(T):
        T.manual_seed(3)
        filled = [T.nn.init.dirac_(T.empty(4, 2, 3), groups=2), T.nn.init.kaiming_uniform_(T.empty(4, 3, 2, 2))]
        return filled, [T.nn.init.calculate_gain("leaky_relu", 0.3), T.nn.init.calculate_gain("tanh")]

    assert_same(*both(run), 1e-6)


# --- text ----------------------------------------------------------------------------------------------------------


def test_text():
    def run(T):
        T.manual_seed(0)
        x = T.randn(2, 3, requires_grad=True)
        parameter = T.nn.Parameter(T.rand(3))
        y = x * 2
        y[0] = 0
        shown = [
            x, parameter, T.nn.Parameter(T.rand(2, 2), requires_grad=False), [parameter], x.detach(), x.sum(), x @ x.T,
            T.arange(5), T.zeros(0), T.zeros(2, 0), T.tensor(True), T.ones(2, dtype=T.float64), T.randn(60, 60) * 1e5,
            T.tensor([1, 1000], dtype=T.int16), x.shape, x.dtype, x.device, T.Size([2]), (x > 0), y,
            x.max(1).values.detach(), x.exp().mean(), (x + 1).view(3, 2), x.t(), x[0], T.finfo(T.float32), T.iinfo(T.uint8), T.tensor(1.5),
            x.max(1), x.sort(1).indices, x.unbind(0)[0], T.cat((x, x)), x.relu(), x.sigmoid(), x.std(), x**2, 1 - x, -x,
            x.reshape(-1), x.unsqueeze(0), x.select(0, 1), x.clone(), x.log_softmax(1), x.pow(3), x.abs(), x / 2,
        ]  # fmt: skip
        return [repr(item) for item in shown] + [f"{x.sum().detach():.3f}", str(x.sum().item())[:6]]

    for ours, theirs in zip(*both(run), strict=True):
        assert ours == theirs


def test_class_of_the_mission():
    """A module with a parameter and a plain tensor: printed, trained and saved alike."""

    def run(T):
        class Model(T.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = T.nn.Parameter(T.randn(2, 3))
                self.bias = T.zeros(3)

            def forward(self, x):
                return x @ self.weight + self.bias

        T.manual_seed(0)
        model = Model()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            print(list(model.parameters()))
            print(model, model.state_dict(), model(T.ones(1, 2)))
        model(T.ones(4, 2)).square().sum().backward()
        return printed.getvalue(), list(model.state_dict()), model.weight.grad, model.bias.requires_grad

    ours, theirs = both(run)
    assert_same(ours, theirs)
    assert ours[0].startswith("[Parameter containing:\ntensor([[") and ours[1] == ["weight"]


# --- training ------------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": {"lr": 0.1}, "SGD_momentum": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "SGD_dampening": {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True}, "Adam": {"lr": 0.05},
    "Adam_amsgrad": {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1}, "AdamW": {"lr": 0.05, "betas": (0.8, 0.9)},
    "AdamW_maximize": {"lr": 0.05, "weight_decay": 0.2, "maximize": True}, "RMSprop": {"lr": 0.02},
    "RMSprop_centered": {"lr": 0.02, "centered": True, "momentum": 0.5, "weight_decay": 0.1}, "Adagrad": {"lr": 0.1},
    "Adagrad_decay": {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name):
    def run(T):
        T.manual_seed(2)
        model = T.nn.Sequential(T.nn.Linear(5, 4), T.nn.Tanh(), T.nn.Linear(4, 1))
        groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.03}]
        optimizer = getattr(T.optim, name.split("_")[0])(groups, **OPTIMIZERS[name])
        losses = []
        for _ in range(10):
            loss = T.nn.functional.mse_loss(model(T.randn(8, 5)), T.ones(8, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        state = optimizer.state_dict()
        kept = [{key: value for key, value in entry.items() if value is not None} for entry in state["state"].values()]
        return losses, list(model.parameters()), kept

    (losses, parameters, state), (their_losses, their_parameters, their_state) = both(run)
    np.testing.assert_allclose(losses, their_losses, rtol=1e-5)
    assert_same(parameters, their_parameters, 1e-5)
    assert [sorted(entry) for entry in state] == [sorted(entry) for entry in their_state]
    for entry, theirs in zip(state, their_state):
        for key, value in theirs.items():
            np.testing.assert_allclose(entry[key], value, rtol=1e-4, atol=1e-6)


SCHEDULERS = {
    "StepLR": {"step_size": 3}, "MultiStepLR": {"milestones": [2, 5]}, "ExponentialLR": {"gamma": 0.8},
    "CosineAnnealingLR": {"T_max": 5}, "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2}, "LinearLR": {},
    "ConstantLR": {}, "PolynomialLR": {"power": 2.0}, "LambdaLR": {"lr_lambda": lambda k: 0.9**k},
    "OneCycleLR": {"max_lr": 0.5, "total_steps": 15}, "CyclicLR": {"base_lr": 0.1, "max_lr": 0.4, "step_size_up": 3},
    "MultiplicativeLR": {"lr_lambda": lambda k: 0.7},
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler(name):
    def run(T):
        optimizer = T.optim.SGD([T.zeros(1, requires_grad=True)], lr=0.2, momentum=0.9)
        scheduler = getattr(T.optim.lr_scheduler, name)(optimizer, **SCHEDULERS[name])
        rates = []
        for _ in range(12):
            optimizer.param_groups[0]["params"][0].sum().backward()
            optimizer.step()
            scheduler.step()
            rates.append((scheduler.get_last_lr()[0], optimizer.param_groups[0]["momentum"]))
        return rates

    np.testing.assert_allclose(*both(run), rtol=1e-12)


def train_on_digits(T, images, labels, optimizer_of):
    """Losses of the first 100 minibatches."""
    T.manual_seed(7)
    x, y = T.tensor(images, dtype=T.float32) / 16, T.tensor(labels)
    nn = T.nn
    model = nn.Sequential(
        nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, 48), nn.Tanh(), nn.Linear(48, 10)
    )  # fmt: skip
    optimizer, losses = optimizer_of(T, model.parameters()), []
    while True:
        for batch in T.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == 100:
                return losses


@pytest.mark.parametrize(
    "optimizer_of",
    [lambda T, p: T.optim.Adam(p, lr=2e-3), lambda T, p: T.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4)],
    ids=["Adam", "SGD"],
)
def test_digits_losses(optimizer_of):
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    ours, theirs = both(train_on_digits, digits.data, digits.target, optimizer_of)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert ours[-1] < ours[0] / 2


def test_digits_example_prints_the_losses_of_pytorch(tmp_path, monkeypatch):
    """The example's text with PyTorch in its imports: the same first 100 losses."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib").use("Agg")
    source = (ROOT / "examples" / "digits_mlp.py").read_text()
    printed = {}
    for library in ("numgrad", "torch"):
        script = tmp_path / f"digits_{library}.py"
        named = source.replace("import numgrad.", f"import {library}.").replace("numgrad as", f"{library} as")
        script.write_text(named)
        picture = tmp_path / f"{library}.png"
        monkeypatch.setattr(
            sys, "argv", [str(script), "--epochs", "5", "--print-losses", "100", "--picture", str(picture)]
        )
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_path(str(script), run_name="__main__")
        printed[library] = [line for line in text.getvalue().splitlines() if line.startswith("step ")]
    losses = {library: [float(line.split()[-1]) for line in lines] for library, lines in printed.items()}
    assert len(losses["numgrad"]) == 100
    # Six digits after the point are printed.
    np.testing.assert_allclose(losses["numgrad"], losses["torch"], rtol=1e-4, atol=2e-6)


# --- exchange ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", KINDS)
def test_exchange(dtype):
    """Memory is shared both ways, by DLPack and through ndarrays, strides included."""
    ours = ng.arange(12).reshape(3, 4).to(getattr(ng, dtype))
    for tensor in (ours, ours.t(), ours[1:, ::2]):
        theirs = torch.from_dlpack(tensor)
        assert_same(tensor, theirs)
        assert tensor.stride() == theirs.stride() and tensor.data_ptr() == theirs.data_ptr()
        back = ng.from_dlpack(theirs)
        assert back.data_ptr() == tensor.data_ptr() and back.dtype is tensor.dtype and back.stride() == tensor.stride()
        assert torch.from_numpy(tensor.numpy()).data_ptr() == ng.from_numpy(theirs.numpy()).data_ptr()
    torch.from_dlpack(ours)[0, 0] = 1
    assert ours[0, 0] == 1
    assert_same(ng.tensor(torch.from_dlpack(ours).numpy()), torch.tensor(ours.numpy()))
