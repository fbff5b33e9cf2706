"""Numbers that name a place (indices, labels, pivots, offsets, lengths) and lie outside are errors before anything is
written: every op that takes some is given them, in a process of its own, so that a crash is a failure and not the end."""

import subprocess
import sys

import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

OUTSIDE = (-1000, 1000, 2**31, 2**40, -(2**63), 2**63 - 1)


def index(bad, *good):
    """Indices of which the last is ``bad``."""
    return ng.tensor([*good, bad])


def matrix(fn):
    """``fn`` of a matrix of zeros that it may write to; nothing may have been written after an error."""

    def call(bad):
        target = ng.zeros(4, 3)
        try:
            return fn(target, bad)
        finally:
            assert not target.any(), "written before the index was checked"

    return call


def _pooled(bad):
    """A gradient through indices that were overwritten behind the recorder's back."""
    x = ng.ones(1, 1, 4, 4, requires_grad=True)
    out, places = F.max_pool2d(x, 2, return_indices=True)
    places.numpy()[...] = bad
    out.sum().backward()
    assert not x.grad.any()
    raise IndexError("dropped")


CALLS = {
    "gather": lambda b: ng.zeros(4, 3).gather(0, index(b, 0, 1).expand(3, 3)),
    "take_along_dim": lambda b: ng.take_along_dim(ng.zeros(4, 3), index(b, 0, 1).reshape(3, 1), 0),
    "index_select": lambda b: ng.zeros(4, 3).index_select(0, index(b, 1)),
    "take": lambda b: ng.zeros(4, 3).take(index(b, 1)),
    "subscript": lambda b: ng.zeros(4, 3)[index(b, 1)],
    "two subscripts": lambda b: ng.zeros(4, 3)[index(1, 1), index(b, 1)],
    "a number": lambda b: ng.zeros(4, 3)[b],
    "a number in a tuple": lambda b: ng.zeros(4, 3)[:, b],
    "select": lambda b: ng.zeros(4, 3).select(0, b),
    "narrow": lambda b: ng.zeros(4, 3).narrow(0, b, 1),
    "narrow by a tensor": lambda b: ng.zeros(4, 3).narrow(0, ng.tensor(b), 1),
    "narrow length": lambda b: ng.zeros(4, 3).narrow(0, 1, b),
    "select_scatter": lambda b: ng.zeros(4, 3).select_scatter(ng.ones(3), 0, b),
    "index_add": lambda b: ng.zeros(4, 3).index_add(0, index(b, 1), ng.ones(2, 3)),
    "index_copy": lambda b: ng.zeros(4, 3).index_copy(0, index(b, 1), ng.ones(2, 3)),
    "index_fill": lambda b: ng.zeros(4, 3).index_fill(0, index(b, 1), 1.0),
    "index_reduce": lambda b: ng.zeros(4, 3).index_reduce(0, index(b, 1), ng.ones(2, 3), "mean"),
    "index_put": lambda b: ng.zeros(4, 3).index_put((index(b, 1),), ng.ones(3)),
    "put": lambda b: ng.zeros(4, 3).put(index(b, 1), ng.ones(2)),
    "scatter": lambda b: ng.zeros(4, 3).scatter(0, index(b, 1, 2).reshape(1, 3), 1.0),
    "scatter_add": lambda b: ng.zeros(4, 3).scatter_add(0, index(b, 1, 2).reshape(1, 3), ng.ones(1, 3)),
    "scatter_reduce": lambda b: ng.zeros(4, 3).scatter_reduce(0, index(b, 1, 2).reshape(1, 3), ng.ones(1, 3), "amax"),
    "setitem": matrix(lambda x, b: x.__setitem__(index(b, 0, 1), 1.0)),
    "setitem twice": matrix(lambda x, b: x.__setitem__((index(1, 0, 1), index(b, 0, 1)), 1.0)),
    "index_add_": matrix(lambda x, b: x.index_add_(0, index(b, 0, 1), ng.ones(3, 3))),
    "index_copy_": matrix(lambda x, b: x.index_copy_(0, index(b, 0, 1), ng.ones(3, 3))),
    "index_fill_": matrix(lambda x, b: x.index_fill_(0, index(b, 0, 1), 1.0)),
    "index_put_": matrix(lambda x, b: x.index_put_((index(b, 0, 1),), ng.ones(3), True)),
    "index_reduce_": matrix(lambda x, b: x.index_reduce_(0, index(b, 0, 1), ng.ones(3, 3), "mean")),
    "put_": matrix(lambda x, b: x.put_(index(b, 0, 1), ng.ones(3))),
    "scatter_": matrix(lambda x, b: x.scatter_(0, index(b, 0, 1).reshape(1, 3), 1.0)),
    "scatter_add_": matrix(lambda x, b: x.scatter_add_(0, index(b, 0, 1).reshape(1, 3), ng.ones(1, 3))),
    "scatter_reduce_": matrix(lambda x, b: x.scatter_reduce_(0, index(b, 0, 1).reshape(1, 3), ng.ones(1, 3), "sum")),
    "embedding": lambda b: F.embedding(index(b, 1), ng.zeros(4, 3)),
    "embedding max_norm": matrix(lambda x, b: F.embedding(index(b, 1), x, max_norm=1.0)),
    "embedding padding_idx": lambda b: F.embedding(index(0, 1), ng.zeros(4, 3), padding_idx=b),
    "embedding_bag": lambda b: F.embedding_bag(index(b, 1), ng.zeros(4, 3), ng.tensor([0])),
    "embedding_bag offsets": lambda b: F.embedding_bag(index(0, 1), ng.zeros(4, 3), ng.tensor([0, b])),
    "embedding_bag falling offsets": lambda b: F.embedding_bag(index(0, 1, 2), ng.zeros(4, 3), ng.tensor([0, b, 1])),
    "one_hot": lambda b: F.one_hot(index(b, 1), 3),
    "cross_entropy": lambda b: F.cross_entropy(ng.zeros(2, 3), index(b, 1)),
    "cross_entropy weight": lambda b: F.cross_entropy(ng.zeros(2, 3), index(b, 1), ng.ones(3)),
    "cross_entropy of images": lambda b: F.cross_entropy(ng.zeros(1, 3, 1, 2), index(b, 1).reshape(1, 1, 2)),
    "nll_loss": lambda b: F.nll_loss(ng.zeros(2, 3), index(b, 1)),
    "multi_margin_loss": lambda b: F.multi_margin_loss(ng.zeros(2, 3), index(b, 1)),
    "multilabel_margin_loss": lambda b: F.multilabel_margin_loss(ng.zeros(3), index(b, 0, 1)),
    "ctc_loss": lambda b: F.ctc_loss(
        ng.zeros(5, 2, 4), ng.tensor([[1, 2], [1, b]]), ng.tensor([5, 5]), ng.tensor([2, 2])
    ),
    "ctc_loss of a vector": lambda b: F.ctc_loss(
        ng.zeros(5, 2, 4), ng.tensor([1, 2, 1, b]), ng.tensor([5, 5]), ng.tensor([2, 2])
    ),
    "ctc_loss blank": lambda b: F.ctc_loss(ng.zeros(5, 1, 4), ng.tensor([[1]]), ng.tensor([5]), ng.tensor([1]), blank=b),
    "ctc_loss times": lambda b: F.ctc_loss(ng.zeros(5, 1, 4), ng.tensor([[1]]), ng.tensor([b]), ng.tensor([1])),
    "ctc_loss lengths": lambda b: F.ctc_loss(
        ng.zeros(5, 4, 4), ng.tensor([1, 2, 1]), ng.tensor([5] * 4), ng.tensor([b] * 4)
    ),
    "AdaptiveLogSoftmaxWithLoss": lambda b: ng.nn.AdaptiveLogSoftmaxWithLoss(3, 5, [2])(ng.zeros(2, 3), index(b, 1)),
    "lu_unpack": lambda b: ng.lu_unpack(ng.eye(2), ng.tensor([1, b]).clamp(-(2**31), 2**31 - 1).int()),
    "lu_solve": lambda b: ng.linalg.lu_solve(
        ng.eye(2), ng.tensor([1, b]).clamp(-(2**31), 2**31 - 1).int(), ng.ones(2, 1)
    ),
    "max_unpool1d": lambda b: F.max_unpool1d(ng.ones(1, 1, 2), index(b, 1).reshape(1, 1, 2), 2),
    "max_unpool2d": lambda b: F.max_unpool2d(ng.ones(1, 1, 1, 2), index(b, 1).reshape(1, 1, 1, 2), 2),
    "max_pool2d indices": _pooled,
    "searchsorted sorter": lambda b: ng.searchsorted(ng.zeros(2), ng.zeros(1), sorter=index(b, 1)),
    "bincount": lambda b: ng.bincount(index(min(b, -1) if b < 2**40 else b, 1)),
    "bincount minlength": lambda b: ng.bincount(index(0, 1), minlength=-abs(b)),
    "repeat_interleave": lambda b: ng.repeat_interleave(ng.ones(3), ng.tensor([2**63 - 1, 2**63 - 1, -abs(b)])),
    "repeat_interleave overflow": lambda b: ng.repeat_interleave(ng.tensor([2**63 - 1, 2**63 - 1, 3])),
    "pack_padded_sequence": lambda b: pack_padded_sequence(ng.zeros(4, 2, 3), ng.tensor([b, 1])),
    "pad_packed_sequence": lambda b: pad_packed_sequence(PackedSequence(ng.zeros(3, 2), ng.tensor([2, b]))),
    "a layer of packed sequences": lambda b: ng.nn.LSTM(2, 2)(PackedSequence(ng.zeros(3, 2), ng.tensor([2, b]))),
    "split": lambda b: ng.zeros(4).split([1, b]),
    "unflatten": lambda b: ng.zeros(4).unflatten(0, (2, b)),
    "a dimension": lambda b: ng.zeros(4).sum(b),
    "kthvalue": lambda b: ng.zeros(4).kthvalue(b),
    "topk": lambda b: ng.zeros(4).topk(b),
    "multinomial": lambda b: ng.ones(4).multinomial(b),
    "fractional_max_pool2d": lambda b: F.fractional_max_pool2d(
        ng.zeros(1, 1, 4, 4), 2, 2, _random_samples=ng.full((1, 1, 2), float(b))
    ),
}


def main():
    names = sys.argv[1:]
    for name in names:
        print("at", name, flush=True)
        for bad in OUTSIDE:
            try:
                CALLS[name](bad)
            except (RuntimeError, IndexError, ValueError, AssertionError) as error:
                if "before the index" not in str(error):
                    continue
                print("FAILED", name, bad, error, flush=True)
            except Exception as error:
                print("FAILED", name, bad, type(error).__name__, error, flush=True)
            else:
                print("FAILED", name, bad, "no error", flush=True)
    print("done", flush=True)


def test_numbers_that_name_no_place_are_refused():
    done = subprocess.run([sys.executable, __file__, *CALLS], capture_output=True, text=True, timeout=600)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("FAILED")] == []
    assert lines[-1:] == ["done"], f"ended {lines[-1]} with {done.returncode}: {done.stderr[-500:]}"


def test_labels_behind_a_sequence_do_not_matter():
    logits = ng.randn(5, 2, 4).log_softmax(2)
    lengths = ng.tensor([5, 5]), ng.tensor([1, 2])
    padded = F.ctc_loss(logits, ng.tensor([[1, -1], [1, 2]]), *lengths)
    assert padded.item() == pytest.approx(F.ctc_loss(logits, ng.tensor([1, 1, 2]), *lengths).item())


def test_a_histogram_of_everything_stays_in_its_bins():
    found = ng.histc(ng.tensor([-1e308, 0.0, 1e308], dtype=ng.float64), 4, -1.7e308, 1.7e308)
    assert found.sum() == 3


if __name__ == "__main__":
    main()
