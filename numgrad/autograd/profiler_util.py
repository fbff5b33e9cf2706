"""What a profile holds: `FunctionEvent`, one call; `FunctionEventAvg`, all calls of a kind; `EventList` of either, with
``key_averages``, ``table`` and ``export_chrome_trace``. Times are microseconds on the host; kernels that a device runs later
are not waited for."""

import json
from collections.abc import Sequence
from typing import Any

# Columns by which tables are sorted: name -> attribute.
_SORTED_BY = {
    "cpu_time": "cpu_time", "cpu_time_total": "cpu_time_total", "self_cpu_time_total": "self_cpu_time_total",
    "count": "count", "time": "cpu_time_total",
}  # fmt: skip


def _format_time(microseconds: float) -> str:
    """A time as tables show it: ``"1.500ms"``."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3f}{unit}"
    return f"{microseconds:.3f}us"


def _share(part, whole):
    return f"{100 * part / whole:.2f}%" if whole else "NaN"


class Interval:
    """From ``start`` to ``end``, in microseconds."""

    __slots__ = ("start", "end")

    def __init__(self, start: float, end: float):
        self.start, self.end = start, end

    def elapsed_us(self) -> float:
        """Its length."""
        return self.end - self.start

    def __repr__(self):
        return f"Interval(start={self.start}, end={self.end})"


class _Timed:
    """The means of what has a ``count`` and totals, and the totals in the units of tables."""

    key = name = ""
    count = 1
    cpu_time_total = self_cpu_time_total = 0.0
    device_time_total = self_device_time_total = 0  # kernels on a device are not timed

    @property
    def cpu_time(self) -> float:
        """The mean time of a call."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self) -> str:
        """`cpu_time` as text."""
        return _format_time(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        """``cpu_time_total`` as text."""
        return _format_time(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        """``self_cpu_time_total`` as text."""
        return _format_time(self.self_cpu_time_total)


class FunctionEvent(_Timed):
    """One call: of an op, of a node of the graph in a backward pass, or of a block under `record_function`.

    ``cpu_children`` are the calls made within it, ``cpu_parent`` the one that it was made in. ``sequence_nr`` is that of the
    node that the call recorded or ran, -1 if there is none; ``fwd_thread`` the thread that recorded the node.
    """

    def __init__(self, id: int, name: str, thread: int, start_us: float, end_us: float, fwd_thread: int | None = None,
                 input_shapes: Sequence | None = None, stack: Sequence[str] | None = None, sequence_nr: int = -1,
                 node_id: int = -1, is_user_annotation: bool = False):  # fmt: skip
        self.id, self.node_id, self.name, self.key = id, node_id, name, name
        self.thread, self.fwd_thread = thread, fwd_thread
        self.time_range = Interval(start_us, end_us)
        self.input_shapes, self.stack = input_shapes, stack
        self.sequence_nr, self.is_user_annotation = sequence_nr, is_user_annotation
        self.cpu_children: list[FunctionEvent] = []
        self.cpu_parent: FunctionEvent | None = None

    def append_cpu_child(self, child: "FunctionEvent") -> None:
        """Note a call that was made within this one."""
        self.cpu_children.append(child)
        child.cpu_parent = self

    @property
    def cpu_time_total(self) -> float:  # type: ignore[override]
        """How long the call took."""
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self) -> float:  # type: ignore[override]
        """How long it took without the calls made within it."""
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    def __repr__(self):
        children = [child.id for child in self.cpu_children]
        return (
            f"<FunctionEvent id={self.id} name={self.name} thread={self.thread} cpu_time={self.cpu_time_str} "
            f"cpu_start_us={self.time_range.start} cpu_end_us={self.time_range.end} cpu_children={children} "
            f"input_shapes={self.input_shapes}>"
        )


class FunctionEventAvg(_Timed):
    """All calls of one kind: ``count`` of them, their totals and means."""

    def __init__(self):
        self.key: Any = None
        self.count = 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.input_shapes = self.stack = self.cpu_parent = None

    def add(self, other: Any) -> "FunctionEventAvg":
        """Add a call, or the calls of another average, to this one, which it returns. ValueError if its name differs."""
        if self.key is None:
            self.key, self.name = other.key, other.name
            self.input_shapes, self.stack, self.cpu_parent = other.input_shapes, other.stack, other.cpu_parent
        elif other.key != self.key:
            raise ValueError(f"FunctionEventAvg.add: expected calls of '{self.key}', got one of '{other.key}'")
        self._count(other)
        return self

    __iadd__ = add

    def _count(self, other):
        self.count += other.count
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total

    def __repr__(self):
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} cpu_time={self.cpu_time_str} "
            f"count={self.count} input_shapes={self.input_shapes}>"
        )


class EventList(list):
    """A list of calls or of averages."""

    def _populate_cpu_children(self) -> None:
        """Find, thread by thread, which call was made within which: the innermost one that holds it."""
        threads: dict[int, list[FunctionEvent]] = {}
        for event in self:
            threads.setdefault(event.thread, []).append(event)
        for events in threads.values():
            within: list[FunctionEvent] = []
            for event in sorted(events, key=lambda e: (e.time_range.start, -e.time_range.end, e.id)):
                while within:
                    around = within[-1].time_range
                    if event.time_range.start < around.end and event.time_range.end <= around.end:
                        within[-1].append_cpu_child(event)
                        break
                    within.pop()
                within.append(event)

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all calls, each without those made within it."""
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> "EventList":
        """One `FunctionEventAvg` for each name, or for each name with its shapes, or with the last so many callers."""
        found: dict[Any, FunctionEventAvg] = {}
        for event in self:
            kind = (
                event.key, str(event.input_shapes) if group_by_input_shape else "",
                tuple(event.stack[:group_by_stack_n]) if event.stack and group_by_stack_n else (),
            )  # fmt: skip
            average = found.setdefault(kind, FunctionEventAvg())
            average.add(event)
            if not group_by_input_shape:
                average.input_shapes = None
            average.stack = list(kind[2])
        return EventList(found.values())

    def total_average(self) -> FunctionEventAvg:
        """All calls as one."""
        total = FunctionEventAvg()
        for event in self:
            total._count(event)
        total.key = total.name = "Total"
        return total

    def table(self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int = 75,
              max_name_column_width: int = 55, max_shapes_column_width: int = 80, header: str | None = None,
              top_level_events_only: bool = False) -> str:  # fmt: skip
        """The events as text, a line for each: at most ``row_limit``, -1 for all. ValueError for an unknown ``sort_by``."""
        rows = list(self)
        if sort_by is not None:
            if sort_by not in _SORTED_BY:
                raise ValueError(f"table: expected sort_by to be one of {', '.join(_SORTED_BY)}, got {sort_by!r}")
            rows.sort(key=lambda event: getattr(event, _SORTED_BY[sort_by]), reverse=True)
        if top_level_events_only:
            rows = [event for event in rows if event.cpu_parent is None]
        total = self.self_cpu_time_total
        columns = ["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg", "# of Calls"]
        shapes, sources = any(event.input_shapes for event in rows), any(event.stack for event in rows)
        columns += ["Input Shapes"] * shapes + ["Source Location"] * sources
        lines = [columns]
        for event in rows[: None if row_limit < 0 else row_limit]:
            line = [
                _cut(event.key, max_name_column_width), _share(event.self_cpu_time_total, total), event.self_cpu_time_total_str,
                _share(event.cpu_time_total, total), event.cpu_time_total_str, event.cpu_time_str, str(event.count),
            ]  # fmt: skip
            line += [_cut(str(event.input_shapes or []), max_shapes_column_width)] * shapes
            line += [_cut((event.stack or [""])[0], max_src_column_width)] * sources
            lines.append(line)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rule = "  ".join("-" * width for width in widths)
        text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        title = [] if header is None else ["-" * len(rule), header]
        return "\n".join([*title, rule, text[0], rule, *text[1:], rule, f"Self CPU time total: {_format_time(total)}", ""])

    def __str__(self):
        return self.table()

    def export_chrome_trace(self, path) -> None:
        """Write the calls as JSON that ``chrome://tracing`` and Perfetto show."""
        events = [
            {
                "name": event.name, "ph": "X", "ts": event.time_range.start, "dur": event.cpu_time_total, "tid": event.thread,
                "pid": "CPU functions", "cat": "user_annotation" if event.is_user_annotation else "cpu_op",
                "args": {"Input Dims": event.input_shapes or [], "Sequence number": event.sequence_nr},
            }
            for event in self
        ]  # fmt: skip
        with open(path, "w") as file:
            json.dump(events, file)


def _cut(text, width):
    return text if width is None or len(text) <= width else text[: width - 3] + "..."
