"""Profiles: what is timed, how it nests, and that nothing of it is left when it ends."""

import json
import threading

import pytest

import numgrad as ng
from numgrad.autograd import profiler
from numgrad.autograd.profiler import profile, record_function
from numgrad.autograd.profiler_util import EventList, FunctionEvent


def _names(events):
    return [event.name for event in events]


def _step():
    x = ng.ones(3, 4, requires_grad=True)
    (x * 2).sum().backward()
    return x


def test_ops_blocks_and_nodes_are_events_that_nest():
    with profile(record_shapes=True) as p:
        with record_function("step"):
            _step()
    step = next(event for event in p.function_events if event.name == "step")
    inner = _names(step.cpu_children)
    order = ["aten::mul", "aten::sum", *(f"autograd::engine::evaluate_function: {name}" for name in (
        "SumBackward0", "MulBackward0", "torch::autograd::AccumulateGrad"))]  # fmt: skip
    assert [name for name in inner if name in order] == order
    assert all(child.cpu_parent is step for child in step.cpu_children) and step.is_user_annotation
    forward = next(event for event in p.function_events if event.name == "aten::mul")
    assert forward.input_shapes == [[3, 4], []] and forward.sequence_nr >= 0
    backward = [event for event in p.function_events if "MulBackward0" in event.name]
    assert [event.sequence_nr for event in backward] == [forward.sequence_nr] * 2
    assert [event.fwd_thread for event in backward] == [forward.thread] * 2
    assert backward[0].cpu_children[0] is backward[1]
    assert p.self_cpu_time_total == pytest.approx(sum(e.cpu_time_total for e in p.function_events if e.cpu_parent is None))


def test_gradients_are_those_without_a_profile():
    a, b = ng.ones(3, 4, requires_grad=True), ng.ones(3, 4, requires_grad=True)
    with profile():
        (a + b).sum().backward()
    a.grad.zero_()
    assert a.grad is not b.grad and b.grad.sum().item() == 12


def test_functions_are_put_back_and_may_be_profiled_again():
    codes = [(entry, entry.__code__) for _, entry in profiler._ops()]
    detours = [(entry.__kwdefaults__ or {}).get("_original") for entry, _ in codes]  # that other dtypes made
    for _ in range(2):
        with profile() as p:
            _step()
        assert "aten::mul" in _names(p.function_events)
        assert not profiler._diverted and not ng.autograd._profiler_enabled()
    ran = {"mul", "sum", "ones"}  # those that were compiled at their first call
    assert all(entry.__code__ is code or entry.__name__ in ran for entry, code in codes)
    assert [(entry.__kwdefaults__ or {}).get("_original") for entry, _ in codes] == detours


def test_a_detour_made_meanwhile_stays():
    entry = ng.special.erfcx
    calls = []

    def around(original, args, kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    x = ng.ones(3, 4)
    p = profile()
    p.__enter__()
    kept = ng.detours.divert(entry, around)
    p.__exit__(None, None, None)
    assert [kept_entry for kept_entry, _ in profiler._diverted] == [entry]
    entry(x)
    assert len(calls) == 1
    with profile() as p:
        entry(x)
    assert _names(p.function_events).count("aten::erfcx") == 1
    assert ng.detours.restore(entry, kept)
    with profile():
        pass
    assert not profiler._diverted


def test_other_threads_are_in_it_under_numbers_of_their_own():
    with profile() as p:
        _step()
        thread = threading.Thread(target=_step)
        thread.start()
        thread.join()
    assert {event.thread for event in p.function_events if event.name == "aten::mul"} == {1, 2}


def test_an_error_in_a_gradient_leaves_the_profile_right():
    x = ng.ones(3, 4, requires_grad=True)
    y = x * 2

    def fail(grad):
        raise ValueError("refused")

    y.register_hook(fail)
    with profile() as p:
        with pytest.raises(ValueError, match="refused"):
            y.sum().backward()
        _step()
    assert _names(p.function_events).count("MulBackward0") == 1


def test_misuse_is_refused():
    with profile() as p:
        with pytest.raises(RuntimeError, match="running already"):
            profile().__enter__()
        with pytest.raises(RuntimeError, match="not reentrant"):
            p.__enter__()
        with pytest.raises(RuntimeError, match="leave its block first"):
            p.key_averages()
        assert str(p) == "<unfinished profiler.profile>"
    with pytest.raises(ValueError, match="sort_by"):
        p.table(sort_by="colour")
    with profile(enabled=False) as off:
        assert not ng.autograd._profiler_enabled()
    with pytest.raises(RuntimeError, match="enabled=False"):
        off.table()


def test_tables_averages_and_traces(tmp_path):
    with profile(record_shapes=True, with_stack=True) as p:
        for _ in range(3):
            _step()
        ng.ones(5) * 2
    averages = p.key_averages()
    mul = next(average for average in averages if average.key == "aten::mul")
    assert mul.count == 4 and mul.cpu_time == pytest.approx(mul.cpu_time_total / 4)
    assert {str(a.input_shapes): a.count for a in p.key_averages(group_by_input_shape=True) if a.key == "aten::mul"} == {
        "[[3, 4], []]": 3, "[[5], []]": 1}  # fmt: skip
    own = [a.count for a in p.key_averages(group_by_stack_n=1) if a.key == "aten::mul"]
    assert sorted(own) == [1, 3]
    table = averages.table(sort_by="count", row_limit=2, header="Counts")
    rows = table.splitlines()
    assert rows[1] == "Counts" and rows[-1].startswith("Self CPU time total: ") and len(rows) == 2 + 3 + 2 + 2
    assert p.table() == str(p) and "test_profiler.py" in p.table(max_src_column_width=None)
    p.export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert [event["name"] for event in trace] == _names(p.function_events)
    assert p.total_average().count == len(p.function_events)


def test_blocks_decorate_and_may_end_in_any_order():
    @record_function("add one")
    def add_one(x):
        return x + 1

    block = record_function("late")
    block.__enter__()
    with profile() as p:
        assert add_one(1) == 2
        block.__exit__(None, None, None)  # began before the profile: it is not in it
    block.__exit__(None, None, None)
    assert _names(p.function_events) == ["add one"]


@pytest.mark.parametrize(
    "spans, children",
    [
        ([(0, 9), (1, 4), (2, 3), (5, 6)], {0: [1, 3], 1: [2]}),
        ([(0, 2), (0, 2)], {0: [1]}),  # of two alike the one with the smaller number is around
        ([(0, 2), (1, 3), (2, 3)], {1: [2]}),  # what only overlaps is in nothing
    ],
)
def test_the_innermost_event_around_is_the_parent(spans, children):
    events = EventList(FunctionEvent(k, "f", 0, *span) for k, span in enumerate(spans))
    events._populate_cpu_children()
    assert {event.id: [child.id for child in event.cpu_children] for event in events if event.cpu_children} == children


def test_a_schedule_says_which_steps_are_timed(tmp_path):
    from numgrad.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

    write, traces = tensorboard_trace_handler(str(tmp_path), "worker"), []

    def ready(prof):
        traces.append([name for name in _names(prof.events()) if name.startswith("ProfilerStep")])
        write(prof)

    plan = schedule(skip_first=1, wait=1, warmup=1, active=2, repeat=2)
    with profile(activities=[ProfilerActivity.CPU], schedule=plan, on_trace_ready=ready) as prof:
        for _ in range(12):
            _step()
            prof.step()
    assert traces == [["ProfilerStep#3", "ProfilerStep#4"], ["ProfilerStep#7", "ProfilerStep#8"]]
    assert sum(average.count for average in prof.key_averages() if average.key == "aten::mul") == 2
    assert len(list(tmp_path.glob("worker.*.pt.trace.json"))) == 2
    assert not ng.autograd._profiler_enabled()


def test_without_a_schedule_all_is_timed():
    from numgrad.profiler import profile, schedule

    ended = []
    with profile(on_trace_ready=ended.append) as prof:
        with pytest.raises(RuntimeError, match="no trace is complete"):
            prof.key_averages()
        _step()
    assert ended == [prof] and "aten::mul" in _names(prof.events())
    with pytest.raises(ValueError, match="active of at least 1"):
        schedule(wait=0, warmup=0, active=0)
