"""Files from strangers: whatever is in them is loaded or refused, and nothing outside of them is read or written."""

import collections
import io
import json
import os
import pickle
import random
import stat
import struct
import subprocess
import sys
import threading
import zipfile

import mutations
import pytest

import numgrad as ng
from numgrad.errors import FileError
from numgrad.serialization import files


def safetensors_file(structure, entries=None, data=bytes(16)):
    """A safetensors file of four floats ``w`` with that structure in its metadata."""
    header = {"__metadata__": {"numgrad": json.dumps(structure)}}
    header |= {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}} if entries is None else entries
    text = json.dumps(header).encode()
    return io.BytesIO(struct.pack("<Q", len(text)) + text + data)


def archive_file(pickled):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    stream.seek(0)
    return stream


# --- memory ------------------------------------------------------------------------------------------------------

# (sizes, strides, offset) that leave a storage of six elements
OUTSIDE = [
    ((2,), (1 << 40,), 0), ((4,), (-1,), 3), ((7,), (1,), 0), ((1,), (1,), 6), ((1,), (1,), -1), ((-1,), (1,), 0), ((2, 4), (3, 1), 0),
    ((2,), (1 << 62,), 0), ((1 << 62, 4), (0, 0), 0), ((2,), (1, 1), 0), ((1 << 63,), (1,), 0), ((3,), (1 << 63,), 0),
]  # fmt: skip


def through_safetensors(shape, strides, offset):
    node = {"tensor": "w", "number": 0, "shape": shape, "strides": strides, "offset": offset}
    entries = {"w": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}
    return ng.load(safetensors_file({"version": 1, "root": node}, entries, bytes(24)))


def through_pickle(shape, strides, offset):
    class Foreign:
        def __reduce__(self):
            return rebuild, (ng.arange(6.0).storage(), offset, shape, strides, False, collections.OrderedDict())

    rebuild = ng.serialization.torch_write._REBUILD
    stream = io.BytesIO()
    ng.save(Foreign(), stream)
    stream.seek(0)
    return ng.load(stream)


def through_shared_memory(shape, strides, offset):
    from numgrad.multiprocessing import _rebuilt
    from numgrad.storage import shared_segment

    class Handle:
        def detach(self):
            return os.dup(segment.descriptor)

    segment = shared_segment(24)
    return _rebuilt(Handle(), 24, (offset * 4 if offset > 0 else 0, "float32", shape, strides), False, False)


WAYS = {
    "as_strided": lambda *place: ng.arange(6.0).as_strided(*place),
    "as_strided_scatter": lambda *place: ng.as_strided_scatter(ng.arange(6.0), ng.ones(1), *place),
    "set_ of a tensor": lambda shape, strides, offset: ng.empty(0).set_(ng.arange(6.0), offset, shape, strides),
    "set_ of a storage": lambda shape, strides, offset: ng.empty(0).set_(ng.arange(6.0).storage(), offset, shape, strides),
    "safetensors": through_safetensors,
    "pickle": through_pickle,
    "shared memory": through_shared_memory,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_tensor_lies_inside_its_storage(way):
    for place in OUTSIDE:
        if way == "shared memory" and place[2] < 0:
            continue
        with pytest.raises((RuntimeError, TypeError)) as caught:
            WAYS[way](*place)
        if way in ("safetensors", "pickle"):
            assert isinstance(caught.value, FileError), place
    if way not in ("as_strided_scatter", "shared memory"):
        assert WAYS[way]((2, 2), (3, 1), 1).shape == (2, 2) and WAYS[way]((0, 3), (1 << 40, 1), 0).numel() == 0


def test_sizes_and_strides_that_no_memory_has():
    for make in (
        lambda: ng.empty_strided((2, 2), (-1, 1)), lambda: ng.empty_strided((1 << 40, 1 << 40), (1, 1)),
        lambda: ng.empty_strided((-1,), (1,)), lambda: ng.empty_strided((2,), (1, 1)), lambda: ng.zeros(3).resize_(-1),
        lambda: ng.zeros(3).resize_(1 << 40, 1 << 40), lambda: ng.empty(0).set_(ng.arange(4.0), 0, (2,), (-1,)),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="negative|Negative|overflow|mismatch"):
            make()
    assert ng.arange(6.0)[2:].resize_(2, 2).tolist() == [[2, 3], [4, 5]]


# --- pickles -----------------------------------------------------------------------------------------------------

DEEP = 200_000
HOSTILE = {
    "a deep key": b"\x80\x02})" + b"\x85" * DEEP + b"Ns.",
    "deep keys at once": b"\x80\x02}()" + b"\x85" * DEEP + b"Nu.",
    "a deep member of a frozenset": b"\x80\x04()" + b"\x85" * DEEP + b"\x91.",
    "a deep member of a set": b"\x80\x04\x8f()" + b"\x85" * DEEP + b"\x90.",
    "a deep argument of set": b"\x80\x02c__builtin__\nset\n])" + b"\x85" * DEEP + b"a\x85R.",
    "deep tuples": b"\x80\x02)" + b"\x85" * DEEP + b".",
    "deep lists": b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "deep dicts": b"\x80\x02" + b"}K\x01" * DEEP + b"}" + b"s" * DEEP + b".",
    "deep frozensets": b"\x80\x04" + b"(" * DEEP + b"\x91" * DEEP + b".",
    "a key that doubles": b"\x80\x02})" + b"2\x86" * 60 + b"Ns.",
    "a key used again": b"\x80\x02}(" + b"K\x01" * 50_000 + b"tq\x00N" + b"s(h\x00N" * 50_000 + b"u.",
    "a number of many digits": b"\x80\x02I" + b"1" * 1_000_000 + b"\n.",
    "a long of many digits": b"\x80\x02L" + b"1" * 1_000_000 + b"L\n.",
    "bytes that unfold": b"\x80\x02X\x40\x42\x0f\x00" + b"a" * 1_000_000 + b"q\x000]("
    + b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * 2000 + b"e.",
    "no end of a line": b"\x80\x02c" + b"a" * 1_000_000,
    "no end of a text": b"\x80\x02\x8d" + b"\xff" * 7 + b"\x7f" + b"a" * 100,
    "an entry of the memo that is far": b"\x80\x02Nr\xff\xff\xff\xff(h\x00.",
    "a module that is blocked": b"\x80\x02cposix\nsystem\n.",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("weights_only", [True, False])
def test_hostile_pickles(name, weights_only):
    if not weights_only and name in ("bytes that unfold", "a module that is blocked", "a deep argument of set"):
        return  # what a trusted file may do
    with pytest.raises(FileError, match="load: the file "):
        ng.load(archive_file(HOSTILE[name]), weights_only=weights_only)


def test_what_is_nested_as_deep_as_pickle_writes():
    value = ()
    for _ in range(400):
        value = [value, {1: (value if value == () else 2,)}]
    stream = io.BytesIO()
    ng.save(value, stream)
    stream.seek(0)
    assert ng.load(stream) == value


def test_numbers_and_texts_of_all_protocols():
    value = [0, -1, 255, 2**31, -(2**31), 2**63, -(2**200), 0.5, float("inf"), True, None, "\u00e4\n", "a" * 300, b"", b"x" * 300,
             (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {1: {2: [3]}}, [[]], {1, 2}, frozenset((1, "a")), 1j]  # fmt: skip
    for protocol in range(2, 6):
        again = ng.load(archive_file(pickle.dumps(value, protocol)))
        assert again == value and list(map(type, again)) == list(map(type, value))
    long = [*range(300), *range(-5000, 70_000, 37), *(0.5 * k for k in range(3000)), 1, 2.5, *range(2**31 - 50, 2**31 + 50), *[7] * 5]
    assert ng.load(archive_file(pickle.dumps(long, 2))) == long and list(map(type, long)) == list(
        map(type, ng.load(archive_file(pickle.dumps(long, 2))))
    )
    for count in range(12):
        cut = b"\x80\x02(" + b"K\x07" * count
        assert ng.load(archive_file(cut + b"t.")) == (7,) * count
        with pytest.raises(FileError):
            ng.load(archive_file(cut))
    old = [0, -1, 2**70, 0.5, True, False, "\u00e4", (1, [2, {3: "x"}]), None]
    for protocol in (0, 1):
        assert ng.load(archive_file(pickle.dumps(old, protocol)), weights_only=True) == old


@pytest.mark.parametrize("damaged", ["{", "[]", "{}", "null", '{"version": 1}', '{"version": 1, "root": {"tensor": "x"}}',
                                     '{"version": 1, "root": 3}', '{"version": "1", "root": {}}', "[" * 100_000,
                                     '{"version": 1, "root": {"dict": [[{"tuple": 3}, 1]]}}',
                                     '{"version": 1, "root": {"tensor": "w", "number": [], "device": "cpu"}}',
                                     '{"version": 1, "root": {"tensor": "w", "number": 0, "device": "nowhere"}}',
                                     '{"version": 1, "root": {"tensor": "w", "number": 0, "attributes": {"dict": [["data", 1]]}}}'])  # fmt: skip
def test_damaged_metadata(damaged):
    header = {"__metadata__": {"numgrad": damaged}, "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    text = json.dumps(header).encode()
    with pytest.raises(FileError, match="the file"):
        ng.load(io.BytesIO(struct.pack("<Q", len(text)) + text + bytes(16)))


@pytest.mark.parametrize("entry", [{"dtype": "F32", "shape": [5], "data_offsets": [0, 16]}, {"dtype": "F32", "shape": [4]},
                                   {"dtype": "F32", "shape": [-4, -1], "data_offsets": [0, 16]}, [], None, 3,
                                   {"dtype": "F32", "shape": [4], "data_offsets": [4, 20]},
                                   {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
                                   {"dtype": ["F32"], "shape": [4], "data_offsets": [0, 16]},
                                   {"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]}])  # fmt: skip
def test_damaged_entries(entry):
    with pytest.raises(FileError, match="the file"):
        ng.load(safetensors_file({"version": 1, "root": {"tensor": "w", "number": 0}}, {"w": entry}))


@pytest.mark.parametrize("kind", mutations.FORMATS)
def test_changed_files(kind):
    """A sample of the changes that ``tests/mutations.py`` tries by the hundred thousand."""
    seed = random.Random(kind).randrange(10**6)
    counts = mutations.attempt(kind, 150, seed)
    assert counts["refused"] > 75 and counts["loaded"] > 0


# --- saving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_what_a_rename_would_break_is_written_in_place(name, tmp_path):
    first, second = tmp_path / name, tmp_path / f"second.{name}"
    first.write_bytes(b"old")
    os.link(first, second)
    ng.save({"x": ng.ones(3)}, first)
    assert first.stat().st_ino == second.stat().st_ino and ng.load(second)["x"].tolist() == [1, 1, 1]
    fifo, got = tmp_path / f"fifo.{name}", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()), daemon=True)
    reader.start()
    ng.save({"x": ng.ones(3)}, fifo)
    reader.join(20)
    assert stat.S_ISFIFO(fifo.stat().st_mode) and ng.load(io.BytesIO(got[0]))["x"].tolist() == [1, 1, 1]
    link = tmp_path / f"link.{name}"
    link.symlink_to(tmp_path / f"new.{name}")
    ng.save({"x": 1}, link)
    assert link.is_symlink() and ng.load(tmp_path / f"new.{name}") == {"x": 1}
    assert not [entry for entry in tmp_path.iterdir() if entry.name.endswith(".tmp")]


def test_what_is_left_of_killed_saves_is_removed(tmp_path):
    target = tmp_path / ("m" * 240 + ".pt")
    handle, orphan = files._temporary(str(target))
    os.close(handle)  # as when the process is killed: the lock is gone
    living, alive = files._temporary(str(target))
    other = tmp_path / ".other.12345678.abcdefgh.tmp"
    other.write_bytes(b"")
    ng.save({"x": 1}, target)
    assert not os.path.exists(orphan) and os.path.exists(alive) and other.exists() and ng.load(target) == {"x": 1}
    os.close(living)
    ng.save({"x": 2}, target)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([other.name, target.name])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        ng.save({"x": ng.ones(3)}, "/dev/full")
    target = tmp_path / "m.pt"
    ng.save({"x": 1}, target)
    source = (
        "import resource, signal, sys, numgrad as ng\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "try: ng.save({'x': ng.ones(100000)}, sys.argv[1])\n"
        "except OSError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", source, target], capture_output=True, text=True).stdout
    assert str(target) in told and "File too large" in told
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.pt"] and ng.load(target) == {"x": 1}


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        ng.save({}, tmp_path / "none" / "m.pt")
    assert caught.value.filename == str(tmp_path / "none" / "m.pt")
    with pytest.raises(IsADirectoryError):
        ng.save({}, tmp_path)


def test_memory_of_a_hostile_file_is_bounded():
    """Files that say they hold much more than they do are refused before memory is asked for."""
    source = (
        "import io, resource, sys, numgrad as ng\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import test_foreign_files as t\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)\n"
        "for data in (b'\\x80\\x02B\\xff\\xff\\xff\\x7fab.', b'\\x80\\x05\\x96' + b'\\xff' * 6 + b'\\x00\\x00a.'):\n"
        "    try: ng.load(t.archive_file(data)); print('loaded')\n"
        "    except t.FileError: print('refused')\n"
    )
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc to ask for the memory in use")
    folder = os.path.dirname(__file__)
    told = subprocess.run([sys.executable, "-c", source, folder], capture_output=True, text=True)
    assert told.stdout.split() == ["refused"] * 2, told.stderr

