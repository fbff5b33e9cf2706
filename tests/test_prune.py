"""Pruning: the same programs as PyTorch give the same masks, values and refusals."""

import pytest

import numgrad as ng
from numgrad.nn.utils import prune


def net(T):
    T.manual_seed(3)
    return T.nn.Sequential(T.nn.Linear(4, 6), T.nn.ReLU(), T.nn.Linear(6, 3))


def masks(module):
    return [[name, buffer.tolist()] for name, buffer in module.named_buffers()]


def one_after_the_other(T, P):
    model = net(T)
    found = []
    for step in (
        lambda: P.random_unstructured(model[0], "weight", 0.3),
        lambda: P.l1_unstructured(model[0], "weight", 5),
        lambda: P.ln_structured(model[0], "weight", 0.5, 2, 0),
        lambda: P.random_structured(model[0], "weight", 1, dim=1),
    ):
        step()
        found.append(masks(model))
    optimizer = T.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(T.ones(2, 4)).pow(2).sum()
        loss.backward()
        optimizer.step()
        found.append(round(loss.item(), 5))
    found += [P.is_pruned(model), list(model.state_dict()), len(model[0]._forward_pre_hooks)]
    P.remove(model[0], "weight")
    values = [[round(v, 5) for v in row] for row in model[0].weight.tolist()]
    return [*found, P.is_pruned(model), list(model.state_dict()), values, len(model[0]._forward_pre_hooks)]


def together(T, P):
    model = net(T)
    places = [(model[0], "weight"), (model[2], "weight"), (model[0], "bias")]
    P.global_unstructured(places, P.L1Unstructured, amount=0.4)
    found = [masks(model), [name for name, _ in model.named_parameters()]]
    P.global_unstructured(places[:2], P.RandomUnstructured, amount=7)
    return [*found, masks(model)]


def by_hand(T, P):
    model = net(T)
    P.custom_from_mask(model[0], "bias", T.tensor([0, 1, 0, 1, 1, 1]))
    P.identity(model[2], "weight")
    P.l1_unstructured(model[0], "weight", 3, importance_scores=T.arange(24.0).reshape(6, 4))
    return [masks(model), str(model[0].bias), P.L1Unstructured(2).prune(T.tensor([1.0, -3, 2, 0.5])).tolist()]


def refusals(T, P):
    model = net(T)
    P.identity(model[0], "weight")
    found = []
    for refused in (
        lambda: P.l1_unstructured(model[2], "weight", 100),
        lambda: P.l1_unstructured(model[2], "weight", 1.5),
        lambda: P.l1_unstructured(model[2], "weight", "some"),
        lambda: P.l1_unstructured(model[2], "missing", 1),
        lambda: P.l1_unstructured(model[0], "weight", 100),
        lambda: P.ln_structured(model[2], "bias", 1, 2, 0),
        lambda: P.ln_structured(model[2], "weight", 1, 2, 5),
        lambda: P.remove(model[2], "weight"),
        lambda: P.global_unstructured([(model[0], "weight")], P.LnStructured, amount=1, n=1),
    ):
        with pytest.raises((ValueError, TypeError, IndexError, AttributeError)) as error:
            refused()
        found.append(error.type)
    return found


@pytest.mark.parametrize("program", [one_after_the_other, together, by_hand, refusals])
def test_gives_what_pytorch_gives(program):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch.nn.utils.prune")
    assert program(ng, prune) == program(torch, theirs)


def test_what_is_refused_changes_nothing():
    model = net(ng)
    prune.identity(model[0], "weight")
    before = list(model.state_dict())
    for layer in (model[0], model[2]):
        with pytest.raises(ValueError, match="amount=100"):
            prune.l1_unstructured(layer, "weight", 100)
    assert list(model.state_dict()) == before
    prune.l1_unstructured(model[0], "weight", 4)
    assert model[0].weight_mask.sum() == 20
