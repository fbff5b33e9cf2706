"""Tensors between processes: shared memory, `multiprocessing.spawn`, errors of processes."""

import os
import pickle
import sys

import numpy as np
import pytest

import numgrad as ng
import numgrad.multiprocessing as mp
from numgrad import nn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="memory is shared by file descriptor")


def _train(number, model, table, answers, taken, view):
    """Each process writes to its own part; the model is one for all."""
    with ng.no_grad():
        model.weight[number] += number + 1
    table[number] = os.getpid()
    view += 1
    answers.put((number, ng.full((3,), float(number)), model.weight.requires_grad))
    taken.wait(60)


def _fail(number, how):
    if number == 1:
        if how == "raise":
            raise ValueError("no such luck")
        os._exit(3)
    import time

    time.sleep(60)


def test_processes_share_what_they_are_given():
    model = nn.Linear(2, 2, bias=False)
    model.share_memory()
    before = model.weight.detach().clone()
    table, base = ng.zeros(2, dtype=ng.int64), ng.zeros(4)
    answers, taken = mp.get_context("spawn").Queue(), mp.get_context("spawn").Event()
    context = mp.spawn(_train, (model, table, answers, taken, base[1:3]), nprocs=2, join=False)
    got = sorted([answers.get(timeout=60), answers.get(timeout=60)], key=lambda answer: answer[0])
    taken.set()
    while not context.join():
        pass
    assert [(number, values.tolist(), grad) for number, values, grad in got] == [(0, [0.0] * 3, True), (1, [1.0] * 3, True)]
    assert all(values.is_shared() for _, values, _ in got)
    np.testing.assert_allclose((model.weight.detach() - before).numpy(), [[1, 1], [2, 2]], rtol=1e-6)
    assert table.is_shared() and sorted(table.tolist()) == sorted(context.pids())
    assert base.tolist() == [0.0] * 4  # a view goes as a copy of its elements


@pytest.mark.parametrize("how, kind, text", [("raise", mp.ProcessRaisedException, "no such luck"),
                                             ("exit", mp.ProcessExitedException, "process 1 terminated with exit code 3")])  # fmt: skip
def test_a_failing_process_ends_the_others(how, kind, text):
    with pytest.raises(kind, match=text) as caught:
        mp.spawn(_fail, (how,), nprocs=2)
    assert caught.value.error_index == 1
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


def test_shared_memory_holds_views_too():
    x = ng.arange(6.0).reshape(2, 3)
    base, row = x + 0, None
    row = base[1]
    assert not base.is_shared() and base.share_memory_() is base
    row[0] = 7
    assert base.is_shared() and row.is_shared() and base.tolist() == [[0, 1, 2], [7, 4, 5]] and base[0].is_shared()
    with pytest.raises(RuntimeError, match="this tensor is a view"):
        x[1].share_memory_()
    assert ng.zeros(0).share_memory_().is_shared()


def test_names():
    assert mp.Process is not None and mp.cpu_count() > 0 and mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    mp.set_sharing_strategy("file_descriptor")
    with pytest.raises(ValueError, match="expected one of"):
        mp.set_sharing_strategy("telepathy")
    leaf = ng.zeros(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="non-leaf tensor"):
        mp.reduction.ForkingPickler.dumps(leaf * 2)
