"""Parametrizations, and the older normalisation hooks: the same programs as PyTorch print the same."""

import copy
import math
import pickle

import pytest

import numgrad as ng
from numgrad.nn.utils import parametrizations, parametrize

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def trained(T, module, *shape):
    """Losses of three steps."""
    x = T.linspace(-1, 1, math.prod(shape)).reshape(shape)
    optimizer = T.optim.SGD(module.parameters(), lr=0.05)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = module(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def weight_norm(T):
    module = T.nn.utils.parametrizations.weight_norm(T.nn.Linear(3, 4), dim=1)
    found = [repr(module), list(module.state_dict()), trained(T, module, 2, 3)]
    old = {"bias": T.zeros(4), "weight_g": T.ones(1, 3), "weight_v": T.ones(4, 3)}
    found += [str(module.load_state_dict(old)), module.weight.sum().item()]
    T.nn.utils.parametrize.remove_parametrizations(module, "weight")
    return [*found, repr(module), list(module.state_dict()), module.weight.requires_grad]


def spectral_norm(T):
    found = []
    for module in (T.nn.Conv2d(2, 3, 2), T.nn.ConvTranspose2d(2, 3, 2), T.nn.Linear(32, 3)):
        T.nn.utils.parametrizations.spectral_norm(module, n_power_iterations=2)
        shape = (2, 32) if isinstance(module, T.nn.Linear) else (1, 2, 4, 4)
        found += [list(module.state_dict()), trained(T, module, *shape)]
        module.eval()
        found += [trained(T, module, *shape)]
    return found


def orthogonal(T):
    found = []
    for columns, rows, options in (
        (4, 4, {}),
        (5, 3, {"orthogonal_map": "cayley"}),
        (3, 5, {}),
        (3, 5, {"orthogonal_map": "householder", "use_trivialization": False}),
        (3, 3, {"orthogonal_map": "cayley", "use_trivialization": False}),
    ):
        module = T.nn.utils.parametrizations.orthogonal(T.nn.Linear(columns, rows), **options)
        W = module.weight if rows >= columns else module.weight.mT
        assert (W.mT @ W - T.eye(W.shape[1])).abs().max() < 1e-5
        found += [list(module.state_dict()), trained(T, module, 2, columns)]
        try:
            module.weight = T.nn.init.orthogonal_(T.empty(rows, columns))
            found.append(module.weight.abs().sum().item())
        except NotImplementedError as error:
            found.append(str(error))
    return found


def own(T):
    class Symmetric(T.nn.Module):
        def forward(self, X):
            return X.triu() + X.triu(1).mT

        def right_inverse(self, A):
            return A.triu()

    class Row(T.nn.Module):
        def forward(self, X):
            return X[0]

    P = T.nn.utils.parametrize
    module = P.register_parametrization(T.nn.Linear(3, 3), "weight", Symmetric())
    found = [repr(module), bool((module.weight == module.weight.mT).all()), P.type_before_parametrizations(module).__name__]
    found += [P.is_parametrized(module), P.is_parametrized(module, "bias")]
    for refused in (
        lambda: P.register_parametrization(module, "bias", Row()),
        lambda: P.register_parametrization(module, "weight", Row()),
        lambda: P.register_parametrization(module, "missing", Row()),
        lambda: P.remove_parametrizations(module, "bias"),
        lambda: pickle.dumps(module),
    ):
        with pytest.raises((ValueError, RuntimeError)):
            refused()
    found.append(list(module.state_dict()))
    with P.cached():
        assert module.weight is module.weight
    assert module.weight is not module.weight
    other = P.transfer_parametrizations_and_params(module, T.nn.Linear(3, 3))
    assert (other.weight == module.weight).all()
    P.register_parametrization(module, "weight", Symmetric())
    found.append(repr(module))
    P.remove_parametrizations(module, "weight", leave_parametrized=False)
    return [*found, list(module.state_dict()), repr(module)]


def hooks(T):
    found = []
    for name in ("weight_norm", "spectral_norm"):
        module = T.nn.Conv1d(3, 4, 2)
        getattr(T.nn.utils, name)(module)
        found += [trained(T, module, 1, 3, 5), list(module.state_dict()), [n for n, _ in module.named_parameters()]]
        with pytest.raises(RuntimeError, match="two"):
            getattr(T.nn.utils, name)(module)
        getattr(T.nn.utils, f"remove_{name}")(module)
        found += [list(module.state_dict()), module.eval()(T.ones(1, 3, 4)).sum().item()]
        with pytest.raises(ValueError, match="not found"):
            getattr(T.nn.utils, f"remove_{name}")(module)
    return found


def functional(T):
    call = T.func.functional_call
    module = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.BatchNorm1d(4))
    module.append(module[0])
    x = T.linspace(-1, 1, 6).reshape(2, 3)
    given = {name: T.full_like(p, 0.5) for name, p in module.named_parameters() if not name.startswith("0.w")}
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    with pytest.raises(RuntimeError):  # 4 columns into a layer of 3; the module is itself again afterwards
        call(module, given, x)
    del module[2]
    found = [call(module, (given | buffers), x).tolist(), [b.tolist() for b in buffers.values()]]
    found += [module[1].num_batches_tracked.item(), list(module.state_dict())]
    for wrong in ({"0.missing": x}, {**given, "missing": x}):
        with pytest.raises(RuntimeError, match="Unexpected key") as error:
            call(module, wrong, x, strict=True)
        found.append(str(error.value).partition("\n")[2])
    shared = T.nn.ModuleDict({"a": module[0], "b": module[0]})
    shared.forward = lambda x: shared["b"](x)
    return [*found, call(shared, {"a.weight": T.zeros(4, 3), "a.bias": T.ones(4)}, (x,)).sum().item()]


PROGRAMS = [weight_norm, spectral_norm, orthogonal, own, hooks, functional]


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.__name__ for program in PROGRAMS])
def test_gives_what_pytorch_gives(program):
    torch = pytest.importorskip("torch")
    found = []
    for T in (ng, torch):
        T.manual_seed(3)
        found.append(program(T))
    assert_same(*found)


def assert_same(ours, theirs):
    """Equal texts and nearly equal numbers, in lists of any depth."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs):
            assert_same(mine, other)
    else:
        assert ours == (pytest.approx(theirs, rel=1e-4, abs=1e-5) if isinstance(theirs, float) else theirs)


def test_a_copy_has_parametrizations_of_its_own():
    module = parametrizations.weight_norm(ng.nn.Linear(3, 4))
    other = copy.deepcopy(module)
    with ng.no_grad():
        other.weight = ng.full((4, 3), 2.0)
    assert other.weight.sum().item() == pytest.approx(24.0) != module.weight.sum().item()
    parametrize.remove_parametrizations(module, "weight")
    assert type(module) is ng.nn.Linear
    assert other.weight.sum().item() == pytest.approx(24.0)


def test_a_refused_parametrization_changes_nothing():
    module = ng.nn.Linear(3, 4)
    before = list(module.state_dict())

    class Half(ng.nn.Module):
        def forward(self, X):
            return X.double()

    with pytest.raises(ValueError, match="dtype"):
        parametrize.register_parametrization(module, "weight", Half())
    assert list(module.state_dict()) == before and type(module) is ng.nn.Linear


def test_spectral_norm_loads_states_of_before_it_kept_v():
    ng.manual_seed(0)
    now = ng.nn.utils.spectral_norm(ng.nn.Linear(3, 5))
    for _ in range(20):
        now(ng.ones(1, 3))
    state = now.state_dict()
    del state["weight_v"], state._metadata[""]["spectral_norm"]
    state["weight"] = now.weight.detach().clone()
    former = ng.nn.utils.spectral_norm(ng.nn.Linear(3, 5))
    former.load_state_dict(state)
    x = ng.ones(2, 3)
    assert ng.allclose(former.eval()(x), now.eval()(x)) and ng.allclose(former.weight_v, now.weight_v, atol=1e-4)
    del state["weight_u"]
    with pytest.raises(RuntimeError, match='Missing key.*"weight_u"'):
        former.load_state_dict(state)
    again = ng.nn.utils.spectral_norm(ng.nn.utils.remove_spectral_norm(former))
    assert len(again._load_state_dict_pre_hooks) == 1


def test_functional_call_takes_tensors_of_any_name_and_nothing_else():
    module = ng.nn.Linear(3, 4)
    with pytest.raises(TypeError, match="not an instance of torch.Tensor"):
        ng.func.functional_call(module, {"weight": 3}, ng.ones(3))
    seen = []
    module.forward = lambda x: seen.append(dict(module.named_parameters())) or x
    extra = ng.nn.Parameter(ng.zeros(1))
    ng.func.functional_call(module, {"extra": extra, "other": ng.zeros(1)}, ng.ones(3))
    assert seen[0]["extra"] is extra and "other" not in seen[0] and list(module.state_dict()) == ["weight", "bias"]
    with pytest.warns(FutureWarning, match="torch.func.functional_call"):
        ng.nn.utils.stateless.functional_call(module, {}, ng.ones(3))


def test_functional_call_restores_the_module_after_an_error():
    module = ng.nn.Linear(3, 4)
    weight = module.weight
    with pytest.raises(RuntimeError):
        ng.func.functional_call(module, {"weight": ng.zeros(2, 2)}, ng.ones(3))
    assert module.weight is weight and module._parameters["weight"] is weight
    with pytest.raises(ValueError, match="tied"):
        tied = ng.nn.ModuleDict({"a": module, "b": module})
        ng.func.functional_call(tied, {"a.weight": weight, "b.weight": ng.zeros(4, 3)}, ng.ones(3))
