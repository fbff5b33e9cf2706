"""Results that come later: `futures`, and the weak dictionaries beside them that programs keep tensors in."""

import copy
import gc
import threading
import time

import pytest

import numgrad as ng
from numgrad.futures import Future, collect_all, wait_all
from numgrad.utils.weak import TensorWeakRef, WeakIdKeyDictionary


def test_a_result_set_by_another_thread():
    future = Future[int]()
    later = future.then(lambda f: f.wait() + 1).then(lambda f: f.value() * 10)
    thread = threading.Thread(target=lambda: (time.sleep(0.02), future.set_result(4)))
    thread.start()
    assert not later.done() and later.wait() == 50 and future.done()
    thread.join()
    with pytest.raises(RuntimeError, match="only be marked completed once"):
        future.set_result(5)
    assert future.wait() == 4
    with pytest.raises(RuntimeError, match="is not done"):
        Future().value()


def test_callbacks_run_in_order_at_once_when_done():
    order: list = []
    future = Future()
    future.add_done_callback(lambda f: order.append(1))
    future.then(lambda f: order.append(2))
    future.add_done_callback(lambda f: order.append(3))
    assert order == []
    future.set_result(None)
    future.add_done_callback(lambda f: order.append(4))
    assert order == [1, 2, 3, 4]


def test_errors_go_where_they_are_asked_for(caplog):
    future = Future()
    future.set_exception(KeyError("lost"))
    for ask in (future.wait, future.value):
        with pytest.raises(KeyError, match="lost"):
            ask()
    following = future.then(lambda f: f.value())
    with pytest.raises(RuntimeError, match="Got the following error when running the callback: KeyError: 'lost'"):
        following.wait()
    future.add_done_callback(lambda f: 1 / 0)
    assert "ZeroDivisionError" in caplog.text
    with pytest.raises(AssertionError, match="not an Exception"):
        Future().set_exception("no")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="Can not pickle"):
        copy.deepcopy(Future())


def test_many_futures():
    futures = [Future() for _ in range(3)]
    everything = collect_all(futures)
    for k in (2, 0, 1):
        assert not everything.done()
        futures[k].set_result(k)
    assert everything.wait() == futures and wait_all(futures) == [0, 1, 2]
    assert collect_all([]).wait() == []
    failed = futures[0].then(lambda f: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        wait_all([futures[1], failed])
    for ask in (lambda: wait_all([None]), lambda: ng.jit.wait(None)):
        with pytest.raises(RuntimeError, match="Future can't be None"):
            ask()
    assert ng.jit.wait(ng.jit.fork(lambda a, b: a - b, 5, b=2)) == 3


def test_weak_dictionary_of_tensors():
    a, b, c = ng.ones(2), ng.ones(2), ng.ones(2)
    held = WeakIdKeyDictionary({a: 1, b: 2})
    assert held[a] == 1 and held[b] == 2 and a in held and c not in held and 13 not in held
    with pytest.raises(KeyError):
        held[c]
    with pytest.raises(KeyError):
        del held[c]
    for refused in (lambda: held[13], lambda: held.__setitem__(13, 0), lambda: held.__delitem__(13)):
        with pytest.raises(TypeError, match="weak reference"):
            refused()
    joined = held | {c: 3}
    assert type(joined) is WeakIdKeyDictionary and sorted(joined.values()) == [1, 2, 3]
    assert sorted(({c: 4} | held).values()) == [1, 2, 4] and held.copy() == held and joined != held
    assert copy.deepcopy(WeakIdKeyDictionary({a: [1]}))[a] == [1]
    reference = TensorWeakRef(b)
    assert reference() is b
    del b
    gc.collect()
    assert reference() is None and list(held) == [a] and len(joined) == 2
