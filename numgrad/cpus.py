"""How many processors this process may keep busy: its affinity, and the quotas of its control groups (Linux cgroups).

A container's share of the processors is a quota, time in each period, and not seen in the affinity: as many threads as
the machine has processors would use it up at the start of each period and then all stand still.
"""

import os
import re
from collections.abc import Iterator
from math import floor
from pathlib import Path, PurePosixPath


def available(root: str | Path = "/") -> tuple[int, str]:
    """(number of processors, what limits it: "cgroup quota", "affinity" or "processors").

    A quota is rounded down, to at least 1. ``root`` is where ``proc`` and the control groups' files are looked for.
    """
    count, limit = os.cpu_count() or 1, "processors"
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
        if allowed < count:
            count, limit = allowed, "affinity"
    share = quota(root)
    if share is not None and floor(share) < count:
        return max(1, floor(share)), "cgroup quota"
    return count, limit


def quota(root: str | Path = "/") -> float | None:
    """The processors' worth of time that this process's control groups allow, of version 1 or 2; None: no limit.

    A group is limited by those that it lies in too, as far up as they are mounted here.
    """
    root = Path(root)
    shares = [share for folder in _groups(root) if (share := _share(folder)) is not None]
    return min(shares, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's groups that limit processors, with those above them."""
    paths = {}  # the path of the group, by version
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            paths["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            paths["cgroup"] = path
    for line in _lines(root / "proc/self/mountinfo"):
        place, _, kind = line.partition(" - ")
        kind, _, options = kind.split(" ", 2)
        if kind not in paths or (kind == "cgroup" and "cpu" not in options.split(",")):
            continue
        _, _, _, inside, mount, *_ = (re.sub(r"\\(\d{3})", _octal, field) for field in place.split(" "))
        folder = top = root / mount.lstrip("/")
        # In a container a mount may show a part of the tree, and the path be one outside of it: then it is the top's.
        path = PurePosixPath(paths[kind])
        if path.is_relative_to(inside) and ".." not in path.parts:
            folder = top / path.relative_to(inside)
        while True:
            yield folder
            if folder == top:
                break
            folder = folder.parent


def _octal(escape: re.Match) -> str:
    return chr(int(escape[1], 8))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # no such system
        return []


def _share(folder: Path) -> float | None:
    """What one group allows: ``cpu.max`` of version 2 holds quota and period, version 1 has a file for each."""
    found = " ".join(_lines(folder / "cpu.max")).split()
    if not found:
        names = "cpu.cfs_quota_us", "cpu.cfs_period_us"
        found = " ".join(line for name in names for line in _lines(folder / name)).split()
    if len(found) != 2 or not all(number.isdigit() for number in found) or int(found[1]) == 0:
        return None  # "max", -1, or the top group, which has none
    return int(found[0]) / int(found[1])
