"""Losses of pairs, classes, labels, counts and sequences, bags of embeddings: PyTorch's values, and derivatives."""

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad import nn
from numgrad.autograd import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)
X, Y, Z = (RNG.standard_normal((4, 3)) for _ in range(3))
SIGNS = np.array([1, -1, 1, -1])
CLASSES = np.array([2, 0, 1, 1])
LABELS = np.array([[0, 2, -1], [1, -1, 0], [-1, 0, 1], [2, 1, 0]])
WEIGHT = np.array([0.5, 1.0, 2.0])

# Each a function of the library ``T``, three float64 matrices, and what makes tensors of arrays.
LOSSES = {
    "cosine_embedding": lambda T, x, y, z, t: T.cosine_embedding_loss(x, y, t(SIGNS), margin=0.2, reduction="none"),
    "margin_ranking": lambda T, x, y, z, t: T.margin_ranking_loss(x, y, t(SIGNS)[:, None], margin=0.3),
    "triplet_margin": lambda T, x, y, z, t: T.triplet_margin_loss(x, y, z, swap=True, p=3, reduction="sum"),
    "triplet_with_distance": lambda T, x, y, z, t: T.triplet_margin_with_distance_loss(
        x, y, z, distance_function=lambda a, b: ((a - b) ** 2).sum(-1), margin=0.5,
    ),
    "hinge_embedding": lambda T, x, y, z, t: T.hinge_embedding_loss(x, t(SIGNS)[:, None].expand(4, 3), margin=0.4),
    "soft_margin": lambda T, x, y, z, t: T.soft_margin_loss(x, t(SIGNS)[:, None].expand(4, 3), reduction="none"),
    "multi_margin": lambda T, x, y, z, t: T.multi_margin_loss(x, t(CLASSES), p=2, weight=t(WEIGHT), reduction="none"),
    "multilabel_margin": lambda T, x, y, z, t: T.multilabel_margin_loss(x, t(LABELS), reduction="none"),
    "multilabel_soft_margin": lambda T, x, y, z, t: T.multilabel_soft_margin_loss(x, t(LABELS > 0).double(), t(WEIGHT)),
    "poisson_nll": lambda T, x, y, z, t: T.poisson_nll_loss(x, t(np.abs(Y) * 3), full=True),
    "poisson_nll_plain": lambda T, x, y, z, t: T.poisson_nll_loss(x.exp(), y.exp(), log_input=False),
    "gaussian_nll": lambda T, x, y, z, t: T.gaussian_nll_loss(x, y, z.exp(), full=True),
    "gaussian_nll_rows": lambda T, x, y, z, t: T.gaussian_nll_loss(x, y, z.exp()[:, 0], reduction="none"),
    "kl_div": lambda T, x, y, z, t: T.kl_div(T.log_softmax(x, 1), T.log_softmax(y, 1), reduction="batchmean", log_target=True),
    "cosine_similarity": lambda T, x, y, z, t: T.cosine_similarity(x, y[:1], 1),
    "pairwise_distance": lambda T, x, y, z, t: T.pairwise_distance(x, y, 1.0, keepdim=True),
    "bilinear": lambda T, x, y, z, t: T.bilinear(x[:, :2], y, t(RNG.standard_normal((5, 2, 3)) * 0 + 0.5), t(np.arange(5.0))),
    "cross_entropy": lambda T, x, y, z, t: T.cross_entropy(x, t(CLASSES), t(WEIGHT), label_smoothing=0.2),
    "bag_mean": lambda T, x, y, z, t: T.embedding_bag(t(np.array([0, 2, 2, 3, 1])), x, t(np.array([0, 2, 2]))),
    "bag_max": lambda T, x, y, z, t: T.embedding_bag(t(LABELS + 1), x, mode="max", padding_idx=0),
    "bag_sum": lambda T, x, y, z, t: T.embedding_bag(t(LABELS[:, :2] + 1), x, mode="sum", per_sample_weights=y[:, :2]),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    found = []
    for T, functional in ((ng, F), (torch, torch.nn.functional)):
        leaves = [T.from_numpy(a.copy()).requires_grad_() for a in (X, Y, Z)]
        out = LOSSES[name](functional, *leaves, lambda a, T=T: T.from_numpy(np.array(a)))
        weights = T.from_numpy(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)))
        gradients = T.autograd.grad((out * weights).sum(), leaves, allow_unused=True)
        found.append([out, *gradients])
    for ours, theirs in zip(*found):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_absolute_errors_of_complex_numbers():
    x, y = ng.tensor([3 + 4j, 1j], requires_grad=True), ng.tensor([0j, 0j])
    loss = F.l1_loss(x, y, reduction="none")
    assert loss.tolist() == [5, 1] and F.l1_loss(x, y).item() == 3
    loss.sum().backward()
    assert ng.allclose(x.grad, ng.tensor([0.6 + 0.8j, 1j]))


@pytest.mark.parametrize("name", ["cosine_embedding", "triplet_margin", "multi_margin", "gaussian_nll", "kl_div", "bag_mean"])
def test_second_derivatives(name):
    leaves = tuple([ng.from_numpy(a.copy()).requires_grad_() for a in (X, Y, Z)])
    assert gradgradcheck(lambda *given: LOSSES[name](F, *given, lambda a: ng.from_numpy(np.array(a))), leaves)


# --- sequences -------------------------------------------------------------------------------------------------------

SCORES = RNG.standard_normal((6, 3, 4))
TARGETS = np.array([[1, 1, 2], [3, 2, 0], [1, 2, 3]])


@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("form", ["padded", "joined", "single"])
def test_ctc_loss_is_that_of_pytorch(form, reduction):
    torch = pytest.importorskip("torch")
    found = []
    for T, functional in ((ng, F), (torch, torch.nn.functional)):
        scores = T.from_numpy(SCORES.copy()).requires_grad_()
        logs, targets, lengths = scores.log_softmax(2), T.from_numpy(TARGETS), ([6, 4, 3], [3, 2, 0])
        if form == "joined":
            targets = T.from_numpy(np.array([1, 1, 2, 3, 2]))
        elif form == "single":
            logs, targets, lengths = logs[:, 0], targets[0], (T.tensor(6), T.tensor(3))
        out = functional.ctc_loss(logs, targets, *lengths, reduction=reduction)
        out.sum().backward()
        found.append((out, scores.grad))
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_ctc_loss_has_second_derivatives():
    scores = ng.from_numpy(SCORES.copy()).requires_grad_()

    def loss(x):
        return F.ctc_loss(x.log_softmax(2), ng.from_numpy(TARGETS), [6, 4, 3], [3, 2, 0], reduction="none")

    assert gradcheck(loss, (scores,)) and gradgradcheck(loss, (scores,))


def test_labels_that_do_not_fit():
    logs = ng.from_numpy(SCORES[:2]).log_softmax(2).detach().requires_grad_()
    lengths = [2, 2, 2], [3, 2, 1]
    assert F.ctc_loss(logs, ng.from_numpy(TARGETS), *lengths, reduction="none").isinf().tolist() == [True, False, False]
    F.ctc_loss(logs, ng.from_numpy(TARGETS), *lengths, reduction="sum", zero_infinity=True).backward()
    assert logs.grad[:, 0].abs().sum().item() == 0 and logs.grad[:, 1:].isfinite().all()
    with pytest.raises(RuntimeError, match="input_lengths to have value at most 2"):
        F.ctc_loss(logs, ng.from_numpy(TARGETS), [3, 2, 2], [1, 1, 1])
    with pytest.raises(RuntimeError, match="blank must be in label range"):
        F.ctc_loss(logs, ng.from_numpy(TARGETS), *lengths, blank=4)


# --- samples, adaptive softmax, counts -------------------------------------------------------------------------------


def test_gumbel_softmax_rounds_to_one_class_and_keeps_the_gradient():
    torch = pytest.importorskip("torch")
    logits = ng.from_numpy(X.astype(np.float32)).requires_grad_()
    ng.manual_seed(3)
    hard = F.gumbel_softmax(logits, tau=0.7, hard=True)
    torch.manual_seed(3)
    np.testing.assert_allclose(
        hard.detach().numpy(), torch.nn.functional.gumbel_softmax(torch.from_numpy(X).float(), 0.7, True), atol=1e-6
    )
    (hard * ng.arange(3.0)).sum().backward()
    assert logits.grad.abs().sum().item() > 0


def test_adaptive_softmax_sums_to_one_and_agrees_with_its_log_prob():
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6], div_value=2.0)
    x, target = ng.randn(5, 8), ng.tensor([0, 11, 4, 5, 2])
    everything = layer.log_prob(x)
    ng.testing.assert_close(everything.exp().sum(1), ng.ones(5))
    output, loss = layer(x, target)
    ng.testing.assert_close(output, everything.gather(1, target[:, None])[:, 0], rtol=1e-5, atol=1e-5)
    ng.testing.assert_close(loss, -output.mean())
    assert layer.predict(x).tolist() == everything.argmax(1).tolist()
    loss.backward()
    assert all(p.grad is not None for p in layer.parameters())
    with pytest.raises(RuntimeError, match=r"should be in \[0, 11\]"):
        layer(x, target + 5)


def test_histogram_agrees_with_numpy():
    x = ng.from_numpy(X)
    for options in ({"bins": 5}, {"bins": 4, "range": (-1.0, 1.0)}, {"bins": 3, "density": True}):
        counts, edges = ng.histogram(x, **options)
        expected = np.histogram(X, **options)
        np.testing.assert_allclose(counts.numpy(), expected[0])
        np.testing.assert_allclose(edges.numpy(), expected[1])
    edges = np.array([-1.0, 0.0, 0.25, 3.0])
    counts = ng.histogram(x, ng.from_numpy(edges), weight=ng.from_numpy(np.abs(Y))).hist
    np.testing.assert_allclose(counts.numpy(), np.histogram(X, edges, weights=np.abs(Y))[0])


REFUSED = [
    (lambda x: F.cosine_embedding_loss(x, x, ng.ones(2, 2)), "multi-target not supported"),
    (lambda x: F.triplet_margin_loss(x, x, x[0]), "same number of dimensions"),
    (lambda x: F.multi_margin_loss(x, ng.tensor([0, 1])), "inconsistent target size"),
    (lambda x: F.gaussian_nll_loss(x, x, -x.abs()), "negative"),
    (lambda x: F.embedding_bag(ng.tensor([0, 1]), x), "offsets has to be a 1D Tensor"),
    (lambda x: F.embedding_bag(ng.tensor([0, 1]), x, ng.tensor([1])), r"offsets\[0\] has to be 0"),
    (lambda x: nn.TripletMarginLoss(margin=0.0), "greater than 0"),
    (lambda x: nn.AdaptiveLogSoftmaxWithLoss(4, 8, [6, 3]), "increasing order"),
]


@pytest.mark.parametrize("call, message", REFUSED)
def test_refusals(call, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        call(ng.from_numpy(X))
